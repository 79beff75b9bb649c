using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Glm;

/// <summary>Sample weights, class weights, offsets and L1 in mode none, against pooled references.</summary>
public class GlmRowWeightsTests
{
    private static readonly int[][] Deals = [[5], [2, 3], [2, 2, 1]];

    private static readonly GlmTrainingOptions Sgd = new() { Optimizer = GlmOptimizer.Sgd, Epochs = 6, BatchesPerEpoch = 3, StepSize = 0.1 };

    private static readonly GlmTrainingOptions Lbfgs = new() { Optimizer = GlmOptimizer.Lbfgs, Epochs = 400 };

    public static TheoryData<string> Families => [.. ShippedFamilies.All.Select(family => family.Name)];

    private static async Task<double[]> WeightsAsync(VerticalData data, GlmJob job) => VerticalData.Weights(await LocalFederation.TrainAsync(job, data.Inputs()));

    private static bool OfClasses(string family) => family is "binomial" or "multinomial";

    private static GlmJob With(GlmJob job, double l1) => job with { Model = job.Model with { L1 = l1 } };

    // n/(M n_m), by counting.
    private static double[] Balanced(VerticalData data, int classes) => [.. Enumerable.Range(0, classes)
        .Select(m => data.Labels.Count(y => y == m) is var count and > 0 ? (double)data.Rows / (classes * count) : 0)];

    [Fact]
    public void Sgd_RandomWeightsOffsetsAndPenalties_EqualsThePlainLoops()
    {
        Gen<(int Rows, int Batches, int Parties, int Seed)> gen =
            from rows in Gen.Choose(3, 40)
            from batches in Gen.Choose(1, rows)
            from parties in Gen.Choose(0, Deals.Length - 1)
            from seed in Gen.Choose(0, 1_000_000)
            select (rows, batches, parties, seed);
        Prop.ForAll(gen.ToArbitrary(), draw =>
        {
            var random = new Random(draw.Seed);
            string family = ShippedFamilies.All[random.Next(ShippedFamilies.All.Count)].Name;
            VerticalData data = VerticalData.Random(draw.Seed, family, draw.Rows, Deals[draw.Parties]).WithRandom(random, random.Next(3) > 0, family != "multinomial" && random.Next(2) == 0);
            if (data.RowWeights is { } drawn && drawn.Sum() == 0)
                drawn[0] = 1;
            bool intercept = random.Next(2) == 0;
            double l1 = random.Next(2) == 0 ? 0 : 0.3 * random.NextDouble(), l2 = random.Next(3) == 0 ? 0 : random.NextDouble();
            double? clip = random.Next(2) == 0 ? null : 0.05 + random.NextDouble(), norm = random.Next(2) == 0 ? null : 0.05 + (0.3 * random.NextDouble());
            double[]? declared = OfClasses(family) ? [2.5, 0.25, 1] : null, balanced = OfClasses(family) ? Balanced(data, family == "binomial" ? 2 : 3) : null;
            int kind = random.Next(3);
            GlmTrainingOptions training = Sgd with
            {
                Epochs = 1 + random.Next(4),
                BatchesPerEpoch = draw.Batches,
                StepSize = 0.05 * (0.1 + random.NextDouble()),
                Seed = draw.Seed,
                ResidualClip = clip,
                WeightNorm = norm,
                ClassWeights = declared is null || kind == 0 ? null : kind == 1 ? GlmClassWeights.Balanced
                    : new GlmClassWeights.Declared(family == "binomial" ? declared[..2] : declared),
            };
            GlmJob job = With(data.Job(family, training, intercept ? GlmIntercept.Free : GlmIntercept.None, l2), l1);
            PooledGlm truth = data.Pooled(family, draw.Seed, l2, intercept, l1, kind switch { 0 => null, 1 => balanced, _ => declared });
            truth.Sgd(training.Epochs!.Value, draw.Batches, training.StepSize!.Value, clip ?? double.PositiveInfinity, norm ?? double.PositiveInfinity, data.Widths);
            double[] expected = intercept ? [.. truth.Weights, .. truth.Intercepts] : truth.Weights;
            // Batches of one row of an exponential family without a clip do run away.
            if (expected.All(double.IsFinite))
                VerticalData.AssertClose(expected, WeightsAsync(data, job).GetAwaiter().GetResult(), 1e-12);
            else
                Assert.Equal(GlmErrors.Diverged, Assert.Throws<InternalFailureException>(() => WeightsAsync(data, job).GetAwaiter().GetResult()).Id);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(200)));
    }

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Lbfgs_WeightsAndOffsets_ReachesThePooledOptimum(string family)
    {
        VerticalData all = VerticalData.Random(31, family, 90, 5).WithRandom(new Random(5), weights: true, offsets: family != "multinomial");
        foreach (int[] widths in Deals)
            foreach (GlmClassWeights? classWeights in new[] { null, OfClasses(family) ? GlmClassWeights.Balanced : null })
            {
                VerticalData data = all.Dealt(widths);
                IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(data.Job(family, Lbfgs with { ClassWeights = classWeights }), data.Inputs());
                PooledGlm truth = data.Pooled(family, 0, classWeights: classWeights is null ? null : Balanced(data, family == "binomial" ? 2 : 3));
                double[] weights = VerticalData.Weights(results);
                truth.Set(weights[..truth.Weights.Length], weights[truth.Weights.Length..]);
                Assert.True(truth.GradientNorm() <= 1e-7, $"not an optimum: gradient of {truth.GradientNorm()}");
                Assert.Equal(truth.Objective(), results[0].Objective!.Value, 1e-12);
            }
    }

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Train_EveryWeightTwo_IsWithoutWeights(string family)
    {
        var data = VerticalData.Random(32, family, 50, 3, 2);
        VerticalData twos = data.With(rowWeights: [.. data.Labels.Select(_ => 2.0)]);
        foreach (GlmTrainingOptions training in new[] { Sgd, Lbfgs })
            Assert.Equal(await WeightsAsync(data, data.Job(family, training)), await WeightsAsync(twos, data.Job(family, training)), (a, b) => Math.Abs(a - b) <= 1e-12);
    }

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Lbfgs_WholeWeights_AreRepeatedRows(string family)
    {
        var random = new Random(8);
        VerticalData data = VerticalData.Random(33, family, 60, 3, 2).WithRandom(random, weights: false, offsets: family != "multinomial");
        data = data.With([.. data.Labels.Select(_ => (double)random.Next(4))], data.Offsets);
        VerticalData repeated = data.Repeated();
        Assert.NotEqual(data.Rows, repeated.Rows);
        IReadOnlyList<GlmPartyResult> weighted = await LocalFederation.TrainAsync(data.Job(family, Lbfgs), data.Inputs()),
            copies = await LocalFederation.TrainAsync(repeated.Job(family, Lbfgs), repeated.Inputs());
        Assert.Equal(copies[0].Objective!.Value, weighted[0].Objective!.Value, 1e-12);
        VerticalData.AssertClose(VerticalData.Weights(copies), VerticalData.Weights(weighted), 1e-6);
    }

