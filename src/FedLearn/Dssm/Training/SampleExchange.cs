using System.Buffers.Binary;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>Samples that are named to the views together.</summary>
/// <param name="Name">What they are for, as disclosures are named.</param>
/// <param name="Role">Role of the events; of samples that are no events <see cref="EventRole.Seen"/>.</param>
/// <param name="Events">The samples.</param>
internal sealed record SampleSet(string Name, EventRole Role, IReadOnlyList<Interaction> Events)
{
    public const string Training = "training", Validation = "validation", Test = "test", ColdUsers = "cold users", ColdItems = "cold items", Recommendation = "recommendation";
}

/// <summary>A view as the active party knows it.</summary>
/// <param name="Channel">Channel to it.</param>
/// <param name="HasMoments">Whether its rows have moments.</param>
/// <param name="Aligned">The users that both have.</param>
/// <param name="Present">For each set which samples the view has a row for.</param>
internal sealed record ViewPeer(IPartyChannel Channel, bool HasMoments, AlignedRows Aligned, IReadOnlyList<bool[]> Present)
{
    public string Name => Channel.RemoteParty;

    /// <summary>Own index of each user that both have, in the order that the view numbers them.</summary>
    public int[] Users => Aligned.Rows;

    /// <summary>Adds what was agreed with the view.</summary>
    public void Save(StateWriter state)
    {
        state.Add($"peer.{Name}.moments", HasMoments ? 1 : 0);
        Aligned.Save(state, $"peer.{Name}");
        for (int set = 0; set < Present.Count; set++)
            state.Add($"peer.{Name}.{set}", Array.ConvertAll(Present[set], there => there ? (byte)1 : (byte)0));
    }

    /// <summary>A view of a run that goes on: nothing is asked again.</summary>
    public static ViewPeer Load(StateReader state, IPartyChannel channel, IReadOnlyList<SampleSet> sets)
    {
        string name = channel.RemoteParty;
        bool[] Present(int set)
        {
            bool[] there = Array.ConvertAll(state.Bytes($"peer.{name}.{set}").ToArray(), b => b != 0);
            return there.Length == sets[set].Events.Count ? there : throw state.Damaged();
        }

        return new(channel, state.Integer($"peer.{name}.moments") != 0, KeptAlignment.Load(state, $"peer.{name}"), [.. Enumerable.Range(0, sets.Count).Select(Present)]);
    }
}

/// <summary>A view's rows of the samples that it was asked for.</summary>
/// <param name="Rows">For each set the row of each sample, -1 for none.</param>
/// <param name="Users">For each set the user of each sample, as the two parties number them, -1 for one that the view does not have.</param>
/// <param name="Aligned">The users that both have.</param>
internal sealed record ViewSamples(IReadOnlyList<int[]> Rows, IReadOnlyList<int[]> Users, AlignedRows Aligned)
{
    /// <summary>Own index of each user that both have.</summary>
    public int[] CommonUsers => Aligned.Rows;

    /// <summary>Adds the samples.</summary>
    public void Save(StateWriter state)
    {
        Aligned.Save(state, "samples");
        for (int set = 0; set < Rows.Count; set++)
            state.Add($"samples.rows.{set}", Rows[set]).Add($"samples.users.{set}", Users[set]);
    }

    /// <summary>The samples of a run that goes on: nothing is asked again.</summary>
    public static ViewSamples Load(StateReader state, int sets)
    {
        int[][] rows = [.. Enumerable.Range(0, sets).Select(set => state.Integers($"samples.rows.{set}"))];
        return new(rows, [.. rows.Select((r, set) => state.Integers($"samples.users.{set}", r.Length))], KeptAlignment.Load(state, "samples"));
    }
}

/// <summary>What comes before round 0: the active party and one view find the users they share, and the active party names its samples by user and moment, never by item.</summary>
internal sealed class SampleExchange(DssmParty party, ReadOnlyMemory<byte> jobDigest)
{
    private const long SecondsOfDay = 86_400;

