namespace FedLearn.Transport.Grpc;

/// <summary>Errors of the gRPC transport (FL4040 to FL4079, FL4172, FL4173, FL2150); each has a page under docs/errors.</summary>
public static class GrpcErrors
{
    /// <summary>The options of an application that hosts parties are unusable.</summary>
    public const string InvalidOptions = "FL2150";

    /// <summary>An address outside this machine was asked for without encryption.</summary>
    public const string PlaintextRefused = "FL4040";

    /// <summary>A call named a session that this coordinator does not have.</summary>
    public const string WrongSession = "FL4041";

    /// <summary>The address answers, but not in gRPC.</summary>
    public const string NotGrpc = "FL4042";

    /// <summary>The other side ended a call with a gRPC status that carries no FedLearn error.</summary>
    public const string CallFailed = "FL4043";

    /// <summary>A peer took more of a host than its quotas let it.</summary>
    public const string QuotaExceeded = "FL4172";

    /// <summary>A peer sent more bytes in one session than a host takes.</summary>
    public const string TooManyBytes = "FL4173";
}
