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

    // The host may not have noticed yet that the earlier session has ended.
    private static async Task<GrpcSession> RejoinAsync(Uri host, DeviceData data)
    {
        while (true)
        {
            try
            {
                return await JoinAsync(host, data);
            }
            catch (FedLearn.Diagnostics.PeerException e) when (e.Id == ProtocolErrors.AlreadyJoined)
            {
                await Task.Yield();
            }
        }
    }
}
