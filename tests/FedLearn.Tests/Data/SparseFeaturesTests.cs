using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Numerics;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Data;

public sealed class SparseFeaturesTests
{
    /// <summary>The same rows, sparse and dense. Every third column is declared with a range that does not have 0 in its middle.</summary>
    private static (Table Sparse, Table Dense) Tables(Random random, int rows, int columns, double share, Func<Random, double> draw, bool shuffled = false)
    {
        Field[] fields = [.. Enumerable.Range(0, columns).Select(j => Field.Numeric($"x{j}", j % 3 == 0 ? 0 : -2, j % 3 == 1 ? 2 : 3))];
        if (shuffled)
            random.Shuffle(fields);
        TableSchema schema = TableSchema.Create(fields);
        var dense = new DenseMatrix(rows, columns);
        var (starts, indices, values) = (new List<int> { 0 }, new List<int>(), new List<double>());
        for (int i = 0; i < rows; i++)
        {
            bool empty = i > 2 && random.Next(5) == 0;
            for (int j = 0; j < columns; j++)
            {
                if (i < 2 || (!empty && random.NextDouble() < share))                        // two full rows, so that no column is constant
                {
                    indices.Add(j);
                    values.Add(dense.Row(i)[j] = draw(random));
                }
            }

            starts.Add(indices.Count);
        }

        string[] ids = [.. Enumerable.Range(0, rows).Select(i => $"{i}")];
        return (Table.FromSparse(ids, schema.FeatureNames, new SparseMatrix(rows, columns, [.. starts], [.. indices], [.. values]), schema: schema),
            Table.FromMatrix(ids, schema.FeatureNames, dense, schema: schema));
    }

    private static double Real(Random random) => (random.NextDouble() * 6) - 2.5;

