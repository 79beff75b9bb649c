using FedLearn.Dssm;
using FedLearn.Testing;
using FedLearn.Tests.Dssm;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

public class RecommendationTests
{
    private static bool IsOfHashes(string text) => text.Contains("compared by hash", StringComparison.Ordinal);

    // The reference tower computes in float64 whatever the job says, so that a number that is rounded on the wire alone would change the model.
    [Theory]
    [InlineData(TowerPrecision.Float32)]
    [InlineData(TowerPrecision.Float64)]
    public async Task TrainAsync_OverGrpcAndInMemory_GivesTheSameBits(TowerPrecision precision)
    {
        CancellationToken stop = TestContext.Current.CancellationToken;
        var towers = new ReferenceTowerFactory();
        DssmJob job = SmallRecommendation.Job(new DssmModelOptions { Precision = precision });
        using var lines = new Lines();
        IReadOnlyList<DssmPartyInput> inputs = [.. SmallRecommendation.Inputs().Select(input => input with { LoggerFactory = lines })];
        IReadOnlyList<DssmPartyResult> memory = await DssmFederation.TrainAsync(job, inputs, towers, cancellationToken: stop);

        DssmTrainer[] parties = [.. inputs.Select(input => new DssmTrainer(job, input, towers))];
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { Listen = new Uri("http://127.0.0.1:0") }, parties[0].Terms, stop);
        async Task<DssmPartyResult> PartyAsync(DssmTrainer party, bool label)
        {
            await using GrpcSession session = label ? await host.JoinAsync(party.JoinRequest, stop) : await GrpcFederationClient.JoinAsync(host.Address, party.JoinRequest, new GrpcClientOptions(), stop);
            return await party.TrainAsync(session.Agreement, session.Channels, cancellationToken: stop);
        }

        DssmPartyResult[] grpc = await Task.WhenAll(parties.Select((party, i) => PartyAsync(party, i == 0)));
        Assert.Equal(memory.Select(r => r.Model.WeightsSha256), grpc.Select(r => r.Model.WeightsSha256));
        Assert.Equal(memory[0].Metrics!.Test!.Named(), grpc[0].Metrics!.Test!.Named());
        // Hashed ids, which the job compares by default.
        Assert.DoesNotContain(memory.SelectMany(r => r.SharedUsers!.Warnings), IsOfHashes);
        Assert.All(grpc, r => Assert.Single(r.SharedUsers!.Warnings, IsOfHashes));
        Assert.Equal(job.Parties.Select(p => p.Party.Name).Order(StringComparer.Ordinal), lines.Text.Where(line => IsOfHashes(line.Text)).Select(line => line.Text.Split(' ')[1].TrimEnd(':')).Distinct().Order(StringComparer.Ordinal));
    }
}
