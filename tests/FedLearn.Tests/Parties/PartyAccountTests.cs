using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Tests.Dssm;
using FedLearn.Tests.Privacy;

namespace FedLearn.Tests.Parties;

public sealed class PartyAccountTests
{
    private static readonly DataSetIdentity People = DataSetIdentity.Of(new byte[32]);

    private readonly CountingLedger _ledger = new();

    private Account Open() => new(_ledger);

    /// <summary>What was settled to nothing told nothing, whatever its noise was; a charge of labels is warned of as that.</summary>
    [Theory]
    [InlineData(1, PrivacyUnit.Record, true, "test noise")]
    [InlineData(0, PrivacyUnit.Record, true, null)]
    [InlineData(1, PrivacyUnit.Record, false, "disclosed what this party sent")]
    [InlineData(1, PrivacyUnit.Label, false, "protected labels only")]
    public void Caveats_OfOneCharge_SayWhatSumsCannot(double share, PrivacyUnit unit, bool testNoise, string? said)
    {
        PrivacyCharge charge = TestCharge.New() with { Mechanism = testNoise ? "gaussian" : PrivacyCharge.Disclosed + "scores", Unit = unit, TestNoise = testNoise };
        IReadOnlyList<string> caveats = IPrivacyLedger.Caveats([new LedgerEntry(charge, ChargeState.Settled, share, default)], "bank", People);
        Assert.Equal(said is null ? 0 : 1, caveats.Count);
        Assert.All(caveats, caveat => Assert.Contains(said!, caveat, StringComparison.Ordinal));
        Assert.Empty(IPrivacyLedger.Caveats([new LedgerEntry(charge, ChargeState.Settled, share, default)], "bank", People, exceptRun: charge.RunId));
    }

    [Fact]
    public void Reserve_InMemoryWithAKeptRelease_IsSettledInFull()
    {
        var ledger = new InMemoryLedger();
        PrivacyCharge charge = TestCharge.New() with { Mechanism = "labels", Unit = PrivacyUnit.Label, PureEpsilon = 1, MuSquared = 0 };
        using (IPrivacyReservation reservation = ledger.Reserve(charge, new KeptRelease("labels", new byte[1])))
            reservation.Settle(0);
        Assert.Equal(1, Assert.Single(ledger.Entries).PureEpsilon);
    }

    [Fact]
    public void Dispose_AfterSettle_DoesNotReadTheLedger()
    {
        using (Account account = Open())
        {
            Release(account);
            (PrivacyTotal? spent, _) = account.Settle(PrivacyUnit.Record);
            Assert.Equal(2, spent!.PureEpsilon);
            Assert.InRange(_ledger.Reads, 1, 2);
            _ledger.Reads = 0;
        }

        Assert.Equal(0, _ledger.Reads);
    }

    [Fact]
    public void Dispose_WithoutSettle_SettlesAndDoesNotReadTheLedger()
    {
        using (Open())
            Assert.Empty(_ledger.Inner.Entries);
        using (Account account = Open())
            Release(account);
        Assert.Equal(0, _ledger.Reads);
        Assert.Equal(ChargeState.Settled, Assert.Single(_ledger.Inner.Entries).State);
    }

    [Fact]
    public void Dispose_LedgerFails_KeepsTheErrorThatEndedTheRunAndReleasesTheReservation()
    {
        _ledger.Fails = true;
        Assert.Throws<InvalidDataException>((Action)(() =>
        {
            using Account account = Open();
            Release(account);
            throw new InvalidDataException();
        }));
        Assert.Equal(1, _ledger.Disposed);
        Assert.Equal(ChargeState.Reserved, Assert.Single(_ledger.Inner.Entries).State);
    }

    [Fact]
    public void Settle_LedgerFails_SaysThatTheChargeStays()
    {
        _ledger.Fails = true;
        using Account account = Open();
        Release(account);
        (PrivacyTotal? spent, LedgerWords words) = account.Settle(PrivacyUnit.Record);
        Assert.Null(spent);
        Assert.Equal("the end of this run could not be written to the ledger (FL6312), where it stays charged in full", Assert.Single(words.Warnings));
    }

    [Fact]
    public void Settle_LedgerCannotBeRead_SaysThatTheTotalIsMissing()
    {
        using Account account = Open();
        Release(account);
        _ledger.FailsToRead = true;
        (PrivacyTotal? spent, LedgerWords words) = account.Settle(PrivacyUnit.Record);
        Assert.Null(spent);
        Assert.Contains("(FL6312)", Assert.Single(words.Warnings), StringComparison.Ordinal);
        Assert.Equal(ChargeState.Settled, Assert.Single(_ledger.Inner.Entries).State);
    }

