using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Cli.Tests.Sessions;

public class TuningTests
{
    private const string Grid = "model.l2=0.3,0.003";

    private static async Task<(JsonObject Report, string Error)> TuneAsync(string job, params string[] more)
    {
        ToolRun run = await ToolRun.Of(["train", "--config", job, "--json", "--cross-validate", "3", .. more]);
        Assert.True(run.ExitCode == 0, run.Error);
        return (JsonNode.Parse(run.Output)!.AsObject(), run.Error);
    }

    private static double[] Scores(JsonNode candidate) => [.. candidate["scores"]!.AsArray().Select(s => (double)s!)];

    private static string[] Weights(JsonObject report) => [.. report["parties"]!.AsArray().Select(p => (string)p!["model"]!["weightsSha256"]!)];

    [Fact]
    public async Task Tune_ModeNone_TrainsTheBestOnAllTrainingRows()
    {
        using var scene = new Scene();
        (JsonObject report, string error) = await TuneAsync(scene.Job(), "--grid", Grid, "--metric", "logLoss", "--model", scene.At("models"), "--html", scene.At("page.html"));
        JsonNode tuning = report["tuning"]!;
        Assert.Equal((3, "logLoss"), ((int)tuning["folds"]!, (string)tuning["metric"]!));
        JsonArray candidates = tuning["candidates"]!.AsArray();
        Assert.Equal([0.3, 0.003], candidates.Select(c => (double)c!["settings"]!["model.l2"]!));
        double[] means = [.. candidates.Select(c => Scores(c!).Average())];
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal(3, Scores(candidates[i]!).Length);
            Assert.Equal(means[i], (double)candidates[i]!["mean"]!, 1e-12);
            Assert.Equal(Math.Sqrt(Scores(candidates[i]!).Sum(s => (s - means[i]) * (s - means[i])) / 2), (double)candidates[i]!["deviation"]!, 1e-12);
            Assert.Equal(("ok", "logLoss"), ((string)candidates[i]!["status"]!, (string)candidates[i]!["metric"]!));
        }

