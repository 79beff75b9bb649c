using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm;

/// <summary>The privacy claim at the real trainers, noise included, and proof that the checks notice when one of its assumptions is broken.</summary>
public class TrainerPrivacyTests(ITestOutputHelper output)
{
    private const int Seed = 20090276;

    /// <summary>Cases of the fast tier; ten times as many in the full one.</summary>
    private const int Cases = 10_000;

    [Fact]
    public void Trainings_AnyNeighboursAndPeers_StayWithinTheClaim()
    {
        double closest = 0;
        Parallel.For(0, TestCounts.Of(Cases), i =>
        {
            (string? violation, double realised, double claimed) = NeighbourCheck.Run(Case(i), TrainerMutant.None, guarded: i % 2 == 0);
            Assert.True(violation is null, $"case {i}, {violation}: mu {realised} of {claimed}");
            lock (output)
                closest = Math.Max(closest, realised / claimed);
        });
        output.WriteLine($"{TestCounts.Of(Cases)} cases, the closest at {closest:F4} of its claim");
        Assert.True(closest > 0.95, "the search should come near the bound");
    }

    public static TheoryData<string> Mutants => [.. Enum.GetNames<TrainerMutant>().Where(name => name is not (nameof(TrainerMutant.None) or nameof(TrainerMutant.ThresholdFirst) or nameof(TrainerMutant.ScoresUnbounded)))];

    /// <summary>The checks of the test above, on the trainer with one act broken and the mechanism's own guards taken away.</summary>
    [Theory]
    [MemberData(nameof(Mutants))]
    public void Trainings_Mutant_IsCaught(string name)
    {
        TrainerMutant mutant = Enum.Parse<TrainerMutant>(name);
        bool noise = mutant is TrainerMutant.NoiseReused or TrainerMutant.NoiseForgotten or TrainerMutant.MessageDisclosed
            or TrainerMutant.GradientNotNoised or TrainerMutant.FinalWeightsNotNoised;
        for (int i = 0; i < 1000; i++)
        {
            (string? violation, double realised, double claimed) found;
            try
            {
                found = NeighbourCheck.Run(Case(i), mutant, guarded: false);
            }
            catch (InternalFailureException)
            {
                continue;   // it diverged; that is no privacy check's merit
            }

            // Broken noise is seen as such. Whatever else is broken must show as what it costs: a mu above the claim.
            if (noise ? found.violation is null : found.realised <= found.claimed)
                continue;
            Assert.NotNull(found.violation);
            output.WriteLine($"case {i}: {found.violation}, mu {found.realised:G4} of {found.claimed:G4}");
            return;
        }

        Assert.Fail("the mutant lives");
    }

    /// <summary>With its guards, the mechanism refuses every message beyond those it is calibrated for, before it leaves.</summary>
    [Theory]
    [InlineData(nameof(TrainerMutant.ExtraEpoch))]
    [InlineData(nameof(TrainerMutant.NewNoiseOnResend))]
    [InlineData(nameof(TrainerMutant.NoiseForEachRecipient))]
    public void Trainings_MoreReleasesThanPaidFor_AreRefused(string name)
    {
        TrainerMutant mutant = Enum.Parse<TrainerMutant>(name);
        for (int i = 0; i < 200; i++)
            if (mutant != TrainerMutant.NoiseForEachRecipient || Case(i).Peers > 1)
                Assert.Equal(NeighbourCheck.Refused, NeighbourCheck.Run(Case(i), mutant, guarded: true).Violation);
    }

    /// <summary>A run that is resumed under its id says the same again, or nothing: noise on gradients and final weights is not kept, so it is not drawn
    /// a second time.</summary>
    [Fact]
    public void Trainings_Resumed_SayTheSameOrAreRefused()
    {
        for (int i = 0; i < 500; i++)
        {
            NeighbourCase c = Case(i);
            var kept = new KeptMessages();
            NeighbourTraining Resume(ulong seed) => NeighbourTraining.Run(c, false, TrainerMutant.None, true, stream => new TestNoise(seed, stream), reservation: kept);
            NeighbourTraining first = Resume(1);
            if (c.Calibrate().Calibration is { GradientNoise: null, EvaluationNoise: null })
                Assert.Equal(Sent(first), Sent(Resume(2)));
            else
                Assert.Equal(PrivacyErrors.ReleasesSpent, Assert.Throws<PrivacyRefusedException>(() => Resume(2)).Id);
        }

        static IEnumerable<double[]> Sent(NeighbourTraining training) => training.Peers.SelectMany(p => p.Heard).Select(m => m.Payload.Values.ToArray());
    }

