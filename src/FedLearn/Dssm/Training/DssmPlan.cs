using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>A recommendation job with every default filled in and every rule of its claim checked, before any data is touched.</summary>
internal sealed class DssmPlan
{
    private DssmPlan(DssmJob job)
    {
        Job = job;
        ActiveParty = job.Parties.Single(p => p.Party.Role == PartyRole.Active);
        Views = [.. job.Parties.Where(p => p.Party.Role == PartyRole.Passive)];
    }

    public DssmJob Job { get; }

    public DssmPartyOptions ActiveParty { get; }

    /// <summary>The passive parties, in the job's order.</summary>
    public IReadOnlyList<DssmPartyOptions> Views { get; }

    public bool Private => Job.Privacy.IsPrivate;

    public EmbeddingClaim Claim => Job.Privacy.Claim;

    public EmbeddingUnit Unit => Job.Privacy.Unit;

    public bool OneShot => Private && Job.Privacy.Claim == EmbeddingClaim.OneShot;

    /// <summary>Whether parameters of noised parties are updated with noisy sums of clipped gradients only.</summary>
    public bool Full => Private && Job.Privacy.Claim == EmbeddingClaim.Full;

    /// <summary>Whether one gradient goes to all views, so that it is noised once: the vectors are added, and each view applies its own weight.</summary>
    public bool SharedGradient => Job.Model.Fusion == DssmFusion.Sum;

    /// <summary>Whether this party adds noise to what it sends.</summary>
    public bool Noises(PartyRole role) => Job.Privacy.Noise.HasFlag(role == PartyRole.Active ? DssmNoise.Gradients : DssmNoise.Embeddings);

    /// <summary>Whether a view adds noise to the vectors that measure the model.</summary>
    public bool NoisesEvaluation => Noises(PartyRole.Passive) && Job.Privacy.Evaluation == EvaluationDisclosure.Charged;

    public PrivacyBudget? BudgetOf(DssmPartyOptions party) => party.Budget ?? Job.Privacy.Budget;

    /// <summary>Checks a job and fills in its defaults.</summary>
    /// <exception cref="ConfigurationException">FL2316: the job is inconsistent.</exception>
    /// <exception cref="PrivacyRefusedException">FL5143 to FL5155: no claim covers it.</exception>
    public static DssmPlan Create(DssmJob job)
    {
        ArgumentNullException.ThrowIfNull(job);
        CheckNumbers(job);
        var plan = new DssmPlan(job);
        plan.CheckMaskedSum();
        if (plan.Private)
            plan.CheckPrivacy();
        return plan;
    }

    /// <summary>The public numbers that a party's noise rests on.</summary>
    /// <param name="party">A party that noises.</param>
    /// <param name="batches">Batches of an epoch; one-shot: messages.</param>
    /// <param name="isStatic">Whether it is a view without times.</param>
    /// <param name="groups">Claim full: the groups of its trained parameters, from <see cref="ViewGroups"/> or <see cref="ActiveGroups"/>.</param>
    /// <param name="evaluation">A charged evaluation; null: none.</param>
    public EmbeddingParameters Parameters(DssmPartyOptions party, int batches, bool isStatic, IReadOnlyList<GradientGroup>? groups = null, EmbeddingEvaluation? evaluation = null)
    {
        DssmPrivacyOptions privacy = Job.Privacy;
        // Late and concat: every view gets another gradient, and they are clipped together, so that views that collude learn no more.
        int messages = party.Party.Role == PartyRole.Active && !SharedGradient ? Math.Max(1, Views.Count) : 1;
        return new()
        {
            Claim = Claim,
            Clip = privacy.Clip,
            Width = checked(Job.Width * messages),
            Epochs = OneShot ? 1 : Job.Training.Epochs,
            Batches = batches,
            BatchSize = Job.Training.BatchSize,
            MessagesPerBatch = messages,
            IsStatic = isStatic,
            HistoryEvents = privacy.HistoryEvents,
            MaxSamplesPerUser = privacy.MaxSamplesPerUser,
            MessageShare = privacy.MessageShare,
            Gradients = Full ? groups ?? [] : [],
            Evaluation = privacy.Evaluation == EvaluationDisclosure.Charged && party.Party.Role == PartyRole.Passive ? evaluation : null,
        };
    }

    /// <summary>Calibrates the noise of a party for the job's unit.</summary>
    public EmbeddingCalibration Calibrate(DssmPartyOptions party, EmbeddingParameters parameters)
    {
        PrivacyBudget budget = BudgetOf(party)!;
        return EmbeddingCalibration.Calibrate(parameters, Unit, budget.Epsilon, budget.Delta);
    }

    /// <summary>Claim full: the groups of a view, whose trained parameters are those of its tower.</summary>
    public IReadOnlyList<GradientGroup> ViewGroups(int towerParameters) => Full ? [new("tower", Job.Privacy.ParameterClip, towerParameters)] : [];