        // A penalty of .3 shrinks a model that the rows determine well.
        Assert.True(means[1] < means[0]);
        Assert.Equal(1, (int)tuning["chosen"]!);
        Assert.Empty(tuning["cost"]!.AsArray());
        ToolRun plain = await ToolRun.Of("train", "--config", scene.Named("plain.job.json", ("model.l2", 0.003)), "--json");
        JsonObject direct = JsonNode.Parse(plain.Output)!.AsObject();
        Assert.Equal(Weights(direct), Weights(report));
        Assert.Equal(direct["metrics"]!.ToJsonString(), report["metrics"]!.ToJsonString());
        Assert.Equal((string)direct["job"]!["digest"]!, (string)report["job"]!["digest"]!);
        Assert.Equal([Path.Combine("models", "bank.model.json"), Path.Combine("models", "telco.model.json"), "page.html"], scene.Results);
        Assert.Contains("candidate 2 of 2 (model.l2 0.003), fold 3 of 3", error, StringComparison.Ordinal);
        Assert.Contains("<h3>Tuning</h3>", File.ReadAllText(scene.At("page.html")), StringComparison.Ordinal);
    }

    // One of the telephone company's customers has a debt: without this row, which is in the last of three folds (seeds 0 and 7), the column is constant.
    private static void OneDebt(Scene scene) => scene.Write("telco.csv", ["id,calls,debt", .. scene.Cells("telco.csv").Select(r => $"{r["id"]},{r["calls"]},{(r["id"] == "c_0003" ? "0.7" : "0.1")}")]);

    [Theory]
    [InlineData("lbfgs", 0.001, "in-memory")]
    [InlineData("lbfgs", 0.001, "grpc")]
    [InlineData("accelerated", 0.001, "in-memory")]
    [InlineData("irls", 0.001, "in-memory")]
    [InlineData("irls", 0.0, "in-memory")]
    public async Task Tune_ColumnConstantInOneFold_CountsAsZeroThere(string optimizer, double l2, string transport)
    {
        using var scene = new Scene();
        OneDebt(scene);
        (JsonObject report, string error) = await TuneAsync(scene.Job(("training.optimizer", optimizer), ("model.l2", l2), ("evaluation", null), ("transport.kind", transport)));
        Assert.Equal(3, Scores(report["tuning"]!["candidates"]![0]!).Length);
        string note = Assert.Single(report["warnings"]!.AsArray().Select(w => (string)w!), w => w.StartsWith("fold ", StringComparison.Ordinal));
        Assert.EndsWith("of 3: column 'debt' of 'telco' has the same value in all training rows, and counts as 0 there", note, StringComparison.Ordinal);
        Assert.Contains(note, error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tune_ColumnConstantInOneFold_IsSaidOnceForAllCandidates()
    {
        using var scene = new Scene();
        OneDebt(scene);
        (JsonObject report, _) = await TuneAsync(scene.Job(("evaluation", null)), "--grid", Grid);
        Assert.Single(report["warnings"]!.AsArray(), w => ((string)w!).StartsWith("fold ", StringComparison.Ordinal));
    }

    /// <summary>What a private mode does with features does not depend on rows, but for the constants of scaling.</summary>
    [Fact]
    public async Task Tune_ColumnConstantInOneFoldOfAPrivateMode_IsRefusedByNameAndFold()
    {
        using var scene = new Scene();
        OneDebt(scene);
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Private(("preprocessing.scaling", "standardize"), ("evaluation", null))), "--cross-validate", "3", "--report", scene.At("report.json"));
        Assert.Equal(3, run.ExitCode);
        // Before the first fold is paid for. The bank had its noise ready, and used none of it.
        Assert.Empty(scene.Results);
        foreach (string party in scene.Ledgers.Where(l => l.EndsWith(".db", StringComparison.Ordinal)).Select(l => l.Split('.')[0]))
            Assert.All(Charges(scene, party), e => Assert.Equal((0.0, 0.0), (e.PureEpsilon, e.MuSquared)));
        string said = run.Error.ReplaceLineEndings(" ");
        Assert.Contains("FL3018", said, StringComparison.Ordinal);
        Assert.Contains("column 'debt': the training rows of fold ", said, StringComparison.Ordinal);
        Assert.Contains("fewer folds", said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("in-memory")]
    [InlineData("grpc")]
    public async Task Tune_LaterFoldWithoutRows_IsRefusedBeforeAnythingIsCharged(string transport)
    {
        using var scene = new Scene();
        // Of 240 common rows none is in fold 10 of 60, with seed 7.
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Private(("transport.kind", transport), ("evaluation", null))), "--cross-validate", "60", "--report", scene.At("report.json"));
        Assert.Equal(3, run.ExitCode);
        Assert.Contains("fold 10 of 60: none of so few training rows would be tested on.", run.Error.ReplaceLineEndings(" "), StringComparison.Ordinal);
        Assert.Contains("(FL3110)", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("fold 2 of", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Results);
        Assert.Empty(scene.Ledgers);
    }

    /// <summary>In units of the other rows, one in the last fold is beyond what a number holds.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Tune_EveryCandidateFailsInALaterFold_WritesTheTableUnlessThatIsKnownBeforeTheFirstIsCharged(bool isPrivate)
    {
        using var scene = new Scene();
        scene.Write("telco.csv", ["id,calls,debt", .. scene.Cells("telco.csv").Select(r => $"{r["id"]},{r["calls"]},{(r["id"] == "c_0003" ? "1e154" : r["debt"] + "e-155")}")]);
        (string, JsonNode?)[] changes = [("preprocessing.scaling", "standardize"), ("evaluation", null)];
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(isPrivate ? Scene.Private(changes) : changes), "--cross-validate", "3", "--grid", Grid,
            "--report", scene.At("report.json"), "--html", scene.At("page.html"));
        Assert.Equal(3, run.ExitCode);
        Assert.Contains("(FL3024)", run.Error, StringComparison.Ordinal);
        Assert.Equal(isPrivate ? [] : ["page.html", "report.json"], scene.Results);
        if (isPrivate)
        {
            foreach (string party in scene.Ledgers.Where(l => l.EndsWith(".db", StringComparison.Ordinal)).Select(l => l.Split('.')[0]))
                Assert.All(Charges(scene, party), e => Assert.Equal((0.0, 0.0), (e.PureEpsilon, e.MuSquared)));
            return;
        }

        JsonNode tuning = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!["tuning"]!;
        Assert.Null(tuning["chosen"]);
        Assert.True((bool)tuning["complete"]!);
        Assert.All(tuning["candidates"]!.AsArray(), c => Assert.Equal(("refused", "FL3024", 2), ((string)c!["status"]!, (string)c["error"]!["id"]!, c["scores"]!.AsArray().Count)));
        Assert.Empty(tuning["cost"]!.AsArray());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Tune_Interrupted_WritesThePartialTableAndEnds130(bool isPrivate)
    {
        using var scene = new Scene();
        string job = scene.Job(isPrivate ? Scene.Private() : []);
        ToolRun run = await ToolRun.InterruptedAt("candidate 2 of 3 (model.l2 0.03), fold 2 of 3", ["train", "--config", job, "--cross-validate", "3", "--grid", "model.l2=0.3,0.03,0.003",
            "--report", scene.At("report.json"), "--html", scene.At("page.html"), .. isPrivate ? [] : (string[])["--model", scene.At("models")]]);
        Assert.True(run.ExitCode == Tool.Interrupted, run.Error);
        Assert.Contains("fedlearn: interrupted.", run.Error, StringComparison.Ordinal);
        Assert.Equal(["page.html", "report.json"], scene.Results);
        JsonNode report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!, tuning = report["tuning"]!;
        Assert.False((bool)tuning["complete"]!);
        Assert.Null(tuning["chosen"]);
        Assert.Equal([("ok", 3), ("interrupted", 1), ("interrupted", 0)], tuning["candidates"]!.AsArray().Select(c => ((string)c!["status"]!, c["scores"]!.AsArray().Count)));
        Assert.Equal([true, false, false], tuning["candidates"]!.AsArray().Select(c => c!["mean"] is not null));
        const string Partial = "the tuning was interrupted: 4 of its 9 runs ended, and the table is partial";
        Assert.Contains(Partial, report["warnings"]!.AsArray().Select(w => (string)w!));
        Assert.Contains($"warning: {Partial}", run.Error, StringComparison.Ordinal);
        Assert.Contains("the table is partial, see the warnings", File.ReadAllText(scene.At("page.html")), StringComparison.Ordinal);
        Assert.Equal(isPrivate ? [("bank", 4), ("telco", 4)] : [], tuning["cost"]!.AsArray().Select(c => ((string)c!["party"]!, (int)c["runs"]!)));
        foreach (JsonNode? cost in tuning["cost"]!.AsArray())
            Assert.Equal(GaussianDp.Epsilon(2 * GaussianDp.Mu(1, 0.001), 0.001), (double)cost!["epsilon"]!, 1e-6);
    }

    [Fact]
    public async Task Tune_InterruptedBeforeARunEnds_WritesWhatWasPaid()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("training.epochs", 10)));
        ToolRun run = await ToolRun.InterruptedAt("round ", "train", "--config", job, "--cross-validate", "3", "--report", scene.At("report.json"), "--html", scene.At("page.html"));
        Assert.True(run.ExitCode == Tool.Interrupted, run.Error);
        JsonNode report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!, tuning = report["tuning"]!;
        Assert.Equal(("interrupted", 0), ((string)tuning["candidates"]![0]!["status"]!, tuning["candidates"]![0]!["scores"]!.AsArray().Count));
        Assert.Contains("the tuning was interrupted: 0 of its 3 runs ended, and the table is partial", report["warnings"]!.AsArray().Select(w => (string)w!));
        foreach (string party in (string[])["bank", "telco"])
        {
            // Epochs that had begun are paid for, and the report says it as it does after runs that ended.
            LedgerEntry entry = Assert.Single(Charges(scene, party));
            Assert.Equal(ChargeState.Settled, entry.State);
            JsonNode cost = tuning["cost"]!.AsArray().Single(c => (string)c!["party"]! == party)!, privacy = report["parties"]!.AsArray().Single(p => (string)p!["name"]! == party)!["privacy"]!;
            double epsilon = new PrivacyTotal(entry.PureEpsilon, entry.MuSquared).Epsilon(0.001);
            Assert.True(epsilon > 0);
            Assert.Equal((epsilon, 1, epsilon), ((double)cost["epsilon"]!, (int)cost["runs"]!, (double)privacy["epsilon"]!));
            Assert.Contains("in all runs of this tuning together", (string)privacy["claims"]!.AsArray().Single()!, StringComparison.Ordinal);
            Assert.Contains($"tuning cost '{party}' epsilon {ReportEpsilon(epsilon)} at delta 0.001 in 1 charged run together.", run.Error, StringComparison.Ordinal);
        }

        // It is a report like every other.
        ToolRun shown = await ToolRun.Of("report", scene.At("report.json"));
        Assert.True(shown.ExitCode == 0, shown.Error);
    }

    [Fact]
    public async Task Tune_InterruptedBeforeAnythingIsKnown_WritesNothing()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.InterruptedAt("candidate 1 of 1, fold 1 of 3", "train", "--config", scene.Job(Scene.Private()), "--cross-validate", "3", "--report", scene.At("report.json"));
        Assert.Equal(Tool.Interrupted, run.ExitCode);
        Assert.Empty(scene.Results);
    }

    [Fact]
    public async Task Tune_InterruptedAsTheChosenIsTrained_WritesTheWholeTableWithoutAModel()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.InterruptedAt("candidate 2 of 2 (model.l2 0.003) has the best mean logLoss", "train", "--config", scene.Job(), "--cross-validate", "3", "--grid", Grid, "--metric", "logLoss",
            "--model", scene.At("models"), "--report", scene.At("report.json"));
        Assert.True(run.ExitCode == Tool.Interrupted, run.Error);
        Assert.Equal(["report.json"], scene.Results);
        JsonNode report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!, tuning = report["tuning"]!;
        Assert.Equal((true, 1), ((bool)tuning["complete"]!, (int)tuning["chosen"]!));
        Assert.All(tuning["candidates"]!.AsArray(), c => Assert.Equal(("ok", 3), ((string)c!["status"]!, Scores(c).Length)));
        Assert.All(report["parties"]!.AsArray(), p => Assert.Null(p!["model"]!["weightsSha256"]));
        Assert.Contains(report["warnings"]!.AsArray(), w => ((string)w!).Contains("this report has no model", StringComparison.Ordinal));
    }

    /// <summary>The table says which candidate is best, and the run that would have made its model failed: on a full disk, for instance.</summary>
    [Fact]
    public async Task Tune_ChosenCannotBeSaved_WritesTheWholeTableWithoutAModelAndFails()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Meanwhile("candidate 2 of 2 (model.l2 0.003) has the best mean logLoss", () => scene.Write("models", "a file in the way of the folder"),
            "train", "--config", scene.Job(), "--cross-validate", "3", "--grid", Grid, "--metric", "logLoss", "--model", scene.At("models"), "--report", scene.At("report.json"));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("(FL2102)", run.Error, StringComparison.Ordinal);
        JsonNode report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!, tuning = report["tuning"]!;
        Assert.Equal((true, 1), ((bool)tuning["complete"]!, (int)tuning["chosen"]!));
        Assert.All(report["parties"]!.AsArray(), p => Assert.Null(p!["model"]!["weightsSha256"]));
        Assert.Contains(report["warnings"]!.AsArray(), w => ((string)w!).Contains("this report has no model", StringComparison.Ordinal));
    }

    /// <summary>Another job over the same people spends what was left for the runs to come.</summary>
    [Fact]
    public async Task Tune_BudgetSpentMeanwhile_WritesTheTableOfTheRunsThatWerePaidForAndFails()
    {
        using var scene = new Scene();
        double all = PrivacyTotal.OfMu(Math.Sqrt(9) * GaussianDp.Mu(1, 0.001)).Epsilon(0.001);
        string job = scene.Job(Scene.Private(("parties.1.ledger.budget", new JsonObject { ["epsilon"] = all + 0.001, ["delta"] = 0.001 })));
        ToolRun run = await ToolRun.Meanwhile("candidate 2 of 3 (training.stepSize 1), fold 2 of 3", () =>
        {
            var ledger = new SqliteLedger(scene.At("telco.ledger.db"));
            PrivacyCharge spent = ledger.Entries[0].Charge;
            using IPrivacyReservation other = ledger.Reserve(spent with { RunId = PrivacyCharge.NewRunId(), JobName = "another", MuSquared = 5 * spent.MuSquared });
            other.Settle(1);
        }, "train", "--config", job, "--cross-validate", "3", "--grid", "training.stepSize=0.5,1,2", "--report", scene.At("report.json"));
        Assert.True(run.ExitCode == 5, run.Error);
        Assert.Contains("(FL5020)", run.Error, StringComparison.Ordinal);
        JsonNode report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!, tuning = report["tuning"]!;
        Assert.False((bool)tuning["complete"]!);
        Assert.Null(tuning["chosen"]);
        // No later candidate is begun.
        Assert.Equal([3, 1, 0], tuning["candidates"]!.AsArray().Select(c => Scores(c!).Length));
        Assert.DoesNotContain("candidate 3 of 3", run.Error, StringComparison.Ordinal);
        Assert.Contains("the tuning was ended by an error (FL5020): 4 of its 9 runs ended, and the table is partial", report["warnings"]!.AsArray().Select(w => (string)w!));
        Assert.Equal(4, (int)tuning["cost"]!.AsArray().Single(c => (string)c!["party"]! == "telco")!["runs"]!);
    }

    [Fact]
    public async Task Tune_EveryTransport_GivesTheSameTable()
    {
        using var scene = new Scene();
        string grid = "model.l2=0.01;training.stepSize=0.1,0.5";
        string memory = (await TuneAsync(scene.Job(Scene.Sgd()), "--grid", grid)).Report["tuning"]!.ToJsonString();
        string grpc = scene.Named("grpc.job.json", Scene.Sgd(("transport.kind", "grpc")));
        Assert.Equal(memory, (await TuneAsync(grpc, "--grid", grid, "--in-process")).Report["tuning"]!.ToJsonString());
        Assert.Equal(memory, (await TuneAsync(grpc, "--grid", grid)).Report["tuning"]!.ToJsonString());
        Assert.Contains("\"auc\"", memory, StringComparison.Ordinal);
    }

    /// <summary>A process that ran into an error is not asked again.</summary>
    [Fact]
    public async Task Tune_CandidateFailsInItsProcesses_IsARowAndTheNextIsTrained()
    {
        using var scene = new Scene();
        (JsonObject report, string error) = await TuneAsync(scene.Job(Scene.Sgd(("transport.kind", "grpc"), ("model.family", "gaussian"))), "--grid", "training.stepSize=1e200,0.5");
        JsonArray candidates = report["tuning"]!["candidates"]!.AsArray();
        Assert.Equal(["refused", "ok"], candidates.Select(c => (string)c!["status"]!));
        Assert.Equal(3, Scores(candidates[1]!).Length);
        Assert.Contains($"({(string)candidates[0]!["error"]!["id"]!})", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tune_RefusedCandidate_IsARowWithItsError()
    {
        using var scene = new Scene();
        (JsonObject report, string error) = await TuneAsync(scene.Job(), "--grid", "model.l2=-1,0.01");
        JsonNode refused = report["tuning"]!["candidates"]![0]!;
        Assert.Equal(("refused", "FL2006"), ((string)refused["status"]!, (string)refused["error"]!["id"]!));
        Assert.Null(refused["mean"]);
        Assert.Empty(refused["scores"]!.AsArray());
        Assert.Equal(1, (int)report["tuning"]!["chosen"]!);
        Assert.Contains("(FL2006)", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("hdp-vfl", "in-memory")]
    [InlineData("hdp-vfl", "grpc")]
    [InlineData("one-round", "in-memory")]
    [InlineData("label-dp", "in-memory")]
    public async Task Tune_PrivateMode_ReportsTheLedgersCostAndTrainsNoModel(string mode, string transport)
    {
        using var scene = new Scene();
        string grid = mode == "one-round" ? "privacy.oneRound.scoreClip=1,2" : "training.stepSize=0.5,1";
        // An earlier job on the same ledgers is no part of the tuning.
        string job = scene.Job(Scene.Private(("privacy.mode", mode), ("transport.kind", transport)));
        Assert.Equal(0, (await ToolRun.Of("train", "--config", job, "--in-process")).ExitCode);
        HashSet<string> before = [.. Charges(scene, "bank").Concat(Charges(scene, "telco")).Select(e => e.Charge.RunId)];
        (JsonObject report, string error) = await TuneAsync(job, "--grid", grid, "--html", scene.At("page.html"));

        Assert.Null(report["tuning"]!["chosen"]);
        Assert.All(report["tuning"]!["candidates"]!.AsArray(), c => Assert.Equal(3, Scores(c!).Length));
        Assert.Contains(report["warnings"]!.AsArray(), w => ((string)w!).Contains("no candidate was chosen", StringComparison.Ordinal));
        Assert.Equal(mode != "label-dp", report["warnings"]!.AsArray().Any(w => ((string)w!).Contains("disclosed its scores", StringComparison.Ordinal)));
        Assert.Null(report["metrics"]!["train"]);
        Assert.Null(report["metrics"]!["test"]);
        Assert.All(report["parties"]!.AsArray(), p => Assert.Null(p!["model"]!["weightsSha256"]));
        Assert.Equal(["page.html"], scene.Results);
        double delta = mode == "label-dp" ? 0 : 0.001;
        // Randomised labels were drawn by the earlier job; label-dp writes down that it disclosed the rest.
        foreach ((string party, int charged) in new[] { ("bank", mode == "one-round" ? 0 : 6), ("telco", 6) })
        {
            LedgerEntry[] entries = [.. Charges(scene, party).Where(e => !before.Contains(e.Charge.RunId))];
            Assert.Equal(charged, entries.Length);
            PrivacyTotal total = entries.Aggregate(PrivacyTotal.Zero, (sum, e) => sum + new PrivacyTotal(e.PureEpsilon, e.MuSquared));
            JsonNode cost = report["tuning"]!["cost"]!.AsArray().Single(c => (string)c!["party"]! == party)!;
            // Lines that cost nothing, of what was disclosed, are no charged runs.
            Assert.Equal((total.Epsilon(delta), delta, mode == "label-dp" ? 0 : charged), ((double)cost["epsilon"]!, (double)cost["delta"]!, (int)cost["runs"]!));
            Assert.Contains($"tuning of 2 x 3 = 6 runs costs '{party}' at most epsilon {ReportEpsilon(total.Epsilon(delta))} at delta", error, StringComparison.Ordinal);
            JsonNode privacy = report["parties"]!.AsArray().Single(p => (string)p!["name"]! == party)!["privacy"]!;
            if (total != PrivacyTotal.Zero)
                Assert.Contains("in all runs of this tuning together", (string)privacy["claims"]!.AsArray().Single()!, StringComparison.Ordinal);
        }

        Assert.Contains("What tuning cost", File.ReadAllText(scene.At("page.html")), StringComparison.Ordinal);
    }

    /// <summary>Each run is within the usual, all of them together are not; and a zero-out charge counts twice where replacing a row is claimed.</summary>
    [Theory]
    [InlineData("replace-one")]
    [InlineData("zero-out")]
    public async Task Tune_PrivateMode_WarnsOfAllRunsAndNotOfOne(string adjacency)
    {
        using var scene = new Scene();
        (JsonObject report, _) = await TuneAsync(scene.Job(Scene.Private(("privacy.epsilon", 8), ("privacy.adjacency", adjacency))));
        foreach (JsonNode? party in report["parties"]!.AsArray())
        {
            JsonNode privacy = party!["privacy"]!, cost = report["tuning"]!["cost"]!.AsArray().Single(c => (string)c!["party"]! == (string)party["name"]!)!;
            Assert.Equal(((double)cost["epsilon"]!, (double)cost["delta"]!, "replace-one"), ((double)privacy["epsilon"]!, (double)privacy["delta"]!, (string)privacy["adjacency"]!));
            string[] warnings = [.. privacy["warnings"]!.AsArray().Select(w => (string)w!)];
            Assert.Contains(warnings, w => w.StartsWith(FormattableString.Invariant($"epsilon {(double)cost["epsilon"]!:G6} is above 10"), StringComparison.Ordinal));
            Assert.DoesNotContain(warnings, w => w.Contains("zero-out", StringComparison.Ordinal) || w.Contains("earlier run", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task Tune_LabelsAreNearlyPlain_SaysSoAndCountsRunsBeforeTheTuningAlone()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("privacy.mode", "label-dp"), ("privacy.epsilon", 6)));
        (JsonObject report, _) = await TuneAsync(job);
        JsonNode bank = report["parties"]![0]!["privacy"]!;
        Assert.Contains("what is sent is nearly the plain label", (string)bank["claims"]!.AsArray().Single()!, StringComparison.Ordinal);
        Assert.All(report["parties"]!.AsArray(), p => Assert.DoesNotContain(p!["privacy"]!["warnings"]!.AsArray(), w => ((string)w!).Contains("earlier run", StringComparison.Ordinal)));
        (report, _) = await TuneAsync(job);
        Assert.All(report["parties"]!.AsArray(), p => Assert.Contains(p!["privacy"]!["warnings"]!.AsArray(), w => ((string)w!).StartsWith("3 earlier runs over these people protected labels only", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Tune_PrivateTuningAgain_SaysBeforeAndAfterThatItIsPaidForAgain()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private());
        const string Anew = "a tuning keeps no states: one that is cut off begins anew when it is started again, and every run is then paid for again";
        (JsonObject first, string error) = await TuneAsync(job);
        Assert.True(error.IndexOf(Anew, StringComparison.Ordinal) is >= 0 and int said && said < error.IndexOf("candidate 1 of 1", StringComparison.Ordinal), error);
        Assert.DoesNotContain(first["warnings"]!.AsArray(), w => ((string)w!).Contains("were charged before", StringComparison.Ordinal));
        (JsonObject again, error) = await TuneAsync(job);
        Assert.All((string[])["bank", "telco"], party => Assert.Contains($"warning: fold runs of '{party}' were charged before", error, StringComparison.Ordinal));
        Assert.Equal(2, again["warnings"]!.AsArray().Count(w => ((string)w!).Contains("were charged before", StringComparison.Ordinal)));
        Assert.Equal(6, Charges(scene, "telco").Count);
    }

    [Fact]
    public async Task Totals_EveryTimeOfARun_IsAdded()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Private()), "--json", "--in-process");
        JsonObject Report(double seconds)
        {
            JsonObject report = JsonNode.Parse(run.Output)!.AsObject();
            foreach (JsonObject timing in Timings(report))
                foreach (string key in timing.Select(t => t.Key).ToArray())
                    timing[key] = seconds;
            return report;
        }

        JsonObject first = Report(1);
        new TuningTotals(first).Add(Report(2));
        Assert.All(Timings(first), timing => Assert.All(timing.Where(t => t.Key != "secondsPerEpoch"), t => Assert.Equal((t.Key, 3), (t.Key, (double)t.Value!))));
        static IEnumerable<JsonObject> Timings(JsonObject report) => report["parties"]!.AsArray().Select(p => p!["timing"]!.AsObject()).Prepend(report["timing"]!.AsObject());
    }

    [Fact]
    public async Task Totals_OfTwoRuns_AreOfBothAndOfNoModel()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private());
        ToolRun run = await ToolRun.Of("train", "--config", job, "--json", "--in-process");
        JsonObject Report(int peak, string ledger) => ReportParts.ReadBack(Scene.Changed(JsonNode.Parse(run.Output)!.AsObject(), ("parties.1.peakMemoryBytes", peak), ("parties.1.privacy.ledger", ledger),
            ("timing.trainingSeconds", peak), ("parties.0.timing.trainingSeconds", peak), ("parties.1.timing.trainingSeconds", peak)));
        JsonObject one = Report(1, "after the first"), first = Report(1, "after the first");
        var totals = new TuningTotals(first);
        totals.Add(Report(2, "after the second"));
        JsonObject document = ReportParts.ReadBack(totals.Document(Running(job), new GlmTuning { Folds = 3, Metric = "auc", Candidates = [], Chosen = null, Costs = [], Warnings = [] }, _ => null));
        for (int i = 0; i < 2; i++)
        {
            JsonNode before = one["parties"]![i]!, after = document["parties"]![i]!;
            foreach (string key in (string[])["bytesSent", "bytesReceived", "messagesSent"])
                Assert.Equal(2 * (long)before[key]!, (long)after[key]!);
            Assert.Equal(before["releases"]!.AsArray().Select(r => ((string)r!["name"]!, 2 * (long)r["count"]!, 2 * (long)r["bytes"]!)), after["releases"]!.AsArray().Select(r => ((string)r!["name"]!, (long)r["count"]!, (long)r["bytes"]!)));
            Assert.Equal((double)after["timing"]!["trainingSeconds"]! / 4, (double)after["timing"]!["secondsPerEpoch"]!);
            Assert.All((string[])["sigma", "sensitivity", "mu"], key => Assert.False(after["privacy"]!.AsObject().ContainsKey(key), key));
        }

        JsonNode telco = document["parties"]![1]!;
        Assert.Equal((2L, "after the second"), ((long)telco["peakMemoryBytes"]!, (string)telco["privacy"]!["ledger"]!));
        Assert.Equal((Scene.Common, null), ((int)document["rows"]!["train"]!, (int?)document["rows"]!["test"]));
        Assert.Equal((4, (double)document["timing"]!["trainingSeconds"]! / 4), ((int)document["timing"]!["epochs"]!, (double)document["timing"]!["secondsPerEpoch"]!));
        Assert.Empty(document["history"]!.AsArray());
        Assert.All((JsonNode?[])[document["intervals"], document["evaluation"], document["objective"], document["job"]!["stopReason"]], Assert.Null);
    }

    /// <summary>Of another name, another protection and to another party.</summary>
    [Fact]
    public async Task Totals_MessagesOfALaterRunAlone_AreOfAllRuns()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Private()), "--json", "--in-process");
        JsonObject Report() => JsonNode.Parse(run.Output)!.AsObject();
        static JsonArray Releases(JsonObject report) => report["parties"]![1]!["releases"]!.AsArray();
        JsonObject first = Report(), later = Report();
        int before = Releases(first).Count;
        foreach (string key in (string[])["name", "protection", "to"])
            Releases(later).Add(Scene.Changed(Releases(Report())[0]!.DeepClone().AsObject(), (key, "another"), ("bytes", 7)));
        new TuningTotals(first).Add(later);
        Assert.Equal(before + 3, Releases(first).Count);
        Assert.Equal([7, 7, 7], Releases(first).Skip(before).Select(r => (int)r!["bytes"]!));
    }

    /// <summary>The passive party stands first in the file, and has a budget of its own.</summary>
    [Fact]
    public async Task Tune_PartiesOfOtherOrderAndBudget_AreCountedByTheirOwn()
    {
        using var scene = new Scene();
        JsonArray parties = JsonNode.Parse(File.ReadAllText(scene.Job()))!["parties"]!.AsArray();
        JsonObject telco = Scene.Changed(parties[1]!.DeepClone().AsObject(), ("privacy", JsonNode.Parse("""{ "epsilon": 2, "delta": 0.0005 }""")));
        (JsonObject report, string error) = await TuneAsync(scene.Job(Scene.Private(("parties", new JsonArray(telco, parties[0]!.DeepClone())))));
        Assert.Equal([("bank", .001), ("telco", .0005)], report["tuning"]!["cost"]!.AsArray().Select(c => ((string)c!["party"]!, (double)c["delta"]!)));
        Assert.True(error.IndexOf("costs 'bank' at most", StringComparison.Ordinal) < error.IndexOf("costs 'telco' at most", StringComparison.Ordinal), error);
    }

    /// <summary>What the claim of all runs together protects, at the bank and at the telephone company.</summary>
    [Theory]
    [InlineData("hdp-vfl", "record", "declared", "for replacing one row of its table, against", "for replacing one row of its table, against")]
    [InlineData("hdp-vfl", "label", "declared", "changing the label of one row, the features of every party being unprotected", "changing the label of one row, the features of every party being unprotected")]
    [InlineData("label-dp", "record", "declared", "changing the label of one row, the features of every party being unprotected", "changing the label of one row, the features of every party being unprotected")]
    [InlineData("one-round", "record", "declared", "replacing one row of its table, of which only the label is ever sent", "for replacing one row of its table, against")]
    [InlineData("hdp-vfl", "record", "standardize", "schedule being public; conditional on scaling constants taken from the data", "; conditional on scaling constants taken from the data")]
    public async Task Totals_ClaimOfAllRuns_SaysWhatIsProtected(string mode, string unit, string scaling, string bank, string telco)
    {
        const string Disclosed = "in a cross-validation every training row is tested on once for each candidate, and passive parties disclosed its scores there: the cost of tuning covers the training messages only";
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Private()), "--json", "--in-process");
        GlmTuning Tuning(params string[] warnings) => new() { Folds = 3, Metric = "auc", Candidates = [], Chosen = null, Warnings = warnings, Costs = [.. ((string[])["bank", "telco"]).Select(p => new GlmTuningCost(p, 3, PrivacyTotal.OfMu(.5), 0.001, 2.5))] };
        GlmRunFile of = Running(scene.Job(Scene.Private(("privacy.mode", mode), ("privacy.unit", unit == "label" ? unit : null), ("preprocessing.scaling", scaling))));
        string[] Claims(GlmTuning tuning) => [.. new TuningTotals(JsonNode.Parse(run.Output)!.AsObject()).Document(of, tuning, _ => null)["parties"]!.AsArray().Select(p => (string)p!["privacy"]!["claims"]!.AsArray().Single()!)];
        string[] claims = Claims(Tuning());
        Assert.Contains(bank, claims[0], StringComparison.Ordinal);
        Assert.Contains(telco, claims[1], StringComparison.Ordinal);
        Assert.All(claims, c => Assert.StartsWith("training messages only: all messages of '", c, StringComparison.Ordinal));
        Assert.All(claims, c => Assert.Contains("in all runs of this tuning together are (2.5, 0.001)-differentially private", c, StringComparison.Ordinal));
        Assert.Equal(scaling != "declared", claims[0].Contains("conditional", StringComparison.Ordinal));
        Assert.All(Claims(Tuning(Disclosed)), c => Assert.StartsWith("training messages only; scores disclosed for every training row where it was tested on are outside this claim: ", c, StringComparison.Ordinal));
    }

    /// <summary>What one candidate had in place of the file's values is not the job's.</summary>
    [Fact]
    public async Task Tune_PrivateMode_ReportsTheJobOfTheFile()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private());
        (JsonObject report, _) = await TuneAsync(job, "--grid", "model.l2=0.5,0.25");
        JsonNode of = report["job"]!;
        Assert.Equal((0.001, null, RunFile.Load(job).Digest("train"), null), ((double)of["l2"]!, (string?)of["digest"], (string)of["termsDigest"]!, (string?)of["stopReason"]));
        // The figures are those of six runs of two epochs.
        Assert.Equal(12, (int)report["timing"]!["epochs"]!);
        Assert.All(report["parties"]!.AsArray(), p => Assert.Equal(12, (int)p!["timing"]!["epochs"]!));
        Assert.Equal([.5, .25], report["tuning"]!["candidates"]!.AsArray().Select(c => (double)c!["settings"]!["model.l2"]!));
    }

    /// <summary>One candidate has a mean, and the next has none: what is true of the table is said of it.</summary>
    [Fact]
    public async Task Tune_InterruptedAfterACandidateWithoutAMean_DoesNotSayThatNoneHasOne()
    {
        using var scene = new Scene();
        // A quarter of the rows are positive. With so large a penalty none is predicted to be, so that there is no precision.
        Dictionary<string, double> calls = scene.Cells("telco.csv").ToDictionary(r => r["id"], r => Scene.Number(r["calls"]));
        scene.Write("bank.csv", ["id,y,age,income", .. scene.Cells("bank.csv").Select(r => $"{r["id"]},{(calls.GetValueOrDefault(r["id"]) < -.5 ? 1 : 0)},{r["age"]},{r["income"]}")]);
        ToolRun run = await ToolRun.InterruptedAt("candidate 3 of 3", "train", "--config", scene.Job(("evaluation", null)), "--cross-validate", "3", "--grid", "model.l2=0.003,1e9,1", "--metric", "precision", "--report", scene.At("report.json"));
        Assert.True(run.ExitCode == Tool.Interrupted, run.Error);
        JsonObject report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!.AsObject();
        Assert.Equal(["ok", "undefined", "interrupted"], report["tuning"]!["candidates"]!.AsArray().Select(c => (string)c!["status"]!));
        Assert.DoesNotContain(report["warnings"]!.AsArray(), w => ((string)w!).Contains("no candidate has a mean", StringComparison.Ordinal));
    }

    private static GlmRunFile Running(string job) => RunFile.Load(job).As<GlmRunFile>("train");

    private static string ReportEpsilon(double epsilon) => epsilon.ToString("G4", System.Globalization.CultureInfo.InvariantCulture);

    private static IReadOnlyList<LedgerEntry> Charges(Scene scene, string party) => SqliteLedger.Audit(scene.At($"{party}.ledger.db")).Entries;

    [Fact]
    public async Task Tune_Fresh_IsRefused()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(), "--cross-validate", "3", "--fresh", "--json");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL2101)", run.Error, StringComparison.Ordinal);
        Assert.Contains("--fresh", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Tune_BudgetForOneRunOnly_IsRefusedBeforeTheFirst(int party)
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(($"parties.{party}.ledger.budget", JsonNode.Parse("""{ "epsilon": 1.5, "delta": 0.001 }"""))));
        ToolRun run = await ToolRun.Of("train", "--config", job, "--cross-validate", "3", "--json");
        Assert.Equal((5, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL5020)", run.Error, StringComparison.Ordinal);
        // What all runs cost is said of every party before the refusal, which names the same number.
        string cost = PrivacyTotal.OfMu(Math.Sqrt(3) * GaussianDp.Mu(1, 0.001)).Epsilon(0.001).ToString("0.###", System.Globalization.CultureInfo.InvariantCulture);
        Assert.Contains($"= 3 runs costs 'bank' at most epsilon {cost} at delta", run.Error, StringComparison.Ordinal);
        Assert.Contains($"= 3 runs costs 'telco' at most epsilon {cost} at delta", run.Error, StringComparison.Ordinal);
        Assert.Contains($"3 runs of the job cost up to epsilon {cost}", run.Error, StringComparison.Ordinal);
        Assert.Contains("what is left for all of them together is epsilon 1.5 at delta 0.001", run.Error, StringComparison.Ordinal);
        Assert.Contains("fewer folds or a smaller grid", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("one more job", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Ledgers);
    }

    /// <summary>The value as it was written, and not a line of a file that has none.</summary>
    [Theory]
    [InlineData("model.l2=abc", "--grid, model.l2=abc: is the text \"abc\".")]
    [InlineData("model.l2=-1.50", "--grid, model.l2=-1.50: is -1.5.")]
    [InlineData("training.epochs=7.5", "--grid, training.epochs=7.5: ")]
    [InlineData("training.optimizer=newton", "--grid, training.optimizer=newton: ")]
    public async Task Tune_WrongValueOfTheGrid_IsToldAsTheCommandLineHasIt(string grid, string said)
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(), "--cross-validate", "3", "--grid", grid);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains(said, run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("quotes", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("job.json", run.Error, StringComparison.Ordinal);
    }

    /// <summary>A class so rare that two of three folds have none of it.</summary>
    private static void OneRareLabel(Scene scene)
    {
        string rare = scene.Cells("bank.csv").Select(r => r["id"]).Intersect(scene.Cells("telco.csv").Select(r => r["id"])).Order(StringComparer.Ordinal).First();
        scene.Write("bank.csv", ["id,y,age,income", .. scene.Cells("bank.csv").Select(r => $"{r["id"]},{(r["id"] == rare ? 1 : 0)},{r["age"]},{r["income"]}")]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Tune_FoldsWithoutAClass_AreUndefinedAndTheRestIsShown(bool isPrivate)
    {
        using var scene = new Scene();
        OneRareLabel(scene);
        (string, JsonNode?) all = ("evaluation", null);
        string grid = isPrivate ? "training.stepSize=0.5,1" : Grid;
        (JsonObject report, string error) = await TuneAsync(scene.Job(isPrivate ? Scene.Private(all) : [all]), "--grid", grid);
        JsonArray candidates = report["tuning"]!["candidates"]!.AsArray();
        Assert.Equal(2, candidates.Count);
        Assert.All(candidates, c =>
        {
            Assert.Equal(("undefined", "FL2411"), ((string)c!["status"]!, (string)c["error"]!["id"]!));
            Assert.Null(c["mean"]);
            // Every fold was trained, and one has the class.
            Assert.Equal(3, c["scores"]!.AsArray().Count);
            Assert.Single(c["scores"]!.AsArray(), s => s is not null);
        });
        Assert.Null(report["tuning"]!["chosen"]);
        Assert.All(report["parties"]!.AsArray(), p => Assert.Null(p!["model"]!["weightsSha256"]));
        Assert.Contains("auc was not defined on the rows of 2 of 3 folds", error, StringComparison.Ordinal);
        Assert.Equal(!isPrivate, error.Contains("none was chosen, and no model trained", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Tune_ModelIsWantedAndNoFigureIsDefined_WritesTheTableAndFails()
    {
        using var scene = new Scene();
        OneRareLabel(scene);
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(("evaluation", null)), "--cross-validate", "3", "--model", scene.At("models"), "--report", scene.At("report.json"));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("(FL2411)", run.Error, StringComparison.Ordinal);
        Assert.Equal(["report.json"], scene.Results);
    }

    [Theory]
    [InlineData(2, "FL2410", false, "--cross-validate", "1")]
    [InlineData(2, "FL2410", false, "--cross-validate", "0")]
    [InlineData(2, "FL2411", false, "--cross-validate", "3", "--metric", "rmse")]
    [InlineData(2, "FL2171", false, "--cross-validate", "3", "--grid", "model.l3=1")]
    [InlineData(2, "FL2173", false, "--cross-validate", "3", "--grid", "training.weightNorm=1,2")]
    [InlineData(2, "FL2173", false, "--cross-validate", "3", "--grid", "preprocessing.rowNorm=1,2")]
    [InlineData(2, "FL2173", false, "--cross-validate", "3", "--grid", "training.optimizer=sgd,lbfgs;training.stepSize=0.5,1")]
    [InlineData(2, "FL2101", false, "--grid", "model.l2=1")]
    [InlineData(2, "FL2101", false, "--metric", "auc")]
    [InlineData(2, "FL2006", false, "--cross-validate", "3", "--grid", "model.l2=-1,-2")]
    [InlineData(5, "FL5119", true, "--cross-validate", "3", "--model", "models")]
    public async Task Tune_WrongOptions_AreRefused(int code, string id, bool isPrivate, params string[] options)
    {
        using var scene = new Scene();
        string job = scene.Job(isPrivate ? Scene.Private() : []);
        ToolRun run = await ToolRun.Of(["train", "--config", job, "--json", .. options.Select(o => o == "models" ? scene.At(o) : o)]);
        Assert.Equal((code, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Results);
        Assert.Empty(scene.Ledgers);
    }

    [Theory]
    [InlineData("he")]
    [InlineData("he+dp")]
    public async Task Tune_EncryptedMode_IsRefused(string mode)
    {
        using var scene = new Scene();
        (string, JsonNode?)[] job = [("training.weightNorm", 1), ("privacy.mode", mode), ("privacy.he.scheme", "paillier")];
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Sgd(mode == "he" ? job : [.. job, ("privacy.epsilon", 1), ("privacy.delta", .001)])), "--cross-validate", "3", "--json");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL2510)", run.Error, StringComparison.Ordinal);
        Assert.Contains("Tune in another mode.", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Ledgers);
    }

    [Theory]
    [InlineData("charged", "FL5118")]
    [InlineData("none", "FL2411")]
    public async Task Tune_EvaluationThatDoesNotFit_IsRefused(string evaluation, string id)
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Private(("privacy.evaluation", evaluation))), "--cross-validate", "3");
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Ledgers);
    }

    [Fact]
    public async Task Help_Train_NamesTheOptions()
    {
        ToolRun run = await ToolRun.Of("train", "--help");
        Assert.All((string[])["--cross-validate", "--grid", "--metric", "a private job reports the table"], text => Assert.Contains(text, run.Output, StringComparison.Ordinal));
        // What it shows runs on an ordinary job.
        using var scene = new Scene();
        (JsonObject report, _) = await TuneAsync(scene.Job(), "--grid", run.Output.Split("--grid \"")[1].Split('"')[0]);
        Assert.All(report["tuning"]!["candidates"]!.AsArray(), c => Assert.Equal("ok", (string)c!["status"]!));
    }
}
