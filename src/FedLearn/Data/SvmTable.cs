using System.Buffers.Text;
using System.Globalization;
using FedLearn.Diagnostics;
using FedLearn.Numerics;

namespace FedLearn.Data;

/// <summary>Reads sparse rows, <c>label index:value index:value ... # comment</c>, as LIBSVM and svmlight write them.</summary>
internal static class SvmTable
{
    /// <summary>Every column has a name, so that a mistyped index must not make a billion of them.</summary>
    internal const int MostColumns = 10_000_000;

    // Where nothing says how many columns there are, more than FreeColumns need cells in proportion: one large index in a short file must not make gigabytes of names.
    private const int FreeColumns = 65_536, ColumnsACell = 64;

    /// <summary>Whether a file is read as sparse rows.</summary>
    /// <param name="path">File.</param>
    internal static bool IsNameOf(string path) => Path.GetExtension(path).ToLowerInvariant() is ".svm" or ".libsvm" or ".svmlight";

    /// <summary>Rows and columns of a file, for whoever plans with it before there is a schema.</summary>
    /// <param name="source">Where it is, and what it says of its columns.</param>
    /// <exception cref="BadInputException">It is no file of sparse rows.</exception>
    internal static (int Rows, int Columns) Size(TableSource source)
    {
        var rows = new Rows(source.Path, source.FirstIndex ?? 1, source.Columns, null, null, needLabel: false);
        rows.ReadAll(default);
        return (rows.Count, rows.Width);
    }

    internal static Table Read(TableSource source, TableSchema? schema, bool needLabel, CancellationToken cancellationToken)
    {
        string path = source.Path;
        if ((source.Id ?? (object?)source.IdColumns) is not null || source.Label is not null || source.Labels is not null)
            throw Unsuitable(path, "sparse rows have no named columns, and begin with their label.", "Give the ids as a file, and leave id, label and labels out.");
        if (schema?.Fields.FirstOrDefault(field => field.Kind == FieldKind.Category) is { } category)
            throw Unsuitable(path, $"the schema's field '{category.Name}' is text, and sparse rows hold numbers.", "Declare it one-hot, or use a CSV file.");
        if (source.FirstIndex is not (null or 0 or 1) || source.Columns is < 1 or > MostColumns)
            throw Unsuitable(path, "the first index is neither 0 nor 1, or the number of columns is not from 1 to 10,000,000.", "Correct it, or leave it out.");
        if (schema is not null && source.Columns is { } columns && columns != schema.FeatureNames.Count)
            throw Unsuitable(path, $"the schema has {schema.FeatureNames.Count} {Counted.Noun(schema.FeatureNames.Count, "column")}, and the source says {columns}.", "Leave the number of columns out.");

        int first = source.FirstIndex ?? 1;
        var rows = new Rows(path, first, schema?.FeatureNames.Count ?? source.Columns, Columns(schema), needLabel ? source.LabelRange : null, needLabel);
        rows.ReadAll(cancellationToken);
        if (rows.Count == 0)
            throw DataErrors.Bad(DataErrors.NoRows, path, "the table has no rows.", "Give at least one row.");
        if (schema is null && source.Columns is null && rows.Width > Math.Max(FreeColumns, (long)ColumnsACell * rows.Cells))
        {
            throw DataErrors.Bad(DataErrors.SparseIndex, path, $"the largest index is {(long)rows.Width - 1 + first}, the table has {rows.Cells} cells, and nothing says how many columns there are.",
                "Correct the index, or say the number of columns, or give a schema.");
        }

        if (rows.Width == 0)
            throw DataErrors.Bad(DataErrors.ColumnMissing, path, "no row has a cell, and nothing says how many columns there are.", "Say the number of columns, or give a schema.");
        schema ??= TableSchema.Create([.. Enumerable.Range(first, rows.Width).Select(index => Field.Numeric(string.Create(CultureInfo.InvariantCulture, $"x{index}")))], place: path);
        PackedIds ids = source.Ids is { } file
            ? TableChecks.Ids(IdFile.Read(file, rows.Count), row => $"{file}, line {row + 1}", columns: 1)
            : PackedIds.Numbers(rows.Count);
        var read = RowInputs.Named(source, null, needLabel)
            .ToDictionary(input => input.Kind, input => NpyTable.ReadInput(input.Kind, input.Name, null, rows.Count, cancellationToken));
        if (needLabel)
            read.Add(RowInputKind.Label, rows.Labels);
        return new Table(schema, ids, rows.ToMatrix(), RowInputs.Of(read), path, rows.PlaceOf);
    }

    /// <summary>What the schema says of each column; null without one.</summary>
    private static (FieldKind Kind, double? Missing)[]? Columns(TableSchema? schema) =>
        schema is null ? null : [.. schema.Fields.SelectMany(field => field.FeatureNames.Select(_ => (field.Kind, field.MissingNumber)))];

    private static ConfigurationException Unsuitable(string path, string cause, string remedy) =>
        DataErrors.Config(DataErrors.UnsuitableSource, path, cause, remedy);

    /// <summary>The rows read so far.</summary>
    private sealed class Rows(string path, int first, int? width, (FieldKind Kind, double? Missing)[]? fields, (double Low, double High)? labelRange, bool needLabel)
    {
        private readonly List<int> _starts = [0];
        private readonly List<int> _columns = [];
        private readonly List<double> _values = [];
        private readonly List<double> _labels = [];
        private readonly List<int> _lines = [];
        private int _line;

        internal int Count => _lines.Count;

        internal int Width { get; private set; } = width ?? 0;

        internal int Cells => _columns.Count;

