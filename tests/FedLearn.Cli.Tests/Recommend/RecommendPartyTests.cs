using System.Text.Json.Nodes;
using FedLearn.Cli.Recommend;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Dssm;
using FedLearn.Protocol;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Cli.Tests.Recommend;

/// <summary>What companies do with a recommendation model that they have trained, each with its own part of it.</summary>
public sealed class RecommendPartyTests : IDisposable
{
    private static readonly string[] Parties = ["service", "profile", "taste"];

    private readonly RecommendScene _scene = new();

    /// <summary>Runs the tool in this process, on towers without a native library.</summary>
    private Func<string[], Task<ToolRun>> _run = RecommendScene.RunAsync;

    public void Dispose() => _scene.Dispose();

    /// <summary>Trains the job on one machine, gives each party its part of the model in a folder of its own, and writes the party files.</summary>
    /// <param name="job">The job.</param>
    /// <param name="route">What every party file has beside job and party; null: the service listens, and the others connect to it.</param>
    private async Task TrainAsync(string job, string? route = null)
    {
        ToolRun run = await _run(["recommend", "train", "--config", job, "--model", _scene.At("models")]);
        Assert.True(run.ExitCode == 0, run.Error);
        int port = Scene.FreePort();
        foreach (string party in Parties)
        {
            Directory.CreateDirectory(_scene.At(party));
            File.Copy(_scene.At($"models/{party}.model.json"), _scene.At($"{party}/{party}.model.json"));
            string way = route ?? (party == "service" ? $"\"listen\": \"127.0.0.1:{port}\"" : $"\"peers\": [\"127.0.0.1:{port}\"]");
            _scene.Write($"{party}.party.json", $$"""{ "job": "{{Path.GetFileName(job)}}", "party": "{{party}}", {{way}} }""");
        }
    }

    private string[] Arguments(string party, params string[] options) => ["party", "--config", _scene.At($"{party}.party.json"), "--model", _scene.At(party), .. options];

    private Task<ToolRun> PartyAsync(string party, params string[] options) => _run(Arguments(party, options));

    private async Task<JsonObject> HereAsync(params string[] args) => Json(await _run(["recommend", .. args, "--config", _scene.At("job.json"), "--model", _scene.At("models"), "--json"]));

