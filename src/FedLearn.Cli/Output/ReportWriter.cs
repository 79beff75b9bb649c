using System.CommandLine;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Report;
using FedLearn.Cli.Running;
using Spectre.Console;

namespace FedLearn.Cli.Output;

/// <summary>Where a verb's document is asked for.</summary>
/// <param name="Output">Standard output; null where --json is not given.</param>
/// <param name="Report">File of JSON; null for none.</param>
/// <param name="Html">File of HTML; null for none.</param>
internal sealed record ReportPlaces(TextWriter? Output, string? Report, string? Html)
{
    /// <summary>What a command line asks for.</summary>
    /// <param name="parsed">Command line.</param>
    /// <param name="json">Its option --json.</param>
    /// <param name="report">Its option --report.</param>
    /// <param name="html">Its option --html; null for a verb without one.</param>
    public static ReportPlaces Of(ParseResult parsed, Option<bool> json, Option<string?> report, Option<string?>? html = null) =>
        new(parsed.GetValue(json) ? parsed.InvocationConfiguration.Output : null, parsed.GetValue(report), html is null ? null : parsed.GetValue(html));
}

/// <summary>Where a verb's document goes: files, standard output, and a table for people.</summary>
internal static class ReportWriter
{
    /// <summary>JSON for people and programs: indented, with letters of every language as they are.</summary>
    internal static readonly JsonSerializerOptions Readable = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The document as text, the same for --json and --report.</summary>
    public static string Text(JsonObject document) => document.ToJsonString(Readable) + "\n";

    /// <summary>Prints a document on standard output where --json asks for it.</summary>
    /// <param name="parsed">Command line.</param>
    /// <param name="json">Its option --json.</param>
    /// <param name="document">The document.</param>
    public static void Print(ParseResult parsed, Option<bool> json, JsonObject document)
    {
        if (parsed.GetValue(json))
            parsed.InvocationConfiguration.Output.WriteLine(document.ToJsonString(Readable));
    }

    /// <summary>Writes a document wherever it was asked for.</summary>
    /// <param name="document">The document.</param>
    /// <param name="places">Where it goes.</param>
    /// <param name="page">Makes the page of HTML; null for a document that has none.</param>
    public static void Document(JsonObject document, ReportPlaces places, Func<string>? page = null)
    {
        if (places.Report is not null)
            OutputFile.Write(places.Report, Text(document));
        if (places.Html is not null && page is not null)
            OutputFile.Write(places.Html, page());
        places.Output?.Write(Text(document));
    }

    /// <summary>Writes a training report wherever it was asked for, and shows it.</summary>
    public static void Write(JsonObject document, Terminal terminal, ReportPlaces places)
    {
        document = ReportParts.ReadBack(document);
        Document(document, places, () => HtmlReport.Of([document]));
        Show(document, terminal);
    }

    /// <summary>A number for people: leading zero, four digits after the point, and an exponent where that would show nothing but zeros or more than seven digits before it;
    /// a dash where there is none.</summary>
    public static string Number(JsonNode? value) => value is null ? "-"
        : ((double)value).ToString(Math.Abs((double)value) is 0 or (>= 0.00005 and < 1e7) ? "0.0000" : "0.0000e+0", CultureInfo.InvariantCulture);

    /// <summary>The figures of a report as name and value, absent ones left out.</summary>
    public static IEnumerable<(string Name, string Train, string Test)> Metrics(JsonObject document)
    {
        // The active party's own model stands next to every private result.
        IEnumerable<(string, string, string)> figures = Metrics(document["metrics"]!, "");
        return document["metrics"]!["guestOnly"] is { } alone ? figures.Concat(Metrics(alone, "active party alone: ")) : figures;
    }

    private static IEnumerable<(string Name, string Train, string Test)> Metrics(JsonNode metrics, string prefix)
    {
        JsonNode? train = metrics["train"], test = metrics["test"];
        foreach (string name in (string[])["auc", "accuracy", "logLoss", "ks", "prAuc", "brier", "precision", "recall", "f1", "rmse", "mae", "r2", "deviance", "d2"])
            if (train?[name] is not null || test?[name] is not null)
                yield return (prefix + name, Number(train?[name]), Number(test?[name]));
    }

