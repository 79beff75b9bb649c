using System.Runtime.InteropServices;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Testing;

/// <summary>A channel, or a tower, does not do what its contract promises.</summary>
/// <param name="message">What it did.</param>
/// <param name="innerException">What it threw, if anything.</param>
public sealed class ConformanceException(string message, Exception? innerException = null) : Exception(message, innerException);

/// <summary>The two ends of one channel under test.</summary>
/// <param name="first">An end. The kit calls it the first, whichever side of the transport it is.</param>
/// <param name="second">The other end.</param>
/// <param name="release">Releases what stands behind the channel, such as a server; null when there is nothing.</param>
public sealed class ChannelPair(IPartyChannel first, IPartyChannel second, Func<ValueTask>? release = null) : IAsyncDisposable
{
    /// <summary>An end.</summary>
    public IPartyChannel First { get; } = first;

    /// <summary>The other end.</summary>
    public IPartyChannel Second { get; } = second;

    /// <summary>Closes both ends, then what stands behind them.</summary>
    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(First.DisposeAsync().AsTask(), Second.DisposeAsync().AsTask()).ConfigureAwait(false);
        if (release is not null)
            await release().ConfigureAwait(false);
    }
}

/// <summary>What every implementation of <see cref="IPartyChannel"/> must do. Depends on no test framework.</summary>
/// <remarks>Each check takes a factory that makes a fresh, connected pair with the given options, and throws <see cref="ConformanceException"/>
/// when the channel fails. Run each check in both directions: once with the ends of the pair as they are, once exchanged.
/// Time limits run on a <see cref="ManualClock"/>; a check that hangs fails after <see cref="Patience"/>.</remarks>
public static class ChannelConformance
{
    private const string Reason = "conformance check, no real data";
    private const int LargeLength = 2_000_000; // 16 MB in float64: larger than any window or buffer on the way

    /// <summary>How long a check may take by the system's clock.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>A check.</summary>
    /// <param name="factory">Makes a fresh, connected pair with these options.</param>
    public delegate Task Check(Func<ChannelOptions, Task<ChannelPair>> factory);

    /// <summary>Every check, by name.</summary>
    public static IReadOnlyDictionary<string, Check> All { get; } = new Dictionary<string, Check>
    {
        [nameof(OrderIsPreserved)] = OrderIsPreserved,
        [nameof(EveryPayloadArrivesBitForBit)] = EveryPayloadArrivesBitForBit,
        [nameof(EmptyAndLargeVectorsArrive)] = EmptyAndLargeVectorsArrive,
        [nameof(BothDirectionsWorkAtOnce)] = BothDirectionsWorkAtOnce,
        [nameof(AnotherKindIsRefused)] = AnotherKindIsRefused,
        [nameof(AnotherRoundIsRefused)] = AnotherRoundIsRefused,
        [nameof(AnotherLengthIsRefused)] = AnotherLengthIsRefused,
        [nameof(NonFiniteNumbersAreRefused)] = NonFiniteNumbersAreRefused,
        [nameof(IllegalRowSelectionIsRefused)] = IllegalRowSelectionIsRefused,
        [nameof(TooLargeIsRefusedBeforeSending)] = TooLargeIsRefusedBeforeSending,
        [nameof(SayingToWaitIsPassedOver)] = SayingToWaitIsPassedOver,
        [nameof(AbortReachesThePeer)] = AbortReachesThePeer,
        [nameof(AbortSurvivesDisposal)] = AbortSurvivesDisposal,
        [nameof(CompletionIsMutual)] = CompletionIsMutual,
        [nameof(HearingTheEndSaysNothing)] = HearingTheEndSaysNothing,
        [nameof(MessageAfterTheEndIsRefused)] = MessageAfterTheEndIsRefused,
        [nameof(EndBeforeAMessageIsRefused)] = EndBeforeAMessageIsRefused,
        [nameof(DisposalReachesTheReceiver)] = DisposalReachesTheReceiver,
        [nameof(DisposalReachesTheSender)] = DisposalReachesTheSender,
        [nameof(DisposalEndsOwnReceive)] = DisposalEndsOwnReceive,
        [nameof(SilenceTimesOutAndSaysWhatWasDue)] = SilenceTimesOutAndSaysWhatWasDue,
        [nameof(CancellationStopsReceiving)] = CancellationStopsReceiving,
        [nameof(CancelledSendSendsNothing)] = CancelledSendSendsNothing,
        [nameof(StatisticsAgreeOnBothSides)] = StatisticsAgreeOnBothSides,
        [nameof(ReleasesAreCountedByNameAndProtection)] = ReleasesAreCountedByNameAndProtection,
        [nameof(NamesAreMirrored)] = NamesAreMirrored,
        [nameof(NobodySeesMemoryChange)] = NobodySeesMemoryChange,
    };

