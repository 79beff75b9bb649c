using SQLitePCL;

namespace FedLearn.Storage.Sqlite;

/// <summary>One connection to an SQLite file, by SQLitePCLRaw.</summary>
/// <remarks>Microsoft.Data.Sqlite, the layer above that, brings ADO.NET: 4 MB of code in each process of a private job, for nothing that a ledger needs.</remarks>
internal sealed class SqliteFile : IDisposable
{
    private readonly sqlite3 _connection;

    static SqliteFile() => Batteries_V2.Init();

    private SqliteFile(sqlite3 connection, string path) => (_connection, Path) = (connection, path);

    /// <summary>Full path.</summary>
    public string Path { get; }

    /// <summary>Opens an existing file, for reading alone where it may not be written.</summary>
    /// <param name="path">Full path.</param>
    /// <param name="lockTimeout">How long locks of others are waited for.</param>
    /// <exception cref="SqliteFailure">It is absent, or cannot be opened.</exception>
    public static SqliteFile Open(string path, TimeSpan lockTimeout) =>
        Open(path, path, raw.SQLITE_OPEN_READWRITE, (int)Math.Min(Math.Ceiling(lockTimeout.TotalMilliseconds), int.MaxValue));

    /// <summary>Opens a file that nobody can change, as on storage that is mounted for reading alone: without locks, and without the files beside it that SQLite makes even for reading.</summary>
    /// <param name="path">Full path.</param>
    /// <exception cref="SqliteFailure">It is absent, or cannot be opened; or its newest rows are in a log beside it, which could not be read so.</exception>
    public static SqliteFile OpenUnchanging(string path)
    {
        if (new FileInfo(path + "-wal") is { Exists: true, Length: > 0 })
            throw new SqliteFailure(raw.SQLITE_CANTOPEN);
        string uri = "file:" + string.Join('/', path.Replace('\\', '/').Split('/').Select(Uri.EscapeDataString)) + "?immutable=1";
        return Open(path, uri, raw.SQLITE_OPEN_READONLY | raw.SQLITE_OPEN_URI, busyMilliseconds: 0);
    }

