using System.Text;
using CsvHelper;
using FedLearn.Diagnostics;
using FedLearn.Numerics;

namespace FedLearn.Data;

/// <summary>Reads tables from CSV.</summary>
internal static class CsvTable
{
    internal static Table Read(TableSource source, TableSchema? schema, bool needLabel, CancellationToken cancellationToken)
    {
        if (source.Ids is not null || source.Labels is not null)
        {
            throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "ids and labels of a CSV file are columns, not files.",
                "Name the columns by id and label, and leave out ids and labels; labels that are words are named by an array of them (labels in a run file, LabelWords in code).");
        }

        string path = source.Path;
        string[] idNames = IdNames(source, schema);
        string? labelName = source.Label ?? schema?.LabelColumn;
        if (needLabel && labelName is null)
        {
            throw DataErrors.Config(DataErrors.LabelNotNamed, path, "labels are needed, and neither the source nor the schema names their column.",
                "Name the label column.");
        }

        CsvDialect dialect = CsvDialect.Of(source);
        using CsvReader reader = CsvFile.Open(path, dialect);
        Dictionary<string, int> header = CsvFile.Header(reader, path, dialect);
        int[] idIndices = [.. idNames.Select(name => CsvFile.Find(header, name, path, dialect))];
        CsvInput[] inputs = [.. RowInputs.Named(source, labelName, needLabel).Select(input => new CsvInput(input.Kind, input.Name, CsvFile.Find(header, input.Name, path, dialect),
            input.Kind == RowInputKind.Label ? [.. Words(source).Select(StrictUtf8.Encoding.GetBytes)] : []))];
        string[] reserved = [.. new[] { source.Weight, source.Offset, source.Exposure }.OfType<string>()];
        string[] others = [.. header.OrderBy(pair => pair.Value).Select(pair => pair.Key).Except([.. idNames, labelName ?? idNames[0], .. reserved], StringComparer.Ordinal)];
        // A party that has labels may bring no feature.
        if (schema is null && others.Length == 0 && labelName is null)
            throw DataErrors.Bad(DataErrors.ColumnMissing, path, "there is no column of features.", "Give at least one beside those of ids, weights and offsets; a party with labels may do without.");
        schema = schema is null
            ? TableSchema.Create([.. others.Select(name => Field.Numeric(name))], idNames, labelName, path)
            : TableSchema.Create(schema.Fields, idNames, labelName, source.Schema ?? path);     // refuses a field that is the id or the label
        RefuseTwoUses(schema, reserved, source.Schema ?? path);
        CsvColumn[] columns = [.. Columns(schema, header, path, dialect)];
        string[] ignored = [.. others.Except(columns.Select(column => column.Name), StringComparer.Ordinal)];

