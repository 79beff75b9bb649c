using FedLearn.Diagnostics;

namespace FedLearn.Towers.LibTorch;

/// <summary>Errors of the towers on libtorch: FL242n, FL312n and FL613n; each has a page under docs/errors.</summary>
public static class LibTorchErrors
{
    /// <summary>The tower's options contradict themselves or are out of range.</summary>
    public const string InvalidTower = "FL2420";

    /// <summary>A TorchScript module cannot be read or compiled.</summary>
    public const string ModuleUnreadable = "FL2421";

    /// <summary>A TorchScript module does not take the tower's inputs, or does not give its vectors.</summary>
    public const string ModuleDoesNotFit = "FL2422";

    /// <summary>The bytes of a saved tower are not those of this tower.</summary>
    public const string ForeignState = "FL3120";

    /// <summary>The native library, or libtorch under it, is not on this machine.</summary>
    public const string NativeMissing = "FL6130";

    /// <summary>The native library is of another version than this assembly.</summary>
    public const string NativeVersion = "FL6131";

    /// <summary>libtorch or the native library failed, such as for want of memory.</summary>
    public const string NativeFailed = "FL6132";

    /// <summary>A TorchScript module failed on rows of a party.</summary>
    public const string ModuleFailed = "FL6133";

    internal const string SetupCommand = "eng/setup.sh towers";

    internal static InternalFailureException Missing(string cause, Exception? inner = null) => new(NativeMissing, "towers on libtorch", cause,
        $"Run {SetupCommand}; elsewhere build the package's native folder as its readme says, and name the result's folder in FEDLEARN_NATIVE.", inner);
}
