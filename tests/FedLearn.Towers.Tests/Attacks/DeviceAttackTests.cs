using System.Buffers.Binary;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Towers.Tests.Attacks;

/// <summary>What the server of a device job reads from updates: a user's static features, and the items that a user liked. Every figure here is an observation of one attack on
/// one data set, not a guarantee.</summary>
public class DeviceAttackTests
{
    private const int Units = 32, Cohort = 10, Draws = 12;

    private static readonly Lazy<Task<DeviceScene>> Shared = new(DeviceScene.CreateAsync);

    /// <summary>(a) Plain protocol, no epsilon. The attacker is the server and reads one update of a user, with nothing averaged: static features, exactly.</summary>
    [Fact]
    public async Task PlainUpdate_StaticFeatures_AreRecoveredExactly()
    {
        DeviceScene scene = await Scene();
        (RecordedRun run, _) = await scene.RoundAsync(scene.Devices[..20], masked: false);
        foreach (DeviceData device in scene.Devices[..20])
        {
            ReadOnlyMemory<double> update = ((ModelUpdate)Assert.Single(run.Of(device.Device, DeviceSessions.Server, typeof(ModelUpdate))).Payload).Values;
            Assert.True(scene.FeatureError(device, update.Span) < 1e-5);
        }
    }

    /// <summary>(a) Masked round of ten devices without noise: no epsilon, masks alone. The attacker is the server and reads the masked upload of a user by itself.</summary>
    [Fact]
    public async Task MaskedUpload_StaticFeatures_AreNotRecovered()
    {
        DeviceScene scene = await Scene();
        (RecordedRun run, _) = await scene.RoundAsync(scene.Devices[..Cohort], masked: true);
        foreach (DeviceData device in scene.Devices[..Cohort])
        {
            double error = scene.FeatureError(device, Read(run, device));
            TestContext.Current.SendDiagnosticMessage($"(a) masked upload: error {error:F3}");
            Assert.True(error > 0.3);
        }
    }

    /// <summary>(a) and (b) The opened sum of ten devices without noise: no epsilon, masks alone. The attacker is the server, takes the sum as if it were one device's update,
    /// and averages nothing; figures are means over twelve draws of ten devices, of all ten of each. A sum still tells which items the ten liked: less of a user than
    /// popularity does, for which nobody needs a message.</summary>
    /// <param name="size">Devices of a sum.</param>
    [Theory]
    [InlineData(10)]
    [InlineData(20)]
    public async Task OpenedSum_FeaturesAndItems_AreNotThoseOfAUser(int size)
    {
        DeviceScene scene = await Scene();
        double error = 0, auc = 0, popular = 0;
        for (int draw = 0; draw < Draws; draw++)
        {
            DeviceData[] cohort = [.. Enumerable.Range(draw * Cohort, size).Select(i => scene.Devices[i % scene.Devices.Length])];
            (_, double[] sum) = await scene.RoundAsync(cohort, masked: true);
            double[] signals = scene.Items(sum);
            foreach (DeviceData device in cohort)
            {
                error += scene.FeatureError(device, sum) / (Draws * size);
                auc += DeviceScene.ItemAuc(device, signals) / (Draws * size);
                popular += DeviceScene.ItemAuc(device, scene.Films.Popularity) / (Draws * size);
            }
        }

        TestContext.Current.SendDiagnosticMessage($"opened sum of {size}: x error {error:F3}, items AUC {auc:F3}, popularity {popular:F3}");
        Assert.True(error > 0.3, $"error {error}");
        Assert.True(auc < popular, $"AUC {auc} against {popular}");
    }

    /// <summary>(b) Plain protocol, no epsilon. The attacker is the server, or a view of the device that sees the item gradient, reads one update of a user, and inverts the public
    /// item matrix; no popularity enters. Mean over twenty users.</summary>
    [Fact]
    public async Task PlainUpdate_LikedItems_AreFound()
    {
        DeviceScene scene = await Scene();
        DeviceData[] users = scene.Devices[..20];
        (RecordedRun run, _) = await scene.RoundAsync(users, masked: false);
        double auc = users.Average(d => DeviceScene.ItemAuc(d, scene.Items(((ModelUpdate)run.Of(d.Device, DeviceSessions.Server, typeof(ModelUpdate))[0].Payload).Values.Span)));
        double popular = users.Average(d => DeviceScene.ItemAuc(d, scene.Films.Popularity));
        TestContext.Current.SendDiagnosticMessage($"(b) plain: AUC {auc:F3}, popularity {popular:F3}");
        Assert.True(auc > 0.9, $"AUC {auc}");
        Assert.True(auc > popular, $"AUC {auc} against {popular}");
    }

