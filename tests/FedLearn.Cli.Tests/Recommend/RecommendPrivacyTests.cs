using System.Text.Json.Nodes;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Cli.Tests.Recommend;

public class RecommendPrivacyTests
{
    private static JsonNode Json(string text) => JsonNode.Parse(text)!;

    private static JsonNode PrivacyOf(JsonObject report, string party) => report["parties"]!.AsArray().First(p => (string)p!["name"]! == party)!["privacy"]!;

    [Theory]
    [InlineData("""{ "mode": "dp", "noise": "gradients", "epsilon": 5, "delta": 0.001, "testNoiseSeed": 3 }""", new[] { "service" })]
    [InlineData("""{ "mode": "dp", "noise": "embeddings", "epsilon": 5, "delta": 0.001, "testNoiseSeed": 3 }""", new[] { "profile", "taste" })]
    [InlineData("""{ "mode": "dp", "noise": "both", "claim": "full", "epsilon": 5, "delta": 0.001, "testNoiseSeed": 3 }""", new[] { "service", "profile", "taste" })]
    public async Task Train_TestNoise_GivesTheSameModelInMemoryAndOverGrpcAndSaysSoFirst(string privacy, string[] noising)
    {
        using var scene = new RecommendScene();
        // A static view has one row for all of a user's samples, so only the user unit is true of it.
        (string, JsonNode?)[] changes = [("privacy", Json(privacy)), ("privacy.unit", "user"), ("privacy.maxSamplesPerUser", 3)];
        JsonObject memory = await RecommendScene.DocumentAsync("recommend", "train", "--config", scene.Job(changes));
        JsonObject grpc = await RecommendScene.DocumentAsync("recommend", "train", "--config", scene.Named("grpc.json", [.. changes, ("transport.kind", "grpc")]), "--in-process");
        Assert.Equal("notice", memory.First().Key);
        Assert.Equal("NOT PRIVATE: test noise", (string)memory["notice"]!);
        Assert.All(noising.Select(name => PrivacyOf(memory, name)), p => Assert.Equal((false, "NOT PRIVATE: test noise"), ((bool)p["secureNoise"]!, (string)p["noise"]!)));
        Assert.Equal(memory["parties"]!.AsArray().Select(p => (string)p!["model"]!["weightsSha256"]!), grpc["parties"]!.AsArray().Select(p => (string)p!["model"]!["weightsSha256"]!));
        Assert.Equal(noising, memory["parties"]!.AsArray().Where(p => p!["privacy"]!["epsilon"] is not null).Select(p => (string)p!["name"]!));
        Assert.All(memory["history"]!.AsArray(), epoch => Assert.Null(epoch!["validationNdcg10"]));
        Assert.Equal(3, memory["history"]!.AsArray().Count);
        Assert.Equal(noising.Length > 1, memory["combinedPrivacy"] is not null);
    }

    [Fact]
    public async Task Train_SecureNoise_ReportsUnitAndClaimBesideEveryEpsilonAndChargesTheLedger()
    {
        using var scene = new RecommendScene();
        string job = scene.Job(RecommendScene.Private(("privacy.testNoiseSeed", null), ("privacy.maxSamplesPerUser", 5)));
        ToolRun run = await RecommendScene.RunAsync("recommend", "train", "--config", job, "--json", "--html", scene.At("report.html"));
        Assert.True(run.ExitCode == 0, run.Error);
        JsonObject report = JsonNode.Parse(run.Output)!.AsObject();
        Assert.False(report.ContainsKey("notice"));
        JsonNode privacy = PrivacyOf(report, "service");
        Assert.Equal(("dp", "gradients", "own-messages", "sample", 5.0, 0.001), ((string)privacy["mode"]!, (string)privacy["noisedMessages"]!, (string)privacy["claim"]!, (string)privacy["unit"]!,
            (double)privacy["epsilon"]!, (double)privacy["delta"]!));
        Assert.True((bool)privacy["secureNoise"]!);
        JsonArray figures = privacy["figures"]!.AsArray();
        Assert.Equal(["sample", "user"], figures.Where(f => f!["mu"] is not null).Select(f => (string)f!["unit"]!));
        Assert.All(figures, f => Assert.Equal("own-messages", (string)f!["claim"]!));
        // One sample cannot cost more than all samples of its user.
        Assert.True((double)figures.First(f => (string)f!["unit"]! == "sample")!["epsilon"]! < (double)figures.First(f => (string)f!["unit"]! == "user")!["epsilon"]!);
        Assert.Contains(privacy["claims"]!.AsArray(), c => ((string)c!).Contains("own messages only", StringComparison.Ordinal));
        Assert.Contains("embeddings: training", string.Join('\n', PrivacyOf(report, "taste")["disclosures"]!.AsArray().Select(d => (string)d!)), StringComparison.Ordinal);
        Assert.Contains("5 (own-messages, per sample)", run.Error, StringComparison.Ordinal);
        Assert.Contains("What the noise costs, by unit", File.ReadAllText(scene.At("report.html")), StringComparison.Ordinal);
        Assert.True(File.Exists(scene.At("service.ledger.db")));
        Assert.NotNull(privacy["ledger"]!["spentEpsilon"]);
        ToolRun ledger = await ToolRun.Of("ledger", "show", "--ledger", scene.At("service.ledger.db"));
        Assert.True(ledger.ExitCode == 0, ledger.Error);
    }

