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
    /// <param name="shareOf">Share of the cost that so many messages make up, by what the ledger holds of them; 0 for none unless the state knows better.</param>
    /// <returns>What a report must say: why the charge could not be settled; null where it was, or there was none.</returns>
    public static string? Forget(IRunStore store, CutOffRun run, IPrivacyLedger? ledger, Func<IRunState, int, double> shareOf)
    {
        using IRunState state = store.Continue(run);
        string? warning = null;
        try
        {
            if (ledger?.Entries.FirstOrDefault(e => e.Charge.RunId == run.Run.RunId && e.State == ChargeState.Reserved) is { } entry)
            {
                using IPrivacyReservation reservation = ledger.Reserve(entry.Charge);
                reservation.Settle(shareOf(state, reservation.Kept));
            }
        }
        catch (FedLearnException e)
        {
            // Too much rather than too little.
            warning = StaysInFull("a run of this job that was cut off", e);
        }

        state.Remove();
        return warning;
    }

    /// <summary>Says that a charge counts as it was reserved.</summary>
    /// <param name="run">Whose charge.</param>
    /// <param name="error">Why it could not be settled.</param>
    public static string StaysInFull(string run, FedLearnException error) => $"the end of {run} could not be written to the ledger ({error.Id}), where it stays charged in full";
}
