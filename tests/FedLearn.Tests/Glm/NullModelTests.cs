using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Glm;
using FedLearn.Tests.Evaluation;

namespace FedLearn.Tests.Glm;

/// <summary>What D2 and R2 compare with where rows have offsets, against the intercept that bisection finds.</summary>
public class NullModelTests
{
    private static readonly EvaluationOptions NoIntervals = new() { Resamples = 0 };

    public static TheoryData<string> Families => ["gaussian", "binomial", "poisson", "gamma", "tweedie"];

    private static (double[] Scores, double[] Labels, double[] Offsets) Rows(string family, Random random, int n)
    {
        double[] offsets = [.. Enumerable.Range(0, n).Select(_ => 3 * random.NextDouble() - 1)], scores = [.. offsets.Select(o => o + random.NextDouble() - .7)];
        double[] labels = [.. scores.Select(z => family switch
        {
            "gaussian" => z + random.NextDouble() - .5,
            "binomial" => random.NextDouble() < 1 / (1 + Math.Exp(-z)) ? 1.0 : 0,
            "poisson" => (double)Enumerable.Range(0, 40).Count(_ => random.NextDouble() < Math.Exp(z) / 40),
            "gamma" => .01 - Math.Exp(z) * Math.Log(1 - random.NextDouble()),
            _ => random.NextDouble() < .4 ? 0 : -Math.Exp(z) * Math.Log(1 - random.NextDouble()),
        })];
        return (scores, labels, offsets);
    }

