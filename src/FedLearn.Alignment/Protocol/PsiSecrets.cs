using System.Security.Cryptography;
using FedLearn.Alignment.Ristretto;

namespace FedLearn.Alignment;

/// <summary>The secrets of one session: the scalar, and a seed from which its permutations, its invented ids and the randomness of its proofs come. Wiped when it is disposed of.</summary>
internal sealed class PsiSecrets : IDisposable
{
    public const int Bytes = 64;

    // Pinned: the collector leaves no copies behind.
    private readonly byte[] _bytes = GC.AllocateArray<byte>(Bytes, pinned: true);

    private PsiSecrets() { }

    /// <summary>The scalar, 32 bytes, from 1 to the order of the group less 1.</summary>
    public ReadOnlySpan<byte> Scalar => _bytes.AsSpan(0, 32);

    /// <summary>All of it, to keep for a session that is interrupted.</summary>
    public ReadOnlySpan<byte> All => _bytes;

    private ReadOnlySpan<byte> Seed => _bytes.AsSpan(32);

    /// <summary>Fresh ones.</summary>
    public static PsiSecrets Fresh()
    {
        var secrets = new PsiSecrets();
        SodiumRistretto.RandomScalar(secrets._bytes.AsSpan(0, 32));
        RandomNumberGenerator.Fill(secrets._bytes.AsSpan(32));
        return secrets;
    }

    /// <summary>Those of an interrupted session.</summary>
    public static PsiSecrets Of(ReadOnlySpan<byte> all)
    {
        var secrets = new PsiSecrets();
        all.CopyTo(secrets._bytes);
        return secrets;
    }

    /// <summary>A permutation for one purpose.</summary>
    public int[] Permutation(ReadOnlySpan<byte> purpose, int n)
    {
        Span<byte> key = stackalloc byte[32];
        HMACSHA256.HashData(Seed, purpose, key);
        int[] order = SeededPermutation.Draw(n, key);
        CryptographicOperations.ZeroMemory(key);
        return order;
    }

    /// <summary>64 bytes that only this party can tell from random ones.</summary>
    public void Derive(ReadOnlySpan<byte> message, Span<byte> derived) => HMACSHA512.HashData(Seed, message, derived);

    /// <inheritdoc />
    public void Dispose() => CryptographicOperations.ZeroMemory(_bytes);
}
