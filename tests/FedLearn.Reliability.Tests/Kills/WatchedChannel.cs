using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>A channel that tells what leaves, before it leaves, and breaks when it is told to.</summary>
/// <param name="inner">The channel.</param>
/// <param name="sending">Told peer, kind and round, and a digest of the content.</param>
/// <param name="act">Called before each message that is sent or received; may throw.</param>
/// <param name="heard">Called when the peer's end was heard, before this side's is said.</param>
internal sealed class WatchedChannel(IPartyChannel inner, Action<string, string>? sending, Action? act = null, Action? heard = null) : IPartyChannel
{
    private readonly Dictionary<(string, int), int> _sent = [];

    public string LocalParty => inner.LocalParty;

    public string RemoteParty => inner.RemoteParty;

    public ChannelStatistics Statistics => inner.Statistics;

    public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

    /// <summary>The limit that a party is told, which may be below that of any file.</summary>
    public int MaxMessageBytes { get; init; } = inner.MaxMessageBytes;

    public long BytesOf(string name, Protection protection) => inner.BytesOf(name, protection);

    public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
    {
        act?.Invoke();
        // Several messages of one name may belong to one round; they have an order.
        int number = _sent[(message.Name, round)] = _sent.GetValueOrDefault((message.Name, round)) + 1;
        sending?.Invoke(string.Create(CultureInfo.InvariantCulture, $"{LocalParty} to {RemoteParty}, {message.Name}, round {round}, {number}"), Digest(message.Payload));
        return inner.SendAsync(round, message, cancellationToken);
    }

    public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
    {
        act?.Invoke();
        return inner.ReceiveAsync<T>(round, length, cancellationToken);
    }

    public async ValueTask PeerCompletedAsync(CancellationToken cancellationToken = default)
    {
        await inner.PeerCompletedAsync(cancellationToken);
        heard?.Invoke();
    }

    public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

    public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    /// <summary>What a peer that vanished looks like.</summary>
    public static PeerException Gone(string peer) => new(ProtocolErrors.PeerGone, $"peer '{peer}', channel", "the connection was cut by the test.", "None.");

    private static string Digest(Payload payload) => Convert.ToHexStringLower(SHA256.HashData(payload switch
    {
        VectorPayload { Lattice: { } lattice } => lattice.Packed.Span,
        VectorPayload numbers => MemoryMarshal.AsBytes(numbers.Values.Span),
        RandomizedLabels labels => labels.Classes.Span,
        _ => [],
    }))[..32];
}

/// <summary>What was sent in all attempts of a run: one content for each message.</summary>
internal sealed class SentContents
{
    private readonly Dictionary<string, string> _contents = [];
    private readonly Lock _lock = new();

    /// <summary>Messages that were sent with two different contents.</summary>
    public List<string> Different { get; } = [];

    /// <summary>Different messages that were sent.</summary>
    public int Count => _contents.Count;

    /// <summary>Messages that were sent more than once.</summary>
    public int Again { get; private set; }

    public void Add(string message, string digest)
    {
        lock (_lock)
            if (!_contents.TryAdd(message, digest))
            {
                Again++;
                if (_contents[message] != digest)
                    Different.Add(message);
            }
    }
}
