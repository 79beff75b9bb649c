using System.Globalization;
using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>The public numbers of an HDP-VFL job on which its sensitivities rest.</summary>
/// <remarks>The bounds hold for projected gradient descent without momentum from starting weights of 0 (A2), over batches of the sizes of
/// <see cref="BatchLayout"/> (A3), each gradient divided by the planned batch size (A4), received residuals clipped by their receiver (A5).
/// docs/proofs/sensitivity.md lists all assumptions, A1 to A8, and where each is enforced.</remarks>
public sealed record HdpVflParameters
{
    /// <summary>Family of the model.</summary>
    public required GlmFamilyKind Family { get; init; }

    /// <summary>Training rows n common to all parties.</summary>
    /// <value>At least 1.</value>
    public required int Rows { get; init; }

    /// <summary>Batches an epoch, r.</summary>
    /// <value>1 to <see cref="Rows"/>.</value>
    public required int Batches { get; init; }

    /// <summary>Passes over the rows, e; each party sends T = e r messages.</summary>
    /// <value>At least 1, and T at most 2,147,483,647.</value>
    public required int Epochs { get; init; }

    /// <summary>Step size eta.</summary>
    /// <value>Finite, above 0, and at most 2/(lambda + U beta R^2), but for the weight-noise calibration, which has no such condition.</value>
    public required double StepSize { get; init; }

    /// <summary>Penalty lambda of (lambda/2)|w|^2, on every coordinate.</summary>
    /// <value>Finite, at least 0.</value>
    public required double L2 { get; init; }

    /// <summary>Radius k of the ball that every party projects its weights on.</summary>
    /// <value>Finite, above 0.</value>
    public required double WeightNorm { get; init; }

    /// <summary>Bound C on a residual before its sample weight: the active party clips before use and noise, every receiver clips what it
    /// receives to U C.</summary>
    /// <value>Finite, above 0.</value>
    public required double ResidualClip { get; init; }

    /// <summary>Bound k_y on |y|, declared, not taken from the data; labels outside are refused. Poisson labels are also at least 0.</summary>
    /// <value>Finite, above 0. Required for Gaussian, Poisson and Tweedie; the paper's binomial takes 1 when it is null, the tight one ignores it.</value>
    public double? TargetBound { get; init; }

    /// <summary>Family <see cref="GlmFamilyKind.Convex"/> only: Lipschitz constant in the linear predictor of the residual clipped to C, for every legal
    /// label, before sample weights.</summary>
    /// <value>Finite, above 0.</value>
    public double? Lipschitz { get; init; }

    /// <summary>Scores a row has, M: 1, or the number of classes of a multinomial model. C and k bound L2 norms over all of them.</summary>
    /// <value>At least 1; at least 2 for multinomial. Default 1.</value>
    public int Outputs { get; init; } = 1;

    /// <summary>Bound O on |offset| at the active party, declared; offsets outside are refused.</summary>
    /// <value>Finite, at least 0. Default 0: no offsets.</value>
    public double OffsetBound { get; init; }

    /// <summary>Bound U on the sample weights u of the active party, 0 &lt;= u &lt;= U, declared. A row's weight is part of its record. The active
    /// party sends u clip(r, C).</summary>
    /// <value>Finite, above 0. Null, the default: no weights, u = 1 in every table. Weights in [0, 1] are a bound of 1, not null.</value>
    public double? WeightBound { get; init; }

    /// <summary>Bound R on the length of a row at each party, constant column included.</summary>
    /// <value>Finite, above 0. Default 1, the only value that the paper's formulas cover.</value>
    public double RowNorm { get; init; } = 1;

    /// <summary>What two neighbouring tables are.</summary>
    public Adjacency Adjacency { get; init; } = Adjacency.ReplaceOne;

    /// <summary>What of a row may differ. <see cref="PrivacyUnit.Label"/> goes with <see cref="Adjacency.ReplaceOne"/> only.</summary>
    public PrivacyUnit Unit { get; init; } = PrivacyUnit.Record;

    /// <summary>Whether the batches are the same in every epoch.</summary>
    public BatchSchedule Schedule { get; init; } = BatchSchedule.Fixed;

    /// <summary>Whether the active party has an intercept outside the penalty. The step then contracts nothing: factor max(1, .).</summary>
    public bool FreeIntercept { get; init; }

    /// <summary>Upper bound on the columns of a party, every constant included. Enters only the allowances for rounding: of sums, and of vectors
    /// of one element a column to the noise lattice.</summary>
    /// <value>At least 1. Default 65,536.</value>
    public int MaxColumns { get; init; } = 1 << 16;

    /// <summary>Messages of one party, T = e r.</summary>
    public int Releases => checked(Epochs * Batches);

    /// <summary>U: 1 without sample weights.</summary>
    internal double LargestWeight => WeightBound ?? 1;

    /// <summary>Lipschitz constant of the clipped residual in the linear predictor, U beta.</summary>
    /// <remarks>beta, proved in docs/proofs/sensitivity.md section 1: Gaussian 1, binomial 1/4, multinomial 1/2; Poisson C + k_y, since the residual
    /// moves only while e^theta is below C + y; Gamma 1 + C; Tweedie C + max(1, k_y).</remarks>
    internal double Smoothness => LargestWeight * (Beta.Clip + Beta.Other);

