using System.IO.Pipelines;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Transport.Grpc;

/// <summary>One end of an open Exchange call: the bytes in both directions, and its end.</summary>
internal interface IExchangeCall
{
    /// <summary>What the other side sends.</summary>
    PipeReader Input { get; }

    /// <summary>What this side sends.</summary>
    PipeWriter Output { get; }

    /// <summary>Cancelled when the call is over, however that came.</summary>
    CancellationToken Aborted { get; }

    /// <summary>How the other side ended the call; null while it has not, or when it cannot say. Read after the end of <see cref="Input"/>.</summary>
    Status? RemoteStatus { get; }

    /// <summary>Ends the call. Nobody reads or writes any more.</summary>
    ValueTask EndAsync(Status status);
}

/// <summary>A channel over an Exchange call; the same class on both sides.</summary>
internal sealed class GrpcPartyChannel(IExchangeCall call, string local, string remote, ChannelOptions options) : PartyChannel(local, remote, options)
{
    // The streams of a call are pooled by the HTTP stack and must not be touched after its end. Who reads or writes holds the gate; who disposes takes both.
    private readonly SemaphoreSlim _reading = new(1, 1), _writing = new(1, 1);
    private volatile bool _closed;
    private int _disposed;
    private Status _end = new(StatusCode.Cancelled);
    private readonly Task _rehearsal = CodecRehearsal.Started;

    /// <summary>What ties the session to both sides' certificates; null over plaintext.</summary>
    public byte[]? Binding { get; init; }

    /// <inheritdoc />
    protected override ValueTask<long> WriteMessageAsync(int round, Payload payload, CancellationToken cancellationToken)
    {
        CheckSize(round, payload.PackedBytes + EnvelopeCodec.MostOverhead);
        return WriteAsync(EnvelopeCodec.Encode(round, payload), cancellationToken);
    }

    /// <inheritdoc />
    protected override async ValueTask WriteCompletedAsync(CancellationToken cancellationToken)
    {
        await WriteAsync(new Wire.Envelope { Completed = new() }, cancellationToken).ConfigureAwait(false);
        _end = Status.Ok;
    }

    /// <inheritdoc />
    protected override async ValueTask WriteAbortedAsync(string errorId, CancellationToken cancellationToken)
    {
        _end = new Status(StatusCode.Aborted, "The other side gave up.", errorId);
        await WriteAsync(new Wire.Envelope { Aborted = new() { ErrorId = errorId } }, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc />
    protected override async ValueTask<ChannelFrame> ReadFrameAsync(CancellationToken cancellationToken)
    {
        await _reading.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_closed)
                throw Gone();
            if (await Framing.ReadAsync(call.Input, Wire.Envelope.Parser, Options.MaxMessageBytes, cancellationToken).ConfigureAwait(false) is var (envelope, bytes))
                return EnvelopeCodec.Decode(envelope, bytes);
            // Some peers say why in the status of the call instead of a last message.
            return call.RemoteStatus?.ErrorId is { } id ? new ChannelFrame.Aborted(id) : throw Gone();
        }
        catch (RpcException e)
        {
            _end = e.Status;
            throw Error(e.Status.ErrorId ?? ProtocolErrors.Malformed, "channel", e.Status.Detail,
                e.Status.ErrorId == ProtocolErrors.TooLarge ? "Use more batches per epoch, or raise the limit at both parties." : "Check that both parties run the same release of the software.", e);
        }
        catch (Exception e) when (IsLoss(e, cancellationToken))
        {
            throw Gone(e);
        }
        finally
        {
            _reading.Release();
        }
    }

    /// <inheritdoc />
    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _closed = true;
        Interlocked.MemoryBarrier(); // whoever takes a gate after the look below sees _closed
        if (_reading.CurrentCount == 0)
            call.Input.CancelPendingRead();
        if (_writing.CurrentCount == 0)
            call.Output.CancelPendingFlush();
        await _writing.WaitAsync().ConfigureAwait(false);
        await _reading.WaitAsync().ConfigureAwait(false);
        await _rehearsal.ConfigureAwait(false);
        try
        {
            await call.EndAsync(_end).ConfigureAwait(false);
        }
        finally
        {
            _reading.Release();
            _writing.Release();
        }
    }

    private async ValueTask<long> WriteAsync(Wire.Envelope envelope, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_closed || call.Aborted.IsCancellationRequested)
                throw Gone();
            long bytes = await Framing.WriteAsync(call.Output, envelope, cancellationToken).ConfigureAwait(false);
            return call.Aborted.IsCancellationRequested ? throw Gone() : bytes;
        }
        catch (Exception e) when (IsLoss(e, cancellationToken))
        {
            throw Gone(e);
        }
        finally
        {
            _writing.Release();
        }
    }

    // The stacks report a lost peer as IOException, as a cancellation nobody here asked for, or as use of a stream that is over.
    private static bool IsLoss(Exception e, CancellationToken cancellationToken) =>
        e is IOException or InvalidOperationException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested);
}
