using System.Diagnostics;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;
using FedLearn.Testing;
using Microsoft.Data.Sqlite;

namespace FedLearn.Storage.Tests;

public sealed class SqliteAlignmentLogTests : IDisposable
{
    private static readonly AlignmentCaps Caps = new();

    private readonly TempFolder _folder = new();
    private readonly Clock _clock = new();

    public void Dispose() => _folder.Dispose();

    private string Path => _folder["bank.ledger.db"];

    private SqliteAlignmentLog New() => new(Path, clock: _clock);

    internal static AlignmentRecord Session(int number, string peer = "telco", string party = "bank", long peerIds = 30) =>
        new($"{number:x64}", party, peer, "psi FedLearn-PSI-v1", "both", 20, peerIds, new string('a', 64));

    public static TheoryData<string> Checks => [.. AlignmentLogConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public void SqliteAlignmentLog_Conforms(string check) => AlignmentLogConformance.All[check](clock => new SqliteAlignmentLog(Path, clock: clock));

    [Fact]
    public void Alignments_Reopened_SayWhatWasWritten()
    {
        DateTimeOffset begun = _clock.Now;
        New().Begin(Session(1), Caps);
        New().Begin(Session(2, "shop"), Caps);
        _clock.Now += TimeSpan.FromMinutes(3);
        New().End(Session(1).Session, 17);
        Assert.Equal([new LoggedAlignment(Session(1), begun, _clock.Now, 17), new LoggedAlignment(Session(2, "shop"), begun)], New().Alignments);
        New().End(Session(2).Session, null);
        Assert.Equal((_clock.Now, null), (New().Alignments[1].Ended!.Value, New().Alignments[1].CommonIds));
    }

    [Fact]
    public void Open_NoFile_CreatesItWithTheFirstSessionForTheOwnerAlone()
    {
        SqliteAlignmentLog log = New();
        Assert.Empty(log.Alignments);
        Assert.Empty(_folder.Files);
        log.Begin(Session(1), Caps);
        Assert.Equal(["bank.ledger.db"], _folder.Files);
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path));
    }

    [Fact]
    public void Begin_SameSessionAgain_IsNotCountedAgainAndOtherNumbersAreRefused()
    {
        var once = new AlignmentCaps { SessionsPerDay = 1 };
        New().Begin(Session(1), once);
        New().Begin(Session(1), once);
        Assert.Single(New().Alignments);
        ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.RunReservedOtherwise, () => New().Begin(Session(1, peerIds: 31), once));
        ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.RunReservedOtherwise, () => New().Begin(Session(1, "shop"), once));
        New().End(Session(1).Session, 5);
        New().End(Session(1).Session, 5);
        New().Begin(Session(1), once);
        Assert.Equal((2, 5), (SqliteLedger.Audit(Path).Rows, New().Alignments[0].CommonIds));
    }

    [Fact]
    public void Begin_BeyondTheSessionsOfADay_IsRefusedUntilADayHasPassed()
    {
        var two = new AlignmentCaps { SessionsPerDay = 2 };
        New().Begin(Session(1), two);
        _clock.Now += TimeSpan.FromHours(1);
        New().Begin(Session(2), two);
        New().Begin(Session(3, "shop"), two);
        ErrorAssert.Throws<PrivacyRefusedException>(AlignmentErrors.TooManySessions, () => New().Begin(Session(4), two));
        // A clock that was set back gives nobody more sessions.
        _clock.Now -= TimeSpan.FromDays(30);
        ErrorAssert.Throws<PrivacyRefusedException>(AlignmentErrors.TooManySessions, () => New().Begin(Session(4), two));
        _clock.Now += TimeSpan.FromDays(30) + TimeSpan.FromHours(23);
        New().Begin(Session(4), two);
        ErrorAssert.Throws<PrivacyRefusedException>(AlignmentErrors.TooManySessions, () => New().Begin(Session(5), two));
        Assert.Equal([1, 2, 3, 4], New().Alignments.Select(a => Convert.ToInt32(a.Record.Session, 16)));
    }

    [Fact]
    public void Begin_MoreIdsThanAllowed_IsRefusedAndNotWritten()
    {
        var caps = new AlignmentCaps { PeerIds = 30 };
        ErrorAssert.Throws<PrivacyRefusedException>(AlignmentErrors.TooManyIds, () => New().Begin(Session(1, peerIds: 31), caps));
        Assert.Empty(New().Alignments);
        New().Begin(Session(1, peerIds: 30), caps);
        Assert.Single(New().Alignments);
    }

    [Fact]
    public void Begin_RecordWithANull_IsRefusedAndNotWritten()
    {
        AlignmentRecord whole = Session(1);
        Assert.All([whole with { Session = null! }, whole with { Party = null! }, whole with { Peer = null! }, whole with { Method = null! }, whole with { Output = null! }, whole with { JobDigest = null! }],
            record => Assert.Throws<ArgumentException>(() => New().Begin(record, new AlignmentCaps())));
        Assert.Empty(New().Alignments);
    }

    [Fact]
    public void Begin_BothPartiesInOneFile_AreTwoEntries()
    {
        SqliteAlignmentLog bank = New(), telco = New();
        bank.Begin(Session(1), Caps);
        telco.Begin(Session(1, "bank", "telco"), Caps);
        telco.End(Session(1).Session, 4);
        Assert.Null(New().Alignments[0].Ended);
        bank.End(Session(1).Session, 3);
        Assert.Equal([3, 4], New().Alignments.Select(a => (int)a.CommonIds!.Value));
    }

    [Fact]
    public void Begin_TwoPartiesWithOnePeerInOneFile_EachHaveTheirSessions()
    {
        var once = new AlignmentCaps { SessionsPerDay = 1 };
        New().Begin(Session(1), once);
        New().Begin(Session(2, party: "shop"), once);
        ErrorAssert.Throws<PrivacyRefusedException>(AlignmentErrors.TooManySessions, () => New().Begin(Session(3), once));
        ErrorAssert.Throws<PrivacyRefusedException>(AlignmentErrors.TooManySessions, () => New().Begin(Session(3, party: "shop"), once));
    }

    [Fact]
    public void End_UnknownSession_IsRefused() =>
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => New().End(Session(1).Session, 1));

    [Fact]
    public void Begin_ManyThreads_NeverExceedsTheCap()
    {
        var caps = new AlignmentCaps { SessionsPerDay = 5 };
        int granted = 0;
        Parallel.For(0, 12, new ParallelOptions { MaxDegreeOfParallelism = 12 }, i =>
        {
            try
            {
                New().Begin(Session(i), caps);
                Interlocked.Increment(ref granted);
            }
            catch (PrivacyRefusedException e) when (e.Id == AlignmentErrors.TooManySessions)
            {
                // The cap is reached.
            }
        });
        Assert.Equal((5, 5), (granted, New().Alignments.Count));
    }

    [Fact]
    public async Task Begin_SeveralProcesses_NeverExceedTheCapAndUseItUp()
    {
        Process[] children = [.. Enumerable.Range(0, 3).Select(i => Child.Start("align", Path, $"{100 * i}", "8"))];
        int granted = 0;
        foreach (Process child in children)
        {
            granted += int.Parse(await child.StandardOutput.ReadToEndAsync(), System.Globalization.CultureInfo.InvariantCulture);
            await child.WaitForExitAsync();
            Assert.Equal(0, child.ExitCode);
            child.Dispose();
        }

        Assert.Equal(Program.SessionsPerDay, granted);
        LedgerAudit audit = SqliteLedger.Audit(Path);
        Assert.Equal((null, granted), (audit.Fault, audit.Alignments.Count));
    }

    [Fact]
    public void Charges_BesideAlignments_AreWhatTheyWere()
    {
        var ledger = new SqliteLedger(Path, new SqliteLedgerOptions { Budget = new LedgerBudget(2, 0) });
        void Spend()
        {
            using IPrivacyReservation reservation = ledger.Reserve(Charges.Pure(1));
            reservation.Keep(0, [1]);
            reservation.Settle(1);
        }

        Spend();
        New().Begin(Session(1), Caps);
        Spend();
        New().End(Session(1).Session, 1);
        ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.BudgetSpent, Spend);
        LedgerAudit audit = SqliteLedger.Audit(Path);
        Assert.Equal((6, null, 1), (audit.Rows, audit.Fault, audit.Alignments.Count));
        Assert.All(ledger.Entries, e => Assert.Equal((ChargeState.Settled, 1), (e.State, e.PureEpsilon)));
    }

    [Fact]
    public void Format_OfALedgerWithoutAlignments_StaysTheOldOne()
    {
        using IPrivacyReservation reservation = new SqliteLedger(Path).Reserve(Charges.Pure(1));
        Assert.Equal(1, Scalar("PRAGMA user_version"));
        _ = New().Alignments;
        Assert.Equal(1, Scalar("PRAGMA user_version"));
        New().Begin(Session(1), Caps);
        Assert.Equal(2, Scalar("PRAGMA user_version"));
        Assert.Single(new SqliteLedger(Path).Entries);
    }

    public static TheoryData<string> Tamperings =>
    [
        "UPDATE rows SET content = replace(content, 'telco', 'shops') WHERE number = 1",
        "UPDATE rows SET content = replace(content, '\"peerIds\":30', '\"peerIds\":3') WHERE number = 1",
        "UPDATE rows SET content = replace(content, '\"commonIds\":17', '\"commonIds\":7') WHERE number = 2",
        "DELETE FROM rows WHERE number = 1",
        "DELETE FROM rows WHERE number = 2; UPDATE rows SET number = 2 WHERE number = 3; UPDATE head SET rows = 2",
        "DELETE FROM rows WHERE number = 3",
        "INSERT INTO kept VALUES (1, x'00')",
    ];

    [Theory]
    [MemberData(nameof(Tamperings))]
    public void Audit_TamperedAlignment_FindsIt(string sql)
    {
        SqliteAlignmentLog log = New();
        log.Begin(Session(1), Caps);
        log.End(Session(1).Session, 17);
        log.Begin(Session(2), Caps);
        Assert.Null(SqliteLedger.Audit(Path).Fault);
        Sql($"DROP TRIGGER rows_stay; DROP TRIGGER rows_last; {sql}");
        LedgerAudit audit = SqliteLedger.Audit(Path);
        Assert.NotNull(audit.Fault);
        Assert.InRange(audit.BadRow!.Value, 1, 3);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => log.Begin(Session(3), Caps));
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => _ = New());
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => new SqliteLedger(Path).Reserve(Charges.Pure(1)));
    }

    [Fact]
    public void Audit_AlignmentThatEndedTwice_IsNoRowOfALedger()
    {
        SqliteAlignmentLog log = New();
        log.Begin(Session(1), Caps);
        log.End(Session(1).Session, 17);
        var of = LedgerFile.At(Path, TimeSpan.FromSeconds(30));
        using (SqliteFile file = of.Connect())
            LedgerFile.Append(file, of.ReadSound(file), LedgerChain.Write(Session(1), 18, DateTimeOffset.UnixEpoch));
        LedgerAudit audit = SqliteLedger.Audit(Path);
        Assert.Equal((2, 3), (audit.Rows, audit.BadRow!.Value));
        Assert.Equal(17, Assert.Single(audit.Alignments).CommonIds);
    }

    [Fact]
    public void Open_NoFolderOrNoLedger_IsRefused()
    {
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => _ = new SqliteAlignmentLog(_folder["absent/bank.ledger.db"]));
        File.WriteAllText(_folder["text"], "no ledger at all, and long enough to be one");
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.NotALedger, () => _ = new SqliteAlignmentLog(_folder["text"]));
    }

    private void Sql(string sql) => With(sql, command => command.ExecuteNonQuery());

    private int Scalar(string sql) => With(sql, command => Convert.ToInt32(command.ExecuteScalar(), System.Globalization.CultureInfo.InvariantCulture));

    private T With<T>(string sql, Func<SqliteCommand, T> run)
    {
        using var connection = new SqliteConnection($"Data Source={Path};Pooling=False");
        connection.Open();
        using SqliteCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // constants of this file
        command.CommandText = sql;
#pragma warning restore CA2100
        return run(command);
    }

    private sealed class Clock : TimeProvider
    {
        public DateTimeOffset Now { get; set; } = new(2026, 11, 27, 8, 0, 0, TimeSpan.Zero);

        public override DateTimeOffset GetUtcNow() => Now;
    }
}
