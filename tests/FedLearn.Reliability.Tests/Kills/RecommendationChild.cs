using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Storage.Sqlite;
using FedLearn.Testing;
using FedLearn.Tests.Dssm;
using FedLearn.Towers.LibTorch;
using FedLearn.Transport.Grpc;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>Jobs, data and processes of recommendation that the tests kill. A process says on its standard output what it does, one line each.</summary>
internal static class RecommendationChild
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);
    private static readonly ChannelOptions Idle = new() { ReceiveTimeout = Timeout.InfiniteTimeSpan };

    /// <summary>Towers on libtorch where it is installed, else the reference.</summary>
    public static ITowerFactory Towers { get; } = LibTorchTowers.IsAvailable ? new LibTorchTowers() : new ReferenceTowerFactory();

    /// <summary>A job by name: <c>seeded</c> has test noise, so that models can be compared; <c>masked</c> has secure noise and masks.</summary>
    public static DssmJob Job(string name) => SmallRecommendation.Job(
        new DssmModelOptions { Fusion = DssmFusion.Sum, ViewDropout = 0.2, Dropout = 0.1, ItemBias = true, Precision = TowerPrecision.Float32 },
        new DssmTrainingOptions { Epochs = 6, BatchSize = 16, Seed = 5, CheckpointRounds = 5 },
        new DssmPrivacyOptions
        {
            Noise = DssmNoise.Both,
            Claim = EmbeddingClaim.Full,
            Unit = EmbeddingUnit.User,
            Budget = new PrivacyBudget(20, 1e-5),
            MaxSamplesPerUser = 7,
            TestNoiseSeed = name == "seeded" ? 41 : null,
        }) with
    { MaskedSum = name == "masked" };

    public static string LedgerOf(string folder, string party) => Path.Combine(folder, party + ".ledger.db");

    public static string ModelOf(string folder, string party) => Path.Combine(folder, party + ".model.json");

    public static string SentOf(string folder, string party) => Path.Combine(folder, party + ".sent");

    public static string AddressOf(string folder) => Path.Combine(folder, "address");

    /// <summary>Five devices whose updates are deterministic without noise.</summary>
    public static DeviceJob DeviceJob(bool isPrivate = false) => new()
    {
        Name = "devices",
        Model = new() { Fusion = DssmFusion.Late, Layers = [4, 3], Negatives = 2, Precision = TowerPrecision.Float64 },
        Views = [new("app", new TowerInputs(2, []))],
        Items = new([.. Enumerable.Range(0, 8).Select(i => "item " + i)], DeviceRows(8, 1)),
        Devices = 5,
        Training = new() { Rounds = 3, Participation = 1, Seed = 11 },
        Privacy = isPrivate ? new() { Threshold = 4, Clip = 0.5, NoiseMultiplier = 2, MaxParticipations = 9 } : new() { Threshold = 4 },
    };

    public static DeviceData Device(int d) => new("device " + d, [new(DeviceRows(3, 100 + d), [0, 1, 2])], [d, (d + 1) % 8, 7]);

    private static TowerRows DeviceRows(int rows, int seed)
    {
        var random = new Random(seed);
        return new(new TowerInputs(2, []), rows, [.. Enumerable.Range(0, 2 * rows).Select(_ => random.NextDouble())], []);
    }

    /// <summary>Arguments: party JOB FOLDER PARTY, device FOLDER NUMBER ADDRESS [HOLD], or server FOLDER [HOLD].</summary>
    public static int Run(string[] args)
    {
        // A child does not outlive the test that started it.
        new Thread(() =>
        {
            Console.In.ReadToEnd();
            Environment.Exit(3);
        })
        { IsBackground = true }.Start();
        switch (args)
        {
            case ["party", var job, var folder, var party]:
                PartyAsync(Job(job), folder, party).GetAwaiter().GetResult();
                return 0;
            case ["device", var folder, var number, var address, .. var hold]:
                DeviceAsync(folder, int.Parse(number, CultureInfo.InvariantCulture), new Uri(address), hold.FirstOrDefault() ?? "").GetAwaiter().GetResult();
                return 0;
            case ["server", var folder, .. var hold]:
                ServerAsync(folder, hold.FirstOrDefault() ?? "").GetAwaiter().GetResult();
                return 0;
            default:
                throw new ArgumentException("There is no such child.");
        }
    }

    private static void Say(string line)
    {
        Console.Out.WriteLine(line);
        Console.Out.Flush();
    }

    private static async Task PartyAsync(DssmJob job, string folder, string party)
    {
        DssmPartyInput input = SmallRecommendation.Inputs().First(i => i.Party == party) with
        {
            Ledger = new SqliteLedger(LedgerOf(folder, party)),
            Runs = new FileRunStore(LedgerOf(folder, party)),
            SaveModel = model => model.Save(ModelOf(folder, party)),
        };
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                // A trainer a session: it offers what there is to go on with.
                var trainer = new DssmTrainer(job, input, Towers);
                DssmPartyResult result = input.Interactions is not null ? await HostAsync(trainer, folder, party) : await JoinAsync(trainer, folder, party);
                Say($"done {result.Resumed.Count}");
                return;
            }
            catch (PeerException e) when (System.Diagnostics.Stopwatch.GetElapsedTime(start) < Patience)
            {
                Say($"lost {e.Id}");
            }
        }
    }

    private static async Task<DssmPartyResult> HostAsync(DssmTrainer trainer, string folder, string party)
    {
        var options = new GrpcHostOptions { JoinTimeout = TimeSpan.FromSeconds(20), Channel = new ChannelOptions { ReceiveTimeout = Patience } };
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(options, trainer.Terms);
        await File.WriteAllTextAsync(AddressOf(folder) + ".new", host.Address.ToString());
        File.Move(AddressOf(folder) + ".new", AddressOf(folder), overwrite: true);
        Say($"listening {host.Address}");
        await using GrpcSession session = await host.JoinAsync(trainer.JoinRequest);
        return await TrainAsync(trainer, session, folder, party);
    }

    private static async Task<DssmPartyResult> JoinAsync(DssmTrainer trainer, string folder, string party)
    {
        // The active party may be gone, and its address with it: a short wait, then the file is read again.
        var options = new GrpcClientOptions { ConnectTimeout = TimeSpan.FromSeconds(2), JoinTimeout = TimeSpan.FromSeconds(20), Channel = new ChannelOptions { ReceiveTimeout = Patience } };
        await using GrpcSession session = await GrpcFederationClient.JoinAsync(new Uri(await File.ReadAllTextAsync(AddressOf(folder))), trainer.JoinRequest, options);
        return await TrainAsync(trainer, session, folder, party);
    }

    private static async Task<DssmPartyResult> TrainAsync(DssmTrainer trainer, GrpcSession session, string folder, string party)
    {
        Say($"joined {session.Agreement.Resume?.Round ?? -1}");
        using var sent = new StreamWriter(new FileStream(SentOf(folder, party), FileMode.Append, FileAccess.Write, FileShare.ReadWrite));
        IPartyChannel[] channels = [.. session.Channels.Select(c => new Loud(c, (round, name, payload) =>
        {
            byte[] bytes = BytesOf(payload);
            sent.WriteLine($"{session.Agreement.Resume?.SessionId ?? session.Agreement.SessionId}|{c.RemoteParty}|{round}|{name}|{Convert.ToHexString(SHA256.HashData(bytes))}");
            sent.Flush();
            Say("message");
        }, null))];
        return await trainer.TrainAsync(session.Agreement, channels);
    }

    private static async Task DeviceAsync(string folder, int number, Uri address, string hold)
    {
        DeviceData data = Device(number);
        using var store = new FileDeviceStore(Path.Combine(folder, $"device{number}.state"));
        DeviceJob job = DeviceJob(isPrivate: File.Exists(Path.Combine(folder, "private")));
        using var client = new DeviceClient(job, data, new ReferenceTowerFactory(), new()
        {
            Store = store,
            Ledger = new SqliteLedger(LedgerOf(folder, $"device{number}")),
        });
        while (true)
        {
            try
            {
                await using GrpcSession session = await GrpcFederationClient.JoinAsync(address, DeviceSessions.DeviceRequest(job, data.Device), new GrpcClientOptions { Channel = Idle });
                Say("joined");
                await client.RunAsync(new Loud(session.Channels[0], (_, _, payload) => Say(Named(payload)), payload => Holds(payload, hold)));
                Say($"done {client.Participations}");
                return;
            }
            catch (PeerException e) when (e.Id == ProtocolErrors.AlreadyJoined)
            {
                // The server has not noticed yet that the earlier connection has ended.
            }
        }
    }

    private static async Task ServerAsync(string folder, string hold)
    {
        DeviceJob job = DeviceJob(isPrivate: true);
        using var server = new DeviceServer(job, new ReferenceTowerFactory(), new() { WaitFor = job.Devices, PhaseTimeout = Patience, Runs = new FileRunStore(Path.Combine(folder, "server.db")) });
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(new GrpcHostOptions { Channel = Idle },
            [.. Enumerable.Range(0, job.Devices).Select(d => new GrpcPair(DeviceSessions.Terms(job, Device(d).Device), DeviceSessions.ServerRequest(job)))],
            (session, stop) => server.AttendAsync(new Loud(session.Channels[0], (_, _, _) => { }, payload => Holds(payload, hold)), stop));
        Say($"listening {host.Address}");
        DeviceResult result = await server.RunAsync([]);
        Say($"done {string.Join(' ', result.Rounds.Select(r => $"{r.Attempt}:{r.Survivors}"))}");
    }

    private static bool Holds(Payload payload, string hold) => hold.Length > 0 && Named(payload).StartsWith(hold, StringComparison.Ordinal);

    /// <summary>What a message of an attempt is, in one word.</summary>
    private static string Named(Payload payload) => payload switch
    {
        AggregationMessage { Step: AggregationStep.Invitation } => "invitation",
        AggregationMessage message => message.Step.ToString(),
        MaskedVector vector => $"upload {Convert.ToHexString(SHA256.HashData(vector.Values.Span))}",
        _ => payload.GetType().Name,
    };

    public static byte[] BytesOf(Payload payload) => payload switch
    {
        VectorPayload { Lattice: { } lattice } => lattice.Packed.ToArray(),
        VectorPayload vector => MemoryMarshal.AsBytes(vector.Values.Span).ToArray(),
        MaskedVector masked => masked.Values.ToArray(),
        SampleKeys keys => keys.Keys.ToArray(),
        AggregationMessage message => message.Bytes.ToArray(),
        _ => [],
    };

    /// <summary>A channel that tells what it has sent, and may hold still for ever before a message, so that a test can kill the process there.</summary>
    internal sealed class Loud(IPartyChannel inner, Action<int, string, Payload> sent, Func<Payload, bool>? holds) : IPartyChannel
    {
        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public long BytesOf(string name, Protection protection) => inner.BytesOf(name, protection);

        public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            if (holds?.Invoke(message.Payload) == true)
            {
                Say("holding");
                await new TaskCompletionSource().Task;
            }

            await inner.SendAsync(round, message, cancellationToken);
            sent(round, message.Name, message.Payload);
        }

        public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload => inner.ReceiveAsync<T>(round, length, cancellationToken);

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}
