using System.Runtime.InteropServices;
using FedLearn.Diagnostics;

namespace FedLearn.Baselines.HomomorphicEncryption.Paillier;

/// <summary>GMP's integer of any length, laid out as its <c>mpz_t</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Mpz
{
    public int Allocated;
    public int Size;
    public ulong* Limbs;

    /// <summary>A number for reading only, over limbs that stay where they are. GMP wants no leading zeros.</summary>
    public static Mpz Read(ulong* limbs, int count)
    {
        while (count > 0 && limbs[count - 1] == 0)
            count--;
        return new Mpz { Size = count, Limbs = limbs };
    }
}

/// <summary>What this assembly uses of GMP, with limbs of 64 bits. GMP ends the process where memory is short; every size here is bounded by the key's.</summary>
internal static unsafe partial class Gmp
{
    internal const string Library = "gmp";

    private static readonly Lazy<string> Loaded = new(() => Check(NativeLibraries.Find(Library)));

    /// <summary>Loads the library, or says how to install it.</summary>
    /// <returns>Its version.</returns>
    /// <exception cref="InternalFailureException">FL6207: it is missing, too old, or built with other limbs.</exception>
    internal static string Require() => Loaded.Value;

    internal static string Check(nint handle)
    {
        if (handle == 0)
            throw Missing("the library cannot be loaded; Paillier encryption needs it.");
        // mpz_powm_sec is of 5.0 and newer.
        if (!NativeLibrary.TryGetExport(handle, "__gmp_version", out nint version) || !NativeLibrary.TryGetExport(handle, "__gmp_bits_per_limb", out nint bits)
            || !NativeLibrary.TryGetExport(handle, "__gmpz_powm_sec", out _))
            throw Missing("the library that was found is older than version 5.0.");
        if (*(int*)bits != 64)
            throw Missing("the library that was found has no limbs of 64 bits.");
        return Marshal.PtrToStringUTF8(*(nint*)version) ?? "";
    }

    private static InternalFailureException Missing(string cause) => new(HeErrors.GmpMissing, "GMP", cause,
        "Run eng/setup.sh he (Debian: apt-get install libgmp10), or put GMP where the system finds libraries.");

    [LibraryImport(Library, EntryPoint = "__gmpz_init2"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Init(Mpz* x, CULong bits);

    [LibraryImport(Library, EntryPoint = "__gmpz_clear"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Clear(Mpz* x);

    [LibraryImport(Library, EntryPoint = "__gmpz_add"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Add(Mpz* r, Mpz* a, Mpz* b);

    [LibraryImport(Library, EntryPoint = "__gmpz_sub"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Subtract(Mpz* r, Mpz* a, Mpz* b);

    [LibraryImport(Library, EntryPoint = "__gmpz_mul"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Multiply(Mpz* r, Mpz* a, Mpz* b);

    /// <summary>r = a / b, which leaves no remainder.</summary>
    [LibraryImport(Library, EntryPoint = "__gmpz_divexact"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void DivideExactly(Mpz* r, Mpz* a, Mpz* b);

    /// <summary>r = a mod m, in [0, m) whatever the sign of a.</summary>
    [LibraryImport(Library, EntryPoint = "__gmpz_mod"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Mod(Mpz* r, Mpz* a, Mpz* m);

    [LibraryImport(Library, EntryPoint = "__gmpz_fdiv_ui"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial CULong Mod(Mpz* a, CULong m);

    [LibraryImport(Library, EntryPoint = "__gmpz_gcd"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Gcd(Mpz* r, Mpz* a, Mpz* b);

    /// <summary>r = 1 / a mod m, for a unit a.</summary>
    internal static void Invert(Mpz* r, Mpz* a, Mpz* m)
    {
        if (TryInvert(r, a, m) == 0)
            throw new ArithmeticException("A number without an inverse passed the checks.");
    }

    [LibraryImport(Library, EntryPoint = "__gmpz_invert"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int TryInvert(Mpz* r, Mpz* a, Mpz* m);

    [LibraryImport(Library, EntryPoint = "__gmpz_powm"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Power(Mpz* r, Mpz* a, Mpz* exponent, Mpz* m);

    /// <summary>As <see cref="Power"/>, in time and with memory accesses that depend on sizes alone. For m odd and exponents above 0.</summary>
    [LibraryImport(Library, EntryPoint = "__gmpz_powm_sec"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void PowerSecret(Mpz* r, Mpz* a, Mpz* exponent, Mpz* m);

    [LibraryImport(Library, EntryPoint = "__gmpz_cmp"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial int Compare(Mpz* a, Mpz* b);

    /// <summary>0: composite. 1: probably prime. 2: prime. Baillie-PSW, then Miller-Rabin with <paramref name="rounds"/> - 24 bases.</summary>
    [LibraryImport(Library, EntryPoint = "__gmpz_probab_prime_p"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial int ProbablyPrime(Mpz* a, int rounds);

    /// <summary>The 2n limbs of a b, of n limbs each.</summary>
    [LibraryImport(Library, EntryPoint = "__gmpn_mul_n"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Multiply(ulong* r, ulong* a, ulong* b, nint n);

    /// <summary>Quotient, of an - dn + 1 limbs, and remainder, of dn limbs. The highest limb of d is not 0; extra is 0.</summary>
    [LibraryImport(Library, EntryPoint = "__gmpn_tdiv_qr"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial void Divide(ulong* quotient, ulong* remainder, nint extra, ulong* a, nint an, ulong* d, nint dn);
}
