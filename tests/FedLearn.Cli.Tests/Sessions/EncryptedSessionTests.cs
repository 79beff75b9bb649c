using System.Text.Json.Nodes;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.HomomorphicEncryption.Paillier;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>Jobs in the modes he and he+dp, with an arbiter, over every transport.</summary>
public class EncryptedSessionTests
{
    private static (string Path, JsonNode? Value)[] Encrypted(string scheme, params (string Path, JsonNode? Value)[] changes) => Scene.Sgd([("training.batchesPerEpoch", 1),
        ("preprocessing.scaling", "none"), ("privacy.mode", "he"), ("privacy.he.scheme", scheme), .. changes]);

    private static async Task RequireAsync(string scheme)
    {
        try
        {
            if (scheme == "ckks")
                await (await CkksScheme.OnNode().CreateKeyAsync(TestContext.Current.CancellationToken)).DisposeAsync();
            else
                _ = new PaillierScheme().Engine;
        }
        catch (InternalFailureException e) when (e.Id is HeErrors.SealMissing or HeErrors.GmpMissing)
        {
            Assert.Skip(e.Message);
        }
    }

    private static async Task<JsonObject> TrainAsync(string job, params string[] options)
    {
        ToolRun run = await ToolRun.Of(["train", "--config", job, "--json", .. options]);
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    /// <summary>Weights by column, and the intercept, of the parts in some folders.</summary>
    private static Dictionary<string, double> Weights(params string[] folders)
    {
        var weights = new Dictionary<string, double>();
        foreach (JsonObject part in folders.SelectMany(f => Directory.GetFiles(f, "*.model.json")).Select(file => JsonNode.Parse(File.ReadAllText(file))!.AsObject()))
        {
            foreach ((string column, double weight) in part["features"]!.AsArray().Zip(part["weights"]!.AsArray(), (f, w) => ((string)f!, (double)w!)))
                weights.Add(column, weight);
            foreach (JsonNode? intercept in part["intercepts"]!.AsArray())
                weights.Add("intercept", (double)intercept!);
        }

        return weights;
    }

    private static void AssertSame(Dictionary<string, double> expected, Dictionary<string, double> actual, double tolerance)
    {
        Assert.Equal(expected.Keys.Order(), actual.Keys.Order());
        Assert.All(expected, w => Assert.Equal(w.Value, actual[w.Key], tolerance));
    }

    private static JsonObject Arbiter(JsonObject report) => Assert.Single(report["roles"]!.AsArray().Select(r => r!.AsObject()), r => (string)r["role"]! == "arbiter");

    // What rounds off when ticks become seconds.
    private static void AssertPart(double part, double whole) => Assert.InRange(part, double.Epsilon, whole + 1e-6);

    /// <summary>Taylor's gradient descent on all common rows of the scene, in plain loops.</summary>
    private static Dictionary<string, double> Descent(Scene scene, int epochs, double step, double l2)
    {
        var telco = scene.Cells("telco.csv").ToDictionary(r => r["id"]);
        (double[] X, double Y)[] rows = [.. scene.Cells("bank.csv").Where(r => telco.ContainsKey(r["id"])).Select(r => ((double[])[Scene.Number(r["age"]), Scene.Number(r["income"]),
            Scene.Number(telco[r["id"]]["calls"]), Scene.Number(telco[r["id"]]["debt"]), 1], Scene.Number(r["y"])))];
        double[] w = new double[5];
        for (int epoch = 0; epoch < epochs; epoch++)
        {
            double[] gradient = new double[5];
            foreach ((double[] x, double y) in rows)
                for (int j = 0; j < 5; j++)
                    gradient[j] += ((.25 * x.Zip(w, (a, b) => a * b).Sum()) + .5 - y) * x[j] / rows.Length;
            for (int j = 0; j < 5; j++)
                w[j] -= step * (gradient[j] + (j < 4 ? l2 * w[j] : 0));
        }

        return new() { ["age"] = w[0], ["income"] = w[1], ["calls"] = w[2], ["debt"] = w[3], ["intercept"] = w[4] };
    }

    // Paillier's numbers are exact to 2^-53. CKKS errs by at most 1e-6 a round and column on so few rows (see the tests of the protocol), with steps of 1/2.
    [Theory]
    [InlineData("paillier", 1e-9)]
    [InlineData("ckks", 1e-5)]
    public async Task Train_OverEveryTransport_IsTheDescentInTheClearAndReportsTheArbiter(string scheme, double tolerance)
    {
        await RequireAsync(scheme);
        using var scene = new Scene();
        Dictionary<string, double> expected = Descent(scene, epochs: 3, step: .5, l2: .001);
        foreach ((string transport, string[] options) in (((string, string[])[])[("in-memory", []), ("grpc", ["--in-process"]), ("grpc", [])]).Skip(scheme == "ckks" ? 2 : 0))
        {
            string models = scene.At($"models-{transport}-{options.Length}");
            JsonObject report = await TrainAsync(scene.Job(Encrypted(scheme, ("evaluation", null), ("transport.kind", transport))), ["--model", models, .. options]);
            AssertSame(expected, Weights(models), tolerance);
            Assert.Equal(["arbiter", "coordinator"], report["roles"]!.AsArray().Select(r => (string)r!["role"]!).Order());
            JsonObject arbiter = Arbiter(report);
            Assert.Equal(("arbiter", scheme, 3), ((string)arbiter["hostedBy"]!, (string)arbiter["scheme"]!, (int)arbiter["rounds"]!));
            Assert.Contains(scheme == "ckks" ? "SEAL" : "GMP", (string)arbiter["engine"]!, StringComparison.Ordinal);
            Assert.True((long)arbiter["bytesSent"]! > 0 && (long)arbiter["bytesReceived"]! > 0 && (double)arbiter["computeSeconds"]! > 0);
            // What one sends another receives; which of the two the arbiter does more of, the parties' figures say.
            Assert.NotEqual((long)arbiter["bytesSent"]!, (long)arbiter["bytesReceived"]!);
            JsonNode[] all = [arbiter, .. report["parties"]!.AsArray()!];
            Assert.Equal(all.Sum(p => (long)p["bytesSent"]!), all.Sum(p => (long)p["bytesReceived"]!));
            AssertPart((double)arbiter["engineSeconds"]!, (double)arbiter["computeSeconds"]!);
            Assert.Null(arbiter["sigma"]);
            Assert.Equal(["bank", "telco"], report["parties"]!.AsArray().Select(p => (string)p!["name"]!));
            foreach (JsonObject party in report["parties"]!.AsArray().Select(p => p!.AsObject()))
            {
                Assert.Equal((string)arbiter["engine"]!, (string)party["encryption"]!["engine"]!);
                Assert.True((double)party["encryption"]!["setupSeconds"]! > 0);
                AssertPart((double)party["encryption"]!["engineSeconds"]!, (double)party["timing"]!["computeSeconds"]!);
                Assert.Contains(party["privacy"]!["warnings"]!.AsArray(), w => ((string)w!).Contains("can determine the labels", StringComparison.Ordinal));
                Assert.Empty(party["privacy"]!["claims"]!.AsArray());
            }
        }

        Assert.Empty(scene.Ledgers);
    }

    [Fact]
    public async Task Train_Encrypted_PageAndTerminalShowTheTimeOfEachEngine()
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Encrypted("paillier")), "--html", scene.At("report.html"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Matches("seconds in the engine of encryption: [0-9.E-]+ at 'bank', [0-9.E-]+ at 'telco', [0-9.E-]+ at 'arbiter'\\.", run.Error);
        string page = File.ReadAllText(scene.At("report.html"));
        Assert.Contains(">engine</th>", page, StringComparison.Ordinal);
        // The clear has no engine.
        run = await ToolRun.Of("train", "--config", scene.Named("clear.job.json"), "--html", scene.At("report.html"));
        Assert.DoesNotContain(">engine</th>", File.ReadAllText(scene.At("report.html")), StringComparison.Ordinal);
        Assert.DoesNotContain("engine", run.Error, StringComparison.Ordinal);
    }

