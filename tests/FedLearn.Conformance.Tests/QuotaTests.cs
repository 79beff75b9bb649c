using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging.Abstractions;

namespace FedLearn.Conformance.Tests;

/// <summary>What one peer may take of a host. The hostile peer calls from another address of this machine than the honest one, 127.0.0.2.</summary>
public sealed class QuotaTests
{
    private const string Exhausted = "8", Refused = "9", Ok = "0";

    private static readonly CancellationToken Token = TestContext.Current.CancellationToken;
    private static readonly byte[] Stranger = RawPeer.Frame(SessionCodec.Encode(GrpcPairs.Request("railway")));

    private static Released<Scores> Some => Disclosure.Unprotected(new Scores(new double[3]), "test");

    private static Task<GrpcFederationHost> HostAsync(GrpcQuotas quotas, TimeProvider? clock = null) =>
        GrpcFederationHost.StartAsync(new GrpcHostOptions { Quotas = quotas, Channel = new ChannelOptions { Clock = clock ?? TimeProvider.System } }, GrpcPairs.Terms("telco"), Token);

    private static HttpClient Hostile() => new(new SocketsHttpHandler
    {
        UseProxy = false,
        ConnectCallback = async (context, stop) =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 0));
            await socket.ConnectAsync(IPAddress.Loopback, context.DnsEndPoint.Port, stop);
            return new NetworkStream(socket, ownsSocket: true);
        },
    });

    private static async Task<HttpResponseMessage> SendAsync(HttpClient http, Uri address, string path, byte[] body, HttpCompletionOption until = HttpCompletionOption.ResponseContentRead)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(address, path)) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact, Content = new ByteArrayContent(body) };
        request.Content.Headers.TryAddWithoutValidation("content-type", "application/grpc");
        return await http.SendAsync(request, until, Token).WaitAsync(ChannelConformance.Patience, Token);
    }

    private static async Task<(string? Status, string? ErrorId)> CallAsync(HttpClient http, Uri address, string path, byte[] body)
    {
        using HttpResponseMessage response = await SendAsync(http, address, path, body);
        string? Value(string name) => response.TrailingHeaders.TryGetValues(name, out IEnumerable<string>? values) || response.Headers.TryGetValues(name, out values) ? values.Single() : null;
        return (Value("grpc-status"), Value("fedlearn-error-id"));
    }

    private static Task<(string? Status, string? ErrorId)> HealthAsync(HttpClient http, Uri address) => CallAsync(http, address, Methods.HealthCheck, RawPeer.Frame());

    /// <summary>A well-behaved party joins and exchanges messages.</summary>
    private static async Task CompletesSessionAsync(GrpcFederationHost host)
    {
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest, Token);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"), cancellationToken: Token);
        await using GrpcSession session = await active;
        await passive.Channels[0].SendAsync(0, Some, Token);
        Assert.Equal(3, (await session.Channels[0].ReceiveAsync<Scores>(0, 3, Token)).Length);
        await Task.WhenAll(passive.Channels[0].CompleteAsync(Token).AsTask(), session.Channels[0].CompleteAsync(Token).AsTask());
    }

    [Fact]
    public async Task Join_HostilePeerInALoop_IsRefusedWhileTheHonestOneGoesThrough()
    {
        const int quota = 20;
        await using GrpcFederationHost host = await HostAsync(new GrpcQuotas { JoinsPerMinute = quota });
        using HttpClient hostile = Hostile();
        using var stop = new CancellationTokenSource();
        var beyond = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var answers = new List<(string?, string?)>();
        Task loop = Task.Run(async () =>
        {
            for (int i = 0; !stop.IsCancellationRequested; i++)
            {
                answers.Add(await CallAsync(hostile, host.Address, Methods.Join, Stranger));
                if (i >= 2 * quota)
                    beyond.TrySetResult();
            }
        }, Token);
        await beyond.Task.WaitAsync(ChannelConformance.Patience, Token);
        await CompletesSessionAsync(host); // with the loop going on
        await stop.CancelAsync();
        await loop.WaitAsync(ChannelConformance.Patience, Token);
        Assert.Equal(Enumerable.Repeat<(string?, string?)>((Refused, ProtocolErrors.UnknownParty), quota), answers.Take(quota));
        Assert.Contains((Exhausted, GrpcErrors.QuotaExceeded), answers);
        Assert.All(answers, a => Assert.Contains(a, new (string?, string?)[] { (Refused, ProtocolErrors.UnknownParty), (Exhausted, GrpcErrors.QuotaExceeded) }));
    }

    [Fact]
    public async Task Join_QuotaUsedUp_ComesBackWithTime()
    {
        var clock = new ManualClock();
        await using GrpcFederationHost host = await HostAsync(new GrpcQuotas { JoinsPerMinute = 3 }, clock);
        using HttpClient peer = Hostile();
        for (int minute = 0; minute < 3; minute++)
        {
            for (int i = 0; i < 3; i++)
                Assert.Equal((Refused, ProtocolErrors.UnknownParty), await CallAsync(peer, host.Address, Methods.Join, Stranger));
            Assert.Equal((Exhausted, GrpcErrors.QuotaExceeded), await CallAsync(peer, host.Address, Methods.Join, Stranger));
            clock.Advance(TimeSpan.FromMinutes(1));
        }

        clock.Advance(TimeSpan.FromHours(1)); // unused joins do not pile up
        for (int i = 0; i < 3; i++)
            Assert.Equal((Refused, ProtocolErrors.UnknownParty), await CallAsync(peer, host.Address, Methods.Join, Stranger));
        Assert.Equal((Exhausted, GrpcErrors.QuotaExceeded), await CallAsync(peer, host.Address, Methods.Join, Stranger));
    }

    [Fact]
    public async Task Connections_BeyondTheQuota_AreToldOrClosedAndTheHonestPeerGoesThrough()
    {
        const int quota = 4, spare = 16, tried = 60;
        await using GrpcFederationHost host = await HostAsync(new GrpcQuotas { Connections = quota });
        HttpClient[] hostile = [.. Enumerable.Range(0, quota).Select(_ => Hostile())];
        foreach (HttpClient http in hostile)
            Assert.Equal((Ok, null), await HealthAsync(http, host.Address)); // its connection stays open
        using (HttpClient oneMore = Hostile())
            Assert.Equal((Exhausted, GrpcErrors.QuotaExceeded), await HealthAsync(oneMore, host.Address));

        // Of idle connections, as many stay as are spare; the others are closed.
        Socket[] idle = [.. Enumerable.Range(0, tried).Select(_ => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp))];
        foreach (Socket socket in idle)
        {
            socket.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 0));
            try
            {
                await socket.ConnectAsync(IPAddress.Loopback, host.Address.Port, Token);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
            {
                // closed before this side knew that it was open
            }
        }

        Task[] closed = [.. idle.Select(EndedAsync)];
        await NumberAsync(closed, tried - spare).WaitAsync(ChannelConformance.Patience, Token);
        await CompletesSessionAsync(host);
        Assert.Equal((Ok, null), await HealthAsync(hostile[0], host.Address)); // what was within the quota is unharmed
        foreach (IDisposable open in idle.AsEnumerable<IDisposable>().Concat(hostile))
            open.Dispose();

        static async Task EndedAsync(Socket socket)
        {
            byte[] buffer = new byte[1000];
            try
            {
                while (await socket.ReceiveAsync(buffer, SocketFlags.None) > 0) { } // the server's settings frame comes first
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // reset: closed as well
            }
        }

        static async Task NumberAsync(Task[] tasks, int number)
        {
            var open = tasks.ToList();
            while (tasks.Length - open.Count < number)
                open.Remove(await Task.WhenAny(open));
        }
    }

    [Fact]
    public async Task Coordinator_BeyondItsQuotas_RefusesThatPeerAlone()
    {
        var options = new GrpcHostOptions { Quotas = new GrpcQuotas { Connections = 4, Streams = 2 } };
        await using GrpcRelayServer relay = await GrpcRelayServer.StartAsync(options, [Relays.Job(GrpcPairs.Terms("telco"))], cancellationToken: Token);
        HttpClient[] hostile = [.. Enumerable.Range(0, 4).Select(_ => Hostile())];
        foreach (HttpClient http in hostile)
            Assert.Equal((Ok, null), await HealthAsync(http, relay.Address)); // its connection stays open
        using (HttpClient oneMore = Hostile())
            Assert.Equal((Exhausted, GrpcErrors.QuotaExceeded), await HealthAsync(oneMore, relay.Address));
        HttpResponseMessage[] watches = [.. await Task.WhenAll(hostile.Take(2).Select(http => SendAsync(http, relay.Address, Methods.HealthWatch, RawPeer.Frame(), HttpCompletionOption.ResponseHeadersRead)))];
        Assert.Equal((Exhausted, GrpcErrors.QuotaExceeded), await HealthAsync(hostile[0], relay.Address));
        using HttpClient honest = new(new SocketsHttpHandler { UseProxy = false });
        Assert.Equal((Ok, null), await HealthAsync(honest, relay.Address));
        foreach (IDisposable open in watches.AsEnumerable<IDisposable>().Concat(hostile))
            open.Dispose();
    }

    [Fact]
    public async Task Streams_BeyondTheQuota_AreRefusedUntilOneEnds()
    {
        await using GrpcFederationHost host = await HostAsync(new GrpcQuotas { Streams = 3 });
        using HttpClient hostile = Hostile(), honest = new(new SocketsHttpHandler { UseProxy = false });
        var watches = new List<HttpResponseMessage>();
        for (int i = 0; i < 3; i++)
            watches.Add(await SendAsync(hostile, host.Address, Methods.HealthWatch, RawPeer.Frame(), HttpCompletionOption.ResponseHeadersRead));
        Assert.Equal((Exhausted, GrpcErrors.QuotaExceeded), await HealthAsync(hostile, host.Address));
        Assert.Equal((Ok, null), await HealthAsync(honest, host.Address));
        await CompletesSessionAsync(host);
        watches[0].Dispose();
        using var patience = new CancellationTokenSource(ChannelConformance.Patience);
        while (await HealthAsync(hostile, host.Address) != (Ok, null))
            patience.Token.ThrowIfCancellationRequested();
        watches.ForEach(w => w.Dispose());
    }

    [Fact]
    public async Task Sessions_BeyondTheQuota_AreRefusedToThatPeer()
    {
        var options = new GrpcHostOptions { Quotas = new GrpcQuotas { Sessions = 1 }, Channel = new ChannelOptions { ReceiveTimeout = Timeout.InfiniteTimeSpan } };
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(options, [Pair("telco"), Pair("clinic")], async (session, stop) =>
        {
            await session.Channels[0].ReceiveAsync<Scores>(0, null, stop);
            await session.Channels[0].CompleteAsync(stop);
        }, Token);
        await using (GrpcSession telco = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"), cancellationToken: Token))
        {
            PeerException error = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("clinic"), cancellationToken: Token));
            Assert.Equal(GrpcErrors.QuotaExceeded, error.Id);
            await telco.Channels[0].SendAsync(0, Some, Token); // the open session did not notice
            await telco.Channels[0].CompleteAsync(Token);
        }

        static GrpcPair Pair(string party) => new(GrpcPairs.Terms(party), GrpcPairs.OwnRequest);
    }

    [Fact]
    public async Task Bytes_BeyondTheQuotaOfASession_EndItWithItsId()
    {
        await using RawSession session = await RawPeer.OpenAsync(new GrpcHostOptions { Quotas = new GrpcQuotas { BytesPerSession = 1_000 } });
        byte[] message(int round) => RawPeer.Frame(new Transport.Grpc.Wire.Envelope { Round = round, Scores = new() { Data = Google.Protobuf.ByteString.CopyFrom(new byte[400]) } });
        for (int round = 0; round < 3; round++)
            await session.Call.Output.WriteAsync(message(round), Token);
        IPartyChannel channel = session.Active.Channels[0];
        for (int round = 0; round < 2; round++)
            Assert.Equal(50, (await channel.ReceiveAsync<Scores>(round, 50, Token)).Length);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => channel.ReceiveAsync<Scores>(2, 50, Token).AsTask().WaitAsync(ChannelConformance.Patience, Token));
        Assert.Equal(GrpcErrors.TooManyBytes, error.Id);
        await channel.DisposeAsync();
        System.IO.Pipelines.ReadResult rest;
        do
        {
            rest = await session.Call.Input.ReadAsync(Token).AsTask().WaitAsync(ChannelConformance.Patience, Token);
            session.Call.Input.AdvanceTo(rest.Buffer.End);
        }
        while (!rest.IsCompleted);
        Assert.Equal((StatusCode.ResourceExhausted, GrpcErrors.TooManyBytes), (session.Call.RemoteStatus!.Code, session.Call.RemoteStatus.ErrorId));
    }

    [Fact]
    public async Task Quotas_BelowOne_AreRefused()
    {
        foreach (GrpcQuotas quotas in (GrpcQuotas[])[new() { JoinsPerMinute = 0 }, new() { Connections = 0 }, new() { Streams = 0 }, new() { Sessions = 0 }, new() { BytesPerSession = 0 }, new() { AllConnections = 0 }])
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => HostAsync(quotas));
    }

    private static DefaultHttpContext From(string address, X509Certificate2? certificate = null)
    {
        var context = new DefaultHttpContext();
        (context.Connection.RemoteIpAddress, context.Connection.ClientCertificate) = (IPAddress.Parse(address), certificate);
        return context;
    }

    private static X509Certificate2 Certificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return new CertificateRequest("CN=party", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(100));
    }

    [Fact]
    public void Peer_WithACertificate_IsItsKeyWhereverItCallsFrom()
    {
        var quotas = new PeerQuotas(new GrpcQuotas { JoinsPerMinute = 1 }, new ManualClock(), NullLogger.Instance);
        using X509Certificate2 bank = Certificate(), clinic = Certificate();
        quotas.Join(From("192.0.2.1", bank));
        Assert.Throws<RpcException>(() => quotas.Join(From("192.0.2.7", bank)));
        quotas.Join(From("192.0.2.1", clinic)); // behind the same address
        quotas.Join(From("192.0.2.1"));
        Assert.Throws<RpcException>(() => quotas.Join(From("192.0.2.1")));
        quotas.Join(From("192.0.2.2"));
    }

    [Theory]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true)] // one network of 64 bits
    [InlineData("2001:db8:1:2::1", "2001:db8:1:3::1", false)]
    [InlineData("192.0.2.1", "::ffff:192.0.2.1", true)]
    [InlineData("192.0.2.1", "192.0.2.3", false)]
    [InlineData("::1", "::2", false)] // the first is this machine, whose network is its own
    public void Peer_WithoutACertificate_IsItsAddress(string first, string second, bool same)
    {
        var quotas = new PeerQuotas(new GrpcQuotas { JoinsPerMinute = 1 }, new ManualClock(), NullLogger.Instance);
        quotas.Join(From(first));
        RpcException? refusal = Record.Exception(() => quotas.Join(From(second))) as RpcException;
        Assert.Equal(same ? GrpcErrors.QuotaExceeded : null, refusal?.Status.ErrorId);
    }

    /// <summary>Else an address could connect as often as the quota says, and never again.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Connections_ThatHaveEnded_CountNoLonger(bool failed)
    {
        var quotas = new PeerQuotas(new GrpcQuotas { Connections = 1 }, new ManualClock(), NullLogger.Instance);
        for (int i = 0; i < 20; i++)
        {
            var connection = new DefaultConnectionContext { RemoteEndPoint = new IPEndPoint(IPAddress.Parse("192.0.2.1"), 1) };
            Exception? error = await Record.ExceptionAsync(() => quotas.ConnectAsync(connection, _ => failed ? throw new IOException("lost") : Task.CompletedTask));
            Assert.Equal(failed, error is IOException);
            Assert.Empty(connection.Items); // not marked as one beyond the quota
        }
    }

    /// <summary>Else the peer would keep it, and with it the place of another that is to be told.</summary>
    [Fact]
    public async Task Connections_BeyondTheQuota_AreClosedOnceTheyAreTold()
    {
        var quotas = new PeerQuotas(new GrpcQuotas { Connections = 1 }, new ManualClock(), NullLogger.Instance);
        var closing = new List<string>();
        Task ConnectedAsync(string name, Func<Task> meanwhile)
        {
            var connection = new DefaultConnectionContext { RemoteEndPoint = new IPEndPoint(IPAddress.Parse("192.0.2.1"), 1) };
            return quotas.ConnectAsync(connection, _ =>
            {
                DefaultHttpContext context = From("192.0.2.1");
                context.Features.Set<IConnectionItemsFeature>(connection);
                context.Features.Set<IConnectionLifetimeNotificationFeature>(new Closing(() => closing.Add(name)));
                RpcException? refusal = Record.Exception(() => quotas.Call(context).Dispose()) as RpcException;
                Assert.Equal(name == "first" ? null : GrpcErrors.QuotaExceeded, refusal?.Status.ErrorId);
                return meanwhile();
            });
        }

        await ConnectedAsync("first", () => ConnectedAsync("second", () => Task.CompletedTask));
        Assert.Equal(["second"], closing);
    }

    private sealed class Closing(Action close) : IConnectionLifetimeNotificationFeature
    {
        public CancellationToken ConnectionClosedRequested { get; set; }

        public void RequestClose() => close();
    }

    [Fact]
    public async Task Connections_AsManyAsTheQuota_AreNoMatterOfTheLog()
    {
        using var log = new Lines();
        var quotas = new PeerQuotas(new GrpcQuotas { Connections = 1 }, new ManualClock(), log);
        DefaultConnectionContext Connection() => new() { RemoteEndPoint = new IPEndPoint(IPAddress.Parse("192.0.2.1"), 1) };
        await quotas.ConnectAsync(Connection(), async _ =>
        {
            Assert.Empty(log.Text);
            await quotas.ConnectAsync(Connection(), _ => Task.CompletedTask);
        });
        Assert.Equal("Peer 192.0.2.1 is beyond its quota of connections.", Assert.Single(log.Text).Text);
    }

    [Fact]
    public void Calls_OfAPeerThatNeverJoins_AreLoggedOnce()
    {
        using var log = new Lines();
        var clock = new ManualClock();
        var quotas = new PeerQuotas(new GrpcQuotas { Streams = 1 }, clock, log);
        using IDisposable open = quotas.Call(From("192.0.2.1"));
        for (int minute = 0; minute < 3; minute++, clock.Advance(TimeSpan.FromMinutes(2)))
            Assert.Throws<RpcException>(() => quotas.Call(From("192.0.2.1")));
        Assert.Single(log.Text);
    }

    [Fact]
    public void Calls_EndedTwice_CountOnce()
    {
        var quotas = new PeerQuotas(new GrpcQuotas { Streams = 1 }, new ManualClock(), NullLogger.Instance);
        IDisposable ended = quotas.Call(From("192.0.2.1"));
        ended.Dispose();
        ended.Dispose();
        using IDisposable open = quotas.Call(From("192.0.2.1"));
        Assert.Throws<RpcException>(() => quotas.Call(From("192.0.2.1")));
    }

    [Fact]
    public void Peers_ManyAddresses_AreForgottenOnceTheyHaveNothingOpen()
    {
        var clock = new ManualClock();
        var quotas = new PeerQuotas(new GrpcQuotas(), clock, NullLogger.Instance);
        using IDisposable open = quotas.Call(From("10.9.9.9"));
        for (int i = 0; i < 20 * PeerQuotas.KeptPeers; i++)
        {
            quotas.Join(From($"10.0.{i / 250}.{i % 250}"));
            if (i % PeerQuotas.KeptPeers == 0)
                clock.Advance(TimeSpan.FromMinutes(1));
        }

        Assert.InRange(quotas.Known, 1, 3 * PeerQuotas.KeptPeers);
    }

    [Fact]
    public void Joins_BeyondTheQuotaAgainAndAgain_AreLoggedOnceAMinute()
    {
        using var log = new Lines();
        var clock = new ManualClock();
        var quotas = new PeerQuotas(new GrpcQuotas { JoinsPerMinute = 600 }, clock, log);
        for (int minute = 1; minute <= 3; minute++)
        {
            // Ten joins come back each second, and are used up at once.
            for (int tenth = 0; tenth < 600; tenth++, clock.Advance(TimeSpan.FromSeconds(0.1)))
                for (int i = 0; i < (tenth == 0 ? 700 : 3); i++)
                    Record.Exception(() => quotas.Join(From("192.0.2.1")));
            Assert.Equal(minute, log.Text.Count);
        }

        Record.Exception(() => Enumerable.Range(0, 700).Select(_ => { quotas.Join(From("192.0.2.2")); return 0; }).Sum());
        Assert.Equal(4, log.Text.Count);
    }

    [Fact]
    public async Task Join_RefusedAgainAndAgain_IsLoggedAFewTimesAMinuteAndToldEachTime()
    {
        using var log = new Lines();
        var clock = new ManualClock();
        var options = new GrpcHostOptions { LoggerFactory = log, Channel = new ChannelOptions { Clock = clock } };
        var told = new List<string>();
        using (var service = new FederationService(new SharedSession(GrpcPairs.Terms("telco"), options), options))
        {
            service.Refused += (who, _) => told.Add(who);
            for (int i = 0; i < 100; i++)
            {
                service.Refuse("127.0.0.2", new PeerException(GrpcErrors.PlaintextRefused, "here", "it is so.", "Mend it."));
                await Assert.ThrowsAsync<PeerException>(() => service.JoinAsync(GrpcPairs.Request("railway"), Token));
            }

            Assert.Equal(2 * 3, log.Text.Count);
            clock.Advance(TimeSpan.FromMinutes(1));
            Assert.Equal([$"127.0.0.2 was refused 97 more times within a minute: {GrpcErrors.PlaintextRefused}.", $"railway was refused 97 more times within a minute: {ProtocolErrors.UnknownParty}."],
                log.Text.Skip(6).Select(logged => logged.Text).Order(StringComparer.Ordinal));
            for (int i = 0; i < 500; i++)
                service.Refuse($"127.0.0.{i}", new PeerException(GrpcErrors.PlaintextRefused, "here", "it is so.", "Mend it."));
        }

        Assert.Equal(600, told.Count);
        Assert.Equal("Others were refused 480 times within a minute.", log.Text.Last().Text);
        Assert.Equal(6 + 2 + 20 + 1, log.Text.Count);
    }

    // As many others as make a host look for peers to forget.
    private static void Crowd(PeerQuotas quotas)
    {
        for (int i = 0; i <= PeerQuotas.KeptPeers; i++)
            quotas.Join(From($"10.0.{i / 250}.{i % 250}"));
    }

    [Fact]
    public void Peers_ManyAddresses_NobodyIsForgottenWithinTheMinuteOfItsJoin()
    {
        var clock = new ManualClock();
        var quotas = new PeerQuotas(new GrpcQuotas { JoinsPerMinute = 1 }, clock, NullLogger.Instance);
        quotas.Join(From("10.9.9.9"));
        clock.Advance(TimeSpan.FromSeconds(59));
        Crowd(quotas);
        Assert.Equal(GrpcErrors.QuotaExceeded, Assert.Throws<RpcException>(() => quotas.Join(From("10.9.9.9"))).Status.ErrorId);
    }

    [Fact]
    public async Task Peers_ManyAddresses_NobodyIsForgottenWithSomethingOpen()
    {
        var clock = new ManualClock();
        var quotas = new PeerQuotas(new GrpcQuotas { Connections = 1, Streams = 1, Sessions = 1 }, clock, NullLogger.Instance);
        var end = new TaskCompletionSource();
        DefaultConnectionContext Connection() => new() { RemoteEndPoint = new IPEndPoint(IPAddress.Parse("10.9.9.7"), 1) };
        Task connected = quotas.ConnectAsync(Connection(), _ => end.Task);
        using IDisposable call = quotas.Call(From("10.9.9.8")), session = quotas.Session(From("10.9.9.9"));
        clock.Advance(TimeSpan.FromHours(1));
        Crowd(quotas);
        DefaultConnectionContext second = Connection();
        await quotas.ConnectAsync(second, _ => Task.CompletedTask);
        Assert.Single(second.Items); // the mark of one beyond the quota
        Assert.Throws<RpcException>(() => quotas.Call(From("10.9.9.8")));
        Assert.Throws<RpcException>(() => quotas.Session(From("10.9.9.9")));
        end.SetResult();
        await connected;
    }
}
