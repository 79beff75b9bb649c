using System.Text;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.Running;

namespace FedLearn.Cli.Report;

/// <summary>The page of a comparison: one file that loads nothing, like that of a training.</summary>
internal static class CompareReport
{
    /// <summary>The page.</summary>
    /// <param name="document">Document of <c>compare</c>.</param>
    public static string Of(JsonObject document) => HtmlReport.Page((string)document["job"]!["name"]!, (string?)document["notice"], "FedLearn comparison", "", Body(document), [document]);

    private static string Body(JsonObject document)
    {
        JsonObject[] rows = [.. CompareTable.Rows(document)], ok = [.. rows.Where(CompareDocument.IsOk)];
        JsonNode quality = document["quality"]!;
        var body = new StringBuilder("<section>\n<h2>Overview</h2>\n");
        body.Append(Html.Table("Rows", CompareTable.Header(document), rows.Select(row => (Cell[])[.. CompareTable.Cells(document, row).Select((text, i) => i switch
        {
            < 2 => Cell.Text(text),
            4 when (string?)quality["metric"] is { } metric => Cell.Interval(text, Figures.Interval(row["intervals"]?[(string)quality["set"]!]?[metric])),
            _ => Cell.Number(text),
        })])));
        body.Append("<h3>In words</h3>\n<ul>\n").Append(string.Concat(rows.Select(r => $"<li>{Html.Text((string)r["sentence"]!)}{(r["note"] is { } note ? $" <small>{Html.Text((string)note!)}</small>" : "")}</li>\n"))).Append("</ul>\n");
        body.Append("<h3>Quality and cost</h3>\n<div class=\"charts\">\n").Append(Quality(document, ok));
        body.Append(Cost(ok, "timing", "secondsPerEpoch", "secondsPerEpoch", "Seconds an epoch, relative to plain", v => $"{CompareDocument.Seconds((double)v!)} s"));
        body.Append(Cost(ok, "bytes", "trainingPerEpoch", "trainingBytesPerEpoch", "Training bytes on the wire an epoch, relative to plain", v => ReportWriter.Bytes((long)(double)v!)));
        body.Append(Cost(ok, "peakMemoryBytes", null, "peakMemory", "Peak memory of the largest process, relative to plain", v => ReportWriter.Bytes((long)v!)));
        body.Append("</div>\n").Append(Memory(ok));
        body.Append("<h3>How it was measured</h3>\n<ul>\n").Append(string.Concat(CompareTable.Notes(document).Select(n => $"<li>{Html.Text(n)}</li>\n"))).Append("</ul>\n");
        JsonNode job = document["job"]!;
        body.Append(Html.Terms(document["machine"]!.AsObject().Concat(job.AsObject()).Where(p => p.Value is JsonValue && p.Key is not ("name" or "digest")).Select(p => (Figures.Words(p.Key), Figures.Value(p.Value)))
            .Append(("FedLearn", Figures.Value(document["tool"]?["version"]))).Append(("Seconds in all", ReportWriter.Number(document["timing"]!["totalSeconds"])))));
        if (job["digest"] is { } digest)
            body.Append($"<p class=\"digest\">Job digest <code>{Html.Text((string)digest!)}</code></p>\n");
        return body.Append("</section>\n").ToString();
    }

    /// <summary>Quality against epsilon; nothing where no private row has any.</summary>
    private static string Quality(JsonObject document, JsonObject[] ok)
    {
        JsonNode quality = document["quality"]!;
        string set = (string)quality["set"]!;
        if ((string?)quality["metric"] is not { } metric || !ok.Any(r => r["epsilon"] is not null && r["metrics"]?[set]?[metric] is not null))
            return "";
        string figures = Html.Table("Quality", ["row", "epsilon", Figures.Name(metric)], ok.Where(r => r["metrics"]?[set]?[metric] is not null).Select(r => (Cell[])[Cell.Text((string)r["series"]!),
            Cell.Number(ReportWriter.Short(r["epsilon"])), Cell.Interval(ReportWriter.Number(r["metrics"]![set]![metric]), Figures.Interval(r["intervals"]?[set]?[metric]))]));
        return Html.Chart("trade-off", 0, $"{(set == "test" ? "Test" : "Training")} {Figures.Name(metric)} against epsilon", figures, "Upright lines are intervals; dashed lines have no epsilon", metric: metric);
    }

    private static string Cost(JsonObject[] ok, string part, string? key, string relative, string caption, Func<JsonNode?, string> format)
    {
        JsonObject[] shown = [.. ok.Where(r => r["relative"]?[relative] is not null && (double)r["relative"]![relative]! > 0)];
        if (shown.Length < 2)
            return "";
        string figures = Html.Table(caption, ["row", "figure", "x plain"], shown.Select(r => (Cell[])[Cell.Text((string)r["name"]!), Cell.Number(format(key is null ? r[part] : r[part]![key])),
            Cell.Number(CompareDocument.Ratio(r["relative"]![relative]))]));
        bool log = shown.Max(r => (double)r["relative"]![relative]!) > 30 * shown.Min(r => (double)r["relative"]![relative]!);
        return Html.Chart("cost", 0, caption, figures, log ? "The axis is logarithmic" : null, shown.Length, relative);
    }

    private static string Memory(JsonObject[] ok)
    {
        (string Row, string Who, JsonNode Peak)[] processes = [.. ok.SelectMany(r => r["parties"]!.AsArray().Concat(r["roles"]!.AsArray()).Where(p => p!["peakMemoryBytes"] is not null).SelectMany(p =>
        {
            string row = (string)r["name"]!, who = (string?)p!["name"] ?? (string)p["role"]!;
            JsonNode? engine = p["enginePeakMemoryBytes"] ?? p["encryption"]?["enginePeakMemoryBytes"];
            return new[] { (row, who, p["peakMemoryBytes"]!) }.Concat(engine is not null && (long)engine > 0 ? [(row, $"{who}, engine of encryption", engine)] : Array.Empty<(string, string, JsonNode)>());
        }))];
        return processes.Length == 0 ? "" : "<h3>Peak memory of every process</h3>\n"
            + Html.Table("Peak memory of every process", ["row", "process", "peak memory"], processes.Select(p => (Cell[])[Cell.Text(p.Row), Cell.Text(p.Who), Cell.Number(Figures.Bytes(p.Peak))]));
    }
}
