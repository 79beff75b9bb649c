using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

/// <summary>Sessions for tests: job "trial", active party "bank", passive parties "telco" and more.</summary>
internal static class GrpcPairs
{
    public static byte[] Digest(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));

    public static SessionTerms Terms(params string[] passive) => new("trial", Digest("terms"), new Dictionary<string, ReadOnlyMemory<byte>> { ["training"] = Digest("training") },
        [new PartyDescription("bank", PartyRole.Active), .. passive.Select(p => new PartyDescription(p, PartyRole.Passive))]);

    public static JoinRequest Request(string party, PartyRole role = PartyRole.Passive) => new(SessionDesk.ProtocolVersion, new PartyDescription(party, role), "trial",
        Digest("terms"), new Dictionary<string, ReadOnlyMemory<byte>> { ["training"] = Digest("training") }, Digest(party));

    public static JoinRequest OwnRequest => Request("bank", PartyRole.Active);

    /// <summary>A connected pair; the active party's end is the first unless exchanged.</summary>
    public static async Task<ChannelPair> CreateAsync(ChannelOptions options, bool passiveFirst = false)
    {
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { Channel = options }, Terms("telco"));
        Task<GrpcSession> active = host.JoinAsync(OwnRequest);
        GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, Request("telco"), new GrpcClientOptions { Channel = options });
        IPartyChannel here = (await active).Channels[0], there = passive.Channels[0];
        return passiveFirst ? new ChannelPair(there, here, host.DisposeAsync) : new ChannelPair(here, there, host.DisposeAsync);
    }
}
