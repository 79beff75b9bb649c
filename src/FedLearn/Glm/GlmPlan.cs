using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>A job with every default filled in and every rule of its privacy mode checked, before any data is touched.</summary>
internal sealed class GlmPlan
{
    private GlmPlan(GlmJob job)
    {
        Job = job;
        Private = IsPrivate(job.Privacy.Mode);
        Optimizer = OptimizerOf(job);
        Epochs = EpochsOf(job);
        PreprocessingOptions = PreprocessingOf(job);
        Constant = ConstantOf(job);
        FreeIntercept = FreeInterceptOf(job);
        StepSize = StepSizeOf(job);
        bool sgd = Optimizer == GlmOptimizer.Sgd;
        WeightNorm = sgd ? job.Training.WeightNorm ?? double.PositiveInfinity : double.PositiveInfinity;
        ResidualClip = sgd ? job.Training.ResidualClip ?? double.PositiveInfinity : double.PositiveInfinity;
        // The published Poisson constants hold for linear predictors within 2k of 0 (HDP-VFL's exponential family with a bounded parameter).
        ScoreClip = Private && job.Privacy.Calibration == Calibration.Paper && job.Model.Family.Kind() == GlmFamilyKind.Poisson
            ? 2 * WeightNorm : double.PositiveInfinity;
        Family = Mode != PrivacyMode.LabelDp ? job.Model.Family : DebiasedFamily.Of(job);
    }

    public GlmJob Job { get; }

    /// <summary>Whether something of what the parties send or learn is claimed to be private.</summary>
    public bool Private { get; }

    /// <summary>Whether a mode claims anything: encryption alone bounds nothing of what gradients tell.</summary>
    public static bool IsPrivate(PrivacyMode mode) => mode is not (PrivacyMode.None or PrivacyMode.He);

    public GlmOptimizer Optimizer { get; }

    public int Epochs { get; }

    public double StepSize { get; }

    public PreprocessingOptions PreprocessingOptions { get; }

    public bool Constant { get; }

    public bool FreeIntercept { get; }

    /// <summary>Whether fits that the active party makes for itself, of which nothing leaves, have a free intercept: wherever the job has an intercept at all, beside the constant column too.</summary>
    public bool LocalIntercept => FreeIntercept || Constant;

    /// <summary>Whether an iteration is over all rows.</summary>
    public bool FullBatch => Optimizer != GlmOptimizer.Sgd;

    public double WeightNorm { get; }

    public double ResidualClip { get; }

    public double ScoreClip { get; }

    public PrivacyMode Mode => Job.Privacy.Mode;

    /// <summary>The family as the trainers use it: with debiased labels its residuals are not those of classes.</summary>
    public IGlmFamily Family { get; }

    /// <summary>Whether labels are classes, which randomised response releases; other labels get noise.</summary>
    public bool HasClasses => IsOfClasses(Job.Model.Family);

    /// <summary>Bound U on a sample weight: 1 without weights.</summary>
    public double WeightBound => Job.Training.SampleWeightBound ?? 1;

    /// <summary>Bound that a receiver clips residuals to, in L2 norm a row (A5). Elsewhere the active party's own clip decides, whatever weights it has.</summary>
    public double ReceivedBound => Mode == PrivacyMode.HdpVfl ? ResidualClip * WeightBound : double.PositiveInfinity;

    /// <summary>Bound on the sum of scores that the active party receives, see <see cref="GlmWork.BoundReceived"/>; infinite for families that need none.</summary>
    public double ReceivedScoreBound => _receivedScoreBound ??= Mode == PrivacyMode.HdpVfl
        ? Parameters(Job.Parties.First(p => p.Party.Role == PartyRole.Active), new BatchLayout(1, 1)).ReceivedScoreBound : double.PositiveInfinity;

    private double? _receivedScoreBound;

    /// <summary>Whether a claim rests on bounded rows.</summary>
    public bool BoundsRows => Private && Mode != PrivacyMode.LabelDp;

    public ElementType ElementType => Job.Training.MessagePrecision;

    /// <summary>Whether scores of training rows are sent once training has ended, to measure the model.</summary>
    public bool SendsTrainScores => !Private && (Mode != PrivacyMode.He || Job.Privacy.Evaluation != EvaluationDisclosure.None);

    public bool SendsTestScores => LetsScoresLeave(Mode, Job.Privacy.Evaluation);

    /// <summary>Whether a training of such a mode and privacy.evaluation lets passive parties send scores of its model.</summary>
    public static bool LetsScoresLeave(PrivacyMode mode, EvaluationDisclosure evaluation) => mode == PrivacyMode.None || evaluation != EvaluationDisclosure.None;

