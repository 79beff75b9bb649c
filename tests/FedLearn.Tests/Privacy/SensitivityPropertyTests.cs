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
    internal void Transcript_Mutant_IsCaught(Mutant mutant) => Assert.NotNull(Search(mutant, 30_000, Seed).Violation);

    // All rows alike, the replaced one turned round, the peer pushing: the drift is real, so the bound cannot be much smaller.
    [Theory]
    [InlineData(569, 5, 50, 79.841)]
    [InlineData(3000, 10, 50, 64.56)]
    public void Transcript_WorstPair_ComesCloseToTheBound(int rows, int batches, int epochs, double expected)
    {
        HdpVflParameters p = new()
        {
            Family = GlmFamilyKind.Binomial,
            Rows = rows,
            Batches = batches,
            Epochs = epochs,
            StepSize = 1,
            L2 = 0.001,
            WeightNorm = 1,
            ResidualClip = 1,
        };
        double bound = HdpVflSensitivity.Tight(p).Passive.Sensitivity;
        Assert.Equal(expected, bound, 6e-3);
        (double distance, string? violation) = WorstPair(p, Mutant.None).Run(bound);
        Assert.Null(violation);
        Assert.InRange(distance, 0.95 * bound, bound);
        Assert.NotNull(WorstPair(p, Mutant.ExtraEpoch).Run(bound).Violation);
        Assert.NotNull(WorstPair(p, Mutant.FreshNoiseForEachOfTwoRecipients).Run(bound).Violation);
    }

    private static NeighbourRun WorstPair(HdpVflParameters p, Mutant mutant) => new(p, PartySide.Passive, new Random(Seed), Peer.Worst, mutant)
    {
        Rows = [.. Enumerable.Repeat((double[])[1], p.Rows)],
        Replaced = 0,
        OtherRow = [-1],
    };

    private static (int Cases, string? Violation, double Closest) Search(Mutant mutant, int count, int seed)
    {
        double closest = 0;
        for (int i = 0; i < count; i++)
        {
            var random = new Random(seed + i);
            HdpVflParameters p = RandomParameters.Next(random, maxRows: 10, maxEpochs: 6) with { FreeIntercept = random.Next(4) == 0 };
            HdpVflBounds bounds = HdpVflSensitivity.Tight(p);
            PartySide side = (PartySide)random.Next(2);
            double bound = (side == PartySide.Active ? bounds.Active : bounds.Passive).Sensitivity;
            (double distance, string? violation) = NeighbourRun.Make(p, side, random, (Peer)random.Next(4), mutant).Run(bound);
            if (violation is not null)
                return (i, $"seed {seed + i}, {side}, {violation}: {p}", closest);
            closest = Math.Max(closest, distance / bound);
        }

        return (count, null, closest);
    }
}
