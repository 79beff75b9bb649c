using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Coordination;

/// <summary>Which run a party's state belongs to.</summary>
/// <param name="Party">Name of the party.</param>
/// <param name="TermsDigest">Digest of the job's terms, 32 bytes.</param>
/// <param name="SessionId">Id of the session in which the run began; the same at every party.</param>
/// <param name="RunId">The party's own id of the run, under which its ledger knows it, 32 hex digits.</param>
public sealed record RunIdentity(string Party, ReadOnlyMemory<byte> TermsDigest, string SessionId, string RunId);

/// <summary>A run that ended without a result, and can go on.</summary>
/// <param name="Run">The run.</param>
/// <param name="Rounds">Rounds before which its state is kept, ascending; at least one.</param>
public sealed record CutOffRun(RunIdentity Run, IReadOnlyList<int> Rounds);

/// <summary>Where a party keeps its state between rounds, so that it can go on with a run after a crash. Thread-safe.</summary>
/// <remarks>The state holds weights and the numbers of common rows: as private as the party's data. Noised messages are kept apart, by the ledger's reservation,
/// and are sent again and never made again.</remarks>
public interface IRunStore
{
    /// <summary>The newest run of a party and terms that was cut off; null for none.</summary>
    /// <param name="party">Name of the party.</param>
    /// <param name="termsDigest">Digest of the job's terms.</param>
    /// <exception cref="FedLearnException">The store cannot be read.</exception>
    CutOffRun? Find(string party, ReadOnlyMemory<byte> termsDigest);

    /// <summary>What <see cref="Find"/> passes over although it may belong to a run of the party and terms: damaged states, each as <c>NAME: cause</c>, for the party's warnings.</summary>
    /// <remarks>Optional. By default nothing is told.</remarks>
    /// <param name="party">Name of the party.</param>
    /// <param name="termsDigest">Digest of the job's terms.</param>
    /// <exception cref="FedLearnException">The store cannot be read.</exception>
    IReadOnlyList<string> PassedOver(string party, ReadOnlyMemory<byte> termsDigest) => [];

    /// <summary>Begins to keep the state of a new run. Those of the same party and terms that were cut off are forgotten.</summary>
    /// <param name="run">The run.</param>
    /// <exception cref="FedLearnException">The store cannot be written.</exception>
    IRunState Begin(RunIdentity run);

    /// <summary>Goes on with a run.</summary>
    /// <param name="run">What <see cref="Find"/> gave.</param>
    /// <exception cref="FedLearnException">Another process goes on with it, or its state is gone.</exception>
    IRunState Continue(CutOffRun run);
}

/// <summary>The kept state of one run, while one process works on it.</summary>
public interface IRunState : IDisposable
{
    /// <summary>The run.</summary>
    RunIdentity Run { get; }

    /// <summary>What the run began with, as <see cref="WriteStart"/> kept it; empty where nothing was.</summary>
    /// <exception cref="FedLearnException">It is damaged or gone.</exception>
    ReadOnlyMemory<byte> ReadStart();

    /// <summary>Keeps what every later state depends on and no round changes, such as the list of common rows: once instead of in each of them, durably and whole.</summary>
    /// <param name="start">What the run begins with.</param>
    /// <exception cref="InvalidOperationException">A state is kept already: what it began with cannot change.</exception>
    void WriteStart(ReadOnlySpan<byte> start);

    /// <summary>The state that was kept before a round.</summary>
    /// <param name="round">One of the rounds of <see cref="CutOffRun.Rounds"/>.</param>
    /// <exception cref="FedLearnException">It is damaged or gone.</exception>
    ReadOnlyMemory<byte> Read(int round);

    /// <summary>Keeps the state before a round, durably and whole: a crash leaves this one or those before it. The newest two are kept, so that parties that were
    /// cut off a round apart have one in common.</summary>
    /// <param name="round">The round that comes next; above the last.</param>
    /// <param name="state">The state.</param>
    void Write(int round, ReadOnlySpan<byte> state);

    /// <summary>Where the run keeps its masked messages; null where the store keeps none, so that a run which sends such cannot go on.</summary>
    IMaskedOutbox? Outbox => null;

    /// <summary>Forgets the state: the run has ended, or will never go on.</summary>
    void Remove();
}

/// <summary>States that live as long as the process, for tests and for a party that outlives its peer.</summary>
public sealed class InMemoryRunStore : IRunStore
{
    private readonly Lock _lock = new();
    private readonly List<State> _states = [];

    /// <inheritdoc />
    public CutOffRun? Find(string party, ReadOnlyMemory<byte> termsDigest)
    {
        lock (_lock)
            return _states.FindLast(s => IsOf(s, party, termsDigest) && s.Rounds.Count > 0) is { } state ? new CutOffRun(state.Run, [.. state.Rounds.Keys]) : null;
    }

    /// <inheritdoc />
    public IRunState Begin(RunIdentity run)
    {
        ArgumentNullException.ThrowIfNull(run);
        lock (_lock)
        {
            _states.RemoveAll(s => IsOf(s, run.Party, run.TermsDigest));
            _states.Add(new State(this, run));
            return _states[^1];
        }
    }

    /// <inheritdoc />
    public IRunState Continue(CutOffRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        lock (_lock)
            return _states.Find(s => s.Run == run.Run) ?? throw RunStateErrors.Gone($"run of party '{run.Run.Party}'");
    }

    private static bool IsOf(State state, string party, ReadOnlyMemory<byte> terms) => state.Run.Party == party && state.Run.TermsDigest.Span.SequenceEqual(terms.Span);

    private sealed class State(InMemoryRunStore store, RunIdentity run) : IRunState
    {
        public RunIdentity Run => run;

        public SortedList<int, byte[]> Rounds { get; } = [];

        private byte[] _start = [];

        public IMaskedOutbox Outbox { get; } = new Messages();

        public ReadOnlyMemory<byte> ReadStart()
        {
            lock (store._lock)
                return _start;
        }

        public void WriteStart(ReadOnlySpan<byte> start)
        {
            lock (store._lock)
                _start = Rounds.Count == 0 ? start.ToArray() : throw new InvalidOperationException("What a run began with is kept before its first state.");
        }

        public ReadOnlyMemory<byte> Read(int round)
        {
            lock (store._lock)
                return Rounds.TryGetValue(round, out byte[]? state) ? state : throw RunStateErrors.Gone($"run of party '{run.Party}', round {round}");
        }

        public void Write(int round, ReadOnlySpan<byte> state)
        {
            lock (store._lock)
            {
                Rounds[round] = state.ToArray();
                if (Rounds.Count > 2)
                    Rounds.RemoveAt(0);
            }
        }

        public void Remove()
        {
            lock (store._lock)
                store._states.Remove(this);
        }

        public void Dispose() { }
    }

    private sealed class Messages : IMaskedOutbox
    {
        private readonly List<byte[]> _kept = [];

        public byte[]? Find(int index) => index < _kept.Count ? _kept[index] : null;

        public void Keep(int index, ReadOnlySpan<byte> message)
        {
            ArgumentOutOfRangeException.ThrowIfNotEqual(index, _kept.Count);
            _kept.Add(message.ToArray());
        }
    }
}
