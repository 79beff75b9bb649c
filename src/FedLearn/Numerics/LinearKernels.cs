using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FedLearn.Numerics;

/// <summary>The two passes of a linear model over a block of rows: scores X w and gradient X' r.</summary>
/// <remarks>Sums run in float64 in an order that depends on shapes alone, never on the number of threads or the width of the
/// processor's vectors (512-bit vectors are emulated where they are missing), so that the same job gives the same bits.</remarks>
public static class LinearKernels
{
    /// <summary>Below this many matrix elements a second thread costs more than it saves.</summary>
    private const int ParallelThreshold = 1 << 16;
    private const int ScoreBlockRows = 512;
    private const int GradientBlocks = 64;

    /// <summary>z[i] = x[start + i] . w, for <c>scores.Length</c> rows.</summary>
    /// <param name="matrix">Features, shape [n x d].</param>
    /// <param name="start">First row.</param>
    /// <param name="weights">Weights, shape [d].</param>
    /// <param name="scores">Receives the scores, shape [b].</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void Scores(DenseMatrix matrix, int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        CheckShapes(matrix, start, weights.Length, scores.Length);
        if ((long)scores.Length * matrix.Columns < ParallelThreshold)
        {
            ScoreRows(matrix, start, weights, scores);
            return;
        }

