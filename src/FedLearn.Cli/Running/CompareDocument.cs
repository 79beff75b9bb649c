using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Report;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Cli.Running;

/// <summary>The document of a comparison: every row's figures, what they are relative to plain training, and a sentence made of them.</summary>
internal static class CompareDocument
{
    // Alignment, agreement and test scores are the same in every row; what is left is training, and the keys that it needs.
    private static readonly string[] BesideTraining = ["alignment", "agreement", "evaluation"];

    private static readonly string[] HigherIsBetter = ["auc", "accuracy", "ks", "prAuc", "precision", "recall", "f1", "r2", "d2"];

    /// <summary>Writes the document.</summary>
    /// <param name="plain">The job in mode none.</param>
    /// <param name="digest">Digest of the job as its file has it; null where it is no job by itself.</param>
    /// <param name="request">What was compared.</param>
    /// <param name="processes">Whether each party was a process of its own.</param>
    /// <param name="results">The rows.</param>
    /// <param name="notes">Sentences about all rows.</param>
    /// <param name="ledger">What was charged.</param>
    public static JsonObject Of(GlmRunFile plain, string? digest, CompareRequest request, bool processes, IReadOnlyList<CompareResult> results, IEnumerable<string> notes, JsonObject ledger)
    {
        JsonObject[] rows = [.. results.Select(r => ReportParts.ReadBack(Row(r, plain, processes)))];
        JsonObject[] measured = [.. rows.Where(r => r["metrics"] is not null)];
        JsonObject? plainRow = rows.FirstOrDefault(r => Says(r, "mode", "none") && IsOk(r));
        string? metric = Figures.Headline(plainRow is not null ? [plainRow] : measured);
        string set = measured.Any(r => r["metrics"]!["test"] is not null) ? "test" : "train";
        foreach ((JsonObject row, CompareResult result) in rows.Zip(results))
        {
            AddNativeRatio(row, rows);
            row["relative"] = plainRow is null || !IsOk(row) ? null : Relative(row, plainRow, result.Case);
            row["sentence"] = string.Join(' ', [Sentence(row, plainRow, result.Case, Residual(result.Case, plain), set, metric), .. LeftOut(result) is { } left ? [left] : Array.Empty<string>()]);
        }

        var document = new JsonObject();
        // A notice of one row is a notice of all.
        if (results.SelectMany(r => r.Reports).Select(d => (string?)d["notice"]).FirstOrDefault(n => n is not null) is { } notice)
            document["notice"] = notice;
        document["tool"] = ReportParts.Tool();
        document["machine"] = new JsonObject
        {
            ["cores"] = Environment.ProcessorCount,
            ["os"] = RuntimeInformation.OSDescription,
            ["architecture"] = RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant(),
            ["framework"] = RuntimeInformation.FrameworkDescription,
        };
        document["job"] = new JsonObject
        {
            ["name"] = plain.Name,
            ["digest"] = digest,
            ["family"] = plain.Job.Model.Family.Name,
            ["epochs"] = plainRow?["timing"]!["epochs"]?.DeepClone(),
            ["trainRows"] = plainRow?["trainRows"]?.DeepClone(),
            ["testRows"] = plainRow?["testRows"]?.DeepClone(),
            ["transport"] = ReportParts.Word(plain.Transport.Kind),
            ["processes"] = processes,
        };
        document["request"] = new JsonObject
        {
            ["epsilons"] = new JsonArray([.. request.Epsilons.Select(e => (JsonNode)e)]),
            ["schemes"] = new JsonArray([.. request.Schemes.Select(s => (JsonNode)s)]),
            ["heEpochs"] = request.HeEpochs,
            ["repeats"] = request.Repeats,
        };
        document["quality"] = new JsonObject { ["set"] = set, ["metric"] = metric };
        document["complete"] = !results.Any(r => r.IsInterrupted);
        document["rows"] = new JsonArray([.. rows]);
        document["ledger"] = ledger;
        document["notes"] = new JsonArray([.. Notes(request, rows, plainRow).Concat(notes).Select(n => (JsonNode)n)]);
        document["timing"] = new JsonObject { ["totalSeconds"] = 0.0 };
        return document;
    }

