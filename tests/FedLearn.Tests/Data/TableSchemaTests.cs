using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Data;

public sealed class TableSchemaTests
{
    private const string Legal = """
        {
          "$schema": "table.schema.json",
          "id": "id", "label": "y",                              // comments and trailing commas are legal
          "fields": [
            { "name": "age", "type": "numeric", "min": 17, "max": 97.5 },
            { "name": "income", "type": "numeric" },
            { "name": "sex", "type": "one-hot", "columns": ["sex__f", "sex__m"] },
            { "name": "city", "type": "category", "values": ["a", "b"] },
          ],
        }
        """;

    private static string WithField(string field) => $$"""{ "fields": [ {{field}} ] }""";

    [Fact]
    public void Parse_LegalText_GivesFieldsInOrder()
    {
        TableSchema schema = TableSchema.Parse(Legal, "here");
        Assert.Equal(("id", "y"), (Assert.Single(schema.IdColumns), schema.LabelColumn));
        Assert.Equal([FieldKind.Numeric, FieldKind.Numeric, FieldKind.OneHot, FieldKind.Category], schema.Fields.Select(field => field.Kind));
        Assert.Equal((17, 97.5), (schema.Fields[0].Min, schema.Fields[0].Max));
        Assert.Equal(["age", "income", "sex__f", "sex__m", "city=a", "city=b"], schema.FeatureNames);
        Assert.False(schema.DeclaresAllRanges);
    }

    [Fact]
    public void DeclaresAllRanges_OnlyNumericFieldsNeedOne() =>
        Assert.True(TableSchema.Parse(Legal.Replace("\"numeric\" }", "\"numeric\", \"min\": 0, \"max\": 1 }", StringComparison.Ordinal), "here").DeclaresAllRanges);