    /// <summary>Claim full: the groups of the active party. The item tower gets the back-propagated noisy gradient of the item vectors, which is post-processing; everything
    /// else it trains is clipped together for each sample.</summary>
    /// <param name="items">Number of items.</param>
    /// <param name="otherParameters">Numbers of its own view's tower, fusion matrix, view weights and item bias together; 0 for none.</param>
    public IReadOnlyList<GradientGroup> ActiveGroups(int items, int otherParameters) => !Full ? []
        : [new("item vectors", Job.Privacy.ParameterClip, (long)items * Job.Width), .. otherParameters > 0 ? [new("own tower and fusion", Job.Privacy.ParameterClip, otherParameters)] : (IEnumerable<GradientGroup>)[]];

    /// <summary>Refuses a view that the job's unit does not protect; a static one has no times.</summary>
    /// <exception cref="PrivacyRefusedException">FL5143 to FL5145.</exception>
    public void CheckView(DssmPartyOptions party, bool isStatic)
    {
        if (Noises(party.Party.Role))
            Parameters(party, 1, isStatic).CheckUnit(Unit);
    }

    /// <summary>Refuses a tower whose rows depend on each other. A tower of mode none is not looked at.</summary>
    /// <exception cref="PrivacyRefusedException">FL5152.</exception>
    public void CheckTower(string place, ITower tower)
    {
        if (Private && tower.PrivacyFaults() is { Count: > 0 } faults)
            throw Refused(DssmPlanErrors.TowerNotPrivate, place, $"one changed row would change more than its own vector: {string.Join("; ", faults)}.",
                "Leave batch normalisation and every module with memory out of the tower, or use noise none.");
    }

    private void CheckPrivacy()
    {
        (DssmModelOptions model, DssmPrivacyOptions privacy) = (Job.Model, Job.Privacy);
        if (model.Loss is DssmLossKind.InBatch or DssmLossKind.InBatchLogQ)
            throw Refused(DssmPlanErrors.LossNotPrivate, "model.loss", "the positives of a batch would be negatives of its other samples, so that one changed sample changes the gradients of all.",
                "Use sampled negatives or the full softmax.");
        if (model.Loss == DssmLossKind.Sampled && model.NegativeSource != NegativeSource.Uniform)
            throw Refused(DssmPlanErrors.NegativesNotPrivate, "model.negativeSource", "these negatives depend on events, or on parameters before noise.", "Use uniform negatives, which depend on no data.");
        if (SharedGradient && Noises(PartyRole.Active) && model.LearnViewWeights)
            throw Invalid("model.viewWeights", "all views get one noised gradient and apply their own weights to it, and they know no learned ones.",
                "Use fixed weights, another fusion, or privacy.noise embeddings.");
        if (Job.ValidationStop)
            throw Refused(DssmPlanErrors.StoppingNotPrivate, "training.validationStop", "the moment of stopping would depend on messages that no claim pays for.",
                "Leave it out: with noise, training runs its fixed number of epochs.");
        if (OneShot && privacy.Noise != DssmNoise.Embeddings)
            throw Refused(DssmPlanErrors.OneShotReturnsNothing, "privacy.noise", "with claim one-shot views send their vectors once and nothing returns, so that there are no gradients to noise.",
                "Set privacy.noise to embeddings.");
        foreach (DssmPartyOptions party in Job.Parties.Where(p => Noises(p.Party.Role)))
            HdpVflCalibration.CheckBudget(
                (BudgetOf(party) ?? throw Refused(DssmPlanErrors.BudgetMissing, $"party '{party.Party.Name}'", "no epsilon and delta are given.", "Set privacy.epsilon and privacy.delta.")).Epsilon,
                BudgetOf(party)!.Delta);
        if (privacy.Evaluation == EvaluationDisclosure.Charged && !NoisesEvaluation)
            throw Invalid("privacy.evaluation", "views that add no noise have nothing to charge an evaluation to.", "Set it to disclosed or none, or noise the embeddings.");
        // Left for later with claim one-shot for users: a static view sends a user's row once and needs no cap, and whether all views are static shows when the tables are read.
        if (!(OneShot && Unit == EmbeddingUnit.User))
            Parameters(ActiveParty, 1, false).CheckUnit(Unit);
    }

    private void CheckMaskedSum()
    {
        if (!Job.MaskedSum)
            return;
        string? fault = Job.Model.Fusion != DssmFusion.Sum ? "only vectors that are added can be added under masks"
            : Views.Count < 2 ? "with one view the sum would be that view's vector"
            : Job.Model.LearnViewWeights ? "a view applies its own weight, and the active party cannot learn one from a sum"
            : OneShot ? "a vector that is sent once a row is no part of a sum for each sample"
            // How many evaluated rows a user has differs from view to view, and with it the noise.
            : NoisesEvaluation ? "a charged evaluation gives each view noise of its own, on lattices that cannot be added" : null;
        if (fault is not null)
            throw Refused(DssmPlanErrors.NoMaskedSum, "maskedSum", fault + ".", "Leave maskedSum out, or use fusion sum with at least two passive views and fixed view weights.");
        if (Noises(PartyRole.Passive) && Views.Select(BudgetOf).Distinct().Count() > 1)
            throw Refused(DssmPlanErrors.MaskedNoiseDiffers, "maskedSum", "masked integers can be added on one lattice only, and the views' budgets give their noise different ones.",
                "Give all passive views the same budget.");
        // A view weighs its clipped row before it adds noise for rows of at most the clip.
        if (Noises(PartyRole.Passive) && Views.Any(v => Job.Model.ViewWeights.GetValueOrDefault(v.Party.Name, 1) > 1))
            throw Refused(DssmPlanErrors.MaskedNoiseDiffers, "model.viewWeights", "under masks a view adds its noise after its weight, and a weight above 1 would make rows longer than the noise is for.",
                "Divide all view weights by the largest of them.");
    }

