using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>An epsilon by way of Renyi differential privacy, and the order that gave it.</summary>
/// <param name="Epsilon">Privacy loss in nats at the delta asked for.</param>
/// <param name="Alpha">Renyi order, above 1.</param>
public readonly record struct RenyiEpsilon(double Epsilon, double Alpha);

/// <summary>Renyi and zero-concentrated differential privacy of Gaussian releases, to compare with tools that account this way.</summary>
/// <remarks>Valid but lossy: for Gaussians <see cref="GaussianDp"/> is exact, for subsampled Gaussians <see cref="PldAccountant"/> is tighter, and no claim
/// of the library rests on these figures. At mu = 1, delta = 1e-3: 4.22 by the classic conversion, 3.54 by the improved one, 3.14 in truth. All results are
/// rounded up. Orders of one person's releases add up at equal alpha. Thread-safe.</remarks>
public static class RenyiDp
{
    /// <summary>Largest order that <see cref="EpsilonOfSubsampledGaussian"/> tries.</summary>
    private const int LargestOrder = 1024;

    /// <summary>Renyi divergence of order alpha of a Gaussian release: alpha mu^2/2 (Mironov, arXiv 1702.07476, proposition 7).</summary>
    /// <param name="mu">Sensitivity over noise deviation; of several releases the root of the sum of squares. Finite, at least 0.</param>
    /// <param name="alpha">Order, finite and above 1.</param>
    /// <returns>Divergence in nats. Not an epsilon: <see cref="Epsilon"/> converts.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: mu out of range; FL2305: alpha out of range.</exception>
    public static double OfGaussian(double mu, double alpha)
    {
        PrivacyErrors.CheckNotNegative(mu, "mu");
        CheckAlpha(alpha);
        return RoundUp(alpha * mu * mu / 2, 0);
    }

    /// <summary>Renyi divergence of integer order of Poisson-subsampled Gaussian steps, under adding or removing a record.</summary>
    /// <remarks>T log(1 + sum over k from 2 of C(alpha, k) (1-q)^(alpha-k) q^k (e^(k(k-1)/(2 sigma^2)) - 1))/(alpha - 1): Mironov, Talwar and Zhang,
    /// arXiv 1908.10530, section 3.3, written without its terms that cancel.</remarks>
    /// <param name="visibility">Whether the observer sees the samples; says against whom the figure holds.</param>
    /// <param name="phase">The steps; what their noise multiplier means for epsilon is said by <see cref="EpsilonOfSubsampledGaussian"/>.</param>
    /// <param name="alpha">Order, at least 2.</param>
    /// <returns>Divergence in nats of all steps together. Not an epsilon: <see cref="Epsilon"/> converts.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300, FL2304, FL2305: a number of the phase out of range; FL2305: alpha below 2.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5010: a sampling rate below 1 and an observer who sees the sample.</exception>
    public static double OfSubsampledGaussian(SampleVisibility visibility, SubsampledGaussian phase, int alpha)
    {
        PldAccountant.Check(visibility, phase);
        CheckAlpha(alpha);
        double q = phase.SamplingRate, variance = phase.NoiseMultiplier * phase.NoiseMultiplier;
        if (q == 1)
            return RoundUp(phase.Steps * alpha / (2 * variance), 0);
        double binomial = Math.Log(alpha), keep = Elementary.LogP1(-q), take = Math.Log(q), most = double.NegativeInfinity;
        double[] terms = new double[alpha - 1];
        for (int k = 2; k <= alpha; k++)
        {
            binomial += Math.Log((alpha - k + 1.0) / k);
            double exponent = k * (k - 1.0) / (2 * variance);
            double growth = exponent > 30 ? exponent + Elementary.LogP1(-Math.Exp(-exponent)) : Math.Log(Elementary.ExpM1(exponent));
            terms[k - 2] = binomial + (alpha - k) * keep + k * take + growth;
            most = Math.Max(most, terms[k - 2]);
        }

        double log = most + Math.Log(terms.Sum(term => Math.Exp(term - most)));
        double moment = log > 30 ? log + Elementary.LogP1(Math.Exp(-log)) : Elementary.LogP1(Math.Exp(log));
        return moment * phase.Steps / (alpha - 1) * (1 + 1e-15 * (alpha + 100));
    }

    /// <summary>Epsilon of a mechanism of Renyi divergence <paramref name="divergence"/> at one order, the improved conversion.</summary>
    /// <remarks>divergence + log((alpha-1)/alpha) - (log delta + log alpha)/(alpha - 1): Canonne, Kamath and Steinke, arXiv 2004.00010, proposition 12.</remarks>
    /// <param name="divergence">Renyi divergence in nats. Finite, at least 0.</param>
    /// <param name="alpha">Its order, finite and above 1.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>Privacy loss in nats, at least 0.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300, FL2301, FL2305: a number out of range.</exception>
    public static double Epsilon(double divergence, double alpha, double delta)
    {
        Check(divergence, alpha, delta);
        return Math.Max(0, Improved(divergence, alpha, delta));
    }

    private static double Improved(double divergence, double alpha, double delta)
    {
        double shift = Elementary.LogP1(-1 / alpha), cost = (Math.Log(delta) + Math.Log(alpha)) / (alpha - 1);
        return RoundUp(divergence + shift - cost, (Math.Abs(Math.Log(delta)) + Math.Log(alpha)) / (alpha - 1) - shift);
    }

