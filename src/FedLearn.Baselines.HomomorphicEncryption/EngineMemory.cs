using System.Diagnostics;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>Memory of the processes that engines ran in, beside this one.</summary>
public static class EngineMemory
{
    private static readonly Lock Gate = new();
    private static long _peak;

    /// <summary>Sum of the largest resident sizes of all engine processes that this process has ended, in bytes; 0 where engines run inside this process.</summary>
    public static long PeakBytes
    {
        get
        {
            lock (Gate)
                return _peak;
        }
    }

    /// <summary>Counts a process that is about to be ended.</summary>
    internal static void Count(Process process)
    {
        try
        {
            process.Refresh();
            lock (Gate)
                _peak += process.PeakWorkingSet64;
        }
        catch (InvalidOperationException)
        {
            // It has ended by itself, and its figures with it.
        }
    }
}
