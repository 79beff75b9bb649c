using System.Globalization;
using FedLearn.Privacy;

namespace FedLearn.Glm;

// With mu = e^z, a = mu^(2-p), b = y mu^(1-p): r = a - b, l'' = (2-p) a + (p-1) b
internal sealed class TweedieFamily(double power) : IGlmFamily
{
    public string Name => "tweedie";

    public string Link => "log";

    public double Power => power;

    public IReadOnlyDictionary<string, double> Parameters { get; } = new Dictionary<string, double> { ["power"] = power };

    public GlmFamilyBounds Bounds { get; } = new(GlmFamilyKind.Tweedie) { NeedsLabelRange = true, LeastLabel = 0 };

    public bool EstimatesDispersion => true;

    public double UnitVariance(double mean) => Math.Pow(mean, power);

    public string? LabelFault(double label) => double.IsFinite(label) && label >= 0 ? null : "a tweedie label is a finite number of at least 0.";

    public double Canonical(double label) => label;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        for (int i = 0; i < scores.Length; i++)
        {
            (double a, double b) = Terms(scores[i], labels[i]);
            residuals[i] = a - b;
        }
    }

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        for (int i = 0; i < scores.Length; i++)
        {
            (double a, double b) = Terms(scores[i], labels[i]);
            curvatures[i] = (2 - power) * a + (power - 1) * b;
        }
    }

    // a/(2-p) + b/(p-1)
    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        double sum = 0;
        for (int i = 0; i < scores.Length; i++)
        {
            (double a, double b) = Terms(scores[i], labels[i]);
            sum += a / (2 - power) + b / (power - 1);
        }

        return sum;
    }

    // The saturated loss, a/(2-p) + b/(p-1) at mu = y, is y^(2-p)/((p-1)(2-p)).
    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        double sum = LossSum(scores, labels);
        foreach (double label in labels)
            sum -= Math.Pow(label, 2 - power) / ((power - 1) * (2 - power));
        return 2 * sum;
    }

    public void Means(ReadOnlySpan<double> scores, Span<double> means) => LogLink.Means(scores, means);

    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => start[0] = LogLink.Start(labels, weights);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Name} {power:R}");

    // A label of 0 has b = 0 whatever the score: 0 times the infinity that a hostile score makes of the other factor would be NaN, and tell the label.
    private (double A, double B) Terms(double score, double label) => (Math.Exp((2 - power) * score), label == 0 ? 0 : label * Math.Exp((1 - power) * score));
}
