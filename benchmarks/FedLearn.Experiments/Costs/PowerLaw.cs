namespace FedLearn.Experiments.Costs;

/// <summary>y = c x^k, fitted by least squares of logarithms.</summary>
/// <param name="Exponent">k.</param>
/// <param name="StandardError">Of k, from the residuals; null with two points.</param>
/// <param name="Factor">c.</param>
internal sealed record PowerLaw(double Exponent, double? StandardError, double Factor)
{
    /// <summary>Fits; null with fewer than two points.</summary>
    public static PowerLaw? Fit(IReadOnlyList<(double X, double Y)> points)
    {
        if (points.Count < 2)
            return null;
        double[] x = [.. points.Select(p => Math.Log(p.X))], y = [.. points.Select(p => Math.Log(p.Y))];
        double meanX = x.Average(), meanY = y.Average(), squares = x.Sum(v => (v - meanX) * (v - meanX));
        double slope = x.Zip(y, (a, b) => (a - meanX) * (b - meanY)).Sum() / squares;
        double residual = x.Zip(y, (a, b) => Math.Pow(b - meanY - slope * (a - meanX), 2)).Sum();
        return new(slope, points.Count == 2 ? null : Math.Sqrt(residual / (points.Count - 2) / squares), Math.Exp(meanY - slope * meanX));
    }
}