    /// <summary>Deviance and squared error of the intercept beside the offsets with the least deviance, by bisection on the derivative.</summary>
    private static (double Deviance, double Squares) Slow(IGlmFamily family, double[] labels, double[] offsets)
    {
        double low = -60, high = 60;
        for (int i = 0; i < 200; i++)
        {
            double middle = (low + high) / 2, slope = 0;
            double[] r = new double[1];
            for (int k = 0; k < labels.Length; k++)
            {
                family.Residuals([middle + offsets[k]], [labels[k]], r);
                slope += r[0];
            }

            (low, high) = slope > 0 ? (low, middle) : (middle, high);
        }

        return (labels.Zip(offsets, (y, o) => family.DevianceSum([low + o], [y])).Sum(), labels.Zip(offsets, (y, o) => Math.Pow(y - family.Mean(low + o), 2)).Sum());
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Figures_RowsWithOffsets_CompareWithAnInterceptBesideThem(string name)
    {
        IGlmFamily family = VerticalData.Family(name);
        var random = new Random(3);
        for (int trial = 0; trial < 20; trial++)
        {
            (double[] scores, double[] labels, double[] offsets) = Rows(name, random, random.Next(20, 200));
            (double deviance, double squares) = Slow(family, labels, offsets);
            ModelEvaluation actual = GlmEvaluation.Of(family, scores, labels, NoIntervals, offsets);
            Assert.Equal(1 - actual.Metrics.Deviance!.Value * labels.Length / deviance, actual.Metrics.D2!.Value, 1e-9);
            Assert.Equal(actual.Metrics, GlmEvaluation.FiguresOf(family, scores, labels, offsets));
            if (name != "binomial")
                Assert.Equal(1 - labels.Zip(scores, (y, z) => Math.Pow(y - family.Mean(z), 2)).Sum() / squares, actual.Metrics.R2!.Value, 1e-9);
            // Offsets that are all equal are no offsets.
            MetricSet none = GlmEvaluation.FiguresOf(family, scores, labels), same = GlmEvaluation.FiguresOf(family, scores, labels, [.. labels.Select(_ => .4)]);
            Assert.Equal(none.D2!.Value, same.D2!.Value, 1e-9);
            Assert.Equal(none.R2 ?? 0, same.R2 ?? 0, 1e-9);
        }
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Intercept_FarOffsetsAndWeights_BalancesTheResiduals(string name)
    {
        IGlmFamily family = VerticalData.Family(name);
        var random = new Random(8);
        for (int trial = 0; trial < 20; trial++)
        {
            (_, double[] labels, double[] offsets) = Rows(name, random, random.Next(50, 200));
            double spread = 8 * random.NextDouble();
            // The label of a row goes with its offset, but for sums and classes.
            double[] shifts = [.. labels.Select(_ => spread * (2 * random.NextDouble() - 1))], residuals = new double[labels.Length];
            offsets = [.. offsets.Zip(shifts, (o, s) => o + s)];
            labels = [.. labels.Zip(shifts, (y, s) => name switch { "gaussian" => y + s, "binomial" => y, "poisson" => Math.Round(y * Math.Exp(s)), _ => y * Math.Exp(s) })];
            double[] weights = [.. labels.Select(_ => random.Next(5) == 0 ? 0 : random.NextDouble())];
            double intercept = GlmEvaluation.Intercept(family, new GlmTargets(labels, weights, offsets));
            family.Residuals([.. offsets.Select(o => o + intercept)], labels, residuals);
            Assert.Equal(0, residuals.Zip(weights, (r, u) => r * u).Sum(), 1e-9 * residuals.Zip(weights, (r, u) => Math.Abs(r) * u).Sum());
        }
    }

    [Fact]
    public void Intercept_LabelsWithoutABestOne_IsThatOfLabelsNearby()
    {
        double[] offsets = [0, -3, 3, 0];
        Assert.Equal(Math.Log(.5 / 4), GlmEvaluation.Intercept(GlmFamilies.Poisson, new GlmTargets(new double[4], null, offsets)), 1e-12);
        Assert.Equal(Math.Log(.125 / .875), GlmEvaluation.Intercept(GlmFamilies.Binomial, new GlmTargets(new double[4], null, offsets)), 1e-12);
    }

    [Fact]
    public void Figures_PoissonExposure_IsTheRateOfAllRows()
    {
        double[] labels = [0, 3, 1, 8, 2, 5], exposure = [.2, 2, 1, 6, 3, 3], scores = [-1, .5, .4, 2, 1, 1.3];
        double rate = labels.Sum() / exposure.Sum(), deviance = labels.Zip(exposure, (y, e) => SlowMetrics.Tweedie(1, rate * e, y)).Sum();
        MetricSet actual = GlmEvaluation.FiguresOf(GlmFamilies.Poisson, scores, labels, [.. exposure.Select(e => Math.Log(e))]);
        Assert.Equal(1 - labels.Zip(scores, (y, z) => SlowMetrics.Tweedie(1, Math.Exp(z), y)).Sum() / deviance, actual.D2!.Value, 1e-12);
    }

    /// <summary>A resample's intercept is one Newton step from that of all rows: an error of third order.</summary>
    [Theory]
    [MemberData(nameof(Families))]
    public void Intervals_RowsWithOffsets_AreThoseOfInterceptsFittedToTheResamples(string name)
    {
        IGlmFamily family = VerticalData.Family(name);
        (double[] scores, double[] labels, double[] offsets) = Rows(name, new Random(4), 300);
        var options = new EvaluationOptions { Resamples = 60, Seed = 9 };
        ModelEvaluation actual = GlmEvaluation.Of(family, scores, labels, options, offsets);
        // Rows of two classes are drawn by their place in the order of falling scores.
        int[] order = [.. Enumerable.Range(0, labels.Length)];
        if (name == "binomial")
            order = [.. order.OrderByDescending(i => scores[i])];
        byte[] counts = new byte[labels.Length];
        List<double> d2 = [], r2 = [];
        for (int r = 0; r < options.Resamples; r++)
        {
            Bootstrap.Draw(options.Seed, r, counts);
            int[] rows = [.. Enumerable.Range(0, labels.Length).SelectMany(place => Enumerable.Repeat(order[place], counts[place]))];
            (double deviance, double squares) = Slow(family, [.. rows.Select(i => labels[i])], [.. rows.Select(i => offsets[i])]);
            d2.Add(1 - rows.Sum(i => family.DevianceSum([scores[i]], [labels[i]])) / deviance);
            r2.Add(1 - rows.Sum(i => Math.Pow(labels[i] - family.Mean(scores[i]), 2)) / squares);
        }

        double[] sorted = [.. d2.Order()], squared = [.. r2.Order()];
        Assert.Equal(Bootstrap.Quantile(sorted, .025), actual.Intervals!.Low.D2!.Value, 1e-3);
        Assert.Equal(Bootstrap.Quantile(sorted, .975), actual.Intervals.High.D2!.Value, 1e-3);
        if (name == "binomial")
            return;
        Assert.Equal(Bootstrap.Quantile(squared, .025), actual.Intervals.Low.R2!.Value, 3e-3);
        Assert.Equal(Bootstrap.Quantile(squared, .975), actual.Intervals.High.R2!.Value, 3e-3);
    }

    [Fact]
    public void Figures_ClassesOfVanishingProbability_AreThoseOfLogarithms()
    {
        IGlmFamily family = GlmFamilies.Multinomial(3);
        double[] scores = [0, 1, 2000, 1, 0, -1000, .5, 2, 0], labels = [2, 1, 1];
        // log sum e^z - z of the label, row by row; the third row's probability is e^-3000.
        double loss = (Math.Log(Math.Exp(0) + Math.Exp(1) + Math.Exp(.5)) - .5 + Math.Log(Math.Exp(1) + 1 + Math.Exp(2)) + 3000) / 3;
        ModelEvaluation actual = GlmEvaluation.Of(family, scores, labels, new() { Resamples = 50 });
        Assert.Equal(loss, actual.Metrics.LogLoss!.Value, 1e-12 * loss);
        Assert.Equal(2 * loss, actual.Metrics.Deviance!.Value, 1e-12 * loss);
        Assert.Equal(actual.Metrics, GlmEvaluation.FiguresOf(family, scores, labels));
        Assert.True(double.IsFinite(actual.Metrics.D2!.Value));
        Assert.True(double.IsFinite(actual.Intervals!.High.LogLoss!.Value));
        Assert.Empty(actual.Warnings("test"));
    }

    [Fact]
    public void Figures_LabelsThatAreEqualOrBeyondTheRange_ShareNothingExplained()
    {
        var none = new NullModel([1, 3], [1, 1], [0, 0], [1, 1], [1, 1]);
        MetricSet equal = MetricSet.ForRegression([1, 2], [2, 2], SlowMetrics.TweedieSum(0), none), other = MetricSet.ForRegression([1, 2], [2, 4], SlowMetrics.TweedieSum(0), none);
        Assert.Equal((null, null), (equal.R2, equal.D2));
        Assert.NotNull(other.R2);
        Assert.NotNull(other.D2);
        Assert.Null(NullModel.Explained(1, double.PositiveInfinity));
    }

    [Fact]
    public void Warnings_MeansBeyondTheRange_NameFiguresAndRows()
    {
        ModelEvaluation none = GlmEvaluation.Of(GlmFamilies.Poisson, [.5, 1, 700], [1, 3, 2], NoIntervals), one = GlmEvaluation.Of(GlmFamilies.Poisson, [.5, 1, 800], [1, 3, 2], NoIntervals);
        Assert.StartsWith("rmse, r2 of the test rows are infinite, and missing here: 1 row has a prediction", Assert.Single(none.Warnings("test")), StringComparison.Ordinal);
        Assert.StartsWith("rmse, mae, r2, deviance, d2 of the training rows are infinite, and missing here: 1 row has a prediction", Assert.Single(one.Warnings("training")), StringComparison.Ordinal);
        Assert.Empty(GlmEvaluation.Of(GlmFamilies.Poisson, [.5, 1, 2], [1, 3, 2], NoIntervals).Warnings("test"));
    }

    [Theory]
    [InlineData("poisson")]
    [InlineData("multinomial")]
    public async Task Train_OneExtremeTestRow_KeepsItsFiguresOrSaysWhichAreMissing(string name)
    {
        VerticalData data = VerticalData.Random(5, "poisson", 300, 2, 2).WithLabels(y => Math.Min(2, y));
        IGlmFamily family = name == "poisson" ? GlmFamilies.Poisson : GlmFamilies.Multinomial(3);
        GlmPartyInput[] inputs = data.Inputs();
        GlmJob job = data.Job("poisson", new GlmTrainingOptions { Seed = 5, Optimizer = GlmOptimizer.Lbfgs }) with { Split = new SplitRule.ByHash(4, [0]) };
        job = job with { Model = job.Model with { Family = family } };
        Table own = inputs[0].Table;
        bool[] test = RowSplit.TestRows(job.Split, null, own.Ids, [.. Enumerable.Range(0, own.Ids.Count)]);
        // Of both signs, since the sign of a weight is the data's: one of the two rows has a mean that is infinite, or a label without probability.
        int[] rows = [.. Enumerable.Range(0, test.Length).Where(i => test[i]).Take(2)];
        (own.Values.Row(rows[0])[0], own.Values.Row(rows[1])[0]) = (1e5, -1e5);
        GlmPartyResult active = (await LocalFederation.TrainAsync(job, inputs, cancellationToken: TestContext.Current.CancellationToken))[0];
        if (name == "poisson")
            Assert.Contains(active.Warnings, w => w.StartsWith("rmse, mae, r2, deviance, d2 of the test rows are infinite", StringComparison.Ordinal));
        else
            Assert.True(active.Test is { LogLoss: > 10 and < 1e6, D2: < 0 } && double.IsFinite(active.Test.D2!.Value));
    }

    /// <summary>Counts that exposure explains alone: a model of noise explains nothing more, on any rows and in any mode.</summary>
    [Theory]
    [InlineData(PrivacyMode.None)]
    [InlineData(PrivacyMode.OneRound)]
    public async Task Train_ExposureAlone_ExplainsNothing(PrivacyMode mode)
    {
        VerticalData data = VerticalData.Random(5, "poisson", 800, 2, 2);
        var random = new Random(6);
        double[] exposure = [.. data.Labels.Select(_ => Math.Exp(4 * random.NextDouble() - 2))];
        GlmPartyInput[] inputs = data.Inputs();
        Table own = inputs[0].Table;
        inputs[0] = inputs[0] with
        {
            Table = Table.FromMatrix(own.Ids, own.Schema.FeatureNames, own.Values, [.. exposure.Select(e => (double)Enumerable.Range(0, 200).Count(_ => random.NextDouble() < e / 200))],
                offsets: [.. exposure.Select(e => Math.Log(e))]),
        };
        GlmJob job = data.Job("poisson", new GlmTrainingOptions { Seed = 5, Optimizer = mode == PrivacyMode.None ? GlmOptimizer.Lbfgs : GlmOptimizer.Sgd }) with { Split = new SplitRule.ByHash(4, [0]) };
        if (mode == PrivacyMode.OneRound)
            job = job with
            {
                Training = new GlmTrainingOptions { Seed = 5 },
                Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = true },
                Privacy = new() { Mode = mode, Budget = new(4, 1e-3), TestNoiseSeed = 3 },
                Parties = [job.Parties[0] with { LabelRange = (0, 30) }, .. job.Parties.Skip(1)],
            };
        GlmPartyResult active = (await LocalFederation.TrainAsync(job, inputs, cancellationToken: TestContext.Current.CancellationToken))[0];
        MetricSet[] sets = [active.Train!, active.Test!, .. mode == PrivacyMode.None ? [] : (MetricSet[])[active.GuestOnly!.Train, active.GuestOnly.Test!]];
        Assert.All(sets, set => Assert.InRange(set.D2!.Value, -.1, .05));
    }
}
