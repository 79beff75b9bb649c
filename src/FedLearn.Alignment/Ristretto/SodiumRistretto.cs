using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Aggregation;
using FedLearn.Diagnostics;

namespace FedLearn.Alignment.Ristretto;

/// <summary>ristretto255 of libsodium, one point after the other; and, for commitments and proofs, the arithmetic of single points and scalars. Every return code is checked.</summary>
internal sealed unsafe partial class SodiumRistretto : IRistrettoEngine
{
    private const string Library = "libsodium";

    public const int PointBytes = 32, ScalarBytes = 32, HashBytes = 64;

    // RFC 9496 appendix A.1: the generator. A library that answers otherwise must not touch an id.
    private const string Generator = "E2F2AE0A6ABC4E71A884A961C500515F58E30B6AA582DD8DB6A65945E08D2D76";

    private static readonly SodiumRistretto Shared = new();

    private static readonly Lazy<nint> Loaded = new(Load);

    private SodiumRistretto() { }

    /// <summary>The engine; one serves all.</summary>
    /// <exception cref="InternalFailureException">FL6160: libsodium is missing. FL6161: it computes wrongly.</exception>
    public static SodiumRistretto Instance
    {
        get
        {
            Require();
            return Shared;
        }
    }

    /// <inheritdoc />
    public string Name => "libsodium";

    /// <inheritdoc />
    public void Blind(ReadOnlySpan<byte> hashes, ReadOnlySpan<byte> scalar, Span<byte> points)
    {
        int n = points.Length / PointBytes;
        Lengths(scalar.Length == ScalarBytes && points.Length == n * PointBytes && hashes.Length == n * HashBytes);
        byte* mapped = stackalloc byte[PointBytes];
        fixed (byte* hash = hashes, k = scalar, point = points)
        {
            for (int i = 0; i < n; i++)
            {
                Check(crypto_core_ristretto255_from_hash(mapped, hash + (i * HashBytes)) == 0);
                // Fails for the identity alone, which a hash is with a probability of 2^-252.
                Check(crypto_scalarmult_ristretto255(point + (i * PointBytes), k, mapped) == 0);
            }
        }
    }

    /// <inheritdoc />
    public int Multiply(ReadOnlySpan<byte> points, ReadOnlySpan<byte> scalar, Span<byte> products)
    {
        int n = points.Length / PointBytes;
        Lengths(scalar.Length == ScalarBytes && points.Length == n * PointBytes && products.Length == points.Length);
        fixed (byte* point = points, k = scalar, product = products)
        {
            for (int i = 0; i < n; i++)
                if (crypto_scalarmult_ristretto255(product + (i * PointBytes), k, point + (i * PointBytes)) != 0)
                    return i; // no canonical encoding, or the product is the identity, which in a group of prime order only the identity's is
        }

        return -1;
    }

    /// <summary>scalar * B, with B the generator.</summary>
    public static void MultiplyBase(ReadOnlySpan<byte> scalar, Span<byte> point)
    {
        Require();
        Lengths(scalar.Length == ScalarBytes && point.Length == PointBytes);
        fixed (byte* k = scalar, p = point)
            Check(crypto_scalarmult_ristretto255_base(p, k) == 0);
    }

    /// <summary>scalar * point, of which both are known to be valid.</summary>
    public static void MultiplyValid(ReadOnlySpan<byte> point, ReadOnlySpan<byte> scalar, Span<byte> product) => Check(Instance.Multiply(point, scalar, product) < 0);

    /// <summary>The sum of scalars times points.</summary>
    /// <param name="points">Encodings, at least one; whatever a peer sent.</param>
    /// <param name="scalars">32 bytes a point.</param>
    /// <param name="sum">Its encoding.</param>
    /// <returns>Number of the first point that is no canonical encoding or the identity; -1 for none.</returns>
    public static int Combine(ReadOnlySpan<byte> points, ReadOnlySpan<byte> scalars, Span<byte> sum)
    {
        Require();
        int n = points.Length / PointBytes;
        Lengths(n > 0 && points.Length == n * PointBytes && scalars.Length == n * ScalarBytes && sum.Length == PointBytes);
        byte* product = stackalloc byte[PointBytes];
        fixed (byte* point = points, k = scalars, total = sum)
        {
            for (int i = 0; i < n; i++)
            {
                if (crypto_scalarmult_ristretto255(i == 0 ? total : product, k + (i * ScalarBytes), point + (i * PointBytes)) != 0)
                    return i;
                if (i > 0)
                    Check(crypto_core_ristretto255_add(total, total, product) == 0);
            }
        }

        return -1;
    }

