using System.Numerics.Tensors;
using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>The active party's side of one-round training: labels out, noisy scores in, and a fit of its own features beside them.</summary>
internal sealed class OneRoundActive(GlmWork work, IReadOnlyList<IPartyChannel> passives, LabelRelease labels, int[] trainRows, GlmTargets train, GlmTargets test)
{
    private const string NotEntered = "the passive parties' scores do not enter the model: the active party's own training rows speak against them" + CellsOutside.OutsideClaims;

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
            (double center, double left, statement) = await SendLabelsAsync(cancellationToken).ConfigureAwait(false);
            (double[] scores, double variance) = await ReceiveScoresAsync(cancellationToken).ConfigureAwait(false);
            if (!_plan.HasClasses && _plan.Family.Link == "log")
            {
                PeerLinkFit entered = Entered(center, left, scores, variance, cancellationToken);
                (link, offsets, beside) = (entered.Link, entered.Offsets, (entered.Weights, entered.Converged));
            }
            else
            {
                (offsets, kappa) = Added(scores, variance, cancellationToken);
            }
        }

        if (train.Offsets is not null)
        {
            offsets ??= new double[train.Rows];
            train.AddOffsets(0, offsets);
        }

        if (beside is null)
        {
            NewtonResult own = OneRoundRefit.Fit(work.Train, _plan.Family, train.Labels, offsets, kappa, train.Weights, cancellationToken: cancellationToken);
            beside = (own.Weights, own.Converged);
        }

        (double[] weights, bool converged) = beside.Value;
        GlmTiming timing = _clock.Stop(1);
        work.CheckFinite(1, weights);
        work.Report(1, null);

        // The training metrics are those of the noisy scores; nothing more is asked of the passive parties.
        double[] trained = new double[work.Train.Rows * work.Train.Outputs];
        work.Train.Scores(0, weights, trained);
        if (offsets is not null)
            TensorPrimitives.Add(trained, offsets, trained);
        TensorPrimitives.Multiply(trained, kappa, trained);
        return new GlmTraining(weights, GlmStopReason.Converged, timing)
        {
            MeasureTrain = () => GlmEvaluation.Of(_plan.Family, trained, train.Labels, work.Evaluation),
            MeasureTest = await TestAsync(weights, link, cancellationToken).ConfigureAwait(false),
            Statement = statement,
            PeerLink = link,
            Warnings = [.. converged ? [] : (string[])["the active party's own fit did not converge: look for columns of extreme size"], .. link is { Slope: 0 } ? (string[])[NotEntered] : []],
        };
    }

    /// <summary>Scores that are added to the linear predictor: the posterior means of the others' shares, shape [K n], and the attenuation by their uncertainty.</summary>
    private (double[] Offsets, double Kappa) Added(double[] scores, double variance, CancellationToken cancellationToken)
    {
        int n = work.Train.Rows;
        double ks = _plan.Job.Privacy.OneRound.ScoreClip, kappa = 1;
        double[] offsets = new double[scores.Length];
        for (int m = 0; m < work.Train.Outputs; m++)
        {
            PosteriorShare share = OneRoundRefit.Share(work.Train.With(1, intercept: false), scores[(m * n)..((m + 1) * n)], variance, passives.Count * ks * ks, cancellationToken);
            share.Mean.CopyTo(offsets, m * n);
            if (_plan.HasClasses && work.Train.Outputs == 1)
                kappa = OneRoundRefit.Attenuation(share.Variance);
        }

        if (!_plan.HasClasses && labels.Mechanism() is var mechanism)
            TensorPrimitives.Multiply(offsets, (mechanism.High - mechanism.Low) / 4, offsets);             // v: scores are in its units
        return (offsets, kappa);
    }

    /// <summary>Scores that enter through the link log, and the own fit beside them.</summary>
    private PeerLinkFit Entered(double center, double left, double[] scores, double variance, CancellationToken cancellationToken)
    {
        NoisyTargetMechanism mechanism = labels.Mechanism();
        OneRoundColumn column = OneRoundColumn.OfRange(mechanism, center);
        OneRoundParameters parameters = OneRoundRules.Parameters(_plan, work.Train.Rows, 1, [column]);
        TensorPrimitives.Multiply(scores, column.Scale, scores);
        double penalty = parameters.L2(0) * parameters.Rows;
        // With g the sums of squares along the main directions of a party's rows, which add up to n R^2 at most, its scores vary by sum (g/(g + n lambda))^2/n of the variance of a released
        // label: R^2/(4 n lambda) at most, since (g/(g + a))^2 <= g/(4 a). Half of that is the constant's, which the centre takes off, and rows are mostly shorter than R.
        // What the centre leaves of the labels' mean, where it was held within their range, the constants fit as far as the penalty lets them.
        double constant = parameters.RowNorm * parameters.RowNorm * parameters.Rows / 2, level = passives.Count * left * constant / (constant + penalty);
        double part = passives.Count * parameters.RowNorm * parameters.RowNorm / (16 * penalty);
        return PeerLinkFit.Of(work.Train, _plan.Family, train, scores, level, variance * column.Scale * column.Scale, spread => part * (mechanism.Sigma * mechanism.Sigma + spread), cancellationToken);
    }

    /// <summary>Sends every passive party the same released labels; returns their public centre, and what it leaves of their mean.</summary>
    private async Task<(double Center, double Left, GlmPrivacyStatement Statement)> SendLabelsAsync(CancellationToken cancellationToken)
    {
        double? declared = _plan.Job.Privacy.OneRound.LabelRate;
        if (_plan.HasClasses)
        {
            RandomizedResponse response = LabelRelease.ResponseOf(_plan);
            Released<RandomizedLabels> bits = labels.Randomized(response, trainRows, PrivacyUnit.Record);
            foreach (IPartyChannel passive in passives)
                await _clock.WaitAsync(RoundClock.Now, passive.SendAsync(0, bits, cancellationToken)).ConfigureAwait(false);
            // The centre is for labels with a range alone.
            return (0, 0, OneRoundClaims.Randomized(_plan, work.Party, response, labels.Reused, train));
        }

        NoisyTargetMechanism mechanism = labels.Mechanism();
        Released<NoisyTargets> targets = labels.Noisy(mechanism, trainRows);
        Released<Scalars> range = Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { mechanism.Low, mechanism.High }), "agreement: declared label range");
        foreach (IPartyChannel passive in passives)
        {
            await _clock.WaitAsync(RoundClock.Now, passive.SendAsync(0, range, cancellationToken)).ConfigureAwait(false);
            await _clock.WaitAsync(RoundClock.Now, passive.SendAsync(0, targets, cancellationToken)).ConfigureAwait(false);
        }

        double center = declared ?? OneRoundColumn.CenterOf(mechanism.Low, mechanism.High, targets.Payload.Values.Span);
        return (center, TensorPrimitives.Sum(targets.Payload.Values.Span) / trainRows.Length - center, OneRoundClaims.Noisy(_plan, work.Party, mechanism, labels.Reused, train));
    }

    private async Task<(double[] Scores, double Variance)> ReceiveScoresAsync(CancellationToken cancellationToken)
    {
        double[] sum = new double[work.Train.Rows * work.Train.Outputs];
        double variance = 0;
        foreach (IPartyChannel passive in passives)
        {
            Scores scores = await _clock.WaitAsync(RoundClock.Now, passive.ReceiveAsync<Scores>(0, sum.Length, cancellationToken)).ConfigureAwait(false);
            double sigma = OneRoundPassive.NoiseOf(scores, _plan, passive.RemoteParty);
            variance += sigma * sigma;
            TensorPrimitives.Add(sum, scores.Values.Span, sum);
        }

        work.CheckFinite(0, sum);
        return (sum, variance);
    }

    private async Task<Func<ModelEvaluation>?> TestAsync(double[] weights, GlmPeerLink? link, CancellationToken cancellationToken)
    {
        if (work.Test.Rows == 0 || (passives.Count > 0 && !_plan.SendsTestScores))
            return null;
        double[] scores = new double[work.Test.Rows * work.Test.Outputs], peers = new double[scores.Length];
        work.Test.Scores(0, weights, scores);
        test.AddOffsets(0, scores);
        foreach (IPartyChannel passive in passives)
        {
            Scores theirs = await passive.ReceiveAsync<Scores>(1, scores.Length, cancellationToken).ConfigureAwait(false);
            TensorPrimitives.Add(peers, theirs.Values.Span, peers);
        }

        link?.Apply(peers);
        TensorPrimitives.Add(scores, peers, scores);
        work.CheckFinite(1, scores);
        return () => GlmEvaluation.Of(_plan.Family, scores, test.Labels, work.Evaluation);
    }
}
