using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Alignment.Tests.Hostile;

/// <summary>Whatever a peer does, this party ends with the right error, soon, has told the peer its id, and has sent no tag before every point was checked.</summary>
public sealed class HostilePeerTests
{
    private static readonly PartyRole[] Roles = [PartyRole.Active, PartyRole.Passive];

    public static MatrixTheoryData<PartyRole, PsiOutput> RolesAndOutputs { get; } = new(Roles, Enum.GetValues<PsiOutput>());

    public static MatrixTheoryData<PartyRole, string> Hellos { get; } = new(Roles,
        ["version 0", "version 2", "suite", "output", "proof flag", "unknown flag", "over the cap", "negative count", "2^63 ids", "empty", "83 bytes", "85 bytes", "a megabyte"]);

    /// <summary>Bytes that are no point, by what is wrong with them.</summary>
    private static readonly Dictionary<string, byte[]> Bad = new()
    {
        ["non-canonical"] = Convert.FromHexString("f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), // p + 6
        ["p"] = ReferenceGroup.Bytes(ReferenceGroup.P),
        ["all ones"] = [.. Enumerable.Repeat((byte)0xFF, 32)],
        ["high bit"] = High(ReferenceGroup.Generator),
        ["negative"] = ReferenceGroup.Bytes(ReferenceGroup.P - new BigInteger(ReferenceGroup.Encode(ReferenceGroup.Generator), isUnsigned: true)),
        ["no square"] = Convert.FromHexString("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371"),
        ["x y negative"] = Convert.FromHexString("3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e"),
        ["y = 0"] = ReferenceGroup.Bytes(ReferenceGroup.P - 1),
        ["identity"] = new byte[32],
        ["identity + p"] = ReferenceGroup.Bytes(ReferenceGroup.P),
        ["identity, high bit"] = [.. new byte[31], 0x80],
    };

    public static MatrixTheoryData<PartyRole, string, int> BadPoints { get; } = new(Roles, [.. Bad.Keys], [0, 4, 8]);

    public static MatrixTheoryData<PartyRole, string> BadCommitments { get; } = new(Roles, [.. Bad.Keys]);

    [Theory]
    [MemberData(nameof(RolesAndOutputs))]
    public async Task HonestScript_EveryOutput_ThisPartyHasItsResult(PartyRole victim, PsiOutput output)
    {
        // The control of all that follows: the script is right until it is changed.
        (string[] own, string[] theirs) = Duel.Ids(9, 7, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, new PsiOptions { Output = output, Log = Log });
        Assert.Null(duel.Error);
        bool learns = output is PsiOutput.Both or PsiOutput.SizeOnly || output == (victim == PartyRole.Active ? PsiOutput.ActiveOnly : PsiOutput.PassiveOnly);
        Assert.Equal(learns ? 4 : null, duel.Result!.Size);
        Assert.Equal(learns && output != PsiOutput.SizeOnly ? [0, 1, 2, 3] : null, duel.Result.Rows);
        Assert.Equal(Convert.ToHexStringLower(duel.Peer.Session), duel.Result.Session);
        // And the script learns as much as its side should: positions of a size-only output mean nothing, their number does.
        bool peerLearns = output is PsiOutput.Both or PsiOutput.SizeOnly || !learns;
        Assert.Equal(peerLearns ? 4 : 0, duel.Peer.Common.Length);
        if (output == PsiOutput.Both)
            Assert.Equal(own[..4], duel.Peer.Common.Order(StringComparer.Ordinal));
        // One-sided: whoever learns nothing was sent no tag.
        Assert.Equal(peerLearns, duel.Channel.Sent.Any(p => p is BlindedTags));
        Assert.Equal(learns, duel.Channel.Received.Any(p => p is BlindedTags));
        Assert.Equal(output is PsiOutput.Both or PsiOutput.SizeOnly, duel.Channel.Sent.Any(p => p is AlignmentMessage { Step: AlignmentStep.Confirmation }));
    }

    [Theory]
    [MemberData(nameof(Hellos))]
    public async Task Hello_Wrong_IsRefusedBeforeAnythingElseLeaves(PartyRole victim, string fault)
    {
        (string[] own, string[] theirs) = Duel.Ids(5, 5, 2);
        var log = new CountingLog();
        Duel duel = await Duel.FightAsync(victim, own, theirs, new PsiOptions { Log = log, Caps = new AlignmentCaps { PeerIds = 1000 } }, prepare: peer => peer.ChangeHello = hello =>
        {
            switch (fault)
            {
                case "version 0": hello[0] = 0; break;
                case "version 2": hello[0] = 2; break;
                case "suite": hello[1] = 2; break;
                case "output": hello[2] = (byte)PsiOutput.SizeOnly; break;
                case "proof flag": hello[3] = 1; break;
                case "unknown flag": hello[3] = 0x80; break;
                case "over the cap": BinaryPrimitives.WriteUInt64LittleEndian(hello.AsSpan(36), 1001); break;
                case "negative count": BinaryPrimitives.WriteInt64LittleEndian(hello.AsSpan(36), -1); break;
                case "2^63 ids": BinaryPrimitives.WriteUInt64LittleEndian(hello.AsSpan(36), 1UL << 63); break;
                case "empty": return [];
                case "83 bytes": return hello[..^1];
                case "85 bytes": return [.. hello, 0];
                case "a megabyte": return [.. hello, .. new byte[1 << 20]];
            }

            return hello;
        });
        duel.OnlyTheHelloLeft().RefusedWith(fault switch
        {
            "over the cap" or "negative count" or "2^63 ids" => AlignmentErrors.TooManyIds,
            "empty" or "83 bytes" or "85 bytes" or "a megabyte" => ProtocolErrors.Malformed,
            _ => PsiErrors.SettingsDiffer,
        });
        Assert.Equal(0, log.Begun);
    }

    [Theory]
    [InlineData(PsiOutput.Both, PsiOutput.ActiveOnly)]
    [InlineData(PsiOutput.ActiveOnly, PsiOutput.Both)]
    [InlineData(PsiOutput.PassiveOnly, PsiOutput.ActiveOnly)]
    [InlineData(PsiOutput.SizeOnly, PsiOutput.Both)]
    public async Task Hello_OfAnotherOutput_IsRefusedWhicheverItIs(PsiOutput ours, PsiOutput theirs)
    {
        (string[] own, string[] other) = Duel.Ids(3, 3, 1);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, other, new PsiOptions { Output = ours, Log = Log }, prepare: peer => peer.ChangeHello = hello => { hello[2] = (byte)theirs; return hello; });
        duel.OnlyTheHelloLeft().RefusedWith(PsiErrors.SettingsDiffer);
    }

