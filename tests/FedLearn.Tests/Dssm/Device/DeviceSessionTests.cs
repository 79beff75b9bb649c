using System.Security.Cryptography;
using FedLearn.Aggregation;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Dssm.Device;

public class DeviceSessionTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly ChannelOptions Idle = new() { ReceiveTimeout = Timeout.InfiniteTimeSpan };

    private static DeviceJob Masked(int rounds = 2, int threshold = 3) => DeviceScene.Job(5) with
    {
        Training = new() { Rounds = rounds, Participation = 1, Seed = 3 },
        Privacy = new() { Threshold = threshold },
    };

    private static double[] All(DeviceModel model) => [.. model.Item, .. model.Views.SelectMany(v => v)];

    /// <summary>A channel whose owner vanishes before it sends its message number <paramref name="sends"/>: the connection ends without a word, or nothing more comes.</summary>
    private sealed class Dying(IPartyChannel inner, int sends, bool hang = false) : IPartyChannel
    {
        private int _sent;

        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            if (_sent++ == sends)
            {
                if (hang)
                    await new TaskCompletionSource().Task.WaitAsync(cancellationToken);
                await inner.DisposeAsync();
                throw new InvalidOperationException("The device is gone.");
            }

            await inner.SendAsync(round, message, cancellationToken);
        }

        public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload => inner.ReceiveAsync<T>(round, length, cancellationToken);

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => default;

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }

    /// <summary>A channel over which leaves what a function makes of a payload.</summary>
    private sealed class Saying(IPartyChannel inner, Func<Payload, Payload> says) : IPartyChannel
    {
        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload =>
            inner.SendAsync(round, Disclosure.Unprotected((T)says(message.Payload), message.Name), cancellationToken);

        public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload => inner.ReceiveAsync<T>(round, length, cancellationToken);

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }

    // Digest of the terms and count; then a client and the ciphertext for it, or of it, with its tag.
    private const int BeforeEntries = 36, EntryBytes = 4 + 132 + 16;

    /// <summary>The message with one bit of each of some ciphertexts changed.</summary>
    private static Payload Damaged(Payload payload, AggregationStep step, int most)
    {
        if (payload is not AggregationMessage message || message.Step != step)
            return payload;
        byte[] bytes = message.Bytes.ToArray();
        for (int entry = 0; entry < most && BeforeEntries + entry * EntryBytes < bytes.Length; entry++)
            bytes[BeforeEntries + entry * EntryBytes + 9] ^= 1;
        return new AggregationMessage(step, bytes);
    }

    // The receiver is not at fault, and left the job.
    [Fact]
    public async Task Run_AShareDoesNotOpen_TheRoundGoesOnWithoutIt()
    {
        DeviceJob job = Masked();
        Ran ran = await RunAsync(job, (i, channel) => i == 2 ? new ChangedChannel(channel, received => Damaged(received, AggregationStep.Delivery, 1)) : channel);
        Assert.Null(ran.Failure);
        Assert.All(ran.Ends, Assert.Null);
        Assert.Equal([(0, 5, 5), (1, 5, 5)], ran.Result!.Rounds.Select(r => (r.Attempt, r.Participants, r.Survivors)));
        Assert.Equal(Simulated(job), All(ran.Result.Model));
    }

    [Fact]
    public async Task Run_SharesThatTooFewCanOpen_DropTheDeviceThatSentThem()
    {
        Ran ran = await RunAsync(Masked(), (i, channel) => i == 1 ? new Saying(channel, sent => Damaged(sent, AggregationStep.Shares, 5)) : channel);
        Assert.Null(ran.Failure);
        Assert.Equal(AggregationErrors.ShareTampered, Assert.IsType<PeerException>(ran.Ends[1]).PeerErrorId);
        Assert.All(ran.Ends.Where((_, i) => i != 1), Assert.Null);
        Assert.Equal([(0, 5, 0), (1, 4, 4), (2, 4, 4)], ran.Result!.Rounds.Select(r => (r.Attempt, r.Participants, r.Survivors)));
        Assert.Contains("do not open", ran.Result.Rounds[0].Failure, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ElementType.Float32)]
    [InlineData(ElementType.Lattice)]
    public async Task Run_UpdatePackedInAnotherWay_DropsTheDevice(ElementType type)
    {
        DeviceJob job = Masked(rounds: 1) with { Privacy = new() { SecureAggregation = false } };
        Ran ran = await RunAsync(job, (i, channel) => i == 1 ? new Saying(channel, sent => sent is not ModelUpdate update ? sent
            : type == ElementType.Lattice ? new ModelUpdate(LatticeVector.Of(update.Values.Span, 1, 1 << 20)) : new ModelUpdate(update.Values, type)) : channel);
        Assert.Null(ran.Failure);
        Assert.Equal(ProtocolErrors.UnexpectedMessage, Assert.IsType<PeerException>(ran.Ends[1]).PeerErrorId);
        Assert.Equal([(5, 4)], ran.Result!.Rounds.Select(r => (r.Participants, r.Survivors)));
    }

    [Fact]
    public async Task Run_ModelPackedInAnotherWay_IsRefusedByTheDevice()
    {
        Ran ran = await RunAsync(Masked(rounds: 1), (i, channel) => i == 1
            ? new ChangedChannel(channel, received => received is ModelParameters model ? new ModelParameters(model.Values, ElementType.Float32) : received) : channel);
        Assert.Equal(ProtocolErrors.UnexpectedMessage, Assert.IsType<PeerException>(ran.Ends[1]).Id);
        Assert.Equal(4, ran.Result!.Rounds[^1].Survivors);
    }

    // Devices refused it alone, and the server waited for them.
    [Fact]
    public void Server_NoiseThatNoFigureCovers_IsRefusedAsByDevices()
    {
        DeviceJob job = Masked() with { Training = new() { Rounds = 2, Participation = 0.5, Seed = 3 }, Privacy = new() { Threshold = 3, Clip = 1, NoiseMultiplier = 0.02, MaxParticipations = 2 } };
        Assert.Equal(PrivacyErrors.BeyondAccountant, Assert.Throws<ConfigurationException>(() => new DeviceClient(job, DeviceScene.Devices(1)[0], DeviceScene.Towers)).Id);
        Assert.Equal(PrivacyErrors.BeyondAccountant, Assert.Throws<ConfigurationException>(() => new DeviceServer(job, DeviceScene.Towers)).Id);
        Assert.Equal(PrivacyErrors.BeyondAccountant, Assert.Throws<ConfigurationException>(() => new DeviceSimulation(job, DeviceScene.Devices(5), DeviceScene.Towers)).Id);
    }

    private sealed record Ran(DeviceResult? Result, Exception? Failure, DeviceClient[] Clients, Exception?[] Ends, IPartyChannel[] DeviceSides);

    private static async Task<Ran> RunAsync(DeviceJob job, Func<int, IPartyChannel, IPartyChannel>? wrap = null, EnrolmentKey[]? keys = null, DeviceServerOptions? options = null,
        InMemoryLedger[]? ledgers = null, bool stopsDevices = true)
    {
        DeviceData[] devices = DeviceScene.Devices(job.Devices);
        DeviceEnrolment[] enrolled = [.. (keys ?? []).Select((key, i) => new DeviceEnrolment(devices[i].Device, 10 + i, key.PublicKey))];
        using var server = new DeviceServer(job, DeviceScene.Towers, (options ?? new() { PhaseTimeout = Patience }) with { Enrolled = enrolled });
        DeviceClient[] clients = [.. devices.Select((data, i) => new DeviceClient(job, data, DeviceScene.Towers, new() { Key = keys?[i], Enrolled = enrolled, Ledger = ledgers?[i] }))];
        (InMemoryChannel Server, InMemoryChannel Device)[] pairs = [.. devices.Select(d => InMemoryChannel.CreatePair(DeviceSessions.Server, d.Device, Idle))];
        IPartyChannel[] sides = [.. pairs.Select((pair, i) => wrap?.Invoke(i, pair.Device) ?? pair.Device)];
        using var stop = new CancellationTokenSource();
        Task<Exception?>[] running = [.. clients.Select((client, i) => Task.Run(() => Record.ExceptionAsync(() => client.RunAsync(sides[i], stop.Token)).AsTask()))];
        DeviceResult? result = null;
        Exception? failure = await Record.ExceptionAsync(async () => result = await server.RunAsync([.. pairs.Select(p => p.Server)]).WaitAsync(Patience));
        if (stopsDevices && (failure is not null || options is not null))
            await stop.CancelAsync();
        Exception?[] ends = await Task.WhenAll(running).WaitAsync(Patience);
        foreach (DeviceClient client in clients)
            client.Dispose();
        return new(result, failure, clients, ends, sides);
    }

    private static double[] Simulated(DeviceJob job)
    {
        using var simulation = new DeviceSimulation(job, DeviceScene.Devices(job.Devices), DeviceScene.Towers);
        return All(simulation.Run().Model);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Run_FiveDevices_IsTheSimulationBitForBit(bool masked)
    {
        DeviceJob job = Masked();
        job = masked ? job : job with { Privacy = new() { SecureAggregation = false } };
        Ran ran = await RunAsync(job);
        Assert.Null(ran.Failure);
        Assert.All(ran.Ends, Assert.Null);
        Assert.Equal(Simulated(job), All(ran.Result!.Model));
        Assert.Equal([(0, 5, 5), (1, 5, 5)], ran.Result.Rounds.Select(r => (r.Attempt, r.Participants, r.Survivors)));
        Assert.All(ran.Result.Rounds, r => Assert.Equal(masked, r.Masked));
    }

    [Fact]
    public async Task Run_CoinsBelowOne_AreThoseOfTheSimulation()
    {
        DeviceJob job = Masked(rounds: 6) with { Training = new() { Rounds = 6, Participation = 0.6, Seed = 5, AttemptsPerRound = 20 } };
        Ran ran = await RunAsync(job);
        Assert.Null(ran.Failure);
        Assert.Equal(Simulated(job), All(ran.Result!.Model));
        Assert.Contains(ran.Result.Rounds, r => r.Participants < 5);
    }

    // Attempts that end before they begin, since too few say yes: those who did have to hear of it, or none of them is there for the next one.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Run_TooFewSayYes_TheyAreThereForTheNextAttempt(bool masked)
    {
        DeviceJob job = Masked(rounds: 3, threshold: 4) with { Training = new() { Rounds = 3, Participation = 0.6, Seed = 5, AttemptsPerRound = 30 } };
        job = job with { Privacy = job.Privacy with { SecureAggregation = masked } };
        Ran ran = await RunAsync(job);
        Assert.Null(ran.Failure);
        Assert.All(ran.Ends, Assert.Null);
        Assert.Contains(ran.Result!.Rounds, r => r.Failure is not null && r.Participants > 0);
        Assert.Equal(Simulated(job), All(ran.Result.Model));
    }

    [Fact]
    public async Task Run_MoreThanMasksAreFor_SaysWhatToLower()
    {
        DeviceJob job = Masked() with { Devices = DeviceJob.MaskedClients + 1 };
        Ran ran = await RunAsync(job, options: new() { PhaseTimeout = Patience, WaitFor = job.Devices }, stopsDevices: false);
        PeerException failure = Assert.IsType<PeerException>(ran.Failure);
        Assert.Equal(DeviceErrors.RoundFailed, failure.Id);
        Assert.Contains("129 devices take part", failure.Cause, StringComparison.Ordinal);
        Assert.Contains("Lower the participation", failure.Remedy, StringComparison.Ordinal);
        Assert.All(ran.Clients, client => Assert.Equal(0, client.Participations));
        Assert.All(ran.Ends, end => Assert.Equal(ProtocolErrors.PeerAborted, Assert.IsType<PeerException>(end).Id));
    }

    // Uploads are taken as they come: none is held until the slowest device has sent its own.
    [Fact]
    public async Task Run_UploadIsRefused_ItsDeviceIsToldWhileOthersStillCompute()
    {
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Ran ran = await RunAsync(Masked(rounds: 1), (i, channel) => i switch
        {
            0 => new Uploading(channel, upload => Task.FromResult(new MaskedVector(upload.Values, 2 * upload.Step)), told.SetResult),
            1 => new Uploading(channel, async upload =>
            {
                await told.Task.WaitAsync(Patience);
                return upload;
            }, () => { }),
            _ => channel,
        });
        Assert.Null(ran.Failure);
        Assert.Equal(ProtocolErrors.PeerAborted, Assert.IsType<PeerException>(ran.Ends[0]).Id);
        Assert.All(ran.Ends.Skip(1), Assert.Null);
        Assert.Equal([(0, 5, 4)], ran.Result!.Rounds.Select(r => (r.Attempt, r.Participants, r.Survivors)));
    }

    // Only updates without masks and noise are seen, and have a number of samples.
    [Theory]
    [InlineData(-1)]
    [InlineData(0.5)]
    [InlineData(1e308)]
    public void Add_NumberOfSamplesThatIsNone_IsRefusedAndChangesNothing(double samples)
    {
        var aggregate = new DeviceAggregate(new DevicePlan(DeviceScene.Job(3)), null, 2);
        aggregate.Add(new ModelUpdate(new double[] { 0.25, 0 }), "device 0");
        aggregate.Add(new ModelUpdate(new double[] { 0.5, 3 }), "device 1");
        var error = Assert.Throws<PeerException>(() => aggregate.Add(new ModelUpdate(new double[] { 1, samples }), "device 2"));
        Assert.Equal((ProtocolErrors.IllegalValue, "device 2"), (error.Id, error.Peer));
        Assert.Equivalent((new double[] { 0.75 }, 3.0), aggregate.Open());
    }

    /// <summary>A channel whose owner uploads something else, or later.</summary>
    private sealed class Uploading(IPartyChannel inner, Func<MaskedVector, Task<MaskedVector>> change, Action failed) : IPartyChannel
    {
        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            if (message.Payload is MaskedVector upload)
                await inner.SendAsync(round, Disclosure.Unprotected(await change(upload), message.Name), cancellationToken);
            else
                await inner.SendAsync(round, message, cancellationToken);
        }

        public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
        {
            try
            {
                return await inner.ReceiveAsync<T>(round, length, cancellationToken);
            }
            catch (PeerException)
            {
                failed();
                throw;
            }
        }

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }

    [Fact]
    public void Terms_OfManyDevices_ReadTheItemsOnce()
    {
        var ids = new Counted(Masked().Items.Ids);
        DeviceJob job = Masked() with { Items = Masked().Items with { Ids = ids } };
        byte[][] digests = [.. Enumerable.Range(0, 5).SelectMany(d => new[] { DeviceSessions.Terms(job, $"device {d}").TermsDigest, DeviceSessions.ServerRequest(job).TermsDigest }).Select(d => d.ToArray())];
        Assert.Equal(1, ids.Reads);
        Assert.All(digests, digest => Assert.Equal(DeviceSessions.Terms(Masked(), "device").TermsDigest.ToArray(), digest));
    }

    private sealed class Counted(IReadOnlyList<string> items) : IReadOnlyList<string>
    {
        public int Reads { get; private set; }

        public int Count => items.Count;

        public string this[int index] => items[index];

        public IEnumerator<string> GetEnumerator()
        {
            Reads++;
            return items.GetEnumerator();
        }

        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
    }

    [Fact]
    public async Task Run_Private_NoisesBeforeMasks_AndChargesEveryAttempt()
    {
        DeviceJob job = Masked(rounds: 3);
        job = job with { Privacy = new() { Clip = 0.5, NoiseMultiplier = 2, MaxParticipations = 3, Threshold = 3 } };
        Ran ran = await RunAsync(job);
        Assert.Null(ran.Failure);
        Assert.All(ran.Clients, client => Assert.Equal(3, client.Participations));
        Assert.All(ran.DeviceSides, side => Assert.Equal(3, side.Releases[("masked update", Protection.Noise)]));
        // Nothing but noised updates, keys, shares and answers leaves a device.
        Assert.All(ran.DeviceSides, side => Assert.Equal(["invitation", "masked update", "secure aggregation"], side.Releases.Keys.Select(k => k.Name).Order()));
    }

    [Fact]
    public async Task Run_CapReached_DevicesDecline_AndTheRoundFails()
    {
        DeviceJob job = Masked(rounds: 3);
        job = job with { Privacy = new() { Clip = 0.5, NoiseMultiplier = 2, MaxParticipations = 2, Threshold = 3 } };
        Ran ran = await RunAsync(job);
        Assert.Equal(DeviceErrors.RoundFailed, Assert.IsType<PeerException>(ran.Failure).Id);
        Assert.All(ran.Clients, client => Assert.Equal(2, client.Participations));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Attend_WhenTheJobIsOver_TellsTheDeviceAtOnce(bool fails)
    {
        // With a threshold that five devices cannot reach the job fails.
        DeviceJob job = Masked(rounds: 1) with { Training = new() { Rounds = 1, Participation = 1, AttemptsPerRound = 1 }, Privacy = new() { Threshold = fails ? 6 : 3 } };
        DeviceData[] devices = DeviceScene.Devices(job.Devices);
        using var server = new DeviceServer(job, DeviceScene.Towers, new() { PhaseTimeout = Patience, WaitFor = 5 });
        DeviceClient[] clients = [.. devices.Select(data => new DeviceClient(job, data, DeviceScene.Towers))];
        (InMemoryChannel Server, InMemoryChannel Device)[] pairs = [.. devices.Select(d => InMemoryChannel.CreatePair(DeviceSessions.Server, d.Device, Idle))];
        Task<Exception?>[] running = [.. clients.Select((client, i) => Task.Run(() => Record.ExceptionAsync(() => client.RunAsync(pairs[i].Device)).AsTask()))];
        Exception? failure = await Record.ExceptionAsync(() => server.RunAsync([.. pairs.Select(p => p.Server)]).WaitAsync(Patience));
        Assert.Equal(fails ? DeviceErrors.RoundFailed : null, (failure as PeerException)?.Id);
        await Task.WhenAll(running).WaitAsync(Patience);

        (InMemoryChannel there, InMemoryChannel here) = InMemoryChannel.CreatePair(DeviceSessions.Server, devices[0].Device, Idle);
        Task<Exception?> attending = Record.ExceptionAsync(() => server.AttendAsync(there)).AsTask();
        Exception? late = await Record.ExceptionAsync(() => clients[0].RunAsync(here).WaitAsync(Patience));
        Assert.Same(failure, await attending.WaitAsync(Patience));
        Assert.Equal(fails ? ProtocolErrors.PeerAborted : null, (late as PeerException)?.Id);
        foreach (DeviceClient client in clients)
            client.Dispose();
    }

    // Messages of a device in a masked attempt: answer, keys, shares, vector, reveal.
    [Theory]
    [InlineData(0, 4, 4)]
    [InlineData(1, 5, 4)]
    [InlineData(2, 5, 4)]
    [InlineData(3, 5, 4)]
    [InlineData(4, 5, 5)]
    public async Task Run_OneVanishesInAPhase_TheOthersGoOn(int sends, int participants, int survivors)
    {
        Ran ran = await RunAsync(Masked(), (i, channel) => i == 2 ? new Dying(channel, sends) : channel);
        Assert.Null(ran.Failure);
        Assert.Equal(2, ran.Result!.Model.Version);
        Assert.Equal([(participants, survivors), (4, 4)], ran.Result.Rounds.Select(r => (r.Participants, r.Survivors)));
        Assert.IsType<InvalidOperationException>(ran.Ends[2]);
        Assert.All(ran.Ends.Where((_, i) => i != 2), Assert.Null);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Run_OneVanishesWithoutMasks_TheOthersGoOn(int sends)
    {
        Ran ran = await RunAsync(Masked() with { Privacy = new() { SecureAggregation = false } }, (i, channel) => i == 2 ? new Dying(channel, sends) : channel);
        Assert.Null(ran.Failure);
        Assert.All(ran.Result!.Rounds, r => Assert.Equal(4, r.Survivors));
    }

    [Fact]
    public async Task Run_OneHangs_IsDroppedWhenItsTimeIsUp()
    {
        Ran ran = await RunAsync(Masked(), (i, channel) => i == 2 ? new Dying(channel, 3, hang: true) : channel, options: new() { PhaseTimeout = TimeSpan.FromSeconds(4) });
        Assert.Null(ran.Failure);
        Assert.Equal(2, ran.Result!.Model.Version);
        Assert.IsAssignableFrom<OperationCanceledException>(ran.Ends[2]);
    }

    [Fact]
    public async Task Run_FewerThanTheThreshold_GivesTheAttemptUp_AndTheNextOneIsCharged()
    {
        // All five are needed. One vanishes before its vector and comes back on another channel: the second attempt has new keys and new noise, and everybody pays twice.
        DeviceJob job = Masked(rounds: 1, threshold: 5);
        job = job with { Privacy = new() { Clip = 0.5, NoiseMultiplier = 2, MaxParticipations = 4, Threshold = 5 } };
        DeviceData[] devices = DeviceScene.Devices(5);
        using var server = new DeviceServer(job, DeviceScene.Towers, new() { PhaseTimeout = Patience });
        DeviceClient[] clients = [.. devices.Select(data => new DeviceClient(job, data, DeviceScene.Towers))];
        (InMemoryChannel Server, InMemoryChannel Device)[] pairs = [.. devices.Select(d => InMemoryChannel.CreatePair(DeviceSessions.Server, d.Device, Idle))];
        Task<DeviceResult> serving = server.RunAsync([.. pairs.Select(p => p.Server)]);
        Task[] running = [.. clients.Select(async (client, i) =>
        {
            if (i != 1)
            {
                await client.RunAsync(pairs[i].Device);
                return;
            }

            await Assert.ThrowsAsync<InvalidOperationException>(() => client.RunAsync(new Dying(pairs[i].Device, 3)));
            (InMemoryChannel there, InMemoryChannel here) = InMemoryChannel.CreatePair(DeviceSessions.Server, devices[i].Device, Idle);
            Task attending = server.AttendAsync(there);
            await client.RunAsync(here);
            await attending;
        })];
        DeviceResult result = await serving.WaitAsync(Patience);
        await Task.WhenAll(running).WaitAsync(Patience);
        Assert.Equal([(0, 0, false), (1, 5, true)], result.Rounds.Select(r => (r.Attempt, r.Survivors, r.Failure is null)));
        Assert.All(clients, client => Assert.Equal(2, client.Participations));
        foreach (DeviceClient client in clients)
            client.Dispose();
    }

    [Fact]
    public async Task Dispose_AfterTheJob_GivesBackTheParticipationsThatWereNot()
    {
        DeviceJob job = DeviceScene.Private(5) with { Training = new() { Rounds = 4, Participation = 1, Seed = 3 } };
        InMemoryLedger[] ledgers = [.. Enumerable.Range(0, 5).Select(_ => new InMemoryLedger())];
        Ran ran = await RunAsync(job, ledgers: ledgers);
        Assert.Null(ran.Failure);
        Assert.All(ran.Clients, client => Assert.Equal(4, client.Participations));
        Assert.All(ledgers, ledger => Assert.Equal((ChargeState.Settled, 4 / 10.0), (Assert.Single(ledger.Entries).State, ledger.Entries[0].Share)));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(4)]
    [InlineData(5)]
    public async Task Run_AgainstAnActiveServer_SignsAndSurvivesDropouts(int? sends)
    {
        // Messages: answer, keys, shares, vector, consent, reveal.
        EnrolmentKey[] keys = [.. Enumerable.Range(0, 5).Select(_ => EnrolmentKey.Create())];
        DeviceJob job = Masked() with { Privacy = new() { Threshold = 4, Colluders = 1, Server = ServerTrust.Active } };
        Ran ran = await RunAsync(job, (i, channel) => i == 2 && sends is { } last ? new Dying(channel, last) : channel, keys);
        Assert.Null(ran.Failure);
        Assert.Equal(2, ran.Result!.Model.Version);
        if (sends is null)
            Assert.Equal(Simulated(job with { Privacy = job.Privacy with { Server = ServerTrust.HonestButCurious } }), All(ran.Result.Model));
        foreach (EnrolmentKey key in keys)
            key.Dispose();
    }

    /// <summary>At a model of zeros every update is 0: the sum over a device with the model and others with zeros would be that device's update.</summary>
    [Theory]
    [InlineData(ServerTrust.Active)]
    [InlineData(ServerTrust.HonestButCurious)]
    public async Task Run_OneDeviceHasAnotherModel_OpensNoSum(ServerTrust server)
    {
        EnrolmentKey[] keys = [.. Enumerable.Range(0, 5).Select(_ => EnrolmentKey.Create())];
        DeviceJob job = Masked() with { Training = new() { Rounds = 1, Participation = 1, Seed = 3, AttemptsPerRound = 1 }, Privacy = new() { Threshold = 4, Server = server } };
        Ran ran = await RunAsync(job, (i, channel) => i == 2 ? channel : new ChangedChannel(channel, received => received is ModelParameters model ? new ModelParameters(new double[model.Length]) : received), keys);
        Assert.Equal(DeviceErrors.RoundFailed, Assert.IsType<PeerException>(ran.Failure).Id);
        foreach (EnrolmentKey key in keys)
            key.Dispose();
    }

    [Fact]
    public void Client_ActiveServerWithoutEnrolment_IsRefused()
    {
        DeviceJob job = Masked() with { Privacy = new() { Threshold = 4, Server = ServerTrust.Active } };
        Assert.Equal(DeviceErrors.InvalidJob, Assert.Throws<ConfigurationException>(() => new DeviceClient(job, DeviceScene.Devices(1)[0], DeviceScene.Towers)).Id);
    }

    [Theory]
    [InlineData(0, 3, 3)]
    [InlineData(0, 5, 3)]
    [InlineData(0, 6, 4)]
    [InlineData(0, 7, 4)]
    [InlineData(1, 4, 3)]
    [InlineData(1, 5, 4)]
    [InlineData(1, 100, 51)]
    public void ThresholdOf_Clients_IsAboveHalfOfThemAndTheColluders(int colluders, int clients, int threshold)
    {
        DeviceJob job = Masked();
        var plan = new DevicePlan(job with { Privacy = job.Privacy with { Colluders = colluders } });
        Assert.Equal(threshold, plan.ThresholdOf(clients));
        Assert.True(2 * threshold > clients + colluders);
        Assert.True(threshold == 3 || 2 * (threshold - 1) <= clients + colluders);
    }

    private sealed class MemoryStore : IDeviceStore
    {
        private byte[]? _bytes;

        public byte[]? Read() => _bytes;

        public void Write(ReadOnlySpan<byte> state) => _bytes = state.ToArray();
    }

    private static (InMemoryChannel Server, Task<Exception?> Device, DeviceClient Client) Lonely(DeviceJob job, IDeviceStore? store = null)
    {
        DeviceData data = DeviceScene.Devices(1)[0];
        var client = new DeviceClient(job, data, DeviceScene.Towers, new() { Store = store });
        (InMemoryChannel there, InMemoryChannel here) = InMemoryChannel.CreatePair(DeviceSessions.Server, data.Device, Idle);
        return (there, Record.ExceptionAsync(() => client.RunAsync(here)).AsTask(), client);
    }

    [Fact]
    public async Task Client_SameAttemptAgain_IsRefused()
    {
        (InMemoryChannel server, Task<Exception?> device, DeviceClient client) = Lonely(Masked());
        var offer = new DeviceInvitation(DeviceInvitationKind.Offer, 7, 0, 0);
        await server.SendAsync(0, offer.Message());
        await server.ReceiveAsync<AggregationMessage>(0, null);
        await server.SendAsync(0, (offer with { Kind = DeviceInvitationKind.GivenUp }).Message());
        await server.SendAsync(1, offer.Message());
        Assert.Equal(DeviceErrors.RepeatedAttempt, Assert.IsType<PeerException>(await device.WaitAsync(Patience)).Id);
        Assert.Equal(0, client.Participations);
        client.Dispose();
    }

    /// <summary>The server's next word, and the device's answer to it.</summary>
    private static async Task<DeviceInvitationKind> AnswerAsync(InMemoryChannel server, int round, DeviceInvitation invitation)
    {
        await server.SendAsync(round, invitation.Message());
        return DeviceInvitation.Read(await server.ReceiveAsync<AggregationMessage>(round, null), server.RemoteParty, round)!.Kind;
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, true)]
    public async Task Client_RestartedWithItsStoreAlone_KeepsItsCap(int before, bool declines)
    {
        // The ledger was in memory, and is gone with the process that took part.
        DeviceJob job = Masked() with { Privacy = new() { Clip = 0.5, NoiseMultiplier = 2, MaxParticipations = 2, Threshold = 3 } };
        var store = new MemoryStore();
        new DeviceMemory(new DevicePlan(job), "device 0", store) { LastAttempt = 4, Participations = before }.Keep();
        (InMemoryChannel server, Task<Exception?> device, DeviceClient client) = Lonely(job, store);
        Assert.Equal(before, client.Participations);
        Assert.Equal(declines ? DeviceInvitationKind.Decline : DeviceInvitationKind.AcceptAndReturn, await AnswerAsync(server, 0, new DeviceInvitation(DeviceInvitationKind.Offer, 5, 0, 0)));
        await server.DisposeAsync();
        Assert.NotNull(await device.WaitAsync(Patience));
        client.Dispose();
    }

    [Fact]
    public async Task Client_Update_IsCountedInItsStoreBeforeAnythingLeaves()
    {
        DeviceJob job = Masked() with { Privacy = new() { Clip = 0.5, NoiseMultiplier = 2, MaxParticipations = 2, Threshold = 3 } };
        var store = new MemoryStore();
        (InMemoryChannel server, Task<Exception?> device, DeviceClient client) = Lonely(job, store);
        var offer = new DeviceInvitation(DeviceInvitationKind.Offer, 0, 0, 0);
        Assert.Equal(DeviceInvitationKind.AcceptAndReturn, await AnswerAsync(server, 0, offer));
        await server.SendAsync(0, (offer with { Kind = DeviceInvitationKind.Begin, Clients = 3 }).Message());
        using DeviceWork work = DeviceScene.Work(job);
        await server.SendAsync(0, Disclosure.Unprotected(new ModelParameters(new double[work.FederatedLength]), "test"));
        Assert.Equal(AggregationStep.Keys, (await server.ReceiveAsync<AggregationMessage>(0, null)).Step);
        var memory = new DeviceMemory(new DevicePlan(job), "device 0", store);
        Assert.Equal((0, 1), (memory.LastAttempt, memory.Participations));
        await server.DisposeAsync();
        Assert.NotNull(await device.WaitAsync(Patience));
        client.Dispose();
    }

    /// <summary>The server gets the same messages, of the same sizes, whatever the training gave.</summary>
    [Theory]
    [InlineData(0, 0)]
    [InlineData(1.7e308, 1)]
    public async Task Client_TrainingThatDiverges_TellsItsOwnUserAlone(double size, int diverged)
    {
        DeviceJob job = Masked() with { Privacy = new() { Clip = 0.5, NoiseMultiplier = 2, MaxParticipations = 2, Threshold = 3 } };
        (InMemoryChannel server, Task<Exception?> device, DeviceClient client) = Lonely(job, new MemoryStore());
        var offer = new DeviceInvitation(DeviceInvitationKind.Offer, 0, 0, 0);
        Assert.Equal(DeviceInvitationKind.AcceptAndReturn, await AnswerAsync(server, 0, offer));
        await server.SendAsync(0, (offer with { Kind = DeviceInvitationKind.Begin, Clients = 3 }).Message());
        using DeviceWork work = DeviceScene.Work(job);
        double[] model = [.. Enumerable.Range(0, work.FederatedLength).Select(i => i % 3 == 0 ? -size : size)];
        await server.SendAsync(0, Disclosure.Unprotected(new ModelParameters(model), "test"));
        AggregationMessage keys = await server.ReceiveAsync<AggregationMessage>(0, null);
        Assert.Equal((AggregationStep.Keys, 100), (keys.Step, keys.Bytes.Length));
        Assert.Equal((1, diverged), (client.Participations, client.Diverged));
        await server.DisposeAsync();
        Assert.NotNull(await device.WaitAsync(Patience));
        client.Dispose();
    }

    [Fact]
    public async Task Client_LaterOffer_ForgetsTheUploadOfTheAttemptBefore()
    {
        DeviceJob job = Masked();
        var store = new MemoryStore();
        var upload = new DeviceInvitation(DeviceInvitationKind.Begin, 4, 1, 1, 5, 0);
        new DeviceMemory(new DevicePlan(job), "device 0", store) { LastAttempt = 4, Participations = 1, Upload = new DeviceUpload(upload, default, 0, new byte[8], true) { Aggregation = new byte[] { 7 } } }.Keep();
        (InMemoryChannel server, Task<Exception?> device, DeviceClient client) = Lonely(job, store);
        var offer = new DeviceInvitation(DeviceInvitationKind.Offer, 5, 1, 1);
        Assert.Equal(DeviceInvitationKind.AcceptAndReturn, await AnswerAsync(server, 0, offer));
        var memory = new DeviceMemory(new DevicePlan(job), "device 0", store);
        Assert.Equal(5, memory.LastAttempt);
        Assert.Null(memory.Upload);
        // Nor does the device that runs know anything of it.
        await server.SendAsync(0, (offer with { Kind = DeviceInvitationKind.GivenUp }).Message());
        Assert.Equal(DeviceInvitationKind.Decline, await AnswerAsync(server, 1, upload with { Kind = DeviceInvitationKind.Return }));
        await server.SendAsync(2, new DeviceInvitation(DeviceInvitationKind.End, 0, 0, 0).Message());
        await server.CompleteAsync();
        Assert.Null(await device.WaitAsync(Patience));
        client.Dispose();
    }

    /// <summary>Two lists of survivors opened by one device would open the sum of those in one list only.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Client_OtherRequestToOpenAfterARestart_IsRefused(bool same)
    {
        DeviceJob job = Masked();
        var store = new MemoryStore();
        byte[] request = [1, 2, 3], answer = [9, 8];
        using DeviceWork work = DeviceScene.Work(job);
        var begin = new DeviceInvitation(DeviceInvitationKind.Begin, 4, 1, 1, 5, 0);
        new DeviceMemory(new DevicePlan(job), "device 0", store)
        {
            LastAttempt = 4,
            Participations = 1,
            Upload = new DeviceUpload(begin, default, 0, new byte[sizeof(long) * work.UploadLength], false)
            {
                Request = SHA256.HashData([(byte)AggregationStep.Unmask, .. request]),
                Answer = answer,
            },
        }.Keep();
        (InMemoryChannel server, Task<Exception?> device, DeviceClient client) = Lonely(job, store);
        Assert.Equal(DeviceInvitationKind.AcceptAndReturn, await AnswerAsync(server, 0, begin with { Kind = DeviceInvitationKind.Return }));
        await server.ReceiveAsync<MaskedVector>(0, work.UploadLength);
        await server.SendAsync(0, Disclosure.Unprotected(new AggregationMessage(AggregationStep.Unmask, same ? request : [1, 2, 4]), "test"));
        if (same)
        {
            Assert.Equal(answer, (await server.ReceiveAsync<AggregationMessage>(0, null)).Bytes.ToArray());
            await server.DisposeAsync();
            Assert.NotNull(await device.WaitAsync(Patience));
        }
        else
        {
            Assert.Equal(AggregationErrors.SecondUnmask, Assert.IsAssignableFrom<FedLearnException>(await device.WaitAsync(Patience)).Id);
        }

        client.Dispose();
    }

    [Theory]
    [InlineData(4, 1, 0)]
    [InlineData(3, 0, 0)]
    [InlineData(3, 1, 1)]
    public async Task Client_BeginOfAnotherAttemptThanTheOffer_SendsNothing(int attempt, int round, int version)
    {
        (InMemoryChannel server, Task<Exception?> device, DeviceClient client) = Lonely(Masked());
        Assert.Equal(DeviceInvitationKind.Accept, await AnswerAsync(server, 0, new DeviceInvitation(DeviceInvitationKind.Offer, 3, 1, 0)));
        await server.SendAsync(0, new DeviceInvitation(DeviceInvitationKind.Begin, attempt, round, version, 3, 0).Message());
        using DeviceWork work = DeviceScene.Work(Masked());
        await server.SendAsync(0, Disclosure.Unprotected(new ModelParameters(new double[work.FederatedLength]), "test"));
        Assert.Equal(DeviceErrors.BadInvitation, Assert.IsType<PeerException>(await device.WaitAsync(Patience)).Id);
        Assert.Equal(0, client.Participations);
        client.Dispose();
    }

    [Fact]
    public async Task Client_BadInvitations_AreRefused()
    {
        var offer = new DeviceInvitation(DeviceInvitationKind.Offer, 0, 0, 0);
        Released<AggregationMessage>[] bad =
        [
            Disclosure.Unprotected(new AggregationMessage(AggregationStep.Invitation, new byte[3]), "test"),
            Disclosure.Unprotected(new AggregationMessage(AggregationStep.Roster, new byte[21]), "test"),
            (offer with { Kind = DeviceInvitationKind.Begin }).Message(), (offer with { Round = 99 }).Message(), (offer with { Version = 1 }).Message(),
            (offer with { Attempt = -1 }).Message(),
        ];
        foreach (Released<AggregationMessage> message in bad)
        {
            (InMemoryChannel server, Task<Exception?> device, DeviceClient client) = Lonely(Masked());
            await server.SendAsync(0, message);
            Assert.Equal(DeviceErrors.BadInvitation, Assert.IsType<PeerException>(await device.WaitAsync(Patience)).Id);
            client.Dispose();
        }
    }

    [Fact]
    public async Task Client_FewerClientsThanTheThreshold_SendsNothing()
    {
        (InMemoryChannel server, Task<Exception?> device, DeviceClient client) = Lonely(Masked());
        var offer = new DeviceInvitation(DeviceInvitationKind.Offer, 0, 0, 0);
        await server.SendAsync(0, offer.Message());
        await server.ReceiveAsync<AggregationMessage>(0, null);
        await server.SendAsync(0, (offer with { Kind = DeviceInvitationKind.Begin, Clients = 2 }).Message());
        using DeviceWork work = DeviceScene.Work(Masked());
        await server.SendAsync(0, Disclosure.Unprotected(new ModelParameters(new double[work.FederatedLength]), "test"));
        Assert.Equal(DeviceErrors.BadInvitation, Assert.IsType<PeerException>(await device.WaitAsync(Patience)).Id);
        Assert.Equal(0, client.Participations);
        client.Dispose();
    }

    [Fact]
    public async Task Server_DeviceThatSendsRubbish_HasDroppedOut()
    {
        DeviceJob job = Masked(rounds: 1);
        DeviceData[] devices = DeviceScene.Devices(5);
        using var server = new DeviceServer(job, DeviceScene.Towers, new() { PhaseTimeout = Patience, WaitFor = 5 });
        DeviceClient[] clients = [.. devices.Take(4).Select(data => new DeviceClient(job, data, DeviceScene.Towers))];
        (InMemoryChannel Server, InMemoryChannel Device)[] pairs = [.. devices.Select(d => InMemoryChannel.CreatePair(DeviceSessions.Server, d.Device, Idle))];
        Task<DeviceResult> serving = server.RunAsync([.. pairs.Take(4).Select(p => p.Server)]);
        Task attending = server.AttendAsync(pairs[4].Server);
        Task[] running = [.. clients.Select((client, i) => client.RunAsync(pairs[i].Device))];
        InMemoryChannel rogue = pairs[4].Device;
        DeviceInvitation? offer = DeviceInvitation.Read(await rogue.ReceiveAsync<AggregationMessage>(0, null), "server", 0);
        await rogue.SendAsync(0, (offer! with { Kind = DeviceInvitationKind.Accept }).Message());
        await rogue.ReceiveAsync<AggregationMessage>(0, null);
        await rogue.ReceiveAsync<ModelParameters>(0, null);
        await rogue.SendAsync(0, Disclosure.Unprotected(new AggregationMessage(AggregationStep.Keys, new byte[80]), "test"));
        DeviceResult result = await serving.WaitAsync(Patience);
        Assert.Equal((5, 4), (result.Rounds.Single().Participants, result.Rounds.Single().Survivors));
        Assert.Equal(AggregationErrors.OtherAttempt, (await Assert.ThrowsAsync<PeerException>(() => attending.WaitAsync(Patience))).Id);
        await Task.WhenAll(running).WaitAsync(Patience);
        foreach (DeviceClient client in clients)
            client.Dispose();
    }
}
