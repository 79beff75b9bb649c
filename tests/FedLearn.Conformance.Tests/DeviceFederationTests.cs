using System.Security.Cryptography.X509Certificates;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

/// <summary>Devices and their server over gRPC on loopback: one session a device on the host of pairs, as any party has.</summary>
public sealed class DeviceFederationTests
{
    private static readonly ReferenceTowerFactory Towers = new();
    private static readonly ChannelOptions Idle = new() { ReceiveTimeout = Timeout.InfiniteTimeSpan };

    private static DeviceJob Job { get; } = new()
    {
        Name = "devices",
        Model = new() { Fusion = DssmFusion.Late, Layers = [4, 3], Negatives = 2, Precision = TowerPrecision.Float64 },
        Views = [new("app", new TowerInputs(2, []))],
        Items = new([.. Enumerable.Range(0, 8).Select(i => "item " + i)], Rows(8, 1)),
        Devices = 6,
        Training = new() { Rounds = 3, Participation = 1, Seed = 11 },
        Privacy = new() { Threshold = 4 },
    };

    private static TowerRows Rows(int rows, int seed)
    {
        var random = new Random(seed);
        return new(new TowerInputs(2, []), rows, [.. Enumerable.Range(0, 2 * rows).Select(_ => random.NextDouble())], []);
    }

    private static DeviceData[] Devices { get; } = [.. Enumerable.Range(0, 6).Select(d => new DeviceData("device " + d, [new(Rows(3, 100 + d), [0, 1, 2])], [d, (d + 1) % 8, 7]))];

    private static double[] All(DeviceModel model) => [.. model.Item, .. model.Views.SelectMany(v => v)];

    private static async Task<GrpcSession> JoinAsync(Uri host, DeviceData data) =>
        await GrpcFederationClient.JoinAsync(host, DeviceSessions.DeviceRequest(Job, data.Device), new GrpcClientOptions { Channel = Idle });

    private static async Task<DeviceResult> RunAsync(Func<Uri, DeviceClient, DeviceData, Task> device)
    {
        using var server = new DeviceServer(Job, Towers, new() { WaitFor = 6, PhaseTimeout = ChannelConformance.Patience });
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(new GrpcHostOptions { Channel = Idle },
            [.. Devices.Select(d => new GrpcPair(DeviceSessions.Terms(Job, d.Device), DeviceSessions.ServerRequest(Job)))],
            (session, stop) => server.AttendAsync(session.Channels[0], stop));
        Task<DeviceResult> serving = server.RunAsync([]);
        DeviceClient[] clients = [.. Devices.Select(d => new DeviceClient(Job, d, Towers))];
        Task[] running = [.. clients.Select((client, i) => device(host.Address, client, Devices[i]))];
        DeviceResult result = await serving.WaitAsync(ChannelConformance.Patience);
        await Task.WhenAll(running).WaitAsync(ChannelConformance.Patience);
        foreach (DeviceClient client in clients)
            client.Dispose();
        return result;
    }

    [Fact]
    public async Task Run_SixDevicesUnderMasks_IsTheSimulationBitForBit()
    {
        DeviceResult result = await RunAsync(async (host, client, data) =>
        {
            await using GrpcSession session = await JoinAsync(host, data);
            await client.RunAsync(session.Channels[0]);
        });
        Assert.Equal([(0, 6, 6), (1, 6, 6), (2, 6, 6)], result.Rounds.Select(r => (r.Attempt, r.Participants, r.Survivors)));
        using var simulation = new DeviceSimulation(Job, Devices, Towers);
        DeviceResult simulated = simulation.Run();
        // The host numbers devices as they join; integer sums do not depend on the order.
        Assert.Equal(All(simulated.Model), All(result.Model));
    }

    [Fact]
    public async Task Run_DevicesThatVanishAndReturn_DoNotStopTheOthers()
    {
        // Two devices lose their connections as soon as the first model has come, and join again.
        DeviceResult result = await RunAsync(async (host, client, data) =>
        {
            if (data == Devices[1] || data == Devices[4])
            {
                GrpcSession lost = await JoinAsync(host, data);
                await lost.Channels[0].ReceiveAsync<FedLearn.Privacy.AggregationMessage>(0, null);
                await lost.DisposeAsync();
            }

            await using GrpcSession session = await RejoinAsync(host, data);
            await client.RunAsync(session.Channels[0]);
        });
        Assert.Equal(3, result.Model.Version);
        Assert.Equal((4, 4), (result.Rounds[0].Participants, result.Rounds[0].Survivors));
        Assert.All(result.Rounds, r => Assert.Null(r.Failure));
    }

