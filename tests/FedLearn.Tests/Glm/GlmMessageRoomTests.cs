using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm;

/// <summary>Messages that grow with the rows, met after the last round, would take a finished model with them.</summary>
public class GlmMessageRoomTests
{
    // Ten scores a row take 80 bytes, more than the 32 of its hashed id.
    private const int Classes = 10, Rows = 200, IdsFit = 8192;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static GlmJob Job(VerticalData data, GlmTrainingOptions training) =>
        data.Job("multinomial", training) is var job ? job with { Model = job.Model with { Family = GlmFamilies.Multinomial(Classes) } } : null!;

    private static async Task<(PeerException Error, int Rounds)> FailsAsync(GlmJob job, GlmPartyInput[] inputs, int limit)
    {
        var rounds = new Rounds();
        PeerException error = await Assert.ThrowsAsync<PeerException>(() =>
            LocalFederation.TrainAsync(job, inputs, new ChannelOptions { MaxMessageBytes = limit }, rounds, Token));
        return (error, rounds.Count);
    }

    [Theory]
    [InlineData(GlmOptimizer.Sgd)]
    [InlineData(GlmOptimizer.Lbfgs)]
    public async Task Train_ScoresOfAllRowsAreTooLarge_IsRefusedBeforeRoundZero(GlmOptimizer optimizer)
    {
        VerticalData data = VerticalData.Random(7, "multinomial", Rows, 2, 2);
        GlmJob job = Job(data, new() { Optimizer = optimizer, Epochs = 3, BatchesPerEpoch = optimizer == GlmOptimizer.Sgd ? 20 : 1 });
        (PeerException error, int rounds) = await FailsAsync(job, data.Inputs(), IdsFit);
        Assert.Equal(ProtocolErrors.TooLarge, error.Id);
        Assert.Contains("before round 0", error.Message, StringComparison.Ordinal);
        Assert.Contains("maxMessageBytes to at least 16064 at every party", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("more batches", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, rounds);
        Assert.All(await LocalFederation.TrainAsync(job, data.Inputs(), new ChannelOptions { MaxMessageBytes = 16064 }, cancellationToken: Token), r => Assert.NotEmpty(r.History));
    }

    [Fact]
    public async Task Train_BatchIsTooLarge_SaysThatMoreBatchesHelp()
    {
        VerticalData data = VerticalData.Random(7, "multinomial", Rows, 2, 2);
        (PeerException error, int rounds) = await FailsAsync(Job(data, new() { Optimizer = GlmOptimizer.Sgd, Epochs = 1 }), data.Inputs(), IdsFit);
        Assert.Equal(ProtocolErrors.TooLarge, error.Id);
        Assert.Contains("more batches", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, rounds);
    }

    [Theory]
    [InlineData(PrivacyMode.HdpVfl)]
    [InlineData(PrivacyMode.OneRound)]
    public async Task Train_PrivateModeWhoseTestScoresAreTooLarge_ChargesNobody(PrivacyMode mode)
    {
        VerticalData data = VerticalData.Random(7, "multinomial", Rows, 2, 2);
        GlmJob job = Job(data, mode == PrivacyMode.HdpVfl ? new() { Epochs = 2, BatchesPerEpoch = 20, WeightNorm = 1, ResidualClip = 1 } : new()) with
        {
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Normalize, Constant = true },
            Privacy = new() { Mode = mode, Budget = new(4, 1e-3), TestNoiseSeed = 3, Evaluation = EvaluationDisclosure.Disclosed },
            Split = new SplitRule.ByHash(4, [0, 1, 2]),
        };
        GlmPartyInput[] inputs = [.. data.Inputs().Select(input => input with { Ledger = new InMemoryLedger() })];
        (PeerException error, int rounds) = await FailsAsync(job, inputs, IdsFit);
        Assert.Equal(ProtocolErrors.TooLarge, error.Id);
        Assert.Contains("privacy.evaluation", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, rounds);
        Assert.All(inputs, input => Assert.All(input.Ledger!.Entries, entry => Assert.Equal((0, 0), (entry.PureEpsilon, entry.MuSquared))));
    }

