using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Storage.Sqlite;

/// <summary>What a run released for later ones.</summary>
internal sealed record KeptByRun(string Party, string RunId, KeptRelease Release);

/// <summary>The rows of a ledger as they were read: what they add up to, and the first that does not fit the chain.</summary>
/// <param name="Entries">Charges in the order of their reservation, settlements applied; up to the fault.</param>
/// <param name="Kept">What charges released for later runs, in the same order.</param>
/// <param name="Alignments">Alignments in the order in which they began; up to the fault.</param>
/// <param name="Rows">Rows that verified.</param>
/// <param name="Head">Hash of the last of them.</param>
/// <param name="BadRow">Number of the first row at fault, from 1; null when all verify.</param>
/// <param name="Fault">What is wrong there, as a sentence; null when all verify.</param>
internal sealed record LedgerChain(IReadOnlyList<LedgerEntry> Entries, IReadOnlyList<KeptByRun> Kept, IReadOnlyList<LoggedAlignment> Alignments, long Rows, byte[] Head, long? BadRow = null, string? Fault = null)
{
    /// <summary>"FLL1": marks the file as a ledger to SQLite's own header.</summary>
    public const int ApplicationId = 0x464C_4C31;

    public const int Version = 1;

    /// <summary>Of a ledger with alignments among its rows: software that does not know them says so, rather than call the ledger broken.</summary>
    public const int VersionWithAlignments = 2;

    /// <summary>Rows are only ever added. The triggers stop mistakes; what was done on purpose, the chain shows.</summary>
    public const string Schema = """
        CREATE TABLE rows (number INTEGER PRIMARY KEY, content TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
        CREATE TABLE kept (row INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
        CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), ledger BLOB NOT NULL, rows INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
        CREATE TRIGGER rows_stay BEFORE UPDATE ON rows BEGIN SELECT RAISE(ABORT, 'rows of a ledger are never changed'); END;
        CREATE TRIGGER rows_last BEFORE DELETE ON rows BEGIN SELECT RAISE(ABORT, 'rows of a ledger are never deleted'); END;
        """;

    private const string Charge = "charge", Settlement = "settlement", AlignmentBegun = "alignment", AlignmentEnded = "alignment-end";

    /// <summary>A ledger that does not exist yet.</summary>
    public static LedgerChain Empty { get; } = new([], [], [], 0, []);

    /// <summary>Hash before the first row, different for every ledger.</summary>
    public static byte[] Genesis(ReadOnlySpan<byte> ledger) => SHA256.HashData([.. "FedLearn ledger 1"u8, .. ledger]);

