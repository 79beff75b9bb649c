using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Storage.Sqlite;

/// <summary>Keeps the states of runs in files beside a ledger: what a run began with, <c>LEDGER.RUNID.start.state</c>, a state a round, <c>LEDGER.RUNID.round-N.state</c>, and masked messages,
/// <c>LEDGER.RUNID.masked.outbox</c>. Thread-safe; several processes may share a folder.</summary>
/// <remarks>
/// <para>A file is written under another name, synced, renamed, and the folder is synced, so a crash leaves the new state or those before it. One whose
/// checksum fails counts as absent: the run then goes on from the one before. A state names the checksum of the start that it belongs to, and counts as absent without it. Nobody but the owner may read
/// a file.</para>
/// <para>While a process works on a run it holds a lock, <c>LEDGER.RUNID.state.lock</c>, which ends with the process, however that ends.</para>
/// </remarks>
public sealed class FileRunStore : IRunStore
{
    /// <summary>Masked messages that a run keeps at least.</summary>
    private const int MaskedMessages = 1024;

    /// <summary>Round in the header of a file that holds what a run began with.</summary>
    private const int BeforeAll = -1;

    private const int HashAt = 8, HeadBytes = HashAt + SHA256.HashSizeInBytes + sizeof(int);

    /// <summary>Far beyond the description of any state: what claims more is damaged.</summary>
    private const int MostHeaderBytes = 1 << 20;

    /// <summary>Bytes of a file that are in memory at a time where only its checksum is wanted.</summary>
    private const int PieceBytes = 1 << 17;

    private static readonly byte[] Magic = "FLState1"u8.ToArray();

    private readonly string _folder, _name;
    private readonly TimeSpan _patience;
    private readonly Action<TimeSpan>? _waiting;
    private readonly Lock _lock = new();

    /// <summary>Creates a store. No file is touched.</summary>
    /// <param name="ledgerPath">The file beside which states are kept; it need not exist.</param>
    /// <param name="lockTimeout">How long a run is waited for that another process still holds, as one that was killed does for a moment. Null: 5 seconds.</param>
    /// <param name="waiting">Told that a run is waited for, and how long at most, as the wait begins; null for nobody.</param>
    public FileRunStore(string ledgerPath, TimeSpan? lockTimeout = null, Action<TimeSpan>? waiting = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(ledgerPath);
        string full = Path.GetFullPath(ledgerPath);
        (_folder, _name, _patience, _waiting) = (Path.GetDirectoryName(full)!, Path.GetFileName(full), lockTimeout ?? TimeSpan.FromSeconds(5), waiting);
    }

    /// <inheritdoc />
    public CutOffRun? Find(string party, ReadOnlyMemory<byte> termsDigest)
    {
        lock (_lock)
            return Guard(() => Runs(party, termsDigest).Where(r => r.IsWhole).MaxBy(r => (r.Number, r.Written))?.CutOff);
    }

    /// <inheritdoc />
    public IReadOnlyList<string> PassedOver(string party, ReadOnlyMemory<byte> termsDigest)
    {
        var passed = new List<string>();
        lock (_lock)
            return Guard(() =>
            {
                foreach (KeptRun run in Runs(party, termsDigest, passed).Where(r => !r.IsWhole))
                    passed.Add($"{Path.GetFileName(StartOf(run.Run.RunId))}: it is missing or damaged, and without it the states of its run are of no use");
                return passed;
            });
    }

    /// <inheritdoc />
    public IRunState Begin(RunIdentity run)
    {
        Check(run);
        lock (_lock)
            return Guard(() =>
            {
                int number = 0;
                foreach (KeptRun old in Runs(run.Party, run.TermsDigest))
                {
                    number = Math.Max(number, old.Number + 1);
                    // One that another process works on is not cut off.
                    using FileLock? held = FileLock.TryTake(LockOf(old.Run.RunId));
                    if (held is not null)
                        DeleteStates(old.Run.RunId);
                }

                // The rest of what they left as well.
                Tidy();
                return new State(this, run, Take(run.RunId), null, number);
            });
    }

