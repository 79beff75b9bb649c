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
            {
                throw DataErrors.Bad(DataErrors.DuplicateId, placeOf(row), $"the id is that of an earlier row ({placeOf(first[id])}).",
                    "Keep one row an id; ids are compared without white space at their ends and in Unicode normal form C.");
            }
        }

        return normalized;
    }

    internal static BadInputException Separator(string place) => DataErrors.Bad(DataErrors.IdSeparator, place, "the id holds the character U+001F.",
        "Remove it: it stands between the columns of an id of several columns.");

    /// <summary>Refuses NaN and infinities.</summary>
    internal static void Finite(DenseMatrix values, IReadOnlyList<string> names, Func<int, string> placeOf)
    {
        for (int row = 0; row < values.Rows; row++)
        {
            ReadOnlySpan<double> cells = values.Row(row);
            if (TensorPrimitives.IsFiniteAll(cells))
                continue;
            int column = 0;
            while (double.IsFinite(cells[column]))
                column++;
            throw NotFinite(placeOf(row), names[column]);
        }
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

    internal static BadInputException NotFinite(string place, string column) => DataErrors.Bad(DataErrors.NotFinite,
        $"{place}, column '{column}'", "the value is NaN, infinite or beyond float64.", "Replace it by a finite number, leave the row out, or declare in the schema what stands for a missing value.");
}
