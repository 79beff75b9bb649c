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

    /// <summary>Folds or candidates make no cross-validation.</summary>
    public const string InvalidTuning = "FL2410";

    /// <summary>The figure that candidates are compared by is not known or not defined.</summary>
    public const string MetricUndefined = "FL2411";

    /// <summary>What a party brings has changed since its run was cut off, so that it cannot go on.</summary>
    public const string RunChanged = "FL2542";

    /// <summary>The ledger does not hold the messages of a run that was cut off, or keeps too few of them for its checkpoints.</summary>
    public const string MessagesNotKept = "FL2543";

    /// <summary>A label is outside the domain of the family.</summary>
    public const string IllegalLabel = "FL3100";

    /// <summary>A label is outside the declared range.</summary>
    public const string LabelOutsideRange = "FL3101";

    /// <summary>The parties have no common rows.</summary>
    public const string NoCommonRows = "FL3102";

    /// <summary>No common row is a training row, or there are fewer than batches.</summary>
    public const string TooFewTrainingRows = "FL3103";

    /// <summary>An offset is beyond its declared bound.</summary>
    public const string OffsetOutsideBound = "FL3104";

    /// <summary>Sample weights of the training rows are all 0.</summary>
    public const string NoWeight = "FL3105";

    /// <summary>A model was trained with offsets, and the rows to score have none.</summary>
    public const string OffsetMissing = "FL3106";

    /// <summary>Columns are linearly dependent, so that standard errors are not defined.</summary>
    public const string DependentColumns = "FL3107";

    /// <summary>The parties have more columns together than Newton's method or standard errors can take.</summary>
    public const string TooManyColumns = "FL3109";

    /// <summary>Early stopping has no rows held out, or none left to train on.</summary>
    public const string NothingHeldOut = "FL3108";

    /// <summary>A fold of a cross-validation has no rows.</summary>
    public const string EmptyFold = "FL3110";

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

    /// <summary>The number of classes must be declared in a private mode.</summary>
    public const string ClassesNotDeclared = "FL5110";

    /// <summary>Class weights would depend on labels in a way that no claim covers.</summary>
    public const string ClassWeightsNotPrivate = "FL5111";

    /// <summary>Sample weights need a declared bound in mode hdp-vfl.</summary>
    public const string WeightBoundMissing = "FL5112";

    /// <summary>Offsets need a declared bound in mode hdp-vfl.</summary>
    public const string OffsetBoundMissing = "FL5113";

    /// <summary>An L1 penalty is outside the proof of one-round training.</summary>
    public const string L1NotPrivate = "FL5114";

    /// <summary>Early stopping depends on private rows.</summary>
    public const string EarlyStoppingNotPrivate = "FL5115";

    /// <summary>A warm start depends on private rows.</summary>
    public const string WarmStartNotPrivate = "FL5116";

    /// <summary>Standard errors depend on private rows.</summary>
    public const string InferenceNotPrivate = "FL5117";

    /// <summary>A cross-validation would disclose scores of rows that a charged evaluation promises to cover.</summary>
    public const string FoldNotCovered = "FL5118";

    /// <summary>The job lets no score of a passive party leave it, so that nothing can be predicted with its model.</summary>
    public const string NoScoresLeave = "FL5120";

    /// <summary>Training produced a NaN or an infinity.</summary>
    public const string Diverged = "FL6100";

    /// <summary>A row is longer than the privacy claim assumes.</summary>
    public const string RowTooLong = "FL6101";
}