    /// <summary>Twenty devices under one server, which knows none of them by a pin of a party: an authority enrols half of them, a list of names and pins the others.</summary>
    [Fact]
    public async Task Run_TwentyDevicesOverTls_AreEnrolledByAnAuthorityOrAList()
    {
        const int Count = 20;
        DeviceJob job = Job with { Devices = Count, Training = Job.Training with { Rounds = 2 }, Privacy = new() { Threshold = 12 } };
        DeviceData[] devices = [.. Enumerable.Range(0, Count).Select(d => new DeviceData("device " + d, [new(Rows(3, 100 + d), [0, 1, 2])], [d % 8, (d + 1) % 8, 7]))];
        var authority = new TestAuthority();
        X509Certificate2[] certificates = [.. devices.Select((d, i) => i % 2 == 0 ? authority.Issue(d.Device, uri: CertificateNames.UriOf(d.Device)) : TlsPeers.Make(d.Device, TimeProvider.System))];
        var security = new GrpcSecurity
        {
            Certificate = TlsPeers.Of("server"),
            Authorities = [authority.Public],
            Peers = Enumerable.Range(0, Count).Where(i => i % 2 == 1).ToDictionary(i => devices[i].Device, i => TlsPeers.Pins(certificates[i])),
        };
        using var server = new DeviceServer(job, Towers, new() { WaitFor = Count, PhaseTimeout = ChannelConformance.Patience });
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(TlsPeers.Host(security, Idle),
            [.. devices.Select(d => new GrpcPair(DeviceSessions.Terms(job, d.Device), DeviceSessions.ServerRequest(job)))], (session, stop) => server.AttendAsync(session.Channels[0], stop));
        RefusalLog refused = host.Watch();
        // Devices know their server by one pin.
        async Task<GrpcSession> EnterAsync(string name, X509Certificate2 certificate) => await GrpcFederationClient.JoinAsync(host.Address, DeviceSessions.DeviceRequest(job, name),
            TlsPeers.Client(new GrpcSecurity { Certificate = certificate, Peers = TlsPeers.Peer(DeviceSessions.ServerRequest(job).Party.Name, security.Certificate) }, channel: Idle));

        // Neither one device as another, however it was enrolled, nor one that somebody else enrolled.
        foreach ((string name, X509Certificate2 certificate, string atServer, string atDevice) in (ValueTuple<string, X509Certificate2, string, string>[])[
            ("device 2", certificates[0], GrpcErrors.PeerWrongName, GrpcErrors.PeerWrongName),
            ("device 1", certificates[0], GrpcErrors.PeerWrongName, GrpcErrors.PeerWrongName),
            ("device 0", certificates[1], GrpcErrors.PeerWrongName, GrpcErrors.PeerWrongName),
            ("device 1", authority.Issue("device 1", uri: CertificateNames.UriOf("device 1")), GrpcErrors.PeerUnknown, GrpcErrors.RefusedByPeer), // the list decides for those on it
            ("device 0", new TestAuthority().Issue("device 0", uri: CertificateNames.UriOf("device 0")), GrpcErrors.PeerUnknown, GrpcErrors.RefusedByPeer)])
        {
            Assert.Equal(atDevice, (await Assert.ThrowsAsync<PeerException>(() => EnterAsync(name, certificate))).Id);
            Assert.Equal(atServer, (await refused.NextAsync()).Error.Id);
        }

        Task<DeviceResult> serving = server.RunAsync([]);
        DeviceClient[] clients = [.. devices.Select(d => new DeviceClient(job, d, Towers))];
        Task[] running = [.. clients.Select(async (client, i) =>
        {
            await using GrpcSession session = await EnterAsync(devices[i].Device, certificates[i]);
            await client.RunAsync(session.Channels[0]);
        })];
        DeviceResult result = await serving.WaitAsync(2 * ChannelConformance.Patience);
        await Task.WhenAll(running).WaitAsync(ChannelConformance.Patience);
        Assert.Equal([(0, Count, Count), (1, Count, Count)], result.Rounds.Select(r => (r.Attempt, r.Participants, r.Survivors)));
        using var simulation = new DeviceSimulation(job, devices, Towers);
        Assert.Equal(All(simulation.Run().Model), All(result.Model));
        foreach (DeviceClient client in clients)
            client.Dispose();
    }

    // The host may not have noticed yet that the earlier session has ended.
    private static async Task<GrpcSession> RejoinAsync(Uri host, DeviceData data)
    {
        while (true)
        {
            try
            {
                return await JoinAsync(host, data);
            }
            catch (PeerException e) when (e.Id == ProtocolErrors.AlreadyJoined)
            {
                await Task.Yield();
            }
        }
    }
}
