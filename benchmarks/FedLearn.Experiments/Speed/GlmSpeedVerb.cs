using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Numerics;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Experiments.Tables;
using FedLearn.Glm;
using FedLearn.Numerics;

namespace FedLearn.Experiments.Speed;

/// <summary>Seconds an epoch of logistic regression by two parties in one process, the trainer's own, next to PyTorch and to reading memory.</summary>
internal static class GlmSpeedVerb
{
    private const int Threads = 2;

    public static Command Create()
    {
        Option<int> rows = Verbs.Positive("--rows", "Common rows.", 1_000_000), columns = Verbs.Positive("--columns", "Columns a party.", 50), batch = Verbs.Positive("--batch", "Rows of a batch.", 4096),
            epochs = Verbs.Positive("--epochs", "Epochs of a turn.", 16), repeats = Verbs.Positive("--repeats", "Turns; in each of them every kind runs once.", 5);
        var types = Verbs.List("--types", "How features are stored.", "float64", "float32");
        var python = new Option<string>("--python") { Description = "Python with PyTorch. Default /usr/bin/python3.", DefaultValueFactory = _ => "/usr/bin/python3" };
        Option<DirectoryInfo> output = Verbs.Out();
        Option<bool> quick = Ratio.Quick("200,000 rows, 2 turns, no result file.");
        var command = new Command("glm-speed", "Seconds an epoch: the in-memory session of two parties, PyTorch on the same shapes (benchmarks/peers/glm.py), and the read bandwidth, by turns.")
            { rows, columns, batch, epochs, repeats, types, python, output, quick };
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            bool isQuick = parsed.GetValue(quick);
            var shape = new Shape(isQuick ? 200_000 : parsed.GetValue(rows), parsed.GetValue(columns), parsed.GetValue(batch), parsed.GetValue(epochs));
            var ratios = new List<Ratio>();
            string table = await RunAsync(shape, isQuick ? 2 : parsed.GetValue(repeats), parsed.GetValue(types)!, parsed.GetValue(python)!, ratios, stop).ConfigureAwait(false);
            return Ratio.Finish("glm-speed", table, ratios, isQuick ? null : parsed.GetValue(output));
        }));
        return command;
    }

    private sealed record Shape(int Rows, int Columns, int Batch, int Epochs);

    private static async Task<string> RunAsync(Shape shape, int repeats, string[] types, string python, List<Ratio> ratios, CancellationToken stop)
    {
        using Process peer = Process.Start(new ProcessStartInfo(python,
            [Path.Combine(Verbs.Repository(), "benchmarks", "peers", "glm.py"), .. new[] { shape.Rows, shape.Columns, shape.Batch, Threads }.Select(n => n.ToString(CultureInfo.InvariantCulture))])
        { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        var text = new StringBuilder();
        try
        {
            text.Append(CultureInfo.InvariantCulture, $"""
                # Epochs of logistic regression by two parties: {shape.Rows} x ({shape.Columns} + {shape.Columns}), batch {shape.Batch} and full

                {Machine.Current()}. Seconds an epoch: median and best of {repeats} turns of {shape.Epochs} epochs (the first two of each turn left out).
                "FedLearn" is the wall-clock time of an epoch of the in-memory session of both parties, as the trainer does it: scores, messages over the channel, residuals, losses, gradients, steps. "Compute" is
                what both parties computed in it, messages and waiting for each other left out: the median of the turns, all epochs of each counted. "PyTorch" is benchmarks/peers/glm.py with {Threads} threads:
                gradients written out (full, minibatch) and autograd, medians; the ratios are to the fastest of the three. Bandwidth: sums over the features of both parties, {Threads} threads, in the same turns.

                | storage | batch | FedLearn median | best | compute | PyTorch: full | minibatch | autograd | epoch / PyTorch's fastest | compute / PyTorch's fastest | GB/s streamed | one reading | read bandwidth | share of it |
                |---|---|---|---|---|---|---|---|---|---|---|---|---|---|

                """);
            foreach (string type in types)
                await AddAsync(text, shape, type, repeats, peer, ratios, stop).ConfigureAwait(false);
        }
        finally
        {
            peer.StandardInput.Close();
            await peer.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        }

        return text.ToString();
    }

    private static async Task AddAsync(StringBuilder text, Shape shape, string type, int repeats, Process peer, List<Ratio> ratios, CancellationToken stop)
    {
        FeatureStorage storage = Enum.Parse<FeatureStorage>(type, ignoreCase: true);
        Table[] tables = Tables(shape, storage);
        double bytes = 2.0 * shape.Rows * shape.Columns * (storage == FeatureStorage.Float32 ? 4 : 8);
        var read = new List<double>();
        List<double> full = [], small = [], fullCompute = [], smallCompute = [];
        string[] modes = ["full", "minibatch", "autograd"];
        Dictionary<string, List<double>> torch = modes.ToDictionary(mode => mode, _ => new List<double>());
        // A matrix, so that the limit is that of memory as features have it.
        double[] memory = new DenseMatrix(2 * shape.Rows, shape.Columns).Values;
        for (int party = 0; party < tables.Length; party++)
            tables[party].Values.Values.CopyTo(memory, party * memory.Length / 2);
        for (int turn = 0; turn < repeats; turn++)
        {
            full.AddRange(await EpochsAsync(shape, tables, shape.Rows, fullCompute, stop).ConfigureAwait(false));
            read.Add(ReadSeconds(memory));
            foreach (string mode in modes)
            {
                await peer.StandardInput.WriteLineAsync($"{type} {mode} {(mode == "autograd" ? 2 : shape.Epochs / 2)}".AsMemory(), stop).ConfigureAwait(false);
                await peer.StandardInput.FlushAsync(stop).ConfigureAwait(false);
                string answer = await peer.StandardOutput.ReadLineAsync(stop).ConfigureAwait(false) ?? throw new InvalidOperationException("The Python process ended: see what it wrote to standard error.");
                torch[mode].AddRange(answer.Split(' ').Select(s => double.Parse(s, CultureInfo.InvariantCulture)));
            }

            small.AddRange(await EpochsAsync(shape, tables, shape.Batch, smallCompute, stop).ConfigureAwait(false));
            read.Add(ReadSeconds(memory));
        }

        double best = torch.Values.Min(Verbs.Median), bandwidth = memory.Length * 8.0 / read.Min();
        foreach ((string name, List<double> seconds, List<double> computed, double streamed) in (ReadOnlySpan<(string, List<double>, List<double>, double)>)
            [("full", full, fullCompute, 1.5 * bytes), (shape.Batch.ToString(CultureInfo.InvariantCulture), small, smallCompute, bytes)])
        {
            double median = Verbs.Median(seconds), compute = Verbs.Median(computed);
            text.Append(CultureInfo.InvariantCulture, $"| {type} | {name} | {median:0.0000} | {seconds.Min():0.0000} | {compute:0.0000} ")
                .Append(CultureInfo.InvariantCulture, $"| {Verbs.Median(torch["full"]):0.0000} | {Verbs.Median(torch["minibatch"]):0.0000} | {Verbs.Median(torch["autograd"]):0.0000} | {median / best:0.00} | {compute / best:0.00} ")
                .Append(CultureInfo.InvariantCulture, $"| {streamed / median / 1e9:0.0} | {bytes / median / 1e9:0.0} | {bandwidth / 1e9:0.0} | {streamed / median / bandwidth:0.00} |\n");
            string kind = $"{type}-{(name == "full" ? name : "batch")}";
            // The bar is one for computing alone; the epochs that count hold it with their messages.
            ratios.Add(new Ratio($"glm-speed.{kind}-epoch-over-pytorch", median / best, .5));
            if (name == "full")
                ratios.Add(new Ratio($"glm-speed.{kind}-share-of-bandwidth", streamed / median / bandwidth, .5, LargerIsBetter: true));
        }
    }

    // The same numbers whatever the storage, from a generator that is quick rather than good.
    private static Table[] Tables(Shape shape, FeatureStorage storage)
    {
        string[] ids = [.. Enumerable.Range(0, shape.Rows).Select(i => i.ToString(CultureInfo.InvariantCulture))];
        double[] labels = new double[shape.Rows];
        DenseMatrix[] features = [.. Enumerable.Range(0, 2).Select(party =>
        {
            var random = new Random(party + 1);
            var matrix = new DenseMatrix(shape.Rows, shape.Columns);
            for (int i = 0; i < matrix.Values.Length; i++)
                matrix.Values[i] = (float)(2 * (random.NextDouble() + random.NextDouble() + random.NextDouble()) - 3);
            return matrix;
        })];
        var draw = new Random(3);
        for (int i = 0; i < labels.Length; i++)
            labels[i] = draw.NextDouble() < 1 / (1 + Math.Exp(-features[0].Row(i)[0] - features[1].Row(i)[0])) ? 1 : 0;
        string[] names = [.. Enumerable.Range(0, shape.Columns).Select(j => $"x{j}")];
        return [.. features.Select((matrix, party) => Table.FromMatrix(ids, names, matrix, party == 0 ? labels : null).With(storage))];
    }

    private static async Task<IEnumerable<double>> EpochsAsync(Shape shape, Table[] tables, int batch, List<double> compute, CancellationToken stop)
    {
        PartyDescription active = new("guest", PartyRole.Active), passive = new("host", PartyRole.Passive);
        var job = new GlmJob
        {
            Name = "glm-speed",
            Model = new GlmModelOptions { Family = GlmFamilies.Binomial, L2 = 1e-3, Intercept = GlmIntercept.None },
            Training = new GlmTrainingOptions { Optimizer = GlmOptimizer.Sgd, Epochs = shape.Epochs, BatchSize = batch, StepSize = .5 },
            Preprocessing = new PreprocessingOptions { Scaling = Scaling.None },
            Parties = [new GlmPartyOptions { Party = active }, new GlmPartyOptions { Party = passive }],
        };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job,
            [new GlmPartyInput { Party = active.Name, Table = tables[0] }, new GlmPartyInput { Party = passive.Name, Table = tables[1] }], cancellationToken: stop).ConfigureAwait(false);
        compute.Add(results.Sum(result => result.Timing.Compute / result.Timing.Epochs));
        double[] moments = [.. results[0].History.Select(point => point.Seconds)];
        return moments.Skip(2).Zip(moments.Skip(1), (later, earlier) => later - earlier);
    }

    /// <summary>Seconds in which two threads read an array, the best of some times.</summary>
    private static double ReadSeconds(double[] memory)
    {
        double best = double.PositiveInfinity;
        for (int i = 0; i < 5; i++)
        {
            long before = Stopwatch.GetTimestamp();
            double[] sums = new double[Threads];
            Thread[] threads = [.. Enumerable.Range(0, Threads).Select(t => new Thread(() => sums[t] = Sum(memory.AsSpan(t * (memory.Length / Threads), memory.Length / Threads))))];
            foreach (Thread thread in threads)
                thread.Start();
            foreach (Thread thread in threads)
                thread.Join();
            best = Math.Min(best, Stopwatch.GetElapsedTime(before).TotalSeconds);
            if (double.IsNaN(sums.Sum()))
                throw new InvalidOperationException("The sums are no numbers.");
        }

        return best;
    }

    private static double Sum(ReadOnlySpan<double> values)
    {
        Vector<double> a = default, b = default, c = default, d = default;
        int width = Vector<double>.Count;
        for (int i = 0; i + 4 * width <= values.Length; i += 4 * width)
        {
            a += new Vector<double>(values[i..]);
            b += new Vector<double>(values[(i + width)..]);
            c += new Vector<double>(values[(i + 2 * width)..]);
            d += new Vector<double>(values[(i + 3 * width)..]);
        }

        return Vector.Sum(a + b + (c + d));
    }
}
