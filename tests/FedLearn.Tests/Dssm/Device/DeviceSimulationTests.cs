using FedLearn.Diagnostics;
using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm.Device;

public class DeviceSimulationTests
{
    private static DeviceResult Run(DeviceJob job, DeviceData[] devices)
    {
        using var simulation = new DeviceSimulation(job, devices, DeviceScene.Towers);
        return simulation.Run();
    }

    private static double[] All(DeviceModel model) => [.. model.Item, .. model.Views.SelectMany(v => v)];

    [Fact]
    public void Run_ModeNone_IsTheSameEveryTimeAndLearns()
    {
        DeviceJob job = DeviceScene.Job(20) with { Training = new() { Rounds = 30, Participation = 0.5, Seed = 3, ServerOptimizer = new() { Rate = 0.02 } } };
        DeviceResult one = Run(job, DeviceScene.Devices(20)), two = Run(job, DeviceScene.Devices(20)), other = Run(job with { Training = job.Training with { Seed = 4 } }, DeviceScene.Devices(20));
        Assert.Equal(All(one.Model), All(two.Model));
        Assert.Equal(one.Rounds, two.Rounds);
        Assert.NotEqual(All(one.Model), All(other.Model));
        Assert.Equal(30, one.Model.Version);
        Assert.True(one.Rounds.TakeLast(5).Average(r => r.Loss!.Value) < 0.9 * one.Rounds.Take(5).Average(r => r.Loss!.Value));
    }

    [Fact]
    public void Run_ModeNone_DividesByTheRealisedSamples()
    {
        // One round, everybody: SGD by the mean gradient over all samples.
        DeviceData[] devices = DeviceScene.Devices(9);
        DeviceJob job = DeviceScene.Job(9) with { Training = new() { Rounds = 1, Participation = 1, Seed = 3, ServerOptimizer = new() { Kind = TowerOptimizerKind.Sgd, Rate = 0.25 } } };
        using DeviceWork work = DeviceScene.Work(job);
        double[] expected = work.Start.ToArray();
        double samples = devices.Sum(d => d.Samples);
        foreach (DeviceData device in devices)
            foreach ((int j, double value) in DeviceScene.Update(work, device).Index())
                expected[j] -= 0.25 / samples * value;
        double[] made = All(Run(job, devices).Model);
        Assert.InRange(DeviceScene.Distance(expected, made), 0, 1e-14 * DeviceScene.Norm(expected));
    }

