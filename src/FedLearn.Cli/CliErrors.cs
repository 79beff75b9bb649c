namespace FedLearn.Cli;

/// <summary>Errors of the command line; each has a page under docs/errors. Those of run files are in <see cref="RunFiles.RunFileErrors"/>.</summary>
internal static class CliErrors
{
    /// <summary>A verb or option that the tool does not have, or an option that is missing or has a value it cannot have.</summary>
    public const string Usage = "FL2100";

    /// <summary>Options that do not go together, or of which one more is needed.</summary>
    public const string OptionsDisagree = "FL2101";

    /// <summary>A result cannot be written where it was asked for.</summary>
    public const string CannotWrite = "FL2102";

    /// <summary>A file that is to be compared is no training report.</summary>
    public const string NoReport = "FL2103";

    /// <summary>The number of training rows is neither given nor to be learnt from the job's files.</summary>
    public const string RowsUnknown = "FL2308";

    /// <summary>The job's privacy mode has no noise to plan.</summary>
    public const string NothingToPlan = "FL2309";

    /// <summary>An error that the tool did not expect.</summary>
    public const string Unexpected = "FL6001";
}
