using System.Globalization;
using FedLearn.Data;
using FedLearn.Evaluation;

namespace FedLearn.Glm;

/// <summary>What the active party reaches with its own features alone. Next to it a private result shows whether it was worth its privacy.</summary>
/// <param name="Train">On the training rows.</param>
/// <param name="Test">On the test rows; null without any.</param>
public sealed record GuestOnlyMetrics(MetricSet Train, MetricSet? Test)
{
    /// <summary>Whether the fit that they are of converged.</summary>
    internal bool Converged { get; init; } = true;
}

/// <summary>The active party's own model. It needs nobody, releases nothing and costs nothing.</summary>
internal static class GuestOnly
{
    /// <summary>Length of the gradient, relative to the mean residual of the model without features, that is short enough for four digits of a metric.</summary>
    private const double Accuracy = 1e-4;

    /// <summary>Fits on the training rows with penalty <see cref="OneRoundRefit.Penalty"/>, and measures. An intercept is free, whatever the claims of the others need: nothing of the fit leaves.</summary>
    public static GuestOnlyMetrics Fit(IGlmFamily family, LinearPart train, LinearPart test, GlmTargets trainTargets, GlmTargets testTargets, bool intercept)
    {
        (train, test) = (train.With(train.Outputs, intercept), test.With(test.Outputs, intercept));
        NewtonResult fit = OneRoundRefit.Fit(train, family, trainTargets.Labels, trainTargets.Offsets, 1, trainTargets.Weights, relative: Accuracy);
        double[] scores = new double[test.Rows * test.Outputs];
        test.Scores(0, fit.Weights, scores);
        testTargets.AddOffsets(0, scores);
        trainTargets.AddOffsets(0, fit.Scores);
        MetricSet? tested = test.Rows == 0 ? null : GlmEvaluation.FiguresOf(family, scores, testTargets.Labels, testTargets.Offsets);
        return new GuestOnlyMetrics(GlmEvaluation.FiguresOf(family, fit.Scores, trainTargets.Labels, trainTargets.Offsets), tested) { Converged = fit.Converged };
    }

    /// <summary>Says so where the model is worse than the active party alone on the same test rows, beyond what <see cref="Accuracy"/> leaves open; and where that one did not converge.</summary>
    /// <param name="model">The model's figures of the test rows; null where they were not measured.</param>
    /// <param name="metrics">Those of the active party alone; null where there are none.</param>
    public static IEnumerable<string> Warnings(MetricSet? model, GuestOnlyMetrics? metrics)
    {
        if (metrics is { Converged: false })
            yield return "the active party's model of its own features alone did not converge, so that its figures say little: look for columns of extreme size" + CellsOutside.OutsideClaims;
        MetricSet? alone = metrics?.Test;
        (string name, double? with, double? without) = alone?.LogLoss is { } loss ? ("log loss", model?.LogLoss, loss) : ("deviance", model?.Deviance, alone?.Deviance);
        if (with > without * (1 + 10 * Accuracy))
            yield return string.Create(CultureInfo.InvariantCulture,
                $"the noise outweighs what the other parties know: on the test rows the model's {name} is {with:G4}, and that of the active party alone {without:G4}. Use a larger epsilon, more rows or other settings, or the active party's own model; training that ended too early looks the same{CellsOutside.OutsideClaims}");
    }
}
