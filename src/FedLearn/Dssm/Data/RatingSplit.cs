namespace FedLearn.Dssm;

/// <summary>What ratings are for.</summary>
public enum RatingSplit
{
    /// <summary>Of users with at least 3 positives the last is test and the one before validation; other positives are train.</summary>
    Last = 0,

    /// <summary>By time: the last tenth of all positives is for test, the tenth before it for validation. Of these, an event of a user without a positive in training is
    /// cold-user, another of an item without one cold-item.</summary>
    Time = 1,

    /// <summary>Users whose number leaves 2 modulo 5 are never trained on: their last 10 positives, or fewer, after their fifth rating are cold-user, their other ratings
    /// seen. Others as in <see cref="Last"/>.</summary>
    ColdUsers = 2,

    /// <summary>Positives with items whose number leaves 3 modulo 10 are cold-item; the others as in <see cref="Last"/>, as if those were not there.</summary>
    ColdItems = 3,
}

/// <summary>Gives ratings their roles.</summary>
internal static class RatingRoles
{
    private const int LeastPositives = 3, ColdUserModulus = 5, ColdUserRemainder = 2, ColdItemModulus = 10, ColdItemRemainder = 3, KnownRatings = 5, ColdPositives = 10;

    /// <summary>One role a rating, in the order of <see cref="RatingSet.Ratings"/>.</summary>
    public static EventRole[] Of(RatingSet set, RatingSplit split)
    {
        IReadOnlyList<Rating> ratings = set.Ratings;
        var roles = new EventRole[ratings.Count];
        Array.Fill(roles, EventRole.Seen);
        if (split == RatingSplit.Time)
        {
            ByTime(set, roles);
            return roles;
        }

        for (int start = 0, end; start < ratings.Count; start = end)
        {
            for (end = start + 1; end < ratings.Count && ratings[end].User == ratings[start].User; end++) { }
            if (split == RatingSplit.ColdUsers && set.Users[ratings[start].User].Number % ColdUserModulus == ColdUserRemainder)
            {
                int left = ColdPositives;
                for (int i = end - 1; i >= start + KnownRatings && left > 0; i--)
                {
                    if (ratings[i].IsPositive)
                    {
                        roles[i] = EventRole.ColdUser;
                        left--;
                    }
                }

                continue;
            }

            int last = -1, before = -1, positives = 0;
            for (int i = start; i < end; i++)
            {
                if (!ratings[i].IsPositive)
                    continue;
                if (split == RatingSplit.ColdItems && set.Items[ratings[i].Item].Number % ColdItemModulus == ColdItemRemainder)
                {
                    roles[i] = EventRole.ColdItem;
                    continue;
                }

                roles[i] = EventRole.Train;
                (before, last) = (last, i);
                positives++;
            }

            if (positives >= LeastPositives)
                (roles[before], roles[last]) = (EventRole.Validation, EventRole.Test);
        }

        return roles;
    }

    private static void ByTime(RatingSet set, EventRole[] roles)
    {
        IReadOnlyList<Rating> ratings = set.Ratings;
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
            {
                roles[i] = rating.Time < validation ? EventRole.Train
                    : !users.Contains(rating.User) ? EventRole.ColdUser
                    : !items.Contains(rating.Item) ? EventRole.ColdItem
                    : rating.Time < test ? EventRole.Validation
                    : EventRole.Test;
            }
        }
    }
}
