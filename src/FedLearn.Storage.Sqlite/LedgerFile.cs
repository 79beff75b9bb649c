using System.Globalization;
using System.Security.Cryptography;
using FedLearn.Diagnostics;
using Microsoft.Data.Sqlite;

namespace FedLearn.Storage.Sqlite;

/// <summary>The file of a ledger: opened for each call and closed after it. Safe for several threads and processes.</summary>
/// <param name="path">Full path.</param>
/// <param name="lockTimeout">How long other jobs' commits are waited for.</param>
internal sealed class LedgerFile(string path, TimeSpan lockTimeout)
{
    /// <summary>The file at a path, whose folder has to exist.</summary>
    public static LedgerFile At(string path, TimeSpan lockTimeout)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(lockTimeout, TimeSpan.Zero);
        string full = System.IO.Path.GetFullPath(path);
        return Directory.Exists(full) || !Directory.Exists(System.IO.Path.GetDirectoryName(full))
            ? throw SqliteLedgerErrors.Of(full, new DirectoryNotFoundException())! : new LedgerFile(full, lockTimeout);
    }

    /// <summary>Full path.</summary>
    public string Path => path;

    /// <summary>Adds a row after those of a chain.</summary>
    public static void Append(SqliteConnection connection, LedgerChain chain, string content)
    {
        long number = chain.Rows + 1;
        byte[] hash = LedgerChain.HashOf(chain.Head, number, content);
        Execute(connection, "INSERT INTO rows VALUES ($number, $content, $hash); UPDATE head SET rows = $number, hash = $hash",
            ("$number", number), ("$content", content), ("$hash", hash));
    }

    /// <summary>What the file says; refuses one that does not verify. A file that does not exist is empty.</summary>
    public LedgerChain ReadSound()
    {
        if (!File.Exists(path))
            return LedgerChain.Empty;
        using SqliteConnection connection = Open(path, lockTimeout);
        if (IsEmpty(connection))
            return LedgerChain.Empty;
        CheckFormat(connection);
        using SqliteTransaction transaction = connection.BeginTransaction(deferred: true);
        return ReadSound(connection);
    }

    /// <inheritdoc cref="ReadSound()" />
    public LedgerChain ReadSound(SqliteConnection connection)
    {
        LedgerChain chain = LedgerChain.Read(connection);
        return chain.Fault is { } fault ? throw SqliteLedgerErrors.ChainBroken(path, fault) : chain;
    }

    /// <summary>Opens the ledger for writing, and creates what is missing of it.</summary>
    public SqliteConnection Connect()
    {
        CreateFile();
        SqliteConnection connection = Open(path, lockTimeout);
        try
        {
            if (IsEmpty(connection))
                CreateTables(connection);
            CheckFormat(connection);
            Execute(connection, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Opens an existing file.</summary>
    public static SqliteConnection Open(string path, TimeSpan lockTimeout)
    {
        int seconds = (int)Math.Ceiling(Math.Min(lockTimeout.TotalSeconds, int.MaxValue / 1000));
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadWrite, Pooling = false, DefaultTimeout = seconds }.ToString());
        try
        {
            connection.Open();
            // SQLite's own waiting is finer than the client's, which tries every 150 ms.
            Execute(connection, string.Create(CultureInfo.InvariantCulture, $"PRAGMA busy_timeout = {seconds * 1000}"));
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Creates the file where there is none: SQLite itself would let others read it. Its log files take the mode of the file.</summary>
    private void CreateFile()
    {
        if (File.Exists(path))
            return;
        try
        {
            using var file = new FileStream(path, DurableFile.OwnerOnly(FileMode.CreateNew, FileAccess.Write, FileShare.Read));
        }
        catch (IOException) when (File.Exists(path))
        {
            // Another process was first.
        }
    }

    /// <summary>Whether nothing was written yet.</summary>
    public static bool IsEmpty(SqliteConnection connection) => Scalar(connection, "SELECT count(*) FROM sqlite_schema") == 0 && Scalar(connection, "PRAGMA application_id") == 0;

    private static void CreateTables(SqliteConnection connection)
    {
        using SqliteTransaction transaction = connection.BeginTransaction(deferred: false);
        // Another process may have been first.
        if (!IsEmpty(connection))
            return;
        byte[] ledger = RandomNumberGenerator.GetBytes(16);
        Execute(connection, string.Create(CultureInfo.InvariantCulture, $"PRAGMA application_id = {LedgerChain.ApplicationId}; PRAGMA user_version = {LedgerChain.Version}"));
        Execute(connection, LedgerChain.Schema);
        Execute(connection, "INSERT INTO head VALUES (1, $ledger, 0, $hash)", ("$ledger", ledger), ("$hash", LedgerChain.Genesis(ledger)));
        transaction.Commit();
    }

    /// <summary>Refuses what is no ledger.</summary>
    public static void CheckFormat(SqliteConnection connection)
    {
        if (Scalar(connection, "PRAGMA application_id") != LedgerChain.ApplicationId)
            throw SqliteLedgerErrors.NoLedger(connection.DataSource, "it is no FedLearn ledger.");
        if (Scalar(connection, "PRAGMA user_version") is not (LedgerChain.Version or LedgerChain.VersionWithAlignments))
            throw SqliteLedgerErrors.NoLedger(connection.DataSource, "it is a ledger of a version that this one does not know.");
    }

    private static long Scalar(SqliteConnection connection, string sql)
    {
        using SqliteCommand command = Command(connection, sql);
        return (long)command.ExecuteScalar()!;
    }

    /// <summary>Runs statements.</summary>
    public static void Execute(SqliteConnection connection, string sql, params (string Name, object Value)[] values)
    {
        using SqliteCommand command = Command(connection, sql);
        foreach ((string name, object value) in values)
            command.Parameters.AddWithValue(name, value);
        command.ExecuteNonQuery();
    }

    private static SqliteCommand Command(SqliteConnection connection, string sql)
    {
        SqliteCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // every statement is a constant of this assembly
        command.CommandText = sql;
#pragma warning restore CA2100
        return command;
    }

    /// <summary>Does something with the file, and says what its failures mean.</summary>
    public T Guard<T>(Func<T> work) => Guard(path, work);

    /// <inheritdoc cref="Guard{T}(Func{T})" />
    public static T Guard<T>(string path, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (Exception e) when (SqliteLedgerErrors.Of(path, e) is { } error)
        {
            throw error;
        }
    }
}