    /// <summary>The same without rounding: with a step of nearly 2/(U beta R^2) its error is one of the contraction factor, and counts once a step.</summary>
    internal DoubleDouble ExactSmoothness => LargestWeight * DoubleDouble.Sum(Beta.Clip, Beta.Other);

    /// <summary>beta, what residualClip adds to it and what else it is.</summary>
    private (double Clip, double Other) Beta => Family switch
    {
        GlmFamilyKind.Gaussian => (0, 1),
        GlmFamilyKind.Binomial => (0, 0.25),
        GlmFamilyKind.Multinomial => (0, 0.5),
        GlmFamilyKind.Gamma => (ResidualClip, 1),
        GlmFamilyKind.Tweedie => (ResidualClip, Math.Max(1, TargetBound!.Value)),
        GlmFamilyKind.Convex => (0, Lipschitz!.Value),
        _ => (ResidualClip, TargetBound!.Value),
    };

    /// <summary>What <see cref="Smoothness"/> is made of, in the words of settings.</summary>
    private string SmoothnessSource => FormattableString.Invariant($"{Smoothness:G6} is ") + Family switch
    {
        GlmFamilyKind.Gaussian or GlmFamilyKind.Binomial or GlmFamilyKind.Multinomial => $"that of the {Family} family",
        GlmFamilyKind.Convex => "the family's Lipschitz constant",
        GlmFamilyKind.Gamma => "1 + residualClip",
        GlmFamilyKind.Tweedie => "residualClip plus the label's bound (at least 1)",
        _ => "residualClip plus the label's bound",
    } + (WeightBound is null ? "." : ", times sampleWeightBound.");

    /// <summary>Which of its parts a user may lower.</summary>
    private string SmoothnessRemedy => (Family is GlmFamilyKind.Gamma or GlmFamilyKind.Poisson or GlmFamilyKind.Tweedie ? ", or residualClip" : "")
        + (Family is GlmFamilyKind.Poisson or GlmFamilyKind.Tweedie ? ", or the end of labelRange" : "") + (WeightBound > 1 ? ", or sampleWeightBound" : "") + (RowNorm > 1 ? ", or rowNorm" : "");

    /// <summary>Bound on the length of a clipped and weighted residual of the active party itself: U C, for binomial U min(C, 1), for multinomial U sqrt 2,
    /// since |p - e_y| is at most that and nothing is clipped.</summary>
    internal double ResidualBound => LargestWeight * Family switch
    {
        GlmFamilyKind.Binomial => Math.Min(ResidualClip, 1),
        GlmFamilyKind.Multinomial => Math.BitIncrement(Math.Sqrt(2)),
        _ => ResidualClip,
    };

    /// <summary>Bound on one entry of it.</summary>
    internal double ResidualEntryBound => Family == GlmFamilyKind.Multinomial ? LargestWeight : ResidualBound;

    /// <summary>Whether the bounds need a declared bound on the label.</summary>
    internal static bool NeedsTarget(GlmFamilyKind family) => family is GlmFamilyKind.Gaussian or GlmFamilyKind.Poisson or GlmFamilyKind.Tweedie;

    /// <summary>Bound on a residual after the receiver's clip, U C.</summary>
    internal double ReceivedBound => LargestWeight * ResidualClip;

    /// <summary>Bound that the active party clips the sum of received scores to before it adds its own: 65,536 (1 + C + k_y + O + R k) for
    /// <see cref="GlmFamilyKind.Convex"/> and multinomial, whose residuals may be steep far from 0, where a sum is rounded coarsely; else infinite.</summary>
    public double ReceivedScoreBound => Family is GlmFamilyKind.Convex or GlmFamilyKind.Multinomial
        ? FarScores * (1 + ResidualClip + (TargetBound ?? 0) + OffsetBound + RowNorm * WeightNorm) : double.PositiveInfinity;

    /// <summary>How far from 0, in units of all other bounds together, received scores may be: far beyond any that noise would not drown.</summary>
    internal const double FarScores = 1 << 16;

    /// <summary>kappa: by how many row bounds a row's contribution may move.</summary>
    internal int Kappa => Adjacency == Adjacency.ReplaceOne ? 2 : 1;

