using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Alignment.Tests.Outcome;

/// <summary>Two to four parties against a plain intersection and against hashed alignment.</summary>
public sealed class SeveralPartiesTests
{
    private static readonly byte[] JobDigest = ReferenceGroup.Bytes(78);

    [Fact]
    public void Align_RandomIds_AllHaveThePlainIntersectionInTheOrderOfHashedAlignment() => Prop.ForAll((from seed in Sets.Seeds
                                                                                                         from parties in Gen.Choose(2, 4)
                                                                                                         from columns in Gen.Choose(1, 3)
                                                                                                         from proof in Gen.Elements(false, false, false, true)
                                                                                                         from padTo in Gen.Elements(1, 1, 16)
                                                                                                         select (seed, parties, columns, proof, padTo)).ToArbitrary(), drawn =>
    {
        ReferenceSodium.Require();
        // A small universe, so that a few ids are common to all.
        string[][] ids = Sets.Draw(drawn.seed, drawn.parties, most: 30, drawn.columns, universe: 30);
        CheckAsync(ids, drawn.seed - 1000, new PsiOptions { Proof = drawn.proof, PadTo = drawn.padTo }, [.. InMemory(drawn.parties - 1)]).GetAwaiter().GetResult();
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)));

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task Align_OverGrpc_AllHaveThePlainIntersection(int parties)
    {
        ReferenceSodium.Require();
        string[][] ids = Sets.Of(seed: parties, common: 40, [.. Enumerable.Range(0, parties).Select(p => p == 1 ? 4100 : 60 + p)]);
        IReadOnlyList<ChannelPair> pairs = await GrpcParties.CreateAsync([.. Enumerable.Range(1, parties - 1).Select(p => $"party-{p}")]);
        await CheckAsync(ids, seed: 5, new PsiOptions(), pairs);
    }

    [Fact]
    public async Task Align_ColumnsWithWhiteSpaceAtTheirInnerEnds_AreInOneOrder()
    {
        // Equal ids whose plain strings differ: the order must come from what is compared, not from what was read.
        ReferenceSodium.Require();
        string[] one = [.. Enumerable.Range(0, 50).Select(i => $"a{i} \u001F b{i}\u001Fe\u0301")], two = [.. Enumerable.Range(0, 50).Reverse().Select(i => $"a{i}\u001F\tb{i} \u001F\u00E9")];
        IReadOnlyList<AlignedRows> aligned = await AlignAsync([one, two], seed: 3, new PsiOptions(), [.. InMemory(1)]);
        Assert.Equal(50, aligned[0].Rows.Length);
        Assert.Equal(aligned[0].Rows.Select(row => Sets.Key(one[row])), aligned[1].Rows.Select(row => Sets.Key(two[row])));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Align_OnePartyHasNothing_NobodyHasCommonRows(int empty)
    {
        ReferenceSodium.Require();
        string[][] ids = Sets.Of(seed: 1, common: 5, 9, 8, 7);
        ids[empty] = [];
        await CheckAsync(ids, seed: 5, new PsiOptions(), [.. InMemory(2)]);
    }

    [Fact]
    public async Task Align_ThreeParties_EachPassiveOneHearsOfItsOwnCommonIdsAlone()
    {
        ReferenceSodium.Require();
        string[][] ids = [["a", "b", "c", "d", "e"], ["b", "c", "d", "x"], ["d", "e", "y", "z", "b"]];
        ChannelPair[] pairs = [.. InMemory(2)];
        RecordingChannel[] wires = [.. pairs.Select(pair => new RecordingChannel(pair.First))];
        IReadOnlyList<AlignedRows> aligned = await AlignAsync(ids, seed: 5, new PsiOptions(), [.. wires.Select((wire, i) => new ChannelPair(wire, pairs[i].Second))]);
        Assert.All(aligned.Select((rows, p) => rows.Rows.Select(row => ids[p][row]).Order(StringComparer.Ordinal)), common => Assert.Equal(["b", "d"], common));
        // b, c, d are common with the first passive party, b, d, e with the second: three bytes to each, two of them 1, and no selection comes back.
        Assert.All(wires, wire => Assert.Equal((3, 2), (Assert.Single(wire.Sent.OfType<RowSelection>()).Length, wire.Sent.OfType<RowSelection>().Single().Selected.ToArray().Sum(b => b))));
        Assert.All(wires, wire => Assert.Empty(wire.Received.OfType<RowSelection>()));
        Assert.All(aligned, rows => Assert.NotEmpty(rows.Leaks));
    }

    [Theory]
    [InlineData(2, 1, ProtocolErrors.WrongLength)]      // one byte less than there are common ids
    [InlineData(4, 1, ProtocolErrors.WrongLength)]
    [InlineData(3, 2, ProtocolErrors.IllegalValue)]     // neither 0 nor 1
    public async Task Selection_Wrong_IsRefused(int bytes, byte value, string error)
    {
        // A hostile active party: the pair is done, and the selection of ids common to all parties is none.
        ReferenceSodium.Require();
        string[] ids = ["person 1", "person 2", "person 3"];
        (InMemoryChannel active, InMemoryChannel passive) = InMemoryChannel.CreatePair("mallory", "victim");
        var script = new Hostile.ScriptedPeer(active, PartyRole.Active, ids, JobDigest);
        var task = new AlignmentTask { Role = PartyRole.Passive, Ids = ids, Seed = 1, JobDigest = JobDigest, Parties = 3 };
        Task<AlignedRows> victim = Task.Run(() => new PsiAlignment(new PsiOptions { Log = new InMemoryAlignmentLog(TimeProvider.System) }).AlignAsync(task, [passive]));
        await script.RunAsync().WaitAsync(Hostile.Duel.Patience);
        Assert.Equal(3, script.Common.Length);
        await script.SendAsync(new RowSelection(Enumerable.Repeat(value, bytes).ToArray()));
        var refused = await Assert.ThrowsAsync<Diagnostics.PeerException>(() => victim.WaitAsync(Hostile.Duel.Patience));
        Assert.Equal(error, refused.Id);
        Assert.DoesNotContain("person", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Waiting_ForEver_IsGivenUpAtTheLimit()
    {
        // A hostile active party: the pair is done, and it says for ever that other pairs are not.
        ReferenceSodium.Require();
        string[] ids = ["person 1", "person 2", "person 3"];
        var clock = new ManualClock();
        (InMemoryChannel active, InMemoryChannel passive) = InMemoryChannel.CreatePair("mallory", "victim");
        var script = new Hostile.ScriptedPeer(active, PartyRole.Active, ids, JobDigest);
        var task = new AlignmentTask { Role = PartyRole.Passive, Ids = ids, Seed = 1, JobDigest = JobDigest, Parties = 3 };
        var options = new PsiOptions { Log = new InMemoryAlignmentLog(TimeProvider.System), WaitLimit = TimeSpan.FromMinutes(30) };
        Task<AlignedRows> victim = Task.Run(() => new PsiAlignment(options, clock).AlignAsync(task, [passive]));
        await script.RunAsync().WaitAsync(Hostile.Duel.Patience);
        await clock.WaitForTimerAsync(options.WaitLimit).WaitAsync(Hostile.Duel.Patience);
        for (int minute = 0; minute < 29; minute++)
        {
            await script.SayAsync(AlignmentStep.Waiting, []);
            clock.Advance(TimeSpan.FromMinutes(1));
        }

        Assert.False(victim.IsCompleted);
        clock.Advance(TimeSpan.FromMinutes(1));
        var refused = await Assert.ThrowsAsync<Diagnostics.PeerException>(() => victim.WaitAsync(Hostile.Duel.Patience));
        Assert.Equal(ProtocolErrors.TimedOut, refused.Id);
        Assert.Contains("waited 1800 s", refused.Message, StringComparison.Ordinal);
        // What a job file can set, and what an application can.
        Assert.Contains("transport.timeoutSeconds", refused.Message, StringComparison.Ordinal);
        Assert.Contains("PsiOptions.WaitLimit", refused.Message, StringComparison.Ordinal);
    }

    private static async Task CheckAsync(string[][] ids, long seed, PsiOptions options, IReadOnlyList<ChannelPair> pairs)
    {
        IReadOnlyList<AlignedRows> aligned = await AlignAsync(ids, seed, options, pairs);
        for (int p = 0; p < ids.Length; p++)
            Assert.Equal(Sets.Common(ids[p], [.. ids.Where((_, other) => other != p)]), aligned[p].Rows.Order());
        // One order for all, and that of hashed alignment, which compares whole ids: it is given them as they are compared.
        string[] first = [.. aligned[0].Rows.Select(row => Sets.Key(ids[0][row]))];
        Assert.All(aligned.Select((rows, p) => rows.Rows.Select(row => Sets.Key(ids[p][row]))), keys => Assert.Equal(first, keys));
        (InMemoryChannel First, InMemoryChannel Second)[] channels = [.. Enumerable.Range(1, ids.Length - 1).Select(p => InMemoryChannel.CreatePair("bank", $"party-{p}"))];
        Task<int[]>[] passive = [.. channels.Select((pair, i) => HashedAlignment.PassiveAsync([.. ids[i + 1].Select(Sets.Key)], seed, pair.Second, default))];
        int[] hashed = await HashedAlignment.ActiveAsync([.. ids[0].Select(Sets.Key)], seed, [.. channels.Select(pair => pair.First)], default);
        Assert.Equal(hashed, aligned[0].Rows);
        for (int i = 0; i < passive.Length; i++)
            Assert.Equal(await passive[i], aligned[i + 1].Rows);
    }

    private static async Task<IReadOnlyList<AlignedRows>> AlignAsync(string[][] ids, long seed, PsiOptions options, IReadOnlyList<ChannelPair> pairs)
    {
        AlignmentTask Of(int party) => new()
        {
            Role = party == 0 ? PartyRole.Active : PartyRole.Passive,
            Ids = ids[party],
            Seed = seed,
            JobDigest = JobDigest,
            Parties = ids.Length,
        };
        try
        {
            Task<AlignedRows>[] running = [.. ids.Select((_, party) => Task.Run(() => new PsiAlignment(options with { Log = new InMemoryAlignmentLog(TimeProvider.System) })
                .AlignAsync(Of(party), party == 0 ? [.. pairs.Select(pair => pair.First)] : [pairs[party - 1].Second])))];
            return await Task.WhenAll(running).WaitAsync(Hostile.Duel.Patience);
        }
        finally
        {
            foreach (ChannelPair pair in pairs)
                await pair.DisposeAsync();
        }
    }

    private static IEnumerable<ChannelPair> InMemory(int passive) => Enumerable.Range(1, passive).Select(p =>
    {
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", $"party-{p}");
        return new ChannelPair(first, second);
    });
}
