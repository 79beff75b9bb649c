using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Tests.Dssm;

/// <summary>Vectors of all events of a set, met after the last round, would take a finished model with them.</summary>
public class DssmMessageRoomTests
{
    // Vectors of 24 test events take more than those of a batch, and with noise still more than the keys of 144 samples.
    private const int Width = 400, Fits = 24 * Width * sizeof(double) + 64, KeysFit = 8192;

    private static readonly ITowerFactory Towers = new ReferenceTowerFactory();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static DssmJob Job(DssmPrivacyOptions? privacy = null, int batch = 16, bool masked = false) =>
        SmallRecommendation.Job(training: new DssmTrainingOptions { Epochs = 2, BatchSize = batch, Seed = 5, ValidationStop = false }, privacy: privacy) is var job
            ? job with { MaskedSum = masked, Model = job.Model with { Layers = [6, Width] } } : null!;

    private static async Task<(PeerException Error, int Epochs)> FailsAsync(DssmJob job, IReadOnlyList<DssmPartyInput> inputs, int limit)
    {
        var epochs = new Epochs();
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => DssmFederation.TrainAsync(job, inputs, Towers, new ChannelOptions { MaxMessageBytes = limit }, epochs, Token));
        Assert.Equal(ProtocolErrors.TooLarge, error.Id);
        Assert.Contains("before round 0", error.Message, StringComparison.Ordinal);
        return (error, epochs.Count);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Train_VectorsOfAllTestEventsAreTooLarge_IsRefusedBeforeRoundZero(bool masked)
    {
        (PeerException error, int epochs) = await FailsAsync(Job(masked: masked), SmallRecommendation.Inputs(), Fits - 1);
        Assert.Contains("all test events", error.Message, StringComparison.Ordinal);
        Assert.Contains($"maxMessageBytes to at least {Fits} at every party", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, epochs);
        Assert.All(await DssmFederation.TrainAsync(Job(masked: masked), SmallRecommendation.Inputs(), Towers, new ChannelOptions { MaxMessageBytes = Fits }, cancellationToken: Token),
            result => Assert.NotEmpty(result.History));
    }

    [Fact]
    public async Task Train_BatchIsTooLarge_SaysThatASmallerOneHelps()
    {
        (PeerException error, int epochs) = await FailsAsync(Job(batch: 144), SmallRecommendation.Inputs(), KeysFit);
        Assert.Contains("lower training.batchSize", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, epochs);
    }

    [Theory]
    [InlineData(EmbeddingClaim.OwnMessages, EvaluationDisclosure.Disclosed)]
    [InlineData(EmbeddingClaim.Full, EvaluationDisclosure.Disclosed)]
    [InlineData(EmbeddingClaim.OwnMessages, EvaluationDisclosure.Charged)]
    [InlineData(EmbeddingClaim.OneShot, EvaluationDisclosure.None)]
    public async Task Train_PrivateModeWhoseMessagesAreTooLarge_ChargesNobody(EmbeddingClaim claim, EvaluationDisclosure evaluation)
    {
        DssmPrivacyOptions privacy = new()
        {
            Noise = claim == EmbeddingClaim.OneShot ? DssmNoise.Embeddings : DssmNoise.Both,
            Claim = claim,
            Unit = EmbeddingUnit.User,
            Budget = new PrivacyBudget(20, 1e-5),
            HistoryEvents = 50,
            MaxSamplesPerUser = 7,
            Evaluation = evaluation,
        };
        var ledgers = new List<InMemoryLedger>();
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs(ledger: _ =>
        {
            ledgers.Add(new InMemoryLedger());
            return ledgers[^1];
        });
        (_, int epochs) = await FailsAsync(Job(privacy, batch: 2), inputs, KeysFit);
        Assert.Equal(0, epochs);
        Assert.All(ledgers, ledger => Assert.All(ledger.Entries, entry => Assert.Equal((0, 0), (entry.PureEpsilon, entry.MuSquared))));
    }

    private sealed class Epochs : IProgress<DssmProgress>
    {
        private int _count;

        public int Count => Volatile.Read(ref _count);

        public void Report(DssmProgress value) => Interlocked.Increment(ref _count);
    }
}