        // Rows are independent, so how they are shared out cannot change a bit.
        int rows = scores.Length, blocks = (rows + ScoreBlockRows - 1) / ScoreBlockRows;
        unsafe
        {
            fixed (double* w = weights, z = scores)
            {
                var (weightsAt, scoresAt, count) = ((nint)w, (nint)z, weights.Length);
                Parallel.For(0, blocks, block =>
                {
                    int first = block * ScoreBlockRows, length = Math.Min(ScoreBlockRows, rows - first);
                    ScoreRows(matrix, start + first, new ReadOnlySpan<double>((void*)weightsAt, count), new Span<double>((double*)scoresAt + first, length));
                });
            }
        }
    }

    /// <summary>g = sum over i of r[i] x[start + i], for <c>residuals.Length</c> rows.</summary>
    /// <param name="matrix">Features, shape [n x d].</param>
    /// <param name="start">First row.</param>
    /// <param name="residuals">Residuals, shape [b].</param>
    /// <param name="gradient">Receives the sum (not divided by b), shape [d].</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void Gradient(DenseMatrix matrix, int start, ReadOnlySpan<double> residuals, Span<double> gradient)
    {
        CheckShapes(matrix, start, gradient.Length, residuals.Length);
        gradient.Clear();
        int rows = residuals.Length, columns = matrix.Columns;
        if (rows == 0 || columns == 0)
            return;
        // The partial sums depend on the number of rows only; they are added in block order.
        int blockRows = Math.Max(256, (rows + GradientBlocks - 1) / GradientBlocks);
        int blocks = (rows + blockRows - 1) / blockRows;
        if (blocks == 1)
        {
            AddRows(matrix, start, residuals, gradient);
            return;
        }

        double[] partial = new double[blocks * columns];
        if ((long)rows * columns < ParallelThreshold)
        {
            for (int block = 0; block < blocks; block++)
                AddRows(matrix, start + block * blockRows, residuals.Slice(block * blockRows, Math.Min(blockRows, rows - block * blockRows)),
                    partial.AsSpan(block * columns, columns));
        }
        else
        {
            unsafe
            {
                fixed (double* r = residuals)
                {
                    nint residualsAt = (nint)r;
                    Parallel.For(0, blocks, block =>
                    {
                        int first = block * blockRows, length = Math.Min(blockRows, rows - first);
                        AddRows(matrix, start + first, new ReadOnlySpan<double>((double*)residualsAt + first, length), partial.AsSpan(block * columns, columns));
                    });
                }
            }
        }

        for (int block = 0; block < blocks; block++)
            TensorPrimitives.Add(gradient, partial.AsSpan(block * columns, columns), gradient);
    }

    private static void CheckShapes(DenseMatrix matrix, int start, int columns, int rows)
    {
        ArgumentNullException.ThrowIfNull(matrix);
        if (columns != matrix.Columns)
            throw new ArgumentException($"The matrix has {matrix.Columns} columns, the vector {columns}.");
        if (start < 0 || rows > matrix.Rows - start)
            throw new ArgumentException($"Rows {start} to {start + rows} are not in a matrix of {matrix.Rows}.");
    }

    private static void ScoreRows(DenseMatrix matrix, int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        int columns = matrix.Columns, width = Vector512<double>.Count, i = 0;
        ReadOnlySpan<double> values = matrix.Values.AsSpan(start * columns, scores.Length * columns);
        ref double w = ref MemoryMarshal.GetReference(weights);
        for (; i + 4 <= scores.Length; i += 4)
        {
            ref double x = ref Unsafe.AsRef(in MemoryMarshal.GetReference(values.Slice(i * columns)));
            Vector512<double> s0 = default, s1 = default, s2 = default, s3 = default;
            int j = 0;
            for (; j + width <= columns; j += width)
            {
                Vector512<double> v = Vector512.LoadUnsafe(ref w, (nuint)j);
                s0 = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref x, (nuint)j), v, s0);
                s1 = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref x, (nuint)(columns + j)), v, s1);
                s2 = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref x, (nuint)(2 * columns + j)), v, s2);
                s3 = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref x, (nuint)(3 * columns + j)), v, s3);
            }

            double t0 = Vector512.Sum(s0), t1 = Vector512.Sum(s1), t2 = Vector512.Sum(s2), t3 = Vector512.Sum(s3);
            for (; j < columns; j++)
            {
                double v = Unsafe.Add(ref w, j);
                t0 = Math.FusedMultiplyAdd(Unsafe.Add(ref x, j), v, t0);
                t1 = Math.FusedMultiplyAdd(Unsafe.Add(ref x, columns + j), v, t1);
                t2 = Math.FusedMultiplyAdd(Unsafe.Add(ref x, 2 * columns + j), v, t2);
                t3 = Math.FusedMultiplyAdd(Unsafe.Add(ref x, 3 * columns + j), v, t3);
            }

            (scores[i], scores[i + 1], scores[i + 2], scores[i + 3]) = (t0, t1, t2, t3);
        }

        for (; i < scores.Length; i++)
        {
            ReadOnlySpan<double> row = values.Slice(i * columns, columns);
            Vector512<double> sum = default;
            int j = 0;
            for (; j + width <= columns; j += width)
                sum = Vector512.FusedMultiplyAdd(Vector512.Create(row[j..]), Vector512.Create(weights[j..]), sum);
            double total = Vector512.Sum(sum);
            for (; j < columns; j++)
                total = Math.FusedMultiplyAdd(row[j], weights[j], total);
            scores[i] = total;
        }
    }

    private static void AddRows(DenseMatrix matrix, int start, ReadOnlySpan<double> residuals, Span<double> sum)
    {
        int columns = matrix.Columns, width = Vector512<double>.Count, i = 0;
        ReadOnlySpan<double> values = matrix.Values.AsSpan(start * columns, residuals.Length * columns);
        ref double g = ref MemoryMarshal.GetReference(sum);
        for (; i + 4 <= residuals.Length; i += 4)
        {
            ref double x = ref Unsafe.AsRef(in MemoryMarshal.GetReference(values.Slice(i * columns)));
            double r0 = residuals[i], r1 = residuals[i + 1], r2 = residuals[i + 2], r3 = residuals[i + 3];
            var (v0, v1, v2, v3) = (Vector512.Create(r0), Vector512.Create(r1), Vector512.Create(r2), Vector512.Create(r3));
            int j = 0;
            for (; j + width <= columns; j += width)
            {
                Vector512<double> a = Vector512.LoadUnsafe(ref g, (nuint)j);
                a = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref x, (nuint)j), v0, a);
                a = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref x, (nuint)(columns + j)), v1, a);
                a = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref x, (nuint)(2 * columns + j)), v2, a);
                a = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref x, (nuint)(3 * columns + j)), v3, a);
                a.StoreUnsafe(ref g, (nuint)j);
            }

            for (; j < columns; j++)
            {
                double a = Math.FusedMultiplyAdd(Unsafe.Add(ref x, j), r0, Unsafe.Add(ref g, j));
                a = Math.FusedMultiplyAdd(Unsafe.Add(ref x, columns + j), r1, a);
                a = Math.FusedMultiplyAdd(Unsafe.Add(ref x, 2 * columns + j), r2, a);
                Unsafe.Add(ref g, j) = Math.FusedMultiplyAdd(Unsafe.Add(ref x, 3 * columns + j), r3, a);
            }
        }

        for (; i < residuals.Length; i++)
        {
            ReadOnlySpan<double> row = values.Slice(i * columns, columns);
            for (int j = 0; j < columns; j++)
                sum[j] = Math.FusedMultiplyAdd(row[j], residuals[i], sum[j]);
        }
    }
}
