using System.Globalization;

namespace FedLearn.Data;

/// <summary>Cells outside of the declared range of their column, which count as its ends with scaling declared, and as they are without: many of them are most often a range in another unit, or numbers that stand for missing values.</summary>
internal static class CellsOutside
{
    /// <summary>Added in private modes, where what is warned of depends on private rows.</summary>
    internal const string OutsideClaims = "; this sentence is computed from private rows and outside the claim";

    /// <summary>Rows that a model is trained on, whose columns the noise is for.</summary>
    internal const string Training = "training";

    // A range that is public knowledge may leave out extremes.
    private const double UsualShare = .01;

    // Noise is for columns that take up their range: of one in another unit it drowns what is there. Few rows need not show how far a column goes.
    private const double NarrowSpread = .02;

    private const int FewRows = 100;

    // Ends are computed from centre and width, and a cell at the end of a range is inside.
    private const double Rounding = 1e-9;

    /// <summary>Warns of every column of which more than a hundredth of the cells are outside, and in a private mode of every one that takes up next to nothing of its range. For the party whose table it is, and nobody else.</summary>
    /// <param name="party">The party.</param>
    /// <param name="map">What clips the cells, or leaves them. Of one that leaves them nothing is said in a private mode, whose rows are bounded all the same.</param>
    /// <param name="table">The party's table.</param>
    /// <param name="rows">Rows that count.</param>
    /// <param name="what">Which rows, such as <see cref="Training"/>.</param>
    /// <param name="isPrivate">Whether the job claims privacy.</param>
    internal static IEnumerable<string> Warnings(string party, FeatureMap map, Table table, int[] rows, string what, bool isPrivate)
    {
        if (isPrivate && !map.Clips)
            yield break;
        string then = map.Clips ? "count as its ends; where that is another unit or a mistake, mend min and max in the schema, from what is publicly known of the column"
            : "are used as they are; where that is another unit or a mistake, mend the cells, or min and max in the schema; preprocessing.scaling declared counts them as the ends";
        foreach ((ScaledColumn column, int cells, double least, double largest) in map.CountOutside(table, rows, Rounding))
        {
            string range = string.Create(CultureInfo.InvariantCulture, $"the declared range {column.Center - column.Width:G10} to {column.Center + column.Width:G10}");
            double spread = (largest - least) / (2 * column.Width);
            if (cells > UsualShare * rows.Length)
                yield return string.Create(CultureInfo.InvariantCulture,
                    $"column '{column.Name}' of '{party}': {100.0 * cells / rows.Length:0.#} % of its cells in {what} rows are outside of {range} and {then}{(isPrivate ? OutsideClaims : "")}");
            else if (isPrivate && what == Training && rows.Length >= FewRows && spread < NarrowSpread)
                yield return string.Create(CultureInfo.InvariantCulture,
                    $"column '{column.Name}' of '{party}': its cells in {what} rows take up {100 * spread:0.#} % of {range}, beside whose noise they say little; where that is another unit or a mistake, mend min and max in the schema, from what is publicly known of the column{OutsideClaims}");
        }
    }
}
