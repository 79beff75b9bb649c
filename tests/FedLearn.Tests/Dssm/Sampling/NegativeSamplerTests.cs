using FedLearn.Diagnostics;
using FedLearn.Dssm;
using MathNet.Numerics.Distributions;

namespace FedLearn.Tests.Dssm.Sampling;

/// <summary>Statistical tests use fixed seeds; their thresholds have a false-alarm rate of 1e-6 for a fresh seed.</summary>
public sealed class NegativeSamplerTests
{
    private const double FalseAlarm = 1e-6;

    [Fact]
    public void Draw_Uniform_IsUniformOverTrainableItems()
    {
        bool[] trainable = [.. Enumerable.Range(0, 23).Select(i => i % 5 != 2)];
        int[] counts = Count(new NegativeSampler(Model(NegativeSource.Uniform, 4), 23, 1, 11, trainable), 23, 40, 500);
        Assert.All(Enumerable.Range(0, 23).Where(i => !trainable[i]), i => Assert.Equal(0, counts[i]));
        AssertFits(counts, [.. trainable.Select(t => t ? 1.0 : 0)]);
    }

    [Fact]
    public void Draw_Popularity_FollowsCountsToThePower()
    {
        int[] events = [0, 1, 5, 20, 100, 3, 0, 50];
        int[] counts = Count(new NegativeSampler(Model(NegativeSource.Popularity, 4), 8, 1, 12, null, events), 8, 40, 500);
        AssertFits(counts, [.. events.Select(count => Math.Pow(count, 0.75))]);
    }

    [Fact]
    public void Draw_Mixed_SecondHalfIsOtherPositivesOfTheBatch()
    {
        int b = 300;
        int[] targets = [.. Enumerable.Range(0, b)], negatives = new int[b * 3];
        int[] distances = new int[b];
        var sampler = new NegativeSampler(Model(NegativeSource.Mixed, 3), 10_000, 1, 13);
        for (int batch = 0; batch < 40; batch++)
        {
            sampler.Draw(0, batch, targets, negatives);
            for (int i = 0; i < b; i++)
            {
                Assert.InRange(negatives[i * 3 + 2], 0, b - 1);
                distances[(negatives[i * 3 + 2] - i + b) % b]++;
            }
        }

        Assert.Equal(0, distances[0]);
        AssertFits(distances, [.. Enumerable.Range(0, b).Select(d => d == 0 ? 0.0 : 1)]);
    }

    [Fact]
    public void Draw_Mixed_BatchOfOneIsUniform()
    {
        int[] negatives = new int[4];
        new NegativeSampler(Model(NegativeSource.Mixed, 4), 5, 1, 1).Draw(0, 0, [3], negatives);
        Assert.All(negatives, item => Assert.InRange(item, 0, 4));
    }

    [Fact]
    public void Draw_Cached_SecondHalfIsEarlierPositives()
    {
        var sampler = new NegativeSampler(Model(NegativeSource.Cached, 4), 1000, 1, 14);
        int[] negatives = new int[12];
        sampler.Draw(0, 0, [7, 8, 9], negatives);
        int[] seen = [7, 8, 9];
        sampler.Draw(0, 1, [1, 2, 3], negatives);
        for (int i = 0; i < 3; i++)
            Assert.All(negatives[(i * 4 + 2)..(i * 4 + 4)], item => Assert.Contains(item, seen));
    }

    [Fact]
    public void Draw_Hard_TakesTheBestOfTheDrawsInTheSecondHalf()
    {
        var model = Model(NegativeSource.Hard, 2);
        int n = 40;
        var loss = new DssmLoss(model, 1 + 1, ["a"], n);
        // Item i is at angle i / n: the nearer to the user at angle 0, the harder.
        double[] items = [.. Enumerable.Range(0, n).SelectMany(i => new[] { Math.Cos((double)i / n), Math.Sin((double)i / n) })];
        var vectors = new DssmBatch { Views = [[1, 0]], Present = [null], Items = items, Targets = [0] };
        var sampler = new NegativeSampler(model, n, 5, 15);
        Assert.False(sampler.NeedsVectors(2));
        Assert.True(sampler.NeedsVectors(3));
        int[] negatives = new int[2];
        sampler.Draw(3, 0, [0], negatives, loss, vectors);
        var random = new PublicRandom(PublicRandom.Purpose.Negatives, 15, 3, 0);
        int[] draws = [.. Enumerable.Range(0, 20).Select(_ => random.Below(n))];
        Assert.Equal(draws.Where(item => item != 0).Distinct().Order().Take(2), negatives);
        Assert.Throws<ArgumentException>(() => sampler.Draw(3, 0, [0], negatives));
    }

