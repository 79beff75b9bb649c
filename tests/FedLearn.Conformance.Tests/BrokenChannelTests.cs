using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Conformance.Tests;

/// <summary>The kit finds channels that are broken in one way each.</summary>
public sealed class BrokenChannelTests
{
    public static TheoryData<string, string> Faults => new()
    {
        { nameof(ChannelConformance.OrderIsPreserved), nameof(Broken.SwapMessages) },
        { nameof(ChannelConformance.EveryPayloadArrivesBitForBit), nameof(Broken.LoseNegativeZero) },
        { nameof(ChannelConformance.EveryPayloadArrivesBitForBit), nameof(Broken.WidenElements) },
        { nameof(ChannelConformance.EmptyAndLargeVectorsArrive), nameof(Broken.CutLarge) },
        { nameof(ChannelConformance.EmptyAndLargeVectorsArrive), nameof(Broken.NarrowLarge) },
        { nameof(ChannelConformance.BothDirectionsWorkAtOnce), nameof(Broken.HalfDuplex) },
        { nameof(ChannelConformance.AnotherRoundIsRefused), nameof(Broken.RepairRound) },
        { nameof(ChannelConformance.AnotherLengthIsRefused), nameof(Broken.AnyLength) },
        { nameof(ChannelConformance.NonFiniteNumbersAreRefused), nameof(Broken.RepairNaN) },
        { nameof(ChannelConformance.SayingToWaitIsPassedOver), nameof(Broken.WaitForOtherReasons) },
        { nameof(ChannelConformance.AbortReachesThePeer), nameof(Broken.AbortAsCompletion) },
        { nameof(ChannelConformance.AbortSurvivesDisposal), nameof(Broken.AbortAsCompletion) },
        { nameof(ChannelConformance.CompletionIsMutual), nameof(Broken.CompleteAtOnce) },
        { nameof(ChannelConformance.HearingTheEndSaysNothing), nameof(Broken.LetGoEarly) },
        { nameof(ChannelConformance.SilenceTimesOutAndSaysWhatWasDue), nameof(Broken.HastyTimeout) },
        { nameof(ChannelConformance.CancellationStopsReceiving), nameof(Broken.EndCancelled) },
        { nameof(ChannelConformance.CancelledSendSendsNothing), nameof(Broken.IgnoreCancellation) },
        { nameof(ChannelConformance.TooLargeIsRefusedBeforeSending), nameof(Broken.NoLimit) },
        { nameof(ChannelConformance.StatisticsAgreeOnBothSides), nameof(Broken.NoStatistics) },
        { nameof(ChannelConformance.ReleasesAreCountedByNameAndProtection), nameof(Broken.SendTwice) },
        { nameof(ChannelConformance.ReleasesAreCountedByNameAndProtection), nameof(Broken.RenameReleases) },
        { nameof(ChannelConformance.AnotherKindIsRefused), nameof(Broken.OtherException) },
        { nameof(ChannelConformance.NamesAreMirrored), nameof(Broken.OneName) },
        { nameof(ChannelConformance.NobodySeesMemoryChange), nameof(Broken.KeepTransient) },
        { nameof(ChannelConformance.NobodySeesMemoryChange), nameof(Broken.GiveBackEarly) },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public async Task Kit_BrokenChannel_FindsIt(string check, string fault)
    {
        Func<ChannelOptions, Task<ChannelPair>> factory = async options =>
        {
            if (fault == nameof(Broken.HastyTimeout))
                options = options with { ReceiveTimeout = options.ReceiveTimeout / 2 };
            if (fault == nameof(Broken.NoLimit))
                options = options with { MaxMessageBytes = 1 << 30 };
            ChannelPair pair = await ChannelConformanceTests.InMemory(options);
            return new ChannelPair(new BrokenChannel(pair.First, Enum.Parse<Broken>(fault)), new BrokenChannel(pair.Second, Enum.Parse<Broken>(fault)));
        };
        await Assert.ThrowsAsync<ConformanceException>(() => ChannelConformance.All[check](factory));
    }

    [Fact]
    public async Task Kit_WrapperWithoutFault_PassesEveryCheck()
    {
        foreach (ChannelConformance.Check check in ChannelConformance.All.Values)
            await check(async options =>
            {
                ChannelPair pair = await ChannelConformanceTests.InMemory(options);
                return new ChannelPair(new BrokenChannel(pair.First, Broken.Nowhere), new BrokenChannel(pair.Second, Broken.Nowhere));
            });
    }

    private enum Broken
    {
        Nowhere, SwapMessages, LoseNegativeZero, WidenElements, CutLarge, RepairRound, AnyLength, RepairNaN, AbortAsCompletion, CompleteAtOnce,
        HastyTimeout, EndCancelled, IgnoreCancellation, NoLimit, NoStatistics, SendTwice, OneName, KeepTransient, GiveBackEarly, LetGoEarly, NarrowLarge, HalfDuplex, RenameReleases,
        OtherException, WaitForOtherReasons,
    }

    private sealed class BrokenChannel(IPartyChannel inner, Broken fault) : IPartyChannel
    {
        private (int Round, Released<Scores> Message)? _held;
        private bool _receives;

        public string LocalParty => fault == Broken.OneName ? "party" : inner.LocalParty;

        public string RemoteParty => fault == Broken.OneName ? "party" : inner.RemoteParty;

        public ChannelStatistics Statistics => fault == Broken.NoStatistics ? default : inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => fault == Broken.RenameReleases
            ? inner.Releases.ToDictionary(release => (release.Key.Name + "!", release.Key.Protection), release => release.Value) : inner.Releases;

        public bool TakesTransient => fault is Broken.KeepTransient or Broken.GiveBackEarly;

        public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            if (fault == Broken.SwapMessages && message is Released<Scores> scores && round is 4 or 5)
            {
                // Round 5 goes out under the number of round 4, and the other way round.
                if (round == 4)
                {
                    _held = (5, (Released<Scores>)(object)message);
                    return;
                }

                await inner.SendAsync(4, message, cancellationToken);
                await inner.SendAsync(_held!.Value.Round, _held.Value.Message, cancellationToken);
                return;
            }

            switch (fault, message.Payload)
            {
                case (Broken.LoseNegativeZero, Scores s):
                    await Resend(s, v => v == 0 ? 0 : v, s.ElementType);
                    break;
                case (Broken.WidenElements, Scores s):
                    await Resend(s, v => v, ElementType.Float64);
                    break;
                case (Broken.CutLarge, Scores { Length: > 1_000_000 } s):
                    await inner.SendAsync(round, Disclosure.Unprotected(new Scores(s.Values[..1_000_000]), message.Name), cancellationToken);
                    break;
                case (Broken.NarrowLarge, Scores { Length: > 1_000_000 } s):
                    await Resend(s, v => (float)v, s.ElementType);
                    break;
                // Where a lock for both directions would wait for ever.
                case (Broken.HalfDuplex, _) when _receives:
                    await inner.DisposeAsync();
                    throw new IOException("a message is being received");
                case (Broken.KeepTransient, Scores s):
                    await inner.SendAsync(round, Disclosure.Unprotected(new Scores(s.Values), message.Name), cancellationToken);
                    break;
                case (Broken.RepairNaN, Scores s):
                    await Resend(s, v => double.IsFinite(v) ? v : 0, s.ElementType);
                    break;
                case (Broken.WaitForOtherReasons, AlignmentMessage):
                    await inner.SendAsync(round, Disclosure.Unprotected(new AlignmentMessage(AlignmentStep.Hello, default), message.Name), cancellationToken);
                    break;
                case (Broken.IgnoreCancellation, _):
                    await inner.SendAsync(round, message, default);
                    break;
                case (Broken.SendTwice, _):
                    await inner.SendAsync(round, message, cancellationToken);
                    await inner.SendAsync(round, message, cancellationToken);
                    break;
                default:
                    await inner.SendAsync(fault == Broken.RepairRound ? 0 : round, message, cancellationToken);
                    break;
            }

            async Task Resend(Scores s, Func<double, double> change, ElementType type) => await inner.SendAsync(round,
                Disclosure.Unprotected(new Scores(Array.ConvertAll(s.Values.ToArray(), v => change(v)), type), message.Name), cancellationToken);
        }

        public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
        {
            _receives = true;
            try
            {
                T received = await inner.ReceiveAsync<T>(fault == Broken.RepairRound ? 0 : round, fault == Broken.AnyLength ? null : length, cancellationToken);
                if (fault == Broken.GiveBackEarly)
                    inner.Return(received);
                return received;
            }
            catch (OperationCanceledException) when (fault == Broken.EndCancelled)
            {
                throw new IOException("cancelled");
            }
            catch (PeerException) when (fault == Broken.OtherException)
            {
                throw new KeyNotFoundException("no such kind");
            }
            finally
            {
                _receives = false;
            }
        }

        public ValueTask PeerCompletedAsync(CancellationToken cancellationToken = default) =>
            fault == Broken.LetGoEarly ? inner.CompleteAsync(cancellationToken) : inner.PeerCompletedAsync(cancellationToken);

        public async ValueTask CompleteAsync(CancellationToken cancellationToken = default)
        {
            if (fault == Broken.CompleteAtOnce)
                _ = inner.CompleteAsync(cancellationToken).AsTask();
            else
                await inner.CompleteAsync(cancellationToken);
        }

        public async ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default)
        {
            if (fault == Broken.AbortAsCompletion)
                _ = inner.CompleteAsync(cancellationToken).AsTask();
            else
                await inner.AbortAsync(errorId, cancellationToken);
        }

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}
