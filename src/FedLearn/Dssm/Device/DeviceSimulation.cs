using FedLearn.Aggregation;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>All devices of a job and their server in one process: thousands of them share one set of towers, whose parameters are swapped.</summary>
/// <remarks>What devices compute, and the noise and coins that protect them, are those of real devices; nothing is sent. Attempts of up to 128 clients run the real secure
/// aggregation, larger ones add the same integers without masks, which the result's notes say. In mode none the same job and devices give the same bits.</remarks>
public sealed class DeviceSimulation : IDisposable
{
    private readonly DevicePlan _plan;
    private readonly IReadOnlyList<DeviceData> _devices;
    private readonly DeviceWork _work;
    private readonly DeviceModelState _state;
    private readonly DeviceParticipation[] _participations;
    private readonly double[]?[] _own;

    /// <summary>Creates a simulation.</summary>
    /// <param name="job">The job; its number of enrolled devices must be that of <paramref name="devices"/>.</param>
    /// <param name="devices">The devices; names are distinct.</param>
    /// <param name="towers">Makes one set of towers.</param>
    /// <exception cref="ConfigurationException">FL2470, FL2471: the job is inconsistent; FL2306: its noise is beyond what the accountant covers; FL2472: a device's data does not fit it.</exception>
    /// <exception cref="PrivacyRefusedException">FL5170, FL5172: a private job lacks a bound.</exception>
    public DeviceSimulation(DeviceJob job, IReadOnlyList<DeviceData> devices, ITowerFactory towers)
    {
        ArgumentNullException.ThrowIfNull(devices);
        (_plan, _devices) = (new DevicePlan(job), devices);
        if (devices.Count != job.Devices || devices.DistinctBy(d => d.Device, StringComparer.Ordinal).Count() != devices.Count)
            throw DeviceErrors.Job("devices", "there are not as many devices of different names as the job enrols.", "Give the job the number of devices.");
        foreach (DeviceData device in devices)
            _plan.CheckData(device);
        _work = new DeviceWork(_plan, towers);
        try
        {
            Privacy = DeviceClaims.Statement(job, _work.Calibration);
        }
        catch
        {
            _work.Dispose();
            throw;
        }

        _state = new DeviceModelState(_plan, _work);
        _participations = [.. devices.Select(device => new DeviceParticipation(_plan, _work.Calibration, device.Device, null))];
        _own = new double[devices.Count][];
    }

    /// <summary>The current version of the model.</summary>
    public DeviceModel Model => _state.Model;

    /// <summary>What a device is promised.</summary>
    public DevicePrivacyStatement Privacy { get; }

    /// <summary>Participations of each device so far.</summary>
    public IReadOnlyList<int> Participations => [.. _participations.Select(p => p.Count)];

    /// <summary>User models that stay at a device, one a view; those it would start from before its first round. Empty unless only the item model is federated.</summary>
    /// <param name="device">Index of the device.</param>
    public IReadOnlyList<double[]> OwnModels(int device) => _plan.ItemOnly ? _work.OwnBlocks(Own(device)) : [];

    /// <summary>Runs all rounds.</summary>
    /// <param name="progress">Told of every attempt.</param>
    /// <param name="cancellationToken">Stops between devices.</param>
    /// <exception cref="PeerException">FL4076: a round came to nothing in every attempt.</exception>
    public DeviceResult Run(IProgress<DeviceRound>? progress = null, CancellationToken cancellationToken = default)
    {
        DeviceTrainingOptions training = _plan.Job.Training;
        var rounds = new List<DeviceRound>();
        int attempt = 0;
        for (int round = 0; round < training.Rounds; round++)
        {
            DeviceRound last;
            int time = 0;
            do
            {
                last = Attempt(round, attempt++, cancellationToken);
                rounds.Add(last);
                progress?.Report(last);
            }
            while (last.Failure is not null && ++time < training.AttemptsPerRound);
            if (last.Failure is not null)
                throw DeviceErrors.Failed(round, training.AttemptsPerRound, last.Failure, "Enrol more devices, lower the threshold or raise the participation, or allow more attempts.");
        }

        return new(_state.Model, rounds, Privacy, Notes(rounds));
    }

    /// <inheritdoc />
    public void Dispose() => _work.Dispose();

