namespace FedLearn.Statistical.Tests;

/// <summary>What error rates of an attacker say about mu (Dong, Roth and Su 2019; Nasr et al. 2023).</summary>
internal static class AuditBound
{
    /// <summary>A lower bound on mu that holds but with probability alpha, from errors in two worlds.</summary>
    public static double Lower(long falsePositives, long falseNegatives, int runs, double alpha) =>
        Statistics.Quantile(1 - Statistics.ClopperPearsonUpper(falsePositives, runs, alpha / 2))
        - Statistics.Quantile(Statistics.ClopperPearsonUpper(falseNegatives, runs, alpha / 2));

    /// <summary>A lower bound that the audit reaches but with probability alpha, when the two worlds are mu apart.</summary>
    public static double Reach(double mu, int runs, double alpha)
    {
        double rate = Statistics.Phi(-mu / 2);
        long errors = Statistics.BinomialUpperQuantile(runs, rate, alpha / 2);
        return Lower(errors, errors, runs, alpha);
    }
}
