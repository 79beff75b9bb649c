using System.Text;
using CsvHelper;
using FedLearn.Diagnostics;

namespace FedLearn.Data;

/// <summary>CSV files with the rules of this library: strict, and silent about values.</summary>
internal static class CsvFile
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    internal static CsvReader Open(string path)
    {
        try
        {
            return CsvReader.FromFile(path, new CsvReaderOptions
            {
                Separator = ',',
                TrimWhitespace = true,
                TrackLineNumbers = true,
                IncludeValuesInExceptions = false,
                MalformedData = CsvMalformedDataHandling.Throw,            // the number of cells is checked by Next, which can say more
            });
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw DataErrors.Bad(DataErrors.FileUnreadable, path, "the file cannot be read.", "Correct the path, or make the file readable.", e);
        }
    }

    /// <summary>Column names with their positions.</summary>
    internal static Dictionary<string, int> Header(CsvReader reader, string path)
    {
        Guarded(path, () =>
        {
            reader.ReadHeader();
            return true;
        });
        var header = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (string raw in reader.Headers)
        {
            string name = raw.Trim();
            if (name.Length == 0)
            {
                throw DataErrors.Bad(DataErrors.ColumnDuplicate, $"{path}, line 1", $"column {header.Count + 1} has no name.",
                    "Name every column in the first line.");
            }

            if (!header.TryAdd(name, header.Count))
                throw DataErrors.Bad(DataErrors.ColumnDuplicate, $"{path}, line 1", $"two columns are named '{name}'.", "Name every column once.");
        }

        return header;
    }

    internal static int Find(Dictionary<string, int> header, string name, string path) => header.TryGetValue(name, out int index)
        ? index
        : throw DataErrors.Bad(DataErrors.ColumnMissing, path, $"there is no column '{name}'.",
            "Correct the name, which is compared exactly, or add the column; cells are separated by commas.");

    /// <summary>Moves to the next row. Lines without anything but white space are passed over.</summary>
    internal static bool Next(CsvReader reader, string path)
    {
        while (Guarded(path, reader.Read))
        {
            int cells = reader.FieldCount, columns = reader.Headers.Count;
            if (cells == columns && !(columns == 1 && reader.GetSpan(0).IsEmpty))
                return true;
            if (cells == 1 && reader.GetSpan(0).IsEmpty)
                continue;
            throw DataErrors.Bad(DataErrors.RaggedRow, $"{path}, line {reader.LineNumber}", $"the row has {cells} cells, and the header {columns}.",
                "Write one cell a column, an empty line at most between rows; quote a cell that holds commas.");
        }

        return false;
    }

    internal static string Place(string path, CsvReader reader, string column) => $"{path}, line {reader.LineNumber}, column '{column}'";

    internal static string Text(CsvReader reader, int index, string path)
    {
        try
        {
            return StrictUtf8.GetString(reader.GetSpan(index));
        }
        catch (DecoderFallbackException e)
        {
            throw DataErrors.Bad(DataErrors.MalformedCsv, $"{path}, line {reader.LineNumber}", "the text is no UTF-8.", "Save the file as UTF-8.", e);
        }
    }

    /// <summary>The id of the row, from one column or several.</summary>
    internal static string Id(CsvReader reader, int[] indices, string path)
    {
        if (indices.Length == 1)
            return Text(reader, indices[0], path);
        string[] parts = new string[indices.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            parts[i] = RowIds.Normalize(Text(reader, indices[i], path));
            string Where() => Place(path, reader, reader.Headers[indices[i]].Trim());
            if (parts[i].Length == 0)
                throw DataErrors.Bad(DataErrors.EmptyId, Where(), "a column of the id is empty.", "Fill it, or leave the row out: an id with a hole could be anybody's.");
            if (parts[i].Contains(RowIds.ColumnSeparator, StringComparison.Ordinal))
                throw TableChecks.Separator(Where());
        }

        return string.Join(RowIds.ColumnSeparator, parts);
    }

    internal static double Number(CsvReader reader, int index, string column, string path)
    {
        ReadOnlySpan<byte> text = reader.GetSpan(index);
        if (CsvNumber.TryParse(text, out double value))
            return value;
        if (text.IsEmpty)
            throw Empty(Place(path, reader, column));
        if (CsvNumber.IsNotFinite(text))
            throw TableChecks.NotFinite($"{path}, line {reader.LineNumber}", column);
        throw DataErrors.Bad(DataErrors.NotANumber, Place(path, reader, column), "the cell is no number.",
            "Write numbers like -1234.5 or 1.2e-3: a point before decimals, nothing between thousands.");
    }

    internal static BadInputException Empty(string place) =>
        DataErrors.Bad(DataErrors.EmptyCell, place, "the cell is empty.",
            "Fill it, leave the row or the column out, or declare in the schema what stands for a missing value.");

    /// <summary>Runs a part of the reading, and turns what can go wrong with a file into an error with its place.</summary>
    internal static T Guarded<T>(string path, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (CsvFormatException e)
        {
            throw DataErrors.Bad(DataErrors.MalformedCsv, $"{path}, line {Math.Max(1, e.LineNumber)}", "the row breaks the rules of quoting.",
                "Close every quote, put nothing after it, and double a quote inside a quoted cell.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or AggregateException { InnerException: IOException })
        {
            throw DataErrors.Bad(DataErrors.FileUnreadable, path, "the file cannot be read to its end.", "Try again, or copy the file anew.", e);
        }
    }
}
