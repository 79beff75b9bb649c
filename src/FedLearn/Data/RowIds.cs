using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace FedLearn.Data;

/// <summary>Rows in the order of their digests.</summary>
/// <param name="Rows">Row numbers from 0, shape [n].</param>
/// <param name="Digests">Their digests one after the other in the same order, 32 n bytes.</param>
public sealed record SortedRows(int[] Rows, byte[] Digests);

/// <summary>How ids are compared and ordered, the same at every party.</summary>
public static class RowIds
{
    /// <summary>Length of a digest in bytes.</summary>
    public const int DigestLength = 32;

    /// <summary>Ids that a thread hashes before it looks for others: some milliseconds' worth.</summary>
    private const int HashedTogether = 4096;

    /// <summary>What stands between the columns of an id of several: the unit separator, which no column may hold.</summary>
    public const char ColumnSeparator = '\u001F';

    /// <summary>The id of several columns, as it is compared: their normalised values with <see cref="ColumnSeparator"/> between them.</summary>
    /// <param name="columns">Values as they were read, at least one; none holds the separator.</param>
    /// <exception cref="ArgumentException">There is no value, or one holds the separator.</exception>
    public static string Join(IReadOnlyList<string> columns)
    {
        ArgumentNullException.ThrowIfNull(columns);
        if (columns.Count == 0 || columns.Any(column => column.Contains(ColumnSeparator, StringComparison.Ordinal)))
            throw new ArgumentException("An id has at least one column, and none holds the separator.", nameof(columns));
        return string.Join(ColumnSeparator, columns.Select(Normalize));
    }

    /// <summary>The id as it is compared: without white space at its ends, in Unicode normal form C.</summary>
    /// <param name="id">The id as it was read.</param>
    public static string Normalize(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        return NormalFormC.Of(id).Trim();
    }

    /// <summary>SHA-256 of the seed (8 bytes, little-endian two's complement) and the UTF-8 of the normalised id.</summary>
    /// <param name="id">The id.</param>
    /// <param name="seed">Seed of the job.</param>
    /// <returns>32 bytes.</returns>
    public static byte[] Digest(string id, long seed)
    {
        byte[] scratch = [];
        return SHA256.HashData(Hashed(Normalize(id), seed, ref scratch));
    }

    /// <summary>Orders rows by the digests of their ids, as unsigned bytes.</summary>
    /// <param name="ids">Ids, shape [n]; normalised here.</param>
    /// <param name="seed">Seed of the job.</param>
    /// <returns>The rows and their digests in order. Equal digests stay in row order.</returns>
    public static SortedRows Order(IReadOnlyList<string> ids, long seed)
    {
        ArgumentNullException.ThrowIfNull(ids);
        int n = ids.Count;
        byte[] digests = new byte[checked(n * DigestLength)];
        ulong[] heads = new ulong[n];
        int[] rows = new int[n];
        void Fill(int first, int end)
        {
            byte[] scratch = [];
            // One hash object for all of the thread's ids: SHA256.HashData makes one for each, and two threads that do so are no faster than one (measured).
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            for (int i = first; i < end; i++)
            {
                Span<byte> digest = digests.AsSpan(i * DigestLength, DigestLength);
                hash.AppendData(ids is PackedIds packed ? Hashed(packed.Utf8(i), seed, ref scratch) : Hashed(Normalize(ids[i]), seed, ref scratch));
                hash.GetHashAndReset(digest);
                (heads[i], rows[i]) = (BinaryPrimitives.ReadUInt64BigEndian(digest), i);   // big-endian: number order is byte order
            }
        }

        // In one thread for a list of the caller's own: several threads may not be able to read it, and Normalize may refuse an id, whose error should be the first one's.
        if (ids is PackedIds)
            Parallel.For(0, (n + HashedTogether - 1) / HashedTogether, block => Fill(block * HashedTogether, Math.Min(n, (block + 1) * HashedTogether)));
        else
            Fill(0, n);

        // Eight bytes decide almost always; runs of equal heads are then put in the order of the whole digest.
        Array.Sort(heads, rows);
        for (int start = 0, end; start < n; start = end)
        {
            for (end = start + 1; end < n && heads[end] == heads[start]; end++) { }
            if (end - start > 1)
            {
                rows.AsSpan(start, end - start).Sort((a, b) =>
                {
                    int order = digests.AsSpan(a * DigestLength, DigestLength).SequenceCompareTo(digests.AsSpan(b * DigestLength, DigestLength));
                    return order != 0 ? order : a.CompareTo(b);
                });
            }
        }

        Arrange(digests, rows);
        return new SortedRows(rows, digests);
    }

    /// <summary>Puts digests in the order of their rows without a second copy of them: along each cycle of the permutation, whose places are marked by their complements meanwhile.</summary>
    private static void Arrange(Span<byte> digests, Span<int> rows)
    {
        Span<byte> first = stackalloc byte[DigestLength];
        for (int start = 0; start < rows.Length; start++)
        {
            if (rows[start] < 0)
                continue;
            digests.Slice(start * DigestLength, DigestLength).CopyTo(first);
            int place = start;
            while (true)
            {
                int from = rows[place];
                rows[place] = ~from;
                Span<byte> target = digests.Slice(place * DigestLength, DigestLength);
                if (from == start)
                {
                    first.CopyTo(target);
                    break;
                }

                digests.Slice(from * DigestLength, DigestLength).CopyTo(target);
                place = from;
            }
        }

        foreach (ref int row in rows)
            row = ~row;
    }

    /// <summary>Orders some of the rows: the common order of an alignment, the same at every party.</summary>
    /// <param name="ids">Ids of all rows; of several columns with <see cref="ColumnSeparator"/> between them. Normalised here, column by column.</param>
    /// <param name="rows">Rows to order.</param>
    /// <param name="seed">Seed of the job.</param>
    internal static int[] Order(IReadOnlyList<string> ids, IReadOnlyList<int> rows, long seed)
    {
        string[] chosen = [.. rows.Select(row => ids[row].Contains(ColumnSeparator, StringComparison.Ordinal) ? Join(ids[row].Split(ColumnSeparator)) : ids[row])];
        int[] order = Order(chosen, seed).Rows;
        for (int i = 0; i < order.Length; i++)
            order[i] = rows[order[i]];
        return order;
    }

    /// <summary>What is hashed: the seed and the id.</summary>
    private static ReadOnlySpan<byte> Hashed(ReadOnlySpan<byte> normalized, long seed, ref byte[] scratch)
    {
        int length = sizeof(long) + normalized.Length;
        if (scratch.Length < length)
            scratch = new byte[length * 2];
        BinaryPrimitives.WriteInt64LittleEndian(scratch, seed);
        normalized.CopyTo(scratch.AsSpan(sizeof(long)));
        return scratch.AsSpan(0, length);
    }

    private static ReadOnlySpan<byte> Hashed(string normalized, long seed, ref byte[] scratch)
    {
        int needed = sizeof(long) + Encoding.UTF8.GetMaxByteCount(normalized.Length);
        if (scratch.Length < needed)
            scratch = new byte[needed * 2];
        BinaryPrimitives.WriteInt64LittleEndian(scratch, seed);
        return scratch.AsSpan(0, sizeof(long) + Encoding.UTF8.GetBytes(normalized, scratch.AsSpan(sizeof(long))));
    }
}
