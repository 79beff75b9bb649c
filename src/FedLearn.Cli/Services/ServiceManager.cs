using System.Globalization;
using System.Net.Sockets;
using Microsoft.Extensions.Hosting.Systemd;

namespace FedLearn.Cli.Services;

/// <summary>What every verb that stays does for those who run it: lines of a log that are read long after, and notices to the service manager.</summary>
internal static class ServiceManager
{
    /// <summary>A log whose lines say when, in UTC.</summary>
    /// <param name="log">Told the lines.</param>
    public static Action<string?> Dated(Action<string?> log) =>
        text => log(text is null ? null : string.Create(CultureInfo.InvariantCulture, $"{TimeProvider.System.GetUtcNow():yyyy-MM-dd'T'HH:mm:ss'Z'} {text}"));

    /// <summary>Tells the service manager; says nothing where none listens.</summary>
    /// <param name="state">What there is to tell.</param>
    /// <param name="log">Told where the manager does not answer.</param>
    public static void Notify(ServiceState state, Action<string?> log)
    {
        try
        {
            new SystemdNotifier().Notify(state);
        }
        catch (SocketException)
        {
            log("warning: the service manager behind NOTIFY_SOCKET does not answer");
        }
    }
}
