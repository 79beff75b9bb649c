using System.Buffers;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedLearn.Numerics;

/// <summary>The passes of a linear model over row-major cells of float64 or float32. Products and sums are float64 in both.</summary>
/// <remarks>A score is eight sums, of the columns j with j mod 8 the same, added in pairs (<see cref="MatrixKernels.Across(Vector512{double})"/>), then the rest of the columns one by one. An entry of
/// a gradient is a sum over the rows of a block in their order; blocks depend on the number of rows alone, and are added in order. Every product is fused with its addition. So the
/// bits are the same for every width of vectors (512, 256, 128 bits and none), every number of threads, and with passes fused or not.</remarks>
internal static unsafe class DenseKernels
{
    /// <summary>Below this many cells a second thread costs more than it saves.</summary>
    private const int ParallelThreshold = 1 << 15;

    /// <summary>Rows that a fused pass scores before it adds them to the gradient: they stay in the cache nearest to the core. Blocks of gradients are multiples of it.</summary>
    internal const int BlockRows = 256;
    private const int GradientBlocks = 64;

    /// <summary>Rows of up to so many bytes are still in a cache when their gradient follows their scores. Without asking for memory ahead gradients of up to 6 MB were quicker, and those of 13 MB slower, on two cores of a Zen 5 with 2 MB of second-level cache.</summary>
    private const int CachedBytes = 4 << 20;

    /// <summary>What <see cref="FeatureRows.Roundings"/> is for rows that store every cell: eight chains of d/8 cells and the way to one number; blocks of 256 rows, 16 of them, and some to spare.</summary>
    public static (double Score, double Gradient) Roundings(int columns) => ((columns / 8.0) + 16, BlockRows + 34);

    /// <summary>z[i] = x[i] . w.</summary>
    public static void Scores<T>(T* x, ReadOnlySpan<double> weights, Span<double> scores) where T : unmanaged
    {
        fixed (double* w = weights, z = scores)
        {
            var work = new ScoreWork<T> { X = x, Columns = weights.Length, Weights = w, Scores = z, Rows = scores.Length };
            if ((long)work.Rows * work.Columns < ParallelThreshold)
                ScoreRows(x, work.Columns, w, z, work.Rows);
            else
                BlockWorkers.Run(&work, null, Blocks(work.Rows, BlockRows));
        }
    }

    /// <summary>g = sum over i of r[i] x[i]. Last rows first, where an earlier pass over many rows may have left them in the cache.</summary>
    public static void Gradient<T>(T* x, ReadOnlySpan<double> residuals, Span<double> gradient) where T : unmanaged
    {
        gradient.Clear();
        fixed (double* r = residuals, g = gradient)
        {
            var work = new GradientWork<T> { X = x, Columns = gradient.Length, Residuals = r, Rows = residuals.Length };
            AddUp(ref work, null, gradient, g);
        }
    }

    /// <summary>Both passes in one reading of the rows, with residuals that the caller makes of the scores block by block.</summary>
    public static void ScoresAndGradient<T>(T* x, ReadOnlySpan<double> weights, Span<double> scores, IResidualBlocks residualBlocks, Span<double> residuals, Span<double> gradient) where T : unmanaged
    {
        gradient.Clear();
        fixed (double* w = weights, z = scores, r = residuals, g = gradient)
        {
            var work = new GradientWork<T> { X = x, Columns = weights.Length, Weights = w, Scores = z, Residuals = r, Rows = scores.Length };
            AddUp(ref work, residualBlocks, gradient, g);
        }
    }

    private static int Blocks(int rows, int size) => (rows + size - 1) / size;

    private static void AddUp<T>(ref GradientWork<T> work, IResidualBlocks? residualBlocks, Span<double> gradient, double* sum) where T : unmanaged
    {
        int columns = work.Columns, size = work.BlockRows = BlockRows * Math.Max(1, Blocks(work.Rows, GradientBlocks * BlockRows)), blocks = Blocks(work.Rows, size);
        fixed (GradientWork<T>* at = &work)
        {
            if (blocks <= 1)
            {
                work.Partial = sum;
                if (blocks == 1)
                    GradientWork<T>.Run(at, residualBlocks, 0);
                return;
            }

            double[] partial = ArrayPool<double>.Shared.Rent(blocks * columns);
            fixed (double* partialAt = partial)
            {
                new Span<double>(partialAt, blocks * columns).Clear();
                work.Partial = partialAt;
                if ((long)work.Rows * columns < ParallelThreshold)
                    for (int block = 0; block < blocks; block++)
                        GradientWork<T>.Run(at, residualBlocks, block);
                else
                    BlockWorkers.Run(at, residualBlocks, blocks, backwards: residualBlocks is null);
            }

            for (int block = 0; block < blocks; block++)
                TensorPrimitives.Add(gradient, partial.AsSpan(block * columns, columns), gradient);
            ArrayPool<double>.Shared.Return(partial);
        }
    }

