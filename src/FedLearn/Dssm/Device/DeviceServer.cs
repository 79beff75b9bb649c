using FedLearn.Coordination;
using FedLearn.Diagnostics;
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
    private readonly DeviceMembers _members;
    private readonly List<DeviceRound> _rounds = [];
    private readonly IRunState? _kept;
    private int _attempt;

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
        _members = new DeviceMembers(_options);
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
            _members.Know(enrolled.Device, enrolled.Client);
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
        await _members.AttendAsync(channel, cancellationToken).ConfigureAwait(false);
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
        _members.Open();
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
            await _members.OverAsync((member, _) => _members.DropAsync(member, id, e), CancellationToken.None).ConfigureAwait(false);
            throw;
        }

        await _members.OverAsync(EndAsync, cancellationToken).ConfigureAwait(false);
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
                _members.Know(names[i], numbers[i]);
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
        (string[] names, int[] numbers) = _members.Known();
        StateWriter state = new StateWriter(Kind).Add("attempt", (long)_attempt).Add("devices", string.Join('\n', names)).Add("numbers", numbers)
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
            Keep();
            IReadOnlyList<DeviceMember> connected = await _members.ConnectedAsync(_options.WaitFor ?? _plan.Threshold, cancellationToken).ConfigureAwait(false);
            last = await new DeviceAttempt(_plan, _work, _members, _options.Enrolled, offer).RunAsync(connected, _state, cancellationToken).ConfigureAwait(false);
            _rounds.Add(last);
            progress?.Report(last);
            if (last.Failure is null)
                return;
        }

        throw DeviceErrors.Failed(round, _plan.Job.Training.AttemptsPerRound, last!.Failure!,
            last is { Masked: true, Participants: > DeviceJob.MaskedClients } ? "Lower the participation in a new job, so that fewer of the devices take part at once."
                : "Wait for more devices, lower the threshold in a new job, or allow more attempts.");
    }

    private async Task EndAsync(DeviceMember member, CancellationToken cancellationToken)
    {
        List<(DeviceMember, bool)> ended = await _members.AskAsync([member], async (m, stop) =>
        {
            await m.Channel.SendAsync(m.Round + 1, new DeviceInvitation(DeviceInvitationKind.End, _attempt, _plan.Job.Training.Rounds, _state.Version).Message(), stop).ConfigureAwait(false);
            await m.Channel.CompleteAsync(stop).ConfigureAwait(false);
            return true;
        }, cancellationToken).ConfigureAwait(false);
        if (ended.Count > 0)
            member.Ended.TrySetResult();
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
}