    /// <summary>Checks that the numbers are legal and that the sensitivity theorems cover them.</summary>
    /// <param name="calibration">Which theorems.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: a number is NaN, infinite or out of range; FL2302: no schedule.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5000: step size above 2/(lambda + U beta R^2); FL5001: |1 - eta lambda| above 1;
    /// FL5002: no target bound for Gaussian, Poisson or Tweedie; FL5003: the paper's formulas with a row norm other than 1; FL5014: unit label with zero-out;
    /// FL5015: the paper's formulas outside their setting. FL5000 and FL5001 do not apply to weight noise.</exception>
    public void Validate(Calibration calibration)
    {
        _ = new BatchLayout(Rows, Batches);
        if (Epochs < 1 || (long)Epochs * Batches > int.MaxValue)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidLayout, "epochs",
                "epochs times batches is not between 1 and 2,147,483,647.", "Give at least 1 epoch, and fewer epochs or batches if there are very many.");
        PrivacyErrors.CheckPositive(StepSize, "stepSize");
        PrivacyErrors.CheckNotNegative(L2, "l2");
        PrivacyErrors.CheckPositive(WeightNorm, "weightNorm (A2)");
        PrivacyErrors.CheckPositive(ResidualClip, "residualClip (A5)");
        PrivacyErrors.CheckPositive(RowNorm, "rowNorm (A1)");
        PrivacyErrors.CheckPositive(MaxColumns, "maxColumns");
        PrivacyErrors.CheckNotNegative(OffsetBound, "offset bound");
        if (TargetBound is { } bound)
            PrivacyErrors.CheckPositive(bound, "target bound");
        if (WeightBound is { } weight)
            PrivacyErrors.CheckPositive(weight, "weight bound");
        if (!Enum.IsDefined(Family) || !Enum.IsDefined(Adjacency) || !Enum.IsDefined(Unit) || !Enum.IsDefined(Schedule) || !Enum.IsDefined(calibration))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "family, adjacency, unit, schedule or calibration",
                "it has no name.", "Use one of the named values.");

        PrivacyErrors.CheckPositive(Outputs, "outputs");
        if (Family == GlmFamilyKind.Convex)
            PrivacyErrors.CheckPositive(Lipschitz ?? double.NaN, "Lipschitz constant of the family");
        if (Outputs > 1 != (Family == GlmFamilyKind.Multinomial))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "outputs", "a multinomial model has one score a class, at least 2, and every other model one.",
                "Declare the number of classes, or another family.");
        if (Outputs > 1 && OffsetBound != 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "offset bound", "an offset is the same for every class and changes nothing.", "Leave it out.");

        if (TargetBound is null && NeedsTarget(Family))
            throw PrivacyErrors.Refused(PrivacyErrors.MissingTargetBound, "target bound",
                $"the sensitivity of the {Family} family needs a declared bound on the label.",
                "Declare the range of the label; it must not be taken from the data.");
        if (Unit == PrivacyUnit.Label && Adjacency != Adjacency.ReplaceOne)
            throw PrivacyErrors.Refused(PrivacyErrors.NoNullLabel, "unit",
                "a label cannot be zeroed out: a row without its label still has features that would move.",
                "Use replace-one with unit label, or zero-out with unit record.");
        if (calibration == Calibration.Paper)
            CheckPaper();
        if (calibration != Calibration.WeightNoise)
            CheckStep();
    }

    private void CheckPaper()
    {
        if (RowNorm != 1)
            throw PrivacyErrors.Refused(PrivacyErrors.PaperRowNorm, "rowNorm",
                "the published formulas hold for rows of norm 1 only (A1).", "Set rowNorm to 1, or use the tight calibration.");
        if (Family > GlmFamilyKind.Poisson)
            throw PrivacyErrors.Refused(PrivacyErrors.PaperSetting, "calibration paper", "the published formulas are for the gaussian, binomial and poisson families.",
                "Use the tight or the weight-noise calibration.");
        if (Adjacency != Adjacency.ReplaceOne || Unit != PrivacyUnit.Record || Schedule != BatchSchedule.Fixed || WeightBound is not null || OffsetBound != 0)
            throw PrivacyErrors.Refused(PrivacyErrors.PaperSetting, "calibration paper",
                "the published formulas are for replaced records, a fixed partition, and neither offsets nor sample weights.",
                "Use the tight or the weight-noise calibration.");
    }

    // Projected gradient steps: affine with factor |1 - eta lambda| at a passive party; at the active one the objective is convex and
    // (lambda + U beta R^2)-smooth, so a step of at most 2 over that is non-expansive (Hardt, Recht and Singer, arXiv 1509.01240, lemma 3.7).
    private void CheckStep()
    {
        if (StepSize * L2 > 2)
            throw PrivacyErrors.Refused(PrivacyErrors.PenaltyTooLarge, "stepSize",
                "stepSize times l2 is above 2, so that the weights of two neighbouring tables drift apart without bound.",
                "Lower stepSize or l2 until their product is at most 2.");
        double largest = 2 / (L2 + Smoothness * RowNorm * RowNorm);
        if (StepSize > largest)
        {
            // Six digits, rounded down: the step that the remedy names must pass.
            double unit = Math.Pow(10, Math.Floor(Math.Log10(largest)) - 5);
            string allowed = (Math.Floor(largest / unit) * unit).ToString("G6", CultureInfo.InvariantCulture);
            throw PrivacyErrors.Refused(PrivacyErrors.StepTooLarge, "stepSize",
                FormattableString.Invariant($"it is {StepSize}, and above 2 / (l2 + {Smoothness:G6} rowNorm^2) = {allowed} a step of the active party can push neighbouring weights apart, and no bound is proved. {SmoothnessSource}"),
                $"Lower stepSize to {allowed} or below{SmoothnessRemedy}, or use the weight-noise calibration, which has no such condition.");
        }
    }
}
