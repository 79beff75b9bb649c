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

    /// <summary>Training ends, and these weights are the best.</summary>
    StopHere = 3,
}

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

        return _without >= _rule.Patience ? best ? StopVerdict.StopHere : StopVerdict.Stop : best ? StopVerdict.Best : StopVerdict.GoOn;
    }

    /// <summary>Does what a verdict says.</summary>
    public StopVerdict Obey(StopVerdict verdict, double[] weights)
    {
        if (verdict is StopVerdict.Best or StopVerdict.StopHere)
            _bestWeights = [.. weights];
        return verdict;
    }

    /// <summary>Adds what the rule remembers to a state.</summary>
    public void Keep(Coordination.StateWriter state)
    {
        state.Add("stop", [_best, _mark, _without, Last is null ? 0 : 1, Last ?? 0]);
        if (_bestWeights is not null)
            state.Add("stop.weights", _bestWeights);
    }

    /// <summary>Remembers what was kept.</summary>
    /// <param name="state">The state.</param>
    /// <param name="weights">Number of weights.</param>
    public void GoOn(Coordination.StateReader state, int weights)
    {
        double[] stop = state.Doubles("stop", 5);
        (_best, _mark, _without, Last) = (stop[0], stop[1], state.Whole(stop[2]), stop[3] == 0 ? null : stop[4]);
        _bestWeights = state.Has("stop.weights") ? state.Doubles("stop.weights", weights) : null;
    }

    /// <summary>Goes back to the best weights, in place; once training has ended, for whatever reason.</summary>
    public void Restore(double[] weights) => _bestWeights?.CopyTo(weights, 0);
}
