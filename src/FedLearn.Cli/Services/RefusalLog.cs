using FedLearn.Diagnostics;

namespace FedLearn.Cli.Services;

/// <summary>Writes a line for each refusal, and no more of them than <see cref="RefusalQuota"/> allows. Dispose it after the host.</summary>
/// <param name="log">Told a line.</param>
/// <param name="clock">Clock of the quota; null: the system's.</param>
internal sealed class RefusalLog(Action<string> log, TimeProvider? clock = null) : IDisposable
{
    private readonly RefusalQuota _quota = new(clock ?? TimeProvider.System, left => log(left.Who is { } who
        ? $"refused '{who}' {left.Count} more {Counted.Noun(left.Count, "time")} within a minute ({left.ErrorId})"
        : $"refused others {left.Count} {Counted.Noun(left.Count, "time")} within a minute"));

    /// <summary>Somebody was refused.</summary>
    /// <param name="name">The name that it gave, or its address.</param>
    /// <param name="refusal">Why.</param>
    public void Tell(string name, FedLearnException refusal)
    {
        if (_quota.Admits(name, refusal.Id))
            log($"refused '{name}': {refusal.Cause} ({refusal.Id})");
    }

    /// <inheritdoc />
    public void Dispose() => _quota.Dispose();
}
