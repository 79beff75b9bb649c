using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>What the modes one-round and label-dp admit, checked before any data is touched.</summary>
internal static class OneRoundRules
{
    private static readonly OneRoundColumn OfOrdinarySize = new(.5, 1, 1, 1);

    public static void Check(GlmPlan plan)
    {
        GlmJob job = plan.Job;
        if (job.Model.Family.Bounds is null)
            throw Refused(GlmErrors.FamilyNotPrivate, "model.family", $"the family '{job.Model.Family.Name}' has no proved sensitivity bounds.",
                "Use a family with bounds, such as binomial or poisson, or privacy.mode none; a family of your own declares them in IGlmFamily.Bounds.");
        if (job.Privacy.Adjacency != Adjacency.ReplaceOne)
            throw Refused(GlmOneRoundErrors.AdjacencyNotProved, "privacy.adjacency", "the claims of this mode are about replacing a row, which is the stronger promise.",
                "Leave adjacency out.");
        bool labelsOnly = plan.Mode == PrivacyMode.LabelDp;
        if (labelsOnly)
            CheckLabelDp(plan);
        else
            CheckOneRound(plan);
        foreach (GlmPartyOptions party in job.Parties)
        {
            PrivacyBudget budget = plan.BudgetOf(party)
                ?? throw Refused(GlmErrors.BudgetMissing, $"party '{party.Party.Name}'", "no epsilon is given.", "Set privacy.epsilon and, in mode one-round, privacy.delta.");
            if (labelsOnly)
                _ = new RandomizedResponse(budget.Epsilon);
            else
                HdpVflCalibration.CheckBudget(budget.Epsilon, budget.Delta);
        }
    }

    /// <summary>The public numbers of a passive party's fit.</summary>
    public static OneRoundParameters Parameters(GlmPlan plan, int rows, int columns, IReadOnlyList<OneRoundColumn> targets) => new()
    {
        Rows = rows,
        Columns = targets,
        RowNorm = plan.PreprocessingOptions.RowNorm,
        ScoreClip = plan.Job.Privacy.OneRound.ScoreClip,
        GradientClip = plan.Job.Privacy.OneRound.GradientClip,
        Alpha = plan.Job.Privacy.OneRound.Alpha,
        MaxColumns = Math.Max(1, columns),
    };

    /// <summary>Bits of a passive party's score at most: how much noise it has follows from the released labels, and is no less than what its own row alone asks for.</summary>
    public static int MostScoreBits(GlmPlan plan, GlmPartyOptions passive)
    {
        PrivacyBudget budget = plan.BudgetOf(passive)!;
        OneRoundParameters parameters = Parameters(plan, 1, 1, [.. Enumerable.Repeat(OfOrdinarySize, plan.Family.Outputs)]);
        double mu = GaussianDp.Mu(budget.Epsilon, budget.Delta);
        return GaussianMechanism.BitsOf(new(mu, parameters.OwnTerm / mu, 1, parameters.ScoreClip), plan.Job.Training.LatticeBits);
    }

    /// <summary>The columns of targets of randomised classes: that of class 1 for one score a row, else one a class.</summary>
    public static OneRoundColumn[] Columns(GlmPlan plan, RandomizedResponse response, ReadOnlySpan<byte> released, int scores)
    {
        double? declared = plan.Job.Privacy.OneRound.LabelRate;
        var columns = new OneRoundColumn[scores];
        for (int m = 0; m < scores; m++)
            columns[m] = OneRoundColumn.OfClass(response, declared ?? OneRoundColumn.ShareOf(response, released, ClassOf(m, scores)));
        return columns;
    }

    /// <summary>The class that a column of targets is about.</summary>
    public static byte ClassOf(int column, int scores) => (byte)(scores == 1 ? 1 : column);

