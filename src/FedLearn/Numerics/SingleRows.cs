namespace FedLearn.Numerics;

/// <summary>Rows of which every cell is stored as float32. Products and sums are float64 all the same.</summary>
public sealed class SingleRows : FeatureRows
{
    /// <summary>Wraps an array.</summary>
    /// <param name="rows">Number of rows, at least 0.</param>
    /// <param name="columns">Number of columns, at least 0.</param>
    /// <param name="values">Row-major values; its length is rows x columns. Not copied.</param>
    /// <exception cref="ArgumentException">The length does not fit the shape.</exception>
    public SingleRows(int rows, int columns, float[] values)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        if (values.LongLength != (long)rows * columns)
            throw new ArgumentException($"{rows} x {columns} needs {(long)rows * columns} values, not {values.LongLength}.", nameof(values));
        (Rows, Columns, Values) = (rows, columns, values);
    }

    /// <inheritdoc/>
    public override int Rows { get; }

    /// <inheritdoc/>
    public override int Columns { get; }

    /// <summary>Row-major values.</summary>
    public float[] Values { get; }

    /// <summary>One row, as a view.</summary>
    /// <param name="index">Row from 0.</param>
    public Span<float> Row(int index) => Values.AsSpan(index * Columns, Columns);

    /// <inheritdoc/>
    public override unsafe void Scores(int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        LinearKernels.CheckShapes(Rows, Columns, start, weights.Length, scores.Length);
        fixed (float* x = Values)
            DenseKernels.Scores(x + (long)start * Columns, weights, scores);
    }

    /// <inheritdoc/>
    public override unsafe void Gradient(int start, ReadOnlySpan<double> residuals, Span<double> gradient)
    {
        LinearKernels.CheckShapes(Rows, Columns, start, gradient.Length, residuals.Length);
        fixed (float* x = Values)
            DenseKernels.Gradient(x + (long)start * Columns, residuals, gradient);
    }

    /// <inheritdoc/>
    internal override unsafe void ScoresAndGradient(int start, ReadOnlySpan<double> weights, Span<double> scores, IResidualBlocks blocks, Span<double> residuals, Span<double> gradient)
    {
        CheckShapes(start, weights, scores, blocks, residuals, gradient);
        fixed (float* x = Values)
            DenseKernels.ScoresAndGradient(x + (long)start * Columns, weights, scores, blocks, residuals, gradient);
    }

    /// <inheritdoc/>
    internal override (double Score, double Gradient) Roundings(int rows) => DenseKernels.Roundings(Columns);

    /// <inheritdoc/>
    public override double Length(int row) => LengthOf(Row(row));

    /// <inheritdoc/>
    public override void CopyRow(int row, Span<double> cells)
    {
        cells = cells[..Columns];
        ReadOnlySpan<float> values = Row(row);
        for (int j = 0; j < cells.Length; j++)
            cells[j] = values[j];
    }

    /// <inheritdoc/>
    public override FeatureRows Reordered(ReadOnlySpan<int> order, FeatureRows? reuse = null)
    {
        CheckOrder(order);
        var target = reuse is SingleRows { Rows: var rows, Columns: var columns } single && rows == Rows && columns == Columns ? single : new SingleRows(Rows, Columns, LargeArrays.Create<float>(Values.Length));
        for (int i = 0; i < order.Length; i++)
            Row(order[i]).CopyTo(target.Row(i));
        return target;
    }

    // Squares of float32 are exact in float64, and no sum of them overflows it.
    internal static double LengthOf(ReadOnlySpan<float> row)
    {
        double sum = 0;
        foreach (float value in row)
            sum += (double)value * value;
        return Math.Sqrt(sum);
    }
}
