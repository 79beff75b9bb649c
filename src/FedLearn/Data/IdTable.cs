using System.Globalization;
using CsvHelper;

namespace FedLearn.Data;

/// <summary>The ids of a party's table, without its features and labels.</summary>
/// <param name="Columns">Names of the columns that make an id; one, <c>id</c>, where a file of its own has the ids.</param>
/// <param name="Ids">Normalised ids, unique and not empty, shape [n].</param>
/// <param name="Rows">Row of each id in the file, from 0, shape [n].</param>
/// <param name="Repeated">Rows left out because an earlier one has their id.</param>
internal sealed record IdTable(IReadOnlyList<string> Columns, string[] Ids, int[] Rows, int Repeated)
{
    /// <summary>Reads the ids of a table.</summary>
    /// <param name="source">Where it is.</param>
    /// <param name="keepFirst">Whether the first row with an id stands for all of them; else two are an error.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="Diagnostics.ConfigurationException">The schema is not legal, or the source does not fit its kind of file (FL2207).</exception>
    /// <exception cref="Diagnostics.BadInputException">The ids cannot be used (FL3000 to FL3010, FL3151).</exception>
    internal static IdTable Load(TableSource source, bool keepFirst, CancellationToken cancellationToken)
    {
        if (Path.GetExtension(source.Path).ToLowerInvariant() is ".csv")
            return LoadCsv(source, keepFirst, cancellationToken);
        string file = source.Ids ?? throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "such a file has no ids.", "Name a file with one id a line under ids.");
        if ((source.Id ?? (object?)source.IdColumns) is not null)
            throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "such a file has no named columns.", "Leave id out: the ids are lines of the file of ids.");
        return Of(["id"], IdFile.Read(file, rows: null), row => $"{file}, line {row + 1}", keepFirst, file);
    }

    private static IdTable LoadCsv(TableSource source, bool keepFirst, CancellationToken cancellationToken)
    {
        string path = source.Path;
        if (source.Ids is not null)
            throw DataErrors.Config(DataErrors.UnsuitableSource, path, "ids of a CSV file are columns, not files.", "Name the columns by id.");
        string[] names = CsvTable.IdNames(source, source.Schema is { } schema ? TableSchema.Load(schema) : null);
        CsvDialect dialect = CsvDialect.Of(source);
        using CsvReader reader = CsvFile.Open(path, dialect);
        Dictionary<string, int> header = CsvFile.Header(reader, path, dialect);
        int[] indices = [.. names.Select(name => CsvFile.Find(header, name, path, dialect))];
        var ids = new List<string>();
        var lines = new List<int>();
        while (CsvFile.Next(reader, path, dialect))
        {
            if ((ids.Count & 0xFFF) == 0)
                cancellationToken.ThrowIfCancellationRequested();
            lines.Add(checked((int)reader.LineNumber));
            ids.Add(CsvFile.Id(reader, indices, path));
        }

        return Of(names, ids, row => string.Create(CultureInfo.InvariantCulture, $"{path}, line {lines[row]}"), keepFirst, path);
    }

    private static IdTable Of(string[] columns, IReadOnlyList<string> ids, Func<int, string> placeOf, bool keepFirst, string path)
    {
        if (ids.Count == 0)
            throw DataErrors.Bad(DataErrors.NoRows, path, "the table has no rows.", "Give at least one row.");
        int[] rows = [.. Enumerable.Range(0, ids.Count)];
        if (keepFirst)
        {
            var seen = new HashSet<string>(ids.Count, StringComparer.Ordinal);
            rows = [.. rows.Where(row => seen.Add(RowIds.Normalize(ids[row])))];
        }

        return new IdTable(columns, TableChecks.Ids((string[])[.. rows.Select(row => ids[row])], i => placeOf(rows[i]), columns.Length), rows, ids.Count - rows.Length);
    }
}
