using FedLearn.Dssm;
using FedLearn.Evaluation;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Dssm.Evaluation;

public sealed class DssmEvaluatorTests
{
    [Fact]
    public void Evaluate_RandomTables_EqualsTheSlowRanking() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        int items = random.Next(1, 60), negatives = random.Next(1, 30);
        InteractionTable table = RandomEvents.Of(random, random.Next(1, 10), items, 30);
        ItemTable catalogue = RandomEvents.Items(items);
        double[][] scores = RandomEvents.Scores(random, table.Events.Count, items);
        bool[]? cold = random.Next(2) == 0 ? null : [.. Enumerable.Range(0, items).Select(_ => random.Next(2) == 0)];
        var evaluator = new DssmEvaluator(table, catalogue, negatives, cold);
        foreach (EventRole role in new[] { EventRole.Test, EventRole.Validation, EventRole.ColdUser, EventRole.ColdItem })
        {
            int[] events = [.. Enumerable.Range(0, table.Events.Count).Where(e => table.Events[e].Role == role)];
            RankingReport report = evaluator.Evaluate(role, RandomEvents.Rows(scores), new EvaluationOptions { Resamples = 3 });
            Assert.Equal(events, evaluator.EventsOf(role));
            Assert.Equal((events.Length, events.Select(e => table.Events[e].User).Distinct().Count()), (report.Events, report.Users));

            int[] Unmet(int e) => [.. Enumerable.Range(0, items).Except(table.Events.Where(x => x.User == table.Events[e].User).Select(x => x.Item))];
            TargetRank[] Ranked(Func<int, int[]> candidates) => [.. events.Select(e => SlowRank(table.Events[e], scores[e], candidates(e)))];
            int[] Drawn(int e) => [.. Unmet(e).OrderBy(i => Key(table.Users[table.Events[e].User], catalogue.Ids[i])).ThenBy(i => i).Take(negatives)];
            bool IsCold(int item) => cold?[item] ?? table.Events.Any(x => x.Item == item && x.Role == EventRole.ColdItem);
            Assert.Equal(Ranked(Drawn), report.SampledRanks);
            Assert.Equal(Ranked(Unmet), report.FullRanks);
            Assert.Equal(RankingMetrics.Of(Ranked(Drawn), new() { Resamples = 3 }), report.Sampled);
            Assert.Equal(RankingMetrics.Of(Ranked(Unmet), new() { Resamples = 3 }), report.Full);
            Assert.Equal(role == EventRole.ColdItem && events.Length > 0 ? RankingMetrics.Of(Ranked(e => [.. Unmet(e).Where(IsCold)]), new() { Resamples = 3 }) : null, report.AmongCold);
            Assert.Equal(report.Sampled.Mean.Ndcg10 ?? -1, evaluator.SampledNdcg(role, RandomEvents.Rows(scores)) ?? -1, 1e-12);
            Assert.All(events, e => Assert.Equal(Drawn(e), evaluator.NegativesOf(table.Events[e].User)));

            int[][] lists = [.. events.Select(e => Unmet(e).Append(table.Events[e].Item).Where(i => !double.IsNaN(scores[e][i]))
                .OrderByDescending(i => scores[e][i]).ThenBy(i => i).Take(10).ToArray())];
            int[] places = [.. lists.SelectMany(list => list)];
            Assert.Equal(places.Length == 0 ? null : places.Distinct().Count() / (double)items, report.Coverage10);
            Assert.Equal(places.Length == 0 ? -1 : places.Average(i => table.Events.Count(x => x.Item == i && x.Role == EventRole.Train)), report.Popularity10 ?? -1, 1e-12);
        }
    }));

    [Fact]
    public void Evaluate_ManyEvents_AsksInPiecesOfTheTablesOrder()
    {
        const int Items = 5000, Events = 1000;
        var table = new InteractionTable(["a"], [.. Enumerable.Range(0, Events).Select(e => new Interaction(0, e, new Moment(e, e), EventRole.Test))]);
        List<int> asked = [];
        int calls = 0;
        RankingReport report = new DssmEvaluator(table, RandomEvents.Items(Items)).Evaluate(EventRole.Test, (events, scores) =>
        {
            asked.AddRange(events);
            calls++;
            scores.Clear();
            for (int i = 0; i < events.Length; i++)
                scores[(i * Items) + events[i]] = 1;
        }, new() { Resamples = 0 });
        Assert.Equal(Enumerable.Range(0, Events), asked);
        Assert.Equal(20, calls);                                   // 2^18 scores, 52 rows, at a time
        Assert.Equal((1.0, 1.0), (report.Full.Mean.Mrr, report.Full.Mean.Auc));
    }

    [Fact]
    public void Evaluate_LargeCatalogue_AsksForSixteenEventsAtATime()
    {
        const int Items = 40_000, Events = 40;
        var table = new InteractionTable(["a"], [.. Enumerable.Range(0, Events).Select(e => new Interaction(0, e, new Moment(e, e), EventRole.Test))]);
        var asked = new List<int>();
        new DssmEvaluator(table, RandomEvents.Items(Items)).Evaluate(EventRole.Test, (events, scores) => asked.Add(events.Length), new() { Resamples = 0 });
        Assert.Equal([16, 16, 8], asked);
    }

    [Theory]
    [InlineData(1, 60)]
    [InlineData(2, 60)]
    [InlineData(3, 4)]
    public void SampledNdcg_OfDrawnItemsAlone_IsThatOfAllScores(int seed, int items)
    {
        var random = new Random(seed);
        InteractionTable table = RandomEvents.Of(random, 400, items, 30);
        ItemTable catalogue = RandomEvents.Items(items);
        double[][] scores = RandomEvents.Scores(random, table.Events.Count, items);
        var evaluator = new DssmEvaluator(table, catalogue, negatives: 20);
        foreach (EventRole role in new[] { EventRole.Validation, EventRole.Test })
        {
            var asked = new List<int>();
            double? some = evaluator.SampledNdcg(role, (events, ends, wanted, values) =>
            {
                asked.AddRange(events);
                int c = 0;
                for (int i = 0; i < events.Length; i++)
                {
                    Assert.InRange(ends[i] - c, 1, 21);
                    for (; c < ends[i]; c++)
                        values[c] = scores[events[i]][wanted[c]];
                }

                Assert.Equal((c, c), (wanted.Length, values.Length));
            });
            Assert.Equal(evaluator.EventsOf(role), asked);
            Assert.Equal(evaluator.SampledNdcg(role, RandomEvents.Rows(scores)), some);
        }

        Assert.Null(new DssmEvaluator(new InteractionTable(["a"], []), catalogue).SampledNdcg(EventRole.Test, (_, _, _, _) => { }));
    }

    [Fact]
    public void Named_Report_HasTheFiguresAndTheirIntervals()
    {
        InteractionTable table = RandomEvents.Of(new Random(3), 20, 50, 30);
        var evaluator = new DssmEvaluator(table, RandomEvents.Items(50));
        RankingReport report = evaluator.Evaluate(EventRole.ColdItem, RandomEvents.Rows(RandomEvents.Scores(new Random(4), table.Events.Count, 50)));
        string[] figures = [.. new[] { "Sampled", "Full", "AmongCold" }.SelectMany(kind => new[] { "hr10", "ndcg10", "mrr", "auc" }.Select(name => name + kind))];
        Assert.Equal([.. figures, "coverage10", "popularity10"], report.Named().Select(pair => pair.Key));
        Assert.Equal(figures, report.NamedIntervals().Select(pair => pair.Key));
        Assert.All(report.Named().Zip(report.NamedIntervals()), pair => Assert.InRange(pair.First.Value!.Value, pair.Second.Value.Low!.Value, pair.Second.Value.High!.Value));
        Assert.Equal(report.Full.Mean.Auc, report.Named().Single(pair => pair.Key == "aucFull").Value);
    }

    [Fact]
    public void Constructor_BadTables_AreRefused()
    {
        var table = new InteractionTable(["a"], [new Interaction(0, 2, default, EventRole.Test)]);
        Assert.Throws<ArgumentException>(() => new DssmEvaluator(table, RandomEvents.Items(2)));
        Assert.Throws<ArgumentException>(() => new DssmEvaluator(table, RandomEvents.Items(3), 99, [true]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DssmEvaluator(table, RandomEvents.Items(3), 0));
    }

    // FNV-1a-64 of "a" and "foobar": the authors' test vectors.
    [Theory]
    [InlineData("0", 0UL)]
    [InlineData("18446744073709551615", ulong.MaxValue)]
    [InlineData("", 0xCBF29CE484222325UL)]
    [InlineData("a", 0xAF63DC4C8601EC8CUL)]
    [InlineData("foobar", 0x85944171F73967E8UL)]
    public void NumberOf_Id_IsItselfOrItsHash(string id, ulong expected) => Assert.Equal(expected, EvaluationNegatives.NumberOf(id));

    [Theory]
    [InlineData("7", "07")]
    [InlineData("7", "+7")]
    [InlineData("7", "7 ")]
    [InlineData("0", "18446744073709551616")]
    public void NumberOf_NotPlainlyWritten_IsNotTheNumber(string plain, string other) => Assert.NotEqual(EvaluationNegatives.NumberOf(plain), EvaluationNegatives.NumberOf(other));

    private static TargetRank SlowRank(Interaction target, double[] scores, int[] candidates)
    {
        double score = scores[target.Item];
        int greater = candidates.Count(i => scores[i] > score), ties = candidates.Count(i => !(scores[i] > score) && !(scores[i] < score));
        return new TargetRank(target.User, 1 + greater + (ties / 2.0), candidates.Length);
    }

    private static ulong Key(string user, string item)
    {
        unchecked
        {
            ulong z = (EvaluationNegatives.NumberOf(user) * 100003) + EvaluationNegatives.NumberOf(item) + 0x9E3779B97F4A7C15;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }
}
