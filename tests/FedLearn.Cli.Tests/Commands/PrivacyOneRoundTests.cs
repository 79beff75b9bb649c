using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Tests.Sessions;

namespace FedLearn.Cli.Tests.Commands;

public class PrivacyOneRoundTests
{
    private static async Task<JsonElement> Json(params string[] args)
    {
        ToolRun run = await ToolRun.Of([.. args, "--json"]);
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonDocument.Parse(run.Output).RootElement;
    }

    private static double Number(JsonElement document, string party, string name) => document.GetProperty(party).GetProperty(name).GetDouble();

    [Fact]
    public async Task OneRound_Binary_PrintsTheNumbersOfTheProof()
    {
        JsonElement document = await Json("privacy", "one-round", "--rows", "30852", "--label-rate", "0.24", "--epsilon", "1", "--delta", "0.01");
        Assert.Equal(1 / (1 + Math.E), Number(document, "active", "flipProbability"), 1e-15);
        Assert.Equal(.1368, Number(document, "passive", "targetScale"), 1e-12);
        Assert.Equal(9.80977, Number(document, "passive", "targetBound"), 1e-5);
        Assert.Equal(Math.Pow(4 + Number(document, "passive", "targetBound"), 2) / 4 / 30852, Number(document, "passive", "lambda"), 1e-15);
        Assert.Equal(Math.Sqrt(20), Number(document, "passive", "sensitivity"), 1e-12);
        Assert.Equal(Math.Sqrt(20) / Number(document, "passive", "mu"), Number(document, "passive", "sigma"), 1e-12);
        double slacks = Number(document, "passive", "solverSlack") + Number(document, "passive", "arithmeticSlack") + Number(document, "passive", "latticeSlack");
        Assert.Equal((Number(document, "passive", "sensitivity") + slacks) / Number(document, "passive", "mu"), Number(document, "passive", "sigmaCharged"), 1e-9);
    }

    [Fact]
    public async Task OneRound_ClassesRangesAndShares_AreCovered()
    {
        JsonElement four = await Json("privacy", "one-round", "--rows", "10000", "--classes", "4", "--epsilon", "1", "--delta", "1e-5");
        Assert.Equal(Math.E / (Math.E + 3), Number(four, "active", "keepProbability"), 1e-15);
        Assert.Equal(3 / (Math.E + 3), Number(four, "active", "flipProbability"), 1e-15);
        Assert.Equal(8, Number(four, "passive", "ownTerm"));
        JsonElement range = await Json("privacy", "one-round", "--rows", "5000", "--label-range", "-2,2", "--epsilon", "2", "--delta", "1e-5", "--evaluation-share", "0.2");
        Assert.Equal(4, Number(range, "active", "sensitivity"));
        Assert.InRange(Number(range, "active", "sigmaCharged") * Number(range, "active", "mu"), 4, 4 * (1 + 1e-6));
        Assert.True(Number(range, "passive", "evaluationSigma") > 0);
    }

    [Theory]
    [InlineData("--mode", "one-round", "--rows", "30852", "--epsilon", "1", "--delta", "0.01")]
    [InlineData("--rows", "30852", "--epsilon", "1", "--mode=one-round", "--delta", "0.01")]
    [InlineData("--rows", "30852", "--epsilon", "1", "--delta", "0.01", "--mode", "one-round")]
    [InlineData("--rows", "30852", "--mode:one-round", "--epsilon", "1", "--delta", "0.01")]
    public async Task Calibrate_ModeOneRound_IsThisVerb(params string[] options) => Assert.Equal(
        (await Json("privacy", "one-round", "--rows", "30852", "--epsilon", "1", "--delta", "0.01")).GetRawText(), (await Json(["privacy", "calibrate", .. options])).GetRawText());

