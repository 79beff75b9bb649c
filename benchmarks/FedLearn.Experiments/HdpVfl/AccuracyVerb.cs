using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using FedLearn.Privacy;

namespace FedLearn.Experiments.HdpVfl;

/// <summary>What a private model costs in accuracy: without privacy, the active party alone, and HDP-VFL at some budgets, against the published bar.</summary>
internal static class AccuracyVerb
{
    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };

    /// <summary>A line of the table: the runs of one model on one data set.</summary>
    private sealed record Line(string Data, string Model, Calibration? Calibration, double? Epsilon, Settings? Settings, Summary Accuracy, Summary Auc,
        Bar? Reference, IReadOnlyList<Outcome> Runs)
    {
        /// <summary>Whether both means are at least the reference less one of its deviations; null where there is nothing to compare with.</summary>
        public bool? ReachesReference => Reference is null ? null : Accuracy.Mean >= Reference.Accuracy.Least && Auc.Mean >= Reference.Auc.Least;
    }

    public static Command Create()
    {
        Option<string[]> sets = Verbs.List("--data-sets", "Data sets.", "adult", "credit");
        sets.Validators.Add(result =>
        {
            foreach (string unknown in result.GetValueOrDefault<string[]>().Except(["adult", "credit"]))
                result.AddError($"There are settings for adult and credit, not for '{unknown}'.");
        });
        Option<double[]> epsilons = Verbs.List("--epsilons", "Privacy budgets of each party.", 1.0, 10.0);
        Option<int> seeds = Verbs.Positive("--seeds", "Runs of each private model, with job seeds from 1 and fresh noise.", 10);
        Option<double?> norm = new("--weight-norm") { Description = "Radius k of the ball of weights in every private model. Default: that of the chosen settings." };
        Option<DirectoryInfo> folder = Verbs.Out();
        var command = new Command("hdp-vfl-accuracy", "Test accuracy and AUC of HDP-VFL on adult and credit.") { sets, epsilons, seeds, norm, folder };
        command.SetAction((parsed, cancellationToken) => Verbs.RunAsync(async () =>
        {
            List<Line> lines = [];
            foreach (string set in parsed.GetValue(sets)!)
                await foreach (Line line in MeasureAsync(VerticalData.Load(set, cancellationToken), parsed.GetValue(epsilons)!, parsed.GetValue(seeds),
                    parsed.GetValue(norm), cancellationToken).ConfigureAwait(false))
                {
                    await Console.Error.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{line.Data}, {line.Model}, epsilon {line.Epsilon ?? double.PositiveInfinity}: {line.Runs.Sum(r => r.Seconds):F1} s")).ConfigureAwait(false);
                    lines.Add(line);
                }

            string table = Table(lines);
            await Console.Out.WriteAsync(table).ConfigureAwait(false);
            await WriteAsync(parsed.GetValue(folder)!, table, lines, cancellationToken).ConfigureAwait(false);
            return Misses(lines) ? 1 : 0;
        }));
        return command;
    }

    // Of several tight lines on the same work the first is the one that is recommended; the others are there to compare.
    private static bool Misses(IEnumerable<Line> lines) => lines.Where(line => line.Calibration == Calibration.Tight)
        .DistinctBy(line => (line.Data, line.Epsilon)).Any(line => line.ReachesReference == false);

    private static async IAsyncEnumerable<Line> MeasureAsync(VerticalData data, double[] epsilons, int seeds, double? norm,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        // Without privacy there is no noise, and the order of the rows moves an optimum by rounding only: one run says it all.
        foreach (bool joint in new[] { true, false })
            yield return LineOf(data, joint ? "joint, no privacy" : "guest alone", null, null, null,
                [await Runs.PlainAsync(data, joint, Chosen.PlainL2, cancellationToken).ConfigureAwait(false)]);
        foreach (double epsilon in epsilons)
            foreach (Calibration calibration in new[] { Calibration.Tight, Calibration.Paper })
            {
                IEnumerable<Settings> chosen = Chosen.For(data.Name, calibration, epsilon);
                if (norm is { } k)
                    chosen = [chosen.First() with { WeightNorm = k }];
                foreach (Settings settings in chosen)
                    yield return LineOf(data, $"hdp-vfl, {Name(calibration)}, k = {settings.WeightNorm}", calibration, epsilon, settings, await Runs.PrivateAsync(
                        data, settings, calibration, epsilon, Enumerable.Range(1, seeds).Select(s => (long)s), cancellationToken).ConfigureAwait(false));
            }
    }

    private static Line LineOf(VerticalData data, string model, Calibration? calibration, double? epsilon, Settings? settings, Outcome[] runs) =>
        new(data.Name, model, calibration, epsilon, settings, Summary.Of(runs.Select(r => r.Accuracy)), Summary.Of(runs.Select(r => r.Auc)),
            epsilon is null ? null : Bar.For(data.Name, epsilon.Value), runs);

    private static string Name(Calibration calibration) => calibration.ToString().ToLowerInvariant();

    private static string Table(IEnumerable<Line> lines)
    {
        var text = new StringBuilder("""
            | data | model | epsilon | accuracy | AUC | reference accuracy | reference AUC | both at least reference - 1 sd |
            |---|---|---|---|---|---|---|---|

            """);
        foreach (Line line in lines)
            text.Append(CultureInfo.InvariantCulture,
                $"| {line.Data} | {line.Model} | {line.Epsilon?.ToString(CultureInfo.InvariantCulture) ?? "-"} | {line.Accuracy} | {line.Auc} | {line.Reference?.Accuracy.ToString() ?? "-"} | {line.Reference?.Auc.ToString() ?? "-"} | {line.ReachesReference switch { true => "yes", false => "no", null => "-" }} |\n");
        return text.ToString();
    }

    private static async Task WriteAsync(DirectoryInfo folder, string table, List<Line> lines, CancellationToken cancellationToken)
    {
        folder.Create();
        DateTime now = DateTime.UtcNow;
        string path = Path.Combine(folder.FullName, $"{now:yyyy-MM-dd}-hdp-vfl-accuracy");
        var text = new StringBuilder($"""
            # HDP-VFL on adult and credit, {now:yyyy-MM-dd}

            Test rows; mean ± sample deviation over the runs. Replace-one, delta {Runs.Delta.ToString(CultureInfo.InvariantCulture)}, each party at the stated epsilon
            by itself; claims are conditional on scaling constants taken from the data. The reference is described in benchmarks/README.md.

            {table}
            | data | calibration | epsilon | epochs | batches | step | clip | k | l2 | noise of the guest's residuals | noise of the host's scores | delta reached | seconds a run |
            |---|---|---|---|---|---|---|---|---|---|---|---|---|

            """);
        foreach (Line line in lines)
            if (line.Settings is { } s)
                text.Append(CultureInfo.InvariantCulture,
                    $"| {line.Data} | {Name(line.Calibration!.Value)} | {line.Epsilon} | {s.Epochs} | {s.Batches} | {s.StepSize} | {s.ResidualClip} | {s.WeightNorm} | {s.L2} | {line.Runs[0].SigmaActive:F2} | {line.Runs[0].SigmaPassive:F2} | {line.Runs[0].ActualDelta ?? Runs.Delta:G3} | {line.Runs.Average(r => r.Seconds):F2} |\n");
        await File.WriteAllTextAsync(path + ".md", text.ToString(), cancellationToken).ConfigureAwait(false);

        var document = new
        {
            Experiment = "hdp-vfl-accuracy",
            Date = now,
            Runtime = new { Framework = RuntimeInformation.FrameworkDescription, System = RuntimeInformation.OSDescription, Processors = Environment.ProcessorCount },
            Runs.Delta,
            Adjacency = Adjacency.ReplaceOne,
            Lines = lines,
        };
        await File.WriteAllTextAsync(path + ".json", JsonSerializer.Serialize(document, Json) + "\n", cancellationToken).ConfigureAwait(false);
    }
}
