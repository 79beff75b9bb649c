using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment.Tests.Reference;

/// <summary>A channel that keeps what crosses it.</summary>
internal sealed class RecordingChannel(IPartyChannel inner) : IPartyChannel
{
    private readonly List<Payload> _sent = [], _received = [];

    /// <summary>What this side sent, in order.</summary>
    public IReadOnlyList<Payload> Sent
    {
        get
        {
            lock (_sent)
                return [.. _sent];
        }
    }

    /// <summary>What this side received, in order.</summary>
    public IReadOnlyList<Payload> Received
    {
        get
        {
            lock (_received)
                return [.. _received];
        }
    }

    public string LocalParty => inner.LocalParty;

    public string RemoteParty => inner.RemoteParty;

    public ChannelStatistics Statistics => inner.Statistics;

    public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

    public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
    {
        lock (_sent)
            _sent.Add(message.Payload);
        return inner.SendAsync(round, message, cancellationToken);
    }

    public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
    {
        T payload = await inner.ReceiveAsync<T>(round, length, cancellationToken);
        lock (_received)
            _received.Add(payload);
        return payload;
    }

    public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

    public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}
