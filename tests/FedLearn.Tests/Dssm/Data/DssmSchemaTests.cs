using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Tests.Data;

namespace FedLearn.Tests.Dssm.Data;

public sealed class DssmSchemaTests
{
    private const string All = """
        { // comments are allowed
          "user": "who", "time": "t", "sequence": "n",
          "fields": [
            { "name": "age", "type": "numeric" }, { "name": "income", "type": "numeric", "missing": "mask" },
            { "name": "price", "type": "bucketed", "edges": [-1.5, 10, 100] }, { "name": "size", "type": "bucketed", "edges": [0], "missing": "mask" },
            { "name": "history", "type": "bag", "buckets": 1682, "pooling": "mean" }, { "name": "likes", "type": "bag", "buckets": 7 },
            { "name": "city", "type": "hashed", "buckets": 1000, "hashes": 2 }, { "name": "words", "type": "text", "buckets": 2048, "ngrams": 4, "hashes": 3 },
          ],
        }
        """;

    [Fact]
    public void Parse_EveryType_GivesFieldsAndInputs()
    {
        var schema = DssmSchema.Parse(All, "s");
        Assert.Equal((false, "who", "t", "n", (string?)null, false), (schema.IsItems, schema.Key, schema.Time, schema.Sequence, schema.Title, schema.Normalise));
        Assert.Equal([DssmFieldKind.Numeric, DssmFieldKind.Numeric, DssmFieldKind.Bucketed, DssmFieldKind.Bucketed, DssmFieldKind.Bag, DssmFieldKind.Bag, DssmFieldKind.Hashed, DssmFieldKind.Text],
            schema.Fields.Select(field => field.Kind));
        Assert.Equal((4, 3), (schema.Fields[7].Ngrams, schema.Fields[7].Hashes));
        Assert.Equal(new TowerInputs(3,
        [
            new("price", 4, BagPooling.Sum), new("size", 3, BagPooling.Sum), new("history", 1682, BagPooling.Mean), new("likes", 7, BagPooling.Sum), new("city", 1000, BagPooling.Sum),
            new("words", 2048, BagPooling.Sum),
        ]), schema.Inputs);
    }

    [Fact]
    public void ToJson_Parsed_IsTheSameSchema()
    {
        foreach (DssmSchema schema in (DssmSchema[])[DssmSchema.Parse(All, "s"), DssmSchema.OfItems([DssmField.Text("title", 16), DssmField.Numeric("year")], titled: true, normalise: true)])
        {
            var again = DssmSchema.Parse(schema.ToJson(), "s");
            Assert.Equal(schema.Fingerprint().ToArray(), again.Fingerprint().ToArray());
            Assert.Equal((schema.IsItems, schema.Key, schema.Time, schema.Sequence, schema.Title, schema.Normalise), (again.IsItems, again.Key, again.Time, again.Sequence, again.Title, again.Normalise));
        }
    }

