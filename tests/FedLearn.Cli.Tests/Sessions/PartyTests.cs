using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Cli.Tests.Sessions;

public class PartyTests
{
    /// <summary>Runs both parties.</summary>
    /// <param name="scene">Where.</param>
    /// <param name="activeFirst">Whether the active party listens before the other is started.</param>
    /// <param name="options">Of each.</param>
    /// <param name="inRounds">What is done as soon as both have told of a round; null for nothing.</param>
    private static async Task<(ToolRun Bank, ToolRun Telco)> SessionAsync(Scene scene, bool activeFirst, Func<string, string[]> options, Action? inRounds = null)
    {
        (string bankFile, string telcoFile) = scene.Parties(Scene.FreePort());
        ToolProcess Start(string party, string file) => ToolProcess.Start(["party", "--config", file, .. options(party)]);
        ToolProcess? bank = null;
        if (activeFirst)
        {
            bank = Start("bank", bankFile);
            await bank.SaysAsync("listening on");
        }

        using ToolProcess telco = Start("telco", telcoFile);
        using (bank ??= Start("bank", bankFile))
        {
            if (inRounds is not null)
            {
                await bank.SaysAsync("round ");
                await telco.SaysAsync("round ");
                inRounds();
            }

            return (await bank.EndAsync(), await telco.EndAsync());
        }
    }

    [Theory]
    [InlineData("bank", "telco")]
    [InlineData("telco", "bank")]
    public async Task Party_ModelCannotBeSaved_TheSameCommandEndsTheRunWithOneCharge(string party, string peer)
    {
        using var scene = new Scene();
        (string, JsonNode?)[] job = Scene.Private(("training.epochs", 300), ("training.checkpointRounds", 10), ("privacy.testNoiseSeed", 5));
        scene.Job([.. job, ("transport.resumeSeconds", 0)]);
        // A folder of the model's name comes into the way, as a disk may fill: nothing tells before the end.
        string inTheWay = scene.At($"{party}/{party}.model.json");
        string[] Options(string of) => ["--model", scene.At(of), "--json"];
        (ToolRun bank, ToolRun telco) = await SessionAsync(scene, activeFirst: true, Options, () => Directory.CreateDirectory(inTheWay));
        (ToolRun own, ToolRun other) = party == "bank" ? (bank, telco) : (telco, bank);
        Assert.Equal((2, 4), (own.ExitCode, other.ExitCode));
        Assert.Contains("(FL2102)", own.Error, StringComparison.Ordinal);
        Assert.Contains("FL4022", other.Error, StringComparison.Ordinal);
        Assert.All((string[])[party, peer], p => Assert.Contains(scene.Ledgers, file => file.StartsWith(p, StringComparison.Ordinal) && file.EndsWith(".state", StringComparison.Ordinal)));

        Directory.Delete(inTheWay);
        (bank, telco) = await SessionAsync(scene, activeFirst: true, Options);
        Assert.True((bank.ExitCode, telco.ExitCode) == (0, 0), bank.Error + telco.Error);
        Assert.Contains("the run goes on before round ", bank.Error, StringComparison.Ordinal);
        // The job compares hashed ids, and here between two that have not the same tables.
        foreach (ToolRun run in (ToolRun[])[bank, telco])
        {
            Assert.Contains("warning: ids were compared by hash over a connection", run.Error, StringComparison.Ordinal);
            Assert.Contains("compared by hash", (string)Assert.Single(JsonNode.Parse(run.Output)!["alignment"]!["warnings"]!.AsArray())!, StringComparison.Ordinal);
        }

        Assert.Equal(["bank/bank.model.json", "telco/telco.model.json"], scene.Results);
        JsonArray whole = JsonNode.Parse((await ToolRun.Of("train", "--config", scene.Named("whole.job.json", [.. job, ("parties.0.ledger.path", "whole.bank.ledger.db"), ("parties.1.ledger.path", "whole.telco.ledger.db")]), "--json")).Output)!["parties"]!.AsArray();
        Assert.Equal(whole.Select(p => (string)p!["model"]!["weightsSha256"]!), new[] { bank, telco }.Select(r => (string)JsonNode.Parse(r.Output)!["parties"]![0]!["model"]!["weightsSha256"]!));
        foreach (string name in (string[])["bank", "telco"])
        {
            LedgerEntry charge = Assert.Single(SqliteLedger.Audit(scene.At($"{name}.ledger.db")).Entries);
            Assert.Equal((ChargeState.Settled, 1.0), (charge.State, charge.Share));
        }
    }

