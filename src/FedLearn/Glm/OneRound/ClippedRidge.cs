using System.Numerics.Tensors;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>A passive party's fit in one-round training: (1/n) sum [phi(x_i.w) - t_i x_i.w] + (lambda/2)|w|^2, phi'(a) = clip(a, -K, K).</summary>
/// <remarks>The sensitivity charges tau for the length of the gradient, so the solver stops only where the real gradient, not only the computed one, is
/// that short. Without convergence there is no result, and nothing is sent.</remarks>
internal static class ClippedRidge
{
    private const double UnitRoundoff = 1.0 / (1L << 53);

    /// <summary>Fits one column of targets.</summary>
    /// <param name="part">The party's rows, each of length R at most; every coordinate is penalised.</param>
    /// <param name="targets">Targets, shape [n], each within the column's bound.</param>
    /// <param name="parameters">The public numbers.</param>
    /// <param name="column">Column of targets, from 0.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="InternalFailureException">FL6102: the gradient did not become short enough.</exception>
    public static NewtonResult Fit(LinearPart part, double[] targets, OneRoundParameters parameters, int column, CancellationToken cancellationToken = default)
    {
        double k = parameters.GradientClip, l2 = parameters.L2(column), r = parameters.RowNorm, slope = k + parameters.Columns[column].TargetBound;
        void Loss(ReadOnlySpan<double> a, Span<double> first, Span<double> second)
        {
            for (int i = 0; i < a.Length; i++)
                second[i] = Math.Abs(a[i]) < k ? 1 : 0;
            TensorPrimitives.Clamp(a, -k, k, first);
            TensorPrimitives.Subtract(first, targets, first);
        }

        // A residual is at most K + c long and errs by the error of its score, some roundings of R |w|, and one of its own; a gradient is a mean of residuals times rows, each through as many roundings as
        // a chunk has; the penalty adds four of lambda |w|.
        (double score, double gradient) = part.Roundings(NewtonSolver.ChunkRows);
        double Error(double length) => 1.01 * UnitRoundoff * ((gradient + 2) * r * slope + score * r * r * length + 4 * l2 * length);
        NewtonResult result = NewtonSolver.Minimise(part, l2, Loss, parameters.Tolerance(column) * (1 - 1e-10), 0, Error, cancellationToken: cancellationToken);
        return result.Converged ? result : throw new InternalFailureException(GlmOneRoundErrors.NotConverged, "one-round fit",
            "the fit of the passive party did not reach the tolerance that its privacy claim charges, so nothing was sent.",
            "Use a smaller privacy.oneRound.alpha, which raises the penalty; report it if it persists.");
    }
}
