using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;
using FedLearn.Tests.Shared;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>Real processes that are killed (SIGKILL) at random moments of one run and started again at once.</summary>
public sealed class KillReliabilityTests
{
    [Fact]
    public Task Party_KilledManyTimesInOneRun_EndsWithTheBitIdenticalModelAndOneCharge() => IdenticalAsync("hdp", TestCounts.Scale > 1 ? 100 : 8);

    [Theory]
    [InlineData("hdp-three")]
    [InlineData("none")]
    public Task Party_KilledAtRandomMoments_EndsWithTheBitIdenticalModelAndOneCharge(string name) => IdenticalAsync(name, TestCounts.Of(3));

    private static async Task IdenticalAsync(string name, int kills, [CallerMemberName] string test = "")
    {
        var log = new ReliabilityLog($"kill -9 of a random party, or of all, in one run; {name}", test);
        int epochs = Epochs(kills);
        IReadOnlyList<GlmPartyResult> whole = await CutRun.WholeAsync(name, KillJobs.Job(name, testNoise: true, epochs, every: 5));
        using var world = new KillWorld(name, "test", epochs);
        JsonObject[] results = await world.RunAsync(kills, seed: 20261127 + name.Length);
        foreach ((GlmPartyResult due, JsonObject got) in whole.Zip(results))
        {
            Assert.Equal(due.Model.WeightsSha256, (string?)got["weights"]);
            Assert.Equal((due.Train?.Auc, due.Test?.Auc), ((double?)got["train"], (double?)got["test"]));
        }

        world.AssertLedgersAndMessages();
        log.Passed(kills, $"{results.Length} models bit-identical, one charge each, {world.Sent.Again} messages sent again, none with other bytes");
    }

    /// <summary>Enough of four rounds each that a run does not end before its last kill: one comes after 12 messages, some 6 rounds, on the average.</summary>
    private static int Epochs(int kills) => 10 + 3 * kills;

    [Theory]
    [InlineData("hdp", 3)]
    [InlineData("weight-noise", 4)]
    public async Task Party_SecureNoiseAndKills_NoMessageHasTwoContents(string name, int fast)
    {
        var log = new ReliabilityLog($"kill -9 in a run with secure noise, {name}");
        int kills = TestCounts.Of(fast);
        using var world = new KillWorld(name, "secure", Epochs(kills));
        await world.RunAsync(kills, seed: 7);
        world.AssertLedgersAndMessages();
        Assert.True(world.Sent.Again > 0, "nothing was sent again, so nothing was tested");
        log.Passed(kills, $"{world.Sent.Count} messages and local values, {world.Sent.Again} again, none with other bytes");
    }
}

