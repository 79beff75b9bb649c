using System.Numerics;
using FedLearn.Evaluation;

namespace FedLearn.Dssm;

/// <summary>Scores every item for some events.</summary>
/// <param name="events">Indices into the table's events.</param>
/// <param name="scores">Receives events.Length x items scores, row-major; a greater score is a better one, in any unit.</param>
public delegate void DssmScores(ReadOnlySpan<int> events, Span<double> scores);

/// <summary>Scores a few items of each of some events.</summary>
/// <param name="events">Indices into the table's events.</param>
/// <param name="ends">Where each event's items end, the next one's begin.</param>
/// <param name="items">The items of one event after the other.</param>
/// <param name="scores">Receives a score an item, as <see cref="DssmScores"/> gives it.</param>
internal delegate void DssmSomeScores(ReadOnlySpan<int> events, ReadOnlySpan<int> ends, ReadOnlySpan<int> items, Span<double> scores);

/// <summary>Ranks the items of the active party's events against drawn negatives and against the catalogue.</summary>
/// <remarks>A user has met an item when the table holds an event of both, whatever its role; a met item is a candidate of no event but its own. Not for several threads at
/// once.</remarks>
public sealed class DssmEvaluator
{
    /// <summary>Drawn negatives of a user, unless said otherwise.</summary>
    internal const int UsualNegatives = 99;

    private const int ChunkScores = 1 << 18;                     // 2 MiB of scores, which are still in a cache when they are ranked
    private const int LeastChunk = 16;                           // samples a chunk at least, also with a large catalogue: each chunk reads the vectors of all items
    private const int SomeChunk = 256;

    private readonly InteractionTable _interactions;
    private readonly ulong[] _itemNumbers;
    private readonly int[] _coldItems;
    private readonly int[][] _met;
    private readonly int[]?[] _drawn;
    private readonly int[] _trainCounts;
    private readonly int _negatives;

    /// <summary>Prepares the evaluation of a table.</summary>
    /// <param name="interactions">The events.</param>
    /// <param name="items">The items.</param>
    /// <param name="negatives">Number of drawn negatives of a user, as <see cref="EvaluationNegatives"/> has them.</param>
    /// <param name="coldItems">Per item, whether training never saw it, for events of role <see cref="EventRole.ColdItem"/>; null: the items that have such an event.</param>
    /// <exception cref="ArgumentException">An event names a user or item that is not there, or the flags are not one an item.</exception>
    public DssmEvaluator(InteractionTable interactions, ItemTable items, int negatives = UsualNegatives, IReadOnlyList<bool>? coldItems = null)
    {
        ArgumentNullException.ThrowIfNull(interactions);
        ArgumentNullException.ThrowIfNull(items);
        ArgumentOutOfRangeException.ThrowIfLessThan(negatives, 1);
        if (coldItems is not null && coldItems.Count != items.Ids.Count)
            throw new ArgumentException("There is not one flag an item.", nameof(coldItems));
        (_interactions, _negatives) = (interactions, negatives);
        _itemNumbers = [.. items.Ids.Select(EvaluationNegatives.NumberOf)];
        _drawn = new int[]?[interactions.Users.Count];
        _trainCounts = new int[Items];
        bool[] cold = coldItems is null ? new bool[Items] : [.. coldItems];
        var met = new List<int>[interactions.Users.Count];
        foreach (Interaction e in interactions.Events)
        {
            if ((uint)e.User >= (uint)met.Length || (uint)e.Item >= (uint)Items)
                throw new ArgumentException("An event names a user or an item that is not there.", nameof(interactions));
            (met[e.User] ??= []).Add(e.Item);
            _trainCounts[e.Item] += e.Role == EventRole.Train ? 1 : 0;
            cold[e.Item] |= coldItems is null && e.Role == EventRole.ColdItem;
        }

        _met = [.. met.Select(own => own is null ? Array.Empty<int>() : [.. own.Distinct().Order()])];
        _coldItems = [.. Enumerable.Range(0, Items).Where(i => cold[i])];
    }

    private int Items => _itemNumbers.Length;

    /// <summary>Indices of the events of a role, in the table's order.</summary>
    /// <param name="role">The role.</param>
    public int[] EventsOf(EventRole role) => [.. Enumerable.Range(0, _interactions.Events.Count).Where(e => _interactions.Events[e].Role == role)];

