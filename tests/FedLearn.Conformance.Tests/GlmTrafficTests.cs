using FedLearn.Glm;
using FedLearn.Tests.Glm.Cost;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

public sealed class GlmTrafficTests
{
    [Fact]
    public async Task Of_RandomJobs_IsWhatARunOverGrpcCounts()
    {
        for (int seed = 0; seed < TestCounts.Of(60); seed++)
        {
            var job = TrafficCase.Of(seed, 2 + (seed % 15));
            IReadOnlyList<GlmPartyTraffic> predicted = GlmTraffic.Of(job.Job, job.Sizes);
            GlmPartyResult[] results = await TrainAsync(job);
            Assert.Equal(results.Select(r => (seed, r.Party.Name, r.Traffic.MessagesSent, r.Traffic.BytesSent)),
                predicted.Select(t => (seed, t.Party.Name, t.Total.Messages, t.Total.MessageBytes)));
            // What is one kind of message in the report is counted without what any transport puts around it.
            Assert.Equal(results.Select(r => (seed, r.Sent.Where(m => m.Name.StartsWith("training", StringComparison.Ordinal)).Sum(m => m.Bytes))), predicted.Select(t => (seed, t.Rounds.PayloadBytes)));
        }
    }

    private static async Task<GlmPartyResult[]> TrainAsync(TrafficCase job)
    {
        GlmTrainer[] trainers = [.. job.Inputs.Select(i => new GlmTrainer(job.Job, i))];
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), trainers[0].Terms);
        return await Task.WhenAll(trainers.Select((trainer, party) => Task.Run(async () =>
        {
            await using GrpcSession session = party == 0 ? await host.JoinAsync(trainer.JoinRequest) : await GrpcFederationClient.JoinAsync(host.Address, trainer.JoinRequest);
            return await trainer.TrainAsync(session.Agreement, session.Channels);
        })));
    }
}
