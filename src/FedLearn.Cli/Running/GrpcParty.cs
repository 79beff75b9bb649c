using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Services;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>One party of a session over gRPC.</summary>
internal static class GrpcParty
{
    /// <summary>The active party: hosts the session, then takes part.</summary>
    /// <param name="task">What the party does.</param>
    /// <param name="listen">Where to listen; port 0 lets the system choose. Null: nowhere, the settings name a coordinator.</param>
    /// <param name="settings">Time limits.</param>
    /// <param name="listening">Told the address as soon as parties can join.</param>
    /// <param name="log">Told of refused requests to join: the first ones of a minute, and how many more there were.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static async Task<JsonObject> HostAsync(PartyTask task, Uri? listen, TransportSettings settings, Action<Uri> listening, Action<string> log,
        CancellationToken cancellationToken)
    {
        using var refusals = new RefusalLog(log);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(PartyTransport.Host(settings, listen, log), task.Terms, cancellationToken).ConfigureAwait(false);
        host.JoinRefused += refusals.Tell;
        listening(host.Address);
        ReadyParty ready;
        try
        {
            ready = task.Prepare(cancellationToken);
        }
        // An error that another start would not mend ends the session for those who wait. A run that is open in another process may be free at the next start.
        catch (FedLearnException e) when (e is { ExitCode: not 4, Id: not RunStateErrors.InUse })
        {
            host.GiveUp(e.Id);
            throw;
        }

        await using GrpcSession session = await host.JoinAsync(ready.Request, cancellationToken).ConfigureAwait(false);
        return await ready.Run(session.Agreement, session.Channels, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>A passive party: reads its data, joins, takes part.</summary>
    public static async Task<JsonObject> JoinAsync(PartyTask task, Uri host, TransportSettings settings, CancellationToken cancellationToken)
    {
        ReadyParty ready = task.Prepare(cancellationToken);
        await using GrpcSession session = await OpenAsync(host, task.Terms.Parties[0].Name, ready.Request, settings, cancellationToken).ConfigureAwait(false);
        return await ready.Run(session.Agreement, session.Channels, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Joins a session that somebody else hosts.</summary>
    /// <param name="host">Where.</param>
    /// <param name="peer">Who hosts it: the active party, or the arbiter.</param>
    /// <param name="request">What this party asks.</param>
    /// <param name="settings">How the parties reach each other.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static async Task<GrpcSession> OpenAsync(Uri host, string peer, JoinRequest request, TransportSettings settings, CancellationToken cancellationToken) =>
        await GrpcFederationClient.JoinAsync(host, request, PartyTransport.Client(settings, host, peer), cancellationToken).ConfigureAwait(false);

    /// <summary>All parties in this process, talking gRPC over loopback.</summary>
    public static async Task<IReadOnlyList<JsonObject>> AllAsync(SessionOrder order, IProgress<JobProgress>? progress, Action<string> log,
        CancellationToken cancellationToken)
    {
        TransportSettings settings = order.Run.Transport;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var address = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        var arbiter = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        if (order.Arbiter is not null)
            order = order with { Door = async (request, cancel) => await HeRun.OverGrpc(await arbiter.Task.WaitAsync(cancel).ConfigureAwait(false), order.Arbiter!, settings)(request, cancel).ConfigureAwait(false) };
        PartyTask[] tasks = [.. order.Parties.Select(p => order.LocalTaskOf(p, progress))];
        PartyTask? keyHolder = order.Arbiter is { } name ? order.TaskOf(name, progress) : null;
        Task<JsonObject>[] running = [.. tasks.Select(task => Task.Run(async () => task.IsActive
            ? await HostAsync(task, new Uri("http://127.0.0.1:0"), settings, address.SetResult, log, stop.Token).ConfigureAwait(false)
            : await JoinAsync(task, await address.Task.WaitAsync(stop.Token).ConfigureAwait(false), settings, stop.Token).ConfigureAwait(false), CancellationToken.None)),
            .. keyHolder is null ? Array.Empty<Task<JsonObject>>()
                : [Task.Run(() => HostAsync(keyHolder, new Uri("http://127.0.0.1:0"), settings, arbiter.SetResult, log, stop.Token), CancellationToken.None)]];
        return await FirstFailure.WhenAllAsync(running, stop).ConfigureAwait(false);
    }
}

/// <summary>Waits for parties that run side by side.</summary>
internal static class FirstFailure
{
    /// <summary>How long the others may take to end by themselves once one party failed.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(3);

    /// <summary>All results; or, when a party fails, the error at the root of it, after the others were stopped.</summary>
    public static async Task<IReadOnlyList<T>> WhenAllAsync<T>(IReadOnlyList<Task<T>> parties, CancellationTokenSource stop)
    {
        var open = new List<Task<T>>(parties);
        while (open.Count > 0)
        {
            Task<T> ended = await Task.WhenAny(open).ConfigureAwait(false);
            open.Remove(ended);
            if (ended.IsCompletedSuccessfully)
                continue;
            stop.CancelAfter(Grace);
            try
            {
                await Task.WhenAll(parties).ConfigureAwait(false);
            }
            catch (Exception)
            {
                Exception[] failures = [.. parties.Where(p => p.IsFaulted).Select(p => p.Exception!.InnerException!)];
                throw failures.Length > 0 ? FailureSummary.Root(failures) : new OperationCanceledException();
            }
        }

        return [.. parties.Select(p => p.Result)];
    }
}
