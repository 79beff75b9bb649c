namespace FedLearn.Evaluation;

/// <summary>Tables over tenths of the rows in order of their scores. No score or label may be NaN.</summary>
internal static class Deciles
{
    private const int Bins = 10;

    public static CalibrationTable Calibration(ReadOnlySpan<double> scores, ReadOnlySpan<double> means, ReadOnlySpan<double> labels)
    {
        (double[] sorted, int[] rows) = Sorted(scores);
        double[] predicted = new double[Bins], observed = new double[Bins];
        int[] counts = new int[Bins];
        for (int start = 0, end; start < rows.Length; start = end)
        {
            end = EndOfTie(sorted, start);
            int bin = (int)(Bins * ((long)start + end) / (2L * rows.Length));   // that of the middle: ties cut in two would look miscalibrated
            counts[bin] += end - start;
            foreach (int row in rows.AsSpan(start, end - start))
            {
                predicted[bin] += means[row];
                observed[bin] += labels[row];
            }
        }

        int[] filled = [.. Enumerable.Range(0, Bins).Where(bin => counts[bin] > 0)];
        return new([.. filled.Select(b => predicted[b] / counts[b])], [.. filled.Select(b => observed[b] / counts[b])], [.. filled.Select(b => counts[b])]);
    }

    /// <summary>Null unless the labels are at least 0 and their sum above.</summary>
    public static LiftTable? Lift(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        (double[] sorted, int[] rows) = Sorted(scores);
        double total = 0;
        foreach (double label in labels)
        {
            if (label < 0)
                return null;
            total += label;
        }

        if (!(total > 0 && double.IsFinite(total)))
            return null;
        double[] shares = new double[Bins], lifts = new double[Bins], gains = new double[Bins];
        double above = 0;
        int bin = 0;
        for (int end = rows.Length, start; end > 0; end = start)                // scores rise in sorted, so from its end
        {
            start = StartOfTie(sorted, end);
            double held = 0;
            foreach (int row in rows.AsSpan(start, end - start))
                held += labels[row];

            // Of rows with one score, the expected part in any order.
            for (double asked; bin < Bins && (asked = (bin + 1.0) * rows.Length / Bins) <= rows.Length - start; bin++)
            {
                shares[bin] = (bin + 1) / (double)Bins;
                gains[bin] = Math.Min(1, (above + (held * (asked - (rows.Length - end)) / (end - start))) / total);
                lifts[bin] = gains[bin] / shares[bin];
            }

            above += held;
        }

        return new(shares, lifts, gains);
    }

    private static (double[] Sorted, int[] Rows) Sorted(ReadOnlySpan<double> scores)
    {
        double[] sorted = scores.ToArray();
        int[] rows = [.. Enumerable.Range(0, sorted.Length)];
        Array.Sort(sorted, rows);
        return (sorted, rows);
    }

    private static int EndOfTie(double[] sorted, int start)
    {
        int end = start + 1;
        while (end < sorted.Length && sorted[end] == sorted[start])
            end++;
        return end;
    }

    private static int StartOfTie(double[] sorted, int end)
    {
        int start = end - 1;
        while (start > 0 && sorted[start - 1] == sorted[start])
            start--;
        return start;
    }
}
