using System.Buffers.Binary;
using System.Security.Cryptography;
using FedLearn.Alignment.Ristretto;

namespace FedLearn.Alignment;

/// <summary>A proof that one scalar k made a whole chunk of products D[i] = k C[i] and the commitment B = k A: batched Chaum and Pedersen, as RFC 9497 sections 2.2.1 and 2.2.2 have it for the suite
/// ristretto255-SHA512, with a context string of this protocol.</summary>
/// <remarks>
/// A is the generator, C the points that the verifier sent, D the points that it got back, both of one chunk and in its order; m is their number. All points are their 32-byte encodings, all
/// scalars 32 bytes little-endian; I2OSP(n, 2) is n as two bytes, big-endian; || joins bytes; sid is the session's id, 32 bytes.
/// <code>
/// context         = "FedLearn-PSI-v1-ristretto255-SHA512-" || sid
/// HashToScalar(x) = expand_message_xmd(SHA-512, x, DST = "HashToScalar-" || context, 64), little-endian, modulo the order of the group
/// pairs           = SHA-512(C[0] || ... || C[m-1] || D[0] || ... || D[m-1])
/// seed            = SHA-512(I2OSP(32, 2) || B || I2OSP(64, 2) || pairs || I2OSP(length, 2) || "Seed-" || context), length being that of "Seed-" || context
/// d[i]            = HashToScalar(I2OSP(64, 2) || seed || I2OSP(i, 2) || I2OSP(32, 2) || C[i] || I2OSP(32, 2) || D[i] || "Composite"), i from 0 in every chunk
/// M               = d[0] C[0] + ... + d[m-1] C[m-1],    Z = d[0] D[0] + ... + d[m-1] D[m-1];    the prover, who has k: Z = k M
/// t2              = r A,    t3 = r M,    r secret and used once
/// c               = HashToScalar(I2OSP(32, 2) || B || I2OSP(32, 2) || M || I2OSP(32, 2) || Z || I2OSP(32, 2) || t2 || I2OSP(32, 2) || t3 || "Challenge")
/// s               = r - c k
/// proof           = c || s
/// </code>
/// In one thing it departs from RFC 9497: the seed hashes all pairs of the chunk, so that every weight d[i] depends on every answer. There a weight depends on its own pair alone; that serves batches of a
/// few, but among 4,096 answers a cheat could pick, by a generalised birthday search (Wagner 2002) of about 2^31 hashes, errors that cancel in Z.
/// The verifier computes M and Z as sums, t2 = s A + c B, t3 = s M + c Z, and accepts where c comes out again. Both numbers must be below the order of the group, and not 0.
/// r is here drawn from the session's secret seed and M and Z, so that a chunk has one proof, however often an interrupted session sends it.
/// </remarks>
internal static class ChunkProof
{
    /// <summary>Bytes of a proof.</summary>
    public const int Bytes = 64;

    private const int PointBytes = SodiumRistretto.PointBytes, ScalarBytes = SodiumRistretto.ScalarBytes;

    private static ReadOnlySpan<byte> Context => "FedLearn-PSI-v1-ristretto255-SHA512-"u8;

    /// <summary>Proves a chunk.</summary>
    /// <param name="session">Id of the session.</param>
    /// <param name="secrets">Of the prover: the scalar k.</param>
    /// <param name="commitment">B.</param>
    /// <param name="points">C, valid.</param>
    /// <param name="products">D.</param>
    public static byte[] Prove(ReadOnlySpan<byte> session, PsiSecrets secrets, ReadOnlySpan<byte> commitment, ReadOnlySpan<byte> points, ReadOnlySpan<byte> products)
    {
        byte[] scalars = Composites(session, commitment, points, products);
        Span<byte> m = stackalloc byte[PointBytes], z = stackalloc byte[PointBytes], t2 = stackalloc byte[PointBytes], t3 = stackalloc byte[PointBytes];
        Span<byte> wide = stackalloc byte[64], r = stackalloc byte[ScalarBytes];
        byte[] proof = new byte[Bytes];
        try
        {
            _ = SodiumRistretto.Combine(points, scalars, m); // the points have been multiplied before, so that they are valid
            SodiumRistretto.MultiplyValid(m, secrets.Scalar, z);
            secrets.Derive([.. "proof"u8, .. m, .. z], wide);
            SodiumRistretto.Reduce(wide, r);
            SodiumRistretto.MultiplyBase(r, t2);
            SodiumRistretto.MultiplyValid(m, r, t3);
            Challenge(session, commitment, m, z, t2, t3, proof.AsSpan(0, ScalarBytes));
            SodiumRistretto.SubtractProduct(r, proof.AsSpan(0, ScalarBytes), secrets.Scalar, proof.AsSpan(ScalarBytes));
            return proof;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(wide);
            CryptographicOperations.ZeroMemory(r);
        }
    }

