using System.Runtime.InteropServices;

namespace FedLearn.Cli.Tests;

/// <summary>What private set intersection needs of this machine.</summary>
internal static class Sodium
{
    /// <summary>Skips a test where there is no libsodium.</summary>
    public static void Require()
    {
        bool there = NativeLibrary.TryLoad("libsodium.so.23", out nint handle) || NativeLibrary.TryLoad("libsodium", out handle);
        if (there)
            NativeLibrary.Free(handle);
        Assert.SkipUnless(there, "libsodium is not installed: eng/setup.sh psi.");
    }
}