    /// <summary>Drawn negatives of a user, indices of items. Must not be changed.</summary>
    /// <param name="user">Index of the user.</param>
    public int[] NegativesOf(int user) => _drawn[user] ??= EvaluationNegatives.Of(EvaluationNegatives.NumberOf(_interactions.Users[user]), _itemNumbers, _met[user], _negatives);

    /// <summary>All figures of a role's events.</summary>
    /// <param name="role">The role; <see cref="EventRole.ColdItem"/> also ranks among the cold items alone.</param>
    /// <param name="scores">Called with some events at a time, in the table's order.</param>
    /// <param name="options">Resamples, level and seed of the intervals; null: the defaults.</param>
    public RankingReport Evaluate(EventRole role, DssmScores scores, EvaluationOptions? options = null)
    {
        int[] events = EventsOf(role);
        TargetRank[] sampled = new TargetRank[events.Length], full = new TargetRank[events.Length], cold = new TargetRank[role == EventRole.ColdItem ? events.Length : 0];
        var lists = new Lists(Items);
        int done = 0;
        ForEach(events, scores, (e, row) =>
        {
            Interaction target = _interactions.Events[e];
            sampled[done] = Among(row, target, NegativesOf(target.User), skipMet: false);
            full[done] = AmongAll(row, target);
            if (cold.Length > 0)
                cold[done] = Among(row, target, _coldItems, skipMet: true);
            lists.Add(row, _met[target.User], target.Item, done++);
        });

        RankingResult[] results = RankingMetrics.OfWays(cold.Length > 0 ? [sampled, full, cold] : [sampled, full], options ?? new());
        (double? coverage, double? popularity) = lists.Figures(_trainCounts);
        return new RankingReport
        {
            Events = events.Length,
            Users = events.Select(e => _interactions.Events[e].User).Distinct().Count(),
            Sampled = results[0],
            Full = results[1],
            AmongCold = cold.Length > 0 ? results[2] : null,
            Coverage10 = coverage,
            Popularity10 = popularity,
            SampledRanks = sampled,
            FullRanks = full,
        };
    }

    /// <summary>NDCG@10 against drawn negatives alone, such as to choose an epoch by; null without events.</summary>
    /// <param name="role">The role, such as <see cref="EventRole.Validation"/>.</param>
    /// <param name="scores">Called with some events at a time, in the table's order.</param>
    public double? SampledNdcg(EventRole role, DssmScores scores)
    {
        int[] events = EventsOf(role);
        double sum = 0;
        ForEach(events, scores, (e, row) => sum += RankingMetrics.Ndcg(Among(row, _interactions.Events[e], NegativesOf(_interactions.Events[e].User), skipMet: false).Rank));
        return events.Length == 0 ? null : sum / events.Length;
    }

    /// <summary>The same figure from the scores of the target and the drawn negatives alone: at most 100 a sample, however many items there are.</summary>
    internal double? SampledNdcg(EventRole role, DssmSomeScores scores)
    {
        int[] events = EventsOf(role), ends = new int[Math.Min(SomeChunk, events.Length)], items = new int[ends.Length * (_negatives + 1)];
        double[] values = new double[items.Length];
        double sum = 0;
        for (int begin = 0; begin < events.Length; begin += SomeChunk)
        {
            ReadOnlySpan<int> some = events.AsSpan(begin, Math.Min(SomeChunk, events.Length - begin));
            int count = 0;
            for (int i = 0; i < some.Length; i++)
            {
                Interaction target = _interactions.Events[some[i]];
                items[count++] = target.Item;
                int[] drawn = NegativesOf(target.User);
                drawn.CopyTo(items, count);
                ends[i] = count += drawn.Length;
            }

            scores(some, ends.AsSpan(0, some.Length), items.AsSpan(0, count), values.AsSpan(0, count));
            for (int i = 0, from = 0; i < some.Length; from = ends[i++])
                sum += RankingMetrics.Ndcg(Ranked(_interactions.Events[some[i]].User, values[from], values.AsSpan((from + 1)..ends[i])).Rank);
        }

        return events.Length == 0 ? null : sum / events.Length;
    }

    private void ForEach(int[] events, DssmScores scores, Visit visit)
    {
        ArgumentNullException.ThrowIfNull(scores);
        int chunk = Math.Min(Math.Max(ChunkScores / Math.Max(1, Items), LeastChunk), Math.Max(1, events.Length));
        double[] rows = new double[checked(chunk * Items)];
        for (int begin = 0; begin < events.Length; begin += chunk)
        {
            ReadOnlySpan<int> some = events.AsSpan(begin, Math.Min(chunk, events.Length - begin));
            scores(some, rows.AsSpan(0, some.Length * Items));
            for (int i = 0; i < some.Length; i++)
                visit(some[i], rows.AsSpan(i * Items, Items));
        }
    }

