using System.CommandLine;
using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Experiments.Recommendation;

/// <summary>Training samples a second of the shape that a PyTorch script measures: views of 41, 53 and 37 numbers and of 50 item ids, 1,682 items with 17 of 2,079 features, towers
/// 128-64, four negatives, batches of 1,024, Adam.</summary>
internal static class RecommendationSpeedVerb
{
    private const int Items = 1682, Features = 2079, Batch = 1024, BatchesOfEpoch = 10;

    public static Command Create()
    {
        var threads = new Option<int>("--threads") { Description = "Threads of each party's towers.", DefaultValueFactory = _ => 1 };
        var epochs = new Option<int>("--epochs") { Description = "Measured epochs of 10 batches; the first two are not counted.", DefaultValueFactory = _ => 12 };
        var grpc = new Option<bool>("--grpc") { Description = "Over gRPC on loopback instead of channels in memory." };
        var command = new Command("recommend-speed", "Training samples a second in split mode, all parties in one process.") { threads, epochs, grpc };
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            DssmJob job = Job(parsed.GetValue(epochs) + 2);
            IReadOnlyList<DssmPartyInput> inputs = Inputs();
            var towers = new LibTorchTowers { Threads = parsed.GetValue(threads) };
            DssmPartyResult label = parsed.GetValue(grpc)
                ? await OverGrpc.TrainAsync(job, inputs, towers, stop).ConfigureAwait(false)
                : (await DssmFederation.TrainAsync(job, inputs, towers, cancellationToken: stop).ConfigureAwait(false))[0];
            double[] seconds = [.. label.History.Zip(label.History.Skip(1), (a, b) => b.Seconds - a.Seconds).Skip(1).Order()];
            const double samples = Batch * BatchesOfEpoch;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"fedlearn {(parsed.GetValue(grpc) ? "grpc" : "memory")} threads={parsed.GetValue(threads)}: {samples / seconds[0]:F0} best, {samples / seconds[seconds.Length / 2]:F0} median samples/s"));
            return 0;
        }));
        return command;
    }

    private static DssmJob Job(int epochs) => new()
    {
        Name = "speed",
        LabelHasView = true,
        Training = new DssmTrainingOptions { Epochs = epochs, BatchSize = Batch, ValidationStop = false },
        Parties =
        [
            new() { Party = new("label", PartyRole.Active) },
            new() { Party = new("a", PartyRole.Passive) },
            new() { Party = new("b", PartyRole.Passive) },
            new() { Party = new("c", PartyRole.Passive) },
        ],
    };

    // Numbers of no meaning: only the shape matters for the time.
    private static IReadOnlyList<DssmPartyInput> Inputs()
    {
        const int samples = Batch * BatchesOfEpoch;
        var random = new Random(1);
        string[] users = [.. Enumerable.Range(0, samples).Select(i => i.ToString(CultureInfo.InvariantCulture))];
        int[] own = [.. Enumerable.Range(0, samples)];
        TowerRows Dense(int width) => new(new TowerInputs(width, []), samples, [.. Enumerable.Range(0, samples * width).Select(_ => random.NextDouble())], []);
        TowerRows Bag(int rows, int buckets, int each, BagPooling pooling, double? weight) => new(new TowerInputs(0, [new BagField("bag", buckets, pooling)]), rows, [],
        [
            new BagRows([.. Enumerable.Range(0, rows + 1).Select(i => i * each)], [.. Enumerable.Range(0, rows * each).Select(_ => random.Next(buckets))],
                weight is { } w ? [.. Enumerable.Repeat(w, rows * each)] : null),
        ]);
        DssmPartyInput View(string name, int width) => new() { Party = name, View = new ViewTable(users, own, null, Dense(width)) };
        return
        [
            new DssmPartyInput
            {
                Party = "label",
                Items = new ItemTable([.. Enumerable.Range(0, Items).Select(i => i.ToString(CultureInfo.InvariantCulture))], Bag(Items, Features, 17, BagPooling.Sum, .25)),
                Interactions = new InteractionTable(users, [.. own.Select(i => new Interaction(i, i * 7 % Items, default, EventRole.Train))]),
                View = new ViewTable(users, own, null, Bag(samples, Items, 50, BagPooling.Mean, null)),
            },
            View("a", 41), View("b", 53), View("c", 37),
        ];
    }
}
