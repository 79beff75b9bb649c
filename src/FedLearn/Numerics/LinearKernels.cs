namespace FedLearn.Numerics;

/// <summary>The two passes of a linear model over a block of rows: scores X w and gradient X' r.</summary>
/// <remarks>Sums run in float64 in an order that depends on shapes alone, never on the number of threads or the width of the
/// processor's vectors, so that the same job gives the same bits. Vectors of 512, 256 and 128 bits and none are tested on x64; those of ARM are not.</remarks>
internal static unsafe class LinearKernels
{
    /// <summary>z[i] = x[start + i] . w, for <c>scores.Length</c> rows.</summary>
    /// <param name="matrix">Features, shape [n x d].</param>
    /// <param name="start">First row.</param>
    /// <param name="weights">Weights, shape [d].</param>
    /// <param name="scores">Receives the scores, shape [b].</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void Scores(DenseMatrix matrix, int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        ArgumentNullException.ThrowIfNull(matrix);
        CheckShapes(matrix.Rows, matrix.Columns, start, weights.Length, scores.Length);
        fixed (double* x = matrix.Values)
            DenseKernels.Scores(x + (long)start * matrix.Columns, weights, scores);
    }

    /// <summary>g = sum over i of r[i] x[start + i], for <c>residuals.Length</c> rows.</summary>
    /// <param name="matrix">Features, shape [n x d].</param>
    /// <param name="start">First row.</param>
    /// <param name="residuals">Residuals, shape [b].</param>
    /// <param name="gradient">Receives the sum (not divided by b), shape [d].</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void Gradient(DenseMatrix matrix, int start, ReadOnlySpan<double> residuals, Span<double> gradient)
    {
        ArgumentNullException.ThrowIfNull(matrix);
        CheckShapes(matrix.Rows, matrix.Columns, start, gradient.Length, residuals.Length);
        fixed (double* x = matrix.Values)
            DenseKernels.Gradient(x + (long)start * matrix.Columns, residuals, gradient);
    }

    internal static void CheckShapes(int matrixRows, int matrixColumns, int start, int columns, int rows)
    {
        if (columns != matrixColumns)
            throw new ArgumentException($"The matrix has {matrixColumns} columns, the vector {columns}.");
        if (start < 0 || rows > matrixRows - start)
            throw new ArgumentException($"Rows {start} to {start + rows} are not in a matrix of {matrixRows}.");
    }
}
