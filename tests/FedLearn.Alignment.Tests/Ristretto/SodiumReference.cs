using System.Runtime.InteropServices;
using FedLearn.Alignment.Ristretto;

namespace FedLearn.Alignment.Tests.Ristretto;

/// <summary>libsodium as an engine, one point after the other: what the vector engine is held against. Shares no code with the library.</summary>
internal sealed unsafe partial class SodiumReference : IRistrettoEngine
{
    private const string Library = "libsodium.so.23";
    private static readonly bool IsThere = NativeLibrary.TryLoad(Library, out _);

    private SodiumReference()
    {
    }

    public string Name => "reference";

    /// <summary>The reference; skips the test where libsodium is absent.</summary>
    public static SodiumReference Require()
    {
        if (!IsThere) Assert.Skip("libsodium (Debian: libsodium23) is needed.");
        Assert.True(sodium_init() >= 0);
        return new();
    }

    /// <summary>The map alone.</summary>
    public static byte[] Map(ReadOnlySpan<byte> hashes)
    {
        var points = new byte[hashes.Length / 2];
        fixed (byte* hash = hashes, point = points)
        {
            for (var n = 0; n < points.Length / 32; n++) Assert.Equal(0, crypto_core_ristretto255_from_hash(point + (32 * n), hash + (64 * n)));
        }

        return points;
    }

    /// <summary>Whether the bytes are an encoding, the identity's among them.</summary>
    public static bool IsValid(ReadOnlySpan<byte> encoding)
    {
        fixed (byte* point = encoding) return (point[31] & 0x80) == 0 && crypto_core_ristretto255_is_valid_point(point) == 1;
    }

    public void Blind(ReadOnlySpan<byte> hashes, ReadOnlySpan<byte> scalar, Span<byte> points) => Assert.Equal(-1, Multiply(Map(hashes), scalar, points));

    public int Multiply(ReadOnlySpan<byte> points, ReadOnlySpan<byte> scalar, Span<byte> products)
    {
        fixed (byte* point = points, s = scalar, product = products)
        {
            for (var n = 0; n < points.Length / 32; n++)
            {
                // libsodium 1.0.18 drops the highest bit, which RFC 9496 section 4.3.1 refuses.
                if ((points[(32 * n) + 31] & 0x80) != 0) return n;
                if (crypto_scalarmult_ristretto255(product + (32 * n), s, point + (32 * n)) != 0) return n;
            }
        }

        return -1;
    }

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int sodium_init();

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_core_ristretto255_from_hash(byte* point, byte* hash);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_scalarmult_ristretto255(byte* product, byte* scalar, byte* point);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_core_ristretto255_is_valid_point(byte* point);
}
