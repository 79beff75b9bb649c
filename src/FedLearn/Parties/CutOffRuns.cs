using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Parties;

/// <summary>What becomes of a run that was cut off and will not go on.</summary>
internal static class CutOffRuns
{
    /// <summary>Forgets it: settles its charge, where the ledger still has it reserved, and removes its state.</summary>
    /// <param name="store">Where its state is.</param>
    /// <param name="run">The run.</param>
    /// <param name="ledger">Where it was charged; null: nowhere.</param>
    /// <param name="shareOf">Share of the cost that so many messages make up; asked for when some have left.</param>
    public static void Forget(IRunStore store, CutOffRun run, IPrivacyLedger? ledger, Func<IRunState, int, double> shareOf)
    {
        using IRunState state = store.Continue(run);
        try
        {
            if (ledger?.Entries.FirstOrDefault(e => e.Charge.RunId == run.Run.RunId && e.State == ChargeState.Reserved) is { } entry)
            {
                using IPrivacyReservation reservation = ledger.Reserve(entry.Charge);
                reservation.Settle(reservation.Kept == 0 ? 0 : shareOf(state, reservation.Kept));
            }
        }
        catch (FedLearnException)
        {
            // It stays charged in full: too much rather than too little.
        }

        state.Remove();
    }
}
