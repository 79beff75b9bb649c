namespace FedLearn.Dssm;

/// <summary>Which views an epoch leaves out of a sample, so that a model of several views learns to do with some of them. Public: every party computes it from the seed.</summary>
/// <remarks>Each view of a sample has a number u, uniform in [0, 1), of seed, epoch, sample and view. A view is dropped when its u is below the rate; when all would be, the
/// view with the largest u stays, the first of equals. The rule knows nothing of absent views: a sample may be left without a vector, and then has no loss.</remarks>
public static class ViewDropout
{
    /// <summary>Whether each view of a sample stays.</summary>
    /// <param name="seed">Seed of the job. Not secret.</param>
    /// <param name="epoch">Epoch, from 0.</param>
    /// <param name="sample">Number of the training sample, the same at every party.</param>
    /// <param name="rate">Share of views that are dropped, at least 0 and below 1.</param>
    /// <param name="kept">Receives one answer a view, in the order of the job's views.</param>
    public static void Draw(long seed, int epoch, int sample, double rate, Span<bool> kept)
    {
        if (!(rate > 0))
        {
            kept.Fill(true);
            return;
        }

        var random = new PublicRandom(PublicRandom.Purpose.Dropout, seed, epoch, sample);
        bool any = false;
        int last = 0;
        double largest = -1;
        for (int v = 0; v < kept.Length; v++)
        {
            double u = random.NextDouble();
            any |= kept[v] = u >= rate;
            if (u > largest)
                (largest, last) = (u, v);
        }

        if (!any && kept.Length > 0)
            kept[last] = true;
    }

    /// <summary>Whether one view of a sample stays.</summary>
    /// <param name="seed">Seed of the job. Not secret.</param>
    /// <param name="epoch">Epoch, from 0.</param>
    /// <param name="sample">Number of the training sample, the same at every party.</param>
    /// <param name="rate">Share of views that are dropped, at least 0 and below 1.</param>
    /// <param name="view">The view.</param>
    /// <param name="views">Number of views; at most 1,024.</param>
    public static bool Keeps(long seed, int epoch, int sample, double rate, int view, int views)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(views, 1024);
        Span<bool> kept = stackalloc bool[views];
        Draw(seed, epoch, sample, rate, kept);
        return kept[view];
    }
}
