using System.Numerics.Tensors;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The active party's part of a round with one score a row: its scores, the sum with those received, the residuals and, in the same reading of its rows, its gradient. No allocation a
/// round.</summary>
/// <param name="work">What it works on.</param>
/// <param name="peers">Number of passive parties.</param>
internal sealed class ActivePass(GlmWork work, int peers) : IResidualBlocks
{
    private readonly ReadOnlyMemory<double>[] _received = new ReadOnlyMemory<double>[peers];
    private readonly double[] _losses = new double[(work.Layout.LargestSize + IResidualBlocks.MostRows - 1) / IResidualBlocks.MostRows];
    private readonly bool _rounds = work.Mechanism is null && work.Plan.ElementType == ElementType.Float32 && peers > 0;
    private GlmTargets _targets = null!;
    private double _intercept;
    private int _start;

    /// <summary>Takes the scores of a passive party in; they stay as they are until the residuals are made.</summary>
    public void Receive(int peer, ReadOnlyMemory<double> scores) => _received[peer] = scores;

    /// <summary>Runs the round.</summary>
    /// <param name="rows">The party's rows.</param>
    /// <param name="targets">What it knows of them beside.</param>
    /// <param name="start">First row of the batch.</param>
    /// <param name="weights">Weights.</param>
    /// <param name="scores">Receives the linear predictors, shape [b].</param>
    /// <param name="residuals">Receives the residuals, clipped and weighed, shape [b].</param>
    /// <param name="gradient">Receives the sum of gradients over the batch.</param>
    /// <returns>Sum of the losses.</returns>
    public double Run(LinearPart rows, GlmTargets targets, int start, ReadOnlySpan<double> weights, Span<double> scores, Span<double> residuals, Span<double> gradient)
    {
        (_targets, _start, _intercept) = (targets, start, rows.FreeIntercept ? weights[^1] : 0);
        rows.ScoresAndGradient(start, weights, scores, this, residuals, gradient);
        return Loss(scores.Length);
    }

    /// <summary>Runs the round but for its gradient, from own scores that are there.</summary>
    /// <param name="targets">What the party knows of its rows beside.</param>
    /// <param name="start">First row of the batch.</param>
    /// <param name="scores">Own scores, intercept included; receives the linear predictors, shape [b].</param>
    /// <param name="residuals">Receives the residuals, clipped and weighed, shape [b].</param>
    /// <returns>Sum of the losses.</returns>
    public double Residuals(GlmTargets targets, int start, Span<double> scores, Span<double> residuals)
    {
        (_targets, _start, _intercept) = (targets, start, 0);
        FeatureRows.Fill(this, scores, residuals);
        return Loss(scores.Length);
    }

    private double Loss(int rows)
    {
        Array.Clear(_received);
        double loss = 0;
        for (int first = 0; first < rows; first += IResidualBlocks.MostRows)
            loss += _losses[first / IResidualBlocks.MostRows];
        return loss;
    }

    /// <inheritdoc/>
    public void Fill(int first, Span<double> scores, Span<double> residuals)
    {
        int start = _start + first;
        Span<double> received = stackalloc double[scores.Length];
        received.Clear();
        foreach (ReadOnlyMemory<double> theirs in _received)
            TensorPrimitives.Add(received, theirs.Span.Slice(first, received.Length), received);          // sum z_i
        // Own scores come last: between two peers' huge numbers of opposite sign they would be rounded to nothing or to a step that no bound covers.
        work.BoundReceived(received);
        if (_intercept != 0)
            TensorPrimitives.Add(scores, _intercept, scores);
        _targets.AddOffsets(start, scores);
        TensorPrimitives.Add(scores, received, scores);                                                     // z = z_A + sum z_i
        VectorKernels.Clip(scores, work.Plan.ScoreClip);
        ref double loss = ref _losses[first / IResidualBlocks.MostRows];
        ReadOnlySpan<double> labels = _targets.Labels.AsSpan(start, scores.Length);
        if (work.Plan.Family is BinomialFamily && _targets.Weights is null)
        {
            loss = BinomialFamily.ResidualsAndLoss(scores, labels, residuals);                              // r = dl/dz
        }
        else
        {
            work.Plan.Family.Residuals(scores, labels, residuals);
            loss = _targets.LossSum(work.Plan.Family, start, scores);
        }

        work.ClipOwn(residuals);
        _targets.Weigh(start, scores.Length, residuals);
        if (_rounds)
            VectorKernels.RoundToSingle(residuals);                                                         // what the wire does: every party uses the same residuals
    }
}