    /// <summary>Whether a proof holds: with soundness error below 2^-128 it does only where all products are those of the committed scalar.</summary>
    /// <param name="session">Id of the session.</param>
    /// <param name="commitment">B, of the prover; valid.</param>
    /// <param name="points">C, valid.</param>
    /// <param name="products">D, whatever the prover sent.</param>
    /// <param name="proof">64 bytes.</param>
    public static ProofCheck Verify(ReadOnlySpan<byte> session, ReadOnlySpan<byte> commitment, ReadOnlySpan<byte> points, ReadOnlySpan<byte> products, ReadOnlySpan<byte> proof)
    {
        byte[] scalars = Composites(session, commitment, points, products);
        Span<byte> m = stackalloc byte[PointBytes], z = stackalloc byte[PointBytes], t2 = stackalloc byte[PointBytes], t3 = stackalloc byte[PointBytes], part = stackalloc byte[PointBytes];
        Span<byte> expected = stackalloc byte[ScalarBytes];
        if (SodiumRistretto.Combine(products, scalars, z) >= 0)
            return ProofCheck.InvalidPoint;
        _ = SodiumRistretto.Combine(points, scalars, m); // the verifier's own points
        ReadOnlySpan<byte> c = proof[..ScalarBytes], s = proof[ScalarBytes..];
        if (!IsScalar(c) || !IsScalar(s))
            return ProofCheck.Fails;
        SodiumRistretto.MultiplyBase(s, t2);
        bool valid = SodiumRistretto.Instance.Multiply(commitment, c, part) < 0 && SodiumRistretto.TryAdd(t2, part, t2)
            && SodiumRistretto.Instance.Multiply(m, s, t3) < 0 && SodiumRistretto.Instance.Multiply(z, c, part) < 0 && SodiumRistretto.TryAdd(t3, part, t3);
        if (!valid)
            return ProofCheck.Fails;
        Challenge(session, commitment, m, z, t2, t3, expected);
        return expected.SequenceEqual(c) ? ProofCheck.Holds : ProofCheck.Fails;
    }

    private static byte[] Composites(ReadOnlySpan<byte> session, ReadOnlySpan<byte> commitment, ReadOnlySpan<byte> points, ReadOnlySpan<byte> products)
    {
        byte[] seedTag = [.. "Seed-"u8, .. Context, .. session];
        byte[] seed = SHA512.HashData([.. Prefixed(commitment), .. Prefixed(SHA512.HashData([.. points, .. products])), .. Prefixed(seedTag)]);
        // The transcript of one pair; index, C[i] and D[i] are set anew.
        byte[] transcript = [.. Prefixed(seed), 0, 0, 0, PointBytes, .. new byte[PointBytes], 0, PointBytes, .. new byte[PointBytes], .. "Composite"u8];
        int at = 2 + seed.Length;
        byte[] scalars = new byte[points.Length];
        Span<byte> wide = stackalloc byte[64];
        using var expander = new MessageExpander(Tag(session));
        for (int i = 0; i < points.Length / PointBytes; i++)
        {
            BinaryPrimitives.WriteUInt16BigEndian(transcript.AsSpan(at), (ushort)i);
            points.Slice(i * PointBytes, PointBytes).CopyTo(transcript.AsSpan(at + 4));
            products.Slice(i * PointBytes, PointBytes).CopyTo(transcript.AsSpan(at + 6 + PointBytes));
            expander.Expand(transcript, wide);
            SodiumRistretto.Reduce(wide, scalars.AsSpan(i * ScalarBytes, ScalarBytes));
        }

        return scalars;
    }

    private static void Challenge(ReadOnlySpan<byte> session, ReadOnlySpan<byte> commitment, ReadOnlySpan<byte> m, ReadOnlySpan<byte> z, ReadOnlySpan<byte> t2, ReadOnlySpan<byte> t3, Span<byte> challenge)
    {
        byte[] transcript = [.. Prefixed(commitment), .. Prefixed(m), .. Prefixed(z), .. Prefixed(t2), .. Prefixed(t3), .. "Challenge"u8];
        Span<byte> wide = stackalloc byte[64];
        using var expander = new MessageExpander(Tag(session));
        expander.Expand(transcript, wide);
        SodiumRistretto.Reduce(wide, challenge);
    }

    private static byte[] Tag(ReadOnlySpan<byte> session) => [.. "HashToScalar-"u8, .. Context, .. session];

    private static byte[] Prefixed(ReadOnlySpan<byte> bytes) => [(byte)(bytes.Length >> 8), (byte)(bytes.Length & 0xFF), .. bytes];

    private static bool IsScalar(ReadOnlySpan<byte> scalar)
    {
        Span<byte> wide = stackalloc byte[64], reduced = stackalloc byte[ScalarBytes];
        wide.Clear();
        scalar.CopyTo(wide);
        SodiumRistretto.Reduce(wide, reduced);
        return scalar.ContainsAnyExcept((byte)0) && reduced.SequenceEqual(scalar);
    }
}

/// <summary>What a check of a proof says.</summary>
internal enum ProofCheck
{
    /// <summary>It holds.</summary>
    Holds,

    /// <summary>It does not.</summary>
    Fails,

    /// <summary>A product is no point of the group, or its identity.</summary>
    InvalidPoint,
}
