namespace FedLearn.Dssm;

/// <summary>What is known of a user beside ratings.</summary>
/// <param name="Age">Age in years.</param>
/// <param name="Gender">M or F.</param>
/// <param name="Occupation">Place in <see cref="RatingSet.Occupations"/>.</param>
/// <param name="Zip">Zip code; only its first character is used.</param>
public sealed record RatingProfile(int Age, char Gender, int Occupation, string Zip);

/// <summary>A user of a set of ratings.</summary>
/// <param name="Number">Number, above 0; written in decimal it is the user's id.</param>
/// <param name="Profile">Profile; null: none is known.</param>
public sealed record RatingUser(int Number, RatingProfile? Profile);

/// <summary>An item of a set of ratings.</summary>
/// <param name="Number">Number, above 0; written in decimal it is the item's id.</param>
/// <param name="Title">What a person calls it.</param>
/// <param name="Name">The title without what is no part of the name, such as the year.</param>
/// <param name="Year">Year of its release; null: not known.</param>
/// <param name="Genres">Places in <see cref="RatingSet.Genres"/>, ascending.</param>
public sealed record RatingItem(int Number, string Title, string Name, int? Year, IReadOnlyList<int> Genres);

/// <summary>A rating.</summary>
/// <param name="User">Place of the user.</param>
/// <param name="Item">Place of the item.</param>
/// <param name="Value">1 to 5.</param>
/// <param name="Time">Seconds since 1970 (UTC).</param>
public readonly record struct Rating(int User, int Item, int Value, long Time)
{
    /// <summary>Least value of a positive rating.</summary>
    public const int LeastPositive = 4;

    /// <summary>Whether the user liked the item.</summary>
    public bool IsPositive => Value >= LeastPositive;
}

/// <summary>Users, items and ratings in the shape of MovieLens 100K, from which <see cref="RatingTables"/> makes the tables of four parties.</summary>
public sealed class RatingSet
{
    /// <summary>Creates a set.</summary>
    /// <param name="name">Name of the data set, and of jobs on it.</param>
    /// <param name="genres">Names of the genres.</param>
    /// <param name="occupations">Names of the occupations.</param>
    /// <param name="users">Users in ascending order of their numbers.</param>
    /// <param name="items">Items in ascending order of their numbers.</param>
    /// <param name="ratings">Ratings in any order.</param>
    /// <exception cref="ArgumentException">The parts do not fit together.</exception>
    public RatingSet(string name, IReadOnlyList<string> genres, IReadOnlyList<string> occupations, IReadOnlyList<RatingUser> users, IReadOnlyList<RatingItem> items,
        IEnumerable<Rating> ratings)
    {
        ArgumentNullException.ThrowIfNull(users);
        ArgumentNullException.ThrowIfNull(items);
        if (users.Zip(users.Skip(1)).Any(pair => pair.First.Number >= pair.Second.Number) || items.Zip(items.Skip(1)).Any(pair => pair.First.Number >= pair.Second.Number))
            throw new ArgumentException("Users or items are not in ascending order of their numbers.");
        if (items.Any(item => item.Genres.Any(genre => (uint)genre >= (uint)genres.Count)) || users.Any(user => user.Profile is { } p && (uint)p.Occupation >= (uint)occupations.Count))
            throw new ArgumentException("A genre or an occupation is not in its list.");
        Rating[] given = [.. ratings];
        if (given.Any(rating => (uint)rating.User >= (uint)users.Count || (uint)rating.Item >= (uint)items.Count || rating.Value is < 1 or > 5))
            throw new ArgumentException("A rating has no user or item, or is not from 1 to 5.", nameof(ratings));
        (Name, Genres, Occupations, Users, Items) = (name, genres, occupations, users, items);
        Ratings = [.. given.OrderBy(rating => rating.User).ThenBy(rating => rating.Time).ThenBy(rating => rating.Item)];
    }

    /// <summary>Name of the data set.</summary>
    public string Name { get; }

    /// <summary>Names of the genres.</summary>
    public IReadOnlyList<string> Genres { get; }

    /// <summary>Names of the occupations.</summary>
    public IReadOnlyList<string> Occupations { get; }

    /// <summary>Users.</summary>
    public IReadOnlyList<RatingUser> Users { get; }

    /// <summary>Items.</summary>
    public IReadOnlyList<RatingItem> Items { get; }

    /// <summary>Ratings in the order of user, time and item: the tie rule for ratings of one second.</summary>
    public IReadOnlyList<Rating> Ratings { get; }

    /// <summary>The moments of ratings in the order of their users and times: their times, and their places in their users' histories.</summary>
    internal static Moment[] Moments(IReadOnlyList<Rating> ratings)
    {
        var moments = new Moment[ratings.Count];
        for (int i = 0, first = 0; i < moments.Length; i++)
        {
            if (ratings[i].User != ratings[first].User)
                first = i;
            moments[i] = new Moment(ratings[i].Time, i - first);
        }

        return moments;
    }

    /// <summary>Goes through every user's ratings in order, adding each to what is known of the user: gives a row of that before each positive, and one after the last rating.</summary>
    internal static IEnumerable<RatingRow> Replay<T>(IReadOnlyList<Rating> ratings, Func<T> begin, Action<T, Rating> add, Func<T, (double[] Numbers, int[] Ids)> look)
    {
        Moment[] moments = Moments(ratings);
        T known = begin();
        for (int i = 0; i < moments.Length; i++)
        {
            if (ratings[i].IsPositive)
                yield return Row(i, moments[i]);
            add(known, ratings[i]);
            if (i + 1 == moments.Length || ratings[i + 1].User != ratings[i].User)
            {
                yield return Row(i, moments[i] with { Sequence = moments[i].Sequence + 1 });
                known = begin();
            }
        }

        RatingRow Row(int i, Moment moment)
        {
            (double[] numbers, int[] ids) = look(known);
            return new RatingRow(ratings[i].User, moment, numbers, ids);
        }
    }
}
