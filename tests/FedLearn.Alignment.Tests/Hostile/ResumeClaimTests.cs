using System.Buffers.Binary;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment.Tests.Hostile;

/// <summary>What a peer may say of a session that was interrupted, and what comes of it.</summary>
public sealed class ResumeClaimTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-psi-claims-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private PsiOptions Options => new() { StateDirectory = _folder, Log = new InMemoryAlignmentLog(TimeProvider.System) };

    [Theory]
    [InlineData("points", 0)]
    [InlineData("second chunk", 1)]
    [InlineData("tags", 2)]
    [InlineData("confirmation", 2)]
    public async Task Claim_True_TheSessionGoesOn(string stoppedAt, int held)
    {
        // 4,097 ids of the peer are two chunks. The session counts once against the cap, however often it is taken up.
        (string[] own, string[] theirs) = Duel.Ids(6, 4097, 4);
        PsiOptions options = Options with { Caps = new AlignmentCaps { SessionsPerDay = 1 } };
        Duel first = await InterruptAsync(own, theirs, options, stoppedAt);
        Duel second = await Duel.FightAsync(PartyRole.Active, own, theirs, options, prepare: peer => peer.Resumes = first.Peer);
        Assert.True(second.Error is null, second.Error?.Message);
        Assert.True(second.Result!.Resumed);
        Assert.Equal(Convert.ToHexStringLower(first.Peer.Session), second.Result.Session);
        Assert.Equal([0, 1, 2, 3], second.Result.Rows!);
        Assert.Equal(4, second.Peer.Common.Length);
        Assert.Equal(held, second.Peer.PointChunksTheyHold);
        // The same points as before, to the byte and in the same order.
        byte[][] before = [.. first.Channel.Sent.OfType<BlindedIds>().SelectMany(p => ReferencePsi.Items(p.Bytes, 32))];
        if (before.Length > 0)
            Assert.Equal(before.Select(Convert.ToHexString), second.Peer.TheirPoints.Select(Convert.ToHexString));
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
        (await Duel.FightAsync(PartyRole.Active, own, theirs, options)).OnlyTheHelloLeft().RefusedWith(AlignmentErrors.TooManySessions);
    }

    [Theory]
    [InlineData("2^32 - 1 chunks of points", PsiErrors.WrongCount)]
    [InlineData("2^31 chunks of tags", PsiErrors.WrongCount)]
    [InlineData("one chunk more than there are", PsiErrors.WrongCount)]
    [InlineData("another commitment", PsiErrors.SettingsDiffer)]
    public async Task Claim_False_IsRefusedAndNothingIsKept(string claim, string error)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel first = await InterruptAsync(own, theirs, Options, "tags");
        Duel second = await Duel.FightAsync(PartyRole.Active, own, theirs, Options, prepare: peer =>
        {
            if (claim == "another commitment")
            {
                peer.ChangeHello = hello => [.. hello[..44], .. first.Peer.Session, .. hello[76..]];
                return;
            }

            peer.Resumes = first.Peer;
            peer.ChangeHello = hello =>
            {
                BinaryPrimitives.WriteUInt32LittleEndian(hello.AsSpan(claim.Contains("tags", StringComparison.Ordinal) ? 80 : 76),
                    claim.StartsWith("2^32", StringComparison.Ordinal) ? uint.MaxValue : claim.StartsWith("2^31", StringComparison.Ordinal) ? 1u << 31 : 2);
                return hello;
            };
        });
        Assert.DoesNotContain(second.Channel.Sent, payload => payload is BlindedIds);
        second.NoTagLeft().RefusedWith(error);
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
        // The next session is another one, with another scalar.
        Duel third = await Duel.FightAsync(PartyRole.Active, own, theirs, Options);
        Assert.False(third.Result!.Resumed);
        Assert.NotEqual(first.Peer.TheirCommitment, third.Peer.TheirCommitment);
    }

    [Theory]
    [InlineData("nothing")]
    [InlineData("a foreign session")]
    [InlineData("another number of ids")]
    public async Task Claim_OfAnotherSession_BeginsAnewWithAnotherScalar(string claim)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel first = await InterruptAsync(own, theirs, Options, "tags");
        Duel second = await Duel.FightAsync(PartyRole.Active, own, claim == "another number of ids" ? theirs[..8] : theirs, Options, prepare: peer => peer.ChangeHello = hello =>
        {
            if (claim == "a foreign session")
                hello.AsSpan(44).Fill(0xA5);
            if (claim == "another number of ids")
                first.Peer.Session.CopyTo(hello, 44);
            return hello;
        });
        Assert.True(second.Error is null, second.Error?.Message);
        Assert.False(second.Result!.Resumed);
        Assert.Equal([0, 1, 2, 3], second.Result.Rows!);
        Assert.NotEqual(first.Peer.TheirCommitment, second.Peer.TheirCommitment);
        Assert.NotEmpty(second.Result.Warnings);
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public async Task Points_SentAgainByAPeerThatResumes_AreRefused()
    {
        // Tags of another list under the same scalar: the list was kept, and none other is taken.
        (string[] own, string[] theirs) = Duel.Ids(6, 9, 4);
        Duel first = await InterruptAsync(own, theirs, Options, "tags");
        Duel second = await Duel.FightAsync(PartyRole.Active, own, theirs, Options, prepare: peer =>
        {
            peer.Resumes = first.Peer;
            peer.ChangePointChunks = _ => [[.. Enumerable.Range(0, 9).SelectMany(i => peer.Blind($"another guess {i}"))]];
        });
        Assert.IsType<PeerException>(second.Error);
        second.RefusedWith(ProtocolErrors.UnexpectedMessage);
    }

    [Theory]
    [InlineData(4, PsiErrors.RepeatedPoint)]
    [InlineData(0, PsiErrors.InvalidPoint)]
    public async Task Points_WrongInAResumedSession_AreStillRefused(int fault, string error)
    {
        // One chunk was kept; in the second, which comes after the interruption, a point of the first comes again, or none at all.
        (string[] own, string[] theirs) = Duel.Ids(6, 4097, 4);
        Duel first = await InterruptAsync(own, theirs, Options, "second chunk");
        Duel second = await Duel.FightAsync(PartyRole.Active, own, theirs, Options, prepare: peer =>
        {
            peer.Resumes = first.Peer;
            peer.ChangePointChunks = chunks => [.. chunks.SkipLast(1), fault == 0 ? new byte[32] : first.Peer.OwnPoints[fault]];
        });
        second.NoTagLeft().RefusedWith(error);
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
    }

    /// <summary>A session that the peer leaves at a step, saying that it was cancelled.</summary>
    private async Task<Duel> InterruptAsync(string[] own, string[] theirs, PsiOptions options, string at)
    {
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, options, prepare: peer =>
        {
            if (at == "second chunk")
                peer.ChangePointChunks = chunks => [chunks[0]];
            peer.Before = step => step == (at == "second chunk" ? "tags" : at) ? peer.Channel.AbortAsync(ProtocolErrors.Cancelled).AsTask() : Task.CompletedTask;
        });
        Assert.Equal(ProtocolErrors.PeerAborted, Assert.IsType<PeerException>(duel.Error).Id);
        Assert.NotEmpty(Directory.GetFiles(_folder, "session", SearchOption.AllDirectories));
        return duel;
    }
}