    [Theory]
    [InlineData("{")]
    [InlineData("")]
    [InlineData("""{ "fields": [], "fields": [] }""")]
    [InlineData("""{ "fields": [ { "name": "a", "type": "numeric", "min": NaN, "max": 1 } ] }""")]
    public void Parse_NotJson_Refused(string json) =>
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaNotJson, "here", null, () => TableSchema.Parse(json, "here"));

    [Theory]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("Minimum", "minimum", 0)]
    [InlineData("", "max", 3)]
    public void Distance_TwoWords_IsTheNumberOfLettersToChange(string from, string to, int expected) => Assert.Equal((expected, expected), (Spelling.Distance(from, to), Spelling.Distance(to, from)));

    [Theory]
    [InlineData("""{ "feilds": [] }""", "fields")]
    [InlineData("""{ "labels": "y", "fields": [] }""", "label")]
    [InlineData("""{ "fields": [ { "name": "a", "typ": "numeric" } ] }""", "type")]
    [InlineData("""{ "fields": [ { "name": "a", "type": "numeric", "maximum": 1 } ] }""", "max")]
    [InlineData("""{ "fields": [ { "name": "a", "type": "category", "Values": ["x"] } ] }""", "values")]
    public void Parse_UnknownKey_NamesTheNearest(string json, string nearest)
    {
        ConfigurationException error = ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaUnknownKey, "here", null, () => TableSchema.Parse(json, "here"));
        Assert.Contains($"'{nearest}'", error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""[]""")]
    [InlineData("""{ }""")]
    [InlineData("""{ "fields": [] }""")]
    [InlineData("""{ "fields": {} }""")]
    [InlineData("""{ "fields": [ 1 ] }""")]
    [InlineData("""{ "id": 3, "fields": [ { "name": "a", "type": "numeric" } ] }""")]
    [InlineData("""{ "id": "", "fields": [ { "name": "a", "type": "numeric" } ] }""")]
    public void Parse_IllegalShape_Refused(string json) =>
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaInvalid, "here", null, () => TableSchema.Parse(json, "here"));

    [Theory]
    [InlineData("""{ "type": "numeric" }""")]
    [InlineData("""{ "name": " ", "type": "numeric" }""")]
    [InlineData("""{ "name": "a" }""")]
    [InlineData("""{ "name": "a", "type": "number" }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "min": 0 }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "min": 1, "max": 1 }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "min": 2, "max": 1 }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "min": 0, "max": 1e999 }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "min": "0", "max": "1" }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "columns": ["x"] }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "values": [] }""")]
    [InlineData("""{ "name": "a", "type": "one-hot" }""")]
    [InlineData("""{ "name": "a", "type": "one-hot", "columns": [] }""")]
    [InlineData("""{ "name": "a", "type": "one-hot", "columns": [""] }""")]
    [InlineData("""{ "name": "a", "type": "one-hot", "columns": [1] }""")]
    [InlineData("""{ "name": "a", "type": "one-hot", "columns": ["x"], "min": 0 }""")]
    [InlineData("""{ "name": "a", "type": "category" }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "min": 0, "max": 1, "missing": 1.5 }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "min": 0, "max": 1, "missing": -0.5 }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "missing": "0" }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "missing": 1e999 }""")]
    [InlineData("""{ "name": "a", "type": "category", "values": ["x"], "missing": "y" }""")]
    [InlineData("""{ "name": "a", "type": "category", "values": ["x"], "missing": 1 }""")]
    [InlineData("""{ "name": "a", "type": "one-hot", "columns": ["x"], "missing": 0 }""")]
    [InlineData("""{ "name": "a", "type": "one-hot", "columns": ["x"], "missing": "x" }""")]
    [InlineData("""{ "name": "a", "type": "category", "values": "x" }""")]
    [InlineData("""{ "name": "a", "type": "category", "values": ["x", "y"], "base": "z" }""")]
    [InlineData("""{ "name": "a", "type": "category", "values": ["x"], "base": "x" }""")]
    [InlineData("""{ "name": "a", "type": "category", "values": ["x", "y"], "base": 1 }""")]
    [InlineData("""{ "name": "a", "type": "numeric", "base": "x" }""")]
    [InlineData("""{ "name": "a", "type": "one-hot", "columns": ["x", "y"], "base": "x" }""")]
    public void Parse_IllegalField_Refused(string field) =>
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaInvalid, "here", null, () => TableSchema.Parse(WithField(field), "here"));

    // What a file cannot say, code can.
    public static TheoryData<Field> IllegalFields =>
    [
        Field.Numeric(" "),
        Field.Numeric("a", double.NegativeInfinity, 0),
        Field.Numeric("a", 0, double.PositiveInfinity),
        new Field("a", FieldKind.OneHot, 0, 1, ["x"], []),
        new Field("a", FieldKind.OneHot, null, null, ["x"], []) { MissingNumber = 0 },
        Field.Numeric("a") with { MissingNumber = double.PositiveInfinity },
        new Field("a", FieldKind.Category, null, null, [], ["x", " "]),
    ];

    [Theory]
    [MemberData(nameof(IllegalFields), DisableDiscoveryEnumeration = true)]
    public void Create_IllegalField_Refused(Field field) =>
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaInvalid, "here", null, () => TableSchema.Create([field], place: "here"));

    // The schema of an active party that brings labels alone.
    [Fact]
    public void Parse_LabelWithoutFields_IsLegal() => Assert.Empty(TableSchema.Parse("""{ "id": "id", "label": "y", "fields": [] }""", "here").FeatureNames);

    [Theory]
    [InlineData("""{ "fields": [ { "name": "a", "type": "numeric" }, { "name": "a", "type": "numeric" } ] }""")]
    [InlineData("""{ "fields": [ { "name": "a", "type": "numeric" }, { "name": "b", "type": "one-hot", "columns": ["a"] } ] }""")]
    [InlineData("""{ "fields": [ { "name": "b", "type": "one-hot", "columns": ["x", "x"] } ] }""")]
    [InlineData("""{ "fields": [ { "name": "b", "type": "one-hot", "columns": ["x"] }, { "name": "b", "type": "numeric" } ] }""")]
    [InlineData("""{ "fields": [ { "name": "b", "type": "category", "values": ["x", "x"] } ] }""")]
    [InlineData("""{ "fields": [ { "name": "b", "type": "category", "values": ["x", "x", "y"], "base": "x" } ] }""")]
    [InlineData("""{ "fields": [ { "name": "b", "type": "category", "values": ["x"] }, { "name": "b=x", "type": "numeric" } ] }""")]
    [InlineData("""{ "id": "a", "fields": [ { "name": "a", "type": "numeric" } ] }""")]
    [InlineData("""{ "label": "x", "fields": [ { "name": "a", "type": "one-hot", "columns": ["x"] } ] }""")]
    [InlineData("""{ "id": "y", "label": "y", "fields": [ { "name": "a", "type": "numeric" } ] }""")]
    public void Parse_ColumnNamedTwice_Refused(string json) =>
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaDuplicate, "here", null, () => TableSchema.Parse(json, "here"));

    [Fact]
    public void Parse_ValueListedTwice_IsNamed()
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => TableSchema.Parse("""{ "fields": [ { "name": "b", "type": "category", "values": ["x", "y", "y"] } ] }""", "here"));
        Assert.Contains("field 'b': the value 'y' is listed twice. List every value once.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_MissingFile_Refused() =>
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaUnreadable, "no.json", null, () => TableSchema.Load(Path.Combine(Path.GetTempPath(), "fedlearn-no.json")));

    [Fact]
    public void Load_Latin1_IsRefusedAsNoUtf8()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, """{ "fields": [{ "name": "city", "type": "category", "values": ["Köln"] }] }""", Encoding.Latin1);
            ConfigurationException error = Assert.Throws<ConfigurationException>(() => TableSchema.Load(path));
            Assert.Equal((DataErrors.SchemaNotJson, path), (error.Id, error.Place));
            Assert.Contains("no UTF-8", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Fingerprint_SameFields_IgnoresLayoutAndIdAndLabel()
    {
        TableSchema schema = TableSchema.Parse(Legal, "here");
        string other = Legal.Replace("\"id\": \"id\", \"label\": \"y\",", "", StringComparison.Ordinal).Replace("97.5", "975e-1", StringComparison.Ordinal).Replace("\n", "", StringComparison.Ordinal);
        other = other.Replace("// comments and trailing commas are legal", "", StringComparison.Ordinal);
        Assert.Equal(schema.Fingerprint().ToArray(), TableSchema.Parse(other, "there").Fingerprint().ToArray());
        Assert.Equal(32, schema.Fingerprint().Length);
    }

    [Fact]
    public void Fingerprint_AnyChange_Differs()
    {
        TableSchema schema = TableSchema.Parse(Legal, "here");
        (string Old, string New)[] changes =
        [
            ("\"age\"", "\"agE\""), ("17", "18"), ("97.5", "97"), ("sex__m", "sex__n"), ("[\"a\", \"b\"]", "[\"b\", \"a\"]"), ("[\"a\", \"b\"]", "[\"a,b\"]"),
            ("\"income\", \"type\": \"numeric\"", "\"income\", \"type\": \"numeric\", \"min\": 0, \"max\": 1"), ("\"sex\"", "\"gender\""),
            ("\"income\", \"type\": \"numeric\"", "\"income\", \"type\": \"numeric\", \"missing\": 0"),
            ("\"income\", \"type\": \"numeric\"", "\"income\", \"type\": \"numeric\", \"missing\": 0.5"),
            ("[\"a\", \"b\"]", "[\"a\", \"b\"], \"missing\": \"a\""), ("[\"a\", \"b\"]", "[\"a\", \"b\"], \"missing\": \"b\""),
            ("[\"a\", \"b\"]", "[\"a\", \"b\"], \"base\": \"a\""), ("[\"a\", \"b\"]", "[\"a\", \"b\"], \"base\": \"b\""),
            ("[\"a\", \"b\"]", "[\"a\", \"b\"], \"missing\": \"a\", \"base\": \"a\""),
        ];
        Assert.Equal(Ranged(0.0), Ranged(-0.0));
        static byte[] Ranged(double low) => TableSchema.Create([Field.Numeric("a", low, 1)]).Fingerprint().ToArray();
        HashSet<string> seen = [Convert.ToHexString(schema.Fingerprint().Span)];
        foreach ((string old, string @new) in changes)
            Assert.True(seen.Add(Convert.ToHexString(TableSchema.Parse(Legal.Replace(old, @new, StringComparison.Ordinal), "here").Fingerprint().Span)), @new);
    }

    // SHA-256 of [["age",0,"17","97.5",[],[]],["income",0,null,null,[],[]],["sex",1,null,null,["sex__f","sex__m"],[]],["city",2,null,null,[],["a","b"]]]
    [Fact]
    public void Fingerprint_KnownFields_IsGolden() =>
        Assert.Equal("A79C6FC2D3867F76D5DED011E88E21BA977077BAFFE426BFC2474B7B33C4F9D5", Convert.ToHexString(TableSchema.Parse(Legal, "here").Fingerprint().Span));
}
