using System.Text;
using CsvHelper;
using FedLearn.Diagnostics;
using Microsoft.Win32.SafeHandles;

namespace FedLearn.Data;

/// <summary>CSV files with the rules of this library: strict, and silent about values.</summary>
internal static class CsvFile
{
    /// <summary>Opens a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="dialect">How it is written, which its user may set; null for a file that is written in one way.</param>
    internal static CsvReader Open(string path, CsvDialect? dialect = null)
    {
        try
        {
            DataErrors.RefuseWithoutLength(path);
            return CsvReader.FromFile(path, new CsvReaderOptions
            {
                Separator = (dialect ?? CsvDialect.Usual).Separator,
                TrimWhitespace = true,
                TrackLineNumbers = true,
                IncludeValuesInExceptions = false,
                MalformedData = CsvMalformedDataHandling.Throw,            // the number of cells is checked by Next, which can say more
            });
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw DataErrors.Unreadable(path, e);
        }
    }

    /// <summary>Column names with their positions.</summary>
    /// <param name="reader">At the start.</param>
    /// <param name="path">The file.</param>
    /// <param name="dialect">As in <see cref="Open"/>; what it is not told, remedies say wrongly.</param>
    internal static Dictionary<string, int> Header(CsvReader reader, string path, CsvDialect? dialect)
    {
        try
        {
            Guarded(path, () =>
            {
                reader.ReadHeader();
                return true;
            });
        }
        catch (BadInputException e) when (e.Id == DataErrors.MalformedCsv && Unlike(path, dialect) is { } unlike)
        {
            throw unlike;
        }

        // Names are decoded leniently; a replaced byte would go into models as the name of a column.
        if (reader.Headers.Any(name => name.Contains('\uFFFD', StringComparison.Ordinal)))
            throw Unlike(path, dialect) ?? DataErrors.Bad(DataErrors.MalformedCsv, $"{path}, line 1", "the names of the columns are no UTF-8.", "Save the file as UTF-8.");
        if (reader.Headers.Count == 0)
            throw DataErrors.Bad(DataErrors.NoRows, path, "the file is empty.", "Give a first line with the names of the columns, and at least one row.");
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
            {
                // Where the first line is a row, a number is a value, and values are not printed.
                bool isNumber = CsvNumber.TryParse(Encoding.UTF8.GetBytes(name), out _);
                throw DataErrors.Bad(DataErrors.ColumnDuplicate, $"{path}, line 1",
                    isNumber ? $"columns {header[name] + 1} and {header.Count + 1} have the same number as their name." : $"two columns are named '{name}'.",
                    isNumber ? "Begin the file with a line of names, each once." : "Name every column once.");
            }
        }

