using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace FedLearn.Cli.Report;

/// <summary>A page of one or several training reports: one file that loads nothing. Tables hold every figure; charts, drawn by a script in the file, show them.</summary>
internal static class HtmlReport
{
    /// <summary>The page.</summary>
    /// <param name="documents">Reports of <c>train</c> or <c>party</c>.</param>
    /// <param name="summary">HTML that stands before the reports; null for none.</param>
    /// <param name="title">Title; null for the name of the first job.</param>
    public static string Of(IReadOnlyList<JsonObject> documents, string? summary = null, string? title = null)
    {
        // The default encoder leaves no < > & or quote in the text, so that no value of a report can end the block it stands in.
        string data = JsonSerializer.Serialize(documents);
        // Read back: a number then has one type, whoever made the report.
        JsonObject[] reports = [.. JsonNode.Parse(data)!.AsArray().Select(d => d!.AsObject())];
        title ??= (string)reports[0]["job"]!["name"]!;
        string? notice = reports.Select(d => (string?)d["notice"]).FirstOrDefault(n => n is not null);

        var page = new StringBuilder("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
        page.Append(CultureInfo.InvariantCulture, $"<meta http-equiv=\"Content-Security-Policy\" content=\"{Assets.Policy}\"><meta name=\"color-scheme\" content=\"light dark\">\n");
        // A reader must meet the notice before any figure.
        page.Append(CultureInfo.InvariantCulture, $"<title>{(notice is null ? "" : Html.Text(notice) + " - ")}{Html.Text(title)}</title>\n<style>{Assets.Style}</style></head>\n<body>\n");
        if (notice is not null)
            page.Append(CultureInfo.InvariantCulture, $"<p class=\"notice\" role=\"alert\">{Html.Text(notice)}</p>\n");
        page.Append(CultureInfo.InvariantCulture, $"<main>\n<header><p class=\"kicker\">FedLearn training report</p><h1>{Html.Text(title)}</h1>{Contents(reports)}</header>\n");
        page.Append("<noscript><p>Charts need a browser that runs scripts. Every figure also stands in a table.</p></noscript>\n");
        if (reports.Length > 1 || summary is not null)
            page.Append(CultureInfo.InvariantCulture, $"<section>\n<h2>Overview</h2>\n{summary}{Comparison.Of(reports)}</section>\n");
        for (int i = 0; i < reports.Length; i++)
            JobSection.Append(page, reports[i], i, withHead: reports.Length > 1 || summary is not null);
        page.Append(CultureInfo.InvariantCulture, $"</main>\n<script type=\"application/json\" id=\"reports\">{data}</script>\n");
        return page.Append(CultureInfo.InvariantCulture, $"<script>{Assets.Library}</script>\n<script>{Assets.Script}</script>\n</body></html>\n").ToString();
    }

    /// <summary>A table of texts.</summary>
    /// <param name="header">Column heads.</param>
    /// <param name="rows">Cells; those after the first are numbers.</param>
    public static string Table(IReadOnlyList<string> header, IEnumerable<IReadOnlyList<string>> rows) =>
        Html.Table("Overview", header, rows.Select(row => (Cell[])[.. row.Select((text, i) => i == 0 ? Cell.Text(text) : Cell.Number(text))]));

    /// <summary>A paragraph.</summary>
    public static string Paragraph(string text) => Html.Paragraph(text);

    private static string Contents(JsonObject[] reports) => reports.Length == 1 ? ""
        : $"<nav aria-label=\"Reports\">{string.Concat(reports.Select((d, i) => $"<a href=\"#job-{i}\">{Html.Text((string)d["job"]!["name"]!)}</a>"))}</nav>";
}
