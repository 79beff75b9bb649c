using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Storage.Sqlite;

/// <summary>How a ledger behaves.</summary>
public sealed record SqliteLedgerOptions
{
    /// <summary>What a record may cost over the life of the ledger. Null: every charge is recorded, none refused.</summary>
    public LedgerBudget? Budget { get; init; }

    /// <summary>Messages of a run that its outbox keeps at least: how far back a resumed run may send again, one fewer after a write that was torn. A run that keeps states needs fewer, and says so (<see cref="IPrivacyReservation.KeepNoMore"/>). At least 2: of one alone a torn write would leave none. Default 1024.</summary>
    public int OutboxMessages { get; init; } = 1024;

    /// <summary>How long other jobs' commits are waited for. Above 0. Default 30 seconds.</summary>
    public TimeSpan LockTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Clock of the rows. Default the system's.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>A point in the life of a ledger, to be kept in another place.</summary>
/// <param name="Rows">Rows that it had.</param>
/// <param name="Hash">SHA-256 of the last of them, hex.</param>
public sealed record LedgerHead(long Rows, string Hash);

/// <summary>What a check of a ledger found.</summary>
/// <param name="Path">Full path of the file.</param>
/// <param name="Rows">Rows that verified.</param>
/// <param name="Head">SHA-256 of the last of them, hex. Kept elsewhere, it shows later that these rows are still the first ones.</param>
/// <param name="Entries">The charges that they hold, settlements applied.</param>
/// <param name="BadRow">Number of the first row at fault, from 1; null when all verify.</param>
/// <param name="Fault">What is wrong there, as a sentence; null when all verify.</param>
public sealed record LedgerAudit(string Path, long Rows, string Head, IReadOnlyList<LedgerEntry> Entries, long? BadRow, string? Fault)
{
    /// <summary>The alignments that they hold, in the order in which they began.</summary>
    public IReadOnlyList<LoggedAlignment> Alignments { get; init; } = [];

    /// <summary>Refuses a ledger that does not verify.</summary>
    /// <exception cref="PrivacyRefusedException">FL5022: a row is at fault.</exception>
    public void ThrowIfBroken()
    {
        if (Fault is not null)
            throw SqliteLedgerErrors.ChainBroken(Path, Fault);
    }
}

/// <summary>A party's ledger in one SQLite file: rows that are only added, each bound to those before it by a hash. Safe for several threads and processes.</summary>
/// <remarks>
/// <para>A charge is one commit (write-ahead log, synced), in which the budget is checked as well: two jobs that meet there are served one after the other.
/// What may leave under the charge is kept in an outbox file of the run, beside the ledger, until the run is settled. A run that dies stays charged in full.</para>
/// <para>The chain shows rows that were changed, dropped, inserted or reordered, the last ones included. Whoever can write the file can also write a
/// wholly new chain, or put an old copy back: against the owner only a copy of <see cref="LedgerAudit.Head"/> elsewhere helps.</para>
/// <para>The file is opened for each call and closed after it, so that there is nothing to dispose of.</para>
/// </remarks>
public sealed class SqliteLedger : IPrivacyLedger
{
    /// <summary>How often a run under way notes in the ledger how much it has kept: a note is synced, and may take as long as ten messages.</summary>
    private static readonly TimeSpan NoteEvery = TimeSpan.FromSeconds(1);

    private const double NotePatienceMilliseconds = 100;

    private readonly LedgerFile _file;
    private readonly SqliteLedgerOptions _options;

    /// <summary>Opens a ledger. One that does not exist is empty, and is created by its first charge.</summary>
    /// <param name="path">File; its folder exists.</param>
    /// <param name="options">Options; null for the defaults.</param>
    /// <exception cref="ConfigurationException">FL2301: the budget is none; FL2310: the file is no ledger; FL2311: it cannot be opened.</exception>
    /// <exception cref="PrivacyRefusedException">FL5022: the ledger does not verify.</exception>
    /// <exception cref="InternalFailureException">FL6310 to FL6312: it is locked, or the storage fails.</exception>
    public SqliteLedger(string path, SqliteLedgerOptions? options = null)
    {
        _options = options ?? new SqliteLedgerOptions();
        _options.Budget?.Validate();
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.OutboxMessages, 2);
        _file = LedgerFile.At(path, _options.LockTimeout);
        _file.Guard(_file.ReadSound);
    }

