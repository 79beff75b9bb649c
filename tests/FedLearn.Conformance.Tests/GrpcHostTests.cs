using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace FedLearn.Conformance.Tests;

public sealed class GrpcHostTests
{
    // The set stands below the transport, which knows these errors by name.
    [Fact]
    public void Losses_HoldTheErrorsOfTheTransportThatTellOfALostConnection() => Assert.Superset(new HashSet<string>
    {
        GrpcErrors.WrongSession, GrpcErrors.CallFailed, GrpcErrors.RefusedByPeer, GrpcErrors.QuotaExceeded,
        GrpcErrors.ProxyUnreachable, GrpcErrors.ProxyCannotReach, GrpcErrors.ProxyClosed,
        RelayErrors.TooManyConnections, RelayErrors.TooManyCalls, RelayErrors.TooManyBytes, RelayErrors.Stopping,
    }, ProtocolErrors.Losses.ToHashSet());

    [Fact]
    public async Task Rehearse_Twice_SucceedsAndAHostListensAsBefore()
    {
        GrpcFederationHost.Rehearse();
        GrpcFederationHost.Rehearse();
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        await HostRehearsal.Started;
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"));
        await using GrpcSession active = await joining;
        Assert.Equal(active.Agreement.SessionId, passive.Agreement.SessionId);
    }

