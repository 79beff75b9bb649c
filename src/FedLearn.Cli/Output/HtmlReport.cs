using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;

namespace FedLearn.Cli.Output;

/// <summary>A plain page of one or several training reports: one file, no script, nothing loaded from elsewhere.</summary>
internal static class HtmlReport
{
    private const string Style = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
        + "table{border-collapse:collapse;margin:1rem 0}th,td{border:1px solid #ccc;padding:.3rem .7rem;text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}"
        + "th{background:#f3f3f3}.notice{background:#b00020;color:#fff;padding:.5rem 1rem;font-weight:bold}code{font-size:.9em}"
        + "@media(prefers-color-scheme:dark){body{background:#181818;color:#eee}th{background:#282828}th,td{border-color:#444}}";

    /// <summary>The page.</summary>
    /// <param name="documents">Reports of <c>train</c>.</param>
    /// <param name="summary">HTML that stands before the reports; null for none.</param>
    /// <param name="title">Title; null for the name of the first job.</param>
    public static string Of(IReadOnlyList<JsonObject> documents, string? summary = null, string? title = null)
    {
        title ??= (string)documents[0]["job"]!["name"]!;
        var page = new StringBuilder();
        // A reader must meet the notice before any figure.
        string? notice = documents.Select(d => (string?)d["notice"]).FirstOrDefault(n => n is not null);
        page.Append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">");
        page.Append(CultureInfo.InvariantCulture, $"<title>{(notice is null ? "" : Text(notice) + " - ")}{Text(title)}</title><style>{Style}</style></head>\n<body>\n");
        if (notice is not null)
            page.Append(CultureInfo.InvariantCulture, $"<p class=\"notice\">{Text(notice)}</p>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h1>{Text(title)}</h1>\n{summary}");
        foreach (JsonObject document in documents)
            Job(page, document);
        return page.Append("</body></html>\n").ToString();
    }

    /// <summary>A table.</summary>
    /// <param name="header">Column heads.</param>
    /// <param name="rows">Cells; those after the first are numbers.</param>
    public static string Table(IReadOnlyList<string> header, IEnumerable<IReadOnlyList<string>> rows)
    {
        var table = new StringBuilder("<table><thead><tr>");
        foreach (string head in header)
            table.Append(CultureInfo.InvariantCulture, $"<th>{Text(head)}</th>");
        table.Append("</tr></thead><tbody>\n");
        foreach (IReadOnlyList<string> row in rows)
        {
            table.Append("<tr>");
            for (int i = 0; i < row.Count; i++)
                table.Append(CultureInfo.InvariantCulture, $"<td{(i > 0 ? " class=\"n\"" : "")}>{Text(row[i])}</td>");
            table.Append("</tr>\n");
        }

        return table.Append("</tbody></table>\n").ToString();
    }

    /// <summary>A paragraph.</summary>
    public static string Paragraph(string text) => $"<p>{Text(text)}</p>\n";

    private static void Job(StringBuilder page, JsonObject document)
    {
        JsonObject job = document["job"]!.AsObject(), timing = document["timing"]!.AsObject();
        page.Append(CultureInfo.InvariantCulture, $"<h2>{Text((string)job["name"]!)}</h2>\n");
        page.Append(Paragraph($"{(string)job["family"]!} model, {(string)job["optimizer"]!}, {(string)job["transport"]!}; {(int)document["rows"]!["train"]!} training and "
            + $"{(int)document["rows"]!["test"]!} test rows; {(int)timing["epochs"]!} epochs, {ReportWriter.Number(timing["secondsPerEpoch"])} s an epoch, "
            + $"{ReportWriter.Number(timing["totalSeconds"])} s in all."));
        page.Append(Table(["metric", "train", "test"], ReportWriter.Metrics(document).Select(m => (string[])[m.Name, m.Train, m.Test])));
        page.Append(Table(["party", "role", "mode", "epsilon", "delta", "mu", "sigma", "sensitivity", "bytes sent", "peak memory", "weights SHA-256"],
            document["parties"]!.AsArray().Select(p => (string[])[(string)p!["name"]!, (string)p["role"]!, (string)p["privacy"]!["mode"]!,
                ReportWriter.Short(p["privacy"]!["epsilon"]), ReportWriter.Short(p["privacy"]!["delta"]), ReportWriter.Short(p["privacy"]!["mu"]),
                ReportWriter.Short(p["privacy"]!["sigmaCharged"]), ReportWriter.Short(p["privacy"]!["sensitivity"]), ReportWriter.Bytes((long)p["bytesSent"]!),
                ReportWriter.Bytes((long)p["peakMemoryBytes"]!), ((string)p["model"]!["weightsSha256"]!)[..16]])));
        string[][] left = [.. document["parties"]!.AsArray().SelectMany(p => p!["releases"]!.AsArray()
            .Select(r => (string[])[(string)r!["name"]!, (string)p["name"]!, (string)r["protection"]!, ((long)r["count"]!).ToString(CultureInfo.InvariantCulture)]))];
        page.Append(left.Length == 0 ? Paragraph("No message left a party.") : Table(["what left", "party", "protection", "messages"], left));
        List(page, "Claims", document["parties"]!.AsArray().SelectMany(p => p!["privacy"]!["claims"]!.AsArray()));
        List(page, "Warnings", document["warnings"]!.AsArray().Concat(document["parties"]!.AsArray().SelectMany(p => p!["privacy"]!["warnings"]!.AsArray())));
        List(page, $"Alignment ({(string)document["alignment"]!["method"]!}) discloses", document["alignment"]!["leaks"]!.AsArray());
        page.Append(CultureInfo.InvariantCulture, $"<p>Job digest <code>{Text((string)job["digest"]!)}</code></p>\n");
    }

    private static void List(StringBuilder page, string head, IEnumerable<JsonNode?> items)
    {
        string[] texts = [.. items.Select(i => (string)i!).Distinct()];
        if (texts.Length == 0)
            return;
        page.Append(CultureInfo.InvariantCulture, $"<h3>{Text(head)}</h3>\n<ul>\n");
        foreach (string text in texts)
            page.Append(CultureInfo.InvariantCulture, $"<li>{Text(text)}</li>\n");
        page.Append("</ul>\n");
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
