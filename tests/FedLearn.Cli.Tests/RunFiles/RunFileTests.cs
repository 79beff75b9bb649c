using System.Text;
using System.Text.Json.Nodes;
using FedLearn.Alignment;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Cli.Tests.RunFiles;

public sealed class RunFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private const string Plain = """
        {
          // comments and trailing commas are fine
          "$schema": "https://example.org/job.schema.json",
          "name": "credit",
          "model": { "type": "glm", "family": "binomial", "l2": 0.01, "intercept": true },
          "parties": [
            { "name": "bank", "role": "active", "data": { "path": "guest.csv", "id": "id", "label": "y", "schema": "guest.schema.json" } },
            { "name": "telco", "role": "passive", "data": { "path": "sub/host.csv" } },
          ],
          "alignment": "hashed",
        }
        """;

    private const string Private = """
        {
          "model": { "family": "binomial" },
          "training": { "epochs": 2, "batchesPerEpoch": 50, "stepSize": 1.5, "weightNorm": 1, "residualClip": 0.5, "seed": -7 },
          "privacy": { "mode": "hdp-vfl", "epsilon": 1, "delta": 1e-5 },
          "parties": [ { "name": "bank", "role": "active", "data": { "path": "guest.csv" } }, { "name": "telco", "role": "passive", "data": { "path": "host.csv" } } ],
          "alignment": "hashed"
        }
        """;

    public void Dispose() => _folder.Dispose();

    private GlmRunFile Load(string text) => GlmRunFile.Load(_folder.Write("job.json", text));

    // The file with one value replaced or, for a null text, removed. A path has steps such as model, parties[1], data.
    private static string With(string text, string path, string? json)
    {
        JsonNode root = JsonNode.Parse(text, documentOptions: new() { CommentHandling = System.Text.Json.JsonCommentHandling.Skip, AllowTrailingCommas = true })!;
        string[] steps = path.Replace("[", ".[", StringComparison.Ordinal).Split('.', StringSplitOptions.RemoveEmptyEntries);
        JsonNode at = root;
        foreach (string step in steps[..^1])
            at = step[0] == '[' ? at[int.Parse(step[1..^1], null)]! : at[step] ??= new JsonObject();
        if (json is null)
            at.AsObject().Remove(steps[^1]);
        else
            at[steps[^1]] = JsonNode.Parse(json);
        return root.ToJsonString();
    }

    private T Refused<T>(string text, string id, string key) where T : FedLearnException
    {
        var error = Assert.Throws<T>(() => Load(text));
        Assert.Equal(id, error.Id);
        Assert.Contains("job.json", error.Place, StringComparison.Ordinal);
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        return error;
    }

    [Fact]
    public void Load_InterceptByAnotherWord_NamesAllThatItMayBe() =>
        Assert.Contains("true or false, without quotes, or \"free\"", Refused<ConfigurationException>(With(Plain, "model.intercept", "\"yes\""), RunFileErrors.WrongType, "model.intercept").Remedy, StringComparison.Ordinal);

    /// <summary>A name is part of file names.</summary>
    [Theory]
    [InlineData(".bank")]
    [InlineData("-bank")]
    [InlineData("bank/north")]
    [InlineData("a2345678901234567890123456789012345678901234567890123456789012345")]
    public void Load_NameThatNoFileMayHave_Refused(string name) => Refused<ConfigurationException>(With(Plain, "parties[0].name", $"\"{name}\""), RunFileErrors.Parties, "parties[0].name");

    [Fact]
    public void Load_NameOf64Characters_IsAName() => Assert.Equal(64, Load(With(Plain, "parties[0].name", $"\"{new string('a', 64)}\"")).Parties[0].Name.Length);

    [Fact]
    public void Load_LedgerThatIsAFolder_Refused() => Refused<ConfigurationException>(With(Plain, "parties[0].ledger", "{ \"path\": \"ledgers/\" }"), RunFileErrors.OutOfRange, "such as \"bank.ledger.db\"");

    [Fact]
    public void Load_SeparatorAndDecimal_AreTheTables()
    {
        TableSource usual = Load(Plain).Parties[0].Data!, data = Load(With(With(Plain, "parties[0].data.separator", "\"\\t\""), "parties[0].data.decimal", "\",\"")).Parties[0].Data!;
        Assert.Equal((',', '.'), (usual.Separator, usual.DecimalMark));
        Assert.Equal(('\t', ','), (data.Separator, data.DecimalMark));
    }

    [Theory]
    [InlineData("separator", "\":\"", RunFileErrors.UnknownWord, "Write \",\", \";\"")]
    [InlineData("separator", "\"\"", RunFileErrors.UnknownWord, "separator")]
    [InlineData("separator", "5", RunFileErrors.WrongType, "separator")]
    [InlineData("decimal", "\";\"", RunFileErrors.UnknownWord, "decimal")]
    [InlineData("decimal", "\",\"", RunFileErrors.Contradiction, "such as \";\"")]
    public void Load_SeparatorOrDecimalThatIsNone_Refused(string key, string json, string id, string said) => Refused<ConfigurationException>(With(Plain, $"parties[0].data.{key}", json), id, said);

    [Fact]
    public void Load_LabelsByWords_AreTheTables()
    {
        TableSource data = Load(With(Plain, "parties[0].data.labels", """["no", "yes"]""")).Parties[0].Data!;
        Assert.Equal(["no", "yes"], data.LabelWords!);
        Assert.Null(data.Labels);
    }

    [Theory]
    [InlineData("binomial", """["no", "maybe", "yes"]""", RunFileErrors.Contradiction, "3 words for 2 classes")]
    [InlineData("poisson", """["no", "yes"]""", RunFileErrors.Contradiction, "predicts numbers")]
    [InlineData("binomial", """["no"]""", RunFileErrors.OutOfRange, "data.labels")]
    [InlineData("binomial", """["no", " no"]""", RunFileErrors.OutOfRange, "data.labels")]
    [InlineData("binomial", """["no", 1]""", RunFileErrors.WrongType, "data.labels")]
    public void Load_LabelsByWordsThatDoNotFit_Refused(string family, string words, string id, string said) =>
        Refused<ConfigurationException>(With(With(Plain, "model.family", $"\"{family}\""), "parties[0].data.labels", words), id, said);

    [Fact]
    public void Load_LabelsByWordsBesideAnArray_Refused() =>
        Refused<ConfigurationException>(With(Plain, "parties[0].data", """{ "path": "a.npy", "ids": "a.txt", "labels": ["no", "yes"] }"""), RunFileErrors.Contradiction, "data.labels");

    [Fact]
    public void Load_SeparatorOfAnArray_Refused() => Refused<ConfigurationException>(With(Plain, "parties[1].data", """{ "path": "host.npy", "ids": "host.txt", "separator": ";" }"""), RunFileErrors.Contradiction, "data.separator");

    [Fact]
    public void Load_PlainJob_MapsEveryKey()
    {
        GlmRunFile run = Load(Plain);
        Assert.Equal("credit", run.Job.Name);
        Assert.Same(GlmFamilies.Binomial, run.Job.Model.Family);
        Assert.Equal(0.01, run.Job.Model.L2);
        Assert.Equal(GlmIntercept.Default, run.Job.Model.Intercept);
        Assert.Equal(GlmOptimizer.Lbfgs, run.Job.Training.Optimizer);
        Assert.Equal(new PreprocessingOptions { Scaling = Scaling.Standardize, Rows = RowBound.None, Constant = false }, run.Job.Preprocessing);
        Assert.Equal(new GlmPrivacyOptions(), run.Job.Privacy);
        Assert.Same(SplitRule.None, run.Job.Split);
        Assert.Equal(new TransportSettings(), run.Transport);
        Assert.Equal((60, 60, 300, 256 << 20), (run.Transport.Timeout.TotalSeconds, run.Transport.ConnectTimeout.TotalSeconds, run.Transport.ResumeTimeout.TotalSeconds, run.Transport.MaxMessageBytes));
        Assert.Equal([new PartyDescription("bank", PartyRole.Active), new PartyDescription("telco", PartyRole.Passive)], run.Job.Parties.Select(p => p.Party));
        Assert.Equal(_folder.Path, run.Directory);
        Assert.Equal(new TableSource
        {
            Path = Path.Combine(_folder.Path, "guest.csv"),
            Id = "id",
            Label = "y",
            Schema = Path.Combine(_folder.Path, "guest.schema.json"),
        }, run.Party("bank").Data);
        Assert.Equal(Path.Combine(_folder.Path, "sub", "host.csv"), run.Party("telco").Data!.Path);
        Assert.Equal(new RunFileLedger { Path = Path.Combine(_folder.Path, "telco.ledger.db") }, run.Party("telco").Ledger);
        Assert.Empty(run.Ignored);
        Assert.Empty(run.Warnings);
    }

    [Fact]
    public void Load_PrivateJob_FillsItsDefaults()
    {
        GlmJob job = Load(Private).Job;
        Assert.Equal("job", job.Name);
        Assert.Equal(new GlmTrainingOptions
        {
            Epochs = 2,
            BatchesPerEpoch = 50,
            StepSize = 1.5,
            WeightNorm = 1,
            ResidualClip = 0.5,
            Seed = -7,
            Optimizer = GlmOptimizer.Sgd,
        }, job.Training);
        Assert.Equal(new GlmPrivacyOptions { Mode = PrivacyMode.HdpVfl, Budget = new PrivacyBudget(1, 1e-5) }, job.Privacy);
        Assert.Equal(new PreprocessingOptions { Scaling = Scaling.Declared, Rows = RowBound.Clip, Constant = true }, job.Preprocessing);
        Assert.Equal(0.001, job.Model.L2);
    }

    [Fact]
    public void Load_EveryOptionalKey_IsMapped()
    {
        string text = Private;
        foreach ((string path, string json) in new[]
        {
            ("privacy.calibration", "\"paper\""), ("privacy.adjacency", "\"replace-one\""), ("privacy.evaluation", "\"none\""), ("privacy.testNoiseSeed", "9223372036854775807"),
            ("training.messagePrecision", "\"float32\""), ("training.latticeBits", "9"), ("training.checkpointRounds", "20"), ("training.optimizer", "\"sgd\""), ("model.family", "\"poisson\""), ("model.intercept", "\"free\""), ("model.l2", "0"),
            ("preprocessing", """{ "scaling": "rounded", "rows": "normalize", "constant": false, "rowNorm": 2 }"""),
            ("evaluation", """{ "split": { "hash": "sha256", "mod": 5, "test": [0, 3] } }"""),
            ("transport", """{ "kind": "in-memory", "timeoutSeconds": 0.5, "connectTimeoutSeconds": 9, "resumeSeconds": 7, "maxMessageBytes": 4096 }"""),
            ("parties[0].data.labelRange", "[0, 4]"), ("parties[0].data.weight", "\"w\""), ("parties[0].data.offset", "\"o\""), ("parties[0].data.exposure", "\"e\""), ("parties[1].privacy", """{ "epsilon": 3 }"""),
            ("parties[1].ledger", """{ "path": "l.db", "budget": { "epsilon": 9, "delta": 0.01 } }"""),
        })
            text = With(text, path, json);
        GlmRunFile run = Load(text);
        GlmPrivacyOptions privacy = run.Job.Privacy;
        Assert.Equal((Calibration.Paper, EvaluationDisclosure.None, (long?)long.MaxValue), (privacy.Calibration, privacy.Evaluation, privacy.TestNoiseSeed));
        Assert.Equal((ElementType.Float32, 9, 20), (run.Job.Training.MessagePrecision, run.Job.Training.LatticeBits, run.Job.Training.CheckpointRounds));
        Assert.Equal((GlmFamilies.Poisson, GlmIntercept.Free, 0), (run.Job.Model.Family, run.Job.Model.Intercept, run.Job.Model.L2));
        Assert.Equal(new PreprocessingOptions { Scaling = Scaling.Rounded, Rows = RowBound.Normalize, Constant = false, RowNorm = 2 }, run.Job.Preprocessing);
        var hash = Assert.IsType<SplitRule.ByHash>(run.Job.Split);
        Assert.Equal(5, hash.Modulus);
        Assert.Equal([0, 3], hash.Test);
        Assert.Equal(new TransportSettings
        {
            Kind = TransportKind.InMemory,
            Timeout = TimeSpan.FromSeconds(0.5),
            ConnectTimeout = TimeSpan.FromSeconds(9),
            ResumeTimeout = TimeSpan.FromSeconds(7),
            MaxMessageBytes = 4096,
        }, run.Transport);
        Assert.Equal((0.0, 4.0), run.Job.Parties[0].LabelRange);
        Assert.Equal(("w", "o", "e"), (run.Party("bank").Data!.Weight, run.Party("bank").Data!.Offset, run.Party("bank").Data!.Exposure));
        Assert.Null(run.Job.Parties[0].Budget);
        Assert.Equal(new PrivacyBudget(3, 1e-5), run.Job.Parties[1].Budget);
        Assert.Equal(new RunFileLedger { Path = Path.Combine(_folder.Path, "l.db"), Budget = new PrivacyBudget(9, 0.01) }, run.Parties[1].Ledger);
    }

    [Theory]
    [InlineData("privacy.epsilonn", "epsilon")]
    [InlineData("privacy.Delta", "delta")]
    [InlineData("training.epochz", "epochs")]
    [InlineData("training.batchPerEpoch", "batchesPerEpoch")]
    [InlineData("modle", "model")]
    [InlineData("parties[1].data.pth", "path")]
    [InlineData("parties[0].rolle", "role")]
    [InlineData("privacy.oneRound.scoreclip", "scoreClip")]
    [InlineData("evaluation.splt", "split")]
    public void Load_UnknownKey_NamesPathAndNearestKey(string path, string nearest)
    {
        var error = Refused<ConfigurationException>(With(Private, path, "1"), RunFileErrors.UnknownKey, path);
        Assert.Contains($"'{nearest}'", error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("privacy.mode", "hdpvfl", "'hdp-vfl'")]
    [InlineData("privacy.unit", "recrod", "'record'")]
    [InlineData("privacy.mode", "repaired", null)] // none is the nearest word, and the last that was meant
    [InlineData("privacy.mode", "dp", null)]
    [InlineData("preprocessing.rows", "truncate", null)]
    [InlineData("parties[1].role", "host", null)]
    public void Load_UnknownWord_NamesTheNearestOnlyWhereItIsNear(string path, string word, string? meant)
    {
        string remedy = Refused<ConfigurationException>(With(Private, path, $"\"{word}\""), RunFileErrors.UnknownWord, path).Remedy;
        Assert.Equal(meant is not null, remedy.Contains("Did you mean", StringComparison.Ordinal));
        Assert.Contains(meant ?? "It knows", remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_TextWithHalfASurrogatePair_IsNoText() => Refused<ConfigurationException>(Plain.Replace("\"credit\"", "\"\\ud800\"", StringComparison.Ordinal), RunFileErrors.Malformed, "half a surrogate pair");

    [Fact]
    public void Load_LongWord_IsShownByItsBeginning()
    {
        string word = new('w', 41);
        Assert.Contains($"'{word[..40]}...' is no word", Refused<ConfigurationException>(With(Private, "training.optimizer", $"\"{word}\""), RunFileErrors.UnknownWord, "optimizer").Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_KeyNearNone_ListsTheKnownOnes() =>
        Assert.Contains("epochs, ", Refused<ConfigurationException>(With(Private, "training.momentum_decay", "1"), RunFileErrors.UnknownKey, "momentum_decay").Remedy, StringComparison.Ordinal);

    [Fact]
    public void Load_KeyOfAnotherSection_NamesThatSection() =>
        Assert.Contains("training.epochs", Refused<ConfigurationException>(With(Private, "model.epochs", "1"), RunFileErrors.UnknownKey, "model.epochs").Remedy, StringComparison.Ordinal);

    [Theory]
    [InlineData("privacy.epsilon", "\"NaN\"", RunFileErrors.WrongType)]
    [InlineData("privacy.epsilon", "-1", RunFileErrors.OutOfRange)]
    [InlineData("privacy.epsilon", "0", RunFileErrors.OutOfRange)]
    [InlineData("privacy.epsilon", "1e999", RunFileErrors.OutOfRange)]
    [InlineData("privacy.epsilon", "true", RunFileErrors.WrongType)]
    [InlineData("privacy.delta", "0", RunFileErrors.OutOfRange)]
    [InlineData("privacy.delta", "-1e-5", RunFileErrors.OutOfRange)]
    [InlineData("privacy.delta", "\"1e-5\"", RunFileErrors.WrongType)]
    [InlineData("privacy.testNoiseSeed", "-1", RunFileErrors.OutOfRange)]
    [InlineData("privacy", "[]", RunFileErrors.WrongType)]
    [InlineData("privacy.mode", "\"dp\"", RunFileErrors.UnknownWord)]
    [InlineData("privacy.mode", "1", RunFileErrors.WrongType)]
    [InlineData("training.stepSize", "0", RunFileErrors.OutOfRange)]
    [InlineData("training.stepSize", "\"big\"", RunFileErrors.WrongType)]
    [InlineData("training.stepSize", "-1e999", RunFileErrors.OutOfRange)]
    [InlineData("training.weightNorm", "0", RunFileErrors.OutOfRange)]
    [InlineData("training.residualClip", "-2", RunFileErrors.OutOfRange)]
    [InlineData("training.weightNorm", null, RunFileErrors.MissingKey)]
    [InlineData("training.residualClip", null, RunFileErrors.MissingKey)]
    [InlineData("training.epochs", "0", RunFileErrors.OutOfRange)]
    [InlineData("training.epochs", "1.5", RunFileErrors.OutOfRange)]
    [InlineData("training.epochs", "1000001", RunFileErrors.OutOfRange)]
    [InlineData("training.epochs", "1e30", RunFileErrors.OutOfRange)]
    [InlineData("training.batchesPerEpoch", "0", RunFileErrors.OutOfRange)]
    [InlineData("training.batchSize", "64", RunFileErrors.Contradiction)]
    [InlineData("training.seed", "1.5", RunFileErrors.OutOfRange)]
    [InlineData("training.seed", "1e40", RunFileErrors.OutOfRange)]
    [InlineData("training.optimizer", "\"newton\"", RunFileErrors.UnknownWord)]
    [InlineData("training.reshuffle", "1", RunFileErrors.WrongType)]
    [InlineData("privacy.unit", "\"column\"", RunFileErrors.UnknownWord)]
    [InlineData("privacy.share", "1", RunFileErrors.OutOfRange)]
    [InlineData("privacy.share", "0", RunFileErrors.OutOfRange)]
    [InlineData("privacy.evaluationShare", "1.5", RunFileErrors.OutOfRange)]
    [InlineData("training.messagePrecision", "\"float16\"", RunFileErrors.UnknownWord)]
    [InlineData("model", null, RunFileErrors.MissingKey)]
    [InlineData("model.family", null, RunFileErrors.MissingKey)]
    [InlineData("model.family", "\"binominal\"", RunFileErrors.UnknownWord)]
    [InlineData("model.l2", "-0.1", RunFileErrors.OutOfRange)]
    [InlineData("model.l2", "1e999", RunFileErrors.OutOfRange)]
    [InlineData("evaluation.split", "{ \"hash\": \"sha256\", \"mod\": 5, \"test\": [0, 0] }", RunFileErrors.OutOfRange)]
    [InlineData("model.intercept", "\"yes\"", RunFileErrors.WrongType)]
    [InlineData("name", "\" \"", RunFileErrors.OutOfRange)]
    [InlineData("parties", null, RunFileErrors.MissingKey)]
    [InlineData("parties", "{}", RunFileErrors.WrongType)]
    [InlineData("parties", "[]", RunFileErrors.Parties)]
    [InlineData("parties[1].role", "\"guest\"", RunFileErrors.UnknownWord)]
    [InlineData("parties[1].name", "\"BANK\"", RunFileErrors.Parties)]
    [InlineData("parties[1].name", "\"../x\"", RunFileErrors.Parties)]
    [InlineData("parties[1].name", null, RunFileErrors.MissingKey)]
    [InlineData("parties[1].data", null, RunFileErrors.MissingKey)]
    [InlineData("parties[1].data.path", null, RunFileErrors.MissingKey)]
    [InlineData("parties[1].data.label", "\"y\"", RunFileErrors.Contradiction)]
    [InlineData("parties[1].data.weight", "\"w\"", RunFileErrors.Contradiction)]
    [InlineData("parties[1].data.offset", "\"o\"", RunFileErrors.Contradiction)]
    [InlineData("parties[1].data.exposure", "\"e\"", RunFileErrors.Contradiction)]
    [InlineData("parties", "[7]", RunFileErrors.WrongType)]
    [InlineData("parties[1].privacy.epsilon", "0", RunFileErrors.OutOfRange)]
    [InlineData("parties[1].ledger.budget", "{ \"epsilon\": 1 }", RunFileErrors.MissingKey)]
    [InlineData("parties[0].data.labelRange", "[2, 1]", RunFileErrors.OutOfRange)]
    [InlineData("parties[0].data.labelRange", "[0, 1e999]", RunFileErrors.OutOfRange)]
    [InlineData("parties[0].data.labelRange", "[0]", RunFileErrors.WrongType)]
    [InlineData("parties[0].data.labelRange", "3", RunFileErrors.WrongType)]
    [InlineData("preprocessing.rowNorm", "0", RunFileErrors.OutOfRange)]
    [InlineData("preprocessing.rows", "\"cut\"", RunFileErrors.UnknownWord)]
    [InlineData("preprocessing.constant", "1", RunFileErrors.WrongType)]
    [InlineData("evaluation.split", "{}", RunFileErrors.MissingKey)]
    [InlineData("evaluation.split", """{ "hash": "md5", "mod": 5, "test": [0] }""", RunFileErrors.UnknownWord)]
    [InlineData("evaluation.split", """{ "hash": "sha256", "mod": 1, "test": [0] }""", RunFileErrors.OutOfRange)]
    [InlineData("evaluation.split", """{ "hash": "sha256", "mod": 5, "test": [5] }""", RunFileErrors.OutOfRange)]
    [InlineData("evaluation.split", """{ "hash": "sha256", "mod": 5, "test": [] }""", RunFileErrors.OutOfRange)]
    [InlineData("evaluation.split", """{ "path": "s.csv", "mod": 5 }""", RunFileErrors.Contradiction)]
    [InlineData("transport.kind", "\"http\"", RunFileErrors.UnknownWord)]
    [InlineData("transport.timeoutSeconds", "0", RunFileErrors.OutOfRange)]
    [InlineData("transport.timeoutSeconds", "0.0009", RunFileErrors.OutOfRange)]
    [InlineData("transport.timeoutSeconds", "86401", RunFileErrors.OutOfRange)]
    [InlineData("transport.connectTimeoutSeconds", "-1", RunFileErrors.OutOfRange)]
    [InlineData("transport.maxMessageBytes", "1", RunFileErrors.OutOfRange)]
    [InlineData("transport.resumeSeconds", "-1", RunFileErrors.OutOfRange)]
    [InlineData("transport.resumeSeconds", "86401", RunFileErrors.OutOfRange)]
    [InlineData("training.latticeBits", "3", RunFileErrors.OutOfRange)]
    [InlineData("training.latticeBits", "25", RunFileErrors.OutOfRange)]
    [InlineData("training.checkpointRounds", "342", RunFileErrors.OutOfRange)]
    [InlineData("training.checkpointRounds", "-1", RunFileErrors.OutOfRange)]
    public void Load_FaultyValue_NamesKey(string path, string? json, string id)
    {
        var error = Refused<ConfigurationException>(With(Private, path, json), id, path[(path.LastIndexOf('.') + 1)..]);
        Assert.Equal(2, error.ExitCode);
    }

    [Theory]
    [InlineData("parties[0].role", "\"passive\"", RunFileErrors.Parties, "0 parties are active")]
    [InlineData("parties[1].role", "\"active\"", RunFileErrors.Parties, "2 parties are active")]
    [InlineData("parties[1].data.path", "\"x.npy\"", RunFileErrors.MissingKey, "parties[1].data.ids")]
    public void Load_FaultThatShowsElsewhere_NamesThatPlace(string path, string json, string id, string part) =>
        Refused<ConfigurationException>(With(Private, path, json), id, part);

    [Theory]
    [InlineData("\"psi\"", AlignmentMethod.Psi, PsiOutput.Both, false)]
    [InlineData("\"hashed\"", AlignmentMethod.Hashed, PsiOutput.Both, false)]
    [InlineData("""{ "method": "psi", "proof": true }""", AlignmentMethod.Psi, PsiOutput.Both, true)]
    [InlineData("""{ "method": "hashed", "proof": true, "output": "size-only" }""", AlignmentMethod.Hashed, PsiOutput.Both, false)]
    [InlineData(null, AlignmentMethod.Psi, PsiOutput.Both, false)]
    public void Load_Alignment_IsAWordOrAnObject(string? json, AlignmentMethod method, PsiOutput output, bool proof)
    {
        GlmRunFile run = Load(With(Plain, "alignment", json));
        Assert.Equal(new JobAlignment(method, output, proof), run.Alignment);
        Assert.Equal((method, proof), (run.Job.Alignment, run.Job.AlignmentProof));
        Assert.Equal(json?.Contains("size", StringComparison.Ordinal) == true ? ["alignment.output", "alignment.proof"] : [], run.Ignored);
        Assert.Empty(run.Warnings);
    }

    [Theory]
    [InlineData("alignment", "\"sha\"", RunFileErrors.UnknownWord, "psi")]
    [InlineData("alignment", "1", RunFileErrors.WrongType, "alignment")]
    [InlineData("alignment", """{ "output": "both" }""", RunFileErrors.MissingKey, "alignment.method")]
    [InlineData("alignment", """{ "method": "psi", "prove": true }""", RunFileErrors.UnknownKey, "proof")]
    [InlineData("alignment", """{ "method": "psi", "output": "active-only" }""", PsiErrors.OutputNotForTraining, "fedlearn align")]
    [InlineData("alignment", """{ "method": "psi", "output": "size-only", "proof": true }""", RunFileErrors.Contradiction, "size alone")]
    [InlineData("parties[0].alignment", """{ "padTo": 0 }""", RunFileErrors.OutOfRange, "parties[0].alignment.padTo")]
    [InlineData("parties[0].alignment", """{ "engine": "gpu" }""", RunFileErrors.UnknownWord, "vector")]
    [InlineData("parties[0].data.id", """["a", "a"]""", RunFileErrors.OutOfRange, "twice")]
    [InlineData("parties[0].data.id", "[]", RunFileErrors.OutOfRange, "parties[0].data.id")]
    [InlineData("parties[0].data.id", "[1]", RunFileErrors.WrongType, "parties[0].data.id")]
    public void Load_FaultOfAnAlignment_NamesThePlace(string path, string json, string id, string part) => Refused<ConfigurationException>(With(Plain, path, json), id, part);

    [Fact]
    public void Load_AlignmentOfAParty_HasDefaultsBesideItsLedger()
    {
        GlmRunFile run = Load(With(With(Plain, "parties[1].ledger", """{ "path": "sub/x.db" }"""), "parties[0].alignment",
            """{ "padTo": 1000, "threads": 3, "engine": "sodium", "sessionsPerDay": 4, "peerIds": 5, "state": "kept" }"""));
        Assert.Equal(new PartyAlignment { PadTo = 1000, Threads = 3, Engine = PsiEngine.Sodium, Caps = new() { SessionsPerDay = 4, PeerIds = 5 }, State = Path.Combine(_folder.Path, "kept"), NamesState = true }, run.Party("bank").Alignment);
        Assert.Equal(new PartyAlignment { State = Path.Combine(_folder.Path, "sub", "telco.alignment") }, run.Party("telco").Alignment);
    }

    [Fact]
    public void Load_IdOfSeveralColumns_IsRead()
    {
        TableSource data = Load(With(Plain, "parties[0].data.id", """["name", "born"]""")).Party("bank").Data!;
        Assert.Null(data.Id);
        Assert.Equal(["name", "born"], data.IdColumns);
    }

    [Fact]
    public void Digest_Alignment_CountsOnlyWhatThePartiesMustAgreeOn()
    {
        string Digest(string path, string? json) => Load(With(Plain, path, json)).Digest("train");
        Assert.NotEqual(Digest("alignment", "\"hashed\""), Digest("alignment", "\"psi\""));
        Assert.Equal(Digest("alignment", "\"psi\""), Digest("alignment", null));
        Assert.Equal(Digest("alignment", "\"psi\""), Digest("alignment", """{ "method": "psi", "output": "both", "proof": false }"""));
        Assert.NotEqual(Digest("alignment", "\"psi\""), Digest("alignment", """{ "method": "psi", "proof": true }"""));
        Assert.Equal(Digest("name", "\"credit\""), Digest("parties[0].alignment", """{ "padTo": 7, "state": "s" }"""));
    }

    [Fact]
    public void Load_OneRound_ReadsItsSettingsAndIgnoresThoseOfRounds()
    {
        GlmRunFile run = Load(With(With(Private, "privacy", """
            { "mode": "one-round", "epsilon": 1, "delta": 1e-5, "calibration": "paper", "oneRound": { "scoreClip": 1.5, "alpha": 0.5, "gradientClip": 3, "labelRate": 0.2 } }
            """), "model.l2", "0.5"));
        Assert.Equal(new GlmOneRoundOptions { ScoreClip = 1.5, Alpha = .5, GradientClip = 3, LabelRate = .2 }, run.Job.Privacy.OneRound);
        Assert.Equal((PrivacyMode.OneRound, Calibration.Tight), (run.Job.Privacy.Mode, run.Job.Privacy.Calibration));
        Assert.Equal(new GlmTrainingOptions { Seed = -7 }, run.Job.Training);
        Assert.Equal(["model.l2", "privacy.calibration", "training.batchesPerEpoch", "training.epochs", "training.residualClip", "training.stepSize", "training.weightNorm"], run.Ignored.Order(StringComparer.Ordinal));
        Assert.Equal(new GlmOneRoundOptions(), Load(With(Private, "privacy.mode", "\"one-round\"")).Job.Privacy.OneRound);
        Assert.Contains("privacy.oneRound", Load(With(Private, "privacy.oneRound", """{ "alpha": -1 }""")).Ignored);
        Refused<ConfigurationException>(With(With(Private, "privacy.mode", "\"one-round\""), "privacy.oneRound", """{ "alpha": 0 }"""), RunFileErrors.OutOfRange, "alpha");
        Refused<ConfigurationException>(With(With(Private, "privacy.mode", "\"one-round\""), "privacy.delta", null), RunFileErrors.MissingKey, "delta");
    }

    [Fact]
    public void Load_LabelDp_NeedsEpsilonAlone()
    {
        GlmRunFile run = Load(With(With(Private, "privacy", """{ "mode": "label-dp", "epsilon": 2, "unit": "record" }"""), "training", """{ "epochs": 3 }"""));
        Assert.Equal(new PrivacyBudget(2, 0), run.Job.Privacy.Budget);
        Assert.Equal((PrivacyUnit.Label, Adjacency.ReplaceOne), (run.Job.Privacy.Unit, run.Job.Privacy.Adjacency));
        Assert.Equal(["privacy.unit"], run.Ignored);
        run = Load(With(With(With(Private, "privacy", """{ "mode": "label-dp", "delta": 1e-5 }"""), "parties[0].privacy", """{ "epsilon": 1, "delta": 1e-6 }"""), "parties[1].privacy", """{ "epsilon": 3 }"""));
        Assert.Equal([new PrivacyBudget(1, 0), new PrivacyBudget(3, 0)], run.Job.Parties.Select(p => p.Budget));
        Assert.Equal(["parties[0].privacy.delta", "privacy.delta"], run.Ignored.Order(StringComparer.Ordinal));
        Assert.Equal(RowBound.None, Load(With(With(Private, "privacy.mode", "\"label-dp\""), "preprocessing.rows", "\"none\"")).Job.Preprocessing!.Rows);
        Refused<ConfigurationException>(With(Private, "privacy", """{ "mode": "label-dp" }"""), RunFileErrors.MissingKey, "epsilon");
    }

    [Theory]
    [InlineData("training.optimizer", "\"accelerated\"", false)]
    [InlineData("training.optimizer", "\"irls\"", false)]
    [InlineData("training.optimizer", "\"lbfgs\"", false)]
    [InlineData("training.optimizer", "\"adam\"", true)]
    [InlineData("training.momentum", "0.9", true)]
    [InlineData("training.warmStart", "\"model\"", false)]
    [InlineData("training.earlyStopping", "{ \"patience\": 3 }", false)]
    public void Load_WhatBreaksTheProof_IsRefusedInAPrivateModeAndReadInModeNone(string path, string json, bool later)
    {
        Assert.Equal(5, Refused<PrivacyRefusedException>(With(Private, path, json), RunFileErrors.OptimizerRefused, path).ExitCode);
        Refused<PrivacyRefusedException>(With(With(Private, path, json), "privacy.mode", "\"one-round\""), RunFileErrors.OptimizerRefused, path);
        if (later)
            Refused<ConfigurationException>(With(Plain, path, json), RunFileErrors.NotYet, path);
        else
            Load(With(With(Plain, "training", "{}"), path, json));
    }

    [Theory]
    [InlineData("training.optimizer", "\"lbfgs\"", "optimizer")]
    [InlineData("training.momentum", "0.9", "momentum")]
    [InlineData("training.earlyStopping", "{ \"patience\": 3 }", "earlyStopping")]
    [InlineData("privacy.he.keyBits", "2050", "keyBits: is neither 2048 nor 3072")]
    [InlineData("privacy.he.keyBits", "1024", "keyBits: is neither 2048 nor 3072")]
    [InlineData("privacy.he.scheme", "\"bfv\"", "scheme")]
    [InlineData("privacy.evaluation", "\"charged\"", "evaluation")]
    public void Load_WhatEncryptionCannotDo_IsAFaultOfTheFile(string path, string json, string part) =>
        Assert.Contains(part, Assert.ThrowsAny<ConfigurationException>(() => Load(With(With(Plain, "privacy", """{ "mode": "he", "he": {} }"""), path, json))).Message, StringComparison.Ordinal);

    [Fact]
    public void Load_EncryptedJob_MapsItsKeys()
    {
        GlmRunFile run = Load(With(With(Plain, "training", "{}"), "privacy", """
            { "mode": "he", "epsilon": 1, "he": { "scheme": "paillier-fate", "keyBits": 3072, "arbiter": "notary", "rowsPerColumn": 0, "mostRounds": 7, "workers": 2, "engine": "node" } }
            """));
        Assert.Equal(new GlmHeOptions { Scheme = HeScheme.PaillierFate, KeyBits = 3072, Arbiter = "notary", RowsPerColumn = 0, MostRounds = 7 }, run.Job.Privacy.He);
        Assert.Equal(2, run.HeEngine.Workers);
        Assert.Equal(GlmOptimizer.Sgd, run.Job.Training.Optimizer);
        Assert.Contains("privacy.epsilon", run.Ignored);
        Assert.Contains("privacy.he.engine", run.Ignored);
    }

    [Fact]
    public void Load_ArbiterNamedLikeAParty_IsAFault() =>
        Refused<ConfigurationException>(With(Plain, "privacy", """{ "mode": "he", "he": { "arbiter": "BANK" } }"""), RunFileErrors.Parties, "arbiter");

    [Fact]
    public void Load_OptimisersStoppingAndInference_AreMapped()
    {
        string text = With(With(Plain, "training", """
            { "earlyStopping": { "metric": "auc", "patience": 7, "minDelta": 0.01, "holdOut": 0.2 }, "warmStart": "models", "classWeights": { "1": 3 } }
            """), "model.l1", "0.01");
        GlmRunFile run = Load(With(text, "evaluation.inference", "true"));
        Assert.Equal(new GlmEarlyStopping { Metric = EarlyStoppingMetric.Auc, Patience = 7, MinDelta = .01, HoldOut = .2 }, run.Job.Training.EarlyStopping);
        Assert.Equal((GlmOptimizer.Accelerated, true, true), (run.Job.Training.Optimizer, run.Job.Training.WarmStart, run.Job.Inference));
        Assert.Equal(Path.Combine(run.Directory, "models"), run.WarmStart);
        Assert.Equal([1, 3], Assert.IsType<GlmClassWeights.Declared>(run.Job.Training.ClassWeights).Weights);
        Refused<ConfigurationException>(With(text, "training.classWeights", """{ "2": 3 }"""), RunFileErrors.OutOfRange, "classWeights.2");
        Refused<ConfigurationException>(With(text, "training.classWeights", """{ "01": 3 }"""), RunFileErrors.OutOfRange, "classWeights.01");
        Refused<ConfigurationException>(text.Replace("\"1\":3", "\"1\":3,\"1\":50", StringComparison.Ordinal), RunFileErrors.DuplicateKey, "classWeights.1");
        Refused<ConfigurationException>(With(text, "training.optimizer", "\"lbfgs\""), RunFileErrors.Contradiction, "optimizer");
        Refused<ConfigurationException>(With(text, "training.earlyStopping.holdOut", "1"), RunFileErrors.OutOfRange, "earlyStopping.holdOut");
        // A full batch is the same in every order, and the parties agree on what the trainer reads alone.
        run = Load(With(text, "training.reshuffle", "true"));
        Assert.False(run.Job.Training.Reshuffle);
        Assert.Equal(["training.reshuffle"], run.Ignored);
        Refused<PrivacyRefusedException>(With(Private, "evaluation.inference", "true"), RunFileErrors.OptimizerRefused, "inference");
    }

    [Fact]
    public void Load_OneRound_TakesOfTrainingWhatItsOwnSolverDoes()
    {
        GlmRunFile run = Load(With(With(Private, "privacy.mode", "\"one-round\""), "training", """{ "epochs": 3, "optimizer": "sgd", "messagePrecision": "float32", "latticeBits": 8, "seed": 9, "classWeights": [1, 2] }"""));
        Assert.Equal(["training.epochs", "training.messagePrecision", "training.optimizer"], run.Ignored.Where(key => key.StartsWith("training", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        Assert.Equal((9L, 8), (run.Job.Training.Seed, run.Job.Training.LatticeBits));
        Assert.Equal([1, 2], Assert.IsType<GlmClassWeights.Declared>(run.Job.Training.ClassWeights).Weights);
    }

    [Fact]
    public void Load_PrivacyEngineKeys_AreMapped()
    {
        string text = Private;
        foreach ((string path, string json) in new[] { ("calibration", "\"weight-noise\""), ("adjacency", "\"zero-out\""), ("share", "0.7"), ("evaluation", "\"charged\""), ("evaluationShare", "0.1") })
            text = With(text, "privacy." + path, json);
        GlmRunFile run = Load(With(text, "training.reshuffle", "true"));
        GlmPrivacyOptions privacy = run.Job.Privacy;
        Assert.Equal((Calibration.WeightNoise, Adjacency.ZeroOut, PrivacyUnit.Record, 0.7), (privacy.Calibration, privacy.Adjacency, privacy.Unit, privacy.Share));
        Assert.Equal((EvaluationDisclosure.Charged, 0.1, true), (privacy.Evaluation, privacy.EvaluationShare, run.Job.Training.Reshuffle));
        Assert.Equal(["privacy.evaluationShare"], run.Ignored); // noise on the path of the weights covers the final ones already
        Assert.Equal(PrivacyUnit.Label, Load(With(Private, "privacy.unit", "\"label\"")).Job.Privacy.Unit);
        // A share that nothing uses is said to be ignored.
        Assert.Contains("privacy.share", Load(With(Private, "privacy.share", "0.7")).Ignored);
        Assert.Contains("privacy.evaluationShare", Load(With(Private, "privacy.evaluationShare", "0.7")).Ignored);
    }

    [Theory]
    [InlineData("training.optimizer", "\"lbfgs\"", RunFileErrors.OptimizerRefused)]
    [InlineData("preprocessing.rows", "\"none\"", RunFileErrors.UnboundedRows)]
    [InlineData("privacy.delta", "0.1", RunFileErrors.DeltaTooLarge)]
    [InlineData("privacy.delta", "0.5", RunFileErrors.DeltaTooLarge)]
    [InlineData("parties[1].privacy.delta", "0.1", RunFileErrors.DeltaTooLarge)]
    public void Load_PrivateModeBeyondTheProof_IsRefused(string path, string json, string id) =>
        Assert.Equal(5, Refused<PrivacyRefusedException>(With(Private, path, json), id, path).ExitCode);

    [Fact]
    public void Load_SeveralFaults_ReportsAllOfThem()
    {
        string text = With(With(With(With(Private, "privacy.epsilon", "-1"), "training.stepsize", "1"), "parties[1].role", "\"host\""), "preprocessing.rows", "\"none\"");
        var error = Assert.Throws<ConfigurationException>(() => Load(text));
        foreach (string part in new[] { "privacy.epsilon", "training.stepsize", "parties[1].role", "preprocessing.rows", "FL2006", "FL2003", "FL2007", "FL5051", "4 faults" })
            Assert.Contains(part, error.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_RefusalsOnly_IsARefusal()
    {
        var error = Assert.Throws<PrivacyRefusedException>(() => Load(With(With(Private, "privacy.delta", "0.2"), "preprocessing.rows", "\"none\"")));
        Assert.Contains("privacy.delta", error.Cause, StringComparison.Ordinal);
        Assert.Contains("preprocessing.rows", error.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_KeysTheModeDoesNotUse_AreListed()
    {
        string text = Plain;
        foreach ((string path, string json) in new[]
        {
            ("privacy", """{ "mode": "none", "calibration": "weight-noise", "epsilon": -1, "delta": 0.5, "adjacency": "replace-one", "evaluation": "charged", "testNoiseSeed": 1, "oneRound": { "alpha": 1 } }"""),
            ("training", """{ "stepSize": 1, "weightNorm": 1, "residualClip": 1, "epochs": 10, "batchesPerEpoch": 1 }"""), ("model.classes", "3"),
            ("parties[1].privacy", """{ "epsilon": 1, "delta": 2 }"""),
        })
            text = With(text, path, json);
        GlmRunFile run = Load(text);
        Assert.Equal(
            ["model.classes", "parties[1].privacy.delta", "parties[1].privacy.epsilon", "privacy.adjacency", "privacy.calibration", "privacy.delta", "privacy.epsilon",
                "privacy.evaluation", "privacy.oneRound", "privacy.testNoiseSeed", "training.residualClip", "training.stepSize", "training.weightNorm"],
            run.Ignored.Order(StringComparer.Ordinal));
        Assert.Equal(new GlmTrainingOptions { Epochs = 10, BatchesPerEpoch = 1, Optimizer = GlmOptimizer.Lbfgs }, run.Job.Training);
        Assert.Equal(new GlmPrivacyOptions(), run.Job.Privacy);
        Assert.All(run.Job.Parties, party => Assert.Null(party.Budget));
    }

    [Theory]
    [InlineData("privacy.epsilon", "1")]
    [InlineData("privacy.delta", "1e-5")]
    [InlineData("privacy.calibration", "\"tight\"")]
    [InlineData("privacy.adjacency", "\"zero-out\"")]
    [InlineData("privacy.unit", "\"label\"")]
    [InlineData("privacy.share", "0.4")]
    [InlineData("privacy.evaluation", "\"none\"")]
    [InlineData("privacy.evaluationShare", "0.1")]
    [InlineData("privacy.testNoiseSeed", "1")]
    [InlineData("privacy.oneRound", """{ "alpha": 1 }""")]
    [InlineData("privacy.he", """{ "scheme": "ckks" }""")]
    [InlineData("parties[1].privacy", """{ "epsilon": 1 }""", "parties[1].privacy.epsilon")]
    public void Load_NoiseWithoutAMode_IsRefused(string path, string json, string? key = null)
    {
        string text = With(Plain, path, json);
        Refused<ConfigurationException>(text, RunFileErrors.MissingKey, "privacy.mode");
        Assert.Contains(key ?? path, Assert.Throws<ConfigurationException>(() => Load(text)).Cause, StringComparison.Ordinal);
        Assert.Contains("none if that is meant", Assert.Throws<ConfigurationException>(() => Load(text)).Remedy, StringComparison.Ordinal);
        // Written out, none is what it says.
        Load(With(text, "privacy.mode", "\"none\""));
    }

    [Fact]
    public void Load_ModeWithoutKeysOrLedgerBudget_IsNoQuestion()
    {
        Assert.Equal(new PrivacyBudget(3, 1e-5), Load(With(Plain, "parties[1].ledger", """{ "budget": { "epsilon": 3, "delta": 1e-5 } }""")).Party("telco").Ledger.Budget);
        Assert.Empty(Load(With(Plain, "privacy", "{}")).Ignored);
    }

    [Theory]
    [InlineData("""{ "batchesPerEpoch": 2 }""", GlmOptimizer.Sgd)]
    [InlineData("""{ "batchSize": 100 }""", GlmOptimizer.Sgd)]
    [InlineData("""{ "optimizer": "sgd" }""", GlmOptimizer.Sgd)]
    [InlineData("""{ "batchesPerEpoch": 1 }""", GlmOptimizer.Lbfgs)]
    [InlineData("{}", GlmOptimizer.Lbfgs)]
    public void Load_PlainMode_ChoosesOptimizer(string training, GlmOptimizer expected)
    {
        GlmTrainingOptions options = Load(With(Plain, "training", training)).Job.Training;
        Assert.Equal(expected, options.Optimizer);
        Assert.Equal((null, null), (options.WeightNorm, options.ResidualClip));
    }

    [Theory]
    [InlineData("""{ "optimizer": "lbfgs", "batchesPerEpoch": 2 }""")]
    [InlineData("""{ "optimizer": "lbfgs", "batchSize": 10 }""")]
    public void Load_LbfgsOnBatches_IsRefused(string training) =>
        Refused<ConfigurationException>(With(Plain, "training", training), RunFileErrors.Contradiction, "training.batch");

    [Theory]
    [InlineData(false, null, null, GlmIntercept.Default, false)]
    [InlineData(false, "true", true, GlmIntercept.Default, true)]
    [InlineData(false, "false", null, GlmIntercept.None, false)]
    [InlineData(false, "\"free\"", null, GlmIntercept.Free, false)]
    [InlineData(true, null, null, GlmIntercept.Default, true)]
    [InlineData(true, "true", null, GlmIntercept.Default, true)]
    [InlineData(true, "true", true, GlmIntercept.Default, true)]
    [InlineData(true, null, false, GlmIntercept.None, false)]
    [InlineData(true, "false", null, GlmIntercept.None, false)]
    [InlineData(true, "\"free\"", null, GlmIntercept.Free, true)]
    [InlineData(true, "\"free\"", false, GlmIntercept.Free, false)]
    public void Load_Intercept_DecidesTheConstant(bool isPrivate, string? intercept, bool? constant, GlmIntercept expected, bool expectedConstant)
    {
        string text = With(isPrivate ? Private : Plain, "model.intercept", intercept);
        GlmJob job = Load(constant is { } given ? With(text, "preprocessing.constant", given ? "true" : "false") : text).Job;
        Assert.Equal((expected, expectedConstant), (job.Model.Intercept, job.Preprocessing!.Constant));
    }

    [Theory]
    [InlineData(false, "false", "true")]
    [InlineData(true, "false", "true")]
    [InlineData(true, "true", "false")]
    public void Load_InterceptAgainstConstant_IsRefused(bool isPrivate, string intercept, string constant) =>
        Refused<ConfigurationException>(With(With(isPrivate ? Private : Plain, "model.intercept", intercept), "preprocessing.constant", constant),
            RunFileErrors.Contradiction, "preprocessing.constant");

    [Theory]
    [InlineData("gaussian")]
    [InlineData("poisson")]
    public void Load_PrivateUnboundedFamily_NeedsLabelRange(string family)
    {
        string text = With(Private, "model.family", $"\"{family}\"");
        Refused<ConfigurationException>(text, RunFileErrors.MissingKey, "parties[0].data.labelRange");
        Assert.Equal((0.0, 4.0), Load(With(text, "parties[0].data.labelRange", "[0, 4]")).Job.Parties[0].LabelRange);
        Load(With(With(Plain, "model.family", $"\"{family}\""), "privacy.mode", "\"none\""));
    }

    [Fact]
    public void Load_PoissonLabelRangeBelowZero_IsRefused() =>
        Refused<ConfigurationException>(With(With(Private, "model.family", "\"poisson\""), "parties[0].data.labelRange", "[-1, 4]"), RunFileErrors.OutOfRange, "labelRange");

    [Fact]
    public void Load_BudgetsOfPartiesOnly_NeedNoneOfTheJob()
    {
        string text = With(With(Private, "privacy", """{ "mode": "hdp-vfl", "delta": 1e-6 }"""), "parties[0].privacy", """{ "epsilon": 1 }""");
        Refused<ConfigurationException>(text, RunFileErrors.MissingKey, "parties[1].privacy.epsilon");
        GlmJob job = Load(With(text, "parties[1].privacy", """{ "epsilon": 2, "delta": 1e-4 }""")).Job;
        Assert.Null(job.Privacy.Budget);
        Assert.Equal([new PrivacyBudget(1, 1e-6), new PrivacyBudget(2, 1e-4)], job.Parties.Select(party => party.Budget));
    }

    [Fact]
    public void Load_SplitFiles_OfJobAndParties()
    {
        string text = With(Plain, "evaluation", """{ "split": { "path": "split.csv" } }""");
        GlmRunFile run = Load(With(text, "parties[1].split", """{ "path": "own.csv" }"""));
        Assert.IsType<SplitRule.FromFile>(run.Job.Split);
        Assert.Equal(Path.Combine(_folder.Path, "split.csv"), run.SplitPath);
        Assert.Equal(["split.csv", "own.csv"], run.Parties.Select(party => Path.GetFileName(party.SplitPath)));

        Refused<ConfigurationException>(With(Plain, "parties[1].split", """{ "path": "own.csv" }"""), RunFileErrors.MissingKey, "bank");
        Refused<ConfigurationException>(
            With(With(Plain, "evaluation", """{ "split": { "hash": "sha256", "mod": 5, "test": [0] } }"""), "parties[1].split", """{ "path": "own.csv" }"""),
            RunFileErrors.Contradiction, "evaluation.split");
    }

    [Theory]
    [InlineData("preprocessing", """{ "rowNorm": 2 }""", "preprocessing.rowNorm")]
    [InlineData("preprocessing", """{ "rowNorm": 2, "rows": "clip" }""")]
    [InlineData("training", """{ "earlyStopping": { "metric": "objective", "holdOut": 0.2 } }""", "training.earlyStopping.holdOut")]
    [InlineData("training", """{ "earlyStopping": { "holdOut": 0.2 } }""", "training.earlyStopping.holdOut")]
    [InlineData("training", """{ "earlyStopping": { "metric": "deviance", "holdOut": 0.2 } }""")]
    [InlineData("parties[1].alignment", """{ "peerIds": 5 }""", "parties[1].alignment")]
    [InlineData("parties[1].ledger", """{ "path": "x.db", "budget": { "epsilon": 1, "delta": 1e-5 } }""", "parties[1].ledger.budget")]
    [InlineData("transport", """{ "kind": "in-memory", "timeoutSeconds": 5, "connectTimeoutSeconds": 5, "resumeSeconds": 5 }""", "transport.connectTimeoutSeconds", "transport.resumeSeconds")]
    [InlineData("transport", """{ "kind": "grpc", "timeoutSeconds": 5, "connectTimeoutSeconds": 5, "resumeSeconds": 5 }""")]
    public void Load_KeysThatOtherKeysMakeIdle_AreListed(string path, string json, params string[] ignored) => Assert.Equal(ignored, Load(With(Plain, path, json)).Ignored);

    [Theory]
    [InlineData("parties[1].alignment", """{ "peerIds": 5 }""")]
    [InlineData("parties[1].ledger", """{ "budget": { "epsilon": 1, "delta": 1e-5 } }""")]
    public void Load_KeysThatHoldInAPrivateAlignedJob_AreNotListed(string path, string json) => Assert.Empty(Load(With(With(Private, "alignment", "\"psi\""), path, json)).Ignored);

    [Fact]
    public void Load_StatesOfAnEncryptedJob_AreIdle() =>
        Assert.Equal(["training.checkpointRounds"], Load(With(With(Plain, "training", """{ "checkpointRounds": 5 }"""), "privacy", """{ "mode": "he" }""")).Ignored);

    // A round of encrypted numbers takes longer than one of numbers.
    [Theory]
    [InlineData("{ \"mode\": \"he\" }", "null", 600)]
    [InlineData("{ \"mode\": \"he\", \"he\": { \"scheme\": \"paillier\" } }", "null", 14_400)]
    [InlineData("{ \"mode\": \"he\", \"he\": { \"scheme\": \"paillier\" } }", "{ \"timeoutSeconds\": 9 }", 9)]
    public void Load_EncryptedJob_WaitsAsLongAsItsSchemeMayTake(string privacy, string transport, double seconds) =>
        Assert.Equal(seconds, Load(With(With(Plain, "privacy", privacy), "transport", transport)).Transport.Timeout.TotalSeconds);

    [Fact]
    public void Load_RowNormOfRowsThatAreNotBounded_IsNoTermOfTheJob() => Assert.Equal(Load(Plain).Digest("train"), Load(With(Plain, "preprocessing.rowNorm", "2")).Digest("train"));

    [Fact]
    public void Load_AlignmentAbsentInMemory_IsHashedAndWarns()
    {
        GlmRunFile run = Load(With(With(Plain, "alignment", null), "transport", """{ "kind": "in-memory" }"""));
        Assert.Contains("alignment", Assert.Single(run.Warnings), StringComparison.Ordinal);
        Assert.Equal(AlignmentMethod.Hashed, run.Job.Alignment);
    }

    [Fact]
    public void Load_NullValues_CountAsAbsent()
    {
        GlmRunFile run = Load(With(Plain, "training", """{ "weightNorm": null, "stepSize": null }"""));
        Assert.Empty(run.Ignored);
    }

    [Fact]
    public void Load_NoFile_SaysSo() => Assert.Equal(RunFileErrors.Unreadable, Assert.Throws<ConfigurationException>(() => GlmRunFile.Load(Path.Combine(_folder.Path, "none.json"))).Id);

    // As editors and shells of Windows write them: `>` of PowerShell 5 makes UTF-16.
    [Theory]
    [InlineData("utf-8")]
    [InlineData("utf-16")]
    [InlineData("utf-16BE")]
    public void Load_MarkOfTheEncoding_IsNoPartOfTheText(string encoding)
    {
        string path = _folder.Write("job.json", "");
        File.WriteAllText(path, With(Plain, "name", "\"Kredit für alle\""), Encoding.GetEncoding(encoding));
        Assert.True(File.ReadAllBytes(path).AsSpan().StartsWith(Encoding.GetEncoding(encoding).Preamble));
        Assert.Equal("Kredit für alle", GlmRunFile.Load(path).Job.Name);
    }

    [Theory]
    [InlineData("{ \"model\": NaN }", "line 1")]
    [InlineData("{\n\"a\" 1 }", "line 2")]
    [InlineData("", "line 1")]
    [InlineData("[1]", "object")]
    public void Load_NoJsonObject_NamesThePlace(string text, string part) => Refused<ConfigurationException>(text, RunFileErrors.Malformed, part);

    [Fact]
    public void Load_KeyTwice_IsRefused() =>
        Refused<ConfigurationException>(Plain.Replace("\"alignment\"", "\"name\": \"x\", \"alignment\"", StringComparison.Ordinal), RunFileErrors.DuplicateKey, "name");
}
