using MathNet.Numerics;
using MathNet.Numerics.Distributions;

namespace FedLearn.Statistical.Tests;

/// <summary>Test statistics, each with the critical value of a stated false-alarm rate.</summary>
internal static class Statistics
{
    public static double Phi(double x) => Normal.CDF(0, 1, x);

    /// <summary>Kolmogorov-Smirnov distance to the standard normal distribution; sorts the sample.</summary>
    public static double Kolmogorov(double[] sample)
    {
        Array.Sort(sample);
        double worst = 0, n = sample.Length;
        for (int i = 0; i < sample.Length; i++)
        {
            double expected = Phi(sample[i]);
            worst = Math.Max(worst, Math.Max(expected - i / n, (i + 1) / n - expected));
        }

        return worst;
    }

    /// <summary>Upper bound on the critical value: P(D > d) is at most 2 e^(-2 n d^2) (Dvoretzky, Kiefer, Wolfowitz; Massart 1990).</summary>
    public static double KolmogorovCritical(int n, double alpha) => Math.Sqrt(Math.Log(2 / alpha) / (2.0 * n));

    /// <summary>Pearson's statistic for counts with given probabilities.</summary>
    public static double ChiSquare(long[] counts, double[] probabilities)
    {
        double n = counts.Sum();
        return counts.Zip(probabilities, (count, p) => (count - n * p) * (count - n * p) / (n * p)).Sum();
    }

    /// <summary>Critical value by the upper tail of the chi-square distribution with one degree less than there are cells.</summary>
    public static double ChiSquareCritical(int cells, double alpha) => ChiSquared.InvCDF(cells - 1, 1 - alpha);

    /// <summary>One-sided Clopper-Pearson upper limit of a probability after k events in n.</summary>
    public static double ClopperPearsonUpper(long k, long n, double alpha) => 1 - ClopperPearsonLower(n - k, n, alpha);

    /// <summary>One-sided Clopper-Pearson lower limit: the p at which k or more events have probability alpha, which is I_p(k, n - k + 1).</summary>
    /// <remarks>By bisection on MathNet's incomplete beta function. Its inverse is not used: of 5e-10 it gets only 4 digits.</remarks>
    public static double ClopperPearsonLower(long k, long n, double alpha)
    {
        double low = 0, high = 1;
        for (int i = 0; k > 0 && i < 1100 && high > low + 1e-16 * high; i++)
        {
            double middle = low == 0 && high > 1e-300 ? high / 2 : low + (high - low) / 2;
            if (SpecialFunctions.BetaRegularized(k, n - k + 1, middle) < alpha)
                low = middle;
            else
                high = middle;
        }

        return low;
    }

    public static double Quantile(double p) => Normal.InvCDF(0, 1, p);
}
