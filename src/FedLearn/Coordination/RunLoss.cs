using FedLearn.Diagnostics;
using FedLearn.Protocol;

namespace FedLearn.Coordination;

/// <summary>Tells a run that was cut off, and can go on, from one that has failed.</summary>
internal static class RunLoss
{
    /// <summary>Whether a run that ended with this error lost a peer, was stopped, or had no room for its model: nothing is wrong with the run itself. Where a peer gave up it is the peer's
    /// own error that decides, and where that is once more the error of a third party, the doubt is in favour of going on: parties that disagree begin anew.</summary>
    public static bool Is(Exception error) => error switch
    {
        OperationCanceledException or ModelNotSavedException => true,
        PeerException { Id: ProtocolErrors.PeerAborted } gaveUp => gaveUp.PeerErrorId is null or ProtocolErrors.PeerAborted or ProtocolErrors.Cancelled or ProtocolErrors.ModelNotSaved || ProtocolErrors.Losses.Contains(gaveUp.PeerErrorId),
        PeerException peer => ProtocolErrors.Losses.Contains(peer.Id),
        _ => false,
    };
}
