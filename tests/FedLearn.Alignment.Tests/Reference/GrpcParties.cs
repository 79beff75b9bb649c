using System.Security.Cryptography;
using FedLearn.Coordination;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;

namespace FedLearn.Alignment.Tests.Reference;

/// <summary>Channels over gRPC on the loopback device; the active party "bank" serves.</summary>
internal static class GrpcParties
{
    public static SessionTerms Terms(params string[] passive) => new("alignment", SHA256.HashData("terms"u8), new Dictionary<string, ReadOnlyMemory<byte>>(),
        [new PartyDescription("bank", PartyRole.Active), .. passive.Select(name => new PartyDescription(name, PartyRole.Passive))]);

    public static JoinRequest Request(string party, PartyRole role = PartyRole.Passive) => new(SessionDesk.ProtocolVersion, new PartyDescription(party, role), "alignment",
        SHA256.HashData("terms"u8), new Dictionary<string, ReadOnlyMemory<byte>>(), SHA256.HashData([]));

    public static async Task<ChannelPair> CreateAsync() => (await CreateAsync("clinic"))[0];

    /// <summary>A pair for each passive party; disposing of the first ends them all.</summary>
    public static async Task<IReadOnlyList<ChannelPair>> CreateAsync(params string[] passive)
    {
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), Terms(passive));
        Task<GrpcSession> active = host.JoinAsync(Request("bank", PartyRole.Active));
        Task<GrpcSession>[] others = [.. passive.Select(name => GrpcFederationClient.JoinAsync(host.Address, Request(name)))];
        GrpcSession[] sessions = await Task.WhenAll(others);
        IReadOnlyList<IPartyChannel> here = (await active).Channels;
        return [.. sessions.Select((session, i) => new ChannelPair(here[i], session.Channels[0], i == 0 ? host.DisposeAsync : null))];
    }
}
