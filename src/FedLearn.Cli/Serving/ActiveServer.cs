using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Cli.Services;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Serving;

/// <summary>The active party of online prediction: REST on one side, the passive parties' sessions on the other.</summary>
internal static class ActiveServer
{
    /// <summary>How long the end may take once the requests in progress are answered.</summary>
    public static readonly TimeSpan EndTime = TimeSpan.FromSeconds(8);

    private static readonly TimeSpan SessionsEndTime = TimeSpan.FromSeconds(3);

    /// <summary>Serves until stopped.</summary>
    /// <param name="file">The party file.</param>
    /// <param name="modelDirectory">Directory with its part of the model.</param>
    /// <param name="log">Told what happens; never an id or a score.</param>
    /// <param name="cancellationToken">Ends it in good order: requests in progress are answered, sessions closed.</param>
    /// <exception cref="FedLearnException">It cannot serve.</exception>
    public static async Task RunAsync(PartyFile file, string modelDirectory, Action<string> log, CancellationToken cancellationToken)
    {
        if (!file.Hosts)
            throw new ConfigurationException(ServingErrors.WrongRole, file.Path, $"'{file.Self.Name}' is a passive party, which answers and does not ask.",
                "Use fedlearn party --serve there, and fedlearn serve at the active party.");
        GrpcAddress.Check(file.Serve.Rest, allowPlaintext: false);
        GlmRunFile run = file.Run.As<GlmRunFile>("serve");
        foreach (string note in file.Notes)
            log($"warning: {note}");
        var scoring = new GlmScoringActive(run.Job, GlmTasks.Input(run, run.Party(file.Self.Name), needLabel: false, cancellationToken), GlmModel.Load(modelDirectory, file.Self.Name),
            new GlmScoringOptions { Timeout = file.Serve.Timeout, Fallbacks = file.Serve.Fallbacks, GiveUpAfter = file.Transport.Timeout });
        using var metrics = new ServingMetrics(scoring);
        using var refusals = new RefusalLog(log);
        GrpcPair[] pairs = [.. scoring.Parties.Select(p => new GrpcPair(scoring.TermsFor(p.Name), scoring.JoinRequest))];
        await using GrpcPairHost? host = pairs.Length == 0 ? null : await HostAsync(file, scoring, pairs, log, refusals, cancellationToken).ConfigureAwait(false);
        if (host is not null)
            log(file.Listening(host.Address));
        await using (RestHost rest = await RestHost.StartAsync(file.Serve.Rest, scoring, metrics, file.Serve.Timeout + RestHost.DrainTime, log, cancellationToken).ConfigureAwait(false))
        {
            log($"answering on {rest.Address}");
            await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            log("stopping");
        }

        await scoring.StopAsync(SessionsEndTime).ConfigureAwait(false);
        log($"stopped: {metrics.Requests} requests answered");
    }

    private static async Task<GrpcPairHost> HostAsync(PartyFile file, GlmScoringActive scoring, GrpcPair[] pairs, Action<string> log, RefusalLog refusals, CancellationToken cancellationToken)
    {
        GrpcHostOptions options = PartyTransport.Host(file.TransportFor(GrpcRelay.Serve), file.Listen, log);
        options = options with { Channel = options.Channel with { ReceiveTimeout = Timeout.InfiniteTimeSpan } };
        scoring.PartyConnected += party => log($"party '{party}' connected");
        GrpcPairHost host = await GrpcPairHost.StartAsync(options, pairs, (session, stop) => scoring.ServeAsync(session.Agreement, session.Channels[0], stop), cancellationToken).ConfigureAwait(false);
        host.JoinRefused += refusals.Tell;
        host.SessionEnded += (party, error) => log(error switch
        {
            null => $"party '{party}' left",
            FedLearnException known => $"party '{party}' left: {known.Cause} ({known.Id})",
            _ => $"party '{party}' left: {Tool.Unexpected("serve", error).Cause}",
        });
        return host;
    }
}