    private delegate void Visit(int index, ReadOnlySpan<double> row);

    private TargetRank Among(ReadOnlySpan<double> row, Interaction target, int[] candidates, bool skipMet)
    {
        double score = row[target.Item];
        int less = 0, greater = 0, count = 0;
        int[] met = skipMet ? _met[target.User] : [];
        foreach (int item in candidates)
        {
            if (item == target.Item || (skipMet && Array.BinarySearch(met, item) >= 0))
                continue;
            count++;
            less += row[item] < score ? 1 : 0;
            greater += row[item] > score ? 1 : 0;
        }

        return Ranked(target.User, less, greater, count);
    }

    private static TargetRank Ranked(int user, double score, ReadOnlySpan<double> others)
    {
        (int less, int greater) = Counts(others, score);
        return Ranked(user, less, greater, others.Length);
    }

    /// <summary>Counts over the whole row in vectors, then takes out what the user met, the target included.</summary>
    private TargetRank AmongAll(ReadOnlySpan<double> row, Interaction target)
    {
        double score = row[target.Item];
        (int less, int greater) = Counts(row, score);
        int[] met = _met[target.User];
        foreach (int item in met)
        {
            less -= row[item] < score ? 1 : 0;
            greater -= row[item] > score ? 1 : 0;
        }

        return Ranked(target.User, less, greater, Items - met.Length);
    }

    private static TargetRank Ranked(int user, int less, int greater, int count) => new(user, 1 + greater + ((count - less - greater) / 2.0), count);

    private static (int Less, int Greater) Counts(ReadOnlySpan<double> row, double score)
    {
        Vector<double> target = new(score);
        Vector<long> below = default, above = default;
        int i = 0;
        for (; i + Vector<double>.Count <= row.Length; i += Vector<double>.Count)
        {
            var some = new Vector<double>(row[i..]);
            below -= Vector.LessThan(some, target);
            above -= Vector.GreaterThan(some, target);
        }

        int less = (int)Vector.Sum(below), greater = (int)Vector.Sum(above);
        for (; i < row.Length; i++)
        {
            less += row[i] < score ? 1 : 0;
            greater += row[i] > score ? 1 : 0;
        }

        return (less, greater);
    }

    /// <summary>Lists of the ten best of the events' candidates.</summary>
    private sealed class Lists(int items)
    {
        private readonly int[] _met = [.. Enumerable.Repeat(-1, items)];
        private readonly int[] _listed = new int[items];
        private readonly double[] _best = new double[RankingMetrics.ListLength];
        private readonly int[] _bestItems = new int[RankingMetrics.ListLength];
        private long _places;

        public void Add(ReadOnlySpan<double> row, int[] met, int target, int number)
        {
            foreach (int item in met)
                _met[item] = number;
            _met[target] = -1;
            int count = 0, i = 0;
            for (; i + Vector<double>.Count <= row.Length; i += Vector<double>.Count)
            {
                if (count == _best.Length && !Vector.GreaterThanAny(new Vector<double>(row[i..]), new Vector<double>(_best[^1])))
                    continue;
                for (int j = i; j < i + Vector<double>.Count; j++)
                    Offer(row[j], j, number, ref count);
            }

            for (; i < row.Length; i++)
                Offer(row[i], i, number, ref count);
            for (int place = 0; place < count; place++)
                _listed[_bestItems[place]]++;
            _places += count;
        }

        public (double? Coverage, double? Popularity) Figures(int[] counts)
        {
            if (_places == 0)
                return (null, null);
            double sum = 0;
            for (int i = 0; i < _listed.Length; i++)
                sum += (double)_listed[i] * counts[i];
            return (_listed.Count(n => n > 0) / (double)_listed.Length, sum / _places);
        }

        // Items come in the catalogue's order, so that of equal scores the earlier stays before the later.
        private void Offer(double score, int item, int number, ref int count)
        {
            if (_met[item] == number || double.IsNaN(score) || (count == _best.Length && !(score > _best[^1])))
                return;
            int place = count < _best.Length ? count++ : count - 1;
            for (; place > 0 && _best[place - 1] < score; place--)
                (_best[place], _bestItems[place]) = (_best[place - 1], _bestItems[place - 1]);
            (_best[place], _bestItems[place]) = (score, item);
        }
    }
}
