using System.Security.Cryptography;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>A party's run as it is kept between rounds, so that it can go on after a loss. Without a store nothing is kept.</summary>
/// <remarks>The state before a round holds all that the round and those after it depend on and that rounds change: both towers' trainings, the fusion, the best model so far, how far the noise is. The
/// samples are kept once, before the first. What was noised since is kept by the reservation, what was masked since by the run's outbox; both leave again as they were. Everything else is computed again, to the same bits.</remarks>
internal sealed class DssmKeptRun : IDisposable
{
    /// <summary>Releases that outboxes keep at least (1,024), less those of evaluations after training.</summary>
    private const int OutboxMessages = 1000;

    /// <summary>Most messages after training: test, cold users, cold items, and one more.</summary>
    private const int Evaluations = 4;

    private readonly IRunState? _state;
    private readonly DssmRunKind _kind;
    private readonly int _interval;
    private readonly bool _beside;
    private int _newest = -1;
    private Task _writing = Task.CompletedTask;
    private bool _forgotten;

    private DssmKeptRun(IRunState? state, string sessionId, DssmPlan plan, DssmRunKind kind) => (_state, SessionId, _kind, _interval, _beside) = (state, sessionId, kind, Interval(plan), Beside(plan));

    /// <summary>Id of the session in which the run began: the version of its model.</summary>
    public string SessionId { get; }

    /// <summary>What a run that goes on began with, as <see cref="Begin"/> kept it; null: it begins.</summary>
    public StateReader? Began { get; private init; }

    /// <summary>The state that the run goes on with; null: it begins.</summary>
    public StateReader? Restored { get; private init; }

    /// <summary>What a report must say of the charge of a run that was forgotten; null for nothing.</summary>
    public string? Unsettled { get; private init; }

    /// <summary>The rounds before which the run went on, this time included.</summary>
    public IReadOnlyList<int> Resumed { get; private init; } = [];

    /// <summary>The round that comes first.</summary>
    public int First { get; private init; }

    /// <summary>Whether anything is kept, and not forgotten yet.</summary>
    public bool IsKept => _state is not null && !_forgotten;

    /// <summary>Id of the run; null where nothing is kept.</summary>
    public string? RunId => _state?.Run.RunId;

    /// <summary>Where masked messages are kept.</summary>
    public IMaskedOutbox? Outbox => _state?.Outbox;

    /// <summary>Rounds between two states. In private jobs, and under masks, at most so many that all messages since the older of two states stay in the outboxes; the same at every party.</summary>
    public static int Interval(DssmPlan plan) => plan.OneShot ? int.MaxValue
        : plan.Private || plan.Job.MaskedSum ? Math.Min(plan.Job.Training.CheckpointRounds, Math.Max(1, OutboxMessages / (2 * PerRound(plan))))
        : plan.Job.Training.CheckpointRounds;

    /// <summary>Whether the rounds may go on while a state is written: where outboxes need not reach back to the state before it.</summary>
    public static bool Beside(DssmPlan plan) => !plan.Private && !plan.Job.MaskedSum && Interval(plan) > 1;

    /// <summary>How many of the newest messages, and values that stay, must be found again.</summary>
    public static long Reach(DssmPlan plan) => plan.OneShot ? Evaluations : 2L * Interval(plan) * PerRound(plan) + Evaluations;

    // The active party may send one message to each view; a view under masks sends one more at the end of an epoch; claim full keeps two values that stay at the party.
    private static int PerRound(DssmPlan plan) => Math.Max(plan.Full || plan.Job.MaskedSum ? 2 : 1, plan.SharedGradient ? 1 : plan.Views.Count);

    /// <summary>Forgets a run that was cut off, so that the party begins anew: what left counts in full.</summary>
    /// <returns>As <see cref="CutOffRuns.Forget"/>.</returns>
    public static string? Forget(IRunStore store, CutOffRun run, IPrivacyLedger? ledger) => CutOffRuns.Forget(store, run, ledger, static (_, messages) => messages == 0 ? 0 : 1);

    /// <summary>What the party can go on with, for its request to join.</summary>
    /// <exception cref="ConfigurationException">FL2545: the run began with another number of threads.</exception>
    public static ResumeOffer? Offer(IRunStore? store, string party, SessionTerms terms, DssmRunKind kind)
    {
        if (store?.Find(party, terms.TermsDigest) is not { } run)
            return null;
        using IRunState state = store.Continue(run);
        StateReader reader;
        try
        {
            reader = StartOf(state, kind);
        }
        catch (ConfigurationException e) when (e.Id == RunStateErrors.Unusable)
        {
            return null;
        }

        // With other data this is another run; what was sent in the earlier one stays charged.
        if (!reader.Bytes("data").Span.SequenceEqual(kind.Data.Value))
            return null;
        if (reader.Integer("threads") is var began && began != kind.Threads)
            throw new ConfigurationException(DssmErrors.OtherThreads, $"party '{party}'", $"a run of this job that was cut off began with {began} threads, and another number may round otherwise.",
                $"Set training.threads to {began}; or remove the run's state beside the ledger, to begin a new run, which in a private mode is charged by itself.");
        return new ResumeOffer(run.Run.SessionId, run.Rounds);
    }

