using System.Buffers.Binary;
using System.Text;
using FedLearn.Data;

namespace FedLearn.Alignment;

/// <summary>From ids to what <see cref="MessageExpander"/> makes uniform bytes of, which the engine maps to the group.</summary>
internal static class HashToGroup
{
    /// <summary>Version of the normalisation of ids, the first byte of every encoding: a change of <see cref="RowIds.Normalize"/> needs another one.</summary>
    public const byte Version = 1;

    /// <summary>Uniform bytes that the map takes.</summary>
    public const int UniformBytes = 64;

    private static ReadOnlySpan<byte> Label => "FedLearn-PSI-v1-ristretto255_XMD:SHA-512_R255MAP_RO_"u8;

    /// <summary>The domain separation tag of a session.</summary>
    public static byte[] Tag(ReadOnlySpan<byte> session) => [.. Label, .. session];

    /// <summary>Version, number of columns (1 byte), and of each column the length (4 bytes, little-endian) and the UTF-8 of its normal form.</summary>
    /// <param name="id">The id; several columns stand one after the other with <see cref="RowIds.ColumnSeparator"/> between them.</param>
    /// <param name="buffer">Where to; grows as needed.</param>
    /// <returns>Bytes written.</returns>
    /// <exception cref="ArgumentException">The id has more than 255 columns, or half a surrogate pair.</exception>
    public static int Encode(string id, ref byte[] buffer)
    {
        int columns = 1 + id.AsSpan().Count(RowIds.ColumnSeparator);
        if (columns > byte.MaxValue)
            throw new ArgumentException("An id has more than 255 columns.", nameof(id));
        Room(ref buffer, 2, 0);
        (buffer[0], buffer[1]) = (Version, (byte)columns);
        int length = 2;
        if (columns == 1)
            return Append(id, ref buffer, length);
        foreach (Range column in id.AsSpan().Split(RowIds.ColumnSeparator))
            length = Append(id[column], ref buffer, length);
        return length;
    }

    private static int Append(string column, ref byte[] buffer, int length)
    {
        string normal = RowIds.Normalize(column);
        Room(ref buffer, length + sizeof(uint) + Encoding.UTF8.GetMaxByteCount(normal.Length), length);
        int bytes = Encoding.UTF8.GetBytes(normal, buffer.AsSpan(length + sizeof(uint)));
        BinaryPrimitives.WriteUInt32LittleEndian(buffer.AsSpan(length), (uint)bytes);
        return length + sizeof(uint) + bytes;
    }

    private static void Room(ref byte[] buffer, int needed, int kept)
    {
        if (buffer.Length >= needed)
            return;
        byte[] larger = new byte[needed * 2];
        buffer.AsSpan(0, kept).CopyTo(larger);
        buffer = larger;
    }
}
