using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Cli.Running;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>Processes that are killed, stopped and interrupted in the middle of a training of many minutes.</summary>
public class DeathTests
{
    private const double MessageSeconds = 100;

    private static readonly string[] Progress = ["round 1 of 1000000"];

    private static async Task<(ToolProcess Bank, ToolProcess Telco)> TrainingAsync(Scene scene, double messageSeconds = MessageSeconds)
    {
        RequireLinux();
        // A party that waits for nobody ends when it has lost the other.
        scene.Job(Scene.Endless(("transport.resumeSeconds", 0)));
        (string bankFile, string telcoFile) = scene.Parties(Scene.FreePort(), (messageSeconds, 60));
        ToolProcess Start(string party, string file) => ToolProcess.Start("party", "--config", file, "--model", scene.At("models"), "--report", scene.At(party + ".json"), "--json");
        (ToolProcess bank, ToolProcess telco) = (Start("bank", bankFile), Start("telco", telcoFile));
        await bank.SaysAsync(Progress[0]);
        await telco.SaysAsync(Progress[0]);
        return (bank, telco);
    }

    private static async Task<(ToolProcess Parent, int Bank, int Telco)> ParentAsync(Scene scene, string transport = "grpc", params string[] options)
    {
        RequireLinux();
        string job = scene.Job(Scene.Endless(("transport.kind", transport), ("transport.timeoutSeconds", MessageSeconds)));
        ToolProcess parent = ToolProcess.Start(["train", "--config", job, "--model", scene.At("models"), "--report", scene.At("report.json"), "--json", .. options]);
        await parent.SaysAsync(Progress[0]);
        IReadOnlyList<(int Id, string[] Command)> children = ToolProcess.Children(parent.Id);
        int Child(string party) => children.FirstOrDefault(c => c.Command.Contains(party)).Id;
        return (parent, Child("bank"), Child("telco"));
    }

    private static void RequireLinux() => Assert.SkipUnless(OperatingSystem.IsLinux(), "Signals and /proc are those of Linux.");

    internal static void RequireInterrupt()
    {
        RequireLinux();
        // A shell that starts a program in the background may have it ignore SIGINT, and its children inherit that.
        string ignored = File.ReadLines("/proc/self/status").First(l => l.StartsWith("SigIgn:", StringComparison.Ordinal))[7..].Trim();
        Assert.SkipWhen((Convert.ToUInt64(ignored, 16) & (1 << (ToolProcess.Interrupt - 1))) != 0, "SIGINT is ignored here.");
    }

    private static void AssertEnded(ToolRun run, int exitCode, Scene scene, params string[] parts)
    {
        Assert.True(run.ExitCode == exitCode, $"{run.ExitCode}: {run.Error}");
        Assert.Empty(run.Output);
        Assert.All(parts, part => Assert.Contains(part, run.Error, StringComparison.Ordinal));
        Assert.Empty(scene.Results);
    }

