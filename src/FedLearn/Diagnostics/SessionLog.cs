using Microsoft.Extensions.Logging;

namespace FedLearn.Diagnostics;

/// <summary>What a party logs of its sessions. Event ids stay what they are. An error is logged by its id alone: an exception may quote data.</summary>
internal static partial class SessionLog
{
    [LoggerMessage(100, LogLevel.Information, "Party {Party} begins to {Operation}: job {Job}, mode {Mode}.")]
    public static partial void Started(this ILogger log, string party, string operation, string job, string mode);

    [LoggerMessage(101, LogLevel.Information, "Party {Party} completed to {Operation} after {Seconds:0.###} s: job {Job}.")]
    public static partial void Completed(this ILogger log, string party, string operation, double seconds, string job);

    [LoggerMessage(102, LogLevel.Warning, "Party {Party} was stopped while it was to {Operation}: job {Job}.")]
    public static partial void Cancelled(this ILogger log, string party, string operation, string job);

    [LoggerMessage(103, LogLevel.Error, "Party {Party} failed to {Operation} with {Error}: job {Job}.")]
    public static partial void Failed(this ILogger log, string party, string operation, string error, string job);

    [LoggerMessage(104, LogLevel.Information, "Party {Party} found {Rows} common rows: job {Job}.")]
    public static partial void Aligned(this ILogger log, string party, int rows, string job);

    [LoggerMessage(105, LogLevel.Debug, "Party {Party} has done {Round} of {Rounds} rounds: job {Job}.")]
    public static partial void RoundsDone(this ILogger log, string party, int round, int rounds, string job);

    [LoggerMessage(106, LogLevel.Information, "Party {Party} stopped training, {Reason}: {Training:0.###} s, of them {Wait:0.###} waiting and {Noise:0.###} for noise; job {Job}.")]
    public static partial void Trained(this ILogger log, string party, string reason, double training, double wait, double noise, string job);

    [LoggerMessage(107, LogLevel.Error, "A handler that was told that party {Party} was refused failed: {Failure}.")]
    public static partial void HandlerFailed(this ILogger log, string party, string failure);

    [LoggerMessage(108, LogLevel.Warning, "Party {Party}: {Warning}; job {Job}.")]
    public static partial void ComparedByHash(this ILogger log, string party, string warning, string job);
}
