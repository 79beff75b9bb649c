using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Glm;
using FedLearn.Protocol;
using FedLearn.Tests.Parties;

namespace FedLearn.Tests.Glm;

/// <summary>A party that computes for longer than its peers wait tells them that it is still there.</summary>
public class GlmComputingTests
{
    /// <summary>What takes long ends when the other side has been told to wait.</summary>
    [Theory]
    [InlineData(GlmOptimizer.Irls, false)]
    [InlineData(GlmOptimizer.Sgd, true)]
    public async Task Train_ActivePartyComputesForLong_TellsThePassiveOne(GlmOptimizer optimizer, bool inference)
    {
        var data = VerticalData.Random(64, "gaussian", 40, 2, 2);
        using var told = new ManualResetEventSlim();
        var family = new Hooked { Curving = inference ? null : () => Assert.True(told.Wait(TimeSpan.FromMinutes(1))), Informing = inference ? () => Assert.True(told.Wait(TimeSpan.FromMinutes(1))) : null };
        GlmJob job = data.Job("gaussian", new() { Optimizer = optimizer, Epochs = 2 }) with { Inference = inference };
        GlmPartyResult[] results = await TrainAsync(job with { Model = job.Model with { Family = family } }, data.Inputs(), told, impatient: 0);
        Assert.Contains(results[0].Sent, sent => sent.Name.StartsWith("waiting", StringComparison.Ordinal));
        Assert.DoesNotContain(results[1].Sent, sent => sent.Name.StartsWith("waiting", StringComparison.Ordinal));
    }

