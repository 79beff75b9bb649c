using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>How candidates are compared.</summary>
public sealed record GlmTuningOptions
{
    /// <summary>Number of folds k: every candidate is trained k times.</summary>
    /// <value>2 to <see cref="CrossValidationFold.MostFolds"/>. Default 5.</value>
    public int Folds { get; init; } = 5;

    /// <summary>Figure on the rows tested on, under its name in reports (<see cref="Evaluation.MetricSet.Named"/>). Smaller is better for logLoss, brier,
    /// rmse, mae and deviance, larger for the others.</summary>
    /// <value>Null, the default: auc for binomial, logLoss for multinomial, deviance for other families.</value>
    public string? Metric { get; init; }
}

/// <summary>Where a tuning is: about to train one candidate without one fold.</summary>
/// <param name="Candidate">Index of the candidate, from 0.</param>
/// <param name="Candidates">Number of candidates.</param>
/// <param name="Fold">Index of the fold, from 0.</param>
/// <param name="Folds">Number of folds.</param>
public sealed record GlmTuningProgress(int Candidate, int Candidates, int Fold, int Folds);

/// <summary>What became of one candidate.</summary>
/// <param name="Scores">The figure on each fold, in their order; NaN where it is not defined on the fold's rows; fewer than folds where an error ended the candidate.</param>
/// <param name="Error">Why the candidate has no mean (FL2411: its figure is not defined on every fold); null for one that has a figure on every fold.</param>
public sealed record GlmCandidateResult(IReadOnlyList<double> Scores, FedLearnException? Error)
{
    /// <summary>Mean of the scores; null for a candidate that failed.</summary>
    public double? Mean => Error is null && !IsInterrupted ? Scores.Average() : null;

    /// <summary>Whether the tuning was stopped before the candidate was tested on every fold. <see cref="LocalFederation.TuneAsync"/> throws then; the tool keeps its table.</summary>
    internal bool IsInterrupted { get; init; }

    /// <summary>Standard deviation of the scores over the folds, with divisor k - 1; null for a candidate that failed.</summary>
    public double? Deviation => Mean is { } mean ? Math.Sqrt(Scores.Sum(s => (s - mean) * (s - mean)) / (Scores.Count - 1)) : null;
}

/// <summary>What all runs of a tuning together cost one party's rows.</summary>
/// <param name="Party">The party.</param>
/// <param name="Runs">Runs that its ledger has a charge above 0 of. Labels that are released once cost in the first alone.</param>
/// <param name="Total">The sum of these charges, for replacing a row or its label.</param>
/// <param name="Delta">Delta of the party's budget.</param>
/// <param name="Epsilon">Privacy loss of all runs together at that delta, in nats; null where test noise protected nothing.</param>
public sealed record GlmTuningCost(string Party, int Runs, PrivacyTotal Total, double Delta, double? Epsilon)
{
    /// <summary>Adds up what a ledger charged for runs.</summary>
    /// <param name="ledger">The party's ledger.</param>
    /// <param name="party">The party.</param>
    /// <param name="runs">Ids of the runs.</param>
    /// <param name="delta">Delta of the party's budget.</param>
    internal static GlmTuningCost Of(IPrivacyLedger ledger, string party, IReadOnlyCollection<string> runs, double delta)
    {
        var ids = runs.ToHashSet();
        LedgerEntry[] entries = [.. ledger.Entries.Where(e => e.Charge.Party == party && ids.Contains(e.Charge.RunId))];
        PrivacyTotal total = entries.Aggregate(PrivacyTotal.Zero, (sum, e) => sum + new PrivacyTotal(e.PureEpsilon, e.MuSquared));
        int charged = entries.Where(e => e.PureEpsilon > 0 || e.MuSquared > 0).DistinctBy(e => e.Charge.RunId).Count();
        return new(party, charged, total, delta, entries.Any(e => e.Charge.TestNoise) ? null : total.Epsilon(delta));
    }
}

/// <summary>Candidates compared by k-fold cross-validation.</summary>
public sealed record GlmTuning
{
    /// <summary>Number of folds.</summary>
    public required int Folds { get; init; }

    /// <summary>The figure they were compared by, under its name in reports.</summary>
    public required string Metric { get; init; }

    /// <summary>What became of each candidate, in the order given.</summary>
    public required IReadOnlyList<GlmCandidateResult> Candidates { get; init; }

    /// <summary>Index of the candidate of the best mean, the first of equal ones. Null when none has a figure on every fold, and in private modes, where
    /// acting on figures computed from private labels is covered by no claim (A7).</summary>
    public required int? Chosen { get; init; }

    /// <summary>What the runs together cost each party, the active one first; empty in mode none.</summary>
    public required IReadOnlyList<GlmTuningCost> Costs { get; init; }

    /// <summary>What the reader of the table must know, as sentences.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }
}
