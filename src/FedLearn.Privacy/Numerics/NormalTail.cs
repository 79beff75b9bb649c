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
