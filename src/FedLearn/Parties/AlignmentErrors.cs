namespace FedLearn.Parties;

/// <summary>Errors of how parties find their common rows, and of what a peer may align; each has a page under docs/errors.</summary>
public static class AlignmentErrors
{
    /// <summary>A party was given no alignment of the method that the job names.</summary>
    public const string MethodMissing = "FL2523";

    /// <summary>An alignment of one's own named rows that cannot be.</summary>
    public const string RowsUnusable = "FL2526";

    /// <summary>A peer has had all the sessions that it may have.</summary>
    public const string TooManySessions = "FL5160";

    /// <summary>A peer brings more ids than it may.</summary>
    public const string TooManyIds = "FL5161";
}
