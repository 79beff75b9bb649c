using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using FedLearn.Experiments.Tables;

namespace FedLearn.Experiments.Speed;

/// <summary>Seconds an epoch of a binomial model over gRPC between two processes, without privacy and with HDP-VFL: the shape of FATE's published benchmark.</summary>
/// <remarks>Runs the tool itself, so that everything a user pays for is in the figure; the figure is that of the training rounds alone.</remarks>
internal static class GrpcSpeedVerb
{
    private const int ActiveColumns = 30, PassiveColumns = 300;

    /// <summary>Seconds that an epoch of the shape of FATE's benchmark may take.</summary>
    private const double FateSeconds = 0.05;

    public static Command Create()
    {
        Option<bool> quick = Ratio.Quick("20,000 rows, 3 runs of each kind, no result file.");
        var rows = new Option<int>("--rows") { Description = "Rows.", DefaultValueFactory = _ => 100_000 };
        var epochs = new Option<int>("--epochs") { Description = "Epochs of each run.", DefaultValueFactory = _ => 50 };
        var repeats = new Option<int>("--repeats") { Description = "Runs of each kind, interleaved.", DefaultValueFactory = _ => 5 };
        var batch = new Option<int>("--batch") { Description = "Rows of the smaller batch.", DefaultValueFactory = _ => 4096 };
        var storage = new Option<string>("--storage") { Description = "data.storage of both parties: float64 or float32.", DefaultValueFactory = _ => "float64" };
        storage.AcceptOnlyFromAmong("float64", "float32");
        var tool = new Option<string>("--tool") { Description = "The tool.", DefaultValueFactory = _ => "./fedlearn" };
        var output = new Option<string>("--out") { Description = "Folder of the result file.", DefaultValueFactory = _ => "build/bench" };
        var command = new Command("grpc-speed", "Seconds an epoch over gRPC, 30 + 300 columns: none against hdp-vfl, full batch and small batches.") { quick, rows, epochs, repeats, batch, storage, tool, output };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            bool isQuick = parsed.GetValue(quick);
            int n = isQuick ? 20_000 : parsed.GetValue(rows), runsOfEach = isQuick ? 3 : parsed.GetValue(repeats);
            string folder = Directory.CreateDirectory(Path.Combine(Path.GetFullPath("build/bench"), string.Create(CultureInfo.InvariantCulture, $"grpc-speed-{n}"))).FullName;
            MakeData(folder, n);
            var kinds = new List<(string Name, string Config)>();
            foreach (int size in (int[])[n, parsed.GetValue(batch)])
                foreach (string mode in (string[])["none", "hdp-vfl"])
                {
                    string name = $"{(size == n ? "full" : size.ToString(CultureInfo.InvariantCulture))}-{mode}", config = Path.Combine(folder, name + ".json");
                    File.WriteAllText(config, RunFile(name, mode, size, parsed.GetValue(epochs), parsed.GetRequiredValue(storage)));
                    kinds.Add((name, config));
                }

            var runs = kinds.ToDictionary(k => k.Name, _ => new List<JsonObject>());
            for (int repeat = 0; repeat < runsOfEach; repeat++)
                foreach ((string name, string config) in kinds)
                {
                    JsonObject report = await RunAsync(parsed.GetRequiredValue(tool), config, cancellationToken).ConfigureAwait(false);
                    runs[name].Add(report);
                    Console.Error.WriteLine($"{repeat + 1}: {name}: {Seconds(report):0.00000} s an epoch");
                }

            var ratios = new List<Ratio>();
            string stored = parsed.GetRequiredValue(storage), table = Table(n, parsed.GetValue(epochs), stored, isQuick, kinds, runs, ratios);
            return Ratio.Finish(stored == "float64" ? "grpc-speed" : $"grpc-speed-{stored}", "# DP overhead and the FATE shape\n\n" + table, ratios, isQuick ? null : new DirectoryInfo(parsed.GetRequiredValue(output)));
        });
        return command;
    }

    private static string Table(int rows, int epochs, string storage, bool quick, IReadOnlyList<(string Name, string Config)> kinds, Dictionary<string, List<JsonObject>> runs, List<Ratio> ratios)
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"{rows:N0} x ({ActiveColumns} + {PassiveColumns}) dense, stored as {storage}, binomial, SGD, {epochs} epochs a run, two processes over loopback gRPC, ledger and outbox durable.");
        text.AppendLine(CultureInfo.InvariantCulture, $"Medians of {runs.Values.First().Count} interleaved runs; training rounds alone, ms an epoch. {Machine.Current()}.");
        text.AppendLine();
        text.AppendLine("| batch, mode | epoch (min, max) | active: compute, noise, sync, wait | passive: compute, noise, sync, wait | sync of both | bytes a row, both ways | / plain | / plain without sync |");
        text.AppendLine("|---|---|---|---|---|---|---|---|");
        double plain = 0;
        foreach ((string name, _) in kinds)
        {
            double[] seconds = [.. runs[name].Select(Seconds).Order()];
            double median = Verbs.Median(seconds), sync = Verbs.Median(runs[name].Select(Sync));
            double bytes = Parties(runs[name][0]).Sum(p => (double)p["bytesSent"]!) / rows / epochs;
            bool isPlain = name.EndsWith("none", StringComparison.Ordinal);
            if (isPlain)
                plain = median;
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {name} | {median * 1e3:0.00} ({seconds[0] * 1e3:0.00}, {seconds[^1] * 1e3:0.00}) | {Parts(runs[name], 0, epochs)} | {Parts(runs[name], 1, epochs)} | {sync * 1e3:0.00} | {bytes:0.0} | {Text(median / plain)} | {Text((median - sync) / plain)} |");
            if (isPlain)
                continue;
            bool full = name.StartsWith("full", StringComparison.Ordinal);
            string size = full ? "full" : "batch";
            ratios.Add(new Ratio($"grpc-speed.dp-{size}-over-plain", median / plain, full ? 1.10 : 1.6));
            ratios.Add(new Ratio($"grpc-speed.dp-{size}-without-sync-over-plain", (median - sync) / plain, full ? null : 1.05));
            if (!quick)
                ratios.Add(new Ratio($"grpc-speed.dp-{size}-seconds-over-fate-shape-bar", median / FateSeconds, 1));

            string Text(double value) => isPlain ? "" : value.ToString("0.000", CultureInfo.InvariantCulture);
        }

        return text.ToString();
    }

    /// <summary>Medians of what a party's time goes into, ms an epoch. Sync is not counted in noise here.</summary>
    private static string Parts(List<JsonObject> runs, int party, int epochs)
    {
        double Of(Func<JsonNode, double> part) => Verbs.Median(runs.Select(r => part(Parties(r).ElementAt(party)["timing"]!) / epochs * 1e3));
        return string.Create(CultureInfo.InvariantCulture,
            $"{Of(t => (double)t["computeSeconds"]!):0.00}, {Of(t => (double)t["noiseSeconds"]! - (double)t["syncSeconds"]!):0.00}, {Of(t => (double)t["syncSeconds"]!):0.00}, {Of(t => (double)t["waitSeconds"]!):0.00}");
    }

    /// <summary>Seconds an epoch that both parties spent in sync calls.</summary>
    private static double Sync(JsonObject report) => Parties(report).Sum(p => (double)p["timing"]!["syncSeconds"]!) / (double)report["timing"]!["epochs"]!;

    private static IEnumerable<JsonObject> Parties(JsonObject report) => report["parties"]!.AsArray().Select(p => p!.AsObject());

    private static double Seconds(JsonObject report) => (double)report["timing"]!["secondsPerEpoch"]!;

    private static async Task<JsonObject> RunAsync(string tool, string config, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(tool) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])["train", "--config", config, "--json"])
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(cancellationToken), errors = process.StandardError.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{tool} ended with code {process.ExitCode}: {await errors.ConfigureAwait(false)}");
        return JsonNode.Parse(await output.ConfigureAwait(false))!.AsObject();
    }

    private static string RunFile(string name, string mode, int batch, int epochs, string storage) => $$"""
        {
          "name": "{{name}}",
          "model": { "type": "glm", "family": "binomial", "l2": 0.001, "intercept": true },
          "training": { "epochs": {{epochs}}, "batchSize": {{batch}}, "stepSize": 0.5, "weightNorm": 1, "residualClip": 1, "optimizer": "sgd" },
          "privacy": { "mode": "{{mode}}", "calibration": "tight", "epsilon": 1, "delta": 1e-6, "evaluation": "none" },
          "preprocessing": { "scaling": "none", "rows": "clip", "constant": true },
          "parties": [
            { "name": "guest", "role": "active", "data": { "path": "guest.npy", "ids": "ids.txt", "labels": "labels.npy", "storage": "{{storage}}" } },
            { "name": "host", "role": "passive", "data": { "path": "host.npy", "ids": "ids.txt", "storage": "{{storage}}" } }
          ],
          "alignment": "hashed",
          "transport": { "kind": "grpc" }
        }
        """;

    private static void MakeData(string folder, int rows)
    {
        Directory.CreateDirectory(folder);
        var random = new Random(1);
        double[] active = Normal(random, (long)rows * ActiveColumns), passive = Normal(random, (long)rows * PassiveColumns), labels = new double[rows];
        for (int i = 0; i < rows; i++)
            labels[i] = random.NextDouble() < 1 / (1 + Math.Exp(-active[i * ActiveColumns] - passive[i * PassiveColumns])) ? 1 : 0;
        WriteNpy(Path.Combine(folder, "guest.npy"), $"({rows}, {ActiveColumns})", active);
        WriteNpy(Path.Combine(folder, "host.npy"), $"({rows}, {PassiveColumns})", passive);
        WriteNpy(Path.Combine(folder, "labels.npy"), $"({rows},)", labels);
        File.WriteAllLines(Path.Combine(folder, "ids.txt"), Enumerable.Range(0, rows).Select(i => i.ToString(CultureInfo.InvariantCulture)));
    }

    private static double[] Normal(Random random, long count)
    {
        double[] values = new double[count];
        for (long i = 0; i < count; i++)
            values[i] = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        return values;
    }

    private static void WriteNpy(string path, string shape, double[] values)
    {
        string header = $"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}";
        header = header.PadRight((header.Length + 11 + 63) / 64 * 64 - 11) + "\n";
        using FileStream file = File.Create(path);
        file.Write([0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', 1, 0, (byte)(header.Length & 255), (byte)(header.Length >> 8)]);
        file.Write(Encoding.ASCII.GetBytes(header));
        for (int at = 0; at < values.Length; at += 1 << 20)
            file.Write(MemoryMarshal.AsBytes(values.AsSpan(at, Math.Min(1 << 20, values.Length - at))));
    }
}
