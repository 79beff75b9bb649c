using System.Buffers.Binary;
using System.Diagnostics;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using FedLearn.Diagnostics;
using Microsoft.Win32.SafeHandles;

namespace FedLearn.Storage.Sqlite;

/// <summary>The messages of one run on their way out: a ring of records in a file of its own, each durable before it may leave.</summary>
/// <remarks>
/// <para>Page 0 holds the run's id, how long the file is, and whether there is a second file with values that stay at the party. Records begin at multiples of a page, so that a torn write spoils no other:
/// magic, run, index, length, XxHash128 of all that and of the bytes, bytes, and in the last sector of their last page the note that they left. They are written one after the other and, once there is
/// room for the wanted number of the largest, from the start again, but never over one of the last that are wanted. The file grows by zeros that are written out: a later write in place is
/// then one without metadata, which was measured a third faster to sync than a write into space that is only allocated.</para>
/// <para>A record whose checksum fails was torn by a crash before <see cref="Keep"/> returned, so it never left. The note is written after
/// the sync and not synced itself: one without its record is of a message that left and has been destroyed. It stands where the next record begins, so that the next sync is one write and not two.</para>
/// <para>While it is open the file is locked, since two processes that continue the same run would noise the same message twice.</para>
/// </remarks>
internal sealed partial class Outbox : IDisposable
{
    private const int Page = 4096, HeaderBytes = 64, HashAt = 32, HashBytes = 16, LengthAt = 24, LocalAt = 32;

    /// <summary>A sector of its own, so that a note which is torn spoils no message: magic, run, index.</summary>
    private const int Sector = 512, NoteBytes = 28;

    /// <summary>The file begins with space for so many records, where it is not said how many will come, or with so many bytes if that is less, and doubles up to the limit.</summary>
    private const int FirstRecords = 64, FirstBytes = 16 << 20;

    private static readonly byte[] Magic = "FLOutbx3"u8.ToArray(), NoteMagic = "FLIsSent"u8.ToArray();

    private readonly string _path;
    private readonly FileStream _file;
    private readonly byte[] _runId;
    private int _limit;
    private readonly Dictionary<int, (long Offset, int Length)> _records = [];
    private readonly Lock _lock = new();
    // Under the lock, or before anybody else has the outbox.
    private readonly XxHash128 _hash = new();
    private long _end, _largest, _syncTicks;
    // Of each page of the file the number of the record there, from 1; 0 for none that must stay.
    private int[] _owners = [];
    // Of the file, which nobody else writes. Asking the system for it each time would mark the file's times as seen: Linux (6.13) then notes a finer time at the next write, which some file systems have to sync too.
    private long _length;
    private int _expected = FirstRecords;
    // One record at a time; kept, since one of a large message is costly to allocate.
    private byte[] _record = [];
    private bool _failed;

    private Outbox(string path, FileStream file, byte[] runId, int limit) => (_path, _file, _runId, _limit, _end) = (path, file, runId, limit, Page);

    /// <summary>Whether the file is one of this run, with its first page.</summary>
    public bool Exists { get; private set; }

    /// <summary>Whether there was no file, or an empty one.</summary>
    public bool IsNew { get; private set; }

    /// <summary>Whether there was a file with room for messages, although its first page is not one of this run: <see cref="Create"/> never leaves that, however it is cut off.</summary>
    public bool IsDamaged => !Exists && _length > Page;

    /// <summary>Messages kept in this and earlier processes.</summary>
    public int Kept { get; private set; }

    /// <summary>Whether the run has a second file, of values that stay at the party.</summary>
    public bool HasLocal { get; private set; }

    /// <summary>Time spent in sync calls.</summary>
    public TimeSpan SyncTime => Stopwatch.GetElapsedTime(0, Interlocked.Read(ref _syncTicks));

    private SafeFileHandle Handle => _file.SafeFileHandle;

