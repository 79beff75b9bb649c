using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Cli.RunFiles;

/// <summary>A party's table with the declared range of its label.</summary>
/// <param name="Data">Where the table is.</param>
/// <param name="LabelRange">The range; null when absent or faulty.</param>
/// <param name="HasLabelRange">Whether the file gives one, right or wrong.</param>
internal sealed record PartyTable(TableSource Data, (double Low, double High)? LabelRange, bool HasLabelRange);

/// <summary>Reads the job.json of a generalised linear model.</summary>
/// <param name="path">File.</param>
/// <param name="self">In a real session, this machine's side. Null: all parties run here.</param>
/// <param name="settings">Values that stand in for those of the file; null for none.</param>
internal sealed class GlmRunFileReader(string path, OwnSide? self = null, IReadOnlyList<RunFileSetting>? settings = null) : RunFileReader(path, self, settings)
{
    private static readonly (string, IGlmFamily)[] Families = [.. new[]
    {
        GlmFamilies.Gaussian, GlmFamilies.Binomial, GlmFamilies.Poisson, GlmFamilies.Gamma, GlmFamilies.Tweedie(), GlmFamilies.Multinomial(),
    }.Select(family => (family.Name, family))];
    private static readonly (string, GlmOptimizer)[] Optimizers =
        [("sgd", GlmOptimizer.Sgd), ("lbfgs", GlmOptimizer.Lbfgs), ("accelerated", GlmOptimizer.Accelerated), ("irls", GlmOptimizer.Irls)];
    private static readonly (string, EarlyStoppingMetric)[] StoppingMetrics =
        [("objective", EarlyStoppingMetric.Objective), ("deviance", EarlyStoppingMetric.Deviance), ("auc", EarlyStoppingMetric.Auc)];
    private static readonly (string, FeatureStorage)[] Storages = [("float64", FeatureStorage.Float64), ("float32", FeatureStorage.Float32)];
    private static readonly (string, ElementType)[] Precisions = [("float64", ElementType.Float64), ("float32", ElementType.Float32)];
    private static readonly (string, Scaling)[] Scalings =
        [("standardize", Scaling.Standardize), ("declared", Scaling.Declared), ("rounded", Scaling.Rounded), ("none", Scaling.None)];
    private static readonly (string, RowBound)[] RowBounds = [("none", RowBound.None), ("clip", RowBound.Clip), ("normalize", RowBound.Normalize)];

    private const string ModeRemedy = "Write privacy.mode: hdp-vfl (or one-round, label-dp, he+dp) to have noise; none if that is meant.";
    private static readonly string[] LaterOptimizers = ["adam"], UnprovedOptimizers = ["lbfgs", "accelerated", "irls", "adam"], UnprovedKeys = ["momentum", "warmStart", "earlyStopping"];

    private double? _jobEpsilon, _jobDelta;
    private bool _isPrivate, _hasL1;
    private int? _classes;
    private string? _warmStart;
    private HeEngineSettings _engine = new();

