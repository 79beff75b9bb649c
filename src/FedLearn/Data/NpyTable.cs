using System.Globalization;
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

        (int rows, int columns, double[] values) = NpyFile.Read(path, dimensions: 2, cancellationToken);
        if (rows == 0)
            throw DataErrors.Bad(DataErrors.NoRows, path, "the array has no rows.", "Give at least one row.");
        if (columns == 0)
            throw DataErrors.Bad(DataErrors.ColumnMissing, path, "the array has no columns.", "Give at least one column.");
        schema ??= TableSchema.Create([.. Enumerable.Range(0, columns).Select(j => Field.Numeric($"x{j}"))], place: path);
        if (schema.FeatureNames.Count != columns)
        {
            throw DataErrors.Bad(DataErrors.WrongShape, path, $"the array has {columns} columns, and the schema {schema.FeatureNames.Count}.",
                "Give the columns of the schema, in its order.");
        }

        string PlaceOf(int row) => $"{path}, row {row + 1}";
        var matrix = new DenseMatrix(rows, columns, values);
        ReplaceMissing(schema, matrix);
        TableChecks.Finite(matrix, schema.FeatureNames, PlaceOf);
        CheckOneHot(schema, matrix, PlaceOf);
        var read = RowInputs.Named(source, source.Labels, needLabel)
            .ToDictionary(input => input.Kind, input => ReadInput(input.Kind, input.Name, source.LabelRange, rows, cancellationToken));
        string[] ids = source.Ids is { } file
            ? TableChecks.Ids(IdFile.Read(file, rows), row => $"{file}, line {row + 1}", columns: 1)
            : [.. Enumerable.Range(0, rows).Select(row => row.ToString(CultureInfo.InvariantCulture))];
        return new Table(schema, ids, matrix, RowInputs.Of(read), path, placeOf: PlaceOf);
    }

    /// <summary>NaN is how an array says that a value is missing.</summary>
    private static void ReplaceMissing(TableSchema schema, DenseMatrix values)
    {
        int column = 0;
        foreach (Field field in schema.Fields)
        {
            for (int row = 0; field.MissingNumber is { } constant && row < values.Rows; row++)
            {
                ref double value = ref values.Row(row)[column];
                if (double.IsNaN(value))
                    value = constant;
            }

            column += field.FeatureNames.Count();
        }
    }

    private static void CheckOneHot(TableSchema schema, DenseMatrix values, Func<int, string> placeOf)
    {
        int column = 0;
        foreach (Field field in schema.Fields)
        {
            foreach (string name in field.FeatureNames)
            {
                for (int row = 0; field.Kind == FieldKind.OneHot && row < values.Rows; row++)
                {
                    if (values.Row(row)[column] is not (0 or 1))
                        throw TableChecks.NotOneHot($"{placeOf(row)}, column '{name}'");
                }

                column++;
            }
        }
    }

    internal static double[] ReadInput(RowInputKind kind, string path, (double Low, double High)? labelRange, int rows, CancellationToken cancellationToken)
    {
        string name = kind.ToString().ToLowerInvariant();
        (int count, _, double[] values) = NpyFile.Read(path, dimensions: 1, cancellationToken);
        if (count != rows)
            throw DataErrors.Bad(DataErrors.WrongShape, path, $"there are {count} values of the {name} for {rows} rows.", "Give one a row.");
        TableChecks.Finite(new DenseMatrix(rows, 1, values), [name], row => $"{path}, row {row + 1}");
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
