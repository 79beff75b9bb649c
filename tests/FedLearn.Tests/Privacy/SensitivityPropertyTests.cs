using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Privacy;

public class SensitivityPropertyTests
{
    private const int Seed = 20090276;

    [Fact]
    public void Transcript_AnyNeighboursAndPeer_StaysWithinTheBoundAtEveryStep()
    {
        (int cases, string? violation, double closest) = Search(Mutant.None, TestCounts.Of(30_000), Seed);
        Assert.True(violation is null, violation);
        Assert.Equal(TestCounts.Of(30_000), cases);
        Assert.True(closest > 0.5, $"the search should come near the bound; its best was {closest:F3} of it");
    }

    // Each mutant breaks one assumption of the theorem, and the same search must find it.
    [Theory]
    [InlineData(Mutant.NoReceiverClip)]
    [InlineData(Mutant.ExtraEpoch)]
    [InlineData(Mutant.UnprojectedStart)]
    [InlineData(Mutant.BiasAfterNormalise)]
    [InlineData(Mutant.DivisorFromData)]
    [InlineData(Mutant.FreshNoiseForEachOfTwoRecipients)]
    [InlineData(Mutant.UnboundedOffset)]
    [InlineData(Mutant.UnboundedSampleWeight)]
    [InlineData(Mutant.EntriesClipped)]
    [InlineData(Mutant.WeightsOverTheirSum)]
    internal void Transcript_Mutant_IsCaught(Mutant mutant) => Assert.NotNull(Search(mutant, 30_000, Seed).Violation);

    // A soft threshold before the projection instead of after it: neither map expands a distance or a length, so that the bound holds all the same.
    [Fact]
    public void Transcript_ThresholdBeforeProjection_StaysWithinTheBound() => Assert.Null(Search(Mutant.ThresholdBeforeProjection, TestCounts.Of(5_000), Seed).Violation);

    // A residual of constant steepness s and a step of 2/s: the drift is turned round at every step and never shrinks, and the changed row pushes it
    // on at every second one, by its label.
    [Fact]
    public void Transcript_ConvexWorstPair_ComesCloseToTheBound()
    {
        HdpVflParameters p = Logistic(1000, 2, 24, 2.0 / 3) with { Family = GlmFamilyKind.Convex, Lipschitz = 3, L2 = 0, WeightNorm = 10, TargetBound = 2 };
        double bound = HdpVflSensitivity.Tight(p).Active.Sensitivity;
        var pair = new NeighbourRun(p, PartySide.Active, new Random(Seed), Peer.Worst)
        {
            Rows = [.. Enumerable.Range(0, p.Rows).Select(i => new TableRow([1], i == 0 ? -2 : 0))],
            Changed = 0,
            Other = new TableRow([1], 2),
        };
        (double distance, string? violation) = pair.Run(bound);
        Assert.Null(violation);
        Assert.InRange(distance, 0.95 * bound, bound);
    }

    // The same with two classes, whose steepness is 1/2 where both are as probable, and a class that turns.
    [Fact]
    public void Transcript_ClassOfADriftingRow_ComesCloseToTheBound()
    {
        HdpVflParameters p = Logistic(400, 2, 12, 4) with { Family = GlmFamilyKind.Multinomial, Outputs = 2, L2 = 0, WeightNorm = 10, Unit = PrivacyUnit.Label };
        PartyBound bound = HdpVflSensitivity.Tight(p).Active;
        double whole = bound.Sensitivity + bound.OwnRowSlack;
        Assert.True(bound.DriftTerm > bound.OwnTerm, "no test of the drift");
        var pair = new NeighbourRun(p, PartySide.Active, new Random(Seed), Peer.Worst)
        {
            Rows = [.. Enumerable.Range(0, p.Rows).Select(i => new TableRow([1], i % 2))],
            Changed = 0,
            Other = new TableRow([1], 1),
        };
        (double distance, string? violation) = pair.Run(whole, bound.FinalDrift);
        Assert.Null(violation);
        Assert.InRange(distance, 0.95 * whole, whole);
    }

