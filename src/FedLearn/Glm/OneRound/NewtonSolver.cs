using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>Derivatives of each row's loss in its scores a = x.w: the first, class-major, shape [K n]; and the second for K = 1, shape [n], else what
/// <see cref="RowProducts"/> finds them from, shape [K n].</summary>
internal delegate void RowDerivatives(ReadOnlySpan<double> scores, Span<double> first, Span<double> second);

/// <summary>The K x K matrix of second derivatives of every row times a vector of its own, shape [K n].</summary>
internal delegate void RowProducts(ReadOnlySpan<double> second, ReadOnlySpan<double> vectors, Span<double> products);

/// <summary>Where a minimisation ended.</summary>
/// <param name="Weights">The point, shape [d].</param>
/// <param name="Scores">x.w of every row there, class-major, shape [K n].</param>
/// <param name="Converged">Whether the gradient there is as short as asked.</param>
/// <param name="Iterations">Newton steps taken.</param>
/// <param name="GradientNorm">Length of the gradient there.</param>
internal sealed record NewtonResult(double[] Weights, double[] Scores, bool Converged, int Iterations, double GradientNorm);

/// <summary>Minimises (1/n) sum l_i(x_i.w) + (l2/2)|w|^2 for convex l_i with Lipschitz derivatives, by Newton steps found with conjugate gradients.</summary>
/// <remarks>No matrix of the second derivatives is formed: a step costs some passes over the rows, so that thousands of columns need no more memory
/// than dozens. Where l_i' has kinks this is the semismooth Newton method (Qi and Sun 1993). The same input gives the same bits.</remarks>
internal static class NewtonSolver
{
    public const int LargestIterations = 200;

    /// <summary>Length of a linear system's residual, relative to the gradient, at which its solution is good enough for a step.</summary>
    private const double StepAccuracy = 1e-4;

    /// <summary>Rows whose gradient is summed at a time; sums of such chunks are compensated, so that rounding does not grow with the rows.</summary>
    public const int ChunkRows = 4096;

