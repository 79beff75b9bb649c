using System.Text.Json;
using FedLearn.Evaluation;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Evaluation;

public sealed class ModelEvaluationTests
{
    private static readonly EvaluationOptions NoIntervals = new() { Resamples = 0 };
    private static readonly JsonElement Expectations = Load();

    public static TheoryData<string, int> Cases { get; } = new(from kind in new[] { "binary", "classes", "regression" }
                                                               from i in Enumerable.Range(0, Expectations.GetProperty(kind).GetArrayLength())
                                                               select (kind, i));

    [Theory]
    [MemberData(nameof(Cases))]
    public void Metrics_ScikitLearnRows_AreItsFigures(string kind, int index)
    {
        JsonElement expected = Expectations.GetProperty(kind)[index];
        ModelEvaluation actual = Evaluate(kind, expected, NoIntervals);
        Assert.Null(actual.Intervals);
        Dictionary<string, double?> named = new(actual.Metrics.Named());
        foreach (JsonProperty figure in expected.GetProperty("metrics").EnumerateObject())
        {
            Near(figure.Value.GetDouble(), named[figure.Name], figure.Name);
            named.Remove(figure.Name);
        }

        Assert.All(named, figure => Assert.Null(figure.Value));
        Assert.Equal(kind == "regression" ? null : Rows(expected.GetProperty("confusion")), actual.Confusion?.Counts);
        if (kind != "classes")
            return;
        Assert.Equal(actual.PerClass!.Count, expected.GetProperty("perClass").GetArrayLength());
        foreach ((JsonElement figures, PerClassFigures of) in expected.GetProperty("perClass").EnumerateArray().Zip(actual.PerClass))
        {
            Near(figures.GetProperty("precision").GetDouble(), of.Precision, "precision");
            Near(figures.GetProperty("recall").GetDouble(), of.Recall, "recall");
            Near(figures.GetProperty("f1").GetDouble(), of.F1, "f1");
            Near(figures.GetProperty("auc").GetDouble(), of.Auc, "auc");
        }
    }

    [Theory]
    [InlineData(2.0)]
    [InlineData(-.1)]
    [InlineData(double.PositiveInfinity)]
    public void Probabilities_BelowZeroOrAboveOne_AreRefused(double probability)
    {
        double[] probabilities = [.5, probability], labels = [0, 1];
        Assert.Equal("probabilities", Assert.Throws<ArgumentException>(() => ModelEvaluation.Binary(probabilities, labels)).ParamName);
        Assert.Equal("probabilities", Assert.Throws<ArgumentException>(() => ModelEvaluation.Binary([0, 1], probabilities, labels, null)).ParamName);
        Assert.Equal("probabilities", Assert.Throws<ArgumentException>(() => ModelEvaluation.Classes([.5, probability, .5, .5], labels, 2)).ParamName);
    }

