namespace FedLearn.Evaluation;

/// <summary>The place of an event's item among its candidates.</summary>
/// <param name="User">Index of the user whose event it is; intervals resample users.</param>
/// <param name="Rank">1 + number of candidates with a greater score + half the number with the same; a score that is NaN is the same as any other.</param>
/// <param name="Negatives">Number of candidates beside the item itself.</param>
public readonly record struct TargetRank(int User, double Rank, int Negatives);

/// <summary>Figures of ranked events, 0 to 1. Null: there is no event, or for <see cref="Auc"/> none with a negative.</summary>
public sealed record RankingFigures
{
    /// <summary>Hit rate: share of the events whose rank is at most 10.</summary>
    public double? Hr10 { get; init; }

    /// <summary>Normalised discounted cumulative gain with one relevant item: mean of 1/log2(1 + rank), counted 0 where the rank is above 10.</summary>
    public double? Ndcg10 { get; init; }

    /// <summary>Mean reciprocal rank: mean of 1/rank.</summary>
    public double? Mrr { get; init; }

    /// <summary>Mean of 1 - (rank - 1)/negatives over the events that have a negative; ties count half.</summary>
    public double? Auc { get; init; }

    internal static RankingFigures From(ReadOnlySpan<double> figures) =>
        new() { Hr10 = Finite(figures[0]), Ndcg10 = Finite(figures[1]), Mrr = Finite(figures[2]), Auc = Finite(figures[3]) };

    private static double? Finite(double value) => double.IsFinite(value) ? value : null;
}

/// <summary>Figures of one way to choose candidates.</summary>
/// <param name="Mean">Every event counts once.</param>
/// <param name="UserMean">Every user counts once, with the mean of its events.</param>
/// <param name="Low">Lower ends of the intervals of <paramref name="Mean"/>; null when none were asked for.</param>
/// <param name="High">Upper ends.</param>
public sealed record RankingResult(RankingFigures Mean, RankingFigures UserMean, RankingFigures? Low, RankingFigures? High);

/// <summary>How well a model ranks the items of events.</summary>
/// <remarks>Figures against sampled negatives are no estimate of those against all items, and may order models otherwise (Krichene and Rendle 2020): choose models by the
/// full ranking.</remarks>
public sealed record RankingReport
{
    /// <summary>Number of events.</summary>
    public required int Events { get; init; }

    /// <summary>Number of users that have one.</summary>
    public required int Users { get; init; }

    /// <summary>Against the user's drawn negatives.</summary>
    public required RankingResult Sampled { get; init; }

    /// <summary>Against all items that the user never met.</summary>
    public required RankingResult Full { get; init; }

    /// <summary>Against the items that training never saw and the user never met; null unless the events are of such items.</summary>
    public RankingResult? AmongCold { get; init; }

    /// <summary>Share of the items that are in at least one of the events' lists of the ten best, 0 to 1. Such a list holds the event's item or items that the user
    /// never met; ties by place in the catalogue. Null without events.</summary>
    public double? Coverage10 { get; init; }

    /// <summary>Mean number of training events of a place in those lists. Null without events.</summary>
    public double? Popularity10 { get; init; }

    /// <summary>Ranks of the events, for paired comparisons. Private: they tell what users like.</summary>
    internal TargetRank[] FullRanks { get; init; } = [];

    /// <summary>Likewise against drawn negatives.</summary>
    internal TargetRank[] SampledRanks { get; init; } = [];

    /// <summary>All means over events by name, in the order of a report.</summary>
    public IReadOnlyList<KeyValuePair<string, double?>> Named() => [.. Values(Sampled.Mean, Full.Mean, AmongCold?.Mean), new("coverage10", Coverage10), new("popularity10", Popularity10)];

    /// <summary>Intervals by the same names; empty when none were asked for.</summary>
    public IReadOnlyList<KeyValuePair<string, (double? Low, double? High)>> NamedIntervals() => Sampled.Low is null ? [] :
        [.. Values(Sampled.Low, Full.Low!, AmongCold?.Low).Zip(Values(Sampled.High!, Full.High!, AmongCold?.High),
            (low, high) => new KeyValuePair<string, (double?, double?)>(low.Key, (low.Value, high.Value)))];

    private static IEnumerable<KeyValuePair<string, double?>> Values(RankingFigures sampled, RankingFigures full, RankingFigures? cold) =>
        Values(sampled, "Sampled").Concat(Values(full, "Full")).Concat(cold is null ? [] : Values(cold, "AmongCold"));

    private static KeyValuePair<string, double?>[] Values(RankingFigures figures, string kind) =>
        [new("hr10" + kind, figures.Hr10), new("ndcg10" + kind, figures.Ndcg10), new("mrr" + kind, figures.Mrr), new("auc" + kind, figures.Auc)];
}
