using System.CommandLine;
using System.Globalization;
using FedLearn.Dssm;
using FedLearn.Evaluation;
using FedLearn.Privacy;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Experiments.Recommendation;

/// <summary>Trains a recommendation model on MovieLens 100K for several seeds and prints its figures.</summary>
internal static class RecommendationVerb
{
    public static Command Create()
    {
        var source = new Option<string>("--source") { Description = "Folder of MovieLens 100K (u.data, u.user, u.item ...).", Required = true };
        var views = new Option<string>("--views") { Description = "Views: A profile, B taste, C behaviour, H history of the active party.", DefaultValueFactory = _ => "ABCH" };
        var fusion = new Option<DssmFusion>("--fusion") { DefaultValueFactory = _ => DssmFusion.Sum };
        var loss = new Option<DssmLossKind>("--loss") { DefaultValueFactory = _ => DssmLossKind.Sampled };
        var negatives = new Option<int>("--negatives") { DefaultValueFactory = _ => 4 };
        var dropout = new Option<double>("--view-dropout") { DefaultValueFactory = _ => 0 };
        var gamma = new Option<double>("--gamma") { DefaultValueFactory = _ => 10 };
        var epochs = new Option<int>("--epochs") { DefaultValueFactory = _ => 12 };
        var batch = new Option<int>("--batch") { DefaultValueFactory = _ => 1024 };
        var layers = Verbs.List<int>("--layers", "Widths of the towers' layers.", 128, 64);
        var seeds = Verbs.List<long>("--seeds", "Seeds.", 0, 1, 2);
        var split = new Option<RatingSplit>("--split") { DefaultValueFactory = _ => RatingSplit.Last };
        var noise = new Option<DssmNoise>("--noise") { DefaultValueFactory = _ => DssmNoise.None };
        var claim = new Option<EmbeddingClaim>("--claim") { DefaultValueFactory = _ => EmbeddingClaim.OwnMessages };
        var epsilon = new Option<double>("--epsilon") { Description = "Total epsilon per sample, delta 1e-5.", DefaultValueFactory = _ => 10 };
        var clip = new Option<double>("--clip") { DefaultValueFactory = _ => 1 };
        var threads = new Option<int>("--threads") { DefaultValueFactory = _ => 1 };
        var command = new Command("recommend", "Train a multi-view model on MovieLens 100K, once a seed, and print its figures.")
            { source, views, fusion, loss, negatives, dropout, gamma, epochs, batch, layers, seeds, split, noise, claim, epsilon, clip, threads };
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            var data = new MovieLensJob(parsed.GetRequiredValue(source), parsed.GetValue(views)!, parsed.GetValue(split));
            var sums = new Dictionary<string, double>();
            foreach (long seed in parsed.GetValue(seeds)!)
            {
                DssmJob job = data.Job(
                    new DssmModelOptions
                    {
                        Fusion = parsed.GetValue(fusion),
                        Loss = parsed.GetValue(loss),
                        Negatives = parsed.GetValue(negatives),
                        ViewDropout = parsed.GetValue(dropout),
                        Gamma = parsed.GetValue(gamma),
                        Layers = parsed.GetValue(layers)!,
                    },
                    new DssmTrainingOptions { Epochs = parsed.GetValue(epochs), BatchSize = parsed.GetValue(batch), Seed = seed },
                    new DssmPrivacyOptions { Noise = parsed.GetValue(noise), Claim = parsed.GetValue(claim), Clip = parsed.GetValue(clip), Budget = new PrivacyBudget(parsed.GetValue(epsilon), 1e-5) });
                IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, data.Inputs(), new LibTorchTowers { Threads = parsed.GetValue(threads) }, cancellationToken: stop).ConfigureAwait(false);
                DssmPartyResult label = results[0];
                RankingReport report = (label.Metrics!.Test ?? label.Metrics.ColdUsers ?? label.Metrics.ColdItems)!;
                foreach ((string name, RankingReport? figures) in new[] { ("", label.Metrics.Test), ("coldUsers.", label.Metrics.ColdUsers), ("coldItems.", label.Metrics.ColdItems) })
                    foreach ((string key, double? value) in figures?.Named() ?? [])
                        sums[name + key] = sums.GetValueOrDefault(name + key) + (value ?? 0) / parsed.GetValue(seeds)!.Length;
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"seed {seed}: best epoch {label.BestEpoch}, hr10Sampled {report.Sampled.Mean.Hr10:F4}, hr10Full {report.Full.Mean.Hr10:F4}, aucFull {report.Full.Mean.Auc:F4}, {label.Timing.PerEpoch:F2} s an epoch, {label.Counts.Train * label.Timing.Epochs / label.Timing.Training:F0} samples/s (compute {label.Timing.Compute:F1} s, wait {label.Timing.Wait:F1} s)"));
            }

            foreach ((string key, double value) in sums)
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"mean {key,-24} {value:F4}"));
            return 0;
        }));
        return command;
    }
}
