using System.Text.Json.Nodes;
using FedLearn.Cli.Output;

namespace FedLearn.Cli.Report;

/// <summary>How well a recommendation model ranks, beside recommenders that need no training across companies.</summary>
internal static class RecommendationSection
{
    private static readonly (string Key, string Name)[] Sets =
        [("test", "Test events of users and items that training knows"), ("coldUsers", "Events of users that training never saw"), ("coldItems", "Events with items that training never saw")];

    /// <summary>Recommenders beside the model, by the report's keys.</summary>
    public static IReadOnlyList<(string Key, string Name)> Baselines { get; } = [("popularity", "Popularity"), ("itemKnn", "ItemKNN"), ("ials", "iALS")];

    /// <summary>Whether a report is of a recommendation job.</summary>
    public static bool Is(JsonObject document) => (string?)document["job"]!["model"] == "dssm";

    /// <summary>Kinds of events with figures: key, words, figures of the model.</summary>
    public static IEnumerable<(string Key, string Name, JsonNode Figures)> Measured(JsonObject document) =>
        Sets.Select(set => (set.Key, set.Name, document["metrics"]![set.Key]!)).Where(set => set.Item3 is not null);

    /// <summary>The figure of a recommender beside the model; null where there is none.</summary>
    public static JsonNode? Beside(JsonObject document, string baseline, string set, string figure) => document["baselines"]?[baseline]?[set]?[figure];

    /// <summary>The section.</summary>
    public static string Of(JsonObject document, int index)
    {
        string tables = "";
        foreach ((string set, string name, JsonNode figures) in Measured(document))
        {
            string[] keys = [.. Figures.Keys(figures).Where(key => key is not ("events" or "users"))];
            string table = Html.Table(name, ["metric", "model", .. Baselines.Select(b => b.Name)], keys.Select(key => (Cell[])[Cell.Text(Figures.Name(key)),
                Cell.Interval(ReportWriter.Number(figures[key]), Figures.Interval(document["intervals"]?[set]?[key])),
                .. Baselines.Select(b => Cell.Number(ReportWriter.Number(Beside(document, b.Key, set, key))))]));
            string bars = document["baselines"] is not JsonObject { Count: > 0 } ? ""
                : $"<div class=\"charts\">\n{Html.Chart("baselines", index, "HR@10 among all items", table, name, Baselines.Count + 1, set)}</div>\n";
            tables += $"<h4>{Html.Text(name)}</h4>\n" + Html.Paragraph($"{Figures.Count(figures["events"], "event")} of {Figures.Count(figures["users"], "user")}.", "note") + table + bars;
        }

        if (tables.Length == 0)
            return "<h3>Metrics</h3>\n" + Html.Paragraph("Nothing was measured.");
        string level = document["intervals"]?["test"] is null ? "" : $" Below a figure: {EvaluationSection.Level(document["evaluation"])} interval over resampled users.";
        return "<h3>Metrics</h3>\n" + tables
            + Html.Paragraph("Figures against 99 sampled negatives are no estimate of those against all items and may order models otherwise; choose by the latter." + level, "note");
    }
}
