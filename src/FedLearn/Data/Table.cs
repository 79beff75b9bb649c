using FedLearn.Diagnostics;
using FedLearn.Numerics;

namespace FedLearn.Data;

/// <summary>Where the table of a party is.</summary>
public sealed record TableSource
{
    /// <summary>A file that ends in <c>.csv</c> (UTF-8, one header line), <c>.npy</c> (two dimensions, numbers, row-major), or <c>.svm</c>,
    /// <c>.libsvm</c> or <c>.svmlight</c> (sparse rows, <c>label index:value ... # comment</c>).</summary>
    public required string Path { get; init; }

    /// <summary>CSV: name of the id column. Null: the schema's, else <c>id</c>.</summary>
    public string? Id { get; init; }

    /// <summary>CSV: names of the columns that make the id together, instead of <see cref="Id"/>; an id is then their normalised values with
    /// <see cref="RowIds.ColumnSeparator"/> between them, none of them empty. All parties name as many, in the same order; the names may differ. Null: one column.</summary>
    public IReadOnlyList<string>? IdColumns { get; init; }

    /// <summary>CSV: what separates cells: a comma, a semicolon, a tab or a vertical bar.</summary>
    /// <value>Default a comma.</value>
    public char Separator { get; init; } = ',';

    /// <summary>CSV: what stands before decimals, a point, or a comma where the separator is another. Numbers alone are read with it, not ids or categories.</summary>
    /// <value>Default a point.</value>
    public char DecimalMark { get; init; } = '.';

    /// <summary>CSV: name of the label column. Null: the schema's, where labels are needed.</summary>
    public string? Label { get; init; }

    /// <summary>CSV: words of the label column in place of numbers, at least two, each once: the first is class 0, the second 1, and so on. They are compared exactly. Null: labels are numbers.</summary>
    public IReadOnlyList<string>? LabelWords { get; init; }

    /// <summary>Path of the schema. Null: every column but id, label, weight, offset and exposure is numeric without a range.</summary>
    public string? Schema { get; init; }

    /// <summary>.npy and sparse rows: a text file with one id a line. Null: the ids are the row numbers from 0.</summary>
    public string? Ids { get; init; }

    /// <summary>.npy: a .npy file of one dimension with the labels.</summary>
    public string? Labels { get; init; }

    /// <summary>Sparse rows: the index of the first column, 0 or 1. Null: 1.</summary>
    public int? FirstIndex { get; init; }

    /// <summary>Sparse rows: the number of columns, from 1 to 10,000,000. Null: the schema's, else the largest index of the file,
    /// which above 65,536 needs a cell for every 64 columns (FL3033).</summary>
    public int? Columns { get; init; }

    /// <summary>Weights of the rows, finite and at least 0: CSV: name of their column; .npy: a .npy file of one dimension. Read where labels are needed,
    /// left out elsewhere. Null: every row counts 1.</summary>
    public string? Weight { get; init; }

    /// <summary>Offsets, known parts of the linear predictor, finite: CSV: name of their column; .npy: a .npy file of one dimension. For the active
    /// party, to train and to predict. Null: none.</summary>
    public string? Offset { get; init; }

    /// <summary>Exposures, finite and above 0, for families whose link is the logarithm. Their logarithm is an offset, added to <see cref="Offset"/> where both are given: CSV: name of their
    /// column; .npy: a .npy file of one dimension. Null: none.</summary>
    public string? Exposure { get; init; }

    /// <summary>How the features of the rows are stored. Not of sparse rows, which are stored as float64.</summary>
    /// <value>Default float64.</value>
    public FeatureStorage Storage { get; init; }

    /// <summary>A folder for a scratch file that the features of the rows are kept in, mapped instead of in memory; a .npy file is mapped then too. For tables larger than memory; not of sparse
    /// rows. The file takes 8 bytes a cell (float32: 4), can be read by this user alone, and is gone when the process ends. Null: in memory.</summary>
    public string? Scratch { get; init; }

    /// <summary>The declared range of the label, ends included; a label outside it is refused. Null: any finite label.</summary>
    public (double Low, double High)? LabelRange { get; init; }
}

/// <summary>How cells are stored. Products and sums are float64 all the same.</summary>
public enum FeatureStorage
{
    /// <summary>8 bytes a cell.</summary>
    Float64 = 0,

    /// <summary>4 bytes a cell, rounded to the nearest: half the memory, and half the time where memory is what a round waits for. A bound on the length of rows holds for the rounded ones.</summary>
    Float32 = 1,
}

