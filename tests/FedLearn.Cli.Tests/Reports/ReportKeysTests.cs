using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FedLearn.Cli.Tests.Recommend;
using FedLearn.Cli.Tests.Sessions;

namespace FedLearn.Cli.Tests.Reports;

/// <summary>The page about reports names every key of a real report of each kind.</summary>
public sealed partial class ReportKeysTests : IDisposable
{
    private readonly Scene _scene = new();

    public void Dispose() => _scene.Dispose();

    [GeneratedRegex("`[^`\\n]+`")]
    private static partial Regex Code();

    [GeneratedRegex("[A-Za-z0-9]+")]
    private static partial Regex Word();

    private static string Page(string page)
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder!.FullName, "FedLearn.sln")))
            folder = folder.Parent;
        return File.ReadAllText(Path.Combine(folder.FullName, "docs/guide", page));
    }

    private static HashSet<string> Named(string page) => [.. Code().Matches(Page(page)).SelectMany(code => Word().Matches(code.Value)).Select(word => word.Value)];

    private static IEnumerable<string> PrivacyTable() => Page("reports.md").Split("| key of `parties[].privacy` | holds |")[1].Split("\n\n")[0].Split('\n')
        .Where(line => line.StartsWith("| `", StringComparison.Ordinal)).SelectMany(line => Code().Matches(line.Split('|')[1]).Select(code => code.Value.Trim('`')));

    // The claim is conditional on them, and a reader computes sensitivity and noise from them.
    [Fact]
    public async Task Training_OneRoundOfClasses_HasThePublicNumbersOfEveryClass()
    {
        JsonObject report = await DocumentAsync("train", "--config", _scene.Job(Scene.Private(("privacy.mode", "one-round"), ("model.family", "multinomial"), ("model.classes", 3))));
        JsonNode privacy = report["parties"]![1]!["privacy"]!;
        double[] Of(string key) => [.. privacy[key]!.AsArray().Select(number => (double)number!)];
        double k = (double)privacy["gradientClip"]!, clip = (double)privacy["scoreClip"]!, rows = (double)report["rows"]!["train"]!;
        Assert.Equal(3, Of("labelCenter").Length);
        Assert.All(Of("labelCenter").Zip(Of("targetScale")), of => Assert.Equal(.75 * of.First * (1 - of.First), of.Second, 1e-12));
        double own = Math.Min(4 * clip, 2 * clip * Math.Sqrt(3)), drift = Of("targetBound").Zip(Of("lambda"), (c, l2) => (k + c) * (k + c) / (l2 * rows)).Sum();
        double expected = Math.Sqrt(own * own + drift), found = (double)privacy["sensitivity"]!;
        Assert.InRange(found / expected, 1, 1 + 1e-12);
    }

    // Settings of a grid and recommenders to compare with have the names that they have there.
    private static IEnumerable<string> Keys(JsonNode? node, bool areNames = false) => node switch
    {
        JsonObject of => of.SelectMany(p => Keys(p.Value, p.Key is "settings" or "baselines").Concat(areNames ? [] : [p.Key])),
        JsonArray of => of.SelectMany(item => Keys(item)),
        _ => [],
    };

    private static void AssertNamed(JsonObject report, params string[] morePages)
    {
        HashSet<string> named = [.. morePages.Append("reports.md").SelectMany(Named)];
        Assert.DoesNotContain(Keys(report), key => !named.Contains(key));
        Assert.NotEmpty(Keys(report));
    }

    private static async Task<JsonObject> DocumentAsync(params string[] args)
    {
        ToolRun run = await ToolRun.Of([.. args, "--json"]);
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    [Theory]
    [InlineData("none")]
    [InlineData("hdp-vfl")]
    [InlineData("one-round")]
    [InlineData("label-dp")]
    [InlineData("he")]
    public async Task Training_EveryMode_HasKeysOfThePageAlone(string mode)
    {
        string job = mode switch
        {
            "none" => _scene.Job(("evaluation.inference", true)),
            "he" => _scene.Job(Scene.Sgd(("training.epochs", 1), ("training.batchesPerEpoch", 1), ("preprocessing.scaling", "none"), ("privacy.mode", "he"), ("privacy.he.scheme", "paillier"))),
            _ => _scene.Job(Scene.Private(("privacy.mode", mode))),
        };
        JsonObject report = await DocumentAsync("train", "--config", job, "--model", _scene.At("models"));
        AssertNamed(report);
        string[] privacy = [.. report["parties"]!.AsArray().SelectMany(party => party!["privacy"]!.AsObject()).Select(key => key.Key).Distinct()];
        Assert.Contains("flipProbability", privacy);
        Assert.All(report["parties"]!.AsArray(), party => Assert.Empty(privacy.Except(party!["privacy"]!.AsObject().Select(key => key.Key))));
        // What the table of the page names, no more and no fewer.
        Assert.Equal(PrivacyTable().Order(StringComparer.Ordinal), privacy.Order(StringComparer.Ordinal));
        if (mode == "none")
            AssertNamed(await DocumentAsync("predict", "--config", job, "--model", _scene.At("models"), "--out", _scene.At("scores.csv")));
    }

    [Fact]
    public async Task Tuning_HasKeysOfThePageAlone()
    {
        AssertNamed(await DocumentAsync("train", "--config", _scene.Job(), "--cross-validate", "2", "--grid", "model.l2=0.1,0.01"));
        AssertNamed(await DocumentAsync("train", "--config", _scene.Named("private.json", Scene.Private()), "--cross-validate", "2"));
    }

    // Its own table is on the page about encryption.
    [Fact]
    public async Task Comparison_HasKeysOfThePagesAlone() => AssertNamed(
        await DocumentAsync("compare", "--config", _scene.Job(Scene.Private(("preprocessing", null))), "--epsilons", "1", "--he", "paillier", "--repeats", "2"), "homomorphic-encryption.md");

    [Fact]
    public async Task Alignment_HasKeysOfThePageAlone()
    {
        Sodium.Require();
        AssertNamed(await DocumentAsync("align", "--config", _scene.Job(("alignment", "psi"))));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Recommendation_HasKeysOfThePageAlone(bool isPrivate)
    {
        using var scene = new RecommendScene();
        string job = scene.Job(isPrivate ? RecommendScene.Private() : []);
        AssertNamed(await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("models")));
        if (isPrivate)
            return;
        AssertNamed(await RecommendScene.DocumentAsync("recommend", "evaluate", "--config", job, "--model", scene.At("models")));
        AssertNamed(await RecommendScene.DocumentAsync("recommend", "topk", "--config", job, "--model", scene.At("models"), "--k", "3", "--out", scene.At("lists.csv")));
    }
}
