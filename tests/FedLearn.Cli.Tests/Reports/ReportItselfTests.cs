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
