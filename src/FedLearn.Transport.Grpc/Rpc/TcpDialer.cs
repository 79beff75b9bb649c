using System.Net.Sockets;
using FedLearn.Protocol;
using Polly;
using Polly.Retry;

namespace FedLearn.Transport.Grpc.Rpc;

/// <summary>Opens the TCP connection under a client's calls.</summary>
internal static class TcpDialer
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(50), LongestPause = TimeSpan.FromSeconds(1);

    /// <summary>Connects. While nobody listens at the address it tries again, since nothing has been sent: a party may be started before its host.</summary>
    /// <param name="address">Where to.</param>
    /// <param name="timeout">How long to try.</param>
    /// <param name="host">Name of the party that should listen there; null where it is not known.</param>
    /// <param name="clock">Clock of the time limit and of the pauses.</param>
    /// <param name="cancellationToken">Stops trying.</param>
    /// <exception cref="Diagnostics.PeerException">FL4015: nobody listened in time.</exception>
    public static async Task<NetworkStream> DialAsync(Uri address, TimeSpan timeout, string? host, TimeProvider clock, CancellationToken cancellationToken)
    {
        using var timeUp = new CancellationTokenSource(timeout, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeUp.Token, cancellationToken);
        SocketException? last = null;
        ResiliencePipeline attempts = new ResiliencePipelineBuilder { TimeProvider = clock }.AddRetry(new RetryStrategyOptions
        {
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            Delay = FirstPause,
            MaxDelay = LongestPause,
            ShouldHandle = new PredicateBuilder().Handle<SocketException>(e => (last = e) is not null),
        }).Build();
        try
        {
            return await attempts.ExecuteAsync(async stop => await ConnectAsync(address, stop).ConfigureAwait(false), either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new Diagnostics.PeerException(ProtocolErrors.CannotConnect, ClientConnection.NameOf(address, host),
                $"waited {timeout.TotalSeconds:0.#} s for {(host is null ? "the active party" : $"'{host}'")} or a coordinator to accept connections there, in vain{(last is null ? "" : $" ({last.SocketErrorCode})")}.",
                "Start whichever of them listens there, check the address and the firewall, or give it more time with transport.connectTimeoutSeconds.", (Exception?)last ?? e)
            { Peer = host };
        }
    }

    private static async Task<NetworkStream> ConnectAsync(Uri address, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(address.DnsSafeHost, address.Port, cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
