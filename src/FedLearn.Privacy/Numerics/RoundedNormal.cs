using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using System.Security.Cryptography;

namespace FedLearn.Privacy.Numerics;

/// <summary>Independent uniform bits by position, so that what one draw uses does not depend on any other draw.</summary>
internal interface IUniformBits
{
    /// <summary>The leading 64 bits of the uniforms of draws first, first + 1, ...</summary>
    /// <param name="first">A multiple of <see cref="RoundedNormal.Granule"/>, unless the source says otherwise.</param>
    /// <param name="words">Receives them; its length is a multiple of <see cref="RoundedNormal.Granule"/>, unless the source says otherwise.</param>
    void Leading(ulong first, scoped Span<ulong> words);

    /// <summary>Bits 64 part to 64 part + 63 of the uniform of a draw.</summary>
    /// <param name="draw">Number of the draw.</param>
    /// <param name="part">At least 1.</param>
    ulong Further(ulong draw, int part);
}

/// <summary>Draws K = round(s Z), Z standard normal and s = 2^scaleBits, by inverting the distribution function: exactly, given ideal bits.</summary>
/// <remarks>
/// <para>The top bit of a draw's first word is the sign; the other 63 are v, the leading bits of a tail probability p in [v, v + 1]/2^64, uniform on
/// (0, 1/2). The segment of v + 1/2 is its binary exponent and five leading mantissa bits; on each a polynomial of degree 7 gives z. It interpolates
/// Wichura's algorithm AS 241 at Chebyshev points, made from IEEE basic operations and so with the same bits on every machine.</para>
/// <para>For every p of the word, |z - Q^-1(p)| is at most <see cref="MaximumError"/> (proof: docs/proofs/secure-noise.md; recomputed by
/// SamplerCertificateTests; <see cref="TableDigest"/> ties it to the table). So where s z is further than s <see cref="MaximumError"/> from every
/// m + 1/2, all of those p have the same K. Everywhere else, and in the deep tail p &lt; 2^-22, which has no polynomial,
/// <see cref="Exact"/> decides by integer arithmetic: about 1.5 in a million draws at s = 2^24.</para>
/// </remarks>
internal static unsafe class RoundedNormal
{
    /// <summary>Bound on |z - Q^-1(p)| in the segments that have a polynomial.</summary>
    public const double MaximumError = 3e-14;

    /// <summary>SHA-256 of the coefficients, little-endian, in the order of the table: the table that the bound was proved for.</summary>
    public const string TableDigest = "94fb7c693e22304d61fcc79cff73599d3261f13fa9af34aa39e6fefbb7150520";

    /// <summary>Largest binary logarithm of s, that of <see cref="INoiseSource.LatticeScale"/>.</summary>
    public const int MaximumScaleBits = 24;

    /// <summary>Words are made this many at a time or a multiple of it.</summary>
    public const int Granule = 32;

    /// <summary>Binary exponent of the smallest v that has a polynomial: p = 2^-22.</summary>
    internal const int LowestExponent = 42;

    internal const int Pieces = 1 << PieceBits, Coefficients = 8;

    /// <summary>v + 1/2 rounds up to 2^63, p = 1/2, at the top.</summary>
    internal const int Segments = (63 - LowestExponent) * Pieces + 1;

    private const int PieceBits = 5, Chunk = 512;

    /// <summary>Binary logarithm of a row's bytes.</summary>
    private const int RowShift = 6;

    private const ulong FirstSegment = (ulong)(1023 + LowestExponent) << PieceBits, SignBit = 1UL << 63;

