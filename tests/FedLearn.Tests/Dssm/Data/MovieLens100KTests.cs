using System.Text;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Tests.Data;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Dssm.Data;

public sealed class MovieLens100KTests : IDisposable
{
    private static readonly Lazy<RatingSet> Shared = new(() => MovieLens100K.Read(Path.GetDirectoryName(SharedData.Require("ml-100k", "u.data"))!));

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static RatingTables Tables()
    {
        SharedData.Require("ml-100k", "u.data");
        return new RatingTables(Shared.Value);
    }

    private static Dictionary<EventRole, int> Counts(RatingSplit split) => Tables().Interactions(split).Events.CountBy(e => e.Role).ToDictionary();

    [Fact]
    public void Read_DataSet_HasItsSizes()
    {
        Tables();
        RatingSet set = Shared.Value;
        Assert.Equal((943, 1682, 100_000, 55_375), (set.Users.Count, set.Items.Count, set.Ratings.Count, set.Ratings.Count(r => r.IsPositive)));
        Assert.Equal((MovieLens100K.Users, MovieLens100K.Items, MovieLens100K.Ratings), (set.Users.Count, set.Items.Count, set.Ratings.Count));
        Assert.Equal([267], set.Items.Where(item => item.Year is null).Select(item => item.Number));
        Assert.Equal("Mis\u00E9rables, Les (1995)", set.Items[542].Title);
    }

    [Fact]
    public void Interactions_Last_AreTheKnownOnes()
    {
        Assert.Equal((53_491, 942, 942, 44_625), (Counts(RatingSplit.Last)[EventRole.Train], Counts(RatingSplit.Last)[EventRole.Validation], Counts(RatingSplit.Last)[EventRole.Test], Counts(RatingSplit.Last)[EventRole.Seen]));
        InteractionTable table = Tables().Interactions();
        Assert.Equal([("1", 256), ("2", 316), ("3", 320), ("4", 11), ("5", 24)],
            table.Events.Where(e => e.Role == EventRole.Test).Take(5).Select(e => (table.Users[e.User], Shared.Value.Items[e.Item].Number)));
    }

    [Fact]
    public void Interactions_ColdUsers_AreTheKnownOnes()
    {
        InteractionTable table = Tables().Interactions(RatingSplit.ColdUsers);
        ILookup<bool, Interaction> byCold = table.Events.ToLookup(e => int.Parse(table.Users[e.User]) % 5 == 2);
        Assert.Equal(189, byCold[true].Select(e => e.User).Distinct().Count());
        Assert.Equal(1819, byCold[true].Count(e => e.Role == EventRole.ColdUser));
        Assert.All(byCold[true], e => Assert.True(e.Role is EventRole.ColdUser or EventRole.Seen));
        Assert.DoesNotContain(byCold[false], e => e.Role == EventRole.ColdUser);
    }

    [Fact]
    public void Interactions_ColdItems_AreTheKnownOnes()
    {
        Interaction[] cold = [.. Tables().Interactions(RatingSplit.ColdItems).Events.Where(e => e.Role == EventRole.ColdItem)];
        Assert.Equal(5751, cold.Length);
        Assert.Equal(168, Shared.Value.Items.Count(item => item.Number % 10 == 3));
        Assert.All(Tables().Interactions(RatingSplit.ColdItems).Events.Where(e => e.Role is EventRole.Train or EventRole.Test or EventRole.Validation),
            e => Assert.NotEqual(3, Shared.Value.Items[e.Item].Number % 10));
    }

    [Fact]
    public void Tables_DataSet_HaveTheKnownWidths()
    {
        RatingTables tables = Tables();
        Assert.Equal((2079, 41, 53, 37, 1682), (tables.ItemSchema.Inputs.Width, tables.ProfileSchema.Inputs.Width, tables.TasteSchema.Inputs.Width, tables.BehaviourSchema.Inputs.Width,
            tables.HistorySchema.Inputs.Width));
        Assert.Equal(943, tables.Profile().Rows.Rows);
        Assert.Equal(55_375 + 943, tables.History().Rows.Rows);
    }

    [Fact]
    public void Items_DataSet_HaveTheKnownTrigramsAndLengthOne()
    {
        TowerRows items = Tables().Items().Content;
        Assert.Equal(13.6, items.Bags[2].Ids.Length / 1682.0, 0.05);
        double[] squares = new double[items.Rows];
        foreach (BagRows bag in items.Bags)
            for (int row = 0; row < items.Rows; row++)
                for (int i = bag.Offsets[row]; i < bag.Offsets[row + 1]; i++)
                    squares[row] += bag.Weights![i] * bag.Weights[i];
        Assert.All(squares, square => Assert.Equal(1, square, 1e-12));
    }

    [Fact]
    public void Samples_EveryPositive_HasARowOfItsOwnMoment()
    {
        RatingTables tables = Tables();
        InteractionTable events = tables.Interactions();
        foreach (ViewTable view in (ViewTable[])[tables.History(), tables.Taste(), tables.Behaviour()])
        {
            Assert.Equal(events.Users, view.Users);
            foreach (Interaction e in events.Events.Where(e => e.Role is EventRole.Train or EventRole.Validation or EventRole.Test))
                Assert.Equal(e.Moment, view.Moments![view.RowOf(e.User, e.Moment)]);
        }

        BagRows history = tables.History().Rows.Bags[0];
        Assert.Equal(50, Enumerable.Range(0, tables.History().Rows.Rows).Max(row => history.Offsets[row + 1] - history.Offsets[row]));
    }

