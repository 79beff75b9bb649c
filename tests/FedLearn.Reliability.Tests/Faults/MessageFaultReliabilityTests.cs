using System.Collections.Concurrent;
using FedLearn.Glm;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Shared;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>Real sessions over channels that lose, delay, repeat, exchange and cut messages.</summary>
[Collection(nameof(NetworkAlone))]
public sealed class MessageFaultReliabilityTests
{
    private static readonly TimeSpan Slack = TimeSpan.FromSeconds(60);

    private static readonly string[] Kinds = ["drop", "delay", "duplicate", "reorder", "truncate"];

    [Theory]
    [InlineData(GlmOptimizer.Sgd, 4)]
    [InlineData(GlmOptimizer.Lbfgs, 12)]
    [InlineData(GlmOptimizer.Accelerated, 12)]
    [InlineData(GlmOptimizer.Irls, 6)]
    public async Task Session_OneMessageHasAFault_EndsRightOrWithAnError(GlmOptimizer optimizer, int epochs)
    {
        var log = new ReliabilityLog($"sessions by {optimizer}, one message of which is dropped, delayed, repeated, exchanged or cut");
        Trial trial = await Trial.CreateAsync(7, optimizer: optimizer, epochs: epochs);
        int[] messages = await MessagesAsync(trial);
        // Mixed columns are several messages of one kind and round: that they keep their order is the promise of a channel, which nothing above it checks.
        string[] kinds = [.. Kinds.Where(kind => optimizer != GlmOptimizer.Irls || kind != "reorder")];
        int cases = kinds.Length * TestCounts.Of(12);
        var outcomes = new ConcurrentQueue<(string Kind, bool Right, bool Broke)>();
        await Parallel.ForEachAsync(Enumerable.Range(0, cases), new ParallelOptions { MaxDegreeOfParallelism = 16 }, async (number, stop) =>
        {
            var random = new Random(unchecked(31 + (number * 7919)));
            string kind = kinds[number % kinds.Length];
            int party = random.Next(2), index = random.Next(messages[party]);
            MessageFault fault = kind switch
            {
                "drop" => new MessageFault.Drop(),
                "delay" => new MessageFault.Delay(TimeSpan.FromMilliseconds(random.Next(50))),
                "duplicate" => new MessageFault.Duplicate(),
                "reorder" => new MessageFault.Reorder(),
                _ => new MessageFault.Truncate(random.Next(3)),
            };
            (FaultyChannel active, FaultyChannel passive) = Pair(FaultPlan.At(party == 0 ? index : -1, fault), FaultPlan.At(party == 1 ? index : -1, fault), TimeSpan.FromSeconds(1));
            PartyEnd[] ends = await trial.RunAsync(active, passive).WaitAsync(Slack, stop);
            string? wrong = trial.FaultOf(ends);
            Assert.True(wrong is null, $"Case {number} ({kind} of message {index} of party {party}): {wrong}");
            outcomes.Enqueue((kind, trial.IsRight(ends), active.Faults + passive.Faults > 0));
        });
        Assert.Equal(cases, outcomes.Count);
        Assert.All(outcomes, o => Assert.True(o.Broke));
        Assert.All(outcomes.Where(o => o.Kind == "drop"), o => Assert.False(o.Right));
        Assert.Contains(outcomes, o => o.Kind == "delay" && o.Right);
        log.Passed(cases, $"{outcomes.Count(o => o.Right)} right models, {outcomes.Count(o => !o.Right)} FL4 errors, 0 wrong, 0 hangs");
    }

    private static async Task<int[]> MessagesAsync(Trial trial)
    {
        int[] sent = new int[2];
        Func<OutgoingMessage, MessageFault?> Counting(int party) => message =>
        {
            sent[party] = message.Index + 1;
            return null;
        };
        (FaultyChannel active, FaultyChannel passive) = Pair(Counting(0), Counting(1), TimeSpan.FromMinutes(1));
        Assert.True(trial.IsRight(await trial.RunAsync(active, passive)));
        return sent;
    }

    private static (FaultyChannel Active, FaultyChannel Passive) Pair(Func<OutgoingMessage, MessageFault?> active, Func<OutgoingMessage, MessageFault?> passive, TimeSpan receive)
    {
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", "telco", new ChannelOptions { ReceiveTimeout = receive });
        return (new FaultyChannel(first, active), new FaultyChannel(second, passive));
    }
}
