using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

/// <summary>Coordinators for tests, and ways through them.</summary>
internal static class Relays
{
    /// <summary>A job as a coordinator knows it; with the purposes train and predict.</summary>
    public static RelayJob Job(SessionTerms terms) => new(terms.JobName, new Dictionary<string, SessionTerms> { [GrpcRelay.Train] = terms, [GrpcRelay.Predict] = terms });

    /// <summary>The same terms under another name.</summary>
    public static SessionTerms Named(this SessionTerms terms, string name) => terms with { JobName = name };

    public static Task<GrpcRelayServer> StartAsync(SessionTerms terms, RelayQuotas? quotas = null, TimeProvider? clock = null, Uri? listen = null) =>
        StartAsync([terms], quotas, clock, listen);

    public static Task<GrpcRelayServer> StartAsync(IEnumerable<SessionTerms> jobs, RelayQuotas? quotas = null, TimeProvider? clock = null, Uri? listen = null) =>
        GrpcRelayServer.StartAsync(new GrpcHostOptions { Listen = listen ?? new Uri("http://127.0.0.1:0"), Channel = new ChannelOptions { Clock = clock ?? TimeProvider.System } },
            [.. jobs.Select(Job)], quotas);

    /// <summary>A party's way through a coordinator; the bank hosts.</summary>
    public static GrpcRelay Through(Uri coordinator, SessionTerms terms, string party) => new() { Coordinator = coordinator, Terms = terms, Party = party, Host = "bank" };

    public static GrpcHostOptions Host(Uri coordinator, SessionTerms terms, ChannelOptions? channel = null) =>
        new() { Relay = Through(coordinator, terms, "bank"), Channel = channel ?? new ChannelOptions() };

    public static GrpcClientOptions Client(Uri coordinator, SessionTerms terms, string party, ChannelOptions? channel = null) =>
        new() { Relay = Through(coordinator, terms, party), Channel = channel ?? new ChannelOptions() };

    public static Task<GrpcSession> JoinAsync(Uri coordinator, SessionTerms terms, string party, ChannelOptions? channel = null) =>
        GrpcFederationClient.JoinAsync(coordinator, GrpcPairs.Request(party) with { JobName = terms.JobName }, Client(coordinator, terms, party, channel));

    /// <summary>A session of the bank and others through a coordinator; the bank's end first, then the others' in the order of the terms.</summary>
    public static async Task<(GrpcFederationHost Host, GrpcSession Active, GrpcSession[] Passive)> SessionAsync(Uri coordinator, SessionTerms terms, ChannelOptions? channel = null)
    {
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(Host(coordinator, terms, channel), terms);
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest with { JobName = terms.JobName });
        GrpcSession[] passive = await Task.WhenAll(terms.Parties.Skip(1).Select(p => JoinAsync(coordinator, terms, p.Name, channel)));
        return (host, await active, passive);
    }

    /// <summary>A connected pair of channels through a coordinator of its own; the active party's end is the first unless exchanged.</summary>
    public static async Task<ChannelPair> CreateAsync(ChannelOptions options, bool passiveFirst = false)
    {
        SessionTerms terms = GrpcPairs.Terms("telco");
        GrpcRelayServer relay = await StartAsync(terms);
        (GrpcFederationHost host, GrpcSession active, GrpcSession[] passive) = await SessionAsync(relay.Address, terms, options);
        (IPartyChannel here, IPartyChannel there) = (active.Channels[0], passive[0].Channels[0]);
        return new ChannelPair(passiveFirst ? there : here, passiveFirst ? here : there, async () =>
        {
            await host.DisposeAsync();
            await relay.DisposeAsync();
        });
    }

    /// <summary>The two bare ends of a connection.</summary>
    public static async Task<(RelayStream Host, RelayStream Party)> StreamsAsync(Uri coordinator, SessionTerms terms, string party, Action<FedLearnException?>? changed = null)
    {
        var options = new GrpcClientOptions();
        RelayStream offer = await RelayDialer.OfferAsync(Through(coordinator, terms, "bank"), options, TestContext.Current.CancellationToken);
        Task<RelayStream> host = RelayDialer.PairedAsync(offer, TestContext.Current.CancellationToken);
        RelayStream reached = await RelayDialer.ReachAsync(Through(coordinator, terms, party) with { Changed = changed }, options, TestContext.Current.CancellationToken).WaitAsync(ChannelConformance.Patience);
        return (await host.WaitAsync(ChannelConformance.Patience), reached);
    }
}
