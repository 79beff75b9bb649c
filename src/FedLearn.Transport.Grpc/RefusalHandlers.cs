using FedLearn.Diagnostics;
using Microsoft.Extensions.Logging;

namespace FedLearn.Transport.Grpc;

/// <summary>Tells an application's handlers of refusals.</summary>
internal static partial class RefusalHandlers
{
    /// <summary>Tells everybody that a party was refused. What one of them throws replaces neither what the party is told nor what the others are.</summary>
    public static void Tell(this Action<string, FedLearnException>? handlers, string party, FedLearnException refusal, ILogger log)
    {
        foreach (Action<string, FedLearnException> handler in Delegate.EnumerateInvocationList(handlers))
            try
            {
                handler(party, refusal);
            }
#pragma warning disable CA1031 // somebody else's code
            catch (Exception e)
#pragma warning restore CA1031
            {
                LogHandlerFailure(log, party, e.GetType().Name);
            }
    }

    [LoggerMessage(9, LogLevel.Error, "A handler that was told that party {Party} was refused failed: {Failure}.")]
    private static partial void LogHandlerFailure(ILogger log, string party, string failure);
}
