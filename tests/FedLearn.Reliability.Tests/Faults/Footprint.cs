namespace FedLearn.Reliability.Tests.Faults;

/// <summary>What this process holds: memory that the collector cannot free, and open files and sockets.</summary>
/// <param name="HeapBytes">Bytes of the garbage-collected heap after a full collection.</param>
/// <param name="Handles">Open files and sockets; 0 where the system does not list them.</param>
internal sealed record Footprint(long HeapBytes, int Handles)
{
    /// <summary>Measures.</summary>
    public static Footprint Now()
    {
        for (int i = 0; i < 2; i++)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }

        return new Footprint(GC.GetTotalMemory(forceFullCollection: true), OpenHandles());
    }

    /// <summary>Measures until the growth since an earlier time is within bounds, for half a minute at most: servers let go of buffers and sockets a little after their end.</summary>
    /// <returns>The last measurement, which is beyond the bounds when that did not help.</returns>
    public static async Task<Footprint> SettledAsync(Footprint before, long heapGrowth, int handleGrowth)
    {
        long start = TimeProvider.System.GetTimestamp();
        while (true)
        {
            Footprint now = Now();
            if ((now.HeapBytes <= before.HeapBytes + heapGrowth && now.Handles <= before.Handles + handleGrowth) || TimeProvider.System.GetElapsedTime(start) > TimeSpan.FromSeconds(30))
                return now;
            await Task.Yield();
        }
    }

    /// <summary>Open files and sockets of this process, but for the program's own files, which are opened when their code is first needed and stay open.</summary>
    public static int OpenHandles() => HandleKinds().Count();

    /// <summary>How many open files and sockets there are of each kind.</summary>
    public static string KindsOfHandles() => string.Join(", ", HandleKinds().GroupBy(kind => kind).OrderByDescending(g => g.Count()).Select(g => $"{g.Count()} {g.Key}"));

    private static IEnumerable<string> HandleKinds() => !Directory.Exists("/proc/self/fd") ? [] : Directory.GetFileSystemEntries("/proc/self/fd")
        .Select(path => new FileInfo(path).LinkTarget?.Split(':')[0] ?? "gone").Where(kind => Path.GetExtension(kind) is not (".dll" or ".pdb" or ".so"));

    /// <summary>Resident memory of this process in bytes.</summary>
    public static long Resident() => Environment.WorkingSet;

    /// <summary>Starts the measurement of <see cref="PeakResident"/> anew, where the system can.</summary>
    public static void ForgetPeak()
    {
        try
        {
            File.WriteAllText("/proc/self/clear_refs", "5");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The peak is then that since the start of the process.
        }
    }

    /// <summary>Largest resident memory of this process in bytes.</summary>
    public static long PeakResident()
    {
        using var self = System.Diagnostics.Process.GetCurrentProcess();
        return self.PeakWorkingSet64;
    }

    /// <summary>The footprint as a text.</summary>
    public override string ToString() => FormattableString.Invariant($"{HeapBytes / 1e6:0.0} MB heap, {Handles} handles");
}
