using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Tests.Protocol;

/// <summary>What the part of a channel that all transports share does when the transport fails.</summary>
public sealed class PartyChannelTests
{
    [Fact]
    public async Task Complete_PeerHasEndedBeforeTheWriteReturns_IsTheEndAllTheSame()
    {
        await using var channel = new Transport(TimeProvider.System, ChannelFrame.Completed);
        await channel.CompleteAsync();
        Assert.Equal(1, channel.Reads);
    }

    [Fact]
    public async Task Complete_ConnectionIsLost_IsAnError()
    {
        await using var channel = new Transport(TimeProvider.System);
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => channel.CompleteAsync().AsTask())).Id);
    }

    [Fact]
    public async Task Complete_PeerHasEndedAndVanished_IsTheEndAllTheSame()
    {
        await using var channel = new Transport(TimeProvider.System, ChannelFrame.Completed);
        await channel.PeerCompletedAsync();
        await channel.CompleteAsync();
        Assert.Equal(1, channel.Reads);
    }

    [Fact]
    public async Task Complete_PeerHasEndedAndTakesNothing_IsTheEndAfterTheTimeOfAMessage()
    {
        var clock = new ManualClock();
        await using var channel = new Transport(clock, ChannelFrame.Completed) { Full = true };
        await channel.PeerCompletedAsync();
        Task ending = channel.CompleteAsync().AsTask();
        Assert.False(ending.IsCompleted);
        clock.Advance(TimeSpan.FromSeconds(3));
        await ending.WaitAsync(ChannelConformance.Patience);
    }

    [Fact]
    public async Task Complete_PeerGaveUpAndClosed_SaysWhy()
    {
        await using var channel = new Transport(TimeProvider.System, ChannelFrame.Aborted("FL3010"));
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => channel.CompleteAsync().AsTask());
        Assert.Equal(ProtocolErrors.PeerAborted, error.Id);
        Assert.Contains("FL3010", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Send_ConnectionIsLostAndNothingComes_WaitsNoLongerThanAReceive()
    {
        var clock = new ManualClock();
        await using var channel = new Transport(clock) { Silent = true };
        Task sending = channel.SendAsync(0, Disclosure.Unprotected(new Scores(new double[1]), "test")).AsTask();
        await clock.WaitForTimerAsync(TimeSpan.FromSeconds(3)).WaitAsync(ChannelConformance.Patience);
        clock.Advance(TimeSpan.FromSeconds(3));
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => sending.WaitAsync(ChannelConformance.Patience))).Id);
    }

    private static readonly ChannelFrame Waiting = ChannelFrame.Message(0, new AlignmentMessage(AlignmentStep.Waiting, default), 5);

    [Fact]
    public async Task Receive_PeerSaysThatItComputes_WaitsOn()
    {
        await using var channel = new Transport(TimeProvider.System, Waiting, Waiting, ChannelFrame.Message(4, new Scores(new double[2]), 20));
        Assert.Equal(2, (await channel.ReceiveAsync<Scores>(4, 2)).Length);
        Assert.Equal((3, 30), (channel.Statistics.MessagesReceived, channel.Statistics.BytesReceived));
    }

    [Fact]
    public async Task PeerCompleted_PeerSaysThatItComputes_WaitsOn()
    {
        await using var channel = new Transport(TimeProvider.System, Waiting, ChannelFrame.Completed);
        await channel.PeerCompletedAsync();
        Assert.Equal(2, channel.Reads);
    }

    [Fact]
    public async Task Receive_PeerSaysForEverThatItComputes_GivesUpAfterSixtyTimes()
    {
        var clock = new ManualClock();
        await using var channel = new Transport(clock, [.. Enumerable.Repeat(Waiting, 1000)]) { Read = () => clock.Advance(TimeSpan.FromSeconds(2)) };
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => channel.ReceiveAsync<Scores>(0, 2).AsTask());
        Assert.Equal(ProtocolErrors.TimedOut, error.Id);
        Assert.Contains("180 s", error.Message, StringComparison.Ordinal);
        Assert.Equal(92, channel.Reads);
    }

    [Fact]
    public async Task Receive_AnyMessage_GetsTheOneThatSaysToWait()
    {
        await using var channel = new Transport(TimeProvider.System, Waiting, Waiting);
        Assert.IsType<AlignmentMessage>(await channel.ReceiveAsync<Payload>(0, null));
        Assert.Equal(AlignmentStep.Waiting, (await channel.ReceiveAsync<AlignmentMessage>(0, 0)).Step);
    }

    /// <summary>A transport that cannot write, and reads what it is given; then it is lost, or silent.</summary>
    private sealed class Transport(TimeProvider clock, params ChannelFrame[] frames)
        : PartyChannel("bank", "telco", new ChannelOptions { ReceiveTimeout = TimeSpan.FromSeconds(3), Clock = clock })
    {
        public int Reads { get; private set; }

        public Action? Read { get; init; }

        public bool Silent { get; init; }

        public bool Full { get; init; }

        protected override ValueTask<long> WriteMessageAsync(int round, Payload payload, CancellationToken cancellationToken) => ValueTask.FromException<long>(Gone());

        protected override ValueTask WriteCompletedAsync(CancellationToken cancellationToken) =>
            Full ? new ValueTask(new TaskCompletionSource().Task) : ValueTask.FromException(Gone());

        protected override ValueTask WriteAbortedAsync(string errorId, CancellationToken cancellationToken) => ValueTask.FromException(Gone());

        protected override async ValueTask<ChannelFrame> ReadFrameAsync(CancellationToken cancellationToken)
        {
            Read?.Invoke();
            if (Reads < frames.Length)
                return frames[Reads++];
            if (Silent)
                await new TaskCompletionSource().Task.WaitAsync(cancellationToken);
            throw Gone();
        }

        public override ValueTask DisposeAsync() => default;
    }
}