    /// <summary>Whether passive parties, where there are any, may send scores of the final model at all, for its evaluation and for predictions later.</summary>
    public bool ScoresMayLeave => SendsTestScores || Job.Parties.Count < 2;

    /// <summary>What the promise is about; in label-dp the label, whatever the job says.</summary>
    public PrivacyUnit Unit => Mode == PrivacyMode.LabelDp ? PrivacyUnit.Label : Job.Privacy.Unit;

    /// <summary>Why a message of a party that adds no noise may leave, for the report.</summary>
    public string DisclosureReason => Mode == PrivacyMode.He ? "mode he" : !Private ? "mode none" : Mode == PrivacyMode.LabelDp ? "label-dp" : "unit label";

    /// <summary>Whether a party of this role adds noise to its training messages.</summary>
    public bool Noises(PartyRole role) => Mode == PrivacyMode.HdpVfl && (role == PartyRole.Active || Job.Privacy.Unit == PrivacyUnit.Record);

    /// <summary>How the training messages of a party of this role are packed.</summary>
    public ElementType Packing(PartyRole from) => Noises(from) ? ElementType.Lattice : ElementType;

    /// <summary>Checks a job and fills in its defaults.</summary>
    public static GlmPlan Create(GlmJob job)
    {
        CheckGiven(job);
        CheckWords(job);
        CheckNumbers(job);
        CheckFold(job);
        var plan = new GlmPlan(job);
        if (plan.FullBatch && (job.Training.BatchesPerEpoch ?? 1) != 1 | job.Training.BatchSize is not null)
            throw Invalid("training.batchesPerEpoch", "every optimiser but sgd works on the full batch.", "Set batchesPerEpoch to 1 and leave batchSize out, or choose sgd.");
        if (plan.Optimizer is GlmOptimizer.Lbfgs or GlmOptimizer.Irls && job.Model.L1 != 0)
            throw Invalid("training.optimizer", "an L1 penalty has kinks, which this optimiser cannot follow.", "Use accelerated or sgd with model.l1.");
        if (job.Model.Intercept == GlmIntercept.None && job.Preprocessing?.Constant == true)
            throw Invalid("model.intercept", "it is off while preprocessing.constant is on.", "Make up your mind: switch both on or both off.");
        CheckFamily(job);
        CheckModeNoneOnly(job, plan);
        if (plan.Mode == PrivacyMode.HdpVfl)
            plan.CheckPrivacy();
        else if (JointRules.Covers(plan.Mode))
            JointRules.Check(plan);
        else if (plan.Private)
            OneRoundRules.Check(plan);
        return plan;
    }

    /// <summary>Whether the labels of a family are classes.</summary>
    public static bool IsOfClasses(IGlmFamily family) => family.Kind() is GlmFamilyKind.Binomial or GlmFamilyKind.Multinomial;

    public static GlmOptimizer OptimizerOf(GlmJob job) => job.Training.Optimizer
        ?? (job.Privacy.Mode != PrivacyMode.None || (job.Training.BatchesPerEpoch ?? 1) != 1 || job.Training.BatchSize is not null ? GlmOptimizer.Sgd
            : job.Model.L1 > 0 ? GlmOptimizer.Accelerated : GlmOptimizer.Lbfgs);

    public static int EpochsOf(GlmJob job) => job.Privacy.Mode == PrivacyMode.OneRound ? 1 : job.Training.Epochs ?? OptimizerOf(job) switch
    {
        GlmOptimizer.Lbfgs => 1000,
        GlmOptimizer.Accelerated => 2000,
        GlmOptimizer.Irls => 50,
        _ => 10,
    };

    /// <summary>See <see cref="GlmTrainingOptions.StepSize"/>.</summary>
    public static double StepSizeOf(GlmJob job) => job.Training.StepSize
        ?? (CurvatureOf(job) is { } curvature && 1 / (curvature + job.Model.L2) is > 0 and < double.PositiveInfinity and var step ? step : 0.1);

    public static PreprocessingOptions PreprocessingOf(GlmJob job) => job.Preprocessing
        ?? (!IsPrivate(job.Privacy.Mode)
            ? new PreprocessingOptions { Scaling = Scaling.Standardize }
            : new PreprocessingOptions { Scaling = Scaling.Declared, Rows = RowBound.Clip });

    public static bool ConstantOf(GlmJob job) => PreprocessingOf(job).Constant
        ?? (IsPrivate(job.Privacy.Mode) && job.Model.Intercept != GlmIntercept.None);

