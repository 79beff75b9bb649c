using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Report;

/// <summary>Everything about one job.</summary>
internal static class JobSection
{
    /// <summary>Writes the section.</summary>
    /// <param name="page">The page.</param>
    /// <param name="document">The report.</param>
    /// <param name="index">Its index on the page.</param>
    /// <param name="withHead">Whether the section says which job it is about; a page of one job has said it.</param>
    public static void Append(StringBuilder page, JsonObject document, int index, bool withHead)
    {
        page.Append(CultureInfo.InvariantCulture, $"<section id=\"job-{index}\">\n");
        if (withHead)
            page.Append(CultureInfo.InvariantCulture, $"<h2>{Html.Text((string)document["job"]!["name"]!)}</h2>\n");
        page.Append(Tiles(document)).Append(RecommendationSection.Is(document) ? RecommendationSection.Of(document, index) : Metrics(document)).Append(EvaluationSection.Of(document, index)).Append(Training(document, index))
            .Append(PartiesSection.Messages(document, index)).Append(PartiesSection.Privacy(document)).Append(Tuning(document, index))
            .Append(PartiesSection.Table(document)).Append(About(document)).Append("</section>\n");
    }

    private static string Tiles(JsonObject document)
    {
        JsonObject job = document["job"]!.AsObject(), timing = document["timing"]!.AsObject();
        JsonObject[] parties = [.. ReportParts.Parties(document)];
        var tiles = new List<(string Name, string Value, string Note)>();
        if (Figures.Headline([document]) is { } main)
        {
            string set = document["metrics"]!["test"] is null ? "train" : "test", head = set == "test" ? "Test" : "Training";
            double value = (double)document["metrics"]![set]![main]!;
            string? interval = Figures.Interval(document["intervals"]?[set]?[main]);
            tiles.Add(($"{head} {Figures.Name(main)}", ReportWriter.Number(value), interval is null ? parties.Length == 1 ? "" : "all parties together" : $"{EvaluationSection.Level(document["evaluation"])} interval {interval}"));
            if ((double?)document["metrics"]!["guestOnly"]?[set]?[main] is { } alone)
                tiles.Add(("Active party alone", ReportWriter.Number(alone), $"together {(value - alone).ToString("+0.0000;-0.0000", CultureInfo.InvariantCulture)}"));
        }

        JsonObject? weakest = parties.Select(p => p["privacy"]!.AsObject()).Where(p => p["epsilon"] is not null).MaxBy(p => (double)p["epsilon"]!);
        string mode = parties.Select(p => (string)p["privacy"]!["mode"]!).FirstOrDefault("none");
        // An epsilon of test noise is no epsilon.
        tiles.Add(document["notice"] is { } notice ? ("Epsilon", "none", (string)notice!)
            : weakest is null ? ("Epsilon", "none", mode == "none" ? "no privacy" : mode)
            : ("Epsilon", ReportWriter.Short(weakest["epsilon"]), $"{(weakest["claim"] is { } claim ? $"claim {(string)claim!}, per {(string)weakest["unit"]!}" : mode)}, delta {ReportWriter.Short(parties.Select(p => p["privacy"]!["delta"]).MaxBy(d => (double?)d))}, per party"));
        tiles.Add(("Training rounds", $"{ReportWriter.Short(timing["trainingSeconds"])} s", Figures.Count(timing["epochs"], "epoch") + ((string?)job["stopReason"] is { } reason ? $", {Figures.Words(reason).ToLowerInvariant()}" : "")));
        tiles.Add(("Sent", ReportWriter.Bytes(parties.Sum(p => (long)p["bytesSent"]!)), $"{Figures.Count(parties.Sum(p => (double?)p["messagesSent"] ?? 0), "message")}"));
        tiles.Add(("Training rows", Figures.Count(document["rows"]!["train"]), TuningTable.IsAlone(document) ? "in all folds; the job's test rows were not used" : $"{Figures.Count(document["rows"]!["test"], "test row")}"));
        return $"<div class=\"tiles\">\n{string.Concat(tiles.Select(t => $"<div><span>{Html.Text(t.Name)}</span><b>{Html.Text(t.Value)}</b><small>{Html.Text(t.Note)}</small></div>\n"))}</div>\n";
    }

    private static string Metrics(JsonObject document)
    {
        JsonNode metrics = document["metrics"]!;
        JsonNode? train = metrics["train"], test = metrics["test"], alone = metrics["guestOnly"], intervals = document["intervals"];
        string[] keys = Figures.Keys(test, train, alone?["test"], alone?["train"]);
        if (keys.Length == 0)
            return "<h3>Metrics</h3>\n" + Html.Paragraph("Nothing was measured.");
        string[] header = alone is null ? ["metric", "test", "train"] : ["metric", "test", "train", "alone: test", "alone: train"];
        string table = Html.Table("Metrics", header, keys.Select(key =>
        {
            Cell[] cells = [Cell.Text(Figures.Name(key)), Cell.Interval(ReportWriter.Number(test?[key]), Figures.Interval(intervals?["test"]?[key])),
                Cell.Interval(ReportWriter.Number(train?[key]), Figures.Interval(intervals?["train"]?[key]))];
            return alone is null ? cells : [.. cells, Cell.Number(ReportWriter.Number(alone["test"]?[key])), Cell.Number(ReportWriter.Number(alone["train"]?[key]))];
        }));
        string note = intervals is null ? "" : $" Below a figure: {EvaluationSection.Level(document["evaluation"])} interval.";
        return "<h3>Metrics</h3>\n" + table + (alone is null && note.Length == 0 ? "" : Html.Paragraph((alone is null ? "" : "Alone: the active party's own model, without the others.") + note + ReportWriter.Noisy(document), "note"));
    }

