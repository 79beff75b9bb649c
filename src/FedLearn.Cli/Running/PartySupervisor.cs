using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;
using Polly;
using Polly.Retry;

namespace FedLearn.Cli.Running;

/// <summary>Keeps a party of a real session at its job: when it has lost a peer it meets the others again, and the run goes on.</summary>
internal static class PartySupervisor
{
    /// <summary>Takes part in the sessions of a party file: hosts them, or joins them.</summary>
    /// <param name="file">The party's file.</param>
    /// <param name="order">What the parties do.</param>
    /// <param name="task">What this one does.</param>
    /// <param name="log">Told what happens.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static Task<JsonObject> RunAsync(PartyFile file, SessionOrder order, PartyTask task, Action<string> log, CancellationToken cancellationToken)
    {
        TransportSettings transport = file.TransportFor(order.Verb);
        return file.Hosts
            ? HostAsync(task, file.Listen, transport, address => log(file.Listening(address)), log, cancellationToken)
            : JoinAsync(task, file.ActiveParty!, transport, log, cancellationToken);
    }

    /// <summary>As <see cref="GrpcParty.HostAsync"/>, again and again at the same address.</summary>
    public static Task<JsonObject> HostAsync(PartyTask task, Uri? listen, TransportSettings settings, Action<Uri> listening, Action<string> log, CancellationToken cancellationToken)
    {
        bool told = false;
        return RunAsync(task, settings, log, (attempt, limits, stop) => GrpcParty.HostAsync(attempt, listen, limits, address =>
        {
            // A port that the system chose is kept: peers that come back look for the same one.
            if (listen is not null)
                listen = address;
            if (!told)
                listening(address);
            told = true;
        }, log, stop), cancellationToken);
    }

    /// <summary>As <see cref="GrpcParty.JoinAsync"/>, again and again.</summary>
    public static Task<JsonObject> JoinAsync(PartyTask task, Uri host, TransportSettings settings, Action<string> log, CancellationToken cancellationToken) =>
        RunAsync(task, settings, log, (attempt, limits, stop) => GrpcParty.JoinAsync(attempt, host, limits, stop), cancellationToken);

    /// <summary>How long a party that has nothing to go on with waits where one of its name has joined: the time in which a host notices that a process of it has died.</summary>
    private static readonly TimeSpan NamesakeTime = TimeSpan.FromSeconds(5);

    // The host gave up its old session, or died, just when this party came back. A host that cannot be reached at all is not meant: it has been waited for already.
    private static bool BrokeOff(PeerException e) => e.Id is ProtocolErrors.PeerGone or ProtocolErrors.AlreadyJoined or GrpcErrors.WrongSession or GrpcErrors.CallFailed;