    private static JsonObject Json(ToolRun run)
    {
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    private static void AssertRefused(int code, string id, ToolRun run)
    {
        Assert.Equal((code, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Party_ProcessesOfItsOwnForEachCompany_GiveTheListsAndFiguresOfOneMachine()
    {
        Assert.SkipUnless(LibTorchTowers.IsAvailable, "the native library of towers is not on this machine");
        _run = ToolRun.Of; // libtorch here too, as in processes of their own
        await TrainAsync(_scene.Job());
        string users = _scene.Write("users.txt", "u05", "u01", "u28");
        async Task<JsonObject[]> SessionAsync(Func<string, string[]> options)
        {
            ToolProcess[] running = [.. Parties.Select(party => ToolProcess.Start([.. Arguments(party, options(party)), "--json"]))];
            try
            {
                return [.. (await Task.WhenAll(running.Select(process => process.EndAsync()))).Select(Json)];
            }
            finally
            {
                foreach (ToolProcess process in running)
                    process.Dispose();
            }
        }

        JsonObject[] predicted = await SessionAsync(party => party == "service" ? ["--predict", _scene.At("party.csv"), "--k", "3", "--users", users, "--vectors", _scene.At("party.items")] : ["--predict", "unused"]);
        JsonObject lists = await HereAsync("topk", "--out", _scene.At("lists.csv"), "--k", "3", "--users", users, "--vectors", _scene.At("items"));
        Assert.Equal(1 + (3 * 3), File.ReadLines(_scene.At("lists.csv")).Count());
        Assert.Equal(File.ReadAllText(_scene.At("lists.csv")), File.ReadAllText(_scene.At("party.csv")));
        Assert.Equal(File.ReadAllBytes(_scene.At("items.npy")), File.ReadAllBytes(_scene.At("party.items.npy")));
        Assert.False(File.Exists("unused"));
        Assert.Equal([(3, 3), (null, null), (null, null)], predicted.Select(p => ((int?)p["rows"], (int?)p["k"])));
        AssertSame(lists, predicted);
        Assert.All(predicted[1..], p => Assert.Contains(p["warnings"]!.AsArray(), w => ((string)w!).Contains("disclosed its vectors", StringComparison.Ordinal)));

        JsonObject[] measured = await SessionAsync(_ => ["--evaluate"]);
        JsonObject evaluated = await HereAsync("evaluate");
        foreach (string figures in (string[])["metrics", "intervals", "baselines", "rows"])
            Assert.Equal(evaluated[figures]!.ToJsonString(), measured[0][figures]!.ToJsonString());
        Assert.NotNull(measured[0]["metrics"]!["coldUsers"]!["hr10Full"]);
        // The figures are the active party's knowledge.
        Assert.All(measured[1..], m => Assert.Null(m["metrics"]!["test"]));
        AssertSame(evaluated, measured);
    }

    /// <summary>Each party's report has what it sent, as that of one machine has it.</summary>
    private static void AssertSame(JsonObject whole, JsonObject[] parties)
    {
        Assert.Equal(Parties, whole["parties"]!.AsArray().Select(p => (string)p!["name"]!));
        foreach ((JsonNode? due, JsonObject own) in whole["parties"]!.AsArray().Zip(parties))
        {
            JsonNode party = Assert.Single(own["parties"]!.AsArray())!;
            Assert.Equal((string)due!["name"]!, (string)party["name"]!);
            Assert.Equal(due["releases"]!.ToJsonString(), party["releases"]!.ToJsonString());
            Assert.Equal((string)party["role"]! == "passive", party["releases"]!.AsArray().Any(r => ((string)r!["name"]!).StartsWith("embeddings: ", StringComparison.Ordinal)));
        }
    }

    [Fact]
    public async Task Party_NewUsersOrPurposeNotAgreedOn_IsRefusedAndTheOthersGoOn()
    {
        await TrainAsync(_scene.Job());
        // u30 is in the profile company's table alone, and nobody knows u99.
        string users = _scene.Write("users.txt", "u05", "u30", "u99");
        ToolRun alone = await PartyAsync("service", "--predict", _scene.At("party.csv"), "--users", users);
        AssertRefused(2, DssmErrors.NewUsers, alone);
        Assert.Contains("2 users of whom it has no events", alone.Error, StringComparison.Ordinal);

        Task<ToolRun> service = PartyAsync("service", "--predict", _scene.At("party.csv"), "--users", users, "--new-users", "--k", "2", "--include-met", "--json");
        ToolRun silent = await PartyAsync("taste", "--predict", "unused");
        AssertRefused(4, ProtocolErrors.DifferentJob, silent);
        Assert.Contains("differs from the host's in: users.", silent.Error, StringComparison.Ordinal);
        Assert.Contains("--new-users at all or at none", silent.Error.ReplaceLineEndings(" "), StringComparison.Ordinal);
        ToolRun other = await PartyAsync("taste", "--evaluate");
        AssertRefused(4, ProtocolErrors.DifferentJob, other);
        Assert.Contains("differs from the host's in: name.", other.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(_scene.At("party.csv")));

        JsonObject[] agreed = [.. (await Task.WhenAll(service, PartyAsync("profile", "--predict", "unused", "--new-users", "--json"), PartyAsync("taste", "--predict", "unused", "--new-users", "--json"))).Select(Json)];
        await HereAsync("topk", "--out", _scene.At("lists.csv"), "--users", users, "--k", "2", "--include-met");
        Assert.Equal(File.ReadAllText(_scene.At("lists.csv")), File.ReadAllText(_scene.At("party.csv")));
        Assert.Contains(agreed[1]["warnings"]!.AsArray(), w => ((string)w!).Contains("which may have no events of them", StringComparison.Ordinal));

        // The digest that companies compare by telephone says it too.
        string[] digests = [.. await Task.WhenAll(((string[][])[[], ["--evaluate"], ["--predict", "x"], ["--predict", "x", "--new-users"]]).Select(async options => (await PartyAsync("taste", [.. options, "--digest"])).Output))];
        Assert.Equal(4, digests.Distinct().Count());
    }

    [Theory]
    [InlineData("--evaluate")]
    [InlineData("--predict", "lists.csv")]
    public async Task Party_PrivateJobThatDisclosesNoVectors_IsRefusedAtEveryPartyAsOnOneMachine(params string[] asked)
    {
        await TrainAsync(_scene.Job(RecommendScene.Private(("privacy.evaluation", "none"))));
        string[] options = [.. asked.Select(text => text.EndsWith(".csv", StringComparison.Ordinal) ? _scene.At(text) : text)];
        // Each for itself, before it meets the others.
        foreach (string party in Parties)
            AssertRefused(5, DssmErrors.NoVectorsLeave, await PartyAsync(party, [.. options, "--json"]));
        string[] verb = asked is ["--predict", ..] ? ["topk", "--out", _scene.At("lists.csv")] : ["evaluate"];
        AssertRefused(5, DssmErrors.NoVectorsLeave, await RecommendScene.RunAsync(["recommend", .. verb, "--config", _scene.At("job.json"), "--model", _scene.At("models"), "--json"]));
        Assert.False(File.Exists(_scene.At("lists.csv")));
    }

    [Fact]
    public async Task Party_PrivateJobThroughACoordinator_DisclosesTheVectorsByName()
    {
        int port = Scene.FreePort();
        await TrainAsync(_scene.Job(RecommendScene.Private()), $"\"relay\": \"127.0.0.1:{port}\"");
        using ToolProcess coordinator = ToolProcess.Start("coordinator", "--config", _scene.Write("coordinator.json", $$"""{ "listen": "127.0.0.1:{{port}}", "jobs": ["job.json"] }"""));
        await coordinator.SaysAsync("listening on");
        async Task<JsonObject[]> SessionAsync(params string[] options) => [.. (await Task.WhenAll(Parties.Select(party => PartyAsync(party, [.. options, "--json"])))).Select(Json)];
        JsonObject[] measured = await SessionAsync("--evaluate");
        Assert.Equal((await HereAsync("evaluate"))["metrics"]!.ToJsonString(), measured[0]["metrics"]!.ToJsonString());
        Assert.All(measured[1..], m => Assert.Contains("no claim of the training covers them", (string)m["parties"]![0]!["privacy"]!["warnings"]![0]!, StringComparison.Ordinal));
        JsonObject[] predicted = await SessionAsync("--predict", _scene.At("party.csv"), "--new-users");
        await HereAsync("topk", "--out", _scene.At("lists.csv"));
        Assert.Equal(File.ReadAllText(_scene.At("lists.csv")), File.ReadAllText(_scene.At("party.csv")));
        Assert.All(predicted[1..], p => Assert.Contains(p["parties"]![0]!["releases"]!.AsArray(), r => ((string)r!["name"]!, (string)r["protection"]!) == ("embeddings: recommendation", "none")));
    }

    [Fact]
    public async Task Party_OptionsThatDoNotGoTogether_AreRefused()
    {
        _scene.Job();
        string service = _scene.Write("service.party.json", """{ "job": "job.json", "party": "service", "listen": "127.0.0.1:5301" }"""),
            taste = _scene.Write("taste.party.json", """{ "job": "job.json", "party": "taste", "peers": ["127.0.0.1:5301"] }"""), users = _scene.Write("users.txt", "u05"), lists = _scene.At("lists.csv");
        using var linear = new Scene();
        linear.Job();
        string bank = linear.Parties(5301).Bank;
        async Task RefusedAsync(string id, params string[] options) => AssertRefused(2, id, await ToolRun.Of(["party", "--config", .. options]));
        await RefusedAsync(CliErrors.OptionsDisagree, service, "--k", "5");
        await RefusedAsync(CliErrors.OptionsDisagree, service, "--new-users");
        await RefusedAsync(CliErrors.OptionsDisagree, service, "--evaluate", "--users", users);
        await RefusedAsync(CliErrors.OptionsDisagree, service, "--evaluate", "--predict", lists);
        await RefusedAsync(CliErrors.OptionsDisagree, service, "--evaluate", "--service");
        await RefusedAsync(CliErrors.OptionsDisagree, taste, "--evaluate", "--serve");
        await RefusedAsync(CliErrors.OptionsDisagree, taste, "--predict", lists, "--serve");
        await RefusedAsync(CliErrors.OptionsDisagree, taste, "--predict", lists, "--k", "5");
        await RefusedAsync(CliErrors.Usage, service, "--predict", users, "--users", users);
        await RefusedAsync(RecommendErrors.ListLength, service, "--predict", lists, "--k", "0");
        await RefusedAsync(RunFileErrors.OtherModel, bank, "--evaluate");
        await RefusedAsync(RunFileErrors.OtherModel, bank, "--predict", lists, "--k", "5");
    }
}
