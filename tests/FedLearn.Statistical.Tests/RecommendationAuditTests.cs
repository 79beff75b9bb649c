using System.Collections.Concurrent;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

/// <summary>An attacker who knows both neighbouring tables and everything but the noise tells them apart by the likelihood ratio, from the messages that arrive at the peers of real parties and at the server of real devices.</summary>
/// <remarks>
/// <para>Where parameters stand still a unit's rows are in no other's messages, so that one session has as many independent trials as units: every second one is that of the neighbouring table (Steinke, Nasr and Jagielski 2023, with the
/// likelihood ratio of each unit by itself). What a message is without noise is what arrives in two more sessions with next to none. The rows are the worst there are: vectors in opposite directions beyond the clip; items whose
/// vectors point in opposite directions; a device's update beyond the clip, against none.</para>
/// <para>As in <see cref="EmbeddingAuditTests"/>, Clopper-Pearson limits on both error rates bound mu, and with it epsilon, from below; each condition fails by chance with probability 1e-8, and seeds are fixed.</para>
/// </remarks>
public class RecommendationAuditTests(ITestOutputHelper output)
{
    private const int Epochs = 2, SamplesOfUser = 2, Width = 2;
    private const double Epsilon = 8, Delta = 1e-5, FalseAlarm = 1e-8, Far = 1e6;

    /// <summary>Units in each world; ten times as many in the full tier.</summary>
    private static readonly int Units = TestCounts.Of(5_000);

    private static readonly ITowerFactory Towers = new ReferenceTowerFactory();

    private enum World { One, Other, Half }

    private static bool IsOther(World world, int unit) => world == World.Other || world == World.Half && unit % 2 == 1;

    /// <param name="claim">Claim.</param>
    /// <param name="unit">Unit that the noise is for.</param>
    /// <param name="found">Whether the audit of users must contradict the claim: a figure for samples is none for users with two of them.</param>
    [Theory]
    [InlineData(EmbeddingClaim.OwnMessages, EmbeddingUnit.User, false)]
    [InlineData(EmbeddingClaim.OwnMessages, EmbeddingUnit.Sample, true)]
    [InlineData(EmbeddingClaim.OneShot, EmbeddingUnit.User, false)]
    public async Task Audit_VectorsOfAView_StayBelowTheClaimOfTheirUnit(EmbeddingClaim claim, EmbeddingUnit unit, bool found)
    {
        async Task<(double[][] Users, double Mu, double Sigma)> RunAsync(World world, double epsilon, long seed)
        {
            bool isStatic = claim == EmbeddingClaim.OneShot;
            (string[] users, Interaction[] events) = Events(_ => 0);
            int rows = isStatic ? users.Length : events.Length;
            int UserOf(int row) => isStatic ? row : events[row].User;
            double[] features = [.. Enumerable.Range(0, rows).Select(row => IsOther(world, UserOf(row)) ? -Far : Far)];
            var view = new ViewTable(users, [.. Enumerable.Range(0, rows).Select(UserOf)], isStatic ? null : [.. events.Select(e => e.Moment)], new TowerRows(new TowerInputs(1, []), rows, features, []));
            DssmPrivacyOptions privacy = Privacy(DssmNoise.Embeddings, claim, unit, epsilon, seed);
            (IReadOnlyList<DssmPartyResult> results, double[][] messages) = await TrainAsync<Embeddings>(privacy, DssmFusion.Sum, users, events, [view], receiver: 0);
            EmbeddingCalibration calibration = results[1].Privacy.Calibration!;
            // A view that is sent once has its users in the order that the parties number them; samples are in that of the epoch.
            double[][] of = isStatic ? [.. users.Select(_ => Array.Empty<double>())] : ByUser(messages, events);
            if (isStatic)
            {
                int[] order = RowIds.Order(users, 0).Rows;
                for (int i = 0; i < order.Length; i++)
                    of[order[i]] = messages[0][(i * Width)..((i + 1) * Width)];
            }

            return (of, calibration.Mu, calibration.SigmaCharged);
        }

        await AssertAuditAsync(RunAsync, found);
    }

