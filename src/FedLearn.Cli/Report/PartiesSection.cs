using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.Running;

namespace FedLearn.Cli.Report;

/// <summary>What each party sent, to whom and how protected; what is promised about it; what it cost.</summary>
internal static class PartiesSection
{
    private static readonly string[] AlreadySaid = ["claims", "warnings", "noise", "ledger"];

    /// <summary>Claims, warnings and the numbers behind them.</summary>
    public static string Privacy(JsonObject document)
    {
        JsonObject[] parties = [.. ReportParts.Parties(document)];
        string claims = Html.List("Claims", Said(parties.Select(p => (Name(p), p["privacy"]!["claims"]!.AsArray()))), "claims");
        if (claims.Length == 0)
            claims = Html.Paragraph("This job makes no privacy claim.");
        IEnumerable<(string, JsonArray)> warnings = parties.Select(p => (Name(p), p["privacy"]!["warnings"]!.AsArray())).Prepend(("", document["warnings"]!.AsArray()));
        string[] keys = [.. parties.SelectMany(p => p["privacy"]!.AsObject()).Where(p => p.Value is JsonValue && !AlreadySaid.Contains(p.Key)).Select(p => p.Key).Distinct()];
        string numbers = Html.Table("Privacy parameters of each party", ["parameter", .. parties.Select(Name)],
            keys.Select(key => (Cell[])[Cell.Text(Figures.Words(key)), .. parties.Select(p => Cell.Number(Figures.Value(p["privacy"]![key])))])
                .Concat(parties.Any(p => p["privacy"]!["ledger"] is not null) ? [[Cell.Text("Epsilon over all jobs, at delta"), .. parties.Select(p => Cell.Number(Spent(p["privacy"]!["ledger"])))],
                    [Cell.Text("Lifetime budget, at delta"), .. parties.Select(p => Cell.Number(Budget(p["privacy"]!["ledger"])))]] : []));
        return $"<h3>Privacy</h3>\n{claims}{Html.List("Warnings", Said(warnings), "warnings")}"
            + (keys.Length == 0 ? "" : "<h4>Parameters</h4>\n" + numbers) + UnitFigures(parties) + Combined(document)
            + Html.List("Disclosed outside of every claim", Said(parties.Select(p => (Name(p), p["privacy"]!["disclosures"]?.AsArray() ?? []))))
            + Html.List("Noise", Said(parties.Select(p => (Name(p), p["privacy"]!["noise"] is { } noise ? new JsonArray(noise.DeepClone()) : []))))
            + Html.List($"Alignment ({(string)document["alignment"]!["method"]!}) discloses", document["alignment"]!["leaks"]!.AsArray().Select(l => ("", (string)l!)))
            + Html.List("Alignment: to be known", (document["alignment"]!["warnings"] as JsonArray ?? []).Select(w => ("", (string)w!)), "warnings");
    }

    // Of a recommendation job: what the same noise costs for every unit, since a figure without its unit says nothing.
    private static string UnitFigures(JsonObject[] parties)
    {
        (JsonObject Party, JsonNode Figure)[] figures = [.. parties.SelectMany(p => (p["privacy"]!["figures"] as JsonArray ?? []).Select(f => (p, f!)))];
        return figures.Length == 0 ? "" : "<h4>What the noise costs, by unit</h4>\n" + Html.Paragraph("A figure of claim own-messages is about a party's own messages alone, and no guarantee against the peer. Rows of the unit: what one sample, event or user can change.", "note")
            + Html.Table("Privacy figures by unit", ["party", "unit", "claim", "rows of the unit", "mu", "epsilon", "delta"],
            figures.Select(f => (Cell[])[Cell.Text(Name(f.Party)), Cell.Text(Figures.Value(f.Figure["unit"])), Cell.Text(Figures.Value(f.Party["privacy"]!["claim"])), Cell.Number(Figures.Value(f.Figure["rows"])),
                Cell.Number(ReportWriter.Short(f.Figure["mu"])), Cell.Number(ReportWriter.Short(f.Figure["epsilon"])), Cell.Number(ReportWriter.Short(f.Figure["delta"]))]));
    }

    // What all parties' noise protects together, of a user whom several parties know or an event that is in several parties' features.
    private static string Combined(JsonObject document) => document["combinedPrivacy"] is not JsonArray { Count: > 0 } combined ? ""
        : "<h4>Observing all of these parties</h4>\n" + Html.Table("Combined privacy figures", ["unit", "claim", "parties, squared mu added", "mu", "epsilon", "delta"], combined.Select(c => (Cell[])[
            Cell.Text(Figures.Value(c!["unit"])), Cell.Text(Figures.Value(c["claim"])), Cell.Text(string.Join(", ", c["parties"]!.AsArray().Select(Figures.Value))),
            Cell.Number(ReportWriter.Short(c["mu"])), Cell.Number(ReportWriter.Short(c["epsilon"])), Cell.Number(ReportWriter.Short(c["delta"]))]));