    [Fact]
    public async Task Lbfgs_WeightZero_IsARowThatIsNotThere()
    {
        VerticalData data = VerticalData.Random(34, "gaussian", 40, 2, 2);
        VerticalData wild = data.WithLabels(y => y > 0.5 ? 1e6 : y), without = wild.With([.. wild.Labels.Select(y => y == 1e6 ? 0.0 : 1)]);
        double[] expected = await WeightsAsync(without.Repeated(), data.Job("gaussian", Lbfgs));
        VerticalData.AssertClose(expected, await WeightsAsync(without, data.Job("gaussian", Lbfgs)), 1e-6);
    }

    [Fact]
    public async Task Train_AllWeightsZero_IsRefused()
    {
        VerticalData data = VerticalData.Random(35, "poisson", 20, 2, 2);
        data = data.With(new double[data.Rows]);
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(data.Job("poisson", Lbfgs), data.Inputs()));
        Assert.Equal(GlmErrors.NoWeight, error.Id);
    }

    [Fact]
    public async Task Train_OffsetOfClasses_IsRefused()
    {
        VerticalData data = VerticalData.Random(36, "multinomial", 20, 2, 2).WithRandom(new Random(1), weights: false, offsets: true);
        ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.TrainAsync(data.Job("multinomial", Lbfgs), data.Inputs()));
        Assert.Equal(GlmErrors.InvalidJob, error.Id);
        Assert.Contains("offset", error.Place, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gaussian", false)]
    [InlineData("poisson", false)]
    [InlineData("binomial", true)]
    [InlineData("binomial", false, 1.0)]                // one weight too few
    [InlineData("binomial", false, 1.0, 1.0, 1.0)]
    [InlineData("binomial", false, 0.0, 0.0)]
    [InlineData("binomial", false, 1.0, -1.0)]
    [InlineData("binomial", false, 1.0, double.NaN)]
    [InlineData("multinomial", false, 1.0, 1.0)]
    public async Task Train_IllegalClassWeights_AreRefused(string family, bool legal, params double[] declared)
    {
        var data = VerticalData.Random(37, family, 30, 2, 2);
        GlmJob job = data.Job(family, Lbfgs with { ClassWeights = declared.Length == 0 ? GlmClassWeights.Balanced : new GlmClassWeights.Declared(declared) });
        if (legal)
        {
            await LocalFederation.TrainAsync(job, data.Inputs());
            return;
        }

        ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.TrainAsync(job, data.Inputs()));
        Assert.Equal((GlmErrors.InvalidJob, "training.classWeights"), (error.Id, error.Place));
    }

    [Theory]
    [InlineData("gaussian", 0.08)]
    [InlineData("binomial", 0.03)]
    [InlineData("multinomial", 0.03)]
    public async Task Sgd_L1ToTheEnd_MeetsTheConditionsOfTheOptimum(string family, double l1)
    {
        // Full batch: proximal gradient descent, whose fixed points are the optima of the elastic net.
        var data = VerticalData.Random(38, family, 60, 3, 2);
        GlmTrainingOptions training = Sgd with { Epochs = 6000, BatchesPerEpoch = 1, StepSize = 0.5 };
        double[] weights = await WeightsAsync(data, With(data.Job(family, training), l1));
        PooledGlm truth = data.Pooled(family, 0, l1: l1);
        int d = truth.Weights.Length;
        truth.Set(weights[..d], weights[d..]);
        double[] gradient = truth.Gradient();
        Assert.Contains(0.0, weights[..d]);
        Assert.Contains(weights[..d], w => w != 0);
        for (int j = 0; j < gradient.Length; j++)
        {
            if (j >= d)
                Assert.Equal(0, gradient[j], 1e-9);
            else if (weights[j] == 0)
                Assert.InRange(gradient[j], -l1, l1);
            else
                Assert.Equal(-l1 * Math.Sign(weights[j]), gradient[j], 1e-9);
        }
    }

    [Fact]
    public async Task Predict_ModelWithOffsets_AddsThemAndNeedsThem()
    {
        VerticalData data = VerticalData.Random(39, "poisson", 40, 3, 2).WithRandom(new Random(2), weights: false, offsets: true);
        GlmJob job = data.Job("poisson", Lbfgs);
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs());
        GlmModel[] models = [.. results.Select(r => r.Model)];
        GlmPartyInput[] inputs = data.Inputs();
        GlmPrediction with = await LocalFederation.PredictAsync(job, inputs, models), zero = await LocalFederation.PredictAsync(job, data.With(offsets: new double[data.Rows]).Inputs(), models);
        for (int i = 0; i < data.Rows; i++)
        {
            Assert.Equal(zero.Scores[i] + inputs[0].Table.Offsets![with.Rows[i]], with.Scores[i], 1e-12);
            Assert.Equal(Math.Exp(with.Scores[i]), with.Means[i], 1e-12 * with.Means[i]);
        }

        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.PredictAsync(job, data.With().Inputs(), models));
        Assert.Equal(GlmErrors.OffsetMissing, error.Id);
    }

    // A count that no float64 holds the mean of, in a row that does not count.
    [Fact]
    public void Weigh_RowOfWeightZero_CountsNothingWhateverItsNumber()
    {
        var targets = new GlmTargets([0, 1, 1], [0, 2, 1]);
        double[] values = [double.PositiveInfinity, 3, double.NaN, 5];
        targets.Weigh(0, 2, values);
        Assert.Equal([0, 6, 0, 10], values);
        Assert.Equal(2 * Math.Exp(1) - 2 + Math.Exp(2) - 2, targets.LossSum(GlmFamilies.Poisson, 0, [1000, 1, 2]), 1e-12);
    }

    [Fact]
    public async Task Train_WeightsAtAPassiveParty_AreRefused()
    {
        // They are the active party's to give, and would silently have no effect.
        VerticalData data = VerticalData.Random(40, "binomial", 30, 2, 2);
        GlmPartyInput[] inputs = data.Inputs(), odd = data.Inputs();
        Table table = inputs[1].Table;
        odd[1] = odd[1] with
        {
            Table = Table.FromMatrix(table.Ids, table.Schema.FeatureNames, new DenseMatrix(table.Values.Rows, table.Values.Columns, [.. Enumerable.Range(0, table.Values.Rows).SelectMany(i => table.Values.Row(i).ToArray())]),
                weights: [.. table.Ids.Select((_, i) => (double)i)], offsets: [.. table.Ids.Select((_, i) => (double)i)]),
        };
        GlmJob job = data.Job("binomial", Lbfgs);
        Assert.Equal(GlmErrors.InvalidJob, (await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.TrainAsync(job, odd))).Id);
    }
}
