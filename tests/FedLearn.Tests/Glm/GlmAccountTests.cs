using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Tests.Dssm;

namespace FedLearn.Tests.Glm;

public class GlmAccountTests
{
    private const string Mechanism = "gaussian: something";

    private static readonly GlmJob Job = new()
    {
        Name = "credit",
        Model = new() { Family = GlmFamilies.Binomial },
        Training = new() { WeightNorm = 1, ResidualClip = 1 },
        Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-5) },
        Parties = [new() { Party = new("bank", PartyRole.Active) }, new() { Party = new("telco", PartyRole.Passive) }],
    };

    private readonly KeepingLedger _ledger = new();

    private GlmAccount Open(string job = "job", string party = "bank", string? runId = null, IPrivacyLedger? ledger = null) => new(GlmPlan.Create(Job),
        new GlmPartyInput { Party = party, Table = Table.FromMatrix(["a"], ["x"], new DenseMatrix(1, 1)), Ledger = ledger ?? _ledger }, new Lazy<DataSetIdentity>(DataSetIdentity.Of(new byte[32])), job, runId);

    private static void Charge(GlmAccount account, PrivacyUnit unit = PrivacyUnit.Record) => account.Reserve(Mechanism, new JsonObject(), unit, 1, 0, 1).Keep(0, [1]);

    /// <summary>A charge of a run that has ended, or has not.</summary>
    private string Charged(bool ends, string job = "job", string party = "bank")
    {
        string run = PrivacyCharge.NewRunId();
        using GlmAccount account = Open(job, party, run);
        Charge(account);
        if (!ends)
            account.Suspend();
        return run;
    }

    [Fact]
    public void Abandoned_RunsThatEndedOrAreOthers_DoNotCount()
    {
        Charged(ends: true);
        Charged(ends: false, job: "another");
        Charged(ends: false, party: "telco");
        string own = Charged(ends: false);
        using GlmAccount going = Open(runId: own);
        Assert.Equal(0, going.Abandoned());
        using GlmAccount begun = Open();
        Assert.Equal(1, begun.Abandoned());
    }

    [Fact]
    public void IsUnderWay_OwnChargeOfThatNameThatIsOpen_Alone()
    {
        string open = Charged(ends: false), ended = Charged(ends: true);
        using GlmAccount going = Open(runId: open), after = Open(runId: ended), other = Open();
        Assert.Equal((true, false, false, false), (going.IsUnderWay(Mechanism), going.IsUnderWay("another"), after.IsUnderWay(Mechanism), other.IsUnderWay(Mechanism)));
    }

    [Theory]
    [InlineData(PrivacyUnit.Record, "for replacing one row")]
    [InlineData(PrivacyUnit.Label, "for changing the label of one row")]
    public void Claim_OfAUnit_SaysWhatIsProtected(PrivacyUnit unit, string protects)
    {
        using GlmAccount account = Open();
        Charge(account, unit);
        Assert.EndsWith(protects, Assert.Single(_ledger.Entries).Charge.Claim, StringComparison.Ordinal);
    }
}
