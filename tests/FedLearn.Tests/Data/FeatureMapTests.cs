using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Numerics;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Data;

public sealed class FeatureMapTests
{
    private const double U = 1.0 / (1L << 53);

    private static readonly TableSchema Mixed = TableSchema.Create(
        [Field.Numeric("age", 0, 100), Field.Numeric("debt", -50, 150), new Field("sex", FieldKind.OneHot, null, null, ["f", "m"], [])]);

    private static Table TableOf(TableSchema schema, params double[][] rows) => Table.FromMatrix(
        [.. Enumerable.Range(0, rows.Length).Select(i => $"id{i}")], schema.FeatureNames,
        new DenseMatrix(rows.Length, schema.FeatureNames.Count, [.. rows.SelectMany(row => row)]), schema: schema);

    private static Table Unranged(params double[][] rows) =>
        TableOf(TableSchema.Create([.. Enumerable.Range(0, rows[0].Length).Select(j => Field.Numeric($"x{j}"))]), rows);

    private static int[] All(Table table) => [.. Enumerable.Range(0, table.Ids.Count)];

    private static PreprocessingOptions Options(Scaling scaling, RowBound rows = RowBound.None, double rowNorm = 1) => new() { Scaling = scaling, Rows = rows, RowNorm = rowNorm };

    private static double[] Row(DenseMatrix matrix, int index) => matrix.Row(index).ToArray();

    [Fact]
    public void Declared_MapsRangeToUnitIntervalAndClips()
    {
        Table table = TableOf(Mixed, [0, 150, 1, 0], [100, 50, 0, 1], [75, -50, 0, 0], [-3, 1e300, 1, 0]);
        var map = FeatureMap.Fit(table, [], Options(Scaling.Declared), constant: false);
        DenseMatrix features = map.Transform(table, All(table));
        Assert.Equal([-1, 1, 1, 0], Row(features, 0));
        Assert.Equal([1, 0, 0, 1], Row(features, 1));
        Assert.Equal([0.5, -1, 0, 0], Row(features, 2));
        Assert.Equal([-1, 1, 1, 0], Row(features, 3));
        Assert.False(map.DependsOnData);
        Assert.Null(map.LongestRow);
        Assert.Equal(["age", "debt", "f", "m"], map.FeatureNames);
    }

    [Fact]
    public void Declared_EveryRangeIsTheUnitInterval_ClipsInEveryStorage()
    {
        TableSchema schema = TableSchema.Create([Field.Numeric("a", -1, 1), new Field("sex", FieldKind.OneHot, null, null, ["f", "m"], [])]);
        Table table = TableOf(schema, [50, 1, 0], [-1.5, 0, 1], [0.25, 0, 0]);
        var map = FeatureMap.Fit(table, [], Options(Scaling.Declared), constant: false);
        double[] expected = [1, 1, 0, -1, 0, 1, 0.25, 0, 0];
        Assert.Equal(expected, map.Transform(table, All(table)).Values);
        Assert.Equal(expected, FeatureMap.FromJson(map.ToJson(), "model").Transform(table, All(table)).Values);
        foreach (Table other in (Table[])[table, table.With(FeatureStorage.Float32), Sparse(table)])
            Assert.Equal(expected, Cells(map.TransformRows(other, All(other))));
    }

    private static Table Sparse(Table dense)
    {
        DenseMatrix cells = dense.Values;
        return Table.FromSparse(dense.Ids, dense.Schema.FeatureNames, new SparseMatrix(cells.Rows, cells.Columns, [.. Enumerable.Range(0, cells.Rows + 1).Select(i => i * cells.Columns)],
            [.. Enumerable.Range(0, cells.Values.Length).Select(k => k % cells.Columns)], [.. cells.Values]), schema: dense.Schema);
    }

    private static double[] Cells(FeatureRows rows)
    {
        double[] cells = new double[rows.Rows * rows.Columns];
        for (int i = 0; i < rows.Rows; i++)
            rows.CopyRow(i, cells.AsSpan(i * rows.Columns, rows.Columns));
        return cells;
    }

