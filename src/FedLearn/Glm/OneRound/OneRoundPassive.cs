using System.Numerics.Tensors;
using System.Text.Json.Nodes;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>A passive party's side of one-round training: a clipped ridge regression of the released labels on its own features, and its scores with noise, once.</summary>
internal sealed class OneRoundPassive(GlmWork work, IPartyChannel active, GlmAccount account, GlmPartyOptions options, bool scalingFromData)
{
    private readonly GlmPlan _plan = work.Plan;
    private readonly RoundClock _clock = new(work);

    /// <summary>Deviation of the noise on lattice integers; numbers that are none have no noise to speak of.</summary>
    /// <exception cref="Diagnostics.PeerException">FL4021: they are not lattice integers.</exception>
    public static double NoiseOf(VectorPayload values, GlmPlan plan, string remote) => values.Lattice is { } lattice ? lattice.Step * (1 << plan.Job.Training.LatticeBits)
        : throw ProtocolErrors.Peer(GlmOneRoundErrors.NotNoisy, remote, "round 0", "sent numbers without lattice noise where one-round training sends noisy ones.",
            "Check that both parties run the same release of the software.");

    public async Task<GlmTraining> RunAsync(CancellationToken cancellationToken)
    {
        (OneRoundColumn[] columns, double[][] targets, double? flip, double? labelSigma) = await ReceiveLabelsAsync(cancellationToken).ConfigureAwait(false);

        // Every number that the noise rests on is fixed before the features are used.
        PrivacyBudget budget = _plan.BudgetOf(options)!;
        bool charged = _plan.Job.Privacy.Evaluation == EvaluationDisclosure.Charged;
        OneRoundCalibration calibration = OneRoundCalibration.Calibrate(OneRoundRules.Parameters(_plan, work.Train.Rows, work.Train.Features, columns),
            budget.Epsilon, budget.Delta, charged ? _plan.Job.Privacy.EvaluationShare : 0);
        (double[] weights, double[] scores) = await ChannelGuard.ComputeAsync([active], stop => Fit(targets, calibration.Parameters, stop), cancellationToken).ConfigureAwait(false);
        IPrivacyReservation reservation = account.Reserve(charged ? "gaussian: training scores and final weights" : "gaussian: training scores", account.WithScored(new JsonObject
        {
            ["mu"] = calibration.Mu,
            ["sigmaCharged"] = calibration.SigmaCharged,
            ["sensitivity"] = calibration.Parameters.Sensitivity,
        }, work.Test.Rows), PrivacyUnit.Record, 1, 0, calibration.Mu * calibration.Mu);
        GaussianMechanism mechanism = account.Mechanism(calibration.ScoreNoise, work.Party, reservation, latticeBits: _plan.Job.Training.LatticeBits);
        // Made before the scores are kept: only so can it tell this process from one that resumes the run, whose weights were noised before.
        GaussianMechanism? weightNoise = calibration.WeightNoise is { } noise ? account.Mechanism(noise, work.Party + "\0weights", reservation) : null;
        await _clock.WaitAsync(RoundClock.Now, active.SendAsync(0, mechanism.Release(new Scores(scores), "training scores"), cancellationToken)).ConfigureAwait(false);

        // From here on the party knows and uses the noisy weights alone.
        weightNoise?.Perturb(weights, "final weights");
        if (labelSigma is not null)
            TensorPrimitives.Multiply(weights, columns[0].Scale, weights);                                  // predictions are in units of the label
        GlmTiming timing = _clock.Stop(1);
        double noiseSeconds = mechanism.NoiseTime.TotalSeconds;
        timing = timing with { Noise = noiseSeconds, Compute = Math.Max(0, timing.Compute - noiseSeconds) };
        work.CheckFinite(1, weights);
        work.Report(1, null);

        int testRows = work.Test.Rows;
        if (testRows > 0 && _plan.SendsTestScores)
        {
            double[] test = new double[testRows * work.Test.Outputs];
            work.Test.Scores(0, weights, test);
            await active.SendAsync(1, Disclosure.Unprotected(new Scores(test), "evaluation: test rows"), cancellationToken).ConfigureAwait(false);
        }

        return new GlmTraining(weights, GlmStopReason.Converged, timing)
        {
            Statement = OneRoundClaims.Scores(_plan, work.Party, budget, calibration, flip, labelSigma, scalingFromData, testRows),
        };
    }

