using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.HomomorphicEncryption.Paillier;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Cli.Tests.Recommend;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Tests.Identity;

/// <summary>Sessions over mutual TLS, as people start them.</summary>
public sealed class TlsSessionTests : IDisposable
{
    private readonly Scene _scene = new();
    private readonly int _port = Scene.FreePort();

    public void Dispose() => _scene.Dispose();

    private string Bank(string tls, string host = "127.0.0.1", string more = "") =>
        _scene.Write("bank.party.json", $$"""{ "job": "job.json", "party": "bank", "listen": "{{host}}:{{_port}}", "tls": {{tls}}, "timeoutSeconds": 100, "connectTimeoutSeconds": 100{{more}} }""");

    private string Telco(string tls, string host = "127.0.0.1", string name = "telco.party.json", string more = "") =>
        _scene.Write(name, $$"""{ "job": "job.json", "party": "telco", "peers": { "bank": "{{host}}:{{_port}}" }, "tls": {{tls}}, "timeoutSeconds": 100, "connectTimeoutSeconds": 100{{more}} }""");

    private (string Bank, string Telco) Pinned(string host = "127.0.0.1")
    {
        string bank = Keys.Make(_scene.Folder, "bank"), telco = Keys.Make(_scene.Folder, "telco");
        return (Bank(Keys.Tls("bank", ("telco", telco)), host), Telco(Keys.Tls("telco", ("bank", bank)), host));
    }