    // A range is a key of other schemas.
    [Fact]
    public void Parse_KeyThatIsNearNone_NamesAll()
    {
        ConfigurationException error = ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaUnknownKey, "fields[0]", null,
            () => DssmSchema.Parse("""{ "user": "u", "fields": [ { "name": "a", "type": "numeric", "min": 18 } ] }""", "s"));
        Assert.StartsWith("Known are name, type, ", error.Remedy, StringComparison.Ordinal);
        Assert.DoesNotContain("nearest", error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"mean\"", "\"sum\"")]
    [InlineData("1682", "1683")]
    [InlineData("\"age\"", "\"edge\"")]
    [InlineData("\"hashes\": 2", "\"hashes\": 1")]
    [InlineData("\"ngrams\": 4", "\"ngrams\": 3")]
    [InlineData("-1.5", "-1.6")]
    [InlineData("\"numeric\", \"missing\": \"mask\"", "\"numeric\"")]
    public void Fingerprint_OtherShape_Differs(string old, string replacement) =>
        Assert.NotEqual(DssmSchema.Parse(All, "s").Fingerprint().ToArray(), DssmSchema.Parse(All.Replace(old, replacement, StringComparison.Ordinal), "s").Fingerprint().ToArray());

    [Theory]
    [InlineData("\"who\"", "\"whom\"")]
    [InlineData("\"t\"", "\"when\"")]
    [InlineData("// comments are allowed", "")]
    public void Fingerprint_OtherColumnsOrLayout_IsTheSame(string old, string replacement) =>
        Assert.Equal(DssmSchema.Parse(All, "s").Fingerprint().ToArray(), DssmSchema.Parse(All.Replace(old, replacement, StringComparison.Ordinal), "s").Fingerprint().ToArray());

    [Theory]
    [InlineData("{ \"user\": \"u\", \"feilds\": [] }", "fields")]
    [InlineData("{ \"user\": \"u\", \"normalize\": \"l2\", \"fields\": [] }", "normalise")]
    [InlineData("{ \"user\": \"u\", \"fields\": [ { \"name\": \"a\", \"type\": \"bag\", \"bucket\": 3 } ] }", "buckets")]
    [InlineData("{ \"user\": \"u\", \"fields\": [ { \"name\": \"a\", \"type\": \"bag\", \"pool\": \"sum\" } ] }", "pooling")]
    public void Parse_UnknownKey_NamesTheNearest(string json, string nearest)
    {
        ConfigurationException error = ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaUnknownKey, "s", null, () => DssmSchema.Parse(json, "s"));
        Assert.Contains($"'{nearest}'", error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[]", DataErrors.SchemaInvalid)]
    [InlineData("{", DataErrors.SchemaNotJson)]
    [InlineData("{ \"user\": \"u\", \"user\": \"v\" }", DataErrors.SchemaNotJson)]
    [InlineData("{ \"fields\": [ { \"name\": \"a\", \"type\": \"numeric\" } ] }", DataErrors.SchemaInvalid)]                                     // neither user nor item
    [InlineData("{ \"user\": \"u\", \"item\": \"i\", \"fields\": [ { \"name\": \"a\", \"type\": \"numeric\" } ] }", DataErrors.SchemaInvalid)]
    [InlineData("{ \"user\": \"u\" }", DataErrors.SchemaInvalid)]
    [InlineData("{ \"user\": \" \", \"fields\": [] }", DataErrors.SchemaInvalid)]
    [InlineData("{ \"user\": \"u\", \"fields\": [] }", DataErrors.SchemaInvalid)]
    [InlineData("{ \"user\": \"u\", \"fields\": [ 1 ] }", DataErrors.SchemaInvalid)]
    [InlineData("{ \"user\": \"u\", \"title\": \"t\", \"fields\": [ { \"name\": \"a\", \"type\": \"numeric\" } ] }", DataErrors.SchemaInvalid)]
    [InlineData("{ \"user\": \"u\", \"sequence\": \"t\", \"fields\": [ { \"name\": \"a\", \"type\": \"numeric\" } ] }", DataErrors.SchemaInvalid)]
    [InlineData("{ \"item\": \"u\", \"time\": \"t\", \"fields\": [ { \"name\": \"a\", \"type\": \"numeric\" } ] }", DataErrors.SchemaInvalid)]
    [InlineData("{ \"item\": \"u\", \"normalise\": \"l1\", \"fields\": [ { \"name\": \"a\", \"type\": \"numeric\" } ] }", DataErrors.SchemaInvalid)]
    [InlineData("{ \"user\": \"u\", \"fields\": [ { \"name\": \"u\", \"type\": \"numeric\" } ] }", DataErrors.SchemaDuplicate)]
    [InlineData("{ \"user\": \"u\", \"time\": \"u\", \"fields\": [ { \"name\": \"a\", \"type\": \"numeric\" } ] }", DataErrors.SchemaDuplicate)]
    [InlineData("{ \"user\": \"u\", \"fields\": [ { \"name\": \"a\", \"type\": \"numeric\" }, { \"name\": \"a\", \"type\": \"numeric\" } ] }", DataErrors.SchemaDuplicate)]
    [InlineData("{ \"item\": \"i\", \"title\": \"a\", \"fields\": [ { \"name\": \"a\", \"type\": \"numeric\" } ] }", DataErrors.SchemaDuplicate)]
    public void Parse_FaultySchema_IsRefused(string json, string id) => ErrorAssert.Throws<ConfigurationException>(id, "s", null, () => DssmSchema.Parse(json, "s"));

    [Theory]
    [InlineData("\"name\": \"a\"")]                                                                     // no type
    [InlineData("\"type\": \"bag\", \"buckets\": 3")]                                                   // no name
    [InlineData("\"name\": \"a\", \"type\": \"bags\", \"buckets\": 3")]
    [InlineData("\"name\": \"a\", \"type\": \"bag\"")]
    [InlineData("\"name\": \"a\", \"type\": \"bag\", \"buckets\": 0")]
    [InlineData("\"name\": \"a\", \"type\": \"bag\", \"buckets\": 2.5")]
    [InlineData("\"name\": \"a\", \"type\": \"bag\", \"buckets\": 3, \"pooling\": \"max\"")]
    [InlineData("\"name\": \"a\", \"type\": \"bag\", \"buckets\": 3, \"hashes\": 1")]                    // of another type
    [InlineData("\"name\": \"a\", \"type\": \"numeric\", \"edges\": [1]")]
    [InlineData("\"name\": \"a\", \"type\": \"numeric\", \"missing\": 0")]
    [InlineData("\"name\": \"a\", \"type\": \"numeric\", \"missing\": \"zero\"")]
    [InlineData("\"name\": \"a\", \"type\": \"bucketed\"")]
    [InlineData("\"name\": \"a\", \"type\": \"bucketed\", \"edges\": []")]
    [InlineData("\"name\": \"a\", \"type\": \"bucketed\", \"edges\": [1, 1]")]
    [InlineData("\"name\": \"a\", \"type\": \"bucketed\", \"edges\": [\"x\"]")]
    [InlineData("\"name\": \"a\", \"type\": \"hashed\", \"buckets\": 3, \"hashes\": 9")]
    [InlineData("\"name\": \"a\", \"type\": \"text\", \"buckets\": 3, \"ngrams\": 0")]
    public void Parse_FaultyField_IsRefused(string field) =>
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaInvalid, "s", null, () => DssmSchema.Parse($$"""{ "user": "u", "fields": [ { {{field}} } ] }""", "s"));

    [Fact]
    public void Parse_NormalisedMean_IsRefused() => ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaInvalid, "s", null,
        () => DssmSchema.Parse("""{ "user": "u", "normalise": "l2", "fields": [ { "name": "a", "type": "bag", "buckets": 3, "pooling": "mean" } ] }""", "s"));

    [Fact]
    public void Load_NoFile_IsRefused() => ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaUnreadable, "nowhere.json", null, () => DssmSchema.Load("nowhere.json"));
}
