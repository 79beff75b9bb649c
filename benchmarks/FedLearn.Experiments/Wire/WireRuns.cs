using System.Diagnostics;
using System.Globalization;

namespace FedLearn.Experiments.Wire;

/// <summary>Round trips of one message in one run.</summary>
/// <param name="P50">Median, microseconds.</param>
/// <param name="P99">99th percentile, microseconds.</param>
/// <param name="Allocated">Managed bytes that the process which measures allocated a round trip; null for peers.</param>
internal sealed record WireTimes(double P50, double P99, double? Allocated);

/// <summary>Something that makes round trips between two processes: a name, and the command lines of its server and of its client without address and messages.</summary>
internal sealed record WirePair(string Name, string[] Server, string[] Client, bool Ours);

/// <summary>Runs pairs of processes.</summary>
internal static class WireRuns
{
    /// <summary>FedLearn itself.</summary>
    public static WirePair Ours(string name, string? tls)
    {
        string[] party = ["dotnet", typeof(WireRuns).Assembly.Location, WireParty.Verb, .. tls is null ? [] : (string[])["--tls", tls]];
        return new WirePair(name, [.. party, "--role", "active"], [.. party, "--role", "passive"], Ours: true);
    }

    /// <summary>One run: both processes, all messages.</summary>
    /// <param name="pair">What runs.</param>
    /// <param name="messages">Messages; of peers as many bytes as ours have when packed.</param>
    /// <param name="warmup">Round trips before those that count.</param>
    /// <param name="through">Where the client connects instead of to the server; null to the server.</param>
    /// <param name="stop">Stops.</param>
    public static async Task<WireTimes[]> RunAsync(WirePair pair, IReadOnlyList<WireMessage> messages, int warmup, Func<Uri, Uri>? through, CancellationToken stop)
    {
        string count = warmup.ToString(CultureInfo.InvariantCulture), all = string.Join(',', messages);
        using Process server = Start(pair.Ours ? [.. pair.Server, "--messages", all, "--warm-up", count] : pair.Server);
        try
        {
            Task<string> serverErrors = server.StandardError.ReadToEndAsync(stop);
            string? listening = await server.StandardOutput.ReadLineAsync(stop).ConfigureAwait(false);
            if (listening?.StartsWith(WireParty.Listening, StringComparison.Ordinal) is not true)
                throw new InvalidOperationException($"{pair.Name}: the server did not start: {await serverErrors.ConfigureAwait(false)}");
            string address = listening[WireParty.Listening.Length..];
            string[] client = pair.Ours ? [.. pair.Client, "--coordinator", (through is null ? new Uri(address) : through(new Uri(address))).ToString(), "--messages", all, "--warm-up", count]
                : [.. pair.Client, address, count, .. messages.Select(m => string.Create(CultureInfo.InvariantCulture, $"{m.Bytes}:{m.Rounds}"))];
            using Process measuring = Start(client);
            try
            {
                Task<string> errors = measuring.StandardError.ReadToEndAsync(stop);
                string output = await measuring.StandardOutput.ReadToEndAsync(stop).ConfigureAwait(false);
                await measuring.WaitForExitAsync(stop).ConfigureAwait(false);
                if (measuring.ExitCode != 0)
                    throw new InvalidOperationException($"{pair.Name}: the client ended with code {measuring.ExitCode}: {await errors.ConfigureAwait(false)}");
                return [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Times)];
            }
            finally
            {
                End(measuring);
            }
        }
        finally
        {
            End(server);
        }
    }

    private static WireTimes Times(string line)
    {
        double[] figures = [.. line.Split(' ').Skip(1).Select(f => double.Parse(f, CultureInfo.InvariantCulture))];
        return new WireTimes(figures[0], figures[1], figures.Length > 2 ? figures[2] : null);
    }

    private static Process Start(string[] command)
    {
        var start = new ProcessStartInfo(command[0]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in command.Skip(1))
            start.ArgumentList.Add(argument);
        ToolSettings.AddTo(start.Environment);
        return Process.Start(start)!;
    }

    private static void End(Process process)
    {
        if (!process.HasExited)
            process.Kill();
    }
}
