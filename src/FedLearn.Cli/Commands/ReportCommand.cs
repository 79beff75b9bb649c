using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.Report;
using FedLearn.Diagnostics;
using Spectre.Console;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn report: several training reports side by side.</summary>
internal static class ReportCommand
{
    private static readonly string[] Header = ["job", "AUC", "HR@10", "NDCG@10", "active alone", "log-loss", "RMSE", "deviance", "epsilon", "seconds", "bytes"];

    public static Command Create()
    {
        var files = new Argument<string[]>("reports") { Description = "Reports that train wrote with --report; the first is the one to compare with.", Arity = ArgumentArity.OneOrMore };
        Option<bool> json = Options.Json();
        Option<string?> report = CommonOptions.Report(), html = CommonOptions.Html();
        var command = new Command("report", """
            Put training reports side by side: test metrics, the larger epsilon of the parties, seconds of the training rounds, and
            bytes all parties sent.

            Example:
              fedlearn report alone.json plain.json private.json --html compare.html
            """) { files, report, html, json };
        command.SetAction(parsed =>
        {
            JsonObject[] documents = [.. parsed.GetRequiredValue(files).Select(Read)];
            string[][] rows = [.. documents.Select(Row)];
            bool[] shown = [.. Header.Select((_, column) => rows.Any(r => r[column] != "-"))];
            T[] Shown<T>(IEnumerable<T> cells) => [.. cells.Where((_, column) => shown[column])];
            var table = new Spectre.Console.Table().Border(TableBorder.Ascii2).AddColumns(Shown(Header));
            foreach (string[] row in rows)
                table.AddRow(Shown(row.Select(Markup.Escape)));
            string summary = Summary(documents);
            string? notice = documents.Select(d => (string?)d["notice"]).FirstOrDefault(n => n is not null);
            Terminal terminal = Terminal.Of(parsed);
            terminal.Log(notice);
            terminal.Styled.Write(table);
            terminal.Log(summary);

            var document = new JsonObject { ["summary"] = summary, ["reports"] = new JsonArray([.. documents.Select(d => d.DeepClone())]) };
            // A notice of one report is a notice of all.
            if (notice is not null)
                document.Insert(0, "notice", notice);
            if (parsed.GetValue(report) is { } file)
                OutputFile.Write(file, ReportWriter.Text(document));
            if (parsed.GetValue(html) is { } page)
                OutputFile.Write(page, HtmlReport.Of(documents, HtmlReport.Table(Shown(Header), rows.Select(Shown)) + HtmlReport.Paragraph(summary), "Training reports side by side"));
            if (parsed.GetValue(json))
                parsed.InvocationConfiguration.Output.Write(ReportWriter.Text(document));
        });
        return command;
    }

    private static string[] Row(JsonObject document)
    {
        JsonNode? test = document["metrics"]!["test"];
        JsonNode? weakest = Parties(document).Select(p => p["privacy"]!).Where(p => p["epsilon"] is not null).MaxBy(p => (double)p["epsilon"]!);
        return
        [
            (string)document["job"]!["name"]!, ReportWriter.Number(test?["auc"]), ReportWriter.Number(test?["hr10Full"]), ReportWriter.Number(test?["ndcg10Full"]), Alone(document, test), ReportWriter.Number(test?["logLoss"]), ReportWriter.Number(test?["rmse"]),
            // Twice the log-loss, where there is one.
            test?["logLoss"] is null ? ReportWriter.Number(test?["deviance"]) : "-", weakest is null ? "none" : ReportWriter.Epsilon(weakest),
            ReportWriter.Number(document["timing"]!["trainingSeconds"]), ReportWriter.Bytes(Parties(document).Sum(p => (long)p["bytesSent"]!)),
        ];
    }

    // The active party's own model beside every private result, by the figure that the job is read by.
    private static string Alone(JsonObject document, JsonNode? test) => ReportWriter.Number(document["metrics"]!["guestOnly"]?["test"]?[test?["auc"] is null ? "deviance" : "auc"]);

    /// <summary>One sentence: what was gained over the first report, and what left each party.</summary>
    private static string Summary(JsonObject[] documents)
    {
        string metric = ((string[])["auc", "hr10Full"]).FirstOrDefault(key => documents.All(d => d["metrics"]!["test"]?[key] is not null)) ?? "deviance";
        string shown = metric == "deviance" ? metric : Figures.Name(metric);
        double? first = (double?)documents[0]["metrics"]!["test"]?[metric];
        string Name(JsonObject d) => $"'{(string)d["job"]!["name"]!}'";
        string Change(JsonObject d) => (double?)d["metrics"]!["test"]?[metric] is { } value && first is { } from
            ? (value - from).ToString("+0.0000;-0.0000", CultureInfo.InvariantCulture) : "unknown";
        string gained = $"Test {shown} with {Name(documents[0])} is {ReportWriter.Number(first)}"
            + string.Concat(documents.Skip(1).Select(d => $", with {Name(d)} {Change(d)}"));
        IEnumerable<string> left = documents.SelectMany(Parties).GroupBy(p => (string)p["name"]!).Select(party =>
        {
            string Names(string protection) => string.Join(", ", party.SelectMany(p => p["releases"]!.AsArray()).Where(r => (string)r!["protection"]! == protection)
                .Select(r => (string)r!["name"]!).Distinct().Order(StringComparer.Ordinal));
            (string How, string Sent)[] kinds = [("noised", Names("noise")), ("randomised", Names("randomized-response")), ("in the clear", Names("none"))];
            string sent = string.Join("; ", kinds.Where(k => k.Sent.Length > 0).Select(k => $"{k.How}: {k.Sent}"));
            return $"from {party.Key} ({(sent.Length == 0 ? "nothing" : sent)})";
        });
        return $"{gained}; no column and no weight left its party, over all these runs only messages did, {string.Join(" and ", left)}.";
    }

    private static IEnumerable<JsonObject> Parties(JsonObject document) => document["parties"]!.AsArray().Select(p => p!.AsObject());

    /// <summary>Reads a report.</summary>
    /// <exception cref="ConfigurationException">It is none.</exception>
    internal static JsonObject Read(string path)
    {
        try
        {
            JsonObject document = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
            // What cannot be shown is no report: every figure that the table and the page need is looked for here.
            HtmlReport.Of([document]);
            Row(document);
            Summary([document]);
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
