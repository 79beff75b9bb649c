using FedLearn.Dssm;
using FedLearn.Testing;

namespace FedLearn.Tests.Dssm.Device;

/// <summary>Small device jobs: two views (one dense and with a bag, one dense), twelve items with dense numbers and a bag, towers 5-4.</summary>
internal static class DeviceScene
{
    public const int Items = 12;

    public static ReferenceTowerFactory Towers { get; } = new();

    public static TowerInputs First { get; } = new(3, [new BagField("words", 6, BagPooling.Mean)]);

    public static TowerInputs Second { get; } = new(2, []);

    public static DeviceJob Job(int devices, DssmFusion fusion = DssmFusion.Late, DssmLossKind loss = DssmLossKind.Sampled) => new()
    {
        Name = "trial",
        Model = new() { Fusion = fusion, Loss = loss, Layers = [5, 4], Negatives = 3, Precision = TowerPrecision.Float64 },
        Views = [new("first", First), new("second", Second)],
        Items = ItemTable(),
        Devices = devices,
        Training = new() { Rounds = 4, Participation = 0.5, Seed = 3 },
        Privacy = new() { SecureAggregation = false },
    };

    /// <summary>The job with noise, masks and a cap.</summary>
    public static DeviceJob Private(int devices, int threshold = 3) => Job(devices) with
    {
        Privacy = new() { Clip = 0.5, NoiseMultiplier = 2, MaxParticipations = 10, Threshold = threshold },
    };

    public static ItemTable ItemTable()
    {
        var random = new Random(17);
        return new([.. Enumerable.Range(0, Items).Select(i => "item " + i)], Rows(new TowerInputs(2, [new BagField("genre", 5, BagPooling.Sum)]), Items, random));
    }

    /// <summary>Rows whose first is empty: zeros and no ids.</summary>
    public static TowerRows Rows(TowerInputs inputs, int rows, Random random)
    {
        double[] dense = [.. Enumerable.Range(0, rows * inputs.DenseWidth).Select(i => i < inputs.DenseWidth ? 0 : random.NextDouble() - 0.5)];
        return new(inputs, rows, dense, [.. inputs.Bags.Select(bag =>
        {
            int[] counts = [.. Enumerable.Range(0, rows).Select(r => r == 0 ? 0 : random.Next(0, 4))];
            int[] offsets = new int[rows + 1];
            for (int r = 0; r < rows; r++)
                offsets[r + 1] = offsets[r] + counts[r];
            return new BagRows(offsets, [.. Enumerable.Range(0, offsets[^1]).Select(_ => random.Next(bag.Buckets))]);
        })]);
    }

    /// <summary>Devices with 0 to 5 samples; of some a view is missing altogether, of others in some samples.</summary>
    public static DeviceData[] Devices(int count, int seed = 5, bool absences = true)
    {
        var random = new Random(seed);
        TowerRows first = Rows(First, 40, random), second = Rows(Second, 40, random);
        return [.. Enumerable.Range(0, count).Select(d =>
        {
            int samples = absences && d % 7 == 6 ? 0 : random.Next(1, 6);
            int[] Index() => [.. Enumerable.Range(0, samples).Select(_ => absences && random.Next(6) == 0 ? -1 : random.Next(40))];
            int[] one = Index(), two = Index();
            return new DeviceData("device " + d, [absences && d % 5 == 4 ? null : new(first, one), new(second, two)], [.. Enumerable.Range(0, samples).Select(_ => random.Next(Items))]);
        })];
    }

    public static DeviceWork Work(DeviceJob job) => new(new DevicePlan(job), Towers);

    public static double[] Update(DeviceWork work, DeviceData data, int attempt = 0)
    {
        double[] update = new double[work.FederatedLength];
        work.Update(data, work.Start[..work.FederatedLength], work.FederatedLength == work.FullLength ? [] : work.Start[work.FederatedLength..].ToArray(), attempt, update);
        return update;
    }

    public static double Norm(ReadOnlySpan<double> vector) => System.Numerics.Tensors.TensorPrimitives.Norm(vector);

    public static double Distance(ReadOnlySpan<double> left, ReadOnlySpan<double> right) => System.Numerics.Tensors.TensorPrimitives.Distance(left, right);
}
