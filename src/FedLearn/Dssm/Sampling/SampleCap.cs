using FedLearn.Numerics;

namespace FedLearn.Dssm;

/// <summary>Keeps at most M training samples of a user, so that a claim for users can count on M rows. The choice does not depend on items, features or on other samples'
/// content: samples of a user are ordered by a hash of seed, user and moment, and the first M stay.</summary>
internal static class SampleCap
{
    /// <summary>Which samples stay.</summary>
    /// <param name="users">Ids of the users.</param>
    /// <param name="samples">User, an index of <paramref name="users"/>, and moment of each sample.</param>
    /// <param name="cap">Largest number M of samples a user; at least 1.</param>
    /// <param name="seed">Seed of the job. Not secret.</param>
    /// <returns>One answer a sample, in their order. Samples of one user with equal hashes keep their order.</returns>
    public static bool[] Keep(IReadOnlyList<string> users, IReadOnlyList<(int User, Moment Moment)> samples, int cap, long seed)
    {
        ArgumentNullException.ThrowIfNull(users);
        ArgumentNullException.ThrowIfNull(samples);
        ArgumentOutOfRangeException.ThrowIfLessThan(cap, 1);
        int[] order = [.. Enumerable.Range(0, samples.Count).OrderBy(i => samples[i].User).ThenBy(Key)];
        bool[] keep = new bool[order.Length];
        for (int i = 0, rank = 0; i < order.Length; i++)
        {
            rank = i > 0 && samples[order[i]].User == samples[order[i - 1]].User ? rank + 1 : 0;
            keep[order[i]] = rank < cap;
        }

        return keep;

        ulong Key(int i)
        {
            (int user, Moment moment) = samples[i];
            return SplitMix64.Mix(PublicRandom.Key(PublicRandom.Purpose.Cap, seed, moment.Time, moment.Sequence) ^ SplitMix64.Mix(DssmHash.Fnv1aOfChars(users[user])));
        }
    }
}
