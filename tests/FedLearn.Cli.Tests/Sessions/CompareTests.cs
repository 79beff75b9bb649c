using System.CommandLine;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Cli.Tests.Sessions;

public class CompareTests
{
    private static async Task<(JsonObject Document, string Error)> CompareAsync(string job, params string[] more)
    {
        ToolRun run = await ToolRun.Of(["compare", "--config", job, "--json", "--repeats", "1", .. more]);
        Assert.True(run.ExitCode == 0, run.Error);
        return (JsonNode.Parse(run.Output)!.AsObject(), run.Error);
    }

    private static (string Path, JsonNode? Value)[] Settings(params (string Path, JsonNode? Value)[] changes) => Scene.Private([("preprocessing", null), .. changes]);

    private static JsonObject Row(JsonObject document, string mode, string? calibration = null, double? epsilon = null) => document["rows"]!.AsArray().Select(r => r!.AsObject())
        .Single(r => (string)r["mode"]! == mode && (string?)r["calibration"] == calibration && (double?)r["epsilon"] == epsilon);

    [Fact]
    public async Task Compare_MappedTable_HasTheActivePartyAlone()
    {
        using var scene = new Scene();
        IReadOnlyList<IReadOnlyDictionary<string, string>> rows = scene.Cells("bank.csv");
        File.WriteAllLines(scene.At("bank.ids.txt"), rows.Select(r => r["id"]));
        WriteNpy(scene.At("bank.npy"), $"({rows.Count}, 2)", rows.SelectMany(r => new[] { Scene.Number(r["age"]), Scene.Number(r["income"]) }));
        WriteNpy(scene.At("bank.y.npy"), $"({rows.Count},)", rows.Select(r => Scene.Number(r["y"])));
        (string, JsonNode?) Bank(string more) => ("parties.0.data", JsonNode.Parse($$"""{ "path": "bank.npy", "ids": "bank.ids.txt", "labels": "bank.y.npy"{{more}} }"""));
        (JsonObject mapped, _) = await CompareAsync(scene.Job(Settings(Bank(""", "scratch": "." """))), "--epsilons", "1", "--he", "paillier");
        (JsonObject loaded, _) = await CompareAsync(scene.Job(Settings(Bank(""))), "--epsilons", "1", "--he", "paillier");
        Assert.Equal(Row(loaded, "guest-only")["metrics"]!.ToJsonString(), Row(mapped, "guest-only")["metrics"]!.ToJsonString());
    }

    [Fact]
    public async Task Compare_SparseTable_HasTheActivePartyAlone()
    {
        using var scene = new Scene();
        (string Age, string Income)[] cells = [.. scene.Cells("bank.csv").Select((r, i) => (r["age"], i % 3 == 0 ? "0" : r["income"]))];
        string[] ids = [.. scene.Cells("bank.csv").Select(r => r["id"])], labels = [.. scene.Cells("bank.csv").Select(r => r["y"])];
        scene.Write("bank.ids.txt", ids);
        scene.Write("bank.svm", [.. cells.Select((c, i) => c.Income == "0" ? $"{labels[i]} 1:{c.Age}" : $"{labels[i]} 1:{c.Age} 2:{c.Income}")]);
        WriteNpy(scene.At("bank.npy"), $"({ids.Length}, 2)", cells.SelectMany(c => new[] { Scene.Number(c.Age), Scene.Number(c.Income) }));
        WriteNpy(scene.At("bank.y.npy"), $"({ids.Length},)", labels.Select(Scene.Number));
        async Task<JsonNode> AloneAsync(string data) => Row((await CompareAsync(scene.Job(Settings(("preprocessing.scaling", "none"), ("parties.0.data", JsonNode.Parse(data)))), "--epsilons", "1", "--he", "paillier")).Document, "guest-only")["metrics"]!["test"]!;
        JsonNode dense = await AloneAsync("""{ "path": "bank.npy", "ids": "bank.ids.txt", "labels": "bank.y.npy" }"""), sparse = await AloneAsync("""{ "path": "bank.svm", "ids": "bank.ids.txt" }""");
        Assert.Equal((double)dense["auc"]!, (double)sparse["auc"]!);
        Assert.Equal((double)dense["logLoss"]!, (double)sparse["logLoss"]!, 1e-12);
    }

    private static void WriteNpy(string path, string shape, IEnumerable<double> values)
    {
        string header = $"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".PadRight(117) + "\n";
        using var file = new BinaryWriter(File.Create(path));
        file.Write([0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, (byte)(header.Length >> 8), .. System.Text.Encoding.ASCII.GetBytes(header)]);
        foreach (double value in values)
            file.Write(value);
    }

    [Theory]
    [InlineData(0, "0.00", "0.0000")]
    [InlineData(0.00004, "4E-05", "4E-05")]
    [InlineData(0.004, "0.004", "0.0040")]
    [InlineData(0.05, "0.05", "0.0500")]
    [InlineData(12.34, "12.3", "12.34")]
    [InlineData(1234, "1,234", "1234")]
    public void RatioAndSeconds_SmallOrLarge_ShowADigitThatIsNot0(double value, string ratio, string seconds) =>
        Assert.Equal((ratio, seconds), (CompareDocument.Ratio(JsonValue.Create(value)), CompareDocument.Seconds(value)));

