using FedLearn.Dssm;
using FedLearn.Evaluation;

namespace FedLearn.Cli.Running;

/// <summary>Figures of recommenders without towers on the events that a model was measured on. The active party finds them from its own events; nothing is sent.</summary>
internal static class DssmBaselineFigures
{
    /// <summary>The figures by recommender; empty where the party or the job measures nothing.</summary>
    /// <param name="input">What the active party brings.</param>
    /// <param name="metrics">The model's figures.</param>
    /// <param name="seed">The job's seed.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static IReadOnlyList<(string Name, DssmMetrics Figures)> Of(DssmPartyInput input, DssmMetrics? metrics, long seed, CancellationToken cancellationToken)
    {
        if (input.Interactions is not { } interactions || input.Items is not { } items || metrics is null || (metrics.Test ?? metrics.ColdUsers ?? metrics.ColdItems) is null)
            return [];
        var baselines = new DssmBaselines(interactions, items.Ids.Count);
        var evaluator = new DssmEvaluator(interactions, items);
        EvaluationOptions options = new() { Resamples = 0, Seed = seed };
        RankingReport? Measure(RankingReport? model, EventRole role, DssmScores scores) => model is null ? null : evaluator.Evaluate(role, (events, row) =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            scores(events, row);
        }, options);
        return
        [
            .. new (string Name, DssmScores Scores)[] { ("popularity", baselines.Popularity()), ("itemKnn", baselines.ItemKnn(cancellationToken: cancellationToken)), ("ials", baselines.ImplicitAls(seed: seed, cancellationToken: cancellationToken)) }
                .Select(b => (b.Name, new DssmMetrics
                {
                    Test = Measure(metrics.Test, EventRole.Test, b.Scores),
                    ColdUsers = Measure(metrics.ColdUsers, EventRole.ColdUser, b.Scores),
                    ColdItems = Measure(metrics.ColdItems, EventRole.ColdItem, b.Scores),
                })),
        ];
    }
}
