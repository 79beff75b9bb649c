namespace FedLearn.Protocol;

/// <summary>The time limit of one wait after the other, without new memory for each. Not for two waits at once.</summary>
/// <param name="time">How long a wait may last; <see cref="Timeout.InfiniteTimeSpan"/> for ever.</param>
/// <param name="clock">Clock of the limit.</param>
internal sealed class WaitLimit(TimeSpan time, TimeProvider clock)
{
    private CancellationTokenSource? _source;

    /// <summary>What is cancelled when the time of the next wait is up.</summary>
    public CancellationTokenSource Begin() => _source ??= clock == TimeProvider.System ? new CancellationTokenSource() : new CancellationTokenSource(time, clock);

    /// <summary>Lets the time of the wait begin. One that is over at once needs no timer.</summary>
    public void Arm()
    {
        if (clock == TimeProvider.System && time != Timeout.InfiniteTimeSpan)
            _source!.CancelAfter(time);
    }

    /// <summary>The wait is over.</summary>
    public void End()
    {
        if (_source?.TryReset() != false)
            return;
        // It was cancelled, or its clock is one whose timers cannot be reset.
        _source.Dispose();
        _source = null;
    }

    /// <summary>Lets a caller's token end the wait too. To be disposed of before <see cref="End"/>, not merely unregistered: a token that is cancelled at that moment would end the next wait.</summary>
    public static CancellationTokenRegistration Link(CancellationTokenSource wait, CancellationToken token) =>
        token.CanBeCanceled ? token.UnsafeRegister(static source => Cancel((CancellationTokenSource)source!), wait) : default;

    private static void Cancel(CancellationTokenSource wait)
    {
        try
        {
            wait.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The wait ended at the same moment.
        }
    }
}