    /// <summary>Who sent what to whom.</summary>
    public static string Messages(JsonObject document, int index)
    {
        JsonObject[] parties = [.. ReportParts.Parties(document)];
        (JsonObject From, JsonNode Release)[] releases = [.. parties.SelectMany(p => p["releases"]!.AsArray().Select(r => (p, r!)))];
        if (releases.Length == 0)
            return $"<h3>Messages</h3>\n{Html.Paragraph("No message left a party.")}<div class=\"charts\">\n{Time(document, index)}</div>\n";
        IEnumerable<Cell[]> rows = releases.Select(r => (Cell[])[Cell.Text(Name(r.From)), Cell.Text(Receiver(r.Release, r.From, parties)), Cell.Text((string)r.Release["name"]!),
            Protection((string)r.Release["protection"]!), Cell.Number(Figures.Count((double)r.Release["count"]!)), Cell.Number(Figures.Bytes(r.Release["bytes"]))]);
        string table = Html.Table("Messages", ["from", "to", "message", "protection", "messages", "bytes"], rows, "messages");
        string totals = Html.Table("Bytes on the wire", ["party", "messages sent", "bytes sent", "bytes received"], parties.Select(p => (Cell[])[Cell.Text(Name(p)),
            Cell.Number(Figures.Count(p["messagesSent"])), Cell.Number(Figures.Bytes((long)p["bytesSent"]!)), Cell.Number(Figures.Bytes(p["bytesReceived"]))]));
        (string Kind, string[] Names)[] kinds = Kinds(releases.Where(r => r.Release["bytes"] is not null).Select(r => ((string)r.Release["name"]!, (long)r.Release["bytes"]!)));
        string split = kinds.Length == 0 ? "" : Html.Table("Bytes sent, by message", ["party", .. kinds.Select(k => k.Kind)], parties.Select(p => (Cell[])[Cell.Text(Name(p)),
            .. kinds.Select(k => Cell.Number(ReportWriter.Bytes(p["releases"]!.AsArray().Where(r => k.Names.Contains((string)r!["name"]!)).Sum(r => (long?)r!["bytes"] ?? 0))))]));
        // The legend of many kinds needs room beside the bars.
        string chart = Html.Chart("bytes", index, kinds.Length > 0 ? "Bytes sent, by message" : "Bytes sent and received", split + totals, rows: parties.Length + (kinds.Length / 2));
        return $"<h3>Messages</h3>\n{Html.Paragraph("Everything that left a party, by name.", "note")}{table}<div class=\"charts\">\n{chart}{Time(document, index)}</div>\n";
    }

    // As report.js has them: the largest kinds of messages by themselves, and the rest as one, so that each has a colour of its own.
    private static (string Kind, string[] Names)[] Kinds(IEnumerable<(string Name, long Bytes)> sent)
    {
        const int Colours = 6;
        string[] names = [.. sent.GroupBy(s => s.Name).OrderByDescending(g => g.Sum(s => s.Bytes)).Select(g => g.Key)];
        int own = names.Length > Colours ? Colours - 1 : names.Length;
        return [.. names.Take(own).Select(name => (name, (string[])[name])), .. own < names.Length ? [($"other ({names.Length - own} kinds)", names[own..])] : Array.Empty<(string, string[])>()];
    }

    /// <summary>The parties themselves.</summary>
    public static string Table(JsonObject document) => "<h3>Parties</h3>\n" + Html.Table("Parties", ["party", "role", "rows", "of these common", "features", "peak memory", "connections", "weights SHA-256"],
        ReportParts.Parties(document).Select(p => (Cell[])[Cell.Text(Name(p)), Cell.Text((string)p["role"]!), Cell.Number(Figures.Count(p["rows"])), Cell.Number(Figures.Count(p["commonRows"])), Cell.Number(Figures.Count(p["model"]!["features"])),
            Cell.Number(Figures.Bytes((long)p["peakMemoryBytes"]!)), Connections(p["transport"]), new((string?)p["model"]!["weightsSha256"] is { } sha ? $"<code>{Html.Text(sha[..16])}</code>" : "-", false)]));

