using FedLearn.Numerics;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Numerics;

public class SparseRowsTests
{
    // Around the step to several threads (32,768 cells) and blocks of 512 rows; empty rows, empty columns, no rows, no columns.
    private static readonly Gen<(int Before, int Rows, int Columns, double Share, int Seed)> Shapes =
        from rows in Gen.Elements(0, 1, 2, 7, 100, 513, 2000)
        from columns in Gen.Elements(0, 1, 2, 9, 40, 300)
        from share in Gen.Elements(0, 0.02, 0.3, 1)
        from before in Gen.Elements(0, 0, 1, 5)
        from seed in Gen.Choose(0, int.MaxValue - 1)
        select (before, rows, columns, share, seed);

    internal static (SparseMatrix Sparse, DenseMatrix Dense) Matrix(Random random, int rows, int columns, double share)
    {
        var dense = new DenseMatrix(rows, columns);
        var (starts, indices, values) = (new List<int> { 0 }, new List<int>(), new List<double>());
        for (int i = 0; i < rows; i++)
        {
            bool empty = random.Next(4) == 0;
            for (int j = 0; j < columns; j++)
            {
                if (empty || j % 5 == 3 || random.NextDouble() >= share)
                    continue;
                indices.Add(j);
                values.Add(dense.Row(i)[j] = random.Next(10) == 0 ? 0 : (random.NextDouble() * 2) - 1);     // a stored 0 is legal
            }

            starts.Add(indices.Count);
        }

        return (new SparseMatrix(rows, columns, [.. starts], [.. indices], [.. values]), dense);
    }

    private static double[] Vector(Random random, int length) => [.. Enumerable.Range(0, length).Select(_ => (random.NextDouble() * 2) - 1)];

