using System.Collections.Concurrent;
using System.Numerics;

namespace FedLearn.Privacy.Numerics;

/// <summary>The upper tail Q(x) = P(Z > x) of the standard normal distribution, enclosed by integer arithmetic.</summary>
/// <remarks>
/// <para>Q(x) = 1/2 - S/(E sqrt(2 pi)) with S = sum x^(2n+1)/(2n+1)!! and E = e^(x^2/2) = sum x^(2n)/(2n)!!. Every term is positive, x is an
/// exact binary fraction, and each operation is rounded down in the lower end and up in the upper one: the enclosure holds whatever the
/// precision, which decides only how narrow it is. A series stops at a term of at most one unit from which on each term is at most half the one
/// before, so that the rest is at most that term; it is added to the upper end.</para>
/// </remarks>
internal static class NormalTail
{
    private const int GuardBits = 24;

    // For the comparison in 128 bits: bits after the binary point (from least to most), bits of a sum before and after the point together, and bits of a limb of sqrt(2 pi).
    private const int LeastFractionBits = 72, MostFractionBits = 100, SumBits = 118, LimbBits = 62;

    private static readonly ConcurrentDictionary<int, (BigInteger Low, BigInteger High)> Roots = new();

    /// <summary>Encloses Q(numerator/2^denominatorBits), in units of 2^-bits.</summary>
    /// <param name="numerator">At least 0.</param>
    /// <param name="denominatorBits">Binary logarithm of the denominator of x.</param>
    /// <param name="bits">Bits after the binary point; the enclosure is a few units wide at most.</param>
    public static (BigInteger Low, BigInteger High) Enclose(BigInteger numerator, int denominatorBits, int bits)
    {
        int work = bits + GuardBits;
        BigInteger square = numerator * numerator, one = BigInteger.One << work;
        (BigInteger Low, BigInteger High) odd = (numerator << work >> denominatorBits, Up(numerator << work, denominatorBits));
        (BigInteger Low, BigInteger High) even = (one, one), oddSum = odd, evenSum = even;
        for (int n = 1; odd.High > 1 || even.High > 1 || (BigInteger)n << (2 * denominatorBits) < square; n++)
        {
            odd = Next(odd, 2 * n + 1);
            even = Next(even, 2 * n);
            oddSum = (oddSum.Low + odd.Low, oddSum.High + odd.High);
            evenSum = (evenSum.Low + even.Low, evenSum.High + even.High);
        }

        oddSum.High += odd.High;
        evenSum.High += even.High;
        (BigInteger Low, BigInteger High) root = Roots.GetOrAdd(work, RootOfTwoPi);
        BigInteger below = (oddSum.Low << (2 * work)) / (evenSum.High * root.High), above = (oddSum.High << (2 * work)) / (evenSum.Low * root.Low) + 1;
        BigInteger half = one >> 1;
        return (half > above ? half - above >> GuardBits : 0, Up(half - below, GuardBits));

        (BigInteger Low, BigInteger High) Next((BigInteger Low, BigInteger High) term, int divisor) =>
            ((term.Low * square >> (2 * denominatorBits)) / divisor, (Up(term.High * square, 2 * denominatorBits) + (divisor - 1)) / divisor);
    }