    /// <summary>Of standardised columns the clear says nothing: its residual is not linear in the scores.</summary>
    [Fact]
    public async Task TrainAndCompare_ShortStepsOfStandardisedColumns_AreTold()
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        scene.Write("telco.schema.json", """{ "id": "id", "fields": [{ "name": "calls", "type": "numeric" }, { "name": "debt", "type": "numeric" }] }""");
        // .874^3
        const string Told = "training.stepSize 0.5 is short for 3 steps: noise apart, in some directions 67 % of the way";
        JsonObject report = await TrainAsync(scene.Job(Encrypted("paillier", ("preprocessing", null))));
        Assert.Contains(report["warnings"]!.AsArray(), w => ((string)w!).StartsWith(Told, StringComparison.Ordinal));
        ToolRun run = await ToolRun.Of("compare", "--config", scene.Job(Scene.Sgd(("training.batchesPerEpoch", 1))), "--json", "--repeats", "1", "--epsilons", "1", "--delta", "0.001", "--he", "paillier", "--he-epochs", "3");
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Single(JsonNode.Parse(run.Output)!["notes"]!.AsArray(), n => ((string)n!).StartsWith(Told, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Predict_WithTheModelOfAnEncryptedJob_ScoresAsThePooledModel()
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        string job = scene.Job(Encrypted("paillier"));
        JsonObject report = await TrainAsync(job, "--model", scene.At("models"));
        Assert.NotNull(report["metrics"]!["test"]!["auc"]);
        ToolRun run = await ToolRun.Of("predict", "--config", job, "--model", scene.At("models"), "--out", scene.At("scores.csv"));
        Assert.True(run.ExitCode == 0, run.Error);
        var pooled = new PooledModel(scene, scene.At("models"));
        string[][] rows = [.. File.ReadLines(scene.At("scores.csv")).Skip(1).Select(l => l.Split(','))];
        Assert.Equal(Scene.Common, rows.Length);
        Assert.All(rows, row => Assert.Equal(pooled.Score(row[0]), Scene.Number(row[1]), 1e-12));
    }

    [Fact]
    public async Task Train_InModeHeDp_ChargesBothPartiesAndNotTheArbiter()
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        JsonObject report = await TrainAsync(scene.Job(Encrypted("paillier", ("preprocessing", null), ("training.weightNorm", 1), ("privacy.mode", "he+dp"), ("privacy.epsilon", 1), ("privacy.delta", .001))));
        Assert.All(report["parties"]!.AsArray(), p => AssertPart((double)p!["encryption"]!["engineSeconds"]!, (double)p["timing"]!["computeSeconds"]!));
        Assert.All(report["parties"]!.AsArray(), p => Assert.Equal((double)Arbiter(report)["sigma"]!, (double)p!["privacy"]!["sigmaCharged"]!));
        Assert.Equal(["bank.ledger.db", "telco.ledger.db"], scene.Ledgers.Where(l => l.EndsWith(".db", StringComparison.Ordinal)));
        JsonObject arbiter = Arbiter(report);
        Assert.True((double)arbiter["sigma"]! > 0);
        Assert.True((bool)arbiter["secureNoise"]!);
        foreach (string party in (string[])["bank", "telco"])
        {
            double charged = Assert.Single(new SqliteLedger(scene.At($"{party}.ledger.db")).Entries).Charge.MuSquared;
            JsonNode privacy = report["parties"]!.AsArray().Single(p => (string)p!["name"]! == party)!["privacy"]!;
            Assert.Equal(Math.Pow((double)privacy["mu"]!, 2), charged, 1e-9);
            Assert.Equal((double)arbiter["sigma"]!, (double)privacy["sigma"]!, 1e-15);
            Assert.Contains("holds against every party except the arbiter, who must be honest and not collude, while all parties follow the protocol", (string)Assert.Single(privacy["claims"]!.AsArray())!, StringComparison.Ordinal);
        }
    }

