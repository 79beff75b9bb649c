namespace FedLearn.Storage.Sqlite;

/// <summary>How much the runs under way have kept, as the ledger knows it: a run's files that hold less are an older copy, which was put back after the run had gone on.</summary>
/// <remarks>Beside the chain, since rows of that are only added. A number may lag behind the files, never be ahead of them: it is written after what it counts is durable. So a run that was cut off is never refused by it, whatever
/// was lost with it. Absent for runs of earlier versions until a process goes on with them.</remarks>
/// <param name="Messages">Messages.</param>
/// <param name="Values">Noised values that stay at the party.</param>
internal readonly record struct LedgerProgress(long Messages, long Values)
{
    /// <summary>What is known of a run.</summary>
    public static LedgerProgress Of(SqliteFile file, string runId)
    {
        if (!Exists(file))
            return default;
        using SqliteRows rows = file.Query("SELECT messages, local FROM progress WHERE run = ?1", runId);
        return rows.Read() ? new(rows.Integer(0), rows.Integer(1)) : default;
    }

    /// <summary>Notes what a run has kept.</summary>
    public void Write(SqliteFile file, string runId)
    {
        file.Execute("CREATE TABLE IF NOT EXISTS progress (run TEXT PRIMARY KEY, messages INTEGER NOT NULL, local INTEGER NOT NULL) STRICT");
        file.Execute("INSERT INTO progress VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET messages = max(messages, excluded.messages), local = max(local, excluded.local)", runId, Messages, Values);
    }

    /// <summary>Forgets a run, which has ended.</summary>
    public static void Remove(SqliteFile file, string runId)
    {
        if (Exists(file))
            file.Execute("DELETE FROM progress WHERE run = ?1", runId);
    }

    private static bool Exists(SqliteFile file) => file.Integer("SELECT count(*) FROM sqlite_schema WHERE name = 'progress'") > 0;
}
