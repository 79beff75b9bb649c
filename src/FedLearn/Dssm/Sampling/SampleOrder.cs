namespace FedLearn.Dssm;

/// <summary>The order in which an epoch visits the training samples. Public: every party computes it from the seed.</summary>
internal static class SampleOrder
{
    /// <summary>A uniformly drawn permutation (Fisher and Yates), of SplitMix64.</summary>
    /// <param name="count">Number of training samples; at least 0.</param>
    /// <param name="seed">Seed of the job. Not secret.</param>
    /// <param name="epoch">Epoch, from 0.</param>
    /// <returns>Numbers 0 to count - 1 in the epoch's order; batch t has the positions t b to (t + 1) b - 1.</returns>
    public static int[] Of(int count, long seed, int epoch)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        var random = new PublicRandom(PublicRandom.Purpose.Order, seed, epoch);
        int[] order = new int[count];
        for (int i = 0; i < count; i++)
        {
            int j = random.Below(i + 1);
            order[i] = order[j];
            order[j] = i;
        }

        return order;
    }
}
