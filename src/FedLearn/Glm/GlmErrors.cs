namespace FedLearn.Glm;

/// <summary>Errors of GLM jobs; each has a page under docs/errors.</summary>
public static class GlmErrors
{
    /// <summary>A job in code is inconsistent.</summary>
    public const string InvalidJob = "FL2400";

    /// <summary>A model file cannot be read.</summary>
    public const string BadModelFile = "FL2401";

    /// <summary>A model file belongs to another job or party than asked for.</summary>
    public const string OtherModel = "FL2402";

    /// <summary>A label is outside the domain of the family.</summary>
    public const string IllegalLabel = "FL3100";

    /// <summary>A label is outside the declared range.</summary>
    public const string LabelOutsideRange = "FL3101";

    /// <summary>The parties have no common rows.</summary>
    public const string NoCommonRows = "FL3102";

    /// <summary>No common row is a training row, or there are fewer than batches.</summary>
    public const string TooFewTrainingRows = "FL3103";

    /// <summary>Private training needs bounded rows (A1).</summary>
    public const string RowsNotBounded = "FL5100";

    /// <summary>Private training needs declared ranges, or a conditional claim asked for aloud.</summary>
    public const string RangesNotDeclared = "FL5101";

    /// <summary>The optimiser breaks the sensitivity proof (A8).</summary>
    public const string OptimizerNotPrivate = "FL5102";

    /// <summary>The family has no proved bounds.</summary>
    public const string FamilyNotPrivate = "FL5103";

    /// <summary>Private training needs a projection radius and a residual clip (A2, A5).</summary>
    public const string BoundsMissing = "FL5104";

    /// <summary>Private training needs a budget.</summary>
    public const string BudgetMissing = "FL5105";

    /// <summary>Private training of this family needs a declared label range.</summary>
    public const string LabelRangeMissing = "FL5107";

    /// <summary>Training produced a NaN or an infinity.</summary>
    public const string Diverged = "FL6100";

    /// <summary>A row is longer than the privacy claim assumes.</summary>
    public const string RowTooLong = "FL6101";
}
