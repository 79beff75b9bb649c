using System.Collections.Concurrent;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using Microsoft.AspNetCore.Http;

namespace FedLearn.Conformance.Tests;

/// <summary>Parties that meet through a coordinator and listen nowhere.</summary>
public sealed class RelayTests
{
    private static readonly SessionTerms Terms = GrpcPairs.Terms("telco");

    public static TheoryData<string> Checks => [.. ChannelConformance.All.Keys];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static Released<Scores> Vector(int length, double value) => Disclosure.Unprotected(new Scores(Enumerable.Repeat(value, length).ToArray()), "test");

    private static Released<Residuals> Answer(int length, double value) => Disclosure.Unprotected(new Residuals(Enumerable.Repeat(value, length).ToArray()), "test");

    // Asks the other end for the double of a number, as often as told; both ends take part.
    private static async Task RoundsAsync(IPartyChannel active, IPartyChannel passive, int first, int count, int length = 1)
    {
        for (int round = first; round < first + count; round++)
        {
            Task sending = passive.SendAsync(round, Vector(length, round), Stop).AsTask();
            Assert.Equal(round, (await active.ReceiveAsync<Scores>(round, length, Stop).AsTask().WaitAsync(ChannelConformance.Patience)).Values.Span[^1]);
            await sending;
            sending = active.SendAsync(round, Answer(length, 2 * round), Stop).AsTask();
            Assert.Equal(2 * round, (await passive.ReceiveAsync<Residuals>(round, length, Stop).AsTask().WaitAsync(ChannelConformance.Patience)).Values.Span[^1]);
            await sending;
        }
    }

    [Theory]
    [MemberData(nameof(Checks))]
    public Task RelayedChannel_ActiveFirst_Passes(string check) => ChannelConformance.All[check](options => Relays.CreateAsync(options));

    [Theory]
    [MemberData(nameof(Checks))]
    public Task RelayedChannel_PassiveFirst_Passes(string check) => ChannelConformance.All[check](options => Relays.CreateAsync(options, passiveFirst: true));

    [Fact]
    public async Task Session_ThreePassiveParties_LargeMessagesReachEach()
    {
        SessionTerms terms = GrpcPairs.Terms("telco", "kräuter & co", "clinic");
        await using GrpcRelayServer relay = await Relays.StartAsync(terms);
        var closed = new ConcurrentBag<(RelayedConnection Connection, RelayedTraffic Traffic)>();
        var all = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        relay.Closed += (connection, traffic) =>
        {
            closed.Add((connection, traffic));
            if (closed.Count == 3)
                all.TrySetResult();
        };
        (GrpcFederationHost host, GrpcSession active, GrpcSession[] passive) = await Relays.SessionAsync(relay.Address, terms);
        Assert.Equal(["telco", "kräuter & co", "clinic"], active.Channels.Select(c => c.RemoteParty));
        Assert.Equal(3, relay.Connections);
        const int length = 2_000_000; // 16 MB
        await Task.WhenAll(active.Channels.Select((channel, i) => RoundsAsync(channel, passive[i].Channels[0], 0, 2, length)));
        await Task.WhenAll(active.Channels.Concat(passive.SelectMany(p => p.Channels)).Select(c => c.CompleteAsync(Stop).AsTask())).WaitAsync(ChannelConformance.Patience, Stop);
        foreach (GrpcSession session in passive)
            await session.DisposeAsync();
        await active.DisposeAsync();
        await host.DisposeAsync();
        await all.Task.WaitAsync(ChannelConformance.Patience, Stop);
        Assert.Equal(["clinic", "kräuter & co", "telco"], closed.Select(c => c.Connection.Party).Order(StringComparer.Ordinal));
        Assert.All(closed, c => Assert.Equal(("trial", "train", "bank", null), (c.Connection.Job, c.Connection.Purpose, c.Connection.Host, c.Traffic.ErrorId)));
        // Two messages each way, and not much besides.
        Assert.All(closed, c => Assert.InRange(c.Traffic.ToHost, 2L * 8 * length, 2L * 9 * length));
        Assert.All(closed, c => Assert.InRange(c.Traffic.FromHost, 2L * 8 * length, 2L * 9 * length));
    }

