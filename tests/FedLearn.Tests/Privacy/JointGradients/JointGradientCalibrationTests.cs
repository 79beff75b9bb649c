using System.Numerics;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy.JointGradients;

public class JointGradientCalibrationTests
{
    internal static JointGradientParameters Logistic { get; } = new()
    {
        Family = GlmFamilyKind.Binomial,
        Parties = 2,
        WeightNorm = 1,
        SmallestBatch = 4096,
        Batches = 8,
        Epochs = 20,
        Columns = 30,
        MeanError = 1e-9,
        Unit = BigInteger.One << 88,
        FloodBits = 78,
    };

    internal static JointGradientParameters Linear { get; } = Logistic with
    {
        Family = GlmFamilyKind.Gaussian,
        Parties = 3,
        TargetBound = 2,
        SmallestBatch = 64,
        Epochs = 7,
        Columns = 12,
        MeanError = 0,
        Unit = BigInteger.One << 60,
        FloodBits = 0,
    };

    // Computed with 40 digits: D by golden-section search, mu by bisection of the Gaussian mechanism's delta, then the formula of docs/proofs/he-dp.md, sections 3 and 4.
    public static TheoryData<string, double, double, double, double> Golden => new()
    {
        { "logistic", 1, 1e-5, 0.00044851496755063076, 0.0074831987422605604 },
        { "linear", 3, 1e-6, 0.16502400784505939, 0.67406973878867164 },
        { "null row", 1, 1e-5, 0.00034526698300124391, 0.005760611149836322 },
        { "many scores", 10, 1e-3, 0.81300859665990136, 0.33013831505095921 },
    };

    private static JointGradientParameters Named(string name) => name switch
    {
        "linear" => Linear,
        "null row" => Logistic with { Adjacency = Adjacency.ZeroOut },
        "many scores" => Logistic with { Parties = 10, WeightNorm = 10, SmallestBatch = 100, Epochs = 1, Columns = 105, MeanError = 1e-6 },
        _ => Logistic,
    };

    [Theory]
    [MemberData(nameof(Golden))]
    public void Calibrate_KnownJobs_AgreesWithIndependentFigures(string name, double epsilon, double delta, double sensitivity, double sigma)
    {
        JointGradientCalibration calibration = JointGradientCalibration.Calibrate(Named(name), epsilon, delta);
        Assert.InRange(calibration.Sensitivity / sensitivity, 1 - 1e-15, 1 + 3e-14);
        Assert.InRange(calibration.Sigma / sigma, 1, 1 + 1e-12);
    }

    [Fact]
    public void Calibrate_AnyJob_KeepsItsBudgetWithEverySlack()
    {
        var random = new Random(20261126);
        for (int i = 0; i < 500; i++)
        {
            JointGradientParameters p = Random(random);
            JointGradientCalibration c = JointGradientCalibration.Calibrate(p, Math.Exp(3 * random.NextDouble()), Math.Exp(-5 - 15 * random.NextDouble()));
            Assert.InRange(c.SensitivityCharged, (c.Sensitivity + c.SchemeSlack + c.GridSlack + c.ArithmeticSlack) * (1 - 1e-15), double.PositiveInfinity);
            Assert.InRange(c.SensitivityCharged * Math.Sqrt(c.Visits) / c.Sigma / c.Mu, 1 - 1e-12, 1 + 2e-14);

            // In integers, as in the proof: the noise of each batch size against what may change in it.
            foreach (int rows in (int[])[p.SmallestBatch, p.SmallestBatch + 1, 3 * p.SmallestBatch])
            {
                double scale = (double)p.Unit * rows, step = (double)c.StepOf(rows), root = Math.Sqrt(p.Columns);
                double moved = scale * (c.Sensitivity * p.SmallestBatch / rows + 2 * p.MeanError * root) / step + root;
                Assert.True(moved * Math.Sqrt(p.Epochs) / INoiseSource.LatticeScale <= c.Mu * (1 + 1e-14), $"{p}");
                Assert.InRange(c.SigmaOf(rows), c.Sigma * (1 - 1e-12), (c.Sigma + INoiseSource.LatticeScale / scale) * (1 + 1e-12));
            }
        }
    }

    // StepOf against a rational number that is made another way.
    [Fact]
    public void StepOf_AnySigma_IsTheExactCeiling()
    {
        JointGradientCalibration calibration = JointGradientCalibration.Calibrate(Logistic, 1, 1e-5);
        foreach (double sigma in (double[])[calibration.Sigma, 1, 0.75, Math.BitIncrement(1), Math.BitDecrement(1), 1e-12, 3e40])
            foreach (int rows in (int[])[4096, 5001])
            {
                BigInteger shifted = new BigInteger(Math.ScaleB(sigma, 100)), product = shifted * Logistic.Unit * rows, divisor = BigInteger.One << 124;
                Assert.Equal(sigma, Math.ScaleB((double)shifted, -100));
                Assert.Equal(BigInteger.DivRem(product, divisor, out BigInteger rest) + (rest.IsZero ? 0 : 1), (calibration with { Sigma = sigma }).StepOf(rows));
            }
    }

