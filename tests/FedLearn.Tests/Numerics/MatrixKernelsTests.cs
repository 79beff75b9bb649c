using FedLearn.Numerics;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Numerics;

public sealed class MatrixKernelsTests
{
    [Fact]
    public void AddProduct_RandomShapes_AreSequentialFusedSums() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(100)), Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        var random = new Random(seed);
        int rows = random.Next(0, 140), inner = random.Next(0, 2) * random.Next(0, 600) + random.Next(0, 20), n = random.Next(0, 40);
        bool turnA = random.Next(2) == 0, turnB = random.Next(2) == 0;
        double[] a = Numbers(rows * inner), b = Numbers(inner * n), c = Numbers(rows * n), expected = [.. c], factors = random.Next(2) == 0 ? Numbers(inner) : [];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < n; j++)
                for (int p = 0; p < inner; p++)
                    expected[i * n + j] = Math.FusedMultiplyAdd(a[turnA ? p * rows + i : i * inner + p],
                        b[turnB ? j * inner + p : p * n + j] * (factors.Length > 0 ? factors[p] : 1), expected[i * n + j]);
        var packed = new PackedMatrix();
        packed.Pack(Numbers(100), 10, 1, 10, 10);
        packed.Pack(b, turnB ? 1 : n, turnB ? inner : 1, inner, n, factors);
        MatrixKernels.AddProduct(a, turnA ? 1 : inner, turnA ? rows : 1, packed, c, rows);
        Assert.Equal(expected, c);

        double[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => 2 * random.NextDouble() - 1)];
    }));

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(8)]
    [InlineData(21)]
    public void Vectors_AnyLength_AreSlowLoops(int length)
    {
        double[] x = [.. Enumerable.Range(1, length).Select(i => (double)i)], y = [.. x.Select(value => 3 - value)], scaled = new double[length];
        Assert.Equal(x.Zip(y, (p, q) => p * q).Sum(), MatrixKernels.Dot(x, y));
        Assert.Equal(x.Sum(), MatrixKernels.Sum(x));
        MatrixKernels.Scale(x, 0.5, scaled);
        Assert.Equal(x.Select(value => value / 2), scaled);
        double[] sum = [.. y];
        MatrixKernels.AddScaled(x, 2, sum);
        Assert.Equal(x.Zip(y, (p, q) => 2 * p + q), sum);
    }

    [Fact]
    public void ExpOfNegative_ManyNumbers_IsWithinTwoUlps()
    {
        double[] x = [0, -1e-300, -1e-17, -708, .. Enumerable.Range(0, 20_003).Select(i => -i * 0.03539)], actual = [.. x];
        MatrixKernels.ExpOfNegative(actual);
        for (int i = 0; i < x.Length; i++)
            Assert.InRange(actual[i] / Math.Exp(x[i]), 1 - 4.5e-16, 1 + 4.5e-16);
        double[] edges = [-709, -1e9, double.NegativeInfinity, double.NaN];
        MatrixKernels.ExpOfNegative(edges);
        Assert.Equal([0, 0, 0, double.NaN], edges);
    }

    [Fact]
    public void AddProduct_MatricesTooSmall_AreRefused()
    {
        var packed = new PackedMatrix();
        packed.Pack(new double[6], 3, 1, 2, 3);
        Assert.Throws<ArgumentException>(() => MatrixKernels.AddProduct(new double[3], 2, 1, packed, new double[6], 2));
        Assert.Throws<ArgumentException>(() => MatrixKernels.AddProduct(new double[4], 2, 1, packed, new double[5], 2));
    }
}
