using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Services;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Tests.Services;

public sealed class PartyOverridesTests : IDisposable
{
    private const string Telco = """{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "peers": { "north-bank": "127.0.0.1:5301" }, "timeoutSeconds": 5 }""";

    private readonly TempFolder _folder = new();

    public PartyOverridesTests() => _folder.Write("job.json", """
        { "model": { "family": "gaussian" }, "privacy": { "mode": "none" }, "alignment": "hashed",
          "parties": [ { "name": "north-bank", "role": "active" }, { "name": "telco", "role": "passive" } ] }
        """);

    public void Dispose() => _folder.Dispose();

    private static FileOverrides Environment(params (string Name, string Value)[] variables) => FileOverrides.Of(variables.ToDictionary(v => v.Name, v => v.Value), []);

    private PartyFile Load(FileOverrides overrides, string text = Telco) => PartyFile.Load(_folder.Write("party.json", text), settings: overrides);

    private void Refused(FileOverrides overrides, string part, string text = Telco)
    {
        var error = Assert.Throws<ConfigurationException>(() => Load(overrides, text));
        Assert.Equal(ServiceErrors.UnknownVariable, error.Id);
        Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Environment_AnyLetterCase_StandsAboveTheFile()
    {
        PartyFile file = Load(Environment(("FEDLEARN_PARTY__TIMEOUTSECONDS", "7.5"), ("FEDLEARN_PARTY__PEERS__NORTH_BANK", "127.0.0.1:6000"), ("fedlearn_party__Ledger__Path", "other.db"),
            ("FEDLEARN_PARTY__SERVICE__SESSIONSPERDAY", "3"), ("FEDLEARN_PARTY__QUOTAS__BYTESPERSESSION", "5000000000"), ("FEDLEARN_PARTY__DATA__ID", "12"),
            // Variables of other things, which must not be taken for keys.
            ("FEDLEARN_DATA", "/data"), ("FEDLEARN_FULL", "1"), ("FEDLEARN_NATIVE", "/native"), ("PATH", "/bin")));
        Assert.Equal(TimeSpan.FromSeconds(7.5), file.Transport.Timeout);
        Assert.Equal(new Uri("http://127.0.0.1:6000"), file.ActiveParty);
        Assert.Equal(Path.Combine(_folder.Path, "other.db"), file.Self.Ledger.Path);
        Assert.Equal((3, 5_000_000_000), (file.Service.SessionsPerDay, file.Transport.Quotas.BytesPerSession));
        Assert.Equal("12", Assert.IsType<GlmRunFile>(file.Run).Party("telco").Data!.Id); // a text, though it looks like a number
    }

    [Fact]
    public void Environment_NamesOfTheJob_NeedNotStandInTheFile()
    {
        string text = """{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" } }""";
        Assert.Equal(new Uri("http://127.0.0.1:6000"), Load(Environment(("FEDLEARN_PARTY__PEERS__NORTH_BANK", "127.0.0.1:6000")), text).ActiveParty);
        Assert.Equal(new Uri("http://127.0.0.1:6001"), Load(Environment(("FEDLEARN_PARTY__PEERS", """["127.0.0.1:6001"]""")), text).ActiveParty);
        // Everything may come from the environment but the file itself.
        Assert.Equal("telco", Load(Environment(("FEDLEARN_PARTY__JOB", "job.json"), ("FEDLEARN_PARTY__PARTY", "telco"), ("FEDLEARN_PARTY__DATA__PATH", "t.csv"),
            ("FEDLEARN_PARTY__PEERS__NORTH_BANK", "127.0.0.1:6000")), "{}").Self.Name);
    }

    /// <summary>The job is asked for the peer's name before the file is read.</summary>
    [Fact]
    public void Set_PeerOfAFileWhoseJobIsNoPath_IsRefusedAsThatKey()
    {
        var error = Assert.Throws<ConfigurationException>(() => Load(FileOverrides.Of(new Dictionary<string, string>(), ["peers.bank=http://127.0.0.1:1"]), """{ "job": "a\u0000b", "party": "x" }"""));
        Assert.Equal(RunFileErrors.OutOfRange, error.Id);
        Assert.Contains("party.json: job", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void CommandLine_StandsAboveTheEnvironment()
    {
        var variables = new Dictionary<string, string> { ["FEDLEARN_PARTY__TIMEOUTSECONDS"] = "7", ["FEDLEARN_PARTY__CONNECTTIMEOUTSECONDS"] = "8" };
        PartyFile file = Load(FileOverrides.Of(variables, ["timeoutSeconds=9", "peers.north-bank=127.0.0.1:6002"]));
        Assert.Equal((TimeSpan.FromSeconds(9), TimeSpan.FromSeconds(8)), (file.Transport.Timeout, file.Transport.ConnectTimeout));
        Assert.Equal(new Uri("http://127.0.0.1:6002"), file.ActiveParty);
    }

    [Theory]
    [InlineData("FEDLEARN_PARTY__TIMEOUTSECOND", "FEDLEARN_PARTY__TIMEOUTSECONDS")]
    [InlineData("FEDLEARN_PARTY__LEDGER__PAHT", "FEDLEARN_PARTY__LEDGER__PATH")]
    [InlineData("FEDLEARN_PARTY__LISTEN__PORT", "FEDLEARN_PARTY__LISTEN")]
    [InlineData("FEDLEARN_PARTY__PEERS__NORTH_BANC", "'north-bank'")]
    [InlineData("FEDLEARN_PARTY__PEARS__BANK", "FEDLEARN_PARTY__PEERS__BANK")]
    [InlineData("FEDLEARN_PARTY__TLS__PEARS__NORTH_BANK", "FEDLEARN_PARTY__TLS__PEERS__NORTH_BANK")]
    [InlineData("FEDLEARN_PARTY__SERVE_REST", "FEDLEARN_PARTY__SERVE__REST")]
    public void Environment_UnknownName_IsRefusedAndNamesTheNearest(string variable, string nearest) => Refused(Environment((variable, "5")), nearest);

    [Theory]
    [InlineData("FEDLEARN_PARTY_LISTEN", "FEDLEARN_PARTY__LISTEN")]
    [InlineData("FEDLEARN_SERVICE__HELTH", "FEDLEARN_SERVICE__HEALTH")]
    [InlineData("FEDLEARN_SERVICE_STOPSECONDS", "FEDLEARN_SERVICE__STOPSECONDS")]
    public void Environment_WrongPrefixOrOption_IsRefused(string variable, string nearest)
    {
        var error = Assert.Throws<ConfigurationException>(() => Environment((variable, "x")));
        Assert.Equal(ServiceErrors.UnknownVariable, error.Id);
        Assert.Contains(nearest, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Environment_TwoVariablesForOneKeyOrAnArrayInTheWay_AreRefused()
    {
        Refused(Environment(("FEDLEARN_PARTY__LISTEN", "127.0.0.1:1"), ("fedlearn_party__listen", "127.0.0.1:2")), "is set by");
        Refused(Environment(("FEDLEARN_PARTY__PEERS__NORTH_BANK", "127.0.0.1:6000")), "'peers' is no object", Telco.Replace("""{ "north-bank": "127.0.0.1:5301" }""", """["127.0.0.1:5301"]""", StringComparison.Ordinal));
    }

    [Fact]
    public void Environment_WrongValue_IsRefusedWithTheVariablesName()
    {
        var error = Assert.Throws<ConfigurationException>(() => Load(Environment(("FEDLEARN_PARTY__TIMEOUTSECONDS", "soon"))));
        Assert.Equal(RunFileErrors.WrongType, error.Id);
        Assert.Contains("timeoutSeconds (from FEDLEARN_PARTY__TIMEOUTSECONDS)", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_ValuesOfTheJob_AreToldApartFromDefaults()
    {
        using var scene = new Scene();
        scene.Job(("transport.resumeSeconds", 12), ("parties.1.ledger", JsonNode.Parse("""{ "budget": { "epsilon": 3, "delta": 1e-5 } }""")), ("parties.1.alignment", JsonNode.Parse("""{ "padTo": 7 }""")));
        JsonArray values = EffectiveConfiguration.Of(PartyFile.Load(scene.Parties(5301).Telco), FileOverrides.None)["values"]!.AsArray();
        string Of(string key) => values.Single(v => (string)v!["key"]! == key) is { } line ? $"{line["value"]} {line["source"]}" : "";
        Assert.Equal(["12 job", "telco.csv job", "3 job", "1E-05 job", "7 job", $"{scene.At("telco.ledger.db")} default", "60 file"],
            ((string[])["resumeSeconds", "data.path", "ledger.budget.epsilon", "ledger.budget.delta", "alignment.padTo", "ledger.path", "timeoutSeconds"]).Select(Of));
    }

    [Fact]
    public void Of_WhatTheFileLeavesOut_IsThereAsADefault()
    {
        using var scene = new Scene();
        scene.Job();
        (string bank, string telco) = scene.Parties(5301);
        string Given(string file, string serve)
        {
            JsonNode party = JsonNode.Parse(File.ReadAllText(file))!;
            party["serve"] = JsonNode.Parse(serve);
            return scene.Write("serving.party.json", party.ToJsonString());
        }

        string[] Defaults(string file) => [.. EffectiveConfiguration.Of(PartyFile.Load(file), FileOverrides.None)["values"]!.AsArray()
            .Where(v => (string)v!["source"]! == "default").Select(v => $"{v!["key"]} {v["value"]}")];
        Assert.Superset(new HashSet<string> { "allowPlaintext false", "serve.rest http://127.0.0.1:8080", "serve.timeoutMilliseconds 500", "serve.fallback refuse" }, Defaults(bank).ToHashSet());
        Assert.DoesNotContain("serve.fallback refuse", Defaults(Given(bank, """{ "fallback": { "telco": 0.12 } }"""))); // which the file replaces, name by name
        Assert.Contains("allowPlaintext false", Defaults(telco));
        Assert.DoesNotContain(Defaults(telco), line => line.StartsWith("serve.", StringComparison.Ordinal)); // a passive party serves no requests of its own
    }

    [Fact]
    public void Environment_EmptyValueOfANumber_IsRefusedWithTheVariablesName()
    {
        var error = Assert.Throws<ConfigurationException>(() => Load(Environment(("FEDLEARN_PARTY__TIMEOUTSECONDS", ""))));
        Assert.Equal(RunFileErrors.WrongType, error.Id);
        Assert.Contains("environment, FEDLEARN_PARTY__TIMEOUTSECONDS", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("quotes", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("9090")]
    [InlineData("http://9090")]
    [InlineData("127.0.0.1")]
    public void Health_NotHostAndPort_IsRefused(string address) =>
        Assert.Equal(RunFileErrors.Address, Assert.Throws<ConfigurationException>(() => ServiceOptions.Of(FileOverrides.None, null, address, null)).Id);

    [Fact]
    public void Set_WithoutValueOrOfNoKey_IsRefused()
    {
        Assert.Equal(ServiceErrors.UnknownVariable, Assert.Throws<ConfigurationException>(() => FileOverrides.Of(new Dictionary<string, string>(), ["timeoutSeconds"])).Id);
        Refused(FileOverrides.Of(new Dictionary<string, string>(), ["timeoutSecs=4"]), "'timeoutSeconds'");
    }

    [Fact]
    public async Task ShowConfig_FileEnvironmentAndCommandLine_SaysWhereEachValueComesFrom()
    {
        string file = _folder.Write("party.json", Telco);
        using ToolProcess tool = ToolProcess.StartWith([("FEDLEARN_PARTY__TIMEOUTSECONDS", "7"), ("FEDLEARN_SERVICE__STOPSECONDS", "12")],
            ["party", "--service", "--config", file, "--set", "peers.north-bank=user:word@127.0.0.1:6002", "--set", "connectTimeoutSeconds=3", "--health", "127.0.0.1:9090", "--show-config"]);
        ToolRun refused = await tool.EndAsync();
        using ToolProcess shown = ToolProcess.StartWith([("FEDLEARN_PARTY__TIMEOUTSECONDS", "7"), ("FEDLEARN_SERVICE__STOPSECONDS", "12")],
            ["party", "--service", "--config", file, "--set", "connectTimeoutSeconds=3", "--health", "127.0.0.1:9090", "--show-config"]);
        ToolRun run = await shown.EndAsync();
        Assert.True(run.ExitCode == 0, run.Error);
        JsonNode document = JsonNode.Parse(run.Output)!;
        (string Value, string Source) Of(JsonNode? lines, string key) => lines!.AsArray().Single(v => (string)v!["key"]! == key) is { } line ? (line["value"]!.ToString(), (string)line["source"]!) : default;
        JsonNode values = Assert.Single(document["parties"]!.AsArray())!["values"]!;
        Assert.Equal(("7", "FEDLEARN_PARTY__TIMEOUTSECONDS"), Of(values, "timeoutSeconds"));
        Assert.Equal(("3", "--set"), Of(values, "connectTimeoutSeconds"));
        Assert.Equal(("127.0.0.1:5301", "file"), Of(values, "peers.north-bank"));
        Assert.Equal(("24", "default"), Of(values, "service.sessionsPerDay"));
        Assert.Equal(("300", "default"), Of(values, "resumeSeconds"));
        Assert.Equal(["alignment.engine", "alignment.padTo", "alignment.peerIds", "alignment.sessionsPerDay", "alignment.state", "alignment.threads"],
            values.AsArray().Where(v => ((string)v!["key"]!).StartsWith("alignment.", StringComparison.Ordinal) && (string)v["source"]! == "default").Select(v => (string)v!["key"]!).Order(StringComparer.Ordinal));
        Assert.DoesNotContain(values.AsArray(), v => (string)v!["source"]! == "job or default");
        Assert.Equal(("12", "FEDLEARN_SERVICE__STOPSECONDS"), Of(document["service"], "stopSeconds"));
        Assert.Equal(("127.0.0.1:9090", "command line"), Of(document["service"], "health"));
        Assert.DoesNotContain("word", refused.Output + refused.Error, StringComparison.Ordinal); // a password in an address is never shown
    }
}
