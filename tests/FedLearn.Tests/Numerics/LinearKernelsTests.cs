using System.Numerics;
using FedLearn.Numerics;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Numerics;

public class LinearKernelsTests
{
    // Sizes around the groups of four rows, vectors of eight columns, blocks of 256 and 512 rows, and the step to several threads at 65,536 elements.
    private static readonly Gen<(int Before, int Rows, int After, int Columns, int Seed)> Shapes =
        from rows in Gen.Elements(0, 1, 2, 3, 4, 5, 7, 8, 31, 255, 256, 257, 511, 513, 1025, 2100)
        from columns in Gen.Elements(0, 1, 2, 7, 8, 9, 15, 16, 33, 70)
        from before in Gen.Elements(0, 0, 1, 3, 6)
        from after in Gen.Elements(0, 0, 1, 2)
        from seed in Gen.Choose(0, int.MaxValue - 1)
        select (before, rows, after, columns, seed);

    private static DenseMatrix Matrix(Random random, int rows, int columns, Func<Random, double> draw) =>
        new(rows, columns, [.. Enumerable.Range(0, rows * columns).Select(_ => draw(random))]);

    private static double[] Vector(Random random, int length, Func<Random, double> draw) => [.. Enumerable.Range(0, length).Select(_ => draw(random))];

