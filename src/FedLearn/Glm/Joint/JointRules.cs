using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>What the modes he and he+dp admit, and the public numbers of a job that their protocol needs.</summary>
internal static class JointRules
{
    /// <summary>Whether a mode is homomorphic encryption.</summary>
    public static bool Covers(PrivacyMode mode) => mode is PrivacyMode.He or PrivacyMode.HeDp;

    /// <summary>The factor alpha of a party's scores in the residual: 1/4 for Taylor-logistic (Hardy et al. 2017, arXiv 1711.10677), 1 for linear.</summary>
    public static double ScoreFactor(IGlmFamily family) => family.Kind() == GlmFamilyKind.Binomial ? .25 : 1;

    /// <summary>What the active party takes off its share: y - 1/2 for a label of 0 or 1, else y.</summary>
    public static double Target(IGlmFamily family, double label) => family.Kind() == GlmFamilyKind.Binomial ? label - .5 : label;

    /// <summary>Checks the family. Before whatever else a family needs: no key helps one that cannot be encrypted.</summary>
    public static void CheckFamily(IGlmFamily family)
    {
        if (family.Kind() is not (GlmFamilyKind.Binomial or GlmFamilyKind.Gaussian))
            throw Invalid("model.family", "additive encryption needs a residual that is linear in the scores: that of gaussian, and of binomial after Taylor's formula.", "Use one of the two, or another privacy.mode.");
    }

    /// <summary>Checks a job before any data is touched.</summary>
    public static void Check(GlmPlan plan)
    {
        GlmJob job = plan.Job;
        if (plan.Optimizer != GlmOptimizer.Sgd)
            throw Invalid("training.optimizer", "the encrypted protocol takes gradient steps.", "Leave it out or set it to sgd.");
        if (job.Parties.Count < 2)
            throw Invalid("parties", "there is nobody to encrypt for.", "List a passive party, or use privacy.mode none.");
        if (job.Training is { ClassWeights: not null } or { SampleWeightBound: not null })
            throw Invalid("training.classWeights", "a passive party would have to scale its encrypted share by weights that it must not know.", "Leave weights out.");
        if (job.Training.EarlyStopping is not null)
            throw Invalid("training.earlyStopping", "nobody sees the loss under encryption.", "Leave it out: the job trains for a fixed number of epochs.");
        if (job.Training.WarmStart)
            throw Invalid("training.warmStart", "the encrypted modes start from 0.", "Leave it out.");
        if (job.Training.Reshuffle)
            throw Invalid("training.reshuffle", "exact gradients over many different batches tell more of single rows than those over fixed ones.", "Leave it out.");
        if (job.Inference)
            throw Invalid("evaluation.inference", "standard errors need second moments that nobody sees.", "Use mode none, or leave it out.");
        if (job.Parties.Any(p => string.Equals(p.Party.Name, job.Privacy.He.Arbiter, StringComparison.OrdinalIgnoreCase)))
            throw Invalid("privacy.he.arbiter", "the arbiter has the name of a party; whoever holds the key must hold no data.", "Give it another name.");
        if (plan.Mode == PrivacyMode.HeDp)
            CheckNoise(plan);
    }

    /// <summary>Hygiene of exact gradients, checked at each party with its own sizes. It protects nothing by itself: only he+dp bounds what gradients tell.</summary>
    public static void CheckSizes(GlmPlan plan, string party, BatchLayout layout, int columns)
    {
        GlmHeOptions he = plan.Job.Privacy.He;
        if (columns == 0)
            throw Invalid($"party '{party}', features", "the party has no feature, so that it would have nothing to multiply with.", "Give it one, or an intercept.");
        if (plan.Mode != PrivacyMode.He)
            return;
        if ((long)layout.SmallestSize < (long)he.RowsPerColumn * columns)
            throw new PrivacyRefusedException(GlmJointErrors.BatchTooSmall, $"party '{party}', privacy.he.rowsPerColumn",
                $"a batch of {layout.SmallestSize} {Counted.Noun(layout.SmallestSize, "row")} has fewer than {he.RowsPerColumn} rows for each of this party's {columns} {Counted.Noun(columns, "column")}, so that its exact gradients say too much of single rows.",
                "Use larger batches; or he+dp, which bounds what gradients tell; or a smaller rowsPerColumn if you accept that labels can be recovered.");
        if ((long)plan.Epochs * layout.Count > he.MostRounds)
            throw new PrivacyRefusedException(GlmJointErrors.TooManyRounds, "privacy.he.mostRounds",
                $"the job asks for {(long)plan.Epochs * layout.Count} rounds, and each returns exact gradients; the cap is {he.MostRounds}.",
                "Use fewer epochs or larger batches, he+dp, or a larger mostRounds.");
    }

