using System.Collections.Concurrent;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Conformance.Tests;

public sealed class GrpcPairHostTests
{
    private static readonly TimeSpan Soon = TimeSpan.FromMilliseconds(5);

    /// <summary>A host whose sessions answer every question about scores with its double, until the other side ends.</summary>
    private sealed class Doubler : IAsyncDisposable
    {
        private readonly ConcurrentDictionary<string, TaskCompletionSource<Exception?>> _ended = new();

        public GrpcPairHost Host { get; private set; } = null!;

        public static async Task<Doubler> StartAsync(Uri? listen = null, params string[] passive)
        {
            var doubler = new Doubler();
            doubler.Host = await GrpcPairHost.StartAsync(
                new GrpcHostOptions { Listen = listen ?? new Uri("http://127.0.0.1:0"), Channel = new ChannelOptions { ReceiveTimeout = Timeout.InfiniteTimeSpan } },
                [.. passive.Select(name => new GrpcPair(GrpcPairs.Terms(name), GrpcPairs.OwnRequest))], ServeAsync);
            foreach (string name in passive)
                doubler._ended[name] = NewEnding();
            doubler.Host.SessionEnded += (party, error) => doubler._ended[party].TrySetResult(error);
            return doubler;
        }

        /// <summary>How the next session of a party ends.</summary>
        public async Task<Exception?> EndedAsync(string party)
        {
            Exception? error = await _ended[party].Task.WaitAsync(ChannelConformance.Patience);
            _ended[party] = NewEnding();
            return error;
        }

        public ValueTask DisposeAsync() => Host.DisposeAsync();

        private static TaskCompletionSource<Exception?> NewEnding() => new(TaskCreationOptions.RunContinuationsAsynchronously);

        private static async Task ServeAsync(GrpcSession session, CancellationToken stop)
        {
            for (int round = 0; ; round++)
            {
                Scores asked = await session.Channels[0].ReceiveAsync<Scores>(round, null, stop);
                if (asked.Length == 0)
                    return;
                await session.Channels[0].SendAsync(round, Disclosure.Unprotected(new Residuals(asked.Values.ToArray().Select(v => 2 * v).ToArray()), "test"), stop);
            }
        }
    }

    private static Task<GrpcSession> JoinAsync(Doubler host, string party) => GrpcFederationClient.JoinAsync(host.Host.Address, GrpcPairs.Request(party));

    private static async Task AskAsync(GrpcSession session, int round, double value)
    {
        await session.Channels[0].SendAsync(round, Disclosure.Unprotected(new Scores(new[] { value }), "test"));
        Assert.Equal(2 * value, (await session.Channels[0].ReceiveAsync<Residuals>(round, 1)).Values.Span[0]);
    }

    private static async Task<T> WithinPatience<T>(Func<Task<T>> attempt, Func<T, bool> enough)
    {
        using var limit = new CancellationTokenSource(ChannelConformance.Patience);
        while (true)
        {
            T result = await attempt();
            if (enough(result))
                return result;
            limit.Token.ThrowIfCancellationRequested();
        }
    }

    [Fact]
    public async Task Start_PairThatIsNone_IsRefused()
    {
        SessionTerms two = GrpcPairs.Terms("telco");
        foreach (GrpcPair[] pairs in (GrpcPair[][])[[], [new GrpcPair(GrpcPairs.Terms("telco", "clinic"), GrpcPairs.OwnRequest)], [new GrpcPair(two with { Parties = [two.Parties[1], two.Parties[0]] }, GrpcPairs.OwnRequest)]])
            Assert.Equal("pairs", (await Assert.ThrowsAsync<ArgumentException>(() => GrpcPairHost.StartAsync(new GrpcHostOptions(), pairs, (_, _) => Task.CompletedTask))).ParamName);
    }

    [Fact]
    public async Task Join_EachPartyByItself_LossAndReturnDoNotDisturbTheOther()
    {
        await using Doubler host = await Doubler.StartAsync(null, "telco", "clinic");
        await using GrpcSession telco = await JoinAsync(host, "telco");
        Assert.Equal(["bank", "telco"], telco.Agreement.Parties.Select(p => p.Name));
        await AskAsync(telco, 0, 1.5);
        for (int time = 0; time < 3; time++)
        {
            GrpcSession clinic = await JoinAsync(host, "clinic");
            await AskAsync(clinic, 0, time);
            await clinic.DisposeAsync(); // without a word
            Assert.Equal(ProtocolErrors.PeerGone, Assert.IsType<PeerException>(await host.EndedAsync("clinic")).Id);
            await AskAsync(telco, time + 1, time);
        }

        await telco.Channels[0].SendAsync(4, Disclosure.Unprotected(new Scores(ReadOnlyMemory<double>.Empty), "test"));
        Assert.Null(await host.EndedAsync("telco"));
    }