    // beta itself: the steepest slope of the clipped residual, over linear predictors, labels and powers.
    [Theory]
    [InlineData(GlmFamilyKind.Poisson, 1, 3)]
    [InlineData(GlmFamilyKind.Gamma, 0.3, 1)]
    [InlineData(GlmFamilyKind.Gamma, 2, 1)]
    [InlineData(GlmFamilyKind.Tweedie, 1, 3)]
    [InlineData(GlmFamilyKind.Tweedie, 2, 0.2)]
    internal void Residual_SteepestSlope_IsTheBound(GlmFamilyKind family, double clip, double target)
    {
        double bound = ReferenceBounds.Beta(family, clip, target, 0), steepest = 0;
        IGlmFamily[] families = family == GlmFamilyKind.Tweedie ? [.. Enumerable.Range(1, 99).Select(i => GlmFamilies.Tweedie(1 + i / 100.0)), GlmFamilies.Tweedie(1.0001), GlmFamilies.Tweedie(1.9999)]
            : family == GlmFamilyKind.Gamma ? [GlmFamilies.Gamma] : [GlmFamilies.Poisson];
        foreach (IGlmFamily f in families)
            for (int i = 0; i <= 20; i++)
                for (int j = -2000; j <= 2000; j++)
                {
                    double y = family == GlmFamilyKind.Gamma ? Math.Exp(i - 10) : target * i / 20;
                    double[] z = [j / 200.0, j / 200.0 + 1e-4], r = new double[2];
                    f.Residuals(z, [y, y], r);
                    double slope = (Math.Clamp(r[1], -clip, clip) - Math.Clamp(r[0], -clip, clip)) / 1e-4;
                    Assert.InRange(slope, -1e-9, bound * (1 + 1e-8));
                    steepest = Math.Max(steepest, slope);
                }

        // Tweedie with k_y below 1: C + 1 is a bound for both ends of the powers, attained at the one near 2.
        Assert.InRange(steepest, 0.97 * bound, bound * (1 + 1e-8));
    }

    // All rows alike, the replaced one turned round, the peer pushing: the drift is real, so the bound cannot be much smaller.
    [Theory]
    [InlineData(569, 5, 50, 79.841)]
    [InlineData(3000, 10, 50, 64.56)]
    public void Transcript_WorstPair_ComesCloseToTheBound(int rows, int batches, int epochs, double expected)
    {
        HdpVflParameters p = Logistic(rows, batches, epochs, 1);
        double bound = HdpVflSensitivity.Tight(p).Passive.Sensitivity;
        Assert.Equal(expected, bound, 6e-3);
        (double distance, string? violation) = WorstPair(p, Mutant.None).Run(bound);
        Assert.Null(violation);
        Assert.InRange(distance, 0.95 * bound, bound);
        Assert.NotNull(WorstPair(p, Mutant.ExtraEpoch).Run(bound).Violation);
        Assert.NotNull(WorstPair(p, Mutant.FreshNoiseForEachOfTwoRecipients).Run(bound).Violation);
    }

    // The worst zero-out pair: the row that pushes, and the null row. Half of the replace-one bound, and as tight.
    [Fact]
    public void Transcript_WorstZeroOutPair_ComesCloseToTheBound()
    {
        HdpVflParameters p = Logistic(569, 5, 50, 1) with { Adjacency = Adjacency.ZeroOut };
        double bound = HdpVflSensitivity.Tight(p).Passive.Sensitivity;
        var pair = new NeighbourRun(p, PartySide.Passive, new Random(Seed), Peer.Worst)
        {
            Rows = [.. Enumerable.Repeat(new TableRow([1]), p.Rows)],
            Changed = 0,
            Other = new TableRow([0], Null: true),
        };
        (double distance, string? violation) = pair.Run(bound);
        Assert.Null(violation);
        Assert.InRange(distance, 0.95 * bound, bound);
    }

