using System.CommandLine;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FedLearn.Cli.Output;
using FedLearn.Cli.Tests.Sessions;
using MadeUp = FedLearn.Browser.Tests.Reports;

namespace FedLearn.Cli.Tests.Reports;

/// <summary>What a terminal shows of reports whose figures are made up and known.</summary>
public class ReportWriterTests
{
    /// <summary>The lines, rows of tables without their borders.</summary>
    private static string[] Shown(JsonObject report)
    {
        using var error = new StringWriter();
        ParseResult parsed = new RootCommand().Parse([]);
        parsed.InvocationConfiguration.Error = error;
        ReportWriter.Write(report, Terminal.Of(parsed), new ReportPlaces(null, null, null));
        return [.. error.ToString().ReplaceLineEndings("\n").Split('\n').Where(line => line.Length > 0 && !line.StartsWith("+-", StringComparison.Ordinal) && !line.StartsWith("|-", StringComparison.Ordinal)).Select(line => Regex.Replace(line, @"\s+", " ").Trim(' ', '|'))];
    }

    private static JsonObject Full(params (string Path, JsonNode? Value)[] changes) => Scene.Changed(MadeUp.Full(), [("tuning.metric", "auc"), .. changes]);

    private static JsonObject Plain(params (string Path, JsonNode? Value)[] changes) => Scene.Changed(MadeUp.Plain(), changes);

    [Fact]
    public void Show_APrivateTraining_HasEveryFigure()
    {
        string[] lines = Shown(Full(("rows.test", 1), ("parties.0.rows", 20_000), ("parties.0.commonRows", 18_978), ("parties.1.peakMemoryBytes", 9_999), ("parties.0.privacy.sigma", 12), ("parties.1.privacy.claims", MadeUp.Full()["parties"]![0]!["privacy"]!["claims"]), ("alignment.warnings", new JsonArray("ids look alike", "the loss grew in round 12"))));
        Assert.Equal("metric | train | test", lines[0]);
        Assert.Equal(["auc | 0.7496 | 0.7431", "accuracy | 0.8079 | 0.8014"], lines[1..3]);
        Assert.Contains("active party alone: auc | 0.6611 | 0.6514", lines);
        Assert.Contains("15,206 training rows, 1 test row. Figures of training rows are measured on noisy scores, which the model was fitted to, and say little of it: judge it by test rows.", lines);
        Assert.Contains("common rows: 18,978 of 20,000 of 'bank'.", lines);
        Assert.Equal(["party | role | epsilon | delta | sigma | sent | peak memory", "bank | active | 1 | 1E-05 | 16.68 | 22.1 MB | 100.7 MB", "telco | passive | 1 | 1E-05 | 16.68 | 40.1 MB | 9999 B"], lines.SkipWhile(l => !l.StartsWith("party | role", StringComparison.Ordinal)).Take(3));
        Assert.Contains("60 epochs, 0.0350 s an epoch, 5.5600 s in all, converged.", lines);
        Assert.Contains("model.l2 | training.stepSize | mean auc | deviation | folds", lines);
        Assert.Contains("tuning cost 'bank' epsilon 3.1 at delta 1E-05 in 9 charged runs together.", lines);
        // The first two say the same.
        Assert.Equal(2, lines.Count(l => l.StartsWith("claim: training messages only", StringComparison.Ordinal)));
        Assert.Equal(["the loss grew in round 12", "ids look alike", "metrics, intervals, evaluation"], lines.Where(l => l.StartsWith("warning: ", StringComparison.Ordinal)).Select(l => l[9..].Split(", objective")[0]));
        Assert.Equal("keys without effect in this mode: training.stepSize", lines[^1]);
        Assert.DoesNotContain(lines, l => l.StartsWith("seconds in the engine", StringComparison.Ordinal));
    }