    [Fact]
    public async Task Join_OpenAlreadyOrUnknownOrOtherJob_IsRefusedAndTheHostIsTold()
    {
        await using Doubler host = await Doubler.StartAsync(null, "telco");
        var refused = new ConcurrentQueue<string>();
        host.Host.JoinRefused += (name, error) => refused.Enqueue($"{name} {error.Id}");
        await using GrpcSession telco = await JoinAsync(host, "telco");
        await AskAsync(telco, 0, 1);
        JoinRequest other = GrpcPairs.Request("telco") with { TermsDigest = GrpcPairs.Digest("x") };
        foreach ((JoinRequest request, string id) in (ValueTuple<JoinRequest, string>[])[(GrpcPairs.Request("telco"), ProtocolErrors.AlreadyJoined),
            (GrpcPairs.Request("railway"), ProtocolErrors.UnknownParty), (other, ProtocolErrors.DifferentJob)])
            Assert.Equal(id, (await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(host.Host.Address, request))).Id);
        Assert.Equal([$"telco {ProtocolErrors.AlreadyJoined}", $"railway {ProtocolErrors.UnknownParty}", $"telco {ProtocolErrors.DifferentJob}"], refused);
        await AskAsync(telco, 1, 2); // the open session did not notice
    }

    [Fact]
    public async Task Join_NeverOpened_MakesWayForTheNext()
    {
        await using Doubler host = await Doubler.StartAsync(null, "telco");
        (System.Net.HttpStatusCode, string? Status, string?, string?) joined = await RawPeer.CallAsync(host.Host.Address, Methods.Join, RawPeer.Frame(SessionCodec.Encode(GrpcPairs.Request("telco"))));
        Assert.Equal("0", joined.Status);
        await using GrpcSession telco = await JoinAsync(host, "telco");
        await AskAsync(telco, 0, 1);
    }

    [Fact]
    public async Task Exchange_OfASessionThatEnded_IsRefusedUntilThePartyJoinsAgain()
    {
        await using Doubler host = await Doubler.StartAsync(null, "telco");
        async Task<ClientConnection> OpenAsync() => await ClientConnection.OpenAsync(host.Host.Address, new GrpcClientOptions(), default);
        Task<ClientExchange> ExchangeAsync(ClientConnection connection, string session) =>
            connection.ExchangeAsync(Methods.Exchange, session, "telco", ChannelConformance.Patience, TimeSpan.FromMilliseconds(100), default);
        ClientConnection first = await OpenAsync();
        string session = (await first.UnaryAsync(Methods.Join, SessionCodec.Encode(GrpcPairs.Request("telco")), Transport.Grpc.Wire.JoinReply.Parser, 1000, ChannelConformance.Patience, default)).SessionId;
        using (ClientConnection other = await OpenAsync())
            Assert.Equal(GrpcErrors.WrongSession, (await Assert.ThrowsAsync<PeerException>(() => ExchangeAsync(other, "another"))).Id);
        await (await ExchangeAsync(first, session)).EndAsync(Status.Ok);
        Assert.NotNull(await host.EndedAsync("telco"));
        using ClientConnection second = await OpenAsync();
        Assert.Equal(GrpcErrors.WrongSession, (await Assert.ThrowsAsync<PeerException>(() => ExchangeAsync(second, session))).Id);
        await using GrpcSession telco = await JoinAsync(host, "telco");
        await AskAsync(telco, 0, 1);
    }

    [Fact]
    public async Task Dispose_WhileSessionsAreOpen_EndsThem()
    {
        Doubler host = await Doubler.StartAsync(null, "telco");
        await using GrpcSession telco = await JoinAsync(host, "telco");
        await AskAsync(telco, 0, 1);
        ValueTask<Residuals> waiting = telco.Channels[0].ReceiveAsync<Residuals>(1, 1);
        await host.DisposeAsync().AsTask().WaitAsync(ChannelConformance.Patience);
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => waiting.AsTask().WaitAsync(ChannelConformance.Patience))).Id);
    }

    [Fact]
    public async Task Rejoin_HostComesAndGoes_ServesAgainUntilStopped()
    {
        Doubler host = await Doubler.StartAsync(null, "telco");
        Uri address = host.Host.Address;
        var sessions = new SemaphoreSlim(0);
        var waits = new ConcurrentQueue<string?>();
        using var stop = new CancellationTokenSource();
        Task client = GrpcRejoiningClient.RunAsync(address, GrpcPairs.Request("telco"), async (session, cancel) =>
        {
            await AskAsync(session, 0, 3);
            sessions.Release();
            await session.Channels[0].ReceiveAsync<Residuals>(1, 1, cancel);
        }, new GrpcRejoinOptions { FirstPause = Soon, LongestPause = 10 * Soon }, (loss, _) => waits.Enqueue(loss?.Id), stop.Token);
        await sessions.WaitAsync(ChannelConformance.Patience);
        await host.DisposeAsync();
        // Nobody listens for a while: attempts fail and go on.
        await WithinPatience(async () => { await Task.Yield(); return waits.Contains(ProtocolErrors.CannotConnect); }, found => found);
        Assert.False(client.IsCompleted);
        await using Doubler again = await Doubler.StartAsync(address, "telco");
        Assert.True(await sessions.WaitAsync(ChannelConformance.Patience));
        Assert.Contains(ProtocolErrors.PeerGone, waits);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.WaitAsync(ChannelConformance.Patience));
    }

    /// <summary>A job that is trained once: a session that ended well is the last, also where one was lost before.</summary>
    [Fact]
    public async Task Rejoin_EndsWithSession_ReturnsAfterTheFirstThatEndedWell()
    {
        await using Doubler host = await Doubler.StartAsync(null, "telco");
        int sessions = 0;
        await GrpcRejoiningClient.RunAsync(host.Host.Address, GrpcPairs.Request("telco"), async (session, stop) =>
        {
            await AskAsync(session, 0, 3);
            if (++sessions == 1)
                throw new PeerException(ProtocolErrors.PeerGone, "test", "it is gone.", "Look.");
            await session.Channels[0].SendAsync(1, Disclosure.Unprotected(new Scores(ReadOnlyMemory<double>.Empty), "test"), stop);
        }, new GrpcRejoinOptions { FirstPause = Soon, LongestPause = 10 * Soon, EndsWithSession = true }).WaitAsync(ChannelConformance.Patience);
        Assert.Equal(2, sessions);
    }

    [Fact]
    public async Task Rejoin_RefusedForGood_Ends()
    {
        await using Doubler host = await Doubler.StartAsync(null, "telco");
        int waits = 0;
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => GrpcRejoiningClient.RunAsync(host.Host.Address, GrpcPairs.Request("railway"), (_, _) => Task.CompletedTask,
            waiting: (_, _) => waits++).WaitAsync(ChannelConformance.Patience));
        Assert.Equal((ProtocolErrors.UnknownParty, 0), (error.Id, waits));
    }

    /// <summary>Waiting does not mend what a session found wrong.</summary>
    [Fact]
    public async Task Rejoin_SessionFindsABrokenProtocol_Ends()
    {
        await using Doubler host = await Doubler.StartAsync(null, "telco");
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => GrpcRejoiningClient.RunAsync(host.Host.Address, GrpcPairs.Request("telco"),
            (_, _) => throw new PeerException(ProtocolErrors.Malformed, "test", "it is no message.", "Look."), new GrpcRejoinOptions { FirstPause = Soon, LongestPause = Soon }).WaitAsync(ChannelConformance.Patience));
        Assert.Equal(ProtocolErrors.Malformed, error.Id);
    }

    [Fact]
    public async Task Rejoin_SessionsThatLasted_GoOnWithoutAPause()
    {
        await using Doubler host = await Doubler.StartAsync(null, "telco");
        var waits = new ConcurrentQueue<(string? Loss, TimeSpan Pause)>();
        using var stop = new CancellationTokenSource();
        Task client = GrpcRejoiningClient.RunAsync(host.Host.Address, GrpcPairs.Request("telco"), (_, _) => throw new PeerException(ProtocolErrors.PeerGone, "test", "it is gone.", "Look."),
            new GrpcRejoinOptions { FirstPause = Soon, LongestPause = 8 * Soon, SettledAfter = TimeSpan.Zero }, (loss, pause) =>
            {
                waits.Enqueue((loss?.Id, pause));
                if (waits.Count(wait => wait.Pause == TimeSpan.Zero) == 3)
                    stop.Cancel();
            }, stop.Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.WaitAsync(ChannelConformance.Patience));
        // With a pause only where the host had not noticed yet that the one before was over.
        Assert.All(waits, wait => Assert.Equal(wait.Pause == TimeSpan.Zero ? ProtocolErrors.PeerGone : ProtocolErrors.AlreadyJoined, wait.Loss));
    }

    [Fact]
    public async Task Rejoin_SessionsThatEndAtOnce_PauseLongerEachTime()
    {
        await using Doubler host = await Doubler.StartAsync(null, "telco");
        var pauses = new ConcurrentQueue<TimeSpan>();
        using var stop = new CancellationTokenSource();
        Task client = GrpcRejoiningClient.RunAsync(host.Host.Address, GrpcPairs.Request("telco"), (_, _) => Task.CompletedTask, new GrpcRejoinOptions { FirstPause = Soon, LongestPause = 8 * Soon },
            (_, pause) =>
            {
                pauses.Enqueue(pause);
                if (pauses.Count == 12)
                    stop.Cancel();
            }, stop.Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.WaitAsync(ChannelConformance.Patience));
        // Each attempt is a new session, none of them long enough to begin anew; with jitter single pauses vary, and none is over the limit.
        Assert.All(pauses, pause => Assert.InRange(pause, TimeSpan.Zero, 8 * Soon));
        Assert.True(pauses.TakeLast(4).Average(p => p.TotalMilliseconds) > pauses.First().TotalMilliseconds);
    }
}
