using System.Globalization;

namespace FedLearn.Dssm;

/// <summary>Names under which what leaves a party without protection is counted.</summary>
internal static class DssmDisclosures
{
    /// <summary>Whose positive events there are and when: of training, validation, test and of lists of items.</summary>
    public const string TrainingKeys = "sample-keys: training", ValidationKeys = "sample-keys: validation", TestKeys = "sample-keys: test", TopKKeys = "sample-keys: top-k";

    /// <summary>Which users both parties have, and how many rows there are of them.</summary>
    public const string Intersection = "user intersection", Sizes = "sizes", Presence = "view presence";

    /// <summary>Vectors of a view without noise.</summary>
    public const string TrainingVectors = "embeddings: training", ValidationVectors = "embeddings: validation", TestVectors = "embeddings: test",
        ColdUserVectors = "embeddings: cold users", TopKVectors = "embeddings: top-k";

    /// <summary>Gradients that the label party returns without noise.</summary>
    public const string Gradients = "embedding gradients: training";

    /// <summary>Item vectors that leave the label party.</summary>
    public const string ItemVectors = "item vectors: export";

    /// <summary>Scores of one party's part between companies: least squares on the item matrix gives the vector back.</summary>
    public const string PartialScores = "partial scores";

    /// <summary>The opened sum of masked vectors, unless each of the views noises its own.</summary>
    /// <param name="views">Views in the sum.</param>
    public static string SumOf(int views) => string.Create(CultureInfo.InvariantCulture, $"sum of {views} embeddings");
}
