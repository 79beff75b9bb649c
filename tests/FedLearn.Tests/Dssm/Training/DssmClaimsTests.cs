using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Privacy;

namespace FedLearn.Tests.Dssm;

public class DssmClaimsTests
{
    private static DssmPlan Plan(Func<DssmPrivacyOptions, DssmPrivacyOptions>? privacy = null) =>
        DssmPlan.Create(DssmPlanTests.Private with { Privacy = (privacy ?? (p => p))(DssmPlanTests.Private.Privacy) });

    private static EmbeddingCalibration Calibration(DssmPlan plan, DssmPartyOptions party) =>
        plan.Calibrate(party, plan.Parameters(party, 53, false, party.Party.Role == PartyRole.Active ? plan.ActiveGroups(100, 10) : plan.ViewGroups(50)));

    private static DssmPrivacyStatement State(DssmPlan plan, DssmPartyOptions party, int evaluationRows = 0) =>
        DssmClaims.State(plan, party, Calibration(plan, party), [], PrivacyTotal.Zero, evaluationRows, [DssmDisclosures.SampleKeys("training")]);

    [Fact]
    public void State_OwnMessages_SaysThatParametersAreNotCoveredAndNeverEpsilonAlone()
    {
        DssmPlan plan = Plan();
        foreach (DssmPartyOptions party in plan.Job.Parties)
        {
            DssmPrivacyStatement statement = State(plan, party);
            Assert.Contains("own messages only; influence through trained parameters is not covered", statement.Claims[0], StringComparison.Ordinal);
            Assert.Equal(4, statement.Claims.Count);
            foreach (string claim in statement.Claims)
            {
                // Unit and claim stand beside every epsilon, which is called by its full name.
                Assert.Equal(Count(claim, "epsilon"), Count(claim, "own-messages epsilon"));
                Assert.Contains("unit ", claim, StringComparison.Ordinal);
                Assert.Contains("own", claim, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void State_ActiveParty_SaysThatKeysAreDisclosed()
    {
        foreach (EmbeddingClaim claim in (EmbeddingClaim[])[EmbeddingClaim.OwnMessages, EmbeddingClaim.Full])
        {
            DssmPlan plan = Plan(p => p with { Claim = claim });
            Assert.Contains("which item; that and when are disclosed", State(plan, plan.ActiveParty).Claims[0], StringComparison.Ordinal);
            Assert.DoesNotContain("which item", State(plan, plan.Views[0]).Claims[0], StringComparison.Ordinal);
        }
    }

    /// <summary>Where users are protected, what is evaluated without noise is of the same users, in a static view the same row, and the claim says so.</summary>
    [Theory]
    [InlineData(EmbeddingUnit.Sample, EvaluationDisclosure.Disclosed, 2826, "training messages only; embeddings disclosed for 2826 evaluation rows are outside this claim; own messages")]
    [InlineData(EmbeddingUnit.User, EvaluationDisclosure.Disclosed, 2826, "training messages only; embeddings disclosed for 2826 evaluation rows are outside this claim, without noise and of users whom it is about; own messages")]
    [InlineData(EmbeddingUnit.User, EvaluationDisclosure.Disclosed, 0, "training messages only; own messages")]
    [InlineData(EmbeddingUnit.User, EvaluationDisclosure.None, 2826, "training messages only; own messages")]
    [InlineData(EmbeddingUnit.User, EvaluationDisclosure.Charged, 2826, "training messages and noised evaluation messages; own messages")]
    public void State_Evaluation_BeginsTheClaim(EmbeddingUnit unit, EvaluationDisclosure evaluation, int rows, string start)
    {
        DssmPlan plan = Plan(p => p with { Unit = unit, Evaluation = evaluation });
        Assert.StartsWith(start, State(plan, plan.Views[0], rows).Claims[0], StringComparison.Ordinal);
        if (evaluation == EvaluationDisclosure.Disclosed)
            Assert.DoesNotContain("of users whom", State(plan, plan.ActiveParty, rows).Claims[0], StringComparison.Ordinal);
    }

    [Fact]
    public void State_Full_ClaimsAllMessagesForUnitAndBudget()
    {
        DssmPlan plan = Plan(p => p with { Claim = EmbeddingClaim.Full, Unit = EmbeddingUnit.User, Budget = new(4, 1e-6) });
        DssmPrivacyStatement statement = State(plan, plan.Views[0]);
        Assert.Contains("all messages of 'profile' together, and its final parameters, are (4, 1E-06)-differentially private (claim full, unit user, a = 57, mu = ", statement.Claims[0], StringComparison.Ordinal);
        Assert.DoesNotContain("own messages", statement.Claims[0], StringComparison.Ordinal);
        Assert.Equal([DssmDisclosures.SampleKeys("training")], statement.Disclosures);
        Assert.Equal(statement.Calibration!.Figures(1e-6), statement.Figures);
    }

    [Fact]
    public void State_TestNoise_ClaimsNothing()
    {
        DssmPlan plan = Plan(p => p with { TestNoiseSeed = 1 });
        DssmPrivacyStatement statement = State(plan, plan.Views[0]);
        Assert.Equal(["NOT PRIVATE: test noise"], statement.Claims);
        Assert.Equal("NOT PRIVATE: test noise", statement.Warnings[0]);
        Assert.False(statement.SecureNoise);
    }

    [Theory]
    [InlineData(DssmNoise.Gradients, 1, "no claim: privacy.noise is gradients, so the vectors of 'profile' are disclosed")]
    [InlineData(DssmNoise.Embeddings, 0, "no claim: privacy.noise is embeddings, so the gradients of 'service' are disclosed")]
    public void State_PartyWithoutNoise_ClaimsNothing(DssmNoise noise, int party, string start)
    {
        DssmPlan plan = Plan(p => p with { Noise = noise });
        Assert.StartsWith(start, DssmClaims.State(plan, plan.Job.Parties[party], null, [], null, 0, []).Claims[0], StringComparison.Ordinal);
        DssmPlan none = DssmPlan.Create(DssmPlanTests.Job);
        Assert.Empty(DssmClaims.State(none, none.Views[0], null, [], null, 0, []).Claims);
    }

    [Fact]
    public void State_ActivePartyAlone_SendsNothing()
    {
        DssmPlan plan = DssmPlan.Create(Plan(p => p).Job with { Parties = [Plan(p => p).Job.Parties[0]] });
        Assert.Equal(["no claim: 'service' is alone, sends nothing and adds no noise"], DssmClaims.State(plan, plan.ActiveParty, null, [], null, 0, []).Claims);
    }

    [Theory]
    [InlineData(1e-5, 100_000, false)]
    [InlineData(1e-5, 100_001, true)]
    [InlineData(1e-5, null, false)]
    public void State_DeltaAboveOneOverTheUnits_Warns(double delta, int? units, bool warns)
    {
        DssmPlan plan = Plan(p => p with { Budget = new PrivacyBudget(5, delta) });
        EmbeddingCalibration calibration = plan.Calibrate(plan.Views[0], plan.Parameters(plan.Views[0], 10, false));
        DssmPrivacyStatement statement = DssmClaims.State(plan, plan.Views[0], calibration, [], new PrivacyTotal(0, 0), 0, [], units);
        Assert.Equal(warns, statement.Warnings.Any(w => w.StartsWith("delta 1E-05 is above 1/", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(10, false)]
    [InlineData(50, true)]
    public void State_LargeEpsilon_Warns(double epsilon, bool warns)
    {
        DssmPlan plan = Plan(p => p with { Budget = new PrivacyBudget(epsilon, 1e-5) });
        EmbeddingCalibration calibration = plan.Calibrate(plan.Views[0], plan.Parameters(plan.Views[0], 10, false));
        DssmPrivacyStatement statement = DssmClaims.State(plan, plan.Views[0], calibration, [], new PrivacyTotal(0, 0), 0, []);
        Assert.Equal(warns, statement.Warnings.Any(w => w.StartsWith("epsilon 50 is above 10", StringComparison.Ordinal)));
    }

    [Fact]
    public void State_OneShotActiveParty_SendsNothingOfItems()
    {
        DssmPlan plan = Plan(p => p with { Claim = EmbeddingClaim.OneShot, Noise = DssmNoise.Embeddings });
        Assert.Contains("sends nothing that depends on an item", DssmClaims.State(plan, plan.ActiveParty, null, [], null, 0, []).Claims[0], StringComparison.Ordinal);
        Assert.Contains("(claim one-shot, unit sample, a = 1, mu = ", State(plan, plan.Views[0]).Claims[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Figure_NotDeclared_SaysWhatIsMissing()
    {
        DssmPlan plan = Plan(p => p with { HistoryEvents = null, MaxSamplesPerUser = null });
        IReadOnlyList<string> claims = State(plan, plan.Views[0]).Claims;
        Assert.Equal("unit event, claim own-messages: no figure, privacy.historyEvents is not declared", claims[2]);
        Assert.Equal("unit user, claim own-messages: no figure, privacy.maxSamplesPerUser is not declared", claims[3]);
    }

    [Fact]
    public void Account_Charge_IsBookedUnderItsNameAndUnit()
    {
        var ledger = new InMemoryLedger();
        var people = new Lazy<DataSetIdentity>(() => DssmAccount.IdentityOf(["ann", "bob", "cyd"]));
        DssmPlan plan = Plan();
        EmbeddingCalibration calibration = Calibration(plan, plan.Views[0]);
        using (var account = new DssmAccount(plan, plan.Views[0], ledger, null, people, "digest"))
        {
            Assert.Equal(calibration.Mu, account.Check(calibration.Mu).Mu, 1e-9);
            Assert.Empty(ledger.Entries);
            IPrivacyReservation reservation = account.Reserve(calibration);
            account.Mechanism(calibration.MessageNoise, "profile", reservation).Release(new Embeddings(new double[64]), DssmDisclosures.Embeddings("training"));
            (PrivacyTotal? spent, _) = account.Settle(PrivacyUnit.Record);
            // One message of twelve epochs.
            Assert.Equal(calibration.Mu * calibration.Mu / 12, spent!.MuSquared, 1e-9);
        }

        PrivacyCharge charge = Assert.Single(ledger.Entries).Charge;
        Assert.Equal("gaussian, own messages: embeddings", charge.Mechanism);
        Assert.StartsWith("own messages only; influence through trained parameters is not covered: mu = ", charge.Claim, StringComparison.Ordinal);
        Assert.Contains("\"unit\":\"sample\"", charge.Parameters, StringComparison.Ordinal);
        Assert.Equal((PrivacyUnit.Record, Adjacency.ReplaceOne, 12 * 53), (charge.Unit, charge.Adjacency, charge.Messages));

        DssmPlan users = Plan(p => p with { Unit = EmbeddingUnit.User, Claim = EmbeddingClaim.Full });
        using var later = new DssmAccount(users, users.Views[0], ledger, null, people, "digest");
        string[] warnings = [.. later.Words().Warnings];
        Assert.Contains(warnings, w => w.Contains("booked as own messages", StringComparison.Ordinal));
        Assert.Contains(warnings, w => w.Contains("other units", StringComparison.Ordinal));
        Assert.Equal("gaussian, full: gradients and parameters", DssmClaims.Mechanism(users, PartyRole.Active));
    }

    private static int Count(string text, string word) => text.Split(word).Length - 1;
}
