namespace FedLearn.Dssm;

/// <summary>What ratings are for.</summary>
public enum RatingSplit
{
    /// <summary>Of users with at least 3 positives the last is test and the one before validation; other positives are train.</summary>
    Last = 0,

    /// <summary>By time: the last tenth of all positives is for test, the tenth before it for validation. Of these, an event of a user without a positive in training is
    /// cold-user, another of an item without one cold-item.</summary>
    Time = 1,

    /// <summary>Users whose number (in an <see cref="InteractionLog"/>: the FNV-1a hash of whose id) leaves 2 modulo 5 are never trained on: their last 10 positives, or fewer, after their fifth
    /// rating are cold-user, their other ratings seen. Others as in <see cref="Last"/>.</summary>
    ColdUsers = 2,

    /// <summary>Positives with items whose number (in an <see cref="InteractionLog"/>: the FNV-1a hash of whose id) leaves 3 modulo 10 are cold-item; the others as in <see cref="Last"/>, as if those were
    /// not there.</summary>
    ColdItems = 3,
}

/// <summary>Gives ratings their roles.</summary>
internal static class RatingRoles
{
    private const int LeastPositives = 3, KnownRatings = 5, ColdPositives = 10;

    private const ulong ColdUserModulus = 5, ColdUserRemainder = 2, ColdItemModulus = 10, ColdItemRemainder = 3;

    /// <summary>One role a rating, of ratings in the order of user, time and item.</summary>
    public static EventRole[] Of(IReadOnlyList<Rating> ratings, RatingSplit split, Func<int, ulong> userNumber, Func<int, ulong> itemNumber)
    {
        var roles = new EventRole[ratings.Count];
        Array.Fill(roles, EventRole.Seen);
        if (split == RatingSplit.Time)
        {
            ByTime(ratings, roles);
            return roles;
        }

        bool IsCold(int i) => split == RatingSplit.ColdItems && itemNumber(ratings[i].Item) % ColdItemModulus == ColdItemRemainder;
        for (int start = 0, end; start < ratings.Count; start = end)
        {
            for (end = start + 1; end < ratings.Count && ratings[end].User == ratings[start].User; end++) { }
            int[] positives = [.. Enumerable.Range(start, end - start).Where(i => ratings[i].IsPositive)];
            if (split == RatingSplit.ColdUsers && userNumber(ratings[start].User) % ColdUserModulus == ColdUserRemainder)
            {
                foreach (int i in positives.Where(i => i >= start + KnownRatings).TakeLast(ColdPositives))
                    roles[i] = EventRole.ColdUser;
                continue;
            }

            foreach (int i in positives)
                roles[i] = IsCold(i) ? EventRole.ColdItem : EventRole.Train;
            int[] warm = [.. positives.Where(i => roles[i] == EventRole.Train)];
            if (warm.Length >= LeastPositives)
                (roles[warm[^2]], roles[warm[^1]]) = (EventRole.Validation, EventRole.Test);
        }

        return roles;
    }

    private static void ByTime(IReadOnlyList<Rating> ratings, EventRole[] roles)
    {
        long[] times = [.. ratings.Where(rating => rating.IsPositive).Select(rating => rating.Time).Order()];
        if (times.Length == 0)
            return;
        long validation = times[(int)(8L * times.Length / 10)], test = times[(int)(9L * times.Length / 10)];
        var users = new HashSet<int>();
        var items = new HashSet<int>();
        foreach (Rating rating in ratings)
        {
            if (rating.IsPositive && rating.Time < validation)
            {
                users.Add(rating.User);
                items.Add(rating.Item);
            }
        }

        for (int i = 0; i < roles.Length; i++)
        {
            Rating rating = ratings[i];
            if (rating.IsPositive)
                roles[i] = rating.Time < validation ? EventRole.Train
                    : !users.Contains(rating.User) ? EventRole.ColdUser
                    : !items.Contains(rating.Item) ? EventRole.ColdItem
                    : rating.Time < test ? EventRole.Validation
                    : EventRole.Test;
        }
    }
}
