namespace FedLearn.Privacy;

/// <summary>Which side of a GLM job.</summary>
public enum PartySide
{
    /// <summary>The party with the labels; it releases residuals.</summary>
    Active = 0,

    /// <summary>A party with features only; it releases scores.</summary>
    Passive = 1,
}

/// <summary>How the budget of a party is turned into noise.</summary>
/// <param name="Calibration">Which mathematics.</param>
public sealed record HdpVflNoise(Calibration Calibration)
{
    /// <summary>Weight noise only: the part of mu^2 that the messages get; the rest is for the gradients.</summary>
    /// <value>Above 0 and below 1. Default 0.5; <see cref="WeightNoiseShare.Best"/> picks one.</value>
    public double Share { get; init; } = 0.5;

    /// <summary>Charged evaluation of a passive party, tight calibration only: the part of mu^2 that noise on its final weights gets, the rest is for
    /// its training messages. What a later score, made with those noisy weights, tells of other rows than the one scored is then post-processing.</summary>
    /// <value>Above 0 and below 1. Null, the default: no noise on the final weights. Without effect at the active party, which sends no scores,
    /// and with weight noise, which covers the final weights already.</value>
    public double? EvaluationShare { get; init; }
}

/// <summary>The noise of one party of an HDP-VFL job.</summary>
public sealed record PartyCalibration
{
    /// <summary>Gaussian-DP parameter that the whole job costs the party: messages, gradients and final weights together.</summary>
    public required double Mu { get; init; }

    /// <summary>Noise deviation of the messages in the continuous mechanism, Sensitivity over the messages' part of Mu; units of the message.</summary>
    public required double Sigma { get; init; }

    /// <summary>L2 sensitivity of all messages of the party together, without slack. Weight noise: given the weights, own sqrt(e).</summary>
    public required double Sensitivity { get; init; }

    /// <summary>Part of the sensitivity that comes from the changed row's own entries.</summary>
    public required double OwnTerm { get; init; }

    /// <summary>Part of the sensitivity that comes from weights drifting apart; 0 with weight noise.</summary>
    public required double DriftTerm { get; init; }

    /// <summary>Unit label only, else 0: sensitivity added because the changed row's own score drifts too, see <see cref="PartyBound.OwnRowSlack"/>.</summary>
    public required double OwnRowSlack { get; init; }

    /// <summary>Sensitivity added because values are rounded to the noise lattice before noise is added: gamma sqrt(e n), with
    /// gamma = SigmaCharged/2^24 the lattice step; gamma sqrt(e) with weight noise, where only the changed row's entry moves.</summary>
    public required double LatticeSlack { get; init; }

    /// <summary>Sensitivity added for the rounding of float64 sums in fixed order, scores and weight updates.</summary>
    public required double ArithmeticSlack { get; init; }

    /// <summary>Noise deviation actually used on messages: Sensitivity and all slacks over the messages' part of Mu.</summary>
    public required double SigmaCharged { get; init; }

    /// <summary>Weight noise only: deviation, in the continuous mechanism, of the noise on each coordinate of each step's mean gradient; null otherwise.</summary>
    public double? GradientSigma { get; init; }

    /// <summary>Weight noise only: that deviation as actually used, every slack included; null otherwise.</summary>
    public double? GradientSigmaCharged { get; init; }

    /// <summary>Bound on |w_T - w'_T|, the final weights of neighbouring tables, rounding of arithmetic included. With weight noise the final
    /// weights are part of what is released, and this is 0: given it, they do not differ.</summary>
    public required double FinalDrift { get; init; }

    /// <summary>Noise of the training messages: scores bounded by R k, residuals by U C (binomial U min(C, 1)).</summary>
    public required NoiseCalibration MessageNoise { get; init; }

    /// <summary>Noise of the party's own mean gradients, T of them, each of one element a column; null but with weight noise.</summary>
    public NoiseCalibration? GradientNoise { get; init; }

    /// <summary>Noise added once to the final weights of a passive party in a charged evaluation; null otherwise.</summary>
    public NoiseCalibration? EvaluationNoise { get; init; }

    /// <summary>Paper calibration only: the delta really reached at the asked epsilon, rounded up; null otherwise.</summary>
    public required double? ActualDelta { get; init; }

    /// <summary>Messages the noise is calibrated for, T = e r.</summary>
    public required int Releases { get; init; }

    /// <summary>What a reader of the claim must know, as sentences. Empty when there is nothing.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }
}

/// <summary>From a budget to noise.</summary>
public static class HdpVflCalibration
{
    /// <summary>Covers the rounding of the few products and roots between a sensitivity, mu and sigma.</summary>
    private const double Margin = 1e-14;

    /// <summary>Rounding unit of a double.</summary>
    private const double Unit = 1.0 / (1L << 53);

