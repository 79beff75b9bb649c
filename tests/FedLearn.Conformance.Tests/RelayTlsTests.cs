using System.Net;
using System.Net.Sockets;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using Channel = System.Threading.Channels.Channel;

namespace FedLearn.Conformance.Tests;

/// <summary>Encryption of relayed connections: from end to end between the parties, and of the calls to the coordinator.</summary>
public sealed class RelayTlsTests
{
    private static readonly SessionTerms Terms = GrpcPairs.Terms("telco");

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    // The address that parties encrypt to: its host is of no account, what counts is who shows the certificate.
    private static Uri Secret(Uri coordinator) => new($"https://{coordinator.Authority}");

    private static GrpcHostOptions Host(GrpcRelay relay, bool encrypted, ChannelOptions? channel = null) =>
        new() { Relay = relay, Security = encrypted ? TlsPeers.Security("bank", "telco") : null, Channel = channel ?? new ChannelOptions() };

    private static GrpcClientOptions Client(GrpcRelay relay, bool encrypted, ChannelOptions? channel = null) =>
        new() { Relay = relay, Security = encrypted ? TlsPeers.Security("telco", "bank") : null, Channel = channel ?? new ChannelOptions() };

    public static TheoryData<string> Checks => [.. ChannelConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public Task RelayedTlsChannel_EveryCheck_Passes(string check) => ChannelConformance.All[check](async options =>
    {
        GrpcRelayServer relay = await Relays.StartAsync(Terms);
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(Host(Relays.Through(relay.Address, Terms, "bank"), true, options), Terms);
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        GrpcSession passive = await GrpcFederationClient.JoinAsync(Secret(relay.Address), GrpcPairs.Request("telco"), Client(Relays.Through(relay.Address, Terms, "telco"), true, options));
        return new ChannelPair((await active).Channels[0], passive.Channels[0], async () =>
        {
            await host.DisposeAsync();
            await relay.DisposeAsync();
        });
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Coordinator_PartiesEncrypt_SeesNothingOfAMessage(bool encrypted)
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        await using var wire = new Tap(relay.Address);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(Host(Relays.Through(wire.Address, Terms, "bank"), encrypted), Terms, Stop);
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(encrypted ? Secret(relay.Address) : relay.Address, GrpcPairs.Request("telco"),
            Client(Relays.Through(wire.Address, Terms, "telco"), encrypted), Stop);
        await using GrpcSession active = await joining;
        // A value whose bytes are nowhere else; many of them, so that some lie within one frame.
        const double secret = 0.123456789;
        Task sending = passive.Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(Enumerable.Repeat(secret, 10_000).ToArray()), "test"), Stop).AsTask();
        Assert.Equal(secret, (await active.Channels[0].ReceiveAsync<Scores>(0, 10_000, Stop)).Values.Span[0]);
        await sending;
        Assert.Equal(!encrypted, wire.Saw(BitConverter.GetBytes(secret)));
        Assert.True(wire.Bytes > 8 * 10_000);
    }

