using System.Text;
using CsvHelper;
using FedLearn.Numerics;

namespace FedLearn.Data;

/// <summary>Reads tables from CSV.</summary>
internal static class CsvTable
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>What to do with one column of the file.</summary>
    /// <param name="Name">Name in the header.</param>
    /// <param name="Index">Position in the file.</param>
    /// <param name="Feature">First feature that it fills.</param>
    /// <param name="Kind">How a cell is read.</param>
    /// <param name="Values">UTF-8 of the categories.</param>
    /// <param name="Missing">What stands for a missing value: a number, or the place of a category; null: it is refused.</param>
    private sealed record Column(string Name, int Index, int Feature, FieldKind Kind, byte[][] Values, double? Missing);

    /// <summary>A column that is no feature, and what was read of it.</summary>
    private sealed record Input(RowInputKind Kind, string Name, int Index, List<double> Values);

    internal static Table Read(TableSource source, TableSchema? schema, bool needLabel, CancellationToken cancellationToken)
    {
        if (source.Ids is not null || source.Labels is not null)
        {
            throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "ids and labels of a CSV file are columns, not files.",
                "Name the columns by id and label, and leave out ids and labels.");
        }

        string path = source.Path;
        string idName = source.Id ?? schema?.IdColumn ?? "id";
        string? labelName = source.Label ?? schema?.LabelColumn;
        if (needLabel && labelName is null)
        {
            throw DataErrors.Config(DataErrors.LabelNotNamed, path, "labels are needed, and neither the source nor the schema names their column.",
                "Name the label column.");
        }

        using CsvReader reader = CsvFile.Open(path);
        Dictionary<string, int> header = CsvFile.Header(reader, path);
        int idIndex = CsvFile.Find(header, idName, path);
        Input[] inputs = [.. RowInputs.Named(source, labelName, needLabel).Select(input => new Input(input.Kind, input.Name, CsvFile.Find(header, input.Name, path), []))];
        string[] reserved = [.. new[] { source.Weight, source.Offset, source.Exposure }.OfType<string>()];
        string[] others = [.. header.OrderBy(pair => pair.Value).Select(pair => pair.Key).Except([idName, labelName ?? idName, .. reserved], StringComparer.Ordinal)];
        if (schema is null && others.Length == 0)
            throw DataErrors.Bad(DataErrors.ColumnMissing, path, "there is no column of features.", "Give at least one beside those of ids, labels, weights and offsets.");
        schema = schema is null
            ? TableSchema.Create([.. others.Select(name => Field.Numeric(name))], idName, labelName, path)
            : TableSchema.Create(schema.Fields, idName, labelName, source.Schema ?? path);     // refuses a field that is the id or the label
        RefuseTwoUses(schema, reserved, source.Schema ?? path);
        Column[] columns = [.. Columns(schema, header, path)];
        string[] ignored = [.. others.Except(columns.Select(column => column.Name), StringComparer.Ordinal)];

        int width = schema.FeatureNames.Count;
        var ids = new List<string>();
        var lines = new List<int>();
        double[] values = new double[FirstCapacity(path, width)];
        while (CsvFile.Next(reader, path))
        {
            if ((ids.Count & 0xFFF) == 0)
                cancellationToken.ThrowIfCancellationRequested();
            lines.Add(checked((int)reader.LineNumber));
            ids.Add(CsvFile.Text(reader, idIndex, path));
            foreach (Input input in inputs)
            {
                double value = CsvFile.Number(reader, input.Index, input.Name, path);
                RowInputs.Check(input.Kind, value, source.LabelRange, () => CsvFile.Place(path, reader, input.Name));
                input.Values.Add(value);
            }

            long needed = (long)ids.Count * width;
            if (needed > values.LongLength)
                Array.Resize(ref values, Capacity(Math.Max(needed, 2 * values.LongLength), needed, path));
            Span<double> cells = values.AsSpan((ids.Count - 1) * width, width);
            foreach (Column column in columns)
                ReadCell(reader, column, cells, path);
        }

        if (ids.Count == 0)
            throw DataErrors.Bad(DataErrors.NoRows, path, "the table has no rows.", "Give at least one row below the header.");
        if (values.Length != ids.Count * width)
            Array.Resize(ref values, ids.Count * width);
        string PlaceOf(int row) => $"{path}, line {lines[row]}";
        return new Table(schema, TableChecks.Ids(ids, PlaceOf), new DenseMatrix(ids.Count, width, values),
            RowInputs.Of(inputs.ToDictionary(input => input.Kind, input => input.Values.ToArray())), path, ignored, PlaceOf);
    }

    /// <summary>Weight, offset and exposure are no features, no ids, no labels, and three columns.</summary>
    private static void RefuseTwoUses(TableSchema schema, string[] reserved, string place)
    {
        var taken = schema.Fields.SelectMany(field => field.Kind == FieldKind.OneHot ? field.Columns : [field.Name])
            .Append(schema.IdColumn!).Append(schema.LabelColumn!).ToHashSet(StringComparer.Ordinal);
        if (reserved.FirstOrDefault(name => !taken.Add(name)) is { } twice)
        {
            throw DataErrors.Config(DataErrors.SchemaDuplicate, place, $"the column '{twice}' is a weight, an offset or an exposure, and something else too.",
                "Use every column for one thing: a weight, offset or exposure is no field of the schema.");
        }
    }

    private static IEnumerable<Column> Columns(TableSchema schema, Dictionary<string, int> header, string path)
    {
        int feature = 0;
        foreach (Field field in schema.Fields)
        {
            if (field.Kind == FieldKind.OneHot)
            {
                foreach (string name in field.Columns)
                    yield return new Column(name, CsvFile.Find(header, name, path), feature++, field.Kind, [], null);
            }
            else
            {
                byte[][] values = [.. field.Values.Select(StrictUtf8.GetBytes)];
                double? missing = field.MissingValue is { } value ? field.Values.ToList().IndexOf(value) : field.MissingNumber;
                yield return new Column(field.Name, CsvFile.Find(header, field.Name, path), feature, field.Kind, values, missing);
                feature += Math.Max(1, values.Length);
            }
        }
    }

    private static void ReadCell(CsvReader reader, Column column, Span<double> cells, string path)
    {
        if (column.Kind == FieldKind.Category)
        {
            ReadOnlySpan<byte> text = reader.GetSpan(column.Index);
            int category = CategoryOf(text, column);
            if (category >= 0)
            {
                cells.Slice(column.Feature, column.Values.Length).Clear();
                cells[column.Feature + category] = 1;
                return;
            }

            if (text.IsEmpty)
                throw CsvFile.Empty(CsvFile.Place(path, reader, column.Name));
            throw DataErrors.Bad(DataErrors.UnknownCategory, CsvFile.Place(path, reader, column.Name), "the category is not one that the schema lists.",
                "Correct the cell, or add the category to the schema of every run.");
        }

        double value = CsvFile.Number(reader, column.Index, column.Name, path, column.Missing);
        if (column.Kind == FieldKind.OneHot && value is not (0 or 1))
            throw TableChecks.NotOneHot(CsvFile.Place(path, reader, column.Name));
        cells[column.Feature] = value;
    }

    /// <summary>Place of a cell's category, -1 for none. A listed value is itself, even where it looks like a missing one.</summary>
    private static int CategoryOf(ReadOnlySpan<byte> text, Column column)
    {
        for (int i = 0; i < column.Values.Length; i++)
        {
            if (text.SequenceEqual(column.Values[i]))
                return i;
        }

        return column.Missing is { } missing && CsvFile.IsMissing(text) ? (int)missing : -1;
    }

    /// <summary>Room for as many rows as the file has lines, so that the values are read into their final place.</summary>
    private static int FirstCapacity(string path, int width)
    {
        long lines = 1;
        byte[] buffer = new byte[1 << 16];
        using FileStream file = File.OpenRead(path);
        for (int read; (read = file.Read(buffer)) > 0;)
            lines += buffer.AsSpan(0, read).Count((byte)'\n');
        return Capacity(Math.Min(lines * width, Array.MaxLength), 0, path);
    }

    private static int Capacity(long wanted, long needed, string path) => needed <= Array.MaxLength
        ? (int)Math.Min(wanted, Array.MaxLength)
        : throw DataErrors.Bad(DataErrors.TooLarge, path, "the table has more cells than fit one matrix in memory.", "Use fewer rows or columns.");
}
