using System.Diagnostics;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>Processes that are killed, stopped and interrupted in the middle of a training of many minutes.</summary>
public class DeathTests
{
    private const double MessageSeconds = 100;

    private static readonly string[] Progress = ["round 1 of 1000000"];

    private static async Task<(ToolProcess Bank, ToolProcess Telco)> TrainingAsync(Scene scene, double messageSeconds = MessageSeconds)
    {
        RequireLinux();
        scene.Job(Scene.Endless());
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

    [Fact]
    public async Task Train_ParentKilled_ChildrenEnd()
    {
        using var scene = new Scene();
        (ToolProcess parent, int bank, int telco) = await ParentAsync(scene);
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
}
