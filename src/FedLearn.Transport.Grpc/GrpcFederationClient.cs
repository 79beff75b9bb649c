using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;
using Google.Protobuf;
using Polly;
using Polly.Retry;

namespace FedLearn.Transport.Grpc;

/// <summary>Joins a passive party to a session over gRPC.</summary>
public static class GrpcFederationClient
{
    private const int MostRetries = 3;

    // Short, since the host has just answered: it is there still, or gone.
    private static readonly TimeSpan RedialTime = TimeSpan.FromSeconds(2);

    /// <summary>Connects to the host of a session, joins, waits for every other party, and opens the channel to the active party.</summary>
    /// <param name="host">Address of the process that hosts the session: <c>https://host:port</c>, or <c>http://host:port</c> in plaintext.</param>
    /// <param name="request">What this party asks.</param>
    /// <param name="options">Settings; null for the defaults.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <returns>The session, with one channel.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A time of the settings is out of its range.</exception>
    /// <exception cref="PeerException">The address would need encryption (FL4040), cannot be reached (FL4015; FL4044 to FL4049 through a proxy) or does not speak gRPC (FL4042);
    /// the host refuses (FL4010 to FL4013), or gives up by an error of its own (FL4008); a party does not appear (FL4016); the connection is lost (FL4007); one side does not accept the other's certificate
    /// (FL4130 to FL4137), or the two see different ones (FL4138).</exception>
    /// <exception cref="ConfigurationException">FL2530 to FL2534: the settings of identity cannot work.</exception>
    public static async Task<GrpcSession> JoinAsync(Uri host, JoinRequest request, GrpcClientOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(request);
        options ??= new GrpcClientOptions();
        (ClientConnection connection, Wire.JoinRequest asked, Wire.JoinReply reply) = await AskAsync(host, request, options, cancellationToken).ConfigureAwait(false);
        try
        {
            SessionAgreement agreement = SessionCodec.Decode(reply, ClientConnection.NameOf(host, options.Peer));
            SessionDesk.Verify(request, agreement);
            byte[]? binding = connection.Tls is { } tls ? Bind(tls, asked, reply, agreement, ClientConnection.NameOf(host, options.Peer)) : null;
            ClientExchange call = await connection.ExchangeAsync(Methods.Exchange, agreement.SessionId, request.Party.Name,
                options.JoinTimeout, options.ShutdownTimeout, cancellationToken, binding is null ? null : Convert.ToHexStringLower(binding)).ConfigureAwait(false);
            return new GrpcSession(agreement, [new GrpcPartyChannel(call, request.Party.Name, agreement.Parties[0].Name, options.Channel) { Binding = binding }]);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Asks to join. Where the connection is lost before the answer it asks again: a host forgets who is gone before all are there.</summary>
    private static async Task<(ClientConnection Connection, Wire.JoinRequest Asked, Wire.JoinReply Reply)> AskAsync(Uri host, JoinRequest request, GrpcClientOptions options,
        CancellationToken cancellationToken)
    {
        PeerException? lost = null;
        ResiliencePipeline attempts = new ResiliencePipelineBuilder { TimeProvider = options.Channel.Clock }.AddRetry(new RetryStrategyOptions
        {
            MaxRetryAttempts = MostRetries,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = TimeSpan.FromMilliseconds(100),
            // A host that has not noticed the loss yet knows the party as one that waits.
            ShouldHandle = args => ValueTask.FromResult(args.Outcome.Exception is PeerException e && (e.Id == ProtocolErrors.PeerGone || (lost is not null && e.Id == ProtocolErrors.AlreadyJoined))),
            OnRetry = args =>
            {
                lost ??= args.Outcome.Exception as PeerException;
                return default;
            },
        }).Build();
        try
        {
            return await attempts.ExecuteAsync(async stop =>
            {
                GrpcClientOptions now = lost is null || options.ConnectTimeout < RedialTime ? options : options with { ConnectTimeout = RedialTime };
                ClientConnection connection = await ClientConnection.OpenAsync(host, now, stop).ConfigureAwait(false);
                try
                {
                    Wire.JoinRequest asked = SessionCodec.Encode(request);
                    if (connection.Tls is not null)
                        asked.ClientNonce = ByteString.CopyFrom(SessionBinding.Nonce());
                    return (connection, asked, await connection.UnaryAsync(Methods.Join, asked, Wire.JoinReply.Parser, Methods.UnaryLimitBytes, options.JoinTimeout, stop).ConfigureAwait(false));
                }
                catch
                {
                    connection.Dispose();
                    throw;
                }
            }, cancellationToken).ConfigureAwait(false);
        }
        catch (PeerException e) when (lost is not null && (e.Id is ProtocolErrors.CannotConnect or ProtocolErrors.AlreadyJoined || ProxyDialer.MayPass(e)))
        {
            throw lost ?? e;
        }
    }

    // The peer that was called must be the one that the session says is at the other end, and both sides must see the same certificates.
    private static byte[] Bind(ClientTls tls, Wire.JoinRequest asked, Wire.JoinReply reply, SessionAgreement agreement, string place)
    {
        PeerIdentity server = tls.Server ?? throw new InvalidOperationException("The server answered before its certificate was examined.");
        server.Require(agreement.Parties[0].Name, place);
        byte[] own = reply.ServerNonce.Length == SessionBinding.Bytes
            ? SessionBinding.Of(tls.OwnKeyHash, server.KeyHash, agreement.JobDigest.Span, agreement.SessionId, asked.ClientNonce.Span, reply.ServerNonce.Span) : new byte[SessionBinding.Bytes];
        SessionBinding.Require(own, reply.ServerNonce.Length == SessionBinding.Bytes ? reply.Binding.Span : default, place);
        return own;
    }
}

/// <summary>What a health service says of a service.</summary>
public enum GrpcHealth
{
    /// <summary>It does not know.</summary>
    Unknown = 0,

    /// <summary>It answers calls.</summary>
    Serving = 1,

    /// <summary>It does not answer calls at present.</summary>
    NotServing = 2,

    /// <summary>There is no service of that name.</summary>
    ServiceUnknown = 3,
}

/// <summary>Asks the standard health service, <c>grpc.health.v1.Health</c>.</summary>
public static class GrpcHealthClient
{
    /// <summary>Asks once. While nobody listens at the address it tries again, until <see cref="GrpcClientOptions.ConnectTimeout"/>.</summary>
    /// <param name="address">Address: <c>https://host:port</c> or <c>http://host:port</c>.</param>
    /// <param name="service">Name of the service, such as <c>fedlearn.v1.Federation</c>; empty asks about the process as a whole.</param>
    /// <param name="options">Settings; null for the defaults. The answer must come within <see cref="GrpcClientOptions.JoinTimeout"/>.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <returns>What the service says.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A time of the settings is out of its range.</exception>
    /// <exception cref="PeerException">As for <see cref="GrpcFederationClient.JoinAsync"/>; FL4043 when the service is unknown there.</exception>
    public static async Task<GrpcHealth> CheckAsync(Uri address, string service = "", GrpcClientOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(address);
        options ??= new GrpcClientOptions();
        using ClientConnection connection = await ClientConnection.OpenAsync(address, options, cancellationToken).ConfigureAwait(false);
        Wire.Health.HealthCheckResponse reply = await connection.UnaryAsync(Methods.HealthCheck, new Wire.Health.HealthCheckRequest { Service = service },
            Wire.Health.HealthCheckResponse.Parser, Methods.UnaryLimitBytes, options.JoinTimeout, cancellationToken).ConfigureAwait(false);
        return Enum.IsDefined((GrpcHealth)reply.Status) ? (GrpcHealth)reply.Status : GrpcHealth.Unknown;
    }
}

/// <summary>Paths of the calls, as the protos define them.</summary>
internal static class Methods
{
    public const string Join = "/fedlearn.v1.Federation/Join", Exchange = "/fedlearn.v1.Federation/Exchange";
    public const string Offer = "/fedlearn.v1.Relay/Offer", Reach = "/fedlearn.v1.Relay/Reach";
    public const string HealthCheck = "/grpc.health.v1.Health/Check", HealthWatch = "/grpc.health.v1.Health/Watch";

    /// <summary>Largest request or reply of a call that is no Exchange.</summary>
    public const int UnaryLimitBytes = 1 << 20;
}

/// <summary>Session records to wire messages and back.</summary>
internal static class SessionCodec
{
    private const int DigestBytes = 32, LongestName = 200;

    public static Wire.JoinRequest Encode(JoinRequest request)
    {
        var wire = new Wire.JoinRequest
        {
            ProtocolVersion = request.ProtocolVersion,
            JobName = request.JobName,
            Party = request.Party.Name,
            Role = request.Party.Role switch { PartyRole.Active => Wire.Role.Active, PartyRole.Arbiter => Wire.Role.Arbiter, _ => Wire.Role.Passive },
            TermsDigest = ByteString.CopyFrom(request.TermsDigest.Span),
            SchemaFingerprint = ByteString.CopyFrom(request.SchemaFingerprint.Span),
        };
        foreach ((string name, ReadOnlyMemory<byte> digest) in request.Sections)
            wire.Sections.Add(name, ByteString.CopyFrom(digest.Span));
        if (request.Resume is { } offer)
        {
            wire.ResumeSession = offer.SessionId;
            wire.ResumeRounds.AddRange(offer.Rounds);
        }

        return wire;
    }

    /// <exception cref="RpcException">INVALID_ARGUMENT, FL4005.</exception>
    public static JoinRequest Decode(Wire.JoinRequest wire)
    {
        if (!IsName(wire.Party) || !IsName(wire.JobName))
            throw Malformed("a name is empty, too long, or has control characters");
        if (wire.Role is not (Wire.Role.Active or Wire.Role.Passive))
            throw Malformed("the role is neither active nor passive");
        if (wire.TermsDigest.Length != DigestBytes || wire.SchemaFingerprint.Length != DigestBytes)
            throw Malformed("a digest is not 32 bytes long");
        if (wire.ClientNonce.Length is not (0 or SessionBinding.Bytes))
            throw Malformed("the nonce is not 32 bytes long");
        if (wire.ResumeSession.Length > 0 ? !IsSession(wire.ResumeSession) || !AreRounds(wire.ResumeRounds) : wire.ResumeRounds.Count > 0)
            throw Malformed("the run to go on with is not one");
        return new JoinRequest(wire.ProtocolVersion, new PartyDescription(wire.Party, wire.Role == Wire.Role.Active ? PartyRole.Active : PartyRole.Passive),
            wire.JobName, wire.TermsDigest.Memory, wire.Sections.ToDictionary(s => s.Key, s => s.Value.Memory), wire.SchemaFingerprint.Memory)
        {
            Resume = wire.ResumeSession.Length > 0 ? new ResumeOffer(wire.ResumeSession, [.. wire.ResumeRounds]) : null,
        };

        static RpcException Malformed(string what) => new(StatusCode.InvalidArgument, $"joining: {what}.", ProtocolErrors.Malformed);
    }

    public static Wire.JoinReply Encode(SessionAgreement agreement)
    {
        var wire = new Wire.JoinReply { SessionId = agreement.SessionId, JobDigest = ByteString.CopyFrom(agreement.JobDigest.Span) };
        wire.Parties.AddRange(agreement.Parties.Select(p => new Wire.JoinedParty { Name = p.Name, SchemaFingerprint = ByteString.CopyFrom(p.SchemaFingerprint.Span) }));
        if (agreement.Resume is { } point)
            (wire.ResumeSession, wire.ResumeRound) = (point.SessionId, point.Round);
        return wire;
    }

    /// <exception cref="PeerException">FL4005.</exception>
    public static SessionAgreement Decode(Wire.JoinReply wire, string sender)
    {
        bool fits = IsSession(wire.SessionId) && (wire.ResumeSession.Length == 0 || (IsSession(wire.ResumeSession) && wire.ResumeRound >= 0)) && wire.JobDigest.Length == DigestBytes
            && wire.Parties.Count > 0 && wire.Parties.All(p => IsName(p.Name) && p.SchemaFingerprint.Length == DigestBytes);
        return fits
            ? new SessionAgreement(wire.SessionId, wire.JobDigest.Memory, [.. wire.Parties.Select(p => new JoinedParty(p.Name, p.SchemaFingerprint.Memory))])
            {
                Resume = wire.ResumeSession.Length > 0 ? new ResumePoint(wire.ResumeSession, wire.ResumeRound) : null,
            }
            : throw new PeerException(ProtocolErrors.Malformed, sender, "its answer to the request to join is no valid agreement.",
                "Check that both parties run the same release of the software.");
    }

    private static bool IsSession(string id) => id.Length is > 0 and <= LongestName && id.All(char.IsAsciiLetterOrDigit);

    private static bool AreRounds(Google.Protobuf.Collections.RepeatedField<int> rounds) =>
        rounds.Count is > 0 and <= ResumeOffer.MostRounds && rounds[0] >= 0 && rounds.Zip(rounds.Skip(1)).All(pair => pair.First < pair.Second);

    private static bool IsName(string name) => name.Length is > 0 and <= LongestName && !name.Any(char.IsControl);
}
