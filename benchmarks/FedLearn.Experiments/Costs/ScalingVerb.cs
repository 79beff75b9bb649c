using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Experiments.Tables;
using FedLearn.Glm;

namespace FedLearn.Experiments.Costs;

/// <summary>A point of a curve.</summary>
/// <param name="X">Where on the axis.</param>
/// <param name="Shape">The job.</param>
/// <param name="Seconds">Training seconds of each run, in the order of time; empty where the parties shared a process.</param>
/// <param name="CpuSecondsPerEpoch">Processor time of all parties, median of the runs; null with one epoch.</param>
/// <param name="Messages">Messages of the rounds, all parties.</param>
/// <param name="Bytes">Bytes of them as gRPC messages.</param>
/// <param name="Predicted">What the cost model says.</param>
internal sealed record ScalingPoint(double X, ScalingShape Shape, IReadOnlyList<double> Seconds, double? CpuSecondsPerEpoch, long Messages, long Bytes, GlmCostSeconds Predicted)
{
    public double? Median => Seconds.Count == 0 ? null : Verbs.Median(Seconds);
}

/// <summary>A measured curve.</summary>
/// <param name="Axis">What varies.</param>
/// <param name="Mode">none or hdp-vfl.</param>
/// <param name="PerEpoch">Whether the fitted figures are those of an epoch, or of the whole job.</param>
/// <param name="Points">Its points.</param>
/// <param name="Fits">Exponents by figure.</param>
internal sealed record ScalingCurve(string Axis, string Mode, bool PerEpoch, IReadOnlyList<ScalingPoint> Points, IReadOnlyDictionary<string, PowerLaw> Fits);

/// <summary>A point that no rate was taken from.</summary>
/// <param name="Name">Name.</param>
/// <param name="Reason">Why it was chosen.</param>
/// <param name="Shape">The job.</param>
/// <param name="Link">The line between the parties; null for loopback.</param>
/// <param name="Seconds">Training seconds of each run.</param>
/// <param name="Predicted">What the model says.</param>
internal sealed record HeldBack(string Name, string Reason, ScalingShape Shape, GlmCostLink? Link, IReadOnlyList<double> Seconds, GlmCostSeconds Predicted)
{
    public double Median => Verbs.Median(Seconds);

    /// <summary>Part by which the prediction misses.</summary>
    public double Miss => Predicted.Total / Median - 1;
}

