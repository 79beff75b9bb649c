using System.Text.Json.Nodes;
using FedLearn.Cli.Tests.Identity;
using FedLearn.Cli.Tests.Serving;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>Parties that listen nowhere and meet through fedlearn coordinator: each a process of its own.</summary>
public class CoordinatorTests
{
    private const int Terminate = 15;

    private static async Task<ToolProcess> StartAsync(Scene scene, int port, string more = "", params string[] jobs)
    {
        string listed = string.Join(", ", (jobs.Length > 0 ? jobs : ["job.json"]).Select(j => $"\"{j}\""));
        string file = scene.Write("coordinator.party.json", $$"""{ "listen": "127.0.0.1:{{port}}", "jobs": [{{listed}}]{{more}} }""");
        ToolProcess coordinator = ToolProcess.Start("coordinator", "--config", file);
        await coordinator.SaysAsync($"listening on http://127.0.0.1:{port}");
        return coordinator;
    }

    private static string Party(Scene scene, string name, int port, string job = "job.json") =>
        scene.Write($"{Path.GetFileNameWithoutExtension(job)}.{name}.party.json", $$"""{ "job": "{{job}}", "party": "{{name}}", "relay": "127.0.0.1:{{port}}", "timeoutSeconds": 100 }""");

    private static ToolProcess Train(Scene scene, string name, int port, string job = "job.json", string models = "") =>
        ToolProcess.Start("party", "--config", Party(scene, name, port, job), "--model", scene.At(models + name), "--json");

