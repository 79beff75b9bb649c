using System.Globalization;

namespace FedLearn.Cli.Serving;

/// <summary>How many files, each connection being one, a process may open at a time.</summary>
internal static class OpenFiles
{
    // On systems that do not have the file, such as Windows, nothing is said. The runtime has raised the soft limit to the hard one by now.
    private const string Limits = "/proc/self/limits", Name = "Max open files";

    /// <summary>What is said at the start of a process that may open fewer files than its quota of connections takes: a burst of connections would end it.</summary>
    /// <param name="connections">Most connections at a time. One that is refused is closed a moment later, so that twice as many may be open.</param>
    /// <param name="limits">The limits of the process as Linux writes them; null for those of this one.</param>
    /// <returns>A sentence; null where the limit is enough or not known.</returns>
    public static string? Shortage(int connections, string? limits = null)
    {
        long needed = 2L * connections;
        string? line = (limits ?? Read()).Split('\n').FirstOrDefault(line => line.StartsWith(Name, StringComparison.Ordinal));
        return line?[Name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries) is [var soft, ..] && long.TryParse(soft, NumberStyles.None, CultureInfo.InvariantCulture, out long most) && most < needed
            ? string.Create(CultureInfo.InvariantCulture, $"this process may open {most} files at a time, and quotas.allConnections of {connections} may take {needed}, so that a burst of connections could end it: raise the limit to {needed} (LimitNOFILE of its unit, ulimit -n), or write a quota of at most {most / 2}")
            : null;
    }

    private static string Read()
    {
        try
        {
            return File.ReadAllText(Limits);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