    /// <summary>SHA-256 of the hash before, the row's number (8 bytes, little-endian) and its content (UTF-8), which is stored as it is hashed.</summary>
    public static byte[] HashOf(ReadOnlySpan<byte> before, long number, ReadOnlySpan<byte> content)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> ordinal = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(ordinal, number);
        hash.AppendData(before);
        hash.AppendData(ordinal);
        hash.AppendData(content);
        return hash.GetHashAndReset();
    }

    /// <summary>Reads and verifies every row, and that the ledger was once where <paramref name="since"/> says.</summary>
    public static LedgerChain Read(SqliteFile file, LedgerHead? since = null)
    {
        var entries = new List<LedgerEntry>();
        var kept = new List<KeptByRun>();
        var places = new Dictionary<string, int>();
        var alignments = new List<LoggedAlignment>();
        var sessions = new Dictionary<(string Session, string Party), int>();
        byte[] head, hash;
        LedgerPeople people = LedgerPeople.Read(file);
        long count, number = 1;
        using (SqliteRows rows = file.Query("SELECT ledger, rows, hash FROM head"))
        {
            if (!rows.Read() || rows.IsNull(0) || rows.IsNull(2))
                return new([], [], [], 0, [], 1, "the record of the newest row is missing.");
            (hash, count, head) = (Genesis(rows.Bytes(0)), rows.Integer(1), rows.Bytes(2));
        }

        LedgerChain Bad(string fault) => new(entries, kept, alignments, number - 1, hash, number, fault);
        using (SqliteRows rows = file.Query("SELECT number, content, hash, bytes FROM rows LEFT JOIN kept ON row = number ORDER BY number"))
            for (; rows.Read(); number++)
            {
                if (rows.Integer(0) != number)
                    return Bad($"row {number} is missing.");
                // No statement leaves that, but a byte of a damaged page can.
                if (rows.IsNull(1) || rows.IsNull(2))
                    return Bad($"row {number} is damaged.");
                // In place: a ledger of years is read several times a job.
                ReadOnlySpan<byte> content = rows.Span(1);
                byte[] expected = HashOf(hash, number, content);
                if (!rows.Span(2).SequenceEqual(expected))
                    return Bad($"row {number} was changed, or is in another place than it was written to.");
                if (!Apply(content, rows.IsNull(3) ? null : rows.Bytes(3), entries, kept, places, people, alignments, sessions))
                    return Bad($"row {number}, or what is kept beside it, is not what a ledger writes.");
                hash = expected;
                if (number == since?.Rows && Convert.ToHexStringLower(hash) != since.Hash)
                    return Bad($"rows 1 to {number} are not those of the earlier check: the ledger was written anew.");
            }

        if (count != number - 1 || !hash.AsSpan().SequenceEqual(head))
            return Bad(count >= number ? $"rows {number} to {count} are missing." : "the record of the newest row is not that of the last row.");
        if (people.HasMore)
            return Bad("ids of a table are kept that no row has charged.");
        people.Complete(entries);
        return count < since?.Rows ? Bad($"the earlier check found {since.Rows} rows: this is an older copy.") : new(entries, kept, alignments, count, hash);
    }

    /// <summary>Content of a row that reserves a charge.</summary>
    /// <param name="charge">The charge.</param>
    /// <param name="people">SHA-256 of the digests that are kept of its table; null for none.</param>
    /// <param name="kept">What is kept for later runs; null for nothing.</param>
    /// <param name="at">When.</param>
    public static string Write(PrivacyCharge charge, string? people, KeptRelease? kept, DateTimeOffset at) => new JsonObject
    {
        ["kind"] = Charge,
        ["at"] = at,
        ["runId"] = charge.RunId,
        ["party"] = charge.Party,
        ["dataSet"] = LedgerPeople.Write(charge.DataSet, people),
        ["jobName"] = charge.JobName,
        ["jobDigest"] = charge.JobDigest,
        ["mechanism"] = charge.Mechanism,
        ["claim"] = charge.Claim,
        ["parameters"] = charge.Parameters,
        ["unit"] = charge.Unit.ToString(),
        ["adjacency"] = charge.Adjacency.ToString(),
        ["messages"] = charge.Messages,
        ["pureEpsilon"] = charge.PureEpsilon,
        ["muSquared"] = charge.MuSquared,
        ["testNoise"] = charge.TestNoise,
        ["kept"] = kept is null ? null : new JsonObject { ["key"] = kept.Key, ["sha256"] = Sha256(kept.Bytes.Span) },
    }.ToJsonString();

    /// <summary>Content of a row that settles one.</summary>
    public static string Write(string runId, double share, DateTimeOffset at) =>
        new JsonObject { ["kind"] = Settlement, ["at"] = at, ["runId"] = runId, ["share"] = share }.ToJsonString();

    /// <summary>Content of a row that says that an alignment begins.</summary>
    public static string Write(AlignmentRecord record, DateTimeOffset at) => new JsonObject
    {
        ["kind"] = AlignmentBegun,
        ["at"] = at,
        ["session"] = record.Session,
        ["party"] = record.Party,
        ["peer"] = record.Peer,
        ["method"] = record.Method,
        ["output"] = record.Output,
        ["ownIds"] = record.OwnIds,
        ["peerIds"] = record.PeerIds,
        ["jobDigest"] = record.JobDigest,
    }.ToJsonString();

    /// <summary>Content of a row that says what an alignment told.</summary>
    public static string Write(AlignmentRecord record, long? commonIds, DateTimeOffset at) => new JsonObject
    {
        ["kind"] = AlignmentEnded,
        ["at"] = at,
        ["session"] = record.Session,
        ["party"] = record.Party,
        ["commonIds"] = commonIds,
    }.ToJsonString();

    /// <summary>Adds a row to what the rows before it say; false when it makes no sense after them.</summary>
    private static bool Apply(ReadOnlySpan<byte> content, byte[]? bytes, List<LedgerEntry> entries, List<KeptByRun> kept, Dictionary<string, int> places, LedgerPeople people,
        List<LoggedAlignment> alignments, Dictionary<(string Session, string Party), int> sessions)
    {
        try
        {
            var reader = new Utf8JsonReader(content);
            using JsonDocument document = JsonDocument.ParseValue(ref reader);
            if (reader.Read())
                return false;
            JsonElement row = document.RootElement;
            if (Text(row, "kind") is AlignmentBegun or AlignmentEnded)
                return bytes is null && ApplyAlignment(row, alignments, sessions);
            string runId = Text(row, "runId");
            if (Text(row, "kind") == Charge)
            {
                PrivacyCharge charge = ReadCharge(row, runId, people, entries.Count > 0 ? entries[^1].Charge : null);
                bool isFirst = places.TryAdd(runId, entries.Count);
                entries.Add(new LedgerEntry(charge, ChargeState.Reserved, 1, row.GetProperty("at").GetDateTimeOffset()));
                JsonElement keeps = row.GetProperty("kept");
                if (keeps.ValueKind == JsonValueKind.Null)
                    return isFirst && bytes is null;
                kept.Add(new(charge.Party, runId, new KeptRelease(Text(keeps, "key"), bytes)));
                return isFirst && bytes is not null && Text(keeps, "sha256") == Sha256(bytes);
            }

            double share = row.GetProperty("share").GetDouble();
            if (Text(row, "kind") != Settlement || !places.TryGetValue(runId, out int place) || entries[place].State != ChargeState.Reserved || !(share >= 0 && share <= 1) || bytes is not null)
                return false;
            entries[place] = entries[place] with { State = ChargeState.Settled, Share = share };
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or KeyNotFoundException or ArgumentException or OverflowException)
        {
            return false;
        }
    }

    private static bool ApplyAlignment(JsonElement row, List<LoggedAlignment> alignments, Dictionary<(string Session, string Party), int> sessions)
    {
        string session = Text(row, "session"), party = Text(row, "party");
        DateTimeOffset at = row.GetProperty("at").GetDateTimeOffset();
        if (Text(row, "kind") == AlignmentBegun)
        {
            alignments.Add(new LoggedAlignment(new AlignmentRecord(session, party, Text(row, "peer"), Text(row, "method"), Text(row, "output"),
                row.GetProperty("ownIds").GetInt64(), row.GetProperty("peerIds").GetInt64(), Text(row, "jobDigest")), at));
            return sessions.TryAdd((session, party), alignments.Count - 1);
        }

        if (!sessions.TryGetValue((session, party), out int place) || alignments[place].Ended is not null)
            return false;
        JsonElement common = row.GetProperty("commonIds");
        alignments[place] = alignments[place] with { Ended = at, CommonIds = common.ValueKind == JsonValueKind.Null ? null : common.GetInt64() };
        return true;
    }

    /// <summary>SHA-256, hex.</summary>
    public static string Sha256(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    // Charges mostly repeat the one before: what is equal is shared with it.
    private static PrivacyCharge ReadCharge(JsonElement row, string runId, LedgerPeople people, PrivacyCharge? before) => new()
    {
        RunId = runId,
        Party = Text(row, "party", before?.Party),
        DataSet = people.Restore(row.GetProperty("dataSet")),
        JobName = Text(row, "jobName", before?.JobName),
        JobDigest = Text(row, "jobDigest", before?.JobDigest),
        Mechanism = Text(row, "mechanism", before?.Mechanism),
        Claim = Text(row, "claim", before?.Claim),
        Parameters = Text(row, "parameters", before?.Parameters),
        Unit = Enum.Parse<PrivacyUnit>(Text(row, "unit")),
        Adjacency = Enum.Parse<Adjacency>(Text(row, "adjacency")),
        Messages = row.GetProperty("messages").GetInt32(),
        PureEpsilon = row.GetProperty("pureEpsilon").GetDouble(),
        MuSquared = row.GetProperty("muSquared").GetDouble(),
        TestNoise = row.GetProperty("testNoise").GetBoolean(),
    };

    /// <summary>A text of a row; the likely one where it is equal, so that it is there once.</summary>
    public static string Text(JsonElement parent, string name, string? likely = null) =>
        parent.GetProperty(name) is var text && likely is not null && text.ValueEquals(likely) ? likely : text.GetString() ?? throw new FormatException();
}
