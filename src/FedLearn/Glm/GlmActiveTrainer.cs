using System.Numerics.Tensors;
using FedLearn.Evaluation;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>The active party's side of training.</summary>
/// <param name="work">What it works on.</param>
/// <param name="passives">One channel to each passive party.</param>
/// <param name="train">Labels to train on, with weights and offsets.</param>
/// <param name="test">Labels and offsets of the test rows.</param>
/// <param name="measuredLabels">Labels of the training rows to measure against, where they differ from those to train on.</param>
internal class GlmActiveTrainer(GlmWork work, IReadOnlyList<IPartyChannel> passives, GlmTargets train, GlmTargets test, double[]? measuredLabels = null)
{
    private readonly GlmPlan _plan = work.Plan;
    private readonly double[] _weights = work.StartWeights();
    private readonly double[] _trainScores = new double[work.Train.Rows * work.Train.Outputs];
    private readonly RoundClock _clock = new(work);

    private double _firstLoss, _lastLoss;
    // Rows in the order of the last epoch's scores; null for their own order.
    private int[]? _lastOrder;
    private double? _squaredNorm;

    public async Task<GlmTraining> RunAsync(CancellationToken cancellationToken)
    {
        (int rounds, GlmStopReason reason) = _plan.Optimizer == GlmOptimizer.Lbfgs
            ? await LbfgsAsync(cancellationToken).ConfigureAwait(false)
            : (await SgdAsync(cancellationToken).ConfigureAwait(false), GlmStopReason.RoundLimit);
        GlmTiming timing = _clock.Stop(_plan.Optimizer == GlmOptimizer.Lbfgs ? rounds : _plan.Epochs);

        work.CheckFinite(rounds, _weights);

        // In private modes the training metrics come from the noisy scores of the last epoch: nothing more is asked of the passive parties.
        if (!_plan.Private)
            await EvaluateAsync(work.Train, train, _trainScores, rounds, cancellationToken).ConfigureAwait(false);
        MetricSet trained = Measure(_trainScores, new GlmTargets(measuredLabels ?? train.Labels).Ordered(_plan.Private ? _lastOrder : null).Labels);
        MetricSet? tested = null;
        if (work.Test.Rows > 0 && (_plan.SendsTestScores || passives.Count == 0))
        {
            double[] scores = new double[work.Test.Rows * work.Test.Outputs];
            await EvaluateAsync(work.Test, test, scores, rounds, cancellationToken).ConfigureAwait(false);
            tested = Measure(scores, test.Labels);
        }

        string[] warnings = _lastLoss > _firstLoss
            ? ["the training loss grew from the first epoch to the last: use a smaller training.stepSize"] : [];
        if (passives.Count == 0 && !_plan.Private)
            _squaredNorm = GlmObjective.PenaltyTerms(_weights, _weights, work.Train.Penalised)[0];
        double? objective = _squaredNorm is { } norm ? MeanLoss() + _plan.Job.Model.L2 / 2 * norm : null;
        return new GlmTraining(_weights, reason, timing) { TrainMetrics = trained, TestMetrics = tested, Objective = objective, Warnings = warnings };
    }