    [Fact]
    public void TransformRows_EveryScalingAndBound_EqualsDense() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        int rows = random.Next(3, 30), columns = random.Next(1, 25);
        (Table sparse, Table dense) = Tables(random, rows, columns, random.NextDouble(), Real);
        int[] taken = [.. Enumerable.Range(0, 2 * rows).Select(_ => random.Next(rows))];
        foreach (Scaling scaling in Enum.GetValues<Scaling>())
        {
            foreach (RowBound bound in Enum.GetValues<RowBound>())
            {
                bool constant = random.Next(2) == 0;
                var options = new PreprocessingOptions { Scaling = scaling, Rows = bound, RowNorm = bound == RowBound.None ? 1 : 0.7 };
                int[] train = [0, 1, .. taken];
                FeatureMap map = FeatureMap.Fit(sparse, train, options, constant), other = FeatureMap.Fit(dense, train, options, constant);
                DenseMatrix expected = other.Transform(dense, taken);
                FeatureRows features = map.TransformRows(sparse, taken), mixed = other.TransformRows(sparse, taken);
                Assert.Equal((expected.Rows, expected.Columns), (features.Rows, features.Columns));
                double[] cells = new double[expected.Columns];
                for (int i = 0; i < taken.Length; i++)
                {
                    foreach (FeatureRows which in new[] { features, mixed })
                    {
                        which.CopyRow(i, cells);
                        for (int j = 0; j < cells.Length; j++)
                            Assert.Equal(expected.Row(i)[j], cells[j], 1e-12 * Math.Max(1, Math.Abs(expected.Row(i)[j])));
                    }
                }
            }
        }
    }));

    // What is left of a row in the middle of its ranges is too short for its square.
    [Theory]
    [InlineData(1e-100)]
    [InlineData(-1e-160)]
    [InlineData(5e-324)]
    public void TransformRows_RowsOfTheShortestLengths_AreNormalisedAsDenseOnes(double cell)
    {
        TableSchema schema = TableSchema.Create([Field.Numeric("x0", -1, 3), Field.Numeric("x1", -1, 1)]);
        Table sparse = Table.FromSparse(["0", "1"], schema.FeatureNames, new SparseMatrix(2, 2, [0, 2, 4], [0, 1, 0, 1], [1, cell, 3, 1]), schema: schema);
        Table dense = Table.FromMatrix(["0", "1"], schema.FeatureNames, new DenseMatrix(2, 2, [1, cell, 3, 1]), schema: schema);
        var options = new PreprocessingOptions { Scaling = Scaling.Declared, Rows = RowBound.Normalize, RowNorm = 0.7 };
        DenseMatrix expected = FeatureMap.Fit(dense, [0, 1], options, constant: false).Transform(dense, [0, 1]);
        FeatureRows features = FeatureMap.Fit(sparse, [0, 1], options, constant: false).TransformRows(sparse, [0, 1]);
        Assert.Equal(0.7, Math.Abs(expected.Row(0)[1]), 1e-14);
        double[] cells = new double[2];
        for (int i = 0; i < 2; i++)
        {
            features.CopyRow(i, cells);
            Assert.Equal(expected.Row(i).ToArray(), cells, (due, found) => Math.Abs(due - found) < 1e-14);
        }
    }

    [Fact]
    public void TransformRows_ColumnsInAnotherOrder_GivesTheSame()
    {
        var random = new Random(7);
        (Table sparse, Table dense) = Tables(random, 20, 12, 0.4, Real);
        (Table turned, Table turnedDense) = Tables(random, 20, 12, 0.4, Real, shuffled: true);
        int[] all = [.. Enumerable.Range(0, 20)];
        foreach (RowBound bound in Enum.GetValues<RowBound>())
        {
            var map = FeatureMap.Fit(sparse, all, new PreprocessingOptions { Scaling = Scaling.Standardize, Rows = bound }, constant: true);
            DenseMatrix expected = map.Transform(turnedDense, all);
            FeatureRows actual = map.TransformRows(turned, all);
            double[] cells = new double[13];
            for (int i = 0; i < 20; i++)
            {
                actual.CopyRow(i, cells);
                for (int j = 0; j < 13; j++)
                    Assert.Equal(expected.Row(i)[j], cells[j], 1e-12);
            }
        }

        Assert.Equal(dense.Ids, sparse.Ids);
    }

    /// <summary>Values from subnormal to 1e120, exact fits, and rows that the centre all but cancels.</summary>
    private static double Any(Random random) => random.Next(4) switch
    {
        0 => random.Next(-4, 5),
        1 => 1 + (random.Next(-3, 4) * 1e-15),
        2 => (random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-320, 120)),
        _ => random.NextDouble(),
    };

    [Theory]
    [InlineData(Scaling.None, 1)]
    [InlineData(Scaling.Declared, 1)]
    [InlineData(Scaling.Declared, 0.1)]
    [InlineData(Scaling.Standardize, 3.7)]
    public void TransformRows_AnyRow_NeverExceedsR(Scaling scaling, double rowNorm) => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        int rows = random.Next(3, 20), columns = random.Next(1, 30);
        (Table sparse, _) = Tables(random, rows, columns, random.NextDouble(), scaling == Scaling.Standardize ? Real : Any);
        int[] all = [.. Enumerable.Range(0, rows)];
        foreach (RowBound bound in (RowBound[])[RowBound.Clip, RowBound.Normalize])
        {
            foreach (bool constant in (bool[])[false, true])
            {
                FeatureRows features = FeatureMap.Fit(sparse, all, new PreprocessingOptions { Scaling = scaling, Rows = bound, RowNorm = rowNorm }, constant).TransformRows(sparse, all);
                double[] cells = new double[features.Columns], unit = new double[features.Columns];
                for (int i = 0; i < rows; i++)
                {
                    Assert.True(features.Length(i) <= rowNorm);
                    // What privacy charges for rounding counts on it.
                    Assert.InRange(((SparseRows)features).CommonLength(i), 0, 4 * rowNorm);
                    // What the kernels see: the score of each unit vector is a cell of the row.
                    features.CopyRow(i, cells);
                    (decimal real, double computed) = (0, 0);
                    for (int j = 0; j < cells.Length; j++)
                    {
                        (unit[j], double score) = (1, 0);
                        features.Scores(i, unit, new Span<double>(ref score));
                        unit[j] = 0;
                        Assert.Equal(cells[j], score, 1e-13 * rowNorm);
                        computed += cells[j] * cells[j];
                        real += (decimal)cells[j] * (decimal)cells[j];                       // 28 digits after the point: cells below 1e-14 are lost, as are their squares
                    }

                    // A cell is within one rounding of its real value, so the length is too.
                    Assert.True(real <= (decimal)rowNorm * (decimal)rowNorm * (1 + 3e-16m) && Math.Sqrt(computed) <= rowNorm * (1 + (columns * 1.2e-16)));
                }
            }
        }
    }));

    [Fact]
    public void TransformRows_RowThatTheCentreCancels_IsStillNormalised()
    {
        TableSchema schema = TableSchema.Create([Field.Numeric("a", 0, 2), Field.Numeric("b", 0, 2)]);
        Table sparse = Table.FromSparse(["p", "q", "r"], ["a", "b"], new SparseMatrix(3, 2, [0, 2, 4, 4], [0, 1, 0, 1], [1, 1, 1, 1 + 1e-9]), schema: schema);
        FeatureRows rows = FeatureMap.Fit(sparse, [], new PreprocessingOptions { Scaling = Scaling.Declared, Rows = RowBound.Normalize }, constant: false).TransformRows(sparse, [0, 1, 2]);
        double[] cells = new double[2];
        rows.CopyRow(0, cells);
        Assert.Equal([0, 0], cells);                                                         // the middle of every range
        rows.CopyRow(1, cells);
        Assert.Equal(0, cells[0], 1e-6);
        Assert.Equal(1, cells[1], 1e-6);
        rows.CopyRow(2, cells);
        Assert.Equal(-Math.Sqrt(0.5), cells[0], 1e-14);
        // Rows that cancel are stored cell by cell, the others as a multiple of the common row.
        Assert.Equal([0, 0, 1], new[] { 0, 1, 2 }.Select(((SparseRows)rows).CommonLength), (due, found) => Math.Abs(due - found) < 1e-14);
        double score = 0;
        rows.Scores(1, [3, 5], new Span<double>(ref score));
        rows.CopyRow(1, cells);
        Assert.Equal((3 * cells[0]) + (5 * cells[1]), score, 1e-15);
    }

    [Fact]
    public void Fit_SparseFaults_AreNamed()
    {
        Table constant = Table.FromSparse(["p", "q"], ["a", "b"], new SparseMatrix(2, 2, [0, 1, 1], [1], [5]));
        ErrorAssert.Throws<BadInputException>(DataErrors.ZeroVariance, "column 'a'", null,
            () => FeatureMap.Fit(constant, [0, 1], new PreprocessingOptions { Scaling = Scaling.Standardize }, false));
        var map = FeatureMap.Fit(constant, [0, 1], new PreprocessingOptions { Scaling = Scaling.None }, false);
        Table other = Table.FromSparse(["p"], ["a", "c"], new SparseMatrix(1, 2, [0, 0], [], []));
        ErrorAssert.Throws<BadInputException>(DataErrors.DifferentColumns, "table", null, () => map.TransformRows(other, [0]));
        Assert.Throws<InvalidOperationException>(() => map.Transform(constant, [0]));
        Assert.Throws<InvalidOperationException>(() => constant.Values);
        ErrorAssert.Throws<BadInputException>(DataErrors.NotFinite, "row 2, column 'b'", null,
            () => Table.FromSparse(["p", "q"], ["a", "b"], new SparseMatrix(2, 2, [0, 0, 1], [1], [double.NaN])));
        Table huge = Table.FromSparse(["p", "q"], ["a"], new SparseMatrix(2, 1, [0, 1, 2], [0, 0], [1e300, 1]), schema: TableSchema.Create([Field.Numeric("a", 0, 1e-30)]));
        foreach (double norm in (double[])[1e-200, 1e200])
            ErrorAssert.Throws<ConfigurationException>(DataErrors.PreprocessingInvalid, "preprocessing", null,
                () => FeatureMap.Fit(huge, [], new PreprocessingOptions { Scaling = Scaling.Declared, Rows = RowBound.Clip, RowNorm = norm }, false).TransformRows(huge, [0]));
        Table far = Table.FromSparse(["p", "q", "r"], ["a"], new SparseMatrix(3, 1, [0, 1, 2, 3], [0, 0, 0], [1, 2, 1e150]));
        ErrorAssert.Throws<BadInputException>(DataErrors.ScaledTooLarge, "row 3, column 'a'", null,
            () => FeatureMap.Fit(far, [0, 1], new PreprocessingOptions { Scaling = Scaling.Standardize }, false).TransformRows(far, [0, 2]));
    }
}
