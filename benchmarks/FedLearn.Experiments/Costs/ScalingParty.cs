using System.CommandLine;
using System.Text.Json;
using FedLearn.Glm;
using FedLearn.Storage.Sqlite;
using FedLearn.Transport.Grpc;

namespace FedLearn.Experiments.Costs;

/// <summary>What one party measured.</summary>
/// <param name="Seconds">Its training rounds.</param>
/// <param name="ComputeSeconds">Of these: own arithmetic.</param>
/// <param name="WaitSeconds">Of these: sending and waiting.</param>
/// <param name="NoiseSeconds">Of these: noise, with keeping messages durably.</param>
/// <param name="CpuSecondsPerEpoch">Processor time of its process, the first epoch left out; null with one epoch.</param>
/// <param name="MessagesSent">Messages sent in the whole job.</param>
/// <param name="BytesSent">Bytes sent in the whole job.</param>
internal sealed record ScalingFigures(double Seconds, double ComputeSeconds, double WaitSeconds, double NoiseSeconds, double? CpuSecondsPerEpoch, long MessagesSent, long BytesSent);

/// <summary>One party in a process of its own. <see cref="ScalingRuns"/> starts them.</summary>
internal static class ScalingParty
{
    public const string Verb = "scaling-party", Listening = "listening ";

    /// <summary>In place of a party's number: all of them in this process.</summary>
    public const int Together = -1;

    public static Command Create()
    {
        var shape = new Option<string>("--shape") { Description = "The job, as JSON.", Required = true };
        var party = new Option<int>("--party") { Description = "Which party; 0 is the active one, -1 stands for all.", Required = true };
        var coordinator = new Option<string?>("--coordinator") { Description = "Where the active party listens." };
        var folder = new Option<string>("--folder") { Description = "Where ledgers and states are kept.", Required = true };
        var command = new Command(Verb, "One party of verb scaling.") { shape, party, coordinator, folder };
        command.Hidden = true;
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            ScalingShape job = JsonSerializer.Deserialize<ScalingShape>(parsed.GetRequiredValue(shape))!;
            if (parsed.GetValue(party) == Together)
            {
                await Console.Out.WriteLineAsync(JsonSerializer.Serialize(await TogetherAsync(job, parsed.GetRequiredValue(folder), stop).ConfigureAwait(false))).ConfigureAwait(false);
                return 0;
            }

            GlmTrainer trainer = Trainer(job, parsed.GetValue(party), parsed.GetRequiredValue(folder));
            ScalingFigures figures;
            if (parsed.GetValue(coordinator) is { } address)
            {
                await using GrpcSession session = await GrpcFederationClient.JoinAsync(new Uri(address), trainer.JoinRequest, cancellationToken: stop).ConfigureAwait(false);
                figures = await TrainAsync(job, trainer, session, stop).ConfigureAwait(false);
            }
            else
            {
                await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), trainer.Terms, stop).ConfigureAwait(false);
                await Console.Out.WriteLineAsync(Listening + host.Address).ConfigureAwait(false);
                await using GrpcSession session = await host.JoinAsync(trainer.JoinRequest, stop).ConfigureAwait(false);
                figures = await TrainAsync(job, trainer, session, stop).ConfigureAwait(false);
            }

            await Console.Out.WriteLineAsync(JsonSerializer.Serialize(figures)).ConfigureAwait(false);
            return 0;
        }));
        return command;
    }

    private static async Task<ScalingFigures[]> TogetherAsync(ScalingShape job, string folder, CancellationToken stop)
    {
        GlmTrainer[] trainers = [.. Enumerable.Range(0, job.Columns.Count).Select(p => Trainer(job, p, folder))];
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), trainers[0].Terms, stop).ConfigureAwait(false);
        return await Task.WhenAll(trainers.Select((trainer, party) => Task.Run(async () =>
        {
            await using GrpcSession session = party == 0 ? await host.JoinAsync(trainer.JoinRequest, stop).ConfigureAwait(false)
                : await GrpcFederationClient.JoinAsync(host.Address, trainer.JoinRequest, cancellationToken: stop).ConfigureAwait(false);
            return await TrainAsync(job, trainer, session, stop).ConfigureAwait(false);
        }, stop))).ConfigureAwait(false);
    }

    // As the tool runs a party: states beside the ledger, and the ledger where there is something to charge.
    private static GlmTrainer Trainer(ScalingShape job, int party, string folder)
    {
        string ledger = Path.Combine(folder, ScalingShape.Name(party) + ".ledger.db");
        return new GlmTrainer(job.Job, job.Input(party) with { Ledger = job.Mode == "none" ? null : new SqliteLedger(ledger), Runs = new FileRunStore(ledger) });
    }

    private static async Task<ScalingFigures> TrainAsync(ScalingShape job, GlmTrainer trainer, GrpcSession session, CancellationToken stop)
    {
        var clock = new EpochClock();
        GlmPartyResult result = await trainer.TrainAsync(session.Agreement, session.Channels, clock, stop).ConfigureAwait(false);
        return new(result.Timing.Training, result.Timing.Compute, result.Timing.Wait, result.Timing.Noise,
            job.Epochs < 2 ? null : (clock.Last - clock.First).TotalSeconds / (job.Epochs - 1), result.Traffic.MessagesSent, result.Traffic.BytesSent);
    }

    /// <summary>Processor time of the process at the end of the first and of the last epoch.</summary>
    private sealed class EpochClock : IProgress<GlmProgress>
    {
        private bool _begun;

        public TimeSpan First { get; private set; }

        public TimeSpan Last { get; private set; }

        public void Report(GlmProgress value)
        {
            Last = Environment.CpuUsage.TotalTime;
            if (!_begun)
                (First, _begun) = (Last, true);
        }
    }
}
