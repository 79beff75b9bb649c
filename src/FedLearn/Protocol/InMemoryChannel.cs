using FedLearn.Privacy;

namespace FedLearn.Protocol;

/// <summary>A channel between two parties in one process, with the semantics of a network channel.</summary>
public sealed class InMemoryChannel : PartyChannel
{
    private readonly FrameQueue _outgoing;
    private readonly FrameQueue _incoming;

    private InMemoryChannel(string local, string remote, ChannelOptions options, FrameQueue outgoing, FrameQueue incoming)
        : base(local, remote, options)
    {
        (_outgoing, _incoming) = (outgoing, incoming);
        incoming.Lost = () => Gone();
    }

    /// <summary>Makes the two ends of a channel.</summary>
    /// <param name="first">Name of the party at the first end.</param>
    /// <param name="second">Name of the party at the second end.</param>
    /// <param name="options">Settings of both ends; null for the defaults.</param>
    /// <returns>The end of <paramref name="first"/>, then the end of <paramref name="second"/>.</returns>
    public static (InMemoryChannel First, InMemoryChannel Second) CreatePair(string first, string second, ChannelOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        options ??= new ChannelOptions();
        FrameQueue there = new(), back = new();
        return (new InMemoryChannel(first, second, options, there, back), new InMemoryChannel(second, first, options, back, there));
    }

    /// <summary>Lets what waits for messages at this end go on inside the peer's send, until it waits again; see <see cref="FrameQueue.InTurn"/>. Without effect on other channels.</summary>
    /// <returns>Whether any of the channels is one of this process.</returns>
    internal static bool TakeTurns(IEnumerable<IPartyChannel> channels, bool inTurn)
    {
        bool any = false;
        foreach (IPartyChannel channel in channels)
            if (channel is InMemoryChannel { _incoming: var incoming })
                (incoming.InTurn, any) = (inTurn, true);
        return any;
    }

    /// <inheritdoc />
    public override bool TakesTransient => true;

    /// <inheritdoc />
    public override void Return(Payload payload) => _incoming.Pool.Return(payload);

    /// <inheritdoc />
    protected override ValueTask<long> WriteMessageAsync(int round, Payload payload, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(payload);
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled<long>(cancellationToken);
        long bytes = payload.PackedBytes;
        CheckSize(round, bytes, payload);
        // Only a payload that its sender will write to again is copied.
        Write(ChannelFrame.Message(round, payload is RoundVector { IsTransient: true } transient ? _outgoing.Pool.Copy(transient) : payload, bytes));
        return new ValueTask<long>(bytes);
    }

    /// <inheritdoc />
    protected override ValueTask WriteCompletedAsync(CancellationToken cancellationToken)
    {
        Write(ChannelFrame.Completed);
        return default;
    }

    /// <inheritdoc />
    protected override ValueTask WriteAbortedAsync(string errorId, CancellationToken cancellationToken)
    {
        _outgoing.TryWrite(ChannelFrame.Aborted(errorId));
        return default;
    }

    /// <inheritdoc />
    protected override ValueTask<ChannelFrame> ReadFrameAsync(CancellationToken cancellationToken) => _incoming.ReadAsync(cancellationToken);

    /// <inheritdoc />
    public override ValueTask DisposeAsync()
    {
        _outgoing.Close();
        _incoming.Close();
        return default;
    }

    private void Write(ChannelFrame frame)
    {
        if (!_outgoing.TryWrite(frame))
            throw Gone();
    }
}