    /// <summary>Forty scores of eleven bits are more than a hashed id, and how much noise they have is known only from the released labels.</summary>
    [Fact]
    public async Task Train_OneRoundWhoseTrainingScoresAreTooLarge_ChargesNoLabels()
    {
        const int Many = 40;
        VerticalData data = VerticalData.Random(7, "multinomial", Rows, 2, 2);
        GlmJob job = OneRound(data, "multinomial", EvaluationDisclosure.None) is var one ? one with { Model = one.Model with { Family = GlmFamilies.Multinomial(Many) } } : null!;
        GlmPartyInput[] inputs = [.. data.Inputs().Select(input => input with { Ledger = new InMemoryLedger() })];
        (PeerException error, int rounds) = await FailsAsync(job, inputs, IdsFit);
        Assert.Equal(ProtocolErrors.TooLarge, error.Id);
        Assert.Contains("noisy scores of all training rows", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, rounds);
        Assert.All(inputs, input => Assert.Empty(input.Ledger!.Entries));

        // Exactly what the message says is enough.
        const int Needed = (Rows * Many * 11 + 7) / 8 + 64;
        Assert.Contains($"at least {Needed} at every party", error.Message, StringComparison.Ordinal);
        Assert.Equal(2, (await LocalFederation.TrainAsync(job, inputs, new ChannelOptions { MaxMessageBytes = Needed }, cancellationToken: Token)).Count);
    }

    /// <summary>Whoever has the smaller limit, it is met before the labels are charged: the active party knows what its peers will send, and they know it too.</summary>
    [Theory]
    [InlineData("active")]
    [InlineData("p1")]
    public async Task CheckOneRoundScores_LimitOfOneEnd_IsMetThere(string party)
    {
        GlmPlan plan = GlmPlan.Create(OneRound(VerticalData.Random(7, "binomial", 8, 2, 2), "binomial", EvaluationDisclosure.None));
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("active", "p1", new ChannelOptions { MaxMessageBytes = 2048 });
        await using (first)
        await using (second)
        {
            void Check(int rows) => GlmMessageRoom.CheckOneRoundScores(plan, rows, plan.Job.Parties.Single(p => p.Party.Name == party), [party == "active" ? first : second]);
            Check((2048 - 64) * 8 / 11);
            Assert.Equal(ProtocolErrors.TooLarge, Assert.Throws<PeerException>(() => Check((2048 - 64) * 8 / 11 + 1)).Id);
        }
    }

    /// <summary>A noisy label takes more than the byte of a class, and a passive party is not told the range that it lies in.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task BytesOf_NoisyLabels_AreThoseOfTheMessage(bool ranged)
    {
        VerticalData data = VerticalData.Random(7, "gaussian", Rows, 2, 2);
        GlmJob job = OneRound(data, "gaussian", EvaluationDisclosure.None);
        (RecordedSession session, _) = await RecordedSession.TrainAsync(job, data.Inputs());
        var sent = (NoisyTargets)session.Sent.Single(m => m.Name == "noisy labels").Payload;
        GlmJob known = ranged ? job : job with { Parties = [job.Parties[0] with { LabelRange = null }, .. job.Parties.Skip(1)] };
        Assert.Equal(sent.Lattice!.Packed.Length, LabelRelease.BytesOf(GlmPlan.Create(known), sent.Length));
    }

    private static GlmJob OneRound(VerticalData data, string family, EvaluationDisclosure evaluation) => data.Job(family, new()) is var job ? job with
    {
        Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Normalize, Constant = true },
        Privacy = new() { Mode = PrivacyMode.OneRound, Budget = new(4, 1e-3), TestNoiseSeed = 3, Evaluation = evaluation },
        Parties = [job.Parties[0] with { LabelRange = family == "gaussian" ? (-3, 3) : null }, .. job.Parties.Skip(1)],
    } : null!;

    [Theory]
    [InlineData(GlmOptimizer.Irls)]
    [InlineData(GlmOptimizer.Sgd)]
    public async Task Train_CovarianceOfAPartysColumnsIsTooLarge_IsRefusedBeforeRoundZero(GlmOptimizer optimizer)
    {
        VerticalData data = VerticalData.Random(7, "gaussian", 100, 2, 40);
        (PeerException error, int rounds) = await FailsAsync(data.Job("gaussian", new() { Optimizer = optimizer, Epochs = 5 }) with { Inference = true }, data.Inputs(), IdsFit);
        Assert.Equal(ProtocolErrors.TooLarge, error.Id);
        Assert.Contains("fewer columns", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, rounds);
    }

    [Fact]
    public async Task Check_MoreThanAnyLimit_NamesNone()
    {
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", "telco");
        PeerException error = Assert.Throws<PeerException>(() => MessageRoom.Check("scores", 3L << 30, "use fewer rows", [first]));
        Assert.Contains("Use fewer rows: no transport.maxMessageBytes is above 1073741824.", error.Message, StringComparison.Ordinal);
        await first.DisposeAsync();
        await second.DisposeAsync();
    }

    private sealed class Rounds : IProgress<GlmProgress>
    {
        private int _count;

        public int Count => Volatile.Read(ref _count);

        public void Report(GlmProgress value) => Interlocked.Increment(ref _count);
    }
}
