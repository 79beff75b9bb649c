using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.Report;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using Spectre.Console;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn report: several training reports side by side.</summary>
internal static class ReportCommand
{
    private static readonly string[] Header = ["report", "job", "AUC", "HR@10", "NDCG@10", "log-loss", "RMSE", "deviance", "active alone", "mode", "unit", "epsilon", "delta", "seconds", "bytes"];

    public static Command Create()
    {
        var files = new Argument<string[]>("reports") { Description = "Reports that train wrote with --report; the first is the one to compare with.", Arity = ArgumentArity.OneOrMore };
        Option<bool> json = Options.Json();
        Option<string?> report = Options.Report(), html = Options.Html();
        var command = new Command("report", """
            Put training reports side by side: test metrics, the active party alone by the figure that it names, the largest epsilon of the
            parties with its mode, unit and adjacency, seconds of the training rounds, and bytes that all parties sent. Epsilons of
            different modes, units or adjacencies promise different things. Test noise is NOT PRIVATE, whatever its epsilon.

            Example:
              fedlearn report alone.json plain.json private.json --html compare.html
            """) { files, report, html, json };
        command.SetAction(parsed =>
        {
            string[] paths = parsed.GetRequiredValue(files), names = NamesOf(paths);
            var places = ReportPlaces.Of(parsed, json, report, html);
            OutputFile.CheckApart(paths, null, places.Report, places.Html);
            JsonObject[] documents = [.. paths.Select(Read)];
            string[][] rows = [.. documents.Select((d, i) => Row(names[i], d))];
            bool[] shown = [.. Header.Select((_, column) => rows.Any(r => r[column] != "-"))];
            T[] Shown<T>(IEnumerable<T> cells) => [.. cells.Where((_, column) => shown[column])];
            Table table = Terminal.Table(Shown(Header));
            foreach (string[] row in rows)
                table.AddRow(Shown(row.Select(Markup.Escape)));
            string summary = Summary(names, documents);
            string? warning = Warning(documents);
            string? notice = documents.Select(d => (string?)d["notice"]).FirstOrDefault(n => n is not null);
            Terminal terminal = Terminal.Of(parsed);
            terminal.Log(notice);
            terminal.Styled.Write(table);
            terminal.Log(summary);
            terminal.Log(warning is null ? null : $"warning: {warning}");

            var document = new JsonObject { ["summary"] = summary, ["warnings"] = warning is null ? new JsonArray() : new JsonArray(warning), ["files"] = ReportParts.Texts(paths), ["reports"] = new JsonArray([.. documents.Select(d => d.DeepClone())]) };
            // A notice of one report is a notice of all.
            if (notice is not null)
                document.Insert(0, "notice", notice);
            ReportWriter.Document(document, places, () => HtmlReport.Of(documents,
                HtmlReport.Table(Shown(Header), rows.Select(Shown)) + HtmlReport.Paragraph(summary) + (warning is null ? "" : HtmlReport.Paragraph($"Warning: {warning}.")), "Training reports side by side"));
        });
        return command;
    }

    private static string[] Row(string file, JsonObject document)
    {
        JsonNode? test = document["metrics"]!["test"];
        JsonNode[] privacy = [.. ReportParts.Parties(document).Select(p => p["privacy"]!)];
        JsonNode? weakest = Weakest(document);
        // The unit stands beside an epsilon, to say what it is about. Noise of a known seed has an epsilon on paper only.
        bool seeded = privacy.Any(p => p["secureNoise"]?.GetValueKind() == JsonValueKind.False);
        string unit = string.Join(", ", ((string[])["unit", "adjacency"]).Select(key => (string?)weakest?[key]).OfType<string>());
        return
        [
            file, (string)document["job"]!["name"]!, ReportWriter.Number(test?["auc"]), ReportWriter.Number(test?["hr10Full"]), ReportWriter.Number(test?["ndcg10Full"]), ReportWriter.Number(test?["logLoss"]), ReportWriter.Number(test?["rmse"]),
            // Left out where there is a log-loss, of which it is twice.
            test?["logLoss"] is null ? ReportWriter.Number(test?["deviance"]) : "-", Alone(document, test),
            (string?)(weakest ?? privacy.FirstOrDefault())?["mode"] ?? "-", unit.Length == 0 ? "-" : unit,
            seeded ? "NOT PRIVATE" : weakest is null ? "none" : ReportWriter.Epsilon(weakest), seeded ? "-" : ReportWriter.Short(weakest?["delta"]),
            ReportWriter.Number(document["timing"]!["trainingSeconds"]), ReportWriter.Bytes(ReportParts.Parties(document).Sum(p => (long)p["bytesSent"]!)),
        ];
    }

    /// <summary>The privacy of the party with the largest epsilon; null where no party has one.</summary>
    private static JsonNode? Weakest(JsonObject document) =>
        ReportParts.Parties(document).Select(p => p["privacy"]!).Where(p => p["epsilon"] is not null).MaxBy(p => ((double)p["epsilon"]!, (double?)p["delta"] ?? 0));

