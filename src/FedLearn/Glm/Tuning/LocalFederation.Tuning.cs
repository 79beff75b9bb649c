using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

public static partial class LocalFederation
{
    /// <summary>Compares jobs by k-fold cross-validation over their training rows; the job's own test rows stay unused.</summary>
    /// <param name="candidates">Jobs of the same parties, budgets, split, seed, family and mode that differ in their settings; at least one.</param>
    /// <param name="inputs">What each party brings; one a party of the jobs. Each run has an id of its own, whatever the inputs say. A party of a private mode
    /// that brings no ledger gets one in memory for the whole tuning.</param>
    /// <param name="options">Folds and metric; null for the defaults.</param>
    /// <param name="channels">Settings of the channels; null for the defaults.</param>
    /// <param name="progress">Told before each run; null for nobody.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>Scores, choice and cost. A candidate that is refused or fails is a row with its error, and the others go on.</returns>
    /// <exception cref="ConfigurationException">FL2410: candidates or folds make no cross-validation; FL2411: the metric is unknown or none of the family's.</exception>
    /// <exception cref="PrivacyRefusedException">FL5020: all runs together are over a party's budget, before any is begun; FL5118: the evaluation is charged.</exception>
    /// <exception cref="FedLearnException">A run failed for a reason that is not the candidate's own.</exception>
    public static async Task<GlmTuning> TuneAsync(IReadOnlyList<GlmJob> candidates, IReadOnlyList<GlmPartyInput> inputs, GlmTuningOptions? options = null,
        ChannelOptions? channels = null, IProgress<GlmTuningProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(candidates);
        ArgumentNullException.ThrowIfNull(inputs);
        foreach (GlmJob candidate in candidates)
            GlmPlan.CheckGiven(candidate);
        options ??= new GlmTuningOptions();
        if (candidates.Count == 0 || candidates.Any(job => !IsComparable(job, candidates[0])))
            throw new ConfigurationException(GlmErrors.InvalidTuning, "candidates", "there is none, or they differ in what has to be equal.",
                "Give jobs of the same parties, budgets, split, seed, family and privacy mode.");
        GlmJob first = candidates[0];
        string metric = GlmTuner.Check(first, options);
        bool isPrivate = first.Privacy.Mode != PrivacyMode.None;
        (GlmPartyInput Input, List<string> Runs)[] parties = [.. InOrder(first, inputs, i => i.Party).Select(i => (i with
        {
            Ledger = i.Ledger ?? (isPrivate ? new InMemoryLedger() : null),
            Evaluation = i.Evaluation with { Resamples = 0 },
        }, new List<string>()))];
        if (isPrivate)
            PlanRuns(candidates, [.. parties.Select(p => p.Input)], options.Folds);

        var notes = new List<string>();
        async Task<double?> RunAsync(int candidate, CrossValidationFold fold)
        {
            var own = new List<GlmPartyInput>();
            foreach ((GlmPartyInput input, List<string> runs) in parties)
            {
                runs.Add(PrivacyCharge.NewRunId());
                own.Add(input with { RunId = runs[^1] });
            }

            IReadOnlyList<GlmPartyResult> results = await TrainAsync(candidates[candidate] with { Fold = fold, Inference = false }, own, channels, null, cancellationToken).ConfigureAwait(false);
            notes.AddRange(results.SelectMany(result => result.FoldNotes).Except(notes));
            return results[0].Test?.Named().First(m => m.Key == metric).Value;
        }

        IReadOnlyList<GlmCandidateResult> scores = await GlmTuner.ScoreAsync(candidates.Count, options.Folds, metric, RunAsync, progress).ConfigureAwait(false);
        return new GlmTuning
        {
            Folds = options.Folds,
            Metric = metric,
            Candidates = scores,
            Chosen = GlmTuner.Choose(first, scores, metric),
            Costs = isPrivate ? [.. parties.Select(p => GlmTuningCost.Of(p.Input.Ledger!, p.Input.Party, p.Runs, DeltaOf(first, p.Input.Party)))] : [],
            Warnings = [.. GlmTuner.Warnings(first), .. notes, .. GlmTuner.Undefined(scores, options.Folds, metric) is { } undefined ? [undefined] : Array.Empty<string>()],
        };
    }

    /// <summary>Refuses what the ledgers do not allow in all. Candidates cost the same, so that the first one that is not refused tells.</summary>
    private static void PlanRuns(IReadOnlyList<GlmJob> candidates, IReadOnlyList<GlmPartyInput> inputs, int folds)
    {
        foreach (GlmJob job in candidates)
            try
            {
                foreach (GlmTrainer trainer in Trainers(job, inputs))
                    trainer.PlanRuns(candidates.Count * folds);
                return;
            }
            catch (FedLearnException e) when (GlmTuner.IsOfCandidate(e.Id))
            {
                // It becomes a row of the table.
            }
    }

    private static double DeltaOf(GlmJob job, string party) => (job.Parties.First(p => p.Party.Name == party).Budget ?? job.Privacy.Budget)?.Delta ?? 0;

    private static bool IsComparable(GlmJob job, GlmJob first) => job.Fold is null && SameSplit(job.Split, first.Split) && job.Training.Seed == first.Training.Seed
        && job.Model.Family.Name == first.Model.Family.Name && job.Parties.SequenceEqual(first.Parties)
        && job.Privacy == first.Privacy with { OneRound = job.Privacy.OneRound };

    private static bool SameSplit(SplitRule one, SplitRule other) => one == other
        || (one is SplitRule.ByHash a && other is SplitRule.ByHash b && a.Modulus == b.Modulus && a.Test.Order().SequenceEqual(b.Test.Order()));
}