    /// <summary>Sparse rows are stored as differences from a common row that is at most 4 R long, and so at most 5 R long themselves: their rounding is charged for all. docs/proofs/sensitivity.md, section 7.</summary>
    internal const double DifferenceRows = 5;

    /// <summary>Calibrates the noise of one party, with the defaults of <see cref="HdpVflNoise"/>.</summary>
    /// <param name="parameters">The job's public numbers.</param>
    /// <param name="calibration">Tight: the exact recursion and the analytic Gaussian. Paper: the published formulas and the classical Gaussian.
    /// WeightNoise: noise on messages and own gradients, half of mu^2 each.</param>
    /// <param name="side">Which party.</param>
    /// <param name="epsilon">Privacy loss in nats of this party's record, by itself. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <returns>The noise and what it rests on.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300 to FL2303: a number out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5000 to FL5005, FL5013 to FL5015: the mathematics does not cover the request.</exception>
    public static PartyCalibration Calibrate(HdpVflParameters parameters, Calibration calibration, PartySide side, double epsilon, double delta) =>
        Calibrate(parameters, new HdpVflNoise(calibration), side, epsilon, delta);

    /// <summary>Calibrates the noise of one party.</summary>
    /// <param name="parameters">The job's public numbers.</param>
    /// <param name="noise">Which mathematics, and how mu^2 is shared out.</param>
    /// <param name="side">Which party. A passive one has no calibration when the unit is the label: its messages need no noise.</param>
    /// <param name="epsilon">Privacy loss in nats of this party's record (or label), by itself. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <returns>The noise and what it rests on.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300 to FL2303, FL2307: a number out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5000 to FL5005, FL5013 to FL5015: the mathematics does not cover the request.</exception>
    public static PartyCalibration Calibrate(HdpVflParameters parameters, HdpVflNoise noise, PartySide side, double epsilon, double delta)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        ArgumentNullException.ThrowIfNull(noise);
        if (!Enum.IsDefined(side))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "side", "it has no name.", "Use one of the named values.");
        CheckBudget(epsilon, delta);
        CheckShare(noise.Share, "share");
        if (noise.EvaluationShare is { } evaluation)
            CheckShare(evaluation, "evaluation share");
        parameters.Validate(noise.Calibration);
        if (side == PartySide.Passive && parameters.Unit == PrivacyUnit.Label)
            throw PrivacyErrors.Refused(PrivacyErrors.PassiveHasNoLabel, "unit",
                "a passive party holds no labels, so there is nothing of it that noise would protect.",
                "Calibrate the active party only, and say in the claim that features are unprotected; or use unit record.");
        return noise.Calibration == Calibration.WeightNoise
            ? CalibrateWeights(parameters, noise.Share, side, epsilon, delta)
            : CalibrateMessages(parameters, noise, side, epsilon, delta);
    }

    /// <summary>Noise on messages only: their sensitivity includes the drift of the weights.</summary>
    private static PartyCalibration CalibrateMessages(HdpVflParameters parameters, HdpVflNoise noise, PartySide side, double epsilon, double delta)
    {
        bool paper = noise.Calibration == Calibration.Paper;
        double? evaluationShare = side == PartySide.Passive ? noise.EvaluationShare : null;
        if (paper && evaluationShare is not null)
            throw PrivacyErrors.Refused(PrivacyErrors.PaperSetting, "evaluation share",
                "the published formulas leave no budget for the final weights.", "Use the tight calibration.");
        HdpVflBounds bounds = paper ? HdpVflSensitivity.Paper(parameters) : HdpVflSensitivity.Tight(parameters);
        PartyBound bound = side == PartySide.Active ? bounds.Active : bounds.Passive;

        double sigma, mu, messageMu;
        if (paper)
        {
            sigma = bound.Sensitivity * ClassicalGaussian.Sigma(epsilon, delta);
            mu = messageMu = bound.Sensitivity / sigma;
        }
        else
        {
            mu = GaussianDp.Mu(epsilon, delta);
            messageMu = Part(mu, 1 - (evaluationShare ?? 0));
            sigma = Math.BitIncrement(bound.Sensitivity / messageMu);
        }

        // sigmaCharged = (Delta + slacks + gamma sqrt(e n M))/mu: a batch's entries are rounded by at most gamma/2 each in both tables, and the
        // batches of the job hold e n rows of M entries together.
        double step = StepRounding(parameters), rows = Math.Sqrt((double)parameters.Epochs * parameters.Rows * parameters.Outputs);
        double arithmetic = rows * (Math.Max(1, parameters.Smoothness) * parameters.RowNorm * parameters.Releases * step + EntryRounding(parameters));
        double charged = WithLattice(bound.Sensitivity + bound.OwnRowSlack + arithmetic, messageMu, rows);
        double finalDrift = bound.FinalDrift + parameters.Releases * step;
        NoiseCalibration? evaluation = null;
        if (evaluationShare is { } share)
        {
            double weightMu = Part(mu, share);
            evaluation = new(weightMu, WithLattice(finalDrift, weightMu, Math.Sqrt(Coordinates(parameters))), 1, parameters.WeightNorm);
        }

        double? actualDelta = paper ? GaussianDp.Delta(mu, epsilon) : null;
        return new()
        {
            Mu = mu,
            Sigma = sigma,
            Sensitivity = bound.Sensitivity,
            OwnTerm = bound.OwnTerm,
            DriftTerm = bound.DriftTerm,
            OwnRowSlack = bound.OwnRowSlack,
            LatticeSlack = charged * (rows / INoiseSource.LatticeScale),
            ArithmeticSlack = arithmetic,
            SigmaCharged = charged,
            FinalDrift = finalDrift,
            MessageNoise = new(messageMu, charged, parameters.Releases, ValueBound(parameters, side)),
            EvaluationNoise = evaluation,
            ActualDelta = actualDelta,
            Releases = parameters.Releases,
            Warnings = [.. Warnings(parameters, delta, actualDelta), .. LargeEpsilon.Warnings(epsilon, mu)],
        };
    }

    /// <summary>Noise on messages and own gradients. Given all noisy gradients the weights are equal in both tables, so that of a step only the
    /// changed row's entry and its part of the gradient move: mu^2 = e ((own/sigma)^2 + (G/(b tau))^2).</summary>
    private static PartyCalibration CalibrateWeights(HdpVflParameters p, double share, PartySide side, double epsilon, double delta)
    {
        (double own, double gradient) = HdpVflSensitivity.Visit(p, side);
        double mu = GaussianDp.Mu(epsilon, delta);
        double messageMu = Part(mu, share), gradientMu = Part(mu, 1 - share), visits = Math.Sqrt(p.Epochs);
        gradient /= new BatchLayout(p.Rows, p.Batches).SmallestSize;
        double sensitivity = own * visits * (1 + Margin), gradientSensitivity = gradient * visits * (1 + Margin);

        // Rounding: the changed row's entry only, and a mean of b products of length U R C at most, in both tables.
        double entries = visits * Math.Sqrt(p.Outputs), arithmetic = entries * EntryRounding(p);
        double gradientArithmetic = visits * 2 * Unit * p.RowNorm * Math.Max(p.ReceivedBound, p.ResidualBound) * DifferenceRows * (new BatchLayout(p.Rows, p.Batches).LargestSize + 8.0);
        double charged = WithLattice(sensitivity + arithmetic, messageMu, entries);
        double gradientCharged = WithLattice(gradientSensitivity + gradientArithmetic, gradientMu, visits * Math.Sqrt(Coordinates(p)));
        return new()
        {
            Mu = mu,
            Sigma = Math.BitIncrement(sensitivity / messageMu),
            Sensitivity = sensitivity,
            OwnTerm = sensitivity,
            DriftTerm = 0,
            OwnRowSlack = 0,
            LatticeSlack = charged * (entries / INoiseSource.LatticeScale),
            ArithmeticSlack = arithmetic,
            SigmaCharged = charged,
            GradientSigma = Math.BitIncrement(gradientSensitivity / gradientMu),
            GradientSigmaCharged = gradientCharged,
            FinalDrift = 0,
            MessageNoise = new(messageMu, charged, p.Releases, ValueBound(p, side)),
            GradientNoise = new(gradientMu, gradientCharged, p.Releases, p.RowNorm * (side == PartySide.Active ? p.ResidualBound : p.ReceivedBound)),
            ActualDelta = null,
            Releases = p.Releases,
            Warnings = [.. Warnings(p, delta, null), .. LargeEpsilon.Warnings(epsilon, mu)],
        };
    }

    /// <summary>The mu that a share of mu^2 is, rounded down.</summary>
    internal static double Part(double mu, double share) => share == 1 ? mu : mu * Math.Sqrt(share) * (1 - Margin / 10);

    private static double ValueBound(HdpVflParameters p, PartySide side) => side == PartySide.Active ? p.ResidualEntryBound : p.RowNorm * p.WeightNorm;

    /// <summary>Upper bound on the weights of a party: columns times scores a row.</summary>
    private static double Coordinates(HdpVflParameters p) => (double)p.MaxColumns * p.Outputs;

    /// <summary>The sigma that solves sigma = (sensitivity + gamma extent)/mu with gamma = sigma/2^24, rounded up.</summary>
    /// <param name="sensitivity">L2 sensitivity before values are rounded to the lattice.</param>
    /// <param name="mu">What the releases may cost.</param>
    /// <param name="extent">Root of the number of elements that may differ between neighbouring tables, over all releases.</param>
    internal static double WithLattice(double sensitivity, double mu, double extent)
    {
        double lattice = extent / INoiseSource.LatticeScale;
        if (lattice > mu / 2)
            throw PrivacyErrors.Refused(PrivacyErrors.LatticeTooCoarse, "epsilon",
                "the budget is so small for so many rows, columns and epochs that rounding to the noise lattice would cost half of it or more.",
                "Raise epsilon, or use fewer rows, columns or epochs.");
        double charged = sensitivity / (mu - lattice) * (1 + Margin);
        return double.IsFinite(charged) ? charged
            : throw PrivacyErrors.Configuration(PrivacyErrors.BoundOverflow, "epsilon, delta", "the noise is beyond the range of a double.", "Use smaller bounds.");
    }

    /// <summary>mu^2 is above 2 epsilon, and runs and parties add it up: beyond this sums are no number, where no noise was left long before.</summary>
    private const double LargestEpsilon = 1e300;

    /// <summary>Checks a budget.</summary>
    /// <param name="epsilon">Privacy loss in nats. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: NaN, infinite, negative or zero, or delta of 1 or more.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5004: delta is 0.1 or more. FL5007: epsilon is above 1e300, so that noise of any use is out of the question, and sums of costs of a double's range.</exception>
    public static void CheckBudget(double epsilon, double delta)
    {
        if (!double.IsFinite(epsilon) || epsilon <= 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "epsilon", "it is not a finite number above 0.", "Give a finite epsilon above 0.");
        if (!double.IsFinite(delta) || delta <= 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "delta", "it is not a finite number above 0.", "Give a delta above 0 and below 0.1.");
        if (delta >= 0.1)
            throw PrivacyErrors.Refused(PrivacyErrors.DeltaTooLarge, "delta",
                "a delta of 0.1 or more allows one row in ten to be published as it is.", "Give a delta below 1 over the number of rows.");
        if (epsilon > LargestEpsilon)
            throw GaussianMechanism.TooLittleNoise();
    }

    private static void CheckShare(double share, string name)
    {
        if (!(share > 0 && share < 1))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidShare, name, "it is not strictly between 0 and 1.", "Give a part of the budget above 0 and below 1.");
    }

    /// <summary>Bound on how much farther a computed step takes the weights of neighbouring tables apart than an exact one; such drifts add up over T
    /// steps, since no step expands.</summary>
    /// <remarks>u = 2^-53, d columns, b rows in the largest batch, B = max(1, U beta). Over both tables: a mean of b products of length U R C at most
    /// errs by 2u 5 (b + 8) U R C; the residuals in it by <see cref="EntryRounding"/>; the update and the projection by 2u (d + 8) k.</remarks>
    private static double StepRounding(HdpVflParameters p)
    {
        double steepness = Math.Max(1, p.Smoothness);
        return 2 * Unit * (p.StepSize * DifferenceRows * (new BatchLayout(p.Rows, p.Batches).LargestSize + 8.0) * p.RowNorm * Math.Max(p.ReceivedBound, p.ResidualBound) * steepness
            + (Coordinates(p) + 8.0) * p.WeightNorm) + p.StepSize * p.RowNorm * Math.Sqrt(p.Outputs) * EntryRounding(p);
    }

    /// <summary>Bound on the rounding of one message entry over both tables, given the weights as they are.</summary>
    /// <remarks>A score errs by at most 5 (d + 8) u R k. A residual errs by B times that, and by a few u of the numbers it is made of: an unclipped one
    /// has |theta| at most C + k_y or, binomial, a sigmoid of at most 1; its clip only brings values closer. With a log link and any positive label |theta|
    /// reaches 745 + log(1 + C); a family of one's own has |theta| up to what received scores are clipped to. A softmax divides by a sum of M terms, and
    /// moves by 2 for each unit that its scores do. docs/proofs/sensitivity.md, section 7.</remarks>
    private static double EntryRounding(HdpVflParameters p)
    {
        double size = 1 + p.ResidualClip + (p.TargetBound ?? 0) + p.OffsetBound;
        (double steepness, double roundings) = p.Family switch
        {
            GlmFamilyKind.Multinomial => (Math.Max(1, 2 * p.LargestWeight), 8 + 2 * p.Outputs),
            GlmFamilyKind.Gamma or GlmFamilyKind.Tweedie => (Math.Max(1, p.Smoothness), 760),
            GlmFamilyKind.Convex => (Math.Max(1, p.Smoothness), 8 + HdpVflParameters.FarScores),
            _ => (Math.Max(1, p.Smoothness), 8.0),
        };
        double scores = p.RowNorm * p.WeightNorm;
        if (p.Family == GlmFamilyKind.Convex)
            size += scores;
        return 2 * Unit * steepness * (DifferenceRows * (p.MaxColumns + 8.0) * scores + roundings * Math.Max(1, p.LargestWeight) * size);
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
