using System.Net;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;

namespace FedLearn.Transport.Grpc;

/// <summary>What a server answers calls with.</summary>
internal interface IGrpcService : IDisposable
{
    /// <summary>What each peer may take of this host.</summary>
    PeerQuotas Quotas { get; }

    /// <summary>Answers one HTTP request.</summary>
    Task HandleAsync(HttpContext context);

    /// <summary>Records that a client and this host do not accept each other.</summary>
    void Refuse(string who, PeerException refusal);

    /// <summary>Ends what is going on.</summary>
    Task StopAsync();
}

/// <summary>The HTTP/2 server under a host.</summary>
internal sealed class GrpcServer : IAsyncDisposable
{
    // Several large messages fit before the sender waits for the receiver.
    private const int StreamWindow = 16 << 20, ConnectionWindow = 64 << 20;

    private const int MostHeaderBytes = 16 << 10;

    private readonly GrpcHostOptions _options;
    private readonly ServiceProvider _parts;
    private readonly IServer _server;
    private readonly IGrpcService _service;
    private int _disposed;

    private GrpcServer(GrpcHostOptions options, ServiceProvider parts, IGrpcService service)
    {
        (_options, _parts, _server, _service) = (options, parts, parts.GetRequiredService<IServer>(), service);
        Address = options is { Relay: { } relay, AlsoListens: false } ? relay.Coordinator : new Uri(_server.Features.Get<IServerAddressesFeature>()!.Addresses.First());
    }

    /// <summary>Where it listens, with the actual port; where it is reached through a coordinator alone, the address of that.</summary>
    public Uri Address { get; }

    /// <summary>What the server is made of.</summary>
    internal IServiceProvider Parts => _parts;

    /// <summary>Starts listening. The server owns the service from then on.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="service">Answers calls.</param>
    /// <param name="cancellationToken">Stops starting.</param>
    /// <param name="windowBytes">What a call may send ahead of its reader.</param>
    /// <exception cref="ArgumentOutOfRangeException">A time of the settings is out of its range.</exception>
    /// <exception cref="ConfigurationException">FL2530 to FL2534: the settings of identity cannot work.</exception>
    /// <exception cref="PeerException">The address would need encryption (FL4040) or cannot be opened (FL4015); a coordinator is not there or refuses.</exception>
    public static async Task<GrpcServer> StartAsync(GrpcHostOptions options, IGrpcService service, CancellationToken cancellationToken, int windowBytes = StreamWindow)
    {
        ServiceProvider? parts = null;
        try
        {
            options.Check();
            bool listens = options.Relay is null || options.AlsoListens;
            if (listens)
                GrpcAddress.Check(options.Listen, options.AllowPlaintext, options.Security);
            options.Security?.Check();
            IPAddress? ip = options.Listen.Host == "localhost" ? IPAddress.Loopback : IPAddress.TryParse(options.Listen.DnsSafeHost, out IPAddress? parsed) ? parsed : null;
            if (ip is null && listens)
                throw CannotListen(options, "The host must be an IP address or localhost.", null);
            parts = Build(options, [.. listens ? [new IPEndPoint(ip!, options.Listen.Port)] : Array.Empty<EndPoint>(), .. options.Relay is { } relay ? [new RelayEndPoint(relay)] : Array.Empty<EndPoint>()], service, windowBytes,
                new RelayListenerFactory(options));
            await parts.GetRequiredService<IServer>().StartAsync(new Requests(service), cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            if (parts is not null)
                await parts.DisposeAsync().ConfigureAwait(false);
            service.Dispose();
            if (e is not (IOException or System.Net.Sockets.SocketException))
                throw;
            throw CannotListen(options, "Choose a free port and an address of this machine.", e);
        }

        return new GrpcServer(options, parts, service);
    }

    /// <summary>Starts and ends a server that nobody can reach.</summary>
    /// <param name="place">Where it does not listen.</param>
    /// <param name="service">What nobody calls.</param>
    public static async Task RehearseAsync<T>(T place, IGrpcService service) where T : EndPoint, IConnectionListenerFactory
    {
        var options = new GrpcHostOptions();
        // Two providers: a constructor that is called by reflection is compiled only when it is called for the second time.
        await using ServiceProvider unused = Build(options, [place], service, StreamWindow, place), parts = Build(options, [place], service, StreamWindow, place);
        _ = unused.GetRequiredService<IServer>();
        IServer server = parts.GetRequiredService<IServer>();
        await server.StartAsync(new Requests(service), CancellationToken.None).ConfigureAwait(false);
        await server.StopAsync(CancellationToken.None).ConfigureAwait(false);
    }

    /// <summary>Ends every session, lets last frames leave, and stops listening.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _service.StopAsync().ConfigureAwait(false);
        // Twice their time, since exchanges wait for their clients first. A server that stops earlier resets the connection of a client that is slow to read, which then loses what it has not read.
        using (var timeUp = new CancellationTokenSource(2 * _options.ShutdownTimeout))
            await _server.StopAsync(timeUp.Token).ConfigureAwait(false);
        await _parts.DisposeAsync().ConfigureAwait(false);
        _service.Dispose();
    }

