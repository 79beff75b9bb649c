using System.Globalization;
using System.Text.Json.Nodes;

namespace FedLearn.Cli.Tests.Sessions;

public class TrainTests
{
    private static async Task<JsonObject> TrainAsync(string job, params string[] more)
    {
        ToolRun run = await ToolRun.Of(["train", "--config", job, "--json", .. more]);
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    private static string[] Weights(JsonObject report) => [.. report["parties"]!.AsArray().Select(p => (string)p!["model"]!["weightsSha256"]!)];

    private static string Digest(JsonObject report) => (string)report["job"]!["digest"]!;

    [Theory]
    [InlineData("lbfgs")]
    [InlineData("sgd")]
    [InlineData("hdp-vfl")]
    [InlineData("one-round")]
    [InlineData("label-dp")]
    public async Task Train_EveryTransport_GivesTheSameModelAndDigest(string kind)
    {
        using var scene = new Scene();
        (string, JsonNode?)[] changes = kind switch
        {
            "lbfgs" => [],
            "sgd" => Scene.Sgd(),
            _ => Scene.Private(("privacy.testNoiseSeed", 11), ("privacy.mode", kind)),
        };
        JsonObject memory = await TrainAsync(scene.Job(changes));
        string grpc = scene.Named("grpc.job.json", [.. changes, ("transport.kind", "grpc")]);
        foreach (JsonObject other in (JsonObject[])[await TrainAsync(grpc, "--in-process"), await TrainAsync(grpc)])
        {
            Assert.Equal(Weights(memory), Weights(other));
            Assert.Equal(Digest(memory), Digest(other));
            Assert.Equal(memory["metrics"]!.ToJsonString(), other["metrics"]!.ToJsonString());
            Assert.Equal(("in-memory", "grpc"), ((string)memory["job"]!["transport"]!, (string)other["job"]!["transport"]!));
            // The same messages travel, whatever carries them.
            Assert.Equal(memory["parties"]!.AsArray().Select(p => p!["releases"]!.ToJsonString()), other["parties"]!.AsArray().Select(p => p!["releases"]!.ToJsonString()));
            Assert.Equal(memory["parties"]!.AsArray().Select(p => (long)p!["messagesSent"]!), other["parties"]!.AsArray().Select(p => (long)p!["messagesSent"]!));
        }
    }

    [Theory]
    [InlineData("in-memory")]
    [InlineData("grpc")]
    public async Task Train_CommonRows_StandBesideThoseOfEachParty(string transport)
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(("transport.kind", transport)), "--report", scene.At("report.json"), "--html", scene.At("page.html"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Contains("common rows: 240 of 245 of 'bank', 240 of 247 of 'telco'.", run.Error, StringComparison.Ordinal);
        JsonObject report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!.AsObject();
        Assert.Equal([(245, 240), (247, 240)], report["parties"]!.AsArray().Select(p => ((int)p!["rows"]!, (int)p["commonRows"]!)));
        Assert.Empty(report["alignment"]!["warnings"]!.AsArray());
        Assert.Contains("of these common", File.ReadAllText(scene.At("page.html")), StringComparison.Ordinal);
    }

    /// <summary>A column of the telephone company's that is known after the label only.</summary>
    [Fact]
    public async Task Train_ColumnThatRepeatsTheLabel_Warns()
    {
        using var scene = new Scene();
        Dictionary<string, string> labels = scene.Cells("bank.csv").ToDictionary(r => r["id"], r => r["y"]);
        scene.Write("telco.csv", ["id,calls,debt", .. scene.Cells("telco.csv").Select(r => $"{r["id"]},{r["calls"]},{labels.GetValueOrDefault(r["id"], "0")}")]);
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(("evaluation", null)));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Contains("warning: the model orders the 240 training rows almost without a mistake (AUC 1.0000)", run.Error, StringComparison.Ordinal);
    }

