using System.Numerics.Tensors;
using System.Threading.Tasks.Sources;
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
        double[] several = k == 1 ? [] : new double[largest], heard = new double[largest];
        var outgoing = new RoundVectors<Residuals>(work, passives, (values, transient) => new Residuals(values, _plan.ElementType) { IsTransient = transient });
        var own = new OwnShare(work, train, _trainScores, new double[_weights.Length]);
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
            if (work.IsStateDue(round))
                work.KeepState(round, _clock, _weights, _stop, StateOf(epochLoss));
            if (batch == 0 || round == first)
            {
                (rows, _lastOrder) = work.InEpoch(round / layout.Count);
                targets = train.Ordered(_lastOrder);
            }

            Memory<double> z = k == 1 ? _trainScores.AsMemory(start, size) : several.AsMemory(0, k * size), received = heard.AsMemory(0, k * size);
            // Own arithmetic first: the others' scores are on their way meanwhile.
            rows.Scores(start, _weights, z.Span);                                                       // z_A = X_A w_A
            targets.AddOffsets(start, z.Span);
            received.Span.Clear();
            for (int i = 0; i < passives.Count; i++)
            {
                Scores scores = await _clock.WaitAsync(passives[i].ReceiveAsync<Scores>(round, z.Length, cancellationToken)).ConfigureAwait(false);
                TensorPrimitives.Add(received.Span, scores.Values.Span, received.Span);                 // sum z_i          [K b]
                passives[i].Return(scores);
            }

            // Own scores are added last: between two peers' huge numbers of opposite sign they would be rounded to nothing or to a step that no bound covers.
            work.BoundReceived(received.Span);
            TensorPrimitives.Add(z.Span, received.Span, z.Span);                                        // z = z_A + sum z_i
            VectorKernels.Clip(z.Span, _plan.ScoreClip);
            // The clipped residual: what A noises, and what it uses itself ("clean" means not noised).
            (Residuals residuals, double[] r) = outgoing.Next(k * size);
            _plan.Family.Residuals(z.Span, targets.Labels.AsSpan(start, size), r.AsSpan(0, k * size));  // r = dl/dz        [K b]
            work.ClipOwn(r.AsSpan(0, k * size));
            targets.Weigh(start, size, r.AsSpan(0, k * size));
            work.CheckFinite(round, r.AsSpan(0, k * size));
            // A mechanism reads r and writes elsewhere, so that own arithmetic goes on beside noise, outbox and sending. Without one r may be rounded for the wire first.
            own.Set(rows, targets, start, size, z, r);
            if (work.Mechanism is not null && passives.Count > 0)
                own.Begin();
            if (passives.Count > 0)
                await SendResidualsAsync(round, residuals, r, cancellationToken).ConfigureAwait(false);
            epochLoss += await own.DoneAsync().ConfigureAwait(false);
            work.Step(_weights, own.Gradient, size);
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

    private Action<StateWriter> StateOf(double epochLoss) => kept => kept.Add("scores", _trainScores).Add("losses", [_firstLoss, _lastLoss, epochLoss]);
}

