using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

public class DeviceCalibrationTests
{
    private const double Delta = 1e-5;

    private static readonly DeviceParameters Job = new()
    {
        Clip = 0.7,
        Coordinates = 15_616,
        Rounds = 60,
        Threshold = 60,
        Colluders = 5,
        MostClients = 128,
        Participations = 12,
        SamplingRate = 0.1,
    };

    [Theory]
    [InlineData(Adjacency.ZeroOut, 1)]
    [InlineData(Adjacency.ReplaceOne, 2)]
    public void Figures_Server_HaveNoAmplification(Adjacency adjacency, int kappa)
    {
        DeviceCalibration calibration = DeviceCalibration.Of(Job with { Adjacency = adjacency }, 1.5);
        DeviceFigures figures = calibration.Figures(Delta);
        double exact = kappa * Math.Sqrt(12) / 1.5, slack = calibration.Step * Math.Sqrt(15_616) / 0.7;
        Assert.Equal(exact, figures.ServerMu, exact * 1e-5);
        Assert.Equal(1 + slack, calibration.Sensitivity, 1e-11);
        Assert.InRange(figures.ServerMu, exact * (1 + slack), exact * (1 + slack) * (1 + 1e-9));
        Assert.Equal(GaussianDp.Epsilon(figures.ServerMu, Delta), figures.ServerEpsilon);
        Assert.Null(figures.UnmaskedMuPerRound);
        Assert.Equal((figures.ServerMu, 1.5 * 0.7 / Math.Sqrt(55), 12, 0.7), (calibration.ClientNoise.Mu, calibration.ClientNoise.Sigma, calibration.ClientNoise.Releases, calibration.ClientNoise.ValueBound));
        Assert.Equal(calibration.ClientSigma / INoiseSource.LatticeScale, calibration.Step);
        // Without a cap a device may take part in every round.
        Assert.Equal(kappa * Math.Sqrt(60) / 1.5, DeviceCalibration.Of(Job with { Adjacency = adjacency, Participations = null }, 1.5).Figures(Delta).ServerMu, 1e-3);
    }

    [Fact]
    public void Figures_LaterObservers_AreTheAccountantsBoundWithSlack()
    {
        DeviceFigures figures = DeviceCalibration.Of(Job, 1.5).Figures(Delta);
        double exact = new PldAccountant(SampleVisibility.HiddenFromObserver, new SubsampledGaussian(0.1, 1.5, 60)).Epsilon(Delta).Upper;
        Assert.InRange(figures.LaterEpsilon!.Value, exact, exact + 2e-4);
        Assert.True(figures.LaterEpsilon < figures.ServerEpsilon);
        Assert.Null(DeviceCalibration.Of(Job with { SamplingRate = null }, 1.5).Figures(Delta).LaterEpsilon);
        // Everybody in every round: no amplification, and the two figures are one.
        DeviceFigures all = DeviceCalibration.Of(Job with { SamplingRate = 1, Participations = null }, 20).Figures(Delta);
        Assert.Equal(all.ServerEpsilon, all.LaterEpsilon!.Value, 1e-6);
    }

    // Rows of the accountant's oracle: q, sigma, T and delta with bounds on epsilon.
    [Fact]
    public void Figures_LaterObservers_OracleRows()
    {
        foreach (var row in Oracle.Load("dp_oracles.json").GetProperty("pld_subsampled_gaussian").EnumerateArray().Where(r => r.Integer("T") <= 2500).Take(4))
        {
            DeviceParameters p = Job with { SamplingRate = row.Number("q"), Rounds = row.Integer("T"), Coordinates = 1 };
            DeviceFigures figures = DeviceCalibration.Of(p, row.Number("sigma")).Figures(row.Number("delta"));
            Assert.InRange(figures.LaterEpsilon!.Value, row.Number("eps_lower"), row.Number("eps_upper") + 2e-4);
        }
    }

    [Fact]
    public void Figures_WithoutMasks_TellWhatOneUploadShows()
    {
        DeviceFigures figures = DeviceCalibration.Of(Job with { Masked = false }, 1.5).Figures(Delta);
        Assert.Equal(Math.Sqrt(55) / 1.5, figures.UnmaskedMuPerRound!.Value, 1e-3);
        Assert.Equal(Math.Sqrt(12 * 55) / 1.5, figures.ServerMu, 1e-3);
    }

