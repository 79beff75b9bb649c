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
    [InlineData(ProtocolErrors.PeerAborted, "FL6311", false, true)]
    [InlineData(ProtocolErrors.PeerAborted, "FL5022", false, true)]
    [InlineData(ProtocolErrors.PeerAborted, "FL5020", false, false)]
    public void LeavesRun_Error_StaysWhereTheRunCanGoOn(string id, string? peers, bool resumed, bool stays) =>
        Assert.Equal(stays, RunLoss.LeavesRun(new PeerException(id, "party 'telco'", "it fails.", "Mend it.") { PeerErrorId = peers }, resumed));

    [Fact]
    public void LeavesRun_StoppedOrFailedHere_StaysWhereItWasStopped()
    {
        Assert.True(RunLoss.LeavesRun(new OperationCanceledException(), resumed: false));
        Assert.False(RunLoss.LeavesRun(new InvalidDataException(), resumed: true));
    }

    // Mended beside the run, which goes on under the charge that it has.
    [Theory]
    [InlineData("FL2311", true)]
    [InlineData("FL6310", true)]
    [InlineData("FL6311", true)]
    [InlineData("FL6312", true)]
    [InlineData("FL6300", false)]
    public void LeavesRun_StorageFailsHere_Stays(string id, bool stays)
    {
        Assert.Equal(stays, RunLoss.LeavesRun(new InternalFailureException(id, "ledger", "it fails.", "Mend it."), resumed: false));
        Assert.True(RunLoss.LeavesRun(new PrivacyRefusedException("FL5022", "ledger", "it fails.", "Mend it."), resumed: true));
        Assert.False(RunLoss.Is(new InternalFailureException(id, "ledger", "it fails.", "Mend it.")));
    }
}
