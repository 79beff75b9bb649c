using System.Security.Cryptography;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;

namespace FedLearn.Glm;

/// <summary>What a run knows before round 0, so that one that goes on neither aligns again nor asks again.</summary>
/// <param name="Aligned">The common rows, and what finding them told.</param>
/// <param name="Classes">Number of classes, where the active party told it; null where the job declares it.</param>
/// <param name="JobDigest">Digest of the job.</param>
/// <param name="Inputs">Digest of what the party brings.</param>
/// <param name="Batches">Batches an epoch.</param>
internal sealed record GlmRunStart(AlignedRows Aligned, int? Classes, ReadOnlyMemory<byte> JobDigest, ReadOnlyMemory<byte> Inputs, int Batches);

/// <summary>A party's run as its store keeps it: the state between rounds, and where this process goes on.</summary>
internal sealed class GlmRun : IDisposable
{
    private const string Kind = "glm 2", Alignment = "rows";

    private readonly IRunState _state;
    private readonly int _every;
    private GlmRunStart? _start;
    private Task _writing = Task.CompletedTask;
    private int _writes;

    private GlmRun(IRunState state, int every) => (_state, _every) = (state, every);

    /// <summary>Id of the run for the ledger.</summary>
    public string RunId => _state.Run.RunId;

    /// <summary>The round that this process begins with.</summary>
    public int First { get; private set; }

    /// <summary>The state before that round; null where it is round 0, before which there is nothing to know but <see cref="Start"/>.</summary>
    public StateReader? Before { get; private set; }

    /// <summary>What was known before round 0; null in a new run until <see cref="Begin"/>.</summary>
    public GlmRunStart? Start => _start;

    /// <summary>The rounds before which the run went on after it was cut off, this time included.</summary>
    public IReadOnlyList<int> Resumed { get; private set; } = [];

    /// <summary>Whether the states of a job are kept: a cryptosystem's keys end with their session, and a ledger in memory has lost what was sent.</summary>
    public static bool Keeps(GlmPlan plan, GlmPartyInput input) => input.Runs is not null && plan.Job.Parties.Count > 1 && plan.Job.Training.CheckpointRounds > 0
        && !JointRules.Covers(plan.Mode) && !(plan.Private && input.Ledger is null or Privacy.InMemoryLedger);

    /// <summary>A new run.</summary>
    public static GlmRun New(IRunStore runs, RunIdentity run, int every) => new(runs.Begin(run), every);

    /// <summary>Goes on with a run.</summary>
    /// <param name="runs">The store.</param>
    /// <param name="run">The run.</param>
    /// <param name="round">The round that comes next.</param>
    /// <param name="every">Rounds between two states.</param>
    /// <param name="jobDigest">Digest of the job as the parties have agreed on it now.</param>
    public static GlmRun GoOn(IRunStore runs, CutOffRun run, int round, int every, ReadOnlyMemory<byte> jobDigest)
    {
        var going = new GlmRun(runs.Continue(run), every);
        try
        {
            StateReader state = Reader(going._state.Read(round), run.Run, $"round {round}");
            going._start = StartOf(going._state);
            if (!going._start.JobDigest.Span.SequenceEqual(jobDigest.Span))
                throw Changed($"run of party '{run.Run.Party}'", "the columns of another party have changed since the run was cut off.");
            going.First = round;
            going.Before = round > 0 ? state : null;
            going.Resumed = [.. state.Integers("resumed"), round];
            // Written at once, so that this attempt is counted however it ends.
            going._state.Write(round, state.CopyWith(Kind, "resumed", [.. going.Resumed]));
            return going;
        }
        catch
        {
            going.Dispose();
            throw;
        }
    }

    /// <summary>Refuses to go on with a run whose party has brought something else than it brings now.</summary>
    public static void CheckInputs(IRunStore runs, CutOffRun run, GlmPlan plan, GlmPartyInput input)
    {
        using IRunState state = runs.Continue(run);
        if (!StartOf(state).Inputs.Span.SequenceEqual(DigestOf(plan, input)))
            throw Changed($"party '{input.Party}'", "its data, its split, its earlier model or its test noise has changed since the run was cut off.");
    }

    /// <summary>Forgets a run that was cut off: its charge is settled by the epochs that had begun, as for a run that failed.</summary>
    /// <returns>As <see cref="CutOffRuns.Forget"/>.</returns>
    public static string? Forget(CutOffRun run, GlmPlan plan, GlmPartyInput input) => CutOffRuns.Forget(input.Runs!, run, input.Ledger, (state, messages) =>
    {
        // Each round has a message. An outbox with fewer messages than the states have rounds is another one or an older copy; since the newest state up to 2.5 k more have left (see BeginRound).
        int newest = plan.Mode == PrivacyMode.HdpVfl ? run.Rounds.Max() : 0, left = messages < newest ? newest + 3 * plan.Job.Training.CheckpointRounds : messages;
        return left == 0 ? 0 : plan.Mode == PrivacyMode.HdpVfl ? ShareOf(left, StartOf(state).Batches, plan.Epochs) : 1;
    });

