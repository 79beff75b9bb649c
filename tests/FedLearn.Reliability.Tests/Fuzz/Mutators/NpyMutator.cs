using System.Buffers.Binary;
using System.Text;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>.npy files with other headers: types, orders, shapes that overflow, versions, lengths that do not fit, and values that do not.</summary>
internal static class NpyMutator
{
    private static readonly string[] Types = ["<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1", ">f8", "=f8", "<f2", "<f16", "<c16", "|O", "|S5", "<U3", "<M8[ns]", "f8", "<f8\\n", "<f8\n", "", "<", "<f", "<f88", "['a']"];

    private static readonly string[] Shapes =
    [
        "(3, 2)", "(3,2)", "(6,)", "(6)", "(2, 3)", "()", "(,)", "(0, 2)", "(3, 0)", "(0, 0)", "(0,)", "(-3, 2)", "(3, -2)", "(+3, 2)", "(2147483647, 2147483647)", "(4294967296, 4294967296)", "(9223372036854775807, 2)", "(2147483648, 0)",
        "(9223372036854775808, 1)", "(99999999999999999999, 1)", "(3, 2, 1)", "(1, 1, 1, 1, 6)", "(3L, 2L)", "(0x3, 2)", "( 3 , 2 )", "(3.0, 2)", "(3 2)", "((3, 2))", "(3, 2", "3, 2", "None", "(2147483591, 1)", "(1000000, 1000000)", "(,3,,2,)",
    ];

    private static readonly string[] Orders = ["False", "True", "false", "0", "None", "'False'"];

    public static byte[] Make(FuzzRandom random, IReadOnlyList<byte[]> seeds)
    {
        if (random.OneIn(4))
            return ByteMutator.Mutate(random, random.Of(seeds), seeds);
        string type = random.OneIn(3) ? random.Of(Types) : random.Of(Types[..11]), shape = random.OneIn(2) ? random.Of(Shapes) : "(3, 2)", order = random.OneIn(4) ? random.Of(Orders) : "False";
        List<string> entries = [$"'descr': '{type}'", $"'fortran_order': {order}", $"'shape': {shape}"];
        if (random.OneIn(8))
            entries.RemoveAt(random.Below(3));
        if (random.OneIn(8))
            entries.Insert(random.Below(entries.Count + 1), random.Of(["'shape': (3, 2)", "'descr': '<f8'", "'x': 1", "", "'descr': [('a', '<f8'), ('b', '<i4')]"]));
        if (random.OneIn(8))
            entries.Reverse();
        string header = "{" + string.Join(random.OneIn(8) ? "," : ", ", entries) + ", }" + new string(' ', random.OneIn(30) ? random.Spread(70_000) : random.Spread(64)) + "\n";
        byte[] text = Encoding.UTF8.GetBytes(header);
        byte version = random.OneIn(5) ? random.Byte() : (byte)random.Between(1, 3);
        uint length = random.OneIn(8) ? random.Of<uint>([0, 1, 10, 0xFFFF, 0x10000, 0x100000, 0x100001, int.MaxValue, uint.MaxValue]) : (uint)text.Length;
        byte[] announced = new byte[version == 1 ? 2 : 4];
        if (version == 1)
            BinaryPrimitives.WriteUInt16LittleEndian(announced, unchecked((ushort)length));
        else
            BinaryPrimitives.WriteUInt32LittleEndian(announced, length);
        int size = type.Length > 2 && char.IsAsciiDigit(type[2]) ? type[2] - '0' : 8, values = random.OneIn(3) ? random.Spread(100) : 6 * size;
        byte[] data = [.. Enumerable.Range(0, values).Select(i => random.OneIn(3) ? random.Byte() : i % 8 == 7 ? (byte)0x3F : (byte)0)];
        byte[] file = [0x93, .. random.OneIn(12) ? "NUMPX"u8 : "NUMPY"u8, version, random.OneIn(12) ? (byte)1 : (byte)0, .. announced, .. text, .. data];
        return random.OneIn(10) ? file[..random.Below(file.Length + 1)] : file;
    }
}
