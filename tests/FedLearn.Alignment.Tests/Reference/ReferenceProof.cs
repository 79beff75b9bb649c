using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;
using Element = FedLearn.Alignment.Tests.Reference.ReferenceGroup.Element;

namespace FedLearn.Alignment.Tests.Reference;

/// <summary>Proofs that one scalar made a chunk of products, as RFC 9497 sections 2.2.1 and 2.2.2 write them, with the context and the hashes of docs/protocol.md; on the slow group.</summary>
internal static class ReferenceProof
{
    public const int Bytes = 64;

    /// <summary>c and s, 32 bytes each, for products[i] = scalar points[i] and the commitment scalar B.</summary>
    public static byte[] Prove(byte[] session, byte[] scalar, IReadOnlyList<byte[]> points, IReadOnlyList<byte[]> products)
    {
        BigInteger k = new(scalar, isUnsigned: true), r = new(ReferencePsi.Scalar(), isUnsigned: true);
        byte[] commitment = ReferenceGroup.Encode(k * ReferenceGroup.Generator);
        (Element m, Element z) = Composites(session, commitment, points, products);
        BigInteger c = Challenge(session, commitment, m, z, r * ReferenceGroup.Generator, r * m);
        return [.. ReferenceGroup.Bytes(c), .. ReferenceGroup.Bytes(Mod(r - c * k))];
    }

    public static bool Holds(byte[] session, byte[] commitment, IReadOnlyList<byte[]> points, IReadOnlyList<byte[]> products, byte[] proof)
    {
        BigInteger c = new(proof.AsSpan(0, 32), isUnsigned: true), s = new(proof.AsSpan(32), isUnsigned: true);
        (Element m, Element z) = Composites(session, commitment, points, products);
        Element b = ReferenceGroup.Decode(commitment)!;
        return c == Challenge(session, commitment, m, z, s * ReferenceGroup.Generator + c * b, s * m + c * z);
    }

    private static (Element M, Element Z) Composites(byte[] session, byte[] commitment, IReadOnlyList<byte[]> points, IReadOnlyList<byte[]> products)
    {
        byte[] pairs = SHA512.HashData([.. points.SelectMany(point => point), .. products.SelectMany(product => product)]);
        byte[] seed = SHA512.HashData([.. Short(commitment), .. Short(pairs), .. Short([.. "Seed-"u8, .. Context(session)])]);
        (Element m, Element z) = (ReferenceGroup.Identity, ReferenceGroup.Identity);
        for (int i = 0; i < points.Count; i++)
        {
            byte[] place = [(byte)(i >> 8), (byte)(i & 0xFF)];
            BigInteger d = HashToScalar(session, [.. Short(seed), .. place, .. Short(points[i]), .. Short(products[i]), .. "Composite"u8]);
            m += d * ReferenceGroup.Decode(points[i])!;
            z += d * ReferenceGroup.Decode(products[i])!;
        }

        return (m, z);
    }

    private static BigInteger Challenge(byte[] session, byte[] commitment, params Element[] points) =>
        HashToScalar(session, [.. Short(commitment), .. points.SelectMany(point => Short(ReferenceGroup.Encode(point))), .. "Challenge"u8]);

    private static BigInteger HashToScalar(byte[] session, byte[] data) =>
        Mod(new BigInteger(ReferenceHash.ExpandMessageXmd(data, [.. "HashToScalar-"u8, .. Context(session)], 64), isUnsigned: true));

    private static byte[] Context(byte[] session) => [.. "FedLearn-PSI-v1-ristretto255-SHA512-"u8, .. session];

    private static byte[] Short(byte[] bytes)
    {
        byte[] length = new byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(length, (ushort)bytes.Length);
        return [.. length, .. bytes];
    }

    private static BigInteger Mod(BigInteger x) => ((x % ReferenceGroup.L) + ReferenceGroup.L) % ReferenceGroup.L;
}
