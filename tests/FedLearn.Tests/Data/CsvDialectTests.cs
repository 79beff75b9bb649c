using System.Globalization;
using System.IO.Compression;
using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Data;

/// <summary>Files with other separators and with decimal commas, as exports of many countries have them. The usual file of the same cells is the reference.</summary>
public sealed class CsvDialectTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public static TheoryData<char, char> Dialects => new() { { ',', '.' }, { ';', '.' }, { ';', ',' }, { '\t', '.' }, { '\t', ',' }, { '|', '.' }, { '|', ',' } };

    public void Dispose() => _folder.Dispose();

    private Table Load(string csv, char separator, char mark, string? schema = null, bool needLabel = true) => Load(Encoding.UTF8.GetBytes(csv), separator, mark, schema, needLabel);

    private Table Load(byte[] csv, char separator, char mark, string? schema = null, bool needLabel = true) => Table.Load(new TableSource
    {
        Path = _folder.Write("t.csv", csv),
        Separator = separator,
        DecimalMark = mark,
        Label = "y",
        Schema = schema is null ? null : _folder.Write("s.json", schema),
    }, needLabel);

    /// <summary>A table of random cells; of those of text some hold whatever is no separator of the file.</summary>
    private static string Cells(char separator, char mark, bool quoted)
    {
        var random = new Random(11);
        var text = new StringBuilder(string.Join(separator, "id", "y", "a.b", "kind", "x") + "\n");
        for (int i = 0; i < 30_000; i++)
        {
            string Number(string format) => ((random.NextDouble() - 0.5) * 1000).ToString(format, CultureInfo.InvariantCulture).Replace('.', mark);
            string id = $"é{i}" + (i % 7) switch { 0 when separator != ',' => ",5", 1 when separator != ';' => ";5", 2 => ".5", 3 when separator != '|' => "|", 4 when separator != ',' => "a,", _ => "" };
            string kind = (i % 3) switch { 0 => "1.5 l", 1 when separator != ',' => "1,5 l", 2 when separator != ';' => ";", _ => "1.5 l" };
            text.AppendJoin(separator, quoted ? $"\"{id}\"" : id, i % 2, Number("R"), kind, Number("0.###")).Append('\n');
        }

        return text.ToString();
    }

    [Theory]
    [MemberData(nameof(Dialects))]
    public void Load_AnyDialect_EqualsTheSameCellsInQuotes(char separator, char mark)
    {
        const string schema = """
            { "id": "id", "label": "y", "fields": [{ "name": "a.b", "type": "numeric" }, { "name": "kind", "type": "category", "values": ["1.5 l", "1,5 l", ";"] }, { "name": "x", "type": "numeric" }] }
            """;
        Table general = Load(Cells(separator, mark, quoted: true), separator, mark, schema), fast = Load(Cells(separator, mark, quoted: false), separator, mark, schema);
        Assert.Equal(general.Ids, fast.Ids);
        Assert.Equal(general.Values.Values, fast.Values.Values);
        Assert.Equal(general.Labels!, fast.Labels!);
        Assert.Equal(30_000, fast.Ids.Count);
        Assert.Equal(separator == ',' ? "é0" : "é0,5", fast.Ids[0]);
        // The numbers are those of the usual file.
        Table usual = Load(Cells(',', '.', quoted: false), ',', '.', schema);
        Assert.Equal(Enumerable.Range(0, 30_000).Select(row => usual.Values.Row(row)[4]), Enumerable.Range(0, 30_000).Select(row => fast.Values.Row(row)[4]));
    }

    [Theory]
    [InlineData("id;y;a\nx;1;-9.871,5\n")]                                   // points between thousands
    [InlineData("id;y;a\nx;1;9.87\n")]                                        // a point before decimals
    [InlineData("id;y;a\nx;1;9,87,5\n")]
    [InlineData("id;y;a\n\"x\";1;9.87\n")]
    public void Load_DecimalComma_RefusesPoints(string csv)
    {
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.NotANumber, "line 2, column 'a'", "87", () => Load(csv, ';', ','));
        Assert.Contains("a comma before decimals", error.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_DecimalCommaUnsaid_RemedyNamesTheSetting()
    {
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.NotANumber, "line 2, column 'a'", "98", () => Load("id;y;a\nx;1;9,8\n", ';', '.'));
        Assert.Contains("decimal in a run file", error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("id;a\nx;1\n", ',', "\";\"")]
    [InlineData("id\ta\nx\t1\n", ',', "\"\\t\"")]
    [InlineData("id|a\nx|1\n", ';', "\"|\"")]
    [InlineData("id,a\nx,1\n", ';', "\",\"")]
    [InlineData("\"id\";\"a\"\n\"x\";\"1\"\n", ',', "\";\"")]
    public void Load_OtherSeparatorThanSaid_RemedyNamesTheSetting(string csv, char separator, string written)
    {
        var error = Assert.Throws<BadInputException>(() => Load(csv, separator, '.'));
        Assert.Contains($"separator to {written} (data.separator", error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(';', "numeric\"", "semicolons")]
    [InlineData('|', "one-hot\", \"columns\": [\"b\", \"c\"]", "vertical bars")]
    [InlineData(',', "category\", \"values\": [\"u\", \"v\"]", "commas")]
    public void Load_ColumnOfTheSchemaMissing_RemedyNamesTheSeparatorOfTheFile(char separator, string type, string named)
    {
        string schema = $$"""{ "id": "id", "fields": [{ "name": "kind", "type": "{{type}} }] }""", csv = $"id{separator}a\nx{separator}1\n";
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.ColumnMissing, "t.csv", null, () => Load(csv, separator, '.', schema, needLabel: false));
        Assert.Contains($"cells are separated by {named}.", error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(',', ',')]
    [InlineData(':', '.')]
    [InlineData(';', ';')]
    public void Load_NoSuchDialect_Refused(char separator, char mark) =>
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.csv", null, () => Load("id,y,a\nx,1,2\n", separator, mark));

    /// <summary>In both readers: what takes the place of the separator while a line is read is no white space at an end.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("\"")]
    public void Load_CommasAtTheEndsOfACellBetweenTabs_Stay(string quote) =>
        Assert.Equal([",x,"], Load($"id\ty\ta\n{quote},x,{quote}\t1\t2\n", '\t', '.').Ids);

    [Fact]
    public void Load_DialectOfAnotherKindOfFile_Refused() => ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.svm", null,
        () => Table.Load(new TableSource { Path = _folder.Write("t.svm", "1 1:2\n"), Separator = ';' }, needLabel: false));

    /// <summary>What was recognised in the usual file is recognised in any.</summary>
    [Theory]
    [MemberData(nameof(Dialects))]
    public void Load_CompressedOrLatin1_SaysSo(char separator, char mark)
    {
        using var zip = new MemoryStream();
        using (var gzip = new GZipStream(zip, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(Encoding.UTF8.GetBytes(Cells(separator, mark, quoted: false)));
        Assert.Contains("gzip", ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "t.csv", null, () => Load(zip.ToArray(), separator, mark)).Cause, StringComparison.Ordinal);
        foreach (string row in (string[])["id y größe\nx 1 2\n", "id y a\nü 1 2\n"])
        {
            BadInputException latin = ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "line ", null, () => Load(Encoding.Latin1.GetBytes(row.Replace(' ', separator)), separator, mark));
            Assert.Contains("no UTF-8", latin.Cause, StringComparison.Ordinal);
        }
    }

    /// <summary>Words of labels, in both readers and every dialect.</summary>
    [Theory]
    [MemberData(nameof(Dialects))]
    public void Load_LabelWords_AreTheirClasses(char separator, char mark)
    {
        foreach (string quote in (string[])["", "\""])
        {
            string path = _folder.Write("t.csv", $"id y a\nx {quote}sehr.gut{quote} 1\ny nein 2\nz {quote}?{quote} 3\n".Replace(' ', separator));
            var source = new TableSource { Path = path, Separator = separator, DecimalMark = mark, Label = "y", LabelWords = ["nein", "sehr.gut", "?"] };
            Assert.Equal([1, 0, 2], Table.Load(source, needLabel: true).Labels!);
            Assert.Null(Table.Load(source, needLabel: false).Labels);
        }
    }

    [Theory]
    [InlineData("Yes", DataErrors.UnknownLabel)]
    [InlineData("maybe", DataErrors.UnknownLabel)]
    [InlineData("1", DataErrors.UnknownLabel)]
    [InlineData("", DataErrors.EmptyCell)]
    [InlineData("NA", DataErrors.EmptyCell)]
    public void Load_LabelThatIsNoWord_RefusedWithoutTheLabel(string cell, string id) => ErrorAssert.Throws<BadInputException>(id, "line 3, column 'y'", cell == "maybe" ? cell : null,
        () => Table.Load(new TableSource { Path = _folder.Write("t.csv", $"id,y,a\nx,no,1\ny,{cell},2\n"), Label = "y", LabelWords = ["no", "yes"] }, needLabel: true));

    [Fact]
    public void Load_LabelWordsThatAreNone_Refused()
    {
        foreach (string[] words in (string[][])[["no"], [], ["no", "no"], ["no", ""], ["no", " yes"]])
            ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.csv", null,
                () => Table.Load(new TableSource { Path = _folder.Write("t.csv", "id,y,a\nx,no,1\n"), Label = "y", LabelWords = words }, needLabel: true));
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.svm", null, () => Table.Load(new TableSource { Path = _folder.Write("t.svm", "1 1:2\n"), LabelWords = ["a", "b"] }, needLabel: true));
    }

    [Fact]
    public void Load_IdsAlone_AreOfTheSameRows()
    {
        string path = _folder.Write("t.csv", "born;name;x\n1,5;a.b;2,5\n\"2\";c;1\n");
        IdTable ids = IdTable.Load(new TableSource { Path = path, IdColumns = ["name", "born"], Separator = ';', DecimalMark = ',' }, keepFirst: false, default);
        Assert.Equal([$"a.b{RowIds.ColumnSeparator}1,5", $"c{RowIds.ColumnSeparator}2"], ids.Ids);
    }

    /// <summary>A split file has two columns at least, so that its first line tells.</summary>
    [Theory]
    [InlineData(',')]
    [InlineData(';')]
    [InlineData('\t')]
    [InlineData('|')]
    public void TestRows_AnySeparator_IsSeen(char separator) => Assert.Equal([true, false],
        RowSplit.TestRows(new SplitRule.FromFile(), _folder.Write("split.csv", "id,split\na,test\nb,train\n".Replace(',', separator)), ["a", "b"], [0, 1]));
}
