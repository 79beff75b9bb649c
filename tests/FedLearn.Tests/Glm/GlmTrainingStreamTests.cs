using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm;

/// <summary>Jobs that are watched while they run.</summary>
public class GlmTrainingStreamTests
{
    private const int Epochs = 30;

    private static readonly CancellationToken Token = TestContext.Current.CancellationToken;

    private static VerticalData Data { get; } = VerticalData.Random(7, "binomial", 40, 2, 2);

    private static GlmJob Job(int epochs = Epochs) => Data.Job("binomial", new GlmTrainingOptions { Optimizer = GlmOptimizer.Sgd, Epochs = epochs, BatchesPerEpoch = 2 });

    // A party's trainer, its channel and what it agreed on; and the other's.
    private static ((GlmTrainer Trainer, IPartyChannel Channel) Active, (GlmTrainer Trainer, IPartyChannel Channel) Passive, SessionAgreement Agreement) Session(GlmJob job)
    {
        GlmTrainer[] parties = [.. Data.Inputs().Select(input => new GlmTrainer(job, input))];
        JoinedParty[] joined = [.. parties.Select(p => new JoinedParty(p.JoinRequest.Party.Name, p.JoinRequest.SchemaFingerprint))];
        var agreement = new SessionAgreement("watched", SessionDesk.DigestOf(parties[0].Terms.TermsDigest, joined), joined);
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair(joined[0].Name, joined[1].Name);
        return ((parties[0], first), (parties[1], second), agreement);
    }

    [Fact]
    public async Task LocalRunAsync_WholeJob_TellsEveryEpochOfEveryPartyThenTheResults()
    {
        List<GlmTrainingEvent> events = await LocalFederation.RunAsync(Job(), Data.Inputs(), cancellationToken: Token).ToListAsync(Token);
        IReadOnlyList<GlmPartyResult> expected = await LocalFederation.TrainAsync(Job(), Data.Inputs(), cancellationToken: Token);

        GlmPartyResult[] results = [.. events.OfType<GlmTrainingEvent.Completed>().Select(e => e.Result)];
        Assert.Equal(events.TakeLast(2), events.OfType<GlmTrainingEvent.Completed>());
        Assert.Equal(VerticalData.Weights(expected), VerticalData.Weights(results));
        foreach (GlmPartyResult result in results)
            Assert.Equal(Enumerable.Range(1, Epochs).Select(epoch => 2 * epoch),
                events.OfType<GlmTrainingEvent.RoundDone>().Where(e => e.Progress.Party == result.Party.Name).Select(e => e.Progress.Round));
    }

    // The active party would train a model of its own columns, and call it the job's.
    [Fact]
    public async Task TrainAsync_ChannelsThatAreNotOneAPeer_AreRefused()
    {
        var (active, passive, agreement) = Session(Job());
        await Assert.ThrowsAsync<ArgumentException>(() => active.Trainer.TrainAsync(agreement, [], cancellationToken: Token));
        await Assert.ThrowsAsync<ArgumentException>(() => passive.Trainer.TrainAsync(agreement, [passive.Channel, passive.Channel], cancellationToken: Token));
        Assert.Throws<ArgumentException>(() => active.Trainer.RunAsync(agreement, [], Token));
    }

    // The reader comes back only after the whole job has ended elsewhere.
    [Fact]
    public async Task RunAsync_ReaderSlowerThanTheJob_LosesNoReportAndHoldsNobodyUp()
    {
        var (active, passive, agreement) = Session(Job());
        await using IAsyncEnumerator<GlmTrainingEvent> watched = active.Trainer.RunAsync(agreement, [active.Channel], Token).GetAsyncEnumerator(Token);
        ValueTask<bool> first = watched.MoveNextAsync();
        await passive.Trainer.TrainAsync(agreement, [passive.Channel], cancellationToken: Token);
        var events = new List<GlmTrainingEvent>();
        for (bool more = await first; more; more = await watched.MoveNextAsync())
            events.Add(watched.Current);
        Assert.Equal(Epochs + 1, events.Count);
        Assert.Equal(GlmStopReason.RoundLimit, Assert.IsType<GlmTrainingEvent.Completed>(events[^1]).Result.StopReason);
    }

    [Fact]
    public async Task RunAsync_ReaderLeaves_StopsTheJobAndTellsThePeer()
    {
        var (active, passive, agreement) = Session(Job(epochs: 1_000_000));
        Task<GlmPartyResult> peer = passive.Trainer.TrainAsync(agreement, [passive.Channel], cancellationToken: Token);
        await foreach (GlmTrainingEvent happened in active.Trainer.RunAsync(agreement, [active.Channel], Token))
        {
            Assert.IsType<GlmTrainingEvent.RoundDone>(happened);
            break;
        }

        PeerException told = await Assert.ThrowsAsync<PeerException>(() => peer);
        Assert.Equal(ProtocolErrors.PeerAborted, told.Id);
        Assert.Contains(ProtocolErrors.Cancelled, told.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LocalRunAsync_ReaderLeaves_Ends()
    {
        await foreach (GlmTrainingEvent happened in LocalFederation.RunAsync(Job(epochs: 1_000_000), Data.Inputs(), cancellationToken: Token))
            if (happened is GlmTrainingEvent.RoundDone { Progress.Round: >= 10 })
                break;
    }

    [Fact]
    public async Task LocalRunAsync_Cancelled_Throws()
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (GlmTrainingEvent _ in LocalFederation.RunAsync(Job(epochs: 1_000_000), Data.Inputs()).WithCancellation(stop.Token))
                await stop.CancelAsync();
        });
    }

    [Fact]
    public async Task RunAsync_JobFails_ThrowsItsError()
    {
        var (active, _, agreement) = Session(Job());
        await active.Channel.DisposeAsync();
        PeerException failed = await Assert.ThrowsAsync<PeerException>(() => active.Trainer.RunAsync(agreement, [active.Channel], Token).ToListAsync(Token).AsTask());
        Assert.Equal(ProtocolErrors.PeerGone, failed.Id);
    }

    [Fact]
    public void RunAsync_NoArguments_ThrowsBeforeTheEnumeration()
    {
        var (active, _, agreement) = Session(Job());
        Assert.Throws<ArgumentNullException>(() => active.Trainer.RunAsync(null!, [active.Channel], Token));
        Assert.Throws<ArgumentNullException>(() => active.Trainer.RunAsync(agreement, null!, Token));
        Assert.Throws<ArgumentNullException>(() => LocalFederation.RunAsync(null!, Data.Inputs(), cancellationToken: Token));
        Assert.Throws<ConfigurationException>(() => LocalFederation.RunAsync(Job(), [], cancellationToken: Token));
    }
}
