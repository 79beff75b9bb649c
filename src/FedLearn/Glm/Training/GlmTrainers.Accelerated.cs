using System.Numerics.Tensors;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

// Accelerated proximal gradient descent (FISTA, Beck and Teboulle 2009) on the full batch, with steps found by backtracking and the restart of
// O'Donoghue and Candes (2015): the active party's side, then the passive party's. An iteration is at the extrapolated weights v:
//   A: residuals at v;  all: g = X' r / n + l2 v;  A: step s;  all: w+ = S(v - s g, s l1), scores X w+ and shares of norms;  A: s again, smaller, or
//   momentum m;  all: v = w+ + m (w+ - w), w = w+.
// Scores at v are the same combination of known scores, so that an iteration needs one vector each way.

/// <summary>One party's weights in an accelerated descent.</summary>
internal sealed class AcceleratedWeights(LinearPart part, double[] weights, double l2, double l1)
{
    private readonly double[] _ahead = [.. weights], _next = new double[weights.Length];
    private double[] _gradient = [];

    /// <summary>Weights of the step tried last.</summary>
    public double[] Next => _next;

    /// <summary>Own coordinates of the gradient at the extrapolated weights.</summary>
    public void Gradient(ReadOnlySpan<double> residuals) => _gradient = GlmObjective.Gradient(part, residuals, _ahead, l2);

    /// <summary>Tries a step; own shares of |w+ - v|^2, (v - w+).(w+ - w), |w+|^2 and |w+|_1, the last two over penalised weights.</summary>
    public double[] Try(double step)
    {
        for (int j = 0; j < _next.Length; j++)
            _next[j] = _ahead[j] - step * _gradient[j];
        VectorKernels.SoftThreshold(_next.AsSpan(0, part.Penalised), step * l1);
        double moved = 0, turn = 0;
        for (int j = 0; j < _next.Length; j++)
        {
            double forward = _next[j] - _ahead[j];
            moved += forward * forward;
            turn -= forward * (_next[j] - weights[j]);
        }

        (double squares, double magnitudes) = GlmObjective.Norms(_next, part.Penalised);
        return [moved, turn, squares, magnitudes];
    }

    /// <summary>Takes the step tried last.</summary>
    public void Take(double momentum)
    {
        for (int j = 0; j < _next.Length; j++)
        {
            _ahead[j] = _next[j] + momentum * (_next[j] - weights[j]);
            weights[j] = _next[j];
        }
    }
}

internal partial class GlmActiveTrainer
{
    /// <summary>Factor by which a step is longer than the one before, at most.</summary>
    private const double MostGrowth = 10;

    private async Task<(int Rounds, GlmStopReason Reason)> AcceleratedAsync(CancellationToken cancellationToken)
    {
        int entries = _trainScores.Length;
        await StartScoresAsync(cancellationToken).ConfigureAwait(false);
        var own = new AcceleratedWeights(work.Train, _weights, _plan.Job.Model.L2, _plan.Job.Model.L1);
        double[] ahead = [.. _trainScores], next = new double[entries], buffer = new double[entries];
        // No one knows the size of the loss yet: steps grow tenfold until one of them is too long.
        double step = 1, t = 1, growth = MostGrowth;
        _tolerance = Featureless.Tolerance(RelativeTolerance);
        for (int round = 0; round < _plan.Epochs; round++)
        {
            cancellationToken.ThrowIfCancellationRequested();    // a party that trains alone waits for nobody
            own.Gradient(await SendResidualsAtAsync(round, ahead, cancellationToken).ConfigureAwait(false));
            (step, double[] shares, double steepness, bool shortened) = await BacktrackAsync(round, step, own, ahead, next, buffer, cancellationToken).ConfigureAwait(false);
            if (shortened)
                growth = 1;
            // A step shortened until it moves nothing has found the end of the numbers' precision, not the optimum.
            if (shortened && shares[0] == 0)
            {
                await SendStepAsync(round, 0, AcceleratedStep.End, cancellationToken).ConfigureAwait(false);
                return (round, GlmStopReason.NoFurtherDecrease);
            }

            // The length of the gradient mapping, |w+ - v|/s, which is 0 at the optimum and nowhere else.
            bool converged = Math.Sqrt(shares[0]) <= _tolerance * step;
            double before = t;
            t = shares[1] > 0 ? 1 : (1 + Math.Sqrt(1 + 4 * t * t)) / 2;
            double momentum = shares[1] > 0 ? 0 : (before - 1) / t;
            await SendStepAsync(round, momentum, converged ? AcceleratedStep.TakeAndEnd : AcceleratedStep.Take, cancellationToken).ConfigureAwait(false);
            for (int i = 0; i < entries; i++)
            {
                ahead[i] = next[i] + momentum * (next[i] - _trainScores[i]);
                _trainScores[i] = next[i];
            }

            own.Take(momentum);
            _penalty = Penalty((shares[2], shares[3]));
            double loss = MeanLoss();
            bool stops = await StopsEarlyAsync(round, loss + _penalty.Value, cancellationToken).ConfigureAwait(false);
            work.Report(round + 1, loss, _stop?.Last);
            if (converged || stops)
                return (round + 1, converged ? GlmStopReason.Converged : GlmStopReason.EarlyStopped);
            // While the loss is flatter than the step allows for, steps grow, and faster the longer that lasts.
            growth = step * steepness < .7 ? Math.Min(1.1 * growth, MostGrowth) : 1;
            step = Math.Min(step * growth, 1 / steepness);
        }

        return (_plan.Epochs, GlmStopReason.RoundLimit);
    }

