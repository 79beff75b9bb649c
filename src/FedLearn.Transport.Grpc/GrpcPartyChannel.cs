using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FedLearn.Diagnostics;
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
/// <param name="call">The call.</param>
/// <param name="local">Name of the party on this side.</param>
/// <param name="remote">Name of the party on the other side.</param>
/// <param name="options">Settings.</param>
/// <param name="mostBytes">Most bytes that are taken from the other side in all.</param>
internal sealed class GrpcPartyChannel(IExchangeCall call, string local, string remote, ChannelOptions options, long mostBytes = long.MaxValue) : PartyChannel(local, remote, options)
{
    // As many bytes of a model as are under way at a time.
    private const int PieceBytes = 128 << 10;

    // The streams of a call are pooled by the HTTP stack and must not be touched after its end. Who reads or writes holds the gate; who disposes takes both.
    private readonly SemaphoreSlim _reading = new(1, 1), _writing = new(1, 1);
    private volatile bool _closed;
    // Whether a message was begun and has not left whole: nothing can follow it. Under the gate of writing.
    private bool _torn;
    // A message that its writer no longer waits for. Under the gate of writing.
    private Task<FlushResult>? _leaving;
    private int _disposed;
    private long _received;
    private Status _end = new(StatusCode.Cancelled);
    private readonly PayloadPool _pool = new();

    /// <summary>Work of the process that is over before the channel is. Its failure is no matter of the session.</summary>
    public Task Rehearsal { get; init; } = CodecRehearsal.Started;

    /// <summary>What ties the session to both sides' certificates; null over plaintext.</summary>
    public byte[]? Binding { get; init; }

    /// <inheritdoc />
    public override bool TakesTransient => true;

    /// <inheritdoc />
    public override void Return(Payload payload) => _pool.Return(payload);

