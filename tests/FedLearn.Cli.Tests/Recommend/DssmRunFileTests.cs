using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;

namespace FedLearn.Cli.Tests.Recommend;

public sealed class DssmRunFileTests : IDisposable
{
    private readonly RecommendScene _scene = new();

    public void Dispose() => _scene.Dispose();

    private DssmRunFile Load(params (string, JsonNode?)[] changes) => Assert.IsType<DssmRunFile>(RunFile.Load(_scene.Job(changes)));

    private T Refused<T>(string id, string part, params (string, JsonNode?)[] changes) where T : FedLearnException
    {
        T error = Assert.Throws<T>(() => RunFile.Load(_scene.Job(changes)));
        Assert.Equal(id, error.Id);
        Assert.Contains(part, error.Message, StringComparison.Ordinal);
        return error;
    }

    private static JsonNode Json(string text) => JsonNode.Parse(text)!;

    [Fact]
    public void Load_SmallestJob_FillsTheDefaults()
    {
        DssmRunFile run = Load(("model", Json("""{ "type": "dssm" }""")), ("training", null), ("privacy", null), ("name", null));
        DssmJob job = run.Job;
        var model = new DssmModelOptions();
        Assert.Equal(model with { Layers = job.Model.Layers, ViewWeights = job.Model.ViewWeights }, job.Model);
        Assert.Empty(job.Model.ViewWeights);
        Assert.Equal((new DssmTrainingOptions(), new DssmPrivacyOptions(), SampleTime.Exact, false), (job.Training, job.Privacy, job.SampleTime, job.MaskedSum));
        Assert.Equal(12, job.Training.Epochs);
        Assert.Equal(1024, job.Training.BatchSize);
        Assert.Null(job.Training.ValidationStop);
        Assert.Equal([128, 64], job.Model.Layers);
        Assert.False(job.LabelHasView);
        Assert.Equal(1, run.Threads);
        Assert.Equal([new("service", PartyRole.Active), new("profile", PartyRole.Passive), new PartyDescription("taste", PartyRole.Passive)], job.Parties.Select(p => p.Party));
        Assert.Equal(new DssmData { Interactions = _scene.At("interactions.csv"), Items = new DssmTableFile(_scene.At("items.csv"), _scene.At("items.schema.json")) }, run.Party("service").Data);
        Assert.Equal(new DssmTableFile(_scene.At("taste.csv"), _scene.At("taste.schema.json")), run.Party("taste").Data!.View);
        Assert.Equal(_scene.At("taste.ledger.db"), run.Party("taste").Ledger.Path);
        Assert.Empty(run.Ignored);
        Assert.Empty(run.Warnings);
        Assert.Null(run.Notice);
    }

    [Fact]
    public void Load_EveryKeyOfTheModelAndSchedule_IsMapped()
    {
        DssmRunFile run = Load(
            ("model", Json("""
                { "type": "dssm", "fusion": "concat", "layers": [32, 16, 8], "activation": "relu", "layerNorm": true, "dropout": 0.1, "gamma": 20, "loss": "sampled", "negatives": 20,
                  "negativeSource": "hard", "viewDropout": 0.3, "viewWeights": { "taste": 0.5 }, "itemBias": true, "precision": "float64" }
                """)),
            ("training", Json("""{ "mode": "split", "epochs": 5, "batchSize": 64, "optimizer": "adagrad", "stepSize": 0.01, "weightDecay": 0.001, "validationStop": true, "patience": 2, "seed": -9, "threads": 2 }""")),
            ("sampleTime", "day"), ("parties.0.data.view", Json("""{ "path": "profile.csv", "schema": "profile.schema.json" }""")), ("parties.1.tower", Json("""{ "torchScript": "t.pt" }""")),
            ("parties.0.itemTower", Json("""{ "torchScript": "i.pt" }""")), ("parties.2.ledger", Json("""{ "path": "l.db", "budget": { "epsilon": 9, "delta": 0.01 } }""")));
        DssmModelOptions model = run.Job.Model;
        Assert.Equal((DssmFusion.Concat, TowerActivation.Relu, true, 0.1, 20.0), (model.Fusion, model.Activation, model.LayerNorm, model.Dropout, model.Gamma));
        Assert.Equal([32, 16, 8], model.Layers);
        Assert.Equal((DssmLossKind.Sampled, 20, NegativeSource.Hard, 0.3, false, true, TowerPrecision.Float64),
            (model.Loss, model.Negatives, model.NegativeSource, model.ViewDropout, model.LearnViewWeights, model.ItemBias, model.Precision));
        Assert.Equal(0.5, Assert.Single(model.ViewWeights, w => w.Key == "taste").Value);
        Assert.Equal(new DssmTrainingOptions
        {
            Epochs = 5,
            BatchSize = 64,
            Optimizer = new TowerOptimizer { Kind = TowerOptimizerKind.Adagrad, Rate = 0.01, WeightDecay = 0.001 },
            ValidationStop = true,
            Patience = 2,
            Seed = -9,
        }, run.Job.Training);
        Assert.Equal((SampleTime.Day, true, 2), (run.Job.SampleTime, run.Job.LabelHasView, run.Threads));
        Assert.Equal((_scene.At("t.pt"), null, _scene.At("i.pt")), (run.Party("profile").Tower, run.Party("taste").Tower, run.Party("service").ItemTower));
        Assert.Equal(new RunFileLedger { Path = _scene.At("l.db"), Budget = new PrivacyBudget(9, 0.01) }, run.Party("taste").Ledger);
        Assert.True(Load(("model.viewWeights", "learned")).Job.Model.LearnViewWeights);
    }

