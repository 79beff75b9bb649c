using System.Threading.Channels;
using FedLearn.Privacy;

namespace FedLearn.Protocol;

/// <summary>A channel between two parties in one process, with the semantics of a network channel.</summary>
public sealed class InMemoryChannel : PartyChannel
{
    private readonly Channel<ChannelFrame> _outgoing;
    private readonly Channel<ChannelFrame> _incoming;

    private InMemoryChannel(string local, string remote, ChannelOptions options, Channel<ChannelFrame> outgoing, Channel<ChannelFrame> incoming)
        : base(local, remote, options) => (_outgoing, _incoming) = (outgoing, incoming);

    /// <summary>Makes the two ends of a channel.</summary>
    /// <param name="first">Name of the party at the first end.</param>
    /// <param name="second">Name of the party at the second end.</param>
    /// <param name="options">Settings of both ends; null for the defaults.</param>
    /// <returns>The end of <paramref name="first"/>, then the end of <paramref name="second"/>.</returns>
    public static (InMemoryChannel First, InMemoryChannel Second) CreatePair(string first, string second, ChannelOptions? options = null)
    {
        options ??= new ChannelOptions();
        Channel<ChannelFrame> there = Channel.CreateUnbounded<ChannelFrame>(), back = Channel.CreateUnbounded<ChannelFrame>();
        return (new InMemoryChannel(first, second, options, there, back), new InMemoryChannel(second, first, options, back, there));
    }

    /// <inheritdoc />
    protected override ValueTask<long> WriteMessageAsync(int round, Payload payload, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(payload);
        cancellationToken.ThrowIfCancellationRequested();
        long bytes = payload.PackedBytes;
        CheckSize(round, bytes);
        Write(new ChannelFrame.Message(round, payload, bytes));
        return new ValueTask<long>(bytes);
    }

    /// <inheritdoc />
    protected override ValueTask WriteCompletedAsync(CancellationToken cancellationToken)
    {
        Write(new ChannelFrame.Completed());
        return default;
    }

    /// <inheritdoc />
    protected override ValueTask WriteAbortedAsync(string errorId, CancellationToken cancellationToken)
    {
        _outgoing.Writer.TryWrite(new ChannelFrame.Aborted(errorId));
        return default;
    }

    /// <inheritdoc />
    protected override async ValueTask<ChannelFrame> ReadFrameAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await _incoming.Reader.ReadAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (ChannelClosedException e)
        {
            throw Gone(e);
        }
    }

    /// <inheritdoc />
    public override ValueTask DisposeAsync()
    {
        _outgoing.Writer.TryComplete();
        _incoming.Writer.TryComplete();
        return default;
    }

    private void Write(ChannelFrame frame)
    {
        if (!_outgoing.Writer.TryWrite(frame))
            throw Gone();
    }
}
