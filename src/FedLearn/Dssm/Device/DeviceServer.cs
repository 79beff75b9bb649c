using FedLearn.Aggregation;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>Settings of a server of devices.</summary>
public sealed record DeviceServerOptions
{
    /// <summary>How long devices have for one step of an attempt: to take the model, compute and upload, say. One that takes longer has dropped out; its channel is ended, and it may come back with another. Over gRPC
    /// a connection must not be silent for longer than <c>GrpcHostOptions.SilenceTimeout</c> either.</summary>
    /// <value>Above zero. Default 30 seconds.</value>
    public TimeSpan PhaseTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Connected devices that an attempt waits for, as long as a phase may last.</summary>
    /// <value>At least 1; null: the threshold.</value>
    public int? WaitFor { get; init; }

    /// <summary>All enrolled devices; needed with an active server.</summary>
    public IReadOnlyList<DeviceEnrolment> Enrolled { get; init; } = [];

    /// <summary>Where the server keeps its model and the number of the next attempt, so that one that was killed goes on with the last version: the attempt that was under way is lost, and the
    /// next one has another number, new keys and new noise, which devices are charged for. Null: nowhere.</summary>
    public IRunStore? Runs { get; init; }

    /// <summary>Clock of time limits.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>The server of a device job: invites, collects sums, steps the model.</summary>
/// <remarks>It learns which devices take part, and with masks the sums of their updates only. A device that vanishes or misbehaves in the middle of an attempt has dropped out;
/// with fewer than the threshold left the attempt is given up and repeated as a new one, with new coins, keys and noise. A device that keeps its upload
/// (<see cref="DeviceClientOptions.Store"/>) may be lost from then on and come back before the time of the phase is up.</remarks>
public sealed class DeviceServer : IDisposable
{
    private const string Kind = "device server 1";

    private readonly DevicePlan _plan;
    private readonly DeviceServerOptions _options;
    private readonly DeviceWork _work;
    private readonly DeviceModelState _state;
    private readonly DevicePrivacyStatement _privacy;
    private readonly Lock _gate = new();
    private readonly List<Member> _members = [];
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);
    private readonly Dictionary<int, Member> _latest = [];
    private readonly List<DeviceRound> _rounds = [];
    private readonly IRunState? _kept;
    private TaskCompletionSource _joined = NewSignal();
    private int _attempt;
    private Func<Member, CancellationToken, Task>? _over;

    /// <summary>Creates a server with the first version of the model.</summary>
    /// <param name="job">The job.</param>
    /// <param name="towers">Makes towers, of which the server needs the starting values.</param>
    /// <param name="options">Settings; null for the defaults.</param>
    /// <exception cref="ConfigurationException">FL2470, FL2471: the job is inconsistent; FL2306: its noise is beyond what the accountant covers.</exception>
    /// <exception cref="PrivacyRefusedException">FL5170, FL5172: a private job lacks a bound.</exception>
    public DeviceServer(DeviceJob job, ITowerFactory towers, DeviceServerOptions? options = null)
    {
        (_plan, _options) = (new DevicePlan(job), options ?? new DeviceServerOptions());
        if (_options.PhaseTimeout <= TimeSpan.Zero || _options.WaitFor < 1)
            throw DeviceErrors.Job("server", "the time of a phase or the number of devices to wait for is not above 0.", "Correct the settings of the server.");
        _work = new DeviceWork(_plan, towers);
        try
        {
            // Of noise that no figure covers no device would take part.
            _privacy = DeviceClaims.Statement(job, _work.Calibration);
            _state = new DeviceModelState(_plan, _work);
            _kept = Open(_options.Runs);
        }
        catch
        {
            _work.Dispose();
            throw;
        }

        foreach (DeviceEnrolment enrolled in _options.Enrolled)
            _numbers[enrolled.Device] = enrolled.Client;
    }

    /// <summary>The current version of the model.</summary>
    public DeviceModel Model => _state.Model;

