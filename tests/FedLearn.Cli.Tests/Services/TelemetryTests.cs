using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Services;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Tests.Services;

/// <summary>What leaves for a collector: that it comes, and that nothing private is in it.</summary>
public class TelemetryTests
{
    /// <summary>Names of all that may be told beside a number.</summary>
    internal static readonly HashSet<string> Allowed =
    [
        "service.name", "service.version", "service.instance.id", "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version",
        "party", "job", "mode", "operation", "outcome", "error", "kind", "direction",
    ];

    /// <summary>The scene with a numeric label and numbers that no count, time or limit of a histogram can be by chance.</summary>
    private static Scene LongNumbers()
    {
        var scene = new Scene();
        foreach (string file in (string[])["bank.csv", "telco.csv"])
        {
            string[] lines = File.ReadAllLines(scene.At(file));
            // Every cell but the id moves by its own small amount; labels become 3.1, 4.1 and some.
            File.WriteAllLines(scene.At(file), [lines[0], .. lines.Skip(1).Select((line, row) => string.Join(',', line.Split(',').Select((cell, column) =>
                column == 0 ? cell : (Scene.Number(cell) * 0.98765432109 + (file == "bank.csv" && column == 1 ? 3.123456789 : 0.0012345) + row * 1.23456789e-7).ToString("R", CultureInfo.InvariantCulture))))]);
        }

        return scene;
    }

