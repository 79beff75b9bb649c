using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Cli.Running;

/// <summary>Parts that reports have in common, whatever the model is.</summary>
internal static class ReportParts
{
    /// <summary>Begins a report.</summary>
    /// <param name="notice">What must be said of its figures first; null for nothing.</param>
    public static JsonObject Begin(string? notice)
    {
        var report = new JsonObject();
        if (notice is not null)
            report["notice"] = notice;
        report["tool"] = Tool();
        return report;
    }

    /// <summary>A document read back from its own text: a number then has one type, whoever made the document.</summary>
    public static JsonObject ReadBack(JsonObject document) => JsonNode.Parse(document.ToJsonString())!.AsObject();

    /// <summary>Adds the party that reports, who coordinated the session, and what there is to say of the job.</summary>
    public static void End(JsonObject report, JsonObject party, string coordinator, IEnumerable<string> ignored, IEnumerable<string> warnings)
    {
        report["parties"] = new JsonArray(party);
        report["roles"] = new JsonArray(new JsonObject { ["role"] = "coordinator", ["hostedBy"] = coordinator });
        report["ignored"] = Texts(ignored);
        report["warnings"] = Texts(warnings);
    }

    /// <summary>Begins the part about a party.</summary>
    public static JsonObject Party(string name, PartyRole role, ChannelStatistics traffic, TransportSettings transport) => new()
    {
        ["name"] = name,
        ["role"] = Words.Of(role),
        ["bytesSent"] = traffic.BytesSent,
        ["bytesReceived"] = traffic.BytesReceived,
        ["messagesSent"] = traffic.MessagesSent,
        ["peakMemoryBytes"] = PeakMemory(),
        ["transport"] = PartyTransport.Document(transport),
    };

    /// <summary>Adds how many rows a party brought, and how many of them are common.</summary>
    public static void AddRows(JsonObject party, int own, int common) => (party["rows"], party["commonRows"]) = (own, common);

    /// <summary>By what messages travelled.</summary>
    public static string Word(TransportKind transport) => transport == TransportKind.Grpc ? "grpc" : "in-memory";

    /// <summary>That a training went on where it was cut off.</summary>
    /// <param name="rounds">The round before which it went on, once for each time.</param>
    public static JsonObject Resumed(IReadOnlyList<int> rounds) => new() { ["attempts"] = rounds.Count, ["fromRounds"] = new JsonArray([.. rounds.Select(round => (JsonNode)round)]) };

    /// <summary>What a party sent, in an order that does not depend on the run; and whether that tells of columns or weights one by one.</summary>
    public static JsonArray Releases(IEnumerable<(string Name, Protection Protection, string To, long Messages, long Bytes, bool ColumnsOrWeights)> sent) =>
        new([.. sent.OrderBy(r => r.Name, StringComparer.Ordinal).ThenBy(r => r.To, StringComparer.Ordinal).Select(r => (JsonNode)new JsonObject
        {
            ["name"] = r.Name,
            ["protection"] = Kebab(r.Protection),
            ["to"] = r.To,
            ["count"] = r.Messages,
            ["bytes"] = r.Bytes,
            ["columnsOrWeights"] = r.ColumnsOrWeights,
        })]);

    /// <summary>How the common rows were found, and what that told whom.</summary>
    public static JsonObject Alignment(AlignmentMethod method, int? common, IEnumerable<string> leaks, IEnumerable<string> warnings) => new()
    {
        ["method"] = AlignmentChoice.Name(method),
        ["commonRows"] = common,
        ["leaks"] = Texts(leaks),
        ["warnings"] = Texts(warnings),
    };

    /// <summary>Adds what another party says of the alignment: each knows its own ids only, and what there is to say of them.</summary>
    public static void AddAlignment(JsonObject report, JsonObject other)
    {
        foreach (string part in (string[])["leaks", "warnings"])
            Union(report["alignment"]![part]!.AsArray(), other["alignment"]![part]!.AsArray());
    }

    /// <summary>What the party's rows have cost over all jobs, for replacing a row: at the delta of the lifetime budget, else of the job.</summary>
    public static JsonObject Ledger(PrivacyTotal spent, RunFileLedger ledger, double jobDelta)
    {
        double delta = ledger.Budget?.Delta ?? jobDelta;
        return new JsonObject
        {
            ["path"] = Path.GetFileName(ledger.Path),
            ["spentEpsilon"] = delta > 0 || spent.MuSquared == 0 ? Finite(spent.Epsilon(delta)) : null,
            ["delta"] = delta,
            ["budget"] = ledger.Budget is { } budget ? new JsonObject { ["epsilon"] = budget.Epsilon, ["delta"] = budget.Delta } : null,
        };
    }

    /// <summary>The parties of a report.</summary>
    public static IEnumerable<JsonObject> Parties(JsonObject report) => Objects(report["parties"]);

    /// <summary>The elements of an array of objects.</summary>
    public static IEnumerable<JsonObject> Objects(JsonNode? array) => array!.AsArray().Select(o => o!.AsObject());

    /// <summary>The elements of an array of texts.</summary>
    public static IEnumerable<string> Strings(JsonNode? array) => array!.AsArray().Select(text => (string)text!);

    /// <summary>[low, high]; null where either is no number.</summary>
    public static JsonArray? Interval(double? low, double? high) => Finite(low) is { } from && Finite(high) is { } to ? new JsonArray(from, to) : null;

    /// <summary>Figures under their keys.</summary>
    public static JsonObject Metrics(IEnumerable<KeyValuePair<string, double?>> named) => new(named.Select(f => KeyValuePair.Create(f.Key, (JsonNode?)Finite(f.Value))));

    /// <summary>JSON has no infinity: a Poisson mean of very noisy scores can be beyond float64, and its figures are then undefined.</summary>
    public static double? Finite(double? value) => value is { } number && double.IsFinite(number) ? number : null;

    /// <summary>A word of the library as reports and run files write it.</summary>
    public static string Kebab<T>(T word) where T : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(word.ToString());

    /// <summary>What made the report.</summary>
    public static JsonObject Tool() => new()
    {
        ["name"] = "fedlearn",
        ["version"] = typeof(ReportParts).Assembly.GetName().Version!.ToString(3),
        ["runtime"] = RuntimeInformation.FrameworkDescription,
        ["os"] = RuntimeInformation.OSDescription,
    };

    /// <summary>Adds the texts that are not there yet.</summary>
    public static void Union(JsonArray texts, JsonArray others)
    {
        foreach (string text in others.Select(o => (string)o!).Where(o => !texts.Any(known => (string)known! == o)))
            texts.Add(text);
    }

    /// <summary>Says in a party's report how long its part took, from before it read its data. What a task inside of another one has said stays: it began earlier.</summary>
    public static void SetTotal(JsonObject document, TimeSpan total)
    {
        foreach (JsonObject timing in document["parties"]?.AsArray().Select(p => p!["timing"]).OfType<JsonObject>() ?? [])
            timing["totalSeconds"] ??= total.TotalSeconds;
    }

    /// <summary>Sentences as an array.</summary>
    public static JsonArray Texts(IEnumerable<string> texts) => new([.. texts.Select(t => (JsonNode)t)]);

    /// <summary>Most memory that this process has had.</summary>
    public static long PeakMemory()
    {
        using Process self = Process.GetCurrentProcess();
        return self.PeakWorkingSet64;
    }
}
