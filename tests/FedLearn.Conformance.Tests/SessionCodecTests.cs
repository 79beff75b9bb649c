using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Wire = FedLearn.Transport.Grpc.Wire;

namespace FedLearn.Conformance.Tests;

/// <summary>The run to go on with, in the request to join and in its answer.</summary>
public sealed class SessionCodecTests
{
    private static SessionAgreement Agreement(ResumePoint? point) =>
        new("abc1", GrpcPairs.Digest("job"), [new JoinedParty("bank", GrpcPairs.Digest("bank")), new JoinedParty("telco", GrpcPairs.Digest("telco"))]) { Resume = point };

    [Fact]
    public void Resume_OfferedAndAgreedOn_ArrivesAsItIs()
    {
        foreach (ResumeOffer? offer in (ResumeOffer?[])[null, new("abc0", [0]), new("abc0", [100, 200]), new("abc0", [.. Enumerable.Range(0, ResumeOffer.MostRounds)])])
        {
            ResumeOffer? read = SessionCodec.Decode(SessionCodec.Encode(GrpcPairs.Request("telco") with { Resume = offer })).Resume;
            Assert.Equal(offer?.SessionId, read?.SessionId);
            Assert.Equal(offer?.Rounds, read?.Rounds);
        }

        foreach (ResumePoint? point in (ResumePoint?[])[null, new("abc0", 0), new("abc0", 200)])
            Assert.Equal(point, SessionCodec.Decode(SessionCodec.Encode(Agreement(point)), "host").Resume);
    }

    [Theory]
    [InlineData("", 1)]                 // rounds of no run
    [InlineData("abc0")]                // a run without rounds
    [InlineData("abc0", -1, 1)]
    [InlineData("abc0", 2, 1)]
    [InlineData("abc0", 1, 1)]
    [InlineData("abc 0", 1)]
    [InlineData("abc0", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)]
    public void Decode_OfferThatIsNone_IsMalformed(string session, params int[] rounds)
    {
        Wire.JoinRequest request = SessionCodec.Encode(GrpcPairs.Request("telco"));
        request.ResumeSession = session;
        request.ResumeRounds.AddRange(rounds);
        Assert.Equal(ProtocolErrors.Malformed, Assert.Throws<RpcException>(() => SessionCodec.Decode(request)).Status.ErrorId);
    }

    [Theory]
    [InlineData("abc0", -1)]
    [InlineData("abc 0", 1)]
    public void Decode_PointThatIsNone_IsMalformed(string session, int round)
    {
        Wire.JoinReply reply = SessionCodec.Encode(Agreement(null));
        (reply.ResumeSession, reply.ResumeRound) = (session, round);
        Assert.Equal(ProtocolErrors.Malformed, Assert.Throws<PeerException>(() => SessionCodec.Decode(reply, "host")).Id);
    }
}
