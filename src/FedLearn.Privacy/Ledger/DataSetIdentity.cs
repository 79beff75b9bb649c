using System.Security.Cryptography;

namespace FedLearn.Privacy;

/// <summary>Which people a table is about, as a ledger knows them: charges add up over tables that share rows.</summary>
/// <remarks>Made of ids alone, so that another column, a corrected value or another order of the rows is the same data set. Tables that
/// share only some ids are found by a sketch, the smallest digests of each: two tables of which one holds a share p of the other's rows
/// go unnoticed with a probability of about (1 - p)^256. Private to the party: anyone who can guess an id can test it.</remarks>
public sealed class DataSetIdentity
{
    /// <summary>Digests kept in the sketch.</summary>
    public const int SketchSize = 256;

    /// <summary>Bytes kept of each digest in the sketch.</summary>
    public const int SketchDigestBytes = 8;

    private const int DigestBytes = SHA256.HashSizeInBytes;

    private DataSetIdentity(string fingerprint, int rows, byte[] sketch) => (Fingerprint, Rows, Sketch) = (fingerprint, rows, sketch);

    /// <summary>SHA-256, hex, of the sorted digests of all ids.</summary>
    public string Fingerprint { get; }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>The first <see cref="SketchDigestBytes"/> bytes of the smallest <see cref="SketchSize"/> digests, ascending.</summary>
    public ReadOnlyMemory<byte> Sketch { get; }

    /// <summary>The identity of a table.</summary>
    /// <param name="sortedDigests">SHA-256 of every row's normalised id, 32 bytes each, ascending as unsigned bytes; no job's seed in it.</param>
    /// <exception cref="ArgumentException">The bytes are not sorted digests.</exception>
    public static DataSetIdentity Of(ReadOnlySpan<byte> sortedDigests)
    {
        if (sortedDigests.Length % DigestBytes != 0)
            throw new ArgumentException("Digests are 32 bytes each.", nameof(sortedDigests));
        int rows = sortedDigests.Length / DigestBytes, kept = Math.Min(rows, SketchSize);
        byte[] sketch = new byte[kept * SketchDigestBytes];
        for (int i = 0; i < kept; i++)
            sortedDigests.Slice(i * DigestBytes, SketchDigestBytes).CopyTo(sketch.AsSpan(i * SketchDigestBytes));
        for (int i = 1; i < rows; i++)
            if (sortedDigests.Slice((i - 1) * DigestBytes, DigestBytes).SequenceCompareTo(sortedDigests.Slice(i * DigestBytes, DigestBytes)) > 0)
                throw new ArgumentException("The digests are not sorted.", nameof(sortedDigests));
        return new(Convert.ToHexStringLower(SHA256.HashData(sortedDigests)), rows, sketch);
    }

    /// <summary>An identity as a ledger stored it.</summary>
    /// <param name="fingerprint">See <see cref="Fingerprint"/>.</param>
    /// <param name="rows">See <see cref="Rows"/>.</param>
    /// <param name="sketch">See <see cref="Sketch"/>.</param>
    public static DataSetIdentity Restore(string fingerprint, int rows, ReadOnlySpan<byte> sketch)
    {
        ArgumentException.ThrowIfNullOrEmpty(fingerprint);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        return new(fingerprint, rows, sketch.ToArray());
    }

    /// <summary>Whether two tables are known to share rows.</summary>
    /// <param name="other">The other table.</param>
    public bool SharesRowsWith(DataSetIdentity other)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (Fingerprint == other.Fingerprint)
            return true;
        ReadOnlySpan<byte> a = Sketch.Span, b = other.Sketch.Span;
        while (!a.IsEmpty && !b.IsEmpty)
        {
            int order = a[..SketchDigestBytes].SequenceCompareTo(b[..SketchDigestBytes]);
            if (order == 0)
                return true;
            if (order < 0)
                a = a[SketchDigestBytes..];
            else
                b = b[SketchDigestBytes..];
        }

        return false;
    }
}