/// <summary>The processes of one run.</summary>
internal sealed class KillWorld : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _name, _noise, _epochs;
    private readonly string[] _parties;
    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-kills-").FullName;
    private readonly int _port;
    private readonly Process[] _children;
    private readonly JsonObject?[] _results;
    private readonly List<string> _errors = [];
    // One for each message that any party sends, so that kills come at moments of the run and not of the clock.
    private readonly Channel<int> _signs = Channel.CreateUnbounded<int>();

    public KillWorld(string name, string noise, int epochs)
    {
        (_name, _noise, _epochs, _parties) = (name, noise, epochs.ToString(CultureInfo.InvariantCulture), KillJobs.Parties(name));
        (_children, _results) = (new Process[_parties.Length], new JsonObject?[_parties.Length]);
        _port = FreePorts.Next();
    }

    public SentContents Sent { get; } = new();

    public void Dispose()
    {
        foreach (Process? child in _children)
        {
            if (child is { HasExited: false })
                child.Kill();
            child?.WaitForExit();
            child?.Dispose();
        }

        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Runs the job to its end and kills on the way.</summary>
    public async Task<JsonObject[]> RunAsync(int kills, int seed)
    {
        var random = new Random(seed);
        for (int i = 0; i < _parties.Length; i++)
            Start(i);
        for (int kill = 0; kill < kills; kill++)
        {
            for (int sign = random.Next(1, 25); sign > 0; sign--)
                await NextAsync($"kill {kill}");
            long start = Stopwatch.GetTimestamp(), spin = random.Next(5000);
            while (Stopwatch.GetElapsedTime(start).TotalMicroseconds < spin)
                Thread.SpinWait(10);
            int victim = random.Next(_parties.Length + 1);
            int[] victims = victim == _parties.Length ? [.. Enumerable.Range(0, _parties.Length)] : [victim];
            foreach (int i in victims)
            {
                Assert.Null(_results[i]);
                _children[i].Kill();
            }

            foreach (int i in victims)
            {
                await _children[i].WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(Patience, TestContext.Current.CancellationToken);
                Assert.Equal(128 + 9, _children[i].ExitCode);
                _children[i].Dispose();
            }

            // What was said before the kill is no sign of life after it.
            while (_signs.Reader.TryRead(out _))
            {
            }

            foreach (int i in victims)
                Start(i);
        }

        for (int i = 0; i < _parties.Length; i++)
        {
            await _children[i].WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(3 * Patience, TestContext.Current.CancellationToken);
            Assert.True(_children[i].ExitCode == 0, $"{_parties[i]} ended with {_children[i].ExitCode}: {Errors()}");
        }

        // The last line is read beside the end of the process.
        while (_results.Any(r => r is null))
            await NextAsync("the results");
        return [.. _results.Select(r => r!)];
    }

    /// <summary>One settled charge each, ledgers that verify, nothing left beside them, and one content for each message and each value that stays.</summary>
    public void AssertLedgersAndMessages()
    {
        foreach (string party in _parties)
        {
            string ledger = Path.Combine(_folder, party + ".ledger.db");
            // Mode none charges nothing.
            if (_name != "none")
            {
                LedgerAudit audit = SqliteLedger.Audit(ledger);
                Assert.Null(audit.Fault);
                LedgerEntry charge = Assert.Single(audit.Entries, e => e.Share > 0);
                Assert.All(audit.Entries, e => Assert.Equal(ChargeState.Settled, e.State));
                Assert.Equal(1, charge.Share);
            }

            foreach (string line in File.ReadAllLines(Path.Combine(_folder, party + ".sent")))
                if (line.Split('\t') is [var message, { Length: 32 } digest])
                    Sent.Add($"{party}: {message}", digest);
        }

        Assert.Empty(Sent.Different);
        Assert.DoesNotContain(Directory.GetFiles(_folder), f => f.Contains(".state", StringComparison.Ordinal) || f.EndsWith(".outbox", StringComparison.Ordinal));
    }

    private void Start(int i)
    {
        Process child = KillProcess.Start("kills", _name, _noise, _epochs, _parties[i], _folder, _port.ToString(CultureInfo.InvariantCulture));
        _children[i] = child;
        child.OutputDataReceived += (_, line) =>
        {
            if (line.Data?.StartsWith("result ", StringComparison.Ordinal) == true)
                _results[i] = JsonNode.Parse(line.Data["result ".Length..])!.AsObject();
            if (line.Data is not (null or "ready"))
                _signs.Writer.TryWrite(i);
        };
        child.ErrorDataReceived += (_, line) =>
        {
            lock (_errors)
                if (line.Data is { } text)
                    _errors.Add($"{_parties[i]}: {text}");
        };
        child.BeginOutputReadLine();
        child.BeginErrorReadLine();
    }

    private async Task NextAsync(string what)
    {
        try
        {
            await _signs.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(Patience, TestContext.Current.CancellationToken);
        }
        catch (TimeoutException)
        {
            Assert.Fail($"No party said anything while {what} was due. {Errors()}");
        }
    }

    private string Errors()
    {
        lock (_errors)
            return string.Join("\n", _errors.TakeLast(12));
    }
}

/// <summary>A child process of this program.</summary>
internal static class KillProcess
{
    public static Process Start(params string[] arguments)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true, RedirectStandardError = true };
        // The path of a test that was started as "dotnet X.dll" is that of dotnet.
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
            start.ArgumentList.Add(typeof(KillProcess).Assembly.Location);
        foreach (string argument in (string[])["child", .. arguments])
            start.ArgumentList.Add(argument);
        start.Environment["DOTNET_TieredPGO"] = "0";
        return Process.Start(start)!;
    }
}
