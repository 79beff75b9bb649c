using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Tests.Glm;

namespace FedLearn.Tests.Data;

/// <summary>Cells outside of declared ranges.</summary>
public class CellsOutsideTests
{
    private const int Rows = 200;

    private static readonly PreprocessingOptions Declared = new() { Scaling = Scaling.Declared, Rows = RowBound.Clip };

    /// <summary>Column a has every hundredth cell outside, b three of 200, c none beyond its ends, and d, a column of 0 and 1, no range.</summary>
    private static (Table Dense, Table Sparse) Tables()
    {
        var schema = TableSchema.Create([Field.Numeric("a", .1, .3), Field.Numeric("b", -1, 0), Field.Numeric("c", .1, .7), new Field("d", FieldKind.OneHot, null, null, ["d"], [])]);
        double[] values = [.. Enumerable.Range(0, Rows).SelectMany(i => new[] { i % 100 == 0 ? 7 : .1 + .2 * (i % 2), i % 67 == 0 ? 1e-3 : 0, i % 2 == 0 ? .1 : .7, 1 })];
        string[] ids = [.. Enumerable.Range(0, Rows).Select(i => $"r{i}")], names = ["a", "b", "c", "d"];
        int[] stored = [.. Enumerable.Range(0, values.Length).Where(k => values[k] != 0)];
        var sparse = new SparseMatrix(Rows, 4, [.. Enumerable.Range(0, Rows + 1).Select(i => stored.Count(k => k < 4 * i))], [.. stored.Select(k => k % 4)], [.. stored.Select(k => values[k])]);
        return (Table.FromMatrix(ids, names, new DenseMatrix(Rows, 4, values), schema: schema), Table.FromSparse(ids, names, sparse, schema: schema));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Warnings_MoreThanAHundredthOutside_NameColumnShareAndRangeAlone(bool sparse)
    {
        Table table = sparse ? Tables().Sparse : Tables().Dense;
        var map = FeatureMap.Fit(table, [], Declared, constant: true);
        int[] all = [.. Enumerable.Range(0, Rows)];
        Assert.Equal(["column 'b' of 'bank': 1.5 % of its cells in training rows are outside of the declared range -1 to 0 and count as its ends; where that is another unit or a mistake, mend min and max in the schema, from what is publicly known of the column"],
            CellsOutside.Warnings("bank", map, table, all, "training", isPrivate: false));
        // Of half of the rows, in another order, as many again; and what a private mode adds.
        string[] warnings = [.. CellsOutside.Warnings("bank", map, table, [.. all.Reverse().Where(i => i % 100 < 50)], "scored", isPrivate: true)];
        Assert.StartsWith("column 'a' of 'bank': 2 % of its cells in scored rows are outside of the declared range 0.1 to 0.3 and", warnings[0], StringComparison.Ordinal);
        Assert.All(warnings, w => Assert.EndsWith("; this sentence is computed from private rows and outside the claim", w, StringComparison.Ordinal));
    }

    /// <summary>Column a takes up 1 % of its range, b 3 %; without noise a narrow column says what it says, and two rows show nothing.</summary>
    [Fact]
    public void Warnings_ColumnOfNextToNothingOfItsRange_IsNamedInAPrivateMode()
    {
        var table = Table.FromMatrix([.. Enumerable.Range(0, Rows).Select(i => $"r{i}")], ["a", "b"], new DenseMatrix(Rows, 2, [.. Enumerable.Range(0, Rows).SelectMany(i => new[] { 20 + i % 51, i % 31 / 10.0 })]),
            schema: TableSchema.Create([Field.Numeric("a", 0, 5000), Field.Numeric("b", 0, 100)]));
        var map = FeatureMap.Fit(table, [], Declared, constant: true);
        int[] all = [.. Enumerable.Range(0, Rows)];
        Assert.StartsWith("column 'a' of 'bank': its cells in training rows take up 1 % of the declared range 0 to 5000, beside", Assert.Single(CellsOutside.Warnings("bank", map, table, all, "training", true)), StringComparison.Ordinal);
        Assert.Empty(CellsOutside.Warnings("bank", map, table, all, "training", false));
        Assert.Empty(CellsOutside.Warnings("bank", map, table, [0, 1], "training", true));
        Assert.Empty(CellsOutside.Warnings("bank", map, table, all, "scored", true));
    }

    [Fact]
    public void Warnings_ColumnsInAnotherOrder_AreFoundByName()
    {
        Table table = Tables().Dense;
        var map = FeatureMap.Fit(table, [], Declared, constant: true);
        var turned = Table.FromMatrix(["x", "y"], ["d", "c", "b", "a"], new DenseMatrix(2, 4, [1, .5, -.5, 80, 0, .5, -.5, .2]));
        Assert.StartsWith("column 'a' of 'bank': 50 % ", Assert.Single(CellsOutside.Warnings("bank", map, turned, [0, 1], "scored", false)), StringComparison.Ordinal);
    }

    [Fact]
    public void Warnings_OtherScaling_SaysThatCellsAreUsedAsTheyAre_ButNotInAPrivateMode()
    {
        Table table = Tables().Dense;
        foreach (Scaling scaling in (Scaling[])[Scaling.None, Scaling.Rounded])
        {
            var part = Table.FromMatrix(["x", "y"], ["a"], new DenseMatrix(2, 1, [-80, 90]), schema: TableSchema.Create([Field.Numeric("a", 0, 1)]));
            var map = FeatureMap.Fit(part, [0, 1], new() { Scaling = scaling }, constant: false);
            Assert.StartsWith("column 'a' of 'bank': 100 % of its cells in training rows are outside of the declared range 0 to 1 and are used as they are; ",
                Assert.Single(CellsOutside.Warnings("bank", map, part, [0, 1], "training", false)), StringComparison.Ordinal);
            Assert.Empty(CellsOutside.Warnings("bank", map, part, [0, 1], "training", true));
        }

        Assert.Empty(CellsOutside.Warnings("bank", FeatureMap.Fit(table, [], Declared, constant: true), table, [], "training", false));
    }

    /// <summary>Only the party whose table it is learns of it, from the result of its own training and prediction.</summary>
    [Theory]
    [InlineData(PrivacyMode.None)]
    [InlineData(PrivacyMode.OneRound)]
    [InlineData(PrivacyMode.HdpVfl)]
    public async Task Train_RangeInAnotherUnit_TellsThatPartyAlone(PrivacyMode mode)
    {
        VerticalData data = VerticalData.Random(3, "binomial", 120, 1, 2);
        GlmPartyInput[] inputs = data.Inputs();
        inputs = [.. inputs.Select((input, p) => input with
        {
            Table = Table.FromMatrix(input.Table.Ids, input.Table.Schema.FeatureNames, input.Table.Values, input.Table.Labels,
                TableSchema.Create([.. input.Table.Schema.FeatureNames.Select(n => n == "c2" ? Field.Numeric(n, 3, 4) : Field.Numeric(n, -1, 1))])),
        })];
        GlmJob job = data.Job("binomial", mode == PrivacyMode.HdpVfl ? new() { Epochs = 1, BatchesPerEpoch = 2, StepSize = .1, WeightNorm = 1, ResidualClip = 1 } : new());
        job = job with { Preprocessing = Declared, Privacy = new() { Mode = mode, Budget = mode == PrivacyMode.None ? null : new(4, 1e-3), TestNoiseSeed = mode == PrivacyMode.None ? null : 3 } };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, inputs, cancellationToken: TestContext.Current.CancellationToken);
        Assert.DoesNotContain(results[0].Warnings, w => w.StartsWith("column", StringComparison.Ordinal));
        string told = Assert.Single(results[1].Warnings, w => w.StartsWith("column", StringComparison.Ordinal));
        Assert.StartsWith("column 'c2' of 'p1': 100 % of its cells in training rows are outside of the declared range 3 to 4 ", told, StringComparison.Ordinal);
        Assert.Equal(mode != PrivacyMode.None, told.EndsWith("outside the claim", StringComparison.Ordinal));
    }
}
