using System.Numerics;
using FedLearn.Privacy.Numerics;

namespace FedLearn.Tests.Privacy;

/// <summary>The certificate of obligations O1 to O3 of docs/proofs/secure-noise.md, computed anew in every run: for each segment a bound on
/// |z - Q^-1(p)|, z what the sampler computes for a word and p any uniform that begins with that word.</summary>
public class SamplerCertificateTests
{
    /// <summary>Bits after the binary point of exact probabilities.</summary>
    private const int Bits = 200;

    /// <summary>Covers the rounding of the few double operations of the certificate itself, each of relative error below 2^-50.</summary>
    private const double Margin = 1.001;

    /// <summary>Bound on the Lebesgue constant of eight Chebyshev points; it is (1/8) sum cot((2k + 1) pi/32) (Brutman 1978).</summary>
    private const double Lebesgue = 2.3;

    private const double UnitRoundoff = 1.0 / (1L << 53);

    [Fact]
    public void Table_EverySegment_IsWithinTheCertifiedError()
    {
        double worst = Enumerable.Range(0, RoundedNormal.Segments).Max(s => ErrorBound(s, RoundedNormal.Row(s)));
        TestContext.Current.SendDiagnosticMessage($"certified error {worst:E3}");

        // The lower limit is there so that the constant in the code stays as small as it can be.
        Assert.InRange(worst, RoundedNormal.MaximumError * 0.9, RoundedNormal.MaximumError);
    }

    [Fact]
    public void Table_Digest_IsTheCertifiedOne()
    {
        double[] table = [.. Enumerable.Range(0, RoundedNormal.Segments).SelectMany(s => RoundedNormal.Row(s).ToArray())];
        Assert.Equal(RoundedNormal.TableDigest, RoundedNormal.Digest(table));
        table[77] = Math.BitIncrement(table[77]);
        Assert.NotEqual(RoundedNormal.TableDigest, RoundedNormal.Digest(table));
    }

    // The certificate must see a wrong table, or it certifies nothing.
    [Fact]
    public void Certificate_CoefficientMoved_IsRefused()
    {
        for (int segment = 0; segment < RoundedNormal.Segments - 1; segment += 37)
            for (int power = 0; power < RoundedNormal.Coefficients; power++)
            {
                double[] row = RoundedNormal.Row(segment).ToArray();
                row[power] += 5e-14;
                Assert.True(ErrorBound(segment, row) > RoundedNormal.MaximumError);
            }
    }

    [Fact]
    public void Lebesgue_Constant_IsCovered() =>
        Assert.InRange(Enumerable.Range(0, 8).Average(k => 1 / Math.Tan((2 * k + 1) * Math.PI / 32)), 2.2, Lebesgue);

    [Fact]
    public void Saturation_Probability_IsBelowTheStatedOne() =>
        Assert.True(2 * NormalTail.Enclose(32, 0, 900).High < BigInteger.One << (900 - 743));

    private static double ErrorBound(int segment, ReadOnlySpan<double> c)
    {
        (double low, double width) = RoundedNormal.Range(segment);
        double horner = 0;
        for (int j = 0; j < c.Length - 1; j++)
            for (int i = j; i < c.Length; i++)
                horner += UnitRoundoff * Math.Abs(c[i]);

        // O2. p is within 2^-65 of the middle of its word, which is rounded twice on its way to a double.
        double input = Math.ScaleB(1, -65) + 2 * UnitRoundoff * (low + width);
        if (segment == RoundedNormal.Segments - 1)
            return (Math.Abs(Horner(c, -1)) + horner + input * InverseDensity(1e-3)) * Margin;    // reached at p = 1/2, z = 0, only

        // zTop is beyond every quantile of this segment, and 1/density grows with z: a slope bound for all that follows.
        double zTop = RoundedNormal.UpperQuantile(low) + 1e-6;
        Assert.True(Tail(zTop).High + Units(input, Bits) + 1 < Units(low, Bits));
        double slope = InverseDensity(zTop);

        double node = 0;
        for (int k = 0; k < RoundedNormal.Coefficients; k++)
        {
            double t = RoundedNormal.ChebyshevPoint(k), z = Horner(c, t);
            Assert.InRange(z, 0, zTop);
            BigInteger p = Units(low, Bits) + (Units(width, Bits) * (Units(t, 60) + Units(1, 60)) >> 61);
            (BigInteger below, BigInteger above) = Tail(z);
            node = Math.Max(node, Math.ScaleB((double)BigInteger.Max(above - p, p - below) + 1, -Bits) * slope);
        }

        // f - If: Cauchy's remainder for Chebyshev points; d^n z/dp^n = (-1)^n H_n(z) (1/density)^n.
        double remainder = Math.Pow(width / 2 * slope, 8) * Derivative(8, zTop) / 40320 / 128;

        // z - Q^-1 = (P rounded - P) + (P - If) + (If - f) + (f at the rounded middle - f at p), and P = IP.
        return (horner + Lebesgue * (node + horner) + remainder + input * slope) * Margin;
    }

    private static double Horner(ReadOnlySpan<double> c, double t)
    {
        double sum = c[^1];
        for (int i = c.Length - 2; i >= 0; i--)
            sum = Math.FusedMultiplyAdd(sum, t, c[i]);
        return sum;
    }

    /// <summary>1/density of the standard normal distribution.</summary>
    private static double InverseDensity(double z) => Math.Sqrt(2 * Math.PI) * Math.Exp(z * z / 2);

    /// <summary>H_1 = 1, H_(n+1) = H_n' + n z H_n: polynomials with coefficients of at least 0, so growing in z.</summary>
    private static double Derivative(int order, double z)
    {
        double[] h = [1];
        for (int n = 1; n < order; n++)
        {
            var next = new double[h.Length + 1];
            for (int i = 0; i < h.Length; i++)
            {
                next[i + 1] += n * h[i];
                if (i > 0)
                    next[i - 1] += i * h[i];
            }

            h = next;
        }

        return h.Select((a, i) => a * Math.Pow(z, i)).Sum();
    }

    private static (BigInteger Low, BigInteger High) Tail(double z) => NormalTail.Enclose(Units(z, 120), 120, Bits);

    /// <summary>A number in units of 2^-bits, rounded up; the segments' ends, the nodes and z are exact in them.</summary>
    private static BigInteger Units(double value, int bits)
    {
        long mantissa = (BitConverter.DoubleToInt64Bits(Math.Abs(value)) & 0xF_FFFF_FFFF_FFFF) | 0x10_0000_0000_0000;
        int shift = Math.ILogB(value) - 52 + bits;
        BigInteger units = shift >= 0 ? (BigInteger)mantissa << shift : -(-(BigInteger)mantissa >> -shift);
        return value < 0 ? -units : units;
    }
}
