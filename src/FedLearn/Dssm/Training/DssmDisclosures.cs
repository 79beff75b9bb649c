using System.Globalization;

namespace FedLearn.Dssm;

/// <summary>Names under which what leaves a party without protection is counted.</summary>
internal static class DssmDisclosures
{
    /// <summary>Gradients that the active party returns without noise.</summary>
    public const string Gradients = "embedding gradients: training";

    /// <summary>User and moment of samples of users whom the view has: that and when each event happened, and how active each user is. Of other samples where they stand among all.</summary>
    public static string SampleKeys(string set) => $"sample-keys: {set}";

    /// <summary>Which samples a view has a row for.</summary>
    public static string Presence(string set) => $"view presence: {set}";

    /// <summary>Vectors of a view without noise.</summary>
    public static string Embeddings(string set) => $"embeddings: {set}";

    /// <summary>The opened sum of masked vectors, unless each of the views noises its own.</summary>
    public static string SumOf(int views) => string.Create(CultureInfo.InvariantCulture, $"sum of {views} embeddings");
}
