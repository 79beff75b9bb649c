using System.Runtime.InteropServices;

namespace FedLearn.Alignment.Tests.Reference;

/// <summary>What the tests take from libsodium themselves, so that a scripted peer of thousands of ids is fast and shares no code with the library.</summary>
internal static unsafe partial class ReferenceSodium
{
    private const string Library = "libsodium.so.23";
    private static readonly bool IsThere = NativeLibrary.TryLoad(Library, out _);

    /// <summary>Skips the test where libsodium is absent.</summary>
    public static void Require()
    {
        if (!IsThere)
            Assert.Skip("libsodium (Debian: libsodium23) is needed.");
        Assert.True(sodium_init() >= 0);
    }

    public static byte[] Map(ReadOnlySpan<byte> uniform)
    {
        byte[] point = new byte[ReferenceGroup.Size];
        fixed (byte* result = point, input = uniform)
            Assert.Equal(0, crypto_core_ristretto255_from_hash(result, input));
        return point;
    }

    /// <summary>The product, or null for what libsodium refuses: no encoding, or the identity as product.</summary>
    public static byte[]? Multiply(ReadOnlySpan<byte> scalar, ReadOnlySpan<byte> point)
    {
        byte[] product = new byte[ReferenceGroup.Size];
        fixed (byte* result = product, n = scalar, p = point)
            return crypto_scalarmult_ristretto255(result, n, p) == 0 ? product : null;
    }

    public static byte[] MultiplyBase(ReadOnlySpan<byte> scalar)
    {
        byte[] product = new byte[ReferenceGroup.Size];
        fixed (byte* result = product, n = scalar)
            Assert.Equal(0, crypto_scalarmult_ristretto255_base(result, n));
        return product;
    }

    public static bool IsValid(ReadOnlySpan<byte> point)
    {
        fixed (byte* p = point)
            return crypto_core_ristretto255_is_valid_point(p) == 1;
    }

    public static byte[] Add(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        byte[] sum = new byte[ReferenceGroup.Size];
        fixed (byte* result = sum, p = left, q = right)
            Assert.Equal(0, crypto_core_ristretto255_add(result, p, q));
        return sum;
    }

#pragma warning disable SYSLIB1054 // libsodium's names as they are
    [DllImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int sodium_init();

    [DllImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int crypto_core_ristretto255_from_hash(byte* point, byte* uniform);

    [DllImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int crypto_scalarmult_ristretto255(byte* product, byte* scalar, byte* point);

    [DllImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int crypto_scalarmult_ristretto255_base(byte* product, byte* scalar);

    [DllImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int crypto_core_ristretto255_is_valid_point(byte* point);

    [DllImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int crypto_core_ristretto255_add(byte* sum, byte* left, byte* right);
#pragma warning restore SYSLIB1054
}
