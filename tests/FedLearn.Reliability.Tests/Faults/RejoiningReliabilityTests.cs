using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>A passive party that joins again and again through a network that breaks.</summary>
[Collection(nameof(NetworkAlone))]
public sealed class RejoiningReliabilityTests
{
    [Fact]
    public async Task RejoiningClient_ConnectionLostAtRandomMoments_ComesBackEachTime()
    {
        int losses = TestCounts.Of(20);
        var log = new ReliabilityLog("connections of a party in session lost at random moments, after each of which it joins again");
        Trial trial = await Trial.CreateAsync(5, rows: 8, columns: 1, epochs: 1);
        var random = new Random(11);
        var enough = new CancellationTokenSource();
        int sessions = 0, echoes = 0;
        // The active party sends back what it is sent, as long as a session lasts.
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(FaultySession.Host, [new GrpcPair(trial.Trainer(0).Terms, trial.Trainer(0).JoinRequest)], async (session, stop) =>
        {
            for (int round = 0; ; round++)
                await session.Channels[0].SendAsync(round, Disclosure.Unprotected(await session.Channels[0].ReceiveAsync<Scores>(round, 3, stop), "echo"), stop);
        });
        await using FaultProxy proxy = FaultProxy.Start(host.Address);
        var options = new GrpcRejoinOptions
        {
            Client = FaultySession.Client with { ConnectTimeout = TimeSpan.FromSeconds(1) },
            FirstPause = TimeSpan.FromMilliseconds(10),
            LongestPause = TimeSpan.FromMilliseconds(100),
        };
        Task serving = GrpcRejoiningClient.RunAsync(proxy.Address, trial.Trainer(1).JoinRequest, async (session, stop) =>
        {
            if (sessions++ == losses)
            {
                // The last session is left alone: it works.
                Assert.True(await EchoesAsync(session, 0, 7, stop));
                await enough.CancelAsync();
                return;
            }

            var way = (Way)random.Next(2);
            proxy.After(way, proxy.Forwarded(way) + random.Next(4000), broken =>
            {
                if (random.Next(2) == 0)
                    broken.Drop();
                else
                    broken.Truncate();
            });
            for (int round = 0; ; round++, echoes++)
                Assert.True(await EchoesAsync(session, round, round, stop));
        }, options, cancellationToken: enough.Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => serving.WaitAsync(TimeSpan.FromMinutes(5)));
        Assert.Equal(losses + 1, sessions);
        Assert.True(echoes > 0, "No session was of any use.");
        log.Passed(losses, $"{sessions} sessions, {echoes} round trips between the losses");
    }

    private static async Task<bool> EchoesAsync(GrpcSession session, int round, double value, CancellationToken stop)
    {
        double[] values = [value, value + 1, value + 2];
        await session.Channels[0].SendAsync(round, Disclosure.Unprotected(new Scores(values), "echo"), stop);
        Scores back = await session.Channels[0].ReceiveAsync<Scores>(round, 3, stop);
        return back.Values.Span.SequenceEqual(values);
    }
}
