using MathNet.Numerics;
using MathNet.Numerics.Distributions;

namespace FedLearn.Statistical.Tests;

/// <summary>Test statistics, each with the critical value of a stated false-alarm rate.</summary>
internal static class Statistics
{
    public static double Phi(double x) => Normal.CDF(0, 1, x);

    /// <summary>Kolmogorov-Smirnov distance and Anderson-Darling statistic of a sorted sample against a normal distribution of mean 0.</summary>
    public static (double Kolmogorov, double AndersonDarling) DistanceToNormal(ReadOnlySpan<int> sorted, double deviation)
    {
        double distance = 0, sum = 0, n = sorted.Length;
        for (int i = 0; i < sorted.Length; i++)
        {
            double z = sorted[i] / deviation, below = Phi(z), above = Phi(-z);
            distance = Math.Max(distance, Math.Max(below - i / n, (i + 1) / n - below));
            sum += (2.0 * i + 1) * Math.Log(below) + (2 * (n - i) - 1) * Math.Log(above);
        }

        return (distance, -n - sum / n);
    }

    /// <summary>Critical value of Anderson and Darling's A^2 = sum_j chi_j^2/(j (j + 1)) for large samples: its far tail P(A^2 > a) is
    /// sqrt 3 P(chi^2 > 2a), the product over j >= 2 of (1 - 2/(j (j + 1)))^(-1/2) being sqrt 3 (Zolotarev 1961).</summary>
    public static double AndersonDarlingCritical(double alpha) => Math.Pow(Quantile(alpha / Math.Sqrt(3) / 2), 2) / 2;

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

    /// <summary>Least k that a binomial count exceeds with probability alpha at most.</summary>
    public static long BinomialUpperQuantile(long n, double p, double alpha)
    {
        (long low, long high) = (-1, n);
        while (high - low > 1)
        {
            long k = low + (high - low) / 2;
            if (SpecialFunctions.BetaRegularized(k + 1, n - k, p) <= alpha)
                high = k;
            else
                low = k;
        }

        return high;
    }

    public static double Quantile(double p) => Normal.InvCDF(0, 1, p);
}