    /// <summary>Fills a span with draws number first, first + 1, ...</summary>
    public static void Fill<TBits>(ref TBits bits, ulong first, Span<int> draws, int scaleBits)
        where TBits : IUniformBits, allows ref struct
    {
        ulong* memory = stackalloc ulong[Chunk + 8];
        scoped var words = new Span<ulong>(Align(memory), Chunk);
        while (!draws.IsEmpty)
        {
            int count = Math.Min(Chunk, draws.Length);
            scoped Span<ulong> made = words[..((count + Granule - 1) & -Granule)];
            bits.Leading(first, made);
            Transform(ref bits, first, made[..count], draws[..count], scaleBits);
            draws = draws[count..];
            first += (ulong)count;
        }

        // The words would reveal the noise.
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(words));
    }

    /// <summary>The draw of each word; the result is how many of them needed integer arithmetic.</summary>
    public static int Transform<TBits>(ref TBits bits, ulong first, scoped ReadOnlySpan<ulong> words, Span<int> draws, int scaleBits)
        where TBits : IUniformBits, allows ref struct
    {
        int exact = 0, done = 0;
        if (Vector512.IsHardwareAccelerated && Avx512DQ.IsSupported)
            exact = TransformEights(ref bits, first, words[..(done = words.Length & -Vector512<ulong>.Count)], draws, scaleBits);
        else if (Avx2.IsSupported && Fma.IsSupported)
            exact = TransformFours(ref bits, first, words[..(done = words.Length & -Vector256<ulong>.Count)], draws, scaleBits);
        return exact + TransformScalar(ref bits, first + (ulong)done, words[done..], draws[done..], scaleBits);
    }

    /// <summary>One draw at a time.</summary>
    internal static int TransformScalar<TBits>(ref TBits bits, ulong first, scoped ReadOnlySpan<ulong> words, Span<int> draws, int scaleBits)
        where TBits : IUniformBits, allows ref struct
    {
        double* table = Table;
        (double scale, double accepted) = Accepted(scaleBits);
        draws = draws[..words.Length];
        int exact = 0;
        for (int i = 0; i < words.Length; i++)
        {
            ulong word = words[i];
            double scaled = scale * Quantile(table, word), rounded = Math.Round(scaled);
            if (Math.Abs(scaled - rounded) < accepted && (word & ~SignBit) >= 1UL << LowestExponent)
                draws[i] = unchecked((int)rounded);
            else
            {
                draws[i] = Exact(ref bits, first + (ulong)i, word, scaleBits);
                exact++;
            }
        }

        return exact;
    }

    /// <summary>Eight draws at a time, by the same operations in the same order: the same bits. The number of words is a multiple of eight.</summary>
    internal static int TransformEights<TBits>(ref TBits bits, ulong first, scoped ReadOnlySpan<ulong> words, Span<int> draws, int scaleBits)
        where TBits : IUniformBits, allows ref struct
    {
        double* table = Table;
        (double scale, double accepted) = Accepted(scaleBits);
        int exact = 0;
        ulong* memory = stackalloc ulong[16];
        var rows = (long*)Align(memory);
        for (int i = 0; i < words.Length; i += 8)
        {
            Vector512<ulong> word = Vector512.Create(words.Slice(i, 8)), magnitude = word & Vector512.Create(~SignBit);
            Vector512<ulong> tail = (Vector512.ConvertToDouble(magnitude.AsInt64()) + Vector512.Create(0.5)).AsUInt64();
            Vector512<long> row = (tail >>> (52 - PieceBits)).AsInt64() - Vector512.Create((long)FirstSegment);
            Vector512.Store(Vector512.Max(row, Vector512<long>.Zero) << RowShift, rows);
            Vector512<ulong> rest = tail << PieceBits & Vector512.Create(0x000F_FFFF_FFFF_FFFFUL);
            Vector512<double> t = (rest | Vector512.Create(0x4000_0000_0000_0000UL)).AsDouble() - Vector512.Create(3.0);

            // Eight rows of eight coefficients, turned so that a vector holds one coefficient of each draw.
            Vector512<double> r0 = Vector512.LoadAligned(At(table, rows[0])), r1 = Vector512.LoadAligned(At(table, rows[1]));
            Vector512<double> r2 = Vector512.LoadAligned(At(table, rows[2])), r3 = Vector512.LoadAligned(At(table, rows[3]));
            Vector512<double> r4 = Vector512.LoadAligned(At(table, rows[4])), r5 = Vector512.LoadAligned(At(table, rows[5]));
            Vector512<double> r6 = Vector512.LoadAligned(At(table, rows[6])), r7 = Vector512.LoadAligned(At(table, rows[7]));
            Vector512<double> a = Avx512F.UnpackHigh(r0, r1), b = Avx512F.UnpackHigh(r2, r3), c = Avx512F.UnpackHigh(r4, r5), d = Avx512F.UnpackHigh(r6, r7);
            (Vector512<double> c1, Vector512<double> c3, Vector512<double> c5, Vector512<double> c7) = Turn(a, b, c, d);
            (a, b, c, d) = (Avx512F.UnpackLow(r0, r1), Avx512F.UnpackLow(r2, r3), Avx512F.UnpackLow(r4, r5), Avx512F.UnpackLow(r6, r7));
            (Vector512<double> c0, Vector512<double> c2, Vector512<double> c4, Vector512<double> c6) = Turn(a, b, c, d);

            Vector512<double> z = Vector512.FusedMultiplyAdd(c7, t, c6);
            z = Vector512.FusedMultiplyAdd(z, t, c5);
            z = Vector512.FusedMultiplyAdd(z, t, c4);
            z = Vector512.FusedMultiplyAdd(z, t, c3);
            z = Vector512.FusedMultiplyAdd(z, t, c2);
            z = Vector512.FusedMultiplyAdd(z, t, c1);
            z = Vector512.FusedMultiplyAdd(z, t, c0);
            Vector512<double> scaled = Vector512.Create(scale) * (z.AsUInt64() ^ (word & Vector512.Create(SignBit))).AsDouble();
            Vector512<double> rounded = Vector512.Round(scaled);
            Avx512F.ConvertToVector256Int32(rounded).CopyTo(draws.Slice(i, 8));

            Vector512<ulong> certain = Vector512.LessThan(Vector512.Abs(scaled - rounded), Vector512.Create(accepted)).AsUInt64()
                & Vector512.GreaterThanOrEqual(magnitude.AsInt64(), Vector512.Create(1L << LowestExponent)).AsUInt64();
            if ((~certain.ExtractMostSignificantBits() & 0xFF) is not 0 and var open)
                exact += Decide(ref bits, first + (ulong)i, words.Slice(i, 8), draws.Slice(i, 8), open, scaleBits);
        }

        return exact;
    }

    /// <summary>Four draws at a time, likewise, for processors with AVX2 and FMA. The number of words is a multiple of four.</summary>
    internal static int TransformFours<TBits>(ref TBits bits, ulong first, scoped ReadOnlySpan<ulong> words, Span<int> draws, int scaleBits)
        where TBits : IUniformBits, allows ref struct
    {
        double* table = Table;
        (double scale, double accepted) = Accepted(scaleBits);
        int exact = 0;
        ulong* memory = stackalloc ulong[16];
        var rows = (long*)Align(memory);
        for (int i = 0; i < words.Length; i += 4)
        {
            Vector256<ulong> word = Vector256.Create(words.Slice(i, 4)), magnitude = word & Vector256.Create(~SignBit);
            Vector256<ulong> tail = (Vector256.ConvertToDouble(magnitude.AsInt64()) + Vector256.Create(0.5)).AsUInt64();
            Vector256<long> row = (tail >>> (52 - PieceBits)).AsInt64() - Vector256.Create((long)FirstSegment);
            Vector256.Store(Vector256.Max(row, Vector256<long>.Zero) << RowShift, rows);
            Vector256<ulong> rest = tail << PieceBits & Vector256.Create(0x000F_FFFF_FFFF_FFFFUL);
            Vector256<double> t = (rest | Vector256.Create(0x4000_0000_0000_0000UL)).AsDouble() - Vector256.Create(3.0);

            // Four rows, half of the coefficients at a time, turned as above.
            double* r0 = At(table, rows[0]), r1 = At(table, rows[1]), r2 = At(table, rows[2]), r3 = At(table, rows[3]);
            (Vector256<double> c4, Vector256<double> c5, Vector256<double> c6, Vector256<double> c7) = Turn(r0, r1, r2, r3, 4);
            Vector256<double> z = Vector256.FusedMultiplyAdd(c7, t, c6);
            z = Vector256.FusedMultiplyAdd(z, t, c5);
            z = Vector256.FusedMultiplyAdd(z, t, c4);
            (Vector256<double> c0, Vector256<double> c1, Vector256<double> c2, Vector256<double> c3) = Turn(r0, r1, r2, r3, 0);
            z = Vector256.FusedMultiplyAdd(z, t, c3);
            z = Vector256.FusedMultiplyAdd(z, t, c2);
            z = Vector256.FusedMultiplyAdd(z, t, c1);
            z = Vector256.FusedMultiplyAdd(z, t, c0);
            Vector256<double> scaled = Vector256.Create(scale) * (z.AsUInt64() ^ (word & Vector256.Create(SignBit))).AsDouble();
            Vector256<double> rounded = Vector256.Round(scaled);
            Avx.ConvertToVector128Int32(rounded).CopyTo(draws.Slice(i, 4));

            Vector256<ulong> certain = Vector256.LessThan(Vector256.Abs(scaled - rounded), Vector256.Create(accepted)).AsUInt64()
                & Vector256.GreaterThan(magnitude.AsInt64(), Vector256.Create((1L << LowestExponent) - 1)).AsUInt64();
            if ((~certain.ExtractMostSignificantBits() & 0xF) is not 0 and var open)
                exact += Decide(ref bits, first + (ulong)i, words.Slice(i, 4), draws.Slice(i, 4), open, scaleBits);
        }

        return exact;
    }

    /// <summary>Draws by integer arithmetic those of which a bit is set; the result is how many.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Decide<TBits>(ref TBits bits, ulong first, scoped ReadOnlySpan<ulong> words, Span<int> draws, ulong open, int scaleBits)
        where TBits : IUniformBits, allows ref struct
    {
        int exact = 0;
        for (; open != 0; open &= open - 1, exact++)
        {
            int at = BitOperations.TrailingZeroCount(open);
            draws[at] = Exact(ref bits, first + (ulong)at, words[at], scaleBits);
        }

        return exact;
    }

    /// <summary>The draw of a word by comparing the bits of its uniform with the exact tail Q((m + 1/2)/s), with further bits of the same
    /// uniform while they leave the comparison open: with probability 1 they do not for ever. Right for every word, whatever
    /// the polynomials say.</summary>
    internal static int Exact<TBits>(ref TBits bits, ulong draw, ulong word, int scaleBits) where TBits : IUniformBits, allows ref struct
    {
        ulong leading = word & ~SignBit;
        int? magnitude = Magnitude(new Tail(leading, leading, 64), scaleBits);
        BigInteger tail = leading;
        for (int part = 1, length = 64; magnitude is null; part++)
        {
            tail = (tail << 64) + bits.Further(draw, part);
            length += 64;
            magnitude = Magnitude(new Tail(leading, tail, length), scaleBits);
        }

        return word < SignBit ? magnitude.Value : -magnitude.Value;
    }

    /// <summary>p in [Bits, Bits + 1]/2^Length, of which Leading are the first 64 bits.</summary>
    private readonly record struct Tail(ulong Leading, BigInteger Bits, int Length)
    {
        public double Middle => Math.ScaleB((double)Bits + 0.5, -Length);

        /// <summary>Sign of p - Q((k + 1/2)/2^scaleBits) for every such p, or 0 if it is open. |K| is at most k where it is 1 and more where it is -1.</summary>
        public int Side(int k, int scaleBits)
        {
            long numerator = 2 * (long)k + 1;
            // The first 64 bits decide all but a few in a million of the draws that come here.
            if (NormalTail.Compare(Leading, numerator, scaleBits + 1) is { } side && (side != 0 || Length == 64))
                return side;
            const int more = 32;
            (BigInteger low, BigInteger high) = NormalTail.Enclose(numerator, scaleBits + 1, Length + more);
            return Bits << more > high ? 1 : Bits + 1 << more < low ? -1 : 0;
        }
    }

    /// <summary>|K| if it is the same for all p of the tail, else null.</summary>
    private static int? Magnitude(Tail tail, int scaleBits)
    {
        int saturation = INoiseSource.Saturation / INoiseSource.LatticeScale << scaleBits;

        // A first guess, which the loop moves until it is proved.
        int m = (int)Math.Min(saturation, Math.Max(0, Math.Round(Math.ScaleB(UpperQuantile(tail.Middle), scaleBits))));
        while (true)
        {
            int lower = m == 0 ? -1 : tail.Side(m - 1, scaleBits);
            if (lower == 0)
                return null;
            if (lower > 0)
            {
                m--;
                continue;
            }

            if (m == saturation)
                return m;
            int upper = tail.Side(m, scaleBits);
            if (upper == 0)
                return null;
            if (upper > 0)
                return m;
            m++;
        }
    }

    /// <summary>s, and the largest |s z - round(s z)| that needs no integer arithmetic. Multiplication by s, a power of two, is exact, and so is
    /// the difference.</summary>
    private static (double Scale, double Accepted) Accepted(int scaleBits)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(scaleBits);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(scaleBits, MaximumScaleBits);
        if (!IsCertified)
            throw PrivacyErrors.Internal(PrivacyErrors.SamplerTable, "noise sampler", "the table it made at start is not the one its bound was proved for.",
                "The processor or the runtime does not compute with IEEE doubles as it should: use another machine, and report this one.");
        double scale = 1 << scaleBits;
        return (scale, 0.5 - scale * MaximumError);
    }

    /// <summary>z of a word, by the polynomial of its segment.</summary>
    internal static double Quantile(ulong word) => Quantile(Table, word);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static double Quantile(double* table, ulong word)
    {
        double tail = unchecked((long)(word & ~SignBit)) + 0.5;
        ulong bits = BitConverter.DoubleToUInt64Bits(tail);
        long segment = Math.Max(unchecked((long)((bits >> (52 - PieceBits)) - FirstSegment)), 0);
        double* c = table + segment * Coefficients;

        // The other mantissa bits, as t in [-1, 1).
        double t = BitConverter.UInt64BitsToDouble(((bits << PieceBits) & 0x000F_FFFF_FFFF_FFFF) | 0x4000_0000_0000_0000) - 3;
        double z = Math.FusedMultiplyAdd(c[7], t, c[6]);
        z = Math.FusedMultiplyAdd(z, t, c[5]);
        z = Math.FusedMultiplyAdd(z, t, c[4]);
        z = Math.FusedMultiplyAdd(z, t, c[3]);
        z = Math.FusedMultiplyAdd(z, t, c[2]);
        z = Math.FusedMultiplyAdd(z, t, c[1]);
        z = Math.FusedMultiplyAdd(z, t, c[0]);
        return BitConverter.UInt64BitsToDouble(BitConverter.DoubleToUInt64Bits(z) ^ (word & SignBit));
    }

    /// <summary>Second half of an 8 x 8 transposition: columns 0, 2, 4, 6 of rows unpacked in pairs, or 1, 3, 5, 7.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector512<double> First, Vector512<double> Second, Vector512<double> Third, Vector512<double> Fourth) Turn(
        Vector512<double> a, Vector512<double> b, Vector512<double> c, Vector512<double> d)
    {
        Vector512<double> ab = Avx512F.Shuffle4x128(a, b, 0x88), cd = Avx512F.Shuffle4x128(c, d, 0x88);
        Vector512<double> abOdd = Avx512F.Shuffle4x128(a, b, 0xDD), cdOdd = Avx512F.Shuffle4x128(c, d, 0xDD);
        return (Avx512F.Shuffle4x128(ab, cd, 0x88), Avx512F.Shuffle4x128(abOdd, cdOdd, 0x88),
            Avx512F.Shuffle4x128(ab, cd, 0xDD), Avx512F.Shuffle4x128(abOdd, cdOdd, 0xDD));
    }

    /// <summary>Four coefficients of each of four rows, from one on: a vector for each power.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector256<double> First, Vector256<double> Second, Vector256<double> Third, Vector256<double> Fourth) Turn(double* r0, double* r1, double* r2, double* r3, nuint first)
    {
        Vector256<double> a = Vector256.LoadUnsafe(ref *r0, first), b = Vector256.LoadUnsafe(ref *r1, first), c = Vector256.LoadUnsafe(ref *r2, first), d = Vector256.LoadUnsafe(ref *r3, first);
        Vector256<double> ab = Avx.UnpackLow(a, b), cd = Avx.UnpackLow(c, d), abOdd = Avx.UnpackHigh(a, b), cdOdd = Avx.UnpackHigh(c, d);
        return (Avx.Permute2x128(ab, cd, 0x20), Avx.Permute2x128(abOdd, cdOdd, 0x20), Avx.Permute2x128(ab, cd, 0x31), Avx.Permute2x128(abOdd, cdOdd, 0x31));
    }

    /// <summary>A row that is so many bytes into the table: within it, so that there is no overflow to check for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static double* At(double* table, long offset) => unchecked((double*)((byte*)table + (nint)offset));

    /// <summary>The start of the next cache line: a vector that is stored over two of them and read at once by parts costs half of the speed.</summary>
    private static ulong* Align(ulong* memory) => (ulong*)(((nuint)memory + 63) & ~(nuint)63);

    /// <summary>The coefficients of a segment, lowest power first.</summary>
    internal static ReadOnlySpan<double> Row(int segment) =>
        new ReadOnlySpan<double>(Table, Segments * Coefficients).Slice(segment * Coefficients, Coefficients);

    /// <summary>Where a segment starts, and its width: both exact.</summary>
    internal static (double Low, double Width) Range(int segment)
    {
        int exponent = segment / Pieces + LowestExponent - 64;
        return (Math.ScaleB(1 + (double)(segment % Pieces) / Pieces, exponent), Math.ScaleB(1.0 / Pieces, exponent));
    }

    /// <summary>Makes the table, aligned so that a row is one cache line. It lives as long as the process.</summary>
    private static double* MakeTable()
    {
        const int length = Segments * Coefficients;
        var table = (double*)NativeMemory.AlignedAlloc(length * sizeof(double), 64);
        double[] points = [.. Enumerable.Range(0, Coefficients).Select(ChebyshevPoint)];
        Span<double> values = stackalloc double[Coefficients];
        for (int segment = 0; segment < Segments; segment++)
        {
            (double low, double width) = Range(segment);
            for (int i = 0; i < Coefficients; i++)
                values[i] = UpperQuantile(low + width * (points[i] + 1) / 2);
            Interpolate(points, values, new Span<double>(table + segment * Coefficients, Coefficients));
        }

        return table;
    }

    /// <summary>SHA-256 of a table, little-endian.</summary>
    internal static string Digest(ReadOnlySpan<double> table)
    {
        var bytes = new byte[table.Length * sizeof(double)];
        for (int i = 0; i < table.Length; i++)
            BinaryPrimitives.WriteDoubleLittleEndian(bytes.AsSpan(i * sizeof(double)), table[i]);
        return Convert.ToHexStringLower(SHA256.HashData(bytes));
    }

    /// <summary>cos((2i + 1) pi/16), by half angles, since a library cosine may differ between machines.</summary>
    internal static double ChebyshevPoint(int i)
    {
        double quarter = Math.Sqrt(0.5), eighth = Math.Sqrt((1 + quarter) / 2), threeEighths = Math.Sqrt((1 - quarter) / 2);
        double[] cosines = [Math.Sqrt((1 + eighth) / 2), Math.Sqrt((1 + threeEighths) / 2), Math.Sqrt((1 - threeEighths) / 2), Math.Sqrt((1 - eighth) / 2)];
        return i < 4 ? cosines[i] : -cosines[7 - i];
    }

    /// <summary>Monomial coefficients of the polynomial through the points, by Newton's divided differences in double-double.</summary>
    private static void Interpolate(double[] points, ReadOnlySpan<double> values, Span<double> coefficients)
    {
        int n = points.Length;
        var difference = new DoubleDouble[n];
        for (int i = 0; i < n; i++)
            difference[i] = values[i];
        for (int order = 1; order < n; order++)
            for (int i = n - 1; i >= order; i--)
                difference[i] = (difference[i] - difference[i - 1]) / DoubleDouble.Sum(points[i], -points[i - order]);

        // Horner's scheme on Newton's form: poly <- poly (t - x_k) + difference_k.
        var poly = new DoubleDouble[n];
        for (int k = n - 1; k >= 0; k--)
        {
            for (int j = n - 1; j > 0; j--)
                poly[j] = poly[j - 1] - poly[j] * points[k];
            poly[0] = difference[k] - poly[0] * points[k];
        }

        for (int j = 0; j < n; j++)
            coefficients[j] = poly[j].Hi;
    }

    /// <summary>z with upper tail probability p in (0, 1/2 + small): Wichura 1988, algorithm AS 241, PPND16.</summary>
    internal static double UpperQuantile(double p)
    {
        double q = 0.5 - p;
        if (q <= 0.425)
        {
            double r = 0.180625 - q * q;
            return q * Ratio(r, Central);
        }

        double root = Math.Sqrt(-Log(p));
        return root <= 5 ? Ratio(root - 1.6, Middle) : Ratio(root - 5, Far);
    }

    private static double Ratio(double x, (double[] Numerator, double[] Denominator) c) => Horner(x, c.Numerator) / Horner(x, c.Denominator);

    private static double Horner(double x, double[] c)
    {
        double sum = c[^1];
        for (int i = c.Length - 2; i >= 0; i--)
            sum = Math.FusedMultiplyAdd(sum, x, c[i]);
        return sum;
    }

    /// <summary>Natural logarithm from basic operations: log m 2^k = k log 2 + 2 artanh((m - 1)/(m + 1)).</summary>
    private static double Log(double x)
    {
        int exponent = Math.ILogB(x);
        double m = Math.ScaleB(x, -exponent);
        if (m > 1.4142135623730951)
            (m, exponent) = (m / 2, exponent + 1);
        DoubleDouble a = DoubleDouble.Sum(m, -1) / DoubleDouble.Sum(m, 1), square = a * a, sum = DoubleDouble.Zero;
        for (int k = 41; k >= 1; k -= 2)
            sum = sum * square + (DoubleDouble)1 / k;
        var log2 = new DoubleDouble(0.6931471805599453, 2.3190468138462996e-17);
        return (log2 * exponent + sum * a * 2).Hi;
    }

    private static readonly (double[] Numerator, double[] Denominator) Central = (
        [3.3871328727963666080, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
         4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3],
        [1, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
         2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3]);

    private static readonly (double[] Numerator, double[] Denominator) Middle = (
        [1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
         1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4],
        [1, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
         1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9]);

    private static readonly (double[] Numerator, double[] Denominator) Far = (
        [6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 2.96560571828504891230e-1,
         2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7],
        [1, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
         7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15]);

    /// <summary>Made from the constants above, hence the last fields.</summary>
    private static readonly double* Table = MakeTable();

    private static readonly bool IsCertified = Digest(new ReadOnlySpan<double>(Table, Segments * Coefficients)) == TableDigest;
}
