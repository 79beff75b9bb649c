using FedLearn.Dssm;
using FedLearn.Protocol;
using FedLearn.Storage.Sqlite;
using FedLearn.Testing;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>Devices and servers that are processes, killed (SIGKILL) in the midst of an attempt.</summary>
public sealed class DeviceKillReliabilityTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);
    private static readonly ChannelOptions Idle = new() { ReceiveTimeout = Timeout.InfiniteTimeSpan };
    private static readonly ReferenceTowerFactory Towers = new();

    private static double[] All(DeviceModel model) => [.. model.Item, .. model.Views.SelectMany(v => v)];

    // Before the upload leaves, and after it, when the answer is due: either way the upload was kept, and the sum has all five.
    [Theory]
    [InlineData("upload", 5)]
    [InlineData("Reveal", 5)]
    [InlineData("Shares", 4)]
    [InlineData("Keys", 4)]
    public async Task Device_IsKilledInAPhase_ReturnsWithTheSameUploadOrHasDroppedOut(string before, int survivors)
    {
        var log = new ReliabilityLog($"kills of a device before it sends: {before}");
        string folder = Directory.CreateTempSubdirectory("fedlearn-devices-").FullName;
        DeviceJob job = RecommendationChild.DeviceJob();
        try
        {
            using var server = new DeviceServer(job, Towers, new() { WaitFor = job.Devices, PhaseTimeout = Patience });
            await using GrpcPairHost host = await GrpcPairHost.StartAsync(new GrpcHostOptions { Channel = Idle },
                [.. Enumerable.Range(0, job.Devices).Select(d => new GrpcPair(DeviceSessions.Terms(job, RecommendationChild.Device(d).Device), DeviceSessions.ServerRequest(job)))],
                (session, stop) => server.AttendAsync(session.Channels[0], stop));
            Task<DeviceResult> serving = server.RunAsync([]);
            Task[] others = [.. Enumerable.Range(1, job.Devices - 1).Select(d => DeviceAsync(host.Address, job, d))];
            string first;
            await using (Child device = Child.Start("device", folder, "0", host.Address.ToString(), before))
            {
                Assert.NotNull(await device.LineAsync("holding"));
                first = device.Lines.FirstOrDefault(l => l.StartsWith("upload", StringComparison.Ordinal)) ?? "";
                await device.KillAsync();
            }

            await using Child again = Child.Start("device", folder, "0", host.Address.ToString());
            DeviceResult result = await serving.WaitAsync(Patience);
            await Task.WhenAll(others).WaitAsync(Patience);
            await again.EndAsync();
            Assert.Equal([survivors, 5, 5], result.Rounds.Select(r => r.Survivors));
            if (first.Length > 0)
                Assert.Equal(first, again.Lines.First(l => l.StartsWith("upload", StringComparison.Ordinal)));
            if (survivors == 5)
            {
                // Integers mod 2^64: the sum with the device's upload is that of the simulation, bit for bit.
                using var simulation = new DeviceSimulation(job, [.. Enumerable.Range(0, job.Devices).Select(RecommendationChild.Device)], Towers);
                Assert.Equal(All(simulation.Run().Model), All(result.Model));
            }

            Assert.Equal("done 3", await again.LineAsync("done"));
            log.Passed(1, survivors == 5 ? "returned with the same bytes; the sum is exact over all five" : "dropped out of the attempt, and took part in the next");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory]
    [InlineData("Roster")]
    [InlineData("Delivery")]
    [InlineData("Unmask")]
    public async Task Server_IsKilledInAPhase_RepeatsTheRoundAsANewAttemptThatIsPaid(string before)
    {
        var log = new ReliabilityLog($"kills of the server of devices before it sends: {before}");
        string folder = Directory.CreateTempSubdirectory("fedlearn-devices-").FullName;
        DeviceJob job = RecommendationChild.DeviceJob(isPrivate: true);
        SqliteLedger[] ledgers = [.. Enumerable.Range(0, job.Devices).Select(d => new SqliteLedger(RecommendationChild.LedgerOf(folder, $"device{d}")))];
        DeviceClient[] clients = [.. Enumerable.Range(0, job.Devices).Select(d => new DeviceClient(job, RecommendationChild.Device(d), Towers, new() { Ledger = ledgers[d] }))];
        try
        {
            await using (Child server = Child.Start("server", folder, before))
            {
                var address = new Uri((await server.LineAsync("listening"))!["listening ".Length..]);
                Task[] lost = [.. clients.Select((client, d) => Assert.ThrowsAnyAsync<FedLearn.Diagnostics.PeerException>(() => DeviceAsync(address, job, d, client)))];
                Assert.NotNull(await server.LineAsync("holding"));
                await server.KillAsync();
                await Task.WhenAll(lost).WaitAsync(Patience);
            }

            int paid = clients[0].Participations;
            await using Child again = Child.Start("server", folder);
            var next = new Uri((await again.LineAsync("listening"))!["listening ".Length..]);
            await Task.WhenAll(clients.Select((client, d) => DeviceAsync(next, job, d, client))).WaitAsync(Patience);
            await again.EndAsync();
            // Attempt 0 came to nothing; three more made the rounds. Whoever drew noise in attempt 0 has paid for four.
            Assert.Equal("done 0:0 1:5 2:5 3:5", await again.LineAsync("done"));
            Assert.Equal(1, paid);
            Assert.All(clients, client => Assert.Equal(4, client.Participations));
            log.Passed(1, "the attempt was repeated with a new number, and both were paid by all five devices");
        }
        finally
        {
            foreach (DeviceClient client in clients)
                client.Dispose();
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task DeviceAsync(Uri address, DeviceJob job, int d, DeviceClient? client = null)
    {
        DeviceData data = RecommendationChild.Device(d);
        using DeviceClient? own = client is null ? new DeviceClient(job, data, Towers) : null;
        await using GrpcSession session = await GrpcFederationClient.JoinAsync(address, DeviceSessions.DeviceRequest(job, data.Device), new GrpcClientOptions { Channel = Idle });
        await (client ?? own!).RunAsync(session.Channels[0]);
    }
}
