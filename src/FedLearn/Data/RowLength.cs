using System.Numerics.Tensors;

namespace FedLearn.Data;

/// <summary>Bounds on the Euclidean length of a row that hold in floating point too.</summary>
internal static class RowLength
{
    private const double UnitRoundoff = 1.0 / (1L << 53);

    /// <summary>Divides a row by its length; a row of zeros stays.</summary>
    internal static void Normalize(Span<double> row)
    {
        double length = Length(row, out double unit);
        if (length > 0)
            Multiply(row, unit, 1 / length);
    }

    /// <summary>Divides a row by <paramref name="limit"/> after shortening it to <paramref name="limit"/> when it is longer, so that its length is at
    /// most 1. The proof of privacy rests on this bound, so it holds for the real length, and for the length that float64 computes in any order:
    /// squaring, adding d values and the divisions carry a relative error of less than (d + 8) u, in whatever order, so rows within twice that of the
    /// bound are shortened by it.</summary>
    internal static void Clip(Span<double> row, double limit)
    {
        double slack = 2 * (row.Length + 8) * UnitRoundoff;
        double length = Length(row, out double unit);                          // in units, so that nothing overflows
        if (length * unit > limit * (1 - slack))
            Multiply(row, unit, (1 - slack) / length);
        else if (limit != 1)
            TensorPrimitives.Divide(row, limit, row);
    }

    /// <summary>The length is the result times the unit. The unit is 1 unless squares would leave the range of float64.</summary>
    private static double Length(ReadOnlySpan<double> row, out double unit)
    {
        unit = 1;
        double squares = TensorPrimitives.SumOfSquares(row);
        if (squares is > 1e-280 and < 1e280 || row.IsEmpty)
            return Math.Sqrt(squares);
        double largest = TensorPrimitives.MaxMagnitude(row);
        if (largest == 0)
            return 0;
        unit = Math.Abs(largest);
        double sum = 0;
        foreach (double value in row)
            sum += value / unit * (value / unit);
        return Math.Sqrt(sum);
    }

    private static void Multiply(Span<double> row, double unit, double factor)
    {
        if (unit != 1)
            TensorPrimitives.Divide(row, unit, row);
        TensorPrimitives.Multiply(row, factor, row);
    }
}
