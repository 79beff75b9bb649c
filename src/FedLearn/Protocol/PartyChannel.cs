using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Protocol;

/// <summary>Settings of a channel. One outside its range is refused where it is set: every transport takes them, and not all find out before a session is open.</summary>
public sealed record ChannelOptions
{
    private const int SmallestMessage = 1 << 10, LargestMessage = 1 << 30;

    // What every timer of the system takes; some count milliseconds in 31 bits.
    private static readonly TimeSpan LongestTimeout = TimeSpan.FromDays(24);

    /// <summary>How long one receive waits before it gives up.</summary>
    /// <value>Above zero and at most 24 days, or <see cref="Timeout.InfiniteTimeSpan"/> for a session that may be idle. Default one minute.</value>
    /// <exception cref="ArgumentOutOfRangeException">It is set to another time.</exception>
    public TimeSpan ReceiveTimeout
    {
        get;
        init => field = value == Timeout.InfiniteTimeSpan || (value > TimeSpan.Zero && value <= LongestTimeout) ? value
            : throw new ArgumentOutOfRangeException(nameof(ReceiveTimeout), value, "The time is above zero and at most 24 days, or infinite.");
    } = TimeSpan.FromMinutes(1);

    /// <summary>Largest message accepted, in bytes, framing included.</summary>
    /// <value>1 KiB to 1 GiB. Default 256 MiB: 32 million rows of float64 in one batch.</value>
    /// <exception cref="ArgumentOutOfRangeException">It is set to another number.</exception>
    public int MaxMessageBytes
    {
        get;
        init => field = value is >= SmallestMessage and <= LargestMessage ? value
            : throw new ArgumentOutOfRangeException(nameof(MaxMessageBytes), value, "The number of bytes is 1 KiB to 1 GiB.");
    } = 256 << 20;

    /// <summary>Clock for time limits.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>What a transport reads from the peer: a message, the end of its messages, or that it gave up.</summary>
public readonly record struct ChannelFrame
{
    private ChannelFrame(int round, Payload? payload, long bytes, string? errorId) => (Round, Payload, Bytes, ErrorId) = (round, payload, bytes, errorId);

    /// <summary>Round that a message belongs to.</summary>
    public int Round { get; }

    /// <summary>Payload of a message, not yet checked; null in other frames.</summary>
    public Payload? Payload { get; }

    /// <summary>Size of a message, framing included.</summary>
    public long Bytes { get; }

    /// <summary>Id of the error at a peer that gave up; null in other frames.</summary>
    public string? ErrorId { get; }

    /// <summary>The peer sends no more.</summary>
    public static ChannelFrame Completed => default;

    /// <summary>Whether the peer sends no more.</summary>
    public bool IsCompleted => Payload is null && ErrorId is null;

    /// <summary>A message.</summary>
    /// <param name="round">Round it belongs to.</param>
    /// <param name="payload">Its payload; not yet checked.</param>
    /// <param name="bytes">Its size, framing included.</param>
    public static ChannelFrame Message(int round, Payload payload, long bytes)
    {
        ArgumentNullException.ThrowIfNull(payload);
        return new(round, payload, bytes, null);
    }

    /// <summary>The peer gave up.</summary>
    /// <param name="errorId">Id of the error on the peer's side.</param>
    public static ChannelFrame Aborted(string errorId)
    {
        ArgumentNullException.ThrowIfNull(errorId);
        return new(0, null, 0, errorId);
    }
}

/// <summary>The part of a channel that every transport shares: checks, time limits, counts. A transport moves frames.</summary>
/// <param name="localParty">Name of the party on this side.</param>
/// <param name="remoteParty">Name of the party on the other side.</param>
/// <param name="options">Settings.</param>
public abstract class PartyChannel(string localParty, string remoteParty, ChannelOptions options) : IPartyChannel
{
    // How long the end of a session waits for a word to the peer, and for one from it. A connection that is gone ends the wait for its words at once, so that
    // only a busy machine needs them long.
    private static readonly TimeSpan LastWordsTime = TimeSpan.FromSeconds(1), PeersLastWordsTime = TimeSpan.FromSeconds(10);

    private const int EndOfTheJob = -1;

    // How many times the limit of one message a peer may go on saying that it computes.
    private const int MostWaits = 60;