    [Fact]
    public void Draw_HardWithTwoItems_FillsUp()
    {
        var model = Model(NegativeSource.Hard, 3);
        int[] negatives = new int[3];
        new NegativeSampler(model, 2, 2, 1).Draw(1, 0, [0], negatives, new DssmLoss(model, 1, ["a"], 2),
            new DssmBatch { Views = [[1]], Present = [null], Items = [1, 1], Targets = [0] });
        Assert.Equal(1, negatives[0]);
        Assert.All(negatives, item => Assert.InRange(item, 0, 1));
    }

    [Fact]
    public void Draw_SameCall_IsTheSameAndOtherCallsDiffer()
    {
        int[] Draw(long seed, int epoch, int batch)
        {
            int[] negatives = new int[64];
            new NegativeSampler(Model(NegativeSource.Uniform, 4), 1000, 3, seed).Draw(epoch, batch, new int[16], negatives);
            return negatives;
        }

        Assert.Equal(Draw(7, 1, 2), Draw(7, 1, 2));
        Assert.NotEqual(Draw(7, 1, 2), Draw(8, 1, 2));
        Assert.NotEqual(Draw(7, 1, 2), Draw(7, 2, 2));
        Assert.NotEqual(Draw(7, 1, 2), Draw(7, 1, 3));
        Assert.NotEqual(Draw(7, 1, 2), Draw(7, 2, 1));
    }

    [Fact]
    public void Draw_UniformOfOtherPositives_IsTheSame()
    {
        // What a private job relies on: the draws do not depend on data.
        int[] one = new int[8], other = new int[8];
        new NegativeSampler(Model(NegativeSource.Uniform, 4), 50, 1, 3).Draw(0, 0, [1, 2], one);
        new NegativeSampler(Model(NegativeSource.Uniform, 4), 50, 1, 3).Draw(0, 0, [3, 4], other);
        Assert.Equal(one, other);
    }

    [Fact]
    public void Constructor_NothingToDraw_IsRefused()
    {
        Assert.Equal(DssmLossErrors.InvalidNegatives, Assert.Throws<ConfigurationException>(() => new NegativeSampler(Model(NegativeSource.Uniform, 4), 2, 1, 1, [false, false])).Id);
        Assert.Equal(DssmLossErrors.InvalidNegatives, Assert.Throws<ConfigurationException>(() => new NegativeSampler(Model(NegativeSource.Popularity, 4), 2, 1, 1)).Id);
        Assert.Equal(DssmLossErrors.InvalidNegatives, Assert.Throws<ConfigurationException>(() => new NegativeSampler(Model(NegativeSource.Popularity, 4), 2, 1, 1, null, [0, 0])).Id);
    }

    private static DssmModelOptions Model(NegativeSource source, int each) => new() { NegativeSource = source, Negatives = each };

    private static int[] Count(NegativeSampler sampler, int items, int batches, int b)
    {
        int[] counts = new int[items], negatives = new int[b * 4];
        for (int batch = 0; batch < batches; batch++)
        {
            sampler.Draw(0, batch, new int[b], negatives);
            foreach (int item in negatives)
                counts[item]++;
        }

        return counts;
    }

    private static void AssertFits(int[] counts, double[] weights)
    {
        double total = counts.Sum(), sum = weights.Sum(), statistic = 0;
        int cells = 0;
        for (int i = 0; i < counts.Length; i++)
        {
            if (weights[i] == 0)
            {
                Assert.Equal(0, counts[i]);
                continue;
            }

            double expected = total * weights[i] / sum;
            statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
            cells++;
        }

        Assert.InRange(statistic, 0, ChiSquared.InvCDF(cells - 1, 1 - FalseAlarm));
    }
}
