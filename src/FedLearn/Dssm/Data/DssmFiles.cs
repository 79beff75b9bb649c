using System.Buffers.Text;
using System.Globalization;
using CsvHelper;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>Reads the tables of a recommendation job. The file formats are in docs/guide/recommendation-files.md.</summary>
/// <remarks>Cells are separated by commas, or by semicolons, tabs or vertical bars where the first line has these and no comma. Every fault is an error with the file, the line, the column, the cause and the remedy; no message holds what a cell holds.</remarks>
public static class DssmFiles
{
    // Years 1 to 9999: a time in milliseconds is outside.
    private const long FirstTime = -62_135_596_800, LastTime = 253_402_300_799;

    private static readonly string[] IsoTimes = ["yyyy-MM-dd", "yyyy-MM-dd HH:mmK", "yyyy-MM-ddTHH:mmK", "yyyy-MM-dd HH:mm:ss.FFFFFFFK", "yyyy-MM-ddTHH:mm:ss.FFFFFFFK", "yyyyMMddTHHmmK", "yyyyMMddTHHmmss.FFFFFFFK"];

    private static readonly (string Word, EventRole Role)[] Roles =
    [
        ("train", EventRole.Train), ("validation", EventRole.Validation), ("test", EventRole.Test), ("cold-user", EventRole.ColdUser), ("cold-item", EventRole.ColdItem),
        ("seen", EventRole.Seen),
    ];

    /// <summary>Reads a view.</summary>
    /// <param name="path">A CSV file. Rows may come in any order.</param>
    /// <param name="schema">What its columns are.</param>
    /// <param name="decimalMark">What stands before decimals, a point or a comma; a comma needs another separator.</param>
    /// <param name="precision">Precision of the towers that read the rows; with <see cref="TowerPrecision.Float32"/> numbers beyond 3.4e38 are refused, unless the schema normalises rows.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns>The view: users in the order of their first rows, the rows of each in the order of moments.</returns>
    /// <exception cref="ConfigurationException">The schema is one of items (FL2440), or the decimal mark is that of the cells (FL2207).</exception>
    /// <exception cref="BadInputException">The file is no such table: FL3000 to FL3010 and FL3016, and FL3130 to FL3133.</exception>
    public static ViewTable ReadView(string path, DssmSchema schema, char decimalMark = '.', TowerPrecision precision = TowerPrecision.Float64,
        CancellationToken cancellationToken = default)
    {
        using var file = new Rows(path, schema, items: false, decimalMark, cancellationToken) { IsSingle = precision == TowerPrecision.Float32 && !schema.Normalise };
        int? time = file.Column(schema.Time), sequence = file.Column(schema.Sequence);
        var users = new Numbering();
        var rowUser = new List<int>();
        var moments = new List<Moment>();
        var lines = new List<int>();
        while (file.Next())
        {
            lines.Add(file.Line);
            rowUser.Add(users.Of(file.Id(schema.Key)));
            if (time is { } column)
                moments.Add(file.Moment(column, sequence));
            file.Encode();
        }

        int[]? order = Order(rowUser, moments);
        int[] sortedUsers = Sorted(rowUser, order);
        Moment[]? sortedMoments = time is null ? null : Sorted(moments, order);
        for (int r = 1; r < sortedUsers.Length; r++)
        {
            if (sortedUsers[r] == sortedUsers[r - 1] && (sortedMoments is null || sortedMoments[r] == sortedMoments[r - 1]))
            {
                int first = lines[order is null ? r - 1 : order[r - 1]], second = lines[order is null ? r : order[r]];
                throw DataErrors.Bad(DssmDataErrors.RepeatedMoment, $"{path}, line {second}",
                    sortedMoments is null ? $"the user has an earlier row (line {first}), and the view has no times." : $"the user has an earlier row of the same moment (line {first}).",
                    sortedMoments is null ? "Keep one row a user, or name the column of times in the schema." : "Keep one row a user and moment; a sequence tells events of one second apart.");
            }
        }

        return new ViewTable(users.Ids, sortedUsers, sortedMoments, file.Build(order));
    }

