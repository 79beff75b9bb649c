using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Services;
using FedLearn.Cli.Tests.Identity;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Tests.RunFiles;

public sealed class CoordinatorFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private const string Glm = """
        {
          "name": "credit", "model": { "family": "gaussian" },
          "parties": [ { "name": "telco", "role": "passive" }, { "name": "bank", "role": "active", "data": { "path": "nowhere.csv" } } ],
          "alignment": { "method": "psi", "output": "size-only" }, "transport": { "kind": "in-memory" }
        }
        """;

    private const string Encrypted = """
        {
          "name": "sealed", "model": { "family": "binomial" }, "privacy": { "mode": "he", "he": { "arbiter": "notary" } },
          "training": { "optimizer": "sgd", "epochs": 2 }, "preprocessing": { "scaling": "none" },
          "parties": [ { "name": "bank", "role": "active" }, { "name": "telco", "role": "passive" } ]
        }
        """;

    public void Dispose() => _folder.Dispose();

    private CoordinatorFile Load(string text) => CoordinatorFile.Load(_folder.Write("coordinator.json", text));

    private ConfigurationException Refused(string text) => Assert.Throws<ConfigurationException>(() => Load(text));

    [Fact]
    public void Load_JobsWithoutData_HasNamesRolesAndTheDigestsOfEachPurpose()
    {
        Directory.CreateDirectory(Path.Combine(_folder.Path, "jobs"));
        string glm = _folder.Write("jobs/credit.json", Glm), encrypted = _folder.Write("sealed.json", Encrypted);
        CoordinatorFile file = Load("""{ "listen": "127.0.0.1:0", "jobs": ["jobs/credit.json", "sealed.json"], "quotas": { "bytesPerParty": 5000000000, "connections": 3, "connectionsPerAddress": 12, "streams": 13, "allConnections": 14 }, "stopSeconds": 1.5 }""");
        Assert.Equal(new Uri("http://127.0.0.1:0"), file.Listen);
        Assert.Equal((3, 8, 5_000_000_000, 60), (file.Quotas.Connections, file.Quotas.ConnectionsPerParty, file.Quotas.BytesPerParty, file.Quotas.JoinsPerMinute));
        Assert.Equal((12, 13, 14), (file.PeerQuotas.Connections, file.PeerQuotas.Streams, file.PeerQuotas.AllConnections));
        Assert.Equal((TimeSpan.FromSeconds(1.5), false), (file.StopTime, file.AllowPlaintext));
        Assert.Equal(["credit", "sealed"], file.Jobs.Select(j => j.Name));
        Assert.Equal(["train", "predict", "serve", "align"], file.Jobs[0].Purposes.Keys);
        Assert.Equal(["train", "predict", "serve", "align", "arbiter"], file.Jobs[1].Purposes.Keys);
        Assert.Equal(["notary", "bank", "telco"], file.Jobs[1].Purposes["arbiter"].Parties.Select(p => p.Name));
        Assert.Equal([new PartyDescription("bank", PartyRole.Active), new PartyDescription("telco", PartyRole.Passive)], file.Jobs[0].Purposes["train"].Parties);
        Assert.Equal(9, file.Jobs.SelectMany(j => j.Purposes.Values).Select(t => Convert.ToHexString(t.TermsDigest.Span)).Distinct().Count());

        // The same as at a party, whose own file names its data.
        foreach ((string job, RelayJob known) in new[] { (glm, file.Jobs[0]), (encrypted, file.Jobs[1]) })
        {
            string own = _folder.Write("telco.json", $$"""{ "job": {{System.Text.Json.JsonSerializer.Serialize(job)}}, "party": "telco", "data": { "path": "t.csv" }, "relay": "127.0.0.1:5300" }""");
            PartyFile party = PartyFile.Load(own, alignsOnly: true);
            foreach ((string purpose, SessionTerms terms) in known.Purposes)
            {
                GrpcRelay relay = party.TransportFor(purpose).Relay!;
                Assert.Equal((known.Name, purpose, "telco", terms.Parties[0].Name), (relay.Terms.JobName, relay.Purpose, relay.Party, relay.Host));
                Assert.Equal(terms.TermsDigest.ToArray(), relay.Terms.TermsDigest.ToArray());
            }
        }
    }

    [Fact]
    public void Load_FaultyFile_ListsEveryFault()
    {
        _folder.Write("good.json", Glm);
        _folder.Write("twin.json", Glm);
        _folder.Write("bad.json", """{ "model": { "family": "gausian" } }""");
        ConfigurationException error = Refused("""
            { "listen": "nowhere", "jobs": ["good.json", "bad.json", "twin.json", "absent.json"], "quotas": { "conections": 3, "connectionsPerParty": 0, "bytesPerParty": 0, "joinsPerMinute": 1.5 }, "stopSeconds": -1, "job": 3 }
            """);
        foreach (string part in (string[])["10 faults", "quotas.conections: there is no such key. Did you mean 'connections'?", "job: there is no such key. Did you mean 'jobs'?", "listen: is no address.",
            "quotas.connectionsPerParty: is 0.", "quotas.bytesPerParty: is below 1.", "quotas.joinsPerMinute: is 1.5.", "stopSeconds: is -1.", "jobs[1]: ", "'gausian'", "(FL2007)", "jobs[2]: another job is called 'credit' too",
            "jobs[3]: ", "there is no such file. ", "(FL2550)", "(FL2551)"])
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}", "2 faults")]
    [InlineData("""{ "listen": "127.0.0.1:0", "jobs": [] }""", "there is no job.")]
    [InlineData("""{ "listen": "0.0.0.0:0", "jobs": [] }""", "nothing would encrypt the calls")]
    [InlineData("""{ "listen": "https://127.0.0.1:0", "jobs": [] }""", "no certificate of the coordinator")]
    [InlineData("""{ "listen": "127.0.0.1:0", "jobs": "job.json" }""", "Write an array of texts.")]
    public void Load_Incomplete_SaysWhatIsMissing(string text, string part) => Assert.Contains(part, Refused(text).Message, StringComparison.Ordinal);

    [Fact]
    public void Load_TlsBesideAnAddress_EncryptsOrContradictsIt()
    {
        _folder.Write("job.json", Glm);
        Keys.Make(_folder.Path, "hub");
        string With(string listen) => $$"""{ "listen": "{{listen}}", "jobs": ["job.json"], "tls": {{Keys.Tls("hub")}} }""";
        CoordinatorFile file = Load(With("127.0.0.1:0"));
        Assert.Equal(("https", 30), (file.Listen.Scheme, file.StopTime.TotalSeconds));
        ConfigurationException error = Refused(With("http://127.0.0.1:0"));
        Assert.Equal(RunFileErrors.Contradiction, error.Id);
        Assert.Contains("listen: the address asks for no encryption, and the file has tls.", error.Message, StringComparison.Ordinal);
    }

    private static FileOverrides Overrides(string[] sets, params (string Name, string Value)[] variables) =>
        FileOverrides.Of(variables.ToDictionary(v => v.Name, v => v.Value), sets, OverridableFile.Coordinator);

    [Fact]
    public void Load_EnvironmentAndSets_StandAboveTheFile()
    {
        _folder.Write("job.json", Glm);
        Keys.Make(_folder.Path, "hub");
        string telco = Keys.Make(_folder.Path, "telco");
        string path = _folder.Write("coordinator.json", $$"""{ "listen": "127.0.0.1:1", "jobs": ["nowhere.json"], "tls": {{Keys.Tls("hub")}}, "quotas": { "streams": 3 }, "stopSeconds": 9 }""");
        CoordinatorFile file = CoordinatorFile.Load(path, Overrides(["stopSeconds=7", "quotas.streams=6"], ("FEDLEARN_COORDINATOR__LISTEN", "127.0.0.1:2"), ("FEDLEARN_COORDINATOR__JOBS", """["job.json"]"""),
            ("fedlearn_coordinator__Quotas__Connections", "5"), ("FEDLEARN_COORDINATOR__QUOTAS__STREAMS", "4"), ("FEDLEARN_COORDINATOR__TLS__PEERS__TELCO", telco), ("FEDLEARN_COORDINATOR__HEALTH", "127.0.0.1:0"),
            ("FEDLEARN_COORDINATOR__STOPSECONDS", "8"), ("FEDLEARN_PARTY__LISTEN", "127.0.0.1:3"), ("FEDLEARN_SERVICE__RESULTS", "results"), ("FEDLEARN_PARTI", "of something else")));
        Assert.Equal((new Uri("https://127.0.0.1:2"), new Uri("http://127.0.0.1:0"), TimeSpan.FromSeconds(7)), (file.Listen, file.Health, file.StopTime));
        Assert.Equal((5, 6), (file.Quotas.Connections, file.PeerQuotas.Streams));
        Assert.Equal("credit", Assert.Single(file.Jobs).Name);
        Assert.Equal([telco], file.Security!.Peers["telco"].Select(pin => pin.ToString()));
    }

    [Theory]
    [InlineData("FEDLEARN_COORDINATOR__LISTN", "FEDLEARN_COORDINATOR__LISTEN")]
    [InlineData("FEDLEARN_COORDINATOR__QUOTAS__CONECTIONS", "FEDLEARN_COORDINATOR__QUOTAS__CONNECTIONS")]
    [InlineData("FEDLEARN_COORDINATOR_LISTEN", "FEDLEARN_COORDINATOR__LISTEN")]
    [InlineData("FEDLEARN_COORDINATOR__TLS__PEERS__TELKO", "'telco'")]
    public void Load_UnknownVariable_IsRefusedAndNamesTheNearest(string variable, string nearest)
    {
        _folder.Write("job.json", Glm);
        string path = _folder.Write("coordinator.json", """{ "listen": "127.0.0.1:1", "jobs": ["job.json"] }""");
        var error = Assert.Throws<ConfigurationException>(() => CoordinatorFile.Load(path, Overrides([], (variable, "x"))));
        Assert.Equal(ServiceErrors.UnknownVariable, error.Id);
        Assert.Contains(nearest, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("9090")]
    [InlineData("hub.example:9090")]
    public void Load_HealthBeyondThisMachine_IsRefused(string address)
    {
        _folder.Write("job.json", Glm);
        string path = _folder.Write("coordinator.json", """{ "listen": "127.0.0.1:1", "jobs": ["job.json"] }""");
        var error = Assert.Throws<ConfigurationException>(() => CoordinatorFile.Load(path, Overrides([], ("FEDLEARN_COORDINATOR__HEALTH", address))));
        Assert.Equal(RunFileErrors.Address, error.Id);
        Assert.Contains("health (from FEDLEARN_COORDINATOR__HEALTH): is no address of this machine.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_PeersOfNoJob_DoNoHarm()
    {
        _folder.Write("job.json", Glm);
        Keys.Make(_folder.Path, "hub");
        string telco = Keys.Make(_folder.Path, "telco"), railway = Keys.Make(_folder.Path, "railway");
        CoordinatorFile file = Load($$"""{ "listen": "127.0.0.1:0", "jobs": ["job.json"], "tls": {{Keys.Tls("hub", ("telco", telco), ("railway", railway))}} }""");
        Assert.Equal(["railway", "telco"], file.Security!.Peers.Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Load_CertificateNearItsEnd_IsSaid()
    {
        _folder.Write("job.json", Glm);
        Keys.Make(_folder.Path, "hub", ago: TimeSpan.FromDays(80));
        string telco = Keys.Make(_folder.Path, "telco");
        CoordinatorFile file = Load($$"""{ "listen": "127.0.0.1:0", "jobs": ["job.json"], "tls": {{Keys.Tls("hub", ("telco", telco))}} }""");
        Assert.Contains("certificate expires on", Assert.Single(file.Notes), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"192.0.2.1:5300\"", "FL2535", "nothing would encrypt the calls to it")]
    [InlineData("\"https://127.0.0.1:5300\"", "FL2535", "no certificate of this party")]
    [InlineData("\"nowhere\"", "FL2012", "is no address")]
    [InlineData("{ \"pins\": [] }", "FL2004", "Write the coordinator's address")]
    [InlineData("{ \"address\": \"127.0.0.1:5300\", \"pin\": \"sha256:00\" }", "FL2003", "Did you mean 'pins'?")]
    public void PartyFile_RelayThatCannotBe_IsAFault(string relay, string id, string part)
    {
        _folder.Write("job.json", Glm);
        var error = Assert.Throws<ConfigurationException>(() => PartyFile.Load(_folder.Write("party.json", $$"""{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "relay": {{relay}} }"""), alignsOnly: true));
        Assert.Equal(id, error.Id);
        Assert.Contains(part, error.Message, StringComparison.Ordinal);
        // And not that the address of the active party, which the coordinator stands for, is missing.
        Assert.DoesNotContain("faults:", error.Message, StringComparison.Ordinal);
    }

    /// <summary>Without its certificate the party could not call by https, which is the certificate's fault and not the address's.</summary>
    [Fact]
    public void PartyFile_RelayByHttpsBesideFaultyTls_HasTheFaultsOfTlsAlone()
    {
        _folder.Write("job.json", Glm);
        var error = Assert.Throws<ConfigurationException>(() => PartyFile.Load(_folder.Write("party.json",
            """{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "relay": "https://127.0.0.1:5300", "tls": { "certificate": "c.pem" } }"""), alignsOnly: true));
        Assert.Equal(RunFileErrors.MissingKey, error.Id);
        Assert.DoesNotContain("relay", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bank", "")]
    [InlineData("telco", "")]
    [InlineData("telco", """, "peers": { "bank": "127.0.0.1:5301" }""")]
    public void PartyFile_Relay_TakesThePlaceOfAddresses(string name, string more)
    {
        _folder.Write("job.json", Glm);
        PartyFile party = PartyFile.Load(_folder.Write("party.json", $$"""{ "job": "job.json", "party": "{{name}}", "data": { "path": "t.csv" }, "relay": "127.0.0.1:5300"{{more}} }"""), alignsOnly: true);
        Assert.Null(party.Listen);
        Assert.Equal(name == "bank", party.Hosts);
        Assert.Equal(name == "bank" ? null : new Uri(more.Length > 0 ? "http://127.0.0.1:5301" : "http://127.0.0.1:5300"), party.ActiveParty);
        // A peer with an address is called there.
        Assert.Equal(more.Length > 0 ? null : new Uri("http://127.0.0.1:5300"), party.TransportFor(GrpcRelay.Align).Relay?.Coordinator);
        Assert.DoesNotContain("relay", party.Ignored);
    }
}
