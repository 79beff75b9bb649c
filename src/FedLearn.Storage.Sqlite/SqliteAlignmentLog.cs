using System.Collections.Concurrent;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Storage.Sqlite;

/// <summary>An alignment as a ledger holds it.</summary>
/// <param name="Record">With whom, and how many ids.</param>
/// <param name="Begun">When it began.</param>
/// <param name="Ended">When it ended; null while it has not, or when it failed.</param>
/// <param name="CommonIds">Ids found common with the peer; null where that is not known or not learnt.</param>
public sealed record LoggedAlignment(AlignmentRecord Record, DateTimeOffset Begun, DateTimeOffset? Ended = null, long? CommonIds = null);

/// <summary>A log of alignments in the file of a party's ledger: rows in the same chain, so that a row that is changed or missing shows. Safe for several
/// threads and processes.</summary>
/// <remarks>Whoever aligns can test as many ids as it announces, so a session is written down before it begins, whatever becomes of it. The check of what the
/// peer may do and the row are one commit (write-ahead log, synced). Rows of alignments cost no budget. They hold numbers of ids, and no id.</remarks>
public sealed class SqliteAlignmentLog : IAlignmentLog
{
    private static readonly TimeSpan Day = TimeSpan.FromHours(24);

    private readonly ConcurrentDictionary<string, string> _parties = new();
    private readonly LedgerFile _file;
    private readonly TimeProvider _clock;

    /// <summary>Opens the log of a ledger. A file that does not exist is created by the first session.</summary>
    /// <param name="path">File of the ledger; its folder exists.</param>
    /// <param name="lockTimeout">How long other jobs' commits are waited for; above 0. Null: 30 seconds.</param>
    /// <param name="clock">Clock of the rows. Null: the system's.</param>
    /// <exception cref="ConfigurationException">FL2310: the file is no ledger; FL2311: it cannot be opened.</exception>
    /// <exception cref="PrivacyRefusedException">FL5022: the ledger does not verify.</exception>
    /// <exception cref="InternalFailureException">FL6310 to FL6312: it is locked, or the storage fails.</exception>
    public SqliteAlignmentLog(string path, TimeSpan? lockTimeout = null, TimeProvider? clock = null)
    {
        _file = LedgerFile.At(path, lockTimeout ?? new SqliteLedgerOptions().LockTimeout);
        _clock = clock ?? TimeProvider.System;
        _file.Guard(_file.ReadSound);
    }

    /// <summary>Full path of the file.</summary>
    public string Path => _file.Path;

    /// <summary>All alignments, in the order in which they began.</summary>
    /// <exception cref="PrivacyRefusedException">FL5022: the ledger does not verify.</exception>
    public IReadOnlyList<LoggedAlignment> Alignments => _file.Guard(_file.ReadSound).Alignments;

    /// <inheritdoc />
    /// <exception cref="PrivacyRefusedException">FL5160: the peer has had its sessions of 24 hours; FL5161: it brings too many ids; FL5021: the session is in the
    /// log with other numbers; FL5022: the ledger does not verify. Nothing was written.</exception>
    public void Begin(AlignmentRecord record, AlignmentCaps caps)
    {
        ArgumentNullException.ThrowIfNull(record);
        ArgumentNullException.ThrowIfNull(caps);
        // A row with a null in it could not be read again, nor the ledger with it.
        if (record.Session is null || record.Party is null || record.Peer is null || record.Method is null || record.Output is null || record.JobDigest is null)
            throw new ArgumentException("A part of the record is null.", nameof(record));
        _file.Guard(() =>
        {
            using SqliteFile file = _file.Connect();
            using LedgerTransaction transaction = file.BeginWriting();
            LedgerChain chain = _file.ReadSound(file);
            if (chain.Alignments.FirstOrDefault(a => a.Record.Session == record.Session && a.Record.Party == record.Party) is { } earlier)
                return earlier.Record == record ? chain : throw SqliteLedgerErrors.Refused(PrivacyErrors.RunReservedOtherwise, Path,
                    "the alignment is in the ledger with other numbers.", "Remove the state of the interrupted alignment and start it anew.");
            DateTimeOffset now = _clock.GetUtcNow();
            // A row of the future, which a clock that was set back leaves, counts too.
            caps.Check(record, chain.Alignments.Count(a => a.Record.Party == record.Party && a.Record.Peer == record.Peer && a.Begun > now - Day));
            LedgerFile.Append(file, chain, LedgerChain.Write(record, now));
            file.Execute($"PRAGMA user_version = {LedgerChain.VersionWithAlignments}");
            transaction.Commit();
            return chain;
        });
        _parties[record.Session] = record.Party;
    }

    /// <inheritdoc />
    /// <exception cref="PrivacyRefusedException">FL5022: the ledger does not verify, or does not hold the session.</exception>
    public void End(string session, long? commonIds)
    {
        ArgumentNullException.ThrowIfNull(session);
        _file.Guard(() =>
        {
            using SqliteFile file = _file.Connect();
            using LedgerTransaction transaction = file.BeginWriting();
            LedgerChain chain = _file.ReadSound(file);
            // Both sides of a session may be in one file, where two parties share it.
            string? party = _parties.GetValueOrDefault(session);
            LoggedAlignment found = chain.Alignments.FirstOrDefault(a => a.Record.Session == session && (party is null || a.Record.Party == party))
                ?? throw SqliteLedgerErrors.ChainBroken(Path, "an alignment that is under way is not in it.");
            // A session that is taken up again after its end was written tells the same.
            if (found.Ended is not null)
                return chain;
            LedgerFile.Append(file, chain, LedgerChain.Write(found.Record, commonIds, _clock.GetUtcNow()));
            transaction.Commit();
            return chain;
        });
    }
}