    /// <inheritdoc />
    protected override ValueTask<long> WriteMessageAsync(int round, Payload payload, CancellationToken cancellationToken)
    {
        CheckSize(round, payload.PackedBytes + EnvelopeCodec.MostOverhead, payload);
        return payload switch
        {
            RoundVector vector => WriteVectorAsync(round, vector, cancellationToken),
            ModelParameters { ElementType: ElementType.Float64, Length: > PieceBytes / sizeof(double) } model when BitConverter.IsLittleEndian => WriteModelAsync(round, model, cancellationToken),
            _ => WriteAsync(EnvelopeCodec.Encode(round, payload), cancellationToken),
        };
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
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    protected override async ValueTask<ChannelFrame> ReadFrameAsync(CancellationToken cancellationToken)
    {
        await _reading.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_closed)
                throw Gone();
            while (true)
            {
                ReadResult result = await call.Input.ReadAsync(cancellationToken).ConfigureAwait(false);
                if (TryTake(result, out ChannelFrame frame))
                    return frame;
                // Some peers say why in the status of the call instead of a last message.
                if (result.IsCompleted)
                    return result.Buffer.IsEmpty && call.RemoteStatus?.ErrorId is { } id ? ChannelFrame.Aborted(id) : throw Gone();
            }
        }
        catch (RpcException e)
        {
            _end = e.Status;
            throw Error(e.Status.ErrorId ?? ProtocolErrors.Malformed, "channel", e.Status.Detail, e.Status.ErrorId switch
            {
                ProtocolErrors.TooLarge => "Raise transport.maxMessageBytes at both sides, or use fewer rows, or fewer columns where they are encrypted; a message of a batch is smaller with more batches per epoch.",
                GrpcErrors.TooManyBytes => "Train for fewer rounds, or raise the quota of bytes per session at the host.",
                _ => "Check that both parties run the same release of the software.",
            }, e);
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
        if (_leaving is { } leaving)
        {
            call.Output.CancelPendingFlush();
            await ((Task)leaving).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        await _reading.WaitAsync().ConfigureAwait(false);
        await Rehearsal.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
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

    /// <summary>Takes a message from what was read, once all of it is there.</summary>
    private bool TryTake(in ReadResult result, out ChannelFrame frame)
    {
        ReadOnlySequence<byte> buffer = result.Buffer;
        frame = default;
        if (result.IsCanceled)
        {
            call.Input.AdvanceTo(buffer.Start);
            throw Gone();
        }

        if (buffer.Length >= Framing.PrefixBytes)
        {
            long bytes = Framing.PrefixBytes + (long)Framing.ReadPrefix(buffer, Options.MaxMessageBytes);
            if (buffer.Length >= bytes)
            {
                ReadOnlySequence<byte> body = buffer.Slice(Framing.PrefixBytes, bytes - Framing.PrefixBytes);
                if ((_received += bytes) > mostBytes)
                    throw new RpcException(StatusCode.ResourceExhausted, $"sent more than {mostBytes} bytes in one session.", GrpcErrors.TooManyBytes);
                frame = EnvelopeCodec.Read(body, _pool, bytes);
                call.Input.AdvanceTo(body.End);
                return true;
            }
        }

        call.Input.AdvanceTo(buffer.Start, buffer.End);
        return false;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<long> WriteVectorAsync(int round, RoundVector vector, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await BeginAsync(cancellationToken).ConfigureAwait(false);
            long bytes = RoundVectorCodec.Write(call.Output, round, vector);
            await FlushAsync(call.Output.FlushAsync(CancellationToken.None).AsTask(), cancellationToken).ConfigureAwait(false);
            return bytes;
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

    private ValueTask<long> WriteAsync(Wire.Envelope envelope, CancellationToken cancellationToken) => WriteAsync(() =>
    {
        long bytes = Framing.Write(call.Output, envelope);
        return (bytes, call.Output.FlushAsync(CancellationToken.None).AsTask());
    }, cancellationToken);

    /// <summary>Writes a model in pieces, the next when the one before has left: a server sends one model to all its devices, and would else have a copy of it for each that is slow to read.</summary>
    private ValueTask<long> WriteModelAsync(int round, ModelParameters model, CancellationToken cancellationToken) => WriteAsync(() =>
    {
        byte[] head = RoundVectorCodec.Head(round, model);
        return (head.Length + model.PackedBytes, LeaveAsync());

        async Task<FlushResult> LeaveAsync()
        {
            call.Output.Write(head);
            FlushResult flushed = default;
            for (int at = 0; at < model.Length && !flushed.IsCanceled && !flushed.IsCompleted; at += PieceBytes / sizeof(double))
            {
                call.Output.Write(MemoryMarshal.AsBytes(model.Values.Span[at..Math.Min(model.Length, at + PieceBytes / sizeof(double))]));
                flushed = await call.Output.FlushAsync(CancellationToken.None).ConfigureAwait(false);
            }

            return flushed;
        }
    }, cancellationToken);

    private async ValueTask<long> WriteAsync(Func<(long Bytes, Task<FlushResult> Leaving)> write, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await BeginAsync(cancellationToken).ConfigureAwait(false);
            (long bytes, Task<FlushResult> leaving) = write();
            await FlushAsync(leaving, cancellationToken).ConfigureAwait(false);
            return bytes;
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

    /// <summary>Passes messages of training rounds to a channel's own other end, so that the code is compiled: of zeros, and longer than the call takes at once, so that their writer waits as for a socket.</summary>
    internal static async Task RehearseAsync()
    {
        double[] zeros = new double[4096];
        var lattice = LatticeVector.Of(zeros, 1, 1 << 27);
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: zeros.Length, resumeWriterThreshold: zeros.Length / 2));
        var channel = new GrpcPartyChannel(new Loop(pipe), "rehearsal", "rehearsal", new ChannelOptions()) { Rehearsal = Task.CompletedTask };
        RoundVector[] payloads = [new Scores(zeros), new Residuals(zeros), new Scores(lattice), new Residuals(lattice)];
        for (int round = 0; round < payloads.Length; round++)
        {
            ValueTask<long> writing = channel.WriteMessageAsync(round, payloads[round], CancellationToken.None);
            ChannelFrame frame = await channel.ReadFrameAsync(CancellationToken.None).ConfigureAwait(false);
            await writing.ConfigureAwait(false);
            channel.Return(frame.Payload!);
        }
    }

    private sealed class Loop(Pipe pipe) : IExchangeCall
    {
        public PipeReader Input => pipe.Reader;

        public PipeWriter Output => pipe.Writer;

        public CancellationToken Aborted => CancellationToken.None;

        public Status? RemoteStatus => null;

        public ValueTask EndAsync(Status status) => ValueTask.CompletedTask;
    }

    /// <summary>Begins a message, behind one whose writer was cancelled while it was leaving.</summary>
    private async ValueTask BeginAsync(CancellationToken cancellationToken)
    {
        if (_leaving is { } leaving)
        {
            await leaving.WaitAsync(cancellationToken).ConfigureAwait(false);
            (_leaving, _torn) = (null, false);
        }

        if (_closed || _torn || call.Aborted.IsCancellationRequested)
            throw Gone();
        _torn = true;
    }

    /// <summary>Ends a message. A caller that is cancelled leaves it on its way: HttpClient resets the whole call where the token of a write is cancelled, and the other side then loses what it has not read, this side's last words too.</summary>
    private async ValueTask FlushAsync(Task<FlushResult> leaving, CancellationToken cancellationToken)
    {
        FlushResult flushed;
        try
        {
            flushed = await leaving.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            _leaving = leaving;
            throw;
        }

        _torn = false;
        if (flushed.IsCanceled || flushed.IsCompleted || call.Aborted.IsCancellationRequested)
            throw Gone();
    }

    /// <summary>The error of a lost connection; where the host gave it up, with what would have kept it.</summary>
    private new PeerException Gone(Exception? inner = null)
    {
        // Kestrel has no type or code for it, only these words.
        for (Exception? e = inner; e is not null; e = e.InnerException)
            if (e.Message.Contains("keep alive ping", StringComparison.OrdinalIgnoreCase))
                return Error(ProtocolErrors.PeerGone, "channel", "nothing came over the connection, not even the answer to a ping, for as long as SilenceTimeout of the host allows.",
                    "Check that the peer's machine is running and reachable. Where one of the two had far more work than processors, or the line was full, raise GrpcHostOptions.SilenceTimeout at the host.", inner);
        return base.Gone(inner);
    }

    // The stacks report a lost peer as IOException, as a cancellation nobody here asked for, or as use of a stream that is over; an output that is over may also give no memory, which copying to it tells as a fault
    // of its argument "writer".
    private static bool IsLoss(Exception e, CancellationToken cancellationToken) =>
        e is IOException or InvalidOperationException or ArgumentOutOfRangeException { ParamName: "writer" } || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested);
}
