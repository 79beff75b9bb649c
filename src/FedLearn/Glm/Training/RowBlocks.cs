using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>The second derivatives of rows' losses, a symmetric K x K block H each, without ever all of them in memory: that of n rows is K n numbers.</summary>
internal static class RowBlocks
{
    // Numbers of second derivatives in memory at a time: some blocks of many rows, and enough rows for long vectors in each.
    private const int Cells = 1 << 16, FewestRows = 64;

    /// <summary>Weighted sum over the rows of a' H a.</summary>
    /// <param name="family">The family.</param>
    /// <param name="targets">Labels and weights of the rows.</param>
    /// <param name="scores">Linear predictors, class-major, shape [K n].</param>
    /// <param name="vectors">a, shape [K n].</param>
    /// <param name="buffer">Overwritten, shape [K n]; other memory than the rest.</param>
    public static double Quadratic(IGlmFamily family, GlmTargets targets, ReadOnlySpan<double> scores, ReadOnlySpan<double> vectors, Span<double> buffer)
    {
        bool one = family.Outputs == 1;
        if (one)
            family.Curvatures(scores, targets.Labels, buffer);
        else
            family.CurvatureTimes(scores, targets.Labels, vectors, buffer);
        targets.Weigh(0, targets.Rows, buffer);
        return one ? Quadratic(buffer, vectors) : TensorPrimitives.Dot(buffer, vectors);
    }

    /// <summary>Sum over rows with one score of h a^2.</summary>
    public static double Quadratic(ReadOnlySpan<double> curvatures, ReadOnlySpan<double> vectors)
    {
        double sum = 0;
        for (int i = 0; i < curvatures.Length; i++)
            sum += curvatures[i] * vectors[i] * vectors[i];
        return sum;
    }

    /// <summary>H a of every row, from some rows' second derivatives at a time: <see cref="IGlmFamily.CurvatureTimes"/> of families that know no shorter way.</summary>
    public static void Multiply(IGlmFamily family, ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, ReadOnlySpan<double> vectors, Span<double> products)
    {
        int k = family.Outputs, n = labels.Length, most = Math.Min(n, Math.Max(FewestRows, Cells / (k * k)));
        double[] z = new double[k * most], a = new double[k * most], h = new double[k * k * most], product = new double[most];
        for (int start = 0; start < n; start += most)
        {
            int b = Math.Min(most, n - start);
            Gather(scores, start, b, n, z);
            Gather(vectors, start, b, n, a);
            family.Curvatures(z.AsSpan(0, k * b), labels.Slice(start, b), h.AsSpan(0, k * k * b));
            for (int m = 0; m < k; m++)
            {
                Span<double> sum = product.AsSpan(0, b);
                sum.Clear();
                for (int l = 0; l < k; l++)
                    TensorPrimitives.MultiplyAdd(h.AsSpan((m * k + l) * b, b), a.AsSpan(l * b, b), sum, sum);
                sum.CopyTo(products.Slice(m * n + start, b));
            }
        }
    }

    /// <summary>Takes consecutive rows out of class-major numbers of n rows.</summary>
    /// <param name="all">Shape [K n].</param>
    /// <param name="start">First row.</param>
    /// <param name="rows">Number of rows b.</param>
    /// <param name="n">Number of all rows.</param>
    /// <param name="some">Receives them, shape [K b].</param>
    public static void Gather(ReadOnlySpan<double> all, int start, int rows, int n, Span<double> some)
    {
        for (int m = 0; m * n < all.Length; m++)
            all.Slice(m * n + start, rows).CopyTo(some[(m * rows)..]);
    }
}