    [Theory]
    [InlineData("bank")]
    [InlineData("telco")]
    public async Task Party_PeerKilled_EndsSoonAndNamesIt(string victim)
    {
        using var scene = new Scene();
        (ToolProcess bank, ToolProcess telco) = await TrainingAsync(scene);
        using (bank)
        using (telco)
        {
            (ToolProcess dead, ToolProcess survivor) = victim == "bank" ? (bank, telco) : (telco, bank);
            long start = Stopwatch.GetTimestamp();
            dead.Kill();
            ToolRun run = await survivor.EndAsync();
            // By the end of the connection, long before a message would be missed.
            Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(MessageSeconds / 2));
            AssertEnded(run, 4, scene, $"peer '{victim}'", "(FL4007)");
        }
    }

    [Fact]
    public async Task Party_StartedTwice_SaysAtOnceWhyItWaitsAndIsRefused()
    {
        using var scene = new Scene();
        (ToolProcess bank, ToolProcess telco) = await TrainingAsync(scene);
        using (bank)
        using (telco)
        {
            using ToolProcess second = ToolProcess.Start("party", "--config", scene.At("telco.party.json"));
            await second.SaysAsync("another process has this run; waiting up to 5 s for that to end");
            AssertEnded(await second.EndAsync(), 2, scene, $"({RunStateErrors.InUse})");
            bank.Kill();
            telco.Kill();
            await bank.EndAsync();
            await telco.EndAsync();
        }
    }

    [Theory]
    [InlineData("bank")]
    [InlineData("telco")]
    public async Task Party_PeerStopped_TimesOutAndNamesIt(string victim)
    {
        using var scene = new Scene();
        (ToolProcess bank, ToolProcess telco) = await TrainingAsync(scene, messageSeconds: 5);
        using (bank)
        using (telco)
        {
            (ToolProcess stopped, ToolProcess survivor) = victim == "bank" ? (bank, telco) : (telco, bank);
            ToolProcess.Send(stopped.Id, ToolProcess.Stop);
            AssertEnded(await survivor.EndAsync(), 4, scene, $"peer '{victim}'", "waited 5 s", "(FL4009)");
        }
    }

    [Theory]
    [InlineData("bank")]
    [InlineData("telco")]
    public async Task Party_Interrupted_Ends130AndTheOtherIsTold(string victim)
    {
        RequireInterrupt();
        using var scene = new Scene();
        (ToolProcess bank, ToolProcess telco) = await TrainingAsync(scene);
        using (bank)
        using (telco)
        {
            (ToolProcess stopped, ToolProcess other) = victim == "bank" ? (bank, telco) : (telco, bank);
            ToolProcess.Send(stopped.Id, ToolProcess.Interrupt);
            AssertEnded(await stopped.EndAsync(), Tool.Interrupted, scene, "interrupted");
            AssertEnded(await other.EndAsync(), 4, scene, $"peer '{victim}'", "the peer gave up with error FL4018", "(FL4008)");
        }
    }

    [Theory]
    [InlineData("bank")]
    [InlineData("telco")]
    public async Task Party_KilledAndStartedAgain_TheRunGoesOnToTheSameModel(string victim)
    {
        RequireLinux();
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("training.epochs", 150), ("training.checkpointRounds", 10), ("privacy.testNoiseSeed", 5)));
        (string bankFile, string telcoFile) = scene.Parties(Scene.FreePort());
        ToolProcess Start(string party) => ToolProcess.Start("party", "--config", party == "bank" ? bankFile : telcoFile, "--json");
        string peer = victim == "bank" ? "telco" : "bank";
        using ToolProcess dead = Start(victim), survivor = Start(peer);
        await dead.SaysAsync("round 5 of 750");
        await survivor.SaysAsync("round 5 of 750");
        dead.Kill();
        await survivor.SaysAsync($"lost '{victim}' (FL4007); waiting up to 300 s for it to come back; the run goes on before round ");
        using ToolProcess again = Start(victim);
        ToolRun one = await survivor.EndAsync(), other = await again.EndAsync();
        Assert.True(one.ExitCode == 0 && other.ExitCode == 0, one.Error + other.Error);

        using ToolProcess whole = ToolProcess.Start("train", "--config", job, "--json");
        ToolRun train = await whole.EndAsync();
        JsonArray due = JsonNode.Parse(train.Output)!["parties"]!.AsArray();
        foreach ((string party, ToolRun run) in new[] { (peer, one), (victim, other) })
        {
            JsonNode report = JsonNode.Parse(run.Output)!;
            Assert.Equal((string)due.First(p => (string)p!["name"]! == party)!["model"]!["weightsSha256"]!, (string)report["parties"]![0]!["model"]!["weightsSha256"]!);
            Assert.Equal(1, (int)report["resumed"]!["attempts"]!);
            Assert.Single(report["resumed"]!["fromRounds"]!.AsArray());
        }

        Assert.Null(JsonNode.Parse(train.Output)!["resumed"]);
        // One charge for the run that was cut off and went on, one for the whole one, and nothing else beside them.
        Assert.Equal(["bank.ledger.db", "telco.ledger.db"], scene.Ledgers.Where(f => !f.EndsWith("-wal", StringComparison.Ordinal) && !f.EndsWith("-shm", StringComparison.Ordinal)));
        Assert.All((string[])["bank", "telco"], p => Assert.Equal([1, 1], new FedLearn.Storage.Sqlite.SqliteLedger(scene.At(p + ".ledger.db")).Entries.Select(e => e.Share)));
    }

    [Theory]
    [InlineData("bank")]
    [InlineData("telco")]
    public async Task Party_PeerKilledAndNotBackInTime_EndsAndSaysHowToGoOn(string victim)
    {
        RequireLinux();
        using var scene = new Scene();
        scene.Job(Scene.Endless(("transport.resumeSeconds", 2)));
        (string bankFile, string telcoFile) = scene.Parties(Scene.FreePort());
        using ToolProcess bank = ToolProcess.Start("party", "--config", bankFile), telco = ToolProcess.Start("party", "--config", telcoFile);
        await bank.SaysAsync(Progress[0]);
        await telco.SaysAsync(Progress[0]);
        (ToolProcess dead, ToolProcess survivor) = victim == "bank" ? (bank, telco) : (telco, bank);
        dead.Kill();
        AssertEnded(await survivor.EndAsync(), 4, scene, $"lost '{victim}' (FL4007)", "has not come back in 2 s", "the run goes on before round ", "(FL4151)");
    }

    // Once, whoever the parties are.
    private static string GoesOn(ToolRun run) => Assert.Single(run.Error.ReplaceLineEndings("\n").Split('\n'), line => line.Contains("the run goes on before round ", StringComparison.Ordinal));

    [Theory]
    [InlineData("in-memory")]
    [InlineData("grpc")]
    public async Task Train_InOneProcessKilledAndGivenAgain_SaysWhereItGoesOn(string transport)
    {
        using var scene = new Scene();
        string[] command = ["train", "--config", scene.Job(Scene.Private(("training.epochs", 150), ("training.checkpointRounds", 10), ("transport.kind", transport))), "--in-process", "--json"];
        using (ToolProcess first = ToolProcess.Start(command))
        {
            await first.SaysAsync("round 5 of 750");
            first.Kill();
            await first.EndAsync();
        }

        ToolRun run = await ToolRun.Of(command);
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal($"the run goes on before round {JsonNode.Parse(run.Output)!["resumed"]!["fromRounds"]![0]}", GoesOn(run));
    }

    [Fact]
    public async Task Train_ParentKilledAndGivenAgain_GoesOnUnlessFresh()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("training.epochs", 150), ("training.checkpointRounds", 10), ("transport.kind", "grpc")));
        using (ToolProcess first = ToolProcess.Start("train", "--config", job, "--json"))
        {
            await first.SaysAsync("round 5 of 750");
            int[] children = [.. ToolProcess.Children(first.Id).Select(c => c.Id)];
            first.Kill();
            await first.EndAsync();
            await ToolProcess.GoneAsync(children);
        }

        using ToolProcess second = ToolProcess.Start("train", "--config", job, "--json");
        await second.SaysAsync(" of 750");
        int[] others = [.. ToolProcess.Children(second.Id).Select(c => c.Id)];
        second.Kill();
        await second.EndAsync();
        await ToolProcess.GoneAsync(others);
        using ToolProcess third = ToolProcess.Start("train", "--config", job, "--json");
        ToolRun run = await third.EndAsync();
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(2, (int)JsonNode.Parse(run.Output)!["resumed"]!["attempts"]!);
        Assert.Equal($"bank: the run goes on before round {JsonNode.Parse(run.Output)!["resumed"]!["fromRounds"]![1]}", GoesOn(run));
        Assert.Single(new FedLearn.Storage.Sqlite.SqliteLedger(scene.At("bank.ledger.db")).Entries);

        using (ToolProcess cut = ToolProcess.Start("train", "--config", job, "--json"))
        {
            await cut.SaysAsync("round 5 of 750");
            int[] children = [.. ToolProcess.Children(cut.Id).Select(c => c.Id)];
            cut.Kill();
            await cut.EndAsync();
            await ToolProcess.GoneAsync(children);
        }

        using ToolProcess fresh = ToolProcess.Start("train", "--config", job, "--json", "--fresh");
        run = await fresh.EndAsync();
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.DoesNotContain("goes on", run.Error, StringComparison.Ordinal);
        Assert.Null(JsonNode.Parse(run.Output)!["resumed"]);
        FedLearn.Privacy.LedgerEntry[] entries = [.. new FedLearn.Storage.Sqlite.SqliteLedger(scene.At("bank.ledger.db")).Entries];
        Assert.Equal(3, entries.Length);
        Assert.All(entries, e => Assert.Equal(FedLearn.Privacy.ChargeState.Settled, e.State));
        Assert.InRange(entries[1].Share, 1.0 / 150, 0.99);
    }

    [Theory]
    [InlineData("bank")]
    [InlineData("telco")]
    public async Task Train_ChildKilled_NamesItAndLeavesNothing(string victim)
    {
        using var scene = new Scene();
        (ToolProcess parent, int bank, int telco) = await ParentAsync(scene);
        using (parent)
        {
            using (var dead = Process.GetProcessById(victim == "bank" ? bank : telco))
                dead.Kill();
            AssertEnded(await parent.EndAsync(), 4, scene, $"party '{victim}': its process ended with code 137", $"({Running.RunningErrors.ChildDied})");
            await ToolProcess.GoneAsync([bank, telco]);
        }
    }

    // A cross-validation has processes that stay for its next session.
    [Theory]
    [InlineData]
    [InlineData("--cross-validate", "3")]
    public async Task Train_ParentKilled_ChildrenEnd(params string[] options)
    {
        using var scene = new Scene();
        (ToolProcess parent, int bank, int telco) = await ParentAsync(scene, options: options);
        using (parent)
        {
            parent.Kill();
            await parent.EndAsync();
            await ToolProcess.GoneAsync([bank, telco]);
            Assert.Empty(scene.Results);
        }
    }

    [Theory]
    [InlineData("grpc")]
    [InlineData("grpc", "--in-process")]
    [InlineData("in-memory")]
    public async Task Train_Interrupted_Ends130AndTheChildrenToo(string transport, params string[] options)
    {
        RequireInterrupt();
        using var scene = new Scene();
        (ToolProcess parent, int bank, int telco) = await ParentAsync(scene, transport, options);
        using (parent)
        {
            // As from a terminal: the whole group of processes gets the signal, in no certain order.
            foreach (int process in (int[])[telco, bank, parent.Id])
                if (process != 0)
                    ToolProcess.Send(process, ToolProcess.Interrupt);
            AssertEnded(await parent.EndAsync(), Tool.Interrupted, scene, "interrupted");
            await ToolProcess.GoneAsync([.. new[] { bank, telco }.Where(id => id != 0)]);
        }
    }

    [Fact]
    public async Task Train_ParentAloneInterrupted_Ends130AndTheChildrenToo()
    {
        RequireInterrupt();
        using var scene = new Scene();
        (ToolProcess parent, int bank, int telco) = await ParentAsync(scene);
        using (parent)
        {
            ToolProcess.Send(parent.Id, ToolProcess.Interrupt);
            AssertEnded(await parent.EndAsync(), Tool.Interrupted, scene, "interrupted");
            await ToolProcess.GoneAsync([bank, telco]);
        }
    }

    /// <summary>Parties need a moment to settle what their run cost, and the table is written after that.</summary>
    [Fact]
    public async Task Tune_Interrupted_WritesThePartialTableAndEnds130()
    {
        RequireInterrupt();
        using var scene = new Scene();
        using ToolProcess tool = ToolProcess.Start("train", "--config", scene.Job(Scene.Private(("transport.kind", "grpc"))), "--cross-validate", "20", "--report", scene.At("report.json"));
        await tool.SaysAsync("fold 2 of 20");
        ToolProcess.Send(tool.Id, ToolProcess.Interrupt);
        ToolRun run = await tool.EndAsync();
        Assert.True(run.ExitCode == Tool.Interrupted, run.Error);
        JsonNode tuning = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!["tuning"]!;
        Assert.Equal((false, "interrupted"), ((bool)tuning["complete"]!, (string)tuning["candidates"]![0]!["status"]!));
        Assert.InRange(tuning["candidates"]![0]!["scores"]!.AsArray().Count, 1, 19);
        Assert.All(tuning["cost"]!.AsArray(), cost => Assert.True((double)cost!["epsilon"]! > 0));
    }

    /// <summary>An error that is not one candidate's own ends all runs, and what was paid is told.</summary>
    [Fact]
    public async Task Tune_APartyDies_WritesThePartialTableAndEndsWithItsError()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Processes are found in /proc.");
        using var scene = new Scene();
        using ToolProcess tool = ToolProcess.Start("train", "--config", scene.Job(Scene.Private(("transport.kind", "grpc"), ("training.epochs", 100_000))), "--cross-validate", "20", "--report", scene.At("report.json"));
        await tool.SaysAsync("round ");
        (int bank, _) = ToolProcess.Children(tool.Id).Single(child => child.Command.Contains("bank"));
        const int Killed = 9;
        ToolProcess.Send(bank, Killed);
        ToolRun run = await tool.EndAsync();
        Assert.True(run.ExitCode == 4, run.Error);
        JsonNode report = JsonNode.Parse(File.ReadAllText(scene.At("report.json")))!, tuning = report["tuning"]!;
        Assert.False((bool)tuning["complete"]!);
        string id = (string)tuning["candidates"]![0]!["error"]!["id"]!;
        Assert.StartsWith("FL4", id, StringComparison.Ordinal);
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
        Assert.Contains($"the tuning was ended by an error ({id}): 0 of its 20 runs ended, and the table is partial", report["warnings"]!.AsArray().Select(w => (string)w!));
        // The dead party's run is charged in full, the other's by the few messages that it sent.
        Assert.Equal([("bank", 1), ("telco", 1)], tuning["cost"]!.AsArray().Select(c => ((string)c!["party"]!, (int)c["runs"]!)));
        Assert.Equal(1, (double)tuning["cost"]![0]!["epsilon"]!, 1e-9);
    }

    [Fact]
    public async Task Ask_ProcessThatHasEnded_IsNotThere()
    {
        using var workers = new WorkerPool();
        var order = new WorkerOrder(GrpcRelay.Train, "absent.json");
        WorkerProcess worker = WorkerProcess.Start("bank", order);
        Assert.Equal(2, await worker.EndAsync());
        workers.Keep("bank", worker);
        Assert.Null(workers.Ask("bank", order));
        Assert.Null(workers.Ask("telco", order));
    }

    [Fact]
    public void Start_SystemStartsNoProcess_SaysWhatToLookAt()
    {
        // No system takes an argument of so many characters.
        string party = new('x', 1 << 18);
        InternalFailureException error = Assert.Throws<InternalFailureException>(() => WorkerProcess.Start(party, new WorkerOrder(GrpcRelay.Train, "absent.json")));
        Assert.Equal((RunningErrors.ChildFailed, $"party '{party}'"), (error.Id, error.Place));
        Assert.Contains("did not start", error.Cause, StringComparison.Ordinal);
        Assert.Equal("Look at the system's limits, or use --in-process.", error.Remedy);
    }
}
