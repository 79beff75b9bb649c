namespace FedLearn.Diagnostics;

/// <summary>Words after a number, in text for people.</summary>
internal static class Counted
{
    /// <summary>The singular after 1, else the plural.</summary>
    /// <param name="number">The number.</param>
    /// <param name="one">The singular.</param>
    /// <param name="more">The plural; null: the singular and an s.</param>
    public static string Noun(double number, string one, string? more = null) => number == 1 ? one : more ?? one + "s";
}
