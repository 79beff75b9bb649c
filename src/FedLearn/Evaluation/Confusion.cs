namespace FedLearn.Evaluation;

/// <summary>Figures of a table of rows by true class (first) and predicted class; NaN where there is nothing to divide by.</summary>
/// <param name="counts">Shape [M M], row by row.</param>
/// <param name="classes">Number of classes M.</param>
internal readonly ref struct Confusion(ReadOnlySpan<long> counts, int classes)
{
    private readonly ReadOnlySpan<long> _counts = counts;

    public double Accuracy
    {
        get
        {
            long hits = 0, rows = 0;
            for (int m = 0; m < classes; m++)
                hits += Hits(m);
            foreach (long count in _counts)
                rows += count;
            return hits / (double)rows;
        }
    }

    public double Precision(int m) => Hits(m) / (double)Predicted(m);

    public double Recall(int m) => Hits(m) / (double)Rows(m);

    public double F1(int m) => 2 * Hits(m) / (double)(Rows(m) + Predicted(m));

    /// <summary>Unweighted means over the classes that occur as label or as prediction; a figure that is not defined counts 0 there.</summary>
    public (double Precision, double Recall, double F1) Macro()
    {
        double precision = 0, recall = 0, f1 = 0;
        int occurring = 0;
        for (int m = 0; m < classes; m++)
        {
            long rows = Rows(m), predicted = Predicted(m);
            if (rows + predicted == 0)
                continue;
            occurring++;
            precision += predicted == 0 ? 0 : Precision(m);
            recall += rows == 0 ? 0 : Recall(m);
            f1 += F1(m);
        }

        return (precision / occurring, recall / occurring, f1 / occurring);
    }

    public ConfusionMatrix ToMatrix()
    {
        int[][] rows = new int[classes][];
        for (int m = 0; m < classes; m++)
        {
            rows[m] = new int[classes];
            for (int predicted = 0; predicted < classes; predicted++)
                rows[m][predicted] = (int)_counts[(m * classes) + predicted];
        }

        return new([.. Enumerable.Range(0, classes).Select(Name)], rows);
    }

    public PerClassFigures[] PerClass(IReadOnlyList<double?> aucs)
    {
        var figures = new PerClassFigures[classes];
        for (int m = 0; m < classes; m++)
            figures[m] = new(Name(m), (int)Rows(m), Metrics.Defined(Precision(m)), Metrics.Defined(Recall(m)), Metrics.Defined(F1(m)), aucs[m]);
        return figures;
    }

    private static string Name(int m) => m.ToString(System.Globalization.CultureInfo.InvariantCulture);

    private long Hits(int m) => _counts[(m * classes) + m];

    public long Rows(int m)
    {
        long sum = 0;
        foreach (long count in _counts.Slice(m * classes, classes))
            sum += count;
        return sum;
    }

    private long Predicted(int m)
    {
        long sum = 0;
        for (int truly = 0; truly < classes; truly++)
            sum += _counts[(truly * classes) + m];
        return sum;
    }
}