    /// <summary>A channel that takes transient payloads has done with their memory once it has sent them, and what was received stays as it is until it is given back, whatever follows.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task NobodySeesMemoryChange(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        const int rounds = 20;
        double[] numbers = [0, 0, 0];
        Released<Scores> again = Disclosure.Unprotected(new Scores(numbers) { IsTransient = true }, Reason);
        var held = new Dictionary<int, Scores>();
        for (int round = 0; round < rounds; round++)
        {
            if (pair.First.TakesTransient)
                numbers.AsSpan().Fill(round);
            await pair.First.SendAsync(round, pair.First.TakesTransient ? again : Disclosure.Unprotected(new Scores(new double[] { round, round, round }), Reason)).ConfigureAwait(false);
            if (pair.First.TakesTransient)
                numbers.AsSpan().Fill(-1);
            held[round] = await pair.Second.ReceiveAsync<Scores>(round, numbers.Length).ConfigureAwait(false);
            if (round % 3 != 0 && held.Remove(round, out Scores? back))
            {
                Require(back.Values.Span.ContainsAnyExcept((double)round) is false, "numbers changed while they were sent");
                pair.Second.Return(back);
            }

            Require(held.All(h => h.Value.Values.Span.ContainsAnyExcept((double)h.Key) is false), "numbers that were received changed");
        }
    });

    /// <summary>A thousand messages arrive in the order they were sent.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task OrderIsPreserved(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        const int count = 1000;
        Task sending = Task.Run(async () =>
        {
            for (int round = 0; round < count; round++)
                await pair.First.SendAsync(round, Vector(round)).ConfigureAwait(false);
        });
        for (int round = 0; round < count; round++)
        {
            Scores scores = await pair.Second.ReceiveAsync<Scores>(round, 1).ConfigureAwait(false);
            Require(scores.Values.Span[0] == round, "messages changed places");
        }

        await sending.ConfigureAwait(false);
    });

    /// <summary>Every kind of payload arrives with the same bits, in float64, in float32 and on a lattice, negative zero and subnormal numbers included.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task EveryPayloadArrivesBitForBit(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        double[] wide = [0, -0.0, double.Epsilon, -double.Epsilon, double.MaxValue, double.MinValue, 1.0 / 3, Math.PI, double.BitIncrement(1)];
        double[] narrow = [0, -0.0, float.Epsilon, -float.Epsilon, float.MaxValue, float.MinValue, 1f / 3, MathF.PI, float.BitIncrement(1)];
        byte[] digests = [.. Enumerable.Range(0, 96).Select(i => (byte)(i * 2))];
        byte[] selected = [0, 1, 1, 0, 1];
        int round = 0;
        foreach ((double[] values, ElementType type) in new[] { (wide, ElementType.Float64), (narrow, ElementType.Float32) })
        {
            await Crosses(new Scores(values, type)).ConfigureAwait(false);
            await Crosses(new Residuals(values, type)).ConfigureAwait(false);
            await Crosses(new Embeddings(values, type)).ConfigureAwait(false);
            await Crosses(new EmbeddingGradients(values, type)).ConfigureAwait(false);
            await Crosses(new ModelUpdate(values, type)).ConfigureAwait(false);
            await Crosses(new ModelParameters(values, type)).ConfigureAwait(false);
        }

        // Lattice vectors of every width, of lengths that fill bytes and that do not; all bits of the last byte that may be set are set.
        for (int bits = LatticeVector.FewestBits; bits <= LatticeVector.MostBits; bits++)
        {
            byte[] packed = [.. Enumerable.Range(1, LatticeVector.BytesOf(bits, bits)).Select(i => (byte)(i * 37 % 256))];
            packed[^1] &= (byte)(0xFF >> (packed.Length * 8 - bits * bits));
            LatticeVector lattice = LatticeVector.Restore(Math.PI / bits, bits, bits, packed)!;
            Require((await Crosses(new Scores(lattice)).ConfigureAwait(false)).Lattice!.Packed.Span.SequenceEqual(packed), "the packed integers of scores changed");
            await Crosses(new Residuals(lattice)).ConfigureAwait(false);
            await Crosses(new NoisyTargets(lattice)).ConfigureAwait(false);
            await Crosses(new Embeddings(lattice)).ConfigureAwait(false);
            await Crosses(new EmbeddingGradients(lattice)).ConfigureAwait(false);
            await Crosses(new ModelUpdate(lattice)).ConfigureAwait(false);
        }

        await pair.First.SendAsync(++round, Disclosure.Unprotected(new RandomizedLabels(selected), Reason)).ConfigureAwait(false);
        Require((await pair.Second.ReceiveAsync<RandomizedLabels>(round, 5).ConfigureAwait(false)).Classes.Span.SequenceEqual(selected), "randomised labels changed");
        foreach (ScalarsKind kind in Enum.GetValues<ScalarsKind>())
            Require((await Crosses(new Scalars(kind, wide)).ConfigureAwait(false)).Kind == kind, "the kind of scalars changed");
        await pair.First.SendAsync(++round, Disclosure.Unprotected(new HashedIds(digests), Reason)).ConfigureAwait(false);
        Require((await pair.Second.ReceiveAsync<HashedIds>(round, 3).ConfigureAwait(false)).Digests.Span.SequenceEqual(digests), "hashed ids changed");
        await pair.First.SendAsync(++round, Disclosure.Unprotected(new RowSelection(selected), Reason)).ConfigureAwait(false);
        Require((await pair.Second.ReceiveAsync<RowSelection>(round, 5).ConfigureAwait(false)).Selected.Span.SequenceEqual(selected), "the row selection changed");
        foreach (bool moments in (bool[])[false, true])
        {
            await pair.First.SendAsync(++round, Disclosure.Unprotected(new SampleKeys(digests, moments), Reason)).ConfigureAwait(false);
            SampleKeys keys = await pair.Second.ReceiveAsync<SampleKeys>(round, moments ? 6 : 24).ConfigureAwait(false);
            Require(keys.HasMoments == moments && keys.Keys.Span.SequenceEqual(digests), "sample keys changed");
        }

        await pair.First.SendAsync(++round, Disclosure.Unprotected(new MaskedVector(digests, Math.PI), Reason)).ConfigureAwait(false);
        MaskedVector masked = await pair.Second.ReceiveAsync<MaskedVector>(round, 12).ConfigureAwait(false);
        Require(masked.Step == Math.PI && masked.Values.Span.SequenceEqual(digests), "masked integers changed");
        foreach (AggregationStep step in Enum.GetValues<AggregationStep>())
        {
            await pair.First.SendAsync(++round, Disclosure.Unprotected(new AggregationMessage(step, digests), Reason)).ConfigureAwait(false);
            AggregationMessage message = await pair.Second.ReceiveAsync<AggregationMessage>(round, digests.Length).ConfigureAwait(false);
            Require(message.Step == step && message.Bytes.Span.SequenceEqual(digests), "an aggregation message changed");
        }

        // Waiting is empty and of round 0, and has a check of its own.
        foreach (AlignmentStep step in Enum.GetValues<AlignmentStep>().Where(step => step != AlignmentStep.Waiting))
        {
            await pair.First.SendAsync(++round, Disclosure.Unprotected(new AlignmentMessage(step, digests), Reason)).ConfigureAwait(false);
            AlignmentMessage message = await pair.Second.ReceiveAsync<AlignmentMessage>(round, digests.Length).ConfigureAwait(false);
            Require(message.Step == step && message.Bytes.Span.SequenceEqual(digests), "an alignment message changed");
        }

        await pair.First.SendAsync(++round, Disclosure.Unprotected(new BlindedIds(digests), Reason)).ConfigureAwait(false);
        Require((await pair.Second.ReceiveAsync<BlindedIds>(round, 3).ConfigureAwait(false)).Bytes.Span.SequenceEqual(digests), "blinded ids changed");
        foreach (int tags in (int[])[96, 12, 3]) // of 1, 8 and 32 bytes
        {
            await pair.First.SendAsync(++round, Disclosure.Unprotected(new BlindedTags(digests, tags), Reason)).ConfigureAwait(false);
            Require((await pair.Second.ReceiveAsync<BlindedTags>(round, tags).ConfigureAwait(false)).Bytes.Span.SequenceEqual(digests), "blinded tags changed");
        }

        async Task<T> Crosses<T>(T payload) where T : VectorPayload
        {
            await pair.First.SendAsync(++round, Disclosure.Unprotected(payload, Reason)).ConfigureAwait(false);
            T arrived = await pair.Second.ReceiveAsync<T>(round, payload.Length).ConfigureAwait(false);
            Require(arrived.ElementType == payload.ElementType, $"the element type of {typeof(T).Name} changed");
            Require(MemoryMarshal.AsBytes(arrived.Values.Span).SequenceEqual(MemoryMarshal.AsBytes(payload.Values.Span)), $"the numbers of {typeof(T).Name} changed in {payload.ElementType}");
            return arrived;
        }
    });

    /// <summary>An empty vector and one of two million numbers arrive.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task EmptyAndLargeVectorsArrive(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        await pair.First.SendAsync(0, Vector()).ConfigureAwait(false);
        Require((await pair.Second.ReceiveAsync<Scores>(0, 0).ConfigureAwait(false)).Length == 0, "an empty vector is not empty");
        await pair.First.SendAsync(0, Disclosure.Unprotected(new RowSelection(ReadOnlyMemory<byte>.Empty), Reason)).ConfigureAwait(false);
        Require((await pair.Second.ReceiveAsync<RowSelection>(0, null).ConfigureAwait(false)).Length == 0, "an empty row selection is not empty");
        double[] large = Large();
        Task sending = pair.First.SendAsync(1, Vector(large)).AsTask();
        Scores arrived = await pair.Second.ReceiveAsync<Scores>(1, LargeLength).ConfigureAwait(false);
        await sending.ConfigureAwait(false);
        Require(arrived.Values.Span.SequenceEqual(large), "a large vector changed");
    });

    /// <summary>Large messages cross in both directions while both sides send and receive: a side that waits for a message can send.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task BothDirectionsWorkAtOnce(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        double[] large = Large();
        // Both wait before either sends.
        await Task.WhenAll(Receive(pair.First), Receive(pair.Second), Send(pair.First), Send(pair.Second)).ConfigureAwait(false);

        async Task Send(IPartyChannel channel)
        {
            for (int round = 0; round < 4; round++)
                await channel.SendAsync(round, Vector(large)).ConfigureAwait(false);
        }

        async Task Receive(IPartyChannel channel)
        {
            for (int round = 0; round < 4; round++)
                Require((await channel.ReceiveAsync<Scores>(round, LargeLength).ConfigureAwait(false)).Values.Span.SequenceEqual(large), "a vector changed");
        }
    });

    /// <summary>A message of another kind is refused: FL4001.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task AnotherKindIsRefused(Func<ChannelOptions, Task<ChannelPair>> factory) => Refuses(factory, ProtocolErrors.UnexpectedMessage,
        first => first.SendAsync(3, Vector(1, 2)), second => second.ReceiveAsync<Residuals>(3, 2));

    /// <summary>A message of another round is refused: FL4002.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task AnotherRoundIsRefused(Func<ChannelOptions, Task<ChannelPair>> factory) => Refuses(factory, ProtocolErrors.WrongRound,
        first => first.SendAsync(4, Vector(1, 2)), second => second.ReceiveAsync<Scores>(3, 2));

    /// <summary>A vector of another length is refused: FL4003.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task AnotherLengthIsRefused(Func<ChannelOptions, Task<ChannelPair>> factory) => Refuses(factory, ProtocolErrors.WrongLength,
        first => first.SendAsync(3, Vector(1, 2)), second => second.ReceiveAsync<Scores>(3, 3));

    /// <summary>NaN and both infinities are refused: FL4004.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task NonFiniteNumbersAreRefused(Func<ChannelOptions, Task<ChannelPair>> factory)
    {
        foreach (double bad in new[] { double.NaN, double.PositiveInfinity, double.NegativeInfinity })
            await Refuses(factory, ProtocolErrors.NotFinite, first => first.SendAsync(0, Vector(1, bad, 2)), second => second.ReceiveAsync<Scores>(0, 3)).ConfigureAwait(false);
    }

    /// <summary>A row selection with a value other than 0 and 1 is refused: FL4017.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task IllegalRowSelectionIsRefused(Func<ChannelOptions, Task<ChannelPair>> factory) => Refuses(factory, ProtocolErrors.IllegalValue,
        first => first.SendAsync(0, Disclosure.Unprotected(new RowSelection(new byte[] { 0, 1, 2 }), Reason)), second => second.ReceiveAsync<RowSelection>(0, 3));

    /// <summary>A message over the limit is refused at the sender: FL4006. Nothing of it is sent or counted.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task TooLargeIsRefusedBeforeSending(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        await Fails(ProtocolErrors.TooLarge, pair.First.SendAsync(0, Vector(new double[1000])).AsTask()).ConfigureAwait(false);
        Require(pair.First.Statistics == default && pair.First.Releases.Count == 0, "a message that was not sent was counted");
    }, new ChannelOptions { MaxMessageBytes = 4096 });

    /// <summary>A message that says that the sender still computes is neither the one that is due nor the end, and whoever asks for it gets it.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task SayingToWaitIsPassedOver(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        async Task WaitAsync() => await pair.First.SendAsync(0, Disclosure.Unprotected(new AlignmentMessage(AlignmentStep.Waiting, default), Reason)).ConfigureAwait(false);
        await WaitAsync().ConfigureAwait(false);
        AlignmentMessage asked = await pair.Second.ReceiveAsync<AlignmentMessage>(0, 0).ConfigureAwait(false);
        Require(asked.Step == AlignmentStep.Waiting, "the message that was asked for is another one");
        await WaitAsync().ConfigureAwait(false);
        await WaitAsync().ConfigureAwait(false);
        await pair.First.SendAsync(3, Vector(1, 2)).ConfigureAwait(false);
        Scores scores = await pair.Second.ReceiveAsync<Scores>(3, 2).ConfigureAwait(false);
        Require(scores.Values.Span.SequenceEqual([1, 2]), "the message behind those that say to wait is another one");
        await WaitAsync().ConfigureAwait(false);
        await Task.WhenAll(pair.First.CompleteAsync().AsTask(), pair.Second.CompleteAsync().AsTask()).ConfigureAwait(false);
        Require(pair.First.Statistics.MessagesSent == pair.Second.Statistics.MessagesReceived, "messages that say to wait are not counted where they arrive");
    });

    /// <summary>The peer's next receive says that this side gave up, and with which error: FL4008.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task AbortReachesThePeer(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        Task<Scores> receiving = pair.Second.ReceiveAsync<Scores>(0, 1).AsTask();
        await pair.First.AbortAsync("FL6001").ConfigureAwait(false);
        PeerException error = await Fails(ProtocolErrors.PeerAborted, receiving).ConfigureAwait(false);
        Require(error.Message.Contains("FL6001", StringComparison.Ordinal), "the error of the peer is not named");
    });

    /// <summary>The same when this side closes right after giving up, and messages sent before are still there.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task AbortSurvivesDisposal(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        await pair.First.SendAsync(0, Vector(1)).ConfigureAwait(false);
        await pair.First.AbortAsync("FL3001").ConfigureAwait(false);
        Task closing = pair.First.DisposeAsync().AsTask();
        await pair.Second.ReceiveAsync<Scores>(0, 1).ConfigureAwait(false);
        await Fails(ProtocolErrors.PeerAborted, pair.Second.ReceiveAsync<Scores>(1, 1).AsTask()).ConfigureAwait(false);
        await Task.WhenAll(closing, pair.Second.DisposeAsync().AsTask()).ConfigureAwait(false);
        await pair.Second.AbortAsync("FL3001").ConfigureAwait(false); // never throws for a peer that is gone
    });

    /// <summary>Completion returns on both sides once both have asked for it, and not before; messages sent earlier arrive.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task CompletionIsMutual(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        await pair.First.SendAsync(0, Vector(1)).ConfigureAwait(false);
        Task first = pair.First.CompleteAsync().AsTask();
        await pair.Second.ReceiveAsync<Scores>(0, 1).ConfigureAwait(false);
        Require(!first.IsCompleted, "completion did not wait for the peer");
        await Task.WhenAll(first, pair.Second.CompleteAsync().AsTask()).ConfigureAwait(false);
        await pair.First.DisposeAsync().ConfigureAwait(false);
        await pair.Second.DisposeAsync().ConfigureAwait(false);
    });

    /// <summary>Who has heard that the peer ends has not let it go, and may still give up: FL4008.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task HearingTheEndSaysNothing(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        Task hearing = pair.First.PeerCompletedAsync().AsTask();
        Task ending = pair.Second.CompleteAsync().AsTask();
        await hearing.ConfigureAwait(false);
        await pair.First.AbortAsync("FL4022").ConfigureAwait(false);
        await Fails(ProtocolErrors.PeerAborted, ending).ConfigureAwait(false);
    });

    /// <summary>A message where the end was due is refused: FL4001.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task MessageAfterTheEndIsRefused(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        await pair.First.SendAsync(0, Vector(1)).ConfigureAwait(false);
        await Fails(ProtocolErrors.UnexpectedMessage, pair.Second.CompleteAsync().AsTask()).ConfigureAwait(false);
    });

    /// <summary>The end where a message was due is refused: FL4001.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task EndBeforeAMessageIsRefused(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        Task<Scores> receiving = pair.Second.ReceiveAsync<Scores>(0, 1).AsTask();
        Task completing = pair.First.CompleteAsync().AsTask();
        await Fails(ProtocolErrors.UnexpectedMessage, receiving).ConfigureAwait(false);
        await Task.WhenAll(pair.First.DisposeAsync().AsTask(), pair.Second.DisposeAsync().AsTask()).ConfigureAwait(false);
        await Fails(ProtocolErrors.PeerGone, completing).ConfigureAwait(false);
    });

    /// <summary>A side that waits learns that the other closed: FL4007.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task DisposalReachesTheReceiver(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        Task<Scores> receiving = pair.Second.ReceiveAsync<Scores>(0, 1).AsTask();
        Task closing = pair.First.DisposeAsync().AsTask();
        await Fails(ProtocolErrors.PeerGone, receiving).ConfigureAwait(false);
        await Task.WhenAll(closing, pair.Second.DisposeAsync().AsTask()).ConfigureAwait(false);
    });

    /// <summary>A side that sends and sends learns that the other closed: FL4007.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task DisposalReachesTheSender(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        double[] large = Large();
        Task sending = Task.Run(async () =>
        {
            for (int round = 0; ; round++)
                await pair.Second.SendAsync(round, Vector(large)).ConfigureAwait(false);
        });
        await pair.First.ReceiveAsync<Scores>(0, LargeLength).ConfigureAwait(false);
        await pair.First.DisposeAsync().ConfigureAwait(false);
        await Fails(ProtocolErrors.PeerGone, sending).ConfigureAwait(false);
    });

    /// <summary>Closing a channel ends a receive of the same side, and what is called later: FL4007.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task DisposalEndsOwnReceive(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        Task<Scores> receiving = pair.First.ReceiveAsync<Scores>(0, 1).AsTask();
        Task closing = Task.WhenAll(pair.First.DisposeAsync().AsTask(), pair.Second.DisposeAsync().AsTask());
        await Fails(ProtocolErrors.PeerGone, receiving).ConfigureAwait(false);
        await closing.ConfigureAwait(false);
        await Fails(ProtocolErrors.PeerGone, pair.First.ReceiveAsync<Scores>(0, 1).AsTask()).ConfigureAwait(false);
        await Fails(ProtocolErrors.PeerGone, pair.First.SendAsync(0, Vector(1)).AsTask()).ConfigureAwait(false);
        await pair.First.DisposeAsync().ConfigureAwait(false); // once more does no harm
    });

    /// <summary>A receive gives up at the time limit, not before, and says what it waited for, from whom, and how long: FL4009.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task SilenceTimesOutAndSaysWhatWasDue(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, clock) =>
    {
        Task<Residuals> receiving = pair.First.ReceiveAsync<Residuals>(17, 1).AsTask();
        await clock.WaitForTimerAsync(TimeSpan.FromSeconds(45)).ConfigureAwait(false);
        clock.Advance(TimeSpan.FromSeconds(44.5));
        Require(!receiving.IsCompleted, "a receive gave up too early");
        clock.Advance(TimeSpan.FromSeconds(1));
        PeerException error = await Fails(ProtocolErrors.TimedOut, receiving).ConfigureAwait(false);
        foreach (string part in new[] { "Residuals", "17", "45 s", pair.First.RemoteParty })
            Require(error.Message.Contains(part, StringComparison.Ordinal), $"the message on time-out does not name '{part}'");
    }, new ChannelOptions { ReceiveTimeout = TimeSpan.FromSeconds(45) });

    /// <summary>A cancelled receive ends with <see cref="OperationCanceledException"/>.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task CancellationStopsReceiving(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        using var source = new CancellationTokenSource();
        Task<Scores> receiving = pair.First.ReceiveAsync<Scores>(0, 1, source.Token).AsTask();
        await source.CancelAsync().ConfigureAwait(false);
        await IsCancelled(receiving).ConfigureAwait(false);
    });

    /// <summary>A send with a cancelled token ends with <see cref="OperationCanceledException"/> and counts nothing.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task CancelledSendSendsNothing(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        await IsCancelled(pair.First.SendAsync(0, Vector(1), new CancellationToken(true)).AsTask()).ConfigureAwait(false);
        Require(pair.First.Statistics == default && pair.First.Releases.Count == 0, "a message that was not sent was counted");
    });

    /// <summary>Messages and bytes sent by one side are those received by the other, and bytes are at least those of the numbers.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task StatisticsAgreeOnBothSides(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        for (int round = 0; round < 3; round++)
        {
            await pair.First.SendAsync(round, Vector(new double[100])).ConfigureAwait(false);
            await pair.Second.ReceiveAsync<Scores>(round, 100).ConfigureAwait(false);
        }

        await pair.Second.SendAsync(0, Disclosure.Unprotected(new Residuals(new double[100], ElementType.Float32), Reason)).ConfigureAwait(false);
        await pair.First.ReceiveAsync<Residuals>(0, 100).ConfigureAwait(false);
        ChannelStatistics first = pair.First.Statistics, second = pair.Second.Statistics;
        Require(first.MessagesSent == 3 && first.MessagesReceived == 1, "messages are miscounted");
        Require(second == new ChannelStatistics(first.MessagesReceived, first.MessagesSent, first.BytesReceived, first.BytesSent), "the two sides count differently");
        Require(first.BytesSent is >= 3 * 800 and < 3 * 900 && first.BytesReceived is >= 400 and < 500, "bytes are miscounted");
    });

    /// <summary>Sent messages are counted by the name and protection of their release.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task ReleasesAreCountedByNameAndProtection(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, async (pair, _) =>
    {
        Released<Scores> twice = Disclosure.Unprotected(new Scores(new double[1]), "sent twice");
        await pair.First.SendAsync(0, twice).ConfigureAwait(false);
        await pair.First.SendAsync(1, twice).ConfigureAwait(false);
        await pair.First.SendAsync(2, Disclosure.Unprotected(new Residuals(new double[1]), "sent once")).ConfigureAwait(false);
        IReadOnlyDictionary<(string Name, Protection Protection), long> releases = pair.First.Releases;
        Require(releases.Count == 2 && releases.GetValueOrDefault(("sent twice", Protection.None)) == 2 && releases.GetValueOrDefault(("sent once", Protection.None)) == 1,
            "releases are miscounted");
        Require(pair.Second.Releases.Count == 0, "a received message counts as a release");
    });

    /// <summary>Each side has the other's name.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task NamesAreMirrored(Func<ChannelOptions, Task<ChannelPair>> factory) => Run(factory, (pair, _) =>
    {
        Require(pair.First.LocalParty == pair.Second.RemoteParty && pair.First.RemoteParty == pair.Second.LocalParty
            && pair.First.LocalParty != pair.First.RemoteParty, "the names of the two sides do not fit");
        return Task.CompletedTask;
    });

    private static Task Refuses<T>(Func<ChannelOptions, Task<ChannelPair>> factory, string id, Func<IPartyChannel, ValueTask> send, Func<IPartyChannel, ValueTask<T>> receive) =>
        Run(factory, async (pair, _) =>
        {
            await send(pair.First).ConfigureAwait(false);
            PeerException error = await Fails(id, receive(pair.Second).AsTask()).ConfigureAwait(false);
            Require(error.Message.Contains(pair.Second.RemoteParty, StringComparison.Ordinal), "the error does not name the peer");
        });

    private static async Task Run(Func<ChannelOptions, Task<ChannelPair>> factory, Func<ChannelPair, ManualClock, Task> check, ChannelOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        var clock = new ManualClock();
        try
        {
            await Body().WaitAsync(Patience).ConfigureAwait(false);
        }
        catch (TimeoutException e)
        {
            throw new ConformanceException($"the channel hangs: the check did not end within {Patience.TotalSeconds:0} s", e);
        }
        catch (Exception e) when (e is not ConformanceException)
        {
            throw new ConformanceException($"the channel failed with {e.GetType().Name}: {e.Message}", e);
        }

        async Task Body()
        {
            ChannelPair pair = await factory((options ?? new ChannelOptions()) with { Clock = clock }).ConfigureAwait(false);
            await using (pair.ConfigureAwait(false))
                await check(pair, clock).ConfigureAwait(false);
        }
    }

    private static async Task<PeerException> Fails(string id, Task task)
    {
        try
        {
            await task.ConfigureAwait(false);
        }
        catch (PeerException e)
        {
            return e.Id == id ? e : throw new ConformanceException($"error {e.Id} came where {id} is due", e);
        }

        throw new ConformanceException($"nothing was refused where {id} is due");
    }

    private static async Task IsCancelled(Task task)
    {
        try
        {
            await task.ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return;
        }

        throw new ConformanceException("cancellation had no effect");
    }

    private static void Require(bool holds, string failure)
    {
        if (!holds)
            throw new ConformanceException(failure);
    }

    private static Released<Scores> Vector(params double[] values) => Disclosure.Unprotected(new Scores(values), Reason);

    private static double[] Large()
    {
        var values = new double[LargeLength];
        for (int i = 0; i < values.Length; i++)
            values[i] = i * 0.1; // no float32
        return values;
    }
}
