using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Experiments.Tables;
using FedLearn.Glm;
using FedLearn.Protocol;

namespace FedLearn.Experiments.Speed;

/// <summary>Trains on .npy files by memory map under a hard limit of the managed heap, both parties in one process, beside the same in memory with a tenth of the rows.</summary>
internal static class LargeDataVerb
{
    private const string RunVerb = "large-data-run", HeapLimit = "0x80000000";

    // The first epoch of each run compiles, and is the first to touch what it reads.
    private const int Epochs = 6;

    public static Command Create()
    {
        Option<int> rows = Verbs.Positive("--rows", "Rows of a party, by memory map.", 10_000_000), columns = Verbs.Positive("--columns", "Columns a party.", 50),
            batch = Verbs.Positive("--batch", "Rows of a batch.", 4096), repeats = Verbs.Positive("--repeats", "Runs of each kind, by turns.", 3);
        var folder = new Option<DirectoryInfo>("--folder") { Description = "Where the files are made, unless they are there, and the scratch files. Default build/large.", DefaultValueFactory = _ => new DirectoryInfo("build/large") };
        Option<string[]> storages = Verbs.List("--storages", "How files and features store cells.", nameof(FeatureStorage.Float64), nameof(FeatureStorage.Float32));
        Option<bool> quick = Ratio.Quick("1,000,000 rows against 100,000, float32, no result file.");
        Option<DirectoryInfo> output = Verbs.Out();
        var command = new Command("large-data", "Seconds an epoch on two .npy files by memory map with 2 GiB of managed heap, beside a tenth of the rows in memory; what a cold read costs.") { rows, columns, batch, repeats, folder, storages, quick, output };
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            bool isQuick = parsed.GetValue(quick);
            int n = isQuick ? 1_000_000 : parsed.GetValue(rows);
            var ratios = new List<Ratio>();
            var text = new StringBuilder();
            text.AppendLine(CultureInfo.InvariantCulture, $"# {n:N0} x ({parsed.GetValue(columns)} + {parsed.GetValue(columns)}) by memory map").AppendLine();
            text.AppendLine(CultureInfo.InvariantCulture, $"{Machine.Current()}. Both parties in one process, batch {parsed.GetValue(batch)}, DOTNET_GCHeapHardLimit={HeapLimit} for the mapped runs; medians of the runs' medians, the first epoch of each left out. In memory: a tenth of the rows.").AppendLine();
            text.AppendLine("| storage | mapped: ns a row and epoch | in memory | mapped / in memory | managed heap committed, most, MB | loading and checks, s | the same, files not in the page cache | first epoch, s | alignment, scaling, order, metrics, s |");
            text.AppendLine("|---|---|---|---|---|---|---|---|---|");
            foreach (FeatureStorage storage in isQuick ? [FeatureStorage.Float32] : parsed.GetRequiredValue(storages).Select(Enum.Parse<FeatureStorage>))
            {
                var large = new Shape(n, parsed.GetValue(columns), parsed.GetValue(batch), storage, InMemory: false);
                await CompareAsync(large, isQuick ? 1 : parsed.GetValue(repeats), parsed.GetRequiredValue(folder).FullName, text, ratios, stop).ConfigureAwait(false);
            }

            return Ratio.Finish("large-data", text.ToString(), ratios, isQuick ? null : parsed.GetValue(output));
        }));
        return command;
    }

    /// <summary>One run in a process of its own; prints what it took as a line of JSON.</summary>
    public static Command CreateRun()
    {
        var shape = new Option<string>("--shape") { Required = true };
        var folder = new Option<string>("--folder") { Required = true };
        var command = new Command(RunVerb, "One run of verb large-data.") { shape, folder };
        command.Hidden = true;
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            Taken taken = await RunAsync(JsonSerializer.Deserialize<Shape>(parsed.GetRequiredValue(shape))!, parsed.GetRequiredValue(folder), stop).ConfigureAwait(false);
            await Console.Out.WriteLineAsync(JsonSerializer.Serialize(taken)).ConfigureAwait(false);
            return 0;
        }));
        return command;
    }

    private sealed record Shape(int Rows, int Columns, int Batch, FeatureStorage Storage, bool InMemory)
    {
        public string File(string folder, string name) => Path.Combine(folder, $"{name}-{Rows}x{Columns}-{Storage}.npy");

        public string Ids(string folder) => Path.Combine(folder, $"ids-{Rows}.txt");
    }

    /// <summary>What a run took, seconds and bytes.</summary>
    private sealed record Taken(double Load, double Around, double[] Epochs, long Committed)
    {
        public double NanosecondsARow(Shape shape) => Verbs.Median(Epochs.Skip(1)) / shape.Rows * 1e9;
    }

    private static async Task CompareAsync(Shape large, int repeats, string folder, StringBuilder text, List<Ratio> ratios, CancellationToken stop)
    {
        Directory.CreateDirectory(folder);
        Shape small = large with { Rows = large.Rows / 10, InMemory = true };
        Make(large, name => large.File(folder, name), large.Ids(folder));
        Make(small, name => small.File(folder, name), small.Ids(folder));
        List<Taken> mapped = [], memory = [];
        for (int repeat = 0; repeat < repeats; repeat++)
        {
            memory.Add(await StartAsync(small, folder, stop).ConfigureAwait(false));
            mapped.Add(await StartAsync(large, folder, stop).ConfigureAwait(false));
        }

        foreach (string file in (string[])[large.File(folder, "guest"), large.File(folder, "host")])
            await DropAsync(file, stop).ConfigureAwait(false);
        Taken cold = await StartAsync(large, folder, stop).ConfigureAwait(false);
        double mappedRow = Verbs.Median(mapped.Select(run => run.NanosecondsARow(large))), memoryRow = Verbs.Median(memory.Select(run => run.NanosecondsARow(small)));
        text.AppendLine(CultureInfo.InvariantCulture,
            $"| {large.Storage} | {mappedRow:0.0} ({mapped.Min(run => run.NanosecondsARow(large)):0.0} to {mapped.Max(run => run.NanosecondsARow(large)):0.0}) | {memoryRow:0.0} ({memory.Min(run => run.NanosecondsARow(small)):0.0} to {memory.Max(run => run.NanosecondsARow(small)):0.0}) | {mappedRow / memoryRow:0.00} | {mapped.Max(run => run.Committed) / 1e6:0} | {Verbs.Median(mapped.Select(run => run.Load)):0.0} | {cold.Load:0.0} | {Verbs.Median(mapped.Select(run => run.Epochs[0])):0.00} | {Verbs.Median(mapped.Select(run => run.Around)):0.0} |");
        ratios.Add(new Ratio($"large-data.{large.Storage.ToString().ToLowerInvariant()}-mapped-over-memory", mappedRow / memoryRow, 1.3));
    }

    private static async Task<Taken> StartAsync(Shape shape, string folder, CancellationToken stop)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(LargeDataVerb).Assembly.Location, RunVerb, "--shape", JsonSerializer.Serialize(shape), "--folder", folder]) { RedirectStandardOutput = true };
        ToolSettings.AddTo(start.Environment);
        if (!shape.InMemory)
            start.Environment["DOTNET_GCHeapHardLimit"] = HeapLimit;
        using Process process = Process.Start(start)!;
        string line = await process.StandardOutput.ReadToEndAsync(stop).ConfigureAwait(false);
        await process.WaitForExitAsync(stop).ConfigureAwait(false);
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"A run ended with code {process.ExitCode}.");
        await Console.Error.WriteLineAsync($"{shape}: {line.Trim()}").ConfigureAwait(false);
        return JsonSerializer.Deserialize<Taken>(line)!;
    }

    /// <summary>Lets the system forget what it has read of a file.</summary>
    private static async Task DropAsync(string file, CancellationToken stop)
    {
        using Process dd = Process.Start(new ProcessStartInfo("dd", [$"if={file}", "iflag=nocache", "count=0", "status=none"]))!;
        await dd.WaitForExitAsync(stop).ConfigureAwait(false);
    }

    private static async Task<Taken> RunAsync(Shape shape, string folder, CancellationToken stop)
    {
        PartyDescription[] parties = [new("guest", PartyRole.Active), new("host", PartyRole.Passive)];
        var clock = Stopwatch.StartNew();
        GlmPartyInput[] inputs = [.. parties.Select(party => new GlmPartyInput
        {
            Party = party.Name,
            Table = Table.Load(new TableSource
            {
                Path = shape.File(folder, party.Name),
                Ids = shape.Ids(folder),
                Labels = party.Role == PartyRole.Active ? shape.File(folder, "labels") : null,
                Storage = shape.Storage,
                Scratch = shape.InMemory ? null : folder,
            }, party.Role == PartyRole.Active, stop),
        })];
        double load = clock.Elapsed.TotalSeconds;
        clock.Restart();
        var job = new GlmJob
        {
            Name = "large-data",
            Model = new GlmModelOptions { Family = GlmFamilies.Binomial, L2 = 1e-3 },
            Training = new GlmTrainingOptions { Optimizer = GlmOptimizer.Sgd, Epochs = Epochs, BatchSize = shape.Batch, StepSize = .5 },
            Preprocessing = new PreprocessingOptions { Scaling = Scaling.Standardize },
            Parties = [.. parties.Select(party => new GlmPartyOptions { Party = party })],
        };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, inputs, new ChannelOptions { ReceiveTimeout = TimeSpan.FromMinutes(10), MaxMessageBytes = 1 << 30 }, cancellationToken: stop)
            .ConfigureAwait(false);
        double[] moments = [.. results[0].History.Select(point => point.Seconds)];
        GCMemoryInfo[] heaps = [GC.GetGCMemoryInfo(GCKind.FullBlocking), GC.GetGCMemoryInfo(GCKind.Background), GC.GetGCMemoryInfo(GCKind.Ephemeral)];
        return new Taken(load, clock.Elapsed.TotalSeconds - results[0].Timing.Training, [.. moments.Zip(moments.Prepend(0), (later, earlier) => later - earlier)], heaps.Max(heap => heap.TotalCommittedBytes));
    }

    private static void Make(Shape shape, Func<string, string> of, string ids)
    {
        if (File.Exists(ids) && File.Exists(of("guest")) && File.Exists(of("host")) && File.Exists(of("labels")))
            return;
        var random = new Random(1);
        // A row is a window of one table of random numbers: made at the speed of the disk, and no two windows of one start.
        float[] pool = [.. Enumerable.Range(0, 1 << 22).Select(_ => (float)(2 * (random.NextDouble() + random.NextDouble() + random.NextDouble()) - 3))];
        double[] labels = new double[shape.Rows];
        foreach (string party in new[] { "guest", "host" })
        {
            using var file = new FileStream(of(party), FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20);
            Header(file, shape.Storage == FeatureStorage.Float32 ? "<f4" : "<f8", $"({shape.Rows}, {shape.Columns})");
            double[] wide = new double[shape.Columns];
            for (int i = 0; i < shape.Rows; i++)
            {
                ReadOnlySpan<float> row = pool.AsSpan(random.Next(pool.Length - shape.Columns), shape.Columns);
                labels[i] += row[0];
                if (shape.Storage == FeatureStorage.Float32)
                {
                    file.Write(MemoryMarshal.AsBytes(row));
                    continue;
                }

                for (int j = 0; j < wide.Length; j++)
                    wide[j] = row[j];
                file.Write(MemoryMarshal.AsBytes<double>(wide));
            }
        }

        for (int i = 0; i < labels.Length; i++)
            labels[i] = random.NextDouble() < 1 / (1 + Math.Exp(-labels[i])) ? 1 : 0;
        using (var file = new FileStream(of("labels"), FileMode.Create))
        {
            Header(file, "<f8", $"({shape.Rows},)");
            file.Write(MemoryMarshal.AsBytes<double>(labels));
        }

        using var text = new StreamWriter(ids, append: false, new UTF8Encoding(false), 1 << 20);
        for (int i = 0; i < shape.Rows; i++)
            text.Write($"c{i:00000000}\n");
    }

    private static void Header(FileStream file, string type, string shape)
    {
        string header = $"{{'descr': '{type}', 'fortran_order': False, 'shape': {shape}, }}".PadRight(117) + "\n";
        file.Write([0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', 1, 0, (byte)header.Length, 0]);
        file.Write(Encoding.ASCII.GetBytes(header));
    }
}
