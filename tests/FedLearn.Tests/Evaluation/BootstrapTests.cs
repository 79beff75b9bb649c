using FedLearn.Evaluation;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Evaluation;

public sealed class BootstrapTests
{
    [Fact]
    public void Intervals_Binary_AreThoseOfSlowResamples() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        (double[] scores, double[] labels) = ModelEvaluationTests.BinaryRows(random, random.Next(1, 40));
        var options = new EvaluationOptions { Resamples = random.Next(1, 60), Seed = seed, Level = 0.5 + (random.NextDouble() / 2.001), Threshold = 0.3 };
        ModelEvaluation actual = ModelEvaluation.Binary(scores, ModelEvaluationTests.Probabilities(scores), labels, options);
        // Rows of two classes are drawn by their place in the order of falling scores.
        int[] ranked = [.. Enumerable.Range(0, labels.Length).OrderByDescending(i => scores[i])];
        (scores, labels) = (Of(scores, ranked), Of(labels, ranked));
        Same(actual, options, labels.Length, rows => SlowMetrics.Binary(Of(scores, rows), Of(labels, rows), 0.3));
    }));

    [Fact]
    public void Intervals_Classes_AreThoseOfSlowResamples() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        (double[][] p, double[] labels) = ModelEvaluationTests.ClassRows(random, random.Next(1, 40), random.Next(2, 5));
        var options = new EvaluationOptions { Resamples = random.Next(1, 60), Seed = seed };
        ModelEvaluation actual = ModelEvaluation.Classes([.. p.SelectMany(m => m)], labels, p.Length, options);
        Same(actual, options, labels.Length, rows => SlowMetrics.Classes([.. p.Select(m => Of(m, rows))], Of(labels, rows)));
    }));

    [Fact]
    public void Intervals_Regression_AreThoseOfSlowResamples() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(80)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        double power = ModelEvaluationTests.Powers[random.Next(ModelEvaluationTests.Powers.Length)];
        (double[] means, double[] labels) = ModelEvaluationTests.RegressionRows(random, random.Next(1, 40), power);
        var options = new EvaluationOptions { Resamples = random.Next(1, 60), Seed = seed };
        ModelEvaluation actual = ModelEvaluation.Regression(means, labels, SlowMetrics.TweedieSum(power), options);
        Same(actual, options, labels.Length, rows => SlowMetrics.Regression(Of(means, rows), Of(labels, rows), (mu, y) => SlowMetrics.Tweedie(power, mu, y)));
    }));

    [Fact]
    public void Intervals_ForeignDeviance_HaveNoneOfD2()
    {
        double[] means = [1, 2, 3, 4, 5], labels = [2, 1, 4, 3, 7];
        ModelEvaluation absolute = ModelEvaluation.Regression(means, labels, (mu, y) =>
        {
            double sum = 0;
            for (int i = 0; i < y.Length; i++)
                sum += Math.Abs(y[i] - mu[i]);
            return sum;
        });
        Assert.NotNull(absolute.Metrics.D2);
        Assert.Null(absolute.Intervals!.Low.D2);
        Assert.NotNull(absolute.Intervals.Low.Deviance);
    }

    [Theory]
    [InlineData(0.5)]
    [InlineData(0.3)]
    public void Weigh_EveryRowOnce_HasThePointFiguresWhereScoresStandAtTheThreshold(double threshold)
    {
        double cut = BinaryRows.Cut(threshold);
        double[] scores = [cut, cut + 1, cut, cut - 1, Math.BitIncrement(cut), Math.BitDecrement(cut)], labels = [1, 1, 0, 0, 0, 1], means = BinaryRows.Means(scores), figures = new double[Figure.Count];
        Ranking ranking = BinaryRows.Rank(scores, means, labels)!;
        Array.Fill(figures, double.NaN);
        new BinaryRows(ranking, scores, means, labels, cut).Weigh([1, 1, 1, 1, 1, 1], figures);
        MetricSet point = BinaryRows.Figures(ranking, scores, means, labels, cut);
        ModelEvaluationTests.Same(point, MetricSet.From(figures));
        // At the threshold is not above it: only two are predicted to be 1.
        Assert.Equal((1 / 3.0, 0.5), (point.Recall, point.Precision));
    }

    [Fact]
    public void Intervals_SameSeed_AreTheSame()
    {
        var random = new Random(1);
        double[] scores = [.. Enumerable.Range(0, 300).Select(_ => random.NextDouble())], labels = [.. scores.Select(z => random.NextDouble() < z ? 1.0 : 0)];
        ModelEvaluation[] runs = [.. new long[] { 4, 4, 5 }.Select(seed => ModelEvaluation.Binary(scores, labels, new() { Seed = seed }))];
        Assert.Equal(runs[0].Intervals, runs[1].Intervals);
        Assert.NotEqual(runs[0].Intervals, runs[2].Intervals);
        Assert.Equal((1000, 0.95, 4), (runs[0].Resamples, runs[0].Level, runs[0].Seed));
        Assert.All(runs[0].Metrics.Named().Zip(runs[0].Intervals!.Low.Named(), runs[0].Intervals!.High.Named()).Where(f => f.First.Value is not null),
            f => Assert.True(f.Second.Value < f.First.Value && (f.First.Value < f.Third.Value || f.First.Key == "ks"), f.First.Key));
    }

    [Fact]
    public void Intervals_Binary_DoNotDependOnTheOrderOfRows()
    {
        var random = new Random(2);
        double[] scores = [.. Enumerable.Range(0, 300).Select(_ => random.NextDouble())], labels = [.. scores.Select(z => random.NextDouble() < z ? 1.0 : 0)];
        int[] order = [.. Enumerable.Range(0, 300)];
        random.Shuffle(order);
        ModelEvaluation first = ModelEvaluation.Binary(scores, labels, new()), second = ModelEvaluation.Binary(Of(scores, order), Of(labels, order), new());
        Assert.Equal(first.Intervals, second.Intervals);
    }

    [Fact]
    public void Draw_KnownSeed_DoesNotChange()
    {
        byte[] counts = new byte[12];
        Bootstrap.Draw(7, 3, counts);
        Assert.Equal(SlowDraw(7, 3, 12), counts);
        Bootstrap.Draw(-1, 0, counts);
        Assert.Equal(SlowDraw(-1, 0, 12), counts);
    }

    // Pearson's statistic with 49 degrees of freedom exceeds 112 with probability below 1e-6. A row is left out with probability (49/50)^50, and the
    // number left out of 50 has a deviation below 2.2, so their mean over 2,000 resamples one below 0.05: five of these, 6e-7.
    [Fact]
    public void Draw_ManyResamples_AreUniform()
    {
        const int Rows = 50, Resamples = 2000;
        long[] total = new long[Rows];
        double left = 0;
        byte[] counts = new byte[Rows];
        for (int r = 0; r < Resamples; r++)
        {
            Bootstrap.Draw(11, r, counts);
            Assert.Equal(Rows, counts.Sum(c => c));
            left += counts.Count(c => c == 0);
            for (int i = 0; i < Rows; i++)
                total[i] += counts[i];
        }

        Assert.InRange(total.Sum(t => Math.Pow(t - Resamples, 2) / Resamples), 10, 112);
        Assert.Equal(Rows * Math.Pow(49 / 50.0, 50), left / Resamples, 0.25);
    }

    // Seed 3, 400 data sets of 200 rows. Were the coverage of a nominal 95 % interval between 93.5 and 96 %, the misses of one figure would be above 48
    // or below 4 with probability below 1e-4 (binomial); for four figures the false-alarm rate is below 4e-4.
    [Fact]
    public void Intervals_SimulatedRows_CoverTheTruth()
    {
        const int Sets = 400, Rows = 200;
        const double Shift = 1;                                                  // scores N(0, 1) and N(1, 1): the AUC is Phi(1/sqrt 2)
        double auc = Phi(Shift / Math.Sqrt(2)), accuracy = Phi(Shift / 2);       // at a threshold of Shift/2 both classes are right as often
        var random = new Random(3);
        int[] misses = new int[4];
        for (int set = 0; set < Sets; set++)
        {
            double[] labels = [.. Enumerable.Range(0, Rows).Select(_ => (double)random.Next(2))];
            double[] scores = [.. labels.Select(y => (Shift * y) + Normal(random) - (Shift / 2))];
            MetricIntervals binary = ModelEvaluation.Binary(scores, ModelEvaluationTests.Probabilities(scores), labels, new() { Resamples = 400, Seed = set }).Intervals!;
            misses[0] += binary.Low.Auc <= auc && auc <= binary.High.Auc ? 0 : 1;
            misses[1] += binary.Low.Accuracy <= accuracy && accuracy <= binary.High.Accuracy ? 0 : 1;

            double[] noise = [.. labels.Select(_ => Normal(random))];
            MetricIntervals regression = ModelEvaluation.Regression(labels, [.. labels.Zip(noise, (y, e) => y + e)], SlowMetrics.TweedieSum(0), new() { Resamples = 400, Seed = set }).Intervals!;
            misses[2] += regression.Low.Rmse <= 1 && 1 <= regression.High.Rmse ? 0 : 1;
            double mae = Math.Sqrt(2 / Math.PI);
            misses[3] += regression.Low.Mae <= mae && mae <= regression.High.Mae ? 0 : 1;
        }

        Assert.All(misses, missed => Assert.InRange(missed, 4, 48));
    }

    // Seed 5, 300 data sets of 200 rows. The percentile interval covers .80 of N(0, 1) against N(1, 1) and .09 of scores that say nothing; this one .90 and .88. Were its coverage
    // .82, 242 of 300 or fewer would be covered with probability .3; at .88 with probability 2e-4.
    [Theory]
    [InlineData(1)]
    [InlineData(0)]
    public void Intervals_Ks_CoverTheTruthNineTimesInTen(double shift)
    {
        const int Sets = 300, Rows = 200;
        double ks = (2 * Phi(shift / 2)) - 1;                                    // the densities cross at half of the shift
        var random = new Random(5);
        int covered = 0;
        for (int set = 0; set < Sets; set++)
        {
            double[] labels = [.. Enumerable.Range(0, Rows).Select(_ => random.NextDouble() < .3 ? 1.0 : 0)], scores = [.. labels.Select(y => (shift * y) + Normal(random))];
            MetricIntervals intervals = ModelEvaluation.Binary(scores, ModelEvaluationTests.Probabilities(scores), labels, new() { Resamples = 400, Seed = set }).Intervals!;
            covered += intervals.Low.Ks <= ks && ks <= intervals.High.Ks ? 1 : 0;
        }

        Assert.InRange(covered, 243, Sets);
    }

    [Theory]
    [InlineData(1000, 100_000, 1000)]
    [InlineData(1000, 400_000, 500)]
    [InlineData(1000, 50_000_000, 200)]
    [InlineData(50, 50_000_000, 50)]
    [InlineData(1000, 0, 1000)]
    [InlineData(int.MaxValue, 1, 14_285_714)]
    [InlineData(0, 10, 0)]
    public void Resamples_ManyRows_AreBounded(int asked, long rows, int expected) => Assert.Equal(expected, Bootstrap.Resamples(asked, rows));

    [Fact]
    public void Quantile_SortedNumbers_IsLinearBetween()
    {
        Assert.Equal(2.5, Bootstrap.Quantile([1, 2, 3, 4], 0.5));
        Assert.Equal(1.3, Bootstrap.Quantile([1, 2, 3, 4], 0.1), 1e-15);
        Assert.Equal((1, 4, 9), (Bootstrap.Quantile([1, 4], 0), Bootstrap.Quantile([1, 4], 1), Bootstrap.Quantile([9], 0.3)));
    }

    private static void Same(ModelEvaluation actual, EvaluationOptions options, int rows, Func<int[], MetricSet> slow)
    {
        byte[] counts = new byte[rows];
        List<IReadOnlyList<KeyValuePair<string, double?>>> resamples = [];
        for (int r = 0; r < options.Resamples; r++)
        {
            Bootstrap.Draw(options.Seed, r, counts);
            resamples.Add(slow([.. Enumerable.Range(0, rows).SelectMany(row => Enumerable.Repeat(row, counts[row]))]).Named());
        }

        var point = actual.Metrics.Named();
        MetricSet low = Ends((1 - options.Level) / 2), high = Ends((1 + options.Level) / 2);
        double? ks = actual.Metrics.Ks;
        ModelEvaluationTests.Same(low with { Ks = Basic(high.Ks) }, actual.Intervals!.Low);
        ModelEvaluationTests.Same(high with { Ks = Basic(low.Ks) }, actual.Intervals.High);

        double? Basic(double? end) => end is null ? null : Math.Min(1, Math.Max(0, (2 * ks!.Value) - end.Value));

        MetricSet Ends(double p) => MetricSet.From([.. Enumerable.Range(0, Figure.Count).Select(figure =>
        {
            double[] sorted = [.. resamples.Select(r => r[figure].Value).OfType<double>().Order()];
            return point[figure].Value is null || sorted.Length < 0.9 * options.Resamples ? double.NaN : Percentile(sorted, p);
        })]);
    }

    private static double Percentile(double[] sorted, double p)
    {
        double place = p * (sorted.Length - 1);
        (int below, int above) = ((int)Math.Floor(place), (int)Math.Ceiling(place));
        return (sorted[below] * (1 - (place - below))) + (sorted[above] * (place - below));
    }

    /// <summary>SplitMix64 with 128-bit arithmetic throughout.</summary>
    private static byte[] SlowDraw(long seed, int resample, int rows)
    {
        UInt128 word = (UInt128)1 << 64, gamma = 0x9E3779B97F4A7C15;
        UInt128 state = Mix((Mix((UInt128)(ulong)(seed & long.MaxValue) + (seed < 0 ? (UInt128)1 << 63 : 0)) + ((UInt128)resample * gamma)) % word);
        byte[] counts = new byte[rows];
        for (int i = 0; i < rows; i++)
        {
            state = (state + gamma) % word;
            counts[(int)(Mix(state) * (UInt128)rows / word)]++;
        }

        return counts;

        UInt128 Mix(UInt128 z)
        {
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % word;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB % word;
            return z ^ (z >> 31);
        }
    }

    private static double[] Of(double[] values, int[] rows) => [.. rows.Select(row => values[row])];

    private static double Normal(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());

    /// <summary>The normal distribution function by Simpson's rule on 0 to x, for 0 to 2.</summary>
    private static double Phi(double x) => 0.5 + (Enumerable.Range(0, 1001).Sum(i => (i is 0 or 1000 ? 1 : i % 2 == 1 ? 4 : 2) * Math.Exp(-Math.Pow(x * i / 1000, 2) / 2)) * x / 3000 / Math.Sqrt(2 * Math.PI));
}
