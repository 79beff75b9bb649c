using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>The model kappa (constant + offset), approximately: where a local fit starts, and what its gradients are measured by.</summary>
/// <param name="Constants">Its intercepts, shape [K].</param>
/// <param name="Residual">Mean absolute residual, weighted as the loss is.</param>
/// <param name="Rounding">What rounding of the scores alone makes of it. Equal labels leave no more than that.</param>
internal sealed record FeaturelessModel(double[] Constants, double Residual, double Rounding)
{
    /// <summary>The model of some rows.</summary>
    /// <param name="family">Family.</param>
    /// <param name="targets">Rows, at least one; offsets, if any, have shape [K n].</param>
    /// <param name="kappa">Attenuation of the linear predictor; 1 for none.</param>
    public static FeaturelessModel Of(IGlmFamily family, GlmTargets targets, double kappa)
    {
        int n = targets.Rows;
        double[] constants = new double[family.Outputs], scores = new double[n * family.Outputs], residuals = new double[scores.Length], shifted = new double[scores.Length];
        family.Start(targets.Labels, targets.Weights, constants);
        for (int m = 0; m < constants.Length; m++)
        {
            constants[m] /= kappa;
            if (targets.Offsets is { } offsets)
                constants[m] -= Level(offsets.AsSpan(m * n, n), targets.Weights, kappa, family.Link == "log");
            scores.AsSpan(m * n, n).Fill(constants[m]);
        }

        targets.AddOffsets(0, scores);
        TensorPrimitives.Multiply(scores, kappa, scores);
        family.Residuals(scores, targets.Labels, residuals);
        TensorPrimitives.Add(scores, Math.ScaleB(1 + Math.Abs(TensorPrimitives.MaxMagnitude<double>(scores)), -48), scores);
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

    /// <summary>Length of a gradient that is short: a share of the residuals, so that units of labels and exposures do not decide.</summary>
    public double Tolerance(double relative) => (Residual <= Rounding ? Rounding : relative * Residual) is var tolerance && double.IsFinite(tolerance) ? tolerance : relative;

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
        // All factors may vanish beside that of a row without weight.
        return GlmFamilyExtensions.MeanLabel(terms, weights) is > 0 and var factor ? largest + Math.Log(factor) / kappa : mean;
    }
}
