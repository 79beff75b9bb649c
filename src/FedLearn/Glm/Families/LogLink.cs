namespace FedLearn.Glm;

/// <summary>What families with a logarithmic link share.</summary>
internal static class LogLink
{
    /// <summary>mu = e^z, one row at a time: a vector's exponential may differ in its last bit, and a prediction must not depend on how many are made.</summary>
    public static void Means(ReadOnlySpan<double> scores, Span<double> means)
    {
        for (int i = 0; i < scores.Length; i++)
            means[i] = Math.Exp(scores[i]);
    }

    /// <summary>log of the mean label; labels that are all 0 have none, and start as if half of one of them were 1.</summary>
    public static double Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights) =>
        Math.Log(GlmFamilyExtensions.MeanLabel(labels, weights) is > 0 and var mean ? mean : .5 / labels.Length);
}
