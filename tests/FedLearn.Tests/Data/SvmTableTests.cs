using System.Globalization;
using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Data;

public sealed class SvmTableTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private Table Load(string text, Func<TableSource, TableSource>? with = null, bool needLabel = true, string? schema = null, string ending = "svm")
    {
        var source = new TableSource { Path = _folder.Write($"t.{ending}", text), Schema = schema is null ? null : _folder.Write("s.json", schema) };
        return Table.Load(with?.Invoke(source) ?? source, needLabel);
    }

    private void Refuses(string id, string place, string text, Func<TableSource, TableSource>? with = null, bool needLabel = true, string? schema = null) =>
        ErrorAssert.Throws<BadInputException>(id, place, "987", () => Load(text, with, needLabel, schema));

    private static double[][] Cells(Table table) => [.. Enumerable.Range(0, table.Sparse!.Rows).Select(i =>
    {
        double[] row = new double[table.Sparse.Columns];
        for (int k = 0; k < table.Sparse.RowColumns(i).Length; k++)
            row[table.Sparse.RowColumns(i)[k]] = table.Sparse.RowValues(i)[k];
        return row;
    })];

    [Theory]
    [InlineData("svm")]
    [InlineData("libsvm")]
    [InlineData("svmlight")]
    [InlineData("SVM")]
    public void Load_Rows_AreSparse(string ending)
    {
        Table table = Load("\uFEFF1 1:0.5 3:-2e1 # note 9:9\n\n# a comment\n0\n-1\t 2:7\r\n", s => s with { Ids = _folder.Write("ids.txt", "a\nb\nc\n") }, ending: ending);
        Assert.Equal(["x1", "x2", "x3"], table.Schema.FeatureNames);
        Assert.Equal([1, 0, -1], table.Labels!);
        Assert.Equal(["a", "b", "c"], table.Ids);
        Assert.Equal([[0.5, 0, -20], [0, 0, 0], [0, 7, 0]], Cells(table));
        Assert.EndsWith("line 5", table.PlaceOf(2), StringComparison.Ordinal);
        double[] row = [9, 9, 9];
        table.CopyRow(2, row);
        Assert.Equal([0, 7, 0], row);
    }

    [Fact]
    public void Load_FirstIndexAndColumns_AreFollowed()
    {
        Table table = Load("1 0:5\n", s => s with { FirstIndex = 0, Columns = 3 });
        Assert.Equal(["x0", "x1", "x2"], table.Schema.FeatureNames);
        Assert.Equal([[5, 0, 0]], Cells(table));
        Assert.Equal(["0"], table.Ids);
    }

    [Fact]
    public void Load_Schema_NamesColumnsAndReplacesMissing()
    {
        const string Schema = """{ "fields": [ { "name": "a", "type": "numeric", "missing": 2 }, { "name": "h", "type": "one-hot", "columns": ["h0", "h1"] } ] }""";
        Table table = Load("1 1:nan 3:1\n0 2:1\n", schema: Schema);
        Assert.Equal(["a", "h0", "h1"], table.Schema.FeatureNames);
        Assert.Equal([[2, 0, 1], [0, 1, 0]], Cells(table));
        Refuses(DataErrors.NotOneHot, "line 1", "1 2:987\n", schema: Schema);
        Refuses(DataErrors.SparseIndex, "line 1", "1 4:987\n", schema: Schema);
        Refuses(DataErrors.NotFinite, "line 1", "1 2:nan\n", schema: Schema);
        Refuses(DataErrors.NotANumber, "line 1", "1 1:x987\n", schema: Schema);
    }

    [Theory]
    [InlineData("1:5\n 2:6\n")]
    [InlineData("1 1:5\n0 2:6\n")]
    [InlineData("? 1:5\nsecret 2:6")]
    public void Load_LabelNotNeeded_MayBeAbsentOrAnything(string text)
    {
        Table table = Load(text, s => s with { Weight = "weights that nobody reads.npy" }, needLabel: false);
        Assert.Null(table.Labels);
        Assert.Equal([[5, 0], [0, 6]], Cells(table));
    }

    [Theory]
    [InlineData("1:987", DataErrors.MalformedSparseRow)]                                 // no label
    [InlineData("987x 1:1", DataErrors.NotANumber)]
    [InlineData("nan 1:1", DataErrors.NotFinite)]
    [InlineData("1 987", DataErrors.MalformedSparseRow)]
    [InlineData("1 qid:3 1:987", DataErrors.MalformedSparseRow)]
    [InlineData("1 1.5:987", DataErrors.MalformedSparseRow)]
    [InlineData("1 :987", DataErrors.MalformedSparseRow)]
    [InlineData("1 99999999999999999999:1", DataErrors.MalformedSparseRow)]
    [InlineData("1 0:987", DataErrors.SparseIndex)]
    [InlineData("1 -1:987", DataErrors.SparseIndex)]
    [InlineData("1 2:1 1:987", DataErrors.SparseIndex)]
    [InlineData("1 2:1 2:987", DataErrors.SparseIndex)]
    [InlineData("1 10000001:987", DataErrors.SparseIndex)]
    [InlineData("1 4294967297:987", DataErrors.SparseIndex)]
    [InlineData("1 1:", DataErrors.NotANumber)]
    [InlineData("1 1:x987", DataErrors.NotANumber)]
    [InlineData("1 1:1:1", DataErrors.NotANumber)]
    [InlineData("1 1:inf", DataErrors.NotFinite)]
    [InlineData("1 1:NaN", DataErrors.NotFinite)]
    [InlineData("1 1:1e999", DataErrors.NotFinite)]
    [InlineData("\uFEFF1 1:987", DataErrors.NotANumber)]                                // a byte order mark begins a file, and nothing else
    public void Load_IllegalRow_NamesItsLine(string row, string id) => Refuses(id, "t.svm, line 3", $"1 1:1 3:1\n\n{row}\n");

    [Fact]
    public void Load_OtherFaults_AreNamed()
    {
        Refuses(DataErrors.NoRows, "t.svm", "\n# nothing\n");
        Refuses(DataErrors.ColumnMissing, "t.svm", "1\n0\n");
        Refuses(DataErrors.SparseIndex, "line 1", "1 3:1\n", s => s with { Columns = 2 });
        Refuses(DataErrors.SparseIndex, "t.svm", "1 65537:1\n");
        Refuses(DataErrors.LabelOutOfRange, "line 2", "1 1:1\n987 1:1\n", s => s with { LabelRange = (0, 1) });
        Refuses(DataErrors.WrongShape, "ids.txt", "1 1:1\n", s => s with { Ids = _folder.Write("ids.txt", "a\nb\n") });
        Refuses(DataErrors.DuplicateId, "ids.txt, line 2", "1 1:1\n1 1:1\n", s => s with { Ids = _folder.Write("ids.txt", "987\n987\n") });
        // A schema has constants for cells, and none for labels.
        Assert.DoesNotContain("schema", Assert.Throws<BadInputException>(() => Load("nan 1:1\n")).Remedy, StringComparison.Ordinal);
        Refuses(DataErrors.FileUnreadable, "no.svm", "", s => s with { Path = _folder["no.svm"] });
        foreach (Func<TableSource, TableSource> with in (Func<TableSource, TableSource>[])
            [s => s with { Label = "y" }, s => s with { Id = "id" }, s => s with { IdColumns = ["id"] }, s => s with { Labels = "y.npy" }, s => s with { FirstIndex = 2 }, s => s with { Columns = 0 }, s => s with { Columns = 10_000_001 }])
        {
            ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.svm", null, () => Load("1 1:1\n", with));
        }

        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.csv", null,
            () => Table.Load(new TableSource { Path = _folder.Write("t.csv", "id,a\nx,1\n"), FirstIndex = 1 }, needLabel: false));
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.svm", null,
            () => Load("1 1:1\n", s => s with { Columns = 2 }, schema: """{ "fields": [ { "name": "a", "type": "numeric" } ] }"""));
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.svm", null,
            () => Load("1 1:1\n", schema: """{ "fields": [ { "name": "a", "type": "category", "values": ["x"] } ] }"""));
    }

    // Without a word on the number of columns so many would have to be worth their names.
    [Fact]
    public void Load_ColumnsSaid_MayBeManyMoreThanCells()
    {
        Assert.Equal(70_000, Load("1 65537:1\n", s => s with { Columns = 70_000 }).Sparse!.Columns);
        Assert.Equal(65_536, Load("1 65536:1\n").Sparse!.Columns);
    }

    [Fact]
    public void Load_Compressed_IsRefused()
    {
        string path = _folder["t.svm"];
        File.WriteAllBytes(path, [0x1F, 0x8B, 8, 0]);
        ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "t.svm", null, () => Table.Load(new TableSource { Path = path }, needLabel: true));
    }

    [Fact]
    public void Load_Cancelled_Stops()
    {
        var source = new TableSource { Path = _folder.Write("t.svm", "1 1:1\n") };
        Assert.Throws<OperationCanceledException>(() => Table.Load(source, needLabel: true, cancellationToken: new CancellationToken(canceled: true)));
    }

    // What a plan asks of a table before there is a schema.
    [Fact]
    public void Size_OfRows_CountsThemAndTheColumnsUpToTheLastIndex()
    {
        TableSource source = new() { Path = _folder.Write("t.svm", "1:5 3:1\n# none\nunread 2:1\n") };
        Assert.Equal((2, 3), SvmTable.Size(source));
        Assert.Equal((2, 4), SvmTable.Size(source with { FirstIndex = 0 }));
        Assert.Equal((2, 9), SvmTable.Size(source with { Columns = 9 }));
    }

    [Fact]
    public void Load_LongAndManyLines_AreReadWhole()
    {
        var random = new Random(4);
        var text = new StringBuilder();
        var expected = new List<double[]>();
        for (int i = 0; i < 300; i++)
        {
            double[] row = new double[i % 50 == 7 ? 20_000 : 10];                            // lines far longer than the reader's buffer among short ones
            text.Append('1');
            for (int j = 0; j < row.Length; j++)
                text.Append(CultureInfo.InvariantCulture, $" {j + 1}:{row[j] = random.NextDouble():R}");
            text.Append('\n');
            expected.Add(row);
        }

        Table table = Load(text.ToString());
        Assert.Equal(20_000, table.Sparse!.Columns);
        for (int i = 0; i < expected.Count; i++)
            Assert.Equal(expected[i], table.Sparse.RowValues(i).ToArray());
    }
}
