using System.Numerics.Tensors;

namespace FedLearn.Evaluation;

/// <summary>Metrics over rows. NaN in, NaN out; no rows: NaN, or null where the metric can be undefined.</summary>
public static class Metrics
{
    /// <summary>Area under the ROC curve: the chance that a positive row scores above a negative one, ties counting half (midranks).</summary>
    /// <param name="scores">Any increasing function of the probability, shape [n].</param>
    /// <param name="labels">Positive above 0, else negative; so 0/1 and -1/+1 both serve. Shape [n].</param>
    /// <returns>0 to 1; null when a class is absent or a score is NaN.</returns>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double? Auc(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        RequireEqualLengths(scores, labels);
        double[] sorted = scores.ToArray();
        bool[] positive = new bool[sorted.Length];
        long positives = 0;
        for (int i = 0; i < sorted.Length; i++)
        {
            if (double.IsNaN(sorted[i]))
                return null;
            positive[i] = labels[i] > 0;
            positives += positive[i] ? 1 : 0;
        }

        long negatives = sorted.Length - positives;
        if (positives == 0 || negatives == 0)
            return null;
        Array.Sort(sorted, positive);

        // Twice the number of (positive, negative) pairs in order, a tie counting one: exact in long up to 2^31 rows.
        long pairs = 0, below = 0;
        for (int start = 0, end; start < sorted.Length; start = end)
        {
            long tiedPositives = 0;
            for (end = start; end < sorted.Length && sorted[end] == sorted[start]; end++)
                tiedPositives += positive[end] ? 1 : 0;
            long tiedNegatives = end - start - tiedPositives;
            pairs += tiedPositives * ((2 * below) + tiedNegatives);
            below += tiedNegatives;
        }

