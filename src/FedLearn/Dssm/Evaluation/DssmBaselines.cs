using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace FedLearn.Dssm;

/// <summary>Recommenders without towers that stand beside every result. They learn from the events of role <see cref="EventRole.Train"/> alone.</summary>
/// <remarks>Where a score depends on the user, it is computed from what the user had met just before the event: the earlier training events, or for a user that training never
/// saw all earlier events. An event without such a history is scored by popularity.</remarks>
public sealed class DssmBaselines
{
    // Below every similarity by so much that it decides ties alone.
    private const double Tiebreak = 1e-12;

    private readonly InteractionTable _interactions;
    private readonly int _items;
    private readonly int[][] _itemsOfUser;
    private readonly int[][] _usersOfItem;
    private readonly int[] _firstEvent;
    private readonly IReadOnlyList<bool>? _liked;
    private readonly double[] _counts;

    /// <summary>Reads the events.</summary>
    /// <param name="interactions">The events.</param>
    /// <param name="items">Number of items.</param>
    /// <param name="liked">Per event, whether it was positive: then the history of a user that training never saw has the positive events alone. Null: all.</param>
    /// <exception cref="ArgumentException">There is not one flag an event.</exception>
    public DssmBaselines(InteractionTable interactions, int items, IReadOnlyList<bool>? liked = null)
    {
        ArgumentNullException.ThrowIfNull(interactions);
        if (liked is not null && liked.Count != interactions.Events.Count)
            throw new ArgumentException("There is not one flag an event.", nameof(liked));
        (_interactions, _items, _liked) = (interactions, items, liked);
        _firstEvent = [.. Enumerable.Repeat(-1, interactions.Users.Count)];
        var ofUser = new SortedSet<int>?[interactions.Users.Count];
        for (int e = 0; e < interactions.Events.Count; e++)
        {
            Interaction x = interactions.Events[e];
            if (_firstEvent[x.User] < 0)
                _firstEvent[x.User] = e;
            if (x.Role == EventRole.Train)
                (ofUser[x.User] ??= []).Add(x.Item);
        }

        _itemsOfUser = [.. ofUser.Select(own => own is null ? Array.Empty<int>() : [.. own])];
        _usersOfItem = Transposed(_itemsOfUser, items);
        _counts = new double[items];
        foreach (Interaction e in interactions.Events)
            _counts[e.Item] += e.Role == EventRole.Train ? 1 : 0;
    }

    /// <summary>Number of training events of each item: the same order for every user.</summary>
    public DssmScores Popularity() => Same(_counts);

    /// <summary>One order for every user: an item's mean score over the events of a role. For whoever evaluates a model in code: what it has beyond this is its knowledge of users.</summary>
    /// <param name="scores">Scores of a model.</param>
    /// <param name="events">The events, indices into the table's events.</param>
    public DssmScores SameForAll(DssmScores scores, IReadOnlyList<int> events)
    {
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(events);
        double[] mean = new double[_items], row = new double[_items];
        foreach (int e in events)
        {
            scores([e], row);
            TensorPrimitives.Add(mean, row, mean);
        }

        return Same(mean);
    }

    /// <summary>Scores that are drawn for every event and item, the floor of all models.</summary>
    /// <param name="seed">Seed.</param>
    public DssmScores Random(long seed) => (events, scores) =>
    {
        for (int i = 0; i < events.Length; i++)
        {
            ulong first = EvaluationNegatives.Mix(unchecked((ulong)seed + (ulong)events[i]));
            for (int item = 0; item < _items; item++)
                scores[(i * _items) + item] = EvaluationNegatives.Mix(unchecked(first + (ulong)item)) >> 11;
        }
    };

    /// <summary>Items that a score of the event may know of, rising.</summary>
    internal int[] History(int index) => Histories([index])[0];

    /// <summary>The histories of some events. Where that of one is that of the user's one before, it is the same array: of thousands of events of one user, after thousands that were trained on, most are.</summary>
    private int[][] Histories(ReadOnlySpan<int> events)
    {
        int[][] histories = new int[events.Length][];
        List<int> met = [], before = [];
        for (int i = 0; i < events.Length; i++)
        {
            (met, before) = (before, met);
            met.Clear();
            Interaction target = _interactions.Events[events[i]];
            bool trained = _itemsOfUser[target.User].Length > 0;
            for (int e = _firstEvent[target.User]; e < events[i]; e++)
            {
                Interaction x = _interactions.Events[e];
                if (x.Item != target.Item && x.Moment < target.Moment && (trained ? x.Role == EventRole.Train : _liked?[e] != false))
                    met.Add(x.Item);
            }

            histories[i] = i > 0 && _interactions.Events[events[i - 1]].User == target.User && CollectionsMarshal.AsSpan(met).SequenceEqual(CollectionsMarshal.AsSpan(before)) ? histories[i - 1] : [.. met.Distinct().Order()];
        }

        return histories;
    }

