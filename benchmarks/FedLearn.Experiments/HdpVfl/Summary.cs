using System.Globalization;
using System.Text.Json.Serialization;

namespace FedLearn.Experiments.HdpVfl;

/// <summary>Mean and sample deviation (n - 1) of a metric.</summary>
internal readonly record struct Summary(double Mean, double Deviation)
{
    /// <summary>What a mean must be not to be below this one less its deviation.</summary>
    [JsonIgnore]
    public double Least => Mean - Deviation;

    /// <summary>Summarises at least one value; the deviation of a single one is 0.</summary>
    public static Summary Of(IEnumerable<double> values)
    {
        double[] x = [.. values];
        double mean = x.Average();
        return new Summary(mean, x.Length < 2 ? 0 : Math.Sqrt(x.Sum(v => (v - mean) * (v - mean)) / (x.Length - 1)));
    }

    /// <summary>Such as <c>0.7812 ± 0.0071</c>; without the deviation where it is 0.</summary>
    public override string ToString() => Mean.ToString("F4", CultureInfo.InvariantCulture) + (Deviation == 0 ? "" : Deviation.ToString(" ± 0.0000", CultureInfo.InvariantCulture));
}