    private static SqliteFile Open(string path, string name, int flags, int busyMilliseconds)
    {
        int code = raw.sqlite3_open_v2(name, out sqlite3 connection, flags, null);
        var file = new SqliteFile(connection, path);
        try
        {
            Check(code);
            Check(raw.sqlite3_busy_timeout(connection, busyMilliseconds));
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Runs statements, one after the other.</summary>
    /// <param name="sql">The statements.</param>
    /// <param name="values">What ?1, ?2 and so on stand for in each of them: <see cref="long"/>, <see cref="string"/> or <see cref="byte"/>[].</param>
    public void Execute(string sql, params ReadOnlySpan<object> values)
    {
        for (string left = sql; left.Length > 0;)
        {
            Check(raw.sqlite3_prepare_v2(_connection, left, out sqlite3_stmt statement, out left));
            using SqliteRows rows = Bind(statement, values);
            while (rows.Read())
            {
            }
        }
    }

    /// <summary>Runs a query.</summary>
    /// <param name="sql">One statement.</param>
    /// <param name="values">As above.</param>
    public SqliteRows Query(string sql, params ReadOnlySpan<object> values)
    {
        Check(raw.sqlite3_prepare_v2(_connection, sql, out sqlite3_stmt statement));
        return Bind(statement, values);
    }

    private static SqliteRows Bind(sqlite3_stmt statement, ReadOnlySpan<object> values)
    {
        var rows = new SqliteRows(statement);
        try
        {
            for (int i = 0; i < Math.Min(values.Length, raw.sqlite3_bind_parameter_count(statement)); i++)
                Check(values[i] switch
                {
                    long integer => raw.sqlite3_bind_int64(statement, i + 1, integer),
                    string text => raw.sqlite3_bind_text(statement, i + 1, text),
                    byte[] bytes => raw.sqlite3_bind_blob(statement, i + 1, bytes),
                    _ => throw new ArgumentException("A value is an integer, a text or bytes.", nameof(values)),
                });
            return rows;
        }
        catch
        {
            rows.Dispose();
            throw;
        }
    }

    /// <summary>The first number of the first row of a query.</summary>
    /// <param name="sql">One statement, which has a row.</param>
    public long Integer(string sql)
    {
        using SqliteRows rows = Query(sql);
        rows.Read();
        return rows.Integer(0);
    }

    /// <summary>Begins to read a state of the file that stays as it is while others write.</summary>
    public LedgerTransaction BeginReading() => new(this, "BEGIN");

    /// <summary>Begins to write: waits for others that do.</summary>
    public LedgerTransaction BeginWriting() => new(this, "BEGIN IMMEDIATE");

    /// <summary>Has what is written gone to a log that is synced with each transaction.</summary>
    /// <param name="lockTimeout">How long others that use the file before it has such a log are waited for.</param>
    public void UseWriteAheadLog(TimeSpan lockTimeout)
    {
        var waited = System.Diagnostics.Stopwatch.StartNew();
        while (true)
        {
            try
            {
                Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
                return;
            }
            catch (SqliteFailure e) when (e.IsLocked && waited.Elapsed < lockTimeout)
            {
                // Changing the mode fails at once while another connection reads. An exclusive transaction waits for it instead.
                Execute("BEGIN EXCLUSIVE; COMMIT");
            }
        }
    }

    /// <summary>Throws for a result that is no success.</summary>
    public static void Check(int code)
    {
        if (code is not (raw.SQLITE_OK or raw.SQLITE_ROW or raw.SQLITE_DONE))
            throw new SqliteFailure(code);
    }

    /// <inheritdoc />
    public void Dispose() => _connection.Dispose();
}

/// <summary>The rows of a query, one at a time.</summary>
internal sealed class SqliteRows(sqlite3_stmt statement) : IDisposable
{
    /// <summary>Goes to the next row; false after the last.</summary>
    public bool Read()
    {
        // Blanks alone make no statement.
        int code = statement.IsInvalid ? raw.SQLITE_DONE : raw.sqlite3_step(statement);
        SqliteFile.Check(code);
        return code == raw.SQLITE_ROW;
    }

    /// <summary>Whether a column of this row has no value.</summary>
    public bool IsNull(int column) => raw.sqlite3_column_type(statement, column) == raw.SQLITE_NULL;

    /// <summary>The whole number of a column.</summary>
    public long Integer(int column) => raw.sqlite3_column_int64(statement, column);

    /// <summary>The bytes of a column, of a text its UTF-8, until the next row.</summary>
    public ReadOnlySpan<byte> Span(int column) => raw.sqlite3_column_blob(statement, column);

    /// <summary>The bytes of a column.</summary>
    public byte[] Bytes(int column) => Span(column).ToArray();

    /// <inheritdoc />
    public void Dispose() => statement.Dispose();
}

/// <summary>A transaction, which ends without effect unless it is committed.</summary>
internal sealed class LedgerTransaction : IDisposable
{
    private readonly SqliteFile _file;
    private bool _isOpen;

    public LedgerTransaction(SqliteFile file, string begin)
    {
        _file = file;
        file.Execute(begin);
        _isOpen = true;
    }

    /// <summary>Makes durable what was written.</summary>
    public void Commit()
    {
        _file.Execute("COMMIT");
        _isOpen = false;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (!_isOpen)
            return;
        _isOpen = false;
        try
        {
            _file.Execute("ROLLBACK");
        }
        catch (SqliteFailure)
        {
            // Some failures end the transaction by themselves; closing the file ends it in any case.
        }
    }
}

/// <summary>A failure of SQLite.</summary>
/// <param name="result">Its result.</param>
internal sealed class SqliteFailure(int result) : Exception($"SQLite failed with result {result}, {raw.sqlite3_errstr(result).utf8_to_string()}.")
{
    /// <summary>The primary code (https://www.sqlite.org/rescode.html).</summary>
    public int Code => result & 0xFF;

    /// <summary>Whether others hold a lock.</summary>
    public bool IsLocked => Code is raw.SQLITE_BUSY or raw.SQLITE_LOCKED;
}
