using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using FedLearn.Aggregation;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Dssm;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

/// <summary>Recommendation against parties in Python that share no line with ours: tests/interop/recommendation_view.py and device.py. Skipped where Debian's python3-grpcio is absent.</summary>
public sealed class RecommendationInteropTests : IDisposable
{
    // Sums in another order, through some steps of Adam; the models differ by 1e-2 and more from where they started.
    private const double Tolerance = 1e-10;

    private static readonly ReferenceTowerFactory Towers = new();

    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-interop").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>Jobs of three views, of which both passive parties, one static and one with moments, are in Python.</summary>
    public static TheoryData<string> Views => ["sum with validation and view dropout", "late in float32", "masked sum", "noisy gradients with view dropout", "noisy gradients under masks", "sgd without states"];

    [Theory]
    [MemberData(nameof(Views))]
    public async Task Views_InPython_TrainLikeOurs(string what)
    {
        bool masked = what.Contains("mask", StringComparison.Ordinal), noisy = what.Contains("noisy", StringComparison.Ordinal), plain = what.Contains("without states", StringComparison.Ordinal);
        PythonInterop.Require(masked);
        DssmModelOptions model = new()
        {
            Precision = what.Contains("float32", StringComparison.Ordinal) ? TowerPrecision.Float32 : TowerPrecision.Float64,
            Fusion = what.StartsWith("late", StringComparison.Ordinal) ? DssmFusion.Late : DssmFusion.Sum,
            ViewDropout = what.Contains("dropout", StringComparison.Ordinal) ? 0.3 : 0,
            ViewWeights = new Dictionary<string, double> { ["profile"] = 0.5, ["taste"] = 0.75 },
        };
        var optimizer = new TowerOptimizer { Kind = plain ? TowerOptimizerKind.Sgd : TowerOptimizerKind.Adam, Rate = plain ? 0.5 : 0.02 };
        var training = new DssmTrainingOptions { Epochs = 3, BatchSize = 32, Seed = -42, Optimizer = optimizer, ValidationStop = noisy || plain ? false : null, CheckpointRounds = plain ? 0 : 100 };
        DssmPrivacyOptions? privacy = noisy ? new() { Noise = DssmNoise.Gradients, Budget = new PrivacyBudget(20, 1e-3), TestNoiseSeed = 3 } : null;
        DssmJob job = SmallRecommendation.Job(model, training, privacy) with { MaskedSum = masked };
        IReadOnlyList<DssmPartyInput> Inputs() => SmallRecommendation.Inputs(ledger: party => noisy && party == "shop" ? new InMemoryLedger() : null);
        IReadOnlyList<DssmPartyResult> expected = await DssmFederation.TrainAsync(job, Inputs(), Towers, cancellationToken: TestContext.Current.CancellationToken);

        DssmPartyInput[] inputs = [.. Inputs()];
        var shop = new DssmTrainer(job, inputs[0], Towers);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), shop.Terms);
        async Task<DssmPartyResult> ShopAsync()
        {
            await using GrpcSession session = await host.JoinAsync(shop.JoinRequest);
            return await shop.TrainAsync(session.Agreement, session.Channels);
        }

        string[] Arguments(int view)
        {
            SavedTower tower = expected[view].Model.View!;
            string name = inputs[view].Party;
            List<string> arguments =
            [
                "--address", host.Address.Authority, "--job", job.Name, "--party", name, "--terms", Convert.ToHexStringLower(shop.Terms.TermsDigest.Span), "--data", Write(name + ".csv", Csv(inputs[view].View!)),
                "--start", Write(name + ".json", JsonSerializer.Serialize(TowerStart.Values(tower.Spec, BitConverter.ToInt64(tower.State)))), "--layers", "6,4", "--seed", "-42", "--epochs", "3", "--batch-size", "32",
                "--optimizer", plain ? "sgd" : "adam", "--step-size", Text(optimizer.Rate), "--view", Text(view), "--views", "3", "--view-dropout", Text(model.ViewDropout), "--weight", Text(model.ViewWeights[name]),
            ];
            foreach ((string option, bool on) in (ReadOnlySpan<(string, bool)>)[("--masked", masked), ("--noisy-gradients", noisy), ("--no-validation-stop", noisy || plain), ("--no-checkpoints", plain),
                ("--late", model.Fusion == DssmFusion.Late), ("--float32", model.Precision == TowerPrecision.Float32)])
                if (on)
                    arguments.Add(option);
            return [.. arguments];
        }

        Task<DssmPartyResult> running = ShopAsync();
        string[] printed = await Task.WhenAll(PythonInterop.RunAsync("recommendation_view.py", Arguments(1)), PythonInterop.RunAsync("recommendation_view.py", Arguments(2)));
        DssmPartyResult result = await running;
        foreach ((string text, int view) in printed.Select((text, i) => (text, i + 1)))
        {
            using JsonDocument document = JsonDocument.Parse(text);
            double[] parameters = [.. document.RootElement.GetProperty("parameters").EnumerateArray().Select(v => v.GetDouble())], ours = Parameters(expected[view].Model.View!);
            AssertClose(ours, parameters, Tolerance);
            Assert.Contains(TowerStart.Values(expected[view].Model.View!.Spec, BitConverter.ToInt64(expected[view].Model.View!.State)).Zip(parameters), pair => Math.Abs(pair.First - pair.Second) > 0.01);
        }

        AssertClose(Parameters(expected[0].Model.Items!), Parameters(result.Model.Items!), Tolerance);
        AssertClose(Parameters(expected[0].Model.View!), Parameters(result.Model.View!), Tolerance);
        Assert.Equal(expected[0].BestEpoch, result.BestEpoch);
        AssertClose([.. expected[0].Metrics!.Test!.Named().Select(f => f.Value ?? -1)], [.. result.Metrics!.Test!.Named().Select(f => f.Value ?? -1)], Tolerance);
    }

    private static TowerRows Rows(int rows, int width, int seed)
    {
        var random = new Random(seed);
        return new(new TowerInputs(width, []), rows, [.. Enumerable.Range(0, width * rows).Select(_ => random.NextDouble() - 0.5)], []);
    }

    /// <summary>Six devices with two views, 3 to 5 samples and 8 items.</summary>
    private static DeviceJob DeviceJob { get; } = new()
    {
        Name = "devices",
        Model = new() { Fusion = DssmFusion.Late, Layers = [4, 3], Negatives = 2, Precision = TowerPrecision.Float64 },
        Views = [new("app", new TowerInputs(3, [])), new("größe", new TowerInputs(2, []))],
        Items = new([.. Enumerable.Range(0, 8).Select(i => "item " + i)], Rows(8, 2, 1)),
        Devices = 6,
        Training = new() { Rounds = 3, Participation = 1, Seed = -11, ServerOptimizer = new() { Kind = TowerOptimizerKind.Sgd, Rate = 1 } },
        Privacy = new() { Threshold = 4 },
    };

    private static DeviceData[] Devices { get; } = [.. Enumerable.Range(0, 6).Select(d =>
    {
        int[] samples = [.. Enumerable.Range(0, 3 + d % 3)];
        return new DeviceData("gerät " + d, [new(Rows(samples.Length, 3, 100 + d), samples), new(Rows(samples.Length, 2, 200 + d), samples)], [.. samples.Select(i => (d + 3 * i) % 8)]);
    })];

    public static TheoryData<string> DeviceJobs =>
        ["plain updates", "plain sum of views with full loss", "masks", "masks, and one of ours is lost before its upload", "masks, and the one in Python is lost after its upload", "masks, an active server and colluders", "plain noise", "noise under masks"];

    [Theory]
    [MemberData(nameof(DeviceJobs))]
    public async Task Device_InPythonAmongOurs_MakesTheModelOfOurs(string what)
    {
        bool masks = what.Contains("masks", StringComparison.Ordinal), noise = what.Contains("noise", StringComparison.Ordinal), active = what.Contains("active", StringComparison.Ordinal);
        PythonInterop.Require(masks);
        CancellationToken stop = TestContext.Current.CancellationToken;
        EnrolmentKey[] keys = active ? [.. Devices.Select((_, d) => EnrolmentKey.FromSeed(Seed(d)))] : [];
        DeviceEnrolment[] enrolled = [.. keys.Select((key, d) => new DeviceEnrolment(Devices[d].Device, 10 + 7 * d, key.PublicKey))];
        DeviceJob job = DeviceJob with
        {
            Model = DeviceJob.Model with { Fusion = what.Contains("sum", StringComparison.Ordinal) ? DssmFusion.Sum : DssmFusion.Late, Loss = what.Contains("full", StringComparison.Ordinal) ? DssmLossKind.Full : DssmLossKind.Sampled },
            Privacy = new()
            {
                Threshold = 4,
                SecureAggregation = masks,
                Colluders = active ? 1 : 0,
                Server = active ? ServerTrust.Active : ServerTrust.HonestButCurious,
                Clip = noise ? 0.5 : null,
                NoiseMultiplier = noise ? 0.025 : null, // so little that the sums show, whoever draws it; such noise protects nobody
                MaxParticipations = noise ? 3 : null,
            },
        };
        using var server = new DeviceServer(job, Towers, new() { PhaseTimeout = ChannelConformance.Patience, Enrolled = enrolled });
        double[] start = [.. server.Model.Item, .. server.Model.Views.SelectMany(v => v)];
        using var joined = new SemaphoreSlim(0);
        var idle = new ChannelOptions { ReceiveTimeout = Timeout.InfiniteTimeSpan };
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(new GrpcHostOptions { Channel = idle },
            [.. Devices.Select(d => new GrpcPair(DeviceSessions.Terms(job, d.Device), DeviceSessions.ServerRequest(job)))], (session, ends) =>
            {
                Task attending = server.AttendAsync(session.Channels[0], ends);
                joined.Release();
                return attending;
            });
        bool lost = what.Contains("ours is lost", StringComparison.Ordinal);
        Task[] ours = [.. Devices.Take(5).Select(async (data, d) =>
        {
            using var client = new DeviceClient(job, data, Towers, new() { Key = active ? keys[d] : null, Enrolled = enrolled });
            await using GrpcSession session = await GrpcFederationClient.JoinAsync(host.Address, DeviceSessions.DeviceRequest(job, data.Device), new GrpcClientOptions { Channel = idle }, stop);
            if (lost && d == 2)
                await Assert.ThrowsAsync<EndOfStreamException>(() => client.RunAsync(new Lost(session.Channels[0]), stop));
            else
                await client.RunAsync(session.Channels[0], stop);
        })];
        DeviceData foreign = Devices[5];
        List<string> arguments =
        [
            "--address", host.Address.Authority, "--job", job.Name, "--party", foreign.Device, "--terms", Convert.ToHexStringLower(DeviceSessions.Terms(job, foreign.Device).TermsDigest.Span),
            "--data", Write("device.json", JsonSerializer.Serialize(new
            {
                items = Table(job.Items.Content),
                views = job.Views.Zip(foreign.Views, (view, rows) => new { name = view.Name, rows = Table(rows!.Rows) }),
                positives = foreign.Positives,
            })),
            "--layers", "4,3", "--seed", "-11", "--negatives", "2", "--threshold", "4", "--colluders", active ? "1" : "0",
            .. noise ? (string[])["--clip", "0.5", "--noise-multiplier", "0.025"] : [],
            .. active ? (string[])["--enrolment", Write("enrolment.json", JsonSerializer.Serialize(new
            {
                client = enrolled[5].Client,
                seed = Convert.ToHexString(Seed(5)),
                keys = enrolled.ToDictionary(e => $"{e.Client}", e => Convert.ToHexString(e.PublicKey.Span)),
            }))] : [],
        ];
        foreach ((string option, bool on) in (ReadOnlySpan<(string, bool)>)[("--masked", masks), ("--sum", job.Model.Fusion == DssmFusion.Sum), ("--full", job.Model.Loss == DssmLossKind.Full),
            ("--lost-after-upload", what.Contains("Python is lost", StringComparison.Ordinal))])
            if (on)
                arguments.Add(option);
        Task<string> theirs = PythonInterop.RunAsync("device.py", [.. arguments]);
        foreach (DeviceData _ in Devices)
            await (await Task.WhenAny([joined.WaitAsync(stop), theirs, .. ours]));
        DeviceResult result = await server.RunAsync([], cancellationToken: stop);
        await Task.WhenAll(ours);
        using JsonDocument printed = JsonDocument.Parse(await theirs);

        Assert.Equal(3, printed.RootElement.GetProperty("updates").GetInt32());
        Assert.Equal(lost ? [(6, 5), (5, 5), (5, 5)] : [(6, 6), (6, 6), (6, 6)], result.Rounds.Select(r => (r.Participants, r.Survivors)));
        // The one that was lost is in no sum: the others' is opened by what they hold of its secrets.
        DeviceData[] counted = lost ? [.. Devices.Where((_, d) => d != 2)] : Devices;
        using var simulation = new DeviceSimulation(job with { Devices = counted.Length }, counted, Towers);
        DeviceModel expected = simulation.Run(cancellationToken: stop).Model;
        // Under masks the integers are the same. Noise of another draw moves a coordinate by a deviation of 0.005 in three rounds.
        double[] model = [.. result.Model.Item, .. result.Model.Views.SelectMany(v => v)];
        AssertClose([.. expected.Item, .. expected.Views.SelectMany(v => v)], model, noise ? 0.04 : masks ? 0 : Tolerance);
        Assert.Contains(start.Zip(model), pair => Math.Abs(pair.First - pair.Second) > 0.1);
        foreach (EnrolmentKey key in keys)
            key.Dispose();
    }

    private static byte[] Seed(int device) => [.. Enumerable.Repeat((byte)(device + 1), EnrolmentKey.SeedBytes)];

    private static double[][] Table(TowerRows rows) => [.. rows.Dense.Chunk(rows.Inputs.DenseWidth)];

    /// <summary>A channel of a device that is lost when it should upload.</summary>
    private sealed class Lost(IPartyChannel inner) : IPartyChannel
    {
        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload =>
            message.Payload is MaskedVector ? throw new EndOfStreamException() : inner.SendAsync(round, message, cancellationToken);

        public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload => inner.ReceiveAsync<T>(round, length, cancellationToken);

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }

    private static void AssertClose(double[] expected, double[] actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, tolerance));
    }

    /// <summary>Parameters that a reference tower has saved, behind its seed.</summary>
    private static double[] Parameters(SavedTower tower) => MemoryMarshal.Cast<byte, double>(tower.State.AsSpan(sizeof(long))).ToArray();

    private static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static string Csv(ViewTable view)
    {
        int width = view.Rows.Inputs.DenseWidth;
        var text = new StringBuilder(view.Moments is null ? "user" : "user,time,sequence");
        text.AppendJoin("", Enumerable.Range(0, width).Select(c => $",c{c}")).Append('\n');
        for (int row = 0; row < view.Rows.Rows; row++)
        {
            text.Append(view.Users[view.RowUser[row]]);
            if (view.Moments is { } moments)
                text.Append(CultureInfo.InvariantCulture, $",{moments[row].Time},{moments[row].Sequence}");
            text.AppendJoin("", Enumerable.Range(0, width).Select(c => "," + Text(view.Rows.Dense[row * width + c]))).Append('\n');
        }

        return text.ToString();
    }

    private string Write(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, text);
        return path;
    }
}
