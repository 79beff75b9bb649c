using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace FedLearn.Conformance.Tests;

/// <summary>Who is admitted over TLS and who is not, and what each side is told.</summary>
public sealed class TlsIdentityTests
{
    private static readonly TimeSpan Long = TimeSpan.FromDays(400);

    private static Task<GrpcFederationHost> HostAsync(GrpcSecurity security, params string[] passive) =>
        GrpcFederationHost.StartAsync(TlsPeers.Host(security), GrpcPairs.Terms(passive.Length > 0 ? passive : ["telco"]));

    private static Task<GrpcSession> JoinAsync(Uri address, GrpcSecurity security, string party = "telco", string? peer = "bank") =>
        GrpcFederationClient.JoinAsync(address, GrpcPairs.Request(party), TlsPeers.Client(security, peer)).WaitAsync(ChannelConformance.Patience);

    private static async Task<PeerException> RefusedAsync(Uri address, GrpcSecurity security, string party = "telco", string? peer = "bank") =>
        await Assert.ThrowsAsync<PeerException>(() => JoinAsync(address, security, party, peer));

    private static async Task AssertTalkAsync(GrpcFederationHost host, Func<Task<GrpcSession>> join)
    {
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        await using GrpcSession passive = await join();
        await using GrpcSession here = await active.WaitAsync(ChannelConformance.Patience);
        await passive.Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(new[] { 1.5 }), "test"));
        Assert.Equal(1.5, (await here.Channels[0].ReceiveAsync<Scores>(0, 1)).Values.Span[0]);
        Assert.Equal(passive.Bindings["bank"].ToArray(), here.Bindings[passive.Channels[0].LocalParty].ToArray());
        Assert.Equal(32, passive.Bindings["bank"].Length);
        await Task.WhenAll(passive.DisposeAsync().AsTask(), here.DisposeAsync().AsTask());
    }

    // ---- what the host refuses

    /// <summary>Bad certificates: how it is bad, the error at the side that refuses.</summary>
    public static TheoryData<string, string> Bad => new()
    {
        { "expired", GrpcErrors.PeerExpired },
        { "not yet valid", GrpcErrors.PeerExpired },
        { "unknown", GrpcErrors.PeerUnknown },
        { "denied by key", GrpcErrors.PeerRevoked },
        { "denied by certificate", GrpcErrors.PeerRevoked },
        { "on the list of its authority", GrpcErrors.PeerRevoked },
        { "on the second list of a file", GrpcErrors.PeerRevoked },
        { "from a stranger's authority", GrpcErrors.PeerUnknown },
        { "from an authority without its name", GrpcErrors.PeerUnknown },
        { "from an authority for another use", GrpcErrors.PeerUnknown },
        { "from an expired authority", GrpcErrors.PeerExpired },
        { "pinned name from an authority", GrpcErrors.PeerUnknown },
    };

    /// <summary>A bad certificate of a party, and a party that refuses it.</summary>
    private static (X509Certificate2 Certificate, GrpcSecurity Refuser) MakeBad(string how, string name, string refuser, string usage)
    {
        GrpcSecurity By(Dictionary<string, IReadOnlyList<CertificatePin>> peers, TestAuthority? authority = null, IReadOnlyCollection<CertificatePin>? denied = null, IReadOnlyList<RevocationList>? lists = null,
            TimeProvider? clock = null) => new()
            {
                Certificate = TlsPeers.Of(refuser),
                Peers = peers,
                Authorities = authority is null ? [] : [authority.Public],
                Denied = denied ?? [],
                RevocationLists = lists ?? [],
                Clock = clock ?? TimeProvider.System,
            };

        var authority = new TestAuthority();
        switch (how)
        {
            case "expired":
                X509Certificate2 old = TlsPeers.Make(name, new ShiftedClock(-Long));
                return (old, By(TlsPeers.Peer(name, old)));
            case "not yet valid":
                X509Certificate2 early = TlsPeers.Make(name, new ShiftedClock(Long));
                return (early, By(TlsPeers.Peer(name, early)));
            case "unknown":
                return (TlsPeers.Make(name, TimeProvider.System), By(TlsPeers.Peer(name, TlsPeers.Of(name))));
            case "denied by key" or "denied by certificate":
                X509Certificate2 lost = TlsPeers.Of(name);
                return (lost, By(TlsPeers.Peer(name, lost), denied: [how == "denied by key" ? CertificatePin.OfKey(lost) : CertificatePin.OfCertificate(lost)]));
            case "on the list of its authority" or "on the second list of a file":
                X509Certificate2 listed = authority.Issue(name, dns: name);
                string path = Path.GetTempFileName();
                DateTimeOffset now = TimeProvider.System.GetUtcNow();
                byte[] list = authority.Revoke(now.AddDays(-1), now.AddDays(1), listed);
                if (how == "on the list of its authority")
                    File.WriteAllBytes(path, list);
                else
                    File.WriteAllLines(path, new[] { new TestAuthority("Another Authority").Revoke(now.AddDays(-1), now.AddDays(1)), list }.Select(der => PemEncoding.WriteString("X509 CRL", der)));
                IReadOnlyList<RevocationList> lists = RevocationList.LoadAll(path);
                File.Delete(path);
                return (listed, By([], authority, lists: lists));
            case "from a stranger's authority":
                return (new TestAuthority().Issue(name, dns: name), By([], authority));
            case "from an authority without its name":
                return (authority.Issue(name, uri: "https://example.org/" + name), By([], authority));
            case "from an authority for another use":
                return (authority.Issue(name, dns: name, usage: usage), By([], authority));
            case "from an expired authority":
                var expired = new TestAuthority("Old Authority", TimeProvider.System.GetUtcNow().AddDays(-2));
                return (expired.Issue(name, dns: name, until: TimeProvider.System.GetUtcNow().AddDays(30)), By([], expired));
            default:
                return (authority.Issue(name, dns: name), By(TlsPeers.Peer(name, TlsPeers.Of(name)), authority));
        }
    }

    [Theory]
    [MemberData(nameof(Bad))]
    public async Task Host_BadClientCertificate_IsRefusedThereAndTheClientIsToldWhatToCheck(string how, string id)
    {
        (X509Certificate2 certificate, GrpcSecurity refuser) = MakeBad(how, "telco", "bank", CertificateNames.ServerUse);
        await using GrpcFederationHost host = await HostAsync(refuser);
        RefusalLog refused = host.Watch();
        // The client's own clock is wrong with the certificate, or it would not start.
        TimeProvider clock = how switch { "expired" => new ShiftedClock(-Long), "not yet valid" => new ShiftedClock(Long), _ => TimeProvider.System };
        var client = new GrpcSecurity { Certificate = certificate, Peers = TlsPeers.Peer("bank", TlsPeers.Of("bank")), Clock = new HandshakeClock(clock) };
        PeerException error = await RefusedAsync(host.Address, client);
        (string who, FedLearnException told) = await refused.NextAsync();
        Assert.True(id == told.Id, $"{how}, host: {told.Message}");
        Assert.True(error.Id == GrpcErrors.RefusedByPeer, $"{how}, client: {error.Message}");
        Assert.All((string[])["pin", "expired", "clocks", "denied or revoked"], check => Assert.Contains(check, error.Message, StringComparison.Ordinal));
        if (how is "expired" or "not yet valid" or "denied by key")
            Assert.Equal("telco", who);
        else if (how == "unknown")
            Assert.Contains(CertificatePin.OfKey(certificate).ToString(), told.Message, StringComparison.Ordinal); // what to list, if the peer confirms it
        Assert.Equal(0, refused.Count);
    }

    /// <summary>Shows another time when the certificate of this party is checked, and the system's afterwards.</summary>
    private sealed class HandshakeClock(TimeProvider first) : TimeProvider
    {
        private int _asked;

        public override DateTimeOffset GetUtcNow() => Interlocked.Increment(ref _asked) <= 2 ? first.GetUtcNow() : System.GetUtcNow();
    }

    [Theory]
    [MemberData(nameof(Bad))]
    public async Task Client_BadHostCertificate_IsRefusedThereAndTheHostIsToldWhatToCheck(string how, string id)
    {
        (X509Certificate2 certificate, GrpcSecurity refuser) = MakeBad(how, "bank", "telco", CertificateNames.ClientUse);
        TimeProvider clock = how switch { "expired" => new ShiftedClock(-Long), "not yet valid" => new ShiftedClock(Long), _ => TimeProvider.System };
        await using GrpcFederationHost host = await HostAsync(new GrpcSecurity { Certificate = certificate, Peers = TlsPeers.Peer("telco", TlsPeers.Of("telco")), Clock = new HandshakeClock(clock) });
        RefusalLog refused = host.Watch();
        PeerException error = await RefusedAsync(host.Address, refuser);
        Assert.True(id == error.Id, $"{how}, client: {error.Message}");
        (_, FedLearnException told) = await refused.NextAsync();
        Assert.True(told.Id == GrpcErrors.RefusedByPeer, $"{how}, host: {told.Message}");
        Assert.Contains("denied or revoked", told.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Host_AnotherPartysCertificate_IsRefusedByNameAtBothSides()
    {
        await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("bank", "telco", "clinic"), "telco", "clinic");
        RefusalLog refused = host.Watch();
        PeerException error = await RefusedAsync(host.Address, TlsPeers.Security("clinic", "bank"), "telco");
        Assert.Equal(GrpcErrors.PeerWrongName, error.Id);
        (string who, FedLearnException told) = await refused.NextAsync();
        Assert.Equal(("telco", GrpcErrors.PeerWrongName), (who, told.Id));
        Assert.Contains("'clinic'", told.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Client_HostIsAnotherOfItsPeers_IsRefusedByName()
    {
        await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("clinic", "telco"));
        RefusalLog refused = host.Watch();
        PeerException error = await RefusedAsync(host.Address, TlsPeers.Security("telco", "bank", "clinic"));
        Assert.Equal(GrpcErrors.PeerWrongName, error.Id);
        Assert.Equal(GrpcErrors.RefusedByPeer, (await refused.NextAsync()).Error.Id);
        // The right certificate, for a session of which somebody else is said to be the host.
        PeerException other = await Assert.ThrowsAsync<PeerException>(async () =>
        {
            Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
            await JoinAsync(host.Address, TlsPeers.Security("telco", "clinic"), peer: "clinic");
        });
        Assert.Equal(GrpcErrors.PeerWrongName, other.Id);
    }

    [Fact]
    public async Task Host_NoClientCertificate_IsRefused()
    {
        await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("bank", "telco"));
        RefusalLog refused = host.Watch();
        using var tcp = new TcpClient();
        await tcp.ConnectAsync(IPAddress.Loopback, host.Address.Port);
        await using var tls = new SslStream(tcp.GetStream());
        Exception? failure = await Record.ExceptionAsync(async () =>
        {
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "bank", ApplicationProtocols = [SslApplicationProtocol.Http2], RemoteCertificateValidationCallback = TlsPeers.Anybody })
                .WaitAsync(ChannelConformance.Patience);
            if (await tls.ReadAsync(new byte[100]).AsTask().WaitAsync(ChannelConformance.Patience) == 0)
                throw new EndOfStreamException();
        });
        Assert.True(failure is IOException or AuthenticationException, failure?.ToString());
        Assert.Equal(GrpcErrors.PeerWithoutCertificate, (await refused.NextAsync()).Error.Id);
    }

    /// <summary>Whoever resumes a session shows no certificate: nobody would look at it, at lists and at clocks again. The platform's client resumes none with a certificate; OpenSSL's does.</summary>
    [Theory]
    [InlineData("-tls1_2")]
    [InlineData("-tls1_3")]
    public async Task Host_SessionOfAnEarlierConnection_IsNotResumed(string version)
    {
        string folder = Directory.CreateTempSubdirectory("resume-").FullName, own = Path.Combine(folder, "telco.pem"), session = Path.Combine(folder, "session.pem");
        try
        {
            X509Certificate2 telco = TlsPeers.Of("telco");
            File.WriteAllText(own, $"{telco.ExportCertificatePem()}\n{telco.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem()}\n");
            await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("bank", "telco"));
            string address = host.Address.Authority;
            Assert.Contains("New, TLS", await OpenSslAsync("s_client", version, "-alpn", "h2", "-connect", address, "-cert", own, "-sess_out", session), StringComparison.Ordinal);
            // A host that keeps no sessions gives none away either.
            if (File.Exists(session))
                Assert.Contains("New, TLS", await OpenSslAsync("s_client", version, "-alpn", "h2", "-connect", address, "-cert", own, "-sess_in", session), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>What openssl says on a connection on which nothing is sent until the host has said something.</summary>
    private static async Task<string> OpenSslAsync(params string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo("openssl", arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
            Task<string> faults = process.StandardError.ReadToEndAsync();
            var said = new StringBuilder();
            // Tickets of TLS 1.3 come after the handshake, before the settings of HTTP/2, which are no text.
            while (await process.StandardOutput.ReadLineAsync().WaitAsync(ChannelConformance.Patience) is { } line)
            {
                said.AppendLine(line);
                if (line.StartsWith("Verify return code", StringComparison.Ordinal) || line.Contains("Extended master secret", StringComparison.Ordinal))
                    process.StandardInput.Close();
            }

            await process.WaitForExitAsync().WaitAsync(ChannelConformance.Patience);
            return said.ToString() + await faults;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Skip("openssl is not installed.");
            throw;
        }
    }

    [Fact]
    public async Task Host_TcpConnectionThatSaysNothing_IsNoRefusal()
    {
        await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("bank", "telco"));
        RefusalLog refused = host.Watch();
        using (var tcp = new TcpClient())
            await tcp.ConnectAsync(IPAddress.Loopback, host.Address.Port);
        await AssertTalkAsync(host, () => JoinAsync(host.Address, TlsPeers.Security("telco", "bank")));
        Assert.Equal(0, refused.Count);
    }

    // ---- what is admitted

    [Fact]
    public async Task Join_BothPinned_TalkAndAgreeOnTheBinding()
    {
        await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("bank", "telco"));
        Assert.Equal("https", host.Address.Scheme);
        await AssertTalkAsync(host, () => JoinAsync(host.Address, TlsPeers.Security("telco", "bank"), peer: null)); // the only peer with pins
        Assert.Equal(GrpcHealth.Serving, await GrpcHealthClient.CheckAsync(host.Address, options: TlsPeers.Client(TlsPeers.Security("telco", "bank"))));
        Assert.Equal(GrpcErrors.PeerUnknown, (await Assert.ThrowsAsync<PeerException>(() => GrpcHealthClient.CheckAsync(host.Address, options: TlsPeers.Client(TlsPeers.Security("telco", "clinic"))))).Id);
    }

    [Fact]
    public async Task Join_OneOfTwoPins_Suffices()
    {
        X509Certificate2 next = TlsPeers.Make("telco", TimeProvider.System);
        var bank = new GrpcSecurity
        {
            Certificate = TlsPeers.Of("bank"),
            Peers = new Dictionary<string, IReadOnlyList<CertificatePin>> { ["telco"] = [CertificatePin.OfKey(TlsPeers.Of("telco")), CertificatePin.OfCertificate(next)] },
        };
        foreach (X509Certificate2 certificate in new[] { TlsPeers.Of("telco"), next })
        {
            await using GrpcFederationHost host = await HostAsync(bank);
            await AssertTalkAsync(host, () => JoinAsync(host.Address, new GrpcSecurity { Certificate = certificate, Peers = TlsPeers.Peer("bank", TlsPeers.Of("bank")) }));
        }
    }

    [Theory]
    [InlineData("telco", null, null)]                       // no alternative names: the common name
    [InlineData("somebody", "telco", null)]
    [InlineData("somebody", null, "fedlearn:telco")]
    [InlineData("somebody", "other.example", "fedlearn:t%65lco")]
    public async Task Join_AuthorityVouches_UnderTheNameInTheCertificate(string commonName, string? dns, string? uri)
    {
        var authority = new TestAuthority();
        GrpcSecurity Of(X509Certificate2 own) => new() { Certificate = own, Authorities = [authority.Public] };
        await using GrpcFederationHost host = await HostAsync(Of(authority.Issue("bank", dns: "bank", usage: CertificateNames.ServerUse)));
        await AssertTalkAsync(host, () => JoinAsync(host.Address, Of(authority.Issue(commonName, dns, uri, CertificateNames.ClientUse))));
    }

    [Fact]
    public async Task Join_LaterThanTheHandshake_ExpiryIsCheckedAgain()
    {
        var clock = new ShiftedClock(TimeSpan.Zero);
        GrpcSecurity bank = new() { Certificate = TlsPeers.Of("bank"), Peers = TlsPeers.Peer("telco", TlsPeers.Of("telco")), Clock = clock };
        await using GrpcFederationHost host = await HostAsync(bank);
        RefusalLog refused = host.Watch();
        using ClientConnection connection = await ClientConnection.OpenAsync(host.Address, TlsPeers.Client(TlsPeers.Security("telco", "bank")), default);
        async Task<Transport.Grpc.Wire.JoinReply> JoinOnItAsync()
        {
            Transport.Grpc.Wire.JoinRequest request = SessionCodec.Encode(GrpcPairs.Request("telco") with { JobName = "another" });
            request.ClientNonce = Google.Protobuf.ByteString.CopyFrom(SessionBinding.Nonce());
            return await connection.UnaryAsync(Methods.Join, request, Transport.Grpc.Wire.JoinReply.Parser, 1000, ChannelConformance.Patience, default);
        }

        Assert.Equal(ProtocolErrors.DifferentJob, (await Assert.ThrowsAsync<PeerException>(JoinOnItAsync)).Id);
        clock.Shift = TimeSpan.FromDays(91);
        Assert.Equal(GrpcErrors.PeerExpired, (await Assert.ThrowsAsync<PeerException>(JoinOnItAsync)).Id);
        Assert.Equal(ProtocolErrors.DifferentJob, (await refused.NextAsync()).Error.Id);
        Assert.Equal(GrpcErrors.PeerExpired, (await refused.NextAsync()).Error.Id);
    }

    [Fact]
    public async Task Host_ListGoesOutOfDateWhileItRuns_ItsAuthoritysPeersAreRefused()
    {
        var authority = new TestAuthority();
        var clock = new ShiftedClock(TimeSpan.Zero);
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        string path = Path.GetTempFileName();
        await File.WriteAllBytesAsync(path, authority.Revoke(now.AddDays(-1), now.AddDays(1)), TestContext.Current.CancellationToken);
        GrpcSecurity bank = new() { Certificate = TlsPeers.Of("bank"), Authorities = [authority.Public], RevocationLists = [RevocationList.Load(path)], Clock = clock };
        File.Delete(path);
        await using GrpcFederationHost host = await HostAsync(bank);
        RefusalLog refused = host.Watch();
        clock.Shift = TimeSpan.FromDays(2);
        GrpcSecurity telco = new() { Certificate = authority.Issue("telco", dns: "telco"), Peers = TlsPeers.Peer("bank", TlsPeers.Of("bank")) };
        Assert.Equal(GrpcErrors.RefusedByPeer, (await RefusedAsync(host.Address, telco)).Id);
        Assert.Equal(GrpcErrors.PeerNotCheckable, (await refused.NextAsync()).Error.Id);
        // A peer that is pinned is none of that authority's.
        GrpcSecurity pinned = new() { Certificate = bank.Certificate, Authorities = bank.Authorities, RevocationLists = bank.RevocationLists, Clock = clock, Peers = TlsPeers.Peer("telco", TlsPeers.Of("telco")) };
        Assert.Equal("telco", PeerVerifier.Examine(pinned, TlsPeers.Of("telco"), null, CertificateNames.ClientUse, "here").Name);
    }

    [Theory]
    [InlineData("sent", null)]
    [InlineData("not sent", GrpcErrors.PeerUnknown)]
    [InlineData("denied", GrpcErrors.PeerRevoked)]
    [InlineData("revoked", GrpcErrors.PeerRevoked)]
    public async Task Join_AuthorityBetween_VouchesUnlessItIsMissingOrRefusedItself(string between, string? id)
    {
        TestAuthority root = new(), department = root.Delegate("Department");
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        string path = Path.GetTempFileName();
        await File.WriteAllBytesAsync(path, between == "revoked" ? root.Revoke(now.AddDays(-1), now.AddDays(1), department.Certificate) : root.Revoke(now.AddDays(-1), now.AddDays(1)), TestContext.Current.CancellationToken);
        GrpcSecurity bank = new()
        {
            Certificate = TlsPeers.Of("bank"),
            Authorities = [root.Public],
            Denied = between == "denied" ? [CertificatePin.OfCertificate(department.Certificate)] : [],
            RevocationLists = [RevocationList.Load(path)],
        };
        File.Delete(path);
        GrpcSecurity telco = new() { Certificate = department.Issue("telco", dns: "telco"), Intermediates = between == "not sent" ? [] : [department.Public], Peers = TlsPeers.Peer("bank", TlsPeers.Of("bank")) };
        await using GrpcFederationHost host = await HostAsync(bank);
        if (id is null)
        {
            await AssertTalkAsync(host, () => JoinAsync(host.Address, telco));
            return;
        }

        RefusalLog refused = host.Watch();
        await RefusedAsync(host.Address, telco);
        Assert.Equal(id, (await refused.NextAsync()).Error.Id);
    }

    // ---- one side without TLS

    [Fact]
    public async Task Join_TlsOnOneSideOnly_IsAnErrorThere()
    {
        await using GrpcFederationHost plain = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        PeerException error = await RefusedAsync(new Uri($"https://127.0.0.1:{plain.Address.Port}"), TlsPeers.Security("telco", "bank"));
        Assert.Contains(error.Id, new[] { GrpcErrors.NotTls, GrpcErrors.RefusedByPeer }); // an HTTP/2 server may close instead of answering
        await using GrpcFederationHost encrypted = await HostAsync(TlsPeers.Security("bank", "telco"));
        error = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(new Uri($"http://127.0.0.1:{encrypted.Address.Port}"), GrpcPairs.Request("telco")));
        Assert.Contains(error.Id, new[] { GrpcErrors.NotGrpc, ProtocolErrors.PeerGone });
    }

    [Theory]
    [InlineData("in text")]
    [InlineData("of TLS 1.1 only")]
    public async Task Join_ServerThatAnswersOtherwise_IsNotTls(string server)
    {
        // The second answers the alert protocol_version.
        byte[] answer = server == "in text" ? "SSH-2.0-OpenSSH_9.2p1 Debian, which is certainly no TLS record\r\n"u8.ToArray() : [21, 3, 1, 0, 2, 2, 70];
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        Task serving = Task.Run(async () =>
        {
            using TcpClient client = await listener.AcceptTcpClientAsync();
            byte[] hello = new byte[4096];
            Assert.True(await client.GetStream().ReadAsync(hello) > 0);
            await client.GetStream().WriteAsync(answer);
            try
            {
                while (await client.GetStream().ReadAsync(hello) > 0) { }
            }
            catch (IOException)
            {
                // the client reset the connection
            }
        });
        PeerException error = await RefusedAsync(new Uri($"https://{listener.LocalEndpoint}"), TlsPeers.Security("telco", "bank"));
        Assert.Equal(GrpcErrors.NotTls, error.Id);
        await serving.WaitAsync(ChannelConformance.Patience);
    }

    [Fact]
    public async Task Join_ServerThatNeverAnswersTheHandshake_EndsInTime()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var clock = new ManualClock();
        // The manual clock stands in 1970, when no certificate was valid; certificates have their own.
        Task<GrpcSession> joining = GrpcFederationClient.JoinAsync(new Uri($"https://{listener.LocalEndpoint}"), GrpcPairs.Request("telco"),
            new GrpcClientOptions { Security = TlsPeers.Security("telco", "bank"), JoinTimeout = TimeSpan.FromSeconds(20), Channel = new ChannelOptions { Clock = clock } });
        using TcpClient silent = await listener.AcceptTcpClientAsync(TestContext.Current.CancellationToken);
        Assert.True(await silent.GetStream().ReadAsync(new byte[4096], TestContext.Current.CancellationToken) > 0);
        await clock.WaitForTimerAsync(TimeSpan.FromSeconds(22));
        clock.Advance(TimeSpan.FromSeconds(22));
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => joining.WaitAsync(ChannelConformance.Patience));
        Assert.Equal(ProtocolErrors.TimedOut, error.Id);
        Assert.StartsWith("waited 22 s ", error.Cause, StringComparison.Ordinal);
        // The connection ends too, at once and so by a reset: the platform gives up a handshake only later, and politely.
        using var limit = new CancellationTokenSource(ChannelConformance.Patience);
        await Assert.ThrowsAsync<IOException>(async () =>
        {
            while (await silent.GetStream().ReadAsync(new byte[4096], limit.Token) > 0) { }
        });
    }

    // ---- the platform's TLS, either version, on the other end

    [Theory]
    [InlineData(SslProtocols.Tls12)]
    [InlineData(SslProtocols.Tls13)]
    public async Task Join_ServerThatRefusesTheClient_IsTheOneErrorInBothVersions(SslProtocols version)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        Task<Exception?> serving = Task.Run(async () => await Record.ExceptionAsync(async () =>
        {
            using TcpClient client = await listener.AcceptTcpClientAsync();
            await using var tls = new SslStream(client.GetStream());
            await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
            {
                ServerCertificate = TlsPeers.Of("bank"),
                ClientCertificateRequired = true,
                EnabledSslProtocols = version,
                ApplicationProtocols = [SslApplicationProtocol.Http2],
                RemoteCertificateValidationCallback = (_, _, _, _) => false,
            });
        }));
        PeerException error = await RefusedAsync(new Uri($"https://{listener.LocalEndpoint}"), TlsPeers.Security("telco", "bank"));
        Assert.True(error.Id == GrpcErrors.RefusedByPeer, error.ToString());
        Assert.IsType<AuthenticationException>(await serving.WaitAsync(ChannelConformance.Patience));
    }

    [Theory]
    [InlineData(SslProtocols.Tls12, true)]
    [InlineData(SslProtocols.Tls13, true)]
    [InlineData(SslProtocols.Tls12, false)]
    [InlineData(SslProtocols.Tls13, false)]
    public async Task Host_ClientThatRefusesItOrIsRefused_IsToldOfOnceInBothVersions(SslProtocols version, bool byClient)
    {
        await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("bank", "telco"));
        RefusalLog refused = host.Watch();
        using (var tcp = new TcpClient())
        {
            await tcp.ConnectAsync(IPAddress.Loopback, host.Address.Port);
            await using var tls = new SslStream(tcp.GetStream());
            await Record.ExceptionAsync(async () =>
            {
                await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
                {
                    TargetHost = "bank",
                    ClientCertificates = [TlsPeers.Of(byClient ? "telco" : "mallory")],
                    EnabledSslProtocols = version,
                    ApplicationProtocols = [SslApplicationProtocol.Http2],
                    RemoteCertificateValidationCallback = (_, _, _, _) => !byClient,
                }).WaitAsync(ChannelConformance.Patience);
                await tls.ReadAsync(new byte[100]).AsTask().WaitAsync(ChannelConformance.Patience);
            });
        }

        Assert.Equal(byClient ? GrpcErrors.RefusedByPeer : GrpcErrors.PeerUnknown, (await refused.NextAsync()).Error.Id);
        await AssertTalkAsync(host, () => JoinAsync(host.Address, TlsPeers.Security("telco", "bank")));
        Assert.Equal(0, refused.Count);
    }

    [Theory]
    [InlineData(SslProtocols.Tls12)]
    [InlineData(SslProtocols.Tls13)]
    public async Task Host_ClientOfEitherVersion_IsAdmitted(SslProtocols version)
    {
        await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("bank", "telco"));
        using var tcp = new TcpClient();
        await tcp.ConnectAsync(IPAddress.Loopback, host.Address.Port);
        await using var tls = new SslStream(tcp.GetStream());
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "bank",
            ClientCertificates = [TlsPeers.Of("telco")],
            EnabledSslProtocols = version,
            ApplicationProtocols = [SslApplicationProtocol.Http2],
            RemoteCertificateValidationCallback = (_, certificate, _, _) => CertificatePin.OfKey(TlsPeers.Of("bank")).Matches((X509Certificate2)certificate!),
        }).WaitAsync(ChannelConformance.Patience);
        Assert.Equal(version, tls.SslProtocol);
        await tls.WriteAsync("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x4\0\0\0\0\0"u8.ToArray());
        Assert.True(await tls.ReadAsync(new byte[100]).AsTask().WaitAsync(ChannelConformance.Patience) > 0); // its settings: it speaks HTTP/2 with us
    }

    // ---- the binding

    [Fact]
    public async Task Join_ProxyThatBothSidesPinnedByMistake_IsCaughtByTheBinding()
    {
        // Each side lists the proxy's certificate as the other's.
        X509Certificate2 mallory = TlsPeers.Of("mallory");
        var bank = new GrpcSecurity { Certificate = TlsPeers.Of("bank"), Peers = TlsPeers.Peer("telco", mallory) };
        var telco = new GrpcSecurity { Certificate = TlsPeers.Of("telco"), Peers = TlsPeers.Peer("bank", mallory) };
        await using GrpcFederationHost host = await HostAsync(bank);
        await using var proxy = new TlsProxy(mallory, host.Address.Port);
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        PeerException error = await RefusedAsync(proxy.Address, telco);
        Assert.Equal(GrpcErrors.BindingMismatch, error.Id);
        Assert.True(proxy.Forwarded > 0); // both handshakes went through: nothing but the binding tells
        Assert.False(active.IsCompleted);
    }

    [Theory]
    [InlineData("its own", null)]
    [InlineData("another", GrpcErrors.BindingMismatch)]
    [InlineData("none", GrpcErrors.BindingMismatch)]
    [InlineData("of a nonce cut short", GrpcErrors.BindingMismatch)]
    [InlineData("of a zero nonce cut short", GrpcErrors.BindingMismatch)]
    public async Task Join_HostThatAnswersABinding_IsLeftUnlessItIsTheRightOne(string binding, string? id)
    {
        int exchanges = 0;
        (WebApplication app, Uri address) = await RawPeer.ServeAsync(async context =>
        {
            context.Response.ContentType = "application/grpc";
            if (context.Request.Path != Methods.Join)
            {
                Interlocked.Increment(ref exchanges);
                context.Response.Headers["grpc-status"] = "5";
                context.Response.Headers["fedlearn-error-id"] = GrpcErrors.WrongSession;
                return;
            }

            (Transport.Grpc.Wire.JoinRequest asked, _) = (await Framing.ReadAsync(context.Request.BodyReader, Transport.Grpc.Wire.JoinRequest.Parser, 1000, default))!.Value;
            Transport.Grpc.Wire.JoinReply reply = RawPeer.Reply();
            byte[] nonce = binding == "of a zero nonce cut short" ? new byte[SessionBinding.Bytes] : SessionBinding.Nonce();
            byte[] right = SessionBinding.Of(CertificatePin.KeyHash(context.Connection.ClientCertificate!), CertificatePin.KeyHash(TlsPeers.Of("bank")), reply.JobDigest.Span, reply.SessionId, asked.ClientNonce.Span, nonce);
            reply.ServerNonce = Google.Protobuf.ByteString.CopyFrom(binding.EndsWith("short", StringComparison.Ordinal) ? nonce[..^1] : nonce);
            reply.Binding = Google.Protobuf.ByteString.CopyFrom(binding switch { "another" => SessionBinding.Nonce(), "none" => [], "of a zero nonce cut short" => new byte[SessionBinding.Bytes], _ => right });
            await context.Response.BodyWriter.WriteAsync(RawPeer.Frame(reply));
            context.Response.AppendTrailer("grpc-status", "0");
        }, TlsPeers.Of("bank"));
        await using (app)
        {
            PeerException error = await RefusedAsync(new Uri($"https://127.0.0.1:{address.Port}"), TlsPeers.Security("telco", "bank"));
            Assert.True((id ?? GrpcErrors.WrongSession) == error.Id, error.ToString());
            Assert.Equal(id is null ? 1 : 0, exchanges);
        }
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("00")]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000")]
    [InlineData("zz00000000000000000000000000000000000000000000000000000000000000")]
    public async Task Exchange_AnotherBindingOrAnothersConnection_IsRefusedAndTheRightOneStillOpens(string? binding)
    {
        await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("bank", "telco", "clinic"));
        RefusalLog refused = host.Watch();
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        using ClientConnection connection = await ClientConnection.OpenAsync(host.Address, TlsPeers.Client(TlsPeers.Security("telco", "bank")), default);
        Transport.Grpc.Wire.JoinRequest request = SessionCodec.Encode(GrpcPairs.Request("telco"));
        request.ClientNonce = Google.Protobuf.ByteString.CopyFrom(SessionBinding.Nonce());
        Transport.Grpc.Wire.JoinReply reply = await connection.UnaryAsync(Methods.Join, request, Transport.Grpc.Wire.JoinReply.Parser, 1000, ChannelConformance.Patience, default);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() =>
            connection.ExchangeAsync(Methods.Exchange, reply.SessionId, "telco", ChannelConformance.Patience, TimeSpan.FromSeconds(1), default, binding));
        Assert.Equal(GrpcErrors.BindingMismatch, error.Id);
        Assert.Equal(GrpcErrors.BindingMismatch, (await refused.NextAsync()).Error.Id);
        using ClientConnection stranger = await ClientConnection.OpenAsync(host.Address, TlsPeers.Client(TlsPeers.Security("clinic", "bank")), default);
        Assert.Equal(GrpcErrors.PeerWrongName, (await Assert.ThrowsAsync<PeerException>(() => stranger.ExchangeAsync(Methods.Exchange, reply.SessionId, "telco", ChannelConformance.Patience, TimeSpan.FromSeconds(1), default,
            Convert.ToHexString(reply.Binding.Span)))).Id);
        ClientExchange call = await connection.ExchangeAsync(Methods.Exchange, reply.SessionId, "telco", ChannelConformance.Patience, TimeSpan.FromMilliseconds(100), default,
            Convert.ToHexString(reply.Binding.Span));
        GrpcSession here = await active.WaitAsync(ChannelConformance.Patience);
        await Task.WhenAll(here.DisposeAsync().AsTask(), call.EndAsync(Status.Ok).AsTask());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(31)]
    public async Task Join_NonceAbsentOrShort_IsMalformed(int length)
    {
        await using GrpcFederationHost host = await HostAsync(TlsPeers.Security("bank", "telco"));
        using ClientConnection connection = await ClientConnection.OpenAsync(host.Address, TlsPeers.Client(TlsPeers.Security("telco", "bank")), default);
        Transport.Grpc.Wire.JoinRequest request = SessionCodec.Encode(GrpcPairs.Request("telco"));
        request.ClientNonce = Google.Protobuf.ByteString.CopyFrom(new byte[length]);
        Assert.Equal(ProtocolErrors.Malformed, (await Assert.ThrowsAsync<PeerException>(() =>
            connection.UnaryAsync(Methods.Join, request, Transport.Grpc.Wire.JoinReply.Parser, 1000, ChannelConformance.Patience, default))).Id);
    }

    // ---- pairs

    [Fact]
    public async Task Rejoin_OverTls_ServesAgainAndARefusalIsTriedAgain()
    {
        GrpcRejoinOptions Options(GrpcSecurity security) => new() { Client = TlsPeers.Client(security), FirstPause = TimeSpan.FromMilliseconds(5), LongestPause = TimeSpan.FromMilliseconds(50) };
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(TlsPeers.Host(TlsPeers.Security("bank", "telco")), [new GrpcPair(GrpcPairs.Terms("telco"), GrpcPairs.OwnRequest)],
            async (session, stop) => await session.Channels[0].ReceiveAsync<Scores>(0, 1, stop));
        RefusalLog refused = host.Watch();
        using var stop = new CancellationTokenSource();
        var served = new SemaphoreSlim(0);
        Task client = GrpcRejoiningClient.RunAsync(host.Address, GrpcPairs.Request("telco"), async (session, cancel) =>
        {
            Assert.Single(session.Bindings);
            await session.Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(new[] { 1.0 }), "test"), cancel);
            served.Release();
        }, Options(TlsPeers.Security("telco", "bank")), cancellationToken: stop.Token);
        for (int time = 0; time < 3; time++)
            Assert.True(await served.WaitAsync(ChannelConformance.Patience));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.WaitAsync(ChannelConformance.Patience));

        using var stopStranger = new CancellationTokenSource();
        int refusals = 0;
        Task stranger = GrpcRejoiningClient.RunAsync(host.Address, GrpcPairs.Request("telco"), (_, _) => Task.CompletedTask, Options(new GrpcSecurity
        {
            Certificate = TlsPeers.Make("telco", TimeProvider.System),
            Peers = TlsPeers.Peer("bank", TlsPeers.Of("bank")),
        }), (loss, _) =>
        {
            if (loss?.Id == GrpcErrors.RefusedByPeer && ++refusals == 3)
                stopStranger.Cancel();
        }, stopStranger.Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => stranger.WaitAsync(ChannelConformance.Patience));
        // The first client's later sessions may have been refused too, for being early.
        while ((await refused.NextAsync()).Error.Id != GrpcErrors.PeerUnknown) { }
    }
}

