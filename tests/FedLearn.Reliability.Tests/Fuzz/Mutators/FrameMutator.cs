using System.Buffers.Binary;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Streams of gRPC messages with spoilt prefixes: compressed flag, lengths, truncation, several messages, and bodies that are changed themselves.</summary>
internal static class FrameMutator
{
    private static readonly uint[] Lengths = [0, 1, 4, 5, 100, 1 << 20, (1 << 20) + 1, int.MaxValue - 5, int.MaxValue - 4, int.MaxValue, 0x80000000, uint.MaxValue - 5, uint.MaxValue];

    public static byte[] Make(FuzzRandom random, IReadOnlyList<byte[]> bodies)
    {
        using var stream = new MemoryStream();
        Span<byte> length = stackalloc byte[4];
        for (int messages = random.OneIn(3) ? random.Spread(20) : 1; messages > 0; messages--)
        {
            byte[] body = random.OneIn(3) ? random.Of(bodies) : ProtobufMutator.Mutate(random, bodies);
            stream.WriteByte(random.OneIn(12) ? random.Byte() : random.OneIn(12) ? (byte)1 : (byte)0);
            BinaryPrimitives.WriteUInt32BigEndian(length, random.OneIn(6) ? random.Of(Lengths) : random.OneIn(12) ? (uint)Math.Max(0, body.Length + random.Between(-6, 6)) : (uint)body.Length);
            stream.Write(length);
            stream.Write(body);
        }

        byte[] bytes = stream.ToArray();
        return random.OneIn(8) ? bytes[..random.Below(bytes.Length + 1)] : random.OneIn(12) ? ByteMutator.Mutate(random, bytes, bodies) : bytes;
    }
}
