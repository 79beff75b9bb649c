using FedLearn.Dssm;
using FedLearn.Tests.Data;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Dssm.Data;

public sealed class RatingTablesTests
{
    private static readonly string[] Genres = ["x", "y", "z"];

    private static readonly RatingItem[] Items =
        [.. Enumerable.Range(0, 12).Select(i => new RatingItem(i + 1, $"Title {i} ({1930 + 7 * i})", $"Title {i}", i == 5 ? null : 1930 + (7 * i), [.. new[] { i % 3, (i * i) % 3 }.Distinct().Order()]))];

    private static RatingSet Set(params (int User, IEnumerable<Rating> Ratings)[] users) => new("small", Genres, ["o"],
        [.. users.Select(u => new RatingUser(u.User, u.User % 2 == 0 ? null : new RatingProfile(30, 'F', 0, "T8H")))], Items, users.SelectMany((u, place) => u.Ratings.Select(r => r with { User = place })));

    private static List<Rating> Draw(Random random, int count, long from = 0) =>
        [.. Enumerable.Range(0, count).Select(_ => new Rating(0, random.Next(Items.Length), random.Next(1, 6), from + random.Next(4) * (random.Next(2) == 0 ? 1 : 4000)))
            .OrderBy(r => r.Time).ThenBy(r => r.Item)];

    /// <summary>A row of a view as numbers, bags being written out.</summary>
    private static double[] Row(ViewTable view, int row)
    {
        TowerRows rows = view.Rows;
        int width = rows.Inputs.DenseWidth;
        return [.. rows.Dense.AsSpan(row * width, width), .. rows.Bags.SelectMany(bag => bag.Ids[bag.Offsets[row]..bag.Offsets[row + 1]]).Select(id => (double)id)];
    }

    private static double[] RowAt(Func<RatingTables, ViewTable> view, RatingSet set, string user, Moment moment)
    {
        ViewTable table = view(new RatingTables(set));
        int row = table.RowOf(table.Users.ToList().IndexOf(user), moment);
        Assert.Equal(moment, table.Moments![row]);
        return Row(table, row);
    }

    private static readonly Func<RatingTables, ViewTable>[] Views = [t => t.History(), t => t.Taste(), t => t.Behaviour()];

