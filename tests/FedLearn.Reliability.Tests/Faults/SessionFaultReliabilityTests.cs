using System.Collections.Concurrent;
using System.Diagnostics;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>Tests that measure memory and time limits of whole sessions: alone, since the load of another would be measured with them.</summary>
[CollectionDefinition(nameof(NetworkAlone), DisableParallelization = true)]
public sealed class NetworkAlone;

/// <summary>Real sessions over gRPC through a network that breaks: the right model or an error with an id, within the time that the options allow.</summary>
[Collection(nameof(NetworkAlone))]
public sealed class SessionFaultReliabilityTests
{
    [Fact]
    public async Task Session_AnyFaultAtAnyMoment_EndsRightOrWithAnErrorInTime()
    {
        var log = new ReliabilityLog("sessions over gRPC, each with one fault of the network at a random byte of joining, of the rounds or of the end");
        const int seed = 20_261_127;
        Trial[] trials = [await Trial.CreateAsync(1), await Trial.CreateAsync(2, optimizer: GlmOptimizer.Lbfgs, epochs: 30), await Trial.CreateAsync(3, noisy: true)];
        var lengths = new List<(long[] Opened, long[] All)>();
        foreach (Trial trial in trials)
            lengths.Add(await FaultySession.MeasureAsync(trial));
        string[] kinds = [.. FaultySession.Kinds.Keys];
        await Task.WhenAll(Enumerable.Range(0, kinds.Length).Select(CaseAsync));
        Footprint before = Footprint.Now();

        int cases = kinds.Length * TestCounts.Of(10);
        var outcomes = new ConcurrentQueue<(string Kind, bool Right, bool Mixed, TimeSpan Took)>();
        await Parallel.ForEachAsync(Enumerable.Range(kinds.Length, cases), new ParallelOptions { MaxDegreeOfParallelism = 12 },
            async (number, _) => outcomes.Enqueue(await CaseAsync(number)));

        const long heapBound = 4_000_000;
        const int handleBound = 8;
        Footprint after = await Footprint.SettledAsync(before, heapBound, handleBound);
        Assert.True(after.HeapBytes - before.HeapBytes <= heapBound && after.Handles - before.Handles <= handleBound, $"The cases left something behind: {before} before, {after} after.");
        Assert.Equal(cases, outcomes.Count);
        // The test means something only if faults do end sessions, and if some sessions survive theirs.
        Assert.All(new[] { "drop", "truncate", "half-open, both ways" }, kind => Assert.Contains(outcomes, o => o.Kind == kind && !o.Right));
        Assert.Contains(outcomes, o => o.Right);
        string table = string.Join("; ", outcomes.GroupBy(o => o.Kind).OrderBy(g => g.Key, StringComparer.Ordinal)
            .Select(g => $"{g.Key} {g.Count(o => o.Right)} right {g.Count(o => !o.Right)} errors"));
        TestContext.Current.TestOutputHelper?.WriteLine(table);
        log.Passed(cases, FormattableString.Invariant($"{outcomes.Count(o => o.Right)} right models, {outcomes.Count(o => !o.Right)} FL4 errors ({outcomes.Count(o => o.Mixed)} at one party alone), 0 wrong, 0 hangs; slowest {outcomes.Max(o => o.Took.TotalSeconds):0.0} s of {FaultySession.Patience.TotalSeconds:0.0} s allowed; {before} before, {after} after"));

        async Task<(string Kind, bool Right, bool Mixed, TimeSpan Took)> CaseAsync(int number)
        {
            var random = new Random(unchecked(seed + (number * 7919)));
            int job = random.Next(trials.Length);
            Trial trial = trials[job];
            (long[] opened, long[] all) = lengths[job];
            string kind = kinds[number % kinds.Length];
            var way = (Way)random.Next(2);
            long at = random.Next(3) switch
            {
                0 => random.NextInt64(opened[(int)way]),
                1 => random.NextInt64(opened[(int)way], all[(int)way]),
                _ => random.NextInt64(Math.Max(0, all[(int)way] - 200), all[(int)way]),
            };
            var watch = Stopwatch.StartNew();
            PartyEnd[] ends = await FaultySession.RunAsync(trial, kind, way, at, random);
            string? fault = trial.FaultOf(ends);
            Assert.True(fault is null, $"Case {number} ({kind}, {way}, byte {at}): {fault}");
            return (kind, trial.IsRight(ends), ends.Any(e => e.Model is not null) && ends.Any(e => e.Model is null), watch.Elapsed);
        }
    }