    /// <summary>Compares every p in [tail, tail + 1]/2^64 with Q(numerator/2^denominatorBits), without allocating.</summary>
    /// <param name="tail">Below 2^63.</param>
    /// <param name="numerator">At least 0.</param>
    /// <param name="denominatorBits">Binary logarithm of the denominator of x, 1 to 31.</param>
    /// <returns>1 if all of them are greater, -1 if all are less, 0 if that is open, and null for an x beyond about 8, where 128 bits do not hold the series with use.</returns>
    /// <remarks>The series and the rounding of <see cref="Enclose"/>. p > Q is S > (1/2 - p) E sqrt(2 pi), which takes no quotient of large numbers.</remarks>
    public static int? Compare(ulong tail, long numerator, int denominatorBits)
    {
        double x = Math.ScaleB(numerator, -denominatorBits);
        // Every term and sum is at most about e^(x^2/2), and the products of terms with x^2 have ten bits of room.
        int fraction = Math.Min(MostFractionBits, SumBits - (int)(x * x / 2 * Math.Log2(Math.E)));
        if (fraction < LeastFractionBits || (UInt128)(ulong)numerator * (ulong)numerator > ulong.MaxValue)
            return null;
        ulong square = (ulong)(numerator * numerator);
        int squareBits = 2 * denominatorBits;
        UInt128 unit = UInt128.One << fraction;
        (UInt128 Low, UInt128 High) odd = (Floor(unit, (ulong)numerator, denominatorBits), Ceiling(unit, (ulong)numerator, denominatorBits));
        (UInt128 Low, UInt128 High) even = (unit, unit), oddSum = odd, evenSum = even;
        for (ulong n = 1; odd.High > 1 || even.High > 1 || (UInt128)n << squareBits < square; n++)
        {
            odd = (Floor(odd.Low, square, squareBits) / (2 * n + 1), (Ceiling(odd.High, square, squareBits) + 2 * n) / (2 * n + 1));
            even = (Floor(even.Low, square, squareBits) / (2 * n), (Ceiling(even.High, square, squareBits) + (2 * n - 1)) / (2 * n));
            oddSum = (oddSum.Low + odd.Low, oddSum.High + odd.High);
            evenSum = (evenSum.Low + even.Low, evenSum.High + even.High);
        }

        oddSum.High += odd.High;
        evenSum.High += even.High;
        const ulong Half = 1UL << 63;
        UInt128 below = Floor(evenSum.Low, RootLow.High, LimbBits) + (Floor(evenSum.Low, RootLow.Low, LimbBits) >> LimbBits);
        UInt128 above = Ceiling(evenSum.High, RootHigh.High, LimbBits) + Ceiling(Ceiling(evenSum.High, RootHigh.Low, LimbBits), 1, LimbBits);
        return oddSum.Low > Ceiling(above, Half - tail, 64) ? 1 : oddSum.High < Floor(below, Half - tail - 1, 64) ? -1 : 0;
    }

    // Bounds of sqrt(2 pi), each in units of 2^-62 and the rest of it in units of 2^-124.
    private static readonly (ulong High, ulong Low) RootLow = Limbs(RootOfTwoPi(2 * LimbBits).Low), RootHigh = Limbs(RootOfTwoPi(2 * LimbBits).High);

    private static (ulong High, ulong Low) Limbs(BigInteger root) => ((ulong)(root >> LimbBits), (ulong)(root & ((BigInteger.One << LimbBits) - 1)));

    /// <summary>a b/2^shift, rounded down; the result must fit.</summary>
    private static UInt128 Floor(UInt128 a, ulong b, int shift) => ((UInt128)(ulong)(a >> 64) * b << (64 - shift)) + (LowWord(a) * b >> shift);

    private static UInt128 Ceiling(UInt128 a, ulong b, int shift) =>
        Floor(a, b, shift) + ((LowWord(a) * b & ((UInt128.One << shift) - 1)) == 0 ? UInt128.Zero : UInt128.One);

    private static UInt128 LowWord(UInt128 a) => unchecked((ulong)a);

    /// <summary>value/2^shift, rounded up.</summary>
    private static BigInteger Up(BigInteger value, int shift) => -(-value >> shift);

    /// <summary>sqrt(2 pi) in units of 2^-bits. pi = 16 arctan(1/5) - 4 arctan(1/239) (Machin).</summary>
    private static (BigInteger Low, BigInteger High) RootOfTwoPi(int bits)
    {
        // Twice the bits, for the root: sqrt(x 2^2b) = 2^b sqrt x.
        (BigInteger fifth, int fifthTerms) = InverseTangent(5, 2 * bits);
        (BigInteger other, int otherTerms) = InverseTangent(239, 2 * bits);
        BigInteger twoPi = 32 * fifth - 8 * other, error = 3 * (32 * fifthTerms + 8 * otherTerms);
        return (Root(twoPi - error), Root(twoPi + error) + 1);
    }

    /// <summary>arctan(1/q) in units of 2^-bits. Off by less than three units a term: each power is less than two units low, its quotient less than three;
    /// the last term, of less than a unit, bounds the rest of the alternating series.</summary>
    private static (BigInteger Value, int Terms) InverseTangent(int q, int bits)
    {
        BigInteger power = (BigInteger.One << bits) / q, sum = 0;
        int terms = 0;
        for (; !power.IsZero; terms++)
        {
            BigInteger term = power / (2 * terms + 1);
            sum += terms % 2 == 0 ? term : -term;
            power /= q * q;
        }

        return (sum, terms + 1);
    }

    /// <summary>The largest integer whose square is at most value, by Newton's method from above.</summary>
    private static BigInteger Root(BigInteger value)
    {
        BigInteger root = BigInteger.One << (int)((value.GetBitLength() + 1) / 2);
        while (true)
        {
            BigInteger next = (root + value / root) >> 1;
            if (next >= root)
                return root;
            root = next;
        }
    }
}
