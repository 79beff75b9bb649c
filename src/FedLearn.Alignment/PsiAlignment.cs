using System.Globalization;
using FedLearn.Alignment.Ristretto;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment;

/// <summary>Finds the rows common to all parties of a job by private set intersection of the active party with each passive one.</summary>
/// <remarks>The active party meets all passive ones at once, on one set of threads: each waits for messages no longer than it takes to compute them for all. It keeps the memory of every pair
/// until that pair is done. With more than two parties each passive one then waits for the slowest pair; the active party tells it so now and then, which keeps the channels' time limit from ending
/// the session, for as long as <see cref="PsiOptions.WaitLimit"/> allows.</remarks>
public sealed class PsiAlignment : IEntityAlignment
{
    private readonly PsiOptions _options;
    private readonly TimeProvider _clock;

    /// <summary>Creates the alignment.</summary>
    /// <param name="options">Settings; null for the defaults. The output must be <see cref="PsiOutput.Both"/>: a party that does not know its common rows cannot train on them.</param>
    /// <exception cref="ConfigurationException">FL2520: another output.</exception>
    public PsiAlignment(PsiOptions? options = null) : this(options, TimeProvider.System) { }

    internal PsiAlignment(PsiOptions? options, TimeProvider clock)
    {
        (_options, _clock) = (options ?? new PsiOptions(), clock);
        if (_options.Output != PsiOutput.Both)
            throw new ConfigurationException(PsiErrors.OutputNotForTraining, "alignment.output", $"with the output {PsiSession.OutputName(_options.Output)} a party does not know its common rows, and a job needs them.",
                "Use the output both, or run the intersection by itself, outside a job.");
        _options.Check();
    }

    /// <inheritdoc />
    public AlignmentMethod Method => AlignmentMethod.Psi;

    /// <inheritdoc />
    public async Task<AlignedRows> AlignAsync(AlignmentTask task, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(channels);
        if (channels.Count != (task.Role == PartyRole.Active ? task.Parties - 1 : 1) || channels.Count == 0)
            throw new ArgumentException("The active party has a channel to every other party, and a passive one has one to the active party.", nameof(channels));
        IRistrettoEngine engine = RistrettoEngines.Create(_options.Engine);
        using var workers = new Workers(_options.Threads ?? Environment.ProcessorCount);
        PreparedIds ids = await ChannelGuard.WhileTheyWaitAsync(channels, stop => workers.RunAsync(() => PreparedIds.Create(task.Ids, _options, workers.Threads), stop), cancellationToken).ConfigureAwait(false);
        var sessions = new List<PsiSession>();
        try
        {
            foreach (IPartyChannel channel in channels)
                sessions.Add(new PsiSession(task.Role, ids, task.JobDigest, channel, _options, engine, workers, task.Progress));
            var outcomes = new PsiOutcome[sessions.Count];
            int underWay = sessions.Count;
            var all = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            async Task RunPairAsync(int i, CancellationToken stop)
            {
                outcomes[i] = await sessions[i].RunAsync(stop).ConfigureAwait(false);
                if (Interlocked.Decrement(ref underWay) == 0)
                    all.SetResult();
                await KeepWaitingAsync(channels[i], all.Task, stop).ConfigureAwait(false);
            }

            await ChannelGuard.AllAsync([.. sessions.Select((_, i) => (Func<CancellationToken, Task>)(stop => RunPairAsync(i, stop)))], cancellationToken).ConfigureAwait(false);
            IReadOnlyList<int> common = task.Parties == 2 ? outcomes[0].RowsByTag!
                : task.Role == PartyRole.Active ? await TellAsync(outcomes, channels, task.Ids.Count, cancellationToken).ConfigureAwait(false)
                : await HearAsync(outcomes[0].RowsByTag!, channels[0], cancellationToken).ConfigureAwait(false);
            sessions.ForEach(session => session.Finish());
            return new AlignedRows(RowIds.Order(task.Ids, common, task.Seed), [.. Leaks(task, outcomes)], [.. outcomes.SelectMany(o => o.Result.Warnings).Distinct()]);
        }
        finally
        {
            sessions.ForEach(session => session.Dispose());
        }
    }

    /// <summary>Tells a passive party, until all pairs are done, that there is nothing for it yet.</summary>
    private async Task KeepWaitingAsync(IPartyChannel channel, Task all, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                await all.WaitAsync(ChannelGuard.PauseOf(channel), _clock, cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (TimeoutException)
            {
                await channel.SendAsync(0, Disclosure.Unprotected(new AlignmentMessage(AlignmentStep.Waiting, default), "alignment: other pairs are not done"), cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Tells each passive party which of the ids common with it are common to all: a byte a tag, in rising order of that pair's tags.</summary>
    private static async Task<IReadOnlyList<int>> TellAsync(PsiOutcome[] outcomes, IReadOnlyList<IPartyChannel> channels, int rows, CancellationToken cancellationToken)
    {
        int[] pairs = new int[rows];
        foreach (int row in outcomes.SelectMany(o => o.RowsByTag!))
            pairs[row]++;
        for (int p = 0; p < channels.Count; p++)
        {
            byte[] selected = [.. outcomes[p].RowsByTag!.Select(row => pairs[row] == outcomes.Length ? (byte)1 : (byte)0)];
            await channels[p].SendAsync(0, Disclosure.Unprotected(new RowSelection(selected), "alignment: common rows"), cancellationToken).ConfigureAwait(false);
        }

        return [.. Enumerable.Range(0, rows).Where(row => pairs[row] == outcomes.Length)];
    }

    private async Task<IReadOnlyList<int>> HearAsync(int[] rowsByTag, IPartyChannel active, CancellationToken cancellationToken)
    {
        Payload message = await PsiFaults.OtherThanWaitingAsync(active, _options.WaitLimit, _clock, "selection", "the active party to be done with the other parties", cancellationToken).ConfigureAwait(false);
        if (message is not RowSelection selection)
            throw PsiFaults.Peer(ProtocolErrors.UnexpectedMessage, active, "selection", $"sent {message.GetType().Name} where {nameof(RowSelection)} was due.");
        if (selection.Length != rowsByTag.Length)
            throw PsiFaults.Peer(ProtocolErrors.WrongLength, active, "selection", $"sent {nameof(RowSelection)} of length {selection.Length}; this step needs {rowsByTag.Length}.");
        return [.. rowsByTag.Where((_, i) => selection.Selected.Span[i] == 1)];
    }

    private IEnumerable<string> Leaks(AlignmentTask task, PsiOutcome[] outcomes)
    {
        bool active = task.Role == PartyRole.Active, several = task.Parties > 2;
        string padded = _options.PadTo > 1 ? string.Create(CultureInfo.InvariantCulture, $", rounded up to a multiple of {_options.PadTo}") : "";
        yield return active ? $"each passive party learns how many ids this party has{padded}, and this party how many each passive party announces"
            : $"the active party learns how many ids this party has{padded}, and this party how many the active party announces";
        yield return several ? "the active party learns which of its ids each passive party has, and each passive party which of its ids the active party has" : "each of the two parties learns which of its ids the other has";
        if (several)
            yield return "each passive party learns which of its ids are common to all parties";
        yield return string.Create(CultureInfo.InvariantCulture,
            $"a party that brings invented ids learns which of them the other has: in this session at most {outcomes.Max(o => o.Result.PeerIds)} times yes or no, once for each id announced to this party");
    }
}
