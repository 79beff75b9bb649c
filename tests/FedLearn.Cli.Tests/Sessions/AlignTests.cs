using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Alignment;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Data;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>fedlearn align, and jobs that align by private set intersection.</summary>
public sealed class AlignTests : IDisposable
{
    private readonly Scene _scene = new();

    public AlignTests() => Sodium.Require();

    public void Dispose() => _scene.Dispose();

    private static (string, JsonNode?) Psi => ("alignment", "psi");

    [Fact]
    public void State_OfTwoJobsWithOnePeer_IsInTwoFolders()
    {
        string StateOf(string name, string verb, params (string, JsonNode?)[] changes)
        {
            RunFile run = RunFile.Load(_scene.Named($"{name}.job.json", [Psi, ("name", name), ("parties.1.ledger.path", "telco.ledger.db"), .. changes]));
            return Alignments.Options(new SessionOrder(run, verb), run.Parties[1], out _).StateDirectory!;
        }

        // Beside each other, so that a service's jobs do not wait for each other's folders; and found again by the same job.
        string credit = StateOf("credit", "train"), churn = StateOf("churn", "train");
        Assert.Equal(credit, StateOf("credit", "train"));
        Assert.Equal(3, new[] { credit, churn, StateOf("credit", "predict") }.Distinct().Count());
        Assert.All([credit, churn], folder => Assert.Equal(_scene.At("telco.alignment"), Path.GetDirectoryName(folder)));
        Assert.Equal(_scene.At("mine"), StateOf("credit", "train", ("parties.1.alignment", JsonNode.Parse("""{ "state": "mine" }"""))));
    }

    [Fact]
    public void Options_OfAParty_AreWhatItsFilesSay()
    {
        RunFile run = RunFile.Load(_scene.Job(("alignment", JsonNode.Parse("""{ "method": "psi", "proof": true }""")), ("transport.timeoutSeconds", 7),
            ("parties.1.alignment", JsonNode.Parse("""{ "padTo": 100, "threads": 2, "engine": "sodium", "peerIds": 500, "sessionsPerDay": 3 }"""))));
        PsiOptions options = Alignments.Options(new SessionOrder(run, "train"), run.Parties[1], out _);
        Assert.Equal((true, 100, 2, PsiEngine.Sodium), (options.Proof, options.PadTo, options.Threads, options.Engine));
        Assert.Equal((500, 3), (options.Caps.PeerIds, options.Caps.SessionsPerDay));
        Assert.Equal(TimeSpan.FromMinutes(7), options.WaitLimit);
    }

