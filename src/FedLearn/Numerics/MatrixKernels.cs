using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FedLearn.Numerics;

/// <summary>Products of float64 matrices and vectors in an order that depends on shapes alone: never on the width of the processor's vectors, on blocks or on load.</summary>
internal static class MatrixKernels
{
    private const int TileRows = 4;
    private const int InnerBlock = 256;
    private const int RowBlock = 64;

    [ThreadStatic]
    private static double[]? _tiles;

    /// <summary>C += A B. Every element of C takes its products in ascending order of the inner index, each by one fused multiply-add.</summary>
    /// <param name="a">Element (i, p) of A is at i aRow + p aColumn.</param>
    /// <param name="aRow">Step between rows of A.</param>
    /// <param name="aColumn">Step between columns of A.</param>
    /// <param name="b">B, [inner x n].</param>
    /// <param name="c">C, [rows x n], row-major.</param>
    /// <param name="rows">Rows of A and C.</param>
    public static unsafe void AddProduct(ReadOnlySpan<double> a, int aRow, int aColumn, PackedMatrix b, Span<double> c, int rows)
    {
        int inner = b.Inner, n = b.Columns;
        if (rows == 0 || inner == 0 || n == 0)
            return;
        if (c.Length < (long)rows * n || a.Length <= (rows - 1L) * aRow + (inner - 1L) * aColumn)
            throw new ArgumentException("The matrices do not fit together.");
        double[] packed = _tiles ??= new double[RowBlock * InnerBlock];
        double* edge = stackalloc double[TileRows * PackedMatrix.Panel];
        fixed (double* aAt = a, bAt = b.Values, cAt = c, tiles = packed)
        {
            for (int p = 0; p < inner; p += InnerBlock)
            {
                int depth = Math.Min(InnerBlock, inner - p);
                for (int i = 0; i < rows; i += RowBlock)
                {
                    int height = Math.Min(RowBlock, rows - i);
                    PackRows(aAt + (long)i * aRow + (long)p * aColumn, aRow, aColumn, height, depth, tiles);
                    for (int j = 0; j < n; j += PackedMatrix.Panel)
                    {
                        double* panel = bAt + (long)j * inner + (long)p * PackedMatrix.Panel;
                        for (int t = 0; t < height; t += TileRows)
                        {
                            double* corner = cAt + (long)(i + t) * n + j;
                            int tall = Math.Min(TileRows, height - t), wide = Math.Min(PackedMatrix.Panel, n - j);
                            if (tall == TileRows && wide == PackedMatrix.Panel)
                            {
                                Tile(tiles + t * depth, panel, depth, corner, n);
                                continue;
                            }

                            for (int r = 0; r < tall; r++)
                                new ReadOnlySpan<double>(corner + (long)r * n, wide).CopyTo(new Span<double>(edge + r * PackedMatrix.Panel, wide));
                            Tile(tiles + t * depth, panel, depth, edge, PackedMatrix.Panel);
                            for (int r = 0; r < tall; r++)
                                new ReadOnlySpan<double>(edge + r * PackedMatrix.Panel, wide).CopyTo(new Span<double>(corner + (long)r * n, wide));
                        }
                    }
                }
            }
        }
    }

