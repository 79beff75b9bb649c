using FedLearn.Aggregation;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Dssm.Device;

/// <summary>Devices and servers that are lost in the midst of an attempt, and come back as new objects with what they had kept.</summary>
public class DeviceReturnTests
{
    private const int Devices = 5, Restarting = 2;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly ChannelOptions Idle = new() { ReceiveTimeout = Timeout.InfiniteTimeSpan };

    private static DeviceJob Job(int rounds = 2, int threshold = 3, ServerTrust trust = ServerTrust.HonestButCurious) => DeviceScene.Job(Devices) with
    {
        Training = new() { Rounds = rounds, Participation = 1, Seed = 3 },
        Privacy = new() { Threshold = threshold, Server = trust },
    };

    private static DeviceJob Private(DeviceJob job, long? seed = null) => job with { Privacy = job.Privacy with { Clip = 0.5, NoiseMultiplier = 2, MaxParticipations = 6, TestNoiseSeed = seed } };

    private static double[] All(DeviceModel model) => [.. model.Item, .. model.Views.SelectMany(v => v)];

    // Messages of a device in an attempt: answer, keys, shares, vector, and the answer for it; with an active server its consent before that.
    // A vector that was kept leaves after the restart, whether or not it had left before.
    [Theory]
    [InlineData(ServerTrust.HonestButCurious, 1, false, 4)]
    [InlineData(ServerTrust.HonestButCurious, 1, true, 4)]
    [InlineData(ServerTrust.HonestButCurious, 2, true, 4)]
    [InlineData(ServerTrust.HonestButCurious, 3, false, 5)]
    [InlineData(ServerTrust.HonestButCurious, 3, true, 5)]
    [InlineData(ServerTrust.HonestButCurious, 4, false, 5)]
    [InlineData(ServerTrust.Active, 3, false, 5)]
    [InlineData(ServerTrust.Active, 3, true, 5)]
    [InlineData(ServerTrust.Active, 4, false, 5)]
    [InlineData(ServerTrust.Active, 4, true, 5)]
    [InlineData(ServerTrust.Active, 5, false, 5)]
    public async Task Run_DeviceRestarts_SendsTheSameUploadOrHasDroppedOut(ServerTrust trust, int message, bool sent, int survivors)
    {
        DeviceJob job = Job(threshold: 4, trust: trust);
        using var scene = new Scene(job);
        scene.Die(Restarting, message, sent);
        DeviceResult result = await scene.RunAsync();
        Assert.Equal([(5, survivors), (5, 5)], result.Rounds.Select(r => (r.Participants, r.Survivors)));
        Assert.Equal(scene.Expected(result.Rounds, attempt => attempt == 0 && survivors == 4 ? Restarting : -1), All(result.Model));
        Assert.Equal(1, scene.Restarts);
        scene.CheckTranscript(attempts: 2);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task Run_PrivateDeviceRestarts_NoisesOnceAndPaysOnce(int message)
    {
        // Test noise: the model is that of the simulation only if the noise of every attempt was drawn once.
        DeviceJob job = Private(Job(rounds: 3, threshold: 4), seed: 9);
        using var scene = new Scene(job);
        scene.Die(Restarting, message, sent: message == 3);
        DeviceResult result = await scene.RunAsync();
        using var simulation = new DeviceSimulation(job, DeviceScene.Devices(Devices), DeviceScene.Towers);
        Assert.Equal(All(simulation.Run().Model), All(result.Model));
        Assert.All(scene.Ledgers, ledger => Assert.Equal(3, ledger.Messages.Values.Single()));
        scene.CheckTranscript(attempts: 3);
    }

    [Fact]
    public async Task Run_DeviceLosesItsConnectionOnly_GoesOnWithAnother()
    {
        using var scene = new Scene(Job(trust: ServerTrust.Active)) { RestartsWithMemory = true };
        scene.Die(Restarting, 4, sent: true);
        DeviceResult result = await scene.RunAsync();
        Assert.All(result.Rounds, r => Assert.Equal(5, r.Survivors));
        Assert.Equal(scene.Expected(result.Rounds, _ => -1), All(result.Model));
        scene.CheckTranscript(attempts: 2);
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(3, false)]
    [InlineData(4, false)]
    [InlineData(4, true)]
    public async Task Run_ServerRestarts_RepeatsTheRoundWithNewKeysThatArePaid(int message, bool sent)
    {
        DeviceJob job = Private(Job(rounds: 2, threshold: 4));
        using var scene = new Scene(job);
        scene.KillServer(message, sent);
        DeviceResult result = await scene.RunAsync();
        Assert.Equal([(0, false), (1, true), (2, true)], result.Rounds.Select(r => (r.Attempt, r.Failure is null)));
        Assert.Equal(2, result.Model.Version);
        // Every attempt for which a device drew noise is paid, the aborted one included.
        Assert.All(scene.Ledgers, ledger => Assert.InRange(ledger.Messages.Values.Single(), 2, 3));
        Assert.Equal(3, scene.Ledgers[Restarting].Messages.Values.Single());
        scene.CheckTranscript(attempts: 3);
        Assert.DoesNotContain(scene.Sent, s => s.Server > 0 && s.Attempt == 0 && s.Step is not AggregationStep.Invitation);
    }

    [Fact]
    public void Upload_OfAnEarlierAttempt_IsForgottenByTheNextOffer()
    {
        var store = new MemoryStore();
        var plan = new DevicePlan(Job());
        var memory = new DeviceMemory(plan, "device 0", store)
        {
            LastAttempt = 4,
            Participations = 2,
            Upload = new DeviceUpload(new DeviceInvitation(DeviceInvitationKind.Begin, 4, 1, 1, 5, 0), default, 0, new byte[] { 1, 2, 3, 4, 5, 6, 7, 8 }, true) { Aggregation = new byte[] { 7 } },
        };
        memory.Keep();
        var again = new DeviceMemory(plan, "device 0", store);
        Assert.Equal((4, 2, 4), (again.LastAttempt, again.Participations, again.Upload!.Begin.Attempt));
        Assert.Equal(memory.Upload.Masked.ToArray(), again.Upload.Masked.ToArray());
        again.Upload = null;
        again.Keep();
        Assert.Null(new DeviceMemory(plan, "device 0", store).Upload);
        Assert.Equal(DeviceErrors.OtherState, Assert.Throws<ConfigurationException>(() => new DeviceMemory(plan, "device 1", store)).Id);
        Assert.Equal(DeviceErrors.OtherState, Assert.Throws<ConfigurationException>(() => new DeviceMemory(new DevicePlan(Job(rounds: 9)), "device 0", store)).Id);
    }

    [Fact]
    public void Mask_FromAnOutbox_LeavesAsItWasKept()
    {
        var outbox = new Outbox();
        Released<ModelUpdate> update = Disclosure.Unprotected(new ModelUpdate(LatticeVector.Of([1.0, 2.0], 0.5, 8)), "test");
        byte[] first = AdditiveMask.Once(update, () => [5, 6], "test", outbox, 0).Payload.Values.ToArray();
        Assert.Equal(first, outbox.Kept[0]);
        Assert.Equal(first, AdditiveMask.Once(update, () => throw new InvalidOperationException("A mask is asked for again."), "test", outbox, 0).Payload.Values.ToArray());
        Assert.Equal(first, AdditiveMask.Again(outbox, 0, 0.5, Protection.None, "test").Payload.Values.ToArray());
        Assert.Throws<ArgumentException>(() => AdditiveMask.Again(outbox, 1, 0.5, Protection.None, "test"));
        Released<ModelUpdate> longer = Disclosure.Unprotected(new ModelUpdate(LatticeVector.Of([1.0, 2.0, 3.0], 0.5, 8)), "test");
        Assert.Equal(PrivacyErrors.NotTheKeptMessage, Assert.Throws<InternalFailureException>(() => AdditiveMask.Once(longer, () => [5, 6, 7], "test", outbox, 0)).Id);
    }

    private sealed class Outbox : IMaskedOutbox
    {
        public List<byte[]> Kept { get; } = [];

        public byte[]? Find(int index) => index < Kept.Count ? Kept[index] : null;

        public void Keep(int index, ReadOnlySpan<byte> message) => Kept.Add(message.ToArray());
    }

    private sealed class MemoryStore : IDeviceStore
    {
        private byte[]? _bytes;

        public byte[]? Read() => _bytes;

        public void Write(ReadOnlySpan<byte> state) => _bytes = state.ToArray();
    }

    private sealed record Message(int Server, int Device, int Attempt, AggregationStep? Step, byte[] Bytes);

    /// <summary>A job whose devices have stores and ledgers that outlive them. One device, or the server, dies once.</summary>
    private sealed class Scene : IDisposable
    {
        private readonly DeviceJob _job;
        private readonly DeviceData[] _data = DeviceScene.Devices(Devices);
        private readonly MemoryStore[] _stores = [.. Enumerable.Range(0, Devices).Select(_ => new MemoryStore())];
        private readonly EnrolmentKey[] _keys = [.. Enumerable.Range(0, Devices).Select(_ => EnrolmentKey.Create())];
        private readonly InMemoryRunStore _runs = new();
        private readonly CancellationTokenSource _serverDies = new();
        private readonly Lock _gate = new();
        private (int Device, int Message, bool Sent)? _death;
        private bool _isServers;
        private DeviceServer? _server;
        private int _serverNumber;
        private readonly TaskCompletionSource _newServer = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Scene(DeviceJob job) => _job = job;

        public KeepingLedger[] Ledgers { get; } = [.. Enumerable.Range(0, Devices).Select(_ => new KeepingLedger())];

        public List<Message> Sent { get; } = [];

        public bool RestartsWithMemory { get; init; }

        public int Restarts { get; private set; }

        public void Die(int device, int message, bool sent) => _death = (device, message, sent);

        public void KillServer(int message, bool sent) => (_death, _isServers) = ((Restarting, message, sent), true);

        public async Task<DeviceResult> RunAsync()
        {
            _server = NewServer();
            Task[] devices = [.. Enumerable.Range(0, Devices).Select(i => Task.Run(() => DeviceAsync(i)))];
            DeviceResult result;
            try
            {
                result = await _server.RunAsync([], null, _serverDies.Token).WaitAsync(Patience);
            }
            catch (OperationCanceledException) when (_isServers)
            {
                _server.Dispose();
                _serverNumber++;
                _server = NewServer();
                _newServer.SetResult();
                result = await _server.RunAsync([]).WaitAsync(Patience);
            }

            await Task.WhenAll(devices).WaitAsync(Patience);
            _server.Dispose();
            return result;
        }

        /// <summary>The exact sums of those who survived, one attempt after the other, in integers.</summary>
        public double[] Expected(IReadOnlyList<DeviceRound> rounds, Func<int, int> without)
        {
            var plan = new DevicePlan(_job);
            using var work = new DeviceWork(plan, DeviceScene.Towers);
            var state = new DeviceModelState(plan, work);
            foreach (DeviceRound round in rounds.Where(r => r.Failure is null))
            {
                long[] sum = new long[work.UploadLength];
                for (int d = 0; d < Devices; d++)
                {
                    if (d == without(round.Attempt))
                        continue;
                    double[] update = new double[work.UploadLength];
                    work.Update(_data[d], state.Parameters, [], round.Attempt, update.AsSpan(0, work.FederatedLength));
                    update[^1] = _data[d].Samples;
                    long[] integers = new DeviceParticipation(plan, null, _data[d].Device, null).Release(update).Payload.Lattice!.Integers();
                    for (int j = 0; j < sum.Length; j++)
                        sum[j] = unchecked(sum[j] + integers[j]);
                }

                var aggregate = new DeviceAggregate(plan, null, work.UploadLength);
                aggregate.Take(sum);
                state.Apply(aggregate);
            }

            return state.Parameters;
        }

        /// <summary>Each device has keys of its own in every attempt, never used in another, and one upload under them; sent again, it is the same bytes. It answers for one list with one answer.</summary>
        public void CheckTranscript(int attempts)
        {
            Assert.Equal(Enumerable.Range(0, attempts), Sent.Select(s => s.Attempt).Distinct().Order());
            var keys = Sent.Where(s => s.Step == AggregationStep.Keys).ToList();
            Assert.Equal(keys.Count, keys.Select(k => (k.Device, k.Attempt)).Distinct().Count());
            Assert.Equal(keys.Count, keys.Select(k => Convert.ToHexString(k.Bytes)).Distinct().Count());
            foreach (IGrouping<(int, int, AggregationStep?), Message> same in Sent.Where(s => s.Step is null or AggregationStep.Reveal or AggregationStep.Consent).GroupBy(s => (s.Device, s.Attempt, s.Step)))
                Assert.Single(same.Select(s => Convert.ToHexString(s.Bytes)).Distinct());
        }

        public void Dispose()
        {
            _serverDies.Dispose();
            foreach (EnrolmentKey key in _keys)
                key.Dispose();
        }

        private DeviceEnrolment[] Enrolled() => [.. _keys.Select((key, i) => new DeviceEnrolment(_data[i].Device, 10 + i, key.PublicKey))];

        private DeviceServer NewServer() => new(_job, DeviceScene.Towers, new() { PhaseTimeout = Patience, WaitFor = Devices, Enrolled = Enrolled(), Runs = _runs });

        private DeviceClient NewClient(int i) => new(_job, _data[i], DeviceScene.Towers, new()
        {
            Ledger = Ledgers[i],
            RunId = new string((char)('a' + i), 32),
            Store = _stores[i],
            Key = _keys[i],
            Enrolled = Enrolled(),
        });

        private async Task DeviceAsync(int i)
        {
            DeviceClient client = NewClient(i);
            while (true)
            {
                int number = _serverNumber;
                (InMemoryChannel there, InMemoryChannel here) = InMemoryChannel.CreatePair(DeviceSessions.Server, _data[i].Device, Idle);
                Task attending = _server!.AttendAsync(there);
                try
                {
                    await client.RunAsync(new Tap(this, here, i, number));
                    await attending;
                    client.Dispose();
                    return;
                }
                catch (Exception e) when (e is Killed or PeerException)
                {
                    await Record.ExceptionAsync(() => attending);
                    if (_isServers)
                        await _newServer.Task.WaitAsync(Patience);
                    if (e is Killed)
                        Restarts++;
                    if (RestartsWithMemory)
                        continue;
                    client.Suspend();
                    client = NewClient(i);
                }
            }
        }

        private bool DiesAt(int device, int message)
        {
            lock (_gate)
            {
                if (_death is not { } death || death.Device != device || death.Message != message)
                    return false;
                _death = null;
                return true;
            }
        }

        private sealed class Killed : Exception;

        /// <summary>A device's channel: writes down what leaves, and kills the device, or the server, before or after a message.</summary>
        private sealed class Tap(Scene scene, InMemoryChannel inner, int device, int server) : IPartyChannel
        {
            private int _attempt = -1, _inAttempt;

            public string LocalParty => inner.LocalParty;

            public string RemoteParty => inner.RemoteParty;

            public ChannelStatistics Statistics => inner.Statistics;

            public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

            public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
            {
                bool sent = scene._death?.Sent ?? false, dies = scene.DiesAt(device, _inAttempt++);
                if (dies && !sent)
                    await DieAsync();
                lock (scene._gate)
                    scene.Sent.Add(new Message(server, device, _attempt, (message.Payload as AggregationMessage)?.Step,
                        message.Payload switch { AggregationMessage m => m.Bytes.ToArray(), MaskedVector v => v.Values.ToArray(), _ => [] }));
                await inner.SendAsync(round, message, cancellationToken);
                if (dies && sent)
                    await DieAsync();
            }

            public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
            {
                T received = await inner.ReceiveAsync<T>(round, length, cancellationToken);
                if (received is AggregationMessage message && DeviceInvitation.Read(message, RemoteParty, round) is { Kind: DeviceInvitationKind.Offer or DeviceInvitationKind.Return } offer)
                    (_attempt, _inAttempt) = (offer.Attempt, offer.Kind == DeviceInvitationKind.Offer ? 0 : 100);
                return received;
            }

            public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

            public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

            public ValueTask DisposeAsync() => inner.DisposeAsync();

            private async ValueTask DieAsync()
            {
                if (scene._isServers)
                {
                    await scene._serverDies.CancelAsync();
                    return;
                }

                await inner.DisposeAsync();
                throw new Killed();
            }
        }
    }
}