    /// <summary>A value of a run file; null where it is absent or null.</summary>
    public static JsonElement? At(JsonElement file, string section, string key) =>
        JsonFile.At(file, section, key) is { ValueKind: not (JsonValueKind.Undefined or JsonValueKind.Null) } value ? value : null;

    /// <summary>A number of a run file; null where it is absent.</summary>
    public static double? Number(JsonElement file, string section, string key) => At(file, section, key) is { ValueKind: JsonValueKind.Number } value ? value.GetDouble() : null;

    /// <summary>Whether a row has figures.</summary>
    public static bool IsOk(JsonNode row) => Says(row, "status", "ok");

    /// <summary>A ratio for people: two digits after the point, fewer where there are many before it, one that is not 0 where there would be none; a dash for none.</summary>
    public static string Ratio(JsonNode? value) => value is null ? "-" : (double)value switch
    {
        >= 100 and var many => many.ToString("#,0", CultureInfo.InvariantCulture),
        >= 10 and var some => some.ToString("0.0", CultureInfo.InvariantCulture),
        var few => few.ToString(few is > 0 and < .005 ? "G1" : "0.00", CultureInfo.InvariantCulture),
    };

    /// <summary>Seconds for people.</summary>
    public static string Seconds(double value) => value.ToString(value >= 100 ? "0" : value >= 1 ? "0.00" : value is > 0 and < .00005 ? "G1" : "0.0000", CultureInfo.InvariantCulture);

    private static JsonObject Row(CompareResult result, GlmRunFile plain, bool processes)
    {
        CompareCase row = result.Case;
        bool ok = result.Reports.Count > 0;
        JsonObject? first = ok ? result.Reports[0] : null;
        JsonArray parties = first?["parties"]!.DeepClone().AsArray() ?? [], roles = first?["roles"]?.DeepClone().AsArray() ?? [];
        bool own = processes && row.Mode != "guest-only";
        for (int i = 0; i < parties.Count; i++)
            parties[i]!["peakMemoryBytes"] = own ? (long)Median(result.Reports.Select(r => (double)r["parties"]![i]!["peakMemoryBytes"]!)) : null;
        bool whole = row.Epochs is null, noisy = ok && IsNoisy(row);
        // All parties and the arbiter run on this machine.
        string? engine = ok ? (string?)parties[0]!["encryption"]?["engine"] : null;
        SealEngine? kind = ok ? HeRun.EngineOf(result.Run!) : null;
        return new JsonObject
        {
            ["mode"] = row.Mode,
            ["calibration"] = row.Calibration,
            ["scheme"] = row.Scheme,
            ["epsilon"] = row.Epsilon,
            ["delta"] = row.Delta,
            ["actualDelta"] = row.Calibration == "paper" ? parties.Max(p => (double?)p!["privacy"]!["actualDelta"]) : null,
            ["status"] = ok ? "ok" : result.IsInterrupted ? "interrupted" : "refused",
            ["name"] = row.Name,
            ["series"] = row.Series,
            ["jobDigest"] = first?["job"]!["digest"]?.DeepClone(),
            ["metrics"] = ok && whole ? new JsonObject { ["train"] = noisy ? null : first!["metrics"]!["train"]?.DeepClone(), ["test"] = first!["metrics"]!["test"]?.DeepClone() } : null,
            ["intervals"] = ok && whole ? Intervals(first!, noisy) : null,
            ["metricsOfEach"] = ok && whole ? MetricsOfEach(result.Reports, noisy) : null,
            ["trainRows"] = first?["rows"]!["train"]?.DeepClone(),
            ["testRows"] = first?["rows"]!["test"]?.DeepClone(),
            ["timing"] = ok ? Timing(result) : null,
            ["bytes"] = ok ? Bytes(row, first!, parties, roles) : null,
            ["peakMemoryBytes"] = own && ok ? parties.Concat(roles).Select(Memory).Max() : null,
            ["parties"] = parties,
            ["roles"] = roles,
            ["engine"] = engine,
            ["engineKind"] = kind is { } seal ? Words.Of(seal) : null,
            ["error"] = result.Error is null ? null : new JsonObject { ["id"] = result.Error.Id, ["message"] = result.Error.Message },
            ["note"] = Note(result, ok, whole, noisy, Residual(row, plain), parties, engine, kind == SealEngine.Node),
        };
    }

