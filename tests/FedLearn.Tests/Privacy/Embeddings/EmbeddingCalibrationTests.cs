using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

public class EmbeddingCalibrationTests
{
    private const double Delta = 1e-5;

    private static readonly EmbeddingParameters Own = new()
    {
        Claim = EmbeddingClaim.OwnMessages,
        Clip = 0.5,
        Width = 16,
        Epochs = 5,
        Batches = 53,
        BatchSize = 1024,
        HistoryEvents = 50,
        MaxSamplesPerUser = 57,
    };

    private static readonly EmbeddingParameters Full = Own with { Claim = EmbeddingClaim.Full, Gradients = [new("tower", 0.25, 15_616)] };

    // The analytic Gaussian per unit of sensitivity at delta 1e-5 (Balle and Wang, arXiv 1805.06530).
    [Theory]
    [InlineData(1, 3.731)]
    [InlineData(2, 1.994)]
    [InlineData(5, 0.892)]
    [InlineData(10, 0.500)]
    public void Calibrate_OneVisitOfOneSample_GivesTheAnalyticGaussian(double epsilon, double sigma)
    {
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(Own with { Epochs = 1 }, EmbeddingUnit.Sample, epsilon, Delta);
        Assert.Equal(sigma, calibration.Sigma, 5e-4);
        Assert.InRange(calibration.SigmaCharged / calibration.Sigma, 1, 1 + 1e-5);
    }

    // The same noise over five epochs, for one sample and for a user with 57.
    [Theory]
    [InlineData(10, 28.4, 600)]
    [InlineData(5, 13.3, 259)]
    [InlineData(2, 5.0, 71)]
    [InlineData(1, 2.4, 29)]
    public void Figures_NoiseOfOneRelease_GiveTheTotalsOfSampleAndUser(double perRelease, double sample, double user)
    {
        double total = GaussianDp.Epsilon(Math.Sqrt(5) * GaussianDp.Mu(perRelease, Delta), Delta);
        IReadOnlyList<EmbeddingFigure> figures = EmbeddingCalibration.Calibrate(Own, EmbeddingUnit.Sample, total, Delta).Figures(Delta);
        Assert.Equal([EmbeddingUnit.Sample, EmbeddingUnit.Event, EmbeddingUnit.User], figures.Select(f => f.Unit));
        Assert.Equal([1, 51, 57], figures.Select(f => f.Rows!.Value));
        Assert.Equal(sample, figures[0].Epsilon!.Value, 0.05);
        if (perRelease == 10)
            Assert.True(figures[2].Epsilon > user);
        else
            Assert.Equal(user, figures[2].Epsilon!.Value, 0.5);
    }

    [Fact]
    public void Calibrate_OwnMessages_FollowsTheFormulaWithItsSlack()
    {
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(Own, EmbeddingUnit.User, 3, Delta);
        double mu = GaussianDp.Mu(3, Delta), a = 57, e = 5;
        Assert.Equal(1, calibration.Sigma / (Math.Sqrt(a * e) * 2 * 0.5 / mu), 1e-12);
        double step = calibration.SigmaCharged / INoiseSource.LatticeScale;
        double spent = Math.Sqrt(a * e) * (2 * 0.5 + step * Math.Sqrt(16)) / calibration.SigmaCharged;
        Assert.InRange(spent, mu * (1 - 1e-9), mu);
        Assert.Equal((calibration.SigmaCharged, 5 * 53, 0.5, mu), (calibration.MessageNoise.Sigma, calibration.MessageNoise.Releases, calibration.MessageNoise.ValueBound, calibration.MessageNoise.Mu));
        Assert.Empty(calibration.GradientNoise);
    }

