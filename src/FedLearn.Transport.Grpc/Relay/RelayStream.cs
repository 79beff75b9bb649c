using System.Buffers;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Transport.Grpc;

/// <summary>A party's end of a connection through a coordinator: bytes in, bytes out, in the chunks of a call. One reader and one writer at a time.</summary>
/// <param name="relay">The way, for messages.</param>
/// <param name="connection">The connection to the coordinator, which the call owns.</param>
/// <param name="call">The call.</param>
/// <param name="shutdownTimeout">How long the end waits for last bytes to leave.</param>
internal sealed class RelayStream(GrpcRelay relay, ClientConnection connection, ClientExchange call, TimeSpan shutdownTimeout) : Stream
{
    // Sent in pieces that fit a pooled buffer; read generously.
    private const int SentBytes = 64 << 10, LargestFrame = (1 << 20) + 64;
    private const byte DataTag = 1 << 3 | 2; // field 1 of Chunk, with a length

    // The streams of a call must not be touched after its end. Who reads or writes holds the gate; who disposes takes both.
    private readonly SemaphoreSlim _reading = new(1, 1), _writing = new(1, 1);
    private ReadOnlyMemory<byte> _rest;
    private bool _ended;
    private volatile bool _closed, _over;
    private int _disposed, _told;

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Waits until the coordinator has found the other side. Called once, before anything else.</summary>
    /// <exception cref="PeerException">The coordinator refused or was lost.</exception>
    public async Task PairedAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (await Framing.ReadAsync(call.Input, Wire.Chunk.Parser, LargestFrame, cancellationToken).ConfigureAwait(false) is not null)
                return;
        }
        catch (Exception e) when (e is IOException or HttpRequestException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw Lost(e);
        }

        throw call.RemoteStatus is { Code: not StatusCode.Ok } refused ? connection.Error(refused, null) : Lost(null);
    }

    /// <inheritdoc />
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        await _reading.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            while (_rest.IsEmpty && !_ended)
                await FillAsync(cancellationToken).ConfigureAwait(false);
            int count = Math.Min(buffer.Length, _rest.Length);
            _rest[..count].CopyTo(buffer);
            _rest = _rest[count..];
            return count;
        }
        finally
        {
            _reading.Release();
        }
    }

    /// <inheritdoc />
    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        WriteAsync(new ReadOnlySequence<byte>(buffer), cancellationToken);

    /// <summary>Writes bytes that lie in pieces.</summary>
    public async ValueTask WriteAsync(ReadOnlySequence<byte> bytes, CancellationToken cancellationToken = default)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            for (ReadOnlySequence<byte> left = bytes; !left.IsEmpty; left = left.Slice(Math.Min(left.Length, SentBytes)))
            {
                if (_closed || _over)
                    throw new IOException("The relayed connection is closed.");
                WriteChunk(left.Slice(0, Math.Min(left.Length, SentBytes)));
                if (await call.Output.FlushAsync(cancellationToken).ConfigureAwait(false) is { IsCompleted: true } or { IsCanceled: true })
                    throw new IOException("The relayed connection is closed.");
            }
        }
        catch (Exception e) when (IsLoss(e, cancellationToken))
        {
            throw new IOException("The relayed connection is lost.", e);
        }
        finally
        {
            _writing.Release();
        }
    }

    /// <summary>Drops the connection to the coordinator as the death of this process would.</summary>
    public void Kill() => connection.Kill();

    /// <summary>Ends this side's direction once what was written has left, and with it the connection.</summary>
    public override async ValueTask DisposeAsync()
    {
        await CloseAsync().ConfigureAwait(false);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    private async Task CloseAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _closed = true;
        call.Input.CancelPendingRead();
        await _reading.WaitAsync().ConfigureAwait(false);
        if (!await _writing.WaitAsync(shutdownTimeout).ConfigureAwait(false))
        {
            Kill(); // the other side does not read, and a write waits for it
            await _writing.WaitAsync().ConfigureAwait(false);
        }

        await call.EndAsync(Status.Ok).ConfigureAwait(false);
        // A write that failed may have ended the stream before a read came to why.
        if (call.RemoteStatus is { Code: not StatusCode.Ok } cut)
            Tell(cut);
    }

    public override void Flush() { }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _ = CloseAsync(); // the HTTP stack disposes without waiting; the last bytes leave in the background
        base.Dispose(disposing);
    }

    private async ValueTask FillAsync(CancellationToken cancellationToken)
    {
        if (_closed)
            throw new IOException("The relayed connection is closed.");
        try
        {
            if (await Framing.ReadAsync(call.Input, Wire.Chunk.Parser, LargestFrame, cancellationToken).ConfigureAwait(false) is var (chunk, _))
            {
                _rest = chunk.Data.Memory;
                return;
            }
        }
        catch (Exception e) when (IsLoss(e, cancellationToken))
        {
            EndWriting();
            throw new IOException("The relayed connection is lost.", e);
        }

        EndWriting();
        if (call.RemoteStatus is { Code: not StatusCode.Ok } cut)
        {
            Tell(cut);
            throw new IOException($"The relayed connection was cut: {cut.Detail}");
        }

        _ended = true;
    }

    // Users of this stream see a lost connection only. Why the coordinator cut it is known here, and told once.
    private void Tell(Status cut)
    {
        if (cut.ErrorId is not null and not ProtocolErrors.PeerGone && Interlocked.Exchange(ref _told, 1) == 0)
            relay.Changed?.Invoke(connection.Error(cut, null));
    }

    // Ends a write that waits for room: nobody reads any more, and the end of a call makes no room.
    private void EndWriting()
    {
        _over = true;
        call.Output.CancelPendingFlush();
    }

    // What Chunk.WriteTo writes after the prefix of gRPC, without copying the bytes into a message first.
    private void WriteChunk(ReadOnlySequence<byte> data)
    {
        Span<byte> head = call.Output.GetSpan(Framing.PrefixBytes + 1 + sizeof(long));
        int at = Framing.PrefixBytes;
        head[at++] = DataTag;
        RoundVectorCodec.Varint(head, ref at, (int)data.Length);
        Framing.WritePrefix(head, at - Framing.PrefixBytes + (int)data.Length);
        call.Output.Advance(at);
        foreach (ReadOnlyMemory<byte> piece in data)
            call.Output.Write(piece.Span);
    }

    private static bool IsLoss(Exception e, CancellationToken cancellationToken) => e switch
    {
        IOException or HttpRequestException or RpcException or ObjectDisposedException or InvalidOperationException => true,
        OperationCanceledException => !cancellationToken.IsCancellationRequested,
        _ => false,
    };

    private PeerException Lost(Exception? inner) => new(ProtocolErrors.PeerGone, relay.Name, "the connection to the coordinator ended before it had found the other party.",
        "Look at the coordinator's log.", inner)
    { Peer = relay.Host };
}
