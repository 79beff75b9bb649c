using System.Net;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace FedLearn.Transport.Grpc;

/// <summary>What a server answers calls with.</summary>
internal interface IGrpcService : IDisposable
{
    /// <summary>What each peer may take of this host; null where the service counts by itself.</summary>
    PeerQuotas? Quotas => null;

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
    private readonly WebApplication _app;
    private readonly IGrpcService _service;
    private int _disposed;

    private GrpcServer(GrpcHostOptions options, WebApplication app, IGrpcService service)
    {
        (_options, _app, _service) = (options, app, service);
        Address = options is { Relay: { } relay, AlsoListens: false } ? relay.Coordinator
            : new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
    }

    /// <summary>Where it listens, with the actual port; where it is reached through a coordinator alone, the address of that.</summary>
    public Uri Address { get; }

    /// <summary>What the server is made of.</summary>
    internal IServiceProvider Services => _app.Services;

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
        WebApplication? app = null;
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
            app = Build(options, [.. listens ? [new IPEndPoint(ip!, options.Listen.Port)] : Array.Empty<EndPoint>(), .. options.Relay is { } relay ? [new RelayEndPoint(relay)] : Array.Empty<EndPoint>()], service, windowBytes,
                new RelayListenerFactory(options));
            await app.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            if (app is not null)
                await app.DisposeAsync().ConfigureAwait(false);
            service.Dispose();
            if (e is not (IOException or System.Net.Sockets.SocketException))
                throw;
            throw CannotListen(options, "Choose a free port and an address of this machine.", e);
        }

        return new GrpcServer(options, app, service);
    }

    /// <summary>Starts and ends a server that nobody can reach.</summary>
    /// <param name="place">Where it does not listen.</param>
    public static async Task RehearseAsync<T>(T place) where T : EndPoint, IConnectionListenerFactory
    {
        await using WebApplication app = Build(new GrpcHostOptions(), [place], new NoService(), StreamWindow, place);
        await app.StartAsync().ConfigureAwait(false);
        await app.StopAsync().ConfigureAwait(false);
    }

    /// <summary>Ends every session, lets last frames leave, and stops listening.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _service.StopAsync().ConfigureAwait(false);
        using (var timeUp = new CancellationTokenSource(StopLimit(_options)))
            await _app.StopAsync(timeUp.Token).ConfigureAwait(false);
        await _app.DisposeAsync().ConfigureAwait(false);
        _service.Dispose();
    }

    // Exchanges wait for their clients first. A server whose time is up with theirs would reset the connection of a client that is slow to read, which then loses what it has not read.
    private static TimeSpan StopLimit(GrpcHostOptions options) => 2 * options.ShutdownTimeout;

    private static WebApplication Build(GrpcHostOptions options, IReadOnlyList<EndPoint> endpoints, IGrpcService service, int windowBytes, IConnectionListenerFactory beside)
    {
        // The empty builder reads no settings files or environment and logs nowhere: a library must not.
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        // The server's own work on a connection stays on the thread that the socket woke; whoever reads an exchange goes on in a thread of its own all the same.
        builder.Services.Configure<SocketTransportOptions>(sockets => sockets.UnsafePreferInlineScheduling = true);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = StopLimit(options));
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = null;      // an exchange has no end known beforehand; each message has its limit
            kestrel.Limits.MinRequestBodyDataRate = null;  // parties compute for minutes without sending
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Limits.Http2.InitialStreamWindowSize = windowBytes;
            kestrel.Limits.Http2.InitialConnectionWindowSize = ConnectionWindow / StreamWindow * windowBytes;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(20); // finds a peer whose machine vanished without closing
            if (service.Quotas is not null)
                kestrel.Limits.MaxConcurrentConnections = options.Quotas.AllConnections;
            kestrel.Limits.MaxRequestHeadersTotalSize = MostHeaderBytes;
            foreach (EndPoint endpoint in endpoints)
                kestrel.Listen(endpoint, listen =>
                {
                    listen.Protocols = HttpProtocols.Http2;
                    if (service.Quotas is { } counted)
                        listen.Use(next => connection => counted.ConnectAsync(connection, next)); // before encryption: every connection counts
                    if (options.Security is { } security)
                        HostTls.Encrypt(listen, security, service.Refuse);
                });
        });
        // After Kestrel's own, since the last one counts.
        builder.Services.AddSingleton<IMemoryPoolFactory<byte>>(new LargeBlocks());
        builder.Services.AddSingleton(beside);
        WebApplication app = builder.Build();
        app.Run(service.HandleAsync);
        return app;
    }

    private static PeerException CannotListen(GrpcHostOptions options, string remedy, Exception? inner) => new(ProtocolErrors.CannotConnect,
        $"address {GrpcAddress.Name(options.Listen)}", "this process cannot listen there.", remedy, inner);

    private sealed class NoService : IGrpcService
    {
        public Task HandleAsync(HttpContext context) => Task.CompletedTask;

        public void Refuse(string who, PeerException refusal) { }

        public Task StopAsync() => Task.CompletedTask;

        public void Dispose() { }
    }

    /// <summary>Leaves Ctrl-C and the end of the process to the program that uses the library.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
