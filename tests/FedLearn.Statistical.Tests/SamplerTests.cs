using FedLearn.Privacy;
using FedLearn.Privacy.Numerics;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

/// <summary>The noise of seeded and secure sources, which share the path from words to draws. Seeds are fixed, so a result is the same in
/// every run; the false-alarm rate is what a change of seed would risk.</summary>
public class SamplerTests
{
    private const ulong Seed = 20090276;

    /// <summary>Probability that a correct sampler fails a test of this class with another seed.</summary>
    private const double FalseAlarm = 1e-6;

    private const int Buckets = 100;

    [Fact]
    public void Draws_Moments_AreNormal() => Assert.Empty(MomentFaults(Sample(1)));

    [Fact]
    public void Draws_Kolmogorov_IsNormal()
    {
        double[] sample = Sample(1);
        Assert.InRange(Statistics.Kolmogorov(sample), 0, Statistics.KolmogorovCritical(sample.Length, FalseAlarm));
    }

    [Fact]
    public void Draws_EquiprobableBuckets_AreEven() =>
        Assert.InRange(BucketStatistic(Sample(1)), 0, Statistics.ChiSquareCritical(Buckets, FalseAlarm));

    // Power: noise that is 1 % too wide or too narrow must be found, else the tests above say little.
    [Theory]
    [InlineData(1.01)]
    [InlineData(0.99)]
    public void Draws_DeviationOffByOnePercent_IsDetected(double scale)
    {
        double[] sample = Sample(scale);
        Assert.NotEmpty(MomentFaults(sample));
        Assert.True(BucketStatistic(sample) > Statistics.ChiSquareCritical(Buckets, FalseAlarm));
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(4.5)]
    public void Draws_Tails_HaveTheirProbability(double threshold)
    {
        double[] sample = Sample(1);
        double p = 2 * Statistics.Phi(-threshold);
        long count = sample.LongCount(z => Math.Abs(z) > threshold);
        Assert.InRange(p, Statistics.ClopperPearsonLower(count, sample.Length, FalseAlarm / 2), Statistics.ClopperPearsonUpper(count, sample.Length, FalseAlarm / 2));
    }

    [Fact]
    public void Draws_Neighbours_AreUncorrelated()
    {
        double[] sample = Sample(1);
        for (int lag = 1; lag <= 8; lag++)
        {
            double sum = 0;
            for (int i = lag; i < sample.Length; i++)
                sum += sample[i] * sample[i - lag];
            Assert.InRange(Math.Abs(sum) / Math.Sqrt(sample.Length - lag), 0, Statistics.Quantile(1 - FalseAlarm / 16));
        }
    }

    // The same path at scales where every integer is a bucket: P(K = m) = Phi((m + 1/2)/s) - Phi((m - 1/2)/s).
    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(64)]
    public void Transform_SmallScale_HasTheExactDistribution(int scale)
    {
        var random = new Random((int)Seed);
        var words = new ulong[TestCounts.Of(1_000_000)];
        random.NextBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(words.AsSpan()));
        var draws = new int[words.Length];
        RoundedNormal.Transform(words, draws, scale);

        int edge = (int)(3.5 * scale);
        var counts = new long[2 * edge + 1];
        var probabilities = new double[2 * edge + 1];
        foreach (int draw in draws)
            counts[Math.Clamp(draw, -edge, edge) + edge]++;
        for (int m = -edge; m <= edge; m++)
        {
            // The outermost cells take the tails.
            double below = m == -edge ? 0 : Statistics.Phi((m - 0.5) / scale), above = m == edge ? 1 : Statistics.Phi((m + 0.5) / scale);
            probabilities[m + edge] = above - below;
        }

        Assert.InRange(Statistics.ChiSquare(counts, probabilities), 0, Statistics.ChiSquareCritical(counts.Length, FalseAlarm));
    }

    // Fresh randomness in every run, so the false-alarm rate is 1e-9 for the whole test: four statistics at 2.5e-10 each.
    [Fact]
    public void CsprngNoise_FreshDraws_AreNormal()
    {
        const double alpha = 2.5e-10;
        const int n = 1_000_000;
        var draws = new int[n];
        new CsprngNoise().Fill(draws);
        double[] sample = [.. draws.Select(k => (double)k / INoiseSource.LatticeScale)];
        double limit = Statistics.Quantile(1 - alpha / 2);
        Assert.InRange(Math.Abs(sample.Sum()) / Math.Sqrt(n), 0, limit);
        Assert.InRange(Math.Abs(sample.Sum(z => z * z - 1)) / Math.Sqrt(2.0 * n), 0, limit * 1.01);
        Assert.InRange(BucketStatistic(sample), 0, Statistics.ChiSquareCritical(Buckets, alpha));
        Assert.InRange(Statistics.Kolmogorov(sample), 0, Statistics.KolmogorovCritical(n, alpha));
    }

    [Fact]
    public void CsprngNoise_TwoFills_ShareNothing()
    {
        // Two fills of 100 draws agree anywhere with probability below 100 * 100/2^24 by chance, so whole vectors never do.
        int[] a = new int[100], b = new int[100];
        var source = new CsprngNoise();
        source.Fill(a);
        source.Fill(b);
        Assert.NotEqual(a, b);
    }

    [Fact]
    public void CsprngNoise_ManyThreads_DrawIndependently()
    {
        var source = new CsprngNoise();
        var all = new int[8][];
        Parallel.For(0, all.Length, i => source.Fill(all[i] = new int[100_000]));
        for (int i = 0; i < all.Length; i++)
            for (int j = 0; j < i; j++)
            {
                double correlation = all[i].Zip(all[j], (x, y) => (double)x / INoiseSource.LatticeScale * ((double)y / INoiseSource.LatticeScale)).Sum() / Math.Sqrt(100_000);
                Assert.InRange(Math.Abs(correlation), 0, Statistics.Quantile(1 - 1e-9 / 56));
            }
    }

    private static double[] Sample(double scale)
    {
        var draws = new int[TestCounts.Of(1_000_000)];
        new TestNoise(Seed, "sampler").Fill(draws);
        return [.. draws.Select(k => scale * k / INoiseSource.LatticeScale)];
    }

    /// <summary>Mean, variance, skewness and kurtosis against their standard errors 1, sqrt 2, sqrt 15 and sqrt 96 over sqrt n.</summary>
    private static List<string> MomentFaults(double[] sample)
    {
        double limit = Statistics.Quantile(1 - FalseAlarm / 8), root = Math.Sqrt(sample.Length);
        (string Name, double Excess)[] moments =
        [
            ("mean", sample.Average() * root),
            ("variance", (sample.Average(z => z * z) - 1) * root / Math.Sqrt(2)),
            ("third moment", sample.Average(z => z * z * z) * root / Math.Sqrt(15)),
            ("fourth moment", (sample.Average(z => z * z * z * z) - 3) * root / Math.Sqrt(96)),
        ];
        return [.. moments.Where(moment => Math.Abs(moment.Excess) > limit).Select(moment => $"{moment.Name}: {moment.Excess:F1} standard errors")];
    }

    private static double BucketStatistic(double[] sample)
    {
        var counts = new long[Buckets];
        foreach (double z in sample)
            counts[Math.Min(Buckets - 1, (int)(Statistics.Phi(z) * Buckets))]++;
        return Statistics.ChiSquare(counts, [.. Enumerable.Repeat(1.0 / Buckets, Buckets)]);
    }
}