    /// <summary>Minimises.</summary>
    /// <param name="part">The rows.</param>
    /// <param name="l2">Penalty; 0 only where the losses alone are strictly convex.</param>
    /// <param name="loss">Derivatives of the losses.</param>
    /// <param name="tolerance">Length of the gradient to stop at.</param>
    /// <param name="relative">Or to stop at, times the first gradient's.</param>
    /// <param name="gradientError">Bound on the rounding error of the gradient at a point of given length: the computed length and this one together must
    /// be within the tolerance. Null: no allowance.</param>
    /// <param name="iterations">Largest number of steps.</param>
    /// <param name="times">How second derivatives are multiplied; null for K = 1.</param>
    /// <param name="start">Where to start, shape [d]; null for 0.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static NewtonResult Minimise(LinearPart part, double l2, RowDerivatives loss, double tolerance, double relative = 0,
        Func<double, double>? gradientError = null, int iterations = LargestIterations, RowProducts? times = null, double[]? start = null, CancellationToken cancellationToken = default)
    {
        times ??= TensorPrimitives.Multiply<double>;
        int d = part.Dimension, n = part.Rows * part.Outputs;
        double[] w = start is null ? new double[d] : [.. start], a = new double[n], first = new double[n], second = new double[n], g = new double[d];
        double[] step = new double[d], along = new double[n], triedW = new double[d], triedA = new double[n], triedG = new double[d], buffer = new double[n];
        double length = GradientAt(w, a, g), enough = Math.Max(tolerance, relative * length);
        for (int iteration = 0; ; iteration++)
        {
            if (length + (gradientError?.Invoke(TensorPrimitives.Norm<double>(w)) ?? 0) <= enough)
                return new NewtonResult(w, a, true, iteration, length);
            if (iteration == iterations || !double.IsFinite(length))
                return new NewtonResult(w, a, false, iteration, length);
            cancellationToken.ThrowIfCancellationRequested();

            Solve(part, l2, second, times, g, step, along, buffer);
            TensorPrimitives.Add(w, step, triedW);
            double full = GradientAt(triedW, triedA, triedG);
            // Near the minimum a whole step shortens the gradient by orders of magnitude; elsewhere the best point along it is looked for.
            if (!(full <= length / 2))
            {
                double t = Lbfgs.LineSearch(Slope, 1);
                if (t == 0 && !(full < length))
                    return new NewtonResult(w, a, false, iteration, length);
                if (t != 0)
                    TensorPrimitives.MultiplyAdd(step, t, w, triedW);
                full = GradientAt(triedW, triedA, triedG);
            }

            (w, triedW, a, triedA, g, triedG, length) = (triedW, w, triedA, a, triedG, g, full);
        }

        // Leaves the second derivatives of the point behind, which the next step needs.
        double GradientAt(double[] point, double[] scores, double[] gradient)
        {
            part.Scores(0, point, scores);
            loss(scores, first, second);
            Gradient(part, first, gradient);
            TensorPrimitives.MultiplyAdd(point.AsSpan(0, part.Penalised), l2, gradient.AsSpan(0, part.Penalised), gradient.AsSpan(0, part.Penalised));
            return TensorPrimitives.Norm<double>(gradient);
        }

        // First and second derivative of the objective at w + t step.
        (double First, double Second) Slope(double t)
        {
            TensorPrimitives.MultiplyAdd(along, t, a, triedA);
            loss(triedA, first, second);
            double slope = TensorPrimitives.Dot<double>(first, along), curvature;
            if (part.Outputs == 1)
                curvature = RowBlocks.Quadratic(second, along);
            else
            {
                times(second, along, first);
                curvature = TensorPrimitives.Dot<double>(first, along);
            }

            double square = TensorPrimitives.SumOfSquares<double>(step.AsSpan(0, part.Penalised)), inner = TensorPrimitives.Dot<double>(w.AsSpan(0, part.Penalised), step.AsSpan(0, part.Penalised));
            return (slope / part.Rows + l2 * (inner + t * square), curvature / part.Rows + l2 * square);
        }
    }

    /// <summary>(1/n) X' r, chunks of rows added with compensation.</summary>
    private static void Gradient(LinearPart part, ReadOnlySpan<double> residuals, Span<double> gradient)
    {
        double[] chunk = new double[gradient.Length], lost = new double[gradient.Length];
        gradient.Clear();
        int k = part.Outputs, n = part.Rows;
        double[] several = k == 1 ? [] : new double[k * Math.Min(ChunkRows, n)];
        for (int start = 0; start < n; start += ChunkRows)
        {
            int rows = Math.Min(ChunkRows, n - start);
            if (k > 1)
                RowBlocks.Gather(residuals, start, rows, n, several);
            part.Gradient(start, k == 1 ? residuals.Slice(start, rows) : several.AsSpan(0, k * rows), chunk);
            for (int j = 0; j < chunk.Length; j++)
            {
                double before = gradient[j], sum = before + chunk[j], added = sum - before;
                lost[j] += before - (sum - added) + (chunk[j] - added);                                 // Knuth's exact error of a sum
                gradient[j] = sum;
            }
        }

        TensorPrimitives.Add(gradient, lost, gradient);
        TensorPrimitives.Divide(gradient, part.Rows, gradient);
    }

    /// <summary>Solves ((1/n) X' H X + l2) step = -g by conjugate gradients.</summary>
    private static void Solve(LinearPart part, double l2, double[] second, RowProducts times, double[] g, double[] step, double[] along, double[] buffer)
    {
        int d = g.Length, n = part.Rows;
        double[] residual = new double[d], direction = new double[d], product = new double[d];
        TensorPrimitives.Negate(g, residual);
        residual.CopyTo(direction, 0);
        Array.Clear(step);
        double square = TensorPrimitives.SumOfSquares<double>(residual), goal = square * StepAccuracy * StepAccuracy;
        for (int i = 0; i < 10 * d + 100 && square > goal; i++)
        {
            part.Scores(0, direction, along);
            times(second, along, buffer);
            part.Gradient(0, buffer, product);
            TensorPrimitives.Divide(product, n, product);
            TensorPrimitives.MultiplyAdd(direction.AsSpan(0, part.Penalised), l2, product.AsSpan(0, part.Penalised), product.AsSpan(0, part.Penalised));
            double curvature = TensorPrimitives.Dot<double>(direction, product);
            if (!(curvature > 0))
                break;
            double size = square / curvature;
            TensorPrimitives.MultiplyAdd(direction, size, step, step);
            TensorPrimitives.MultiplyAdd(product, -size, residual, residual);
            double next = TensorPrimitives.SumOfSquares<double>(residual);
            TensorPrimitives.MultiplyAdd(direction, next / square, residual, direction);
            square = next;
        }

        if (square == 0 || !TensorPrimitives.IsFiniteAll<double>(step))
            TensorPrimitives.Negate(g, step);
        part.Scores(0, step, along);
    }
}