    /// <summary>(b) Masked rounds of ten devices without noise: no epsilon, masks alone. The attacker is the server and reads the masked upload of a user by itself; mean over
    /// twenty users.</summary>
    [Fact]
    public async Task MaskedUpload_LikedItems_AreNotFound()
    {
        DeviceScene scene = await Scene();
        double auc = 0;
        foreach (DeviceData[] cohort in scene.Devices[..(2 * Cohort)].Chunk(Cohort))
        {
            (RecordedRun run, _) = await scene.RoundAsync(cohort, masked: true);
            foreach (DeviceData device in cohort)
                auc += DeviceScene.ItemAuc(device, scene.Items(Read(run, device))) / (2 * Cohort);
        }

        TestContext.Current.SendDiagnosticMessage($"(b) masked upload: AUC {auc:F3}");
        Assert.InRange(auc, 0.45, 0.55);
    }

    private static Task<DeviceScene> Scene()
    {
        Films.Require();
        return Shared.Value;
    }

    /// <summary>A masked upload as numbers.</summary>
    private static double[] Read(RecordedRun run, DeviceData device)
    {
        var upload = (MaskedVector)Assert.Single(run.Of(device.Device, DeviceSessions.Server, typeof(MaskedVector))).Payload;
        double[] numbers = new double[upload.Length];
        for (int i = 0; i < numbers.Length; i++)
            numbers[i] = BinaryPrimitives.ReadInt64LittleEndian(upload.Values.Span[(i * sizeof(long))..]) * upload.Step;
        return numbers;
    }

    /// <summary>Devices of users with two views, profile and taste, and a model that two epochs have trained.</summary>
    private sealed class DeviceScene
    {
        private readonly Lazy<ItemMatrix> _matrix;
        private readonly Dictionary<TowerInputs, double[]> _model = [];
        private readonly DssmModelOptions _options = new() { Fusion = DssmFusion.Late, Layers = [Units, 16] };

        private DeviceScene(Films films)
        {
            Films = films;
            _matrix = new(() => new ItemMatrix(films.Items.Content));
            ILookup<int, Interaction> events = films.Interactions.Events.Where(e => e.Role == EventRole.Train).ToLookup(e => e.User);
            DeviceViewRows View(ViewTable table, Dictionary<string, int> place, IEnumerable<Interaction> own) =>
                new(table.Rows, [.. own.Select(e => table.RowOf(place.GetValueOrDefault(films.Interactions.Users[e.User], -1), e.Moment))]);
            Dictionary<string, int> profiles = Place(films.Profile), tastes = Place(films.Taste);
            // Every seventh user: the table is in no order that means something.
            Devices = [.. events.Where(own => own.Count() >= 5).OrderBy(own => own.Key % 7).ThenBy(own => own.Key).Take(Draws * Cohort)
                .Select(own => new DeviceData(films.Interactions.Users[own.Key], [View(films.Profile, profiles, own), View(films.Taste, tastes, own)], [.. own.Select(e => e.Item)]))];
        }

        public Films Films { get; }

        public DeviceData[] Devices { get; }

        public static async Task<DeviceScene> CreateAsync()
        {
            var scene = new DeviceScene(Films.Require());
            DssmJob job = Films.Job(scene._options, 2, null, "profile", "taste");
            IReadOnlyList<DssmPartyResult> trained = await DssmFederation.TrainAsync(job,
                [scene.Films.Label, new() { Party = "profile", View = scene.Films.Profile }, new() { Party = "taste", View = scene.Films.Taste }], new LibTorchTowers());
            foreach (SavedTower saved in new[] { trained[0].Model.Items!, trained[1].Model.View!, trained[2].Model.View! })
            {
                using ITower tower = new LibTorchTowers().Restore(saved.Spec, saved.State);
                tower.GetParameters(scene._model[saved.Spec.Inputs] = new double[tower.ParameterCount]);
            }

            return scene;
        }