    [Fact]
    public async Task Party_NameHasJoinedAlready_IsNotTakenForALoss()
    {
        using var scene = new Scene();
        RunFile run = RunFile.Load(scene.Job());
        var settings = new TransportSettings { ResumeTimeout = TimeSpan.FromMilliseconds(1) };
        var log = new List<string>();
        PartyTask task = new SessionOrder(run, "train") { KeepsRuns = true }.TaskOf("telco", null);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => PartySupervisor.RunAsync(task, settings, log.Add,
            (attempt, _, stop) => throw new PeerException(ProtocolErrors.AlreadyJoined, "party 'telco', joining", "a party of that name has joined already.", "Start each party once."), TestContext.Current.CancellationToken));
        // Not a peer that has not come back, whom one waits for and then begins anew, which is charged again.
        Assert.Equal(ProtocolErrors.AlreadyJoined, error.Id);
        Assert.Contains("'telco' has joined already", Assert.Single(log), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("FL3100", "10", "FL3100")]
    [InlineData("FL5010", "10", "FL5010")]
    [InlineData(RunStateErrors.InUse, "14", ProtocolErrors.PeerGone)] // the next start may find it free
    public async Task Host_FailsByItself_TellsWhoWaitsTheIdAlone(string id, string status, string told)
    {
        using var scene = new Scene();
        CancellationToken stop = TestContext.Current.CancellationToken;
        SessionTerms terms = new SessionOrder(RunFile.Load(scene.Job()), "train").TaskOf("bank", null).Terms;
        var address = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        using var arrived = new ManualResetEventSlim();
        var task = new PartyTask("bank", terms, _ =>
        {
            Assert.True(arrived.Wait(ToolProcess.Patience, stop));
            throw new BadInputException(id, "bank.csv, line 9", "a label of customer 17 is none.", "Mend it.");
        });
        Task<JsonObject> hosting = Task.Run(() => GrpcParty.HostAsync(task, new Uri("http://127.0.0.1:0"), new TransportSettings(), address.SetResult, _ => { }, stop), stop);
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        Uri host = await address.Task.WaitAsync(ToolProcess.Patience, stop);
        Task<HttpResponseMessage> PostAsync(string path, HttpContent content)
        {
            content.Headers.TryAddWithoutValidation("content-type", "application/grpc");
            return http.SendAsync(new HttpRequestMessage(HttpMethod.Post, new Uri(host, path)) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact, Content = content },
                HttpCompletionOption.ResponseHeadersRead, stop);
        }

