using System.Net;
using System.Net.Sockets;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using Polly;
using Polly.Retry;

namespace FedLearn.Transport.Grpc.Rpc;

/// <summary>Opens the TCP connection under a client's calls.</summary>
internal static class TcpDialer
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(50), LongestPause = TimeSpan.FromSeconds(1), NextAddress = TimeSpan.FromMilliseconds(250), LongestCall = TimeSpan.FromSeconds(10);

    // A minute in all, as long as a host waits for a silent client.
    private const int FirstProbeSeconds = 20, ProbeSeconds = 10, Probes = 4;

    /// <summary>Connects. While nobody listens at the address it tries again, since nothing has been sent: a party may be started before its host.</summary>
    /// <param name="address">Where to.</param>
    /// <param name="proxy">The proxy that leads there; null for none.</param>
    /// <param name="timeout">How long to try.</param>
    /// <param name="host">Name of the party that should listen there; null where it is not known.</param>
    /// <param name="clock">Clock of the time limit and of the pauses.</param>
    /// <param name="cancellationToken">Stops trying.</param>
    /// <exception cref="PeerException">FL4015: nobody listened in time; FL4044 to FL4049: the proxy does not lead there.</exception>
    public static async Task<NetworkStream> DialAsync(Uri address, GrpcProxy? proxy, TimeSpan timeout, string? host, TimeProvider clock, CancellationToken cancellationToken)
    {
        using var timeUp = new CancellationTokenSource(timeout, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeUp.Token, cancellationToken);
        Exception? last = null;
        ResiliencePipeline attempts = new ResiliencePipelineBuilder { TimeProvider = clock }.AddRetry(new RetryStrategyOptions
        {
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            Delay = FirstPause,
            MaxDelay = LongestPause,
            ShouldHandle = new PredicateBuilder().Handle<SocketException>(e => (last = e) is not null)
                // An attempt that the end of the time cut off says less than the one before.
                .Handle<PeerException>(e => ProxyDialer.MayPass(e) && (last = e.InnerException is OperationCanceledException && last is not null ? last : e) is not null),
        }).Build();
        try
        {
            return await attempts.ExecuteAsync(async stop => await (proxy is null ? ConnectAsync(address, stop) : ProxyDialer.ConnectAsync(proxy, address, host, stop)).ConfigureAwait(false), either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(e.Message, last ?? e, cancellationToken);
        }
        catch (OperationCanceledException) when (last is PeerException failed)
        {
            throw new PeerException(failed.Id, failed.Place, $"{failed.Cause} It was tried for {timeout.TotalSeconds:0.#} s.", failed.Remedy, failed) { Peer = host };
        }
        catch (OperationCanceledException e)
        {
            throw new PeerException(ProtocolErrors.CannotConnect, ClientConnection.NameOf(address, host),
                $"waited {timeout.TotalSeconds:0.#} s for {(host is null ? "the active party" : $"'{host}'")} or a coordinator to accept connections there, in vain{(last is SocketException { SocketErrorCode: var code } ? $" ({code})" : "")}.",
                "Start whichever of them listens there, check the address and the firewall, or give it more time with transport.connectTimeoutSeconds."
                    + ProxyHint(address, Environment.GetEnvironmentVariable("HTTPS_PROXY") ?? Environment.GetEnvironmentVariable("https_proxy")), last ?? e)
            { Peer = host };
        }
    }

    // Programs that go through the proxy of the environment by themselves make users expect that of every one.
    internal static string ProxyHint(Uri address, string? variable) => string.IsNullOrEmpty(variable) || GrpcAddress.IsProtected(address, allowPlaintext: false) ? ""
        : " HTTPS_PROXY is set here and does not count: name the proxy in this party's settings (proxy) if it is the way out.";

    /// <summary>One attempt.</summary>
    internal static async Task<NetworkStream> ConnectAsync(Uri address, CancellationToken cancellationToken)
    {
        IPAddress[] addresses = await Dns.GetHostAddressesAsync(address.DnsSafeHost, cancellationToken).ConfigureAwait(false);
        // The system would call an address that does not answer for two minutes, in which the name may have got another one.
        using var cut = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        cut.CancelAfter(LongestCall);
        try
        {
            return await FirstAsync(addresses, (one, stop) => ConnectAsync(one, address.Port, stop), cut.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new SocketException((int)SocketError.TimedOut);
        }
    }

    /// <summary>The first connection to any address of a name. The next one is called too where one has not answered for a moment: packets to it may be dropped on the way, as those of IPv6 often are (RFC 8305).</summary>
    /// <param name="addresses">The addresses, at least one.</param>
    /// <param name="call">Connects to one.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="SocketException">None can be reached: what the last to answer failed with.</exception>
    internal static async Task<T> FirstAsync<T>(IReadOnlyList<IPAddress> addresses, Func<IPAddress, CancellationToken, Task<T>> call, CancellationToken cancellationToken) where T : IDisposable
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var calls = new List<Task<T>>();
        try
        {
            for (int called = 0; ;)
            {
                if (called < addresses.Count)
                    calls.Add(call(addresses[called++], over.Token));
                Task pause = Task.Delay(called < addresses.Count ? NextAddress : Timeout.InfiniteTimeSpan, over.Token);
                if (await Task.WhenAny([.. calls, pause]).ConfigureAwait(false) is Task<T> ended)
                {
                    calls.Remove(ended);
                    if (ended.IsCompletedSuccessfully || (calls.Count == 0 && called == addresses.Count))
                        return await ended.ConfigureAwait(false);
                }

                cancellationToken.ThrowIfCancellationRequested();
            }
        }
        finally
        {
            await over.CancelAsync().ConfigureAwait(false);
            foreach (Task<T> late in calls)
                _ = late.ContinueWith(static task => task.Result.Dispose(), CancellationToken.None, TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
        }
    }

    private static async Task<NetworkStream> ConnectAsync(IPAddress address, int port, CancellationToken cancellationToken)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            FindVanished(socket);
            await socket.ConnectAsync(address, port, cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // A party that waits for a message sends nothing that could fail, and would wait for its whole time limit for a machine that vanished. The probes are TCP's, since servers of other makes refuse pings of HTTP/2.
    private static void FindVanished(Socket socket)
    {
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, FirstProbeSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, ProbeSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, Probes);
        // The same for bytes on their way, which are not probed for: without it Linux sends them again for a quarter of an hour.
        const int tcp = 6, userTimeout = 18;
        if (OperatingSystem.IsLinux())
            socket.SetRawSocketOption(tcp, userTimeout, BitConverter.GetBytes(1_000 * (FirstProbeSeconds + Probes * ProbeSeconds)));
    }
}
