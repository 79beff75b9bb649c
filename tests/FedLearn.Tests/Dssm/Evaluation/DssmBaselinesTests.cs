using FedLearn.Dssm;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;
using MathNet.Numerics.LinearAlgebra;

namespace FedLearn.Tests.Dssm.Evaluation;

public sealed class DssmBaselinesTests
{
    [Fact]
    public void Popularity_RandomTables_CountsTrainingEvents() => ForTables((_, table, baselines, items) =>
        Assert.All(Scores(baselines.Popularity(), table, items), row => Assert.Equal(Counts(table, items), row)));

    [Fact]
    public void ItemKnn_RandomTables_EqualsTheSlowSum() => ForTables((random, table, baselines, items) =>
    {
        int neighbours = random.Next(1, 6);
        double shrink = random.Next(3) * 5;
        HashSet<int>[] users = Fans(table, items);
        double Similarity(int i, int j) => users[i].Intersect(users[j]).Count() is var common && common > 0 && i != j
            ? common / (Math.Sqrt((double)users[i].Count * users[j].Count) + shrink) : 0;
        HashSet<int>[] near = [.. Enumerable.Range(0, items).Select(i => Enumerable.Range(0, items).Where(j => Similarity(i, j) > 0)
            .OrderByDescending(j => Similarity(i, j)).ThenBy(j => j).Take(neighbours).ToHashSet())];
        double[][] actual = Scores(baselines.ItemKnn(neighbours, shrink), table, items);
        for (int e = 0; e < actual.Length; e++)
        {
            int[] history = History(table, e, null);
            bool trained = history.Length > 0 && table.Events.Any(x => x.User == table.Events[e].User && x.Role == EventRole.Train);
            double[] counts = trained ? new double[items] : Counts(table, items);
            double[] expected = [.. Enumerable.Range(0, items).Select(i => near[i].Intersect(history).Sum(j => Similarity(i, j)) + (1e-12 * counts[i]))];
            Assert.Equal(expected, actual[e], (x, y) => Math.Abs(x - y) < 1e-13);
        }
    });

    /// <summary>Steps for each pair of items would be 10^11.</summary>
    [Fact]
    public void ItemKnn_LargeCatalogueOfFewEvents_LooksAtItemsThatMeetAlone()
    {
        const int Items = 400_000;
        Interaction Met(int user, int item, long time) => new(user, item, new Moment(time, 0), EventRole.Train);
        var table = new InteractionTable(["u", "v"], [Met(0, 7, 1), Met(0, Items - 1, 2), Met(1, 7, 1), Met(1, 0, 2)]);
        double[] scores = new double[Items];
        new DssmBaselines(table, Items).ItemKnn(shrink: 0)([3], scores);
        // The second user met 7 before: of its two neighbours one item is that of the first user.
        Assert.Equal([(0, 1 / Math.Sqrt(2)), (Items - 1, 1 / Math.Sqrt(2))], scores.Select((score, item) => (item, score)).Where(s => s.score != 0));
    }

    [Fact]
    public void Baselines_Cancelled_End() => ForTables((_, _, baselines, _) =>
    {
        var stop = new CancellationToken(canceled: true);
        Assert.ThrowsAny<OperationCanceledException>(() => baselines.ItemKnn(cancellationToken: stop));
        Assert.ThrowsAny<OperationCanceledException>(() => baselines.ImplicitAls(factors: 1, cancellationToken: stop));
    });

