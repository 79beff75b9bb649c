using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>What families with a logarithmic link share.</summary>
internal static class LogLink
{
    /// <summary>mu = e^z.</summary>
    public static void Means(ReadOnlySpan<double> scores, Span<double> means) => TensorPrimitives.Exp(scores, means);

    /// <summary>log of the mean label; labels that are all 0 have none, and start as if half of one of them were 1.</summary>
    public static double Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights) =>
        Math.Log(Math.Max(GlmFamilyExtensions.MeanLabel(labels, weights), .5 / labels.Length));
}
