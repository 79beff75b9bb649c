using System.Net;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace FedLearn.Transport.Grpc;

/// <summary>The HTTP/2 server under a host.</summary>
internal sealed class GrpcServer : IAsyncDisposable
{
    // Several large messages fit before the sender waits for the receiver.
    private const int StreamWindowBytes = 16 << 20, ConnectionWindowBytes = 64 << 20;

    private const int MostHeaderBytes = 16 << 10;

    private readonly GrpcHostOptions _options;
    private readonly WebApplication _app;
    private readonly FederationService _service;
    private int _disposed;

    private GrpcServer(GrpcHostOptions options, WebApplication app, FederationService service)
    {
        (_options, _app, _service) = (options, app, service);
        string bound = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        Address = new Uri(bound);
    }

    /// <summary>Where it listens, with the actual port.</summary>
    public Uri Address { get; }

    /// <summary>Starts listening. The server owns the service from then on.</summary>
    /// <exception cref="PeerException">The address would need encryption (FL4040) or cannot be opened (FL4015).</exception>
    public static async Task<GrpcServer> StartAsync(GrpcHostOptions options, FederationService service, CancellationToken cancellationToken)
    {
        WebApplication? app = null;
        try
        {
            GrpcAddress.Check(options.Listen, options.AllowPlaintext);
            IPAddress? ip = options.Listen.Host == "localhost" ? IPAddress.Loopback : IPAddress.TryParse(options.Listen.DnsSafeHost, out IPAddress? parsed) ? parsed : null;
            if (ip is null)
                throw CannotListen(options, "The host must be an IP address or localhost.", null);
            app = Build(options, new IPEndPoint(ip, options.Listen.Port), service.Quotas);
            app.Run(service.HandleAsync);
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

    /// <summary>Ends every session, lets last frames leave, and stops listening.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _service.StopAsync().ConfigureAwait(false);
        using (var timeUp = new CancellationTokenSource(_options.ShutdownTimeout))
            await _app.StopAsync(timeUp.Token).ConfigureAwait(false);
        await _app.DisposeAsync().ConfigureAwait(false);
        _service.Dispose();
    }

    private static WebApplication Build(GrpcHostOptions options, IPEndPoint endpoint, PeerQuotas quotas)
    {
        // The empty builder reads no settings files or environment and logs nowhere: a library must not.
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = options.ShutdownTimeout);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = null;      // an exchange has no end known beforehand; each message has its limit
            kestrel.Limits.MinRequestBodyDataRate = null;  // parties compute for minutes without sending
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Limits.Http2.InitialStreamWindowSize = StreamWindowBytes;
            kestrel.Limits.Http2.InitialConnectionWindowSize = ConnectionWindowBytes;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(20); // finds a peer whose machine vanished without closing
            kestrel.Limits.MaxConcurrentConnections = options.Quotas.AllConnections;
            kestrel.Limits.MaxRequestHeadersTotalSize = MostHeaderBytes;
            kestrel.Listen(endpoint, listen =>
            {
                listen.Protocols = HttpProtocols.Http2;
                listen.Use(next => connection => quotas.ConnectAsync(connection, next)); // before encryption: every connection counts
            });
        });
        return builder.Build();
    }

    private static PeerException CannotListen(GrpcHostOptions options, string remedy, Exception? inner) => new(ProtocolErrors.CannotConnect,
        $"address {GrpcAddress.Name(options.Listen)}", "the active party cannot listen there.", remedy, inner);

    /// <summary>Leaves Ctrl-C and the end of the process to the program that uses the library.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
