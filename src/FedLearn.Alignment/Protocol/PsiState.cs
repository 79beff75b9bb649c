using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Diagnostics;

namespace FedLearn.Alignment;

/// <summary>What a session is about, as it is kept: another job, other ids or other settings begin another session.</summary>
/// <param name="JobDigest">Digest of the job.</param>
/// <param name="IdsDigest">Digest of the own ids, in row order.</param>
/// <param name="Role">Own role.</param>
/// <param name="Output">Who learns what.</param>
/// <param name="Proof">Whether proofs are sent.</param>
/// <param name="OwnCount">Own ids announced.</param>
internal sealed record PsiSubject(byte[] JobDigest, byte[] IdsDigest, PartyRole Role, PsiOutput Output, bool Proof, int OwnCount);

/// <summary>A session that was interrupted.</summary>
/// <param name="Session">Its id.</param>
/// <param name="PeerCount">Ids that the peer announced.</param>
/// <param name="PeerCommitment">The peer's commitment.</param>
/// <param name="Secrets">Own secrets.</param>
internal sealed record PsiKept(byte[] Session, int PeerCount, byte[] PeerCommitment, PsiSecrets Secrets);

/// <summary>The folder in which a session with one peer leaves what it needs to go on after an interruption: a header with the secrets, and the chunks treated so far. Emptied when the session ends.</summary>
/// <remarks>
/// A process that is killed loses nothing that was written. After a power cut a chunk may be missing or damaged, which its checksum shows: it and those after it are computed or asked for again. Two
/// things must not be lost, and are waited for: the header, before a point leaves; and all of the peer's chunks, before the first tag leaves, since a peer that got tags of one list of points must
/// not be able to hand in another list under the same scalar. The header is written beside its place and then moved there: whoever finds it finds it whole, or finds none and begins anew.
/// </remarks>
internal sealed class PsiState : IDisposable
{
    private const string HeaderFile = "session", PointsFile = "points", PeerFile = "peer", TagsFile = "tags", LockFile = "lock";
    private const int HeaderBytes = 8 + 32 + 32 + 32 + 4 + 8 + 8 + 32 + PsiSecrets.Bytes, ChecksumBytes = 32;

    private readonly string _folder;
    private readonly FileLock _held;
    private readonly PsiSubject _subject;
    private ChunkFile? _points, _peer, _tags;

    private PsiState(string folder, FileLock held, PsiSubject subject) => (_folder, _held, _subject) = (folder, held, subject);

    private static ReadOnlySpan<byte> Magic => "FLPSI\0\0\u0001"u8;

    /// <summary>Own points, as they were sent.</summary>
    public ChunkFile Points => _points!;

    /// <summary>What was made of the peer's points.</summary>
    public ChunkFile Peer => _peer!;

    /// <summary>Tags of own points, as they were received.</summary>
    public ChunkFile Tags => _tags!;

    /// <summary>Whether the folder held something that could not be used.</summary>
    public bool Ignored { get; private set; }

    /// <summary>Opens the folder for one session with a peer.</summary>
    /// <param name="directory">The party's folder of states.</param>
    /// <param name="party">Own name.</param>
    /// <param name="peer">The peer's.</param>
    /// <param name="subject">What the session is about.</param>
    /// <exception cref="ConfigurationException">FL2522: another session has it, or it cannot be written.</exception>
    public static PsiState Open(string directory, string party, string peer, PsiSubject subject)
    {
        string name = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{subject.Role}\n{party}\n{peer}")))[..24];
        string folder = Path.Combine(directory, name);
        FileLock? held = null;
        Guarded(folder, () =>
        {
            DurableFile.CreateFolder(directory);
            DurableFile.CreateFolder(folder);
            held = FileLock.TryTake(Path.Combine(folder, LockFile));
        });
        return new PsiState(folder, held ?? throw new ConfigurationException(PsiErrors.StateUnusable, PlaceOf(folder), $"another alignment with '{peer}' uses the same folder.",
            "Wait until it has ended, or give each job a folder of its own (alignment.state of the job or party file)."), subject);
    }

    /// <summary>The interrupted session that the folder holds, if it is about the same; what cannot be used is removed.</summary>
    public PsiKept? Load()
    {
        PsiKept? kept = null;
        Guarded(() =>
        {
            string path = Path.Combine(_folder, HeaderFile);
            if (!File.Exists(path))
                return;
            byte[] bytes = GC.AllocateArray<byte>(HeaderBytes + ChecksumBytes, pinned: true);
            using (var file = new FileStream(path, DurableFile.OwnerOnly(FileMode.Open)))
                if (file.Length == bytes.Length)
                    file.ReadExactly(bytes);
            kept = Read(bytes);
            CryptographicOperations.ZeroMemory(bytes);
            Ignored = kept is null;
        });
        try
        {
            if (kept is null)
                Clear();
            else
                OpenFiles(kept);
            return kept;
        }
        catch
        {
            kept?.Secrets.Dispose();
            throw;
        }
    }

