using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Dssm;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Cli.RunFiles;

/// <summary>Reads the job.json of a recommendation model.</summary>
/// <param name="path">File.</param>
/// <param name="self">In a real session, this machine's side. Null: all parties run here.</param>
internal sealed class DssmRunFileReader(string path, OwnSide? self = null) : RunFileReader(path, self)
{
    private static readonly (string, DssmFusion)[] Fusions = [("late", DssmFusion.Late), ("sum", DssmFusion.Sum), ("concat", DssmFusion.Concat)];
    private static readonly (string, TowerActivation)[] Activations = [("tanh", TowerActivation.Tanh), ("relu", TowerActivation.Relu)];
    private static readonly (string, NegativeSource)[] Sources = [("uniform", NegativeSource.Uniform), ("mixed", NegativeSource.Mixed), ("cached", NegativeSource.Cached),
        ("hard", NegativeSource.Hard), ("popularity", NegativeSource.Popularity)];
    private static readonly (string, TowerPrecision)[] Precisions = [("float32", TowerPrecision.Float32), ("float64", TowerPrecision.Float64)];
    private static readonly (string, TowerOptimizerKind)[] Optimizers =
        [("adam", TowerOptimizerKind.Adam), ("sgd", TowerOptimizerKind.Sgd), ("adagrad", TowerOptimizerKind.Adagrad)];
    private static readonly (string, bool)[] TrainingModes = [("split", false), ("device", true)];
    private static readonly (string, bool)[] Modes = [("none", false), ("dp", true)];
    private static readonly (string, DssmNoise)[] Noises = [("embeddings", DssmNoise.Embeddings), ("gradients", DssmNoise.Gradients), ("both", DssmNoise.Both)];
    private static readonly (string, EmbeddingClaim)[] Claims = [("own-messages", EmbeddingClaim.OwnMessages), ("full", EmbeddingClaim.Full), ("one-shot", EmbeddingClaim.OneShot)];
    private static readonly (string, EmbeddingUnit)[] Units = [("sample", EmbeddingUnit.Sample), ("event", EmbeddingUnit.Event), ("user", EmbeddingUnit.User)];
    private static readonly (string, SampleTime)[] Times = [("exact", SampleTime.Exact), ("day", SampleTime.Day)];

    private const string ModeRemedy = "Write privacy.mode: dp to have noise; none if that is meant.";
    private static readonly string[] PrivacyKeys =
        ["noise", "claim", "epsilon", "delta", "unit", "clip", "parameterClip", "messageShare", "historyEvents", "maxSamplesPerUser", "evaluation", "testNoiseSeed"];

    private double? _jobEpsilon, _jobDelta;
    private bool _labelHasView;

    /// <inheritdoc />
    public override DssmRunFile Read()
    {
        Section file = Section.Load(Faults, RunFileKeys.Dssm);
        Section model = file.Object("model");
        model.Word("type", Types, JobKind.Dssm);
        Section training = file.Object("training");
        DssmTrainingOptions schedule = Training(training);
        Section protection = file.Object("privacy");
        DssmPrivacyOptions privacy = Privacy(protection);
        if (privacy.IsPrivate && schedule.ValidationStop is null)
            Ignore(training, "patience");
        file.Require("parties", "List one active party, which has the events, and any number of passive ones, each with a view of the users.");
        (DssmRunFileParty Own, DssmPartyOptions Agreed)[] parties = [.. file.Objects("parties").Select(party => Party(party, protection, privacy))];
        CheckParties(file, [.. parties.Select(party => party.Own)]);
        DssmModelOptions options = Model(model, [.. parties.Select(party => party.Own.Name)]);
        string name = file.Text("name") ?? "job";
        TransportSettings transport = Transport(file.Object("transport"));
        SampleTime time = file.Word("sampleTime", Times, SampleTime.Exact);
        int threads = training.Count("threads", 1, 1024) ?? 1;
        bool masked = MaskedSum(file, options, parties);
        JobAlignment alignment = AlignmentOf(file, transport, parties.Length);
        Faults.ThrowIfAny();

        var run = new DssmRunFile([.. parties.Select(party => party.Own)])
        {
            Path = Faults.File,
            Directory = file.Folder,
            Job = new DssmJob
            {
                Name = name,
                Model = options,
                Training = schedule,
                Privacy = privacy,
                SampleTime = time,
                MaskedSum = masked,
                Alignment = alignment.Method,
                AlignmentProof = alignment.Proof,
                LabelHasView = _labelHasView,
                Parties = [.. parties.Select(party => party.Agreed)],
            },
            Threads = threads,
            Transport = transport,
            Alignment = alignment,
            Ignored = Ignored,
            Warnings = Warnings,
        };
        DssmPlan.Create(run.Job); // what no claim covers is refused here, before any table is read
        return run;
    }