    /// <summary>Serves a device on its channel, until the job is over or the device drops out. It takes part from the next attempt on; one that comes
    /// when the job is over is told so at once.</summary>
    /// <param name="channel">Channel to the device; the name of its remote party is the device's.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="PeerException">Why the device dropped out, or why the job failed.</exception>
    public async Task AttendAsync(IPartyChannel channel, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(channel);
        var member = new Member(channel);
        Func<Member, CancellationToken, Task>? over;
        lock (_gate)
        {
            over = _over;
            if (!_numbers.TryGetValue(channel.RemoteParty, out int number))
                _numbers[channel.RemoteParty] = number = _numbers.Values.DefaultIfEmpty(-1).Max() + 1;
            member.Number = number;
            // A device that comes back on another channel has lost the earlier one; an attempt that waits for it goes on with this one.
            if (_latest.TryGetValue(number, out Member? before))
                before.Successor.TrySetResult(member);
            _latest[number] = member;
            foreach (Member lost in _members.Where(m => m.Number == number))
                lost.Ended.TrySetException(ProtocolErrors.Peer(ProtocolErrors.PeerGone, channel.RemoteParty, "attending", "came back on another channel.", "None is needed."));
            _members.RemoveAll(m => m.Number == number);
            _members.Add(member);
            _joined.TrySetResult();
            _joined = NewSignal();
        }

        if (over is not null)
            await over(member, cancellationToken).ConfigureAwait(false);
        await member.Ended.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Runs all rounds with these devices and those that <see cref="AttendAsync"/> brings.</summary>
    /// <param name="channels">Channels to devices that are connected already.</param>
    /// <param name="progress">Told of every attempt.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>The last version, and what became of every attempt.</returns>
    /// <exception cref="PeerException">FL4076: a round came to nothing in every attempt.</exception>
    public async Task<DeviceResult> RunAsync(IReadOnlyList<IPartyChannel> channels, IProgress<DeviceRound>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(channels);
        lock (_gate)
            _over = null;
        foreach (IPartyChannel channel in channels)
            _ = ForgetAsync(AttendAsync(channel, cancellationToken));
        try
        {
            for (int round = _state.Version; round < _plan.Job.Training.Rounds; round++)
                await RoundAsync(round, progress, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            string id = (e as FedLearnException)?.Id ?? (e is OperationCanceledException ? ProtocolErrors.Cancelled : ProtocolErrors.PeerFailed);
            await OverAsync((member, _) => DropAsync(member, id, e), CancellationToken.None).ConfigureAwait(false);
            throw;
        }

        await OverAsync(EndAsync, cancellationToken).ConfigureAwait(false);
        _kept?.Remove();
        return new(_state.Model, [.. _rounds], _privacy, []);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _kept?.Dispose();
        _work.Dispose();
    }

    /// <summary>Goes on with the model of a server that was killed.</summary>
    private IRunState? Open(IRunStore? runs)
    {
        if (runs is null)
            return null;
        if (runs.Find(DeviceSessions.Server, _plan.Digest) is not { } run)
            return runs.Begin(new RunIdentity(DeviceSessions.Server, _plan.Digest, PrivacyCharge.NewRunId(), PrivacyCharge.NewRunId()));
        IRunState kept = runs.Continue(run);
        try
        {
            var state = new StateReader(Kind, kept.Read(run.Rounds[^1]), "server");
            _state.Load(state);
            _attempt = state.Integer32("attempt");
            int[] numbers = state.Integers("numbers");
            string[] names = state.Text("devices") is { Length: > 0 } lines ? lines.Split('\n') : [];
            if (names.Length != numbers.Length)
                throw state.Damaged();
            for (int i = 0; i < names.Length; i++)
                _numbers[names[i]] = numbers[i];
            string[] failures = state.Text("failures") is { Length: > 0 } texts ? texts.Split('\n') : [""];
            foreach ((int[] r, int i) in state.Integers("rounds").Chunk(5).Select((r, i) => (r, i)))
                _rounds.Add(new DeviceRound(r[0], r[1], r[2], r[3], r[4] != 0, failures[i].Length == 0 ? null : failures[i]));
            // Nothing of it is asked of a device again: whoever has answered for it has answered in vain.
            _rounds.Add(new DeviceRound(_state.Version, _attempt - 1, 0, 0, _plan.Job.Privacy.SecureAggregation, "the server was lost in the midst of it"));
            return kept;
        }
        catch
        {
            kept.Dispose();
            throw;
        }
    }

    /// <summary>Keeps model and number of the next attempt before the one before it begins, so that no number is used twice.</summary>
    private void Keep()
    {
        if (_kept is null)
            return;
        StateWriter state = new StateWriter(Kind).Add("attempt", (long)_attempt)
            .Add("devices", string.Join('\n', _numbers.Keys)).Add("numbers", _numbers.Values.ToArray())
            .Add("rounds", _rounds.SelectMany(r => new[] { r.Round, r.Attempt, r.Participants, r.Survivors, r.Masked ? 1 : 0 }).ToArray())
            .Add("failures", string.Join('\n', _rounds.Select(r => r.Failure ?? "")));
        _state.Save(state);
        _kept.Write(_attempt, state.ToArray());
    }

    private async Task RoundAsync(int round, IProgress<DeviceRound>? progress, CancellationToken cancellationToken)
    {
        DeviceRound? last = null;
        for (int time = 0; time < _plan.Job.Training.AttemptsPerRound; time++)
        {
            DeviceInvitation offer = new(DeviceInvitationKind.Offer, _attempt++, round, _state.Version);
            lock (_gate)
                Keep();
            last = await AttemptAsync(offer, cancellationToken).ConfigureAwait(false);
            _rounds.Add(last);
            progress?.Report(last);
            if (last.Failure is null)
                return;
        }

        throw new PeerException(DeviceErrors.RoundFailed, $"round {round}", $"{_plan.Job.Training.AttemptsPerRound} {Counted.Noun(_plan.Job.Training.AttemptsPerRound, "attempt")} came to nothing; the last one: {last?.Failure}.",
            last is { Masked: true, Participants: > DeviceJob.MaskedClients } ? "Lower the participation in a new job, so that fewer of the devices take part at once."
                : "Wait for more devices, lower the threshold in a new job, or allow more attempts.");
    }

    private async Task<DeviceRound> AttemptAsync(DeviceInvitation offer, CancellationToken cancellationToken)
    {
        bool masked = _plan.Job.Privacy.SecureAggregation;
        IReadOnlyList<Member> connected = await ConnectedAsync(cancellationToken).ConfigureAwait(false);
        foreach (Member member in connected)
            member.Round++;
        List<(Member Member, bool Accepts)> answers = await AskAsync(connected, (member, stop) => OfferAsync(member, offer, stop), cancellationToken).ConfigureAwait(false);
        List<Member> participants = [.. answers.Where(a => a.Accepts).Select(a => a.Member).OrderBy(m => m.Number)];
        int count = participants.Count;
        try
        {
            if (count < _plan.Threshold)
                throw new AttemptFailure($"{count} {Counted.Noun(count, "device takes", "devices take")} part, and the threshold is {_plan.Threshold}");
            if (masked && count > DeviceJob.MaskedClients)
                throw new AttemptFailure($"{count} devices take part, and masks are for at most {DeviceJob.MaskedClients}");
            DeviceAggregate aggregate = new(_plan, _work.Calibration, _work.UploadLength);
            // One copy for all: a device that is slow may still be reading it when the next version is made.
            Released<ModelParameters> model = Disclosure.Unprotected(new ModelParameters((double[])_state.Parameters.Clone()), "model version");
            int survivors = masked ? await MaskedAsync(participants, offer, model, aggregate, cancellationToken).ConfigureAwait(false)
                : await PlainAsync(participants, offer, model, aggregate, cancellationToken).ConfigureAwait(false);
            _state.Apply(aggregate);
            return new(offer.Round, offer.Attempt, count, survivors, masked);
        }
        catch (Exception e) when (e is AttemptFailure or PeerException { Id: AggregationErrors.TooFewClients or AggregationErrors.ShareTampered or AggregationErrors.SharesDisagree or AggregationErrors.TooFewConsents })
        {
            await AskAsync(participants.Select(Latest).Where(m => m.Attempt == offer.Attempt && !m.Done && !m.Ended.Task.IsCompleted), async (member, stop) =>
            {
                await member.Channel.SendAsync(member.Round, (offer with { Kind = DeviceInvitationKind.GivenUp }).Message(), stop).ConfigureAwait(false);
                return true;
            }, cancellationToken).ConfigureAwait(false);
            return new(offer.Round, offer.Attempt, count, 0, masked, (e as PeerException)?.Cause ?? e.Message);
        }
    }

    private async Task<int> PlainAsync(List<Member> participants, DeviceInvitation offer, Released<ModelParameters> model, DeviceAggregate aggregate, CancellationToken cancellationToken)
    {
        // Taken as they come, so that no more of them are held than have to wait. Integers have one sum in any order; numbers are added in the devices' order, whoever is first.
        var turns = new Dictionary<Member, (Task Before, TaskCompletionSource Own)>();
        var adding = new Lock();
        Task all = Task.CompletedTask;
        foreach (Member member in participants)
        {
            var own = NewSignal();
            turns[member] = (all, own);
            all = Task.WhenAll(all, own.Task);
        }

        int taken = (await AskAsync(participants, async (member, stop) =>
        {
            (Task before, TaskCompletionSource own) = turns[member];
            try
            {
                await BeginAsync(member, offer, participants.Count, model, stop).ConfigureAwait(false);
                ModelUpdate update = await member.Channel.ReceiveAsync<ModelUpdate>(member.Round, _work.UploadLength, stop).ConfigureAwait(false);
                if (!_plan.IsPrivate)
                    ChannelGuard.Packed(update, ElementType.Float64, member.Channel, member.Round);
                member.Done = true;
                // Without the token: those before it end with the phase, and it has answered in time.
                if (!_plan.IsPrivate)
                    await before.ConfigureAwait(false);
                lock (adding)
                    aggregate.Add(update, member.Channel.RemoteParty);
                return true;
            }
            finally
            {
                own.SetResult();
            }
        }, cancellationToken).ConfigureAwait(false)).Count;
        return taken >= _plan.Threshold ? taken : throw new AttemptFailure($"{taken} {Counted.Noun(taken, "device is", "devices are")} left, and the threshold is {_plan.Threshold}");
    }

    private async Task<int> MaskedAsync(List<Member> participants, DeviceInvitation offer, Released<ModelParameters> model, DeviceAggregate aggregate, CancellationToken cancellationToken)
    {
        int count = participants.Count;
        var server = new SecureAggregationServer(DeviceSessions.Round(_plan, _work, offer with { Kind = DeviceInvitationKind.Begin, Clients = count }, DeviceSessions.DigestOf(model.Payload.Values.Span), _options.Enrolled));
        List<(Member Member, AggregationMessage Message)> answers = await AskAsync(participants, async (member, stop) =>
        {
            await BeginAsync(member, offer, count, model, stop).ConfigureAwait(false);
            return await member.Channel.ReceiveAsync<AggregationMessage>(member.Round, null, stop).ConfigureAwait(false);
        }, cancellationToken).ConfigureAwait(false);
        List<Member> left = Remaining(await AcceptAsync(answers, (member, keys) => server.AcceptKeys(member.Number, keys)).ConfigureAwait(false));

        AggregationMessage roster = server.Roster();
        answers = await AskAsync(left, (member, stop) => ExchangeAsync<AggregationMessage>(member, roster, null, stop), cancellationToken).ConfigureAwait(false);
        left = Remaining(await AcceptAsync(answers, (member, shares) => server.AcceptShares(member.Number, shares)).ConfigureAwait(false));

        // From its upload on a device may be lost and come back: it sends the same bytes again, and answers once.
        DeviceInvitation begin = offer with { Kind = DeviceInvitationKind.Begin, Clients = count };
        IReadOnlyDictionary<int, AggregationMessage> deliveries = server.Deliveries();
        // Each vector is added when it comes, and let go; one of a channel that was replaced meanwhile is not taken.
        var adding = new Lock();
        left = [.. (await AskAsync(left, async (member, stop) =>
        {
            (Member now, MaskedVector vector) = await GoOnAsync(member, begin, async (current, again, more) =>
                again ?? await ExchangeAsync<MaskedVector>(current, deliveries[current.Number], _work.UploadLength, more).ConfigureAwait(false), stop).ConfigureAwait(false);
            bool accepted = await IsAcceptedAsync(now, () =>
            {
                lock (adding)
                    server.AcceptUpload(now.Number, vector);
            }).ConfigureAwait(false);
            return (Member: now, Accepted: accepted);
        }, cancellationToken).ConfigureAwait(false)).Where(a => a.Answer.Accepted).Select(a => a.Answer.Member)];

        AggregationMessage request = server.Unmask();
        if (_plan.Job.Privacy.Server == ServerTrust.Active)
        {
            answers = await GoOnAsync(left, begin, (member, _, stop) => ExchangeAsync<AggregationMessage>(member, request, null, stop), cancellationToken).ConfigureAwait(false);
            left = Remaining(await AcceptAsync(answers, (member, consent) => server.AcceptConsent(member.Number, consent)).ConfigureAwait(false));
            request = server.Consents();
        }

        answers = await GoOnAsync(left, begin, async (member, _, stop) =>
        {
            AggregationMessage shares = await ExchangeAsync<AggregationMessage>(member, request, null, stop).ConfigureAwait(false);
            member.Done = true;
            return shares;
        }, cancellationToken).ConfigureAwait(false);
        await AcceptAsync(answers, (member, shares) => server.AcceptReveal(member.Number, shares)).ConfigureAwait(false);
        AggregationSum sum;
        try
        {
            sum = server.Open();
        }
        catch (PeerException e) when (e.Id == AggregationErrors.ShareTampered)
        {
            // Whose shares too few can open would keep the next sum closed as well.
            foreach (Member member in participants.Select(Latest).Where(m => server.Unopened.Contains(m.Number)))
                await DropAsync(member, e.Id, e).ConfigureAwait(false);
            throw;
        }

        aggregate.Take(sum.Integers);
        return sum.Clients.Count;
    }

    /// <summary>Asks devices of an attempt as <see cref="AskAsync"/> does, but waits for those that are lost and can come back, as long as the phase lasts.</summary>
    private async Task<List<(Member Member, T Answer)>> GoOnAsync<T>(IEnumerable<Member> members, DeviceInvitation begin, Func<Member, MaskedVector?, CancellationToken, Task<T>> ask,
        CancellationToken cancellationToken) =>
        [.. (await AskAsync(members, (member, stop) => GoOnAsync(member, begin, ask, stop), cancellationToken).ConfigureAwait(false)).Select(a => a.Answer)];

    private async Task<(Member Member, T Answer)> GoOnAsync<T>(Member member, DeviceInvitation begin, Func<Member, MaskedVector?, CancellationToken, Task<T>> ask, CancellationToken stop)
    {
        Member first = member;
        MaskedVector? again = null;
        while (true)
        {
            try
            {
                if (member.Attempt != begin.Attempt)
                    again = await ReturnAsync(member, begin with { Client = member.Number }, stop).ConfigureAwait(false);
                return (member, await UnlessReplacedAsync(member, ask(member, again, stop)).ConfigureAwait(false));
            }
            catch (PeerException e) when (member.Returns && e.Id is ProtocolErrors.PeerGone or ProtocolErrors.PeerAborted or ProtocolErrors.TimedOut)
            {
                await DropAsync(member, e.Id, e).ConfigureAwait(false);
                member = await member.Successor.Task.WaitAsync(stop).ConfigureAwait(false);
                member.Returns = true;
            }
            catch (Exception e) when (member != first && e is not NothingKept)
            {
                await DropAsync(member, (e as FedLearnException)?.Id ?? ProtocolErrors.TimedOut, e).ConfigureAwait(false);
                throw;
            }
        }
    }

    /// <summary>Invites a device that came back to go on with the attempt.</summary>
    /// <returns>Its upload, again.</returns>
    /// <exception cref="NothingKept">It has none; it waits for the next attempt.</exception>
    private async Task<MaskedVector> ReturnAsync(Member member, DeviceInvitation begin, CancellationToken stop)
    {
        DeviceInvitation back = begin with { Kind = DeviceInvitationKind.Return };
        member.Round++;
        await member.Channel.SendAsync(member.Round, back.Message(), stop).ConfigureAwait(false);
        AggregationMessage answer = await member.Channel.ReceiveAsync<AggregationMessage>(member.Round, null, stop).ConfigureAwait(false);
        DeviceInvitation? invitation = DeviceInvitation.Read(answer, member.Channel.RemoteParty, member.Round);
        if (invitation is not { Kind: DeviceInvitationKind.AcceptAndReturn or DeviceInvitationKind.Decline } || invitation with { Kind = back.Kind } != back)
            throw DeviceInvitation.Bad(member.Channel.RemoteParty, member.Round, "sent another step where its answer was due.");
        if (invitation.Kind == DeviceInvitationKind.Decline)
            throw new NothingKept();
        member.Attempt = begin.Attempt;
        member.Done = false;
        return await member.Channel.ReceiveAsync<MaskedVector>(member.Round, _work.UploadLength, stop).ConfigureAwait(false);
    }

    /// <summary>Waits for a device, but not on a channel that it has replaced by another.</summary>
    private static async Task<T> UnlessReplacedAsync<T>(Member member, Task<T> answer)
    {
        if (await Task.WhenAny(answer, member.Successor.Task).ConfigureAwait(false) == answer)
            return await answer.ConfigureAwait(false);
        await member.Channel.AbortAsync(ProtocolErrors.PeerGone, CancellationToken.None).ConfigureAwait(false);
        _ = answer.ContinueWith(static lost => lost.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        throw ProtocolErrors.Peer(ProtocolErrors.PeerGone, member.Channel.RemoteParty, "attending", "came back on another channel.", "None is needed.");
    }

    /// <summary>The channel on which a device is now.</summary>
    private static Member Latest(Member member)
    {
        while (member.Successor.Task.IsCompletedSuccessfully)
            member = member.Successor.Task.Result;
        return member;
    }

    private static List<Member> Remaining<T>(List<(Member Member, T)> answers) => [.. answers.Select(a => a.Member)];

    private static async Task<bool> OfferAsync(Member member, DeviceInvitation offer, CancellationToken stop)
    {
        member.Done = false;
        await member.Channel.SendAsync(member.Round, offer.Message(), stop).ConfigureAwait(false);
        AggregationMessage answer = await member.Channel.ReceiveAsync<AggregationMessage>(member.Round, null, stop).ConfigureAwait(false);
        DeviceInvitation? invitation = DeviceInvitation.Read(answer, member.Channel.RemoteParty, member.Round);
        if (invitation is not { Kind: DeviceInvitationKind.Accept or DeviceInvitationKind.AcceptAndReturn or DeviceInvitationKind.Decline } || invitation with { Kind = offer.Kind } != offer)
            throw DeviceInvitation.Bad(member.Channel.RemoteParty, member.Round, "sent another step where its answer was due.");
        member.Returns = invitation.Kind == DeviceInvitationKind.AcceptAndReturn;
        if (invitation.Kind == DeviceInvitationKind.Decline)
            return false;
        member.Attempt = offer.Attempt; // from here on it waits for the beginning, or to be told that there is none
        return true;
    }

    private static async Task BeginAsync(Member member, DeviceInvitation offer, int clients, Released<ModelParameters> model, CancellationToken stop)
    {
        await member.Channel.SendAsync(member.Round, (offer with { Kind = DeviceInvitationKind.Begin, Clients = clients, Client = member.Number }).Message(), stop).ConfigureAwait(false);
        await member.Channel.SendAsync(member.Round, model, stop).ConfigureAwait(false);
    }

    private static async Task<T> ExchangeAsync<T>(Member member, AggregationMessage message, int? length, CancellationToken stop) where T : Payload
    {
        await member.Channel.SendAsync(member.Round, Disclosure.Unprotected(message, "secure aggregation"), stop).ConfigureAwait(false);
        return await member.Channel.ReceiveAsync<T>(member.Round, length, stop).ConfigureAwait(false);
    }

    /// <summary>Asks devices at once, within the time of a phase. Those that fail have dropped out; the others are returned, in their order.</summary>
    private async Task<List<(Member Member, T Answer)>> AskAsync<T>(IEnumerable<Member> members, Func<Member, CancellationToken, Task<T>> ask, CancellationToken cancellationToken)
    {
        using var time = new CancellationTokenSource(_options.PhaseTimeout, _options.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(time.Token, cancellationToken);
        (Member Member, bool Answered, T? Answer)[] answers = await Task.WhenAll(members.Select(OneAsync)).ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        return [.. answers.Where(a => a.Answered).Select(a => (a.Member, a.Answer!))];

        async Task<(Member, bool, T?)> OneAsync(Member member)
        {
            try
            {
                return (member, true, await ask(member, either.Token).ConfigureAwait(false));
            }
            catch (NothingKept)
            {
                // It is there, and takes part again from the next attempt on.
            }
            catch (FedLearnException e)
            {
                await DropAsync(member, e.Id, e).ConfigureAwait(false);
            }
            catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
            {
                PeerException late = ProtocolErrors.Peer(ProtocolErrors.TimedOut, member.Channel.RemoteParty, $"invitation {member.Round}",
                    $"did not finish a step within {_options.PhaseTimeout.TotalSeconds:0.#} s.", "Give devices more time with DeviceServerOptions.PhaseTimeout, or expect fewer of them.", e);
                await DropAsync(member, late.Id, late).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                // The whole run was stopped.
            }

            return (member, false, default);
        }
    }

    /// <summary>Takes answers one after the other; a device whose answer is refused has dropped out.</summary>
    private async Task<List<(Member Member, T Answer)>> AcceptAsync<T>(List<(Member Member, T Answer)> answers, Action<Member, T> accept)
    {
        var accepted = new List<(Member, T)>();
        foreach ((Member member, T answer) in answers)
            if (await IsAcceptedAsync(member, () => accept(member, answer)).ConfigureAwait(false))
                accepted.Add((member, answer));
        return accepted;
    }

    private async Task<bool> IsAcceptedAsync(Member member, Action accept)
    {
        try
        {
            accept();
            return true;
        }
        catch (PeerException e)
        {
            await DropAsync(member, e.Id, e).ConfigureAwait(false);
            return false;
        }
    }

    private async Task<IReadOnlyList<Member>> ConnectedAsync(CancellationToken cancellationToken)
    {
        int needed = _options.WaitFor ?? _plan.Threshold;
        using var time = new CancellationTokenSource(_options.PhaseTimeout, _options.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(time.Token, cancellationToken);
        while (true)
        {
            Task joined;
            lock (_gate)
            {
                if (_members.Count >= needed)
                    return [.. _members];
                joined = _joined.Task;
            }

            try
            {
                await joined.WaitAsync(either.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                return Members();
            }
        }
    }

    /// <summary>Ends every member, and those that come from now on: nobody else would.</summary>
    private async Task OverAsync(Func<Member, CancellationToken, Task> end, CancellationToken cancellationToken)
    {
        Member[] members;
        lock (_gate)
        {
            _over = end;
            members = [.. _members];
        }

        await Task.WhenAll(members.Select(member => end(member, cancellationToken))).ConfigureAwait(false);
    }

    private async Task EndAsync(Member member, CancellationToken cancellationToken)
    {
        List<(Member, bool)> ended = await AskAsync([member], async (m, stop) =>
        {
            await m.Channel.SendAsync(m.Round + 1, new DeviceInvitation(DeviceInvitationKind.End, _attempt, _plan.Job.Training.Rounds, _state.Version).Message(), stop).ConfigureAwait(false);
            await m.Channel.CompleteAsync(stop).ConfigureAwait(false);
            return true;
        }, cancellationToken).ConfigureAwait(false);
        if (ended.Count > 0)
            member.Ended.TrySetResult();
    }

    private async Task DropAsync(Member member, string id, Exception why)
    {
        lock (_gate)
            _members.Remove(member);
        await member.Channel.AbortAsync(id, CancellationToken.None).ConfigureAwait(false);
        member.Ended.TrySetException(why);
    }

    private Member[] Members()
    {
        lock (_gate)
            return [.. _members];
    }

    // A device's end is told by the attempt that it dropped out of.
    private static async Task ForgetAsync(Task attending)
    {
        try
        {
            await attending.ConfigureAwait(false);
        }
        catch (Exception e) when (e is FedLearnException or OperationCanceledException)
        {
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private sealed class Member(IPartyChannel channel)
    {
        public IPartyChannel Channel { get; } = channel;

        public int Number { get; set; }

        /// <summary>Number of the invitation on this channel.</summary>
        public int Round { get; set; } = -1;

        /// <summary>Whether it has sent its last message of the attempt and waits for the next invitation.</summary>
        public bool Done { get; set; }

        public TaskCompletionSource Ended { get; } = NewSignal();

        /// <summary>Attempt that it takes part in on this channel.</summary>
        public int Attempt { get; set; } = -1;

        /// <summary>Whether it keeps its upload and can come back with it.</summary>
        public bool Returns { get; set; }

        /// <summary>The same device on the channel with which it came back.</summary>
        public TaskCompletionSource<Member> Successor { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>A device came back without anything of the attempt.</summary>
    private sealed class NothingKept : Exception;

    private sealed class AttemptFailure(string message) : Exception(message);
}
