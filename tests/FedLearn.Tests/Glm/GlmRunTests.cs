using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Tests.Dssm;

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

    /// <summary>Without its state before round 0 a run could not go on: it does not begin.</summary>
    [Fact]
    public void Begin_StoreFails_IsToldAtOnce() => Assert.Throws<IOException>(() => Begun(new SlowStore { FailsAtOnce = true }, every: 4));

    [Fact]
    public void Keep_StateBeforeFailed_IsTold()
    {
        var store = new SlowStore { Fails = true };
        store.Open.Set();
        using GlmRun run = Begun(store, every: 4);
        run.Keep(4, _ => { });
        Assert.Throws<IOException>(() => run.Keep(8, _ => { }));
    }

    [Theory]
    [InlineData(false, SlowStore.Closed)]
    [InlineData(true, SlowStore.Removed)]
    public async Task End_StateIsBeingWritten_WaitsForIt(bool removes, int end)
    {
        var store = new SlowStore();
        GlmRun run = Begun(store, every: 4);
        run.Keep(4, _ => { });
        Task<int[]> ended = Task.Run(() =>
        {
            if (removes)
                run.Remove();
            else
                run.Dispose();
            return store.Written;
        });
        store.Open.Set();
        int[] written = await ended;
        Assert.Equal([0, 4, end], written);
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
    public void GoOn_StateBeforeARound_TellsWhatIsKeptAndIsNotWrittenAgain()
    {
        var store = new InMemoryRunStore();
        using (GlmRun begun = GlmRun.New(store, Identity, every: 4))
        {
            begun.Begin(new GlmRunStart(new AlignedRows([2, 0], ["leak"], ["warning"]), 3, new byte[32], new byte[] { 7 }, 5));
            begun.Keep(4, _ => { });
        }

        using (GlmRun going = GlmRun.GoOn(store, store.Find(Identity.Party, Identity.TermsDigest)!, 4, every: 4, new byte[32]))
        {
            GlmRunStart start = going.Start!;
            Assert.Equal((3, 5, 4), (start.Classes, start.Batches, going.First));
            Assert.Equal([2, 0], start.Aligned.Rows);
            Assert.Equal(["leak", "warning"], start.Aligned.Leaks.Concat(start.Aligned.Warnings));
            Assert.Equal([7], start.Inputs.ToArray());
            Assert.NotNull(going.Before);
            Assert.Equal((false, true), (going.BeginRound(4), going.BeginRound(8)));
            going.Keep(8, _ => { });
        }

        using GlmRun again = GlmRun.GoOn(store, store.Find(Identity.Party, Identity.TermsDigest)!, 8, every: 4, new byte[32]);
        Assert.Equal([4, 8], again.Resumed);
    }

    [Fact]
    public void GoOn_BeforeRoundZero_HasNoStateToReadAndOneOfAnotherJobIsClosed()
    {
        var store = new SlowStore();
        InMemoryRunStore kept = CutOff(out CutOffRun run);
        using (GlmRun going = GlmRun.GoOn(kept, run, 0, every: 4, new byte[32]))
            Assert.Null(going.Before);
        Assert.Throws<InvalidOperationException>(() => GlmRun.GoOn(store, run, 0, every: 4, new byte[32]));
        Assert.Equal([SlowStore.Closed], store.Written);
    }

    /// <summary>Of the numbers of each point one is missing, or the round is none.</summary>
    [Theory]
    [InlineData(7, 1)]
    [InlineData(8, 1e300)]
    public void GoOn_HistoryThatIsNone_IsDamage(int numbers, double round)
    {
        var store = new InMemoryRunStore();
        using (GlmRun begun = Begun(store, every: 4))
            begun.Keep(4, state => state.Add("weights", [0.5]).Add("history", [round, .. new double[numbers - 1]]).Add("times", new double[4]));
        using GlmRun going = GlmRun.GoOn(store, store.Find(Identity.Party, Identity.TermsDigest)!, 4, every: 4, new byte[32]);
        var part = new LinearPart(new DenseMatrix(2, 1), freeIntercept: false, 1);
        GlmPlan plan = GlmPlan.Create(new GlmJob { Name = "job", Model = new() { Family = GlmFamilies.Gaussian }, Parties = [new() { Party = new("bank", PartyRole.Active) }] });
        var work = new GlmWork { Plan = plan, Party = "bank", Layout = new BatchLayout(2, 1), Train = part, Test = part, EpsilonAfter = null, Progress = null, Run = going };
        Assert.Equal(RunStateErrors.Unusable, Assert.Throws<ConfigurationException>(() => work.GoOn(new RoundClock(work), new double[1], null)).Id);
    }

    [Fact]
    public void GoOn_AttemptThatEndsBeforeItsFirstState_CountsAllTheSame()
    {
        InMemoryRunStore store = CutOff(out CutOffRun run);
        GlmRun.GoOn(store, run, 4, every: 4, new byte[32]).Dispose();
        using GlmRun again = GlmRun.GoOn(store, run, 4, every: 4, new byte[32]);
        Assert.Equal([4, 4], again.Resumed);
    }

    /// <summary>States help where there is somebody to lose, and where what was noised is kept by a ledger that outlives the process; encrypted gradients are not kept.</summary>
    [Theory]
    [InlineData(PrivacyMode.None, 2, 100, false, true)]
    [InlineData(PrivacyMode.None, 1, 100, false, false)]
    [InlineData(PrivacyMode.None, 2, 0, false, false)]
    [InlineData(PrivacyMode.He, 2, 100, true, false)]
    [InlineData(PrivacyMode.HdpVfl, 2, 100, true, true)]
    [InlineData(PrivacyMode.HdpVfl, 2, 100, false, false)]
    public void Keeps_JobAndLedger_WhereARunCanGoOn(PrivacyMode mode, int parties, int every, bool file, bool keeps)
    {
        bool isPrivate = mode == PrivacyMode.HdpVfl;
        GlmPlan plan = GlmPlan.Create(new GlmJob
        {
            Name = "job",
            Model = new() { Family = GlmFamilies.Binomial },
            Training = new() { CheckpointRounds = every, WeightNorm = isPrivate ? 1 : null, ResidualClip = isPrivate ? 1 : null },
            Privacy = new() { Mode = mode, Budget = isPrivate ? new(1, 1e-5) : null },
            Parties = [.. ((GlmPartyOptions[])[new() { Party = new("bank", PartyRole.Active) }, new() { Party = new("telco", PartyRole.Passive) }]).Take(parties)],
        });
        foreach (IPrivacyLedger? ledger in (IPrivacyLedger?[])(file ? [new KeepingLedger()] : [null, new InMemoryLedger()]))
        {
            var input = new GlmPartyInput { Party = "bank", Table = Brought(1), Ledger = ledger, Runs = new InMemoryRunStore() };
            Assert.Equal(keeps, GlmRun.Keeps(plan, input));
            Assert.False(GlmRun.Keeps(plan, input with { Runs = null }));
        }
    }

    [Theory]
    [InlineData(1, 4, .5)]
    [InlineData(4, 4, .5)]
    [InlineData(5, 4, 1)]
    [InlineData(99, 4, 1)]
    public void ShareOf_Messages_IsThatOfTheEpochsBegun(int messages, int batches, double share) => Assert.Equal(share, GlmRun.ShareOf(messages, batches, epochs: 2));

    [Fact]
    public void DigestOf_CellsThatAreRead_CountToo()
    {
        GlmPlan plan = GlmPlan.Create(new GlmJob { Name = "job", Model = new() { Family = GlmFamilies.Gaussian }, Parties = [new() { Party = new("bank", PartyRole.Active) }] });
        string Digest(double cell) => Convert.ToHexString(GlmRun.DigestOf(plan, new GlmPartyInput { Party = "bank", Table = Brought(cell) }));
        Assert.Equal(Digest(1), Digest(1));
        Assert.NotEqual(Digest(1), Digest(2));
    }

    private static Table Brought(double cell) => new(TableSchema.Create([Field.Numeric("x")]), ["a"], new ReadCells(cell), new RowInputs(), "test");

    /// <summary>Cells that are no matrix in memory.</summary>
    private sealed class ReadCells(double cell) : TableCells
    {
        internal override int Rows => 1;

        internal override int Columns => 1;

        internal override ReadOnlySpan<double> Row(int row, Span<double> buffer)
        {
            buffer[0] = cell;
            return buffer;
        }
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
        public const int Removed = -1, Closed = -2;

        private readonly Lock _lock = new();
        private readonly List<int> _written = [];

        public ManualResetEventSlim Open { get; } = new();

        public bool Fails { get; set; }

        public bool FailsAtOnce { get; init; }

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
            if (FailsAtOnce || (round > 0 && Fails))
                throw new IOException("The store fails.");
            Note(round);
            StateBytes += state.Length;
        }

        public void Remove() => Note(Removed);

        public void Dispose() => Note(Closed);

        private void Note(int what)
        {
            lock (_lock)
                _written.Add(what);
        }
    }
}
