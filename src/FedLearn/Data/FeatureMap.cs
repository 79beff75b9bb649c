using System.Globalization;
using System.Numerics.Tensors;
using System.Text.Json;
using System.Text.Json.Serialization;
using FedLearn.Diagnostics;
using FedLearn.Numerics;

namespace FedLearn.Data;

/// <summary>How the columns of one table become the features of a model. Fitted once, saved with the model, applied to any table of these columns.</summary>
/// <remarks>A row-wise map: column j becomes (x_j - center_j) / width_j, clipped to [-1, 1] where a range is declared; then the length of the row is
/// bounded as <see cref="RowBound"/> says and multiplied by R. Only <see cref="Scaling.Rounded"/> and <see cref="Scaling.Standardize"/> look at
/// rows; they scale every encoded column, one-hot ones too. The other scalings leave columns of 0 and 1 as they are. Thread-safe.</remarks>
public sealed partial class FeatureMap
{
    /// <summary>Name of the appended constant.</summary>
    public const string ConstantName = "(constant)";

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.KebabCaseLower, allowIntegerValues: false) },
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
    };

    private readonly State _state;
    private readonly double[] _centers;
    private readonly double[] _widths;
    private readonly int[] _clipped;
    private readonly bool _scales;

    private FeatureMap(State state)
    {
        _state = state;
        _centers = [.. state.Columns.Select(column => column.Center)];
        _widths = [.. state.Columns.Select(column => column.Width)];
        _clipped = [.. Enumerable.Range(0, state.Columns.Count).Where(j => state.Columns[j].Clip)];
        // A declared range of exactly [-1, 1] has centre 0 and width 1, and still clips the cells outside of it.
        _scales = _clipped.Length > 0 || _centers.Any(center => center != 0) || _widths.Any(width => width != 1);
        IEnumerable<string> names = state.Columns.Select(column => column.Name);
        FeatureNames = [.. state.Constant ? names.Append(ConstantName) : names];
    }

    /// <summary>Names of the features, in order; the constant, if any, is last and named <see cref="ConstantName"/>.</summary>
    public IReadOnlyList<string> FeatureNames { get; }

    /// <summary>Whether its constants were taken from rows, so that a privacy claim is conditional on them.</summary>
    public bool DependsOnData => _state.Scaling is Scaling.Rounded or Scaling.Standardize;

    /// <summary>Largest length R of a row that <see cref="Transform"/> gives; null when rows are not bounded.</summary>
    public double? LongestRow => _state.Rows == RowBound.None ? null : _state.RowNorm;

    /// <summary>What it does.</summary>
    public FeatureMapDescription Description => new(_state.Columns, _state.Rows, LengthLimit, _state.Constant, _state.RowNorm);

    /// <summary>Fits a map.</summary>
    /// <param name="table">The table whose columns it takes.</param>
    /// <param name="trainRows">Rows that mean and deviation are taken from; other scalings ignore them.</param>
    /// <param name="options">How to scale and bound.</param>
    /// <param name="constant">Whether the constant 1 is appended; replaces <see cref="PreprocessingOptions.Constant"/>, whose default depends on the job.</param>
    /// <exception cref="ConfigurationException">The row norm is not legal (FL2209), or scaling is declared and a field has no range (FL2205).</exception>
    /// <exception cref="BadInputException">Mean and deviation are asked for and there are no training rows (FL3023), or a column has the same value in
    /// all of them (FL3018), or values too large to square (FL3024).</exception>
    public static FeatureMap Fit(Table table, ReadOnlySpan<int> trainRows, PreprocessingOptions options, bool constant) => Fit(table, trainRows, options, constant, "the training rows", null, _ => false);

    /// <summary>Fits a map to some of the training rows.</summary>
    /// <param name="table">The table.</param>
    /// <param name="trainRows">The rows.</param>
    /// <param name="options">How to scale and bound.</param>
    /// <param name="constant">Whether the constant 1 is appended.</param>
    /// <param name="named">What the rows are, for errors.</param>
    /// <param name="zeros">Told the columns that have the same value in all of the rows and become 0 there; null for nobody.</param>
    /// <param name="mayBeZero">Which fields may have such columns; those of the others are refused.</param>
    internal static FeatureMap Fit(Table table, ReadOnlySpan<int> trainRows, PreprocessingOptions options, bool constant, string named, List<string>? zeros, Func<Field, bool> mayBeZero)
    {
        ArgumentNullException.ThrowIfNull(table);
        ArgumentNullException.ThrowIfNull(options);
        if (!(double.IsFinite(options.RowNorm) && options.RowNorm > 0) || !Enum.IsDefined(options.Scaling) || !Enum.IsDefined(options.Rows))
        {
            throw DataErrors.Config(DataErrors.PreprocessingInvalid, "preprocessing", "the row norm is not finite and above 0, or a mode is unknown.",
                "Give a row norm above 0, usually 1, and modes that the documentation lists.");
        }

        ScaledColumn[] columns = options.Scaling switch
        {
            Scaling.Declared => [.. table.Schema.Fields.SelectMany(field => Declared(field, table.Place))],
            Scaling.Rounded or Scaling.Standardize => Standardized(table, trainRows, options.Scaling == Scaling.Rounded, named, zeros, mayBeZero),
            _ => [.. table.Schema.FeatureNames.Select(name => new ScaledColumn(name, 0, 1, Clip: false))],
        };
        if (options.Scaling is Scaling.Declared or Scaling.None)
            zeros?.AddRange(Zeros(table, trainRows, mayBeZero));
        return new FeatureMap(new State(State.CurrentFormat, options.Scaling, options.Rows, options.RowNorm, constant, table.Schema.Fields.Count, columns));
    }

    /// <summary>Columns of 0 and 1 that are 0 in all of some rows. Looks at no cell where no field may have such columns.</summary>
    private static IEnumerable<string> Zeros(Table table, ReadOnlySpan<int> rows, Func<Field, bool> mayBeZero)
    {
        bool[] mayBe = Columns(table, field => field.Kind != FieldKind.Numeric && mayBeZero(field));
        if (rows.IsEmpty || !mayBe.Contains(true))
            return [];
        ColumnMoments[] moments = MomentsOf(table, rows);
        return Enumerable.Range(0, mayBe.Length).Where(j => mayBe[j] && moments[j] is { IsConstant: true, Mean: 0 }).Select(j => table.Schema.FeatureNames[j]);
    }

    private static ColumnMoments[] MomentsOf(Table table, ReadOnlySpan<int> rows) => table.Sparse is { } sparse ? ColumnMoments.Of(sparse, rows) : ColumnMoments.Of(table.Cells!, rows);

    private static bool[] Columns(Table table, Func<Field, bool> of) => [.. table.Schema.Fields.SelectMany(field => field.FeatureNames.Select(_ => of(field)))];

    /// <summary>Applies the map to rows, as <see cref="Transform"/> does, and keeps the rows of a sparse table sparse.</summary>
    /// <param name="table">A table with the columns of the map, in any order.</param>
    /// <param name="rows">Rows to take, each from 0; may repeat.</param>
    /// <returns>Features, shape [rows x features]; bounded as those of <see cref="Transform"/>.</returns>
    /// <exception cref="BadInputException">The table has other columns (FL3021), or a scaled value is beyond float64 (FL3024); in a sparse table whose columns
    /// are centred, beyond 1e140.</exception>
    public FeatureRows TransformRows(Table table, ReadOnlySpan<int> rows)
    {
        ArgumentNullException.ThrowIfNull(table);
        if (table.Sparse is { } sparse)
            return SparseFeatures(table, sparse, rows);
        bool single = table.Storage == FeatureStorage.Float32;
        if (!single && table.Scratch is null)
            return new DenseRows(Transform(table, rows));
        return table.Scratch is { } scratch ? MappedFeatures(table, rows, scratch, single) : SingleFeatures(table, rows);
    }

    /// <summary>Applies the map to rows.</summary>
    /// <param name="table">A table with the columns of the map, in any order.</param>
    /// <param name="rows">Rows to take, each from 0; may repeat.</param>
    /// <returns>Features with all their cells, shape [rows x features]. Where rows are bounded, every row's length is at most <see cref="LongestRow"/>, as a
    /// real number and as float64 arithmetic in any order of summation computes it.</returns>
    /// <exception cref="BadInputException">The table has other columns (FL3021), a scaled value is beyond float64 (FL3024), or there are more cells than fit one matrix (FL3016).</exception>
    /// <exception cref="InvalidOperationException">The table is sparse: <see cref="TransformRows"/> takes both kinds.</exception>
    public DenseMatrix Transform(Table table, ReadOnlySpan<int> rows)
    {
        ArgumentNullException.ThrowIfNull(table);
        int[]? order = SourceColumns(table);
        CheckCells(table, rows.Length);
        DenseMatrix features;
        try
        {
            features = new DenseMatrix(rows.Length, FeatureNames.Count);
        }
        catch (OutOfMemoryException e)
        {
            throw DataErrors.TooManyCells(table.Place, rows.Length, FeatureNames.Count, e);
        }

        TableCells source = table.Cells ?? throw new InvalidOperationException("The table is sparse: TransformRows takes both kinds.");
        double[] buffer = new double[source.Columns];
        for (int i = 0; i < rows.Length; i++)
            TransformRow(table, source.Row(rows[i], buffer), order, rows[i], features.Row(i));
        return features;
    }

    /// <summary>Refuses rows whose values <see cref="TransformRows"/> would refuse, and keeps nothing of them.</summary>
    /// <param name="table">A table with the columns of the map, in any order.</param>
    /// <param name="rows">Rows to look at.</param>
    /// <exception cref="BadInputException">The table has other columns (FL3021), or a scaled value is too large (FL3024).</exception>
    internal void CheckRows(Table table, ReadOnlySpan<int> rows)
    {
        const int Most = 1 << 16;
        if (table.Sparse is { } sparse)
        {
            for (int i = 0; i < rows.Length; i += Most)
                SparseFeatures(table, sparse, rows.Slice(i, Math.Min(Most, rows.Length - i)));
            return;
        }

        TableCells source = table.Cells!;
        int[] sources = rows.ToArray();
        if (source.IsSequential)
            Array.Sort(sources);
        int[]? order = SourceColumns(table);
        double[] buffer = new double[source.Columns], cells = new double[FeatureNames.Count];
        float[]? rounded = table.Storage == FeatureStorage.Float32 ? new float[cells.Length] : null;
        foreach (int row in sources)
        {
            TransformRow(table, source.Row(row, buffer), order, row, cells);
            if (rounded is not null)
                Round(table, row, cells, rounded);
        }
    }

    /// <summary>Checks that a table has the columns of the map, by name and in any order.</summary>
    /// <param name="table">A table, dense or sparse.</param>
    /// <exception cref="BadInputException">The table has other columns (FL3021).</exception>
    internal void CheckColumns(Table table) => SourceColumns(table);

    /// <summary>Applies the map to one row.</summary>
    /// <param name="table">The table, for errors.</param>
    /// <param name="source">Its cells.</param>
    /// <param name="order">For each column of the map its place in the source; null when they are in order.</param>
    /// <param name="number">Number of the row, for errors.</param>
    /// <param name="cells">Receives the features.</param>
    private void TransformRow(Table table, ReadOnlySpan<double> source, int[]? order, int number, Span<double> cells)
    {
        int width = _state.Columns.Count;
        Span<double> row = cells[..width];
        if (order is null)
            source[..width].CopyTo(row);
        else
            for (int j = 0; j < width; j++)
                row[j] = source[order[j]];
        Scale(row);
        if (!double.IsFinite(TensorPrimitives.SumOfMagnitudes<double>(row)))
            ThrowIfNotFinite(row, table.PlaceOf(number));
        if (_state.Constant)
            cells[^1] = 1;
        Bound(cells);
    }

    /// <summary>Whether cells outside of the declared range of their column count as its ends.</summary>
    internal bool Clips => _state.Scaling == Scaling.Declared;

    /// <summary>How many cells of some rows are outside of the declared range of their column.</summary>
    /// <param name="table">A table with the columns of the map, in any order.</param>
    /// <param name="rows">Rows to look at.</param>
    /// <param name="rounding">How far beyond an end a cell still counts as inside, relative to half of the range.</param>
    /// <returns>Every column with a range, which is that of the map where it clips, else that of the table's schema, with its number of cells outside and its least and largest cell.</returns>
    internal IReadOnlyList<(ScaledColumn Column, int Cells, double Least, double Largest)> CountOutside(Table table, ReadOnlySpan<int> rows, double rounding)
    {
        int[]? order = Clips ? SourceColumns(table) : null;
        (ScaledColumn Column, int Place)[] ranges = Clips ? [.. _clipped.Select(j => (_state.Columns[j], order?[j] ?? j))]
            : [.. table.Schema.Fields.SelectMany(field => field is { Min: not null, Max: not null } ? Declared(field, table.Place) : field.FeatureNames.Select(name => new ScaledColumn(name, 0, 1, Clip: false)))
                .Select((column, j) => (column, j)).Where(range => range.column.Clip)];
        if (ranges.Length == 0)
            return [];
        int[] counts = new int[ranges.Length], sources = rows.ToArray(), places = [.. ranges.Select(range => range.Place)];
        if (table.Cells is { IsSequential: true })
            Array.Sort(sources);
        (double[] lows, double[] highs) = ([.. ranges.Select(range => range.Column.Center - ((1 + rounding) * range.Column.Width))], [.. ranges.Select(range => range.Column.Center + ((1 + rounding) * range.Column.Width))]);
        (double[] least, double[] largest) = ([.. ranges.Select(_ => double.PositiveInfinity)], [.. ranges.Select(_ => double.NegativeInfinity)]);
        double[] buffer = new double[table.Schema.FeatureNames.Count];
        foreach (int row in sources)
        {
            ReadOnlySpan<double> cells = buffer;
            if (table.Cells is { } stored)
                cells = stored.Row(row, buffer);
            else
                table.CopyRow(row, buffer);
            for (int k = 0; k < counts.Length; k++)
            {
                double cell = cells[places[k]];
                if (cell < lows[k] || cell > highs[k])
                    counts[k]++;
                (least[k], largest[k]) = (Math.Min(least[k], cell), Math.Max(largest[k], cell));
            }
        }

        return [.. ranges.Select((range, k) => (range.Column, counts[k], least[k], largest[k]))];
    }

    /// <summary>The map as JSON, for the model file. It holds column names and scaling constants.</summary>
    public string ToJson() => JsonSerializer.Serialize(_state, Json);

    /// <summary>Reads a saved map.</summary>
    /// <param name="json">What <see cref="ToJson"/> gave.</param>
    /// <param name="place">Named in errors, usually the file.</param>
    /// <exception cref="BadInputException">The text is no saved map (FL3022).</exception>
    public static FeatureMap FromJson(string json, string place)
    {
        ArgumentNullException.ThrowIfNull(json);
        State? state;
        try
        {
            state = JsonSerializer.Deserialize<State>(json, Json);
        }
        catch (JsonException e)
        {
            throw Malformed(place, e);
        }

        return state is { Format: State.CurrentFormat, Fields: >= 0, Columns: not null } && state.Fields > 0 == state.Columns.Count > 0 && double.IsFinite(state.RowNorm) && state.RowNorm > 0
            && state.Columns.All(column => column is { Name.Length: > 0, Width: > 0 } && double.IsFinite(column.Center) && double.IsFinite(column.Width))
            && state.Columns.DistinctBy(column => column.Name).Count() == state.Columns.Count
            ? new FeatureMap(state)
            : throw Malformed(place, null);
    }

    private static IEnumerable<ScaledColumn> Declared(Field field, string place)
    {
        if (field.Kind != FieldKind.Numeric)
            return field.FeatureNames.Select(name => new ScaledColumn(name, 0, 1, Clip: false));
        if (field is not { Min: { } min, Max: { } max })
        {
            throw DataErrors.Config(DataErrors.RangeMissing, $"{place}, field '{field.Name}'", "scaling is declared, and the field has no public range.",
                "Declare min and max in the schema, or choose the scaling rounded or standardize, whose constants are taken from the data.");
        }

        return [new ScaledColumn(field.Name, (min / 2) + (max / 2), (max / 2) - (min / 2), Clip: true)];
    }

    private static ScaledColumn[] Standardized(Table table, ReadOnlySpan<int> rows, bool rounded, string named, List<string>? zeros, Func<Field, bool> mayBeZero)
    {
        if (rows.IsEmpty)
        {
            throw DataErrors.Bad(DataErrors.NoTrainingRows, table.Place, "mean and deviation need training rows, and there are none.",
                "Check the split, or choose scaling declared.");
        }

        ColumnMoments[] moments = MomentsOf(table, rows);
        var columns = new ScaledColumn[moments.Length];
        var constants = new List<string>();
        bool[] mayBe = Columns(table, mayBeZero);
        for (int j = 0; j < columns.Length; j++)
        {
            string name = table.Schema.FeatureNames[j];
            (double mean, double deviation, bool constant) = moments[j];
            if (constant || deviation == 0)                              // the sums of a constant column need not cancel, its ends do
            {
                if (mayBe[j])
                    zeros?.Add(name);
                else
                    constants.Add(name);
                columns[j] = new ScaledColumn(name, mean, 1, Clip: false);
                continue;
            }

            if (!double.IsFinite(deviation))
                throw TooLarge(table.Place, name);
            columns[j] = rounded
                ? new ScaledColumn(name, OneDigit(mean), OneDigit(deviation), Clip: false)
                : new ScaledColumn(name, mean, deviation, Clip: false);
        }

        if (constants.Count > 0)
            throw DataErrors.Bad(DataErrors.ZeroVariance, $"{table.Place}, {(constants.Count == 1 ? "column" : string.Create(CultureInfo.InvariantCulture, $"{constants.Count:N0} columns"))} {Listed(constants, 10)}",
                $"{named} have the same value, or values too close to tell apart by their squares.",
                $"Leave {(constants.Count == 1 ? "the column" : "these columns")} out, choose scaling declared, or, where a fold of a cross-validation is named, use fewer folds.");
        return columns;
    }

    /// <summary>The first of some names, and how many more there are.</summary>
    internal static string Listed(List<string> names, int most) => string.Join(", ", names.Take(most).Select(name => $"'{name}'"))
        + (names.Count > most ? string.Create(CultureInfo.InvariantCulture, $" and {names.Count - most:N0} more") : "");

    /// <summary>The value rounded to one significant digit, ties to even.</summary>
    internal static double OneDigit(double value) =>
        double.Parse(value.ToString("E0", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);

    private void Scale(Span<double> row)
    {
        if (!_scales)
            return;
        TensorPrimitives.Subtract(row, _centers, row);
        TensorPrimitives.Divide(row, _widths, row);
        foreach (int j in _clipped)
            row[j] = Math.Clamp(row[j], -1, 1);
    }

    /// <summary>Length that a row is shortened to, and divided by, where rows are clipped.</summary>
    private double LengthLimit => _state.Scaling == Scaling.None ? 1 : Math.Sqrt(_state.Fields);

    /// <summary>Bounds the length of a row, of which cells that are 0 may be left out: they add nothing to it.</summary>
    private void Bound(Span<double> cells)
    {
        if (_state.Rows == RowBound.None)
            return;
        if (_state.Rows == RowBound.Normalize)
        {
            RowLength.Normalize(cells);
        }
        else
        {
            RowLength.Clip(cells[..^(_state.Constant ? 1 : 0)], LengthLimit);
            if (_state.Constant)
                TensorPrimitives.Divide(cells, Math.Sqrt(2), cells);
        }

        RowLength.Clip(cells, 1);
        if (_state.RowNorm != 1)
            TensorPrimitives.Multiply(cells, _state.RowNorm, cells);
    }

    /// <summary>For each column of the map its place in the table; null when they are in order.</summary>
    private int[]? SourceColumns(Table table)
    {
        IReadOnlyList<string> names = table.Schema.FeatureNames;
        if (names.SequenceEqual(_state.Columns.Select(column => column.Name), StringComparer.Ordinal))
            return null;
        var positions = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int j = 0; j < names.Count; j++)
            positions.Add(names[j], j);
        var missing = new List<string>();
        int[] order = new int[_state.Columns.Count];
        for (int j = 0; j < order.Length; j++)
        {
            if (!positions.Remove(_state.Columns[j].Name, out order[j]))
                missing.Add(_state.Columns[j].Name);
        }

        return missing.Count == 0 && positions.Count == 0 ? order
            : throw Different(table.Place, missing, [.. names.Where(positions.ContainsKey)]);
    }

    private void ThrowIfNotFinite(ReadOnlySpan<double> row, string place)
    {
        for (int j = 0; j < row.Length; j++)
        {
            if (!double.IsFinite(row[j]))
                throw TooLarge(place, _state.Columns[j].Name);
        }
    }

    private static BadInputException TooLarge(string place, string column) => DataErrors.Bad(DataErrors.ScaledTooLarge, $"{place}, column '{column}'",
        "scaling gives values beyond float64.", "Choose units in which the column's values are of ordinary size.");

    private static BadInputException Different(string place, List<string> missing, List<string> unexpected)
    {
        const int Named = 10;
        string[] causes =
        [
            .. missing.Count > 0 ? [$"the table lacks columns of the model: {Listed(missing, Named)}"] : Array.Empty<string>(),
            .. unexpected.Count > 0 ? [$"the table has columns that the model has not: {Listed(unexpected, Named)}"] : Array.Empty<string>(),
        ];
        return DataErrors.Bad(DataErrors.DifferentColumns, place, string.Join("; ", causes) + ".",
            "Give the columns that the model was trained on, with the same names and categories.");
    }

    private static BadInputException Malformed(string place, Exception? inner) => DataErrors.Bad(DataErrors.FeatureMapMalformed, place,
        "the saved feature map cannot be read.", "Use the model file as it was written, or train again.", inner);

    private sealed record State(int Format, Scaling Scaling, RowBound Rows, double RowNorm, bool Constant, int Fields, IReadOnlyList<ScaledColumn> Columns)
    {
        internal const int CurrentFormat = 1;
    }
}
