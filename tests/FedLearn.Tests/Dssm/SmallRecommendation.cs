using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Privacy;

namespace FedLearn.Tests.Dssm;

/// <summary>A small recommendation job with three views, made from a seed: users with a taste, items with content, events over time.</summary>
internal static class SmallRecommendation
{
    public const int Users = 24, Items = 17, EventsOfUser = 9;

    public static DssmJob Job(DssmModelOptions? model = null, DssmTrainingOptions? training = null, DssmPrivacyOptions? privacy = null, bool labelHasView = true) => new()
    {
        Name = "small",
        Model = (model ?? new DssmModelOptions { Precision = TowerPrecision.Float64 }) with { Layers = [6, 4] },
        Training = training ?? new DssmTrainingOptions { Epochs = 2, BatchSize = 16, Seed = 5 },
        Privacy = privacy ?? new DssmPrivacyOptions(),
        LabelHasView = labelHasView,
        Parties =
        [
            new() { Party = new("shop", PartyRole.Active) },
            new() { Party = new("profile", PartyRole.Passive) },
            new() { Party = new("taste", PartyRole.Passive) },
        ],
    };

    public static IReadOnlyList<DssmPartyInput> Inputs(bool labelHasView = true, Func<string, IPrivacyLedger?>? ledger = null)
    {
        var random = new Random(11); // data of a test, of which nothing but the shape matters
        string[] users = [.. Enumerable.Range(0, Users).Select(u => $"user-{u}")];
        double[] content = [.. Enumerable.Range(0, Items * 5).Select(_ => random.NextDouble())];
        var items = new ItemTable([.. Enumerable.Range(0, Items).Select(i => $"item-{i}")], new TowerRows(new TowerInputs(5, []), Items, content, []));
        var events = new List<Interaction>();
        for (int u = 0; u < Users; u++)
        {
            int[] order = [.. Enumerable.Range(0, Items)];
            random.Shuffle(order);
            for (int e = 0; e < EventsOfUser; e++)
                events.Add(new Interaction(u, order[e], new Moment(1_000_000 + 40_000 * e, e), e == EventsOfUser - 1 ? EventRole.Test : e == EventsOfUser - 2 ? EventRole.Validation
                    : e == 0 ? EventRole.Seen : EventRole.Train));
        }

        DssmPartyInput shop = new()
        {
            Party = "shop",
            Items = items,
            Interactions = new InteractionTable(users, events),
            View = labelHasView ? Histories(users, events) : null,
            Ledger = ledger?.Invoke("shop"),
        };
        // The profile knows users in another order, and one that the shop does not; it lacks the last one.
        string[] known = ["stranger", .. users.Reverse().Skip(1)];
        double[] profile = [.. Enumerable.Range(0, known.Length * 3).Select(_ => random.NextDouble())];
        DssmPartyInput view = new()
        {
            Party = "profile",
            View = new ViewTable(known, [.. Enumerable.Range(0, known.Length)], null, new TowerRows(new TowerInputs(3, []), known.Length, profile, [])),
            Ledger = ledger?.Invoke("profile"),
        };
        double[] taste = [.. Enumerable.Range(0, events.Count * 2).Select(_ => random.NextDouble())];
        DssmPartyInput moments = new()
        {
            Party = "taste",
            View = new ViewTable(users, [.. events.Select(e => e.User)], [.. events.Select(e => e.Moment)], new TowerRows(new TowerInputs(2, []), events.Count, taste, [])),
            Ledger = ledger?.Invoke("taste"),
        };
        return [shop, view, moments];
    }

    private static ViewTable Histories(string[] users, List<Interaction> events)
    {
        var offsets = new List<int> { 0 };
        var ids = new List<int>();
        foreach (Interaction e in events)
        {
            ids.AddRange(events.Where(other => other.User == e.User && other.Moment < e.Moment).Select(other => other.Item));
            offsets.Add(ids.Count);
        }

        return new ViewTable(users, [.. events.Select(e => e.User)], [.. events.Select(e => e.Moment)],
            new TowerRows(new TowerInputs(0, [new BagField("history", Items, BagPooling.Mean)]), events.Count, [], [new BagRows([.. offsets], [.. ids])]));
    }
}
