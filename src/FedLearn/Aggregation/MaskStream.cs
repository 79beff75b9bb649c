using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FedLearn.Aggregation;

/// <summary>Words of masks, mod 2^64, from a seed of 32 bytes: AES-256 in counter mode (SP 800-38A), word i the i-th of the key stream, little-endian.</summary>
internal static class MaskStream
{
    public const int SeedBytes = 32;

    // Enough that a call of the system's AES costs little beside its work, and that both buffers stay in a second-level cache.
    private const int ChunkBytes = 1 << 15, BlockBytes = 16, WordsPerBlock = BlockBytes / sizeof(ulong);

    /// <summary>Adds the words of a seed to a vector.</summary>
    public static void Add(ReadOnlySpan<byte> seed, Span<ulong> vector) => Run(seed, vector, TensorPrimitives.Add);

    /// <summary>Subtracts the words of a seed from a vector.</summary>
    public static void Subtract(ReadOnlySpan<byte> seed, Span<ulong> vector) => Run(seed, vector, TensorPrimitives.Subtract);

    private delegate void Combination(ReadOnlySpan<ulong> left, ReadOnlySpan<ulong> right, Span<ulong> result);

    private static void Run(ReadOnlySpan<byte> seed, Span<ulong> vector, Combination combine)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(seed.Length, SeedBytes);
        using var aes = Aes.Create();
        aes.SetKey(seed);
        int blocks = Math.Min(ChunkBytes / BlockBytes, (vector.Length + WordsPerBlock - 1) / WordsPerBlock);
        ulong[] counters = new ulong[blocks * WordsPerBlock], words = new ulong[blocks * WordsPerBlock];
        for (int i = 0; i < blocks; i++)
            counters[WordsPerBlock * i] = Little((ulong)i);
        for (int at = 0; at < vector.Length; at += words.Length)
        {
            int count = Math.Min(words.Length, vector.Length - at);
            int bytes = (count + WordsPerBlock - 1) / WordsPerBlock * BlockBytes;
            aes.EncryptEcb(MemoryMarshal.AsBytes(counters.AsSpan())[..bytes], MemoryMarshal.AsBytes(words.AsSpan())[..bytes], PaddingMode.None);
            if (!BitConverter.IsLittleEndian)
                System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(words, words);
            Span<ulong> part = vector.Slice(at, count);
            combine(part, words.AsSpan(0, count), part);
            for (int i = 0; i < counters.Length; i += WordsPerBlock)
                counters[i] = Little(Little(counters[i]) + (ulong)blocks);
        }

        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(words.AsSpan()));
    }

    private static ulong Little(ulong word) => BitConverter.IsLittleEndian ? word : System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(word);
}
