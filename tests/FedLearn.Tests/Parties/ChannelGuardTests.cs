using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Protocol;

namespace FedLearn.Tests.Parties;

public class ChannelGuardTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task End_OneOfSeveralGivesUp_NobodyIsLetGo()
    {
        (InMemoryChannel toTelco, InMemoryChannel telco) = InMemoryChannel.CreatePair("bank", "telco");
        (InMemoryChannel toShop, InMemoryChannel shop) = InMemoryChannel.CreatePair("bank", "shop");
        Task<bool> bank = ChannelGuard.RunAsync([toTelco, toShop], async () =>
        {
            await ChannelGuard.EndAsync([toTelco, toShop], isActive: true, Token);
            return true;
        });
        Task ended = ChannelGuard.EndAsync([telco], isActive: false, Token);
        await shop.AbortAsync(ProtocolErrors.ModelNotSaved, Token);
        Assert.Equal(ProtocolErrors.ModelNotSaved, (await Assert.ThrowsAsync<PeerException>(() => bank)).PeerErrorId);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => ended);
        Assert.Equal(ProtocolErrors.PeerAborted, error.Id);
        Assert.True(RunLoss.Is(error));
    }

    [Fact]
    public async Task End_PeerVanishesWhenAllHaveEnded_IsTheEndForTheOthers()
    {
        (InMemoryChannel toTelco, InMemoryChannel telco) = InMemoryChannel.CreatePair("bank", "telco");
        (InMemoryChannel toShop, InMemoryChannel shop) = InMemoryChannel.CreatePair("bank", "shop");
        Task lost = ChannelGuard.EndAsync([shop], isActive: false, Token);
        await toShop.PeerCompletedAsync(Token);
        await shop.DisposeAsync();
        Task ended = ChannelGuard.EndAsync([telco], isActive: false, Token);
        await ChannelGuard.EndAsync([toTelco, toShop], isActive: true, Token);
        await ended;
        await Assert.ThrowsAsync<PeerException>(() => lost);
    }

    [Fact]
    public async Task End_ActivePartyIsLostBeforeItsWord_IsALossOfItsOwn()
    {
        (InMemoryChannel toTelco, InMemoryChannel telco) = InMemoryChannel.CreatePair("bank", "telco");
        Task ending = ChannelGuard.EndAsync([telco], isActive: false, Token);
        await toTelco.PeerCompletedAsync(Token);
        await toTelco.DisposeAsync();
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => ending);
        Assert.Equal(ProtocolErrors.EndNotHeard, error.Id);
        Assert.True(RunLoss.Is(error));
    }
}