    [Theory]
    [MemberData(nameof(BadPoints))]
    public async Task Points_OneIsNone_IsRefusedAndNoTagLeaves(PartyRole victim, string kind, int place)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, prepare: peer => peer.ChangePoints = points => { points[place] = Bad[kind]; return points; });
        duel.NoTagLeft().RefusedWith(PsiErrors.InvalidPoint, Bad[kind]);
    }

    [Theory]
    [InlineData("identity", 4095)]
    [InlineData("high bit", 4096)]
    [InlineData("no square", 4100)]
    public async Task Points_OneIsNoneInALaterChunk_NoTagLeaves(string kind, int place)
    {
        // The first chunk is right and could be answered: nothing is before all are there.
        (string[] own, string[] theirs) = Duel.Ids(3, 4101, 2);
        Duel duel = await Duel.FightAsync(PartyRole.Passive, own, theirs, prepare: peer => peer.ChangePoints = points => { points[place] = Bad[kind]; return points; });
        duel.NoTagLeft().RefusedWith(PsiErrors.InvalidPoint, Bad[kind]);
    }

    [Theory]
    [MemberData(nameof(BadCommitments))]
    public async Task Commitment_NoPoint_IsRefusedBeforeAnyPointLeaves(PartyRole victim, string kind)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, prepare: peer => peer.ChangeCommitment = _ => Bad[kind]);
        Assert.DoesNotContain(duel.Channel.Sent, payload => payload is BlindedIds);
        duel.NoTagLeft().RefusedWith(PsiErrors.InvalidPoint, Bad[kind]);
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task Commitment_SentBack_IsReflection(PartyRole victim)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, prepare: peer => peer.ChangeCommitment = _ => peer.TheirCommitment);
        Assert.DoesNotContain(duel.Channel.Sent, payload => payload is BlindedIds);
        duel.NoTagLeft().RefusedWith(PsiErrors.Reflection);
    }

    [Theory]
    [InlineData(31)]
    [InlineData(33)]
    [InlineData(0)]
    public async Task Commitment_OfAnotherLength_IsRefused(int bytes)
    {
        (string[] own, string[] theirs) = Duel.Ids(3, 3, 1);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, prepare: peer => peer.ChangeCommitment = c => [.. c.Concat(new byte[1]).Take(bytes)]);
        duel.NoTagLeft().RefusedWith(ProtocolErrors.Malformed);
    }

    [Theory]
    [InlineData(PartyRole.Active, 9, 0, 8)]
    [InlineData(PartyRole.Passive, 9, 3, 4)]
    [InlineData(PartyRole.Active, 4099, 0, 4098)] // in two chunks
    public async Task Points_OneTwice_IsRefusedAndNoTagLeaves(PartyRole victim, int count, int first, int second)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, count, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, prepare: peer => peer.ChangePoints = points => { points[second] = points[first]; return points; });
        duel.NoTagLeft().RefusedWith(PsiErrors.RepeatedPoint);
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task Points_OneTwiceWithAHighBit_IsRefused(PartyRole victim)
    {
        // libsodium 1.0.18 reads both alike: to compare bytes would not find them equal.
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, prepare: peer => peer.ChangePoints = points =>
        {
            points[5] = [.. points[2][..31], (byte)(points[2][31] | 0x80)];
            return points;
        });
        duel.NoTagLeft().RefusedWith(PsiErrors.InvalidPoint);
    }

    [Theory]
    [InlineData(PartyRole.Active, 1, false)]
    [InlineData(PartyRole.Passive, 1, false)]
    [InlineData(PartyRole.Active, 6, false)]
    [InlineData(PartyRole.Passive, 6, false)]
    [InlineData(PartyRole.Active, 1, true)]
    [InlineData(PartyRole.Passive, 1, true)]
    public async Task Points_OfThisPartySentBack_AreRefusedAndNoTagLeaves(PartyRole victim, int reflected, bool highBit)
    {
        // The peer waits for this party's points, then sends some of them as its own.
        (string[] own, string[] theirs) = Duel.Ids(6, 6, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, script: async peer =>
        {
            await peer.GreetAsync();
            await peer.CommitAsync();
            await peer.ReceivePointsAsync();
            peer.ChangePoints = points => [.. peer.TheirPoints.Take(reflected).Select(p => (byte[])[.. p[..31], (byte)(p[31] | (highBit ? 0x80 : 0))]), .. points.Skip(reflected)];
            await peer.SendPointsAsync();
            await peer.ReceiveTagsAsync();
        });
        duel.NoTagLeft().RefusedWith(highBit ? PsiErrors.InvalidPoint : PsiErrors.Reflection);
        Assert.Empty(duel.Peer.TheirTags);
    }

    // The ends of the sorted lists in which points are compared.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Points_TheLeastOrTheLargest_IsFoundSentBackAndTwice(bool largest)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 6, 4);
        int End(List<byte[]> points) => Enumerable.Range(0, points.Count).OrderBy(i => Convert.ToHexString(points[i]), StringComparer.Ordinal).ElementAt(largest ? points.Count - 1 : 0);
        Duel back = await Duel.FightAsync(PartyRole.Active, own, theirs, script: async peer =>
        {
            await peer.GreetAsync();
            await peer.CommitAsync();
            await peer.ReceivePointsAsync();
            peer.ChangePoints = points => [peer.TheirPoints[End(peer.TheirPoints)], .. points.Skip(1)];
            await peer.SendPointsAsync();
            await peer.ReceiveTagsAsync();
        });
        back.NoTagLeft().RefusedWith(PsiErrors.Reflection);
        Duel twice = await Duel.FightAsync(PartyRole.Active, own, theirs, prepare: peer => peer.ChangePoints = points =>
        {
            int end = End(points);
            points[(end + 1) % points.Count] = points[end];
            return points;
        });
        twice.NoTagLeft().RefusedWith(PsiErrors.RepeatedPoint);
    }

    [Theory]
    [InlineData(PartyRole.Active, "one more in the chunk")]
    [InlineData(PartyRole.Passive, "one less in the chunk")]
    [InlineData(PartyRole.Active, "empty")]
    [InlineData(PartyRole.Passive, "in two messages")]
    [InlineData(PartyRole.Active, "twice as many")]
    public async Task Points_AnotherNumberThanAnnounced_IsRefused(PartyRole victim, string fault)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, prepare: peer => peer.ChangePointChunks = chunks => fault switch
        {
            "one more in the chunk" => [[.. chunks[0], .. ReferenceSodium.MultiplyBase(ReferencePsi.Scalar())]],
            "one less in the chunk" => [chunks[0][..^32]],
            "empty" => [[], .. chunks],
            "in two messages" => [chunks[0][..128], chunks[0][128..]],
            _ => [[.. Enumerable.Range(0, 18).SelectMany(_ => ReferenceSodium.MultiplyBase(ReferencePsi.Scalar()))]],
        });
        duel.NoTagLeft().RefusedWith(PsiErrors.WrongCount);
    }

    [Theory]
    [InlineData(4095)] // not whole chunks
    [InlineData(4097)] // too large a chunk, though as many as announced
    public async Task Points_ChunksOfAnotherSize_AreRefused(int size)
    {
        (string[] own, string[] theirs) = Duel.Ids(3, 4097, 2);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, prepare: peer => peer.ChangePointChunks = chunks =>
            [.. chunks.SelectMany(c => c).Chunk(32 * size)]);
        duel.NoTagLeft().RefusedWith(PsiErrors.WrongCount);
    }

    [Fact]
    public async Task Points_OneChunkTooMany_IsRefused()
    {
        // It stands where the first tags are due.
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, prepare: peer => peer.ChangePointChunks = chunks => [.. chunks, ReferenceSodium.MultiplyBase(ReferencePsi.Scalar())]);
        duel.RefusedWith(ProtocolErrors.UnexpectedMessage);
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task Tags_BeforeAllPoints_AreRefusedAndNoTagLeaves(PartyRole victim)
    {
        // All tags of this party's points, and only the first of two chunks of the peer's own.
        (string[] own, string[] theirs) = Duel.Ids(6, 4097, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, script: async peer =>
        {
            await peer.GreetAsync();
            await peer.CommitAsync();
            peer.ChangePointChunks = chunks => [chunks[0]];
            await peer.SendPointsAsync();
            await peer.ReceivePointsAsync();
            await peer.SendTagsAsync();
            await peer.ReceiveTagsAsync();
        });
        duel.NoTagLeft().RefusedWith(ProtocolErrors.UnexpectedMessage);
        Assert.Empty(duel.Peer.TheirTags);
    }

    [Theory]
    [InlineData("one more", 7)]
    [InlineData("one less", 5)]
    [InlineData("none", 0)]
    [InlineData("wider", 6)]
    [InlineData("narrower", 6)]
    [InlineData("length lies", 6)]
    public async Task Tags_AnotherNumberOrWidth_AreRefused(string fault, int count)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(PartyRole.Passive, own, theirs, script: async peer =>
        {
            await peer.GreetAsync();
            await peer.CommitAsync();
            await peer.SendPointsAsync();
            await peer.ReceivePointsAsync();
            int width = peer.Width + (fault == "wider" ? 1 : fault == "narrower" ? -1 : 0);
            byte[] tags = RandomNumberGenerator.GetBytes(count * width);
            await peer.SendAsync(new BlindedTags(tags, fault == "length lies" ? count + 1 : count));
        });
        duel.RefusedWith(PsiErrors.WrongCount);
    }

    [Theory]
    [InlineData(PartyRole.Active, PsiOutput.Both, "all")]
    [InlineData(PartyRole.Passive, PsiOutput.Both, "all")]
    [InlineData(PartyRole.Active, PsiOutput.SizeOnly, "all")]
    [InlineData(PartyRole.Active, PsiOutput.Both, "one common")]
    [InlineData(PartyRole.Passive, PsiOutput.Both, "one common")]
    [InlineData(PartyRole.Passive, PsiOutput.SizeOnly, "one common")]
    [InlineData(PartyRole.Active, PsiOutput.Both, "confirmation")]
    [InlineData(PartyRole.Passive, PsiOutput.SizeOnly, "confirmation")]
    public async Task Tags_ThatLie_ShowInTheConfirmation(PartyRole victim, PsiOutput output, string lie)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, new PsiOptions { Output = output, Log = Log }, script: async peer =>
        {
            await peer.GreetAsync();
            await peer.CommitAsync();
            await peer.SendPointsAsync();
            await peer.ReceivePointsAsync();
            await peer.ReceiveTagsAsync();      // first: then the peer knows which tags are common
            Assert.Equal(4, peer.Common.Length);
            HashSet<string> common = [.. peer.TheirTags.Select(Convert.ToHexString)];
            switch (lie)
            {
                case "all": peer.ChangeTags = tags => [.. tags.Select(tag => RandomNumberGenerator.GetBytes(tag.Length))]; break;
                case "one common": peer.ChangeTags = tags => { tags[tags.FindIndex(tag => common.Contains(Convert.ToHexString(tag)))] = new byte[peer.Width]; return tags; }; break;
                default: peer.ChangeConfirmation = digest => [.. digest[..31], (byte)(digest[31] ^ 1)]; break;
            }

            await peer.SendTagsAsync();
            await peer.ConfirmAsync();
        });
        duel.RefusedWith(PsiErrors.Disagreement);
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task Tags_OneTwice_IsRefused(PartyRole victim)
    {
        // A peer that waits for this party's tags knows which of its own points are common, and claims one common id for all rows of this party.
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, script: async peer =>
        {
            await peer.GreetAsync();
            await peer.CommitAsync();
            await peer.SendPointsAsync();
            await peer.ReceivePointsAsync();
            await peer.ReceiveTagsAsync();
            byte[] common = peer.TheirTags.First(tag => peer.Made.Any(made => made.AsSpan().SequenceEqual(tag)));
            peer.ChangeTags = tags => [.. tags.Select(_ => common)];
            await peer.SendTagsAsync();
            await peer.ConfirmAsync();
        });
        duel.RefusedWith(PsiErrors.RepeatedPoint);
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task Tags_OneTwiceInAOneSidedOutput_TellThePeerNothing(PartyRole victim)
    {
        // All ids are common, so that any tag that the peer makes of this party's points is; an error would tell the peer so.
        (string[] own, string[] theirs) = Duel.Ids(6, 6, 6);
        PsiOutput output = victim == PartyRole.Active ? PsiOutput.ActiveOnly : PsiOutput.PassiveOnly;
        Duel duel = await Duel.FightAsync(victim, own, theirs, new PsiOptions { Output = output, Log = Log }, prepare: peer => peer.ChangeTags = tags => [tags[0], tags[0], .. tags[2..]]);
        Assert.Null(duel.Error);
        Assert.Equal(4, duel.Result!.Size);
        Assert.Equal(4, duel.Result.Rows!.Count);
        Assert.Contains(duel.Result.Warnings, warning => warning.Contains("not to be trusted", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task Tags_OfAnInventedIdInAOneSidedOutput_TellThePeerNothing(PartyRole victim)
    {
        (string[] own, string[] theirs) = Duel.Ids(4, 64, 4);
        PsiOutput output = victim == PartyRole.Active ? PsiOutput.ActiveOnly : PsiOutput.PassiveOnly;
        // The tags of four common ids stand in places drawn at random, most of them of invented ids.
        Duel duel = await Duel.FightAsync(victim, own, theirs, new PsiOptions { Output = output, PadTo = 64, Log = Log }, prepare: peer => peer.ChangeTags = tags => [.. tags.Skip(1), tags[0]]);
        Assert.Null(duel.Error);
        Assert.True(duel.Result!.Size < 4);
        Assert.Contains(duel.Result.Warnings, warning => warning.Contains("not to be trusted", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task Tags_ClaimingAnInventedId_AreRefused(PartyRole victim)
    {
        // This party pads to 64: the peer says of 60 places at random that they are common, some of them invented.
        (string[] own, string[] theirs) = Duel.Ids(4, 64, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, new PsiOptions { PadTo = 64, Log = Log }, script: async peer =>
        {
            await peer.GreetAsync();
            await peer.CommitAsync();
            await peer.SendPointsAsync();
            await peer.ReceivePointsAsync();
            await peer.ReceiveTagsAsync();
            Assert.Equal(64, peer.TheirPoints.Count);
            Assert.Equal(64, peer.TheirTags.Count);
            peer.ChangeTags = _ => peer.TheirTags;   // every own tag of the victim's making comes back as if common
            await peer.SendTagsAsync();
            await peer.ConfirmAsync();
        });
        duel.RefusedWith(PsiErrors.Disagreement);
    }

    public static TheoryData<string, string> Misplaced { get; } = new()
    {
        { "hello", "step" }, { "hello", "kind" }, { "hello", "round" },
        { "commitment", "step" }, { "commitment", "kind" }, { "commitment", "round" },
        { "points", "step" }, { "points", "kind" }, { "points", "round" },
        { "tags", "step" }, { "tags", "kind" }, { "tags", "round" },
        { "confirmation", "step" }, { "confirmation", "kind" }, { "confirmation", "round" },
    };

    [Theory]
    [MemberData(nameof(Misplaced))]
    public async Task Message_OfAnotherStepKindOrRound_IsRefused(string where, string fault)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, prepare: peer => peer.Before = step => step != where ? Task.CompletedTask : (fault, where) switch
        {
            ("step", _) => peer.SayAsync(where is "commitment" ? AlignmentStep.Confirmation : AlignmentStep.Commitment, new byte[32]),
            ("kind", _) => peer.SendAsync(new RowSelection(new byte[9])),
            (_, "points") => peer.SendAsync(new BlindedIds(new byte[9 * 32]), round: 1),
            (_, "tags") => peer.SendAsync(new BlindedTags(new byte[6 * 6], 6), round: 1),
            ("round", "hello") => peer.SendAsync(new AlignmentMessage(AlignmentStep.Hello, new byte[84]), round: 1),
            ("round", "commitment") => peer.SendAsync(new AlignmentMessage(AlignmentStep.Commitment, new byte[32]), round: 1),
            _ => peer.SendAsync(new AlignmentMessage(AlignmentStep.Confirmation, new byte[32]), round: 1),
        });
        if (where is "hello" or "commitment" or "points")
            duel.NoTagLeft();
        duel.RefusedWith(fault == "round" ? ProtocolErrors.WrongRound : ProtocolErrors.UnexpectedMessage);
    }

    [Theory]
    [InlineData("hello")]
    [InlineData("commitment")]
    [InlineData("points")]
    [InlineData("tags")]
    [InlineData("confirmation")]
    public async Task Peer_FallsSilent_TimesOut(string where)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        var clock = new ManualClock();
        var silent = new TaskCompletionSource();
        TimeSpan limit = TimeSpan.FromMinutes(1);
        Task<Duel> fight = Duel.FightAsync(PartyRole.Passive, own, theirs, channelOptions: new ChannelOptions { Clock = clock, ReceiveTimeout = limit }, prepare: peer => peer.Before = async step =>
        {
            if (step != where)
                return;
            silent.SetResult();
            while (true)
                await peer.Channel.ReceiveAsync<Payload>(0, null); // takes all, says nothing, until its own time is up or the other side's
        });
        await silent.Task.WaitAsync(ChannelConformance.Patience);
        while (!fight.IsCompleted)
        {
            await Task.WhenAny(fight, clock.WaitForTimerAsync(limit));
            clock.Advance(limit);
        }

        Duel duel = await fight;
        Assert.Equal(ProtocolErrors.TimedOut, Assert.IsType<Diagnostics.PeerException>(duel.Error).Id);
        if (where is "hello" or "commitment" or "points")
            duel.NoTagLeft();
    }

    [Theory]
    [InlineData("hello")]
    [InlineData("commitment")]
    [InlineData("points")]
    [InlineData("tags")]
    [InlineData("confirmation")]
    public async Task Peer_GivesUp_ItsWordsReachThisParty(string where)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(PartyRole.Passive, own, theirs, prepare: peer => peer.Before = async step =>
        {
            if (step == where)
                await peer.Channel.AbortAsync(AlignmentErrors.TooManySessions);
        });
        var error = Assert.IsType<Diagnostics.PeerException>(duel.Error);
        Assert.Equal(ProtocolErrors.PeerAborted, error.Id);
        Assert.Contains(AlignmentErrors.TooManySessions, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Hello_ClaimsToResume_WithoutAFolderIsANewSession(bool absurd)
    {
        // What the peer says it holds is ignored: all points and tags are sent.
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, prepare: peer => peer.ChangeHello = hello =>
        {
            RandomNumberGenerator.Fill(hello.AsSpan(44, 32));
            hello.AsSpan(76).Fill(absurd ? (byte)0xFF : (byte)0);
            return hello;
        });
        Assert.Null(duel.Error);
        Assert.Equal([0, 1, 2, 3], duel.Result!.Rows);
        Assert.False(duel.Result.Resumed);
        Assert.Equal(6, duel.Peer.TheirPoints.Count);
        Assert.Equal(9, duel.Peer.TheirTags.Count);
    }

    [Fact]
    public async Task Sessions_MoreThanThePeerMayHave_AreRefusedBeforeAnyPointLeaves()
    {
        (string[] own, string[] theirs) = Duel.Ids(3, 3, 1);
        var options = new PsiOptions { Log = Log, Caps = new AlignmentCaps { SessionsPerDay = 2 } };
        for (int session = 0; session < 2; session++)
            Assert.Null((await Duel.FightAsync(PartyRole.Active, own, theirs, options)).Error);
        Duel third = await Duel.FightAsync(PartyRole.Active, own, theirs, options);
        third.OnlyTheHelloLeft().RefusedWith(AlignmentErrors.TooManySessions);
    }

    [Fact]
    public async Task Sessions_ThatFailed_CountAsWell()
    {
        (string[] own, string[] theirs) = Duel.Ids(3, 3, 1);
        var options = new PsiOptions { Log = Log, Caps = new AlignmentCaps { SessionsPerDay = 1 } };
        Duel first = await Duel.FightAsync(PartyRole.Active, own, theirs, options, prepare: peer => peer.ChangeConfirmation = _ => new byte[32]);
        first.RefusedWith(PsiErrors.Disagreement);
        (await Duel.FightAsync(PartyRole.Active, own, theirs, options)).OnlyTheHelloLeft().RefusedWith(AlignmentErrors.TooManySessions);
    }

    [Fact]
    public async Task Session_IsWrittenDownBeforeAnyPointLeaves()
    {
        (string[] own, string[] theirs) = Duel.Ids(3, 3, 1);
        var log = new CountingLog { Refuse = true };
        Duel duel = await Duel.FightAsync(PartyRole.Passive, own, theirs, new PsiOptions { Log = log });
        duel.OnlyTheHelloLeft().RefusedWith(AlignmentErrors.TooManySessions);
        Assert.Equal(1, log.Begun);
    }

    private static InMemoryAlignmentLog Log => new(TimeProvider.System);

    private static byte[] High(ReferenceGroup.Element point)
    {
        byte[] bytes = ReferenceGroup.Encode(point);
        bytes[31] |= 0x80;
        return bytes;
    }

    private sealed class CountingLog : IAlignmentLog
    {
        public int Begun { get; private set; }

        public bool Refuse { get; init; }

        public void Begin(AlignmentRecord record, AlignmentCaps caps)
        {
            Begun++;
            if (Refuse)
                throw new Diagnostics.PrivacyRefusedException(AlignmentErrors.TooManySessions, $"peer '{record.Peer}'", "enough.", "Wait.");
        }

        public void End(string session, long? commonIds) { }
    }
}
