using System.Collections.Concurrent;
using System.Globalization;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Services;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;
using Microsoft.Extensions.Hosting.Systemd;

namespace FedLearn.Cli.Serving;

/// <summary>A coordinator that runs until it is stopped.</summary>
internal static class Coordinator
{
    /// <summary>How long the end may take once connections have ended or were cut.</summary>
    public static readonly TimeSpan EndTime = TimeSpan.FromSeconds(5);

    /// <summary>Connects parties until stopped.</summary>
    /// <param name="file">The coordinator file.</param>
    /// <param name="log">Told what happens: names of jobs and parties, and numbers of bytes.</param>
    /// <param name="cancellationToken">Ends it in good order: connections in progress may end within the file's time.</param>
    /// <exception cref="PeerException">The address, or that of the health checks, cannot be opened, or would need encryption.</exception>
    public static async Task RunAsync(CoordinatorFile file, Action<string?> log, CancellationToken cancellationToken)
    {
        log = ServiceManager.Dated(log);
        var options = new GrpcHostOptions { Listen = file.Listen, AllowPlaintext = file.AllowPlaintext, Security = file.Security, Quotas = file.PeerQuotas };
        foreach (string note in file.Notes)
            log($"warning: {note}");
        if (OpenFiles.Shortage(file.PeerQuotas.AllConnections) is { } shortage)
            log($"warning: {shortage}");
        using var refusals = new RefusalLog(log);
        await using GrpcRelayServer relay = await GrpcRelayServer.StartAsync(options, file.Jobs, file.Quotas, cancellationToken).ConfigureAwait(false);
        using var metrics = new CoordinatorMetrics(relay);
        var ended = new ConcurrentDictionary<string, int>();
        long connections = 0, bytes = 0, refused = 0;
        relay.Opened += c =>
        {
            Interlocked.Increment(ref connections);
            log($"connection {c.Number}: '{c.Party}' to '{c.Host}', job '{c.Job}', {c.Purpose}");
        };
        relay.Closed += (c, traffic) =>
        {
            Interlocked.Add(ref bytes, traffic.ToHost + traffic.FromHost);
            if (traffic.ErrorId is null)
                ended.AddOrUpdate(c.Job, 1, (_, count) => count + 1);
            log(string.Create(CultureInfo.InvariantCulture, $"connection {c.Number} ended: {traffic.ToHost} bytes to '{c.Host}', {traffic.FromHost} bytes to '{c.Party}'{(traffic.ErrorId is null ? "" : $" ({traffic.ErrorId})")}"));
        };
        relay.Refused += (name, refusal) =>
        {
            Interlocked.Increment(ref refused);
            refusals.Tell(name, refusal);
        };
        foreach (RelayJob job in file.Jobs)
            log($"job '{job.Name}': {string.Join(", ", job.Purposes.Keys)}; parties {string.Join(", ", job.Purposes.Values.SelectMany(t => t.Parties).Select(p => $"'{p.Name}'").Distinct())}");
        await using HealthHost? health = file.Health is { } address
            ? await HealthHost.StartAsync(address, () => [.. file.Jobs.Select(job => new JobStatus(job.Name, null, null, "ready", ended.GetValueOrDefault(job.Name), null))],
                () => cancellationToken.IsCancellationRequested, CancellationToken.None).ConfigureAwait(false) : null;
        if (health is not null)
            log($"health checks on {health.Address}");
        log($"listening on {relay.Address}");
        ServiceManager.Notify(ServiceState.Ready, log);
        await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        ServiceManager.Notify(ServiceState.Stopping, log);
        log(string.Create(CultureInfo.InvariantCulture, $"stopping: {relay.Connections} connections in progress may end within {file.StopTime.TotalSeconds:0.#} s"));
        foreach (RelayedConnection cut in await relay.StopAsync(file.StopTime).ConfigureAwait(false))
            log($"cut connection {cut.Number}: '{cut.Party}' to '{cut.Host}', job '{cut.Job}'");
        log(string.Create(CultureInfo.InvariantCulture, $"stopped: {Interlocked.Read(ref connections)} connections, {Interlocked.Read(ref bytes)} bytes, {Interlocked.Read(ref refused)} calls refused"));
    }
}
