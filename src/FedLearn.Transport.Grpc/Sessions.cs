using System.Collections.Concurrent;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Transport.Grpc;

/// <summary>The right to one exchange of messages.</summary>
/// <param name="LocalParty">Name of the party on this side.</param>
/// <param name="Open">Takes the channel once it is open; throws when the host stops.</param>
/// <param name="Abandon">Gives the right back when it cannot be opened.</param>
internal sealed record ExchangeClaim(string LocalParty, Action<GrpcPartyChannel> Open, Action Abandon);

/// <summary>Who may join at a host, and whose exchange is whose. Thread-safe.</summary>
internal interface ISessions
{
    /// <summary>Told of each request to join that was refused.</summary>
    event Action<string, FedLearnException>? JoinRefused;

    /// <summary>Name of the party on this side: the active party, or the arbiter in a session of its own.</summary>
    string Host { get; }

    /// <summary>Joins a party.</summary>
    Task<SessionAgreement> JoinAsync(JoinRequest request, CancellationToken cancellationToken);

    /// <summary>Claims the exchange of a passive party in a session.</summary>
    /// <exception cref="RpcException">There is no such session or party, or its exchange is open already.</exception>
    ExchangeClaim Claim(string session, string party);

    /// <summary>Ends every session.</summary>
    Task StopAsync();
}

/// <summary>Refusals of an exchange that every kind of session has.</summary>
internal static class ExchangeRefusal
{
    public static RpcException WrongSession() => new(StatusCode.NotFound, "There is no such session here.", GrpcErrors.WrongSession);

    public static RpcException UnknownParty() => new(StatusCode.NotFound, "The session has no such passive party.", ProtocolErrors.UnknownParty);

    public static RpcException OpenAlready() =>
        new(StatusCode.AlreadyExists, "The exchange of messages with that party is open already, or over.", ProtocolErrors.AlreadyJoined);
}

/// <summary>One session of all parties of a job.</summary>
internal sealed class SharedSession(SessionTerms terms, GrpcHostOptions options) : ISessions
{
    private readonly SessionDesk _desk = new(terms, options.JoinTimeout, options.Channel.Clock, options.LoggerFactory.CreateLogger("FedLearn.Transport.Grpc"));
    private readonly Dictionary<string, TaskCompletionSource<GrpcPartyChannel>> _channels = terms.Parties.Skip(1)
        .ToDictionary(p => p.Name, _ => new TaskCompletionSource<GrpcPartyChannel>(TaskCreationOptions.RunContinuationsAsynchronously));

    private readonly ConcurrentDictionary<string, bool> _claimed = new();
    private volatile SessionAgreement? _agreement;

    public event Action<string, FedLearnException>? JoinRefused
    {
        add => _desk.Refused += value;
        remove => _desk.Refused -= value;
    }

    public string Host => terms.Parties[0].Name;

    // The agreement is known here before any party can be answered, so that no Exchange comes too early.
    public async Task<SessionAgreement> JoinAsync(JoinRequest request, CancellationToken cancellationToken) =>
        _agreement = await _desk.JoinAsync(request, cancellationToken).ConfigureAwait(false);

    public ExchangeClaim Claim(string session, string party)
    {
        if (_agreement is null || session != _agreement.SessionId)
            throw ExchangeRefusal.WrongSession();
        if (!_channels.TryGetValue(party, out TaskCompletionSource<GrpcPartyChannel>? slot))
            throw ExchangeRefusal.UnknownParty();
        if (!_claimed.TryAdd(party, true))
            throw ExchangeRefusal.OpenAlready();
        return new ExchangeClaim(terms.Parties[0].Name, channel =>
        {
            if (!slot.TrySetResult(channel))
                throw new OperationCanceledException("The host stops.");
        }, static () => { });
    }

    /// <summary>Waits, after the host (the first of the terms) has joined, for the channel of every other party.</summary>
    public async Task<GrpcSession> OpenAsync(SessionAgreement agreement, CancellationToken cancellationToken)
    {
        var all = Task.WhenAll(terms.Parties.Skip(1).Select(p => _channels[p.Name].Task));
        try
        {
            return new GrpcSession(agreement, await all.WaitAsync(options.JoinTimeout, options.Channel.Clock, cancellationToken).ConfigureAwait(false));
        }
        catch (TimeoutException e)
        {
            string missing = string.Join(", ", _channels.Where(c => !c.Value.Task.IsCompleted).Select(c => $"'{c.Key}'"));
            throw new PeerException(ProtocolErrors.PartyMissing, $"session of job '{terms.JobName}'",
                $"{missing} joined, but did not open the exchange of messages within {options.JoinTimeout.TotalSeconds:0.#} s.",
                "Look at that party's log, then start the session again.", e);
        }
    }

    public async Task StopAsync()
    {
        foreach (TaskCompletionSource<GrpcPartyChannel> slot in _channels.Values)
            if (!slot.TrySetCanceled() && slot.Task.IsCompletedSuccessfully)
                await slot.Task.Result.DisposeAsync().ConfigureAwait(false);
    }
}