    /// <summary>The batches of an epoch over this many training rows.</summary>
    public BatchLayout Layout(int trainRows)
    {
        if (Job.Training.BatchSize is { } size)
        {
            var layout = BatchLayout.FromBatchSize(trainRows, size);
            CheckRounds(Epochs, layout.Count);
            return layout;
        }

        int batches = Job.Training.BatchesPerEpoch ?? 1;
        return batches <= trainRows ? new BatchLayout(trainRows, batches) : throw new BadInputException(GlmErrors.TooFewTrainingRows, "training rows",
            $"the job asks for {batches} batches an epoch and there are {trainRows} common training rows.", "Use fewer batches an epoch, or more rows.");
    }

    /// <summary>Calibrates the noise of one party.</summary>
    /// <param name="party">The party.</param>
    /// <param name="layout">Its batches.</param>
    /// <param name="columns">Its columns, every constant and intercept included.</param>
    public PartyCalibration Calibrate(GlmPartyOptions party, BatchLayout layout, int columns)
    {
        PrivacyBudget budget = BudgetOf(party)!;
        return HdpVflCalibration.Calibrate(Parameters(party, layout) with { MaxColumns = Math.Max(1, columns) }, Noise,
            party.Party.Role == PartyRole.Active ? PartySide.Active : PartySide.Passive, budget.Epsilon, budget.Delta);
    }

    public PrivacyBudget? BudgetOf(GlmPartyOptions party) => party.Budget ?? Job.Privacy.Budget;

    /// <summary>How mu squared is turned into noise.</summary>
    public HdpVflNoise Noise => new(Job.Privacy.Calibration)
    {
        Share = Job.Privacy.Share,
        EvaluationShare = Job.Privacy.Evaluation == EvaluationDisclosure.Charged ? Job.Privacy.EvaluationShare : null,
    };

    /// <summary>The public numbers that a party's noise rests on.</summary>
    public HdpVflParameters Parameters(GlmPartyOptions party, BatchLayout layout)
    {
        bool active = party.Party.Role == PartyRole.Active;
        double rowNorm = PreprocessingOptions.RowNorm;
        return new HdpVflParameters
        {
            Family = Family.Kind()!.Value,
            Outputs = Family.Outputs,
            Lipschitz = Lipschitz(party),
            Rows = layout.Rows,
            Batches = layout.Count,
            Epochs = Epochs,
            StepSize = StepSize,
            L2 = Job.Model.L2,
            WeightNorm = WeightNorm,
            ResidualClip = ResidualClip,
            TargetBound = LabelBound(party),
            // An offset and a weight belong to the active party alone; a passive party knows the bound on what it receives.
            OffsetBound = active ? Job.Training.OffsetBound ?? 0 : 0,
            WeightBound = Job.Training.SampleWeightBound,
            // A free intercept is one more column of ones at the active party, outside the row bound (A1 counts it all the same).
            RowNorm = active && FreeIntercept ? Math.BitIncrement(Math.Sqrt(rowNorm * rowNorm + 1)) : rowNorm,
            Adjacency = Job.Privacy.Adjacency,
            Unit = Job.Privacy.Unit,
            Schedule = Job.Training.Reshuffle ? BatchSchedule.Reshuffled : BatchSchedule.Fixed,
            FreeIntercept = active && FreeIntercept,
        };
    }

    /// <summary>Whether the proof of a mode needs a declared range of the labels of a family. False where the mode does not cover the family, which is refused for that.</summary>
    public static bool NeedsLabelRange(PrivacyMode mode, IGlmFamily family) => mode switch
    {
        PrivacyMode.OneRound => !IsOfClasses(family),
        PrivacyMode.HeDp => family.Kind() == GlmFamilyKind.Gaussian,
        PrivacyMode.HdpVfl => family.Bounds is { NeedsLabelRange: true },
        _ => false,
    };

    /// <summary>Checks what can be checked of a party's privacy before its rows are known.</summary>
    public void CheckParty(GlmPartyOptions party)
    {
        if (!Private || Mode == PrivacyMode.LabelDp)
            return;
        if (party.Party.Role == PartyRole.Active && party.LabelRange is null && NeedsLabelRange(Mode, Job.Model.Family))
            throw Refused(GlmErrors.LabelRangeMissing, $"party '{party.Party.Name}', data.labelRange", $"the sensitivity of the {Family.Name} family needs a declared range of the label.",
                "Declare data.labelRange: [low, high] (in code GlmPartyOptions.LabelRange) by the nature of the label, not by looking at the data.");
        if (Mode is PrivacyMode.OneRound or PrivacyMode.HeDp)
            return;
        int batches = Job.Training.BatchesPerEpoch ?? 1;
        Parameters(party, new BatchLayout(batches, batches)).Validate(Job.Privacy.Calibration);
    }

