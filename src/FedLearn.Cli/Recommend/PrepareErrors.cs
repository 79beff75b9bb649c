namespace FedLearn.Cli.Recommend;

/// <summary>Errors of the preparation of recommendation data; each has a page under docs/errors.</summary>
internal static class PrepareErrors
{
    /// <summary>The output directory holds something else than an unchanged earlier preparation.</summary>
    public const string OutputTaken = "FL2445";

    /// <summary>Options that say what a log of events holds do not fit together.</summary>
    public const string EventOptions = "FL2446";
}