    private async Task<int> SgdAsync(CancellationToken cancellationToken)
    {
        BatchLayout layout = work.Layout;
        int k = work.Train.Outputs, n = work.Train.Rows;
        double[] gradient = new double[_weights.Length], reused = new double[layout.LargestSize * k], several = k == 1 ? [] : new double[layout.LargestSize * k], heard = new double[layout.LargestSize * k];
        double epochLoss = 0;
        LinearPart rows = work.Train;
        GlmTargets targets = train;
        for (int round = 0; round < work.Rounds; round++)
        {
            int batch = round % layout.Count, start = layout.Start(batch), size = layout.Size(batch);
            if (batch == 0)
            {
                (rows, _lastOrder) = work.InEpoch(round / layout.Count);
                targets = train.Ordered(_lastOrder);
            }

            Memory<double> z = k == 1 ? _trainScores.AsMemory(start, size) : several.AsMemory(0, k * size);
            Memory<double> received = heard.AsMemory(0, k * size);
            received.Span.Clear();
            foreach (IPartyChannel passive in passives)
            {
                Scores scores = await _clock.WaitAsync(passive.ReceiveAsync<Scores>(round, z.Length, cancellationToken)).ConfigureAwait(false);
                TensorPrimitives.Add(received.Span, scores.Values.Span, received.Span);                 // sum z_i          [K b]
            }

            // Own scores come last: between two peers' huge numbers of opposite sign they would be rounded to nothing or to a step that no bound covers.
            work.BoundReceived(received.Span);
            rows.Scores(start, _weights, z.Span);                                                       // z_A = X_A w_A
            targets.AddOffsets(start, z.Span);
            TensorPrimitives.Add(z.Span, received.Span, z.Span);                                        // z = z_A + sum z_i
            VectorKernels.Clip(z.Span, _plan.ScoreClip);
            // The clipped residual: what A noises, and what it uses itself ("clean" means not noised).
            double[] r = work.Mechanism is null ? new double[k * size] : reused;
            _plan.Family.Residuals(z.Span, targets.Labels.AsSpan(start, size), r.AsSpan(0, k * size));  // r = dl/dz        [K b]
            work.ClipOwn(r.AsSpan(0, k * size));
            targets.Weigh(start, size, r.AsSpan(0, k * size));
            work.CheckFinite(round, r.AsSpan(0, k * size));
            if (passives.Count > 0)
                await SendResidualsAsync(round, new Residuals(r.AsMemory(0, k * size), _plan.ElementType), r, cancellationToken).ConfigureAwait(false);

            epochLoss += targets.LossSum(_plan.Family, start, z.Span);
            for (int m = 0; m < k && k > 1; m++)
                z.Span.Slice(m * size, size).CopyTo(_trainScores.AsSpan(m * n + start));
            rows.Gradient(start, r.AsSpan(0, k * size), gradient);                                      // X_A' r           [d_A]
            work.Step(_weights, gradient, size);
            if (round + 1 < work.Rounds)
                work.Mechanism?.Prefetch(k * layout.Size((round + 1) % layout.Count));
            if (batch == layout.Count - 1)
            {
                _lastLoss = epochLoss / n;
                if (round < layout.Count)
                    _firstLoss = _lastLoss;
                epochLoss = 0;
                work.Report(round + 1, _lastLoss);
            }
        }

        return work.Rounds;
    }

    /// <summary>One noise for all: every passive party gets the same vector. Virtual for the tests, like the acts of <see cref="GlmWork"/>.</summary>
    protected virtual ValueTask SendResidualsAsync(int round, Residuals residuals, double[] buffer, CancellationToken cancellationToken) =>
        BroadcastAsync(round, work.Release(round, residuals, buffer, "training residuals"), cancellationToken);

