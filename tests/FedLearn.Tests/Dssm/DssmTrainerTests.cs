using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Parties;

namespace FedLearn.Tests.Dssm;

public class DssmTrainerTests
{
    private static readonly ITowerFactory Towers = new ReferenceTowerFactory();

    public static TheoryData<DssmFusion, DssmLossKind, double, bool> Models
    {
        get
        {
            var models = new TheoryData<DssmFusion, DssmLossKind, double, bool>();
            foreach (DssmFusion fusion in Enum.GetValues<DssmFusion>())
                foreach (DssmLossKind loss in Enum.GetValues<DssmLossKind>())
                    models.Add(fusion, loss, fusion == DssmFusion.Late ? 0 : 0.3, loss != DssmLossKind.Full);
            return models;
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public async Task TrainAsync_WithoutNoise_EqualsThePooledTrainingBitForBit(DssmFusion fusion, DssmLossKind loss, double dropout, bool labelHasView)
    {
        DssmJob job = SmallRecommendation.Job(
            new DssmModelOptions { Fusion = fusion, Loss = loss, ViewDropout = dropout, Precision = TowerPrecision.Float64, ItemBias = fusion == DssmFusion.Sum, LearnViewWeights = fusion == DssmFusion.Late },
            labelHasView: labelHasView);
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs(labelHasView);
        job = job with { Training = job.Training with { ValidationStop = false } };
        IReadOnlyList<DssmPartyResult> split = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        (Dictionary<string, byte[]> towers, double[] fusionValues) = PooledDssm.Train(job, inputs, Towers);
        foreach (DssmPartyResult result in split)
            if (result.Model.View is { } view)
                Assert.Equal(towers[result.Model.Party.Name], view.State);
        Assert.Equal(towers["\0items"], split[0].Model.Items!.State);
        Assert.Equal(fusionValues, split[0].Model.Fusion);
    }

    [Fact]
    public async Task TrainAsync_ViewOfOtherUsers_Warns()
    {
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs()];
        IReadOnlyList<DssmPartyResult> known = await DssmFederation.TrainAsync(SmallRecommendation.Job(), inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.DoesNotContain(known[0].SharedUsers.Warnings, w => w.Contains("changes nothing", StringComparison.Ordinal));
        Assert.Equal((inputs[0].Interactions!.Users.Count, inputs[1].View!.Users.Count), (known[0].SharedUsers.Own, known[1].SharedUsers.Own));
        Assert.Equal(inputs[0].Interactions!.Users.Count(user => inputs[1..].All(i => i.View!.Users.Contains(user))), known[0].SharedUsers.Common);
        Assert.Equal(inputs[0].Interactions!.Users.Intersect(inputs[1].View!.Users).Count(), known[1].SharedUsers.Common);
        inputs[1] = inputs[1] with { View = new ViewTable(["USER-0", "USER-1"], [0, 1], null, new TowerRows(new TowerInputs(3, []), 2, new double[6], [])) };
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(SmallRecommendation.Job(), inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal((0, 2, 0), (results[0].SharedUsers.Common, results[1].SharedUsers.Own, results[1].SharedUsers.Common));
        Assert.Contains(results[1].SharedUsers.Warnings, w => w.StartsWith("only 0 of the 2 rows of 'profile' are common", StringComparison.Ordinal));
        Assert.Contains(results[0].SharedUsers.Warnings, w => w.StartsWith("'profile' has a row for none of the training events", StringComparison.Ordinal));
    }

    [Fact]
    public async Task TrainAsync_Twice_GivesTheSameModelAndFigures()
    {
        DssmJob job = SmallRecommendation.Job();
        IReadOnlyList<DssmPartyResult> first = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);
        IReadOnlyList<DssmPartyResult> second = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(first.Select(r => r.Model.WeightsSha256), second.Select(r => r.Model.WeightsSha256));
        Assert.Equal(first[0].Metrics!.Test!.Named(), second[0].Metrics!.Test!.Named());
        Assert.Equal(SmallRecommendation.Users, first[0].Metrics!.Test!.Events);
        Assert.All(first, r => Assert.Equal(first[0].BestEpoch, r.BestEpoch));
        Assert.All(first[0].History, point => Assert.NotNull(point.Validation));
    }

    [Fact]
    public async Task TrainAsync_LossBeyondAllNumbers_SaysWhatToLower()
    {
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Precision = TowerPrecision.Float64, Gamma = 1e307 });
        InternalFailureException error = await Assert.ThrowsAsync<InternalFailureException>(() =>
            DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal((DssmErrors.Diverged, "epoch 1", "the training loss is NaN or infinite.", "Lower training.stepSize or model.gamma."), (error.Id, error.Place, error.Cause, error.Remedy));
    }

    [Theory]
    [InlineData("shop")]
    [InlineData("profile")]
    public async Task TrainAsync_ATowerBreaks_LetsTheTowersOfAllPartiesGo(string party)
    {
        BreakingTowers breaking = new(steps: 3), others = new();
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs().Select(i => i.Party == party ? i with { ViewTower = breaking } : i)];
        InvalidOperationException error = await Assert.ThrowsAsync<InvalidOperationException>(() =>
            DssmFederation.TrainAsync(SmallRecommendation.Job(), inputs, others, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal("The tower breaks.", error.Message);
        Assert.Equal((1, 3), (breaking.Made, others.Made));
        Assert.Equal((0, 0), (breaking.Alive, others.Alive));
    }

    [Fact]
    public async Task Run_ATowerCannotBeMade_LetsThoseBeforeItGo()
    {
        DssmJob job = SmallRecommendation.Job();
        BreakingTowers none = new(most: 0), others = new();
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, others, cancellationToken: TestContext.Current.CancellationToken);
        DssmPartyInput[] broken = [.. inputs.Select((input, i) => input with { Model = trained[i].Model, ViewTower = input.Party == "shop" ? none : null })];
        await Assert.ThrowsAsync<InvalidOperationException>(() => DssmFederation.TrainAsync(job, broken, others, cancellationToken: TestContext.Current.CancellationToken));
        await Assert.ThrowsAsync<InvalidOperationException>(() => DssmFederation.InferAsync(job, broken, others, DssmPurpose.Evaluate, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal(2, none.Made);
        Assert.InRange(others.Made, 6, 10);
        Assert.Equal(0, others.Alive);
    }

    [Fact]
    public async Task Run_ActivePartyMeasures_OnceEveryViewHasEnded()
    {
        var patience = TimeSpan.FromSeconds(60);
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        // Without validation the items are evaluated outside training for the final figures alone.
        DssmJob job = SmallRecommendation.Job(training: new DssmTrainingOptions { Epochs = 1, BatchSize = 16, Seed = 5, ValidationStop = false });
        using CountdownEvent train = new(2), infer = new(2);
        CountdownEvent waiting = train;
        bool measured = false;
        var towers = new BreakingTowers { Measuring = () => measured = waiting.Wait(patience, cancellation) };
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs().Select(input => input.Party == "shop" ? input with { ItemTower = towers } : input)];
        async Task<T> EndedAsync<T>(int party, Task<T> session, CountdownEvent ended)
        {
            T result = await session;
            if (party > 0)
                ended.Signal();
            return result;
        }

        DssmTrainer[] trainers = [.. inputs.Select(input => new DssmTrainer(job, input, Towers))];
        IReadOnlyList<DssmPartyResult> trained = await LocalSession.RunAsync(trainers[0].Terms, [.. trainers.Select(p => p.JoinRequest)], new ChannelOptions { ReceiveTimeout = patience },
            (i, agreement, channels, stop) => EndedAsync(i, trainers[i].TrainAsync(agreement, channels, null, stop), train), cancellation);
        Assert.True(measured);
        Assert.Equal(SmallRecommendation.Users, trained[0].Metrics!.Test!.Events);

        (waiting, measured) = (infer, false);
        DssmInference[] parties = [.. inputs.Select((input, i) => new DssmInference(job, input with { Model = trained[i].Model }, Towers, DssmPurpose.Evaluate))];
        IReadOnlyList<DssmInferenceResult> found = await LocalSession.RunAsync(parties[0].Terms, [.. parties.Select(p => p.JoinRequest)], new ChannelOptions { ReceiveTimeout = patience },
            (i, agreement, channels, stop) => EndedAsync(i, parties[i].RunAsync(agreement, channels, stop), infer), cancellation);
        Assert.True(measured);
        Assert.Equal(trained[0].Metrics!.Test!.Named(), found[0].Metrics!.Test!.Named());
    }

    [Theory]
    [InlineData("shop")]
    [InlineData("taste")]
    public async Task TrainAsync_TowersComputeLong_ThePartiesThatWaitAreTold(string slow)
    {
        var patience = TimeSpan.FromSeconds(60);
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        DssmJob job = SmallRecommendation.Job();
        // At the shop both views wait, at a view the shop does: in a round, and while the validation events are measured.
        int waiting = slow == "shop" ? 2 : 1;
        CountdownEvent trains = new(waiting), measures = new(waiting);
        CountdownEvent told = trains;
        bool everybody = true;
        void Compute(CountdownEvent when)
        {
            told = when;
            everybody &= when.Wait(patience, cancellation);
        }

        var towers = new BreakingTowers { Training = () => Compute(trains), Measuring = () => Compute(measures) };
        DssmTrainer[] trainers = [.. SmallRecommendation.Inputs().Select(input => new DssmTrainer(job, input.Party != slow ? input
            : slow == "shop" ? input with { ItemTower = towers } : input with { ViewTower = towers }, Towers))];
        // Only what the channel says of its limit is short: whoever waits here gives up much later.
        await LocalSession.RunAsync(trainers[0].Terms, [.. trainers.Select(p => p.JoinRequest)], new ChannelOptions { ReceiveTimeout = patience },
            (i, agreement, channels, stop) => trainers[i].TrainAsync(agreement, trainers[i].JoinRequest.Party.Name == slow ? [.. channels.Select(c => Told(c, () => told))] : channels, null, stop), cancellation);
        Assert.True(everybody);
        trains.Dispose();
        measures.Dispose();
    }

    /// <summary>A channel that seems to have little time, and counts the parties that are told to wait.</summary>
    private static HastyChannel Told(IPartyChannel inner, Func<CountdownEvent> told)
    {
        CountdownEvent? counted = null;
        return new(inner, () =>
        {
            CountdownEvent now = told();
            if (counted == now || now.IsSet)
                return;
            counted = now;
            now.Signal();
        });
    }

    // What comes before the first round: the run, reading events, finding the users in common, looking samples up, making towers, writing the first state. And saving what came of it. Views wait for each other too.
    [Theory]
    [InlineData("events", "shop to profile", "shop to taste")]
    [InlineData("alignment", "shop to profile")]
    [InlineData("state of shop", "shop to profile", "shop to taste")]
    [InlineData("state of taste", "taste to shop", "shop to profile")]
    [InlineData("run of taste", "taste to shop")]
    [InlineData("towers of shop", "shop to profile", "shop to taste")]
    [InlineData("towers of taste", "taste to shop", "shop to profile")]
    [InlineData("model of shop", "shop to profile", "shop to taste")]
    [InlineData("model of taste", "taste to shop", "shop to profile")]
    public async Task TrainAsync_PreparesLong_ThePartiesThatWaitAreTold(string what, params string[] waiting)
    {
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        using var work = new WorkOfOthers(waiting);
        bool begun = false;
        DssmTrainer[] trainers = [.. SmallRecommendation.Inputs().Select(input => new DssmTrainer(SmallRecommendation.Job(), input with
        {
            Interactions = what == "events" && input.Interactions is { } table ? new InteractionTable(table.Users, new Later<Interaction>(table.Events, () => begun ? work.Reads(table.Events) : table.Events)) : input.Interactions,
            Alignment = what == "alignment" && input.Party == "taste" ? new SlowAlignment(work) : null,
            Runs = what == $"state of {input.Party}" || what == $"run of {input.Party}" ? new SlowRuns(work, atBegin: what[0] == 'r') : null,
            ItemTower = what == "towers of shop" && input.Items is not null ? new BreakingTowers { Creating = work.Wait } : null,
            ViewTower = what == "towers of taste" && input.Party == "taste" ? new BreakingTowers { Creating = work.Wait } : null,
            SaveModel = what == $"model of {input.Party}" ? _ => work.Wait() : null,
        }, Towers))];
        begun = true;
        await LocalSession.RunAsync(trainers[0].Terms, [.. trainers.Select(p => p.JoinRequest)], new ChannelOptions(),
            (i, agreement, channels, stop) => trainers[i].TrainAsync(agreement, [.. channels.Select(work.Of)], null, stop), cancellation);
        Assert.True(work.WereTold);
    }

    // What a party of another implementation may say.
    [Theory]
    [InlineData("taste", "agreement: kind of view", 7)]
    [InlineData("taste", "agreement: ready to begin", 0)]
    [InlineData("taste", "agreement: the view is done", 0)]
    [InlineData("shop", "agreement: ready to begin", 2)]
    public async Task TrainAsync_AgreementIsNone_IsRefused(string party, string name, double number)
    {
        DssmTrainer[] trainers = [.. SmallRecommendation.Inputs().Select(input => new DssmTrainer(SmallRecommendation.Job(), input, Towers))];
        var error = await Assert.ThrowsAsync<PeerException>(() => LocalSession.RunAsync(trainers[0].Terms, [.. trainers.Select(p => p.JoinRequest)], new ChannelOptions(),
            (i, agreement, channels, stop) => trainers[i].TrainAsync(agreement, [.. channels.Select(c => c.LocalParty == party ? new Saying(c, name, number) : c)], null, stop), TestContext.Current.CancellationToken));
        Assert.Equal((ProtocolErrors.IllegalValue, party), (error.Id, error.Peer));
    }

    /// <summary>A channel whose owner says another number than it should.</summary>
    private sealed class Saying(IPartyChannel inner, string name, double number) : IPartyChannel
    {
        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload => message.Name == name
            ? inner.SendAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { number }), name), cancellationToken) : inner.SendAsync(round, message, cancellationToken);