    /// <inheritdoc />
    public override GlmRunFile Read()
    {
        Section file = Section.Load(Faults, RunFileKeys.Job, Settings);
        file.Require("model", "Describe the model, such as { \"type\": \"glm\", \"family\": \"binomial\" }.");
        Section model = file.Object("model");
        model.Word("type", Types, Types[0].Meaning);

        Section privacy = file.Object("privacy");
        PrivacyMode mode = privacy.Word("mode", Words.Modes, PrivacyMode.None);
        bool isPrivate = _isPrivate = GlmPlan.IsPrivate(mode);

        (GlmIntercept intercept, PreprocessingOptions preprocessing) = InterceptAndPreprocessing(model, file.Object("preprocessing"), isPrivate, mode != PrivacyMode.LabelDp);
        GlmModelOptions modelOptions = Model(model, intercept, mode);
        if (mode == PrivacyMode.OneRound)
            Ignore(model, "l2"); // its penalties are part of the privacy bound
        GlmTrainingOptions training = mode == PrivacyMode.OneRound ? LocalTraining(file.Object("training")) : Training(file.Object("training"), mode);
        GlmPrivacyOptions privacyOptions = Privacy(privacy, mode);
        file.Require("parties", "List one active and any number of passive parties.");
        IReadOnlyList<Section> parties = file.Objects("parties");
        Section evaluation = file.Object("evaluation");
        (SplitRule split, string? splitPath) = Split(evaluation, parties);
        (GlmRunFileParty Own, GlmPartyOptions Agreed)[] both = [.. parties.Select(party => Party(party, modelOptions.Family, privacy, mode, splitPath))];
        if (JointRules.Covers(mode))
            Arbiter = privacyOptions.He.Arbiter;
        CheckParties(file, [.. both.Select(party => party.Own)]);
        CheckSplits(file, [.. both.Select(party => party.Own)]);
        string name = file.Text("name") ?? "job";
        TransportSettings transport = Transport(file.Object("transport"));
        // A round under encryption may outlast the patience that suits others. A peer that dies is noticed at once all the same.
        if (JointRules.Covers(mode) && !file.Object("transport").Has("timeoutSeconds"))
            transport = transport with { Timeout = privacyOptions.He.Scheme == HeScheme.Ckks ? TimeSpan.FromMinutes(10) : TimeSpan.FromHours(4) };
        JobAlignment alignment = AlignmentOf(file, transport, both.Length);
        bool inference = Inference(evaluation);
        Faults.ThrowIfAny();

        return new GlmRunFile([.. both.Select(party => party.Own)])
        {
            Path = Faults.File,
            Directory = file.Folder,
            Job = new GlmJob
            {
                Name = name,
                Model = modelOptions,
                Training = training,
                Privacy = privacyOptions,
                Preprocessing = preprocessing,
                Alignment = alignment.Method,
                AlignmentProof = alignment.Proof,
                Split = split,
                Inference = inference,
                Parties = [.. both.Select(party => party.Agreed)],
            },
            Transport = transport,
            Alignment = alignment,
            SplitPath = splitPath,
            WarmStart = _warmStart,
            HeEngine = _engine,
            Ignored = Ignored,
            Warnings = Warnings,
        };
    }

    private GlmModelOptions Model(Section model, GlmIntercept intercept, PrivacyMode mode)
    {
        model.Require("family", "Choose gaussian, binomial, poisson, gamma, tweedie or multinomial.");
        int? classes = model.Count("classes", 2, RandomizedResponse.MostClasses);
        double? power = model.Positive("power");
        if (power is not (null or (> 1 and < 2)))
            model.Fault(RunFileErrors.OutOfRange, "power", "is not strictly between 1 and 2.", "Write 1.5, or a power that suits the spread of the label.");
        IGlmFamily family = model.Word("family", Families, GlmFamilies.Gaussian);
        if (family.Name == "multinomial")
        {
            // Not asked for in he+dp: the encrypted modes refuse multinomial models anyway.
            if (_isPrivate && mode != PrivacyMode.HeDp)
                model.Require("classes", "A private mode must not take the number of classes from the labels: declare it.");
            family = GlmFamilies.Multinomial(classes);
        }
        else
        {
            Ignore(model, "classes");
        }

        if (family.Name != "tweedie")
            Ignore(model, "power");
        else if (power is > 1 and < 2)
            family = GlmFamilies.Tweedie(power.Value);
        var options = new GlmModelOptions { Family = family, Intercept = intercept, L1 = model.NotNegative("l1") ?? 0 };
        _hasL1 = options.L1 > 0;
        _classes = family.Name switch { "binomial" => 2, "multinomial" => classes, _ => null };
        return model.NotNegative("l2") is { } l2 ? options with { L2 = l2 } : options;
    }

    // In mode none an intercept is one free weight at the active party. In a private mode it is the constant column of every row, so the two keys
    // say the same and may not contradict each other.
    private (GlmIntercept, PreprocessingOptions) InterceptAndPreprocessing(Section model, Section preprocessing, bool isPrivate, bool boundsRows)
    {
        bool free = model.Is("intercept", "free");
        bool? flag = free ? null : model.Flag("intercept", "Write true or false, without quotes, or \"free\".");
        bool? constant = preprocessing.Flag("constant");
        if (flag == false && constant == true)
            preprocessing.Fault(RunFileErrors.Contradiction, "constant", "is true, while model.intercept is false.", "Set model.intercept to true, or constant to false.");
        if (isPrivate && flag == true && constant == false)
            preprocessing.Fault(RunFileErrors.Contradiction, "constant", "is false, while model.intercept is true, and in a private mode the two are the same.",
                "Leave one of the keys out.");

        GlmIntercept intercept = free ? GlmIntercept.Free
            : flag == false || (isPrivate && constant == false) ? GlmIntercept.None
            : GlmIntercept.Default;
        RowBound rows = preprocessing.Word("rows", RowBounds, isPrivate ? RowBound.Clip : RowBound.None);
        if (isPrivate && boundsRows && rows == RowBound.None)
            preprocessing.Fault(RunFileErrors.UnboundedRows, "rows", "a private mode needs rows of bounded length, and 'none' leaves them as they are.",
                "Use clip or normalize.");
        if (rows == RowBound.None)
            Ignore(preprocessing, "rowNorm");
        return (intercept, new PreprocessingOptions
        {
            Scaling = preprocessing.Word("scaling", Scalings, isPrivate ? Scaling.Declared : Scaling.Standardize),
            Rows = rows,
            Constant = constant ?? (isPrivate && intercept != GlmIntercept.None),
            RowNorm = preprocessing.Positive("rowNorm") is { } norm && rows != RowBound.None ? norm : 1,
        });
    }

