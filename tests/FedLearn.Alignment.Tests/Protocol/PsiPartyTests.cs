using System.Collections.Concurrent;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment.Tests.Protocol;

public sealed class PsiPartyTests
{
    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(0, 5, 0)]
    [InlineData(1, 1, 1)]
    [InlineData(5, 9, 3)]
    [InlineData(4097, 4096, 4000)]
    [InlineData(8192, 3, 2)]
    public async Task RunAsync_Both_FindsTheCommonRowsAtEachSide(int active, int passive, int common)
    {
        (string[] own, string[] theirs) = PsiPair.Ids(active, passive, common, seed: 7);
        (PsiResult a, PsiResult b) = await PsiPair.RunAsync(own, theirs, new PsiOptions());
        Assert.Equal(PsiPair.Common(own, theirs), a.Rows!);
        Assert.Equal(PsiPair.Common(theirs, own), b.Rows!);
        Assert.Equal((common, common), (a.Size!.Value, b.Size!.Value));
        Assert.Equal(a.Session, b.Session);
        Assert.Equal((active, passive), (a.OwnIds, a.PeerIds));
        Assert.Equal((passive, active), (b.OwnIds, b.PeerIds));
    }

    [Theory]
    [InlineData(PsiOutput.ActiveOnly, true, false)]
    [InlineData(PsiOutput.PassiveOnly, false, true)]
    public async Task RunAsync_OneSide_OnlyThatSideLearns(PsiOutput output, bool activeLearns, bool passiveLearns)
    {
        (string[] own, string[] theirs) = PsiPair.Ids(40, 30, 11, seed: 3);
        (PsiResult a, PsiResult b) = await PsiPair.RunAsync(own, theirs, new PsiOptions { Output = output });
        Assert.Equal(activeLearns ? PsiPair.Common(own, theirs) : null, a.Rows);
        Assert.Equal(passiveLearns ? PsiPair.Common(theirs, own) : null, b.Rows);
        Assert.Equal((activeLearns ? 11 : null, passiveLearns ? 11 : null), (a.Size, b.Size));
    }

    [Theory]
    [InlineData(PsiOutput.Both, 11, 11)]
    [InlineData(PsiOutput.PassiveOnly, null, 11)]
    public async Task RunAsync_ToTheEnd_IsLoggedFromItsBeginningToWhatItTold(PsiOutput output, int? active, int? passive)
    {
        (string[] own, string[] theirs) = PsiPair.Ids(40, 30, 11, seed: 3);
        var log = new Notes();
        (PsiResult result, _) = await PsiPair.RunAsync(own, theirs, new PsiOptions { Output = output, Log = log });
        Assert.Equal([(result.Session, 30L), (result.Session, 40L)], log.Begun.Select(r => (r.Session, r.PeerIds)).Order());
        Assert.Equal(((long?[])[active, passive]).Order(), log.Ended.Where(e => e.Session == result.Session).Select(e => e.Common).Order());
        Assert.Equal(2, log.Ended.Count);
    }

    private sealed class Notes : IAlignmentLog
    {
        public ConcurrentQueue<AlignmentRecord> Begun { get; } = [];

        public ConcurrentQueue<(string Session, long? Common)> Ended { get; } = [];

        public void Begin(AlignmentRecord record, AlignmentCaps caps) => Begun.Enqueue(record);

        public void End(string session, long? commonIds) => Ended.Enqueue((session, commonIds));
    }

    [Fact]
    public async Task RunAsync_SizeOnly_TellsTheSizeAndNoRow()
    {
        (string[] own, string[] theirs) = PsiPair.Ids(4500, 30, 11, seed: 3);
        (PsiResult a, PsiResult b) = await PsiPair.RunAsync(own, theirs, new PsiOptions { Output = PsiOutput.SizeOnly });
        Assert.Equal((11, 11), (a.Size!.Value, b.Size!.Value));
        Assert.Null(a.Rows);
        Assert.Null(b.Rows);
    }

    [Theory]
    [InlineData(PsiOutput.Both)]
    [InlineData(PsiOutput.ActiveOnly)]
    public async Task RunAsync_Proof_FindsTheCommonRows(PsiOutput output)
    {
        (string[] own, string[] theirs) = PsiPair.Ids(4100, 50, 17, seed: 4);
        (PsiResult a, PsiResult b) = await PsiPair.RunAsync(own, theirs, new PsiOptions { Proof = true, Output = output });
        Assert.Equal(PsiPair.Common(own, theirs), a.Rows!);
        Assert.Equal(output == PsiOutput.Both ? PsiPair.Common(theirs, own) : null, b.Rows);
    }

    [Fact]
    public void Check_ProofOfASizeAlone_IsRefused() =>
        Assert.Throws<ArgumentException>(() => new PsiOptions { Proof = true, Output = PsiOutput.SizeOnly }.Check());

    [Theory]
    [InlineData(5, 8)]
    [InlineData(8, 8)]
    [InlineData(0, 8)]
    public async Task RunAsync_PadTo_AnnouncesAMultipleAndFindsTheSame(int ids, int announced)
    {
        (string[] own, string[] theirs) = PsiPair.Ids(ids, 20, Math.Min(ids, 4), seed: 5);
        (PsiResult a, PsiResult b) = await PsiPair.RunAsync(own, theirs, new PsiOptions { PadTo = 8 }, new PsiOptions { PadTo = 1 });
        Assert.Equal((announced, announced), (a.OwnIds, b.PeerIds));
        Assert.Equal(PsiPair.Common(own, theirs), a.Rows!);
        Assert.Equal(PsiPair.Common(theirs, own), b.Rows!);
    }

    [Fact]
    public async Task RunAsync_SeveralColumnsInOtherForms_AreOneId()
    {
        string[] own = ["Zo\u00EB\u001F1980", "Max\u001F1981", "Zo\u00EB1980"], theirs = ["x", " Zoe\u0308 \u001F1980 "];
        (PsiResult a, PsiResult b) = await PsiPair.RunAsync(own, theirs, new PsiOptions());
        Assert.Equal([0], a.Rows!);
        Assert.Equal([1], b.Rows!);
    }

    [Fact]
    public async Task RunAsync_DuplicatesRefused_NameTheRowsAndNoId()
    {
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => PsiPair.RunAsync(["a", "secret", "b", " secret "], [], new PsiOptions()));
        Assert.Equal(PsiErrors.DuplicateId, error.Id);
        Assert.Contains("rows 2 and 4", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RunAsync_DuplicatesKept_TheFirstRowStands()
    {
        (PsiResult a, PsiResult b) = await PsiPair.RunAsync(["q", "p", "q ", " p", "p"], ["p"], new PsiOptions { Duplicates = DuplicateIds.KeepFirst });
        Assert.Equal([1], a.Rows!);
        Assert.Equal([0], b.Rows!);
        Assert.Equal(2, a.OwnIds);
    }

    [Fact]
    public async Task RunAsync_OtherOutputAtThePeer_IsRefused()
    {
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => PsiPair.RunAsync(["a"], ["a"], new PsiOptions(), new PsiOptions { Output = PsiOutput.ActiveOnly }));
        Assert.Contains(error.Id, new[] { PsiErrors.SettingsDiffer, ProtocolErrors.PeerAborted });
    }

    [Fact]
    public async Task RunAsync_MoreIdsThanThePeerMayBring_IsRefused()
    {
        var strict = new PsiOptions { Caps = new() { PeerIds = 2 } };
        FedLearnException error = await Assert.ThrowsAnyAsync<FedLearnException>(() => PsiPair.RunAsync(["a", "b", "c"], ["a"], new PsiOptions(), strict));
        Assert.Contains(error.Id, new[] { AlignmentErrors.TooManyIds, ProtocolErrors.PeerAborted });
    }

    [Fact]
    public async Task RunAsync_OnTheWire_CostsWhatTheProtocolSays()
    {
        (string[] own, string[] theirs) = PsiPair.Ids(4097, 1000, 100, seed: 9);
        (InMemoryChannel a, InMemoryChannel b) = PsiPair.Channels();
        Task<PsiResult> first = PsiParty.RunAsync(Coordination.PartyRole.Active, own, PsiPair.JobDigest, a, cancellationToken: TestContext.Current.CancellationToken);
        PsiResult passive = await PsiParty.RunAsync(Coordination.PartyRole.Passive, theirs, PsiPair.JobDigest, b, cancellationToken: TestContext.Current.CancellationToken);
        PsiResult active = await first;
        // t = ceil((40 + 13 + 10) / 8) = 8 bytes; a hello of 84, a commitment and a confirmation of 32.
        Assert.Equal((4097 * 32) + (1000 * 8) + 148, active.BytesSent);
        Assert.Equal((1000 * 32) + (4097 * 8) + 148, passive.BytesSent);
        Assert.All(a.Releases.Keys.Where(k => k.Name.Contains("blinded", StringComparison.Ordinal)), k => Assert.Equal(Protection.Encryption, k.Protection));
        Assert.Equal(5, a.Releases.Count);
    }
}