    private static void Show(JsonObject document, Terminal terminal)
    {
        terminal.Log((string?)document["notice"]);
        if (RecommendationSection.Is(document))
            ShowRecommendation(document, terminal);
        else
        {
            Table metrics = Terminal.Table("metric", "train", "test");
            foreach ((string name, string train, string test) in Metrics(document))
                metrics.AddRow(name, train, test);
            // A passive party knows of no figures.
            if (metrics.Rows.Count > 0)
                terminal.Styled.Write(metrics);
            terminal.Log(TuningTable.IsAlone(document) ? $"{Figures.Count(document["rows"]!["train"], "training row")}, of which each run of the tuning left a fold out to test on; the job's own test rows were not used."
                : $"{Figures.Count(document["rows"]!["train"], "training row")}, {Figures.Count(document["rows"]!["test"], "test row")}.{Noisy(document)}");
        }

        terminal.Log(CommonRows(document));
        Table parties = Terminal.Table("party", "role", "epsilon", "delta", "sigma", "sent", "peak memory");
        foreach (JsonObject party in ReportParts.Parties(document))
        {
            JsonObject privacy = party["privacy"]!.AsObject();
            parties.AddRow(Markup.Escape((string)party["name"]!), (string)party["role"]!, Epsilon(privacy), Short(privacy["delta"]), Short(privacy["sigmaCharged"]),
                Bytes((long)party["bytesSent"]!), Bytes((long)party["peakMemoryBytes"]!));
        }

        terminal.Styled.Write(parties);
        if (document["tuning"] is { } tuning)
            TuningTable.Show(tuning, terminal);
        JsonObject timing = document["timing"]!.AsObject();
        terminal.Log($"{Figures.Count(timing["epochs"], "epoch")}{(TuningTable.IsAlone(document) ? " in all runs of the tuning that ended" : "")}, {Number(timing["secondsPerEpoch"])} s an epoch, {Number(timing["totalSeconds"])} s in all{Stopped(document)}.");
        if (PartiesSection.Engines(document) is { Length: > 0 } engines)
            terminal.Log($"seconds in the engine of encryption: {string.Join(", ", engines.Select(e => $"{Number(e.Seconds)} at '{e.Name}'"))}.");
        foreach (string claim in ReportParts.Parties(document).SelectMany(p => ReportParts.Strings(p["privacy"]!["claims"])).Distinct())
            terminal.Log($"claim: {claim}");
        IEnumerable<string> warnings = ReportParts.Strings(document["warnings"]).Concat(ReportParts.Strings(document["alignment"]!["warnings"] ?? new JsonArray()))
            .Concat(ReportParts.Parties(document).SelectMany(p => ReportParts.Strings(p["privacy"]!["warnings"])));
        foreach (string warning in warnings.Distinct())
            terminal.Log($"warning: {warning}");
        string[] ignored = [.. ReportParts.Strings(document["ignored"])];
        if (ignored.Length > 0)
            terminal.Log($"keys without effect in this mode: {string.Join(", ", ignored)}");
    }

    /// <summary>How many of its rows each party shares with the others; null for reports that do not say, and for a party alone.</summary>
    private static string? CommonRows(JsonObject document)
    {
        string[] parties = [.. document["parties"]!.AsArray().Where(p => p!["rows"] is not null).Select(p => $"{Figures.Count(p!["commonRows"])} of {Figures.Count(p["rows"])} of '{(string)p["name"]!}'")];
        return parties.Length == 0 || document["alignment"]!["leaks"]!.AsArray().Count == 0 ? null : $"common rows: {string.Join(", ", parties)}.";
    }

    /// <summary>What the figures of the training rows are where scores reach the active party with noise; empty elsewhere.</summary>
    public static string Noisy(JsonObject document) => document["metrics"]!["train"] is not null
        && document["parties"]!.AsArray().Any(p => (string?)p!["privacy"]!["mode"] is "hdp-vfl" or "one-round")
        ? " Figures of training rows are measured on noisy scores, which the model was fitted to, and say little of it: judge it by test rows." : "";

    /// <summary>Why an optimiser that may stop early did; empty where it went through all of its epochs.</summary>
    private static string Stopped(JsonObject document) => (string?)document["job"]!["stopReason"] switch
    {
        "converged" => ", converged",
        "noFurtherDecrease" => ", stopped where no step lowers the loss",
        "earlyStopped" => ", stopped early",
        _ => "",
    };

    private static void ShowRecommendation(JsonObject document, Terminal terminal)
    {
        foreach ((string set, string name, JsonNode figures) in RecommendationSection.Measured(document))
        {
            terminal.Log($"{name}: {Figures.Count(figures["events"], "event")} of {Figures.Count(figures["users"], "user")}");
            Table table = Terminal.Table(["metric", "model", "interval", .. RecommendationSection.Baselines.Select(b => b.Name)]);
            foreach (string key in Figures.Keys(figures).Where(key => key is not ("events" or "users")))
                table.AddRow([Figures.Name(key), Number(figures[key]), Figures.Interval(document["intervals"]?[set]?[key]) ?? "-",
                    .. RecommendationSection.Baselines.Select(b => Number(RecommendationSection.Beside(document, b.Key, set, key)))]);
            terminal.Styled.Write(table);
        }

        if (document["metrics"]!["train"]?["loss"] is { } loss)
            terminal.Log($"mean training loss {Number(loss)}");
    }

    /// <summary>A loss for people, in six digits: losses differ in late ones, and may be of any size. A dash where there is none.</summary>
    public static string Loss(JsonNode? value) => value is null ? "-" : ((double)value).ToString("G6", CultureInfo.InvariantCulture);

    /// <summary>A number in few digits; a dash where there is none.</summary>
    public static string Short(JsonNode? value) => value is null ? "-" : ((double)value).ToString("G4", CultureInfo.InvariantCulture);

    /// <summary>An epsilon with the claim and the unit that it holds for, where a report names them.</summary>
    public static string Epsilon(JsonNode privacy) => Short(privacy["epsilon"]) + (privacy["epsilon"] is not null && privacy["claim"] is { } claim ? $" ({(string)claim!}, per {(string)privacy["unit"]!})" : "");

    /// <summary>Bytes for people.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        < 10_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes} B"),
        < 10_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:0.0} kB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:0.0} MB"),
    };
}