    [Fact]
    public void Show_OtherTrainings_SayWhatIsSoThere()
    {
        string[] lines = Shown(MadeUp.Noticed(Plain(("timing.epochs", 1), ("job.stopReason", "noFurtherDecrease"), ("parties.0.encryption", JsonNode.Parse("""{ "engineSeconds": 0.5 }""")), ("parties.1.rows", 9), ("parties.1.commonRows", 9), ("alignment.leaks", new JsonArray()))));
        Assert.Equal("NOT PRIVATE: test noise", lines[0]);
        Assert.Contains("15,206 training rows, 3,772 test rows.", lines);
        Assert.Contains("1 epoch, 0.0350 s an epoch, 5.5600 s in all, stopped where no step lowers the loss.", lines);
        Assert.Contains("seconds in the engine of encryption: 0.5000 at 'bank', - at 'telco'.", lines);
        // A party alone shares its rows with nobody.
        Assert.DoesNotContain(lines, l => l.StartsWith("common rows", StringComparison.Ordinal));
        Assert.DoesNotContain(lines, l => l.StartsWith("keys without effect", StringComparison.Ordinal));
        lines = Shown(Plain(("job.stopReason", "earlyStopped"), ("metrics", JsonNode.Parse("""{ "train": { "auc": 0.5, "rmse": null }, "test": { "ks": 1e-9 } }""")), ("parties.0.privacy.mode", "hdp-vfl")));
        Assert.Equal(["metric | train | test", "auc | 0.5000 | -", "ks | - | 1.0000e-9"], lines[..3]);
        Assert.Contains("60 epochs, 0.0350 s an epoch, 5.5600 s in all, stopped early.", lines);
        Assert.DoesNotContain(Shown(Plain(("metrics.train", null), ("parties.0.privacy.mode", "hdp-vfl"))), l => l.Contains("noisy scores", StringComparison.Ordinal));
        Assert.Contains(Shown(Plain(("parties.0.privacy.mode", "one-round"))), l => l.Contains("noisy scores", StringComparison.Ordinal));
        Assert.DoesNotContain("metric | train | test", Shown(Plain(("metrics", JsonNode.Parse("""{ "train": null, "test": null }""")))));
    }

    [Fact]
    public void Show_ATuning_SaysWhyACandidateHasNoMean()
    {
        JsonNode failed = JsonNode.Parse("""{ "id": "FL6100", "message": "it diverged (FL6100)" }""")!;
        string[] lines = Shown(Full(("tuning.candidates.0.error", failed), ("tuning.candidates.0.mean", null), ("tuning.candidates.2.status", "interrupted"), ("tuning.candidates.2.mean", null), ("tuning.cost.0.runs", 1)));
        Assert.Equal(["0.001 | 0.5 | - | 0.006 | 0.725 0.731 0.738 | FL6100", "0.01 | 0.5 | 0.735 | 0.006 | 0.727 0.731 0.738 | chosen", "0.1 | 0.5 | - | 0.006 | 0.729 0.731 0.738 | interrupted"], lines.SkipWhile(l => !l.StartsWith("model.l2", StringComparison.Ordinal)).Skip(1).Take(3));
        Assert.Contains("not scored: model.l2 0.001, training.stepSize 0.5: it diverged (FL6100)", lines);
        Assert.Contains("tuning cost 'bank' epsilon 3.1 at delta 1E-05 in 1 charged run together.", lines);
        lines = Shown(Full(("tuning.candidates", new JsonArray(new JsonObject { ["settings"] = new JsonObject(), ["mean"] = null, ["deviation"] = null, ["scores"] = new JsonArray(), ["error"] = failed.DeepClone() })), ("tuning.chosen", null)));
        Assert.Contains("not scored: the job as it is: it diverged (FL6100)", lines);
        // Without a model the report is of all runs.
        JsonObject alone = Full(("job.stopReason", null));
        foreach (JsonNode? party in alone["parties"]!.AsArray())
            party!["model"]!["weightsSha256"] = null;
        lines = Shown(alone);
        Assert.Contains("15,206 training rows, of which each run of the tuning left a fold out to test on; the job's own test rows were not used.", lines);
        Assert.Contains("60 epochs in all runs of the tuning that ended, 0.0350 s an epoch, 5.5600 s in all.", lines);
    }

    [Fact]
    public void Show_ARecommendation_HasItsBaselines()
    {
        string[] lines = Shown(Plain(("job.model", "dssm"), ("metrics", JsonNode.Parse("""{ "train": { "loss": 12.5 }, "test": { "hr10Full": 0.25, "events": 2, "users": 1 } }""")), ("intervals", JsonNode.Parse("""{ "test": { "hr10Full": [0.125, 0.375] } }""")),
            ("baselines", JsonNode.Parse("""{ "itemKnn": { "test": { "hr10Full": 0.0625 } } }""")), ("parties.0.privacy.epsilon", 2), ("parties.0.privacy.claim", "own-messages"), ("parties.0.privacy.unit", "user"), ("parties.1.privacy.claim", "own-messages"), ("parties.1.privacy.unit", "user")));
        Assert.Equal(["Test events of users and items that training knows: 2 events of 1 user", "metric | model | interval | Popularity | ItemKNN | iALS", "HR@10, all items | 0.2500 | 0.1250 to 0.3750 | - | 0.0625 | -", "mean training loss 12.5000"], lines[..4]);
        Assert.Contains("bank | active | 2 (own-messages, per user) | - | - | 22.1 MB | 100.7 MB", lines);
        Assert.Contains("telco | passive | - | - | - | 40.1 MB | 100.7 MB", lines);
    }
}
