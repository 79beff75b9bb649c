using System.Numerics.Tensors;
using FedLearn.Diagnostics;

namespace FedLearn.Glm;

/// <summary>How much each training row counts.</summary>
internal static class GlmRowWeights
{
    /// <summary>Sample weight times class weight of each row.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="samples">Sample weights of the training rows, at least 0; null for ones. Changed in place.</param>
    /// <param name="labels">Canonical labels of the training rows.</param>
    /// <returns>Null where every row counts 1. In mode hdp-vfl at most the declared bound, by clipping, and divided by nothing that depends on rows. In
    /// other modes of mean 1, so that weights of 2 are weights of 1, and the mean loss is the weighted mean; in one-round training weights that cannot be scaled so count as ones.</returns>
    /// <exception cref="BadInputException">FL3105: every weight is 0.</exception>
    public static double[]? Of(GlmPlan plan, double[]? samples, double[] labels)
    {
        bool bounded = plan.Mode == PrivacyMode.HdpVfl && plan.Job.Training.SampleWeightBound is not null;
        if (samples is null && plan.Job.Training.ClassWeights is null && !bounded)
            return null;
        double[] weights = samples ?? Ones(labels.Length);
        if (plan.Job.Training.ClassWeights is { } classes)
        {
            double[] byClass = classes is GlmClassWeights.Declared declared ? [.. declared.Weights] : Balanced(labels, Math.Max(2, plan.Family.Outputs));
            for (int i = 0; i < weights.Length; i++)
                weights[i] *= byClass[(int)labels[i]];
        }

        if (bounded)
        {
            TensorPrimitives.Min(weights, plan.WeightBound, weights);
            return weights;
        }

        double mean = TensorPrimitives.Sum<double>(weights) / weights.Length;
        // Weights of one-round training stay at the party: an error that peers see would tell of them, and of labels where classes have weights.
        if (plan.Mode == PrivacyMode.OneRound && (!(mean > 0) || !double.IsFinite(mean)))
            return null;
        if (!(mean > 0) || !double.IsFinite(mean))
            throw new BadInputException(GlmErrors.NoWeight, "weights of the training rows", "they are all 0, or their sum is beyond float64.", "Give at least one training row an ordinary weight.");
        TensorPrimitives.Divide(weights, mean, weights);
        return weights;
    }

    /// <summary>n/(M n_m) of each class; 0 for a class without rows.</summary>
    private static double[] Balanced(double[] labels, int classes)
    {
        double[] counts = new double[classes];
        foreach (double label in labels)
            counts[(int)label]++;
        return [.. counts.Select(count => count == 0 ? 0 : labels.Length / (classes * count))];
    }

    private static double[] Ones(int count)
    {
        double[] ones = new double[count];
        ones.AsSpan().Fill(1);
        return ones;
    }
}