    /// <summary>Tries a step, and shorter ones until one is short enough; <paramref name="next"/> has the scores there.</summary>
    /// <returns>The step, the shares of norms there, the steepness along it, and whether it is shorter than the first.</returns>
    private async Task<(double Step, double[] Shares, double Steepness, bool IsShortened)> BacktrackAsync(int round, double step, AcceleratedWeights own, double[] ahead, double[] next, double[] buffer,
        CancellationToken cancellationToken)
    {
        for (bool shortened = false; ; shortened = true)
        {
            await SendStepAsync(round, step, AcceleratedStep.Try, cancellationToken).ConfigureAwait(false);
            double[] shares = own.Try(step);
            work.Train.Scores(0, own.Next, next);
            train.AddOffsets(0, next);
            await AddScoresAsync(round, next, cancellationToken).ConfigureAwait(false);
            await AddScalarsAsync(round, shares, [0, 2, 3], cancellationToken).ConfigureAwait(false);
            if (!shortened)
                _gradientNorm = Math.Sqrt(shares[0]) / step;
            (double near, double far) = Steepness(ahead, next, shares[0], buffer);
            double steepness = Math.Max(near, far);
            if (step * steepness <= 1 + 1e-9)
                return (step, shares, steepness, shortened);
            // Far too long a trial makes an exponential overflow, so that the steepness at its end may be any number or none. It then says only that the step must be shorter; how much shorter, the steepness at the start says.
            double shorter = double.IsFinite(far) ? Math.Clamp(1 / far, step / 10, step / 2) : step / 10;
            step = double.IsFinite(near) ? Math.Min(shorter, 1 / near) : shorter;
            if (step < 1e-300)
                throw new InternalFailureException(GlmErrors.Diverged, $"party '{work.Party}', round {round}", "no step length decreases the loss.", "Look for columns of extreme size, or scale them.");
        }
    }

    private ValueTask SendStepAsync(int round, double value, AcceleratedStep kind, CancellationToken cancellationToken) =>
        BroadcastAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Step, new[] { value, (double)kind }), "optimiser step: mode none"), cancellationToken);

    /// <summary>Second derivatives of the objective along w+ - v, over its square, at v and at w+. The step is short enough when it is at most the inverse of
    /// both.</summary>
    private (double Near, double Far) Steepness(double[] from, double[] to, double moved, double[] buffer)
    {
        if (moved == 0)
            return (0, 0);
        double[] along = new double[from.Length];
        TensorPrimitives.Subtract(to, from, along);
        double Along(double[] scores) => _plan.Job.Model.L2 + RowBlocks.Quadratic(_plan.Family, train, scores, along, buffer) / (train.Rows * moved);
        return (Along(from), Along(to));
    }
}

/// <summary>What the number of a step message means; travels as a number.</summary>
internal enum AcceleratedStep
{
    /// <summary>A step length to try.</summary>
    Try = 0,

    /// <summary>The momentum after the step tried last.</summary>
    Take = 1,

    /// <summary>The same, and training ends.</summary>
    TakeAndEnd = 2,

    /// <summary>Training ends without the step.</summary>
    End = 3,
}

internal sealed partial class GlmPassiveTrainer
{
    private const int MostTries = 1100;

    private async Task<(int Rounds, GlmStopReason Reason)> AcceleratedAsync(CancellationToken cancellationToken)
    {
        LinearPart part = work.Train;
        int entries = part.Rows * part.Outputs;
        await SendStartScoresAsync(cancellationToken).ConfigureAwait(false);
        var own = new AcceleratedWeights(work.Train, _weights, _plan.Job.Model.L2, _plan.Job.Model.L1);
        for (int round = 0; round < _plan.Epochs; round++)
        {
            Residuals residuals = await _clock.WaitAsync(RoundClock.Now, active.ReceiveAsync<Residuals>(round, entries, cancellationToken)).ConfigureAwait(false);
            own.Gradient(work.Packed(residuals, PartyRole.Active, active, round).Values.Span);
            AcceleratedStep kind;
            double value;
            for (int tries = 0; ; tries++)
            {
                Scalars told = await _clock.WaitAsync(RoundClock.Now, ChannelGuard.ReceiveScalarsAsync(active, round, ScalarsKind.Step, 2, cancellationToken)).ConfigureAwait(false);
                (value, kind) = (told.Values.Span[0], ChannelGuard.Choice<AcceleratedStep>(told.Values.Span[1], active, round));
                // No honest party tries more often: 1 halved more than 1,100 times is 0.
                if (kind == AcceleratedStep.Try ? !(value > 0) || tries > MostTries : tries == 0 || value is < 0 or > 1)
                    throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, active.RemoteParty, $"round {round}", "sent a step that no accelerated descent takes.",
                        "Check that both parties run the same release of the software.");
                if (kind != AcceleratedStep.Try)
                    break;
                double[] shares = own.Try(value), scores = new double[entries];
                part.Scores(0, own.Next, scores);
                work.CheckFinite(round, scores);
                await _clock.WaitAsync(RoundClock.Now, active.SendAsync(round, work.Release(round, new Scores(scores, _plan.ElementType), scores, "training scores"), cancellationToken))
                    .ConfigureAwait(false);
                await SendScalarsAsync(round, shares, cancellationToken).ConfigureAwait(false);
            }

            if (kind == AcceleratedStep.End)
                return (round, GlmStopReason.NoFurtherDecrease);
            own.Take(value);
            bool stops = await StopsEarlyAsync(round, cancellationToken).ConfigureAwait(false);
            work.Report(round + 1, null);
            if (kind == AcceleratedStep.TakeAndEnd || stops)
                return (round + 1, kind == AcceleratedStep.TakeAndEnd ? GlmStopReason.Converged : GlmStopReason.EarlyStopped);
        }

        return (_plan.Epochs, GlmStopReason.RoundLimit);
    }
}
