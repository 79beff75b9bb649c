using System.Text.Json.Nodes;
using FedLearn.Cli.Report;
using FedLearn.Cli.Running;
using Spectre.Console;

namespace FedLearn.Cli.Output;

/// <summary>The candidates of a tuning and what they cost, for people.</summary>
internal static class TuningTable
{
    /// <summary>Writes the tables.</summary>
    /// <param name="tuning">The part <c>tuning</c> of a report.</param>
    /// <param name="terminal">Where to.</param>
    public static void Show(JsonNode tuning, Terminal terminal)
    {
        JsonObject[] candidates = [.. ReportParts.Objects(tuning["candidates"])];
        string[] keys = [.. candidates[0]["settings"]!.AsObject().Select(s => s.Key)];
        Table table = Terminal.Table([.. keys.Select(Markup.Escape), $"mean {(string)tuning["metric"]!}", "deviation", "folds", ""]);
        for (int i = 0; i < candidates.Length; i++)
        {
            JsonObject c = candidates[i];
            string note = (int?)tuning["chosen"] == i ? "chosen" : Note(c);
            table.AddRow([.. keys.Select(k => Markup.Escape(Figures.Value(c["settings"]![k]))), ReportWriter.Loss(c["mean"]), ReportWriter.Loss(c["deviation"]), string.Join("  ", c["scores"]!.AsArray().Select(ReportWriter.Loss)), note]);
        }

        terminal.Styled.Write(table);
        foreach (JsonObject failed in candidates.Where(c => c["error"] is not null))
            terminal.Log($"not scored: {string.Concat(failed["settings"]!.AsObject().Select((s, i) => $"{(i > 0 ? ", " : "")}{s.Key} {Figures.Value(s.Value)}").DefaultIfEmpty("the job as it is"))}: {(string)failed["error"]!["message"]!}");
        foreach (JsonNode? cost in tuning["cost"]!.AsArray())
            terminal.Log($"tuning cost '{(string)cost!["party"]!}' epsilon {ReportWriter.Short(cost["epsilon"])} at delta {ReportWriter.Short(cost["delta"])} in {Figures.Count(cost["runs"])} charged {((int)cost["runs"]! == 1 ? "run" : "runs")} together.");
    }

    /// <summary>Whether a report is that of the runs of a tuning, and of no model.</summary>
    /// <param name="document">The report.</param>
    public static bool IsAlone(JsonObject document) => document["tuning"] is not null && document["parties"]!.AsArray().All(p => p!["model"]!["weightsSha256"] is null);

    /// <summary>Why a candidate has no mean: its error's id, or that the tuning was interrupted; empty where it has one.</summary>
    public static string Note(JsonNode candidate) => (string?)candidate["error"]?["id"] ?? ((string?)candidate["status"] == "interrupted" ? "interrupted" : "");
}
