using System.Buffers;
using System.Numerics.Tensors;

namespace FedLearn.Numerics;

/// <summary>A matrix of float64 of which only some cells are stored, row by row (CSR); the others are 0.</summary>
public sealed class SparseMatrix
{
    /// <summary>Wraps arrays.</summary>
    /// <param name="rows">Number of rows, at least 0.</param>
    /// <param name="columns">Number of columns, at least 0.</param>
    /// <param name="rowStarts">Row i has the cells from rowStarts[i] to before rowStarts[i + 1]; shape [rows + 1]. Not copied.</param>
    /// <param name="columnIndices">Columns of the cells from 0, ascending within a row. Not copied.</param>
    /// <param name="values">Values of the cells. Not copied.</param>
    /// <exception cref="ArgumentException">The arrays do not describe a matrix of this shape.</exception>
    public SparseMatrix(int rows, int columns, int[] rowStarts, int[] columnIndices, double[] values)
    {
        ArgumentNullException.ThrowIfNull(rowStarts);
        ArgumentNullException.ThrowIfNull(columnIndices);
        ArgumentNullException.ThrowIfNull(values);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        if (rowStarts.Length != (long)rows + 1 || rowStarts[0] != 0 || rowStarts[^1] != values.Length || columnIndices.Length != values.Length)
            throw new ArgumentException($"The starts of {rows} rows do not fit {values.Length} values and {columnIndices.Length} columns.", nameof(rowStarts));
        for (int i = 0; i < rows; i++)
        {
            int start = rowStarts[i], end = rowStarts[i + 1];
            if (start > end || end > values.Length)
                throw new ArgumentException("The starts of the rows do not ascend.", nameof(rowStarts));
            for (int k = start; k < end; k++)
            {
                if (columnIndices[k] <= (k == start ? -1 : columnIndices[k - 1]) || columnIndices[k] >= columns)
                    throw new ArgumentException($"The columns of row {i} do not ascend from 0 to below {columns}.", nameof(columnIndices));
            }
        }

        (Rows, Columns, RowStarts, ColumnIndices, Values) = (rows, columns, rowStarts, columnIndices, values);
    }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>Number of columns.</summary>
    public int Columns { get; }

    /// <summary>Where the rows start, shape [rows + 1].</summary>
    public int[] RowStarts { get; }

    /// <summary>Columns of the stored cells.</summary>
    public int[] ColumnIndices { get; }

    /// <summary>Values of the stored cells.</summary>
    public double[] Values { get; }

    /// <summary>Columns of the stored cells of a row, as a view.</summary>
    /// <param name="index">Row from 0.</param>
    public ReadOnlySpan<int> RowColumns(int index) => ColumnIndices.AsSpan(RowStarts[index]..RowStarts[index + 1]);

    /// <summary>Values of the stored cells of a row, as a view.</summary>
    /// <param name="index">Row from 0.</param>
    public Span<double> RowValues(int index) => Values.AsSpan(RowStarts[index]..RowStarts[index + 1]);
}

/// <summary>The two passes of a linear model over a block of sparse rows; the work follows the stored cells.</summary>
/// <remarks>Sums run in float64 in an order that depends on the matrix alone, never on the number of threads.</remarks>
internal static class SparseKernels
{
    /// <summary>Below this many stored cells a second thread costs more than it saves.</summary>
    private const int ParallelThreshold = 1 << 15;
    private const int ScoreBlockRows = 512;
    private const int GradientBlocks = 16;

    /// <summary>z[i] = x[start + i] . w, for <c>scores.Length</c> rows.</summary>
    /// <param name="matrix">Features, shape [n x d].</param>
    /// <param name="start">First row.</param>
    /// <param name="weights">Weights, shape [d].</param>
    /// <param name="scores">Receives the scores, shape [b].</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void Scores(SparseMatrix matrix, int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        ArgumentNullException.ThrowIfNull(matrix);
        LinearKernels.CheckShapes(matrix.Rows, matrix.Columns, start, weights.Length, scores.Length);
        int rows = scores.Length;
        if (matrix.RowStarts[start + rows] - matrix.RowStarts[start] < ParallelThreshold)
        {
            ScoreRows(matrix, start, weights, scores);
            return;
        }

