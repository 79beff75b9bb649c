using FedLearn.Diagnostics;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>A device on one channel.</summary>
internal sealed class DeviceMember(IPartyChannel channel)
{
    public IPartyChannel Channel { get; } = channel;

    public string Name => Channel.RemoteParty;

    /// <summary>Number of the device in secure aggregation.</summary>
    public int Number { get; set; }

    /// <summary>Number of the invitation on this channel.</summary>
    public int Round { get; set; } = -1;

    /// <summary>Whether it has sent its last message of the attempt and waits for the next invitation.</summary>
    public bool Done { get; set; }

    public TaskCompletionSource Ended { get; } = DeviceMembers.NewSignal();

    /// <summary>Attempt that it takes part in on this channel.</summary>
    public int Attempt { get; set; } = -1;

    /// <summary>Whether it keeps its upload and can come back with it.</summary>
    public bool Returns { get; set; }

    /// <summary>The same device on the channel with which it came back.</summary>
    public TaskCompletionSource<DeviceMember> Successor { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The device on the channel on which it is now.</summary>
    public DeviceMember Latest()
    {
        DeviceMember latest = this;
        while (latest.Successor.Task.IsCompletedSuccessfully)
            latest = latest.Successor.Task.Result;
        return latest;
    }

    /// <summary>The error of a channel that the device has replaced.</summary>
    public PeerException Replaced() => ProtocolErrors.Peer(ProtocolErrors.PeerGone, Name, "attending", "came back on another channel.", "None is needed.");
}

/// <summary>A device came back without anything of the attempt.</summary>
internal sealed class NothingKept : Exception;

/// <summary>The devices that are connected with a server.</summary>
internal sealed class DeviceMembers(DeviceServerOptions options)
{
    private readonly Lock _gate = new();
    private readonly List<DeviceMember> _members = [];
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);
    private readonly Dictionary<int, DeviceMember> _latest = [];
    private TaskCompletionSource _joined = NewSignal();
    private Func<DeviceMember, CancellationToken, Task>? _over;

    public static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Names and numbers of the devices that have one.</summary>
    public (string[] Names, int[] Numbers) Known()
    {
        lock (_gate)
            return ([.. _numbers.Keys], [.. _numbers.Values]);
    }

    /// <summary>Gives a device its number.</summary>
    public void Know(string device, int number)
    {
        lock (_gate)
            _numbers[device] = number;
    }

    /// <summary>A new job begins: devices that come are not told that it is over.</summary>
    public void Open()
    {
        lock (_gate)
            _over = null;
    }

    /// <summary>Takes a device in until the job is over or it drops out; it is asked from the next attempt on.</summary>
    public async Task AttendAsync(IPartyChannel channel, CancellationToken cancellationToken)
    {
        var member = new DeviceMember(channel);
        Func<DeviceMember, CancellationToken, Task>? over;
        lock (_gate)
        {
            over = _over;
            if (!_numbers.TryGetValue(member.Name, out int number))
                _numbers[member.Name] = number = _numbers.Values.DefaultIfEmpty(-1).Max() + 1;
            member.Number = number;
            // A device that comes back on another channel has lost the earlier one; an attempt that waits for it goes on with this one.
            if (_latest.TryGetValue(number, out DeviceMember? before))
                before.Successor.TrySetResult(member);
            _latest[number] = member;
            foreach (DeviceMember lost in _members.Where(m => m.Number == number))
                lost.Ended.TrySetException(lost.Replaced());
            _members.RemoveAll(m => m.Number == number);
            _members.Add(member);
            _joined.TrySetResult();
            _joined = NewSignal();
        }

        if (over is not null)
            await over(member, cancellationToken).ConfigureAwait(false);
        await member.Ended.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The devices that are there, once they are as many as are waited for, or the time of a phase is up.</summary>
    public async Task<IReadOnlyList<DeviceMember>> ConnectedAsync(int needed, CancellationToken cancellationToken)
    {
        using var time = new CancellationTokenSource(options.PhaseTimeout, options.Clock);
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
                needed = 0;
            }
        }
    }

    /// <summary>Asks devices at once, within the time of a phase. Those that fail have dropped out; the others are returned, in their order.</summary>
    public async Task<List<(DeviceMember Member, T Answer)>> AskAsync<T>(IEnumerable<DeviceMember> members, Func<DeviceMember, CancellationToken, Task<T>> ask, CancellationToken cancellationToken)
    {
        using var time = new CancellationTokenSource(options.PhaseTimeout, options.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(time.Token, cancellationToken);
        (DeviceMember Member, bool Answered, T? Answer)[] answers = await Task.WhenAll(members.Select(OneAsync)).ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        return [.. answers.Where(a => a.Answered).Select(a => (a.Member, a.Answer!))];

        async Task<(DeviceMember, bool, T?)> OneAsync(DeviceMember member)
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
                PeerException late = ProtocolErrors.Peer(ProtocolErrors.TimedOut, member.Name, $"invitation {member.Round}",
                    $"did not finish a step within {options.PhaseTimeout.TotalSeconds:0.#} s.", "Give devices more time with DeviceServerOptions.PhaseTimeout, or expect fewer of them.", e);
                await DropAsync(member, late.Id, late).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                // The whole run was stopped.
            }

            return (member, false, default);
        }
    }

    /// <summary>Ends every device, and those that come from now on: nobody else would.</summary>
    public async Task OverAsync(Func<DeviceMember, CancellationToken, Task> end, CancellationToken cancellationToken)
    {
        DeviceMember[] members;
        lock (_gate)
        {
            _over = end;
            members = [.. _members];
        }

        await Task.WhenAll(members.Select(member => end(member, cancellationToken))).ConfigureAwait(false);
    }

    /// <summary>Ends a device that has dropped out.</summary>
    public async Task DropAsync(DeviceMember member, string id, Exception why)
    {
        lock (_gate)
            _members.Remove(member);
        await member.Channel.AbortAsync(id, CancellationToken.None).ConfigureAwait(false);
        member.Ended.TrySetException(why);
    }
}
