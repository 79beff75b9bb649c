using System.Security.Cryptography;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Storage.Tests;

/// <summary>Which tables a ledger takes for the same people.</summary>
public sealed class SharedRowsTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private int _ledgers;

    public void Dispose() => _folder.Dispose();

    /// <summary>Digests of ids that nobody else has, ascending.</summary>
    private static byte[][] Digests(Random random, int count) => Sorted(Enumerable.Range(0, count).Select(_ =>
    {
        byte[] id = new byte[16];
        random.NextBytes(id);
        return SHA256.HashData(id);
    }));

    private static byte[][] Sorted(IEnumerable<byte[]> digests) => [.. digests.OrderBy(Convert.ToHexString, StringComparer.Ordinal)];

    private static DataSetIdentity Of(IEnumerable<byte[]> digests) => DataSetIdentity.Of([.. Sorted(digests).SelectMany(digest => digest)]);

    /// <summary>As earlier versions stored it.</summary>
    private static DataSetIdentity Stored(DataSetIdentity people) => DataSetIdentity.Restore(people.Fingerprint, people.Rows, people.Sketch.Span);

    private static PrivacyCharge Charge(DataSetIdentity people) => Charges.Gaussian(mu: GaussianDp.Mu(2.9, 1e-5)) with { DataSet = people };

    private SqliteLedger Ledger(LedgerBudget? budget = null) => new(_folder[$"{++_ledgers}.ledger.db"], new SqliteLedgerOptions { Budget = budget });

    /// <summary>Two tables of which each has its own ids, and so many in common.</summary>
    private static Arbitrary<(byte[][] First, byte[][] Second, int Common)> Tables() => (
        from seed in Gen.Choose(0, int.MaxValue)
        from first in Gen.Choose(0, 1500)
        from second in Gen.Choose(0, 1500)
        from common in Gen.Frequency((2, Gen.Constant(0)), (2, Gen.Constant(1)), (1, Gen.Choose(2, 40)))
        let random = new Random(seed)
        let shared = Digests(random, common)
        select ((byte[][])[.. Digests(random, first), .. shared], (byte[][])[.. Digests(random, second), .. shared], common)).ToArbitrary();

    [Fact]
    public void SharesRowsWith_TablesInMemory_FindsExactlyThoseWithACommonId() => Prop.ForAll(Tables(), tables =>
    {
        DataSetIdentity first = Of(tables.First), second = Of(tables.Second);
        Assert.Equal(tables.Common > 0, first.SharesRowsWith(second) || tables.First.Length + tables.Second.Length == 0);
        Assert.Equal(first.SharesRowsWith(second), second.SharesRowsWith(first));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)));

    [Fact]
    public void SharesRowsWith_StoredTableOfUpTo256Rows_IsFoundByEveryIdOfIt() => Prop.ForAll(
        Gen.Choose(0, int.MaxValue).ToArbitrary(), Gen.Choose(1, DataSetIdentity.SketchSize).ToArbitrary(), Gen.Choose(0, 3000).ToArbitrary(), (seed, rows, others) =>
        {
            var random = new Random(seed);
            byte[][] pilot = Digests(random, rows), table = Digests(random, others);
            DataSetIdentity stored = Stored(Of(pilot)), whole = Of([.. table, pilot[random.Next(rows)]]), strangers = Of(table);
            Assert.True(stored.SharesRowsWith(whole) && whole.SharesRowsWith(stored));
            Assert.False(stored.SharesRowsWith(strangers) || strangers.SharesRowsWith(stored));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)));

    [Fact]
    public void Spent_TablesOfALedger_AreThoseWithACommonIdInBothOrders() => Prop.ForAll(Tables(), tables =>
    {
        DataSetIdentity first = Of(tables.First), second = Of(tables.Second);
        if (first.Rows + second.Rows == 0)
            return;
        foreach (IPrivacyLedger ledger in (IPrivacyLedger[])[Ledger(), new InMemoryLedger()])
        {
            ledger.Reserve(Charge(first)).Dispose();
            Assert.Equal(tables.Common > 0, ledger.Spent("bank", second, PrivacyUnit.Record).MuSquared > 0);
            ledger.Reserve(Charge(second)).Dispose();
            // As a party asks that has the table, and as "ledger show" does.
            DataSetIdentity[] stored = [.. ledger.Entries.Select(entry => entry.Charge.DataSet)];
            Assert.Equal(tables.Common > 0, stored[0].SharesRowsWith(stored[1]));
            Assert.Equal(tables.Common > 0, stored[1].SharesRowsWith(stored[0]));
            Assert.Equal(tables.Common > 0, ledger.Spent("bank", first, PrivacyUnit.Record).MuSquared > 1.5 * ledger.Entries[0].MuSquared);
        }
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(20)));

    // The largest digests are those that no sketch of the table has.
    [Fact]
    public void Reserve_PilotAndWholeTable_AreChargedToTheSamePeopleInBothOrders()
    {
        byte[][] table = Digests(new Random(1), 14_619);
        DataSetIdentity whole = Of(table), pilot = Of(table[^60..]), others = Of(table[..^60]);
        SqliteLedger pilotFirst = Ledger(new LedgerBudget(3, 1e-5)), wholeFirst = Ledger(new LedgerBudget(3, 1e-5));
        pilotFirst.Reserve(Charge(pilot)).Dispose();
        wholeFirst.Reserve(Charge(whole)).Dispose();
        foreach ((SqliteLedger ledger, DataSetIdentity second) in new[] { (pilotFirst, whole), (wholeFirst, pilot) })
        {
            ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.BudgetSpent, () => ledger.Check(Charge(second)));
            ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.BudgetSpent, () => ledger.Reserve(Charge(second)));
        }

        pilotFirst.Reserve(Charge(others)).Dispose();
        Assert.Equal(2, pilotFirst.Entries.Count);
    }

    [Fact]
    public void Reserve_OneTableManyTimes_KeepsItsPeopleOnce()
    {
        byte[][] table = Digests(new Random(2), 20_000);
        SqliteLedger ledger = Ledger();
        ledger.Reserve(Charge(Of(table))).Dispose();
        long before = new FileInfo(ledger.Path).Length;
        for (int i = 0; i < 3; i++)
            ledger.Reserve(Charge(Of(table))).Dispose();
        Assert.InRange(new FileInfo(ledger.Path).Length - before, 0, 20_000);
        Assert.Single(ledger.Entries.Select(entry => entry.Charge.DataSet).Distinct());
    }

    [Fact]
    public void Entries_LedgerOfAnEarlierVersion_KnowsASketchUntilTheTableIsChargedAgain()
    {
        byte[][] table = Digests(new Random(3), 5_000);
        DataSetIdentity whole = Of(table), pilot = Of(table[^60..]);
        SqliteLedger ledger = Ledger();
        ledger.Reserve(Charge(Stored(whole))).Dispose();
        LedgerAudit old = SqliteLedger.Audit(ledger.Path);
        Assert.Null(old.Fault);
        Assert.Null(old.Entries[0].Charge.DataSet.Digests);
        Assert.True(old.Entries[0].Charge.DataSet.SharesRowsWith(Of(table[..60])));
        Assert.False(old.Entries[0].Charge.DataSet.SharesRowsWith(pilot));

        ledger.Reserve(Charge(whole)).Dispose();
        Assert.Equal(2, ledger.Entries.Count(entry => entry.Costs("bank", pilot, PrivacyUnit.Record)));
        Assert.Null(SqliteLedger.Audit(ledger.Path, new LedgerHead(old.Rows, old.Head)).Fault);
    }

    [Fact]
    public void SharesRowsWith_LedgerThatLostItsPeopleMeanwhile_IsRefused()
    {
        byte[][] table = Digests(new Random(4), 1_000);
        SqliteLedger ledger = Ledger();
        ledger.Reserve(Charge(Of(table))).Dispose();
        DataSetIdentity stored = ledger.Entries[0].Charge.DataSet;
        using (SqliteFile file = SqliteFile.Open(ledger.Path, TimeSpan.FromSeconds(30)))
            file.Execute("DELETE FROM people");
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.Broken, () => stored.SharesRowsWith(Of(table[^60..])));
    }
}
