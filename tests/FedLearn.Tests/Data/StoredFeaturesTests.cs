using System.Globalization;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Numerics;

namespace FedLearn.Tests.Data;

public sealed class StoredFeaturesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-stored-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string Npy(int rows, int columns, Func<int, int, float> cell)
    {
        string header = $"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}".PadRight(117) + "\n", path = Path.Combine(_folder, "x.npy");
        using var file = new BinaryWriter(File.Create(path));
        file.Write([0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', 1, 0, (byte)header.Length, 0]);
        file.Write(header.ToCharArray());
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                file.Write(cell(i, j));
        return path;
    }

    [Theory]
    [InlineData(Scaling.None, RowBound.None)]
    [InlineData(Scaling.None, RowBound.Clip)]
    [InlineData(Scaling.Standardize, RowBound.Normalize)]
    public void TransformRows_MappedFileAndScratch_AreTheRowsInMemory(Scaling scaling, RowBound bound)
    {
        var random = new Random(5);
        string path = Npy(300, 7, (_, _) => (float)(random.NextDouble() * 4 - 2));
        Table inMemory = Table.Load(new TableSource { Path = path }, needLabel: false), mapped = Table.Load(new TableSource { Path = path, Scratch = _folder }, needLabel: false),
            single = Table.Load(new TableSource { Path = path, Scratch = _folder, Storage = FeatureStorage.Float32 }, needLabel: false),
            singleInMemory = Table.Load(new TableSource { Path = path, Storage = FeatureStorage.Float32 }, needLabel: false);
        Assert.Throws<InvalidOperationException>(() => mapped.Values);
        Assert.Equal(inMemory.Ids, mapped.Ids);
        int[] rows = [.. Enumerable.Range(0, 300).OrderBy(_ => random.Next()), 4, 4];
        var options = new PreprocessingOptions { Scaling = scaling, Rows = bound };
        FeatureMap map = FeatureMap.Fit(inMemory, rows, options, constant: true);
        Assert.Equal(map.ToJson(), FeatureMap.Fit(mapped, rows, options, constant: true).ToJson());

        FeatureRows expected = map.TransformRows(inMemory, rows), scratch = map.TransformRows(mapped, rows), rounded = map.TransformRows(single, rows), roundedHere = map.TransformRows(singleInMemory, rows);
        Assert.IsType<MappedRows>(scratch);
        Assert.IsType<MappedRows>(rounded);
        Assert.IsType<SingleRows>(roundedHere);
        double[] a = new double[8], b = new double[8], c = new double[8], d = new double[8];
        for (int i = 0; i < rows.Length; i++)
        {
            expected.CopyRow(i, a);
            scratch.CopyRow(i, b);
            rounded.CopyRow(i, c);
            roundedHere.CopyRow(i, d);
            Assert.Equal(a, b);
            Assert.Equal(c, d);
            for (int j = 0; j < 8; j++)
                Assert.Equal(a[j], c[j], Math.Abs(a[j]) * Math.Pow(2, -21));                      // rounded, and shortened where that made the row too long
        }

        Assert.DoesNotContain(Directory.EnumerateFiles(_folder, "*", new EnumerationOptions { AttributesToSkip = 0 }), file => file.EndsWith(".features", StringComparison.Ordinal) && !OperatingSystem.IsWindows());
    }

    [Fact]
    public void TransformRows_Float32_NoRowIsLongerThanTheBound()
    {
        // A1 of the privacy proof, for the rounded cells; a third of the rows came out too long before they were shortened.
        var random = new Random(6);
        var matrix = new DenseMatrix(2000, 9);
        for (int i = 0; i < matrix.Values.Length; i++)
            matrix.Values[i] = random.NextDouble() - .5;
        Table table = Table.FromMatrix([.. Enumerable.Range(0, 2000).Select(i => i.ToString(CultureInfo.InvariantCulture))], [.. Enumerable.Range(0, 9).Select(j => $"x{j}")], matrix)
            .With(FeatureStorage.Float32);
        int[] rows = [.. Enumerable.Range(0, 2000)];
        foreach (double norm in new[] { 1, .1, 3.7 })
        {
            FeatureMap map = FeatureMap.Fit(table, rows, new PreprocessingOptions { Scaling = Scaling.None, Rows = RowBound.Normalize, RowNorm = norm }, constant: true);
            FeatureRows features = map.TransformRows(table, rows);
            double[] cells = new double[10];
            decimal limit = (decimal)norm * (decimal)norm;
            for (int i = 0; i < rows.Length; i++)
            {
                features.CopyRow(i, cells);
                Assert.InRange(cells.Sum(cell => (decimal)cell * (decimal)cell), 0, limit);
                Assert.InRange(features.Length(i), norm * (1 - 1e-6), norm);
            }
        }
    }

    [Fact]
    public void TransformRows_BeyondFloat32_IsRefused()
    {
        Table table = Table.FromMatrix(["a", "b"], ["x"], new DenseMatrix(2, 1, [1, 1e39])).With(FeatureStorage.Float32);
        FeatureMap map = FeatureMap.Fit(table, [0], new PreprocessingOptions { Scaling = Scaling.None }, constant: false);
        ErrorAssert.Throws<BadInputException>(DataErrors.ScaledTooLarge, "row 2", null, () => map.TransformRows(table, [0, 1]));
    }

    [Fact]
    public void TransformRows_ScratchFolderMissing_IsRefused()
    {
        string path = Npy(3, 2, (i, j) => i + j);
        Table table = Table.Load(new TableSource { Path = path, Scratch = Path.Combine(_folder, "none") }, needLabel: false);
        FeatureMap map = FeatureMap.Fit(table, [0], new PreprocessingOptions { Scaling = Scaling.None }, constant: false);
        Assert.Equal(DataErrors.ScratchUnusable, Assert.Throws<BadInputException>(() => map.TransformRows(table, [0])).Id);
    }

    [Fact]
    public void Load_SparseRowsWithStorage_IsRefused()
    {
        string path = Path.Combine(_folder, "x.svm");
        File.WriteAllText(path, "0 1:1\n");
        Assert.Equal(DataErrors.UnsuitableSource, Assert.Throws<ConfigurationException>(() => Table.Load(new TableSource { Path = path, Storage = FeatureStorage.Float32 }, needLabel: false)).Id);
    }

    [Fact]
    public void Load_CsvWithScratch_ItsFeaturesAreOnDisk()
    {
        string path = Path.Combine(_folder, "x.csv");
        File.WriteAllText(path, "id,a\nx,1\ny,2\n");
        Table table = Table.Load(new TableSource { Path = path, Scratch = _folder, Storage = FeatureStorage.Float32 }, needLabel: false);
        FeatureMap map = FeatureMap.Fit(table, [0], new PreprocessingOptions { Scaling = Scaling.None }, constant: false);
        Assert.Equal(FeatureStorage.Float32, table.Storage);
        foreach (Table stored in (Table[])[table, table.With(FeatureStorage.Float64)])
            Assert.IsType<MappedRows>(map.TransformRows(stored, [0, 1]));
    }

    [Fact]
    public void Load_MappedFile_ReplacesWhatIsMissingAndHasNoRowsBeyondItsEnd()
    {
        string path = Npy(3, 2, (i, j) => i == 1 ? float.NaN : i + j), schema = Path.Combine(_folder, "s.json");
        File.WriteAllText(schema, """{ "fields": [ { "name": "u", "type": "numeric", "missing": -2 }, { "name": "v", "type": "numeric", "missing": 7 } ] }""");
        Table table = Table.Load(new TableSource { Path = path, Scratch = _folder, Schema = schema }, needLabel: false);
        double[] row = new double[2];
        table.CopyRow(1, row);
        Assert.Equal([-2, 7], row);
        Assert.Throws<ArgumentOutOfRangeException>(() => table.CopyRow(3, row));
    }

    [Fact]
    public void Load_MappedFileIsDamaged_IsRefusedAndNotHeld()
    {
        string path = Npy(3, 2, (i, j) => i + j);
        File.AppendAllText(path, "more");
        Assert.Equal(DataErrors.MalformedNpy, Assert.Throws<BadInputException>(() => Table.Load(new TableSource { Path = path, Scratch = _folder }, needLabel: false)).Id);
        File.Open(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
    }

    [Fact]
    public void Load_MappedFileHoldsNaN_NamesTheRow()
    {
        string path = Npy(3, 2, (i, _) => i == 1 ? float.NaN : 1);
        var error = Assert.Throws<BadInputException>(() => Table.Load(new TableSource { Path = path, Scratch = _folder }, needLabel: false));
        Assert.Equal(DataErrors.NotFinite, error.Id);
        Assert.Contains("row 2", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a\nb\r\nc\rd")]
    [InlineData("a\nb\nc\nd\n")]
    [InlineData("\uFEFF a\u00A0\n\tb \nc\nd\n  \n")]
    public void Ids_LinesOfAFile_AreReadAsTextIs(string text)
    {
        string path = Path.Combine(_folder, "ids.txt");
        File.WriteAllText(path, text);
        PackedIds ids = IdFile.Read(path, 4);
        Assert.Equal("a b c d", string.Join(' ', ids));
        Assert.Throws<BadInputException>(() => IdFile.Read(path, 3));
    }

    [Fact]
    public void PackedIds_NormaliseCheckAndOrder_AsStringsDo()
    {
        string[] texts = ["e\u0301clair", " plain ", "\u00E9tude", "10", "9", .. Enumerable.Range(0, 500).Select(i => $"id-{i}")];
        var packed = new PackedIds();
        foreach (string text in texts)
            packed.Add(System.Text.Encoding.UTF8.GetBytes(text));
        Assert.Equal(texts.Select(RowIds.Normalize), packed);
        Assert.Same(packed, TableChecks.Ids(packed, row => $"row {row}", columns: 1));
        SortedRows expected = RowIds.Order(texts, 7), actual = RowIds.Order(packed, 7);
        Assert.Equal(expected.Rows, actual.Rows);
        Assert.Equal(expected.Digests, actual.Digests);
        for (int i = 0; i < texts.Length; i++)
            Assert.Equal(RowIds.Digest(texts[actual.Rows[i]], 7), actual.Digests.AsSpan(i * RowIds.DigestLength, RowIds.DigestLength).ToArray());
        Assert.Equal(RowSplit.TestRows(new SplitRule.ByHash(5, [0]), null, texts, expected.Rows), RowSplit.TestRows(new SplitRule.ByHash(5, [0]), null, packed, expected.Rows));

        packed.Add("\u00E9clair"u8);
        Assert.Equal(DataErrors.DuplicateId, Assert.Throws<BadInputException>(() => TableChecks.Ids(packed, row => $"row {row}")).Id);
        Assert.Equal("0 1 2", string.Join(' ', PackedIds.Numbers(3)));
    }
}
