using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Evaluation;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Samples.Recommendation;

/// <summary>A line of a table: figures as means over seeds, and of the first seed what the parties state of their privacy.</summary>
internal sealed record Row(string Name, Figures Figures, DssmPrivacyOptions? Privacy = null, IReadOnlyList<(string Party, DssmPrivacyStatement Statement)>? Statements = null);

/// <summary>How well events are ranked.</summary>
/// <param name="Events">Events.</param>
/// <param name="Hr10Sampled">HR@10 against 99 drawn negatives.</param>
/// <param name="Hr10Full">HR@10 against all items.</param>
/// <param name="Auc">AUC against all items; of cold items against the other cold items.</param>
internal sealed record Figures(int Events, double Hr10Sampled, double Hr10Full, double Auc)
{
    public static Figures Of(RankingReport r) => new(r.Events, r.Sampled.Mean.Hr10 ?? double.NaN, r.Full.Mean.Hr10 ?? double.NaN, (r.AmongCold ?? r.Full).Mean.Auc ?? double.NaN);

    public static Figures Mean(IReadOnlyList<Figures> all) => new(all[0].Events, all.Average(f => f.Hr10Sampled), all.Average(f => f.Hr10Full), all.Average(f => f.Auc));
}

/// <summary>The streaming service, which has the items, the events and the histories, and the companies that it trains with. Each brings a table to a job; here all are in one process.</summary>
internal sealed class StreamingService(RatingSet ratings, Settings settings)
{
    public const string Name = "streaming", History = "history";

    private static readonly EvaluationOptions NoIntervals = new() { Resamples = 0 };

    private readonly RatingTables _tables = new(ratings);

    /// <summary>The companies' views, and the service's own.</summary>
    public static IReadOnlyList<string> Views { get; } = ["profile", "taste", "behaviour", History];

    /// <summary>Trains once a seed with some of the views, and ranks.</summary>
    public async Task<Row> RowAsync(string name, RatingSplit split, IReadOnlyList<string> views, Setup setup, DssmPrivacyOptions? privacy = null)
    {
        DssmPartyInput[] inputs =
        [
            new() { Party = Name, Items = _tables.Items(), Interactions = _tables.Interactions(split), View = views.Contains(History) ? _tables.History() : null, Evaluation = NoIntervals },
            .. views.Where(v => v != History).Select(v => new DssmPartyInput { Party = v, View = v switch { "profile" => _tables.Profile(), "taste" => _tables.Taste(), _ => _tables.Behaviour() } }),
        ];
        var figures = new List<Figures>();
        IReadOnlyList<DssmPartyResult>? first = null;
        for (int seed = 0; seed < settings.Seeds; seed++)
        {
            var job = new DssmJob
            {
                Name = ratings.Name,
                Model = setup.Model,
                Training = setup.Training with { Seed = seed },
                Privacy = privacy ?? new DssmPrivacyOptions(),
                LabelHasView = views.Contains(History),
                Parties = [.. inputs.Select((input, i) => new DssmPartyOptions { Party = new PartyDescription(input.Party, i == 0 ? PartyRole.Active : PartyRole.Passive) })],
            };
            IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, inputs, new LibTorchTowers());
            figures.Add(Figures.Of(Reported(results[0].Metrics!, split)));
            first ??= results;
            Console.Error.WriteLine($"{split}: {name}, seed {seed}: {results[0].Timing.Epochs} epochs, {results[0].Timing.Training:0.0} s, HR@10 (99) {figures[^1].Hr10Sampled:0.0000}, AUC {figures[^1].Auc:0.0000}");
        }

        return new(name, Figures.Mean(figures), privacy, [.. inputs.Zip(first!, (input, result) => (input.Party, result.Privacy))]);
    }

    /// <summary>Recommenders that need no company, on the same events.</summary>
    public IReadOnlyList<Row> Baselines(RatingSplit split)
    {
        ItemTable items = _tables.Items();
        InteractionTable interactions = _tables.Interactions(split);
        var evaluator = new DssmEvaluator(interactions, items);
        var baselines = new DssmBaselines(interactions, items.Ids.Count, [.. ratings.Ratings.Select(r => r.IsPositive)]);
        EventRole role = split switch { RatingSplit.ColdUsers => EventRole.ColdUser, RatingSplit.ColdItems => EventRole.ColdItem, _ => EventRole.Test };
        return
        [
            .. new[] { ("popularity", baselines.Popularity()), ("ItemKNN", baselines.ItemKnn()), ("iALS", baselines.ImplicitAls()) }
                .Select(b => new Row(b.Item1, Figures.Of(evaluator.Evaluate(role, b.Item2, NoIntervals)))),
        ];
    }

    private static RankingReport Reported(DssmMetrics metrics, RatingSplit split) =>
        (split switch { RatingSplit.ColdUsers => metrics.ColdUsers, RatingSplit.ColdItems => metrics.ColdItems, _ => metrics.Test })!;
}