        // Rows are independent, so how they are shared out cannot change a bit.
        unsafe
        {
            fixed (double* w = weights, z = scores)
            {
                var work = new ScoreWork { Start = start, Rows = rows, Columns = weights.Length, Weights = w, Scores = z };
                BlockWorkers.Run(&work, matrix, (rows + ScoreBlockRows - 1) / ScoreBlockRows);
            }
        }
    }

    /// <summary>g = sum over i of r[i] x[start + i], for <c>residuals.Length</c> rows.</summary>
    /// <param name="matrix">Features, shape [n x d].</param>
    /// <param name="start">First row.</param>
    /// <param name="residuals">Residuals, shape [b].</param>
    /// <param name="gradient">Receives the sum (not divided by b), shape [d].</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void Gradient(SparseMatrix matrix, int start, ReadOnlySpan<double> residuals, Span<double> gradient)
    {
        ArgumentNullException.ThrowIfNull(matrix);
        LinearKernels.CheckShapes(matrix.Rows, matrix.Columns, start, gradient.Length, residuals.Length);
        gradient.Clear();
        int rows = residuals.Length, columns = matrix.Columns, cells = matrix.RowStarts[start + rows] - matrix.RowStarts[start];
        // Each block of rows has a sum of its own, of all columns: worth it where there are many cells a column. The number of blocks depends on the
        // matrix alone, and the sums are added in block order.
        int blocks = cells < ParallelThreshold ? 1 : (int)Math.Clamp(cells / (4L * columns), 1, GradientBlocks), blockRows = (rows + blocks - 1) / blocks;
        if (blocks == 1)
        {
            AddRows(matrix, start, residuals, gradient);
            return;
        }

        double[] partial = ArrayPool<double>.Shared.Rent(checked(blocks * columns));
        unsafe
        {
            fixed (double* r = residuals, p = partial)
            {
                new Span<double>(p, blocks * columns).Clear();
                var work = new GradientWork { Start = start, Rows = rows, Columns = columns, BlockRows = blockRows, Residuals = r, Partial = p };
                BlockWorkers.Run(&work, matrix, blocks, backwards: true);
            }
        }

        for (int block = 0; block < blocks; block++)
            TensorPrimitives.Add(gradient, partial.AsSpan(block * columns, columns), gradient);
        ArrayPool<double>.Shared.Return(partial);
    }

    private unsafe struct ScoreWork : IBlockWork
    {
        public int Start, Rows, Columns;
        public double* Weights, Scores;

        public static void Run(void* work, object? state, int block)
        {
            var at = (ScoreWork*)work;
            int first = block * ScoreBlockRows, length = Math.Min(ScoreBlockRows, at->Rows - first);
            ScoreRows((SparseMatrix)state!, at->Start + first, new ReadOnlySpan<double>(at->Weights, at->Columns), new Span<double>(at->Scores + first, length));
        }
    }

    private unsafe struct GradientWork : IBlockWork
    {
        public int Start, Rows, Columns, BlockRows;
        public double* Residuals, Partial;

        public static void Run(void* work, object? state, int block)
        {
            var at = (GradientWork*)work;
            int first = Math.Min(block * at->BlockRows, at->Rows), length = Math.Min(at->BlockRows, at->Rows - first);
            AddRows((SparseMatrix)state!, at->Start + first, new ReadOnlySpan<double>(at->Residuals + first, length), new Span<double>(at->Partial + ((long)block * at->Columns), at->Columns));
        }
    }

    private static void ScoreRows(SparseMatrix matrix, int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        for (int i = 0; i < scores.Length; i++)
        {
            ReadOnlySpan<int> columns = matrix.RowColumns(start + i);
            ReadOnlySpan<double> values = matrix.RowValues(start + i)[..columns.Length];
            // Eight sums, as dense rows have: shorter chains err less, and none waits for the one before.
            double a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
            int k = 0;
            for (; k + 8 <= columns.Length; k += 8)
            {
                a = Math.FusedMultiplyAdd(values[k], weights[columns[k]], a);
                b = Math.FusedMultiplyAdd(values[k + 1], weights[columns[k + 1]], b);
                c = Math.FusedMultiplyAdd(values[k + 2], weights[columns[k + 2]], c);
                d = Math.FusedMultiplyAdd(values[k + 3], weights[columns[k + 3]], d);
                e = Math.FusedMultiplyAdd(values[k + 4], weights[columns[k + 4]], e);
                f = Math.FusedMultiplyAdd(values[k + 5], weights[columns[k + 5]], f);
                g = Math.FusedMultiplyAdd(values[k + 6], weights[columns[k + 6]], g);
                h = Math.FusedMultiplyAdd(values[k + 7], weights[columns[k + 7]], h);
            }

            double sum = a + b + (c + d) + (e + f + (g + h));
            for (; k < columns.Length; k++)
                sum = Math.FusedMultiplyAdd(values[k], weights[columns[k]], sum);
            scores[i] = sum;
        }
    }

    private static void AddRows(SparseMatrix matrix, int start, ReadOnlySpan<double> residuals, Span<double> sum)
    {
        for (int i = 0; i < residuals.Length; i++)
        {
            ReadOnlySpan<int> columns = matrix.RowColumns(start + i);
            ReadOnlySpan<double> values = matrix.RowValues(start + i)[..columns.Length];
            double residual = residuals[i];
            for (int k = 0; k < columns.Length; k++)
                sum[columns[k]] = Math.FusedMultiplyAdd(values[k], residual, sum[columns[k]]);
        }
    }
}
