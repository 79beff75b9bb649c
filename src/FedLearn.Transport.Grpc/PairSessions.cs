using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using Microsoft.Extensions.Logging;

namespace FedLearn.Transport.Grpc;

/// <summary>A session of its own with each passive party. A party joins without waiting for the others, and again after its session has ended.</summary>
internal sealed partial class PairSessions(IReadOnlyList<GrpcPair> pairs, GrpcHostOptions options, Func<GrpcSession, CancellationToken, Task> serve) : ISessions, IDisposable
{
    private readonly ILogger _log = options.LoggerFactory.CreateLogger("FedLearn.Transport.Grpc");
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly Pair[] _pairs = [.. pairs.Select(pair => new Pair(pair))];

    public event Action<string, FedLearnException>? JoinRefused;

    /// <summary>Told when a session has ended: the party, and the error that ended it, if any.</summary>
    public event Action<string, Exception?>? SessionEnded;

    public string Host => pairs[0].Terms.Parties[0].Name;

    public async Task<SessionAgreement> JoinAsync(JoinRequest request, CancellationToken cancellationToken)
    {
        // A party of no pair is refused by whichever pair it is given to.
        Pair pair = _pairs.FirstOrDefault(p => p.Party == request.Party.Name) ?? _pairs[0];
        // A desk for the two of them. Both are there, so nobody waits.
        var desk = new SessionDesk(pair.Settings.Terms, options.JoinTimeout, options.Channel.Clock);
        desk.Refused += (name, refusal) => JoinRefused.Tell(name, refusal, _log);
        Task<SessionAgreement> theirs = desk.JoinAsync(request, cancellationToken);
        SessionAgreement agreement = theirs.IsFaulted ? await theirs.ConfigureAwait(false) : await desk.JoinAsync(pair.Settings.OwnRequest, cancellationToken).ConfigureAwait(false);
        lock (_gate)
        {
            _stopping.Token.ThrowIfCancellationRequested();
            if (pair.Serving is null)
            {
                pair.Agreement = agreement; // replaces a session that was joined and never opened
                return agreement;
            }
        }

        var refusal = new PeerException(ProtocolErrors.AlreadyJoined, $"party '{pair.Party}', joining", "a session with a party of that name is open.",
            "Start each party once. When the earlier one has died, its session ends within a minute.");
        JoinRefused.Tell(pair.Party, refusal, _log);
        throw refusal;
    }

    public ExchangeClaim Claim(string session, string party)
    {
        Pair pair = _pairs.FirstOrDefault(p => p.Party == party) ?? throw ExchangeRefusal.UnknownParty();
        lock (_gate)
        {
            _stopping.Token.ThrowIfCancellationRequested();
            if (pair.Agreement?.SessionId != session)
                throw ExchangeRefusal.WrongSession();
            SessionAgreement agreement = pair.Agreement;
            pair.Agreement = null;
            var opened = new TaskCompletionSource<GrpcPartyChannel?>(TaskCreationOptions.RunContinuationsAsynchronously);
            pair.Serving = ServeAsync(pair, agreement, opened.Task);
            return new ExchangeClaim(pair.Settings.Terms.Parties[0].Name, opened.SetResult, () => opened.TrySetResult(null));
        }
    }

    public async Task StopAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false); // from here on nobody joins and no exchange is claimed
        Task[] serving;
        lock (_gate)
            serving = [.. _pairs.Select(p => p.Serving).OfType<Task>()];

        await Task.WhenAll(serving).ConfigureAwait(false);
    }

    public void Dispose() => _stopping.Dispose();

    private async Task ServeAsync(Pair pair, SessionAgreement agreement, Task<GrpcPartyChannel?> opened)
    {
        Exception? failure = null;
        GrpcPartyChannel? channel = await opened.ConfigureAwait(false);
        try
        {
            if (channel is not null)
            {
                await using var session = new GrpcSession(agreement, [channel]);
                await serve(session, _stopping.Token).ConfigureAwait(false);
            }
        }
#pragma warning disable CA1031 // the last resort of a server: the end of one party's session may not end the others'
        catch (Exception e)
#pragma warning restore CA1031
        {
            failure = e;
        }
        finally
        {
            lock (_gate)
                pair.Serving = null; // also where the session could not be closed: else its party could never join again
        }

        // What a handler throws may not end the host either, which waits for this when it stops.
        if (channel is not null)
            EventHandlers.CallEach(SessionEnded, handler => handler(pair.Party, failure), thrown => LogHandlerFailure(pair.Party, thrown));
    }

    [LoggerMessage(7, LogLevel.Error, "A handler that was told of the end of the session with party {Party} failed: {Failure}.")]
    private partial void LogHandlerFailure(string party, string failure);

    private sealed class Pair(GrpcPair settings)
    {
        public GrpcPair Settings { get; } = settings;

        public string Party { get; } = settings.Terms.Parties[1].Name;

        /// <summary>What was agreed in the last join; null once its exchange is open.</summary>
        public SessionAgreement? Agreement { get; set; }

        /// <summary>The session in progress.</summary>
        public Task? Serving { get; set; }
    }
}
