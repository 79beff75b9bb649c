using FedLearn.Coordination;
using FedLearn.Evaluation;

namespace FedLearn.Glm;

/// <summary>One party's memory of the best weights and, at the active party, the rule of when to stop.</summary>
internal sealed class EarlyStop
{
    private readonly GlmEarlyStopping _rule;
    private double _best = double.PositiveInfinity, _mark = double.PositiveInfinity;
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
        // The best weights are the best by any amount; patience runs out where they improve too little.
        if (value < _mark - _rule.MinDelta)
            (_mark, _without) = (value, 0);
        else
            _without++;
        bool best = value < _best;
        if (best)
        {
            _best = value;
            Obey(StopVerdict.Best, weights);
        }

        return StopVerdicts.Of(best, ends: _without >= _rule.Patience);
    }

    /// <summary>Does what a verdict says.</summary>
    public StopVerdict Obey(StopVerdict verdict, double[] weights)
    {
        if (verdict.IsBest())
            _bestWeights = [.. weights];
        return verdict;
    }

    /// <summary>Adds what the rule remembers to a state.</summary>
    public void Keep(StateWriter state)
    {
        state.Add("stop", [_best, _mark, _without, Last is null ? 0 : 1, Last ?? 0]);
        if (_bestWeights is not null)
            state.Add("stop.weights", _bestWeights);
    }

    /// <summary>Remembers what was kept.</summary>
    /// <param name="state">The state.</param>
    /// <param name="weights">Number of weights.</param>
    public void GoOn(StateReader state, int weights)
    {
        double[] stop = state.Doubles("stop", 5);
        (_best, _mark, _without, Last) = (stop[0], stop[1], state.Whole(stop[2]), stop[3] == 0 ? null : stop[4]);
        _bestWeights = state.Has("stop.weights") ? state.Doubles("stop.weights", weights) : null;
    }

    /// <summary>Goes back to the best weights, in place; once training has ended, for whatever reason.</summary>
    public void Restore(double[] weights) => _bestWeights?.CopyTo(weights, 0);
}