    /// <inheritdoc />
    public IRunState Continue(CutOffRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        Check(run.Run);
        lock (_lock)
            return Guard(() =>
            {
                FileLock held = Take(run.Run.RunId, out bool waited);
                try
                {
                    if (Runs(run.Run.Party, run.Run.TermsDigest).FirstOrDefault(r => r.IsWhole && r.Run.RunId == run.Run.RunId) is { } kept)
                        return new State(this, run.Run, held, kept.Start, kept.Number);
                    held.Delete();
                    // Not lost: whoever is told to begin anew here would be charged again.
                    if (waited)
                        throw new ConfigurationException(RunStateErrors.InUse, $"{_name}, run {run.Run.RunId}", "this party was running in another process, which has ended the run.",
                            "Its result is where that process was to write it; started again, the party begins a new run, which is charged by itself.");
                    throw Unusable($"run of party '{run.Run.Party}'", "its state is kept no longer.");
                }
                catch
                {
                    held.Dispose();
                    throw;
                }
            });
    }

    private static void Check(RunIdentity run)
    {
        ArgumentNullException.ThrowIfNull(run);
        // The id becomes a file name.
        if (run.RunId is not { Length: 32 } || !run.RunId.All(char.IsAsciiHexDigitLower))
            throw new ArgumentException("A run id is 32 lower-case hex digits.", nameof(run));
    }

    /// <summary>Runs of a party and terms that have a state whose checksum holds.</summary>
    /// <param name="party">The party.</param>
    /// <param name="termsDigest">Digest of the terms.</param>
    /// <param name="passed">Gets the files that may be states of such a run and are damaged; null: nobody asks.</param>
    private Dictionary<string, KeptRun>.ValueCollection Runs(string party, ReadOnlyMemory<byte> termsDigest, List<string>? passed = null)
    {
        var runs = new Dictionary<string, KeptRun>();
        foreach (string path in StatesOf("*"))
        {
            // Who asks for what is damaged is told of any file, since whose it was cannot be told. Else the states of other jobs, which may be large, are left alone.
            if (Read(path, withContent: false, run => passed is not null || IsOf(run)) is not { } state)
            {
                // Unless another process has just removed it. Whose it was cannot be told.
                if (File.Exists(path))
                    passed?.Add($"{Path.GetFileName(path)}: its checksum does not hold");
                continue;
            }

            if (!IsOf(state.Run) || path != PathOf(state.Run.RunId, state.Round))
                continue;
            if (!runs.TryGetValue(state.Run.RunId, out KeptRun? run))
                runs.Add(state.Run.RunId, run = new KeptRun(state.Run, state.Start, state.Number, state.Start is null || Read(StartOf(state.Run.RunId), withContent: false)?.Hash == state.Start));
            run.Rounds.Add(state.Round);
            DateTime written = File.GetLastWriteTimeUtc(path);
            run.Written = written > run.Written ? written : run.Written;
        }

        return runs.Values;

        bool IsOf(RunIdentity run) => run.Party == party && run.TermsDigest.Span.SequenceEqual(termsDigest.Span);
    }

    private string[] StatesOf(string runId) => Directory.Exists(_folder) ? [.. Directory.GetFiles(_folder).Where(f => Path.GetFileName(f) is var name
        && name.StartsWith(runId == "*" ? _name + "." : $"{_name}.{runId}.", StringComparison.Ordinal) && name.Contains(".round-", StringComparison.Ordinal)
        && name.EndsWith(".state", StringComparison.Ordinal))] : [];

    /// <summary>Deletes the states of a run, the newest first: a crash in between must not leave one that others have left behind.</summary>
    private void DeleteStates(string runId)
    {
        foreach (string file in StatesOf(runId).OrderByDescending(RoundOf))
            File.Delete(file);
        File.Delete(StartOf(runId));
    }

    /// <summary>Deletes what a run without a state would have sent: nobody goes on with it, and its charge counts in full. Not what a process has open.</summary>
    private void DeleteMessages(string runId)
    {
        File.Delete(MessagesOf(runId));
        Outbox.DeleteUnused(OutboxOf(runId));
        Outbox.DeleteUnused(Path.Combine(_folder, $"{_name}.{runId}.local.outbox"));
    }

    private string PathOf(string runId, int round) => Path.Combine(_folder, string.Create(CultureInfo.InvariantCulture, $"{_name}.{runId}.round-{round}.state"));