    /// <summary>One clipped ridge for each column of targets, and the scores that may get noise: each within ks, each row within the ball.</summary>
    private (double[] Weights, double[] Scores) Fit(double[][] targets, OneRoundParameters parameters, CancellationToken cancellationToken)
    {
        LinearPart single = work.Train.With(1, intercept: false);
        double[] weights = new double[targets.Length * single.Dimension], scores = new double[targets.Length * single.Rows];
        for (int m = 0; m < targets.Length; m++)
        {
            NewtonResult fit = ClippedRidge.Fit(single, targets[m], parameters, m, cancellationToken);
            fit.Weights.CopyTo(weights, m * single.Dimension);
            fit.Scores.CopyTo(scores, m * single.Rows);
        }

        VectorKernels.Clip(scores, parameters.ScoreClip);
        if (targets.Length > 1)
            VectorKernels.ClipRows(scores, single.Rows, parameters.Ball);
        return (weights, scores);
    }

    private async Task<(OneRoundColumn[] Columns, double[][] Targets, double? Flip, double? Sigma)> ReceiveLabelsAsync(CancellationToken cancellationToken)
    {
        int n = work.Train.Rows;
        double? declared = _plan.Job.Privacy.OneRound.LabelRate;
        if (_plan.HasClasses)
        {
            RandomizedResponse response = LabelRelease.ResponseOf(_plan);
            RandomizedLabels bits = await _clock.WaitAsync(RoundClock.Now, active.ReceiveAsync<RandomizedLabels>(0, n, cancellationToken)).ConfigureAwait(false);
            if (bits.Classes.Span.ContainsAnyExceptInRange((byte)0, (byte)(response.Classes - 1)))
                throw ProtocolErrors.Peer(GlmOneRoundErrors.NotAClass, active.RemoteParty, "round 0", "sent a randomised label that is none of the classes.",
                    "Check that both parties run the same release of the software.");
            OneRoundColumn[] columns = OneRoundRules.Columns(_plan, response, bits.Classes.Span, work.Train.Outputs);
            double[][] targets = [.. columns.Select(_ => new double[n])];
            for (int m = 0; m < columns.Length; m++)
            {
                (double no, double yes) = (columns[m].Target(response.Debias(false)), columns[m].Target(response.Debias(true)));
                for (int i = 0; i < n; i++)
                    targets[m][i] = bits.Classes.Span[i] == OneRoundRules.ClassOf(m, columns.Length) ? yes : no;
            }

            return (columns, targets, response.FlipProbability, null);
        }

        Scalars range = await _clock.WaitAsync(RoundClock.Now, ChannelGuard.ReceiveScalarsAsync(active, 0, ScalarsKind.Agreement, 2, cancellationToken)).ConfigureAwait(false);
        (double low, double high) = (range.Values.Span[0], range.Values.Span[1]);
        NoisyTargets noisy = await _clock.WaitAsync(RoundClock.Now, active.ReceiveAsync<NoisyTargets>(0, n, cancellationToken)).ConfigureAwait(false);
        double sigma = NoiseOf(noisy, _plan, active.RemoteParty);
        if (!(low < high) || !double.IsFinite(high - low) || (declared is { } rate && !(rate >= low && rate <= high)))
            throw ProtocolErrors.Peer(GlmOneRoundErrors.NotNoisy, active.RemoteParty, "round 0", "declared no legal range of the label, or one without privacy.oneRound.labelRate.",
                "Mend data.labelRange at the active party, or the rate.");
        OneRoundColumn scaled = OneRoundColumn.OfRange(low, high, sigma, declared ?? OneRoundColumn.CenterOf(low, high, noisy.Values.Span));
        double[] t = noisy.Values.ToArray();
        for (int i = 0; i < n; i++)
            t[i] = scaled.Target(t[i]);
        return ([scaled], [t], null, sigma);
    }
}
