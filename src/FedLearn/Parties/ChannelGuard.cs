using System.Runtime.ExceptionServices;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Parties;

/// <summary>What every protocol does with its channels.</summary>
internal static class ChannelGuard
{
    /// <summary>Runs a protocol; when it fails, tells every peer the id of the error.</summary>
    public static async Task<T> RunAsync<T>(IReadOnlyList<IPartyChannel> channels, Func<Task<T>> protocol)
    {
        try
        {
            return await protocol().ConfigureAwait(false);
        }
        catch (Exception e)
        {
            string id = (e as FedLearnException)?.Id ?? e switch
            {
                OperationCanceledException => ProtocolErrors.Cancelled,
                ModelNotSavedException => ProtocolErrors.ModelNotSaved,
                _ => ProtocolErrors.PeerFailed,
            };
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(2));
            // All at once: a peer that takes nothing in does not use up the time of the others.
            await Task.WhenAll(channels.Select(channel => channel.AbortAsync(id, limit.Token).AsTask())).ConfigureAwait(false);
            if (e is ModelNotSavedException { InnerException: { } cause })
                ExceptionDispatchInfo.Throw(cause);
            throw;
        }
    }

    /// <summary>Refuses channels that are not one a peer: without some the job would go on as if these parties were none of it.</summary>
    /// <param name="channels">The channels of a party.</param>
    /// <param name="role">What the party is.</param>
    /// <param name="parties">Parties of the job.</param>
    /// <exception cref="ArgumentException">They are too few or too many.</exception>
    public static void CheckCount(IReadOnlyList<IPartyChannel> channels, PartyRole role, int parties)
    {
        ArgumentNullException.ThrowIfNull(channels);
        int peers = role == PartyRole.Active ? parties - 1 : 1;
        if (channels.Count != peers)
            throw new ArgumentException($"An active party has one channel to each passive party, a passive one the one to the active party; here {peers}, not {channels.Count}.", nameof(channels));
    }

    /// <summary>The same of a protocol without a result.</summary>
    public static Task RunAsync(IReadOnlyList<IPartyChannel> channels, Func<Task> protocol) => RunAsync(channels, async () =>
    {
        await protocol().ConfigureAwait(false);
        return true;
    });

    /// <summary>How often a party that waits is told that there is nothing for it yet, and more often where its time limit would else be near.</summary>
    internal static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <summary>Time between two messages that say to wait: a third of the time after which a party gives up, which has the same limit in its job file.</summary>
    public static TimeSpan PauseOf(IPartyChannel channel) =>
        channel.ReceiveTimeout is var limit && limit != Timeout.InfiniteTimeSpan && limit / 3 < Patience ? limit / 3 : Patience;

    /// <summary>Does what may take long on another thread, and tells parties that wait for this one now and then that it is still there: by their time limits alone they would give up.</summary>
    /// <param name="waiting">Channels to these parties. Nothing else is sent over them meanwhile.</param>
    /// <param name="work">What is done; its token ends it, also when a party is gone. Its end is waited for in any case.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <param name="clock">Clock of the pauses; null for the system's.</param>
    /// <param name="mayBeGone">Whether a party that is gone leaves the work alone: what comes after it says so.</param>
    public static async Task<T> WhileTheyWaitAsync<T>(IReadOnlyList<IPartyChannel> waiting, Func<CancellationToken, Task<T>> work, CancellationToken cancellationToken, TimeProvider? clock = null,
        bool mayBeGone = false)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        CancellationToken stopped = stop.Token;
        Task<T> working = Task.Run(() => work(stopped), stopped);
        TimeSpan pause = waiting.Select(PauseOf).DefaultIfEmpty(Timeout.InfiniteTimeSpan).Min();
        try
        {
            while (true)
            {
                try
                {
                    return await working.WaitAsync(pause, clock ?? TimeProvider.System, CancellationToken.None).ConfigureAwait(false);
                }
                catch (TimeoutException)
                {
                    if (working.IsCompleted)
                        return await working.ConfigureAwait(false);
                    foreach (IPartyChannel channel in waiting)
                        await SayWaitingAsync(channel, mayBeGone, cancellationToken).ConfigureAwait(false);
                }
            }
        }
        catch (PeerException) when (working.IsFaulted)
        {
            // The error of the work is the better one: it may hold what the peer said, and not only that nothing can be sent to it.
            return await working.ConfigureAwait(false);
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await ((Task)working).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static async Task SayWaitingAsync(IPartyChannel channel, bool mayBeGone, CancellationToken cancellationToken)
    {
        try
        {
            await channel.SendAsync(0, Disclosure.Unprotected(new AlignmentMessage(AlignmentStep.Waiting, default), "waiting: this party still computes"), cancellationToken).ConfigureAwait(false);
        }
        catch (PeerException) when (mayBeGone)
        {
        }
    }

    /// <summary>The same of work without a result.</summary>
    public static Task WhileTheyWaitAsync(IReadOnlyList<IPartyChannel> waiting, Func<CancellationToken, Task> work, CancellationToken cancellationToken) => WhileTheyWaitAsync(waiting, async stop =>
    {
        await work(stop).ConfigureAwait(false);
        return true;
    }, cancellationToken);

    /// <summary>The same of work that may not look at its token: it is then left behind.</summary>
    public static Task<T> ComputeAsync<T>(IReadOnlyList<IPartyChannel> waiting, Func<CancellationToken, T> work, CancellationToken cancellationToken) =>
        WhileTheyWaitAsync(waiting, stop => Task.Run(() => work(stop), stop).WaitAsync(stop), cancellationToken);

    /// <summary>Saves a party's part of a model, whatever becomes of the others meanwhile.</summary>
    /// <exception cref="ModelNotSavedException">That failed.</exception>
    public static Task SaveAsync<T>(IReadOnlyList<IPartyChannel> waiting, Action<T>? save, T model) => WhileTheyWaitAsync(waiting, _ =>
    {
        ModelNotSavedException.Save(save, model);
        return Task.FromResult(true);
    }, CancellationToken.None, mayBeGone: true);

    /// <summary>Makes something while others wait, which is disposed of where a lost peer or a cancellation means that nobody gets it.</summary>
    public static async Task<T> MakeAsync<T>(IReadOnlyList<IPartyChannel> waiting, Func<Task<T>> make, CancellationToken cancellationToken)
    {
        (T? made, bool isMade) = (default, false);
        try
        {
            return await WhileTheyWaitAsync(waiting, async _ =>
            {
                made = await make().ConfigureAwait(false);
                isMade = true;
                return made;
            }, cancellationToken).ConfigureAwait(false);
        }
        catch when (isMade)
        {
            if (made is IAsyncDisposable later)
                await later.DisposeAsync().ConfigureAwait(false);
            else
                (made as IDisposable)?.Dispose();
            throw;
        }
    }

    /// <summary>Ends a session whose parties keep what they go on with until each of them has what came of it. The party that all others talk to hears the end of each before it says its own: theirs
    /// say that they have their part, its own that everybody has.</summary>
    public static async Task EndAsync(IReadOnlyList<IPartyChannel> channels, bool isActive, CancellationToken cancellationToken, TimeProvider? clock = null)
    {
        if (isActive)
        {
            // A party that has its model waits for those that still save theirs.
            await WhileTheyWaitAsync(channels, async stop =>
            {
                foreach (IPartyChannel channel in channels)
                    await channel.PeerCompletedAsync(stop).ConfigureAwait(false);
                return true;
            }, cancellationToken, clock, mayBeGone: true).ConfigureAwait(false);
            // Every party has its part by now. So neither a peer that vanishes nor a cancellation may stop this, or some parties would have ended and others not.
            await Task.WhenAll(channels.Select(channel => channel.CompleteAsync(CancellationToken.None).AsTask())).ConfigureAwait(false);
            return;
        }

        foreach (IPartyChannel channel in channels)
            try
            {
                await channel.CompleteAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (PeerException loss) when (ProtocolErrors.Losses.Contains(loss.Id))
            {
                throw ProtocolErrors.Peer(ProtocolErrors.EndNotHeard, channel.RemoteParty, "end of the job",
                    $"it was lost ({loss.Id}) before it said that every party has its part of the model. This party has its own, where it was to be saved.",
                    "Where the others have ended, nothing is left to do: its model is the result. Else start every party again with the same command.", loss);
            }
    }

    /// <summary>Runs several things at once; when one fails, the others are stopped, and the first failure is thrown once all have ended.</summary>
    public static async Task AllAsync(IReadOnlyList<Func<CancellationToken, Task>> all, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var running = all.Select(one => Task.Run(() => one(stop.Token), CancellationToken.None)).ToList();
        Task? failed = null;
        while (running.Count > 0)
        {
            Task ended = await Task.WhenAny(running).ConfigureAwait(false);
            running.Remove(ended);
            if (ended.IsCompletedSuccessfully || failed is not null)
                continue;
            failed = ended;
            await stop.CancelAsync().ConfigureAwait(false);
        }

        if (failed is not null)
            await failed.ConfigureAwait(false);
    }

    /// <summary>The member of an enumeration from 0 that a number names.</summary>
    public static T Choice<T>(double number, IPartyChannel channel, int round) where T : struct, Enum
    {
        foreach (T value in Enum.GetValues<T>())
            if (Convert.ToDouble(value, System.Globalization.CultureInfo.InvariantCulture) == number)
                return value;
        throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, channel.RemoteParty, $"round {round}", $"sent a number that names no {typeof(T).Name}.",
            "Check that both parties run the same release of the software.");
    }

    /// <summary>Takes the 1 with which a party says that it is as far as this one waits for.</summary>
    public static async ValueTask ReceiveReadyAsync(IPartyChannel channel, int round, CancellationToken cancellationToken)
    {
        Scalars told = await ReceiveScalarsAsync(channel, round, ScalarsKind.Agreement, 1, cancellationToken).ConfigureAwait(false);
        if (told.Values.Span[0] != 1)
            throw ProtocolErrors.Peer(ProtocolErrors.IllegalValue, channel.RemoteParty, $"round {round}", "sent another number than 1 where it has to say that it is ready.",
                "Check that both parties run the same release of the software.");
    }

    /// <summary>Refuses a vector that is packed in another way than the job says: noised numbers are on a lattice, others in the job's precision.</summary>
    public static T Packed<T>(T vector, ElementType due, IPartyChannel channel, int round) where T : VectorPayload => vector.ElementType == due ? vector
        : throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, channel.RemoteParty, $"round {round}",
            $"sent {typeof(T).Name} packed as {NameOf(vector.ElementType)}, and the job says {NameOf(due)}.", "Check that both parties run the same job and release. For a party of your own see docs/protocol.md.");

    private static string NameOf(ElementType type) => type switch { ElementType.Lattice => "integers on a lattice, as what is noised", ElementType.Float32 => "float32", _ => "float64" };

    public static async ValueTask<Scalars> ReceiveScalarsAsync(IPartyChannel channel, int round, ScalarsKind kind, int? length, CancellationToken cancellationToken)
    {
        Scalars scalars = await channel.ReceiveAsync<Scalars>(round, length, cancellationToken).ConfigureAwait(false);
        return scalars.Kind == kind ? scalars : throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, channel.RemoteParty, $"round {round}",
            $"sent scalars of kind {scalars.Kind} where {kind} was due.", "Check that both parties run the same release of the software.");
    }
}