    /// <summary>All vectors of a view that learns: a unit's own, and those of rows that share its feature, from which the attacker, who chooses the gradients that come back, reads what the unit did to the parameters.</summary>
    /// <param name="claim">Claim. The figure for own messages says nothing of a view that learns, and the audit must contradict it.</param>
    /// <param name="hasTimes">Whether the view has a row for every event, and protects samples; else one for every user, who has one sample.</param>
    /// <param name="epsilon">Epsilon of the claim.</param>
    [Theory]
    [InlineData(EmbeddingClaim.Full, false, 20)]
    [InlineData(EmbeddingClaim.Full, true, 20)]
    [InlineData(EmbeddingClaim.OwnMessages, true, 12)]
    public async Task Audit_VectorsOfAViewThatLearns_StayBelowTheFullClaim(EmbeddingClaim claim, bool hasTimes, double epsilon)
    {
        // A step far enough for the probes to show it and its noise, and not so far that the unit's own vector turns away.
        const double clip = 100, moved = .25, near = .4 * clip, far = 10 * clip;
        const int probes = 400, units = 50, rows = units * (1 + probes);
        int sessions = TestCounts.Of(20);
        (string[] users, Interaction[] events) = Events(rows, 1, _ => 0);
        (long falsePositives, long falseNegatives, double squares, double claimed) = (0, 0, 0, 0);
        for (int session = 0; session < sessions; session++)
        {
            // The first row of a unit is its own, with a vector far beyond the clip; its probes are within it. Weights are (1, 0).
            double[] features = [.. Enumerable.Range(0, rows).SelectMany(row => new[] { row / (1 + probes), row % (1 + probes) > 0 ? near : IsOther(World.Half, row / (1 + probes)) ? -far : far })];
            ViewTable view = new(users, [.. Enumerable.Range(0, rows)], hasTimes ? [.. events.Select(e => e.Moment)] : null, new TowerRows(new TowerInputs(2, []), rows, features, []));
            int epoch = 0;
            // At right angles to a unit's weights, as long as it may be, and nothing after the first epoch.
            EmbeddingGradients Returned(EmbeddingGradients gradients)
            {
                double[] across = new double[gradients.Length];
                int[] order = SampleOrder.Of(rows, 0, epoch);
                for (int i = 0; i < rows && epoch == 0; i++)
                    across[2 * i + 1] = order[i] % (1 + probes) == 0 ? 1 / clip : 0;
                epoch++;
                return new EmbeddingGradients(across, ElementType.Float64);
            }

            DssmPrivacyOptions privacy = Privacy(DssmNoise.Embeddings, claim, hasTimes ? EmbeddingUnit.Sample : EmbeddingUnit.User, epsilon, session) with { Clip = clip, ParameterClip = 1, MessageShare = .5, MaxSamplesPerUser = 1 };
            (IReadOnlyList<DssmPartyResult> results, double[][] messages) = await TrainAsync<Embeddings>(privacy, DssmFusion.Sum, users, events, [view], receiver: 0, new CanaryTowers(units, moved * rows), Returned);
            EmbeddingCalibration calibration = results[1].Privacy.Calibration!;
            double[][] first = BySample(messages[0], 0), second = BySample(messages[1], 1);
            double sigma = calibration.MessageNoise.Sigma, noise = calibration.GradientNoise.Count > 0 ? moved * calibration.GradientNoise[0].Noise.Sigma : 0;
            // What is seen of the step has its own noise and that of the probes.
            double variance = noise * noise + sigma * sigma / (near * near * probes);
            (claimed, squares) = (calibration.Mu, 2 * Math.Pow(2 * clip / sigma, 2) + 4 * moved * moved / variance);
            for (int unit = 0; unit < units; unit++)
            {
                int at = unit * (1 + probes);
                double shift = Enumerable.Range(1, probes).Average(probe => second[at + probe][1]) / near;
                double ratio = 2 * moved * shift / variance - (first[at][0] + second[at][0]) * 2 * clip / (sigma * sigma);
                falseNegatives += IsOther(World.Half, unit) && ratio <= 0 ? 1 : 0;
                falsePositives += !IsOther(World.Half, unit) && ratio > 0 ? 1 : 0;
            }
        }

        int trials = sessions * units / 2;
        double apart = Math.Sqrt(squares), lower = AuditBound.Lower(falsePositives, falseNegatives, trials, FalseAlarm), reach = AuditBound.Reach(.9 * apart, trials, FalseAlarm);
        output.WriteLine($"mu claimed {claimed:F4}, seen by this attack {apart:F4}, lower bound {lower:F4} from {trials} units a world (at least {reach:F4} expected): "
            + $"epsilon at least {GaussianDp.Epsilon(Math.Max(0, lower), Delta):F3} at delta {Delta} with confidence 1 - {FalseAlarm}, claimed {GaussianDp.Epsilon(claimed, Delta):F3}");
        Assert.True(lower >= reach);
        Assert.Equal(claim == EmbeddingClaim.OwnMessages, lower > claimed);

        static double[][] BySample(double[] message, int epoch)
        {
            int[] order = SampleOrder.Of(rows, 0, epoch);
            double[][] of = new double[rows][];
            for (int i = 0; i < rows; i++)
                of[order[i]] = message[(i * Width)..((i + 1) * Width)];
            return of;
        }
    }

