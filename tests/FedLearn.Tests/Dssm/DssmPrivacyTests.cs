using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Dssm;

public class DssmPrivacyTests
{
    private static readonly ITowerFactory Towers = new ReferenceTowerFactory();

    private static DssmPrivacyOptions Private(DssmNoise noise, EmbeddingClaim claim, EmbeddingUnit unit = EmbeddingUnit.User) => new()
    {
        Noise = noise,
        Claim = claim,
        Unit = unit,
        Budget = new PrivacyBudget(10, 1e-5),
        HistoryEvents = 50,
        MaxSamplesPerUser = 7,
    };

    public static TheoryData<DssmFusion, DssmNoise, EmbeddingClaim> Modes
    {
        get
        {
            var modes = new TheoryData<DssmFusion, DssmNoise, EmbeddingClaim>();
            foreach (DssmFusion fusion in Enum.GetValues<DssmFusion>())
            {
                foreach (DssmNoise noise in new[] { DssmNoise.Embeddings, DssmNoise.Gradients, DssmNoise.Both })
                {
                    modes.Add(fusion, noise, EmbeddingClaim.OwnMessages);
                    modes.Add(fusion, noise, EmbeddingClaim.Full);
                }

                modes.Add(fusion, DssmNoise.Embeddings, EmbeddingClaim.OneShot);
            }

            return modes;
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task TrainAsync_PrivateModes_NoiseWhatTheySayAndBookIt(DssmFusion fusion, DssmNoise noise, EmbeddingClaim claim)
    {
        var ledgers = new Dictionary<string, InMemoryLedger>();
        IPrivacyLedger Ledger(string party) => ledgers[party] = new InMemoryLedger();
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Fusion = fusion, Precision = TowerPrecision.Float64 }, privacy: Private(noise, claim));
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(ledger: Ledger), Towers, cancellationToken: TestContext.Current.CancellationToken);

        Dictionary<string, DssmPartyResult> of = results.ToDictionary(r => r.Model.Party.Name);
        bool Noised(string party, string name) => of[party].Sent.Any(r => r.Protection == Protection.Noise && r.Name == name);
        bool Open(string party, string name) => of[party].Sent.Any(r => r.Protection == Protection.None && r.Name == name);
        bool views = noise.HasFlag(DssmNoise.Embeddings), label = noise.HasFlag(DssmNoise.Gradients);
        string vectors = claim == EmbeddingClaim.OneShot ? "embeddings, once" : "training embeddings";
        foreach (string view in (string[])["profile", "taste"])
        {
            Assert.Equal(views, Noised(view, vectors));
            Assert.Equal(!views, Open(view, "embeddings: training"));
        }