    private DssmModelOptions Model(Section model, IReadOnlyList<string> parties)
    {
        var defaults = new DssmModelOptions();
        DssmLossKind loss = model.Word("loss", Words.Losses, defaults.Loss);
        if (loss != DssmLossKind.Sampled)
            Ignore(model, "negatives", "negativeSource");
        int? negatives = model.Count("negatives", 1, 1_000_000);
        NegativeSource source = model.Word("negativeSource", Sources, defaults.NegativeSource);
        bool learned = model.Is("viewWeights", "learned");
        return new DssmModelOptions
        {
            Fusion = model.Word("fusion", Fusions, defaults.Fusion),
            Layers = model.Numbers("layers", width => width == Math.Floor(width) && width is >= 1 and <= 1_000_000, "whole numbers from 1 to 1000000, the width of each layer, such as [128, 64]") is { } layers
                ? [.. layers.Select(width => (int)width)] : defaults.Layers,
            Activation = model.Word("activation", Activations, defaults.Activation),
            LayerNorm = model.Flag("layerNorm") ?? defaults.LayerNorm,
            Dropout = BelowOne(model, "dropout"),
            Gamma = model.Positive("gamma") ?? defaults.Gamma,
            Loss = loss,
            Negatives = loss == DssmLossKind.Sampled ? negatives ?? defaults.Negatives : defaults.Negatives,
            NegativeSource = loss == DssmLossKind.Sampled ? source : defaults.NegativeSource,
            ViewDropout = BelowOne(model, "viewDropout"),
            LearnViewWeights = learned,
            ViewWeights = learned || !model.Has("viewWeights") ? defaults.ViewWeights : ViewWeights(model, parties),
            ItemBias = model.Flag("itemBias") ?? defaults.ItemBias,
            Precision = model.Word("precision", Precisions, defaults.Precision),
        };
    }

    private static Dictionary<string, double> ViewWeights(Section model, IReadOnlyList<string> parties)
    {
        var weights = new Dictionary<string, double>();
        foreach ((string view, double weight) in model.NumberMap("viewWeights", DssmLoss.IsViewWeight, "\"learned\", or numbers of 1e-100 to 1e100 by view, such as { \"taste\": 0.5 }"))
            if (!parties.Contains(view))
                model.Fault(RunFileErrors.Parties, $"viewWeights.{view}", $"the job has no party '{view}'.", parties.Count > 0 ? $"Did you mean '{Spelling.Nearest(view, parties)}'?" : "List it.");
            else if (!weights.TryAdd(view, weight))
                model.Fault(RunFileErrors.DuplicateKey, $"viewWeights.{view}", "the key is written twice.", "Keep one of them.");
        return weights;
    }

    private static double BelowOne(Section section, string key)
    {
        double? share = section.NotNegative(key);
        if (share >= 1)
            section.Fault(RunFileErrors.OutOfRange, key, "is not below 1.", "Write a share of at least 0 and below 1.");
        return share ?? 0;
    }

    private DssmTrainingOptions Training(Section training)
    {
        if (training.Word("mode", TrainingModes, absent: false))
            training.Fault(RunFileErrors.NotYet, "mode", "'device' comes with a later release of the run file.", "Use split, or the library's device rounds.");
        else if (training.Has("device"))
            Ignore(training, "device");
        var defaults = new DssmTrainingOptions();
        var optimizer = new TowerOptimizer();
        bool? stop = training.Flag("validationStop");
        if (stop == false)
            Ignore(training, "patience");
        return new DssmTrainingOptions
        {
            Epochs = training.Count("epochs", 1, 1_000_000) ?? defaults.Epochs,
            BatchSize = training.Count("batchSize", 1, int.MaxValue) ?? defaults.BatchSize,
            Optimizer = new TowerOptimizer
            {
                Kind = training.Word("optimizer", Optimizers, optimizer.Kind),
                Rate = training.Positive("stepSize") ?? optimizer.Rate,
                WeightDecay = training.NotNegative("weightDecay") ?? optimizer.WeightDecay,
            },
            ValidationStop = stop,
            Patience = training.Count("patience", 1, int.MaxValue) ?? defaults.Patience,
            Seed = training.Int64("seed") ?? defaults.Seed,
            CheckpointRounds = training.Count("checkpointRounds", 0, 1_000_000) ?? defaults.CheckpointRounds,
        };
    }

