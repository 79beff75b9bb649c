namespace FedLearn.Privacy;

/// <summary>The classical calibration of the Gaussian mechanism, kept because published results use it.</summary>
/// <remarks>Dwork and Roth 2014, theorem 3.22: a theorem for epsilon below 1 only. At epsilon 10 and delta 0.01 the true delta is 0.0406.
/// Use <see cref="GaussianDp"/> for anything else than reproducing a paper.</remarks>
public static class ClassicalGaussian
{
    /// <summary>sqrt(2 ln(1.25/delta))/epsilon, the noise deviation per unit of L2 sensitivity.</summary>
    /// <param name="epsilon">Privacy loss in nats. Finite, above 0.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>Standard deviation per coordinate, rounded up by at most 1e-14 relative. (1, 1e-2) gives 3.10751.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: epsilon or delta out of range.</exception>
    public static double Sigma(double epsilon, double delta)
    {
        if (!double.IsFinite(epsilon) || epsilon <= 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "epsilon",
                "it is not a finite number above 0.", "Give a finite epsilon above 0.");
        if (!(delta > 0 && delta < 1))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "delta",
                "it is not strictly between 0 and 1.", "Give a delta above 0 and below 1, such as 1e-5.");
        return Math.Sqrt(2 * (Math.Log(1.25) - Math.Log(delta))) / epsilon * (1 + 2e-15);
    }
}
