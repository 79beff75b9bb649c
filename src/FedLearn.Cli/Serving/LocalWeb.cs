using System.Net;
using FedLearn.Diagnostics;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace FedLearn.Cli.Serving;

/// <summary>What the tool's small web servers have in common: HTTP/1.1 without encryption, no settings from files or the environment, and no log.</summary>
internal static class LocalWeb
{
    /// <summary>A server that listens nowhere yet.</summary>
    /// <param name="listen">An IP address or localhost, and a port; port 0 lets the system choose.</param>
    /// <param name="mostBodyBytes">Largest body of a request.</param>
    /// <param name="drain">How long the end waits for requests in progress.</param>
    public static WebApplicationBuilder Builder(Uri listen, long mostBodyBytes, TimeSpan drain)
    {
        IPAddress ip = listen.Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(listen.DnsSafeHost);
        // The empty builder reads no settings files or environment and logs nowhere.
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = drain);
        builder.Services.AddRouting();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = mostBodyBytes;
            kestrel.Listen(new IPEndPoint(ip, listen.Port), endpoint => endpoint.Protocols = HttpProtocols.Http1);
        });
        return builder;
    }

    /// <summary>Starts listening.</summary>
    /// <param name="app">The server.</param>
    /// <param name="errorId">Id of the error when the address cannot be opened.</param>
    /// <param name="place">Its place.</param>
    /// <param name="cancellationToken">Stops starting.</param>
    /// <returns>Where it listens, with the actual port.</returns>
    /// <exception cref="PeerException">The address cannot be opened.</exception>
    public static async Task<Uri> StartAsync(WebApplication app, string errorId, string place, CancellationToken cancellationToken)
    {
        try
        {
            await app.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            await app.DisposeAsync().ConfigureAwait(false);
            if (e is not (IOException or System.Net.Sockets.SocketException))
                throw;
            throw new PeerException(errorId, place, "the address cannot be opened.", "Choose a free port and an address of this machine.", e);
        }

        return new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
    }

    /// <summary>Leaves Ctrl-C and the end of the process to the tool.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
