using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Services;

/// <summary>Options of <c>party --service</c>: from the command line, else from the environment, else the defaults.</summary>
internal sealed record ServiceOptions
{
    /// <summary>How long the end may take once the sessions have ended.</summary>
    public static readonly TimeSpan EndTime = TimeSpan.FromSeconds(8);

    private const double LongestStop = 3_600;

    private readonly IReadOnlyDictionary<string, string> _sources = new Dictionary<string, string>();

    private ServiceOptions(IReadOnlyDictionary<string, string> sources) => _sources = sources;

    /// <summary>Folder of results.</summary>
    public required string Results { get; init; }

    /// <summary>Where health checks are answered; null for nowhere.</summary>
    public Uri? Health { get; init; }

    /// <summary>How long a stop waits for sessions to end.</summary>
    public required TimeSpan StopTime { get; init; }

    /// <summary>Reads the options.</summary>
    /// <param name="overrides">The environment's.</param>
    /// <param name="results">Value of --results; null for none.</param>
    /// <param name="health">Value of --health; null for none.</param>
    /// <param name="stopSeconds">Value of --stop-seconds; null for none.</param>
    /// <exception cref="ConfigurationException">A value cannot be used (FL2006, FL2012).</exception>
    public static ServiceOptions Of(FileOverrides overrides, string? results, string? health, double? stopSeconds)
    {
        var sources = new Dictionary<string, string>();
        string? Text(string option, string variable, string? given)
        {
            string? text = given ?? overrides.Service.GetValueOrDefault(variable);
            sources[option] = given is not null ? "command line" : text is not null ? FileOverrides.ServicePrefix + variable : "default";
            return text;
        }

        string? address = Text("health", "HEALTH", health), seconds = Text("stopSeconds", "STOPSECONDS", stopSeconds?.ToString("R", CultureInfo.InvariantCulture));
        double stop = 30;
        if (seconds is not null && (!double.TryParse(seconds, NumberStyles.Float, CultureInfo.InvariantCulture, out stop) || !(stop > 0) || stop > LongestStop))
            throw new ConfigurationException(RunFileErrors.OutOfRange, Place("stopSeconds", "--stop-seconds"), "the time is no number above 0 and at most 3600.", "Write a number of seconds, such as 30.");
        Uri? listen = null;
        if (!string.IsNullOrEmpty(address) && !IsHealthAddress(address, out listen))
            throw new ConfigurationException(RunFileErrors.Address, Place("health", "--health"), "it is no address of this machine.", "Write an IP address or localhost, and a port, such as 127.0.0.1:9090.");
        string folder = Text("results", "RESULTS", results) ?? "results";
        return new ServiceOptions(sources) { Results = Path.GetFullPath(folder.Length > 0 ? folder : "results"), Health = listen, StopTime = TimeSpan.FromSeconds(stop) };

        string Place(string option, string name) => sources[option] is "command line" ? name : $"environment, {sources[option]}";
    }

    /// <summary>Whether a text is an address to listen at: an IP address or localhost, with a port.</summary>
    /// <param name="text">The text.</param>
    /// <param name="listen">The address.</param>
    internal static bool IsHealthAddress(string text, out Uri? listen) => GrpcAddress.TryParse(text, out listen)
        // A port alone would be read as a host: 9090 is a way to write 0.0.35.130.
        && text.TrimEnd('/').EndsWith(string.Create(CultureInfo.InvariantCulture, $":{listen!.Port}"), StringComparison.Ordinal) && (listen.Host == "localhost" || IPAddress.TryParse(listen.DnsSafeHost, out _));

    /// <summary>The options and where each comes from.</summary>
    public JsonArray Shown() => EffectiveConfiguration.Options(("results", Results, _sources["results"]), ("health", Health?.Authority, _sources["health"]),
        ("stopSeconds", StopTime.TotalSeconds, _sources["stopSeconds"]));
}