    /// <summary>Reads items.</summary>
    /// <param name="path">A CSV file.</param>
    /// <param name="schema">What its columns are.</param>
    /// <param name="decimalMark">What stands before decimals, a point or a comma; a comma needs another separator.</param>
    /// <param name="precision">Precision of the towers that read the rows; with <see cref="TowerPrecision.Float32"/> numbers beyond 3.4e38 are refused, unless the schema normalises rows.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns>The items, in the order of the file.</returns>
    /// <exception cref="ConfigurationException">The schema is one of a view (FL2440), or the decimal mark is that of the cells (FL2207).</exception>
    /// <exception cref="BadInputException">The file is no such table: FL3000 to FL3010 and FL3016, FL3130 and FL3131.</exception>
    public static ItemTable ReadItems(string path, DssmSchema schema, char decimalMark = '.', TowerPrecision precision = TowerPrecision.Float64,
        CancellationToken cancellationToken = default)
    {
        using var file = new Rows(path, schema, items: true, decimalMark, cancellationToken) { IsSingle = precision == TowerPrecision.Float32 && !schema.Normalise };
        int? title = file.Column(schema.Title);
        var ids = new List<string>();
        var titles = new List<string>();
        var lines = new Dictionary<string, int>(StringComparer.Ordinal);
        while (file.Next())
        {
            string id = file.Id(schema.Key);
            if (!lines.TryAdd(id, file.Line))
                throw DataErrors.Bad(DataErrors.DuplicateId, $"{path}, line {file.Line}", $"the id is that of an earlier row (line {lines[id]}).",
                    "Keep one row an item; ids are compared without white space at their ends and in Unicode normal form C.");
            ids.Add(id);
            if (title is { } column)
                titles.Add(file.Text(column));
            file.Encode();
        }

        return new ItemTable(ids, file.Build(null), title is null ? null : titles);
    }

    /// <summary>Reads events.</summary>
    /// <param name="path">A CSV file with the columns user, time, sequence (may be absent: 0), item and role (train, validation, test, cold-user, cold-item or seen). Rows may come
    /// in any order.</param>
    /// <param name="items">The items that the events name.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns>The events: users in the order of their first rows, the events of each in the order of moments, those of one moment in the order of the file.</returns>
    /// <exception cref="BadInputException">The file is no such table: FL3000 to FL3010, FL3133 to FL3135, or FL3139.</exception>
    public static InteractionTable ReadInteractions(string path, ItemTable items, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(items);
        var itemOf = new Dictionary<string, int>(items.Ids.Count, StringComparer.Ordinal);
        for (int i = 0; i < items.Ids.Count; i++)
            itemOf.Add(items.Ids[i], i);
        using var file = new Rows(path, null, items: false, '.', cancellationToken);
        int user = file.Find("user"), time = file.Find("time"), item = file.Find("item"), role = file.Find("role");
        int? sequence = file.Has("sequence") ? file.Find("sequence") : null;
        var users = new Numbering();
        var events = new List<Interaction>();
        var lines = new List<int>();
        while (file.Next())
        {
            lines.Add(file.Line);
            int number = users.Of(file.Id(user, "user"));
            if (!itemOf.TryGetValue(file.Id(item, "item"), out int itemNumber))
                throw UnknownItem(file.Place("item"));
            ReadOnlySpan<byte> word = file.Cell(role);
            int known = 0;
            while (known < Roles.Length && !System.Text.Ascii.Equals(word, Roles[known].Word))
                known++;
            if (known == Roles.Length)
                throw DataErrors.Bad(DssmDataErrors.UnknownRole, file.Place("role"), "the role is not known.", $"Write one of {string.Join(", ", Roles.Select(r => r.Word))}.");
            events.Add(new Interaction(number, itemNumber, file.Moment(time, sequence), Roles[known].Role));
        }

        RefuseTrained(path, events, lines, EventRole.ColdUser, "user", e => e.User);
        RefuseTrained(path, events, lines, EventRole.ColdItem, "item", e => e.Item);
        return new InteractionTable(users.Ids, [.. events.OrderBy(e => e.User).ThenBy(e => e.Moment)]);
    }

