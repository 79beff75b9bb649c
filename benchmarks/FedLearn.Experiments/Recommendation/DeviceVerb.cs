using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using FedLearn.Dssm;
using FedLearn.Evaluation;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Experiments.Recommendation;

/// <summary>FL-MV-DSSM in device mode on MovieLens 100K: every user a device with three views, without noise and at several budgets against later observers.</summary>
internal static class DeviceVerb
{
    private static readonly Option<DirectoryInfo> Data = new("--data") { Description = "Folder of MovieLens 100K.", Required = true };

    public static Command Create()
    {
        Option<double[]> epsilons = Verbs.List("--epsilons", "Budgets of a device at delta 1e-5, add/remove, against later observers of the model; 0: no noise.", 0.0, 10.0, 2.0);
        Option<long[]> seeds = Verbs.List("--seeds", "Seeds.", 0L);
        Option<int> rounds = Verbs.Positive("--rounds", "Rounds.", 60), negatives = Verbs.Positive("--negatives", "Negatives a sample.", 4);
        Option<double> rate = new("--rate") { Description = "Rate of the server's Adam. Default 0.01.", DefaultValueFactory = _ => 0.01 };
        Option<double> clip = new("--clip") { Description = "Bound on a device's update. Default 1.", DefaultValueFactory = _ => 1 };
        Option<bool> masks = new("--masks") { Description = "Run the real secure aggregation in rounds of up to 128 clients." },
            sum = new("--sum") { Description = "Fusion sum instead of late." }, clipped = new("--clipped") { Description = "Clip updates without noise too." };
        var command = new Command("device-recommendation", "HR@10 of FL-MV-DSSM in device mode on MovieLens 100K, without noise and at several budgets.")
        {
            Data, epsilons, seeds, rounds, negatives, rate, clip, masks, sum, clipped,
        };
        command.SetAction(parsed => Verbs.RunAsync(() =>
        {
            RatingSet set = MovieLens100K.Read(parsed.GetRequiredValue(Data).FullName);
            Scene scene = new(set);
            Console.WriteLine("fusion,epsilon,seed,noise multiplier,server epsilon,hr10 sampled,ndcg10 sampled,hr10 full,auc,seconds");
            foreach (double epsilon in parsed.GetRequiredValue(epsilons))
                foreach (long seed in parsed.GetRequiredValue(seeds))
                    Console.WriteLine(scene.Run(epsilon, seed, parsed.GetValue(rounds), parsed.GetValue(negatives), parsed.GetValue(rate), parsed.GetValue(clip), parsed.GetValue(masks),
                        parsed.GetValue(clipped), parsed.GetValue(sum) ? DssmFusion.Sum : DssmFusion.Late));
            return Task.FromResult(0);
        }));
        return command;
    }

    private sealed class Scene
    {
        private const int Trigrams = 256;

        private readonly InteractionTable _events;
        private readonly ItemTable _items;
        private readonly ViewTable[] _views;
        private readonly int[][] _userOf;
        private readonly DeviceData[] _devices;

        public Scene(RatingSet set)
        {
            var tables = new RatingTables(set);
            _events = tables.Interactions();
            _items = Smaller(tables.Items());
            _views = [tables.Profile(), tables.Taste(), tables.Behaviour()];
            _userOf = [.. _views.Select(view => _events.Users.Select(user => view.Users.ToList().IndexOf(user)).ToArray())];
            _devices = [.. Enumerable.Range(0, _events.Users.Count).Select(user => Device(user, [.. Enumerable.Range(0, _events.Events.Count)
                .Where(e => _events.Events[e].User == user && _events.Events[e].Role == EventRole.Train)]))];
        }

        public string Run(double epsilon, long seed, int rounds, int negatives, double rate, double clip, bool masks, bool clipped, DssmFusion fusion)
        {
            const double q = 0.1;
            var job = new DeviceJob
            {
                Name = "device mode",
                Model = new() { Fusion = fusion, Layers = [32, 16], Negatives = negatives },
                Views = [new("profile", _views[0].Rows.Inputs), new("taste", _views[1].Rows.Inputs), new("behaviour", _views[2].Rows.Inputs)],
                Items = _items,
                Devices = _devices.Length,
                Training = new() { Rounds = rounds, Participation = q, Seed = seed, ServerOptimizer = new() { Rate = rate } },
                Privacy = epsilon == 0 ? new() { Clip = clipped ? clip : null, SecureAggregation = masks, Threshold = masks ? 64 : null }
                    : new() { Clip = clip, Budget = new(epsilon, 1e-5), BudgetAgainst = DeviceObserver.Later, MaxParticipations = (int)(3 * q * rounds), Threshold = 50, SecureAggregation = masks },
            };
            long start = Stopwatch.GetTimestamp();
            var towers = new LibTorchTowers();
            using var simulation = new DeviceSimulation(job, _devices, towers);
            DeviceResult result = simulation.Run();
            TimeSpan time = Stopwatch.GetElapsedTime(start);
            using var scorer = new DeviceScorer(job, result.Model, towers);
            RankingReport report = new DssmEvaluator(_events, _items).Evaluate(EventRole.Test, (events, scores) => Score(scorer, events, scores));
            return string.Create(CultureInfo.InvariantCulture,
                $"{fusion},{epsilon},{seed},{result.Privacy.NoiseMultiplier:0.0000},{(result.Privacy.IsPrivate ? result.Privacy.Figures[0].Epsilon : 0):0.00},"
                + $"{report.Sampled.Mean.Hr10:0.0000},{report.Sampled.Mean.Ndcg10:0.0000},{report.Full.Mean.Hr10:0.0000},{report.Full.Mean.Auc:0.0000},{time.TotalSeconds:0.0}");
        }

        private void Score(DeviceScorer scorer, ReadOnlySpan<int> events, Span<double> scores)
        {
            for (int i = 0; i < events.Length; i++)
                scorer.Score(Device(_events.Events[events[i]].User, [events[i]]), scores.Slice(i * _items.Ids.Count, _items.Ids.Count));
        }

        private DeviceData Device(int user, int[] events) => new("user " + _events.Users[user],
            [.. _views.Select((view, v) => new DeviceViewRows(view.Rows, [.. events.Select(e => view.RowOf(_userOf[v][user], _events.Events[e].Moment))]))],
            [.. events.Select(e => _events.Events[e].Item)]);

        // 256 trigram buckets: hashes modulo 2,048 are hashes modulo 256 again.
        private static ItemTable Smaller(ItemTable items)
        {
            TowerRows content = items.Content;
            int text = content.Inputs.Bags.Count - 1;
            var inputs = new TowerInputs(content.Inputs.DenseWidth, [.. content.Inputs.Bags.Select((bag, b) => b == text ? bag with { Buckets = Trigrams } : bag)]);
            return items with
            {
                Content = new TowerRows(inputs, content.Rows, content.Dense, [.. content.Bags.Select((bag, b) => b == text ? bag with { Ids = Array.ConvertAll(bag.Ids, id => id % Trigrams) } : bag)]),
            };
        }
    }
}
