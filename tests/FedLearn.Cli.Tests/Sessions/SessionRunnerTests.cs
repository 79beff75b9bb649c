using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>Sessions whose parties are processes of the test, which say what a party's process would.</summary>
public class SessionRunnerTests
{
    private const string Listening = """{"event":"listening","address":"http://127.0.0.1:1"}""", Progress = """{"event":"progress","party":"bank","unit":"round","done":3,"of":3,"loss":null,"figures":{}}""";

    private static string Result(string party) => $$$"""{"event":"result","document":{"party":"{{{party}}}"}}""";

    /// <summary>Figures are made once the others have been let go: whoever presses Ctrl-C then has a trained model, and its report.</summary>
    [Fact]
    public async Task RunAsync_StoppedWhenEveryPartyHasItsResult_ReturnsThem()
    {
        IReadOnlyList<JsonObject> documents = await StoppedAsync(bank: [Listening, Result("bank"), Progress], telco: [Result("telco")]);
        Assert.Equal(["bank", "telco"], documents.Select(d => (string?)d["party"]));
    }

    [Fact]
    public async Task RunAsync_StoppedWhenAPartyHasNone_IsStopped() =>
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => StoppedAsync(bank: [Listening, Result("bank"), Progress], telco: []));

    /// <summary>Runs a session of two processes that say some lines and then wait to be stopped, as they are at the first progress.</summary>
    private static async Task<IReadOnlyList<JsonObject>> StoppedAsync(string[] bank, string[] telco)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The processes are shell scripts.");
        using var scene = new Scene();
        using var workers = new WorkerPool();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        var order = new SessionOrder(RunFile.Load(scene.Job(("transport.kind", "grpc"))), GrpcRelay.Train) { Workers = workers };
        // The bank's progress stops all: by then the other has said what it has to say.
        var said = new TaskCompletionSource();
        workers.Keep("telco", Saying([.. telco, """{"event":"log","text":"all said"}"""]));
        workers.Keep("bank", Saying(bank));
        var progress = new SynchronousProgress<JobProgress>(_ => said.Task.ContinueWith(_ => stop.Cancel(), TaskScheduler.Default));
        return await SessionRunner.RunAsync(order, inProcess: false, progress, text =>
        {
            if (text.EndsWith("all said", StringComparison.Ordinal))
                said.TrySetResult();
        }, stop.Token);
    }

    private const string Stays = """{"event":"stays"}""", Failed = """{"event":"error","id":"FL3999","place":"the place","cause":"the cause.","remedy":"The remedy."}""";

    [Fact]
    public async Task RunAsync_WhatAProcessSays_IsPassedOnAndTheProcessKept()
    {
        var log = new List<string>();
        var progress = new List<JobProgress>();
        using var workers = new WorkerPool();
        SessionOrder order = Order(workers);
        IReadOnlyList<JsonObject> documents = await SayAsync(order, Saying([Listening, "{ a line that a dying process did not fin", """{"event":"log","text":"hello"}""", Progress, Result("bank"), Stays]), Saying([Result("telco"), Stays]), log, progress);
        Assert.Equal(["bank", "telco"], documents.Select(d => (string?)d["party"]));
        Assert.Equal(["bank: hello"], log);
        Assert.Equal(("bank", "round", 3, 3), progress.Single() is var p ? (p.Party, p.Unit, p.Done, p.Of) : default);
        foreach (string party in order.Parties)
            using (WorkerProcess kept = workers.Ask(party, WorkerOrder.Of(order, party, null, null))!)
                Assert.NotNull(kept);
    }

    [Fact]
    public async Task RunAsync_ProcessThatFailsOrDies_IsTheErrorOfTheSession()
    {
        var log = new List<string>();
        using var workers = new WorkerPool();
        Task<FedLearnException> FailsAsync(WorkerProcess telco) => Assert.ThrowsAnyAsync<FedLearnException>(() => SayAsync(Order(workers), Saying([Listening, Result("bank")], "exit 0"), telco, log, []));
        FedLearnException error = await FailsAsync(Saying([Result("telco"), Failed], "exit 3"));
        Assert.Equal(("FL3999", "the place", "the cause.", "The remedy."), (error.Id, error.Place, error.Cause, error.Remedy));
        error = await FailsAsync(Saying([], "echo out of memory >&2; echo more >&2; exit 3"));
        Assert.Equal((RunningErrors.ChildDied, "party 'telco'", "its process ended with code 3 before the job did: out of memory."), (error.Id, error.Place, error.Cause));
        error = await FailsAsync(Saying([], "exit 4"));
        Assert.Equal("its process ended with code 4 before the job did.", error.Cause);
        // One that waits for its next order without a result has nobody who gives it one.
        error = await FailsAsync(Saying([Stays]));
        Assert.Equal((RunningErrors.ChildDied, "its process ended with code 137 before the job did."), (error.Id, error.Cause));
        Assert.Empty(log);
        error = await FailsAsync(Saying([Failed.Replace("FL3999", CliErrors.Unexpected, StringComparison.Ordinal)], "echo '   at Some.Method()' >&2; exit 6"));
        Assert.Equal(CliErrors.Unexpected, error.Id);
        Assert.Equal("at Some.Method()", Assert.Single(log));
    }

    [Fact]
    public void Parties_WhateverTheirOrderInTheFile_HaveTheActiveOneFirst()
    {
        using var scene = new Scene();
        JsonArray parties = JsonNode.Parse(File.ReadAllText(scene.Job()))!["parties"]!.AsArray();
        RunFile run = RunFile.Load(scene.Job(("parties", new JsonArray(parties[1]!.DeepClone(), parties[0]!.DeepClone()))));
        Assert.Equal(["bank", "telco"], new SessionOrder(run, GrpcRelay.Train).Parties);
    }

    private static SessionOrder Order(WorkerPool workers)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The processes are shell scripts.");
        using var scene = new Scene();
        return new SessionOrder(RunFile.Load(scene.Job(("transport.kind", "grpc"))), GrpcRelay.Train) { Workers = workers };
    }

    private static Task<IReadOnlyList<JsonObject>> SayAsync(SessionOrder order, WorkerProcess bank, WorkerProcess telco, List<string> log, List<JobProgress> progress)
    {
        order.Workers!.Keep("bank", bank);
        order.Workers.Keep("telco", telco);
        return SessionRunner.RunAsync(order, inProcess: false, new SynchronousProgress<JobProgress>(progress.Add), log.Add, TestContext.Current.CancellationToken).WaitAsync(ToolProcess.Patience, TestContext.Current.CancellationToken);
    }

    /// <summary>A process that takes an order, says lines and, unless it ends otherwise, waits for the end of its standard input.</summary>
    private static WorkerProcess Saying(string[] lines, string end = "cat >/dev/null")
    {
        var start = new ProcessStartInfo("/bin/sh", ["-c", $"read order; [ $# = 0 ] || printf '%s\\n' \"$@\"; {end}", "sh", .. lines])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        return new WorkerProcess(Process.Start(start)!);
    }
}
