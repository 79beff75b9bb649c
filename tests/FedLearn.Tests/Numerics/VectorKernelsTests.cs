using System.Numerics.Tensors;
using FedLearn.Numerics;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Numerics;

public class VectorKernelsTests
{
    // Ordinary scales, and those at which squares overflow or underflow.
    private static readonly double[] Scales = [1e-310, 1e-300, 1e-200, 1e-160, 1e-30, 1e-3, 1, 1 + 1e-15, 7, 1e30, 1e153, 1e160, 1e300, 1e307];

    private static readonly Gen<(double[] Values, double Radius)> Vectors =
        from length in Gen.Elements(0, 1, 2, 3, 8, 9, 31, 64, 65, 300)
        from scale in Gen.Elements(Scales)
        from radius in Gen.Elements(Scales[1..])
        from seed in Gen.Choose(0, int.MaxValue - 1)
        select (Draw(new Random(seed), length, scale), radius);

    private static double[] Draw(Random random, int length, double scale) =>
        [.. Enumerable.Range(0, length).Select(_ => scale * random.Next(4) switch { 0 => 1, 1 => -random.NextDouble(), 2 => 1e-8 * random.NextDouble(), _ => random.NextDouble() })];

    [Fact]
    public void Project_AnyScale_IsNeverLongerThanTheRadius() => Prop.ForAll(Vectors.ToArbitrary(), draw =>
    {
        double[] projected = [.. draw.Values];
        VectorKernels.Project(projected, draw.Radius);
        Assert.True(Exact.SumOfSquares(projected) <= Exact.SumOfSquares([draw.Radius]), "longer than the radius");
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(2000));

    [Fact]
    public void Project_LongerVector_KeepsDirectionAndReachesTheRadius() => Prop.ForAll(Vectors.ToArbitrary(), draw =>
    {
        // Where neither a square nor a quotient leaves the range of float64, the plain formula is the reference.
        double length = Math.Sqrt(draw.Values.Sum(v => v * v));
        if (length is < 1e-100 or > 1e150 || draw.Radius is < 1e-100 or > 1e150)
            return;
        double[] projected = [.. draw.Values];
        VectorKernels.Project(projected, draw.Radius);
        double factor = Math.Min(1, draw.Radius / length);
        for (int i = 0; i < projected.Length; i++)
            Assert.Equal(factor * draw.Values[i], projected[i], 1e-12 * Math.Abs(factor * draw.Values[i]));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));

    [Fact]
    public void Project_Twice_ChangesNothingMore() => Prop.ForAll(Vectors.ToArbitrary(), draw =>
    {
        double[] once = [.. draw.Values];
        VectorKernels.Project(once, draw.Radius);
        double[] twice = [.. once];
        VectorKernels.Project(twice, draw.Radius);
        Assert.Equal(once, twice);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));

    [Fact]
    public void Project_SquaresOverflow_KeepsDirection()
    {
        double[] values = [3e200, -4e200];
        VectorKernels.Project(values, 10);
        Assert.Equal(6, values[0], 1e-13);
        Assert.Equal(-8, values[1], 1e-13);
    }

    [Fact]
    public void Project_ShorterVector_StaysAsItIs()
    {
        double[] values = [0.3, -0.4, 0.1];
        VectorKernels.Project(values, 0.52);
        Assert.Equal([0.3, -0.4, 0.1], values);
        VectorKernels.Project(values, double.PositiveInfinity);
        Assert.Equal([0.3, -0.4, 0.1], values);
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void Project_NotFinite_IsNotMadeFinite(double bad)
    {
        double[] values = [1, bad, 2];
        VectorKernels.Project(values, 1);
        Assert.False(VectorKernels.AllFinite(values));
    }

    [Fact]
    public void Clip_Values_AreBetweenTheBounds()
    {
        double[] values = [-3, -2, -1, 0, 1, 2, 3, double.NegativeInfinity, double.PositiveInfinity, double.NaN, 1e-300];
        VectorKernels.Clip(values, 2);
        Assert.Equal([-2, -2, -1, 0, 1, 2, 2, -2, 2, double.NaN, 1e-300], values);
        double[] free = [1e300, double.NegativeInfinity];
        VectorKernels.Clip(free, double.PositiveInfinity);
        Assert.Equal([1e300, double.NegativeInfinity], free);
        VectorKernels.Clip([], 1);
    }

    [Fact]
    public void Clip_AnyLength_ClipsEveryElementAndNothingElse()
    {
        double[] kinds = [-3, -2, -0.0, 1.5, 2, 2.0000000000000004, double.NaN, double.NegativeInfinity, double.PositiveInfinity];
        for (int length = 0; length < 40; length++)
        {
            double[] values = [.. Enumerable.Range(0, length + 2).Select(i => kinds[i * 5 % kinds.Length])], expected = [.. values];
            for (int i = 1; i <= length; i++)
                expected[i] = double.IsNaN(values[i]) ? double.NaN : Math.Max(-2, Math.Min(2, values[i]));
            VectorKernels.Clip(values.AsSpan(1, length), 2);
            Assert.Equal(expected.Select(BitConverter.DoubleToInt64Bits), values.Select(BitConverter.DoubleToInt64Bits));
        }
    }

    [Fact]
    public void ClipRows_AnyShape_ProjectsEveryRowByItself()
    {
        var random = new Random(4);
        for (int rows = 0; rows < 10; rows++)
            for (int k = 1; k < 5; k++)
            {
                double[] values = [.. Enumerable.Range(0, k * rows).Select(_ => 4 * random.NextDouble() - 2)], expected = [.. values];
                for (int i = 0; i < rows; i++)
                {
                    double[] row = [.. Enumerable.Range(0, k).Select(m => values[m * rows + i])];
                    VectorKernels.Project(row, .5);
                    for (int m = 0; m < k; m++)
                        expected[m * rows + i] = row[m];
                }

                VectorKernels.ClipRows(values, rows, .5);
                Assert.Equal(expected, values);
            }
    }

    [Fact]
    public void AllFinite_OneBadElementAnywhere_IsFound()
    {
        Assert.True(VectorKernels.AllFinite([]));
        for (int length = 1; length < 20; length++)
            for (int at = 0; at < length; at++)
                foreach (double bad in new[] { double.NaN, double.PositiveInfinity, double.NegativeInfinity })
                {
                    double[] values = [.. Enumerable.Repeat(double.MaxValue, length)];
                    values[^1] = -double.MaxValue;
                    Assert.True(VectorKernels.AllFinite(values));
                    values[at] = bad;
                    Assert.False(VectorKernels.AllFinite(values));
                }
    }

    [Fact]
    public void RoundToSingle_Values_AreTheNearestSingles()
    {
        double[] values = [0.1, -1.0 / 3, 16777217, 16777219, 1e-46, 3.5e38, double.NaN];   // two ties, an underflow, an overflow
        VectorKernels.RoundToSingle(values);
        Assert.Equal([0.100000001490116119384765625, -0.3333333432674407958984375, 16777216, 16777220, 0, double.PositiveInfinity, double.NaN], values);
    }

    // Training sums residuals and multiplies basis vectors with these; bit-identical runs need sums that do not depend on where an array lies.
    [Fact]
    public void TensorSums_OtherAddress_SameBits()
    {
        var random = new Random(5);
        foreach (int length in new[] { 1, 7, 8, 9, 64, 65, 100, 1000, 40_000 })
        {
            double[] values = [.. Enumerable.Range(0, length).Select(_ => random.NextDouble() - 0.5)];
            double sum = TensorPrimitives.Sum<double>(values), dot = TensorPrimitives.Dot<double>(values, values), norm = TensorPrimitives.Norm<double>(values);
            for (int offset = 1; offset < 9; offset++)
            {
                double[] room = new double[length + offset];
                values.CopyTo(room, offset);
                ReadOnlySpan<double> moved = room.AsSpan(offset);
                Assert.Equal((sum, dot, norm), (TensorPrimitives.Sum(moved), TensorPrimitives.Dot(moved, values), TensorPrimitives.Norm(moved)));
            }
        }
    }
}
