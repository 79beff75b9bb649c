using System.Buffers.Binary;
using System.Runtime.Intrinsics;
using System.Text.Json;
using FedLearn.Privacy;
using FedLearn.Privacy.Numerics;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

/// <summary>The noise of seeded and secure sources, which share the path from words to draws. Seeds are fixed but where a test says otherwise, so
/// a result is the same in every run; the false-alarm rate is what a change of seed would risk.</summary>
public class SamplerTests
{
    private const ulong Seed = 20090276;

    /// <summary>Probability that a correct sampler fails a test of this class with another seed.</summary>
    private const double FalseAlarm = 1e-8;

    private const int Buckets = 100;

    [Fact]
    public void Draws_Moments_AreNormal() => Assert.Empty(MomentFaults(Sample(1)));

    // 4 million draws, 100 million with --full. Each deviation of 1 % must be found by both statistics.
    [Fact]
    public void Draws_KolmogorovAndAndersonDarling_AcceptTheNormalAlone()
    {
        var draws = new int[TestCounts.Scale == 1 ? 4_000_000 : 100_000_000];
        Fill(draws, RoundedNormal.MaximumScaleBits);
        Array.Sort(draws);
        foreach (double deviation in new[] { 1, 1.01, 0.99 })
        {
            (double kolmogorov, double andersonDarling) = Statistics.DistanceToNormal(draws, deviation * INoiseSource.LatticeScale);
            Assert.Equal(deviation == 1, kolmogorov <= Statistics.KolmogorovCritical(draws.Length, FalseAlarm / 2));
            Assert.Equal(deviation == 1, andersonDarling <= Statistics.AndersonDarlingCritical(FalseAlarm / 2));
        }
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

    // The same path at scales where every integer is a bucket: P(K = m) = Phi((m + 1/2)/s) - Phi((m - 1/2)/s), and not that of 1 % more or less.
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(10)]
    public void Draws_SmallScale_HaveTheExactDistribution(int scaleBits)
    {
        var draws = new int[TestCounts.Of(4_000_000)];
        Fill(draws, scaleBits);
        int scale = 1 << scaleBits, edge = 3 * scale, group = Math.Max(1, scale / 16);
        var counts = new long[2 * edge + 1];
        foreach (int draw in draws)
            counts[Math.Clamp(draw, -edge, edge) + edge]++;
        foreach (double deviation in new[] { 1, 1.01, 0.99 })
        {
            // The outermost cells take the tails.
            double Below(int m) => m == -edge ? 0 : m > edge ? 1 : Statistics.Phi((m - 0.5) / (scale * deviation));
            double[] probabilities = [.. Enumerable.Range(-edge, counts.Length).Select(m => Below(m + 1) - Below(m))];

            // Single integers for a fault of single draws, about a hundred cells for one of the deviation.
            Assert.Equal(deviation == 1, Accepts(counts, probabilities)
                && Accepts([.. counts.Chunk(group).Select(c => c.Sum())], [.. probabilities.Chunk(group).Select(c => c.Sum())]));
        }

        static bool Accepts(long[] counts, double[] probabilities) =>
            Statistics.ChiSquare(counts, probabilities) <= Statistics.ChiSquareCritical(counts.Length, FalseAlarm / 2);
    }

    // At s = 64 the rounded and the discrete Gaussian differ by a few parts in 100,000, which this many draws cannot show.
    [Fact]
    public void Draws_DiscreteGaussian_AgreesWithAnotherSampler()
    {
        const int scaleBits = 6, cell = 16, edge = 14;
        var draws = new int[TestCounts.Of(200_000)];
        Fill(draws, scaleBits);
        var other = new DiscreteGaussian(1 << scaleBits, (int)Seed);
        long[] counts = new long[2 * edge + 1], otherCounts = new long[2 * edge + 1];
        foreach (int draw in draws)
        {
            counts[Cell(draw)]++;
            otherCounts[Cell(other.Next())]++;
        }

        // Two samples of one size: sum (a - b)^2/(a + b).
        double statistic = counts.Zip(otherCounts, (a, b) => (double)(a - b) * (a - b) / (a + b)).Sum();
        Assert.InRange(statistic, 0, Statistics.ChiSquareCritical(counts.Length, FalseAlarm));

        static int Cell(int draw) => Math.Clamp((int)Math.Round((double)draw / cell), -edge, edge) + edge;
    }

    // The second sampler against the stored probabilities of the discrete Gaussian.
    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void DiscreteGaussian_OracleRows_Agree(int sigma)
    {
        var sampler = new DiscreteGaussian(sigma, (int)Seed);
        int[] draws = [.. Enumerable.Range(0, TestCounts.Of(200_000)).Select(_ => sampler.Next())];
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("sampler_pmf").EnumerateArray().Where(row => row.GetProperty("s").GetString() == $"{sigma}"))
        {
            int count = draws.Count(draw => draw == row.Integer("k"));
            double p = row.Number("discrete_gaussian_pmf");
            Assert.InRange(p, Statistics.ClopperPearsonLower(count, draws.Length, FalseAlarm / 6), Statistics.ClopperPearsonUpper(count, draws.Length, FalseAlarm / 6));
        }
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
        Array.Sort(draws);
        Assert.InRange(Statistics.DistanceToNormal(draws, INoiseSource.LatticeScale).Kolmogorov, 0, Statistics.KolmogorovCritical(n, alpha));
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

    /// <summary>Draws by the generator of <see cref="CsprngNoise"/> that every machine has, with a fixed key.</summary>
    private static void Fill(Span<int> draws, int scaleBits)
    {
        var key = new byte[KeyStream.KeyLength];
        BinaryPrimitives.WriteUInt64LittleEndian(key, Seed);
        var bits = new KeyStream(key, new Vector128<byte>[KeyStream.ScheduleLength], aes: false);
        RoundedNormal.Fill(ref bits, 0, draws, scaleBits);
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
