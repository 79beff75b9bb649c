using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

/// <summary>The sensitivity recursion written as in the theorem, one record position and one step after the other. Slow and obvious.</summary>
internal static class ReferenceBounds
{
    /// <summary>Drift D_t before step t, and bound on the step's message, for a record in batch j.</summary>
    public static IEnumerable<(double Drift, double Message)> Steps(HdpVflParameters p, PartySide side, int j)
    {
        var layout = new BatchLayout(p.Rows, p.Batches);
        double eta = p.StepSize, lambda = p.L2, k = p.WeightNorm, clip = p.ResidualClip, norm = p.RowNorm, target = p.TargetBound ?? 0;
        double beta = p.Family switch { GlmFamilyKind.Gaussian => 1, GlmFamilyKind.Binomial => 0.25, _ => clip + target };
        double contraction = Math.Abs(1 - eta * lambda);
        double own = 2 * k * norm, residual = clip;
        Func<double, double> others = drift => norm * drift;
        if (side == PartySide.Active)
        {
            contraction = Math.Max(contraction, Math.Abs(1 - eta * (lambda + beta * norm * norm)));
            switch (p.Family)
            {
                case GlmFamilyKind.Gaussian:
                    own = Math.Min(2 * clip, 2 * (k * norm + target));
                    others = drift => Math.Min(2 * clip, norm * drift);
                    break;
                case GlmFamilyKind.Binomial:
                    own = Math.Min(2 * clip, 2 / (1 + Math.Exp(-k * norm)));
                    residual = Math.Min(clip, 1);
                    others = drift => Math.Min(2 * clip, Math.Tanh(norm * drift / 4));
                    break;
                default:
                    own = clip + Math.Min(clip, target);
                    others = drift => Math.Min(own, (clip + target) * norm * drift);
                    break;
            }
        }

        if (p.FreeIntercept)
            contraction = Math.Max(1, contraction);
        double d = 0;
        for (int t = 0; t < p.Epochs * p.Batches; t++)
        {
            int batch = t % p.Batches, b = layout.Size(batch);
            double other = others(d);
            yield return (d, Math.Sqrt(batch == j ? own * own + (b - 1) * other * other : b * other * other));
            d = Math.Min(2 * k, contraction * d + (batch == j ? 2 * eta * norm * residual / b : 0));
        }
    }

    public static double Sensitivity(HdpVflParameters p, PartySide side) => Enumerable.Range(0, p.Batches)
        .Max(j => Math.Sqrt(Steps(p, side, j).Sum(step => step.Message * step.Message)));
}
