using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Protocol;

namespace FedLearn.Experiments.Speed;

/// <summary>Trains on .npy files by memory map, both parties in this process, and says what it took. Run it under DOTNET_GCHeapHardLimit to prove a bound on the managed heap.</summary>
internal static class LargeDataVerb
{
    public static Command Create()
    {
        Option<int> rows = Verbs.Positive("--rows", "Rows of a party.", 10_000_000), columns = Verbs.Positive("--columns", "Columns a party.", 50), epochs = Verbs.Positive("--epochs", "Epochs.", 6),
            batch = Verbs.Positive("--batch", "Rows of a batch.", 4096);
        var folder = new Option<DirectoryInfo>("--folder") { Description = "Where the files are made, unless they are there, and the scratch files.", Required = true };
        var storage = new Option<FeatureStorage>("--storage") { Description = "How files and features store cells. Default float64." };
        var memory = new Option<bool>("--in-memory") { Description = "Reads the files instead, to compare with." };
        var command = new Command("large-data", "Trains on two .npy files by memory map and reports seconds an epoch and the managed heap's peak.") { rows, columns, epochs, batch, folder, storage, memory };
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            var shape = new Shape(parsed.GetValue(rows), parsed.GetValue(columns), parsed.GetValue(epochs), parsed.GetValue(batch), parsed.GetValue(storage), parsed.GetValue(memory));
            await RunAsync(shape, parsed.GetValue(folder)!.FullName, stop).ConfigureAwait(false);
            return 0;
        }));
        return command;
    }

    private sealed record Shape(int Rows, int Columns, int Epochs, int Batch, FeatureStorage Storage, bool InMemory);

    private static async Task RunAsync(Shape shape, string folder, CancellationToken stop)
    {
        Directory.CreateDirectory(folder);
        PartyDescription[] parties = [new("guest", PartyRole.Active), new("host", PartyRole.Passive)];
        string Of(string name) => Path.Combine(folder, $"{name}-{shape.Rows}x{shape.Columns}-{shape.Storage}.npy");
        string ids = Path.Combine(folder, $"ids-{shape.Rows}.txt");
        Make(shape, Of, ids);
        var clock = Stopwatch.StartNew();
        GlmPartyInput[] inputs = [.. parties.Select(party => new GlmPartyInput
        {
            Party = party.Name,
            Table = Table.Load(new TableSource
            {
                Path = Of(party.Name),
                Ids = ids,
                Labels = party.Role == PartyRole.Active ? Of("labels") : null,
                Storage = shape.Storage,
                Scratch = shape.InMemory ? null : folder,
            }, party.Role == PartyRole.Active, stop),
        })];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"loaded and checked in {clock.Elapsed.TotalSeconds:0.0} s"));
        clock.Restart();
        var job = new GlmJob
        {
            Name = "large-data",
            Model = new GlmModelOptions { Family = GlmFamilies.Binomial, L2 = 1e-3 },
            Training = new GlmTrainingOptions { Optimizer = GlmOptimizer.Sgd, Epochs = shape.Epochs, BatchSize = shape.Batch, StepSize = .5 },
            Preprocessing = new PreprocessingOptions { Scaling = Scaling.Standardize },
            Parties = [.. parties.Select(party => new GlmPartyOptions { Party = party })],
        };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, inputs, new ChannelOptions { ReceiveTimeout = TimeSpan.FromMinutes(10), MaxMessageBytes = 1 << 30 }, cancellationToken: stop)
            .ConfigureAwait(false);
        double total = clock.Elapsed.TotalSeconds, rounds = results[0].Timing.Training;
        double[] moments = [.. results[0].History.Select(point => point.Seconds)];
        double[] seconds = [.. moments.Skip(1).Zip(moments, (later, earlier) => later - earlier)];
        using var process = Process.GetCurrentProcess();
        GCMemoryInfo[] heaps = [GC.GetGCMemoryInfo(GCKind.FullBlocking), GC.GetGCMemoryInfo(GCKind.Background), GC.GetGCMemoryInfo(GCKind.Ephemeral)];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""
            {shape.Rows} x ({shape.Columns} + {shape.Columns}), {shape.Storage}, batch {shape.Batch}, {(shape.InMemory ? "in memory" : "mapped")}
            alignment, scaling, order, metrics and all else: {total - rounds:0.0} s; rounds {rounds:0.00} s
            seconds an epoch after the first: {string.Join(' ', seconds.Select(s => s.ToString("0.000", CultureInfo.InvariantCulture)))}
            median {seconds.Order().ElementAt(seconds.Length / 2):0.000} s, {seconds.Order().ElementAt(seconds.Length / 2) / shape.Rows * 1e9:0.0} ns a row
            managed heap committed after the last collections: {heaps.Max(heap => heap.TotalCommittedBytes) / 1e6:0} MB; hard limit {AppContext.GetData("GCHeapHardLimit") ?? Environment.GetEnvironmentVariable("DOTNET_GCHeapHardLimit") ?? "none"}
            resident peak, mapped pages included: {process.PeakWorkingSet64 / 1e6:0} MB
            """));
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