    /// <summary>The noise is one side's: the other discloses its messages, which costs nothing and is in no sum.</summary>
    [Theory]
    [InlineData("gradients", "service", "disclosed: embeddings")]
    [InlineData("embeddings", "profile,taste", "disclosed: gradients")]
    public async Task Train_NoiseOfOneSide_LeavesALineInTheOthersLedger(string noise, string noising, string mechanism)
    {
        using var scene = new RecommendScene();
        string job = scene.Job(RecommendScene.Private(("privacy.testNoiseSeed", null), ("privacy.noise", noise), ("privacy.unit", "user"), ("privacy.maxSamplesPerUser", 5)));
        await RecommendScene.DocumentAsync("recommend", "train", "--config", job);
        JsonObject report = await RecommendScene.DocumentAsync("recommend", "train", "--config", job);
        foreach (string party in (string[])["service", "profile", "taste"])
        {
            bool noised = noising.Split(',').Contains(party);
            LedgerEntry[] entries = [.. SqliteLedger.Audit(scene.At($"{party}.ledger.db")).Entries];
            Assert.Equal(2, entries.Length);
            Assert.All(entries, e => Assert.Equal((!noised, !noised, ChargeState.Settled), (e.Charge.Mechanism == mechanism, e.MuSquared == 0, e.State)));
            Assert.Equal(!noised, PrivacyOf(report, party)["warnings"]!.AsArray().Any(w => ((string)w!).StartsWith("1 earlier run over these people disclosed what this party sent", StringComparison.Ordinal)));
            if (!noised)
                Assert.StartsWith("no claim: ", Assert.Single(entries.Select(e => e.Charge.Claim).Distinct()), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Train_BudgetOfTheLedgerIsSpent_IsRefusedBeforeAnyMessage()
    {
        using var scene = new RecommendScene();
        string job = scene.Job(RecommendScene.Private(("privacy.testNoiseSeed", null), ("parties.0.ledger", Json("""{ "budget": { "epsilon": 7, "delta": 0.001 } }"""))));
        Assert.Equal(0, (await RecommendScene.RunAsync("recommend", "train", "--config", job)).ExitCode);
        ToolRun again = await RecommendScene.RunAsync("recommend", "train", "--config", job, "--model", scene.At("models"));
        Assert.Equal((5, ""), (again.ExitCode, again.Output));
        Assert.False(Directory.Exists(scene.At("models")));
    }

    [Fact]
    public async Task TopK_PrivateJobThatDisclosesNothing_IsRefused()
    {
        using var scene = new RecommendScene();
        string job = scene.Job(RecommendScene.Private(("privacy.evaluation", "none")));
        JsonObject trained = await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("models"));
        Assert.Null(trained["metrics"]!["test"]);
        Assert.Empty(trained["baselines"]!.AsObject());
        // Whatever the run file says after the training.
        foreach (string now in (string[])[job, scene.Named("disclosed.json", RecommendScene.Private()), scene.Named("plain.json")])
        {
            ToolRun run = await RecommendScene.RunAsync("recommend", "topk", "--config", now, "--model", scene.At("models"), "--out", scene.At("lists.csv"));
            Assert.Equal((5, ""), (run.ExitCode, run.Output));
            Assert.Contains("(FL5187)", run.Error, StringComparison.Ordinal);
        }

        Assert.False(File.Exists(scene.At("lists.csv")));
    }

    [Fact]
    public async Task TopK_VectorsOfAPrivateJobWithoutClaimFull_AreListedAsDisclosure()
    {
        using var scene = new RecommendScene();
        string job = scene.Job(RecommendScene.Private());
        await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("models"));
        ToolRun run = await RecommendScene.RunAsync("recommend", "topk", "--config", job, "--model", scene.At("models"), "--out", scene.At("lists.csv"), "--vectors", scene.At("items"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Contains("the items' vectors were exported: a disclosure", run.Error, StringComparison.Ordinal);
    }
}