    private static void AssertClose(double[] expected, double[] actual)
    {
        // Cells, weights and residuals are below 1: a sum of m products in any order errs by at most m u m, far below 1e-13 a product summed.
        for (int i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], actual[i], 1e-13 * Math.Max(1, Math.Abs(expected[i])) * 10);
    }

    [Fact]
    public void ScoresAndGradient_RandomShape_EqualDense() => Prop.ForAll(Shapes.ToArbitrary(), shape =>
    {
        var random = new Random(shape.Seed);
        (SparseMatrix sparse, DenseMatrix dense) = Matrix(random, shape.Before + shape.Rows + 2, shape.Columns, shape.Share);
        bool centred = random.Next(2) == 0;
        double[] common = Vector(random, shape.Columns), factors = Vector(random, sparse.Rows);
        for (int i = 0; centred && i < dense.Rows; i++)
        {
            for (int j = 0; j < dense.Columns; j++)
                dense.Row(i)[j] += factors[i] * common[j];
        }

        FeatureRows rows = centred ? new SparseRows(sparse, common, factors) : new SparseRows(sparse), reference = new DenseRows(dense);
        double[] weights = Vector(random, shape.Columns), residuals = Vector(random, shape.Rows);
        double[] scores = Vector(random, shape.Rows), expectedScores = new double[shape.Rows], gradient = Vector(random, shape.Columns), expectedGradient = new double[shape.Columns];
        rows.Scores(shape.Before, weights, scores);
        reference.Scores(shape.Before, weights, expectedScores);
        AssertClose(expectedScores, scores);
        rows.Gradient(shape.Before, residuals, gradient);
        reference.Gradient(shape.Before, residuals, expectedGradient);
        AssertClose(expectedGradient, gradient);

        double[] cells = new double[shape.Columns];
        int[] order = [.. Enumerable.Range(0, rows.Rows)];
        random.Shuffle(order);
        FeatureRows turned = rows.Reordered(order), again = rows.Reordered(order, rows.Reordered([.. order.Reverse()]));
        for (int i = 0; i < rows.Rows; i++)
        {
            foreach ((FeatureRows which, int row) in new[] { (rows, order[i]), (turned, i), (again, i) })
            {
                which.CopyRow(row, cells);
                AssertClose(dense.Row(order[i]).ToArray(), cells);
                Assert.Equal(reference.Length(order[i]), which.Length(row), 1e-13 * Math.Max(1, Math.Sqrt(shape.Columns)));
                double bound = ((SparseRows)which).LengthBound(row);
                Assert.True(bound >= which.Length(row) && bound <= (reference.Length(order[i]) * (1 + 1e-12)) + 1e-149);
            }
        }
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(60));

    [Fact]
    public void ScoresAndGradient_CellsOfTheCommonRowCancel_KeepWhatIsLeft()
    {
        // 1e16 + 1 is 1e16 in float64.
        var rows = new SparseRows(new SparseMatrix(3, 3, [0, 0, 0, 0], [], []), [1e16, 1, -1e16], [1e16, 1, -1e16]);
        double[] scores = new double[3], gradient = new double[3];
        rows.Scores(0, [1, 1, 1], scores);
        rows.Gradient(0, [1, 1, 1], gradient);
        Assert.Equal([1e16, 1, -1e16], scores);
        Assert.Equal([1e16, 1, -1e16], gradient);
    }

    /// <summary>More blocks of rows than there are rows for: the last ones are empty. Their sums are added in their order.</summary>
    [Theory]
    [InlineData(65, 600)]
    [InlineData(100, 400)]
    [InlineData(64, 512)]
    public void Gradient_FewRowsWithManyCells_HasTheBitsOfSumsInBlockOrder(int rows, int columns)
    {
        var random = new Random(rows);
        double[] values = Vector(random, rows * columns), residuals = Vector(random, rows), gradient = new double[columns], expected = new double[columns];
        var matrix = new SparseMatrix(rows, columns, [.. Enumerable.Range(0, rows + 1).Select(i => i * columns)], [.. Enumerable.Range(0, rows * columns).Select(k => k % columns)], values);
        SparseKernels.Gradient(matrix, 0, residuals, gradient);

        int blocks = Math.Min(16, rows / 4), blockRows = (rows + blocks - 1) / blocks;
        for (int first = 0; first < rows; first += blockRows)
        {
            double[] sum = new double[columns];
            for (int i = first; i < Math.Min(rows, first + blockRows); i++)
                for (int j = 0; j < columns; j++)
                    sum[j] = Math.FusedMultiplyAdd(values[i * columns + j], residuals[i], sum[j]);
            for (int j = 0; j < columns; j++)
                expected[j] += sum[j];
        }

        Assert.Equal(expected, gradient);
    }

    /// <summary>Eight sums of every eighth stored cell, added in pairs, then the rest of the cells one by one: rows of every length, the empty one among them.</summary>
    [Fact]
    public void Scores_RowsOfAnyLength_HaveTheBitsOfEightSums()
    {
        const int Rows = 40, Columns = 60;
        var random = new Random(8);
        int[] starts = new int[Rows + 1];
        for (int i = 0; i < Rows; i++)
            starts[i + 1] = starts[i] + i;
        double[] values = Vector(random, starts[^1]), weights = Vector(random, Columns), scores = new double[Rows];
        int[] columns = [.. Enumerable.Range(0, Rows).SelectMany(i => Enumerable.Range(0, Columns).OrderBy(_ => random.Next()).Take(i).Order())];
        SparseKernels.Scores(new SparseMatrix(Rows, Columns, starts, columns, values), 0, weights, scores);
        for (int i = 0; i < Rows; i++)
        {
            double[] sums = new double[8];
            int whole = i & ~7;
            for (int k = 0; k < whole; k++)
                sums[k % 8] = Math.FusedMultiplyAdd(values[starts[i] + k], weights[columns[starts[i] + k]], sums[k % 8]);
            double sum = sums[0] + sums[1] + (sums[2] + sums[3]) + (sums[4] + sums[5] + (sums[6] + sums[7]));
            for (int k = whole; k < i; k++)
                sum = Math.FusedMultiplyAdd(values[starts[i] + k], weights[columns[starts[i] + k]], sum);
            Assert.Equal(sum, scores[i]);
        }
    }

    /// <summary>The residuals of rows that are not read twice anyway are made in the blocks of those that are.</summary>
    [Fact]
    public void ScoresAndGradient_AnyNumberOfRows_MakesEachResidualOnce()
    {
        foreach (int rows in (int[])[1, 255, 256, 257, 512, 4095, 4096, 4353])
        {
            double[] scores = new double[rows], residuals = new double[rows], gradient = new double[1];
            new SparseRows(new SparseMatrix(rows, 1, [.. Enumerable.Range(0, rows + 1)], new int[rows], [.. Enumerable.Repeat(1.0, rows)])).ScoresAndGradient(0, [2], scores, new OneMore(), residuals, gradient);
            Assert.All(residuals, residual => Assert.Equal(3, residual));
            Assert.Equal(3 * rows, gradient[0]);
        }
    }

    private sealed class OneMore : IResidualBlocks
    {
        public void Fill(int first, Span<double> scores, Span<double> residuals)
        {
            for (int i = 0; i < scores.Length; i++)
                residuals[i] += scores[i] + 1;
        }
    }

    [Fact]
    public void Reordered_DenseRows_GivesThemInOrder()
    {
        var rows = new DenseRows(new DenseMatrix(3, 1, [1, 2, 3]));
        FeatureRows turned = rows.Reordered([2, 0, 1]);
        Assert.Equal([3, 1, 2], ((DenseRows)turned).Matrix.Values);
        Assert.Same(turned, rows.Reordered([0, 1, 2], turned));
        Assert.Equal([1, 2, 3], ((DenseRows)turned).Matrix.Values);
        Assert.Throws<ArgumentException>(() => rows.Reordered([0]));
    }

    [Fact]
    public async Task ScoresAndGradient_OneThreadOrMany_GiveTheSameBits()
    {
        var random = new Random(3);
        (SparseMatrix sparse, _) = Matrix(random, 5000, 60, 0.5);
        double[] weights = Vector(random, 60), residuals = Vector(random, 5000);
        (double[], double[]) Run()
        {
            double[] scores = new double[5000], gradient = new double[60];
            SparseKernels.Scores(sparse, 0, weights, scores);
            SparseKernels.Gradient(sparse, 0, residuals, gradient);
            return (scores, gradient);
        }

        (double[] scores, double[] gradient) = Run();
        // A scheduler with one worker runs the blocks one after the other.
        var one = new ConcurrentExclusiveSchedulerPair(TaskScheduler.Default, 1).ExclusiveScheduler;
        (double[] alone, double[] aloneGradient) = await Task.Factory.StartNew(Run, CancellationToken.None, TaskCreationOptions.None, one);
        Assert.Equal(scores, alone);
        Assert.Equal(gradient, aloneGradient);
        for (int repeat = 0; repeat < 20; repeat++)
            Assert.Equal(gradient, Run().Item2);
    }

    [Fact]
    public void SparseMatrix_ArraysThatDoNotFit_Throw()
    {
        Assert.Throws<ArgumentException>(() => new SparseMatrix(1, 2, [0], [], []));
        Assert.Throws<ArgumentException>(() => new SparseMatrix(1, 2, [0, 1], [2], [1]));
        Assert.Throws<ArgumentException>(() => new SparseMatrix(1, 2, [0, 1], [-1], [1]));
        Assert.Throws<ArgumentException>(() => new SparseMatrix(1, 2, [0, 2], [1, 1], [1, 1]));
        Assert.Throws<ArgumentException>(() => new SparseMatrix(1, 2, [0, 2], [1, 0], [1, 1]));
        Assert.Throws<ArgumentException>(() => new SparseMatrix(2, 2, [0, 2, 1], [0], [1]));
        Assert.Throws<ArgumentException>(() => new SparseMatrix(1, 2, [0, 1], [0, 1], [1, 1]));
        Assert.Throws<ArgumentException>(() => new SparseMatrix(1, 2, [1, 1], [0], [1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SparseMatrix(-1, 2, [0], [], []));
        Assert.Throws<ArgumentException>(() => new SparseRows(new SparseMatrix(1, 2, [0, 0], [], []), [1, 1]));
        Assert.Throws<ArgumentException>(() => new SparseRows(new SparseMatrix(1, 2, [0, 0], [], []), [1], [1]));
        var matrix = new SparseMatrix(3, 2, [0, 0, 0, 0], [], []);
        Assert.Throws<ArgumentException>(() => SparseKernels.Scores(matrix, 0, new double[3], new double[3]));
        Assert.Throws<ArgumentException>(() => SparseKernels.Scores(matrix, 1, new double[2], new double[3]));
        Assert.Throws<ArgumentException>(() => SparseKernels.Gradient(matrix, -1, new double[1], new double[2]));
    }
}
