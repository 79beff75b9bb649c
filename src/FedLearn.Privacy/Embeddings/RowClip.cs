using System.Numerics.Tensors;

namespace FedLearn.Privacy;

/// <summary>Clipping of rows to an L2 norm, in float64, as the account of embeddings assumes it.</summary>
public static class RowClip
{
    /// <summary>Relative excess over the bound that a clipped row may have, and that the account charges: (d + 64) 2^-52.</summary>
    /// <remarks>A sum of d squares in any order has a relative error of at most d u (u = 2^-53), its root half of that; root, quotient, product and the quotient by the
    /// lattice step add a few u. The bound is more than twice that.</remarks>
    /// <param name="width">Numbers d of a row.</param>
    public static double Slack(double width) => Math.ScaleB(width + 64, -52);

    /// <summary>Scales each row that is longer than the bound to the bound.</summary>
    /// <param name="rows">The rows one after the other; changed in place.</param>
    /// <param name="width">Numbers of a row, at least 1; divides the length of <paramref name="rows"/>.</param>
    /// <param name="bound">The bound, above 0.</param>
    /// <exception cref="ArgumentException">The numbers do not fit together.</exception>
    public static void Rows(Span<double> rows, int width, double bound)
    {
        if (width < 1 || rows.Length % width != 0 || !(bound > 0))
            throw new ArgumentException("Rows, width and bound do not fit together.");
        for (; rows.Length > 0; rows = rows[width..])
        {
            Span<double> row = rows[..width];
            double norm = TensorPrimitives.Norm<double>(row);
            if (norm <= bound)
                continue;
            if (double.IsPositiveInfinity(norm) && TensorPrimitives.IsFiniteAll<double>(row))
            {
                // The squares overflow, not the numbers.
                TensorPrimitives.Divide(row, Math.Abs(TensorPrimitives.MaxMagnitude<double>(row)), row);
                norm = TensorPrimitives.Norm<double>(row);
            }

            // A row that is not finite becomes NaN, which no mechanism releases.
            TensorPrimitives.Multiply(row, bound / norm, row);
        }
    }

    /// <summary>Factors min(1, bound/norm) that clip rows given by their squared norms.</summary>
    /// <param name="squaredNorms">Squared L2 norms.</param>
    /// <param name="bound">The bound, above 0.</param>
    /// <param name="factors">Receives one factor a row; 0 for a norm that is not finite.</param>
    /// <exception cref="ArgumentException">The numbers do not fit together.</exception>
    public static void Factors(ReadOnlySpan<double> squaredNorms, double bound, Span<double> factors)
    {
        if (factors.Length != squaredNorms.Length || !(bound > 0))
            throw new ArgumentException("Norms, factors and bound do not fit together.");
        for (int i = 0; i < factors.Length; i++)
        {
            double norm = Math.Sqrt(squaredNorms[i]);
            factors[i] = norm <= bound ? 1 : double.IsFinite(norm) ? bound / norm : 0;
        }
    }
}