    private static ServiceProvider Build(GrpcHostOptions options, IReadOnlyList<EndPoint> endpoints, IGrpcService service, int windowBytes, IConnectionListenerFactory beside)
    {
        ServiceCollection parts = KestrelParts.Collect();
        // The server's own work on a connection stays on the thread that the socket woke; whoever reads an exchange goes on in a thread of its own all the same.
        parts.Configure<SocketTransportOptions>(sockets => sockets.UnsafePreferInlineScheduling = true);
        parts.Configure<KestrelServerOptions>(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = null;      // an exchange has no end known beforehand; each message has its limit
            kestrel.Limits.MinRequestBodyDataRate = null;  // parties compute for minutes without sending
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Limits.Http2.InitialStreamWindowSize = windowBytes;
            kestrel.Limits.Http2.InitialConnectionWindowSize = ConnectionWindow / StreamWindow * windowBytes;
            // Finds a peer whose machine vanished without closing.
            kestrel.Limits.Http2.KeepAlivePingDelay = options.SilenceTimeout / 3;
            kestrel.Limits.Http2.KeepAlivePingTimeout = options.SilenceTimeout - options.SilenceTimeout / 3;
            kestrel.Limits.MaxConcurrentConnections = options.Quotas.AllConnections;
            kestrel.Limits.MaxRequestHeadersTotalSize = MostHeaderBytes;
            foreach (EndPoint endpoint in endpoints)
                kestrel.Listen(endpoint, listen =>
                {
                    listen.Protocols = HttpProtocols.Http2;
                    listen.Use(next => connection => service.Quotas.ConnectAsync(connection, next)); // before encryption: every connection counts
                    if (options.Security is { } security)
                        HostTls.Encrypt(listen, security, service.Refuse);
                });
        });
        // After Kestrel's own, since the last one counts.
        parts.AddSingleton<IMemoryPoolFactory<byte>>(new LargeBlocks());
        parts.AddSingleton(beside);
        return parts.BuildServiceProvider();
    }

    private static PeerException CannotListen(GrpcHostOptions options, string remedy, Exception? inner) => new(ProtocolErrors.CannotConnect,
        $"address {GrpcAddress.Name(options.Listen)}", "this process cannot listen there.", remedy, inner);

    /// <summary>Hands each request to the service.</summary>
    private sealed class Requests(IGrpcService service) : IHttpApplication<HttpContext>
    {
        public HttpContext CreateContext(IFeatureCollection contextFeatures) => new DefaultHttpContext(contextFeatures);

        public Task ProcessRequestAsync(HttpContext context) => service.HandleAsync(context);

        public void DisposeContext(HttpContext context, Exception? exception) { }
    }
}
