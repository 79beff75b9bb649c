using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.Running;
using Spectre.Console;

namespace FedLearn.Cli.Report;

/// <summary>A comparison for people: the rows as a table, on the terminal and on the page.</summary>
internal static class CompareTable
{
    /// <summary>Writes a comparison on standard error.</summary>
    /// <param name="document">Document of <c>compare</c>.</param>
    /// <param name="terminal">Where to.</param>
    public static void Show(JsonObject document, Terminal terminal)
    {
        terminal.Log((string?)document["notice"]);
        Table table = Terminal.Table(Header(document));
        foreach (JsonObject row in Rows(document))
            table.AddRow([.. Cells(document, row).Select(Markup.Escape)]);
        terminal.Styled.Write(table);
        foreach (JsonObject row in Rows(document))
            terminal.Log((string)row["sentence"]!);
        foreach (JsonObject row in Rows(document).Where(r => !CompareDocument.IsOk(r) && r["error"] is not null))
            terminal.Log($"refused: {(string)row["name"]!}: {(string)row["error"]!["message"]!}");
        foreach (string note in Notes(document))
            terminal.Log($"note: {note}");
        terminal.Log($"{ReportWriter.Number(document["timing"]!["totalSeconds"])} s in all.");
    }

    /// <summary>Rows of the document.</summary>
    public static IEnumerable<JsonObject> Rows(JsonObject document) => ReportParts.Objects(document["rows"]);

    /// <summary>What holds for all rows, with what the ledgers were charged.</summary>
    public static IEnumerable<string> Notes(JsonObject document) => [.. ReportParts.Strings(document["notes"]), (string)document["ledger"]!["note"]!,
        .. document["ledger"]!["charges"]!.AsArray().Select(c => $"this comparison charged '{(string)c!["party"]!}' epsilon {ReportWriter.Short(c["epsilon"])} at delta {ReportWriter.Short(c["delta"])} in {Figures.Count(c["runs"])} charged {((int)c["runs"]! == 1 ? "run" : "runs")}")];

    /// <summary>Heads of the table.</summary>
    public static string[] Header(JsonObject document)
    {
        JsonNode quality = document["quality"]!;
        string figure = (string?)quality["metric"] is { } metric ? $"{(string)quality["set"]!} {Figures.Name(metric)}" : "quality";
        return ["mode", "how", "epsilon", "delta", figure, "s/epoch", "x plain", "bytes", "x plain", "peak memory", "x plain", "status"];
    }

    /// <summary>One row, a dash for each figure that it has not.</summary>
    public static string[] Cells(JsonObject document, JsonObject row)
    {
        JsonNode quality = document["quality"]!;
        string native = CompareDocument.IsNative(row) ? ", native" : "", how = (string?)row["calibration"] ?? (row["scheme"] is { } scheme ? (string)scheme! + native : "-");
        JsonNode? relative = row["relative"], timing = row["timing"];
        bool whole = relative?["trainingBytes"] is not null || row["metrics"] is not null, iterative = timing?["secondsPerEpoch"] is not null;
        string seconds = timing is null ? "-" : iterative ? CompareDocument.Seconds((double)timing["secondsPerEpoch"]!) : $"{CompareDocument.Seconds((double)timing["trainingSeconds"]!)} in all";
        string bytes = row["bytes"] is not { } sent ? "-" : whole ? ReportWriter.Bytes((long)sent["training"]!) : $"{ReportWriter.Bytes((long)(double)sent["trainingPerEpoch"]!)}/epoch";
        return
        [
            (string)row["mode"]!, how, ReportWriter.Short(row["epsilon"]), ReportWriter.Short(row["actualDelta"] ?? row["delta"]), (string?)quality["metric"] is { } metric ? ReportWriter.Number(row["metrics"]?[(string)quality["set"]!]?[metric]) : "-",
            seconds, CompareDocument.Ratio(iterative ? relative?["secondsPerEpoch"] : relative?["trainingSeconds"]),
            bytes, CompareDocument.Ratio(whole ? relative?["trainingBytes"] : relative?["trainingBytesPerEpoch"]),
            Figures.Bytes(row["peakMemoryBytes"]), CompareDocument.Ratio(relative?["peakMemory"]), CompareDocument.IsOk(row) ? "ok" : (string?)row["error"]?["id"] ?? (string)row["status"]!,
        ];
    }
}
