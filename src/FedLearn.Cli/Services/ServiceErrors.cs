namespace FedLearn.Cli.Services;

/// <summary>Errors of <c>fedlearn party --service</c> and <c>fedlearn coordinator</c> as services, of the environment's variables and of telemetry; each has a page under docs/errors.</summary>
internal static class ServiceErrors
{
    /// <summary>Two party files of one service are the same party of the same job.</summary>
    public const string SameJobTwice = "FL2555";

    /// <summary>A variable of the environment, or a value of --set, names no key.</summary>
    public const string UnknownVariable = "FL2556";

    /// <summary>A variable of the environment that OpenTelemetry defines has a value that cannot be used.</summary>
    public const string BadTelemetry = "FL2557";

    /// <summary>The file that counts a party's sessions cannot be used.</summary>
    public const string CountUnusable = "FL2558";

    /// <summary>A peer began more sessions within 24 hours than the party takes part in.</summary>
    public const string TooManySessions = "FL4170";

    /// <summary>A session did not end within the time that a stop allows.</summary>
    public const string StopTookTooLong = "FL4171";

    /// <summary>The address of the health checks cannot be opened.</summary>
    public const string CannotListen = "FL4174";
}
