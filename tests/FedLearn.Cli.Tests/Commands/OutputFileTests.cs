using FedLearn.Cli.Tests.Identity;
using FedLearn.Cli.Tests.Recommend;
using FedLearn.Cli.Tests.Sessions;

namespace FedLearn.Cli.Tests.Commands;

/// <summary>No result takes the place of what a command reads.</summary>
public sealed class OutputFileTests : IDisposable
{
    private readonly Scene _scene = new();

    public void Dispose() => _scene.Dispose();

    // Words that begin with @ are files of the scene.
    private async Task<ToolRun> RefusedAsync(string input, params string[] args)
    {
        string before = File.ReadAllText(_scene.At(input));
        ToolRun run = await ToolRun.Of([.. args.Select(a => a.StartsWith('@') ? _scene.At(a[1..]) : a)]);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL2100)", run.Error, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllText(_scene.At(input)));
        return run;
    }

    [Theory]
    [InlineData("job.json", "--html", "@job.json")]
    [InlineData("job.json", "--report", "@sub/../job.json")]
    [InlineData("bank.csv", "--report", "@bank.csv")]
    [InlineData("telco.schema.json", "--html", "@telco.schema.json")]
    [InlineData("split.csv", "--report", "@split.csv")]
    [InlineData("bank.ledger.db", "--report", "@bank.ledger.db")]
    [InlineData("models/bank.model.json", "--model", "@models")]
    public async Task Train_ResultInPlaceOfAnInput_IsRefused(string input, string option, string place)
    {
        _scene.Write("split.csv", ["id,fold", .. _scene.Cells("bank.csv").Concat(_scene.Cells("telco.csv")).Select(r => r["id"]).Distinct().Select((id, i) => $"{id},{(i % 5 == 0 ? "test" : "train")}")]);
        _scene.Write("bank.ledger.db", "a ledger");
        // A table under the name that a model would have.
        _scene.Write("models/bank.model.json", File.ReadAllLines(_scene.At("bank.schema.json")));
        _scene.Job(("evaluation.split", System.Text.Json.Nodes.JsonNode.Parse("""{ "path": "split.csv" }""")), ("parties.0.data.schema", "models/bank.model.json"));
        await RefusedAsync(input, "train", "--config", "@job.json", "--json", option, place);
    }

    [Fact]
    public async Task Train_LinkToAnInput_IsRefused()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need a privilege there.");
        _scene.Job();
        Directory.CreateSymbolicLink(_scene.At("other"), _scene.Folder);
        File.CreateSymbolicLink(_scene.At("again.csv"), "bank.csv");
        await RefusedAsync("bank.csv", "train", "--config", "@job.json", "--json", "--report", "@other/bank.csv");
        await RefusedAsync("bank.csv", "train", "--config", "@job.json", "--json", "--report", "@other/again.csv");
    }

    [Theory]
    [InlineData("telco.csv", "predict", "--out", "@telco.csv", "--model", "@models")]
    [InlineData("models/bank.model.json", "predict", "--out", "@models/bank.model.json", "--model", "@models")]
    [InlineData("job.json", "predict", "--out", "@scores.csv", "--model", "@models", "--report", "@job.json")]
    [InlineData("bank.csv", "align", "--report", "@bank.csv")]
    [InlineData("bank.csv", "compare", "--epsilons", "1", "--delta", "0.001", "--html", "@bank.csv")]
    [InlineData("job.json", "compare", "--epsilons", "1", "--delta", "0.001", "--report", "@job.json")]
    public async Task Verb_ResultInPlaceOfAnInput_IsRefused(string input, string verb, params string[] options)
    {
        _scene.Job();
        _scene.Write("models/bank.model.json", "a model");
        await RefusedAsync(input, [verb, "--config", "@job.json", "--json", .. options]);
    }

    [Theory]
    [InlineData("bank.party.json")]
    [InlineData("job.json")]
    [InlineData("bank.csv")]
    public async Task Party_ResultInPlaceOfAnInput_IsRefused(string input)
    {
        _scene.Job();
        _scene.Parties(Scene.FreePort());
        await RefusedAsync(input, "party", "--config", "@bank.party.json", "--json", "--report", $"@{input}");
        await RefusedAsync(input, "align", "--config", "@bank.party.json", "--json", "--out", $"@{input}");
    }

    [Theory]
    [InlineData("bank.key.pem")]
    [InlineData("bank.crt.pem")]
    public async Task Party_ResultInPlaceOfItsIdentity_IsRefused(string input)
    {
        _scene.Job();
        string telco = Keys.Make(_scene.Folder, "telco");
        Keys.Make(_scene.Folder, "bank");
        _scene.Write("bank.party.json", $$"""{ "job": "job.json", "party": "bank", "listen": "127.0.0.1:{{Scene.FreePort()}}", "tls": {{Keys.Tls("bank", ("telco", telco))}} }""");
        await RefusedAsync(input, "party", "--config", "@bank.party.json", "--json", "--report", $"@{input}");
    }

    [Theory]
    [InlineData("bank.csv", "@bank.csv")]
    [InlineData("models/bank.model.json", "@models/bank.model.json")]
    [InlineData("models/telco.model.json", "@scores.csv", "--report", "@models/telco.model.json")]
    public async Task Party_ScoresInPlaceOfAnInput_AreRefused(string input, string scores, params string[] more)
    {
        _scene.Job();
        _scene.Parties(Scene.FreePort());
        foreach (string party in (string[])["bank", "telco"])
            _scene.Write($"models/{party}.model.json", "a model");
        await RefusedAsync(input, ["party", "--config", "@bank.party.json", "--json", "--model", "@models", "--predict", scores, .. more]);
    }

    [Theory]
    [InlineData("--report", "@out", "--html", "@out")]
    [InlineData("--model", "@models", "--report", "@models/bank.model.json")]
    [InlineData("--model", "@out/models", "--html", "@out")]
    [InlineData("--model", "@models", "--predict", "@out", "--report", "@out")]
    public async Task Party_TwoResultsInOnePlace_IsRefused(params string[] options)
    {
        _scene.Job();
        _scene.Parties(Scene.FreePort());
        ToolRun run = await RefusedAsync("job.json", ["party", "--config", "@bank.party.json", "--json", .. options]);
        Assert.Contains("another result", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Report_ResultInPlaceOfAReport_IsRefused()
    {
        _scene.Write("report.json", "a report");
        await RefusedAsync("report.json", "report", "@report.json", "--json", "--html", "@report.json");
    }

    [Fact]
    public async Task ModelExport_FileOfTheModel_IsRefused()
    {
        _scene.Write("models/bank.model.json", "a model");
        await RefusedAsync("models/bank.model.json", "model", "export", "--model", "@models", "--party", "bank", "--json", "--onnx", "@models/bank.model.json");
    }

    [Fact]
    public async Task PrepareEvents_EventsInTheFolderThatIsReplaced_AreRefused()
    {
        _scene.Write("shop/events.csv", "user,item,time", "u,i,1");
        await RefusedAsync("shop/events.csv", "recommend", "prepare-events", "--events", "@shop/events.csv", "--out", "@shop", "--json");
    }

    [Fact]
    public async Task TopK_ListsInPlaceOfTheEvents_AreRefused()
    {
        using var scene = new RecommendScene();
        string job = scene.Job(), events = Directory.GetFiles(scene.Folder, "*.csv", SearchOption.AllDirectories).First(f => File.ReadAllText(job).Contains(Path.GetFileName(f), StringComparison.Ordinal)), before = File.ReadAllText(events);
        ToolRun run = await ToolRun.Of("recommend", "topk", "--config", job, "--model", scene.At("models"), "--out", events);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("(FL2100)", run.Error, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllText(events));
    }

    // The files that name users are read as well, and those of a model by whatever uses it.
    [Theory]
    [InlineData("users.txt", "topk", "--users", "@users.txt", "--out", "@users.txt")]
    [InlineData("models/service.model.json", "topk", "--out", "@models/service.model.json")]
    [InlineData("models/service.model.json", "evaluate", "--report", "@models/service.model.json")]
    [InlineData("models/taste.model.json", "evaluate", "--html", "@models/taste.model.json")]
    [InlineData("interactions.csv", "evaluate", "--report", "@interactions.csv")]
    [InlineData("interactions.csv", "party", "--evaluate", "--report", "@interactions.csv")]
    [InlineData("models/service.model.json", "party", "--evaluate", "--report", "@models/service.model.json")]
    [InlineData("models/service.model.json", "party", "--evaluate", "--html", "@models/service.model.json")]
    public async Task Recommend_ResultInPlaceOfAnInput_IsRefused(string input, string verb, params string[] options)
    {
        using var scene = new RecommendScene();
        string job = scene.Job(), party = scene.Write("service.party.json", $$"""{ "job": "job.json", "party": "service", "listen": "127.0.0.1:{{Scene.FreePort()}}" }""");
        foreach (string name in (string[])["users.txt", "models/service.model.json", "models/taste.model.json"])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(scene.At(name))!);
            scene.Write(name, "u05");
        }

        string before = File.ReadAllText(scene.At(input));
        ToolRun run = await ToolRun.Of([.. verb == "party" ? (string[])["party", "--config", party] : ["recommend", verb, "--config", job], "--model", scene.At("models"), "--json", .. options.Select(o => o.StartsWith('@') ? scene.At(o[1..]) : o)]);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL2100)", run.Error, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllText(scene.At(input)));
    }

    [Theory]
    [InlineData(".npy", false)]
    [InlineData(".ids.csv", false)]
    [InlineData(".npy", true)]
    public async Task TopK_ListsInPlaceOfTheVectors_AreRefused(string ending, bool isParty)
    {
        using var scene = new RecommendScene();
        string job = scene.Job(), party = scene.Write("service.party.json", $$"""{ "job": "job.json", "party": "service", "listen": "127.0.0.1:{{Scene.FreePort()}}" }""");
        string[] verb = isParty ? ["party", "--config", party, "--predict"] : ["recommend", "topk", "--config", job, "--out"];
        ToolRun run = await ToolRun.Of([.. verb, scene.At("items" + ending), "--model", scene.At("models"), "--vectors", scene.At("items")]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("another result", run.Error, StringComparison.Ordinal);
    }

    // A new model may take the place of the one that its training starts from; a report may not.
    [Theory]
    [InlineData("train", "--report")]
    [InlineData("train", "--html")]
    [InlineData("party", "--report")]
    [InlineData("party", "--html")]
    [InlineData("compare", "--report", "--epsilons", "1", "--delta", "0.001")]
    public async Task Train_ReportInPlaceOfTheModelItStartsFrom_IsRefused(string verb, string option, params string[] more)
    {
        _scene.Job(("training.warmStart", "models"));
        _scene.Parties(Scene.FreePort());
        _scene.Write("models/bank.model.json", "a model");
        await RefusedAsync("models/bank.model.json", [verb, "--config", verb == "party" ? "@bank.party.json" : "@job.json", "--json", option, "@models/bank.model.json", .. more]);
    }

    [Fact]
    public async Task Train_ModelInPlaceOfTheOneItStartsFrom_IsWritten()
    {
        string first = _scene.Job(), again = _scene.Named("again.job.json", ("training.warmStart", "models"));
        ToolRun run = await ToolRun.Of("train", "--config", first, "--model", _scene.At("models"), "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        int rounds = Rounds(run);
        run = await ToolRun.Of("train", "--config", again, "--model", _scene.At("models"), "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        // It starts where the other one ended.
        Assert.True(Rounds(run) < rounds, $"{Rounds(run)} of {rounds}");

        static int Rounds(ToolRun run) => (int)System.Text.Json.Nodes.JsonNode.Parse(run.Output)!["timing"]!["epochs"]!;
    }

    [Theory]
    [InlineData("train", "--report", "@out", "--html", "@out")]
    [InlineData("train", "--report", "@out", "--html", "@sub/../out")]
    [InlineData("train", "--model", "@models", "--report", "@models/telco.model.json")]
    [InlineData("train", "--model", "@models", "--report", "@models")]
    [InlineData("train", "--model", "@out/models", "--html", "@out")]
    [InlineData("predict", "--model", "@models", "--out", "@out", "--report", "@out")]
    [InlineData("align", "--out", "@lists", "--report", "@lists/bank.aligned.csv")]
    [InlineData("compare", "--epsilons", "1", "--delta", "0.001", "--report", "@out", "--html", "@out")]
    public async Task Verb_TwoResultsInOnePlace_IsRefused(string verb, params string[] options)
    {
        _scene.Job();
        ToolRun run = await RefusedAsync("job.json", [verb, "--config", "@job.json", "--json", .. options]);
        Assert.Contains("another result", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_Link_WritesWhatItLeadsTo()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need a privilege there.");
        _scene.Write("there/report.json", "before");
        File.CreateSymbolicLink(_scene.At("link"), "there/report.json");
        File.CreateSymbolicLink(_scene.At("nowhere"), "there/new.json");

        OutputFile.CheckApart([], null, _scene.At("link"), _scene.At("nowhere"));
        OutputFile.Write(_scene.At("link"), "after");
        OutputFile.Write(_scene.At("nowhere"), "new");

        Assert.Equal(("after", "new"), (File.ReadAllText(_scene.At("there/report.json")), File.ReadAllText(_scene.At("there/new.json"))));
        Assert.Equal(("there/report.json", "there/new.json"), (new FileInfo(_scene.At("link")).LinkTarget, new FileInfo(_scene.At("nowhere")).LinkTarget));
    }

    // Whoever reads a result while it is replaced has the old one whole, and a write that fails leaves it.
    [Fact]
    public void Write_OverAFile_LeavesTheOldOrTheNewAndNothingBeside()
    {
        string path = _scene.Write("there/report.json", "before");
        using (var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete)))
        {
            OutputFile.Write(path, "after");
            Assert.Equal("before\n", reader.ReadToEnd());
        }

        Assert.Equal(CliErrors.CannotWrite, Assert.Throws<Diagnostics.ConfigurationException>(() => OutputFile.Write(path, unfinished =>
        {
            File.WriteAllText(unfinished, "half");
            throw new IOException("It broke.");
        })).Id);
        Assert.Equal("after", File.ReadAllText(path));
        Assert.Equal([path], Directory.GetFiles(_scene.At("there")));
    }

    [Fact]
    public async Task Write_NamedPipe_WritesIntoIt()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Pipes are told from files on Linux.");
        string pipe = _scene.At("pipe");
        using (var made = System.Diagnostics.Process.Start("mkfifo", pipe))
            await made.WaitForExitAsync(TestContext.Current.CancellationToken);
        Task<string> read = Task.Run(() => File.ReadAllText(pipe), TestContext.Current.CancellationToken);

        OutputFile.CheckApart([], null, pipe, pipe);
        OutputFile.Write(pipe, "through the pipe");

        // Of a file in its place the reader would not know.
        Assert.Equal("through the pipe", await read.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Write_Device_WritesIntoIt()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Devices are told from files on Linux.");
        string link = _scene.At("null"), full = _scene.At("full");
        File.CreateSymbolicLink(link, "/dev/null");
        File.CreateSymbolicLink(full, "/dev/full");

        OutputFile.CheckApart([link], null, link, link);
        OutputFile.Write(link, "text");

        Assert.Equal(("/dev/null", 0), (new FileInfo(link).LinkTarget, File.ReadAllText(link).Length));
        Assert.Equal(CliErrors.CannotWrite, Assert.Throws<Diagnostics.ConfigurationException>(() => OutputFile.Write(full, "text")).Id);
    }

    [Fact]
    public async Task Predict_StandardOutputOfAnotherProcess_IsRefused()
    {
        _scene.Job(("transport.kind", "grpc"));
        ToolRun run = await ToolRun.Of("predict", "--config", _scene.At("job.json"), "--model", _scene.At("models"), "--out", "/dev/stdout");
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("(FL2101)", run.Error, StringComparison.Ordinal);
    }

    /// <summary>Where the active party writes in this process, an open file of this process is what the caller means.</summary>
    [Theory]
    [InlineData("grpc")]
    [InlineData("in-memory")]
    public async Task Predict_OpenFileOfThisProcess_IsWrittenInto(string transport)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Open files have paths on Linux.");
        string job = _scene.Job(("transport.kind", transport));
        Assert.Equal(0, (await ToolRun.Of("train", "--config", job, "--model", _scene.At("models"), "--in-process")).ExitCode);
        string[] predict = ["predict", "--config", job, "--model", _scene.At("models"), .. transport == "grpc" ? (string[])["--in-process"] : []];
        Assert.Equal(0, (await ToolRun.Of([.. predict, "--out", _scene.At("scores.csv")])).ExitCode);
        using (var open = new FileStream(_scene.At("open.csv"), FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite))
        {
            ToolRun run = await ToolRun.Of([.. predict, "--out", string.Create(System.Globalization.CultureInfo.InvariantCulture, $"/dev/fd/{open.SafeFileHandle.DangerousGetHandle()}")]);
            Assert.True(run.ExitCode == 0, run.Error);
        }

        Assert.Equal(File.ReadAllText(_scene.At("scores.csv")), File.ReadAllText(_scene.At("open.csv")));
    }

    [Fact]
    public async Task Train_ResultBesideTheInputs_IsWritten()
    {
        ToolRun run = await ToolRun.Of("train", "--config", _scene.Job(), "--model", _scene.Folder, "--report", _scene.At("report.json"));
        Assert.True(run.ExitCode == 0, run.Error);
        // The same again: what a command wrote is none of its inputs.
        Assert.Equal(0, (await ToolRun.Of("train", "--config", _scene.At("job.json"), "--model", _scene.Folder, "--report", _scene.At("report.json"))).ExitCode);
    }
}
