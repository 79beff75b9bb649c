using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using FedLearn.Protocol;
using Google.Protobuf;

namespace FedLearn.Transport.Grpc.Rpc;

/// <summary>Messages of gRPC on a byte stream: one byte compressed flag, four bytes length big-endian, then the message.</summary>
internal static class Framing
{
    public const int PrefixBytes = 5;

    /// <summary>Writes one message and flushes it.</summary>
    /// <returns>Bytes written, prefix included.</returns>
    public static async ValueTask<long> WriteAsync(PipeWriter output, IMessage message, CancellationToken cancellationToken)
    {
        long bytes = Write(output, message);
        FlushResult flushed = await output.FlushAsync(cancellationToken).ConfigureAwait(false);
        if (flushed.IsCanceled || flushed.IsCompleted)
            throw new IOException("The stream was closed while a message was written.");
        return bytes;
    }

    /// <summary>Writes one message, and does not flush it.</summary>
    /// <returns>Bytes written, prefix included.</returns>
    public static long Write(PipeWriter output, IMessage message)
    {
        int size = message.CalculateSize();
        WritePrefix(output.GetSpan(PrefixBytes), size);
        output.Advance(PrefixBytes);
        message.WriteTo(output);
        return PrefixBytes + (long)size;
    }

    /// <summary>One message with its prefix.</summary>
    public static byte[] Frame(IMessage message)
    {
        int size = message.CalculateSize();
        var frame = new byte[PrefixBytes + size];
        WritePrefix(frame, size);
        message.WriteTo(frame.AsSpan(PrefixBytes));
        return frame;
    }

    /// <summary>Reads one message.</summary>
    /// <returns>The message and its size, prefix included; null at the end of the stream.</returns>
    /// <exception cref="RpcException">Compressed, over the limit, or no valid message. The length is checked before anything of the message is kept.</exception>
    /// <exception cref="EndOfStreamException">The stream ended inside a message.</exception>
    public static async ValueTask<(T Message, long Bytes)?> ReadAsync<T>(PipeReader input, MessageParser<T> parser, int maxMessageBytes,
        CancellationToken cancellationToken) where T : IMessage<T>
    {
        while (true)
        {
            ReadResult result = await input.ReadAsync(cancellationToken).ConfigureAwait(false);
            ReadOnlySequence<byte> buffer = result.Buffer;
            if (result.IsCanceled)
            {
                input.AdvanceTo(buffer.Start);
                throw new IOException("The stream was closed while a message was read.");
            }

            if (buffer.Length >= PrefixBytes)
            {
                int size = ReadPrefix(buffer, maxMessageBytes);
                if (buffer.Length >= PrefixBytes + (long)size)
                {
                    ReadOnlySequence<byte> body = buffer.Slice(PrefixBytes, size);
                    T message = Parse(parser, body);
                    input.AdvanceTo(body.End);
                    return (message, PrefixBytes + (long)size);
                }
            }

            input.AdvanceTo(buffer.Start, buffer.End);
            if (result.IsCompleted)
                return buffer.IsEmpty ? null : throw new EndOfStreamException("The stream ended inside a message.");
        }
    }

    /// <summary>A message without its prefix.</summary>
    /// <exception cref="RpcException">FL4005: it is none.</exception>
    public static T Parse<T>(MessageParser<T> parser, ReadOnlySequence<byte> body) where T : IMessage<T>
    {
        try
        {
            return parser.ParseFrom(body);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or IndexOutOfRangeException or ArgumentException or InvalidOperationException or OverflowException)
        {
            // The parser checks less than it says: lengths of nested messages that do not fit together let it read past the end of its buffer.
            throw new RpcException(StatusCode.InvalidArgument, "sent bytes that are no message of the protocol.", ProtocolErrors.Malformed, e);
        }
    }

    /// <summary>Reads, and drops, what the other side sends until it ends its side of the call, is gone, or does not end within the time.</summary>
    public static async Task SkipToEndAsync(PipeReader input, TimeSpan limit)
    {
        using var timeUp = new CancellationTokenSource(limit);
        try
        {
            ReadResult rest;
            do
            {
                rest = await input.ReadAsync(timeUp.Token).ConfigureAwait(false);
                input.AdvanceTo(rest.Buffer.End);
            }
            while (!rest.IsCompleted);
        }
        catch (Exception e) when (e is IOException or InvalidOperationException or OperationCanceledException or HttpRequestException)
        {
            // The other side is gone already, or does not end; there is nothing more to wait for.
        }
    }

    /// <summary>Writes the prefix of a message of so many bytes.</summary>
    public static void WritePrefix(Span<byte> prefix, int size)
    {
        prefix[0] = 0;
        BinaryPrimitives.WriteInt32BigEndian(prefix[1..], size);
    }

    /// <summary>Reads the prefix of a message: its size.</summary>
    /// <exception cref="RpcException">Compressed, or over the limit.</exception>
    public static int ReadPrefix(ReadOnlySequence<byte> buffer, int maxMessageBytes)
    {
        Span<byte> prefix = stackalloc byte[PrefixBytes];
        buffer.Slice(0, PrefixBytes).CopyTo(prefix);
        if (prefix[0] == 1)
            throw new RpcException(StatusCode.Unimplemented, "sent a compressed message, which this side does not read.", ProtocolErrors.Malformed);
        if (prefix[0] != 0)
            throw new RpcException(StatusCode.Internal, "sent bytes that are no gRPC message.", ProtocolErrors.Malformed);
        uint size = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
        if (size + (long)PrefixBytes > maxMessageBytes)
            throw new RpcException(StatusCode.ResourceExhausted, $"announced a message of {size + (long)PrefixBytes} bytes; the limit is {maxMessageBytes}.", ProtocolErrors.TooLarge);
        return (int)size;
    }
}
