using System.Numerics.Tensors;
using FedLearn.Evaluation;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The figures of a family.</summary>
internal static class GlmEvaluation
{
    private const int MostNullSteps = 100;
    private const double NullTolerance = 1e-12, NullBalance = 1e-6, SmallestExact = 1e-290, SlopeStep = 1e-4;

    /// <summary>The figures alone, at threshold 0.5.</summary>
    /// <inheritdoc cref="Of" path="/param" />
    public static MetricSet FiguresOf(IGlmFamily family, double[] scores, double[] labels, double[]? offsets = null)
    {
        double[] means = new double[scores.Length];
        family.Means(scores, means);
        return family.Outputs > 1 ? MetricSet.ForClasses(means, labels, family.Outputs, Losses(family, scores, means, labels))
            : family.Kind() == GlmFamilyKind.Binomial ? MetricSet.ForBinomial(scores, means, labels, NullModelOf(family, labels, offsets))
            : MetricSet.ForRegression(means, labels, (m, y) => DevianceSum(family, m, y), NullModelOf(family, labels, offsets));
    }

    /// <summary>Evaluates scores against labels.</summary>
    /// <param name="family">The family of true labels.</param>
    /// <param name="scores">Linear predictors, class-major, shape [K n].</param>
    /// <param name="labels">Canonical labels, shape [n].</param>
    /// <param name="options">Threshold and bootstrap.</param>
    /// <param name="offsets">Offsets of the rows, shape [n], which the scores hold; null for none.</param>
    /// <param name="cancellationToken">Leaves the intervals out, or those that are not there yet.</param>
    public static ModelEvaluation Of(IGlmFamily family, double[] scores, double[] labels, EvaluationOptions options, double[]? offsets = null, CancellationToken cancellationToken = default)
    {
        double[] means = new double[scores.Length];
        family.Means(scores, means);
        return family.Outputs > 1 ? ModelEvaluation.Classes(means, labels, family.Outputs, options, Losses(family, scores, means, labels), cancellationToken)
            : family.Kind() == GlmFamilyKind.Binomial ? ModelEvaluation.Binary(scores, means, labels, options, NullModelOf(family, labels, offsets), cancellationToken)
            : ModelEvaluation.Regression(means, labels, (m, y) => DevianceSum(family, m, y), options, NullModelOf(family, labels, offsets), cancellationToken);
    }

    /// <summary>An intercept beside offsets; each row counts once, as in all figures. Null without offsets.</summary>
    internal static NullModel? NullModelOf(IGlmFamily family, double[] labels, double[]? offsets)
    {
        if (offsets is null || labels.Length == 0)
            return null;
        int n = labels.Length;
        double[] z = new double[n], first = new double[n], second = new double[n], means = new double[n], above = new double[n], deviances = new double[n];
        Intercept(family, new GlmTargets(labels, null, offsets), z, first, second);
        family.Means(z, means);
        for (int i = 0; i < n; i++)
            deviances[i] = family.DevianceSum(z.AsSpan(i, 1), labels.AsSpan(i, 1));
        // The interface has no derivative of a mean: a central difference, good to nine digits.
        TensorPrimitives.Add(z, SlopeStep, above);
        family.Means(above, above);
        TensorPrimitives.Subtract(z, SlopeStep, z);
        family.Means(z, z);
        TensorPrimitives.Subtract(above, z, above);
        TensorPrimitives.Divide(above, 2 * SlopeStep, above);
        return new NullModel(means, deviances, first, second, above);
    }

    /// <summary>The intercept beside offsets, of a family of one linear predictor.</summary>
    /// <param name="family">The family.</param>
    /// <param name="targets">Labels, weights and offsets, which there are.</param>
    /// <returns>The intercept; where no finite one is the best, as for labels that are all 0, about that of labels which nearly are.</returns>
    internal static double Intercept(IGlmFamily family, GlmTargets targets)
    {
        double[] residuals = new double[targets.Rows];
        (double approximate, double best) = Intercept(family, targets, new double[targets.Rows], residuals, new double[targets.Rows]);
        // Residuals of the best one cancel; where all of them have one sign, Newton's method would run for ever.
        return Math.Abs(TensorPrimitives.Sum<double>(residuals)) <= NullBalance * TensorPrimitives.SumOfMagnitudes<double>(residuals) ? best : approximate;
    }

    /// <summary>Fits an intercept beside offsets by Newton's method; leaves the linear predictors and weighted derivatives behind.</summary>
    private static (double Approximate, double Best) Intercept(IGlmFamily family, GlmTargets targets, double[] z, double[] first, double[] second)
    {
        Span<double> start = stackalloc double[1];
        family.Start(targets.Labels, targets.Weights, start);
        // The sum of the residuals grows with the intercept: a Newton step, or enough halves of it, brings it nearer to 0.
        double approximate = start[0] - GlmFamilyExtensions.MeanLabel(targets.Offsets, targets.Weights), b = approximate, gradient = GradientAt(b);
        for (int i = 0; i < MostNullSteps; i++)
        {
            double step = -gradient / TensorPrimitives.Sum<double>(second), tried;
            if (!double.IsFinite(step))
                break;
            while (!(Math.Abs(tried = GradientAt(b + step)) < Math.Abs(gradient)) && Math.Abs(step) > NullTolerance * Math.Max(1, Math.Abs(b)))
                step /= 2;
            if (!(Math.Abs(tried) < Math.Abs(gradient)))
                break;
            (b, gradient) = (b + step, tried);
        }

        GradientAt(b);
        return (approximate, b);

        double GradientAt(double intercept)
        {
            TensorPrimitives.Add(targets.Offsets, intercept, z);
            family.Residuals(z, targets.Labels, first);
            family.Curvatures(z, targets.Labels, second);
            targets.Weigh(0, targets.Rows, first);
            targets.Weigh(0, targets.Rows, second);
            return TensorPrimitives.Sum<double>(first);
        }
    }

    /// <summary>Negative log-likelihoods of the classes of rows: a probability that underflows has a logarithm all the same.</summary>
    private static double[] Losses(IGlmFamily family, double[] scores, double[] means, double[] labels)
    {
        int n = labels.Length;
        double[] losses = new double[n];
        Span<double> row = stackalloc double[family.Outputs];
        for (int i = 0; i < n; i++)
        {
            double probability = means[((int)labels[i] * n) + i];
            losses[i] = -Math.Log(probability);
            if (!(probability < SmallestExact))
                continue;
            for (int m = 0; m < row.Length; m++)
                row[m] = scores[(m * n) + i];
            losses[i] = family.DevianceSum(row, labels.AsSpan(i, 1)) / 2;
        }

        return losses;
    }

    private static double DevianceSum(IGlmFamily family, ReadOnlySpan<double> means, ReadOnlySpan<double> labels)
    {
        Span<double> scores = means.Length <= 256 ? stackalloc double[means.Length] : new double[means.Length];
        for (int i = 0; i < means.Length; i++)
            scores[i] = family.LinkOf(means[i]);
        return family.DevianceSum(scores, labels);
    }
}