    private static (string Bank, string Telco, string Arbiter) PartyFiles(Scene scene)
    {
        (int bank, int arbiter) = (Scene.FreePort(), Scene.FreePort());
        const string Limits = "\"timeoutSeconds\": 100, \"connectTimeoutSeconds\": 60";
        return (scene.Write("bank.party.json", $$"""{ "job": "job.json", "party": "bank", "listen": "127.0.0.1:{{bank}}", "peers": { "arbiter": "127.0.0.1:{{arbiter}}" }, {{Limits}} }"""),
            scene.Write("telco.party.json", $$"""{ "job": "job.json", "party": "telco", "peers": { "bank": "127.0.0.1:{{bank}}", "arbiter": "127.0.0.1:{{arbiter}}" }, {{Limits}} }"""),
            scene.Write("arbiter.party.json", $$"""{ "job": "job.json", "party": "arbiter", "listen": "127.0.0.1:{{arbiter}}", {{Limits}} }"""));
    }

    private static ToolProcess Start(Scene scene, string file, string party) => ToolProcess.Start("party", "--config", file, "--model", scene.At(party), "--json");

    [Fact]
    public async Task Party_ThreeProcesses_EndWithTheModelOfTrain()
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        string job = scene.Job(Encrypted("paillier"));
        (string bankFile, string telcoFile, string arbiterFile) = PartyFiles(scene);
        using ToolProcess bank = Start(scene, bankFile, "bank"), telco = Start(scene, telcoFile, "telco"), arbiter = Start(scene, arbiterFile, "arbiter");
        ToolRun[] runs = [await bank.EndAsync(), await telco.EndAsync(), await arbiter.EndAsync()];
        Assert.True(runs.All(r => r.ExitCode == 0), string.Concat(runs.Select(r => r.Error)));
        JsonObject memory = await TrainAsync(job, "--model", scene.At("memory"));
        AssertSame(Weights(scene.At("memory")), Weights(scene.At("bank"), scene.At("telco")), 1e-6);
        // The arbiter has no part of the model, and its report no figure of the rows.
        Assert.DoesNotContain(scene.Results, r => r.StartsWith("arbiter", StringComparison.Ordinal));
        JsonObject own = JsonNode.Parse(runs[2].Output)!.AsObject();
        Assert.Equal((3, "arbiter"), ((int)own["arbiter"]!["rounds"]!, (string)own["arbiter"]!["hostedBy"]!));
        Assert.All((string[])["parties", "metrics", "rows", "history", "objective"], key => Assert.Null(own[key]));
        // The parties' own session is the one that train has.
        Assert.All(runs.Take(2), r => Assert.Equal((string)memory["job"]!["digest"]!, (string)JsonNode.Parse(r.Output)!["job"]!["digest"]!));
    }

    [Fact]
    public async Task Party_ArbiterKilled_EndsBothAndNamesIt()
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        scene.Job(Encrypted("paillier", ("training.epochs", 1_000_000), ("privacy.he.mostRounds", 1_000_000)));
        (string bankFile, string telcoFile, string arbiterFile) = PartyFiles(scene);
        using ToolProcess bank = Start(scene, bankFile, "bank"), telco = Start(scene, telcoFile, "telco"), arbiter = Start(scene, arbiterFile, "arbiter");
        await bank.SaysAsync("round 1 of 1000000");
        await telco.SaysAsync("round 1 of 1000000");
        arbiter.Kill();
        ToolRun[] runs = [await bank.EndAsync(), await telco.EndAsync()];
        Assert.All(runs, r => Assert.True(r.ExitCode == 4, r.Error));
        // Who notices first says so to the other, who may hear that before it notices itself.
        Assert.Contains(runs, r => r.Error.Contains("peer 'arbiter'", StringComparison.Ordinal) && r.Error.Contains("(FL4007)", StringComparison.Ordinal));
        Assert.All(runs, r => Assert.True(r.Error.Contains("peer 'arbiter'", StringComparison.Ordinal) || r.Error.Contains("gave up with error FL4007", StringComparison.Ordinal), r.Error));
        Assert.Empty(scene.Results);
    }

    [Theory]
    [InlineData("bank", """{ "job": "job.json", "party": "bank", "listen": "127.0.0.1:5301" }""", "peers")]
    [InlineData("telco", """{ "job": "job.json", "party": "telco", "peers": { "bank": "127.0.0.1:5301" } }""", "peers")]
    [InlineData("telco", """{ "job": "job.json", "party": "telco", "peers": ["127.0.0.1:5301"] }""", "peers")]
    [InlineData("arbiter", """{ "job": "job.json", "party": "arbiter" }""", "listen")]
    public async Task Party_WithoutAnAddress_IsToldWhichToWrite(string party, string file, string key)
    {
        using var scene = new Scene();
        scene.Job(Encrypted("paillier"));
        ToolRun run = await ToolRun.Of("party", "--config", scene.Write($"{party}.party.json", file));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains($"({RunFileErrors.MissingKey})", run.Error, StringComparison.Ordinal);
        Assert.Contains(key, run.Error, StringComparison.Ordinal);
        Assert.Contains("127.0.0.1:5309", run.Error, StringComparison.Ordinal); // an example to copy
    }

    [Fact]
    public async Task Party_ArbiterWithData_IsRefused()
    {
        using var scene = new Scene();
        scene.Job(Encrypted("paillier"));
        ToolRun run = await ToolRun.Of("party", "--config", scene.Write("arbiter.party.json",
            """{ "job": "job.json", "party": "arbiter", "listen": "127.0.0.1:5309", "data": { "path": "bank.csv", "id": "id" } }"""));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains($"({RunFileErrors.Contradiction})", run.Error, StringComparison.Ordinal);
        Assert.Contains("must hold no data", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(5, "FL5210", "privacy.he.rowsPerColumn", 1000)]
    [InlineData(5, "FL5211", "privacy.he.mostRounds", 2)]
    [InlineData(2, "FL2011", "privacy.he.arbiter", "telco")]
    [InlineData(2, "FL2510", "model.family", "poisson")]
    public async Task Train_JobThatCannotBeEncrypted_IsRefusedWithItsId(int exitCode, string id, string path, object value)
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Encrypted("paillier", (path, value is int number ? JsonValue.Create(number) : JsonValue.Create((string)value)))));
        Assert.True(run.ExitCode == exitCode, run.Error);
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Results);
    }

    [Theory]
    [InlineData("ckks", "node", SealEngine.Node)]
    [InlineData("ckks", "native", SealEngine.Native)]
    [InlineData("ckks", null, null)]
    [InlineData("paillier", null, null)]
    public void EngineOf_Scheme_IsWhatTheRunFileNamesOrTheMachineHas(string scheme, string? engine, object? expected)
    {
        using var scene = new Scene();
        var run = (GlmRunFile)RunFile.Load(scene.Job(Encrypted(scheme, ("privacy.he.engine", engine))));
        if (scheme == "ckks")
            expected ??= HeRun.HasNative ? SealEngine.Native : SealEngine.Node;
        Assert.Equal((SealEngine?)expected, HeRun.EngineOf(run));
        Assert.Null(HeRun.EngineOf((GlmRunFile)RunFile.Load(scene.Named("plain.json"))));
    }

    [Theory]
    [InlineData("paillier", PaillierVariant.Fast)]
    [InlineData("paillier-fate", PaillierVariant.FateLike)]
    [InlineData("paillier-textbook", PaillierVariant.Textbook)]
    public void SchemeOf_Paillier_IsTheOneThatTheJobNames(string word, PaillierVariant variant)
    {
        using var scene = new Scene();
        PaillierScheme scheme = Assert.IsType<PaillierScheme>(HeRun.SchemeOf((GlmRunFile)RunFile.Load(scene.Job(Encrypted(word, ("privacy.he.keyBits", 3072))))));
        Assert.Equal((word, variant, 3072), (scheme.Name, scheme.Variant, scheme.KeyBits));
    }

    /// <summary>The noise of he+dp covers what rounding of columns does, which is to be small beside it.</summary>
    [Theory]
    [InlineData("he", 26)]
    [InlineData("he+dp", 34)]
    public void SchemeOf_Ckks_HasFinerColumnsUnderNoise(string mode, int columnBits)
    {
        using var scene = new Scene();
        var run = (GlmRunFile)RunFile.Load(scene.Job(Encrypted("ckks", ("privacy.he.engine", "node"), ("privacy.mode", mode), ("privacy.epsilon", mode == "he" ? null : 1), ("privacy.delta", mode == "he" ? null : .001),
            ("training.weightNorm", mode == "he" ? null : 1), ("preprocessing.rows", mode == "he" ? null : "clip"))));
        double[] errors = [.. ((int[])[columnBits, 60 - columnBits]).Select(bits => CkksScheme.OnNode(1, bits).SumError(100, 1, 1))];
        Assert.NotEqual(errors[0], errors[1]);
        Assert.Equal(errors[0], Assert.IsType<CkksScheme>(HeRun.SchemeOf(run)).SumError(100, 1, 1));
    }

    [Fact]
    public async Task Compare_WithPaillier_HasARowOfItsCost()
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("compare", "--config", scene.Job(Scene.Private(("preprocessing", null), ("training.batchesPerEpoch", 2))), "--json", "--repeats", "1", "--epsilons", "1", "--he", "paillier", "--he-epochs", "1");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonObject row = Assert.Single(JsonNode.Parse(run.Output)!["rows"]!.AsArray().Select(r => r!.AsObject()), r => (string)r["mode"]! == "he");
        Assert.True((string)row["status"]! == "ok", (string?)row["note"]);
        Assert.Equal(("paillier", 1), ((string)row["scheme"]!, (int)row["timing"]!["epochs"]!));
        Assert.Null(row["engineKind"]);
        Assert.Contains("Engine: GMP", (string)row["note"]!, StringComparison.Ordinal);
        Assert.Contains("Taylor's approximation", (string)row["note"]!, StringComparison.Ordinal);
        Assert.Contains(row["roles"]!.AsArray(), r => (string)r!["role"]! == "arbiter");
        Assert.True((double)row["relative"]!["secondsPerEpoch"]! > 1);
    }

    // Encryption cannot clip: what that changes is not what encryption costs.
    [Theory]
    [InlineData(.25, true)]
    [InlineData(null, false)]
    public async Task Compare_GaussianWithResidualClip_SaysThatEncryptedRowsHaveNone(double? clip, bool says)
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("compare", "--config", scene.Job(Scene.Private(("preprocessing", null), ("model.family", "gaussian"), ("training.batchesPerEpoch", 2), ("training.residualClip", clip))),
            "--json", "--repeats", "1", "--epsilons", "1", "--he", "paillier", "--he-epochs", "2");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonObject row = Assert.Single(JsonNode.Parse(run.Output)!["rows"]!.AsArray().Select(r => r!.AsObject()), r => (string)r["mode"]! == "he");
        Assert.True((string)row["status"]! == "ok", (string?)row["note"]);
        Assert.All((string[])["note", "sentence"], key => Assert.True(says == ((string)row[key]!).Contains("not clipped, as other rows clip them at training.residualClip 0.25", StringComparison.Ordinal), (string?)row[key]));
    }

    private static (string Path, JsonNode? Value)[] Noised(int epochs) => Encrypted("paillier", ("training.epochs", epochs), ("preprocessing", null), ("training.weightNorm", 1),
        ("privacy.mode", "he+dp"), ("privacy.epsilon", 1), ("privacy.delta", .001), ("transport.kind", "grpc"));

    [Fact]
    public async Task Train_InModeHeDpWithTestNoise_SaysThatItIsNotPrivateOfEveryPartyAndTheArbiter()
    {
        const string Notice = "NOT PRIVATE: test noise";
        await RequireAsync("paillier");
        using var scene = new Scene();
        string job = scene.Job([.. Noised(1), ("transport.kind", "in-memory"), ("privacy.testNoiseSeed", 5)]);
        JsonObject report = await TrainAsync(job);
        Assert.Equal(("notice", Notice), (report.First().Key, (string)report.First().Value!));
        Assert.False((bool)Arbiter(report)["secureNoise"]!);
        Assert.All(report["parties"]!.AsArray(), p => Assert.Equal((false, Notice), ((bool)p!["privacy"]!["secureNoise"]!, (string)p["privacy"]!["noise"]!)));

        // The report of an arbiter that runs by itself begins with it, too.
        GlmRunFile run = GlmRunFile.Load(job);
        var result = new ArbiterResult
        {
            Name = "arbiter",
            Engine = "",
            Scheme = "paillier",
            Rounds = 1,
            ComputeSeconds = 0,
            EngineSeconds = 0,
            Calibration = null,
            SecureNoise = false,
            Sent = [],
            Traffic = default,
        };
        JsonObject own = PartyDocument.OfArbiter(run, new SessionAgreement("session", new byte[32], []), result);
        Assert.Equal(("notice", Notice), (own.First().Key, (string)own.First().Value!));
    }

    private static async Task<(ToolProcess Parent, IReadOnlyList<(int Id, string[] Command)> Children)> NoisedAsync(Scene scene)
    {
        DeathTests.RequireInterrupt();
        await RequireAsync("paillier");
        ToolProcess parent = ToolProcess.Start("train", "--config", scene.Job(Noised(100_000)), "--json");
        await parent.SaysAsync("round 1 of 100000");
        return (parent, ToolProcess.Children(parent.Id));
    }

    private static LedgerEntry First(Scene scene, string party) => new SqliteLedger(scene.At($"{party}.ledger.db")).Entries[0];

    // What an interrupt costs is what had begun, whoever of the processes gets the signal first.
    [Theory]
    [InlineData(ToolProcess.Interrupt, false)]
    [InlineData(ToolProcess.Terminate, false)]
    [InlineData(ToolProcess.Interrupt, true)]
    [InlineData(ToolProcess.Terminate, true)]
    public async Task Train_InModeHeDpInterrupted_SettlesTheEpochsThatHadBegun(int signal, bool group)
    {
        using var scene = new Scene();
        (ToolProcess parent, IReadOnlyList<(int Id, string[] Command)> children) = await NoisedAsync(scene);
        using (parent)
        {
            Assert.Equal(3, children.Count);
            foreach (int process in (int[])[parent.Id, .. group ? children.Select(c => c.Id) : []])
                ToolProcess.Send(process, signal);
            ToolRun run = await parent.EndAsync();
            Assert.True(run.ExitCode == Tool.Interrupted, $"{run.ExitCode}: {run.Error}");
            await ToolProcess.GoneAsync([.. children.Select(c => c.Id)]);
            foreach (string party in (string[])["bank", "telco"])
            {
                LedgerEntry entry = First(scene, party);
                Assert.Equal(ChargeState.Settled, entry.State);
                Assert.InRange(entry.Share, 1e-5, .5);
            }
        }
    }

    [Fact]
    public async Task Train_InModeHeDpKilled_FreshSettlesTheEpochsThatHadBegun()
    {
        using var scene = new Scene();
        (ToolProcess parent, IReadOnlyList<(int Id, string[] Command)> children) = await NoisedAsync(scene);
        using (parent)
        {
            using (var bank = System.Diagnostics.Process.GetProcessById(children.First(c => c.Command.Contains("bank")).Id))
                bank.Kill();
            Assert.Equal(4, (await parent.EndAsync()).ExitCode);
            await ToolProcess.GoneAsync([.. children.Select(c => c.Id)]);
        }

        Assert.Equal((ChargeState.Reserved, 1.0), (First(scene, "bank").State, First(scene, "bank").Share));
        string job = scene.Job(Noised(2));
        await TrainAsync(job);
        Assert.Equal(ChargeState.Reserved, First(scene, "bank").State);
        await TrainAsync(job, "--fresh");
        LedgerEntry[] entries = [.. new SqliteLedger(scene.At("bank.ledger.db")).Entries];
        Assert.Equal([ChargeState.Settled, ChargeState.Settled, ChargeState.Settled], entries.Select(e => e.State));
        // Round 0 had left at least, and it is 1 of 100,000 epochs.
        Assert.InRange(entries[0].Share, 1e-5, .5);
        Assert.Equal([1, 1], entries.Skip(1).Select(e => e.Share));
    }

    // A party's own budget would be refused (FL5212): what is missing is the job's, and is said once.
    [Fact]
    public async Task Train_InModeHeDpWithoutBudget_IsToldWhichKeysToWrite()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Encrypted("paillier", ("preprocessing", null), ("training.weightNorm", 1), ("privacy.mode", "he+dp"))));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("privacy.epsilon", run.Error, StringComparison.Ordinal);
        Assert.Contains("privacy.delta", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("parties[", run.Error, StringComparison.Ordinal);
        Assert.Equal(2, run.Error.Split("one budget").Length - 1);
    }

    [Fact]
    public async Task Party_ArbiterIsNotRunning_IsNamed()
    {
        await RequireAsync("paillier");
        using var scene = new Scene();
        scene.Job(Encrypted("paillier"));
        (int bankPort, int arbiterPort) = (Scene.FreePort(), Scene.FreePort());
        const string Limits = "\"timeoutSeconds\": 100, \"connectTimeoutSeconds\": 10";
        string bankFile = scene.Write("bank.party.json", $$"""{ "job": "job.json", "party": "bank", "listen": "127.0.0.1:{{bankPort}}", "peers": { "arbiter": "127.0.0.1:{{arbiterPort}}" }, {{Limits}} }"""),
            telcoFile = scene.Write("telco.party.json", $$"""{ "job": "job.json", "party": "telco", "peers": { "bank": "127.0.0.1:{{bankPort}}", "arbiter": "127.0.0.1:{{arbiterPort}}" }, {{Limits}} }""");
        using ToolProcess bank = Start(scene, bankFile, "bank"), telco = Start(scene, telcoFile, "telco");
        ToolRun[] runs = [await bank.EndAsync(), await telco.EndAsync()];
        Assert.All(runs, r => Assert.Equal(4, r.ExitCode));
        // Who gives up first tells the other so.
        Assert.Contains(runs, r => r.Error.Contains("for 'arbiter' or a coordinator to accept connections", StringComparison.Ordinal) && r.Error.Contains("(FL4015)", StringComparison.Ordinal));
    }
}