    /// <param name="fusion">Fusion. With late each view gets another gradient, and the two put what they get together.</param>
    [Theory]
    [InlineData(DssmFusion.Sum)]
    [InlineData(DssmFusion.Late)]
    public async Task Audit_GradientsOfTheActiveParty_StayBelowTheClaim(DssmFusion fusion)
    {
        await AssertAuditAsync(async (world, epsilon, seed) =>
        {
            (string[] users, Interaction[] events) = Events(user => IsOther(world, user) ? 1 : 0);
            ViewTable view = new(users, [.. Enumerable.Range(0, users.Length)], null, new TowerRows(new TowerInputs(1, []), users.Length, [.. users.Select(_ => 0.0)], []));
            (IReadOnlyList<DssmPartyResult> results, double[][] messages) = await TrainAsync<EmbeddingGradients>(Privacy(DssmNoise.Gradients, EmbeddingClaim.OwnMessages, EmbeddingUnit.User, epsilon, seed), fusion, users, events,
                [view, view], receiver: null);
            EmbeddingCalibration calibration = results[0].Privacy.Calibration!;
            // Fusion sum sends both the same bytes.
            double[][] seen = fusion == DssmFusion.Sum ? messages[..Epochs] : messages;
            return (ByUser(seen, events), calibration.Mu, calibration.SigmaCharged);
        }, found: false);
    }

    /// <summary>Each device's noisy uploads, with masks off, at a server that keeps the model where it is.</summary>
    [Fact]
    public async Task Audit_UploadsOfDevices_StayBelowTheClaimWithMasksOff()
    {
        DeviceJob job = JobOfDevices(2 * Units, rounds: 2, masked: false, new TowerOptimizer { Kind = TowerOptimizerKind.Sgd, Rate = 1e-300 });
        DeviceData[] devices = [.. Enumerable.Range(0, 2 * Units).Select(d => Device(d, empty: IsOther(World.Half, d)))];
        double[][] one = new double[devices.Length][], other = new double[devices.Length][], seen = new double[devices.Length][];
        using var work = new DeviceWork(new DevicePlan(job), Towers);
        for (int d = 0; d < devices.Length; d++)
        {
            one[d] = [.. Enumerable.Range(0, 2).SelectMany(attempt => Exact(work, Device(d, empty: false), work.Start, attempt))];
            other[d] = new double[one[d].Length];
        }

        var arrived = new ConcurrentQueue<double[]>[devices.Length];
        await ServeAsync(job, devices, null, (d, channel) => Listening<ModelUpdate>(channel, arrived[d] = new()));
        for (int d = 0; d < devices.Length; d++)
            seen[d] = [.. arrived[d].SelectMany(a => a)];
        DeviceCalibration calibration = work.Calibration!;
        AssertAudit(one, other, seen, calibration.Figures(Delta).ServerMu, calibration.ClientSigma, found: false);
    }