    /// <summary>The mechanism clamps every element to its public bound, so that starting outside the ball costs nothing even when nobody notices, where a row has
    /// one score.</summary>
    [Fact]
    public void Trainings_UnprojectedStartOfAPassiveParty_IsHeldByTheClamp()
    {
        for (int i = 0; i < 1000; i++)
            if (Case(i) is { Role: PartyRole.Passive, Job.Model.Family.Outputs: 1 } passive)
                Assert.Null(NeighbourCheck.Run(passive, TrainerMutant.UnprojectedStart, guarded: true).Violation);
    }

    /// <summary>All rows are u and the changed one -u (or null), its residual always at the clip: the drift is the recursion's own.</summary>
    [Theory]
    [InlineData(569, 5, 50, Adjacency.ReplaceOne)]
    [InlineData(3000, 10, 50, Adjacency.ReplaceOne)]
    [InlineData(569, 5, 50, Adjacency.ZeroOut)]
    public void Passive_WorstCase_ReachesTheClaim(int rows, int batches, int epochs, Adjacency adjacency)
    {
        var training = new GlmTrainingOptions { Epochs = epochs, BatchesPerEpoch = batches, StepSize = 1, WeightNorm = 1, ResidualClip = 1 };
        NeighbourCase c = Worst(training, rows, PartyRole.Passive, job => job with { Privacy = job.Privacy with { Adjacency = adjacency } });
        var layout = new BatchLayout(rows, batches);
        AssertTight(c with
        {
            OtherX = adjacency == Adjacency.ZeroOut ? [0] : [-1],
            Changed = layout.Start(0),
            Says = (_, round, size) => [.. Enumerable.Range(0, size).Select(i => round % batches == 0 && i == 0 ? 1000.0 : 0)],
        });
    }

    /// <summary>Given the weights only the changed row's own entries count: 2 R k and 2 R C/b a visit, from the first one on.</summary>
    [Fact]
    public void Passive_WeightNoiseWorstCase_ReachesTheClaim()
    {
        // Any gradient throws the weights to the edge of their ball, and the changed row is in the second batch.
        var training = new GlmTrainingOptions { Epochs = 4, BatchesPerEpoch = 2, StepSize = 1e6, WeightNorm = 1, ResidualClip = 1 };
        NeighbourCase c = Worst(training, 40, PartyRole.Passive, job => job with { Privacy = job.Privacy with { Calibration = Calibration.WeightNoise } });
        AssertTight(c with { OtherX = [-1], Changed = 20, Says = (_, _, size) => [.. Enumerable.Repeat(1000.0, size)] });
    }

    /// <summary>Nearly the whole budget is the final weights', and the changed row, in the last batch, pushes them apart to the end.</summary>
    [Fact]
    public void Passive_ChargedWeightsWorstCase_ReachesTheClaim()
    {
        var training = new GlmTrainingOptions { Epochs = 10, BatchesPerEpoch = 4, StepSize = 1, WeightNorm = 1, ResidualClip = 1 };
        NeighbourCase c = Worst(training, 200, PartyRole.Passive, job => job with { Privacy = job.Privacy with { Evaluation = EvaluationDisclosure.Charged, EvaluationShare = 0.999 } });
        AssertTight(c with { OtherX = [-1], Changed = 150, Says = (_, round, size) => [.. Enumerable.Range(0, size).Select(i => round % 4 == 3 && i == 0 ? 1000.0 : 0)] });
    }

    /// <summary>A label that turns moves its residual by 1, whatever the score.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Active_LabelTurns_ReachesTheClaim(bool reshuffle)
    {
        var training = new GlmTrainingOptions { Epochs = 6, BatchesPerEpoch = 2, StepSize = 0.1, WeightNorm = 1, ResidualClip = 1, Reshuffle = reshuffle };
        NeighbourCase c = Worst(training, 400, PartyRole.Active, job => job with { Privacy = job.Privacy with { Unit = PrivacyUnit.Label } });
        AssertTight(c with { OtherX = [1], OtherY = 1, Changed = 7, Says = (_, _, size) => new double[size] });
    }

    /// <summary>Two maps that expand no distance and shrink every length expand none in either order: where the threshold stands is no privacy matter.</summary>
    [Fact]
    public void Trainings_ThresholdBeforeTheProjection_IsHarmless()
    {
        int changed = 0;
        for (int i = 0; i < 2000; i++)
        {
            NeighbourCase c = Case(i);
            if (c.Job.Model.L1 == 0 || c.Job.Privacy.Calibration == Calibration.WeightNoise)
                continue;
            changed++;
            (string? violation, double realised, double claimed) = NeighbourCheck.Run(c, TrainerMutant.ThresholdFirst, guarded: true);
            Assert.True(violation is null, $"case {i}, {violation}: mu {realised} of {claimed}");
        }

        Assert.InRange(changed, 300, 2000);
    }

