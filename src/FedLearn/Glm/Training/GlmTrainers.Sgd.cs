using System.Numerics.Tensors;
using FedLearn.Coordination;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

// Projected stochastic gradient descent: the active party's side, then the passive party's.

internal partial class GlmActiveTrainer
{
    private async Task<(int Rounds, GlmStopReason Reason)> SgdAsync(CancellationToken cancellationToken)
    {
        BatchLayout layout = work.Layout;
        int k = work.Train.Outputs, n = work.Train.Rows;
        double[] gradient = new double[_weights.Length], reused = new double[layout.LargestSize * k], several = k == 1 ? [] : new double[layout.LargestSize * k], heard = k == 1 ? [] : new double[layout.LargestSize * k];
        var pass = new ActivePass(work, passives.Count);
        double epochLoss = 0;
        LinearPart rows = work.Train;
        GlmTargets targets = train;
        (int first, StateReader? state) = work.GoOn(_clock, _weights, _stop);
        if (state is not null)
        {
            state.Doubles("scores", _trainScores.Length).CopyTo(_trainScores, 0);
            double[] losses = state.Doubles("losses", 3);
            (_firstLoss, _lastLoss, epochLoss) = (losses[0], losses[1], losses[2]);
        }

        for (int round = first; round < work.Rounds; round++)
        {
            int batch = round % layout.Count, start = layout.Start(batch), size = layout.Size(batch);
            work.KeepState(round, _clock, _weights, _stop, kept => kept.Add("scores", _trainScores).Add("losses", [_firstLoss, _lastLoss, epochLoss]));
            if (batch == 0 || round == first)
            {
                (rows, _lastOrder) = work.InEpoch(round / layout.Count);
                targets = train.Ordered(_lastOrder);
            }

            Memory<double> z = k == 1 ? _trainScores.AsMemory(start, size) : several.AsMemory(0, k * size);
            if (k > 1)
                heard.AsSpan(0, k * size).Clear();
            for (int p = 0; p < passives.Count; p++)
            {
                Scores scores = await _clock.WaitAsync(passives[p].ReceiveAsync<Scores>(round, z.Length, cancellationToken)).ConfigureAwait(false);
                if (k == 1)
                    pass.Receive(p, scores.Values);
                else
                    TensorPrimitives.Add(heard.AsSpan(0, k * size), scores.Values.Span, heard.AsSpan(0, k * size));  // sum z_i     [K b]
            }

            // The clipped residual: what A noises, and what it uses itself ("clean" means not noised).
            double[] r = work.Mechanism is null ? new double[k * size] : reused;
            if (k == 1)
                epochLoss += pass.Run(rows, targets, start, _weights, z.Span, r.AsSpan(0, size), gradient);     // r = dl/dz [b], X_A' r [d_A]
            else
                epochLoss += Classes(rows, targets, start, z.Span, heard.AsSpan(0, k * size), r.AsSpan(0, k * size), gradient);
            work.CheckFinite(round, r.AsSpan(0, k * size));
            if (passives.Count > 0)
                await SendResidualsAsync(round, new Residuals(r.AsMemory(0, k * size), _plan.ElementType), r, cancellationToken).ConfigureAwait(false);
            work.Step(_weights, gradient, size);
            if (round + 1 < work.Rounds)
                work.Mechanism?.Prefetch(k * layout.Size((round + 1) % layout.Count));
            if (batch == layout.Count - 1)
            {
                _lastLoss = epochLoss / n;
                if (round < layout.Count)
                    _firstLoss = _lastLoss;
                epochLoss = 0;
                bool stops = await StopsEarlyAsync(round, _lastLoss, cancellationToken).ConfigureAwait(false);
                work.Report(round + 1, _lastLoss, _stop?.Last);
                if (stops)
                    return (round + 1, GlmStopReason.EarlyStopped);
            }
        }

        return (work.Rounds, GlmStopReason.RoundLimit);
    }

    /// <summary>The active party's part of a round with several scores a row.</summary>
    private double Classes(LinearPart rows, GlmTargets targets, int start, Span<double> z, Span<double> received, Span<double> r, Span<double> gradient)
    {
        int k = rows.Outputs, size = z.Length / k, n = rows.Rows;
        // Own scores come last: between two peers' huge numbers of opposite sign they would be rounded to nothing or to a step that no bound covers.
        work.BoundReceived(received);
        rows.Scores(start, _weights, z);                                                                // z_A = X_A w_A
        targets.AddOffsets(start, z);
        TensorPrimitives.Add(z, received, z);                                                           // z = z_A + sum z_i
        VectorKernels.Clip(z, _plan.ScoreClip);
        _plan.Family.Residuals(z, targets.Labels.AsSpan(start, size), r);                               // r = dl/dz        [K b]
        work.ClipOwn(r);
        targets.Weigh(start, size, r);
        if (work.Mechanism is null && _plan.ElementType == ElementType.Float32 && passives.Count > 0)
            VectorKernels.RoundToSingle(r);                                                             // what the wire does: every party uses the same residuals
        for (int m = 0; m < k; m++)
            z.Slice(m * size, size).CopyTo(_trainScores.AsSpan(m * n + start));
        rows.Gradient(start, r, gradient);                                                              // X_A' r           [d_A]
        return targets.LossSum(_plan.Family, start, z);
    }
}

internal sealed partial class GlmPassiveTrainer
{
    private async Task<(int Rounds, GlmStopReason Reason)> SgdAsync(CancellationToken cancellationToken)
    {
        BatchLayout layout = work.Layout;
        int k = work.Train.Outputs;
        double[] scores = new double[k * layout.LargestSize], gradient = new double[_weights.Length], residuals = new double[k * layout.LargestSize];
        LinearPart rows = work.Train;
        (int first, _) = work.GoOn(_clock, _weights, _stop);
        for (int round = first; round < work.Rounds; round++)
        {
            int batch = round % layout.Count, start = layout.Start(batch), size = layout.Size(batch);
            work.KeepState(round, _clock, _weights, _stop);
            if (batch == 0 || round == first)
                rows = work.InEpoch(round / layout.Count).Rows;
            // A channel in memory hands the vector itself over, so a vector that was sent is not written again.
            int entries = k * size;
            double[] z = work.Mechanism is null ? new double[entries] : scores;
            rows.Scores(start, _weights, z.AsSpan(0, entries));                                         // z = X w          [K b]
            work.CheckFinite(round, z.AsSpan(0, entries));
            Released<Scores> released = work.Release(round, new Scores(z.AsMemory(0, entries), _plan.ElementType), z, "training scores");
            await _clock.WaitAsync(active.SendAsync(round, released, cancellationToken)).ConfigureAwait(false);
            if (round + 1 < work.Rounds)
                work.Mechanism?.Prefetch(k * layout.Size((round + 1) % layout.Count));

            Residuals received = await _clock.WaitAsync(active.ReceiveAsync<Residuals>(round, entries, cancellationToken)).ConfigureAwait(false);
            received.Values.Span.CopyTo(residuals);                                                     // r, from the active party [K b]
            work.ClipReceived(residuals.AsSpan(0, entries));                                            // A5: the receiver clips
            rows.Gradient(start, residuals.AsSpan(0, entries), gradient);                               // X' r             [d]
            work.Step(_weights, gradient, size);
            if (batch < layout.Count - 1)
                continue;
            bool stops = await StopsEarlyAsync(round, cancellationToken).ConfigureAwait(false);
            work.Report(round + 1, null);
            if (stops)
                return (round + 1, GlmStopReason.EarlyStopped);
        }

        return (work.Rounds, GlmStopReason.RoundLimit);
    }
}