    // A call that ends first may take the connection with it, and with that what the client has not read yet.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task End_ClientHasNotEndedItsSide_CallStaysOpen(bool gaveUp)
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { ShutdownTimeout = TimeSpan.FromMinutes(1) }, GrpcPairs.Terms("telco"));
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"),
            new GrpcClientOptions { Channel = new ChannelOptions { ReceiveTimeout = TimeSpan.FromSeconds(1) } });
        GrpcSession active = await joining;
        if (gaveUp)
        {
            await active.Channels[0].AbortAsync(ProtocolErrors.Cancelled);
            Assert.Equal(ProtocolErrors.PeerAborted, (await Assert.ThrowsAsync<PeerException>(() => passive.Channels[0].ReceiveAsync<Scores>(0, 1).AsTask())).Id);
        }
        else
        {
            await Task.WhenAll(active.Channels[0].CompleteAsync().AsTask(), passive.Channels[0].CompleteAsync().AsTask());
        }

        await active.DisposeAsync();
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => passive.Channels[0].ReceiveAsync<Scores>(0, 1).AsTask());
        Assert.Equal(ProtocolErrors.TimedOut, error.Id);
    }

    // Kestrel registers memory of its own, and the last registration counts.
    [Fact]
    public async Task Start_MemoryOfConnections_IsInLargeBlocks()
    {
        await using GrpcServer server = await GrpcServer.StartAsync(new GrpcHostOptions(), new Silent(), CancellationToken.None);
        Assert.IsType<LargeBlocks>(server.Parts.GetRequiredService<IMemoryPoolFactory<byte>>());
        Assert.Equal(LargeBlocks.Bytes, new LargeBlocks().Create().Rent(1).Memory.Length);
        Assert.Equal(LargeBlocks.Bytes + 1, new LargeBlocks().Create().Rent(LargeBlocks.Bytes + 1).Memory.Length);
    }

    // Kestrel's own limits would end a session whose parties compute for seconds, and take any number of connections.
    [Fact]
    public async Task Start_LimitsOfConnections_AreThoseOfSessionsThatLast()
    {
        await using GrpcServer server = await GrpcServer.StartAsync(new GrpcHostOptions { Quotas = new GrpcQuotas { AllConnections = 7 } }, new Silent(), CancellationToken.None);
        KestrelServerLimits limits = server.Parts.GetRequiredService<IOptions<KestrelServerOptions>>().Value.Limits;
        Assert.Equal((null, null, null, 7), (limits.MinRequestBodyDataRate, limits.MinResponseDataRate, limits.MaxRequestBodySize, limits.MaxConcurrentConnections));
        // A peer whose machine vanished is found, and one that is slow to answer is given what the option says.
        Assert.Equal((TimeSpan.FromSeconds(20), TimeSpan.FromSeconds(40)), (limits.Http2.KeepAlivePingDelay, limits.Http2.KeepAlivePingTimeout));
        await using GrpcServer patient = await GrpcServer.StartAsync(new GrpcHostOptions { SilenceTimeout = TimeSpan.FromMinutes(10) }, new Silent(), CancellationToken.None);
        Http2Limits silence = patient.Parts.GetRequiredService<IOptions<KestrelServerOptions>>().Value.Limits.Http2;
        Assert.Equal(TimeSpan.FromMinutes(10), silence.KeepAlivePingDelay + silence.KeepAlivePingTimeout);
    }

    [Fact]
    public async Task Join_AsThePartyThatHosts_IsRefusedAndTheHostJoinsAllTheSame()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        PeerException refused = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.OwnRequest).WaitAsync(ChannelConformance.Patience));
        Assert.Equal(ProtocolErrors.UnknownParty, refused.Id);
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"));
        await using GrpcSession own = await active;
        Assert.Equal("telco", own.Channels[0].RemoteParty);
    }

    private sealed class Silent : IGrpcService
    {
        public PeerQuotas Quotas { get; } = new(new GrpcQuotas(), TimeProvider.System, NullLogger.Instance);

        public Task HandleAsync(HttpContext context) => Task.CompletedTask;

        public void Refuse(string who, PeerException refusal) { }

        public Task StopAsync() => Task.CompletedTask;

        public void Dispose() { }
    }

    [Fact]
    public async Task Join_ThreePassiveParties_ChannelsAreInTheJobsOrder()
    {
        string[] names = ["telco", "kräuter & co", "clinic"]; // a name beyond ASCII, as jobs may have
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms(names));
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest);
        GrpcSession[] passive = await Task.WhenAll(names.Reverse().Select(n => GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request(n))));
        await using GrpcSession active = await joining;
        Assert.Equal(names, active.Channels.Select(c => c.RemoteParty));
        Assert.All(passive, p => Assert.Equal(active.Agreement.SessionId, p.Agreement.SessionId));
        Assert.All(passive, p => Assert.Equal(active.Agreement.JobDigest.ToArray(), p.Agreement.JobDigest.ToArray()));
        await Task.WhenAll(passive.Select(p => p.DisposeAsync().AsTask()).Append(active.DisposeAsync().AsTask()));
    }

    [Fact]
    public async Task Join_AnotherJob_IsRefusedByNameAndTheHostIsTold()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        var refused = new List<(string, string)>();
        host.JoinRefused += (name, error) => refused.Add((name, error.Id));
        JoinRequest other = GrpcPairs.Request("telco") with { TermsDigest = GrpcPairs.Digest("x"), Sections = new Dictionary<string, ReadOnlyMemory<byte>> { ["training"] = GrpcPairs.Digest("x") } };
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(host.Address, other));
        Assert.Equal(ProtocolErrors.DifferentJob, error.Id);
        Assert.Contains("in: training", error.Message, StringComparison.Ordinal);
        Assert.Equal([("telco", ProtocolErrors.DifferentJob)], refused);
    }

    [Fact]
    public async Task Join_PartyMissing_EverybodyIsToldWhoInTime()
    {
        var clock = new ManualClock();
        var told = new JoinClock(clock, TimeSpan.FromSeconds(20));
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(
            new GrpcHostOptions { JoinTimeout = TimeSpan.FromSeconds(20), Channel = new ChannelOptions { Clock = told } }, GrpcPairs.Terms("telco", "clinic"));
        Task<GrpcSession> passive = GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"));
        await told.Waits.WaitAsync(ChannelConformance.Patience);
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        clock.Advance(TimeSpan.FromSeconds(20));
        foreach (Task<GrpcSession> joining in new[] { active, passive })
        {
            PeerException error = await Assert.ThrowsAsync<PeerException>(() => joining.WaitAsync(ChannelConformance.Patience));
            Assert.Equal(ProtocolErrors.PartyMissing, error.Id);
            Assert.Contains("'clinic'", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Join_DeadlineOfTheCall_IsKeptByTheServer()
    {
        var clock = new ManualClock();
        var told = new JoinClock(clock, TimeSpan.FromMinutes(1));
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(
            new GrpcHostOptions { JoinTimeout = TimeSpan.FromMinutes(1), Channel = new ChannelOptions { Clock = told } }, GrpcPairs.Terms("telco"));
        Task<(System.Net.HttpStatusCode, string? Status, string? ErrorId, string?)> call =
            RawPeer.CallAsync(host.Address, Methods.Join, RawPeer.Frame(SessionCodec.Encode(GrpcPairs.Request("telco"))), headers: ("grpc-timeout", "5S"));
        await told.Waits.WaitAsync(ChannelConformance.Patience);
        clock.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(("4", ProtocolErrors.PartyMissing), ((await call).Status, (await call).ErrorId));
    }

    /// <summary>A clock that knows when the request to join has been read and waits: the time for joining runs a second time then, the first having been for the reading.</summary>
    private sealed class JoinClock(TimeProvider clock, TimeSpan joinTimeout) : TimeProvider
    {
        private readonly TaskCompletionSource _waits = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _armed;

        public Task Waits => _waits.Task;

        public override long TimestampFrequency => clock.TimestampFrequency;

        public override long GetTimestamp() => clock.GetTimestamp();

        public override DateTimeOffset GetUtcNow() => clock.GetUtcNow();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            ITimer timer = clock.CreateTimer(callback, state, dueTime, period);
            if (dueTime == joinTimeout && Interlocked.Increment(ref _armed) == 2)
                _waits.TrySetResult();
            return timer;
        }
    }

    [Fact]
    public async Task Dispose_WhileAPartyWaits_TellsIt()
    {
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco", "clinic"));
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        Task<GrpcSession> passive = GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"));
        Assert.Equal(GrpcHealth.Serving, await GrpcHealthClient.CheckAsync(host.Address)); // the host is up, whatever has arrived of the request
        await host.DisposeAsync();
        Assert.Contains((await Assert.ThrowsAsync<PeerException>(() => passive.WaitAsync(ChannelConformance.Patience))).Id,
            new[] { ProtocolErrors.PeerGone, ProtocolErrors.CannotConnect });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => active.WaitAsync(ChannelConformance.Patience));
    }

    [Theory]
    [InlineData(null, ProtocolErrors.PeerGone, "The active party ended before the session began. Look at its log for why it ended, mend that, then start the party again.")]
    [InlineData("FL3100", ProtocolErrors.PeerAborted, "it gave up with error FL3100.")]
    [InlineData("FL5010", ProtocolErrors.PeerAborted, "it gave up with error FL5010.")]
    public async Task Dispose_WhileAPartyWaits_TellsALossFromAnErrorOfTheHost(string? gaveUpWith, string id, string part)
    {
        var told = new JoinClock(new ManualClock(), TimeSpan.FromSeconds(20));
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { JoinTimeout = TimeSpan.FromSeconds(20), Channel = new ChannelOptions { Clock = told } }, GrpcPairs.Terms("telco"));
        using ClientConnection connection = await ClientConnection.OpenAsync(host.Address, new GrpcClientOptions(), default);
        Task<Transport.Grpc.Wire.JoinReply> joining = connection.UnaryAsync(Methods.Join, SessionCodec.Encode(GrpcPairs.Request("telco")), Transport.Grpc.Wire.JoinReply.Parser, 1000, ChannelConformance.Patience, default);
        await told.Waits.WaitAsync(ChannelConformance.Patience);
        if (gaveUpWith is not null)
            host.GiveUp(gaveUpWith);
        Assert.False(joining.IsCompleted);
        await host.DisposeAsync();
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => joining.WaitAsync(ChannelConformance.Patience));
        Assert.Equal((id, gaveUpWith), (error.Id, error.PeerErrorId));
        Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("FL31")]
    [InlineData("FL3100: of customer 17")]
    [InlineData(ProtocolErrors.PeerGone)]
    public async Task GiveUp_IdOfNoErrorOfItsOwn_IsRefused(string id)
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        Assert.Throws<ArgumentException>(() => host.GiveUp(id));
    }

    [Fact]
    public async Task Dispose_RightAfterTheLastMessage_TheMessageArrives()
    {
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"));
        GrpcSession active = await joining;
        double[] values = [.. Enumerable.Range(0, 100_000).Select(i => (double)i)];
        await active.Channels[0].SendAsync(0, Disclosure.Unprotected(new Residuals(values), "test"));
        await active.Channels[0].AbortAsync("FL6001");
        await host.DisposeAsync();
        Assert.Equal(values, (await passive.Channels[0].ReceiveAsync<Residuals>(0, values.Length)).Values.ToArray());
        Assert.Equal(ProtocolErrors.PeerAborted, (await Assert.ThrowsAsync<PeerException>(() => passive.Channels[0].ReceiveAsync<Residuals>(1, 1).AsTask())).Id);
    }

    /// <summary>An interrupt finds a party in the middle of a message as often as anywhere.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Send_CancelledWhileTheMessageLeaves_TheMessageAndTheReasonArrive(bool passiveFirst)
    {
        ChannelPair pair = await GrpcPairs.CreateAsync(new ChannelOptions(), passiveFirst);
        // More than fits on the way while nobody reads.
        double[] values = [.. Enumerable.Range(0, 4_000_000).Select(i => (double)i)];
        using var stop = new CancellationTokenSource();
        Task sending = passiveFirst ? pair.First.SendAsync(0, Disclosure.Unprotected(new Scores(values), "test"), stop.Token).AsTask()
            : pair.First.SendAsync(0, Disclosure.Unprotected(new Residuals(values), "test"), stop.Token).AsTask();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sending.WaitAsync(ChannelConformance.Patience));
        Task telling = pair.First.AbortAsync(ProtocolErrors.Cancelled).AsTask();
        Assert.Equal(values, (passiveFirst ? (RoundVector)await pair.Second.ReceiveAsync<Scores>(0, values.Length) : await pair.Second.ReceiveAsync<Residuals>(0, values.Length)).Values.ToArray());
        Assert.Equal(ProtocolErrors.PeerAborted, (await Assert.ThrowsAsync<PeerException>(() => pair.Second.ReceiveAsync<Scalars>(1, 1).AsTask())).Id);
        await telling.WaitAsync(ChannelConformance.Patience);
        await pair.DisposeAsync();
    }

    // Whoever disposes does not wait for a peer that reads no more.
    [Fact]
    public async Task Dispose_CancelledMessageThatNobodyReads_EndsAtOnce()
    {
        ChannelPair pair = await GrpcPairs.CreateAsync(new ChannelOptions(), passiveFirst: true);
        using var stop = new CancellationTokenSource();
        Task sending = pair.First.SendAsync(0, Disclosure.Unprotected(new Scores(new double[4_000_000]), "test"), stop.Token).AsTask();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sending.WaitAsync(ChannelConformance.Patience));
        await pair.First.DisposeAsync().AsTask().WaitAsync(ChannelConformance.Patience);
        await pair.DisposeAsync();
    }

    [Fact]
    public async Task Send_PeerGaveUp_SaysWhy()
    {
        ChannelPair pair = await GrpcPairs.CreateAsync(new ChannelOptions(), passiveFirst: true);
        await pair.Second.AbortAsync("FL3010");
        await pair.Second.DisposeAsync();
        Released<Scores> large = Disclosure.Unprotected(new Scores(new double[2_000_000]), "test");
        PeerException error = await Assert.ThrowsAsync<PeerException>(async () =>
        {
            for (int round = 0; ; round++)
                await pair.First.SendAsync(round, large).AsTask().WaitAsync(ChannelConformance.Patience);
        });
        Assert.Equal(ProtocolErrors.PeerAborted, error.Id);
        Assert.Contains("FL3010", error.Message, StringComparison.Ordinal);
        await pair.DisposeAsync();
    }

    [Fact]
    public async Task Addresses_BeyondThisMachine_AreRefusedWithoutPermission()
    {
        Uri anywhere = new("http://0.0.0.0:0"), elsewhere = new("http://192.0.2.1:9"); // 192.0.2.0/24 is reserved for documentation
        Assert.Equal(GrpcErrors.PlaintextRefused, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationHost.StartAsync(new GrpcHostOptions { Listen = anywhere }, GrpcPairs.Terms("telco")))).Id);
        Assert.Equal(GrpcErrors.PlaintextRefused, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(elsewhere, GrpcPairs.Request("telco")))).Id);
        Assert.Equal(GrpcErrors.PlaintextRefused, (await Assert.ThrowsAsync<PeerException>(() => GrpcHealthClient.CheckAsync(elsewhere))).Id);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { Listen = anywhere, AllowPlaintext = true }, GrpcPairs.Terms("telco"));
        Assert.NotEqual(0, host.Address.Port);
    }

    [Fact]
    public async Task Start_PortInUse_IsAnErrorWithItsAddress()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationHost.StartAsync(new GrpcHostOptions { Listen = host.Address }, GrpcPairs.Terms("telco")));
        Assert.Equal(ProtocolErrors.CannotConnect, error.Id);
        Assert.Contains(host.Address.Authority, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Health_OurClient_Agrees()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        Assert.Equal(GrpcHealth.Serving, await GrpcHealthClient.CheckAsync(host.Address, "fedlearn.v1.Federation"));
        Assert.Equal(GrpcErrors.CallFailed, (await Assert.ThrowsAsync<PeerException>(() => GrpcHealthClient.CheckAsync(host.Address, "no.such.Service"))).Id);
    }

    [Fact]
    public async Task Log_OfASession_NamesPartiesAndNoErrors()
    {
        var lines = new Lines();
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { LoggerFactory = lines }, GrpcPairs.Terms("telco"));
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest);
        GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"));
        GrpcSession active = await joining;
        await Task.WhenAll(passive.Channels[0].CompleteAsync().AsTask(), active.Channels[0].CompleteAsync().AsTask());
        await Task.WhenAll(passive.DisposeAsync().AsTask(), active.DisposeAsync().AsTask());
        await host.DisposeAsync();
        Assert.Equal(["Exchange with party telco ended: Ok.", "Exchange with party telco is open.", "Party bank joined.", "Party telco joined."],
            lines.Text.Select(l => l.Text).Order(StringComparer.Ordinal));
        Assert.DoesNotContain(lines.Text, l => l.Level >= LogLevel.Warning);
    }

    [Theory]
    [InlineData("127.0.0.1:5001", "http://127.0.0.1:5001/")]
    [InlineData("http://bank.example:5001", "http://bank.example:5001/")]
    [InlineData("[::1]:5001", "http://[::1]:5001/")]
    [InlineData("https://bank.example:5001", "https://bank.example:5001/")]
    [InlineData("bank.example:5001", "https://bank.example:5001/")]
    [InlineData("0.0.0.0:5001", "https://0.0.0.0:5001/")]
    [InlineData("bank.example:80", "https://bank.example:80/")]
    [InlineData("bank.example:443", "https://bank.example/")]
    [InlineData("localhost:5001", "http://localhost:5001/")]
    [InlineData("localhost.example:5001", "https://localhost.example:5001/")]
    [InlineData("ftp://bank.example:5001", null)]
    [InlineData("http://bank.example:5001/path", null)]
    [InlineData("http://bank.example:5001?key=word", null)]
    [InlineData("http://user:word@bank.example:5001", null)] // errors name addresses
    [InlineData("127.0.0.1:70000", null)]
    [InlineData("", null)]
    [InlineData(null, null)]
    public void AddressTryParse_Text_IsReadOrRefused(string? text, string? expected)
    {
        Assert.Equal(expected is not null, GrpcAddress.TryParse(text, out Uri? address));
        Assert.Equal(expected, address?.AbsoluteUri);
    }
}
