using FedLearn.Alignment.Ristretto;
using FedLearn.Alignment.Tests.Reference;

namespace FedLearn.Alignment.Tests.Ristretto;

/// <summary>libsodium as an engine, one point after the other: what the vector engine is held against. Shares no code with the library.</summary>
internal sealed class SodiumReference : IRistrettoEngine
{
    private const int Size = ReferenceGroup.Size;

    private SodiumReference() { }

    public string Name => "reference";

    /// <summary>The reference; skips the test where libsodium is absent.</summary>
    public static SodiumReference Require()
    {
        ReferenceSodium.Require();
        return new();
    }

    /// <summary>The map alone.</summary>
    public static byte[] Map(ReadOnlySpan<byte> hashes)
    {
        byte[] points = new byte[hashes.Length / 2];
        for (int n = 0; n < points.Length / Size; n++)
            ReferenceSodium.Map(hashes.Slice(2 * Size * n, 2 * Size)).CopyTo(points, Size * n);
        return points;
    }

    /// <summary>Whether the bytes are an encoding, the identity's among them.</summary>
    public static bool IsValid(ReadOnlySpan<byte> encoding) => !HasHighBit(encoding) && ReferenceSodium.IsValid(encoding);

    public void Blind(ReadOnlySpan<byte> hashes, ReadOnlySpan<byte> scalar, Span<byte> points) => Assert.Equal(-1, Multiply(Map(hashes), scalar, points));

    public int Multiply(ReadOnlySpan<byte> points, ReadOnlySpan<byte> scalar, Span<byte> products)
    {
        for (int n = 0; n < points.Length / Size; n++)
        {
            ReadOnlySpan<byte> point = points.Slice(Size * n, Size);
            if (HasHighBit(point) || ReferenceSodium.Multiply(scalar, point) is not { } product)
                return n;
            product.CopyTo(products[(Size * n)..]);
        }

        return -1;
    }

    // libsodium 1.0.18 drops the highest bit, which RFC 9496 section 4.3.1 refuses.
    private static bool HasHighBit(ReadOnlySpan<byte> encoding) => (encoding[Size - 1] & 0x80) != 0;
}
