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

    /// <summary>Whether a run that ended with this error stays, charged in full, so that it can go on; one that failed never will.</summary>
    /// <param name="error">The error.</param>
    /// <param name="resumed">Whether the run had gone on: with a smaller limit on messages than it began with, which a larger one mends.</param>
    public static bool LeavesRun(Exception error, bool resumed) => Is(error) || RunStateErrors.IsOfStorage((error as PeerException)?.PeerErrorId ?? (error as FedLearnException)?.Id)
        || (resumed && error is PeerException { Id: ProtocolErrors.TooLarge } or PeerException { PeerErrorId: ProtocolErrors.TooLarge });
}
