using FedLearn.Privacy;

namespace FedLearn.Protocol;

/// <summary>A two-way, ordered, reliable channel between this party and one other.</summary>
/// <remarks>One reader and one writer at a time; sending and receiving may overlap. After an error the channel is unusable.</remarks>
public interface IPartyChannel : IAsyncDisposable
{
    /// <summary>Name of the party on this side.</summary>
    string LocalParty { get; }

    /// <summary>Name of the party on the other side.</summary>
    string RemoteParty { get; }

    /// <summary>How long this side waits for a message before it gives up; the other side may have another limit.</summary>
    /// <value>Default infinite, where a channel does not say.</value>
    TimeSpan ReceiveTimeout => Timeout.InfiniteTimeSpan;

    /// <summary>Largest message that this side sends and reads, in bytes, framing included; the other side may have another limit.</summary>
    /// <value>Default <see cref="int.MaxValue"/>, where a channel does not say: what is too large for it is then found out when it is sent.</value>
    int MaxMessageBytes => int.MaxValue;

    /// <summary>What has crossed so far.</summary>
    ChannelStatistics Statistics { get; }

    /// <summary>Messages sent, counted by the name and protection of their release.</summary>
    IReadOnlyDictionary<(string Name, Protection Protection), long> Releases { get; }

    /// <summary>Size of the payloads of one kind of release sent so far, packed and without framing, in bytes; 0 where a channel does not count it.</summary>
    /// <param name="name">Name of the release.</param>
    /// <param name="protection">What protects it.</param>
    long BytesOf(string name, Protection protection) => 0;

    /// <summary>Whether it takes payloads whose numbers are written again once <see cref="SendAsync"/> has completed (<see cref="RoundVector.IsTransient"/>).</summary>
    /// <value>Default false, which is always right: every message then has memory of its own, and a channel may keep what it is given, as one that records does.</value>
    bool TakesTransient => false;

    /// <summary>Gives back a payload that was received, so that its memory can serve a later message. The caller neither reads it after that nor has passed it on.</summary>
    /// <remarks>Optional. By default nothing happens, and the payload keeps its numbers: a channel around another that keeps what it receives need not do anything.</remarks>
    /// <param name="payload">What <see cref="ReceiveAsync"/> returned.</param>
    void Return(Payload payload) { }

    /// <summary>Sends one released payload. Nothing else can be sent.</summary>
    /// <typeparam name="T">The payload.</typeparam>
    /// <param name="round">Round the message belongs to, at least 0.</param>
    /// <param name="message">What leaves.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <exception cref="FedLearn.Diagnostics.PeerException">The peer is gone or ended the session.</exception>
    ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload;

    /// <summary>Waits for the next message, which must be of this kind, round and length, and all of whose numbers must be finite.</summary>
    /// <remarks>A peer that computes for long sends an <see cref="AlignmentMessage"/> of the step <see cref="AlignmentStep.Waiting"/> now and then. It is passed over, and the time limit begins anew, for sixty times the
    /// limit in all; the same holds at the end of the session. Who waits for an <see cref="AlignmentMessage"/> or any <see cref="Payload"/> gets it as it is.</remarks>
    /// <typeparam name="T">The payload expected.</typeparam>
    /// <param name="round">Round expected.</param>
    /// <param name="length">Length expected; null accepts any.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <exception cref="FedLearn.Diagnostics.PeerException">The message is not the one expected, or none came in time.</exception>
    ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload;

    /// <summary>Waits until the peer has said that it sends no more, and says nothing: who talks to several peers hears all of them before it lets any of them go. <see cref="CompleteAsync"/> then has nothing
    /// to wait for, and takes a peer that has vanished meanwhile for one that has ended.</summary>
    /// <remarks>Optional. By default nothing happens, and <see cref="CompleteAsync"/> alone waits: some peers are then let go before others have ended.</remarks>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <exception cref="FedLearn.Diagnostics.PeerException">The peer gave up, is gone, or sent a message instead.</exception>
    ValueTask PeerCompletedAsync(CancellationToken cancellationToken = default) => ValueTask.CompletedTask;

    /// <summary>Tells the peer that this side sends no more, then waits until the peer has said the same.</summary>
    /// <param name="cancellationToken">Stops waiting.</param>
    ValueTask CompleteAsync(CancellationToken cancellationToken = default);

    /// <summary>Tells the peer, as far as possible, that this side gives up. Never throws for a peer that is gone.</summary>
    /// <param name="errorId">Id of the error on this side.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default);
}

/// <summary>Counts of a channel.</summary>
/// <param name="MessagesSent">Messages sent.</param>
/// <param name="MessagesReceived">Messages received.</param>
/// <param name="BytesSent">Bytes sent: framed message bytes over gRPC, packed payload bytes in memory.</param>
/// <param name="BytesReceived">Bytes received, counted likewise.</param>
public readonly record struct ChannelStatistics(long MessagesSent, long MessagesReceived, long BytesSent, long BytesReceived)
{
    /// <summary>Counts of several channels together.</summary>
    internal static ChannelStatistics Of(IEnumerable<IPartyChannel> channels) => channels.Select(channel => channel.Statistics).Aggregate(default(ChannelStatistics), (sum, one) =>
        new(sum.MessagesSent + one.MessagesSent, sum.MessagesReceived + one.MessagesReceived, sum.BytesSent + one.BytesSent, sum.BytesReceived + one.BytesReceived));
}