    private static double Real(Random random) => (random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-3, 4));

    private static double Whole(Random random) => random.Next(-1000, 1001);

    [Fact]
    public void ScoresAndGradient_WholeNumbers_AreExact() => Prop.ForAll(Shapes.ToArbitrary(), shape =>
    {
        // Products and sums of whole numbers this small are exact in float64 in every order.
        var random = new Random(shape.Seed);
        DenseMatrix matrix = Matrix(random, shape.Before + shape.Rows + shape.After, shape.Columns, Whole);
        double[] weights = Vector(random, shape.Columns, Whole), residuals = Vector(random, shape.Rows, Whole);
        double[] scores = Vector(random, shape.Rows, Real), gradient = Vector(random, shape.Columns, Real);
        LinearKernels.Scores(matrix, shape.Before, weights, scores);
        LinearKernels.Gradient(matrix, shape.Before, residuals, gradient);
        for (int i = 0; i < shape.Rows; i++)
        {
            long sum = 0;
            for (int j = 0; j < shape.Columns; j++)
                sum += (long)matrix.Row(shape.Before + i)[j] * (long)weights[j];
            Assert.Equal(sum, scores[i]);
        }

        for (int j = 0; j < shape.Columns; j++)
        {
            long sum = 0;
            for (int i = 0; i < shape.Rows; i++)
                sum += (long)matrix.Row(shape.Before + i)[j] * (long)residuals[i];
            Assert.Equal(sum, gradient[j]);
        }
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(150));

    [Fact]
    public void ScoresAndGradient_RealNumbers_AreWithinTheRoundingBound() => Prop.ForAll(Shapes.ToArbitrary(), shape =>
    {
        // A sum of m products in any order errs by at most m u sum |x w| (Higham 2002, section 3.1), u = 2^-53; so do kernel and reference.
        var random = new Random(shape.Seed);
        DenseMatrix matrix = Matrix(random, shape.Before + shape.Rows + shape.After, shape.Columns, Real);
        double[] weights = Vector(random, shape.Columns, Real), residuals = Vector(random, shape.Rows, Real);
        double[] scores = new double[shape.Rows], gradient = new double[shape.Columns];
        LinearKernels.Scores(matrix, shape.Before, weights, scores);
        LinearKernels.Gradient(matrix, shape.Before, residuals, gradient);
        for (int i = 0; i < shape.Rows; i++)
            AssertSum([.. Enumerable.Range(0, shape.Columns).Select(j => (matrix.Row(shape.Before + i)[j], weights[j]))], scores[i]);
        for (int j = 0; j < shape.Columns; j++)
            AssertSum([.. Enumerable.Range(0, shape.Rows).Select(i => (matrix.Row(shape.Before + i)[j], residuals[i]))], gradient[j]);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(60));

    private static void AssertSum((double A, double B)[] products, double actual)
    {
        double sum = 0, magnitude = 0;
        foreach ((double a, double b) in products)
            (sum, magnitude) = (sum + (a * b), magnitude + Math.Abs(a * b));
        Assert.Equal(sum, actual, (2 * (products.Length + 2) * Math.Pow(2, -53) * magnitude) + double.Epsilon);
    }

    [Fact]
    public void Gradient_ManyMixedMagnitudes_MatchesExactArithmetic()
    {
        var random = new Random(11);
        DenseMatrix matrix = Matrix(random, 3000, 2, Real);
        double[] residuals = Vector(random, 3000, Real), gradient = new double[2];
        LinearKernels.Gradient(matrix, 0, residuals, gradient);
        for (int j = 0; j < 2; j++)
        {
            BigInteger sum = 0, magnitude = 0;
            for (int i = 0; i < 3000; i++)
            {
                BigInteger product = Exact.Of(matrix.Row(i)[j]) * Exact.Of(residuals[i]);
                (sum, magnitude) = (sum + product, magnitude + BigInteger.Abs(product));
            }

            // Both sides times 2^2148; at most 3000 u of the sum of magnitudes.
            Assert.True(BigInteger.Abs((Exact.Of(gradient[j]) << 1074) - sum) <= (magnitude * 3000) >> 53);
        }
    }

    [Theory]
    [InlineData(700, 100)]      // two blocks of scores, three of gradient
    [InlineData(4097, 17)]
    [InlineData(16_000, 9)]
    public void Kernels_SeveralThreads_SameBitsAsOneThread(int rows, int columns)
    {
        var random = new Random(rows);
        DenseMatrix matrix = Matrix(random, rows, columns, Real);
        double[] weights = Vector(random, columns, Real), residuals = Vector(random, rows, Real);

        // One thread: pieces below the threshold. Up to 16,384 rows a gradient is the sum of blocks of 256 rows in their order.
        double[] scores = new double[rows], gradient = new double[columns], piece = new double[columns];
        for (int start = 0; start < rows; start += 256)
        {
            int length = Math.Min(256, rows - start);
            LinearKernels.Scores(matrix, start, weights, scores.AsSpan(start, length));
            LinearKernels.Gradient(matrix, start, residuals.AsSpan(start, length), piece);
            for (int j = 0; j < columns; j++)
                gradient[j] += piece[j];
        }

        // Many callers at once, so that the pool hands out fewer and other threads each time.
        Parallel.For(0, 16, _ =>
        {
            double[] z = new double[rows], g = new double[columns];
            LinearKernels.Scores(matrix, 0, weights, z);
            LinearKernels.Gradient(matrix, 0, residuals, g);
            Assert.Equal(scores, z);
            Assert.Equal(gradient, g);
        });
    }

    [Fact]
    public void Kernels_SameRowsElsewhere_SameBits() => Prop.ForAll(Shapes.ToArbitrary(), shape =>
    {
        var random = new Random(shape.Seed);
        DenseMatrix here = Matrix(random, shape.Rows, shape.Columns, Real);
        DenseMatrix there = Matrix(random, shape.Before + shape.Rows + shape.After, shape.Columns, Real);
        here.Values.CopyTo(there.Values, shape.Before * shape.Columns);
        double[] weights = Vector(random, shape.Columns, Real), residuals = Vector(random, shape.Rows, Real);
        double[] z1 = new double[shape.Rows], z2 = new double[shape.Rows], g1 = new double[shape.Columns], g2 = new double[shape.Columns];
        LinearKernels.Scores(here, 0, weights, z1);
        LinearKernels.Scores(there, shape.Before, weights, z2);
        LinearKernels.Gradient(here, 0, residuals, g1);
        LinearKernels.Gradient(there, shape.Before, residuals, g2);
        Assert.Equal(z1, z2);
        Assert.Equal(g1, g2);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(100));

    [Fact]
    public void Scores_OneRowAlone_SameBitsAsAmongOthers()
    {
        var random = new Random(3);
        DenseMatrix matrix = Matrix(random, 11, 29, Real);
        double[] weights = Vector(random, 29, Real), together = new double[11], alone = new double[1];
        LinearKernels.Scores(matrix, 0, weights, together);
        for (int i = 0; i < 11; i++)
        {
            LinearKernels.Scores(matrix, i, weights, alone);
            Assert.Equal(together[i], alone[0]);
        }
    }

    [Theory]
    [InlineData(0, 3, 4)]       // 4 weights for 3 columns
    [InlineData(3, 3, 3)]       // rows 3 to 6 of 5
    [InlineData(-1, 3, 3)]
    [InlineData(6, 0, 3)]
    public void Kernels_ShapeDoesNotFit_Throws(int start, int rows, int columns)
    {
        var matrix = new DenseMatrix(5, 3);
        Assert.Throws<ArgumentException>(() => LinearKernels.Scores(matrix, start, new double[columns], new double[rows]));
        Assert.Throws<ArgumentException>(() => LinearKernels.Gradient(matrix, start, new double[rows], new double[columns]));
    }

    [Fact]
    public void DenseMatrix_ShapeDoesNotFit_Throws()
    {
        Assert.Throws<ArgumentException>(() => new DenseMatrix(2, 3, new double[5]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DenseMatrix(-1, 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DenseMatrix(3, -1));
        Assert.Throws<ArgumentNullException>(() => new DenseMatrix(0, 0, null!));
        Assert.Equal(0, new DenseMatrix(4, 0).Row(3).Length);
    }
}