    // A changed label moves its own residual by 1 at equal weights only. Here the other batch turns the drift round (eta beta = 2), and the
    // transcripts move farther apart than any recursion with own = 1 allows; what is charged on top covers it.
    [Fact]
    public void Transcript_LabelOfADriftingRow_NeedsTheOwnRowSlack()
    {
        HdpVflParameters p = Logistic(100, 2, 2, 8) with { L2 = 0, WeightNorm = 10, Unit = PrivacyUnit.Label };
        PartyBound bound = HdpVflSensitivity.Tight(p).Active;
        var pair = new NeighbourRun(p, PartySide.Active, new Random(Seed), Peer.Worst)
        {
            Rows = [.. Enumerable.Range(0, p.Rows).Select(i => new TableRow([1], i % 2))],
            Changed = 0,
            Other = new TableRow([1], 1),
        };
        (double distance, string? violation) = pair.Run(bound.Sensitivity + bound.OwnRowSlack, bound.FinalDrift);
        Assert.Null(violation);
        Assert.True(distance > 1.005 * bound.Sensitivity, $"moved {distance}, own = 1 allows {bound.Sensitivity}");
    }

    // Gaussian with sample weights: a weight that goes from U to 0 takes away a residual as large as the clip, however small k and k_y are.
    [Fact]
    public void Visit_WeightToZero_MovesByTheWholeClip()
    {
        HdpVflParameters p = Logistic(10, 1, 1, 0.1) with { Family = GlmFamilyKind.Gaussian, TargetBound = 0.1, ResidualClip = 50, WeightBound = 2 };
        var pair = new NeighbourRun(p, PartySide.Active, new Random(Seed), Peer.Extreme)
        {
            Rows = [.. Enumerable.Repeat(new TableRow([1], Weight: 2), p.Rows)],
            Changed = 0,
            Other = new TableRow([1], Weight: 0),
        };
        Assert.Equal(100, pair.Visit().Message, 1e-12);
        Assert.Equal(100, HdpVflSensitivity.Visit(p, PartySide.Active).Own, 1e-12);
    }

    [Fact]
    public void Visit_AnyNeighboursAndPeerAtEqualWeights_StaysWithinTheBound()
    {
        var random = new Random(Seed);
        (double message, double gradient) = (0, 0);
        for (int i = 0; i < TestCounts.Of(20_000); i++)
        {
            PartySide side = (PartySide)random.Next(2);
            HdpVflParameters p = RandomParameters.NextAny(random, maxRows: 3, maxEpochs: 1, side);
            (double own, double most) = HdpVflSensitivity.Visit(p, side);
            (double moved, double pushed) = NeighbourRun.Make(p, side, random, (Peer)random.Next(4)).Visit();
            Assert.True(moved <= own * (1 + 1e-12), $"{side}, message: {p}");
            Assert.True(pushed <= most * (1 + 1e-12), $"{side}, gradient: {p}");
            (message, gradient) = (Math.Max(message, moved / own), Math.Max(gradient, pushed / most));
        }

        Assert.True(message > 0.99 && gradient > 0.99, $"the search should reach the bounds; its best were {message:F3} and {gradient:F3} of them");
    }

    private static HdpVflParameters Logistic(int rows, int batches, int epochs, double step) => new()
    {
        Family = GlmFamilyKind.Binomial,
        Rows = rows,
        Batches = batches,
        Epochs = epochs,
        StepSize = step,
        L2 = 0.001,
        WeightNorm = 1,
        ResidualClip = 1,
    };

    private static NeighbourRun WorstPair(HdpVflParameters p, Mutant mutant) => new(p, PartySide.Passive, new Random(Seed), Peer.Worst, mutant)
    {
        Rows = [.. Enumerable.Repeat(new TableRow([1]), p.Rows)],
        Changed = 0,
        Other = new TableRow([-1]),
    };

    private static (int Cases, string? Violation, double Closest) Search(Mutant mutant, int count, int seed)
    {
        double closest = 0;
        for (int i = 0; i < count; i++)
        {
            var random = new Random(seed + i);
            PartySide side = (PartySide)random.Next(2);
            HdpVflParameters p = RandomParameters.NextAny(random, maxRows: 10, maxEpochs: 6, side);
            PartyBound bound = side == PartySide.Active ? HdpVflSensitivity.Tight(p).Active : HdpVflSensitivity.Tight(p).Passive;
            double whole = bound.Sensitivity + bound.OwnRowSlack;
            (double distance, string? violation) = NeighbourRun.Make(p, side, random, (Peer)random.Next(4), mutant).Run(whole, bound.FinalDrift);
            if (violation is not null)
                return (i, $"seed {seed + i}, {side}, {violation}: {p}", closest);
            closest = Math.Max(closest, distance / whole);
        }

        return (count, null, closest);
    }
}