    private static JsonObject Report(ToolRun run)
    {
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    private static string Weights(JsonObject report, int party = 0) => (string)report["parties"]![party]!["model"]!["weightsSha256"]!;

    [Fact]
    public async Task Party_NobodyListens_TrainsPredictsAndAlignsAsOne()
    {
        DeathTests.RequireInterrupt();
        using var scene = new Scene();
        string job = scene.Job(("preprocessing.scaling", "none"));
        int port = Scene.FreePort();
        using ToolProcess coordinator = await StartAsync(scene, port);
        JsonObject[] reports;
        using (ToolProcess telco = Train(scene, "telco", port), bank = Train(scene, "bank", port))
        {
            ToolRun[] runs = await Task.WhenAll(bank.EndAsync(), telco.EndAsync());
            Assert.Contains($"waiting at the coordinator http://127.0.0.1:{port}", runs[0].Error, StringComparison.Ordinal);
            reports = [.. runs.Select(Report)];
        }

        JsonObject direct = Report(await ToolRun.Of("train", "--config", job, "--json"));
        Assert.Equal([Weights(direct, 0), Weights(direct, 1)], reports.Select(r => Weights(r)));
        Assert.Equal((string)direct["job"]!["digest"]!, (string)reports[1]["job"]!["digest"]!);
        await coordinator.SaysAsync("connection 1: 'telco' to 'bank', job 'scene', train");
        await coordinator.SaysAsync("connection 1 ended: ");

        // Another purpose, another session, the same coordinator.
        ToolProcess Predict(string party) => ToolProcess.Start("party", "--config", Party(scene, party, port), "--model", scene.At(party), "--predict", scene.At("scores.csv"));
        using (ToolProcess bank = Predict("bank"), telco = Predict("telco"))
            Assert.All(await Task.WhenAll(bank.EndAsync(), telco.EndAsync()), run => Assert.True(run.ExitCode == 0, run.Error));
        Assert.Equal(Scene.Common, scene.Cells("scores.csv").Count);
        ToolProcess Align(string party) => ToolProcess.Start("align", "--config", Party(scene, party, port), "--out", scene.At($"{party}.rows.csv"), "--proof", "true");
        using (ToolProcess bank = Align("bank"), telco = Align("telco"))
            Assert.All(await Task.WhenAll(bank.EndAsync(), telco.EndAsync()), run => Assert.True(run.ExitCode == 0, run.Error));
        Assert.Equal(scene.Cells("bank.rows.csv").Select(r => r["id"]), scene.Cells("telco.rows.csv").Select(r => r["id"]));
        await coordinator.SaysAsync("job 'scene', predict");
        await coordinator.SaysAsync("job 'scene', align");
        await coordinator.SaysAsync(" ended: ", 3);

        ToolProcess.Send(coordinator.Id, Terminate);
        ToolRun ended = await coordinator.EndAsync();
        Assert.True(ended.ExitCode == 0, ended.Error);
        Assert.Contains("stopped: 3 connections, ", ended.Error, StringComparison.Ordinal);
        Assert.Empty(ended.Output);
        // It names parties and jobs, and nothing that they hold: no id, no column.
        Assert.All((string[])["c_0", "income", "debt"], secret => Assert.DoesNotContain(secret, ended.Error, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Party_EncryptedToTheCoordinatorAndToEachOther_TrainsTheSame()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Sgd());
        string bankPin = Keys.Make(scene.Folder, "bank"), telcoPin = Keys.Make(scene.Folder, "telco"), ownPin = Keys.Make(scene.Folder, "coordinator");
        int port = Scene.FreePort();
        string file = scene.Write("coordinator.party.json", $$"""{ "listen": "127.0.0.1:{{port}}", "jobs": ["job.json"], "tls": {{Keys.Tls("coordinator", ("bank", bankPin), ("telco", telcoPin))}} }""");
        string Party(string name, string tls) => scene.Write($"{name}.party.json", $$"""{ "job": "job.json", "party": "{{name}}", "relay": { "address": "127.0.0.1:{{port}}", "pins": ["{{ownPin}}"] }, "tls": {{tls}} }""");
        using ToolProcess coordinator = ToolProcess.Start("coordinator", "--config", file);
        await coordinator.SaysAsync($"listening on https://127.0.0.1:{port}");
        ToolProcess Start(string name, string tls) => ToolProcess.Start("party", "--config", Party(name, tls), "--json");
        // Telco's certificate, and bank's name.
        using (ToolProcess impostor = Start("bank", Keys.Tls("telco", ("telco", telcoPin))))
        {
            ToolRun run = await impostor.EndAsync();
            Assert.Equal((4, true), (run.ExitCode, run.Error.Contains("(FL4131)", StringComparison.Ordinal)));
            await coordinator.SaysAsync("refused 'bank': the certificate belongs to 'telco', and not to 'bank'. (FL4131)");
        }

        using ToolProcess bank = Start("bank", Keys.Tls("bank", ("telco", telcoPin))), telco = Start("telco", Keys.Tls("telco", ("bank", bankPin)));
        JsonObject[] reports = [.. (await Task.WhenAll(bank.EndAsync(), telco.EndAsync())).Select(Report)];
        JsonObject direct = Report(await ToolRun.Of("train", "--config", job, "--json"));
        Assert.Equal([Weights(direct, 0), Weights(direct, 1)], reports.Select(r => Weights(r)));
        Assert.All(reports, r => Assert.True((bool)r["parties"]![0]!["transport"]!["encrypted"]!));
        Keys.AssertNoneIn(scene.Folder, coordinator.Error, bank.Error, telco.Error);
    }

    [Fact]
    public async Task TwoJobs_AtOnce_EachGetsItsOwnModel()
    {
        using var scene = new Scene();
        string[] jobs = ["one.job.json", "two.job.json"];
        string[] paths = [scene.Named(jobs[0], Scene.Sgd(("name", "one"))), scene.Named(jobs[1], Scene.Sgd(("name", "two"), ("training.seed", 11), ("training.reshuffle", true)))];
        int port = Scene.FreePort();
        using ToolProcess coordinator = await StartAsync(scene, port, "", jobs);
        ToolProcess[] parties = [.. jobs.SelectMany(job => new[] { Train(scene, "telco", port, job, job[..3]), Train(scene, "bank", port, job, job[..3]) })];
        try
        {
            JsonObject[] reports = [.. (await Task.WhenAll(parties.Select(p => p.EndAsync()))).Select(Report)];
            for (int i = 0; i < jobs.Length; i++)
            {
                JsonObject direct = Report(await ToolRun.Of("train", "--config", paths[i], "--json"));
                Assert.Equal([Weights(direct, 1), Weights(direct, 0)], reports.Skip(2 * i).Take(2).Select(r => Weights(r)));
            }

            Assert.NotEqual(Weights(reports[0]), Weights(reports[2]));
        }
        finally
        {
            foreach (ToolProcess party in parties)
                party.Dispose();
        }
    }

    [Fact]
    public async Task Coordinator_Killed_BothPartiesSaySoAndANewOneServes()
    {
        using var scene = new Scene();
        scene.Named("long.job.json", Scene.Endless(("name", "long"), ("transport.resumeSeconds", 0)));
        scene.Job(Scene.Sgd());
        int port = Scene.FreePort();
        using (ToolProcess coordinator = await StartAsync(scene, port, "", "long.job.json", "job.json"))
        using (ToolProcess bank = Train(scene, "bank", port, "long.job.json"), telco = Train(scene, "telco", port, "long.job.json"))
        {
            await bank.SaysAsync("round 1 of 1000000");
            await telco.SaysAsync("round 1 of 1000000");
            coordinator.Kill();
            foreach (ToolRun run in await Task.WhenAll(bank.EndAsync(), telco.EndAsync()))
            {
                Assert.True(run.ExitCode == 4, run.Error);
                Assert.Contains("(FL4007)", run.Error, StringComparison.Ordinal);
            }
        }

        // Parties that are there first: the one waits for the coordinator, and then for the other.
        using ToolProcess early = Train(scene, "telco", port), host = Train(scene, "bank", port);
        using ToolProcess next = await StartAsync(scene, port, "", "job.json");
        Assert.All(await Task.WhenAll(early.EndAsync(), host.EndAsync()), run => Assert.True(run.ExitCode == 0, run.Error));
    }

    [Fact]
    public async Task Coordinator_KilledAndStartedAgain_TheRunGoesOnToTheSameModel()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("training.epochs", 150), ("training.checkpointRounds", 10), ("privacy.testNoiseSeed", 5)));
        int port = Scene.FreePort();
        ToolProcess coordinator = await StartAsync(scene, port);
        using ToolProcess bank = Train(scene, "bank", port), telco = Train(scene, "telco", port);
        await bank.SaysAsync("round 5 of 750");
        await telco.SaysAsync("round 5 of 750");
        coordinator.Kill();
        await bank.SaysAsync("waiting up to 300 s for it to come back; the run goes on before round ");
        await telco.SaysAsync("waiting up to 300 s for it to come back; the run goes on before round ");
        coordinator.Dispose();
        using ToolProcess again = await StartAsync(scene, port);
        JsonObject[] reports = [.. (await Task.WhenAll(bank.EndAsync(), telco.EndAsync())).Select(Report)];

