using System.ComponentModel;
using FedLearn.Cli.Serving;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace FedLearn.Cli.Services;

/// <summary>The health checks of a service: <c>GET /healthz</c> says that the process lives, <c>GET /readyz</c> whether every job can take part.</summary>
/// <remarks>Answers hold the names of jobs and parties, states, counts of sessions and ids of errors; nothing of data. It logs nothing.</remarks>
internal sealed class HealthHost : IAsyncDisposable
{
    private static readonly TimeSpan DrainTime = TimeSpan.FromSeconds(1);

    private readonly WebApplication _app;

    private HealthHost(WebApplication app, Uri address) => (_app, Address) = (app, address);

    /// <summary>Where it answers, with the actual port.</summary>
    public Uri Address { get; }

    /// <summary>Starts answering.</summary>
    /// <param name="listen">An IP address or localhost, and a port; port 0 lets the system choose.</param>
    /// <param name="jobs">The jobs.</param>
    /// <param name="stopping">Whether the service is about to end.</param>
    /// <param name="cancellationToken">Stops starting.</param>
    /// <exception cref="Diagnostics.PeerException">FL4174: the address cannot be opened.</exception>
    public static async Task<HealthHost> StartAsync(Uri listen, Func<IReadOnlyList<JobStatus>> jobs, Func<bool> stopping, CancellationToken cancellationToken)
    {
        WebApplication app = LocalWeb.Builder(listen, mostBodyBytes: 0, DrainTime).Build();
        app.MapGet("/healthz", () => Results.Ok(new Reply("alive", jobs())));
        app.MapGet("/readyz", () =>
        {
            IReadOnlyList<JobStatus> now = jobs();
            string status = stopping() ? "stopping" : now.All(j => j.IsAble) ? "ready" : "notReady";
            return Results.Json(new Reply(status, now), statusCode: status == "ready" ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable);
        });
        return new HealthHost(app, await LocalWeb.StartAsync(app, ServiceErrors.CannotListen, $"health checks at {listen.Authority}", cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Takes no more requests.</summary>
    public async ValueTask DisposeAsync()
    {
        using (var timeUp = new CancellationTokenSource(DrainTime))
            await _app.StopAsync(timeUp.Token).ConfigureAwait(false);
        await _app.DisposeAsync().ConfigureAwait(false);
    }

    [Description("What a service is doing.")]
    private sealed record Reply(string Status, IReadOnlyList<JobStatus> Jobs);
}
