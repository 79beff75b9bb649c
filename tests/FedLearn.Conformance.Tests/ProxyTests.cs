using System.Net;
using System.Net.Sockets;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Testing;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Conformance.Tests;

/// <summary>Parties that reach out by an HTTP proxy only. The names that they call can be looked up nowhere.</summary>
public sealed class ProxyTests
{
    private const string User = "svc-fedlearn", Password = "pä:ss word";

    private static readonly Uri Bank = new("http://bank.invalid:5301");
    private static readonly SessionTerms Terms = GrpcPairs.Terms("telco");

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static GrpcClientOptions Through(Uri proxy, TimeSpan? connect = null) =>
        new() { AllowPlaintext = true, Peer = "bank", ConnectTimeout = connect ?? ChannelConformance.Patience, Proxy = new GrpcProxy { Address = proxy, Credential = new NetworkCredential(User, Password) } };

    private static Task<GrpcSession> JoinAsync(GrpcClientOptions options) => GrpcFederationClient.JoinAsync(Bank, GrpcPairs.Request("telco"), options, Stop);

    private static async Task<PeerException> RefusalAsync(GrpcClientOptions options)
    {
        PeerException refusal = await Assert.ThrowsAsync<PeerException>(() => JoinAsync(options).WaitAsync(ChannelConformance.Patience));
        Assert.DoesNotContain(User, refusal.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("pä:ss", refusal.ToString(), StringComparison.Ordinal);
        return refusal;
    }

    public static TheoryData<string> Checks => [.. ChannelConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public Task ProxiedTlsChannel_EveryCheck_Passes(string check) => ChannelConformance.All[check](async options =>
    {
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(TlsPeers.Host(TlsPeers.Security("bank", "telco"), options), Terms);
        var proxy = new ScriptedProxy(host.Address, ScriptedProxy.Yes);
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        GrpcSession passive = await GrpcFederationClient.JoinAsync(new Uri("https://bank.invalid:5301"), GrpcPairs.Request("telco"),
            TlsPeers.Client(TlsPeers.Security("telco", "bank"), channel: options) with { Proxy = new GrpcProxy { Address = proxy.Address } });
        return new ChannelPair((await active).Channels[0], passive.Channels[0], async () =>
        {
            await host.DisposeAsync();
            await proxy.DisposeAsync();
        });
    });

    [Fact]
    public async Task Join_ProxyKnowsTheUser_AsksOnceByNameAndMeetsThePinnedParty()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(TlsPeers.Host(TlsPeers.Security("bank", "telco")), Terms, Stop);
        await using var proxy = new ScriptedProxy(host.Address, ScriptedProxy.Yes);
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        GrpcClientOptions options = Through(proxy.Address) with { Security = TlsPeers.Security("telco", "bank") };
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(new Uri("https://bank.invalid"), GrpcPairs.Request("telco"), options, Stop);
        await using GrpcSession active = await joining;
        Assert.Equal(active.Agreement.SessionId, passive.Agreement.SessionId);
        string basic = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{User}:{Password}"));
        Assert.Equal([$"CONNECT bank.invalid:443 HTTP/1.1\r\nHost: bank.invalid:443\r\nProxy-Authorization: Basic {basic}\r\n\r\n"], proxy.Heads);
    }

    [Fact]
    public async Task Join_AnImpostorBehindTheProxy_IsRefusedAndTheProxyIsNamed()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(TlsPeers.Host(TlsPeers.Security("stranger", "telco")), Terms, Stop);
        await using var proxy = new ScriptedProxy(host.Address, ScriptedProxy.Yes);
        PeerException refusal = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(new Uri("https://bank.invalid:5301"), GrpcPairs.Request("telco"),
            Through(proxy.Address) with { Security = TlsPeers.Security("telco", "bank") }, Stop));
        Assert.Equal(GrpcErrors.PeerUnknown, refusal.Id);
        Assert.Contains($"through proxy {proxy.Address.GetLeftPart(UriPartial.Authority)}", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\nproxy-authenticate: Basic realm=\"secret realm\"\r\n\r\n", GrpcErrors.ProxyWantsCredentials, "it takes Basic, NTLM")]
    [InlineData("HTTP/1.1 403 Forbidden\r\n\r\n<html>", GrpcErrors.ProxyRefuses, "refuses to connect to bank.invalid:5301 (status 403)")]
    [InlineData("HTTP/1.0 405 Method Not Allowed\r\n\r\n", GrpcErrors.ProxyRefuses, "status 405")]
    [InlineData("HTTP/1.1 501 Not Implemented\r\n\r\n", GrpcErrors.ProxyRefuses, "status 501")]
    [InlineData("HTTP/1.1 302 Found\r\n\r\n", GrpcErrors.ProxyRefuses, "status 302")]
    [InlineData("SSH-2.0-OpenSSH_9.2\r\n", GrpcErrors.NotAProxy, "HTTP")]
    [InlineData("HTTP/1.1 yes\r\n\r\n", GrpcErrors.NotAProxy, "HTTP")]
    [InlineData("\u0015\u0003\u0003\u0000\u0002\u0002\u0046", GrpcErrors.NotAProxy, "HTTP")]
    public async Task Join_ProxyRefuses_IsToldAtOnce(string answer, string id, string said)
    {
        await using var proxy = new ScriptedProxy(null, answer);
        PeerException refusal = await RefusalAsync(Through(proxy.Address));
        Assert.Equal((id, 1), (refusal.Id, proxy.Heads.Length));
        Assert.Contains(said, refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("realm", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Join_AnswerOfTheProxyHasNoEnd_IsRefused()
    {
        await using var proxy = new ScriptedProxy(null, "HTTP/1.1 200 OK\r\n" + new string('x', 1 << 20));
        Assert.Equal(GrpcErrors.NotAProxy, (await RefusalAsync(Through(proxy.Address))).Id);
    }

    [Theory]
    [InlineData("HTTP/1.1 503 Service Unavailable\r\n\r\n")]
    [InlineData("HTTP/1.1 500 Unable to connect\r\n\r\n")]
    [InlineData("")]
    public async Task Join_HostOrProxyIsNotThereYet_IsTriedAgain(string answer)
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), Terms, Stop);
        await using var proxy = new ScriptedProxy(host.Address, answer, answer, ScriptedProxy.Yes);
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        await using GrpcSession passive = await JoinAsync(Through(proxy.Address));
        await using GrpcSession active = await joining;
        Assert.Equal(3, proxy.Heads.Length);
    }

    [Theory]
    [InlineData("HTTP/1.1 502 Bad Gateway\r\n\r\n", GrpcErrors.ProxyCannotReach, "answered with status 502")]
    [InlineData("", GrpcErrors.ProxyClosed, "closed")]
    public async Task Join_ProxyLeadsNowhere_IsToldWhenTheTimeIsUp(string answer, string id, string said)
    {
        await using var proxy = new ScriptedProxy(null, answer);
        PeerException refusal = await RefusalAsync(Through(proxy.Address, TimeSpan.FromMilliseconds(200)));
        Assert.Equal(id, refusal.Id);
        Assert.Contains(said, refusal.Message, StringComparison.Ordinal);
        Assert.Contains("tried for 0.2 s", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Join_ProxyDoesNotAnswer_IsToldWhenTheTimeIsUp()
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        PeerException refusal = await RefusalAsync(Through(new Uri($"http://{silent.LocalEndpoint}"), TimeSpan.FromMilliseconds(200)));
        Assert.Equal(GrpcErrors.ProxyCannotReach, refusal.Id);
        Assert.Contains("gave no answer", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Join_NobodyAtTheProxysAddress_IsToldWhenTheTimeIsUp()
    {
        PeerException refusal = await RefusalAsync(Through(new Uri($"http://127.0.0.1:{FreePorts.Next()}"), TimeSpan.FromMilliseconds(200)));
        Assert.Equal(GrpcErrors.ProxyUnreachable, refusal.Id);
        Assert.Contains("ConnectionRefused", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Join_Cancelled_EndsAsCancelled()
    {
        await using var proxy = new ScriptedProxy(null, "HTTP/1.1 503 Service Unavailable\r\n\r\n");
        using var stop = new CancellationTokenSource();
        Task<GrpcSession> joining = GrpcFederationClient.JoinAsync(Bank, GrpcPairs.Request("telco"), Through(proxy.Address), stop.Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => joining.WaitAsync(ChannelConformance.Patience));
    }

    [Fact]
    public async Task Join_AddressOnThisMachine_IsCalledWithoutTheProxy()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), Terms, Stop);
        await using var proxy = new ScriptedProxy(null, "");
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"), Through(proxy.Address), Stop);
        await using GrpcSession active = await joining;
        Assert.Empty(proxy.Heads);
    }

    [Fact]
    public async Task Relay_BothPartiesHaveAProxy_TheyMeet()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        await using var proxy = new ScriptedProxy(relay.Address, ScriptedProxy.Yes);
        GrpcRelay way = Relays.Through(new Uri("http://coordinator.invalid:5300"), Terms, "bank");
        var options = new GrpcHostOptions { Relay = way, AllowPlaintext = true, Proxy = new GrpcProxy { Address = proxy.Address } };
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(options, Terms, Stop);
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        await using GrpcSession passive = await JoinAsync(Through(proxy.Address) with { Relay = way with { Party = "telco" } });
        await using GrpcSession active = await joining;
        Assert.Equal(active.Agreement.SessionId, passive.Agreement.SessionId);
        Assert.All(proxy.Heads, head => Assert.StartsWith("CONNECT coordinator.invalid:5300 ", head, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Relay_ProxyDoesNotReachTheCoordinator_BothSidesSaySo()
    {
        await using var proxy = new ScriptedProxy(null, "HTTP/1.1 503 Service Unavailable\r\n\r\n");
        GrpcRelay way = Relays.Through(new Uri("http://coordinator.invalid:5300"), Terms, "telco");
        Assert.Equal(GrpcErrors.ProxyCannotReach, (await RefusalAsync(Through(proxy.Address, TimeSpan.FromMilliseconds(200)) with { Relay = way })).Id);
        var options = new GrpcHostOptions { Relay = way with { Party = "bank" }, AllowPlaintext = true, JoinTimeout = TimeSpan.FromMilliseconds(200), Proxy = new GrpcProxy { Address = proxy.Address } };
        Assert.Equal(GrpcErrors.ProxyCannotReach, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationHost.StartAsync(options, Terms, Stop))).Id);
    }

    // The other side may speak first, in the packet of the proxy's answer.
    [Fact]
    public async Task Connect_OtherSideSpeaksFirst_NothingIsLost()
    {
        await using var proxy = new ScriptedProxy(null, ScriptedProxy.Yes + "hello");
        await using NetworkStream stream = await ProxyDialer.ConnectAsync(new GrpcProxy { Address = proxy.Address }, new Uri("https://[2001:db8::1]:5301"), "bank", Stop);
        byte[] said = new byte[5];
        await stream.ReadExactlyAsync(said, Stop);
        Assert.Equal("hello"u8.ToArray(), said);
        Assert.Equal(["CONNECT [2001:db8::1]:5301 HTTP/1.1\r\nHost: [2001:db8::1]:5301\r\n\r\n"], proxy.Heads);
    }

    [Theory]
    [InlineData("https://127.0.0.1:3128", "u")]
    [InlineData("http://u:p@127.0.0.1:3128", "u")]
    [InlineData("http://127.0.0.1:3128/path", "u")]
    [InlineData("http://127.0.0.1:3128", "u:v")]
    public async Task Join_ProxyThatNobodyCanAsk_IsRefused(string address, string user) => await Assert.ThrowsAsync<ArgumentException>(() =>
        JoinAsync(new GrpcClientOptions { AllowPlaintext = true, Proxy = new GrpcProxy { Address = new Uri(address), Credential = new NetworkCredential(user, "p") } }));

    [Theory]
    [InlineData("http://bank.invalid:5301", "http://u:p@proxy:3128", true)]
    [InlineData("http://bank.invalid:5301", "", false)]
    [InlineData("http://bank.invalid:5301", null, false)]
    [InlineData("http://127.0.0.1:5301", "http://proxy:3128", false)]
    public void ProxyHint_VariableOfTheEnvironmentIsSet_SaysThatItDoesNotCount(string address, string? variable, bool told)
    {
        string hint = TcpDialer.ProxyHint(new Uri(address), variable);
        Assert.Equal(told, hint.Contains("HTTPS_PROXY is set here and does not count", StringComparison.Ordinal));
        Assert.DoesNotContain("u:p", hint, StringComparison.Ordinal);
    }
}
