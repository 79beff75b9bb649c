using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;

namespace FedLearn.Privacy;

/// <summary>Which people a table is about, as a ledger knows them: charges add up over tables that share rows.</summary>
/// <remarks>Made of ids alone, so that another column, a corrected value or another order of the rows is the same data set. Two tables of which both know the digests of
/// all their ids, as every table in memory does, are found to share rows exactly when they do. Of N rows that are known by a sketch alone, n in another table are missed
/// with a probability of at most (1 - n/N)^256, and never where N is at most 256. Private to the party: anyone who can guess an id can test it.</remarks>
public sealed class DataSetIdentity
{
    /// <summary>Digests kept in the sketch.</summary>
    public const int SketchSize = 256;

    /// <summary>Bytes kept of each digest in the sketch.</summary>
    public const int SketchDigestBytes = 8;

    private const int DigestBytes = SHA256.HashSizeInBytes;

    // Prefixes of the digests that are known, ascending: all of them, or those of the sketch.
    private readonly ReadOnlyMemory<byte> _known;

    // Reads the prefixes of all rows from the ledger that keeps them. They are not kept in memory; the answers that they gave are.
    private readonly Func<ReadOnlyMemory<byte>>? _readAll;
    private readonly ConditionalWeakTable<DataSetIdentity, StrongBox<bool>> _answers = new();

    private DataSetIdentity(string fingerprint, int rows, ReadOnlyMemory<byte> known, Func<ReadOnlyMemory<byte>>? readAll = null) =>
        (Fingerprint, Rows, _known, _readAll) = (fingerprint, rows, known, readAll);

    /// <summary>SHA-256, hex, of the sorted digests of all ids.</summary>
    public string Fingerprint { get; }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>The first <see cref="SketchDigestBytes"/> bytes of the smallest <see cref="SketchSize"/> digests, ascending.</summary>
    public ReadOnlyMemory<byte> Sketch => _known[..Math.Min(_known.Length, SketchSize * SketchDigestBytes)];

    /// <summary>The first <see cref="SketchDigestBytes"/> bytes of the digests of all rows, ascending; null where a ledger stored the sketch alone, of more rows than that has.</summary>
    public ReadOnlyMemory<byte>? Digests => _readAll is not null ? _readAll() : _known.Length / SketchDigestBytes == Rows ? _known : default(ReadOnlyMemory<byte>?);

    /// <summary>The identity of a table.</summary>
    /// <param name="sortedDigests">SHA-256 of every row's normalised id, 32 bytes each, ascending as unsigned bytes; no job's seed in it.</param>
    /// <exception cref="ArgumentException">The bytes are not sorted digests.</exception>
    public static DataSetIdentity Of(ReadOnlySpan<byte> sortedDigests)
    {
        if (sortedDigests.Length % DigestBytes != 0)
            throw new ArgumentException("Digests are 32 bytes each.", nameof(sortedDigests));
        int rows = sortedDigests.Length / DigestBytes;
        byte[] known = new byte[rows * SketchDigestBytes];
        for (int i = 0; i < rows; i++)
        {
            ReadOnlySpan<byte> digest = sortedDigests.Slice(i * DigestBytes, DigestBytes);
            if (i > 0 && sortedDigests.Slice((i - 1) * DigestBytes, DigestBytes).SequenceCompareTo(digest) > 0)
                throw new ArgumentException("The digests are not sorted.", nameof(sortedDigests));
            digest[..SketchDigestBytes].CopyTo(known.AsSpan(i * SketchDigestBytes));
        }

        return new(Convert.ToHexStringLower(SHA256.HashData(sortedDigests)), rows, known);
    }

    /// <summary>An identity as a ledger stored it.</summary>
    /// <param name="fingerprint">See <see cref="Fingerprint"/>.</param>
    /// <param name="rows">See <see cref="Rows"/>.</param>
    /// <param name="sketch">See <see cref="Sketch"/>.</param>
    /// <param name="readDigests">Reads what <see cref="Digests"/> gives, each time that the sketches do not decide; null where that is not stored.</param>
    public static DataSetIdentity Restore(string fingerprint, int rows, ReadOnlySpan<byte> sketch, Func<ReadOnlyMemory<byte>>? readDigests = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(fingerprint);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        return new(fingerprint, rows, sketch.ToArray(), readDigests);
    }

    /// <summary>Whether two tables are known to share rows.</summary>
    /// <param name="other">The other table.</param>
    public bool SharesRowsWith(DataSetIdentity other)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (Fingerprint == other.Fingerprint || Meet(_known.Span, other._known.Span))
            return true;
        if (_readAll is null)
            return other._readAll is not null && other.SharesRowsWith(this);
        // Many charges are for one table, so the answer for each pair of tables is kept.
        return _answers.GetValue(other, of => new(Meet((Digests ?? _known).Span, (of.Digests ?? of._known).Span))).Value;
    }

    /// <summary>Whether two ascending lists of prefixes have one in common.</summary>
    private static bool Meet(ReadOnlySpan<byte> few, ReadOnlySpan<byte> many)
    {
        if (few.Length > many.Length)
            return Meet(many, few);
        for (; !few.IsEmpty && !many.IsEmpty; few = few[SketchDigestBytes..])
        {
            // Looks ahead in steps that double, then bisects: quick for few digests among a million, and linear for two lists of a million.
            ulong wanted = At(few, 0);
            int low = 0, high = 1, length = many.Length / SketchDigestBytes;
            while (high < length && At(many, high) < wanted)
                (low, high) = (high, high < length / 2 ? 2 * high : length);
            while (low < high)
            {
                int middle = low + (high - low) / 2;
                if (At(many, middle) < wanted)
                    low = middle + 1;
                else
                    high = middle;
            }

            many = many[(low * SketchDigestBytes)..];
            if (!many.IsEmpty && At(many, 0) == wanted)
                return true;
        }

        return false;
    }

    // Big-endian: the order of numbers is that of bytes.
    private static ulong At(ReadOnlySpan<byte> prefixes, int index) => BinaryPrimitives.ReadUInt64BigEndian(prefixes[(index * SketchDigestBytes)..]);
}
