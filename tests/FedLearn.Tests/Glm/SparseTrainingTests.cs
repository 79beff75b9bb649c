using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Tests.Glm.Serving;

namespace FedLearn.Tests.Glm;

public class SparseTrainingTests
{
    /// <summary>The same tables, sparse: here every cell is stored but those below .2, which are 0 in both.</summary>
    private static (GlmPartyInput[] Dense, GlmPartyInput[] Sparse) Inputs(VerticalData data)
    {
        GlmPartyInput[] dense = data.Inputs();
        foreach (GlmPartyInput input in dense)
        {
            foreach (ref double value in input.Table.Values.Values.AsSpan())
                value = Math.Abs(value) < 0.2 ? 0 : value;
        }

        return (dense, [.. dense.Select(input => input with { Table = Sparse(input.Table) })]);
    }

    /// <summary>Features of one party that no dense matrix holds, which training needs no more than lbfgs does.</summary>
    [Fact]
    public async Task Train_AloneWithMoreCellsThanAMatrix_IsRefusedOrHasNoStandardErrors()
    {
        const int Rows = 46_341, Columns = 46_342;
        var cells = new SparseMatrix(Rows, Columns, [.. Enumerable.Range(0, Rows + 1)], [.. Enumerable.Range(0, Rows)], [.. Enumerable.Repeat(1.0, Rows)]);
        Table table = Table.FromSparse([.. Enumerable.Range(0, Rows).Select(i => $"i{i}")], [.. Enumerable.Range(0, Columns).Select(j => $"c{j}")], cells,
            [.. Enumerable.Range(0, Rows).Select(i => i % 3 == 0 ? 1.0 : 0)]);
        GlmPartyInput[] inputs = [new() { Party = "a", Table = table }];
        GlmJob Job(GlmOptimizer optimizer, bool inference) => new()
        {
            Name = "wide",
            Model = new() { Family = GlmFamilies.Binomial, L2 = .01 },
            Training = new() { Optimizer = optimizer, Epochs = 2 },
            Preprocessing = new() { Scaling = Scaling.None },
            Inference = inference,
            Parties = [new() { Party = new("a", PartyRole.Active) }],
        };
        foreach (bool inference in new[] { false, true })
            Assert.Equal(GlmErrors.TooManyColumns, (await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(Job(GlmOptimizer.Irls, inference), inputs))).Id);
        GlmPartyResult result = (await LocalFederation.TrainAsync(Job(GlmOptimizer.Lbfgs, true), inputs))[0];
        Assert.Null(result.Inference);
        Assert.Contains(result.Warnings, w => w.Contains("than the active party solves for at once", StringComparison.Ordinal));
    }

    private static Table Sparse(Table table)
    {
        var (starts, columns, values) = (new List<int> { 0 }, new List<int>(), new List<double>());
        for (int i = 0; i < table.Ids.Count; i++)
        {
            for (int j = 0; j < table.Values.Columns; j++)
            {
                if (table.Values.Row(i)[j] is not 0 and var value)
                {
                    columns.Add(j);
                    values.Add(value);
                }
            }

            starts.Add(columns.Count);
        }

        return Table.FromSparse(table.Ids, table.Schema.FeatureNames, new SparseMatrix(table.Ids.Count, table.Values.Columns, [.. starts], [.. columns], [.. values]), table.Labels, table.Schema);
    }

    [Theory]
    [InlineData(Scaling.None, RowBound.None)]
    [InlineData(Scaling.Standardize, RowBound.None)]
    [InlineData(Scaling.Standardize, RowBound.Normalize)]
    [InlineData(Scaling.Rounded, RowBound.Clip)]
    public async Task Train_SparseTables_EqualsDense(Scaling scaling, RowBound rows)
    {
        var data = VerticalData.Random(11, "binomial", 60, 3, 4);
        (GlmPartyInput[] dense, GlmPartyInput[] sparse) = Inputs(data);
        GlmJob job = data.Job("binomial", new GlmTrainingOptions { Optimizer = GlmOptimizer.Sgd, Epochs = 5, BatchesPerEpoch = 4, StepSize = 0.3, Reshuffle = true }) with
        {
            Preprocessing = new() { Scaling = scaling, Rows = rows },
            Split = new SplitRule.ByHash(4, [0]),
        };
        IReadOnlyList<GlmPartyResult> expected = await LocalFederation.TrainAsync(job, dense), actual = await LocalFederation.TrainAsync(job, sparse);
        VerticalData.AssertClose(VerticalData.Weights(expected), VerticalData.Weights(actual), 1e-11);
        Assert.Equal(expected[0].Test!.Auc, actual[0].Test!.Auc);
        int[] all = [.. Enumerable.Range(0, 60)];
        VerticalData.AssertClose(expected[1].Model.Score(dense[1].Table, all), actual[1].Model.Score(sparse[1].Table, all), 1e-11);
    }

    [Theory]
    [InlineData(Scaling.None)]
    [InlineData(Scaling.Standardize)]
    public async Task PredictAndServe_SparseTables_GiveTheScoresOfTheSameRowsDense(Scaling scaling)
    {
        var data = VerticalData.Random(12, "binomial", 40, 3, 4);
        (GlmPartyInput[] dense, GlmPartyInput[] sparse) = Inputs(data);
        GlmJob job = data.Job("binomial", new()) with { Preprocessing = new() { Scaling = scaling } };
        GlmModel[] models = [.. (await LocalFederation.TrainAsync(job, sparse, cancellationToken: TestContext.Current.CancellationToken)).Select(r => r.Model)];
        GlmPrediction expected = await LocalFederation.PredictAsync(job, dense, models, cancellationToken: TestContext.Current.CancellationToken);
        GlmPrediction actual = await LocalFederation.PredictAsync(job, sparse, models, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(expected.Rows, actual.Rows);
        VerticalData.AssertClose(expected.Scores, actual.Scores, 1e-12);

        var active = new GlmScoringActive(job, sparse[0], models[0], new GlmScoringOptions { Timeout = TimeSpan.FromMinutes(1) });
        await ScoringScene.OpenAsync(active, new GlmScoringPassive(job, sparse[1], models[1]), TestContext.Current.CancellationToken);
        string[] ids = [.. actual.Rows.Select(row => sparse[0].Table.Ids[row])];
        IReadOnlyList<GlmScoreAnswer> answers = await active.ScoreAsync(ids, TestContext.Current.CancellationToken);
        Assert.Equal(actual.Scores, answers.Select(a => Assert.Single(a.Scores)));
        await active.StopAsync(TimeSpan.FromMinutes(1));

        // Other columns are refused, as those of a dense table.
        Table table = sparse[1].Table;
        var other = Table.FromSparse(table.Ids, [.. table.Schema.FeatureNames.Select(name => name + "x")], table.Sparse!);
        Assert.Equal(DataErrors.DifferentColumns, Assert.Throws<BadInputException>(() => new GlmPredictor(job, sparse[1] with { Table = other }, models[1])).Id);
    }
}
