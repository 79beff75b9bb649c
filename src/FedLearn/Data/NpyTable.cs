using FedLearn.Diagnostics;
using FedLearn.Numerics;

namespace FedLearn.Data;

/// <summary>Reads tables from NumPy arrays.</summary>
internal static class NpyTable
{
    internal static Table Read(TableSource source, TableSchema? schema, bool needLabel, CancellationToken cancellationToken)
    {
        string path = source.Path;
        if ((source.Id ?? (object?)source.IdColumns) is not null || source.Label is not null)
            throw Unsuitable(path, "an array has no named columns for id and label.", "Give ids and labels as files.");
        if (schema?.Fields.FirstOrDefault(field => field.Kind == FieldKind.Category) is { } category)
            throw Unsuitable(path, $"the schema's field '{category.Name}' is text, and an array holds numbers.", "Declare it one-hot, or use a CSV file.");
        if (needLabel && source.Labels is null)
            throw DataErrors.Config(DataErrors.LabelNotNamed, path, "labels are needed, and no file of them is named.", "Name a .npy file by labels.");

        TableCells cells = source.Scratch is not null ? NpyFile.Map(path) : Loaded(path, cancellationToken);
        (int rows, int columns) = (cells.Rows, cells.Columns);
        if (rows == 0)
            throw DataErrors.Bad(DataErrors.NoRows, path, "the array has no rows.", "Give at least one row.");
        if (columns == 0)
            throw DataErrors.Bad(DataErrors.ColumnMissing, path, "the array has no columns.", "Give at least one column.");
        schema ??= TableSchema.Create([.. Enumerable.Range(0, columns).Select(j => Field.Numeric($"x{j}"))], place: path);
        if (schema.FeatureNames.Count != columns)
        {
            throw DataErrors.Bad(DataErrors.WrongShape, path, $"the array has {columns} {Counted.Noun(columns, "column")}, and the schema {schema.FeatureNames.Count}.",
                "Give the columns of the schema, in its order.");
        }

        string PlaceOf(int row) => $"{path}, row {row + 1}";
        ReplaceMissing(schema, cells);
        Check(schema, cells, PlaceOf, cancellationToken);
        var read = RowInputs.Named(source, source.Labels, needLabel)
            .ToDictionary(input => input.Kind, input => ReadInput(input.Kind, input.Name, source.LabelRange, rows, cancellationToken));
        PackedIds ids = source.Ids is { } file
            ? TableChecks.Ids(IdFile.Read(file, rows), row => $"{file}, line {row + 1}", columns: 1)
            : PackedIds.Numbers(rows);
        return new Table(schema, ids, cells, RowInputs.Of(read), path, placeOf: PlaceOf) { Storage = source.Storage, Scratch = source.Scratch };
    }

    private static MatrixCells Loaded(string path, CancellationToken cancellationToken)
    {
        (int rows, int columns, double[] values) = NpyFile.Read(path, dimensions: 2, cancellationToken);
        return new MatrixCells(new DenseMatrix(rows, columns, values));
    }

    /// <summary>NaN is how an array says that a value is missing.</summary>
    private static void ReplaceMissing(TableSchema schema, TableCells cells)
    {
        var missing = new List<(int Column, double Constant)>();
        int column = 0;
        foreach (Field field in schema.Fields)
        {
            if (field.MissingNumber is { } constant)
                missing.Add((column, constant));
            column += field.FeatureNames.Count();
        }

        if (cells is NpyCells mapped)
            mapped.Missing = [.. missing];
        else if (cells is MatrixCells { Matrix: var values })
            foreach ((int j, double constant) in missing)
                for (int row = 0; row < values.Rows; row++)
                    if (double.IsNaN(values.Row(row)[j]))
                        values.Row(row)[j] = constant;
    }

    /// <summary>Refuses what is not finite, and in one-hot fields what is neither 0 nor 1, in one reading of the rows.</summary>
    private static void Check(TableSchema schema, TableCells cells, Func<int, string> placeOf, CancellationToken cancellationToken)
    {
        int[] oneHot = [.. schema.Fields.SelectMany(field => field.FeatureNames.Select(_ => field.Kind == FieldKind.OneHot)).Select((is01, j) => (is01, j)).Where(c => c.is01).Select(c => c.j)];
        double[] buffer = new double[cells.Columns];
        for (int row = 0; row < cells.Rows; row++)
        {
            if (row % (1 << 16) == 0)
                cancellationToken.ThrowIfCancellationRequested();
            ReadOnlySpan<double> values = cells.Row(row, buffer);
            TableChecks.Finite(values, row, schema.FeatureNames, placeOf);
            foreach (int j in oneHot)
                if (values[j] is not (0 or 1))
                    throw TableChecks.NotOneHot($"{placeOf(row)}, column '{schema.FeatureNames[j]}'");
        }
    }

    internal static double[] ReadInput(RowInputKind kind, string path, (double Low, double High)? labelRange, int rows, CancellationToken cancellationToken)
    {
        string name = kind.ToString().ToLowerInvariant();
        (int count, _, double[] values) = NpyFile.Read(path, dimensions: 1, cancellationToken);
        if (count != rows)
            throw DataErrors.Bad(DataErrors.WrongShape, path, $"there {Counted.Noun(count, "is", "are")} {count} {Counted.Noun(count, "value")} of the {name} for {rows} {Counted.Noun(rows, "row")}.", "Give one a row.");
        if (Array.FindIndex(values, value => !double.IsFinite(value)) is >= 0 and int first)
            throw TableChecks.NotFinite($"{path}, row {first + 1}", name, isFeature: false);
        for (int i = 0; i < rows; i++)
        {
            int row = i;
            RowInputs.Check(kind, values[row], labelRange, () => $"{path}, row {row + 1}");
        }

        return values;
    }

    private static ConfigurationException Unsuitable(string path, string cause, string remedy) =>
        DataErrors.Config(DataErrors.UnsuitableSource, path, cause, remedy);
}