        internal double[] Labels => [.. _labels];

        internal SparseMatrix ToMatrix() => new(Count, Width, [.. _starts], [.. _columns], [.. _values]);

        internal string PlaceOf(int row) => $"{path}, line {_lines[row]}";

        private string Place => $"{path}, line {_line}";

        /// <summary>Reads line by line; a line may be of any length.</summary>
        internal void ReadAll(CancellationToken cancellationToken)
        {
            try
            {
                DataErrors.RefuseWithoutLength(path);
                ReadLines(cancellationToken);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
            {
                throw DataErrors.Unreadable(path, e);
            }
        }

        private void ReadLines(CancellationToken cancellationToken)
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            byte[] buffer = new byte[1 << 16];
            int start = 0, end = 0;
            for (bool more = true; more;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                buffer.AsSpan(start..end).CopyTo(buffer);
                (start, end) = (0, end - start);
                if (end == buffer.Length)
                    Array.Resize(ref buffer, checked(2 * buffer.Length));
                int read = file.Read(buffer, end, buffer.Length - end);
                (end, more) = (end + read, read > 0);
                for (int length; start < end && ((length = buffer.AsSpan(start..end).IndexOf((byte)'\n')) >= 0 || !more); start += length + 1)
                {
                    length = length < 0 ? end - start : length;
                    _line++;
                    ReadLine(buffer.AsSpan(start, length));
                }
            }
        }

        private void ReadLine(ReadOnlySpan<byte> text)
        {
            if (_line == 1 && text.StartsWith((ReadOnlySpan<byte>)[0x1F, 0x8B]))
                throw CsvFile.Compressed(path);
            if (_line == 1 && text.StartsWith("\uFEFF"u8))
                text = text[3..];
            int comment = text.IndexOf((byte)'#');
            text = comment < 0 ? text : text[..comment];
            ReadOnlySpan<byte> token = Next(ref text);
            if (token.IsEmpty)
                return;
            if (needLabel)
            {
                double label = token.Contains((byte)':') ? throw Malformed("the row begins with a cell, where its label has to be.") : Number(token, "label", null, isFeature: false);
                RowInputs.Check(RowInputKind.Label, label, labelRange, () => $"{Place}, label");
                _labels.Add(label);
                token = Next(ref text);
            }
            else if (!token.Contains((byte)':'))
            {
                token = Next(ref text);                                                         // a label that nobody needs
            }

            int rowStart = _columns.Count;
            for (; !token.IsEmpty; token = Next(ref text))
                ReadCell(token, rowStart);
            _starts.Add(_columns.Count);
            _lines.Add(_line);
        }

        private void ReadCell(ReadOnlySpan<byte> token, int rowStart)
        {
            int colon = token.IndexOf((byte)':');
            if (colon < 0)
                throw Malformed("a word after the label is not index:value.");
            if (!Utf8Parser.TryParse(token[..colon], out long index, out int used) || used != colon)
                throw Malformed("an index is no whole number; query ids (qid) are not known.");
            if (index < first)
                throw Index(first == 1 && index == 0 ? "an index is 0, and the first column is 1." : "an index is below the first column.", "Correct the row, or say firstIndex 0 where the file counts from 0.");
            long column = index - first;
            if (column >= (width ?? MostColumns))
            {
                throw Index(width is null ? "an index is above 10,000,000." : $"an index is above the last of the {width} columns.",
                    "Correct the row, or the number of columns in the source or the schema.");
            }

            if (_columns.Count > rowStart && column <= _columns[^1])
                throw Index(column == _columns[^1] ? "an index appears twice." : "the indices do not ascend.", "Give each column once a row, in ascending order.");
            string name = $"x{index.ToString(CultureInfo.InvariantCulture)}";
            double value = Number(token[(colon + 1)..], name, fields?[(int)column].Missing);
            if (fields?[(int)column].Kind == FieldKind.OneHot && value is not (0 or 1))
                throw TableChecks.NotOneHot($"{Place}, column '{name}'");
            if (_columns.Count == Array.MaxLength)
                throw DataErrors.Bad(DataErrors.TooLarge, Place, "the table has more cells than fit one matrix in memory.", "Use fewer rows or columns.");
            _columns.Add((int)column);
            _values.Add(value);
            Width = Math.Max(Width, (int)column + 1);
        }

        private double Number(ReadOnlySpan<byte> text, string column, double? missing, bool isFeature = true)
        {
            if (CsvNumber.TryParse(text, out double value))
                return value;
            if (missing is { } constant && CsvNumber.IsMissing(text))
                return constant;
            throw CsvNumber.IsNotFinite(text) ? TableChecks.NotFinite(Place, column, isFeature)
                : DataErrors.Bad(DataErrors.NotANumber, $"{Place}, column '{column}'", "the value is no number.", "Write numbers like -1234.5 or 1.2e-3.");
        }

        /// <summary>The next word; empty at the end.</summary>
        private static ReadOnlySpan<byte> Next(ref ReadOnlySpan<byte> text)
        {
            text = text.TrimStart(" \t\r"u8);
            int end = text.IndexOfAny(" \t\r"u8);
            ReadOnlySpan<byte> token = end < 0 ? text : text[..end];
            text = text[token.Length..];
            return token;
        }

        private BadInputException Malformed(string cause) =>
            DataErrors.Bad(DataErrors.MalformedSparseRow, Place, cause, "Write a row as: label index:value index:value ... # comment.");

        private BadInputException Index(string cause, string remedy) => DataErrors.Bad(DataErrors.SparseIndex, Place, cause, remedy);
    }
}
