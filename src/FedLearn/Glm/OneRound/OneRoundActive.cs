using System.Numerics.Tensors;
using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>The active party's side of one-round training: labels out, noisy scores in, and a fit of its own features beside them.</summary>
internal sealed class OneRoundActive(GlmWork work, IReadOnlyList<IPartyChannel> passives, LabelRelease labels, int[] trainRows, GlmTargets train, GlmTargets test)
{
    private const string NotEntered = "the passive parties' scores do not enter the model: the active party's own training rows speak against them" + CellsOutside.OutsideClaims;

    private const string NotConverged = "the active party's own fit did not converge: look for columns, labels or offsets of extreme size" + CellsOutside.OutsideClaims;

    private readonly GlmPlan _plan = work.Plan;
    private readonly RoundClock _clock = new(work);

    public async Task<GlmTraining> RunAsync(CancellationToken cancellationToken)
    {
        GlmPeerLink? link = null;
        GlmPrivacyStatement statement = OneRoundClaims.Nothing(_plan);
        double[]? offsets = null;
        double kappa = 1;
        (double[] Weights, bool Converged)? beside = null;
        if (passives.Count > 0)
        {
            (OneRoundColumn[] columns, double[] left, statement) = await SendLabelsAsync(cancellationToken).ConfigureAwait(false);
            (double[] scores, double variance) = await ReceiveScoresAsync(cancellationToken).ConfigureAwait(false);
            if (!_plan.HasClasses && _plan.Family.Link == "log")
            {
                PeerLinkFit entered = await ChannelGuard.ComputeAsync(passives, stop => Entered(columns[0], left[0], scores, variance, stop), cancellationToken).ConfigureAwait(false);
                (link, offsets, beside) = (entered.Link, entered.Offsets, (entered.Weights, entered.Converged));
            }
            else
            {
                (offsets, kappa) = await ChannelGuard.ComputeAsync(passives, stop => Added(columns, left, scores, variance, stop), cancellationToken).ConfigureAwait(false);
            }
        }

        if (train.Offsets is not null)
        {
            offsets ??= new double[train.Rows];
            train.AddOffsets(0, offsets);
        }

        if (beside is null)
        {
            NewtonResult own = await ChannelGuard.ComputeAsync(passives, stop => OneRoundRefit.Fit(work.Train, _plan.Family, train.Labels, offsets, kappa, train.Weights, cancellationToken: stop),
                cancellationToken).ConfigureAwait(false);
            beside = (own.Weights, own.Converged);
        }

        (double[] weights, bool converged) = beside.Value;
        // Whether sums of own labels and offsets overflow is for nobody to see: no error, which the peers are told.
        if (!VectorKernels.AllFinite(weights))
            (weights, converged) = (new double[weights.Length], false);
        GlmTiming timing = _clock.Stop(1);
        work.Report(1, null);

        // The training metrics are those of the noisy scores; nothing more is asked of the passive parties.
        double[] trained = new double[work.Train.Rows * work.Train.Outputs];
        work.Train.Scores(0, weights, trained);
        if (offsets is not null)
            TensorPrimitives.Add(trained, offsets, trained);
        TensorPrimitives.Multiply(trained, kappa, trained);
        return new GlmTraining(weights, GlmStopReason.Converged, timing)
        {
            MeasureTrain = stop => GlmEvaluation.Of(_plan.Family, trained, train.Labels, work.Evaluation, train.Offsets, stop),
            MeasureTest = await TestAsync(weights, link, cancellationToken).ConfigureAwait(false),
            Statement = statement,
            PeerLink = link,
            Warnings = [.. converged ? [] : (string[])[NotConverged], .. link is { Slope: 0 } ? (string[])[NotEntered] : []],
        };
    }

    /// <summary>Scores that are added to the linear predictor: the posterior means of the others' shares, shape [K n], and the attenuation by their uncertainty.</summary>
    private (double[] Offsets, double Kappa) Added(OneRoundColumn[] columns, double[] left, double[] scores, double variance, CancellationToken cancellationToken)
    {
        int n = work.Train.Rows;
        OneRoundParameters parameters = OneRoundRules.Parameters(_plan, n, 1, columns);
        double kappa = 1, largest = passives.Count * parameters.ScoreClip * parameters.ScoreClip;
        double[] offsets = new double[scores.Length];
        for (int m = 0; m < columns.Length; m++)
        {
            double[] member = _plan.HasClasses ? [.. train.Labels.Select(y => y == OneRoundRules.ClassOf(m, columns.Length) ? 1.0 : 0)] : train.Labels;
            double signal = Math.Min(OneRoundRefit.ExplainedShare * OneRoundRefit.Variance(member) / (columns[m].Scale * columns[m].Scale), largest);
            // A declared range is often much wider than the labels vary, and with a prior as wide as clipped scores allow cross-validation took noise for signal.
            PosteriorShare share = OneRoundRefit.Around(work.Train, scores[(m * n)..((m + 1) * n)], variance, ScoreLevel.Of(parameters, m, passives.Count, left[m], signal), (rows, centred) =>
                _plan.HasClasses ? OneRoundRefit.Share(rows, centred, variance, largest, cancellationToken)
                : signal > 0 ? OneRoundRefit.ShareOf(rows, centred, variance, signal, cancellationToken)
                : new PosteriorShare(new double[n], 0, 0));
            TensorPrimitives.Multiply(share.Mean, _plan.HasClasses ? 1 : columns[m].Scale, offsets.AsSpan(m * n, n));    // scores of a label with a range are in units of v
            if (_plan.HasClasses && columns.Length == 1)
                kappa = OneRoundRefit.Attenuation(share.Variance);
        }

        return (offsets, kappa);
    }