    [Fact]
    public void Calibrate_Full_FollowsTheFormulaWithItsSlack()
    {
        EmbeddingParameters p = Full with { MessageShare = 0.7, Gradients = [new("tower", 0.25, 900), new("items", 2, 26_912) { Weight = 3 }] };
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(p, EmbeddingUnit.Event, 3, Delta);
        double mu = GaussianDp.Mu(3, Delta), a = 51, e = 5, b = 1024;
        Assert.Equal(1, calibration.Sigma / (Math.Sqrt(a * e / 0.7) / mu), 1e-12);
        double[] shares = [0.3 * 0.25, 0.3 * 0.75], bounds = [0.25, 2];
        double squares = Math.Pow((1 + 4 * calibration.SigmaCharged / INoiseSource.LatticeScale) / calibration.SigmaCharged, 2) * a * e;
        for (int g = 0; g < 2; g++)
        {
            GradientNoise noise = calibration.GradientNoise[g];
            Assert.Equal(1, noise.Tau / (a * Math.Sqrt(e) * 2 * bounds[g] / (b * mu * Math.Sqrt(shares[g]))), 1e-12);
            Assert.Equal((noise.TauCharged * b, 265, b * bounds[g]), (noise.Noise.Sigma, noise.Noise.Releases, noise.Noise.ValueBound));
            double step = noise.Noise.Sigma / INoiseSource.LatticeScale;
            squares += Math.Pow((a * Math.Sqrt(e) * 2 * bounds[g] + step * Math.Sqrt(a * e * noise.Group.Coordinates)) / noise.Noise.Sigma, 2);
        }

        Assert.InRange(Math.Sqrt(squares), mu * (1 - 1e-8), mu);
        double together = Math.Sqrt(Math.Pow(calibration.MessageNoise.Mu, 2) + calibration.GradientNoise.Sum(g => g.Noise.Mu * g.Noise.Mu));
        Assert.InRange(together, mu * (1 - 1e-12), mu);
    }

    [Theory]
    [InlineData(true, EmbeddingUnit.User, 1)]
    [InlineData(false, EmbeddingUnit.User, 57)]
    [InlineData(false, EmbeddingUnit.Sample, 1)]
    [InlineData(false, EmbeddingUnit.Event, 51)]
    public void Calibrate_OneShot_HasNoEpochs(bool isStatic, EmbeddingUnit unit, int rows)
    {
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(
            new() { Claim = EmbeddingClaim.OneShot, Clip = 0.5, Width = 16, IsStatic = isStatic, HistoryEvents = 50, MaxSamplesPerUser = 57 }, unit, 2, Delta);
        Assert.Equal(1, calibration.Sigma * GaussianDp.Mu(2, Delta) / Math.Sqrt(rows), 1e-12);
        Assert.Equal((rows, 1), (calibration.Rows, calibration.MessageNoise.Releases));
    }

    [Fact]
    public void SquaredCounts_AnyPlacement_IsTheLargestOfAll()
    {
        // Every way to put a rows into batches of at most b, by brute force.
        for (int rows = 1; rows <= 9; rows++)
            for (int size = 1; size <= 10; size++)
                Assert.Equal(3.0 * Placements(rows, size, size).Max(counts => counts.Sum(n => n * n)), EmbeddingCalibration.SquaredCounts(Full with { Epochs = 3, BatchSize = size }, rows));

        static IEnumerable<int[]> Placements(int rows, int most, int size) => rows == 0 ? [[]]
            : Enumerable.Range(1, Math.Min(most, rows)).SelectMany(n => Placements(rows - n, Math.Min(n, size), size).Select(rest => (int[])[n, .. rest]));
    }

