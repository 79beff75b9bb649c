using System.Collections.Concurrent;
using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;
using Google.Protobuf;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace FedLearn.Transport.Grpc;

/// <summary>The calls of a host. Who may join, and whose exchange is whose, the sessions say.</summary>
internal sealed partial class FederationService(ISessions sessions, GrpcHostOptions options) : IGrpcService
{
    private static readonly string[] Services = ["", "fedlearn.v1.Federation", "grpc.health.v1.Health"];

    private readonly ILogger _log = options.LoggerFactory.CreateLogger("FedLearn.Transport.Grpc");
    private readonly CancellationTokenSource _stopping = new();

    // By party: what its last join tied to the certificates. A party has one session at a time.
    private readonly ConcurrentDictionary<string, (string Session, byte[] Binding)> _bindings = new();

    /// <summary>Told of each connection, join or exchange refused for its certificate, and of each client that left because of ours: who, and the error.</summary>
    public event Action<string, FedLearnException>? Refused;

    /// <summary>What each peer takes of this host.</summary>
    public PeerQuotas Quotas { get; } = new(options.Quotas, options.Channel.Clock, options.LoggerFactory.CreateLogger("FedLearn.Transport.Grpc"));

    /// <summary>Cancelled when the host stops.</summary>
    public CancellationToken Stopping => _stopping.Token;

    public async Task<SessionAgreement> JoinAsync(JoinRequest request, CancellationToken cancellationToken)
    {
        try
        {
            SessionAgreement agreement = await sessions.JoinAsync(request, cancellationToken).ConfigureAwait(false);
            LogJoined(request.Party.Name);
            return agreement;
        }
        catch (FedLearnException e)
        {
            LogNotJoined(request.Party.Name, e.Id);
            throw;
        }
    }

    /// <summary>Records that a client and this host do not accept each other.</summary>
    public void Refuse(string who, PeerException refusal)
    {
        if (_stopping.IsCancellationRequested)
            return; // connections that this host closes look alike
        LogRefused(who, refusal.Id);
        Refused?.Invoke(who, refusal);
    }

    public async Task StopAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        await sessions.StopAsync().ConfigureAwait(false);
    }

    public void Dispose() => _stopping.Dispose();

    /// <summary>Answers one HTTP request.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        HostTls.IdentityOf(context); // whatever it asks, the client has accepted this side's certificate
        if (context.Request.ContentType?.StartsWith(HeaderText.ContentType, StringComparison.Ordinal) != true || !HttpMethods.IsPost(context.Request.Method))
        {
            context.Response.StatusCode = StatusCodes.Status415UnsupportedMediaType;
            context.Response.Headers[HeaderText.ErrorId] = ProtocolErrors.Malformed;
            return;
        }

        context.Response.ContentType = HeaderText.ContentType;
        Status status;
        try
        {
            status = await CallAsync(context).ConfigureAwait(false);
        }
        catch (RpcException e)
        {
            status = e.Status;
        }
        catch (FedLearnException e)
        {
            status = new Status(CodeOf(e.Id), $"{e.Place}: {e.Cause} {e.Remedy}", e.Id);
        }
        catch (Exception e) when (context.RequestAborted.IsCancellationRequested && e is OperationCanceledException or IOException)
        {
            return; // the caller left
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            status = _stopping.IsCancellationRequested
                ? new Status(StatusCode.Unavailable, "The active party ended before the session began.", ProtocolErrors.PeerGone)
                : new Status(StatusCode.Cancelled, "The call ended early.", ProtocolErrors.PeerGone);
        }
#pragma warning disable CA1031 // the last resort of a server: no request may end the process
        catch (Exception e)