    /// <summary>The sum of two devices' uploads under masks, as each version of the model tells it to everybody: each round is a trial of what a round costs, at the model that the rounds before it made.</summary>
    [Fact]
    public async Task Audit_OpenedSumsOfDevices_StayBelowTheClaimOfARound()
    {
        // Steps so small that the update stays beyond the clip, and that the model's own rounding is nothing beside the noise.
        const double rate = 1e-6;
        DeviceJob job = JobOfDevices(2, Units / 5, masked: true, new TowerOptimizer { Kind = TowerOptimizerKind.Sgd, Rate = rate });
        using var work = new DeviceWork(new DevicePlan(job), Towers);
        double[][] one = new double[2 * job.Training.Rounds][], other = new double[one.Length][], seen = new double[one.Length][];
        foreach (bool empty in new[] { false, true })
        {
            var versions = new List<double[]> { work.Start.ToArray() };
            await ServeAsync(job with { Privacy = job.Privacy with { TestNoiseSeed = empty ? 5 : 6 } }, [Device(0, empty), Device(1, empty: false)], model => versions.Add([.. model.Item, .. model.Views[0]]), (_, channel) => channel);
            for (int round = 0; round < job.Training.Rounds; round++)
            {
                int trial = 2 * round + (empty ? 1 : 0);
                double[] known = Exact(work, Device(1, empty: false), versions[round], round);
                one[trial] = Exact(work, Device(0, empty: false), versions[round], round);
                other[trial] = new double[known.Length];
                // The server divides by q N = 2.
                seen[trial] = [.. known.Select((value, j) => 2 * (versions[round][j] - versions[round + 1][j]) / rate - value)];
            }
        }

        DeviceCalibration calibration = work.Calibration!;
        AssertAudit(one, other, seen, calibration.Figures(Delta).ServerMu / Math.Sqrt(job.Training.Rounds), calibration.NoiseMultiplier * job.Privacy.Clip!.Value, found: false);
    }

    private static DeviceJob JobOfDevices(int devices, int rounds, bool masked, TowerOptimizer optimizer) => new()
    {
        Name = "audit",
        Model = new() { Fusion = DssmFusion.Late, Loss = DssmLossKind.Full, Layers = [Width], Precision = TowerPrecision.Float64 },
        Views = [new("view", new TowerInputs(1, []))],
        Items = new ItemTable(["one", "other"], new TowerRows(new TowerInputs(1, []), 2, [1, -1], [])),
        Devices = devices,
        Training = new() { Rounds = rounds, Participation = 1, ServerOptimizer = optimizer },
        Privacy = new() { Clip = 1e-3, NoiseMultiplier = masked ? 0.3 : 1.2, MaxParticipations = rounds, Threshold = 2, SecureAggregation = masked, TestNoiseSeed = 4, Delta = Delta },
    };

    /// <summary>A device with samples whose update is far longer than the clip, or with none.</summary>
    private static DeviceData Device(int number, bool empty) =>
        new($"device {number}", [new(new TowerRows(new TowerInputs(1, []), 1, [1], []), empty ? [] : [0, 0, 0])], empty ? [] : [0, 1, 0]);

    private static double[] Exact(DeviceWork work, DeviceData data, ReadOnlySpan<double> model, int attempt)
    {
        double[] update = new double[work.FederatedLength];
        work.Update(data, model, [], attempt, update);
        return update;
    }

