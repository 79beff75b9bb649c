using FedLearn.Dssm;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Dssm.Device;

public class DeviceUpdateTests
{
    // The gradient of all samples of all devices in one pass of one set of towers.
    private static double[] Central(DeviceJob job, IReadOnlyList<DeviceData> devices, int attempt)
    {
        var plan = new DevicePlan(job);
        int[] targets = [.. devices.SelectMany(d => d.Positives)];
        int[] negatives = job.Model.Loss == DssmLossKind.Full ? [] : [.. devices.SelectMany(d =>
        {
            int[] drawn = new int[d.Samples * job.Model.Negatives];
            DeviceDraws.Negatives(DeviceDraws.SeedOf(job.Training.Seed, d.Device), attempt, 0, DeviceScene.Items, drawn);
            return drawn;
        })];
        int k = job.Model.Layers[^1];
        using ITower items = DeviceScene.Towers.Create(plan.Item, plan.SeedOf(0));
        ITower[] towers = [.. plan.Views.Select((spec, v) => DeviceScene.Towers.Create(spec, plan.SeedOf(v + 1)))];
        TowerRows[] rows = [.. towers.Select((_, v) => devices.Select(d => d.Views[v]?.Rows).OfType<TowerRows>().First())];
        int[][] index = [.. towers.Select((_, v) => devices.SelectMany(d => d.Views[v]?.Index ?? [.. Enumerable.Repeat(-1, d.Samples)]).ToArray())];
        double[][] vectors = [.. index.Select(i => new double[i.Length * k])];
        for (int v = 0; v < towers.Length; v++)
            towers[v].Forward(rows[v], index[v], vectors[v], training: true);
        double[] itemVectors = new double[DeviceScene.Items * k];
        items.Forward(job.Items.Content, [.. Enumerable.Range(0, DeviceScene.Items)], itemVectors, training: true);
        var gradients = new DssmGradients();
        new DssmLoss(job.Model, k, [.. job.Views.Select(v => v.Name)], DeviceScene.Items).Evaluate(new()
        {
            Views = vectors,
            Present = [.. index.Select(i => (bool[]?)Array.ConvertAll(i, row => row >= 0))],
            Items = itemVectors,
            Targets = targets,
            Negatives = negatives,
        }, gradients);
        var all = new List<double>();
        items.Backward(gradients.Items);
        foreach ((ITower tower, double[] upstream) in towers.Select((tower, v) => (tower, gradients.Views[v])).Prepend((items, gradients.Items)))
        {
            tower.Backward(upstream.AsSpan(0, tower == items ? itemVectors.Length : targets.Length * k));
            double[] gradient = new double[tower.ParameterCount];
            tower.GetGradient(gradient);
            all.AddRange(gradient);
        }

        return [.. all];
    }

    [Theory]
    [InlineData(DssmFusion.Late, DssmLossKind.Sampled)]
    [InlineData(DssmFusion.Late, DssmLossKind.Full)]
    [InlineData(DssmFusion.Sum, DssmLossKind.Sampled)]
    [InlineData(DssmFusion.Sum, DssmLossKind.Full)]
    public void Update_SummedOverDevices_IsTheCentralGradient(DssmFusion fusion, DssmLossKind loss)
    {
        DeviceJob job = DeviceScene.Job(30, fusion, loss);
        DeviceData[] devices = DeviceScene.Devices(30);
        using DeviceWork work = DeviceScene.Work(job);
        double[] sum = new double[work.FullLength];
        foreach (DeviceData device in devices)
            foreach ((int j, double value) in DeviceScene.Update(work, device, attempt: 2).Index())
                sum[j] += value;
        double[] central = Central(job, devices, attempt: 2);
        // Sums of some hundred float64 terms in another order.
        Assert.InRange(DeviceScene.Distance(sum, central), 0, 1e-12 * DeviceScene.Norm(central));
        Assert.True(DeviceScene.Norm(central) > 1);
    }

    [Fact]
    public void Update_ZeroRows_StaysOfTheSizeOfOthers()
    {
        // A row of zeros and no ids: with zero biases y would be 0, where the smooth norm keeps gradients below gamma/1e-3.
        DeviceJob job = DeviceScene.Job(1);
        DeviceData data = DeviceScene.Devices(1, absences: false)[0];
        using DeviceWork work = DeviceScene.Work(job);
        var empty = new DeviceData("empty", [new(data.Views[0]!.Rows, [0, 0]), new(data.Views[1]!.Rows, [0, 0])], [0, 1]);
        double[] update = new double[work.FullLength];
        work.Update(empty, new double[work.FullLength], [], 0, update);
        Assert.All(update, value => Assert.InRange(Math.Abs(value), 0, 1e4));
        Assert.InRange(DeviceScene.Norm(DeviceScene.Update(work, empty)), 0, 1e3);
    }

    [Fact]
    public void Update_AbsentView_IsZeroInItsBlock()
    {
        DeviceJob job = DeviceScene.Job(1);
        DeviceData whole = DeviceScene.Devices(1, absences: false)[0];
        var data = new DeviceData("device", [null, whole.Views[1]], whole.Positives);
        using DeviceWork work = DeviceScene.Work(job);
        double[] update = DeviceScene.Update(work, data);
        Assert.Equal(work.FullLength, update.Length);
        Assert.All(work.Block(update.AsSpan(), 1).ToArray(), value => Assert.Equal(0, value));
        Assert.True(DeviceScene.Norm(work.Block(update.AsSpan(), 2)) > 0);
        Assert.Equal(new double[work.FullLength], DeviceScene.Update(work, new DeviceData("none", [null, null], [])));
    }

