using System.Numerics.Tensors;
using FedLearn.Coordination;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

// Projected stochastic gradient descent: the active party's side, then the passive party's.

internal partial class GlmActiveTrainer
{
    private async Task<(int Rounds, GlmStopReason Reason)> SgdAsync(CancellationToken cancellationToken)
    {
        BatchLayout layout = work.Layout;
        int k = work.Train.Outputs, n = work.Train.Rows, largest = layout.LargestSize * k;
        double[] gradient = new double[_weights.Length], several = k == 1 ? [] : new double[largest], heard = k == 1 ? [] : new double[largest];
        var outgoing = new RoundVectors<Residuals>(work, passives, (values, transient) => new Residuals(values, _plan.ElementType) { IsTransient = transient });
        var pass = new ActivePass(work, passives.Count);
        var received = new Scores[passives.Count];
        double epochLoss = 0;
        LinearPart rows = work.Train;
        GlmTargets targets = train;
        (int first, StateReader? state) = work.GoOn(_clock, _weights, _stop);
        if (state is not null)
        {
            if (NeedsScores(first))
                state.Doubles("scores", _trainScores.Length).CopyTo(_trainScores, 0);
            double[] losses = state.Doubles("losses", 3);
            (_firstLoss, _lastLoss, epochLoss) = (losses[0], losses[1], losses[2]);
        }

        bool inTurn = InMemoryChannel.TakeTurns(passives, inTurn: true);
        // Parties of one process take the processors from each other, and one with a noisy gradient waits for its storage twice.
        await using OwnStep? own = k == 1 && !inTurn && work.GradientNoise is null && work.Mechanism is { } mechanism ? new OwnStep(work, mechanism, _weights) : null;
        for (int round = first; round < work.Rounds; round++)
        {
            cancellationToken.ThrowIfCancellationRequested();    // a party that trains alone waits for nobody
            int batch = round % layout.Count, start = layout.Start(batch), size = layout.Size(batch);
            if (work.BeginRound(round))
                work.KeepState(round, _clock, _weights, _stop, StateOf(round, epochLoss));
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
                received[p] = work.Packed(await _clock.WaitAsync(RoundClock.Now, passives[p].ReceiveAsync<Scores>(round, z.Length, cancellationToken)).ConfigureAwait(false),
                    PartyRole.Passive, passives[p], round);
                if (k == 1)
                    pass.Receive(p, received[p].Values);
                else
                    TensorPrimitives.Add(heard.AsSpan(0, k * size), received[p].Values.Span, heard.AsSpan(0, k * size));  // sum z_i     [K b]
            }

            // The clipped residual: what A noises, and what it uses itself ("clean" means not noised).
            (Residuals residuals, double[] r) = outgoing.Next(k * size);
            if (own is not null)
            {
                own.Scores(rows, batch, z.Span);
                epochLoss += pass.Residuals(targets, start, z.Span, r.AsSpan(0, size));                     // r = dl/dz [b]
                own.Prepare(rows, batch, r.AsMemory(0, size), NextOf(batch));
            }
            else if (k == 1)
                epochLoss += pass.Run(rows, targets, start, _weights, z.Span, r.AsSpan(0, size), gradient);     // r = dl/dz [b], X_A' r [d_A]
            else
                epochLoss += Classes(rows, targets, start, z.Span, heard.AsSpan(0, k * size), r.AsSpan(0, k * size), gradient);
            for (int p = 0; p < passives.Count; p++)
                passives[p].Return(received[p]);
            work.CheckFinite(round, r.AsSpan(0, k * size));
            if (passives.Count > 0)
                await SendResidualsAsync(round, residuals, r, cancellationToken).ConfigureAwait(false);
            if (own is not null)
                await own.FinishAsync().ConfigureAwait(false);
            else
                work.Step(_weights, gradient, size);
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

    /// <summary>The batch that comes after another in the same order of the rows; -1 where the order is not known yet.</summary>
    private int NextOf(int batch) => batch + 1 < work.Layout.Count ? batch + 1 : _plan.Job.Training.Reshuffle ? -1 : 0;

    private Action<StateWriter> StateOf(int round, double epochLoss) => kept =>
        kept.Add("scores", NeedsScores(round) ? _trainScores : []).Add("losses", [_firstLoss, _lastLoss, epochLoss]);

    /// <summary>Whether scores from before a round are among those that the figures of the training rows are made of: the scores of the epoch that turns out to be the last, unless all are asked for again. They are most
    /// of a state, 80 MB of ten million rows.</summary>
    private bool NeedsScores(int round) =>
        !_plan.SendsTrainScores && round % work.Layout.Count > 0 && (_stop is not null || round / work.Layout.Count == _plan.Epochs - 1);

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
        double[] gradient = new double[_weights.Length], bounded = double.IsPositiveInfinity(_plan.ReceivedBound) ? [] : new double[k * layout.LargestSize];
        var outgoing = new RoundVectors<Scores>(work, [active], (values, transient) => new Scores(values, _plan.ElementType) { IsTransient = transient });
        LinearPart rows = work.Train;
        (int first, _) = work.GoOn(_clock, _weights, _stop);
        InMemoryChannel.TakeTurns([active], inTurn: true);
        for (int round = first; round < work.Rounds; round++)
        {
            int batch = round % layout.Count, start = layout.Start(batch), size = layout.Size(batch), entries = k * size;
            if (work.BeginRound(round))
                work.KeepState(round, _clock, _weights, _stop);
            if (batch == 0 || round == first)
                rows = work.InEpoch(round / layout.Count).Rows;
            (Scores scores, double[] z) = outgoing.Next(entries);
            rows.Scores(start, _weights, z.AsSpan(0, entries));                                         // z = X w          [K b]
            work.CheckFinite(round, z.AsSpan(0, entries));
            Released<Scores> released = work.Release(round, scores, z, "training scores");
            await _clock.WaitAsync(RoundClock.Now, active.SendAsync(round, released, cancellationToken)).ConfigureAwait(false);

            Residuals received = await _clock.WaitAsync(RoundClock.Now, active.ReceiveAsync<Residuals>(round, entries, cancellationToken)).ConfigureAwait(false);
            work.Packed(received, PartyRole.Active, active, round);
            rows.Gradient(start, work.Bounded(received.Values, bounded).Span, gradient);                // X' r             [d]
            active.Return(received);
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

/// <summary>The vectors that a party makes in the rounds, before they are released. Where every channel takes transient payloads, each is written over the last of its length.</summary>
internal sealed class RoundVectors<T>(GlmWork work, IReadOnlyList<IPartyChannel> channels, Func<ReadOnlyMemory<double>, bool, T> make) where T : RoundVector
{
    private readonly bool _transient = channels.All(channel => channel.TakesTransient);
    private readonly double[] _numbers = new double[work.Layout.LargestSize * work.Train.Outputs];
    // Batches have at most two sizes.
    private readonly List<T> _vectors = new(2);

    /// <summary>The vector of the next message, and the memory of its numbers, which the caller fills.</summary>
    public (T Vector, double[] Numbers) Next(int length)
    {
        // A mechanism reads the numbers and writes elsewhere. Without one the vector itself is handed over, so that one that was sent is not written again.
        double[] numbers = _transient || work.Mechanism is not null ? _numbers : new double[length];
        if (!_transient)
            return (make(numbers.AsMemory(0, length), false), numbers);
        foreach (T vector in _vectors)
            if (vector.Length == length)
                return (vector, numbers);
        T first = make(numbers.AsMemory(0, length), true);
        _vectors.Add(first);
        return (first, numbers);
    }
}
