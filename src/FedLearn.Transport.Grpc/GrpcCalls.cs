using System.Globalization;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;
using Google.Protobuf;
using Microsoft.AspNetCore.Http;
using Serving = FedLearn.Transport.Grpc.Wire.Health.HealthCheckResponse.Types.ServingStatus;

namespace FedLearn.Transport.Grpc;

/// <summary>What every service does with a call: checks its form, keeps its time limit, says how it ended, and answers for its health.</summary>
internal static class GrpcCalls
{
    /// <summary>Answers one HTTP request.</summary>
    /// <param name="context">The request.</param>
    /// <param name="clock">Clock of the caller's time limit.</param>
    /// <param name="answer">Answers the call; its token is cancelled when the caller has left or its time is up.</param>
    /// <param name="failed">The status for an exception that says none by itself.</param>
    public static async Task HandleAsync(HttpContext context, TimeProvider clock, Func<CancellationToken, Task<Status>> answer, Func<Exception, Status> failed)
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
            status = await AnswerAsync(context, clock, answer).ConfigureAwait(false);
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
#pragma warning disable CA1031 // the last resort of a server: no request may end the process
        catch (Exception e)
#pragma warning restore CA1031
        {
            status = failed(e);
        }

        End(context.Response, status);
    }

    /// <summary>The refusal of a call that the service does not have.</summary>
    public static RpcException NoMethod() => new(StatusCode.Unimplemented, "There is no such method here.", ProtocolErrors.Malformed);

    /// <summary>Reads the message of a call that has one.</summary>
    /// <exception cref="RpcException">There is none, it is malformed, or it does not come within the time for joining.</exception>
    public static async Task<T> RequestAsync<T>(HttpContext context, MessageParser<T> parser, GrpcHostOptions options, CancellationToken cancellationToken) where T : class, IMessage<T>
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

    /// <summary>Health.Check.</summary>
    /// <param name="context">The call.</param>
    /// <param name="services">Names that are known here.</param>
    /// <param name="options">Settings of the host.</param>
    /// <param name="stopping">Cancelled once the process serves nobody new.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    public static async Task<Status> CheckHealthAsync(HttpContext context, string[] services, GrpcHostOptions options, CancellationToken stopping, CancellationToken cancellationToken)
    {
        Wire.Health.HealthCheckRequest request = await RequestAsync(context, Wire.Health.HealthCheckRequest.Parser, options, cancellationToken).ConfigureAwait(false);
        if (!services.Contains(request.Service))
            throw new RpcException(StatusCode.NotFound, "There is no such service here.", GrpcErrors.CallFailed);
        await SendHealthAsync(context, stopping.IsCancellationRequested ? Serving.NotServing : Serving.Serving, cancellationToken).ConfigureAwait(false);
        return Status.Ok;
    }

    /// <summary>Health.Watch. The health of a process changes once: when it stops.</summary>
    /// <param name="context">The call.</param>
    /// <param name="services">Names that are known here.</param>
    /// <param name="options">Settings of the host.</param>
    /// <param name="stopped">The status when the process stops.</param>
    /// <param name="stopping">Cancelled once the process serves nobody new.</param>
    /// <param name="cancellationToken">Ends the call; may be cancelled with <paramref name="stopping"/> too.</param>
    public static async Task<Status> WatchHealthAsync(HttpContext context, string[] services, GrpcHostOptions options, Status stopped, CancellationToken stopping, CancellationToken cancellationToken)
    {
        Wire.Health.HealthCheckRequest request = await RequestAsync(context, Wire.Health.HealthCheckRequest.Parser, options, cancellationToken).ConfigureAwait(false);
        bool known = services.Contains(request.Service);
        await SendHealthAsync(context, !known ? Serving.ServiceUnknown : stopping.IsCancellationRequested ? Serving.NotServing : Serving.Serving, cancellationToken).ConfigureAwait(false);
        using (var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, stopping))
            await Task.Delay(Timeout.Infinite, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!stopping.IsCancellationRequested)
            cancellationToken.ThrowIfCancellationRequested();
        if (known)
            await SendHealthAsync(context, Serving.NotServing, context.RequestAborted).ConfigureAwait(false);
        return stopped;
    }

    private static async Task<Status> AnswerAsync(HttpContext context, TimeProvider clock, Func<CancellationToken, Task<Status>> answer)
    {
        if (context.Request.Headers[HeaderText.Encoding].Any(encoding => encoding != "identity"))
            throw new RpcException(StatusCode.Unimplemented, "Messages must not be compressed.", ProtocolErrors.Malformed);
        TimeSpan limit = Timeout.InfiniteTimeSpan;
        if (context.Request.Headers[HeaderText.Timeout] is [{ } text] && !HeaderText.TryParseTimeout(text, out limit))
            throw new RpcException(StatusCode.InvalidArgument, "The header grpc-timeout has a wrong form.", ProtocolErrors.Malformed);
        using var timeUp = new CancellationTokenSource(limit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeUp.Token, context.RequestAborted);
        try
        {
            return await answer(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (timeUp.IsCancellationRequested && !context.RequestAborted.IsCancellationRequested)
        {
            throw new RpcException(StatusCode.DeadlineExceeded, "The call's time was up before it was answered.", ProtocolErrors.TimedOut);
        }
    }

    private static async Task SendHealthAsync(HttpContext context, Serving health, CancellationToken cancellationToken) =>
        await Framing.WriteAsync(context.Response.BodyWriter, new Wire.Health.HealthCheckResponse { Status = health }, cancellationToken).ConfigureAwait(false);

    private static void End(HttpResponse response, Status status)
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
        ProtocolErrors.TooLarge or RelayErrors.TooManyConnections or RelayErrors.TooManyCalls => StatusCode.ResourceExhausted,
        GrpcErrors.PeerExpired or GrpcErrors.PeerWrongName or GrpcErrors.BindingMismatch => StatusCode.PermissionDenied,
        _ => StatusCode.FailedPrecondition,
    };
}
