using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>Charges of mode he+dp. Their runs keep no state and never go on, so that the ledger alone knows of one that died.</summary>
internal static class JointCharges
{
    /// <summary>What they are for, as the ledger names it.</summary>
    public const string Mechanism = "gaussian: mean gradients of all parties, noised by the arbiter";

    /// <summary>What is written down beside a charge: the noise, and the schedule by which a run that died is settled.</summary>
    public static JsonObject Parameters(JointGradientCalibration noise) => new()
    {
        ["mu"] = noise.Mu,
        ["sigma"] = noise.Sigma,
        ["sensitivity"] = noise.SensitivityCharged,
        ["epochs"] = noise.Parameters.Epochs,
        ["batches"] = noise.Parameters.Batches,
    };

    /// <summary>Settles what runs of a job have left reserved at a party, by the epochs that had begun, as for a run that failed. A run that is under way is left alone.</summary>
    /// <param name="ledger">Where they were charged. One in memory has lost what was sent, and settles nothing.</param>
    /// <param name="party">The party.</param>
    /// <param name="jobName">Name of the job.</param>
    public static void Forget(IPrivacyLedger? ledger, string party, string jobName)
    {
        if (ledger is null or InMemoryLedger)
            return;
        foreach (LedgerEntry entry in ledger.Entries.Where(e => e.State == ChargeState.Reserved && e.Charge.Mechanism == Mechanism && e.Charge.Party == party && e.Charge.JobName == jobName).ToArray())
        {
            try
            {
                // Whoever works on the run holds its outbox, and nobody else gets it.
                using IPrivacyReservation reservation = ledger.Reserve(entry.Charge);
                reservation.Settle(reservation.Kept == 0 ? 0 : ShareOf(entry.Charge, reservation.Kept));
            }
            catch (FedLearnException)
            {
                // It stays charged in full: too much rather than too little.
            }
        }
    }

    // A round is written down before anything of it leaves, and an epoch that was begun counts; a charge that does not say its schedule counts in full.
    private static double ShareOf(PrivacyCharge charge, int rounds)
    {
        using var parameters = JsonDocument.Parse(charge.Parameters);
        int Number(string name) => parameters.RootElement.TryGetProperty(name, out JsonElement value) && value.TryGetInt32(out int number) && number >= 1 ? number : 0;
        (int epochs, int batches) = (Number("epochs"), Number("batches"));
        return epochs == 0 || batches == 0 || (long)epochs * batches != charge.Messages ? 1 : GlmRun.ShareOf(rounds, batches, epochs);
    }
}