    /// <summary>Whether the scores of training rows reached the active party with noise of their own: their figures then say nothing of the model. Under evaluation charged too they are those of the training
    /// messages, and not of the final weights.</summary>
    private static bool IsNoisy(CompareCase row) => row.Mode is "hdp-vfl" or "one-round";

    private static JsonNode? Intervals(JsonObject report, bool noisy)
    {
        JsonNode? intervals = report["intervals"]?.DeepClone();
        if (noisy && intervals is JsonObject sets)
            sets["train"] = null;
        return intervals;
    }

    /// <summary>Every run's figures, in the order of the runs; null of one run. Those of private rows differ by their noise, which no interval over the rows tells of.</summary>
    private static JsonObject? MetricsOfEach(List<JsonObject> reports, bool noisy)
    {
        JsonObject? Of(string set) => reports[0]["metrics"]![set] is not JsonObject figures ? null
            : new JsonObject(figures.Where(p => p.Value is JsonValue).Select(p => KeyValuePair.Create(p.Key, (JsonNode?)new JsonArray([.. reports.Select(r => r["metrics"]![set]?[p.Key]?.DeepClone())]))));
        return reports.Count == 1 ? null : new JsonObject { ["train"] = noisy ? null : Of("train"), ["test"] = Of("test") };
    }

    // A party's or the arbiter's process, and those that its encryption ran in.
    private static long? Memory(JsonNode? party) => (long?)party!["peakMemoryBytes"] + ((long?)(party["enginePeakMemoryBytes"] ?? party["encryption"]?["enginePeakMemoryBytes"]) ?? 0);

    /// <summary>Adds to a row in WebAssembly what its time is to that of the same row on SEAL's own library, where that was measured beside it.</summary>
    private static void AddNativeRatio(JsonObject row, JsonObject[] rows)
    {
        if (!IsOk(row) || !Says(row, "mode", "he") || !IsWasm(row))
            return;
        JsonObject? native = rows.FirstOrDefault(r => IsOk(r) && Says(r, "mode", "he") && IsNative(r));
        double? ratio = (double?)native?["timing"]!["secondsPerEpoch"] / (double?)row["timing"]!["secondsPerEpoch"];
        row["nativeToWasm"] = ratio;
        row["note"] = $"{(string?)row["note"]} " + (ratio is null ? "There is no libsealc on this machine to measure the native time with (FEDLEARN_SEALC)."
            : $"The same job on SEAL's own library took {Ratio(ratio)} x this time ({(string?)native!["engine"]}).");
    }

    private static string? Note(CompareResult result, bool ok, bool whole, bool noisy, string? residual, JsonArray parties, string? engine, bool wasm)
    {
        if (!ok)
            return result.Error?.Message;
        CompareCase row = result.Case;
        string?[] notes =
        [
            LeftOut(result),
            row.Mode == "guest-only" ? "One party in the tool's own process on the rows common to all parties; nothing is sent, and its peak memory is not measured." : null,
            row.IsIterative ? null : "One message each way and local solves: its seconds are those of the whole training, and none are an epoch's.",
            whole ? null : string.Create(CultureInfo.InvariantCulture, $"Only {row.Epochs} of the job's epochs: figures are per epoch, and no quality is given for a model that was not trained to the end."),
            noisy ? "No quality of training rows: their scores are noisy, and figures of them say nothing of the model." : null,
            DeltaReached(row.Delta, row.Calibration == "paper" ? parties.Max(p => (double?)p!["privacy"]!["actualDelta"]) : null),
            residual is not null ? $"{residual}: a difference in quality is of that, and not of encryption alone." : null,
            engine is null ? null : wasm ? $"SEAL in WebAssembly ({engine})." : $"Engine: {engine}.",
        ];
        string text = string.Join(' ', notes.OfType<string>());
        return text.Length > 0 ? text : null;
    }