        return pairs / (2.0 * positives * negatives);
    }

    /// <summary>Kolmogorov-Smirnov statistic: the largest true positive rate less false positive rate over all thresholds.</summary>
    /// <param name="scores">Any increasing function of the probability, shape [n].</param>
    /// <param name="labels">Positive above 0, else negative; shape [n].</param>
    /// <returns>0 to 1; null when a class is absent or a score is NaN.</returns>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double? Ks(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        RequireEqualLengths(scores, labels);
        return Defined(Ranking.Of(scores, labels)?.Weigh().Ks);
    }

    /// <summary>Average precision: the area under the step curve of precision over recall, sum of (R_k - R_(k-1)) P_k over the distinct scores
    /// from the highest down. No interpolation, which would be too favourable (Davis and Goadrich 2006).</summary>
    /// <param name="scores">Any increasing function of the probability, shape [n].</param>
    /// <param name="labels">Positive above 0, else negative; shape [n].</param>
    /// <returns>Above 0, at most 1; null when no row is positive or a score is NaN.</returns>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double? PrAuc(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        RequireEqualLengths(scores, labels);
        return Defined(Ranking.Of(scores, labels)?.Weigh().AveragePrecision);
    }

    /// <summary>Brier score: the mean of (p - y)^2.</summary>
    /// <param name="probabilities">Probabilities p of label 1, shape [n].</param>
    /// <param name="labels">0 or 1, shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double Brier(ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels) => GaussianDeviance(probabilities, labels);

    /// <summary>Share of rows whose class is predicted: positive at a log odds above 0.</summary>
    /// <param name="scores">Linear predictors z, shape [n].</param>
    /// <param name="labels">Positive above 0, else negative; shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double Accuracy(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        RequireEqualLengths(scores, labels);
        long right = 0;
        for (int i = 0; i < scores.Length; i++)
        {
            if (double.IsNaN(scores[i]))
                return double.NaN;
            right += scores[i] > 0 == labels[i] > 0 ? 1 : 0;
        }

        return right / (double)scores.Length;
    }

    /// <summary>Mean of log(1 + e^z) - y z, in nats; infinite when an infinite score has the other label.</summary>
    /// <param name="scores">Linear predictors z, shape [n].</param>
    /// <param name="labels">0 or 1, shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double LogLoss(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        RequireEqualLengths(scores, labels);
        double sum = 0;
        for (int i = 0; i < scores.Length; i++)
            sum += LogLoss(scores[i], labels[i]);

        return sum / scores.Length;
    }

    /// <summary>Mean unit deviance of a binary label: twice the log-loss, since the saturated model has none.</summary>
    /// <param name="scores">Linear predictors z, shape [n].</param>
    /// <param name="labels">0 or 1, shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double BinomialDeviance(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => 2 * LogLoss(scores, labels);

    /// <summary>Mean unit deviance of a Gaussian label: the mean squared error.</summary>
    /// <param name="means">Predicted means, shape [n].</param>
    /// <param name="labels">Labels, shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double GaussianDeviance(ReadOnlySpan<double> means, ReadOnlySpan<double> labels)
    {
        RequireEqualLengths(means, labels);
        double sum = 0;
        for (int i = 0; i < means.Length; i++)
            sum += (labels[i] - means[i]) * (labels[i] - means[i]);
        return sum / means.Length;
    }

    /// <summary>Mean unit deviance 2 (y log(y / mu) - (y - mu)) of a count; 2 mu for y = 0.</summary>
    /// <param name="means">Predicted means mu, above 0, shape [n].</param>
    /// <param name="labels">Counts y, at least 0, shape [n].</param>
    /// <returns>At least 0; infinity when a mean is 0 and its count is not.</returns>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double PoissonDeviance(ReadOnlySpan<double> means, ReadOnlySpan<double> labels)
    {
        RequireEqualLengths(means, labels);
        double sum = 0;
        for (int i = 0; i < means.Length; i++)
        {
            double y = labels[i], mu = means[i];
            sum += (y == 0 ? 0 : y * Math.Log(y / mu)) - (y - mu);
        }

        return 2 * sum / means.Length;
    }

    /// <summary>Root of the mean squared error, in units of the label.</summary>
    /// <param name="means">Predicted means, shape [n].</param>
    /// <param name="labels">Labels, shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double Rmse(ReadOnlySpan<double> means, ReadOnlySpan<double> labels) => Math.Sqrt(GaussianDeviance(means, labels));

    /// <summary>Mean absolute error, in units of the label.</summary>
    /// <param name="means">Predicted means, shape [n].</param>
    /// <param name="labels">Labels, shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double Mae(ReadOnlySpan<double> means, ReadOnlySpan<double> labels)
    {
        RequireEqualLengths(means, labels);
        double sum = 0;
        for (int i = 0; i < means.Length; i++)
            sum += Math.Abs(labels[i] - means[i]);
        return sum / means.Length;
    }

    /// <summary>1 - sum (y - mu)^2 / sum (y - mean of y)^2.</summary>
    /// <param name="means">Predicted means, shape [n].</param>
    /// <param name="labels">Labels, shape [n].</param>
    /// <returns>At most 1; null when all labels are equal.</returns>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static double? R2(ReadOnlySpan<double> means, ReadOnlySpan<double> labels)
    {
        RequireEqualLengths(means, labels);
        if (labels.IsEmpty || labels.IndexOfAnyExcept(labels[0]) < 0)
            return null;
        double mean = 0, total = 0;
        foreach (double label in labels)
            mean += label;
        mean /= labels.Length;
        foreach (double label in labels)
            total += (label - mean) * (label - mean);
        return 1 - (GaussianDeviance(means, labels) * labels.Length / total);
    }

    /// <summary>log(1 + e^z) - y z of one row, with its limit at infinite z. As max(z, 0) + log(1 + e^-|z|) the first term cannot overflow.</summary>
    internal static double LogLoss(double score, double label) => double.IsInfinity(score) && !double.IsNaN(label)
        ? label == (score > 0 ? 1 : 0) ? 0 : double.PositiveInfinity
        : Math.Max(score, 0) - (label * score) + Log1p(Math.Exp(-Math.Abs(score)));

    /// <summary>Null for NaN, the internal mark of an undefined figure.</summary>
    internal static double? Defined(double? figure) => figure is { } number && !double.IsNaN(number) ? number : null;

    /// <summary>log(1 + x) for x from 0 on without the loss of digits of a small x (Kahan's correction).</summary>
    internal static double Log1p(double x)
    {
        double sum = 1 + x;
        return sum == 1 ? x : Math.Log(sum) * (x / (sum - 1));
    }

    internal static bool HasNaN(ReadOnlySpan<double> values) => TensorPrimitives.IsNaNAny(values);

    internal static void RequireEqualLengths(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        if (scores.Length != labels.Length)
            throw new ArgumentException($"{scores.Length} scores do not fit {labels.Length} labels.", nameof(labels));
    }
}
