using System.IO.Pipelines;
using Microsoft.AspNetCore.Http;

namespace FedLearn.Transport.Grpc.Rpc;

/// <summary>The server's end of an Exchange call. The request's handler waits in <see cref="Ended"/> while the party's own code uses the streams.</summary>
internal sealed class ServerExchange(HttpContext context) : IExchangeCall
{
    private readonly TaskCompletionSource<Status> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public PipeReader Input { get; } = context.Request.BodyReader;

    public PipeWriter Output { get; } = context.Response.BodyWriter;

    public CancellationToken Aborted { get; } = context.RequestAborted;

    public Status? RemoteStatus => null;

    public Task<Status> Ended => _ended.Task;

    public ValueTask EndAsync(Status status)
    {
        _ended.TrySetResult(status);
        return default;
    }
}
