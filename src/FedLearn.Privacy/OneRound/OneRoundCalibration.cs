namespace FedLearn.Privacy;

/// <summary>Noise of a passive party in one-round training, and what it rests on.</summary>
public sealed record OneRoundCalibration
{
    private OneRoundCalibration() { }

    /// <summary>The public numbers.</summary>
    public required OneRoundParameters Parameters { get; init; }

    /// <summary>Gaussian-DP parameter of everything the party sends.</summary>
    public required double Mu { get; init; }

    /// <summary>Noise deviation without slack, sensitivity over the scores' mu; units of a score.</summary>
    public required double Sigma { get; init; }

    /// <summary>Sensitivity added for rounding to the lattice: gamma sqrt(n M), gamma = SigmaCharged/2^24.</summary>
    public required double LatticeSlack { get; init; }

    /// <summary>Noise deviation used: (sensitivity + solver, arithmetic and lattice slack)/mu.</summary>
    public required double SigmaCharged { get; init; }

    /// <summary>Noise of the scores.</summary>
    public required NoiseCalibration ScoreNoise { get; init; }

    /// <summary>Noise of the weights where evaluation is charged; null elsewhere.</summary>
    public required NoiseCalibration? WeightNoise { get; init; }

    /// <summary>What a reader of the claim must know, as sentences.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>Calibrates the noise of a passive party.</summary>
    /// <param name="parameters">The public numbers.</param>
    /// <param name="epsilon">Privacy loss in nats of this party's record, by itself. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <param name="weightShare">Share of mu^2 that pays for noise on the final weights; 0, the default, for none. Below 1.</param>
    /// <returns>The noise and what it rests on.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300 to FL2303: a number out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5004: delta is 0.1 or more; FL5005: the lattice is too coarse for the budget; FL5031: the
    /// solver's tolerance or rounding would cost too much.</exception>
    public static OneRoundCalibration Calibrate(OneRoundParameters parameters, double epsilon, double delta, double weightShare = 0)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        parameters.Validate();
        HdpVflCalibration.CheckBudget(epsilon, delta);
        if (!(weightShare is >= 0 and < 1))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "evaluationShare", "it is not at least 0 and below 1.", "Give the share of the budget that pays for the weights, such as .2.");
        double exact = parameters.Sensitivity, slack = parameters.SolverSlack + parameters.ArithmeticSlack;
        if (slack > exact / 2)
            throw PrivacyErrors.Refused(OneRoundErrors.SlackTooLarge, "rows", "rounding in float64 would cost half the noise or more with so many rows, or so large bounds.",
                "Use fewer rows, or bounds of ordinary size.");

        double mu = GaussianDp.Mu(epsilon, delta), scoreMu = mu * Math.Sqrt(1 - weightShare), weightMu = mu * Math.Sqrt(weightShare);
        double sigma = exact / scoreMu;
        // Each entry is rounded by half a step at most in both tables.
        double extent = Math.Sqrt((double)parameters.Rows * parameters.Columns.Count), charged = HdpVflCalibration.WithLattice(exact + slack, scoreMu, extent);
        NoiseCalibration? weights = null;
        if (weightShare > 0)
        {
            double bound = Enumerable.Range(0, parameters.Columns.Count).Max(parameters.WeightBound);
            weights = new(weightMu, HdpVflCalibration.WithLattice(parameters.WeightSensitivity, weightMu, Math.Sqrt((double)parameters.MaxColumns * parameters.Columns.Count)), 1, bound);
        }

        return new()
        {
            Parameters = parameters,
            Mu = mu,
            Sigma = Math.BitIncrement(sigma),
            LatticeSlack = charged * (extent / INoiseSource.LatticeScale),
            SigmaCharged = charged,
            ScoreNoise = new(scoreMu, charged, 1, parameters.ScoreClip),
            WeightNoise = weights,
            Warnings = [.. Caveats(parameters, delta), .. LargeEpsilon.Warnings(epsilon, mu)],
        };
    }

    private static IEnumerable<string> Caveats(OneRoundParameters p, double delta)
    {
        if (delta > 1.0 / p.Rows)
            yield return FormattableString.Invariant($"delta {delta:G3} is above 1/{p.Rows}: it allows whole rows to be published. Use a delta below 1/rows.");
    }
}