    /// <summary>One-round training iterates locally: keys about rounds are read, and have no effect.</summary>
    private GlmTrainingOptions LocalTraining(Section training)
    {
        int before = Ignored.Count;
        GlmTrainingOptions read = Training(training, PrivacyMode.None);
        Ignored.RemoveRange(before, Ignored.Count - before);
        Ignore(training, "epochs", "batchesPerEpoch", "batchSize", "stepSize", "weightNorm", "residualClip", "optimizer", "reshuffle", "messagePrecision", "sampleWeightBound", "offsetBound");
        return new GlmTrainingOptions { Seed = read.Seed, ClassWeights = read.ClassWeights, CheckpointRounds = read.CheckpointRounds, LatticeBits = read.LatticeBits };
    }

    private GlmTrainingOptions Training(Section training, PrivacyMode mode)
    {
        bool chargesOrEncrypts = mode != PrivacyMode.None; // encryption, too, trains by gradient steps alone
        int? batches = training.Count("batchesPerEpoch", 1, int.MaxValue), batchSize = training.Count("batchSize", 1, int.MaxValue);
        if (training.Has("batchesPerEpoch") && training.Has("batchSize"))
            training.Fault(RunFileErrors.Contradiction, "batchSize", "is given beside training.batchesPerEpoch.", "Keep one of the two.");

        bool oneBatch = batches is null or 1 && !training.Has("batchSize");
        GlmOptimizer optimizer = Optimizer(training, mode, oneBatch);
        var options = new GlmTrainingOptions
        {
            Epochs = training.Count("epochs", 1, 1_000_000),
            BatchesPerEpoch = batches,
            BatchSize = batchSize,
            Optimizer = optimizer,
            Seed = training.Int64("seed") ?? 0,
            Reshuffle = optimizer == GlmOptimizer.Sgd && training.Flag("reshuffle") == true,
            MessagePrecision = training.Word("messagePrecision", Precisions, ElementType.Float64),
            LatticeBits = training.Count("latticeBits", GaussianMechanism.FewestLatticeBits, GaussianMechanism.MostLatticeBits) ?? GaussianMechanism.UsualLatticeBits,
            CheckpointRounds = training.Count("checkpointRounds", 0, GlmTrainingOptions.MostCheckpointRounds) ?? new GlmTrainingOptions().CheckpointRounds,
            ClassWeights = ClassWeights(training),
            EarlyStopping = chargesOrEncrypts || !training.Has("earlyStopping") ? null : EarlyStopping(training.Object("earlyStopping")),
            WarmStart = !chargesOrEncrypts && training.Has("warmStart"),
        };
        _warmStart = chargesOrEncrypts ? null : training.FilePath("warmStart");
        if (mode == PrivacyMode.HdpVfl)
            options = options with { SampleWeightBound = training.Positive("sampleWeightBound"), OffsetBound = training.Positive("offsetBound") };
        else
            Ignore(training, "sampleWeightBound", "offsetBound", "latticeBits");
        if (optimizer == GlmOptimizer.Sgd)
            return Descent(training, mode, options);
        CheckFullBatch(training, options);
        return options;
    }

