using System.CommandLine;
using System.Globalization;
using System.Text;
using FedLearn.Experiments.Tables;

namespace FedLearn.Experiments.Wire;

/// <summary>Round trips of a scores and a residuals message over loopback between two processes, beside gRPC of Python and of C++ with as many bytes; and what a message costs on the socket.</summary>
internal static class WireVerb
{
    private const int CountedBefore = 2000, CountedAfter = 6000;

    public static Command Create()
    {
        Option<int> turns = Verbs.Positive("--turns", "Turns of each pair, interleaved.", 5), rounds = Verbs.Positive("--rounds", "Round trips of 256 rows a turn.", 10_000),
            warmup = Verbs.Positive("--warm-up", "Round trips before those; of larger messages at most as many as are measured.", 15_000);
        var peers = new Option<string>("--peers") { Description = "Folder of the peers: exchange.py.", DefaultValueFactory = _ => Path.Combine(Verbs.Repository(), "benchmarks", "peers") };
        var built = new Option<string>("--built") { Description = "Folder of the built peers: exchange.", DefaultValueFactory = _ => Path.Combine(Verbs.Repository(), "build", "peers") };
        Option<string[]> only = Verbs.List("--only", "Pairs to run; others are left out.", "fedlearn", "fedlearn-tls", "python-blocking", "python-async", "c++-blocking", "c++-polling");
        Option<bool> quick = Ratio.Quick("3 turns of 3,000 round trips of 256 rows beside grpcio alone, no bytes, no result file.");
        Option<DirectoryInfo> output = Verbs.Out();
        var command = new Command("wire-speed", "Round trips over loopback gRPC beside grpcio and grpc C++; bytes on the socket.") { turns, rounds, warmup, peers, built, only, quick, output };
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            bool isQuick = parsed.GetValue(quick);
            string tls = Directory.CreateTempSubdirectory("fedlearn-wire").FullName;
            try
            {
                WireParty.MakeCertificates(tls);
                string python = Path.Combine(parsed.GetRequiredValue(peers), "exchange.py"), cpp = Path.Combine(parsed.GetRequiredValue(built), "exchange");
                WirePair[] pairs = [.. new[]
                {
                    WireRuns.Ours("fedlearn", null), WireRuns.Ours("fedlearn-tls", tls),
                    Peer("python-blocking", ["/usr/bin/python3", python], "blocking"), Peer("python-async", ["/usr/bin/python3", python], "async"),
                    Peer("c++-blocking", [cpp], "blocking"), Peer("c++-polling", [cpp], "polling"),
                }.Where(p => isQuick ? p.Name is "fedlearn" or "python-blocking" or "python-async" : parsed.GetRequiredValue(only).Contains(p.Name))];
                int many = isQuick ? 3000 : parsed.GetValue(rounds);
                WireMessage[] messages = [new(Lattice: true, 256, many), new(Lattice: false, 4096, Math.Max(1, many / 5)), new(Lattice: false, 100_000, Math.Max(1, many / 50))];
                var runs = pairs.ToDictionary(p => p.Name, _ => new List<WireTimes[]>());
                for (int turn = 0; turn < (isQuick ? 3 : parsed.GetValue(turns)); turn++)
                    foreach (WirePair pair in pairs)
                    {
                        WireTimes[] times = await WireRuns.RunAsync(pair, messages, isQuick ? 3000 : parsed.GetValue(warmup), null, stop).ConfigureAwait(false);
                        runs[pair.Name].Add(times);
                        await Console.Error.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{turn + 1}: {pair.Name}: {string.Join(", ", times.Select(t => $"{t.P50:0.0} ({t.P99:0.0}) us"))}")).ConfigureAwait(false);
                    }

                var ratios = new List<Ratio>();
                string text = Table(messages, pairs, runs, ratios);
                if (!isQuick)
                {
                    if (runs.TryGetValue("fedlearn", out List<WireTimes[]>? own))
                        ratios.Add(new Ratio("wire-speed.256-rows-p50-over-80-us", Verbs.Median(own.Select(r => r[0].P50)) / 80, 1));
                    text += await BytesAsync(ratios, stop).ConfigureAwait(false);
                }

                return Ratio.Finish("wire-speed", text, ratios, isQuick ? null : parsed.GetValue(output));
            }
            finally
            {
                Directory.Delete(tls, recursive: true);
            }
        }));
        return command;
    }

    private static WirePair Peer(string name, string[] program, string style) => new(name, [.. program, "server", style], [.. program, "client", style], Ours: false);

    private static string Table(WireMessage[] messages, WirePair[] pairs, Dictionary<string, List<WireTimes[]>> runs, List<Ratio> ratios)
    {
        var text = new StringBuilder();
        text.AppendLine("# Round trips beside gRPC of Python and C++").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{Machine.Current()}. Round trips over loopback between two processes; medians of {runs.Values.First().Count} interleaved turns, microseconds. Our processes have the settings of the tool: compiled again after 8,192 calls, sockets complete in place.");
        text.AppendLine("Ours: scores there, residuals back, through the public channels (checks, counts and time limits included); peers: a bidirectional stream with as many bytes each way.");
        foreach (WireMessage message in messages)
        {
            int at = Array.IndexOf(messages, message);
            double ours = runs.TryGetValue("fedlearn", out List<WireTimes[]>? own) ? Verbs.Median(own.Select(r => r[at].P50)) : double.NaN;
            text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"**{message.Rows:N0} rows, {message.Form}, {message.Bytes:N0} bytes, {message.Rounds:N0} round trips a turn**").AppendLine();
            text.AppendLine("| pair | p50 | min, max of p50 | p99 | fedlearn / this (p50) | managed bytes allocated a round trip, client |").AppendLine("|---|---|---|---|---|---|");
            foreach (WirePair pair in pairs)
            {
                WireTimes[] times = [.. runs[pair.Name].Select(r => r[at])];
                double p50 = Verbs.Median(times.Select(t => t.P50));
                if (at == 0 && pair.Name != "fedlearn" && !double.IsNaN(ours))
                    ratios.Add(new Ratio($"wire-speed.256-rows-over-{pair.Name}", ours / p50, pair.Name.StartsWith("python", StringComparison.Ordinal) ? .6 : pair.Name.StartsWith("c++", StringComparison.Ordinal) ? 1.5 : null));
                string allocated = times[0].Allocated is null ? "" : Verbs.Median(times.Select(t => t.Allocated!.Value)).ToString("0.0", CultureInfo.InvariantCulture);
                text.AppendLine(CultureInfo.InvariantCulture, $"| {pair.Name} | {p50:0.0} | {times.Min(t => t.P50):0.0}, {times.Max(t => t.P50):0.0} | {Verbs.Median(times.Select(t => t.P99)):0.0} | {ours / p50:0.00} | {allocated} |");
            }
        }

        return text.ToString();
    }

    /// <summary>Bytes that one more message costs on the socket, HTTP/2 included, TCP not: by the difference of two sessions.</summary>
    private static async Task<string> BytesAsync(List<Ratio> ratios, CancellationToken stop)
    {
        var text = new StringBuilder();
        text.AppendLine().AppendLine("Bytes on the socket a message, by the difference of two sessions through a counting proxy (payload, protobuf, gRPC prefix, HTTP/2 frames and window updates; TCP and IP not):").AppendLine();
        text.AppendLine("| message | packed payload | scores, passive to active | residuals, back | a row and direction, at most |").AppendLine("|---|---|---|---|---|");
        foreach (WireMessage message in (WireMessage[])[new(true, 256, 0), new(true, 4096, 0), new(false, 256, 0)])
        {
            (long there, long back) few = await CountAsync(message with { Rounds = CountedBefore }, stop).ConfigureAwait(false), many = await CountAsync(message with { Rounds = CountedAfter }, stop).ConfigureAwait(false);
            double there = (double)(many.there - few.there) / (CountedAfter - CountedBefore), back = (double)(many.back - few.back) / (CountedAfter - CountedBefore);
            if (message is { Lattice: true, Rows: 256 })
                ratios.Add(new Ratio("wire-speed.bytes-a-row-over-4.2", Math.Max(there, back) / message.Rows / 4.2, 1));
            text.AppendLine(CultureInfo.InvariantCulture, $"| {message.Rows} rows, {message.Form} | {message.Bytes} | {there:0.0} | {back:0.0} | {Math.Max(there, back) / message.Rows:0.000} |");
        }

        return text.ToString();
    }

    private static async Task<(long There, long Back)> CountAsync(WireMessage message, CancellationToken stop)
    {
        using var proxy = new CountingProxy();
        await WireRuns.RunAsync(WireRuns.Ours("fedlearn", null), [message], 1, proxy.To, stop).ConfigureAwait(false);
        return (proxy.There, proxy.Back);
    }
}