    private DssmPrivacyOptions Privacy(Section privacy)
    {
        string? ofGlm = Words.Modes.Where(m => m.Meaning != PrivacyMode.None).Select(m => m.Word).FirstOrDefault(word => privacy.Is("mode", word));
        if (ofGlm is not null)
            privacy.Fault(RunFileErrors.ModeOfOtherModel, "mode", $"'{ofGlm}' protects generalised linear models.",
                "Use none, or dp with privacy.noise (embeddings | gradients | both) and privacy.claim (own-messages | full | one-shot).");
        if (ofGlm is not null || !privacy.Word("mode", Modes, absent: false))
        {
            RequireMode(privacy, privacy, ModeRemedy, PrivacyKeys);
            Ignore(privacy, PrivacyKeys);
            return new DssmPrivacyOptions();
        }

        var defaults = new DssmPrivacyOptions();
        (_jobEpsilon, _jobDelta) = Budget(privacy);
        EmbeddingClaim claim = privacy.Word("claim", Claims, defaults.Claim);
        DssmNoise noise = privacy.Word("noise", Noises, claim == EmbeddingClaim.OneShot ? DssmNoise.Embeddings : DssmNoise.Both);
        if (claim == EmbeddingClaim.OneShot && noise != DssmNoise.Embeddings)
            privacy.Fault(RunFileErrors.Contradiction, "noise", "nothing but embeddings is sent under privacy.claim one-shot.", "Write embeddings, or leave the key out.");
        EmbeddingUnit unit = privacy.Word("unit", Units, defaults.Unit);
        if (unit == EmbeddingUnit.Event)
            privacy.Require("historyEvents", "Declare how many other samples' features may contain one event, such as 50 for a history of the last 50.");
        if (unit == EmbeddingUnit.User)
            privacy.Require("maxSamplesPerUser", "Declare the cap on a user's training samples, such as 20; samples beyond it are left out by hash order.");
        double? share = privacy.Positive("messageShare");
        if (share >= 1)
            privacy.Fault(RunFileErrors.OutOfRange, "messageShare", "is not below 1.", "Write a share above 0 and below 1.");
        if (claim != EmbeddingClaim.Full)
            Ignore(privacy, "parameterClip", "messageShare");
        return new DssmPrivacyOptions
        {
            Noise = noise,
            Claim = claim,
            Budget = _jobEpsilon is { } epsilon && _jobDelta is { } delta ? new PrivacyBudget(epsilon, delta) : null,
            Unit = unit,
            Clip = privacy.Positive("clip") ?? defaults.Clip,
            ParameterClip = privacy.Positive("parameterClip") ?? defaults.ParameterClip,
            MessageShare = share is < 1 ? share.Value : defaults.MessageShare,
            HistoryEvents = privacy.Count("historyEvents", 0, int.MaxValue),
            MaxSamplesPerUser = privacy.Count("maxSamplesPerUser", 1, int.MaxValue),
            Evaluation = privacy.Word("evaluation", Evaluations, defaults.Evaluation),
            TestNoiseSeed = privacy.Int64("testNoiseSeed"),
        };
    }

