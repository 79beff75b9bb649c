using FedLearn.Aggregation;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>One attempt at a round, at the server: invites devices, gives them the model, and adds up what they upload.</summary>
internal sealed class DeviceAttempt(DevicePlan plan, DeviceWork work, DeviceMembers members, IReadOnlyList<DeviceEnrolment> enrolled, DeviceInvitation offer)
{
    /// <summary>Makes the attempt with the devices that are there; the model steps if it comes to something.</summary>
    public async Task<DeviceRound> RunAsync(IReadOnlyList<DeviceMember> connected, DeviceModelState state, CancellationToken cancellationToken)
    {
        bool masked = plan.Job.Privacy.SecureAggregation;
        foreach (DeviceMember member in connected)
            member.Round++;
        List<(DeviceMember Member, bool Accepts)> answers = await members.AskAsync(connected, OfferAsync, cancellationToken).ConfigureAwait(false);
        List<DeviceMember> participants = [.. answers.Where(a => a.Accepts).Select(a => a.Member).OrderBy(m => m.Number)];
        int count = participants.Count;
        try
        {
            if (plan.TooFew(count) is { } fault)
                throw new AttemptFailure(fault);
            if (masked && count > DeviceJob.MaskedClients)
                throw new AttemptFailure($"{count} devices take part, and masks are for at most {DeviceJob.MaskedClients}");
            DeviceAggregate aggregate = new(plan, work.Calibration, work.UploadLength);
            // One copy for all: a device that is slow may still be reading it when the next version is made.
            Released<ModelParameters> model = Disclosure.Unprotected(new ModelParameters((double[])state.Parameters.Clone()), "model version");
            int survivors = await (masked ? MaskedAsync(participants, model, aggregate, cancellationToken) : PlainAsync(participants, model, aggregate, cancellationToken)).ConfigureAwait(false);
            state.Apply(aggregate);
            return new(offer.Round, offer.Attempt, count, survivors, masked);
        }
        catch (Exception e) when (e is AttemptFailure or PeerException { Id: AggregationErrors.TooFewClients or AggregationErrors.ShareTampered or AggregationErrors.SharesDisagree or AggregationErrors.TooFewConsents })
        {
            await members.AskAsync(participants.Select(m => m.Latest()).Where(m => m.Attempt == offer.Attempt && !m.Done && !m.Ended.Task.IsCompleted), async (member, stop) =>
            {
                await member.Channel.SendAsync(member.Round, (offer with { Kind = DeviceInvitationKind.GivenUp }).Message(), stop).ConfigureAwait(false);
                return true;
            }, cancellationToken).ConfigureAwait(false);
            return new(offer.Round, offer.Attempt, count, 0, masked, (e as PeerException)?.Cause ?? e.Message);
        }
    }

    /// <summary>Without masks. Updates are taken as they come, so that no more of them are held than have to wait. Integers have one sum in any order; numbers are added in the devices' order, whoever is first.</summary>
    private async Task<int> PlainAsync(List<DeviceMember> participants, Released<ModelParameters> model, DeviceAggregate aggregate, CancellationToken cancellationToken)
    {
        var turns = new Dictionary<DeviceMember, (Task Before, TaskCompletionSource Own)>();
        var adding = new Lock();
        Task all = Task.CompletedTask;
        foreach (DeviceMember member in participants)
        {
            TaskCompletionSource own = DeviceMembers.NewSignal();
            turns[member] = (all, own);
            all = Task.WhenAll(all, own.Task);
        }

        int taken = (await members.AskAsync(participants, async (member, stop) =>
        {
            (Task before, TaskCompletionSource own) = turns[member];
            try
            {
                await BeginAsync(member, participants.Count, model, stop).ConfigureAwait(false);
                ModelUpdate update = await member.Channel.ReceiveAsync<ModelUpdate>(member.Round, work.UploadLength, stop).ConfigureAwait(false);
                if (!plan.IsPrivate)
                    ChannelGuard.Packed(update, ElementType.Float64, member.Channel, member.Round);
                member.Done = true;
                // Without the token: those before it end with the phase, and it has answered in time.
                if (!plan.IsPrivate)
                    await before.ConfigureAwait(false);
                lock (adding)
                    aggregate.Add(update, member.Name);
                return true;
            }
            finally
            {
                own.SetResult();
            }
        }, cancellationToken).ConfigureAwait(false)).Count;
        return taken >= plan.Threshold ? taken : throw new AttemptFailure($"{taken} {Counted.Noun(taken, "device is", "devices are")} left, and the threshold is {plan.Threshold}");
    }

