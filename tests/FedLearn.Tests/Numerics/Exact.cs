using System.Numerics;

namespace FedLearn.Tests.Numerics;

/// <summary>Float64 numbers as whole multiples of 2^-1074, so that sums and products are exact.</summary>
internal static class Exact
{
    /// <summary>The number times 2^1074.</summary>
    internal static BigInteger Of(double value)
    {
        long bits = BitConverter.DoubleToInt64Bits(value);
        int exponent = (int)(bits >> 52 & 0x7FF);
        Assert.NotEqual(0x7FF, exponent);
        BigInteger mantissa = (bits & 0xFFFFFFFFFFFFF) | (exponent == 0 ? 0 : 1L << 52);
        BigInteger magnitude = mantissa << Math.Max(0, exponent - 1);
        return bits < 0 ? -magnitude : magnitude;
    }

    /// <summary>The squared length times 2^2148.</summary>
    internal static BigInteger SumOfSquares(IEnumerable<double> values) => values.Select(Of).Aggregate(BigInteger.Zero, (sum, v) => sum + (v * v));
}