    /// <summary>The optimiser that the job names or has without naming one.</summary>
    private GlmOptimizer Optimizer(Section training, PrivacyMode mode, bool oneBatch)
    {
        // In private modes the proof rules these keys out for good; elsewhere a later release brings them.
        foreach (string key in UnprovedKeys.Where(training.Has))
            if (mode == PrivacyMode.He)
                training.Fault(RunFileErrors.Contradiction, key, "nobody sees a loss under encryption, and training takes plain gradient steps from 0.", "Leave the key out.");
            else if (_isPrivate)
                training.Fault(RunFileErrors.OptimizerRefused, key, "the privacy proof covers projected gradient descent from zero for a fixed number of rounds, without momentum, "
                    + "without a start from earlier weights and without an end that depends on rows (A2, A7, A8).", "Leave the key out.");
            else if (key == "momentum")
                training.Fault(RunFileErrors.NotYet, key, "sgd has no momentum yet.", "Leave it out; the optimisers accelerated and lbfgs converge faster.");
        bool refused = (_isPrivate || mode == PrivacyMode.He) && UnprovedOptimizers.Any(word => training.Is("optimizer", word));
        if (refused)
            training.Fault(mode == PrivacyMode.He ? RunFileErrors.Contradiction : RunFileErrors.OptimizerRefused, "optimizer",
                mode == PrivacyMode.He ? "the encrypted protocol takes gradient steps alone." : "the privacy proof covers projected gradient descent alone (A8).", "Use sgd, or privacy.mode none.");
        GlmOptimizer? chosen = refused ? GlmOptimizer.Sgd : training.Has("optimizer") ? training.Word("optimizer", Optimizers, GlmOptimizer.Sgd, LaterOptimizers) : null;
        return chosen ?? (mode != PrivacyMode.None || !oneBatch ? GlmOptimizer.Sgd : _hasL1 ? GlmOptimizer.Accelerated : GlmOptimizer.Lbfgs);
    }

    /// <summary>The keys of gradient descent.</summary>
    private GlmTrainingOptions Descent(Section training, PrivacyMode mode, GlmTrainingOptions options)
    {
        if (mode == PrivacyMode.HdpVfl)
        {
            training.Require("weightNorm", "A private mode needs the radius that every party's weights are projected on; 1 is a good start.");
            training.Require("residualClip", "A private mode needs the bound that residuals are clipped to; 1 suits the binomial family.");
        }

        if (mode == PrivacyMode.HeDp)
            training.Require("weightNorm", "Residuals are bounded by the weights alone under encryption, which need a radius; 1 is a good start.");
        if (JointRules.Covers(mode))
            Ignore(training, "residualClip", "messagePrecision", "checkpointRounds"); // nothing can be clipped under encryption, and a run that was cut off is not resumed
        return options with
        {
            StepSize = training.Positive("stepSize"),
            WeightNorm = training.Positive("weightNorm"),
            ResidualClip = JointRules.Covers(mode) ? null : training.Positive("residualClip"),
            MessagePrecision = JointRules.Covers(mode) ? ElementType.Float64 : options.MessagePrecision,
        };
    }

    /// <summary>What the optimisers of the full batch cannot do.</summary>
    private void CheckFullBatch(Section training, GlmTrainingOptions options)
    {
        string word = Optimizers.First(o => o.Item2 == options.Optimizer).Item1;
        if (options.BatchesPerEpoch > 1)
            training.Fault(RunFileErrors.Contradiction, "batchesPerEpoch", $"{word} works on the full batch.", "Write 1, or use sgd.");
        if (training.Has("batchSize"))
            training.Fault(RunFileErrors.Contradiction, "batchSize", $"{word} works on the full batch.", "Leave the key out, or use sgd.");
        if (_hasL1 && options.Optimizer is GlmOptimizer.Lbfgs or GlmOptimizer.Irls)
            training.Fault(RunFileErrors.Contradiction, "optimizer", $"{word} cannot follow the kinks of an L1 penalty.", "Use accelerated or sgd with model.l1.");
        Ignore(training, "stepSize", "weightNorm", "residualClip", "reshuffle");
    }

    private GlmEarlyStopping EarlyStopping(Section section)
    {
        var defaults = new GlmEarlyStopping();
        double? holdOut = section.Positive("holdOut");
        if (holdOut >= 1)
            section.Fault(RunFileErrors.OutOfRange, "holdOut", "is not below 1.", "Write a share above 0 and below 1.");
        EarlyStoppingMetric metric = section.Word("metric", StoppingMetrics, defaults.Metric);
        if (metric == EarlyStoppingMetric.Objective)
            Ignore(section, "holdOut");
        return new GlmEarlyStopping
        {
            Metric = metric,
            Patience = section.Count("patience", 1, int.MaxValue) ?? defaults.Patience,
            MinDelta = section.NotNegative("minDelta") ?? defaults.MinDelta,
            HoldOut = holdOut is < 1 ? holdOut.Value : defaults.HoldOut,
        };
    }