    // Three rounds of systems with ridge 2, whose condition is below 1e3 here: float64 keeps ten digits.
    [Fact]
    public void ImplicitAls_RandomTables_EqualsDenseNormalEquations() => ForTables((random, table, baselines, items) =>
    {
        const int Rounds = 3;
        const double Alpha = 4, Lambda = 2;
        int factors = random.Next(1, 6), seed = random.Next();
        HashSet<int>[] fans = Fans(table, items);
        var met = Matrix<double>.Build.Dense(table.Users.Count, items, (u, i) => fans[i].Contains(u) ? 1 : 0);
        var y = Matrix<double>.Build.Dense(items, factors, (i, f) => DssmBaselines.StartingValue(seed, (i * factors) + f));
        for (int round = 0; round < Rounds; round++)
        {
            Matrix<double> x = Solved(met, y);
            y = Solved(met.Transpose(), x);
        }

        double[][] actual = Scores(baselines.ImplicitAls(factors, Alpha, Lambda, Rounds, seed), table, items);
        for (int e = 0; e < actual.Length; e++)
        {
            int[] history = History(table, e, null);
            var own = Matrix<double>.Build.Dense(1, items, (_, i) => history.Contains(i) ? 1 : 0);
            double[] expected = history.Length == 0 ? Counts(table, items) : (Solved(own, y) * y.Transpose()).Row(0).ToArray();
            Assert.Equal(expected, actual[e], (a, b) => Math.Abs(a - b) < 1e-10);
        }

        Matrix<double> Solved(Matrix<double> rows, Matrix<double> other) => Matrix<double>.Build.DenseOfRowVectors(rows.EnumerateRows().Select(row =>
            ((other.Transpose() * other) + (Alpha * (other.Transpose() * Matrix<double>.Build.DenseOfDiagonalVector(row) * other)) + (Lambda * Matrix<double>.Build.DenseIdentity(factors)))
            .Solve(Alpha * (other.Transpose() * row))));
    });

    [Fact]
    public void History_Liked_LeavesOutTheOtherEventsOfUntrainedUsers() => ForTables((random, table, _, items) =>
    {
        bool[] liked = [.. table.Events.Select(_ => random.Next(2) == 0)];
        var baselines = new DssmBaselines(table, items, liked);
        for (int e = 0; e < table.Events.Count; e++)
            Assert.Equal(History(table, e, liked), baselines.History(e));
    });

    [Fact]
    public void SameForAll_Model_IsItsMean() => ForTables((random, table, baselines, items) =>
    {
        double[][] scores = [.. table.Events.Select(_ => Enumerable.Range(0, items).Select(_ => random.NextDouble()).ToArray())];
        int[] some = [.. Enumerable.Range(0, table.Events.Count).Where(e => e % 3 > 0)];
        double[] expected = [.. Enumerable.Range(0, items).Select(i => some.Sum(e => scores[e][i]))];
        Assert.All(Scores(baselines.SameForAll(RandomEvents.Rows(scores), some), table, items), row => Assert.Equal(expected, row, (a, b) => Math.Abs(a - b) < 1e-12));
    });

    [Fact]
    public void Random_SameSeed_IsTheSameForAnEvent()
    {
        InteractionTable table = RandomEvents.Of(new Random(1), 5, 20, 10);
        var baselines = new DssmBaselines(table, 20);
        double[][] all = Scores(baselines.Random(5), table, 20);
        double[] one = new double[20];
        baselines.Random(5)([3], one);
        Assert.Equal(all[3], one);
        Assert.Equal(all.Length * 20, all.SelectMany(row => row).Distinct().Count());
    }

    private static void ForTables(Action<Random, InteractionTable, DssmBaselines, int> check) =>
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
        {
            var random = new Random(seed);
            int items = random.Next(2, 25);
            InteractionTable table = RandomEvents.Of(random, random.Next(1, 12), items, 12);
            check(random, table, new DssmBaselines(table, items), items);
        }));

    private static double[][] Scores(DssmScores scores, InteractionTable table, int items)
    {
        double[] rows = new double[table.Events.Count * items];
        Array.Fill(rows, double.NaN);
        scores([.. Enumerable.Range(0, table.Events.Count)], rows);
        return [.. rows.Chunk(items)];
    }

    private static double[] Counts(InteractionTable table, int items) => [.. Enumerable.Range(0, items).Select(i => (double)table.Events.Count(e => e.Item == i && e.Role == EventRole.Train))];

    private static HashSet<int>[] Fans(InteractionTable table, int items) =>
        [.. Enumerable.Range(0, items).Select(i => table.Events.Where(e => e.Item == i && e.Role == EventRole.Train).Select(e => e.User).ToHashSet())];

    private static int[] History(InteractionTable table, int index, bool[]? liked)
    {
        Interaction target = table.Events[index];
        bool trained = table.Events.Any(e => e.User == target.User && e.Role == EventRole.Train);
        return [.. table.Events.Where((e, i) => e.User == target.User && e.Moment < target.Moment && (trained ? e.Role == EventRole.Train : liked is null || liked[i]))
            .Select(e => e.Item).Distinct().Order()];
    }
}
