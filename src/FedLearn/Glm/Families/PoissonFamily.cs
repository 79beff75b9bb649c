using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Glm;

// r = e^z - y, l'' = e^z
internal sealed class PoissonFamily : IGlmFamily
{
    public string Name => "poisson";

    public string Link => "log";

    public GlmFamilyBounds Bounds { get; } = new(GlmFamilyKind.Poisson) { NeedsLabelRange = true, LeastLabel = 0 };

    public string? LabelFault(double label) =>
        double.IsFinite(label) && label >= 0 && label == Math.Floor(label) ? null : "a poisson label is a whole number of at least 0.";

    public double Canonical(double label) => label;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> r = residuals[..scores.Length];
        TensorPrimitives.Exp(scores, r);
        TensorPrimitives.Subtract(r, labels, r);
    }

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures) => TensorPrimitives.Exp(scores, curvatures);

    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> block = stackalloc double[Math.Min(GlmFamilies.Block, scores.Length)];
        double sum = 0;
        for (int start = 0; start < scores.Length; start += GlmFamilies.Block)
        {
            Span<double> e = block[..Math.Min(GlmFamilies.Block, scores.Length - start)];
            TensorPrimitives.Exp(scores.Slice(start, e.Length), e);
            sum += TensorPrimitives.Sum<double>(e) - TensorPrimitives.Dot(scores.Slice(start, e.Length), labels.Slice(start, e.Length));
        }

        return sum;
    }

    // 2 (y log(y/mu) - y + mu); the first term is 0 for a count of 0.
    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        double sum = 0;
        for (int i = 0; i < scores.Length; i++)
            sum += (labels[i] == 0 ? 0 : labels[i] * (Math.Log(labels[i]) - scores[i])) - labels[i] + Math.Exp(scores[i]);
        return 2 * sum;
    }

    public void Means(ReadOnlySpan<double> scores, Span<double> means) => LogLink.Means(scores, means);

    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => start[0] = LogLink.Start(labels, weights);
}