/// <summary>A proxy that ends TLS on both sides with one certificate and passes the plaintext on unchanged.</summary>
internal sealed class TlsProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly X509Certificate2 _certificate;
    private readonly int _port;
    private readonly Task _running;
    private long _forwarded;

    public TlsProxy(X509Certificate2 certificate, int port)
    {
        (_certificate, _port) = (certificate, port);
        _listener.Start();
        Address = new Uri($"https://{_listener.LocalEndpoint}");
        _running = RunAsync();
    }

    public Uri Address { get; }

    public long Forwarded => Interlocked.Read(ref _forwarded);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.WaitAsync(ChannelConformance.Patience);
        _listener.Dispose();
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        try
        {
            using TcpClient client = await _listener.AcceptTcpClientAsync(_stop.Token), server = new();
            await server.ConnectAsync(IPAddress.Loopback, _port, _stop.Token);
            await using var near = new SslStream(client.GetStream());
            await using var far = new SslStream(server.GetStream());
            await near.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
            {
                ServerCertificate = _certificate,
                ClientCertificateRequired = true,
                ApplicationProtocols = [SslApplicationProtocol.Http2],
                RemoteCertificateValidationCallback = TlsPeers.Anybody,
            }, _stop.Token);
            await far.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
            {
                TargetHost = "bank",
                ClientCertificates = [_certificate],
                ApplicationProtocols = [SslApplicationProtocol.Http2],
                RemoteCertificateValidationCallback = TlsPeers.Anybody,
            }, _stop.Token);
            await Task.WhenAny(PumpAsync(near, far), PumpAsync(far, near));
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or AuthenticationException)
        {
            // one of the two sides is gone
        }
    }

    private async Task PumpAsync(SslStream from, SslStream to)
    {
        byte[] buffer = new byte[16 << 10];
        while (await from.ReadAsync(buffer, _stop.Token) is > 0 and var read)
        {
            Interlocked.Add(ref _forwarded, read);
            await to.WriteAsync(buffer.AsMemory(0, read), _stop.Token);
        }
    }
}