    // Classes are bounded by their domain. The label bound does not enter a passive party's own sensitivity, and it does not know it.
    public double? LabelBound(GlmPartyOptions party) => HasClasses ? null
        : party.Party.Role == PartyRole.Passive ? 1e-9
        : party.LabelRange is { } range ? Math.Max(Math.Abs(range.Low), Math.Abs(range.High)) : null;

    /// <summary>Says where the bounds of a private model keep its predictions away from the labels, whatever the noise: from public numbers alone where the label has a declared range.</summary>
    /// <param name="active">The active party, as far as it is known here.</param>
    /// <param name="mean">Mean label of the training rows, for labels without a declared range; null where it is not known here.</param>
    public IEnumerable<string> NarrowBounds(GlmPartyOptions active, double? mean = null)
    {
        if (Mode is not (PrivacyMode.HdpVfl or PrivacyMode.HeDp) || HasClasses || Family.Outputs > 1)
            yield break;
        bool identity = Family.Link == "identity";
        // With another link only the largest label is looked at: the logarithm of a label of 0 is infinite, and no prediction has to reach it.
        double farthest = identity ? LabelBound(active) ?? 0 : Math.Abs(Family.LinkOf(active.LabelRange?.High ?? mean ?? double.NaN));
        double row = PreprocessingOptions.RowNorm, reach = WeightNorm * (((Job.Parties.Count - 1) * row) + Math.Sqrt((row * row) + (FreeIntercept ? 1 : 0))) + (Job.Training.OffsetBound ?? 0);
        if (!(reach < farthest) || !double.IsFinite(farthest))
            yield break;
        string what = identity ? "predictions" : $"the {Family.Link} of predictions", bound = string.Create(CultureInfo.InvariantCulture, $"training.weightNorm {WeightNorm:G4} keeps {what} within {reach:G4} of 0 (parties x weightNorm x row bound), and ");
        string remedy = identity ? "Subtract the label's usual value and divide by its scale, or raise training.weightNorm, and training.residualClip with it"
            : "Divide the labels by their usual value where they need not be whole numbers, or raise training.weightNorm, and training.residualClip with it";
        yield return active.LabelRange is null ? $"{bound}that of the mean training label is beyond it: without any noise the model cannot reach such labels. {remedy}{CellsOutside.OutsideClaims}"
            : string.Create(CultureInfo.InvariantCulture, $"{bound}data.labelRange goes to {farthest:G4}{(identity ? "" : " by that measure")}: without any noise the model cannot reach such labels. {remedy}");
    }

    /// <summary>Says where steps are too few and too short to come near the best weights, noise apart: from public numbers alone, for bounded rows, and under encryption for standardised columns.</summary>
    /// <param name="layout">Batches of an epoch.</param>
    public IEnumerable<string> ShortSteps(BatchLayout layout)
    {
        // A threshold may end at once: nothing is told.
        if (Optimizer != GlmOptimizer.Sgd || Mode == PrivacyMode.OneRound || Job.Model.L1 > 0 || Job.Training.WarmStart || SteepnessOf(Job.Model.Family) is not { } steepness)
            yield break;
        int steps = Epochs * layout.Count;
        string Short(string where, double left) => string.Create(CultureInfo.InvariantCulture,
            $"training.stepSize {StepSize:G4} is short for {steps:N0} {Counted.Noun(steps, "step")}: noise apart, {where}{100 * left:F0} % of the way from weights of 0 to the best ones are left at the end, or more. Raise ");
        if (CurvatureOf(Job) is { } curvature)
        {
            if (WayLeft(steps, curvature) is > LongWay and var left)
                yield return Short("", left) + $"training.stepSize or training.batchesPerEpoch{(Private ? ": one or two epochs of many batches, with steps of 1 to 4, lose least to noise" : ", or training.epochs")}";
        }
        // The residual of the encrypted protocol is linear in the scores, so that all steps multiply by the same matrix. Standardised columns have mean square 1 (0 where they are constant), so that the mean of its
        // eigenvalues is at most the steepness, and the smallest no more; the largest is no more than the steepness times the number of columns.
        else if (Mode == PrivacyMode.He && PreprocessingOptions.Scaling == Scaling.Standardize && layout.Count == 1 && double.IsInfinity(WeightNorm) && WayLeft(steps, steepness) is > LongWay and var left)
            yield return Short("in some directions ", left) + string.Create(CultureInfo.InvariantCulture,
                $"training.epochs, which privacy.he.mostRounds limits to {Job.Privacy.He.MostRounds:N0}, or training.stepSize: {1 / steepness:G4} over the number of columns of all parties is never too long");
    }

    // Of more than a tenth of the way is told.
    private const double LongWay = 0.1;