    private DeviceRound Attempt(int round, int attempt, CancellationToken cancellationToken)
    {
        int[] clients = [.. Enumerable.Range(0, _devices.Count).Where(i => _participations[i].Willing(attempt))];
        if (_plan.TooFew(clients.Length) is { } fault)
            return new(round, attempt, clients.Length, 0, false, fault);
        bool masked = _plan.Job.Privacy.SecureAggregation && clients.Length <= DeviceJob.MaskedClients;
        var aggregate = new DeviceAggregate(_plan, _work.Calibration, _work.UploadLength);
        Released<ModelUpdate>[] held = new Released<ModelUpdate>[masked ? clients.Length : 0];
        double loss = 0, samples = 0;
        for (int i = 0; i < clients.Length; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            DeviceData data = _devices[clients[i]];
            (double[] upload, double ofDevice) = _work.Upload(data, _state.Parameters, Own(clients[i]), attempt);
            loss += ofDevice;
            samples += data.Samples;
            Released<ModelUpdate> released = _participations[clients[i]].Release(upload);
            if (masked)
                held[i] = released;
            else
                aggregate.Add(released.Payload, data.Device);
        }

        if (masked)
            aggregate.Take(Aggregate(new(DeviceInvitationKind.Begin, attempt, round, _state.Version, clients.Length), clients, held));
        _state.Apply(aggregate);
        return new(round, attempt, clients.Length, clients.Length, masked, null, _plan.IsPrivate || samples == 0 ? null : loss / samples);
    }

    // The protocol of real devices, message by message.
    private long[] Aggregate(DeviceInvitation begin, int[] clients, Released<ModelUpdate>[] updates)
    {
        EnrolmentKey[] keys = _plan.Job.Privacy.Server == ServerTrust.Active ? [.. clients.Select(_ => EnrolmentKey.Create())] : [];
        DeviceEnrolment[] enrolled = [.. keys.Select((key, i) => new DeviceEnrolment(_devices[clients[i]].Device, clients[i], key.PublicKey))];
        AggregationRound round = DeviceSessions.Round(_plan, _work, begin, DeviceSessions.DigestOf(_state.Parameters), enrolled);
        SecureAggregationClient[] parties = [.. clients.Select((client, i) => new SecureAggregationClient(client, keys.Length > 0 ? keys[i] : null))];
        try
        {
            var server = new SecureAggregationServer(round);
            foreach (SecureAggregationClient party in parties)
                server.AcceptKeys(party.Client, party.Begin(round));
            AggregationMessage roster = server.Roster();
            foreach (SecureAggregationClient party in parties)
                server.AcceptShares(party.Client, party.Share(roster));
            IReadOnlyDictionary<int, AggregationMessage> deliveries = server.Deliveries();
            for (int i = 0; i < parties.Length; i++)
                server.AcceptUpload(parties[i].Client, parties[i].Upload(deliveries[parties[i].Client], updates[i]).Payload);
            AggregationMessage request = server.Unmask();
            if (keys.Length > 0)
            {
                foreach (SecureAggregationClient party in parties)
                    server.AcceptConsent(party.Client, party.Consent(request));
                request = server.Consents();
            }

            foreach (SecureAggregationClient party in parties)
                server.AcceptReveal(party.Client, party.Reveal(request));
            return server.Open().Integers;
        }
        finally
        {
            foreach (SecureAggregationClient party in parties)
                party.Dispose();
            foreach (EnrolmentKey key in keys)
                key.Dispose();
        }
    }

    private double[] Own(int device) => _plan.ItemOnly ? _own[device] ??= _work.Start[_work.FederatedLength..].ToArray() : [];

    private List<string> Notes(List<DeviceRound> rounds)
    {
        List<string> notes = ["simulation: devices and server are one process, and no message was sent"];
        if (_plan.IsPrivate)
            notes.Add("simulation: devices keep no ledger");
        DeviceRound[] made = [.. rounds.Where(r => r.Failure is null)];
        if (_plan.Job.Privacy.SecureAggregation && made.Count(r => !r.Masked) is > 0 and var unmasked)
            notes.Add($"{unmasked} of {made.Length} {Counted.Noun(made.Length, "round")} had more than {DeviceJob.MaskedClients} clients and ran without masks: real devices of such a round would need another aggregation graph");
        return notes;
    }
}
