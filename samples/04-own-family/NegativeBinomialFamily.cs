using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Samples.OwnFamily;

/// <summary>Counts that spread more than Poisson's: variance mu + a mu^2 for a fixed a, logarithmic link.</summary>
/// <param name="spread">a, above 0.</param>
/// <remarks>With mu = e^z and s = a mu/(1 + a mu): loss (y + 1/a) log(1 + a mu) - y z, r = (y + 1/a) s - y, l'' = (y + 1/a) s (1 - s).</remarks>
internal sealed class NegativeBinomialFamily(double spread) : IGlmFamily
{
    public string Name => "negative-binomial";

    public string Link => "log";

    public string? LabelFault(double label) =>
        double.IsFinite(label) && label >= 0 && label == Math.Floor(label) ? null : "a negative binomial label is a whole number of at least 0.";

    public double Canonical(double label) => label;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        for (int i = 0; i < scores.Length; i++)
            residuals[i] = (labels[i] + 1 / spread) * Share(scores[i]) - labels[i];
    }

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
    {
        for (int i = 0; i < scores.Length; i++)
            curvatures[i] = (labels[i] + 1 / spread) * Share(scores[i]) * Share(-scores[i], 1 / spread);
    }

    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        double sum = 0;
        for (int i = 0; i < scores.Length; i++)
            sum += (labels[i] + 1 / spread) * LogOfOnePlus(Math.Log(spread) + scores[i]) - labels[i] * scores[i];
        return sum;
    }

    // The saturated model has mu = y; its loss for y = 0 is 0.
    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        double sum = LossSum(scores, labels);
        foreach (double y in labels)
            sum -= y == 0 ? 0 : (y + 1 / spread) * Math.Log(1 + spread * y) - y * Math.Log(y);
        return 2 * sum;
    }

    public void Means(ReadOnlySpan<double> scores, Span<double> means)
    {
        for (int i = 0; i < scores.Length; i++)
            means[i] = Math.Exp(scores[i]);
    }

    // The best constant mean is the mean label, whatever the spread.
    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start)
    {
        double sum = 0, total = 0;
        for (int i = 0; i < labels.Length; i++)
        {
            double weight = weights.IsEmpty ? 1 : weights[i];
            sum += weight * labels[i];
            total += weight;
        }

        start[0] = Math.Log(Math.Max(sum / total, .5 / labels.Length));
    }

    // What mode hdp-vfl needs: how fast the residual, clipped to [-C, C], can move. Its slope is l'' where it is not clipped.
    //   (y + 1/a) s (1 - s) <= (y + 1/a)/4 always; and with r = (y + 1/a) s - y, 1 - s = (1/a - r)/(y + 1/a), so l'' = s (1/a - r) <= 1/a + C where r >= -C.
    // The second needs no declared range of the label.
    public GlmFamilyBounds Bounds { get; } = new(GlmFamilyKind.Convex)
    {
        Lipschitz = (clip, labelBound) => Math.Min(1 / spread + clip, labelBound is { } bound ? (bound + 1 / spread) / 4 : double.PositiveInfinity),
        LeastLabel = 0,
    };

    /// <summary>a e^z/(1 + a e^z), from the side where nothing overflows.</summary>
    private double Share(double score) => Share(score, spread);

    private static double Share(double score, double a)
    {
        double z = Math.Log(a) + score, e = Math.Exp(-Math.Abs(z));
        return z >= 0 ? 1 / (1 + e) : e / (1 + e);
    }

    private static double LogOfOnePlus(double exponent) => Math.Max(exponent, 0) + Math.Log(1 + Math.Exp(-Math.Abs(exponent)));
}