        /// <summary>One round of real devices and a server: what devices sent, and the sum by which the model moved.</summary>
        public async Task<(RecordedRun Run, double[] Sum)> RoundAsync(DeviceData[] devices, bool masked)
        {
            DeviceJob job = new()
            {
                Name = "attacked",
                Model = _options,
                Views = [new("profile", Films.Profile.Rows.Inputs), new("taste", Films.Taste.Rows.Inputs)],
                Items = Films.Items,
                Devices = devices.Length,
                // A server that steps by the sum itself: the difference of two versions is what was opened.
                Training = new() { Rounds = 1, Participation = 1, ServerOptimizer = new() { Kind = TowerOptimizerKind.Sgd, Rate = 1 } },
                Privacy = new() { SecureAggregation = masked, Threshold = devices.Length },
            };
            var run = new RecordedRun(masked ? typeof(MaskedVector) : typeof(ModelUpdate));
            var towers = new WarmTowers(_model);
            var options = new ChannelOptions { ReceiveTimeout = TimeSpan.FromMinutes(5) };
            using var server = new DeviceServer(job, towers, new DeviceServerOptions { WaitFor = devices.Length, PhaseTimeout = TimeSpan.FromMinutes(5) });
            double[] before = Values(server.Model);
            DeviceClient[] clients = [.. devices.Select(device => new DeviceClient(job, device, towers))];
            (InMemoryChannel Server, InMemoryChannel Device)[] pairs = [.. devices.Select(device => InMemoryChannel.CreatePair(DeviceSessions.Server, device.Device, options))];
            Task[] running = [.. clients.Select((client, i) => Task.Run(() => client.RunAsync(run.Watch(pairs[i].Device))))];
            DeviceResult result = await server.RunAsync([.. pairs.Select(pair => pair.Server)]);
            await Task.WhenAll(running);
            foreach (DeviceClient client in clients)
                client.Dispose();
            Assert.Equal(masked, Assert.Single(result.Rounds).Masked);
            Assert.Equal(devices.Length, result.Rounds[0].Survivors);
            double[] after = Values(result.Model);
            return (run, [.. before.Zip(after, (b, a) => b - a)]);
        }

        /// <summary>Largest error of the profile that a vector taken as an update gives.</summary>
        public double FeatureError(DeviceData device, ReadOnlySpan<double> update)
        {
            int inputs = Films.Profile.Rows.Inputs.Width;
            double[] found = Attack.Features(update[_model[Films.Items.Content.Inputs].Length..], inputs, Units);
            ReadOnlySpan<double> actual = Films.Profile.Rows.Dense.AsSpan(device.Views[0]!.Index[0] * inputs, inputs);
            double error = 0;
            for (int i = 0; i < inputs; i++)
                error = Math.Max(error, Math.Abs(found[i] - actual[i]));
            return error;
        }

        /// <summary>A signal for each item from a vector taken as an update.</summary>
        public double[] Items(ReadOnlySpan<double> update) => _matrix.Value.Signals(update[..(Films.Items.Content.Inputs.Width * Units)], Units);

        public static double ItemAuc(DeviceData device, double[] signals)
        {
            var liked = device.Positives.ToHashSet();
            return Attack.Auc(signals, liked.Contains);
        }

        private static Dictionary<string, int> Place(ViewTable view) => view.Users.Index().ToDictionary(u => u.Item, u => u.Index, StringComparer.Ordinal);

        private static double[] Values(DeviceModel model) => [.. model.Item, .. model.Views.SelectMany(v => v)];
    }

    /// <summary>Towers that start where training ended.</summary>
    private sealed class WarmTowers(Dictionary<TowerInputs, double[]> model) : ITowerFactory
    {
        private readonly LibTorchTowers _inner = new();

        public ITower Create(TowerSpec spec, long seed)
        {
            ITower tower = _inner.Create(spec, seed);
            tower.SetParameters(model[spec.Inputs]);
            return tower;
        }

        public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state) => _inner.Restore(spec, state);
    }
}
