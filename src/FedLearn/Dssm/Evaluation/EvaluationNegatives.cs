using System.Globalization;
using System.Text;
using FedLearn.Numerics;

namespace FedLearn.Dssm;

/// <summary>The negatives that events are ranked against: the same for every model, and drawn without regard to data beyond what the user met.</summary>
/// <remarks>Item i is on user u's list when SplitMix64(u 100003 + i mod 2^64) is among the smallest of the items that u never met; u and i are the ids themselves where
/// they are whole numbers written plainly (digits, no sign, no leading zero, below 2^64), otherwise FNV-1a-64 of their UTF-8 bytes. Equal keys go by place in the
/// catalogue.</remarks>
internal static class EvaluationNegatives
{
    private const ulong UserFactor = 100_003;

    /// <summary>Number that stands for an id.</summary>
    /// <param name="id">The id.</param>
    public static ulong NumberOf(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        if (id.Length > 0 && (id[0] != '0' || id.Length == 1) && ulong.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out ulong number))
            return number;
        return DssmHash.Fnv1a(Encoding.UTF8.GetBytes(id));
    }

    /// <summary>SplitMix64 (Steele, Lea and Flood 2014): the first output from this state.</summary>
    internal static ulong Mix(ulong state) => SplitMix64.Mix(unchecked(state + SplitMix64.Golden));

    /// <summary>The list of one user, in the order of its keys; shorter than asked for where the user met nearly everything. The items that the user met are rising indices.</summary>
    internal static int[] Of(ulong user, ReadOnlySpan<ulong> items, ReadOnlySpan<int> met, int count)
    {
        int unmet = items.Length - met.Length;
        count = Math.Min(count, unmet);
        if (count == 0)
            return [];

        // Twice the expected cut leaves enough keys nearly always, and few to sort.
        double cut = 2.0 * (count + 8) / unmet;
        List<(ulong Key, int Item)> kept = Below(cut < 1 ? (ulong)(cut * ulong.MaxValue) : ulong.MaxValue, user, items, met);
        if (kept.Count < count)
            kept = Below(ulong.MaxValue, user, items, met);
        kept.Sort();
        return [.. kept.Take(count).Select(key => key.Item)];
    }

    private static List<(ulong Key, int Item)> Below(ulong most, ulong user, ReadOnlySpan<ulong> items, ReadOnlySpan<int> met)
    {
        var kept = new List<(ulong, int)>();
        ulong first = unchecked(user * UserFactor);
        int next = 0;
        for (int i = 0; i < items.Length; i++)
        {
            if (next < met.Length && met[next] == i)
            {
                next++;
                continue;
            }

            ulong key = Mix(unchecked(first + items[i]));
            if (key <= most)
                kept.Add((key, i));
        }

        return kept;
    }
}
