namespace FedLearn.Cli.Running;

/// <summary>Errors of aligning on this machine; each has a page under docs/errors.</summary>
internal static class AlignErrors
{
    /// <summary>An index was asked for where the output gives none.</summary>
    public const string NoIndexHere = "FL2524";

    /// <summary>An output for two parties, and the job has more.</summary>
    public const string OutputOfTwo = "FL2525";

    /// <summary>A table changed between the runs of one comparison.</summary>
    public const string TableChanged = "FL3152";
}
