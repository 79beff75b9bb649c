using FedLearn.Dssm;
using FedLearn.Numerics;
using MathNet.Numerics.Distributions;

namespace FedLearn.Tests.Dssm.Sampling;

/// <summary>Expected numbers are those of a second implementation of SplitMix64 and of the rules. Statistical tests use fixed seeds; their thresholds have a false-alarm rate
/// of 1e-6 for a fresh seed.</summary>
public sealed class ScheduleTests
{
    [Fact]
    public void Mix_GoldenRatio_IsTheFirstOutputOfSplitMix64() => Assert.Equal(0xE220A8397B1DCDAF, SplitMix64.Mix(0x9E3779B97F4A7C15));

    [Fact]
    public void Below_KnownKey_IsThatOfASecondImplementation()
    {
        var random = new PublicRandom(PublicRandom.Purpose.Negatives, 7);
        Assert.Equal([20, 55, 1227, 1036, 447], [.. Enumerable.Range(0, 5).Select(_ => random.Below(1682))]);
    }

    [Fact]
    public void Order_KnownSeed_IsThatOfASecondImplementation()
    {
        Assert.Equal([4, 5, 7, 6, 1, 3, 0, 2], SampleOrder.Of(8, 7, 0));
        Assert.Equal([7, 6, 4, 5, 2, 0, 1, 3], SampleOrder.Of(8, 7, 1));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(1000)]
    public void Order_AnyCount_IsAPermutation(int count)
    {
        Assert.Equal(Enumerable.Range(0, count), SampleOrder.Of(count, 5, 3).Order());
        Assert.Equal(SampleOrder.Of(count, 5, 3), SampleOrder.Of(count, 5, 3));
        if (count > 2)
            Assert.NotEqual(SampleOrder.Of(count, 5, 3), SampleOrder.Of(count, 5, 4));
    }

    [Fact]
    public void Order_FourSamples_AllPermutationsAreEquallyLikely()
    {
        var counts = new Dictionary<string, int>();
        for (int epoch = 0; epoch < 24_000; epoch++)
        {
            string order = string.Concat(SampleOrder.Of(4, 9, epoch));
            counts[order] = counts.GetValueOrDefault(order) + 1;
        }

        Assert.Equal(24, counts.Count);
        Assert.InRange(counts.Values.Sum(count => (count - 1000.0) * (count - 1000) / 1000), 0, ChiSquared.InvCDF(23, 1 - 1e-6));
    }

    [Fact]
    public void Dropout_KnownSeed_IsThatOfASecondImplementation()
    {
        bool[][] expected = [[true, true, true], [false, true, true], [true, true, false], [true, false, true], [true, true, true], [true, true, false]];
        for (int sample = 0; sample < expected.Length; sample++)
        {
            bool[] kept = new bool[3];
            ViewDropout.Draw(7, 0, sample, 0.5, kept);
            Assert.Equal(expected[sample], kept);
            for (int v = 0; v < 3; v++)
                Assert.Equal(kept[v], ViewDropout.Keeps(7, 0, sample, 0.5, v, 3));
        }
    }

    [Theory]
    [InlineData(0.3, 4)]
    [InlineData(0.9, 2)]
    [InlineData(0.5, 1)]
    public void Dropout_ManySamples_HasItsRateAndKeepsOneView(double rate, int views)
    {
        int samples = 50_000;
        int[] dropped = new int[views];
        bool[] kept = new bool[views];
        for (int sample = 0; sample < samples; sample++)
        {
            ViewDropout.Draw(3, 1, sample, rate, kept);
            Assert.Contains(true, kept);
            for (int v = 0; v < views; v++)
                dropped[v] += kept[v] ? 0 : 1;
        }

        // All V views are drawn out with probability rate^V, and then each is the one that stays with probability 1/V. 4.9 sigma: 1e-6.
        double expected = rate - Math.Pow(rate, views) / views, sigma = Math.Sqrt(expected * (1 - expected) * samples);
        Assert.All(dropped, count => Assert.InRange(count, expected * samples - 4.9 * sigma, expected * samples + 4.9 * sigma));
    }

    [Fact]
    public void Dropout_RateZero_KeepsAll()
    {
        bool[] kept = new bool[3];
        ViewDropout.Draw(1, 2, 3, 0, kept);
        Assert.Equal([true, true, true], kept);
    }

    [Fact]
    public void Cap_ManySamples_KeepsTheCapAndIgnoresTheOrderOfUsers()
    {
        string[] users = ["ann", "bob", "eve"];
        (int User, Moment Moment)[] samples = [.. Enumerable.Range(0, 60).Select(i => (i % 3 == 0 ? 0 : i % 3 == 1 && i < 9 ? 1 : 2, new Moment(1000 + i / 4, i)))];
        bool[] keep = SampleCap.Keep(users, samples, 5, 7);
        int Kept(int user) => samples.Where((s, i) => s.User == user && keep[i]).Count();
        Assert.Equal([5, 3, 5], [Kept(0), Kept(1), Kept(2)]);
        Assert.Equal(keep, SampleCap.Keep(users, samples, 5, 7));
        Assert.NotEqual(keep, SampleCap.Keep(users, samples, 5, 8));
        string[] turned = ["eve", "bob", "ann"];
        Assert.Equal(keep, SampleCap.Keep(turned, [.. samples.Select(s => (2 - s.User, s.Moment))], 5, 7));
        bool[] reversed = SampleCap.Keep(users, [.. samples.Reverse()], 5, 7);
        Assert.Equal(keep, reversed.Reverse());
    }

    [Fact]
    public void Cap_OneUser_KeepsEveryPlaceEquallyOften()
    {
        (int User, Moment Moment)[] samples = [.. Enumerable.Range(0, 10).Select(i => (0, new Moment(86_400L * i, i)))];
        int[] counts = new int[10];
        for (int seed = 0; seed < 10_000; seed++)
        {
            bool[] keep = SampleCap.Keep(["u"], samples, 1, seed);
            counts[Array.IndexOf(keep, true)]++;
        }

        Assert.InRange(counts.Sum(count => (count - 1000.0) * (count - 1000) / 1000), 0, ChiSquared.InvCDF(9, 1 - 1e-6));
    }

    [Fact]
    public void LogQ_Counts_AreSmoothedShares()
    {
        double[] logQ = ItemFrequency.LogQ([3, 0, 1, 9], [true, true, true, false]);
        Assert.Equal([4.0 / 7, 1.0 / 7, 2.0 / 7, 1.0 / 7], logQ.Select(Math.Exp), (a, b) => Math.Abs(a - b) < 1e-15);
    }
}
