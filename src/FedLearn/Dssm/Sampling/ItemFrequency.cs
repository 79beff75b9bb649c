namespace FedLearn.Dssm;

/// <summary>Shares of items in the training events, for the correction of in-batch negatives (Yi et al. 2019, "Sampling-bias-corrected neural modeling").</summary>
internal static class ItemFrequency
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
