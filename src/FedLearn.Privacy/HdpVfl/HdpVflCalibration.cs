namespace FedLearn.Privacy;

/// <summary>Which side of a GLM job.</summary>
public enum PartySide
{
    /// <summary>The party with the labels; it releases residuals.</summary>
    Active = 0,

    /// <summary>A party with features only; it releases scores.</summary>
    Passive = 1,
}

/// <summary>The noise of one party of an HDP-VFL job.</summary>
public sealed record PartyCalibration
{
    /// <summary>Gaussian-DP parameter that the whole job costs the party.</summary>
    public required double Mu { get; init; }

    /// <summary>Noise deviation of the continuous mechanism, Sensitivity/Mu; units of the released vector.</summary>
    public required double Sigma { get; init; }

    /// <summary>L2 sensitivity of all messages of the party together, without slack.</summary>
    public required double Sensitivity { get; init; }

    /// <summary>Part of the sensitivity that comes from the replaced row's own entries.</summary>
    public required double OwnTerm { get; init; }

    /// <summary>Part of the sensitivity that comes from weights drifting apart.</summary>
    public required double DriftTerm { get; init; }

    /// <summary>Sensitivity added because values are rounded to the noise lattice before noise is added: gamma sqrt(e n), with
    /// gamma = SigmaCharged/2^24 the lattice step.</summary>
    public required double LatticeSlack { get; init; }

    /// <summary>Sensitivity added for the rounding of float64 sums in fixed order, scores and weight updates.</summary>
    public required double ArithmeticSlack { get; init; }

    /// <summary>Noise deviation actually used: (Sensitivity + LatticeSlack + ArithmeticSlack)/Mu.</summary>
    public required double SigmaCharged { get; init; }

    /// <summary>Paper calibration only: the delta really reached at the asked epsilon, rounded up; null otherwise.</summary>
    public required double? ActualDelta { get; init; }

    /// <summary>Messages the noise is calibrated for, T = e r.</summary>
    public required int Releases { get; init; }

    /// <summary>Noise of the messages: residuals of the active party, scores of a passive one.</summary>
    public required NoiseCalibration MessageNoise { get; init; }

    /// <summary>What a reader of the claim must know, as sentences. Empty when there is nothing.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }
}

/// <summary>From a budget to noise.</summary>
public static class HdpVflCalibration
{
    /// <summary>Calibrates the noise of one party.</summary>
    /// <param name="parameters">The job's public numbers.</param>
    /// <param name="calibration">Tight: the exact recursion and the analytic Gaussian. Paper: the published formulas and the classical Gaussian.</param>
    /// <param name="side">Which party.</param>
    /// <param name="epsilon">Privacy loss in nats of this party's record, by itself. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <returns>The noise and what it rests on.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300 to FL2303: a number out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5000 to FL5005: the mathematics does not cover the request.</exception>
    public static PartyCalibration Calibrate(HdpVflParameters parameters, Calibration calibration, PartySide side, double epsilon, double delta)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        CheckBudget(epsilon, delta);
        bool paper = calibration == Calibration.Paper;
        HdpVflBounds bounds = paper ? HdpVflSensitivity.Paper(parameters) : HdpVflSensitivity.Tight(parameters);
        PartyBound bound = side == PartySide.Active ? bounds.Active : bounds.Passive;

        double sigma, mu;
        if (paper)
        {
            sigma = bound.Sensitivity * ClassicalGaussian.Sigma(epsilon, delta);
            mu = bound.Sensitivity / sigma;
        }
        else
        {
            mu = GaussianDp.Mu(epsilon, delta);
            sigma = Math.BitIncrement(bound.Sensitivity / mu);
        }

        // sigmaCharged = (Delta + a + gamma sqrt(e n))/mu with gamma = sigmaCharged/2^24: linear in sigmaCharged. A batch's rows are rounded
        // by at most gamma/2 each in both tables, and the batches of the job hold e n rows together.
        double arithmetic = ArithmeticSlack(parameters), lattice = Math.Sqrt((double)parameters.Epochs * parameters.Rows) / INoiseSource.LatticeScale;
        if (lattice > mu / 2)
            throw PrivacyErrors.Refused(PrivacyErrors.LatticeTooCoarse, "epsilon",
                "the budget is so small for so many rows and epochs that rounding to the noise lattice would cost half of it or more.",
                "Raise epsilon, or use fewer rows or epochs.");
        double charged = (bound.Sensitivity + arithmetic) / (mu - lattice) * (1 + 1e-14);
        if (!double.IsFinite(charged))
            throw PrivacyErrors.Configuration(PrivacyErrors.BoundOverflow, "epsilon, delta", "the noise is beyond the range of a double.", "Use smaller bounds.");

