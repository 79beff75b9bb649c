using FedLearn.Diagnostics;
using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm.Device;

public class DeviceScorerTests
{
    [Fact]
    public void Score_Late_IsTheMeanOfThePresentViewsCosines()
    {
        DeviceJob job = DeviceScene.Job(6);
        DeviceData[] devices = DeviceScene.Devices(6);
        using var simulation = new DeviceSimulation(job, devices, DeviceScene.Towers);
        DeviceModel model = simulation.Run().Model;
        using var scorer = new DeviceScorer(job, model, DeviceScene.Towers);
        var plan = new DevicePlan(job);
        foreach (DeviceData data in devices)
        {
            double[] scores = new double[data.Samples * DeviceScene.Items];
            scorer.Score(data, scores);
            for (int i = 0; i < data.Samples; i++)
            {
                double[] expected = new double[DeviceScene.Items];
                int present = 0;
                for (int v = 0; v < 2; v++)
                {
                    if (data.Views[v] is not { } view || view.Index[i] < 0)
                        continue;
                    present++;
                    using ITower tower = DeviceScene.Towers.Create(plan.Views[v], 0);
                    tower.SetParameters(model.Views[v]);
                    double[] y = new double[4];
                    tower.Forward(view.Rows, [view.Index[i]], y, training: false);
                    for (int item = 0; item < DeviceScene.Items; item++)
                    {
                        ReadOnlySpan<double> x = scorer.ItemVectors.Slice(item * 4, 4);
                        double dot = 0;
                        for (int j = 0; j < 4; j++)
                            dot += x[j] * y[j];
                        expected[item] += dot / Math.Sqrt(DeviceScene.Norm(x) * DeviceScene.Norm(x) + 1e-6) / Math.Sqrt(DeviceScene.Norm(y) * DeviceScene.Norm(y) + 1e-6);
                    }
                }

                // In any positive multiple: scores rank.
                double[] row = scores[(i * DeviceScene.Items)..((i + 1) * DeviceScene.Items)];
                if (present == 0)
                    continue;
                Assert.Equal(Enumerable.Range(0, DeviceScene.Items).OrderBy(item => expected[item]), Enumerable.Range(0, DeviceScene.Items).OrderBy(item => row[item]));
            }
        }
    }

    [Fact]
    public void Score_ItemOnly_TakesTheDevicesOwnModels_AndNewItems()
    {
        DeviceJob job = DeviceScene.Job(4) with { Training = new() { Rounds = 2, Participation = 1, Aggregate = DeviceAggregation.ItemOnly } };
        DeviceData[] devices = DeviceScene.Devices(4, absences: false);
        using var simulation = new DeviceSimulation(job, devices, DeviceScene.Towers);
        DeviceModel model = simulation.Run().Model;
        Assert.Equal(DeviceErrors.DataDoesNotFit, Assert.Throws<ConfigurationException>(() => new DeviceScorer(job, model, DeviceScene.Towers)).Id);
        TowerRows more = DeviceScene.Rows(job.Items.Content.Inputs, 3, new Random(2));
        using var scorer = new DeviceScorer(job, model, DeviceScene.Towers, simulation.OwnModels(1), more);
        double[] scores = new double[devices[1].Samples * 3];
        scorer.Score(devices[1], scores);
        Assert.All(scores, score => Assert.True(double.IsFinite(score)));
        Assert.Equal(3 * scorer.Width, scorer.ItemVectors.Length);
    }
}