    /// <summary>Reads a log of events without roles.</summary>
    /// <param name="path">A CSV file with columns for users, items, times and perhaps ratings. Rows may come in any order.</param>
    /// <param name="columns">Which columns these are, and which events are positive; null: user, item and time, and all are.</param>
    /// <param name="items">The items that the events name; null: every item of the file, in the order of the first events.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="ConfigurationException">The decimal mark is that of the cells (FL2207).</exception>
    /// <exception cref="BadInputException">The file is no such table: FL3000 to FL3010, FL3133 and FL3134.</exception>
    public static InteractionLog ReadLog(string path, InteractionColumns? columns = null, ItemTable? items = null, CancellationToken cancellationToken = default)
    {
        columns ??= new InteractionColumns();
        using var file = new Rows(path, null, items: false, columns.DecimalMark, cancellationToken);
        int user = file.Find(columns.User), item = file.Find(columns.Item), time = file.Find(columns.Time);
        int? rating = file.Column(columns.Rating);
        Numbering users = new(), itemOf = new(items?.Ids);
        var events = new List<LoggedInteraction>();
        while (file.Next())
        {
            int number = users.Of(file.Id(user, columns.User)), itemNumber = itemOf.Of(file.Id(item, columns.Item));
            if (items is not null && itemNumber >= items.Ids.Count)
                throw UnknownItem(file.Place(columns.Item));
            (long seconds, int ticks) = file.Time(time);
            events.Add(new LoggedInteraction(number, itemNumber, seconds, rating is not { } column || file.Rating(column, columns.Rating!) >= columns.LeastPositive) { Ticks = ticks });
        }

        return new InteractionLog(users.Ids, itemOf.Ids, events);
    }

    private static BadInputException UnknownItem(string place) =>
        DataErrors.Bad(DssmDataErrors.UnknownItem, place, "the table of items has no such item.", "Add the item, or leave the event out; ids are compared exactly.");

    /// <summary>Refuses events of new users or items that are trained on: their figures would be those of known ones.</summary>
    private static void RefuseTrained(string path, List<Interaction> events, List<int> lines, EventRole role, string what, Func<Interaction, int> of)
    {
        HashSet<int> trained = [.. events.Where(e => e.Role == EventRole.Train).Select(of)];
        if (events.FindIndex(e => e.Role == role && trained.Contains(of(e))) is >= 0 and int row)
            throw DataErrors.Bad(DssmDataErrors.RoleContradiction, $"{path}, line {lines[row]}, column 'role'", $"the role is {Word(role)}, and other events of the {what} have the role train.",
                $"Write test for an event of a {what} that is trained on, or seen for the other events of the {what}.");
    }

    /// <summary>Name of a role in files.</summary>
    internal static string Word(EventRole role) => Roles[(int)role].Word;

    /// <summary>The order of rows by user and moment; null when they have it already.</summary>
    private static int[]? Order(List<int> users, List<Moment> moments)
    {
        Moment Of(int row) => moments.Count == 0 ? default : moments[row];
        bool sorted = true;
        for (int r = 1; r < users.Count && sorted; r++)
            sorted = users[r] > users[r - 1] || (users[r] == users[r - 1] && Of(r) >= Of(r - 1));
        return sorted ? null : [.. Enumerable.Range(0, users.Count).OrderBy(r => users[r]).ThenBy(Of)];
    }

    private static T[] Sorted<T>(List<T> values, int[]? order) => order is null ? [.. values] : [.. order.Select(row => values[row])];

    /// <summary>Numbers of ids, in the order of their first appearance.</summary>
    private sealed class Numbering
    {
        private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);

        /// <summary>Begins with ids that are numbered already.</summary>
        public Numbering(IReadOnlyList<string>? known = null)
        {
            foreach (string id in known ?? [])
                Of(id);
        }

        public List<string> Ids { get; } = [];