    private readonly WaitLimit _sendLimit = new(options.ReceiveTimeout, options.Clock), _receiveLimit = new(options.ReceiveTimeout, options.Clock);
    private readonly ConcurrentDictionary<(string Name, Protection Protection), long> _releases = new(), _releasedBytes = new();
    private long _messagesSent, _messagesReceived, _bytesSent, _bytesReceived;
    private int _readers;
    private bool _peerCompleted;

    /// <inheritdoc />
    public string LocalParty { get; } = localParty;

    /// <inheritdoc />
    public string RemoteParty { get; } = remoteParty;

    /// <inheritdoc />
    public TimeSpan ReceiveTimeout => Options.ReceiveTimeout;

    /// <summary>Settings.</summary>
    protected ChannelOptions Options { get; } = options;

    /// <inheritdoc />
    public int MaxMessageBytes => Options.MaxMessageBytes;

    /// <inheritdoc />
    public ChannelStatistics Statistics => new(
        Interlocked.Read(ref _messagesSent), Interlocked.Read(ref _messagesReceived),
        Interlocked.Read(ref _bytesSent), Interlocked.Read(ref _bytesReceived));

    /// <inheritdoc />
    public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => _releases;

    /// <inheritdoc />
    public long BytesOf(string name, Protection protection) => _releasedBytes.GetValueOrDefault((name, protection));

    /// <inheritdoc />
    public virtual bool TakesTransient => false;

    /// <inheritdoc />
    public virtual void Return(Payload payload) { }

