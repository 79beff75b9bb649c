using System.Runtime.InteropServices;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Tests.Dssm;

/// <summary>Runs of recommendation training whose parties lose each other, and go on.</summary>
public class DssmResumeTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly ITowerFactory Towers = new ReferenceTowerFactory();

    private static DssmModelOptions Model(DssmFusion fusion) => new() { Fusion = fusion, Precision = TowerPrecision.Float64 };

    private static DssmTrainingOptions Training(int epochs = 3, bool? stop = null) =>
        new() { Epochs = epochs, BatchSize = 16, Seed = 5, CheckpointRounds = 4, ValidationStop = stop, Patience = 1 };

    private static DssmPrivacyOptions Private(EmbeddingClaim claim, DssmNoise noise = DssmNoise.Both, long? seed = 77) => new()
    {
        Noise = noise,
        Claim = claim,
        Unit = EmbeddingUnit.User,
        Budget = new PrivacyBudget(20, 1e-5),
        HistoryEvents = 50,
        MaxSamplesPerUser = 7,
        TestNoiseSeed = seed,
    };

    public static TheoryData<string> Cases => [.. All.Keys];

    private static Dictionary<string, DssmJob> All { get; } = new()
    {
        ["late, dropouts, stop"] = SmallRecommendation.Job(Model(DssmFusion.Late) with { ViewDropout = 0.3, Dropout = 0.2, LearnViewWeights = true, ItemBias = true }, Training(4)),
        ["sum, dropouts, cached negatives"] = SmallRecommendation.Job(Model(DssmFusion.Sum) with { ViewDropout = 0.3, Dropout = 0.2, NegativeSource = NegativeSource.Cached, LayerNorm = true },
            Training(stop: false)),
        ["sum, hard negatives, adagrad"] = SmallRecommendation.Job(Model(DssmFusion.Sum) with { NegativeSource = NegativeSource.Hard },
            Training() with { Optimizer = new TowerOptimizer { Kind = TowerOptimizerKind.Adagrad, Rate = 0.05 } }),
        ["concat, dropouts, stop"] = SmallRecommendation.Job(Model(DssmFusion.Concat) with { ViewDropout = 0.3, Dropout = 0.2, ItemBias = true }, Training(4)),
        ["late, in batch, wire in float32"] = SmallRecommendation.Job(Model(DssmFusion.Late) with { Loss = DssmLossKind.InBatchLogQ, Precision = TowerPrecision.Float32 }, Training()),
        ["masks, view dropout, stop"] = SmallRecommendation.Job(Model(DssmFusion.Sum) with { ViewDropout = 0.3 }, Training(4), new DssmPrivacyOptions { TestNoiseSeed = 4 }) with { MaskedSum = true },
        ["own messages, late"] = SmallRecommendation.Job(Model(DssmFusion.Late) with { ViewDropout = 0.3 }, Training(), Private(EmbeddingClaim.OwnMessages)),
        ["own messages, concat, gradients"] = SmallRecommendation.Job(Model(DssmFusion.Concat), Training(), Private(EmbeddingClaim.OwnMessages, DssmNoise.Gradients)),
        ["full, late"] = SmallRecommendation.Job(Model(DssmFusion.Late) with { ItemBias = true, LearnViewWeights = true }, Training(), Private(EmbeddingClaim.Full)),
        ["full, sum"] = SmallRecommendation.Job(Model(DssmFusion.Sum) with { ViewDropout = 0.3 }, Training(), Private(EmbeddingClaim.Full)),
        ["full, concat, charged evaluation"] = SmallRecommendation.Job(Model(DssmFusion.Concat), Training(), Private(EmbeddingClaim.Full) with { Evaluation = EvaluationDisclosure.Charged }),
        ["full, sum, embeddings only"] = SmallRecommendation.Job(Model(DssmFusion.Sum), Training(), Private(EmbeddingClaim.Full, DssmNoise.Embeddings), labelHasView: false),
        ["full, masks"] = SmallRecommendation.Job(Model(DssmFusion.Sum) with { ViewDropout = 0.3 }, Training(), Private(EmbeddingClaim.Full)) with { MaskedSum = true },
        ["one shot"] = SmallRecommendation.Job(Model(DssmFusion.Sum), Training(), Private(EmbeddingClaim.OneShot, DssmNoise.Embeddings)),
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Run_CutAtManyMessages_EndsInTheSameModels(string name)
    {
        DssmJob job = All[name];
        var whole = new Scene(job);
        IReadOnlyList<DssmPartyResult> expected = (await whole.SessionAsync(int.MaxValue)).Results ?? throw new InvalidOperationException("A session without a cut failed.");
        var random = new Random(name.Length); // where connections are cut
        var scene = new Scene(job);
        Session last = await scene.SessionAsync(3 + random.Next(4));
        Assert.Null(last.Results);
        var resumed = new List<int>();
        for (int cuts = 0; ; cuts++)
        {
            // Claim one-shot sends little after its first state.
            last = await scene.SessionAsync(cuts == 7 ? int.MaxValue : job.Privacy.Claim == EmbeddingClaim.OneShot ? 31 - 4 * cuts + random.Next(7) : 1 + random.Next(60));
            if (last.Agreement.Resume is { } point)
                resumed.Add(point.Round);
            if (last.Results is not null)
                break;
            Assert.True(cuts < 7, $"The session without a cut failed: {last.Failure}");
        }

        Assert.NotEmpty(resumed);
        Assert.Equal(resumed.Order(), resumed);
        if (job.Privacy.Claim != EmbeddingClaim.OneShot)
            Assert.True(resumed[^1] > 0, "Every session began before round 0.");
        AssertSame(expected, last.Results!);
        // One charge a party, as without cuts, and as many noises drawn.
        foreach (string party in scene.Ledgers.Keys)
        {
            Assert.Equal(whole.Ledgers[party].Entries.Select(e => (e.State, e.Share, e.Charge.MuSquared)), scene.Ledgers[party].Entries.Select(e => (e.State, e.Share, e.Charge.MuSquared)));
            Assert.Equal(whole.Ledgers[party].Messages.Values, scene.Ledgers[party].Messages.Values);
            Assert.Equal(whole.Ledgers[party].Values.Values, scene.Ledgers[party].Values.Values);
            // A ledger of the test refuses to find what is older than the bound.
            Assert.Equal(whole.Ledgers[party].Entries.Count(e => e.MuSquared > 0), scene.Ledgers[party].Bounds.Count);
            Assert.All(scene.Ledgers[party].Bounds.Values, bound => Assert.Equal(DssmKeptRun.Reach(DssmPlan.Create(job)) + 1, bound));
            Assert.Null(scene.Stores[party].Find(party, scene.Terms.TermsDigest));
        }
    }

    [Theory]
    [InlineData(EmbeddingClaim.OwnMessages, false)]
    [InlineData(EmbeddingClaim.Full, false)]
    [InlineData(EmbeddingClaim.Full, true)]
    [InlineData(EmbeddingClaim.OneShot, false)]
    public async Task Run_SecureNoise_NoStepIsSentWithOtherBytes(EmbeddingClaim claim, bool masked)
    {
        DssmJob job = SmallRecommendation.Job(Model(DssmFusion.Sum), Training(), Private(claim, claim == EmbeddingClaim.OneShot ? DssmNoise.Embeddings : DssmNoise.Both, null)) with { MaskedSum = masked };
        var scene = new Scene(job);
        Session last = await scene.SessionAsync(4);
        for (int cuts = 0; last.Results is null; cuts++)
            last = await scene.SessionAsync(cuts == 12 ? int.MaxValue : 17 + 7 * cuts);
        // Scene compares the bytes of every message with those of the same step before; some must have been sent again.
        Assert.True(scene.SentAgain > 0);
        int rounds = 27;
        foreach ((string party, KeepingLedger ledger) in scene.Ledgers)
        {
            bool noises = claim != EmbeddingClaim.OneShot || party != "shop";
            Assert.Equal(noises ? 1 : 0, ledger.Entries.Count);
            if (claim != EmbeddingClaim.OneShot)
                Assert.Equal([rounds], ledger.Messages.Values);
            if (claim == EmbeddingClaim.Full)
                Assert.Equal([rounds * (party == "shop" ? 2 : 1)], ledger.Values.Values);
        }
    }

    /// <summary>At parameters that stand still a row's vector is the same in every epoch and evaluation, so that two that left are equal if and only if their noise is.</summary>
    /// <param name="claim">Claim.</param>
    /// <param name="runs">Runs, the first of which is forgotten by a party, so that another begins.</param>
    /// <param name="seed">Seed of test noise, of which two runs have the same, so that it must be found; null: secure noise.</param>
    [Theory]
    [InlineData(EmbeddingClaim.OwnMessages, 1, null)]
    [InlineData(EmbeddingClaim.Full, 1, null)]
    [InlineData(EmbeddingClaim.Full, 2, null)]
    [InlineData(EmbeddingClaim.Full, 2, 77L)]
    [InlineData(EmbeddingClaim.OneShot, 1, null)]
    public async Task Run_CutManyTimes_UsesNoNoiseTwice(EmbeddingClaim claim, int runs, long? seed)
    {
        DssmTrainingOptions still = Training() with { Optimizer = new TowerOptimizer { Kind = TowerOptimizerKind.Sgd, Rate = 1e-300 } };
        DssmJob job = SmallRecommendation.Job(Model(DssmFusion.Concat), still, Private(claim, DssmNoise.Embeddings, seed) with { Evaluation = EvaluationDisclosure.Charged });
        var scene = new Scene(job);
        Session last = await scene.SessionAsync(runs > 1 ? 60 : 4);
        if (runs > 1)
            scene.Stores["shop"] = new InMemoryRunStore();
        // The last cuts are among the messages of the evaluation.
        for (int cuts = 0; last.Results is null; cuts++)
            last = await scene.SessionAsync(cuts == 12 ? int.MaxValue : 17 + 7 * cuts);
        Assert.True(scene.SentAgain > 0);
        if (runs == 1)
            Assert.Equal(claim == EmbeddingClaim.OneShot ? 2 : 2 * 27, scene.Noised.Count(m => m.Name is "embeddings, once" or "training embeddings"));
        Assert.Contains(scene.Noised, m => m.Name == "embeddings: test");
        foreach (string view in (string[])["profile", "taste"])
        {
            string[] rows = [.. scene.Noised.Where(m => m.From == view).SelectMany(m => m.Values.Chunk(4).Select(row => string.Join(' ', row)))];
            Assert.Equal(seed is null, rows.Length == rows.Distinct().Count());
        }
    }

    [Theory]
    [InlineData("late, dropouts, stop")]
    [InlineData("sum, dropouts, cached negatives")]
    [InlineData("sum, hard negatives, adagrad")]
    [InlineData("late, in batch, wire in float32")]
    [InlineData("own messages, late")]
    [InlineData("full, sum")]
    [InlineData("full, sum, embeddings only")]
    [InlineData("one shot")]
    public async Task Run_OfTheItemsOfAStepAlone_SendsAndEndsInWhatOneOfAllItemsDoes(string name)
    {
        DssmJob job = All[name];
        job = job with { Model = job.Model with { Negatives = 1 }, Training = job.Training with { BatchSize = 4, Optimizer = job.Training.Optimizer with { WeightDecay = 0.01 } } };
        (bool all, int steps, int left) = (true, 0, 0);
        int[] Evaluated(int[] index)
        {
            // Of the towers that the active party trains one has as many rows at a time as there are items.
            if (index.Length != SmallRecommendation.Items)
                return index;
            steps++;
            left += index.Count(row => row < 0);
            return all ? [.. Enumerable.Range(0, index.Length)] : index;
        }

        var towers = new BreakingTowers { Index = Evaluated };
        var scene = new Scene(job) { TowersOf = party => party == "shop" ? towers : Towers, ComparesRuns = true };
        IReadOnlyList<DssmPartyResult> expected = (await scene.SessionAsync(int.MaxValue)).Results!;
        (int messages, int again) = (scene.Sent, scene.SentAgain);
        (all, steps, left) = (false, 0, 0);
        Session second = await scene.SessionAsync(int.MaxValue);
        AssertSame(expected, second.Results!);
        Assert.Null(second.Agreement.Resume);
        Assert.Equal((messages, messages + 2 * again), (scene.Sent, scene.SentAgain));
        // Where the gradient of every item is noised, all are evaluated.
        Assert.Equal(name == "full, sum" ? 0 : 1, Math.Sign(left));
        // In a private job the number of those that are says nothing of the batch.
        if (job.Privacy.IsPrivate && left > 0)
            Assert.Equal(steps * (SmallRecommendation.Items - 8), left);
    }

    [Fact]
    public async Task Run_GoesOnWithLessRoomForMessages_IsKeptAndGoesOnWithMore()
    {
        DssmJob job = All["own messages, late"];
        job = job with { Model = job.Model with { Layers = [6, 8] } };
        IReadOnlyList<DssmPartyResult> expected = (await new Scene(job).SessionAsync(int.MaxValue)).Results!;
        var scene = new Scene(job);
        Assert.Null((await scene.SessionAsync(120)).Results);
        scene.MaxMessageBytes = 1200; // less than vectors of all test events
        Session small = await scene.SessionAsync(int.MaxValue);
        Assert.NotNull(small.Agreement.Resume);
        Assert.Equal(ProtocolErrors.TooLarge, Assert.IsType<PeerException>(small.Failure).Id);
        Assert.All(scene.Ledgers.Values, ledger => Assert.Equal(ChargeState.Reserved, Assert.Single(ledger.Entries).State));
        scene.MaxMessageBytes = new ChannelOptions().MaxMessageBytes;
        Session last = await scene.SessionAsync(int.MaxValue);
        Assert.NotNull(last.Agreement.Resume);
        AssertSame(expected, last.Results!);
        Assert.All(scene.Ledgers.Values, ledger => Assert.Single(ledger.Entries));
    }

    [Fact]
    public async Task Run_WithoutAStoreAtOneParty_BeginsAnew()
    {
        var scene = new Scene(All["sum, dropouts, cached negatives"]);
        Assert.Null((await scene.SessionAsync(40)).Results);
        scene.Stores["taste"] = new InMemoryRunStore();
        Session second = await scene.SessionAsync(int.MaxValue);
        Assert.Null(second.Agreement.Resume);
        Assert.NotNull(second.Results);
        Assert.All(second.Results, r => Assert.Equal(second.Agreement.SessionId, r.Model.Version));
    }

    [Fact]
    public async Task Run_OfOtherData_IsNotOffered()
    {
        DssmJob job = All["late, dropouts, stop"];
        var scene = new Scene(job);
        Assert.Null((await scene.SessionAsync(60)).Results);
        DssmPartyInput profile = SmallRecommendation.Inputs()[1] with { Runs = scene.Stores["profile"] };
        Assert.NotNull(new DssmTrainer(job, profile, Towers).JoinRequest.Resume);
        profile.View!.Rows.Dense[0] += 1;
        Assert.Null(new DssmTrainer(job, profile, Towers).JoinRequest.Resume);
    }

    [Fact]
    public async Task Run_OfOtherTowers_IsNotOffered()
    {
        DssmJob job = All["late, dropouts, stop"];
        // The whole session has towers of one's own: the factory is the job's.
        var scene = new Scene(job) { TowersOf = _ => new Module(1) };
        Assert.Null((await scene.SessionAsync(60)).Results);
        ResumeOffer? Offer(string party, ITowerFactory towers, ITowerFactory? own = null)
        {
            DssmPartyInput input = SmallRecommendation.Inputs(job.LabelHasView).First(i => i.Party == party) with { Runs = scene.Stores[party] };
            return new DssmTrainer(job, party == "shop" ? input with { ItemTower = own } : input with { ViewTower = own }, towers).JoinRequest.Resume;
        }

        foreach (string party in new[] { "shop", "profile" })
        {
            Assert.NotNull(Offer(party, new Module(1)));
            Assert.Null(Offer(party, new Module(2)));
            Assert.Null(Offer(party, Towers));
            Assert.Null(Offer(party, new Module(1), new Module(2)));
        }
    }

    [Fact]
    public async Task Run_WithOtherThreads_IsRefusedBeforeAnybodyIsMet()
    {
        DssmJob job = All["late, dropouts, stop"];
        var scene = new Scene(job);
        Assert.Null((await scene.SessionAsync(60)).Results);
        var trainer = new DssmTrainer(job, SmallRecommendation.Inputs()[1] with { Runs = scene.Stores["profile"] }, new Threaded(2));
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => trainer.JoinRequest);
        Assert.Equal(DssmErrors.OtherThreads, error.Id);
        Assert.NotNull(scene.Stores["profile"].Find("profile", trainer.Terms.TermsDigest));
    }

    [Fact]
    public async Task Run_FailsByItself_IsSettledAndForgotten()
    {
        // The shop's own fault: its towers break in the second epoch. Whoever hears of it has lost a peer.
        DssmJob job = All["full, sum"];
        var scene = new Scene(job) { TowersOf = party => party == "shop" ? new BreakingTowers(14) : Towers };
        Session session = await scene.SessionAsync(int.MaxValue);
        Assert.IsType<InvalidOperationException>(session.Failure);
        Assert.Null(scene.Stores["shop"].Find("shop", scene.Terms.TermsDigest));
        Assert.Equal(ChargeState.Settled, Assert.Single(scene.Ledgers["shop"].Entries).State);
    }

    [Theory]
    [InlineData("shop")]
    [InlineData("taste")]
    public async Task Run_ModelCannotBeSaved_GoesOnWithOneCharge(string party)
    {
        DssmJob job = All["full, sum"];
        IReadOnlyList<DssmPartyResult> expected = (await new Scene(job).SessionAsync(int.MaxValue)).Results ?? throw new InvalidOperationException("A session without a fault failed.");
        bool full = true;
        var scene = new Scene(job)
        {
            Saving = self =>
            {
                if (full && self == party)
                    throw new IOException("There is no room.");
            },
        };
        Session session = await scene.SessionAsync(int.MaxValue);
        Assert.IsType<IOException>(session.Failure);
        Assert.All(scene.Stores, store => Assert.NotNull(store.Value.Find(store.Key, scene.Terms.TermsDigest)));
        Assert.All(scene.Ledgers.Values, ledger => Assert.Equal(ChargeState.Reserved, Assert.Single(ledger.Entries).State));
        full = false;
        session = await scene.SessionAsync(int.MaxValue);
        AssertSame(expected, session.Results!);
        Assert.All(scene.Ledgers.Values, ledger => Assert.Equal(ChargeState.Settled, Assert.Single(ledger.Entries).State));
    }

    [Fact]
    public async Task Run_LedgerThatKeepsTooFewMessages_IsRefused()
    {
        var scene = new Scene(All["full, sum"]);
        scene.Ledgers["shop"] = new KeepingLedger { KeepsAtLeast = 3 };
        Assert.Equal(DssmErrors.MessagesNotKept, Assert.IsType<ConfigurationException>((await scene.SessionAsync(int.MaxValue)).Failure).Id);
    }

    // Room is made beside the run, which has paid for the messages that left.
    [Theory]
    [InlineData("shop")]
    [InlineData("taste")]
    public async Task Run_DiskIsFull_GoesOnWithOneCharge(string party)
    {
        DssmJob job = All["full, sum"];
        IReadOnlyList<DssmPartyResult> expected = (await new Scene(job).SessionAsync(int.MaxValue)).Results ?? throw new InvalidOperationException("A session without a fault failed.");
        bool full = true;
        var scene = new Scene(job);
        scene.Stores[party] = new WatchedStore(scene.Stores[party], round =>
        {
            if (full && round == 8)
                throw new InternalFailureException("FL6311", "state", "the disk is full.", "Make room.");
        });
        Session session = await scene.SessionAsync(int.MaxValue);
        Assert.Equal("FL6311", Assert.IsType<InternalFailureException>(session.Failure).Id);
        Assert.All(scene.Stores, store => Assert.NotNull(store.Value.Find(store.Key, scene.Terms.TermsDigest)));
        Assert.All(scene.Ledgers.Values, ledger => Assert.Equal(ChargeState.Reserved, Assert.Single(ledger.Entries).State));
        full = false;
        session = await scene.SessionAsync(int.MaxValue);
        AssertSame(expected, session.Results!);
        Assert.Equal(4, session.Agreement.Resume?.Round);
        Assert.All(scene.Ledgers.Values, ledger => Assert.Equal(ChargeState.Settled, Assert.Single(ledger.Entries).State));
    }

    [Fact]
    public async Task Run_WhileAStateIsWritten_TheRoundsGoOn()
    {
        DssmJob job = All["sum, dropouts, cached negatives"];
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        using var sixth = new ManualResetEventSlim();
        int rounds = 0, waited = 0;
        // The state before round 4 is written until round 5 has begun; before round 6 it is waited for.
        var scene = new Scene(job)
        {
            TowersOf = party => party == "profile" ? new BreakingTowers
            {
                Training = () =>
                {
                    if (Interlocked.Increment(ref rounds) == 6)
                        sixth.Set();
                },
            } : Towers,
        };
        scene.Stores["profile"] = new WatchedStore(scene.Stores["profile"], round => waited += round == 4 && sixth.Wait(Patience, cancellation) ? 1 : 0);
        Session session = await scene.SessionAsync(int.MaxValue);
        Assert.Null(session.Failure);
        Assert.Equal(1, waited);
        Assert.All(scene.Stores, store => Assert.Null(store.Value.Find(store.Key, scene.Terms.TermsDigest)));
    }

    [Fact]
    public async Task Run_AStateBesideTheRoundsCannotBeWritten_EndsWithThatError()
    {
        var scene = new Scene(All["sum, dropouts, cached negatives"]);
        scene.Stores["profile"] = new WatchedStore(scene.Stores["profile"], round =>
        {
            if (round == 4)
                throw new IOException("There is no room.");
        });
        Session session = await scene.SessionAsync(int.MaxValue);
        Assert.Equal("There is no room.", Assert.IsType<IOException>(session.Failure).Message);
    }

    [Fact]
    public void Beside_OutboxesReachBackToTheStateBefore_IsFalse()
    {
        static bool Of(DssmJob job) => DssmKeptRun.Beside(DssmPlan.Create(job));
        Assert.True(Of(All["sum, hard negatives, adagrad"]));
        Assert.False(Of(SmallRecommendation.Job(Model(DssmFusion.Sum), Training() with { CheckpointRounds = 1 })));
        Assert.False(Of(All["masks, view dropout, stop"]));
        Assert.False(Of(All["own messages, late"]));
    }

    [Fact]
    public void Interval_OfPrivateJobs_LeavesRoomInTheOutboxes()
    {
        static int Of(DssmJob job) => DssmKeptRun.Interval(DssmPlan.Create(job));
        DssmTrainingOptions many = Training() with { CheckpointRounds = 5000 };
        Assert.Equal(5000, Of(SmallRecommendation.Job(Model(DssmFusion.Late), many)));
        // Two views get a gradient each; full keeps two values a round; two intervals and four evaluations stay below 1,024.
        Assert.Equal(250, Of(SmallRecommendation.Job(Model(DssmFusion.Late), many, Private(EmbeddingClaim.OwnMessages))));
        Assert.Equal(500, Of(SmallRecommendation.Job(Model(DssmFusion.Sum), many, Private(EmbeddingClaim.OwnMessages))));
        Assert.Equal(250, Of(SmallRecommendation.Job(Model(DssmFusion.Sum), many, Private(EmbeddingClaim.Full))));
        Assert.Equal(4, Of(SmallRecommendation.Job(Model(DssmFusion.Sum), Training(), Private(EmbeddingClaim.Full))));
    }

    private static void AssertSame(IReadOnlyList<DssmPartyResult> expected, IReadOnlyList<DssmPartyResult> actual)
    {
        foreach ((DssmPartyResult e, DssmPartyResult a) in expected.Zip(actual))
        {
            Assert.Equal(Bytes(e.Model.Items), Bytes(a.Model.Items));
            Assert.Equal(Bytes(e.Model.View), Bytes(a.Model.View));
            Assert.Equal(e.Model.Received.OrderBy(r => r.Key).SelectMany(r => Bytes(r.Value)), a.Model.Received.OrderBy(r => r.Key).SelectMany(r => Bytes(r.Value)));
            Assert.Equal(e.Model.Fusion, a.Model.Fusion);
            Assert.Equal(e.BestEpoch, a.BestEpoch);
            Assert.Equal(e.History.Select(h => (h.Epoch, h.Loss, h.Validation)), a.History.Select(h => (h.Epoch, h.Loss, h.Validation)));
            Assert.Equal(e.Metrics?.Test?.Full, a.Metrics?.Test?.Full);
            Assert.Equal(e.Counts, a.Counts);
            Assert.Equal(e.SharedUsers.Leaks, a.SharedUsers.Leaks);
        }
    }

    private static byte[] Bytes(SavedTower? tower) => tower?.State.ToArray() ?? [];

    private sealed record Session(SessionAgreement Agreement, IReadOnlyList<DssmPartyResult>? Results, Exception? Failure);

    /// <summary>Parties whose stores and ledgers outlive their sessions. Every message is compared with that of the same step in an earlier session.</summary>
    private sealed class Scene(DssmJob job)
    {
        private readonly Dictionary<(string From, string To, int Round, string Name), byte[]> _sent = [];
        private string _run = "";

        public Dictionary<string, IRunStore> Stores { get; } = new() { ["shop"] = new InMemoryRunStore(), ["profile"] = new InMemoryRunStore(), ["taste"] = new InMemoryRunStore() };

        public Dictionary<string, KeepingLedger> Ledgers { get; } = new() { ["shop"] = new(), ["profile"] = new(), ["taste"] = new() };

        public Func<string, ITowerFactory> TowersOf { get; init; } = _ => Towers;

        public Action<string> Saving { get; init; } = _ => { };

        public SessionTerms Terms { get; } = DssmJobTerms.Of(job);

        /// <summary>Whether messages are compared with those of an earlier run too, which a seed must have noised.</summary>
        public bool ComparesRuns { get; init; }

        public int MaxMessageBytes { get; set; } = new ChannelOptions().MaxMessageBytes;

        public int Sent => _sent.Count;

        public int SentAgain { get; private set; }

        /// <summary>Every noised message of every run, once.</summary>
        public List<(string From, string Name, double[] Values)> Noised { get; } = [];

        /// <summary>One session; the connection on which the message of this number is due is cut before it leaves, at both ends.</summary>
        public async Task<Session> SessionAsync(int cutAt)
        {
            DssmTrainer[] parties = [.. SmallRecommendation.Inputs(job.LabelHasView)
                .Select(input => new DssmTrainer(job, input with { Runs = Stores[input.Party], Ledger = Ledgers[input.Party], SaveModel = _ => Saving(input.Party) }, TowersOf(input.Party)))];
            var desk = new SessionDesk(Terms, Patience);
            SessionAgreement[] agreements = await Task.WhenAll(parties.Select(p => desk.JoinAsync(p.JoinRequest)));
            string run = agreements[0].Resume?.SessionId ?? agreements[0].SessionId;
            if (run != _run && !ComparesRuns)
                _sent.Clear();
            _run = run;
            var options = new ChannelOptions { ReceiveTimeout = Patience, MaxMessageBytes = MaxMessageBytes };
            int messages = 0;
            bool CutsNow() => Interlocked.Increment(ref messages) == cutAt;
            (InMemoryChannel First, InMemoryChannel Second)[] pairs = [.. parties.Skip(1).Select(p => InMemoryChannel.CreatePair("shop", p.JoinRequest.Party.Name, options))];
            IPartyChannel[][] channels =
            [
                [.. pairs.Select(p => new Watched(this, p.First, p.Second, CutsNow))],
                .. pairs.Select(p => new IPartyChannel[] { new Watched(this, p.Second, p.First, CutsNow) }),
            ];
            Task<DssmPartyResult>[] running = [.. parties.Select((p, i) => Task.Run(() => p.TrainAsync(agreements[i], channels[i])))];
            try
            {
                return new(agreements[0], await Task.WhenAll(running).WaitAsync(Patience), null);
            }
            catch (Exception e) when (e is FedLearnException or InvalidOperationException or IOException)
            {
                return new(agreements[0], null, FailureSummary.Root(running.Where(t => t.IsFaulted).Select(t => t.Exception!.InnerException!)));
            }
            finally
            {
                foreach ((InMemoryChannel first, InMemoryChannel second) in pairs)
                {
                    await first.DisposeAsync();
                    await second.DisposeAsync();
                }
            }
        }

        private void Compare(string from, string to, int round, string name, Payload payload)
        {
            if (payload is AlignmentMessage { Step: AlignmentStep.Waiting })
                return;
            byte[] bytes = payload switch
            {
                VectorPayload { Lattice: { } lattice } => lattice.Packed.ToArray(),
                VectorPayload vector => MemoryMarshal.AsBytes(vector.Values.Span).ToArray(),
                MaskedVector masked => masked.Values.ToArray(),
                SampleKeys keys => keys.Keys.ToArray(),
                AggregationMessage message => message.Bytes.ToArray(),
                _ => [],
            };
            lock (_sent)
            {
                if (_sent.TryAdd((from, to, round, name), bytes))
                {
                    if (payload is VectorPayload { Lattice: not null } noised)
                        Noised.Add((from, name, noised.Values.ToArray()));
                    return;
                }

                SentAgain++;
                Assert.Equal(_sent[(from, to, round, name)], bytes);
            }
        }

        private sealed class Watched(Scene scene, InMemoryChannel inner, InMemoryChannel other, Func<bool> cuts) : IPartyChannel
        {
            public string LocalParty => inner.LocalParty;

            public string RemoteParty => inner.RemoteParty;

            public int MaxMessageBytes => inner.MaxMessageBytes;

            public ChannelStatistics Statistics => inner.Statistics;

            public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

            public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
            {
                if (cuts())
                {
                    await inner.DisposeAsync();
                    await other.DisposeAsync();
                }
                else
                {
                    scene.Compare(LocalParty, RemoteParty, round, message.Name, message.Payload);
                }

                await inner.SendAsync(round, message, cancellationToken);
            }

            public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload => inner.ReceiveAsync<T>(round, length, cancellationToken);

            public ValueTask PeerCompletedAsync(CancellationToken cancellationToken = default) => inner.PeerCompletedAsync(cancellationToken);

            public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

            public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

            public ValueTask DisposeAsync() => inner.DisposeAsync();
        }
    }

    /// <summary>A store that is told before it writes a state.</summary>
    private sealed class WatchedStore(IRunStore inner, Action<int> writing) : IRunStore
    {
        public CutOffRun? Find(string party, ReadOnlyMemory<byte> termsDigest) => inner.Find(party, termsDigest);

        public IRunState Begin(RunIdentity run) => new State(inner.Begin(run), writing);

        public IRunState Continue(CutOffRun run) => new State(inner.Continue(run), writing);

        private sealed class State(IRunState inner, Action<int> writing) : IRunState
        {
            public RunIdentity Run => inner.Run;

            public IMaskedOutbox? Outbox => inner.Outbox;

            public ReadOnlyMemory<byte> ReadStart() => inner.ReadStart();

            public void WriteStart(ReadOnlySpan<byte> start) => inner.WriteStart(start);

            public ReadOnlyMemory<byte> Read(int round) => inner.Read(round);

            public void Write(int round, ReadOnlySpan<byte> state)
            {
                writing(round);
                inner.Write(round, state);
            }

            public void Remove() => inner.Remove();

            public void Dispose() => inner.Dispose();
        }
    }

    private sealed class Module(byte content) : ITowerFactory
    {
        public ReadOnlyMemory<byte> Fingerprint => Enumerable.Repeat(content, 32).ToArray();

        public ITower Create(TowerSpec spec, long seed) => Towers.Create(spec, seed);

        public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state) => Towers.Restore(spec, state);
    }

    private sealed class Threaded(int threads) : ITowerFactory
    {
        public int Threads => threads;

        public ITower Create(TowerSpec spec, long seed) => Towers.Create(spec, seed);

        public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state) => Towers.Restore(spec, state);
    }
}