        Assert.Equal(label, Noised("shop", "training embedding gradients"));
        Assert.Equal(!label && claim != EmbeddingClaim.OneShot, Open("shop", "embedding gradients: training"));
        foreach ((string party, DssmPartyResult result) in of)
        {
            bool noises = party == "shop" ? label : views;
            bool discloses = !noises && !(party == "shop" && claim == EmbeddingClaim.OneShot);
            Assert.Equal(noises || discloses ? 1 : 0, ledgers[party].Entries.Count);
            // What leaves without noise is written down, at no cost.
            Assert.All(ledgers[party].Entries, entry => Assert.Equal((noises, !noises), (entry.MuSquared > 0, entry.Charge.Mechanism.StartsWith("disclosed: ", StringComparison.Ordinal))));
            Assert.Equal(noises, result.Privacy.Calibration is not null);
            Assert.NotEmpty(result.Privacy.Claims);
            if (!noises)
                continue;
            Assert.Equal(10, result.Privacy.Figures.Single(f => f.Unit == EmbeddingUnit.User).Epsilon!.Value, 1e-6);
            Assert.Equal(claim == EmbeddingClaim.OwnMessages, result.Privacy.Claims[0].Contains("own messages only; influence through trained parameters is not covered", StringComparison.Ordinal));
            Assert.Equal(result.Privacy.Calibration!.Mu * result.Privacy.Calibration.Mu, ledgers[party].Entries[0].MuSquared, 1e-12);
        }
    }

    /// <summary>Two tables that differ in the item of one event that is never trained on: in a private job no message or parameter may tell them apart, so that no draw of other
    /// people's samples depends on it.</summary>
    [Theory]
    [InlineData(DssmLossKind.Sampled)]
    [InlineData(DssmLossKind.Full)]
    public async Task TrainAsync_ColdItemOfAnotherPerson_ChangesNothingInPrivateJobs(DssmLossKind loss)
    {
        async Task<string[]> WeightsAsync(int item, bool isPrivate)
        {
            DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs()];
            InteractionTable table = inputs[0].Interactions!;
            Interaction last = table.Events[^1] with { Item = item, Role = EventRole.ColdItem };
            inputs[0] = inputs[0] with { Interactions = table with { Events = [.. table.Events.SkipLast(1).Where(e => e.Item is not (2 or 3)), last] } };
            DssmPrivacyOptions privacy = isPrivate ? Private(DssmNoise.Gradients, EmbeddingClaim.Full) with { TestNoiseSeed = 4, Evaluation = EvaluationDisclosure.None } : new();
            DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Loss = loss, Precision = TowerPrecision.Float64 }, new DssmTrainingOptions { Epochs = 1, BatchSize = 16, Seed = 5, ValidationStop = false }, privacy);
            IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal(isPrivate, results[0].Warnings.Any(w => w.StartsWith("items of the role cold-item were drawn", StringComparison.Ordinal)));
            return [.. results.Select(r => r.Model.WeightsSha256)];
        }

        Assert.Equal(await WeightsAsync(2, true), await WeightsAsync(3, true));
        Assert.NotEqual(await WeightsAsync(2, false), await WeightsAsync(3, false));
    }

    [Fact]
    public async Task TrainAsync_GradientNoiseOfFusionSum_SendsAllViewsTheSameBytes()
    {
        DssmJob job = SmallRecommendation.Job(privacy: Private(DssmNoise.Gradients, EmbeddingClaim.OwnMessages, EmbeddingUnit.Sample));
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);
        DssmSentMessages[] sent = [.. results[0].Sent.Where(r => r.Name == "training embedding gradients")];
        Assert.Equal(2, sent.Length);
        int rounds = results[0].History.Count * ((results[0].Counts.Train + 15) / 16);
        Assert.All(sent, s => Assert.Equal(rounds, s.Messages));
        // One release a round for both views: the mechanism would refuse a second one.
        Assert.Equal(rounds, results[0].Privacy.Calibration!.MessageNoise.Releases);
    }

    [Fact]
    public async Task TrainAsync_OneShotStaticView_ProtectsUsersWithOneRow()
    {
        DssmJob job = SmallRecommendation.Job(privacy: Private(DssmNoise.Embeddings, EmbeddingClaim.OneShot));
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(1, results[1].Privacy.Calibration!.Rows);
        Assert.Equal(7, results[2].Privacy.Calibration!.Rows);
        Assert.Equal(1, results[1].Sent.Single(r => r.Name == "embeddings, once").Messages);
        Assert.DoesNotContain(results[0].Sent, r => r.Name.Contains("gradient", StringComparison.Ordinal));
        Assert.NotNull(results[0].Metrics!.Test);
    }

    [Fact]
    public async Task TrainAsync_ChargedEvaluation_NoisesAndCountsIt()
    {
        DssmJob job = SmallRecommendation.Job(privacy: Private(DssmNoise.Embeddings, EmbeddingClaim.OwnMessages) with { Evaluation = EvaluationDisclosure.Charged });
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Contains(results[1].Sent, r => r.Protection == Protection.Noise && r.Name == "embeddings: test");
        Assert.DoesNotContain(results[1].Sent, r => r.Protection == Protection.None && r.Name.StartsWith("embeddings", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(EmbeddingUnit.Sample, EvaluationDisclosure.Charged, true)]
    [InlineData(EmbeddingUnit.Event, EvaluationDisclosure.Charged, true)]
    [InlineData(EmbeddingUnit.User, EvaluationDisclosure.Charged, false)]
    [InlineData(EmbeddingUnit.Sample, EvaluationDisclosure.Disclosed, false)]
    public async Task TrainAsync_TestSampleReadsARowOfTraining_IsRefusedWhereItIsReleasedTwiceAndChargedOnce(EmbeddingUnit unit, EvaluationDisclosure evaluation, bool refused)
    {
        DssmJob job = SmallRecommendation.Job(privacy: Private(DssmNoise.Embeddings, EmbeddingClaim.OwnMessages, unit) with { Evaluation = evaluation });
        job = job with { Parties = [job.Parties[0], job.Parties[2]] };
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        // Without the rows of a user's last two events, for validation and for the test, the test sample reads the row of the last training sample.
        ViewTable taste = inputs[2].View!;
        int kept = taste.Rows.Rows - 2;
        var shorter = new ViewTable(taste.Users, [.. Enumerable.Range(0, kept).Select(row => row / SmallRecommendation.EventsOfUser)], [.. taste.Moments!.Take(kept)],
            new TowerRows(taste.Rows.Inputs, kept, [.. taste.Rows.Dense[..(2 * kept)]], []));
        Task<IReadOnlyList<DssmPartyResult>> training = DssmFederation.TrainAsync(job, [inputs[0], inputs[2] with { View = shorter }], Towers, cancellationToken: TestContext.Current.CancellationToken);
        if (refused)
            Assert.Equal(DssmErrors.SharedRow, (await Assert.ThrowsAsync<PrivacyRefusedException>(() => training)).Id);
        else
            Assert.Contains((await training)[1].Sent, r => r.Name == "embeddings: test");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Received_RowsBeyondAnyHonestOne_AreShortenedInPrivateJobsOnly(bool isPrivate)
    {
        await using var thread = new TowerThread("taste");
        var run = new DssmRun(SmallRecommendation.Job(privacy: isPrivate ? Private(DssmNoise.Both, EmbeddingClaim.Full) : null), thread) { SetNames = [] };
        double[] rows = run.Received(new double[] { 3, -4, 1e308, 1e308, 0, -1e200 }, 2);
        Assert.Equal([3, -4], rows[..2]);                                                    // an honest row is as it was, bit for bit
        if (isPrivate)
            Assert.Equal([1e12 * Math.Sqrt(.5), 1e12 * Math.Sqrt(.5), 0, -1e12], rows[2..], (due, found) => Math.Abs(due - found) <= 1);
        else
            Assert.Equal([1e308, 1e308, 0, -1e200], rows[2..]);
    }

    /// <summary>Whether a session ends with an error is seen by the peers, and no noise is on it: it must not depend on what is in a row.</summary>
    [Theory]
    [InlineData("taste", EmbeddingClaim.OwnMessages)]
    [InlineData("taste", EmbeddingClaim.Full)]
    [InlineData("taste", EmbeddingClaim.OneShot)]
    [InlineData("shop", EmbeddingClaim.OwnMessages)]
    [InlineData("shop", EmbeddingClaim.Full)]
    [InlineData("shop", EmbeddingClaim.OneShot)]
    public async Task TrainAsync_RowThatWouldOverflowATower_EndsAsAnyOther(string party, EmbeddingClaim claim)
    {
        DssmNoise noise = claim == EmbeddingClaim.OneShot ? DssmNoise.Embeddings : DssmNoise.Both;
        foreach (DssmFusion fusion in Enum.GetValues<DssmFusion>())
            foreach (int[] layers in new int[][] { [4], [6, 4] })
            {
                DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Fusion = fusion, Activation = TowerActivation.Relu, LayerNorm = true, Precision = TowerPrecision.Float64 }, privacy: Private(noise, claim));
                job = job with { Model = job.Model with { Layers = layers } };
                DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs().Select(input => input.Party == party ? input with { View = WithHugeRow(input.View!) } : input)];
                IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
                Assert.True(double.IsFinite(results[0].History[^1].Loss!.Value));
            }
    }

    /// <summary>A dense view whose row of a training sample is at the edge of doubles.</summary>
    private static ViewTable WithHugeRow(ViewTable view)
    {
        double[] dense = [.. Enumerable.Range(0, 2 * view.Rows.Rows).Select(i => i % 7 / 7.0)];
        (dense[6], dense[7]) = (double.MaxValue, -double.MaxValue);
        return new(view.Users, view.RowUser, view.Moments, new TowerRows(new TowerInputs(2, []), view.Rows.Rows, dense, []));
    }

    /// <summary>Claim one-shot: the active party sends nothing that depends on an item, whatever a view has sent.</summary>
    [Fact]
    public async Task TrainAsync_OneShotVectorsBeyondAnyHonestOnes_EndAsOthers()
    {
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Fusion = DssmFusion.Late, Activation = TowerActivation.Relu, LayerNorm = true, Precision = TowerPrecision.Float64 },
            privacy: Private(DssmNoise.Embeddings, EmbeddingClaim.OneShot));
        DssmTrainer[] trainers = [.. SmallRecommendation.Inputs().Select(input => new DssmTrainer(job, input, Towers))];
        IReadOnlyList<DssmPartyResult> results = await LocalSession.RunAsync(trainers[0].Terms, [.. trainers.Select(t => t.JoinRequest)], new ChannelOptions(),
            (i, agreement, channels, stop) => trainers[i].TrainAsync(agreement, i == 0 ? [.. channels.Select(channel => new ChangedChannel(channel, AtTheEdge))] : channels, null, stop), TestContext.Current.CancellationToken);
        Assert.True(double.IsFinite(results[0].History[^1].Loss!.Value));
    }

    // Vectors of a view at the edge of doubles.
    private static Payload AtTheEdge(Payload received) =>
        received is not Embeddings vectors ? received
            : vectors.Lattice is null ? new Embeddings(Enumerable.Range(0, vectors.Length).Select(i => i % 2 == 0 ? double.MaxValue : -double.MaxValue).ToArray())
            : new Embeddings(LatticeVector.Pack([.. Enumerable.Range(0, vectors.Length).Select(i => i % 2 == 0 ? 1.0 : -1)], 1.7e308, 2));

    // A view without the noise that the job says is found by whoever gets its vectors.
    [Theory]
    [InlineData(DssmNoise.None, EmbeddingClaim.OwnMessages, false, ElementType.Float32)]
    [InlineData(DssmNoise.None, EmbeddingClaim.OwnMessages, false, ElementType.Lattice)]
    [InlineData(DssmNoise.None, EmbeddingClaim.OwnMessages, true, ElementType.Float32)]
    [InlineData(DssmNoise.None, EmbeddingClaim.OwnMessages, true, ElementType.Lattice)]
    [InlineData(DssmNoise.Both, EmbeddingClaim.OwnMessages, false, ElementType.Float64)]
    [InlineData(DssmNoise.Both, EmbeddingClaim.OwnMessages, true, ElementType.Float64)]
    [InlineData(DssmNoise.Embeddings, EmbeddingClaim.OneShot, false, ElementType.Float64)]
    public async Task TrainAsync_VectorsPackedInAnotherWay_AreRefused(DssmNoise noise, EmbeddingClaim claim, bool atView, ElementType type)
    {
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Fusion = DssmFusion.Late, Precision = TowerPrecision.Float64 }, privacy: noise == DssmNoise.None ? null : Private(noise, claim));
        DssmTrainer[] trainers = [.. SmallRecommendation.Inputs().Select(input => new DssmTrainer(job, input, Towers))];
        var error = await Assert.ThrowsAsync<PeerException>(() => LocalSession.RunAsync(trainers[0].Terms, [.. trainers.Select(t => t.JoinRequest)], new ChannelOptions(), (i, agreement, channels, stop) =>
            trainers[i].TrainAsync(agreement, i > 0 == atView ? [.. channels.Select(channel => new ChangedChannel(channel, received => Packed(received, type)))] : channels, null, stop), TestContext.Current.CancellationToken));
        Assert.Equal(ProtocolErrors.UnexpectedMessage, error.PeerErrorId ?? error.Id);
    }

    private static Payload Packed(Payload received, ElementType type) => (received, type) switch
    {
        (Embeddings vectors, ElementType.Lattice) => new Embeddings(LatticeVector.Of(vectors.Values.Span, 1.0 / (1 << 20), 1 << 20)),
        (Embeddings vectors, _) => new Embeddings(vectors.Values, type),
        (EmbeddingGradients gradients, ElementType.Lattice) => new EmbeddingGradients(LatticeVector.Of(gradients.Values.Span, 1.0 / (1 << 20), 1 << 20)),
        (EmbeddingGradients gradients, _) => new EmbeddingGradients(gradients.Values, type),
        _ => received,
    };

    [Theory]
    [InlineData("profile", true)]
    [InlineData("shop", true)]
    [InlineData("profile", false)]
    public async Task TrainAsync_NumbersBeyondWhatCounts_AreCountedInTheOwnReport(string party, bool isPrivate)
    {
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Fusion = DssmFusion.Late, Precision = TowerPrecision.Float64 }, privacy: isPrivate ? Private(DssmNoise.Both, EmbeddingClaim.Full) : null);
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs().Select(input => input.Party == party ? input with { View = isPrivate ? WithHugeRow(input.View!) : input.View } : input)];
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        foreach (DssmPartyResult result in results)
        {
            string[] said = [.. result.Warnings.Where(w => w.Contains("beyond 1e12", StringComparison.Ordinal))];
            if (isPrivate && result.Model.Party.Name == party)
                Assert.StartsWith($"2 numbers of the view of '{party}' are beyond 1e12", Assert.Single(said), StringComparison.Ordinal);
            else
                Assert.Empty(said);
        }
    }

    [Fact]
    public void Clip_RowsThatAreNoNumbers_Become0()
    {
        double[] rows = [double.NaN, 1, double.PositiveInfinity, 0, double.MaxValue, 1, 3, 4];
        new ClippedRows().Clip(rows, 2, 1);
        Assert.Equal([0, 0, 0, 0, 0, 0], rows[..6]);
        Assert.Equal([0.6, 0.8], rows[6..], (due, found) => Math.Abs(due - found) < 1e-15);
    }

    [Fact]
    public async Task TrainAsync_EvaluationNone_SendsNoVectorsBeyondTraining()
    {
        DssmJob job = SmallRecommendation.Job(privacy: Private(DssmNoise.Both, EmbeddingClaim.Full) with { Evaluation = EvaluationDisclosure.None });
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Null(results[0].Metrics!.Test);
        Assert.DoesNotContain(results[1].Sent, r => r.Name.EndsWith(": test", StringComparison.Ordinal) && r.Name.StartsWith("embeddings", StringComparison.Ordinal));
    }

    [Fact]
    public async Task TrainAsync_MaskedNoise_OpensTheSumOfNoisedVectors()
    {
        DssmPrivacyOptions privacy = Private(DssmNoise.Both, EmbeddingClaim.OwnMessages);
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(SmallRecommendation.Job(privacy: privacy) with { MaskedSum = true }, SmallRecommendation.Inputs(), Towers,
            cancellationToken: TestContext.Current.CancellationToken);
        Assert.Contains(results[1].Sent, r => r.Protection == Protection.Noise && r.Name == "masked embeddings: training");
    }

    /// <summary>A tower in which one row may change the vectors of others: at a view it would void the clip of a row, at the active party that of a sample.</summary>
    [Theory]
    [InlineData("taste")]
    [InlineData("shop")]
    public async Task TrainAsync_TowerWhoseRowsDependOnEachOther_IsRefusedWhereThereIsNoise(string party)
    {
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs().Select(input => input.Party == party ? input with { ViewTower = new BreakingTowers(fault: "batch normalisation") } : input)];
        PrivacyRefusedException error = await Assert.ThrowsAsync<PrivacyRefusedException>(() => DssmFederation.TrainAsync(
            SmallRecommendation.Job(privacy: Private(DssmNoise.Both, EmbeddingClaim.OwnMessages)), inputs, Towers, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal(DssmPlanErrors.TowerNotPrivate, error.Id);
        Assert.Contains("batch normalisation", error.Message, StringComparison.Ordinal);
        Assert.Equal(3, (await DssmFederation.TrainAsync(SmallRecommendation.Job(), inputs, Towers, cancellationToken: TestContext.Current.CancellationToken)).Count);
    }

    /// <summary>A digest of the events tells of every row that they hold, and no noise covers it.</summary>
    [Theory]
    [InlineData(DssmNoise.None)]
    [InlineData(DssmNoise.Embeddings)]
    [InlineData(DssmNoise.Gradients)]
    public async Task TrainAsync_DigestOfTheEvents_IsInNoModelOfAPrivateJob(DssmNoise noise)
    {
        DssmJob job = SmallRecommendation.Job(privacy: noise == DssmNoise.None ? null : Private(noise, EmbeddingClaim.OwnMessages));
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(noise == DssmNoise.None, results[0].Model.EventsSha256 is not null);
    }

    [Fact]
    public void Constructor_OverTheLedgersBudget_IsRefusedBeforeAPeerIsMet()
    {
        DssmJob job = SmallRecommendation.Job(privacy: Private(DssmNoise.Embeddings, EmbeddingClaim.OwnMessages));
        DssmPartyInput input = SmallRecommendation.Inputs()[1] with { Ledger = new PoorLedger() };
        Assert.Throws<PrivacyRefusedException>(() => new DssmTrainer(job, input, Towers));
    }

    private sealed class PoorLedger : IPrivacyLedger
    {
        public string? Warning => null;

        public IReadOnlyList<LedgerEntry> Entries => [];

        public void Check(PrivacyCharge charge) => throw new PrivacyRefusedException("FL5020", "ledger", "the budget is spent.", "Raise it.");

        public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null) => throw new InvalidOperationException("The check should have refused it.");

        public byte[]? Find(string party, string key) => null;
    }
}
