using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Parties;

public class HashedAlignmentTests
{
    /// <summary>Each party's ids in its own order, the active party's first.</summary>
    private static readonly Gen<(string[][] Ids, long Seed)> Parties =
        from passives in Gen.Choose(1, 3)
        from pool in Gen.Choose(1, 40)
        from draw in Gen.Choose(0, int.MaxValue - 1)
        from seed in Gen.Elements(0L, 1, -1, 7, long.MinValue, long.MaxValue)
        select (Draw(new Random(draw), passives, pool), seed);

    private static string[][] Draw(Random random, int passives, int pool)
    {
        string[] all = [.. Enumerable.Range(0, pool).Select(i => random.Next(3) switch { 0 => $"id{i}", 1 => $"Köln-{i}", _ => $"{i:D12}" })];
        return [.. Enumerable.Range(0, passives + 1).Select(_ =>
        {
            string[] own = [.. all.Where(_ => random.Next(5) > 0)];
            random.Shuffle(own);
            return own.Length == 0 ? [all[0]] : own;
        })];
    }

    /// <summary>SHA-256(seed || id) as text: sorting it sorts the bytes.</summary>
    private static string SortKey(string id, long seed)
    {
        byte[] prefix = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, seed);
        return Convert.ToHexString(SHA256.HashData([.. prefix, .. Encoding.UTF8.GetBytes(id)]));
    }

    private static async Task<string[][]> AlignAsync(string[][] ids, long seed)
    {
        (InMemoryChannel First, InMemoryChannel Second)[] pairs = [.. ids.Skip(1).Select((_, i) => InMemoryChannel.CreatePair("active", $"p{i}"))];
        Task<int[]>[] parties =
        [
            HashedAlignment.ActiveAsync(ids[0], seed, [.. pairs.Select(p => p.First)], CancellationToken.None),
            .. pairs.Select((p, i) => HashedAlignment.PassiveAsync(ids[i + 1], seed, p.Second, CancellationToken.None)),
        ];
        int[][] rows = await Task.WhenAll(parties);
        return [.. rows.Select((common, party) => common.Select(row => ids[party][row]).ToArray())];
    }

    // Of millions of ids for longer than a peer waits; and the passive parties wait for the slowest of them.
    [Theory]
    [InlineData(0, "active to p0", "active to p1")]
    [InlineData(1, "p0 to active", "active to p1")]
    public async Task Alignment_OnePartySortsLong_ThoseThatWaitAreTold(int slow, params string[] waiting)
    {
        string[] ids = ["a", "b", "c"];
        using var work = new WorkOfOthers(waiting);
        (InMemoryChannel First, InMemoryChannel Second)[] pairs = [.. Enumerable.Range(0, 2).Select(i => InMemoryChannel.CreatePair("active", $"p{i}"))];
        IReadOnlyList<string> Of(int party) => party == slow ? work.Reads(ids) : ids;
        Task<int[]>[] parties =
        [
            Task.Run(() => HashedAlignment.ActiveAsync(Of(0), 1, [.. pairs.Select(p => work.Of(p.First))], TestContext.Current.CancellationToken)),
            .. pairs.Select((p, i) => Task.Run(() => HashedAlignment.PassiveAsync(Of(i + 1), 1, i + 1 == slow ? work.Of(p.Second) : p.Second, TestContext.Current.CancellationToken))),
        ];
        Assert.All(await Task.WhenAll(parties), rows => Assert.Equal(3, rows.Length));
        Assert.True(work.WereTold);
    }

    [Fact]
    public void Alignment_AnyParties_SameIdsInDigestOrder() => Prop.ForAll(Parties.ToArbitrary(), draw =>
    {
        string[] expected = [.. draw.Ids.Aggregate<IEnumerable<string>>((common, ids) => common.Intersect(ids)).OrderBy(id => SortKey(id, draw.Seed), StringComparer.Ordinal)];
        Assert.All(AlignAsync(draw.Ids, draw.Seed).GetAwaiter().GetResult(), ids => Assert.Equal(expected, ids));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(200));

    [Fact]
    public async Task Alignment_OneSidedIdsOnly_IsEmptyEverywhere()
    {
        string[][] aligned = await AlignAsync([["a", "b"], ["b", "c"], ["a", "c"]], 0);
        Assert.All(aligned, Assert.Empty);
    }

    [Fact]
    public async Task Alignment_OneActiveParty_KeepsAllItsRows()
    {
        string[][] aligned = await AlignAsync([["x", "y", "z"]], 3);
        Assert.Equal(new[] { "x", "y", "z" }.OrderBy(id => SortKey(id, 3), StringComparer.Ordinal), aligned[0]);
    }

    public static TheoryData<string, byte[]> IllegalDigests
    {
        get
        {
            byte[] sorted = RowIds.Order(["a", "b", "c"], 0).Digests;
            return new()
            {
                { "falling", [.. sorted[32..64], .. sorted[..32], .. sorted[64..]] },
                { "repeated", [.. sorted[..32], .. sorted[..32]] },
                { "last two falling", [.. sorted[..32], .. sorted[64..], .. sorted[32..64]] },
            };
        }
    }

    [Theory]
    [MemberData(nameof(IllegalDigests))]
    public async Task Active_IdsNotRising_RefusesThePeer(string what, byte[] digests)
    {
        (InMemoryChannel active, InMemoryChannel passive) = InMemoryChannel.CreatePair("active", "p0");
        await passive.SendAsync(0, Disclosure.Unprotected(new HashedIds(digests), what), TestContext.Current.CancellationToken);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => HashedAlignment.ActiveAsync(["a", "b", "c"], 0, [active], CancellationToken.None));
        Assert.Equal(ProtocolErrors.IllegalValue, error.Id);
        Assert.Contains("p0", error.Place, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(new byte[] { 1, 2, 0 }, ProtocolErrors.IllegalValue)]
    [InlineData(new byte[] { 1, 0 }, ProtocolErrors.WrongLength)]
    [InlineData(new byte[] { 1, 0, 1, 0 }, ProtocolErrors.WrongLength)]
    public async Task Passive_IllegalSelection_RefusesThePeer(byte[] selected, string id)
    {
        (InMemoryChannel active, InMemoryChannel passive) = InMemoryChannel.CreatePair("active", "p0");
        await active.SendAsync(0, Disclosure.Unprotected(new RowSelection(selected), "test"), TestContext.Current.CancellationToken);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => HashedAlignment.PassiveAsync(["a", "b", "c"], 0, passive, CancellationToken.None));
        Assert.Equal(id, error.Id);
    }

    /// <summary>Both sides with a dictionary of all ids that there can be, in place of what they have: what they learn is what the leaks say, neither less nor more.</summary>
    [Fact]
    public async Task Alignment_DictionaryOfAllIds_TellsWhatTheLeaksSay()
    {
        string[] dictionary = [.. Enumerable.Range(0, 20_000).Select(i => $"+49 30 {i:D5}")];
        string[] active = [.. dictionary.Where((_, i) => i % 3 == 0)], honest = [.. dictionary.Where((_, i) => i % 5 == 0)];
        (InMemoryChannel toHostile, InMemoryChannel hostile) = InMemoryChannel.CreatePair("active", "hostile");
        (InMemoryChannel toHonest, InMemoryChannel other) = InMemoryChannel.CreatePair("active", "honest");
        SortedRows guesses = RowIds.Order(dictionary, 7);
        Task<int[]> own = HashedAlignment.ActiveAsync(active, 7, [toHostile, toHonest], TestContext.Current.CancellationToken);
        Task<int[]> theirs = HashedAlignment.PassiveAsync(honest, 7, other, TestContext.Current.CancellationToken);
        await hostile.SendAsync(0, Disclosure.Unprotected(new HashedIds(guesses.Digests), "guesses"), TestContext.Current.CancellationToken);
        RowSelection told = await hostile.ReceiveAsync<RowSelection>(0, dictionary.Length, TestContext.Current.CancellationToken);
        // Which guesses both others have; of those that one of them has, nothing.
        Assert.Equal(dictionary.Where((_, i) => i % 15 == 0).Order(StringComparer.Ordinal), guesses.Rows.Where((_, i) => told.Selected.Span[i] == 1).Select(row => dictionary[row]).Order(StringComparer.Ordinal));
        Assert.Contains("guesses, which nothing caps or logs", HashedAlignment.Leaks[2], StringComparison.Ordinal);
        // The honest parties have the same rows, in the same order, as if the guesses were rows.
        Assert.Equal((await own).Select(row => active[row]), (await theirs).Select(row => honest[row]));

        // An active party that looks up what it received knows the whole list.
        HashedIds sent = new(RowIds.Order(honest, 7).Digests);
        HashSet<string> received = [.. sent.Digests.ToArray().Chunk(HashedIds.DigestBytes).Select(Convert.ToHexString)];
        Assert.Equal(honest, dictionary.Where(id => received.Contains(Convert.ToHexString(RowIds.Digest(id, 7)))));
        Assert.Contains("can test guesses of ids against it", HashedAlignment.Leaks[0], StringComparison.Ordinal);
    }

    /// <summary>Digests of no id, at both ends of what there can be and beside those of the others, change nobody's rows. The most that a peer names is a matter of the channel's limit.</summary>
    [Fact]
    public async Task Active_DigestsOfNoId_AreCommonToNobody()
    {
        string[] ids = [.. Enumerable.Range(0, 50).Select(i => $"id{i}")];
        byte[][] own = [.. RowIds.Order(ids, 7).Digests.Chunk(HashedIds.DigestBytes)];
        // One bit beside each digest, and the first and last of all.
        byte[][] beside = [.. own.Select((digest, i) => (byte[])[.. digest[..31], (byte)(digest[31] ^ (1 << (i % 8)))])];
        byte[][] crafted = [new byte[32], .. own.Take(10).Concat(beside), [.. Enumerable.Repeat((byte)255, 32)]];
        byte[][] sorted = [.. crafted.OrderBy(Convert.ToHexString, StringComparer.Ordinal)];
        (InMemoryChannel active, InMemoryChannel passive) = InMemoryChannel.CreatePair("active", "p0");
        Task<int[]> rows = HashedAlignment.ActiveAsync(ids, 7, [active], TestContext.Current.CancellationToken);
        await passive.SendAsync(0, Disclosure.Unprotected(new HashedIds(sorted.SelectMany(d => d).ToArray()), "crafted"), TestContext.Current.CancellationToken);
        RowSelection told = await passive.ReceiveAsync<RowSelection>(0, sorted.Length, TestContext.Current.CancellationToken);
        Assert.Equal(own.Take(10).Select(Convert.ToHexString), sorted.Where((_, i) => told.Selected.Span[i] == 1).Select(Convert.ToHexString));
        Assert.Equal(own.Take(10).Select(Convert.ToHexString), (await rows).Select(row => Convert.ToHexString(RowIds.Digest(ids[row], 7))));
    }

    [Fact]
    public async Task Alignment_TellsOnlyWhatItsLeaksSay()
    {
        // One message each way, digests out, one byte a row back.
        (InMemoryChannel active, InMemoryChannel passive) = InMemoryChannel.CreatePair("active", "p0");
        await Task.WhenAll(HashedAlignment.ActiveAsync(["a", "b"], 0, [active], CancellationToken.None),
            HashedAlignment.PassiveAsync(["b", "c", "d"], 0, passive, CancellationToken.None));
        Assert.Equal(new ChannelStatistics(1, 1, 3, 3 * 32), active.Statistics);
        Assert.Equal([("alignment: hashed ids", Protection.None)], passive.Releases.Keys);
        Assert.Equal([("alignment: common rows", Protection.None)], active.Releases.Keys);
        Assert.Equal(3, HashedAlignment.Leaks.Count);
    }
}
