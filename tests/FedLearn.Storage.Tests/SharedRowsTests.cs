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

    private static DataSetIdentity Stored(DataSetIdentity people) => DataSetIdentity.Restore(people.Fingerprint, people.Rows, people.Sketch.Span);

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

    // The largest digests are those that no sketch of the table has.
    [Fact]
    public void Reserve_WholeTableAfterAPilotOfIt_IsChargedToTheSamePeople()
    {
        var ledger = new SqliteLedger(_folder["bank.ledger.db"], new SqliteLedgerOptions { Budget = new LedgerBudget(3, 1e-5) });
        byte[][] table = Digests(new Random(1), 14_619);
        PrivacyCharge Charge(IEnumerable<byte[]> people) => Charges.Gaussian(mu: GaussianDp.Mu(2.9, 1e-5)) with { DataSet = Of(people) };
        ledger.Reserve(Charge(table[^60..])).Dispose();
        ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.BudgetSpent, () => ledger.Check(Charge(table)));
        ErrorAssert.Throws<PrivacyRefusedException>(PrivacyErrors.BudgetSpent, () => ledger.Reserve(Charge(table)));
        ledger.Check(Charge(table[..^60]));
    }
}
