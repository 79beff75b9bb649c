using System.Numerics.Tensors;

namespace FedLearn.Numerics;

/// <summary>Small operations on vectors of float64.</summary>
public static class VectorKernels
{
    /// <summary>Clips every element to [-bound, bound]. NaN stays NaN.</summary>
    /// <param name="values">Changed in place.</param>
    /// <param name="bound">At least 0; positive infinity clips nothing.</param>
    public static void Clip(Span<double> values, double bound)
    {
        if (!double.IsPositiveInfinity(bound))
            TensorPrimitives.Clamp(values, -bound, bound, values);
    }

    /// <summary>Projects a vector on the ball of a radius: shrinks it when it is longer. The result is never longer than the radius.</summary>
    /// <param name="values">Changed in place.</param>
    /// <param name="radius">Above 0; positive infinity projects nothing.</param>
    public static void Project(Span<double> values, double radius)
    {
        if (double.IsPositiveInfinity(radius))
            return;
        // The privacy proofs need |w| <= k; scaling rounds, so shrink by a few ulps more until the computed norm agrees.
        const double Ulp = 2.220446049250313e-16;
        for (int attempt = 0; ; attempt++)
        {
            double norm = TensorPrimitives.Norm<double>(values);
            if (!(norm > radius))
                return;
            TensorPrimitives.Multiply(values, radius / norm * (1 - 4 * attempt * Ulp), values);
        }
    }

    /// <summary>Rounds every element to the nearest float32, ties to even.</summary>
    /// <param name="values">Changed in place.</param>
    public static void RoundToSingle(Span<double> values)
    {
        for (int i = 0; i < values.Length; i++)
            values[i] = (float)values[i];
    }

    /// <summary>Whether no element is NaN or infinite.</summary>
    /// <param name="values">The elements.</param>
    public static bool AllFinite(ReadOnlySpan<double> values)
    {
        // x * 0 is 0 for finite x and NaN otherwise, so one sum tells.
        double sum = 0;
        foreach (double value in values)
            sum += value * 0;
        return sum == 0;
    }
}
