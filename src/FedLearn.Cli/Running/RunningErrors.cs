namespace FedLearn.Cli.Running;

/// <summary>Errors of running parties on this machine; each has a page under docs/errors.</summary>
internal static class RunningErrors
{
    /// <summary>A party's process ended before the job did, and said nothing.</summary>
    public const string ChildDied = "FL4050";

    /// <summary>A peer that was lost has not come back in time.</summary>
    public const string NotBack = "FL4151";

    /// <summary>A party's process could not be started.</summary>
    public const string ChildFailed = "FL6050";
}