    /// <summary>Opens the file of a run, or creates an empty one, and locks it.</summary>
    /// <param name="path">File.</param>
    /// <param name="runId">Id of the run, 16 bytes.</param>
    /// <param name="limit">Messages that it keeps at least; older ones are overwritten.</param>
    /// <exception cref="ConfigurationException">FL2311: it cannot be opened; FL2312: it is open in another place.</exception>
    /// <exception cref="PrivacyRefusedException">FL5024: a message that left has been destroyed.</exception>
    /// <exception cref="InternalFailureException">FL6311, FL6312: the storage fails.</exception>
    public static Outbox Open(string path, byte[] runId, int limit) => LedgerFile.Guard(path, () =>
    {
        FileStream file;
        try
        {
            file = new FileStream(path, DurableFile.OwnerOnly(FileMode.OpenOrCreate));
        }
        catch (IOException e) when (FileLock.IsTaken(e))
        {
            throw new ConfigurationException(SqliteLedgerErrors.RunInUse, path, "the run is open in another place.", "Wait for the other process, or start a new run.", e);
        }

        var outbox = new Outbox(path, file, runId, limit);
        try
        {
            outbox.Recover();
            return outbox;
        }
        catch
        {
            outbox.Dispose();
            throw;
        }
    });

    /// <summary>Begins an empty file, durably.</summary>
    public void Create() => Guard(() =>
    {
        byte[] page = new byte[Page];
        Magic.CopyTo(page, 0);
        _runId.CopyTo(page, Magic.Length);
        RandomAccess.SetLength(Handle, 0);
        RandomAccess.Write(Handle, page, 0);
        _length = Page;
        Sync();
        // The name too: after a loss of power, a file that is missing would mean that nothing was sent.
        DurableFile.SyncFolder(Path.GetDirectoryName(Path.GetFullPath(_path))!);
        Exists = true;
    });

    /// <summary>Notes durably that the run has a second file, so that its absence is noticed.</summary>
    public void MarkLocal() => Guard(() =>
    {
        RandomAccess.Write(Handle, [1], LocalAt);
        Sync();
        HasLocal = true;
    });

    /// <summary>A message as it was kept; null when it was not noised yet.</summary>
    /// <exception cref="PrivacyRefusedException">FL5024: it was, and is kept no longer.</exception>
    public byte[]? Find(int index)
    {
        lock (_lock)
            return index >= Kept ? null : Stored(index);
    }

    private byte[] Stored(int index) =>
        LedgerFile.Guard(_path, () => _records.TryGetValue(index, out (long Offset, int Length) record) ? Read(record.Offset) : null)?.Message ?? throw Lost(index);

    /// <summary>Messages that it keeps at least; older ones are overwritten.</summary>
    public int Limit
    {
        get
        {
            lock (_lock)
                return _limit;
        }
    }

    /// <summary>Lowers the limit. Records that are there stay until their place is needed: the next process finds those of this limit, whatever its own is.</summary>
    /// <param name="limit">The limit, at least 2: of one message alone a torn write would leave none.</param>
    public void KeepNoMore(int limit)
    {
        lock (_lock)
            _limit = Math.Min(_limit, Math.Max(2, limit));
    }

