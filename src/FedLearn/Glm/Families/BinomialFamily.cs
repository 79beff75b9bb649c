using System.Numerics.Tensors;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

// r = sigmoid(z) - y, l'' = sigmoid(z) sigmoid(-z)
internal sealed class BinomialFamily : IGlmFamily
{
    public string Name => "binomial";

    public string Link => "logit";

    public GlmFamilyBounds Bounds { get; } = new(GlmFamilyKind.Binomial);

    public string? LabelFault(double label) => label is 0 or 1 or -1 ? null : "a binomial label is 0 or 1, or else -1 or 1.";

    public double Canonical(double label) => label > 0 ? 1 : 0;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals) => LogisticKernels.Residuals(scores, labels, residuals);

    /// <summary>Residuals, and the sum of the losses, with one exponential a row.</summary>
    public static double ResidualsAndLoss(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals) => LogisticKernels.ResidualsAndLoss(scores, labels, residuals);

    // p (1 - p) is even in z; at -|z| nothing cancels, since p is at most 1/2.
    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
    {
        if (scores.IsEmpty)
            return; // Sigmoid refuses an empty span
        Span<double> p = curvatures[..scores.Length];
        TensorPrimitives.Abs(scores, p);
        TensorPrimitives.Negate(p, p);
        TensorPrimitives.Sigmoid(p, p);
        for (int i = 0; i < p.Length; i++)
            p[i] *= 1 - p[i];
    }

    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => LogisticKernels.LossSum(scores, labels);

    // The saturated model of a 0/1 label has no loss.
    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => 2 * LossSum(scores, labels);

    public void Means(ReadOnlySpan<double> scores, Span<double> means)
    {
        // e^-|z| cannot overflow, and keeps the digits of a small probability.
        for (int i = 0; i < scores.Length; i++)
        {
            double e = Math.Exp(-Math.Abs(scores[i]));
            means[i] = scores[i] >= 0 ? 1 / (1 + e) : e / (1 + e);
        }
    }

    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start)
    {
        // Labels of one class alone have no finite log odds.
        double least = .5 / labels.Length, mean = Math.Clamp(GlmFamilyExtensions.MeanLabel(labels, weights), least, 1 - least);
        start[0] = Math.Log(mean / (1 - mean));
    }
}
