namespace FedLearn.Privacy;

/// <summary>What a budget comes to where its epsilon says little by itself.</summary>
public static class LargeEpsilon
{
    /// <summary>Largest epsilon without a warning: 10, the end of what the guide by Ponomareva et al. (arXiv 2303.00654) calls reasonable.</summary>
    public const double Threshold = 10;

    /// <summary>Largest probability with which somebody who knows all else tells two neighbouring tables apart that are as likely: Phi(mu/2). By the trade-off function
    /// of Gaussian DP (Dong, Roth and Su, arXiv 1905.02383), both errors of the best test are Phi(-mu/2) where their sum is least.</summary>
    /// <param name="mu">Gaussian-DP parameter. Finite, at least 0.</param>
    /// <returns>Probability from .5 to 1, rounded up.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: mu out of range.</exception>
    public static double BestGuess(double mu) => (1 + GaussianDp.Delta(mu, 0)) / 2; // delta(0) = Phi(mu/2) - Phi(-mu/2)

    /// <summary>A sentence for reports; none up to <see cref="Threshold"/>.</summary>
    /// <param name="epsilon">Epsilon of the budget, at least 0.</param>
    /// <param name="mu">Gaussian-DP parameter that the noise gives. Finite, at least 0.</param>
    /// <returns>One sentence or none.</returns>
    public static IEnumerable<string> Warnings(double epsilon, double mu)
    {
        if (!(epsilon > Threshold))
            yield break;
        double guess = Math.Ceiling(BestGuess(mu) * 10_000) / 10_000;
        string probability = guess < 1 ? FormattableString.Invariant($"up to {guess:0.0000}") : "up to 1, in four digits";
        yield return FormattableString.Invariant(
            $"epsilon {epsilon:G6} is above {Threshold}, where it promises little: who knows everything else, and that one of two tables was used, can tell which with probability {probability}.");
    }
}
