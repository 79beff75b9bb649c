using FedLearn.Evaluation;

namespace FedLearn.Glm;

/// <summary>What the active party says after an epoch or iteration of a job with early stopping; the numbers travel.</summary>
internal enum StopVerdict
{
    /// <summary>Training ends, and every party goes back to the best weights.</summary>
    Stop = 0,

    /// <summary>The best so far: every party keeps a copy.</summary>
    Best = 1,

    /// <summary>No better than before.</summary>
    GoOn = 2,
}

/// <summary>One party's memory of the best weights and, at the active party, the rule of when to stop.</summary>
internal sealed class EarlyStop
{
    private readonly GlmEarlyStopping _rule;
    private double _best = double.PositiveInfinity;
    private double[]? _bestWeights;
    private int _without;

    private EarlyStop(GlmEarlyStopping rule) => _rule = rule;

    /// <summary>The figure last watched, as reported; null where rows are not held out.</summary>
    public double? Last { get; private set; }

    public static EarlyStop? Of(GlmPlan plan) => plan.Job.Training.EarlyStopping is { } rule ? new(rule) : null;

    /// <summary>The figure of held-out rows, smaller being better.</summary>
    public double Value(IGlmFamily family, double[] scores, double[] labels)
    {
        if (_rule.Metric == EarlyStoppingMetric.Auc)
        {
            Last = Metrics.Auc(scores, labels) ?? 0.5;
            return -Last.Value;
        }

        Last = family.DevianceSum(scores, labels) / labels.Length;
        return Last.Value;
    }

    /// <summary>Judges a figure, smaller being better, and keeps the weights of the best.</summary>
    public StopVerdict Judge(double value, double[] weights)
    {
        if (value < _best - _rule.MinDelta)
        {
            (_best, _without) = (value, 0);
            return Obey(StopVerdict.Best, weights);
        }

        return ++_without >= _rule.Patience ? StopVerdict.Stop : StopVerdict.GoOn;
    }

    /// <summary>Does what a verdict says.</summary>
    public StopVerdict Obey(StopVerdict verdict, double[] weights)
    {
        if (verdict == StopVerdict.Best)
            _bestWeights = [.. weights];
        return verdict;
    }

    /// <summary>Goes back to the best weights, in place; once training has ended, for whatever reason.</summary>
    public void Restore(double[] weights) => _bestWeights?.CopyTo(weights, 0);
}
