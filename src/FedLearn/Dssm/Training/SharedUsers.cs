using FedLearn.Parties;

namespace FedLearn.Dssm;

/// <summary>The users that a party of a session shares with others, and what finding them told.</summary>
/// <param name="Own">Users that the party knows: those of its events at the active party, those of its view elsewhere. Its own affair: no other party is told by it.</param>
/// <param name="Common">Of these the users that the active party has too; at the active party, those that every view of another party has.</param>
/// <param name="Leaks">What finding them disclosed, as sentences.</param>
/// <param name="Warnings">What a user should know of that, as sentences.</param>
public sealed record SharedUsers(int Own, int Common, IReadOnlyList<string> Leaks, IReadOnlyList<string> Warnings)
{
    /// <summary>Those of a view. Where the active party asked for some users, of its choice, a small overlap says nothing about ids.</summary>
    internal static SharedUsers Of(DssmPartyInput input, ViewSamples samples, bool some = false)
    {
        int own = input.View!.Users.Count, common = samples.CommonUsers.Length;
        return new(own, common, samples.Aligned.Leaks, [.. samples.Aligned.Warnings, .. some ? [] : SmallOverlap.Warnings(input.Party, own, common)]);
    }

    /// <summary>Those of the active party, with a warning for each view that has a row for none of the samples of the first sets; the warning calls these samples events.</summary>
    internal static SharedUsers Of(DssmPartyInput input, IReadOnlyList<ViewPeer> peers, string events, int sets)
    {
        int own = input.Interactions!.Users.Count, common = peers.Aggregate(Enumerable.Range(0, own), (users, peer) => users.Intersect(peer.Users)).Count();
        IEnumerable<string> useless = peers.Where(peer => peer.Present.Take(sets).SelectMany(there => there).ToArray() is { Length: > 0 } there && !there.Contains(true)).Select(peer =>
            $"'{peer.Name}' has a row for none of the {events}, and its view changes nothing: ids may be written in another way there, or all of its rows be later than the events");
        return new(own, common, [.. peers.SelectMany(peer => peer.Aligned.Leaks).Distinct()], [.. peers.SelectMany(peer => peer.Aligned.Warnings).Distinct(), .. SmallOverlap.Warnings(input.Party, own, common), .. useless]);
    }
}
