using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Tests.Data;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Dssm.Data;

public sealed class InteractionLogTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private string Log(string text) => _folder.Write("log.csv", text);

    // Ratings of one second have another order in the tables of ratings, which go by the items' numbers.
    private static RatingSet WithoutTies(RatingSet set) => new(set.Name, set.Genres, set.Occupations, set.Users, set.Items, set.Ratings.DistinctBy(rating => (rating.User, rating.Time)));

    private static InteractionLog Of(RatingSet set) => new([.. set.Users.Select(user => $"{user.Number}")], [.. set.Items.Select(item => $"{item.Number:D6}")],
        set.Ratings.Reverse().Select(rating => new LoggedInteraction(rating.User, rating.Item, rating.Time, rating.IsPositive)));

    // The same events by the tables of ratings, whose roles and histories have tests of their own.
    [Theory]
    [InlineData(RatingSplit.Last)]
    [InlineData(RatingSplit.Time)]
    public void Interactions_EventsOfRatings_HaveTheRolesOfThem(RatingSplit split)
    {
        RatingSet set = WithoutTies(SyntheticTastes.Generate(new SyntheticTastesOptions { Users = 200, Seed = 4 }));
        InteractionTable expected = new RatingTables(set).Interactions(split), actual = Of(set).Interactions(split);
        Assert.Equal(expected.Users, actual.Users);
        Assert.Equal(expected.Events, actual.Events);
    }

    [Fact]
    public void History_EventsOfRatings_IsTheHistoryOfThem()
    {
        RatingSet set = WithoutTies(SyntheticTastes.Generate(new SyntheticTastesOptions { Users = 50, RatingsPerUser = 150, Seed = 5 }));
        ViewTable expected = new RatingTables(set).History(), actual = Of(set).History();
        Assert.Equal(expected.Users, actual.Users);
        Assert.Equal(expected.RowUser, actual.RowUser);
        Assert.Equal(expected.Moments, actual.Moments);
        Assert.Equal(expected.Rows.Bags[0].Offsets, actual.Rows.Bags[0].Offsets);
        Assert.Equal(expected.Rows.Bags[0].Ids, actual.Rows.Bags[0].Ids);
        Assert.Contains(InteractionLog.HistoryLength, Enumerable.Range(0, actual.Rows.Rows).Select(row => actual.Rows.Bags[0].Offsets[row + 1] - actual.Rows.Bags[0].Offsets[row]));
    }

    // A log of dates: in the order of the items the last event would be the last item, and a history would tell where the next one is not.
    [Fact]
    public void Interactions_EventsOfOneSecond_HaveAnOrderThatTellsNoItem()
    {
        string[] users = [.. Enumerable.Range(0, 2000).Select(i => $"u{i}")], items = [.. Enumerable.Range(0, 10).Select(i => $"i{i}")];
        LoggedInteraction[] events = [.. Enumerable.Range(0, 20_000).Select(i => new LoggedInteraction(i / 10, i % 10, 86_400, true))];
        InteractionTable table = new InteractionLog(users, items, events).Interactions();
        int[] last = new int[items.Length];
        foreach (Interaction e in table.Events)
            last[e.Item] += e.Role == EventRole.Test ? 1 : 0;
        Assert.Equal(users.Length, last.Sum());
        // A tenth of 2,000 of uniform hashes: five deviations each way.
        Assert.All(last, count => Assert.InRange(count, 133, 267));
        Assert.Equal(table.Events, new InteractionLog(users, items, events.Reverse()).Interactions().Events);
    }

    // A log with milliseconds: the last item of a second is the last, and not any of them.
    [Fact]
    public void ReadLog_FractionsOfASecond_OrderItsEvents()
    {
        string[] times = ["2026-03-01T18:30:00.1Z", "2026-03-01T18:30:00.102Z", "2026-03-01 18:30:00.103", "20260301T183000.9999999Z", "2026-03-01T18:30:01Z"];
        for (int turn = 0; turn < 20; turn++)
        {
            string[] items = [.. Enumerable.Range(0, times.Length).Select(i => $"{(i * 7 + turn * 3) % 20}")];
            InteractionLog log = DssmFiles.ReadLog(Log("user,item,time\n" + string.Concat(items.Select((item, i) => $"u{turn},{item},{times[i]}\n").Reverse())));
            Assert.Equal(items, log.Interactions().Events.Select(e => log.Items[e.Item]));
            Assert.Equal([0, 0, 0, 0, 1], log.Interactions().Events.Select(e => e.Moment.Time - 1772389800));
        }

        // Of an item that comes twice the first counts.
        InteractionLog twice = DssmFiles.ReadLog(Log("user,item,time\na,x,2026-03-01T18:30:00.9Z\na,y,2026-03-01T18:30:00.5Z\na,x,2026-03-01T18:30:00.1Z\n"));
        Assert.Equal(["x", "y"], twice.Interactions().Events.Select(e => twice.Items[e.Item]));
    }

    // What is written names items by number: of the same events in another order the numbers are the same.
    [Fact]
    public void Write_LogInAnotherOrder_GivesItemsTheSameNumbers()
    {
        string[] rows = ["a,x,3", "a,m,3", "a,b,1", "c,z,2", "c,b,9"];
        foreach ((string name, IEnumerable<string> order) in ((string, IEnumerable<string>)[])[("one", rows), ("two", rows.Reverse())])
            InteractionFiles.Write(DssmFiles.ReadLog(Log("user,item,time\n" + string.Join('\n', order) + "\n")), "shop", _folder[name], cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal("item,place\nb,0\nm,1\nx,2\nz,3\n", File.ReadAllText(_folder["one/service/items.csv"]));
        foreach (string file in new[] { "items.csv", "history.csv", "interactions.csv" })
            Assert.Equal(File.ReadLines(_folder["one/service/" + file]).Order(StringComparer.Ordinal), File.ReadLines(_folder["two/service/" + file]).Order(StringComparer.Ordinal));

        // A table of items of one's own numbers nothing either.
        ViewTable first = new InteractionLog(["a"], ["x", "b"], [new(0, 0, 1, true), new(0, 1, 2, true)]).History(), second = new InteractionLog(["a"], ["b", "x"], [new(0, 1, 1, true), new(0, 0, 2, true)]).History();
        Assert.Equal([1, 1, 0], first.Rows.Bags[0].Ids);
        Assert.Equal(first.Rows.Bags[0].Ids, second.Rows.Bags[0].Ids);
    }

    [Fact]
    public void Create_RepeatedEvents_CountTheFirstPositiveElseTheFirst() => Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        LoggedInteraction[] events = [.. Enumerable.Range(0, random.Next(1, 60)).Select(_ => new LoggedInteraction(random.Next(3), random.Next(4), random.Next(20), random.Next(3) == 0))];
        var log = new InteractionLog(["a", "b", "c"], ["1", "2", "3", "4"], events);
        var counted = log.Interactions().Events.ToDictionary(e => (e.User, e.Item));
        foreach (IGrouping<(int, int), LoggedInteraction> pair in events.GroupBy(e => (e.User, e.Item)))
        {
            long[] positives = [.. pair.Where(e => e.IsPositive).Select(e => e.Time)];
            Interaction kept = counted[pair.Key];
            Assert.Equal(positives.Length > 0 ? positives.Min() : pair.Min(e => e.Time), kept.Moment.Time);
            Assert.Equal(positives.Length == 0, kept.Role == EventRole.Seen);
            Assert.True(counted.Remove(pair.Key));
        }

        Assert.Empty(counted);
        Assert.Equal(events.Length, log.Count + log.Repeats);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)));

    [Fact]
    public void Interactions_ColdSplits_GoByTheIdsAlone()
    {
        string[] users = [.. Enumerable.Range(0, 500).Select(i => $"user {i}")], items = [.. Enumerable.Range(0, 200).Select(i => $"item {i}")];
        LoggedInteraction[] events = [.. Enumerable.Range(0, 500).SelectMany(user => Enumerable.Range(0, 10).Select(i => new LoggedInteraction(user, (user * 7 + i * 13) % 200, i, true)))];
        HashSet<string> Cold(RatingSplit split, EventRole role, Func<InteractionTable, Interaction, string> id, params ReadOnlySpan<LoggedInteraction> some)
        {
            InteractionTable table = new InteractionLog(users, items, some.ToArray()).Interactions(split);
            HashSet<string> cold = [.. table.Events.Where(e => e.Role == role).Select(e => id(table, e))], trained = [.. table.Events.Where(e => e.Role == EventRole.Train).Select(e => id(table, e))];
            Assert.DoesNotContain(cold, trained.Contains);
            return cold;
        }

        HashSet<string> coldUsers = Cold(RatingSplit.ColdUsers, EventRole.ColdUser, (table, e) => table.Users[e.User], events), coldItems = Cold(RatingSplit.ColdItems, EventRole.ColdItem, (_, e) => items[e.Item], events);
        // A fifth of 500 and a tenth of 200 of uniform hashes: five deviations each way, 45 and 21.
        Assert.InRange(coldUsers.Count, 55, 145);
        Assert.InRange(coldItems.Count, 1, 41);
        // Other events of the same users change nothing of it.
        Assert.Subset(coldUsers, Cold(RatingSplit.ColdUsers, EventRole.ColdUser, (table, e) => table.Users[e.User], events.AsSpan(0, 2500)));
    }

    [Theory]
    [InlineData("20240205T230131Z", 1707174091)]
    [InlineData("20240205T2301Z", 1707174060)]
    [InlineData("20240205T230131", 1707174091)]
    [InlineData("20241305", 20241305)]                                                   // no date
    [InlineData("1707174091", 1707174091)]
    public void ReadLog_Times_BasicIso8601AndSeconds(string time, long seconds) =>
        Assert.Equal(seconds, Assert.Single(DssmFiles.ReadLog(Log($"user,item,time\na,b,{time}\n")).Interactions().Events).Moment.Time);

    [Fact]
    public void ReadLog_TimesAndRatings_AreReadAsTheyAreWritten()
    {
        string path = Log("who,what,when,stars\nann,\"b, c\",2026-03-01,4\nann,d,2026-03-01T18:30:00+02:00,3.9\n bob ,d,1772366400,5\nann,e,2026-03-01 18:30,4\nann,f,2026-03-01T18:30:00.999Z,1\n");
        InteractionLog log = DssmFiles.ReadLog(path, new InteractionColumns { User = "who", Item = "what", Time = "when", Rating = "stars" });
        Assert.Equal(["ann", "bob"], log.Users);
        Assert.Equal(["b, c", "d", "e", "f"], log.Items);
        Assert.Equal((5, 3, 0), (log.Count, log.Positives, log.Repeats));
        Assert.Equal([(0, 0, 1772323200L, EventRole.Train), (0, 1, 1772382600L, EventRole.Seen), (0, 2, 1772389800L, EventRole.Train), (0, 3, 1772389800L, EventRole.Seen), (1, 1, 1772366400L, EventRole.Train)],
            log.Interactions().Events.Select(e => (e.User, e.Item, e.Moment.Time, e.Role)));
        Assert.Equal(1, DssmFiles.ReadLog(path, new InteractionColumns { User = "who", Item = "what", Time = "when", Rating = "stars", LeastPositive = 4.5 }).Positives);
        Assert.Equal(5, DssmFiles.ReadLog(path, new InteractionColumns { User = "who", Item = "what", Time = "when" }).Positives);
    }

    [Theory]
    [InlineData("user,item,time\na,b,1700000000000\n", DssmDataErrors.MalformedMoment, "line 2", "1700000000000")]
    [InlineData("user,item,time\na,b,2026-13-01\n", DssmDataErrors.MalformedMoment, "line 2", "2026-13-01")]
    [InlineData("user,item,time\na,b,20240205\n", DssmDataErrors.MalformedMoment, "line 2", "20240205")]
    [InlineData("user,item,time\na,b,01/03/2026\n", DssmDataErrors.MalformedMoment, "line 2", "01/03/2026")]
    [InlineData("user,item,time\na,b,\n", DataErrors.EmptyCell, "line 2", null)]
    [InlineData("user,item,time\na,,1\n", DataErrors.EmptyId, "line 2", null)]
    [InlineData("user,item\na,b\n", DataErrors.ColumnMissing, "log.csv", null)]
    [InlineData("user,item,time\n", DataErrors.NoRows, "log.csv", null)]
    public void ReadLog_BadFile_IsAnErrorWithItsPlace(string text, string id, string place, string? secret) =>
        ErrorAssert.Throws<BadInputException>(id, place, secret, () => DssmFiles.ReadLog(Log(text)));

    [Theory]
    [InlineData(';')]
    [InlineData('\t')]
    [InlineData('|')]
    public void ReadLog_OtherSeparator_IsSeenInTheFirstLine(char separator) =>
        Assert.Equal(["b, c"], DssmFiles.ReadLog(Log("user,item,time\na,X,1\n".Replace(',', separator).Replace("X", "b, c", StringComparison.Ordinal))).Items);

    [Fact]
    public void ReadLog_RatingsWithDecimalCommas_AreRead()
    {
        InteractionColumns columns = new() { Rating = "rating", DecimalMark = ',' };
        Assert.Equal(1, DssmFiles.ReadLog(Log("user;item;time;rating\na;b;1;3,5\na;c;2;4,5\n"), columns).Positives);
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "log.csv", null, () => DssmFiles.ReadLog(Log("user,item,time,rating\na,b,1,3\n"), columns));
    }

    [Fact]
    public void ReadLog_RatingThatIsNoNumber_IsAnErrorWithItsPlace() => ErrorAssert.Throws<BadInputException>(DataErrors.NotANumber, "line 2, column 'rating'", "good",
        () => DssmFiles.ReadLog(Log("user,item,time,rating\na,b,1,good\n"), new InteractionColumns { Rating = "rating" }));

    [Fact]
    public void ReadLog_ItemOutsideTheTable_IsAnErrorWithItsPlace()
    {
        _folder.Write("items.csv", "item,x\nother,1\n");
        ItemTable items = DssmFiles.ReadItems(_folder["items.csv"], DssmSchema.OfItems([DssmField.Numeric("x")]));
        Assert.Equal(["other"], DssmFiles.ReadLog(Log("user,item,time\na,other,1\n"), items: items).Items);
        ErrorAssert.Throws<BadInputException>(DssmDataErrors.UnknownItem, "line 3", "mystery", () => DssmFiles.ReadLog(Log("user,item,time\na,other,1\na,mystery,1\n"), items: items));
    }

    [Fact]
    public void Write_ReadAgain_GivesTheSameTables()
    {
        InteractionLog log = Of(SyntheticTastes.Generate(new SyntheticTastesOptions { Users = 40, Items = 60, Seed = 3 }));
        InteractionFiles.Write(log, "shop", _folder["out"], cancellationToken: TestContext.Current.CancellationToken);
        ItemTable items = DssmFiles.ReadItems(_folder["out/service/items.csv"], DssmSchema.Load(_folder["out/service/items.schema.json"]));
        Assert.Equal(log.Items, items.Ids);
        foreach ((string name, RatingSplit split) in ((string, RatingSplit)[])[("", RatingSplit.Last), (".cold-users", RatingSplit.ColdUsers), (".cold-items", RatingSplit.ColdItems)])
            Assert.Equal(log.Interactions(split).Events, DssmFiles.ReadInteractions(_folder[$"out/service/interactions{name}.csv"], items).Events);
        ViewTable history = DssmFiles.ReadView(_folder["out/service/history.csv"], DssmSchema.Load(_folder["out/service/history.schema.json"]));
        Assert.Equal(log.History().Moments, history.Moments);
        Assert.Equal(log.History().Rows.Bags[0].Ids, history.Rows.Bags[0].Ids);
    }
}
