using static FedLearn.Numerics.SplitMix64;

namespace FedLearn.Evaluation;

/// <summary>Percentile intervals by resampling rows (Efron and Tibshirani 1993, chapter 13); the basic one for a maximum (Davison and Hinkley 1997, section 5.2).</summary>
/// <remarks>A resample is a count for every row. Each has a random stream of its own, so the threads do not change the result.</remarks>
internal static class Bootstrap
{
    /// <summary>An interval is given for a figure that is defined in at least this share of the resamples.</summary>
    public const double LeastDefined = 0.9;

    private const long MostVisits = 200_000_000;
    // Beyond each end of an interval of 95 % are five of so many; the ends of fewer would move with the seed by more than their rows explain.
    private const int FewestForSpeed = 200;

    /// <summary>Writes the figures of rows that count as often as stated; those it leaves are NaN. Called from several threads.</summary>
    public delegate void Measure(ReadOnlySpan<byte> counts, Span<double> figures);

    /// <summary>Resamples drawn when so many are asked for: bounded by visits of rows, or figures of few rows, though never below 200 for that reason.</summary>
    public static int Resamples(int asked, long visitsOfOne) =>
        (int)Math.Min(asked, Math.Max(FewestForSpeed, MostVisits / Math.Max(Figure.Count, visitsOfOne)));

    /// <summary>Intervals of the figures whose value on the rows themselves is finite.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled; looked at between resamples.</exception>
    public static MetricIntervals Intervals(int rows, int resamples, EvaluationOptions options, MetricSet point, Measure measure, CancellationToken cancellationToken = default)
    {
        double[] figures = new double[resamples * Figure.Count];
        Array.Fill(figures, double.NaN);
        Parallel.For(0, resamples, new ParallelOptions { CancellationToken = cancellationToken }, () => new byte[rows], (resample, _, counts) =>
        {
            Draw(options.Seed, resample, counts);
            measure(counts, figures.AsSpan(resample * Figure.Count, Figure.Count));
            return counts;
        }, _ => { });

        double[] low = new double[Figure.Count], high = new double[Figure.Count];
        IReadOnlyList<KeyValuePair<string, double?>> named = point.Named();
        for (int figure = 0; figure < Figure.Count; figure++)
        {
            double[] sorted = [.. Enumerable.Range(0, resamples).Select(r => figures[(r * Figure.Count) + figure]).Where(double.IsFinite).Order()];
            bool given = named[figure].Value is { } value && double.IsFinite(value) && sorted.Length >= LeastDefined * resamples;
            low[figure] = given ? Quantile(sorted, (1 - options.Level) / 2) : double.NaN;
            high[figure] = given ? Quantile(sorted, (1 + options.Level) / 2) : double.NaN;
            // A maximum over thresholds is too large on the rows, by what they do by chance, and larger again on resamples of them: what a resample adds is taken off.
            if (figure == Figure.Ks && given)
                (low[figure], high[figure]) = (Math.Clamp(2 * named[figure].Value!.Value - high[figure], 0, 1), Math.Clamp(2 * named[figure].Value!.Value - low[figure], 0, 1));
        }

        return new(MetricSet.From(low), MetricSet.From(high));
    }

    /// <summary>Counts of n draws of n rows with replacement. A byte holds them: 256 draws of one row have probability below n/256! &lt; 1e-490.</summary>
    /// <remarks>SplitMix64 (Steele, Lea and Flood 2014) from a state that hashes seed and resample; the row is the high word of draw times n,
    /// whose probabilities differ by less than n/2^64 of themselves.</remarks>
    public static void Draw(long seed, int resample, Span<byte> counts)
    {
        counts.Clear();
        ulong rows = (ulong)counts.Length;
        unchecked
        {
            ulong state = Mix(Mix((ulong)seed) + ((ulong)resample * Golden));
            for (int i = 0; i < counts.Length; i++)
            {
                state += Golden;
                int row = (int)Math.BigMul(Mix(state), rows, out _);
                checked { counts[row]++; }
            }
        }
    }

    /// <summary>Quantile of sorted numbers, linear between them (type 7 of Hyndman and Fan 1996).</summary>
    internal static double Quantile(ReadOnlySpan<double> sorted, double p)
    {
        double place = p * (sorted.Length - 1);
        int below = (int)place;
        return below + 1 >= sorted.Length ? sorted[^1] : sorted[below] + ((place - below) * (sorted[below + 1] - sorted[below]));
    }
}
