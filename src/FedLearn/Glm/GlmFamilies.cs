using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>The families that FedLearn ships. A family of one's own implements <see cref="IGlmFamily"/>.</summary>
public static class GlmFamilies
{
    /// <summary>Normal label, identity link, loss (z - y)^2 / 2. Any finite label.</summary>
    public static IGlmFamily Gaussian { get; } = new GaussianFamily();

    /// <summary>Two classes, logit link, loss log(1 + e^z) - y z. Labels 0 and 1, or -1 and +1.</summary>
    public static IGlmFamily Binomial { get; } = new BinomialFamily();

    /// <summary>Counts, log link, loss e^z - y z (the term log y! is constant and dropped). Whole labels of at least 0.</summary>
    public static IGlmFamily Poisson { get; } = new PoissonFamily();

    /// <summary>All of them.</summary>
    public static IReadOnlyList<IGlmFamily> All { get; } = [Gaussian, Binomial, Poisson];

    /// <summary>Rows worked on at a time where a vector of intermediate values is needed: 2 KiB, well inside the first-level cache.</summary>
    internal const int Block = 256;
}

// r = z - y, l'' = 1
internal sealed class GaussianFamily : IGlmFamily
{
    public string Name => "gaussian";

    public Privacy.GlmFamilyKind? ProvedBounds => Privacy.GlmFamilyKind.Gaussian;

    public string? LabelFault(double label) => double.IsFinite(label) ? null : "a gaussian label is a finite number.";

    public double Canonical(double label) => label;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals) => TensorPrimitives.Subtract(scores, labels, residuals);

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures) => curvatures[..scores.Length].Fill(1);

    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> block = stackalloc double[Math.Min(GlmFamilies.Block, scores.Length)];
        double sum = 0;
        for (int start = 0; start < scores.Length; start += GlmFamilies.Block)
        {
            Span<double> r = block[..Math.Min(GlmFamilies.Block, scores.Length - start)];
            TensorPrimitives.Subtract(scores.Slice(start, r.Length), labels.Slice(start, r.Length), r);
            sum += TensorPrimitives.SumOfSquares<double>(r);
        }

        return sum / 2;
    }

    public double Mean(double score) => score;
}

// r = sigmoid(z) - y, l'' = sigmoid(z) sigmoid(-z)
internal sealed class BinomialFamily : IGlmFamily
{
    public string Name => "binomial";

    public Privacy.GlmFamilyKind? ProvedBounds => Privacy.GlmFamilyKind.Binomial;

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

    public double Mean(double score)
    {
        double e = Math.Exp(-Math.Abs(score));
        return score >= 0 ? 1 / (1 + e) : e / (1 + e);
    }

    private static void Signs(ReadOnlySpan<double> labels, Span<double> signs)
    {
        TensorPrimitives.Multiply(labels, -2, signs);
        TensorPrimitives.Add(signs, 1, signs);
    }
}

// r = e^z - y, l'' = e^z
internal sealed class PoissonFamily : IGlmFamily
{
    public string Name => "poisson";

    public Privacy.GlmFamilyKind? ProvedBounds => Privacy.GlmFamilyKind.Poisson;

    public string? LabelFault(double label) =>
        double.IsFinite(label) && label >= 0 && label == Math.Floor(label) ? null : "a poisson label is a whole number of at least 0.";

    public double Canonical(double label) => label;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> r = residuals[..scores.Length];
        TensorPrimitives.Exp(scores, r);
        TensorPrimitives.Subtract(r, labels, r);
    }

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures) => TensorPrimitives.Exp(scores, curvatures);

    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        Span<double> block = stackalloc double[Math.Min(GlmFamilies.Block, scores.Length)];
        double sum = 0;
        for (int start = 0; start < scores.Length; start += GlmFamilies.Block)
        {
            Span<double> e = block[..Math.Min(GlmFamilies.Block, scores.Length - start)];
            TensorPrimitives.Exp(scores.Slice(start, e.Length), e);
            sum += TensorPrimitives.Sum<double>(e) - TensorPrimitives.Dot(scores.Slice(start, e.Length), labels.Slice(start, e.Length));
        }

        return sum;
    }

    public double Mean(double score) => Math.Exp(score);
}
