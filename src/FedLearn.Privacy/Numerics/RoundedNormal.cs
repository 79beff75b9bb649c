using System.Runtime.CompilerServices;

namespace FedLearn.Privacy.Numerics;

/// <summary>Maps uniform 64-bit words to draws of K = round(s Z), Z standard normal, by inverting the distribution function.</summary>
/// <remarks>
/// The top bit is the sign; the other 63 bits v give the tail probability p = (v + 1/2)/2^64, uniform on (0, 1/2). The segment of p is its
/// binary exponent and five leading mantissa bits; on each a polynomial of degree 7 stands for the upper quantile. It interpolates Wichura's
/// algorithm AS 241 (PPND16, about 1e-16 relative) at Chebyshev points. Only IEEE basic operations are used, so that every machine gives the
/// same draws. Accuracy: |z - exact| was at most 4.5e-15 (near z = 6, where AS 241 itself errs by 3.7e-15) against 50-digit references over 6,000 words,
/// tails and segment boundaries among them. This is measured, not certified: a draw can differ from round(s Z) where s Z lies within
/// 5e-15 s (8e-8 at s = 2^24) of half an integer.
/// </remarks>
internal static class RoundedNormal
{
    private const int PieceBits = 5, Pieces = 1 << PieceBits, Coefficients = 8;

    /// <summary>Exponent of the smallest v + 1/2.</summary>
    private const int LowestExponent = -1;

    /// <summary>v + 1/2 rounds up to 2^63, p = 1/2, at the top.</summary>
    private const int Segments = (63 - LowestExponent) * Pieces + 1;

    /// <summary>round(scale z) for each word.</summary>
    public static void Transform(ReadOnlySpan<ulong> words, Span<int> draws, double scale)
    {
        ReadOnlySpan<double> table = Table;
        for (int i = 0; i < words.Length; i++)
            draws[i] = (int)Math.Round(scale * Quantile(table, words[i]));
    }

    /// <summary>z for a word.</summary>
    public static double Quantile(ulong word) => Quantile(Table, word);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static double Quantile(ReadOnlySpan<double> table, ulong word)
    {
        double tail = (long)(word & long.MaxValue) + 0.5;
        ulong bits = BitConverter.DoubleToUInt64Bits(tail);
        const ulong first = (ulong)(1023 + LowestExponent) << PieceBits;
        int segment = unchecked((int)((bits >> (52 - PieceBits)) - first));
        ReadOnlySpan<double> c = table.Slice(segment * Coefficients, Coefficients);

        // The other mantissa bits, as t in [-1, 1).
        double t = BitConverter.UInt64BitsToDouble(((bits << PieceBits) & 0x000F_FFFF_FFFF_FFFF) | 0x4000_0000_0000_0000) - 3;
        double z = c[7];
        z = Math.FusedMultiplyAdd(z, t, c[6]);
        z = Math.FusedMultiplyAdd(z, t, c[5]);
        z = Math.FusedMultiplyAdd(z, t, c[4]);
        z = Math.FusedMultiplyAdd(z, t, c[3]);
        z = Math.FusedMultiplyAdd(z, t, c[2]);
        z = Math.FusedMultiplyAdd(z, t, c[1]);
        z = Math.FusedMultiplyAdd(z, t, c[0]);
        return BitConverter.UInt64BitsToDouble(BitConverter.DoubleToUInt64Bits(z) ^ (word & 0x8000_0000_0000_0000));
    }

    private static double[] MakeTable()
    {
        var table = new double[Segments * Coefficients];
        double[] points = [.. Enumerable.Range(0, Coefficients).Select(ChebyshevPoint)];
        Span<double> values = stackalloc double[Coefficients];
        for (int segment = 0; segment < Segments; segment++)
        {
            int exponent = segment / Pieces + LowestExponent;
            double width = Math.ScaleB(1.0 / Pieces, exponent - 64), low = Math.ScaleB(1 + (double)(segment % Pieces) / Pieces, exponent - 64);
            for (int i = 0; i < Coefficients; i++)
                values[i] = UpperQuantile(low + width * (points[i] + 1) / 2);
            Interpolate(points, values, table.AsSpan(segment * Coefficients, Coefficients));
        }

        return table;
    }

    /// <summary>cos((2i + 1) pi/16), by half angles, since a library cosine may differ between machines.</summary>
    private static double ChebyshevPoint(int i)
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

    /// <summary>Made from the constants above, hence the last field.</summary>
    private static readonly double[] Table = MakeTable();
}
