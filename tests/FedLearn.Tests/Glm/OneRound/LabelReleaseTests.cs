using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Glm.OneRound;

public class LabelReleaseTests
{
    private readonly InMemoryLedger _ledger = new();

    private static readonly GlmJob Binomial = new()
    {
        Name = "credit",
        Model = new() { Family = GlmFamilies.Binomial },
        Privacy = new() { Mode = PrivacyMode.OneRound, Budget = new(1, 1e-3), TestNoiseSeed = 3 },
        Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
        Parties = [new() { Party = new("bank", PartyRole.Active), LabelRange = (-2, 2) }, new() { Party = new("telco", PartyRole.Passive) }],
    };

    private static readonly GlmJob Gaussian = Binomial with { Model = new() { Family = GlmFamilies.Gaussian } };

    private static readonly Table People = TableOf(["a", "b", "c"], 1, 0, 1);

    private static Table TableOf(string[] ids, params double[] labels) => Table.FromMatrix(ids, ["x"], new DenseMatrix(ids.Length, 1), labels);

    private static GlmJob Private(GlmJob job, Func<GlmPrivacyOptions, GlmPrivacyOptions> change) => job with { Privacy = change(job.Privacy) };

    private static GlmJob Range(double low, double high) => Gaussian with { Parties = [Gaussian.Parties[0] with { LabelRange = (low, high) }, Gaussian.Parties[1]] };

    /// <summary>Whether labels that were released before are sent again, and what sending them is said to cost.</summary>
    private (bool Reused, PrivacyTotal Cost) Send(GlmJob job, Table table, PrivacyUnit unit = PrivacyUnit.Record)
    {
        var plan = GlmPlan.Create(job);
        var input = new GlmPartyInput { Party = "bank", Table = table, Ledger = _ledger };
        using var account = new GlmAccount(plan, input, new Lazy<DataSetIdentity>(() => GlmAccount.IdentityOf(table)), "job", null);
        var release = new LabelRelease(plan, input, job.Parties[0], account);
        PrivacyTotal cost = release.Check();
        if (plan.HasClasses)
            release.Randomized(LabelRelease.ResponseOf(plan), [0, 2], unit);
        else
            release.Noisy(release.Mechanism(), [0, 2]);
        return (release.Reused, cost);
    }

    public static TheoryData<string> Changes => ["nothing", "order of rows", "people", "a label", "epsilon", "seed", "real noise"];

    /// <summary>Only what was drawn of the same labels of the same people, by the same mechanism, is there to be sent again.</summary>
    [Theory]
    [MemberData(nameof(Changes))]
    public void Send_Again_ReusesWhatWasDrawnOfTheSame(string change)
    {
        foreach (GlmJob job in (GlmJob[])[Binomial, Gaussian])
        {
            (bool reused, PrivacyTotal cost) = Send(job, People);
            Assert.False(reused);
            PrivacyTotal due = job == Binomial ? new(1, 0) : new(0, Math.Pow(GaussianDp.Mu(1, 1e-3), 2));
            Assert.Equal((due.PureEpsilon, due.MuSquared), (cost.PureEpsilon, cost.MuSquared));
            Assert.Equal((due.PureEpsilon, due.MuSquared), (_ledger.Entries[^1].PureEpsilon, _ledger.Entries[^1].MuSquared));
            (reused, cost) = change switch
            {
                "nothing" => Send(job, People),
                "order of rows" => Send(job, TableOf(["c", "b", "a"], 1, 0, 1)),
                "people" => Send(job, TableOf(["a", "b", "d"], 1, 0, 1)),
                "a label" => Send(job, TableOf(["a", "b", "c"], 1, 1, 1)),
                "epsilon" => Send(Private(job, p => p with { Budget = new(2, 1e-3) }), People),
                "seed" => Send(Private(job, p => p with { TestNoiseSeed = 4 }), People),
                _ => Send(Private(job, p => p with { TestNoiseSeed = null }), People),
            };
            Assert.Equal(change is "nothing" or "order of rows", reused);
            Assert.Equal(reused, cost == PrivacyTotal.Zero);
        }
    }

    /// <summary>Labels drawn as a part of their records serve for labels too, not the other way round.</summary>
    [Fact]
    public void Send_ForAnotherUnit_ReusesWhatPromisesMore()
    {
        Assert.False(Send(Binomial, People, PrivacyUnit.Label).Reused);
        Assert.False(Send(Binomial, People, PrivacyUnit.Record).Reused);
        Assert.True(Send(Binomial, People, PrivacyUnit.Label).Reused);
    }

    [Fact]
    public void Send_MoreClasses_IsDrawnAnew()
    {
        GlmJob Of(int classes) => Binomial with { Model = new() { Family = GlmFamilies.Multinomial(classes) } };
        Assert.False(Send(Of(3), People).Reused);
        Assert.False(Send(Of(4), People).Reused);
    }

    [Fact]
    public void ResponseOf_BudgetOfTheActiveParty_GoesBeforeTheJobs() =>
        Assert.Equal(2, LabelRelease.ResponseOf(Binomial with { Parties = [Binomial.Parties[0] with { Budget = new(2, 1e-3) }, Binomial.Parties[1]] }).Epsilon);

    /// <summary>Ranges as wide as one another have the same noise.</summary>
    [Fact]
    public void Send_OtherRangeOfTheLabel_IsDrawnAnew()
    {
        Assert.False(Send(Range(-2, 2), People).Reused);
        Assert.False(Send(Range(-1, 3), People).Reused);
        Assert.True(Send(Range(-2, 2), People).Reused);
    }
}
