namespace FedLearn.Cli.Recommend;

/// <summary>Errors of the verbs of recommendation models; each has a page under docs/errors.</summary>
internal static class RecommendErrors
{
    /// <summary>A list of fewer than one item is asked for.</summary>
    public const string ListLength = "FL2455";

    /// <summary>A file of users cannot be read, or names nobody.</summary>
    public const string Users = "FL2456";
}