    // A step w - eta grad f(w) brings two points nearer to each other by a factor of 1 - eta L at most, where L bounds the second derivative of f, and the best weights are a point that stays.
    private double WayLeft(int steps, double curvature) => Math.Pow(Math.Max(0, 1 - (StepSize * (curvature + Job.Model.L2))), steps);

    /// <summary>Bound on the second derivative of the mean loss, the penalty left out: that of a row's loss in its score times the square of a row of all parties. Without a bound, weights of rows have mean 1 over the training rows; a batch may have more.</summary>
    /// <returns>Null where there is none: rows are not bounded, or with log links it depends on the labels.</returns>
    private static double? CurvatureOf(GlmJob job)
    {
        PreprocessingOptions rows = PreprocessingOf(job);
        double length = (job.Parties.Count * rows.RowNorm * rows.RowNorm) + (FreeInterceptOf(job) ? 1 : 0);
        return rows.Rows == RowBound.None ? null : SteepnessOf(job.Model.Family) * (job.Training.SampleWeightBound ?? 1) * length;
    }

    // Bound on the second derivative of a row's loss in its score; of classes in its scores.
    private static double? SteepnessOf(IGlmFamily family) => family.Kind() switch { GlmFamilyKind.Gaussian => 1, GlmFamilyKind.Binomial => 0.25, GlmFamilyKind.Multinomial => 0.5, _ => null };

    private static bool FreeInterceptOf(GlmJob job) => job.Model.Intercept == GlmIntercept.Free || (job.Model.Intercept == GlmIntercept.Default && !IsPrivate(job.Privacy.Mode));

    // A passive party's sensitivity does not depend on the steepness of the residual either, and it may not know that: it may follow from the label bound.
    private double? Lipschitz(GlmPartyOptions party) => Family.Bounds is not { Kind: GlmFamilyKind.Convex } bounds ? null
        : party.Party.Role == PartyRole.Passive ? 1e-9 : bounds.Lipschitz?.Invoke(ResidualClip, LabelBound(party));

    /// <summary>Whether a job can be one run of a cross-validation, if it asks to be.</summary>
    public static void CheckFold(GlmJob job)
    {
        if (job.Fold is not { } fold)
            return;
        if (!(fold.Count is >= 2 and <= CrossValidationFold.MostFolds && fold.Index >= 0 && fold.Index < fold.Count))
            throw new ConfigurationException(GlmErrors.InvalidTuning, "--cross-validate, GlmTuningOptions.Folds or GlmJob.Fold", $"the folds are not 2 to {CrossValidationFold.MostFolds}, or the index of one is out of range.", "Use 5 or 10 folds.");
        if (JointRules.Covers(job.Privacy.Mode))
            throw JointRules.Invalid("--cross-validate, GlmTuningOptions.Folds or GlmJob.Fold", "a cross-validation multiplies the exact gradients of a row.", "Tune in another mode.");
        // A row of the fold that is tested on is no training row of that run, so noise on the weights does not hide its features; but in the other folds it is a training row, whose features the claim is about.
        if (job.Privacy is { Mode: not (PrivacyMode.None or PrivacyMode.LabelDp), Unit: PrivacyUnit.Record, Evaluation: EvaluationDisclosure.Charged })
            throw Refused(GlmErrors.FoldNotCovered, "privacy.evaluation", "a charged evaluation hides training rows from the scores of others, and in a cross-validation every training row is also a row tested on, whose own score tells of its features.",
                "Use evaluation disclosed, whose claim leaves such scores out, or no cross-validation.");
    }

    /// <summary>What a family rules out in every mode.</summary>
    private static void CheckFamily(GlmJob job)
    {
        if (JointRules.Covers(job.Privacy.Mode))
            JointRules.CheckFamily(job.Model.Family);
        bool multinomial = job.Model.Family is MultinomialFamily, unknown = job.Model.Family is MultinomialFamily { Classes: null };
        if (unknown && job.Privacy.Mode != PrivacyMode.None)
            throw Refused(GlmErrors.ClassesNotDeclared, "model.classes", "the number of classes would be taken from the labels.", "Declare model.classes.");
        if (multinomial && job.Training.OffsetBound is not null)
            throw Invalid("training.offsetBound", "an offset is the same for every class and changes nothing.", "Leave it out.");
        if (job.Model.Family.Parameters.FirstOrDefault(p => !double.IsFinite(p.Value)).Key is { } parameter)
            throw Invalid("model.family", $"the parameter '{parameter}' of the family '{job.Model.Family.Name}' is no finite number.", "Make the family with another parameter.");
        if (!multinomial && job.Model.Family.Outputs == 1)
            CheckLink(job.Model.Family);
        if (job.Training.ClassWeights is null)
            return;
        if (!IsOfClasses(job.Model.Family))
            throw Invalid("training.classWeights", $"labels of the {job.Model.Family.Name} family are no classes.", "Use sample weights, or leave the key out.");
        int? classes = multinomial ? ((MultinomialFamily)job.Model.Family).Classes : 2;
        if (job.Training.ClassWeights is GlmClassWeights.Declared declared
            && (declared.Weights.Any(w => !double.IsFinite(w) || w < 0) || declared.Weights.All(w => w == 0) || (classes is { } m && declared.Weights.Count != m)))
            throw Invalid("training.classWeights", "it is not one finite number of at least 0 for each class, one of them above 0.", "Give as many weights as classes.");
    }