        public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload => inner.ReceiveAsync<T>(round, length, cancellationToken);

        public ValueTask PeerCompletedAsync(CancellationToken cancellationToken = default) => inner.PeerCompletedAsync(cancellationToken);

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }

    /// <summary>A list that is another from some moment on.</summary>
    private sealed class Later<T>(IReadOnlyList<T> first, Func<IReadOnlyList<T>> now) : IReadOnlyList<T>
    {
        public int Count => first.Count;

        public T this[int index] => now()[index];

        public IEnumerator<T> GetEnumerator() => now().GetEnumerator();

        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
    }

    private sealed class SlowAlignment(WorkOfOthers work) : IEntityAlignment
    {
        public AlignmentMethod Method => AlignmentMethod.Hashed;

        public Task<AlignedRows> AlignAsync(AlignmentTask task, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken = default)
        {
            work.Wait();
            return HashedAlignment.Instance.AlignAsync(task, channels, cancellationToken);
        }
    }

    private sealed class SlowRuns(WorkOfOthers work, bool atBegin) : IRunStore
    {
        private readonly InMemoryRunStore _inner = new();

        public CutOffRun? Find(string party, ReadOnlyMemory<byte> termsDigest) => _inner.Find(party, termsDigest);

        public IRunState Begin(RunIdentity run)
        {
            if (!atBegin)
                return new State(_inner.Begin(run), work);
            work.Wait();
            return _inner.Begin(run);
        }

        public IRunState Continue(CutOffRun run) => _inner.Continue(run);

        private sealed class State(IRunState inner, WorkOfOthers work) : IRunState
        {
            public RunIdentity Run => inner.Run;

            public ReadOnlyMemory<byte> ReadStart() => inner.ReadStart();

            public void WriteStart(ReadOnlySpan<byte> start)
            {
                work.Wait();
                inner.WriteStart(start);
            }

            public ReadOnlyMemory<byte> Read(int round) => inner.Read(round);

            public void Write(int round, ReadOnlySpan<byte> state) => inner.Write(round, state);

            public IMaskedOutbox? Outbox => inner.Outbox;

            public void Remove() => inner.Remove();

            public void Dispose() => inner.Dispose();
        }
    }

    [Theory]
    [InlineData(TowerPrecision.Float32, 12_000, true)]
    [InlineData(TowerPrecision.Float64, 8_500, true)]
    [InlineData(TowerPrecision.Float64, 1_000, false)]
    public void Constructor_StatesBeyondAnArray_AreRefusedWhereAnyAreKept(TowerPrecision precision, int width, bool refused)
    {
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Precision = precision }) is var small ? small with { Model = small.Model with { Layers = [width, width] } } : null!;
        DssmPartyInput input = SmallRecommendation.Inputs()[1];
        _ = new DssmTrainer(job, input, Towers);
        DssmPartyInput keeps = input with { Runs = new InMemoryRunStore() };
        if (!refused)
        {
            _ = new DssmTrainer(job, keeps, Towers);
            return;
        }

        ConfigurationException error = Assert.Throws<ConfigurationException>(() => new DssmTrainer(job, keeps, Towers));
        Assert.Equal((DssmPlanErrors.InvalidJob, "training.checkpointRounds"), (error.Id, error.Place));
        _ = new DssmTrainer(job with { Training = job.Training with { CheckpointRounds = 0 } }, keeps, Towers);
    }

    [Fact]
    public async Task TrainAsync_WithoutNoise_ListsEveryDisclosureByName()
    {
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(SmallRecommendation.Job(), SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.All(results.SelectMany(r => r.Sent), release => Assert.Equal(Protection.None, release.Protection));
        Assert.Superset(new HashSet<string> { "sample-keys: training", "sample-keys: test", "embedding gradients: training" }, results[0].Sent.Select(r => r.Name).ToHashSet());
        Assert.Superset(new HashSet<string> { "embeddings: training", "embeddings: validation", "embeddings: test", "view presence: training" }, results[1].Sent.Select(r => r.Name).ToHashSet());
    }

    [Fact]
    public async Task TrainAsync_OfAModelSavedAndRead_EvaluatesToTheSameFigures()
    {
        DssmJob job = SmallRecommendation.Job();
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        string folder = Directory.CreateTempSubdirectory("fedlearn-").FullName;
        try
        {
            foreach (DssmPartyResult result in trained)
                result.Model.Save(Path.Combine(folder, result.Model.Party.Name));
            DssmPartyInput[] with = [.. inputs.Select(i => i with { Model = DssmModel.Load(Path.Combine(folder, i.Party)) })];
            DssmInferenceResult evaluated = await DssmFederation.InferAsync(job, with, Towers, DssmPurpose.Evaluate, cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal(trained[0].Metrics!.Test!.Named(), evaluated.Metrics!.Test!.Named());
            Assert.Equal((trained[0].SharedUsers.Own, trained[0].SharedUsers.Common), (evaluated.SharedUsers.Own, evaluated.SharedUsers.Common));
            Assert.Equal(trained[0].SharedUsers.Leaks, evaluated.SharedUsers.Leaks);
            Assert.Equal(trained[0].SharedUsers.Warnings, evaluated.SharedUsers.Warnings);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task InferAsync_Recommend_GivesEveryUserAndItemAVectorOfTheModel()
    {
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { ItemBias = true, Precision = TowerPrecision.Float64 });
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        DssmPartyInput[] with = [.. inputs.Select((input, i) => input with { Model = trained[i].Model })];
        DssmInferenceResult found = await DssmFederation.InferAsync(job, with, Towers, DssmPurpose.Recommend, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(SmallRecommendation.Users, found.Users!.Count);
        Assert.Equal(SmallRecommendation.Items, found.Items!.Ids.Count);
        Assert.Equal(SmallRecommendation.Items, found.Items.Bias.Length);
        Assert.All(found.Items.TopK(found.Users, 3), list => Assert.Equal(3, list.Length));
    }

    /// <summary>Losses and negatives that need counts of the training events: a finished model needs none of them.</summary>
    [Theory]
    [InlineData(DssmLossKind.InBatchLogQ, NegativeSource.Uniform)]
    [InlineData(DssmLossKind.Sampled, NegativeSource.Popularity)]
    public async Task InferAsync_LossOfCounts_RanksWithoutTrainingEvents(DssmLossKind loss, NegativeSource negatives)
    {
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Loss = loss, NegativeSource = negatives, Precision = TowerPrecision.Float64 });
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        DssmPartyInput[] with = [.. Without(inputs, EventRole.Train, EventRole.Seen).Select((input, i) => input with { Model = trained[i].Model })];
        foreach (DssmPurpose purpose in Enum.GetValues<DssmPurpose>())
        {
            DssmInferenceResult found = await DssmFederation.InferAsync(job, with, Towers, purpose, cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal(SmallRecommendation.Users, found.Users?.Count ?? found.Metrics!.Test!.Events);
        }
    }

    private static DssmPartyInput[] Without(IReadOnlyList<DssmPartyInput> inputs, EventRole role, EventRole instead) =>
        [.. inputs.Select(i => i.Interactions is not { } table ? i : i with { Interactions = table with { Events = [.. table.Events.Select(e => e.Role == role ? e with { Role = instead } : e)] } })];

    /// <summary>A stop without events to choose an epoch by would keep the first.</summary>
    [Fact]
    public async Task TrainAsync_NoValidationEvent_TrainsAllEpochsAndSaysSo()
    {
        DssmJob job = SmallRecommendation.Job(training: new DssmTrainingOptions { Epochs = 3, BatchSize = 16, Seed = 5, Patience = 1 });
        DssmPartyInput[] inputs = Without(SmallRecommendation.Inputs(), EventRole.Validation, EventRole.Seen);
        IReadOnlyList<DssmPartyResult> found = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        IReadOnlyList<DssmPartyResult> asked = await DssmFederation.TrainAsync(job with { Training = job.Training with { ValidationStop = false } }, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(asked.Select(r => r.Model.WeightsSha256), found.Select(r => r.Model.WeightsSha256));
        Assert.All(found, r => Assert.Equal((3, 3), (r.BestEpoch, r.History.Count)));
        Assert.All(found[0].History, point => Assert.Null(point.Validation));
        Assert.Contains(found[0].Warnings, w => w.StartsWith("no event has the role validation", StringComparison.Ordinal));
        Assert.DoesNotContain(asked[0].Warnings, w => w.StartsWith("no event has the role validation", StringComparison.Ordinal));
    }

    /// <summary>Lists of users that no view knows hold the most popular items, and so their figures are those of popularity.</summary>
    [Fact]
    public async Task InferAsync_UsersThatNoViewKnows_AreMeasuredAsTheyAreServed()
    {
        DssmJob job = SmallRecommendation.Job(labelHasView: false);
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs(labelHasView: false)];
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        // The same views of other people.
        DssmPartyInput[] strangers = [.. inputs.Select((input, i) => input with
        {
            Model = trained[i].Model,
            View = input.View is { } view ? new ViewTable([.. view.Users.Select(u => "other " + u)], view.RowUser, view.Moments, view.Rows) : null,
        })];
        DssmInferenceResult measured = await DssmFederation.InferAsync(job, strangers, Towers, DssmPurpose.Evaluate, cancellationToken: TestContext.Current.CancellationToken);
        InteractionTable table = inputs[0].Interactions!;
        Interaction[] test = [.. table.Events.Where(e => e.Role == EventRole.Test)];
        int Count(int item) => table.Events.Count(e => e.Role == EventRole.Train && e.Item == item);
        double[] expected = [.. test.Select(e =>
        {
            int[] others = [.. Enumerable.Range(0, SmallRecommendation.Items).Except(table.Events.Where(m => m.User == e.User).Select(m => m.Item)).Select(Count)];
            return 1 + others.Count(c => c > Count(e.Item)) + others.Count(c => c == Count(e.Item)) / 2.0;
        })];
        Assert.Equal(expected, measured.Metrics!.Test!.FullRanks.Select(r => r.Rank));
        // Every list of the ten best holds the event's item where nine others are left.
        string Small(int negatives) => $"figures against 99 negatives are against at most {negatives}: no user has more items left that were never met";
        Assert.Contains(Small(8) + ", and HR@10 is 1 whatever the model", measured.Warnings);
        IEnumerable<string> Of(int negatives) => EventWarnings.OfNegatives(job, [measured.Metrics.Test with { SampledRanks = [new(0, 1, negatives)] }]);
        Assert.Equal([Small(9) + ", and HR@10 is 1 whatever the model"], Of(9));
        Assert.Equal([Small(10)], Of(10));
        Assert.Empty(Of(99));
    }

    [Fact]
    public async Task InferAsync_OtherTrainingEvents_AreSaid()
    {
        DssmJob job = SmallRecommendation.Job();
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        async Task<bool> SaysAsync(IReadOnlyList<DssmPartyInput> brought) =>
            (await DssmFederation.InferAsync(job, [.. brought.Select((input, i) => input with { Model = trained[i].Model })], Towers, DssmPurpose.Evaluate, cancellationToken: TestContext.Current.CancellationToken))
                .Warnings.Any(w => w.StartsWith("the events of the role train are not those", StringComparison.Ordinal));
        Assert.False(await SaysAsync(inputs));
        Assert.True(await SaysAsync(Without(inputs, EventRole.Validation, EventRole.Train)));
    }

    /// <summary>What would give other lists than those of the model that was trained.</summary>
    [Fact]
    public async Task Inference_OfAnotherJobOrSchema_IsRefused()
    {
        DssmJob job = SmallRecommendation.Job();
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs().Select((input, i) => input with { SchemaFingerprint = Enumerable.Repeat((byte)i, 32).ToArray() })];
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        DssmPartyInput[] with = [.. inputs.Select((input, i) => input with { Model = trained[i].Model })];
        string Refusal(DssmJob asked, DssmPartyInput input)
        {
            ConfigurationException error = Assert.Throws<ConfigurationException>(() => new DssmInference(asked, input, Towers, DssmPurpose.Recommend));
            Assert.Equal(DssmErrors.OtherModel, error.Id);
            return error.Message;
        }

        _ = new DssmInference(job, with[0], Towers, DssmPurpose.Recommend);
        Assert.Contains("another model.fusion, model.gamma than", Refusal(job with { Model = job.Model with { Gamma = 3, Fusion = DssmFusion.Late } }, with[1]), StringComparison.Ordinal);
        Assert.Contains("schemas", Refusal(job, with[0] with { SchemaFingerprint = new byte[32].Select(_ => (byte)9).ToArray() }), StringComparison.Ordinal);

        // A view of another shape, which brings no schema.
        ViewTable narrow = inputs[1].View!;
        with[1] = with[1] with { SchemaFingerprint = default, View = new ViewTable(narrow.Users, narrow.RowUser, null, new TowerRows(new TowerInputs(1, []), narrow.Rows.Rows, new double[narrow.Rows.Rows], [])) };
        ConfigurationException shape = await Assert.ThrowsAsync<ConfigurationException>(() => DssmFederation.InferAsync(job, with, Towers, DssmPurpose.Evaluate, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Contains("different shapes", shape.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task InferAsync_ItemsInAnotherOrderAndNewOnes_HaveTheirOwnBiases()
    {
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Precision = TowerPrecision.Float64, ItemBias = true, LearnViewWeights = true });
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        async Task<DssmInferenceResult> InferAsync(DssmPartyInput label, DssmPurpose purpose) => await DssmFederation.InferAsync(job,
            [label with { Model = trained[0].Model }, .. inputs.Skip(1).Select((input, i) => input with { Model = trained[i + 1].Model })], Towers, purpose, cancellationToken: TestContext.Current.CancellationToken);
        DssmPartyInput reversed = WithItems(inputs[0], [.. Enumerable.Range(0, SmallRecommendation.Items).Reverse()]);
        DssmInferenceResult expected = await InferAsync(inputs[0], DssmPurpose.Evaluate), actual = await InferAsync(reversed, DssmPurpose.Evaluate);
        Assert.Equal(expected.Metrics!.Test!.Named(), actual.Metrics!.Test!.Named());

        ItemIndex items = (await InferAsync(inputs[0], DssmPurpose.Recommend)).Items!, grown = (await InferAsync(WithItems(reversed, [.. Enumerable.Range(0, SmallRecommendation.Items), 0], "new"), DssmPurpose.Recommend)).Items!;
        Assert.Contains(items.Bias.ToArray(), b => b != 0);
        Assert.Equal([.. items.Bias.ToArray().Reverse(), 0], grown.Bias.ToArray());
        Assert.Equal("new", grown.Ids[^1]);

        // A file of an earlier release says nothing of items: its biases are in the order of the table, of which there are as many.
        trained = [trained[0] with { Model = trained[0].Model with { ItemIds = [] } }, .. trained.Skip(1)];
        Assert.Equal(expected.Metrics.Test.Named(), (await InferAsync(inputs[0], DssmPurpose.Evaluate)).Metrics!.Test!.Named());
    }

    [Fact]
    public async Task Inference_OfOtherItemsWhereTablesNumberThem_IsRefused()
    {
        DssmJob job = SmallRecommendation.Job();
        DssmPartyInput label = SmallRecommendation.Inputs()[0];
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);
        label = label with { Model = trained[0].Model };
        int[] same = [.. Enumerable.Range(0, SmallRecommendation.Items)];
        // The active party's history has a number for each item.
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => new DssmInference(job, WithItems(label, same, "other"), Towers, DssmPurpose.Recommend));
        Assert.Equal(DssmErrors.OtherModel, error.Id);
        Assert.Contains("number the items", error.Message, StringComparison.Ordinal);
        // One more item changes no number, and neither does another order of rows.
        _ = new DssmInference(job, WithItems(label, [.. same, 0], "other"), Towers, DssmPurpose.Recommend);
        _ = new DssmInference(job, WithItems(label, [.. same.Reverse()]), Towers, DssmPurpose.Recommend);
    }

    [Theory]
    [InlineData(DssmFusion.Sum, true)]
    [InlineData(DssmFusion.Concat, false)]
    [InlineData(DssmFusion.Late, false)]
    public async Task InferAsync_PartiesInAnotherOrder_GivesTheSameFigures(DssmFusion fusion, bool labelHasView)
    {
        DssmModelOptions model = new() { Fusion = fusion, Precision = TowerPrecision.Float64, LearnViewWeights = fusion == DssmFusion.Late, ViewWeights = fusion == DssmFusion.Sum ? new Dictionary<string, double> { ["taste"] = 3, ["profile"] = 0.1 } : new() };
        DssmJob job = SmallRecommendation.Job(model, labelHasView: labelHasView);
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs(labelHasView);
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        DssmPartyInput[] with = [.. inputs.Select((input, i) => input with { Model = trained[i].Model })];
        DssmInferenceResult swapped = await DssmFederation.InferAsync(job with { Parties = [.. job.Parties.Reverse()] }, with, Towers, DssmPurpose.Evaluate, cancellationToken: TestContext.Current.CancellationToken);
        DssmInferenceResult same = await DssmFederation.InferAsync(job, with, Towers, DssmPurpose.Evaluate, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(same.Metrics!.Test!.Named(), swapped.Metrics!.Test!.Named());

        DssmJob less = job with { Parties = [.. job.Parties.Take(2)], Model = job.Model with { ViewWeights = new Dictionary<string, double>() } };
        foreach (DssmPartyInput input in with.Take(2))
        {
            ConfigurationException error = Assert.Throws<ConfigurationException>(() => new DssmInference(less, input, Towers, DssmPurpose.Evaluate));
            Assert.Equal(DssmErrors.OtherModel, error.Id);
            Assert.Contains("other views", error.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>What a party's part of the model says of the training binds the party: an edit of its run file lifts nothing.</summary>
    [Fact]
    public async Task Inference_TermsOfTheTraining_AreNotLiftedByAnotherJob()
    {
        DssmJob masked = SmallRecommendation.Job() with { MaskedSum = true, SampleTime = SampleTime.Day }, plain = masked with { MaskedSum = false };
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs()];
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(masked, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        DssmReleaseTerms dp = new(true, EmbeddingClaim.Full, EvaluationDisclosure.Disclosed, MaskedSum: false, SampleTime.Day);
        string path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        foreach ((DssmPartyInput input, DssmPartyResult result) in inputs.Zip(trained))
        {
            result.Model.Save(path);
            DssmModel model = DssmModel.Load(path);
            Assert.Equal(new DssmReleaseTerms(false, null, null, MaskedSum: true, SampleTime.Day), model.Released);
            DssmInference Ask(DssmReleaseTerms? terms, DssmJob job) => new(job, input with { Model = model with { Released = terms } }, Towers, DssmPurpose.Evaluate);
            void Refused(DssmReleaseTerms terms) => Assert.Equal(DssmErrors.NoVectorsLeave, Assert.Throws<PrivacyRefusedException>(() => Ask(terms, plain)).Id);
            Refused(model.Released!);
            Refused(dp with { Evaluation = EvaluationDisclosure.None });
            Refused(dp with { Evaluation = EvaluationDisclosure.Charged });
            Refused(dp with { Claim = EmbeddingClaim.OneShot });
            Assert.Equal(DssmErrors.NoVectorsLeave, Assert.Throws<PrivacyRefusedException>(() => Ask(null, masked)).Id);

            string Other(DssmReleaseTerms terms, DssmJob job)
            {
                ConfigurationException error = Assert.Throws<ConfigurationException>(() => Ask(terms, job));
                Assert.Equal(DssmErrors.OtherModel, error.Id);
                return error.Message;
            }

            Assert.Contains("another privacy.mode than", Other(dp, plain), StringComparison.Ordinal);
            Assert.Contains("another sampleTime than", Other(DssmReleaseTerms.Of(plain), plain with { SampleTime = SampleTime.Exact }), StringComparison.Ordinal);
            _ = Ask(DssmReleaseTerms.Of(plain), plain);
            // A file of an earlier release says nothing.
            _ = Ask(null, plain with { SampleTime = SampleTime.Exact });
        }

        File.Delete(path);
    }

    [Fact]
    public void Constructor_InputThatDoesNotFitTheJob_IsRefused()
    {
        DssmPartyInput[] inputs = [.. SmallRecommendation.Inputs()];
        DssmPartyInput shop = inputs[0], profile = inputs[1];
        foreach (DssmPartyInput wrong in new[]
        {
            profile with { Party = "nobody" }, shop with { Items = null }, shop with { Interactions = null }, shop with { View = null }, profile with { Items = shop.Items }, profile with { View = null },
        })
            Assert.Equal(DssmErrors.InvalidJob, Assert.Throws<ConfigurationException>(() => new DssmTrainer(SmallRecommendation.Job(), wrong, Towers)).Id);
    }

    [Theory]
    [InlineData("")]
    [InlineData("no JSON")]
    [InlineData("[]")]
    [InlineData("""{ "format": "something else" }""")]
    public void Load_FileThatIsNoModel_IsRefused(string text)
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, text);
            ConfigurationException error = Assert.Throws<ConfigurationException>(() => DssmModel.Load(path));
            Assert.Equal((DssmErrors.BadModelFile, path), (error.Id, error.Place));
        }
        finally
        {
            File.Delete(path);
        }

        Assert.Equal(DssmErrors.BadModelFile, Assert.Throws<ConfigurationException>(() => DssmModel.Load(path)).Id);
    }

    [Fact]
    public async Task TrainAsync_ChannelsThatAreNotOneAPeer_AreRefused() => await Assert.ThrowsAsync<ArgumentException>(() =>
        new DssmTrainer(SmallRecommendation.Job(), SmallRecommendation.Inputs()[0], Towers).TrainAsync(new SessionAgreement("none", new byte[32], []), [], cancellationToken: TestContext.Current.CancellationToken));

    // What the kit lets a factory say of bytes that are not its own.
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task InferAsync_TowersOfAnotherKind_AreRefused(int party)
    {
        DssmJob job = SmallRecommendation.Job();
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        DssmModel Other(DssmModel model) => model with { Items = model.Items is { } items ? items with { State = [1] } : null, View = model.View is { } view ? view with { State = [1] } : null };
        DssmPartyInput[] with = [.. inputs.Select((input, i) => input with { Model = i == party ? Other(trained[i].Model) : trained[i].Model })];
        ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() => DssmFederation.InferAsync(job, with, Towers, DssmPurpose.Evaluate, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal(DssmErrors.OtherModel, error.Id);
        Assert.Contains($"'{inputs[party].Party}'", error.Place, StringComparison.Ordinal);
    }

    /// <summary>The active party's items in another order, the last one under another id.</summary>
    /// <param name="label">The active party.</param>
    /// <param name="order">For each row of the new table a row of the old one.</param>
    /// <param name="last">Id of the last row; null: that of its item.</param>
    private static DssmPartyInput WithItems(DssmPartyInput label, int[] order, string? last = null)
    {
        ItemTable items = label.Items!;
        int width = items.Content.Inputs.DenseWidth;
        string[] ids = [.. order.Select(item => items.Ids[item])];
        int[] places = [.. Enumerable.Range(0, items.Ids.Count).Select(item => Array.IndexOf(order, item))];
        ids[^1] = last ?? ids[^1];
        var content = new TowerRows(items.Content.Inputs, order.Length, [.. order.SelectMany(item => items.Content.Dense.AsSpan(item * width, width).ToArray())], []);
        return label with
        {
            Items = new ItemTable(ids, content),
            Interactions = label.Interactions! with { Events = [.. label.Interactions!.Events.Select(e => e with { Item = places[e.Item] })] },
        };
    }

    /// <summary>Views send vectors of whoever is named: that people without events may be is no choice of one party.</summary>
    [Fact]
    public async Task Inference_UsersWithoutEvents_AreATermOfTheSession()
    {
        DssmJob job = SmallRecommendation.Job();
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        InteractionTable table = inputs[0].Interactions!;
        DssmPartyInput label = inputs[0] with { Model = trained[0].Model, Interactions = table with { Users = [.. table.Users, "somebody"] } }, view = inputs[1] with { Model = trained[1].Model };
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => new DssmInference(job, label, Towers, DssmPurpose.Recommend));
        Assert.Equal(DssmErrors.NewUsers, error.Id);
        Assert.DoesNotContain("somebody", error.Message, StringComparison.Ordinal);

        DssmInference agreed = new(job, label, Towers, DssmPurpose.Recommend, newUsers: true), silent = new(job, view, Towers, DssmPurpose.Recommend);
        Assert.NotEqual(Convert.ToHexString(agreed.Terms.TermsDigest.Span), Convert.ToHexString(silent.Terms.TermsDigest.Span));
        Assert.Equal(["users"], agreed.Terms.Sections.Where(s => !s.Value.Span.SequenceEqual(silent.Terms.Sections[s.Key].Span)).Select(s => s.Key));
        // Figures are about events, and every event has its user.
        _ = new DssmInference(job, label, Towers, DssmPurpose.Evaluate);
    }

    [Theory]
    [InlineData(86_399, 0)]
    [InlineData(86_400, 86_400)]
    [InlineData(-1, -86_400)]
    [InlineData(-86_400, -86_400)]
    [InlineData(-86_401, -172_800)]
    public void DayOf_Times_IsWhenTheirDayBegan(long time, long day) => Assert.Equal(day, SampleExchange.DayOf(time));

    [Fact]
    public async Task InferAsync_PartsOfTwoTrainings_AreRefused()
    {
        DssmJob job = SmallRecommendation.Job();
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        IReadOnlyList<DssmPartyResult> first = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        IReadOnlyList<DssmPartyResult> second = await DssmFederation.TrainAsync(job, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        DssmPartyInput[] mixed = [.. inputs.Select((input, i) => input with { Model = (i == 0 ? first : second)[i].Model })];
        ConfigurationException e = await Assert.ThrowsAsync<ConfigurationException>(() => DssmFederation.InferAsync(job, mixed, Towers, DssmPurpose.Evaluate, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal(DssmErrors.OtherModel, e.Id);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task TrainAsync_MaskedSum_DiffersFromThePlainSumByRoundingAlone(bool labelHasView)
    {
        DssmModelOptions model = new() { Precision = TowerPrecision.Float64, ViewWeights = new Dictionary<string, double> { ["taste"] = 0.5 } };
        DssmTrainingOptions training = new() { Epochs = 1, BatchSize = 64, Seed = 5, ValidationStop = false, Optimizer = new() { Kind = TowerOptimizerKind.Sgd, Rate = 0.1 } };
        DssmJob plain = SmallRecommendation.Job(model, training, labelHasView: labelHasView);
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs(labelHasView);
        IReadOnlyList<DssmPartyResult> expected = await DssmFederation.TrainAsync(plain, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        IReadOnlyList<DssmPartyResult> masked = await DssmFederation.TrainAsync(plain with { MaskedSum = true }, inputs, Towers, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Contains(masked[1].Sent, r => r.Name == "sum of 2 embeddings: training");
        Assert.DoesNotContain(masked[1].Sent, r => r.Name.StartsWith("embeddings", StringComparison.Ordinal));
        // Two vectors are rounded to 2^-20 each; two steps of rate .1 carry that on.
        double[] a = State(expected[1]), b = State(masked[1]);
        Assert.All(a.Zip(b), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
        Assert.NotEqual(a, b);
    }

    [Fact]
    public async Task TrainAsync_CandidatesBeyondAnArray_AreRefusedBeforeSamplesAreNamed()
    {
        // 288 samples of 10 x 1,000,000 draws each.
        DssmJob job = SmallRecommendation.Job(new() { Negatives = 1_000_000, NegativeSource = NegativeSource.Hard }, new() { BatchSize = 1000 });
        IReadOnlyList<DssmPartyInput> inputs = SmallRecommendation.Inputs();
        InteractionTable once = inputs[0].Interactions!;
        DssmPartyInput[] twice = [inputs[0] with { Interactions = new InteractionTable(once.Users, [.. once.Events.SelectMany(e => new[] { e, e })]) }, .. inputs.Skip(1)];
        ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() => DssmFederation.TrainAsync(job, twice, Towers, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal((DssmPlanErrors.InvalidJob, "training.batchSize"), (error.Id, error.Place));
    }

    private static double[] State(DssmPartyResult result) => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, double>(result.Model.View!.State).ToArray();
}
