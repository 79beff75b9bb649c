using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Data;

public sealed class CsvTableTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private const string Schema = """
        { "id": "id", "label": "y", "fields": [
          { "name": "age", "type": "numeric", "min": 0, "max": 100 },
          { "name": "sex", "type": "one-hot", "columns": ["f", "m"] },
          { "name": "city", "type": "category", "values": ["Köln", "Bonn, am Rhein"] } ] }
        """;

    private Table Load(string csv, string? schema = null, bool needLabel = false, string? label = null) => Load(Encoding.UTF8.GetBytes(csv), schema, needLabel, label);

    private Table Load(byte[] csv, string? schema = null, bool needLabel = false, string? label = null) => Table.Load(new TableSource
    {
        Path = _folder.Write("t.csv", csv),
        Schema = schema is null ? null : _folder.Write("s.json", schema),
        Label = label,
    }, needLabel);

    private void Refuses(string id, string place, string? secret, string csv, string? schema = null, bool needLabel = false, string? label = null) =>
        ErrorAssert.Throws<BadInputException>(id, place, secret, () => Load(csv, schema, needLabel, label));

    /// <summary>More digits than float64 has, which are not to be rounded twice.</summary>
    [Theory]
    [InlineData("0047.856959858438490")]
    [InlineData("586455046669598393.0")]
    [InlineData("0.478400502933415652")]
    public void Load_NumberOfManyDigits_IsTheNearest(string number) =>
        Assert.Equal([double.Parse(number, System.Globalization.CultureInfo.InvariantCulture), 1], Load($"id,a,b\nx,{number},1\n").Values.Values);

    [Fact]
    public void Load_NoSchema_EveryColumnButIdAndLabelIsNumeric()
    {
        Table table = Load("b,id,y,a\n1.5,p,0,-2e1\n.25,q,1,3.\n", needLabel: true, label: "y");
        Assert.Equal(["b", "a"], table.Schema.FeatureNames);
        Assert.Equal(["p", "q"], table.Ids);
        Assert.Equal([1.5, -20, 0.25, 3], table.Values.Values);
        Assert.Equal([0, 1], table.Labels!);
        Assert.Empty(table.IgnoredColumns);
        Assert.False(table.Schema.DeclaresAllRanges);
        Assert.EndsWith("t.csv, line 3", table.PlaceOf(1), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_MoreCellsThanATableTakes_SaysHowManyRowsAndColumns()
    {
        string values = string.Join(',', Enumerable.Range(0, 45_000).Select(v => $"\"v{v}\""));
        string csv = "id,city\n" + string.Concat(Enumerable.Range(0, 50_000).Select(i => $"r{i},v{i % 7}\n"));
        BadInputException error = Assert.Throws<BadInputException>(() => Load(csv, $$"""{ "fields": [ { "name": "city", "type": "category", "values": [{{values}}] } ] }"""));
        Assert.Equal(DataErrors.TooLarge, error.Id);
        Assert.Contains(" rows of 45,000 columns ", error.Message, StringComparison.Ordinal);
        Assert.Contains("GiB", error.Message, StringComparison.Ordinal);
        Assert.Contains(".svm", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_Schema_EncodesEveryKindInItsOrder()
    {
        Table table = Load("y,city,m,f,extra,age,id\n1,\"Bonn, am Rhein\",1,0,text,31,a\n0,Köln,0,1.0,,200,b\n", Schema, needLabel: true);
        Assert.Equal(["age", "f", "m", "city=Köln", "city=Bonn, am Rhein"], table.Schema.FeatureNames);
        Assert.Equal([31, 0, 1, 0, 1, 200, 1, 0, 1, 0], table.Values.Values);
        Assert.Equal([1, 0], table.Labels!);
        Assert.Equal(["extra"], table.IgnoredColumns);
    }

    [Fact]
    public void Load_LabelNotNeeded_LeavesItOut()
    {
        Table table = Load("id,y,f,m,city,age\na,,0,1,Köln,3\n", Schema);
        Assert.Null(table.Labels);
        Assert.DoesNotContain("y", table.Schema.FeatureNames);
        Assert.Empty(table.IgnoredColumns);
    }

    [Fact]
    public void Load_SourceNamesColumns_OverridesSchema()
    {
        string path = _folder.Write("t.csv", "key,target,f,m,city,age\na,7,0,1,Köln,3\n");
        var source = new TableSource { Path = path, Id = "key", Label = "target", Schema = _folder.Write("s.json", Schema) };
        Table table = Table.Load(source, needLabel: true);
        Assert.Equal(["a"], table.Ids);
        Assert.Equal([7], table.Labels!);
    }

    [Theory]
    [InlineData("id,a\r\nx,1\r\ny,2\r\n")]                                  // CRLF
    [InlineData("\uFEFFid,a\nx,1\ny,2")]                                     // byte order mark, no line end
    [InlineData("id,a\nx,1\ny,2\n\n\n")]                                     // blank lines at the end
    [InlineData("id,a\nx,1\n\ny,2\n   \n")]                                  // blank lines between, white space at the end
    [InlineData("\"id\",\"a\"\n\"x\",\"1\"\n y , 2 \n")]                     // quotes, blanks around cells
    [InlineData("id,a\rx,1\ry,2\r")]                                         // CR alone
    public void Load_HarmlessLayout_ReadsTheSame(string csv)
    {
        Table table = Load(csv);
        Assert.Equal(["x", "y"], table.Ids);
        Assert.Equal([1, 2], table.Values.Values);
    }

    [Fact]
    public void Load_Utf16WithMark_ReadsTheSame() =>
        Assert.Equal(["ü"], Load([.. Encoding.Unicode.GetPreamble(), .. Encoding.Unicode.GetBytes("id,a\nü,1\n")]).Ids);

    [Fact]
    public void Load_LineBreakInQuotes_KeepsLineNumbers()
    {
        Table table = Load("id,a\n\"x\ny\",1\n\nz,2\n");
        Assert.EndsWith("line 2", table.PlaceOf(0), StringComparison.Ordinal);
        Assert.EndsWith("line 5", table.PlaceOf(1), StringComparison.Ordinal);
        Refuses(DataErrors.NotANumber, "line 5, column 'a'", "secret", "id,a\n\"x\ny\",1\n\nz,secret\n");
    }

    [Theory]
    [InlineData("no.csv")]
    [InlineData("no.npy")]
    [InlineData("no.svm")]
    [InlineData("no/t.csv")]
    public void Load_MissingFile_Refused(string name) => Assert.Contains("no such file", ErrorAssert.Throws<BadInputException>(DataErrors.FileUnreadable, Path.GetFileName(name), null,
        () => Table.Load(new TableSource { Path = _folder[name] }, needLabel: false)).Cause, StringComparison.Ordinal);

    [Fact]
    public void Load_Folder_Refused()
    {
        Directory.CreateDirectory(_folder["d.csv"]);
        Assert.Contains("a folder", ErrorAssert.Throws<BadInputException>(DataErrors.FileUnreadable, "d.csv", null,
            () => Table.Load(new TableSource { Path = _folder["d.csv"] }, needLabel: false)).Cause, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("key,a\nx,1\n")]                                             // another name
    [InlineData("ID,a\nx,1\n")]                                              // names are exact
    [InlineData("id;a\nx;1\n")]                                              // another separator
    public void Load_NoIdColumn_Refused(string csv) => Refuses(DataErrors.ColumnMissing, "t.csv", null, csv);

    [Theory]
    [InlineData("id;a\nx;1\n", DataErrors.ColumnMissing, "semicolons")]
    [InlineData("id\ta\nx\t1\n", DataErrors.ColumnMissing, "tabs")]
    [InlineData("id|a\nx|1\n", DataErrors.ColumnMissing, "vertical bars")]
    [InlineData("\"id\";\"a\"\n\"x\";987\n", DataErrors.MalformedCsv, "data.separator")]
    public void Load_OtherSeparator_IsNamed(string csv, string id, string separator)
    {
        BadInputException error = ErrorAssert.Throws<BadInputException>(id, "t.csv", "987", () => Load(csv));
        Assert.Contains(separator, error.Cause + error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ID", "id", true)]
    [InlineData("Customer_Number", "customer_number", true)]
    [InlineData("customer_nubmer", "customer_number", true)]
    [InlineData("ie", "id", false)]                                          // as near as that is any cell of a file without a line of names
    [InlineData("customer", "customer_number", false)]
    public void Load_NearName_IsSuggested(string written, string meant, bool near)
    {
        string path = _folder.Write("t.csv", $"{written},a\nx,1\n");
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.ColumnMissing, "t.csv", null, () => Table.Load(new TableSource { Path = path, Id = meant }, needLabel: false));
        Assert.Equal(near, error.Remedy.Contains($"Did you mean '{written}'?", StringComparison.Ordinal));
    }

    [Fact]
    public void Load_NoLineOfNames_HidesTheFirstRow()
    {
        Refuses(DataErrors.ColumnDuplicate, "line 1", "987", "x,987,987\n");
        Refuses(DataErrors.ColumnMissing, "t.csv", "987", "x,987,654\n");
    }

    [Fact]
    public void Load_NamesNotUtf8_Refused() => ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "line 1", null, () => Load([.. "id,gr"u8, 0xF6, .. "\nx,1\n"u8]));

    [Fact]
    public void Load_Compressed_SaysSo()
    {
        using var packed = new MemoryStream();
        using (var gzip = new System.IO.Compression.GZipStream(packed, System.IO.Compression.CompressionLevel.Fastest))
            gzip.Write("id,a\nx,1\n"u8);
        Assert.Contains("gzip", ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "t.csv", null, () => Load(packed.ToArray())).Cause, StringComparison.Ordinal);
        ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "t.svm", null, () => Table.Load(new TableSource { Path = _folder.Write("t.svm", packed.ToArray()) }, needLabel: true));
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.csv.gz", null, () => Table.Load(new TableSource { Path = _folder.Write("t.csv.gz", packed.ToArray()) }, needLabel: false));
    }

    [Theory]
    [InlineData("yes", DataErrors.NotANumber, "0 and 1")]
    [InlineData("", DataErrors.EmptyCell, "leave the row out")]
    [InlineData("NA", DataErrors.EmptyCell, "leave the row out")]
    [InlineData("NaN", DataErrors.NotFinite, "leave the row out")]
    public void Load_LabelOfAnotherKind_SaysWhatLabelsAre(string cell, string id, string remedy)
    {
        BadInputException error = ErrorAssert.Throws<BadInputException>(id, "line 2, column 'y'", cell == "yes" ? cell : null, () => Load($"id,a,y\nx,1,{cell}\n", needLabel: true, label: "y"));
        Assert.Contains(remedy, error.Remedy, StringComparison.Ordinal);
        Assert.DoesNotContain("schema", error.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_NoLabelColumn_Refused() => Refuses(DataErrors.ColumnMissing, "t.csv", null, "id,a\nx,1\n", needLabel: true, label: "y");

    [Fact]
    public void Load_NoFeatureColumn_Refused() => Refuses(DataErrors.ColumnMissing, "t.csv", null, "id\nx\n");

    [Theory]
    [InlineData(null)]
    [InlineData("""{ "id": "id", "label": "y", "fields": [] }""")]
    public void Load_LabelsAlone_IsATableWithoutFeatures(string? schema)
    {
        Table table = Load("id,y\nx,1\nz,0\n", schema, needLabel: true, label: "y");
        Assert.Equal((2, 0), (table.Ids.Count, table.Schema.FeatureNames.Count));
        Assert.Equal([1, 0], table.Labels!);
        // As it is when the model is used.
        Assert.Empty(Load("id\nx\n", schema, label: "y").Schema.FeatureNames);
    }

    [Theory]
    [InlineData("age")]
    [InlineData("m")]
    [InlineData("city")]
    public void Load_SchemaColumnMissing_NamesIt(string column)
    {
        string csv = "id,age,f,m,city\nx,1,0,1,Köln\n".Replace(column, "other", StringComparison.Ordinal);
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.ColumnMissing, "t.csv", null, () => Load(csv, Schema));
        Assert.Contains($"'{column}'", error.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_LabelNotNamed_IsAConfigurationError() => ErrorAssert.Throws<ConfigurationException>(DataErrors.LabelNotNamed, "t.csv", null,
        () => Load("id,a\nx,1\n", needLabel: true));

    [Theory]
    [InlineData("id,a,a\nx,1,2\n")]
    [InlineData("id,a,\" a\"\nx,1,2\n")]
    [InlineData("id,a,\nx,1,2\n")]
    public void Load_HeaderNotUnique_Refused(string csv) => Refuses(DataErrors.ColumnDuplicate, "line 1", null, csv);

    [Theory]
    [InlineData("id,a\nx,1\ny,987,3\n")]
    [InlineData("id,a\nx,1\n987\n")]
    [InlineData("id,a\nx,1\ny,987,\n")]
    public void Load_RaggedRow_Refused(string csv) => Refuses(DataErrors.RaggedRow, "line 3", "987", csv);

    [Theory]
    [InlineData("id,a\nx,1\ny,\"987\"6\n")]
    [InlineData("id,a\nx,1\ny,\"987\n")]
    [InlineData("id,a\nx,1\ny,98\"7\n")]
    public void Load_BadQuotes_Refused(string csv) => Refuses(DataErrors.MalformedCsv, "line 3", "987", csv);

    [Fact]
    public void Load_IdNotUtf8_Refused() => ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "line 2", null,
        () => Load([.. "id,a\n"u8, 0xFF, .. ",1\n"u8]));

    [Theory]
    [InlineData("abc")]
    [InlineData("\"1,5\"")]
    [InlineData("\"1,234.5\"")]
    [InlineData("1 234")]
    [InlineData("\" 987\"")]
    [InlineData("0x1F")]
    [InlineData("1_000")]
    [InlineData("1e")]
    [InlineData("--1")]
    [InlineData("+")]
    [InlineData(".")]
    [InlineData("1.2.3")]
    [InlineData("1e2e3")]
    [InlineData("(987)")]
    [InlineData("€987")]
    [InlineData("987%")]
    [InlineData("true")]
    [InlineData("١٢٣")]                                                      // digits of another script
    public void Load_NotANumber_NamesCellAndHidesIt(string cell)
    {
        Refuses(DataErrors.NotANumber, "line 3, column 'a b'", cell.Trim('"', ' ') is { Length: > 1 } secret ? secret : null, $"id,a b,c\nx,1,2\ny,{cell},3\n");
        Refuses(DataErrors.NotANumber, "line 2, column 'y'", null, $"id,y,c\nx,{cell},2\n", needLabel: true, label: "y");
    }

    [Theory]
    [InlineData("1e999")]
    [InlineData("-1e999")]
    [InlineData("1e99999999999999999999")]
    [InlineData("NaN")]
    [InlineData("nan")]
    [InlineData("-nan")]
    [InlineData("inf")]
    [InlineData("-Infinity")]
    [InlineData("+INF")]
    public void Load_NotFinite_NamesCellAndHidesIt(string cell) => Refuses(DataErrors.NotFinite, "line 3, column 'b'", cell.Contains("99", StringComparison.Ordinal) ? cell : null,
        $"id,b,c\nx,1,2\ny,{cell},3\n");                                     // the message says NaN and infinite whatever the cell

    [Theory]
    [InlineData("")]
    [InlineData("  ")]
    [InlineData("\"\"")]
    public void Load_EmptyCell_Refused(string cell) => Refuses(DataErrors.EmptyCell, "line 3, column 'b'", null, $"id,b,c\nx,1,2\ny,{cell},3\n");

    [Theory]
    [InlineData("1e-999", 0)]
    [InlineData("+5", 5)]
    [InlineData("-0", -0.0)]
    [InlineData("0.1", 0.1)]
    [InlineData("17976931348623157e292", double.MaxValue)]
    [InlineData("4.9E-324", double.Epsilon)]
    [InlineData("9007199254740993", 9007199254740992)]                       // halfway: to even
    [InlineData("0.1000000000000000055511151231257827021181583404541015625", 0.1)]
    public void Load_Number_IsRoundedOnceToNearest(string cell, double expected) =>
        Assert.Equal(BitConverter.DoubleToInt64Bits(expected), BitConverter.DoubleToInt64Bits(Load($"id,a\nx,{cell}\n").Values.Values[0]));

    [Theory]
    [InlineData("secret987", "secret987")]
    [InlineData("\"secret987 \"", " secret987")]                             // white space at the ends
    [InlineData("sécret987", "se\u0301cret987")]                             // normal form C
    public void Load_DuplicateId_NamesBothRowsAndHidesIt(string first, string second)
    {
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.DuplicateId, "line 4", "cret987", () => Load($"id,a\n{first},1\nx,2\n{second},3\n"));
        Assert.Contains("line 2", error.Cause, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("   ")]
    [InlineData("\" \"")]
    public void Load_EmptyId_Refused(string id) => Refuses(DataErrors.EmptyId, "line 3", null, $"id,a\nx,1\n{id},2\n");

    [Theory]
    [InlineData("id,a\n")]
    [InlineData("id,a")]
    [InlineData("id,a\n\n\n")]
    [InlineData("")]
    [InlineData("\n")]
    public void Load_NoRows_Refused(string csv) => Refuses(DataErrors.NoRows, "t.csv", null, csv);

    [Theory]
    [InlineData("Essen")]
    [InlineData("köln")]
    [InlineData("Köl")]
    public void Load_UnknownCategory_NamesCellAndHidesIt(string cell) =>
        Refuses(DataErrors.UnknownCategory, "line 2, column 'city'", cell, $"id,age,f,m,city\nx,1,0,1,{cell}\n", Schema);

    [Fact]
    public void Load_CategoryOfAnotherEncoding_IsNoUtf8() => ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "line 2", null,
        () => Load([.. "id,age,f,m,city\nx,1,0,1,K"u8, 0xF6, .. "ln\n"u8], Schema));

    [Theory]
    [InlineData("NULL")]
    [InlineData("N/A")]
    [InlineData("-")]
    public void Load_AnotherSpellingOfMissing_SaysWhichOnesAreRead(string cell)
    {
        BadInputException error = Assert.Throws<BadInputException>(() => Load($"id,a,b,c\np,{cell},7,x\n", WithMissing));
        Assert.Equal(DataErrors.NotANumber, error.Id);
        Assert.Contains("A missing value is an empty cell or exactly NA, NaN, nan, null or ?.", error.Remedy, StringComparison.Ordinal);
        Assert.DoesNotContain("A missing value", Assert.Throws<BadInputException>(() => Load($"id,a,b,c\np,.5,{cell},x\n", WithMissing)).Remedy, StringComparison.Ordinal);
    }

    /// <summary>Read the fast way, and the general one where an id is quoted.</summary>
    [Theory]
    [InlineData("x", "x", 0, 0)]
    [InlineData("x", "y", 1, 0)]
    [InlineData("x", "z", 0, 1)]
    [InlineData("y", "x", 1, 0)]
    [InlineData("y", "y", 0, 0)]
    [InlineData("y", "z", 0, 1)]
    [InlineData("y", "", 0, 1)]
    [InlineData("z", "y", 0, 1)]
    [InlineData("z", "", 0, 0)]
    public void Load_CategoryWithABase_HasColumnsOfItsOtherValues(string baseValue, string cell, double first, double second)
    {
        string schema = $$"""{ "fields": [ { "name": "c", "type": "category", "values": ["x", "y", "z"], "missing": "z", "base": "{{baseValue}}" }, { "name": "a", "type": "numeric" } ] }""";
        foreach (string id in new[] { "p", "\"p\"" })
        {
            Table table = Load($"id,a,c\n{id},7,{cell}\nq,8,y\n", schema);
            Assert.Equal([.. new[] { "x", "y", "z" }.Where(value => value != baseValue).Select(value => $"c={value}"), "a"], table.Schema.FeatureNames);
            Assert.Equal([first, second, 7], table.Values.Row(0).ToArray());
        }
    }

    private const string WithMissing = """
        { "fields": [ { "name": "a", "type": "numeric", "min": 0, "max": 1, "missing": 0.5 }, { "name": "b", "type": "numeric" },
          { "name": "c", "type": "category", "values": ["x", "NA", "unknown"], "missing": "unknown" } ] }
        """;

    [Theory]
    [InlineData("")]
    [InlineData("NA")]
    [InlineData("NaN")]
    [InlineData("nan")]
    [InlineData("null")]
    [InlineData("?")]
    [InlineData("  ")]
    public void Load_MissingDeclared_IsTheConstant(string cell)
    {
        double[] category = cell == "NA" ? [0, 1, 0] : [0, 0, 1];                                // a listed value is itself
        Assert.Equal([0.5, 7, .. category, 1, 8, 1, 0, 0], Load($"id,a,b,c\np,{cell},7,{cell}\nq,1,8,x\n", WithMissing).Values.Values);
    }

    [Theory]
    [InlineData("na", DataErrors.NotANumber)]
    [InlineData("-nan", DataErrors.NotFinite)]
    [InlineData("inf", DataErrors.NotFinite)]
    [InlineData("NULL", DataErrors.NotANumber)]
    [InlineData("??", DataErrors.NotANumber)]
    public void Load_OtherWordThanMissing_Refused(string cell, string id) => Refuses(id, "line 2, column 'a'", null, $"id,a,b,c\np,{cell},7,x\n", WithMissing);

    [Theory]
    [InlineData("", DataErrors.EmptyCell)]
    [InlineData("NA", DataErrors.EmptyCell)]
    [InlineData("?", DataErrors.EmptyCell)]
    [InlineData("NaN", DataErrors.NotFinite)]
    public void Load_MissingInAnotherField_Refused(string cell, string id) => Refuses(id, "line 2, column 'b'", null, $"id,a,b,c\np,1,{cell},x\n", WithMissing);

    [Fact]
    public void Load_EmptyCategory_Refused() => Refuses(DataErrors.EmptyCell, "line 2, column 'city'", null, "id,age,f,m,city\nx,1,0,1,\n", Schema);

    [Theory]
    [InlineData("0.987")]
    [InlineData("-1")]
    [InlineData("2")]
    public void Load_OneHotNotZeroOrOne_Refused(string cell) =>
        Refuses(DataErrors.NotOneHot, "line 2, column 'f'", cell == "2" ? null : cell, $"id,age,f,m,city\nx,1,{cell},0,Köln\n", Schema);

    [Fact]
    public void Load_LabelOutsideRange_NamesCellAndHidesIt()
    {
        var source = new TableSource { Path = _folder.Write("t.csv", "id,y,a\nx,4,1\nz,4.987,1\n"), Label = "y", LabelRange = (0, 4) };
        ErrorAssert.Throws<BadInputException>(DataErrors.LabelOutOfRange, "line 3, column 'y'", "987", () => Table.Load(source, needLabel: true));
        Assert.Null(Table.Load(source, needLabel: false).Labels);
    }

    [Theory]
    [InlineData("t.txt")]
    [InlineData("t")]
    public void Load_OtherKindOfFile_IsAConfigurationError(string name) => ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, name, null,
        () => Table.Load(new TableSource { Path = _folder.Write(name, "id,a\nx,1\n") }, needLabel: false));

    [Fact]
    public void Load_CsvWithIdFile_IsAConfigurationError() => ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "t.csv", null,
        () => Table.Load(new TableSource { Path = _folder.Write("t.csv", "id,a\nx,1\n"), Ids = "ids.txt" }, needLabel: false));

    [Fact]
    public void Load_LabelIsAField_IsAConfigurationError() => ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaDuplicate, "s.json", null,
        () => Load("id,age,f,m,city\nx,1,0,1,Köln\n", Schema, needLabel: true, label: "age"));

    [Fact]
    public void Load_Cancelled_Throws()
    {
        using var source = new CancellationTokenSource();
        source.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => Table.Load(new TableSource { Path = _folder.Write("t.csv", "id,a\nx,1\n") }, false, source.Token));
    }

    [Fact]
    public void Load_ManyRows_GrowsToTheirNumber()
    {
        const int Rows = 20_000;
        var csv = new StringBuilder("id,a,b\r");                             // CR alone: the line count gives no room in advance
        for (int i = 0; i < Rows; i++)
            csv.Append(System.Globalization.CultureInfo.InvariantCulture, $"r{i},{i},{-i}\r");
        Table table = Load(csv.ToString());
        Assert.Equal(Rows, table.Values.Rows);
        for (int i = 0; i < Rows; i++)
            Assert.Equal([i, -i], table.Values.Row(i).ToArray());
    }
}
