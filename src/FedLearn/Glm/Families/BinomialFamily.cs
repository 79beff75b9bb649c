using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Glm;

// r = sigmoid(z) - y, l'' = sigmoid(z) sigmoid(-z)
internal sealed class BinomialFamily : IGlmFamily
{
    public string Name => "binomial";

    public string Link => "logit";

    public GlmFamilyBounds Bounds { get; } = new(GlmFamilyKind.Binomial);

    public string? LabelFault(double label) => label is 0 or 1 or -1 ? null : "a binomial label is 0 or 1, or else -1 or 1.";

    public double Canonical(double label) => label > 0 ? 1 : 0;

    // With s = 1 - 2y the residual is s sigmoid(s z): one sigmoid, and none of the cancellation of sigmoid(z) - 1 where the model is right.
    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> signs = stackalloc double[Math.Min(GlmFamilies.Block, scores.Length)];
        for (int start = 0; start < scores.Length; start += GlmFamilies.Block)
        {
            Span<double> s = signs[..Math.Min(GlmFamilies.Block, scores.Length - start)], r = residuals.Slice(start, s.Length);
            Signs(labels.Slice(start, s.Length), s);
            TensorPrimitives.Multiply(scores.Slice(start, s.Length), s, r);
            TensorPrimitives.Sigmoid(r, r);
            TensorPrimitives.Multiply(r, s, r);
        }
    }

    // p (1 - p) is even in z; at -|z| nothing cancels, since p is at most 1/2.
    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
    {
        if (scores.IsEmpty)
            return; // Sigmoid refuses an empty span
        Span<double> p = curvatures[..scores.Length];
        TensorPrimitives.Abs(scores, p);
        TensorPrimitives.Negate(p, p);
        TensorPrimitives.Sigmoid(p, p);
        for (int i = 0; i < p.Length; i++)
            p[i] *= 1 - p[i];
    }

    // With t = s z = (1 - 2y) z the loss is log(1 + e^t) = max(t, 0) + log(1 + e^-|t|), which cannot overflow. Absolute error of the second term: an ulp of 1.
    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> blockT = stackalloc double[Math.Min(GlmFamilies.Block, scores.Length)], blockE = stackalloc double[blockT.Length];
        double sum = 0;
        for (int start = 0; start < scores.Length; start += GlmFamilies.Block)
        {
            Span<double> t = blockT[..Math.Min(GlmFamilies.Block, scores.Length - start)], e = blockE[..t.Length];
            Signs(labels.Slice(start, t.Length), t);
            TensorPrimitives.Multiply(t, scores.Slice(start, t.Length), t);
            TensorPrimitives.Abs(t, e);
            TensorPrimitives.Negate(e, e);
            TensorPrimitives.Exp(e, e);
            TensorPrimitives.LogP1(e, e);
            TensorPrimitives.Max(t, 0.0, t);
            sum += TensorPrimitives.Sum<double>(t) + TensorPrimitives.Sum<double>(e);
        }

        return sum;
    }

    // The saturated model of a 0/1 label has no loss.
    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => 2 * LossSum(scores, labels);

    public void Means(ReadOnlySpan<double> scores, Span<double> means)
    {
        // e^-|z| cannot overflow, and keeps the digits of a small probability.
        for (int i = 0; i < scores.Length; i++)
        {
            double e = Math.Exp(-Math.Abs(scores[i]));
            means[i] = scores[i] >= 0 ? 1 / (1 + e) : e / (1 + e);
        }
    }

    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start)
    {
        // Labels of one class alone have no finite log odds.
        double least = .5 / labels.Length, mean = Math.Clamp(GlmFamilyExtensions.MeanLabel(labels, weights), least, 1 - least);
        start[0] = Math.Log(mean / (1 - mean));
    }

    private static void Signs(ReadOnlySpan<double> labels, Span<double> signs)
    {
        TensorPrimitives.Multiply(labels, -2, signs);
        TensorPrimitives.Add(signs, 1, signs);
    }
}