    // How each peer was reached; a peer that is known by its pin shows the beginning of it. Reports of earlier releases do not say.
    private static Cell Connections(JsonNode? transport)
    {
        if (transport is null)
            return Cell.Text("-");
        string reach = (string)transport["reach"]!;
        if (transport["peers"] is not JsonArray { Count: > 0 } peers)
            return Cell.Text(reach == "memory" ? "in memory" : "on this machine");
        return new(string.Join("<br>", peers.Select(peer => Html.Text((string)peer!["name"]!) + " " + ((bool)peer["encrypted"]!
            ? $"<span class=\"badge kept\">TLS</span> {((string)peer["identifiedBy"]! == "pin" ? $"<code>{Html.Text(string.Join(", ", peer["pins"]!.AsArray().Select(pin => ((string)pin!)[..23])))}</code>" : "by authority")}"
            : (string)peer["reach"]! == "network" ? "<span class=\"badge clear\">in the clear</span>" : "on this machine"))), false);
    }

    private static string Time(JsonObject document, int index)
    {
        JsonObject[] timed = [.. ReportParts.Parties(document).Where(p => p["timing"] is not null)];
        if (timed.Length == 0)
            return "";
        (string Name, JsonNode? Seconds)[] engines = Engines(document);
        static Cell[] Row(string name, JsonNode timing) => [Cell.Text(name), .. ((string[])["trainingSeconds", "computeSeconds", "waitSeconds", "noiseSeconds"]).Select(key => Cell.Number(ReportWriter.Number(timing[key])))];
        IEnumerable<Cell[]> rows = timed.Select(p => Row(Name(p), p["timing"]!));
        string[] header = ["party", "training", "computing", "waiting", "noise"];
        // Under encryption: what of the computing is the engine's, at the arbiter too.
        if (engines.Length > 0)
            (header, rows) = ([.. header, "engine"], rows.Concat(Arbiters(document).Select(r => Row((string)r["hostedBy"]!, r)))
                .Zip(engines, (cells, engine) => (Cell[])[.. cells, Cell.Number(ReportWriter.Number(engine.Seconds))]));
        return Html.Chart("time", index, "Seconds of the training rounds", Html.Table("Seconds of the training rounds", header, rows), rows: timed.Length);
    }

    /// <summary>Seconds that each party's engine of encryption worked in the rounds, and the arbiter's; empty without encryption, and for reports that do not say.</summary>
    public static (string Name, JsonNode? Seconds)[] Engines(JsonObject document)
    {
        (string, JsonNode? Seconds)[] engines = [.. ReportParts.Parties(document).Where(p => p["timing"] is not null).Select(p => (Name(p), p["encryption"]?["engineSeconds"])),
            .. Arbiters(document).Select(r => ((string)r["hostedBy"]!, r["engineSeconds"]))];
        return engines.All(e => e.Seconds is null) ? [] : engines;
    }

    private static IEnumerable<JsonNode> Arbiters(JsonObject document) => document["roles"]?.AsArray().Where(r => (string?)r!["role"] == "arbiter").Select(r => r!) ?? [];

    // Between two parties the other one is the receiver, whether a report says it or not.
    private static string Receiver(JsonNode release, JsonObject from, JsonObject[] parties) => release["to"] switch
    {
        JsonArray several => string.Join(", ", several.Select(Figures.Value)),
        { } one => Figures.Value(one),
        null => parties.Length == 2 ? Name(parties.Single(p => !ReferenceEquals(p, from))) : "-",
    };

    private static Cell Protection(string protection)
    {
        (string style, string text) = protection switch
        {
            "none" => ("clear", "in the clear"),
            "noise" => ("kept", "noised"),
            "randomized-response" => ("kept", "randomised"),
            _ => ("kept", protection.Replace('-', ' ')),
        };
        return new($"<span class=\"badge {style}\">{Html.Text(text)}</span>", false);
    }

    // A sentence that several parties say stands once, with their names.
    private static IEnumerable<(string By, string Text)> Said(IEnumerable<(string Party, JsonArray Texts)> said) => said.SelectMany(s => s.Texts.Select(t => (s.Party, Text: (string)t!)))
        .GroupBy(s => s.Text).Select(g => (string.Join(", ", g.Select(s => s.Party).Where(p => p.Length > 0).Distinct()), g.Key));

    private static string Spent(JsonNode? ledger) => ledger is null ? "-" : $"{ReportWriter.Short(ledger["spentEpsilon"])} at {ReportWriter.Short(ledger["delta"])}";

    private static string Budget(JsonNode? ledger) => ledger?["budget"] is { } budget ? $"{ReportWriter.Short(budget["epsilon"])} at {ReportWriter.Short(budget["delta"])}" : "none";

    private static string Name(JsonObject party) => (string)party["name"]!;
}