/// <summary>The rows of one party: ids, encoded columns and perhaps labels, weights and offsets. Not changed after it was made.</summary>
public sealed class Table
{
    private readonly Func<int, string> _placeOf;

    internal Table(TableSchema schema, IReadOnlyList<string> ids, DenseMatrix values, RowInputs inputs, string place,
        IReadOnlyList<string>? ignoredColumns = null, Func<int, string>? placeOf = null) : this(schema, ids, new MatrixCells(values), inputs, place, ignoredColumns, placeOf) { }

    internal Table(TableSchema schema, IReadOnlyList<string> ids, TableCells cells, RowInputs inputs, string place,
        IReadOnlyList<string>? ignoredColumns = null, Func<int, string>? placeOf = null) : this(schema, ids, inputs, place, ignoredColumns, placeOf) => Cells = cells;

    internal Table(TableSchema schema, IReadOnlyList<string> ids, SparseMatrix values, RowInputs inputs, string place, Func<int, string> placeOf)
        : this(schema, ids, inputs, place, null, placeOf) => Sparse = values;

    private Table(TableSchema schema, IReadOnlyList<string> ids, RowInputs inputs, string place, IReadOnlyList<string>? ignoredColumns, Func<int, string>? placeOf)
    {
        (Schema, Ids, Place) = (schema, ids, place);
        (Labels, Weights, Offsets, HasExposures) = (inputs.Labels, inputs.Weights, inputs.Offsets, inputs.Exposed);
        IgnoredColumns = ignoredColumns ?? [];
        _placeOf = placeOf ?? (row => $"{place}, row {row + 1}");
    }

    /// <summary>What the columns are.</summary>
    public TableSchema Schema { get; }

    /// <summary>Normalised ids, shape [n]; unique and not empty.</summary>
    public IReadOnlyList<string> Ids { get; }

    /// <summary>Encoded but unscaled columns, shape [n x features]; finite.</summary>
    /// <exception cref="InvalidOperationException">The table is sparse, and has <see cref="Sparse"/> instead; or its file is mapped, and <see cref="CopyRow"/> reads it.</exception>
    public DenseMatrix Values => (Cells as MatrixCells)?.Matrix
        ?? throw new InvalidOperationException("The table is sparse or mapped: use Sparse or CopyRow, or FeatureMap.TransformRows, which takes all kinds.");

    /// <summary>Cells of a table that is not sparse; null for one that is.</summary>
    internal TableCells? Cells { get; }

    /// <summary>How the features of the rows are stored.</summary>
    public FeatureStorage Storage { get; internal init; }

    /// <summary>The folder of <see cref="TableSource.Scratch"/>; null: features are in memory.</summary>
    internal string? Scratch { get; init; }

    /// <summary>The same table with other storage of features.</summary>
    /// <param name="storage">How they are stored.</param>
    /// <exception cref="InvalidOperationException">The table is sparse.</exception>
    public Table With(FeatureStorage storage) => new(Schema, Ids, Cells ?? throw new InvalidOperationException("Sparse rows are stored as float64."),
        new RowInputs(Labels, Weights, Offsets, HasExposures), Place, IgnoredColumns, _placeOf)
    {
        Storage = storage,
        Scratch = Scratch,
    };

    /// <summary>Writes the encoded but unscaled cells of a row.</summary>
    /// <param name="row">Row from 0.</param>
    /// <param name="cells">Receives them, shape [features].</param>
    public void CopyRow(int row, Span<double> cells)
    {
        cells = cells[..Schema.FeatureNames.Count];
        if (Cells is not null)
        {
            Cells.Row(row, cells).CopyTo(cells);
            return;
        }

        cells.Clear();
        ReadOnlySpan<int> columns = Sparse!.RowColumns(row);
        ReadOnlySpan<double> values = Sparse.RowValues(row);
        for (int k = 0; k < columns.Length; k++)
            cells[columns[k]] = values[k];
    }

    /// <summary>Encoded but unscaled columns of a sparse table, shape [n x features], finite; null for a dense one, which has <see cref="Values"/>.</summary>
    public SparseMatrix? Sparse { get; }

    /// <summary>Labels as read, shape [n], finite; null when none were asked for.</summary>
    public double[]? Labels { get; }

    /// <summary>How much each row counts, shape [n], finite and at least 0; null when every row counts 1.</summary>
    public double[]? Weights { get; }

    /// <summary>Known part of each row's linear predictor, on the scale of the link, shape [n], finite: the offset plus the logarithm of the exposure;
    /// null when neither was given.</summary>
    public double[]? Offsets { get; }

