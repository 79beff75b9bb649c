namespace FedLearn.Parties;

/// <summary>Errors of what a peer may align, whoever writes it down; each has a page under docs/errors.</summary>
public static class AlignmentErrors
{
    /// <summary>A peer has had all the sessions that it may have.</summary>
    public const string TooManySessions = "FL5160";

    /// <summary>A peer brings more ids than it may.</summary>
    public const string TooManyIds = "FL5161";
}