    [Fact]
    public void Figures_NotDeclared_HaveNoNumbers()
    {
        EmbeddingParameters p = Own with { HistoryEvents = null, MaxSamplesPerUser = null };
        IReadOnlyList<EmbeddingFigure> figures = EmbeddingCalibration.Calibrate(p, EmbeddingUnit.Sample, 1, Delta).Figures(Delta);
        Assert.All(figures.Skip(1), f => Assert.Equal((null, null, null), (f.Rows, f.Mu, f.Epsilon)));
        Assert.Equal(1, figures[0].Epsilon!.Value, 1e-9);
        Assert.Equal(EmbeddingErrors.HistoryNotDeclared, Refused(p, EmbeddingUnit.Event));
        Assert.Equal(EmbeddingErrors.SamplesNotCapped, Refused(p, EmbeddingUnit.User));
        Assert.Equal(EmbeddingErrors.StaticViewHasUsers, Refused(Own with { IsStatic = true }, EmbeddingUnit.Sample));
        Assert.Equal(EmbeddingErrors.StaticViewHasUsers, Refused(Own with { IsStatic = true }, EmbeddingUnit.Event));
        Assert.Equal([EmbeddingUnit.User], EmbeddingCalibration.Calibrate(Own with { IsStatic = true }, EmbeddingUnit.User, 1, Delta).Figures(Delta).Select(f => f.Unit));

        static string Refused(EmbeddingParameters p, EmbeddingUnit unit) => Assert.Throws<PrivacyRefusedException>(() => EmbeddingCalibration.Calibrate(p, unit, 1, Delta)).Id;
    }

    [Fact]
    public void RowsOf_EventInMoreHistoriesThanAUserHasSamples_IsTheCap() =>
        Assert.Equal(30, (Own with { MaxSamplesPerUser = 30 }).RowsOf(EmbeddingUnit.Event));

    [Fact]
    public void Combined_Parties_AddSquares()
    {
        EmbeddingFigure a = new(EmbeddingUnit.Event, 51, 3, 0, Delta), b = new(EmbeddingUnit.Event, 1, 4, 0, Delta);
        EmbeddingFigure both = EmbeddingFigure.Combined([a, b], Delta);
        Assert.Equal(5, both.Mu!.Value, 1e-14);
        Assert.All((EmbeddingFigure[])[both, EmbeddingFigure.Combined([b, a], Delta)], figure => Assert.Equal(51, figure.Rows));
        Assert.Equal(GaussianDp.Epsilon(both.Mu.Value, Delta), both.Epsilon);
        Assert.Null(EmbeddingFigure.Combined([a, b with { Mu = null }], Delta).Epsilon);
        Assert.Throws<ArgumentException>(() => EmbeddingFigure.Combined([a, b with { Unit = EmbeddingUnit.User }], Delta));
        Assert.Throws<ArgumentException>(() => EmbeddingFigure.Combined([], Delta));
    }

    [Fact]
    public void Calibrate_ChargedEvaluation_AddsAFreshTermForEachRowAndQuery()
    {
        EmbeddingParameters p = Own with { Evaluation = new(2, 4, 7) };
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(p, EmbeddingUnit.User, 3, Delta);
        Assert.Equal(1, calibration.Sigma / (Math.Sqrt(57 * 5 + 2 * 4) / GaussianDp.Mu(3, Delta)), 1e-12);
        Assert.Equal(5 * 53 + 7, calibration.MessageNoise.Releases);
        // A sample is trained on, five times, or evaluated, twice.
        Assert.Equal(calibration.MuOf(EmbeddingUnit.Sample)!.Value, Math.Sqrt(5.0 / (57 * 5 + 8)) * calibration.Mu, 1e-9);
    }

    // An event's rows among the evaluated ones: its own sample, and those in whose history it is, as many as a user has there.
    [Theory]
    [InlineData(EmbeddingUnit.Event, 0, 5 + 2 * 1)]
    [InlineData(EmbeddingUnit.Event, 2, 3 * 5 + 2 * 3)]
    [InlineData(EmbeddingUnit.Event, 9, 10 * 5 + 2 * 4)]
    [InlineData(EmbeddingUnit.Sample, 0, 5)]
    public void Calibrate_ChargedEvaluation_CountsTheRowsOfTheUnit(EmbeddingUnit unit, int history, int visits)
    {
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(Own with { HistoryEvents = history, Evaluation = new(2, 4, 7) }, unit, 3, Delta);
        Assert.Equal(1, calibration.Sigma / (Math.Sqrt(visits) / GaussianDp.Mu(3, Delta)), 1e-12);
        Assert.Equal(calibration.Mu, calibration.MuOf(unit));
    }