    [Fact]
    public void Declared_RandomSchema_EqualsSlowReferenceInEveryStorage() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        (double Min, double Max)[] ranges = [(-1, 1), (-1, 1), (0, 1), (-3, 3), (17, 97), (-0.5, 1.5)];
        bool unit = random.Next(2) == 0;                                     // every range [-1, 1]: the map moves no cell inside of them
        Field[] fields = [.. Enumerable.Range(0, random.Next(1, 6)).Select(j => (Place: j, Range: ranges[unit ? 0 : random.Next(ranges.Length)])).Select(f => random.Next(4) == 0
            ? new Field($"x{f.Place}", FieldKind.Category, null, null, [], ["a", "b"]) : Field.Numeric($"x{f.Place}", f.Range.Min, f.Range.Max))];
        TableSchema schema = TableSchema.Create(fields);
        double Draw(Field field) => field.Min!.Value + (((3 * random.NextDouble()) - 1) * (field.Max!.Value - field.Min.Value));     // a third is below, a third above
        double[][] values = [.. Enumerable.Range(0, random.Next(1, 12)).Select(_ => fields.SelectMany(field => field.Kind == FieldKind.Numeric ? [Draw(field)] : random.Next(2) == 0 ? new double[] { 1, 0 } : [0, 1]).ToArray())];
        Table table = TableOf(schema, values);
        bool constant = random.Next(2) == 0;
        var bound = (RowBound)random.Next(3);
        var map = FeatureMap.Fit(table, [], Options(Scaling.Declared, bound, 2), constant);
        double[] expected = [.. values.SelectMany(row => Bounded([.. SlowDeclared(fields, row)], fields.Length, bound, constant))];
        Assert.All(map.Transform(table, All(table)).Values.Zip(expected), cell => Assert.Equal(cell.Second, cell.First, 1e-12));
        Table sparse = Sparse(table), single = table.With(FeatureStorage.Float32);
        Assert.All(Cells(map.TransformRows(sparse, All(sparse))).Zip(expected), cell => Assert.Equal(cell.Second, cell.First, 1e-12));
        Assert.All(Cells(map.TransformRows(single, All(single))).Zip(expected), cell => Assert.Equal(cell.Second, cell.First, 1e-12 + (Math.Abs(cell.Second) * Math.Pow(2, -21))));
    }));

    private static IEnumerable<double> SlowDeclared(Field[] fields, double[] row)
    {
        int at = 0;
        foreach (Field field in fields)
        {
            if (field.Kind == FieldKind.Category)
            {
                yield return row[at++];
                yield return row[at++];
                continue;
            }

            double value = row[at++], min = field.Min!.Value, max = field.Max!.Value;
            yield return value < min ? -1 : value > max ? 1 : ((value - min) / (max - min) * 2) - 1;
        }
    }

    [Fact]
    public void Transform_MoreCellsThanFitAMatrix_IsRefused()
    {
        Table table = Unranged(new double[32_768]);
        var map = FeatureMap.Fit(table, [], Options(Scaling.None), constant: true);
        ErrorAssert.Throws<BadInputException>(DataErrors.TooLarge, table.Place, null, () => map.Transform(table, new int[65_534]));
    }

    [Fact]
    public void Declared_RangeMissing_NamesTheFieldAndTheWaysOut()
    {
        Table table = TableOf(TableSchema.Create([Field.Numeric("age", 0, 1), Field.Numeric("debt")]), [0, 1]);
        ConfigurationException error = ErrorAssert.Throws<ConfigurationException>(DataErrors.RangeMissing, "'debt'", null,
            () => FeatureMap.Fit(table, [0], Options(Scaling.Declared), constant: false));
        Assert.Contains("rounded or standardize", error.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void Declared_ExtremeRange_StaysFinite()
    {
        Table table = TableOf(TableSchema.Create([Field.Numeric("a", -double.MaxValue, double.MaxValue)]), [-double.MaxValue], [0], [double.MaxValue]);
        Assert.Equal([-1, 0, 1], FeatureMap.Fit(table, [], Options(Scaling.Declared), false).Transform(table, All(table)).Values);
    }

    [Fact]
    public void None_LeavesValuesAndAppendsTheConstant()
    {
        Table table = Unranged([3, 4], [5, 6]);
        var map = FeatureMap.Fit(table, [], Options(Scaling.None), constant: true);
        Assert.Equal([5, 6, 1, 3, 4, 1], map.Transform(table, [1, 0]).Values);
        Assert.Equal(["x0", "x1", FeatureMap.ConstantName], map.FeatureNames);
        Assert.False(map.DependsOnData);
    }

    [Fact]
    public void Standardize_TrainRowsAlone_GiveMeanZeroAndPopulationDeviationOne()
    {
        Table table = TableOf(Mixed, [1, 10, 1, 0], [3, 20, 0, 1], [8, 60, 0, 1], [1000, 0, 1, 0]);
        var map = FeatureMap.Fit(table, [2, 0, 1], Options(Scaling.Standardize), constant: false);
        DenseMatrix features = map.Transform(table, All(table));
        double sd = Math.Sqrt(26.0 / 3);                                     // of 1, 3, 8 about 4: (9 + 1 + 16) / 3
        Assert.Equal((1000 - 4) / sd, features.Row(3)[0], 1e-12);
        double share = Math.Sqrt(2.0 / 9);                                   // one-hot columns are scaled too: 1, 0, 0 about 1/3
        Assert.Equal((1 - (1 / 3.0)) / share, features.Row(3)[2], 1e-14);
        for (int j = 0; j < 4; j++)
        {
            Assert.Equal(0, Enumerable.Range(0, 3).Sum(i => features.Row(i)[j]), 1e-14);
            Assert.Equal(3, Enumerable.Range(0, 3).Sum(i => features.Row(i)[j] * features.Row(i)[j]), 1e-13);
        }

        Assert.True(map.DependsOnData);
    }

    [Fact]
    public void Standardize_ColumnAboutZero_IsDividedAllTheSame()
    {
        Table table = Unranged([-2], [2]);
        Assert.Equal([-1, 1], FeatureMap.Fit(table, [0, 1], Options(Scaling.Standardize), constant: false).Transform(table, [0, 1]).Values);
    }

    /// <summary>Of a column that may be constant: about its value where there is scaling, and told where the value is 0.</summary>
    [Theory]
    [InlineData(Scaling.None, 1)]
    [InlineData(Scaling.Standardize, 0)]
    public void Fit_ColumnsOfAFieldThatMayBeConstant_AreAboutTheirValue(Scaling scaling, double one)
    {
        Table table = TableOf(Mixed, [10, 0, 1, 0], [20, 1, 1, 0], [30, 2, 0, 1]);
        var zeros = new List<string>();
        FeatureMap map = FeatureMap.Fit(table, [0, 1], Options(scaling), constant: false, "the training rows", zeros, field => field.Kind != FieldKind.Numeric);
        Assert.Equal(scaling == Scaling.None ? ["m"] : ["f", "m"], zeros);
        DenseMatrix features = map.Transform(table, [0, 2]);
        Assert.Equal([one, 0, one - 1, 1], [.. Row(features, 0)[2..], .. Row(features, 1)[2..]]);
    }

    [Fact]
    public void Rounded_UsesOneSignificantDigit()
    {
        Table table = Unranged([1234.0], [1280], [1370]);                    // mean 1294.67 -> 1000, deviation 56.47 -> 60
        var map = FeatureMap.Fit(table, All(table), Options(Scaling.Rounded), constant: false);
        Assert.Equal([234 / 60.0, 280 / 60.0, 370 / 60.0], map.Transform(table, All(table)).Values);
        Assert.True(map.DependsOnData);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(0.94, 0.9)]
    [InlineData(0.95, 0.9)]                                                  // the nearest float64 is below .95
    [InlineData(-0.97, -1)]
    [InlineData(25, 20)]
    [InlineData(35, 40)]
    [InlineData(-1499.9, -1000)]
    [InlineData(6.02214076e23, 6e23)]
    [InlineData(1.6e-19, 2e-19)]
    public void OneDigit_KnownValue_RoundsDecimally(double value, double expected) => Assert.Equal(expected, FeatureMap.OneDigit(value));

    [Theory]
    [InlineData(Scaling.Standardize)]
    [InlineData(Scaling.Rounded)]
    public void Fit_ColumnConstantInTrainRows_NamesIt(Scaling scaling)
    {
        Table table = Unranged([1, 0.1], [2, 0.1], [3, 0.1], [4, 987]);      // 3 x 0.1 / 3 is not 0.1: the sums alone would not show it
        ErrorAssert.Throws<BadInputException>(DataErrors.ZeroVariance, "column 'x1'", "0.1", () => FeatureMap.Fit(table, [0, 1, 2], Options(scaling), constant: true));
    }

    [Fact]
    public void Fit_ManyConstantColumns_NamesTheFirstTenAndTheirNumber()
    {
        Table table = Unranged([.. Enumerable.Range(0, 13).Select(j => j == 1 ? 1.0 : 5)], [.. Enumerable.Range(0, 13).Select(j => j == 1 ? 2.0 : 5)]);
        BadInputException error = Assert.Throws<BadInputException>(() => FeatureMap.Fit(table, [0, 1], Options(Scaling.Standardize), constant: false));
        Assert.EndsWith("12 columns 'x0', 'x2', 'x3', 'x4', 'x5', 'x6', 'x7', 'x8', 'x9', 'x10' and 2 more", error.Place, StringComparison.Ordinal);
    }

    [Fact]
    public void Fit_Faults_AreNamed()
    {
        Table table = Unranged([1, 1e300], [2, -1e300]);
        ErrorAssert.Throws<BadInputException>(DataErrors.NoTrainingRows, "table in memory", null, () => FeatureMap.Fit(table, [], Options(Scaling.Standardize), false));
        ErrorAssert.Throws<BadInputException>(DataErrors.ScaledTooLarge, "column 'x1'", null, () => FeatureMap.Fit(table, [0, 1], Options(Scaling.Standardize), false));
        ErrorAssert.Throws<BadInputException>(DataErrors.ZeroVariance, "column 'x1'", null, () => FeatureMap.Fit(Unranged([1, 1e-200], [2, 2e-200]), [0, 1], Options(Scaling.Standardize), false));
        foreach (double norm in (double[])[0, -1, double.NaN, double.PositiveInfinity])
        {
            ErrorAssert.Throws<ConfigurationException>(DataErrors.PreprocessingInvalid, "preprocessing", null,
                () => FeatureMap.Fit(table, [0], Options(Scaling.None, RowBound.Clip, norm), false));
        }
    }

    [Fact]
    public void Transform_ScaledValueOverflows_NamesRowAndColumn()
    {
        Table table = Unranged([1, 1e-100], [2, 2e-100], [3, 1e300]);
        var map = FeatureMap.Fit(table, [0, 1], Options(Scaling.Standardize), constant: false);
        ErrorAssert.Throws<BadInputException>(DataErrors.ScaledTooLarge, "row 3, column 'x1'", null, () => map.Transform(table, [2]));
    }

    [Theory]
    [InlineData(false, 1)]
    [InlineData(true, 1)]
    [InlineData(true, 2.5)]
    public void Normalize_Row_HasLengthRAndItsDirection(bool constant, double rowNorm)
    {
        Table table = Unranged([3, 4], [0, 0]);
        DenseMatrix features = FeatureMap.Fit(table, [], Options(Scaling.None, RowBound.Normalize, rowNorm), constant).Transform(table, [0, 1]);
        double[] expected = constant ? [3 / Math.Sqrt(26), 4 / Math.Sqrt(26), 1 / Math.Sqrt(26)] : [0.6, 0.8];
        for (int j = 0; j < expected.Length; j++)
            Assert.Equal(rowNorm * expected[j], features.Row(0)[j], 1e-14 * rowNorm);
        Assert.Equal(constant ? rowNorm : 0, features.Row(1)[^1], 1e-14 * rowNorm);
    }

    [Fact]
    public void Clip_DeclaredRow_IsThePublishedRangeMap()
    {
        // Three fields, four columns: the row's length sqrt(1 + 1 + 1) is just the limit sqrt(3); the second has sqrt(.25 + .25 + 1).
        Table table = TableOf(Mixed, [100, 150, 1, 0], [75, 100, 1, 0], [100, 150, 1, 1]);
        DenseMatrix features = FeatureMap.Fit(table, [], Options(Scaling.Declared, RowBound.Clip), constant: true).Transform(table, All(table));
        double[][] expected =
        [
            [1 / Math.Sqrt(6), 1 / Math.Sqrt(6), 1 / Math.Sqrt(6), 0, Math.Sqrt(0.5)],
            [0.5 / Math.Sqrt(6), 0.5 / Math.Sqrt(6), 1 / Math.Sqrt(6), 0, Math.Sqrt(0.5)],
            [Math.Sqrt(0.125), Math.Sqrt(0.125), Math.Sqrt(0.125), Math.Sqrt(0.125), Math.Sqrt(0.5)],
        ];
        for (int i = 0; i < expected.Length; i++)
            for (int j = 0; j < 5; j++)
                Assert.Equal(expected[i][j], features.Row(i)[j], 1e-14);
    }

    [Fact]
    public void Clip_NoScaling_ShortensToOneAndKeepsShortRows()
    {
        Table table = Unranged([3, 4], [0.3, 0.4], [3e-200, 4e-200]);
        DenseMatrix features = FeatureMap.Fit(table, [], Options(Scaling.None, RowBound.Clip), constant: false).Transform(table, [0, 1, 2]);
        Assert.Equal(0.6, features.Row(0)[0], 1e-14);
        Assert.Equal([0.3, 0.4], Row(features, 1));
        Assert.Equal([3e-200, 4e-200], Row(features, 2));
        features = FeatureMap.Fit(table, [], Options(Scaling.None, RowBound.Clip, 10), constant: true).Transform(table, [1]);
        Assert.Equal(3 / Math.Sqrt(2), features.Row(0)[0], 1e-14);
        Assert.Equal(10 / Math.Sqrt(2), features.Row(0)[2], 1e-14);
    }

    /// <summary>Rows of any size, from subnormal to near overflow, and exact fits such as (3, 4).</summary>
    private static Arbitrary<double[][]> AnyRows()
    {
        Gen<double> value = Gen.OneOf(
            Gen.Choose(-4, 4).Select(i => (double)i),
            Gen.Choose(-1000, 1000).Select(i => i / 1000.0),
            Gen.Choose(-320, 307).SelectMany(exponent => Gen.Choose(-999, 999).Select(digits => digits / 100.0 * Math.Pow(10, exponent))));
        return Gen.Choose(1, 40).SelectMany(width => value.ArrayOf(width).NonEmptyListOf().Select(rows => rows.ToArray())).ToArbitrary();
    }

    [Theory]
    [InlineData(RowBound.Normalize, false, 1)]
    [InlineData(RowBound.Normalize, true, 1)]
    [InlineData(RowBound.Normalize, true, 3.7)]
    [InlineData(RowBound.Clip, false, 1)]
    [InlineData(RowBound.Clip, true, 1)]
    [InlineData(RowBound.Clip, true, 0.1)]
    public void Transform_AnyRow_NeverExceedsR(RowBound rows, bool constant, double rowNorm) => Check.QuickThrowOnFailure(Prop.ForAll(AnyRows(), values =>
    {
        Table table = Unranged(values);
        var map = FeatureMap.Fit(table, [], Options(Scaling.None, rows, rowNorm), constant);
        DenseMatrix features = map.Transform(table, All(table));
        bool bounded = true;
        for (int i = 0; i < values.Length; i++)
        {
            double[] row = Row(features, i), ascending = [.. row.OrderBy(Math.Abs)];
            (double high, double low) = ExactSquares(row);
            double square = rowNorm * rowNorm, error = Math.FusedMultiplyAdd(rowNorm, rowNorm, -square);
            bounded &= high - square + (low - error) <= 0;                                       // the real length
            bounded &= Length(row) <= rowNorm && Length(ascending) <= rowNorm && Length([.. ascending.Reverse()]) <= rowNorm;
            bounded &= rows == RowBound.Clip || values[i].All(value => value == 0) || Length(row) >= rowNorm * (1 - (4 * (row.Length + 8) * U));
        }

        return bounded && map.LongestRow == rowNorm;
    }));

    private static double Length(double[] row) => Math.Sqrt(row.Aggregate(0.0, (sum, value) => sum + (value * value)));

    /// <summary>Sum of squares in double-double: relative error below 2^-100.</summary>
    private static (double High, double Low) ExactSquares(double[] row)
    {
        double high = 0, low = 0;
        foreach (double value in row)
        {
            double square = value * value, part = Math.FusedMultiplyAdd(value, value, -square);
            double sum = high + square, back = sum - high;
            low += (high - (sum - back)) + (square - back) + part;
            high = sum;
        }

        return (high, low);
    }

    [Fact]
    public void Transform_RandomTable_EqualsSlowReference() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        int rows = random.Next(3, 12), width = random.Next(1, 7);
        double[][] values = [.. Enumerable.Range(0, rows).Select(_ => Enumerable.Range(0, width).Select(_ => (random.NextDouble() * 20) - 5).ToArray())];
        Table table = Unranged(values);
        bool constant = random.Next(2) == 0;
        var bound = (RowBound)random.Next(3);
        DenseMatrix features = FeatureMap.Fit(table, All(table), Options(Scaling.Standardize, bound, 2), constant).Transform(table, All(table));
        bool same = true;
        for (int i = 0; i < rows; i++)
        {
            double[] expected = SlowRow(values, i, bound, constant);
            for (int j = 0; j < expected.Length; j++)
                same &= Math.Abs(features.Row(i)[j] - expected[j]) < 1e-12 * (1 + Math.Abs(expected[j]));
        }

        return same;
    }));

    private static double[] SlowRow(double[][] values, int index, RowBound bound, bool constant)
    {
        int width = values[0].Length;
        var row = new List<double>();
        for (int j = 0; j < width; j++)
        {
            double mean = values.Average(v => v[j]), deviation = Math.Sqrt(values.Average(v => (v[j] - mean) * (v[j] - mean)));
            row.Add((values[index][j] - mean) / deviation);
        }

        return Bounded(row, width, bound, constant);
    }

    private static double[] Bounded(List<double> row, int fields, RowBound bound, bool constant)
    {
        double length = Math.Sqrt(row.Sum(v => v * v)), limit = Math.Sqrt(fields);
        if (bound == RowBound.Clip)
            row = [.. row.Select(v => v * Math.Min(1, limit / length) / limit)];
        if (constant)
            row.Add(1);
        if (bound == RowBound.Clip)
            return [.. row.Select(v => 2 * v / (constant ? Math.Sqrt(2) : 1))];
        length = Math.Sqrt(row.Sum(v => v * v));
        return bound == RowBound.Normalize ? [.. row.Select(v => 2 * v / length)] : [.. row];
    }

    [Fact]
    public void Transform_ColumnsInAnotherOrder_GivesTheSame()
    {
        Table table = Unranged([1, 10, 5], [3, 20, 7], [8, 60, 6]);
        TableSchema turned = TableSchema.Create([Field.Numeric("x2"), Field.Numeric("x0"), Field.Numeric("x1")]);
        var map = FeatureMap.Fit(table, [0, 1, 2], Options(Scaling.Standardize, RowBound.Clip), constant: true);
        Assert.Equal(map.Transform(table, [0]).Values, map.Transform(TableOf(turned, [5, 1, 10]), [0]).Values);
    }

    [Fact]
    public void Transform_OtherColumns_NamesThemAll()
    {
        var map = FeatureMap.Fit(Unranged([1, 2, 3]), [], Options(Scaling.None), constant: false);
        string Cause(params string[] names) => ErrorAssert.Throws<BadInputException>(DataErrors.DifferentColumns, "table", null,
            () => map.Transform(Table.FromMatrix(["p"], names, new DenseMatrix(1, names.Length)), [0])).Cause;
        Assert.Equal("the table lacks columns of the model: 'x1', 'x2'.", Cause("x0"));
        Assert.Equal("the table has columns that the model has not: 'x3', 'b'.", Cause("x3", "x0", "x2", "b", "x1"));
        Assert.Equal("the table lacks columns of the model: 'x1'; the table has columns that the model has not: 'y'.", Cause("x0", "y", "x2"));
    }

    [Fact]
    public void Transform_ManyOtherColumns_NamesTenAndCountsTheRest()
    {
        var map = FeatureMap.Fit(Unranged(new double[25]), [], Options(Scaling.None), constant: false);
        string cause = ErrorAssert.Throws<BadInputException>(DataErrors.DifferentColumns, "table", null, () => map.Transform(Unranged([1, 2]), [0])).Cause;
        Assert.Contains("'x2', 'x3'", cause, StringComparison.Ordinal);
        Assert.EndsWith("'x11' and 13 more.", cause, StringComparison.Ordinal);
    }

    [Fact]
    public void Json_EveryScalingAndBound_RoundTripsToTheBit()
    {
        Table table = TableOf(Mixed, [1 / 3.0, 10, 1, 0], [3, 20 / 7.0, 0, 1], [8, 60, 0, 1]);
        foreach (Scaling scaling in Enum.GetValues<Scaling>())
        {
            foreach (RowBound rows in Enum.GetValues<RowBound>())
            {
                var map = FeatureMap.Fit(table, All(table), Options(scaling, rows, 0.7), constant: true);
                var again = FeatureMap.FromJson(map.ToJson(), "model");
                Assert.Equal(map.Transform(table, All(table)).Values, again.Transform(table, All(table)).Values);
                Assert.Equal((map.DependsOnData, map.LongestRow), (again.DependsOnData, again.LongestRow));
                Assert.Equal(map.FeatureNames, again.FeatureNames);
                Assert.Equal(map.ToJson(), again.ToJson());
            }
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("format\":1|format\":2")]
    [InlineData("scaling\":\"none|scaling\":\"other")]
    [InlineData("rowNorm\":1|rowNorm\":-1")]
    [InlineData("width\":1|width\":0")]
    [InlineData("center\":0|center\":1e999")]
    [InlineData("fields\":2|fields\":0")]
    [InlineData("fields\":2|extra\":2")]
    [InlineData("x1|x0")]
    public void FromJson_Damaged_Refused(string change)
    {
        string json = FeatureMap.Fit(Unranged([1, 2]), [], Options(Scaling.None), constant: false).ToJson();
        string[] parts = change.Split('|');
        Assert.True(parts.Length == 1 || json.Contains(parts[0], StringComparison.Ordinal), json);
        string damaged = parts.Length == 1 ? change : json.Replace(parts[0], parts[1], StringComparison.Ordinal);
        ErrorAssert.Throws<BadInputException>(DataErrors.FeatureMapMalformed, "model", null, () => FeatureMap.FromJson(damaged, "model"));
    }

    [Fact]
    public void FromMatrix_Faults_AreNamed()
    {
        ErrorAssert.Throws<BadInputException>(DataErrors.NotFinite, "row 2, column 'x0'", null, () => Unranged([1], [double.NaN]));
        ErrorAssert.Throws<BadInputException>(DataErrors.NoRows, "table", null, () => Table.FromMatrix([], ["a"], new DenseMatrix(0, 1)));
        ErrorAssert.Throws<BadInputException>(DataErrors.DuplicateId, "row 2", "secret987", () => Table.FromMatrix(["secret987", "secret987 "], ["a"], new DenseMatrix(2, 1)));
        ErrorAssert.Throws<BadInputException>(DataErrors.EmptyId, "row 1", null, () => Table.FromMatrix([" "], ["a"], new DenseMatrix(1, 1)));
        ErrorAssert.Throws<BadInputException>(DataErrors.NotFinite, "column 'label'", null, () => Table.FromMatrix(["a"], ["a"], new DenseMatrix(1, 1), [double.NaN]));
        Assert.Throws<ArgumentException>(() => Table.FromMatrix(["a"], ["a", "b"], new DenseMatrix(1, 1)));
        Assert.Throws<ArgumentException>(() => Table.FromMatrix(["a"], ["a"], new DenseMatrix(1, 1), [1, 2]));
        Assert.Throws<ArgumentException>(() => Table.FromMatrix(["a"], ["b"], new DenseMatrix(1, 1), schema: TableSchema.Create([Field.Numeric("a")])));
    }
}