        JsonObject whole = Report(await ToolRun.Of("train", "--config", job, "--fresh", "--json"));
        Assert.Equal([Weights(whole, 0), Weights(whole, 1)], reports.Select(r => Weights(r)));
        Assert.All(reports, r => Assert.Equal(1, (int)r["resumed"]!["attempts"]!));
    }

    [Fact]
    public async Task Refusals_OtherTermsUnknownJobOrQuota_AreSaidAtBothPlaces()
    {
        using var scene = new Scene();
        scene.Job();
        scene.Named("other.job.json", ("model.l2", 0.5));
        scene.Named("foreign.job.json", ("name", "foreign"));
        int port = Scene.FreePort();
        using ToolProcess coordinator = await StartAsync(scene, port, """, "quotas": { "joinsPerMinute": 1 } """);
        async Task<string> RefusedAsync(string party, string job)
        {
            ToolRun run = await ToolRun.Of("party", "--config", Party(scene, party, port, job));
            Assert.Equal(4, run.ExitCode);
            return run.Error;
        }

        string error = await RefusedAsync("telco", "other.job.json");
        Assert.Contains("differs from the coordinator's in: model.", error, StringComparison.Ordinal);
        Assert.Contains("(FL4162)", error, StringComparison.Ordinal);
        await coordinator.SaysAsync("refused 'telco': its job differs from the coordinator's in: model. (FL4162)");
        Assert.Contains("(FL4162)", await RefusedAsync("bank", "other.job.json"), StringComparison.Ordinal);
        Assert.Contains("(FL4161)", await RefusedAsync("bank", "foreign.job.json"), StringComparison.Ordinal);
        await coordinator.SaysAsync("refused 'bank': there is no job 'foreign' here. (FL4161)");
        // The one session of this minute; the next has to wait.
        using (ToolProcess bank = Train(scene, "bank", port), telco = Train(scene, "telco", port))
            Assert.All(await Task.WhenAll(bank.EndAsync(), telco.EndAsync()), run => Assert.True(run.ExitCode == 0, run.Error));
        Assert.Contains("(FL4165)", await RefusedAsync("telco", "job.json"), StringComparison.Ordinal);
        await coordinator.SaysAsync("(FL4165)");
    }

    [Fact]
    public async Task Stop_TrainingInProgress_IsCutNamedAndExitCodeIsZero()
    {
        DeathTests.RequireInterrupt();
        using var scene = new Scene();
        scene.Job(Scene.Endless(("transport.resumeSeconds", 0)));
        int port = Scene.FreePort();
        using ToolProcess coordinator = await StartAsync(scene, port, """, "stopSeconds": 0.5""");
        using ToolProcess bank = Train(scene, "bank", port), telco = Train(scene, "telco", port);
        await telco.SaysAsync("round 1 of 1000000");
        ToolProcess.Send(coordinator.Id, ToolProcess.Interrupt);
        ToolRun ended = await coordinator.EndAsync();
        Assert.True(ended.ExitCode == 0, ended.Error);
        Assert.Contains("cut connection 1: 'telco' to 'bank', job 'scene'", ended.Error, StringComparison.Ordinal);
        foreach (ToolRun run in await Task.WhenAll(bank.EndAsync(), telco.EndAsync()))
            Assert.Equal((4, true), (run.ExitCode, run.Error.Contains("(FL4007)", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Serve_ThroughACoordinator_ComesBackAfterItsDeath()
    {
        using var coordinating = new Scene();
        coordinating.Job();
        int port = Scene.FreePort();
        ToolProcess coordinator = await StartAsync(coordinating, port);
        try
        {
            using ServingScene serving = await ServingScene.StartAsync(coordinator: port);
            using ToolProcess telco = serving.Telco();
            await serving.ConnectedAsync();
            await AskAsync();
            coordinator.Kill();
            await coordinator.EndAsync();
            coordinator.Dispose();
            await serving.Bank.SaysAsync("party 'telco' left");
            coordinator = await StartAsync(coordinating, port);
            await serving.ConnectedAsync(2);
            await AskAsync();

            async Task AskAsync()
            {
                (int code, JsonNode? reply) = await serving.GetAsync("score/" + serving.Ids[3]);
                Assert.Equal(200, code);
                serving.AssertScored(reply, serving.Ids[3]);
            }
        }
        finally
        {
            coordinator.Dispose();
        }
    }

    [Fact]
    public async Task Coordinator_PortInUseOrFileFaulty_SaysSo()
    {
        using var scene = new Scene();
        scene.Job();
        int port = Scene.FreePort();
        using ToolProcess coordinator = await StartAsync(scene, port);
        ToolRun run = await ToolRun.Of("coordinator", "--config", scene.At("coordinator.party.json"));
        Assert.Equal((4, true), (run.ExitCode, run.Error.Contains("(FL4015)", StringComparison.Ordinal)));
        run = await ToolRun.Of("coordinator", "--config", scene.Write("faulty.party.json", """{ "jobs": ["absent.json"] }"""));
        Assert.Equal((2, true), (run.ExitCode, run.Error.Contains("2 faults", StringComparison.Ordinal)));
        run = await ToolRun.Of("coordinator", "--config", scene.Write("open.party.json", """{ "listen": "0.0.0.0:0", "jobs": ["job.json"] }"""));
        Assert.Equal((2, true), (run.ExitCode, run.Error.Contains("(FL2535)", StringComparison.Ordinal)));
    }
}
