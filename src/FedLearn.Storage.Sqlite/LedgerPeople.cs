using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Privacy;

namespace FedLearn.Storage.Sqlite;

/// <summary>The people of the tables that a ledger has charged: a table of more rows than its sketch has is kept once, as the first bytes of its sorted digests, beside the
/// chain. The rows that charge it name the SHA-256 of them.</summary>
/// <remarks>They are verified with the chain, and not held in memory: some may be of millions of rows, and sketches decide most questions.</remarks>
internal sealed class LedgerPeople
{
    private readonly string _path;
    private readonly Dictionary<string, long> _kept = [];
    private readonly HashSet<string> _named = [];
    private readonly Dictionary<string, DataSetIdentity> _tables = [];
    private int _rows;

    private LedgerPeople(string path) => _path = path;

    /// <summary>Whether more is kept than the restored tables need.</summary>
    public bool HasMore => _rows > _named.Count;

    /// <summary>What is kept and whole. What is damaged is as if it were not there: the first row that needs it is at fault.</summary>
    public static LedgerPeople Read(SqliteFile file)
    {
        var people = new LedgerPeople(file.Path);
        // A ledger of small tables, or of earlier versions, has no such table.
        if (file.Integer("SELECT count(*) FROM sqlite_schema WHERE name = 'people'") == 0)
            return people;
        using SqliteRows rows = file.Query("SELECT sha256, digests FROM people");
        for (; rows.Read(); people._rows++)
        {
            string sha256 = LedgerChain.Sha256(rows.Span(1));
            if (rows.Span(0).SequenceEqual(Encoding.UTF8.GetBytes(sha256)))
                people._kept[sha256] = rows.Span(1).Length;
        }

        return people;
    }

    /// <summary>Keeps the people of a table that is charged, in the transaction of the charge.</summary>
    /// <returns>SHA-256 of what is kept; null where the sketch is all that is known, or that there is.</returns>
    public static string? Keep(SqliteFile file, DataSetIdentity dataSet)
    {
        if (dataSet.Rows <= DataSetIdentity.SketchSize || dataSet.Digests is not { } digests)
            return null;
        string sha256 = LedgerChain.Sha256(digests.Span);
        file.Execute("CREATE TABLE IF NOT EXISTS people (sha256 TEXT PRIMARY KEY, digests BLOB NOT NULL) STRICT");
        bool isKept;
        using (SqliteRows rows = file.Query("SELECT 1 FROM people WHERE sha256 = ?1", sha256))
            isKept = rows.Read();
        if (!isKept)
            file.Execute("INSERT INTO people VALUES (?1, ?2)", sha256, digests.ToArray());
        return sha256;
    }

    /// <summary>A table as a row says it.</summary>
    public static JsonObject Write(DataSetIdentity dataSet, string? people)
    {
        var written = new JsonObject { ["fingerprint"] = dataSet.Fingerprint, ["rows"] = dataSet.Rows, ["sketch"] = Convert.ToBase64String(dataSet.Sketch.Span) };
        if (people is not null)
            written["digests"] = people;
        return written;
    }

    /// <summary>A table of a row, one object for all rows that have it.</summary>
    /// <exception cref="FormatException">What the row names is not kept.</exception>
    public DataSetIdentity Restore(JsonElement written)
    {
        string fingerprint = LedgerChain.Text(written, "fingerprint");
        int rows = written.GetProperty("rows").GetInt32();
        byte[] sketch = written.GetProperty("sketch").GetBytesFromBase64();
        string? sha256 = written.TryGetProperty("digests", out JsonElement digests) ? digests.GetString() : null;
        if (sha256 is not null && (!_kept.TryGetValue(sha256, out long length) || length != (long)rows * DataSetIdentity.SketchDigestBytes))
            throw new FormatException();
        bool isNews = sha256 is not null && _named.Add(sha256);
        if (!isNews && _tables.TryGetValue(fingerprint, out DataSetIdentity? before) && before.Rows == rows && before.Sketch.Span.SequenceEqual(sketch))
            return before;
        return _tables[fingerprint] = DataSetIdentity.Restore(fingerprint, rows, sketch, sha256 is null ? null : () => Load(_path, sha256));
    }

    /// <summary>Has charges of earlier versions, which kept sketches alone, know the people of the same table where a later charge kept them.</summary>
    public void Complete(List<LedgerEntry> entries)
    {
        for (int i = 0; i < entries.Count; i++)
            if (_tables[entries[i].Charge.DataSet.Fingerprint] is var table && table != entries[i].Charge.DataSet)
                entries[i] = entries[i] with { Charge = entries[i].Charge with { DataSet = table } };
    }

    private static ReadOnlyMemory<byte> Load(string path, string sha256) => LedgerFile.Read<ReadOnlyMemory<byte>>(path, file =>
    {
        using SqliteRows rows = file.Query("SELECT digests FROM people WHERE sha256 = ?1", sha256);
        byte[] digests = rows.Read() ? rows.Bytes(0) : [];
        return LedgerChain.Sha256(digests) == sha256 ? digests : throw SqliteLedgerErrors.ChainBroken(path, "the ids of a table that was charged are missing, or were changed.");
    });
}
