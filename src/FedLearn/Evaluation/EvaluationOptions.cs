namespace FedLearn.Evaluation;

/// <summary>How a model is evaluated.</summary>
public sealed record EvaluationOptions
{
    /// <summary>Probability above which a row of two classes is predicted positive; above 0, below 1. Default 0.5. More classes: the most
    /// probable one is predicted.</summary>
    public double Threshold { get; init; } = 0.5;

    /// <summary>Resamples of the rows for the intervals; 0: no intervals. Default 1000. Fewer are drawn when resamples times rows (times classes
    /// for more than two) would exceed 200 million, but not fewer than 200 for that reason; with fewer than 14 rows, where resamples times 14 would.</summary>
    public int Resamples { get; init; } = 1000;

    /// <summary>Share of the resamples an interval holds; above 0, below 1. Default 0.95.</summary>
    public double Level { get; init; } = 0.95;

    /// <summary>Seed of the resamples; default 0. The same seed, rows and options give the same intervals on every machine.</summary>
    public long Seed { get; init; }

    internal EvaluationOptions Checked()
    {
        if (!(Threshold > 0 && Threshold < 1))
            throw new ArgumentOutOfRangeException(nameof(Threshold), Threshold, "The threshold is above 0 and below 1.");
        if (!(Level > 0 && Level < 1))
            throw new ArgumentOutOfRangeException(nameof(Level), Level, "The level is above 0 and below 1.");
        ArgumentOutOfRangeException.ThrowIfNegative(Resamples);
        return this;
    }
}
