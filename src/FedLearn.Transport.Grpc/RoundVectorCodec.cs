using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Transport.Grpc;

/// <summary>The messages of training rounds, written and read without an object of the protobuf library in between: from the vector's memory to the stream, and from the stream to memory
/// of a pool.</summary>
/// <remarks>What is written is byte for byte what the library writes. What is read is that form alone, each field at most once and in order; anything else, valid or not, is left to the
/// library.</remarks>
internal static class RoundVectorCodec
{
    // Tags of protos/fedlearn/v1/federation.proto: number of the field times 8, plus its wire type.
    private const byte RoundTag = 1 << 3, ScoresTag = (2 << 3) | Bytes, ResidualsTag = (3 << 3) | Bytes;
    private const byte TypeTag = 1 << 3, DataTag = (2 << 3) | Bytes, StepTag = (3 << 3) | Fixed64, BitsTag = 4 << 3, LengthTag = 5 << 3;
    private const byte Fixed64 = 1, Bytes = 2;

    private const int ModelTag = (Wire.Envelope.ModelParametersFieldNumber << 3) | Bytes;

    /// <summary>Most bytes of everything but the packed elements.</summary>
    private const int MostHead = EnvelopeCodec.MostOverhead;

    /// <summary>Appends a message with its gRPC prefix.</summary>
    /// <param name="output">Where to.</param>
    /// <param name="round">Round of the message.</param>
    /// <param name="payload">Its vector.</param>
    /// <returns>Bytes appended.</returns>
    public static long Write(IBufferWriter<byte> output, int round, RoundVector payload)
    {
        int data = checked((int)payload.PackedBytes);
        // tail: what follows the elements inside the vector; inner: what precedes them there; head: what precedes the vector.
        Span<byte> tail = stackalloc byte[MostHead], inner = stackalloc byte[MostHead], head = stackalloc byte[MostHead];
        int tailLength = 0, innerLength = 0, headLength = Framing.PrefixBytes;
        if (payload.Lattice is { } lattice)
        {
            tail[tailLength++] = StepTag;
            BinaryPrimitives.WriteDoubleLittleEndian(tail[tailLength..], lattice.Step);
            tailLength += sizeof(double);
            Number(tail, ref tailLength, BitsTag, lattice.Bits);
            Number(tail, ref tailLength, LengthTag, lattice.Length);
        }

        Number(inner, ref innerLength, TypeTag, (int)payload.ElementType);
        if (data > 0)
        {
            inner[innerLength++] = DataTag;
            Varint(inner, ref innerLength, data);
        }

        Number(head, ref headLength, RoundTag, round);
        head[headLength++] = payload is Scores ? ScoresTag : ResidualsTag;
        Varint(head, ref headLength, checked(innerLength + data + tailLength));
        inner[..innerLength].CopyTo(head[headLength..]);
        headLength += innerLength;
        int size = checked(headLength + data + tailLength);
        Framing.WritePrefix(head, size - Framing.PrefixBytes);
        if (size <= MostAtOnce)
        {
            Span<byte> all = output.GetSpan(size);
            head[..headLength].CopyTo(all);
            Pack(payload, all.Slice(headLength, data));
            tail[..tailLength].CopyTo(all[(headLength + data)..]);
            output.Advance(size);
            return size;
        }

        output.Write(head[..headLength]);
        if (payload.Lattice is { } integers)
            output.Write(integers.Packed.Span);
        else
            WriteNumbers(output, payload);
        output.Write(tail[..tailLength]);
        return size;
    }

    /// <summary>What precedes the numbers of a model, its gRPC prefix included. The numbers, as they are in memory, end the message.</summary>
    /// <param name="round">Round of the message.</param>
    /// <param name="model">The model, of at least one number.</param>
    public static byte[] Head(int round, ModelParameters model)
    {
        int data = checked((int)model.PackedBytes), innerLength = 0, headLength = Framing.PrefixBytes;
        Span<byte> inner = stackalloc byte[MostHead], head = stackalloc byte[MostHead];
        Number(inner, ref innerLength, TypeTag, (int)model.ElementType);
        inner[innerLength++] = DataTag;
        Varint(inner, ref innerLength, data);
        Number(head, ref headLength, RoundTag, round);
        Varint(head, ref headLength, ModelTag);
        Varint(head, ref headLength, checked(innerLength + data));
        inner[..innerLength].CopyTo(head[headLength..]);
        headLength += innerLength;
        Framing.WritePrefix(head, checked(headLength + data - Framing.PrefixBytes));
        return head[..headLength].ToArray();
    }

    // A message up to this size is written into one piece of memory.
    private const int MostAtOnce = 2048;