    /// <summary>The active party's side with every view, at once.</summary>
    public async Task<IReadOnlyList<ViewPeer>> OfferAsync(IReadOnlyList<IPartyChannel> channels, IReadOnlyList<SampleSet> sets, CancellationToken cancellationToken)
    {
        var peers = new ViewPeer[channels.Count];
        int left = channels.Count;
        var all = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        await ChannelGuard.AllAsync([.. channels.Select((channel, i) => (Func<CancellationToken, Task>)(async stop =>
        {
            peers[i] = await OfferAsync(channel, sets, stop).ConfigureAwait(false);
            if (Interlocked.Decrement(ref left) == 0)
                all.SetResult(true);
            // Another view may take longer than this one waits for its next message.
            await ChannelGuard.WhileTheyWaitAsync([channel], done => all.Task.WaitAsync(done), stop).ConfigureAwait(false);
        }))], cancellationToken).ConfigureAwait(false);
        return peers;
    }

    private async Task<ViewPeer> OfferAsync(IPartyChannel channel, IReadOnlyList<SampleSet> sets, CancellationToken cancellationToken)
    {
        IReadOnlyList<string> users = party.Input.Interactions!.Users;
        AlignedRows aligned = await AlignAsync(users, channel, cancellationToken).ConfigureAwait(false);
        Scalars told = await ChannelGuard.ReceiveScalarsAsync(channel, 0, ScalarsKind.Agreement, 1, cancellationToken).ConfigureAwait(false);
        bool hasMoments = told.Values.Span[0] is 0 or 1 ? told.Values.Span[0] == 1 : throw ProtocolErrors.Peer(ProtocolErrors.IllegalValue, channel.RemoteParty, "round 0",
            "sent a number other than 0 and 1 for whether its rows have moments.", "Check that both parties run the same release of the software.");
        int[] place = Places(aligned.Rows, users.Count);
        var present = new List<bool[]>();
        foreach (SampleSet set in sets)
        {
            SampleKeys keys = await ChannelGuard.ComputeAsync([channel], _ => new SampleKeys(Pack(set.Events, place, hasMoments, party.Job.SampleTime), hasMoments), cancellationToken).ConfigureAwait(false);
            await channel.SendAsync(0, Disclosure.Unprotected(keys, DssmDisclosures.SampleKeys(set.Name)), cancellationToken).ConfigureAwait(false);
            RowSelection there = await channel.ReceiveAsync<RowSelection>(0, set.Events.Count, cancellationToken).ConfigureAwait(false);
            present.Add([.. there.Selected.ToArray().Select(b => b == 1)]);
        }

        return new ViewPeer(channel, hasMoments, aligned, present);
    }

