using System.Numerics.Tensors;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

// Limited-memory BFGS without vectors on the wire: the active party's side, then the passive party's. See Lbfgs.cs for the mathematics.

internal partial class GlmActiveTrainer
{
    private async Task<(int Rounds, GlmStopReason Reason)> LbfgsAsync(CancellationToken cancellationToken)
    {
        double l2 = _plan.Job.Model.L2;
        int entries = _trainScores.Length;
        var basis = new LbfgsBasis(_weights.Length);
        double[] along = new double[entries], trial = new double[entries], buffer = new double[entries];
        await StartScoresAsync(cancellationToken).ConfigureAwait(false);
        _tolerance = Featureless.Tolerance(RelativeTolerance);
        // A warm start's norm is not known before the first step.
        _penalty = _plan.Job.Training.WarmStart ? null : 0;
        for (int round = 0; ; round++)
        {
            cancellationToken.ThrowIfCancellationRequested();    // a party that trains alone waits for nobody
            double[] residuals = await SendResidualsAtAsync(round, _trainScores, cancellationToken).ConfigureAwait(false);
            basis.Update(GlmObjective.Gradient(work.Train, residuals, _weights, l2));
            double[] products = basis.InnerProducts();
            await AddScalarsAsync(round, products, Lbfgs.Squares(basis.Count), cancellationToken).ConfigureAwait(false);
            work.CheckFinite(round, products);

            bool converged = (_gradientNorm = Lbfgs.GradientNorm(products)) <= _tolerance;
            bool stop = converged || round == _plan.Epochs;
            // After the last iteration training ends anyway, and only this tells the passive parties that it did so at the optimum.
            double[] coefficients = converged && round == _plan.Epochs ? [(double)GlmStopReason.Converged] : stop ? [] : Lbfgs.Direction(products, basis.Count);
            work.CheckFinite(round, coefficients);
            await BroadcastAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Direction, coefficients), "optimiser direction: mode none"), cancellationToken)
                .ConfigureAwait(false);
            if (stop)
                return (round, converged ? GlmStopReason.Converged : GlmStopReason.RoundLimit);

            double[] direction = basis.Direction(coefficients);
            work.Train.Scores(0, direction, along);
            await AddScoresAsync(round, along, cancellationToken).ConfigureAwait(false);
            double[] penalty = GlmObjective.PenaltyTerms(_weights, direction, work.Train.Penalised);
            await AddScalarsAsync(round, penalty, [0, 2], cancellationToken).ConfigureAwait(false);
            double first = round == 0 ? Math.Min(1, 1 / Lbfgs.GradientNorm(products)) : 1;
            double length = Lbfgs.LineSearch(t => Slope(t, along, penalty, l2, trial, buffer), first);
            await BroadcastAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Step, new[] { length }), "optimiser step: mode none"), cancellationToken)
                .ConfigureAwait(false);
            if (length == 0)
                return (round, GlmStopReason.NoFurtherDecrease);
            basis.Step(_weights, direction, length);
            TensorPrimitives.MultiplyAdd(along, length, _trainScores, _trainScores);
            _penalty = l2 / 2 * (penalty[0] + 2 * length * penalty[1] + length * length * penalty[2]);
            double loss = MeanLoss();
            bool stops = await StopsEarlyAsync(round, loss + _penalty.Value, cancellationToken).ConfigureAwait(false);
            work.Report(round + 1, loss, _stop?.Last);
            if (stops)
                return (round + 1, GlmStopReason.EarlyStopped);
        }
    }

    /// <summary>First and second derivative of the objective at w + t d.</summary>
    private (double First, double Second) Slope(double t, double[] along, double[] penalty, double l2, double[] z, double[] buffer)
    {
        int rows = train.Rows;
        TensorPrimitives.MultiplyAdd(along, t, _trainScores, z);
        _plan.Family.Residuals(z, train.Labels, buffer);
        train.Weigh(0, rows, buffer);
        double first = TensorPrimitives.Dot<double>(buffer, along) / rows + l2 * (penalty[1] + t * penalty[2]);
        return (first, l2 * penalty[2] + RowBlocks.Quadratic(_plan.Family, train, z, along, buffer) / rows);
    }
}

internal sealed partial class GlmPassiveTrainer
{
    private async Task<(int Rounds, GlmStopReason Reason)> LbfgsAsync(CancellationToken cancellationToken)
    {
        int entries = work.Train.Rows * work.Train.Outputs, penalised = work.Train.Penalised;
        var basis = new LbfgsBasis(_weights.Length);
        await SendStartScoresAsync(cancellationToken).ConfigureAwait(false);
        for (int round = 0; ; round++)
        {
            Residuals residuals = await _clock.WaitAsync(RoundClock.Now, active.ReceiveAsync<Residuals>(round, entries, cancellationToken)).ConfigureAwait(false);
            double[] gradient = GlmObjective.Gradient(work.Train, work.Packed(residuals, PartyRole.Active, active, round).Values.Span, _weights, _plan.Job.Model.L2);
            basis.Update(gradient);
            await SendScalarsAsync(round, basis.InnerProducts(), cancellationToken).ConfigureAwait(false);

            Scalars coefficients = await _clock.WaitAsync(RoundClock.Now,
                ChannelGuard.ReceiveScalarsAsync(active, round, ScalarsKind.Direction, null, cancellationToken)).ConfigureAwait(false);
            bool last = round == _plan.Epochs;
            if (coefficients.Length == 0)                                                               // the active party stops
                return (round, last ? GlmStopReason.RoundLimit : GlmStopReason.Converged);
            if (last && coefficients.Length == 1 && ChannelGuard.Choice<GlmStopReason>(coefficients.Values.Span[0], active, round) == GlmStopReason.Converged)
                return (round, GlmStopReason.Converged);
            if (coefficients.Length != basis.Count || last)
                throw ProtocolErrors.Peer(ProtocolErrors.WrongLength, active.RemoteParty, $"round {round}",
                    $"sent a direction of length {coefficients.Length}; this step needs {basis.Count}.", "Check that both parties run the same release of the software.");
            double[] direction = basis.Direction(coefficients.Values.Span);
            double[] along = new double[entries];
            work.Train.Scores(0, direction, along);                                                     // u = X d          [K n]
            work.CheckFinite(round, along);
            await _clock.WaitAsync(RoundClock.Now, active.SendAsync(round, work.Release(round, new Scores(along, _plan.ElementType), along, "training scores"), cancellationToken))
                .ConfigureAwait(false);
            await SendScalarsAsync(round, GlmObjective.PenaltyTerms(_weights, direction, penalised), cancellationToken).ConfigureAwait(false);

            Scalars step = await _clock.WaitAsync(RoundClock.Now,
                ChannelGuard.ReceiveScalarsAsync(active, round, ScalarsKind.Step, 1, cancellationToken)).ConfigureAwait(false);
            if (step.Values.Span[0] == 0)
                return (round, GlmStopReason.NoFurtherDecrease);
            if (step.Values.Span[0] < 0)
                throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, active.RemoteParty, $"round {round}", "sent a step that no line search takes.", "Check that both parties run the same release of the software.");
            basis.Step(_weights, direction, step.Values.Span[0]);
            bool stops = await StopsEarlyAsync(round, cancellationToken).ConfigureAwait(false);
            work.Report(round + 1, null);
            if (stops)
                return (round + 1, GlmStopReason.EarlyStopped);
        }
    }
}
