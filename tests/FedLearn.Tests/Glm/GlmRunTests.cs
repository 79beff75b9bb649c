using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Parties;

namespace FedLearn.Tests.Glm;

public class GlmRunTests
{
    private static readonly RunIdentity Identity = new("bank", new byte[32], "session", new string('0', 32));

    [Fact]
    public async Task Keep_StoreIsSlow_RoundsGoOnUntilHalfWayToTheNext()
    {
        var store = new SlowStore();
        using GlmRun run = Begun(store, every: 4);
        run.Keep(4, _ => { });
        Assert.False(run.BeginRound(5));
        Assert.Equal([0], store.Written);
        Task<int[]> halfWay = Task.Run(() =>
        {
            run.BeginRound(6);
            return store.Written;
        });
        store.Open.Set();
        int[] written = await halfWay;
        Assert.Equal([0, 4], written);
    }

    [Fact]
    public void Keep_StoreFails_IsToldHalfWayToTheNext()
    {
        var store = new SlowStore { Fails = true };
        store.Open.Set();
        using GlmRun run = Begun(store, every: 4);
        run.Keep(4, _ => { });
        Assert.Throws<IOException>(() => run.BeginRound(6));
    }

    [Fact]
    public void Keep_StateOfEachRound_IsThereAtOnce()
    {
        var store = new SlowStore();
        store.Open.Set();
        using GlmRun run = Begun(store, every: 1);
        run.Keep(1, _ => { });
        Assert.Equal([0, 1], store.Written);
        store.Fails = true;
        Assert.Throws<IOException>(() => run.Keep(2, _ => { }));
    }

    [Fact]
    public async Task Dispose_StateIsBeingWritten_WaitsForIt()
    {
        var store = new SlowStore();
        GlmRun run = Begun(store, every: 4);
        run.Keep(4, _ => { });
        Task<int[]> disposed = Task.Run(() =>
        {
            run.Dispose();
            return store.Written;
        });
        store.Open.Set();
        int[] written = await disposed;
        Assert.Equal([0, 4], written);
    }

    [Fact]
    public void Keep_ListOfCommonRows_IsKeptOnce()
    {
        const int Rows = 10_000;
        var store = new SlowStore();
        store.Open.Set();
        using GlmRun run = GlmRun.New(store, Identity, every: 1);
        run.Begin(new GlmRunStart(new AlignedRows([.. Enumerable.Range(0, Rows)], [], []), null, new byte[32], new byte[32], 1));
        for (int round = 1; round <= 3; round++)
            run.Keep(round, _ => { });
        Assert.Equal([0, 1, 2, 3], store.Written);
        Assert.InRange(store.StartBytes, Rows * sizeof(int), (Rows * sizeof(int)) + 1000);
        Assert.InRange(store.StateBytes, 1, 1000);
    }

    [Fact]
    public void GoOn_JobOfTheOthersHasChanged_IsRefused()
    {
        InMemoryRunStore store = CutOff(out CutOffRun run);
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => GlmRun.GoOn(store, run, 0, every: 4, Enumerable.Repeat((byte)1, 32).ToArray()));
        Assert.Equal(GlmErrors.RunChanged, error.Id);
        Assert.Contains("the columns of another party", error.Cause, StringComparison.Ordinal);
        using GlmRun going = GlmRun.GoOn(store, run, 0, every: 4, new byte[32]);
        Assert.Equal([0], going.Resumed);
    }

    [Fact]
    public void GoOn_AttemptThatEndsBeforeItsFirstState_CountsAllTheSame()
    {
        InMemoryRunStore store = CutOff(out CutOffRun run);
        GlmRun.GoOn(store, run, 4, every: 4, new byte[32]).Dispose();
        using GlmRun again = GlmRun.GoOn(store, run, 4, every: 4, new byte[32]);
        Assert.Equal([4, 4], again.Resumed);
    }

    [Fact]
    public void Forget_RunThatWasCutOff_IsFoundNoLonger()
    {
        InMemoryRunStore store = CutOff(out CutOffRun run);
        CutOffRuns.Forget(store, run, ledger: null, (_, _) => 1);
        Assert.Null(store.Find(Identity.Party, Identity.TermsDigest));
    }

    /// <summary>A run with states before rounds 0 and 4.</summary>
    private static InMemoryRunStore CutOff(out CutOffRun run)
    {
        var store = new InMemoryRunStore();
        using (GlmRun begun = Begun(store, every: 4))
            begun.Keep(4, _ => { });
        run = store.Find(Identity.Party, Identity.TermsDigest)!;
        return store;
    }

    private static GlmRun Begun(IRunStore store, int every)
    {
        GlmRun run = GlmRun.New(store, Identity, every);
        run.Begin(new GlmRunStart(new AlignedRows([0, 1], [], []), null, new byte[32], new byte[32], 1));
        return run;
    }

    /// <summary>Keeps no state after that before round 0 until it is opened.</summary>
    private sealed class SlowStore : IRunStore, IRunState
    {
        private readonly Lock _lock = new();
        private readonly List<int> _written = [];

        public ManualResetEventSlim Open { get; } = new();

        public bool Fails { get; set; }

        public int StartBytes { get; private set; }

        public int StateBytes { get; private set; }

        public int[] Written
        {
            get
            {
                lock (_lock)
                    return [.. _written];
            }
        }

        public RunIdentity Run => Identity;

        public CutOffRun? Find(string party, ReadOnlyMemory<byte> termsDigest) => null;

        public IRunState Begin(RunIdentity run) => this;

        public IRunState Continue(CutOffRun run) => this;

        public ReadOnlyMemory<byte> ReadStart() => throw new InvalidOperationException();

        public void WriteStart(ReadOnlySpan<byte> start) => StartBytes += start.Length;

        public ReadOnlyMemory<byte> Read(int round) => throw new InvalidOperationException();

        public void Write(int round, ReadOnlySpan<byte> state)
        {
            if (round > 0)
                Open.Wait();
            if (round > 0 && Fails)
                throw new IOException("The store fails.");
            lock (_lock)
                _written.Add(round);
            StateBytes += state.Length;
        }

        public void Remove() { }

        public void Dispose() { }
    }
}
