using System.Buffers.Binary;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Changes bytes without knowing what they mean.</summary>
internal static class ByteMutator
{
    private static readonly byte[] Telling = [0, 1, 9, 10, 13, 0x1F, 0x20, 0x22, 0x2C, 0x2D, 0x2E, 0x30, 0x39, 0x3A, 0x5B, 0x5C, 0x7B, 0x7F, 0x80, 0xBF, 0xC0, 0xED, 0xEF, 0xF4, 0xFE, 0xFF];

    private static readonly long[] Numbers = [0, 1, -1, 7, 127, 128, 255, 256, short.MaxValue, ushort.MaxValue, int.MaxValue, int.MinValue, uint.MaxValue, 1L << 31, 1L << 32, long.MaxValue, long.MinValue];

    /// <summary>Bytes with some changes.</summary>
    public static byte[] Mutate(FuzzRandom random, byte[] bytes, IReadOnlyList<byte[]> others)
    {
        var list = new List<byte>(bytes);
        for (int changes = random.Between(1, 4); changes > 0; changes--)
            Change(random, list, others);
        return [.. list];
    }

    private static void Change(FuzzRandom random, List<byte> bytes, IReadOnlyList<byte[]> others)
    {
        int at = random.Below(bytes.Count), length = Math.Min(bytes.Count - at, random.Spread(256));
        switch (random.Below(11))
        {
            case 0 when bytes.Count > 0:
                bytes[at] ^= (byte)(1 << random.Below(8));
                break;
            case 1 when bytes.Count > 0:
                bytes[at] = random.Of(Telling);
                break;
            case 2:
                bytes.Insert(at, random.OneIn(2) ? random.Byte() : random.Of(Telling));
                break;
            case 3:
                bytes.RemoveRange(at, length);
                break;
            case 4:
                bytes.InsertRange(random.Below(bytes.Count + 1), bytes.GetRange(at, length));
                break;
            case 5:
                Number(random, bytes, at);
                break;
            case 6:
                bytes.RemoveRange(at, bytes.Count - at);
                break;
            case 7:
                byte[] other = random.Of(others);
                int from = random.Below(other.Length);
                bytes.RemoveRange(at, length);
                bytes.InsertRange(at, other.AsSpan(from, Math.Min(other.Length - from, random.Spread(1024))).ToArray());
                break;
            case 8:
                bytes.InsertRange(at, Enumerable.Repeat(random.Of(Telling), random.OneIn(50) ? random.Spread(1 << 16) : random.Spread(512)));
                break;
            case 9:
                for (int i = 0; i < length; i++)
                    bytes[at + i] = random.Byte();
                break;
            default:
                bytes.InsertRange(0, random.OneIn(2) ? [0xEF, 0xBB, 0xBF] : [0xFF, 0xFE]);
                break;
        }
    }

    private static void Number(FuzzRandom random, List<byte> bytes, int at)
    {
        Span<byte> number = stackalloc byte[8];
        long value = random.OneIn(4) ? bytes.Count + random.Between(-2, 2) : random.Of(Numbers);
        if (random.OneIn(2))
            BinaryPrimitives.WriteInt64LittleEndian(number, value);
        else
            BinaryPrimitives.WriteInt64BigEndian(number, value);
        int width = 1 << random.Below(4);
        ReadOnlySpan<byte> chosen = random.OneIn(2) ? number[..width] : number[(8 - width)..];
        for (int i = 0; i < width && at + i < bytes.Count; i++)
            bytes[at + i] = chosen[i];
    }
}
