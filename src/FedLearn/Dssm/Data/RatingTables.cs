using System.Globalization;

namespace FedLearn.Dssm;

/// <summary>The tables of four parties, made from ratings: a streaming service with the events, the items and a history of positives, and three companies with profiles, tastes
/// and behaviour.</summary>
/// <remarks>Histories, tastes and behaviour are point-in-time: the row of an event holds the ratings strictly before it in the order of <see cref="RatingSet.Ratings"/>. There
/// is a row for every positive rating, and one after each user's last rating, for serving. All three come from the same events as the labels.</remarks>
public sealed class RatingTables
{
    private const int TitleBuckets = 2048;

    private static readonly string[] AgeBands = ["age_to_17", "age_18_24", "age_25_34", "age_35_44", "age_45_49", "age_50_55", "age_from_56"];

    private static readonly int[] AgeEdges = [18, 25, 35, 45, 50, 56];

    private readonly RatingSet _set;

    /// <summary>Makes the tables.</summary>
    /// <param name="set">The ratings.</param>
    public RatingTables(RatingSet set)
    {
        ArgumentNullException.ThrowIfNull(set);
        _set = set;
        ItemSchema = DssmSchema.OfItems([DssmField.Bucketed("year", RatingHistory.YearEdges), DssmField.Bag("genres", set.Genres.Count), DssmField.Text("name", TitleBuckets)],
            titled: true, normalise: true);
        HistorySchema = DssmSchema.OfView([DssmField.Bag("history", set.Items.Count, BagPooling.Mean)], timed: true);
        ProfileSchema = NumericSchema(false, [.. AgeBands, "gender_f", "gender_m", .. set.Occupations.Select(o => Column("occupation", o)), .. Enumerable.Range(0, 10).Select(d => $"zip_{d}"), "zip_other"]);
        TasteSchema = NumericSchema(true, [.. set.Genres.Select(g => Column("liked", g)), .. set.Genres.Select(g => Column("other", g)), .. RatingHistory.YearBands, .. RatingHistory.TasteNumbers]);
        BehaviourSchema = NumericSchema(true,
        [
            .. Enumerable.Range(0, 24).Select(h => string.Create(CultureInfo.InvariantCulture, $"hour_{h:00}")), "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
            .. RatingHistory.SessionNumbers,
        ]);
    }

    /// <summary>Schema of <see cref="Items"/>: year in 12 buckets, genres, letter trigrams of the name in 2,048 buckets; rows of length 1.</summary>
    public DssmSchema ItemSchema { get; }

    /// <summary>Schema of <see cref="History"/>: the last 50 positives as a bag over all items, mean.</summary>
    public DssmSchema HistorySchema { get; }

    /// <summary>Schema of <see cref="Profile"/>: 7 age bands, gender, occupations, first digit of the zip code or another sign.</summary>
    public DssmSchema ProfileSchema { get; }

    /// <summary>Schema of <see cref="Taste"/>: shares of the genres among positives and among other ratings, of 12 bands of years among positives, number, mean and positive
    /// share of the ratings.</summary>
    public DssmSchema TasteSchema { get; }

    /// <summary>Schema of <see cref="Behaviour"/>: shares of 24 hours (UTC) and 7 weekdays, and 6 numbers of the user's sessions.</summary>
    public DssmSchema BehaviourSchema { get; }

    /// <summary>The items.</summary>
    public ItemTable Items()
    {
        var encoder = new DssmRowEncoder(ItemSchema);
        foreach (RatingItem item in _set.Items)
        {
            encoder.Number(0, item.Year);
            foreach (int genre in item.Genres)
                encoder.Id(1, genre);
            encoder.Text(2, item.Name);
            encoder.End();
        }

        return new ItemTable([.. _set.Items.Select(item => Id(item.Number))], encoder.Build(), [.. _set.Items.Select(item => item.Title)]);
    }

    /// <summary>The events, every rating being one.</summary>
    /// <param name="split">What they are for.</param>
    public InteractionTable Interactions(RatingSplit split = RatingSplit.Last)
    {
        EventRole[] roles = RatingRoles.Of(_set.Ratings, split, user => (ulong)_set.Users[user].Number, item => (ulong)_set.Items[item].Number);
        Moment[] moments = RatingSet.Moments(_set.Ratings);
        int[] places = RatedUsers(out string[] ids);
        return new InteractionTable(ids, [.. _set.Ratings.Select((rating, i) => new Interaction(places[rating.User], rating.Item, moments[i], roles[i]))]);
    }

