namespace FedLearn.Dssm;

/// <summary>Shares of items in the training events, for the correction of in-batch negatives (Yi et al. 2019, "Sampling-bias-corrected neural modeling").</summary>
public static class ItemFrequency
{
    /// <summary>log q of each item, q = (count + 1) / (all counts + number of trainable items): add-one smoothing.</summary>
    /// <param name="counts">Training events of each item, at least 0.</param>
    /// <param name="trainable">Which items may be candidates; null: all. The others get the value of a count of 0.</param>
    public static double[] LogQ(ReadOnlySpan<int> counts, bool[]? trainable = null)
    {
        double total = 0;
        for (int i = 0; i < counts.Length; i++)
            if (trainable is null || trainable[i])
                total += counts[i] + 1.0;
        double[] logQ = new double[counts.Length];
        for (int i = 0; i < counts.Length; i++)
            logQ[i] = Math.Log((trainable is null || trainable[i] ? counts[i] + 1.0 : 1.0) / Math.Max(1, total));
        return logQ;
    }
}

/// <summary>Streaming estimate of how often an item is in a batch, from the steps between its occurrences (Yi et al. 2019, algorithm 2). For one thread at a time.</summary>
public sealed class StreamingItemFrequency
{
    private readonly double _rate;
    private readonly long[] _last;
    private readonly double[] _interval;
    private long _step;

    /// <summary>Starts with the same interval for every item.</summary>
    /// <param name="items">Number of items.</param>
    /// <param name="rate">Learning rate alpha of the moving mean, above 0 and at most 1.</param>
    /// <param name="startInterval">Assumed steps between occurrences before an item was seen twice; at least 1.</param>
    public StreamingItemFrequency(int items, double rate = 0.05, double startInterval = 100)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(items);
        if (!(rate is > 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(rate));
        if (!(startInterval >= 1) || double.IsInfinity(startInterval))
            throw new ArgumentOutOfRangeException(nameof(startInterval));
        (_rate, _last, _interval) = (rate, new long[items], new double[items]);
        Array.Fill(_interval, startInterval);
    }

    /// <summary>Takes in the positives of the next batch; an item that is in it several times counts once.</summary>
    /// <param name="targets">Items.</param>
    public void Observe(ReadOnlySpan<int> targets)
    {
        _step++;
        foreach (int item in targets)
        {
            if (_last[item] == _step)
                continue;
            if (_last[item] > 0)
                _interval[item] = (1 - _rate) * _interval[item] + _rate * (_step - _last[item]);
            _last[item] = _step;
        }
    }

    /// <summary>log q of each item, q the inverse of its mean interval: the chance that a batch has it.</summary>
    /// <param name="destination">Receives one number an item.</param>
    public void GetLogQ(Span<double> destination)
    {
        for (int i = 0; i < _interval.Length; i++)
            destination[i] = -Math.Log(_interval[i]);
    }
}
