using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

/// <summary>The floating-point attacks on noise (Mironov 2012; Jin et al., arXiv 2112.05307; Haney et al., arXiv 2207.13793), replayed on what leaves:
/// low bits of a sum of doubles betray the value under the noise. Lattice integers have none.</summary>
/// <remarks>Each statistical assertion alarms by chance with probability 1e-8, over the choice of seeds; seeds are fixed.</remarks>
public class LatticeAttackTests
{
    private const ulong Seed = 20090276;
    private const double FalseAlarm = 1e-8;
    private const int LowBits = 4;

    private static readonly int Draws = TestCounts.Of(1 << 20);

    /// <summary>A sigma of no special form, as calibrations give it.</summary>
    private static readonly NoiseCalibration Noise = new(1, 1.0437281, int.MaxValue, 1);

    /// <summary>Values under the noise: neighbours, the ends of the range, multiples of the step and not, and more bits than a sum keeps.</summary>
    private static readonly double[] Values = [0, 1, -1, 0.5, 1 / 3.0, 1e-9, Noise.Sigma / INoiseSource.LatticeScale, Math.BitIncrement(0.7)];

    public static TheoryData<string> Kinds => ["scores", "residuals", "final weights"];

    /// <summary>Steps of a deviation: messages are coarser than what stays.</summary>
    private static int StepsOf(string kind) => kind == "final weights" ? INoiseSource.LatticeScale : 1 << GaussianMechanism.UsualLatticeBits;

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Release_AnyValue_IsAnIntegerOfTheLattice(string kind)
    {
        double step = Noise.Sigma / StepsOf(kind);
        foreach (double x in Values)
            foreach (double y in Draw(kind, x, 10_000, new TestNoise(Seed, "integers")))
                Assert.Equal(step * Math.Round(y / step), y);
    }

    /// <summary>Step, width and number of bytes, all that travels beside the integers, are those of the calibration.</summary>
    [Fact]
    public void Release_AnyValue_TravelsInTheSameForm() => Assert.Single(Values.Select(x =>
    {
        var mechanism = new GaussianMechanism(Noise, new TestNoise(Seed, "form"), NoReservation.Instance);
        LatticeVector lattice = mechanism.Release(new Scores(Enumerable.Repeat(x, 100).ToArray()), "scores").Payload.Lattice!;
        return (lattice.Step, lattice.Bits, lattice.Length, lattice.Packed.Length);
    }).Distinct());

    /// <summary>The reachable integers are all from -limit to limit, whatever the value: for each there is a draw that leads there, and none leads
    /// outside.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void Release_AnyValue_ReachesTheSameIntegers(string kind)
    {
        double fine = Noise.Sigma / INoiseSource.LatticeScale, step = Noise.Sigma / StepsOf(kind);
        long limit = (long)Math.Round(Noise.ValueBound / step) + (12L * StepsOf(kind));
        int coarser = INoiseSource.LatticeScale / StepsOf(kind);
        var random = new Random(7);
        long[] targets = [-limit, limit, 0, 1, -limit + 1, limit - 1, .. Enumerable.Range(0, 1000).Select(_ => random.NextInt64(-limit, limit + 1))];
        foreach (double x in Values)
        {
            long centre = (long)Math.Round(Math.Clamp(x, -1, 1) / fine);
            foreach (long target in targets)
                Assert.Equal(step * target, Draw(kind, x, 1, new Chosen((int)(target * coarser - centre)))[0]);
            Assert.Equal(step * limit, Draw(kind, x, 1, new Chosen(INoiseSource.Saturation))[0]);
            Assert.Equal(step * -limit, Draw(kind, x, 1, new Chosen(-INoiseSource.Saturation))[0]);
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Release_AnyValue_HasUniformLowBits(string kind)
    {
        double step = Noise.Sigma / StepsOf(kind);
        double[] uniform = [.. Enumerable.Repeat(1.0 / (1 << LowBits), 1 << LowBits)];
        double critical = Statistics.ChiSquareCritical(uniform.Length, FalseAlarm / (Values.Length * Kinds.Count));
        foreach (double x in Values)
        {
            long[] counts = new long[uniform.Length];
            foreach (double y in Draw(kind, x, Draws, new TestNoise(Seed, $"low bits {x}")))
                counts[(long)Math.Round(y / step) & (counts.Length - 1)]++;
            Assert.InRange(Statistics.ChiSquare(counts, uniform), 0, critical);
        }
    }

    /// <summary>The precision attack: outputs of equal magnitude, told apart by their last bits as doubles.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void Release_NeighbouringValues_HaveTheSameLastBits(string kind) =>
        Assert.InRange(LastBitsDistance(x => Draw(kind, x, Draws, new TestNoise(Seed, $"last bits {x}"))), 0, Critical);

    /// <summary>The detectors see what they are for: a double plus a double.</summary>
    [Fact]
    public void NaiveSum_IsCaught()
    {
        double step = Noise.Sigma / INoiseSource.LatticeScale;
        Assert.True(Naive(1).Count(y => step * Math.Round(y / step) != y) > Draws / 2);
        Assert.True(LastBitsDistance(Naive) > 100 * Critical);

        static double[] Naive(double x)
        {
            var random = new Random(11);
            return [.. Enumerable.Range(0, Draws).Select(_ => x + (Noise.Sigma * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
        }
    }

    private static double Critical => Statistics.ChiSquareCritical(8, FalseAlarm / 3);

    /// <summary>Chi-square statistic, 7 degrees of freedom, of the hypothesis that outputs in [1/16, 1/8) for 0 and for 1 have equally distributed last
    /// three bits of their mantissa.</summary>
    private static double LastBitsDistance(Func<double, double[]> draw)
    {
        long[][] counts = [Count(0), Count(1)];
        double[] totals = [counts[0].Sum(), counts[1].Sum()];
        Assert.All(totals, total => Assert.True(total > 1000));
        double statistic = 0;
        for (int cell = 0; cell < 8; cell++)
        {
            double both = counts[0][cell] + counts[1][cell];
            for (int side = 0; side < 2; side++)
            {
                double expected = both * totals[side] / (totals[0] + totals[1]);
                statistic += expected > 0 ? Math.Pow(counts[side][cell] - expected, 2) / expected : 0;
            }
        }

        return statistic;

        long[] Count(double x)
        {
            long[] cells = new long[8];
            foreach (double y in draw(x))
                if (y is >= 0.0625 and < 0.125)
                    cells[BitConverter.DoubleToInt64Bits(y) & 7]++;
            return cells;
        }
    }

    /// <summary>Outputs for one value.</summary>
    private static double[] Draw(string kind, double value, int count, INoiseSource noise)
    {
        var mechanism = new GaussianMechanism(Noise, noise, NoReservation.Instance);
        double[] values = new double[count];
        Array.Fill(values, value);
        switch (kind)
        {
            case "scores":
                return mechanism.Release(new Scores(values), kind).Payload.Lattice!.Values();
            case "residuals":
                return mechanism.Release(new Residuals(values), kind).Payload.Lattice!.Values();
            default:
                mechanism.Perturb(values, kind);
                return values;
        }
    }

    private sealed class Chosen(int draw) : INoiseSource
    {
        public bool IsSecure => false;

        public void Fill(Span<int> destination) => destination.Fill(draw);
    }
}
