using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm.Loss;

/// <summary>A small random model and batch: any fusion, loss, weights, biases, absent views, equal items.</summary>
internal sealed class LossCase
{
    // Smooth: vectors away from 0, so that finite differences are meaningful.
    public LossCase(int seed, bool smooth = false, double[]? gammas = null)
    {
        var random = new Random(seed);
        double Number(bool positive) => (positive || random.Next(2) == 0 ? 1 : -1) * (0.3 + 0.7 * random.NextDouble());
        int b = Samples = random.Next(1, 7);
        int k = Width = random.Next(5) switch { 0 => 1, 1 => 8, 2 => 19, _ => random.Next(2, 8) };
        int n = Items = random.Next(2, 8), count = random.Next(1, 4), each = random.Next(1, 5);
        Names = [.. Enumerable.Range(0, count).Select(v => $"v{v}")];
        gammas ??= [1, 10];
        Model = new DssmModelOptions
        {
            Fusion = (DssmFusion)random.Next(3),
            Loss = (DssmLossKind)random.Next(4),
            Negatives = each,
            Gamma = gammas[random.Next(gammas.Length)],
            LearnViewWeights = random.Next(2) == 0,
            ItemBias = random.Next(2) == 0,
            ViewWeights = random.Next(2) == 0 ? new Dictionary<string, double>() : new Dictionary<string, double> { ["v0"] = 0.1 + random.NextDouble() },
        };
        bool[]? present(int v) => random.Next(3) == 0 ? null : [.. Enumerable.Range(0, b).Select(i => random.Next(3) > 0)];
        bool[]?[] masks = [.. Names.Select((_, v) => present(v))];
        double[] view(int v) => [.. Enumerable.Range(0, b * k).Select(e => masks[v]?[e / k] ?? true ? Number(smooth) : double.NaN)];
        int[] targets = [.. Enumerable.Range(0, b).Select(_ => random.Next(n))];
        Batch = new DssmBatch
        {
            Views = [.. Names.Select((_, v) => view(v))],
            Present = masks,
            Items = [.. Enumerable.Range(0, n * k).Select(_ => Number(false))],
            Targets = targets,
            Negatives = Model.Loss == DssmLossKind.Sampled ? [.. Enumerable.Range(0, b * each).Select(_ => random.Next(n))] : [],
        };
        LogQ = [.. Enumerable.Range(0, n).Select(_ => Math.Log(0.05 + random.NextDouble()))];
        Trainable = random.Next(2) == 0 ? null : [.. Enumerable.Range(0, n).Select(item => targets.Contains(item) || random.Next(2) == 0)];
        Loss = new DssmLoss(Model, k, Names, n, LogQ, Trainable);
        for (int p = 0; p < Loss.Fusion.Values.Length; p++)
            Loss.Fusion.Values[p] = smooth ? 0.2 + random.NextDouble() : Loss.Fusion.Values[p] + random.NextDouble() - 0.5;
        Weights = [.. Enumerable.Range(0, b).Select(_ => random.NextDouble())];
    }

    public int Samples { get; }

    public int Width { get; }

    public int Items { get; }

    public string[] Names { get; }

    public DssmModelOptions Model { get; }

    public DssmBatch Batch { get; }

    public double[] LogQ { get; }

    public bool[]? Trainable { get; }

    public DssmLoss Loss { get; }

    public double[] Weights { get; }

    public SlowDssmLoss Slow => new(Model, Width, Names, Items, LogQ, Trainable, Loss.Fusion.Values);

    public SlowDssmLoss.Row[] Rows() => [.. Enumerable.Range(0, Samples).Select(i => Slow.Sample(Batch, i))];

    public static double[] Sum(IEnumerable<double[]> rows, IEnumerable<double> weights)
    {
        double[]? sum = null;
        foreach ((double[] row, double weight) in rows.Zip(weights))
        {
            sum ??= new double[row.Length];
            for (int j = 0; j < row.Length; j++)
                sum[j] += weight * row[j];
        }

        return sum ?? [];
    }
}
