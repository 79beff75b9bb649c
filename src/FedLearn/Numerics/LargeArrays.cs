using System.Runtime.InteropServices;

namespace FedLearn.Numerics;

/// <summary>Arrays of cells that passes read from end to end.</summary>
internal static unsafe partial class LargeArrays
{
    private const long LeastBytes = 8 << 20, HugePage = 2 << 20;

    private const int AdviseHugePages = 14;

    /// <summary>An array of zeros. A large one asks Linux for pages of 2 MiB, which it gives to those who ask, as memory is first touched: a pass over cells that do not fit in the caches then
    /// walks fewer page tables. Without effect elsewhere and where the memory was in use before.</summary>
    public static T[] Create<T>(long length) where T : unmanaged
    {
        var array = new T[length];
        if (length * sizeof(T) < LeastBytes || !OperatingSystem.IsLinux())
            return array;
        fixed (T* cells = array)
        {
            nint first = ((nint)cells + (nint)HugePage - 1) & ~((nint)HugePage - 1), end = (nint)(cells + length) & ~((nint)HugePage - 1);
            // The answer does not matter: without huge pages the array is the same, and passes are slower.
            if (end > first)
                _ = Advise((void*)first, (nuint)(end - first), AdviseHugePages);
        }

        return array;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Advise(void* address, nuint length, int advice);
}