        double? actualDelta = paper ? GaussianDp.Delta(mu, epsilon) : null;
        return new()
        {
            Mu = mu,
            Sigma = sigma,
            Sensitivity = bound.Sensitivity,
            OwnTerm = bound.OwnTerm,
            DriftTerm = bound.DriftTerm,
            LatticeSlack = charged * lattice,
            ArithmeticSlack = arithmetic,
            SigmaCharged = charged,
            ActualDelta = actualDelta,
            Releases = parameters.Releases,
            MessageNoise = new(mu, charged, parameters.Releases, side == PartySide.Passive ? parameters.RowNorm * parameters.WeightNorm
                : parameters.Family == GlmFamilyKind.Binomial ? Math.Min(parameters.ResidualClip, 1) : parameters.ResidualClip),
            Warnings = [.. Warnings(parameters, delta, actualDelta)],
        };
    }

    /// <summary>Checks a budget.</summary>
    /// <param name="epsilon">Privacy loss in nats. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: NaN, infinite, negative or zero, or delta of 1 or more.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5004: delta is 0.1 or more.</exception>
    public static void CheckBudget(double epsilon, double delta)
    {
        if (!double.IsFinite(epsilon) || epsilon <= 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "epsilon", "it is not a finite number above 0.", "Give a finite epsilon above 0.");
        if (!double.IsFinite(delta) || delta <= 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "delta", "it is not a finite number above 0.", "Give a delta above 0 and below 0.1.");
        if (delta >= 0.1)
            throw PrivacyErrors.Refused(PrivacyErrors.DeltaTooLarge, "delta",
                "a delta of 0.1 or more allows one row in ten to be published as it is.", "Give a delta below 1 over the number of rows.");
    }

    /// <summary>Bound on how much farther apart computed messages of neighbouring tables are than exact ones.</summary>
    /// <remarks>u = 2^-53, d columns, b rows in the largest batch, B = max(1, beta). A step errs, over both tables, by at most
    /// rho = 2u (eta b R C B + (d + 8) k): a sum of b products of length R C, the update, the projection. The drifts add up to T rho, since no
    /// step expands. A score errs by at most (d + 4) u R k, a residual by B times that and 8u C; e n entries are sent.</remarks>
    private static double ArithmeticSlack(HdpVflParameters p)
    {
        const double unit = 1.0 / (1L << 53);
        double beta = Math.Max(1, p.Smoothness), rows = (double)p.Epochs * p.Rows, columns = p.MaxColumns;
        double step = 2 * unit * (p.StepSize * new BatchLayout(p.Rows, p.Batches).LargestSize * p.RowNorm * p.ResidualClip * beta + (columns + 8) * p.WeightNorm);
        double entry = beta * p.RowNorm * (p.Releases * step + 2 * unit * (columns + 4) * p.WeightNorm) + 16 * unit * p.ResidualClip;
        return Math.Sqrt(rows) * entry;
    }

    private static IEnumerable<string> Warnings(HdpVflParameters p, double delta, double? actualDelta)
    {
        if (delta > 1.0 / p.Rows)
            yield return FormattableString.Invariant($"delta {delta:G3} is above 1/{p.Rows}: it allows whole rows to be published. Use a delta below 1/rows.");
        if (actualDelta is not { } actual)
            yield break;
        yield return "Calibration paper: the published formulas hold only because received residuals are clipped here, which the published algorithm does not do.";
        yield return "Calibration paper: the bounds are looser than the tight ones, up to 3.5 times in common settings; tight gives more accuracy for the same claim.";
        if (p.Family == GlmFamilyKind.Poisson)
            yield return "Calibration paper: the published Poisson bound supposes a linear predictor within twice the weight norm; the trainer clips it there, which the published algorithm does not do.";
        if (actual > delta)
            yield return FormattableString.Invariant($"Calibration paper: the classical Gaussian formula reaches delta {actual:G4} at this epsilon, above the {delta:G4} asked for.");
    }
}
