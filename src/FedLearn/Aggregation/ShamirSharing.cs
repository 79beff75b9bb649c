using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;

namespace FedLearn.Aggregation;

/// <summary>Secrets of 32 bytes in shares, of which t open them and fewer tell nothing (Shamir 1979): values at x = 1, 2, ... of a random polynomial of degree
/// t - 1 over the integers mod p = 2^521 - 1, whose value at 0 is the secret.</summary>
/// <remarks>
/// The field has 265 bits more than a secret, so that shares of different polynomials are found: they give a number below 2^256 with probability 2^-265. A change
/// that is chosen to be small is not: sharing hides, and does not authenticate.
/// Splitting multiplies by small public numbers only, without a branch or an index that depends on a secret, and wipes its memory. Combining runs on big
/// integers at the party that is to know the result.
/// </remarks>
internal static class ShamirSharing
{
    public const int SecretBytes = 32, ShareBytes = 66;

    private const int Limbs = 9, TopBits = 521 - 8 * 64;
    private const ulong TopMask = (1UL << TopBits) - 1;

    private static readonly BigInteger Prime = (BigInteger.One << 521) - 1;

    /// <summary>Splits a secret.</summary>
    /// <param name="secret">32 bytes.</param>
    /// <param name="threshold">Shares t that open it, at least 1.</param>
    /// <param name="shares">Shares to make, at least t and below 2^16.</param>
    /// <returns>The shares one after the other, that of x = 1 first; secret, wiped by the caller.</returns>
    public static byte[] Split(ReadOnlySpan<byte> secret, int threshold, int shares)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(secret.Length, SecretBytes);
        ArgumentOutOfRangeException.ThrowIfLessThan(threshold, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(shares, threshold);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(shares, 1 << 16);
        byte[] result = GC.AllocateArray<byte>(shares * ShareBytes, pinned: true);
        ulong[] polynomial = GC.AllocateArray<ulong>(threshold * Limbs, pinned: true);
        Span<byte> random = System.Runtime.InteropServices.MemoryMarshal.AsBytes(polynomial.AsSpan());
        // 521 random bits are uniform mod p but for p itself, which stands for 0 and has probability 2^-521.
        RandomNumberGenerator.Fill(random);
        for (int k = 0; k < threshold; k++)
            polynomial[k * Limbs + Limbs - 1] &= TopMask;
        Span<ulong> constant = polynomial.AsSpan(0, Limbs);
        constant.Clear();
        for (int i = 0; i < SecretBytes / sizeof(ulong); i++)
            constant[i] = BinaryPrimitives.ReadUInt64LittleEndian(secret[(i * sizeof(ulong))..]);

        Span<ulong> value = stackalloc ulong[Limbs];
        for (int x = 1; x <= shares; x++)
        {
            value.Clear();
            for (int k = threshold - 1; k >= 0; k--)
                MultiplyAdd(value, (ulong)x, polynomial.AsSpan(k * Limbs, Limbs));
            Write(value, result.AsSpan((x - 1) * ShareBytes, ShareBytes));
        }

        CryptographicOperations.ZeroMemory(System.Runtime.InteropServices.MemoryMarshal.AsBytes(value));
        CryptographicOperations.ZeroMemory(random);
        return result;
    }

    /// <summary>value = value x + addend mod p, below 2^521 + 2^17.</summary>
    private static void MultiplyAdd(Span<ulong> value, ulong x, ReadOnlySpan<ulong> addend)
    {
        unchecked
        {
            UInt128 carry = 0;
            for (int i = 0; i < Limbs; i++)
            {
                carry += (UInt128)value[i] * x + addend[i];
                value[i] = (ulong)carry;
                carry >>= 64;
            }

            Fold(value);
        }
    }

    /// <summary>Adds what is above 521 bits to the low end: 2^521 = 1 mod p.</summary>
    private static void Fold(Span<ulong> value)
    {
        unchecked
        {
            UInt128 carry = value[Limbs - 1] >> TopBits;
            value[Limbs - 1] &= TopMask;
            for (int i = 0; i < Limbs; i++)
            {
                carry += value[i];
                value[i] = (ulong)carry;
                carry >>= 64;
            }
        }
    }

    private static void Write(Span<ulong> value, Span<byte> share)
    {
        Fold(value);
        Fold(value);
        for (int i = 0; i < Limbs - 1; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(share[(i * sizeof(ulong))..], value[i]);
        BinaryPrimitives.WriteUInt16LittleEndian(share[((Limbs - 1) * sizeof(ulong))..], unchecked((ushort)value[Limbs - 1]));
    }

    /// <summary>What turns shares of given clients into their secret: their Lagrange coefficients at 0.</summary>
    /// <param name="points">The x of the shares, different from one another, each at least 1.</param>
    public static BigInteger[] Coefficients(ReadOnlySpan<int> points)
    {
        var coefficients = new BigInteger[points.Length];
        for (int i = 0; i < points.Length; i++)
        {
            BigInteger above = 1, below = 1;
            for (int j = 0; j < points.Length; j++)
            {
                if (j == i)
                    continue;
                above = above * points[j] % Prime;
                below = below * (points[j] - points[i]) % Prime;
            }

            below = below < 0 ? below + Prime : below;
            coefficients[i] = above * BigInteger.ModPow(below, Prime - 2, Prime) % Prime;
        }

        return coefficients;
    }

    /// <summary>Opens a secret.</summary>
    /// <param name="coefficients">Of <see cref="Coefficients"/>.</param>
    /// <param name="shares">The shares of those points, in their order.</param>
    /// <param name="secret">Where its 32 bytes go.</param>
    /// <returns>False when the shares do not belong together.</returns>
    public static bool Combine(ReadOnlySpan<BigInteger> coefficients, IReadOnlyList<ReadOnlyMemory<byte>> shares, Span<byte> secret)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(shares.Count, coefficients.Length);
        BigInteger sum = 0;
        for (int i = 0; i < coefficients.Length; i++)
            sum += coefficients[i] * new BigInteger(shares[i].Span, isUnsigned: true);
        sum %= Prime;
        secret.Clear();
        return sum.GetByteCount(isUnsigned: true) <= SecretBytes && sum.TryWriteBytes(secret, out _, isUnsigned: true);
    }

    /// <summary>Whether bytes are a number below p.</summary>
    public static bool IsShare(ReadOnlySpan<byte> share) => share.Length == ShareBytes && (share[^1] == 0 || (share[^1] == 1 && share[..^1].ContainsAnyExcept((byte)0xFF)));
}