    [Fact]
    public void Run_Masked_IsThePlainRunWithinTheFixedPoint()
    {
        // Each number of a sum of n updates is off by at most n/2 steps of 2^-20, and the divisor is exact: a step of rate r moves a parameter by at most r n 2^-21/samples more.
        DeviceData[] devices = DeviceScene.Devices(9);
        DeviceJob plain = DeviceScene.Job(9) with { Training = new() { Rounds = 1, Participation = 1, Seed = 3, ServerOptimizer = new() { Kind = TowerOptimizerKind.Sgd, Rate = 1 } } };
        DeviceResult one = Run(plain, devices), masked = Run(plain with { Privacy = new() { Threshold = 5 } }, devices);
        Assert.True(masked.Rounds.Single().Masked);
        double bound = 9 * Math.Pow(2, -21) / devices.Sum(d => d.Samples);
        Assert.All(All(one.Model).Zip(All(masked.Model)), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, bound * (1 + 1e-9)));
        Assert.NotEqual(All(one.Model), All(masked.Model));
    }

    [Fact]
    public void Run_MaskedAgainstAnActiveServer_GivesTheSameSum()
    {
        DeviceData[] devices = DeviceScene.Devices(5);
        DeviceJob job = DeviceScene.Job(5) with { Training = new() { Rounds = 1, Participation = 1 }, Privacy = new() { Threshold = 4, Colluders = 1 } };
        Assert.Equal(All(Run(job, devices).Model), All(Run(job with { Privacy = job.Privacy with { Server = FedLearn.Aggregation.ServerTrust.Active } }, devices).Model));
    }

    [Fact]
    public void Run_PrivateMasked_IsTheSumOfTheNoisedIntegers()
    {
        // Test noise is the same in both runs, so that masks alone make the difference: none.
        DeviceData[] devices = DeviceScene.Devices(8);
        DeviceJob job = DeviceScene.Private(8) with { Training = new() { Rounds = 2, Participation = 1 } };
        job = job with { Privacy = job.Privacy with { TestNoiseSeed = 9 } };
        DeviceResult masked = Run(job, devices), plain = Run(job with { Privacy = job.Privacy with { SecureAggregation = false } }, devices);
        Assert.Equal(All(plain.Model), All(masked.Model));
        Assert.Equal("NOT PRIVATE: test noise", masked.Privacy.Warnings[0]);
        Assert.All(masked.Rounds, r => Assert.Null(r.Loss));
    }

    [Fact]
    public void Run_ItemOnly_LeavesUserModelsAtTheirDevices()
    {
        DeviceData[] devices = DeviceScene.Devices(6, absences: false);
        DeviceJob job = DeviceScene.Job(6) with { Training = new() { Rounds = 3, Participation = 0.5, Aggregate = DeviceAggregation.ItemOnly, Seed = 3 } };
        using var simulation = new DeviceSimulation(job, devices, DeviceScene.Towers);
        DeviceResult result = simulation.Run();
        Assert.Empty(result.Model.Views);
        Assert.Equal(TowerStart.Count(new DevicePlan(job).Item), result.Model.Item.Length);
        double[][] own = [.. Enumerable.Range(0, 6).Select(d => simulation.OwnModels(d)[0])];
        for (int d = 1; d < 6; d++)
            if (simulation.Participations[d] > 0)
                Assert.NotEqual(own[0], own[d]);
        using var untouched = new DeviceSimulation(job, devices, DeviceScene.Towers);
        for (int d = 0; d < 6; d++)
            Assert.Equal(simulation.Participations[d] == 0, own[d].SequenceEqual(untouched.OwnModels(d)[0]));
    }

    [Fact]
    public void Run_MoreThan128Clients_SaysThatMasksWereOff()
    {
        DeviceData[] devices = DeviceScene.Devices(150);
        DeviceJob job = DeviceScene.Private(150) with { Training = new() { Rounds = 1, Participation = 1 } };
        DeviceResult result = Run(job, devices);
        Assert.False(result.Rounds.Single().Masked);
        Assert.Contains(result.Notes, note => note.Contains("without masks", StringComparison.Ordinal));
        Assert.DoesNotContain(Run(DeviceScene.Private(5) with { Training = new() { Rounds = 1, Participation = 1 } }, DeviceScene.Devices(5)).Notes, note => note.Contains("without masks", StringComparison.Ordinal));
    }

    [Fact]
    public void Run_TooFewDevices_FailsAfterItsAttempts_WithoutACharge()
    {
        DeviceJob job = DeviceScene.Private(4, threshold: 5);
        using var simulation = new DeviceSimulation(job with { Training = job.Training with { AttemptsPerRound = 2 } }, DeviceScene.Devices(4), DeviceScene.Towers);
        var seen = new List<DeviceRound>();
        Assert.Equal(DeviceErrors.RoundFailed, Assert.Throws<PeerException>(() => simulation.Run(new Collected(seen))).Id);
        Assert.Equal([0, 1], seen.Select(r => r.Attempt));
        Assert.All(seen, r => Assert.NotNull(r.Failure));
        Assert.All(simulation.Participations, count => Assert.Equal(0, count));
    }

    [Fact]
    public void Run_Private_NeverPassesTheCap()
    {
        DeviceJob job = DeviceScene.Private(12) with { Training = new() { Rounds = 8, Participation = 0.5 } };
        job = job with { Privacy = job.Privacy with { MaxParticipations = 3, SecureAggregation = false } };
        using var simulation = new DeviceSimulation(job, DeviceScene.Devices(12), DeviceScene.Towers);
        // 12 devices of 3 participations each give at most 12 rounds of 3; the run may end early, and never by a fourth participation.
        Exception? end = Record.Exception(() => simulation.Run());
        Assert.True(end is null or PeerException { Id: DeviceErrors.RoundFailed });
        Assert.All(simulation.Participations, count => Assert.InRange(count, 0, 3));
        Assert.Equal(3, simulation.Participations.Max());
    }

    [Fact]
    public void Create_DataOfOtherShape_IsRefused()
    {
        DeviceData data = DeviceScene.Devices(1)[0];
        Assert.Equal(DeviceErrors.InvalidJob, Assert.Throws<ConfigurationException>(() => new DeviceSimulation(DeviceScene.Job(2), [data, data], DeviceScene.Towers)).Id);
        foreach (DeviceData bad in (DeviceData[])[new("a", [data.Views[0]], data.Positives), new("a", [data.Views[1], data.Views[0]], data.Positives), new("a", [null, null], [DeviceScene.Items])])
            Assert.Equal(DeviceErrors.DataDoesNotFit, Assert.Throws<ConfigurationException>(() => new DeviceSimulation(DeviceScene.Job(1), [bad], DeviceScene.Towers)).Id);
    }

    private sealed class Collected(List<DeviceRound> rounds) : IProgress<DeviceRound>
    {
        public void Report(DeviceRound value) => rounds.Add(value);
    }
}
