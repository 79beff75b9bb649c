using FedLearn.Storage.Sqlite;
using Microsoft.Data.Sqlite;

namespace FedLearn.Storage.Tests;

public sealed class SqliteFileTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-sqlite-").FullName;

    private string Path => System.IO.Path.Combine(_folder, "file.db");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>A file with one table, made by the other implementation.</summary>
    private SqliteConnection Other(string sql = "CREATE TABLE IF NOT EXISTS t (number INTEGER, text TEXT, bytes BLOB)")
    {
        var connection = new SqliteConnection($"Data Source={Path};Pooling=False");
        connection.Open();
        Run(connection, sql);
        return connection;
    }

    private static void Run(SqliteConnection connection, string sql)
    {
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    // ENOSPC, ERROR_DISK_FULL, EROFS, and anything else.
    [Theory]
    [InlineData(28, SqliteLedgerErrors.DiskFull)]
    [InlineData(unchecked((int)0x80070070), SqliteLedgerErrors.DiskFull)]
    [InlineData(30, SqliteLedgerErrors.CannotOpen)]
    [InlineData(5, SqliteLedgerErrors.StorageFailed)]
    public void Of_WhatTheSystemSays_HasItsId(int code, string id)
    {
        FedLearn.Diagnostics.FedLearnException error = SqliteLedgerErrors.Of(Path, new IOException("private", code))!;
        Assert.Equal((id, Path), (error.Id, error.Place));
        Assert.DoesNotContain("private", error.Message, StringComparison.Ordinal);
        Assert.Null(SqliteLedgerErrors.Of(Path, new InvalidOperationException()));
    }

    [Fact]
    public void Execute_ValuesOfEveryKind_AreReadBackByBothImplementations()
    {
        const string text = "a\u0000b \u00E9 \U0001F600";
        using SqliteConnection other = Other();
        using (SqliteFile file = SqliteFile.Open(Path, Patience))
        {
            file.Execute("INSERT INTO t VALUES (?1, ?2, ?3); INSERT INTO t (number) VALUES (?1 + 1); ", long.MaxValue - 1, text, new byte[] { 0, 1, 255 });
            using SqliteRows rows = file.Query("SELECT number, text, bytes FROM t ORDER BY number");
            Assert.True(rows.Read());
            Assert.Equal((long.MaxValue - 1, text), (rows.Integer(0), System.Text.Encoding.UTF8.GetString(rows.Span(1))));
            Assert.Equal([0, 1, 255], rows.Bytes(2));
            Assert.True(rows.Read());
            Assert.Equal((long.MaxValue, true, true), (rows.Integer(0), rows.IsNull(1), rows.IsNull(2)));
            Assert.False(rows.Read());
            Assert.Throws<ArgumentException>(() => file.Execute("INSERT INTO t (number) VALUES (?1)", 1.5));
        }

        using SqliteCommand command = other.CreateCommand();
        command.CommandText = "SELECT number, text, bytes FROM t ORDER BY number LIMIT 1";
        using SqliteDataReader reader = command.ExecuteReader();
        Assert.True(reader.Read());
        Assert.Equal((long.MaxValue - 1, text), (reader.GetInt64(0), reader.GetString(1)));
        Assert.Equal([0, 1, 255], reader.GetFieldValue<byte[]>(2));
    }

    // What is charged is on the disk before a message leaves, whatever happens to the machine.
    [Fact]
    public void Connect_OfALedger_SyncsEachTransactionOfAWriteAheadLog()
    {
        using SqliteFile file = LedgerFile.At(Path, Patience).Connect();
        Assert.Equal(2, file.Integer("PRAGMA synchronous")); // FULL
        using SqliteRows rows = file.Query("PRAGMA journal_mode");
        Assert.True(rows.Read());
        Assert.Equal("wal"u8.ToArray(), rows.Bytes(0));
    }

    [Fact]
    public void Transaction_NotCommitted_HasNoEffect()
    {
        Other().Dispose();
        using SqliteFile file = SqliteFile.Open(Path, Patience);
        using (file.BeginWriting())
            file.Execute("INSERT INTO t (number) VALUES (1)");
        using (LedgerTransaction kept = file.BeginWriting())
        {
            file.Execute("INSERT INTO t (number) VALUES (2)");
            kept.Commit();
        }

        Assert.Equal(2, file.Integer("SELECT sum(number) FROM t"));
    }

    [Fact]
    public void Open_Absent_FailsAndMakesNoFile()
    {
        Assert.Equal(14, Assert.Throws<SqliteFailure>(() => SqliteFile.Open(Path, Patience)).Code);
        Assert.False(File.Exists(Path));
    }

    [Fact]
    public void UseWriteAheadLog_SomebodyReadsForTooLong_SaysThatItIsLocked()
    {
        using SqliteConnection reader = Other();
        Run(reader, "BEGIN; SELECT count(*) FROM t");
        var patience = TimeSpan.FromMilliseconds(20);
        using SqliteFile file = SqliteFile.Open(Path, patience);
        Assert.True(Assert.Throws<SqliteFailure>(() => file.UseWriteAheadLog(patience)).IsLocked);
        Run(reader, "ROLLBACK");
        file.UseWriteAheadLog(patience);
        using SqliteRows rows = file.Query("PRAGMA journal_mode");
        Assert.True(rows.Read());
        Assert.Equal("wal"u8, rows.Span(0));
    }

    [Fact]
    public async Task UseWriteAheadLog_SomebodyReads_WaitsForThem()
    {
        using SqliteConnection reader = Other();
        Run(reader, "BEGIN; SELECT count(*) FROM t");
        using SqliteFile file = SqliteFile.Open(Path, Patience);
        using var begun = new ManualResetEventSlim();
        Task waiting = Task.Run(() =>
        {
            begun.Set();
            file.UseWriteAheadLog(Patience);
        });
        begun.Wait();
        Run(reader, "ROLLBACK");
        await waiting.WaitAsync(Patience);
    }

    [Fact]
    public async Task Ledger_MadeByManyAtOnce_IsMadeOnce()
    {
        // Each of them finds no file, makes the tables and changes the log, while the others read.
        await Task.WhenAll(Enumerable.Range(0, 12).Select(_ => Task.Factory.StartNew(() =>
        {
            LedgerFile file = LedgerFile.At(Path, Patience);
            file.Guard(() =>
            {
                using SqliteFile connection = file.Connect();
                return file.ReadSound(connection).Rows;
            });
        }, TaskCreationOptions.LongRunning)));
        Assert.Equal(1, LedgerFile.At(Path, Patience).Guard(() =>
        {
            using SqliteFile connection = SqliteFile.Open(Path, Patience);
            return connection.Integer("SELECT count(*) FROM head");
        }));
    }
}
