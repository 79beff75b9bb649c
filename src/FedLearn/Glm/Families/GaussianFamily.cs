using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Glm;

// r = z - y, l'' = 1
internal sealed class GaussianFamily : IGlmFamily
{
    public string Name => "gaussian";

    public string Link => "identity";

    public GlmFamilyBounds Bounds { get; } = new(GlmFamilyKind.Gaussian) { NeedsLabelRange = true };

    public bool EstimatesDispersion => true;

    public string? LabelFault(double label) => double.IsFinite(label) ? null : "a gaussian label is a finite number.";

    public double Canonical(double label) => label;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals) => TensorPrimitives.Subtract(scores, labels, residuals);

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures) => curvatures[..scores.Length].Fill(1);

    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> block = stackalloc double[Math.Min(GlmFamilies.Block, scores.Length)];
        double sum = 0;
        for (int start = 0; start < scores.Length; start += GlmFamilies.Block)
        {
            Span<double> r = block[..Math.Min(GlmFamilies.Block, scores.Length - start)];
            TensorPrimitives.Subtract(scores.Slice(start, r.Length), labels.Slice(start, r.Length), r);
            sum += TensorPrimitives.SumOfSquares<double>(r);
        }

        return sum / 2;
    }

    // The unit deviance is the squared error, twice the loss.
    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => 2 * LossSum(scores, labels);

    public void Means(ReadOnlySpan<double> scores, Span<double> means) => scores.CopyTo(means);

    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => start[0] = GlmFamilyExtensions.MeanLabel(labels, weights);
}
