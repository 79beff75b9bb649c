using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Serving;

/// <summary>A passive party that answers online predictions until it is stopped.</summary>
internal static class PassiveServer
{
    /// <summary>Joins, answers, and joins again after a loss.</summary>
    /// <param name="file">The party file.</param>
    /// <param name="modelDirectory">Directory with its part of the model.</param>
    /// <param name="log">Told what happens; counts, never an id.</param>
    /// <param name="cancellationToken">Ends it in good order.</param>
    /// <exception cref="FedLearnException">It cannot serve, or the active party has another job or a part of another training.</exception>
    public static async Task RunAsync(PartyFile file, string modelDirectory, Action<string> log, CancellationToken cancellationToken)
    {
        if (file.ActiveParty is not { } address)
            throw new ConfigurationException(ServingErrors.WrongRole, file.Path, $"'{file.Self.Name}' is the active party, which asks and does not answer.",
                "Use fedlearn serve there, and party --serve at the passive parties.");
        GlmRunFile run = file.Run.As<GlmRunFile>("party --serve");
        var party = new GlmScoringPassive(run.Job, GlmTasks.Input(run, run.Party(file.Self.Name), needLabel: false, cancellationToken), GlmModel.Load(modelDirectory, file.Self.Name));
        string active = file.Run.Active.Name;
        TransportSettings transport = file.TransportFor(GrpcRelay.Serve);
        GrpcClientOptions client = PartyTransport.Client(transport, address, active);
        var options = new GrpcRejoinOptions();
        options = options with
        {
            Client = client with
            {
                Relay = PartyTransport.Relay(transport, log),
                ConnectTimeout = options.Client.ConnectTimeout,
                HeartbeatInterval = options.Client.HeartbeatInterval,
                Channel = client.Channel with { ReceiveTimeout = options.Client.Channel.ReceiveTimeout },
            },
        };
        foreach (string note in file.Notes)
            log($"warning: {note}");
        log($"warning: scores of the asked rows are disclosed to the active party{GlmTasks.OutsideClaims(run)}");
        log($"connecting to '{active}' at {address}");
        string? said = null;
        try
        {
            await GrpcRejoiningClient.RunAsync(address, party.JoinRequest, async (session, stop) =>
            {
                said = null;
                log($"serving '{active}'");
                await party.RunAsync(session.Agreement, session.Channels[0], stop).ConfigureAwait(false);
            }, options, (loss, _) =>
            {
                string text = loss is null ? $"'{active}' ended the session; waiting for it" : $"waiting for '{active}': {loss.Cause} ({loss.Id})";
                if (text != said) // an active party that stays away is said once, not at every attempt
                    log(said = text);
            }, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The end that was asked for.
        }
        finally
        {
            GlmScoringCounts counts = party.Counts;
            log($"stopped: {counts.Requests} {Counted.Noun(counts.Requests, "message")} answered, {counts.Ids} {Counted.Noun(counts.Ids, "id")}, {counts.Unknown} of them without a row here");
        }
    }
}
