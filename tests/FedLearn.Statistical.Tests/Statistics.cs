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

    /// <summary>One-sided Clopper-Pearson upper limit of a probability after k events in n: at it, k events or fewer have probability alpha.</summary>
    public static double ClopperPearsonUpper(long k, long n, double alpha) => k == n ? 1 : Bisect(p => Beta.CDF(n - k, k + 1, 1 - p) <= alpha);

    /// <summary>One-sided Clopper-Pearson lower limit: at it, k events or more have probability alpha.</summary>
    public static double ClopperPearsonLower(long k, long n, double alpha) => k == 0 ? 0 : Bisect(p => Beta.CDF(k, n - k + 1, p) >= alpha);

    // The library's inverse of the distribution function is accurate to 1e-8 of probability only, which is what is at stake here.
    private static double Bisect(Func<double, bool> reached)
    {
        (double low, double high) = (0, 1);
        for (int i = 0; i < 100; i++)
        {
            double middle = (low + high) / 2;
            (low, high) = reached(middle) ? (low, middle) : (middle, high);
        }

        return high;
    }

    /// <summary>Least k that a binomial count exceeds with probability alpha at most.</summary>
    public static long BinomialUpperQuantile(long n, double p, double alpha)
    {
        (long low, long high) = (-1, n);
        while (high - low > 1)
        {
            long k = low + ((high - low) / 2);
            if (Beta.CDF(k + 1, n - k, p) <= alpha)
                high = k;
            else
                low = k;
        }

        return high;
    }

    public static double Quantile(double p) => Normal.InvCDF(0, 1, p);
}
