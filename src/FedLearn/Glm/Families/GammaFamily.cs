using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Glm;

// With mu = e^z: r = 1 - y/mu, l'' = y/mu, expected 1
internal sealed class GammaFamily : IGlmFamily
{
    public string Name => "gamma";

    public string Link => "log";

    public GlmFamilyBounds Bounds { get; } = new(GlmFamilyKind.Gamma);

    public bool EstimatesDispersion => true;

    public double UnitVariance(double mean) => mean * mean;

    public string? LabelFault(double label) => double.IsFinite(label) && label > 0 ? null : "a gamma label is a finite number above 0.";

    public double Canonical(double label) => label;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        Curvatures(scores, labels, residuals);
        TensorPrimitives.Subtract(1, residuals[..scores.Length], residuals);
    }

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> ratio = curvatures[..scores.Length];
        TensorPrimitives.Negate(scores, ratio);
        TensorPrimitives.Exp(ratio, ratio);
        TensorPrimitives.Multiply(ratio, labels, ratio);
    }

    public void Information(ReadOnlySpan<double> scores, Span<double> information) => information[..scores.Length].Fill(1);

    // z + y e^-z
    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> block = stackalloc double[Math.Min(GlmFamilies.Block, scores.Length)];
        double sum = TensorPrimitives.Sum(scores);
        if (double.IsNegativeInfinity(sum))
            return double.PositiveInfinity;                                                             // a mean of 0: the exponential grows faster
        for (int start = 0; start < scores.Length; start += GlmFamilies.Block)
        {
            Span<double> ratio = block[..Math.Min(GlmFamilies.Block, scores.Length - start)];
            Curvatures(scores.Slice(start, ratio.Length), labels.Slice(start, ratio.Length), ratio);
            sum += TensorPrimitives.Sum<double>(ratio);
        }

        return sum;
    }

    // 2 (y/mu - 1 - log(y/mu))
    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        double sum = LossSum(scores, labels) - scores.Length;
        foreach (double label in labels)
            sum -= Math.Log(label);
        return 2 * sum;
    }

    public void Means(ReadOnlySpan<double> scores, Span<double> means) => LogLink.Means(scores, means);

    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => start[0] = LogLink.Start(labels, weights);
}
