namespace FedLearn.Cli.Running;

/// <summary>Errors of comparing the ways to train; each has a page under docs/errors.</summary>
internal static class CompareErrors
{
    /// <summary>Neither the job nor the command line gives a delta for the private rows.</summary>
    public const string NoDelta = "FL2500";

    /// <summary>A party has a budget of its own, which would stand in for the epsilons to compare.</summary>
    public const string OwnBudget = "FL2501";

    /// <summary>The job has one party, so that there is nothing to compare.</summary>
    public const string OneParty = "FL2502";
}
