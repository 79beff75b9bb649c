using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace FedLearn.Privacy;

/// <summary>Integers drawn exactly uniformly, that hide the noise of a scheme (Li and Micciancio, ePrint 2020/1533) or make a residue uniform.</summary>
public static class Flooding
{
    /// <summary>Most bits of flooding.</summary>
    public const int MostBits = 4096;

    private static readonly CsprngUniform Secure = new();

    /// <summary>Draws flooding from the operating system's cryptographic random numbers.</summary>
    /// <param name="bits">F, from 0 to <see cref="MostBits"/>.</param>
    /// <returns>An integer uniform on [0, 2^F), minus 2^(F-1); 0 for F = 0.</returns>
    public static BigInteger Uniform(int bits)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bits);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bits, MostBits);
        return bits == 0 ? BigInteger.Zero : Below(BigInteger.One << bits, Secure) - (BigInteger.One << (bits - 1));
    }

    /// <summary>Draws an integer uniform on [0, bound): as many bits as bound - 1 has, again until they are below it; less than two tries on average.</summary>
    /// <param name="bound">At least 1.</param>
    /// <param name="words">Where bits come from.</param>
    internal static BigInteger Below(BigInteger bound, IUniformSource words)
    {
        int bits = (int)(bound - 1).GetBitLength();
        if (bits == 0)
            return BigInteger.Zero;
        Span<ulong> drawn = stackalloc ulong[MostBits / 64];
        drawn = bits <= MostBits ? drawn[..((bits + 63) / 64)] : new ulong[(bits + 63) / 64];
        Span<byte> bytes = MemoryMarshal.AsBytes(drawn);
        try
        {
            while (true)
            {
                words.Fill(drawn);
                // The value of a word is the same on every machine; its bytes are not.
                if (!BitConverter.IsLittleEndian)
                    BinaryPrimitives.ReverseEndianness(drawn, drawn);
                BigInteger value = new BigInteger(bytes, isUnsigned: true) >> (64 * drawn.Length - bits);
                if (value < bound)
                    return value;
            }
        }
        finally
        {
            drawn.Clear();
        }
    }
}