    private static async Task ServeAsync(DeviceJob job, DeviceData[] devices, Action<DeviceModel>? version, Func<int, IPartyChannel, IPartyChannel> wrap)
    {
        var idle = new ChannelOptions { ReceiveTimeout = Timeout.InfiniteTimeSpan };
        using var server = new DeviceServer(job, Towers, new() { PhaseTimeout = TimeSpan.FromMinutes(5), WaitFor = devices.Length });
        DeviceClient[] clients = [.. devices.Select(data => new DeviceClient(job, data, Towers))];
        (InMemoryChannel Server, InMemoryChannel Device)[] pairs = [.. devices.Select(d => InMemoryChannel.CreatePair(DeviceSessions.Server, d.Device, idle))];
        Task[] running = [.. clients.Select((client, i) => client.RunAsync(pairs[i].Device, TestContext.Current.CancellationToken))];
        await server.RunAsync([.. pairs.Select((pair, i) => wrap(i, pair.Server))], new Versions(() => version?.Invoke(server.Model)), TestContext.Current.CancellationToken);
        await Task.WhenAll(running);
        foreach (DeviceClient client in clients)
            client.Dispose();
    }

    private sealed class Versions(Action made) : IProgress<DeviceRound>
    {
        public void Report(DeviceRound value) => made();
    }

    /// <summary>Two items whose vectors point in opposite directions, and users with samples of them.</summary>
    private static (string[] Users, Interaction[] Events) Events(Func<int, int> item) => Events(2 * Units, SamplesOfUser, item);

    private static (string[] Users, Interaction[] Events) Events(int count, int samples, Func<int, int> item)
    {
        string[] users = [.. Enumerable.Range(0, count).Select(u => $"user {u}")];
        return (users, [.. users.SelectMany((_, u) => Enumerable.Range(0, samples).Select(e => new Interaction(u, item(u), new Moment(1000 + e, e), EventRole.Train)))]);
    }

    private static DssmPrivacyOptions Privacy(DssmNoise noise, EmbeddingClaim claim, EmbeddingUnit unit, double epsilon, long seed) => new()
    {
        Noise = noise,
        Claim = claim,
        Unit = unit,
        Budget = new PrivacyBudget(epsilon, Delta),
        MaxSamplesPerUser = SamplesOfUser,
        Clip = 1e-3,
        Evaluation = EvaluationDisclosure.None,
        TestNoiseSeed = seed,
    };

    /// <summary>Trains, and records what arrives at one party, or at every view, one after the other.</summary>
    /// <remarks>Towers but one's own stand still: a step of 1e-300 changes no bit of a parameter.</remarks>
    private static async Task<(IReadOnlyList<DssmPartyResult> Results, double[][] Messages)> TrainAsync<T>(DssmPrivacyOptions privacy, DssmFusion fusion, string[] users, Interaction[] events, ViewTable[] views, int? receiver,
        ITowerFactory? viewTower = null, Func<EmbeddingGradients, EmbeddingGradients>? returned = null) where T : VectorPayload
    {
        PartyDescription[] parties = [new("shop", PartyRole.Active), .. views.Select((_, v) => new PartyDescription($"view {v}", PartyRole.Passive))];
        var job = new DssmJob
        {
            Name = "audit",
            Model = new DssmModelOptions { Fusion = fusion, Loss = DssmLossKind.Full, Layers = [Width], Precision = TowerPrecision.Float64 },
            Training = new DssmTrainingOptions { Epochs = Epochs, BatchSize = events.Length, ValidationStop = false, CheckpointRounds = 0, Optimizer = new TowerOptimizer { Kind = TowerOptimizerKind.Sgd, Rate = 1e-300 } },
            Privacy = privacy,
            Parties = [.. parties.Select(p => new DssmPartyOptions { Party = p })],
        };
        var items = new ItemTable(["one", "other"], new TowerRows(new TowerInputs(1, []), 2, [Far, -Far], []));
        DssmPartyInput[] inputs = [new() { Party = "shop", Items = items, Interactions = new InteractionTable(users, events) }, .. views.Select((view, v) => new DssmPartyInput { Party = $"view {v}", View = view, ViewTower = viewTower })];
        var arrived = new ConcurrentDictionary<int, ConcurrentQueue<double[]>>();
        DssmTrainer[] trainers = [.. inputs.Select(input => new DssmTrainer(job, input, Towers))];
        IReadOnlyList<DssmPartyResult> results = await LocalSession.RunAsync(trainers[0].Terms, [.. trainers.Select(t => t.JoinRequest)], new ChannelOptions(), (i, agreement, channels, stop) =>
            trainers[i].TrainAsync(agreement, receiver is null || receiver == i ? [.. channels.Select(channel => Listening<T>(channel, arrived.GetOrAdd(i, _ => new())))]
                : returned is null ? channels : [.. channels.Select(channel => new ChangedChannel(channel, received => received is EmbeddingGradients gradients ? returned(gradients) : received))], null, stop),
            TestContext.Current.CancellationToken);
        return (results, [.. arrived.OrderBy(a => a.Key).SelectMany(a => a.Value)]);
    }

