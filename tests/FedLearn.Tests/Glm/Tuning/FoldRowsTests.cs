using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Glm.Tuning;

public class FoldRowsTests
{
    private static GlmJob Job(long seed, int count, int index) => new()
    {
        Name = "fold",
        Model = new() { Family = GlmFamilies.Binomial },
        Training = new() { Seed = seed },
        Fold = new(count, index),
        Parties = [new() { Party = new("a", FedLearn.Coordination.PartyRole.Active) }],
    };

    /// <summary>The rule as it is written down: a number of 64 bits from the digest, modulo the number of folds.</summary>
    internal static int FoldOf(string id, long seed, int count)
    {
        byte[] digest = SHA256.HashData([.. "fold"u8, .. Enumerable.Range(0, 8).Select(i => (byte)((seed >> (8 * i)) & 255)), .. Encoding.UTF8.GetBytes(id)]);
        return (int)(new BigInteger(digest.AsSpan(0, 8), isUnsigned: true, isBigEndian: true) % count);
    }

    [Fact]
    public void Of_AnyRows_EveryTrainingRowIsTestedOnOnceByTheRule() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<long>(), ArbMap.Default.ArbFor<PositiveInt>(), ArbMap.Default.ArbFor<NonNegativeInt>(), (seed, k, n) =>
    {
        int count = 2 + k.Get % 9;
        string[] ids = [.. Enumerable.Range(0, 40 + n.Get).Select(i => $"id {i}")];
        int[] train = [.. Enumerable.Range(0, ids.Length).Where(i => i % 3 != 0)], ownTest = [.. Enumerable.Range(0, ids.Length).Where(i => i % 3 == 0)];
        int empty = Enumerable.Range(0, count).Except(train.Select(row => FoldOf(ids[row], seed, count))).FirstOrDefault(-1);
        for (int index = 0; index < count; index++)
        {
            // Every run of a cross-validation refuses what one of them would.
            if (empty >= 0)
            {
                BadInputException error = Assert.Throws<BadInputException>(() => FoldRows.Of(Job(seed, count, index), ids, train, ownTest));
                Assert.Equal(("FL3110", $"fold {empty + 1} of {count}"), (error.Id, error.Place));
                continue;
            }

            int[] expected = [.. train.Where(row => FoldOf(ids[row], seed, count) == index)];
            (int[] kept, int[] tested) = FoldRows.Of(Job(seed, count, index), ids, train, ownTest);
            Assert.Equal(expected, tested);
            Assert.Equal(train.Except(expected), kept);
            Assert.Equal(kept, FoldRows.TrainOfAll(Job(seed, count, 0), ids, train).ElementAt(index));
        }
    }));

    [Fact]
    public void Of_RowsInAnotherOrder_SameIdsInTheSameOrderOfRows()
    {
        string[] ids = [.. Enumerable.Range(0, 200).Select(i => $"id {i}")], shuffled = [.. ids];
        new Random(3).Shuffle(shuffled);
        int[] rows = [.. Enumerable.Range(0, ids.Length)];
        for (int index = 0; index < 4; index++)
        {
            string[] one = [.. FoldRows.Of(Job(7, 4, index), ids, rows, []).Test.Select(r => ids[r])], other = [.. FoldRows.Of(Job(7, 4, index), shuffled, rows, []).Test.Select(r => shuffled[r])];
            Assert.Equal(one.Order(), other.Order());
            // The common order of a session is what the callers bring: it is kept.
            int[] backwards = [.. rows.Reverse()];
            Assert.Equal(one.Reverse(), FoldRows.Of(Job(7, 4, index), ids, backwards, []).Test.Select(r => ids[r]));
        }
    }

    [Fact]
    public void Of_NoFold_KeepsTheSplit()
    {
        (int[] train, int[] test) = FoldRows.Of(Job(0, 2, 0) with { Fold = null }, ["a", "b", "c"], [0, 2], [1]);
        Assert.Equal([0, 2], train);
        Assert.Equal([1], test);
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(1001, 0)]
    [InlineData(5, 5)]
    [InlineData(5, -1)]
    public void Create_FoldOutOfRange_IsRefused(int count, int index) =>
        Assert.Equal(GlmErrors.InvalidTuning, Assert.Throws<ConfigurationException>(() => GlmPlan.Create(Job(0, count, index))).Id);

    [Fact]
    public void Create_FoldOfAnEncryptedJob_IsRefused()
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => GlmPlan.Create(Job(0, 5, 0) with { Privacy = new() { Mode = PrivacyMode.He } }));
        Assert.Equal(GlmJointErrors.NotEncryptable, error.Id);
        Assert.Contains("cross-validation", error.Cause, StringComparison.Ordinal);
    }
}