    private const string User = "1|24|M|technician|85711\n2|53|F|other|T8H1N\n", Data = "1\t1\t5\t881250949\n2\t3\t1\t0\n";

    private static readonly string Item = $"1|Toy Story (1995)|01-Jan-1995||http://x|{Flags(3)}\n3|Amélie |||x|{Flags(5)}\n";

    private static string Flags(int genre) => string.Join('|', Enumerable.Range(0, 19).Select(g => g == genre ? 1 : 0));

    private RatingSet Read(string data, string user, string item)
    {
        _folder.Write("u.data", data);
        _folder.Write("u.user", user);
        _folder.Write("u.item", Encoding.Latin1.GetBytes(item));
        return MovieLens100K.Read(_folder["."]);
    }

    [Fact]
    public void Read_SmallCopy_GivesItsParts()
    {
        RatingSet set = Read(Data.Replace("\n", "\r\n", StringComparison.Ordinal), User, Item);
        Assert.Equal([new(1, "Toy Story (1995)", "Toy Story", 1995, set.Items[0].Genres), new(3, "Amélie", "Amélie", null, set.Items[1].Genres)], set.Items);
        Assert.Equal([3], set.Items[0].Genres);
        Assert.Equal([new(1, new RatingProfile(24, 'M', 19, "85711")), new(2, new RatingProfile(53, 'F', 13, "T8H1N"))], set.Users);
        Assert.Equal([new(0, 0, 5, 881250949), new(1, 1, 1, 0)], set.Ratings);
    }

    [Fact]
    public void Read_UserWithoutProfile_IsKept() => Assert.Equal(new RatingUser(999, null), Read(Data + "999\t1\t4\t5\n", User, Item).Users[^1]);

    [Fact]
    public void Read_NoFiles_SaysWhereToGetThem()
    {
        _folder.Write("u.user", User);
        BadInputException error = ErrorAssert.Throws<BadInputException>(DssmDataErrors.SourceMissing, _folder["."], null, () => MovieLens100K.Read(_folder["."]));
        Assert.Contains("u.data, u.item", error.Cause, StringComparison.Ordinal);
        Assert.Contains(MovieLens100K.Home, error.Remedy, StringComparison.Ordinal);
        Assert.Contains("redistribution", error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("4242 1 5 9", DssmDataErrors.SourceMalformed)]
    [InlineData("1\t1\t6\t4242", DssmDataErrors.SourceMalformed)]
    [InlineData("1\t1\t5", DssmDataErrors.SourceMalformed)]
    [InlineData("1\t-1\t5\t4242", DssmDataErrors.SourceMalformed)]
    [InlineData("1\t1\t5\t4242.5", DssmDataErrors.SourceMalformed)]
    [InlineData("0\t1\t5\t4242", DssmDataErrors.SourceMalformed)]
    [InlineData("1\t2\t5\t4242", DssmDataErrors.SourceInconsistent)]
    [InlineData("1\t1\t5\t4242", DssmDataErrors.SourceInconsistent)]
    public void Read_FaultyRating_IsRefused(string line, string id) => ErrorAssert.Throws<BadInputException>(id, "u.data, line 3", "4242", () => Read(Data + line + "\n", User, Item));

    [Theory]
    [InlineData("3|24|M|technician", DssmDataErrors.SourceMalformed)]
    [InlineData("3|24|X|technician|1", DssmDataErrors.SourceMalformed)]
    [InlineData("3|young|M|technician|1", DssmDataErrors.SourceMalformed)]
    [InlineData("3|24|M|astronaut|1", DssmDataErrors.SourceMalformed)]
    [InlineData("1|24|M|technician|1", DssmDataErrors.SourceInconsistent)]
    public void Read_FaultyUser_IsRefused(string line, string id) => ErrorAssert.Throws<BadInputException>(id, "u.user, line 3", "astronaut", () => Read(Data, User + line + "\n", Item));

    [Theory]
    [InlineData("4|Title|01-Jan-1995||x|0|0", DssmDataErrors.SourceMalformed)]
    [InlineData("4|Title|1995||x|F", DssmDataErrors.SourceMalformed)]
    [InlineData("4||01-Jan-1995||x|F", DssmDataErrors.SourceMalformed)]
    [InlineData("1|Title|01-Jan-1995||x|F", DssmDataErrors.SourceInconsistent)]
    public void Read_FaultyItem_IsRefused(string line, string id) =>
        ErrorAssert.Throws<BadInputException>(id, "u.item, line 3", "Title", () => Read(Data, User, Item + line.Replace("F", Flags(0), StringComparison.Ordinal) + "\n"));

    [Fact]
    public void Read_NoRatings_IsRefused() => ErrorAssert.Throws<BadInputException>(DssmDataErrors.SourceInconsistent, "u.data", null, () => Read("\n", User, Item));

    [Fact]
    public void Write_DataSet_ReadsBack()
    {
        Tables();
        RatingTablesTests.AssertRoundTrip(Shared.Value, _folder, RatingSplit.Last);
    }
}
