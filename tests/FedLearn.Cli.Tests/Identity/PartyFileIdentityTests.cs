using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Tests.Identity;

/// <summary>The keys <c>tls</c> and <c>allowPlaintext</c> of party files, and what addresses mean beside them.</summary>
public sealed class PartyFileIdentityTests : IDisposable
{
    private const string Pin = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    private readonly TempFolder _folder = new();
    private readonly string _pin;

    public PartyFileIdentityTests()
    {
        _folder.Write("job.json", """
            {
              "model": { "family": "binomial" },
              "parties": [ { "name": "bank", "role": "active" }, { "name": "telco", "role": "passive" }, { "name": "railway", "role": "passive" } ],
              "alignment": "hashed"
            }
            """);
        _pin = Keys.Make(_folder.Path, "telco");
    }

    public void Dispose() => _folder.Dispose();

    private PartyFile Load(string text) => PartyFile.Load(_folder.Write("party.json", text));

    private PartyFile Telco(string tls, string peers = "[\"bank.example:5301\"]", string more = "") =>
        Load($$"""{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "peers": {{peers}}, "tls": {{tls}}{{more}} }""");

    private PartyFile Bank(string listen, string tls, string more = "") =>
        Load($$"""{ "job": "job.json", "party": "bank", "data": { "path": "b.csv", "label": "y" }, "listen": "{{listen}}", "tls": {{tls}}{{more}} }""");

