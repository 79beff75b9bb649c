using FedLearn.Diagnostics;

namespace FedLearn.Protocol;

/// <summary>Finds the cause among the errors of several parties.</summary>
internal static class FailureSummary
{
    /// <summary>The first of the errors that are nearest to the cause: no mere echo of another party's; else who waited too long, since the others were then told so; else who met nobody.</summary>
    public static Exception Root(IEnumerable<Exception> failures) => failures.MinBy(f => (f as FedLearnException)?.Id switch
    {
        ProtocolErrors.TimedOut => 1,
        ProtocolErrors.PartyMissing or ProtocolErrors.CannotConnect => 2,
        { } id when IsEcho(id) => 3,
        _ => 0,
    })!;

    /// <summary>Whether an error only says that another party failed.</summary>
    public static bool IsEcho(string? id) => id is ProtocolErrors.PeerAborted or ProtocolErrors.PeerGone or ProtocolErrors.PartyMissing or ProtocolErrors.TimedOut
        or ProtocolErrors.CannotConnect;
}
