using FedLearn.Diagnostics;
using FedLearn.Protocol;

namespace FedLearn.Tests.Protocol;

public class FailureSummaryTests
{
    [Theory]
    [InlineData(ProtocolErrors.PeerAborted, ProtocolErrors.TimedOut, ProtocolErrors.TimedOut)]
    [InlineData(ProtocolErrors.PeerGone, ProtocolErrors.TimedOut, ProtocolErrors.TimedOut)]
    [InlineData(ProtocolErrors.PartyMissing, ProtocolErrors.TimedOut, ProtocolErrors.TimedOut)]
    [InlineData(ProtocolErrors.PeerAborted, ProtocolErrors.CannotConnect, ProtocolErrors.CannotConnect)]
    [InlineData(ProtocolErrors.PeerGone, ProtocolErrors.PartyMissing, ProtocolErrors.PartyMissing)]
    [InlineData(ProtocolErrors.TimedOut, ProtocolErrors.WrongLength, ProtocolErrors.WrongLength)]
    [InlineData(ProtocolErrors.PeerGone, ProtocolErrors.PeerAborted, ProtocolErrors.PeerGone)]
    public void Root_OfTwoErrors_IsTheOneNearerToTheCause(string first, string second, string root)
    {
        PeerException[] errors = [new(first, "peer", "it failed.", "None."), new(second, "peer", "it failed.", "None.")];
        Assert.Equal(root, ((FedLearnException)FailureSummary.Root(errors)).Id);
        if (first != root)
            Assert.Equal(root, ((FedLearnException)FailureSummary.Root(errors.Reverse())).Id);
    }

    [Fact]
    public void Root_ErrorWithoutAnId_IsNoEcho()
    {
        var cause = new IOException("It failed.");
        Assert.Same(cause, FailureSummary.Root([new PeerException(ProtocolErrors.TimedOut, "peer", "it waited.", "None."), cause]));
    }
}
