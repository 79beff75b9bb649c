using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Report;

/// <summary>Figures of a report in the words and digits of the page.</summary>
internal static class Figures
{
    // In the order of the page. A figure that a report has and this list lacks comes after these, under its own name.
    private static readonly (string Key, string Name)[] Names =
    [
        ("auc", "AUC"), ("ks", "KS"), ("prAuc", "PR-AUC"), ("accuracy", "Accuracy"), ("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"),
        ("logLoss", "Log-loss"), ("brier", "Brier score"), ("rmse", "RMSE"), ("mae", "MAE"), ("r2", "R\u00B2"), ("deviance", "Deviance"), ("d2", "D\u00B2"),
        ("hr10Full", "HR@10, all items"), ("ndcg10Full", "NDCG@10, all items"), ("mrrFull", "MRR, all items"), ("aucFull", "AUC, all items"),
        ("hr10Sampled", "HR@10, 99 negatives"), ("ndcg10Sampled", "NDCG@10, 99 negatives"), ("mrrSampled", "MRR, 99 negatives"), ("aucSampled", "AUC, 99 negatives"),
        ("hr10AmongCold", "HR@10 among cold items"), ("ndcg10AmongCold", "NDCG@10 among cold items"), ("mrrAmongCold", "MRR among cold items"), ("aucAmongCold", "AUC among cold items"),
        ("coverage10", "Coverage of the lists of 10"), ("popularity10", "Training events of a listed item"), ("loss", "Loss"), ("events", "Events"), ("users", "Users"),
    ];

    /// <summary>The keys of the metrics that any of these sets has a number for, in the order of the page.</summary>
    public static string[] Keys(params JsonNode?[] sets)
    {
        string[] present = [.. sets.OfType<JsonObject>().SelectMany(s => s).Where(p => p.Value?.GetValueKind() == JsonValueKind.Number).Select(p => p.Key).Distinct()];
        return [.. Names.Select(n => n.Key).Where(present.Contains), .. present.Where(key => Names.All(n => n.Key != key))];
    }

    /// <summary>A metric in words.</summary>
    public static string Name(string key) => Names.FirstOrDefault(n => n.Key == key).Name ?? Words(key);

    /// <summary>The figure a job is read by: AUC, of recommendations the hit rate among all items, else deviance, else whatever there is; null where nothing was measured.</summary>
    public static string? Headline(IEnumerable<JsonObject> documents)
    {
        JsonNode?[] sets = [.. documents.Select(d => d["metrics"]!["test"] ?? d["metrics"]!["train"])];
        string[] shared = [.. Keys(sets).Where(key => sets.All(s => s?[key] is not null))];
        return shared.Contains("auc") ? "auc" : shared.Contains("hr10Full") ? "hr10Full" : shared.Contains("deviance") ? "deviance" : shared.FirstOrDefault();
    }

    /// <summary>An interval in words; null where there is none.</summary>
    public static string? Interval(JsonNode? interval) =>
        interval is JsonArray { Count: 2 } pair && pair.All(p => p is not null) ? $"{ReportWriter.Number(pair[0])} to {ReportWriter.Number(pair[1])}" : null;

    /// <summary>A count, with a comma at the thousands; a dash where there is none.</summary>
    public static string Count(JsonNode? value) => value is null ? "-" : ((double)value).ToString("#,0.##", CultureInfo.InvariantCulture);

    /// <summary>A count and what is counted; a dash for a count that there is not.</summary>
    public static string Count(JsonNode? value, string one) => $"{Count(value)} {Counted.Noun((double?)value ?? 0, one)}";

    /// <summary>Bytes for people; a dash where there is no figure.</summary>
    public static string Bytes(JsonNode? value) => value is null ? "-" : ReportWriter.Bytes((long)value);

    /// <summary>A value of any kind for people.</summary>
    public static string Value(JsonNode? value) => value?.GetValueKind() switch
    {
        null or JsonValueKind.Null => "-",
        JsonValueKind.Number => Math.Abs((double)value) is >= 1e4 and < 1e15 && double.IsInteger((double)value) ? Count(value) : ReportWriter.Short(value),
        JsonValueKind.True => "yes",
        JsonValueKind.False => "no",
        JsonValueKind.String => (string)value!,
        _ => value.ToJsonString(),
    };

    /// <summary>A camelCase key as words: <c>sigmaCharged</c> is "Sigma charged".</summary>
    public static string Words(string key)
    {
        var words = new StringBuilder();
        foreach (char c in key)
            words.Append(words.Length == 0 ? char.ToUpperInvariant(c).ToString() : char.IsUpper(c) ? $" {char.ToLowerInvariant(c)}" : c.ToString());
        return words.ToString();
    }

    /// <summary>Several arrays of one object as the columns of a table.</summary>
    /// <param name="name">What the table shows.</param>
    /// <param name="source">The object; null for no rows.</param>
    /// <param name="columns">Keys and heads.</param>
    public static string Columns(string name, JsonNode? source, params (string Key, string Head)[] columns)
    {
        JsonArray[] values = [.. columns.Select(c => source?[c.Key]?.AsArray() ?? [])];
        return Html.Table(name, [.. columns.Select(c => c.Head)], Enumerable.Range(0, values.Min(v => v.Count))
            .Select(i => (Cell[])[.. values.Select((v, column) => Cell.Number(columns[column].Key == "rows" ? Count(v[i]) : ReportWriter.Number(v[i])))]), "points");
    }
}
