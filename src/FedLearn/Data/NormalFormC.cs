using System.Globalization;
using System.Text;

namespace FedLearn.Data;

/// <summary>Unicode normal form C (UAX #15). string.Normalize does nothing where InvariantGlobalization is on, and elsewhere depends on the machine's
/// ICU; parties must agree on it to the byte, so the tables are our own (Unicode 14; the standard never changes the form of a character that it has).</summary>
internal static class NormalFormC
{
    private const int HangulFirst = 0xAC00, LeadFirst = 0x1100, VowelFirst = 0x1161, TrailFirst = 0x11A7;
    private const int Leads = 19, Vowels = 21, Trails = 28, HangulCount = Leads * Vowels * Trails;

    private static readonly Lazy<Tables> Data = new(Tables.Read);

    /// <summary>The text in normal form C.</summary>
    /// <exception cref="ArgumentException">The text has half a surrogate pair.</exception>
    internal static string Of(string text)
    {
        // The first character that composes or reorders is U+0300. ASCII is asked for by itself, since the precompiled code of the second question in .NET 10 allocates four objects a call.
        if (Ascii.IsValid(text) || !text.AsSpan().ContainsAnyExceptInRange('\0', '\u02FF'))
            return text;
        var codes = new List<int>(text.Length + 8);
        for (int i = 0; i < text.Length; i += char.IsSurrogatePair(text, i) ? 2 : 1)
        {
            if (char.IsSurrogate(text[i]) && !char.IsSurrogatePair(text, i))
                throw new ArgumentException("The text has half a surrogate pair.", nameof(text));
            Decompose(char.ConvertToUtf32(text, i), codes);
        }

        Reorder(codes);
        Compose(codes);
        var composed = new StringBuilder(text.Length);
        foreach (int code in codes)
            composed.Append(char.ConvertFromUtf32(code));
        return composed.ToString();
    }

    private static void Decompose(int code, List<int> codes)
    {
        int hangul = code - HangulFirst;
        if (hangul is >= 0 and < HangulCount)
        {
            codes.Add(LeadFirst + (hangul / (Vowels * Trails)));
            codes.Add(VowelFirst + (hangul / Trails % Vowels));
            if (hangul % Trails > 0)
                codes.Add(TrailFirst + (hangul % Trails));
        }
        else if (Data.Value.Decompositions.TryGetValue(code, out (int First, int? Second) parts))
        {
            Decompose(parts.First, codes);                                           // only the first part can decompose further
            if (parts.Second is { } second)
                codes.Add(second);
        }
        else
        {
            codes.Add(code);
        }
    }

    /// <summary>Sorts each run of marks by class; equal classes stay in order.</summary>
    private static void Reorder(List<int> codes)
    {
        for (int start = 0, end; start < codes.Count; start = end)
        {
            for (end = start + 1; ClassOf(codes[start]) != 0 && end < codes.Count && ClassOf(codes[end]) != 0; end++) { }
            if (end - start == 1)
                continue;
            // A proper sort: with exchanges of neighbours an id of a million marks, which a request may bring, would take hours.
            int[] run = [.. codes.GetRange(start, end - start).OrderBy(ClassOf)];
            for (int i = 0; i < run.Length; i++)
                codes[start + i] = run[i];
        }
    }

    private static void Compose(List<int> codes)
    {
        int kept = 0, starter = -1, previousClass = 0;
        foreach (int code in (int[])[.. codes])
        {
            int own = ClassOf(code);
            bool blocked = starter < 0 || (kept - 1 > starter && previousClass >= own);
            if (!blocked && Pair(codes[starter], code) is { } composite)
            {
                codes[starter] = composite;
                continue;
            }

            if (own == 0)
                starter = kept;
            (previousClass, codes[kept++]) = (own, code);
        }

        codes.RemoveRange(kept, codes.Count - kept);
    }

    private static int? Pair(int first, int second)
    {
        int lead = first - LeadFirst, vowel = second - VowelFirst, trail = second - TrailFirst, hangul = first - HangulFirst;
        if (lead is >= 0 and < Leads && vowel is >= 0 and < Vowels)
            return HangulFirst + (((lead * Vowels) + vowel) * Trails);
        if (hangul is >= 0 and < HangulCount && hangul % Trails == 0 && trail is > 0 and < Trails)
            return first + trail;
        return Data.Value.Compositions.TryGetValue((first, second), out int composite) ? composite : null;
    }

    internal static int ClassOf(int code) => Data.Value.Classes.GetValueOrDefault(code);

    private sealed record Tables(Dictionary<int, int> Classes, Dictionary<int, (int First, int? Second)> Decompositions,
        Dictionary<(int First, int Second), int> Compositions)
    {
        internal static Tables Read()
        {
            var tables = new Tables([], [], []);
            using Stream stream = typeof(NormalFormC).Assembly.GetManifestResourceStream("FedLearn.Data.Unicode.nfc.txt")!;
            using var lines = new StreamReader(stream);
            while (lines.ReadLine() is { } line)
            {
                if (line.StartsWith('#'))
                    continue;
                string[] words = line.Split(' ', '-');
                int[] codes = [.. words.Skip(1).Take(words[0] == "class" ? 2 : 3)
                    .Select(word => int.Parse(word, NumberStyles.HexNumber, CultureInfo.InvariantCulture))];
                if (words[0] == "class")
                {
                    for (int code = codes[0]; code <= codes[1]; code++)
                        tables.Classes.Add(code, int.Parse(words[3], CultureInfo.InvariantCulture));
                    continue;
                }

                tables.Decompositions.Add(codes[0], (codes[1], codes.Length > 2 ? codes[2] : null));
                if (words[0] == "pair")
                    tables.Compositions.Add((codes[1], codes[2]), codes[0]);
            }

            return tables;
        }
    }
}
