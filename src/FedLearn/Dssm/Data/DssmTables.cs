namespace FedLearn.Dssm;

/// <summary>The rows of one view: what a source knows of users, either once a user or as of moments.</summary>
/// <remarks>A row of a view with times holds what was known just before its moment, so that no row contains the event it is asked for. A sample of the active party at a
/// moment reads the last row of its user at or before that moment; a view without times has one row a user.</remarks>
public sealed class ViewTable
{
    /// <summary>Creates a view.</summary>
    /// <param name="users">Ids of the distinct users.</param>
    /// <param name="rowUser">User of each row, an index of <paramref name="users"/>. Rows of a user are adjacent and in order of their moments.</param>
    /// <param name="moments">Moment of each row; null: the view is static and has one row a user.</param>
    /// <param name="rows">The features.</param>
    /// <exception cref="ArgumentException">The parts do not fit together.</exception>
    public ViewTable(IReadOnlyList<string> users, int[] rowUser, Moment[]? moments, TowerRows rows)
    {
        ArgumentNullException.ThrowIfNull(users);
        ArgumentNullException.ThrowIfNull(rowUser);
        ArgumentNullException.ThrowIfNull(rows);
        if (rowUser.Length != rows.Rows || (moments is not null && moments.Length != rows.Rows))
            throw new ArgumentException("There is not one user and moment a row.");
        if (users.Distinct(StringComparer.Ordinal).Count() < users.Count)
            throw new ArgumentException("A user is listed twice.", nameof(users));
        if (Array.Exists(rowUser, user => user < 0 || user >= users.Count))
            throw new ArgumentException("A row's user is not in the list of users.", nameof(rowUser));
        (Users, RowUser, Moments, Rows) = (users, rowUser, moments, rows);
        FirstRow = new int[users.Count];
        RowCount = new int[users.Count];
        for (int r = 0; r < rowUser.Length; r++)
        {
            int user = rowUser[r];
            if (RowCount[user]++ == 0)
                FirstRow[user] = r;
            else if (rowUser[r - 1] != user || moments is null || moments[r - 1] > moments[r])
                throw new ArgumentException(moments is null ? "A static view has two rows of a user." : "A user's rows are not adjacent and in order of their moments.");
        }
    }

    /// <summary>Ids of the distinct users.</summary>
    public IReadOnlyList<string> Users { get; }

    /// <summary>User of each row.</summary>
    public int[] RowUser { get; }

    /// <summary>Moment of each row; null for a static view.</summary>
    public Moment[]? Moments { get; }

    /// <summary>The features.</summary>
    public TowerRows Rows { get; }

    private int[] FirstRow { get; }

    private int[] RowCount { get; }

    /// <summary>This view with no number larger than a bound; itself where there is none.</summary>
    internal ViewTable Within(double bound) => Rows.Within(bound) is var rows && rows == Rows ? this : new ViewTable(Users, RowUser, Moments, rows);

    /// <summary>The row that a sample reads.</summary>
    /// <param name="user">Index of the user; -1 for none.</param>
    /// <param name="moment">Moment of the sample; a static view does not look at it.</param>
    /// <returns>The row, or -1 when the view has none of the user at or before the moment.</returns>
    public int RowOf(int user, Moment moment)
    {
        if (user < 0 || RowCount[user] == 0)
            return -1;
        if (Moments is null)
            return FirstRow[user];
        int low = FirstRow[user], high = low + RowCount[user];
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            if (Moments[middle] <= moment)
                low = middle + 1;
            else
                high = middle;
        }

        return low == FirstRow[user] ? -1 : low - 1;
    }
}

/// <summary>A moment in a user's history: a time, and the place among what happened at that time.</summary>
/// <param name="Time">Seconds since 1970 (UTC).</param>
/// <param name="Sequence">Number of the event in the user's history, from 0, so that events of one second have an order; it names no item.</param>
public readonly record struct Moment(long Time, int Sequence) : IComparable<Moment>
{
    /// <inheritdoc />
    public int CompareTo(Moment other) => Time != other.Time ? Time.CompareTo(other.Time) : Sequence.CompareTo(other.Sequence);

    /// <summary>Order of moments.</summary>
    public static bool operator <(Moment left, Moment right) => left.CompareTo(right) < 0;

    /// <summary>Order of moments.</summary>
    public static bool operator >(Moment left, Moment right) => left.CompareTo(right) > 0;

    /// <summary>Order of moments.</summary>
    public static bool operator <=(Moment left, Moment right) => left.CompareTo(right) <= 0;

    /// <summary>Order of moments.</summary>
    public static bool operator >=(Moment left, Moment right) => left.CompareTo(right) >= 0;
}

/// <summary>The items and their public content.</summary>
/// <param name="Ids">Id of each item.</param>
/// <param name="Content">Content of each item, in the order of the ids. Public: every party, or device, may know it.</param>
/// <param name="Titles">What a person calls each item; null: unknown.</param>
public sealed record ItemTable(IReadOnlyList<string> Ids, TowerRows Content, IReadOnlyList<string>? Titles = null);

/// <summary>What an event of the active party is for.</summary>
public enum EventRole
{
    /// <summary>A positive event that is trained on.</summary>
    Train = 0,

    /// <summary>A positive event that decides when training stops.</summary>
    Validation = 1,

    /// <summary>A positive event of a user and an item that training knows.</summary>
    Test = 2,

    /// <summary>A positive event of a user that training never sees.</summary>
    ColdUser = 3,

    /// <summary>A positive event with an item that training never sees.</summary>
    ColdItem = 4,

    /// <summary>No sample: the user has met the item, so that it is never ranked for this user.</summary>
    Seen = 5,
}

/// <summary>An event of the active party.</summary>
/// <param name="User">Index of the user.</param>
/// <param name="Item">Index of the item.</param>
/// <param name="Moment">When.</param>
/// <param name="Role">What it is for.</param>
public readonly record struct Interaction(int User, int Item, Moment Moment, EventRole Role);

/// <summary>The events of the active party.</summary>
/// <param name="Users">Ids of the distinct users.</param>
/// <param name="Events">The events, in order of user and moment.</param>
public sealed record InteractionTable(IReadOnlyList<string> Users, IReadOnlyList<Interaction> Events);
