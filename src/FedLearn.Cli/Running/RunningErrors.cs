namespace FedLearn.Cli.Running;

/// <summary>Errors of running parties on this machine; each has a page under docs/errors.</summary>
internal static class RunningErrors
{
    /// <summary>A party's process could not be started.</summary>
    public const string ChildFailed = "FL6050";
}
