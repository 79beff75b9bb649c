using System.Diagnostics;
using FedLearn.Tests.Shared;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>Two parties as processes in two network namespaces, as on two hosts, and a link between them that fails. Needs root and iproute2.</summary>
[Collection(nameof(NetworkAlone))]
public sealed class NamespaceReliabilityTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task Link_DownForAMoment_BothEndWithTheRightModel()
    {
        await using Hosts hosts = await Hosts.CreateAsync();
        var log = new ReliabilityLog("sessions between two network namespaces, the link down for a moment");
        Trial trial = await NetworkChild.TrialAsync();
        await using Party active = Party.Start(hosts.Active, "active", Hosts.Address, receiveSeconds: 60, holdAt: 5);
        string address = (await active.LineAsync("listening "))["listening ".Length..];
        await using Party passive = Party.Start(hosts.Passive, "passive", address, receiveSeconds: 60, holdAt: int.MaxValue);
        await active.LineAsync("held");
        await hosts.LinkAsync(up: false);
        active.Go();
        // The network comes back only when TCP has sent something again in vain.
        await hosts.RetransmitsAsync().WaitAsync(Limit);
        await hosts.LinkAsync(up: true);
        Assert.Equal($"model {trial.Expected[0]}", await active.LineAsync());
        Assert.Equal($"model {trial.Expected[1]}", await passive.LineAsync());
        Assert.Equal((0, 0), (await active.ExitAsync(), await passive.ExitAsync()));
        log.Passed(1, "both models bit-identical");
    }

    [Fact]
    public async Task Link_DownForGood_BothEndWithAnErrorOfTheNetwork()
    {
        await using Hosts hosts = await Hosts.CreateAsync();
        var log = new ReliabilityLog("sessions between two network namespaces, the link down for good");
        await using Party active = Party.Start(hosts.Active, "active", Hosts.Address, receiveSeconds: 4, holdAt: 5);
        string address = (await active.LineAsync("listening "))["listening ".Length..];
        await using Party passive = Party.Start(hosts.Passive, "passive", address, receiveSeconds: 4, holdAt: int.MaxValue);
        await active.LineAsync("held");
        await hosts.LinkAsync(up: false);
        active.Go();
        string one = await active.LineAsync(), two = await passive.LineAsync();
        Assert.StartsWith("error FL4", one, StringComparison.Ordinal);
        Assert.StartsWith("error FL4", two, StringComparison.Ordinal);
        Assert.Equal((4, 4), (await active.ExitAsync(), await passive.ExitAsync()));
        log.Passed(1, $"both ended, with {one["error ".Length..]} and {two["error ".Length..]}");
    }

    private static async Task<(int Code, string Output)> IpAsync(params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo("ip", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(Limit);
        return (process.ExitCode, await output + await error);
    }

    /// <summary>Two network namespaces with a pair of interfaces between them.</summary>
    private sealed class Hosts : IAsyncDisposable
    {
        private const string ActiveIp = "10.213.77.1", PassiveIp = "10.213.77.2";

        public string Active { get; } = $"fedlearn{Environment.ProcessId}a";

        public string Passive { get; } = $"fedlearn{Environment.ProcessId}p";

        /// <summary>Where the active party is to listen, on a port that the system chooses.</summary>
        public const string Address = $"http://{ActiveIp}:0";

        public static async Task<Hosts> CreateAsync()
        {
            var hosts = new Hosts();
            if (!OperatingSystem.IsLinux() || Environment.UserName != "root")
                Assert.Skip("Network namespaces need Linux and root.");
            try
            {
                if (await IpAsync("netns", "add", hosts.Active) is (not 0, var refused))
                    Assert.Skip($"This system lets nobody make a network namespace: {refused.Trim()}");
            }
            catch (System.ComponentModel.Win32Exception)
            {
                Assert.Skip("ip (Debian's iproute2; eng/setup.sh test) is needed.");
            }

            try
            {
                await DoAsync("netns", "add", hosts.Passive);
                await DoAsync("link", "add", "active0", "netns", hosts.Active, "type", "veth", "peer", "name", "passive0", "netns", hosts.Passive);
                foreach ((string name, string device, string ip) in new[] { (hosts.Active, "active0", ActiveIp), (hosts.Passive, "passive0", PassiveIp) })
                {
                    await DoAsync("-n", name, "addr", "add", ip + "/24", "dev", device);
                    await DoAsync("-n", name, "link", "set", "lo", "up");
                    await DoAsync("-n", name, "link", "set", device, "up");
                }
            }
            catch
            {
                await hosts.DisposeAsync();
                throw;
            }

            return hosts;
        }

        /// <summary>Takes the link down at the passive party's end, or up again: the active one loses the carrier.</summary>
        public Task LinkAsync(bool up) => DoAsync("-n", Passive, "link", "set", "passive0", up ? "up" : "down");

        /// <summary>Waits until a connection of the active party has sent something again.</summary>
        public async Task RetransmitsAsync()
        {
            while (true)
            {
                (int code, string connections) = await IpAsync("netns", "exec", Active, "cat", "/proc/net/tcp");
                Assert.Equal(0, code);
                // Fields of a line: number, local, remote, state (01: established), queues, timer, retransmissions.
                if (connections.Split('\n').Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Any(f => f.Length > 6 && f[3] == "01" && f[6] != "00000000"))
                    return;
            }
        }

        public async ValueTask DisposeAsync()
        {
            // The interfaces go with the namespaces.
            await IpAsync("netns", "del", Active);
            await IpAsync("netns", "del", Passive);
        }

        private static async Task DoAsync(params string[] arguments)
        {
            (int code, string output) = await IpAsync(arguments);
            Assert.True(code == 0, $"ip {string.Join(' ', arguments)}: {output}");
        }
    }

    /// <summary>A party as a process of its own.</summary>
    private sealed class Party(Process process) : IAsyncDisposable
    {
        public static Party Start(string host, string role, string address, int receiveSeconds, int holdAt)
        {
            string program = Environment.ProcessPath!;
            string[] own = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [program, typeof(NetworkChild).Assembly.Location] : [program];
            string[] arguments = ["netns", "exec", host, .. own, "child", "network", "party", role, address, FormattableString.Invariant($"{receiveSeconds}"), FormattableString.Invariant($"{holdAt}")];
            return new Party(Process.Start(new ProcessStartInfo("ip", arguments) { RedirectStandardInput = true, RedirectStandardOutput = true })!);
        }

        /// <summary>The next line that the party writes.</summary>
        public async Task<string> LineAsync(string start = "")
        {
            string? line = await process.StandardOutput.ReadLineAsync().WaitAsync(Limit);
            Assert.NotNull(line);
            Assert.StartsWith(start, line, StringComparison.Ordinal);
            return line;
        }

        /// <summary>Lets it go on.</summary>
        public void Go() => process.StandardInput.WriteLine();

        public async Task<int> ExitAsync()
        {
            await process.WaitForExitAsync().WaitAsync(Limit);
            return process.ExitCode;
        }

        public async ValueTask DisposeAsync()
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
                await process.WaitForExitAsync();
            }

            process.Dispose();
        }
    }
}