    [Fact]
    public void Curves_ScikitLearnRows_AreItsCurves()
    {
        foreach (JsonElement expected in Expectations.GetProperty("binary").EnumerateArray())
        {
            ModelEvaluation actual = Evaluate("binary", expected, NoIntervals);
            Same(Numbers(expected.GetProperty("roc").GetProperty("falsePositiveRate")), actual.Roc!.FalsePositiveRate);
            Same(Numbers(expected.GetProperty("roc").GetProperty("truePositiveRate")), actual.Roc.TruePositiveRate);
            Assert.Equal(0, actual.PrecisionRecall!.Recall[0]);
            Assert.Equal(actual.PrecisionRecall.Precision[1], actual.PrecisionRecall.Precision[0]);
            Same(Numbers(expected.GetProperty("precisionRecall").GetProperty("recall")), actual.PrecisionRecall.Recall[1..]);
            Same(Numbers(expected.GetProperty("precisionRecall").GetProperty("precision")), actual.PrecisionRecall.Precision[1..]);
        }

        static void Same(double[] expected, double[] actual)
        {
            Assert.Equal(expected.Length, actual.Length);
            Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-15));
        }
    }

    [Fact]
    public void Binary_RandomRows_AreSlowFigures() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        (double[] scores, double[] labels) = BinaryRows(random, random.Next(0, 30));
        double threshold = random.Next(3) == 0 ? 0.5 : 0.05 + (0.9 * random.NextDouble());
        ModelEvaluation actual = ModelEvaluation.Binary(scores, Probabilities(scores), labels, NoIntervals with { Threshold = threshold });
        Same(SlowMetrics.Binary(scores, labels, threshold), actual.Metrics);
        Same(SlowMetrics.Binary(scores, labels, 0.5), MetricSet.ForBinomial(scores, labels));
        Assert.Equal(labels.Length > 0 ? Metrics.Accuracy(scores, labels) : null, MetricSet.ForBinomial(scores, labels).Accuracy);
        Assert.Equal(labels.Distinct().Count() == 2, actual.Roc is not null);
        Same(actual.Metrics, ModelEvaluation.Binary(Probabilities(scores), labels, NoIntervals with { Threshold = threshold }).Metrics);
    }));

    [Fact]
    public void Classes_RandomRows_AreSlowFigures() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        (double[][] p, double[] labels) = ClassRows(random, random.Next(0, 30), random.Next(2, 6));
        ModelEvaluation actual = ModelEvaluation.Classes([.. p.SelectMany(m => m)], labels, p.Length, NoIntervals);
        Same(SlowMetrics.Classes(p, labels), actual.Metrics);
        Same(SlowMetrics.Classes(p, labels), MetricSet.ForClasses([.. p.SelectMany(m => m)], labels, p.Length));
        Assert.Equal(labels.Length, actual.Confusion?.Counts.Sum(row => row.Sum()) ?? 0);
    }));

    [Fact]
    public void Regression_RandomRows_AreSlowFigures() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        double power = Powers[random.Next(Powers.Length)];
        (double[] means, double[] labels) = RegressionRows(random, random.Next(0, 30), power);
        MetricSet slow = SlowMetrics.Regression(means, labels, (mu, y) => SlowMetrics.Tweedie(power, mu, y));
        Same(slow, ModelEvaluation.Regression(means, labels, SlowMetrics.TweedieSum(power), NoIntervals).Metrics);
    }));

    [Fact]
    public void Binary_OneClassOrNoRows_LeavesWhatIsUndefined()
    {
        ModelEvaluation negative = ModelEvaluation.Binary([0.2, 0.3], [0, 0]);
        Assert.Equal((null, null, null), (negative.Metrics.Auc, negative.Metrics.Ks, negative.Metrics.PrAuc));
        Assert.Equal((null, null, null, null), (negative.Metrics.Precision, negative.Metrics.Recall, negative.Metrics.F1, negative.Metrics.D2));
        Assert.Equal((null, null, null), (negative.Roc, negative.PrecisionRecall, negative.Lift));
        Assert.Equal(1, negative.Metrics.Accuracy);
        Assert.Equal((null, 1), (negative.Intervals!.Low.Auc, negative.Intervals.Low.Accuracy));
        Assert.Equal([[2, 0], [0, 0]], negative.Confusion!.Counts);

        Assert.Equal((null, 1.0), (Metrics.Ks([1, 2], [1, 1]), Metrics.PrAuc([1, 2], [1, 1])));
        Assert.Null(Metrics.PrAuc([], []));
        ModelEvaluation empty = ModelEvaluation.Binary([], []);
        Assert.Equal(new ModelEvaluation { Metrics = new(), Level = 0.95, Threshold = 0.5 }, empty);
        Assert.Equal(new ModelEvaluation { Metrics = new(), Level = 0.95 }, ModelEvaluation.Classes([], [], 3));
        Assert.Equal(new ModelEvaluation { Metrics = new(), Level = 0.95 }, ModelEvaluation.Regression([], [], SlowMetrics.TweedieSum(1)));
    }

    [Fact]
    public void Evaluation_NaN_HasNoCurvesOrIntervals()
    {
        ModelEvaluation binary = ModelEvaluation.Binary([1, double.NaN, -1], [0.7, double.NaN, 0.3], [1, 0, 0], null);
        Assert.Equal((null, null, null, null), (binary.Intervals, binary.Roc, binary.Calibration, binary.Confusion));
        Assert.Equal((null, null, null), (binary.Metrics.Auc, binary.Metrics.Ks, binary.Metrics.F1));
        Assert.Equal((null, null), (binary.Metrics.Precision, binary.Metrics.Recall));
        ModelEvaluation unlikely = ModelEvaluation.Binary([1, 2, -1], [0.7, double.NaN, 0.3], [1, 0, 0], null);
        Assert.Equal((null, null, null, null), (unlikely.Intervals, unlikely.Roc, unlikely.Calibration, unlikely.Confusion));
        Assert.True(double.IsNaN(binary.Metrics.Accuracy!.Value) && double.IsNaN(binary.Metrics.LogLoss!.Value) && double.IsNaN(binary.Metrics.Brier!.Value));

        ModelEvaluation classes = ModelEvaluation.Classes([0.5, double.NaN, 0.5, 0.5], [0, 1], 2);
        Assert.Equal((null, null, null), (classes.Intervals, classes.Confusion, classes.Metrics.Auc));
        Assert.True(double.IsNaN(classes.Metrics.Accuracy!.Value));

        ModelEvaluation regression = ModelEvaluation.Regression([1, double.NaN], [1, 2], SlowMetrics.TweedieSum(0));
        Assert.Equal((null, null, null), (regression.Intervals, regression.Calibration, regression.Lift));
        Assert.True(double.IsNaN(regression.Metrics.Mae!.Value));
        ModelEvaluation infinite = ModelEvaluation.Regression([1, double.PositiveInfinity], [1, 2], SlowMetrics.TweedieSum(0));
        Assert.Equal((null, null, double.PositiveInfinity), (infinite.Intervals, infinite.Calibration, infinite.Metrics.Mae));
        Assert.Null(ModelEvaluation.Binary([1, 2, -1], [0.7, 0.9, 0.3], [1, double.NaN, 0], null).Roc);
        Assert.Null(ModelEvaluation.Regression([1, 2], [1, double.NaN], SlowMetrics.TweedieSum(0)).Calibration);
    }

    [Fact]
    public void Regression_PredictionWhoseSquareOverflows_IsSaidToBeBeyond()
    {
        ModelEvaluation actual = ModelEvaluation.Regression([1e200, 1, -1e200, 2], [1, 2, 3, 4], SlowMetrics.TweedieSum(0));
        Assert.Equal(double.PositiveInfinity, actual.Metrics.Rmse);
        Assert.Contains("2 rows have a prediction that, or whose square, is beyond", Assert.Single(actual.Warnings("test")), StringComparison.Ordinal);
    }

    [Fact]
    public void Binary_InfiniteLoss_HasNoIntervalForIt()
    {
        ModelEvaluation actual = ModelEvaluation.Binary([0, 1, 1, 0], [1, 0, 1, 0]);
        Assert.Equal(double.PositiveInfinity, actual.Metrics.LogLoss);
        Assert.Null(actual.Intervals!.Low.LogLoss ?? actual.Intervals.High.Deviance ?? actual.Intervals.High.D2);
        Assert.NotNull(actual.Intervals.Low.Accuracy);
    }

    [Fact]
    public void Curves_ManyRows_AreThinnedWithBothEnds()
    {
        var random = new Random(5);
        double[] labels = [.. Enumerable.Range(0, 5000).Select(i => random.Next(20) == 0 ? 1.0 : 0)];
        double[] scores = [.. labels.Select(y => y + (3 * random.NextDouble()))];
        ModelEvaluation actual = ModelEvaluation.Binary(scores, Probabilities(scores), labels, NoIntervals);
        RocCurve roc = actual.Roc!;
        Assert.InRange(roc.TruePositiveRate.Length, 150, 200);
        Assert.Equal((0, 0, 1, 1), (roc.FalsePositiveRate[0], roc.TruePositiveRate[0], roc.FalsePositiveRate[^1], roc.TruePositiveRate[^1]));
        double area = 0;
        for (int i = 1; i < roc.TruePositiveRate.Length; i++)
            area += (roc.FalsePositiveRate[i] - roc.FalsePositiveRate[i - 1]) * (roc.TruePositiveRate[i] + roc.TruePositiveRate[i - 1]) / 2;
        Assert.Equal(actual.Metrics.Auc!.Value, area, 0.005);                   // steps are at most about 2/199 long
        Assert.Equal((0, 1), (actual.PrecisionRecall!.Recall[0], actual.PrecisionRecall.Recall[^1]));
        Assert.Equal(labels.Average(), actual.PrecisionRecall.Precision[^1], 1e-15);
        Assert.Equal(roc.TruePositiveRate, actual.PrecisionRecall.Recall);
    }

    [Fact]
    public void Curves_OneLargeTie_StayThin()
    {
        double[] scores = [.. Enumerable.Repeat(5.0, 3000), .. Enumerable.Range(0, 3000).Select(i => -i / 1e3)];
        double[] labels = [.. Enumerable.Range(0, 6000).Select(i => i % 2.0)];
        ModelEvaluation actual = ModelEvaluation.Binary(scores, Probabilities(scores), labels, NoIntervals);
        Assert.InRange(actual.Roc!.TruePositiveRate.Length, 95, 105);           // half the way is one step
        Assert.Equal(1, actual.Roc.FalsePositiveRate[^1]);
    }

    [Fact]
    public void Calibration_EqualCounts_AreMeansOfTenths()
    {
        double[] p = [.. Enumerable.Range(0, 100).Select(i => (i + 0.5) / 100)], labels = [.. Enumerable.Range(0, 100).Select(i => i % 10 < i / 10 ? 1.0 : 0)];
        CalibrationTable actual = ModelEvaluation.Binary([.. p.Reverse()], [.. labels.Reverse()], NoIntervals).Calibration!;
        Assert.Equal(Enumerable.Repeat(10, 10), actual.Rows);
        for (int bin = 0; bin < 10; bin++)
        {
            Assert.Equal(bin / 10.0, actual.Observed[bin], 1e-14);
            Assert.Equal((bin / 10.0) + 0.05, actual.Predicted[bin], 1e-14);
        }

        CalibrationTable tied = ModelEvaluation.Regression([1, 1, 1, 1, 2], [0, 1, 2, 3, 7], SlowMetrics.TweedieSum(0), NoIntervals).Calibration!;
        Assert.Equal([4, 1], tied.Rows);                                        // rows of one prediction stay together
        Assert.Equal([1.0, 2], tied.Predicted);
        Assert.Equal([1.5, 7], tied.Observed);
        // In the tenth of their middle, which is not that of their first row.
        Assert.Equal([1, 18, 1], ModelEvaluation.Regression([1, .. Enumerable.Repeat(2.0, 18), 3], [.. Enumerable.Range(0, 20)], SlowMetrics.TweedieSum(0), NoIntervals).Calibration!.Rows);
    }

    [Fact]
    public void Lift_KnownRows_Match()
    {
        double[] scores = [.. Enumerable.Range(0, 20).Select(i => (double)-i)], labels = [1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        LiftTable actual = ModelEvaluation.Binary(scores, Probabilities(scores), labels, NoIntervals).Lift!;
        Assert.Equal([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1], actual.Share);
        Assert.Equal([0.4, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 1], actual.Gain);
        Assert.Equal(4, actual.Lift[0], 1e-15);
        Assert.Equal(1, actual.Lift[^1]);

        LiftTable nothing = ModelEvaluation.Regression([3, 3, 3, 3, 3], [1, 0, 5, 0, 2], SlowMetrics.TweedieSum(0), NoIntervals).Lift!;
        Assert.All(nothing.Lift, lift => Assert.Equal(1, lift, 1e-15));          // one tie: no order, so no gain
        Assert.Null(ModelEvaluation.Regression([1, 2], [-1, 5], SlowMetrics.TweedieSum(0), NoIntervals).Lift);
        Assert.Null(ModelEvaluation.Regression([1, 2], [0, 0], SlowMetrics.TweedieSum(0), NoIntervals).Lift);
    }

    [Fact]
    public void PerClass_Binary_HasBothClasses()
    {
        ModelEvaluation actual = ModelEvaluation.Binary([0.9, 0.8, 0.3, 0.6, 0.1], [1, 0, 0, 1, 1], NoIntervals);
        Assert.Equal([[1, 1], [1, 2]], actual.Confusion!.Counts);
        Assert.Equal(["0", "1"], actual.Confusion.Classes);
        Assert.Equal(new PerClassFigures("0", 2, 0.5, 0.5, 0.5, actual.Metrics.Auc), actual.PerClass![0]);
        Assert.Equal(new PerClassFigures("1", 3, 2 / 3.0, 2 / 3.0, 2 / 3.0, actual.Metrics.Auc), actual.PerClass[1]);
    }

    [Fact]
    public void Evaluation_WrongShapesOrOptions_Throw()
    {
        Assert.Throws<ArgumentException>(() => ModelEvaluation.Binary([0.5], [1, 0]));
        Assert.Throws<ArgumentException>(() => ModelEvaluation.Binary([0.5], [1, 0], [1], null));
        Assert.Throws<ArgumentException>(() => ModelEvaluation.Classes([0.5, 0.5, 0.5], [1, 0], 2));
        Assert.Throws<ArgumentException>(() => ModelEvaluation.Classes([0.5, 0.5], [2], 2));
        Assert.Throws<ArgumentException>(() => ModelEvaluation.Classes([0.5, 0.5], [double.NaN], 2));
        Assert.Throws<ArgumentException>(() => ModelEvaluation.Classes([0.5, 0.5], [0.5], 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => ModelEvaluation.Classes([1], [0], 1));
        Assert.Throws<ArgumentException>(() => ModelEvaluation.Regression([1], [1, 2], SlowMetrics.TweedieSum(0)));
        Assert.Throws<ArgumentNullException>(() => ModelEvaluation.Regression([1], [1], null!));
        foreach (double bad in new[] { 0, 1, double.NaN })
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => ModelEvaluation.Binary([0.5], [1], new() { Threshold = bad }));
            Assert.Throws<ArgumentOutOfRangeException>(() => ModelEvaluation.Binary([0.5], [1], new() { Level = bad }));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => ModelEvaluation.Binary([0.5], [1], new() { Resamples = -1 }));
    }

    internal static readonly double[] Powers = [0, 1, 1.5, 2];

    internal static double[] Probabilities(double[] scores) => [.. scores.Select(z => 1 / (1 + Math.Exp(-z)))];

    /// <summary>Scores with ties, none of a magnitude that leaves the slow log-loss without digits; sometimes one class alone.</summary>
    internal static (double[] Scores, double[] Labels) BinaryRows(Random random, int rows)
    {
        int kinds = random.Next(1, 9);
        double share = random.Next(4) == 0 ? 0 : random.NextDouble();
        return ([.. Enumerable.Range(0, rows).Select(_ => (random.Next(kinds) - (kinds / 2)) * 0.7)], [.. Enumerable.Range(0, rows).Select(_ => random.NextDouble() < share ? 1.0 : 0)]);
    }

    /// <summary>Probabilities p[m][i] with ties, of rows that leave some classes out.</summary>
    internal static (double[][] P, double[] Labels) ClassRows(Random random, int rows, int classes)
    {
        double[][] z = [.. Enumerable.Range(0, classes).Select(_ => Enumerable.Range(0, rows).Select(_ => Math.Exp(random.Next(4))).ToArray())];
        double[][] p = [.. z.Select(of => of.Select((e, i) => e / z.Sum(m => m[i])).ToArray())];
        int used = random.Next(1, classes + 1);
        return (p, [.. Enumerable.Range(0, rows).Select(_ => (double)random.Next(used))]);
    }

    internal static (double[] Means, double[] Labels) RegressionRows(Random random, int rows, double power)
    {
        double least = power == 2 ? 1 : 0;                                       // a Gamma label is above 0
        bool equal = random.Next(5) == 0;
        return ([.. Enumerable.Range(0, rows).Select(_ => Math.Exp(random.NextDouble() * 2))], [.. Enumerable.Range(0, rows).Select(_ => equal ? 3 : least + random.Next(6))]);
    }

    internal static void Same(MetricSet expected, MetricSet actual)
    {
        foreach ((KeyValuePair<string, double?> want, KeyValuePair<string, double?> have) in expected.Named().Zip(actual.Named()))
            Near(want.Value, have.Value, want.Key);
    }

    /// <summary>A sum of n terms in another order differs by n 2^-53 of the sum of their sizes; figures such as R2 are 1 less a ratio of such sums.</summary>
    private static void Near(double? expected, double? actual, string figure)
    {
        if (expected is null || actual is null)
            Assert.True(expected == actual, $"{figure}: {actual} for {expected}");
        else
            Assert.True(Math.Abs(expected.Value - actual.Value) <= 1e-12 * Math.Max(1, Math.Abs(expected.Value)), $"{figure}: {actual} for {expected}");
    }

    private static ModelEvaluation Evaluate(string kind, JsonElement rows, EvaluationOptions options)
    {
        double[] labels = Numbers(rows.GetProperty("labels"));
        switch (kind)
        {
            case "binary":
                double[] scores = Numbers(rows.GetProperty("scores"));
                return ModelEvaluation.Binary(scores, Probabilities(scores), labels, options with { Threshold = rows.GetProperty("threshold").GetDouble() });
            case "classes":
                return ModelEvaluation.Classes(Numbers(rows.GetProperty("probabilities")), labels, rows.GetProperty("classes").GetInt32(), options);
            default:
                return ModelEvaluation.Regression(Numbers(rows.GetProperty("means")), labels, SlowMetrics.TweedieSum(rows.GetProperty("power").GetDouble()), options);
        }
    }

    private static JsonElement Load()
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Evaluation", "metric-expectations.json")));
        return document.RootElement.Clone();
    }

    private static double[] Numbers(JsonElement array) => [.. array.EnumerateArray().Select(number => number.GetDouble())];

    private static int[][] Rows(JsonElement array) => [.. array.EnumerateArray().Select(row => row.EnumerateArray().Select(count => count.GetInt32()).ToArray())];
}