    /// <summary>Begins a session: the header is on the disk when this returns.</summary>
    public void Begin(PsiKept kept)
    {
        ArgumentNullException.ThrowIfNull(kept);
        Clear();
        OpenFiles(kept);
        Guarded(() =>
        {
            byte[] bytes = Write(kept);
            string path = Path.Combine(_folder, HeaderFile), draft = path + ".new";
            try
            {
                // Should this fail, Clear overwrites the draft and removes it.
                using var file = new FileStream(draft, DurableFile.OwnerOnly(FileMode.Create));
                file.Write(bytes);
            }
            finally
            {
                CryptographicOperations.ZeroMemory(bytes);
            }

            DurableFile.Publish(draft, path);
            // The folder itself may be new too.
            DurableFile.SyncFolder(Path.GetDirectoryName(Path.GetFullPath(_folder))!);
        });
    }

    /// <summary>Runs something that reads or writes the folder, and explains what goes wrong.</summary>
    public void Guarded(Action action) => Guarded(_folder, action);

    /// <summary>Empties the folder; the secrets are overwritten first.</summary>
    public void Clear()
    {
        CloseFiles();
        Guarded(() =>
        {
            foreach (string name in new[] { HeaderFile, HeaderFile + ".new" })
            {
                string path = Path.Combine(_folder, name);
                if (!File.Exists(path))
                    continue;
                using (var file = new FileStream(path, DurableFile.OwnerOnly(FileMode.Open)))
                {
                    file.Write(new byte[file.Length]);
                    DurableFile.Sync(file.SafeFileHandle, path);
                }

                File.Delete(path);
            }

            foreach (string name in new[] { PointsFile, PeerFile, TagsFile })
                File.Delete(Path.Combine(_folder, name));
        });
    }

    /// <summary>Removes the folder after it was emptied.</summary>
    public void Remove()
    {
        Clear();
        Dispose();
        try
        {
            Directory.Delete(_folder);
        }
        catch (IOException)
        {
            // Another file is in the folder, or the next session has begun in it.
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        CloseFiles();
        try
        {
            _held.Delete();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The lock ends below; a lock file that stays does not hold it.
        }

        _held.Dispose();
    }

    private static string PlaceOf(string folder) => $"alignment, folder of interrupted sessions {folder}";

    private static void Guarded(string folder, Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw Unusable(folder, e);
        }
    }

    // A full disk: ENOSPC on Unix, ERROR_DISK_FULL on Windows.
    private static ConfigurationException Unusable(string folder, Exception e) => new(PsiErrors.StateUnusable, PlaceOf(folder),
        e is IOException { HResult: 28 or unchecked((int)0x80070070) } ? "its disk is full." : $"it cannot be read or written ({e.GetType().Name}).",
        "Give the program a folder of its own that it may write to, with room for some hundred bytes an id (alignment.state of the job or party file).", e);

    private void OpenFiles(PsiKept kept) => Guarded(() =>
    {
        int width = PsiSession.TagBytes(_subject.OwnCount, kept.PeerCount);
        string At(string name) => Path.Combine(_folder, name);
        _points = new ChunkFile(At(PointsFile), kept.Session, _subject.OwnCount, 32, 0);
        _peer = new ChunkFile(At(PeerFile), kept.Session, kept.PeerCount, 16 + (_subject.Proof ? 32 : width), _subject.Proof ? ChunkProof.Bytes : 0);
        _tags = new ChunkFile(At(TagsFile), kept.Session, _subject.OwnCount, width, 0);
    });

    private void CloseFiles()
    {
        _points?.Dispose();
        _peer?.Dispose();
        _tags?.Dispose();
        (_points, _peer, _tags) = (null, null, null);
    }

    private byte[] Write(PsiKept kept)
    {
        byte[] bytes = GC.AllocateArray<byte>(HeaderBytes + ChecksumBytes, pinned: true);
        Subject(bytes);
        kept.Session.CopyTo(bytes.AsSpan(8));
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(116), kept.PeerCount);
        kept.PeerCommitment.CopyTo(bytes.AsSpan(124));
        kept.Secrets.All.CopyTo(bytes.AsSpan(156));
        SHA256.HashData(bytes.AsSpan(0, HeaderBytes), bytes.AsSpan(HeaderBytes));
        return bytes;
    }

    // Magic 8, session 32, job 32, ids 32, role, output, proof, 0, own count 8 (108 to 115), peer's count 8, peer's commitment 32, secrets 64, SHA-256 of all that.
    private void Subject(Span<byte> bytes)
    {
        Magic.CopyTo(bytes);
        _subject.JobDigest.CopyTo(bytes[40..]);
        _subject.IdsDigest.CopyTo(bytes[72..]);
        (bytes[104], bytes[105], bytes[106], bytes[107]) = ((byte)_subject.Role, (byte)_subject.Output, _subject.Proof ? (byte)1 : (byte)0, 0);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[108..], _subject.OwnCount);
    }

    private PsiKept? Read(ReadOnlySpan<byte> bytes)
    {
        Span<byte> expected = stackalloc byte[116];
        bytes[..116].CopyTo(expected);
        Subject(expected);
        long peerCount = BinaryPrimitives.ReadInt64LittleEndian(bytes[116..]);
        if (!expected.SequenceEqual(bytes[..116]) || !SHA256.HashData(bytes[..HeaderBytes]).AsSpan().SequenceEqual(bytes[HeaderBytes..]) || peerCount is < 0 or > PsiSession.MostIds)
            return null;
        return new PsiKept(bytes.Slice(8, 32).ToArray(), (int)peerCount, bytes.Slice(124, 32).ToArray(), PsiSecrets.Of(bytes.Slice(156, PsiSecrets.Bytes)));
    }
}
