using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Diagnostics;
using SQLitePCL;

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
    public static void Append(SqliteFile file, LedgerChain chain, string content)
    {
        long number = chain.Rows + 1;
        file.Execute("INSERT INTO rows VALUES (?1, ?3, ?2); UPDATE head SET rows = ?1, hash = ?2", number, LedgerChain.HashOf(chain.Head, number, Encoding.UTF8.GetBytes(content)), content);
    }

    /// <summary>What the file says; refuses one that does not verify. A file that does not exist is empty.</summary>
    public LedgerChain ReadSound()
    {
        if (!File.Exists(path))
            return LedgerChain.Empty;
        using SqliteFile file = SqliteFile.Open(path, lockTimeout);
        if (IsEmpty(file))
            return LedgerChain.Empty;
        CheckFormat(file);
        using LedgerTransaction transaction = file.BeginReading();
        return ReadSound(file);
    }

    /// <inheritdoc cref="ReadSound()" />
    public LedgerChain ReadSound(SqliteFile file)
    {
        LedgerChain chain = LedgerChain.Read(file);
        return chain.Fault is { } fault ? throw SqliteLedgerErrors.ChainBroken(path, fault) : chain;
    }

    /// <summary>Reads a file without changing it, also where it may be read alone, and says what its failures mean.</summary>
    /// <param name="path">Full path.</param>
    /// <param name="read">What reads it.</param>
    public static T Read<T>(string path, Func<SqliteFile, T> read) => Guard(path, () =>
    {
        try
        {
            // Where the file may not be written, SQLite falls back to reading; where it may, it removes its log files when it closes.
            using SqliteFile file = SqliteFile.Open(path, new SqliteLedgerOptions().LockTimeout);
            return read(file);
        }
        catch (SqliteFailure e) when (e.Code is raw.SQLITE_CANTOPEN or raw.SQLITE_READONLY && File.Exists(path) && !CanWriteBeside(path))
        {
            // SQLite cannot make its log files beside the file, not even to read it. Nobody else can either.
            using SqliteFile file = SqliteFile.OpenUnchanging(path);
            return read(file);
        }
    });

    /// <summary>Throws where a charge could not be written, and writes nothing that stays.</summary>
    /// <returns>True.</returns>
    public bool CheckWritable()
    {
        if (!CanWriteBeside(path))
            throw new UnauthorizedAccessException();
        if (!File.Exists(path))
            return true;
        using SqliteFile file = SqliteFile.Open(path, lockTimeout);
        // Refused where the file may be read alone; others that write are waited for, as by a charge.
        using LedgerTransaction transaction = file.BeginWriting();
        return true;
    }

    /// <summary>Whether files can be made in the folder of a file.</summary>
    /// <param name="path">Full path of the file.</param>
    public static bool CanWriteBeside(string path)
    {
        try
        {
            DurableFile.Touch(System.IO.Path.GetDirectoryName(path)!);
            return true;
        }
        catch (Exception e) when (e is UnauthorizedAccessException || SqliteLedgerErrors.IsReadOnly(e))
        {
            return false;
        }
    }

    /// <summary>Opens the ledger for writing, and creates what is missing of it.</summary>
    public SqliteFile Connect()
    {
        CreateFile();
        SqliteFile file = SqliteFile.Open(path, lockTimeout);
        try
        {
            if (IsEmpty(file))
                CreateTables(file);
            CheckFormat(file);
            file.UseWriteAheadLog(lockTimeout);
            return file;
        }
        catch
        {
            file.Dispose();
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
    public static bool IsEmpty(SqliteFile file) => file.Integer("SELECT count(*) FROM sqlite_schema") == 0 && file.Integer("PRAGMA application_id") == 0;

    private static void CreateTables(SqliteFile file)
    {
        using LedgerTransaction transaction = file.BeginWriting();
        // Another process may have been first.
        if (!IsEmpty(file))
            return;
        byte[] ledger = RandomNumberGenerator.GetBytes(16);
        file.Execute(string.Create(CultureInfo.InvariantCulture, $"PRAGMA application_id = {LedgerChain.ApplicationId}; PRAGMA user_version = {LedgerChain.Version}"));
        file.Execute(LedgerChain.Schema);
        file.Execute("INSERT INTO head VALUES (1, ?1, 0, ?2)", ledger, LedgerChain.Genesis(ledger));
        transaction.Commit();
    }

    /// <summary>Refuses what is no ledger.</summary>
    public static void CheckFormat(SqliteFile file)
    {
        if (file.Integer("PRAGMA application_id") != LedgerChain.ApplicationId)
            throw SqliteLedgerErrors.NoLedger(file.Path, "it is no FedLearn ledger.");
        if (file.Integer("PRAGMA user_version") is not (LedgerChain.Version or LedgerChain.VersionWithAlignments))
            throw SqliteLedgerErrors.NoLedger(file.Path, "it is a ledger of a version that this one does not know.");
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
