using System.Net;
using FedLearn.Coordination;
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

/// <summary>The active party's gRPC server for one session: passive parties join here and exchange messages with the active party.</summary>
/// <remarks>Also answers <c>grpc.health.v1.Health</c>. Listens without encryption, hence on this machine only unless told otherwise.</remarks>
public sealed class GrpcFederationHost : IAsyncDisposable
{
    // Several large messages fit before the sender waits for the receiver.
    private const int StreamWindowBytes = 16 << 20, ConnectionWindowBytes = 64 << 20;

    private readonly GrpcHostOptions _options;
    private readonly WebApplication _app;
    private readonly FederationService _service;
    private int _disposed;

    private GrpcFederationHost(GrpcHostOptions options, WebApplication app, FederationService service)
    {
        (_options, _app, _service) = (options, app, service);
        string bound = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        Address = new Uri(bound);
    }

    /// <summary>Where the host listens, with the actual port.</summary>
    public Uri Address { get; }

    /// <summary>Told of each request to join that was refused: the name the request gave, and the error. May be called on any thread.</summary>
    public event Action<string, FedLearnException>? JoinRefused
    {
        add => _service.JoinRefused += value;
        remove => _service.JoinRefused -= value;
    }

    /// <summary>Starts listening.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="terms">The job, the active party first.</param>
    /// <param name="cancellationToken">Stops starting.</param>
    /// <returns>The host. Dispose it to stop.</returns>
    /// <exception cref="PeerException">The address would need encryption (FL4040) or cannot be opened (FL4015).</exception>
    public static async Task<GrpcFederationHost> StartAsync(GrpcHostOptions options, SessionTerms terms, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(terms);
        GrpcAddress.Check(options.Listen, options.AllowPlaintext);
        IPAddress? ip = options.Listen.Host == "localhost" ? IPAddress.Loopback : IPAddress.TryParse(options.Listen.DnsSafeHost, out IPAddress? parsed) ? parsed : null;
        if (ip is null)
            throw CannotListen(options, "The host must be an IP address or localhost.", null);
        var service = new FederationService(terms, options);
        WebApplication app = Build(options, new IPEndPoint(ip, options.Listen.Port));
        app.Run(service.HandleAsync);
        try
        {
            await app.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            await app.DisposeAsync().ConfigureAwait(false);
            service.Dispose();
            if (e is not (IOException or System.Net.Sockets.SocketException))
                throw;
            throw CannotListen(options, "Choose a free port and an address of this machine.", e);
        }

        return new GrpcFederationHost(options, app, service);
    }

    /// <summary>Joins the active party itself, waits for every passive party, and then for their channels.</summary>
    /// <param name="ownRequest">What the active party asks.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <returns>The session, with one channel for each passive party in the job's order.</returns>
    /// <exception cref="PeerException">The request is refused (FL4010 to FL4013), or a party did not appear in time (FL4016).</exception>
    public Task<GrpcSession> JoinAsync(JoinRequest ownRequest, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(ownRequest);
        return _service.JoinLocallyAsync(ownRequest, cancellationToken);
    }

    /// <summary>Closes every channel, lets last frames leave within <see cref="GrpcHostOptions.ShutdownTimeout"/>, and stops listening.</summary>
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

    private static WebApplication Build(GrpcHostOptions options, IPEndPoint endpoint)
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
            kestrel.Listen(endpoint, listen => listen.Protocols = HttpProtocols.Http2);
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