    private static void CheckNumbers(DssmJob job)
    {
        Check(!string.IsNullOrWhiteSpace(job.Name), "name", "is empty");
        if (PartyList.FaultOf(job.Parties.Select(p => p.Party)) is { } fault)
            throw Invalid("parties", $"parties {fault}.", "Mend the job.");
        DssmModelOptions m = job.Model;
        Check(Enum.IsDefined(m.Fusion) && Enum.IsDefined(m.Loss) && Enum.IsDefined(m.NegativeSource) && Enum.IsDefined(m.Activation) && Enum.IsDefined(m.Precision), "model", "has an unknown option");
        Check(m.Layers.Count is >= 1 and <= 100 && m.Layers.All(w => w is >= 1 and <= 1_000_000), "model.layers", "are not 1 to 100 widths of 1 to 1,000,000");
        Check(m.Dropout is >= 0 and < 1, "model.dropout", "is not at least 0 and below 1");
        Check(IsPositive(m.Gamma), "model.gamma", "is not a finite number above 0");
        Check(m.Negatives is >= 1 and <= 1_000_000, "model.negatives", "are not 1 to 1,000,000");
        Check(m.ViewDropout is >= 0 and < 1, "model.viewDropout", "is not at least 0 and below 1");
        Check(m.ViewWeights.Values.All(DssmLoss.IsViewWeight), "model.viewWeights", "are not between 1e-100 and 1e100");
        Check(m.ViewWeights.Keys.All(name => job.Parties.Any(p => p.Party.Name == name)), "model.viewWeights", "name a party that is none of the job");
        Check(m.ViewWeights.Keys.All(name => job.LabelHasView || job.Parties.Any(p => p.Party.Name == name && p.Party.Role == PartyRole.Passive)), "model.viewWeights", "name a party without a view");
        Check(!m.LearnViewWeights || m.ViewWeights.Count == 0, "model.viewWeights", "are both given and to be learned");
        DssmTrainingOptions t = job.Training;
        Check(t.Epochs is >= 1 and <= 1_000_000, "training.epochs", "is not between 1 and 1,000,000");
        Check(t.BatchSize is >= 1 and <= 10_000_000, "training.batchSize", "is not between 1 and 10,000,000");
        Check(t.Patience >= 1, "training.patience", "is below 1");
        Check(t.CheckpointRounds is >= 0 and <= 1_000_000, "training.checkpointRounds", "is not between 0 and 1,000,000");
        Check(Enum.IsDefined(t.Optimizer.Kind) && IsPositive(t.Optimizer.Rate), "training.optimizer", "is unknown, or its rate is not a finite number above 0");
        Check(double.IsFinite(t.Optimizer.WeightDecay) && t.Optimizer.WeightDecay >= 0, "training.weightDecay", "is not a finite number of at least 0");
        DssmPrivacyOptions p = job.Privacy;
        Check((p.Noise & ~DssmNoise.Both) == 0 && Enum.IsDefined(p.Claim) && Enum.IsDefined(p.Unit) && Enum.IsDefined(p.Evaluation) && Enum.IsDefined(job.SampleTime), "privacy", "has an unknown option");
        Check(p.Clip is >= 1e-100 and <= 1e100, "privacy.clip", "is not between 1e-100 and 1e100");
        Check(p.ParameterClip is >= 1e-100 and <= 1e100, "privacy.parameterClip", "is not between 1e-100 and 1e100");
        Check(p.MessageShare is > 0 and < 1, "privacy.messageShare", "is not between 0 and 1");
        Check(p.HistoryEvents is null or >= 0, "privacy.historyEvents", "is below 0");
        Check(p.MaxSamplesPerUser is null or >= 1, "privacy.maxSamplesPerUser", "is below 1");
    }

    private static bool IsPositive(double value) => double.IsFinite(value) && value > 0;

    private static void Check(bool condition, string key, string fault)
    {
        if (!condition)
            throw Invalid(key, $"{key} {fault}.", "Mend the job.");
    }

    private static ConfigurationException Invalid(string place, string cause, string remedy) => new(DssmPlanErrors.InvalidJob, place, cause, remedy);

    private static PrivacyRefusedException Refused(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);
}