    /// <summary>Standard errors that columns do not allow: those of the telephone company alone, or with the bank's.</summary>
    [Theory]
    [InlineData("grpc", true, "a column of 'telco' is a linear combination of its others", "telco: linearly dependent over the training rows: 'calls', 'debt'")]
    [InlineData("grpc", false, "of all parties together", "bank: linearly dependent over the training rows: 'age', columns of 'telco'")]
    [InlineData("in-memory", false, "of all parties together", "bank: linearly dependent over the training rows: 'age', columns of 'telco'")]
    public async Task Train_NoStandardErrors_KeepsModelAndReport(string transport, bool own, string why, string named)
    {
        using var scene = new Scene();
        Dictionary<string, string> ages = scene.Cells("bank.csv").ToDictionary(r => r["id"], r => r["age"]);
        scene.Write("telco.csv", ["id,calls,debt", .. scene.Cells("telco.csv").Select(r => $"{r["id"]},{r["calls"]},{(own ? r["calls"] : ages.GetValueOrDefault(r["id"], "0"))}")]);
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(("transport.kind", transport), ("model.l2", 0), ("evaluation.inference", true)), "--model", scene.At("models"), "--report", scene.At("report.json"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal([Path.Combine("models", "bank.model.json"), Path.Combine("models", "telco.model.json"), "report.json"], scene.Results);
        JsonObject report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!.AsObject();
        Assert.True(report.TryGetPropertyValue("inference", out JsonNode? inference) && inference is null);
        string warning = Assert.Single(report["warnings"]!.AsArray().Select(w => (string)w!), w => w.StartsWith("the model has no standard errors: ", StringComparison.Ordinal));
        Assert.Contains(why, warning, StringComparison.Ordinal);
        Assert.Contains(warning, run.Error, StringComparison.Ordinal);
        Assert.Contains(named, report["warnings"]!.AsArray().Select(w => (string)w!));
    }

    /// <summary>Ids of which most are written in another way at one party.</summary>
    [Fact]
    public async Task TrainAndPredict_FewCommonRows_Warn()
    {
        using var scene = new Scene();
        string job = scene.Job(("evaluation", null));
        scene.Write("telco.csv", ["id,calls,debt", .. scene.Cells("telco.csv").Select(r => $"{(string.CompareOrdinal(r["id"], "c_0020") < 0 ? r["id"] : r["id"].ToUpperInvariant())},{r["calls"]},{r["debt"]}")]);
        foreach (string[] command in (string[][])[["train", "--model"], ["predict", "--out", scene.At("scores.csv"), "--report", scene.At("report.json"), "--model"]])
        {
            ToolRun run = await ToolRun.Of([.. command, scene.At("models"), "--config", job]);
            Assert.True(run.ExitCode == 0, run.Error);
            Assert.Contains("warning: only 20 of the 245 rows of 'bank' are common", run.Error, StringComparison.Ordinal);
            Assert.Contains("warning: only 20 of the 247 rows of 'telco' are common", run.Error, StringComparison.Ordinal);
        }

        JsonNode report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!;
        Assert.Equal(["bank", "telco"], report["alignment"]!["warnings"]!.AsArray().Select(w => ((string)w!).Contains("'bank'", StringComparison.Ordinal) ? "bank" : "telco"));
        Assert.Contains("were disclosed to the active party", (string)Assert.Single(report["warnings"]!.AsArray())!, StringComparison.Ordinal);
    }

    /// <summary>A run file that lacks a party of the training would score its rows without that party's part.</summary>
    [Fact]
    public async Task Predict_PartyOfTheTrainingMissing_IsRefusedAndNamed()
    {
        using var scene = new Scene();
        string job = scene.Job(), alone = scene.Named("alone.job.json");
        JsonObject lacking = JsonNode.Parse(File.ReadAllText(job))!.AsObject();
        lacking["parties"]!.AsArray().RemoveAt(1);
        File.WriteAllText(alone, lacking.ToJsonString());
        ToolRun trained = await ToolRun.Of("train", "--config", job, "--model", scene.At("models"));
        Assert.True(trained.ExitCode == 0, trained.Error);
        ToolRun run = await ToolRun.Of("predict", "--config", alone, "--model", scene.At("models"), "--out", scene.At("scores.csv"));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("'telco' (passive)", run.Error, StringComparison.Ordinal);
        Assert.Contains("FL2402", run.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(scene.At("scores.csv")));

        // The bank's own model has no passive party, whose scores could be disclosed.
        trained = await ToolRun.Of("train", "--config", alone, "--model", scene.At("own"));
        Assert.True(trained.ExitCode == 0, trained.Error);
        run = await ToolRun.Of("predict", "--config", alone, "--model", scene.At("own"), "--out", scene.At("scores.csv"), "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.DoesNotContain("disclosed", run.Error, StringComparison.Ordinal);
        Assert.Empty(JsonNode.Parse(run.Output)!["warnings"]!.AsArray());
    }

    /// <summary>Customers far from those of the training.</summary>
    [Theory]
    [InlineData(null, "")]
    [InlineData("disclosed", "; no privacy claim covers them")]
    [InlineData("charged", "; no privacy claim covers what they tell of the rows that are scored")]
    public async Task Predict_DisclosesScores_AndSaysSoAndWhatNoClaimCovers(string? evaluation, string said)
    {
        using var scene = new Scene();
        string job = scene.Job(evaluation is null ? [] : Scene.Private(("privacy.evaluation", evaluation)));
        ToolRun trained = await ToolRun.Of("train", "--config", job, "--model", scene.At("models"));
        Assert.True(trained.ExitCode == 0, trained.Error);
        ToolRun run = await ToolRun.Of("predict", "--config", job, "--model", scene.At("models"), "--out", scene.At("scores.csv"), "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        string warning = $"the passive parties' scores of these rows were disclosed to the active party{said}";
        Assert.Contains(warning, JsonNode.Parse(run.Output)!["warnings"]!.AsArray().Select(w => (string)w!));
        Assert.Contains($"warning: {warning}", run.Error, StringComparison.Ordinal);
    }

    /// <summary>The report of all parties together, and what is said of it.</summary>
    [Fact]
    public async Task Predict_OneRow_IsReportedWithWhatEveryPartySays()
    {
        using var scene = new Scene();
        string job = scene.Job();
        ToolRun trained = await ToolRun.Of("train", "--config", job, "--model", scene.At("models"));
        Assert.True(trained.ExitCode == 0, trained.Error);
        scene.Write("telco.csv", ["id,calls,debt", .. scene.Cells("telco.csv").Where(r => r["id"] == "c_0003").Select(r => $"{r["id"]},{r["calls"]},{r["debt"]}")]);
        scene.Write("telco.schema.json", """{ "id": "id", "fields": [{ "name": "debt", "type": "numeric", "min": -2, "max": 2 }, { "name": "calls", "type": "numeric", "min": -1, "max": 1 }] }""");
        ToolRun run = await ToolRun.Of("predict", "--config", job, "--model", scene.At("models"), "--out", scene.At("scores.csv"), "--json", "--report", scene.At("report.json"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(run.Output, File.ReadAllText(scene.At("report.json")));
        JsonObject document = JsonNode.Parse(run.Output)!.AsObject();
        Assert.Equal(["job", "rows", "out", "notes", "ownRows", "alignment", "warnings"], document.Select(p => p.Key));
        Assert.Equal(("scene", 1, scene.At("scores.csv"), 245), ((string)document["job"]!, (int)document["rows"]!, (string)document["out"]!, (int)document["ownRows"]!));
        string note = (string)Assert.Single(document["notes"]!.AsArray())!;
        Assert.StartsWith("telco: the schema is not the one the model was trained with", note, StringComparison.Ordinal);
        string[] lines = run.Error.ReplaceLineEndings("\n").Split('\n');
        Assert.Single(lines, $"note: {note}");
        Assert.Single(lines, $"1 row scored of the 245 of 'bank': {scene.At("scores.csv")}");
        // Each party knows what it tells of its own ids.
        Assert.Equal(3, document["alignment"]!["leaks"]!.AsArray().Count);
        Assert.Single(lines, l => l.StartsWith("warning: the passive parties' scores", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Predict_BeyondNumbers_IsNoted()
    {
        using var scene = new Scene();
        (string, JsonNode?)[] poisson = [("model.family", "poisson"), ("parties.0.data.schema", null)];
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(poisson), "--model", scene.At("models"));
        Assert.True(run.ExitCode == 0, run.Error);
        double weight = (double)JsonNode.Parse(File.ReadAllText(scene.At("models/bank.model.json")))!["weights"]![0]!;
        string[] customers = [.. scene.Cells("bank.csv").Select(r => r["id"]).Where(id => string.CompareOrdinal(id, "c_0100") < 0).Take(2)];
        scene.Write("bank.csv", ["id,y,age,income", .. scene.Cells("bank.csv").Select(r => $"{r["id"]},{r["y"]},{(customers.Contains(r["id"]) ? weight > 0 ? "1e9" : "-1e9" : r["age"])},{r["income"]}")]);
        run = await ToolRun.Of("predict", "--config", scene.Job(poisson), "--model", scene.At("models"), "--out", scene.At("scores.csv"), "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(customers.Order(), scene.Cells("scores.csv").Where(r => r["prediction"] == "Infinity").Select(r => r["id"]).Order());
        Assert.Contains("note: 2 of 240 predictions are beyond what a number holds", run.Error, StringComparison.Ordinal);
        Assert.Single(JsonNode.Parse(run.Output)!["notes"]!.AsArray());
    }

    /// <summary>A range in another unit than the column's.</summary>
    [Fact]
    public async Task TrainAndPredict_CellsOutsideOfTheDeclaredRange_Warn()
    {
        using var scene = new Scene();
        string job = scene.Job(("preprocessing.scaling", "declared"));
        scene.Write("telco.schema.json", File.ReadAllText(scene.At("telco.schema.json")).Replace("\"debt\", \"type\": \"numeric\", \"min\": -1, \"max\": 1", "\"debt\", \"type\": \"numeric\", \"min\": 20, \"max\": 80", StringComparison.Ordinal));
        foreach ((string rows, string[] command) in ((string, string[])[])[("training", ["train", "--model"]), ("scored", ["predict", "--out", scene.At("scores.csv"), "--model"])])
        {
            ToolRun run = await ToolRun.Of([.. command, scene.At("models"), "--config", job, "--report", scene.At("report.json")]);
            Assert.True(run.ExitCode == 0, run.Error);
            string warning = $"column 'debt' of 'telco': 100 % of its cells in {rows} rows are outside of the declared range 20 to 80 and count as its ends";
            Assert.Contains("warning: " + warning, run.Error, StringComparison.Ordinal);
            Assert.Single(JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!["warnings"]!.AsArray(), w => ((string)w!).StartsWith(warning, StringComparison.Ordinal));
            Assert.DoesNotContain("column 'calls'", run.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Digest_OverChanges_MovesWithTheTermsAlone()
    {
        using var scene = new Scene();
        (string, JsonNode?)[] seeded = Scene.Private(("privacy.testNoiseSeed", 11));
        JsonObject first = await TrainAsync(scene.Job(seeded));
        Directory.CreateDirectory(scene.At("moved"));
        File.Copy(scene.At("telco.csv"), scene.At("moved/other.csv"));
        JsonObject moved = await TrainAsync(scene.Named("moved.job.json", [.. seeded, ("parties.1.data.path", "moved/other.csv"), ("privacy.testNoiseSeed", 12),
            ("transport.timeoutSeconds", 7), ("parties.0.ledger.path", "elsewhere.db")]));
        Assert.Equal(Digest(first), Digest(moved));
        Assert.NotEqual(Weights(first), Weights(moved)); // another noise

        var digests = new HashSet<string> { Digest(first) };
        foreach ((string, JsonNode?) change in ((string, JsonNode?)[])[("name", "other"), ("model.l2", 0.002), ("training.seed", 8), ("privacy.epsilon", 2),
            ("privacy.evaluation", "none"), ("preprocessing.rows", "normalize"), ("evaluation.split.mod", 4), ("parties.1.privacy", JsonNode.Parse("""{ "delta": 0.002 }"""))])
            Assert.True(digests.Add(Digest(await TrainAsync(scene.Named("changed.job.json", [.. seeded, change])))), change.Item1);
        scene.Write("telco.schema.json", File.ReadAllText(scene.At("telco.schema.json")).Replace("-1", "-2", StringComparison.Ordinal));
        Assert.True(digests.Add(Digest(await TrainAsync(scene.Job(seeded)))), "schema");
    }

    [Fact]
    public async Task Train_ModelOfTwoParties_IsThePooledOptimum()
    {
        // At the optimum of mean loss + l2/2 |w|^2 over the training rows, the gradient is zero: found here from the saved parts and the tables alone.
        using var scene = new Scene();
        JsonObject report = await TrainAsync(scene.Job(("preprocessing.scaling", "none"), ("evaluation", null)), "--model", scene.At("models"));
        Assert.Equal(["models/bank.model.json", "models/telco.model.json"], scene.Results);
        Assert.Null(report["metrics"]!["test"]);
        Assert.Equal("converged", (string)report["job"]!["stopReason"]!);
        var pooled = new PooledModel(scene, scene.At("models"));
        double[] gradient = new double[pooled.Weights.Count + 1];
        foreach (string id in pooled.CommonIds)
        {
            double residual = (1 / (1 + Math.Exp(-pooled.Score(id))) - pooled.Label(id)) / Scene.Common;
            gradient[^1] += residual;
            for (int j = 0; j < pooled.Weights.Count; j++)
                gradient[j] += residual * pooled.Cell(id, pooled.Weights[j].Column);
        }

        for (int j = 0; j < pooled.Weights.Count; j++)
            gradient[j] += 0.001 * pooled.Weights[j].Weight;
        Assert.All(gradient, g => Assert.InRange(g, -1e-7, 1e-7));
    }

    [Theory]
    [InlineData("hdp-vfl", "charged", 0.01, true)]
    [InlineData("one-round", "charged", 1, true)]
    [InlineData("label-dp", "disclosed", 0.01, true)]
    [InlineData("label-dp", "disclosed", 20, false)]
    public async Task Train_ModelWorseThanTheActivePartyAlone_SaysSoInTextAndPage(string mode, string evaluation, double epsilon, bool outweighs)
    {
        using var scene = new Scene();
        // The noise is the same in every run.
        string job = scene.Job(Scene.Private(("privacy.mode", mode), ("privacy.evaluation", evaluation), ("privacy.epsilon", epsilon), ("privacy.testNoiseSeed", 3), ("training.epochs", 20)));
        ToolRun run = await ToolRun.Of("train", "--config", job, "--json", "--html", scene.At("report.html"));
        Assert.True(run.ExitCode == 0, run.Error);
        JsonObject metrics = JsonNode.Parse(run.Output)!["metrics"]!.AsObject();
        double with = (double)metrics["test"]!["logLoss"]!, alone = (double)metrics["guestOnly"]!["test"]!["logLoss"]!;
        Assert.Equal(outweighs, with > alone);
        string warning = string.Create(CultureInfo.InvariantCulture, $"the noise outweighs what the other parties know: on the test rows the model's log loss is {with:G4}, and that of the active party alone {alone:G4}");
        Assert.Equal(outweighs, run.Error.Contains($"warning: {warning}", StringComparison.Ordinal));
        Assert.Equal(outweighs, File.ReadAllText(scene.At("report.html")).Contains("the noise outweighs", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Train_EvaluationNone_SendsNoScoresOfTestRows()
    {
        using var scene = new Scene();
        JsonObject with = await TrainAsync(scene.Job(Scene.Private())), without = await TrainAsync(scene.Job(Scene.Private(("privacy.evaluation", "none"))));
        string[] Names(JsonObject report) => [.. report["parties"]!.AsArray().SelectMany(p => p!["releases"]!.AsArray()).Select(r => (string)r!["name"]!)];
        Assert.Contains("evaluation: test rows", Names(with));
        Assert.NotNull(with["metrics"]!["test"]);
        Assert.DoesNotContain(Names(without), name => name.StartsWith("evaluation", StringComparison.Ordinal));
        Assert.Null(without["metrics"]!["test"]);
        Assert.NotNull(without["metrics"]!["train"]!["auc"]);
        Assert.All(without["parties"]!.AsArray(), p => Assert.StartsWith("training messages only: ", (string)p!["privacy"]!["claims"]![0]!, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("in-memory")]
    [InlineData("grpc")]
    public async Task Train_HugeStep_EndsAsDivergedNotAsEcho(string transport)
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Sgd(("training.stepSize", 1e300), ("transport.kind", transport))),
            "--model", scene.At("models"), "--report", scene.At("report.json"));
        Assert.Equal(6, run.ExitCode);
        Assert.Contains("(FL6100)", run.Error, StringComparison.Ordinal);
        Assert.Contains("training.stepSize", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Results);
    }

    [Fact]
    public async Task Train_PlaceThatCannotBeWritten_IsRefusedBeforeTraining()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Endless()), inTheWay = scene.At("bank.csv");
        foreach (string[] option in (string[][])[["--model", inTheWay], ["--report", scene.Folder], ["--html", scene.Folder], ["--report", Path.Combine(inTheWay, "report.json")], ["--report", ""]])
        {
            ToolRun run = await ToolRun.Of(["train", "--config", job, .. option]);
            Assert.Equal(2, run.ExitCode);
            Assert.Contains(CliErrors.CannotWrite, run.Error, StringComparison.Ordinal);
        }

        Assert.Empty(scene.Results);
    }
}
