using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Tests.Parties;

public class ChannelGuardTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    // Whatever a family, a tower or a store of one's own throws has no id of its own.
    [Fact]
    public async Task Run_ErrorWithoutAnId_IsToldToThePeers()
    {
        (InMemoryChannel here, InMemoryChannel there) = InMemoryChannel.CreatePair("bank", "telco");
        await Assert.ThrowsAsync<InvalidOperationException>(() => ChannelGuard.RunAsync([here], () => throw new InvalidOperationException("private")));
        PeerException told = await Assert.ThrowsAsync<PeerException>(async () => await there.PeerCompletedAsync(Token));
        Assert.Equal(ProtocolErrors.PeerFailed, told.PeerErrorId);
        Assert.DoesNotContain("private", told.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_JobThatAlignsByPsi_NeedsAnAlignment()
    {
        Assert.Same(HashedAlignment.Instance, AlignmentChoice.Of(AlignmentMethod.Hashed, null, "bank"));
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => AlignmentChoice.Of(AlignmentMethod.Psi, null, "bank"));
        Assert.Equal((AlignmentErrors.MethodMissing, "party 'bank'"), (error.Id, error.Place));
        Assert.Equal(AlignmentErrors.MethodMissing, Assert.Throws<ConfigurationException>(() => AlignmentChoice.Of(AlignmentMethod.Psi, HashedAlignment.Instance, "bank")).Id);
    }

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

    /// <summary>Whoever has its model waits for those that still save theirs; it may be gone by then.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task End_OneOfSeveralStillSaves_TheOthersAreToldToWait(bool isGone)
    {
        var clock = new ManualClock();
        (InMemoryChannel toTelco, InMemoryChannel telco) = InMemoryChannel.CreatePair("bank", "telco");
        (InMemoryChannel toShop, InMemoryChannel shop) = InMemoryChannel.CreatePair("bank", "shop");
        Task early = ChannelGuard.EndAsync([telco], isActive: false, Token);
        await toTelco.PeerCompletedAsync(Token);
        if (isGone)
            await telco.DisposeAsync();
        Task bank = ChannelGuard.EndAsync([toTelco, toShop], isActive: true, Token, clock);
        await clock.WaitForTimerAsync(ChannelGuard.Patience, Token);
        clock.Advance(ChannelGuard.Patience);
        Assert.Equal(AlignmentStep.Waiting, (await shop.ReceiveAsync<AlignmentMessage>(0, 0, Token)).Step);
        await ChannelGuard.EndAsync([shop], isActive: false, Token);
        await bank;
        if (isGone)
            await Assert.ThrowsAsync<PeerException>(() => early);
        else
            await early;
        Assert.Equal(isGone ? 0 : 1, toTelco.Statistics.MessagesSent);
    }

    [Fact]
    public async Task Make_PeerIsGoneMeanwhile_DisposesOfWhatNobodyGets()
    {
        (InMemoryChannel toTelco, _) = InMemoryChannel.CreatePair("bank", "telco");
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var made = new MemoryStream();
        var lost = new HastyChannel(toTelco, () =>
        {
            told.SetResult();
            throw ProtocolErrors.Peer(ProtocolErrors.PeerGone, "telco", "test", "it is gone.", "Look.");
        });
        Task<MemoryStream> making = ChannelGuard.MakeAsync([lost], async () =>
        {
            await told.Task;
            return made;
        }, Token);
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => making)).Id);
        Assert.False(made.CanRead);
    }

    [Fact]
    public async Task WhileTheyWait_WorkTakesLong_IsToldEveryThirdOfTheLimit()
    {
        var clock = new ManualClock();
        (InMemoryChannel toTelco, InMemoryChannel telco) = InMemoryChannel.CreatePair("bank", "telco", new ChannelOptions { ReceiveTimeout = TimeSpan.FromSeconds(3), Clock = clock });
        (InMemoryChannel toShop, InMemoryChannel shop) = InMemoryChannel.CreatePair("bank", "shop");
        var done = new TaskCompletionSource<int>();
        Task<int> working = ChannelGuard.WhileTheyWaitAsync([toTelco, toShop], _ => done.Task, Token, clock);
        for (int i = 0; i < 4; i++)
        {
            await clock.WaitForTimerAsync(TimeSpan.FromSeconds(1), Token);
            clock.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal(AlignmentStep.Waiting, (await telco.ReceiveAsync<AlignmentMessage>(0, 0, Token)).Step);
            Assert.Equal(AlignmentStep.Waiting, (await shop.ReceiveAsync<AlignmentMessage>(0, 0, Token)).Step);
        }

        done.SetResult(7);
        Assert.Equal(7, await working);
        Assert.Equal(4, toShop.Statistics.MessagesSent);
    }

    [Fact]
    public async Task WhileTheyWait_PeerIsGone_StopsTheWork()
    {
        var clock = new ManualClock();
        (InMemoryChannel toTelco, InMemoryChannel telco) = InMemoryChannel.CreatePair("bank", "telco");
        await telco.DisposeAsync();
        var begun = new TaskCompletionSource<CancellationToken>(TaskCreationOptions.RunContinuationsAsynchronously);
        Task<int> working = ChannelGuard.WhileTheyWaitAsync([toTelco], async stop =>
        {
            begun.SetResult(stop);
            return await new TaskCompletionSource<int>().Task.WaitAsync(stop);
        }, Token, clock);
        CancellationToken seen = await begun.Task.WaitAsync(Token);
        await clock.WaitForTimerAsync(ChannelGuard.Patience, Token);
        clock.Advance(ChannelGuard.Patience);
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => working)).Id);
        Assert.True(seen.IsCancellationRequested);
    }

    [Fact]
    public async Task Compute_WorkWithoutAToken_IsLeftBehindWhenStopped()
    {
        using var stop = new CancellationTokenSource();
        using var release = new ManualResetEventSlim();
        using var begun = new ManualResetEventSlim();
        Task<bool> working = ChannelGuard.ComputeAsync([], _ =>
        {
            begun.Set();
            release.Wait(CancellationToken.None);
            return true;
        }, stop.Token);
        begun.Wait(Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => working);
        release.Set();
    }

    [Fact]
    public async Task All_OneFails_StopsTheOthersAndIsWhatIsTold()
    {
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        bool stopped = false;
        Task all = ChannelGuard.AllAsync(
        [
            async stop =>
            {
                begun.SetResult();
                try
                {
                    await new TaskCompletionSource().Task.WaitAsync(stop);
                }
                finally
                {
                    stopped = stop.IsCancellationRequested;
                }
            },
            async _ =>
            {
                await begun.Task;
                throw new InvalidDataException();
            },
        ], Token);
        await Assert.ThrowsAsync<InvalidDataException>(() => all.WaitAsync(TimeSpan.FromMinutes(1), Token));
        Assert.True(stopped);
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
