using System.Globalization;
using FedLearn.Diagnostics;

namespace FedLearn.Parties;

/// <summary>Few common rows, which may be what is so, or ids that the parties write in different ways.</summary>
internal static class SmallOverlap
{
    // Of two honest tables the smaller one mostly overlaps by far more; of a large table a smaller share is nothing strange, so that the sentence asks and does not claim.
    private const int UsualPart = 10;

    /// <summary>Asks where fewer than a tenth of a party's rows are common; nothing elsewhere. It is the party's own count, for its own report.</summary>
    /// <param name="party">The party.</param>
    /// <param name="own">How many rows it brought.</param>
    /// <param name="common">How many of them are common; null where it is not told.</param>
    internal static IEnumerable<string> Warnings(string party, int own, int? common)
    {
        if ((long?)common * UsualPart < own)
            yield return string.Create(CultureInfo.InvariantCulture,
                $"only {common:N0} of the {own:N0} rows of '{party}' {Counted.Noun(common!.Value, "is", "are")} common: where more were expected, ids may be written in another way at the other parties (leading zeros, letter case, a prefix)");
    }
}
