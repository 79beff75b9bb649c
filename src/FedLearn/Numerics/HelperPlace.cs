using System.Runtime.InteropServices;

namespace FedLearn.Numerics;

/// <summary>Keeps a helper thread off the processor of the thread that wakes it (Linux; elsewhere nothing).</summary>
/// <remarks>Where the other virtual processor has slept, Linux starts a woken thread where it was woken from: it stops the thread that it was to help, for as long as it works. Two threads with 80 us of work each then took 165 us
/// instead of 105 (a program of C on two processors of KVM, Linux 6.18, after pauses of .3 ms and more).
/// A thread can be given all processors of its waker but the one that the waker is on, which costs a microsecond when that has changed.</remarks>
internal sealed unsafe partial class HelperPlace
{
    private const int Bytes = 128;

    private readonly int _thread;
    private int _without = -1;

    private HelperPlace(int thread) => _thread = thread;

    /// <summary>The place of the calling thread, the helper; null where the system cannot be asked.</summary>
    public static HelperPlace? OfThisThread()
    {
        try
        {
            return OperatingSystem.IsLinux() ? new HelperPlace(ThreadId()) : null;
        }
        catch (EntryPointNotFoundException)
        {
            // A C library without gettid: those of before 2020.
            return null;
        }
    }

    /// <summary>Allows the helper every processor of the calling thread but the one it is on. Best effort: with one processor, or more than 1,024, the helper stays where it was.</summary>
    public void AwayFromCaller()
    {
        int here = Processor();
        if (here == _without || here is < 0 or >= Bytes * 8)
            return;
        byte* mask = stackalloc byte[Bytes];
        var processors = new Span<byte>(mask, Bytes);
        processors.Clear();
        if (Affinity(0, Bytes, mask) != 0)
            return;
        processors[here / 8] &= unchecked((byte)~(1 << (here % 8)));
        if (processors.ContainsAnyExcept((byte)0) && SetAffinity(_thread, Bytes, mask) == 0)
            _without = here;
    }

    [LibraryImport("libc", EntryPoint = "gettid")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int ThreadId();

    [LibraryImport("libc", EntryPoint = "sched_getcpu")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Processor();

    [LibraryImport("libc", EntryPoint = "sched_getaffinity")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Affinity(int thread, nint bytes, byte* mask);

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SetAffinity(int thread, nint bytes, byte* mask);
}