    /// <summary>Epsilon by the conversion of Mironov, arXiv 1702.07476, proposition 3: divergence + log(1/delta)/(alpha - 1). Never below <see cref="Epsilon"/>
    /// by more than rounding where delta is at most 1/e.</summary>
    /// <param name="divergence">Renyi divergence in nats. Finite, at least 0.</param>
    /// <param name="alpha">Its order, finite and above 1.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>Privacy loss in nats.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300, FL2301, FL2305: a number out of range.</exception>
    public static double ClassicEpsilon(double divergence, double alpha, double delta)
    {
        Check(divergence, alpha, delta);
        return RoundUp(divergence - Math.Log(delta) / (alpha - 1), 0);
    }

    /// <summary>Smallest <see cref="Epsilon"/> over all orders of Gaussian releases. <see cref="GaussianDp.Epsilon"/> is the truth, and smaller.</summary>
    /// <param name="mu">Sensitivity over noise deviation; of several releases the root of the sum of squares. Finite, at least 0.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>Epsilon and its order; the order is infinite when mu is 0.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: mu out of range; FL2301: delta out of range.</exception>
    public static RenyiEpsilon EpsilonOfGaussian(double mu, double delta)
    {
        PrivacyErrors.CheckNotNegative(mu, "mu");
        GaussianDp.CheckDelta(delta);
        if (mu == 0)
            return new(0, double.PositiveInfinity);
        double At(double excess) => Improved(OfGaussian(mu, 1 + excess), 1 + excess, delta);
        // Classic order 1 + sqrt(2 ln(1/delta))/mu; the improved one is below it and above a thousandth of it.
        double best = Minimum.Golden(At, Math.Sqrt(-2 * Math.Log(delta)) / mu * 1e-3, Math.Sqrt(-2 * Math.Log(delta)) / mu * 10, 1e-9);
        return new(Math.Max(0, At(best)), 1 + best);
    }

    /// <summary>Smallest <see cref="Epsilon"/> over the integer orders from 2 to 1024 of Poisson-subsampled Gaussian steps.</summary>
    /// <param name="visibility">Whether the observer sees the samples; says against whom the figure holds.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <param name="phases">The steps, in any order; at least one element.</param>
    /// <returns>Epsilon and its order. q = .04, sigma = 1.5, T = 2250, delta = 1e-5 gives 7.33, where <see cref="PldAccountant"/> gives 6.77.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300, FL2301, FL2304, FL2305: a number out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5010: a sampling rate below 1 and an observer who sees the sample.</exception>
    public static RenyiEpsilon EpsilonOfSubsampledGaussian(SampleVisibility visibility, double delta, params IReadOnlyList<SubsampledGaussian> phases)
    {
        PldAccountant.CheckSome(phases);
        GaussianDp.CheckDelta(delta);
        RenyiEpsilon best = new(double.PositiveInfinity, 2);
        for (int alpha = 2; alpha <= LargestOrder; alpha++)
        {
            double divergence = phases.Sum(phase => OfSubsampledGaussian(visibility, phase, alpha));
            if (divergence > best.Epsilon + 3)
                break; // divergences grow with the order, and a conversion adds at least log((alpha-1)/alpha) - log(alpha)/(alpha-1) > -1.4
            double epsilon = Epsilon(divergence * (1 + 1e-15 * phases.Count), alpha, delta);
            if (epsilon < best.Epsilon)
                best = new(epsilon, alpha);
        }

        return best;
    }

    /// <summary>Zero-concentrated privacy of Gaussian releases: rho = mu^2/2 (Bun and Steinke, arXiv 1605.02065, proposition 6).</summary>
    /// <param name="mu">Sensitivity over noise deviation; of several releases the root of the sum of squares. Finite, at least 0.</param>
    /// <returns>rho. Not an epsilon: <see cref="EpsilonOfRho"/> converts.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: mu out of range.</exception>
    public static double Rho(double mu)
    {
        PrivacyErrors.CheckNotNegative(mu, "mu");
        return RoundUp(mu * mu / 2, 0);
    }

    /// <summary>Epsilon of a rho-zCDP mechanism by the classic conversion, rho + 2 sqrt(rho ln(1/delta)) (Bun and Steinke, proposition 1.3).</summary>
    /// <param name="rho">Zero-concentrated privacy. Finite, at least 0.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>Privacy loss in nats.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: rho out of range; FL2301: delta out of range.</exception>
    public static double EpsilonOfRho(double rho, double delta)
    {
        PrivacyErrors.CheckNotNegative(rho, "rho");
        GaussianDp.CheckDelta(delta);
        return RoundUp(rho + 2 * Math.Sqrt(-rho * Math.Log(delta)), 0);
    }

    /// <summary>Adds a bound on the rounding of a few operations on terms of the given size.</summary>
    private static double RoundUp(double value, double size) => value == 0 && size == 0 ? 0 : Math.BitIncrement(value + 1e-15 * (Math.Abs(value) + size));

    private static void Check(double divergence, double alpha, double delta)
    {
        PrivacyErrors.CheckNotNegative(divergence, "divergence");
        CheckAlpha(alpha);
        GaussianDp.CheckDelta(delta);
    }

    private static void CheckAlpha(double alpha)
    {
        if (!(alpha > 1 && double.IsFinite(alpha)))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidSteps, "alpha", "it is not a finite order above 1.", "Give an order above 1, such as 8.");
    }
}