        int width = schema.FeatureNames.Count;
        var layout = new CsvLayout([.. header.OrderBy(pair => pair.Value).Select(pair => pair.Key)], idIndices, inputs, columns, width, source.LabelRange, dialect);
        CsvPieces pieces = CsvFile.Guarded(path, () => CsvPieces.Of(path, cancellationToken));
        CsvRows rows = ReadRows(reader, path, layout, pieces, cancellationToken);
        string PlaceOf(int row) => $"{path}, line {rows.LineOf(row)}";
        return new Table(schema, TableChecks.Ids(rows.Ids, PlaceOf, idNames.Length), new DenseMatrix(rows.Ids.Count, width, rows.Values), RowInputs.Of(rows.Inputs), path, ignored, PlaceOf)
        {
            Storage = source.Storage,
            Scratch = source.Scratch,
        };
    }

    /// <summary>Words of the label, checked; none where labels are numbers.</summary>
    private static IReadOnlyList<string> Words(TableSource source)
    {
        IReadOnlyList<string> words = source.LabelWords ?? [];
        return source.LabelWords is null || (words.Count >= 2 && words.All(word => word is { Length: > 0 } && word.Trim() == word) && words.Distinct(StringComparer.Ordinal).Count() == words.Count) ? words
            : throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "the words of the label are fewer than two, or one is empty, has white space at an end, or is there twice.",
                "Name the word of every class once, that of class 0 first.");
    }

    /// <summary>Columns of the id: those of the source, else the schema's, else <c>id</c>.</summary>
    internal static string[] IdNames(TableSource source, TableSchema? schema)
    {
        if (source.Id is not null && source.IdColumns is not null)
        {
            throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "the id column is named twice.", "Set either Id or IdColumns.");
        }

        IReadOnlyList<string> names = source.IdColumns ?? (source.Id is { } name ? [name] : schema?.IdColumns ?? []);
        return names.Count == 0 ? ["id"] : [.. names];
    }

    /// <summary>The rows: the fast way, and the general one where it gives up.</summary>
    private static CsvRows ReadRows(CsvReader reader, string path, CsvLayout layout, CsvPieces pieces, CancellationToken cancellationToken)
    {
        long rows = Math.Max(0, pieces.Lines - 1);
        // With quotes in the file a line need not be a row.
        if (pieces.IsPlain && rows * layout.Width > Array.MaxLength)
            throw DataErrors.TooManyCells(path, rows, layout.Width);
        try
        {
            return CsvFile.Guarded(path, () => PlainCsv.Read(path, layout, pieces, cancellationToken)) ?? ReadRows(reader, path, layout, pieces.Lines, cancellationToken);
        }
        catch (OutOfMemoryException e)
        {
            throw DataErrors.TooManyCells(path, rows, layout.Width, e);
        }
    }

    /// <summary>The general way: any legal file, and the first fault of any other.</summary>
    private static CsvRows ReadRows(CsvReader reader, string path, CsvLayout layout, long lineCount, CancellationToken cancellationToken)
    {
        int width = layout.Width;
        var ids = new List<string>();
        var lines = new List<int>();
        List<double>[] inputs = [.. layout.Inputs.Select(_ => new List<double>())];
        // Room for as many rows as the file has lines below its header, so that the values are read into their final place.
        double[] values = new double[Math.Min(Math.Max(0, lineCount - 1) * width, Array.MaxLength)];
        while (CsvFile.Next(reader, path, layout.Dialect))
        {
            if ((ids.Count & 0xFFF) == 0)
                cancellationToken.ThrowIfCancellationRequested();
            lines.Add(checked((int)reader.LineNumber));
            ids.Add(CsvFile.Id(reader, layout.Ids, path));
            for (int i = 0; i < inputs.Length; i++)
            {
                CsvInput input = layout.Inputs[i];
                double value = input.Words.Length > 0 ? CsvFile.Word(reader, input, path) : CsvFile.Number(reader, input.Index, input.Name, path, input.Kind, layout.Dialect);
                RowInputs.Check(input.Kind, value, layout.LabelRange, () => CsvFile.Place(path, reader, input.Name));
                inputs[i].Add(value);
            }

            long needed = (long)ids.Count * width;
            if (needed > Array.MaxLength)
                throw DataErrors.TooManyCells(path, lineCount - 1, width);
            if (needed > values.LongLength)
                Array.Resize(ref values, (int)Math.Min(Math.Max(needed, 2 * values.LongLength), Array.MaxLength));
            Span<double> features = values.AsSpan((ids.Count - 1) * width, width);
            foreach (CsvColumn column in layout.Columns)
            {
                ReadOnlySpan<byte> cell = reader.GetSpan(column.Index);
                if (!column.TryRead(column.Kind == FieldKind.Category ? cell : layout.Dialect.Number(cell), features))
                    throw Fault(reader, column, path, layout.Dialect);
            }
        }

        if (ids.Count == 0)
            throw DataErrors.Bad(DataErrors.NoRows, path, "the table has no rows.", "Give at least one row below the header.");
        if (values.Length != ids.Count * width)
            Array.Resize(ref values, ids.Count * width);
        return new CsvRows(ids, values, layout.Inputs.Select((input, i) => (input.Kind, Values: inputs[i].ToArray())).ToDictionary(read => read.Kind, read => read.Values),
            row => lines[row]);
    }

    /// <summary>Weight, offset and exposure are no features, no ids, no labels, and three columns.</summary>
    private static void RefuseTwoUses(TableSchema schema, string[] reserved, string place)
    {
        var taken = schema.Fields.SelectMany(field => field.Kind == FieldKind.OneHot ? field.Columns : [field.Name])
            .Concat(schema.IdColumns).Append(schema.LabelColumn!).ToHashSet(StringComparer.Ordinal);
        if (reserved.FirstOrDefault(name => !taken.Add(name)) is { } twice)
        {
            throw DataErrors.Config(DataErrors.SchemaDuplicate, place, $"the column '{twice}' is a weight, an offset or an exposure, and something else too.",
                "Use every column for one thing: a weight, offset or exposure is no field of the schema.");
        }
    }

    private static IEnumerable<CsvColumn> Columns(TableSchema schema, Dictionary<string, int> header, string path, CsvDialect dialect)
    {
        int feature = 0;
        foreach (Field field in schema.Fields)
        {
            if (field.Kind == FieldKind.OneHot)
            {
                foreach (string name in field.Columns)
                    yield return new CsvColumn(name, CsvFile.Find(header, name, path, dialect), feature++, field.Kind, [], null);
            }
            else
            {
                byte[][] values = [.. field.Values.Select(StrictUtf8.Encoding.GetBytes)];
                double? missing = field.MissingValue is { } value ? field.Values.ToList().IndexOf(value) : field.MissingNumber;
                int? baseValue = field.BaseValue is { } text ? field.Values.ToList().IndexOf(text) : null;
                yield return new CsvColumn(field.Name, CsvFile.Find(header, field.Name, path, dialect), feature, field.Kind, values, missing, baseValue);
                feature += field.FeatureNames.Count();
            }
        }
    }

    /// <summary>Why a cell was not read.</summary>
    private static BadInputException Fault(CsvReader reader, CsvColumn column, string path, CsvDialect dialect)
    {
        if (column.Kind == FieldKind.Category)
        {
            CsvFile.Text(reader, column.Index, path);                                                              // throws for text that is not UTF-8
            return reader.GetSpan(column.Index).IsEmpty ? CsvFile.Empty(CsvFile.Place(path, reader, column.Name))
                : DataErrors.Bad(DataErrors.UnknownCategory, CsvFile.Place(path, reader, column.Name), "the category is not one that the schema lists.",
                    "Write one of the listed values; or, before training, add this one to the schema. A model keeps the values that it was trained with, so a new one needs another training; one such as 'other', listed from the start, can stand for it.");
        }

        CsvFile.Number(reader, column.Index, column.Name, path, dialect: dialect, mayMiss: column.Missing is not null);                                // throws for what is no number; any other number is neither 0 nor 1
        return TableChecks.NotOneHot(CsvFile.Place(path, reader, column.Name));
    }
}
