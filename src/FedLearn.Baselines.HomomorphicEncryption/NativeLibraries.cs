using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>The native libraries of this assembly: an import's name, and the file names under which systems have it, in the order in which they are tried. An assembly can have one resolver
/// only, so all are listed here.</summary>
internal static class NativeLibraries
{
    private static readonly Dictionary<string, string[]> Candidates = new()
    {
        [Paillier.Gmp.Library] = ["libgmp.so.10", "libgmp.10.dylib", "libgmp-10.dll", "libgmp.so", "libgmp.dylib", "gmp"],
    };

    private static readonly ConcurrentDictionary<string, nint> Loaded = new();

    /// <summary>The handle of a library of the table, or 0 where it is missing.</summary>
    /// <param name="name">Name of the imports.</param>
    internal static nint Find(string name) => Loaded.GetOrAdd(name, static key => Candidates.TryGetValue(key, out string[]? files) ? Load(files) : 0);

    /// <summary>The handle of the first file that can be loaded, or 0.</summary>
    internal static nint Load(IEnumerable<string> files)
    {
        foreach (string file in files)
            if (NativeLibrary.TryLoad(file, Assembly.GetExecutingAssembly(), DllImportSearchPath.SafeDirectories | DllImportSearchPath.AssemblyDirectory, out nint handle))
                return handle;
        return 0;
    }

    [ModuleInitializer]
    [System.Diagnostics.CodeAnalysis.SuppressMessage("Usage", "CA2255:The 'ModuleInitializer' attribute should not be used in libraries", Justification = "A resolver must be set before the first import is bound.")]
    internal static void Register() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, static (name, _, _) => Find(name));
}
