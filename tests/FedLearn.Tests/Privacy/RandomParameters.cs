using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

/// <summary>Legal parameters across all families, from gentle to extreme.</summary>
internal static class RandomParameters
{
    /// <summary>Those, with any adjacency, unit, schedule, offsets and sample weights. Unit label concerns the active side only.</summary>
    public static HdpVflParameters NextAny(Random random, int maxRows, int maxEpochs, PartySide side)
    {
        HdpVflParameters p = Next(random, maxRows, maxEpochs);
        int neighbours = random.Next(side == PartySide.Active ? 3 : 2);
        double? weight = random.Next(3) == 0 ? Math.Pow(10, random.NextDouble() - 0.5) : null;
        return p with
        {
            Adjacency = neighbours == 1 ? Adjacency.ZeroOut : Adjacency.ReplaceOne,
            Unit = neighbours == 2 ? PrivacyUnit.Label : PrivacyUnit.Record,
            Schedule = (BatchSchedule)random.Next(2),
            OffsetBound = p.Outputs == 1 && random.Next(3) == 0 ? random.NextDouble() * 3 : 0,
            WeightBound = weight,
            // U beta R^2 grows with U, so that the largest step shrinks at most as much.
            StepSize = p.StepSize / Math.Max(1, weight ?? 1),
            FreeIntercept = random.Next(4) == 0,
        };
    }

    public static HdpVflParameters Next(Random random, int maxRows, int maxEpochs)
    {
        int rows = random.Next(1, maxRows + 1);
        double clip = Magnitude(), target = Magnitude(), norm = random.Next(2) == 0 ? 1 : Magnitude(), l2 = random.Next(3) == 0 ? 0 : Magnitude() / 10;
        var family = (GlmFamilyKind)random.Next(7);
        double lipschitz = Magnitude(), beta = ReferenceBounds.Beta(family, clip, target, lipschitz);
        return new()
        {
            Family = family,
            Outputs = family == GlmFamilyKind.Multinomial ? random.Next(2, 5) : 1,
            Lipschitz = family == GlmFamilyKind.Convex ? lipschitz : null,
            Rows = rows,
            Batches = random.Next(1, rows + 1),
            Epochs = random.Next(1, maxEpochs + 1),
            StepSize = 2 / (l2 + beta * norm * norm) * (random.Next(4) == 0 ? 1 - 1e-12 : 0.01 + 0.98 * random.NextDouble()),
            L2 = l2,
            WeightNorm = Magnitude(),
            ResidualClip = clip,
            TargetBound = target,
            RowNorm = norm,
        };

        double Magnitude() => Math.Pow(10, random.NextDouble() * 2 - 1);
    }
}
