using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Glm;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm;

/// <summary>The figures of millions of rows take longer than a peer waits for a message.</summary>
public class GlmMeasuringTests
{
    [Theory]
    [InlineData(GlmOptimizer.Sgd)]
    [InlineData(GlmOptimizer.Lbfgs)]
    public async Task Train_FiguresOfTheActiveParty_AreMadeWhenThePassiveOneHasEnded(GlmOptimizer optimizer)
    {
        var data = VerticalData.Random(63, "gaussian", 60, 2, 2);
        using var ended = new ManualResetEventSlim();
        var waited = new List<bool>();
        var family = new Watched(() =>
        {
            lock (waited)
                waited.Add(ended.Wait(TimeSpan.FromSeconds(20)));
        });
        GlmJob job = data.Job("gaussian", new() { Optimizer = optimizer, Epochs = 2 });
        job = job with { Model = job.Model with { Family = family }, Split = new SplitRule.ByHash(2, [0]) };
        GlmTrainer[] parties = [.. data.Inputs().Select(input => new GlmTrainer(job, input))];
        JoinedParty[] joined = [.. parties[0].Terms.Parties.Select((p, i) => new JoinedParty(p.Name, parties[i].JoinRequest.SchemaFingerprint))];
        var agreement = new SessionAgreement("measuring", SessionDesk.DigestOf(parties[0].Terms.TermsDigest, joined), joined);
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair(joined[0].Name, joined[1].Name);
        Task<GlmPartyResult> active = Task.Run(() => parties[0].TrainAsync(agreement, [first])), passive = Task.Run(() => parties[1].TrainAsync(agreement, [second]));
        await passive;
        ended.Set();
        GlmPartyResult result = await active;
        Assert.NotNull(result.Train);
        Assert.NotNull(result.Test);
        Assert.Equal([true, true], waited);
    }

    /// <summary>The figures are those of the last epoch's scores, which are in that epoch's order.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Train_PrivateAndReshuffled_FiguresGoWithTheLabelsOfTheirRows(bool reshuffle)
    {
        // So much budget that the noise does not show, and weights that hardly move in the last epoch.
        var data = VerticalData.Random(64, "gaussian", 200, 2, 2);
        data = data.WithLabels(y => Math.Clamp(y, -3, 3));
        GlmJob job = data.Job("gaussian", new() { Optimizer = GlmOptimizer.Sgd, Epochs = 60, BatchesPerEpoch = 2, StepSize = 0.3, WeightNorm = 5, ResidualClip = 50, Reshuffle = reshuffle }, l2: 0);
        job = job with
        {
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, RowNorm = 2 },
            Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1e12, 1e-3), TestNoiseSeed = 3 },
            Parties = [job.Parties[0] with { LabelRange = (-3, 3) }, job.Parties[1]],
        };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs(), cancellationToken: TestContext.Current.CancellationToken);
        // The job has no test rows, so that a prediction is of the training rows.
        GlmPrediction again = await LocalFederation.PredictAsync(job, data.Inputs(), [.. results.Select(r => r.Model)], cancellationToken: TestContext.Current.CancellationToken);
        double[] labels = [.. again.Rows.Select(row => data.Labels[row])];
        double rmse = Math.Sqrt(labels.Zip(again.Means, (y, m) => (y - m) * (y - m)).Average()), spread = Math.Sqrt(labels.Sum(y => Math.Pow(y - labels.Average(), 2)) / labels.Length);
        Assert.True(rmse < spread / 2, "labels that anything predicts would prove nothing");
        Assert.Equal(rmse, results[0].Train!.Rmse!.Value, 0.02 * rmse);
    }

    /// <summary>Squared errors, and a look at who asks for means of rows: evaluation alone does.</summary>
    private sealed class Watched(Action measuring) : IGlmFamily
    {
        private readonly IGlmFamily _inner = GlmFamilies.Gaussian;

        public string Name => "watched";

        public string Link => "identity";

        public string? LabelFault(double label) => _inner.LabelFault(label);

        public double Canonical(double label) => _inner.Canonical(label);

        public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals) => _inner.Residuals(scores, labels, residuals);

        public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures) => _inner.Curvatures(scores, labels, curvatures);

        public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => _inner.LossSum(scores, labels);

        public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => _inner.DevianceSum(scores, labels);

        public void Means(ReadOnlySpan<double> scores, Span<double> means)
        {
            if (scores.Length > 1)      // one: whether the link inverts it
                measuring();
            _inner.Means(scores, means);
        }

        public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => _inner.Start(labels, weights, start);
    }

    [Fact]
    public void GuestOnly_Warnings_NameTheFigureThatIsWorse()
    {
        static string? Said(MetricSet? model, MetricSet? alone) => GuestOnly.Warnings(model, new(new(), alone)).SingleOrDefault();
        Assert.Contains("the model's log loss is 0.7, and that of the active party alone 0.69.", Said(new() { LogLoss = .7, Deviance = 1 }, new() { LogLoss = .69, Deviance = 2 }), StringComparison.Ordinal);
        Assert.Contains("the model's deviance is 1.5, and that of the active party alone 1.4.", Said(new() { Deviance = 1.5 }, new() { Deviance = 1.4 }), StringComparison.Ordinal);
        Assert.Contains("outside the claim", Said(new() { Deviance = double.PositiveInfinity }, new() { Deviance = 1.4 }), StringComparison.Ordinal);
        // The fit of the active party alone is good for four digits, so that equal models may differ in the next.
        Assert.All([(.69, .69), (.68, .69), (.69005, .69), (double.NaN, .69)], pair => Assert.Null(Said(new() { LogLoss = pair.Item1 }, new() { LogLoss = pair.Item2 })));
        Assert.Null(Said(null, new() { LogLoss = 1 }));
        Assert.Null(Said(new() { LogLoss = 1 }, null));
        Assert.Empty(GuestOnly.Warnings(new() { LogLoss = 1 }, null));
        Assert.Contains("did not converge", Assert.Single(GuestOnly.Warnings(null, new(new(), null) { Converged = false })), StringComparison.Ordinal);
    }
}
