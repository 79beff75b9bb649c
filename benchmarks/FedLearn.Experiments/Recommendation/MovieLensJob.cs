using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Evaluation;

namespace FedLearn.Experiments.Recommendation;

/// <summary>MovieLens 100K between a streaming service (items, events, histories: view H) and companies that hold a profile (A), tastes (B) and behaviour (C).</summary>
internal sealed class MovieLensJob(string source, string views = "ABCH", RatingSplit split = RatingSplit.Last)
{
    private const string Label = "streaming";
    private static readonly (char View, string Party)[] Companies = [('A', "profile"), ('B', "taste"), ('C', "behaviour")];

    private readonly RatingTables _tables = new(MovieLens100K.Read(source));

    public DssmJob Job(DssmModelOptions model, DssmTrainingOptions training, DssmPrivacyOptions? privacy = null) => new()
    {
        Name = "movielens-100k",
        Model = model,
        Training = training,
        Privacy = privacy ?? new DssmPrivacyOptions(),
        LabelHasView = views.Contains('H', StringComparison.Ordinal),
        Parties = [new() { Party = new(Label, PartyRole.Active) }, .. Present().Select(c => new DssmPartyOptions { Party = new(c.Party, PartyRole.Passive) })],
    };

    public IReadOnlyList<DssmPartyInput> Inputs(EvaluationOptions? evaluation = null) =>
    [
        new DssmPartyInput
        {
            Party = Label,
            Items = _tables.Items(),
            Interactions = _tables.Interactions(split),
            View = views.Contains('H', StringComparison.Ordinal) ? _tables.History() : null,
            Evaluation = evaluation ?? new EvaluationOptions { Resamples = 0 },
        },
        .. Present().Select(c => new DssmPartyInput
        {
            Party = c.Party,
            View = c.View switch { 'A' => _tables.Profile(), 'B' => _tables.Taste(), _ => _tables.Behaviour() },
        }),
    ];

    private IEnumerable<(char View, string Party)> Present() => Companies.Where(c => views.Contains(c.View, StringComparison.Ordinal));
}
