using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Aggregation;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>Settings of a device.</summary>
public sealed record DeviceClientOptions
{
    /// <summary>Where the device writes down what it spends; null: in memory.</summary>
    public IPrivacyLedger? Ledger { get; init; }

    /// <summary>Id of the run in the ledger; null: the one that <see cref="Store"/> knows, or a fresh one. A device that was restarted gives the same.</summary>
    public string? RunId { get; init; }

    /// <summary>Where the device keeps what it must know after a restart: it can then come back in the midst of an attempt with the same upload, and answer for it. With a ledger that outlives the process
    /// too. Null: a device that is restarted has dropped out of the attempt that was under way.</summary>
    public IDeviceStore? Store { get; init; }

    /// <summary>Its enrolment key, needed with an active server. Not disposed of.</summary>
    public EnrolmentKey? Key { get; init; }

    /// <summary>All enrolled devices, known from elsewhere than the server; needed with an active server.</summary>
    public IReadOnlyList<DeviceEnrolment> Enrolled { get; init; } = [];
}

/// <summary>One device of a job: holds its samples, answers the server's rounds, and lets nothing leave but clipped, noised and masked updates.</summary>
/// <remarks>It takes model parameters and lists from the server, and every bound from its own copy of the job: coin, clip, noise, cap and threshold do not depend on what the
/// server says. It declines attempts once its cap is reached. An attempt is charged when its noise is drawn, before a message of it leaves, and stays charged when the attempt
/// comes to nothing. For one channel at a time.</remarks>
public sealed class DeviceClient : IDisposable
{
    private readonly DevicePlan _plan;
    private readonly DeviceData _data;
    private readonly DeviceClientOptions _options;
    private readonly DeviceWork _work;
    private readonly DeviceParticipation _participation;
    private readonly IPrivacyReservation? _reservation;
    private readonly double[] _own;
    private readonly DeviceMemory _memory;
    private SecureAggregationClient? _answering;

    /// <summary>Creates a device, and in private modes reserves what it may spend.</summary>
    /// <param name="job">The job, in the device's own copy.</param>
    /// <param name="data">Its samples.</param>
    /// <param name="towers">Makes towers.</param>
    /// <param name="options">Settings; null for the defaults.</param>
    /// <exception cref="ConfigurationException">FL2470, FL2471: the job is inconsistent; FL2306: its noise is beyond what the accountant covers; FL2472: the data does not fit it.</exception>
    /// <exception cref="PrivacyRefusedException">FL5170, FL5172: a private job lacks a bound; FL5020: the charge is over the budget.</exception>
    public DeviceClient(DeviceJob job, DeviceData data, ITowerFactory towers, DeviceClientOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(data);
        (_plan, _data, _options) = (new DevicePlan(job), data, options ?? new DeviceClientOptions());
        _plan.CheckData(data);
        if (job.Privacy.Server == ServerTrust.Active && (_options.Key is null || _options.Enrolled.All(e => e.Device != data.Device)))
            throw DeviceErrors.Job("enrolment", "with an active server the device needs its key and the list of enrolled devices, itself among them.", "Enrol the device.");
        _work = new DeviceWork(_plan, towers);
        try
        {
            _memory = new DeviceMemory(_plan, data.Device, _options.Store);
            // Known before anything is charged, so that a restart finds the charge again.
            _memory.RunId = _options.RunId ?? (_memory.RunId is { Length: > 0 } known ? known : PrivacyCharge.NewRunId());
            _memory.Keep();
            Privacy = DeviceClaims.Statement(job, _work.Calibration);
            _reservation = _work.Calibration is { } calibration ? (_options.Ledger ?? new InMemoryLedger()).Reserve(Charge(calibration)) : null;
            _participation = new DeviceParticipation(_plan, _work.Calibration, data.Device, _reservation, _memory.Participations);
            _own = _plan.ItemOnly ? _work.Start[_work.FederatedLength..].ToArray() : [];
            if (_memory.Own.Length == _own.Length)
                _memory.Own.CopyTo(_own, 0);
        }
        catch
        {
            Suspend();
            throw;
        }
    }

    /// <summary>What the device is promised.</summary>
    public DevicePrivacyStatement Privacy { get; }

    /// <summary>Participations so far, attempts that came to nothing included.</summary>
    public int Participations => _participation.Count;

