using System.Numerics;
using System.Runtime.InteropServices;
using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Baselines.Tests.Attacks;

/// <summary>What an attacker computes in SEAL's ring Z_Q[X]/(X^8192 + 1): the negacyclic transform in SEAL's order (Longa and Naehrig 2016, algorithms 1 and 2),
/// products' constant coefficients, and the numbers in a plaintext's slots.</summary>
internal static class CkksRing
{
    private const int N = CkksParameters.N, Bits = 13;

    private static readonly ulong[] Primes = [CkksParameters.Q1, CkksParameters.Q2];

    /// <summary>Powers of the smallest primitive 2N-th root of unity, by reversed bits, [prime][N].</summary>
    private static readonly ulong[][] Roots = [.. Primes.Select(RootsOf)];

    internal static BigInteger Q => (BigInteger)CkksParameters.Q;

    /// <summary>A polynomial as SEAL stores it.</summary>
    /// <param name="coefficients">Any integers, [N].</param>
    internal static byte[] Transform(BigInteger[] coefficients)
    {
        ulong[] all = new ulong[2 * N];
        for (int k = 0; k < 2; k++)
        {
            BigInteger q = Primes[k];
            for (int i = 0; i < N; i++)
                all[(k * N) + i] = (ulong)(((coefficients[i] % q) + q) % q);
            Forward(all.AsSpan(k * N, N), Primes[k], Roots[k]);
        }

        return MemoryMarshal.AsBytes<ulong>(all).ToArray();
    }

    /// <summary>Coefficient 0 of a product, in [0, Q).</summary>
    internal static BigInteger ConstantOfProduct(ReadOnlySpan<byte> first, ReadOnlySpan<byte> second)
    {
        ReadOnlySpan<ulong> a = MemoryMarshal.Cast<byte, ulong>(first), b = MemoryMarshal.Cast<byte, ulong>(second);
        ulong[] product = new ulong[2 * N];
        for (int i = 0; i < 2 * N; i++)
            product[i] = Multiply(a[i], b[i], Primes[i / N]);
        return (BigInteger)CkksParameters.Constant(MemoryMarshal.AsBytes<ulong>(product));
    }

    /// <summary>The first numbers in the slots of a plaintext: its polynomial's values at the roots zeta^(3^i), divided by the scale.</summary>
    internal static double[] Slots(ReadOnlySpan<byte> polynomial, double scale, int count)
    {
        ulong[] residues = MemoryMarshal.Cast<byte, ulong>(polynomial).ToArray();
        for (int k = 0; k < 2; k++)
            Inverse(residues.AsSpan(k * N, N), Primes[k], Roots[k]);
        BigInteger inverse = BigInteger.ModPow(Primes[0], Primes[1] - 2, Primes[1]);
        double[] m = new double[N], slots = new double[count];
        for (int i = 0; i < N; i++)
        {
            BigInteger value = residues[i] + (Primes[0] * ((((BigInteger)residues[N + i] - residues[i]) * inverse % Primes[1]) + Primes[1]) % Q);
            value %= Q;
            m[i] = (double)(2 * value > Q ? value - Q : value) / scale;
        }

        for (int slot = 0, power = 1; slot < count; slot++, power = power * 3 % (2 * N))
            for (int i = 0; i < N; i++)
                slots[slot] += m[i] * Math.Cos(Math.PI * (i * (long)power % (2 * N)) / N);
        return slots;
    }

    private static ulong[] RootsOf(ulong prime)
    {
        BigInteger q = prime, root = 0;
        for (int g = 2; root.IsZero; g++)
            if (BigInteger.ModPow(g, (q - 1) / (2 * N), q) is var candidate && BigInteger.ModPow(candidate, N, q) == q - 1)
                root = candidate;
        ulong smallest = (ulong)root, square = Multiply(smallest, smallest, prime), power = smallest;
        for (int i = 0; i < N; i++, power = Multiply(power, square, prime))
            smallest = Math.Min(smallest, power);
        ulong[] roots = new ulong[N];
        power = 1;
        for (int i = 0; i < N; i++, power = Multiply(power, smallest, prime))
            roots[Reversed(i)] = power;
        return roots;
    }

    private static void Forward(Span<ulong> a, ulong q, ulong[] roots)
    {
        for (int m = 1, t = N / 2; m < N; m *= 2, t /= 2)
            for (int i = 0; i < m; i++)
                for (int j = 2 * i * t; j < (2 * i * t) + t; j++)
                {
                    (ulong u, ulong v) = (a[j], Multiply(a[j + t], roots[m + i], q));
                    (a[j], a[j + t]) = ((u + v) % q, (u + q - v) % q);
                }
    }

    private static void Inverse(Span<ulong> a, ulong q, ulong[] roots)
    {
        ulong half = (q + 1) / 2;
        for (int m = N / 2, t = 1; m >= 1; m /= 2, t *= 2)
            for (int i = 0; i < m; i++)
            {
                ulong inverse = (ulong)BigInteger.ModPow(roots[m + i], q - 2, q);
                for (int j = 2 * i * t; j < (2 * i * t) + t; j++)
                {
                    (ulong u, ulong v) = (a[j], a[j + t]);
                    (a[j], a[j + t]) = (Multiply((u + v) % q, half, q), Multiply(Multiply((u + q - v) % q, inverse, q), half, q));
                }
            }
    }

    private static int Reversed(int i)
    {
        int reversed = 0;
        for (int bit = 0; bit < Bits; bit++)
            reversed |= ((i >> bit) & 1) << (Bits - 1 - bit);
        return reversed;
    }

    private static ulong Multiply(ulong a, ulong b, ulong q) => (ulong)((UInt128)a * b % q);
}