    // The active party's own model stands beside every result, by the figure that is looked at first in the row; the figure is named, since rows may differ in it.
    private static string Alone(JsonObject document, JsonNode? test)
    {
        JsonNode? alone = document["metrics"]!["guestOnly"]?["test"];
        // A job with evaluation none has no test figures: then the first one that the own model has.
        string? metric = ((string[])["auc", "deviance"]).FirstOrDefault(key => (test ?? alone)?[key] is not null);
        return metric is not null && alone?[metric] is { } value ? $"{Figures.Name(metric)} {ReportWriter.Number(value)}" : "-";
    }

    /// <summary>Names of files that tell the reports apart: without their folders where that is enough.</summary>
    private static string[] NamesOf(string[] files) => files.Select(f => Path.GetFileName(f)).Distinct(StringComparer.Ordinal).Count() == files.Length ? [.. files.Select(f => Path.GetFileName(f))] : files;

    /// <summary>One sentence: what was gained over the first report, and what left each party.</summary>
    private static string Summary(string[] files, JsonObject[] documents)
    {
        // A report without test figures has nothing to compare, and does not choose the figure of the others.
        JsonObject[] measured = [.. documents.Where(d => d["metrics"]!["test"] is not null)];
        string metric = ((string[])["auc", "hr10Full"]).FirstOrDefault(key => measured.Length > 0 && measured.All(d => d["metrics"]!["test"]![key] is not null)) ?? "deviance";
        string shown = metric == "deviance" ? metric : Figures.Name(metric);
        double? first = (double?)documents[0]["metrics"]!["test"]?[metric];
        string Job(JsonObject d) => (string)d["job"]!["name"]!;
        string Name(int i) => $"'{Job(documents[i])}'{(documents.Count(d => Job(d) == Job(documents[i])) > 1 ? $" ({files[i]})" : "")}";
        string Change(JsonObject d) => (double?)d["metrics"]!["test"]?[metric] is not { } value || first is not { } from ? "unknown"
            : !AreComparable(documents[0], d) ? $"not comparable: {Difference(documents[0], d)}" : (value - from).ToString("+0.0000;-0.0000", CultureInfo.InvariantCulture);
        string gained = $"Test {shown} with {Name(0)} is {(first is { } number ? ReportWriter.Number(number) : "unknown")}"
            + string.Concat(documents.Skip(1).Select((d, i) => $", with {Name(i + 1)} {Change(d)}"));
        IEnumerable<string> left = documents.SelectMany(ReportParts.Parties).GroupBy(p => (string)p["name"]!).Select(party =>
        {
            string Names(string protection) => string.Join(", ", party.SelectMany(p => p["releases"]!.AsArray()).Where(r => (string)r!["protection"]! == protection)
                .Select(r => (string)r!["name"]!).Distinct().Order(StringComparer.Ordinal));
            (string How, string Sent)[] kinds = [("noised", Names("noise")), ("randomised", Names("randomized-response")), ("in the clear", Names("none"))];
            string sent = string.Join("; ", kinds.Where(k => k.Sent.Length > 0).Select(k => $"{k.How}: {k.Sent}"));
            return $"from {party.Key} ({(sent.Length == 0 ? "nothing" : sent)})";
        });
        // Reports of earlier releases do not say whether messages tell of columns or weights: nothing is claimed of these.
        bool keeps = documents.SelectMany(ReportParts.Parties).SelectMany(p => p["releases"]!.AsArray()).All(r => (bool?)r!["columnsOrWeights"] == false);
        return $"{gained}; {(keeps ? "no column and no weight left its party, " : "")}over all these runs {(keeps ? "only messages did" : "these messages left their parties")}, {string.Join(" and ", left)}.";
    }

    private static bool AreComparable(JsonObject one, JsonObject other) => Difference(one, other) is null;

    /// <summary>Why figures of two reports have no difference that means something; null when they have.</summary>
    private static string? Difference(JsonObject one, JsonObject other) =>
        (string?)one["job"]!["model"] != (string?)other["job"]!["model"] || (string?)one["job"]!["family"] != (string?)other["job"]!["family"] ? "another family"
            : (int?)one["rows"]?["test"] != (int?)other["rows"]?["test"] ? "other test rows" : null;

    /// <summary>A warning where epsilons of the rows are about different things; null where they are not.</summary>
    private static string? Warning(JsonObject[] documents) => documents.Select(Weakest).OfType<JsonNode>()
        .Select(p => string.Join('|', ((string[])["mode", "unit", "adjacency", "claim", "delta"]).Select(key => p[key]?.ToJsonString()))).Distinct().Count() > 1
        ? "epsilons of different modes, units, adjacencies, claims or deltas promise different things: do not compare them" : null;

    /// <summary>Reads a report.</summary>
    /// <exception cref="ConfigurationException">It is none.</exception>
    internal static JsonObject Read(string path)
    {
        try
        {
            JsonObject document = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
            // What cannot be shown is no report: every figure that the table and the page need is looked for here.
            HtmlReport.Of([document]);
            Row("", document);
            Summary([""], [document]);
            Difference(document, document);
            Warning([document]);
            return document;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or FormatException or InvalidOperationException
            or NullReferenceException or ArgumentException or OverflowException)
        {
            bool isAbsent = e is FileNotFoundException or DirectoryNotFoundException;
            throw new ConfigurationException(CliErrors.NoReport, path, isAbsent ? "there is no such file." : "this is no report of a training.", "Give files that `fedlearn train --report` wrote.", e);
        }
    }
}
