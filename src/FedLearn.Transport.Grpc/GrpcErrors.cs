namespace FedLearn.Transport.Grpc;

/// <summary>Errors of the gRPC transport (FL4040 to FL4079, FL4130 to FL4149, FL4172, FL4173, FL2150, FL2530 to FL2534); each has a page under docs/errors.</summary>
public static class GrpcErrors
{
    /// <summary>The options of an application that hosts parties are unusable.</summary>
    public const string InvalidOptions = "FL2150";

    /// <summary>Settings of identity and encryption do not go together, or miss something.</summary>
    public const string InvalidSecurity = "FL2530";

    /// <summary>A certificate or its private key cannot be used.</summary>
    public const string CertificateUnusable = "FL2531";

    /// <summary>A private key lies in a file that others may read.</summary>
    public const string KeyExposed = "FL2532";

    /// <summary>A list of revoked certificates is past its time, or from the future.</summary>
    public const string RevocationListStale = "FL2533";

    /// <summary>A list of revoked certificates cannot be read, is partial, or is not signed by its issuer.</summary>
    public const string RevocationListUnusable = "FL2534";

    /// <summary>An address outside this machine was asked for without encryption.</summary>
    public const string PlaintextRefused = "FL4040";

    /// <summary>A call named a session that this host does not have.</summary>
    public const string WrongSession = "FL4041";

    /// <summary>The address answers, but not in gRPC.</summary>
    public const string NotGrpc = "FL4042";

    /// <summary>The other side ended a call with a gRPC status that carries no FedLearn error.</summary>
    public const string CallFailed = "FL4043";

    /// <summary>The HTTP proxy that a party's settings name accepts no connections.</summary>
    public const string ProxyUnreachable = "FL4044";

    /// <summary>The proxy asks for credentials, or does not accept those given.</summary>
    public const string ProxyWantsCredentials = "FL4045";

    /// <summary>The proxy refuses to connect to the address.</summary>
    public const string ProxyRefuses = "FL4046";

    /// <summary>The proxy cannot resolve or reach the address.</summary>
    public const string ProxyCannotReach = "FL4047";

    /// <summary>The proxy closed the connection without an answer.</summary>
    public const string ProxyClosed = "FL4048";

    /// <summary>What should be a proxy does not answer in HTTP.</summary>
    public const string NotAProxy = "FL4049";

    /// <summary>A peer's certificate, or one that vouches for it, has expired or is not valid yet.</summary>
    public const string PeerExpired = "FL4130";

    /// <summary>A peer's certificate belongs to another peer than the one it acts as.</summary>
    public const string PeerWrongName = "FL4131";

    /// <summary>A peer's certificate is neither pinned nor vouched for by an authority.</summary>
    public const string PeerUnknown = "FL4132";

    /// <summary>A peer's certificate is denied or on a list of revoked ones.</summary>
    public const string PeerRevoked = "FL4133";

    /// <summary>A peer showed no certificate.</summary>
    public const string PeerWithoutCertificate = "FL4134";

    /// <summary>The list of revoked certificates for a peer went out of date while this process ran.</summary>
    public const string PeerNotCheckable = "FL4135";

    /// <summary>The other side ended a connection during or right after the handshake, as it does when it refuses this side's certificate.</summary>
    public const string RefusedByPeer = "FL4136";

    /// <summary>The address does not speak TLS, or not as this release does.</summary>
    public const string NotTls = "FL4137";

    /// <summary>The two sides do not see the same certificates: somebody ends the encryption between them.</summary>
    public const string BindingMismatch = "FL4138";

    /// <summary>A peer took more of a host than its quotas let it.</summary>
    public const string QuotaExceeded = "FL4172";

    /// <summary>A peer sent more bytes in one session than a host takes.</summary>
    public const string TooManyBytes = "FL4173";
}
