using FedLearn.Evaluation;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The figures of a family.</summary>
internal static class GlmEvaluation
{
    /// <summary>The figures alone, at threshold 0.5.</summary>
    /// <inheritdoc cref="Of" path="/param" />
    public static MetricSet FiguresOf(IGlmFamily family, double[] scores, double[] labels)
    {
        double[] means = new double[scores.Length];
        family.Means(scores, means);
        return family.Outputs > 1 ? MetricSet.ForClasses(means, labels, family.Outputs)
            : family.Kind() == GlmFamilyKind.Binomial ? MetricSet.ForBinomial(scores, means, labels)
            : MetricSet.ForRegression(means, labels, (m, y) => DevianceSum(family, m, y));
    }

    /// <summary>Evaluates scores against labels.</summary>
    /// <param name="family">The family of true labels.</param>
    /// <param name="scores">Linear predictors, class-major, shape [K n].</param>
    /// <param name="labels">Canonical labels, shape [n].</param>
    /// <param name="options">Threshold and bootstrap.</param>
    public static ModelEvaluation Of(IGlmFamily family, double[] scores, double[] labels, EvaluationOptions options)
    {
        double[] means = new double[scores.Length];
        family.Means(scores, means);
        return family.Outputs > 1 ? ModelEvaluation.Classes(means, labels, family.Outputs, options)
            : family.Kind() == GlmFamilyKind.Binomial ? ModelEvaluation.Binary(scores, means, labels, options)
            : ModelEvaluation.Regression(means, labels, (m, y) => DevianceSum(family, m, y), options);
    }

    private static double DevianceSum(IGlmFamily family, ReadOnlySpan<double> means, ReadOnlySpan<double> labels)
    {
        Span<double> scores = means.Length <= 256 ? stackalloc double[means.Length] : new double[means.Length];
        for (int i = 0; i < means.Length; i++)
            scores[i] = family.LinkOf(means[i]);
        return family.DevianceSum(scores, labels);
    }
}