    /// <summary>Public numbers that the noise of he+dp rests on.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="layout">Batches of an epoch.</param>
    /// <param name="columns">Columns of all parties.</param>
    /// <param name="targetBound">k_y; null where the family needs none.</param>
    /// <param name="modulus">Answers are integers below it.</param>
    /// <param name="unit">Integer that a sum of 1 stands for.</param>
    /// <param name="floodBits">Bits of flooding of the scheme.</param>
    /// <param name="sumError">Bound on the error of a sum over so many rows, given bounds on shares and columns; infinity where it may not fit.</param>
    /// <exception cref="PrivacyRefusedException">FL5203: a sum with its noise may not fit into the scheme's integers; or as <see cref="JointGradientCalibration.Calibrate"/>.</exception>
    public static JointGradientCalibration Calibrate(GlmPlan plan, BatchLayout layout, int columns, double? targetBound, System.Numerics.BigInteger modulus,
        System.Numerics.BigInteger unit, int floodBits, Func<int, double, double, double> sumError)
    {
        var parameters = new JointGradientParameters
        {
            Family = plan.Job.Model.Family.Kind()!.Value,
            Parties = plan.Job.Parties.Count,
            WeightNorm = plan.WeightNorm,
            TargetBound = targetBound,
            SmallestBatch = layout.SmallestSize,
            Batches = layout.Count,
            Epochs = plan.Epochs,
            Columns = columns,
            Unit = unit,
            MeanError = 0,
            FloodBits = floodBits,
            Adjacency = plan.Job.Privacy.Adjacency,
        };
        double bound = parameters.ResidualBound;
        double error = Math.Max(sumError(layout.SmallestSize, bound, 1) / layout.SmallestSize, sumError(layout.LargestSize, bound, 1) / layout.LargestSize);
        if (!double.IsFinite(error))
        {
            parameters.Validate();
            throw Refused(JointGradientErrors.NoRoom, "privacy.he", string.Create(System.Globalization.CultureInfo.InvariantCulture,
                $"batches of {layout.LargestSize} rows with residuals of up to {bound:R}, by weight norm and label range, may add up to more than the scheme's integers hold."),
                "Use smaller batches, a smaller training.weightNorm or labelRange (labels in larger units), or a scheme with a larger modulus.");
        }

        PrivacyBudget budget = plan.Job.Privacy.Budget!;
        JointGradientCalibration noise = JointGradientCalibration.Calibrate(parameters with { MeanError = error }, budget.Epsilon, budget.Delta);
        noise.CheckRoom(modulus, layout.SmallestSize);
        noise.CheckRoom(modulus, layout.LargestSize);
        return noise;
    }

    private static void CheckNoise(GlmPlan plan)
    {
        GlmJob job = plan.Job;
        if (job.Training.WeightNorm is null)
            throw Refused(GlmErrors.BoundsMissing, "training.weightNorm", "nothing can be clipped under encryption: residuals are bounded by the weights alone, which need a radius k.", "Set it; 1 is a good start.");
        if (plan.PreprocessingOptions.Rows == RowBound.None)
            throw Refused(GlmErrors.RowsNotBounded, "preprocessing.rows", "the noise is calibrated to rows of bounded length.", "Set preprocessing.rows to clip or normalize.");
        if (plan.PreprocessingOptions.RowNorm > 1)
            throw Refused(GlmErrors.RowsNotBounded, "preprocessing.rowNorm", "the proof of he+dp is for rows of length at most 1.", "Leave it out.");
        if (plan.FreeIntercept)
            throw Refused(GlmJointErrors.OutsideTheProof, "model.intercept", "a free intercept is outside the row bound.", "Write true: in a private mode it is a constant column inside the row bound.");
        if (job.Training.OffsetBound is not null)
            throw Refused(GlmJointErrors.OutsideTheProof, "training.offsetBound", "offsets are outside the bound on residuals.", "Leave offsets out.");
        if (job.Privacy.Unit != PrivacyUnit.Record)
            throw Refused(GlmJointErrors.OutsideTheProof, "privacy.unit", "he+dp protects a person's whole record at all parties.", "Leave unit out.");
        if (job.Privacy.Evaluation == EvaluationDisclosure.Charged)
            throw Refused(GlmJointErrors.OutsideTheProof, "privacy.evaluation", "scores are outside the claim of he+dp.", "Use disclosed or none.");
        if (job.Parties.FirstOrDefault(p => p.Budget is not null) is { } own)
            throw Refused(GlmJointErrors.OutsideTheProof, $"party '{own.Party.Name}', privacy", "one noise protects a person's rows at all parties together, so the job has one budget.", "Leave the party's own epsilon and delta out.");
        PrivacyBudget budget = job.Privacy.Budget
            ?? throw Refused(GlmErrors.BudgetMissing, "privacy", "no epsilon and delta are given.", "Set privacy.epsilon and privacy.delta.");
        HdpVflCalibration.CheckBudget(budget.Epsilon, budget.Delta);
    }

    /// <summary>A refusal of what does not go with encryption.</summary>
    public static ConfigurationException Invalid(string place, string cause, string remedy) => new(GlmJointErrors.NotEncryptable, place, cause, remedy);

    private static PrivacyRefusedException Refused(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);
}
