using FedLearn.Numerics;

namespace FedLearn.Dssm;

/// <summary>Unit vectors whose cosine is smooth everywhere: y / s with s = sqrt(|y|^2 + 1e-6), so that a vector of 0 has the unit vector 0 and a bounded gradient.</summary>
/// <remarks>Row by row, in an order of additions that depends on the width alone.</remarks>
internal static class SmoothCosine
{
    /// <summary>What is added to the squared length.</summary>
    public const double Epsilon = 1e-6;

    /// <summary>Divides rows by their smooth lengths.</summary>
    /// <param name="vectors">Rows y, [n x width]; finite, of any size.</param>
    /// <param name="width">Width of a row; at least 1.</param>
    /// <param name="units">Receives y / s, [n x width]; may be the same memory as <paramref name="vectors"/>.</param>
    /// <param name="lengths">Receives s, [n].</param>
    /// <exception cref="ArgumentException">The lengths do not fit together.</exception>
    public static void Normalise(ReadOnlySpan<double> vectors, int width, Span<double> units, Span<double> lengths)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        if (vectors.Length != (long)lengths.Length * width || units.Length != vectors.Length)
            throw new ArgumentException("The rows, their unit vectors and their lengths do not fit together.");
        for (int i = 0; i < lengths.Length; i++)
            lengths[i] = NormaliseRow(vectors.Slice(i * width, width), units.Slice(i * width, width));
    }

    /// <summary>Gradient for rows from the gradient for their unit vectors: dy = (g - yhat (yhat . g)) / s, exact for the smooth length.</summary>
    /// <param name="units">Unit vectors yhat, [n x width].</param>
    /// <param name="lengths">Smooth lengths s, [n].</param>
    /// <param name="width">Width of a row; at least 1.</param>
    /// <param name="gradients">g on entry, dy on return, [n x width].</param>
    /// <exception cref="ArgumentException">The lengths do not fit together.</exception>
    public static void Backward(ReadOnlySpan<double> units, ReadOnlySpan<double> lengths, int width, Span<double> gradients)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        if (units.Length != (long)lengths.Length * width || gradients.Length != units.Length)
            throw new ArgumentException("The unit vectors, their lengths and gradients do not fit together.");
        for (int i = 0; i < lengths.Length; i++)
            BackwardRow(units.Slice(i * width, width), lengths[i], gradients.Slice(i * width, width));
    }

    internal static double NormaliseRow(ReadOnlySpan<double> vector, Span<double> unit)
    {
        double squares = MatrixKernels.Dot(vector, vector);
        if (squares < 1e300)
        {
            double length = Math.Sqrt(squares + Epsilon);
            MatrixKernels.Scale(vector, 1 / length, unit);
            return length;
        }

        // The squares overflow: in units of the largest element they do not, and 1e-6 is nothing beside them.
        double largest = 0;
        foreach (double value in vector)
            largest = Math.Max(largest, Math.Abs(value));
        double sum = 0;
        for (int j = 0; j < vector.Length; j++)
        {
            double part = vector[j] / largest;
            unit[j] = part;
            sum += part * part;
        }

        double root = Math.Sqrt(sum);
        for (int j = 0; j < unit.Length; j++)
            unit[j] /= root;
        return Math.Min(largest * root, double.MaxValue);
    }

    internal static void BackwardRow(ReadOnlySpan<double> unit, double length, Span<double> gradient)
    {
        double along = MatrixKernels.Dot(unit, gradient), inverse = 1 / length;
        MatrixKernels.AddScaled(unit, -along, gradient);
        MatrixKernels.Scale(gradient, inverse, gradient);
    }
}