    /// <summary>A view's side.</summary>
    public async Task<ViewSamples> AnswerAsync(IPartyChannel channel, ViewTable view, IReadOnlyList<string> sets, CancellationToken cancellationToken)
    {
        AlignedRows aligned = await AlignAsync(view.Users, channel, cancellationToken).ConfigureAwait(false);
        bool hasMoments = view.Moments is not null;
        await channel.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { hasMoments ? 1 : 0 }), "agreement: kind of view"), cancellationToken)
            .ConfigureAwait(false);
        var rows = new List<int[]>();
        var users = new List<int[]>();
        foreach (string set in sets)
        {
            SampleKeys keys = await channel.ReceiveAsync<SampleKeys>(0, null, cancellationToken).ConfigureAwait(false);
            (int[] asked, int[] found) = await ChannelGuard.ComputeAsync([channel], _ => Unpack(keys, hasMoments, aligned.Rows, view, channel), cancellationToken).ConfigureAwait(false);
            await channel.SendAsync(0, Disclosure.Unprotected(new RowSelection(found.Select(r => r < 0 ? (byte)0 : (byte)1).ToArray()), DssmDisclosures.Presence(set)), cancellationToken)
                .ConfigureAwait(false);
            rows.Add(found);
            users.Add(asked);
        }

        return new ViewSamples(rows, users, aligned);
    }

    /// <summary>Finds the users that the active party and a view share. Each pair is by itself: a view does not learn which of its users other views have.</summary>
    private async Task<AlignedRows> AlignAsync(IReadOnlyList<string> users, IPartyChannel channel, CancellationToken cancellationToken)
    {
        var task = new AlignmentTask { Role = party.Role, Ids = users, Seed = party.Job.Training.Seed, JobDigest = jobDigest, Parties = 2, Progress = party.Input.AlignmentProgress };
        AlignedRows aligned = await AlignmentChoice.AlignAsync(AlignmentChoice.Of(party.Job.Alignment, party.Input.Alignment, party.Name), party.Name, task, [channel], cancellationToken).ConfigureAwait(false);
        if (aligned.Warnings.Contains(HashedAlignment.Warning))
            party.Telemetry("align").ComparedByHash(HashedAlignment.Warning);
        return aligned;
    }

    /// <summary>For each of a party's users the number that it has among those that both parties have; -1: it is none of them.</summary>
    public static int[] Places(int[] common, int users)
    {
        int[] places = new int[users];
        Array.Fill(places, -1);
        for (int i = 0; i < common.Length; i++)
            places[common[i]] = i;
        return places;
    }

    /// <summary>Names samples to a view. Those of users whom it lacks are there without anything but their place: all parties count the samples alike.</summary>
    internal static byte[] Pack(IReadOnlyList<Interaction> events, int[] place, bool hasMoments, SampleTime precision)
    {
        int size = hasMoments ? SampleKeys.MomentBytes : SampleKeys.UserBytes;
        byte[] keys = new byte[checked(events.Count * size)];
        for (int i = 0; i < events.Count; i++)
        {
            Span<byte> key = keys.AsSpan(i * size, size);
            BinaryPrimitives.WriteInt32LittleEndian(key, place[events[i].User]);
            // For a user whom the view does not have the moment stays 0: the view must not learn it.
            if (!hasMoments || place[events[i].User] < 0)
                continue;
            Moment moment = events[i].Moment;
            if (precision == SampleTime.Day)
                moment = new Moment(DayOf(moment.Time), 0);
            BinaryPrimitives.WriteInt64LittleEndian(key[4..], moment.Time);
            BinaryPrimitives.WriteInt32LittleEndian(key[12..], moment.Sequence);
        }

        return keys;
    }

    /// <summary>When the day of a time began; days before 1970 begin before their times too.</summary>
    internal static long DayOf(long time) => (time / SecondsOfDay - (time % SecondsOfDay < 0 ? 1 : 0)) * SecondsOfDay;

    private static (int[] Users, int[] Rows) Unpack(SampleKeys keys, bool hasMoments, int[] common, ViewTable view, IPartyChannel channel)
    {
        if (keys.HasMoments != hasMoments)
            throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, channel.RemoteParty, "round 0", "named samples with moments to a view without, or the other way round.",
                "Check that both parties run the same release of the software.");
        int size = hasMoments ? SampleKeys.MomentBytes : SampleKeys.UserBytes;
        int[] users = new int[keys.Length], rows = new int[keys.Length];
        for (int i = 0; i < rows.Length; i++)
        {
            ReadOnlySpan<byte> key = keys.Keys.Span.Slice(i * size, size);
            int user = BinaryPrimitives.ReadInt32LittleEndian(key);
            if (user < -1 || user >= common.Length)
                throw ProtocolErrors.Peer(ProtocolErrors.IllegalValue, channel.RemoteParty, "round 0", "named a sample of a user that the parties do not share.",
                    "Check that both parties run the same release of the software.");
            Moment moment = hasMoments ? new Moment(BinaryPrimitives.ReadInt64LittleEndian(key[4..]), BinaryPrimitives.ReadInt32LittleEndian(key[12..])) : default;
            (users[i], rows[i]) = (user, user < 0 ? -1 : view.RowOf(common[user], moment));
        }

        return (users, rows);
    }
}
