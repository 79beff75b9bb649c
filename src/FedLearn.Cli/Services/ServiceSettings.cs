using FedLearn.Cli.RunFiles;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Services;

/// <summary>What a party file says for <c>fedlearn party --service</c>, under <c>service</c>.</summary>
internal sealed record ServiceSettings
{
    /// <summary>Keys of <c>service</c>.</summary>
    public static readonly string[] Keys = ["sessionsPerDay", "longestPauseSeconds"];

    /// <summary>Keys of <c>quotas</c>.</summary>
    public static readonly string[] QuotaKeys = ["joinsPerMinute", "connections", "streams", "sessions", "bytesPerSession", "allConnections"];

    /// <summary>Most connections, calls or sessions that a quota may allow.</summary>
    public const int MostConnections = 1_000_000;

    private const double LargestPause = 3_600;

    /// <summary>Sessions that the active party may begin with a passive party within 24 hours. At least 1; default 24.</summary>
    public int SessionsPerDay { get; init; } = 24;

    /// <summary>Longest pause before a passive party joins again. Above 0 and at most an hour; default 30 seconds.</summary>
    public TimeSpan LongestPause { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Reads the key <c>service</c> of a party file.</summary>
    /// <param name="file">The whole file.</param>
    public static ServiceSettings Of(Section file)
    {
        Section service = file.Object("service");
        var defaults = new ServiceSettings();
        return new ServiceSettings
        {
            SessionsPerDay = service.Count("sessionsPerDay", 1, int.MaxValue) ?? defaults.SessionsPerDay,
            LongestPause = service.Positive("longestPauseSeconds", LargestPause) is { } seconds ? TimeSpan.FromSeconds(seconds) : defaults.LongestPause,
        };
    }

    /// <summary>Reads the key <c>quotas</c> of a party file: what one peer may take of a party that listens.</summary>
    /// <param name="file">The whole file.</param>
    public static GrpcQuotas QuotasOf(Section file)
    {
        Section quotas = file.Object("quotas");
        var defaults = new GrpcQuotas();
        return new GrpcQuotas
        {
            JoinsPerMinute = quotas.Count("joinsPerMinute", 1, int.MaxValue) ?? defaults.JoinsPerMinute,
            Connections = quotas.Count("connections", 1, MostConnections) ?? defaults.Connections,
            Streams = quotas.Count("streams", 1, MostConnections) ?? defaults.Streams,
            Sessions = quotas.Count("sessions", 1, MostConnections) ?? defaults.Sessions,
            BytesPerSession = quotas.Int64("bytesPerSession", 1) ?? defaults.BytesPerSession,
            AllConnections = quotas.Count("allConnections", 1, MostConnections) ?? defaults.AllConnections,
        };
    }
}