    private static string Training(JsonObject document, int index)
    {
        if (document["history"] is not JsonArray { Count: > 0 } history)
            return "";
        string[] keys = [.. ((string[])["loss", "validation", "validationNdcg10", "epsilon", "seconds"]).Where(key => history.Any(h => h![key] is not null))];
        string figures = Html.Table("Rounds", [RecommendationSection.Is(document) ? "epoch" : "round", .. keys.Select(key => key == "validationNdcg10" ? "validation NDCG@10" : key)], history.Select(h => (Cell[])[Cell.Number(Figures.Value(h!["round"])),
            .. keys.Select(key => Cell.Number(key is "loss" or "validation" or "validationNdcg10" ? ReportWriter.Loss(h[key]) : ReportWriter.Short(h[key])))]), "points");
        string charts = (keys.Contains("loss") || keys.Contains("validation") ? Html.Chart("loss", index, RecommendationSection.Is(document) ? "Loss over epochs" : "Loss over rounds", figures) : "")
            + (keys.Contains("validationNdcg10") ? Html.Chart("ndcg", index, "Validation NDCG@10 over epochs", figures, "99 negatives; the best epoch's model is kept") : "")
            + (keys.Contains("epsilon") ? Html.Chart("epsilon", index, "Epsilon spent over rounds", figures) : "");
        return "<h3>Training</h3>\n" + (charts.Length == 0 ? figures : $"<div class=\"charts\">\n{charts}</div>\n");
    }

    private static string Tuning(JsonObject document, int index)
    {
        if (document["tuning"] is not { } tuning || tuning["candidates"] is not JsonArray { Count: > 0 } candidates)
            return "";
        JsonNode? chosen = tuning["chosen"];
        string[] settings = [.. candidates.SelectMany(c => c!["settings"]!.AsObject()).Select(s => s.Key).Distinct()];
        string metric = Figures.Name((string?)candidates[0]!["metric"] ?? "score");
        string table = Html.Table("Tuning", [.. settings, $"mean {metric}", "deviation", "folds", ""], candidates.Select((c, i) => (Cell[])[
            .. settings.Select(s => Cell.Number(Figures.Value(c!["settings"]![s]))), Cell.Number(ReportWriter.Loss(c!["mean"])), Cell.Number(ReportWriter.Loss(c["deviation"])),
            Cell.Number(string.Join("  ", c["scores"]?.AsArray().Select(ReportWriter.Loss) ?? [])), new(Chosen(c, i) ? "<span class=\"badge kept\">chosen</span>" : Html.Text(TuningTable.Note(c!)), false)]));
        string cost = tuning["cost"] is not JsonArray { Count: > 0 } costs ? "" : "<h4>What tuning cost</h4>\n" + Html.Table("Cost of tuning", ["party", "charged runs", "epsilon", "delta"],
            costs.Select(c => (Cell[])[Cell.Text((string)c!["party"]!), Cell.Number(Figures.Count(c["runs"])), Cell.Number(ReportWriter.Short(c["epsilon"])), Cell.Number(ReportWriter.Short(c["delta"]))]));
        return $"<h3>Tuning</h3>\n{Html.Paragraph($"{Figures.Count(tuning["folds"])} folds, {candidates.Count} {Counted.Noun(candidates.Count, "candidate")}{((bool?)tuning["complete"] == false ? "; the table is partial, see the warnings" : "")}.", "note")}{table}"
            + $"<div class=\"charts\">\n{Html.Chart("tuning", index, $"Mean {metric} of every candidate", table, "Lines are one standard deviation over the folds", candidates.Count)}</div>\n{cost}";

        // The choice is an index or the settings themselves.
        bool Chosen(JsonNode candidate, int i) => chosen?.GetValueKind() == JsonValueKind.Number ? (int)chosen == i : chosen is JsonObject && JsonNode.DeepEquals(chosen, candidate["settings"]);
    }

    private static string About(JsonObject document)
    {
        JsonObject job = document["job"]!.AsObject();
        IEnumerable<(string, string)> terms = job.Where(p => p.Value is JsonValue && p.Key is not ("name" or "digest" or "termsDigest")).Select(p => (p.Key == "epochs" ? "Epochs at most" : Figures.Words(p.Key), Figures.Value(p.Value)))
            .Append(("Objective", ReportWriter.Loss(document["objective"])))
            .Append(("Seconds in all", ReportWriter.Number(document["timing"]!["totalSeconds"])))
            .Append(("Seconds an epoch", ReportWriter.Number(document["timing"]!["secondsPerEpoch"])))
            .Append(("Common rows", Figures.Count(document["alignment"]!["commonRows"])))
            .Concat(document["roles"]?.AsArray().Select(r => (Figures.Words((string)r!["role"]!), $"hosted by {(string)r["hostedBy"]!}")) ?? [])
            .Concat(document["tool"]?.AsObject().Where(p => p.Value is not null && p.Key != "name").Select(p => (p.Key == "version" ? "FedLearn" : Figures.Words(p.Key), Figures.Value(p.Value))) ?? []);
        string ignored = document["ignored"] is JsonArray { Count: > 0 } keys ? Html.Paragraph($"Keys without effect in this mode: {string.Join(", ", ReportParts.Strings(keys))}.", "note") : "";
        // A tuning without a model has no job of its own.
        IEnumerable<string> digests = new[] { ("Digest of the job", job["digest"]), ("Digest of the terms, which all parties agreed on", job["termsDigest"]) }.Where(d => d.Item2 is not null)
            .Select(d => $"<p class=\"digest\">{d.Item1} <code>{Html.Text((string)d.Item2!)}</code></p>\n");
        return $"<h3>Job</h3>\n{Html.Terms(terms)}{ignored}{string.Concat(digests)}";
    }
}