    /// <summary>Full path of the file.</summary>
    public string Path => _file.Path;

    /// <summary>The budget; null for none.</summary>
    public LedgerBudget? Budget => _options.Budget;

    /// <inheritdoc />
    public string? Warning => Budget is null ? "no lifetime budget is set for this ledger: every charge is recorded, and none is refused" : null;

    /// <inheritdoc />
    /// <exception cref="PrivacyRefusedException">FL5022: the ledger does not verify.</exception>
    public IReadOnlyList<LedgerEntry> Entries => _file.Guard(_file.ReadSound).Entries;

    /// <summary>Reads and verifies a ledger without changing it, whatever state it is in.</summary>
    /// <param name="path">File of an existing ledger.</param>
    /// <param name="since">Where it was earlier: another chain, or an older copy, is then a fault too. Null checks the chain by itself.</param>
    /// <exception cref="ConfigurationException">FL2310: the file is no ledger; FL2311: it is absent or cannot be opened.</exception>
    /// <exception cref="PrivacyRefusedException">FL5022: the file is too damaged to be read.</exception>
    /// <exception cref="InternalFailureException">FL6310 to FL6312: it is locked, or the storage fails.</exception>
    public static LedgerAudit Audit(string path, LedgerHead? since = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string full = System.IO.Path.GetFullPath(path);
        return LedgerFile.Read(full, file => Audit(file, since));
    }

    private static LedgerAudit Audit(SqliteFile file, LedgerHead? since)
    {
        // A process that died while it made the file: no charge was written, and so nothing was sent.
        if (since is null && LedgerFile.IsEmpty(file))
            return new LedgerAudit(file.Path, 0, "", [], null, null);
        LedgerFile.CheckFormat(file);
        using LedgerTransaction transaction = file.BeginReading();
        LedgerChain chain = LedgerChain.Read(file, since);
        return new LedgerAudit(file.Path, chain.Rows, Convert.ToHexStringLower(chain.Head), chain.Entries, chain.BadRow, chain.Fault) { Alignments = chain.Alignments };
    }

    /// <inheritdoc />
    /// <exception cref="ConfigurationException">FL2311: the ledger cannot be written.</exception>
    public void Check(PrivacyCharge charge) => Check(charge, 1);