    /// <summary>The streaming service's view: which items the user liked before.</summary>
    public ViewTable History() => View(HistorySchema, HistoryRows());

    /// <summary>The view of who knows profiles; users without one are absent.</summary>
    public ViewTable Profile() => View(ProfileSchema, ProfileRows());

    /// <summary>The view of who knows which kinds of items the user liked before.</summary>
    public ViewTable Taste() => View(TasteSchema, TasteRows());

    /// <summary>The view of who knows when the user was active before.</summary>
    public ViewTable Behaviour() => View(BehaviourSchema, BehaviourRows());

    internal static string Id(int number) => number.ToString(CultureInfo.InvariantCulture);

    internal IEnumerable<RatingRow> HistoryRows() => Replay(history => ([], history.Positives()));

    internal IEnumerable<RatingRow> TasteRows() => Replay(history => (history.Taste(), []));

    internal IEnumerable<RatingRow> BehaviourRows() => Replay(history => (history.Behaviour(), []));

    internal IEnumerable<RatingRow> ProfileRows()
    {
        for (int user = 0; user < _set.Users.Count; user++)
        {
            if (_set.Users[user].Profile is not { } profile)
                continue;
            double[] row = new double[ProfileSchema.Fields.Count];
            int gender = AgeBands.Length, occupation = gender + 2, zip = occupation + _set.Occupations.Count;
            row[AgeEdges.Count(edge => edge <= profile.Age)] = 1;
            row[gender + (profile.Gender == 'M' ? 1 : 0)] = 1;
            row[occupation + profile.Occupation] = 1;
            row[zip + (profile.Zip.Length > 0 && char.IsAsciiDigit(profile.Zip[0]) ? profile.Zip[0] - '0' : 10)] = 1;
            yield return new RatingRow(user, default, row, []);
        }
    }

    private IEnumerable<RatingRow> Replay(Func<RatingHistory, (double[] Numbers, int[] Ids)> look) =>
        RatingSet.Replay(_set.Ratings, () => new RatingHistory(_set), (history, rating) => history.Add(rating), look);

    private ViewTable View(DssmSchema schema, IEnumerable<RatingRow> rows)
    {
        var encoder = new DssmRowEncoder(schema);
        var users = new List<string>();
        var rowUser = new List<int>();
        var moments = new List<Moment>();
        int last = -1;
        foreach (RatingRow row in rows)
        {
            if (row.User != last)
                users.Add(Id(_set.Users[last = row.User].Number));
            rowUser.Add(users.Count - 1);
            moments.Add(row.Moment);
            for (int f = 0; f < row.Numbers.Length; f++)
                encoder.Number(f, row.Numbers[f]);
            foreach (int id in row.Ids)
                encoder.Id(0, id);
            encoder.End();
        }

        return new ViewTable(users, [.. rowUser], schema.Time is null ? null : [.. moments], encoder.Build());
    }

    /// <summary>For every user its place among those who have rated, and the ids of these.</summary>
    private int[] RatedUsers(out string[] ids)
    {
        int[] places = new int[_set.Users.Count];
        var rated = new List<string>();
        int last = -1;
        foreach (Rating rating in _set.Ratings)
        {
            if (rating.User == last)
                continue;
            last = rating.User;
            places[last] = rated.Count;
            rated.Add(Id(_set.Users[last].Number));
        }

        ids = [.. rated];
        return places;
    }

    private static DssmSchema NumericSchema(bool timed, string[] names) => DssmSchema.OfView([.. names.Select(name => DssmField.Numeric(name))], timed);

    // Names of columns without signs that some tools stumble over.
    private static string Column(string prefix, string name) =>
        $"{prefix}_{string.Concat(name.ToLowerInvariant().Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_'))}";
}

/// <summary>A row of a view before it is written or encoded.</summary>
/// <param name="User">Place of the user.</param>
/// <param name="Moment">Its moment; of no meaning in a static view.</param>
/// <param name="Numbers">One number a numeric field.</param>
/// <param name="Ids">Ids of the bag, where the view has one.</param>
internal sealed record RatingRow(int User, Moment Moment, double[] Numbers, int[] Ids);
