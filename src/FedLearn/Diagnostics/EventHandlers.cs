namespace FedLearn.Diagnostics;

/// <summary>Calls the handlers of an event, which are somebody else's code.</summary>
internal static class EventHandlers
{
    /// <summary>Calls every handler. What one of them throws replaces neither what happens to the caller nor what the others are told.</summary>
    /// <param name="handlers">The event's handlers; null for nobody.</param>
    /// <param name="call">Calls one of them.</param>
    /// <param name="failed">Told the type of what one has thrown.</param>
    public static void CallEach<THandler>(THandler? handlers, Action<THandler> call, Action<string> failed) where THandler : Delegate
    {
        foreach (THandler handler in Delegate.EnumerateInvocationList(handlers))
            try
            {
                call(handler);
            }
#pragma warning disable CA1031 // somebody else's code
            catch (Exception e)
#pragma warning restore CA1031
            {
                failed(e.GetType().Name);
            }
    }
}
