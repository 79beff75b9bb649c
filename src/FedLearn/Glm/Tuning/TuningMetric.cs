using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The figure that candidates are compared by, under its name in reports.</summary>
internal static class TuningMetric
{
    private static readonly string[] SmallerIsBetter = ["logLoss", "brier", "rmse", "mae", "deviance"];

    /// <summary>Whether a larger value of a figure is a better one.</summary>
    public static bool LargerIsBetter(string metric) => !SmallerIsBetter.Contains(metric);

    /// <summary>The figure asked for, or the usual one of a family.</summary>
    /// <param name="family">Family.</param>
    /// <param name="asked">Name; null for auc (binomial), logLoss (multinomial) or deviance.</param>
    /// <exception cref="ConfigurationException">FL2411: there is no such figure, or the family does not have it.</exception>
    public static string Of(IGlmFamily family, string? asked)
    {
        GlmFamilyKind? kind = family.Kind();
        // What a model of the kind has at all; on given rows a figure may still be undefined.
        MetricSet sample = kind switch
        {
            GlmFamilyKind.Binomial => MetricSet.ForBinomial([2, -1, 1], [1, 0, 1]),
            GlmFamilyKind.Multinomial => MetricSet.ForClasses([.8, .1, .2, .1, .8, .2, .1, .1, .6], [0, 1, 2], 3),
            _ => MetricSet.ForGaussian([1, 2, 4], [1, 3, 5]),
        };
        string metric = asked ?? kind switch { GlmFamilyKind.Binomial => "auc", GlmFamilyKind.Multinomial => "logLoss", _ => "deviance" };
        string[] known = [.. sample.Named().Where(m => m.Value is not null).Select(m => m.Key)];
        return known.Contains(metric) ? metric : throw new ConfigurationException(GlmErrors.MetricUndefined, "metric",
            $"'{metric}' is no figure of models of the {family.Name} family.", $"Use one of {string.Join(", ", known)}.");
    }
}