    private static void CheckOneRound(GlmPlan plan)
    {
        if (plan.FreeIntercept)
            throw Refused(GlmOneRoundErrors.FreeIntercept, "model.intercept", "the proof of one-round training needs a penalty on every coordinate, the constant's too.",
                "Write true: in a private mode it is a penalised constant column at every party.");
        if (plan.Job.Privacy.Unit != PrivacyUnit.Record)
            throw Refused(GlmOneRoundErrors.AdjacencyNotProved, "privacy.unit", "one-round training protects whole records.", "Leave unit out; for labels alone use the mode label-dp.");
        if (plan.PreprocessingOptions.Rows == RowBound.None)
            throw Refused(GlmErrors.RowsNotBounded, "preprocessing.rows", "the sensitivity proof needs rows of bounded length (A1).", "Set preprocessing.rows to clip or normalize.");
        if (plan.Job.Model.L1 != 0)
            throw Refused(GlmErrors.L1NotPrivate, "model.l1", "the fits of one-round training are proved for their own quadratic penalty alone.", "Leave l1 out.");
        if (!plan.HasClasses && plan.Family.Link is not ("identity" or "log"))
            throw Refused(GlmErrors.FamilyNotPrivate, "model.family", $"one-round training knows what to do with noisy labels under the links identity and log, not {plan.Family.Link}.",
                "Use hdp-vfl, or another family.");
        // Of labels of ordinary size: bounds that no label can do with are refused before the real ones are charged and sent.
        Parameters(plan, 1, 1, [OfOrdinarySize]).Validate();
        if (plan.Family.Outputs > 1 && plan.Job.Privacy.OneRound.LabelRate is not null)
            throw new ConfigurationException(GlmOneRoundErrors.InvalidSetting, "privacy.oneRound.labelRate", "one rate says nothing of several classes.",
                "Leave the key out: shares are taken from the released labels.");
        if (plan.Job.Privacy.OneRound.LabelRate is { } rate
            && !(plan.HasClasses ? rate is >= .01 and <= .99 : double.IsFinite(rate)))
            throw new ConfigurationException(GlmOneRoundErrors.InvalidSetting, "privacy.oneRound.labelRate", "it is not between 0.01 and 0.99, or not a finite number.",
                "Declare a public rate of the label, or leave the key out.");
        foreach (GlmPartyOptions party in plan.Job.Parties)
            if (!plan.HasClasses && party.LabelRange is { } range && plan.Job.Privacy.OneRound.LabelRate is { } center && !(center >= range.Low && center <= range.High))
                throw new ConfigurationException(GlmOneRoundErrors.InvalidSetting, "privacy.oneRound.labelRate", "it is not within the declared range of the label.",
                    "Declare a public centre within data.labelRange, or leave the key out.");
    }

    private static void CheckLabelDp(GlmPlan plan)
    {
        if (!plan.HasClasses)
            throw Refused(GlmOneRoundErrors.FamilyNotBinary, "model.family", "label-dp jobs train on randomised classes.", "Use the binomial or the multinomial family, or the mode one-round.");
        // The weight of a row would tell its true class.
        if (plan.Job.Training.ClassWeights is not null)
            throw Refused(GlmErrors.ClassWeightsNotPrivate, "training.classWeights", "a class weight tells the true label of its row.", "Leave the key out; sample weights that do not depend on labels may stay.");
        if (plan.Optimizer != GlmOptimizer.Sgd)
            throw new ConfigurationException(GlmOneRoundErrors.InvalidSetting, "training.optimizer", "label-dp trains with sgd.", "Leave training.optimizer out or set it to sgd.");
        if (plan.Job.Privacy.Evaluation == EvaluationDisclosure.Charged)
            throw new ConfigurationException(GlmOneRoundErrors.InvalidSetting, "privacy.evaluation", "label-dp protects no features, so there is nothing to charge for.", "Use disclosed or none.");
        // A debiased label is below 0 or above 1, so the loss falls for ever along some directions.
        if (plan.Job.Model.L2 == 0 && double.IsPositiveInfinity(plan.WeightNorm))
            throw Refused(GlmOneRoundErrors.Unbounded, "model.l2", "the loss of debiased labels can be unbounded below.", "Set model.l2 above 0, or training.weightNorm.");
    }

    private static PrivacyRefusedException Refused(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);
}