    private static void Refused(Func<PartyFile> load, string id, params string[] parts)
    {
        var error = Assert.Throws<ConfigurationException>(load);
        Assert.True(error.Id == id, error.Message);
        Assert.All(parts, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
    }

    private static string Good => Keys.Tls("telco", ("bank", Pin));

    [Theory]
    [InlineData("bank.example:5301", "https://bank.example:5301/")]
    [InlineData("https://bank.example:5301", "https://bank.example:5301/")]
    [InlineData("127.0.0.1:5301", "https://127.0.0.1:5301/")]
    [InlineData("https://[::1]:443", "https://[::1]/")]
    public void Load_WithTls_ConnectsByHttps(string address, string expected)
    {
        PartyFile party = Telco(Good, $$"""{ "bank": "{{address}}" }""");
        Assert.Equal(new Uri(expected), party.ActiveParty);
        PeerLink link = Assert.Single(party.Transport.Party!.Links);
        Assert.Equal(("bank", true), (link.Peer, link.IsEncrypted));
        Assert.Equal([Pin], link.Pins);
        Assert.Empty(party.Notes);
        Assert.Empty(party.Run.Warnings);
        GrpcClientOptions client = PartyTransport.Client(party.Transport, party.ActiveParty!, "bank");
        Assert.Equal(("bank", false), (client.Peer, client.AllowPlaintext));
        Assert.Equal(_pin, CertificatePin.OfKey(client.Security!.Certificate).ToString());
    }

    [Fact]
    public void Load_HostWithTls_KnowsEveryPassiveParty()
    {
        Keys.Make(_folder.Path, "bank");
        PartyFile bank = Bank("0.0.0.0:0", Keys.Tls("bank", ("telco", Pin), ("railway", _pin), ("bank", Pin)));
        Assert.Equal(new Uri("https://0.0.0.0:0"), bank.Listen);
        Assert.Equal([("telco", Pin), ("railway", _pin)], bank.Transport.Party!.Links.Select(l => (l.Peer, l.Pins.Single())));
        GrpcHostOptions host = PartyTransport.Host(bank.Transport, bank.Listen!);
        Assert.Equal((bank.Listen, false, 3), (host.Listen, host.AllowPlaintext, host.Security!.Peers.Count));
        // A consortium's whole table may stand in every file; whom this party meets must be in it.
        Refused(() => Bank("0.0.0.0:0", Keys.Tls("bank", ("telco", Pin))), IdentityErrors.UnknownPeer, "'railway'", "\"railway\": \"sha256:...\"");
        Refused(() => Bank("0.0.0.0:0", Keys.Tls("bank", ("telco", Pin), ("railwey", Pin))), IdentityErrors.UnknownPeer, "There is a pin of 'railwey', which the job lacks: did you mean 'railway'?");
    }

    [Fact]
    public void Load_PinsOfPartiesThatTheJobLacks_DoNoHarm()
    {
        PartyFile party = Telco(Keys.Tls("telco", ("bank", Pin), ("insurer", Pin), ("bnak", Pin)));
        Assert.Empty(party.Notes);
        Assert.Equal("bank", Assert.Single(party.Transport.Party!.Links).Peer);
        // A peer whom an authority would know instead of the pin that was meant for it.
        Keys.Authority(Path.Combine(_folder.Path, "ca.pem")).Dispose();
        party = Telco($$"""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bnak": "{{Pin}}", "insurer": "{{Pin}}" }, "authorities": ["ca.pem"] }""");
        Assert.Equal("tls.peers has a pin of 'bnak', which the job lacks, and none of 'bank': did you mean that?", Assert.Single(party.Notes));
    }

    [Fact]
    public void WithIdentityOfNow_FileChanged_HasItsPinsOrRefuses()
    {
        PartyFile before = Telco(Good);
        Telco($$"""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "{{_pin}}" }, "deny": ["{{Pin}}"] }""", "[\"bank.example:9\"]", """, "timeoutSeconds": 7""");
        PartyFile now = before.WithIdentityOfNow();
        Assert.Equal([_pin], Assert.Single(now.Transport.Party!.Links).Pins);
        Assert.Equal(Pin, Assert.Single(now.Transport.Party.Security!.Denied).ToString());
        Assert.Equal((before.ActiveParty, before.Transport.Timeout), (now.ActiveParty, now.Transport.Timeout)); // identity alone
        Assert.Empty(before.Transport.Party!.Security!.Denied);

        string file = before.Path;
        void RefusedNow(string text, string id)
        {
            File.WriteAllText(file, text);
            Refused(before.WithIdentityOfNow, id);
        }

        string good = $$"""{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "peers": ["bank.example:5301"], "tls": {{Good}} }""";
        RefusedNow(good.Replace("\"bank\":", "\"railway\":", StringComparison.Ordinal), IdentityErrors.UnknownPeer);
        RefusedNow(good.Replace("sha256:00", "sha256:", StringComparison.Ordinal), IdentityErrors.NoPin);
        RefusedNow(good.Replace("\"tls\"", "\"service\"", StringComparison.Ordinal).Replace(Good, "{}", StringComparison.Ordinal), RunFileErrors.MissingKey);
        RefusedNow(good[..40], RunFileErrors.Malformed);
        File.Delete(file);
        Refused(before.WithIdentityOfNow, RunFileErrors.Unreadable);
        File.WriteAllText(file, good);
        Assert.Equal([Pin], Assert.Single(before.WithIdentityOfNow().Transport.Party!.Links).Pins);
    }

    [Fact]
    public void Load_PeersByFileOrSeveralPins_AreKnownByAny()
    {
        string pin = Keys.Make(_folder.Path, "bank", "old");
        PeerLink link = Assert.Single(Telco($$"""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": ["old.crt.pem", "{{Pin}}"] } }""").Transport.Party!.Links);
        Assert.Equal([pin, Pin], link.Pins);
    }

    [Fact]
    public void Load_Authorities_KnowPeersWithoutPins()
    {
        Keys.Authority(Path.Combine(_folder.Path, "ca.pem")).Dispose();
        PartyFile party = Telco("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "authorities": ["ca.pem"] }""");
        Assert.Empty(Assert.Single(party.Transport.Party!.Links).Pins);
        JsonObject document = PartyTransport.Document(party.Transport);
        Assert.Equal("authority", (string)document["peers"]![0]!["identifiedBy"]!);
        Assert.Equal(_pin, (string)document["pin"]!);
    }

    [Theory]
    [InlineData("""{ }""", RunFileErrors.MissingKey, "tls.certificate", "tls.key")]
    [InlineData("""{ "certificate": "telco.crt.pem" }""", RunFileErrors.MissingKey, "tls.key")]
    [InlineData("""{ "certifcate": "telco.crt.pem", "key": "telco.key.pem" }""", RunFileErrors.UnknownKey, "Did you mean 'certificate'?")]
    [InlineData("\"telco.crt.pem\"", RunFileErrors.WrongType, "tls")]
    [InlineData("""{ "certificate": "no.crt.pem", "key": "telco.key.pem", "peers": { "bank": "PIN" } }""", GrpcErrors.CertificateUnusable, "tls.certificate", "no.crt.pem: there is no such file")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "no.key.pem", "peers": { "bank": "PIN" } }""", GrpcErrors.CertificateUnusable, "tls.key", "no.key.pem: there is no such file")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "sha256:1234" } }""", IdentityErrors.NoPin, "tls.peers.bank", "64 hexadecimal digits")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" } }""", IdentityErrors.NoPin, "tls.peers.bank")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "no.pem" } }""", GrpcErrors.CertificateUnusable, "tls.peers.bank", "no.pem: there is no such file")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": 7 } }""", RunFileErrors.WrongType, "tls.peers.bank")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": ["PIN", null] } }""", RunFileErrors.WrongType, "tls.peers.bank")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "PIN", "bank": "PIN" } }""", RunFileErrors.DuplicateKey, "tls.peers.bank")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": [] } }""", IdentityErrors.UnknownPeer, "tls.peers.bank")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "railway": "PIN" } }""", IdentityErrors.UnknownPeer, "'bank'", "\"bank\": \"sha256:...\"")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem" }""", IdentityErrors.UnknownPeer, "'bank'")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "PIN" }, "deny": ["sha256:"] }""", IdentityErrors.NoPin, "tls.deny")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "PIN" }, "deny": "PIN" }""", RunFileErrors.WrongType, "tls.deny")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "PIN" }, "authorities": ["job.json"] }""", GrpcErrors.CertificateUnusable, "tls.authorities")]
    [InlineData("""{ "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "PIN" }, "revocationLists": ["job.json"] }""", GrpcErrors.RevocationListUnusable, "tls.revocationLists")]
    public void Load_FaultyTls_NamesTheKey(string tls, string id, params string[] parts) => Refused(() => Telco(tls.Replace("PIN", Pin, StringComparison.Ordinal)), id, parts);

    [Fact]
    public void Load_SeveralFaults_AreListedTogether()
    {
        const string Tls = """{ "certificate": "no.pem", "key": "telco.key.pem", "peers": { "bank": "sha256:12" }, "deny": ["sha256:34"], "revocationLists": ["no.crl"], "authority": "ca.pem" }""";
        Refused(() => Telco(Tls), RunFileErrors.UnknownKey, "tls.certificate", "tls.peers.bank", "tls.deny", "tls.revocationLists", "Did you mean 'authorities'?");
    }

    [Fact]
    public void Load_FileOfSeveralDenied_IsRefusedAndOfOneDeniesIt()
    {
        string lost = Keys.Make(_folder.Path, "lost"), other = Keys.Make(_folder.Path, "other");
        _folder.Write("both.pem", string.Concat(((string[])["lost", "other"]).Select(name => File.ReadAllText(Path.Combine(_folder.Path, $"{name}.crt.pem")) + "\n")));
        string Denying(string values) => Good[..^1] + $$""", "deny": [{{values}}] }""";
        Refused(() => Telco(Denying("\"both.pem\"")), IdentityErrors.NoPin, "tls.deny", "both.pem holds 2 certificates", "Write the pin of each");
        Assert.Equal([lost, other], Telco(Denying($"\"lost.crt.pem\", \"{other}\"")).Transport.Party!.Security!.Denied.Select(pin => pin.ToString()));
        // Of a peer, the first is meant: its authorities follow.
        Assert.Equal([lost], Telco(Keys.Tls("telco", ("bank", "both.pem"))).Transport.Party!.Security!.Peers["bank"].Select(pin => pin.ToString()));
    }

    [Fact]
    public void Load_SeveralListsInAFile_AllCount()
    {
        X509Certificate2[] authorities = [Keys.Authority(Path.Combine(_folder.Path, "ca.pem")), Keys.Authority(Path.Combine(_folder.Path, "other.pem"))];
        foreach ((int index, X509Certificate2 authority) in authorities.Index())
        {
            Keys.MakeSigned(_folder.Path, "bank", authority, $"bank{index}");
            Keys.Revoke(Path.Combine(_folder.Path, $"{index}.crl"), authority, Path.Combine(_folder.Path, $"bank{index}.crt.pem"));
        }

        _folder.Write("all.crl", string.Join('\n', ((int[])[0, 1]).Select(index => PemEncoding.WriteString("X509 CRL", File.ReadAllBytes(Path.Combine(_folder.Path, $"{index}.crl"))))));
        IReadOnlyList<RevocationList> lists = Telco(Good[..^1] + """, "revocationLists": ["all.crl", "0.crl"] }""").Transport.Party!.Security!.RevocationLists;
        Assert.Equal([1, 1, 1], lists.Select(list => list.Count));
        using X509Certificate2 second = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(_folder.Path, "bank1.crt.pem"));
        Assert.Equal([false, true, false], lists.Select(list => list.Revokes(second)));
    }

    [Fact]
    public void Load_KeyOfAnotherCertificate_IsRefused()
    {
        Keys.Make(_folder.Path, "other");
        Refused(() => Telco($$"""{ "certificate": "telco.crt.pem", "key": "other.key.pem", "peers": { "bank": "{{Pin}}" } }"""), GrpcErrors.CertificateUnusable, "tls.key");
    }

    [Fact]
    public void Load_KeyThatOthersCanRead_IsRefused()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "File modes are those of Unix.");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(Path.Combine(_folder.Path, "telco.key.pem"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead);
        Refused(() => Telco(Good), GrpcErrors.KeyExposed, "chmod 600");
    }

    /// <summary>As <c>openssl rsa -aes256 -traditional</c> writes it. It is said before the password is asked for, which would not help.</summary>
    [Fact]
    public void Load_KeyEncryptedInTheOldForm_SaysHowToConvertIt()
    {
        const string Label = "RSA PRIVATE KEY";
        _folder.Write("old.key.pem", $"-----BEGIN {Label}-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END {Label}-----\n");
        string old = $$"""{ "certificate": "telco.crt.pem", "key": "old.key.pem", "peers": { "bank": "{{Pin}}" } }""";
        Refused(() => Telco(old), IdentityErrors.Password, "tls.key", "openssl pkcs8 -topk8");
        Refused(() => Telco(old.Replace("\"peers\"", "\"passwordVariable\": \"NONE_OF_THE_TESTS\", \"peers\"", StringComparison.Ordinal)), IdentityErrors.Password, "openssl pkcs8 -topk8");
    }

    [Fact]
    public void Load_EncryptedKey_TakesItsPasswordFromTheEnvironment()
    {
        const string Variable = "FEDLEARN_TESTS_KEY_PASSWORD", Password = "correct horse";
        using (var key = ECDsa.Create())
        {
            key.ImportFromPem(File.ReadAllText(Path.Combine(_folder.Path, "telco.key.pem")));
            _folder.Write("locked.key.pem", key.ExportEncryptedPkcs8PrivateKeyPem(Password, new PbeParameters(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 1000)));
        }

        string locked = $$"""{ "certificate": "telco.crt.pem", "key": "locked.key.pem", "peers": { "bank": "{{Pin}}" } }""";
        string named = locked.Replace("\"peers\"", $"\"passwordVariable\": \"{Variable}\", \"peers\"", StringComparison.Ordinal);
        Refused(() => Telco(locked), IdentityErrors.Password, "tls.passwordVariable", "does not say where its password is");
        Refused(() => Telco(named), IdentityErrors.Password, $"no variable '{Variable}'");
        try
        {
            Environment.SetEnvironmentVariable(Variable, "wrong");
            var error = Assert.Throws<ConfigurationException>(() => Telco(named));
            Assert.Equal(IdentityErrors.Password, error.Id);
            Assert.DoesNotContain("wrong", error.Message, StringComparison.Ordinal);
            Environment.SetEnvironmentVariable(Variable, Password);
            Assert.Equal(_pin, CertificatePin.OfKey(Telco(named).Transport.Party!.Security!.Certificate).ToString());
            Assert.True(Telco(named).Transport.Party!.Security!.Certificate.HasPrivateKey);
        }
        finally
        {
            Environment.SetEnvironmentVariable(Variable, null);
        }
    }

    [Theory]
    [InlineData("0.0.0.0:5301")]
    [InlineData("http://10.0.0.7:5301")]
    [InlineData("https://0.0.0.0:5301")]
    [InlineData("https://127.0.0.1:5301")]
    public void Load_ListeningWithoutTls_IsToldHowToMakeAKey(string listen) =>
        Refused(() => Bank(listen, "null"), IdentityErrors.IdentityMissing, "listen", "fedlearn keys new --party bank", "\"telco\": \"sha256:...\"");

    [Theory]
    [InlineData("bank.example:5301")]
    [InlineData("http://192.0.2.7:5301")]
    [InlineData("https://bank.example:5301")]
    public void Load_ConnectingWithoutTls_IsToldHowToMakeAKey(string address) =>
        Refused(() => Telco("null", $$"""{ "bank": "{{address}}" }"""), IdentityErrors.IdentityMissing, "peers.bank", "fedlearn keys new --party telco", "\"bank\": \"sha256:...\"");

    [Fact]
    public void Load_HttpBesideTls_IsAContradiction() => Refused(() => Telco(Good, "[\"http://127.0.0.1:5301\"]"), RunFileErrors.Contradiction, "peers", "Write https");

    [Fact]
    public void Load_AllowPlaintext_GoesWithoutAndWarnsOfEachPeer()
    {
        PartyFile bank = Bank("0.0.0.0:5301", "null", ", \"allowPlaintext\": true");
        string[] expected = [.. ((string[])["telco", "railway"]).Select(peer => $"messages between 'bank' and '{peer}' were neither encrypted nor authenticated: allowPlaintext")];
        Assert.Equal(new Uri("http://0.0.0.0:5301"), bank.Listen);
        Assert.Equal(expected, bank.Run.Warnings);
        Assert.Equal(expected, bank.Notes);
        Assert.Empty(bank.Ignored);
        Assert.True(PartyTransport.Host(bank.Transport, bank.Listen!).AllowPlaintext);
        JsonObject document = PartyTransport.Document(bank.Transport);
        Assert.Equal(("network", false), ((string)document["reach"]!, (bool)document["encrypted"]!));
        Assert.Null(document["pin"]);

        PartyFile telco = Telco("null", "[\"192.0.2.7:5301\"]", ", \"allowPlaintext\": true");
        Assert.Equal(new Uri("http://192.0.2.7:5301"), telco.ActiveParty);
        Assert.Equal(["messages between 'telco' and 'bank' were neither encrypted nor authenticated: allowPlaintext"], telco.Run.Warnings);
        Refused(() => Telco("null", "[\"192.0.2.7:5301\"]", ", \"allowPlaintext\": \"yes\""), RunFileErrors.WrongType, "allowPlaintext");
        // With a certificate, plaintext is what somebody asked for.
        PartyFile mixed = Telco(Good, "[\"http://192.0.2.7:5301\"]", ", \"allowPlaintext\": true");
        Assert.Equal(["tls"], mixed.Ignored);
        Assert.Single(mixed.Run.Warnings);
        Assert.Null(PartyTransport.Client(mixed.Transport, mixed.ActiveParty!, "bank").Security);
        // Whose certificate nobody asks for needs no pin.
        Assert.Equal(["tls"], Telco(Keys.Tls("telco"), "[\"http://192.0.2.7:5301\"]", ", \"allowPlaintext\": true").Ignored);
    }

    private PartyFile Relayed(string relay, string tls) => Load($$"""{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "relay": {{relay}}, "tls": {{tls}} }""");

    /// <summary>A coordinator is known by pins of its own, and whoever is denied is no coordinator either.</summary>
    [Fact]
    public void Load_RelayByHttps_KnowsTheCoordinatorByItsPinsAndDeniesWhomTheFileDenies()
    {
        using X509Certificate2 authority = Keys.Authority(Path.Combine(_folder.Path, "ca.pem"));
        Keys.Revoke(Path.Combine(_folder.Path, "list.crl"), authority, Path.Combine(_folder.Path, "telco.crt.pem"));
        string denied = Good.Replace("\"peers\"", $"\"deny\": [\"{_pin}\"], \"revocationLists\": [\"list.crl\"], \"peers\"", StringComparison.Ordinal);
        PartyFile party = Relayed($$"""{ "address": "hub.example:5300", "pins": ["{{Pin}}"] }""", denied);
        GrpcSecurity security = party.Relay!.Security!;
        Assert.Equal((GrpcRelay.CoordinatorName, Pin), (Assert.Single(security.Peers).Key, Assert.Single(security.Peers.Values.Single()).ToString()));
        Assert.Equal(_pin, Assert.Single(security.Denied).ToString());
        Assert.Equal(1, Assert.Single(security.RevocationLists).Count);
        // As the file is now.
        string other = Pin.Replace("00", "11", StringComparison.Ordinal);
        _folder.Write("party.json", File.ReadAllText(party.Path).Replace($"\"pins\": [\"{Pin}\"]", $"\"pins\": [\"{other}\"]", StringComparison.Ordinal));
        Assert.Equal(other, party.WithIdentityOfNow().Relay!.Security!.Peers.Values.Single().Single().ToString());
        Refused(() => Relayed("\"hub.example:5300\"", Good), IdentityErrors.UnknownPeer, "which certificate is that of the coordinator");
    }

    /// <summary>A model or report in the place of a key would be the end of it.</summary>
    [Fact]
    public void Inputs_WithTls_HaveEveryFileOfTheIdentity()
    {
        Keys.Authority(Path.Combine(_folder.Path, "ca.pem")).Dispose();
        PartyFile party = Telco(Good.Replace("\"peers\"", "\"authorities\": [\"ca.pem\"], \"peers\"", StringComparison.Ordinal));
        Assert.All((string[])["telco.crt.pem", "telco.key.pem", "ca.pem"], file => Assert.Contains(Path.Combine(_folder.Path, file), party.Inputs));
    }

    [Fact]
    public void Load_AllowPlaintextWithoutUse_IsListed()
    {
        Assert.Equal(["allowPlaintext"], Telco("null", "[\"127.0.0.1:5301\"]", ", \"allowPlaintext\": true").Ignored);
        Assert.Equal(["allowPlaintext"], Telco(Good, more: ", \"allowPlaintext\": true").Ignored);
        Assert.Empty(Telco("null", "[\"localhost:5301\"]").Ignored);
        // Parties that encrypt for each other may call a coordinator in the clear.
        Assert.Empty(Load($$"""{ "job": "job.json", "party": "telco", "data": { "path": "t.csv" }, "relay": "http://192.0.2.1:5300", "tls": {{Good}}, "allowPlaintext": true }""").Ignored);
    }

    [Theory]
    [InlineData(100, "it expired on")]
    [InlineData(-3, "it is not valid before")]
    public void Load_OwnCertificateOutsideItsTime_IsRefused(int daysAgo, string part)
    {
        Keys.Make(_folder.Path, "telco", "aged", TimeSpan.FromDays(daysAgo));
        Refused(() => Telco(Keys.Tls("aged", ("bank", Pin))), GrpcErrors.CertificateUnusable, "tls.certificate", part);
    }

    [Fact]
    public void Load_OwnCertificateNearItsEnd_IsSaidBeforehand()
    {
        Keys.Make(_folder.Path, "telco", "aged", TimeSpan.FromDays(80));
        Assert.Contains("certificate expires on", Assert.Single(Telco(Keys.Tls("aged", ("bank", Pin))).Notes), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_RestByHttps_IsRefused() =>
        Refused(() => Bank("127.0.0.1:0", "null", ", \"serve\": { \"rest\": \"https://127.0.0.1:8080\" }"), RunFileErrors.Address, "serve.rest", "a proxy in front");
}