    private static void WriteNumbers(IBufferWriter<byte> output, RoundVector payload)
    {
        int width = payload.ElementType == ElementType.Float32 ? sizeof(float) : sizeof(double);
        ReadOnlySpan<double> values = payload.Values.Span;
        while (!values.IsEmpty)
        {
            Span<byte> piece = output.GetSpan(width);
            int count = Math.Min(values.Length, piece.Length / width);
            Pack(values[..count], width, piece);
            output.Advance(count * width);
            values = values[count..];
        }
    }

    private static void Pack(RoundVector payload, Span<byte> data)
    {
        if (payload.Lattice is { } lattice)
            lattice.Packed.Span.CopyTo(data);
        else
            Pack(payload.Values.Span, payload.ElementType == ElementType.Float32 ? sizeof(float) : sizeof(double), data);
    }

    private static void Pack(ReadOnlySpan<double> values, int width, Span<byte> data)
    {
        if (width == sizeof(double) && BitConverter.IsLittleEndian)
            MemoryMarshal.AsBytes(values).CopyTo(data);
        else if (width == sizeof(double))
            for (int i = 0; i < values.Length; i++)
                BinaryPrimitives.WriteDoubleLittleEndian(data[(i * width)..], values[i]);
        else
            for (int i = 0; i < values.Length; i++)
                BinaryPrimitives.WriteSingleLittleEndian(data[(i * width)..], (float)values[i]);
    }

    /// <summary>Reads a message without its prefix.</summary>
    /// <param name="body">The message.</param>
    /// <param name="pool">Memory for its vector.</param>
    /// <param name="bytes">Its size, framing included.</param>
    /// <param name="frame">The message.</param>
    /// <returns>False: it is not one of a training round, or not in the form in which such are written; nothing is known of it then.</returns>
    public static bool TryRead(ReadOnlySequence<byte> body, PayloadPool pool, long bytes, out ChannelFrame frame)
    {
        frame = default;
        var reader = new SequenceReader<byte>(body);
        int round = 0;
        if (!reader.TryRead(out byte tag) || (tag == RoundTag && !(TryNumber(ref reader, out round) && round > 0 && reader.TryRead(out tag))))
            return false;
        bool scores = tag == ScoresTag;
        if ((!scores && tag != ResidualsTag) || !TryNumber(ref reader, out int vector) || vector != reader.Remaining)
            return false;
        int type = 0, length = 0, bits = 0;
        long step = 0;
        ReadOnlySequence<byte> data = default;
        int last = 0;
        while (reader.TryRead(out tag))
        {
            if (tag <= last)
                return false;
            last = tag;
            switch (tag)
            {
                case TypeTag when TryNumber(ref reader, out type) && type > 0:
                    break;
                case DataTag when TryNumber(ref reader, out int size) && size <= reader.Remaining:
                    data = reader.UnreadSequence.Slice(0, size);
                    reader.Advance(size);
                    break;
                case StepTag when reader.TryReadLittleEndian(out step):
                    break;
                case BitsTag when TryNumber(ref reader, out bits):
                    break;
                case LengthTag when TryNumber(ref reader, out length):
                    break;
                default:
                    return false;
            }
        }

        if (type > (int)ElementType.Lattice || (type != (int)ElementType.Lattice && last > DataTag))
            return false;
        double oneStep = BitConverter.Int64BitsToDouble(step);
        RoundVector? payload = scores ? pool.Read<Scores>((ElementType)type, oneStep, bits, length, data) : pool.Read<Residuals>((ElementType)type, oneStep, bits, length, data);
        if (payload is null)
            return false;
        frame = ChannelFrame.Message(round, payload, bytes);
        return true;
    }

    // Protocol buffers leave out a number that is 0.
    private static void Number(Span<byte> output, ref int at, byte tag, int number)
    {
        if (number == 0)
            return;
        output[at++] = tag;
        Varint(output, ref at, number);
    }

    /// <summary>Appends a number that is not negative, as protocol buffers write one.</summary>
    internal static void Varint(Span<byte> output, ref int at, int number)
    {
        uint left = (uint)number;
        for (; left >= 0x80; left >>= 7)
            output[at++] = (byte)((left & 0x7F) | 0x80);
        output[at++] = (byte)left;
    }

    // Whole numbers from 0 to 2^31 - 1 in their shortest form; others are left to the library.
    private static bool TryNumber(ref SequenceReader<byte> reader, out int number)
    {
        const int MostBytes = 5;
        ulong value = 0;
        number = 0;
        for (int i = 0; i < MostBytes; i++)
        {
            if (!reader.TryRead(out byte next))
                return false;
            value |= (ulong)(next & 0x7Fu) << (7 * i);
            if (next >= 0x80)
                continue;
            number = unchecked((int)value);
            return value <= int.MaxValue && (next > 0 || i == 0);
        }

        return false;
    }
}
