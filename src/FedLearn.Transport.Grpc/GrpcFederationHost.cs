using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Transport.Grpc;

/// <summary>The active party's gRPC server for one session: passive parties join here and exchange messages with the active party.</summary>
/// <remarks>Also answers <c>grpc.health.v1.Health</c>. Without <see cref="GrpcHostOptions.Security"/> it listens without encryption, hence on this machine only unless told otherwise.</remarks>
public sealed class GrpcFederationHost : IAsyncDisposable
{
    private readonly SharedSession _session;
    private readonly FederationService _service;
    private readonly GrpcServer _server;

    private GrpcFederationHost(SharedSession session, FederationService service, GrpcServer server) => (_session, _service, _server) = (session, service, server);

    /// <summary>Where the host listens, with the actual port.</summary>
    public Uri Address => _server.Address;

    /// <summary>Told of each request to join that was refused: the name the request gave, or the address where it is no request of that kind (FL4005, FL4006), and the error. With <see cref="GrpcHostOptions.Security"/> also of each
    /// connection that came to nothing for a matter of certificates (FL4130 to FL4136, FL4138): the peer's name where it is known, else its address. May be called on any
    /// thread.</summary>
    public event Action<string, FedLearnException>? JoinRefused
    {
        add
        {
            _session.JoinRefused += value;
            _service.Refused += value;
        }

        remove
        {
            _session.JoinRefused -= value;
            _service.Refused -= value;
        }
    }

    /// <summary>Loads and compiles what a host needs, on a thread of the pool, so that the first host of the process listens sooner. For a program that has something else to do before, such as to
    /// read its data. Optional, without effect on anything but time, and done once however often it is called; nothing is listened to.</summary>
    public static void Rehearse() => _ = HostRehearsal.Started;

    /// <summary>Starts listening.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="terms">The job, the active party first.</param>
    /// <param name="cancellationToken">Stops starting.</param>
    /// <returns>The host. Dispose it to stop.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A time or a quota of the settings is out of its range.</exception>
    /// <exception cref="ConfigurationException">FL2530 to FL2534: the settings of identity cannot work.</exception>
    /// <exception cref="PeerException">The address would need encryption (FL4040) or cannot be opened (FL4015).</exception>
    public static async Task<GrpcFederationHost> StartAsync(GrpcHostOptions options, SessionTerms terms, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(terms);
        var session = new SharedSession(terms, options);
        var service = new FederationService(session, options);
        return new GrpcFederationHost(session, service, await GrpcServer.StartAsync(options, service, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Joins the active party itself, waits for every passive party, and then for their channels.</summary>
    /// <param name="ownRequest">What the active party asks.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <returns>The session, with one channel for each passive party in the job's order.</returns>
    /// <exception cref="PeerException">The request is refused (FL4010 to FL4013), or a party did not appear in time (FL4016).</exception>
    public async Task<GrpcSession> JoinAsync(JoinRequest ownRequest, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(ownRequest);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _service.Stopping);
        return await _session.OpenAsync(await _service.JoinAsync(ownRequest, either.Token).ConfigureAwait(false), either.Token).ConfigureAwait(false);
    }

    /// <summary>Says with which error the active party gives up before the session has begun. Parties that wait to join are told so when the host is disposed of, and end with FL4008 instead of
    /// waiting for it to come back. For an error that does not mend itself, such as one of the active party's data; once a session is open its channels say why they end.</summary>
    /// <param name="errorId">Id of the error, FL2nnn, FL3nnn, FL5nnn or FL6nnn; nothing else of it is told.</param>
    /// <exception cref="ArgumentException">It is no such id.</exception>
    public void GiveUp(string errorId)
    {
        // Errors about peers (FL4nnn) are not told: a party that waits would take them for errors about its own peers.
        if (!HeaderText.IsErrorId(errorId) || errorId[2] == '4')
            throw new ArgumentException("The id of an error of this party has the form FL3nnn.", nameof(errorId));
        _service.GiveUp(errorId);
    }

    /// <summary>Closes every channel, lets last frames leave within twice <see cref="GrpcHostOptions.ShutdownTimeout"/>, and stops listening.</summary>
    public ValueTask DisposeAsync() => _server.DisposeAsync();
}