    [Fact]
    public void Calibrate_SampleAskedForMoreOftenThanItIsTrainedOn_PaysForTheQueries()
    {
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(Own with { Epochs = 1, Evaluation = new(3, 4, 7) }, EmbeddingUnit.Sample, 3, Delta);
        Assert.Equal(1, calibration.Sigma / (Math.Sqrt(3) / GaussianDp.Mu(3, Delta)), 1e-12);
        Assert.Equal(Math.Sqrt(3.0 / (57 + 3 * 4)), calibration.Mu / calibration.MuOf(EmbeddingUnit.User)!.Value, 1e-6);
    }

    // Rows so wide, and batches so large, that what float64 adds to a clipped row and to a sum of them is above the last digits.
    [Fact]
    public void Calibrate_WideRowsInLargeBatches_ChargesTheRoundings()
    {
        const int width = 1 << 24, coordinates = 1 << 20, b = 1 << 20;
        EmbeddingParameters p = Own with { Claim = EmbeddingClaim.Full, Width = width, Batches = 1, BatchSize = b, Gradients = [new("tower", 0.25, coordinates)] };
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(p, EmbeddingUnit.Sample, 3, Delta);
        double row = 0.5 * (1 + (width + 64) * Math.ScaleB(1, -52)), sum = 0.25 * (1 + (coordinates + 64) * Math.ScaleB(1, -52) + Math.ScaleB(1, 40 - 52));
        NoiseCalibration messages = calibration.MessageNoise, gradients = calibration.GradientNoise[0].Noise;
        double spent = Math.Sqrt(5) * (2 * row / messages.Sigma + Math.Sqrt(width) / INoiseSource.LatticeScale);
        Assert.InRange(spent / messages.Mu, 1 - 1e-12, 1 + 1e-13);
        spent = Math.Sqrt(5) * (2 * sum / gradients.Sigma + Math.Sqrt(coordinates) / INoiseSource.LatticeScale);
        Assert.InRange(spent / gradients.Mu, 1 - 1e-12, 1 + 1e-13);
    }

    [Fact]
    public void ShareOf_Messages_CountsEpochsBegun()
    {
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(Own with { MessagesPerBatch = 3 }, EmbeddingUnit.Sample, 1, Delta);
        Assert.Equal(0, calibration.ShareOf(0));
        Assert.Equal(0.2, calibration.ShareOf(1), 1e-12);
        Assert.Equal(0.2, calibration.ShareOf(159), 1e-12);
        Assert.Equal(0.4, calibration.ShareOf(160), 1e-12);
        Assert.Equal(1, calibration.ShareOf(5 * 159));
        Assert.Equal(1, calibration.ShareOf(5 * 159 + 9));
    }

    [Fact]
    public void Validate_ImpossibleNumbers_AreRefused()
    {
        EmbeddingParameters[] wrong =
        [
            Own with { Clip = 0 }, Own with { Clip = double.NaN }, Own with { Clip = 1e101 }, Own with { Width = 0 }, Own with { Epochs = 0 }, Own with { Batches = 0 },
            Own with { Epochs = 100_000, Batches = 100_000 }, Own with { BatchSize = 0 }, Own with { MessagesPerBatch = 0 }, Own with { HistoryEvents = -1 }, Own with { MaxSamplesPerUser = 0 },
            Own with { Evaluation = new(0, 1, 1) }, Own with { Evaluation = new(1, 0, 1) }, Own with { Evaluation = new(1, 1, 0) }, Own with { Claim = EmbeddingClaim.OneShot },
            Own with { Gradients = [new("tower", 1, 1)] }, Full with { Gradients = [new("tower", 0, 1)] }, Full with { Gradients = [new("tower", 1, 0)] },
            Full with { Gradients = [new("tower", 1, 1) { Weight = 0 }] },
        ];
        Assert.All(wrong, p => Assert.Equal(EmbeddingErrors.InvalidEmbeddings, Assert.Throws<ConfigurationException>(p.Validate).Id));
        Assert.Equal(PrivacyErrors.InvalidShare, Assert.Throws<ConfigurationException>((Own with { MessageShare = 1 }).Validate).Id);
        Assert.Equal(PrivacyErrors.LatticeTooCoarse, Assert.Throws<PrivacyRefusedException>(
            () => EmbeddingCalibration.Calibrate(Full with { Gradients = [new("tower", 1, 1_000_000_000_000)] }, EmbeddingUnit.User, 0.01, 1e-12)).Id);
    }