        public int Of(string id)
        {
            if (!_numbers.TryGetValue(id, out int number))
            {
                _numbers.Add(id, number = Ids.Count);
                Ids.Add(id);
            }

            return number;
        }
    }

    /// <summary>The rows of one file.</summary>
    private sealed class Rows : IDisposable
    {
        private readonly string _path;
        private readonly DssmSchema? _schema;
        private readonly CsvDialect _dialect;
        private readonly CsvReader _reader;
        private readonly Dictionary<string, int> _header;
        private readonly CancellationToken _cancellationToken;
        private readonly DssmRowEncoder? _encoder;
        private readonly int[] _columns = [];
        private long _count;

        public Rows(string path, DssmSchema? schema, bool items, char decimalMark, CancellationToken cancellationToken)
        {
            ArgumentNullException.ThrowIfNull(path);
            (_path, _schema, _cancellationToken) = (path, schema, cancellationToken);
            if (schema is not null && schema.IsItems != items)
                throw DataErrors.Config(DssmDataErrors.OtherSchema, path, items ? "its schema is that of a view, and this is the table of items." : "its schema is that of items, and this is a view.",
                    items ? "Give a schema with the key item." : "Give a schema with the key user.");
            _dialect = CsvDialect.OfFirstLine(path, decimalMark);
            _reader = CsvFile.Open(path, _dialect);
            try
            {
                _header = CsvFile.Header(_reader, path, _dialect);
                if (schema is not null)
                {
                    _encoder = new DssmRowEncoder(schema);
                    _columns = [.. schema.Fields.Select(field => Find(field.Name))];
                }
            }
            catch
            {
                _reader.Dispose();
                throw;
            }
        }

        /// <summary>Whether towers read the numbers in single precision, as they are.</summary>
        public bool IsSingle { get; init; }

        public int Line => checked((int)_reader.LineNumber);

        public void Dispose() => _reader.Dispose();

        public int Find(string name) => CsvFile.Find(_header, name, _path, _dialect);

        public bool Has(string name) => _header.ContainsKey(name);

        public int? Column(string? name) => name is null ? null : Find(name);

        public string Place(string column) => CsvFile.Place(_path, _reader, column);

        public ReadOnlySpan<byte> Cell(int column) => _reader.GetSpan(column);

        public string Text(int column) => CsvFile.Text(_reader, column, _path);

        /// <summary>Moves to the next row; after the last one, refuses a file without rows.</summary>
        public bool Next()
        {
            if ((_count & 0xFFF) == 0)
                _cancellationToken.ThrowIfCancellationRequested();
            if (CsvFile.Next(_reader, _path, _dialect))
            {
                _count++;
                return true;
            }

            return _count > 0 ? false : throw DataErrors.Bad(DataErrors.NoRows, _path, "the table has no rows.", "Give at least one row below the header.");
        }

        public string Id(string column) => Id(Find(column), column);

        public string Id(int column, string name)
        {
            string id = RowIds.Normalize(Text(column));
            return id.Length > 0 ? id : throw DataErrors.Bad(DataErrors.EmptyId, Place(name), "the id is empty.", "Give every row an id, or leave the row out.");
        }

        public Moment Moment(int time, int? sequence)
        {
            long seconds = Whole(time, FirstTime, LastTime, "Write whole seconds since 1970, UTC; divide milliseconds by 1,000.");
            return new Moment(seconds, sequence is { } column ? (int)Whole(column, 0, int.MaxValue, "Write the number of the event in its user's history, from 0.") : 0);
        }

        /// <summary>Seconds since 1970, from a number of them or from ISO 8601, and ticks after them.</summary>
        public (long Seconds, int Ticks) Time(int column)
        {
            string text = Text(column).Trim();
            // Of all numbers of seconds those of some weeks of 1970 look like dates of today: a log of dates must not be read as one of these.
            if (text.Length == 8 && DateOnly.TryParseExact(text, "yyyyMMdd", CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly date) && date.Year is >= 1900 and <= 2100)
                throw DataErrors.Bad(DssmDataErrors.MalformedMoment, Place(_header.First(pair => pair.Value == column).Key), "the cell is a date without hyphens, or a second of August 1970.",
                    "Write dates as 2026-03-01; add a constant to times that are seconds since another day.");
            return text.Length > 4 && (text[4] == '-' || text.Contains('T', StringComparison.Ordinal)) && DateTimeOffset.TryParseExact(text, IsoTimes, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out DateTimeOffset moment)
                ? (moment.ToUnixTimeSeconds(), (int)(moment.UtcTicks % TimeSpan.TicksPerSecond))
                : (Whole(column, FirstTime, LastTime, "Write whole seconds since 1970, UTC (divide milliseconds by 1,000), or ISO 8601, such as 2026-03-01T18:30:00Z."), 0);
        }

        /// <summary>A rating, which is no feature: no schema says what stands for a missing one.</summary>
        public double Rating(int column, string name) => CsvFile.Number(_reader, column, name, _path, RowInputKind.Weight, _dialect);

        public double Number(int column, string name) => CsvFile.Number(_reader, column, name, _path, dialect: _dialect);

        /// <summary>Reads the fields of the row.</summary>
        public void Encode()
        {
            if (!_encoder!.HasRoom)
                throw DataErrors.Bad(DataErrors.TooLarge, _path, "the table has more cells than fit one matrix in memory.", "Use fewer rows or columns.");
            for (int f = 0; f < _columns.Length; f++)
            {
                DssmField field = _schema!.Fields[f];
                ReadOnlySpan<byte> cell = Cell(_columns[f]);
                if (field.Kind is DssmFieldKind.Numeric or DssmFieldKind.Bucketed)
                    _encoder.Number(f, CsvNumber.IsMissing(cell) ? null : field.Kind == DssmFieldKind.Numeric ? ForTower(Number(_columns[f], field.Name), field) : Number(_columns[f], field.Name));
                else if (field.Kind == DssmFieldKind.Bag)
                    Bag(f, field, cell);
                else
                    _encoder.Text(f, Text(_columns[f]));
            }

            _encoder.End();
        }

        public TowerRows Build(int[]? order) => _encoder!.Build(order);

        private long Whole(int column, long least, long most, string remedy)
        {
            ReadOnlySpan<byte> cell = Cell(column);
            string name = _header.First(pair => pair.Value == column).Key;
            if (cell.IsEmpty)
                throw CsvFile.Empty(Place(name), isFeature: false);
            return Utf8Parser.TryParse(cell, out long value, out int used) && used == cell.Length && value >= least && value <= most
                ? value
                : throw DataErrors.Bad(DssmDataErrors.MalformedMoment, Place(name), "the cell is no whole number of its range.", remedy);
        }

        private void Bag(int index, DssmField field, ReadOnlySpan<byte> cell)
        {
            while (true)
            {
                cell = cell.TrimStart(" \t"u8);
                if (cell.IsEmpty)
                    return;
                int end = cell.IndexOfAny(" \t"u8);
                ReadOnlySpan<byte> entry = end < 0 ? cell : cell[..end];
                cell = cell[entry.Length..];
                double weight = 1;
                int colon = entry.IndexOf((byte)':');
                if (colon >= 0 && !CsvNumber.TryParse(_dialect.Number(entry[(colon + 1)..]), out weight))
                    throw Malformed(field);
                ReadOnlySpan<byte> id = colon >= 0 ? entry[..colon] : entry;
                if (id.IsEmpty || id.ContainsAnyExceptInRange((byte)'0', (byte)'9'))
                    throw Malformed(field);
                if (!Utf8Parser.TryParse(id, out int value, out int used) || used != id.Length || value >= field.Buckets)
                    throw DataErrors.Bad(DssmDataErrors.BagIdOutOfRange, Place(field.Name), "an id is outside the buckets of its field.",
                        $"Ids run from 0 to {field.Buckets - 1} here; correct the cell, or declare more buckets in the schema of every run.");
                _encoder!.Id(index, value, ForTower(weight, field));
            }
        }

        private double ForTower(double number, DssmField field) => !IsSingle || float.IsFinite((float)number) ? number
            : throw DataErrors.Bad(DataErrors.NotFinite, Place(field.Name), "the number is beyond single precision, in which the towers compute.",
                "Scale the column, let the schema normalise rows (\"normalise\": \"l2\"), or set model.precision to float64.");

        private BadInputException Malformed(DssmField field) => DataErrors.Bad(DssmDataErrors.MalformedBag, Place(field.Name), "the cell is no list of ids.",
            "Write ids, or id:weight with finite weights, separated by blanks, such as 12 55:0.5 7.");
    }
}
