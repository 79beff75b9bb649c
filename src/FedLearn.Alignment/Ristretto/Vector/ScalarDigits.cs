using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FedLearn.Alignment.Ristretto;

/// <summary>Secret scalars cut to digits, in time that does not depend on them.</summary>
internal static class ScalarDigits
{
    /// <summary>Digits of a scalar: radix 16, each between -8 and 8.</summary>
    internal const int Count = 64;

    /// <summary>Positive digits, hence points of a table.</summary>
    internal const int TableSize = 8;

    // The order of the group, L = 2^252 + 27742317777372353535851937790883648493, least word first.
    private static ReadOnlySpan<ulong> Order => [0x5812631A5CF5D3ED, 0x14DEF9DEA2F79CD6, 0, 0x1000000000000000];

    /// <summary>Digits of scalar / 2 modulo L, least first: sum of digits times 16^n = (scalar + (scalar odd ? L : 0)) / 2 as an integer.</summary>
    /// <param name="scalar">32 bytes, little-endian, below L.</param>
    /// <param name="digits"><see cref="Count"/> digits.</param>
    internal static void OfHalf(ReadOnlySpan<byte> scalar, Span<sbyte> digits)
    {
        Span<ulong> words = stackalloc ulong[4];
        unchecked
        {
            for (var n = 0; n < 4; n++) words[n] = BinaryPrimitives.ReadUInt64LittleEndian(scalar[(8 * n)..]);
            var odd = 0UL - (words[0] & 1);
            var carry = 0UL;
            for (var n = 0; n < 4; n++)
            {
                // The carry by logic: a comparison could become a branch.
                ulong a = words[n], b = Order[n] & odd, sum = a + b + carry;
                carry = ((a & b) | ((a | b) & ~sum)) >> 63;
                words[n] = sum;
            }

            // scalar + L < 2^254, so nothing is carried out.
            for (var n = 0; n < 3; n++) words[n] = (words[n] >> 1) | (words[n + 1] << 63);
            words[3] >>= 1;

            // Nibbles 0 to 15, then 8 and more become digit - 16 with 1 for the next. The last nibble is at most 1, as the value is below 2^253.
            var one = 0;
            for (var n = 0; n < Count; n++)
            {
                var digit = (int)((words[n >> 4] >> ((n & 15) << 2)) & 15) + one;
                one = (digit + 8) >> 4;
                digits[n] = (sbyte)(digit - (one << 4));
            }
        }

        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(words));
    }
}
