using System.Numerics.Tensors;

namespace FedLearn.Numerics;

/// <summary>The rows of a linear model, however they are stored. Sums run in an order that never depends on the number of threads.</summary>
public abstract class FeatureRows
{
    private protected FeatureRows() { }

    /// <summary>Number of rows.</summary>
    public abstract int Rows { get; }

    /// <summary>Number of columns.</summary>
    public abstract int Columns { get; }

    /// <summary>z[i] = x[start + i] . w, for <c>scores.Length</c> rows.</summary>
    /// <param name="start">First row.</param>
    /// <param name="weights">Weights, shape [columns].</param>
    /// <param name="scores">Receives the scores, shape [b].</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public abstract void Scores(int start, ReadOnlySpan<double> weights, Span<double> scores);

    /// <summary>g = sum over i of r[i] x[start + i], for <c>residuals.Length</c> rows.</summary>
    /// <param name="start">First row.</param>
    /// <param name="residuals">Residuals, shape [b].</param>
    /// <param name="gradient">Receives the sum (not divided by b), shape [columns].</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public abstract void Gradient(int start, ReadOnlySpan<double> residuals, Span<double> gradient);

    /// <summary>Euclidean length of a row, as float64 computes it.</summary>
    /// <param name="row">Row from 0.</param>
    public abstract double Length(int row);

    /// <summary>Writes a row with all its cells.</summary>
    /// <param name="row">Row from 0.</param>
    /// <param name="cells">Receives the cells, shape [columns].</param>
    /// <exception cref="ArgumentException">The shape does not fit.</exception>
    public abstract void CopyRow(int row, Span<double> cells);

    /// <summary>The same rows in another order.</summary>
    /// <param name="order">Rows, each once, shape [rows].</param>
    /// <param name="reuse">An earlier result of these rows, whose memory is taken where it fits; or null.</param>
    /// <exception cref="ArgumentException">There are not as many rows.</exception>
    public abstract FeatureRows Reordered(ReadOnlySpan<int> order, FeatureRows? reuse = null);

    private protected void CheckOrder(ReadOnlySpan<int> order)
    {
        if (order.Length != Rows)
            throw new ArgumentException($"The order has {order.Length} rows, not {Rows}.", nameof(order));
    }
}

/// <summary>Rows of which every cell is stored.</summary>
/// <param name="matrix">The cells. Not copied.</param>
public sealed class DenseRows(DenseMatrix matrix) : FeatureRows
{
    /// <summary>The cells.</summary>
    public DenseMatrix Matrix { get; } = matrix ?? throw new ArgumentNullException(nameof(matrix));

    /// <inheritdoc/>
    public override int Rows => Matrix.Rows;

    /// <inheritdoc/>
    public override int Columns => Matrix.Columns;

    /// <inheritdoc/>
    public override void Scores(int start, ReadOnlySpan<double> weights, Span<double> scores) => LinearKernels.Scores(Matrix, start, weights, scores);

    /// <inheritdoc/>
    public override void Gradient(int start, ReadOnlySpan<double> residuals, Span<double> gradient) => LinearKernels.Gradient(Matrix, start, residuals, gradient);

    /// <inheritdoc/>
    public override double Length(int row) => TensorPrimitives.Norm<double>(Matrix.Row(row));

    /// <inheritdoc/>
    public override void CopyRow(int row, Span<double> cells) => Matrix.Row(row).CopyTo(cells[..Columns]);

    /// <inheritdoc/>
    public override FeatureRows Reordered(ReadOnlySpan<int> order, FeatureRows? reuse = null)
    {
        CheckOrder(order);
        var target = reuse is DenseRows { Rows: var rows, Columns: var columns } dense && rows == Rows && columns == Columns ? dense : new DenseRows(new DenseMatrix(Rows, Columns));
        for (int i = 0; i < order.Length; i++)
            Matrix.Row(order[i]).CopyTo(target.Matrix.Row(i));
        return target;
    }
}