    /// <summary>Share of mu squared that so many messages cost at most: no epoch costs less than an earlier one, and one that was begun counts.</summary>
    public static double ShareOf(int messages, int batches, int epochs) => Math.Min(1, (double)((messages - 1) / batches + 1) / epochs);

    /// <summary>SHA-256 of everything that a party brings and that its results depend on.</summary>
    public static byte[] DigestOf(GlmPlan plan, GlmPartyInput input)
    {
        Table table = input.Table;
        using var digest = new InputDigest();
        digest.Numbers(table.Schema.Fingerprint().Span).Texts(table.Ids);
        if (table.Sparse is { } sparse)
            digest.Numbers(sparse.RowStarts).Numbers(sparse.ColumnIndices).Numbers(sparse.Values);
        else if (table.Cells is MatrixCells { Matrix: var matrix })
            digest.Numbers(matrix.Values);
        else
            AddRows(digest, table.Cells!);
        if (table.Storage != FeatureStorage.Float64)
            digest.Text(table.Storage.ToString());
        digest.Numbers(table.Labels).Numbers(table.Weights).Numbers(table.Offsets);
        digest.Text(plan.Job.Privacy.TestNoiseSeed?.ToString(System.Globalization.CultureInfo.InvariantCulture)).Text(input.WarmStart?.WeightsSha256);
        // Read again where the split is made: a file that is absent is an error there.
        return digest.Text(input.SplitFile is { } split && File.Exists(split) ? Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(split))) : null).Finish();
    }

    private static void AddRows(InputDigest digest, TableCells cells)
    {
        double[] row = new double[cells.Columns];
        for (int i = 0; i < cells.Rows; i++)
            digest.Numbers(cells.Row(i, row));
    }

    /// <summary>Keeps what is known before round 0: beside the states, which of millions of rows would be little but the list of them.</summary>
    public void Begin(GlmRunStart start)
    {
        _start = start;
        StateWriter kept = new(Kind);
        start.Aligned.Save(kept, Alignment);
        _state.WriteStart(kept
            .Add("classes", start.Classes ?? 0)
            .Add("job", start.JobDigest.Span)
            .Add("inputs", start.Inputs.Span)
            .Add("batches", start.Batches)
            .ToArray());
        Keep(0, _ => { });
    }

    /// <summary>Begins a round: waits for the state before an earlier one where it must be written by now.</summary>
    /// <returns>Whether the state before this one is to be kept. Every party keeps it before the same rounds, and the parties are at most a round apart.</returns>
    /// <remarks>The rounds go on while a state is written. Half way to the next one it is waited for: so no party begins with its next state before every other has this one, all have one in
    /// common at any time, and a party has sent at most 2.5 k messages since the older of its two states.</remarks>
    public bool BeginRound(int round)
    {
        if (!_writing.IsCompletedSuccessfully && round >= _writes + _every / 2)
            _writing.GetAwaiter().GetResult();
        return round > First && round % _every == 0;
    }

    /// <summary>Keeps the state before a round: that before round 0 at once, and every one where each round has its own, others on a thread of the pool.</summary>
    public void Keep(int round, Action<StateWriter> add)
    {
        _writing.GetAwaiter().GetResult();
        StateWriter state = new StateWriter(Kind).Add("resumed", [.. Resumed]);
        add(state);
        byte[] bytes = state.ToArray();
        _writes = round;
        if (round == 0 || _every == 1)
            _state.Write(round, bytes);
        else
            _writing = Task.Run(() => _state.Write(round, bytes));
    }

    /// <summary>Forgets the state: the run has ended. One that cannot be removed is no reason to lose what the run achieved.</summary>
    public void Remove()
    {
        try
        {
            Settle();
            _state.Remove();
        }
        catch (FedLearnException)
        {
            // Whoever goes on with it is told that it has ended (FL5023), or recomputes what it achieved.
        }
    }

    public void Dispose()
    {
        Settle();
        _state.Dispose();
    }

    // Waits for the state that is being written, whether or not that succeeds: the states before it serve as well, and the run has ended or failed by itself.
    private void Settle() => Task.WhenAny(_writing).GetAwaiter().GetResult();

    private static StateReader Reader(ReadOnlyMemory<byte> bytes, RunIdentity run, string part) => new(Kind, bytes, $"run of party '{run.Party}', {part}");

    private static GlmRunStart StartOf(IRunState state)
    {
        StateReader start = Reader(state.ReadStart(), state.Run, "its start");
        return new(KeptAlignment.Load(start, Alignment), start.Integer32("classes") is var classes and > 0 ? classes : null,
            start.Bytes("job"), start.Bytes("inputs"), Math.Max(1, start.Integer32("batches")));
    }

    private static ConfigurationException Changed(string place, string cause) => new(GlmErrors.RunChanged, place, cause,
        "Put back what it was, or begin anew (fedlearn: --fresh); in a private mode the new run is charged by itself.");
}