    [Fact]
    public void MuOf_MoreRowsVisitsOrClip_NeverCostsLess()
    {
        Gen<EmbeddingParameters> parameters =
            from full in Gen.Elements(false, true)
            from epochs in Gen.Choose(1, 20)
            from batches in Gen.Choose(1, 100)
            from size in Gen.Choose(1, 200)
            from width in Gen.Choose(1, 256)
            from h in Gen.Choose(0, 300)
            from m in Gen.Choose(1, 300)
            select (full ? Full : Own) with { Epochs = epochs, Batches = batches, BatchSize = size, Width = width, HistoryEvents = h, MaxSamplesPerUser = m };
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(300)), Prop.ForAll(parameters.ToArbitrary(), p =>
        {
            EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(p, EmbeddingUnit.Sample, 2, Delta);
            double sample = calibration.MuOf(EmbeddingUnit.Sample)!.Value, events = calibration.MuOf(EmbeddingUnit.Event)!.Value, user = calibration.MuOf(EmbeddingUnit.User)!.Value;
            Assert.True(sample <= events * (1 + 1e-9) && events <= user * (1 + 1e-9));
            // The noise that a unit needs keeps its budget, and more is needed for more epochs, rows and privacy.
            foreach (EmbeddingUnit unit in p.Units)
            {
                EmbeddingCalibration own = EmbeddingCalibration.Calibrate(p, unit, 2, Delta);
                Assert.Equal(2, own.Figures(Delta).Single(f => f.Unit == unit).Epsilon!.Value, 1e-9);
                Assert.True(own.SigmaCharged >= calibration.SigmaCharged);
                Assert.True(EmbeddingCalibration.Calibrate(p with { Epochs = p.Epochs + 1 }, unit, 2, Delta).SigmaCharged > own.SigmaCharged);
                Assert.True(EmbeddingCalibration.Calibrate(p, unit, 1, Delta).SigmaCharged > own.SigmaCharged);
                Assert.True(EmbeddingCalibration.Calibrate(p, unit, 2, 1e-6).SigmaCharged > own.SigmaCharged);
            }
        }));
    }

    [Fact]
    public void Histogram_Counts_MoveByTheRootOfTwoForAnEventAndMForAUser()
    {
        HistogramCalibration sample = HistogramCalibration.Calibrate(EmbeddingUnit.Sample, null, 53_491, 1, Delta), user = HistogramCalibration.Calibrate(EmbeddingUnit.User, 57, 53_491, 1, Delta);
        Assert.Equal(Math.Sqrt(2) * 3.731, sample.Noise.Sigma, 1e-3);
        Assert.Equal(57, user.Noise.Sigma / sample.Noise.Sigma, 1e-3);
        Assert.Equal((1, 53_491.0), (user.Noise.Releases, user.Noise.ValueBound));
        Assert.InRange(user.Sensitivity / (Math.Sqrt(2) * 57), 1, 1 + 1e-5);
        Assert.Equal(EmbeddingErrors.SamplesNotCapped, Assert.Throws<PrivacyRefusedException>(() => HistogramCalibration.Calibrate(EmbeddingUnit.User, null, 10, 1, Delta)).Id);
    }
}