    [Fact]
    public void Load_EveryKeyOfPrivacy_IsMapped()
    {
        DssmRunFile run = Load(("privacy", Json("""
            { "mode": "dp", "noise": "both", "claim": "full", "epsilon": 4, "delta": 1e-5, "unit": "user", "clip": 0.5, "parameterClip": 2, "messageShare": 0.25, "historyEvents": 50,
              "maxSamplesPerUser": 20, "evaluation": "none", "testNoiseSeed": -3 }
            """)), ("parties.2.privacy", Json("""{ "epsilon": 2 }""")));
        Assert.Equal(new DssmPrivacyOptions
        {
            Noise = DssmNoise.Both,
            Claim = EmbeddingClaim.Full,
            Budget = new PrivacyBudget(4, 1e-5),
            Unit = EmbeddingUnit.User,
            Clip = 0.5,
            ParameterClip = 2,
            MessageShare = 0.25,
            HistoryEvents = 50,
            MaxSamplesPerUser = 20,
            Evaluation = EvaluationDisclosure.None,
            TestNoiseSeed = -3,
        }, run.Job.Privacy);
        Assert.Equal([null, null, new PrivacyBudget(2, 1e-5)], run.Job.Parties.Select(p => p.Budget));
        Assert.Equal("NOT PRIVATE: test noise", run.Notice);
    }

    [Fact]
    public void Load_OneShot_NoisesEmbeddingsWithoutBeingTold() =>
        Assert.Equal(DssmNoise.Embeddings, Load(("privacy", Json("""{ "mode": "dp", "claim": "one-shot", "epsilon": 1, "delta": 1e-5 }"""))).Job.Privacy.Noise);

    [Theory]
    [InlineData("privacy", """{ "noise": "both" }""", "privacy.noise")]
    [InlineData("privacy", """{ "claim": "full" }""", "privacy.claim")]
    [InlineData("privacy", """{ "epsilon": 1, "delta": 1e-5 }""", "privacy.epsilon, privacy.delta")]
    [InlineData("privacy", """{ "unit": "event" }""", "privacy.unit")]
    [InlineData("privacy", """{ "evaluation": "none" }""", "privacy.evaluation")]
    [InlineData("privacy", """{ "testNoiseSeed": 1 }""", "privacy.testNoiseSeed")]
    [InlineData("parties.1.privacy", """{ "epsilon": 1 }""", "parties[1].privacy.epsilon")]
    public void Load_NoiseWithoutAMode_IsRefused(string path, string json, string key) =>
        Assert.Contains("dp to have noise", Refused<ConfigurationException>("FL2004", key, ("privacy", null), (path, Json(json))).Message, StringComparison.Ordinal);

    [Fact]
    public void Load_KeysWithoutEffect_AreListed()
    {
        Assert.Equal(["privacy.noise", "privacy.epsilon"], Load(("privacy", Json("""{ "mode": "none", "noise": "both", "epsilon": 3 }"""))).Ignored);
        Assert.Equal(["model.negatives"], Load(("model", Json("""{ "type": "dssm", "loss": "full", "negatives": 9 }"""))).Ignored);
        // Only a party that noises has a budget, and the claims own-messages and one-shot have no noise on parameters.
        Assert.Equal(["privacy.messageShare", "parties[1].privacy.epsilon"], Load(RecommendScene.Private(("privacy.messageShare", 0.3), ("parties.1.privacy", Json("""{ "epsilon": 2 }""")))).Ignored);
        Assert.Equal(["training.patience"], Load(RecommendScene.Private(("training.patience", 2))).Ignored);
        Assert.Equal(["training.device"], Load(("training.device", Json("{}"))).Ignored);
        Assert.Equal(["parties[1].ledger.budget", "parties[1].alignment"], Load(("parties.1.ledger", Json("""{ "budget": { "epsilon": 1, "delta": 1e-5 } }""")), ("parties.1.alignment", Json("""{ "peerIds": 5 }"""))).Ignored);
    }

