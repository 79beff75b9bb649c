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

    /// <summary>Both passes where the caller makes residuals of the scores: what <see cref="Scores"/>, the caller and <see cref="Gradient"/> give, bit for bit, but rows that store
    /// every cell are read once.</summary>
    /// <param name="start">First row.</param>
    /// <param name="weights">Weights, shape [columns].</param>
    /// <param name="scores">Receives the scores, as the caller leaves them, shape [b].</param>
    /// <param name="blocks">Makes residuals of scores, block by block.</param>
    /// <param name="residuals">Receives the residuals, shape [b].</param>
    /// <param name="gradient">Receives sum over i of r[i] x[start + i], shape [columns].</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    internal virtual void ScoresAndGradient(int start, ReadOnlySpan<double> weights, Span<double> scores, IResidualBlocks blocks, Span<double> residuals, Span<double> gradient)
    {
        ArgumentNullException.ThrowIfNull(blocks);
        Scores(start, weights, scores);
        Fill(blocks, scores, residuals);
        Gradient(start, residuals[..scores.Length], gradient);
    }

    /// <summary>Makes the residuals of scores that are there, with all threads where there are many.</summary>
    internal static unsafe void Fill(IResidualBlocks blocks, Span<double> scores, Span<double> residuals)
    {
        fixed (double* z = scores, r = residuals[..scores.Length])
        {
            var work = new FillWork { Scores = z, Residuals = r, Rows = scores.Length };
            int count = (scores.Length + IResidualBlocks.MostRows - 1) / IResidualBlocks.MostRows;
            if (scores.Length >= ManyRows)
                BlockWorkers.Run(&work, blocks, count);
            else
                for (int block = 0; block < count; block++)
                    FillWork.Run(&work, blocks, block);
        }
    }

    // A row's residual takes some nanoseconds, a helper that sleeps some tens of microseconds to come.
    private const int ManyRows = 16 * IResidualBlocks.MostRows;

    private unsafe struct FillWork : IBlockWork
    {
        public double* Scores, Residuals;
        public int Rows;

        public static void Run(void* work, object? state, int block)
        {
            var at = (FillWork*)work;
            int first = block * IResidualBlocks.MostRows, rows = Math.Min(IResidualBlocks.MostRows, at->Rows - first);
            ((IResidualBlocks)state!).Fill(first, new Span<double>(at->Scores + first, rows), new Span<double>(at->Residuals + first, rows));
        }
    }

    /// <summary>Euclidean length of a row, as float64 computes it.</summary>
    /// <param name="row">Row from 0.</param>
    public abstract double Length(int row);

    /// <summary>Bound on the error of a score and of a gradient's entry in roundings, u = 2^-53, for rows of length R at most: a score is within this many u R |w| of the exact one, and the vector of a
    /// gradient over b rows within this many u of the sum of |r_i| R.</summary>
    /// <param name="rows">b, at most 4,096.</param>
    internal abstract (double Score, double Gradient) Roundings(int rows);

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

    private protected void CheckShapes(int start, ReadOnlySpan<double> weights, Span<double> scores, IResidualBlocks blocks, Span<double> residuals, Span<double> gradient)
    {
        ArgumentNullException.ThrowIfNull(blocks);
        LinearKernels.CheckShapes(Rows, Columns, start, weights.Length, scores.Length);
        LinearKernels.CheckShapes(Rows, Columns, start, gradient.Length, scores.Length);
        if (residuals.Length < scores.Length)
            throw new ArgumentException($"There are {scores.Length} scores and {residuals.Length} residuals.", nameof(residuals));
    }

    private protected void CheckOrder(ReadOnlySpan<int> order)
    {
        if (order.Length != Rows)
            throw new ArgumentException($"The order has {order.Length} rows, not {Rows}.", nameof(order));
    }
}

/// <summary>Residuals that depend on the score of their own row.</summary>
internal interface IResidualBlocks
{
    /// <summary>Rows of a block at most. Every block begins at a multiple of it, and all but the last have as many rows.</summary>
    const int MostRows = DenseKernels.BlockRows;

    /// <summary>Makes residuals of scores. Blocks are disjoint, cover the batch, and come from several threads at once, in any order.</summary>
    /// <param name="first">First row of the block, from 0 in the batch.</param>
    /// <param name="scores">x . w of its rows; may be changed.</param>
    /// <param name="residuals">Receives the residuals of its rows.</param>
    void Fill(int first, Span<double> scores, Span<double> residuals);
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
    internal override unsafe void ScoresAndGradient(int start, ReadOnlySpan<double> weights, Span<double> scores, IResidualBlocks blocks, Span<double> residuals, Span<double> gradient)
    {
        CheckShapes(start, weights, scores, blocks, residuals, gradient);
        fixed (double* x = Matrix.Values)
            DenseKernels.ScoresAndGradient(x + (long)start * Columns, weights, scores, blocks, residuals, gradient);
    }

    /// <inheritdoc/>
    internal override (double Score, double Gradient) Roundings(int rows) => DenseKernels.Roundings(Columns);

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
