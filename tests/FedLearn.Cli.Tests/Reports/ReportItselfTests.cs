using System.Text.Json.Nodes;
using FedLearn.Cli.Tests.Recommend;
using FedLearn.Cli.Tests.Sessions;

namespace FedLearn.Cli.Tests.Reports;

/// <summary>What of a private job's report is computed from private rows is named in its warning, key by key, for whoever passes the report on.</summary>
public class ReportItselfTests
{
    private const string Sentence = " of this report are computed from private rows and outside the claim: leave them out where you pass it on";

    // Settings, sizes, times, and what the noise was calibrated to. Warnings that depend on rows say so.
    private static readonly string[] Public =
    [
        "notice", "tool", "job", "rows", "timing", "alignment", "roles", "ignored", "warnings", "combinedPrivacy", "history.round", "history.epoch", "history.epsilon", "history.seconds",
        "parties.name", "parties.role", "parties.bytesSent", "parties.bytesReceived", "parties.messagesSent", "parties.peakMemoryBytes", "parties.transport", "parties.rows", "parties.commonRows",
        "parties.timing", "parties.privacy", "parties.releases", "parties.model.features", "parties.model.itemFeatures", "tuning.folds", "tuning.metric", "tuning.complete", "tuning.cost",
    ];

    [Theory]
    [InlineData("hdp-vfl", "binomial", false, "metrics, intervals, evaluation, history.loss, weightsSha256")]
    [InlineData("hdp-vfl", "multinomial", false, "metrics, intervals, evaluation, history.loss, weightsSha256")]
    [InlineData("one-round", "binomial", false, "metrics, intervals, evaluation, weightsSha256")]
    [InlineData("label-dp", "binomial", false, "metrics, intervals, evaluation, history.loss, weightsSha256")]
    [InlineData("hdp-vfl", "binomial", true, "tuning.candidates")]
    public async Task Glm_KeysThatDependOnRows_AreNamed(string mode, string family, bool tunes, string found)
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("privacy.mode", mode), ("model.family", family), ("model.classes", family == "multinomial" ? 2 : null)));
        ToolRun run = await ToolRun.Of(["train", "--config", job, "--json", .. tunes ? ["--cross-validate", "2"] : (string[])[]]);
        Assert.True(run.ExitCode == 0, run.Error);
        CheckNamed(JsonNode.Parse(run.Output)!.AsObject(), found);
    }

    [Fact]
    public async Task Dssm_KeysThatDependOnRows_AreNamed()
    {
        using var scene = new RecommendScene();
        string job = scene.Job(RecommendScene.Private());
        CheckNamed(await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("models")), "metrics, intervals, baselines, history.loss, weightsSha256");
        CheckNamed(await RecommendScene.DocumentAsync("recommend", "evaluate", "--config", job, "--model", scene.At("models")), "metrics, intervals, baselines, weightsSha256");
    }

    // What one run of a job differs from another in, whatever the tables are.
    private static readonly string[] OfTheRun = ["job.modelVersion", "modelVersion", "timing", "history.seconds", "parties.peakMemoryBytes", "parties.timing"];

    /// <summary>Two neighbouring tables of one party, everything else and the noise being the same: the reports of all parties differ in what the warning names, and in nothing else. No part of the model holds an id of another party's table, or of a person.</summary>
    /// <param name="noise">Whose messages have noise.</param>
    /// <param name="file">The table that differs.</param>
    /// <param name="line">A line of it that begins so.</param>
    /// <param name="others">What can replace the rest of that line: the first, or the second where that is what is there.</param>
    [Theory]
    [InlineData("gradients", "interactions.csv", "u04,1104,1,", "i01,train", "i03,train")]
    [InlineData("both", "profile.csv", "u05,", "61,north")]
    [InlineData("both", "taste.csv", "u06,1306,3,", "1 3 5", "3 5 7")]
    public async Task Dssm_NeighbouringTables_DifferInWhatIsNamedAlone(string noise, string file, string line, params string[] others)
    {
        using var scene = new RecommendScene();
        string job = scene.Job(RecommendScene.Private(("privacy.noise", noise), ("privacy.unit", "user"), ("privacy.maxSamplesPerUser", 5)));
        var worlds = new List<(JsonObject[] Reports, string[] Files)>();
        foreach (bool other in (bool[])[false, true])
        {
            if (other)
            {
                string[] lines = File.ReadAllLines(scene.At(file));
                int at = Array.FindIndex(lines, l => l.StartsWith(line, StringComparison.Ordinal));
                lines[at] = others.Select(rest => line + rest).First(changed => changed != lines[at]);
                scene.Write(file, lines);
                foreach (string old in Directory.GetFiles(scene.Folder, "*.ledger.db*"))
                    File.Delete(old);
            }

            string models = scene.At(other ? "other" : "one");
            JsonObject[] reports =
            [
                await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", models),
                await RecommendScene.DocumentAsync("recommend", "evaluate", "--config", job, "--model", models),
                await RecommendScene.DocumentAsync("recommend", "topk", "--config", job, "--model", models, "--out", scene.At("lists.csv")),
            ];
            Assert.All(Directory.GetFiles(models), model => Assert.DoesNotMatch(Path.GetFileName(model).StartsWith("service", StringComparison.Ordinal) ? "\"u[0-9]" : "\"[ui][0-9]", File.ReadAllText(model)));
            worlds.Add((reports, [.. Directory.GetFiles(models).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal)]));
        }

        Assert.Equal(worlds[0].Files, worlds[1].Files);
        string[] named = ["metrics", "intervals", "baselines", "history.loss", "weightsSha256"];
        string[] found = [.. worlds[0].Reports.Zip(worlds[1].Reports).SelectMany(pair => Differences(pair.First, pair.Second, "")).Distinct()];
        Assert.All(found, key => Assert.True(named.Concat(OfTheRun).Any(name => Covers(name, key)), key));
        Assert.Contains(found, key => key.Contains("weightsSha256", StringComparison.Ordinal));
    }

    /// <summary>Paths of the values in which two documents differ.</summary>
    private static IEnumerable<string> Differences(JsonNode? one, JsonNode? other, string at) => (one, other) switch
    {
        (JsonObject first, JsonObject second) => first.Select(m => m.Key).Union(second.Select(m => m.Key)).SelectMany(key => Differences(first[key], second[key], at.Length == 0 ? key : $"{at}.{key}")),
        (JsonArray first, JsonArray second) when first.Count == second.Count => first.Zip(second).SelectMany(pair => Differences(pair.First, pair.Second, at)),
        _ => JsonNode.DeepEquals(one, other) ? [] : [at],
    };

    private static void CheckNamed(JsonObject report, string found)
    {
        string warning = report["parties"]!.AsArray().SelectMany(p => p!["privacy"]!["warnings"]!.AsArray()).Select(w => (string)w!).First(w => w.EndsWith(Sentence, StringComparison.Ordinal));
        string[] named = warning[..^Sentence.Length].Split([", ", " and "], StringSplitOptions.None);
        string[] keys = [.. Keys(report, "").Distinct()];
        // Curves are null where no row was measured; how they would be drawn is not.
        Assert.All(keys, key => Assert.True(key is "evaluation.level" or "evaluation.resamples" or "evaluation.seed" || named.Concat(Public).Any(name => Covers(name, key)), key));
        Assert.Equal(found.Split(", "), named.Where(name => keys.Any(key => Covers(name, key))));
    }

    private static bool Covers(string name, string key) => key == name || key.StartsWith(name + ".", StringComparison.Ordinal) || key.EndsWith("." + name, StringComparison.Ordinal);

    /// <summary>Paths of all values, without the places in arrays.</summary>
    private static IEnumerable<string> Keys(JsonNode? node, string at) => node switch
    {
        JsonObject members => members.SelectMany(member => Keys(member.Value, at.Length == 0 ? member.Key : $"{at}.{member.Key}")),
        JsonArray items => items.SelectMany(item => Keys(item, at)),
        null => [],
        _ => [at],
    };
}
