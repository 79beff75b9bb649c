namespace FedLearn.Transport.Grpc;

/// <summary>Errors of relayed connections (FL4160 to FL4169); each has a page under docs/errors.</summary>
public static class RelayErrors
{
    /// <summary>A party would be connected through a coordinator that could read what it sends.</summary>
    public const string Readable = "FL4160";

    /// <summary>The coordinator knows no job of that name.</summary>
    public const string UnknownJob = "FL4161";

    /// <summary>The coordinator knows the job with other terms.</summary>
    public const string DifferentJob = "FL4162";

    /// <summary>The job has no such party, or the party has no such part in it.</summary>
    public const string UnknownParty = "FL4163";

    /// <summary>A party, or a job, has as many relayed connections as it may have.</summary>
    public const string TooManyConnections = "FL4164";

    /// <summary>A party asked for connections more often than it may.</summary>
    public const string TooManyCalls = "FL4165";

    /// <summary>A party sent as many bytes as it may.</summary>
    public const string TooManyBytes = "FL4166";

    /// <summary>The coordinator stops, and connects nobody any more.</summary>
    public const string Stopping = "FL4167";
}
