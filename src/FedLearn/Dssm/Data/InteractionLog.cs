using System.Text;
using FedLearn.Numerics;

namespace FedLearn.Dssm;

/// <summary>Columns of a file of events, and which events are positive.</summary>
public sealed record InteractionColumns
{
    /// <summary>Column of the users' ids.</summary>
    /// <value>Default user.</value>
    public string User { get; init; } = "user";

    /// <summary>Column of the items' ids.</summary>
    /// <value>Default item.</value>
    public string Item { get; init; } = "item";

    /// <summary>Column of the times: whole seconds since 1970 (UTC), or ISO 8601 such as 2026-03-01, 2026-03-01 18:30:00, 2026-03-01T18:30:00+02:00 or 20260301T183000Z, UTC where no offset is given; fractions of a second give events their order.</summary>
    /// <value>Default time.</value>
    public string Time { get; init; } = "time";

    /// <summary>Column of ratings; null: every event is positive.</summary>
    public string? Rating { get; init; }

    /// <summary>Least rating of a positive event. Without <see cref="Rating"/> not looked at.</summary>
    /// <value>Default 4.</value>
    public double LeastPositive { get; init; } = Dssm.Rating.LeastPositive;

    /// <summary>What stands before decimals of ratings, a point, or a comma where something else separates the cells.</summary>
    /// <value>Default a point.</value>
    public char DecimalMark { get; init; } = '.';
}

/// <summary>An event before it has a role.</summary>
/// <param name="User">Place of the user.</param>
/// <param name="Item">Place of the item.</param>
/// <param name="Time">Seconds since 1970 (UTC).</param>
/// <param name="IsPositive">Whether the user liked, bought or played the item; else it was met only.</param>
public readonly record struct LoggedInteraction(int User, int Item, long Time, bool IsPositive)
{
    /// <summary>How long after <see cref="Time"/> it was, in ticks of 100 ns; gives events of one second their order, and is not kept beyond that.</summary>
    /// <value>0 to 9,999,999. Default 0.</value>
    public int Ticks { get; init; }
}

/// <summary>An active party's events as its systems log them, from which the events with roles and the view of histories are made that a job reads.</summary>
/// <remarks>A user and an item make one event: of several the first positive one counts, else the first, since whoever has met an item is not recommended it again. Events of one user and moment, as
/// all of a day are where a log has dates, are taken in the order of a hash of the two ids: in the order of the items themselves a history would tell that the item that is asked for comes after its own. An item's number is its place among the ids in ordinal order, whatever the order of the log, so that a log that is exported anew names the same items.</remarks>
public sealed class InteractionLog
{
    /// <summary>Positives that a row of the history holds.</summary>
    public const int HistoryLength = RatingHistory.Length;

    private const int PositiveValue = 5, OtherValue = 1;

    private readonly Rating[] _events;
    private readonly int[] _numbers;

    /// <summary>Takes a log.</summary>
    /// <param name="users">Ids of the users, each once.</param>
    /// <param name="items">Ids of the items, each once.</param>
    /// <param name="events">The events, in any order.</param>
    /// <exception cref="ArgumentException">An event names no user or item.</exception>
    public InteractionLog(IReadOnlyList<string> users, IReadOnlyList<string> items, IEnumerable<LoggedInteraction> events)
    {
        ArgumentNullException.ThrowIfNull(users);
        ArgumentNullException.ThrowIfNull(items);
        LoggedInteraction[] given = [.. events];
        if (given.Any(e => (uint)e.User >= (uint)users.Count || (uint)e.Item >= (uint)items.Count))
            throw new ArgumentException("An event names no user or item.", nameof(events));
        (Users, Items) = (users, items);
        _numbers = new int[items.Count];
        foreach ((int number, int item) in Enumerable.Range(0, items.Count).OrderBy(item => items[item], StringComparer.Ordinal).Index())
            _numbers[item] = number;
        // Another order for every user: one order of all items could be learned.
        ulong[] userHashes = [.. users.Select(id => SplitMix64.Mix(Number(id)))], itemHashes = [.. items.Select(Number)];
        _events =
        [
            .. given.OrderBy(e => !e.IsPositive).ThenBy(e => e.Time).ThenBy(e => e.Ticks).DistinctBy(e => (e.User, e.Item))
                .OrderBy(e => e.User).ThenBy(e => e.Time).ThenBy(e => e.Ticks).ThenBy(e => SplitMix64.Mix(unchecked(userHashes[e.User] + itemHashes[e.Item]))).ThenBy(e => _numbers[e.Item])
                .Select(e => new Rating(e.User, e.Item, e.IsPositive ? PositiveValue : OtherValue, e.Time)),
        ];
        (Repeats, Positives) = (given.Length - _events.Length, _events.Count(e => e.IsPositive));
        HistorySchema = DssmSchema.OfView([DssmField.Bag("history", items.Count, BagPooling.Mean)], timed: true);
    }

    /// <summary>Ids of the users.</summary>
    public IReadOnlyList<string> Users { get; }

    /// <summary>Ids of the items.</summary>
    public IReadOnlyList<string> Items { get; }

    /// <summary>Events that count.</summary>
    public int Count => _events.Length;

    /// <summary>Of these, positive ones.</summary>
    public int Positives { get; }

    /// <summary>Events left out since another one of the same user and item counts.</summary>
    public int Repeats { get; }

    /// <summary>Schema of <see cref="History"/>: the last 50 positives as a bag over all items, by their numbers, mean.</summary>
    public DssmSchema HistorySchema { get; }

    /// <summary>The events with their roles.</summary>
    /// <param name="split">What they are for.</param>
    public InteractionTable Interactions(RatingSplit split = RatingSplit.Last)
    {
        EventRole[] roles = RatingRoles.Of(_events, split, user => Number(Users[user]), item => Number(Items[item]));
        Moment[] moments = RatingSet.Moments(_events);
        return new InteractionTable(Users, [.. _events.Select((e, i) => new Interaction(e.User, e.Item, moments[i], roles[i]))]);
    }

    /// <summary>The active party's own view: which items the user liked before. Point-in-time: the row of a positive event holds the positives strictly before it; one more, after the user's last
    /// event, is for serving.</summary>
    public ViewTable History()
    {
        var encoder = new DssmRowEncoder(HistorySchema);
        var rowUser = new List<int>();
        var moments = new List<Moment>();
        foreach (RatingRow row in HistoryRows())
        {
            rowUser.Add(row.User);
            moments.Add(row.Moment);
            foreach (int item in row.Ids)
                encoder.Id(0, item);
            encoder.End();
        }

        return new ViewTable(Users, [.. rowUser], [.. moments], encoder.Build());
    }

    /// <summary>The items' ids in the order of their numbers.</summary>
    internal IEnumerable<string> NumberedItems => Items.Order(StringComparer.Ordinal);

    /// <summary>Before each positive the numbers of the last ones before it.</summary>
    internal IEnumerable<RatingRow> HistoryRows() => RatingSet.Replay(_events, () => new List<int>(), (liked, e) =>
    {
        if (e.IsPositive)
            liked.Add(_numbers[e.Item]);
    }, liked => ([], [.. liked.Skip(liked.Count - HistoryLength)]));

    private static ulong Number(string id) => DssmHash.Fnv1a(Encoding.UTF8.GetBytes(id));
}
