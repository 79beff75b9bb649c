using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Data;

namespace FedLearn.Alignment;

/// <summary>From ids to uniform bytes, which the engine maps to the group: the encoding of an id, and expand_message_xmd of RFC 9380.</summary>
internal static class HashToGroup
{
    /// <summary>Version of the normalisation of ids, the first byte of every encoding: a change of <see cref="RowIds.Normalize"/> needs another one.</summary>
    public const byte Version = 1;

    /// <summary>Uniform bytes that the map takes.</summary>
    public const int UniformBytes = 64;

    private const int BlockBytes = 128, DigestBytes = 64;

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

    /// <summary>expand_message_xmd with SHA-512 (RFC 9380 section 5.3.1).</summary>
    /// <param name="message">The message.</param>
    /// <param name="tag">Domain separation tag, at most 255 bytes.</param>
    /// <param name="uniform">Where to: at most 255 * 64 bytes.</param>
    /// <param name="buffer">Memory to work in; grows as needed.</param>
    public static void Expand(ReadOnlySpan<byte> message, ReadOnlySpan<byte> tag, Span<byte> uniform, ref byte[] buffer)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tag.Length, byte.MaxValue);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(uniform.Length, byte.MaxValue * DigestBytes);
        // msg_prime = Z_pad || msg || I2OSP(len, 2) || 0 || DST_prime, DST_prime = DST || I2OSP(|DST|, 1)
        int length = BlockBytes + message.Length + 3 + tag.Length + 1;
        Room(ref buffer, length, 0);
        Span<byte> prime = buffer.AsSpan(0, length);
        prime[..BlockBytes].Clear();
        message.CopyTo(prime[BlockBytes..]);
        Span<byte> tail = prime[(BlockBytes + message.Length)..];
        BinaryPrimitives.WriteUInt16BigEndian(tail, (ushort)uniform.Length);
        tail[2] = 0;
        tag.CopyTo(tail[3..]);
        tail[^1] = (byte)tag.Length;
        Span<byte> first = stackalloc byte[DigestBytes];
        SHA512.HashData(prime, first);                                          // b_0 = H(msg_prime)

        Span<byte> block = stackalloc byte[DigestBytes], input = stackalloc byte[DigestBytes + 1 + tag.Length + 1];
        block.Clear();
        tail[3..].CopyTo(input[(DigestBytes + 1)..]);
        for (int i = 1, done = 0; done < uniform.Length; i++, done += DigestBytes)
        {
            for (int j = 0; j < DigestBytes; j++)
                input[j] = (byte)(first[j] ^ block[j]);                         // b_i = H((b_0 xor b_(i-1)) || I2OSP(i, 1) || DST_prime); b_1 takes b_0 as it is
            input[DigestBytes] = (byte)i;
            SHA512.HashData(input, block);
            block[..Math.Min(DigestBytes, uniform.Length - done)].CopyTo(uniform[done..]);
        }
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