    /// <summary>All rows are u and the changed one -u, and its received residual is always far beyond the clip along one class.</summary>
    [Fact]
    public void Passive_SeveralScoresWorstCase_ReachesTheClaim()
    {
        var training = new GlmTrainingOptions { Epochs = 50, BatchesPerEpoch = 5, StepSize = 1, WeightNorm = 1, ResidualClip = 1 };
        var layout = new BatchLayout(569, 5);
        AssertTight(Worst(training, 569, PartyRole.Passive, job => job with { Model = job.Model with { Family = GlmFamilies.Multinomial(3) } }) with
        {
            Changed = 0,
            Says = (_, round, entries) => [.. Enumerable.Range(0, entries).Select(i => round % 5 == 0 && i % layout.Size(0) == 0 ? (i == 0 ? 1000.0 : -400) : 0)],
        });
    }

    /// <summary>Weights at the edge of their ball, and one row whose features and class turn: nearly 2 sqrt 2 a visit.</summary>
    [Fact]
    public void Active_RowAndClassTurn_ReachesTheClaim()
    {
        var training = new GlmTrainingOptions { Epochs = 6, BatchesPerEpoch = 2, StepSize = 2, WeightNorm = 3, ResidualClip = 1 };
        NeighbourCase c = Worst(training, 4000, PartyRole.Active, job => job with { Model = job.Model with { Family = GlmFamilies.Multinomial(2) } });
        AssertTight(c with
        {
            Y = [.. Enumerable.Range(0, 4000).Select(i => i == 2000 ? 0.0 : 1)],
            OtherY = 1,
            Changed = 2000,
            // Whatever the others' weights do, their rows push: class 1 is far below class 0. The changed row alone is told the truth.
            Says = (_, round, entries) => [.. Enumerable.Range(0, entries).Select(i => i < entries / 2 || (round % 2 == 1 && i == entries / 2) ? 0 : -30.0)],
        });
    }

    /// <summary>One label at which the residual is at the upper clip, one at which it is at the lower: 2 C a visit, and with weights U times that.</summary>
    [Theory]
    [InlineData("gamma", 1e-9, 1e9, null)]
    [InlineData("tweedie", 0, 3, null)]
    [InlineData("steep", -1, 1, null)]
    [InlineData("tweedie", 0, 3, 2.0)]
    public void Active_LabelAcrossTheClip_ReachesTheClaim(string family, double one, double other, double? weightBound)
    {
        var training = new GlmTrainingOptions { Epochs = 6, BatchesPerEpoch = 2, StepSize = 1e-3, WeightNorm = 1, ResidualClip = 1, SampleWeightBound = weightBound };
        NeighbourCase c = Worst(training, 400, PartyRole.Active, _ => NeighbourCase.JobOf(family, training, 0.001, 3));
        AssertTight(c with
        {
            OtherX = [1],
            OtherY = other,
            Y = [.. Enumerable.Repeat(one, 400)],
            Changed = 7,
            Weights = weightBound is null ? null : [.. Enumerable.Repeat(50.0, 400)],
            OtherWeight = 2,
        });
    }

    /// <summary>Two peers whose huge scores cancel. Were own scores added to the one before the other, they would be rounded to whole numbers, and a drift
    /// of thousandths would show as a whole one in every row.</summary>
    [Fact]
    public void Active_HugeScoresThatCancel_ShowNoRounding()
    {
        var training = new GlmTrainingOptions { Epochs = 6, BatchesPerEpoch = 2, StepSize = 0.1, WeightNorm = 1, ResidualClip = 3, OffsetBound = 0.5 };
        NeighbourCase c = Worst(training, 400, PartyRole.Active, _ => NeighbourCase.JobOf("gaussian", training, 0, 3, peers: 2)) with
        {
            Peers = 2,
            OtherX = [1],
            OtherY = 3,
            Offsets = [.. Enumerable.Repeat(0.5, 400)],
            OtherOffset = 0.5,
            Says = (peer, _, size) => [.. Enumerable.Repeat((peer == 0 ? 1 : -1) * Math.ScaleB(1, 52), size)],
        };
        (string? violation, double realised, double claimed) = NeighbourCheck.Run(c, TrainerMutant.None, guarded: true);
        Assert.Null(violation);
        Assert.InRange(realised, 0.3 * claimed, claimed);
    }