    private static async Task<JsonObject> DocumentAsync(params string[] args)
    {
        ToolRun run = await ToolRun.Of([.. args, "--json"]);
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    private static async Task RefusedAsync(int exitCode, string id, string part, params string[] args)
    {
        ToolRun run = await ToolRun.Of(args);
        Assert.True((run.ExitCode, run.Error.Contains(id, StringComparison.Ordinal), run.Error.Contains(part, StringComparison.Ordinal)) == (exitCode, true, true), run.Error);
        Assert.Empty(run.Output);
    }

    /// <summary>What the index of a table has to be, from the tables in the clear.</summary>
    private string[] Index(string table, string other, long seed)
    {
        string[] ids = [.. _scene.Cells(table).Select(row => row["id"])], theirs = [.. _scene.Cells(other).Select(row => row["id"])];
        string[] common = [.. ids.Intersect(theirs)];
        return ["row,id", .. RowIds.Order(common, seed).Rows.Select(i => $"{Array.IndexOf(ids, common[i])},{common[i]}")];
    }

    private IReadOnlyList<LoggedAlignment> Logged(string party) => SqliteLedger.Audit(_scene.At($"{party}.ledger.db")).Alignments;

    [Theory]
    [InlineData("in-memory")]
    [InlineData("grpc")]
    public async Task Align_JobFile_WritesAnIndexForEachPartyInTheCommonOrder(string transport)
    {
        string job = _scene.Job(Psi, ("training.seed", 9), ("transport.kind", transport));
        JsonObject document = await DocumentAsync("align", "--config", job, "--report", _scene.At("report.json"));
        Assert.Equal(["bank.aligned.csv", "report.json", "telco.aligned.csv"], _scene.Results);
        Assert.Equal(Index("bank.csv", "telco.csv", 9), File.ReadAllLines(_scene.At("bank.aligned.csv")));
        Assert.Equal(Index("telco.csv", "bank.csv", 9), File.ReadAllLines(_scene.At("telco.aligned.csv")));
        // It tells who is a customer of both.
        foreach (string party in (string[])["bank", "telco"])
            if (!OperatingSystem.IsWindows())
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_scene.At($"{party}.aligned.csv")));
        Assert.Equal(("psi", "both", false, Scene.Common), ((string)document["alignment"]!["method"]!, (string)document["alignment"]!["output"]!,
            (bool)document["alignment"]!["proof"]!, (int)document["alignment"]!["commonRows"]!));
        Assert.NotEmpty(document["alignment"]!["leaks"]!.AsArray());
        Assert.Equal([("bank", 245, 0), ("telco", 247, 0)], document["parties"]!.AsArray().Select(p => ((string)p!["name"]!, (int)p["ids"]!, (int)p["repeatedRows"]!)));
        // The ledger has it at both parties, with the numbers that the peer could test.
        foreach ((string party, string peer, int own, int theirs) in ((string, string, int, int)[])[("bank", "telco", 245, 247), ("telco", "bank", 247, 245)])
        {
            LoggedAlignment logged = Assert.Single(Logged(party));
            Assert.Equal((party, peer, "both", own, theirs, Scene.Common), (logged.Record.Party, logged.Record.Peer, logged.Record.Output, logged.Record.OwnIds, logged.Record.PeerIds, logged.CommonIds!.Value));
        }