    private static (string Name, string? Value)[] To(OtlpCollector collector, string protocol) =>
        [(Telemetry.EndpointVariable, collector.Address.ToString()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];

    [Theory]
    [InlineData("http/protobuf")]
    [InlineData("grpc")]
    public async Task Party_Collector_GetsMetricsAndTracesAndNothingPrivate(string protocol)
    {
        using Scene scene = LongNumbers();
        scene.Job(("model.family", "gaussian"), ("training", JsonNode.Parse("""{ "optimizer": "sgd", "epochs": 3, "batchesPerEpoch": 4, "stepSize": 0.05, "seed": 3 }""")));
        (string bankFile, string telcoFile) = scene.Parties(Scene.FreePort());
        await using OtlpCollector collector = await OtlpCollector.StartAsync(protocol == "grpc");
        using ToolProcess bank = ToolProcess.StartWith(To(collector, protocol), ["party", "--config", bankFile, "--model", scene.At("models"), "--report", scene.At("bank.json")]);
        await bank.SaysAsync("listening on");
        Assert.True(bank.HasMapped("OpenTelemetry.dll"));
        using ToolProcess telco = ToolProcess.StartWith(To(collector, protocol), ["party", "--config", telcoFile, "--model", scene.At("models")]);
        foreach (ToolRun run in new[] { await bank.EndAsync(), await telco.EndAsync() })
            Assert.True(run.ExitCode == 0, run.Error);

        (string Signal, byte[] Body)[] requests = [.. collector.Requests];
        string[] metrics = [.. requests.Where(r => r.Signal == "metrics").SelectMany(r => ProtobufWalk.Names(r.Body, "metrics"))];
        string[] spans = [.. requests.Where(r => r.Signal == "traces").SelectMany(r => ProtobufWalk.Names(r.Body, "traces"))];
        Assert.All((string[])[FedLearnTelemetry.SessionsStarted, FedLearnTelemetry.SessionsEnded, FedLearnTelemetry.Rounds, FedLearnTelemetry.RoundDuration, FedLearnTelemetry.MessageBytes], name => Assert.Equal(2, metrics.Count(m => m == name)));
        Assert.Equal(2, spans.Count(s => s == "fedlearn.train"));
        (string Key, string Value)[] attributes = [.. requests.SelectMany(r => ProtobufWalk.Attributes(r.Body))];
        Assert.Subset(Allowed, attributes.Select(a => a.Key).ToHashSet());
        Assert.Contains(("service.name", "fedlearn"), attributes);
        Assert.Contains(("party", "telco"), attributes);
        Assert.Contains(("outcome", "completed"), attributes);

        var texts = new HashSet<string>();
        var numbers = new HashSet<double>();
        foreach ((_, byte[] body) in requests)
            ProtobufWalk.Everything(body, texts, numbers);
        Assert.Contains("fedlearn.train", texts); // the walk sees what is there
        AssertNothingPrivate(scene, texts, numbers, requests);
    }

    private static void AssertNothingPrivate(Scene scene, HashSet<string> texts, HashSet<double> numbers, (string Signal, byte[] Body)[] requests)
    {
        var cells = new List<string>();
        var ids = new HashSet<string>();
        foreach (string file in (string[])["bank.csv", "telco.csv"])
            foreach (string[] row in File.ReadLines(scene.At(file)).Skip(1).Select(l => l.Split(',')))
            {
                ids.Add(row[0]);
                cells.AddRange(row[1..]);
            }

        double[] values = [.. cells.Select(Scene.Number)];
        double[] weights = [.. ((string[])["bank", "telco"]).SelectMany(p => Numbers(JsonNode.Parse(File.ReadAllText(scene.At($"models/{p}.model.json")))!)).Where(w => w != Math.Floor(w))];
        double[] losses = [.. JsonNode.Parse(File.ReadAllText(scene.At("bank.json")))!["history"]!.AsArray().Select(h => h!["loss"]).OfType<JsonNode>().Select(l => (double)l)];
        Assert.True(ids.Count == Scene.Common + Scene.BankOnly + Scene.TelcoOnly && values.Length > 1_000 && weights.Length >= 4 && losses.Length > 0);
        foreach (double value in values.Concat(weights).Concat(losses))
        {
            Assert.False(numbers.Contains(value) || numbers.Contains((float)value), "a private number was sent");
            Assert.DoesNotContain(value.ToString("R", CultureInfo.InvariantCulture), texts);
        }

        string all = string.Join('\n', texts);
        foreach (string id in ids)
        {
            Assert.DoesNotContain(id, all, StringComparison.Ordinal);
            byte[] digest = SHA256.HashData(Encoding.UTF8.GetBytes(id));
            Assert.DoesNotContain(Convert.ToHexStringLower(digest), all, StringComparison.OrdinalIgnoreCase);
            Assert.All(requests, r => Assert.False(r.Body.AsSpan().IndexOf(digest) >= 0, "a digest of an id was sent"));
        }

        foreach (string column in (string[])["age", "income", "calls", "debt"])
            Assert.DoesNotContain(column, texts);
        Assert.DoesNotContain(scene.Folder, all, StringComparison.Ordinal);
    }

    private static IEnumerable<double> Numbers(JsonNode? json) => json switch
    {
        JsonObject o => o.SelectMany(p => Numbers(p.Value)),
        JsonArray a => a.SelectMany(Numbers),
        JsonValue v when v.GetValueKind() == JsonValueKind.Number => [(double)v],
        _ => [],
    };

    [Fact]
    public async Task Train_ProcessesOfTheParties_SendTheirOwn()
    {
        using Scene scene = LongNumbers();
        string job = scene.Job([.. Scene.Sgd(("model.family", "gaussian"), ("training.stepSize", 0.05), ("transport.kind", "grpc"))]);
        await using OtlpCollector collector = await OtlpCollector.StartAsync(grpc: false);
        using ToolProcess tool = ToolProcess.StartWith(To(collector, "http/protobuf"), ["train", "--config", job]);
        ToolRun run = await tool.EndAsync();
        Assert.True(run.ExitCode == 0, run.Error);
        (string, string)[] attributes = [.. collector.Requests.SelectMany(r => ProtobufWalk.Attributes(r.Body))];
        Assert.Contains(("party", "bank"), attributes);
        Assert.Contains(("party", "telco"), attributes);
    }

    [Theory]
    [InlineData("not an address", "grpc")]
    [InlineData("ftp://127.0.0.1:1", "grpc")]
    [InlineData("http://127.0.0.1:1", "http/json")]
    public async Task Variables_ThatCannotBeUsed_AreRefused(string endpoint, string protocol)
    {
        using var scene = new Scene();
        using ToolProcess tool = ToolProcess.StartWith([(Telemetry.EndpointVariable, endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)], ["train", "--config", scene.Job()]);
        ToolRun run = await tool.EndAsync();
        Assert.Equal(2, run.ExitCode);
        Assert.Contains($"({ServiceErrors.BadTelemetry})", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Walk_NestedMessage_FindsTextsAndNumbers()
    {
        // { 1: { 1: "secret", 2: 0.123 }, 3: [0.5, 0.25] packed }: what the tests above rely on.
        byte[] inner = [0x0A, 6, .. "secret"u8, 0x11, .. BitConverter.GetBytes(0.123)];
        byte[] message = [0x0A, (byte)inner.Length, .. inner, 0x1A, 16, .. BitConverter.GetBytes(0.5), .. BitConverter.GetBytes(0.25)];
        var texts = new HashSet<string>();
        var numbers = new HashSet<double>();
        ProtobufWalk.Everything(message, texts, numbers);
        Assert.Contains("secret", texts);
        Assert.Superset(new HashSet<double> { 0.123, 0.5, 0.25 }, numbers);
    }
}
