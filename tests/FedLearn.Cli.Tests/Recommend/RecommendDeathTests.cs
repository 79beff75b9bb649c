using System.Text.Json.Nodes;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Cli.Tests.Recommend;

/// <summary>Parties of recommendation in processes of their own, one of which is killed and started again.</summary>
public class RecommendDeathTests
{
    [Fact]
    public async Task Train_KilledAndGivenAgain_GoesOnUnlessFresh()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "kills processes by Linux signals");
        Assert.SkipUnless(LibTorchTowers.IsAvailable, "the native library of towers is not on this machine");
        using var scene = new RecommendScene();
        string job = scene.Job(("transport.kind", "grpc"), ("training.epochs", 100), ("training.validationStop", false), ("training.checkpointRounds", 5));
        async Task CutOffAsync()
        {
            using ToolProcess cut = ToolProcess.Start("recommend", "train", "--config", job);
            await cut.SaysAsync("epoch 1 of 100");
            int[] children = [.. ToolProcess.Children(cut.Id).Select(c => c.Id)];
            cut.Kill();
            await cut.EndAsync();
            await ToolProcess.GoneAsync(children);
        }

        foreach (bool fresh in (bool[])[false, true])
        {
            await CutOffAsync();
            using ToolProcess again = ToolProcess.Start(["recommend", "train", "--config", job, "--json", .. fresh ? ["--fresh"] : (string[])[]]);
            ToolRun run = await again.EndAsync();
            Assert.True(run.ExitCode == 0, run.Error);
            Assert.Equal(fresh ? null : 1, (int?)JsonNode.Parse(run.Output)!["resumed"]?["attempts"]);
            Assert.Equal(fresh ? 0 : 1, run.Error.Split('\n').Count(line => line.Contains("the run goes on before round ", StringComparison.Ordinal)));
        }
    }

    [Theory]
    [InlineData("service")]
    [InlineData("taste")]
    public async Task Party_KilledAndStartedAgain_TheOthersWaitAndTheModelIsThatOfAWholeRun(string victim)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "kills processes by Linux signals");
        Assert.SkipUnless(LibTorchTowers.IsAvailable, "the native library of towers is not on this machine");
        using var scene = new RecommendScene();
        string job = scene.Job(("transport.kind", "grpc"), ("training.epochs", 40), ("training.validationStop", false), ("training.checkpointRounds", 5));
        int port = Scene.FreePort();
        string[] parties = ["service", "profile", "taste"];
        foreach (string party in parties)
            scene.Write($"{party}.party.json", party == "service" ? $$"""{ "job": "job.json", "party": "service", "listen": "127.0.0.1:{{port}}" }"""
                : $$"""{ "job": "job.json", "party": "{{party}}", "peers": { "service": "http://127.0.0.1:{{port}}" } }""");
        ToolProcess Start(string party) => ToolProcess.Start("party", "--config", scene.At($"{party}.party.json"), "--json");
        using ToolProcess service = Start("service"), profile = Start("profile"), taste = Start("taste");
        var running = new Dictionary<string, ToolProcess> { ["service"] = service, ["profile"] = profile, ["taste"] = taste };
        await running[victim].SaysAsync("epoch 1 of 40");
        running[victim].Kill();
        foreach (string party in parties.Where(p => p != victim))
            await running[party].SaysAsync("waiting up to 300 s for it to come back; the run goes on before round ");
        using ToolProcess again = Start(victim);
        running[victim] = again;
        var reports = new Dictionary<string, JsonNode>();
        foreach (string party in parties)
        {
            ToolRun run = await running[party].EndAsync();
            Assert.True(run.ExitCode == 0, run.Error);
            reports[party] = JsonNode.Parse(run.Output)!;
        }

        using ToolProcess whole = ToolProcess.Start("recommend", "train", "--config", job, "--json");
        ToolRun train = await whole.EndAsync();
        Assert.True(train.ExitCode == 0, train.Error);
        foreach (JsonNode? due in JsonNode.Parse(train.Output)!["parties"]!.AsArray())
        {
            JsonNode report = reports[(string)due!["name"]!];
            Assert.Equal(due["model"]!.ToJsonString(), report["parties"]![0]!["model"]!.ToJsonString());
            Assert.Equal(1, (int)report["resumed"]!["attempts"]!);
        }
    }
}
