using System.Buffers;
using System.IO.Pipelines;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace FedLearn.Transport.Grpc;

/// <summary>The calls of a coordinator. It passes the bytes of one call on to the other, and looks into none.</summary>
internal sealed partial class RelayService(IReadOnlyList<RelayJob> jobs, RelayQuotas quotas, GrpcHostOptions options) : IGrpcService
{
    private const int PieceBytes = 64 << 10;

    private static readonly Status Failed = new(StatusCode.Internal, "The call failed inside the coordinator.", GrpcErrors.CallFailed);

    private static readonly string[] Services = ["", "fedlearn.v1.Relay", "grpc.health.v1.Health"];

    private readonly ILogger _log = options.LoggerFactory.CreateLogger("FedLearn.Transport.Grpc.Relay");
    private readonly Dictionary<string, RelayedJob> _jobs = jobs.ToDictionary(job => job.Name, job => new RelayedJob(job, quotas, options.Channel.Clock));
    private readonly CancellationTokenSource _stopping = new(), _cutting = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<long, (RelayedConnection Connection, Task Done)> _open = [];
    private long _number;

    /// <inheritdoc />
    public PeerQuotas Quotas { get; } = new(options.Quotas, options.Channel.Clock, options.LoggerFactory.CreateLogger("FedLearn.Transport.Grpc.Relay"));

    /// <summary>Told of each call that was refused: the name the call gave, and the error.</summary>
    public event Action<string, FedLearnException>? Refused;

    /// <summary>Told when two parties are connected.</summary>
    public event Action<RelayedConnection>? Opened;

    /// <summary>Told when a connection has ended.</summary>
    public event Action<RelayedConnection, RelayedTraffic>? Closed;

    /// <summary>Connections in progress.</summary>
    public int Connections
    {
        get
        {
            lock (_gate)
                return _open.Count;
        }
    }

    /// <inheritdoc />
    public Task HandleAsync(HttpContext context) => GrpcCalls.HandleAsync(context, options.Channel.Clock, stop => CallAsync(context, stop), e =>
    {
        LogFailure(context.Request.Path, e.GetType().Name);
        return Failed;
    });

    /// <inheritdoc />
    public void Refuse(string who, PeerException refusal)
    {
        if (!_stopping.IsCancellationRequested) // connections that this side closes look alike
            Refused.Tell(who, refusal, _log);
    }

    /// <summary>Connects nobody any more, and sends away who waits. Connections go on.</summary>
    public async Task CloseAsync() => await _stopping.CancelAsync().ConfigureAwait(false);

    /// <summary>Waits until every connection has ended.</summary>
    /// <returns>Those that had not in time, which go on.</returns>
    public async Task<IReadOnlyList<RelayedConnection>> DrainAsync(TimeSpan time)
    {
        Task[] open;
        lock (_gate)
            open = [.. _open.Values.Select(c => c.Done)];
        try
        {
            await Task.WhenAll(open).WaitAsync(time, options.Channel.Clock).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // Some parties are not done.
        }

        lock (_gate)
            return [.. _open.Values.Select(c => c.Connection)];
    }

    /// <summary>Cuts what is left.</summary>
    public async Task StopAsync()
    {
        await CloseAsync().ConfigureAwait(false);
        await _cutting.CancelAsync().ConfigureAwait(false);
        Task[] open;
        lock (_gate)
            open = [.. _open.Values.Select(c => c.Done)];
        await Task.WhenAll(open).ConfigureAwait(false);
    }

    public void Dispose()
    {
        _stopping.Dispose();
        _cutting.Dispose();
    }

    private async Task<Status> CallAsync(HttpContext context, CancellationToken cancellationToken)
    {
        using IDisposable call = Quotas.Call(context);
        return await (context.Request.Path.Value switch
        {
            Methods.Offer => ConnectAsync(context, hosts: true, cancellationToken),
            Methods.Reach => ConnectAsync(context, hosts: false, cancellationToken),
            Methods.HealthCheck => GrpcCalls.CheckHealthAsync(context, Services, options, _stopping.Token, cancellationToken),
            Methods.HealthWatch => GrpcCalls.WatchHealthAsync(context, Services, options, Stops(), _stopping.Token, cancellationToken),
            _ => throw GrpcCalls.NoMethod(),
        }).ConfigureAwait(false);
    }

    private async Task<Status> ConnectAsync(HttpContext context, bool hosts, CancellationToken cancellationToken)
    {
        RelayCaller caller = RelayCaller.Read(context.Request.Headers, hosts);
        RelayEnd end;
        RelayedJob? job;
        try
        {
            if (_stopping.IsCancellationRequested)
                throw new RpcException(Stops());
            HostTls.IdentityOf(context)?.Require(caller.Party, $"party '{caller.Party}' at the coordinator");
            if (!_jobs.TryGetValue(caller.Job, out job))
                throw new PeerException(RelayErrors.UnknownJob, $"party '{caller.Party}' at the coordinator", $"there is no job '{caller.Job}' here.",
                    "Name the job as the coordinator's job files do, or add its file to coordinator.json.");
            end = job.Enter(caller, context);
        }
        catch (PeerException e)
        {
            Refused.Tell(caller.Party, e, _log);
            throw;
        }

        try
        {
            await context.Response.BodyWriter.FlushAsync(CancellationToken.None).ConfigureAwait(false); // the response headers: the call is accepted
            if (job.Meet(end) is { } pair)
                await RunAsync(pair).ConfigureAwait(false);
            else
                pair = await WaitAsync(job, end, cancellationToken).ConfigureAwait(false);
            return await pair.Done.Task.ConfigureAwait(false);
        }
        finally
        {
            job.Leave(end);
        }
    }

