using System.CommandLine;
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

    /// <summary>The option of a run of a few seconds, whose ratios <c>benchmarks/ratios.py</c> compares with earlier ones.</summary>
    public static Option<bool> Quick(string description) => new("--quick") { Description = description };

    /// <summary>Prints a result and its ratios, and writes it to a file with today's date.</summary>
    /// <param name="verb">Names the file.</param>
    /// <param name="text">The result.</param>
    /// <param name="ratios">Its ratios.</param>
    /// <param name="folder">Where the file goes; null in a quick run, which writes none and misses no bar.</param>
    /// <returns>The exit code: 1 where a bar is missed.</returns>
    public static int Finish(string verb, string text, IReadOnlyList<Ratio> ratios, DirectoryInfo? folder)
    {
        Console.Out.Write(text);
        int code = Print(ratios);
        if (folder is null)
            return 0;
        folder.Create();
        string bars = string.Join('\n', ratios.Where(ratio => ratio.Bar is not null).Select(ratio => string.Create(CultureInfo.InvariantCulture, $"| {ratio.Name} | {ratio.Value:0.###} | {(ratio.LargerIsBetter ? "at least" : "at most")} {ratio.Bar:0.###} | {(ratio.Holds ? "met" : "**missed**")} |")));
        File.WriteAllText(Path.Combine(folder.FullName, $"{DateTime.UtcNow:yyyy-MM-dd}-{verb}.md"), bars.Length == 0 ? text : $"{text.TrimEnd()}\n\n| ratio | value | bar | |\n|---|---|---|---|\n{bars}\n");
        return code;
    }

    /// <summary>Prints ratios.</summary>
    /// <returns>The exit code: 1 where a bar is missed.</returns>
    private static int Print(IEnumerable<Ratio> ratios)
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