    [Fact]
    public async Task Partition_HealedWithinThePatience_SessionEndsWithTheRightModel()
    {
        var log = new ReliabilityLog("partitions of a running session that heal within the time limit");
        Trial trial = await Trial.CreateAsync(3);
        (long[] opened, long[] all) = await FaultySession.MeasureAsync(trial);
        int cases = TestCounts.Of(20);
        var random = new Random(42);
        for (int number = 0; number < cases; number++)
        {
            var way = (Way)random.Next(2);
            long at = random.NextInt64(opened[(int)way], all[(int)way] - 300);
            var healed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            PartyEnd[] ends = await FaultySession.RunAsync(trial, proxy => proxy.After(way, at, cut =>
            {
                cut.Partition();
                // Both parties' bytes wait, or those of the one whose turn it is: only then does the network come back.
                _ = Task.WhenAny(cut.WaitsAsync(Way.ToServer), cut.WaitsAsync(Way.ToClient)).ContinueWith(_ =>
                {
                    cut.Heal();
                    healed.TrySetResult();
                }, TaskScheduler.Default);
            }), FaultySession.PatientHost, FaultySession.PatientClient).WaitAsync(TimeSpan.FromMinutes(1));
            Assert.True(healed.Task.IsCompleted, $"Case {number}: nothing waited for the end of the partition.");
            Assert.True(trial.IsRight(ends), $"Case {number} ({way}, byte {at}): {trial.Describe(ends)}");
        }

        log.Passed(cases, $"{cases} of {cases} models bit-identical");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Send_IntoAHalfOpenConnection_EndsWithinTheLimit(bool byTheClient)
    {
        var log = new ReliabilityLog(byTheClient ? "sends of a client into a half-open connection whose buffers are full" : "sends of a server into a half-open connection whose buffers are full");
        await using Pair pair = await Pair.OpenAsync(FaultySession.Host, FaultySession.Client);
        pair.Proxy.Partition();
        IPartyChannel sender = byTheClient ? pair.Passive : pair.Active;
        // 64 MiB are more than the windows of HTTP/2 (16 MiB) and the buffers of both sockets hold.
        var large = Disclosure.Unprotected(new Scores(new double[8 << 20]), "test");
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => sender.SendAsync(0, large).AsTask().WaitAsync(FaultySession.Receive + FaultySession.Slack));
        Assert.Equal(ProtocolErrors.TimedOut, error.Id);
        await sender.AbortAsync(error.Id).AsTask().WaitAsync(FaultySession.Slack);
        await sender.DisposeAsync().AsTask().WaitAsync(FaultySession.Slack);
        await pair.DisposeAsync().AsTask().WaitAsync(FaultySession.Slack + FaultySession.Slack);
        log.Passed(1, $"ended with {error.Id}, and so did giving up and closing");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Receive_MessageThatTricklesForEver_EndsWithinTheLimit(bool byTheClient)
    {
        var log = new ReliabilityLog(byTheClient ? "messages of a server that trickle in byte by byte" : "messages of a client that trickle in byte by byte");
        await using Pair pair = await Pair.OpenAsync(FaultySession.Host, FaultySession.Client);
        (IPartyChannel sender, IPartyChannel receiver, Way way) = byTheClient ? (pair.Active, pair.Passive, Way.ToClient) : (pair.Passive, pair.Active, Way.ToServer);
        pair.Proxy.Trickle(way, TimeSpan.FromMilliseconds(20));
        long before = pair.Proxy.Forwarded(way);
        Task sending = sender.SendAsync(0, Disclosure.Unprotected(new Scores(new double[100_000]), "test")).AsTask();
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => receiver.ReceiveAsync<Scores>(0, null).AsTask().WaitAsync(FaultySession.Receive + FaultySession.Slack));
        Assert.Equal(ProtocolErrors.TimedOut, error.Id);
        Assert.True(pair.Proxy.Forwarded(way) > before, "Nothing trickled.");
        await Task.WhenAll(receiver.DisposeAsync().AsTask(), pair.DisposeAsync().AsTask()).WaitAsync(FaultySession.Slack + FaultySession.Slack);
        await sending.ContinueWith(_ => { }, TaskScheduler.Default).WaitAsync(FaultySession.Slack);
        log.Passed(1, $"ended with {error.Id}");
    }

    /// <summary>A session of two over a proxy, without a trainer.</summary>
    private sealed class Pair(GrpcFederationHost host, FaultProxy proxy, GrpcSession active, GrpcSession passive) : IAsyncDisposable
    {
        public FaultProxy Proxy => proxy;

        public IPartyChannel Active => active.Channels[0];

        public IPartyChannel Passive => passive.Channels[0];

        public static async Task<Pair> OpenAsync(GrpcHostOptions hostOptions, GrpcClientOptions clientOptions)
        {
            Trial trial = await Trial.CreateAsync(4, rows: 8, columns: 1, epochs: 1);
            GrpcFederationHost host = await GrpcFederationHost.StartAsync(hostOptions with { JoinTimeout = TimeSpan.FromMinutes(1) }, trial.Trainer(0).Terms);
            FaultProxy proxy = FaultProxy.Start(host.Address);
            Task<GrpcSession> active = host.JoinAsync(trial.Trainer(0).JoinRequest);
            GrpcSession passive = await GrpcFederationClient.JoinAsync(proxy.Address, trial.Trainer(1).JoinRequest,
                clientOptions with { ConnectTimeout = TimeSpan.FromMinutes(1), JoinTimeout = TimeSpan.FromMinutes(1), HeartbeatInterval = Timeout.InfiniteTimeSpan });
            return new Pair(host, proxy, await active, passive);
        }

        public async ValueTask DisposeAsync()
        {
            await Task.WhenAll(active.DisposeAsync().AsTask(), passive.DisposeAsync().AsTask());
            await host.DisposeAsync();
            await proxy.DisposeAsync();
        }
    }
}
