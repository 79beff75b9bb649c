using System.Numerics.Tensors;
using FedLearn.Diagnostics;
using FedLearn.Numerics;

namespace FedLearn.Data;

/// <summary>Checks that every kind of table passes.</summary>
internal static class TableChecks
{
    /// <summary>Normalises ids and refuses empty ones and duplicates. No message holds an id.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="placeOf">Where a row is from.</param>
    /// <param name="columns">Columns that an id is made of, whose separator no more columns may hold; null does not look, for ids in memory.</param>
    internal static string[] Ids(IReadOnlyList<string> ids, Func<int, string> placeOf, int? columns = null)
    {
        var normalized = new string[ids.Count];
        var first = new Dictionary<string, int>(ids.Count, StringComparer.Ordinal);
        for (int row = 0; row < ids.Count; row++)
        {
            string id = normalized[row] = RowIds.Normalize(ids[row]);
            if (id.Length == 0)
                throw DataErrors.Bad(DataErrors.EmptyId, placeOf(row), "the id is empty.", "Give every row an id, or leave the row out.");
            if (columns is { } count && id.AsSpan().Count(RowIds.ColumnSeparator) != count - 1)
                throw Separator(placeOf(row));
            if (!first.TryAdd(id, row))
                throw Duplicate(placeOf(row), placeOf(first[id]));
        }

        return normalized;
    }

    /// <summary>The same for packed ids, which are normalised already.</summary>
    internal static PackedIds Ids(PackedIds ids, Func<int, string> placeOf, int? columns = null)
    {
        // Open addressing, at most half full: row + 1 of the id that has the place.
        int[] places = new int[System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, Math.Min(2L * ids.Count, 1 << 30)))];
        for (int row = 0; row < ids.Count; row++)
        {
            ReadOnlySpan<byte> id = ids.Utf8(row);
            if (id.IsEmpty)
                throw DataErrors.Bad(DataErrors.EmptyId, placeOf(row), "the id is empty.", "Give every row an id, or leave the row out.");
            if (columns is { } count && id.Count((byte)RowIds.ColumnSeparator) != count - 1)
                throw Separator(placeOf(row));
            var hash = new HashCode();
            hash.AddBytes(id);
            for (int at = hash.ToHashCode() & (places.Length - 1); ; at = (at + 1) & (places.Length - 1))
            {
                if (places[at] == 0)
                {
                    places[at] = row + 1;
                    break;
                }

                if (ids.Utf8(places[at] - 1).SequenceEqual(id))
                    throw Duplicate(placeOf(row), placeOf(places[at] - 1));
            }
        }

        return ids;
    }

    private static BadInputException Duplicate(string place, string earlier) => DataErrors.Bad(DataErrors.DuplicateId, place, $"the id is that of an earlier row ({earlier}).",
        "Keep one row an id; ids are compared without white space at their ends and in Unicode normal form C.");

    internal static BadInputException Separator(string place) => DataErrors.Bad(DataErrors.IdSeparator, place, "the id holds the character U+001F.",
        "Remove it: it stands between the columns of an id of several columns.");

    /// <summary>Refuses NaN and infinities.</summary>
    internal static void Finite(DenseMatrix values, IReadOnlyList<string> names, Func<int, string> placeOf)
    {
        for (int row = 0; row < values.Rows; row++)
            Finite(values.Row(row), row, names, placeOf);
    }

    /// <summary>Refuses NaN and infinities in a row.</summary>
    internal static void Finite(ReadOnlySpan<double> cells, int row, IReadOnlyList<string> names, Func<int, string> placeOf)
    {
        if (cells.IsEmpty || TensorPrimitives.IsFiniteAll(cells))
            return;
        int column = 0;
        while (double.IsFinite(cells[column]))
            column++;
        throw NotFinite(placeOf(row), names[column]);
    }

    /// <summary>Refuses NaN and infinities.</summary>
    internal static void Finite(SparseMatrix values, IReadOnlyList<string> names, Func<int, string> placeOf)
    {
        for (int row = 0; row < values.Rows; row++)
        {
            ReadOnlySpan<double> cells = values.RowValues(row);
            for (int k = 0; k < cells.Length; k++)
            {
                if (!double.IsFinite(cells[k]))
                    throw NotFinite(placeOf(row), names[values.RowColumns(row)[k]]);
            }
        }
    }

    internal static BadInputException NotOneHot(string place) => DataErrors.Bad(DataErrors.NotOneHot, place,
        "a cell of a one-hot field is neither 0 nor 1.", "Correct the cell, or declare the column numeric.");

    internal static BadInputException NotFinite(string place, string column, bool isFeature = true) => DataErrors.Bad(DataErrors.NotFinite, $"{place}, column '{column}'",
        "the value is NaN, infinite or beyond float64.", isFeature ? "Replace it by a finite number, leave the row out, or declare in the schema what stands for a missing value." : "Replace it by a finite number, or leave the row out.");
}