    [Fact]
    public async Task Calibrate_ModeOneRoundInAResponseFile_IsRefused()
    {
        using var scene = new Scene();
        string args = scene.Write("args", "--mode one-round --family binomial --rows 569 --batches 5 --epochs 10 --step-size 1 --l2 0.001 --weight-norm 1 --residual-clip 1 --epsilon 1 --delta 1e-5");
        ToolRun run = await ToolRun.Of("privacy", "calibrate", $"@{args}", "--json");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL2101)", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--label-range", "2")]
    [InlineData("--label-range", "1,x")]
    [InlineData("--label-range", "3,1")]
    [InlineData("--classes", "1")]
    [InlineData("--label-rate", "0")]
    [InlineData("--score-clip", "9")]
    [InlineData("--rows", "0")]
    public async Task OneRound_IllegalNumbers_AreUsageErrors(string option, string value)
    {
        string[] legal = ["--rows", "100", "--epsilon", "1", "--delta", "1e-5"];
        ToolRun run = await ToolRun.Of(["privacy", "one-round", .. option == "--rows" ? ["--rows", value, .. legal[2..]] : (string[])[.. legal, option, value]]);
        Assert.Equal(2, run.ExitCode);
    }

    [Theory]
    [InlineData("2", "0.5")]
    [InlineData("4", "0.25")]
    public async Task OneRound_WithoutALabelRate_HasThatOfEqualClasses(string classes, string rate)
    {
        string[] rest = ["privacy", "one-round", "--classes", classes, "--rows", "3000", "--epsilon", "1", "--delta", "1e-5"];
        string absent = (await Json(rest)).ToString();
        Assert.Equal(absent, (await Json([.. rest, "--label-rate", rate])).ToString());
        Assert.NotEqual(absent, (await Json([.. rest, "--label-rate", "0.1"])).ToString());
    }

    [Fact]
    public async Task OneRound_ClassesAndARange_DisagreeAndAreRefused()
    {
        ToolRun run = await ToolRun.Of("privacy", "one-round", "--rows", "3000", "--classes", "4", "--label-range", "0,10", "--epsilon", "1", "--delta", "1e-5");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL2101)", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plan_OneRoundJob_PrintsEachPartysNoise()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("privacy.mode", "one-round")));
        JsonElement plan = await Json("privacy", "plan", "--config", job, "--rows", "30852");
        JsonElement passive = Assert.Single(plan.GetProperty("passive").EnumerateArray());
        Assert.Equal("telco", passive.GetProperty("party").GetString());
        Assert.Equal(Math.Sqrt(20), passive.GetProperty("sensitivity").GetDouble(), 1e-12);
        Assert.True(plan.GetProperty("labelRateAssumed").GetBoolean());
        ToolRun text = await ToolRun.Of("privacy", "plan", "--config", job, "--rows", "30852");
        Assert.Contains("sigmaCharged", text.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plan_OneRoundWithChargedEvaluation_HasTheNoiseOfBoth()
    {
        using var scene = new Scene();
        async Task<JsonElement> Passive(string evaluation) => (await Json("privacy", "plan", "--config", scene.Job(Scene.Private(("privacy.mode", "one-round"), ("privacy.evaluation", evaluation))), "--rows", "30852")).GetProperty("passive")[0];
        JsonElement disclosed = await Passive("disclosed"), charged = await Passive("charged");
        Assert.False(disclosed.TryGetProperty("evaluationSigma", out _));
        Assert.True(charged.GetProperty("evaluationSigma").GetDouble() > 0);
        Assert.False(disclosed.TryGetProperty("warnings", out _));
        Assert.EndsWith("whose claim leaves scores out", Assert.Single(charged.GetProperty("warnings").EnumerateArray()).GetString(), StringComparison.Ordinal);
        // The default share of mu^2 for the final weights is 0.2.
        Assert.Equal(Math.Sqrt(1 / 0.8), charged.GetProperty("sigma").GetDouble() / disclosed.GetProperty("sigma").GetDouble(), 1e-9);
    }

    [Fact]
    public async Task Train_OneRoundTwice_ReportsTheReuseAndTheActivePartyAlone()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("privacy.mode", "one-round")));
        JsonNode[] reports = [JsonNode.Parse((await ToolRun.Of("train", "--config", job, "--json")).Output)!, JsonNode.Parse((await ToolRun.Of("train", "--config", job, "--json")).Output)!];
        Assert.Equal([false, true], reports.Select(r => (bool)r["parties"]![0]!["privacy"]!["labelsReused"]!));
        foreach (JsonNode report in reports)
        {
            Assert.NotNull(report["metrics"]!["guestOnly"]!["test"]!["auc"]);
            JsonNode bank = report["parties"]![0]!["privacy"]!, telco = report["parties"]![1]!["privacy"]!;
            Assert.Equal(("one-round", 1, 0), ((string)bank["mode"]!, (double)bank["epsilon"]!, (double)bank["delta"]!));
            Assert.Equal(("one-round", 1, .001), ((string)telco["mode"]!, (double)telco["epsilon"]!, (double)telco["delta"]!));
            Assert.Contains(report["parties"]![0]!["releases"]!.AsArray(), r => (string)r!["protection"]! == "randomized-response");
            // The labels are paid for once; the scores every time.
            Assert.Equal(1, (double)bank["ledger"]!["spentEpsilon"]!);
        }

        Assert.True((double)reports[1]["parties"]![1]!["privacy"]!["ledger"]!["spentEpsilon"]! > (double)reports[0]["parties"]![1]!["privacy"]!["ledger"]!["spentEpsilon"]!);
    }

    [Fact]
    public async Task Train_OneRoundAfterGaussianCharges_ReportsTheSumAtTheJobsDelta()
    {
        using var scene = new Scene();
        Assert.Equal(0, (await ToolRun.Of("train", "--config", scene.Job(Scene.Private()))).ExitCode);
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Private(("privacy.mode", "one-round"))), "--json");
        JsonNode bank = JsonNode.Parse(run.Output)!["parties"]![0]!["privacy"]!;
        Assert.Equal((0, .001), ((double)bank["delta"]!, (double)bank["ledger"]!["delta"]!));
        // A pure epsilon of 1 beside a Gaussian one: more than either, at most both.
        Assert.InRange((double)bank["ledger"]!["spentEpsilon"]!, 1.1, 2);
    }

    [Theory]
    [InlineData("one-round", "model.intercept", "\"free\"", "FL5033")]
    [InlineData("one-round", "privacy.adjacency", "\"zero-out\"", "FL5034")]
    [InlineData("label-dp", "model.l2", "0", "FL5036")]
    [InlineData("one-round", "parties.0.ledger", """{ "budget": { "epsilon": 0.5, "delta": 0.01 } }""", "FL5020")]
    [InlineData("one-round", "parties.1.ledger", """{ "budget": { "epsilon": 0.5, "delta": 0.001 } }""", "FL5020")]
    [InlineData("label-dp", "parties.0.ledger", """{ "budget": { "epsilon": 0.5, "delta": 0.01 } }""", "FL5020")]
    public async Task Train_WhatThePrivacyDoesNotAllow_EndsWithFive(string mode, string path, string json, string id)
    {
        using var scene = new Scene();
        (string, JsonNode?)[] changes = [("privacy.mode", mode), (path, JsonNode.Parse(json))];
        if (mode == "label-dp")
            changes = [.. changes, ("training.weightNorm", null)];
        ToolRun run = await ToolRun.Of("train", "--config", scene.Job(Scene.Private(changes)));
        Assert.Equal(5, run.ExitCode);
        Assert.Contains(id, run.Error, StringComparison.Ordinal);
    }
}
