using System.Text;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Data;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Alignment.Tests.Outcome;

/// <summary>Random ids of two or more parties, and their plain intersection.</summary>
internal static class Sets
{
    // Characters that have more than one form, that lie beyond the basic plane, that sort oddly, and white space within.
    private static readonly string[] Letters = ["a", "Z", "0", "é", "e\u0301", "\u1E9B\u0323", "ß", "ﬃ", "한", "\u1112\u1161\u11AB", "𝒳", "😀", "Å", "\u212B", "\u200D", "-", " ", "א", "\u0130", "i"];

    private static readonly string[] Ends = ["", "", "", " ", "\t", "\u00A0", "  \u3000"];

    /// <summary>An id of some columns; every call may write equal ids in another form.</summary>
    private static string Write(Random random, int number, int columns)
    {
        var drawn = new Random(number);
        string[] parts = [.. Enumerable.Range(0, columns).Select(_ => string.Concat(Enumerable.Range(0, drawn.Next(0, 5)).Select(_ => Letters[drawn.Next(Letters.Length)])))];
        // The number makes ids differ whatever the letters are.
        parts[drawn.Next(columns)] += $"#{number}";
        for (int i = 0; i < parts.Length; i++)
        {
            parts[i] = random.Next(3) switch
            {
                0 => parts[i].Normalize(NormalizationForm.FormC),
                1 => parts[i].Normalize(NormalizationForm.FormD),
                _ => parts[i],
            };
            parts[i] = Ends[random.Next(Ends.Length)] + parts[i] + Ends[random.Next(Ends.Length)];
        }

        return string.Join(ReferencePsi.Separator, parts);
    }

    /// <summary>Ids of so many parties from one universe.</summary>
    public static string[][] Draw(int seed, int parties, int most, int columns, int universe)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, parties).Select(_ =>
        {
            int[] numbers = [.. Enumerable.Range(0, universe)];
            random.Shuffle(numbers);
            return numbers[..random.Next(0, Math.Min(most, universe) + 1)].Select(number => Write(random, number, columns)).ToArray();
        })];
    }

    /// <summary>So many ids a party, of which the first are common to all.</summary>
    public static string[][] Of(int seed, int common, params int[] sizes)
    {
        var random = new Random(seed);
        return [.. sizes.Select((size, party) =>
        {
            string[] ids = [.. Enumerable.Range(0, size).Select(i => i < common ? $"person {i}" : $"person {i} of {party}")];
            random.Shuffle(ids);
            return ids;
        })];
    }

    /// <summary>An id as it is compared.</summary>
    public static string Key(string id) => string.Join(ReferencePsi.Separator, id.Split(ReferencePsi.Separator).Select(RowIds.Normalize));

    /// <summary>Rows of the first whose ids all others have too, rising; of equal ids the first row.</summary>
    public static int[] Common(string[] own, params string[][] others)
    {
        HashSet<string>[] there = [.. others.Select(ids => ids.Select(Key).ToHashSet())];
        var seen = new HashSet<string>();
        return [.. Enumerable.Range(0, own.Length).Where(row => seen.Add(Key(own[row])) && there.All(ids => ids.Contains(Key(own[row]))))];
    }

    public static Gen<int> Seeds { get; } = Gen.Choose(0, int.MaxValue - 1);
}