    /// <summary>How many runs of a row that has figures have none, and why; null elsewhere.</summary>
    private static string? LeftOut(CompareResult result) => result.Reports.Count == 0 || !(result.IsInterrupted || result.Error is not null) ? null : string.Create(CultureInfo.InvariantCulture,
        $"{result.Planned - result.Reports.Count} of its {result.Planned} runs {Counted.Noun(result.Planned - result.Reports.Count, "was", "were")} {(result.Error is { } error ? $"refused ({error.Id})" : "interrupted or not begun")}: the figures are those of the others.");

    /// <summary>What delta a row's noise has, where it is not what was asked for; null elsewhere.</summary>
    private static string? DeltaReached(double? asked, double? reached) => reached is null || asked is null ? null : string.Create(CultureInfo.InvariantCulture,
        $"The noise of the published formulas reaches delta {reached:G3} at this epsilon, {(reached > asked ? "above" : "within")} the {asked:G3} asked for.");

    /// <summary>How the residual that a row trains on differs from the plain row's; null where it does not.</summary>
    private static string? Residual(CompareCase row, GlmRunFile plain) => row.Mode is not ("he" or "he+dp") ? null
        : plain.Job.Model.Family.Bounds?.Kind == GlmFamilyKind.Binomial ? "Under encryption the residual is Taylor's approximation of the one that other rows have"
        : plain.Job.Training.ResidualClip is { } clip ? string.Create(CultureInfo.InvariantCulture, $"Under encryption residuals are not clipped, as other rows clip them at training.residualClip {clip:R}") : null;

    private static JsonObject Timing(CompareResult result)
    {
        double Of(string key) => Median(result.Reports.Select(r => (double?)r["timing"]![key] ?? 0));
        bool iterative = result.Case.IsIterative;
        return new JsonObject
        {
            ["secondsPerEpoch"] = iterative ? Of("secondsPerEpoch") : null,
            ["secondsPerLaterEpoch"] = iterative && result.Reports.All(r => r["history"]!.AsArray().Count > 1) ? Median(result.Reports.Select(r => LaterEpoch(r["history"]!.AsArray()))) : null,
            ["epochs"] = result.Reports[0]["timing"]!["epochs"]!.DeepClone(),
            ["trainingSeconds"] = Of("trainingSeconds"),
            ["computeSeconds"] = Of("computeSeconds"),
            ["waitSeconds"] = Of("waitSeconds"),
            ["noiseSeconds"] = Of("noiseSeconds"),
            ["syncSeconds"] = Of("syncSeconds"),
            ["repeats"] = result.Reports.Count,
            ["repeatsRefused"] = result.Planned - result.Reports.Count,
            ["trainingSecondsOfEach"] = new JsonArray([.. result.Reports.Select(r => r["timing"]!["trainingSeconds"]!.DeepClone())]),
        };
    }

    private static double LaterEpoch(JsonArray history) => ((double)history[^1]!["seconds"]! - (double)history[0]!["seconds"]!) / (history.Count - 1);

    private static JsonObject Bytes(CompareCase row, JsonObject report, JsonArray parties, JsonArray roles)
    {
        // Whoever holds a key sends no more than training needs.
        long arbiter = roles.Sum(r => (long?)r!["bytesSent"] ?? 0);
        long training = arbiter + parties.SelectMany(p => p!["releases"]!.AsArray()).Where(r => !BesideTraining.Any(name => ((string)r!["name"]!).StartsWith(name, StringComparison.Ordinal))).Sum(r => (long?)r!["bytes"] ?? 0);
        double epochs = (double)report["timing"]!["epochs"]!;
        return new JsonObject
        {
            ["session"] = arbiter + parties.Sum(p => (long)p!["bytesSent"]!),
            ["training"] = training,
            ["trainingPerEpoch"] = row.IsIterative && epochs > 0 ? training / epochs : null,
        };
    }

