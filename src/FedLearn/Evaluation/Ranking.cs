using System.Buffers;

namespace FedLearn.Evaluation;

/// <summary>Rows by falling score, sorted once, so that a figure of ranks costs one pass for any weights of the rows.</summary>
internal sealed class Ranking
{
    private const byte Positive = 1, LastOfTie = 2;

    private readonly int[] _rows;
    private readonly byte[] _flags;

    private Ranking(int[] rows, byte[] flags) => (_rows, _flags) = (rows, flags);

    /// <summary>Rows by falling score; those of equal score in their own order.</summary>
    public ReadOnlySpan<int> Rows => _rows;

    /// <summary>The place after the last row with the score of that at a place.</summary>
    public int EndOfTie(int place)
    {
        while ((_flags[place] & LastOfTie) == 0)
            place++;
        return place + 1;
    }

    /// <summary>Figures of ranks; NaN where a class they need has no weight.</summary>
    public readonly record struct Figures(double Auc, double Ks, double AveragePrecision);

    /// <summary>Null when a score is NaN. Labels are positive above 0.</summary>
    public static Ranking? Of(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        double[] sorted = scores.ToArray();
        int[] rows = new int[sorted.Length];
        for (int i = 0; i < rows.Length; i++)
        {
            if (double.IsNaN(sorted[i]))
                return null;
            (sorted[i], rows[i]) = (-sorted[i], i);
        }

        Array.Sort(sorted, rows);
        byte[] flags = new byte[rows.Length];
        for (int i = 0; i < rows.Length; i++)
        {
            int first = i;
            while (i + 1 < rows.Length && sorted[i + 1] == sorted[i])
                i++;
            rows.AsSpan(first, i + 1 - first).Sort();
            flags[i] = LastOfTie;
        }

        for (int i = 0; i < rows.Length; i++)
            if (labels[rows[i]] > 0)
                flags[i] |= Positive;

        return new(rows, flags);
    }

    /// <summary>Figures with every row counted once.</summary>
    public Figures Weigh()
    {
        byte[] ones = new byte[_rows.Length];
        Array.Fill(ones, (byte)1);
        return Weigh(ones, _flags.Count(flags => (flags & Positive) != 0));
    }

    /// <summary>Figures with every row counted as often as stated.</summary>
    /// <param name="counts">One for each row; as many in all as there are rows.</param>
    /// <param name="positives">How many of them are of positive rows.</param>
    public Figures Weigh(ReadOnlySpan<byte> counts, long positives)
    {
        byte[] ranked = ArrayPool<byte>.Shared.Rent(_rows.Length);
        for (int i = 0; i < _rows.Length; i++)
            ranked[i] = counts[_rows[i]];
        Figures figures = WeighRanked(ranked.AsSpan(0, _rows.Length), positives);
        ArrayPool<byte>.Shared.Return(ranked);
        return figures;
    }

    /// <summary>How many of some neighbours in rank, each counted as often as stated, are positive.</summary>
    /// <param name="first">The first of them.</param>
    /// <param name="counts">One for each of them.</param>
    public long Positives(int first, ReadOnlySpan<byte> counts)
    {
        long positives = 0;
        ReadOnlySpan<byte> flags = _flags.AsSpan(first, counts.Length);
        for (int i = 0; i < counts.Length; i++)
            positives += counts[i] & -(flags[i] & Positive);
        return positives;
    }

    /// <summary>As <see cref="Weigh(ReadOnlySpan{byte}, long)"/>, with the counts in the order of <see cref="Rows"/>. They are exact in long up to 2^31 rows in all.</summary>
    public Figures WeighRanked(ReadOnlySpan<byte> counts, long positives)
    {
        // Pairs count twice the (positive, negative) pairs in order, a tie once; gap is (TPR - FPR) positives negatives.
        long negatives = _rows.Length - positives, above = 0, aboveNegatives = 0, tp = 0, fp = 0, pairs = 0, gap = 0;
        double precision = 0;
        ReadOnlySpan<byte> all = _flags.AsSpan(0, counts.Length);
        for (int i = 0; i < counts.Length; i++)
        {
            int count = counts[i], flags = all[i], positive = count & -(flags & Positive);
            tp += positive;
            fp += count - positive;
            if ((flags & LastOfTie) == 0)
                continue;
            pairs += (fp - aboveNegatives) * (tp + above);
            gap = Math.Max(gap, (tp * negatives) - (fp * positives));
            precision += (double)(tp - above) * tp / Math.Max(1, tp + fp);
            (above, aboveNegatives) = (tp, fp);
        }

        double both = (double)positives * negatives;            // 0/0 is the NaN wanted
        return new(pairs / (2 * both), gap / both, precision / positives);
    }

    /// <summary>Both curves at the same thresholds; null when a class is absent.</summary>
    public (RocCurve Roc, PrecisionRecallCurve PrecisionRecall)? Curves(int most)
    {
        List<(int Tp, int Fp)> points = [(0, 0)];
        (int tp, int fp) = (0, 0);
        foreach (byte flags in _flags)
        {
            _ = (flags & Positive) != 0 ? tp++ : fp++;
            if ((flags & LastOfTie) != 0)
                points.Add((tp, fp));
        }

        if (tp == 0 || fp == 0)
            return null;
        List<(int Tp, int Fp)> kept = Thinned(points, tp, fp, most);
        return (new([.. kept.Select(p => p.Fp / (double)fp)], [.. kept.Select(p => p.Tp / (double)tp)]),
            new([.. kept.Select(p => p.Tp / (double)tp)], [.. kept.Select(p => p == (0, 0) ? points[1] : p).Select(p => p.Tp / (double)(p.Tp + p.Fp))]));
    }

    /// <summary>At most so many points, about evenly spaced in TPR + FPR, which grows along both curves; the first and the last always.</summary>
    private static List<(int Tp, int Fp)> Thinned(List<(int Tp, int Fp)> points, int positives, int negatives, int most)
    {
        if (points.Count <= most)
            return points;
        List<(int Tp, int Fp)> kept = [];
        double next = 0;
        foreach ((int Tp, int Fp) point in points)
        {
            double way = ((point.Tp / (double)positives) + (point.Fp / (double)negatives)) / 2 * (most - 1);
            if (way < next)
                continue;
            kept.Add(point);
            next = Math.Floor(way) + 1;                          // at most - 1 before the last point, which is so always kept
        }

        return kept;
    }
}