    [Fact]
    public async Task Compare_Interrupted_WritesTheRunsThatEndedAndWhatWasPaid()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.InterruptedAt("7 of 10: HDP-VFL", "compare", "--config", scene.Job(Settings()), "--epsilons", "1", "--he", "paillier", "--repeats", "2", "--report", scene.At("c.json"), "--html", scene.At("c.html"));
        Assert.True(run.ExitCode == Tool.Interrupted, run.Error);
        Assert.Equal(["c.html", "c.json"], scene.Results);
        JsonObject document = JsonNode.Parse(File.ReadAllText(scene.At("c.json")))!.AsObject();
        Assert.False((bool)document["complete"]!);
        Assert.Equal([("none", "ok", 2), ("guest-only", "ok", 2), ("hdp-vfl", "ok", 1), ("hdp-vfl", "ok", 1), ("one-round", "interrupted", 0), ("he", "interrupted", 0)],
            document["rows"]!.AsArray().Select(r => ((string)r!["mode"]!, (string)r["status"]!, (int?)r["timing"]?["repeats"] ?? 0)));
        Assert.Contains("The comparison was interrupted: 6 of its 10 runs ended, and the table is partial.", document["notes"]!.AsArray().Select(n => (string)n!));
        Assert.All(document["ledger"]!["charges"]!.AsArray(), c => Assert.InRange((int)c!["runs"]!, 2, 3));
        Assert.Contains("1 of its 2 runs was interrupted or not begun", (string)Row(document, "hdp-vfl", "tight", 1)["sentence"]!, StringComparison.Ordinal);
        Assert.Contains("no run that ended", (string)Row(document, "one-round", epsilon: 1)["sentence"]!, StringComparison.Ordinal);
        Assert.DoesNotContain("interrupted", (string)Row(document, "none")["sentence"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Compare_InterruptedBeforeAnythingIsPaid_WritesTheRunsThatEnded()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.InterruptedAt("2 of ", "compare", "--config", scene.Job(Settings()), "--epsilons", "1", "--he", "paillier", "--report", scene.At("c.json"));
        Assert.True(run.ExitCode == Tool.Interrupted, run.Error);
        JsonObject document = JsonNode.Parse(File.ReadAllText(scene.At("c.json")))!.AsObject();
        Assert.False((bool)document["complete"]!);
        Assert.Equal(("ok", 1), ((string)Row(document, "none")["status"]!, (int)Row(document, "none")["timing"]!["repeats"]!));
        Assert.Empty(document["ledger"]!["charges"]!.AsArray());
        Assert.Equal("Nothing was charged.", (string)document["ledger"]!["note"]!);
    }

    [Fact]
    public async Task Compare_InterruptedBeforeARunEnds_WritesNothing()
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.InterruptedAt("1 of ", "compare", "--config", scene.Job(Settings()), "--epsilons", "1", "--he", "paillier", "--report", scene.At("c.json"));
        Assert.True(run.ExitCode == Tool.Interrupted, run.Error);
        Assert.Empty(scene.Results);
    }

