using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;

namespace FedLearn.Tests.Glm;

/// <summary>Categories that occur in test rows alone.</summary>
public sealed class RareCategoryTests : IDisposable
{
    private const int Rows = 60;

    private static readonly SplitRule.ByHash Split = new(5, [0]);

    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-tests-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    // Oslo in test rows alone, at a party whose other cities are in both.
    private (GlmJob Job, GlmPartyInput[] Inputs) Case(GlmOptimizer optimizer, bool numeric = false)
    {
        VerticalData data = VerticalData.Random(7, "binomial", Rows, 2, 1);
        GlmPartyInput[] inputs = data.Inputs();
        IReadOnlyList<string> ids = inputs[0].Table.Ids;
        bool[] test = RowSplit.TestRows(Split, null, ids, [.. Enumerable.Range(0, Rows)], []);
        Assert.Contains(true, test);
        string At(string name) => Path.Combine(_folder, name);
        File.WriteAllLines(At("p1.csv"), ["id,city,x", .. ids.Select((id, i) => $"{id},{(test[i] ? "Oslo" : i % 2 == 0 ? "Bonn" : "Rome")},{(numeric ? test[i] ? 2 : 1 : i % 7)}")]);
        File.WriteAllText(At("p1.schema.json"), """{ "id": "id", "fields": [{ "name": "city", "type": "category", "values": ["Bonn", "Rome", "Oslo"] }, { "name": "x", "type": "numeric" }] }""");
        inputs[1] = inputs[1] with { Table = Table.Load(new TableSource { Path = At("p1.csv"), Schema = At("p1.schema.json") }, needLabel: false) };
        return (data.Job("binomial", new() { Optimizer = optimizer }) with { Split = Split, Preprocessing = new() { Scaling = Scaling.Standardize } }, inputs);
    }

    [Theory]
    [InlineData(GlmOptimizer.Lbfgs, Scaling.Standardize)]
    [InlineData(GlmOptimizer.Accelerated, Scaling.Standardize)]
    [InlineData(GlmOptimizer.Irls, Scaling.Standardize)]
    [InlineData(GlmOptimizer.Sgd, Scaling.Standardize)]
    [InlineData(GlmOptimizer.Lbfgs, Scaling.None)]
    [InlineData(GlmOptimizer.Sgd, Scaling.None)]
    public async Task Train_CategoryInTestRowsAlone_HasWeightZeroAndAWarning(GlmOptimizer optimizer, Scaling scaling)
    {
        (GlmJob job, GlmPartyInput[] inputs) = Case(optimizer);
        job = job with { Preprocessing = new() { Scaling = scaling } };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, inputs, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(["city=Bonn", "city=Rome", "city=Oslo", "x"], results[1].Model.Features.FeatureNames);
        Assert.Equal(0, results[1].Model.Weights[2], 1e-15);
        Assert.NotEqual(0, results[1].Model.Weights[0]);
        Assert.Equal("p1: column 'city=Oslo' has the same value in all training rows: nothing was learned of it, its weight is 0", Assert.Single(results[1].Warnings));
        Assert.NotNull(results[0].Test!.Auc);
    }

    // Newton's method with standard errors begins with the columns, before there are warnings.
    [Theory]
    [InlineData(Scaling.Standardize)]
    [InlineData(Scaling.None)]
    public async Task Train_CategoryInTestRowsAloneWithStandardErrors_IsRefusedByName(Scaling scaling)
    {
        (GlmJob job, GlmPartyInput[] inputs) = Case(GlmOptimizer.Irls);
        job = job with { Preprocessing = new() { Scaling = scaling }, Model = job.Model with { L2 = 0 }, Inference = true };
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(job, inputs));
        Assert.Equal(GlmErrors.DependentColumns, error.Id);
        Assert.EndsWith(", 'city=Oslo'", error.Place, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tune_CategoryInTestRowsAlone_GoesOn()
    {
        (GlmJob job, GlmPartyInput[] inputs) = Case(GlmOptimizer.Lbfgs);
        GlmTuning tuning = await LocalFederation.TuneAsync([job], inputs, new GlmTuningOptions { Folds = 3 }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.All(tuning.Candidates, c => Assert.Null(c.Error));
    }

    [Fact]
    public async Task Train_NumericColumnConstantInTrainingRows_IsRefused()
    {
        (GlmJob job, GlmPartyInput[] inputs) = Case(GlmOptimizer.Lbfgs, numeric: true);
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(job, inputs));
        Assert.Equal(DataErrors.ZeroVariance, error.Id);
        Assert.Contains("column 'x'", error.Place, StringComparison.Ordinal);
    }

    /// <summary>What a private mode does with features does not depend on rows, but for the constants of scaling.</summary>
    [Fact]
    public async Task Train_CategoryInTestRowsAloneInAPrivateMode_IsRefused()
    {
        (GlmJob job, GlmPartyInput[] inputs) = Case(GlmOptimizer.Sgd);
        GlmJob secret = job with
        {
            Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-5) },
            Training = new() { WeightNorm = 1, ResidualClip = 1, Epochs = 1 },
            Preprocessing = new() { Scaling = Scaling.Standardize, Rows = RowBound.Clip },
        };
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(secret, inputs));
        Assert.Equal(DataErrors.ZeroVariance, error.Id);
        Assert.Contains("column 'city=Oslo'", error.Place, StringComparison.Ordinal);
    }
}