    private static JsonObject Document(ToolRun run)
    {
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    private static JsonNode Transport(JsonObject report) => report["parties"]![0]!["transport"]!;

    private void AssertNoSecret(params ToolRun[] runs) => Keys.AssertNoneIn(_scene.Folder, [.. runs.SelectMany(r => (string[])[r.Output, r.Error]),
        .. Directory.GetFiles(_scene.Folder, "*", SearchOption.AllDirectories).Where(f => !f.EndsWith(".key.pem", StringComparison.Ordinal)).Select(File.ReadAllText)]);

    [Fact]
    public async Task Party_TwoProcesses_TrainOverTlsAndSaySo()
    {
        string job = _scene.Job(("preprocessing.scaling", "none"));
        (string bankFile, string telcoFile) = Pinned();
        ToolProcess Start(string party, string file) =>
            ToolProcess.Start("party", "--config", file, "--model", _scene.At(party), "--json", "--report", _scene.At(party + ".json"), "--html", _scene.At(party + ".html"));
        using ToolProcess bank = Start("bank", bankFile), telco = Start("telco", telcoFile);
        ToolRun[] runs = [await bank.EndAsync(), await telco.EndAsync()];
        JsonObject[] reports = [.. runs.Select(Document)];
        Assert.Contains($"listening on https://127.0.0.1:{_port}", runs[0].Error, StringComparison.Ordinal);
        string[] pins = [.. reports.Select(r => (string)Transport(r)["pin"]!)];
        foreach ((JsonObject report, string peer, string pin) in ((JsonObject, string, string)[])[(reports[0], "telco", pins[1]), (reports[1], "bank", pins[0])])
        {
            JsonNode transport = Transport(report);
            Assert.Equal(("loopback", true), ((string)transport["reach"]!, (bool)transport["encrypted"]!));
            JsonNode known = Assert.Single(transport["peers"]!.AsArray())!;
            Assert.Equal((peer, true, "pin", pin), ((string)known["name"]!, (bool)known["encrypted"]!, (string)known["identifiedBy"]!, (string)Assert.Single(known["pins"]!.AsArray())!));
            Assert.Empty(report["warnings"]!.AsArray());
        }

        Assert.Contains($"{pins[1][..23]}", File.ReadAllText(_scene.At("bank.html")), StringComparison.Ordinal);
        Assert.Contains(">TLS<", File.ReadAllText(_scene.At("telco.html")), StringComparison.Ordinal);
        // The same model as without a network.
        JsonObject memory = Document(await ToolRun.Of("train", "--config", job, "--json"));
        Assert.Equal(memory["parties"]!.AsArray().Select(p => (string)p!["model"]!["weightsSha256"]!), reports.Select(r => (string)r["parties"]![0]!["model"]!["weightsSha256"]!));
        Assert.All(memory["parties"]!.AsArray(), p => Assert.Equal("memory", (string)p!["transport"]!["reach"]!));
        AssertNoSecret(runs);

        // Prediction goes the same way.
        Task<ToolRun> scoring = ToolRun.Of("party", "--config", bankFile, "--model", _scene.At("bank"), "--predict", _scene.At("scores.csv"), "--json");
        ToolRun other = await ToolRun.Of("party", "--config", telcoFile, "--model", _scene.At("telco"), "--predict", "unused", "--json");
        Assert.True((bool)Document(await scoring)["transport"]!["encrypted"]!);
        Assert.True((bool)Document(other)["transport"]!["encrypted"]!);
        Assert.Equal(Scene.Common + 1, File.ReadAllLines(_scene.At("scores.csv")).Length);
    }

    /// <summary>One host, and one after the other that it must not let in; it goes on waiting for the right one.</summary>
    [Fact]
    public async Task Party_CertificatesThatAreNoGood_AreRefusedAndTheRightOneTrains()
    {
        _scene.Job();
        string folder = _scene.Folder, bank = Keys.Make(folder, "bank", ago: TimeSpan.FromDays(200), days: 400), telco = Keys.Make(folder, "telco"),
            expired = Keys.Make(folder, "telco", "expired", TimeSpan.FromDays(100)), denied = Keys.Make(folder, "telco", "denied");
        Keys.Make(folder, "telco", "stranger");
        string tls = $$"""{ "certificate": "bank.crt.pem", "key": "bank.key.pem", "peers": { "telco": ["{{telco}}", "{{expired}}", "{{denied}}"], "bank": "{{bank}}" }, "deny": ["denied.crt.pem"] }""";
        using ToolProcess host = ToolProcess.Start("party", "--config", Bank(tls), "--json");
        await host.SaysAsync("listening on");
        var refused = new List<ToolRun>();
        async Task RefusedAsync(string file, string id, string theirs)
        {
            ToolRun run = await ToolRun.Of("party", "--config", Telco(Keys.Tls(file, ("bank", bank)), name: "refused.party.json"), "--json");
            Assert.True((run.ExitCode, run.Output) == (4, ""), $"{file}: {run.Error}");
            Assert.Contains($"({theirs})", run.Error, StringComparison.Ordinal);
            // What happened is said where it was decided, and where to look at the other side.
            await host.SaysAsync($"({id})");
            if (theirs == GrpcErrors.RefusedByPeer)
                Assert.Contains("pin", run.Error, StringComparison.Ordinal);
            refused.Add(run);
        }

        await RefusedAsync("stranger", GrpcErrors.PeerUnknown, GrpcErrors.RefusedByPeer);
        await RefusedAsync("denied", GrpcErrors.PeerRevoked, GrpcErrors.RefusedByPeer);
        // A certificate that is somebody's, but not the one's as whom it joins.
        await RefusedAsync("bank", GrpcErrors.PeerWrongName, GrpcErrors.PeerWrongName);
        // Its own tool would not start with an expired certificate: a party whose clock is late does.
        var security = new GrpcSecurity
        {
            Certificate = GrpcSecurity.LoadCertificate(_scene.At("expired.crt.pem"), _scene.At("expired.key.pem")),
            Peers = new Dictionary<string, IReadOnlyList<CertificatePin>> { ["bank"] = [CertificatePin.TryParse(bank, out CertificatePin pin) ? pin : default] },
            Clock = new Keys.Earlier(TimeSpan.FromDays(50)),
        };
        GlmRunFile job = RunFile.Load(_scene.At("job.json")).As<GlmRunFile>("train");
        JoinRequest request = GlmTasks.Trainer(new SessionOrder(job, GrpcRelay.Train), job, job.Party("telco"), TestContext.Current.CancellationToken).JoinRequest;
        var late = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(new Uri($"https://127.0.0.1:{_port}"), request, new GrpcClientOptions { Security = security, Peer = "bank" },
            TestContext.Current.CancellationToken));
        Assert.Equal(GrpcErrors.RefusedByPeer, late.Id);
        await host.SaysAsync($"({GrpcErrors.PeerExpired})");
        // No certificate at all: the host ends the connection without a byte, as a forwarder of ports does with nobody behind it, so that the party waits.
        ToolRun plain = await ToolRun.Of("party", "--config", Telco("null", name: "refused.party.json", more: ", \"resumeSeconds\": 1"), "--json");
        Assert.Equal(4, plain.ExitCode);
        Assert.Contains("whether it listens with https", plain.Error, StringComparison.Ordinal);
        // Before it waits it says what may be wrong.
        Assert.Contains($"no session with party 'bank' at http://127.0.0.1:{_port}: the connection ended without an answer: it may listen with https", plain.Error, StringComparison.Ordinal);

        ToolRun run = await ToolRun.Of("party", "--config", Telco(Keys.Tls("telco", ("bank", bank))), "--json");
        ToolRun bankRun = await host.EndAsync();
        Document(run);
        Document(bankRun);
        AssertNoSecret([bankRun, run, plain, .. refused]);
    }