    /// <summary>Participations in private modes, since this object was made, in which the device's training gave no finite numbers at the model that the server sent: what left was noise around 0, or around what was finite.
    /// It depends on the device's rows and is under no claim: for the device's own user, never for the server.</summary>
    /// <value>At least 0; with a server that keeps to the job, above 0 says that steps (<see cref="DeviceTrainingOptions.LocalRate"/>, or the server's) are too long, or numbers of the data too large.</value>
    public int Diverged { get; private set; }

    /// <summary>The user models that stay here, one a view; empty unless only the item model is federated.</summary>
    public IReadOnlyList<double[]> OwnModels => _work.OwnBlocks(_own);

    /// <summary>Answers the server until the job is over.</summary>
    /// <param name="channel">Channel to the server; its receive timeout must be longer than the time between two of this device's messages, or infinite.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>Once the server has ended the job.</returns>
    /// <exception cref="PeerException">The server is gone, broke the protocol, or asked for an attempt again (FL4075).</exception>
    public async Task RunAsync(IPartyChannel channel, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(channel);
        await ChannelGuard.RunAsync([channel], async () =>
        {
            for (int round = 0; await AnswerAsync(channel, round, cancellationToken).ConfigureAwait(false); round++)
            {
            }

            await channel.CompleteAsync(cancellationToken).ConfigureAwait(false);
            return true;
        }).ConfigureAwait(false);
    }

    /// <summary>Ends the run: what was reserved and not spent is given back.</summary>
    public void Dispose()
    {
        try
        {
            // Each participation costs the same of mu squared; a message that was kept is one.
            _reservation?.Settle(Math.Min(1, (double)Math.Max(_participation.Count, Math.Min(1, _reservation.Kept)) / _plan.MaxParticipations));
        }
        catch (FedLearnException)
        {
            // The charge stays as it was reserved, in full: no reason to lose the error that ended the run.
        }
        finally
        {
            Suspend();
        }
    }

    /// <summary>Leaves the run as it is, so that another process can go on with it under its id: charged in full until then. Instead of <see cref="Dispose"/>.</summary>
    public void Suspend()
    {
        _reservation?.Dispose();
        _answering?.Dispose();
        _work.Dispose();
    }

    /// <summary>One invitation and what follows from it; false at the end of the job.</summary>
    private async Task<bool> AnswerAsync(IPartyChannel channel, int round, CancellationToken cancellationToken)
    {
        DeviceInvitation offer = DeviceInvitation.Read(await channel.ReceiveAsync<AggregationMessage>(round, null, cancellationToken).ConfigureAwait(false), channel.RemoteParty, round)
            ?? throw DeviceInvitation.Bad(channel.RemoteParty, round, "sent another step where an invitation was due.");
        if (offer.Kind == DeviceInvitationKind.End)
        {
            Forget();
            return false;
        }

        if (offer.Kind == DeviceInvitationKind.Return)
        {
            await ReturnAsync(channel, round, offer, cancellationToken).ConfigureAwait(false);
            return true;
        }

        if (offer.Kind != DeviceInvitationKind.Offer || offer.Round >= _plan.Job.Training.Rounds || offer.Version > offer.Round)
            throw DeviceInvitation.Bad(channel.RemoteParty, round, "sent an invitation that is out of order or beyond the rounds of the job.");
        if (offer.Attempt <= _memory.LastAttempt)
            throw ProtocolErrors.Peer(DeviceErrors.RepeatedAttempt, channel.RemoteParty, $"invitation {round}", "asked for an attempt that is over.",
                "A server that repeats a round begins a new attempt, which is charged. Do not go on with this one.");
        // A later attempt ends the one before it, for good: its secrets go first.
        _memory.LastAttempt = offer.Attempt;
        Forget();
        bool willing = _participation.Willing(offer.Attempt);
        DeviceInvitationKind answer = !willing ? DeviceInvitationKind.Decline : _memory.IsKept ? DeviceInvitationKind.AcceptAndReturn : DeviceInvitationKind.Accept;
        await channel.SendAsync(round, (offer with { Kind = answer }).Message(), cancellationToken).ConfigureAwait(false);
        if (willing)
            await TakePartAsync(channel, round, offer, cancellationToken).ConfigureAwait(false);
        return true;
    }

