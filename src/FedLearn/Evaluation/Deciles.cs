namespace FedLearn.Evaluation;

/// <summary>Tables over tenths of the rows in order of their scores. No score or label may be NaN.</summary>
internal static class Deciles
{
    private const int Bins = 10;

    public static CalibrationTable Calibration(Ranking ranking, ReadOnlySpan<double> means, ReadOnlySpan<double> labels)
    {
        ReadOnlySpan<int> rows = ranking.Rows;
        double[] predicted = new double[Bins], observed = new double[Bins];
        int[] counts = new int[Bins];
        for (int start = 0, end; start < rows.Length; start = end)
        {
            end = ranking.EndOfTie(start);
            int bin = (int)(Bins * (2L * rows.Length - start - end) / (2L * rows.Length));   // from the lowest score; that of the middle: ties cut in two would look miscalibrated
            counts[bin] += end - start;
            foreach (int row in rows[start..end])
            {
                predicted[bin] += means[row];
                observed[bin] += labels[row];
            }
        }

        int[] filled = [.. Enumerable.Range(0, Bins).Where(bin => counts[bin] > 0)];
        return new([.. filled.Select(b => predicted[b] / counts[b])], [.. filled.Select(b => observed[b] / counts[b])], [.. filled.Select(b => counts[b])]);
    }

    /// <summary>Null unless the labels are at least 0 and their sum above.</summary>
    public static LiftTable? Lift(Ranking ranking, ReadOnlySpan<double> labels)
    {
        double total = 0;
        foreach (double label in labels)
        {
            if (label < 0)
                return null;
            total += label;
        }

        if (!(total > 0 && double.IsFinite(total)))
            return null;
        ReadOnlySpan<int> rows = ranking.Rows;
        double[] shares = new double[Bins], lifts = new double[Bins], gains = new double[Bins];
        double above = 0;
        int bin = 0;
        for (int start = 0, end; start < rows.Length; start = end)
        {
            end = ranking.EndOfTie(start);
            double held = 0;
            foreach (int row in rows[start..end])
                held += labels[row];

            // Of rows with one score, the expected part in any order.
            for (double asked; bin < Bins && (asked = (bin + 1.0) * rows.Length / Bins) <= end; bin++)
            {
                shares[bin] = (bin + 1) / (double)Bins;
                gains[bin] = Math.Min(1, (above + (held * (asked - start) / (end - start))) / total);
                lifts[bin] = gains[bin] / shares[bin];
            }

            above += held;
        }

        return new(shares, lifts, gains);
    }
}
