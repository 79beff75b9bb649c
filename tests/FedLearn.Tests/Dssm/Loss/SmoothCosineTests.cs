using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm.Loss;

public sealed class SmoothCosineTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(64)]
    public void Normalise_RandomRows_AreUnitsByTheSmoothLength(int width)
    {
        var random = new Random(width);
        double[] rows = [.. Enumerable.Range(0, 5 * width).Select(_ => random.NextDouble() - 0.5)], units = new double[5 * width], lengths = new double[5];
        SmoothCosine.Normalise(rows, width, units, lengths);
        for (int i = 0; i < 5; i++)
        {
            double length = Math.Sqrt(rows.Skip(i * width).Take(width).Sum(y => y * y) + 1e-6);
            Assert.Equal(length, lengths[i], 1e-14 * width);
            for (int j = 0; j < width; j++)
                Assert.Equal(rows[i * width + j] / length, units[i * width + j], 1e-14);
        }
    }

    [Fact]
    public void Normalise_Zero_IsZeroWithABoundedGradient()
    {
        double[] units = new double[3], lengths = new double[1], gradient = [1, 0, -2];
        SmoothCosine.Normalise(new double[3], 3, units, lengths);
        SmoothCosine.Backward(units, lengths, 3, gradient);
        Assert.Equal([0, 0, 0], units);
        Assert.Equal(1e-3, lengths[0], 1e-18);
        Assert.Equal([1000.0, 0, -2000], gradient.Select(g => Math.Round(g, 9)));
    }

    [Theory]
    [InlineData(1e-300)]
    [InlineData(1e150)]
    [InlineData(1e300)]
    [InlineData(1.7e308)]
    public void Normalise_ExtremeSizes_AreFinite(double size)
    {
        double[] units = new double[2], lengths = new double[1], gradient = [1, 1];
        SmoothCosine.Normalise([size, -size], 2, units, lengths);
        SmoothCosine.Backward(units, lengths, 2, gradient);
        if (size > 1)
            Assert.Equal([Math.Sqrt(0.5), -Math.Sqrt(0.5)], units.Select(u => u), (a, b) => Math.Abs(a - b) < 1e-15);
        Assert.All([.. units, .. lengths, .. gradient], x => Assert.True(double.IsFinite(x)));
    }

    [Fact]
    public void Backward_RandomRow_IsFiniteDifference()
    {
        double[] y = [0.3, -0.2, 0.7], g = [0.5, 1.5, -0.4], units = new double[3], lengths = new double[1], gradient = [.. g];
        SmoothCosine.Normalise(y, 3, units, lengths);
        SmoothCosine.Backward(units, lengths, 3, gradient);
        for (int j = 0; j < 3; j++)
        {
            double Value(double step)
            {
                double[] moved = [.. y], unit = new double[3];
                moved[j] += step;
                SmoothCosine.Normalise(moved, 3, unit, new double[1]);
                return unit.Zip(g, (a, b) => a * b).Sum();
            }

            Assert.Equal((Value(1e-5) - Value(-1e-5)) / 2e-5, gradient[j], 1e-8);
        }
    }
}