    /// <summary>x . y in eight interleaved sums and a rest, for vectors of one length.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Dot(ReadOnlySpan<double> x, ReadOnlySpan<double> y)
    {
        ref double a = ref MemoryMarshal.GetReference(x), b = ref MemoryMarshal.GetReference(y);
        int length = x.Length, j = 0;
        if (y.Length < length)
            throw new ArgumentException("The vectors differ in length.");
        Vector512<double> sum = default;
        for (; j + 8 <= length; j += 8)
            sum = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref a, (nuint)j), Vector512.LoadUnsafe(ref b, (nuint)j), sum);
        double total = Across(sum);
        for (; j < length; j++)
            total = Math.FusedMultiplyAdd(Unsafe.Add(ref a, j), Unsafe.Add(ref b, j), total);
        return total;
    }

    /// <summary>y += factor x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddScaled(ReadOnlySpan<double> x, double factor, Span<double> y)
    {
        ref double a = ref MemoryMarshal.GetReference(x), b = ref MemoryMarshal.GetReference(y);
        int length = x.Length, j = 0;
        if (y.Length < length)
            throw new ArgumentException("The vectors differ in length.");
        Vector512<double> f = Vector512.Create(factor);
        for (; j + 8 <= length; j += 8)
            Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref a, (nuint)j), f, Vector512.LoadUnsafe(ref b, (nuint)j)).StoreUnsafe(ref b, (nuint)j);
        for (; j < length; j++)
            Unsafe.Add(ref b, j) = Math.FusedMultiplyAdd(Unsafe.Add(ref a, j), factor, Unsafe.Add(ref b, j));
    }

    /// <summary>y = factor x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scale(ReadOnlySpan<double> x, double factor, Span<double> y)
    {
        ref double a = ref MemoryMarshal.GetReference(x), b = ref MemoryMarshal.GetReference(y);
        int length = x.Length, j = 0;
        if (y.Length < length)
            throw new ArgumentException("The vectors differ in length.");
        Vector512<double> f = Vector512.Create(factor);
        for (; j + 8 <= length; j += 8)
            (Vector512.LoadUnsafe(ref a, (nuint)j) * f).StoreUnsafe(ref b, (nuint)j);
        for (; j < length; j++)
            Unsafe.Add(ref b, j) = Unsafe.Add(ref a, j) * factor;
    }

    /// <summary>Sum in eight interleaved sums and a rest.</summary>
    public static double Sum(ReadOnlySpan<double> x)
    {
        ref double a = ref MemoryMarshal.GetReference(x);
        int length = x.Length, j = 0;
        Vector512<double> sum = default;
        for (; j + 8 <= length; j += 8)
            sum += Vector512.LoadUnsafe(ref a, (nuint)j);
        double total = Across(sum);
        for (; j < length; j++)
            total += Unsafe.Add(ref a, j);
        return total;
    }

    /// <summary>e^x in place for x at most 0, within 2 units in the last place; below -708 it is 0. NaN stays NaN.</summary>
    /// <remarks>The library's exponential may or may not fuse its multiplications and additions, which differs between first and later compilations of the same code:
    /// here every one is fused, so that bits do not depend on when a method was compiled.</remarks>
    public static void ExpOfNegative(Span<double> x)
    {
        ref double a = ref MemoryMarshal.GetReference(x);
        int length = x.Length, j = 0;
        for (; j + 8 <= length; j += 8)
            Exp(Vector512.LoadUnsafe(ref a, (nuint)j)).StoreUnsafe(ref a, (nuint)j);
        if (j == length)
            return;
        Span<double> rest = stackalloc double[8];
        rest.Clear();
        x[j..].CopyTo(rest);
        Exp(Vector512.Create<double>(rest)).CopyTo(rest);
        rest[..(length - j)].CopyTo(x[j..]);
    }

    // x = n ln 2 + r with |r| <= ln 2 / 2, and the series of e^r to r^13 / 13!, whose rest is below 5e-18.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<double> Exp(Vector512<double> x)
    {
        Vector512<double> shifter = Vector512.Create(6755399441055744.0), shifted = Vector512.FusedMultiplyAdd(x, Vector512.Create(1.4426950408889634), shifter), n = shifted - shifter;
        Vector512<double> r = Vector512.FusedMultiplyAdd(n, Vector512.Create(-0.69314718036912382), x);
        r = Vector512.FusedMultiplyAdd(n, Vector512.Create(-1.9082149292705877e-10), r);
        Vector512<double> sum = Vector512.Create(1 / 6227020800.0);
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 479001600.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 39916800.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 3628800.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 362880.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 40320.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 5040.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 720.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 120.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 24.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(1 / 6.0));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512.Create(0.5));
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512<double>.One);
        sum = Vector512.FusedMultiplyAdd(sum, r, Vector512<double>.One);
        // The low bits of the shifted number are n; 2^n is its exponent field.
        Vector512<long> exponent = Vector512.AsInt64(shifted) - Vector512.AsInt64(shifter) + Vector512.Create(1023L);
        Vector512<double> power = Vector512.AsDouble(Vector512.ShiftLeft(exponent, 52));
        return Vector512.ConditionalSelect(Vector512.LessThan(x, Vector512.Create(-708.0)), Vector512<double>.Zero, sum * power);
    }

    // Halves are added until one number is left: one order whatever the compiler makes of it.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static double Across(Vector512<double> v) => Across(v.GetLower() + v.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static double Across(Vector256<double> v) => Across(v.GetLower() + v.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static double Across(Vector128<double> v) => v.ToScalar() + v.GetElement(1);

    // Tiles of four rows, inner index by inner index; missing rows are 0.
    private static unsafe void PackRows(double* a, int aRow, int aColumn, int height, int depth, double* tiles)
    {
        for (int t = 0; t < height; t += TileRows)
        {
            double* tile = tiles + t * depth;
            for (int r = 0; r < TileRows; r++)
            {
                double* row = a + (long)(t + r) * aRow;
                if (t + r < height)
                    for (int p = 0; p < depth; p++)
                        tile[p * TileRows + r] = row[(long)p * aColumn];
                else
                    for (int p = 0; p < depth; p++)
                        tile[p * TileRows + r] = 0;
            }
        }
    }

    private static unsafe void Tile(double* a, double* b, int depth, double* c, int cRow)
    {
        double* r1 = c + cRow, r2 = r1 + cRow, r3 = r2 + cRow;
        Vector512<double> c00 = Vector512.Load(c), c01 = Vector512.Load(c + 8), c10 = Vector512.Load(r1), c11 = Vector512.Load(r1 + 8);
        Vector512<double> c20 = Vector512.Load(r2), c21 = Vector512.Load(r2 + 8), c30 = Vector512.Load(r3), c31 = Vector512.Load(r3 + 8);
        for (int p = 0; p < depth; p++, a += TileRows, b += PackedMatrix.Panel)
        {
            Vector512<double> b0 = Vector512.Load(b), b1 = Vector512.Load(b + 8), x = Vector512.Create(a[0]);
            c00 = Vector512.FusedMultiplyAdd(x, b0, c00);
            c01 = Vector512.FusedMultiplyAdd(x, b1, c01);
            x = Vector512.Create(a[1]);
            c10 = Vector512.FusedMultiplyAdd(x, b0, c10);
            c11 = Vector512.FusedMultiplyAdd(x, b1, c11);
            x = Vector512.Create(a[2]);
            c20 = Vector512.FusedMultiplyAdd(x, b0, c20);
            c21 = Vector512.FusedMultiplyAdd(x, b1, c21);
            x = Vector512.Create(a[3]);
            c30 = Vector512.FusedMultiplyAdd(x, b0, c30);
            c31 = Vector512.FusedMultiplyAdd(x, b1, c31);
        }

        c00.Store(c);
        c01.Store(c + 8);
        c10.Store(r1);
        c11.Store(r1 + 8);
        c20.Store(r2);
        c21.Store(r2 + 8);
        c30.Store(r3);
        c31.Store(r3 + 8);
    }
}

