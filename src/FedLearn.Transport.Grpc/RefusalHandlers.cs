using FedLearn.Diagnostics;
using Microsoft.Extensions.Logging;

namespace FedLearn.Transport.Grpc;

/// <summary>Tells an application's handlers of refusals.</summary>
internal static partial class RefusalHandlers
{
    /// <summary>Tells everybody that a party was refused.</summary>
    public static void Tell(this Action<string, FedLearnException>? handlers, string party, FedLearnException refusal, ILogger log) =>
        EventHandlers.CallEach(handlers, handler => handler(party, refusal), failure => LogHandlerFailure(log, party, failure));

    [LoggerMessage(9, LogLevel.Error, "A handler that was told that party {Party} was refused failed: {Failure}.")]
    private static partial void LogHandlerFailure(ILogger log, string party, string failure);
}
