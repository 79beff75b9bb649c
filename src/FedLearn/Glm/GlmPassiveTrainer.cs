using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>A passive party's side of training.</summary>
internal sealed class GlmPassiveTrainer(GlmWork work, IPartyChannel active)
{
    private readonly GlmPlan _plan = work.Plan;
    private readonly double[] _weights = work.StartWeights();
    private readonly RoundClock _clock = new(work);

    public async Task<GlmTraining> RunAsync(CancellationToken cancellationToken)
    {
        (int rounds, GlmStopReason reason) = _plan.Optimizer == GlmOptimizer.Lbfgs
            ? await LbfgsAsync(cancellationToken).ConfigureAwait(false)
            : (await SgdAsync(cancellationToken).ConfigureAwait(false), GlmStopReason.RoundLimit);
        GlmTiming timing = _clock.Stop(_plan.Optimizer == GlmOptimizer.Lbfgs ? rounds : _plan.Epochs);
        work.CheckFinite(rounds, _weights);
        work.PerturbFinal(_weights);
        if (!_plan.Private)
            await EvaluateAsync(work.Train, rounds, "evaluation: training rows", cancellationToken).ConfigureAwait(false);
        if (work.Test.Rows > 0 && _plan.SendsTestScores)
            await EvaluateAsync(work.Test, rounds, "evaluation: test rows", cancellationToken).ConfigureAwait(false);
        return new GlmTraining(_weights, reason, timing);
    }

    private async Task<int> SgdAsync(CancellationToken cancellationToken)
    {
        BatchLayout layout = work.Layout;
        double[] scores = new double[layout.LargestSize], gradient = new double[_weights.Length], residuals = new double[layout.LargestSize];
        LinearPart rows = work.Train;
        for (int round = 0; round < work.Rounds; round++)
        {
            int batch = round % layout.Count, start = layout.Start(batch), size = layout.Size(batch);
            if (batch == 0)
                rows = work.InEpoch(round / layout.Count).Rows;
            // A channel in memory hands the vector itself over, so a vector that was sent is not written again.
            double[] z = work.Mechanism is null ? new double[size] : scores;
            rows.Scores(start, _weights, z.AsSpan(0, size));                                            // z = X w          [b]
            work.CheckFinite(round, z.AsSpan(0, size));
            Released<Scores> released = work.Release(round, new Scores(z.AsMemory(0, size), _plan.ElementType), z, "training scores");
            await _clock.WaitAsync(active.SendAsync(round, released, cancellationToken)).ConfigureAwait(false);
            if (round + 1 < work.Rounds)
                work.Mechanism?.Prefetch(layout.Size((round + 1) % layout.Count));

            Residuals received = await _clock.WaitAsync(active.ReceiveAsync<Residuals>(round, size, cancellationToken)).ConfigureAwait(false);
            received.Values.Span.CopyTo(residuals);                                                     // r, from the active party [b]
            work.ClipReceived(residuals.AsSpan(0, size));                                               // A5: the receiver clips
            rows.Gradient(start, residuals.AsSpan(0, size), gradient);                                  // X' r             [d]
            work.Step(_weights, gradient, size);
            if (batch == layout.Count - 1)
                work.Report(round + 1, null);
        }

        return work.Rounds;
    }

    private async Task<(int Rounds, GlmStopReason Reason)> LbfgsAsync(CancellationToken cancellationToken)
    {
        int rows = work.Train.Rows, penalised = work.Train.Penalised;
        var basis = new LbfgsBasis(_weights.Length);
        for (int round = 0; ; round++)
        {
            Residuals residuals = await _clock.WaitAsync(active.ReceiveAsync<Residuals>(round, rows, cancellationToken)).ConfigureAwait(false);
            double[] gradient = GlmObjective.Gradient(work.Train, residuals.Values.Span, _weights, _plan.Job.Model.L2);
            basis.Update(gradient);
            await SendScalarsAsync(round, basis.InnerProducts(), cancellationToken).ConfigureAwait(false);

            Scalars coefficients = await _clock.WaitAsync(
                ChannelGuard.ReceiveScalarsAsync(active, round, ScalarsKind.Direction, null, cancellationToken)).ConfigureAwait(false);
            if (coefficients.Length == 0)                                                               // the active party stops
                return (round, round == _plan.Epochs ? GlmStopReason.RoundLimit : GlmStopReason.Converged);
            if (coefficients.Length != basis.Count)
                throw ProtocolErrors.Peer(ProtocolErrors.WrongLength, active.RemoteParty, $"round {round}",
                    $"sent a direction of length {coefficients.Length}; this step needs {basis.Count}.", "Check that both parties run the same release of the software.");
            double[] direction = basis.Direction(coefficients.Values.Span);
            double[] along = new double[rows];
            work.Train.Scores(0, direction, along);                                                     // u = X d          [n]
            work.CheckFinite(round, along);
            await _clock.WaitAsync(active.SendAsync(round, work.Release(round, new Scores(along, _plan.ElementType), along, "training scores"), cancellationToken))
                .ConfigureAwait(false);
            await SendScalarsAsync(round, GlmObjective.PenaltyTerms(_weights, direction, penalised), cancellationToken).ConfigureAwait(false);

            Scalars step = await _clock.WaitAsync(
                ChannelGuard.ReceiveScalarsAsync(active, round, ScalarsKind.Step, 1, cancellationToken)).ConfigureAwait(false);
            if (step.Values.Span[0] == 0)
                return (round, GlmStopReason.NoFurtherDecrease);
            basis.Step(_weights, direction, step.Values.Span[0]);
            work.Report(round + 1, null);
        }
    }

    private ValueTask SendScalarsAsync(int round, double[] values, CancellationToken cancellationToken)
    {
        work.CheckFinite(round, values);
        return _clock.WaitAsync(active.SendAsync(round,
            Disclosure.Unprotected(new Scalars(ScalarsKind.InnerProducts, values), "optimiser inner products: mode none"), cancellationToken));
    }

    private async Task EvaluateAsync(LinearPart part, int round, string name, CancellationToken cancellationToken)
    {
        using System.Diagnostics.Activity? traced = work.Telemetry?.Begin("fedlearn.evaluation");
        double[] scores = new double[part.Rows];
        part.Scores(0, _weights, scores);
        if (_plan.ElementType == ElementType.Float32)
            VectorKernels.RoundToSingle(scores);
        work.CheckFinite(round, scores);
        await active.SendAsync(round, Disclosure.Unprotected(new Scores(scores, _plan.ElementType), name), cancellationToken).ConfigureAwait(false);
    }
}