    [Fact]
    public void ForServer_Budget_IsKept()
    {
        Gen<(DeviceParameters, double)> cases =
            from d in Gen.Choose(1, 5_000_000)
            from t in Gen.Choose(1, 500)
            from c in Gen.Choose(0, t - 1)
            from r in Gen.Choose(1, 200)
            from step in Gen.Elements(false, true)
            from adjacency in Gen.Elements(Adjacency.ZeroOut, Adjacency.ReplaceOne)
            from masked in Gen.Elements(false, true)
            from epsilon in Gen.Elements(0.5, 1, 4, 10)
            select (Job with { Masked = masked, Coordinates = d, Threshold = t, Colluders = c, MostClients = 2 * t, Participations = r, Adjacency = adjacency, Step = step ? 1e-8 : null }, epsilon);
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(200)), Prop.ForAll(cases.ToArbitrary(), one =>
        {
            (DeviceParameters p, double epsilon) = one;
            Assert.InRange(DeviceCalibration.ForServer(p, epsilon, Delta).Figures(Delta, later: false).ServerEpsilon, epsilon * (1 - 1e-9), epsilon * (1 + 1e-12));
        }));
    }

    [Fact]
    public void ForLaterObservers_Budget_IsKeptWithLessNoiseThanTheServersFigureNeeds()
    {
        DeviceCalibration calibration = DeviceCalibration.ForLaterObservers(Job, 2, Delta);
        Assert.InRange(calibration.Figures(Delta).LaterEpsilon!.Value, 1.98, 2);
        Assert.True(calibration.NoiseMultiplier < DeviceCalibration.ForServer(Job, 2, Delta).NoiseMultiplier);
        Assert.Equal(EmbeddingErrors.InvalidDevices, Assert.Throws<ConfigurationException>(() => DeviceCalibration.ForLaterObservers(Job with { SamplingRate = null }, 2, Delta)).Id);
    }

    [Fact]
    public void Of_ImpossibleNumbers_AreRefused()
    {
        DeviceParameters[] wrong =
        [
            Job with { Clip = 0 }, Job with { Clip = double.NaN }, Job with { Coordinates = 0 }, Job with { Rounds = 0 }, Job with { Threshold = 0 }, Job with { Colluders = 60 },
            Job with { Colluders = -1 }, Job with { MostClients = 59 }, Job with { Participations = 0 }, Job with { Step = -1 },
        ];
        Assert.All(wrong, p => Assert.Equal(EmbeddingErrors.InvalidDevices, Assert.Throws<ConfigurationException>(() => DeviceCalibration.Of(p, 1)).Id));
        Assert.Equal(PrivacyErrors.InvalidSamplingRate, Assert.Throws<ConfigurationException>(() => DeviceCalibration.Of(Job with { SamplingRate = 0 }, 1)).Id);
        Assert.Equal(PrivacyErrors.InvalidNumber, Assert.Throws<ConfigurationException>(() => DeviceCalibration.Of(Job, 0)).Id);
    }

    [Fact]
    public void Of_CoarseStep_IsRefusedBelowSixteenStepsOfNoise()
    {
        double client = DeviceCalibration.Of(Job, 1.5).ClientSigma;
        Assert.Equal(client / 16, DeviceCalibration.Of(Job with { Step = client / 16 }, 1.5).Step);
        Assert.Equal(EmbeddingErrors.ClientNoiseTooCoarse, Assert.Throws<PrivacyRefusedException>(() => DeviceCalibration.Of(Job with { Step = client / 15.9 }, 1.5)).Id);
    }

    [Fact]
    public void Of_SumThatMayNotFit_IsRefused()
    {
        // n (C + 40 sigma_c)/gamma < 2^63.
        double client = DeviceCalibration.Of(Job, 1.5).ClientSigma, step = 128 * (0.7 + 40 * client) / Math.ScaleB(1, 63);
        Assert.Equal(step * 1.001, DeviceCalibration.Of(Job with { Step = step * 1.001 }, 1.5).Step);
        Assert.Equal(EmbeddingErrors.NoRoom, Assert.Throws<ConfigurationException>(() => DeviceCalibration.Of(Job with { Step = step * 0.999 }, 1.5)).Id);
    }

    /// <summary>Rounded updates of two neighbouring rounds, summed as integers: their distance is within the claim, and opposite updates reach it.</summary>
    [Fact]
    public void Sum_NeighbouringRounds_StayWithinTheClaim()
    {
        for (int seed = 0; seed < TestCounts.Of(1000); seed++)
        {
            var random = new Random(seed);
            int d = random.Next(1, 40);
            var adjacency = (Adjacency)random.Next(2);
            DeviceCalibration calibration = DeviceCalibration.Of(Job with { Coordinates = d, Participations = 1, Adjacency = adjacency, Step = random.Next(2) == 0 ? 1e-4 : null }, 1.5);
            bool worst = random.Next(3) == 0;
            double[] one = Update(1), other = adjacency == Adjacency.ZeroOut ? new double[d] : Update(-1);
            double squares = 0;
            for (int i = 0; i < d; i++)
                squares += Math.Pow(Math.Round(one[i] / calibration.Step) - Math.Round(other[i] / calibration.Step), 2);
            double share = Math.Sqrt(squares) * calibration.Step / (1.5 * 0.7) / calibration.Figures(Delta, later: false).ServerMu;
            Assert.InRange(share, worst && calibration.Parameters.Step is null ? 0.99 : 0, 1);

            double[] Update(int sign)
            {
                double[] update = [.. Enumerable.Range(0, d).Select(i => worst ? (i == 0 ? sign * 1e3 : 0) : random.NextDouble() - 0.5)];
                RowClip.Rows(update, d, 0.7);
                return update;
            }
        }
    }

    /// <summary>The sum of n rounded Gaussians has the probabilities of (a Gaussian of n times the variance, plus n uniforms of one step), as the proof has it.</summary>
    [Theory]
    [InlineData(1.0, 2)]
    [InlineData(1.0, 3)]
    [InlineData(1.3, 2)]
    [InlineData(2.0, 3)]
    public void SumOfRoundedGaussians_SmallScale_IsTheSumOfAGaussianAndUniforms(double scale, int clients)
    {
        // P(round(Z1) + ... = m), by convolution, against the density of Z + U1 + ... at m: both are inverse Fourier transforms, which differ by their periodic images.
        int half = (int)(12 * scale * clients);
        double[] one = [.. Enumerable.Range(-half, 2 * half + 1).Select(m => Phi((m + 0.5) / scale) - Phi((m - 0.5) / scale))], sum = one;
        for (int i = 1; i < clients; i++)
            sum = [.. Enumerable.Range(0, sum.Length + one.Length - 1).Select(m => Enumerable.Range(Math.Max(0, m - one.Length + 1), Math.Min(m, sum.Length - 1) - Math.Max(0, m - one.Length + 1) + 1).Sum(j => sum[j] * one[m - j]))];
        double distance = 0;
        for (int m = 0; m < sum.Length; m++)
            distance += Math.Abs(sum[m] - Density(m - sum.Length / 2)) / 2;
        // Largest where one of the n factors is a periodic image: at the frequency 2 pi/n. The last term is the sums' own rounding.
        Assert.InRange(distance, 0, 2 * clients * Math.Exp(-2 * Math.PI * Math.PI * scale * scale * (clients - 1) / clients) + 1e-13);

        double Density(double x)
        {
            const int Points = 4000;
            double limit = 8 / (scale * Math.Sqrt(clients)), step = limit / Points, total = 0;
            for (int i = 0; i <= Points; i++)
            {
                double w = i * step, sinc = w == 0 ? 1 : Math.Sin(w / 2) / (w / 2);
                total += (i is 0 or Points ? 0.5 : 1) * Math.Exp(-clients * scale * scale * w * w / 2) * Math.Pow(sinc, clients) * Math.Cos(w * x);
            }

            return total * step / Math.PI;
        }

        static double Phi(double x) => MathNet.Numerics.Distributions.Normal.CDF(0, 1, x);
    }
}