    /// <inheritdoc />
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
    {
        ArgumentNullException.ThrowIfNull(message);
        ArgumentOutOfRangeException.ThrowIfNegative(round);
        CancellationTokenSource stop = _sendLimit.Begin();
        CancellationTokenRegistration stopped = WaitLimit.Link(stop, cancellationToken);
        long bytes;
        try
        {
            ValueTask<long> write = WriteMessageAsync(round, message.Payload, stop.Token);
            // A peer that takes nothing stops this side once the buffers on the way are full.
            if (!write.IsCompleted)
                _sendLimit.Arm();
            bytes = await write.ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (stop.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw NotTaken(StepOf(round), typeof(T).Name, e);
        }
        catch (PeerException gone) when (gone.Id == ProtocolErrors.PeerGone)
        {
            // A peer that gives up says so and closes: its own words are the better error, where they have arrived.
            throw await LastWordsAsync(StepOf(round), cancellationToken).ConfigureAwait(false) ?? gone;
        }
        finally
        {
            stopped.Dispose();
            _sendLimit.End();
        }

        Interlocked.Increment(ref _messagesSent);
        Interlocked.Add(ref _bytesSent, bytes);
        FedLearnTelemetry.Message(LocalParty, typeof(T), "sent", bytes);
        Add(_releases, (message.Name, message.Protection), 1);
        Add(_releasedBytes, (message.Name, message.Protection), message.Payload.PackedBytes);
    }

    /// <summary>Counts nothing, twice, so that the code is compiled.</summary>
    internal static void Rehearse()
    {
        var counts = new ConcurrentDictionary<(string Name, Protection Protection), long>();
        for (int i = 0; i < 2; i++)
            Add(counts, ("", Protection.None), 1);
    }

    private static void Add(ConcurrentDictionary<(string Name, Protection Protection), long> counts, (string Name, Protection Protection) release, long count) =>
        counts.AddOrUpdate(release, static (_, more) => more, static (_, sum, more) => sum + more, count);

    /// <inheritdoc />
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
    {
        ChannelFrame frame = await ReadWithinTimeAsync(round, typeof(T), cancellationToken).ConfigureAwait(false);
        if (frame.Payload is null)
            throw frame.ErrorId is { } id ? GaveUp(StepOf(round), id) : Error(ProtocolErrors.UnexpectedMessage, StepOf(round),
                $"the peer ended its messages where {typeof(T).Name} was due.", "Check that both parties run the same release of the software.");
        Count(typeof(T), frame.Bytes);
        return MessageChecks.Expect<T>(RemoteParty, frame, round, length);
    }

    /// <inheritdoc />
    public async ValueTask PeerCompletedAsync(CancellationToken cancellationToken = default)
    {
        if (_peerCompleted)
            return;
        ChannelFrame frame = await ReadWithinTimeAsync(EndOfTheJob, null, cancellationToken).ConfigureAwait(false);
        if (frame.ErrorId is { } id)
            throw GaveUp(StepOf(EndOfTheJob), id);
        if (!frame.IsCompleted)
            throw Error(ProtocolErrors.UnexpectedMessage, StepOf(EndOfTheJob), "the peer sent a message after the last one due.",
                "Check that both parties run the same release of the software.");
        _peerCompleted = true;
    }

    /// <inheritdoc />
    public async ValueTask CompleteAsync(CancellationToken cancellationToken = default)
    {
        try
        {
            await WriteCompletedAsync(cancellationToken).AsTask().WaitAsync(Options.ReceiveTimeout, Options.Clock, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException e)
        {
            if (!_peerCompleted)
                throw NotTaken(StepOf(EndOfTheJob), "the end of this side's messages", e);
        }
        catch (PeerException gone) when (gone.Id == ProtocolErrors.PeerGone)
        {
            // A peer that has said the same, and has heard it, ends the connection, maybe before this side's write has returned. What it said is still there to be read; where it is not, the
            // read says that the peer is gone.
        }

        await PeerCompletedAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc />
    public async ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default)
    {
        try
        {
            await WriteAbortedAsync(errorId, cancellationToken).AsTask().WaitAsync(LastWordsTime, Options.Clock, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is FedLearnException or IOException or OperationCanceledException or ObjectDisposedException or TimeoutException)
        {
            // The peer is gone; there is nobody to tell.
        }
    }

    /// <inheritdoc />
    public abstract ValueTask DisposeAsync();

    /// <summary>Moves one message to the peer; returns once it may be forgotten by the caller.</summary>
    /// <param name="round">Round.</param>
    /// <param name="payload">Payload.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <returns>Bytes sent, framing included.</returns>
    /// <exception cref="PeerException">FL4007 when the peer is gone, FL4006 when the message is over the limit.</exception>
    protected abstract ValueTask<long> WriteMessageAsync(int round, Payload payload, CancellationToken cancellationToken);

    /// <summary>Tells the peer that no more follows.</summary>
    /// <param name="cancellationToken">Stops waiting.</param>
    protected abstract ValueTask WriteCompletedAsync(CancellationToken cancellationToken);

    /// <summary>Tells the peer that this side gives up.</summary>
    /// <param name="errorId">Id of the error here.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    protected abstract ValueTask WriteAbortedAsync(string errorId, CancellationToken cancellationToken);

    /// <summary>Waits for the next frame.</summary>
    /// <param name="cancellationToken">Stops waiting, also when time is up.</param>
    /// <exception cref="PeerException">FL4005 malformed, FL4006 too large, FL4007 connection lost.</exception>
    protected abstract ValueTask<ChannelFrame> ReadFrameAsync(CancellationToken cancellationToken);

    /// <summary>An error of this channel, for a transport to throw.</summary>
    /// <param name="id">One of <see cref="ProtocolErrors"/>.</param>
    /// <param name="step">Where in the protocol.</param>
    /// <param name="cause">What happened, as a sentence.</param>
    /// <param name="remedy">What to do about it, as a sentence.</param>
    /// <param name="inner">The lower-level error, if any.</param>
    protected PeerException Error(string id, string step, string cause, string remedy, Exception? inner = null) =>
        ProtocolErrors.Peer(id, RemoteParty, step, cause, remedy, inner);

    /// <summary>The error of a lost connection, FL4007, for a transport to throw.</summary>
    /// <param name="inner">The lower-level error, if any.</param>
    protected PeerException Gone(Exception? inner = null) => Error(ProtocolErrors.PeerGone, "channel",
        "the connection ended before the job did.", "Look at the peer's own log, then run the job again on both sides.", inner);

    /// <summary>Refuses to send a message over the limit, before memory for it is taken.</summary>
    /// <param name="round">Round.</param>
    /// <param name="bytes">Size of the message, framing included.</param>
    /// <param name="payload">The message; null where it is not known. What makes it smaller depends on it.</param>
    /// <exception cref="PeerException">FL4006.</exception>
    protected void CheckSize(int round, long bytes, Payload? payload = null)
    {
        if (bytes > Options.MaxMessageBytes)
            throw Error(ProtocolErrors.TooLarge, $"round {round}", $"a message of {bytes} bytes is over the limit of {Options.MaxMessageBytes}.",
                $"Raise transport.maxMessageBytes at both sides, or {(payload is MaskedProducts ? "use fewer columns: it has a ciphertext for each" : "use fewer rows; a message of a batch is smaller with more batches per epoch")}.");
    }

    private static string StepOf(int round) => round == EndOfTheJob ? "end of the job" : $"round {round}";

    private PeerException NotTaken(string step, string what, Exception inner) => Error(ProtocolErrors.TimedOut, step,
        $"waited {Options.ReceiveTimeout.TotalSeconds:0.#} s for the peer to take {what}, in vain.",
        "Check that the peer is running; give a slow peer more time with transport.timeoutSeconds.", inner);

    private async ValueTask<PeerException?> LastWordsAsync(string step, CancellationToken cancellationToken)
    {
        if (Interlocked.CompareExchange(ref _readers, 1, 0) != 0)
            return null; // another read is under way, and reports what the peer says last
        try
        {
            // At most as long as any other message is waited for.
            bool shorter = Options.ReceiveTimeout != Timeout.InfiniteTimeSpan && Options.ReceiveTimeout < PeersLastWordsTime;
            using var timeUp = new CancellationTokenSource(shorter ? Options.ReceiveTimeout : PeersLastWordsTime, Options.Clock);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(timeUp.Token, cancellationToken);
            while (true)
                if ((await ReadFrameAsync(either.Token).ConfigureAwait(false)).ErrorId is { } id)
                    return GaveUp(step, id);
        }
        catch (Exception e) when (e is PeerException or OperationCanceledException)
        {
            return null;
        }
        finally
        {
            Interlocked.Decrement(ref _readers);
        }
    }

    private void Count(Type payload, long bytes)
    {
        Interlocked.Increment(ref _messagesReceived);
        Interlocked.Add(ref _bytesReceived, bytes);
        FedLearnTelemetry.Message(LocalParty, payload, "received", bytes);
    }

    private PeerException GaveUp(string step, string errorId) => new(ProtocolErrors.PeerAborted, $"peer '{RemoteParty}', {step}",
        $"the peer gave up with error {errorId}.", "Look at the peer's own message, mend it there, and run the job again.")
    { PeerErrorId = errorId, Peer = RemoteParty };

    // awaited: the type of the payload, or null for the end of the peer's messages.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ChannelFrame> ReadWithinTimeAsync(int round, Type? awaited, CancellationToken cancellationToken)
    {
        long? since = null;
        while (true)
        {
            ChannelFrame frame = await ReadOneWithinTimeAsync(round, awaited, cancellationToken).ConfigureAwait(false);
            if (frame.Payload is not AlignmentMessage { Step: AlignmentStep.Waiting } || awaited == typeof(AlignmentMessage) || awaited == typeof(Payload))
                return frame;
            Count(typeof(AlignmentMessage), frame.Bytes);
            since ??= Options.Clock.GetTimestamp();
            if (Options.ReceiveTimeout != Timeout.InfiniteTimeSpan && Options.Clock.GetElapsedTime(since.Value) > MostWaits * Options.ReceiveTimeout)
                throw Error(ProtocolErrors.TimedOut, StepOf(round), $"the peer has said for {MostWaits * Options.ReceiveTimeout.TotalSeconds:0.#} s that it is still computing.",
                    "Look at the peer's own log; give a slow peer more time with transport.timeoutSeconds.");
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ChannelFrame> ReadOneWithinTimeAsync(int round, Type? awaited, CancellationToken cancellationToken)
    {
        CancellationTokenSource stop = _receiveLimit.Begin();
        CancellationTokenRegistration stopped = WaitLimit.Link(stop, cancellationToken);
        Interlocked.Increment(ref _readers); // counted, since a failed send may want to read the peer's last words at the same time
        try
        {
            ValueTask<ChannelFrame> read = ReadFrameAsync(stop.Token);
            if (!read.IsCompleted)
                _receiveLimit.Arm();
            return await read.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw Error(ProtocolErrors.TimedOut, StepOf(round),
                $"waited {Options.ReceiveTimeout.TotalSeconds:0.#} s for {(awaited is null ? "the end of its messages" : awaited == typeof(Payload) ? "a message" : $"a message of the kind {awaited.Name}")}, and nothing came.",
                "Check that the peer is running and reachable; give a slow peer more time with transport.timeoutSeconds.");
        }
        finally
        {
            Interlocked.Decrement(ref _readers);
            stopped.Dispose();
            _receiveLimit.End();
        }
    }
}