    /// <summary>Whether there are logarithms of exposures in <see cref="Offsets"/>.</summary>
    internal bool HasExposures { get; }

    /// <summary>Where the table is from, for errors.</summary>
    public string Place { get; }

    /// <summary>Columns of the file that neither the source nor the schema names. They are not used.</summary>
    public IReadOnlyList<string> IgnoredColumns { get; }

    /// <summary>Where a row is from, for errors: the file with the line.</summary>
    /// <param name="row">Row from 0.</param>
    public string PlaceOf(int row)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, Ids.Count);
        return _placeOf(row);
    }

    /// <summary>Reads a table. Either the whole table is legal, or an error names the first fault.</summary>
    /// <param name="source">Where it is.</param>
    /// <param name="needLabel">Whether labels, and the weights that the source names, are read. If not, their columns are left out all the same.
    /// Offsets and exposures are read whenever they are named, since predictions need them too.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="ArgumentNullException">The source or its path is null.</exception>
    /// <exception cref="ConfigurationException">The schema is not legal (FL2200 to FL2204), labels are needed and not named (FL2206),
    /// or the source does not fit its kind of file (FL2207).</exception>
    /// <exception cref="BadInputException">The data cannot be used (FL3000 to FL3017), a weight or exposure is not legal (FL3030, FL3031), or a sparse row is
    /// malformed (FL3032, FL3033), or a label is none of the words named (FL3035).</exception>
    public static Table Load(TableSource source, bool needLabel, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(source.Path);
        string kind = System.IO.Path.GetExtension(source.Path).ToLowerInvariant();
        if ((source.FirstIndex ?? source.Columns) is not null && kind is ".csv" or ".npy")
        {
            throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "a first index or a number of columns belongs to sparse rows.",
                "Leave it out, or give a file that ends in .svm, .libsvm or .svmlight.");
        }

        if ((source.Storage != FeatureStorage.Float64 || source.Scratch is not null) && SvmTable.IsNameOf(source.Path))
        {
            throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "sparse rows are stored as float64, in memory.", "Leave storage and scratch out, or give a .csv or .npy file.");
        }

        if ((source.Separator != ',' || source.DecimalMark != '.' || source.LabelWords is not null) && (kind == ".npy" || SvmTable.IsNameOf(source.Path)))
            throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "a separator, a decimal mark or words of the label belong to CSV files.", "Leave them out, or give a file that ends in .csv.");

        TableSchema? schema = source.Schema is null ? null : TableSchema.Load(source.Schema);
        try
        {
            return kind switch
            {
                ".csv" => CsvTable.Read(source, schema, needLabel, cancellationToken),
                ".npy" => NpyTable.Read(source, schema, needLabel, cancellationToken),
                _ when SvmTable.IsNameOf(source.Path) => SvmTable.Read(source, schema, needLabel, cancellationToken),
                ".gz" => throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "the name ends in .gz, and compressed files are not read.", "Decompress the file, and name the result."),
                _ => throw DataErrors.Config(DataErrors.UnsuitableSource, source.Path, "the name ends neither in .csv nor in .npy, .svm, .libsvm or .svmlight.",
                    "Give a CSV file, a NumPy array or sparse rows, named so. A table with tabs between cells is a CSV file, whose separator is then \"\\t\"."),
            };
        }
        catch (OutOfMemoryException e)
        {
            throw DataErrors.Bad(DataErrors.TooLarge, source.Path, "the table needs more memory than there is.",
                "Use fewer rows or columns; write a table of mostly zeros as sparse rows (.svm), or as .npy with a folder under data.scratch, which keeps it on disk.", e);
        }
    }

    /// <summary>Makes a table of values in memory.</summary>
    /// <param name="ids">Ids, shape [n]; normalised here.</param>
    /// <param name="featureNames">Names of the columns, unique.</param>
    /// <param name="values">Encoded but unscaled columns, shape [n x features]; finite. Not copied.</param>
    /// <param name="labels">Labels, shape [n], finite; or null. Not copied.</param>
    /// <param name="schema">What the columns are; its features are <paramref name="featureNames"/>. Null: numeric without ranges.</param>
    /// <param name="weights">How much each row counts, shape [n], finite and at least 0; null: 1. Not copied.</param>
    /// <param name="offsets">Known part of each row's linear predictor, shape [n], finite; null: 0. Not copied.</param>
    /// <exception cref="ArgumentException">Shapes or names do not fit together, or an id has half a surrogate pair.</exception>
    /// <exception cref="ConfigurationException">A name is empty (FL2203) or appears twice (FL2204).</exception>
    /// <exception cref="BadInputException">There are no rows (FL3010), an id is empty or a duplicate (FL3008, FL3009), a value, label, weight or
    /// offset is not finite (FL3006), or a weight is below 0 (FL3030).</exception>
    public static Table FromMatrix(IReadOnlyList<string> ids, IReadOnlyList<string> featureNames, DenseMatrix values, double[]? labels = null,
        TableSchema? schema = null, double[]? weights = null, double[]? offsets = null)
    {
        ArgumentNullException.ThrowIfNull(values);
        schema = CheckShapes(ids, featureNames, values.Rows, values.Columns, schema, labels);
        RowInputs inputs = CheckInputs(ids, labels, weights, offsets);
        TableChecks.Finite(values, featureNames, PlaceInMemory);
        return new Table(schema, TableChecks.Ids(ids, PlaceInMemory), values, inputs, InMemory, placeOf: PlaceInMemory);
    }

    /// <summary>Makes a table of sparse values in memory.</summary>
    /// <param name="ids">Ids, shape [n]; normalised here.</param>
    /// <param name="featureNames">Names of the columns, unique.</param>
    /// <param name="values">Encoded but unscaled columns, shape [n x features]; finite. Not copied.</param>
    /// <param name="labels">Labels, shape [n], finite; or null. Not copied.</param>
    /// <param name="schema">What the columns are; its features are <paramref name="featureNames"/>. Null: numeric without ranges.</param>
    /// <param name="weights">How much each row counts, shape [n], finite and at least 0; null: 1. Not copied.</param>
    /// <param name="offsets">Known part of each row's linear predictor, shape [n], finite; null: 0. Not copied.</param>
    /// <exception cref="ArgumentException">As for <see cref="FromMatrix"/>.</exception>
    /// <exception cref="ConfigurationException">As for <see cref="FromMatrix"/>.</exception>
    /// <exception cref="BadInputException">As for <see cref="FromMatrix"/>.</exception>
    public static Table FromSparse(IReadOnlyList<string> ids, IReadOnlyList<string> featureNames, SparseMatrix values, double[]? labels = null,
        TableSchema? schema = null, double[]? weights = null, double[]? offsets = null)
    {
        ArgumentNullException.ThrowIfNull(values);
        schema = CheckShapes(ids, featureNames, values.Rows, values.Columns, schema, labels);
        RowInputs inputs = CheckInputs(ids, labels, weights, offsets);
        TableChecks.Finite(values, featureNames, PlaceInMemory);
        return new Table(schema, TableChecks.Ids(ids, PlaceInMemory), values, inputs, InMemory, PlaceInMemory);
    }

    private const string InMemory = "table in memory";

    private static string PlaceInMemory(int row) => $"{InMemory}, row {row + 1}";

    private static TableSchema CheckShapes(IReadOnlyList<string> ids, IReadOnlyList<string> featureNames, int rows, int columns, TableSchema? schema, double[]? labels)
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(featureNames);
        if (rows != ids.Count || columns != featureNames.Count)
            throw new ArgumentException($"{ids.Count} ids and {featureNames.Count} names do not fit {rows} x {columns} values.", nameof(ids));
        // A table of labels alone has to say so.
        schema ??= TableSchema.Create([.. featureNames.Select(name => Field.Numeric(name))], labelColumn: labels is not null && featureNames.Count == 0 ? "label" : null, place: InMemory);
        if (!schema.FeatureNames.SequenceEqual(featureNames, StringComparer.Ordinal))
            throw new ArgumentException("The schema's features have other names.", nameof(schema));
        return schema;
    }

    private static RowInputs CheckInputs(IReadOnlyList<string> ids, double[]? labels, double[]? weights, double[]? offsets)
    {
        (string Name, double[]? Values)[] inputs = [("label", labels), ("weight", weights), ("offset", offsets)];
        foreach ((string name, double[]? given) in inputs)
        {
            if (given is not null && given.Length != ids.Count)
                throw new ArgumentException($"{ids.Count} ids do not fit {given.Length} values of {name}.");
        }

        if (ids.Count == 0)
            throw DataErrors.Bad(DataErrors.NoRows, InMemory, "the table has no rows.", "Give at least one row.");
        foreach ((string name, double[]? given) in inputs)
        {
            if (given is not null)
                TableChecks.Finite(new DenseMatrix(given.Length, 1, given), [name], PlaceInMemory);
        }

        for (int row = 0; row < weights?.Length; row++)
            RowInputs.Check(RowInputKind.Weight, weights[row], null, () => PlaceInMemory(row));
        return new RowInputs(labels, weights, offsets);
    }
}