        return header;
    }

    internal static int Find(Dictionary<string, int> header, string name, string path, CsvDialect? dialect)
    {
        if (header.TryGetValue(name, out int index))
            return index;
        char expected = (dialect ?? CsvDialect.Usual).Separator;
        string remedy = header.Count == 1 && (dialect ?? CsvDialect.Usual).OtherSeparator(header.Keys.First()) is { } separator
            ? $"The first line has {CsvDialect.Named(separator)} and no {CsvDialect.NamedOne(expected)}: {Lower(SeparatorRemedy(separator, dialect))}"
            : Alike(name, header.Keys) is { } alike ? $"Did you mean '{alike}'? Names are compared exactly, letter case included."
            : $"Correct the name, which is compared exactly, or add the column; the first line names the columns, and cells are separated by {CsvDialect.Named(expected)}.";
        throw DataErrors.Bad(DataErrors.ColumnMissing, path, $"there is no column '{name}'.", remedy);
    }

    /// <summary>A column that differs in letter case, or in a few letters of a long name, alone. No other one is named: where the first line is a row, its cells are values.</summary>
    private static string? Alike(string name, IEnumerable<string> columns) => columns.FirstOrDefault(column => column.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? columns.FirstOrDefault(column => Spelling.Distance(column, name) <= name.Length / 4);

    /// <summary>What to do about a separator that was not expected.</summary>
    private static string SeparatorRemedy(char separator, CsvDialect? dialect) => dialect is null ? "Save the file with commas between cells, and points before decimals."
        : $"Set the separator to {CsvDialect.Written(separator)} (data.separator in a run file){(separator == ',' ? "" : ", and the decimal mark to \",\" where decimals have commas (data.decimal)")}.";

    private static string Lower(string sentence) => char.ToLowerInvariant(sentence[0]) + sentence[1..];

    /// <summary>What a file is that does not begin like a CSV file; null where that cannot be told.</summary>
    private static BadInputException? Unlike(string path, CsvDialect? dialect)
    {
        if (Start(path) is not { } start)
            return null;
        if (start.AsSpan().StartsWith((ReadOnlySpan<byte>)[0x1F, 0x8B]))
            return Compressed(path);
        char expected = (dialect ?? CsvDialect.Usual).Separator;
        return (dialect ?? CsvDialect.Usual).OtherSeparator(FirstLine(start)) is { } separator
            ? DataErrors.Bad(DataErrors.MalformedCsv, $"{path}, line 1", $"the line has {CsvDialect.Named(separator)} and no {CsvDialect.NamedOne(expected)}.", SeparatorRemedy(separator, dialect))
            : null;
    }

    /// <summary>The first line of a file, leniently decoded; null where it cannot be read twice.</summary>
    internal static string? FirstLine(string path) => Start(path) is { } start ? FirstLine(start) : null;

    private static string FirstLine(byte[] start)
    {
        int end = start.AsSpan().IndexOfAny((byte)'\n', (byte)'\r');
        return Encoding.UTF8.GetString(end < 0 ? start : start[..end]);
    }

    /// <summary>What a file begins with; null for one that cannot be read, or not twice.</summary>
    private static byte[]? Start(string path)
    {
        byte[] start = new byte[1 << 16];
        try
        {
            if (!DataErrors.HasLength(path))
                return null;
            using SafeFileHandle file = File.OpenHandle(path);
            return start[..CsvPieces.Fill(file, start, 0)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }

    internal static BadInputException Compressed(string path) => DataErrors.Bad(DataErrors.MalformedCsv, path, "the file is compressed (gzip).", "Decompress it, and name the result.");

    /// <summary>Moves to the next row. Lines without anything but white space are passed over.</summary>
    internal static bool Next(CsvReader reader, string path, CsvDialect? dialect)
    {
        while (Guarded(path, reader, static reader => reader.Read()))
        {
            int cells = reader.FieldCount, columns = reader.Headers.Count;
            if (cells == columns && !(columns == 1 && reader.GetSpan(0).IsEmpty))
                return true;
            if (cells == 1 && reader.GetSpan(0).IsEmpty)
                continue;
            throw DataErrors.Bad(DataErrors.RaggedRow, $"{path}, line {reader.LineNumber}", $"the row has {cells} cells, and the header {columns}.",
                $"Write one cell a column, an empty line at most between rows; quote a cell that holds {CsvDialect.Named((dialect ?? CsvDialect.Usual).Separator)}.");
        }

        return false;
    }

    internal static string Place(string path, CsvReader reader, string column) => $"{path}, line {reader.LineNumber}, column '{column}'";

    internal static string Text(CsvReader reader, int index, string path)
    {
        try
        {
            return StrictUtf8.Encoding.GetString(reader.GetSpan(index));
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

    /// <summary>Reads a number.</summary>
    /// <param name="reader">At the row.</param>
    /// <param name="index">Place of the cell.</param>
    /// <param name="column">Its column.</param>
    /// <param name="path">The file.</param>
    /// <param name="input">What the cell is where it is no feature.</param>
    /// <param name="dialect">How the file is written.</param>
    /// <param name="mayMiss">Whether its field declares what stands for a missing value.</param>
    internal static double Number(CsvReader reader, int index, string column, string path, RowInputKind? input = null, CsvDialect? dialect = null, bool mayMiss = false)
    {
        ReadOnlySpan<byte> text = (dialect ?? CsvDialect.Usual).Number(reader.GetSpan(index));
        if (CsvNumber.TryParse(text, out double value))
            return value;
        if (CsvNumber.IsNotFinite(text))
            throw TableChecks.NotFinite($"{path}, line {reader.LineNumber}", column, isFeature: input is null);
        if (CsvNumber.IsMissing(text))
            throw Empty(Place(path, reader, column), isFeature: input is null, text.IsEmpty ? "the cell is empty." : "the cell says that its value is missing.");
        throw DataErrors.Bad(DataErrors.NotANumber, Place(path, reader, column), "the cell is no number.", (dialect is { Mark: ',' }
                ? "Write numbers like -1234,5 or 1,2e-3: a comma before decimals, as the decimal mark says, nothing between thousands."
                : "Write numbers like -1234.5 or 1.2e-3: a point before decimals, nothing between thousands.")
            + (dialect is { Mark: '.', Separator: not ',' } && text.Contains((byte)',') ? " Where decimals have commas, set the decimal mark to \",\" (decimal in a run file, --decimal of prepare-events)." : "")
            + input switch
            {
                null when mayMiss => " A missing value is an empty cell or exactly NA, NaN, nan, null or ?.",
                null => " A column of text is declared as one in the schema, or left out of it.",
                RowInputKind.Label => " Classes are numbers too: 0 and 1, or 0 to M - 1; words are named in their order (data.labels in a run file).",
                _ => "",
            });
    }

    /// <summary>Reads a label that is one of some words, and gives its class.</summary>
    internal static double Word(CsvReader reader, CsvInput input, string path)
    {
        ReadOnlySpan<byte> text = reader.GetSpan(input.Index);
        if (input.TryRead(text, out double value))
            return value;
        string place = Place(path, reader, input.Name);
        throw CsvNumber.IsMissing(text) ? Empty(place, isFeature: false, text.IsEmpty ? "the cell is empty." : "the cell says that its value is missing.")
            : DataErrors.Bad(DataErrors.UnknownLabel, place, "the label is none of the words that were named.",
                "Correct the cell, or name the word of every class (data.labels in a run file). Words are compared exactly, letter case included.");
    }

    internal static BadInputException Empty(string place, bool isFeature = true, string cause = "the cell is empty.") => DataErrors.Bad(DataErrors.EmptyCell, place, cause,
        isFeature ? "Fill it, leave the row or the column out, or declare in the schema what stands for a missing value." : "Fill it, or leave the row out.");

    /// <summary>Runs a part of the reading, and turns what can go wrong with a file into an error with its place.</summary>
    internal static T Guarded<T>(string path, Func<T> read) => Guarded(path, read, static read => read());

    /// <summary>The same for a part that needs one thing, so that rows can be read without an object for each.</summary>
    private static T Guarded<TWith, T>(string path, TWith with, Func<TWith, T> read)
    {
        try
        {
            return read(with);
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
