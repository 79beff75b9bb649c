using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Glm;

/// <summary>The full-batch optimisers, early stopping and warm starts.</summary>
public class GlmOptimizerTests
{
    private static readonly string[] Families = ["gaussian", "binomial", "poisson", "gamma", "tweedie", "multinomial"];

    private static VerticalData Draw(int seed, string family, params int[] widths) => VerticalData.Random(seed, family, 80, widths);

    private static async Task<IReadOnlyList<GlmPartyResult>> TrainAsync(VerticalData data, GlmJob job) =>
        await LocalFederation.TrainAsync(job, data.Inputs(), cancellationToken: TestContext.Current.CancellationToken);

    private static double[] WeightsOf(IReadOnlyList<GlmPartyResult> results) => [.. results.SelectMany(r => r.Model.Weights.Concat(r.Model.Intercepts))];

    [Fact]
    public void Optimisers_AnyFamilyAndSplit_AgreeOnTheOptimum()
    {
        Gen<(int Seed, int Family, int Parties)> gen = from seed in Gen.Choose(0, 1_000_000) from family in Gen.Choose(0, Families.Length - 1) from parties in Gen.Choose(1, 3) select (seed, family, parties);
        Prop.ForAll(gen.ToArbitrary(), draw =>
        {
            VerticalData data = Draw(draw.Seed, Families[draw.Family], draw.Parties switch { 1 => [4], 2 => [1, 3], _ => [2, 1, 1] });
            double[][] found = [.. new[] { GlmOptimizer.Lbfgs, GlmOptimizer.Accelerated, GlmOptimizer.Irls }.Select(optimizer =>
            {
                GlmJob job = data.Job(Families[draw.Family], new() { Optimizer = optimizer, Epochs = 20_000 }, l2: .05);
                IReadOnlyList<GlmPartyResult> results = TrainAsync(data, job).GetAwaiter().GetResult();
                Assert.All(results, r => Assert.NotEqual(GlmStopReason.RoundLimit, r.StopReason));
                Assert.Equal(results[0].Timing.Epochs, results[^1].Timing.Epochs);
                return WeightsOf(results);
            })];
            // A gradient of 1e-8 under a penalty of .05 is within 2e-7 of the optimum; free intercepts have the loss's own curvature. A softmax does not
            // know a shift of its intercepts.
            int compared = Families[draw.Family] == "multinomial" ? 3 * data.Widths[0] : found[0].Length;
            VerticalData.AssertClose(found[0][..compared], found[1][..compared], 1e-5);
            VerticalData.AssertClose(found[0][..compared], found[2][..compared], 1e-5);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(25));
    }

    /// <summary>Exposures over five orders of magnitude: "converged" is measured by the residuals of the rate of all rows, which is known.</summary>
    [Theory]
    [InlineData(GlmOptimizer.Lbfgs)]
    [InlineData(GlmOptimizer.Accelerated)]
    [InlineData(GlmOptimizer.Irls)]
    public async Task Converged_FarExposures_IsAsNearTheOptimumAsWithoutThem(GlmOptimizer optimizer)
    {
        var random = new Random(17);
        double Count(double mean)
        {
            double sum = 0;
            for (int i = 0; i < 12; i++)
                sum += random.NextDouble();
            return Math.Max(0, Math.Round(mean + Math.Sqrt(mean) * (sum - 6)));
        }

        VerticalData drawn = VerticalData.Random(17, "poisson", 300, 2, 2);
        double[] exposures = [.. drawn.Labels.Select((_, i) => Math.Exp(i % 20 == 0 ? 12 : 0))];
        (string Id, double[] X, double Y)[] all = [.. drawn.All];
        double[] labels = [.. exposures.Select((e, i) => Count(e * Math.Exp(.3 * all[i].X[0] - .5 * all[i].X[3] - 1)))];
        VerticalData data = new VerticalData([.. all.Select(row => row.Id)], [.. all.Select(row => row.X)], labels, [2, 2]) { Offsets = [.. exposures.Select(e => Math.Log(e))] };
        IReadOnlyList<GlmPartyResult> results = await TrainAsync(data, data.Job("poisson", new() { Optimizer = optimizer, Epochs = 20_000 }, l2: 0) with { Inference = true });
        Assert.Equal(GlmStopReason.Converged, results[0].StopReason);
        double rate = labels.Sum() / exposures.Sum(), size = labels.Zip(exposures, (y, e) => Math.Abs(y - e * rate)).Average();
        double[] w = [.. results.SelectMany(r => r.Model.Weights), results[0].Model.Intercepts[0]], gradient = new double[5];
        for (int i = 0; i < labels.Length; i++)
        {
            double[] row = [.. all[i].X, 1];
            double residual = exposures[i] * Math.Exp(row.Zip(w, (x, b) => x * b).Sum()) - labels[i];
            for (int j = 0; j < row.Length; j++)
                gradient[j] += residual * row[j] / labels.Length;
        }

        // The gradient of accelerated is that of a point nearby.
        Assert.InRange(Math.Sqrt(gradient.Sum(g => g * g)), 0, (optimizer == GlmOptimizer.Accelerated ? 2.5 : 1.1) * 1e-8 * size);
        Assert.NotNull(results[0].Inference);
    }

    [Theory]
    [InlineData("gaussian")]
    [InlineData("binomial")]
    [InlineData("poisson")]
    public async Task Accelerated_ElasticNet_MeetsTheOptimalityConditions(string family)
    {
        const double L1 = .04, L2 = .01;
        VerticalData data = Draw(11, family, 3, 4, 2);
        GlmJob job = data.Job(family, new() { Epochs = 50_000 }, l2: L2);
        job = job with { Model = job.Model with { L1 = L1 } };
        Assert.Equal(GlmOptimizer.Accelerated, GlmPlan.OptimizerOf(job));
        IReadOnlyList<GlmPartyResult> results = await TrainAsync(data, job);
        Assert.Equal(GlmStopReason.Converged, results[0].StopReason);

        // 0 is in the subdifferential: smooth gradient = -l1 sign(w) where w is not 0, and at most l1 where it is.
        double[] weights = [.. results.SelectMany(r => r.Model.Weights)];
        var pooled = data.Pooled(family, seed: 0, l2: L2);
        pooled.Set(weights, results[0].Model.Intercept!.Value);
        double[] gradient = pooled.Gradient();
        Assert.Equal(0, gradient[^1], 1e-7);
        Assert.Contains(0, weights);
        for (int j = 0; j < weights.Length; j++)
            if (weights[j] != 0)
                Assert.Equal(-L1 * Math.Sign(weights[j]), gradient[j], 1e-7);
            else
                Assert.True(Math.Abs(gradient[j]) <= L1 + 1e-7);
        Assert.Equal(pooled.Objective() + L1 * weights.Sum(Math.Abs), results[0].Objective!.Value, 1e-10);
    }

    /// <summary>Counts and amounts in ordinary units: the exponential of a first trial that is too long is beyond every number.</summary>
    [Theory]
    [InlineData("poisson", 40)]
    [InlineData("poisson", 80)]
    [InlineData("poisson", 150)]
    [InlineData("poisson", 1e8)]
    [InlineData("tweedie", 1e5)]
    [InlineData("tweedie", 1e7)]
    [InlineData("tweedie", 1e9)]
    public async Task Accelerated_LargeLabels_ReachesTheOptimumOfTheOthersAndOfPlainDescent(string family, double mean)
    {
        const double L1 = .06;
        VerticalData drawn = Draw(13, "gamma", 3, 4, 2), data = drawn.WithLabels(y => family == "poisson" ? Math.Round(y * mean) : y < .5 ? 0 : y * mean);
        async Task<IReadOnlyList<GlmPartyResult>> FindAsync(GlmOptimizer optimizer, double l1)
        {
            GlmJob job = data.Job(family, new() { Optimizer = optimizer }, l2: 0);
            IReadOnlyList<GlmPartyResult> results = await TrainAsync(data, job with { Model = job.Model with { L1 = l1 } });
            Assert.NotEqual(GlmStopReason.RoundLimit, results[0].StopReason);
            Assert.DoesNotContain(results[0].Warnings, w => w.Contains("far from the best", StringComparison.Ordinal));
            return results;
        }

        PooledGlm pooled = data.Pooled(family, seed: 0, l2: 0);
        double constants = Loss(pooled, [.. new double[9], Math.Log(data.Labels.Average())]);
        double[] losses = [.. await Task.WhenAll(new[] { GlmOptimizer.Lbfgs, GlmOptimizer.Irls, GlmOptimizer.Accelerated }.Select(async optimizer => Loss(pooled, VerticalData.Weights(await FindAsync(optimizer, 0)))))];
        Assert.All(losses, loss => Assert.InRange(loss - losses.Min(), 0, 1e-6 * (constants - losses.Min())));

        // With l1: proximal gradient descent in plain loops, whose step is below the inverse of every curvature on its way.
        double scale = family == "poisson" ? mean : Math.Sqrt(mean);
        PooledGlm truth = data.Pooled(family, seed: 0, l2: 0, l1: L1 * scale);
        truth.Set(new double[9], Math.Log(data.Labels.Average()));
        truth.Sgd(8000, 1, .02 / scale, double.PositiveInfinity, double.PositiveInfinity, data.Widths);
        double[] expected = [.. truth.Weights, truth.Intercept], actual = VerticalData.Weights(await FindAsync(GlmOptimizer.Accelerated, L1 * scale));
        Assert.Contains(0.0, expected);
        Assert.Contains(expected[..9], w => Math.Abs(w) > .1);
        VerticalData.AssertClose(expected, actual, 1e-6);
    }

    public static TheoryData<string, double, GlmOptimizer> Units => new(
        from family in new[] { ("gaussian", 1e-12), ("gaussian", 1e-9), ("gaussian", 1e6), ("gaussian", 1e12), ("poisson", 6e8), ("gamma", 1e-9), ("gamma", 1e9), ("tweedie", 1e-12), ("tweedie", 1e12) }
        from optimizer in new[] { GlmOptimizer.Lbfgs, GlmOptimizer.Accelerated, GlmOptimizer.Irls }
        select (family.Item1, family.Item2, optimizer));

    [Theory]
    [MemberData(nameof(Units))]
    public async Task Optimisers_LabelInAnotherUnit_FindTheSameModelAndSaySo(string family, double unit, GlmOptimizer optimizer)
    {
        VerticalData data = Draw(14, family, 2, 3), other = data.WithLabels(y => y * unit);
        GlmTrainingOptions training = new() { Optimizer = optimizer };
        IReadOnlyList<GlmPartyResult> results = await TrainAsync(data, data.Job(family, training, l2: 0)), scaled = await TrainAsync(other, other.Job(family, training, l2: 0));
        double[] expected = VerticalData.Weights(results), actual = VerticalData.Weights(scaled);
        PooledGlm truth = data.Pooled(family, seed: 0, l2: 0);
        truth.Set(expected[..^1], expected[^1]);
        Assert.True(truth.GradientNorm() <= 1e-7, $"no optimum to compare with: gradient of {truth.GradientNorm()}");
        Assert.Equal(GlmStopReason.Converged, scaled[0].StopReason);
        Assert.DoesNotContain(scaled[0].Warnings, w => w.Contains("training stopped", StringComparison.Ordinal));
        // The identity passes the unit on to all weights, the logarithm to the intercept.
        if (family == "gaussian")
            VerticalData.AssertClose(expected, actual.Select(w => w / unit), 1e-6);
        else
            VerticalData.AssertClose([.. expected[..^1], expected[^1] + Math.Log(unit)], actual, 1e-6);
    }

    [Theory]
    [InlineData("gaussian", 3.7)]
    [InlineData("gaussian", 1e15)]
    [InlineData("poisson", 3)]
    [InlineData("gamma", 1e-9)]
    [InlineData("tweedie", 7e5)]
    public async Task Optimisers_LabelsThatTheInterceptFits_EndWithoutAWarningOfTheOptimum(string family, double label)
    {
        VerticalData data = Draw(15, family, 2, 3).WithLabels(_ => label);
        foreach (GlmOptimizer optimizer in new[] { GlmOptimizer.Lbfgs, GlmOptimizer.Accelerated, GlmOptimizer.Irls })
        {
            IReadOnlyList<GlmPartyResult> results = await TrainAsync(data, data.Job(family, new() { Optimizer = optimizer }, l2: 0));
            Assert.DoesNotContain(results[0].Warnings, w => w.Contains("training stopped", StringComparison.Ordinal));
            double constant = family == "gaussian" ? label : Math.Log(label);
            Assert.Equal(constant, results[0].Model.Intercept!.Value, 1e-9 * Math.Abs(constant));
        }
    }

    private static double Loss(PooledGlm pooled, double[] weights)
    {
        pooled.Set(weights[..^1], weights[^1]);
        return pooled.Objective();
    }

    [Theory]
    [InlineData(EarlyStoppingMetric.Objective, GlmOptimizer.Sgd)]
    [InlineData(EarlyStoppingMetric.Deviance, GlmOptimizer.Sgd)]
    [InlineData(EarlyStoppingMetric.Auc, GlmOptimizer.Sgd)]
    [InlineData(EarlyStoppingMetric.Deviance, GlmOptimizer.Lbfgs)]
    [InlineData(EarlyStoppingMetric.Objective, GlmOptimizer.Accelerated)]
    [InlineData(EarlyStoppingMetric.Auc, GlmOptimizer.Accelerated)]
    public async Task EarlyStopping_NoImprovement_KeepsTheBestWeightsAtEveryParty(EarlyStoppingMetric metric, GlmOptimizer optimizer)
    {
        VerticalData data = VerticalData.Random(5, "binomial", 200, 2, 3);
        GlmTrainingOptions training = new()
        {
            Optimizer = optimizer,
            Epochs = 400,
            StepSize = .5,
            BatchesPerEpoch = optimizer == GlmOptimizer.Sgd ? 4 : 1,
            EarlyStopping = new() { Metric = metric, Patience = 3, MinDelta = 1e-3, HoldOut = .25 },
        };
        IReadOnlyList<GlmPartyResult> stopped = await TrainAsync(data, data.Job("binomial", training));
        Assert.All(stopped, r => Assert.Equal(GlmStopReason.EarlyStopped, r.StopReason));
        int epochs = stopped[0].Timing.Epochs;
        Assert.Equal(epochs, stopped[0].History.Count);
        Assert.InRange(epochs, 4, 399);
        Assert.Equal(metric == EarlyStoppingMetric.Objective, stopped[0].History[^1].Validation is null);
        if (metric != EarlyStoppingMetric.Objective)
            Assert.InRange(stopped[0].TrainRows, 120, 180);

        // The rule, read off the history, says which epoch was the best; training for just so many epochs gives its weights.
        double[] figures = [.. stopped[0].History.Select(h => metric switch { EarlyStoppingMetric.Objective => h.Loss!.Value, EarlyStoppingMetric.Auc => -h.Validation!.Value, _ => h.Validation!.Value })];
        if (metric == EarlyStoppingMetric.Objective && optimizer != GlmOptimizer.Sgd)
            return; // the penalty is watched too, and not in the history
        double mark = double.PositiveInfinity;
        int marked = 0, at = 1 + Array.IndexOf(figures, figures.Min());
        for (int i = 0; i < figures.Length; i++)
            if (figures[i] < mark - 1e-3)
                (mark, marked) = (figures[i], i + 1);
        Assert.Equal(epochs, marked + 3);
        IReadOnlyList<GlmPartyResult> exact = await TrainAsync(data, data.Job("binomial", training with { Epochs = at }));
        Assert.Equal(WeightsOf(exact), WeightsOf(stopped));
    }

    [Fact]
    public async Task EarlyStopping_LastEpochIsTheBestByTooLittle_KeepsItAtEveryParty()
    {
        // Full batches and a small step: the loss falls in every epoch, at last by less than the rule asks for.
        VerticalData data = VerticalData.Random(5, "gaussian", 80, 2, 3);
        GlmTrainingOptions training = new() { Optimizer = GlmOptimizer.Sgd, Epochs = 200, BatchesPerEpoch = 1, StepSize = .1, EarlyStopping = new() { Patience = 2, MinDelta = .02 } };
        IReadOnlyList<GlmPartyResult> stopped = await TrainAsync(data, data.Job("gaussian", training));
        Assert.All(stopped, r => Assert.Equal(GlmStopReason.EarlyStopped, r.StopReason));
        double[] losses = [.. stopped[0].History.Select(h => h.Loss!.Value)];
        Assert.Equal(losses.Min(), losses[^1]);
        IReadOnlyList<GlmPartyResult> exact = await TrainAsync(data, data.Job("gaussian", training with { Epochs = stopped[0].Timing.Epochs, EarlyStopping = null }));
        Assert.Equal(WeightsOf(exact), WeightsOf(stopped));
    }

    [Theory]
    [InlineData(GlmOptimizer.Lbfgs)]
    [InlineData(GlmOptimizer.Accelerated)]
    public async Task EarlyStopping_ConvergedFirst_KeepsTheOptimum(GlmOptimizer optimizer)
    {
        VerticalData data = Draw(9, "binomial", 2, 2);
        GlmTrainingOptions training = new() { Optimizer = optimizer, EarlyStopping = new() { Patience = 10_000, MinDelta = .5 } };
        IReadOnlyList<GlmPartyResult> watched = await TrainAsync(data, data.Job("binomial", training, l2: .05));
        IReadOnlyList<GlmPartyResult> plain = await TrainAsync(data, data.Job("binomial", training with { EarlyStopping = null }, l2: .05));
        Assert.NotEqual(GlmStopReason.EarlyStopped, watched[0].StopReason);
        // Near the optimum the loss of one iteration more or less differs by rounding only; the weights by 1e-7.
        VerticalData.AssertClose(WeightsOf(plain), WeightsOf(watched), 1e-6);
    }

    [Theory]
    [InlineData("gaussian", 1e4)]
    [InlineData("binomial", 1)]
    public async Task Accelerated_Float32_DoesNotTakeRoundingForTheOptimum(string family, double size)
    {
        VerticalData data = Draw(12, family, 2, 3).WithLabels(y => y * size);
        GlmJob job = data.Job(family, new() { Optimizer = GlmOptimizer.Accelerated, MessagePrecision = ElementType.Float32 }, l2: .01);
        IReadOnlyList<GlmPartyResult> results = await TrainAsync(data, job);
        Assert.All(results, r => Assert.Equal(results[0].StopReason, r.StopReason));
        var pooled = data.Pooled(family, seed: 0, l2: .01);
        pooled.Set([.. results.SelectMany(r => r.Model.Weights)], results[0].Model.Intercept!.Value);
        // Scores rounded to 24 bits leave a gradient of about 2^-24 of their size; converged says that it is far smaller.
        Assert.True(pooled.GradientNorm() <= (results[0].StopReason == GlmStopReason.Converged ? 1e-7 : 1e-5) * size);
    }

    [Fact]
    public async Task WarmStart_FromTheOptimum_StaysThere()
    {
        foreach (GlmOptimizer optimizer in new[] { GlmOptimizer.Lbfgs, GlmOptimizer.Accelerated })
        {
            VerticalData data = Draw(3, "binomial", 2, 2);
            GlmJob job = data.Job("binomial", new() { Optimizer = optimizer }, l2: .05);
            IReadOnlyList<GlmPartyResult> first = await TrainAsync(data, job);
            GlmJob again = job with { Training = job.Training with { WarmStart = true } };
            IReadOnlyList<GlmPartyInput> inputs = [.. data.Inputs().Zip(first, (input, result) => input with { WarmStart = result.Model })];
            IReadOnlyList<GlmPartyResult> second = await LocalFederation.TrainAsync(again, inputs, cancellationToken: TestContext.Current.CancellationToken);
            Assert.InRange(second[0].Timing.Epochs, 0, 2);
            VerticalData.AssertClose(WeightsOf(first), WeightsOf(second), 1e-6);
            Assert.Equal(first[0].Train!.LogLoss!.Value, second[0].Train!.LogLoss!.Value, 1e-9);
        }
    }

    [Fact]
    public async Task WarmStart_Sgd_GoesOnWhereItWas()
    {
        VerticalData data = Draw(4, "gaussian", 2, 2);
        GlmTrainingOptions four = new() { Optimizer = GlmOptimizer.Sgd, Epochs = 4, BatchesPerEpoch = 5, StepSize = .1 };
        double[] whole = WeightsOf(await TrainAsync(data, data.Job("gaussian", four)));
        IReadOnlyList<GlmPartyResult> half = await TrainAsync(data, data.Job("gaussian", four with { Epochs = 2 }));
        IReadOnlyList<GlmPartyInput> inputs = [.. data.Inputs().Zip(half, (input, result) => input with { WarmStart = result.Model })];
        IReadOnlyList<GlmPartyResult> rest = await LocalFederation.TrainAsync(data.Job("gaussian", four with { Epochs = 2, WarmStart = true }), inputs, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(whole, WeightsOf(rest));
    }

    [Fact]
    public async Task WarmStart_NoModelOrAnothers_IsRefused()
    {
        VerticalData data = Draw(4, "gaussian", 2, 2);
        GlmJob job = data.Job("gaussian", new() { Epochs = 1 });
        IReadOnlyList<GlmPartyResult> first = await TrainAsync(data, job);
        GlmJob warm = job with { Training = job.Training with { WarmStart = true } };
        Assert.Equal(GlmErrors.OtherModel, (await Assert.ThrowsAsync<ConfigurationException>(() => TrainAsync(data, warm))).Id);
        IReadOnlyList<GlmPartyInput> swapped = [.. data.Inputs().Zip(first.Reverse(), (input, result) => input with { WarmStart = result.Model })];
        FedLearnException refusal = await Assert.ThrowsAnyAsync<FedLearnException>(() => LocalFederation.TrainAsync(warm, swapped));
        Assert.Contains(refusal.Id, new[] { GlmErrors.OtherModel, "FL3021" });
    }

    [Theory]
    [InlineData(PrivacyMode.HdpVfl)]
    [InlineData(PrivacyMode.OneRound)]
    [InlineData(PrivacyMode.LabelDp)]
    public void PrivateModes_StoppingAndWarmStart_AreRefused(PrivacyMode mode)
    {
        var job = new GlmJob
        {
            Name = "job",
            Model = new() { Family = GlmFamilies.Binomial },
            Training = new() { WeightNorm = 1, ResidualClip = 1 },
            Privacy = new() { Mode = mode, Budget = new(1, 1e-5) },
            Preprocessing = new() { Scaling = Scaling.Declared, Rows = RowBound.Clip },
            Parties = [new() { Party = new("a", PartyRole.Active) }, new() { Party = new("b", PartyRole.Passive) }],
        };
        Assert.Equal("FL5115", Assert.Throws<PrivacyRefusedException>(() => GlmPlan.Create(job with { Training = job.Training with { EarlyStopping = new() } })).Id);
        Assert.Equal("FL5116", Assert.Throws<PrivacyRefusedException>(() => GlmPlan.Create(job with { Training = job.Training with { WarmStart = true } })).Id);
        if (mode != PrivacyMode.HdpVfl)
            return;
        foreach (GlmOptimizer optimizer in new[] { GlmOptimizer.Lbfgs, GlmOptimizer.Accelerated, GlmOptimizer.Irls })
            Assert.Equal("FL5102", Assert.Throws<PrivacyRefusedException>(() => GlmPlan.Create(job with { Training = job.Training with { Optimizer = optimizer } })).Id);
    }

    [Theory]
    [InlineData(7, 2)]
    [InlineData(2, 7)]
    [InlineData(5, 5)]
    public async Task Newton_MoreColumnsThanRows_IsRefusedAtTheActivePartyAsAFaultOfTheData(int own, int others)
    {
        VerticalData data = VerticalData.Random(3, "gaussian", 6, own, others);
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => TrainAsync(data, data.Job("gaussian", new() { Optimizer = GlmOptimizer.Irls }, l2: 0)));
        Assert.Equal(GlmErrors.TooManyColumns, error.Id);
        await TrainAsync(data, data.Job("gaussian", new() { Optimizer = GlmOptimizer.Irls }, l2: .1));
    }

    [Theory]
    [InlineData("gaussian", 9)]
    [InlineData("binomial", 40)]
    [InlineData("poisson", 300)]
    public async Task Newton_PassivePartyWithMoreColumnsThanRows_FindsTheOptimum(string family, int others)
    {
        VerticalData data = VerticalData.Random(5, family, 8, 2, others);
        double[][] found = new double[2][];
        foreach (GlmOptimizer optimizer in new[] { GlmOptimizer.Lbfgs, GlmOptimizer.Irls })
            found[optimizer == GlmOptimizer.Irls ? 1 : 0] = WeightsOf(await TrainAsync(data, data.Job(family, new() { Optimizer = optimizer, Epochs = 20_000 }, l2: .1)));
        VerticalData.AssertClose(found[0], found[1], 1e-5);
    }

    /// <summary>Columns whose mixing would take hours, or more memory than there is: refused before training, and no standard errors after it.</summary>
    [Theory]
    [InlineData(0.0, 6, 50_000, "there are no more training rows than columns")]
    [InlineData(.1, 2_110, 2_100, "than the active party solves for at once")]
    public async Task Columns_TooManyToMix_AreRefusedBeforeTraining_AndLeaveATrainedModelWithoutStandardErrors(double l2, int rows, int width, string why)
    {
        VerticalData data = VerticalData.Random(3, "gaussian", rows, 2, 1);
        GlmPartyInput[] inputs = data.Inputs();
        var cells = new SparseMatrix(rows, width, [.. Enumerable.Range(0, rows + 1)], [.. Enumerable.Range(0, rows).Select(i => i % width)], [.. Enumerable.Repeat(1.0, rows)]);
        inputs[1] = inputs[1] with { Table = Table.FromSparse(inputs[1].Table.Ids, [.. Enumerable.Range(0, width).Select(j => $"c{j}")], cells) };
        GlmJob job = data.Job("gaussian", new() { Optimizer = GlmOptimizer.Irls }, l2: l2) with { Preprocessing = new() { Scaling = Scaling.None } };
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(job, inputs, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal(GlmErrors.TooManyColumns, error.Id);

        IReadOnlyList<GlmPartyResult> trained = await LocalFederation.TrainAsync(job with { Training = new() { Optimizer = GlmOptimizer.Lbfgs, Epochs = 3 }, Inference = true }, inputs,
            cancellationToken: TestContext.Current.CancellationToken);
        Assert.All(trained, r => Assert.Contains(why, Assert.Single(r.Warnings, w => w.StartsWith("the model has no standard errors: ", StringComparison.Ordinal)), StringComparison.Ordinal));
        Assert.All(trained, r => Assert.Null(r.Inference));
    }

    [Theory]
    [InlineData("binomial", 0.0, "the same label")]
    [InlineData("gaussian", 3.5, "the same label")]
    [InlineData("multinomial", 1.0, "the same label")]
    public async Task Training_LabelsAllEqual_Warns(string family, double label, string warning)
    {
        VerticalData data = Draw(2, family, 2, 2).WithLabels(_ => label);
        Assert.Contains((await TrainAsync(data, data.Job(family, new())))[0].Warnings, w => w.Contains(warning, StringComparison.Ordinal));
        Assert.DoesNotContain((await TrainAsync(Draw(2, family, 2, 2), data.Job(family, new())))[0].Warnings, w => w.Contains(warning, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("binomial")]
    [InlineData("multinomial")]
    public async Task Training_LabelsThatColumnsTellWithoutAMistake_WarnsWithoutAPenaltyAlone(string family)
    {
        VerticalData data = VerticalData.Random(3, family, 20, 20, 20);
        async Task<bool> WarnsAsync(VerticalData of, double l2) => (await TrainAsync(of, of.Job(family, new() { Optimizer = GlmOptimizer.Lbfgs }, l2: l2)))[0].Warnings
            .Contains("the model tells the labels of all training rows without a mistake: its weights have no finite best value, and training stopped somewhere on the way; set model.l2 above 0, or leave those columns out");
        Assert.True(await WarnsAsync(data, 0));
        Assert.False(await WarnsAsync(data, .001));
        Assert.False(await WarnsAsync(VerticalData.Random(3, family, 200, 2, 2), 0));
    }

    [Fact]
    public async Task Training_ClassesWithAGap_Warns()
    {
        VerticalData data = Draw(2, "multinomial", 2, 2).WithLabels(label => Math.Max(1, label));
        Assert.Contains((await TrainAsync(data, data.Job("multinomial", new())))[0].Warnings, w => w.Contains("no training row has class 0:", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Training_SplitWithoutTestRows_Warns()
    {
        VerticalData data = Draw(2, "gaussian", 2, 2);
        GlmJob job = data.Job("gaussian", new()) with { Split = new SplitRule.ByHash(Modulus: 1_000_000, Test: [999_999]) };
        Assert.Contains((await TrainAsync(data, job))[0].Warnings, w => w.Contains("no common row in the test set", StringComparison.Ordinal));
        Assert.DoesNotContain((await TrainAsync(data, data.Job("gaussian", new()) with { Split = SplitRule.None }))[0].Warnings, w => w.Contains("test set", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(GlmOptimizer.Lbfgs)]
    [InlineData(GlmOptimizer.Irls)]
    public async Task Training_StuckFarFromTheOptimum_Warns(GlmOptimizer optimizer)
    {
        // A model without features starts where nearly all means are 0 or beyond e^300: no step along the gradient shows in float64.
        VerticalData data = Draw(2, "poisson", 2, 2);
        GlmPartyResult result = (await TrainAsync(data.With(offsets: [.. Enumerable.Range(0, data.Rows).Select(i => i % 2 == 0 ? 300.0 : -300.0)]), data.Job("poisson", new() { Optimizer = optimizer })))[0];
        Assert.Equal(GlmStopReason.NoFurtherDecrease, result.StopReason);
        Assert.Contains(result.Warnings, w => w.Contains("far from the best one", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Accelerated_RoundingHidesTheGradient_Warns()
    {
        // Scores around 1e13 have steps of 2^-9, of which residuals of about 1 keep three digits.
        VerticalData data = Draw(12, "gaussian", 2, 3).WithLabels(y => 1e13 + y);
        GlmPartyResult result = (await TrainAsync(data, data.Job("gaussian", new() { Optimizer = GlmOptimizer.Accelerated })))[0];
        Assert.Equal(GlmStopReason.NoFurtherDecrease, result.StopReason);
        Assert.Contains(result.Warnings, w => w.Contains("far from the best one", StringComparison.Ordinal));
    }

    /// <summary>Moments in seconds, of which rounding alone keeps the gradient at 1e-7 and more, and amounts beyond a billion: without a penalty Newton's method knows no unit of the columns.</summary>
    [Theory]
    [InlineData("gaussian")]
    [InlineData("binomial")]
    [InlineData("poisson")]
    [InlineData("multinomial")]
    public async Task Newton_OwnColumnsOfLargeNumbers_ConvergesAsOnSmallOnes(string family)
    {
        const double Unit = 1L << 40;
        VerticalData small = VerticalData.Random(5, family, 300, 2, 2);
        (string Id, double[] X, double Y)[] all = [.. small.All];
        var large = new VerticalData([.. all.Select(row => row.Id)], [.. all.Select(row => (double[])[1.6e9 + 1e7 * row.X[0], Unit * row.X[1], Unit * row.X[2], row.X[3]])], [.. small.Labels], [2, 2]);
        async Task<IReadOnlyList<GlmPartyResult>> OfAsync(VerticalData data) =>
            await TrainAsync(data, data.Job(family, new() { Optimizer = GlmOptimizer.Irls }, l2: 0) with { Inference = family != "multinomial" });
        IReadOnlyList<GlmPartyResult> expected = await OfAsync(small), found = await OfAsync(large);
        Assert.Equal(GlmStopReason.Converged, found[0].StopReason);
        Assert.Empty(found[0].Warnings);
        // The first step starts elsewhere, since the moments are not centred.
        Assert.InRange(found[0].Timing.Epochs, 1, expected[0].Timing.Epochs + 2);
        double[] UnitsOf(int party, int outputs) => [.. Enumerable.Repeat((double[])(party == 0 ? [1e7, Unit] : [Unit, 1]), outputs).SelectMany(units => units)];
        for (int party = 0; party < 2; party++)
        {
            double[] Slopes(IReadOnlyList<GlmPartyResult> results) => [.. results[party].Model.Weights];
            VerticalData.AssertClose(Slopes(expected), [.. Slopes(found).Zip(UnitsOf(party, family == "multinomial" ? 3 : 1), (w, unit) => w * unit)], 1e-6);
            if (family == "multinomial")
                continue;
            double[] Errors(IReadOnlyList<GlmPartyResult> results) => [.. results[party].Model.Inference!.Coefficients.Take(2).Select(c => c.StandardError)];
            VerticalData.AssertClose(Errors(expected), [.. Errors(found).Zip(UnitsOf(party, 1), (e, unit) => e * unit)], 1e-6);
        }
    }

    [Theory]
    [InlineData(GlmOptimizer.Lbfgs)]
    [InlineData(GlmOptimizer.Accelerated)]
    [InlineData(GlmOptimizer.Irls)]
    [InlineData(GlmOptimizer.Sgd)]
    public async Task Training_EndsAtItsLimit_WarnsWhereAnOptimumWasLookedFor(GlmOptimizer optimizer)
    {
        string warning = "training stopped at its limit of 2 iterations before it converged: the model is not the optimum; raise training.epochs"
            + (optimizer == GlmOptimizer.Irls ? ", or, where columns have very different sizes, use preprocessing.scaling standardize" : ", or, where columns have very different sizes, use preprocessing.scaling standardize or training.optimizer irls, or, where columns tell nearly the same, use training.optimizer "
                + (optimizer == GlmOptimizer.Accelerated ? "lbfgs or irls" : "irls"));
        VerticalData data = Draw(2, "poisson", 2, 2);
        IReadOnlyList<GlmPartyResult> results = await TrainAsync(data, data.Job("poisson", new() { Optimizer = optimizer, Epochs = 2, StepSize = 0.1 }));
        Assert.All(results, r => Assert.Equal(GlmStopReason.RoundLimit, r.StopReason));
        Assert.Equal(optimizer != GlmOptimizer.Sgd, results[0].Warnings.Contains(warning));
        if (optimizer == GlmOptimizer.Sgd)
            return;
        IReadOnlyList<GlmPartyResult> converged = await TrainAsync(data, data.Job("poisson", new() { Optimizer = optimizer }));
        Assert.DoesNotContain(converged[0].Warnings, w => w.Contains("its limit", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Training_EndsAtItsLimitWithoutAPenalty_NamesThePenalty()
    {
        async Task<IReadOnlyList<string>> WarningsOf(string family)
        {
            VerticalData data = Draw(2, family, 2, 2);
            GlmJob job = data.Job(family, new() { Epochs = 2 }, l2: 0);
            return (await TrainAsync(data, job with { Preprocessing = new() { Scaling = Scaling.Standardize } }))[0].Warnings;
        }

        const string Limit = "training stopped at its limit of 2 iterations before it converged: the model is not the optimum; raise training.epochs";
        const string Alike = ", or, where columns tell nearly the same, use training.optimizer irls";
        Assert.Contains(Limit + Alike + ", or, where columns tell the labels of some rows without a mistake, set model.l2 above 0", await WarningsOf("binomial"));
        Assert.Contains(Limit + Alike, await WarningsOf("gaussian"));
    }

    /// <summary>Standardised columns whose singular values are 300 apart: steps along the gradient take as many iterations, the optimisers that are advised few.</summary>
    [Theory]
    [InlineData("gaussian")]
    [InlineData("binomial")]
    public async Task Training_AcceleratedOnColumnsNearlyTheSame_AdvisesOptimisersThatConverge(string family)
    {
        VerticalData drawn = VerticalData.Random(5, family, 400, 10, 10);
        // All have the first in common, and less and less of their own: 1 / 67 of the last, against sqrt(20) of what they share.
        var data = new VerticalData([.. drawn.All.Select(r => r.Id)], [.. drawn.All.Select(r => (double[])[.. r.X.Select((x, j) => r.X[0] + (j == 0 ? 0 : x * Math.Pow(67, -j / 19.0)))])], [.. drawn.Labels], [10, 10]);
        GlmJob Job(GlmTrainingOptions training, double l1 = 0)
        {
            GlmJob job = data.Job(family, training, l2: 0);
            return job with { Preprocessing = new() { Scaling = Scaling.Standardize }, Model = job.Model with { L1 = l1 } };
        }

        const string Advice = "where columns tell nearly the same, use training.optimizer ";
        async Task<string> WarningOf(GlmJob job)
        {
            GlmPartyResult result = (await TrainAsync(data, job))[0];
            Assert.Equal(GlmStopReason.RoundLimit, result.StopReason);
            return Assert.Single(result.Warnings, w => w.Contains("its limit", StringComparison.Ordinal));
        }

        Assert.Contains(Advice + "lbfgs or irls", await WarningOf(Job(new() { Optimizer = GlmOptimizer.Accelerated })), StringComparison.Ordinal);
        foreach (GlmOptimizer optimizer in (GlmOptimizer[])[GlmOptimizer.Lbfgs, GlmOptimizer.Irls])
            Assert.NotEqual(GlmStopReason.RoundLimit, (await TrainAsync(data, Job(new() { Optimizer = optimizer })))[0].StopReason);
        // What the job does not admit is not advised.
        Assert.DoesNotContain("optimizer", await WarningOf(Job(new() { Optimizer = GlmOptimizer.Accelerated, Epochs = 2 }, l1: 1e-4)), StringComparison.Ordinal);
        string early = await WarningOf(Job(new() { Optimizer = GlmOptimizer.Accelerated, Epochs = 2, EarlyStopping = new() { Metric = EarlyStoppingMetric.Objective } }));
        Assert.Contains(Advice + "lbfgs", early, StringComparison.Ordinal);
        Assert.DoesNotContain("irls", early, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(GlmOptimizer.Lbfgs)]
    [InlineData(GlmOptimizer.Sgd)]
    public async Task Training_Diverges_AdvisesWhatTheOptimiserHeeds(GlmOptimizer optimizer)
    {
        // Means beyond e^709 from the start.
        VerticalData data = Draw(2, "poisson", 2, 2);
        InternalFailureException error = await Assert.ThrowsAsync<InternalFailureException>(() => TrainAsync(data.With(offsets: [.. Enumerable.Range(0, data.Rows).Select(i => i % 2 == 0 ? 2000.0 : 0)]),
            data.Job("poisson", new() { Optimizer = optimizer, Epochs = 3 })));
        Assert.Equal(GlmErrors.Diverged, error.Id);
        Assert.Equal(optimizer == GlmOptimizer.Sgd, error.Remedy.Contains("training.stepSize", StringComparison.Ordinal));
        Assert.Equal(optimizer == GlmOptimizer.Lbfgs, error.Remedy.Contains("extreme size", StringComparison.Ordinal));
    }

    [Fact]
    public void Jobs_ThatDoNotGoTogether_AreConfigurationErrors()
    {
        GlmJob job = Draw(1, "gaussian", 2, 2).Job("gaussian", new());
        GlmJob[] wrong =
        [
            job with { Model = job.Model with { L1 = .1 }, Training = new() { Optimizer = GlmOptimizer.Lbfgs } },
            job with { Model = job.Model with { L1 = .1 }, Training = new() { Optimizer = GlmOptimizer.Irls } },
            job with { Training = new() { Optimizer = GlmOptimizer.Irls, EarlyStopping = new() } },
            job with { Training = new() { Optimizer = GlmOptimizer.Irls, WarmStart = true } },
            job with { Inference = true, Model = job.Model with { L1 = .1 } },
            job with { Training = new() { Optimizer = GlmOptimizer.Accelerated, BatchesPerEpoch = 2 } },
            job with { Training = new() { EarlyStopping = new() { Metric = EarlyStoppingMetric.Auc } } },
            job with { Training = new() { EarlyStopping = new() { Patience = 0 } } },
            job with { Training = new() { EarlyStopping = new() { HoldOut = 1 } } },
            job with { Training = new() { EarlyStopping = new() { MinDelta = double.NaN } } },
        ];
        Assert.All(wrong, j => Assert.Equal(GlmErrors.InvalidJob, Assert.Throws<ConfigurationException>(() => GlmPlan.Create(j)).Id));
    }

    // Each passed for an optimum or for a step that needs no shortening, and a wrong model for a fit.
    [Theory]
    [InlineData(GlmOptimizer.Lbfgs, 0, 0)] // |g|^2 of the first iteration
    [InlineData(GlmOptimizer.Lbfgs, 1, 2)] // |d|^2
    [InlineData(GlmOptimizer.Lbfgs, 2, 3)] // |y|^2 of the second iteration
    [InlineData(GlmOptimizer.Accelerated, 0, 0)] // |w+ - v|^2
    [InlineData(GlmOptimizer.Accelerated, 1, 3)] // |w+|_1
    public async Task Active_LengthBelowZero_IsThePeersFault(GlmOptimizer optimizer, int message, int place)
    {
        VerticalData data = Draw(6, "gaussian", 2, 2);
        int seen = 0;
        var error = await Assert.ThrowsAsync<PeerException>(() => RecordedSession.TrainAsync(data.Job("gaussian", new() { Optimizer = optimizer, Epochs = 5 }), data.Inputs(), sent =>
        {
            if (sent.Payload is not Scalars { Kind: ScalarsKind.InnerProducts } products || seen++ != message)
                return null;
            double[] values = [.. products.Values.Span];
            values[place] = -1;
            return new Scalars(products.Kind, values);
        }));
        Assert.Equal(ProtocolErrors.UnexpectedMessage, error.Id);
        Assert.Contains("length below 0", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Passive_LineSearchGoesBackwards_IsThePeersFault()
    {
        VerticalData data = Draw(6, "gaussian", 2, 2);
        var error = await Assert.ThrowsAsync<PeerException>(() => RecordedSession.TrainAsync(data.Job("gaussian", new() { Optimizer = GlmOptimizer.Lbfgs, Epochs = 5 }), data.Inputs(),
            sent => sent.Payload is Scalars { Kind: ScalarsKind.Step } ? new Scalars(ScalarsKind.Step, new[] { -1.0 }) : null));
        Assert.Equal(ProtocolErrors.UnexpectedMessage, error.PeerErrorId); // what the active party was told
    }

    [Theory]
    [InlineData(GlmOptimizer.Accelerated, 7.0)]
    [InlineData(GlmOptimizer.Accelerated, 1e300)]
    [InlineData(GlmOptimizer.Accelerated, 1.0)] // takes a step that was never tried
    [InlineData(GlmOptimizer.Accelerated, 0.0)] // tries a step of -1
    [InlineData(GlmOptimizer.Sgd, -1.0)]
    [InlineData(GlmOptimizer.Sgd, 0.5)]
    [InlineData(GlmOptimizer.Sgd, 1e300)]
    public async Task Passive_NumberThatNamesNothing_IsThePeersFault(GlmOptimizer optimizer, double number)
    {
        VerticalData data = Draw(6, "gaussian", 2, 2);
        GlmJob job = data.Job("gaussian", new() { Optimizer = optimizer, Epochs = 3, EarlyStopping = optimizer == GlmOptimizer.Sgd ? new() : null });
        GlmPartyInput input = data.Inputs()[1];
        var party = new GlmTrainer(job, input);
        JoinedParty[] parties = [.. party.Terms.Parties.Select(p => new JoinedParty(p.Name, party.JoinRequest.SchemaFingerprint))];
        var agreement = new SessionAgreement("scripted", SessionDesk.DigestOf(party.Terms.TermsDigest, parties), parties);
        (InMemoryChannel peer, InMemoryChannel own) = InMemoryChannel.CreatePair("active", input.Party);
        Task<GlmPartyResult> training = party.TrainAsync(agreement, [own], cancellationToken: TestContext.Current.CancellationToken);

        int rows = (await peer.ReceiveAsync<HashedIds>(0, null, TestContext.Current.CancellationToken)).Length;
        await peer.SendAsync(0, Disclosure.Unprotected(new RowSelection(Enumerable.Repeat((byte)1, rows).ToArray()), "script"), TestContext.Current.CancellationToken);
        await peer.ReceiveAsync<Scalars>(0, 3, TestContext.Current.CancellationToken);
        await peer.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 1 }), "script"), TestContext.Current.CancellationToken);
        if (optimizer == GlmOptimizer.Sgd)
            await peer.ReceiveAsync<Scores>(0, rows, TestContext.Current.CancellationToken);
        await peer.SendAsync(0, Disclosure.Unprotected(new Residuals(new double[rows]), "script"), TestContext.Current.CancellationToken);
        double[] says = optimizer == GlmOptimizer.Sgd ? [number] : [number == 0 ? -1 : 1, number];
        await peer.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Step, says), "script"), TestContext.Current.CancellationToken);
        Assert.Equal(ProtocolErrors.UnexpectedMessage, (await Assert.ThrowsAsync<PeerException>(() => training)).Id);
    }
}