        ToolRun show = await ToolRun.Of("ledger", "show", "--ledger", _scene.At("bank.ledger.db"), "--json");
        Assert.Equal(Scene.Common, (int)Assert.Single(JsonNode.Parse(show.Output)!["alignments"]!.AsArray())!["commonIds"]!);
        Assert.Contains("telco", show.Error, StringComparison.Ordinal);
        Assert.Contains("all rows verify: 2:", (await ToolRun.Of("ledger", "verify", "--ledger", _scene.At("bank.ledger.db"))).Output, StringComparison.Ordinal);
    }

    private async Task<(ToolRun Bank, ToolRun Telco)> PartiesAsync(string[] bankOptions, string[] telcoOptions)
    {
        (string bankFile, string telcoFile) = _scene.Parties(Scene.FreePort());
        using ToolProcess bank = ToolProcess.Start(["align", "--config", bankFile, .. bankOptions]), telco = ToolProcess.Start(["align", "--config", telcoFile, .. telcoOptions]);
        return (await bank.EndAsync(), await telco.EndAsync());
    }

    [Fact]
    public async Task Align_OneSidedOutput_GivesTheIndexToThatPartyAlone()
    {
        _scene.Job(Psi);
        string bankIndex = _scene.At("found.csv");
        (ToolRun bank, ToolRun telco) = await PartiesAsync(["--output", "active-only", "--out", bankIndex, "--json"], ["--output", "active-only", "--json"]);
        Assert.True((bank.ExitCode, telco.ExitCode) == (0, 0), bank.Error + telco.Error);
        Assert.Equal(Index("bank.csv", "telco.csv", 0), File.ReadAllLines(bankIndex));
        Assert.Equal(["found.csv"], _scene.Results);
        Assert.Null(JsonNode.Parse(telco.Output)!["alignment"]!["commonRows"]);
        Assert.Equal(Scene.Common, (int)JsonNode.Parse(bank.Output)!["alignment"]!["commonRows"]!);
        Assert.Null(Assert.Single(Logged("telco")).CommonIds);
        // Whoever does not learn is told what the other could have tested.
        static bool TellsOfTests(ToolRun run) => JsonNode.Parse(run.Output)!["alignment"]!["leaks"]!.AsArray().Any(l => ((string)l!).Contains("that brings invented ids learns which of them the other has", StringComparison.Ordinal));
        Assert.Equal((false, true), (TellsOfTests(bank), TellsOfTests(telco)));
        Assert.Contains("not told", telco.Error, StringComparison.Ordinal);
        await RefusedAsync(2, "FL2524", "active-only", "align", "--config", _scene.At("telco.party.json"), "--output", "active-only", "--out", _scene.At("x.csv"));
    }

    [Fact]
    public async Task Align_SizeOnly_TellsTheSizeAndNoRows()
    {
        string job = _scene.Job(("alignment", JsonNode.Parse("""{ "method": "psi", "output": "size-only" }""")));
        JsonObject document = await DocumentAsync("align", "--config", job);
        Assert.Equal(Scene.Common, (int)document["alignment"]!["commonRows"]!);
        Assert.All(document["parties"]!.AsArray(), p => Assert.Null(p!["index"]));
        Assert.Empty(_scene.Results);
        // What no training could use is refused by every other verb.
        await RefusedAsync(2, "FL2520", "size-only", "train", "--config", job);
        await RefusedAsync(2, "FL2520", "alignment.output", "predict", "--config", job, "--model", _scene.Folder, "--out", _scene.At("s.csv"));
        await RefusedAsync(2, "FL2101", "size alone", "align", "--config", job, "--proof");
    }

    [Theory]
    [InlineData("--output", "active-only", "alignment.output")]
    [InlineData("--proof", "true", "alignment.proof")]
    public async Task Align_SettingsDiffer_TheOtherSideSaysWhat(string option, string value, string part)
    {
        _scene.Job(Psi);
        (string bankFile, string telcoFile) = _scene.Parties(Scene.FreePort(), (5, 5));
        using ToolProcess bank = ToolProcess.Start("align", "--config", bankFile, option, value), telco = ToolProcess.Start("align", "--config", telcoFile);
        ToolRun refused = await telco.EndAsync();
        Assert.Equal(4, refused.ExitCode);
        Assert.Contains(part, refused.Error, StringComparison.Ordinal);
        Assert.Equal(4, (await bank.EndAsync()).ExitCode);
        Assert.Empty(_scene.Results);
    }

    [Fact]
    public async Task Align_Proof_FindsTheSame()
    {
        await DocumentAsync("align", "--config", _scene.Job(Psi), "--proof");
        Assert.Equal(Index("bank.csv", "telco.csv", 0), File.ReadAllLines(_scene.At("bank.aligned.csv")));
    }

    [Fact]
    public async Task Align_IdsOfSeveralColumns_ComeOutAsTheSameColumns()
    {
        _scene.Write("bank.csv", "name,born,y,age", "Ana,1980,1,0.1", "Bo,1990,0,0.2", "Bo,1991,1,0.3", "\"Li, Mo\",1970,0,0.4");
        _scene.Write("telco.csv", "who,year,calls", "Li,1970,0.1", "Bo,1991,0.2", "\" Li, Mo\",1970,0.5", "Ana,1981,0.4");
        string job = _scene.Job(Psi, ("parties.0.data", JsonNode.Parse("""{ "path": "bank.csv", "id": ["name", "born"], "label": "y" }""")),
            ("parties.1.data", JsonNode.Parse("""{ "path": "telco.csv", "id": ["who", "year"] }""")), ("evaluation", null));
        await DocumentAsync("align", "--config", job);
        Assert.Equal(["row,name,born", "2,Bo,1991", "3,\"Li, Mo\",1970"], File.ReadLines(_scene.At("bank.aligned.csv")).Order(StringComparer.Ordinal).Reverse().Take(1).Concat(
            File.ReadLines(_scene.At("bank.aligned.csv")).Skip(1).Order(StringComparer.Ordinal)));
        Assert.Equal("row,who,year", File.ReadLines(_scene.At("telco.aligned.csv")).First());
        Assert.Equal(["1,Bo,1991", "2,\"Li, Mo\",1970"], File.ReadLines(_scene.At("telco.aligned.csv")).Skip(1).Order(StringComparer.Ordinal));
        // Scores come with the same columns; training takes such ids too.
        JsonObject report = await DocumentAsync("train", "--config", job, "--model", _scene.At("models"));
        Assert.Equal(("psi", 2), ((string)report["alignment"]!["method"]!, (int)report["alignment"]!["commonRows"]!));
        await DocumentAsync("predict", "--config", job, "--model", _scene.At("models"), "--out", _scene.At("scores.csv"));
        string[] scores = File.ReadAllLines(_scene.At("scores.csv"));
        Assert.Equal("name,born,score,prediction", scores[0]);
        Assert.Equal(["Bo,1991", "\"Li, Mo\",1970"], scores.Skip(1).Select(line => line[..line.LastIndexOf(',', line.LastIndexOf(',') - 1)]));

        string one = _scene.Named("one.job.json", Psi, ("parties.0.data", JsonNode.Parse("""{ "path": "bank.csv", "id": ["name", "born"], "label": "y" }""")),
            ("parties.1.data", JsonNode.Parse("""{ "path": "telco.csv", "id": "who" }""")), ("evaluation", null));
        await RefusedAsync(4, "FL4", "number of id columns", "align", "--config", one);
        File.WriteAllText(_scene.At("telco.csv"), "who,year,calls\nBo\u001f1991,1,0.2\n");
        await RefusedAsync(3, "FL3151", "line 2", "align", "--config", job);
        _scene.Write("telco.csv", "who,year,calls", "Bo,,0.2");
        await RefusedAsync(3, "FL3008", "column 'year'", "align", "--config", job);
    }

    [Fact]
    public async Task Align_RepeatedIds_AreRefusedUnlessTheFirstIsAskedFor()
    {
        string job = _scene.Job(Psi);
        string repeated = _scene.Cells("telco.csv")[3]["id"];
        File.AppendAllText(_scene.At("telco.csv"), $"{repeated},0.5,0.5\n");
        await RefusedAsync(3, "FL3009", "telco.csv", "align", "--config", job);
        JsonObject document = await DocumentAsync("align", "--config", job, "--duplicates", "first");
        Assert.Equal([0, 1], document["parties"]!.AsArray().Select(p => (int)p!["repeatedRows"]!));
        Assert.DoesNotContain(File.ReadLines(_scene.At("telco.aligned.csv")), line => line.StartsWith("247,", StringComparison.Ordinal));
        Assert.Equal(Index("telco.csv", "bank.csv", 0), File.ReadAllLines(_scene.At("telco.aligned.csv")));
    }

    [Fact]
    public async Task Align_AbsentLabelOrFeature_IsNoFault()
    {
        string job = _scene.Job(Psi);
        _scene.Write("bank.csv", "id", "c_0003", "c_0001", "nobody");
        JsonObject document = await DocumentAsync("align", "--config", job);
        Assert.Equal(2, (int)document["alignment"]!["commonRows"]!);
        // Few of telco's rows, and most of the bank's.
        string few = Assert.Single(document["alignment"]!["warnings"]!.AsArray().Select(w => (string)w!), w => w.StartsWith("only ", StringComparison.Ordinal));
        Assert.StartsWith("only 2 of the 247 rows of 'telco' are common", few, StringComparison.Ordinal);
        _scene.Write("bank.csv", "identity", "c_0003");
        await RefusedAsync(3, "FL3001", "bank.csv", "align", "--config", job);
    }

    [Fact]
    public async Task Align_CapsOfAParty_AreKept()
    {
        string job = _scene.Job(Psi, ("parties.0.alignment", JsonNode.Parse("""{ "sessionsPerDay": 1 }""")));
        await DocumentAsync("align", "--config", job);
        await RefusedAsync(5, "FL5160", "telco", "align", "--config", job);
        Assert.Single(Logged("bank"));
        string few = _scene.Named("few.job.json", Psi, ("name", "few"), ("parties.1.alignment", JsonNode.Parse("""{ "peerIds": 244 }""")));
        await RefusedAsync(5, "FL5161", "245", "align", "--config", few);
    }

    [Theory]
    [InlineData("train")]
    [InlineData("align")]
    public async Task Run_NoAlignmentNamed_OverGrpcIsPsi(string verb)
    {
        string job = _scene.Job(("alignment", null), ("transport.kind", "grpc"));
        JsonObject document = await DocumentAsync(verb, "--config", job, "--in-process");
        Assert.Equal("psi", (string)document["alignment"]!["method"]!);
        Assert.DoesNotContain(document["warnings"]?.AsArray() ?? [], w => ((string)w!).Contains("alignment is absent", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Align_ThreeParties_FindsWhatAllHave()
    {
        _scene.Write("shop.csv", "id,spent", "c_0002,1", "c_0100,2", "c_0246,3", "c_0243,4");
        string job = _scene.Job(Psi);
        JsonObject with = JsonNode.Parse(File.ReadAllText(job))!.AsObject();
        with["parties"]!.AsArray().Add(JsonNode.Parse("""{ "name": "shop", "role": "passive", "data": { "path": "shop.csv", "id": "id" } }"""));
        File.WriteAllText(job, with.ToJsonString());
        JsonObject document = await DocumentAsync("align", "--config", job);
        Assert.Equal(2, (int)document["alignment"]!["commonRows"]!);
        string[][] indexes = [.. new[] { "bank", "telco", "shop" }.Select(party => File.ReadLines(_scene.At($"{party}.aligned.csv")).Skip(1).Select(line => line.Split(',')[1]).ToArray())];
        Assert.Equal(["c_0002", "c_0100"], indexes[0].Order(StringComparer.Ordinal));
        Assert.All(indexes, index => Assert.Equal(indexes[0], index));
        await RefusedAsync(2, "FL2525", "3", "align", "--config", job, "--output", "active-only");
    }

    [Fact]
    public async Task Train_Psi_IsTheSameModelAsWithHashedIds()
    {
        JsonObject hashed = await DocumentAsync("train", "--config", _scene.Named("hashed.job.json")), psi = await DocumentAsync("train", "--config", _scene.Job(Psi), "--html", _scene.At("page.html"));
        static string[] Weights(JsonObject report) => [.. report["parties"]!.AsArray().Select(p => (string)p!["model"]!["weightsSha256"]!)];
        Assert.Equal(Weights(hashed), Weights(psi));
        Assert.Equal(hashed["metrics"]!.ToJsonString(), psi["metrics"]!.ToJsonString());
        Assert.NotEqual((string)hashed["job"]!["digest"]!, (string)psi["job"]!["digest"]!);
        Assert.Equal("psi", (string)psi["alignment"]!["method"]!);
        Assert.Contains("Alignment (psi) discloses", File.ReadAllText(_scene.At("page.html")), StringComparison.Ordinal);
        // Mode none charges nothing, and its ledgers hold the log of alignments alone.
        Assert.Equal(["bank.ledger.db", "telco.ledger.db"], _scene.Ledgers);
        Assert.Empty(SqliteLedger.Audit(_scene.At("bank.ledger.db")).Entries);
        Assert.Single(Logged("bank"));
        JsonObject proved = await DocumentAsync("train", "--config", _scene.Job(("alignment", JsonNode.Parse("""{ "method": "psi", "proof": true }"""))));
        Assert.Equal(Weights(hashed), Weights(proved));
        Assert.NotEqual((string)psi["job"]!["digest"]!, (string)proved["job"]!["digest"]!);
    }

    [Fact]
    public async Task Tune_Psi_AlignsOnceForAllRuns()
    {
        string[] grid = ["--cross-validate", "2", "--grid", "model.l2=0.3,0.003"];
        JsonObject hashed = await DocumentAsync(["train", "--config", _scene.Named("hashed.job.json"), .. grid]), psi = await DocumentAsync(["train", "--config", _scene.Job(Psi), .. grid]);
        Assert.Equal(hashed["tuning"]!.ToJsonString(), psi["tuning"]!.ToJsonString());
        Assert.Equal(("psi", Scene.Common), ((string)psi["alignment"]!["method"]!, (int)psi["alignment"]!["commonRows"]!));
        Assert.NotEmpty(psi["alignment"]!["leaks"]!.AsArray());
        Assert.Single(Logged("bank"));
        Assert.Single(Logged("telco"));
    }

    // Enough ids for several seconds of work, killed in the middle of it.
    [Theory]
    [InlineData("bank")]
    [InlineData("telco")]
    public async Task Align_KilledAndStartedAgain_GoesOn(string victim)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "SIGKILL is that of Linux.");
        const int Ids = 40_000;
        _scene.Write("bank.csv", ["id,y", .. Enumerable.Range(0, Ids).Select(i => $"p{i},1")]);
        _scene.Write("telco.csv", ["id,calls", .. Enumerable.Range(Ids / 2, Ids).Select(i => $"p{i},1")]);
        _scene.Job(Psi, ("parties.0.data.schema", null), ("parties.1.data.schema", null));
        (string bankFile, string telcoFile) = _scene.Parties(Scene.FreePort());
        using (ToolProcess bank = ToolProcess.Start("align", "--config", bankFile), telco = ToolProcess.Start("align", "--config", telcoFile))
        {
            (ToolProcess dead, ToolProcess survivor) = victim == "bank" ? (bank, telco) : (telco, bank);
            await dead.SaysAsync("alignment with", times: 4);
            dead.Kill();
            ToolRun run = await survivor.EndAsync();
            Assert.True(run.ExitCode == 4, run.Error);
            Assert.All(_scene.Results, f => Assert.Contains(".alignment", f, StringComparison.Ordinal));
        }

        (ToolRun again, ToolRun peer) = await PartiesAsync(["--json"], ["--json"]);
        Assert.True((again.ExitCode, peer.ExitCode) == (0, 0), again.Error + peer.Error);
        Assert.Contains("going on with the interrupted alignment with 'telco'", again.Error, StringComparison.Ordinal);
        Assert.Contains("going on with the interrupted alignment with 'bank'", peer.Error, StringComparison.Ordinal);
        Assert.True((bool)JsonNode.Parse(again.Output)!["parties"]![0]!["sessions"]![0]!["resumed"]!);
        Assert.Equal(Ids / 2, (int)JsonNode.Parse(again.Output)!["alignment"]!["commonRows"]!);
        string[] ids = [.. Enumerable.Range(Ids / 2, Ids / 2).Select(i => string.Create(CultureInfo.InvariantCulture, $"p{i}"))];
        Assert.Equal(RowIds.Order(ids, 0).Rows.Select(i => ids[i]), File.ReadLines(_scene.At("telco.aligned.csv")).Skip(1).Select(line => line.Split(',')[1]));
        // One session, one line in each ledger.
        Assert.Equal(Ids / 2, Assert.Single(Logged("bank")).CommonIds);
        Assert.Equal(Ids / 2, Assert.Single(Logged("telco")).CommonIds);
    }

    [Theory]
    [InlineData("--config", "nowhere.json", 2, "FL2001")]
    [InlineData("--output", "none", 2, "FL2100")]
    [InlineData("--duplicates", "last", 2, "FL2100")]
    [InlineData("--out", "/proc/fedlearn", 2, "FL2102")]
    public async Task Align_BadOption_IsRefusedBeforeAnythingRuns(string option, string value, int exitCode, string id)
    {
        string job = _scene.Job(Psi);
        await RefusedAsync(exitCode, id, "", option == "--config" ? ["align", option, _scene.At(value)] : ["align", "--config", job, option, value]);
        Assert.Empty(_scene.Ledgers);
    }
}
