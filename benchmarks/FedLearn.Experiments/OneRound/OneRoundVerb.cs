using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Experiments.HdpVfl;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Experiments.OneRound;

/// <summary>What one-round training reaches at some budgets, next to the active party alone, and to the figures it must reach.</summary>
internal static class OneRoundVerb
{
    /// <summary>Budget of each party by itself, next to epsilon.</summary>
    private const double Delta = 1e-2;

    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };

    /// <summary>How a data set is modelled. Released labels are clipped to their range.</summary>
    private static readonly Dictionary<string, Subject> Subjects = new()
    {
        ["adult"] = new(GlmFamilies.Binomial, new PreprocessingOptions { Scaling = Scaling.Declared, Rows = RowBound.Clip, Constant = true }, null),
        ["credit"] = new(GlmFamilies.Binomial, new PreprocessingOptions { Scaling = Scaling.Rounded, Rows = RowBound.Normalize, Constant = true }, null),
        ["motor"] = new(GlmFamilies.Gaussian, new PreprocessingOptions { Scaling = Scaling.Rounded, Rows = RowBound.Normalize, Constant = true }, (-2.1, 2.1)),
        ["dvisits"] = new(GlmFamilies.Poisson, new PreprocessingOptions { Scaling = Scaling.Rounded, Rows = RowBound.Normalize, Constant = true }, (0, 3)),
    };

    /// <summary>What must be reached: the least mean of each metric.</summary>
    private static readonly Dictionary<(string Data, double Epsilon), (double Auc, double? Accuracy)> Bars = new()
    {
        [("adult", 1)] = (.899, .845),
        [("adult", .5)] = (.895, null),
        [("credit", 1)] = (.739, .807),
    };

    private sealed record Subject(IGlmFamily Family, PreprocessingOptions Features, (double, double)? LabelRange);

    private sealed record Outcome(long Seed, MetricSet Test, double Seconds);

    /// <summary>A line of the table: two metrics, by family accuracy and AUC, or R2 or D2 and RMSE.</summary>
    private sealed record Line(string Data, string Model, double? Epsilon, Summary First, Summary Second, string? Bar, bool? Reached, IReadOnlyList<Outcome> Runs);

    public static Command Create()
    {
        Option<string[]> sets = Verbs.List("--data-sets", "Data sets.", [.. Subjects.Keys]);
        sets.Validators.Add(result =>
        {
            foreach (string unknown in result.GetValueOrDefault<string[]>().Except(Subjects.Keys))
                result.AddError($"There are settings for {string.Join(", ", Subjects.Keys)}, not for '{unknown}'.");
        });
        Option<double[]> epsilons = Verbs.List("--epsilons", "Privacy budgets of each party.", .1, .5, 1.0, 2, 5, 10);
        Option<int> seeds = Verbs.Positive("--seeds", "Runs of each private model, with fresh noise.", 10);
        Option<DirectoryInfo> folder = Verbs.Out();
        var command = new Command("one-round-accuracy", "Test metrics of one-round training.") { sets, epsilons, seeds, folder };
        command.SetAction((parsed, cancellationToken) => Verbs.RunAsync(async () =>
        {
            List<Line> lines = [];
            foreach (string set in parsed.GetValue(sets)!)
            {
                VerticalData data = VerticalData.Load(set, cancellationToken);
                await foreach (Line line in MeasureAsync(data, Subjects[set], parsed.GetValue(epsilons)!, parsed.GetValue(seeds), cancellationToken).ConfigureAwait(false))
                {
                    await Console.Error.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{line.Data}, {line.Model}, epsilon {line.Epsilon}: {line.Runs.Sum(r => r.Seconds):F1} s")).ConfigureAwait(false);
                    lines.Add(line);
                }
            }

            string table = Table(lines);
            await Console.Out.WriteAsync(table).ConfigureAwait(false);
            await WriteAsync(parsed.GetValue(folder)!, table, lines, cancellationToken).ConfigureAwait(false);
            return lines.Any(line => line.Reached == false) ? 1 : 0;
        }));
        return command;
    }

    private static async IAsyncEnumerable<Line> MeasureAsync(VerticalData data, Subject subject, double[] epsilons, int seeds,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        bool guestAlone = false;
        foreach (double epsilon in epsilons)
        {
            List<Outcome> runs = [];
            MetricSet? alone = null;
            for (long seed = 1; seed <= seeds; seed++)
            {
                long start = Stopwatch.GetTimestamp();
                // A ledger of its own for every run: otherwise the second would use the labels of the first.
                IReadOnlyList<GlmPartyResult> parties = await LocalFederation.TrainAsync(Job(subject, epsilon, seed), data.Inputs(true), cancellationToken: cancellationToken).ConfigureAwait(false);
                runs.Add(new Outcome(seed, parties[0].Test!, Stopwatch.GetElapsedTime(start).TotalSeconds));
                alone ??= parties[0].GuestOnly!.Test;
            }

            if (!guestAlone)
                yield return LineOf(data.Name, "guest alone", null, [new Outcome(0, alone!, 0)]);
            guestAlone = true;
            yield return LineOf(data.Name, "one-round", epsilon, runs);
        }
    }

    private static GlmJob Job(Subject subject, double epsilon, long seed) => new()
    {
        Name = "one-round",
        Model = new GlmModelOptions { Family = subject.Family },
        Training = new GlmTrainingOptions { Seed = seed },
        Privacy = new GlmPrivacyOptions { Mode = PrivacyMode.OneRound, Budget = new PrivacyBudget(epsilon, Delta) },
        Preprocessing = subject.Features,
        Split = new SplitRule.FromFile(),
        Parties =
        [
            new GlmPartyOptions { Party = new PartyDescription("guest", PartyRole.Active), LabelRange = subject.LabelRange },
            new GlmPartyOptions { Party = new PartyDescription("host", PartyRole.Passive) },
        ],
    };

    private static Line LineOf(string data, string model, double? epsilon, IReadOnlyList<Outcome> runs)
    {
        (double First, double Second) Of(MetricSet test) => test switch
        {
            { Accuracy: { } accuracy, Auc: { } auc } => (accuracy, auc),
            { R2: { } r2, Deviance: { } deviance } when data == "dvisits" => (deviance, test.Rmse!.Value),
            _ => (test.R2!.Value, test.Rmse!.Value),
        };
        Summary first = Summary.Of(runs.Select(r => Of(r.Test).First)), second = Summary.Of(runs.Select(r => Of(r.Test).Second));
        if (epsilon is { } e && Bars.TryGetValue((data, e), out (double Auc, double? Accuracy) bar))
            return new(data, model, epsilon, first, second, string.Create(CultureInfo.InvariantCulture, $"{bar.Accuracy?.ToString("0.000", CultureInfo.InvariantCulture) ?? "-"} / {bar.Auc:0.000}"),
                second.Mean >= bar.Auc && !(first.Mean < bar.Accuracy), runs);
        return new(data, model, epsilon, first, second, null, null, runs);
    }

    private static string Table(IEnumerable<Line> lines)
    {
        var text = new StringBuilder("""
            | data | model | epsilon | accuracy (motor: R2, dvisits: mean deviance) | AUC (motor, dvisits: RMSE) | must reach | reached |
            |---|---|---|---|---|---|---|

            """);
        foreach (Line line in lines)
            text.Append(CultureInfo.InvariantCulture,
                $"| {line.Data} | {line.Model} | {line.Epsilon?.ToString(CultureInfo.InvariantCulture) ?? "-"} | {line.First} | {line.Second} | {line.Bar ?? "-"} | {line.Reached switch { true => "yes", false => "no", null => "-" }} |\n");
        return text.ToString();
    }

    private static async Task WriteAsync(DirectoryInfo folder, string table, List<Line> lines, CancellationToken cancellationToken)
    {
        folder.Create();
        DateTime now = DateTime.UtcNow;
        string path = Path.Combine(folder.FullName, $"{now:yyyy-MM-dd}-one-round-accuracy");
        string text = $"""
            # One-round training, {now:yyyy-MM-dd}

            Test rows; mean ± sample deviation over the runs. Replace-one; the guest's labels (epsilon, 0), or (epsilon, {Delta.ToString(CultureInfo.InvariantCulture)}) where they are noisy; the host
            (epsilon, {Delta.ToString(CultureInfo.InvariantCulture)}). Test scores are disclosed outside of the claims. benchmarks/README.md says what the lines are.

            {table}
            """;
        await File.WriteAllTextAsync(path + ".md", text, cancellationToken).ConfigureAwait(false);
        var document = new
        {
            Experiment = "one-round-accuracy",
            Date = now,
            Runtime = new { Framework = RuntimeInformation.FrameworkDescription, System = RuntimeInformation.OSDescription, Processors = Environment.ProcessorCount },
            Delta,
            Lines = lines,
        };
        await File.WriteAllTextAsync(path + ".json", JsonSerializer.Serialize(document, Json) + "\n", cancellationToken).ConfigureAwait(false);
    }
}
