using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The loop over candidates and folds, wherever the parties of a run are.</summary>
internal static class GlmTuner
{
    public const string NotChosen = "no candidate was chosen and no model trained: the figures of a tuning are computed from private labels, and acting on them is covered by no claim. "
        + "Choose by what is public; or write the settings into the job yourself, knowing that the choice tells of the labels";

    public const string ScoresDisclosed = "in a cross-validation every training row is tested on once for each candidate, and passive parties disclosed its scores there: the cost of tuning covers the training messages only";

    /// <summary>Refuses a job that cannot be cross-validated.</summary>
    /// <param name="job">The job, without a fold.</param>
    /// <param name="options">Options.</param>
    /// <returns>The figure to compare candidates by.</returns>
    /// <exception cref="ConfigurationException">FL2410: the number of folds; FL2411: the figure is not known or not defined.</exception>
    /// <exception cref="PrivacyRefusedException">FL5118: the evaluation is charged.</exception>
    public static string Check(GlmJob job, GlmTuningOptions options)
    {
        GlmPlan.CheckFold(job with { Fold = new(options.Folds, 0) });
        if (job.Privacy is { Mode: not PrivacyMode.None, Evaluation: EvaluationDisclosure.None })
            throw new ConfigurationException(GlmErrors.MetricUndefined, "privacy.evaluation", "it is none, and without scores of the rows tested on there is no figure to compare candidates by.",
                "Write disclosed, whose claim leaves these scores out.");
        return TuningMetric.Of(job.Model.Family, options.Metric);
    }

    /// <summary>What a reader must know of a tuning of this job.</summary>
    public static IReadOnlyList<string> Warnings(GlmJob job)
    {
        if (job.Privacy.Mode == PrivacyMode.None)
            return [];
        bool records = job.Parties.Count > 1 && job.Privacy.Unit == PrivacyUnit.Record && job.Privacy.Mode != PrivacyMode.LabelDp;
        return records ? [NotChosen, ScoresDisclosed] : [NotChosen];
    }

    /// <summary>Trains every candidate on every fold, one after the other. One whose figure is undefined on a fold goes on with the others, which cost as much and tell something.</summary>
    /// <param name="candidates">Number of candidates.</param>
    /// <param name="folds">Number of folds.</param>
    /// <param name="metric">Name of the figure, for errors.</param>
    /// <param name="run">Trains a candidate without a fold; the figure on that fold, null where it is undefined.</param>
    /// <param name="progress">Told before each run; null for nobody.</param>
    /// <param name="keepsTable">Whether what ends all of it, an error that is not one candidate's own or a cancellation, ends the table, as that of every candidate from there on; null or false: it is thrown.</param>
    public static async Task<IReadOnlyList<GlmCandidateResult>> ScoreAsync(int candidates, int folds, string metric, Func<int, CrossValidationFold, Task<double?>> run,
        IProgress<GlmTuningProgress>? progress, Func<bool>? keepsTable = null)
    {
        var results = new List<GlmCandidateResult>();
        FedLearnException? end = null;
        bool interrupted = false;
        for (int candidate = 0; candidate < candidates; candidate++)
        {
            var scores = new List<double>();
            FedLearnException? error = end;
            for (int fold = 0; fold < folds && error is null && !interrupted; fold++)
                try
                {
                    progress?.Report(new(candidate, candidates, fold, folds));
                    double? score = await run(candidate, new(folds, fold)).ConfigureAwait(false);
                    scores.Add(score is { } number && double.IsFinite(number) ? number : double.NaN);
                }
                catch (FedLearnException e) when (IsOfCandidate(e.Id) || keepsTable?.Invoke() == true)
                {
                    error = e;
                    end = IsOfCandidate(e.Id) ? null : e;
                }
                catch (OperationCanceledException) when (keepsTable?.Invoke() == true)
                {
                    interrupted = true;
                }

            if (interrupted)
            {
                results.Add(new(scores, null) { IsInterrupted = true });
                continue;
            }

            int[] undefined = [.. Enumerable.Range(0, scores.Count).Where(fold => double.IsNaN(scores[fold]))];
            if (undefined.Length > 0)
                error ??= new ConfigurationException(GlmErrors.MetricUndefined, $"{(undefined.Length > 1 ? "folds" : "fold")} {string.Join(", ", undefined.Select(fold => fold + 1))} of {folds}",
                    $"{metric} is not defined on {(undefined.Length > 1 ? "their" : "its")} rows.", "Use fewer folds, or another metric.");
            results.Add(new(scores, error));
        }

        return results;
    }

    /// <summary>On how many folds a figure was undefined, as a sentence; null when it was defined on all.</summary>
    public static string? Undefined(IReadOnlyList<GlmCandidateResult> results, int folds, string metric)
    {
        int undefined = Enumerable.Range(0, folds).Count(fold => results.Any(r => fold < r.Scores.Count && double.IsNaN(r.Scores[fold])));
        return undefined == 0 ? null : $"{metric} was not defined on the rows of {undefined} of {folds} folds, and candidates that were tested there have no mean: use fewer folds, or another metric";
    }

    /// <summary>The best mean, the first of equal ones; null in private modes and when every candidate failed.</summary>
    public static int? Choose(GlmJob job, IReadOnlyList<GlmCandidateResult> results, string metric)
    {
        if (job.Privacy.Mode != PrivacyMode.None)
            return null;
        int sign = TuningMetric.LargerIsBetter(metric) ? 1 : -1, best = -1;
        for (int i = 0; i < results.Count; i++)
            if (results[i].Mean is { } mean && (best < 0 || sign * mean > sign * results[best].Mean!.Value))
                best = i;
        return best < 0 ? null : best;
    }

    /// <summary>Whether an error may be one candidate's own. What peers, ledgers and the tool itself say concerns all of them, and so does a fold without rows: all have the same folds.</summary>
    public static bool IsOfCandidate(string id) =>
        id[2] is '2' or '3' or '5' && id != GlmErrors.EmptyFold && !id.StartsWith("FL231", StringComparison.Ordinal) && !id.StartsWith("FL502", StringComparison.Ordinal) || id == GlmErrors.Diverged;
}
