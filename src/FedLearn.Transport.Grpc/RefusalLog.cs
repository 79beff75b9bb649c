using FedLearn.Diagnostics;
using Microsoft.Extensions.Logging;

namespace FedLearn.Transport.Grpc;

/// <summary>Writes refusals to a host's log, and no more of them than <see cref="RefusalQuota"/> allows.</summary>
/// <param name="log">The log.</param>
/// <param name="clock">Clock of the quota.</param>
internal sealed partial class RefusalLog(ILogger log, TimeProvider clock) : IDisposable
{
    private readonly RefusalQuota _quota = new(clock, left =>
    {
        if (left.Who is { } who)
            LogLeftOut(log, who, left.Count, left.ErrorId!);
        else
            LogOthersLeftOut(log, left.Count);
    });

    /// <summary>A request to join was refused.</summary>
    public void NotJoined(string party, string errorId)
    {
        if (_quota.Admits(party, errorId))
            LogNotJoined(log, party, errorId);
    }

    /// <summary>A client and the host do not accept each other.</summary>
    public void Refused(string peer, string errorId)
    {
        if (_quota.Admits(peer, errorId))
            LogRefused(log, peer, errorId);
    }

    /// <inheritdoc />
    public void Dispose() => _quota.Dispose();

    [LoggerMessage(2, LogLevel.Warning, "Party {Party} did not join: {ErrorId}.")]
    private static partial void LogNotJoined(ILogger log, string party, string errorId);

    [LoggerMessage(6, LogLevel.Warning, "No connection with {Peer} for a matter of certificates: {ErrorId}.")]
    private static partial void LogRefused(ILogger log, string peer, string errorId);

    [LoggerMessage(11, LogLevel.Warning, "{Peer} was refused {Count} more times within a minute: {ErrorId}.")]
    private static partial void LogLeftOut(ILogger log, string peer, long count, string errorId);

    [LoggerMessage(12, LogLevel.Warning, "Others were refused {Count} times within a minute.")]
    private static partial void LogOthersLeftOut(ILogger log, long count);
}
