using System.IO.Pipelines;
using System.Net;
using FedLearn.Diagnostics;
using Microsoft.AspNetCore.Connections;
using Polly;
using Polly.Retry;

namespace FedLearn.Transport.Grpc;

/// <summary>Where a host is reached through a coordinator.</summary>
internal sealed class RelayEndPoint(GrpcRelay relay) : EndPoint
{
    public GrpcRelay Relay { get; } = relay;

    public override string ToString() => Relay.Coordinator.Authority;
}

/// <summary>Lets a server accept connections from a coordinator, beside those of a socket.</summary>
internal sealed class RelayListenerFactory(GrpcHostOptions options) : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    public bool CanBind(EndPoint endpoint) => endpoint is RelayEndPoint;

    public async ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) =>
        await RelayListener.BindAsync((RelayEndPoint)endpoint, options, cancellationToken).ConfigureAwait(false);
}

/// <summary>Connections that a coordinator passes on. One call waits there at a time; the server asks for the next as soon as it has a connection.</summary>
internal sealed class RelayListener : IConnectionListener
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(50), LongestPause = TimeSpan.FromSeconds(2);

    private readonly RelayEndPoint _endPoint;
    private readonly GrpcClientOptions _options;
    private readonly ResiliencePipeline _attempts;
    private readonly CancellationTokenSource _unbound = new();
    private RelayStream? _waiting;
    private string? _lost;

    private RelayListener(RelayEndPoint endPoint, GrpcHostOptions options)
    {
        _endPoint = endPoint;
        _options = new GrpcClientOptions { AllowPlaintext = options.AllowPlaintext, Security = options.Security, Proxy = options.Proxy, ConnectTimeout = options.JoinTimeout, ShutdownTimeout = options.ShutdownTimeout, Channel = options.Channel };
        // A coordinator that was killed comes back, and one that refuses now may have been given the right job by then: this side waits, and says so.
        _attempts = new ResiliencePipelineBuilder { TimeProvider = options.Channel.Clock }.AddRetry(new RetryStrategyOptions
        {
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = FirstPause,
            MaxDelay = LongestPause,
            ShouldHandle = new PredicateBuilder().Handle<FedLearnException>(), // errors of this side's own certificate or lists too, since the server would never ask for a connection again
            OnRetry = args =>
            {
                var lost = (FedLearnException)args.Outcome.Exception!;
                if (Interlocked.Exchange(ref _lost, lost.Id) != lost.Id)
                    _endPoint.Relay.Changed?.Invoke(lost);
                return default;
            },
        }).Build();
    }

    public EndPoint EndPoint => _endPoint;

    /// <summary>Meets the coordinator; what it refuses at the start is an error of the start.</summary>
    public static async Task<RelayListener> BindAsync(RelayEndPoint endPoint, GrpcHostOptions options, CancellationToken cancellationToken)
    {
        var listener = new RelayListener(endPoint, options);
        listener._waiting = await RelayDialer.OfferAsync(endPoint.Relay, listener._options, cancellationToken).ConfigureAwait(false);
        return listener;
    }

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _unbound.Token);
        try
        {
            RelayStream stream = await _attempts.ExecuteAsync(async stop => await OneAsync(stop).ConfigureAwait(false), either.Token).ConfigureAwait(false);
            return new RelayConnection(stream, _options.ShutdownTimeout);
        }
        catch (OperationCanceledException) when (_unbound.IsCancellationRequested)
        {
            return null;
        }
    }

    public async ValueTask UnbindAsync(CancellationToken cancellationToken = default) => await _unbound.CancelAsync().ConfigureAwait(false);

    public async ValueTask DisposeAsync()
    {
        await _unbound.CancelAsync().ConfigureAwait(false);
        if (Interlocked.Exchange(ref _waiting, null) is { } stream)
        {
            stream.Kill(); // nobody was connected, so the coordinator would not answer the end of the call
            await stream.DisposeAsync().ConfigureAwait(false);
        }

        _unbound.Dispose();
    }

    private async Task<RelayStream> OneAsync(CancellationToken cancellationToken)
    {
        RelayStream stream = Interlocked.Exchange(ref _waiting, null) ?? await RelayDialer.OfferAsync(_endPoint.Relay, _options, cancellationToken).ConfigureAwait(false);
        if (Interlocked.Exchange(ref _lost, null) is not null)
            _endPoint.Relay.Changed?.Invoke(null);
        return await RelayDialer.PairedAsync(stream, cancellationToken).ConfigureAwait(false);
    }
}

/// <summary>A relayed connection as the server sees it.</summary>
internal sealed class RelayConnection : DefaultConnectionContext
{
    private const int BufferBytes = 64 << 10, PauseBytes = 256 << 10;

    private readonly RelayStream _stream;
    private readonly TimeSpan _shutdownTimeout;
    private readonly Pipe _output = new(new PipeOptions(pauseWriterThreshold: PauseBytes, resumeWriterThreshold: PauseBytes / 2, useSynchronizationContext: false));
    private readonly Task _sending;

    public RelayConnection(RelayStream stream, TimeSpan shutdownTimeout) : base(Guid.NewGuid().ToString("N"))
    {
        (_stream, _shutdownTimeout) = (stream, shutdownTimeout);
        Transport = new Ends(PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: BufferBytes, leaveOpen: true)), _output.Writer);
        _sending = Task.Run(SendAsync);
    }

    public override void Abort(ConnectionAbortedException abortReason)
    {
        _stream.Kill();
        base.Abort(abortReason);
    }

    public override async ValueTask DisposeAsync()
    {
        await Transport.Input.CompleteAsync().ConfigureAwait(false);
        await Transport.Output.CompleteAsync().ConfigureAwait(false);
        try
        {
            await _sending.WaitAsync(_shutdownTimeout).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            _stream.Kill(); // the other side does not read
            await _sending.ConfigureAwait(false);
        }

        await _stream.DisposeAsync().ConfigureAwait(false);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    private async Task SendAsync()
    {
        try
        {
            while (true)
            {
                ReadResult result = await _output.Reader.ReadAsync().ConfigureAwait(false);
                await _stream.WriteAsync(result.Buffer).ConfigureAwait(false);
                _output.Reader.AdvanceTo(result.Buffer.End);
                if (result.IsCompleted)
                    break;
            }
        }
        catch (IOException)
        {
            _stream.Kill(); // reading finds the loss too
        }

        // Without an exception: the server takes one for a defect of the transport, and waits for ever; a completed reader it takes for a lost connection.
        await _output.Reader.CompleteAsync().ConfigureAwait(false);
    }

    private sealed record Ends(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
