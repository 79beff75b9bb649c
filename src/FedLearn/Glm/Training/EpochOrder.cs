using System.Buffers.Binary;
using System.Security.Cryptography;

namespace FedLearn.Glm;

/// <summary>The public order of the training rows in an epoch of a job that reshuffles.</summary>
/// <remarks>It depends on the job's seed and on row numbers, never on a value, so the sensitivity proof may count on it (A3).</remarks>
public static class EpochOrder
{
    /// <summary>Rows sorted by the first 16 bytes of SHA-256(seed, epoch, row), as unsigned bytes.</summary>
    /// <param name="rows">Number of training rows n.</param>
    /// <param name="seed">The job's seed; enters as 8 bytes, little-endian two's complement.</param>
    /// <param name="epoch">Epoch from 0; 4 bytes, little-endian.</param>
    /// <returns>A permutation of 0 to n - 1. The row numbers, 4 bytes little-endian each, are those of the common order.</returns>
    public static int[] Of(int rows, long seed, int epoch)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(epoch);
        Span<byte> text = stackalloc byte[16], digest = stackalloc byte[SHA256.HashSizeInBytes];
        BinaryPrimitives.WriteInt64LittleEndian(text, seed);
        BinaryPrimitives.WriteInt32LittleEndian(text[8..], epoch);
        var keys = new UInt128[rows];
        int[] order = new int[rows];
        for (int row = 0; row < rows; row++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(text[12..], row);
            SHA256.HashData(text, digest);
            (keys[row], order[row]) = (BinaryPrimitives.ReadUInt128BigEndian(digest), row);
        }

        Array.Sort(keys, order);
        return order;
    }
}
