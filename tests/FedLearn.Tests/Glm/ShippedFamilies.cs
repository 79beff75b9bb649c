using System.Numerics.Tensors;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Tests.Glm;

/// <summary>The families that FedLearn ships; multinomial has three classes.</summary>
internal static class ShippedFamilies
{
    internal static IReadOnlyList<IGlmFamily> All { get; } =
        [GlmFamilies.Gaussian, GlmFamilies.Binomial, GlmFamilies.Poisson, GlmFamilies.Gamma, GlmFamilies.Tweedie(), GlmFamilies.Multinomial(3)];

    internal static IGlmFamily Named(string name) => name == SteepFamily.FamilyName ? new SteepFamily() : All.Single(family => family.Name == name);
}

/// <summary>A user's own family with declared bounds: loss s (z - c - y)^2/2, whose residual is s times as steep as the gaussian's.</summary>
internal sealed class SteepFamily : IGlmFamily
{
    internal const string FamilyName = "steep";

    internal const double Steepness = 3;

    /// <summary>An odd number from which doubles are whole: 1/2 more is rounded up, anything less down.</summary>
    internal const double Far = 3.0 * (1L << 51) + 1;

    /// <summary>Score c at which a label of 0 has no residual.</summary>
    internal double Center { get; init; }

    public string Name => FamilyName;

    public string Link => "identity";

    public GlmFamilyBounds Bounds { get; } = new(GlmFamilyKind.Convex) { Lipschitz = (_, _) => Steepness, NeedsLabelRange = true };

    public string? LabelFault(double label) => double.IsFinite(label) ? null : "a label is a finite number.";

    public double Canonical(double label) => label;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        TensorPrimitives.Subtract(scores, Center, residuals);
        TensorPrimitives.Subtract(residuals[..scores.Length], labels, residuals);
        TensorPrimitives.Multiply(residuals[..scores.Length], Steepness, residuals);
    }

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures) => curvatures[..scores.Length].Fill(Steepness);

    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => Steepness * GlmFamilies.Gaussian.LossSum(scores, labels);

    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => 2 * LossSum(scores, labels);

    public void Means(ReadOnlySpan<double> scores, Span<double> means) => scores.CopyTo(means);

    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => start.Clear();
}