    /// <summary>A softmax does not know a shift of all scores, but a sum with 2^52 does: it rounds own scores to whole numbers. Here they are 1/2 in the one table
    /// and hardly less in the other, so that every row would tell them apart.</summary>
    [Fact]
    public void Active_HugeScoresOfAllClasses_ShowNoRounding()
    {
        var training = new GlmTrainingOptions { Epochs = 2, StepSize = 0.5, WeightNorm = 1, ResidualClip = 1 };
        NeighbourCase c = Worst(training, 400, PartyRole.Active, _ => NeighbourCase.JobOf(GlmFamilies.Multinomial(2), training, 0, 1)) with
        {
            OtherX = [1],
            OtherY = 0,
            Y = [.. Enumerable.Repeat(1.0, 400)],
            Says = (_, round, entries) => [.. Enumerable.Range(0, entries).Select(i => round == 1 ? 3 * Math.ScaleB(1, 51) + 1 : i < entries / 2 ? 0.0 : -1000)],
        };
        Assert.Null(NeighbourCheck.Run(c, TrainerMutant.None, guarded: true).Violation);
        (_, double realised, double claimed) = NeighbourCheck.Run(c, TrainerMutant.ScoresUnbounded, guarded: true);
        Assert.True(realised > 2 * claimed, $"{realised} of {claimed}");
    }

    /// <summary>A family of one's own may be steep where a sum of scores is rounded to whole numbers: there, too, own scores of 1/2 and of hardly less must look alike.</summary>
    [Fact]
    public void Active_HugeScoresWhereAFamilyIsSteep_ShowNoRounding()
    {
        var training = new GlmTrainingOptions { Epochs = 2, StepSize = 0.5, WeightNorm = 1, ResidualClip = 1 };
        NeighbourCase c = Worst(training, 400, PartyRole.Active, _ => NeighbourCase.JobOf(new SteepFamily { Center = SteepFamily.Far }, training, 0, 1)) with
        {
            OtherX = [-1],
            Says = (_, round, entries) => [.. Enumerable.Repeat(round == 1 ? SteepFamily.Far : 0, entries)],
        };
        Assert.Null(NeighbourCheck.Run(c, TrainerMutant.None, guarded: true).Violation);
        (_, double realised, double claimed) = NeighbourCheck.Run(c, TrainerMutant.ScoresUnbounded, guarded: true);
        Assert.True(realised > 2 * claimed, $"{realised} of {claimed}");
    }

    /// <summary>A peer may not learn from a failure whether a label is 0: a score of any size gives a residual.</summary>
    [Theory]
    [InlineData("gaussian")]
    [InlineData("binomial")]
    [InlineData("poisson")]
    [InlineData("gamma")]
    [InlineData("tweedie")]
    [InlineData("multinomial")]
    [InlineData("steep")]
    public void Active_ScoreOfAnySize_DoesNotEndTheTraining(string family)
    {
        var training = new GlmTrainingOptions { Epochs = 2, StepSize = 1e-3, WeightNorm = 1, ResidualClip = 1 };
        foreach (double score in (double[])[1e3, -1e3, 1e16, -1e16, double.MaxValue, double.MinValue])
            foreach (double label in (double[])[0, 1])
                Assert.Null(NeighbourCheck.Run(Worst(training, 6, PartyRole.Active, _ => NeighbourCase.JobOf(family, training, 0, 1)) with
                {
                    Y = [.. Enumerable.Repeat(family == "gamma" ? 0.5 + label : label, 6)],
                    OtherY = 1,
                    Says = (_, _, size) => [.. Enumerable.Range(0, size).Select(i => i % 2 == 0 ? score : -score)],
                }, TrainerMutant.None, guarded: true).Violation);
    }

    private static NeighbourCase Worst(GlmTrainingOptions training, int rows, PartyRole role, Func<GlmJob, GlmJob> change) => new()
    {
        Job = change(NeighbourCase.JobOf("binomial", training, 0.001, 1)),
        Role = role,
        X = [.. Enumerable.Repeat((double[])[1], rows)],
        Y = new double[rows],
        Changed = 0,
        OtherX = [-1],
        Says = (_, _, size) => new double[size],
    };

    private void AssertTight(NeighbourCase c)
    {
        (string? violation, double realised, double claimed) = NeighbourCheck.Run(c, TrainerMutant.None, guarded: true);
        output.WriteLine($"{realised / claimed:F4} of the claim");
        Assert.Null(violation);
        Assert.InRange(realised, 0.95 * claimed, claimed);
    }

    private static NeighbourCase Case(int i) => NeighbourCase.Draw(new Random(unchecked(Seed + i * 0x3779B97F)));
}
