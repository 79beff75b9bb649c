using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Alignment.Tests.Outcome;

/// <summary>Two parties against a plain intersection.</summary>
public sealed class IntersectionTests
{
    private static readonly byte[] JobDigest = ReferenceGroup.Bytes(77);

    [Fact]
    public void Run_RandomIds_FindsThePlainIntersection() => Prop.ForAll((from seed in Sets.Seeds
                                                                          from columns in Gen.Choose(1, 4)
                                                                          from output in Gen.Elements(Enum.GetValues<PsiOutput>())
                                                                          from padActive in Gen.Elements(1, 1, 7, 64)
                                                                          from padPassive in Gen.Elements(1, 1, 5, 32)
                                                                          from universe in Gen.Elements(1, 5, 40, 120)
                                                                          select (seed, columns, output, padActive, padPassive, universe)).ToArbitrary(), drawn =>
    {
        ReferenceSodium.Require();
        string[][] ids = Sets.Draw(drawn.seed, parties: 2, most: 60, drawn.columns, drawn.universe);
        CheckAsync(ids[0], ids[1], new PsiOptions { Output = drawn.output, PadTo = drawn.padActive }, new PsiOptions { Output = drawn.output, PadTo = drawn.padPassive }).GetAwaiter().GetResult();
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(100)));

    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(0, 1, 0)]
    [InlineData(1, 0, 0)]
    [InlineData(1, 1, 0)]
    [InlineData(1, 1, 1)]
    [InlineData(300, 200, 0)]           // disjoint
    [InlineData(300, 300, 300)]         // equal
    [InlineData(300, 20, 20)]           // one contained in the other
    [InlineData(20, 300, 20)]
    [InlineData(3, 30_000, 2)]          // skewed 1:10,000
    [InlineData(10_000, 1, 1)]
    [InlineData(4095, 4096, 4000)]      // borders of chunks
    [InlineData(4096, 4097, 4096)]
    [InlineData(4097, 8192, 1)]
    [InlineData(8192, 4095, 4095)]
    public async Task Run_SizesAndBorders_FindThePlainIntersection(int active, int passive, int common)
    {
        ReferenceSodium.Require();
        string[][] ids = Sets.Of(seed: active + passive, common, active, passive);
        await CheckAsync(ids[0], ids[1], new PsiOptions(), new PsiOptions());
    }

    [Theory]
    [InlineData(PsiOutput.ActiveOnly)]
    [InlineData(PsiOutput.PassiveOnly)]
    [InlineData(PsiOutput.SizeOnly)]
    public async Task Run_OtherOutputsOverChunkBorders_FindThePlainIntersection(PsiOutput output)
    {
        ReferenceSodium.Require();
        string[][] ids = Sets.Of(seed: 5, 4097, 4097, 4099);
        await CheckAsync(ids[0], ids[1], new PsiOptions { Output = output }, new PsiOptions { Output = output, PadTo = 4096 });
    }

    [Theory]
    [InlineData(0, 1, 0)]
    [InlineData(0, 8, 8)]      // that a party has no rows is hidden as well
    [InlineData(1, 8, 8)]
    [InlineData(8, 8, 8)]
    [InlineData(9, 8, 16)]
    [InlineData(4097, 4096, 8192)]
    public async Task PadTo_AnyNumber_IsWhatThePeerSees(int rows, int padTo, long announced)
    {
        ReferenceSodium.Require();
        string[][] ids = Sets.Of(seed: 5, Math.Min(rows, 3), rows, 3);
        (PsiResult active, PsiResult passive, RecordingChannel wire, _) = await CheckAsync(ids[0], ids[1], new PsiOptions { PadTo = padTo }, new PsiOptions());
        Assert.Equal(announced, active.OwnIds);
        Assert.Equal(announced, passive.PeerIds);
        Assert.Equal(announced, wire.Sent.OfType<BlindedIds>().Sum(points => points.Length));
        Assert.Equal(announced, wire.Received.OfType<BlindedTags>().Sum(tags => tags.Length));
    }

    [Fact]
    public async Task Duplicates_Refused_NeitherIsQuotedAndThePeerIsTold()
    {
        ReferenceSodium.Require();
        // Equal once white space and the form of characters are left out of account, also within a column.
        string[] own = ["alpha", "Caf\u00E9\u001Fx ", "beta", " Cafe\u0301 \u001Fx"];
        (InMemoryChannel here, InMemoryChannel there) = InMemoryChannel.CreatePair("bank", "clinic");
        var error = await Assert.ThrowsAsync<BadInputException>(() => PsiParty.RunAsync(PartyRole.Active, own, JobDigest, here));
        Assert.Equal(PsiErrors.DuplicateId, error.Id);
        Assert.DoesNotContain("Caf", error.Message, StringComparison.Ordinal);
        Assert.Contains("2", error.Message, StringComparison.Ordinal);      // the rows, from 1
        Assert.Contains("4", error.Message, StringComparison.Ordinal);
        var told = await Assert.ThrowsAsync<PeerException>(() => PsiParty.RunAsync(PartyRole.Passive, ["x"], JobDigest, there));
        Assert.Contains(PsiErrors.DuplicateId, told.Message, StringComparison.Ordinal);
        Assert.Empty(here.Releases);
    }

    // Ids are prepared by several threads, of whose errors one is told as it is.
    [Fact]
    public async Task Run_IdThatIsNone_IsRefused()
    {
        ReferenceSodium.Require();
        foreach (string? id in new[] { null, "half a pair \ud800" })
        {
            (InMemoryChannel here, _) = InMemoryChannel.CreatePair("bank", "clinic");
            await Assert.ThrowsAnyAsync<ArgumentException>(() => PsiParty.RunAsync(PartyRole.Active, ["one", id!], JobDigest, here));
            Assert.Empty(here.Releases);
        }
    }

    [Fact]
    public void Duplicates_KeepFirst_TheFirstRowStandsForAll() => Prop.ForAll(Sets.Seeds.ToArbitrary(), seed =>
    {
        ReferenceSodium.Require();
        var random = new Random(seed);
        string[][] ids = Sets.Draw(seed, parties: 2, most: 30, columns: 2, universe: 40);
        string[] own = [.. ids[0], .. ids[0].Where(_ => random.Next(2) == 0).Select(id => $" {id}\t")], theirs = [.. ids[1], .. ids[1]];
        random.Shuffle(own);
        var options = new PsiOptions { Duplicates = DuplicateIds.KeepFirst };
        (PsiResult active, PsiResult passive, _, _) = CheckAsync(own, theirs, options, options).GetAwaiter().GetResult();
        Assert.Equal(ids[0].Length, active.OwnIds);         // no row twice on the wire, nor how often
        Assert.Equal(ids[1].Length, passive.OwnIds);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(25)));

    [Fact]
    public async Task Columns_OtherSplit_AreOtherIds()
    {
        // "ab" and "c" are not "a" and "bc", nor "abc" alone, nor with an empty column beside it.
        ReferenceSodium.Require();
        string[] own = ["ab\u001Fc", "x\u001Fy", "\u001Fz"], theirs = ["a\u001Fbc", "abc", "abc\u001F", "\u001Fabc", "x\u001Fy", "z", "z\u001F"];
        (PsiResult active, _, _, _) = await CheckAsync(own, theirs, new PsiOptions(), new PsiOptions());
        Assert.Equal([1], active.Rows!);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(4097, 4095)]
    public async Task Run_OverGrpc_FindsThePlainIntersection(int active, int passive)
    {
        ReferenceSodium.Require();
        string[][] ids = Sets.Of(seed: 3, Math.Min(active, passive) / 2, active, passive);
        await using ChannelPair pair = await GrpcParties.CreateAsync();
        await CheckAsync(ids[0], ids[1], new PsiOptions(), new PsiOptions(), pair);
    }

    [Theory]
    [InlineData(100, 150, 0)]
    [InlineData(5000, 700, 600)]
    public async Task Run_AnySizes_BytesAreThoseOfTheFormula(int active, int passive, int common)
    {
        ReferenceSodium.Require();
        string[][] ids = Sets.Of(seed: 9, common, active, passive);
        (PsiResult result, PsiResult other, _, _) = await CheckAsync(ids[0], ids[1], new PsiOptions(), new PsiOptions());
        int width = ReferencePsi.TagBytes(active, passive);
        // (32 + t) (n_G + n_H) and two hellos, commitments and confirmations.
        Assert.Equal((32L + width) * (active + passive) + 2 * (ReferencePsi.HelloBytes + 32 + 32), result.BytesSent + result.BytesReceived);
        Assert.Equal((result.BytesSent, result.BytesReceived), (other.BytesReceived, other.BytesSent));
    }

    /// <summary>Runs both sides and compares what each has with the plain intersection.</summary>
    private static async Task<(PsiResult Active, PsiResult Passive, RecordingChannel ActiveWire, RecordingChannel PassiveWire)> CheckAsync(string[] active, string[] passive,
        PsiOptions activeOptions, PsiOptions passiveOptions, ChannelPair? pair = null)
    {
        if (pair is null)
        {
            (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", "clinic");
            pair = new ChannelPair(first, second);
        }

        await using (pair)
        {
            RecordingChannel here = new(pair.First), there = new(pair.Second);
            var log = new InMemoryAlignmentLog(TimeProvider.System);
            Task<PsiResult> one = Task.Run(() => PsiParty.RunAsync(PartyRole.Active, active, JobDigest, here, activeOptions with { Log = log }));
            Task<PsiResult> two = Task.Run(() => PsiParty.RunAsync(PartyRole.Passive, passive, JobDigest, there, passiveOptions with { Log = log }));
            await Task.WhenAll(one, two).WaitAsync(Hostile.Duel.Patience);
            (PsiResult first, PsiResult second) = (await one, await two);
            int[] common = Sets.Common(active, passive), commonThere = Sets.Common(passive, active);
            Assert.Equal(common.Length, commonThere.Length);
            PsiOutput output = activeOptions.Output;
            (bool learns, bool learnsThere) = (output != PsiOutput.PassiveOnly, output != PsiOutput.ActiveOnly);
            Assert.Equal(learns && output != PsiOutput.SizeOnly ? common : null, first.Rows);
            Assert.Equal(learnsThere && output != PsiOutput.SizeOnly ? commonThere : null, second.Rows);
            Assert.Equal((learns ? common.Length : null, learnsThere ? commonThere.Length : null), (first.Size, second.Size));
            Assert.Equal(first.Session, second.Session);
            Assert.False(first.Resumed || second.Resumed);
            Assert.All(here.Sent.Concat(here.Received).OfType<SealedPayload>(), payload => Assert.InRange(payload.Length, 1, ReferencePsi.ChunkIds));
            return (first, second, here, there);
        }
    }
}