    private GlmClassWeights? ClassWeights(Section training)
    {
        const string Wanted = "finite numbers of at least 0, one a class, or an object such as { \"1\": 3 }, or the word \"balanced\"";
        if (!training.Has("classWeights"))
            return null;
        if (training.Is("classWeights", "balanced"))
            return GlmClassWeights.Balanced;
        if (!training.IsObject("classWeights"))
            return training.Numbers("classWeights", value => value >= 0, Wanted) is { } weights ? new GlmClassWeights.Declared(weights) : null;
        if (_classes is not { } classes)
        {
            training.Fault(RunFileErrors.MissingKey, "classWeights", "names classes, and their number is not declared.", "Declare model.classes, or write one number a class in an array.");
            return null;
        }

        // Classes that are not named weigh 1.
        double[] byClass = [.. Enumerable.Repeat(1.0, classes)];
        foreach ((string name, double weight) in training.NumberMap("classWeights", value => value >= 0, Wanted))
            if (int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int label) && label < classes && name == label.ToString(CultureInfo.InvariantCulture))
                byClass[label] = weight;
            else
                training.Fault(RunFileErrors.OutOfRange, $"classWeights.{name}", "is no class.", $"Name classes from 0 to {classes - 1}, without leading zeros; of labels -1 and +1 the first is class 0.");
        return new GlmClassWeights.Declared(byClass);
    }

    private GlmPrivacyOptions Privacy(Section privacy, PrivacyMode mode)
    {
        Section oneRound = privacy.Object("oneRound");
        if (mode != PrivacyMode.OneRound)
            Ignore(privacy, "oneRound");
        if (mode == PrivacyMode.None)
        {
            RequireMode(privacy, privacy, ModeRemedy, "epsilon", "delta", "calibration", "adjacency", "unit", "share", "evaluation", "evaluationShare", "testNoiseSeed", "oneRound", "he");
            Ignore(privacy, "calibration", "epsilon", "delta", "adjacency", "unit", "share", "evaluation", "evaluationShare", "testNoiseSeed");
            Ignore(privacy, "he");
            return new GlmPrivacyOptions();
        }

        if (!JointRules.Covers(mode))
            Ignore(privacy, "he");
        GlmHeOptions he = JointRules.Covers(mode) ? He(privacy.Object("he"), mode) : new();
        if (mode == PrivacyMode.He)
        {
            Ignore(privacy, "calibration", "epsilon", "delta", "adjacency", "unit", "share", "evaluationShare", "testNoiseSeed");
            EvaluationDisclosure measured = privacy.Word("evaluation", Evaluations, EvaluationDisclosure.Disclosed);
            if (measured == EvaluationDisclosure.Charged)
                privacy.Fault(RunFileErrors.Contradiction, "evaluation", "nothing is charged without noise.", "Write disclosed or none, or use he+dp.");
            return new GlmPrivacyOptions { Mode = mode, He = he, Evaluation = measured };
        }

        (_jobEpsilon, _jobDelta) = Budget(privacy);
        if (mode == PrivacyMode.LabelDp)
            _jobDelta = 0; // randomised response holds with delta 0
        if (mode == PrivacyMode.HeDp)
        {
            privacy.Require("epsilon", "Write a finite number above 0: one budget for a person's rows at all parties.");
            privacy.Require("delta", "Write a number above 0 and below 0.1: one budget for a person's rows at all parties.");
        }

        Calibration calibration = privacy.Word("calibration", Words.Calibrations, Calibration.Tight);
        EvaluationDisclosure evaluation = privacy.Word("evaluation", Evaluations, EvaluationDisclosure.Disclosed);
        Adjacency adjacency = privacy.Word("adjacency", Words.Adjacencies, Adjacency.ReplaceOne);
        PrivacyUnit unit = privacy.Word("unit", Words.Units, PrivacyUnit.Record);
        if (mode == PrivacyMode.LabelDp)
            (adjacency, unit) = (Adjacency.ReplaceOne, PrivacyUnit.Label);
        double share = Share(privacy, "share"), evaluationShare = Share(privacy, "evaluationShare", 0.2);
        if (mode != PrivacyMode.HdpVfl)
            Ignore(privacy, "calibration", "share");
        else if (calibration != Calibration.WeightNoise)
            Ignore(privacy, "share");
        if (mode == PrivacyMode.LabelDp)
            Ignore(privacy, "delta", "adjacency", "unit");
        // Weight noise is added in every round, and so covers the final weights already.
        if (evaluation != EvaluationDisclosure.Charged || (mode == PrivacyMode.HdpVfl && calibration == Calibration.WeightNoise))
            Ignore(privacy, "evaluationShare");
        return new GlmPrivacyOptions
        {
            Mode = mode,
            Calibration = mode == PrivacyMode.HdpVfl ? calibration : Calibration.Tight,
            Budget = _jobEpsilon is { } epsilon && _jobDelta is { } delta ? new PrivacyBudget(epsilon, delta) : null,
            He = he,
            OneRound = mode == PrivacyMode.OneRound ? OneRound(oneRound) : new(),
            Adjacency = adjacency,
            Unit = unit,
            Share = share,
            Evaluation = evaluation,
            EvaluationShare = evaluationShare,
            TestNoiseSeed = privacy.Int64("testNoiseSeed", least: 0),
        };
    }

    private GlmHeOptions He(Section section, PrivacyMode mode)
    {
        var defaults = new GlmHeOptions();
        int? bits = section.Count("keyBits", 1, int.MaxValue);
        if (bits is not (null or 2048 or 3072))
            section.Fault(RunFileErrors.OutOfRange, "keyBits", "is neither 2048 nor 3072.", "Write 2048, or 3072 for 128 bits of security.");
        _engine = new HeEngineSettings { Engine = section.Word("engine", Words.Engines, SealEngine.Auto), Workers = section.Count("workers", 1, 64) ?? (Self is null ? null : Math.Min(64, Environment.ProcessorCount)) };
        var options = new GlmHeOptions
        {
            Scheme = section.Word("scheme", Words.Schemes, defaults.Scheme),
            KeyBits = bits ?? defaults.KeyBits,
            Arbiter = section.Has("arbiter") ? PartyName(section, "arbiter") : defaults.Arbiter,
            RowsPerColumn = section.Count("rowsPerColumn", 0, int.MaxValue) ?? defaults.RowsPerColumn,
            MostRounds = section.Count("mostRounds", 1, int.MaxValue) ?? defaults.MostRounds,
        };
        if (options.Scheme == HeScheme.Ckks)
            Ignore(section, "keyBits");
        else
            Ignore(section, "engine");
        if (mode == PrivacyMode.HeDp)
            Ignore(section, "rowsPerColumn", "mostRounds");
        return options;
    }

    private static GlmOneRoundOptions OneRound(Section section)
    {
        var defaults = new GlmOneRoundOptions();
        return new GlmOneRoundOptions
        {
            ScoreClip = section.Positive("scoreClip") ?? defaults.ScoreClip,
            Alpha = section.Positive("alpha") ?? defaults.Alpha,
            GradientClip = section.Positive("gradientClip") ?? defaults.GradientClip,
            LabelRate = section.Finite("labelRate"),
        };
    }

    private static double Share(Section privacy, string key, double absent = 0.5)
    {
        double? share = privacy.Positive(key);
        if (share >= 1)
            privacy.Fault(RunFileErrors.OutOfRange, key, "is not below 1.", "Write a share above 0 and below 1.");
        return share ?? absent;
    }

    private bool Inference(Section evaluation)
    {
        if (!_isPrivate)
            return evaluation.Flag("inference") == true;
        if (evaluation.Flag("inference") == true)
            evaluation.Fault(RunFileErrors.OptimizerRefused, "inference", "standard errors need exact second moments of every party's columns, which no claim covers.", "Use mode none, or leave the key out.");
        return false;
    }

    private static (SplitRule, string? Path) Split(Section evaluation, IReadOnlyList<Section> parties)
    {
        Section split = evaluation.Object("split");
        bool ownFiles = parties.Any(party => party.Has("split"));
        if (!evaluation.Has("split"))
            return (ownFiles ? new SplitRule.FromFile() : SplitRule.None, null);
        if (split.Has("path"))
        {
            foreach (string key in new[] { "hash", "mod", "test" })
                if (split.Has(key))
                    split.Fault(RunFileErrors.Contradiction, key, "is given beside path.", "Split by file or by hash, not both.");
            return (new SplitRule.FromFile(), split.FilePath("path"));
        }

        if (!split.Require("hash", "Write { \"path\": \"split.csv\" } or { \"hash\": \"sha256\", \"mod\": 5, \"test\": [0] }."))
            return (SplitRule.None, null);
        split.Word("hash", [("sha256", 0)], 0);
        split.Require("mod", "Write a whole number of at least 2.");
        split.Require("test", "List the residues of the test rows, such as [0].");
        int? modulus = split.Count("mod", 2, int.MaxValue);
        IReadOnlyList<int>? test = split.Counts("test", 0, (modulus ?? int.MaxValue) - 1);
        if (ownFiles)
            evaluation.Fault(RunFileErrors.Contradiction, "split", "the job splits by hash, and a party by a file of its own.", "Use one of the two.");
        return (modulus is { } m && test is not null ? new SplitRule.ByHash(m, test) : SplitRule.None, null);
    }

    private (GlmRunFileParty, GlmPartyOptions) Party(Section party, IGlmFamily family, Section jobPrivacy, PrivacyMode mode, string? jobSplit)
    {
        party.Require("name", "Give the party a name.");
        party.Require("role", "Write active or passive.");
        string name = PartyName(party);
        PartyRole role = party.Word("role", Words.Roles, PartyRole.Passive);
        bool isSelf = Self?.Party == name, isHere = Self is null || isSelf;

        if (isHere && (isSelf ? Self?.Data : null) is null)
            party.Require("data", "Name the party's table, such as { \"path\": \"bank.csv\", \"id\": \"id\" }.");
        var data = (isSelf ? Self?.Data : null) ?? DataOf(party, role);
        if (data is { } table && role == PartyRole.Active && isHere && !table.HasLabelRange && GlmPlan.NeedsLabelRange(mode, family))
            party.Fault(RunFileErrors.MissingKey, "data.labelRange", $"the key is missing, and the {family.Name} family needs it in a private mode.",
                "Declare the range of the label, such as [0, 4], without looking at the data.");
        if (data?.LabelRange is { } range && range.Low < family.Bounds?.LeastLabel)
            party.Fault(RunFileErrors.OutOfRange, "data.labelRange", $"begins below 0, where a {family.Name} label cannot be.", "Begin it at 0 or above.");

        if (data?.Data.LabelWords is { Count: > 0 } words && role == PartyRole.Active)
            CheckLabelWords(isSelf && Self?.Data is not null, party, words.Count, family);

        Section split = party.Object("split");
        if (party.Has("split"))
            split.Require("path", "Name a file with the columns id,split.");
        RunFileLedger ledger = OwnLedgerOf(party, name, GlmPlan.IsPrivate(mode));
        var own = new GlmRunFileParty
        {
            Name = name,
            Role = role,
            Data = data?.Data,
            SplitPath = split.FilePath("path") ?? jobSplit,
            Ledger = ledger,
            Alignment = OwnAlignmentOf(party, name, ledger),
        };
        // Not asked for in he+dp, where one noise protects a person's rows at all parties, and a party's own budget is refused.
        PrivacyBudget? budget = OwnBudget(party, jobPrivacy, (_jobEpsilon, _jobDelta), ModeRemedy, GlmPlan.IsPrivate(mode), isRequired: mode != PrivacyMode.HeDp, isPure: mode == PrivacyMode.LabelDp);
        return (own, new GlmPartyOptions { Party = new PartyDescription(name, role), Budget = budget, LabelRange = data?.LabelRange });
    }

    private void CheckLabelWords(bool ofPartyFile, Section party, int words, IGlmFamily family)
    {
        string key = ofPartyFile ? "data.labels (of the party file)" : "data.labels";
        if (!GlmPlan.IsOfClasses(family))
            party.Fault(RunFileErrors.Contradiction, key, $"words stand for classes, and the {family.Name} family predicts numbers.", "Leave them out, or choose binomial or multinomial.");
        else if (_classes is { } classes && words != classes)
            party.Fault(RunFileErrors.Contradiction, key, $"there {Counted.Noun(words, "is", "are")} {words} {Counted.Noun(words, "word")} for {classes} classes.", "Name one word a class, that of class 0 first.");
    }

    /// <summary>The table that a party of job.json, or a party.json, names under <c>data</c>; null when it names none.</summary>
    /// <param name="owner">The object that has the key.</param>
    /// <param name="role">Role of the party; null when not known yet.</param>
    internal static PartyTable? DataOf(Section owner, PartyRole? role)
    {
        if (!owner.Has("data"))
            return null;
        Section data = owner.Object("data");
        if (role == PartyRole.Passive)
            foreach (string key in new[] { "label", "labels", "labelRange", "weight", "offset", "exposure" })
                if (data.Has(key))
                    data.Fault(RunFileErrors.Contradiction, key, "a passive party has no labels, and no weights or offsets of rows.",
                        "Leave the key out, or make this the active party.");
        data.Require("path", "Name a .csv, .npy or .svm file.");
        string path = data.FilePath("path") ?? "";
        bool csv = !SvmTable.IsNameOf(path) && !Path.GetExtension(path).Equals(".npy", StringComparison.OrdinalIgnoreCase);
        if (!csv)
            data.Require("ids", "Such a file has no ids: name a file with one id a line.");
        char separator = data.Mark("separator", CsvDialect.Separators, ',', "\",\", \";\", \"\\t\" or \"|\""), mark = data.Mark("decimal", ".,", '.', "\".\" or \",\"");
        if (csv && separator == ',' && mark == ',')
            data.Fault(RunFileErrors.Contradiction, "decimal", "is a comma, and so is data.separator: cells and decimals could not be told apart.", "Write the separator of the file, such as \";\", or leave decimal out.");
        foreach (string key in new[] { "separator", "decimal" })
            if (!csv && data.Has(key))
                data.Fault(RunFileErrors.Contradiction, key, "belongs to CSV files.", "Leave the key out, or name a file that ends in .csv.");
        string[]? words = null, idColumns = null;
        if (data.IsArray("labels"))
        {
            words = [.. data.TextList("labels")];
            if (!csv)
                data.Fault(RunFileErrors.Contradiction, "labels", "words of labels belong to CSV files.", "Leave the key out, or name a file that ends in .csv; beside a .npy table the key names the file of the labels.");
            if (words.Length < 2 || words.Any(word => word.Length == 0 || word.Trim() != word) || words.Distinct(StringComparer.Ordinal).Count() < words.Length)
                data.Fault(RunFileErrors.OutOfRange, "labels", "there are fewer than two words, or one is empty, has white space at an end, or is there twice.", "Name the word of every class once, that of class 0 first, such as [\"no\", \"yes\"].");
        }

        if (data.IsArray("id"))
        {
            idColumns = [.. data.TextList("id")];
            if (!csv)
                data.Fault(RunFileErrors.Contradiction, "id", "such a file has no named columns: its ids are lines of the file that ids names.", "Leave the key out.");
            if (idColumns.Length == 0 || idColumns.Any(string.IsNullOrWhiteSpace) || idColumns.Distinct(StringComparer.Ordinal).Count() < idColumns.Length)
                data.Fault(RunFileErrors.OutOfRange, "id", "the array is empty, or a column in it is empty or there twice.", "Name the columns that make an id together, such as [\"name\", \"born\"].");
        }

        return new PartyTable(new TableSource
        {
            Path = path,
            Separator = separator,
            DecimalMark = mark,
            Id = data.IsArray("id") ? null : data.Text("id"),
            IdColumns = idColumns,
            Label = data.Text("label"),
            Schema = data.FilePath("schema"),
            Ids = data.FilePath("ids"),
            Labels = words is null ? data.FilePath("labels") : null,
            LabelWords = words,
            Weight = ColumnOrFile("weight"),
            Offset = ColumnOrFile("offset"),
            Exposure = ColumnOrFile("exposure"),
            FirstIndex = data.Count("firstIndex", 0, 1),
            Columns = data.Count("columns", 1, 10_000_000),
            Storage = data.Word("storage", Storages, FeatureStorage.Float64),
            Scratch = data.FilePath("scratch"),
        }, data.Range("labelRange"), data.Has("labelRange"));

        string? ColumnOrFile(string key) => csv ? data.Text(key) : data.FilePath(key);
    }

    private static void CheckSplits(Section file, GlmRunFileParty[] parties)
    {
        GlmRunFileParty[] unsplit = [.. parties.Where(party => party.SplitPath is null)];
        if (unsplit.Length > 0 && unsplit.Length < parties.Length)
            file.Fault(RunFileErrors.MissingKey, "parties", $"'{unsplit[0].Name}' has no split file, while another party has one.",
                "Give every party one, or name one for all under evaluation.split.");
    }
}