    [Fact]
    public async Task Refused_AHandlerThrows_ThePartyIsToldTheRefusalAndTheOthersToo()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        var told = new List<string>();
        relay.Refused += (_, _) => throw new InvalidOperationException("a private text");
        relay.Refused += (party, refusal) => told.Add($"{party} {refusal.Id}");
        PeerException refused = await Assert.ThrowsAsync<PeerException>(() => Relays.JoinAsync(relay.Address, Terms.Named("unknown"), "telco"));
        Assert.Equal(RelayErrors.UnknownJob, refused.Id);
        Assert.Equal([$"telco {RelayErrors.UnknownJob}"], told);
    }

    [Fact]
    public async Task Stream_NobodyReads_MemoryIsBoundedByTheWindows()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        (RelayStream host, RelayStream party) = await Relays.StreamsAsync(relay.Address, Terms, "telco");
        const long most = 64 << 20, bound = 16 << 20;
        long written = 0, read = 0;
        byte[] piece = new byte[256 << 10];
        Task writing = Task.Run(async () =>
        {
            while (Interlocked.Read(ref written) < most)
            {
                await party.WriteAsync(piece, Stop);
                Interlocked.Add(ref written, piece.Length);
            }
        }, Stop);
        // Nobody reads: the writer must come to rest. Answers of the same coordinator are the clock; it has time to take in far more than it may.
        int still = 0;
        for (long seen = -1; still < 50; still = Interlocked.Read(ref written) == seen ? still + 1 : 0)
        {
            seen = Interlocked.Read(ref written);
            Assert.Equal(GrpcHealth.Serving, await GrpcHealthClient.CheckAsync(relay.Address, cancellationToken: Stop));
            Assert.InRange(Interlocked.Read(ref written), 0, bound);
        }

        Assert.False(writing.IsCompleted, "64 MB went somewhere although nobody read them.");
        byte[] buffer = new byte[64 << 10];
        while (read < most)
        {
            int count = await host.ReadAsync(buffer, Stop).AsTask().WaitAsync(ChannelConformance.Patience);
            Assert.NotEqual(0, count);
            read += count;
            Assert.InRange(Interlocked.Read(ref written) - read, -piece.Length, bound);
        }

        await writing.WaitAsync(ChannelConformance.Patience, Stop);
        await party.DisposeAsync();
        Assert.Equal(0, await host.ReadAsync(buffer, Stop).AsTask().WaitAsync(ChannelConformance.Patience));
        await host.DisposeAsync();
    }

    [Fact]
    public async Task TwoJobs_OneStands_TheOtherGoesOn()
    {
        SessionTerms slow = Terms.Named("slow"), quick = Terms.Named("quick");
        await using GrpcRelayServer relay = await Relays.StartAsync([slow, quick], new RelayQuotas { Connections = 4, ConnectionsPerParty = 4 });
        // The slow job takes all the connections it can get; on each it sends until nobody takes more, and nobody reads.
        var stuck = new List<(RelayStream Host, RelayStream Party, Task Writing)>();
        using var end = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        for (int i = 0; i < 4; i++)
        {
            (RelayStream host, RelayStream party) = await Relays.StreamsAsync(relay.Address, slow, "telco");
            stuck.Add((host, party, Task.Run(async () =>
            {
                while (true)
                    await party.WriteAsync(new byte[1 << 20], end.Token);
            }, Stop)));
        }

        Assert.Equal(RelayErrors.TooManyConnections, (await Assert.ThrowsAsync<PeerException>(() => RelayDialer.ReachAsync(Relays.Through(relay.Address, slow, "telco"), new GrpcClientOptions(), Stop))).Id);
        (GrpcFederationHost quickHost, GrpcSession active, GrpcSession[] passive) = await Relays.SessionAsync(relay.Address, quick);
        await RoundsAsync(active.Channels[0], passive[0].Channels[0], 0, 50, 10_000);
        Assert.Equal(5, relay.Connections);
        Assert.All(stuck, s => Assert.False(s.Writing.IsCompleted));
        await Task.WhenAll(passive[0].DisposeAsync().AsTask(), active.DisposeAsync().AsTask());
        await quickHost.DisposeAsync();
        await end.CancelAsync();
        foreach ((RelayStream host, RelayStream party, Task writing) in stuck)
        {
            party.Kill();
            host.Kill();
            await Assert.ThrowsAnyAsync<Exception>(() => writing.WaitAsync(ChannelConformance.Patience, Stop));
        }
    }

    [Fact]
    public async Task Refusals_SayWhyAndAreTold()
    {
        SessionTerms terms = GrpcPairs.Terms("telco", "clinic");
        await using GrpcRelayServer relay = await Relays.StartAsync(terms);
        var told = new ConcurrentQueue<(string, string)>();
        relay.Refused += (name, error) => told.Enqueue((name, error.Id));
        GrpcRelay telco = Relays.Through(relay.Address, terms, "telco");
        SessionTerms other = terms with { TermsDigest = GrpcPairs.Digest("x"), Sections = new Dictionary<string, ReadOnlyMemory<byte>> { ["training"] = GrpcPairs.Digest("x") } };
        (GrpcRelay Relay, string Id, string Says)[] cases =
        [
            (telco with { Terms = terms.Named("trail") }, RelayErrors.UnknownJob, "no job 'trail'"),
            (telco with { Terms = other }, RelayErrors.DifferentJob, "in: training."),
            (telco with { Terms = terms with { TermsDigest = GrpcPairs.Digest("x") } }, RelayErrors.DifferentJob, "differs from the coordinator's."),
            (telco with { Party = "telko" }, RelayErrors.UnknownParty, "no party of that name"),
            (telco with { Party = "bank" }, RelayErrors.UnknownParty, "no party of that name that joins"),
            (telco with { Host = "clinic" }, RelayErrors.UnknownParty, "does not host"),
            (telco with { Purpose = "spy" }, RelayErrors.UnknownParty, "no purpose 'spy'"),
        ];
        foreach ((GrpcRelay way, string id, string says) in cases)
        {
            PeerException error = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(relay.Address, GrpcPairs.Request("telco"), new GrpcClientOptions { Relay = way }, Stop));
            Assert.Equal(id, error.Id);
            Assert.Contains(says, error.Message, StringComparison.Ordinal);
        }

        // A host that is refused does not start.
        Assert.Equal(RelayErrors.UnknownParty, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationHost.StartAsync(new GrpcHostOptions { Relay = telco with { Host = "telco" } }, terms, Stop))).Id);
        Assert.Equal(cases.Select(c => (c.Relay.Party, c.Id)).Append(("telco", RelayErrors.UnknownParty)), told);
    }

    [Fact]
    public void JoinsPerMinute_AreCountedByPartyAndBeginAnew()
    {
        var clock = new ManualClock();
        SessionTerms terms = GrpcPairs.Terms("telco", "clinic");
        var job = new RelayedJob(Relays.Job(terms), new RelayQuotas { JoinsPerMinute = 3 }, clock);
        string? Call(string party)
        {
            try
            {
                job.Leave(job.Enter(new RelayCaller("trial", GrpcRelay.Train, terms.TermsDigest, new Dictionary<string, string>(), party, "bank", party == "bank"), new DefaultHttpContext()));
                return null;
            }
            catch (PeerException e)
            {
                return e.Id;
            }
        }

        Assert.Equal([null, null, null, RelayErrors.TooManyCalls], Enumerable.Range(0, 4).Select(_ => Call("telco")));
        // What one used up is no affair of another, and the host may call as often for each of the two others.
        Assert.Null(Call("clinic"));
        Assert.Equal([null, null, null, null, null, null, RelayErrors.TooManyCalls], Enumerable.Range(0, 7).Select(_ => Call("bank")));
        clock.Advance(TimeSpan.FromSeconds(59));
        Assert.Equal(RelayErrors.TooManyCalls, Call("telco"));
        clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Null(Call("telco"));
        Assert.Null(Call("bank"));
    }

    /// <summary>An earlier call of a host may be what is left of a process that vanished; of parties that reach it the first is due.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Meet_SeveralWait_IsTheLatestOfTheHostAndTheFirstOfTheOthers(bool hostsWait)
    {
        var job = new RelayedJob(Relays.Job(Terms), new RelayQuotas(), new ManualClock());
        RelayEnd Enter(bool hosts) => job.Enter(new RelayCaller("trial", GrpcRelay.Train, Terms.TermsDigest, new Dictionary<string, string>(), hosts ? "bank" : "telco", "bank", hosts), new DefaultHttpContext());
        RelayEnd first = Enter(hostsWait), second = Enter(hostsWait), comes = Enter(!hostsWait);
        Assert.Null(job.Meet(first));
        Assert.Null(job.Meet(second));
        RelayPair? met = job.Meet(comes);
        Assert.Same(hostsWait ? second : first, hostsWait ? met!.Host : met!.Party);
        Assert.Same(comes, hostsWait ? met.Party : met.Host);
        Assert.True(job.GiveUp(hostsWait ? first : second)); // still waits
    }

    [Fact]
    public void Connections_OfAllPartiesTogether_OneTooManyIsRefusedUntilOneEnds()
    {
        SessionTerms terms = GrpcPairs.Terms("telco", "clinic");
        var job = new RelayedJob(Relays.Job(terms), new RelayQuotas { Connections = 2, ConnectionsPerParty = 2 }, new ManualClock());
        RelayEnd Enter(string party) => job.Enter(new RelayCaller("trial", GrpcRelay.Train, terms.TermsDigest, new Dictionary<string, string>(), party, "bank", party == "bank"), new DefaultHttpContext());
        RelayEnd first = Enter("telco");
        Enter("clinic");
        foreach (string party in (string[])["telco", "clinic"]) // neither is at its own limit
        {
            PeerException error = Assert.Throws<PeerException>(() => Enter(party));
            Assert.Equal(RelayErrors.TooManyConnections, error.Id);
            Assert.Contains("quotas.connections at", error.Message, StringComparison.Ordinal);
        }

        job.Leave(Enter("bank")); // the host's calls are none by themselves
        Assert.Throws<PeerException>(() => Enter("telco"));
        job.Leave(first);
        Enter("telco");
        Assert.Throws<PeerException>(() => Enter("clinic"));
    }

    [Fact]
    public async Task ConnectionsPerParty_OneTooMany_IsRefusedAndComesBackAfterOneEnds()
    {
        SessionTerms terms = GrpcPairs.Terms("telco", "clinic");
        await using GrpcRelayServer relay = await Relays.StartAsync(terms, new RelayQuotas { ConnectionsPerParty = 2 });
        (RelayStream firstHost, RelayStream first) = await Relays.StreamsAsync(relay.Address, terms, "telco");
        (RelayStream secondHost, RelayStream second) = await Relays.StreamsAsync(relay.Address, terms, "telco");
        GrpcRelay telco = Relays.Through(relay.Address, terms, "telco");
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => RelayDialer.ReachAsync(telco, new GrpcClientOptions(), Stop));
        Assert.Equal(RelayErrors.TooManyConnections, error.Id);
        Assert.Contains("quotas.connectionsPerParty", error.Message, StringComparison.Ordinal);
        Assert.Null(error.Peer); // a coordinator is no party
        // Another party has limits of its own.
        (RelayStream thirdHost, RelayStream third) = await Relays.StreamsAsync(relay.Address, terms, "clinic");
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        relay.Closed += (_, _) => ended.TrySetResult();
        await first.DisposeAsync();
        await firstHost.DisposeAsync();
        await ended.Task.WaitAsync(ChannelConformance.Patience, Stop);
        (RelayStream fourthHost, RelayStream fourth) = await Relays.StreamsAsync(relay.Address, terms, "telco");
        foreach (RelayStream stream in new[] { secondHost, second, thirdHost, third, fourthHost, fourth })
            await stream.DisposeAsync();
    }

    [Fact]
    public async Task BytesPerParty_OneTooMany_CutsTheConnectionAndSaysWhy()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms, new RelayQuotas { BytesPerParty = 1 << 20 });
        var ended = new TaskCompletionSource<RelayedTraffic>(TaskCreationOptions.RunContinuationsAsynchronously);
        relay.Closed += (_, traffic) => ended.TrySetResult(traffic);
        var said = new TaskCompletionSource<FedLearnException?>(TaskCreationOptions.RunContinuationsAsynchronously);
        GrpcRelay telco = Relays.Through(relay.Address, Terms, "telco") with { Changed = said.SetResult };
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(Relays.Host(relay.Address, Terms), Terms, Stop);
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(relay.Address, GrpcPairs.Request("telco"), new GrpcClientOptions { Relay = telco }, Stop);
        await using GrpcSession active = await joining;
        await RoundsAsync(active.Channels[0], passive.Channels[0], 0, 1, 10_000);
        Task sending = passive.Channels[0].SendAsync(1, Vector(1_000_000, 1), Stop).AsTask();
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => active.Channels[0].ReceiveAsync<Scores>(1, 1_000_000, Stop).AsTask().WaitAsync(ChannelConformance.Patience))).Id);
        Assert.Equal(RelayErrors.TooManyBytes, (await ended.Task.WaitAsync(ChannelConformance.Patience, Stop)).ErrorId);
        Assert.Equal(RelayErrors.TooManyBytes, (await said.Task.WaitAsync(ChannelConformance.Patience, Stop))!.Id);
        await Task.WhenAny(sending).WaitAsync(ChannelConformance.Patience, Stop);
    }

    [Fact]
    public async Task BytesPerParty_OneTooMany_IsSaidToWhoWroteAndDidNotRead()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms, new RelayQuotas { BytesPerParty = 1 << 20 });
        var ended = new TaskCompletionSource<RelayedTraffic>(TaskCreationOptions.RunContinuationsAsynchronously);
        relay.Closed += (_, traffic) => ended.TrySetResult(traffic);
        var said = new List<FedLearnException?>();
        (RelayStream host, RelayStream telco) = await Relays.StreamsAsync(relay.Address, Terms, "telco", said.Add);
        // The last piece may meet the end of the connection already.
        Assert.True(await Record.ExceptionAsync(() => telco.WriteAsync(new byte[(1 << 20) + 1], Stop).AsTask()) is null or IOException);
        RelayedTraffic traffic = await ended.Task.WaitAsync(ChannelConformance.Patience, Stop);
        Assert.Equal((RelayErrors.TooManyBytes, 0), (traffic.ErrorId, traffic.FromHost));
        Assert.InRange(traffic.ToHost, 1, 1 << 20);
        Assert.Empty(said);
        await telco.DisposeAsync();
        await host.DisposeAsync();
        Assert.Equal(RelayErrors.TooManyBytes, Assert.Single(said)!.Id);
    }

    [Fact]
    public async Task Kill_OfAPassiveParty_ReachesTheHostAndTheNextOneIsConnected()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        var ended = new TaskCompletionSource<Exception?>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(Relays.Host(relay.Address, Terms, new ChannelOptions { ReceiveTimeout = Timeout.InfiniteTimeSpan }),
            [new GrpcPair(Terms, GrpcPairs.OwnRequest)], async (session, stop) =>
            {
                for (int round = 0; ; round++)
                {
                    Scores asked = await session.Channels[0].ReceiveAsync<Scores>(round, 1, stop);
                    await session.Channels[0].SendAsync(round, Answer(1, 2 * asked.Values.Span[0]), stop);
                }
            }, Stop);
        host.SessionEnded += (_, error) => ended.TrySetResult(error);
        using (ClientConnectionOf killed = await ClientConnectionOf.OpenAsync(Relays.Client(relay.Address, Terms, "telco"), Stop))
        {
            await killed.JoinAsync(GrpcPairs.Request("telco"), Stop);
            killed.Kill();
        }

        Assert.Equal(ProtocolErrors.PeerGone, Assert.IsType<PeerException>(await ended.Task.WaitAsync(ChannelConformance.Patience, Stop)).Id);
        await using GrpcSession next = await Relays.JoinAsync(relay.Address, Terms, "telco");
        await next.Channels[0].SendAsync(0, Vector(1, 21), Stop);
        Assert.Equal(42, (await next.Channels[0].ReceiveAsync<Residuals>(0, 1, Stop)).Values.Span[0]);
    }

    [Fact]
    public async Task Coordinator_Cut_BothEndsSaySoAndANewOneAtTheSamePlaceServes()
    {
        GrpcRelayServer relay = await Relays.StartAsync(Terms);
        var changes = new ConcurrentQueue<string?>();
        var back = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        GrpcHostOptions options = Relays.Host(relay.Address, Terms);
        options = options with
        {
            Relay = options.Relay! with
            {
                Changed = error =>
                {
                    changes.Enqueue(error?.Id);
                    if (error is null)
                        back.TrySetResult();
                },
            },
        };
        var sessions = new ConcurrentQueue<Exception?>();
        var ended = new SemaphoreSlim(0);
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(options, [new GrpcPair(Terms, GrpcPairs.OwnRequest)], async (session, stop) =>
        {
            for (int round = 0; ; round++)
                await session.Channels[0].SendAsync(round, Answer(1, 2 * (await session.Channels[0].ReceiveAsync<Scores>(round, 1, stop)).Values.Span[0]), stop);
        }, Stop);
        host.SessionEnded += (_, error) =>
        {
            sessions.Enqueue(error);
            ended.Release();
        };
        GrpcSession passive = await Relays.JoinAsync(relay.Address, Terms, "telco");
        await passive.Channels[0].SendAsync(0, Vector(1, 1), Stop);
        Assert.Equal(2, (await passive.Channels[0].ReceiveAsync<Residuals>(0, 1, Stop)).Values.Span[0]);
        await relay.DisposeAsync();
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => passive.Channels[0].ReceiveAsync<Residuals>(1, 1, Stop).AsTask().WaitAsync(ChannelConformance.Patience))).Id);
        Assert.True(await ended.WaitAsync(ChannelConformance.Patience, Stop), "The host did not notice.");
        Assert.Equal(ProtocolErrors.PeerGone, Assert.IsType<PeerException>(sessions.Single()).Id);
        await passive.DisposeAsync();

        await using GrpcRelayServer next = await Relays.StartAsync(Terms, listen: relay.Address);
        await back.Task.WaitAsync(ChannelConformance.Patience, Stop);
        Assert.NotNull(changes.First());
        await using GrpcSession again = await Relays.JoinAsync(next.Address, Terms, "telco");
        await again.Channels[0].SendAsync(0, Vector(1, 3), Stop);
        Assert.Equal(6, (await again.Channels[0].ReceiveAsync<Residuals>(0, 1, Stop)).Values.Span[0]);
    }

    [Fact]
    public async Task Opened_HandlerThrows_BothCallsEndAndTheCoordinatorStops()
    {
        GrpcRelayServer relay = await Relays.StartAsync(Terms);
        relay.Opened += _ => throw new InvalidOperationException("handler");
        RelayStream offer = await RelayDialer.OfferAsync(Relays.Through(relay.Address, Terms, "bank"), new GrpcClientOptions(), Stop);
        Task<RelayStream> host = RelayDialer.PairedAsync(offer, Stop);
        Task<RelayStream> party = RelayDialer.ReachAsync(Relays.Through(relay.Address, Terms, "telco"), new GrpcClientOptions(), Stop);
        foreach (Task<RelayStream> end in new[] { party, host })
            Assert.Equal(GrpcErrors.CallFailed, (await Assert.ThrowsAsync<PeerException>(() => end.WaitAsync(ChannelConformance.Patience, Stop))).Id);
        Assert.Equal(0, relay.Connections);
        Assert.Empty(await relay.StopAsync(ChannelConformance.Patience).WaitAsync(ChannelConformance.Patience, Stop));
    }

    [Fact]
    public async Task Closed_HandlerThrows_TheOtherCallEndsAndTheCoordinatorStops()
    {
        GrpcRelayServer relay = await Relays.StartAsync(Terms);
        relay.Closed += (_, _) => throw new InvalidOperationException("handler");
        (RelayStream host, RelayStream party) = await Relays.StreamsAsync(relay.Address, Terms, "telco");
        await party.DisposeAsync();
        Assert.Equal(0, await host.ReadAsync(new byte[1], Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop));
        await host.DisposeAsync();
        Assert.Empty(await relay.StopAsync(ChannelConformance.Patience).WaitAsync(ChannelConformance.Patience, Stop));
    }

    [Fact]
    public async Task Stop_LetsConnectionsFinishAndSendsAwayWhoComes()
    {
        GrpcRelayServer relay = await Relays.StartAsync(Terms);
        (GrpcFederationHost host, GrpcSession active, GrpcSession[] passive) = await Relays.SessionAsync(relay.Address, Terms);
        await RoundsAsync(active.Channels[0], passive[0].Channels[0], 0, 1);
        Task<IReadOnlyList<RelayedConnection>> stopping = relay.StopAsync(ChannelConformance.Patience);
        Assert.Equal(GrpcHealth.NotServing, await GrpcHealthClient.CheckAsync(relay.Address, "fedlearn.v1.Relay", cancellationToken: Stop));
        Assert.Equal(RelayErrors.Stopping, (await Assert.ThrowsAsync<PeerException>(() => RelayDialer.OfferAsync(Relays.Through(relay.Address, Terms, "bank"), new GrpcClientOptions(), Stop))).Id);
        await RoundsAsync(active.Channels[0], passive[0].Channels[0], 1, 5);
        Assert.False(stopping.IsCompleted);
        await Task.WhenAll(active.Channels[0].CompleteAsync(Stop).AsTask(), passive[0].Channels[0].CompleteAsync(Stop).AsTask());
        await Task.WhenAll(active.DisposeAsync().AsTask(), passive[0].DisposeAsync().AsTask());
        Assert.Empty(await stopping.WaitAsync(ChannelConformance.Patience, Stop));
        await host.DisposeAsync();
    }

    [Fact]
    public async Task Stop_ConnectionLasts_IsCutAndNamed()
    {
        var clock = new ManualClock();
        GrpcRelayServer relay = await Relays.StartAsync(Terms, clock: clock);
        (GrpcFederationHost host, GrpcSession active, GrpcSession[] passive) = await Relays.SessionAsync(relay.Address, Terms);
        Task<IReadOnlyList<RelayedConnection>> stopping = relay.StopAsync(TimeSpan.FromSeconds(30));
        await clock.WaitForTimerAsync(TimeSpan.FromSeconds(30));
        clock.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal(["telco"], (await stopping.WaitAsync(ChannelConformance.Patience, Stop)).Select(c => c.Party));
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => active.Channels[0].ReceiveAsync<Scores>(0, 1, Stop).AsTask().WaitAsync(ChannelConformance.Patience))).Id);
        await passive[0].DisposeAsync();
        await active.DisposeAsync();
        await host.DisposeAsync();
    }

    [Fact]
    public async Task Reach_HostComesLater_IsConnected()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        Task<GrpcSession> passive = Relays.JoinAsync(relay.Address, Terms, "telco");
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(Relays.Host(relay.Address, Terms), Terms, Stop);
        await using GrpcSession active = await host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        await using GrpcSession joined = await passive.WaitAsync(ChannelConformance.Patience, Stop);
        Assert.Equal(active.Agreement.SessionId, joined.Agreement.SessionId);
        Assert.Equal(relay.Address, host.Address);
    }

    [Fact]
    public async Task Host_EndsWhileItOffersAConnection_DoesNotWaitForTheCoordinator()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(Relays.Host(relay.Address, Terms) with { ShutdownTimeout = TimeSpan.FromHours(1) }, Terms, Stop);
        await host.DisposeAsync().AsTask().WaitAsync(ChannelConformance.Patience, Stop);
    }

    [Fact]
    public async Task Reach_HostNeverComes_SaysWhomItWaitedFor()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        GrpcClientOptions options = Relays.Client(relay.Address, Terms, "telco") with { ConnectTimeout = TimeSpan.FromSeconds(1) };
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(relay.Address, GrpcPairs.Request("telco"), options, Stop).WaitAsync(ChannelConformance.Patience, Stop));
        Assert.Equal(ProtocolErrors.CannotConnect, error.Id);
        Assert.Contains("'bank'", error.Message, StringComparison.Ordinal);
        Uri nobody = relay.Address;
        await relay.DisposeAsync();
        error = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(nobody, GrpcPairs.Request("telco"), options, Stop).WaitAsync(ChannelConformance.Patience, Stop));
        Assert.Equal(ProtocolErrors.CannotConnect, error.Id);
        Assert.Contains("coordinator to accept connections", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Host_AlsoListens_IsReachedBothWays()
    {
        SessionTerms terms = GrpcPairs.Terms("telco", "clinic");
        await using GrpcRelayServer relay = await Relays.StartAsync(terms);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(Relays.Host(relay.Address, terms) with { AlsoListens = true }, terms, Stop);
        Assert.NotEqual(relay.Address.Port, host.Address.Port);
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        Task<GrpcSession> direct = GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"), cancellationToken: Stop);
        await using GrpcSession relayed = await Relays.JoinAsync(relay.Address, terms, "clinic");
        await using GrpcSession active = await joining;
        await using GrpcSession there = await direct;
        await Task.WhenAll(RoundsAsync(active.Channels[0], there.Channels[0], 0, 3), RoundsAsync(active.Channels[1], relayed.Channels[0], 0, 3));
    }

    [Fact]
    public async Task Addresses_CoordinatorElsewhereWithoutEncryption_IsRefusedAtBothParties()
    {
        var elsewhere = new Uri("http://192.0.2.1:9"); // 192.0.2.0/24 is reserved for documentation
        Assert.Equal(RelayErrors.Readable, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationHost.StartAsync(Relays.Host(elsewhere, Terms), Terms, Stop))).Id);
        Assert.Equal(RelayErrors.Readable, (await Assert.ThrowsAsync<PeerException>(() => Relays.JoinAsync(elsewhere, Terms, "telco"))).Id);
    }

    [Fact]
    public async Task Calls_OfWrongForm_AreRefusedWithAnId()
    {
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms);
        string terms = Convert.ToHexString(Terms.TermsDigest.Span);
        (string, string)[] whole = [("fedlearn-job", "trial"), ("fedlearn-purpose", "train"), ("fedlearn-terms", terms), ("fedlearn-party", "telco"), ("fedlearn-host", "bank")];
        for (int missing = 0; missing < whole.Length; missing++)
        {
            (System.Net.HttpStatusCode _, string? status, string? id, string? _) = await RawPeer.CallAsync(relay.Address, Methods.Reach, [], headers: [.. whole.Where((_, i) => i != missing)]);
            Assert.Equal(("3", ProtocolErrors.Malformed), (status, id));
        }

        Assert.Equal(("3", ProtocolErrors.Malformed), await ReachAsync(whole[2] = ("fedlearn-terms", terms[1..])));
        Assert.Equal(("3", ProtocolErrors.Malformed), await ReachAsync(whole[2] = ("fedlearn-terms", "x" + terms[1..])));
        whole[2] = ("fedlearn-terms", terms);
        Assert.Equal(("3", ProtocolErrors.Malformed), await ReachAsync(whole[0] = ("fedlearn-job", "%00")));
        Assert.Equal(("3", ProtocolErrors.Malformed), await ReachAsync(whole[0] = ("fedlearn-job", new string('x', 201))));

        async Task<(string?, string?)> ReachAsync((string, string) _)
        {
            (System.Net.HttpStatusCode _, string? status, string? id, string? _) = await RawPeer.CallAsync(relay.Address, Methods.Reach, [], headers: whole);
            return (status, id);
        }
    }

    /// <summary>A passive party's bare connection, which can be killed.</summary>
    private sealed class ClientConnectionOf(Transport.Grpc.Rpc.ClientConnection connection) : IDisposable
    {
        public static async Task<ClientConnectionOf> OpenAsync(GrpcClientOptions options, CancellationToken stop) =>
            new(await Transport.Grpc.Rpc.ClientConnection.OpenAsync(options.Relay!.Coordinator, options, stop));

        public async Task JoinAsync(JoinRequest request, CancellationToken stop)
        {
            Transport.Grpc.Wire.JoinReply reply = await connection.UnaryAsync(Methods.Join, SessionCodec.Encode(request), Transport.Grpc.Wire.JoinReply.Parser, Methods.UnaryLimitBytes, ChannelConformance.Patience, stop);
            await connection.ExchangeAsync(Methods.Exchange, reply.SessionId, request.Party.Name, ChannelConformance.Patience, TimeSpan.FromSeconds(1), stop);
        }

        public void Kill() => connection.Kill();

        public void Dispose() => connection.Dispose();
    }
}
