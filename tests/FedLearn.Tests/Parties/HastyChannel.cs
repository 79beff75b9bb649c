using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Parties;

/// <summary>A channel that seems to have little time, and says when the other side is told to wait. Whoever waits at it gives up much later.</summary>
internal sealed class HastyChannel(IPartyChannel inner, Action told) : IPartyChannel
{
    public string LocalParty => inner.LocalParty;

    public string RemoteParty => inner.RemoteParty;

    public TimeSpan ReceiveTimeout => TimeSpan.FromMilliseconds(30);

    public ChannelStatistics Statistics => inner.Statistics;

    public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

    public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
    {
        await inner.SendAsync(round, message, cancellationToken);
        if (message.Payload is AlignmentMessage { Step: AlignmentStep.Waiting })
            told();
    }

    public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload => inner.ReceiveAsync<T>(round, length, cancellationToken);

    public ValueTask PeerCompletedAsync(CancellationToken cancellationToken = default) => inner.PeerCompletedAsync(cancellationToken);

    public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

    public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}

/// <summary>Work that takes until some peers of a party have been told to wait for it.</summary>
internal sealed class WorkOfOthers(params string[] peers) : IDisposable
{
    private readonly HashSet<string> _left = [.. peers];
    private readonly ManualResetEventSlim _all = new();

    /// <summary>Whether all were told before the patience of the test was at its end.</summary>
    public bool WereTold { get; private set; } = true;

    /// <summary>A channel that counts.</summary>
    public IPartyChannel Of(IPartyChannel channel) => new HastyChannel(channel, () =>
    {
        lock (_left)
            if (_left.Remove($"{channel.LocalParty} to {channel.RemoteParty}") && _left.Count == 0)
                _all.Set();
    });

    /// <summary>Works.</summary>
    public void Wait() => WereTold &= _all.Wait(TimeSpan.FromSeconds(60));

    /// <summary>A list that takes so long to read.</summary>
    public IReadOnlyList<T> Reads<T>(IReadOnlyList<T> items) => new SlowList<T>(items, Wait);

    public void Dispose() => _all.Dispose();

    private sealed class SlowList<T>(IReadOnlyList<T> items, Action wait) : IReadOnlyList<T>
    {
        public int Count => items.Count;

        public T this[int index]
        {
            get
            {
                wait();
                return items[index];
            }
        }

        public IEnumerator<T> GetEnumerator()
        {
            wait();
            return items.GetEnumerator();
        }

        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
    }
}
