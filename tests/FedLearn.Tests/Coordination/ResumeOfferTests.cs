using System.Security.Cryptography;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Tests.Coordination;

public class ResumeOfferTests
{
    private static readonly SessionTerms Terms = new("credit", SHA256.HashData("terms"u8), new Dictionary<string, ReadOnlyMemory<byte>>(),
        [new("bank", PartyRole.Active), new("telco", PartyRole.Passive), new("shop", PartyRole.Passive)]);

    private static async Task<SessionAgreement> JoinAsync(params ResumeOffer?[] offers)
    {
        var desk = new SessionDesk(Terms, TimeSpan.FromMinutes(1), new ManualClock());
        JoinRequest[] requests = [.. offers.Select((offer, i) => new JoinRequest(SessionDesk.ProtocolVersion, Terms.Parties[i], Terms.JobName, Terms.TermsDigest, Terms.Sections, SHA256.HashData([(byte)i])) { Resume = offer })];
        SessionAgreement[] agreements = await Task.WhenAll(requests.Select(r => desk.JoinAsync(r)));
        for (int i = 0; i < requests.Length; i++)
            SessionDesk.Verify(requests[i], agreements[i]);
        return agreements[0];
    }

    [Fact]
    public async Task Join_OffersOfOneRun_GoesOnAtTheLastCommonRound()
    {
        SessionAgreement agreement = await JoinAsync(new("a1", [100, 200]), new("a1", [200, 300]), new("a1", [100, 200]));
        Assert.Equal(new ResumePoint("a1", 200), agreement.Resume);
        Assert.NotEqual("a1", agreement.SessionId);
        Assert.Equal(200, (await JoinAsync(new("a1", [100, 200]), new("a1", [100, 200]), new("a1", [100, 200]))).Resume!.Round);
    }

    [Fact]
    public async Task Join_AnOfferThatNotAllMake_BeginsANewRun()
    {
        Assert.Null((await JoinAsync(new("a1", [100]), null, new("a1", [100]))).Resume);
        Assert.Null((await JoinAsync(null, new("a1", [100]), new("a1", [100]))).Resume);
        Assert.Null((await JoinAsync(new("a1", [100]), new("b2", [100]), new("a1", [100]))).Resume);
        Assert.Null((await JoinAsync(new("a1", [100]), new("a1", [200]), new("a1", [300]))).Resume);
        Assert.Null((await JoinAsync(null, null, null)).Resume);
    }

    [Theory]
    [InlineData("a1", 300)]
    [InlineData("b2", 200)]
    public async Task Verify_ARunThatWasNotOffered_IsRefused(string session, int round)
    {
        var request = new JoinRequest(SessionDesk.ProtocolVersion, Terms.Parties[1], Terms.JobName, Terms.TermsDigest, Terms.Sections, SHA256.HashData([1])) { Resume = new ResumeOffer("a1", [100, 200]) };
        SessionAgreement agreement = await JoinAsync(null, null, null) with { Resume = new ResumePoint(session, round) };
        Assert.Equal(ProtocolErrors.NotOffered, Assert.Throws<PeerException>(() => SessionDesk.Verify(request, agreement)).Id);
        Assert.Equal(ProtocolErrors.NotOffered, Assert.Throws<PeerException>(() => SessionDesk.Verify(request with { Resume = null }, agreement)).Id);
    }

    [Fact]
    public void State_WrittenAndRead_IsTheSame_AndAnythingElseIsDamaged()
    {
        byte[] bytes = new StateWriter("test 1").Add("w", (double[])[1.5, double.NegativeZero, double.Epsilon]).Add("rows", (int[])[3, -1]).Add("round", 7L).Add("name", "Zürich").Add("none", ReadOnlySpan<byte>.Empty).ToArray();
        var reader = new StateReader("test 1", bytes, "here");
        Assert.Equal([1.5, double.NegativeZero, double.Epsilon], reader.Doubles("w", 3));
        Assert.Equal([3, -1], reader.Integers("rows"));
        Assert.Equal((7L, "Zürich", 0), (reader.Integer("round"), reader.Text("name"), reader.Bytes("none").Length));
        Assert.False(reader.Has("absent"));
        Assert.All((Action[])[() => reader.Doubles("w", 2), () => reader.Doubles("name"), () => reader.Integer("w"), () => reader.Bytes("absent"), () => reader.Integers("rows", 3),
            () => _ = new StateReader("test 2", bytes, "here"), () => _ = new StateReader("test 1", bytes.AsMemory(..^1), "here"), () => _ = new StateReader("test 1", (byte[])[.. bytes, .. bytes], "here"),
            () => _ = new StateReader("test 1", (byte[])[255, 255, 255, 255], "here")],
            act => Assert.Equal(RunStateErrors.Unusable, Assert.Throws<ConfigurationException>(act).Id));
    }
}
