using System.Collections.Concurrent;
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
    private readonly RefusalLog _refusals = new(options.LoggerFactory.CreateLogger("FedLearn.Transport.Grpc"), options.Channel.Clock);
    private readonly CancellationTokenSource _stopping = new();
    private volatile string? _gaveUpWith;

    // By party: the binding of its last join to both certificates. A party has one session at a time.
    private readonly ConcurrentDictionary<string, (string Session, byte[] Binding)> _bindings = new();

    /// <summary>Told of each connection, join or exchange refused for its certificate, of each client that left because of ours, and of each request to join whose form is none: who, and the error.</summary>
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
            _refusals.NotJoined(request.Party.Name, e.Id);
            throw;
        }
    }

    /// <summary>Records that a client and this host do not accept each other.</summary>
    public void Refuse(string who, PeerException refusal)
    {
        if (_stopping.IsCancellationRequested)
            return; // connections that this host closes look alike
        _refusals.Refused(who, refusal.Id);
        Refused.Tell(who, refusal, _log);
    }

    /// <summary>From the end on, calls that wait here are told of an error instead of a loss.</summary>
    public void GiveUp(string errorId) => _gaveUpWith = errorId;

    public async Task StopAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        await sessions.StopAsync().ConfigureAwait(false);
    }

    public void Dispose()
    {
        _refusals.Dispose();
        _stopping.Dispose();
    }

    /// <inheritdoc />
    public Task HandleAsync(HttpContext context) => GrpcCalls.HandleAsync(context, options.Channel.Clock, stop => CallAsync(context, stop), e => Failed(context, e));

    private Status Failed(HttpContext context, Exception e)
    {
        if (e is OperationCanceledException or IOException)
            return _stopping.IsCancellationRequested
                ? _gaveUpWith is { } id ? new Status(StatusCode.Aborted, "The active party gave up before the session began.", id)
                    : new Status(StatusCode.Unavailable, "The active party ended before the session began.", ProtocolErrors.PeerGone)
                : new Status(StatusCode.Cancelled, "The call ended early.", ProtocolErrors.PeerGone);
        LogFailure(context.Request.Path, e.GetType().Name);
        return new Status(StatusCode.Internal, "The call failed inside the active party.", GrpcErrors.CallFailed);
    }

    private async Task<Status> CallAsync(HttpContext context, CancellationToken cancellationToken)
    {
        using IDisposable call = Quotas.Call(context);
        using var any = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _stopping.Token);
        return context.Request.Path.Value switch
        {
            Methods.Join => await JoinRemotelyAsync(context, any.Token).ConfigureAwait(false),
            Methods.Exchange => await ExchangeAsync(context).ConfigureAwait(false),
            Methods.HealthCheck => await GrpcCalls.CheckHealthAsync(context, Services, options, Stopping, any.Token).ConfigureAwait(false),
            Methods.HealthWatch => await GrpcCalls.WatchHealthAsync(context, Services, options, new Status(StatusCode.Unavailable, "The active party ends.", ProtocolErrors.PeerGone), Stopping, any.Token).ConfigureAwait(false),
            _ => throw GrpcCalls.NoMethod(),
        };
    }

    private async Task<Status> JoinRemotelyAsync(HttpContext context, CancellationToken cancellationToken)
    {
        Quotas.Join(context);
        PeerIdentity? identity = HostTls.IdentityOf(context);
        (Wire.JoinRequest asked, JoinRequest request) = await AskedAsync(context, cancellationToken).ConfigureAwait(false);
        Require(identity, request.Party.Name, "joining");
        if (request.Party.Name == sessions.Host)
        {
            var refusal = new PeerException(ProtocolErrors.UnknownParty, $"party '{request.Party.Name}', joining", "that party is the one that hosts this session.",
                "Join as a party that the job lists.");
            TellNotJoined(request.Party.Name, refusal);
            throw refusal;
        }

        SessionAgreement agreement;
        try
        {
            agreement = await JoinAsync(request, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!_stopping.IsCancellationRequested && !context.RequestAborted.IsCancellationRequested)
        {
            throw new RpcException(StatusCode.DeadlineExceeded, "The call's time was up before every party had joined.", ProtocolErrors.PartyMissing);
        }

        Wire.JoinReply reply = SessionCodec.Encode(agreement);
        if (identity is not null)
            Bind(identity, request.Party.Name, asked, reply, agreement);
        await Framing.WriteAsync(context.Response.BodyWriter, reply, cancellationToken).ConfigureAwait(false);
        return Status.Ok;
    }

    // A request whose form is wrong has no name that could be trusted, so errors name the address that it came from.
    private async Task<(Wire.JoinRequest Asked, JoinRequest Request)> AskedAsync(HttpContext context, CancellationToken cancellationToken)
    {
        try
        {
            Wire.JoinRequest asked = await GrpcCalls.RequestAsync(context, Wire.JoinRequest.Parser, options, cancellationToken).ConfigureAwait(false);
            if (HostTls.IdentityOf(context) is not null && asked.ClientNonce.IsEmpty)
                throw new RpcException(StatusCode.InvalidArgument, "joining: over an encrypted connection the request needs a nonce.", ProtocolErrors.Malformed);
            return (asked, SessionCodec.Decode(asked));
        }
        catch (RpcException e) when (e.Status.ErrorId is { } id)
        {
            string who = PeerQuotas.PeerOf(context);
            TellNotJoined(who, new PeerException(id, $"a request of {who}", e.Status.Detail, "Check that the peer runs the same release of the software, and that it means this address.", e));
            throw;
        }
    }

    private void TellNotJoined(string who, PeerException refusal)
    {
        _refusals.NotJoined(who, refusal.Id);
        Refused.Tell(who, refusal, _log);
    }

    private void Bind(PeerIdentity identity, string party, Wire.JoinRequest asked, Wire.JoinReply reply, SessionAgreement agreement)
    {
        byte[] nonce = SessionBinding.Nonce();
        byte[] binding = SessionBinding.Of(identity.KeyHash, CertificatePin.KeyHash(options.Security!.Certificate), agreement.JobDigest.Span, agreement.SessionId, asked.ClientNonce.Span, nonce);
        _bindings[party] = (agreement.SessionId, binding);
        (reply.ServerNonce, reply.Binding) = (ByteString.CopyFrom(nonce), ByteString.CopyFrom(binding));
    }

    // Which party a client acts for is known with its call only; during the handshake it was enough that its certificate is that of some party.
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
        // Closing a connection while bytes of the client lie unread resets it, and the client's system then drops what the client has not read yet: this side's last words.
        // So this waits until the client has ended its side, which says that it has them.
        if (status.Code is StatusCode.Ok or StatusCode.Aborted)
            await Framing.SkipToEndAsync(call.Input, options.ShutdownTimeout).ConfigureAwait(false);
        LogEnded(party, status.Code.ToString());
        return status;
    }

    [LoggerMessage(1, LogLevel.Information, "Party {Party} joined.")]
    private partial void LogJoined(string party);

    [LoggerMessage(3, LogLevel.Information, "Exchange with party {Party} is open.")]
    private partial void LogOpened(string party);

    [LoggerMessage(4, LogLevel.Information, "Exchange with party {Party} ended: {Status}.")]
    private partial void LogEnded(string party, string status);

    [LoggerMessage(5, LogLevel.Error, "Call {Path} failed: {Failure}.")]
    private partial void LogFailure(string path, string failure);
}
