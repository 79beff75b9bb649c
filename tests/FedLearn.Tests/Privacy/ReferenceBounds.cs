using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

/// <summary>The sensitivity recursion written as in the theorem, one record position and one step after the other. Slow and obvious.</summary>
internal static class ReferenceBounds
{
    /// <summary>How far the changed row's own entries can move (unit label: at equal weights), its residual times its unit vector, and another
    /// row's entries given the drift; L2 norms where a row has several.</summary>
    public sealed record Row(double Own, double Residual, Func<double, double> Others);

    public static Row Bounds(HdpVflParameters p, PartySide side)
    {
        double k = p.WeightNorm, c = p.ResidualClip, norm = p.RowNorm, target = p.TargetBound ?? 0, u = p.WeightBound ?? 1, offset = p.OffsetBound;
        bool replace = p.Adjacency == Adjacency.ReplaceOne, label = p.Unit == PrivacyUnit.Label;
        if (side == PartySide.Passive)
            return replace ? new(2 * norm * k, 2 * u * c, d => norm * d) : new(norm * k, u * c, d => norm * d);
        double one = Math.Min(c, 1), own, residual;
        switch (p.Family)
        {
            case GlmFamilyKind.Gaussian:
                own = label ? Math.Min(2 * c, 2 * target) : replace ? Math.Min(2 * c, 2 * (norm * k + target + offset)) : c;
                if (replace && !label && p.WeightBound is not null)
                    own = Math.Max(own, c);
                residual = label ? own : replace ? 2 * c : c;
                return new(u * own, u * residual, d => u * Math.Min(2 * c, norm * d));
            case GlmFamilyKind.Binomial:
                own = label ? Math.Min(2 * c, 1) : replace ? Math.Min(2 * c, 2 / (1 + Math.Exp(-k * norm - offset))) : one;
                residual = label ? own : replace ? 2 * one : one;
                return new(u * own, u * residual, d => u * Math.Min(2 * c, Math.Tanh(norm * d / 4)));
            case GlmFamilyKind.Multinomial:
                own = Math.Sqrt(2) * (replace && !label ? 2 : 1);
                return new(u * own, u * own, d => u * Math.Min(Math.Sqrt(2), norm * d / 2));
            case GlmFamilyKind.Gamma or GlmFamilyKind.Tweedie or GlmFamilyKind.Convex:
                own = replace || label ? 2 * c : c;
                double beta = Beta(p.Family, c, target, p.Lipschitz ?? 0);
                return new(u * own, u * own, d => u * Math.Min(2 * c, beta * norm * d));
            default:
                double range = c + Math.Min(c, target);
                own = label ? Math.Min(range, target) : replace ? range : c;
                residual = label ? own : replace ? 2 * c : c;
                return new(u * own, u * residual, d => u * Math.Min(range, (c + target) * norm * d));
        }
    }

    /// <summary>Lipschitz constant of the clipped residual in the linear predictor.</summary>
    public static double Beta(GlmFamilyKind family, double clip, double target, double lipschitz) => family switch
    {
        GlmFamilyKind.Gaussian => 1,
        GlmFamilyKind.Binomial => 0.25,
        GlmFamilyKind.Multinomial => 0.5,
        GlmFamilyKind.Gamma => 1 + clip,
        GlmFamilyKind.Tweedie => clip + Math.Max(1, target),
        GlmFamilyKind.Convex => lipschitz,
        _ => clip + target,
    };

    /// <summary>Drift D_t before step t, and bound on the step's message, for a record whose batch in each epoch is given. Unit label:
    /// <paramref name="ownDrifts"/> lets the changed row's own entry drift too; off, it is the recursion with a constant own bound.</summary>
    public static IEnumerable<(double Drift, double Message)> Steps(HdpVflParameters p, PartySide side, Func<int, int> batchOf, bool ownDrifts = true)
    {
        var layout = new BatchLayout(p.Rows, p.Batches);
        (double own, double residual, Func<double, double> others) = Bounds(p, side);
        double contraction = Math.Abs(1 - p.StepSize * p.L2);
        if (side == PartySide.Active)
        {
            double beta = Beta(p.Family, p.ResidualClip, p.TargetBound ?? 0, p.Lipschitz ?? 0);
            contraction = Math.Max(contraction, Math.Abs(1 - p.StepSize * (p.L2 + (p.WeightBound ?? 1) * beta * p.RowNorm * p.RowNorm)));
        }

        if (p.FreeIntercept)
            contraction = Math.Max(1, contraction);
        double d = 0;
        for (int t = 0; t < p.Epochs * p.Batches; t++)
        {
            int batch = t % p.Batches, b = layout.Size(batch);
            bool visit = batch == batchOf(t / p.Batches);
            double other = others(d), mine = p.Unit == PrivacyUnit.Label && ownDrifts ? own + other : own;
            yield return (d, Math.Sqrt(visit ? mine * mine + (b - 1) * other * other : b * other * other));
            d = Math.Min(2 * p.WeightNorm, contraction * d + (visit ? p.StepSize * p.RowNorm * residual / b : 0));
        }
    }

    /// <summary>Fixed partition: the worst batch.</summary>
    public static double Sensitivity(HdpVflParameters p, PartySide side, bool ownDrifts = false) =>
        Enumerable.Range(0, p.Batches).Max(j => Total(p, side, _ => j, ownDrifts));

    public static double Total(HdpVflParameters p, PartySide side, Func<int, int> batchOf, bool ownDrifts = false) =>
        Math.Sqrt(Steps(p, side, batchOf, ownDrifts).Sum(step => step.Message * step.Message));
}