/// <summary>The right factor of <see cref="MatrixKernels.AddProduct"/> in panels of sixteen columns. Used again: its memory grows when a matrix needs it.</summary>
internal sealed class PackedMatrix
{
    internal const int Panel = 16;

    public int Inner { get; private set; }

    public int Columns { get; private set; }

    internal double[] Values { get; private set; } = [];

    /// <summary>Takes a matrix in; element (p, j) is at p rowStep + j columnStep, and a row may have a factor.</summary>
    public void Pack(ReadOnlySpan<double> source, int rowStep, int columnStep, int inner, int columns, ReadOnlySpan<double> rowFactors = default)
    {
        (Inner, Columns) = (inner, columns);
        int panels = (columns + Panel - 1) / Panel;
        if (Values.LongLength < (long)panels * Panel * inner)
            Values = new double[checked(panels * Panel * inner)];
        Span<double> values = Values;
        for (int j = 0; j < columns; j += Panel)
        {
            int wide = Math.Min(Panel, columns - j);
            Span<double> panel = values.Slice(j * inner, Panel * inner);
            if (wide < Panel)
                panel.Clear();
            if (columnStep == 1)
                for (int p = 0; p < inner; p++)
                    source.Slice(p * rowStep + j, wide).CopyTo(panel[(p * Panel)..]);
            else
                for (int r = 0; r < wide; r++)
                    for (int p = 0, from = (j + r) * columnStep, to = r; p < inner; p++, from += rowStep, to += Panel)
                        panel[to] = source[from];
            for (int p = 0; p < rowFactors.Length; p++)
                MatrixKernels.Scale(panel.Slice(p * Panel, Panel), rowFactors[p], panel.Slice(p * Panel, Panel));
        }
    }
}
