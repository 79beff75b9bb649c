namespace FedLearn.Privacy;

/// <summary>Errors of noise on jointly computed gradients (FL5200 to FL5205); each has a page under docs/errors.</summary>
public static class JointGradientErrors
{
    /// <summary>There is no proved bound for the family.</summary>
    public const string FamilyNotCovered = "FL5200";

    /// <summary>The error of the scheme, not a person's row, would decide most of the noise.</summary>
    public const string SchemeTooCoarse = "FL5201";

    /// <summary>The scheme's integers are too small a unit for the noise lattice.</summary>
    public const string UnitTooSmall = "FL5202";

    /// <summary>Sums with their noise do not fit into the scheme's integers.</summary>
    public const string NoRoom = "FL5203";

    /// <summary>More answers, or other ones, were asked for than the noise is calibrated for.</summary>
    public const string AnswersSpent = "FL5204";

    /// <summary>Labels alone cannot be the unit here.</summary>
    public const string LabelNotOffered = "FL5205";
}
