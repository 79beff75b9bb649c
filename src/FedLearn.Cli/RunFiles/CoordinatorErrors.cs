namespace FedLearn.Cli.RunFiles;

/// <summary>Errors of coordinator files; each has a page under docs/errors.</summary>
internal static class CoordinatorErrors
{
    /// <summary>A job file that coordinator.json names cannot be read or has faults.</summary>
    public const string JobFaulty = "FL2550";

    /// <summary>Two job files have the same name of the job.</summary>
    public const string SameName = "FL2551";
}
