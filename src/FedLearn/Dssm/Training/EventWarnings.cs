using System.Security.Cryptography;
using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using static System.FormattableString;

namespace FedLearn.Dssm;

/// <summary>What a user should know of the active party's events before trusting the figures: for its own report.</summary>
internal static class EventWarnings
{
    // In a log that is split by time a few items are met first in the test. More than one of so many events means that the roles are not what they say.
    private const int UsualPart = 20;

    /// <summary>An evaluation whose events of the role train are others than those of the training.</summary>
    public const string OtherEvents = "the events of the role train are not those that the model was trained on: training may have seen users, items and events that are called test or cold here";

    /// <summary>Sentences about the samples of a job that trains, or measures a model that is there.</summary>
    public static IEnumerable<string> Of(DssmJob job, InteractionTable table, IReadOnlyList<SampleSet> sets, bool trains) => Said(job, OfEvents(job, table, sets, trains));

    /// <summary>Length of the lists that figures look at.</summary>
    private const int Longest = 10;

    /// <summary>Says where a catalogue is too small for the drawn negatives.</summary>
    public static IEnumerable<string> OfNegatives(DssmJob job, IEnumerable<RankingReport?> reports)
    {
        int[] negatives = [.. reports.OfType<RankingReport>().SelectMany(report => report.SampledRanks).Select(rank => rank.Negatives)];
        return negatives.Length == 0 || negatives.Max() >= DssmEvaluator.UsualNegatives ? []
            : Said(job, [Invariant($"figures against {DssmEvaluator.UsualNegatives} negatives are against at most {negatives.Max()}: no user has more items left that were never met{(negatives.Max() < Longest ? $", and HR@{Longest} is 1 whatever the model" : "")}")]);
    }

    // In a private job these sentences are marked, since they follow from events and no claim covers them.
    private static IEnumerable<string> Said(DssmJob job, IEnumerable<string> warnings) => job.Privacy.IsPrivate ? warnings.Select(warning => warning + CellsOutside.OutsideClaims) : warnings;

    private static IEnumerable<string> OfEvents(DssmJob job, InteractionTable table, IReadOnlyList<SampleSet> sets, bool trains)
    {
        if (trains && job.ValidationStop && sets[1].Events.Count == 0)
            yield return "no event has the role validation: training ran all of its epochs, and the model is that of the last one; training.validationStop false asks for that";
        if (trains && job.Privacy.IsPrivate && table.Events.Any(e => e.Role == EventRole.ColdItem))
            yield return "items of the role cold-item were drawn as negatives like all others: which items are cold follows from events, on which a private job's negatives must not depend";
        if (trains && !sets.Any(set => set.Role is EventRole.Test or EventRole.ColdUser or EventRole.ColdItem && set.Events.Count > 0))
            yield return "no event has the role test, cold-user or cold-item: nothing measures the model";
        if (table.Events.Count - table.Events.Select(e => (e.User, e.Item, e.Moment)).Distinct().Count() is > 0 and int again)
            yield return Invariant($"{again:N0} of the {table.Events.Count:N0} events {Counted.Noun(again, "stands", "stand")} in the file before, with the same user, item, time and sequence: each counts as an event of its own, in training and in figures");
        foreach (SampleSet set in sets.Where(set => set.Role == EventRole.Test && set.Events.Count > 0))
            foreach (string warning in OfTest(table, set.Events))
                yield return warning;
    }

    private static IEnumerable<string> OfTest(InteractionTable table, IReadOnlyList<Interaction> test)
    {
        List<Interaction> train = [.. table.Events.Where(e => e.Role == EventRole.Train)];
        var pairs = train.Select(e => (e.User, e.Item)).ToHashSet();
        int known = test.Count(e => pairs.Contains((e.User, e.Item)));
        if (known > 0)
            yield return Invariant($"{known:N0} of the {test.Count:N0} test events have the user and the item of a training event: their figures say what was learned by heart");
        var users = train.Select(e => e.User).ToHashSet();
        var items = train.Select(e => e.Item).ToHashSet();
        foreach ((string what, string role, int unknown) in new[] { ("a user", "cold-user", test.Count(e => !users.Contains(e.User))), ("an item", "cold-item", test.Count(e => !items.Contains(e.Item))) })
            if ((long)unknown * UsualPart > test.Count)
                yield return Invariant($"{unknown:N0} of the {test.Count:N0} test events have {what} without a training event: the role {role} is for those");
    }
}

/// <summary>The training events of a table as a digest.</summary>
internal static class EventDigest
{
    /// <summary>SHA-256, hex, of the ids of users and items of the training events, in no order.</summary>
    public static string Of(InteractionTable table, ItemTable items)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string pair in table.Events.Where(e => e.Role == EventRole.Train).Select(e => $"{table.Users[e.User].Length}:{table.Users[e.User]}{items.Ids[e.Item]}").Order(StringComparer.Ordinal))
            hash.AppendData(Encoding.UTF8.GetBytes($"{pair.Length}:{pair}"));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