#pragma warning restore CA1031
        {
            LogFailure(context.Request.Path, e.GetType().Name);
            status = new Status(StatusCode.Internal, "The call failed inside the active party.", GrpcErrors.CallFailed);
        }

        End(context.Response, status);
    }

    private async Task<Status> CallAsync(HttpContext context)
    {
        using IDisposable call = Quotas.Call(context);
        if (context.Request.Headers[HeaderText.Encoding].Any(encoding => encoding != "identity"))
            throw new RpcException(StatusCode.Unimplemented, "Messages must not be compressed.", ProtocolErrors.Malformed);
        TimeSpan limit = Timeout.InfiniteTimeSpan;
        if (context.Request.Headers[HeaderText.Timeout] is [{ } text] && !HeaderText.TryParseTimeout(text, out limit))
            throw new RpcException(StatusCode.InvalidArgument, "The header grpc-timeout has a wrong form.", ProtocolErrors.Malformed);
        using var timeUp = new CancellationTokenSource(limit, options.Channel.Clock);
        using var any = CancellationTokenSource.CreateLinkedTokenSource(timeUp.Token, context.RequestAborted, _stopping.Token);
        try
        {
            return context.Request.Path.Value switch
            {
                Methods.Join => await JoinRemotelyAsync(context, any.Token).ConfigureAwait(false),
                Methods.Exchange => await ExchangeAsync(context).ConfigureAwait(false),
                Methods.HealthCheck => await CheckHealthAsync(context, any.Token).ConfigureAwait(false),
                Methods.HealthWatch => await WatchHealthAsync(context, any.Token).ConfigureAwait(false),
                _ => throw new RpcException(StatusCode.Unimplemented, "There is no such method here.", ProtocolErrors.Malformed),
            };
        }
        catch (OperationCanceledException) when (timeUp.IsCancellationRequested && !context.RequestAborted.IsCancellationRequested)
        {
            throw new RpcException(StatusCode.DeadlineExceeded, "The call's time was up before every party had joined.", ProtocolErrors.PartyMissing);
        }
    }

    private async Task<Status> JoinRemotelyAsync(HttpContext context, CancellationToken cancellationToken)
    {
        Quotas.Join(context);
        PeerIdentity? identity = HostTls.IdentityOf(context);
        Wire.JoinRequest asked = await RequestAsync(context, Wire.JoinRequest.Parser, options, cancellationToken).ConfigureAwait(false);
        JoinRequest request = SessionCodec.Decode(asked);
        Require(identity, request.Party.Name, "joining");
        if (identity is not null && asked.ClientNonce.IsEmpty)
            throw new RpcException(StatusCode.InvalidArgument, "joining: over an encrypted connection the request needs a nonce.", ProtocolErrors.Malformed);
        if (request.Party.Name == sessions.Host)
            throw new PeerException(ProtocolErrors.UnknownParty, $"party '{request.Party.Name}', joining", "that party is the one that hosts this session.",
                "Join as a party that the job lists.");
        SessionAgreement agreement = await JoinAsync(request, cancellationToken).ConfigureAwait(false);
        Wire.JoinReply reply = SessionCodec.Encode(agreement);
        if (identity is not null)
            Bind(identity, request.Party.Name, asked, reply, agreement);
        await Framing.WriteAsync(context.Response.BodyWriter, reply, cancellationToken).ConfigureAwait(false);
        return Status.Ok;
    }

    private void Bind(PeerIdentity identity, string party, Wire.JoinRequest asked, Wire.JoinReply reply, SessionAgreement agreement)
    {
        byte[] nonce = SessionBinding.Nonce();
        byte[] binding = SessionBinding.Of(identity.KeyHash, CertificatePin.KeyHash(options.Security!.Certificate), agreement.JobDigest.Span, agreement.SessionId, asked.ClientNonce.Span, nonce);
        _bindings[party] = (agreement.SessionId, binding);
        (reply.ServerNonce, reply.Binding) = (ByteString.CopyFrom(nonce), ByteString.CopyFrom(binding));
    }

    // As whom a client acts is known with its call only; during the handshake it was enough to be somebody's certificate.
    private void Require(PeerIdentity? identity, string party, string step)
    {
        try
        {
            identity?.Require(party, $"party '{party}', {step}");
        }
        catch (PeerException refusal)
        {
            Refuse(party, refusal);
            throw;
        }
    }

    private byte[]? RequireBinding(HttpContext context, string session, string party)
    {
        if (HostTls.IdentityOf(context) is not { } identity)
            return null;
        Require(identity, party, "opening the exchange");
        if (!_bindings.TryGetValue(party, out (string Session, byte[] Binding) bound) || bound.Session != session)
            throw ExchangeRefusal.WrongSession();
        try
        {
            byte[] theirs = new byte[SessionBinding.Bytes];
            bool read = context.Request.Headers[HeaderText.Binding] is [{ Length: 2 * SessionBinding.Bytes } text]
                && Convert.FromHexString(text, theirs, out _, out _) == System.Buffers.OperationStatus.Done;
            SessionBinding.Require(bound.Binding, read ? theirs : default, $"party '{party}', opening the exchange");
            return bound.Binding;
        }
        catch (PeerException refusal)
        {
            Refuse(party, refusal);
            throw;
        }
    }

    private async Task<Status> ExchangeAsync(HttpContext context)
    {
        using IDisposable quota = Quotas.Session(context);
        string session = context.Request.Headers[HeaderText.Session].ToString(), party = HeaderText.Decode(context.Request.Headers[HeaderText.Party].ToString());
        byte[]? binding = RequireBinding(context, session, party);
        ExchangeClaim claim = sessions.Claim(session, party);
        var call = new ServerExchange(context);
        try
        {
            await call.Output.FlushAsync(CancellationToken.None).ConfigureAwait(false); // the response headers: the client waits for them
            claim.Open(new GrpcPartyChannel(call, claim.LocalParty, party, options.Channel, options.Quotas.BytesPerSession) { Binding = binding });
        }
        catch
        {
            claim.Abandon();
            throw;
        }

        LogOpened(party);
        Status status = await call.Ended.ConfigureAwait(false);
        LogEnded(party, status.Code.ToString());
        return status;
    }

    private async Task<Status> CheckHealthAsync(HttpContext context, CancellationToken cancellationToken)
    {
        Wire.Health.HealthCheckRequest request = await RequestAsync(context, Wire.Health.HealthCheckRequest.Parser, options, cancellationToken).ConfigureAwait(false);
        if (!Services.Contains(request.Service))
            throw new RpcException(StatusCode.NotFound, "There is no such service here.", GrpcErrors.CallFailed);
        await SendHealthAsync(context, Wire.Health.HealthCheckResponse.Types.ServingStatus.Serving, cancellationToken).ConfigureAwait(false);
        return Status.Ok;
    }

    private async Task<Status> WatchHealthAsync(HttpContext context, CancellationToken cancellationToken)
    {
        Wire.Health.HealthCheckRequest request = await RequestAsync(context, Wire.Health.HealthCheckRequest.Parser, options, cancellationToken).ConfigureAwait(false);
        bool known = Services.Contains(request.Service);
        await SendHealthAsync(context, known ? Wire.Health.HealthCheckResponse.Types.ServingStatus.Serving : Wire.Health.HealthCheckResponse.Types.ServingStatus.ServiceUnknown,
            cancellationToken).ConfigureAwait(false);
        // The health of this process changes once: when it ends.
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using (cancellationToken.Register(ended.SetResult).ConfigureAwait(false))
            await ended.Task.ConfigureAwait(false);
        if (_stopping.IsCancellationRequested && known)
            await SendHealthAsync(context, Wire.Health.HealthCheckResponse.Types.ServingStatus.NotServing, CancellationToken.None).ConfigureAwait(false);
        return new Status(StatusCode.Unavailable, "The active party ends.");
    }

    internal static async Task SendHealthAsync(HttpContext context, Wire.Health.HealthCheckResponse.Types.ServingStatus health, CancellationToken cancellationToken) =>
        await Framing.WriteAsync(context.Response.BodyWriter, new Wire.Health.HealthCheckResponse { Status = health }, cancellationToken).ConfigureAwait(false);

    internal static async Task<T> RequestAsync<T>(HttpContext context, MessageParser<T> parser, GrpcHostOptions options, CancellationToken cancellationToken) where T : class, IMessage<T>
    {
        // A caller that says no time limit, and then sends nothing, would hold its call for ever.
        using var timeUp = new CancellationTokenSource(options.JoinTimeout, options.Channel.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeUp.Token, cancellationToken);
        try
        {
            return await Framing.ReadAsync(context.Request.BodyReader, parser, Methods.UnaryLimitBytes, either.Token).ConfigureAwait(false) is var (request, _)
                ? request
                : throw new EndOfStreamException();
        }
        catch (EndOfStreamException)
        {
            throw new RpcException(StatusCode.InvalidArgument, "The call has no request message.", ProtocolErrors.Malformed);
        }
        catch (OperationCanceledException) when (timeUp.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new RpcException(StatusCode.DeadlineExceeded, "The request message did not come in time.", ProtocolErrors.TimedOut);
        }
    }

    internal static void End(HttpResponse response, Status status)
    {
        // Without a message before it, the status stands in the headers and the response is those alone ("trailers-only").
        bool started = response.HasStarted;
        Set(HeaderText.Status, ((int)status.Code).ToString(CultureInfo.InvariantCulture));
        if (status.Detail.Length > 0)
            Set(HeaderText.Message, HeaderText.Encode(status.Detail));
        if (status.ErrorId is not null)
            Set(HeaderText.ErrorId, status.ErrorId);

        void Set(string name, string value)
        {
            if (started)
                response.AppendTrailer(name, value);
            else
                response.Headers[name] = value;
        }
    }

    private static StatusCode CodeOf(string errorId) => errorId switch
    {
        ProtocolErrors.PartyMissing => StatusCode.DeadlineExceeded,
        ProtocolErrors.Malformed => StatusCode.InvalidArgument,
        ProtocolErrors.TooLarge => StatusCode.ResourceExhausted,
        GrpcErrors.PeerExpired or GrpcErrors.PeerWrongName or GrpcErrors.BindingMismatch => StatusCode.PermissionDenied,
        _ => StatusCode.FailedPrecondition,
    };

    [LoggerMessage(1, LogLevel.Information, "Party {Party} joined.")]
    private partial void LogJoined(string party);

    [LoggerMessage(2, LogLevel.Warning, "Party {Party} did not join: {ErrorId}.")]
    private partial void LogNotJoined(string party, string errorId);

    [LoggerMessage(3, LogLevel.Information, "Exchange with party {Party} is open.")]
    private partial void LogOpened(string party);

    [LoggerMessage(4, LogLevel.Information, "Exchange with party {Party} ended: {Status}.")]
    private partial void LogEnded(string party, string status);

    [LoggerMessage(5, LogLevel.Error, "Call {Path} failed: {Failure}.")]
    private partial void LogFailure(string path, string failure);

    [LoggerMessage(6, LogLevel.Warning, "No connection with {Peer} for a matter of certificates: {ErrorId}.")]
    private partial void LogRefused(string peer, string errorId);
}
