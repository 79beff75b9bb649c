using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;

namespace FedLearn.Transport.Grpc;

/// <summary>One passive party of a <see cref="GrpcPairHost"/>.</summary>
/// <param name="Terms">What the session is about; its parties are the active and the passive one, in this order.</param>
/// <param name="OwnRequest">With what the active party joins it.</param>
public sealed record GrpcPair(SessionTerms Terms, JoinRequest OwnRequest);

/// <summary>The active party's gRPC server for sessions that last: one with each passive party, joined, lost and joined again independently of the others.</summary>
/// <remarks>The wire is that of <see cref="GrpcFederationHost"/>: a passive party sees a session of two. A party whose session is open cannot join a second time (FL4013).</remarks>
public sealed class GrpcPairHost : IAsyncDisposable
{
    private readonly PairSessions _sessions;
    private readonly FederationService _service;
    private readonly GrpcServer _server;

    private GrpcPairHost(PairSessions sessions, FederationService service, GrpcServer server) => (_sessions, _service, _server) = (sessions, service, server);

    /// <summary>Where the host listens, with the actual port.</summary>
    public Uri Address => _server.Address;

    /// <summary>Told of each request to join that was refused: the name the request gave, and the error. With <see cref="GrpcHostOptions.Security"/> also of each
    /// connection that came to nothing for a matter of certificates (FL4130 to FL4136, FL4138): the peer's name where it is known, else its address. May be called on any
    /// thread.</summary>
    public event Action<string, FedLearnException>? JoinRefused
    {
        add
        {
            _sessions.JoinRefused += value;
            _service.Refused += value;
        }

        remove
        {
            _sessions.JoinRefused -= value;
            _service.Refused -= value;
        }
    }

    /// <summary>Told when a session has ended: the name of the passive party, and the error that ended it, if any. May be called on any thread. What a handler throws is logged, and nothing more.</summary>
    public event Action<string, Exception?>? SessionEnded
    {
        add => _sessions.SessionEnded += value;
        remove => _sessions.SessionEnded -= value;
    }

    /// <summary>Starts listening.</summary>
    /// <param name="options">Settings. With <see cref="ChannelOptions.ReceiveTimeout"/> infinite a session may be idle for any time.</param>
    /// <param name="pairs">One a passive party, at least one.</param>
    /// <param name="serve">Uses a session with one channel until it ends. Called once for each session, at the same time for different parties; the host
    /// closes the session when it returns. Its token is cancelled when the host is disposed.</param>
    /// <param name="cancellationToken">Stops starting.</param>
    /// <returns>The host. Dispose it to stop.</returns>
    /// <exception cref="ArgumentException">There is no pair, or one that is not an active and a passive party.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A time or a quota of the settings is out of its range.</exception>
    /// <exception cref="ConfigurationException">FL2530 to FL2534: the settings of identity cannot work.</exception>
    /// <exception cref="PeerException">The address would need encryption (FL4040) or cannot be opened (FL4015).</exception>
    public static async Task<GrpcPairHost> StartAsync(GrpcHostOptions options, IReadOnlyList<GrpcPair> pairs, Func<GrpcSession, CancellationToken, Task> serve,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(pairs);
        ArgumentNullException.ThrowIfNull(serve);
        if (pairs.Count == 0 || pairs.Any(p => p.Terms.Parties is not [{ Role: PartyRole.Active }, { Role: PartyRole.Passive }]))
            throw new ArgumentException("Each pair is an active and a passive party, and there is at least one.", nameof(pairs));
        var sessions = new PairSessions(pairs, options, serve);
        var service = new FederationService(sessions, options);
        return new GrpcPairHost(sessions, service, await GrpcServer.StartAsync(options, service, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Ends every session, lets last frames leave within twice <see cref="GrpcHostOptions.ShutdownTimeout"/>, and stops listening.</summary>
    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync().ConfigureAwait(false);
        _sessions.Dispose();
    }
}