    private static bool IsAgain(int[][] histories, int i) => i > 0 && histories[i] == histories[i - 1];

    private DssmScores Same(double[] row) => (events, scores) =>
    {
        for (int i = 0; i < events.Length; i++)
            row.CopyTo(scores.Slice(i * _items, _items));
    };

    private static int[][] Transposed(int[][] rows, int columns)
    {
        int[][] transposed = new int[columns][];
        int[] counts = new int[columns];
        foreach (int[] row in rows)
            foreach (int c in row)
                counts[c]++;
        for (int c = 0; c < columns; c++)
            (transposed[c], counts[c]) = (new int[counts[c]], 0);
        for (int r = 0; r < rows.Length; r++)
            foreach (int c in rows[r])
                transposed[c][counts[c]++] = r;
        return transposed;
    }

    /// <summary>Item-based nearest neighbours (Sarwar et al. 2001) on which user met which item: s_ij = n_ij/(sqrt(n_i n_j) + shrink), and an item's score is the sum of its
    /// similarities to those of its nearest neighbours that the user met. For a user that training never saw, whose
    /// history may be short, items that tie go by popularity.</summary>
    /// <param name="neighbours">Nearest neighbours kept of an item, at least 1; equal ones by place in the catalogue.</param>
    /// <param name="shrink">Shrinkage, at least 0.</param>
    /// <param name="cancellationToken">Stops.</param>
    public DssmScores ItemKnn(int neighbours = 50, double shrink = 10, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(neighbours, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(shrink);
        var near = new (int Item, double Similarity)[_items][];
        Parallel.For(0, _items, new ParallelOptions { CancellationToken = cancellationToken }, () => (Counts: new int[_items], Touched: new List<int>()), (item, _, common) =>
        {
            // A catalogue has many more items than share a user with this one: only those are looked at, and cleared.
            foreach (int user in _usersOfItem[item])
                foreach (int other in _itemsOfUser[user])
                    if (other != item && common.Counts[other]++ == 0)
                        common.Touched.Add(other);
            // The least similar comes first, and of equal ones the last of the catalogue.
            var best = new PriorityQueue<(int Item, double Similarity), (double Similarity, int Place)>();
            foreach (int other in common.Touched)
            {
                double similarity = common.Counts[other] / (Math.Sqrt((double)_usersOfItem[item].Length * _usersOfItem[other].Length) + shrink);
                if (best.Count < neighbours)
                    best.Enqueue((other, similarity), (similarity, -other));
                else
                    best.EnqueueDequeue((other, similarity), (similarity, -other));
                common.Counts[other] = 0;
            }

            near[item] = [.. best.UnorderedItems.Select(pair => pair.Element)];
            common.Touched.Clear();
            return common;
        }, _ => { });

        // Turned round: of each met item, the items that have it as a neighbour.
        var reached = new List<(int Item, double Similarity)>[_items];
        for (int item = 0; item < _items; item++)
            foreach ((int other, double similarity) in near[item])
                (reached[other] ??= []).Add((item, similarity));
        return (events, scores) =>
        {
            int[][] histories = Histories(events);
            for (int i = 0; i < events.Length; i++)
            {
                Span<double> row = scores.Slice(i * _items, _items);
                if (IsAgain(histories, i))
                {
                    scores.Slice((i - 1) * _items, _items).CopyTo(row);
                    continue;
                }

                int[] history = histories[i];
                bool trained = history.Length > 0 && _itemsOfUser[_interactions.Events[events[i]].User].Length > 0;
                TensorPrimitives.Multiply(_counts, trained ? 0 : Tiebreak, row);
                foreach (int met in history)
                    foreach ((int item, double similarity) in reached[met] ?? [])
                        row[item] += similarity;
            }
        };
    }

    /// <summary>Implicit alternating least squares (Hu, Koren and Volinsky 2008) in the form of Rendle et al. 2022, "Revisiting the performance of iALS": the sum of alpha (1 - s)^2
    /// over what users met and of s^2 over all pairs, with a ridge. A user's factors are solved from the history of the event with the items' factors held fixed.</summary>
    /// <param name="factors">Number of factors, at least 1.</param>
    /// <param name="alpha">Weight of a met item, at least 0.</param>
    /// <param name="lambda">Ridge penalty, above 0.</param>
    /// <param name="iterations">Rounds, each solving users then items; at least 1.</param>
    /// <param name="seed">Seed of the items' starting values. Not secret.</param>
    /// <param name="cancellationToken">Stops.</param>
    public DssmScores ImplicitAls(int factors = 64, double alpha = 10, double lambda = 30, int iterations = 10, long seed = 0, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(factors, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(alpha);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(lambda);
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        double[] users = new double[_itemsOfUser.Length * factors], items = new double[_items * factors];
        for (int i = 0; i < items.Length; i++)
            items[i] = StartingValue(seed, i);
        for (int round = 0; round < iterations; round++)
        {
            new LeastSquares(items, factors, alpha, lambda).SolveAll(_itemsOfUser, users, cancellationToken);
            new LeastSquares(users, factors, alpha, lambda).SolveAll(_usersOfItem, items, cancellationToken);
        }

        var final = new LeastSquares(items, factors, alpha, lambda);
        return (events, scores) =>
        {
            int[][] histories = Histories(events), others = [.. histories.Where((_, i) => !IsAgain(histories, i))];
            double[] own = new double[others.Length * factors];
            final.SolveAll(others, own, default);
            for (int i = 0, solved = -1; i < histories.Length; i++)
            {
                Span<double> row = scores.Slice(i * _items, _items);
                if (IsAgain(histories, i))
                {
                    scores.Slice((i - 1) * _items, _items).CopyTo(row);
                    continue;
                }

                solved++;
                for (int item = 0; item < _items; item++)
                    row[item] = histories[i].Length == 0 ? _counts[item] : TensorPrimitives.Dot<double>(own.AsSpan(solved * factors, factors), items.AsSpan(item * factors, factors));
            }
        };
    }

    /// <summary>Uniform in +-0.1, from a state that hashes the seed.</summary>
    internal static double StartingValue(long seed, int place) =>
        0.1 * (2 * PublicRandom.Unit(EvaluationNegatives.Mix(unchecked(EvaluationNegatives.Mix((ulong)seed) + (ulong)place))) - 1);

    /// <summary>One side's ridge regressions: x = (Y'Y + alpha sum y y' + lambda I)^-1 alpha sum y, the sums over the row's own.</summary>
    private sealed class LeastSquares
    {
        private readonly double[] _fixed, _gram;
        private readonly int _width;
        private readonly double _alpha;

        public LeastSquares(double[] vectors, int width, double alpha, double lambda)
        {
            (_fixed, _width, _alpha, _gram) = (vectors, width, alpha, new double[width * width]);
            for (int row = 0; row < vectors.Length; row += width)
                AddSquare(vectors.AsSpan(row, width), 1, _gram);
            for (int i = 0; i < width; i++)
                _gram[(i * width) + i] += lambda;
        }

        public void SolveAll(int[][] rows, double[] solutions, CancellationToken cancellationToken) =>
            Parallel.For(0, rows.Length, new ParallelOptions { CancellationToken = cancellationToken }, () => new double[_width * _width], (row, _, matrix) =>
            {
                Solve(rows[row], matrix, solutions.AsSpan(row * _width, _width));
                return matrix;
            }, _ => { });

        private void Solve(int[] own, double[] matrix, Span<double> x)
        {
            x.Clear();
            if (own.Length == 0)
                return;
            _gram.CopyTo(matrix, 0);
            foreach (int other in own)
            {
                ReadOnlySpan<double> y = _fixed.AsSpan(other * _width, _width);
                AddSquare(y, _alpha, matrix);
                TensorPrimitives.MultiplyAdd(y, _alpha, x, x);
            }

            // Cholesky by rows of the lower triangle; the ridge keeps the pivots above 0.
            for (int i = 0; i < _width; i++)
            {
                Span<double> row = matrix.AsSpan(i * _width, i + 1);
                for (int j = 0; j < i; j++)
                    row[j] = (row[j] - TensorPrimitives.Dot<double>(row[..j], matrix.AsSpan(j * _width, j))) / matrix[(j * _width) + j];
                row[i] = Math.Sqrt(row[i] - TensorPrimitives.SumOfSquares<double>(row[..i]));
                x[i] = (x[i] - TensorPrimitives.Dot<double>(row[..i], x[..i])) / row[i];
            }

            for (int i = _width - 1; i >= 0; i--)
            {
                x[i] /= matrix[(i * _width) + i];
                TensorPrimitives.MultiplyAdd(matrix.AsSpan(i * _width, i), -x[i], x[..i], x[..i]);
            }
        }

        private void AddSquare(ReadOnlySpan<double> y, double weight, double[] matrix)
        {
            for (int i = 0; i < _width; i++)
            {
                Span<double> row = matrix.AsSpan(i * _width, i + 1);
                TensorPrimitives.MultiplyAdd(y[..(i + 1)], weight * y[i], row, row);
            }
        }
    }
}
