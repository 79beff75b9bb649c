using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FedLearn.Diagnostics;

namespace FedLearn.Towers.LibTorch.Native;

/// <summary>Finds and loads the native library once. FEDLEARN_NATIVE, where it is set, is the only folder; else the runtimes folder and the folder of the program and of this
/// assembly, then build/native of the checkout that holds the program, then wherever the platform looks.</summary>
internal static class NativeLoader
{
    private static readonly Lazy<(nint Handle, InternalFailureException? Error)> Loaded = new(Load);

    internal static bool IsAvailable => Loaded.Value.Error is null;

    internal static string? Unavailable => Loaded.Value.Error?.Message;

    /// <summary>Fails where the library is not there.</summary>
    internal static void Require()
    {
        if (Loaded.Value.Error is { } error)
            throw error.Id == LibTorchErrors.NativeVersion ? new InternalFailureException(error.Id, error.Place, error.Cause, error.Remedy, error) : LibTorchErrors.Missing(error.Cause, error);
    }

    /// <summary>Folders in the order in which they are searched; public to tests.</summary>
    internal static IEnumerable<string> Folders(string? configured, string baseFolder, string? assemblyFolder)
    {
        if (!string.IsNullOrEmpty(configured))
            return [configured];
        string[] own = assemblyFolder is null || assemblyFolder == baseFolder ? [baseFolder] : [baseFolder, assemblyFolder];
        var folders = own.SelectMany(folder => new[] { Path.Combine(folder, "runtimes", RuntimeInformation.RuntimeIdentifier, "native"), folder }).ToList();
        for (DirectoryInfo? root = new(baseFolder); root is not null; root = root.Parent)
            if (File.Exists(Path.Combine(root.FullName, "FedLearn.sln")))
                folders.Add(Path.Combine(root.FullName, "build", "native"));
        return folders;
    }

    [ModuleInitializer]
    [System.Diagnostics.CodeAnalysis.SuppressMessage("Usage", "CA2255:The 'ModuleInitializer' attribute should not be used in libraries", Justification = "A resolver must be set before the first import is bound.")]
    internal static void Register() => NativeLibrary.SetDllImportResolver(typeof(NativeLoader).Assembly,
        static (name, _, _) => name == NativeMethods.Library ? Loaded.Value.Handle : 0);

    private static (nint, InternalFailureException?) Load()
    {
        string file = OperatingSystem.IsWindows() ? NativeMethods.Library + ".dll" : $"lib{NativeMethods.Library}{(OperatingSystem.IsMacOS() ? ".dylib" : ".so")}";
        string? configured = Environment.GetEnvironmentVariable("FEDLEARN_NATIVE");
        string? assemblyFolder = Path.GetDirectoryName(typeof(NativeLoader).Assembly.Location) is { Length: > 0 } folder ? folder + Path.DirectorySeparatorChar : null;
        Exception? failure = null;
        nint handle = 0;
        string? found = null;
        foreach (string path in Folders(configured, AppContext.BaseDirectory, assemblyFolder).Select(f => Path.Combine(f, file)).Where(File.Exists))
        {
            found ??= path;
            try
            {
                handle = NativeLibrary.Load(path);
                break;
            }
            catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
            {
                failure ??= e;
            }
        }

        if (handle == 0 && string.IsNullOrEmpty(configured) && !NativeLibrary.TryLoad(NativeMethods.Library, typeof(NativeLoader).Assembly, null, out handle))
            handle = 0;
        if (handle == 0)
            return (0, found is null
                ? LibTorchErrors.Missing(string.IsNullOrEmpty(configured) ? $"The native library {file} is not on this machine." : $"The folder that FEDLEARN_NATIVE names has no {file}.")
                : LibTorchErrors.Missing($"The native library {found} cannot be loaded; libtorch may be missing.", failure));
        return NativeLibrary.TryGetExport(handle, "fl_abi_version", out nint export) && AbiVersion(export) == NativeMethods.AbiVersion
            ? (handle, null)
            : (0, new InternalFailureException(LibTorchErrors.NativeVersion, "towers on libtorch", $"The native library {found ?? file} is of another version than this assembly.",
                $"Run {LibTorchErrors.SetupCommand}, or build the package's native folder again."));
    }

    private static unsafe int AbiVersion(nint export) => ((delegate* unmanaged[Cdecl]<int>)export)();
}
