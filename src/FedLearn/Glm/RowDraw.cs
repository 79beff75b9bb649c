using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace FedLearn.Glm;

/// <summary>A number for each row, the same at every party: made of a name, the job's seed and the row's id alone.</summary>
/// <param name="name">What the draw is for; draws of other names are independent of it.</param>
/// <param name="seed">The job's seed.</param>
internal sealed class RowDraw(ReadOnlySpan<byte> name, long seed)
{
    private readonly byte[] _prefix = [.. name, .. LittleEndian(seed)];

    /// <summary>The first 8 bytes, big-endian, of SHA-256(name, seed in 8 bytes little-endian, id in UTF-8).</summary>
    /// <param name="id">Normalised id.</param>
    public ulong Of(string id) => BinaryPrimitives.ReadUInt64BigEndian(SHA256.HashData([.. _prefix, .. Encoding.UTF8.GetBytes(id)]));

    private static byte[] LittleEndian(long seed)
    {
        byte[] bytes = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, seed);
        return bytes;
    }
}
