using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;

namespace FedLearn.Tests.Coordination;

public class RunLossTests
{
    /// <summary>An error of this party's channel, or what a peer says that it gave up for.</summary>
    [Theory]
    [InlineData(ProtocolErrors.TooLarge, null, false, false)]
    [InlineData(ProtocolErrors.TooLarge, null, true, true)]
    [InlineData(ProtocolErrors.PeerAborted, ProtocolErrors.TooLarge, false, false)]
    [InlineData(ProtocolErrors.PeerAborted, ProtocolErrors.TooLarge, true, true)]
    [InlineData(ProtocolErrors.WrongLength, null, true, false)]
    [InlineData(ProtocolErrors.PeerAborted, ProtocolErrors.WrongLength, true, false)]
    [InlineData(ProtocolErrors.PeerGone, null, false, true)]
    [InlineData(ProtocolErrors.PeerAborted, ProtocolErrors.PeerGone, false, true)]
    [InlineData(ProtocolErrors.PeerAborted, null, false, true)]
    public void LeavesRun_Error_StaysWhereTheRunCanGoOn(string id, string? peers, bool resumed, bool stays) =>
        Assert.Equal(stays, RunLoss.LeavesRun(new PeerException(id, "party 'telco'", "it fails.", "Mend it.") { PeerErrorId = peers }, resumed));

    [Fact]
    public void LeavesRun_StoppedOrFailedHere_StaysWhereItWasStopped()
    {
        Assert.True(RunLoss.LeavesRun(new OperationCanceledException(), resumed: false));
        Assert.False(RunLoss.LeavesRun(new InvalidDataException(), resumed: true));
    }
}
