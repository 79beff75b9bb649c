namespace FedLearn.Evaluation;

/// <summary>Rows of a model of a mean, prepared for weighing. No mean or label is NaN.</summary>
internal sealed class RegressionRows
{
    private readonly DevianceSum _deviance;
    private readonly double _mean;
    private readonly double[] _squares, _absolutes, _deviances, _nullDeviances, _centred;
    private readonly bool _splits;
    private readonly NullModel? _none;
    private readonly double[] _labels;

    public RegressionRows(ReadOnlySpan<double> means, ReadOnlySpan<double> labels, DevianceSum deviance, NullModel? none = null)
    {
        int n = labels.Length;
        (_none, _labels) = (none, none is null ? [] : labels.ToArray());
        (_squares, _absolutes, _deviances, _nullDeviances, _centred) = (new double[n], new double[n], new double[n], new double[n], new double[n]);
        (_deviance, _mean) = (deviance, Mean(labels));
        for (int i = 0; i < n; i++)
        {
            double error = labels[i] - means[i];
            _squares[i] = error * error;
            _absolutes[i] = Math.Abs(error);
            _deviances[i] = deviance(means.Slice(i, 1), labels.Slice(i, 1));
            _nullDeviances[i] = deviance([_mean], labels.Slice(i, 1));
            _centred[i] = labels[i] - _mean;
        }

        _splits = Splits(labels);
    }

    /// <summary>Sum of the unit deviances from the mean label.</summary>
    public static double NullDeviance(ReadOnlySpan<double> labels, DevianceSum deviance)
    {
        double[] means = new double[labels.Length];
        Array.Fill(means, Mean(labels));
        return deviance(means, labels);
    }

    /// <summary>Figures with every row counted as often as stated.</summary>
    public void Weigh(ReadOnlySpan<byte> counts, Span<double> figures)
    {
        double squares = 0, absolutes = 0, deviances = 0, nullDeviances = 0, first = 0, second = 0, n = counts.Length;
        for (int i = 0; i < counts.Length; i++)
        {
            double count = counts[i], centred = _centred[i];
            squares += count * _squares[i];
            absolutes += count * _absolutes[i];
            deviances += count * _deviances[i];
            nullDeviances += count * _nullDeviances[i];
            first += count * centred;
            second += count * centred * centred;
        }

        figures[Figure.Rmse] = Math.Sqrt(squares / n);
        figures[Figure.Mae] = absolutes / n;
        figures[Figure.Deviance] = deviances / n;
        double spread = second - (first * first / n);
        if (spread < second * 1e-6)                              // few digits are left of the difference, or all labels drawn are equal
            spread = Spread(counts, first / n);
        if (spread == 0)
            return;
        if (_none is not null)
        {
            (double nullDeviance, double nullSquares) = _none.Sums(counts, _labels);
            figures[Figure.R2] = NullModel.Explained(squares, nullSquares) ?? double.NaN;
            figures[Figure.D2] = NullModel.Explained(deviances, nullDeviance) ?? double.NaN;
            return;
        }

        figures[Figure.R2] = 1 - (squares / spread);
        if (_splits)                                             // sum d(y, m) = sum d(y, mean of y) + n d(mean of y, m) with m the mean of all rows
            figures[Figure.D2] = 1 - (deviances / (nullDeviances - (n * _deviance([_mean], [_mean + (first / n)]))));
    }

    /// <summary>Sum of squares about the mean drawn; 0 when all labels drawn are equal.</summary>
    private double Spread(ReadOnlySpan<byte> counts, double mean)
    {
        double sum = 0, low = double.PositiveInfinity, high = double.NegativeInfinity;
        for (int i = 0; i < counts.Length; i++)
        {
            if (counts[i] == 0)
                continue;
            sum += counts[i] * (_centred[i] - mean) * (_centred[i] - mean);
            (low, high) = (Math.Min(low, _centred[i]), Math.Max(high, _centred[i]));
        }

        return low == high ? 0 : sum;
    }

    /// <summary>Whether the deviance obeys sum d(y, m) = sum d(y, mean of y) + n d(mean of y, m), as those of all exponential dispersion models
    /// do (Jorgensen 1997, section 1.2: d is a Bregman divergence). The null deviance of a resample then needs no further pass.</summary>
    private bool Splits(ReadOnlySpan<double> labels)
    {
        double other = _mean;
        foreach (double label in labels)
            other = Math.Max(other, label);
        other = _mean + ((other - _mean) / 4);                   // between the mean and the largest label, so a legal mean
        double[] means = new double[labels.Length];
        Array.Fill(means, other);
        double whole = _deviance(means, labels), parts = NullDeviance(labels, _deviance) + (labels.Length * _deviance([other], [_mean]));
        return Math.Abs(whole - parts) <= 1e-6 * Math.Abs(whole);
    }

    private static double Mean(ReadOnlySpan<double> labels)
    {
        double sum = 0;
        foreach (double label in labels)
            sum += label;
        return sum / labels.Length;
    }
}