    [Fact]
    public async Task Party_HostWithAnotherCertificate_IsRefusedByTheOneThatConnects()
    {
        _scene.Job();
        string telco = Keys.Make(_scene.Folder, "telco");
        string shown = Keys.Make(_scene.Folder, "bank"), expected = Keys.Make(_scene.Folder, "bank", "expected");
        using ToolProcess host = ToolProcess.Start("party", "--config", Bank(Keys.Tls("bank", ("telco", telco))));
        await host.SaysAsync("listening on");
        ToolRun run = await ToolRun.Of("party", "--config", Telco(Keys.Tls("telco", ("bank", expected))));
        Assert.True(run.ExitCode == 4, run.Error);
        Assert.Contains($"({GrpcErrors.PeerUnknown})", run.Error, StringComparison.Ordinal);
        Assert.Contains(shown, run.Error, StringComparison.Ordinal); // to be read to the other side on the telephone
        await host.SaysAsync($"({GrpcErrors.RefusedByPeer})");
    }

    [Fact]
    public async Task Party_PlainHost_IsRefusedByTheOneThatEncrypts()
    {
        _scene.Job();
        string telco = Keys.Make(_scene.Folder, "telco");
        using ToolProcess host = ToolProcess.Start("party", "--config", Bank("null"));
        await host.SaysAsync("listening on http://");
        ToolRun run = await ToolRun.Of("party", "--config", Telco(Keys.Tls("telco", ("bank", telco))));
        Assert.True(run.ExitCode == 4, run.Error);
        Assert.Contains($"({GrpcErrors.NotTls})", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Party_Authority_VouchesForNamesThatItHasNotRevoked()
    {
        _scene.Job();
        using X509Certificate2 authority = Keys.Authority(_scene.At("ca.pem"));
        foreach (string party in (string[])["bank", "telco", "railway"])
            Keys.MakeSigned(_scene.Folder, party, authority);
        Keys.MakeSigned(_scene.Folder, "telco", authority, "lost");
        Keys.Revoke(_scene.At("ca.crl"), authority, _scene.At("lost.crt.pem"));
        string Tls(string party, string more = "") => $$"""{ "certificate": "{{party}}.crt.pem", "key": "{{party}}.key.pem", "authorities": ["ca.pem"]{{more}} }""";
        using ToolProcess host = ToolProcess.Start("party", "--config", Bank(Tls("bank", ", \"revocationLists\": [\"ca.crl\"]")), "--json");
        await host.SaysAsync("listening on");
        ToolRun wrong = await ToolRun.Of("party", "--config", Telco(Tls("railway"), name: "refused.party.json"));
        Assert.True(wrong.ExitCode == 4, wrong.Error);
        await host.SaysAsync($"({GrpcErrors.PeerWrongName})");
        ToolRun revoked = await ToolRun.Of("party", "--config", Telco(Tls("lost"), name: "refused.party.json"));
        Assert.Equal((4, true), (revoked.ExitCode, revoked.Error.Contains($"({GrpcErrors.RefusedByPeer})", StringComparison.Ordinal)));
        await host.SaysAsync($"({GrpcErrors.PeerRevoked})");
        Document(await ToolRun.Of("party", "--config", Telco(Tls("telco")), "--json"));
        JsonNode known = Assert.Single(Transport(Document(await host.EndAsync()))["peers"]!.AsArray())!;
        Assert.Equal(("telco", "authority", 0), ((string)known["name"]!, (string)known["identifiedBy"]!, known["pins"]!.AsArray().Count));
    }

    [Theory]
    [InlineData("party")]
    [InlineData("align")]
    [InlineData("serve")]
    public async Task Listen_BeyondThisMachineWithoutTls_IsRefused(string verb)
    {
        _scene.Job();
        string[] more = verb == "serve" ? ["--model", _scene.At("models")] : [];
        ToolRun run = await ToolRun.Of([verb, "--config", Bank("null", "0.0.0.0"), .. more]);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({IdentityErrors.IdentityMissing})", run.Error, StringComparison.Ordinal);
        Assert.Contains("fedlearn keys new --party bank", run.Error, StringComparison.Ordinal);
        Assert.Empty(_scene.Results);
    }

    [Fact]
    public async Task Party_AllowPlaintext_IsRepeatedByReportAndTerminal()
    {
        _scene.Job();
        const string Allowed = ", \"allowPlaintext\": true", Warning = "messages between 'bank' and 'telco' were neither encrypted nor authenticated: allowPlaintext";
        Task<ToolRun> hosting = ToolRun.Of("party", "--config", Bank("null", "0.0.0.0", Allowed), "--json", "--html", _scene.At("bank.html"));
        ToolRun telco = await ToolRun.Of("party", "--config", Telco("null", OwnAddress().ToString(), more: Allowed), "--json");
        ToolRun bank = await hosting;
        JsonObject report = Document(bank);
        Assert.Equal([Warning], report["warnings"]!.AsArray().Select(w => (string)w!));
        Assert.Contains($"warning: {Warning}", bank.Error, StringComparison.Ordinal);
        Assert.Equal(("network", false), ((string)Transport(report)["reach"]!, (bool)Transport(report)["encrypted"]!));
        string page = File.ReadAllText(_scene.At("bank.html"));
        Assert.Contains("neither encrypted nor authenticated", page, StringComparison.Ordinal);
        Assert.Contains("in the clear", page, StringComparison.Ordinal);
        if (!IPAddress.IsLoopback(OwnAddress()))
            Assert.Equal(["messages between 'telco' and 'bank' were neither encrypted nor authenticated: allowPlaintext"], Document(telco)["warnings"]!.AsArray().Select(w => (string)w!));
    }

    [Fact]
    public async Task Party_BeyondLoopback_TrainsOverTls()
    {
        Assert.SkipWhen(IPAddress.IsLoopback(OwnAddress()), "This machine has no other address than loopback.");
        _scene.Job();
        (string bankFile, string telcoFile) = Pinned(OwnAddress().ToString());
        Task<ToolRun> hosting = ToolRun.Of("party", "--config", bankFile, "--json");
        ToolRun telco = await ToolRun.Of("party", "--config", telcoFile, "--json");
        foreach (JsonObject report in (JsonObject[])[Document(await hosting), Document(telco)])
        {
            Assert.Equal(("network", true), ((string)Transport(report)["reach"]!, (bool)Transport(report)["encrypted"]!));
            Assert.Empty(report["warnings"]!.AsArray());
        }
    }

    [Fact]
    public async Task Align_OverTls_FindsTheCommonRows()
    {
        Sodium.Require();
        _scene.Job(("alignment", "psi"));
        (string bankFile, string telcoFile) = Pinned();
        Task<ToolRun> hosting = ToolRun.Of("align", "--config", bankFile, "--json");
        ToolRun telco = await ToolRun.Of("align", "--config", telcoFile, "--json");
        foreach (JsonObject document in (JsonObject[])[Document(await hosting), Document(telco)])
        {
            Assert.Equal(Scene.Common, (int)document["alignment"]!["commonRows"]!);
            Assert.True((bool)Transport(document)["encrypted"]!);
        }
    }

    [Fact]
    public async Task Arbiter_OverTls_IsKnownByItsOwnPin()
    {
        try
        {
            _ = new PaillierScheme().Engine;
        }
        catch (InternalFailureException e) when (e.Id == HeErrors.GmpMissing)
        {
            Assert.Skip(e.Message);
        }

        _scene.Job(Scene.Sgd(("training.batchesPerEpoch", 1), ("preprocessing.scaling", "none"), ("privacy.mode", "he"), ("privacy.he.scheme", "paillier")));
        string folder = _scene.Folder, bank = Keys.Make(folder, "bank"), telco = Keys.Make(folder, "telco"), arbiter = Keys.Make(folder, "arbiter");
        int port = Scene.FreePort();
        string Tls(string party) => Keys.Tls(party, ("bank", bank), ("telco", telco), ("arbiter", arbiter));
        string bankFile = Bank(Tls("bank"), more: $", \"peers\": {{ \"arbiter\": \"127.0.0.1:{port}\" }}");
        string telcoFile = _scene.Write("telco.party.json", $$"""{ "job": "job.json", "party": "telco", "peers": { "bank": "127.0.0.1:{{_port}}", "arbiter": "127.0.0.1:{{port}}" }, "tls": {{Tls("telco")}} }""");
        string arbiterFile = _scene.Write("arbiter.party.json", $$"""{ "job": "job.json", "party": "arbiter", "listen": "127.0.0.1:{{port}}", "tls": {{Tls("arbiter")}} }""");
        Task<ToolRun>[] running = [ToolRun.Of("party", "--config", bankFile, "--json"), ToolRun.Of("party", "--config", telcoFile, "--json"), ToolRun.Of("party", "--config", arbiterFile, "--json")];
        JsonObject[] documents = [.. (await Task.WhenAll(running)).Select(Document)];
        Assert.Equal(["telco", "arbiter"], Transport(documents[0])["peers"]!.AsArray().Select(p => (string)p!["name"]!));
        Assert.Equal(["bank", "arbiter"], Transport(documents[1])["peers"]!.AsArray().Select(p => (string)p!["name"]!));
        Assert.Equal([arbiter, arbiter], documents.Take(2).Select(d => (string)Transport(d)["peers"]![1]!["pins"]![0]!));
        Assert.True((bool)documents[2]["arbiter"]!["transport"]!["encrypted"]!);
    }

    [Fact]
    public async Task Recommendation_OverTls_Trains()
    {
        using var scene = new RecommendScene();
        scene.Job();
        Dictionary<string, string> pins = ((string[])["service", "profile", "taste"]).ToDictionary(p => p, p => Keys.Make(scene.Folder, p));
        string File(string party, string where) => scene.Write($"{party}.party.json", $$"""{ "job": "job.json", "party": "{{party}}", {{where}}, "tls": {{Keys.Tls(party, [.. pins.Select(p => (p.Key, p.Value))])}} }""");
        string peers = $"\"peers\": {{ \"service\": \"https://127.0.0.1:{_port}\" }}";
        Task<ToolRun>[] running = [.. ((string[])[File("service", $"\"listen\": \"127.0.0.1:{_port}\""), File("profile", peers), File("taste", peers)]).Select(file => RecommendScene.RunAsync("party", "--config", file, "--json"))];
        JsonObject[] reports = [.. (await Task.WhenAll(running)).Select(Document)];
        Assert.All(reports, r => Assert.True((bool)Transport(r)["encrypted"]!));
        Assert.Equal(["profile", "taste"], Transport(reports[0])["peers"]!.AsArray().Select(p => (string)p!["name"]!));
    }

    /// <summary>An IPv4 address of this machine that is not loopback; loopback where it has none.</summary>
    private static IPAddress OwnAddress() => NetworkInterface.GetAllNetworkInterfaces().Where(n => n.OperationalStatus == OperationalStatus.Up)
        .SelectMany(n => n.GetIPProperties().UnicastAddresses).Select(a => a.Address)
        .FirstOrDefault(a => a.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(a), IPAddress.Loopback);
}
