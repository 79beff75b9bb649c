using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Conformance.Tests;

/// <summary>Last words of a peer that a failed send reads while the channel receives too.</summary>
public sealed class LastWordsTests
{
    [Fact]
    public async Task Send_FailsWhileAReceiveOutlastsEarlierLastWords_LeavesReadingToTheReceive()
    {
        await using var channel = new Transport();
        Task first = SendAsync(channel, 0); // fails, and listens for last words
        Task<Scores> receiving = channel.ReceiveAsync<Scores>(0, 1, TestContext.Current.CancellationToken).AsTask();
        Assert.Equal(2, channel.Reads.Count);
        channel.Reads[0].SetResult(ChannelFrame.Aborted("FL3010"));
        Assert.Equal(ProtocolErrors.PeerAborted, (await Assert.ThrowsAsync<PeerException>(() => first.WaitAsync(ChannelConformance.Patience))).Id);
        Task second = SendAsync(channel, 1);
        Assert.Equal(2, channel.Reads.Count);
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => second.WaitAsync(ChannelConformance.Patience))).Id);
        channel.Reads[1].SetResult(ChannelFrame.Message(0, new Scores(new double[1]), 8));
        Assert.Equal(1, (await receiving.WaitAsync(ChannelConformance.Patience)).Length);
        // Nobody reads now: a send listens again.
        Task third = SendAsync(channel, 2);
        channel.Reads[2].SetResult(ChannelFrame.Aborted("FL3010"));
        Assert.Equal(ProtocolErrors.PeerAborted, (await Assert.ThrowsAsync<PeerException>(() => third.WaitAsync(ChannelConformance.Patience))).Id);
    }

    private static Task SendAsync(Transport channel, int round) =>
        channel.SendAsync(round, Disclosure.Unprotected(new Scores(new double[1]), "test"), TestContext.Current.CancellationToken).AsTask();

    /// <summary>A transport that cannot write, and whose reads end when told.</summary>
    private sealed class Transport() : PartyChannel("bank", "telco", new ChannelOptions { ReceiveTimeout = Timeout.InfiniteTimeSpan, Clock = new ManualClock() })
    {
        public List<TaskCompletionSource<ChannelFrame>> Reads { get; } = [];

        protected override ValueTask<long> WriteMessageAsync(int round, Payload payload, CancellationToken cancellationToken) => ValueTask.FromException<long>(Gone());

        protected override ValueTask WriteCompletedAsync(CancellationToken cancellationToken) => ValueTask.FromException(Gone());

        protected override ValueTask WriteAbortedAsync(string errorId, CancellationToken cancellationToken) => ValueTask.FromException(Gone());

        protected override ValueTask<ChannelFrame> ReadFrameAsync(CancellationToken cancellationToken)
        {
            Reads.Add(new TaskCompletionSource<ChannelFrame>(TaskCreationOptions.RunContinuationsAsynchronously));
            return new(Reads[^1].Task);
        }

        public override ValueTask DisposeAsync() => default;
    }
}