    /// <summary>With masks: the protocol of secure aggregation.</summary>
    private async Task<int> MaskedAsync(List<DeviceMember> participants, Released<ModelParameters> model, DeviceAggregate aggregate, CancellationToken cancellationToken)
    {
        int count = participants.Count;
        DeviceInvitation begin = offer with { Kind = DeviceInvitationKind.Begin, Clients = count };
        var server = new SecureAggregationServer(DeviceSessions.Round(plan, work, begin, DeviceSessions.DigestOf(model.Payload.Values.Span), enrolled));
        List<(DeviceMember Member, AggregationMessage Message)> answers = await members.AskAsync(participants, async (member, stop) =>
        {
            await BeginAsync(member, count, model, stop).ConfigureAwait(false);
            return await member.Channel.ReceiveAsync<AggregationMessage>(member.Round, null, stop).ConfigureAwait(false);
        }, cancellationToken).ConfigureAwait(false);
        List<DeviceMember> left = await AcceptAsync(answers, server.AcceptKeys).ConfigureAwait(false);

        AggregationMessage roster = server.Roster();
        answers = await members.AskAsync(left, (member, stop) => ExchangeAsync<AggregationMessage>(member, roster, null, stop), cancellationToken).ConfigureAwait(false);
        left = await AcceptAsync(answers, server.AcceptShares).ConfigureAwait(false);

        // From its upload on a device may be lost and come back: it sends the same bytes again, and answers once.
        IReadOnlyDictionary<int, AggregationMessage> deliveries = server.Deliveries();
        // Each vector is added when it comes, and let go; one of a channel that was replaced meanwhile is not taken.
        var adding = new Lock();
        left = [.. (await members.AskAsync(left, async (member, stop) =>
        {
            (DeviceMember now, MaskedVector vector) = await GoOnAsync(member, begin, async (current, again, more) =>
                again ?? await ExchangeAsync<MaskedVector>(current, deliveries[current.Number], work.UploadLength, more).ConfigureAwait(false), stop).ConfigureAwait(false);
            bool accepted = await IsAcceptedAsync(now, () =>
            {
                lock (adding)
                    server.AcceptUpload(now.Number, vector);
            }).ConfigureAwait(false);
            return (Member: now, Accepted: accepted);
        }, cancellationToken).ConfigureAwait(false)).Where(a => a.Answer.Accepted).Select(a => a.Answer.Member)];

        AggregationMessage request = server.Unmask();
        if (plan.Job.Privacy.Server == ServerTrust.Active)
        {
            answers = await GoOnAsync(left, begin, (member, stop) => ExchangeAsync<AggregationMessage>(member, request, null, stop), cancellationToken).ConfigureAwait(false);
            left = await AcceptAsync(answers, server.AcceptConsent).ConfigureAwait(false);
            request = server.Consents();
        }

        answers = await GoOnAsync(left, begin, async (member, stop) =>
        {
            AggregationMessage shares = await ExchangeAsync<AggregationMessage>(member, request, null, stop).ConfigureAwait(false);
            member.Done = true;
            return shares;
        }, cancellationToken).ConfigureAwait(false);
        await AcceptAsync(answers, server.AcceptReveal).ConfigureAwait(false);
        try
        {
            AggregationSum sum = server.Open();
            aggregate.Take(sum.Integers);
            return sum.Clients.Count;
        }
        catch (PeerException e) when (e.Id == AggregationErrors.ShareTampered)
        {
            // Whose shares too few can open would keep the next sum closed as well.
            foreach (DeviceMember member in participants.Select(m => m.Latest()).Where(m => server.Unopened.Contains(m.Number)))
                await members.DropAsync(member, e.Id, e).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Asks devices of an attempt at once, but waits for those that are lost and can come back, as long as the phase lasts.</summary>
    private async Task<List<(DeviceMember Member, AggregationMessage Answer)>> GoOnAsync(IEnumerable<DeviceMember> left, DeviceInvitation begin, Func<DeviceMember, CancellationToken, Task<AggregationMessage>> ask,
        CancellationToken cancellationToken) =>
        [.. (await members.AskAsync(left, (member, stop) => GoOnAsync(member, begin, (current, _, more) => ask(current, more), stop), cancellationToken).ConfigureAwait(false)).Select(a => a.Answer)];

    /// <summary>Asks a device; if it is lost, asks it again where it came back with its upload.</summary>
    private async Task<(DeviceMember Member, T Answer)> GoOnAsync<T>(DeviceMember member, DeviceInvitation begin, Func<DeviceMember, MaskedVector?, CancellationToken, Task<T>> ask, CancellationToken stop)
    {
        DeviceMember first = member;
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
                await members.DropAsync(member, e.Id, e).ConfigureAwait(false);
                member = await member.Successor.Task.WaitAsync(stop).ConfigureAwait(false);
                member.Returns = true;
            }
            catch (Exception e) when (member != first && e is not NothingKept)
            {
                await members.DropAsync(member, (e as FedLearnException)?.Id ?? ProtocolErrors.TimedOut, e).ConfigureAwait(false);
                throw;
            }
        }
    }