    [Fact]
    public void Sigma_WorseJobs_IsLarger()
    {
        double Sigma(JointGradientParameters p, double epsilon = 1, double delta = 1e-5) => JointGradientCalibration.Calibrate(p, epsilon, delta).Sigma;
        double sigma = Sigma(Logistic);
        foreach (JointGradientParameters worse in (JointGradientParameters[])
        [
            Logistic with { Parties = 3 }, Logistic with { WeightNorm = 1.1 }, Logistic with { SmallestBatch = 4095 }, Logistic with { Epochs = 21 }, Logistic with { Columns = 31 },
            Logistic with { MeanError = 1.1e-9 }, Logistic with { Family = GlmFamilyKind.Gaussian, TargetBound = 0.5 },
        ])
            Assert.True(Sigma(worse) > sigma, $"{worse}");
        Assert.True(Sigma(Logistic, epsilon: 0.9) > sigma && Sigma(Logistic, delta: 0.9e-5) > sigma);
        Assert.True(Sigma(Logistic with { Adjacency = Adjacency.ZeroOut }) < sigma);
        Assert.Equal(sigma, Sigma(Logistic with { Batches = 1, Unit = BigInteger.One << 100, FloodBits = 0 }));
    }

    // The bound from |r| <= C in both worlds is never below, and at most twice.
    [Fact]
    public void Sensitivity_AgainstTwiceTheResidualBound_IsBetweenHalfAndAll()
    {
        foreach (double k in (double[])[1e-3, 0.1, 1, 10, 1000])
        {
            JointGradientParameters p = Logistic with { WeightNorm = k };
            JointGradientCalibration c = JointGradientCalibration.Calibrate(p, 1, 1e-5);
            Assert.Equal(2 * k / 4 + 0.5, c.ResidualBound, 1e-12);
            Assert.InRange(c.Sensitivity / (2 * c.ResidualBound * Math.Sqrt(2) / 4096), 0.5, 1);
            Assert.InRange(JointGradientCalibration.Calibrate(p with { Adjacency = Adjacency.ZeroOut }, 1, 1e-5).Sensitivity / c.Sensitivity, 0.5, 1);
        }
    }

    [Fact]
    public void ShareOf_Rounds_CountsEpochsBegun()
    {
        JointGradientCalibration c = JointGradientCalibration.Calibrate(Logistic, 1, 1e-5);
        Assert.Equal([0, 0.05, 0.05, 0.1, 1, 1], ((int[])[0, 1, 8, 9, 160, 1000]).Select(rounds => Math.Round(c.ShareOf(rounds), 12)));
        Assert.Equal(160, c.Releases);
    }

    [Fact]
    public void Calibrate_NumbersThatTheTheoremDoesNotCover_Refuses()
    {
        static string Id(JointGradientParameters p, double epsilon = 1, double delta = 1e-5) =>
            Assert.ThrowsAny<FedLearnException>(() => JointGradientCalibration.Calibrate(p, epsilon, delta)).Id;
        Assert.Equal("FL5200", Id(Logistic with { Family = GlmFamilyKind.Poisson, TargetBound = 1 }));
        Assert.Equal("FL5002", Id(Linear with { TargetBound = null }));
        foreach (JointGradientParameters p in (JointGradientParameters[])
        [
            Logistic with { Parties = 0 }, Logistic with { Columns = 1 }, Logistic with { SmallestBatch = 0 }, Logistic with { Unit = 0 }, Logistic with { FloodBits = -1 },
            Logistic with { FloodBits = 4097 }, Logistic with { WeightNorm = double.NaN }, Logistic with { WeightNorm = 0 }, Linear with { TargetBound = double.PositiveInfinity },
            Logistic with { MeanError = double.NaN }, Logistic with { MeanError = -1 },
        ])
            Assert.Equal("FL2300", Id(p));
        Assert.Equal("FL2302", Id(Logistic with { Epochs = 0 }));
        Assert.Equal("FL2302", Id(Logistic with { Epochs = 1 << 20, Batches = 1 << 12 }));
        Assert.Equal("FL2303", Id(Logistic with { WeightNorm = 1e101 }));
        Assert.Equal("FL2301", Id(Logistic, epsilon: double.NaN));
        Assert.Equal("FL5004", Id(Logistic, delta: 0.1));
        Assert.Equal("FL5005", Id(Logistic with { Epochs = 1 << 20, Columns = 1 << 24, MeanError = 0 }, epsilon: 0.1));
        Assert.Equal("FL5201", Id(Logistic with { MeanError = 1e-4 }));
        Assert.Equal("FL5202", Id(Logistic with { Unit = 1 << 10 }));
        Assert.Equal("FL5205", Assert.ThrowsAny<FedLearnException>(() => JointGradientParameters.CheckUnit(PrivacyUnit.Label)).Id);
        JointGradientParameters.CheckUnit(PrivacyUnit.Record);
    }

    internal static JointGradientParameters Random(Random random)
    {
        int parties = 1 + random.Next(4), batch = 1 + random.Next(200);
        return new()
        {
            Family = random.Next(2) == 0 ? GlmFamilyKind.Binomial : GlmFamilyKind.Gaussian,
            Parties = parties,
            WeightNorm = Math.Exp(4 * random.NextDouble() - 2),
            TargetBound = Math.Exp(4 * random.NextDouble() - 2),
            SmallestBatch = batch,
            Batches = 1 + random.Next(5),
            Epochs = 1 + random.Next(50),
            Columns = parties + random.Next(20),
            MeanError = random.Next(2) * 1e-3 / batch,
            Unit = BigInteger.One << random.Next(45, 100),
            FloodBits = random.Next(100),
            Adjacency = (Adjacency)random.Next(2),
        };
    }
}
