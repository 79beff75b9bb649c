using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>A party's side of the ledger for one run of a recommendation job. The ledger knows records; a charge is that of the job's unit, and its claim says which.</summary>
/// <param name="plan">The job.</param>
/// <param name="party">The party.</param>
/// <param name="ledger">Where charges are written down; null: in memory.</param>
/// <param name="runId">Id of a run that is resumed; null: a fresh one.</param>
/// <param name="dataSet">The users of its table; asked for when something is charged.</param>
/// <param name="jobDigest">Digest of the job; empty while it is not agreed on.</param>
internal sealed class DssmAccount(DssmPlan plan, DssmPartyOptions party, IPrivacyLedger? ledger, string? runId, Lazy<DataSetIdentity> dataSet, string jobDigest)
    : PartyAccount(new(party.Party.Name, plan.Job.Name, jobDigest, Adjacency.ReplaceOne, plan.Job.Privacy.TestNoiseSeed, plan.Private && plan.Job.Parties.Count > 1), ledger, runId, dataSet)
{
    /// <summary>The users of a table, as the ledger knows them.</summary>
    public static DataSetIdentity IdentityOf(IReadOnlyList<string> users) => DataSetIdentity.Of(RowIds.Order(users, 0).Digests);

    /// <summary>Refuses what the budget of the table's people does not allow, before a peer is met.</summary>
    /// <returns>What would be charged.</returns>
    public PrivacyTotal Check(double mu) => Check(DssmClaims.Mechanism(plan, party.Party.Role), PrivacyUnit.Record, 0, mu * mu);

    /// <summary>Reserves the cost of the whole run, before its first message.</summary>
    public IPrivacyReservation Reserve(EmbeddingCalibration calibration) => Reserve(DssmClaims.Mechanism(plan, party.Party.Role), DssmClaims.Numbers(calibration), PrivacyUnit.Record,
        calibration.MessageNoise.Releases, 0, calibration.Mu * calibration.Mu, shareOf: calibration.ShareOf);

    /// <summary>Writes down a run whose messages get no noise at this party, where it sends any that depend on its rows.</summary>
    public void ReserveDisclosed()
    {
        if (plan.Private && plan.Job.Parties.Count > 1 && !(plan.OneShot && party.Party.Role == PartyRole.Active))
            ReserveDisclosed(party.Party.Role == PartyRole.Active ? "gradients" : "embeddings", PrivacyUnit.Record, new() { ["unit"] = Unit });
    }

    /// <inheritdoc />
    protected override IEnumerable<string> Warnings(IReadOnlyList<LedgerEntry> entries, IReadOnlyList<string> caveats)
    {
        foreach (string warning in base.Warnings(entries, caveats))
            yield return warning;
        LedgerEntry[] others = [.. entries.Where(e => e.Charge.RunId != RunId && e.Costs(Party, DataSet, PrivacyUnit.Record))];
        if (others.Count(e => DssmClaims.IsOwnMessages(e.Charge)) is > 0 and var own)
            yield return $"{own} earlier {Counted.Noun(own, "run over these people is", "runs over these people are")} booked as own messages: what they told through trained parameters is in no sum of the ledger";
    }

    protected override string Unit => DssmClaims.Name(plan.Unit);

    protected override string Claim(PrivacyUnit unit, double pureEpsilon, double muSquared) => muSquared == 0 ? DssmClaims.NoClaim(plan, party) : DssmClaims.Booked(plan, party, muSquared);
}