    private string StartOf(string runId) => Path.Combine(_folder, $"{_name}.{runId}.start.state");

    private string MessagesOf(string runId) => Path.Combine(_folder, $"{_name}.{runId}.masked.outbox");

    private string OutboxOf(string runId) => Path.Combine(_folder, $"{_name}.{runId}.outbox");

    private string LockOf(string runId) => Path.Combine(_folder, $"{_name}.{runId}.state.lock");

    private FileLock Take(string runId) => Take(runId, out _);

    private FileLock Take(string runId, out bool waited)
    {
        waited = false;
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        for (; ; Thread.Sleep(20), waited = true)
        {
            if (FileLock.TryTake(LockOf(runId)) is { } held)
                return held;
            if (!waited)
                _waiting?.Invoke(_patience);
            // Whether the other process lives or is about to be gone cannot be told: who refused at once would refuse whoever is started again right after a kill.
            if (System.Diagnostics.Stopwatch.GetElapsedTime(start) >= _patience)
                throw new ConfigurationException(RunStateErrors.InUse, $"{_name}, run {runId}", "this party is already running in another process, which has the run.", "Wait for that process, or stop it.");
        }
    }

    /// <summary>Removes what processes left that died before their first state or in the midst of one.</summary>
    private void Tidy()
    {
        foreach (string path in Directory.GetFiles(_folder, "*.state.lock").Concat(Directory.GetFiles(_folder, "*.state.new")).Concat(Directory.GetFiles(_folder, "*.start.state")))
        {
            string[] parts = Path.GetFileName(path) is var name && name.StartsWith(_name + ".", StringComparison.Ordinal) ? name[(_name.Length + 1)..].Split('.') : [];
            if (parts is not [{ Length: 32 } runId, ..] || !runId.All(char.IsAsciiHexDigitLower))
                continue;
            using FileLock? held = FileLock.TryTake(LockOf(runId));
            if (held is null)
                continue;
            if (path.EndsWith(".new", StringComparison.Ordinal))
                File.Delete(path);
            // Without a whole state a run cannot go on, whoever's it is.
            if (StatesOf(runId).All(state => Read(state, withContent: false) is null))
            {
                DeleteStates(runId);
                DeleteMessages(runId);
                held.Delete();
            }
        }
    }

    private void Write(RunIdentity run, int round, string? start, int number, ReadOnlySpan<byte> state)
    {
        WriteFile(PathOf(run.RunId, round), run, round, start, number, state);
        // The two newest are kept. Which ones are sound was known when the run was found; what this process wrote is.
        foreach (string old in StatesOf(run.RunId).OrderByDescending(RoundOf).Skip(2))
            File.Delete(old);
    }