    private async Task<(int Rounds, GlmStopReason Reason)> LbfgsAsync(CancellationToken cancellationToken)
    {
        double l2 = _plan.Job.Model.L2;
        int rows = work.Train.Rows, k = work.Train.Outputs, entries = rows * k;
        var basis = new LbfgsBasis(_weights.Length);
        double[] along = new double[entries], trial = new double[entries], buffer = new double[entries], curvatures = new double[entries * k];
        StartScores();
        _squaredNorm = 0;
        for (int round = 0; ; round++)
        {
            double[] residuals = new double[entries];
            _plan.Family.Residuals(_trainScores, train.Labels, residuals);
            train.Weigh(0, rows, residuals);
            work.CheckFinite(round, residuals);
            await BroadcastAsync(round, work.Release(round, new Residuals(residuals, _plan.ElementType), residuals, "training residuals"), cancellationToken).ConfigureAwait(false);
            basis.Update(GlmObjective.Gradient(work.Train, residuals, _weights, l2));
            double[] products = basis.InnerProducts();
            await AddScalarsAsync(round, products, cancellationToken).ConfigureAwait(false);
            work.CheckFinite(round, products);

            bool converged = Lbfgs.GradientNorm(products) <= Lbfgs.GradientTolerance;
            bool stop = converged || round == _plan.Epochs;
            double[] coefficients = stop ? [] : Lbfgs.Direction(products, basis.Count);
            work.CheckFinite(round, coefficients);
            await BroadcastAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Direction, coefficients), "optimiser direction: mode none"), cancellationToken)
                .ConfigureAwait(false);
            if (stop)
                return (round, converged ? GlmStopReason.Converged : GlmStopReason.RoundLimit);

            double[] direction = basis.Direction(coefficients);
            work.Train.Scores(0, direction, along);
            foreach (IPartyChannel passive in passives)
            {
                Scores scores = await _clock.WaitAsync(passive.ReceiveAsync<Scores>(round, entries, cancellationToken)).ConfigureAwait(false);
                TensorPrimitives.Add(along, scores.Values.Span, along);
            }

            double[] penalty = GlmObjective.PenaltyTerms(_weights, direction, work.Train.Penalised);
            await AddScalarsAsync(round, penalty, cancellationToken).ConfigureAwait(false);
            double first = round == 0 ? Math.Min(1, 1 / Lbfgs.GradientNorm(products)) : 1;
            double length = Lbfgs.LineSearch(t => Slope(t, along, penalty, l2, trial, buffer, curvatures), first);
            await BroadcastAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Step, new[] { length }), "optimiser step: mode none"), cancellationToken)
                .ConfigureAwait(false);
            if (length == 0)
                return (round, GlmStopReason.NoFurtherDecrease);
            basis.Step(_weights, direction, length);
            TensorPrimitives.MultiplyAdd(along, length, _trainScores, _trainScores);
            _squaredNorm = penalty[0] + 2 * length * penalty[1] + length * length * penalty[2];
            work.Report(round + 1, work.Progress is null ? null : MeanLoss());
        }
    }

    /// <summary>First and second derivative of the objective at w + t d.</summary>
    private (double First, double Second) Slope(double t, double[] along, double[] penalty, double l2, double[] z, double[] buffer, double[] curvatures)
    {
        int rows = train.Rows;
        TensorPrimitives.MultiplyAdd(along, t, _trainScores, z);
        _plan.Family.Residuals(z, train.Labels, buffer);
        train.Weigh(0, rows, buffer);
        double first = TensorPrimitives.Dot<double>(buffer, along) / rows + l2 * (penalty[1] + t * penalty[2]);
        _plan.Family.Curvatures(z, train.Labels, curvatures);
        train.Weigh(0, rows, curvatures);
        return (first, l2 * penalty[2] + RowBlocks.Quadratic(curvatures, along, work.Train.Outputs) / rows);
    }

    private double MeanLoss() => train.LossSum(_plan.Family, 0, _trainScores) / train.Rows;

    /// <summary>Full-batch optimisers start from the model without features, which costs nothing and no message: free intercepts at their start, offsets.</summary>
    private void StartScores()
    {
        LinearPart part = work.Train;
        if (part.FreeIntercept)
        {
            Span<double> intercepts = _weights.AsSpan(part.Penalised);
            _plan.Family.Start(train.Labels, train.Weights, intercepts);
            if (train.Offsets is { } offsets)
                intercepts[0] -= GlmFamilyExtensions.MeanLabel(offsets, train.Weights);
        }

        part.Scores(0, _weights, _trainScores);
        train.AddOffsets(0, _trainScores);
    }

    private async ValueTask BroadcastAsync<T>(int round, Released<T> message, CancellationToken cancellationToken) where T : Payload
    {
        foreach (IPartyChannel passive in passives)
            await _clock.WaitAsync(passive.SendAsync(round, message, cancellationToken)).ConfigureAwait(false);
    }

    private async Task AddScalarsAsync(int round, double[] sum, CancellationToken cancellationToken)
    {
        foreach (IPartyChannel passive in passives)
        {
            Scalars share = await _clock.WaitAsync(
                ChannelGuard.ReceiveScalarsAsync(passive, round, ScalarsKind.InnerProducts, sum.Length, cancellationToken)).ConfigureAwait(false);
            TensorPrimitives.Add(sum, share.Values.Span, sum);
        }
    }

    /// <summary>Scores of the final model: own plus the ones the passive parties disclose.</summary>
    private async Task EvaluateAsync(LinearPart part, GlmTargets targets, double[] scores, int round, CancellationToken cancellationToken)
    {
        part.Scores(0, _weights, scores);
        targets.AddOffsets(0, scores);
        foreach (IPartyChannel passive in passives)
        {
            Scores theirs = await passive.ReceiveAsync<Scores>(round, scores.Length, cancellationToken).ConfigureAwait(false);
            TensorPrimitives.Add(scores, theirs.Values.Span, scores);
        }

        work.CheckFinite(round, scores);
    }

    private MetricSet Measure(double[] scores, double[] labels) => GuestOnly.Measure(_plan.Family, scores, labels);
}
