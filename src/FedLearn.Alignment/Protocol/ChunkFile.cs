using System.Buffers.Binary;
using System.Security.Cryptography;
using FedLearn.Diagnostics;

namespace FedLearn.Alignment;

/// <summary>Chunks of one kind that a session has treated, one after the other in a file that only grows. Each carries a checksum, so that a tail that was not written whole is found and cut off.</summary>
internal sealed class ChunkFile : IDisposable
{
    private const int ChecksumBytes = 16;

    private readonly FileStream _file;
    private readonly int _ids, _width, _extra;
    private readonly byte[] _session;

    /// <summary>Opens or creates the file, reads what is whole and cuts off the rest.</summary>
    /// <param name="path">The file.</param>
    /// <param name="session">Id of the session, bound into the checksums: chunks of another one do not count.</param>
    /// <param name="ids">Ids in all.</param>
    /// <param name="width">Bytes an id.</param>
    /// <param name="extra">Bytes a chunk besides.</param>
    public ChunkFile(string path, byte[] session, int ids, int width, int extra)
    {
        (_session, _ids, _width, _extra) = (session, ids, width, extra);
        _file = new FileStream(path, DurableFile.OwnerOnly(FileMode.OpenOrCreate));
        try
        {
            for (; Count < Chunks && ReadRecord(Count) is not null; Count++) { }
            _file.SetLength(Offset(Count));
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    /// <summary>Whole chunks that the file has.</summary>
    public int Count { get; private set; }

    private int Chunks => PsiSession.Chunks(_ids);

    /// <summary>Reads a chunk below <see cref="Count"/>. May be called by several threads at once, also while one appends.</summary>
    /// <exception cref="InvalidDataException">It is not what was written.</exception>
    public byte[] Read(int chunk) => ReadRecord(chunk) ?? throw new InvalidDataException("A chunk has changed on disk.");

    /// <summary>Appends the next chunk.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != Bytes(Count))
            throw new ArgumentException("The chunk has another size.", nameof(bytes));
        byte[] record = [.. bytes, .. Checksum(Count, bytes)];
        RandomAccess.Write(_file.SafeFileHandle, record, Offset(Count));
        Count++;
    }

    /// <summary>Waits until everything is on the disk.</summary>
    public void Flush() => DurableFile.Sync(_file.SafeFileHandle, _file.Name);

    /// <inheritdoc />
    public void Dispose() => _file.Dispose();

    private int Bytes(int chunk) => (PsiSession.Length(chunk, _ids) * _width) + _extra;

    private long Offset(int chunk) => chunk == 0 ? 0 : ((chunk - 1) * (((long)PsiSession.ChunkIds * _width) + _extra + ChecksumBytes)) + Bytes(chunk - 1) + ChecksumBytes;

    private byte[]? ReadRecord(int chunk)
    {
        byte[] record = new byte[Bytes(chunk) + ChecksumBytes];
        for (int read = 0; read < record.Length;)
        {
            int more = RandomAccess.Read(_file.SafeFileHandle, record.AsSpan(read), Offset(chunk) + read);
            if (more == 0)
                return null;
            read += more;
        }

        byte[] bytes = record[..^ChecksumBytes];
        return record.AsSpan(bytes.Length).SequenceEqual(Checksum(chunk, bytes)) ? bytes : null;
    }

    private byte[] Checksum(int chunk, ReadOnlySpan<byte> bytes)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> number = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(number, chunk);
        hash.AppendData(_session);
        hash.AppendData(number);
        hash.AppendData(bytes);
        return hash.GetHashAndReset()[..ChecksumBytes];
    }
}
