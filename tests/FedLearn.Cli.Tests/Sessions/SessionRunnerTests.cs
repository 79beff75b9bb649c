using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
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

    /// <summary>A process that takes an order, says lines and waits for the end of its standard input.</summary>
    private static WorkerProcess Saying(string[] lines)
    {
        var start = new ProcessStartInfo("/bin/sh", ["-c", "read order; printf '%s\\n' \"$@\"; cat >/dev/null", "sh", .. lines])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        return new WorkerProcess(Process.Start(start)!);
    }
}