    /// <summary>Scores that enter through the link log, and the own fit beside them.</summary>
    private PeerLinkFit Entered(OneRoundColumn column, double left, double[] scores, double variance, CancellationToken cancellationToken)
    {
        NoisyTargetMechanism mechanism = labels.Mechanism();
        OneRoundParameters parameters = OneRoundRules.Parameters(_plan, work.Train.Rows, 1, [column]);
        TensorPrimitives.Multiply(scores, column.Scale, scores);
        (double level, double share) = ScoreLevel.Entering(parameters, passives.Count, left);
        return PeerLinkFit.Of(work.Train, _plan.Family, train, scores, level, variance * column.Scale * column.Scale, spread => share * (mechanism.Sigma * mechanism.Sigma + spread), cancellationToken);
    }

    /// <summary>Sends every passive party the same released labels; returns the columns of targets that they make of these, and the mean of each, in units of v.</summary>
    private async Task<(OneRoundColumn[] Columns, double[] Left, GlmPrivacyStatement Statement)> SendLabelsAsync(CancellationToken cancellationToken)
    {
        if (_plan.HasClasses)
        {
            RandomizedResponse response = LabelRelease.ResponseOf(_plan);
            Released<RandomizedLabels> bits = labels.Randomized(response, trainRows, PrivacyUnit.Record);
            foreach (IPartyChannel passive in passives)
                await _clock.WaitAsync(RoundClock.Now, passive.SendAsync(0, bits, cancellationToken)).ConfigureAwait(false);
            OneRoundColumn[] classes = OneRoundRules.Columns(_plan, response, bits.Payload.Classes.Span, work.Train.Outputs);
            double[] means = new double[classes.Length];
            for (int m = 0; m < means.Length; m++)
            {
                double share = (double)bits.Payload.Classes.Span.Count(OneRoundRules.ClassOf(m, means.Length)) / trainRows.Length;
                means[m] = share * classes[m].Target(response.Debias(true)) + (1 - share) * classes[m].Target(response.Debias(false));
            }

            return (classes, means, OneRoundClaims.Randomized(_plan, work.Party, response, labels.Reused, train));
        }

        NoisyTargetMechanism mechanism = labels.Mechanism();
        Released<NoisyTargets> targets = labels.Noisy(mechanism, trainRows);
        Released<Scalars> range = Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { mechanism.Low, mechanism.High }), "agreement: declared label range");
        foreach (IPartyChannel passive in passives)
        {
            await _clock.WaitAsync(RoundClock.Now, passive.SendAsync(0, range, cancellationToken)).ConfigureAwait(false);
            await _clock.WaitAsync(RoundClock.Now, passive.SendAsync(0, targets, cancellationToken)).ConfigureAwait(false);
        }

        double center = _plan.Job.Privacy.OneRound.LabelRate ?? OneRoundColumn.CenterOf(mechanism.Low, mechanism.High, targets.Payload.Values.Span);
        var column = OneRoundColumn.OfRange(mechanism, center);
        double mean = TensorPrimitives.Sum(targets.Payload.Values.Span) / trainRows.Length;
        return ([column], [(mean - center) / column.Scale], OneRoundClaims.Noisy(_plan, work.Party, mechanism, labels.Reused, train));
    }

    private async Task<(double[] Scores, double Variance)> ReceiveScoresAsync(CancellationToken cancellationToken)
    {
        double[] sum = new double[work.Train.Rows * work.Train.Outputs];
        double variance = 0;
        // From all at once: whoever is done would else wait, with scores that nobody takes, for one that still fits.
        var received = new Scores[passives.Count];
        await _clock.WaitAsync(RoundClock.Now, new ValueTask(ChannelGuard.WhileTheyWaitAsync(passives, stop => ChannelGuard.AllAsync([.. passives.Select((passive, p) => (Func<CancellationToken, Task>)(async one =>
            received[p] = await passive.ReceiveAsync<Scores>(0, sum.Length, one).ConfigureAwait(false)))], stop), cancellationToken))).ConfigureAwait(false);
        for (int p = 0; p < received.Length; p++)
        {
            double sigma = OneRoundPassive.NoiseOf(received[p], _plan, passives[p].RemoteParty);
            variance += sigma * sigma;
            TensorPrimitives.Add(sum, received[p].Values.Span, sum);
        }

        // What was received decides here alone: whether own rows can do something with it must not be seen.
        work.CheckFinite(0, sum);
        work.CheckFinite(0, [variance]);
        return (sum, variance);
    }

    private async Task<Func<CancellationToken, ModelEvaluation>?> TestAsync(double[] weights, GlmPeerLink? link, CancellationToken cancellationToken)
    {
        if (work.Test.Rows == 0 || (passives.Count > 0 && !_plan.SendsTestScores))
            return null;
        double[] scores = new double[work.Test.Rows * work.Test.Outputs], peers = new double[scores.Length];
        work.Test.Scores(0, weights, scores);
        test.AddOffsets(0, scores);
        foreach (IPartyChannel passive in passives)
        {
            Scores theirs = await passive.ReceiveAsync<Scores>(1, scores.Length, cancellationToken).ConfigureAwait(false);
            TensorPrimitives.Add(peers, ChannelGuard.Packed(theirs, ElementType.Float64, passive, 1).Values.Span, peers);
        }

        work.CheckFinite(1, peers);
        link?.Apply(peers);
        TensorPrimitives.Add(scores, peers, scores);
        // Not an error: the slope of the link, and with it what overflows, is of own rows and true labels.
        VectorKernels.Clip(scores, double.MaxValue);
        return stop => GlmEvaluation.Of(_plan.Family, scores, test.Labels, work.Evaluation, test.Offsets, stop);
    }
}
