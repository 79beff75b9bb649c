using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;
using Polly;
using Polly.Retry;

namespace FedLearn.Transport.Grpc;

/// <summary>Opens a party's end of relayed connections.</summary>
internal static class RelayDialer
{
    /// <summary>What a side may receive ahead of its reader, here and at the coordinator: it bounds what a slow reader makes others keep.</summary>
    public const int WindowBytes = 2 << 20;

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(50), LongestPause = TimeSpan.FromSeconds(1);

    // Finds a coordinator whose machine vanished, and keeps a waiting call alive where routers forget silent connections.
    private static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(20);

    /// <summary>Connects to the party that hosts the session. While the coordinator or that party is not there it tries again: nothing has been sent yet.</summary>
    /// <exception cref="PeerException">FL4015: not within the time to connect. FL4160: the coordinator could read. FL4161 to FL4166: it refuses.</exception>
    public static async Task<RelayStream> ReachAsync(GrpcRelay relay, GrpcClientOptions options, CancellationToken cancellationToken)
    {
        using var timeUp = new CancellationTokenSource(options.ConnectTimeout, options.Channel.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeUp.Token, cancellationToken);
        bool accepted = false;
        ResiliencePipeline attempts = new ResiliencePipelineBuilder { TimeProvider = options.Channel.Clock }.AddRetry(new RetryStrategyOptions
        {
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            Delay = FirstPause,
            MaxDelay = LongestPause,
            ShouldHandle = new PredicateBuilder().Handle<PeerException>(e => e.Id is ProtocolErrors.PeerGone or RelayErrors.Stopping),
        }).Build();
        try
        {
            return await attempts.ExecuteAsync(async stop =>
            {
                RelayStream stream = await OpenAsync(Methods.Reach, relay, options, stop).ConfigureAwait(false);
                accepted = true;
                return await PairedAsync(stream, stop).ConfigureAwait(false);
            }, either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested && e.InnerException is PeerException proxy)
        {
            throw proxy;
        }
        catch (Exception e) when (timeUp.IsCancellationRequested && !cancellationToken.IsCancellationRequested && e is OperationCanceledException or PeerException { Id: ProtocolErrors.CannotConnect or ProtocolErrors.PeerGone })
        {
            throw CannotConnect(relay, options.ConnectTimeout, accepted, e);
        }
    }

    /// <summary>Tells the coordinator that this party waits for a connection, and returns when it has accepted that.</summary>
    /// <param name="relay">The way.</param>
    /// <param name="options">Settings; that they have <see cref="GrpcClientOptions.Security"/> says that the parties encrypt for each other.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="PeerException">FL4015: the coordinator is not there. FL4160: it could read. FL4161 to FL4167: it refuses.</exception>
    public static async Task<RelayStream> OfferAsync(GrpcRelay relay, GrpcClientOptions options, CancellationToken cancellationToken)
    {
        relay.Check(options.Security is not null, options.AllowPlaintext);
        try
        {
            return await OpenAsync(Methods.Offer, relay, options, cancellationToken).ConfigureAwait(false);
        }
        catch (PeerException e) when (e.Id == ProtocolErrors.CannotConnect)
        {
            throw CannotConnect(relay, options.ConnectTimeout, accepted: false, e);
        }
    }

    /// <summary>A stream once the coordinator has found its other side; disposes of it when that fails.</summary>
    public static async Task<RelayStream> PairedAsync(RelayStream stream, CancellationToken cancellationToken)
    {
        try
        {
            await stream.PairedAsync(cancellationToken).ConfigureAwait(false);
            return stream;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Cut at once: nothing that was sent has to arrive, and a coordinator that has not found the other side does not answer the end of a call.
            stream.Kill();
            await stream.DisposeAsync().ConfigureAwait(false);
            throw;
        }
        catch
        {
            await stream.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static async Task<RelayStream> OpenAsync(string method, GrpcRelay relay, GrpcClientOptions options, CancellationToken cancellationToken)
    {
        options = options with { Relay = null, Security = relay.Security, Peer = GrpcRelay.CoordinatorName, HeartbeatInterval = Heartbeat };
        ClientConnection connection = await ClientConnection.OpenAsync(relay.Coordinator, options, cancellationToken, WindowBytes).ConfigureAwait(false);
        try
        {
            ClientExchange call = await connection.StreamAsync(method, Headers(relay), options.ConnectTimeout, options.ShutdownTimeout, cancellationToken).ConfigureAwait(false);
            return new RelayStream(relay, connection, call, options.ShutdownTimeout);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private static (string, string)[] Headers(GrpcRelay relay) =>
    [
        (HeaderText.Job, HeaderText.Encode(relay.Terms.JobName)),
        (HeaderText.Purpose, HeaderText.Encode(relay.Purpose)),
        (HeaderText.Terms, Convert.ToHexStringLower(relay.Terms.TermsDigest.Span)),
        (HeaderText.Party, HeaderText.Encode(relay.Party)),
        (HeaderText.Host, HeaderText.Encode(relay.Host)),
        (HeaderText.Sections, HeaderText.Encode(string.Join(';', relay.Terms.Sections.Select(s => $"{s.Key}={Convert.ToHexStringLower(s.Value.Span)}")))),
    ];

    private static PeerException CannotConnect(GrpcRelay relay, TimeSpan timeout, bool accepted, Exception inner)
    {
        (string whom, string remedy) = accepted ? ("that party to come to the coordinator", "Start that party,") : ("the coordinator to accept connections", "Start fedlearn coordinator, check its address and the firewall,");
        return new PeerException(ProtocolErrors.CannotConnect, relay.Name, $"waited {timeout.TotalSeconds:0.#} s for {whom}, in vain.", $"{remedy} or give it more time with transport.connectTimeoutSeconds.", inner) { Peer = relay.Host };
    }
}
