namespace FedLearn.Evaluation;

/// <summary>Rows of two classes, prepared for weighing. No score, mean or label is NaN.</summary>
/// <remarks>They are kept by falling score, so that weighing millions of them reads memory in order: those predicted to be 1 come first.</remarks>
internal sealed class BinaryRows
{
    private readonly Ranking _ranking;
    private readonly double[] _losses, _squares;
    private readonly NullModel? _none;
    private readonly double[] _labels;
    private readonly int _predicted;                             // how many are predicted to be 1

    public BinaryRows(Ranking ranking, ReadOnlySpan<double> scores, ReadOnlySpan<double> means, ReadOnlySpan<double> labels, double cut, NullModel? none = null)
    {
        _ranking = ranking;
        (_none, _labels) = (none?.Ordered(ranking.Rows), none is null ? [] : new double[labels.Length]);
        _losses = new double[scores.Length];
        _squares = new double[scores.Length];
        ReadOnlySpan<int> rows = _ranking.Rows;
        for (int i = 0; i < rows.Length; i++)
        {
            int row = rows[i];
            _losses[i] = Metrics.LogLoss(scores[row], labels[row]);
            _squares[i] = (labels[row] - means[row]) * (labels[row] - means[row]);
            if (none is not null)
                _labels[i] = labels[row];
            if (scores[row] > cut)
                _predicted++;
        }
    }

    public (RocCurve Roc, PrecisionRecallCurve PrecisionRecall)? Curves(int most) => _ranking.Curves(most);

    /// <summary>The score whose probability is the threshold: 0 for one half, exactly.</summary>
    public static double Cut(double threshold) => Math.Log(threshold / (1 - threshold));

    /// <summary>Probabilities of label 1 at log odds.</summary>
    public static double[] Means(ReadOnlySpan<double> scores)
    {
        double[] means = new double[scores.Length];
        for (int i = 0; i < means.Length; i++)
            means[i] = 1 / (1 + Math.Exp(-scores[i]));
        return means;
    }

    /// <summary>The rows by falling score, for <see cref="Figures"/>; null when a score is NaN. Refuses vectors of unequal lengths.</summary>
    public static Ranking? Rank(ReadOnlySpan<double> scores, ReadOnlySpan<double> means, ReadOnlySpan<double> labels)
    {
        Metrics.RequireEqualLengths(scores, labels);
        Metrics.RequireEqualLengths(means, labels);
        return Ranking.Of(scores, labels);
    }

    /// <summary>Figures with every row counted once. NaN in, NaN or null out.</summary>
    public static MetricSet Figures(Ranking? ranking, ReadOnlySpan<double> scores, ReadOnlySpan<double> means, ReadOnlySpan<double> labels, double cut, NullModel? none = null)
    {
        if (labels.IsEmpty)
            return new();
        bool undefined = Metrics.HasNaN(scores);
        var confusion = new Confusion(Cells(scores, labels, cut), 2);
        double deviance = Metrics.BinomialDeviance(scores, labels);
        Ranking.Figures? ranks = ranking?.Weigh();
        return new()
        {
            Auc = Metrics.Defined(ranks?.Auc),
            Accuracy = undefined ? double.NaN : confusion.Accuracy,
            LogLoss = Metrics.LogLoss(scores, labels),
            Ks = Metrics.Defined(ranks?.Ks),
            PrAuc = Metrics.Defined(ranks?.AveragePrecision),
            Brier = Metrics.Brier(means, labels),
            Precision = undefined ? null : Metrics.Defined(confusion.Precision(1)),
            Recall = undefined ? null : Metrics.Defined(confusion.Recall(1)),
            F1 = undefined ? null : Metrics.Defined(confusion.F1(1)),
            Deviance = deviance,
            D2 = Metrics.Defined(D2(deviance, confusion.Rows(1), labels.Length, none?.Sums([], labels).Deviance)),
        };
    }

    /// <summary>Rows by label (first) and prediction.</summary>
    public static long[] Cells(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, double cut)
    {
        long[] cells = new long[4];
        for (int i = 0; i < scores.Length; i++)
            cells[(labels[i] > 0 ? 2 : 0) + (scores[i] > cut ? 1 : 0)]++;
        return cells;
    }

    /// <summary>Figures with every row counted as often as stated.</summary>
    /// <param name="counts">One for each row, by falling score, rows of equal score in their own order.</param>
    /// <param name="figures">Gets the figures.</param>
    public void Weigh(ReadOnlySpan<byte> counts, Span<double> figures)
    {
        double losses = 0, squares = 0;
        long predicted = 0;
        ReadOnlySpan<double> ofLosses = _losses.AsSpan(0, counts.Length), ofSquares = _squares.AsSpan(0, counts.Length);
        for (int i = 0; i < counts.Length; i++)
        {
            double count = counts[i];
            losses += count * ofLosses[i];
            squares += count * ofSquares[i];
        }

        foreach (byte count in counts[.._predicted])
            predicted += count;
        long hits = _ranking.Positives(0, counts[.._predicted]), misses = _ranking.Positives(_predicted, counts[_predicted..]);
        var confusion = new Confusion([counts.Length - predicted - misses, predicted - hits, misses, hits], 2);
        Ranking.Figures ranks = _ranking.WeighRanked(counts, confusion.Rows(1));
        figures[Figure.Auc] = ranks.Auc;
        figures[Figure.Ks] = ranks.Ks;
        figures[Figure.PrAuc] = ranks.AveragePrecision;
        figures[Figure.Accuracy] = confusion.Accuracy;
        figures[Figure.Precision] = confusion.Precision(1);
        figures[Figure.Recall] = confusion.Recall(1);
        figures[Figure.F1] = confusion.F1(1);
        figures[Figure.Brier] = squares / counts.Length;
        figures[Figure.LogLoss] = losses / counts.Length;
        figures[Figure.Deviance] = 2 * losses / counts.Length;
        figures[Figure.D2] = D2(2 * losses / counts.Length, confusion.Rows(1), counts.Length, _none?.Sums(counts, _labels).Deviance);
    }

    /// <summary>1 - deviance over that of the share of label 1, or over the sum given; NaN when a class is absent.</summary>
    private static double D2(double deviance, long positives, long rows, double? nullDeviance)
    {
        if (nullDeviance is { } sum && positives > 0 && positives < rows)
            return NullModel.Explained(deviance, sum / rows) ?? double.NaN;
        double p = positives / (double)rows, null2 = -2 * ((p * Math.Log(p)) + ((1 - p) * Math.Log(1 - p)));   // 0 log 0 is the NaN wanted
        return 1 - (deviance / null2);
    }
}