    /// <inheritdoc />
    /// <exception cref="ConfigurationException">FL2311: the ledger cannot be written.</exception>
    public void Check(PrivacyCharge charge, int runs)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(runs, 1);
        IPrivacyLedger.CheckCharge(charge);
        LedgerChain chain = _file.Guard(_file.ReadSound);
        Budget?.Check(chain.Entries, charge, Path, runs);
        // Before a peer is met: a ledger that can be read alone would end the session in the midst of it.
        _file.Guard(_file.CheckWritable);
    }

    /// <inheritdoc />
    /// <exception cref="ConfigurationException">FL2312: the run is open in another place.</exception>
    /// <exception cref="PrivacyRefusedException">FL5020: over the budget; FL5021: the run is reserved with other terms; FL5022: the ledger does not
    /// verify; FL5023: the run is settled; FL5024: the run's messages are lost; FL5025: they are an older copy.</exception>
    public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null)
    {
        IPrivacyLedger.CheckCharge(charge);
        if (kept is not null)
            ArgumentNullException.ThrowIfNull(kept.Key, nameof(kept));
        return _file.Guard(() =>
        {
            // The run's outbox first: it is the run's lock, and once the charge is committed its absence means that messages are lost.
            Outbox outbox = Outbox.Open(OutboxPath(charge.RunId), Convert.FromHexString(charge.RunId), Limit(charge));
            try
            {
                (bool inFull, LedgerProgress known) = Commit(charge, kept, outbox);
                return new Reservation(this, charge, outbox, inFull, known);
            }
            catch
            {
                if (outbox.IsNew)
                    outbox.Delete();
                outbox.Dispose();
                throw;
            }
        });
    }

    /// <inheritdoc />
    public byte[]? Find(string party, string key) =>
        _file.Guard(_file.ReadSound).Kept.LastOrDefault(k => k.Party == party && k.Release.Key == key)?.Release.Bytes.ToArray();

    /// <summary>Writes the charge of a run, or finds it; whether it counts in full whatever the run sends, and what the run has kept at least.</summary>
    private (bool InFull, LedgerProgress Known) Commit(PrivacyCharge charge, KeptRelease? kept, Outbox outbox)
    {
        using SqliteFile file = _file.Connect();
        using LedgerTransaction transaction = file.BeginWriting();
        LedgerChain chain = _file.ReadSound(file);
        if (chain.Entries.FirstOrDefault(e => e.Charge.RunId == charge.RunId) is { } entry)
        {
            if (!entry.Charge.HasTermsOf(charge))
                throw SqliteLedgerErrors.Refused(PrivacyErrors.RunReservedOtherwise, Path, "the run is in the ledger with other terms.", "Draw a new run id.");
            if (entry.State == ChargeState.Settled)
            {
                File.Delete(LocalPath(charge.RunId));
                outbox.Delete();
                throw SqliteLedgerErrors.Refused(SqliteLedgerErrors.RunEnded, Path, "the run has ended and was settled.", "Start a new run, which is charged by itself.");
            }

            if (!outbox.Exists)
                throw SqliteLedgerErrors.Refused(SqliteLedgerErrors.MessageLost, Path, "the run's outbox file is missing, so that what it sent cannot be sent again.",
                    "Start a new run, which is charged by itself.");
            var known = LedgerProgress.Of(file, charge.RunId);
            if (outbox.Kept < known.Messages)
                throw OlderCopy($"the run's outbox is an older copy: it holds {outbox.Kept} {Counted.Noun(outbox.Kept, "message")}, and {known.Messages} had been kept.");
            if (outbox.Kept > known.Messages)
            {
                (known with { Messages = outbox.Kept }).Write(file, charge.RunId);
                transaction.Commit();
            }

            return (chain.Kept.Any(k => k.RunId == charge.RunId), known);
        }

        if (outbox.Kept > 0)
            throw SqliteLedgerErrors.ChainBroken(Path, "the run has sent messages that the ledger does not know of, so that an old copy must have been put back.");
        Budget?.Check(chain.Entries, charge, Path);
        RemoveLeft(chain);
        outbox.Create();
        LedgerFile.Append(file, chain, LedgerChain.Write(charge, LedgerPeople.Keep(file, charge.DataSet), kept, _options.Clock.GetUtcNow()));
        if (kept is not null)
            file.Execute("INSERT INTO kept VALUES (?1, ?2)", chain.Rows + 1, kept.Bytes.ToArray());
        transaction.Commit();
        return (kept is not null, default);
    }

    private PrivacyRefusedException OlderCopy(string cause) => SqliteLedgerErrors.Refused(SqliteLedgerErrors.OlderCopy, Path, cause,
        "Put the newest copy of the run's files back, or start a new run (fedlearn: --fresh), which is charged by itself: a second noise for what has left would give away more than was charged.");

    /// <summary>Notes what a run has kept. The message is kept whether this succeeds or not: where it fails, an older copy of the run's files may go unnoticed.</summary>
    private void Note(string runId, LedgerProgress progress)
    {
        try
        {
            // Of a file that is gone nothing is made anew; nor is one that others write for long waited for, since a message would wait too.
            using SqliteFile file = SqliteFile.Open(Path, TimeSpan.FromMilliseconds(Math.Min(NotePatienceMilliseconds, _options.LockTimeout.TotalMilliseconds)));
            if (file.Integer("PRAGMA application_id") != LedgerChain.ApplicationId)
                return;
            file.Execute("PRAGMA synchronous = NORMAL");
            using LedgerTransaction transaction = file.BeginWriting();
            progress.Write(file, runId);
            transaction.Commit();
        }
        catch (SqliteFailure)
        {
            // As above.
        }
    }

    private void Settle(string runId, double share) => _file.Guard(() =>
    {
        using SqliteFile file = _file.Connect();
        using LedgerTransaction transaction = file.BeginWriting();
        LedgerChain chain = _file.ReadSound(file);
        if (!chain.Entries.Any(e => e.Charge.RunId == runId && e.State == ChargeState.Reserved))
            throw SqliteLedgerErrors.ChainBroken(Path, "the charge of a run that is under way is not in it.");
        LedgerFile.Append(file, chain, LedgerChain.Write(runId, share, _options.Clock.GetUtcNow()));
        LedgerProgress.Remove(file, runId);
        transaction.Commit();
        return chain;
    });

    /// <summary>Removes what crashes leave: right after a settlement, where the run's state is gone before it, so that nobody asks for the run again; and before a charge, where the outbox has a first page and no message.</summary>
    private void RemoveLeft(LedgerChain chain)
    {
        const string End = ".outbox";
        Dictionary<string, ChargeState>? states = null;
        string start = System.IO.Path.GetFileName(Path) + ".";
        // The folder once: a ledger of years has more runs than files. Every run of a charge that is being made holds its own.
        foreach (string file in Directory.EnumerateFiles(System.IO.Path.GetDirectoryName(Path)!))
        {
            string name = System.IO.Path.GetFileName(file);
            if (name.Length < start.Length + End.Length || !name.StartsWith(start, StringComparison.Ordinal) || !name.EndsWith(End, StringComparison.Ordinal)
                || name[start.Length..^End.Length].Split('.') is not ([{ Length: 32 }] or [{ Length: 32 }, "local"]))
                continue;
            states ??= chain.Entries.ToDictionary(e => e.Charge.RunId, e => e.State);
            if (states.TryGetValue(name.Substring(start.Length, 32), out ChargeState state) ? state == ChargeState.Settled : Outbox.IsEmpty(file))
                Outbox.DeleteUnused(file);
        }
    }

    private string OutboxPath(string runId) => $"{Path}.{runId}.outbox";

    private string LocalPath(string runId) => $"{Path}.{runId}.local.outbox";

    private int Limit(PrivacyCharge charge) => Math.Min(charge.Messages, _options.OutboxMessages);

    /// <summary>One run, while this process works on it.</summary>
    /// <param name="ledger">The ledger.</param>
    /// <param name="charge">Its charge.</param>
    /// <param name="outbox">Its messages.</param>
    /// <param name="inFull">Whether its charge counts in full whatever it sends.</param>
    /// <param name="known">What earlier processes of it had kept, as far as the ledger knows.</param>
    private sealed class Reservation(SqliteLedger ledger, PrivacyCharge charge, Outbox outbox, bool inFull, LedgerProgress known) : IPrivacyReservation
    {
        private readonly Lock _lock = new();
        private readonly int _before = outbox.Kept;
        private Outbox? _local;
        private long _notedAt = ledger._options.Clock.GetTimestamp();
        private bool _settled;
        private int _values = int.MaxValue;

        public string RunId => charge.RunId;

        public int Kept => outbox.Kept;

        public int KeepsAtLeast => outbox.Limit;

        public void KeepNoMore(int messages)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(messages, 1);
            outbox.KeepNoMore(messages);
            lock (_lock)
            {
                _values = Math.Min(_values, messages < int.MaxValue ? messages + 1 : messages);
                _local?.KeepNoMore(_values);
            }
        }

        public byte[]? Find(int index) => outbox.Find(index);

        public void Prepare(int bytes, int messages) => outbox.Prepare(bytes, messages);

        public void Keep(int index, ReadOnlySpan<byte> message) => KeepWith(index, message, null);

        public void Keep(int index, ReadOnlySpan<byte> message, Action begin) => KeepWith(index, message, begin);

        private void KeepWith(int index, ReadOnlySpan<byte> message, Action? begin)
        {
            if (index >= charge.Messages)
                throw SqliteLedgerErrors.Refused(PrivacyErrors.ReleasesSpent, ledger.Path, $"the charge covers {charge.Messages} {Counted.Noun(charge.Messages, "message, and it has", "messages, and all have")} been released (A6).",
                    "More of them need a charge of their own.");
            outbox.Keep(index, message, begin);
            // A run of one message has no later one.
            Note(charge.Messages == 1 ? TimeSpan.Zero : NoteEvery);
        }

        /// <summary>Notes in the ledger what has been kept, where so much time has passed since the last time, or since the process took up the run: a run of milliseconds does not wait for it.</summary>
        private void Note(TimeSpan every)
        {
            lock (_lock)
            {
                TimeProvider clock = ledger._options.Clock;
                if (clock.GetElapsedTime(_notedAt) < every)
                    return;
                ledger.Note(charge.RunId, new(outbox.Kept, _local?.Kept ?? 0));
                _notedAt = clock.GetTimestamp();
            }
        }

        public TimeSpan SyncTime => outbox.SyncTime + (_local?.SyncTime ?? TimeSpan.Zero);

        public bool KeepsLocally => true;

        public byte[]? FindLocal(int index)
        {
            Outbox local = Local();
            // A run makes its values one after the other.
            return index > local.Kept ? throw OlderValues() : local.Find(index);
        }

        private PrivacyRefusedException OlderValues() =>
            ledger.OlderCopy("the run's file of noised values that stay at the party lacks some that it had made: an older copy must have been put back.");

        public void KeepLocal(int index, ReadOnlySpan<byte> value) => Local().Keep(index, value);

        public void Settle(double share)
        {
            IPrivacyReservation.CheckShare(share, Kept);
            ledger.Settle(RunId, inFull ? 1 : share);
            _settled = true;
            // The charge is what counts; a file that stays is removed by the next run's charge, or when somebody asks for this run again.
            ledger._file.Guard(() =>
            {
                try
                {
                    _local?.Dispose();
                    File.Delete(ledger.LocalPath(charge.RunId));
                }
                finally
                {
                    outbox.Delete();
                }

                return true;
            });
        }

        public void Dispose()
        {
            // A run that is left as it is.
            if (!_settled && (outbox.Kept > _before || _local?.Kept > known.Values))
                Note(TimeSpan.Zero);
            _settled = true;
            _local?.Dispose();
            outbox.Dispose();
        }

        /// <summary>The file of values that stay at the party, made when the first of them is.</summary>
        private Outbox Local()
        {
            lock (_lock)
            {
                if (_local is not null)
                    return _local;
                Outbox local = Outbox.Open(ledger.LocalPath(charge.RunId), Convert.FromHexString(charge.RunId), ledger._options.OutboxMessages); // a run may have more of them than messages
                try
                {
                    if (!local.Exists && outbox.HasLocal)
                        throw SqliteLedgerErrors.Refused(SqliteLedgerErrors.MessageLost, ledger.Path, "the run's file of noised values that stay at the party is missing, so that it cannot go on with them.",
                            "Start a new run, which is charged by itself.");
                    if (local.Kept < known.Values)
                        throw OlderValues();
                    if (!local.Exists)
                        local.Create();
                    if (!outbox.HasLocal)
                        outbox.MarkLocal();
                    local.KeepNoMore(_values);
                    return _local = local;
                }
                catch
                {
                    local.Dispose();
                    throw;
                }
            }
        }
    }
}