/// <summary>Seconds, bytes, messages and processor time of a GLM job against rows, columns, parties, batch and epochs; and the cost model against points held back.</summary>
internal static class ScalingVerb
{
    private const double Bar = 0.2;

    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.CamelCase };

    // Chosen before anything was measured. Between them every term of the model is the largest part of one of them, and none has the sizes of a point of a curve.
    private static (string Name, string Reason, ScalingShape Shape, GlmCostLink? Link)[] Chosen =>
    [
        ("memory", "three parties, full batch, no noise: passes over memory and cores that are shared decide, and messages are large", new(200_000, [15, 45, 60], 200_000, 20, "none"), null),
        ("durable", "hdp-vfl at batch 3,000: kernels, noise, sync and messages all matter", new(70_000, [25, 150], 3_000, 20, "hdp-vfl"), null),
        ("far", "10 ms one way and 100 Mbit/s: the line decides", new(40_000, [10, 60], 5_000, 5, "hdp-vfl"), new GlmCostLink(0.010, 100e6 / 8)),
    ];

    private static IEnumerable<(string Axis, double X, ScalingShape Shape)> Grid(string mode)
    {
        foreach ((int n, int epochs) in ((int, int)[])[(10_000, 50), (30_000, 30), (100_000, 20), (300_000, 8), (1_000_000, 4)])
            yield return ("rows", n, new(n, [10, 40], 4096, epochs, mode));
        foreach ((int d, int epochs) in ((int, int)[])[(10, 40), (30, 40), (100, 30), (300, 20), (1000, 10)])
            yield return ("columns", d, new(30_000, [d / 5, d - d / 5], 4096, epochs, mode));
        foreach (int parties in (int[])[2, 3, 4])
            yield return ("parties", parties, new(50_000, [.. Enumerable.Repeat(20, parties)], 4096, 20, mode));
        foreach ((int batch, int epochs) in ((int, int)[])[(256, 3), (1024, 6), (4096, 20), (16_384, 20), (100_000, 20)])
            yield return ("batch", batch, new(100_000, [10, 40], batch, epochs, mode));
        foreach (int epochs in (int[])[1, 3, 10, 30, 100])
            yield return ("epochs", epochs, new(20_000, [10, 40], 2048, epochs, mode));
    }

    public static Command Create()
    {
        Option<int> repeats = Verbs.Positive("--repeats", "Runs of each point of a curve, by turns.", 3);
        var tool = new Option<string>("--tool")
        {
            Description = "The tool, which measures the rates. Default the one built in this checkout.",
            DefaultValueFactory = _ => Path.Combine(Verbs.Repository(), "src", "FedLearn.Cli", "bin", "Release", "net10.0", "FedLearn.Cli.dll"),
        };
        var heldBackOnly = new Option<bool>("--held-back-only") { Description = "Only the points held back: whether the cost model holds." };
        var quick = new Option<bool>("--quick") { Description = "Two of the points held back, three runs each, and a line for ratios.py." };
        Option<DirectoryInfo> folder = Verbs.Out();
        var command = new Command("scaling", "Curves with fitted exponents of seconds, bytes, messages and processor time; the cost model of privacy plan against three points held back.")
        {
            repeats, tool, heldBackOnly, quick, folder,
        };
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            long start = Stopwatch.GetTimestamp();
            bool fast = parsed.GetValue(quick), alone = fast || parsed.GetValue(heldBackOnly);
            List<JsonNode> rates = [];
            async Task MeasureRatesAsync() => rates.Add(await RatesAsync(parsed.GetRequiredValue(tool), stop).ConfigureAwait(false));
            await MeasureRatesAsync().ConfigureAwait(false);

            // Held back points first: the rates are those of the same minutes.
            (string Name, string Reason, ScalingShape Shape, GlmCostLink? Link)[] chosen = fast ? [.. Chosen[..2]] : Chosen;
            List<double>[] heldBack = [.. chosen.Select(_ => new List<double>())];
            for (int repeat = 0; repeat < (fast ? 3 : 5); repeat++)
            {
                for (int i = 0; i < chosen.Length; i++)
                {
                    ScalingFigures[] run = await ScalingRuns.RunAsync(chosen[i].Shape, chosen[i].Link, stop).ConfigureAwait(false);
                    CheckTraffic(chosen[i].Shape, run);
                    heldBack[i].Add(run[0].Seconds);
                    Say($"{repeat + 1}: {chosen[i].Name}: {run[0].Seconds:0.0000} s, compute {run[0].ComputeSeconds:0.0000}, wait {run[0].WaitSeconds:0.0000}, noise {run[0].NoiseSeconds:0.0000}");
                }

                await MeasureRatesAsync().ConfigureAwait(false);
            }

            GlmCostRates taken = Medians(rates);
            HeldBack[] held = [.. chosen.Zip(heldBack, (c, seconds) => new HeldBack(c.Name, c.Reason, c.Shape, c.Link, seconds, Predict(c.Shape, taken, c.Link)))];
            if (fast)
            {
                await Console.Error.WriteAsync(ScalingText.Document(DateTime.UtcNow, Machine.Current(), Stopwatch.GetElapsedTime(start), 0, taken, [], held, Bar)).ConfigureAwait(false);
                foreach (HeldBack point in held)
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"ratio scaling.miss-{point.Name} {Math.Exp(Math.Abs(Math.Log(1 + point.Miss))):0.0000} <= {1 + Bar}"));
                return 0;
            }

            IReadOnlyList<ScalingCurve> curves = alone ? [] : await CurvesAsync(parsed.GetValue(repeats), taken, stop).ConfigureAwait(false);
            Machine machine = Machine.Current();
            string text = ScalingText.Document(DateTime.UtcNow, machine, Stopwatch.GetElapsedTime(start), parsed.GetValue(repeats), taken, curves, held, Bar);
            await Console.Out.WriteAsync(text).ConfigureAwait(false);
            if (!alone)
            {
                DirectoryInfo output = parsed.GetValue(folder)!;
                output.Create();
                string path = Path.Combine(output.FullName, $"{DateTime.UtcNow:yyyy-MM-dd}-scaling");
                await File.WriteAllTextAsync(path + ".md", text, stop).ConfigureAwait(false);
                await File.WriteAllTextAsync(path + ".json", JsonSerializer.Serialize(new { Date = DateTime.UtcNow, Machine = machine, Rates = taken, Curves = curves, HeldBack = held }, Json) + "\n", stop).ConfigureAwait(false);
            }

            return held.All(h => Math.Abs(h.Miss) <= Bar) ? 0 : 1;
        }));
        return command;
    }

    private static GlmCostSeconds Predict(ScalingShape shape, GlmCostRates rates, GlmCostLink? link = null) =>
        GlmCost.Predict(shape.Job, shape.Sizes, rates, link ?? GlmCostLink.Loopback, oneMachine: true).Training;

    private static async Task<IReadOnlyList<ScalingCurve>> CurvesAsync(int repeats, GlmCostRates rates, CancellationToken stop)
    {
        (string Axis, double X, ScalingShape Shape)[] grid = [.. Grid("none"), .. Grid("hdp-vfl")];
        List<ScalingFigures[]>[] runs = [.. grid.Select(_ => new List<ScalingFigures[]>())];
        for (int repeat = 0; repeat < repeats; repeat++)
            for (int i = 0; i < grid.Length; i++)
            {
                ScalingFigures[] run = await ScalingRuns.RunAsync(grid[i].Shape, null, stop).ConfigureAwait(false);
                CheckTraffic(grid[i].Shape, run);
                runs[i].Add(run);
                Say($"{repeat + 1}: {grid[i].Shape.Mode}, {grid[i].Axis} {grid[i].X}: {run[0].Seconds:0.0000} s");
            }

        var points = grid.Select((g, i) => (g.Axis, g.Shape.Mode, Point: Point(g.X, g.Shape, [.. runs[i].Select(r => r[0].Seconds)],
            g.Shape.Epochs < 2 ? null : Verbs.Median(runs[i].Select(r => r.Sum(p => p.CpuSecondsPerEpoch!.Value)))))).ToList();
        // More processes than cores say little of time: their messages, bytes and processor time are counted in one process.
        foreach (string mode in (string[])["none", "hdp-vfl"])
            foreach (int parties in (int[])[8, 16])
            {
                var shape = new ScalingShape(50_000, [.. Enumerable.Repeat(20, parties)], 4096, 4, mode);
                ScalingFigures[] run = await ScalingRuns.TogetherAsync(shape, stop).ConfigureAwait(false);
                CheckTraffic(shape, run);
                points.Add(("parties", mode, Point(parties, shape, [], run[0].CpuSecondsPerEpoch)));
            }

        return [.. points.GroupBy(p => (p.Axis, p.Mode)).Select(g =>
        {
            ScalingPoint[] all = [.. g.Select(p => p.Point).OrderBy(p => p.X)];
            bool perEpoch = g.Key.Axis != "epochs";
            double Of(ScalingPoint p, double figure) => perEpoch ? figure / p.Shape.Epochs : figure;
            var fits = new Dictionary<string, PowerLaw>();
            void Fit(string name, Func<ScalingPoint, double?> figure)
            {
                if (PowerLaw.Fit([.. all.Where(p => figure(p) is > 0).Select(p => (p.X, figure(p)!.Value))]) is { } fit)
                    fits[name] = fit;
            }

            Fit("seconds", p => p.Median is { } s ? Of(p, s) : null);
            Fit("bytes", p => Of(p, p.Bytes));
            Fit("messages", p => Of(p, p.Messages));
            Fit("processorSeconds", p => p.CpuSecondsPerEpoch * (perEpoch ? 1 : p.Shape.Epochs));
            return new ScalingCurve(g.Key.Axis, g.Key.Mode, perEpoch, all, fits);
        })];

        ScalingPoint Point(double x, ScalingShape shape, IReadOnlyList<double> seconds, double? cpu)
        {
            IReadOnlyList<GlmPartyTraffic> traffic = GlmTraffic.Of(shape.Job, shape.Sizes);
            return new(x, shape, seconds, cpu, traffic.Sum(t => t.Rounds.Messages), traffic.Sum(t => t.Rounds.MessageBytes), Predict(shape, rates));
        }
    }

    // Messages and bytes are no estimate.
    private static void CheckTraffic(ScalingShape shape, ScalingFigures[] run)
    {
        IReadOnlyList<GlmPartyTraffic> traffic = GlmTraffic.Of(shape.Job, shape.Sizes);
        for (int party = 0; party < run.Length; party++)
            if ((run[party].MessagesSent, run[party].BytesSent) != (traffic[party].Total.Messages, traffic[party].Total.MessageBytes))
                throw new InvalidOperationException($"Party {party} sent {run[party].BytesSent} bytes, and not {traffic[party].Total.MessageBytes} as predicted.");
    }

    /// <summary>The rates as <c>fedlearn privacy plan --measure</c> has them.</summary>
    private static async Task<JsonNode> RatesAsync(string tool, CancellationToken stop)
    {
        string folder = Directory.CreateDirectory(Path.Combine(Verbs.Repository(), "build", "bench")).FullName, config = Path.Combine(folder, "rates.json");
        await File.WriteAllTextAsync(config, """
            {
              "name": "rates",
              "model": { "type": "glm", "family": "binomial" },
              "training": { "epochs": 1, "batchSize": 1000, "optimizer": "sgd" },
              "privacy": { "mode": "none" },
              "parties": [ { "name": "a", "role": "active", "data": { "path": "a.csv", "id": "id", "label": "y" } }, { "name": "b", "role": "passive", "data": { "path": "b.csv", "id": "id" } } ],
              "alignment": "hashed"
            }
            """, stop).ConfigureAwait(false);
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true };
        foreach (string argument in (string[])[tool, "privacy", "plan", "--config", config, "--rows", "10000", "--measure", "--json"])
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        string output = await process.StandardOutput.ReadToEndAsync(stop).ConfigureAwait(false);
        await process.WaitForExitAsync(stop).ConfigureAwait(false);
        return process.ExitCode == 0 ? JsonNode.Parse(output)!["cost"]!["rates"]! : throw new InvalidOperationException($"{tool} ended with code {process.ExitCode}; build it first.");
    }

    /// <summary>Of each rate the median of several measurements.</summary>
    private static GlmCostRates Medians(IReadOnlyList<JsonNode> rates)
    {
        return Of(rates).Deserialize<GlmCostRates>(Json)!;

        static JsonNode Of(IReadOnlyList<JsonNode> nodes) => nodes[0] switch
        {
            JsonObject first => new JsonObject(first.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)Of([.. nodes.Select(n => n[p.Key]!)])))),
            JsonValue value when value.GetValueKind() == JsonValueKind.Number && !value.TryGetValue(out int _) => Verbs.Median(nodes.Select(n => n.GetValue<double>())),
            var other => other.DeepClone(),
        };
    }

    private static void Say(FormattableString line) => Console.Error.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
