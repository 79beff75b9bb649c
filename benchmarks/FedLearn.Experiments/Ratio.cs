using System.Globalization;

namespace FedLearn.Experiments;

/// <summary>A ratio of two things measured by turns, as <c>benchmarks/ratios.py</c> reads it.</summary>
/// <param name="Name">The verb, a point, and what it is; without blanks.</param>
/// <param name="Value">The ratio.</param>
/// <param name="Bar">What it must stay within; null for none.</param>
/// <param name="LargerIsBetter">Whether the bar is a lower one.</param>
internal sealed record Ratio(string Name, double Value, double? Bar, bool LargerIsBetter = false)
{
    /// <summary>Whether the bar is met.</summary>
    public bool Holds => Bar is not { } bar || (LargerIsBetter ? Value >= bar : Value <= bar);

    /// <inheritdoc />
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"ratio {Name} {Value:0.####} {(LargerIsBetter ? ">=" : "<=")} {(Bar is { } bar ? bar.ToString("0.####", CultureInfo.InvariantCulture) : "-")}");

    /// <summary>Prints ratios.</summary>
    /// <returns>The exit code: 1 where a bar is missed.</returns>
    public static int Print(IEnumerable<Ratio> ratios)
    {
        int code = 0;
        foreach (Ratio ratio in ratios)
        {
            Console.Out.WriteLine(ratio);
            if (!ratio.Holds)
                code = 1;
        }

        return code;
    }
}
