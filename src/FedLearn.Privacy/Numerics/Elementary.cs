namespace FedLearn.Privacy.Numerics;

/// <summary>e^x - 1 and log(1 + x) without cancellation near 0. The framework's own forms subtract and add first.</summary>
internal static class Elementary
{
    /// <summary>e^x - 1 to a few units in the last place (Kahan's form).</summary>
    public static double ExpM1(double x)
    {
        if (Math.Abs(x) < 0.02)
            return x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7))))));
        double y = Math.Exp(x);
        return Math.Abs(x) > 0.5 ? y - 1 : (y - 1) * x / Math.Log(y);
    }

    /// <summary>log(1 + x) for x above -1, to a few units in the last place (Kahan's form).</summary>
    public static double LogP1(double x)
    {
        double y = 1 + x;
        return y == 1 ? x : Math.Abs(x) > 0.5 ? Math.Log(y) : Math.Log(y) * (x / (y - 1));
    }
}
