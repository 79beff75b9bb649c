using System.Text;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Changes tables as text by their structure: lines and cells.</summary>
/// <param name="separator">What separates cells.</param>
internal sealed class TextMutator(char separator)
{
    private static readonly string[] Cells =
    [
        "", " ", "\t", "0", "1", "-1", "-0", "1e999", "-1e999", "1e-999", "1e39", "-1e308", "1.7976931348623159e308", "NaN", "nan", "-nan", "inf", "-Infinity", "NA", "null", "?", "1,5", "1 000", "0x10", "1e", "e1", ".", "-", "+1", "--1", "1.2.3", "1_0", "١",
        "9007199254740993", "123456789012345678901234567890", "0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000001", "2147483648", "9223372036854775808", "18446744073709551616",
        "a", "b", "\"", "\"\"", "\"a\"", "\"a", "a\"b", "\"a\"b", "\"a\nb\"", "\"a,b\"", "\"\"\"", "'a'", "=1+1", "\0", "a\0b", "\u001f", "\u0007", "\u00e9", "e\u0301", "\u0301\u0327", "\uac01", "\u1100\u1161\u11a8", "\ufeff", "\u00a0", "\u2028", "\ud83d\ude00",
        "train", "test", "TEST", "id", "y", "1:1", "0:1", "1:", ":1", "-1:1", "1:1:1", "1:nan", "4294967297:1", "2147483648:2", "10000000:1", "10000001:1", "1 2 1", "3:0.5 4:-1", "2:2 2:2", "9:1 3:1", "qid:3", "#", "# x", "1;2", "train ", "-62135596801", "253402300800",
    ];

    /// <summary>A changed text as UTF-8; one in eight is changed as bytes instead.</summary>
    public byte[] Mutate(FuzzRandom random, IReadOnlyList<byte[]> seeds)
    {
        byte[] seed = random.Of(seeds);
        if (random.OneIn(8))
            return ByteMutator.Mutate(random, seed, seeds);
        List<List<string>> lines = [.. Encoding.UTF8.GetString(seed).Split('\n').Select(line => line.Split(separator).ToList())];
        for (int changes = random.OneIn(3) ? random.Between(2, 8) : 1; changes > 0; changes--)
            Change(random, lines);
        string end = random.OneIn(8) ? random.Of(["\r\n", "\r", "\n\n", "\n\r", "\u2028"]) : "\n";
        byte[] text = Encoding.UTF8.GetBytes(string.Join(end, lines.Select(cells => string.Join(separator, cells))));
        return random.Below(24) switch
        {
            0 => [0xEF, 0xBB, 0xBF, .. text],
            1 => [0xFF, 0xFE, .. text],
            2 => text[..random.Below(text.Length + 1)],
            3 => ByteMutator.Mutate(random, text, seeds),
            _ => text,
        };
    }

    private static void Change(FuzzRandom random, List<List<string>> lines)
    {
        if (lines.Count == 0)
            lines.Add([]);
        int line = random.Below(lines.Count);
        List<string> cells = lines[line];
        int cell = random.Below(cells.Count);
        switch (random.Below(12))
        {
            case 0 or 1 or 2 when cells.Count > 0:
                cells[cell] = random.Of(Cells);
                break;
            case 3 when cells.Count > 0:
                cells.RemoveAt(cell);
                break;
            case 4:
                cells.Insert(cell, random.Of(Cells));
                break;
            case 5:
                lines.RemoveAt(line);
                break;
            case 6:                                                                  // a row again
                lines.InsertRange(random.Below(lines.Count + 1), Enumerable.Range(0, random.OneIn(20) ? random.Spread(2000) : random.Spread(4)).Select(_ => new List<string>(cells)));
                break;
            case 7:                                                                  // many cells
                cells.AddRange(Enumerable.Repeat(random.Of(Cells), random.OneIn(10) ? random.Spread(10_000) : random.Spread(20)));
                break;
            case 8 when cells.Count > 0:                                             // a long one
                cells[cell] = new string(random.Of("0a.e \"-\u00e9\u0301"), random.OneIn(10) ? random.Spread(200_000) : random.Spread(2000));
                break;
            case 9:
                List<string> other = lines[random.Below(lines.Count)];
                (lines[line], lines[^1]) = (other, lines[^1]);
                break;
            case 10 when cells.Count > 0 && cells[cell].Length > 0:
                cells[cell] = cells[cell].Insert(random.Below(cells[cell].Length), $"{random.Of("\"\t \0.-+eE\r:#0\u0301\ufffd")}");
                break;
            default:
                lines.Insert(line, random.OneIn(2) ? [] : [.. cells.Select(_ => random.Of(Cells))]);
                break;
        }
    }
}