    [Theory]
    [InlineData(true, "the end of a run of this job that was cut off could not be written to the ledger (FL6312), where it stays charged in full")]
    [InlineData(false, null)]
    public void Forget_RunThatWasCutOff_SaysWhereTheLedgerFails(bool fails, string? said)
    {
        var run = new RunIdentity("bank", new byte[32], "session", PrivacyCharge.NewRunId());
        var ledger = new KeepingLedger();
        using (var account = new Account(ledger, run.RunId))
        {
            Release(account);
            account.Suspend();
        }

        var store = new InMemoryRunStore();
        store.Begin(run).Write(0, [1]);
        ledger.Fails = fails;
        Assert.Equal(said, CutOffRuns.Forget(store, store.Find("bank", run.TermsDigest)!, ledger, static (_, _) => 1));
        Assert.Equal(fails ? ChargeState.Reserved : ChargeState.Settled, Assert.Single(ledger.Entries).State);
        Assert.Null(store.Find("bank", run.TermsDigest));
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, .25)]
    [InlineData(9, 1)]
    public void Dispose_MessagesOfARun_SettleTheirShare(int kept, double share)
    {
        using (Account account = Open())
        {
            IPrivacyReservation reservation = account.Reserve("laplace: something", new JsonObject(), PrivacyUnit.Record, 9, 2, 0, shareOf: kept == 0 ? null : messages => messages / 4.0);
            for (int i = 0; i < kept; i++)
                reservation.Keep(i, [1]);
        }

        LedgerEntry entry = Assert.Single(_ledger.Inner.Entries);
        Assert.Equal((9, share), (entry.Charge.Messages, entry.Share));
    }

    [Fact]
    public void Forget_RunThatReleasedNothing_CostsNothingAndOtherRunsStayOpen()
    {
        var run = new RunIdentity("bank", new byte[32], "session", PrivacyCharge.NewRunId());
        var ledger = new KeepingLedger();
        foreach (string id in (string[])[PrivacyCharge.NewRunId(), run.RunId])
        {
            using var account = new Account(ledger, id);
            account.Reserve("laplace: something", new JsonObject(), PrivacyUnit.Record, 1, 2, 0);
            account.Suspend();
        }

        var store = new InMemoryRunStore();
        store.Begin(run).Write(0, [1]);
        Assert.Null(CutOffRuns.Forget(store, store.Find("bank", run.TermsDigest)!, ledger, static (_, messages) => messages));
        Assert.Equal([(ChargeState.Reserved, 1.0), (ChargeState.Settled, 0)], ledger.Entries.Select(e => (e.State, e.Share)));
    }

    [Fact]
    public void Forget_RunWhoseChargeIsSettled_LeavesTheLedgerAlone()
    {
        var run = new RunIdentity("bank", new byte[32], "session", PrivacyCharge.NewRunId());
        var ledger = new KeepingLedger();
        using (var account = new Account(ledger, run.RunId))
            Release(account);
        var store = new InMemoryRunStore();
        store.Begin(run).Write(0, [1]);
        Assert.Null(CutOffRuns.Forget(store, store.Find("bank", run.TermsDigest)!, ledger, static (_, _) => .5));
        Assert.Equal((ChargeState.Settled, 1), (Assert.Single(ledger.Entries).State, Assert.Single(ledger.Entries).Share));
    }

    // A linear model charges for a person's row, recommendation perhaps for one of a person's samples: the report says that the two are no sum for a person, whichever came first.
    [Theory]
    [InlineData("user", "sample", true)]
    [InlineData("sample", "user", true)]
    [InlineData("event", "sample", true)]
    [InlineData("sample", "sample", false)]
    [InlineData("user", "user", false)]
    public void Warnings_EarlierChargeForAnotherUnit_SaySo(string earlier, string unit, bool warns)
    {
        using (var before = new Account(_ledger.Inner) { Protects = earlier })
            before.Reserve("gaussian: something", new JsonObject { ["unit"] = earlier == "user" ? null : earlier }, PrivacyUnit.Record, 1, 0, 1).Keep(0, [1]);
        using var account = new Account(_ledger.Inner) { Protects = unit };
        Assert.Equal(warns, account.Words().Warnings.Any(w => w.Contains("for other units", StringComparison.Ordinal)));
    }

    private static void Release(Account account) => account.Reserve("laplace: something", new JsonObject(), PrivacyUnit.Record, 1, 2, 0).Keep(0, [1]);

    private sealed class Account(IPrivacyLedger ledger, string? runId = null)
        : PartyAccount(new AccountedJob("bank", "job", "", Adjacency.ReplaceOne, null, true), ledger, runId, new Lazy<DataSetIdentity>(People))
    {
        public string Protects { get; init; } = Person;

        protected override string Unit => Protects;

        protected override string Claim(PrivacyUnit unit, double pureEpsilon, double muSquared) => "as tested";
    }

    /// <summary>Counts how often a ledger is read.</summary>
    private sealed class CountingLedger : IPrivacyLedger
    {
        public InMemoryLedger Inner { get; } = new();

        public int Reads { get; set; }

        public int Disposed { get; private set; }

        public bool Fails { get; set; }

        public bool FailsToRead { get; set; }

        public string? Warning => null;

        public IReadOnlyList<LedgerEntry> Entries
        {
            get
            {
                Reads++;
                return FailsToRead ? throw Failure() : Inner.Entries;
            }
        }

        public void Check(PrivacyCharge charge) => Inner.Check(charge);

        private static InternalFailureException Failure() => new("FL6312", "ledger", "the storage failed.", "Check the disk.");

        public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null) => new Reservation(this, Inner.Reserve(charge, kept));

        public byte[]? Find(string party, string key) => Inner.Find(party, key);

        private sealed class Reservation(CountingLedger ledger, IPrivacyReservation inner) : IPrivacyReservation
        {
            public string RunId => inner.RunId;

            public int Kept => inner.Kept;

            public byte[]? Find(int index) => inner.Find(index);

            public void Keep(int index, ReadOnlySpan<byte> message) => inner.Keep(index, message);

            public void Settle(double share)
            {
                if (ledger.Fails)
                    throw Failure();
                inner.Settle(share);
            }

            public void Dispose()
            {
                ledger.Disposed++;
                inner.Dispose();
            }
        }
    }
}
