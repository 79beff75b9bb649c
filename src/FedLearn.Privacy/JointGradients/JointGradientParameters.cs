using System.Numerics;

namespace FedLearn.Privacy;

/// <summary>The public numbers of a job whose gradients are computed under encryption and opened by an arbiter that adds noise.</summary>
/// <remarks>
/// <para>Every party bounds its rows to |x_p| &lt;= 1, constant column included, and after every step projects its weights on |w_p| &lt;= k, locally and in the clear. A
/// row's residual is then an affine function of its scores: binomial (Taylor) r = (1/4) sum_p w_p.x_p - y/2 with y in {-1, 1}, Gaussian r = sum_p w_p.x_p - y with
/// |y| &lt;= k_y. Starting weights touch no private row. Sample weights, offsets and class weights are not covered.</para>
/// <para>The unit is a person: neighbouring data sets differ in that person's rows at all parties, the label included. docs/proofs/he-dp.md.</para>
/// </remarks>
public sealed record JointGradientParameters
{
    /// <summary>Family of the model.</summary>
    /// <value><see cref="GlmFamilyKind.Binomial"/> or <see cref="GlmFamilyKind.Gaussian"/>.</value>
    public required GlmFamilyKind Family { get; init; }

    /// <summary>Parties P that hold features; a party with labels only does not count.</summary>
    /// <value>At least 1.</value>
    public required int Parties { get; init; }

    /// <summary>Radius k of the ball that every party projects its weights on.</summary>
    /// <value>Finite, above 0.</value>
    public required double WeightNorm { get; init; }

    /// <summary>Bound k_y on |y|, declared; labels outside are refused.</summary>
    /// <value>Finite, above 0. Required for Gaussian, ignored for binomial.</value>
    public double? TargetBound { get; init; }

    /// <summary>Planned rows b of the smallest batch. A batch's gradient is divided by its own planned size, never by a count of the data.</summary>
    /// <value>At least 1.</value>
    public required int SmallestBatch { get; init; }

    /// <summary>Batches of an epoch.</summary>
    /// <value>At least 1.</value>
    public required int Batches { get; init; }

    /// <summary>Visits of each row: it is in one batch an epoch, by a public rule.</summary>
    /// <value>At least 1; times the batches at most 2,147,483,647.</value>
    public required int Epochs { get; init; }

    /// <summary>Columns d of all parties together, constants included.</summary>
    /// <value>At least one a party.</value>
    public required int Columns { get; init; }

    /// <summary>Bound on the error of one coordinate of a mean gradient, in units of the gradient: encoding and the scheme's own noise, without flooding, for every
    /// batch size of the job and all rows that the bounds allow.</summary>
    /// <value>Finite, at least 0.</value>
    public required double MeanError { get; init; }

    /// <summary>The opened integer that an inner product sum r x of 1 stands for.</summary>
    /// <value>At least 1.</value>
    public required BigInteger Unit { get; init; }

    /// <summary>Bits F of flooding that hide the scheme's own noise: the answer gets an integer uniform over at least 2^F values.</summary>
    /// <value>0 to 4,096; 0 where opened integers carry no noise of the scheme.</value>
    public required int FloodBits { get; init; }

    /// <summary>What neighbouring data sets are: the person's rows are replaced, or become null rows of contribution 0, at all parties.</summary>
    public Adjacency Adjacency { get; init; } = Adjacency.ReplaceOne;

    /// <summary>Bound C on the residual of a row: binomial P k/4 + 1/2, Gaussian P k + k_y.</summary>
    public double ResidualBound => Constant + Slope;

    /// <summary>alpha: bound on the part of a residual that is the label's.</summary>
    internal double Constant => Family == GlmFamilyKind.Binomial ? 0.5 : TargetBound!.Value;

    /// <summary>beta: bound on the part that is the scores', P k times their factor.</summary>
    internal double Slope => Parties * WeightNorm * (Family == GlmFamilyKind.Binomial ? 0.25 : 1);

    /// <summary>Refuses numbers that the theorem does not cover.</summary>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: a number is NaN, infinite or out of range; FL2302: batches or epochs describe no schedule; FL2303: the bound on
    /// residuals is not between 1e-100 and 1e100.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5200: another family; FL5002: Gaussian without a bound on its labels.</exception>
    public void Validate()
    {
        if (Family is not (GlmFamilyKind.Binomial or GlmFamilyKind.Gaussian))
            throw PrivacyErrors.Refused(JointGradientErrors.FamilyNotCovered, "model.family",
                "encrypted residuals must be affine in the scores, which only the binomial family (by its Taylor expansion) and the Gaussian one offer.",
                "Use one of the two, or another privacy mode.");
        if (Family == GlmFamilyKind.Gaussian && TargetBound is null)
            throw PrivacyErrors.Refused(PrivacyErrors.MissingTargetBound, "targetBound", "a residual is as large as its label may be, and no bound is declared.",
                "Declare TargetBound (data.labelRange in a run file), from knowledge other than the data.");
        Check(Parties >= 1, "parties");
        Check(Columns >= Parties, "columns");
        Check(SmallestBatch >= 1, "smallest batch");
        Check(Unit >= 1, "unit");
        Check(FloodBits is >= 0 and <= Flooding.MostBits, "flood bits");
        PrivacyErrors.CheckPositive(WeightNorm, "weightNorm (A2)");
        if (Family == GlmFamilyKind.Gaussian)
            PrivacyErrors.CheckPositive(TargetBound!.Value, "targetBound");
        PrivacyErrors.CheckNotNegative(MeanError, "error of the scheme");
        if (Epochs < 1 || Batches < 1 || (long)Epochs * Batches > int.MaxValue)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidLayout, "epochs, batches",
                "they are below 1, or over 2,147,483,647 together.", "Give at least 1 of each, and fewer if there are very many.");
        if (!(ResidualBound is >= 1e-100 and <= 1e100))
            throw PrivacyErrors.Configuration(PrivacyErrors.BoundOverflow, "weightNorm, targetBound", "the bound on residuals is not between 1e-100 and 1e100.", "Scale the labels.");
    }

    /// <summary>Refuses a unit that this noise does not protect by itself.</summary>
    /// <param name="unit">The unit asked for.</param>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5205: the label alone.</exception>
    public static void CheckUnit(PrivacyUnit unit)
    {
        if (unit == PrivacyUnit.Label)
            throw PrivacyErrors.Refused(JointGradientErrors.LabelNotOffered, "privacy.unit", "the noise of the arbiter protects a person's rows at all parties together; there is no weaker claim for labels.",
                "Use unit record.");
    }

    private static void Check(bool condition, string place)
    {
        if (!condition)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, place, "it is out of range.", "Give a number within the range that its documentation states.");
    }
}
