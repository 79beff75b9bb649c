using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Tests.RunFiles;

public sealed class PartyFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private const string Job = """
        {
          "model": { "family": "gaussian" },
          "training": { "weightNorm": 1, "residualClip": 1 },
          "privacy": { "mode": "hdp-vfl", "epsilon": 1, "delta": 1e-5 },
          "parties": [ { "name": "bank", "role": "active" }, { "name": "telco", "role": "passive" } ],
          "alignment": "hashed", "transport": { "timeoutSeconds": 5, "connectTimeoutSeconds": 6 }
        }
        """;

    private const string Bank = """{ "job": "job.json", "party": "bank", "data": { "path": "b.csv", "label": "y", "labelRange": [0, 2] }, "listen": "127.0.0.1:5301" }""";
    private const string Telco = """{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "peers": { "bank": "http://127.0.0.1:5301" } }""";

    public void Dispose() => _folder.Dispose();

    private PartyFile Load(string text, string job = Job)
    {
        _folder.Write("job.json", job);
        return PartyFile.Load(_folder.Write("party.json", text));
    }

    private void Refused(string text, string id, string part)
    {
        var error = Assert.Throws<ConfigurationException>(() => Load(text));
        Assert.Equal(id, error.Id);
        Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    private static GlmRunFile Glm(PartyFile party) => Assert.IsType<GlmRunFile>(party.Run);

    [Fact]
    public void Load_ActiveParty_ListensAndBringsItsLabelRange()
    {
        PartyFile party = Load(Bank);
        Assert.Equal(new Uri("http://127.0.0.1:5301"), party.Listen);
        Assert.Null(party.ActiveParty);
        Assert.Equal(new TableSource { Path = Path.Combine(_folder.Path, "b.csv"), Label = "y" }, Glm(party).Party(party.Self.Name).Data);
        Assert.Equal((0.0, 2.0), Glm(party).Job.Parties[0].LabelRange);
        Assert.Null(Glm(party).Party("telco").Data);
        Assert.Equal(TimeSpan.FromSeconds(5), party.Transport.Timeout);
    }

    [Theory]
    [InlineData("""{ "bank": "http://127.0.0.1:5301" }""", "http://127.0.0.1:5301/")]
    [InlineData("""{ "bank": "localhost:80" }""", "http://localhost:80/")]
    [InlineData("""[ "http://[::1]:5301/" ]""", "http://[::1]:5301/")]
    public void Load_PassiveParty_FindsTheActiveOne(string peers, string expected)
    {
        PartyFile party = Load($$"""{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "peers": {{peers}}, "timeoutSeconds": 7, "connectTimeoutSeconds": 8, "resumeSeconds": 9 }""");
        Assert.Equal(new Uri(expected), party.ActiveParty);
        Assert.Null(party.Listen);
        Assert.Equal((7, 8, 9), (party.Transport.Timeout.TotalSeconds, party.Transport.ConnectTimeout.TotalSeconds, party.Transport.ResumeTimeout.TotalSeconds));
    }

    /// <summary>Its table is nobody else's affair: the range of its labels may stand in its own file.</summary>
    [Fact]
    public void Load_JobWithTheActivePartysTableAndNoLabelRange_IsThePassivePartysAllTheSame() =>
        Assert.Equal("telco", Load(Telco, Job.Replace("\"role\": \"active\"", "\"role\": \"active\", \"data\": { \"path\": \"b.csv\", \"label\": \"y\" }", StringComparison.Ordinal)).Self.Name);

    [Fact]
    public void Load_PeerNamedTwice_IsRefused()
    {
        var error = Assert.Throws<ConfigurationException>(() => Load("""{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "peers": { "bank": "127.0.0.1:1", "bank": "127.0.0.1:2" } }"""));
        Assert.Equal(RunFileErrors.DuplicateKey, error.Id);
        Assert.Contains("peers.bank", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_OwnDataAndLedger_ReplaceTheJobs()
    {
        string job = Job.Replace("\"role\": \"passive\"", "\"role\": \"passive\", \"data\": { \"path\": \"theirs.csv\", \"schema\": \"s.json\" }, \"ledger\": { \"path\": \"j.db\" }", StringComparison.Ordinal);
        Assert.Equal("theirs.csv", Path.GetFileName(Glm(Load(Telco.Replace("\"data\": { \"path\": \"t.csv\" }, ", "", StringComparison.Ordinal), job)).Party("telco").Data!.Path));
        PartyFile party = Load(Telco.Replace("\"peers\"", "\"ledger\": { \"budget\": { \"epsilon\": 2, \"delta\": 1e-3 } }, \"peers\"", StringComparison.Ordinal), job);
        Assert.Equal(new TableSource { Path = Path.Combine(_folder.Path, "t.csv") }, Glm(party).Party(party.Self.Name).Data);
        Assert.Equal(new RunFileLedger { Path = Path.Combine(_folder.Path, "j.db"), Budget = new PrivacyBudget(2, 1e-3) }, party.Self.Ledger);
    }

    /// <summary>A ledger file spent from twice, or a budget lost, would be the price of replacing the whole object.</summary>
    [Theory]
    [InlineData("""{ "path": "mine.db" }""", "mine.db", 5)]
    [InlineData("""{ "budget": { "epsilon": 2, "delta": 1e-3 } }""", "j.db", 2)]
    [InlineData("""{ "path": "mine.db", "budget": { "epsilon": 2, "delta": 1e-3 } }""", "mine.db", 2)]
    public void Load_OwnLedger_InheritsWhatItLeavesOut(string ledger, string path, double epsilon)
    {
        string job = Job.Replace("\"role\": \"passive\"", "\"role\": \"passive\", \"ledger\": { \"path\": \"j.db\", \"budget\": { \"epsilon\": 5, \"delta\": 1e-3 } }", StringComparison.Ordinal);
        PartyFile party = Load(Telco.Replace("\"peers\"", $"\"ledger\": {ledger}, \"peers\"", StringComparison.Ordinal), job);
        Assert.Equal(new RunFileLedger { Path = Path.Combine(_folder.Path, path), Budget = new PrivacyBudget(epsilon, 1e-3) }, party.Self.Ledger);
    }

    [Fact]
    public void Load_Serve_HasDefaultsAndSettings()
    {
        string Serving(string serve) => Bank.Replace("\"listen\"", $"\"serve\": {serve}, \"listen\"", StringComparison.Ordinal);
        foreach (ServeSettings absent in (ServeSettings[])[Load(Bank).Serve, Load(Serving("""{ "fallback": "refuse" }""")).Serve])
        {
            Assert.Equal((new Uri("http://127.0.0.1:8080"), TimeSpan.FromMilliseconds(500)), (absent.Rest, absent.Timeout));
            Assert.Empty(absent.Fallbacks);
        }

        ServeSettings serve = Load(Serving("""{ "rest": "localhost:0", "timeoutMilliseconds": 20, "fallback": { "telco": -0.5 } }""")).Serve;
        Assert.Equal((new Uri("http://localhost:0"), TimeSpan.FromMilliseconds(20), -0.5), (serve.Rest, serve.Timeout, serve.Fallbacks["telco"]));
        Refused(Serving("""{ "fallback": { "tleco": 1 } }"""), RunFileErrors.Parties, "'tleco'");
        Refused(Serving("""{ "fallback": { "bank": 1 } }"""), RunFileErrors.Parties, "'bank'");
        Refused(Serving("""{ "fallback": { "telco": "1" } }"""), RunFileErrors.WrongType, "serve.fallback.telco");
        Refused(Serving("""{ "fallback": { "telco": 1e999 } }"""), RunFileErrors.OutOfRange, "serve.fallback.telco");
        Refused(Serving("""{ "fallback": "guess" }"""), RunFileErrors.WrongType, "serve.fallback");
        Refused(Serving("""{ "timeoutMilliseconds": 0 }"""), RunFileErrors.OutOfRange, "serve.timeoutMilliseconds");
        Refused(Serving("""{ "rest": "somewhere" }"""), RunFileErrors.Address, "serve.rest");
        Refused(Serving("""{ "port": 1 }"""), RunFileErrors.UnknownKey, "serve.port");
    }

    [Fact]
    public void Load_KeysTheRoleDoesNotUse_AreListed()
    {
        Assert.Equal(["serve"], Load(Telco.Replace("\"peers\"", "\"serve\": { }, \"peers\"", StringComparison.Ordinal)).Ignored);
        Assert.Equal(["peers"], Load(Bank.Replace("\"listen\"", "\"peers\": { \"telco\": \"http://127.0.0.1:1\" }, \"listen\"", StringComparison.Ordinal)).Ignored);
        Assert.Equal(["listen"], Load(Telco.Replace("\"peers\"", "\"listen\": \"127.0.0.1:1\", \"peers\"", StringComparison.Ordinal)).Ignored);
        Assert.Equal(["service"], Load(Bank.Replace("\"listen\"", "\"service\": { \"sessionsPerDay\": 2 }, \"listen\"", StringComparison.Ordinal)).Ignored);
        Assert.Empty(Load(Telco.Replace("\"peers\"", "\"service\": { \"sessionsPerDay\": 2 }, \"peers\"", StringComparison.Ordinal)).Ignored);
    }

    [Fact]
    public void Load_KeysTheJobMakesIdle_AreListed()
    {
        const string Own = "\"alignment\": { \"peerIds\": 5 }, \"ledger\": { \"budget\": { \"epsilon\": 1, \"delta\": 1e-5 } }, \"peers\"";
        string telco = Telco.Replace("\"peers\"", Own, StringComparison.Ordinal), psi = Job.Replace("\"hashed\"", "\"psi\"", StringComparison.Ordinal);
        Assert.Empty(Load(telco, psi).Ignored);
        Assert.Equal(["alignment"], Load(telco).Ignored);
        Assert.Equal(["ledger.budget"], Load(telco, psi.Replace("\"mode\": \"hdp-vfl\", \"epsilon\": 1, \"delta\": 1e-5", "\"mode\": \"none\"", StringComparison.Ordinal)
            .Replace("\"training\": { \"weightNorm\": 1, \"residualClip\": 1 },", "", StringComparison.Ordinal)).Ignored);
        // The job's transport is that of train, where all parties are on one machine.
        Assert.Empty(Load(Telco, psi.Replace("\"timeoutSeconds\"", "\"kind\": \"in-memory\", \"timeoutSeconds\"", StringComparison.Ordinal)).Ignored);
        _folder.Write("job.json", Job);
        Assert.DoesNotContain("alignment", PartyFile.Load(_folder.Write("party.json", telco), alignsOnly: true).Ignored);
        // Of a job that has nobody to align with, its own key and this file's are one.
        Assert.Equal(["alignment"], Load(Bank.Replace("\"listen\"", "\"alignment\": { \"peerIds\": 5 }, \"listen\"", StringComparison.Ordinal), Job.Replace(", { \"name\": \"telco\", \"role\": \"passive\" }", "", StringComparison.Ordinal)).Ignored);
    }

    // Where all parties are on one machine nothing is told by hashes; two companies with the same file must not compare them.
    [Fact]
    public void Load_JobInMemoryWithoutAlignment_IsAlignedPrivately()
    {
        string job = Job.Replace("\"alignment\": \"hashed\", ", "", StringComparison.Ordinal).Replace("\"timeoutSeconds\"", "\"kind\": \"in-memory\", \"timeoutSeconds\"", StringComparison.Ordinal);
        Assert.All((string[])[Bank, Telco], text => Assert.Equal(AlignmentMethod.Psi, Glm(Load(text, job)).Job.Alignment));
    }

    // Limits of what a peer may learn are lost by none of the two files.
    [Fact]
    public void Load_AlignmentOfBothFiles_IsMergedKeyByKey()
    {
        string job = Job.Replace("\"hashed\"", "\"psi\"", StringComparison.Ordinal).Replace("{ \"name\": \"telco\", \"role\": \"passive\" }",
            "{ \"name\": \"telco\", \"role\": \"passive\", \"alignment\": { \"peerIds\": 5, \"sessionsPerDay\": 2, \"padTo\": 100, \"threads\": 3 } }", StringComparison.Ordinal);
        (long, int, int, int?) Of(string own)
        {
            PartyAlignment alignment = Load(Telco.Replace("\"peers\"", $"\"alignment\": {own}, \"peers\"", StringComparison.Ordinal), job).Self.Alignment;
            return (alignment.Caps.PeerIds, alignment.Caps.SessionsPerDay, alignment.PadTo, alignment.Threads);
        }

        Assert.Equal((5, 2, 100, 3), Of("{ \"engine\": \"sodium\" }"));
        // Where an interrupted alignment left what it needs to go on, too.
        job = job.Replace("\"padTo\": 100", "\"padTo\": 100, \"state\": \"kept\"", StringComparison.Ordinal);
        PartyAlignment inherited = Load(Telco.Replace("\"peers\"", "\"alignment\": { \"threads\": 1 }, \"peers\"", StringComparison.Ordinal), job).Self.Alignment;
        Assert.Equal((Path.Combine(_folder.Path, "kept"), true), (inherited.State, inherited.NamesState));
        Assert.Equal((7, 8, 200, 1), Of("{ \"peerIds\": 7, \"sessionsPerDay\": 8, \"padTo\": 200, \"threads\": 1 }"));
    }

    /// <summary>An array of peers holds the address of the active party without its name.</summary>
    [Theory]
    [InlineData("[ \"127.0.0.1:5301\" ]", true)]
    [InlineData("{ \"bank\": \"127.0.0.1:5301\" }", true)]
    [InlineData("{ }", false)]
    public void TransportFor_ActivePartyBesideACoordinator_IsCalledDirectly(string peers, bool direct)
    {
        PartyFile party = Load(Telco.Replace("{ \"bank\": \"http://127.0.0.1:5301\" }", $"{peers}, \"relay\": \"127.0.0.1:5300\"", StringComparison.Ordinal));
        Assert.Equal(direct, party.TransportFor("train").Relay is null);
    }

    [Theory]
    [InlineData("\"listen\": \"127.0.0.1:5301\"", "listening on http://127.0.0.1:9/")]
    [InlineData("\"relay\": \"127.0.0.1:5300\"", "waiting at the coordinator http://127.0.0.1:9/")]
    [InlineData("\"listen\": \"127.0.0.1:5301\", \"relay\": \"127.0.0.1:5300\"", "listening on http://127.0.0.1:9/, and waiting at the coordinator http://127.0.0.1:5300/")]
    public void Listening_Host_SaysWhereItIsFound(string where, string said) =>
        Assert.Equal(said, Load(Bank.Replace("\"listen\": \"127.0.0.1:5301\"", where, StringComparison.Ordinal)).Listening(new Uri("http://127.0.0.1:9")));

    [Fact]
    public void Load_Quotas_AreThoseOfTheHost()
    {
        PartyFile party = Load(Bank.Replace("\"listen\"", "\"quotas\": { \"streams\": 13 }, \"listen\"", StringComparison.Ordinal));
        Assert.Equal(13, PartyTransport.Host(party.Transport, party.Listen!).Quotas.Streams);
        Refused(Bank.Replace("\"listen\"", "\"quotas\": { \"bytesPerSession\": 0 }, \"listen\"", StringComparison.Ordinal), RunFileErrors.OutOfRange, "quotas.bytesPerSession");
    }

    [Fact]
    public void Load_PinsOfACoordinatorWithoutEncryption_AreRefused() => Refused(Telco.Replace("\"peers\": { \"bank\": \"http://127.0.0.1:5301\" }",
        $"\"relay\": {{ \"address\": \"http://127.0.0.1:5300\", \"pins\": [\"sha256:{new string('a', 64)}\"] }}", StringComparison.Ordinal), RunFileErrors.Contradiction, "relay.pins");

    private static string Proxied(string proxy, string address = "http://bank.example:5301") =>
        Telco.Replace("http://127.0.0.1:5301", address, StringComparison.Ordinal).Replace("\"peers\"", $"\"allowPlaintext\": true, \"proxy\": {proxy}, \"peers\"", StringComparison.Ordinal);

    [Fact]
    public void Load_Proxy_IsThatOfAllCalls()
    {
        PartyFile party = Load(Proxied("\"proxy.telco.example:3128\""));
        Assert.Equal(new GrpcProxy { Address = new Uri("http://proxy.telco.example:3128") }, PartyTransport.Client(party.Transport, party.ActiveParty!, "bank").Proxy);
        Assert.Empty(party.Ignored);
        Assert.NotNull(PartyTransport.Host(Load(Bank.Replace("\"listen\": \"127.0.0.1:5301\"", "\"allowPlaintext\": true, \"relay\": \"c.example:5300\", \"proxy\": \"[::1]:3128\"", StringComparison.Ordinal)).Transport, null).Proxy);
    }

    [Theory]
    [InlineData("passwordFile")]
    [InlineData("passwordVariable")]
    public void Load_ProxyWithCredentials_TakesThePasswordFromWhereTheFileSays(string key)
    {
        string path = _folder.Write("proxy.secret", "pa:ss word\n");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.GroupRead);
        const string variable = "PARTY_FILE_TESTS_PROXY";
        Environment.SetEnvironmentVariable(variable, "pa:ss word");
        GrpcProxy proxy = Load(Proxied($$"""{ "address": "http://127.0.0.1:3128", "user": "svc", "{{key}}": "{{(key == "passwordFile" ? "proxy.secret" : variable)}}" }""")).Transport.Party!.Proxy!;
        Assert.Equal(("svc", "pa:ss word"), (proxy.Credential!.UserName, proxy.Credential.Password));
        Assert.DoesNotContain("pa:ss", proxy.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_ProxyWithoutUse_IsIgnored()
    {
        Assert.Equal(["allowPlaintext", "proxy"], Load(Proxied("\"proxy.telco.example:3128\"", "http://127.0.0.1:5301")).Ignored);
        Assert.Equal(["proxy"], Load(Bank.Replace("\"listen\"", "\"proxy\": \"proxy.example:3128\", \"listen\"", StringComparison.Ordinal)).Ignored);
    }

    [Fact]
    public void Load_FaultyProxy_NamesKeyAndNoSecret()
    {
        string open = _folder.Write("open.secret", "hidden");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(open, UnixFileMode.UserRead | UnixFileMode.OtherRead);
        (string Proxy, string Id, string Part)[] faults =
        [
            ("\"https://proxy.example:3128\"", RunFileErrors.Address, "proxy"),
            ("\"http://svc:hidden@proxy.example:3128\"", RunFileErrors.Address, "do not belong into the address"),
            ("{ \"address\": \"svc:hidden@proxy.example:3128\" }", RunFileErrors.Address, "proxy.address"),
            ("\"proxy.example\"", RunFileErrors.Address, "proxy"),
            ("{ \"user\": \"svc\" }", RunFileErrors.MissingKey, "proxy.address"),
            ("{ \"address\": \"p:1\", \"user\": \"svc\" }", RunFileErrors.MissingKey, "proxy.passwordVariable"),
            ("{ \"address\": \"p:1\", \"passwordFile\": \"open.secret\" }", RunFileErrors.MissingKey, "proxy.user"),
            ("{ \"address\": \"p:1\", \"user\": \"s:v\", \"passwordVariable\": \"PATH\" }", RunFileErrors.OutOfRange, "proxy.user"),
            ("{ \"address\": \"p:1\", \"user\": \"svc\", \"passwordVariable\": \"PATH\", \"passwordFile\": \"open.secret\" }", RunFileErrors.Contradiction, "proxy.passwordFile"),
            ("{ \"address\": \"p:1\", \"user\": \"svc\", \"passwordVariable\": \"NO_SUCH_VARIABLE\" }", IdentityErrors.ProxyPassword, "'NO_SUCH_VARIABLE'"),
            ("{ \"address\": \"p:1\", \"user\": \"svc\", \"passwordFile\": \"nowhere\" }", IdentityErrors.ProxyPassword, "nowhere"),
            ("{ \"address\": \"p:1\", \"user\": \"svc\", \"password\": \"hidden\" }", RunFileErrors.UnknownKey, "proxy.password"),
        ];
        Assert.All(OperatingSystem.IsWindows() ? faults : [.. faults, ("{ \"address\": \"p:1\", \"user\": \"svc\", \"passwordFile\": \"open.secret\" }", IdentityErrors.ProxyPassword, "chmod 600")], fault =>
        {
            var error = Assert.Throws<ConfigurationException>(() => Load(Proxied(fault.Proxy)));
            Assert.Equal(fault.Id, error.Id);
            Assert.Contains(fault.Part, error.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("hidden", error.Message, StringComparison.Ordinal);
        });
    }

    private const string Encrypted = """
        {
          "model": { "family": "binomial" }, "privacy": { "mode": "he", "he": { "arbiter": "notary" } },
          "parties": [ { "name": "bank", "role": "active" }, { "name": "telco", "role": "passive" } ], "alignment": "hashed"
        }
        """;

    [Fact]
    public void Load_EncryptedJob_EveryoneFindsTheArbiterAndItListens()
    {
        Assert.Equal(["peers", "serve"], Load("""{ "job": "job.json", "party": "notary", "listen": "127.0.0.1:5309", "peers": { "bank": "127.0.0.1:1" }, "serve": { } }""", Encrypted).Ignored);
        var error = Assert.Throws<ConfigurationException>(() => Load("""{ "job": "job.json", "party": "notary" }""", Encrypted));
        Assert.Equal((RunFileErrors.MissingKey, true), (error.Id, error.Place.EndsWith("listen", StringComparison.Ordinal)));
        string bank = Bank.Replace(", \"labelRange\": [0, 2]", ", \"peers\": 0", StringComparison.Ordinal).Replace(", \"peers\": 0 }", " }, \"peers\": { \"notary\": \"127.0.0.1:5309\" }", StringComparison.Ordinal);
        Assert.All((string[])[bank, Telco.Replace("} }", ", \"notary\": \"127.0.0.1:5309\" } }", StringComparison.Ordinal)], text =>
        {
            PartyFile party = Load(text, Encrypted);
            Assert.Equal(new Uri("http://127.0.0.1:5309"), party.Arbiter);
            Assert.Empty(party.Ignored);
            // A party that has its machine to itself takes all of it.
            Assert.Equal(Math.Min(64, Environment.ProcessorCount), Glm(party).HeEngine.Workers);
        });
        Assert.Equal("peers", Assert.Throws<ConfigurationException>(() => Load(Telco, Encrypted)).Place.Split(' ')[^1]);
        error = Assert.Throws<ConfigurationException>(() => Load("""{ "job": "job.json", "party": "notary", "listen": "127.0.0.1:5309", "data": { "path": "b.csv" } }""", Encrypted));
        Assert.Contains("whoever holds the key must hold no data", error.Cause, StringComparison.Ordinal);
        // Its sessions are the same for every verb of the parties.
        Assert.Equal("arbiter", Load("""{ "job": "job.json", "party": "notary", "relay": "127.0.0.1:5300" }""", Encrypted).TransportFor("train").Relay!.Purpose);
    }

    [Fact]
    public void Load_FaultyFile_NamesKey()
    {
        Refused(Bank.Replace("\"job\"", "\"jobb\"", StringComparison.Ordinal), RunFileErrors.UnknownKey, "Did you mean 'job'?");
        Refused(Bank.Replace("\"bank\"", "\"bnak\"", StringComparison.Ordinal), RunFileErrors.Parties, "Did you mean 'bank'?");
        Refused(Bank.Replace("\"job.json\"", "\"no.json\"", StringComparison.Ordinal), RunFileErrors.Unreadable, "no.json");
        Refused(Bank.Replace(", \"listen\": \"127.0.0.1:5301\"", "", StringComparison.Ordinal), RunFileErrors.MissingKey, "listen");
        Refused(Bank.Replace("127.0.0.1:5301", "somewhere", StringComparison.Ordinal), RunFileErrors.Address, "listen");
        Refused(Bank.Replace(", \"labelRange\": [0, 2]", "", StringComparison.Ordinal), RunFileErrors.MissingKey, "labelRange");
        Refused(Telco.Replace("\"peers\"", "\"tls\": { \"certificate\": \"c.pem\" }, \"peers\"", StringComparison.Ordinal), RunFileErrors.MissingKey, "tls.key");
        Refused(Telco.Replace("http:", "https:", StringComparison.Ordinal), IdentityErrors.IdentityMissing, "peers.bank");
        Refused(Telco.Replace("http://127.0.0.1:5301", "ftp://127.0.0.1:5301", StringComparison.Ordinal), RunFileErrors.Address, "peers.bank");
        Refused(Telco.Replace("{ \"bank\"", "{ \"bnak\"", StringComparison.Ordinal), RunFileErrors.Parties, "'bank'");
        Refused(Telco.Replace(", \"peers\": { \"bank\": \"http://127.0.0.1:5301\" }", "", StringComparison.Ordinal), RunFileErrors.MissingKey, "peers");
        Refused(Telco.Replace("{ \"bank\": \"http://127.0.0.1:5301\" }", "[\"a:1\", \"b:2\"]", StringComparison.Ordinal), RunFileErrors.Address, "peers");
        Refused(Telco.Replace("\"data\": { \"path\": \"t.csv\" }, ", "", StringComparison.Ordinal), RunFileErrors.MissingKey, "parties[1].data");
        Refused(Telco.Replace("\"path\": \"t.csv\"", "\"path\": \"t.csv\", \"label\": \"y\"", StringComparison.Ordinal), RunFileErrors.Contradiction, "data.label");
    }
}