    /// <summary>Runs a party until its job has ended, or until the others have not come back in time.</summary>
    /// <param name="task">What the party does.</param>
    /// <param name="settings">Time limits.</param>
    /// <param name="log">Told one line for each loss.</param>
    /// <param name="attempt">One session, from meeting the others to the result.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <param name="clock">Clock of the waiting; null for the system's.</param>
    internal static async Task<JsonObject> RunAsync(PartyTask task, TransportSettings settings, Action<string> log,
        Func<PartyTask, TransportSettings, CancellationToken, Task<JsonObject>> attempt, CancellationToken cancellationToken, TimeProvider? clock = null)
    {
        clock ??= TimeProvider.System;
        bool met = false, ever = false;
        ReadyParty Watched(ReadyParty ready) => (ready with
        {
            Run = (agreement, channels, stop) =>
            {
                met = ever = true;
                return ready.Run(agreement, channels, stop);
            },
        }).Telling(log);
        PeerException loss;
        try
        {
            // The first meeting has the usual time limits.
            return await attempt(new PartyTask(task.Name, task.Terms, stop => Watched(task.Prepare(stop))), settings, cancellationToken).ConfigureAwait(false);
        }
        catch (PeerException e) when (task.KeepsRuns && settings.ResumeTimeout > TimeSpan.Zero && (met ? RunLoss.Is(e) : BrokeOff(e)) && !cancellationToken.IsCancellationRequested)
        {
            loss = e;
        }

        while (true)
        {
            // The party looks at its kept states again, to see what it can go on with. Before its first state nothing is lost by beginning anew.
            ReadyParty ready = task.Prepare(cancellationToken);
            var wait = new Wait(loss, met, ready.Request.Resume, settings.ResumeTimeout);
            log(wait.Line(task.Name));
            long start = clock.GetTimestamp();
            TimeSpan Left() => wait.Patience - clock.GetElapsedTime(start);
            met = false;
            var again = new PartyTask(task.Name, task.Terms, _ => Watched(ready));
            ResiliencePipeline meeting = new ResiliencePipelineBuilder { TimeProvider = clock }.AddRetry(new RetryStrategyOptions
            {
                MaxRetryAttempts = int.MaxValue,
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = true,
                Delay = TimeSpan.FromMilliseconds(100),
                MaxDelay = TimeSpan.FromSeconds(5),
                ShouldHandle = args => ValueTask.FromResult(!met && Left() > TimeSpan.Zero && args.Outcome.Exception is PeerException e && IsAway(e)),
            }).Build();
            try
            {
                return await meeting.ExecuteAsync(async stop =>
                    await attempt(again, settings with { ConnectTimeout = Left() is var left && left > TimeSpan.FromSeconds(1) ? left : TimeSpan.FromSeconds(1) }, stop).ConfigureAwait(false),
                    cancellationToken).ConfigureAwait(false);
            }
            catch (PeerException e) when (met && RunLoss.Is(e) && !cancellationToken.IsCancellationRequested)
            {
                loss = e;
            }
            catch (PeerException e) when (!met && IsAway(e) && !cancellationToken.IsCancellationRequested)
            {
                if (wait.IsForNamesake && e.Id == ProtocolErrors.AlreadyJoined)
                    throw;
                throw wait.InVain(ever, e);
            }
        }
    }

    // A host that has not noticed the loss yet answers that this party has joined already.
    private static bool IsAway(PeerException e) => RunLoss.Is(e) || e.Id == ProtocolErrors.AlreadyJoined;

    /// <summary>What a party waits for after a loss.</summary>
    /// <param name="Loss">The loss.</param>
    /// <param name="Met">Whether there was a session that was lost; else there was none.</param>
    /// <param name="Resume">What the party can go on with; null: it begins anew.</param>
    /// <param name="Longest">How long it waits at most.</param>
    private sealed record Wait(PeerException Loss, bool Met, ResumeOffer? Resume, TimeSpan Longest)
    {
        /// <summary>Whether another process of the party's name has joined, while this one has nothing to go on with.</summary>
        public bool IsForNamesake => Loss.Id == ProtocolErrors.AlreadyJoined && Resume is null;

        public TimeSpan Patience => IsForNamesake && NamesakeTime < Longest ? NamesakeTime : Longest;

        private string Seconds => Patience.TotalSeconds.ToString("0.#", CultureInfo.InvariantCulture);

        private string Place => Met && Loss.Peer is { } peer ? $"peer '{peer}'" : Loss.Place;

        private string Cause => Loss.Cause.TrimEnd('.');

        private string Next => Resume is { } offer ? $"the run goes on before round {offer.Rounds[^1]}" : "the run begins anew";

        // Without a session so far the address or the file may be wrong, so the cause is told before the time is up.
        private string Lost => Met ? $"lost {(Loss.Peer is null ? Loss.Place : $"'{Loss.Peer}'")} ({Loss.Id})" : $"no session with {Place}: {Cause} ({Loss.Id})";

        /// <summary>The line that tells of it.</summary>
        public string Line(string party) => IsForNamesake ? $"'{party}' has joined already ({Loss.Id}), perhaps from another process; waiting up to {Seconds} s for that to end"
            : $"{Lost}; waiting up to {Seconds} s for it to come back; {Next}";

        /// <summary>The error where nobody has come back.</summary>
        /// <param name="ever">Whether the party has met the others at all: else it may have the wrong address, or http where https is spoken.</param>
        /// <param name="last">What the last meeting failed with.</param>
        public PeerException InVain(bool ever, PeerException last) => new(RunningErrors.NotBack, Place, $"it was lost ({Loss.Id}: {Cause}) and has not come back in {Seconds} s.",
            Loss.Id == ProtocolErrors.EndNotHeard || (!ever && Resume is null) ? Loss.Remedy : $"Start every party again with the same command: {Next}.", last);
    }
}
