using System.Text.Json.Nodes;
using FedLearn.Cli.Output;

namespace FedLearn.Cli.Report;

/// <summary>How well the scores rank, and how true they are: curves, the confusion matrix and the figures of each class.</summary>
internal static class EvaluationSection
{
    /// <summary>The section; nothing where a report has no evaluation.</summary>
    /// <param name="document">The report.</param>
    /// <param name="index">Its index on the page.</param>
    public static string Of(JsonObject document, int index)
    {
        JsonNode? evaluation = document["evaluation"];
        (string Name, JsonNode Rows)[] sets = [.. ((string[])["test", "train"]).Select(name => (name, evaluation?[name]!)).Where(s => s.Item2 is not null)];
        if (sets.Length == 0)
            return "";
        bool ranks = sets.Any(s => s.Rows["roc"] is not null);
        string charts = Chart("roc", ranks ? $"ROC{Auc(document)}" : "ROC", "Share of positives found against share of negatives flagged", Roc)
            + Chart("precisionRecall", "Precision and recall", "How pure the highest scores are, as more positives are found", PrecisionRecall)
            + Chart("calibration", "Calibration", $"Equal groups of rows by predicted {(ranks ? "probability" : "mean")}; on the diagonal, predictions are true", Calibration)
            + Chart("lift", "Lift", "Of the rows with the highest scores, against rows drawn at random (1)", Lift);
        string tables = string.Concat(sets.Select(s => Confusion(s.Name, s.Rows) + PerClass(s.Name, s.Rows)));
        string how = evaluation!["resamples"] is { } resamples
            ? Html.Paragraph($"Intervals hold {Level(evaluation)} of {Figures.Count(resamples)} resamples of the rows (bootstrap, seed {Figures.Value(evaluation["seed"])}){(ranks ? "; that of KS is mirrored at KS, since resamples make a maximum larger" : "")}.", "note") : "";
        return "<h3>Evaluation</h3>\n" + (charts.Length == 0 ? "" : $"<div class=\"charts\">\n{charts}</div>\n") + (tables.Length == 0 ? "" : $"<div class=\"charts tables\">\n{tables}</div>\n") + how;

        string Chart(string key, string caption, string note, Func<JsonNode, string> figures)
        {
            (string Name, JsonNode Rows)[] with = [.. sets.Where(s => s.Rows[key] is not null)];
            return with.Length == 0 ? "" : Html.Chart(key, index, caption, string.Concat(with.Select(s => Html.Paragraph(SetName(s.Name)) + figures(s.Rows[key]!))), note);
        }
    }

    /// <summary>The points of a ROC curve as a table.</summary>
    public static string Roc(JsonNode curve) => Figures.Columns("ROC", curve, ("falsePositiveRate", "false positive rate"), ("truePositiveRate", "true positive rate"));

    /// <summary>The level of the intervals in per cent; "most" where a report does not say it.</summary>
    public static string Level(JsonNode? evaluation) => evaluation?["level"] is { } level ? $"{Figures.Count(100 * (double)level)}%" : "most";

    private static string PrecisionRecall(JsonNode curve) => Figures.Columns("Precision and recall", curve, ("recall", "recall"), ("precision", "precision"));

    private static string Calibration(JsonNode bins) => Figures.Columns("Calibration", bins, ("predicted", "mean predicted"), ("observed", "mean observed"), ("rows", "rows"));

    private static string Lift(JsonNode deciles) => Figures.Columns("Lift", deciles, ("share", "share of rows"), ("lift", "lift"), ("gain", "gain"));

    private static string Auc(JsonObject document) => document["metrics"]!["test"]?["auc"] is { } auc ? $", test AUC {ReportWriter.Number(auc)}" : "";

    private static string SetName(string name) => name == "test" ? "Test rows" : "Training rows";

    private static string Confusion(string set, JsonNode rows)
    {
        if (rows["confusion"] is not { } confusion)
            return "";
        string[] classes = [.. confusion["classes"]!.AsArray().Select(Figures.Value)];
        IEnumerable<Cell[]> table = confusion["counts"]!.AsArray().Zip(classes, (counts, name) =>
        {
            double[] row = [.. counts!.AsArray().Select(c => (double)c!)];
            double total = row.Sum();
            return (Cell[])[Cell.Text($"true {name}"), .. row.Select(count => new Cell(Shaded(count, total), true))];
        });
        string at = rows["threshold"] is { } threshold && classes.Length == 2 ? $" at threshold {ReportWriter.Short(threshold)}" : "";
        return $"<div class=\"card\"><h4>Confusion{Html.Text(at)}, {SetName(set).ToLowerInvariant()}</h4>\n"
            + Html.Table($"Confusion, {SetName(set)}", ["", .. classes.Select(c => $"predicted {c}")], table, "confusion") + "</div>\n";
    }

    // One of ten shades, by the cell's share of its true class. They are CSS classes, since the page's policy forbids style attributes.
    private static string Shaded(double count, double total)
    {
        double share = total > 0 ? Math.Clamp(count / total, 0, 1) : 0;
        return $"<span class=\"shade s{(int)Math.Round(10 * share)}\">{Figures.Count(count)}<small>{Figures.Count(Math.Round(100 * share, 1))}%</small></span>";
    }

    private static string PerClass(string set, JsonNode rows) => rows["perClass"] is not JsonArray { Count: > 0 } classes ? ""
        : $"<div class=\"card\"><h4>Classes, {SetName(set).ToLowerInvariant()}</h4>\n" + Html.Table($"Classes, {SetName(set)}", ["class", "rows", "precision", "recall", "F1", "AUC"],
            classes.Select(c => (Cell[])[Cell.Text(Figures.Value(c!["class"])), Cell.Number(Figures.Count(c["rows"])),
                .. ((string[])["precision", "recall", "f1", "auc"]).Select(key => Cell.Number(ReportWriter.Number(c[key])))])) + "</div>\n";
}