    // Figures go from means back to scores once training has ended, and been paid for.
    private static void CheckLink(IGlmFamily family)
    {
        const double Near = 1e-6;
        double mean = family.Mean(0), score;
        try
        {
            score = family.LinkOf(mean);
        }
        catch (NotSupportedException)
        {
            throw Invalid("model.family", $"the family '{family.Name}' does not implement its link '{family.Link}'.", "Implement IGlmFamily.LinkOf: the linear predictor at a mean.");
        }

        if (double.IsFinite(mean) && !(Math.Abs(score) <= Near))
            throw Invalid("model.family", $"LinkOf of the family '{family.Name}' does not give the linear predictor 0 back from its mean; its link is called '{family.Link}'.",
                "Name the link that Means inverts, or implement IGlmFamily.LinkOf. GlmFamilyConformance of FedLearn.Testing checks the rest.");
    }

    /// <summary>What no private mode covers, and what goes together in mode none.</summary>
    private static void CheckModeNoneOnly(GlmJob job, GlmPlan plan)
    {
        GlmTrainingOptions t = job.Training;
        if (plan.Private && t.EarlyStopping is not null)
            throw Refused(GlmErrors.EarlyStoppingNotPrivate, "training.earlyStopping", "the moment of stopping would depend on private rows, which no claim covers (A7).",
                "Leave it out: a private mode trains for a fixed number of epochs.");
        if (plan.Private && t.WarmStart)
            throw Refused(GlmErrors.WarmStartNotPrivate, "training.warmStart", "the proofs need weights that no row has touched at the start (A2).", "Leave it out.");
        if (plan.Private && job.Inference)
            throw Refused(GlmErrors.InferenceNotPrivate, "evaluation.inference", "standard errors need exact second moments of every party's columns.", "Use mode none, or leave it out.");
        if (job.Inference && job.Model.L1 != 0)
            throw Invalid("evaluation.inference", "weights under an L1 penalty have no standard errors of this kind.", "Set model.l1 to 0, or leave inference out.");
        if (t.WarmStart && plan.Optimizer == GlmOptimizer.Irls)
            throw Invalid("training.warmStart", "irls starts from the model without features and needs a handful of iterations.", "Leave it out, or choose another optimiser.");
        if (job.Inference && (plan.Family is MultinomialFamily || plan.Family.Outputs > 1))
            throw Invalid("evaluation.inference", "a softmax has one parameter too many for every feature, so its standard errors are not defined.", "Leave it out for multinomial models.");
        if (t.EarlyStopping is not { } stopping)
            return;
        if (plan.Optimizer == GlmOptimizer.Irls)
            throw Invalid("training.earlyStopping", "irls converges in a handful of iterations at the active party.", "Leave it out, or choose another optimiser.");
        if (stopping.Metric == EarlyStoppingMetric.Auc && job.Model.Family.Kind() != GlmFamilyKind.Binomial)
            throw Invalid("training.earlyStopping", "the AUC is a figure of binomial models.", "Watch the deviance.");
        Check(stopping.Patience >= 1, "training.earlyStopping.patience", "is below 1");
        Check(double.IsFinite(stopping.MinDelta) && stopping.MinDelta >= 0, "training.earlyStopping.minDelta", "is not a finite number of at least 0");
        Check(stopping.HoldOut is > 0 and < 1, "training.earlyStopping.holdOut", "is not between 0 and 1");
    }