        // A call that is under way, all of it sent, and another behind it on the same connection, whose answer says that the host has the first.
        async Task AnswersAsync() => (await PostAsync("/grpc.health.v1.Health/Check", new ByteArrayContent(new byte[5]))).Dispose();
        await AnswersAsync();
        Task<HttpResponseMessage> joining = PostAsync("/fedlearn.v1.Federation/Join", new ByteArrayContent(Joining("scene", "telco", terms.TermsDigest.Span)));
        await AnswersAsync();
        arrived.Set();
        Assert.Equal(id, (await Assert.ThrowsAsync<BadInputException>(() => hosting)).Id);
        using HttpResponseMessage answer = await joining.WaitAsync(ToolProcess.Patience, stop);
        Assert.Equal((status, told), (answer.Headers.GetValues("grpc-status").Single(), answer.Headers.GetValues("fedlearn-error-id").Single()));
        Assert.DoesNotContain("customer", answer.Headers.ToString(), StringComparison.Ordinal);
    }

    // A gRPC message: fedlearn.v1.JoinRequest of a passive party, field by field as in docs/protocol.md.
    private static byte[] Joining(string job, string party, ReadOnlySpan<byte> termsDigest)
    {
        byte[] Field(int number, ReadOnlySpan<byte> value) => [(byte)(number << 3 | 2), (byte)value.Length, .. value];
        byte[] message = [1 << 3, 1, .. Field(2, Encoding.UTF8.GetBytes(job)), .. Field(3, Encoding.UTF8.GetBytes(party)), 4 << 3, 2, .. Field(5, termsDigest), .. Field(7, new byte[32])];
        return [0, 0, 0, 0, (byte)message.Length, .. message];
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Party_ActiveOneGaveUpBeforeTheSession_EndsWithoutWaiting(bool atOnce)
    {
        using var scene = new Scene();
        var log = new List<string>();
        PartyTask task = new SessionOrder(RunFile.Load(scene.Job()), "train") { KeepsRuns = true }.TaskOf("telco", null);
        int attempts = 0;
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => PartySupervisor.RunAsync(task, new TransportSettings { ResumeTimeout = TimeSpan.FromDays(1) }, log.Add,
            (_, _, _) => throw (attempts++ > 0 || atOnce ? new PeerException(ProtocolErrors.PeerAborted, "party 'bank'", "it gave up with error FL3100.", "Mend it there.") { PeerErrorId = "FL3100" }
                : Ended), TestContext.Current.CancellationToken));
        Assert.Equal((ProtocolErrors.PeerAborted, "FL3100"), (error.Id, error.PeerErrorId));
        Assert.Equal(atOnce ? 0 : 1, log.Count);
    }

    private static PeerException Ended => new(ProtocolErrors.PeerGone, "party 'bank' at 127.0.0.1:1", "The active party ended before the session began.", "Look at its log for why it ended.") { Peer = "bank" };

    [Fact]
    public async Task Party_ActiveOneWasStoppedBeforeTheSession_IsMetWhenItComesBack()
    {
        using var scene = new Scene();
        var log = new List<string>();
        PartyTask task = new SessionOrder(RunFile.Load(scene.Job()), "train") { KeepsRuns = true }.TaskOf("telco", null);
        int attempts = 0;
        JsonObject met = await PartySupervisor.RunAsync(task, new TransportSettings(), log.Add, (_, _, _) => attempts++ < 3 ? throw Ended : Task.FromResult(new JsonObject { ["met"] = true }), TestContext.Current.CancellationToken);
        Assert.True((bool)met["met"]!);
        Assert.Contains("no session with party 'bank' at 127.0.0.1:1: The active party ended before the session began (FL4007); waiting up to 300 s", Assert.Single(log), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Party_LosesAPeerInASession_SaysWhichByItsWholeName()
    {
        using var scene = new Scene();
        var log = new List<string>();
        PartyTask telco = new SessionOrder(RunFile.Load(scene.Job()), "train").TaskOf("telco", null);
        var task = new PartyTask("telco", telco.Terms, stop => telco.Prepare(stop) with
        {
            Run = (_, _, _) => throw new PeerException(ProtocolErrors.PeerGone, "peer 'bank, north', round 3", "the connection ended.", "Look there.") { Peer = "bank, north" },
        })
        { KeepsRuns = true };
        int attempts = 0;
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => PartySupervisor.RunAsync(task, new TransportSettings { ResumeTimeout = TimeSpan.FromMilliseconds(1) }, log.Add,
            (attempt, _, stop) => attempts++ > 0 ? throw Ended : attempt.Prepare(stop).Run(new SessionAgreement("", default, []), [], stop), TestContext.Current.CancellationToken));
        Assert.StartsWith("lost 'bank, north' (FL4007); waiting up to ", Assert.Single(log), StringComparison.Ordinal);
        Assert.Equal((RunningErrors.NotBack, "peer 'bank, north'"), (error.Id, error.Place));
        Assert.Contains("Start every party again with the same command: the run begins anew.", error.Remedy, StringComparison.Ordinal);
    }

    private static Task<JsonObject> SuperviseAsync(PartyTask task, double resumeSeconds, Action<string> log, Func<PartyTask, TransportSettings, CancellationToken, Task<JsonObject>> attempt, CancellationToken? stop = null) =>
        PartySupervisor.RunAsync(task, new TransportSettings { ResumeTimeout = TimeSpan.FromSeconds(resumeSeconds) }, log, attempt, stop ?? TestContext.Current.CancellationToken);

    /// <summary>One that keeps no run, one that waits for nobody, one that is stopped, and one whose host was waited for before it was given up.</summary>
    [Theory]
    [InlineData(false, 300, false, ProtocolErrors.PeerGone)]
    [InlineData(true, 0, false, ProtocolErrors.PeerGone)]
    [InlineData(true, 300, true, ProtocolErrors.PeerGone)]
    [InlineData(true, 300, false, ProtocolErrors.CannotConnect)]
    public async Task Party_ThatWaitsForNobody_EndsWithTheLossItself(bool keepsRuns, double resumeSeconds, bool stopped, string id)
    {
        using var scene = new Scene();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        PartyTask task = new SessionOrder(RunFile.Load(scene.Job()), "train") { KeepsRuns = keepsRuns }.TaskOf("telco", null);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => SuperviseAsync(task, resumeSeconds, _ => Assert.Fail("waited for"), (_, _, _) =>
        {
            if (stopped)
                stop.Cancel();
            throw new PeerException(id, "party 'bank'", "it is not there.", "Look there.");
        }, stop.Token));
        Assert.Equal((id, "Look there."), (error.Id, error.Remedy));
    }

    [Theory]
    [InlineData(300, "waiting up to 5 s")]
    [InlineData(2, "waiting up to 2 s")]
    public async Task Party_NameHasJoinedAlready_IsWaitedForAFewSecondsAtMost(double resumeSeconds, string said)
    {
        using var scene = new Scene();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        PartyTask task = new SessionOrder(RunFile.Load(scene.Job()), "train") { KeepsRuns = true }.TaskOf("telco", null);
        string line = "";
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => SuperviseAsync(task, resumeSeconds, text =>
        {
            line = text;
            stop.Cancel();
        }, (_, _, _) => throw new PeerException(ProtocolErrors.AlreadyJoined, "party 'telco', joining", "a party of that name has joined already.", "Start each party once."), stop.Token));
        Assert.Contains(said, line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0.001, 1, 1)]
    [InlineData(100, 90, 100)]
    public async Task Party_ThatComesBack_HasTheTimeThatIsLeftToConnectAndGoesOnBeforeItsNewestRound(double resumeSeconds, double least, double most)
    {
        using var scene = new Scene();
        PartyTask telco = new SessionOrder(RunFile.Load(scene.Job()), "train").TaskOf("telco", null);
        var task = new PartyTask("telco", telco.Terms, stop =>
        {
            ReadyParty ready = telco.Prepare(stop);
            return ready with { Request = ready.Request with { Resume = new ResumeOffer("session", [3, 9]) } };
        })
        { KeepsRuns = true };
        var log = new List<string>();
        var limits = new List<TimeSpan>();
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => SuperviseAsync(task, resumeSeconds, log.Add, (_, settings, _) =>
        {
            limits.Add(settings.ConnectTimeout);
            throw limits.Count == 1 ? Ended : new PeerException(ProtocolErrors.PeerAborted, "party 'bank'", "it gave up.", "Mend it there.") { PeerErrorId = "FL3100" };
        }));
        Assert.Equal(ProtocolErrors.PeerAborted, error.Id);
        Assert.EndsWith("the run goes on before round 9", Assert.Single(log), StringComparison.Ordinal);
        Assert.InRange(limits[1].TotalSeconds, least, most);
    }

    /// <summary>Where the system chose the port, whoever comes back looks for the same one.</summary>
    [Fact]
    public async Task Party_HostThatLostItsPeer_IsAtTheSameAddressAgain()
    {
        using var scene = new Scene();
        RunFile run = RunFile.Load(scene.Job(Scene.Sgd()));
        CancellationToken stop = TestContext.Current.CancellationToken;
        PartyTask bank = new SessionOrder(run, "train") { KeepsRuns = true }.TaskOf("bank", null), telco = new SessionOrder(run, "train").TaskOf("telco", null);
        var address = new TaskCompletionSource<Uri>();
        Task<JsonObject> hosting = PartySupervisor.HostAsync(bank, new Uri("http://127.0.0.1:0"), run.Transport, address.SetResult, _ => { }, stop);
        var leaving = new PartyTask("telco", telco.Terms, cancel => telco.Prepare(cancel) with { Run = (_, _, _) => throw new TimeoutException("gone") });
        await Assert.ThrowsAsync<TimeoutException>(async () => await GrpcParty.JoinAsync(leaving, await address.Task, run.Transport, stop));
        await GrpcParty.JoinAsync(telco, await address.Task, run.Transport with { ConnectTimeout = TimeSpan.FromSeconds(20) }, stop);
        Assert.NotNull((await hosting)["metrics"]!["test"]);
    }

    [Fact]
    public async Task Party_ActiveOneWasStoppedAndStaysAway_SaysWhyAndWhatToLookAt()
    {
        using var scene = new Scene();
        PartyTask task = new SessionOrder(RunFile.Load(scene.Job()), "train") { KeepsRuns = true }.TaskOf("telco", null);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => PartySupervisor.RunAsync(task, new TransportSettings { ResumeTimeout = TimeSpan.FromMilliseconds(1) }, _ => { },
            (_, _, _) => throw Ended, TestContext.Current.CancellationToken));
        Assert.Equal(RunningErrors.NotBack, error.Id);
        Assert.Contains("it was lost (FL4007: The active party ended before the session began) and has not come back", error.Message, StringComparison.Ordinal);
        Assert.Contains("Look at its log for why it ended.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Guard_DiskIsFull_SaysSo() => Assert.Contains("the disk is full",
        Assert.Throws<ConfigurationException>(() => OutputFile.Guard("models", () => throw new IOException("No space left on device", 28))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Train_Models_AreReadByTheirOwnerAlone()
    {
        using var scene = new Scene();
        Assert.Equal(0, (await ToolRun.Of("train", "--config", scene.Job(), "--model", scene.At("models"))).ExitCode);
        if (OperatingSystem.IsWindows())
            return;
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(scene.At("models")));
        foreach (string file in Directory.GetFiles(scene.At("models")))
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Party_TwoProcesses_TrainAndPredictAsOne(bool activeFirst)
    {
        using var scene = new Scene();
        // Each party as at its own company: a folder of models of its own.
        string job = scene.Job(("preprocessing.scaling", "none"), ("name", activeFirst ? "a" : "b"));
        (ToolRun bank, ToolRun telco) = await SessionAsync(scene, activeFirst, party => ["--model", scene.At(party), "--json", "--report", scene.At(party + ".json")]);
        Assert.True((bank.ExitCode, telco.ExitCode) == (0, 0), bank.Error + telco.Error);
        Assert.Equal(["bank.json", "bank/bank.model.json", "telco.json", "telco/telco.model.json"], scene.Results);
        Assert.Equal([File.ReadAllText(scene.At("bank.json")), File.ReadAllText(scene.At("telco.json"))], [bank.Output, telco.Output]);
        JsonObject[] reports = [JsonNode.Parse(bank.Output)!.AsObject(), JsonNode.Parse(telco.Output)!.AsObject()];
        Assert.Equal((string)reports[0]["job"]!["digest"]!, (string)reports[1]["job"]!["digest"]!);
        string agreed = (await ToolRun.Of("party", "--config", scene.At("bank.party.json"), "--digest")).Output.Trim();
        Assert.All(reports, r => Assert.Equal(agreed, (string?)r["job"]!["termsDigest"]));
        // A party speaks gRPC whatever the job says for all parties on one machine, and reports what its own file says in vain.
        Assert.Equal(["grpc", "grpc"], reports.Select(r => (string)r["job"]!["transport"]!));
        Assert.Equal(["[\"peers\"]", "[]"], reports.Select(r => r["ignored"]!.ToJsonString()));
        // Each knows its own figures only; the quality of the model is the active party's knowledge.
        Assert.Equal(["bank", "telco"], reports.Select(r => (string)Assert.Single(r["parties"]!.AsArray())!["name"]!));
        Assert.NotNull(reports[0]["metrics"]!["test"]!["auc"]);
        Assert.Null(reports[1]["metrics"]!["test"]);
        // Both saw how far it got; only the active party knows a loss.
        Assert.Contains(", loss ", bank.Error, StringComparison.Ordinal);
        Assert.Contains("round ", telco.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(", loss ", telco.Error, StringComparison.Ordinal);
        // Nor has the other one figures, of which a table would have a head alone.
        Assert.Contains("| metric", bank.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("| metric", telco.Error, StringComparison.Ordinal);

        // The same model as with all parties in memory.
        JsonObject memory = JsonNode.Parse((await ToolRun.Of("train", "--config", job, "--json", "--model", scene.At("memory"))).Output)!.AsObject();
        Assert.Equal(memory["parties"]!.AsArray().Select(p => (string)p!["model"]!["weightsSha256"]!), reports.Select(r => (string)r["parties"]![0]!["model"]!["weightsSha256"]!));
        Assert.Equal((string)memory["job"]!["digest"]!, (string)reports[0]["job"]!["digest"]!);

        (bank, telco) = await SessionAsync(scene, activeFirst, party => ["--model", scene.At(party), "--predict", scene.At($"{party}.csv.scores"), "--report", scene.At($"{party}.json")]);
        Assert.True((bank.ExitCode, telco.ExitCode) == (0, 0), bank.Error + telco.Error);
        // Each hears where the scores are, and how many of its rows they are of.
        Assert.Contains($"240 rows scored of the 245 of 'bank': {scene.At("bank.csv.scores")}", bank.Error, StringComparison.Ordinal);
        Assert.Contains("done: the active party has the predictions", telco.Error, StringComparison.Ordinal);
        reports = [.. new[] { "bank", "telco" }.Select(party => JsonNode.Parse(File.ReadAllText(scene.At($"{party}.json")))!.AsObject())];
        Assert.Equal([(240, 245), (null, null)], reports.Select(r => ((int?)r["rows"], (int?)r["ownRows"])));
        Assert.Equal([("hashed", 240), ("hashed", 240)], reports.Select(r => ((string)r["alignment"]!["method"]!, (int)r["alignment"]!["commonRows"]!)));
        Assert.All(reports, r => Assert.NotEmpty(r["alignment"]!["leaks"]!.AsArray()));
        Assert.Contains("bank.csv.scores", scene.Results);
        Assert.DoesNotContain("telco.csv.scores", scene.Results);
        string[] lines = File.ReadAllLines(scene.At("bank.csv.scores"));
        Assert.Equal("id,score,prediction", lines[0]);
        var pooled = new PooledModel(scene, scene.At("bank"), scene.At("telco"));
        Assert.Equal(pooled.CommonIds, lines.Skip(1).Select(l => l.Split(',')[0]));
        foreach (string[] row in lines.Skip(1).Select(l => l.Split(',')))
        {
            double score = pooled.Score(row[0]);
            Assert.Equal(score, Scene.Number(row[1]), 1e-12);
            Assert.Equal(1 / (1 + Math.Exp(-score)), Scene.Number(row[2]), 1e-12);
        }

        // All parties here, from the models of the session: the same file.
        File.Copy(scene.At("telco/telco.model.json"), scene.At("bank/telco.model.json"));
        ToolRun predict = await ToolRun.Of("predict", "--config", job, "--model", scene.At("bank"), "--out", scene.At("scores.csv"), "--json");
        Assert.True(predict.ExitCode == 0, predict.Error);
        Assert.Equal(File.ReadAllText(scene.At("bank.csv.scores")), File.ReadAllText(scene.At("scores.csv")));
        Assert.Equal(Scene.Common, (int)JsonNode.Parse(predict.Output)!["rows"]!);
        Assert.Contains("240 rows scored of the 245 of 'bank'", predict.Error, StringComparison.Ordinal);
        Assert.Contains("scores of these rows were disclosed to the active party", predict.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("claim", predict.Error, StringComparison.Ordinal);                 // the job makes none
    }

    [Fact]
    public async Task Predict_OverProcesses_GivesTheSameFileAndRefusesForeignModels()
    {
        using var scene = new Scene();
        string job = scene.Job(), grpc = scene.Named("grpc.job.json", ("transport.kind", "grpc"));
        Assert.Equal(0, (await ToolRun.Of("train", "--config", job, "--model", scene.At("models"))).ExitCode);
        Assert.Equal(0, (await ToolRun.Of("predict", "--config", job, "--model", scene.At("models"), "--out", scene.At("memory.csv"))).ExitCode);
        ToolRun run = await ToolRun.Of("predict", "--config", grpc, "--model", scene.At("models"), "--out", scene.At("processes.csv"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(File.ReadAllText(scene.At("memory.csv")), File.ReadAllText(scene.At("processes.csv")));

        string[] before = scene.Results;
        run = await ToolRun.Of("predict", "--config", job, "--model", scene.At("models"), "--out", scene.Folder);
        Assert.Equal((2, true), (run.ExitCode, run.Error.Contains(CliErrors.CannotWrite, StringComparison.Ordinal)));
        run = await ToolRun.Of("predict", "--config", grpc, "--model", scene.At("nowhere"), "--out", scene.At("scores.csv"));
        Assert.Equal((2, true), (run.ExitCode, run.Error.Contains("(FL2401)", StringComparison.Ordinal)));
        // Half a model of one training and half of another would give scores that look right and are not.
        Assert.Equal(0, (await ToolRun.Of("train", "--config", job, "--model", scene.At("models/other"))).ExitCode);
        File.Copy(scene.At("models/other/telco.model.json"), scene.At("models/telco.model.json"), overwrite: true);
        Directory.Delete(scene.At("models/other"), recursive: true);
        foreach (string config in (string[])[job, grpc])
        {
            run = await ToolRun.Of("predict", "--config", config, "--model", scene.At("models"), "--out", scene.At("scores.csv"));
            Assert.Equal((2, true), (run.ExitCode, run.Error.Contains("(FL2402)", StringComparison.Ordinal)));
        }

        Assert.Equal(before, scene.Results);
        // Between machines, each side is told what to do.
        (ToolRun bank, ToolRun telco) = await SessionAsync(scene, true, party => ["--model", scene.At("models"), "--predict", scene.At($"{party}.scores")]);
        Assert.All((ToolRun[])[bank, telco], r => Assert.Equal((2, true), (r.ExitCode, r.Error.Contains("fedlearn model show prints", StringComparison.Ordinal) && r.Error.Contains("(FL2402)", StringComparison.Ordinal))));
        Assert.Equal(before, scene.Results);
    }

    [Fact]
    public async Task Join_WrongJobOrName_IsRefusedAndTheSessionGoesOn()
    {
        using var scene = new Scene();
        scene.Job();
        int port = Scene.FreePort();
        using ToolProcess bank = ToolProcess.Start("party", "--config", scene.Parties(port).Bank, "--model", scene.At("bank"));
        async Task<ToolRun> TelcoAsync(params (string, JsonNode?)[] changes)
        {
            scene.Named("telco.job.json", changes);
            string file = scene.Parties(port, telcoJob: "telco.job.json").Telco;
            if (changes is [("parties.1.name", { } name)])
                File.WriteAllText(file, File.ReadAllText(file).Replace("\"party\": \"telco\"", $"\"party\": {name.ToJsonString()}", StringComparison.Ordinal));
            using ToolProcess telco = ToolProcess.Start("party", "--config", file, "--model", scene.At("telco"));
            return await telco.EndAsync();
        }

        ToolRun run = await TelcoAsync(("model.l2", 0.002), ("training.seed", 5));
        Assert.Equal(4, run.ExitCode);
        Assert.Contains("differs from the host's in: model, training.", run.Error, StringComparison.Ordinal);
        Assert.Contains("(FL4010)", run.Error, StringComparison.Ordinal);
        await bank.SaysAsync("refused 'telco': its job differs from the host's in: model, training.");
        run = await TelcoAsync(("parties.1.name", "railway"));
        Assert.Equal(4, run.ExitCode);
        Assert.Contains("'railway'", run.Error, StringComparison.Ordinal);
        Assert.Contains("(FL4012)", run.Error, StringComparison.Ordinal);
        await bank.SaysAsync("refused 'railway'");
        Assert.Empty(scene.Results);

        run = await TelcoAsync();
        Assert.True(run.ExitCode == 0, run.Error);
        ToolRun host = await bank.EndAsync();
        Assert.True(host.ExitCode == 0, host.Error);
        Assert.Equal(["bank/bank.model.json", "telco/telco.model.json"], scene.Results);
    }

    [Fact]
    public async Task Party_PeerNeverAppears_SaysWhoWasWaitedFor()
    {
        using var scene = new Scene();
        scene.Job();
        int port = Scene.FreePort();
        (string bankFile, string telcoFile) = scene.Parties(port, (60, 1));
        ToolRun run = await ToolRun.Of("party", "--config", bankFile, "--model", scene.At("models"), "--report", scene.At("report.json"));
        Assert.Equal(4, run.ExitCode);
        Assert.Contains("waited 1 s for 'telco' to join, in vain", run.Error, StringComparison.Ordinal);
        Assert.Contains("transport.connectTimeoutSeconds", run.Error, StringComparison.Ordinal);
        Assert.Contains("(FL4016)", run.Error, StringComparison.Ordinal);
        run = await ToolRun.Of("party", "--config", telcoFile, "--model", scene.At("models"), "--report", scene.At("report.json"));
        Assert.Equal(4, run.ExitCode);
        Assert.Contains(port.ToString(CultureInfo.InvariantCulture), run.Error, StringComparison.Ordinal);
        Assert.Contains("waited 1 s for 'bank' or a coordinator", run.Error, StringComparison.Ordinal);
        Assert.Contains("(FL4015)", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Results);
    }

    [Fact]
    public async Task Party_OfNoPartyOfTheJob_IsUsage()
    {
        using var scene = new Scene();
        scene.Job();
        ToolRun run = await ToolRun.Of("party", "--config", scene.Write("telko.party.json", """{ "job": "job.json", "party": "telko", "peers": ["127.0.0.1:5301"] }"""));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("Did you mean 'telco'?", run.Error, StringComparison.Ordinal);
        Assert.Contains("(FL2011)", run.Error, StringComparison.Ordinal);
    }
}
