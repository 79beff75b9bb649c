using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Running;

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
        JsonObject[] reports = [.. documents.Select(ReportParts.ReadBack)];
        title ??= (string)reports[0]["job"]!["name"]!;
        var body = new StringBuilder();
        if (reports.Length > 1 || summary is not null)
            body.Append(CultureInfo.InvariantCulture, $"<section>\n<h2>Overview</h2>\n{summary}{Comparison.Of(reports)}</section>\n");
        for (int i = 0; i < reports.Length; i++)
            JobSection.Append(body, reports[i], i, withHead: reports.Length > 1 || summary is not null);
        return Page(title, reports.Select(d => (string?)d["notice"]).FirstOrDefault(n => n is not null), "FedLearn training report", Contents(reports), body.ToString(), documents);
    }

    /// <summary>A page of any kind.</summary>
    /// <param name="title">Title.</param>
    /// <param name="notice">What a reader must meet before any figure; null for nothing.</param>
    /// <param name="kicker">What kind of page it is.</param>
    /// <param name="contents">HTML below the title.</param>
    /// <param name="body">HTML of the page.</param>
    /// <param name="documents">What the charts show.</param>
    public static string Page(string title, string? notice, string kicker, string contents, string body, IReadOnlyList<JsonObject> documents)
    {
        var page = new StringBuilder("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
        page.Append(CultureInfo.InvariantCulture, $"<meta http-equiv=\"Content-Security-Policy\" content=\"{Assets.Policy}\"><meta name=\"color-scheme\" content=\"light dark\">\n");
        page.Append(CultureInfo.InvariantCulture, $"<title>{(notice is null ? "" : Html.Text(notice) + " - ")}{Html.Text(title)}</title>\n<style>{Assets.Style}</style></head>\n<body>\n");
        if (notice is not null)
            page.Append(CultureInfo.InvariantCulture, $"<p class=\"notice\" role=\"alert\">{Html.Text(notice)}</p>\n");
        page.Append(CultureInfo.InvariantCulture, $"<main>\n<header><p class=\"kicker\">{Html.Text(kicker)}</p><h1>{Html.Text(title)}</h1>{contents}</header>\n");
        page.Append("<noscript><p>Charts need a browser that runs scripts. Every figure also stands in a table.</p></noscript>\n");
        // The default encoder leaves no < > & or quote in the text, so that no value of a report can end the block it stands in.
        page.Append(CultureInfo.InvariantCulture, $"{body}</main>\n<script type=\"application/json\" id=\"reports\">{JsonSerializer.Serialize(documents)}</script>\n");
        return page.Append(CultureInfo.InvariantCulture, $"<script>{Assets.Library}</script>\n<script>{Assets.Script}</script>\n</body></html>\n").ToString();
    }

    /// <summary>A table of texts.</summary>
    /// <param name="header">Column heads.</param>
    /// <param name="rows">Cells; those after the first are numbers, but for the columns job, mode and unit.</param>
    public static string Table(IReadOnlyList<string> header, IEnumerable<IReadOnlyList<string>> rows) =>
        Html.Table("Overview", header, rows.Select(row => (Cell[])[.. row.Select((text, i) => i == 0 || header[i] is "job" or "mode" or "unit" ? Cell.Text(text) : Cell.Number(text))]));

    /// <summary>A paragraph.</summary>
    public static string Paragraph(string text) => Html.Paragraph(text);

    private static string Contents(JsonObject[] reports) => reports.Length == 1 ? ""
        : $"<nav aria-label=\"Reports\">{string.Concat(reports.Select((d, i) => $"<a href=\"#job-{i}\">{Html.Text((string)d["job"]!["name"]!)}</a>"))}</nav>";
}