    /// <summary>Makes room for messages of a size, since a round in which the file grows waits for its zeros as well, and goes once through all that keeping one takes, with zeros instead of a record:
    /// nothing is kept. Without effect once a message was kept.</summary>
    /// <param name="bytes">Size of a message.</param>
    /// <param name="messages">How many will come.</param>
    public void Prepare(int bytes, int messages)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        ArgumentOutOfRangeException.ThrowIfLessThan(messages, 1);
        lock (_lock)
            if (Exists && Kept == 0)
            {
                _expected = messages;
                Put(0, new byte[bytes], keeps: false, static () => { });
            }
    }

    /// <summary>Writes a message durably.</summary>
    /// <param name="index">Its number.</param>
    /// <param name="message">The message.</param>
    /// <param name="begin">Called once the disk has begun to write it: waking a thread takes as long as a fifth of a sync.</param>
    /// <exception cref="PrivacyRefusedException">FL5024: messages before it are not there.</exception>
    public void Keep(int index, ReadOnlySpan<byte> message, Action? begin = null)
    {
        lock (_lock)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(index, Kept);
            // The run's state is further than this file: an older copy of it was put back, and what comes next may have been noised.
            if (index > Kept)
                throw Lost(Kept);
            Put(index, message, keeps: true, begin);
        }
    }

    private void Put(int index, ReadOnlySpan<byte> message, bool keeps, Action? begin = null)
    {
        if (_failed)
            throw new InternalFailureException(SqliteLedgerErrors.StorageFailed, _path, "an earlier message could not be kept.", "Check the disk; continue the run under its id.");
        _failed = true;
        try
        {
            Write(index, message, keeps, begin);
        }
        catch (Exception e) when (SqliteLedgerErrors.Of(_path, e) is { } error)
        {
            // A span cannot be handed to the guard.
            throw error;
        }

        _failed = false;
    }

    /// <summary>Whether a file has no room for a message beside its first page.</summary>
    public static bool IsEmpty(string path) => new FileInfo(path) is { Exists: true, Length: <= Page };

    /// <summary>Removes the file of a run that nobody goes on with, unless a process has it open.</summary>
    /// <param name="path">File; it need not exist.</param>
    public static void DeleteUnused(string path)
    {
        if (File.Exists(path) && FileLock.TryTake(path) is { } unused)
            using (unused)
                unused.Delete();
    }

    /// <summary>Removes the file; the run has ended.</summary>
    public void Delete()
    {
        if (OperatingSystem.IsWindows())
            Dispose();
        try
        {
            Guard(() => File.Delete(_path));
        }
        finally
        {
            // The lock ends even where the file stays.
            Dispose();
        }
    }

    private void Guard(Action action) => LedgerFile.Guard(_path, () =>
    {
        action();
        return true;
    });

    public void Dispose() => _file.Dispose();

    private void Write(int index, ReadOnlySpan<byte> message, bool keeps, Action? begin)
    {
        int length = checked(HeaderBytes + message.Length);
        if (_record.Length < length)
            _record = GC.AllocateUninitializedArray<byte>(length);
        Span<byte> record = _record.AsSpan(0, length);
        Magic.CopyTo(record);
        _runId.CopyTo(record[Magic.Length..]);
        BinaryPrimitives.WriteInt32LittleEndian(record[24..], index);
        BinaryPrimitives.WriteInt32LittleEndian(record[28..], message.Length);
        message.CopyTo(record[HeaderBytes..]);
        Hash(record, record.Slice(HashAt, HashBytes));

        if (!keeps)
            record.Clear();
        long size = Slot(message.Length), at = MakeRoom(size);
        Forget(at, size);
        RandomAccess.Write(Handle, record, at);
        if (begin is not null)
        {
            StartWriting(at, length);
            begin();
        }

        Sync();
        Note(index, at, message.Length);
        if (keeps)
        {
            (_end, Kept) = (at + size, index + 1);
            NoteSent(index, at + size);
        }
        else
            Forget(at, size);
    }

    /// <summary>Notes that a message is durable, and so may leave.</summary>
    private void NoteSent(int index, long end)
    {
        Span<byte> note = stackalloc byte[NoteBytes];
        NoteMagic.CopyTo(note);
        _runId.CopyTo(note[Magic.Length..]);
        BinaryPrimitives.WriteInt32LittleEndian(note[24..], index);
        RandomAccess.Write(Handle, note, end - Sector);
    }

    /// <summary>Notes where a record is.</summary>
    private void Note(int index, long at, int length)
    {
        _records[index] = (at, length);
        Owners(at, Slot(length)).Fill(index + 1);
    }

    /// <summary>Forgets the records that a place overlaps.</summary>
    private void Forget(long at, long size)
    {
        foreach (ref int owner in Owners(at, size))
        {
            if (owner > 0)
                _records.Remove(owner - 1);
            owner = 0;
        }
    }

    // As far as the file goes.
    private Span<int> Owners(long at, long size)
    {
        int first = (int)Math.Min(at / Page, _owners.Length);
        return _owners.AsSpan(first, (int)Math.Min(size / Page, _owners.Length - first));
    }

    /// <summary>Where a record goes: behind the last while there is room for the limit and one more, then in the first place that holds no record which must stay. All space that is used is
    /// within twice the limit of the largest record: up to the place found, gaps are smaller than it and records at most limit - 1.</summary>
    private long MakeRoom(long size)
    {
        _largest = Math.Max(_largest, size);
        // One more than the limit, since the space at the end that a record does not fit is lost.
        long most = Page + _largest * (_limit + 1L), at = _end;
        if (at + size > most || !IsFree(at, size))
        {
            at = IsFree(Page, size) ? Page : long.MaxValue;
            for (int index = FirstNeeded; at > Page && index < Kept; index++)
                if (_records.TryGetValue(index, out (long Offset, int Length) record) && record.Offset + Slot(record.Length) is var behind && behind < at && IsFree(behind, size))
                    at = behind;
        }

        if (at + size > _length)
        {
            long first = Math.Min(Page + _largest * _expected, FirstBytes), grown = Math.Max(at + size, Math.Min(most, Math.Max(2 * _length, first)));
            byte[] zeros = new byte[1 << 16];
            try
            {
                for (long from = _length; from < grown; from += zeros.Length)
                    RandomAccess.Write(Handle, zeros.AsSpan(0, (int)Math.Min(zeros.Length, grown - from)), from);
                // First the zeros: where a crash leaves the length without them, the file would look cut off.
                Sync();
            }
            catch
            {
                // The ledger needs the room that this took of a full disk: a run that has sent nothing is settled, and costs nothing.
                RandomAccess.SetLength(Handle, _length);
                throw;
            }

            _length = grown;
            Span<byte> noted = stackalloc byte[sizeof(long)];
            BinaryPrimitives.WriteInt64LittleEndian(noted, grown);
            RandomAccess.Write(Handle, noted, LengthAt);
            Array.Resize(ref _owners, checked((int)(grown / Page)));
        }

        return at;
    }

    // Beside the one that comes next.
    private int FirstNeeded => Math.Max(0, Kept + 1 - _limit);

    private bool IsFree(long at, long size) => !Owners(at, size).ContainsAnyInRange(FirstNeeded + 1, int.MaxValue);

    /// <summary>Finds what earlier processes kept.</summary>
    private void Recover()
    {
        byte[] page = new byte[LocalAt + 1];
        _length = RandomAccess.GetLength(Handle);
        IsNew = _length == 0;
        if (RandomAccess.Read(Handle, page, 0) < page.Length || !IsOurs(page, Magic))
            return;
        Exists = true;
        HasLocal = page[LocalAt] != 0;
        _owners = new int[(_length + Page - 1) / Page];
        if (BinaryPrimitives.ReadInt64LittleEndian(page.AsSpan(LengthAt)) is var noted && noted > _length)
            throw Refused($"the file was cut off: it has {_length} bytes, and had {noted}.");
        int sent = 0;
        for (long at = Page; at < _length; at += Page)
        {
            if (Read(at) is not { } read)
            {
                sent = Math.Max(sent, ReadNote(at + Page));
                continue;
            }

            long size = Slot(read.Message.Length);
            Note(read.Index, at, read.Message.Length);
            _largest = Math.Max(_largest, size);
            if (read.Index >= Kept)
                (Kept, _end) = (read.Index + 1, at + size);
            at += size - Page;
        }

        if (sent > Kept)
            throw Lost(sent - 1);
        if (Kept > 0)
            MakeLastDurable();
    }

    /// <summary>The last record may be of a process that died, or failed, before its sync returned: whole to whoever reads it, and not on the disk. It never left, and may leave now.</summary>
    private void MakeLastDurable()
    {
        (long at, int length) = _records[Kept - 1];
        byte[] record = new byte[HeaderBytes + length];
        RandomAccess.Read(Handle, record, at);
        // Written again, as it is: after a sync that failed the system takes what it holds for clean and does not write it any more.
        RandomAccess.Write(Handle, record, at);
        Sync();
        NoteSent(Kept - 1, at + Slot(length));
    }

    /// <summary>How many messages had left according to the note at the end of a page; 0 where none is.</summary>
    private int ReadNote(long end)
    {
        Span<byte> note = stackalloc byte[NoteBytes];
        return RandomAccess.Read(Handle, note, end - Sector) == NoteBytes && IsOurs(note, NoteMagic) ? BinaryPrimitives.ReadInt32LittleEndian(note[24..]) + 1 : 0;
    }

    private (int Index, byte[] Message)? Read(long at)
    {
        byte[] header = new byte[HeaderBytes];
        if (RandomAccess.Read(Handle, header, at) < HeaderBytes || !IsOurs(header, Magic))
            return null;
        int index = BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(24)), length = BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(28));
        if (index < 0 || length < 0 || length > _length - at - HeaderBytes)
            return null;
        byte[] record = [.. header, .. new byte[length]];
        if (RandomAccess.Read(Handle, record.AsSpan(HeaderBytes), at + HeaderBytes) < length)
            return null;
        Span<byte> hash = stackalloc byte[HashBytes];
        Hash(record, hash);
        return hash.SequenceEqual(record.AsSpan(HashAt, hash.Length)) ? (index, record[HeaderBytes..]) : null;
    }

    private bool IsOurs(ReadOnlySpan<byte> header, byte[] magic) => header.StartsWith(magic) && header.Slice(Magic.Length, _runId.Length).SequenceEqual(_runId);

    private PrivacyRefusedException Lost(int index) => Refused($"message {index} of the run was noised before, and its bytes are kept no longer.");

    private PrivacyRefusedException Refused(string cause) => SqliteLedgerErrors.Refused(SqliteLedgerErrors.MessageLost, _path, cause,
        "Start a new run, which is charged by itself: a second noise for one message would give away more than was charged.");

    /// <summary>Checksum of a record but for its own place. It finds torn writes, not forgers: who may write this file may write the ledger.</summary>
    private void Hash(ReadOnlySpan<byte> record, Span<byte> hash)
    {
        _hash.Append(record[..HashAt]);
        _hash.Append(record[HeaderBytes..]);
        _hash.GetHashAndReset(hash);
    }

    /// <summary>Space of a message's record, in whole pages.</summary>
    private static long Slot(int message) => (HeaderBytes + (long)message + Sector + Page - 1) / Page * Page;

    /// <summary>Makes what was written durable. On Linux without the file's times, which would cost a journal commit.</summary>
    private void Sync()
    {
        long start = Stopwatch.GetTimestamp();
        if (!OperatingSystem.IsLinux())
            RandomAccess.FlushToDisk(Handle);
        else
            while (DataSync(Handle) != 0)
                if (Marshal.GetLastPInvokeError() is var error and not 4 /* EINTR */)
                    throw new IOException("fdatasync failed.", error);
        DurableFile.Watcher.Value?.Invoke(DurableStep.Synced, _path);
        Interlocked.Add(ref _syncTicks, Stopwatch.GetTimestamp() - start);
    }

    /// <summary>Has the disk begin with what was written, where the system can be asked to (Linux). Nothing depends on it, so a failure is left to <see cref="Sync"/>, which meets it too: asking without waiting takes no note of errors.</summary>
    private void StartWriting(long at, int length)
    {
        const uint write = 2; // SYNC_FILE_RANGE_WRITE
        if (!OperatingSystem.IsLinux())
            return;
        // Handing the disk its work is part of a sync, whichever call does it.
        long start = Stopwatch.GetTimestamp();
        _ = SyncFileRange(Handle, at, length, write);
        Interlocked.Add(ref _syncTicks, Stopwatch.GetTimestamp() - start);
    }

    [LibraryImport("libc", EntryPoint = "sync_file_range")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SyncFileRange(SafeFileHandle file, long offset, long bytes, uint flags);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int DataSync(SafeFileHandle file);
}