    // A row at a moment says nothing of events at or after it, of this user or of others.
    [Fact]
    public void Views_EventsAtOrAfterAMoment_DoNotChangeItsRow() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        List<Rating> mine = Draw(random, random.Next(1, 40)), changed = [];
        int at = random.Next(mine.Count);
        mine[at] = mine[at] with { Value = 4 + random.Next(2) };
        var moment = new Moment(mine[at].Time, at);
        changed.AddRange(mine.Take(at));
        changed.Add(mine[at] with { Item = random.Next(mine[at].Item, Items.Length), Value = 4 + random.Next(2) });       // its own item and value are no part of its row
        changed.AddRange(Draw(random, random.Next(20), mine[at].Time + 1));
        RatingSet one = Set((1, mine), (2, Draw(random, 10))), other = Set((1, changed), (2, Draw(random, 5)), (3, Draw(random, 5)));
        return Views.All(view => RowAt(view, one, "1", moment).SequenceEqual(RowAt(view, other, "1", moment)));
    }));

    [Fact]
    public void Views_RandomRatings_AreSlowFeatures() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        List<Rating> mine = Draw(random, random.Next(1, 90));
        RatingSet set = Set((1, mine));
        ViewTable[] views = [.. Views.Select(view => view(new RatingTables(set)))];
        int row = 0;
        for (int i = 0; i <= mine.Count; i++)
        {
            if (i < mine.Count && mine[i].Value < 4)
                continue;
            Rating[] before = [.. mine.Take(i)];
            double[][] expected = [SlowHistory(before), SlowTaste(before), SlowBehaviour(before)];
            for (int v = 0; v < views.Length; v++)
            {
                Assert.Equal(new Moment(mine[Math.Min(i, mine.Count - 1)].Time, i), views[v].Moments![row]);
                double[] actual = Row(views[v], row);
                Assert.Equal(expected[v].Length, actual.Length);
                Assert.All(expected[v].Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 6e-7));          // files hold 6 decimals
                if (v > 0)
                    Assert.All(actual, value => Assert.InRange(value, 0, 1));
            }

            row++;
        }

        return row == views[0].Rows.Rows;
    }));

    private static double[] SlowHistory(Rating[] before) => [.. before.Where(r => r.Value >= 4).Select(r => (double)r.Item).TakeLast(50)];

    private static double[] SlowTaste(Rating[] before)
    {
        Rating[] liked = [.. before.Where(r => r.Value >= 4)], other = [.. before.Where(r => r.Value < 4)];
        double[] edges = [double.NegativeInfinity, 1940, 1950, 1960, 1970, 1980, 1990, 1993, 1994, 1995, 1996, 1997, double.PositiveInfinity];
        static double Share(Rating[] of, Func<RatingItem, bool> has) => of.Length == 0 ? 0 : (double)of.Count(r => has(Items[r.Item])) / of.Length;
        return
        [
            .. Enumerable.Range(0, 3).Select(g => Share(liked, item => item.Genres.Contains(g))), .. Enumerable.Range(0, 3).Select(g => Share(other, item => item.Genres.Contains(g))),
            .. Enumerable.Range(0, 12).Select(b => Share(liked, item => item.Year >= edges[b] && item.Year < edges[b + 1])),
            Math.Log(1 + before.Length) / Math.Log(1001), before.Length == 0 ? 0 : before.Average(r => r.Value) / 5, before.Length == 0 ? 0 : (double)liked.Length / before.Length,
        ];
    }

    private static double[] SlowBehaviour(Rating[] before)
    {
        DateTimeOffset[] times = [.. before.Select(r => DateTimeOffset.FromUnixTimeSeconds(r.Time))];
        double[] pauses = [.. before.Zip(before.Skip(1), (a, b) => (double)(b.Time - a.Time))], hours = [.. Enumerable.Range(0, 24).Select(h => times.Length == 0 ? 0 : (double)times.Count(t => t.Hour == h) / times.Length)];
        double[] within = [.. pauses.Where(p => p <= 3600)], between = [.. pauses.Where(p => p > 3600)];
        double sessions = before.Length == 0 ? 0 : 1 + between.Length;
        static double Log(double value, double most) => Math.Min(1, Math.Log(1 + value) / Math.Log(1 + most));
        return
        [
            .. hours, .. Enumerable.Range(0, 7).Select(d => times.Length == 0 ? 0 : (double)times.Count(t => (int)t.DayOfWeek == d) / times.Length),
            Log(sessions, 1000), Log(before.Length == 0 ? 0 : (before[^1].Time - before[0].Time) / 86400.0, 365), Log(sessions == 0 ? 0 : before.Length / sessions, 1000),
            Log(within.Length == 0 ? 0 : within.Average(), 3600), Log(between.Length == 0 ? 0 : between.Max() / 86400, 365),
            hours.Sum(h => h == 0 ? 0 : -h * Math.Log(h) / Math.Log(24)),
        ];
    }

    [Fact]
    public void Interactions_TiedTimes_AreInOrderOfItems()
    {
        RatingSet set = Set((1, [new(0, 7, 4, 10), new(0, 2, 5, 10), new(0, 9, 1, 10), new(0, 4, 4, 9)]));
        Assert.Equal([(4, 9L, 0), (2, 10L, 1), (7, 10L, 2), (9, 10L, 3)], new RatingTables(set).Interactions().Events.Select(e => (e.Item, e.Moment.Time, e.Moment.Sequence)));
        Assert.Equal([EventRole.Train, EventRole.Validation, EventRole.Test, EventRole.Seen], new RatingTables(set).Interactions().Events.Select(e => e.Role));
    }

    [Fact]
    public void Interactions_TwoPositives_AreBothTrained() => Assert.Equal([EventRole.Train, EventRole.Train],
        new RatingTables(Set((1, [new(0, 1, 4, 1), new(0, 2, 5, 2)]))).Interactions().Events.Select(e => e.Role));

    [Fact]
    public void Interactions_ColdUser_HasNoTrainingEventAndAtMostTen()
    {
        Rating[] ratings = [.. Enumerable.Range(0, 12).Select(i => new Rating(0, i, 5, i))];
        EventRole[] roles = [.. new RatingTables(Set((2, ratings), (3, ratings))).Interactions(RatingSplit.ColdUsers).Events.Select(e => e.Role)];
        Assert.Equal([.. Enumerable.Repeat(EventRole.Seen, 5), .. Enumerable.Repeat(EventRole.ColdUser, 7)], roles[..12]);
        Assert.Equal([.. Enumerable.Repeat(EventRole.Train, 10), EventRole.Validation, EventRole.Test], roles[12..]);
    }

    [Fact]
    public void Interactions_ColdItems_AreNeverTrainedOn()
    {
        EventRole[] roles = [.. new RatingTables(Set((1, Enumerable.Range(0, 12).Select(i => new Rating(0, i, i == 0 ? 3 : 5, i))))).Interactions(RatingSplit.ColdItems).Events.Select(e => e.Role)];
        Assert.Equal([EventRole.Seen, EventRole.Train, EventRole.ColdItem, .. Enumerable.Repeat(EventRole.Train, 7), EventRole.Validation, EventRole.Test], roles);
    }

    [Fact]
    public void Interactions_ByTime_TrainsOnThePastAlone()
    {
        RatingSet set = SyntheticTastes.Generate();
        IReadOnlyList<Interaction> events = new RatingTables(set).Interactions(RatingSplit.Time).Events;
        ILookup<EventRole, Interaction> roles = events.ToLookup(e => e.Role);
        Assert.True(roles[EventRole.Train].Max(e => e.Moment.Time) < roles[EventRole.Validation].Min(e => e.Moment.Time));
        Assert.True(roles[EventRole.Validation].Max(e => e.Moment.Time) < roles[EventRole.Test].Min(e => e.Moment.Time));
        HashSet<int> users = [.. roles[EventRole.Train].Select(e => e.User)], items = [.. roles[EventRole.Train].Select(e => e.Item)];
        Assert.All((EventRole[])[EventRole.Validation, EventRole.Test, EventRole.ColdUser], role => Assert.NotEmpty(roles[role]));
        Assert.All(roles[EventRole.ColdUser], e => Assert.DoesNotContain(e.User, users));
        Assert.All(roles[EventRole.ColdItem], e => Assert.DoesNotContain(e.Item, items));
        Assert.All(roles[EventRole.Test].Concat(roles[EventRole.Validation]), e => Assert.True(users.Contains(e.User) && items.Contains(e.Item)));
        int positives = set.Ratings.Count(r => r.IsPositive);
        Assert.InRange(roles[EventRole.Train].Count(), 0.78 * positives, 0.8 * positives + 1);
    }

    [Fact]
    public void Profile_UserWithoutOne_IsAbsent()
    {
        RatingSet set = Set((1, [new(0, 0, 5, 0)]), (2, [new(0, 0, 5, 0)]));
        ViewTable profile = new RatingTables(set).Profile();
        Assert.Equal(["1"], profile.Users);
        Assert.Equal(4, profile.Rows.Dense.Sum());                                                       // age, gender, occupation, and a zip code that begins with a letter
        Assert.Equal(1, profile.Rows.Dense[^1]);
        Assert.Equal(["1", "2"], new RatingTables(set).Interactions().Users);
    }

    [Fact]
    public void Views_FirstPositive_IsAnEmptyRow()
    {
        var tables = new RatingTables(Set((1, [new(0, 0, 5, 0)])));
        Assert.All(Views, view => Assert.All(Row(view(tables), 0), value => Assert.Equal(0, value)));
        Assert.Equal([0, 0, 1], tables.History().Rows.Bags[0].Offsets);
    }

    [Theory]
    [InlineData(RatingSplit.Last)]
    [InlineData(RatingSplit.Time)]
    public void Write_ReadAgain_GivesTheSameTables(RatingSplit split)
    {
        using var folder = new TempFolder();
        RatingSet set = SyntheticTastes.Generate(new SyntheticTastesOptions { Users = 40, Items = 60, RatingsPerUser = 20, Seed = 3 });
        AssertRoundTrip(set, folder, split);
    }

    internal static void AssertRoundTrip(RatingSet set, TempFolder folder, RatingSplit split)
    {
        var names = new List<string>();
        RatingFiles.Write(set, folder["out"], split, (name, _) => names.Add(name), TestContext.Current.CancellationToken);
        var tables = new RatingTables(set);
        ItemTable items = DssmFiles.ReadItems(folder["out/streaming/items.csv"], DssmSchema.Load(folder["out/streaming/items.schema.json"]));
        Assert.Equal(tables.Items().Ids, items.Ids);
        Assert.Equal(tables.Items().Titles!, items.Titles!);
        AssertSame(tables.Items().Content, items.Content);
        foreach ((string name, RatingSplit of) in (ReadOnlySpan<(string, RatingSplit)>)[("", split), (".cold-users", RatingSplit.ColdUsers), (".cold-items", RatingSplit.ColdItems)])
        {
            InteractionTable events = DssmFiles.ReadInteractions(folder[$"out/streaming/interactions{name}.csv"], items), expected = tables.Interactions(of);
            Assert.Equal(expected.Users, events.Users);
            Assert.Equal(expected.Events, events.Events);
        }

        foreach ((string name, ViewTable expected, DssmSchema schema) in (ReadOnlySpan<(string, ViewTable, DssmSchema)>)
            [("streaming/history", tables.History(), tables.HistorySchema), ("profile/users", tables.Profile(), tables.ProfileSchema), ("taste/users", tables.Taste(), tables.TasteSchema), ("behaviour/users", tables.Behaviour(), tables.BehaviourSchema)])
        {
            var read = DssmSchema.Load(folder[$"out/{name}.schema.json"]);
            Assert.Equal(schema.Fingerprint().ToArray(), read.Fingerprint().ToArray());
            ViewTable view = DssmFiles.ReadView(folder[$"out/{name}.csv"], read);
            Assert.Equal(expected.Users, view.Users);
            Assert.Equal(expected.RowUser, view.RowUser);
            Assert.Equal(expected.Moments, view.Moments);
            AssertSame(expected.Rows, view.Rows);
        }

        Assert.Equal(16, names.Count);
        Assert.Equal(names.Order(StringComparer.Ordinal), Directory.GetFiles(folder["out"], "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(folder["out"], path)).Order(StringComparer.Ordinal));
    }

    private static void AssertSame(TowerRows expected, TowerRows actual)
    {
        Assert.Equal(expected.Inputs, actual.Inputs);
        Assert.Equal(expected.Dense, actual.Dense);
        Assert.All(expected.Bags.Zip(actual.Bags), pair =>
        {
            Assert.Equal(pair.First.Offsets, pair.Second.Offsets);
            Assert.Equal(pair.First.Ids, pair.Second.Ids);
            Assert.Equal(pair.First.Weights, pair.Second.Weights);
        });
    }
}
