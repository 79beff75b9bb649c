namespace FedLearn.Dssm;

/// <summary>Errors of recommendation jobs, found before any data is touched (FL2316, FL5147 to FL5155); each has a page under docs/errors.</summary>
public static class DssmPlanErrors
{
    /// <summary>A recommendation job is inconsistent.</summary>
    public const string InvalidJob = "FL2316";

    /// <summary>The loss compares a sample with other samples.</summary>
    public const string LossNotPrivate = "FL5147";

    /// <summary>Negatives depend on data.</summary>
    public const string NegativesNotPrivate = "FL5148";

    /// <summary>The moment of stopping depends on private rows.</summary>
    public const string StoppingNotPrivate = "FL5149";

    /// <summary>A party that noises has no budget.</summary>
    public const string BudgetMissing = "FL5151";

    /// <summary>Rows of a tower depend on each other or on a buffer.</summary>
    public const string TowerNotPrivate = "FL5152";

    /// <summary>With claim one-shot nothing returns that noise could be on.</summary>
    public const string OneShotReturnsNothing = "FL5153";

    /// <summary>The vectors of these views cannot be added under masks.</summary>
    public const string NoMaskedSum = "FL5154";

    /// <summary>Views whose vectors are added under masks have different noise, or rows longer than it is for.</summary>
    public const string MaskedNoiseDiffers = "FL5155";
}