    /// <summary>Without noise a job diverges whose one round does not iterate over the peers: its first run that pays for something is also the first that has figures, unless it is stopped.</summary>
    [Fact]
    public async Task Compare_InterruptedInTheFirstRunOnceItIsPaidFor_WritesWhatWasPaid()
    {
        using var scene = new Scene();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        // The active party pays for its noisy labels before they leave. Other tests have parties of other names.
        using var messages = new MeterListener
        {
            InstrumentPublished = static (instrument, listener) =>
            {
                if (instrument is { Meter.Name: FedLearnTelemetry.Name, Name: FedLearnTelemetry.Messages })
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        messages.SetMeasurementEventCallback<long>((_, _, tags, _) =>
        {
            KeyValuePair<string, object?>[] all = tags.ToArray();
            if (all.Contains(KeyValuePair.Create<string, object?>("party", "lender")) && all.Contains(KeyValuePair.Create<string, object?>("kind", nameof(NoisyTargets))))
                stop.Cancel();
        });
        messages.Start();
        string job = scene.Job(Settings(("parties.0.name", "lender"), ("parties.0.data.labelRange", JsonNode.Parse("[0, 1]")), ("model.family", "gaussian"), ("training", JsonNode.Parse("""{ "epochs": 20, "stepSize": 1e100 }"""))));
        using StringWriter output = new(), error = new();
        int code = await Tool.RunAsync(["compare", "--config", job, "--epsilons", "1", "--he", "paillier", "--repeats", "1", "--report", scene.At("c.json")], output, error, stop.Token);
        Assert.True(code == Tool.Interrupted, error.ToString());
        JsonObject document = JsonNode.Parse(File.ReadAllText(scene.At("c.json")))!.AsObject();
        Assert.False((bool)document["complete"]!);
        Assert.Equal([("none", "refused"), ("guest-only", "refused"), ("hdp-vfl", "refused"), ("hdp-vfl", "refused"), ("one-round", "interrupted"), ("he", "interrupted")],
            document["rows"]!.AsArray().Select(r => ((string)r!["mode"]!, (string)r["status"]!)));
        JsonNode charge = document["ledger"]!["charges"]!.AsArray().Single(c => (string)c!["party"]! == "lender")!;
        LedgerEntry entry = Assert.Single(new SqliteLedger(scene.At("lender.ledger.db")).Entries);
        Assert.Equal((1, new PrivacyTotal(entry.PureEpsilon, entry.MuSquared).Epsilon(0.001)), ((int)charge["runs"]!, (double)charge["epsilon"]!));
    }

    [Fact]
    public async Task Compare_EveryMode_IsARowOfTheContract()
    {
        using var scene = new Scene();
        (JsonObject document, string error) = await CompareAsync(scene.Job(Settings()), "--epsilons", "10,1", "--report", scene.At("c.json"), "--html", scene.At("c.html"));
        JsonObject[] rows = [.. document["rows"]!.AsArray().Select(r => r!.AsObject())];
        Assert.Equal(["none|||", "guest-only|||", "hdp-vfl|paper||1", "hdp-vfl|paper||10", "hdp-vfl|tight||1", "hdp-vfl|tight||10", "one-round|||1", "one-round|||10"],
            rows.Where(r => !((string)r["mode"]!).StartsWith("he", StringComparison.Ordinal)).Select(r => $"{(string)r["mode"]!}|{(string?)r["calibration"]}|{(string?)r["scheme"]}|{(double?)r["epsilon"]}"));
        Assert.Equal(["he|ckks|", "he+dp|ckks|1", "he+dp|ckks|10"], rows.Skip(8).Where(r => (string)r["series"]! != "HE (CKKS, native)").Select(r => $"{(string)r["mode"]!}|{(string?)r["scheme"]}|{(double?)r["epsilon"]}"));
        foreach (JsonObject row in rows)
        {
            foreach (string key in (string[])["mode", "calibration", "scheme", "epsilon", "delta", "metrics", "timing", "parties", "status", "note", "intervals", "relative", "roles", "sentence"])
                Assert.True(row.ContainsKey(key), $"{(string)row["name"]!}: {key}");
            Assert.StartsWith((string)row["name"]!, (string)row["sentence"]!, StringComparison.Ordinal);
            Assert.Contains((string)row["sentence"]!, error, StringComparison.Ordinal);
        }

        foreach (JsonObject row in rows.Take(8))
        {
            Assert.Equal("ok", (string)row["status"]!);
            Assert.InRange((double)row["metrics"]!["test"]!["auc"]!, 0, 1);
            Assert.Equal(2, row["intervals"]!["test"]!["auc"]!.AsArray().Count);
            // Every row trains and tests on the rows common to both parties.
            Assert.Equal(Scene.Common, (int)row["trainRows"]! + (int)row["testRows"]!);
            Assert.Equal((int)rows[0]["testRows"]!, (int)row["testRows"]!);
            // All parties share this process, whose peak is no row's.
            Assert.Null(row["peakMemoryBytes"]);
        }

        Assert.Equal(1.0, (double)rows[0]["relative"]!["secondsPerEpoch"]!);
        Assert.All(rows.Skip(2).Take(6), r => Assert.Equal(0.001, (double)r["delta"]!));
        // At epsilon 10 the published formulas do not reach the delta asked for, and the row has the one they reach too.
        Assert.InRange((double)rows[3]["actualDelta"]!, 0.002, 0.01);
        Assert.Equal(["scene", "auc", "test"], [(string)document["job"]!["name"]!, (string)document["quality"]!["metric"]!, (string)document["quality"]!["set"]!]);
        Assert.Equal(Environment.ProcessorCount, (int)document["machine"]!["cores"]!);
        Assert.Equal(["c.html", "c.json"], scene.Results);
        Assert.Equal(document.ToJsonString(), JsonNode.Parse(File.ReadAllText(scene.At("c.json")))!.ToJsonString());
        Assert.Contains("FedLearn comparison", File.ReadAllText(scene.At("c.html")), StringComparison.Ordinal);
        Assert.DoesNotContain("\u2026", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Compare_PlainRow_IsTheSameTrainingAsTrain()
    {
        using var scene = new Scene();
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings()), "--epsilons", "1");
        string plain = scene.Named("plain.job.json", Scene.Private(("privacy.mode", "none"), ("training.optimizer", "sgd")));
        JsonObject direct = JsonNode.Parse((await ToolRun.Of("train", "--config", plain, "--json")).Output)!.AsObject();
        JsonObject row = Row(document, "none");
        Assert.Equal((string)direct["job"]!["digest"]!, (string)row["jobDigest"]!);
        Assert.Equal(direct["metrics"]!["test"]!.ToJsonString(), row["metrics"]!["test"]!.ToJsonString());
        Assert.Equal(direct["parties"]!.AsArray().Sum(p => (long)p!["bytesSent"]!), (long)row["bytes"]!["session"]!);
        // In each of two epochs the scores of all rows one way and their residuals the other, each a float64: nothing of alignment, agreement and evaluation.
        Assert.Equal(2 * 2 * 8 * (long)row["trainRows"]!, (long)row["bytes"]!["training"]!);
        Assert.Equal((double)row["bytes"]!["training"]! / 2, (double)row["bytes"]!["trainingPerEpoch"]!);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Compare_GuestOnly_IsTheActivePartysTableWithoutOneSidedRows(bool isWeighted)
    {
        using var scene = new Scene();
        (string, JsonNode?)[] more = [];
        if (isWeighted)
        {
            more = [("parties.0.data.weight", "w"), ("parties.0.data.offset", "o")];
            scene.Write("bank.csv", [.. File.ReadAllLines(scene.At("bank.csv")).Select((l, i) => i == 0 ? $"{l},w,o" : $"{l},{1 + i % 3},0.{i % 5}")]);
        }

        (JsonObject document, _) = await CompareAsync(scene.Job(Settings(more)), "--epsilons", "1", "--he", "paillier");
        // The slow way: a file of the common rows, and a job of one party.
        HashSet<string> telco = [.. scene.Cells("telco.csv").Select(r => r["id"])];
        string[] lines = File.ReadAllLines(scene.At("bank.csv"));
        scene.Write("common.csv", [lines[0], .. lines.Skip(1).Where(l => telco.Contains(l.Split(',')[0]))]);
        string alone = scene.Named("alone.job.json", Scene.Private([("privacy.mode", "none"), ("training.optimizer", "sgd"), ("parties", new JsonArray(JsonNode.Parse(
            """{ "name": "bank", "role": "active", "data": { "path": "common.csv", "id": "id", "label": "y", "schema": "bank.schema.json" } }"""))), .. more]));
        ToolRun direct = await ToolRun.Of("train", "--config", alone, "--json");
        Assert.True(direct.ExitCode == 0, direct.Error);
        JsonNode expected = JsonNode.Parse(direct.Output)!;
        Assert.Equal(expected["metrics"]!["test"]!.ToJsonString(), Row(document, "guest-only")["metrics"]!["test"]!.ToJsonString());
        Assert.Equal((string)expected["parties"]![0]!["model"]!["weightsSha256"]!, (string)Row(document, "guest-only")["parties"]![0]!["model"]!["weightsSha256"]!);
        Assert.Equal(0, (long)Row(document, "guest-only")["bytes"]!["session"]!);
    }

    [Fact]
    public async Task Compare_PrivateRows_ChargeTheLedgersAndSaySo()
    {
        using var scene = new Scene();
        string job = scene.Job(Settings());
        ToolRun run = await ToolRun.Of("compare", "--config", job, "--json", "--epsilons", "1", "--delta", "0.002", "--repeats", "2", "--he", "paillier");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonNode ledger = JsonNode.Parse(run.Output)!["ledger"]!;
        Assert.Equal(["bank", "telco"], ledger["charges"]!.AsArray().Select(c => (string)c!["party"]!));
        Assert.Equal(RunFile.Load(job).Digest("train"), (string)JsonNode.Parse(run.Output)!["job"]!["digest"]!);
        Assert.Equal(.002, (double)Row(JsonNode.Parse(run.Output)!.AsObject(), "one-round", null, 1)["delta"]!);
        Assert.Contains("charges the real ledger", (string)ledger["note"]!, StringComparison.Ordinal);
        Assert.Contains("5 private runs charge the ledgers", run.Error, StringComparison.Ordinal);
        Assert.Contains("1 of 10: Plain, run 1 of 2\n", run.Error.ReplaceLineEndings("\n"), StringComparison.Ordinal);
        Assert.Contains("9 of 10: One-round at epsilon 1\n10 of 10: HE (Paillier)\n", run.Error.ReplaceLineEndings("\n"), StringComparison.Ordinal);
        // HDP-VFL twice with each calibration, and one round.
        foreach (string party in (string[])["bank", "telco"])
        {
            var recorded = new SqliteLedger(scene.At($"{party}.ledger.db"));
            JsonNode charge = ledger["charges"]!.AsArray().Single(c => (string)c!["party"]! == party)!;
            Assert.Equal(5, recorded.Entries.Count);
            Assert.Equal((5, .002), ((int)charge["runs"]!, (double)charge["delta"]!));
            // Four runs at mu of epsilon 1 cost more than one of them, and less than epsilons added up.
            Assert.InRange((double)charge["epsilon"]!, 1.001, 4.999);
        }

        JsonObject document = JsonNode.Parse(run.Output)!.AsObject(), tight = Row(document, "hdp-vfl", "tight", 1);
        Assert.Equal(2, tight["timing"]!["trainingSecondsOfEach"]!.AsArray().Count);
        // What the noise does to quality is what was paid for twice.
        double[] each = [.. tight["metricsOfEach"]!["test"]!["logLoss"]!.AsArray().Select(v => (double)v!)], auc = [.. tight["metricsOfEach"]!["test"]!["auc"]!.AsArray().Select(v => (double)v!)];
        Assert.Equal(2, each.Distinct().Count());
        Assert.Equal((double)tight["metrics"]!["test"]!["logLoss"]!, each[0]);
        Assert.Null(tight["metricsOfEach"]!["train"]);
        Assert.Contains(string.Create(CultureInfo.InvariantCulture, $"Its 2 runs have {auc.Min():0.0000} to {auc.Max():0.0000}."), (string)tight["sentence"]!, StringComparison.Ordinal);
        JsonObject plain = Row(document, "none");
        Assert.Single(plain["metricsOfEach"]!["test"]!["auc"]!.AsArray().Select(v => (double)v!).Distinct());
        Assert.DoesNotContain("Its 2 runs", (string)plain["sentence"]!, StringComparison.Ordinal);
        Assert.Null(Row(document, "one-round", null, 1)["metricsOfEach"]);
    }

    [Fact]
    public async Task Compare_ModeThatTheJobForbids_IsARefusedRowAndTheOthersRun()
    {
        using var scene = new Scene();
        // No bound on the weights: no HDP-VFL; the other ways need none.
        (JsonObject document, string error) = await CompareAsync(scene.Job(Settings(("training.weightNorm", null))), "--epsilons", "1");
        foreach (string calibration in (string[])["paper", "tight"])
        {
            JsonObject refused = Row(document, "hdp-vfl", calibration, 1);
            Assert.Equal(("refused", "FL2004"), ((string)refused["status"]!, (string)refused["error"]!["id"]!));
            Assert.EndsWith("(FL2004)", (string)refused["note"]!, StringComparison.Ordinal);
            Assert.Null(refused["metrics"]);
            Assert.Null(refused["timing"]);
            Assert.Null(refused["relative"]);
        }

        Assert.All((JsonObject[])[Row(document, "none"), Row(document, "guest-only"), Row(document, "one-round", null, 1)], r => Assert.Equal("ok", (string)r["status"]!));
        Assert.Contains("weightNorm", error, StringComparison.Ordinal);
    }

    // Scores of training rows are noisy in these modes, and their figures are not the model's: those of the training messages, whatever pays for the final weights.
    [Theory]
    [InlineData("disclosed")]
    [InlineData("charged")]
    public async Task Compare_WithoutTestRows_HasNoQualityOfNoisyScores(string evaluation)
    {
        using var scene = new Scene();
        (JsonObject document, string error) = await CompareAsync(scene.Job(Settings(("evaluation", null), ("privacy.evaluation", evaluation))), "--epsilons", "1", "--html", scene.At("c.html"), "--he", "paillier", "--he-epochs", "2");
        Assert.Equal(("train", "auc"), ((string)document["quality"]!["set"]!, (string)document["quality"]!["metric"]!));
        Assert.All((string[])["The job leaves these keys out, and every row has the private default: preprocessing.scaling declared, preprocessing.rows clip, preprocessing.constant true.",
            "Rows without noise keep one free, unpenalised intercept at the active party beside the constant columns, as mode none has it.",
            "All parties ran in one process, whose peak memory cannot be told apart by row: it is not compared."], note => Assert.Contains(note, document["notes"]!.AsArray().Select(n => (string)n!)));
        Assert.InRange((double)Row(document, "none")["metrics"]!["train"]!["auc"]!, .5, 1);
        JsonObject row = Row(document, "hdp-vfl", "tight", 1);
        Assert.Equal("ok", (string)row["status"]!);
        Assert.Null(row["metrics"]!["train"]);
        Assert.Null(row["intervals"]!["train"]);
        Assert.Null(Row(document, "one-round", null, 1)["metrics"]!["train"]);
        Assert.Contains("say nothing of the model", (string)row["note"]!, StringComparison.Ordinal);
        Assert.Contains("no figure of quality, since", (string)row["sentence"]!, StringComparison.Ordinal);
        Assert.Contains("say nothing of the model", File.ReadAllText(scene.At("c.html")), StringComparison.Ordinal);
        string line = error.Split('\n').First(l => l.StartsWith("| hdp-vfl", StringComparison.Ordinal) && l.Contains("tight", StringComparison.Ordinal));
        Assert.Equal("-", line.Split('|')[5].Trim());
    }

    // At epsilon 10 the classical formula spends more delta than it names (docs/proofs/sensitivity.md), at epsilon 1 less.
    [Fact]
    public async Task Compare_PublishedFormulas_ShowTheDeltaThatTheyReach()
    {
        using var scene = new Scene();
        (JsonObject document, string error) = await CompareAsync(scene.Job(Settings()), "--epsilons", "1,10", "--he", "paillier", "--he-epochs", "1", "--html", scene.At("c.html"));
        JsonObject over = Row(document, "hdp-vfl", "paper", 10), under = Row(document, "hdp-vfl", "paper", 1);
        double reached = (double)over["actualDelta"]!;
        Assert.Equal(over["parties"]!.AsArray().Max(p => (double)p!["privacy"]!["actualDelta"]!), reached);
        Assert.True(reached > .001 && (double)under["actualDelta"]! < .001);
        string text = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"reaches delta {reached:G3} at this epsilon, above the 0.001 asked for");
        Assert.Contains(text, (string)over["note"]!, StringComparison.Ordinal);
        Assert.Contains(text, (string)over["sentence"]!, StringComparison.Ordinal);
        Assert.Contains(text, error, StringComparison.Ordinal);
        Assert.Contains(text, File.ReadAllText(scene.At("c.html")), StringComparison.Ordinal);
        Assert.Contains("within the 0.001 asked for", (string)under["sentence"]!, StringComparison.Ordinal);
        Assert.Null(Row(document, "hdp-vfl", "tight", 10)["actualDelta"]);
        string[] deltas = [.. error.Split('\n').Where(l => l.StartsWith("| hdp-vfl", StringComparison.Ordinal)).Select(l => l.Split('|')[4].Trim())];
        Assert.Equal(reached.ToString("G4", System.Globalization.CultureInfo.InvariantCulture), deltas[1]);
        Assert.Equal("0.001", deltas[3]);
        // A row that was cut short has another number of epochs.
        Assert.Equal((string)Row(document, "he")["status"]! == "ok", document["notes"]!.AsArray().Any(n => ((string)n!).Contains("but for rows of Paillier", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Compare_DifferenceWithinPlainsInterval_IsSaidToBe()
    {
        using var scene = new Scene();
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings()), "--epsilons", "1,1000000", "--he", "paillier", "--he-epochs", "2");
        JsonArray interval = Row(document, "none")["intervals"]!["test"]!["auc"]!.AsArray();
        double plain = (double)Row(document, "none")["metrics"]!["test"]!["auc"]!;
        foreach (JsonObject row in document["rows"]!.AsArray().Select(r => r!.AsObject()).Where(r => r["metrics"] is not null && (string)r["mode"]! != "none"))
        {
            double auc = (double)row["metrics"]!["test"]!["auc"]!;
            string sentence = (string)row["sentence"]!;
            bool same = Math.Abs(auc - plain) < .00005;
            Assert.Equal(same, sentence.Contains("has the same test AUC", StringComparison.Ordinal));
            Assert.Equal(!same && auc >= (double)interval[0]! && auc <= (double)interval[1]!, sentence.Contains("within plain's interval", StringComparison.Ordinal));
            Assert.DoesNotContain("gains 0.0000", sentence, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Compare_RowOverTheLifetimeBudget_IsARefusedRow()
    {
        using var scene = new Scene();
        // All rows at epsilon 1 together fit. None at 6 does at the telephone company, and their cost counts for nobody: at the bank, each of them would fit.
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings(("parties.0.ledger", JsonNode.Parse("""{ "budget": { "epsilon": 7, "delta": 0.001 } }""")),
            ("parties.1.ledger", JsonNode.Parse("""{ "budget": { "epsilon": 4, "delta": 0.001 } }""")))), "--epsilons", "1,6");
        foreach (string calibration in (string[])["paper", "tight"])
        {
            Assert.Equal("ok", (string)Row(document, "hdp-vfl", calibration, 1)["status"]!);
            JsonObject refused = Row(document, "hdp-vfl", calibration, 6);
            Assert.Equal(("refused", "FL5020"), ((string)refused["status"]!, (string)refused["error"]!["id"]!));
        }

        Assert.Equal("ok", (string)Row(document, "one-round", null, 1)["status"]!);
    }

    [Theory]
    [InlineData("1", 1.2, "1")]
    [InlineData("1", 2.5, "3")]
    public async Task Compare_RowsOverTheLifetimeBudgetTogether_AreRefusedBeforeTheFirst(string epsilons, double budget, string repeats)
    {
        using var scene = new Scene();
        string job = scene.Job(Settings(("parties.1.ledger", new JsonObject { ["budget"] = new JsonObject { ["epsilon"] = budget, ["delta"] = 0.001 } })));
        ToolRun run = await ToolRun.Of("compare", "--config", job, "--json", "--epsilons", epsilons, "--he", "paillier", "--repeats", repeats);
        Assert.Equal((5, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL5020)", run.Error, StringComparison.Ordinal);
        Assert.Contains("together at 'telco'", run.Error, StringComparison.Ordinal);
        Assert.Contains("--repeats 1", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Ledgers);
    }

    [Fact]
    public async Task Compare_LifetimeBudgetSpentByEarlierRuns_IsRefusedBeforeTheFirst()
    {
        using var scene = new Scene();
        string[] compare = ["compare", "--config", scene.Job(Settings(("parties.1.ledger", JsonNode.Parse("""{ "budget": { "epsilon": 2.3, "delta": 0.001 } }""")))), "--json", "--epsilons", "1", "--he", "paillier", "--repeats", "1"];
        ToolRun once = await ToolRun.Of(compare), again = await ToolRun.Of(compare);
        Assert.True(once.ExitCode == 0, once.Error);
        Assert.Equal((5, ""), (again.ExitCode, again.Output));
        Assert.Contains("together at 'telco'", again.Error, StringComparison.Ordinal);
        Assert.Equal(3, new SqliteLedger(scene.At("telco.ledger.db")).Entries.Count);
    }

    /// <summary>What was spent on labels alone counts for the same people, as the ledger itself counts it.</summary>
    [Fact]
    public async Task Compare_LifetimeBudgetSpentOnLabels_IsRefusedBeforeTheFirst()
    {
        using var scene = new Scene();
        (string, JsonNode?) budget = ("parties.0.ledger", JsonNode.Parse("""{ "budget": { "epsilon": 6.5, "delta": 0.001 } }"""));
        ToolRun labels = await ToolRun.Of("train", "--config", scene.Named("labels.job.json", Scene.Private(("privacy.mode", "label-dp"), ("privacy.epsilon", 5), budget)));
        Assert.True(labels.ExitCode == 0, labels.Error);
        int before = new SqliteLedger(scene.At("bank.ledger.db")).Entries.Count;
        ToolRun run = await ToolRun.Of("compare", "--config", scene.Job(Settings(budget)), "--json", "--epsilons", "1", "--he", "paillier", "--repeats", "1");
        Assert.Equal((5, ""), (run.ExitCode, run.Output));
        Assert.Contains("together at 'bank'", run.Error, StringComparison.Ordinal);
        Assert.Equal(before, new SqliteLedger(scene.At("bank.ledger.db")).Entries.Count);
    }

    [Fact]
    public async Task Compare_EveryRowRefused_EndsWithTheErrorOfTheFirst()
    {
        using var scene = new Scene();
        // Steps that diverge, and a budget for no private row.
        string job = scene.Job(Settings(("model.family", "gaussian"), ("parties.0.data.labelRange", new JsonArray(0, 1)), ("training.weightNorm", null), ("training.residualClip", null), ("training.stepSize", 1e300),
            ("parties.1.ledger", JsonNode.Parse("""{ "budget": { "epsilon": 0.01, "delta": 0.001 } }"""))));
        ToolRun run = await ToolRun.Of("compare", "--config", job, "--json", "--epsilons", "1", "--he", "paillier", "--repeats", "1", "--report", scene.At("c.json"));
        Assert.Equal((6, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL6100)", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Results);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Compare_PreprocessingOfTheJob_IsThatOfEveryRow(bool hasRanges)
    {
        using var scene = new Scene();
        if (!hasRanges)
            scene.Write("telco.schema.json", """{ "id": "id", "fields": [{ "name": "calls", "type": "numeric" }, { "name": "debt", "type": "numeric" }] }""");
        (string, JsonNode?)[] own = [("preprocessing", hasRanges ? JsonNode.Parse("""{ "scaling": "rounded", "rows": "normalize", "constant": false }""") : null), ("training.stepSize", 0.05)];
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings(own)), "--epsilons", "1", "--he", "paillier");
        ToolRun direct = await ToolRun.Of("train", "--config", scene.Named("plain.job.json", Scene.Private([("privacy.mode", "none"), ("training.optimizer", "sgd"), .. own])), "--json");
        Assert.Equal((string)JsonNode.Parse(direct.Output)!["job"]!["digest"]!, (string)Row(document, "none")["jobDigest"]!);
        Assert.Equal(0.05, (double)JsonNode.Parse(direct.Output)!["job"]!["stepSize"]!);
        string[] notes = [.. document["notes"]!.AsArray().Select(n => (string)n!)];
        Assert.DoesNotContain(notes, n => n.Contains("the private default", StringComparison.Ordinal));
        // Of rows that nothing bounds it is not known.
        Assert.Equal(hasRanges, notes.Any(n => n.StartsWith("training.stepSize 0.05 is short for", StringComparison.Ordinal)));
        Assert.Equal(!hasRanges, notes.Contains("The job leaves scaling out and a numeric field has no declared range: rows without noise standardise, and private rows are refused."));
        Assert.Equal("ok", (string)Row(document, "guest-only")["status"]!);
        // All private rows are refused, be it by the job or once a table was read: the document speaks of no charges.
        Assert.All(document["rows"]!.AsArray().Where(r => r!["epsilon"] is not null), r => Assert.Equal("refused", (string)r!["status"]!));
        Assert.Equal((0, "Nothing was charged."), (document["ledger"]!["charges"]!.AsArray().Count, (string)document["ledger"]!["note"]!));
    }

    /// <summary>By default a step depends on the intercept, of which rows without noise have another: 1/(3/4 + l2) with it, else 1/(1/2 + l2).</summary>
    [Fact]
    public async Task Compare_StepLeftOut_IsTheSameInEveryRow()
    {
        using var scene = new Scene();
        (JsonObject left, _) = await CompareAsync(scene.Job(Settings(("model.l2", 0.25), ("training.stepSize", null))), "--epsilons", "1", "--he", "paillier");
        (JsonObject named, _) = await CompareAsync(scene.Job(Settings(("model.l2", 0.25), ("training.stepSize", 1))), "--epsilons", "1", "--he", "paillier");
        string[] Digests(JsonObject document) => [.. document["rows"]!.AsArray().Select(r => (string)r!["jobDigest"]!)];
        Assert.Equal(Digests(named), Digests(left));
        const string Note = "The job leaves training.stepSize out: every row has 1, the default of the row without privacy.";
        Assert.Contains(Note, left["notes"]!.AsArray().Select(n => (string)n!));
        Assert.DoesNotContain(named["notes"]!.AsArray(), n => ((string)n!).Contains("leaves training.stepSize out", StringComparison.Ordinal));
        ToolRun direct = await ToolRun.Of("train", "--config", scene.Job(Settings(("model.l2", 0.25), ("training.stepSize", null))), "--json");
        Assert.Equal(1 / 0.75, (double)JsonNode.Parse(direct.Output)!["job"]!["stepSize"]!);
    }

    [Fact]
    public async Task Of_LaterRepeatRefused_KeepsTheFiguresThatWerePaidFor()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private());
        JsonObject report = JsonNode.Parse((await ToolRun.Of("train", "--config", job, "--json")).Output)!.AsObject();
        var result = new CompareResult(new CompareCase("hdp-vfl") { Calibration = "tight", Epsilon = 1, Delta = 0.001 }) { Planned = 3, Run = CompareRunner.Plain(job) };
        result.Reports.Add(report);
        result.Reports.Add(report);
        result.Refuse(new Diagnostics.PrivacyRefusedException("FL5020", "place", "the budget is spent.", "Raise it."));

        JsonObject document = CompareDocument.Of(CompareRunner.Plain(job), null, new CompareRequest([1], [], 0.001, 1, 3), false, [result], [], new JsonObject());

        JsonObject row = Row(document, "hdp-vfl", "tight", 1);
        Assert.Equal(("ok", "FL5020"), ((string)row["status"]!, (string)row["error"]!["id"]!));
        Assert.Equal((2, 1), ((int)row["timing"]!["repeats"]!, (int)row["timing"]!["repeatsRefused"]!));
        Assert.Equal((double)report["timing"]!["secondsPerEpoch"]!, (double)row["timing"]!["secondsPerEpoch"]!);
        foreach (string key in (string[])["note", "sentence"])
            Assert.Contains("1 of its 3 runs was refused (FL5020)", (string)row[key]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Compare_FewerPaillierEpochs_HasNoQuality()
    {
        using var scene = new Scene();
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings()), "--epsilons", "1", "--he", "paillier", "--he-epochs", "1");
        JsonObject row = Row(document, "he");
        Assert.Equal("paillier", (string)row["scheme"]!);
        Assert.Null(row["metrics"]);
        Assert.DoesNotContain(document["rows"]!.AsArray(), r => (string)r!["mode"]! == "he+dp");
        if ((string)row["status"]! == "ok")
        {
            Assert.Equal(1, (int)row["timing"]!["epochs"]!);
            Assert.Null(row["relative"]!["trainingBytes"]);
            Assert.Contains("Only 1 of the job's epochs", (string)row["note"]!, StringComparison.Ordinal);
        }
    }

    /// <summary>Ids are compared once, and not in each run: a peer may cap how often that is done, and every time tells what it tells.</summary>
    [Fact]
    public async Task Compare_Psi_AlignsOnceAndHasTheRowsOfHashedIds()
    {
        Sodium.Require();
        using var scene = new Scene();
        (JsonObject hashed, _) = await CompareAsync(scene.Job(Settings()), "--epsilons", "1", "--he", "paillier");
        (JsonObject psi, _) = await CompareAsync(scene.Job(Settings(("alignment", "psi"))), "--epsilons", "1", "--he", "paillier");
        foreach (string mode in (string[])["none", "guest-only"])
            Assert.Equal(Row(hashed, mode)["metrics"]!.ToJsonString(), Row(psi, mode)["metrics"]!.ToJsonString());
        Assert.Equal("ok", (string)Row(psi, "hdp-vfl", "tight", 1)["status"]!);
        foreach (string party in (string[])["bank", "telco"])
            Assert.Equal(Scene.Common, Assert.Single(new SqliteAlignmentLog(scene.At($"{party}.ledger.db")).Alignments).CommonIds);
    }

    /// <summary>The active party alone tests on the rows that all others test on.</summary>
    [Fact]
    public async Task Compare_SplitByAFile_IsThatOfEveryRow()
    {
        using var scene = new Scene();
        scene.Write("split.csv", ["id,split", .. scene.Cells("bank.csv").Concat(scene.Cells("telco.csv")).Select(r => r["id"]).Distinct().Select((id, i) => $"{id},{(i % 4 == 0 ? "test" : "train")}")]);
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings(("evaluation.split", JsonNode.Parse("""{ "path": "split.csv" }""")))), "--epsilons", "1", "--he", "paillier");
        int tested = (int)Row(document, "none")["testRows"]!;
        Assert.InRange(tested, Scene.Common / 5, Scene.Common / 3);
        Assert.All((JsonObject[])[Row(document, "guest-only"), Row(document, "hdp-vfl", "tight", 1)], r => Assert.Equal(("ok", tested, Scene.Common - tested), ((string)r["status"]!, (int)r["testRows"]!, (int)r["trainRows"]!)));
    }

    [Fact]
    public async Task Compare_JobWithoutIntercept_GivesNoRowOne()
    {
        using var scene = new Scene();
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings(("model.intercept", false))), "--epsilons", "1", "--he", "paillier");
        Assert.All((JsonObject[])[Row(document, "none"), Row(document, "guest-only"), Row(document, "hdp-vfl", "tight", 1), Row(document, "one-round", null, 1)], r => Assert.Equal("ok", (string)r["status"]!));
        string[] notes = [.. document["notes"]!.AsArray().Select(n => (string)n!)];
        Assert.Contains("The job leaves these keys out, and every row has the private default: preprocessing.scaling declared, preprocessing.rows clip.", notes);
        Assert.DoesNotContain(notes, n => n.Contains("intercept", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Compare_TablesWithoutCommonRows_AreRefusedBeforeARunIsPaidFor()
    {
        using var scene = new Scene();
        scene.Write("telco.csv", ["id,calls,debt", .. scene.Cells("telco.csv").Select(r => $"{r["id"].ToUpperInvariant()},{r["calls"]},{r["debt"]}")]);
        ToolRun run = await ToolRun.Of("compare", "--config", scene.Job(Settings()), "--json", "--epsilons", "1", "--he", "paillier");
        Assert.Equal((3, ""), (run.ExitCode, run.Output));
        Assert.Contains("the parties have no common rows", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("1 of ", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Ledgers);
    }

    /// <summary>One row of each, however often and in whatever order they are named.</summary>
    [Fact]
    public void Compare_ListsWithRepetitions_NameEachOnce()
    {
        string[] args = ["compare", "--config", "job.json", "--epsilons", "10,1,1.0,0.1,1e1", "--he", "paillier,ckks,paillier"];
        ParseResult parsed = RootCommandFactory.Create(args).Parse(args);
        Assert.Empty(parsed.Errors);
        Assert.Equal([.1, 1, 10], parsed.GetRequiredValue<double[]>("--epsilons"));
        Assert.Equal(["ckks", "paillier"], parsed.GetRequiredValue<string[]>("--he"));
    }

    [Fact]
    public async Task Compare_GrpcInOneProcess_HasNoMemoryOfARow()
    {
        using var scene = new Scene();
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings(("transport.kind", "grpc"))), "--epsilons", "1", "--he", "paillier", "--in-process");
        Assert.Null(Row(document, "none")["peakMemoryBytes"]);
        Assert.Contains(document["notes"]!.AsArray(), n => ((string)n!).StartsWith("All parties ran in one process", StringComparison.Ordinal));
        Assert.True((double)document["timing"]!["totalSeconds"]! > 0);
    }

    [Fact]
    public async Task Compare_ProcessesOverGrpc_ComparesTheirMemory()
    {
        using var scene = new Scene();
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings(("transport.kind", "grpc"))), "--epsilons", "1", "--he", "paillier");
        JsonObject plain = Row(document, "none"), tight = Row(document, "hdp-vfl", "tight", 1);
        Assert.Equal(plain["parties"]!.AsArray().Max(p => (long)p!["peakMemoryBytes"]!), (long)plain["peakMemoryBytes"]!);
        Assert.Equal((double)tight["peakMemoryBytes"]! / (double)plain["peakMemoryBytes"]!, (double)tight["relative"]!["peakMemory"]!, 1e-12);
        Assert.Null(Row(document, "guest-only")["peakMemoryBytes"]);
    }

