using System.Buffers.Binary;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Changes protobuf by its wire format, without a schema: tags, varints, lengths, nested messages, fields twice, left out, moved or of another wire type.</summary>
internal static class ProtobufMutator
{
    private const int Varint = 0, Fixed64 = 1, Bytes = 2, StartGroup = 3, EndGroup = 4, Fixed32 = 5;

    private static readonly ulong[] Numbers = [0, 1, 2, 3, 5, 7, 8, 9, 31, 32, 53, 54, 127, 128, 255, 256, int.MaxValue, 1UL << 31, uint.MaxValue, 1UL << 32, long.MaxValue, 1UL << 63, ulong.MaxValue];

    /// <summary>Field of a message, as it stands on the wire.</summary>
    /// <param name="Number">Field number.</param>
    /// <param name="Type">Wire type.</param>
    /// <param name="Value">Value of a varint or fixed field.</param>
    /// <param name="Data">Data of a field of bytes.</param>
    private sealed record Field(ulong Number, int Type, ulong Value, byte[] Data);

    /// <summary>A changed message; one in six is changed as bytes instead.</summary>
    public static byte[] Mutate(FuzzRandom random, IReadOnlyList<byte[]> seeds)
    {
        byte[] seed = random.Of(seeds);
        if (random.OneIn(6) || Parse(seed) is not { } fields)
            return ByteMutator.Mutate(random, seed, seeds);
        for (int changes = random.OneIn(3) ? random.Between(2, 5) : 1; changes > 0; changes--)
            Change(random, fields, seeds, depth: 0);
        return Write(random, fields);
    }

    private static void Change(FuzzRandom random, List<Field> fields, IReadOnlyList<byte[]> seeds, int depth)
    {
        if (fields.Count == 0 || random.OneIn(8))
        {
            fields.Insert(random.Below(fields.Count + 1), Made(random));
            return;
        }

        int at = random.Below(fields.Count);
        Field field = fields[at];
        if (field.Type == Bytes && depth < 3 && random.OneIn(2) && Parse(field.Data) is { Count: > 0 } inner)
        {
            Change(random, inner, seeds, depth + 1);
            fields[at] = field with { Data = Write(random, inner) };
            return;
        }

        switch (random.Below(10))
        {
            case 0:
                fields.RemoveAt(at);
                break;
            case 1:
                fields.Insert(random.Below(fields.Count + 1), field);
                break;
            case 2:
                fields[at] = field with { Number = random.OneIn(3) ? random.Of(Numbers) : (ulong)random.Between(1, 30) };
                break;
            case 3:
                fields[at] = field with { Type = random.Below(8) };
                break;
            case 4:
                (fields[at], fields[0]) = (fields[0], fields[at]);
                break;
            case 5:                                                                 // the body of another message
                fields[at] = field with { Type = Bytes, Data = random.Of(seeds) };
                break;
            case 6:                                                                 // deep
                byte[] deep = field.Data;
                for (int levels = random.Spread(random.OneIn(5) ? 3000 : 120); levels > 0 && deep.Length < 20_000; levels--)
                    deep = Write(random, [new Field(field.Number, Bytes, 0, deep)], honest: true);
                fields[at] = field with { Type = Bytes, Data = deep };
                break;
            case 7:                                                                 // many, and small
                fields.InsertRange(at, Enumerable.Repeat(field with { Data = field.Data.Length > 40 ? [] : field.Data }, random.Spread(random.OneIn(10) ? 20_000 : 100)));
                break;
            case 8 when field.Type == Bytes:
                fields[at] = field with { Data = ByteMutator.Mutate(random, field.Data, seeds) };
                break;
            default:
                fields[at] = field with { Value = random.Of(Numbers), Data = field.Type == Bytes ? Resized(random, field.Data) : field.Data };
                break;
        }
    }

    private static Field Made(FuzzRandom random) => new((ulong)random.Between(1, 30), random.Of([Varint, Fixed64, Bytes, StartGroup, EndGroup, Fixed32]), random.Of(Numbers),
        [.. Enumerable.Range(0, random.Spread(100)).Select(_ => random.Byte())]);

    private static byte[] Resized(FuzzRandom random, byte[] data)
    {
        byte[] resized = data;
        Array.Resize(ref resized, random.OneIn(2) ? Math.Max(0, data.Length + random.Between(-9, 9)) : random.Spread(2048));
        if (random.OneIn(3))
            Array.Fill(resized, (byte)0xFF);                                        // NaN, and the largest of everything
        return resized;
    }

    private static List<Field>? Parse(ReadOnlySpan<byte> message)
    {
        var fields = new List<Field>();
        while (!message.IsEmpty)
        {
            if (!ReadVarint(ref message, out ulong tag) || tag >> 3 is 0 or > 0x1FFFFFFF)
                return null;
            int type = (int)(tag & 7);
            ulong value = 0;
            byte[] data = [];
            switch (type)
            {
                case Varint when ReadVarint(ref message, out value):
                    break;
                case Fixed64 when message.Length >= 8:
                    value = BinaryPrimitives.ReadUInt64LittleEndian(message);
                    message = message[8..];
                    break;
                case Fixed32 when message.Length >= 4:
                    value = BinaryPrimitives.ReadUInt32LittleEndian(message);
                    message = message[4..];
                    break;
                case Bytes when ReadVarint(ref message, out ulong length) && length <= (ulong)message.Length:
                    data = message[..(int)length].ToArray();
                    message = message[(int)length..];
                    break;
                default:
                    return null;
            }

            fields.Add(new Field(tag >> 3, type, value, data));
        }

        return fields;
    }

    private static byte[] Write(FuzzRandom random, List<Field> fields, bool honest = false)
    {
        using var bytes = new MemoryStream();
        foreach (Field field in fields)
        {
            bool lies = !honest && random.OneIn(60);
            WriteVarint(bytes, unchecked((field.Number << 3) | (uint)field.Type), padded: lies && random.OneIn(3));
            switch (field.Type)
            {
                case Varint:
                    WriteVarint(bytes, field.Value, padded: lies);
                    break;
                case Fixed64:
                    bytes.Write(BitConverter.GetBytes(field.Value));
                    break;
                case Fixed32:
                    bytes.Write(BitConverter.GetBytes(unchecked((uint)field.Value)));
                    break;
                case Bytes:
                    WriteVarint(bytes, lies ? random.Of(Numbers) : (ulong)field.Data.Length, padded: false);
                    bytes.Write(field.Data);
                    break;
            }
        }

        return bytes.ToArray();
    }

    private static bool ReadVarint(ref ReadOnlySpan<byte> bytes, out ulong value)
    {
        value = 0;
        for (int i = 0; i < 10 && i < bytes.Length; i++)
        {
            value |= (ulong)(bytes[i] & 0x7F) << (7 * i);
            if (bytes[i] < 0x80)
            {
                bytes = bytes[(i + 1)..];
                return true;
            }
        }

        return false;
    }

    /// <param name="bytes">Where to.</param>
    /// <param name="value">What.</param>
    /// <param name="padded">Whether more bytes than needed, or than legal, are written.</param>
    private static void WriteVarint(MemoryStream bytes, ulong value, bool padded)
    {
        int written = 0;
        for (; value >= 0x80; value >>= 7, written++)
            bytes.WriteByte((byte)((value & 0x7F) | 0x80));
        if (!padded)
        {
            bytes.WriteByte((byte)value);
            return;
        }

        bytes.WriteByte((byte)((value & 0x7F) | 0x80));
        for (; written < 11; written++)
            bytes.WriteByte(0x80);
        bytes.WriteByte(0);
    }
}