    private static JsonObject Relative(JsonObject row, JsonObject plain, CompareCase of)
    {
        double? Of(string part, string? key)
        {
            double? value = (double?)(key is null ? row[part] : row[part]?[key]), from = (double?)(key is null ? plain[part] : plain[part]?[key]);
            return value is { } v && from is > 0 ? v / from : null;
        }

        bool whole = of.Epochs is null;
        return new JsonObject
        {
            ["secondsPerEpoch"] = Of("timing", "secondsPerEpoch"),
            ["secondsPerLaterEpoch"] = Of("timing", "secondsPerLaterEpoch"),
            ["trainingSeconds"] = whole ? Of("timing", "trainingSeconds") : null,
            ["sessionBytes"] = whole ? Of("bytes", "session") : null,
            ["trainingBytes"] = whole ? Of("bytes", "training") : null,
            ["trainingBytesPerEpoch"] = Of("bytes", "trainingPerEpoch"),
            ["peakMemory"] = Of("peakMemoryBytes", null),
        };
    }

    private static string Sentence(JsonObject row, JsonObject? plain, CompareCase of, string? residual, string set, string? metric)
    {
        if (!IsOk(row))
            return row["error"] is { } error ? $"{of.Name} was refused ({(string)error["id"]!})." : $"{of.Name} has no run that ended before the interruption.";
        JsonNode timing = row["timing"]!, bytes = row["bytes"]!;
        double? quality = metric is null ? null : (double?)row["metrics"]?[set]?[metric], plainQuality = metric is null ? null : (double?)plain?["metrics"]?[set]?[metric];
        string figure = metric is null ? "" : $"{(set == "test" ? "test" : "training")} {Figures.Name(metric)}";
        if (row == plain || plain is null)
        {
            string seconds = of.IsIterative ? $"{Seconds((double)timing["secondsPerEpoch"]!)} s an epoch" : $"{Seconds((double)timing["trainingSeconds"]!)} s";
            string memory = row["peakMemoryBytes"] is { } peak ? $", needs at most {Figures.Bytes(peak)} in a process" : "";
            string reaches = quality is { } value ? string.Create(CultureInfo.InvariantCulture, $", and reaches a {figure} of {value:0.0000}") : "";
            return $"{of.Name} takes {seconds}, sends {Figures.Bytes(bytes["training"])} in training{memory}{reaches}.";
        }

        JsonNode relative = row["relative"]!;
        var parts = new List<string>
        {
            of.IsIterative ? $"takes {Ratio(relative["secondsPerEpoch"])} x the time of plain an epoch" : $"takes {Ratio(relative["trainingSeconds"])} x the time of plain's whole training",
            (double)bytes["training"]! == 0 ? "sends nothing" : $"sends {Ratio(of.Epochs is null ? relative["trainingBytes"] : relative["trainingBytesPerEpoch"])} x the bytes{(of.Epochs is null ? "" : " an epoch")} in training",
        };
        if (relative["peakMemory"] is { } memoryRatio)
            parts.Add($"needs {Ratio(memoryRatio)} x the memory");
        if (quality is { } got && plainQuality is { } from)
        {
            string change = string.Create(CultureInfo.InvariantCulture, $"{Math.Abs(got - from):0.0000}");
            parts.Add(change == "0.0000" ? $"has the same {figure}"
                : (HigherIsBetter.Contains(metric) ? $"{(got > from ? "gains" : "loses")} {change} {figure}" : $"ends with a {figure} {change} {(got < from ? "lower" : "higher")}") + Inside(got, plain["intervals"]?[set]?[metric!]));
        }
        else
        {
            parts.Add(row["metrics"] is not null && set == "train" && of.Epsilon is not null ? "has no figure of quality, since scores of training rows would not be the model's" : "has no figure of quality");
        }

        string engine = IsWasm(row) ? " (SEAL in WebAssembly)" : "";
        string?[] more = [Spread(metric is null ? null : row["metricsOfEach"]?[set]?[metric]), DeltaReached(of.Delta, (double?)row["actualDelta"]), quality is not null && residual is not null ? $"{residual}." : null];
        return string.Join(' ', [$"{of.Name}{engine} {string.Join(", ", parts.SkipLast(1))} and {parts[^1]}.", .. more.OfType<string>()]);
    }