    /// <summary>Writes a file durably and whole.</summary>
    /// <returns>Its checksum.</returns>
    private static string WriteFile(string path, RunIdentity run, int round, string? start, int number, ReadOnlySpan<byte> content)
    {
        byte[] header = JsonSerializer.SerializeToUtf8Bytes(new Header(run.Party, Convert.ToHexStringLower(run.TermsDigest.Span), run.SessionId, run.RunId, round, start, number));
        byte[] head = new byte[HeadBytes + header.Length];
        Magic.CopyTo(head, 0);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(HeadBytes - sizeof(int)), header.Length);
        header.CopyTo(head, HeadBytes);
        Span<byte> hash = head.AsSpan(HashAt, SHA256.HashSizeInBytes);
        using IncrementalHash sha = HashOf(head);
        sha.AppendData(content);
        sha.GetHashAndReset(hash);
        DurableFile.Replace(path, head, ownerOnly: true, content);
        return Convert.ToHexStringLower(hash);
    }

    private static int RoundOf(string path) =>
        int.TryParse(Path.GetFileNameWithoutExtension(path).Split(".round-")[^1], NumberStyles.None, CultureInfo.InvariantCulture, out int round) ? round : -1;

    /// <summary>A file, if it is whole.</summary>
    /// <param name="path">The file.</param>
    /// <param name="withContent">Whether what was kept is wanted; else it is only checked, and never in memory as a whole.</param>
    /// <param name="isWanted">Whose files are checked; of others nothing but their description is read, and believed. Null: all.</param>
    private static KeptFile? Read(string path, bool withContent = true, Func<RunIdentity, bool>? isWanted = null)
    {
        FileStream file;
        try
        {
            file = new FileStream(path, DurableFile.OwnerOnly(FileMode.Open, FileAccess.Read, FileShare.Read));
        }
        catch (FileNotFoundException)
        {
            // Another process has just removed it.
            return null;
        }

        using (file)
        {
            byte[] head = new byte[HeadBytes];
            if (file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) < head.Length || !head.AsSpan().StartsWith(Magic))
                return null;
            int length = BinaryPrimitives.ReadInt32LittleEndian(head.AsSpan(HeadBytes - sizeof(int)));
            if (length < 0 || length > Math.Min(MostHeaderBytes, file.Length - HeadBytes))
                return null;
            Array.Resize(ref head, HeadBytes + length);
            file.ReadExactly(head.AsSpan(HeadBytes));
            if (Described(head.AsSpan(HeadBytes)) is not { } kept)
                return null;
            if (isWanted?.Invoke(kept.Run) == false)
                return kept;
            // Longer than any array that was written: not whole.
            if (file.Length - head.Length > Array.MaxLength)
                return null;
            using IncrementalHash sha = HashOf(head);
            byte[] content = new byte[withContent ? (int)(file.Length - head.Length) : PieceBytes];
            if (withContent)
            {
                file.ReadExactly(content);
                sha.AppendData(content);
            }
            else
            {
                for (int read; (read = file.Read(content)) > 0;)
                    sha.AppendData(content, 0, read);
            }

            byte[] hash = sha.GetHashAndReset();
            return hash.AsSpan().SequenceEqual(head.AsSpan(HashAt, hash.Length)) ? kept with { Hash = Convert.ToHexStringLower(hash), Content = withContent ? content : default } : null;
        }
    }

    /// <summary>A file's description of itself, without hash and content; null for none.</summary>
    private static KeptFile? Described(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize<Header>(json) is { Party: not null, Terms: not null, Session: not null, Run: not null } header
                ? new KeptFile(new RunIdentity(header.Party, Convert.FromHexString(header.Terms), header.Session, header.Run), header.Round, header.Start, header.Number, "", default) : null;
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            return null;
        }
    }

    /// <summary>SHA-256 of the head of a file but for the place of the hash itself, for what follows to be added.</summary>
    private static IncrementalHash HashOf(ReadOnlySpan<byte> head)
    {
        var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        sha.AppendData(head[..HashAt]);
        sha.AppendData(head[(HashAt + SHA256.HashSizeInBytes)..]);
        return sha;
    }

    private static ConfigurationException Unusable(string place, string cause) =>
        new(RunStateErrors.Unusable, place, cause, "Begin a new run (fedlearn: --fresh); in a private mode it is charged by itself.");

    private T Guard<T>(Func<T> action) => LedgerFile.Guard(Path.Combine(_folder, _name), action);

    private FedLearnException? ErrorOf(Exception e) => SqliteLedgerErrors.Of(Path.Combine(_folder, _name), e);

    // Files of earlier versions have no number.
    private sealed record Header(string Party, string Terms, string Session, string Run, int Round, string? Start, int Number = 0);

    /// <summary>A file whose checksum holds.</summary>
    /// <param name="Run">The run.</param>
    /// <param name="Round">The round before which it is the state.</param>
    /// <param name="Start">Checksum of the file that holds what the run began with; null for none.</param>
    /// <param name="Number">As that of <see cref="KeptRun"/>.</param>
    /// <param name="Hash">Its own checksum.</param>
    /// <param name="Content">What was kept.</param>
    private sealed record KeptFile(RunIdentity Run, int Round, string? Start, int Number, string Hash, ReadOnlyMemory<byte> Content);

    /// <summary>A run that has states.</summary>
    /// <param name="Run">The run.</param>
    /// <param name="Start">Checksum of the file that holds what it began with; null for none.</param>
    /// <param name="Number">Higher than that of every run of the party and these terms which had states as it began: another process worked on them, or they would have gone. Times of files say less, after a copy was put back or a clock was set.</param>
    /// <param name="IsWhole">Whether the file of what it began with is there.</param>
    private sealed record KeptRun(RunIdentity Run, string? Start, int Number, bool IsWhole)
    {
        public SortedSet<int> Rounds { get; } = [];

        /// <summary>Of runs with one number, none of which had a state as the other began.</summary>
        public DateTime Written { get; set; }

        public CutOffRun CutOff => new(Run, [.. Rounds]);
    }

    private sealed class State(FileRunStore store, RunIdentity run, FileLock held, string? start, int number) : IRunState
    {
        private Messages? _messages;
        private string? _start = start;
        private bool _unsettled;

        public RunIdentity Run => run;

        public IMaskedOutbox Outbox => _messages ??= new Messages(store.MessagesOf(run.RunId), Convert.FromHexString(run.RunId));

        public ReadOnlyMemory<byte> ReadStart()
        {
            lock (store._lock)
                return _start is null ? default : store.Guard(() => FileRunStore.Read(store.StartOf(run.RunId)) is { } kept && kept.Hash == _start
                    ? kept.Content : throw Unusable($"run of party '{run.Party}'", "what it began with is damaged, or kept no longer."));
        }

        public void WriteStart(ReadOnlySpan<byte> start)
        {
            lock (store._lock)
                try
                {
                    _start = store.StatesOf(run.RunId).Length == 0 ? WriteFile(store.StartOf(run.RunId), run, BeforeAll, null, number, start)
                        : throw new InvalidOperationException("What a run began with is kept before its first state.");
                }
                catch (Exception e) when (store.ErrorOf(e) is { } error)
                {
                    throw error;
                }
        }

        public ReadOnlyMemory<byte> Read(int round)
        {
            lock (store._lock)
                return store.Guard(() => FileRunStore.Read(store.PathOf(run.RunId, round)) is { } state && state.Round == round && state.Run.RunId == run.RunId && state.Start == _start
                    ? state.Content : throw Unusable($"run of party '{run.Party}', round {round}", "its state is damaged, or kept no longer."));
        }

        public void Write(int round, ReadOnlySpan<byte> state)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(round);
            lock (store._lock)
                try
                {
                    store.Write(run, round, _start, number, state);
                }
                catch (Exception e) when (store.ErrorOf(e) is { } error)
                {
                    throw error;
                }
        }

        public void Remove()
        {
            try
            {
                lock (store._lock)
                    store.Guard(() =>
                    {
                        store.DeleteStates(run.RunId);
                        _messages?.Dispose();
                        // The ledger's, which is open while its charge is still to be settled, stays, and the lock with it, by which the next run finds both where this process is killed before it has settled the charge.
                        store.DeleteMessages(run.RunId);
                        if (!(_unsettled = File.Exists(store.OutboxOf(run.RunId))))
                            held.Delete();
                        return true;
                    });
            }
            finally
            {
                if (!_unsettled)
                    Dispose();
            }
        }

        public void Dispose()
        {
            _messages?.Dispose();
            if (_unsettled)
                try
                {
                    held.Delete();
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // The next run removes it.
                }

            held.Dispose();
        }
    }

    /// <summary>Masked messages of a run, in a file that is made with the first.</summary>
    private sealed class Messages(string path, byte[] runId) : IMaskedOutbox, IDisposable
    {
        private Outbox? _outbox;

        public byte[]? Find(int index) => Open().Find(index);

        public void Keep(int index, ReadOnlySpan<byte> message) => Open().Keep(index, message);

        public void Dispose() => _outbox?.Dispose();

        private Outbox Open()
        {
            if (_outbox is not null)
                return _outbox;
            Outbox outbox = Outbox.Open(path, runId, MaskedMessages);
            try
            {
                if (outbox.IsDamaged)
                    throw SqliteLedgerErrors.Refused(SqliteLedgerErrors.MessageLost, path, "the run's file of masked messages is damaged, so that what it sent cannot be sent again.",
                        "Start a new run: another message under the mask of one that was sent would tell their difference.");
                if (!outbox.Exists)
                    outbox.Create();
                return _outbox = outbox;
            }
            catch
            {
                outbox.Dispose();
                throw;
            }
        }
    }
}