    public static TheoryData<string, string, string, string> Faults => new()
    {
        { "model.fusoin", "\"sum\"", "FL2003", "fusion" },
        { "model.family", "\"binomial\"", "FL2003", "model.family" },
        { "evaluation", "{}", "FL2003", "evaluation" },
        { "model.fusion", "\"early\"", "FL2007", "late | sum | concat" },
        { "model.layers", "[]", "FL2006", "model.layers" },
        { "model.layers", "[8, 0]", "FL2006", "model.layers" },
        { "model.layers", "[8, 1.5]", "FL2006", "model.layers" },
        { "model.gamma", "0", "FL2006", "model.gamma" },
        { "model.dropout", "1", "FL2006", "model.dropout" },
        { "model.viewDropout", "-0.1", "FL2006", "model.viewDropout" },
        { "model.negatives", "0", "FL2006", "model.negatives" },
        { "model.viewWeights", "{ \"tast\": 1 }", "FL2011", "Did you mean 'taste'" },
        { "model.viewWeights", "{ \"taste\": 0 }", "FL2006", "viewWeights.taste" },
        { "model.viewWeights", "\"learnt\"", "FL2005", "viewWeights" },
        { "model.itemBias", "1", "FL2005", "model.itemBias" },
        { "training.optimizer", "\"lbfgs\"", "FL2007", "adam | sgd | adagrad" },
        { "training.mode", "\"device\"", "FL2008", "later release" },
        { "training.threads", "0", "FL2006", "training.threads" },
        { "training.batchesPerEpoch", "2", "FL2003", "training.batchesPerEpoch" },
        { "privacy.mode", "\"hdp-vfl\"", "FL2014", "embeddings | gradients | both" },
        { "privacy.mode", "\"he\"", "FL2014", "generalised linear" },
        { "privacy.mode", "\"he+dp\"", "FL2014", "'he+dp'" },
        { "privacy.mode", "\"none \"", "FL2007", "privacy.mode" },
        { "privacy", "{ \"mode\": \"dp\", \"delta\": 1e-5 }", "FL2004", "epsilon" },
        { "privacy", "{ \"mode\": \"dp\", \"epsilon\": 1, \"delta\": 0.1 }", "FL5052", "delta" },
        { "privacy", "{ \"mode\": \"dp\", \"epsilon\": 1, \"delta\": 1e-5, \"unit\": \"event\" }", "FL2004", "historyEvents" },
        { "privacy", "{ \"mode\": \"dp\", \"epsilon\": 1, \"delta\": 1e-5, \"unit\": \"user\" }", "FL2004", "maxSamplesPerUser" },
        { "privacy", "{ \"mode\": \"dp\", \"epsilon\": 1, \"delta\": 1e-5, \"claim\": \"one-shot\", \"noise\": \"both\" }", "FL2009", "one-shot" },
        { "maskedSum", "\"yes\"", "FL2005", "maskedSum" },
        { "alignment", "{ \"method\": \"psi\", \"output\": \"size-only\" }", "FL2520", "alignment.output" },
        { "parties.0.role", "\"passive\"", "FL2004", "data.view" },
        { "parties.1.data", "{ \"interactions\": \"x.csv\", \"view\": { \"path\": \"profile.csv\", \"schema\": \"profile.schema.json\" } }", "FL2009", "interactions" },
        { "parties.1.data", "{ \"path\": \"x.csv\" }", "FL2003", "parties[1].data.path" },
        { "parties.1.data.view", "{ \"path\": \"profile.csv\" }", "FL2004", "parties[1].data.view.schema" },
        { "parties.1.data.view.decimal", "\";\"", "FL2007", "parties[1].data.view.decimal" },
        { "parties.0.data", "{ \"interactions\": \"x.csv\" }", "FL2004", "parties[0].data.items" },
        { "parties.1.itemTower", "{ \"torchScript\": \"x.pt\" }", "FL2009", "itemTower" },
        { "parties.1.tower", "{}", "FL2004", "tower.torchScript" },
        { "parties.0.tower", "{ \"torchScript\": \"x.pt\" }", "FL2009", "the party has no view" },
        { "parties.1.hasView", "true", "FL2009", "hasView" },
        { "parties.0.hasView", "true", "FL2009", "names no view" },
        { "parties.1.name", "\"service\"", "FL2011", "'service'" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void Load_Fault_NamesIdAndPlace(string path, string json, string id, string part)
    {
        FedLearnException error = Assert.ThrowsAny<FedLearnException>(() => RunFile.Load(_scene.Job((path, Json(json)))));
        Assert.Contains(id, error.Message, StringComparison.Ordinal);
        Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_SeveralFaults_ListsThemAll()
    {
        string said = Refused<ConfigurationException>("FL2006", "3 faults", ("model.gamma", -1), ("training.epochs", 0), ("privacy.mode", "he")).Message;
        foreach (string part in (string[])["model.gamma", "training.epochs", "privacy.mode"])
            Assert.Contains(part, said, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_MaskedSum_NeedsTheFusionSumAndTwoPassiveParties()
    {
        Assert.True(Load(("maskedSum", true)).Job.MaskedSum);
        Refused<ConfigurationException>("FL2009", "fusion", ("maskedSum", true), ("model.fusion", "late"));
        JsonArray parties = JsonNode.Parse(File.ReadAllText(_scene.Job()))!["parties"]!.AsArray();
        parties.RemoveAt(2);
        Refused<ConfigurationException>("FL2009", "fewer than two passive parties", ("maskedSum", true), ("parties", parties.DeepClone()));
    }

    public static TheoryData<string, string> Unclaimed => new()
    {
        { "model.loss", "\"in-batch\"" },
        { "model.loss", "\"in-batch-logq\"" },
        { "model.negativeSource", "\"popularity\"" },
        { "model.negativeSource", "\"mixed\"" },
        { "model.negativeSource", "\"cached\"" },
        { "model.negativeSource", "\"hard\"" },
        { "training.validationStop", "true" },
    };

    [Theory]
    [MemberData(nameof(Unclaimed))]
    public void Load_PrivateJobThatNoClaimCovers_IsRefusedBeforeAnyTable(string path, string json)
    {
        (string, JsonNode?)[] changes = [("parties.2.data.view.path", "absent.csv"), (path, Json(json))];
        Load(changes);
        Assert.Equal(5, Assert.Throws<PrivacyRefusedException>(() => RunFile.Load(_scene.Job(RecommendScene.Private(changes)))).ExitCode);
    }

    [Fact]
    public void Load_PartyFileOfTheActiveParty_BringsItsTables()
    {
        _scene.Named("real.json", ("parties.0.data", null), ("parties.0.hasView", true), ("parties.1.data", null), ("parties.2.data", null));
        string own = _scene.Write("service.party.json", """
            { "job": "real.json", "party": "service", "listen": "127.0.0.1:0", "ledger": { "path": "own.db" },
              "data": { "interactions": "interactions.csv", "items": { "path": "items.csv", "schema": "items.schema.json" }, "view": { "path": "profile.csv", "schema": "profile.schema.json" } } }
            """);
        PartyFile party = PartyFile.Load(own);
        var run = Assert.IsType<DssmRunFile>(party.Run);
        Assert.True(run.Job.LabelHasView);
        Assert.Equal(_scene.At("profile.csv"), run.Party("service").Data!.View!.Path);
        Assert.Equal(_scene.At("own.db"), party.Self.Ledger.Path);

        // A view's machine reads the same job and has the same terms, whatever it knows of others' tables.
        PartyFile view = PartyFile.Load(_scene.Write("taste.party.json",
            """{ "job": "real.json", "party": "taste", "peers": { "service": "127.0.0.1:9" }, "data": { "view": { "path": "taste.csv", "schema": "taste.schema.json" } } }"""));
        Assert.Equal(party.Run.Digest("train"), view.Run.Digest("train"));
        Assert.NotEqual(party.Run.Digest("train"), view.Run.Digest("recommend"));

        _scene.Named("other.json", ("parties.0.data", null));
        _scene.Write("service.party.json", File.ReadAllText(own).Replace("real.json", "other.json", StringComparison.Ordinal));
        Assert.Contains("hasView", Assert.Throws<ConfigurationException>(() => PartyFile.Load(own)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{ "view": { "path": "taste.csv", "schema": "taste.schema.json" }, "items": { "path": "items.csv", "schema": "items.schema.json" } }""", "FL2009")]
    [InlineData("""{ "path": "taste.csv" }""", "FL2003")]
    public void Load_PartyFileOfAViewWithOtherTables_IsRefused(string data, string id)
    {
        _scene.Job();
        string file = _scene.Write("taste.party.json", $$"""{ "job": "job.json", "party": "taste", "peers": { "service": "127.0.0.1:9" }, "data": {{data}} }""");
        Assert.Contains(id, Assert.Throws<ConfigurationException>(() => PartyFile.Load(file)).Message, StringComparison.Ordinal);
    }
}
