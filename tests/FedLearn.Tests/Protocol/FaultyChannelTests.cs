using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Tests.Protocol;

public sealed class FaultyChannelTests
{
    private const string Reason = "test";

    public static TheoryData<string> Checks => [.. ChannelConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public Task Channel_WithoutFaults_PassesTheKit(string check) => ChannelConformance.All[check](options =>
    {
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", "telco", options);
        return Task.FromResult(new ChannelPair(new FaultyChannel(first, _ => null), new FaultyChannel(second, _ => null)));
    });

    [Fact]
    public async Task Send_Drop_MessageNeverArrivesAndTheNextDoes()
    {
        (FaultyChannel sender, InMemoryChannel receiver) = Pair(FaultPlan.At(1, new MessageFault.Drop()));
        await SendAsync(sender, 3);
        Assert.Equal([0, 2], await ArrivedAsync(receiver, 0, 2));
        Assert.Equal(1, sender.Faults);
        Assert.Equal(2, sender.Statistics.MessagesSent);
    }

    [Fact]
    public async Task Send_Duplicate_MessageArrivesTwice()
    {
        (FaultyChannel sender, InMemoryChannel receiver) = Pair(FaultPlan.At(1, new MessageFault.Duplicate()));
        await SendAsync(sender, 3);
        Assert.Equal([0, 1, 1, 2], await ArrivedAsync(receiver, 0, 1, 1, 2));
    }

    [Fact]
    public async Task Send_Reorder_MessageArrivesAfterTheNext()
    {
        (FaultyChannel sender, InMemoryChannel receiver) = Pair(FaultPlan.At(1, new MessageFault.Reorder()));
        await SendAsync(sender, 4);
        Assert.Equal([0, 2, 1, 3], await ArrivedAsync(receiver, 0, 2, 1, 3));
    }

    [Fact]
    public async Task Send_ReorderOfTheLast_MessageArrivesBeforeTheEnd()
    {
        (FaultyChannel sender, InMemoryChannel receiver) = Pair(FaultPlan.At(0, new MessageFault.Reorder()));
        await SendAsync(sender, 1);
        Assert.Equal(0, receiver.Statistics.MessagesReceived);
        Task ending = sender.CompleteAsync().AsTask();
        Assert.Equal([0], await ArrivedAsync(receiver, 0));
        await Task.WhenAll(ending, receiver.CompleteAsync().AsTask()).WaitAsync(ChannelConformance.Patience);
    }

    [Fact]
    public async Task Send_Delay_WaitsByTheClockAndHoldsUpWhatFollows()
    {
        var clock = new ManualClock();
        (FaultyChannel sender, InMemoryChannel receiver) = Pair(FaultPlan.At(0, new MessageFault.Delay(TimeSpan.FromSeconds(10))), clock);
        Task sending = SendAsync(sender, 2);
        await clock.WaitForTimerAsync(TimeSpan.FromSeconds(10));
        clock.Advance(TimeSpan.FromSeconds(9));
        Assert.Equal(0, sender.Statistics.MessagesSent);
        clock.Advance(TimeSpan.FromSeconds(1));
        await sending.WaitAsync(ChannelConformance.Patience);
        Assert.Equal([0, 1], await ArrivedAsync(receiver, 0, 1));
    }

    [Fact]
    public async Task Send_Truncate_ReceiverRefusesTheLength()
    {
        (FaultyChannel sender, InMemoryChannel receiver) = Pair(FaultPlan.At(0, new MessageFault.Truncate(2)));
        await sender.SendAsync(0, Disclosure.Unprotected(new Scores(new double[] { 1, 2, 3 }), Reason));
        Assert.Equal(ProtocolErrors.WrongLength, (await Assert.ThrowsAsync<PeerException>(async () => await receiver.ReceiveAsync<Scores>(0, 3))).Id);
    }

    [Fact]
    public async Task Send_CorruptExponent_ReceiverRefusesTheNumber()
    {
        // All bits of the exponent of 1.5 x 2^1023 but the lowest are set.
        (FaultyChannel sender, InMemoryChannel receiver) = Pair(FaultPlan.At(0, new MessageFault.Corrupt(64 + 52)));
        await sender.SendAsync(0, Disclosure.Unprotected(new Scores(new[] { 1, 1.5 * Math.ScaleB(1, 1023) }), Reason));
        Assert.Equal(ProtocolErrors.NotFinite, (await Assert.ThrowsAsync<PeerException>(async () => await receiver.ReceiveAsync<Scores>(0, 2))).Id);
    }

    [Fact]
    public async Task Send_CutOrDamaged_EveryKindStaysItsKindAndChangesByThat()
    {
        double[] numbers = [1, 2, 3, 4];
        byte[] bytes = [.. Enumerable.Range(1, 128).Select(i => (byte)(i % 2))];
        // 5 integers of 7 bits, of which every bit is set: the last byte has bits that mean nothing.
        LatticeVector lattice = LatticeVector.Restore(0.5, 7, 5, new byte[] { 255, 255, 255, 255, 7 })!;
        Payload[] payloads =
        [
            new Scores(numbers), new Scores(numbers, ElementType.Float32), new Scores(lattice), new Residuals(numbers), new Residuals(lattice), new Embeddings(numbers), new Embeddings(lattice),
            new EmbeddingGradients(numbers), new EmbeddingGradients(lattice), new ModelUpdate(numbers), new ModelUpdate(lattice), new ModelParameters(numbers), new NoisyTargets(numbers), new NoisyTargets(lattice),
            new Scalars(ScalarsKind.Step, numbers), new HashedIds(bytes), new RowSelection(bytes), new RandomizedLabels(bytes), new MaskedVector(bytes, 0.5), new SampleKeys(bytes, true), new SampleKeys(bytes, false),
            new AggregationMessage(AggregationStep.Keys, bytes), new AlignmentMessage(AlignmentStep.Hello, bytes), new EncryptionKey(bytes), new BlindedIds(bytes), new BlindedTags(bytes, 16),
            new EncryptedShares(bytes, 2), new MaskedProducts(bytes, 4), new MaskedAnswers(bytes, 8),
        ];
        // A new kind of payload must be added above, and to what damages them.
        Assert.Equal(typeof(Payload).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(Payload)) && !t.IsAbstract).ToHashSet(), payloads.Select(p => p.GetType()).ToHashSet());
        foreach (Payload payload in payloads)
        {
            Payload cut = await CrossAsync(payload, new MessageFault.Truncate(1)), whole = await CrossAsync(payload, new MessageFault.Truncate(int.MaxValue));
            Assert.Equal((payload.GetType(), 1), (cut.GetType(), cut.Length));
            Assert.Equal(payload.Length, whole.Length);
            Assert.Equal(Bits(payload), Bits(whole));
            foreach (long bit in new[] { 0, 9, Bits(payload).Length - 1L })
            {
                Payload damaged = await CrossAsync(payload, new MessageFault.Corrupt(bit));
                Assert.Equal((payload.GetType(), payload.Length), (damaged.GetType(), damaged.Length));
                Assert.Single(Bits(payload).Zip(Bits(damaged)), p => p.First != p.Second);
            }
        }
    }

    [Fact]
    public async Task Send_EmptyMessage_CannotBeDamaged() =>
        Assert.Equal(0, (await CrossAsync(new Scores(ReadOnlyMemory<double>.Empty), new MessageFault.Corrupt(5))).Length);

    [Fact]
    public void RandomPlan_OneSeed_GivesTheSameFaultsAndAsManyAsItSays()
    {
        OutgoingMessage[] messages = [.. Enumerable.Range(0, 10_000).Select(i => new OutgoingMessage(i, i, new Scores(new double[5])))];
        MessageFault?[] Faults(ulong seed, double probability, TimeSpan delay)
        {
            Func<OutgoingMessage, MessageFault?> plan = FaultPlan.Random(seed, probability, delay);
            return [.. messages.Select(plan)];
        }

        MessageFault?[] faults = Faults(1, 0.3, TimeSpan.FromSeconds(1));
        Assert.Equal(faults, Faults(1, 0.3, TimeSpan.FromSeconds(1)));
        Assert.NotEqual(faults, Faults(2, 0.3, TimeSpan.FromSeconds(1)));
        // 3,000 of 10,000 with a deviation of 46, of each of 6 kinds 500 with one of 22: the draws are fixed, so this cannot fail by chance.
        Assert.InRange(faults.Count(f => f is not null), 2800, 3200);
        Assert.Equal(6, faults.OfType<MessageFault>().Select(f => f.GetType()).Distinct().Count());
        Assert.All(faults.OfType<MessageFault>().GroupBy(f => f.GetType()), kind => Assert.InRange(kind.Count(), 400, 600));
        Assert.All(faults.OfType<MessageFault.Truncate>(), cut => Assert.InRange(cut.Length, 0, 4));
        Assert.All(faults.OfType<MessageFault.Delay>(), delay => Assert.InRange(delay.Time, TimeSpan.Zero, TimeSpan.FromSeconds(1)));
        Assert.DoesNotContain(Faults(1, 1, TimeSpan.Zero), f => f is null or MessageFault.Delay);
        Assert.All(Faults(1, 0, TimeSpan.Zero), Assert.Null);
    }

    private static (FaultyChannel Sender, InMemoryChannel Receiver) Pair(Func<OutgoingMessage, MessageFault?> plan, TimeProvider? clock = null)
    {
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", "telco");
        return (new FaultyChannel(first, plan, clock), second);
    }

    private static async Task SendAsync(FaultyChannel sender, int count)
    {
        for (int round = 0; round < count; round++)
            await sender.SendAsync(round, Disclosure.Unprotected(new Scores(new double[] { round }), Reason));
    }

    private static async Task<List<int>> ArrivedAsync(InMemoryChannel receiver, params int[] rounds)
    {
        var arrived = new List<int>();
        foreach (int round in rounds)
            arrived.Add((int)(await receiver.ReceiveAsync<Scores>(round, 1).AsTask().WaitAsync(ChannelConformance.Patience)).Values.Span[0]);
        return arrived;
    }

    private static async Task<Payload> CrossAsync(Payload payload, MessageFault fault)
    {
        // Not a real channel: it would refuse some of what arrives, which is not what is looked at here.
        var end = new End();
        await new FaultyChannel(end, FaultPlan.At(0, fault)).SendAsync(0, Disclosure.Unprotected(payload, Reason));
        return Assert.Single(end.Arrived);
    }

    private sealed class End : IPartyChannel
    {
        public List<Payload> Arrived { get; } = [];

        public string LocalParty => "bank";

        public string RemoteParty => "telco";

        public ChannelStatistics Statistics => default;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases { get; } = new Dictionary<(string Name, Protection Protection), long>();

        public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            Arrived.Add(message.Payload);
            return default;
        }

        public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload => throw new NotSupportedException();

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => default;

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => default;

        public ValueTask DisposeAsync() => default;
    }

    private static bool[] Bits(Payload payload) => payload switch
    {
        VectorPayload { Lattice: { } lattice } => [.. Bits(lattice.Packed.ToArray()).Take(lattice.Length * lattice.Bits)],
        VectorPayload { ElementType: ElementType.Float32 } v => Bits([.. v.Values.ToArray().SelectMany(n => BitConverter.GetBytes((float)n))]),
        VectorPayload v => Bits([.. v.Values.ToArray().SelectMany(BitConverter.GetBytes)]),
        HashedIds p => Bits(p.Digests.ToArray()),
        RowSelection p => Bits(p.Selected.ToArray()),
        RandomizedLabels p => Bits(p.Classes.ToArray()),
        MaskedVector p => Bits(p.Values.ToArray()),
        SampleKeys p => Bits(p.Keys.ToArray()),
        AggregationMessage p => Bits(p.Bytes.ToArray()),
        AlignmentMessage p => Bits(p.Bytes.ToArray()),
        EncryptionKey p => Bits(p.Bytes.ToArray()),
        SealedPayload p => Bits(p.Bytes.ToArray()),
        _ => throw new ArgumentException("no such payload"),
    };

    private static bool[] Bits(byte[] bytes) => [.. bytes.SelectMany(b => Enumerable.Range(0, 8).Select(i => (b >> i & 1) == 1))];
}