    [Fact]
    public void Update_ItemOnly_HasTheItemBlockAndTrainsUserModelsHere()
    {
        DeviceJob job = DeviceScene.Job(1) with { Training = new() { Aggregate = DeviceAggregation.ItemOnly, LocalSteps = 3, LocalRate = 0.1, Seed = 3 } };
        DeviceData data = DeviceScene.Devices(1, absences: false)[0];
        using DeviceWork work = DeviceScene.Work(job), both = DeviceScene.Work(DeviceScene.Job(1));
        Assert.Equal(both.Block(new double[both.FullLength], 0).Length, work.FederatedLength);
        Assert.Equal(["items"], work.FederatedBlocks.Select(b => b.Name));
        double[] own = work.Start[work.FederatedLength..].ToArray(), update = new double[work.FederatedLength];
        double first = work.Update(data, work.Start[..work.FederatedLength], own, 0, update);
        // At the same models the item gradient is the one of a job that federates all.
        Assert.Equal(both.Block(DeviceScene.Update(both, data).AsSpan(), 0).ToArray(), update);
        Assert.NotEqual(work.Start[work.FederatedLength..].ToArray(), own);
        Assert.Equal([own.Length], [work.OwnBlocks(own).Sum(block => block.Length)]);
        Assert.True(work.Update(data, work.Start[..work.FederatedLength], own, 0, update) < first);
    }

    [Fact]
    public void Update_FedAvgOfOneStep_IsFedSgd_AndOfMoreTheScaledDifference()
    {
        DeviceJob sgd = DeviceScene.Job(1);
        DeviceJob Averaging(int steps) => sgd with { Training = sgd.Training with { Algorithm = DeviceAlgorithm.FedAvg, LocalSteps = steps, LocalRate = 0.05 } };
        DeviceData data = DeviceScene.Devices(1, absences: false)[0];
        using DeviceWork work = DeviceScene.Work(sgd), one = DeviceScene.Work(Averaging(1)), three = DeviceScene.Work(Averaging(3));
        Assert.Equal(DeviceScene.Update(work, data), DeviceScene.Update(one, data));
        // Slow reference: three steps, then N (w_0 - w_K)/rate.
        double[] w = work.Start.ToArray(), g = new double[w.Length];
        for (int step = 0; step < 3; step++)
        {
            three.Gradient(data, w, 0, step, 0, 2, g);
            for (int j = 0; j < w.Length; j++)
                w[j] -= 0.05 / data.Samples * g[j];
        }

        double[] start = work.Start.ToArray(), expected = [.. w.Select((value, j) => data.Samples * (start[j] - value) / 0.05)];
        Assert.InRange(DeviceScene.Distance(expected, DeviceScene.Update(three, data)), 0, 1e-12 * DeviceScene.Norm(expected));
    }

    [Fact]
    public void Update_Clipped_IsWithinTheBoundForAnyDevice()
    {
        // The norm is over all views and items together; also where each view clips to its share.
        Prop.ForAll(Gen.Choose(0, 1000).Two().ToArbitrary(), pair =>
        {
            (int seed, int bits) = pair;
            double clip = Math.Pow(10, -3 + bits % 5);
            DeviceJob job = DeviceScene.Job(1) with { Privacy = new() { Clip = clip, ClipPerView = bits % 2 == 0, SecureAggregation = false } };
            using DeviceWork work = DeviceScene.Work(job);
            foreach (DeviceData data in DeviceScene.Devices(7, seed))
            {
                // Exact: squares of float64 as decimals of a wide type.
                double norm = Math.Sqrt((double)DeviceScene.Update(work, data, bits).Sum(value => (decimal)value * (decimal)value));
                Assert.True(norm <= clip);
            }
        }).QuickCheckThrowOnFailure();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Update_ViewDropout_IsThatOfADeviceWithoutTheDroppedRows(bool perView)
    {
        DeviceJob whole = DeviceScene.Job(1) with { Privacy = new() { Clip = 0.5, ClipPerView = perView, SecureAggregation = false } }, job = whole with { Model = whole.Model with { ViewDropout = 0.5 } };
        DeviceData data = DeviceScene.Devices(1, absences: false)[0];
        int[][] index = [.. data.Views.Select(view => view!.Index.ToArray())];
        bool[] kept = new bool[2];
        for (int i = 0; i < data.Samples; i++)
        {
            ViewDropout.Draw(DeviceDraws.SeedOf(job.Training.Seed, data.Device) + 1, 0, i, 0.5, kept);
            for (int v = 0; v < 2; v++)
                index[v][i] = kept[v] ? index[v][i] : -1;
        }

        var left = new DeviceData(data.Device, [.. data.Views.Select((view, v) => new DeviceViewRows(view!.Rows, index[v]))], data.Positives);
        using DeviceWork work = DeviceScene.Work(whole), dropping = DeviceScene.Work(job);
        Assert.NotEqual(DeviceScene.Update(work, data, 1), DeviceScene.Update(dropping, data, 1));
        Assert.Equal(DeviceScene.Update(work, left, 1), DeviceScene.Update(dropping, data, 1));
    }

    [Fact]
    public void Clip_SmallVector_IsLeftAlone_AndDirectionKept()
    {
        double[] small = [0.3, 0.4], large = [3, 4];
        DeviceWork.Clip(small, 1);
        DeviceWork.Clip(large, 1);
        Assert.Equal([0.3, 0.4], small);
        Assert.InRange(DeviceScene.Distance(large, [0.6, 0.8]), 0, 2e-9);
    }
}
