using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Data;

/// <summary>Ids of several columns, and the ids of a table alone.</summary>
public sealed class IdColumnsTests : IDisposable
{
    private const string Csv = "name,born,age\nAna,1980,3\n\" Li, Mo \",1970,4\n";

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private TableSource Source(string csv, params string[] id) => new() { Path = _folder.Write("t.csv", System.Text.Encoding.UTF8.GetBytes(csv)), IdColumns = id };

    private string Write(string name, string text) => _folder.Write(name, System.Text.Encoding.UTF8.GetBytes(text));

    [Fact]
    public void Load_SeveralIdColumns_JoinsTheirNormalisedValues()
    {
        Table table = Table.Load(Source(Csv, "name", "born"), needLabel: false);
        Assert.Equal(["Ana\u001f1980", "Li, Mo\u001f1970"], table.Ids);
        Assert.Equal(["age"], table.Schema.FeatureNames);
        Assert.Equal(["name", "born"], table.Schema.IdColumns);
        Assert.Equal(table.Ids[1], RowIds.Join([" Li, Mo", "1970 "]));
        // The order of the columns counts.
        Assert.Equal("1980\u001fAna", Table.Load(Source(Csv, "born", "name"), needLabel: false).Ids[0]);
        // A column of one is the same as a name.
        Assert.Equal(Table.Load(Source("a,b\n1,2\n", "a") with { IdColumns = null, Id = "a" }, needLabel: false).Ids, Table.Load(Source("a,b\n1,2\n", "a"), needLabel: false).Ids);
    }

    [Fact]
    public void Load_SchemaNamesSeveral_TakesThem()
    {
        string schema = Write("s.json", """{ "id": ["name", "born"], "fields": [ { "name": "age", "type": "numeric" } ] }""");
        Table table = Table.Load(Source(Csv) with { IdColumns = null, Schema = schema }, needLabel: false);
        Assert.Equal("Ana\u001f1980", table.Ids[0]);
        Assert.Equal(["born"], Table.Load(Source("born,name,age\n1,2,3\n") with { IdColumns = null, Id = "born", Schema = schema }, needLabel: false).Schema.IdColumns);
    }

    [Theory]
    [InlineData("""{ "id": [], "fields": [ { "name": "age", "type": "numeric" } ] }""", DataErrors.SchemaInvalid)]
    [InlineData("""{ "id": ["a", ""], "fields": [ { "name": "age", "type": "numeric" } ] }""", DataErrors.SchemaInvalid)]
    [InlineData("""{ "id": ["a", 1], "fields": [ { "name": "age", "type": "numeric" } ] }""", DataErrors.SchemaInvalid)]
    [InlineData("""{ "id": ["a", "a"], "fields": [ { "name": "age", "type": "numeric" } ] }""", DataErrors.SchemaDuplicate)]
    [InlineData("""{ "id": ["a", "age"], "fields": [ { "name": "age", "type": "numeric" } ] }""", DataErrors.SchemaDuplicate)]
    [InlineData("""{ "id": ["a", "y"], "label": "y", "fields": [ { "name": "age", "type": "numeric" } ] }""", DataErrors.SchemaDuplicate)]
    public void Parse_SchemaWithFaultyId_IsRefused(string schema, string id) =>
        Assert.Equal(id, Assert.Throws<ConfigurationException>(() => TableSchema.Parse(schema, "s.json")).Id);

    [Theory]
    [InlineData("name,born,age\nAna,,3\n", DataErrors.EmptyId, "line 2, column 'born'")]
    [InlineData("name,born,age\nAna, ,3\n", DataErrors.EmptyId, "line 2, column 'born'")]
    [InlineData("name,born,age\nAna,19\u001f80,3\n", DataErrors.IdSeparator, "line 2, column 'born'")]
    [InlineData("name,born,age\nAna,1980,3\nAna ,1980,4\n", DataErrors.DuplicateId, "line 3")]
    [InlineData("name,age\nAna,3\n", DataErrors.ColumnMissing, "t.csv")]
    public void Load_FaultyIdOfSeveral_IsRefused(string csv, string id, string place)
    {
        var error = Assert.Throws<BadInputException>(() => Table.Load(Source(csv, "name", "born"), needLabel: false));
        Assert.Equal(id, error.Id);
        Assert.Contains(place, error.Place, StringComparison.Ordinal);
        Assert.DoesNotContain("Ana", error.Message, StringComparison.Ordinal);
        Assert.Equal(id, Assert.Throws<BadInputException>(() => IdTable.Load(Source(csv, "name", "born"), keepFirst: false, default)).Id);
    }

