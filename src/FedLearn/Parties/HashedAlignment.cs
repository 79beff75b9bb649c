using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Parties;

/// <summary>Finds the rows common to all parties by comparing SHA-256 digests of ids.</summary>
/// <remarks>Every party ends with the same rows in the same order: by SHA-256(job seed || normalised id). What it leaks: the active party
/// sees a digest of every id of every passive party and can test guesses, so it learns which of the ids it can guess are there; a passive
/// party learns which of its rows are common to all, and so of any ids that it names instead. For trials; private set intersection is the remedy.</remarks>
internal sealed class HashedAlignment : IEntityAlignment
{
    /// <summary>What report and log say where digests crossed a connection.</summary>
    public const string Warning = "ids were compared by hash over a connection between processes: whoever can guess an id can test it; "
        + "use private set intersection (\"alignment\": \"psi\", in code AlignmentMethod.Psi)";

    private readonly bool _oneMachine;

    private HashedAlignment(bool oneMachine) => _oneMachine = oneMachine;

    /// <summary>What a party has that was given nothing else.</summary>
    public static HashedAlignment Instance { get; } = new(oneMachine: false);

    /// <summary>For parties whose tables are all on one machine: their connections tell nobody anything.</summary>
    public static HashedAlignment OfOneMachine { get; } = new(oneMachine: true);

    /// <inheritdoc />
    public AlignmentMethod Method => AlignmentMethod.Hashed;

    /// <summary>What the method discloses, for the report.</summary>
    public static IReadOnlyList<string> Leaks { get; } =
    [
        "the active party receives SHA-256(seed, id) of every row of every passive party and can test guesses of ids against it",
        "the active party learns which of its rows each passive party holds",
        "each passive party learns which of the ids that it names are common to all parties: of its rows, or of guesses, which nothing caps or logs",
    ];

    /// <inheritdoc />
    public async Task<AlignedRows> AlignAsync(AlignmentTask task, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken = default)
    {
        int[] rows = task.Role == PartyRole.Active
            ? await ActiveAsync(task.Ids, task.Seed, channels, cancellationToken).ConfigureAwait(false)
            : await PassiveAsync(task.Ids, task.Seed, channels[0], cancellationToken).ConfigureAwait(false);
        bool crossed = !_oneMachine && channels.Any(channel => channel is PartyChannel and not InMemoryChannel);
        return new AlignedRows(rows, channels.Count > 0 ? Leaks : [], crossed ? [Warning] : []);
    }

    /// <summary>The active party's side: intersects everybody's digests and tells each passive party which of its rows are common.</summary>
    /// <returns>Own rows that are common, in the common order.</returns>
    public static async Task<int[]> ActiveAsync(IReadOnlyList<string> ids, long seed, IReadOnlyList<IPartyChannel> passives, CancellationToken cancellationToken)
    {
        // The passive parties wait until all of them have sent and this one has sorted and compared, which takes as long as there are ids.
        (int[] rows, RowSelection[] selections) = await ChannelGuard.WhileTheyWaitAsync(passives, async stop =>
        {
            SortedRows own = RowIds.Order(ids, seed);
            byte[] common = new byte[ids.Count];
            Array.Fill(common, (byte)1);
            HashedIds[] theirs = new HashedIds[passives.Count];
            for (int p = 0; p < passives.Count; p++)
            {
                theirs[p] = await passives[p].ReceiveAsync<HashedIds>(0, null, stop).ConfigureAwait(false);
                CheckSorted(theirs[p], passives[p].RemoteParty, "alignment");
                And(common, Match(own.Digests, theirs[p].Digests.Span));
            }

            RowSelection[] selections = [.. theirs.Select(digests => new RowSelection(Match(digests.Digests.Span, own.Digests, common)))];
            return (Selected(own.Rows, common), selections);
        }, cancellationToken).ConfigureAwait(false);
        for (int p = 0; p < passives.Count; p++)
            await passives[p].SendAsync(0, Disclosure.Unprotected(selections[p], "alignment: common rows"), cancellationToken).ConfigureAwait(false);
        return rows;
    }

    /// <summary>A passive party's side.</summary>
    /// <returns>Own rows that are common, in the common order.</returns>
    public static async Task<int[]> PassiveAsync(IReadOnlyList<string> ids, long seed, IPartyChannel active, CancellationToken cancellationToken)
    {
        SortedRows own = await ChannelGuard.ComputeAsync([active], _ => RowIds.Order(ids, seed), cancellationToken).ConfigureAwait(false);
        await active.SendAsync(0, Disclosure.Unprotected(new HashedIds(own.Digests), "alignment: hashed ids"), cancellationToken).ConfigureAwait(false);
        RowSelection selection = await active.ReceiveAsync<RowSelection>(0, ids.Count, cancellationToken).ConfigureAwait(false);
        return Selected(own.Rows, selection.Selected.Span);
    }

    /// <summary>For each digest of a sorted list whether a second sorted list has it too.</summary>
    /// <param name="digests">The list.</param>
    /// <param name="others">The second list.</param>
    /// <param name="counting">Which entries of the second list count; empty: all.</param>
    private static byte[] Match(ReadOnlySpan<byte> digests, ReadOnlySpan<byte> others, ReadOnlySpan<byte> counting = default)
    {
        const int Size = HashedIds.DigestBytes;
        byte[] found = new byte[digests.Length / Size];
        for (int i = 0, j = 0; i < found.Length && j < others.Length / Size;)
        {
            int order = digests.Slice(i * Size, Size).SequenceCompareTo(others.Slice(j * Size, Size));
            if (order == 0)
                found[i] = counting.IsEmpty ? (byte)1 : counting[j];
            if (order <= 0)
                i++;
            if (order >= 0)
                j++;
        }

        return found;
    }

    private static int[] Selected(int[] rows, ReadOnlySpan<byte> selected)
    {
        int[] kept = new int[selected.Count((byte)1)];
        for (int i = 0, k = 0; k < kept.Length; i++)
            if (selected[i] == 1)
                kept[k++] = rows[i];
        return kept;
    }

    /// <summary>Refuses digests that do not rise.</summary>
    public static void CheckSorted(HashedIds ids, string remote, string step)
    {
        const int Size = HashedIds.DigestBytes;
        ReadOnlySpan<byte> digests = ids.Digests.Span;
        for (int i = 1; i < ids.Length; i++)
            if (digests.Slice((i - 1) * Size, Size).SequenceCompareTo(digests.Slice(i * Size, Size)) >= 0)
                throw ProtocolErrors.Peer(ProtocolErrors.IllegalValue, remote, step, "sent hashed ids that are not in rising order.",
                    "Check that both parties run the same release of the software.");
    }

    private static void And(byte[] common, byte[] found)
    {
        for (int i = 0; i < common.Length; i++)
            common[i] &= found[i];
    }
}