    private async Task TakePartAsync(IPartyChannel channel, int round, DeviceInvitation offer, CancellationToken cancellationToken)
    {
        AggregationMessage? message = await channel.ReceiveAsync<AggregationMessage>(round, null, cancellationToken).ConfigureAwait(false);
        DeviceInvitation? begin = DeviceInvitation.Read(message, channel.RemoteParty, round);
        if (IsGivenUp(begin, offer))
            return;
        if (begin is null || begin with { Clients = 0, Client = 0 } != offer with { Kind = DeviceInvitationKind.Begin })
            throw DeviceInvitation.Bad(channel.RemoteParty, round, "sent another step where the beginning of the attempt was due.");
        ModelParameters model = await channel.ReceiveAsync<ModelParameters>(round, _work.FederatedLength, cancellationToken).ConfigureAwait(false);
        ChannelGuard.Packed(model, ElementType.Float64, channel, round);
        if (begin.Clients < _plan.Threshold)
            throw DeviceInvitation.Bad(channel.RemoteParty, round, "began an attempt with fewer clients than the threshold.");
        if (!_plan.Job.Privacy.SecureAggregation)
        {
            await channel.SendAsync(round, Update(model, offer.Attempt), cancellationToken).ConfigureAwait(false);
            return;
        }

        int number = _plan.Job.Privacy.Server == ServerTrust.Active ? _options.Enrolled.First(e => e.Device == _data.Device).Client : begin.Client;
        SecureAggregationClient? aggregation = new(number, _options.Key);
        try
        {
            byte[] digest = DeviceSessions.DigestOf(model.Values.Span);
            AggregationMessage keys = aggregation.Begin(DeviceSessions.Round(_plan, _work, begin, digest, _options.Enrolled));
            // The noise is drawn and charged before the first message of the attempt leaves.
            Released<ModelUpdate> update = Update(model, offer.Attempt);
            if (await ExchangeAsync(channel, round, offer, keys, cancellationToken).ConfigureAwait(false) is not { } roster
                || await ExchangeAsync(channel, round, offer, aggregation.Share(roster), cancellationToken).ConfigureAwait(false) is not { } delivery)
                return;
            Released<MaskedVector> masked = aggregation.Upload(delivery, update);
            // Kept before the first byte leaves: from here on a restart sends these bytes again, and never masks or noises anew.
            _memory.Upload = new DeviceUpload(begin, digest, number, masked.Payload.Values, masked.Protection == Protection.Noise) { Aggregation = aggregation.Save() };
            _memory.Keep();
            _answering?.Dispose();
            (_answering, aggregation) = (aggregation, null);
            await channel.SendAsync(round, masked, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            aggregation?.Dispose();
        }

        await AnswerForUploadAsync(channel, round, offer, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>On a new channel, in the midst of an attempt: sends the upload again, if it has one of that attempt, and answers for it.</summary>
    private async Task ReturnAsync(IPartyChannel channel, int round, DeviceInvitation back, CancellationToken cancellationToken)
    {
        DeviceInvitation offer = back with { Kind = DeviceInvitationKind.Offer, Clients = 0, Client = 0 };
        bool has = _memory.Upload is { } upload && upload.Begin == back with { Kind = DeviceInvitationKind.Begin };
        await channel.SendAsync(round, (back with { Kind = has ? DeviceInvitationKind.AcceptAndReturn : DeviceInvitationKind.Decline }).Message(), cancellationToken).ConfigureAwait(false);
        if (!has)
            return;
        AggregationRound terms = DeviceSessions.Round(_plan, _work, _memory.Upload!.Begin, _memory.Upload.Model, _options.Enrolled);
        _answering?.Return();
        if (_answering is null && !_memory.Upload.Aggregation.IsEmpty)
            _answering = SecureAggregationClient.Restore(_memory.Upload.Client, _options.Key, terms,
                new StateReader(SecureAggregationClient.SavedKind, _memory.Upload.Aggregation, $"device '{_data.Device}'"));
        await channel.SendAsync(round, _memory.Upload.Again(terms.Step), cancellationToken).ConfigureAwait(false);
        await AnswerForUploadAsync(channel, round, offer, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>What follows the upload: with an active server the consent, then the one answer.</summary>
    private async Task AnswerForUploadAsync(IPartyChannel channel, int round, DeviceInvitation offer, CancellationToken cancellationToken)
    {
        if (await NextAsync(channel, round, offer, cancellationToken).ConfigureAwait(false) is not { } request)
        {
            Forget();
            return;
        }

        DeviceUpload upload = _memory.Upload!;
        // After a restart the server may ask for the consent again, or for what follows it.
        if (_plan.Job.Privacy.Server == ServerTrust.Active && request.Step != AggregationStep.Consents)
        {
            AggregationMessage consent = Answering().Consent(request);
            upload.Aggregation = Answering().Save();
            _memory.Keep();
            if (await ExchangeAsync(channel, round, offer, consent, cancellationToken).ConfigureAwait(false) is not { } consents)
            {
                Forget();
                return;
            }

            request = consents;
        }

        byte[] asked = SHA256.HashData([(byte)request.Step, .. request.Bytes.Span]);
        if (upload.Request.IsEmpty)
        {
            upload.Answer = Answering().Reveal(request).Bytes;
            // One kind of share a client, and once: the answer is kept, and the shares are gone, before it leaves.
            (upload.Request, upload.Aggregation) = (asked, default);
            _memory.Keep();
            _answering?.Dispose();
            _answering = null;
        }
        else if (!upload.Request.Span.SequenceEqual(asked))
        {
            throw AggregationErrors.Refused(AggregationErrors.SecondUnmask, $"device '{_data.Device}'", "a second request to open a sum of the same attempt.",
                "Begin a new attempt: a client opens one sum of each.");
        }

        await channel.SendAsync(round, Disclosure.Unprotected(new AggregationMessage(AggregationStep.Reveal, upload.Answer), "secure aggregation"), cancellationToken).ConfigureAwait(false);
    }

    private SecureAggregationClient Answering() => _answering ?? throw ProtocolErrors.Peer(DeviceErrors.BadInvitation, DeviceSessions.Server, "attempt",
        "asked for something that was answered before.", "Check that both sides run the same release of the software.");

    private static async Task<AggregationMessage?> ExchangeAsync(IPartyChannel channel, int round, DeviceInvitation offer, AggregationMessage own, CancellationToken cancellationToken)
    {
        await channel.SendAsync(round, Disclosure.Unprotected(own, "secure aggregation"), cancellationToken).ConfigureAwait(false);
        return await NextAsync(channel, round, offer, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The next step of the attempt, or null when it was given up.</summary>
    private static async Task<AggregationMessage?> NextAsync(IPartyChannel channel, int round, DeviceInvitation offer, CancellationToken cancellationToken)
    {
        AggregationMessage next = await channel.ReceiveAsync<AggregationMessage>(round, null, cancellationToken).ConfigureAwait(false);
        DeviceInvitation? invitation = DeviceInvitation.Read(next, channel.RemoteParty, round);
        if (invitation is null)
            return next;
        return IsGivenUp(invitation, offer) ? null : throw DeviceInvitation.Bad(channel.RemoteParty, round, "sent an invitation in the middle of an attempt.");
    }

    /// <summary>Wipes what is left of the attempt before: nothing of it is ever revealed from here on.</summary>
    private void Forget()
    {
        _answering?.Dispose();
        (_answering, _memory.Upload) = (null, null);
        _memory.Keep();
    }

    private static bool IsGivenUp(DeviceInvitation? invitation, DeviceInvitation offer) =>
        invitation is { Kind: DeviceInvitationKind.GivenUp } && invitation.Attempt == offer.Attempt;

    private Released<ModelUpdate> Update(ModelParameters model, int attempt)
    {
        double[] update = _work.Upload(_data, model.Values.Span, _own, attempt).Numbers;
        Diverged += _work.HasDiverged ? 1 : 0;
        Released<ModelUpdate> released = _participation.Release(update);
        // The attempt counts, durably, before a message of it leaves.
        (_memory.Participations, _memory.Own) = (_participation.Count, _own);
        _memory.Keep();
        return released;
    }

    private PrivacyCharge Charge(DeviceCalibration calibration)
    {
        double mu = Privacy.Figures[0].Mu!.Value;
        return new()
        {
            RunId = _memory.RunId!,
            Party = _data.Device,
            DataSet = DataSetIdentity.Of(SHA256.HashData(Encoding.UTF8.GetBytes(_data.Device))),
            JobName = _plan.Job.Name,
            JobDigest = Convert.ToHexStringLower(_plan.Digest),
            Mechanism = "gaussian: device updates",
            Claim = Privacy.Claims[0],
            Parameters = string.Create(CultureInfo.InvariantCulture, $"{{\"clip\":{_plan.Job.Privacy.Clip:R},\"noiseMultiplier\":{calibration.NoiseMultiplier:R},"
                + $"\"honestSurvivors\":{calibration.Parameters.NoisyClients},\"participations\":{_plan.MaxParticipations},\"masked\":{(calibration.Parameters.Masked ? "true" : "false")}}}"),
            Unit = PrivacyUnit.Record,
            Adjacency = _plan.Job.Privacy.Adjacency,
            Messages = _plan.MaxParticipations,
            PureEpsilon = 0,
            MuSquared = mu * mu,
            TestNoise = _plan.Job.Privacy.TestNoiseSeed is not null,
        };
    }
}
