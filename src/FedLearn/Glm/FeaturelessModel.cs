using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>The model kappa (constant + offset), without features: where a fit starts, and what its gradients are measured by.</summary>
/// <param name="Constants">Its intercepts, shape [K].</param>
/// <param name="Residual">Mean absolute residual, weighted as the loss is.</param>
/// <param name="Rounding">What rounding of the scores alone makes of it. Equal labels leave no more than that.</param>
internal sealed record FeaturelessModel(double[] Constants, double Residual, double Rounding)
{
    /// <summary>The model of training rows whose weights have mean 1, as full-batch optimisers start from it, whether or not the job's has an intercept: approximately, and beside offsets, which may
    /// differ by many orders of magnitude, fitted.</summary>
    /// <param name="family">Family.</param>
    /// <param name="targets">Rows, at least one.</param>
    public static FeaturelessModel Fitted(IGlmFamily family, GlmTargets targets)
    {
        double[] constants = new double[family.Outputs];
        if (targets.Offsets is null)
            family.Start(targets.Labels, targets.Weights, constants);
        else
            constants[0] = GlmEvaluation.Intercept(family, targets);
        double[] scores = ScoresOf(constants, targets), residuals = new double[scores.Length];
        family.Residuals(scores, targets.Labels, residuals);
        targets.Weigh(0, targets.Rows, residuals);
        return new(constants, TensorPrimitives.SumOfMagnitudes<double>(residuals) / scores.Length, RoundingOf(scores) * CurvatureAt(family, targets, scores) / scores.Length);
    }

    /// <summary>The model of some rows, approximately.</summary>
    /// <param name="family">Family.</param>
    /// <param name="targets">Rows, at least one; offsets, if any, have shape [K n].</param>
    /// <param name="kappa">Attenuation of the linear predictor; 1 for none.</param>
    public static FeaturelessModel Near(IGlmFamily family, GlmTargets targets, double kappa)
    {
        int n = targets.Rows;
        double[] constants = new double[family.Outputs];
        family.Start(targets.Labels, targets.Weights, constants);
        for (int m = 0; m < constants.Length; m++)
        {
            constants[m] /= kappa;
            if (targets.Offsets is { } offsets)
                constants[m] -= Level(offsets.AsSpan(m * n, n), targets.Weights, kappa, family.Link == "log");
        }

        double[] scores = ScoresOf(constants, targets), residuals = new double[scores.Length], shifted = new double[scores.Length];
        TensorPrimitives.Multiply(scores, kappa, scores);
        family.Residuals(scores, targets.Labels, residuals);
        TensorPrimitives.Add(scores, RoundingOf(scores), scores);
        family.Residuals(scores, targets.Labels, shifted);
        TensorPrimitives.Subtract(shifted, residuals, shifted);
        double total = kappa / (targets.Weights is null ? n : TensorPrimitives.Sum<double>(targets.Weights)) / family.Outputs;
        return new FeaturelessModel(constants, total * Magnitude(residuals), total * Magnitude(shifted));

        double Magnitude(double[] values)
        {
            targets.Weigh(0, n, values);
            return TensorPrimitives.SumOfMagnitudes<double>(values);
        }
    }

    /// <summary>Its scores of rows, class-major, without attenuation.</summary>
    public double[] Scores(GlmTargets targets) => ScoresOf(Constants, targets);

    /// <summary>Length of a gradient that is short: a share of the residuals, so that units of labels and exposures do not decide.</summary>
    /// <remarks>Those residuals are what the gradient adds up, with columns of ordinary size, and float64 adds them to some 1e-16 of their size. Labels which the model fits but for rounding, such as
    /// equal ones, leave a gradient of rounding, which nothing shortens.</remarks>
    public double Tolerance(double relative) => (Residual <= Rounding ? Rounding : relative * Residual) is var tolerance && double.IsFinite(tolerance) ? tolerance : relative;

    private static double[] ScoresOf(double[] constants, GlmTargets targets)
    {
        double[] scores = new double[constants.Length * targets.Rows];
        for (int m = 0; m < constants.Length; m++)
            scores.AsSpan(m * targets.Rows, targets.Rows).Fill(constants[m]);
        targets.AddOffsets(0, scores);
        return scores;
    }

    /// <summary>Some roundings of the largest score.</summary>
    private static double RoundingOf(double[] scores) => Math.ScaleB(1 + Math.Abs(TensorPrimitives.MaxMagnitude<double>(scores)), -48);

    /// <summary>Weighted sum of the absolute second derivatives at the model's scores.</summary>
    private static double CurvatureAt(IGlmFamily family, GlmTargets targets, double[] scores)
    {
        int n = targets.Rows, k = family.Outputs;
        double[] values = new double[k == 1 ? n : k * k];
        if (k == 1)
        {
            family.Curvatures(scores, targets.Labels, values);
            targets.Weigh(0, n, values);
            return TensorPrimitives.SumOfMagnitudes<double>(values);
        }

        // Models of several scores have no offsets, so all rows of one label have the same derivatives; one row of each label stands for them, since those of all rows would be n K^2 numbers.
        double[] point = [.. Enumerable.Range(0, k).Select(m => scores[m * n])];
        return Enumerable.Range(0, n).GroupBy(i => targets.Labels[i]).Sum(rows =>
        {
            family.Curvatures(point, [rows.Key], values);
            return rows.Sum(i => targets.Weights?[i] ?? 1) * TensorPrimitives.SumOfMagnitudes<double>(values);
        });
    }

    /// <summary>What offsets add on average: to the linear predictor, or with the link log by the mean of their factors, which may differ by orders of magnitude.</summary>
    private static double Level(ReadOnlySpan<double> offsets, double[]? weights, double kappa, bool factors)
    {
        double mean = GlmFamilyExtensions.MeanLabel(offsets, weights);
        if (!factors)
            return mean;
        double largest = TensorPrimitives.Max(offsets);
        double[] terms = new double[offsets.Length];
        TensorPrimitives.Subtract(offsets, largest, terms);
        TensorPrimitives.Multiply(terms, kappa, terms);
        TensorPrimitives.Exp<double>(terms, terms);
        // The largest factor may be that of a row of weight 0, beside which all others are 0.
        return GlmFamilyExtensions.MeanLabel(terms, weights) is > 0 and var factor ? largest + Math.Log(factor) / kappa : mean;
    }
}
