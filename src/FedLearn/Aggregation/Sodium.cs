using System.Reflection;
using System.Runtime.InteropServices;
using FedLearn.Diagnostics;

namespace FedLearn.Aggregation;

/// <summary>What .NET lacks, from libsodium: X25519 (RFC 7748) and Ed25519 (RFC 8032). Every return code is checked.</summary>
internal static partial class Sodium
{
    private const string Library = "libsodium";

    public const int KeyBytes = 32, SignatureBytes = 64, SignSecretBytes = 64;

    private static readonly string[] Names = ["libsodium.so.23", "libsodium.so.26", "libsodium.so", "libsodium.26.dylib", "libsodium.23.dylib", "libsodium.dylib", "libsodium.dll", "libsodium"];

    private static readonly Lazy<nint> Loaded = new(() =>
    {
        nint handle = Load(Names);
        NativeLibrary.SetDllImportResolver(typeof(Sodium).Assembly, (name, _, _) => name == Library ? handle : 0);
        // 0: ready; 1: was ready already.
        Check(sodium_init() >= 0);
        return handle;
    });

    /// <summary>Loads the library, or says how to install it.</summary>
    /// <exception cref="InternalFailureException">FL6143: it is missing.</exception>
    public static void Require() => _ = Loaded.Value;

    /// <summary>The library's handle, or 0 where it is missing; for other assemblies, each of which has imports and a resolver of its own.</summary>
    internal static nint Find() => Find(Names);

    internal static nint Load(IReadOnlyList<string> names) => Find(names) is var handle and not 0 ? handle
        : throw new InternalFailureException(AggregationErrors.NoSodium, "libsodium", "the library cannot be loaded; key agreement and signatures need it.",
            "Run eng/setup.sh aggregation (Debian: apt-get install libsodium23), or put libsodium where the system finds libraries.");

    private static nint Find(IReadOnlyList<string> names)
    {
        foreach (string name in names)
            if (NativeLibrary.TryLoad(name, Assembly.GetExecutingAssembly(), DllImportSearchPath.SafeDirectories | DllImportSearchPath.AssemblyDirectory, out nint handle))
                return handle;
        return 0;
    }

    /// <summary>The public key of a secret key of X25519.</summary>
    public static void PublicOf(ReadOnlySpan<byte> secret, Span<byte> publicKey)
    {
        Require();
        Lengths(secret.Length == KeyBytes && publicKey.Length == KeyBytes);
        Check(crypto_scalarmult_base(publicKey, secret) == 0);
    }

    /// <summary>What two key pairs of X25519 have in common.</summary>
    /// <returns>False for a key of low order, with which the result does not depend on the secret.</returns>
    public static bool Agree(ReadOnlySpan<byte> secret, ReadOnlySpan<byte> peer, Span<byte> shared)
    {
        Require();
        Lengths(secret.Length == KeyBytes && peer.Length == KeyBytes && shared.Length == KeyBytes);
        return crypto_scalarmult(shared, secret, peer) == 0;
    }

    /// <summary>The key pair of Ed25519 that belongs to a seed of 32 bytes.</summary>
    public static void SignPair(ReadOnlySpan<byte> seed, Span<byte> publicKey, Span<byte> secret)
    {
        Require();
        Lengths(seed.Length == KeyBytes && publicKey.Length == KeyBytes && secret.Length == SignSecretBytes);
        Check(crypto_sign_seed_keypair(publicKey, secret, seed) == 0);
    }

    public static void Sign(ReadOnlySpan<byte> message, ReadOnlySpan<byte> secret, Span<byte> signature)
    {
        Require();
        Lengths(secret.Length == SignSecretBytes && signature.Length == SignatureBytes);
        Check(crypto_sign_detached(signature, 0, message, (ulong)message.Length, secret) == 0);
    }

    public static bool Verify(ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature, ReadOnlySpan<byte> publicKey)
    {
        Require();
        return signature.Length == SignatureBytes && publicKey.Length == KeyBytes && crypto_sign_verify_detached(signature, message, (ulong)message.Length, publicKey) == 0;
    }

    // The native functions read and write fixed lengths.
    private static void Lengths(bool right)
    {
        if (!right)
            throw new ArgumentException("A key or signature has the wrong length.");
    }

    private static void Check(bool succeeded)
    {
        if (!succeeded)
            throw new InternalFailureException(AggregationErrors.SodiumFault, "libsodium", "a call failed that has no reason to.", "Reinstall libsodium; if it persists, report it.");
    }

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int sodium_init();

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_scalarmult(Span<byte> shared, ReadOnlySpan<byte> secret, ReadOnlySpan<byte> peer);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_scalarmult_base(Span<byte> publicKey, ReadOnlySpan<byte> secret);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_sign_seed_keypair(Span<byte> publicKey, Span<byte> secret, ReadOnlySpan<byte> seed);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_sign_detached(Span<byte> signature, nint signatureLength, ReadOnlySpan<byte> message, ulong messageLength, ReadOnlySpan<byte> secret);

    [LibraryImport(Library), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int crypto_sign_verify_detached(ReadOnlySpan<byte> signature, ReadOnlySpan<byte> message, ulong messageLength, ReadOnlySpan<byte> publicKey);
}
