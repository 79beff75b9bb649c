using System.Diagnostics;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;
using FedLearn.Testing;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;
using Microsoft.Data.Sqlite;

namespace FedLearn.Storage.Tests;

public sealed class SqliteLedgerTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private int _files;

    public void Dispose() => _folder.Dispose();

    private SqliteLedger New(LedgerBudget? budget = null) => new(_folder[$"{++_files}.ledger.db"], new SqliteLedgerOptions { Budget = budget });

    public static TheoryData<string> Checks => [.. PrivacyLedgerConformance.All.Keys, .. PrivacyLedgerConformance.Lasting.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public void SqliteLedger_Conforms(string name)
    {
        PrivacyLedgerConformance.Check check = PrivacyLedgerConformance.All.GetValueOrDefault(name) ?? PrivacyLedgerConformance.Lasting[name];
        check(budget => new SqliteLedger(_folder["bank.ledger.db"], new SqliteLedgerOptions { Budget = budget }));
    }

    private static void Spend(SqliteLedger ledger, PrivacyCharge charge, double? share = 1, KeptRelease? kept = null)
    {
        using IPrivacyReservation reservation = ledger.Reserve(charge, kept);
        if (share is { } s)
        {
            reservation.Keep(0, [1, 2, 3]);
            reservation.Settle(s);
        }
    }

    private static void Refused(string id, SqliteLedger ledger, PrivacyCharge charge)
    {
        ErrorAssert.Throws<PrivacyRefusedException>(id, () => ledger.Check(charge));
        ErrorAssert.Throws<PrivacyRefusedException>(id, () => ledger.Reserve(charge));
    }

    [Fact]
    public void Entries_Reopened_SayWhatWasReserved()
    {
        SqliteLedger ledger = New();
        PrivacyCharge charge = Charges.Gaussian(mu: 0.1) with { Unit = PrivacyUnit.Label, Adjacency = Adjacency.ZeroOut, PureEpsilon = 1 / 3.0, Parameters = """{"sigma":"<\u00e4>"}""", TestNoise = true };
        Spend(ledger, charge, share: null);
        LedgerEntry entry = Assert.Single(new SqliteLedger(ledger.Path).Entries);
        Assert.Equal((ChargeState.Reserved, 1), (entry.State, entry.Share));
        Assert.Equal(charge, entry.Charge with { DataSet = charge.DataSet });
        Assert.Equal((charge.DataSet.Fingerprint, charge.DataSet.Rows), (entry.Charge.DataSet.Fingerprint, entry.Charge.DataSet.Rows));
        Assert.Equal(charge.DataSet.Sketch.ToArray(), entry.Charge.DataSet.Sketch.ToArray());
    }

    [Fact]
    public void OpenUnchanging_Ledger_IsReadWithoutAnyFileBesideIt()
    {
        SqliteLedger ledger = new(_folder["a ?b%20#.ledger.db"]);
        Spend(ledger, Charges.Gaussian(mu: 0.1));
        using (SqliteFile file = SqliteFile.OpenUnchanging(ledger.Path))
        {
            Assert.Single(LedgerChain.Read(file).Entries);
            Assert.Equal(["a ?b%20#.ledger.db"], _folder.Files);
            Assert.ThrowsAny<Exception>(() => file.Execute("DELETE FROM rows"));
        }

        // Rows that are in the log alone would be missed.
        File.WriteAllBytes(ledger.Path + "-wal", [1]);
        Assert.Throws<SqliteFailure>(() => SqliteFile.OpenUnchanging(ledger.Path));
    }

    [Fact]
    public void Of_StorageForReadingAlone_IsALedgerThatCannotBeOpened() =>
        Assert.Equal(SqliteLedgerErrors.CannotOpen, SqliteLedgerErrors.Of("x", new IOException("Read-only file system", 30))!.Id);

    [Fact]
    public void Check_FolderCannotBeWritten_IsRefusedBeforeAPeerIsMet()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "A folder in which nobody makes files.");
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => new SqliteLedger("/proc/bank.ledger.db").Check(Charges.Gaussian(mu: 0.1)));
    }

    [Fact]
    public void Entries_ChargesThatDifferInOneThing_AreReadAsTheyWereWritten()
    {
        SqliteLedger ledger = New();
        PrivacyCharge same = Charges.Gaussian(mu: 0.1);
        PrivacyCharge[] charges = [.. new[]
        {
            same, same with { Party = "shop" }, same with { JobName = "other" }, same with { JobDigest = new string('1', 64) }, same with { Mechanism = "other" }, same with { Claim = "other" },
            same with { Parameters = "{ }" }, same with { DataSet = Charges.People(1) }, same with { DataSet = Charges.People(0, 999) }, same,
        }.Select(charge => charge with { RunId = PrivacyCharge.NewRunId() })];
        foreach (PrivacyCharge charge in charges)
            Spend(ledger, charge);
        foreach ((PrivacyCharge written, LedgerEntry read) in charges.Zip(new SqliteLedger(ledger.Path).Entries))
        {
            Assert.Equal(written, read.Charge with { DataSet = written.DataSet });
            Assert.Equal((written.DataSet.Fingerprint, written.DataSet.Rows), (read.Charge.DataSet.Fingerprint, read.Charge.DataSet.Rows));
            Assert.Equal(written.DataSet.Sketch.ToArray(), read.Charge.DataSet.Sketch.ToArray());
        }
    }

    [Fact]
    public void Check_OfALedgerThatDoesNotExist_WritesNothing()
    {
        SqliteLedger ledger = New(new LedgerBudget(1, 0));
        ledger.Check(Charges.Pure(1));
        ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.BudgetSpent, () => ledger.Check(Charges.Pure(1.1)));
        Assert.Empty(ledger.Entries);
        Assert.Null(ledger.Find("bank", "labels"));
        Assert.Empty(_folder.Files);
    }

    [Fact]
    public void Settle_LedgerReplaced_IsRefused()
    {
        SqliteLedger ledger = New();
        using IPrivacyReservation reservation = ledger.Reserve(Charges.Gaussian());
        File.Delete(ledger.Path);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => reservation.Settle(1));
    }

    [Fact]
    public void Settle_FileThatCannotBeRemoved_IsSettledAllTheSameAndHasAnId()
    {
        SqliteLedger ledger = New();
        PrivacyCharge charge = Charges.Gaussian();
        string local = $"{ledger.Path}.{charge.RunId}.local.outbox";
        using (IPrivacyReservation reservation = ledger.Reserve(charge))
        {
            reservation.Keep(0, [1]);
            Directory.CreateDirectory(local); // a folder in the place of the file
            ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => reservation.Settle(0.5));
        }

        Assert.Equal((ChargeState.Settled, 0.5), (ledger.Entries[0].State, ledger.Entries[0].Share));
        Assert.False(File.Exists(Outbox(ledger, charge)));
        Directory.Delete(local);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.RunEnded, () => ledger.Reserve(charge));
        Assert.Single(_folder.Files);
    }

    // A process that dies before its charge leaves the first page of its outbox; one that lost its ledger to an older copy leaves messages, which that ledger must go on to refuse.
    [Fact]
    public void Reserve_FilesThatCrashesLeft_RemovesThoseOfNoUse()
    {
        SqliteLedger ledger = New();
        string Made(string name, bool message)
        {
            string runId = PrivacyCharge.NewRunId();
            using Outbox made = Storage.Sqlite.Outbox.Open($"{ledger.Path}.{runId}{name}.outbox", Convert.FromHexString(runId), 8);
            made.Create();
            if (message)
                made.Keep(0, [1]);
            return $"{Path.GetFileName(ledger.Path)}.{runId}{name}.outbox";
        }

        string[] left = [Made("", false), Made(".local", false)], stay = [Made("", true), Made(".masked", false)];
        PrivacyCharge begun = Charges.Gaussian(), open = Charges.Gaussian();
        ledger.Reserve(begun).Dispose();
        foreach (string file in left)
            Assert.DoesNotContain(file, _folder.Files);
        string held = Made("", false);
        using (new FileStream(_folder[held], FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        using (ledger.Reserve(open))
            Assert.Equal(((string[])[.. stay, held, Path.GetFileName(Outbox(ledger, begun)), Path.GetFileName(Outbox(ledger, open))]).Order(StringComparer.Ordinal),
                _folder.Files.Where(f => f.EndsWith(".outbox", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
    }

    // As a charge would: one that can be read alone fails here, before a peer is met.
    [Fact]
    public void Check_LedgerThatOthersWrite_WaitsForThem()
    {
        SqliteLedger ledger = New();
        Spend(ledger, Charges.Gaussian());
        var hasty = new SqliteLedger(ledger.Path, new SqliteLedgerOptions { LockTimeout = TimeSpan.FromMilliseconds(1) });
        using (SqliteConnection other = Connect(ledger.Path))
        {
            using SqliteCommand begin = other.CreateCommand();
            begin.CommandText = "BEGIN IMMEDIATE";
            begin.ExecuteNonQuery();
            ErrorAssert.Throws<InternalFailureException>(SqliteLedgerErrors.Busy, () => hasty.Check(Charges.Gaussian()));
        }

        hasty.Check(Charges.Gaussian());
    }

    [Fact]
    public void Reserve_OtherFileInTheMeantime_IsNoLedger()
    {
        SqliteLedger ledger = New();
        Sql(ledger.Path, "CREATE TABLE t (a)");
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.NotALedger, () => ledger.Reserve(Charges.Gaussian()));
        Assert.Single(_folder.Files);
    }

    // A run's state goes before its charge is settled, so that nobody asks again for a run whose process was killed right after the settlement.
    [Fact]
    public void Reserve_AfterACrashRightAfterASettlement_RemovesWhatItLeft()
    {
        SqliteLedger ledger = New();
        PrivacyCharge ended = Charges.Gaussian(), open = Charges.Gaussian(), next = Charges.Gaussian();
        Spend(ledger, open, share: null);
        string[] left = [Outbox(ledger, ended), $"{ledger.Path}.{ended.RunId}.local.outbox"];
        using (IPrivacyReservation reservation = ledger.Reserve(ended))
        {
            reservation.Keep(0, [1]);
            reservation.KeepLocal(0, [2]);
        }

        foreach (string file in left)
            File.Copy(file, file + ".copy");
        using (IPrivacyReservation reservation = ledger.Reserve(ended))
            reservation.Settle(1);
        foreach (string file in left)
            File.Move(file + ".copy", file);
        // Whoever still has one removes it by itself.
        using (new FileStream(left[0], FileMode.Open, FileAccess.ReadWrite, FileShare.None))
            Spend(ledger, Charges.Gaussian());
        Assert.Equal([true, false, true], [File.Exists(left[0]), File.Exists(left[1]), File.Exists(Outbox(ledger, open))]);
        Spend(ledger, next, share: null);
        Assert.Equal([false, true, true], [File.Exists(left[0]), File.Exists(Outbox(ledger, open)), File.Exists(Outbox(ledger, next))]);
    }

    [Fact]
    public void Files_OnUnix_AreTheOwnersAlone()
    {
        if (OperatingSystem.IsWindows())
            Assert.Skip("Windows has no file modes.");
        SqliteLedger ledger = New();
        using IPrivacyReservation reservation = ledger.Reserve(Charges.Gaussian());
        Assert.Equal(2, _folder.Files.Length);
        foreach (string file in _folder.Files)
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, OperatingSystem.IsWindows() ? default : File.GetUnixFileMode(_folder[file]));
    }

    // Budgets

    [Fact]
    public void Reserve_EqualPartsOfTheBudget_AllFitAndOneMoreDoesNot() => Prop.ForAll(
        Gen.Choose(1, 12).ToArbitrary(), Gen.Choose(1, 500).ToArbitrary(), Gen.Elements(true, false).ToArbitrary(), (jobs, percent, pure) =>
        {
            double epsilon = percent / 100.0, mu = GaussianDp.Mu(epsilon, 1e-5);
            SqliteLedger ledger = New(new LedgerBudget(epsilon, pure ? 0 : 1e-5));
            PrivacyCharge Part(double share) => pure ? Charges.Pure(epsilon * share) : Charges.Gaussian() with { MuSquared = mu * mu * share };
            for (int i = 0; i < jobs; i++)
                Spend(ledger, Part(1.0 / jobs));
            Refused(PrivacyErrors.BudgetSpent, ledger, Part(1e-4));
            Assert.Equal(2 * jobs, SqliteLedger.Audit(ledger.Path).Rows);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(8)));

    [Fact]
    public void Reserve_OverTheBudget_SaysWhatIsLeftAndThatFits()
    {
        SqliteLedger ledger = New(new LedgerBudget(2, 1e-5));
        Spend(ledger, Charges.Gaussian(mu: GaussianDp.Mu(1.5, 1e-5)));
        double left = ledger.Budget!.Left(ledger.Spent("bank", Charges.People(), PrivacyUnit.Record));
        Assert.InRange(left, 1.1, 1.3);   // less than the 2 - 1.5 would be if epsilons added up the slow way; mu adds in quadrature
        PrivacyRefusedException error = Assert.Throws<PrivacyRefusedException>(() => ledger.Reserve(Charges.Gaussian(mu: GaussianDp.Mu(left + 2e-4, 1e-5))));
        Assert.Contains(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"what is left for one more job is epsilon {left:0.####} at delta 1E-05"), error.Message, StringComparison.Ordinal);
        Assert.Single(_folder.Files);   // no outbox, no log
        Spend(ledger, Charges.Gaussian(mu: GaussianDp.Mu(left, 1e-5)));
    }

    [Theory]
    [InlineData(false, 2)]
    [InlineData(true, 1)]
    public void Left_OfPureJobs_IsAllThatFits(bool zeroOut, double left) =>
        Assert.Equal(left, new LedgerBudget(2, 0).Left(PrivacyTotal.Zero, pure: true, zeroOut ? Adjacency.ZeroOut : Adjacency.ReplaceOne));

    [Fact]
    public void Check_SeveralRunsOverTheBudget_SaysWhatTheyCostTogetherAndWhatIsLeft()
    {
        SqliteLedger ledger = New(new LedgerBudget(2.5, 0));
        ledger.Check(Charges.Pure(1), 2);
        PrivacyRefusedException error = Assert.Throws<PrivacyRefusedException>(() => ledger.Check(Charges.Pure(1), 3));
        Assert.Equal(PrivacyErrors.BudgetSpent, error.Id);
        Assert.Contains("3 runs of the job cost up to epsilon 3 together", error.Message, StringComparison.Ordinal);
        Assert.Contains("what is left for all of them together is epsilon 2.5 at delta 0.", error.Message, StringComparison.Ordinal);
        // Of nothing no number of runs is fewer.
        Spend(ledger, Charges.Pure(2.5));
        error = Assert.Throws<PrivacyRefusedException>(() => ledger.Check(Charges.Pure(1), 3));
        Assert.Contains("what is left for one more job is epsilon 0 at delta 0.", error.Message, StringComparison.Ordinal);
        Assert.Contains("or use the data no more", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Reserve_WithoutABudget_RecordsAndRefusesNothing()
    {
        SqliteLedger ledger = New();
        for (int i = 0; i < 3; i++)
            Spend(ledger, Charges.Gaussian(mu: 50));
        Assert.Equal(3, ledger.Entries.Count);
        Assert.Contains("no lifetime budget", ledger.Warning, StringComparison.Ordinal);
        Assert.Null(New(new LedgerBudget(1, 1e-5)).Warning);
    }

    [Fact]
    public void Reserve_GaussianUnderAPureBudget_IsRefused() => Refused(PrivacyErrors.BudgetSpent, New(new LedgerBudget(5, 0)), Charges.Gaussian(mu: 1e-6));

    [Fact]
    public void Reserve_ZeroOut_CountsTwice()
    {
        PrivacyCharge zeroOut = Charges.Pure(1) with { Adjacency = Adjacency.ZeroOut };
        Refused(PrivacyErrors.BudgetSpent, New(new LedgerBudget(1.9, 0)), zeroOut);
        SqliteLedger ledger = New(new LedgerBudget(2, 0));
        Spend(ledger, zeroOut);
        Assert.Equal(2, ledger.Spent("bank", zeroOut.DataSet, PrivacyUnit.Record).PureEpsilon);
        PrivacyTotal gaussian = Spent(Charges.Gaussian(mu: 3) with { Adjacency = Adjacency.ZeroOut });
        Assert.Equal(36, gaussian.MuSquared);

        PrivacyTotal Spent(PrivacyCharge charge)
        {
            SqliteLedger other = New();
            Spend(other, charge);
            return other.Spent("bank", charge.DataSet, PrivacyUnit.Record);
        }
    }

    [Fact]
    public void Reserve_LabelsAndRecords_RecordsCountForLabelsToo()
    {
        PrivacyCharge record = Charges.Pure(1), label = Charges.Pure(1) with { Unit = PrivacyUnit.Label };
        SqliteLedger ledger = New(new LedgerBudget(2, 0));
        Spend((SqliteLedger)ledger, label);
        Spend((SqliteLedger)ledger, record);
        Assert.Equal((1, 2), (ledger.Spent("bank", record.DataSet, PrivacyUnit.Record).PureEpsilon, ledger.Spent("bank", record.DataSet, PrivacyUnit.Label).PureEpsilon));
        Refused(PrivacyErrors.BudgetSpent, (SqliteLedger)ledger, label with { RunId = PrivacyCharge.NewRunId() });
        // A record job would put its labels over as well.
        Refused(PrivacyErrors.BudgetSpent, (SqliteLedger)ledger, record with { RunId = PrivacyCharge.NewRunId() });
    }

    [Theory]
    [InlineData(0, 1000, false)]      // the same people
    [InlineData(500, 1000, false)]    // half of them
    [InlineData(900, 2000, false)]    // a tenth
    [InlineData(1000, 1000, true)]    // others
    public void Reserve_TablesThatShareRows_AddUp(int first, int count, bool fits)
    {
        SqliteLedger ledger = New(new LedgerBudget(1, 0));
        Spend(ledger, Charges.Pure(0.9));
        PrivacyCharge other = Charges.Pure(0.2) with { DataSet = Charges.People(first, count) };
        if (fits)
            Spend(ledger, other);
        else
            Refused(PrivacyErrors.BudgetSpent, ledger, other);
        Spend(ledger, Charges.Pure(0.2) with { Party = "clinic" });   // another party's table of the same people
    }

    // Runs

    [Fact]
    public void Reserve_TheSameRunAgain_CostsNothingAndOtherTermsAreRefused()
    {
        SqliteLedger ledger = New(new LedgerBudget(1, 0));
        PrivacyCharge charge = Charges.Pure(1);
        Spend(ledger, charge, share: null);
        ledger.Check(charge);
        Spend(ledger, charge with { DataSet = Charges.People() }, share: null);
        Assert.Single(ledger.Entries);
        foreach (PrivacyCharge other in (PrivacyCharge[])[charge with { PureEpsilon = 0.5 }, charge with { Messages = 4 }, charge with { JobDigest = "1" }, charge with { DataSet = Charges.People(1) }, charge with { TestNoise = true }])
            ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.RunReservedOtherwise, () => ledger.Reserve(other));
        Assert.Equal(2, _folder.Files.Length);   // the run's outbox is still there
    }

    [Fact]
    public void Reserve_RunOpenElsewhere_IsRefused()
    {
        SqliteLedger ledger = New();
        PrivacyCharge charge = Charges.Gaussian();
        using (ledger.Reserve(charge))
            ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.RunInUse, () => ledger.Reserve(charge));
        Spend(ledger, charge);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.RunEnded, () => ledger.Reserve(charge));
        Assert.Single(_folder.Files);
    }

    [Fact]
    public void Reserve_OutboxLostOrLedgerRolledBack_IsRefused()
    {
        SqliteLedger ledger = New();
        PrivacyCharge charge = Charges.Gaussian(), second = Charges.Gaussian();
        Spend(ledger, charge, share: null);
        File.Delete(Outbox(ledger, charge));
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.MessageLost, () => ledger.Reserve(charge));

        File.Copy(ledger.Path, _folder["old"]);
        using (IPrivacyReservation reservation = ledger.Reserve(second))
            reservation.Keep(0, [1]);
        File.Move(_folder["old"], ledger.Path, overwrite: true);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => ledger.Reserve(second));
    }

    /// <summary>A snapshot of a run's outbox, put back after the run had gone on: what had left since would be noised a second time under the one charge.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Reserve_OlderCopyOfTheOutboxPutBack_IsRefusedAndCostsAllUntilTheNewestIsBack(int copied)
    {
        SqliteLedger ledger = New();
        PrivacyCharge charge = Charges.Gaussian();
        string outbox = Outbox(ledger, charge);
        ledger.Reserve(charge).Dispose();
        byte[] older = [], newest;
        for (int index = 0; index < 3; index++)
        {
            if (index == copied)
                older = File.ReadAllBytes(outbox);
            using IPrivacyReservation run = ledger.Reserve(charge);
            run.Keep(index, [(byte)index]);
        }

        newest = File.ReadAllBytes(outbox);
        File.WriteAllBytes(outbox, older);
        PrivacyRefusedException error = Assert.Throws<PrivacyRefusedException>(() => ledger.Reserve(charge));
        Assert.Equal(SqliteLedgerErrors.OlderCopy, error.Id);
        Assert.Contains($"it holds {copied} message{(copied == 1 ? "" : "s")}, and 3 had been kept", error.Message, StringComparison.Ordinal);
        Assert.Equal((ChargeState.Reserved, 1), (ledger.Entries[0].State, ledger.Entries[0].Share));
        File.WriteAllBytes(outbox, newest);
        using (IPrivacyReservation again = ledger.Reserve(charge))
        {
            Assert.Equal([2], again.Find(2));
            again.Settle(1);
        }

        Assert.Equal(0, Count(ledger));
        Assert.Null(SqliteLedger.Audit(ledger.Path).Fault);
    }

    /// <summary>A clock that is set back or forward between jobs, or between the processes of a run, changes no order, no sum and no run.</summary>
    [Fact]
    public void Entries_ClockThatIsSet_AreInTheOrderOfTheirRowsAndARunGoesOn()
    {
        string path = _folder["clocks.ledger.db"];
        PrivacyCharge open = Charges.Gaussian();
        int[] years = [2026, 1970, 2099, 1971, 2026];
        foreach (int year in years)
        {
            var ledger = new SqliteLedger(path, new SqliteLedgerOptions { Clock = new SetClock(year), Budget = new LedgerBudget(2.5, 0.1) });
            if (year < years[0] || year == 2099)
                Spend(ledger, Charges.Pure(0.5));
            using IPrivacyReservation run = ledger.Reserve(open);
            run.Keep(run.Kept, [(byte)run.Kept]);
            if (run.Kept == open.Messages)
                break;
        }

        LedgerAudit audit = SqliteLedger.Audit(path);
        Assert.Null(audit.Fault);
        Assert.Equal([2026, 1970, 2099], audit.Entries.Select(e => e.At.Year));
        Assert.Equal(1, new SqliteLedger(path).Spent("bank", Charges.People(), PrivacyUnit.Record).PureEpsilon);
        using IPrivacyReservation again = new SqliteLedger(path).Reserve(open);
        Assert.Equal([2], again.Find(2));
    }

    private sealed class SetClock(int year) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => new(year, 6, 1, 0, 0, 0, TimeSpan.Zero);
    }

    /// <summary>A process that is killed notes nothing more. Messages are noted a second apart, the one of a run that has no other at once; and the next process notes what it finds.</summary>
    [Fact]
    public void Keep_ProcessKilled_IsNotedEverySecond()
    {
        var clock = new ManualClock();
        string path = _folder["noted.ledger.db"];
        PrivacyCharge charge = Charges.Gaussian(messages: 9);
        IPrivacyReservation run = new SqliteLedger(path, new SqliteLedgerOptions { Clock = clock }).Reserve(charge);
        var noted = new List<long>();
        for (int index = 0; index < 5; index++)
        {
            run.Keep(index, [1]);
            noted.Add(Noted(path));
            clock.Advance(TimeSpan.FromSeconds(0.5));
        }

        Assert.Equal([0, 0, 3, 3, 5], noted);
        run.Keep(5, [1]);
        run.Dispose();
        // As a kill would have left it.
        Sql(path, "UPDATE progress SET messages = 5");
        using (new SqliteLedger(path).Reserve(charge))
            Assert.Equal(6, Noted(path));

        SqliteLedger single = new(_folder["single.ledger.db"], new SqliteLedgerOptions { Clock = clock });
        single.Reserve(Charges.Gaussian(messages: 1)).Keep(0, [1]);
        Assert.Equal(1, Noted(single.Path));
    }

    /// <summary>A note is no reason to lose a message: it may fail, and nothing is made anew for it.</summary>
    [Fact]
    public void Keep_LedgerThatCannotTakeANote_KeepsTheMessage()
    {
        var clock = new ManualClock();
        SqliteLedger ledger = new(_folder["held.ledger.db"], new SqliteLedgerOptions { LockTimeout = TimeSpan.FromMilliseconds(1), Clock = clock });
        PrivacyCharge charge = Charges.Gaussian();
        IPrivacyReservation run = ledger.Reserve(charge);
        clock.Advance(TimeSpan.FromSeconds(1));
        using (SqliteConnection holder = Connect(ledger.Path))
        using (holder.BeginTransaction(deferred: false))
            run.Keep(0, [1]);
        Assert.Equal(0, Count(ledger));
        run.Dispose();
        Assert.Equal(1, Noted(ledger.Path));

        run = ledger.Reserve(charge);
        clock.Advance(TimeSpan.FromSeconds(1));
        File.Delete(ledger.Path);
        run.Keep(1, [2]);
        run.Dispose();
        Assert.False(File.Exists(ledger.Path));
    }

    private static long Noted(string path) => HasNotes(path) ? Number(path, "SELECT messages FROM progress") : 0;

    private static long Count(SqliteLedger ledger) => HasNotes(ledger.Path) ? Number(ledger.Path, "SELECT count(*) FROM progress") : 0;

    private static bool HasNotes(string path) => Number(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'progress'") > 0;

    private static long Number(string path, string sql) => Run(path, sql, command => (long)command.ExecuteScalar()!);

    [Fact]
    public void Settle_Share_CountsFromThenOn()
    {
        SqliteLedger ledger = New(new LedgerBudget(1, 0));
        Spend((SqliteLedger)ledger, Charges.Pure(1), share: 0.25);
        Assert.Equal(0.25, ledger.Spent("bank", Charges.People(), PrivacyUnit.Record).PureEpsilon);
        Spend((SqliteLedger)ledger, Charges.Pure(0.75));
        Assert.Single(_folder.Files);
    }

    [Fact]
    public void Open_OutboxOfOneMessage_IsRefused()
    {
        // A torn write would leave none of those that left.
        Assert.Throws<ArgumentOutOfRangeException>(() => new SqliteLedger(_folder["bank.ledger.db"], new SqliteLedgerOptions { OutboxMessages = 1 }));
        _ = new SqliteLedger(_folder["bank.ledger.db"], new SqliteLedgerOptions { OutboxMessages = 2 });
    }

    [Fact]
    public void Settle_WhatIsNoShare_IsRefused()
    {
        using IPrivacyReservation reservation = New().Reserve(Charges.Gaussian());
        foreach (double share in (double[])[-0.1, 1.1, double.NaN])
            Assert.Throws<ArgumentOutOfRangeException>(() => reservation.Settle(share));
        reservation.Keep(0, []);
        Assert.Throws<ArgumentOutOfRangeException>(() => reservation.Settle(0));
    }

    [Fact]
    public void Settle_ASecondTime_IsRefusedAndTheLedgerStaysWhole()
    {
        SqliteLedger ledger = New();
        using IPrivacyReservation reservation = ledger.Reserve(Charges.Gaussian());
        reservation.Settle(0);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => reservation.Settle(1));
        Assert.Equal((ChargeState.Settled, 0), (Assert.Single(ledger.Entries).State, ledger.Entries[0].Share));
    }

    [Theory]
    [InlineData(3, 3)]
    [InlineData(2000, 1024)]
    public void KeepsAtLeast_OfACharge_IsItsMessagesUpToTheLimit(int messages, int kept)
    {
        using IPrivacyReservation reservation = New().Reserve(Charges.Gaussian(messages: messages));
        Assert.Equal(kept, reservation.KeepsAtLeast);
    }

    [Fact]
    public void Settle_WithAKeptRelease_CountsInFull()
    {
        SqliteLedger ledger = New();
        PrivacyCharge charge = Charges.Pure(1);
        using (ledger.Reserve(charge, new KeptRelease("labels", new byte[] { 1, 0, 1 })))
            Assert.Equal([1, 0, 1], ledger.Find("bank", "labels"));
        using (IPrivacyReservation again = ledger.Reserve(charge))
            again.Settle(0);
        Assert.Equal((ChargeState.Settled, 1), (ledger.Entries[0].State, ledger.Entries[0].Share));
        Assert.Null(ledger.Find("clinic", "labels"));
        Assert.Null(ledger.Find("bank", "other labels"));
    }

    [Fact]
    public void Keep_BeyondTheCharge_IsRefused()
    {
        using IPrivacyReservation reservation = New().Reserve(Charges.Gaussian(messages: 1));
        reservation.Keep(0, [1]);
        ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.ReleasesSpent, () => reservation.Keep(1, [2]));
        ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.ReleasesSpent, () => reservation.Keep(1, [2], () => Assert.Fail("begun for a message that is refused")));
    }

    [Fact]
    public async Task Reserve_ManyThreads_NeverExceedTheBudget()
    {
        SqliteLedger ledger = New(new LedgerBudget(5, 0));
        int granted = 0;
        await Task.WhenAll(Enumerable.Range(0, 12).Select(_ => Task.Run(() =>
        {
            try
            {
                Spend(ledger, Charges.Pure(1), share: null);
                Interlocked.Increment(ref granted);
            }
            catch (PrivacyRefusedException)
            {
                // Nothing is left.
            }
        })));
        Assert.Equal((5, 5), (granted, ledger.Entries.Count));
    }

    // The chain

    // What somebody with an SQL tool can do to single rows; the triggers that stop mistakes are in nobody's way who means it.
    public static TheoryData<string> Tamperings =>
    [
        "UPDATE rows SET content = replace(content, '\"muSquared\":1', '\"muSquared\":0') WHERE number = 3",
        "UPDATE rows SET content = replace(content, 'bank', 'tank') WHERE number = 1",
        "UPDATE rows SET hash = zeroblob(32) WHERE number = 4",
        "DELETE FROM rows WHERE number = 1",
        "DELETE FROM rows WHERE number = 3",
        "DELETE FROM rows WHERE number = 6",
        "DELETE FROM rows WHERE number > 4",
        "DELETE FROM rows",
        "DELETE FROM rows WHERE number = 3; UPDATE rows SET number = number - 1 WHERE number > 3",
        "DELETE FROM rows WHERE number = 6; UPDATE head SET rows = 5",
        "UPDATE rows SET number = 100 WHERE number = 2; UPDATE rows SET number = 2 WHERE number = 4; UPDATE rows SET number = 4 WHERE number = 100",
        "UPDATE rows SET number = number + 100 WHERE number > 2; INSERT INTO rows SELECT 3, content, hash FROM rows WHERE number = 2; UPDATE rows SET number = number - 99 WHERE number > 100",
        "INSERT INTO rows SELECT 7, content, hash FROM rows WHERE number = 6",
        "UPDATE head SET rows = 7",
        "UPDATE head SET hash = zeroblob(32)",
        "UPDATE head SET ledger = zeroblob(16)",
        "DELETE FROM head",
        "UPDATE kept SET bytes = x'ff'",
        "DELETE FROM kept",
        "INSERT INTO kept VALUES (2, x'00')",
        "INSERT INTO kept VALUES (3, x'00')",
        "UPDATE people SET digests = zeroblob(length(digests))",
        "UPDATE people SET digests = substr(digests, 9)",
        "UPDATE people SET sha256 = upper(sha256)",
        "DELETE FROM people",
        "INSERT INTO people VALUES ('x', x'00')",
        "INSERT INTO people VALUES ('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', x'')",
    ];

    // Rows in their place with the right hashes, by software that writes what this one does not.
    [Theory]
    [InlineData("settled twice")]
    [InlineData("settled to more than all of it")]
    [InlineData("settled to less than nothing")]
    [InlineData("settled and not charged")]
    [InlineData("charged twice")]
    [InlineData("more behind it")]
    [InlineData("another kind")]
    [InlineData("people of another table")]
    public void Audit_RowThatMakesNoSenseAfterTheOthers_FindsIt(string what)
    {
        SqliteLedger ledger = New();
        PrivacyCharge charge = Charges.Pure(1);
        Spend(ledger, charge, share: null);
        string settlement = LedgerChain.Write(charge.RunId, 0.5, DateTimeOffset.UnixEpoch);
        if (what == "settled twice")
            Append(settlement);
        long rows = SqliteLedger.Audit(ledger.Path).Rows;
        Append(what switch
        {
            "people of another table" => LedgerChain.Write(Charges.Pure(1) with { DataSet = Charges.People(5000, 400) }, LedgerChain.Sha256(charge.DataSet.Digests!.Value.Span), null, DateTimeOffset.UnixEpoch),
            "settled twice" => LedgerChain.Write(charge.RunId, 0, DateTimeOffset.UnixEpoch),
            "settled to more than all of it" => LedgerChain.Write(charge.RunId, 1.5, DateTimeOffset.UnixEpoch),
            "settled to less than nothing" => LedgerChain.Write(charge.RunId, -0.5, DateTimeOffset.UnixEpoch),
            "settled and not charged" => LedgerChain.Write(PrivacyCharge.NewRunId(), 0.5, DateTimeOffset.UnixEpoch),
            "charged twice" => LedgerChain.Write(charge, null, null, DateTimeOffset.UnixEpoch),
            "more behind it" => settlement + "{}",
            _ => settlement.Replace("settlement", "present", StringComparison.Ordinal),
        });
        LedgerAudit audit = SqliteLedger.Audit(ledger.Path);
        Assert.Equal((rows, rows + 1), (audit.Rows, audit.BadRow!.Value));
        Refused(SqliteLedgerErrors.Broken, ledger, Charges.Gaussian());

        void Append(string content)
        {
            var of = LedgerFile.At(ledger.Path, TimeSpan.FromSeconds(30));
            using SqliteFile file = of.Connect();
            LedgerFile.Append(file, of.ReadSound(file), content);
        }
    }

    [Theory]
    [MemberData(nameof(Tamperings))]
    public void Audit_TamperedRows_FindsThem(string sql)
    {
        SqliteLedger ledger = ThreeRuns();
        Assert.Null(SqliteLedger.Audit(ledger.Path).Fault);
        Tamper(ledger, sql);
        LedgerAudit audit = SqliteLedger.Audit(ledger.Path);
        Assert.NotNull(audit.Fault);
        Assert.InRange(audit.BadRow!.Value, 1, 7);
        Refused(SqliteLedgerErrors.Broken, ledger, Charges.Gaussian());
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => _ = new SqliteLedger(ledger.Path));
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => ledger.Find("bank", "labels"));
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, audit.ThrowIfBroken);
    }

    [Fact]
    public void Audit_AnyByteOfAnyRowChanged_FindsTheRow() => Prop.ForAll(Gen.Choose(1, 6).ToArbitrary(), Gen.Choose(0, 1 << 20).ToArbitrary(), (row, at) =>
    {
        SqliteLedger ledger = ThreeRuns();
        Tamper(ledger, System.FormattableString.Invariant($"""
            UPDATE rows SET content = substr(content, 1, {at} % length(content)) || char(1 + unicode(substr(content, 1 + {at} % length(content), 1)))
                || substr(content, 2 + {at} % length(content)) WHERE number = {row}
            """));
        Assert.Equal(row, SqliteLedger.Audit(ledger.Path).BadRow);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(10)));

    [Theory]
    [InlineData("DELETE FROM rows WHERE number = 3", "row 3 is missing.")]
    [InlineData("DELETE FROM rows WHERE number = 6", "rows 6 to 6 are missing.")]
    [InlineData("UPDATE head SET rows = 5", "the record of the newest row is not that of the last row.")]
    public void Audit_RowsThatAreMissing_SaysWhich(string sql, string fault)
    {
        SqliteLedger ledger = ThreeRuns();
        Tamper(ledger, sql);
        Assert.Equal(fault, SqliteLedger.Audit(ledger.Path).Fault);
    }

    [Fact]
    public void Rows_UpdateOrDeleteByMistake_AreStopped()
    {
        SqliteLedger ledger = ThreeRuns();
        Assert.Throws<SqliteException>(() => Sql(ledger.Path, "UPDATE rows SET content = ''"));
        Assert.Throws<SqliteException>(() => Sql(ledger.Path, "DELETE FROM rows"));
        Assert.Null(SqliteLedger.Audit(ledger.Path).Fault);
    }

    [Fact]
    public void Audit_SinceAnEarlierHead_FindsNewChainsAndOldCopies()
    {
        SqliteLedger ledger = ThreeRuns();
        LedgerAudit before = SqliteLedger.Audit(ledger.Path);
        var head = new LedgerHead(before.Rows, before.Head);
        File.Copy(ledger.Path, _folder["old.db"]);
        Spend(ledger, Charges.Gaussian());
        LedgerAudit after = SqliteLedger.Audit(ledger.Path, head);
        Assert.Null(after.Fault);
        Assert.Null(SqliteLedger.Audit(_folder["old.db"], head).Fault);
        Assert.Contains("older copy", SqliteLedger.Audit(_folder["old.db"], new LedgerHead(after.Rows, after.Head)).Fault, StringComparison.Ordinal);
        Assert.Contains("written anew", SqliteLedger.Audit(ThreeRuns().Path, head).Fault, StringComparison.Ordinal);
    }

    // Files that are no ledgers

    [Fact]
    public void Open_NoLedger_IsRefusedAndLeftAlone()
    {
        string text = _folder["text"], other = _folder["other.db"], folder = Path.Combine(_folder["absent"], "l.db");
        File.WriteAllText(text, new string('x', 5000));
        Sql(other, string.Create(System.Globalization.CultureInfo.InvariantCulture, $"PRAGMA application_id = 7; PRAGMA user_version = {LedgerChain.Version}; CREATE TABLE t (a)"));
        byte[] before = File.ReadAllBytes(other);
        foreach (Action<string> open in (Action<string>[])[path => _ = new SqliteLedger(path), path => SqliteLedger.Audit(path)])
        {
            ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.NotALedger, () => open(text));
            ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.NotALedger, () => open(other));
            ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => open(folder));
            ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => open(Path.GetDirectoryName(text)!));
        }

        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => SqliteLedger.Audit(_folder["absent.db"]));
        Assert.Equal(before, File.ReadAllBytes(other));
        Assert.False(File.Exists(_folder["absent.db"]));
        Sql(other, "PRAGMA user_version = 3; PRAGMA application_id = 0x464C4C31");
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.NotALedger, () => _ = new SqliteLedger(other));
        // Another program's file before its first table.
        string young = _folder["young.db"];
        Sql(young, "PRAGMA application_id = 5");
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.NotALedger, () => new SqliteLedger(young).Reserve(Charges.Gaussian()));
    }

    [Fact]
    public void Reserve_NewLedger_HasALogThatIsSynced()
    {
        SqliteLedger ledger = New();
        using IPrivacyReservation reservation = ledger.Reserve(Charges.Gaussian());
        using SqliteConnection connection = Connect(ledger.Path);
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = "PRAGMA journal_mode";
        Assert.Equal("wal", command.ExecuteScalar());
    }

    [Fact]
    public void Digests_IdsRemovedAfterTheyWereVerified_AreRefused()
    {
        SqliteLedger ledger = New();
        ledger.Reserve(Charges.Gaussian()).Dispose();
        DataSetIdentity table = ledger.Entries[0].Charge.DataSet;
        Assert.Equal(Charges.People().Digests!.Value.ToArray(), table.Digests!.Value.ToArray());
        Sql(ledger.Path, "DELETE FROM people");
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => _ = table.Digests);
    }

    [Fact]
    public void Open_DamagedPages_IsRefused()
    {
        SqliteLedger ledger = ThreeRuns();
        byte[] bytes = File.ReadAllBytes(ledger.Path);
        bytes.AsSpan(4096).Fill(0x5a);
        File.WriteAllBytes(ledger.Path, bytes);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => _ = new SqliteLedger(ledger.Path));
    }

    // A damaged byte may turn a column into none, a number into text or a page into another's: every outcome is the ledger as it was or an error with an id.
    [Fact]
    public void Audit_AnyByteOfTheFileDamaged_IsReadOrAnErrorWithAnId()
    {
        byte[] bytes = File.ReadAllBytes(ThreeRuns().Path);
        string path = _folder["damaged.db"];
        int step = Math.Max(1, bytes.Length / TestCounts.Of(500)), broken = 0;
        for (int at = 0; at < bytes.Length; at += step)
        {
            foreach (byte value in (byte[])[0, 1, 0xff])
            {
                byte[] damaged = [.. bytes];
                damaged[at] = value;
                File.WriteAllBytes(path, damaged);
                try
                {
                    broken += SqliteLedger.Audit(path).Fault is null ? 0 : 1;
                }
                catch (FedLearnException)
                {
                    broken++;
                }
            }
        }

        Assert.True(broken > 0);
    }

    [Theory]
    [InlineData("DROP TABLE kept")]
    [InlineData("DROP TABLE head")]
    [InlineData("DROP TABLE rows")]
    [InlineData("DROP TABLE people")]
    [InlineData("ALTER TABLE people RENAME COLUMN digests TO other")]
    [InlineData("ALTER TABLE rows RENAME COLUMN content TO other")]
    [InlineData("CREATE TABLE copy AS SELECT * FROM rows; DROP TABLE rows; ALTER TABLE copy RENAME TO rows; UPDATE rows SET hash = NULL")]
    [InlineData("CREATE TABLE copy AS SELECT * FROM rows; DROP TABLE rows; ALTER TABLE copy RENAME TO rows; UPDATE rows SET content = NULL WHERE number = 2")]
    [InlineData("CREATE TABLE copy AS SELECT * FROM head; DROP TABLE head; ALTER TABLE copy RENAME TO head; UPDATE head SET ledger = NULL")]
    [InlineData("CREATE TABLE copy AS SELECT * FROM head; DROP TABLE head; ALTER TABLE copy RENAME TO head; UPDATE head SET hash = NULL")]
    public void Open_TablesThatAreNotALedgers_IsRefused(string sql)
    {
        SqliteLedger ledger = ThreeRuns();
        Sql(ledger.Path, sql);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => _ = new SqliteLedger(ledger.Path));
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => SqliteLedger.Audit(ledger.Path).ThrowIfBroken());
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => ledger.Reserve(Charges.Gaussian()));
    }

    [Fact]
    public void Reserve_LedgerLockedTooLong_SaysSo()
    {
        string path = ThreeRuns().Path;
        using SqliteConnection holder = Connect(path);
        using SqliteTransaction held = holder.BeginTransaction(deferred: false);
        var ledger = new SqliteLedger(path, new SqliteLedgerOptions { LockTimeout = TimeSpan.FromSeconds(1) });
        long start = Stopwatch.GetTimestamp();
        ErrorAssert.Throws<InternalFailureException>(SqliteLedgerErrors.Busy, () => ledger.Reserve(Charges.Gaussian()));
        Assert.True(Stopwatch.GetElapsedTime(start) >= TimeSpan.FromSeconds(0.9));
        Assert.DoesNotContain(_folder.Files, file => file.EndsWith(".outbox", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(double.NaN, 1e-5)]
    [InlineData(-1, 1e-5)]
    [InlineData(double.PositiveInfinity, 1e-5)]
    [InlineData(1, 1.0)]
    [InlineData(1, -1e-5)]
    public void Open_WhatIsNoBudget_IsRefused(double epsilon, double delta) =>
        ErrorAssert.Throws<ConfigurationException>(PrivacyErrors.InvalidBudget, () => New(new LedgerBudget(epsilon, delta)));

    [Fact]
    public void Reserve_RunIdThatIsNone_IsRefused() => Assert.All(["", "../../../../../../../../../etc/pass", new string('g', 32), new string('A', 32)],
        id => Assert.ThrowsAny<ArgumentException>(() => New().Reserve(Charges.Gaussian(id))));

    // What was written and cannot be read again would take the ledger with it.
    [Fact]
    public void Reserve_ChargeThatIsNone_IsRefusedByEveryLedgerAndNotWritten()
    {
        SqliteLedger ledger = New();
        PrivacyCharge charge = Charges.Gaussian();
        foreach (IPrivacyLedger each in (IPrivacyLedger[])[ledger, new InMemoryLedger()])
        {
            Assert.All([charge with { RunId = null! }, charge with { Party = null! }, charge with { DataSet = null! }, charge with { JobName = null! }, charge with { JobDigest = null! }, charge with { Mechanism = null! },
                charge with { Claim = null! }, charge with { Parameters = null! }, charge with { Parameters = "none" }, charge with { Messages = 0 }], wrong =>
            {
                Assert.ThrowsAny<ArgumentException>(() => each.Check(wrong));
                Assert.ThrowsAny<ArgumentException>(() => each.Reserve(wrong));
            });
            Assert.All([charge with { MuSquared = -1 }, charge with { MuSquared = double.NaN }, charge with { PureEpsilon = double.PositiveInfinity }],
                wrong => ErrorAssert.Throws<ConfigurationException>(PrivacyErrors.InvalidNumber, () => each.Reserve(wrong)));
            Assert.Empty(each.Entries);
        }

        Assert.Throws<ArgumentNullException>(() => ledger.Reserve(charge, new KeptRelease(null!, new byte[1])));
        ledger.Reserve(charge).Dispose();
        Assert.Single(ledger.Entries);
    }

    /// <summary>Six rows: three runs, the first of which keeps something.</summary>
    private SqliteLedger ThreeRuns()
    {
        SqliteLedger ledger = New();
        Spend(ledger, Charges.Gaussian(), kept: new KeptRelease("labels", new byte[] { 1 }));
        Spend(ledger, Charges.Gaussian());
        Spend(ledger, Charges.Gaussian());
        return ledger;
    }

    private static string Outbox(SqliteLedger ledger, PrivacyCharge charge) => $"{ledger.Path}.{charge.RunId}.outbox";

    private static void Tamper(SqliteLedger ledger, string sql) =>
        Assert.NotEqual(0, Sql(ledger.Path, "DROP TRIGGER rows_stay; DROP TRIGGER rows_last; " + sql));

    private static SqliteConnection Connect(string path)
    {
        var connection = new SqliteConnection($"Data Source={path};Pooling=False");
        connection.Open();
        return connection;
    }

    internal static int Sql(string path, string sql) => Run(path, sql, command => command.ExecuteNonQuery());

    private static T Run<T>(string path, string sql, Func<SqliteCommand, T> run)
    {
        using SqliteConnection connection = Connect(path);
        using SqliteCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // constants of this file
        command.CommandText = sql;
#pragma warning restore CA2100
        return run(command);
    }
}
