using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Data;

namespace FedLearn.Alignment.Tests.Reference;

/// <summary>The formulas of docs/protocol.md on private set intersection, written a second time and as plainly as they stand there.</summary>
internal static class ReferencePsi
{
    public const int ChunkIds = 4096, HelloBytes = 84;

    public const char Separator = '\u001F';

    /// <summary>E(id): version 1, number of columns, and of each its length and the UTF-8 of its normal form.</summary>
    public static byte[] Encode(string id)
    {
        string[] columns = id.Split(Separator);
        return [1, checked((byte)columns.Length), .. columns.SelectMany(column => Text(RowIds.Normalize(column)))];
    }

    /// <summary>64 uniform bytes of an id in a session, which the map takes.</summary>
    public static byte[] Uniform(string id, byte[] session) =>
        ReferenceHash.ExpandMessageXmd(Encode(id), [.. "FedLearn-PSI-v1-ristretto255_XMD:SHA-512_R255MAP_RO_"u8, .. session], 64);

    public static byte[] Session(byte[] jobDigest, string active, string passive, byte[] activeNonce, byte[] passiveNonce) =>
        SHA256.HashData([.. "FedLearn-PSI-v1 session"u8, .. jobDigest, .. Text(active), .. Text(passive), .. activeNonce, .. passiveNonce]);

    /// <summary>Bytes of a tag: ceil((40 + ceil(log2 n) + ceil(log2 m)) / 8).</summary>
    public static int TagBytes(long own, long peer) => (int)Math.Min(32, Math.Ceiling((40 + Math.Ceiling(Math.Log2(Math.Max(1, own))) + Math.Ceiling(Math.Log2(Math.Max(1, peer)))) / 8));

    public static byte[] Tag(byte[] session, byte[] point, int bytes) => SHA256.HashData([.. session, .. point])[..bytes];

    public static byte[] Confirmation(byte[] session, IEnumerable<byte[]> commonTags) => SHA256.HashData(
        [.. "FedLearn-PSI-v1 common"u8, .. session, .. commonTags.OrderBy(Convert.ToHexStringLower, StringComparer.Ordinal).SelectMany(tag => tag)]);

    /// <summary>A scalar from 1 to the order of the group less 1.</summary>
    public static byte[] Scalar() => ReferenceGroup.Bytes(1 + new BigInteger(RandomNumberGenerator.GetBytes(40), isUnsigned: true) % (ReferenceGroup.L - 1));

    /// <summary>The points, 4,096 a message.</summary>
    public static IReadOnlyList<byte[]> Chunks(IReadOnlyList<byte[]> items) => [.. items.Chunk(ChunkIds).Select(chunk => chunk.SelectMany(item => item).ToArray())];

    /// <summary>Items of one width that stand one after the other.</summary>
    public static IEnumerable<byte[]> Items(ReadOnlyMemory<byte> bytes, int width) => bytes.ToArray().Chunk(width);

    private static byte[] Text(string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text), length = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(length, (uint)utf8.Length);
        return [.. length, .. utf8];
    }
}
