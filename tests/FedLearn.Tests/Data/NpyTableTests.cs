using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Data;

public sealed class NpyTableTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static byte[] Npy<T>(string type, string shape, T[] values, string order = "False", byte version = 1) where T : unmanaged
    {
        string header = $"{{'descr': '{type}', 'fortran_order': {order}, 'shape': ({shape}), }}";
        int prefix = version == 1 ? 10 : 12;
        header = header.PadRight(((header.Length + prefix + 1 + 63) / 64 * 64) - prefix - 1) + "\n";
        byte[] length = version == 1 ? BitConverter.GetBytes((ushort)header.Length) : BitConverter.GetBytes(header.Length);
        return [0x93, .. "NUMPY"u8, version, 0, .. length, .. Encoding.ASCII.GetBytes(header), .. MemoryMarshal.AsBytes<T>(values)];
    }

    private Table Load(byte[] array, byte[]? labels = null, string? ids = null, string? schema = null) => Table.Load(new TableSource
    {
        Path = _folder.Write("x.npy", array),
        Labels = labels is null ? null : _folder.Write("y.npy", labels),
        Ids = ids is null ? null : _folder.Write("ids.txt", ids),
        Schema = schema is null ? null : _folder.Write("s.json", schema),
    }, needLabel: labels is not null);

    private void Refuses(string id, string place, byte[] array, byte[]? labels = null, string? ids = null, string? schema = null, string? secret = null) =>
        ErrorAssert.Throws<BadInputException>(id, place, secret, () => Load(array, labels, ids, schema));

    [Fact]
    public void Load_AllFiles_ReadsThem()
    {
        Table table = Load(Npy("<f8", "2, 3", [1, 0, 1, 6.5, 1, 0]), Npy("<i8", "2,", [1L, 0L]), "a\n b\n\n",
            """{ "fields": [ { "name": "u", "type": "numeric" }, { "name": "v", "type": "one-hot", "columns": ["v1", "v2"] } ] }""");
        Assert.Equal(["u", "v1", "v2"], table.Schema.FeatureNames);
        Assert.Equal([1, 0, 1, 6.5, 1, 0], table.Values.Values);
        Assert.Equal([1, 0], table.Labels!);
        Assert.Equal(["a", "b"], table.Ids);
    }

    [Fact]
    public void Load_IdsThatAreNoText_SaysWhatTheyAre()
    {
        byte[] array = Npy("<f8", "2, 1", [1.0, 2]);
        foreach ((byte[] ids, string what) in ((byte[], string)[])[(Npy("<i8", "2,", [7L, 8L]), "NumPy array"), ([0x1F, 0x8B, 8], "gzip")])
            Assert.Contains(what, ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "ids.npy", null,
                () => Table.Load(new TableSource { Path = _folder.Write("x.npy", array), Ids = _folder.Write("ids.npy", ids) }, needLabel: false)).Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_ArrayAlone_NamesRowsAndColumnsByNumber()
    {
        Table table = Load(Npy("<f4", "2, 2", [1f, 0.1f, 3f, 4f], version: 2));
        Assert.Equal(["0", "1"], table.Ids);
        Assert.Equal(["x0", "x1"], table.Schema.FeatureNames);
        Assert.Equal([1, 0.1f, 3, 4], table.Values.Values);
        Assert.Null(table.Labels);
    }

    [Fact]
    public void Load_EveryNumberType_IsConverted()
    {
        double[] expected = [0, 1, 100];
        Assert.Equal(expected, Load(Npy<double>("<f8", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal(expected, Load(Npy<float>("<f4", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal(expected, Load(Npy<long>("<i8", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal(expected, Load(Npy<int>("<i4", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal(expected, Load(Npy<short>("<i2", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal(expected, Load(Npy<sbyte>("|i1", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal(expected, Load(Npy<ulong>("<u8", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal(expected, Load(Npy<uint>("<u4", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal(expected, Load(Npy<ushort>("<u2", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal(expected, Load(Npy<byte>("|u1", "3, 1", [0, 1, 100])).Values.Values);
        Assert.Equal([0, 1, 1], Load(Npy<byte>("|b1", "3, 1", [0, 1, 1])).Values.Values);
        Assert.Equal([-1, ulong.MaxValue], [.. Load(Npy<sbyte>("|i1", "1, 1", [-1])).Values.Values, .. Load(Npy<ulong>("<u8", "1, 1", [ulong.MaxValue])).Values.Values]);
    }

    [Fact]
    public void Load_MissingDeclared_ReplacesNaNThereAlone()
    {
        const string Schema = """{ "fields": [ { "name": "h", "type": "one-hot", "columns": ["h0", "h1"] }, { "name": "u", "type": "numeric", "missing": -2 }, { "name": "v", "type": "numeric" } ] }""";
        Assert.Equal([0, 1, -2, 4, 1, 0, 3, 5], Load(Npy("<f8", "2, 4", [0, 1, double.NaN, 4, 1, 0, 3, 5]), schema: Schema).Values.Values);
        Refuses(DataErrors.NotFinite, "row 1, column 'v'", Npy("<f8", "1, 4", [0, 1, double.NaN, double.NaN]), schema: Schema);
        Refuses(DataErrors.NotFinite, "row 1, column 'h0'", Npy("<f8", "1, 4", [double.NaN, 1, 1, 1]), schema: Schema);
        Refuses(DataErrors.NotFinite, "row 1, column 'u'", Npy("<f8", "1, 4", [0, 1, double.PositiveInfinity, 1]), schema: Schema);
    }

    [Fact]
    public void Load_LargeArray_EqualsWhatWasWritten()
    {
        double[] values = [.. Enumerable.Range(0, 1_300_007 * 2).Select(i => Math.Sin(i))];     // more than one block
        Assert.Equal(values, Load(Npy("<f8", "1300007, 2", values)).Values.Values);
    }

    [Fact]
    public void Load_ColumnInFortranOrder_IsTheSameArray() => Assert.Equal([1, 2], Load(Npy("<f8", "2, 1", [1.0, 2.0], "True")).Values.Values);

    [Fact]
    public void Load_MissingFile_Refused() => ErrorAssert.Throws<BadInputException>(DataErrors.FileUnreadable, "no.npy", null,
        () => Table.Load(new TableSource { Path = _folder["no.npy"] }, needLabel: false));

    [Fact]
    public void Load_DamagedFile_Refused()
    {
        byte[] whole = Npy("<f8", "2, 1", [1.0, 2.0]);
        Refuses(DataErrors.NoRows, "x.npy", []);
        Refuses(DataErrors.MalformedNpy, "x.npy", Encoding.ASCII.GetBytes("id,a\nx,1\nmore,2\n"));
        Refuses(DataErrors.MalformedNpy, "x.npy", [0x92, .. whole[1..]]);
        Refuses(DataErrors.MalformedNpy, "x.npy", [.. whole[..6], 9, .. whole[7..]]);
        for (int length = 1; length < whole.Length; length += 7)
            Refuses(DataErrors.MalformedNpy, "x.npy", whole[..length]);
        Refuses(DataErrors.MalformedNpy, "x.npy", whole[..^1]);
        Refuses(DataErrors.MalformedNpy, "x.npy", [.. whole, 0]);
        Refuses(DataErrors.MalformedNpy, "x.npy", Npy("<f8", "-2, 1", [1.0, 2.0]));
        Refuses(DataErrors.MalformedNpy, "x.npy", Npy("<f8", "99999999999999999999, 1", [1.0, 2.0]));
        Refuses(DataErrors.MalformedNpy, "x.npy", Npy("<f8", "two, 1", [1.0, 2.0]));
        Refuses(DataErrors.MalformedNpy, "x.npy", Npy("<f8", "2, 1", [1.0, 2.0], "Perhaps"));
        Refuses(DataErrors.MalformedNpy, "x.npy", [.. whole[..8], 0xFF, 0xFF, .. whole[10..]]);
    }

    [Theory]
    [InlineData(">f8")]
    [InlineData("|O")]
    [InlineData("<f2")]
    [InlineData("<c8")]
    [InlineData("<U8")]
    [InlineData("<M8[ns]")]
    [InlineData("<f4\n")]
    public void Load_OtherType_Refused(string type) => Refuses(DataErrors.NpyType, "x.npy", Npy(type, "2, 1", [1.0, 2.0]));

    [Fact]
    public void Load_FortranOrder_Refused() => Refuses(DataErrors.NpyType, "x.npy", Npy("<f8", "2, 2", [1.0, 2, 3, 4], "True"));

    [Fact]
    public void Load_WrongShape_Refused()
    {
        byte[] array = Npy("<f8", "2, 2", [1.0, 2, 3, 4]), labels = Npy("<f8", "2,", [0.0, 1]);
        Refuses(DataErrors.WrongShape, "x.npy", Npy("<f8", "4,", [1.0, 2, 3, 4]));
        Refuses(DataErrors.WrongShape, "x.npy", Npy("<f8", "1, 2, 2", [1.0, 2, 3, 4]));
        Refuses(DataErrors.WrongShape, "y.npy", array, Npy("<f8", "3,", [0.0, 1, 1]));
        Refuses(DataErrors.WrongShape, "y.npy", array, Npy("<f8", "2, 1", [0.0, 1]));
        Refuses(DataErrors.WrongShape, "ids.txt", array, labels, "a\n");
        Refuses(DataErrors.WrongShape, "ids.txt", array, labels, "id\na\nb\n");
        Refuses(DataErrors.WrongShape, "x.npy", array, labels, "a\nb\n", """{ "fields": [ { "name": "u", "type": "numeric" } ] }""");
        Refuses(DataErrors.NoRows, "x.npy", Npy("<f8", "0, 2", Array.Empty<double>()));
        Refuses(DataErrors.ColumnMissing, "x.npy", Npy("<f8", "2, 0", Array.Empty<double>()));
        Refuses(DataErrors.TooLarge, "x.npy", Npy("<f8", "4294967296, 4294967296", [1.0]));
        Refuses(DataErrors.TooLarge, "x.npy", Npy("<f8", "3000000000, 0", Array.Empty<double>()));
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(double.NegativeInfinity)]
    public void Load_NotFinite_NamesRowAndColumn(double value)
    {
        Refuses(DataErrors.NotFinite, "row 2, column 'x1'", Npy("<f8", "2, 2", [1, 2, 3, value]));
        Refuses(DataErrors.NotFinite, "y.npy, row 2", Npy("<f8", "2, 1", [1.0, 2]), Npy("<f8", "2,", [1, value]));
    }

    [Fact]
    public void Load_BadIds_NameTheLineAndHideIt()
    {
        byte[] array = Npy("<f8", "2, 1", [1.0, 2]);
        Refuses(DataErrors.DuplicateId, "ids.txt, line 2", array, ids: "secret987\n secret987\n", secret: "secret987");
        Assert.Contains("ids.txt, line 1)", Assert.Throws<BadInputException>(() => Load(array, ids: "a\na\n")).Cause, StringComparison.Ordinal);
        Refuses(DataErrors.EmptyId, "ids.txt, line 1", array, ids: "\nsecret987\n", secret: "secret987");
        _folder.Write("raw.txt", [0xFF, (byte)'\n', (byte)'a', (byte)'\n']);
        ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "raw.txt", null,
            () => Table.Load(new TableSource { Path = _folder.Write("x.npy", array), Ids = _folder["raw.txt"] }, needLabel: false));
        ErrorAssert.Throws<BadInputException>(DataErrors.FileUnreadable, "none.txt", null,
            () => Table.Load(new TableSource { Path = _folder.Write("x.npy", array), Ids = _folder["none.txt"] }, needLabel: false));
    }

    [Fact]
    public void Load_OneHotNotZeroOrOne_NamesTheCell() => Refuses(DataErrors.NotOneHot, "row 2, column 'v2'", Npy("<f8", "2, 2", [1, 0, 0, 0.987]), secret: "987",
        schema: """{ "fields": [ { "name": "v", "type": "one-hot", "columns": ["v1", "v2"] } ] }""");

    [Theory]
    [InlineData(0, 2)]
    [InlineData(3, 4)]
    public void Load_LabelOutsideRange_Refused(double low, double high) => ErrorAssert.Throws<BadInputException>(DataErrors.LabelOutOfRange, "y.npy, row 2", "987", () => Table.Load(new TableSource
    {
        Path = _folder.Write("x.npy", Npy("<f8", "2, 1", [1.0, 2])),
        Labels = _folder.Write("y.npy", Npy("<f8", "2,", [low + 1, 2.987])),
        LabelRange = (low, high),
    }, needLabel: true));

    [Fact]
    public void Load_UnsuitableSource_IsAConfigurationError()
    {
        string path = _folder.Write("x.npy", Npy("<f8", "2, 1", [1.0, 2]));
        string category = _folder.Write("c.json", """{ "fields": [ { "name": "v", "type": "category", "values": ["a"] } ] }""");
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "x.npy", null, () => Table.Load(new TableSource { Path = path, Id = "id" }, false));
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "x.npy", null, () => Table.Load(new TableSource { Path = path, Label = "y" }, true));
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "x.npy", null, () => Table.Load(new TableSource { Path = path, Schema = category }, false));
        ErrorAssert.Throws<ConfigurationException>(DataErrors.LabelNotNamed, "x.npy", null, () => Table.Load(new TableSource { Path = path }, true));
    }

    [Fact]
    public void Load_EveryRow_HasAnIdOfItsNumber() =>
        Assert.Equal(Enumerable.Range(0, 100).Select(i => i.ToString(CultureInfo.InvariantCulture)), Load(Npy("|u1", "100, 1", new byte[100])).Ids);
}