    [Fact]
    public void Load_SeparatorInAnyId_IsRefused()
    {
        Assert.Equal(DataErrors.IdSeparator, Assert.Throws<BadInputException>(() => Table.Load(Source("id,a\nx\u001fy,1\n", "id"), needLabel: false)).Id);
        string ids = Write("ids.txt", "a\nb\u001fc\n"), svm = Write("t.svm", "1 1:2\n0 1:3\n");
        Assert.Equal(DataErrors.IdSeparator, Assert.Throws<BadInputException>(() => Table.Load(new TableSource { Path = svm, Ids = ids }, needLabel: false)).Id);
        Assert.Throws<ArgumentException>(() => RowIds.Join(["a\u001f"]));
        Assert.Throws<ArgumentException>(() => RowIds.Join([]));
    }

    [Fact]
    public void Load_ColumnsWhereThereAreNone_IsRefused()
    {
        string ids = Write("ids.txt", "a\nb\n"), svm = Write("t.svm", "1 1:2\n0 1:3\n");
        Assert.Equal(DataErrors.UnsuitableSource, Assert.Throws<ConfigurationException>(() => Table.Load(new TableSource { Path = svm, Ids = ids, IdColumns = ["a", "b"] }, needLabel: false)).Id);
        Assert.Equal(DataErrors.UnsuitableSource, Assert.Throws<ConfigurationException>(() => Table.Load(Source(Csv, "name") with { Id = "name" }, needLabel: false)).Id);
    }

    [Fact]
    public void TestRows_SeveralIdColumns_ReadsThemFromTheSplitFile()
    {
        Table table = Table.Load(Source(Csv, "name", "born"), needLabel: false);
        string split = Write("split.csv", "born,name,split\n1970,\"Li, Mo\",test\n1980,Ana,train\n");
        Assert.Equal([false, true], RowSplit.TestRows(new SplitRule.FromFile(), split, table.Ids, [0, 1], table.Schema.IdColumns));
        string other = Write("other.csv", "id,split\nAna,train\n");
        Assert.Equal(DataErrors.ColumnMissing, Assert.Throws<BadInputException>(() => RowSplit.TestRows(new SplitRule.FromFile(), other, table.Ids, [0, 1], table.Schema.IdColumns)).Id);
    }

    [Fact]
    public void IdTable_Repeated_KeepsTheFirstWhereAskedTo()
    {
        TableSource source = Source("id,anything\n\u00e9,x\na,\ne\u0301 ,y\nc,z\na,\n", "id");
        Assert.Equal(DataErrors.DuplicateId, Assert.Throws<BadInputException>(() => IdTable.Load(source, keepFirst: false, default)).Id);
        IdTable table = IdTable.Load(source, keepFirst: true, default);
        Assert.Equal(["\u00e9", "a", "c"], table.Ids);
        Assert.Equal([0, 1, 3], table.Rows);
        Assert.Equal(2, table.Repeated);
        Assert.Equal(DataErrors.EmptyId, Assert.Throws<BadInputException>(() => IdTable.Load(Source("id,a\n,1\n,2\n", "id"), keepFirst: true, default)).Id);
        ErrorAssert.Throws<BadInputException>(DataErrors.EmptyId, "line 4", null, () => IdTable.Load(Source("id,a\nb,1\nb,2\n,3\n", "id"), keepFirst: true, default));
        Assert.Equal(["b", "c"], IdTable.Load(Source("id\nb\n\nc\n", "id"), keepFirst: false, default).Ids);
    }

    [Fact]
    public void IdTable_OtherFiles_ReadsTheIdsAlone()
    {
        string ids = Write("ids.txt", "b\na\n\n");
        // The table itself is not looked at.
        Assert.Equal(["b", "a"], IdTable.Load(new TableSource { Path = "absent.npy", Ids = ids }, keepFirst: false, default).Ids);
        Assert.Equal(DataErrors.UnsuitableSource, Assert.Throws<ConfigurationException>(() => IdTable.Load(new TableSource { Path = "absent.npy" }, keepFirst: false, default)).Id);
        Assert.Equal(DataErrors.NoRows, Assert.Throws<BadInputException>(() => IdTable.Load(Source("id,a\n", "id"), keepFirst: false, default)).Id);
    }
}
