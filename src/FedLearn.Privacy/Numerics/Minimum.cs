namespace FedLearn.Privacy.Numerics;

/// <summary>Where a function of one variable is smallest.</summary>
internal static class Minimum
{
    /// <summary>Golden section on the logarithm of the variable, for a function that falls and then grows.</summary>
    /// <param name="function">The function.</param>
    /// <param name="low">Lower end, above 0.</param>
    /// <param name="high">Upper end.</param>
    /// <param name="width">Relative width at which to stop.</param>
    public static double Golden(Func<double, double> function, double low, double high, double width)
    {
        double golden = (Math.Sqrt(5) - 1) / 2, a = Math.Log(low), b = Math.Log(high);
        double x = b - golden * (b - a), y = a + golden * (b - a), fx = function(Math.Exp(x)), fy = function(Math.Exp(y));
        while (b - a > width)
        {
            if (fx <= fy)
            {
                (b, y, fy) = (y, x, fx);
                x = b - golden * (b - a);
                fx = function(Math.Exp(x));
            }
            else
            {
                (a, x, fx) = (x, y, fy);
                y = a + golden * (b - a);
                fy = function(Math.Exp(y));
            }
        }

        return Math.Exp((a + b) / 2);
    }
}