    private struct ScoreWork<T> : IBlockWork where T : unmanaged
    {
        public T* X;
        public int Columns, Rows;
        public double* Weights, Scores;

        public static void Run(void* work, object? state, int block)
        {
            var at = (ScoreWork<T>*)work;
            int first = block * BlockRows;
            ScoreRows(at->X + (long)first * at->Columns, at->Columns, at->Weights, at->Scores + first, Math.Min(BlockRows, at->Rows - first));
        }
    }

    private struct GradientWork<T> : IBlockWork where T : unmanaged
    {
        public T* X;
        public int Columns, Rows, BlockRows;
        public double* Weights, Scores, Residuals, Partial;

        public static void Run(void* work, object? state, int block)
        {
            var at = (GradientWork<T>*)work;
            int columns = at->Columns, first = block * at->BlockRows, end = Math.Min(first + at->BlockRows, at->Rows);
            double* sum = at->Partial + (long)block * columns;
            if (state is not IResidualBlocks residualBlocks)
            {
                AddRows(at->X + (long)first * columns, columns, at->Residuals + first, end - first, sum, (long)at->Rows * columns * sizeof(T) <= CachedBytes);
                return;
            }

            for (int i = first, rows; i < end; i += rows)
            {
                rows = Math.Min(DenseKernels.BlockRows, end - i);
                T* x = at->X + (long)i * columns;
                ScoreRows(x, columns, at->Weights, at->Scores + i, rows);
                residualBlocks.Fill(i, new Span<double>(at->Scores + i, rows), new Span<double>(at->Residuals + i, rows));
                AddRows(x, columns, at->Residuals + i, rows, sum, cached: true);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static double At<T>(T* x) where T : unmanaged => typeof(T) == typeof(float) ? *(float*)x : *(double*)x;

    // Eight cells as float64.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<double> Load8<T>(T* x) where T : unmanaged =>
        typeof(T) == typeof(float) ? Vector512.WidenLower(Vector256.Load((float*)x).ToVector512Unsafe()) : Vector512.Load((double*)x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<double> Load4<T>(T* x) where T : unmanaged =>
        typeof(T) == typeof(float) ? Vector256.WidenLower(Vector128.Load((float*)x).ToVector256Unsafe()) : Vector256.Load((double*)x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<double> Load2<T>(T* x) where T : unmanaged =>
        typeof(T) == typeof(float) ? Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(double*)x).AsSingle()) : Vector128.Load((double*)x);

    // One cell of each of four rows.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<double> Column<T>(T* a, T* b, T* c, T* d) where T : unmanaged => typeof(T) == typeof(float)
        ? Vector256.WidenLower(Vector128.Create(*(float*)a, *(float*)b, *(float*)c, *(float*)d).ToVector256Unsafe()) : Vector256.Create(*(double*)a, *(double*)b, *(double*)c, *(double*)d);

    // The sums of four rows at once, each added up as MatrixKernels.Across does.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<double> Across(Vector512<double> a, Vector512<double> b, Vector512<double> c, Vector512<double> d)
    {
        Vector256<double> a4 = a.GetLower() + a.GetUpper(), b4 = b.GetLower() + b.GetUpper(), c4 = c.GetLower() + c.GetUpper(), d4 = d.GetLower() + d.GetUpper();
        // [a a b b] and [c c d d], then [a c b d].
        Vector256<double> ab = Avx.Permute2x128(a4, b4, 0x20) + Avx.Permute2x128(a4, b4, 0x31), cd = Avx.Permute2x128(c4, d4, 0x20) + Avx.Permute2x128(c4, d4, 0x31);
        return Avx2.Permute4x64(Avx.UnpackLow(ab, cd) + Avx.UnpackHigh(ab, cd), 0b11_01_10_00);
    }

    // Four streams of rows are more than the processor's own prefetching follows well. A page ahead was a sixth faster at 30 to 100 columns; rows that are longer than a quarter of it are asked for
    // four rows ahead, where the same stream comes next: a fifth faster at 300 columns of float64. Beyond the last row that is asked for what is not used, which is no fault.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch<T>(T* a, T* b, T* c, T* d, int ahead) where T : unmanaged
    {
        if (!Sse.IsSupported)
            return;
        Sse.Prefetch0((byte*)a + ahead);
        Sse.Prefetch0((byte*)b + ahead);
        Sse.Prefetch0((byte*)c + ahead);
        Sse.Prefetch0((byte*)d + ahead);
    }

    private static int Ahead<T>(int columns) where T : unmanaged => (int)Math.Clamp(4L * columns * sizeof(T), 4096, 1 << 20);

    // Compiled once and in full, so that the first rounds are as fast as the others.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreRows<T>(T* x, int columns, double* w, double* z, int rows) where T : unmanaged
    {
        int i = Vector512.IsHardwareAccelerated ? NarrowKernels.ScoreRows(x, columns, w, z, rows) : 0, whole = columns & ~7, ahead = Ahead<T>(columns);
        if (Vector512.IsHardwareAccelerated)
        {
            for (; i + 4 <= rows; i += 4)
            {
                T* x0 = x + (long)i * columns, x1 = x0 + columns, x2 = x1 + columns, x3 = x2 + columns;
                Vector512<double> s0 = default, s1 = default, s2 = default, s3 = default;
                int j = 0;
                for (; j < whole; j += 8)
                {
                    Prefetch(x0 + j, x1 + j, x2 + j, x3 + j, ahead);
                    var v = Vector512.Load(w + j);
                    s0 = Vector512.FusedMultiplyAdd(Load8(x0 + j), v, s0);
                    s1 = Vector512.FusedMultiplyAdd(Load8(x1 + j), v, s1);
                    s2 = Vector512.FusedMultiplyAdd(Load8(x2 + j), v, s2);
                    s3 = Vector512.FusedMultiplyAdd(Load8(x3 + j), v, s3);
                }

                Vector256<double> t = Across(s0, s1, s2, s3);
                for (; j < columns; j++)
                    t = Vector256.FusedMultiplyAdd(Column(x0 + j, x1 + j, x2 + j, x3 + j), Vector256.Create(w[j]), t);
                t.Store(z + i);
            }
        }

        for (; i < rows; i++)
        {
            T* row = x + (long)i * columns;
            double sum = Vector512.IsHardwareAccelerated ? Wide(row, w, whole) : Vector256.IsHardwareAccelerated ? Half(row, w, whole)
                : Vector128.IsHardwareAccelerated ? Quarter(row, w, whole) : Plain(row, w, whole);
            for (int j = whole; j < columns; j++)
                sum = Math.FusedMultiplyAdd(At(row + j), w[j], sum);
            z[i] = sum;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static double Wide<T>(T* x, double* w, int whole) where T : unmanaged
    {
        Vector512<double> sum = default;
        for (int j = 0; j < whole; j += 8)
            sum = Vector512.FusedMultiplyAdd(Load8(x + j), Vector512.Load(w + j), sum);
        return MatrixKernels.Across(sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static double Half<T>(T* x, double* w, int whole) where T : unmanaged
    {
        Vector256<double> low = default, high = default;
        for (int j = 0; j < whole; j += 8)
        {
            low = Vector256.FusedMultiplyAdd(Load4(x + j), Vector256.Load(w + j), low);
            high = Vector256.FusedMultiplyAdd(Load4(x + j + 4), Vector256.Load(w + j + 4), high);
        }

        return MatrixKernels.Across(low + high);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static double Quarter<T>(T* x, double* w, int whole) where T : unmanaged
    {
        Vector128<double> a = default, b = default, c = default, d = default;
        for (int j = 0; j < whole; j += 8)
        {
            a = Vector128.FusedMultiplyAdd(Load2(x + j), Vector128.Load(w + j), a);
            b = Vector128.FusedMultiplyAdd(Load2(x + j + 2), Vector128.Load(w + j + 2), b);
            c = Vector128.FusedMultiplyAdd(Load2(x + j + 4), Vector128.Load(w + j + 4), c);
            d = Vector128.FusedMultiplyAdd(Load2(x + j + 6), Vector128.Load(w + j + 6), d);
        }

        return MatrixKernels.Across((a + c) + (b + d));
    }

    // What the others compute, without vectors.
    private static double Plain<T>(T* x, double* w, int whole) where T : unmanaged
    {
        double* s = stackalloc double[8];
        for (int l = 0; l < 8; l++)
        {
            double sum = 0;
            for (int j = l; j < whole; j += 8)
                sum = Math.FusedMultiplyAdd(At(x + j), w[j], sum);
            s[l] = sum;
        }

        return (s[0] + s[4] + (s[2] + s[6])) + (s[1] + s[5] + (s[3] + s[7]));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddRows<T>(T* x, int columns, double* r, int rows, double* sum, bool cached) where T : unmanaged
    {
        int i = Vector512.IsHardwareAccelerated ? NarrowKernels.AddRows(x, columns, r, rows, sum, cached) : 0, ahead = Ahead<T>(columns);
        for (; i + 4 <= rows; i += 4)
        {
            T* x0 = x + (long)i * columns, x1 = x0 + columns, x2 = x1 + columns, x3 = x2 + columns;
            double r0 = r[i], r1 = r[i + 1], r2 = r[i + 2], r3 = r[i + 3];
            int j = 0;
            if (Vector512.IsHardwareAccelerated)
            {
                Vector512<double> v0 = Vector512.Create(r0), v1 = Vector512.Create(r1), v2 = Vector512.Create(r2), v3 = Vector512.Create(r3);
                for (; j + 8 <= columns; j += 8)
                {
                    Prefetch(x0 + j, x1 + j, x2 + j, x3 + j, ahead);
                    var a = Vector512.FusedMultiplyAdd(Load8(x0 + j), v0, Vector512.Load(sum + j));
                    a = Vector512.FusedMultiplyAdd(Load8(x1 + j), v1, a);
                    a = Vector512.FusedMultiplyAdd(Load8(x2 + j), v2, a);
                    Vector512.FusedMultiplyAdd(Load8(x3 + j), v3, a).Store(sum + j);
                }
            }

            if (Vector256.IsHardwareAccelerated)
            {
                Vector256<double> v0 = Vector256.Create(r0), v1 = Vector256.Create(r1), v2 = Vector256.Create(r2), v3 = Vector256.Create(r3);
                for (; j + 4 <= columns; j += 4)
                {
                    var a = Vector256.FusedMultiplyAdd(Load4(x0 + j), v0, Vector256.Load(sum + j));
                    a = Vector256.FusedMultiplyAdd(Load4(x1 + j), v1, a);
                    a = Vector256.FusedMultiplyAdd(Load4(x2 + j), v2, a);
                    Vector256.FusedMultiplyAdd(Load4(x3 + j), v3, a).Store(sum + j);
                }
            }

            if (Vector128.IsHardwareAccelerated)
            {
                Vector128<double> v0 = Vector128.Create(r0), v1 = Vector128.Create(r1), v2 = Vector128.Create(r2), v3 = Vector128.Create(r3);
                for (; j + 2 <= columns; j += 2)
                {
                    var a = Vector128.FusedMultiplyAdd(Load2(x0 + j), v0, Vector128.Load(sum + j));
                    a = Vector128.FusedMultiplyAdd(Load2(x1 + j), v1, a);
                    a = Vector128.FusedMultiplyAdd(Load2(x2 + j), v2, a);
                    Vector128.FusedMultiplyAdd(Load2(x3 + j), v3, a).Store(sum + j);
                }
            }

            for (; j < columns; j++)
            {
                double a = Math.FusedMultiplyAdd(At(x0 + j), r0, sum[j]);
                a = Math.FusedMultiplyAdd(At(x1 + j), r1, a);
                a = Math.FusedMultiplyAdd(At(x2 + j), r2, a);
                sum[j] = Math.FusedMultiplyAdd(At(x3 + j), r3, a);
            }
        }

        for (; i < rows; i++)
        {
            T* row = x + (long)i * columns;
            for (int j = 0; j < columns; j++)
                sum[j] = Math.FusedMultiplyAdd(At(row + j), r[i], sum[j]);
        }
    }
}
