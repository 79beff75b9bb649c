using System.Numerics.Tensors;
using FedLearn.Evaluation;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>The active party's side of one-round training: labels out, noisy scores in, and a fit of its own features beside them.</summary>
internal sealed class OneRoundActive(GlmWork work, IReadOnlyList<IPartyChannel> passives, LabelRelease labels, int[] trainRows, GlmTargets train, GlmTargets test)
{
    private readonly GlmPlan _plan = work.Plan;
    private readonly RoundClock _clock = new(work);

    public async Task<GlmTraining> RunAsync(CancellationToken cancellationToken)
    {
        GlmPeerLink? link = null;
        GlmPrivacyStatement statement = OneRoundClaims.Nothing(_plan);
        double[]? offsets = null;
        double kappa = 1;
        if (passives.Count > 0)
        {
            (double center, statement) = await SendLabelsAsync(cancellationToken).ConfigureAwait(false);
            (double[] scores, double variance) = await ReceiveScoresAsync(cancellationToken).ConfigureAwait(false);
            double ks = _plan.Job.Privacy.OneRound.ScoreClip, scale = 1;
            if (_plan.Job.Parties.First(p => p.Party.Name == work.Party).LabelRange is { } range && !_plan.HasClasses)
            {
                scale = (range.High - range.Low) / 4;                                                   // v: scores are in its units
                if (_plan.Family.Link == "log")
                    link = new GlmPeerLink(center, (range.High - range.Low) / 1000);
            }

            int n = work.Train.Rows;
            offsets = new double[scores.Length];
            for (int m = 0; m < work.Train.Outputs; m++)
            {
                PosteriorShare share = OneRoundRefit.Share(work.Train.With(1, intercept: false), scores[(m * n)..((m + 1) * n)], variance, passives.Count * ks * ks, cancellationToken);
                share.Mean.CopyTo(offsets, m * n);
                if (_plan.HasClasses && work.Train.Outputs == 1)
                    kappa = OneRoundRefit.Attenuation(share.Variance);
            }

            TensorPrimitives.Multiply(offsets, scale, offsets);
            link?.Apply(offsets);
        }

        if (train.Offsets is not null)
        {
            offsets ??= new double[train.Rows];
            train.AddOffsets(0, offsets);
        }

        NewtonResult fit = OneRoundRefit.Fit(work.Train, _plan.Family, train.Labels, offsets, kappa, train.Weights, cancellationToken: cancellationToken);
        double[] weights = fit.Weights;
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
            Warnings = fit.Converged ? [] : ["the active party's own fit did not converge: look for columns of extreme size"],
        };
    }

    /// <summary>Sends every passive party the same released labels; returns their public centre.</summary>
    private async Task<(double Center, GlmPrivacyStatement Statement)> SendLabelsAsync(CancellationToken cancellationToken)
    {
        double? declared = _plan.Job.Privacy.OneRound.LabelRate;
        if (_plan.HasClasses)
        {
            RandomizedResponse response = LabelRelease.ResponseOf(_plan);
            Released<RandomizedLabels> bits = labels.Randomized(response, trainRows, PrivacyUnit.Record);
            foreach (IPartyChannel passive in passives)
                await _clock.WaitAsync(RoundClock.Now, passive.SendAsync(0, bits, cancellationToken)).ConfigureAwait(false);
            // The centre is for labels with a range alone.
            return (0, OneRoundClaims.Randomized(_plan, work.Party, response, labels.Reused, train));
        }

        NoisyTargetMechanism mechanism = labels.Mechanism();
        Released<NoisyTargets> targets = labels.Noisy(mechanism, trainRows);
        Released<Scalars> range = Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { mechanism.Low, mechanism.High }), "agreement: declared label range");
        foreach (IPartyChannel passive in passives)
        {
            await _clock.WaitAsync(RoundClock.Now, passive.SendAsync(0, range, cancellationToken)).ConfigureAwait(false);
            await _clock.WaitAsync(RoundClock.Now, passive.SendAsync(0, targets, cancellationToken)).ConfigureAwait(false);
        }

        return (declared ?? OneRoundColumn.CenterOf(mechanism.Low, mechanism.High, targets.Payload.Values.Span), OneRoundClaims.Noisy(_plan, work.Party, mechanism, labels.Reused, train));
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