    private (DssmRunFileParty, DssmPartyOptions) Party(Section party, Section jobPrivacy, DssmPrivacyOptions privacy)
    {
        party.Require("name", "Give the party a name.");
        party.Require("role", "Write active or passive.");
        string name = PartyName(party);
        PartyRole role = party.Word("role", Words.Roles, PartyRole.Passive);
        bool isSelf = Self?.Party == name, isHere = Self is null || isSelf;
        DssmData? instead = isSelf ? Self?.Recommendation : null;
        if (isHere && instead is null)
            party.Require("data", role == PartyRole.Active ? "Name the events and the items, such as { \"interactions\": \"interactions.csv\", \"items\": { \"path\": \"items.csv\", \"schema\": \"items.schema.json\" } }."
                : "Name the view, such as { \"view\": { \"path\": \"users.csv\", \"schema\": \"users.schema.json\" } }.");
        DssmData? data = instead ?? DataOf(party, role);
        if (role == PartyRole.Passive && party.Has("hasView"))
            party.Fault(RunFileErrors.Contradiction, "hasView", "a passive party always has a view.", "Leave the key out.");
        if (role == PartyRole.Active)
            _labelHasView = LabelHasView(party, data);
        if (role == PartyRole.Passive && party.Has("itemTower"))
            party.Fault(RunFileErrors.Contradiction, "itemTower", "a passive party has no items.", "Leave the key out.");
        if (role == PartyRole.Active && !_labelHasView && party.Has("tower"))
            party.Fault(RunFileErrors.Contradiction, "tower", "the party has no view.", "Leave the key out; the tower of the items is itemTower.");
        RunFileLedger ledger = OwnLedgerOf(party, name, privacy.IsPrivate);
        var own = new DssmRunFileParty
        {
            Name = name,
            Role = role,
            Data = data,
            Tower = Module(party, "tower"),
            ItemTower = Module(party, "itemTower"),
            Ledger = ledger,
            Alignment = OwnAlignmentOf(party, name, ledger),
        };
        // Only a party that noises needs any.
        bool noises = privacy.IsPrivate && privacy.Noise.HasFlag(role == PartyRole.Active ? DssmNoise.Gradients : DssmNoise.Embeddings);
        return (own, new DssmPartyOptions { Party = new PartyDescription(name, role), Budget = OwnBudget(party, jobPrivacy, (_jobEpsilon, _jobDelta), ModeRemedy, noises) });
    }

    // Whether the active party has a view is a term of the job. Where its machine names its tables in a file of its own, the job has to say it.
    private static bool LabelHasView(Section party, DssmData? data)
    {
        bool named = DataOf(party, role: null)?.View is not null, has = party.Flag("hasView") ?? named;
        if (data is not null && data.View is not null != has)
            party.Fault(RunFileErrors.Contradiction, "hasView", has ? "is true, and the party's data names no view." : "is not true, and the party's data names a view.",
                "Write at every party whether the active party has a view: \"hasView\": true or false.");
        return has;
    }

    private static string? Module(Section party, string key)
    {
        Section tower = party.Object(key);
        if (party.Has(key))
            tower.Require("torchScript", "Name a TorchScript module, such as \"tower.pt\".");
        return tower.FilePath("torchScript");
    }

    private static bool MaskedSum(Section file, DssmModelOptions model, (DssmRunFileParty Own, DssmPartyOptions)[] parties)
    {
        bool masked = file.Flag("maskedSum") == true;
        if (masked && model.Fusion != DssmFusion.Sum)
            file.Fault(RunFileErrors.Contradiction, "maskedSum", "only the vectors of the fusion sum are added.", "Set model.fusion to sum, or leave the key out.");
        else if (masked && parties.Count(party => party.Own.Role == PartyRole.Passive) < 2)
            file.Fault(RunFileErrors.Contradiction, "maskedSum", "masks hide one view among several, and the job has fewer than two passive parties.", "Leave the key out.");
        return masked;
    }

    /// <summary>The tables that a party of job.json, or a party.json, names under <c>data</c>; null when it names none.</summary>
    /// <param name="owner">The object that has the key.</param>
    /// <param name="role">Role of the party; null when not known yet.</param>
    internal static DssmData? DataOf(Section owner, PartyRole? role)
    {
        if (!owner.Has("data"))
            return null;
        Section data = owner.Object("data");
        if (role == PartyRole.Passive)
        {
            foreach (string key in new[] { "interactions", "items" })
                if (data.Has(key))
                    data.Fault(RunFileErrors.Contradiction, key, "a passive party has a view of the users alone.", "Leave the key out, or make this the active party.");
            data.Require("view", "Name the view, such as { \"path\": \"users.csv\", \"schema\": \"users.schema.json\" }.");
        }
        else if (role == PartyRole.Active)
        {
            data.Require("interactions", "Name the file of events: user, item, time, role.");
            data.Require("items", "Name the items, such as { \"path\": \"items.csv\", \"schema\": \"items.schema.json\" }.");
        }

        return new DssmData { Interactions = data.FilePath("interactions"), Items = Table(data, "items"), View = Table(data, "view") };
    }

    private static DssmTableFile? Table(Section data, string key)
    {
        Section table = data.Object(key);
        if (data.Has(key))
        {
            table.Require("path", "Name a .csv file.");
            table.Require("schema", "Name the schema that says what its columns are.");
        }

        return table.FilePath("path") is { } path ? new DssmTableFile(path, table.FilePath("schema"), table.Mark("decimal", ".,", '.', "\".\" or \",\"")) : null;
    }
}
