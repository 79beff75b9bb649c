using System.Buffers.Binary;
using System.Security.Cryptography;
using FedLearn.Cli.Commands;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Cli.Tests.Commands;

public sealed class SharedTablesTests
{
    [Fact]
    public void Of_RandomTables_IsWhatEachTwoSay()
    {
        var random = new Random(11);
        for (int trial = 0; trial < TestCounts.Of(60); trial++)
        {
            // Populations from crowded to wide, tables from empty ones to beyond a sketch, some known by the sketch alone, as a ledger restores them.
            int population = 1 << random.Next(4, 14);
            DataSetIdentity[] tables = [.. Enumerable.Range(0, random.Next(0, 80)).Select(_ => Table(random, population, random.Next(0, random.Next(1, 700)))).DistinctBy(t => t.Fingerprint)];
            var shared = SharedTables.Of(tables, mostDigests: random.Next(1, 3_000));
            for (int one = 0; one < tables.Length; one++)
                for (int other = 0; other < tables.Length; other++)
                    Assert.Equal(tables[one].SharesRowsWith(tables[other]), shared.AreShared(one, other));
            for (int one = 1; one < tables.Length; one++)
                Assert.Equal(Enumerable.Range(0, tables.Length).All(t => shared.AreShared(0, t) == shared.AreShared(one, t)), shared.KeyOf(0) == shared.KeyOf(one));
        }
    }

    [Fact]
    public void Of_DigestsAtTheEndsOfTheRange_AreFound()
    {
        DataSetIdentity[] tables = [Restored(0), Restored(0, ulong.MaxValue), Restored(ulong.MaxValue), Restored(ulong.MaxValue / 2), Restored(ulong.MaxValue / 2 + 1)];
        foreach (int most in (int[])[1, 2, 3, 100])
        {
            var shared = SharedTables.Of(tables, most);
            for (int one = 0; one < tables.Length; one++)
                for (int other = 0; other < tables.Length; other++)
                    Assert.Equal(one == other || (one, other) is (0, 1) or (1, 0) or (1, 2) or (2, 1), shared.AreShared(one, other));
        }
    }

    [Fact]
    public void Of_ManyTables_ReadsEachOnceForEachPart()
    {
        int read = 0;
        DataSetIdentity[] tables = [.. Enumerable.Range(0, 50).Select(t => DataSetIdentity.Restore($"{t}", 300, Digests(300, t).AsSpan(0, 256 * 8), () =>
        {
            read++;
            return Digests(300, t);
        }))];
        _ = SharedTables.Of(tables);
        Assert.Equal(50, read);
    }

    private static byte[] Digests(int count, int from) => Bytes([.. Enumerable.Range(0, count).Select(i => ((ulong)from << 32) + (ulong)i)]);

    private static byte[] Bytes(ulong[] digests)
    {
        byte[] bytes = new byte[8 * digests.Length];
        for (int i = 0; i < digests.Length; i++)
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(8 * i), digests[i]);
        return bytes;
    }

    private static DataSetIdentity Restored(params ulong[] digests) => DataSetIdentity.Restore(string.Join(' ', digests), digests.Length, Bytes(digests));

    private static DataSetIdentity Table(Random random, int population, int rows)
    {
        int[] people = [.. Enumerable.Range(0, rows).Select(_ => random.Next(population)).Distinct()];
        var table = DataSetIdentity.Of([.. people.Select(id => SHA256.HashData(BitConverter.GetBytes(id))).OrderBy(Convert.ToHexString, StringComparer.Ordinal).SelectMany(d => d)]);
        ReadOnlyMemory<byte>? digests = table.Digests;
        return random.Next(3) switch
        {
            0 => table,
            1 => DataSetIdentity.Restore(table.Fingerprint, table.Rows, table.Sketch.Span),
            _ => DataSetIdentity.Restore(table.Fingerprint, table.Rows, table.Sketch.Span, () => digests!.Value),
        };
    }
}