    [Fact]
    public async Task Parties_OfWhomOneIsAnImpostor_DoNotMeet()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(Host(Relays.Through(relay.Address, Terms, "bank"), true), Terms, Stop);
        RefusalLog refusals = host.Watch();
        GrpcClientOptions impostor = Client(Relays.Through(relay.Address, Terms, "telco"), true) with { Security = TlsPeers.Security("stranger", "bank") };
        Assert.Equal(GrpcErrors.RefusedByPeer, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(Secret(relay.Address), GrpcPairs.Request("telco"), impostor, Stop))).Id);
        Assert.Equal(GrpcErrors.PeerUnknown, (await refusals.NextAsync()).Error.Id);
        GrpcClientOptions misled = Client(Relays.Through(relay.Address, Terms, "telco"), true) with { Security = new GrpcSecurity { Certificate = TlsPeers.Of("telco"), Peers = TlsPeers.Peer("bank", TlsPeers.Of("stranger")) } };
        Assert.Equal(GrpcErrors.PeerUnknown, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(Secret(relay.Address), GrpcPairs.Request("telco"), misled, Stop))).Id);
    }

    /// <summary>The coordinator says who is behind it, and a party that pins several holds the other end to the one that its job names.</summary>
    [Fact]
    public async Task Host_HasTheCertificateOfAnotherPinnedParty_IsRefused()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(Host(Relays.Through(relay.Address, Terms, "bank"), true) with { Security = TlsPeers.Security("clinic", "telco") }, Terms, Stop);
        GrpcClientOptions client = Client(Relays.Through(relay.Address, Terms, "telco"), true) with { Security = TlsPeers.Security("telco", "bank", "clinic") };
        Assert.Equal(GrpcErrors.PeerWrongName, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(Secret(relay.Address), GrpcPairs.Request("telco"), client, Stop).WaitAsync(ChannelConformance.Patience, Stop))).Id);
    }

    [Fact]
    public async Task Coordinator_WithCertificates_HoldsEachPartyToItsName()
    {
        SessionTerms terms = GrpcPairs.Terms("telco", "clinic");
        await using GrpcRelayServer relay = await GrpcRelayServer.StartAsync(new GrpcHostOptions { Listen = TlsPeers.Listen, Security = TlsPeers.Security("coordinator", "bank", "telco", "clinic") }, [Relays.Job(terms)], cancellationToken: Stop);
        var refusals = new RefusalLog();
        relay.Refused += refusals.Add;
        GrpcRelay Through(string party, string certificate) => Relays.Through(relay.Address, terms, party) with { Security = TlsPeers.Security(certificate, "coordinator") };
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => RelayDialer.OfferAsync(Through("bank", "telco"), new GrpcClientOptions(), Stop));
        Assert.Equal(GrpcErrors.PeerWrongName, error.Id);
        Assert.Equal(("bank", GrpcErrors.PeerWrongName), await refusals.NextAsync() is var (who, why) ? (who, why.Id) : default);
        error = await Assert.ThrowsAsync<PeerException>(() => RelayDialer.ReachAsync(Through("telco", "stranger"), new GrpcClientOptions(), Stop));
        Assert.Equal(GrpcErrors.RefusedByPeer, error.Id);
        Assert.Equal(GrpcErrors.PeerUnknown, (await refusals.NextAsync()).Error.Id);
        error = await Assert.ThrowsAsync<PeerException>(() => RelayDialer.ReachAsync(Through("telco", "telco") with { Security = new GrpcSecurity { Certificate = TlsPeers.Of("telco"), Peers = TlsPeers.Peer("coordinator", TlsPeers.Of("stranger")) } }, new GrpcClientOptions(), Stop));
        Assert.Equal(GrpcErrors.PeerUnknown, error.Id);

        // Encrypted twice: to the coordinator, and within that to each other.
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { Relay = Through("bank", "bank"), Security = TlsPeers.Security("bank", "telco", "clinic") }, terms, Stop);
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        Task<GrpcSession> Join(string party) => GrpcFederationClient.JoinAsync(relay.Address, GrpcPairs.Request(party), new GrpcClientOptions { Relay = Through(party, party), Security = TlsPeers.Security(party, "bank") }, Stop);
        GrpcSession[] passive = await Task.WhenAll(Join("telco"), Join("clinic"));
        await using GrpcSession active = await joining;
        for (int i = 0; i < 2; i++)
        {
            await passive[i].Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(new double[] { i }), "test"), Stop);
            Assert.Equal(i, (await active.Channels[i].ReceiveAsync<Scores>(0, 1, Stop)).Values.Span[0]);
        }

        await Task.WhenAll(passive.Select(p => p.DisposeAsync().AsTask()));
    }

    [Fact]
    public async Task Host_ItsOwnCertificateOutOfTimeForAWhile_SaysSoAndAcceptsAgain()
    {
        await using GrpcRelayServer relay = await GrpcRelayServer.StartAsync(new GrpcHostOptions { Listen = TlsPeers.Listen, Security = TlsPeers.Security("coordinator", "bank", "telco") }, [Relays.Job(Terms)], cancellationToken: Stop);
        var clock = new ShiftedClock(TimeSpan.Zero);
        var changes = Channel.CreateUnbounded<string?>();
        GrpcRelay Through(string party, TimeProvider time) => Relays.Through(relay.Address, Terms, party) with { Security = new GrpcSecurity { Certificate = TlsPeers.Of(party), Peers = TlsPeers.Peer("coordinator", TlsPeers.Of("coordinator")), Clock = time } };
        var options = new GrpcHostOptions { Relay = Through("bank", clock) with { Changed = error => changes.Writer.TryWrite(error?.Id) }, Security = TlsPeers.Security("bank", "telco") };
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(options, [new GrpcPair(Terms, GrpcPairs.OwnRequest)], async (session, stop) =>
            await session.Channels[0].SendAsync(0, Disclosure.Unprotected(new Residuals((await session.Channels[0].ReceiveAsync<Scores>(0, 1, stop)).Values), "test"), stop), Stop);
        var ended = Channel.CreateUnbounded<Exception?>();
        host.SessionEnded += (_, error) => ended.Writer.TryWrite(error);
        async Task SessionAsync()
        {
            await using GrpcSession session = await GrpcFederationClient.JoinAsync(relay.Address, GrpcPairs.Request("telco"), new GrpcClientOptions { Relay = Through("telco", TimeProvider.System), Security = TlsPeers.Security("telco", "bank") }, Stop);
            await session.Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(new double[] { 7 }), "test"), Stop);
            Assert.Equal(7, (await session.Channels[0].ReceiveAsync<Residuals>(0, 1, Stop)).Values.Span[0]);
        }

        clock.Shift = TimeSpan.FromDays(10_000);
        await SessionAsync(); // over the call that waits at the coordinator already; the next one cannot be made
        Assert.Equal(GrpcErrors.CertificateUnusable, await changes.Reader.ReadAsync(Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop));
        await ended.Reader.ReadAsync(Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop);
        clock.Shift = TimeSpan.Zero;
        Assert.Null(await changes.Reader.ReadAsync(Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop));
        await SessionAsync();
    }

    [Fact]
    public async Task Addresses_CoordinatorElsewhere_NeedsEncryptionOfTheParties()
    {
        var elsewhere = new Uri("http://192.0.2.1:9"); // 192.0.2.0/24 is reserved for documentation
        // Encryption from end to end keeps messages from the coordinator; the calls to it are another matter, and are refused by themselves.
        Assert.Equal(GrpcErrors.PlaintextRefused, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationHost.StartAsync(Host(Relays.Through(elsewhere, Terms, "bank"), true), Terms, Stop))).Id);
        Assert.Equal(GrpcErrors.PlaintextRefused, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(Secret(elsewhere), GrpcPairs.Request("telco"), Client(Relays.Through(elsewhere, Terms, "telco"), true), Stop))).Id);
        // The other way round the coordinator could read.
        GrpcRelay way = Relays.Through(new Uri("https://192.0.2.1:9"), Terms, "telco") with { Security = TlsPeers.Security("telco", "coordinator") };
        Assert.Equal(RelayErrors.Readable, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(elsewhere, GrpcPairs.Request("telco"), Client(way, false), Stop))).Id);
    }

    /// <summary>Keeps what crosses the wire between the parties and the coordinator, both ways.</summary>
    private sealed class Tap : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly Uri _target;
        private readonly Lock _gate = new();
        private readonly List<(TcpClient Client, MemoryStream Seen)> _ends = [];
        private readonly Task _accepting;

        public Tap(Uri target)
        {
            _target = target;
            _listener.Start();
            Address = new Uri($"http://{_listener.LocalEndpoint}");
            _accepting = AcceptAsync();
        }

        public Uri Address { get; }

        public long Bytes
        {
            get
            {
                lock (_gate)
                    return _ends.Sum(e => e.Seen.Length);
            }
        }

        public bool Saw(byte[] part)
        {
            lock (_gate)
                return _ends.Any(e => e.Seen.GetBuffer().AsSpan(0, (int)e.Seen.Length).IndexOf(part) >= 0);
        }

        public async ValueTask DisposeAsync()
        {
            _listener.Stop();
            await _accepting;
            lock (_gate)
                foreach ((TcpClient client, _) in _ends)
                    client.Dispose();
        }

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                {
                    TcpClient near = await _listener.AcceptTcpClientAsync(), far = new();
                    await far.ConnectAsync(_target.DnsSafeHost, _target.Port);
                    _ = PumpAsync(near, far);
                    _ = PumpAsync(far, near);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // stopped
            }
        }

        private async Task PumpAsync(TcpClient from, TcpClient to)
        {
            var seen = new MemoryStream();
            lock (_gate)
                _ends.Add((from, seen));
            byte[] buffer = new byte[64 << 10];
            try
            {
                while (await from.GetStream().ReadAsync(buffer) is > 0 and int count)
                {
                    lock (_gate)
                        seen.Write(buffer, 0, count);
                    await to.GetStream().WriteAsync(buffer.AsMemory(0, count));
                }

                to.Client.Shutdown(SocketShutdown.Send);
            }
            catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or InvalidOperationException)
            {
                to.Close();
            }
        }
    }
}
