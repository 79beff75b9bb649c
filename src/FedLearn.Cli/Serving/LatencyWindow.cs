namespace FedLearn.Cli.Serving;

/// <summary>Percentiles of what was measured in the last minute. Thread-safe.</summary>
/// <param name="clock">Clock of the window.</param>
/// <param name="capacity">Most values kept; of more, the newest.</param>
internal sealed class LatencyWindow(TimeProvider clock, int capacity = 16_384)
{
    /// <summary>Length of the window.</summary>
    public static readonly TimeSpan Span = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private readonly (long At, double Seconds)[] _values = new (long, double)[capacity];
    private int _next, _count;

    public void Add(double seconds)
    {
        lock (_gate)
        {
            _values[_next] = (clock.GetTimestamp(), seconds);
            _next = (_next + 1) % capacity;
            _count = Math.Min(_count + 1, capacity);
        }
    }

    /// <summary>Nearest-rank percentiles: the smallest value that at least this share of the values does not exceed.</summary>
    /// <param name="shares">Shares above 0 and at most 1.</param>
    /// <returns>One a share, in seconds; NaN when the window is empty.</returns>
    public double[] Percentiles(params double[] shares)
    {
        double[] sorted;
        lock (_gate)
            sorted = [.. _values.Take(_count).Where(v => clock.GetElapsedTime(v.At) <= Span).Select(v => v.Seconds)];
        Array.Sort(sorted);
        return [.. shares.Select(share => sorted.Length == 0 ? double.NaN : sorted[Math.Max(0, (int)Math.Ceiling(share * sorted.Length) - 1)])];
    }
}
