namespace FedLearn.Privacy;

/// <summary>The public numbers of an HDP-VFL job on which its sensitivities rest.</summary>
/// <remarks>The bounds hold for projected gradient descent without momentum from starting weights of 0, over the fixed partition of
/// <see cref="BatchLayout"/>, each gradient divided by the planned batch size, received residuals clipped by their receiver.</remarks>
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
    /// <value>Finite, above 0, and at most 2/(lambda + beta R^2).</value>
    public required double StepSize { get; init; }

    /// <summary>Penalty lambda of (lambda/2)|w|^2, on every coordinate.</summary>
    /// <value>Finite, at least 0.</value>
    public required double L2 { get; init; }

    /// <summary>Radius k of the ball that every party projects its weights on.</summary>
    /// <value>Finite, above 0.</value>
    public required double WeightNorm { get; init; }

    /// <summary>Bound C on a residual: the active party clips before use and noise, every receiver clips what it receives.</summary>
    /// <value>Finite, above 0.</value>
    public required double ResidualClip { get; init; }

    /// <summary>Bound k_y on |y|, declared, not taken from the data; labels outside are refused. Poisson labels are also at least 0.</summary>
    /// <value>Finite, above 0. Required for Gaussian and Poisson; the paper's binomial takes 1 when it is null, the tight one ignores it.</value>
    public double? TargetBound { get; init; }

    /// <summary>Bound R on the length of a row at each party, constant column included.</summary>
    /// <value>Finite, above 0. Default 1, the only value that the paper's formulas cover.</value>
    public double RowNorm { get; init; } = 1;

    /// <summary>What two neighbouring tables are.</summary>
    public Adjacency Adjacency { get; init; } = Adjacency.ReplaceOne;

    /// <summary>Whether the active party has an intercept outside the penalty. The step then contracts nothing: factor max(1, .).</summary>
    public bool FreeIntercept { get; init; }

    /// <summary>Upper bound on the columns of a party. Enters only the allowance for rounding, <see cref="PartyCalibration.ArithmeticSlack"/>.</summary>
    /// <value>At least 1. Default 65,536.</value>
    public int MaxColumns { get; init; } = 1 << 16;

    /// <summary>Messages of one party, T = e r.</summary>
    public int Releases => checked(Epochs * Batches);

    /// <summary>Lipschitz constant beta of the clipped residual in the linear predictor.</summary>
    /// <remarks>Gaussian 1, binomial 1/4; Poisson C + k_y, since the residual moves only while e^theta is below C + y.</remarks>
    internal double Smoothness => Family switch
    {
        GlmFamilyKind.Gaussian => 1,
        GlmFamilyKind.Binomial => 0.25,
        _ => ResidualClip + TargetBound!.Value,
    };

    /// <summary>Checks that the numbers are legal and that the sensitivity theorems cover them.</summary>
    /// <param name="calibration">Which theorems.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: a number is NaN, infinite or out of range; FL2302: no schedule.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5000: step size above 2/(lambda + beta R^2); FL5001: |1 - eta lambda| above 1;
    /// FL5002: no target bound for Gaussian or Poisson; FL5003: the paper's formulas with a row norm other than 1.</exception>
    public void Validate(Calibration calibration)
    {
        _ = new BatchLayout(Rows, Batches);
        if (Epochs < 1 || (long)Epochs * Batches > int.MaxValue)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidLayout, "epochs",
                "epochs times batches is not between 1 and 2,147,483,647.", "Give at least 1 epoch, and fewer epochs or batches if there are very many.");
        PrivacyErrors.CheckPositive(StepSize, "stepSize");
        PrivacyErrors.CheckNotNegative(L2, "l2");
        PrivacyErrors.CheckPositive(WeightNorm, "weightNorm");
        PrivacyErrors.CheckPositive(ResidualClip, "residualClip");
        PrivacyErrors.CheckPositive(RowNorm, "rowNorm");
        PrivacyErrors.CheckPositive(MaxColumns, "maxColumns");
        if (TargetBound is { } bound)
            PrivacyErrors.CheckPositive(bound, "target bound");
        if (!Enum.IsDefined(Family) || !Enum.IsDefined(Adjacency) || !Enum.IsDefined(calibration))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "family, adjacency or calibration",
                "it has no name.", "Use one of the named values.");

        if (TargetBound is null && Family != GlmFamilyKind.Binomial)
            throw PrivacyErrors.Refused(PrivacyErrors.MissingTargetBound, "target bound",
                $"the sensitivity of the {Family} family needs a declared bound on the label.",
                "Declare the range of the label; it must not be taken from the data.");
        if (calibration == Calibration.Paper && RowNorm != 1)
            throw PrivacyErrors.Refused(PrivacyErrors.PaperRowNorm, "rowNorm",
                "the published formulas hold for rows of norm 1 only.", "Set rowNorm to 1, or use the tight calibration.");

        // Projected gradient steps: affine with factor |1 - eta lambda| at a passive party; at the active one the objective is convex and
        // (lambda + beta R^2)-smooth, so a step of at most 2 over that is non-expansive (Hardt, Recht and Singer, arXiv 1509.01240, lemma 3.7).
        if (StepSize * L2 > 2)
            throw PrivacyErrors.Refused(PrivacyErrors.PenaltyTooLarge, "stepSize",
                "stepSize times l2 is above 2, so that the weights of two neighbouring tables drift apart without bound.",
                "Lower stepSize or l2 until their product is at most 2.");
        double largest = 2 / (L2 + Smoothness * RowNorm * RowNorm);
        if (StepSize > largest)
            throw PrivacyErrors.Refused(PrivacyErrors.StepTooLarge, "stepSize",
                FormattableString.Invariant($"above {largest:G6} a step of the active party can push neighbouring weights apart, and no bound is proved."),
                "Lower stepSize to that value or below.");
    }
}