    private async Task<RelayPair> WaitAsync(RelayedJob job, RelayEnd end, CancellationToken cancellationToken)
    {
        using var left = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _stopping.Token);
        try
        {
            return await end.Met.Task.WaitAsync(left.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (job.GiveUp(end))
        {
            if (_stopping.IsCancellationRequested)
                throw new RpcException(Stops());
            throw;
        }
        catch (OperationCanceledException)
        {
            return await end.Met.Task.ConfigureAwait(false); // the other side came at the last moment, and the call of that side runs the connection to its end
        }
    }

    /// <summary>Passes bytes on until one side ends or is gone. Throws only what a handler of <see cref="Opened"/> or <see cref="Closed"/> does, and ends the pair then too: its other call
    /// waits for that, as does the end of the coordinator.</summary>
    private async Task RunAsync(RelayPair pair)
    {
        RelayCaller party = pair.Party.Caller;
        var connection = new RelayedConnection(Interlocked.Increment(ref _number), party.Job, party.Purpose, party.Host, party.Party);
        Status status = Failed;
        lock (_gate)
            _open.Add(connection.Number, (connection, pair.Done.Task));
        try
        {
            Opened?.Invoke(connection);
            (status, long toHost, long fromHost) = await CopyAsync(pair).ConfigureAwait(false);
            lock (_gate)
                _open.Remove(connection.Number); // before the handlers of Closed are told, so that none of them finds it open
            Closed?.Invoke(connection, new RelayedTraffic(toHost, fromHost, status.ErrorId));
        }
        finally
        {
            lock (_gate)
                _open.Remove(connection.Number);
            pair.Done.SetResult(status);
        }
    }

    // Both directions, until one of them ends.
    private async Task<(Status Status, long ToHost, long FromHost)> CopyAsync(RelayPair pair)
    {
        long toHost = 0, fromHost = 0;
        using var over = CancellationTokenSource.CreateLinkedTokenSource(pair.Host.Context.RequestAborted, pair.Party.Context.RequestAborted, _cutting.Token);
        Task up = CopyAsync(pair.Party, pair.Host, sent => Interlocked.Add(ref toHost, sent), over.Token);
        Task down = CopyAsync(pair.Host, pair.Party, sent => Interlocked.Add(ref fromHost, sent), over.Token);
        Task first = await Task.WhenAny(up, down).ConfigureAwait(false);
        await over.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(up, down).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return (first switch
        {
            { IsCompletedSuccessfully: true } => Status.Ok,
            { Exception.InnerException: RpcException cut } => cut.Status,
            _ when _cutting.IsCancellationRequested => Stops(),
            _ => new Status(StatusCode.Unavailable, "The other party is gone.", ProtocolErrors.PeerGone),
        }, toHost, fromHost);
    }

    // One direction. What is read is given back only when it was written, and writing waits for the reader's window: memory stays within the windows.
    private static async Task CopyAsync(RelayEnd from, RelayEnd to, Action<long> sent, CancellationToken cancellationToken)
    {
        PipeReader input = from.Context.Request.BodyReader;
        PipeWriter output = to.Context.Response.BodyWriter;
        output.Write(stackalloc byte[Framing.PrefixBytes]); // an empty message: the other side is there
        await FlushAsync(output, cancellationToken).ConfigureAwait(false);
        while (true)
        {
            ReadResult read = await input.ReadAsync(cancellationToken).ConfigureAwait(false);
            long length = Math.Min(read.Buffer.Length, PieceBytes); // read here, since the sequence is not valid any more after AdvanceTo
            ReadOnlySequence<byte> piece = read.Buffer.Slice(0, length);
            if (piece.IsEmpty && read.IsCompleted)
                return;
            if (!from.Bytes.TryUse(length))
                throw new RpcException(StatusCode.ResourceExhausted, $"Party '{from.Caller.Party}' has sent as many bytes as it may within a day.", RelayErrors.TooManyBytes);
            foreach (ReadOnlyMemory<byte> bytes in piece)
                output.Write(bytes.Span);
            await FlushAsync(output, cancellationToken).ConfigureAwait(false);
            input.AdvanceTo(piece.End);
            sent(length);
        }
    }

    private static async ValueTask FlushAsync(PipeWriter output, CancellationToken cancellationToken)
    {
        FlushResult flushed = await output.FlushAsync(cancellationToken).ConfigureAwait(false);
        if (flushed.IsCompleted || flushed.IsCanceled)
            throw new IOException("The other side is gone.");
    }

    private static Status Stops() => new(StatusCode.Unavailable, "The coordinator stops.", RelayErrors.Stopping);

    [LoggerMessage(10, LogLevel.Error, "Call {Path} failed: {Failure}.")]
    private partial void LogFailure(string path, string failure);
}