    /// <summary>Invites a device that came back to go on with the attempt.</summary>
    /// <returns>Its upload, again.</returns>
    /// <exception cref="NothingKept">It has none; it waits for the next attempt.</exception>
    private async Task<MaskedVector> ReturnAsync(DeviceMember member, DeviceInvitation begin, CancellationToken stop)
    {
        member.Round++;
        if (await InviteAsync(member, begin with { Kind = DeviceInvitationKind.Return }, stop).ConfigureAwait(false) is not DeviceInvitationKind.AcceptAndReturn)
            throw new NothingKept();
        member.Attempt = begin.Attempt;
        member.Done = false;
        return await member.Channel.ReceiveAsync<MaskedVector>(member.Round, work.UploadLength, stop).ConfigureAwait(false);
    }

    /// <summary>Waits for a device, but not on a channel that it has replaced by another.</summary>
    private static async Task<T> UnlessReplacedAsync<T>(DeviceMember member, Task<T> answer)
    {
        if (await Task.WhenAny(answer, member.Successor.Task).ConfigureAwait(false) == answer)
            return await answer.ConfigureAwait(false);
        await member.Channel.AbortAsync(ProtocolErrors.PeerGone, CancellationToken.None).ConfigureAwait(false);
        _ = answer.ContinueWith(static lost => lost.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        throw member.Replaced();
    }

    /// <summary>Invites a device.</summary>
    /// <returns>Whether it takes part.</returns>
    private async Task<bool> OfferAsync(DeviceMember member, CancellationToken stop)
    {
        member.Done = false;
        DeviceInvitationKind answer = await InviteAsync(member, offer, stop).ConfigureAwait(false);
        member.Returns = answer == DeviceInvitationKind.AcceptAndReturn;
        if (answer == DeviceInvitationKind.Decline)
            return false;
        member.Attempt = offer.Attempt; // from here on it waits for the beginning, or to be told that there is none
        return true;
    }

    /// <summary>Sends an invitation, and takes the answer: accept, accept and return, or decline; to one to return no mere accept.</summary>
    private static async Task<DeviceInvitationKind> InviteAsync(DeviceMember member, DeviceInvitation invitation, CancellationToken stop)
    {
        await member.Channel.SendAsync(member.Round, invitation.Message(), stop).ConfigureAwait(false);
        AggregationMessage message = await member.Channel.ReceiveAsync<AggregationMessage>(member.Round, null, stop).ConfigureAwait(false);
        DeviceInvitation? answer = DeviceInvitation.Read(message, member.Name, member.Round);
        bool isAnswer = answer?.Kind is DeviceInvitationKind.AcceptAndReturn or DeviceInvitationKind.Decline
            || answer?.Kind == DeviceInvitationKind.Accept && invitation.Kind == DeviceInvitationKind.Offer;
        return isAnswer && answer! with { Kind = invitation.Kind } == invitation ? answer.Kind
            : throw DeviceInvitation.Bad(member.Name, member.Round, "sent another step where its answer was due.");
    }

    private async Task BeginAsync(DeviceMember member, int clients, Released<ModelParameters> model, CancellationToken stop)
    {
        await member.Channel.SendAsync(member.Round, (offer with { Kind = DeviceInvitationKind.Begin, Clients = clients, Client = member.Number }).Message(), stop).ConfigureAwait(false);
        await member.Channel.SendAsync(member.Round, model, stop).ConfigureAwait(false);
    }

    private static async Task<T> ExchangeAsync<T>(DeviceMember member, AggregationMessage message, int? length, CancellationToken stop) where T : Payload
    {
        await member.Channel.SendAsync(member.Round, Disclosure.Unprotected(message, "secure aggregation"), stop).ConfigureAwait(false);
        return await member.Channel.ReceiveAsync<T>(member.Round, length, stop).ConfigureAwait(false);
    }

    /// <summary>Takes answers one after the other; a device whose answer is refused has dropped out.</summary>
    /// <returns>Those whose answers are taken.</returns>
    private async Task<List<DeviceMember>> AcceptAsync(List<(DeviceMember Member, AggregationMessage Answer)> answers, Action<int, AggregationMessage> accept)
    {
        var accepted = new List<DeviceMember>();
        foreach ((DeviceMember member, AggregationMessage answer) in answers)
            if (await IsAcceptedAsync(member, () => accept(member.Number, answer)).ConfigureAwait(false))
                accepted.Add(member);
        return accepted;
    }

    private async Task<bool> IsAcceptedAsync(DeviceMember member, Action accept)
    {
        try
        {
            accept();
            return true;
        }
        catch (PeerException e)
        {
            await members.DropAsync(member, e.Id, e).ConfigureAwait(false);
            return false;
        }
    }

    private sealed class AttemptFailure(string message) : Exception(message);
}
