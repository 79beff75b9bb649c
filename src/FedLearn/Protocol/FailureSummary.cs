using FedLearn.Diagnostics;

namespace FedLearn.Protocol;

/// <summary>Finds the cause among the errors of several parties.</summary>
internal static class FailureSummary
{
    /// <summary>The first error that is not a mere echo of another party's.</summary>
    public static Exception Root(IEnumerable<Exception> failures)
    {
        Exception[] all = [.. failures];
        return all.FirstOrDefault(f => !IsEcho((f as FedLearnException)?.Id)) ?? all[0];
    }

    /// <summary>Whether an error only says that another party failed.</summary>
    public static bool IsEcho(string? id) => id is ProtocolErrors.PeerAborted or ProtocolErrors.PeerGone or ProtocolErrors.PartyMissing or ProtocolErrors.TimedOut
        or ProtocolErrors.CannotConnect;
}