    /// <summary>What is in messages of each user, in the order of messages and samples.</summary>
    private static double[][] ByUser(double[][] messages, Interaction[] events)
    {
        var of = new List<double>[2 * Units];
        for (int u = 0; u < of.Length; u++)
            of[u] = [];
        for (int m = 0; m < messages.Length; m++)
        {
            int[] order = SampleOrder.Of(events.Length, 0, m % Epochs);
            int[] place = new int[order.Length];
            for (int i = 0; i < order.Length; i++)
                place[order[i]] = i;
            for (int sample = 0; sample < place.Length; sample++)
                of[events[sample].User].AddRange(messages[m].AsSpan(place[sample] * Width, Width));
        }

        return [.. of.Select(o => o.ToArray())];
    }

    private async Task AssertAuditAsync(Func<World, double, long, Task<(double[][] Users, double Mu, double Sigma)>> run, bool found)
    {
        const double nearlyNoNoise = 1e15;
        double[][] one = (await run(World.One, nearlyNoNoise, 1)).Users, other = (await run(World.Other, nearlyNoNoise, 2)).Users;
        (double[][] seen, double claimed, double sigma) = await run(World.Half, Epsilon, 3);
        AssertAudit(one, other, seen, claimed, sigma, found);
    }

    private void AssertAudit(double[][] one, double[][] other, double[][] seen, double claimed, double sigma, bool found)
    {
        int units = seen.Length / 2;
        (long falsePositives, long falseNegatives, double least, double most) = (0, 0, double.PositiveInfinity, 0);
        for (int u = 0; u < seen.Length; u++)
        {
            double ratio = 0, squares = 0;
            for (int j = 0; j < seen[u].Length; j++)
            {
                double distance = other[u][j] - one[u][j];
                ratio += (seen[u][j] - (one[u][j] + other[u][j]) / 2) * distance;
                squares += distance * distance;
            }

            (least, most) = (Math.Min(least, squares), Math.Max(most, squares));
            if (IsOther(World.Half, u))
                falseNegatives += ratio <= 0 ? 1 : 0;
            else
                falsePositives += ratio > 0 ? 1 : 0;
        }

        double apart = Math.Sqrt(least) / sigma, lower = AuditBound.Lower(falsePositives, falseNegatives, units, FalseAlarm), reach = AuditBound.Reach(apart * (1 - 1e-4), units, FalseAlarm);
        output.WriteLine($"mu claimed {claimed:F4}, realised without noise {apart:F4} to {Math.Sqrt(most) / sigma:F4}, lower bound {lower:F4} from {units} units a world (at least {reach:F4} expected): "
            + $"epsilon at least {GaussianDp.Epsilon(lower, Delta):F3} at delta {Delta} with confidence 1 - {FalseAlarm}, claimed {GaussianDp.Epsilon(claimed, Delta):F3}");
        Assert.True(lower >= reach);
        Assert.Equal(found, lower > claimed);
        if (!found)
            Assert.InRange(apart, 0.95 * claimed, claimed); // the pair is as far apart as the claim allows for, or nearly
    }

    /// <summary>A channel that copies what arrives.</summary>
    private static ChangedChannel Listening<T>(IPartyChannel inner, ConcurrentQueue<double[]> arrived) where T : VectorPayload => new(inner, received =>
    {
        if (received is T vector)
            arrived.Enqueue(vector.Values.ToArray());
        return received;
    });
}