    [Theory]
    [InlineData("FL2500", "privacy", """{ "mode": "none" }""")]
    [InlineData("FL2501", "parties.0.privacy", """{ "epsilon": 2 }""")]
    [InlineData("FL2502", "parties", """[{ "name": "bank", "role": "active", "data": { "path": "bank.csv", "id": "id", "label": "y", "schema": "bank.schema.json" } }]""")]
    [InlineData("FL3002", "parties.1.data.path", "\"absent.csv\"")]
    public async Task Compare_JobThatCannotBeCompared_EndsWithItsError(string id, string path, string value)
    {
        using var scene = new Scene();
        ToolRun run = await ToolRun.Of("compare", "--config", scene.Job(Settings((path, JsonNode.Parse(value)))), "--json", "--epsilons", "1");
        Assert.Equal(id[2] - '0', run.ExitCode);
        Assert.Contains(id[..3], run.Error, StringComparison.Ordinal);
        if (id[2] == '2')
            Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
        Assert.Empty(run.Output);
        Assert.Empty(scene.Ledgers);
    }

    [Theory]
    [InlineData("--epsilons", "0")]
    [InlineData("--epsilons", "1,")]
    [InlineData("--epsilons", "NaN")]
    [InlineData("--epsilons", "1,Infinity")]
    [InlineData("--epsilons", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21")]
    [InlineData("--he", "rsa")]
    [InlineData("--repeats", "0")]
    [InlineData("--repeats", "101")]
    [InlineData("--he-epochs", "x")]
    [InlineData("--he-epochs", "1000001")]
    [InlineData("--delta", "0.5")]
    [InlineData("--delta", "0.1")]
    [InlineData("--delta", "0")]
    [InlineData("--delta", "NaN")]
    public async Task Compare_OptionItCannotUse_IsAUsageError(string option, string value)
    {
        string[] rest = option == "--epsilons" ? [] : ["--epsilons", "1"];
        ToolRun run = await ToolRun.Of(["compare", "--config", "job.json", option, value, .. rest]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("FL2100", run.Error, StringComparison.Ordinal);
        Assert.Contains(option, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Compare_TestNoise_SaysSoFirst()
    {
        using var scene = new Scene();
        (JsonObject document, _) = await CompareAsync(scene.Job(Settings(("privacy.testNoiseSeed", 5))), "--epsilons", "1");
        Assert.Equal("notice", document.First().Key);
        Assert.StartsWith("NOT PRIVATE", (string)document["notice"]!, StringComparison.Ordinal);
        Assert.All(document["ledger"]!["charges"]!.AsArray(), c => Assert.Null(c!["epsilon"]));
    }

    [Fact]
    public async Task Compare_Interrupted_EndsAll()
    {
        using var scene = new Scene();
        using var stop = new CancellationTokenSource();
        using StringWriter output = new();
        using var error = new StopsAt(stop, "1 of ");
        int code = await Tool.RunAsync(["compare", "--config", scene.Job(Settings(("training.epochs", 1_000_000), ("training.batchesPerEpoch", 1))), "--epsilons", "1"], output, error, stop.Token);
        Assert.Equal(Tool.Interrupted, code);
        Assert.DoesNotContain("2 of ", error.ToString(), StringComparison.Ordinal);
    }

    // Stops when a text is written.
    private sealed class StopsAt(CancellationTokenSource stop, string text) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            if (value?.StartsWith(text, StringComparison.Ordinal) == true)
                stop.Cancel();
        }
    }
}