    private void CheckPrivacy()
    {
        GlmTrainingOptions training = Job.Training;
        if (Family.Bounds is null)
            throw Refused(GlmErrors.FamilyNotPrivate, "model.family", $"the family '{Family.Name}' has no proved sensitivity bounds.",
                "Use a family with bounds, such as binomial or poisson, or privacy.mode none; a family of your own declares them in IGlmFamily.Bounds.");
        // A class weight computed from labels moves with every row; a declared one moves with the row's own label, which is part of its record but more than its label.
        if (training.ClassWeights is GlmClassWeights.ByShare)
            throw Refused(GlmErrors.ClassWeightsNotPrivate, "training.classWeights", "weights computed from labels change with every row (A8).", "Declare the weights, or leave the key out.");
        if (training.ClassWeights is not null && Job.Privacy.Unit == PrivacyUnit.Label)
            throw Refused(GlmErrors.ClassWeightsNotPrivate, "training.classWeights", "a changed label would change the weight of its row as well, for which unit label has no bound.",
                "Use unit record, or leave the key out.");
        if (training.ClassWeights is GlmClassWeights.Declared && training.SampleWeightBound is null)
            throw Refused(GlmErrors.WeightBoundMissing, "training.sampleWeightBound", "weights scale what a row can change, and their bound is not declared.",
                "Declare training.sampleWeightBound: the largest weight a row may have.");
        if (Optimizer != GlmOptimizer.Sgd)
            throw Refused(GlmErrors.OptimizerNotPrivate, "training.optimizer", "the sensitivity proof holds for projected SGD without momentum only (A8).",
                "Leave training.optimizer out or set it to sgd.");
        if (training.WeightNorm is null || training.ResidualClip is null)
            throw Refused(GlmErrors.BoundsMissing, "training", "hdp-vfl needs weightNorm (k, A2) and residualClip (C, A5): the noise is calibrated to them.",
                "Set both; 1 and 1 are a good start for binomial models on rows of length 1.");
        if (PreprocessingOptions.Rows == RowBound.None)
            throw Refused(GlmErrors.RowsNotBounded, "preprocessing.rows", "the sensitivity proof needs rows of bounded length (A1).", "Set preprocessing.rows to clip or normalize.");
        // Passive parties add no noise under unit label, so nothing of their features is there to charge for.
        if (Job.Privacy is { Unit: PrivacyUnit.Label, Evaluation: EvaluationDisclosure.Charged })
            throw new ConfigurationException(GlmOneRoundErrors.InvalidSetting, "privacy.evaluation", "unit label protects no features, so there is nothing to charge for.", "Use disclosed or none.");
        if (Job.Privacy is { Calibration: Calibration.Paper, Evaluation: EvaluationDisclosure.Charged })
            throw Refused(PrivacyErrors.PaperSetting, "privacy.evaluation", "the published formulas leave no budget for the final weights.", "Use the tight calibration, or evaluation disclosed or none.");
        foreach (GlmPartyOptions party in Job.Parties)
            if (BudgetOf(party) is null)
                throw Refused(GlmErrors.BudgetMissing, $"party '{party.Party.Name}'", "no epsilon and delta are given.", "Set privacy.epsilon and privacy.delta.");
        foreach (GlmPartyOptions party in Job.Parties)
            HdpVflCalibration.CheckBudget(BudgetOf(party)!.Epsilon, BudgetOf(party)!.Delta);
    }

    /// <summary>Whether everything that a job must have is there.</summary>
    /// <param name="job">The job.</param>
    /// <exception cref="ArgumentNullException">The job, or one of its parts, is null; the name is that of the part.</exception>
    public static void CheckGiven(GlmJob job)
    {
        ArgumentNullException.ThrowIfNull(job);
        ArgumentNullException.ThrowIfNull(job.Model);
        ArgumentNullException.ThrowIfNull(job.Model.Family);
        ArgumentNullException.ThrowIfNull(job.Training);
        ArgumentNullException.ThrowIfNull(job.Privacy);
        ArgumentNullException.ThrowIfNull(job.Privacy.OneRound);
        ArgumentNullException.ThrowIfNull(job.Privacy.He);
        ArgumentNullException.ThrowIfNull(job.Split);
        ArgumentNullException.ThrowIfNull(job.Parties);
        foreach (GlmPartyOptions party in job.Parties)
            ArgumentNullException.ThrowIfNull(party?.Party, "job.Parties");
    }

    // A number that stands for no mode would compare unequal to every one that adds noise, and be trained in the clear.
    private static void CheckWords(GlmJob job)
    {
        Named(job.Privacy.Mode, "privacy.mode");
        Named(job.Privacy.Calibration, "privacy.calibration");
        Named(job.Privacy.Adjacency, "privacy.adjacency");
        Named(job.Privacy.Unit, "privacy.unit");
        Named(job.Privacy.Evaluation, "privacy.evaluation");
        Named(job.Privacy.He.Scheme, "privacy.he.scheme");
        Named(job.Model.Intercept, "model.intercept");
        Named(job.Training.Optimizer ?? GlmOptimizer.Sgd, "training.optimizer");
        Named(job.Training.MessagePrecision, "training.messagePrecision");
        Named(job.Training.EarlyStopping?.Metric ?? EarlyStoppingMetric.Objective, "training.earlyStopping.metric");
        Named(job.Alignment, "alignment");
        PreprocessingOptions preprocessing = PreprocessingOf(job);
        Named(preprocessing.Scaling, "preprocessing.scaling");
        Named(preprocessing.Rows, "preprocessing.rows");
    }

