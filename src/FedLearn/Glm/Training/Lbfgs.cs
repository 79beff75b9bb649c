using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>One party's share of the L-BFGS basis: its coordinates of the last steps s, gradient changes y and the gradient g.</summary>
/// <remarks>Vector-free L-BFGS (Chen, Wang and Zhou, NIPS 2014): the direction is a combination of the basis whose coefficients need
/// inner products only, and an inner product over all coordinates is the sum of the parties' shares.</remarks>
internal sealed class LbfgsBasis(int dimension)
{
    public const int Memory = 10;

    private readonly List<double[]> _steps = [];
    private readonly List<double[]> _changes = [];
    private double[]? _gradient;
    private double[]? _lastStep;

    /// <summary>Number of basis vectors: k steps, k changes, one gradient.</summary>
    public int Count => _steps.Count * 2 + 1;

    /// <summary>Takes the gradient at the current weights; the change since the last one joins the basis with the step that caused it.</summary>
    public void Update(double[] gradient)
    {
        if (_gradient is not null && _lastStep is not null)
        {
            double[] change = new double[dimension];
            TensorPrimitives.Subtract(gradient, _gradient, change);
            _steps.Add(_lastStep);
            _changes.Add(change);
            if (_steps.Count > Memory)
            {
                _steps.RemoveAt(0);
                _changes.RemoveAt(0);
            }
        }

        _gradient = gradient;
    }

    /// <summary>Own share of all inner products, upper triangle row by row, shape [m (m + 1) / 2] for m = <see cref="Count"/>.</summary>
    public double[] InnerProducts()
    {
        int m = Count, at = 0;
        double[] products = new double[m * (m + 1) / 2];
        for (int i = 0; i < m; i++)
            for (int j = i; j < m; j++)
                products[at++] = TensorPrimitives.Dot<double>(Vector(i), Vector(j));
        return products;
    }

    /// <summary>Own coordinates of the direction.</summary>
    public double[] Direction(ReadOnlySpan<double> coefficients)
    {
        double[] direction = new double[dimension];
        for (int i = 0; i < coefficients.Length; i++)
            TensorPrimitives.MultiplyAdd(Vector(i), coefficients[i], direction, direction);
        return direction;
    }

    /// <summary>Moves the weights along the direction and remembers the step.</summary>
    public void Step(Span<double> weights, double[] direction, double length)
    {
        TensorPrimitives.Multiply(direction, length, direction);
        TensorPrimitives.Add(weights, direction, weights);
        _lastStep = direction;
    }

    private ReadOnlySpan<double> Vector(int i) => i < _steps.Count ? _steps[i] : i < 2 * _steps.Count ? _changes[i - _steps.Count] : _gradient!;
}

/// <summary>The part of L-BFGS that needs inner products over all parties' coordinates: done by the active party.</summary>
internal static class Lbfgs
{
    /// <summary>Norm of the joint gradient: the last diagonal element.</summary>
    public static double GradientNorm(ReadOnlySpan<double> products) => Math.Sqrt(products[^1]);

    /// <summary>Places of the squares, the diagonal, in the upper triangle row by row.</summary>
    /// <param name="count">Number of basis vectors.</param>
    public static int[] Squares(int count) => [.. Enumerable.Range(0, count).Select(i => (i * count) - (i * (i - 1) / 2))];

    /// <summary>Coefficients of the two-loop recursion's direction -H g in the basis s_1..s_k, y_1..y_k, g.</summary>
    /// <param name="products">Joint inner products, upper triangle row by row.</param>
    /// <param name="count">Number of basis vectors, 2k + 1.</param>
    public static double[] Direction(ReadOnlySpan<double> products, int count)
    {
        double[,] b = new double[count, count];
        for (int i = 0, at = 0; i < count; i++)
            for (int j = i; j < count; j++, at++)
                (b[i, j], b[j, i]) = (products[at], products[at]);
        int k = count / 2;
        double[] delta = new double[count], alpha = new double[k];
        delta[count - 1] = -1;
        for (int i = k - 1; i >= 0; i--)
        {
            if (!Curved(b, i, k))
                continue;
            alpha[i] = Combine(b, delta, i) / b[i, k + i];
            delta[k + i] -= alpha[i];
        }

        for (int i = k - 1; i >= 0; i--)
        {
            if (!Curved(b, i, k))
                continue;
            double scale = b[i, k + i] / b[k + i, k + i];
            for (int j = 0; j < count; j++)
                delta[j] *= scale;
            break;
        }

        for (int i = 0; i < k; i++)
            if (Curved(b, i, k))
                delta[i] += alpha[i] - Combine(b, delta, k + i) / b[i, k + i];
        return delta;
    }

    /// <summary>Step length along a direction for a convex loss, by Newton steps kept inside a bracket, and bisection where they creep.</summary>
    /// <param name="slope">First and second derivative of the objective at a step length.</param>
    /// <param name="first">First step length tried, above 0.</param>
    /// <returns>The step length; 0 when the direction does not descend or no decrease is representable.</returns>
    public static double LineSearch(Func<double, (double First, double Second)> slope, double first)
    {
        double start = slope(0).First, low = 0, high = double.PositiveInfinity, step = first, move = double.PositiveInfinity;
        if (!(start < 0))
            return 0;
        for (int i = 0; i < 200; i++)
        {
            (double derivative, double curvature) = slope(step);
            bool finite = double.IsFinite(derivative) && double.IsFinite(curvature);
            if (finite && Math.Abs(derivative) <= 1e-6 * -start)
                return step;
            if (finite && derivative < 0)
                low = step;
            else
                high = step;
            double next = finite && curvature > 0 ? step - derivative / curvature : double.NaN;
            next = Math.Min(next, 10 * step);
            // Far out on an exponential every Newton step is as short as the last: bisect unless moves halve (Numerical Recipes, rtsafe).
            bool bracketed = !double.IsInfinity(high);
            if (!(next > low && next < high) || (bracketed && Math.Abs(next - step) > move / 2))
                next = bracketed ? low + (high - low) / 2 : 2 * step;
            if (next == step)
                return finite ? step : low;
            (step, move) = (next, Math.Abs(next - step));
        }

        return low;
    }

    // A pair with no positive curvature, which rounding can make near the optimum, is left out.
    private static bool Curved(double[,] b, int i, int k) => b[i, k + i] > 1e-12 * Math.Sqrt(b[i, i] * b[k + i, k + i]);

    private static double Combine(double[,] b, double[] delta, int row)
    {
        double sum = 0;
        for (int j = 0; j < delta.Length; j++)
            sum += delta[j] * b[j, row];
        return sum;
    }
}