internal sealed partial class GlmPassiveTrainer
{
    private async Task<(int Rounds, GlmStopReason Reason)> SgdAsync(CancellationToken cancellationToken)
    {
        BatchLayout layout = work.Layout;
        int k = work.Train.Outputs;
        double[] gradient = new double[_weights.Length], residuals = new double[k * layout.LargestSize];
        var outgoing = new RoundVectors<Scores>(work, [active], (values, transient) => new Scores(values, _plan.ElementType) { IsTransient = transient });
        LinearPart rows = work.Train;
        (int first, _) = work.GoOn(_clock, _weights, _stop);
        for (int round = first; round < work.Rounds; round++)
        {
            int batch = round % layout.Count, start = layout.Start(batch), size = layout.Size(batch), entries = k * size;
            if (work.IsStateDue(round))
                work.KeepState(round, _clock, _weights, _stop);
            if (batch == 0 || round == first)
                rows = work.InEpoch(round / layout.Count).Rows;
            (Scores scores, double[] z) = outgoing.Next(entries);
            rows.Scores(start, _weights, z.AsSpan(0, entries));                                         // z = X w          [K b]
            work.CheckFinite(round, z.AsSpan(0, entries));
            Released<Scores> released = work.Release(round, scores, z, "training scores");
            await _clock.WaitAsync(active.SendAsync(round, released, cancellationToken)).ConfigureAwait(false);
            if (round + 1 < work.Rounds)
                work.Mechanism?.Prefetch(k * layout.Size((round + 1) % layout.Count));

            Residuals received = await _clock.WaitAsync(active.ReceiveAsync<Residuals>(round, entries, cancellationToken)).ConfigureAwait(false);
            received.Values.Span.CopyTo(residuals);                                                     // r, from the active party [K b]
            active.Return(received);
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

/// <summary>The active party's own arithmetic once the residuals of a round are known: the loss, and X_A' r. It may run beside noise, outbox and sending.</summary>
internal sealed class OwnShare(GlmWork work, GlmTargets all, double[] trainScores, double[] gradient) : IThreadPoolWorkItem, IValueTaskSource<double>
{
    private const int Idle = 0, Offered = 1, Taken = 2;

    // Below as many matrix elements a second thread costs more than it saves.
    private const int WorthAThread = 1 << 15;

    private ManualResetValueTaskSourceCore<double> _done = new() { RunContinuationsAsynchronously = false };
    private LinearPart _rows = work.Train;
    private GlmTargets _targets = all;
    private int _start, _size, _state;
    private ReadOnlyMemory<double> _z;
    private double[] _r = [];

    /// <summary>X_A' r, once it is done.</summary>
    public double[] Gradient { get; } = gradient;

    /// <summary>What the next round works on.</summary>
    public void Set(LinearPart rows, GlmTargets targets, int start, int size, ReadOnlyMemory<double> z, double[] r) => (_rows, _targets, _start, _size, _z, _r) = (rows, targets, start, size, z, r);

    /// <summary>Lets it begin beside what the caller does next.</summary>
    public void Begin()
    {
        if ((long)_size * _rows.Dimension < WorthAThread)
            return;
        _done.Reset();
        Volatile.Write(ref _state, Offered);
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    /// <summary>The loss of the round, summed; computed here unless another thread has begun.</summary>
    public ValueTask<double> DoneAsync() => Interlocked.Exchange(ref _state, Idle) == Taken ? new(this, _done.Version) : new(Compute());

    /// <summary>Runs what was offered. One that comes late, in a later round, runs that of the later round, or nothing.</summary>
    void IThreadPoolWorkItem.Execute()
    {
        if (Interlocked.CompareExchange(ref _state, Taken, Offered) != Offered)
            return;
        try
        {
            _done.SetResult(Compute());
        }
#pragma warning disable CA1031 // it is the caller's, who waits for it
        catch (Exception e)
#pragma warning restore CA1031
        {
            _done.SetException(e);
        }
    }

    double IValueTaskSource<double>.GetResult(short token) => _done.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<double>.GetStatus(short token) => _done.GetStatus(token);

    void IValueTaskSource<double>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) => _done.OnCompleted(continuation, state, token, flags);

    private double Compute()
    {
        int k = work.Train.Outputs, n = work.Train.Rows;
        double loss = _targets.LossSum(work.Plan.Family, _start, _z.Span);
        for (int m = 0; m < k && k > 1; m++)
            _z.Span.Slice(m * _size, _size).CopyTo(trainScores.AsSpan(m * n + _start));
        _rows.Gradient(_start, _r.AsSpan(0, k * _size), Gradient);                                      // X_A' r           [d_A]
        return loss;
    }
}