    /// <summary>As of a table larger than memory.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Train_PartyPreparesForLong_TellsTheOther(int slow)
    {
        var data = VerticalData.Random(67, "gaussian", 40, 2, 2);
        using var told = new ManualResetEventSlim();
        GlmPartyInput[] inputs = [.. data.Inputs().Select((input, i) => i == slow ? input with { Table = Slow(input.Table, told) } : input)];
        GlmPartyResult[] results = await TrainAsync(data.Job("gaussian", new() { Optimizer = GlmOptimizer.Sgd, Epochs = 2 }), inputs, told, impatient: slow);
        Assert.Equal([slow], results.Index().Where(r => r.Item.Sent.Any(sent => sent.Name.StartsWith("waiting", StringComparison.Ordinal))).Select(r => r.Index));
        IReadOnlyList<GlmPartyResult> quick = await LocalFederation.TrainAsync(data.Job("gaussian", new() { Optimizer = GlmOptimizer.Sgd, Epochs = 2 }), data.Inputs());
        Assert.Equal(quick.Select(r => r.Model.WeightsSha256), results.Select(r => r.Model.WeightsSha256));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Predict_PartyScoresForLong_TellsTheOther(int slow)
    {
        var data = VerticalData.Random(68, "gaussian", 40, 2, 2);
        GlmJob job = data.Job("gaussian", new() { Optimizer = GlmOptimizer.Sgd, Epochs = 2 });
        IReadOnlyList<GlmPartyResult> trained = await LocalFederation.TrainAsync(job, data.Inputs());
        using var told = new ManualResetEventSlim();
        GlmPartyInput[] inputs = [.. data.Inputs().Select((input, i) => i == slow ? input with { Table = Slow(input.Table, told) } : input)];
        GlmPredictor[] parties = [.. inputs.Select((input, i) => new GlmPredictor(job, input, trained[i].Model))];
        (SessionAgreement agreement, IPartyChannel[] ends) = Meet(parties[0].Terms, [.. parties.Select(p => p.JoinRequest)], told, slow);
        GlmPredictionResult[] results = await Task.WhenAll(parties.Select((party, i) => Task.Run(() => party.PredictAsync(agreement, [ends[i]]))));
        Assert.Equal(40, results[0].Prediction!.Rows.Count);
        Assert.Equal([slow], ends.Index().Where(end => end.Item.Releases.Keys.Any(release => release.Name.StartsWith("waiting", StringComparison.Ordinal))).Select(end => end.Index));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Train_SavesLong_TheOtherIsTold(int slow)
    {
        var data = VerticalData.Random(66, "gaussian", 40, 2, 2);
        using var told = new ManualResetEventSlim();
        GlmPartyInput[] inputs = [.. data.Inputs()];
        inputs[slow] = inputs[slow] with { SaveModel = _ => Assert.True(told.Wait(TimeSpan.FromMinutes(1))) };
        GlmPartyResult[] results = await TrainAsync(data.Job("gaussian", new() { Optimizer = GlmOptimizer.Sgd, Epochs = 2 }), inputs, told, impatient: slow);
        Assert.All(results, result => Assert.NotNull(result.Model));
    }

    private static Table Slow(Table table, ManualResetEventSlim told) =>
        new(table.Schema, table.Ids, new SlowCells(table.Cells!, told), new RowInputs { Labels = table.Labels }, table.Place);

    /// <summary>Cells that are read when the other side has been told to wait.</summary>
    private sealed class SlowCells(TableCells inner, ManualResetEventSlim told) : TableCells
    {
        internal override int Rows => inner.Rows;

        internal override int Columns => inner.Columns;

        internal override ReadOnlySpan<double> Row(int row, Span<double> buffer)
        {
            Assert.True(told.Wait(TimeSpan.FromMinutes(1)));
            return inner.Row(row, buffer);
        }
    }

    [Fact]
    public async Task Train_IntervalsAreStopped_FiguresStay()
    {
        var data = VerticalData.Random(65, "gaussian", 60, 2, 2);
        using var stop = new CancellationTokenSource();
        GlmJob job = data.Job("gaussian", new() { Optimizer = GlmOptimizer.Sgd, Epochs = 2 }) with { Split = new SplitRule.ByHash(2, [0]) };
        GlmPartyInput[] inputs = [.. data.Inputs().Select(input => input with { Evaluation = new EvaluationOptions { Resamples = 100 } })];
        GlmPartyResult[] results = await TrainAsync(job with { Model = job.Model with { Family = new Hooked { Measuring = stop.Cancel } } }, inputs, null, impatient: null, stop.Token);
        Assert.NotNull(results[0].Test!.Rmse);
        Assert.Null(results[0].TrainEvaluation!.Intervals);
        Assert.Null(results[0].TestEvaluation!.Intervals);
        Assert.Equal(2, results[0].Warnings.Count(warning => warning.StartsWith("intervals of the figures", StringComparison.Ordinal)));
    }

    /// <summary>No party has a model without the others: a run that is cut off there goes on.</summary>
    [Theory]
    [InlineData(GlmOptimizer.Irls, false)]
    [InlineData(GlmOptimizer.Sgd, false)]
    [InlineData(GlmOptimizer.Sgd, true)]
    public async Task Train_PeerIsLostWhileStandardErrorsAreMade_GoesOn(GlmOptimizer optimizer, bool withTheSameTrainers)
    {
        var data = VerticalData.Random(66, "gaussian", 40, 2, 2);
        GlmJob job = data.Job("gaussian", new() { Optimizer = optimizer, Epochs = 4, CheckpointRounds = 2 }) with { Inference = true };
        InMemoryChannel? lost = null;
        job = job with { Model = job.Model with { Family = new Hooked { Informing = () => lost?.DisposeAsync().AsTask().GetAwaiter().GetResult() } } };
        GlmPartyInput[] inputs = [.. data.Inputs().Select(input => input with { Runs = new InMemoryRunStore() })];
        GlmTrainer[] parties = [];
        async Task<Task<GlmPartyResult>[]> RunAsync(bool isCut)
        {
            if (isCut || !withTheSameTrainers)
                parties = [.. inputs.Select(input => new GlmTrainer(job, input))];
            var desk = new SessionDesk(parties[0].Terms, TimeSpan.FromMinutes(1));
            (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair(inputs[0].Party, inputs[1].Party);
            lost = isCut ? second : null;
            Task<GlmPartyResult>[] running = [.. parties.Select((party, i) => Task.Run(async () => await party.TrainAsync(await desk.JoinAsync(party.JoinRequest), [i == 0 ? first : second])))];
            await Task.WhenAll(running).ContinueWith(_ => { }, TaskScheduler.Default);
            return running;
        }

        Assert.All(await RunAsync(isCut: true), run => Assert.True(RunLoss.Is(run.Exception!.InnerException!)));
        GlmPartyResult[] results = [.. (await RunAsync(isCut: false)).Select(run => run.Result)];
        Assert.All(results, result => Assert.NotNull(result.Inference));
        Assert.All(results, result => Assert.Equal([optimizer == GlmOptimizer.Irls ? 0 : 2], result.Resumed));
        IReadOnlyList<GlmPartyResult> whole = await LocalFederation.TrainAsync(job, data.Inputs());
        Assert.Equal(whole.Select(r => r.Model.WeightsSha256), results.Select(r => r.Model.WeightsSha256));
        Assert.All(parties, party => Assert.Null(party.JoinRequest.Resume));
    }

    private static async Task<GlmPartyResult[]> TrainAsync(GlmJob job, GlmPartyInput[] inputs, ManualResetEventSlim? told, int? impatient, CancellationToken activeStop = default)
    {
        GlmTrainer[] parties = [.. inputs.Select(input => new GlmTrainer(job, input))];
        (SessionAgreement agreement, IPartyChannel[] ends) = Meet(parties[0].Terms, [.. parties.Select(p => p.JoinRequest)], told, impatient);
        return await Task.WhenAll(parties.Select((party, i) => Task.Run(() => party.TrainAsync(agreement, [ends[i]], cancellationToken: i == 0 ? activeStop : default))));
    }

    private static (SessionAgreement Agreement, IPartyChannel[] Ends) Meet(SessionTerms terms, JoinRequest[] requests, ManualResetEventSlim? told, int? impatient)
    {
        JoinedParty[] joined = [.. requests.Select(request => new JoinedParty(request.Party.Name, request.SchemaFingerprint))];
        var agreement = new SessionAgreement("computing", SessionDesk.DigestOf(terms.TermsDigest, joined), joined);
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair(joined[0].Name, joined[1].Name);
        return (agreement, [.. ((IPartyChannel[])[first, second]).Select((channel, i) => i == impatient ? new HastyChannel(channel, told!.Set) : channel)]);
    }

    /// <summary>Squared errors, and looks at what is done with them.</summary>
    private sealed class Hooked : IGlmFamily
    {
        private readonly IGlmFamily _inner = GlmFamilies.Gaussian;

        public Action? Curving { get; init; }

        public Action? Informing { get; init; }

        public Action? Measuring { get; init; }

        public string Name => "hooked";

        public string Link => "identity";

        public bool EstimatesDispersion => _inner.EstimatesDispersion;

        public string? LabelFault(double label) => _inner.LabelFault(label);

        public double Canonical(double label) => _inner.Canonical(label);

        public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals) => _inner.Residuals(scores, labels, residuals);

        public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
        {
            // The labels of the rehearsal before the rounds, in which nobody waits, are all 1.
            if (labels.ContainsAnyExcept(1.0))
                Curving?.Invoke();
            _inner.Curvatures(scores, labels, curvatures);
        }

        public void Information(ReadOnlySpan<double> scores, Span<double> information)
        {
            Informing?.Invoke();
            _inner.Information(scores, information);
        }

        public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => _inner.LossSum(scores, labels);

        public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => _inner.DevianceSum(scores, labels);

        public void Means(ReadOnlySpan<double> scores, Span<double> means)
        {
            if (scores.Length > 1)      // one: whether the link inverts it
                Measuring?.Invoke();
            _inner.Means(scores, means);
        }

        public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => _inner.Start(labels, weights, start);
    }
}