    /// <summary>The sum of two points.</summary>
    /// <returns>False where one of them is no canonical encoding.</returns>
    public static bool TryAdd(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right, Span<byte> sum)
    {
        Require();
        Lengths(left.Length == PointBytes && right.Length == PointBytes && sum.Length == PointBytes);
        fixed (byte* p = left, q = right, r = sum)
            return crypto_core_ristretto255_add(r, p, q) == 0;
    }

    /// <summary>A scalar from 1 to the order of the group less 1, uniform.</summary>
    public static void RandomScalar(Span<byte> scalar)
    {
        Require();
        Lengths(scalar.Length == ScalarBytes);
        fixed (byte* k = scalar)
            crypto_core_ristretto255_scalar_random(k);
    }

    /// <summary>A number of 64 bytes, little-endian, modulo the order of the group.</summary>
    public static void Reduce(ReadOnlySpan<byte> wide, Span<byte> scalar)
    {
        Require();
        Lengths(wide.Length == HashBytes && scalar.Length == ScalarBytes);
        fixed (byte* w = wide, k = scalar)
            crypto_core_ristretto255_scalar_reduce(k, w);
    }

    /// <summary>left - factor * right modulo the order of the group.</summary>
    public static void SubtractProduct(ReadOnlySpan<byte> left, ReadOnlySpan<byte> factor, ReadOnlySpan<byte> right, Span<byte> difference)
    {
        Require();
        Lengths(left.Length == ScalarBytes && factor.Length == ScalarBytes && right.Length == ScalarBytes && difference.Length == ScalarBytes);
        Span<byte> product = stackalloc byte[ScalarBytes];
        fixed (byte* a = left, c = factor, b = right, d = difference, p = product)
        {
            crypto_core_ristretto255_scalar_mul(p, c, b);
            crypto_core_ristretto255_scalar_sub(d, a, p);
        }

        CryptographicOperations.ZeroMemory(product);
    }

    private static void Require() => _ = Loaded.Value;

    private static nint Load()
    {
        nint handle = Sodium.Find();
        if (handle == 0)
        {
            throw new InternalFailureException(PsiErrors.NoSodium, "libsodium", "the library cannot be loaded; private set intersection needs it.",
                "Run eng/setup.sh psi (Debian: apt-get install libsodium23), or put libsodium where the system finds libraries.");
        }

        NativeLibrary.SetDllImportResolver(typeof(SodiumRistretto).Assembly, (name, _, _) => name == Library ? handle : 0);
        // 0: ready; 1: was ready already.
        Check(sodium_init() >= 0);
        byte* one = stackalloc byte[ScalarBytes], generator = stackalloc byte[PointBytes];
        new Span<byte>(one, ScalarBytes).Clear();
        one[0] = 1;
        Check(crypto_scalarmult_ristretto255_base(generator, one) == 0);
        Check(new ReadOnlySpan<byte>(generator, PointBytes).SequenceEqual(Convert.FromHexString(Generator)));
        return handle;
    }

    // The native functions read and write fixed lengths.
    private static void Lengths(bool right)
    {
        if (!right)
            throw new ArgumentException("A scalar, a hash or a point has the wrong length.");
    }

    private static void Check(bool succeeded)
    {
        if (!succeeded)
            throw new InternalFailureException(PsiErrors.EngineFault, "libsodium", "a call failed that has no reason to.", "Reinstall libsodium; if it persists, report it.");
    }

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int sodium_init();

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_core_ristretto255_from_hash(byte* point, byte* hash);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_core_ristretto255_add(byte* sum, byte* left, byte* right);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_scalarmult_ristretto255(byte* product, byte* scalar, byte* point);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_scalarmult_ristretto255_base(byte* product, byte* scalar);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial void crypto_core_ristretto255_scalar_random(byte* scalar);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial void crypto_core_ristretto255_scalar_reduce(byte* scalar, byte* wide);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial void crypto_core_ristretto255_scalar_mul(byte* product, byte* left, byte* right);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial void crypto_core_ristretto255_scalar_sub(byte* difference, byte* left, byte* right);
}
