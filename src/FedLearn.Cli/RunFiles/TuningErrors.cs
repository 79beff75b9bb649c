namespace FedLearn.Cli.RunFiles;

/// <summary>Errors of cross-validation and grids; each has a page under docs/errors.</summary>
internal static class TuningErrors
{
    /// <summary>A grid cannot be read.</summary>
    public const string NoGrid = "FL2170";

    /// <summary>A grid has a key that it may not have.</summary>
    public const string UnknownGridKey = "FL2171";

    /// <summary>A grid has too many combinations.</summary>
    public const string GridTooLarge = "FL2172";

    /// <summary>A key of a grid has no effect in the job.</summary>
    public const string GridKeyIgnored = "FL2173";

    /// <summary>A cross-validation of a private job was asked to save a model.</summary>
    public const string NoModelOfPrivateTuning = "FL5119";
}
