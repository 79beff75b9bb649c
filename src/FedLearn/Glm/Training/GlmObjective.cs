using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>The objective (1/n) sum l(z, y) + (l2/2)|w|^2 over one party's coordinates.</summary>
internal static class GlmObjective
{
    /// <summary>Own coordinates of the gradient: X' r / n + l2 w, the free intercept unpenalised.</summary>
    public static double[] Gradient(LinearPart part, ReadOnlySpan<double> residuals, ReadOnlySpan<double> weights, double l2)
    {
        double[] gradient = new double[part.Dimension];
        part.Gradient(0, residuals, gradient);
        TensorPrimitives.Divide(gradient, part.Rows, gradient);
        Span<double> penalised = gradient.AsSpan(0, part.Penalised);
        TensorPrimitives.MultiplyAdd(weights[..part.Penalised], l2, penalised, penalised);
        return gradient;
    }

    /// <summary>Own share of |w|^2 and |w|_1 over penalised coordinates.</summary>
    public static (double Squares, double Magnitudes) Norms(ReadOnlySpan<double> weights, int penalised) =>
        (TensorPrimitives.SumOfSquares(weights[..penalised]), TensorPrimitives.SumOfMagnitudes(weights[..penalised]));

    /// <summary>Own share of |w|^2, w.d and |d|^2 over penalised coordinates: the penalty along a direction.</summary>
    public static double[] PenaltyTerms(ReadOnlySpan<double> weights, ReadOnlySpan<double> direction, int penalised)
    {
        ReadOnlySpan<double> w = weights[..penalised], d = direction[..penalised];
        return [TensorPrimitives.Dot(w, w), TensorPrimitives.Dot(w, d), TensorPrimitives.Dot(d, d)];
    }
}
