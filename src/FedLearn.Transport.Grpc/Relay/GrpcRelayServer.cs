using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc;

/// <summary>A connection between two parties through a coordinator.</summary>
/// <param name="Number">Counts the coordinator's connections from 1.</param>
/// <param name="Job">Name of the job.</param>
/// <param name="Purpose">What the session does.</param>
/// <param name="Host">The party that hosts the session.</param>
/// <param name="Party">The party that joined.</param>
public sealed record RelayedConnection(long Number, string Job, string Purpose, string Host, string Party);

/// <summary>What went through a connection.</summary>
/// <param name="ToHost">Bytes to the party that hosts the session, as they crossed the wire but for HTTP/2's own.</param>
/// <param name="FromHost">Bytes the other way.</param>
/// <param name="ErrorId">Why it ended; null when a party closed it.</param>
public sealed record RelayedTraffic(long ToHost, long FromHost, string? ErrorId);

/// <summary>A coordinator: connects parties of which neither has an open port, and passes on bytes that it does not read. It keeps nothing.</summary>
/// <remarks>Serves <c>fedlearn.v1.Relay</c> and <c>grpc.health.v1.Health</c>. Thread-safe.</remarks>
public sealed class GrpcRelayServer : IAsyncDisposable
{
    private readonly RelayService _service;
    private readonly GrpcServer _server;

    private GrpcRelayServer(RelayService service, GrpcServer server) => (_service, _server) = (service, server);

    /// <summary>Where it listens, with the actual port.</summary>
    public Uri Address => _server.Address;

    /// <summary>Connections in progress.</summary>
    public int Connections => _service.Connections;

    /// <summary>Told of each call that was refused: the name the call gave, and the error. May be called on any thread. What a handler throws is logged, and nothing more.</summary>
    public event Action<string, FedLearnException>? Refused
    {
        add => _service.Refused += value;
        remove => _service.Refused -= value;
    }

    /// <summary>Told when two parties are connected. May be called on any thread.</summary>
    public event Action<RelayedConnection>? Opened
    {
        add => _service.Opened += value;
        remove => _service.Opened -= value;
    }

    /// <summary>Told when a connection has ended. May be called on any thread.</summary>
    public event Action<RelayedConnection, RelayedTraffic>? Closed
    {
        add => _service.Closed += value;
        remove => _service.Closed -= value;
    }

    /// <summary>Starts listening.</summary>
    /// <param name="options">Where to listen, the clock, and what one peer may take of the coordinator itself: of its quotas connections, calls and connections of all.</param>
    /// <param name="jobs">The jobs whose parties it connects, each with a name of its own.</param>
    /// <param name="quotas">What a job may ask; null for the defaults.</param>
    /// <param name="cancellationToken">Stops starting.</param>
    /// <returns>The coordinator. Dispose it to stop.</returns>
    /// <exception cref="ArgumentException">Two jobs have the same name, or the options are those of a host that is itself reached through a coordinator.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A quota, or a time of the settings, is out of its range.</exception>
    /// <exception cref="PeerException">The address would need encryption (FL4040) or cannot be opened (FL4015).</exception>
    public static async Task<GrpcRelayServer> StartAsync(GrpcHostOptions options, IReadOnlyList<RelayJob> jobs, RelayQuotas? quotas = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(jobs);
        quotas ??= new RelayQuotas();
        quotas.Validate();
        if (options.Relay is not null)
            throw new ArgumentException("A coordinator listens by itself.", nameof(options));
        var service = new RelayService(jobs, quotas, options);
        return new GrpcRelayServer(service, await GrpcServer.StartAsync(options, service, cancellationToken, RelayDialer.WindowBytes).ConfigureAwait(false));
    }

    /// <summary>Ends in good order: connects nobody any more, waits for the connections in progress, cuts those that last longer, and stops listening.</summary>
    /// <param name="patience">How long connections may go on, by the clock of the options.</param>
    /// <returns>The connections that were cut.</returns>
    public async Task<IReadOnlyList<RelayedConnection>> StopAsync(TimeSpan patience)
    {
        await _service.CloseAsync().ConfigureAwait(false);
        IReadOnlyList<RelayedConnection> cut = await _service.DrainAsync(patience).ConfigureAwait(false);
        await DisposeAsync().ConfigureAwait(false);
        return cut;
    }

    /// <summary>Cuts every connection and stops listening.</summary>
    public ValueTask DisposeAsync() => _server.DisposeAsync();
}