    /// <summary>Says that a figure is within the interval of plain's; empty where it is not.</summary>
    private static string Inside(double got, JsonNode? interval) => interval is JsonArray { Count: 2 } pair && pair.All(p => p is not null) && got >= (double)pair[0]! && got <= (double)pair[1]!
        ? $", which is within plain's interval of {Figures.Interval(interval)}" : "";

    /// <summary>Says between which figures the runs of a row are; null where they are one, or the same.</summary>
    private static string? Spread(JsonNode? figures)
    {
        double[] each = [.. (figures as JsonArray ?? []).OfType<JsonValue>().Select(v => (double)v)];
        string? text = each.Length == 0 ? null : string.Create(CultureInfo.InvariantCulture, $"{each.Min():0.0000} to {each.Max():0.0000}");
        return text is null || each.Max() - each.Min() < .00005 ? null : $"Its {each.Length} runs have {text}.";
    }

    private static IEnumerable<string> Notes(CompareRequest request, JsonObject[] rows, JsonObject? plain)
    {
        yield return $"Rows that iterate have the same optimiser (sgd), batches, step size and number of epochs{(rows.Any(r => IsOk(r) && Says(r, "mode", "he") && r["metrics"] is null) ? " (but for rows of Paillier, which say how many)" : "")} on the same rows; one-round has none of these.";
        yield return string.Create(CultureInfo.InvariantCulture,
            $"Seconds are the active party's for its training rounds; plain, guest-only and HDP-VFL rows take turns and {(request.Repeats == 1 ? "are run once, so that ratios near 1 are noise" : $"have the median of {request.Repeats} runs")}, other rows one run.{(request.Repeats == 1 ? "" : " Metrics and intervals are the first run's, metricsOfEach has those of all.")}");
        if (Starting(rows, plain) is { } starting)
            yield return starting;
        yield return "Training bytes are the payloads of all messages but those of alignment, agreement and evaluation; what an arbiter sends counts. Peak memory is the largest of a party or the arbiter, the processes of its encryption included.";
        if (rows.Any(IsWasm))
            yield return "SEAL ran in WebAssembly, which is slower than native code; the rows say how much where both were measured.";
    }

    /// <summary>Says what a later epoch costs where the first is so long that it hides it; null elsewhere.</summary>
    private static string? Starting(JsonObject[] rows, JsonObject? plain)
    {
        if ((double?)plain?["timing"]!["secondsPerLaterEpoch"] is not { } later || (double)plain["timing"]!["secondsPerEpoch"]! < 1.5 * later)
            return null;
        string[] others = [.. rows.Where(r => r != plain && !Says(r, "mode", "guest-only") && r["relative"]?["secondsPerLaterEpoch"] is not null).Select(r => $"{(string)r["name"]!} {Ratio(r["relative"]!["secondsPerLaterEpoch"])} x")];
        return $"Starting is a third of plain's seconds or more (in the first epoch code is compiled and buffers grow). An epoch after the first takes {Seconds(later)} s{(others.Length == 0 ? "" : $", and with {string.Join(", ", others)} that")}: train for more epochs to compare those.";
    }

    /// <summary>Whether a row's encryption ran on SEAL's own library.</summary>
    public static bool IsNative(JsonNode row) => Says(row, "engineKind", Words.Of(SealEngine.Native));

    private static bool IsWasm(JsonNode row) => Says(row, "engineKind", Words.Of(SealEngine.Node));

    private static bool Says(JsonNode row, string key, string value) => (string?)row[key] == value;

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
