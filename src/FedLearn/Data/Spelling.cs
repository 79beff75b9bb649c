namespace FedLearn.Data;

/// <summary>How alike words are, letter case aside: for errors that name what may have been meant.</summary>
internal static class Spelling
{
    /// <summary>The known word that is nearest to a mistyped one.</summary>
    /// <param name="word">What was written.</param>
    /// <param name="known">What could have been meant; at least one.</param>
    public static string Nearest(string word, IEnumerable<string> known) => known.MinBy(candidate => Distance(word, candidate))!;

    /// <summary>The known word that differs from a written one in so few letters that it was most likely meant; null for none: a word that was never near would mislead.</summary>
    /// <param name="word">What was written.</param>
    /// <param name="known">What could have been meant; at least one.</param>
    public static string? Meant(string word, IEnumerable<string> known) =>
        Nearest(word, known) is var nearest && Distance(word, nearest) <= (Math.Max(word.Length, nearest.Length) is var length && length <= 3 ? 1 : Math.Max(2, length / 3)) ? nearest : null;

    /// <summary>How many letters have to be put in, left out or changed: Levenshtein's distance.</summary>
    public static int Distance(string from, string to)
    {
        // Row i holds the distances between the first i letters of one word and every prefix of the other.
        int[] row = [.. Enumerable.Range(0, to.Length + 1)];
        for (int i = 1; i <= from.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= to.Length; j++)
            {
                int replaced = diagonal + (char.ToLowerInvariant(from[i - 1]) == char.ToLowerInvariant(to[j - 1]) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, Math.Min(row[j], row[j - 1]) + 1);
            }
        }

        return row[to.Length];
    }
}