    /// <summary>Goes on with what all parties agreed to go on with, or begins.</summary>
    public static DssmKeptRun Open(IRunStore? store, DssmParty party, SessionTerms terms, SessionAgreement agreement, DssmRunKind kind)
    {
        if (store is null)
            return new DssmKeptRun(null, agreement.SessionId, party.Plan, kind);
        if (agreement.Resume is not { } point)
        {
            string? unsettled = store.Find(party.Name, terms.TermsDigest) is { } old ? Forget(store, old, party.Input.Ledger) : null;
            IRunState? begun = store.Begin(new RunIdentity(party.Name, terms.TermsDigest, agreement.SessionId, party.Input.RunId ?? PrivacyCharge.NewRunId()));
            // A view under masks cannot go on without the messages that it has masked.
            if (party.Job.MaskedSum && !party.IsActive && begun.Outbox is null)
            {
                begun.Remove();
                begun.Dispose();
                begun = null;
            }

            return new DssmKeptRun(begun, agreement.SessionId, party.Plan, kind) { Unsettled = unsettled };
        }

        string place = $"run of {party.Place}, round {point.Round}";
        CutOffRun run = store.Find(party.Name, terms.TermsDigest) is { } found && found.Run.SessionId == point.SessionId && found.Rounds.Contains(point.Round) ? found : throw RunStateErrors.Gone(place);
        IRunState state = store.Continue(run);
        try
        {
            StateReader restored = new(kind.Name, state.Read(point.Round), place);
            int[] resumed = [.. restored.Integers("resumed"), point.Round];
            // Written at once, so that this attempt is counted however it ends.
            state.Write(point.Round, restored.CopyWith(kind.Name, "resumed", resumed));
            return new DssmKeptRun(state, point.SessionId, party.Plan, kind) { Began = StartOf(state, kind), Restored = restored, First = point.Round, Resumed = resumed, _newest = run.Rounds[^1] };
        }
        catch
        {
            state.Dispose();
            throw;
        }
    }

    /// <summary>Keeps what the run begins with and no round changes; of a run that goes on it is kept already.</summary>
    public void Begin(Action<StateWriter> add)
    {
        if (_state is null || Restored is not null)
            return;
        StateWriter writer = new StateWriter(_kind.Name).Add("data", _kind.Data.Value).Add("threads", (long)_kind.Threads);
        add(writer);
        _state.WriteStart(writer.ToArray());
    }

    /// <summary>Keeps the state before a round, where one is due; what the state holds is added on the thread of towers.</summary>
    /// <remarks>Where the rounds go on while it is written, it is waited for half way to the next one: so no party begins with its next state before every other has this one, and all have one in common at any time.</remarks>
    public async Task KeepAsync(int round, TowerThread thread, Action<StateWriter> add)
    {
        if (_state is null)
            return;
        if (round >= (long)_newest + _interval / 2)
            await _writing.ConfigureAwait(false);
        // After a restart at the older of two states the newer one is kept already, with the same content.
        if (round % _interval != 0 || round <= _newest)
            return;
        byte[] bytes = await thread.RunAsync(() =>
        {
            StateWriter writer = new StateWriter(_kind.Name).Add("resumed", Resumed.ToArray());
            add(writer);
            return writer.ToArray();
        }).ConfigureAwait(false);
        _newest = round;
        if (_beside && round > 0)
            _writing = Task.Run(() => Write(round, bytes));
        else
            Write(round, bytes);
    }

    /// <summary>Forgets the run: it has ended, or will never go on.</summary>
    public void Forget()
    {
        Settle();
        _state?.Remove();
        _forgotten = true;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        Settle();
        _state?.Dispose();
    }

    private void Write(int round, byte[] bytes)
    {
        _state!.Write(round, bytes);
        CryptographicOperations.ZeroMemory(bytes);
    }

    // Waits for the state that is being written, whether or not that succeeds: the states before it serve as well, and the run has ended or failed by itself.
    private void Settle() => Task.WhenAny(_writing).GetAwaiter().GetResult();

    private static StateReader StartOf(IRunState state, DssmRunKind kind) => new(kind.Name, state.ReadStart(), $"run of party '{state.Run.Party}', its start");
}

/// <summary>What a party's states belong to.</summary>
/// <param name="Name">Kind and version of the states.</param>
/// <param name="Data">Digest of its data, found when it is asked for.</param>
/// <param name="Threads">Threads of its towers.</param>
internal sealed record DssmRunKind(string Name, Lazy<byte[]> Data, int Threads);
