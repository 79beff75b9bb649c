using System.Buffers.Binary;
using System.Security.Cryptography;

namespace FedLearn.Alignment;

/// <summary>Uniform permutations drawn from a secret key: Fisher and Yates over the key stream of AES-256 in counter mode. One key gives one permutation, so that
/// an interrupted session sends on in the order in which it began.</summary>
internal static class SeededPermutation
{
    /// <summary>Draws a permutation of 0 to n - 1.</summary>
    /// <param name="n">How many.</param>
    /// <param name="key">32 secret bytes, used for nothing else.</param>
    public static int[] Draw(int n, ReadOnlySpan<byte> key)
    {
        int[] order = new int[n];
        for (int i = 0; i < n; i++)
            order[i] = i;
        using var stream = new Words(key);
        for (int i = n - 1; i > 0; i--)
        {
            int j = (int)Below((uint)i + 1, stream);
            (order[i], order[j]) = (order[j], order[i]);
        }

        return order;
    }

    // Lemire 2019, algorithm 5: the high half of word * bound, drawn again while the low half is below 2^32 mod bound; exactly uniform.
    private static uint Below(uint bound, Words stream)
    {
        ulong product = (ulong)stream.Next() * bound;
        if ((uint)(product & uint.MaxValue) < bound)
        {
            uint threshold = (uint)((1UL << 32) % bound);
            while ((uint)(product & uint.MaxValue) < threshold)
                product = (ulong)stream.Next() * bound;
        }

        return (uint)(product >> 32);
    }

    private sealed class Words : IDisposable
    {
        private const int Block = 16;
        private readonly Aes _aes = Aes.Create();
        private readonly byte[] _counters = new byte[4096], _stream = new byte[4096];
        private ulong _next;
        private int _at = 4096;

        public Words(ReadOnlySpan<byte> key) => _aes.SetKey(key);

        public uint Next()
        {
            if (_at == _stream.Length)
            {
                for (int i = 0; i < _counters.Length; i += Block)
                    BinaryPrimitives.WriteUInt64LittleEndian(_counters.AsSpan(i), _next++);
                _aes.EncryptEcb(_counters, _stream, PaddingMode.None);
                _at = 0;
            }

            uint word = BinaryPrimitives.ReadUInt32LittleEndian(_stream.AsSpan(_at));
            _at += sizeof(uint);
            return word;
        }

        public void Dispose()
        {
            CryptographicOperations.ZeroMemory(_stream);
            _aes.Dispose();
        }
    }
}
