using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Glm;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Commands;

/// <summary>A short training of two parties on made-up rows, each in a process of its own, as the tool trains.</summary>
internal static class CostTrial
{
    private const int Rows = 20_480, Width = 64, Batch = 2048, Epochs = 30;

    /// <summary>What it has of a job's sizes.</summary>
    public static GlmCostSizes Sizes { get; } = new() { TrainRows = Rows, Columns = [Width, Width] };

    /// <summary>Trains.</summary>
    /// <param name="ledgerFolder">Mode hdp-vfl with ledgers there, which are removed; null for mode none.</param>
    /// <param name="stop">Stops.</param>
    /// <returns>The job; its seconds from epoch to epoch, the shortest first, of which the median counts, since other work disturbs some; and what the first epoch takes longer, in which code is compiled.</returns>
    public static async Task<(GlmJob Job, double[] Epochs, double Start)> RunAsync(string? ledgerFolder, CancellationToken stop)
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-").FullName, name = $".fedlearn-{Guid.NewGuid():N}";
        try
        {
            JsonObject Party(int party, string role, string? label)
            {
                string path = Path.Combine(folder, $"{role}.csv");
                File.WriteAllLines(path, Enumerable.Range(0, Rows).Select(i => Line(i, label is null ? null : $"{i & 1}", j => $".{(7 * i + 13 * j + party) % 19}")).Prepend(Line("id", label, j => $"c{j}")));
                return new JsonObject
                {
                    ["name"] = role,
                    ["role"] = role,
                    ["data"] = label is null ? new JsonObject { ["path"] = path } : new JsonObject { ["path"] = path, ["label"] = label },
                    ["ledger"] = new JsonObject { ["path"] = Path.Combine(ledgerFolder ?? folder, $"{name}.{role}.ledger.db") },
                };
            }

            var job = new JsonObject
            {
                ["name"] = "measurement",
                ["model"] = new JsonObject { ["family"] = "binomial" },
                ["training"] = new JsonObject { ["optimizer"] = "sgd", ["epochs"] = Epochs, ["batchSize"] = Batch, ["weightNorm"] = 1, ["residualClip"] = 1, ["checkpointRounds"] = 0 },
                ["privacy"] = ledgerFolder is null ? new JsonObject { ["mode"] = "none" }
                    : new JsonObject { ["mode"] = "hdp-vfl", ["epsilon"] = 1, ["delta"] = 1e-6, ["evaluation"] = "none" },
                ["preprocessing"] = new JsonObject { ["scaling"] = "none", ["rows"] = "clip", ["constant"] = true },
                ["alignment"] = "hashed",
                ["parties"] = new JsonArray(Party(0, "active", "y"), Party(1, "passive", null)),
            };
            string file = Path.Combine(folder, "job.json");
            await File.WriteAllTextAsync(file, job.ToJsonString(), stop).ConfigureAwait(false);
            GlmRunFile run = RunFile.Load(file).As<GlmRunFile>(GrpcRelay.Train);
            IReadOnlyList<JsonObject> documents = await SessionRunner.RunAsync(new SessionOrder(run, GrpcRelay.Train), inProcess: false, null, static _ => { }, stop).ConfigureAwait(false);
            double[] moments = [.. documents[0]["history"]!.AsArray().Select(point => (double)point!["seconds"]!)], epochs = [.. moments.Zip(moments.Skip(1), (a, b) => b - a).Order()];
            // Moments count from before the alignment, and the seconds of training from the first round.
            double epoch = epochs[epochs.Length / 2], first = (double)documents[0]["timing"]!["trainingSeconds"]! - (moments[^1] - moments[0]);
            return (run.Job, epochs, Math.Max(0, first - epoch));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
            if (ledgerFolder is not null)
                foreach (string ledger in Directory.GetFiles(ledgerFolder, name + "*"))
                    File.Delete(ledger);
        }
    }

    private static string Line(object id, string? label, Func<int, string> cell) =>
        string.Create(CultureInfo.InvariantCulture, $"{id}{(label is null ? "" : $",{label}")},{string.Join(',', Enumerable.Range(0, Width).Select(cell))}");
}