    private static void Named<T>(T value, string key) where T : struct, Enum
    {
        if (!Enum.IsDefined(value))
            throw Invalid(key, $"{key} is a number that stands for nothing.", $"Use one of the names of {typeof(T).Name}: {string.Join(", ", Enum.GetNames<T>())}.");
    }

    private static void CheckNumbers(GlmJob job)
    {
        Check(!string.IsNullOrWhiteSpace(job.Name), "name", "is empty");
        Check(double.IsFinite(job.Model.L2) && job.Model.L2 >= 0, "model.l2", "is not a finite number of at least 0");
        GlmTrainingOptions t = job.Training;
        Check(t.Epochs is null or (>= 1 and <= 1_000_000), "training.epochs", "is not between 1 and 1,000,000");
        Check(t.BatchesPerEpoch is null or >= 1, "training.batchesPerEpoch", "is below 1");
        Check(t.BatchSize is null or >= 1, "training.batchSize", "is below 1");
        Check(double.IsFinite(job.Model.L1) && job.Model.L1 >= 0, "model.l1", "is not a finite number of at least 0");
        Check(t.SampleWeightBound is null || (double.IsFinite(t.SampleWeightBound.Value) && t.SampleWeightBound > 0), "training.sampleWeightBound", "is not a finite number above 0");
        Check(t.OffsetBound is null || (double.IsFinite(t.OffsetBound.Value) && t.OffsetBound > 0), "training.offsetBound", "is not a finite number above 0");
        Check(t.LatticeBits is >= GaussianMechanism.FewestLatticeBits and <= GaussianMechanism.MostLatticeBits, "training.latticeBits",
            $"is not between {GaussianMechanism.FewestLatticeBits} and {GaussianMechanism.MostLatticeBits}");
        Check(t.CheckpointRounds is >= 0 and <= GlmTrainingOptions.MostCheckpointRounds, "training.checkpointRounds", $"is not between 0 and {GlmTrainingOptions.MostCheckpointRounds}");
        Check(t.BatchesPerEpoch is null || t.BatchSize is null, "training.batchSize", "and batchesPerEpoch are both given");
        Check(t.StepSize is null || (double.IsFinite(t.StepSize.Value) && t.StepSize > 0), "training.stepSize", "is not a finite number above 0");
        Check(t.WeightNorm is null || (double.IsFinite(t.WeightNorm.Value) && t.WeightNorm > 0), "training.weightNorm", "is not a finite number above 0");
        Check(t.ResidualClip is null || (double.IsFinite(t.ResidualClip.Value) && t.ResidualClip > 0), "training.residualClip", "is not a finite number above 0");
        CheckRounds(EpochsOf(job), t.BatchesPerEpoch ?? 1);
        Check(job.Privacy.Share is > 0 and < 1, "privacy.share", "is not between 0 and 1");
        Check(job.Privacy.EvaluationShare is > 0 and < 1, "privacy.evaluationShare", "is not between 0 and 1");
        double rowNorm = PreprocessingOf(job).RowNorm;
        Check(double.IsFinite(rowNorm) && rowNorm > 0, "preprocessing.rowNorm", "is not a finite number above 0");
        if (job.Split is SplitRule.ByHash split)
            Check(split.Modulus >= 2 && split.Test.All(r => r >= 0 && r < split.Modulus), "evaluation.split", "needs mod of at least 2 and residues below it");
        if (PartyList.FaultOf(job.Parties.Select(p => p.Party)) is { } fault)
            throw Invalid("parties", $"parties {fault}.", "Mend the job.");
        if (job.Privacy.Mode == PrivacyMode.None && (job.Privacy.Budget is not null || job.Parties.Any(p => p.Budget is not null)))
            throw Invalid("privacy.mode", "a budget is given, and the mode is none, which adds no noise.",
                "Set privacy.mode to hdp-vfl, or to another mode that has noise; without noise leave the budget out.");
    }

    private static void CheckRounds(int epochs, int batches) =>
        Check((long)epochs * batches <= int.MaxValue / 2, "training.epochs", "times the batches of an epoch is over a billion rounds");

    private static void Check(bool condition, string key, string fault)
    {
        if (!condition)
            throw Invalid(key, $"{key} {fault}.", "Mend the job.");
    }

    private static ConfigurationException Invalid(string place, string cause, string remedy) => new(GlmErrors.InvalidJob, place, cause, remedy);

    private static PrivacyRefusedException Refused(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);
}
