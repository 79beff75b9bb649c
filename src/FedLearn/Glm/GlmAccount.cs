using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>A party's side of the ledger for one run of a GLM job.</summary>
/// <param name="plan">The job.</param>
/// <param name="input">What the party brings.</param>
/// <param name="dataSet">The people of its table; asked for when something is charged.</param>
/// <param name="jobDigest">Digest of the job; empty while it is not agreed on.</param>
/// <param name="runId">Id of a run that goes on; null: the input's, else a fresh one.</param>
internal sealed class GlmAccount(GlmPlan plan, GlmPartyInput input, Lazy<DataSetIdentity> dataSet, string jobDigest, string? runId)
    : PartyAccount(new(input.Party, plan.Job.Name, jobDigest, plan.Job.Privacy.Adjacency, plan.Job.Privacy.TestNoiseSeed, plan.Private), input.Ledger, runId ?? input.RunId, dataSet)
{
    /// <summary>Whether the ledger has a charge of this run for a mechanism that is not settled: an earlier process began it.</summary>
    public bool IsUnderWay(string mechanism) => Ledger.Entries.Any(e => e.Charge.RunId == RunId && e.Charge.Mechanism == mechanism && e.State == ChargeState.Reserved);

    /// <summary>Charges of this party for this job that are not settled, and not this run's; 0 where the ledger cannot say, which is no reason to lose what the run achieved.</summary>
    public int Abandoned() => OfThisJob().Count(e => e.State == ChargeState.Reserved && e.Charge.RunId != RunId);

    /// <summary>Whether this run has cost something beside an earlier one of the same job, however that ended; false where the ledger cannot say.</summary>
    public bool IsChargedAgain() => OfThisJob().Where(e => e.PureEpsilon > 0 || e.MuSquared > 0).Select(e => e.Charge.RunId == RunId).Distinct().Count() > 1;

    /// <summary>The parameters of a charge, with the number of rows whose scores the party sends beside what is charged.</summary>
    /// <param name="parameters">The others; added to.</param>
    /// <param name="testRows">Rows that are evaluated.</param>
    public JsonObject WithScored(JsonObject parameters, int testRows)
    {
        if (testRows > 0 && plan.SendsTestScores && plan.Job.Parties.First(p => p.Party.Name == input.Party).Party.Role == PartyRole.Passive)
            parameters[PrivacyCharge.EvaluationRows] = testRows;
        return parameters;
    }

    private IEnumerable<LedgerEntry> OfThisJob()
    {
        try
        {
            return Ledger.Entries.Where(e => e.Charge.Party == input.Party && e.Charge.JobDigest == jobDigest);
        }
        catch (FedLearnException)
        {
            return [];
        }
    }

    /// <summary>The people of a table, as the ledger knows them.</summary>
    public static DataSetIdentity IdentityOf(Table table) => DataSetIdentity.Of(RowIds.Order(table.Ids, 0).Digests);

    protected override string Claim(PrivacyUnit unit, double pureEpsilon, double muSquared)
    {
        if (plan.Job.Privacy.TestNoiseSeed is not null)
            return GlmClaims.TestNoiseNotice;
        GlmPartyOptions party = plan.Job.Parties.First(p => p.Party.Name == input.Party);
        PrivacyBudget budget = plan.BudgetOf(party)!;
        string protectedPart = unit == PrivacyUnit.Label ? "changing the label of one row" : (plan.Mode, plan.Job.Privacy.Adjacency) switch
        {
            (PrivacyMode.HeDp, Adjacency.ZeroOut) => "making one person's rows at all parties null rows",
            (PrivacyMode.HeDp, _) => "replacing one person's rows at all parties",
            (_, Adjacency.ZeroOut) => "making one row the null row",
            _ => "replacing one row",
        };
        return pureEpsilon == 0 && muSquared == 0 ? $"none for features; {(party.Party.Role == PartyRole.Active ? "the labels were released and charged before" : "nothing of labels is sent")}"
            : muSquared == 0 ? string.Create(CultureInfo.InvariantCulture, $"({pureEpsilon:R}, 0)-differentially private for {protectedPart}")
            : string.Create(CultureInfo.InvariantCulture, $"mu = {Math.Sqrt(muSquared):R} (Gaussian DP; asked for epsilon {budget.Epsilon:R} at delta {budget.Delta:R}) for {protectedPart}");
    }
}
