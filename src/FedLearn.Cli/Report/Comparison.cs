using System.Text.Json.Nodes;
using FedLearn.Cli.Output;

namespace FedLearn.Cli.Report;

/// <summary>What several reports have in common, side by side.</summary>
internal static class Comparison
{
    /// <summary>Charts over all reports, and a table of all their test figures; nothing for one report.</summary>
    public static string Of(IReadOnlyList<JsonObject> reports)
    {
        if (reports.Count < 2)
            return "";
        string[] names = [.. reports.Select(d => (string)d["job"]!["name"]!)];
        string charts = "";
        if (Figures.Headline(reports) is { } main)
            charts += Html.Chart("compare", 0, $"{SetOf(reports)} {Figures.Name(main)} of every job", Html.Table($"{Figures.Name(main)} of every job",
                ["job", Figures.Name(main), "active party alone"], reports.Select((d, i) => (Cell[])[Cell.Text(names[i]),
                    Cell.Interval(ReportWriter.Number(Set(d, "metrics")?[main]), Figures.Interval(Set(d, "intervals")?[main])),
                    Cell.Number(ReportWriter.Number(d["metrics"]!["guestOnly"]?[KeyOf(d)]?[main]))])),
                "Lines are intervals, where the report has them", reports.Count, main);
        (JsonNode Curve, string Name)[] curves = [.. reports.Select((d, i) => (d["evaluation"]?["test"]?["roc"]!, names[i])).Where(c => c.Item1 is not null)];
        if (curves.Length > 1)
            charts += Html.Chart("compare-roc", 0, "ROC of every job, test rows", string.Concat(curves.Select(c => Html.Paragraph(c.Name) + EvaluationSection.Roc(c.Curve))));
        string[] keys = Figures.Keys([.. reports.Select(d => Set(d, "metrics"))]);
        string table = keys.Length == 0 ? "" : Html.Table($"{SetOf(reports)} figures of every job", ["metric", .. names], keys.Select(key => (Cell[])[Cell.Text(Figures.Name(key)),
            .. reports.Select(d => Cell.Interval(ReportWriter.Number(Set(d, "metrics")?[key]), Figures.Interval(Set(d, "intervals")?[key])))]));
        return (charts.Length == 0 ? "" : $"<div class=\"charts\">\n{charts}</div>\n") + (table.Length == 0 ? "" : $"<h3>{SetOf(reports)} figures</h3>\n{table}");
    }

    // Test rows where a report has any, else the training rows.
    private static string KeyOf(JsonObject document) => document["metrics"]!["test"] is null ? "train" : "test";

    private static JsonNode? Set(JsonObject document, string part) => document[part]?[KeyOf(document)];

    private static string SetOf(IEnumerable<JsonObject> reports) => reports.All(d => KeyOf(d) == "test") ? "Test" : reports.All(d => KeyOf(d) == "train") ? "Training" : "Test or training";
}
