using FedLearn.Evaluation;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Evaluation;

public sealed class RankingMetricsTests
{
    [Fact]
    public void Of_RandomRanks_HasTheMeansAndIntervalsOfSlowResamples() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        TargetRank[] ranks = Ranks(random, random.Next(1, 40));
        var options = new EvaluationOptions { Resamples = random.Next(1, 60), Seed = seed, Level = 0.5 + (random.NextDouble() / 2.001) };
        RankingResult actual = RankingMetrics.Of(ranks, options);
        Same(SlowMeans(ranks), actual.Mean);
        Same(Means([.. ranks.GroupBy(r => r.User).Select(own => SlowMeans([.. own]))]), actual.UserMean);

        int[] users = [.. ranks.Select(r => r.User).Distinct()];
        double?[][] drawn = [.. Enumerable.Range(0, options.Resamples).Select(r => SlowMeans(Resampled(ranks, users, options.Seed, r)))];
        Same(Ends(drawn, SlowMeans(ranks), (1 - options.Level) / 2), actual.Low!);
        Same(Ends(drawn, SlowMeans(ranks), (1 + options.Level) / 2), actual.High!);
    }));

    [Fact]
    public void Difference_RandomRanks_IsThatOfTheMeansInEveryResample() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        TargetRank[] first = Ranks(random, random.Next(1, 40)), second = [.. first.Select(r => r with { Rank = random.Next(1, r.Negatives + 2) })];
        var options = new EvaluationOptions { Resamples = random.Next(1, 60), Seed = seed };
        (RankingFigures difference, RankingFigures? low, RankingFigures? high) = RankingMetrics.Difference(first, second, options);
        double?[] point = Less(SlowMeans(first), SlowMeans(second));
        Same(point, difference);
        int[] users = [.. first.Select(r => r.User).Distinct()];
        double?[][] drawn = [.. Enumerable.Range(0, options.Resamples).Select(r => Less(SlowMeans(Resampled(first, users, seed, r)), SlowMeans(Resampled(second, users, seed, r))))];
        Same(Ends(drawn, point, 0.025), low!);
        Same(Ends(drawn, point, 0.975), high!);
    }));

    [Fact]
    public void Of_NoEvents_HasNoFigure()
    {
        RankingResult result = RankingMetrics.Of([]);
        Assert.Equal((new RankingFigures(), new RankingFigures(), new RankingFigures(), new RankingFigures()), (result.Mean, result.UserMean, result.Low, result.High));
    }

    [Fact]
    public void Of_KnownRanks_GivesTheFiguresByHand()
    {
        RankingResult result = RankingMetrics.Of([new(4, 1, 9), new(4, 3, 9), new(7, 10.5, 20), new(9, 1, 0)], new EvaluationOptions { Resamples = 0 });
        Assert.Null(result.Low);
        Assert.Equal(3 / 4.0, result.Mean.Hr10);
        Assert.Equal((1 + 0.5 + 0 + 1) / 4, result.Mean.Ndcg10!.Value, 1e-15);
        Assert.Equal((1 + (1 / 3.0) + (2 / 21.0) + 1) / 4, result.Mean.Mrr!.Value, 1e-15);
        Assert.Equal((1 + (7 / 9.0) + (10.5 / 20)) / 3, result.Mean.Auc!.Value, 1e-15);
        Assert.Equal(2 / 3.0, result.UserMean.Hr10!.Value, 1e-15);
        Assert.Equal(((16 / 18.0) + (10.5 / 20)) / 2, result.UserMean.Auc!.Value, 1e-15);
        Assert.Equal(double.NaN, RankingMetrics.Auc(1.5, 0));
    }

    [Fact]
    public void Of_FigureUndefinedInManyResamples_HasNoInterval()
    {
        // An AUC needs the first user, whom three resamples of four have.
        RankingResult result = RankingMetrics.Of([new(1, 2, 9), new(2, 1, 0)], new EvaluationOptions { Resamples = 200, Seed = 1 });
        Assert.NotNull(result.Mean.Auc);
        Assert.Equal((null, null), (result.Low!.Auc, result.High!.Auc));
        Assert.NotNull(result.Low.Mrr);
    }

    [Fact]
    public void Of_WaysOfOtherEvents_AreRefused() => Assert.Throws<ArgumentException>(() => RankingMetrics.OfWays([[new(1, 1, 1)], [new(2, 1, 1)]], new EvaluationOptions()));

    private static TargetRank[] Ranks(Random random, int count)
    {
        int users = random.Next(1, 12);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(4) == 0 ? new TargetRank(random.Next(users), 1, 0) : Ranked(random.Next(1, 60)))];

        TargetRank Ranked(int negatives) => new(random.Next(users), 1 + (random.Next((2 * negatives) + 1) / 2.0), negatives);
    }

    private static TargetRank[] Resampled(TargetRank[] ranks, int[] users, long seed, int resample)
    {
        byte[] counts = new byte[users.Length];
        Bootstrap.Draw(seed, resample, counts);
        return [.. ranks.SelectMany(r => Enumerable.Repeat(r, counts[Array.IndexOf(users, r.User)]))];
    }

    private static double?[] SlowMeans(TargetRank[] ranks) =>
    [
        Mean(ranks.Select(r => r.Rank <= 10 ? 1.0 : 0)),
        Mean(ranks.Select(r => r.Rank <= 10 ? 1 / Math.Log2(1 + r.Rank) : 0)),
        Mean(ranks.Select(r => 1 / r.Rank)),
        Mean(ranks.Where(r => r.Negatives > 0).Select(r => 1 - ((r.Rank - 1) / r.Negatives))),
    ];

    private static double?[] Means(double?[][] rows) => [.. Enumerable.Range(0, 4).Select(f => Mean(rows.Where(row => row[f] is not null).Select(row => row[f]!.Value)))];

    private static double? Mean(IEnumerable<double> values) => values.Any() ? values.Average() : null;

    private static double?[] Less(double?[] a, double?[] b) => [.. a.Zip(b, (x, y) => x - y)];

    private static double?[] Ends(double?[][] drawn, double?[] point, double p) => [.. Enumerable.Range(0, 4).Select(f =>
    {
        double[] sorted = [.. drawn.Where(row => row[f] is not null).Select(row => row[f]!.Value).Order()];
        return point[f] is null || sorted.Length < 0.9 * drawn.Length ? null : (double?)Bootstrap.Quantile(sorted, p);
    })];

    // Sums of at most 40 numbers up to 1 in another order differ by less than 40 units in the last place of 40, 3e-13.
    private static void Same(double?[] expected, RankingFigures actual)
    {
        foreach ((double? e, double? a) in expected.Zip([actual.Hr10, actual.Ndcg10, actual.Mrr, actual.Auc]))
        {
            Assert.Equal(e is null, a is null);
            Assert.Equal(e ?? 0, a ?? 0, 1e-12);
        }
    }
}
