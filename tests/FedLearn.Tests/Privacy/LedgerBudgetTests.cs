using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

/// <summary>What a ledger of one's own is spared: the rules by which a lifetime budget counts. Those of the SQLite ledger are tested with it.</summary>
public class LedgerBudgetTests
{
    private static readonly LedgerBudget Budget = new(Epsilon: 1, Delta: 0);

    private static PrivacyCharge Pure(double epsilon, PrivacyUnit unit = PrivacyUnit.Record, Adjacency adjacency = Adjacency.ReplaceOne) =>
        TestCharge.New() with { RunId = PrivacyCharge.NewRunId(), PureEpsilon = epsilon, MuSquared = 0, Unit = unit, Adjacency = adjacency };

    private static LedgerEntry Entry(PrivacyCharge charge, double share = 1) => new(charge, ChargeState.Reserved, share, default);

    private static void Refuses(IEnumerable<LedgerEntry> entries, PrivacyCharge charge, int runs = 1)
    {
        PrivacyRefusedException refused = Assert.Throws<PrivacyRefusedException>(() => Budget.Check(entries, charge, "charges", runs));
        Assert.Equal((PrivacyErrors.BudgetSpent, "charges"), (refused.Id, refused.Place));
    }

    [Fact]
    public void Check_WhatIsSpentCountsAgainstTheCharge()
    {
        Budget.Check([], Pure(1), "charges");
        Budget.Check([Entry(Pure(.5))], Pure(.5), "charges");
        Budget.Check([Entry(Pure(1), share: .5)], Pure(.5), "charges");
        Budget.Check([Entry(Pure(1) with { Party = "another" })], Pure(1), "charges");
        Refuses([Entry(Pure(.5))], Pure(.51));
        Refuses([], Pure(.34), runs: 3);
    }

    [Fact]
    public void Check_ZeroOut_CountsTwice()
    {
        Budget.Check([], Pure(.5, adjacency: Adjacency.ZeroOut), "charges");
        Refuses([], Pure(.51, adjacency: Adjacency.ZeroOut));
        Refuses([Entry(Pure(.3, adjacency: Adjacency.ZeroOut))], Pure(.41));
    }

    [Theory]
    [InlineData(PrivacyUnit.Record, PrivacyUnit.Label)]
    [InlineData(PrivacyUnit.Label, PrivacyUnit.Record)]
    public void Check_RecordsAndLabels_CountForEachOther(PrivacyUnit spent, PrivacyUnit wanted) => Refuses([Entry(Pure(.6, spent))], Pure(.6, wanted));

    [Fact]
    public void Check_RunThatIsReserved_Fits()
    {
        PrivacyCharge run = Pure(1);
        Budget.Check([Entry(run)], run, "charges");
        Assert.True(run.HasTermsOf(run with { }));
        Assert.False(run.HasTermsOf(run with { Messages = run.Messages + 1 }));
    }
}
