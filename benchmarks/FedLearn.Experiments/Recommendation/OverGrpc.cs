using FedLearn.Dssm;
using FedLearn.Transport.Grpc;

namespace FedLearn.Experiments.Recommendation;

/// <summary>All parties of a recommendation job in one process, talking gRPC over loopback.</summary>
internal static class OverGrpc
{
    /// <returns>The active party's result.</returns>
    public static async Task<DssmPartyResult> TrainAsync(DssmJob job, IReadOnlyList<DssmPartyInput> inputs, ITowerFactory towers, CancellationToken stop)
    {
        DssmTrainer[] parties = [.. inputs.Select(input => new DssmTrainer(job, input, towers))];
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { Listen = new Uri("http://127.0.0.1:0") }, parties[0].Terms, stop).ConfigureAwait(false);
        async Task<DssmPartyResult> LabelAsync()
        {
            await using GrpcSession session = await host.JoinAsync(parties[0].JoinRequest, stop).ConfigureAwait(false);
            return await parties[0].TrainAsync(session.Agreement, session.Channels, cancellationToken: stop).ConfigureAwait(false);
        }

        async Task<DssmPartyResult> ViewAsync(DssmTrainer party)
        {
            await using GrpcSession session = await GrpcFederationClient.JoinAsync(host.Address, party.JoinRequest, new GrpcClientOptions(), stop).ConfigureAwait(false);
            return await party.TrainAsync(session.Agreement, session.Channels, cancellationToken: stop).ConfigureAwait(false);
        }

        return (await Task.WhenAll([Task.Run(LabelAsync, stop), .. parties.Skip(1).Select(party => Task.Run(() => ViewAsync(party), stop))]).ConfigureAwait(false))[0];
    }
}
