using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

public class OneRoundCalibrationTests
{
    private static OneRoundParameters Binary(int rows, double epsilon = 1, double rate = .24) =>
        new() { Rows = rows, Columns = [OneRoundColumn.OfClass(new RandomizedResponse(epsilon), rate)] };

    [Fact]
    public void Parameters_Binary_AreTheFormulas()
    {
        double p = 1 / (1 + Math.E), v = .75 * .24 * .76, c = Math.Max(Math.Abs((1 - p) / (1 - 2 * p) - .24), Math.Abs(p / (1 - 2 * p) + .24)) / v;
        OneRoundParameters parameters = Binary(30_852);
        Assert.Equal(v, parameters.Columns[0].Scale, 1e-12);
        Assert.Equal(c, parameters.Columns[0].TargetBound, 1e-12);
        double l2 = Math.Max(Math.Pow((4 + c) / 2, 2), (p * (1 - p) / Math.Pow(1 - 2 * p, 2) + .15) / (2 * v * v)) / 30_852;
        Assert.Equal(l2, parameters.L2(0), 1e-15);
        Assert.Equal(4, parameters.OwnTerm);
        Assert.Equal((4 + c) / Math.Sqrt(l2 * 30_852), parameters.DriftTerm, 1e-12);
        Assert.Equal(Math.Sqrt(20), parameters.Sensitivity, 1e-12);
        Assert.Equal(2 * Math.Sqrt(30_852) * parameters.Tolerance(0) / l2, parameters.SolverSlack, 1e-12);
        Assert.Equal(2 * (4 + c) / (l2 * 30_852) + 2 * parameters.Tolerance(0) / l2, parameters.WeightSensitivity, 1e-12);
    }

    [Fact]
    public void Calibrate_Sigma_PaysForEverySlackAndNoMore()
    {
        foreach ((int rows, int columns) in ((int, int)[])[(50, 1), (3_000, 1), (3_000, 4), (100_000, 1), (1_000_000, 1), (1_000_000, 4)])
        {
            OneRoundParameters binary = Binary(rows);
            OneRoundCalibration calibration = OneRoundCalibration.Calibrate(binary with { Columns = [.. Enumerable.Repeat(binary.Columns[0], columns)] }, 1, 1e-2);
            OneRoundParameters p = calibration.Parameters;
            double gamma = calibration.SigmaCharged / INoiseSource.LatticeScale, all = p.Sensitivity + p.SolverSlack + p.ArithmeticSlack + gamma * Math.Sqrt((double)rows * columns);
            Assert.InRange(calibration.SigmaCharged, all / calibration.Mu * (1 - 1e-13), all / calibration.Mu * (1 + 1e-12));
            Assert.InRange(calibration.SigmaCharged / calibration.Sigma, 1, 1.002);
            Assert.Equal(GaussianDp.Mu(1, 1e-2), calibration.Mu);
            Assert.Equal(2, calibration.ScoreNoise.ValueBound);
        }
    }

    // Eight chains of d/8 products each and 20 roundings more, of weights that may be five times as long as a row is: in both tables, for n rows.
    [Fact]
    public void ArithmeticSlack_WideTable_IsNoLessThanTheRoundings()
    {
        const double u = 1.0 / (1L << 53);
        OneRoundParameters p = Binary(100_000) with { RowNorm = 1.5, MaxColumns = 1 << 20 };
        double least = 2 * Math.Sqrt(100_000) * 5 * ((1 << 20) / 8.0 + 20) * u * 1.5 * p.WeightBound(0);
        Assert.InRange(p.ArithmeticSlack, least, least * (1 + 1e-12));
    }

    [Fact]
    public void Calibrate_WithAShareForWeights_AddsUpToTheSameMu()
    {
        OneRoundCalibration calibration = OneRoundCalibration.Calibrate(Binary(5_000), 1, 1e-3, .2);
        NoiseCalibration weights = calibration.WeightNoise!;
        Assert.Equal(calibration.Mu * calibration.Mu, weights.Mu * weights.Mu + calibration.ScoreNoise.Mu * calibration.ScoreNoise.Mu, 1e-14);
        Assert.Equal(.2, weights.Mu * weights.Mu / (calibration.Mu * calibration.Mu), 1e-12);
        Assert.InRange(weights.Sigma * weights.Mu / calibration.Parameters.WeightSensitivity, 1, 1 + 1e-4);
        Assert.Null(OneRoundCalibration.Calibrate(Binary(5_000), 1, 1e-3).WeightNoise);
        // One bound for the weights of every column, wherever the widest stands.
        OneRoundColumn narrow = Binary(5_000).Columns[0], wide = narrow with { TargetBound = 10 * narrow.TargetBound, LabelVariance = narrow.LabelVariance / 100 };
        foreach (OneRoundColumn[] columns in (OneRoundColumn[][])[[narrow, wide], [wide, narrow]])
        {
            OneRoundParameters several = Binary(5_000) with { Columns = columns };
            Assert.Equal(Math.Max(several.WeightBound(0), several.WeightBound(1)), OneRoundCalibration.Calibrate(several, 1, 1e-3, .2).WeightNoise!.ValueBound);
            Assert.NotEqual(several.WeightBound(0), several.WeightBound(1));
        }
    }

    [Fact]
    public void Parameters_SeveralClasses_PayForAllColumnsTogether()
    {
        var response = new RandomizedResponse(1, 4);
        OneRoundColumn column = OneRoundColumn.OfClass(response, .25);
        OneRoundParameters one = new() { Rows = 10_000, Columns = [column] }, four = one with { Columns = [column, column, column, column] };
        Assert.Equal(8, four.OwnTerm);                                                      // min(2 rho, 2 ks sqrt 4), rho = 4
        Assert.Equal(2 * one.DriftTerm, four.DriftTerm, 1e-12);
        Assert.Equal(2 * 2 * Math.Sqrt(3), (four with { Columns = [column, column, column] }).OwnTerm, 1e-12);
        // The noise of one column on each of four would be a delta of .15 in place of .01.
        double sigma = OneRoundCalibration.Calibrate(one, 1, 1e-2).SigmaCharged;
        Assert.InRange(GaussianDp.Delta(four.Sensitivity / sigma, 1), .12, .18);
        Assert.InRange(GaussianDp.Delta(four.Sensitivity / OneRoundCalibration.Calibrate(four, 1, 1e-2).SigmaCharged, 1), 0, 1e-2);
        OneRoundColumn binary = OneRoundColumn.OfClass(new RandomizedResponse(1), .3);
        Assert.Equal(binary, OneRoundColumn.OfClass(new RandomizedResponse(1, 2), .3));
    }

    [Fact]
    public void Columns_FromReleasedLabels_TakeTheirCentreFromThemAlone()
    {
        var response = new RandomizedResponse(2);
        byte[] bits = [.. Enumerable.Range(0, 1000).Select(i => (byte)(i < 400 ? 1 : 0))];
        Assert.Equal(Math.Round((.4 - response.OtherProbability) / response.Gap, 2), OneRoundColumn.ShareOf(response, bits), 1e-12);
        Assert.Equal(.01, OneRoundColumn.ShareOf(response, new byte[10]));
        Assert.Equal(.99, OneRoundColumn.ShareOf(response, [1, 1, 1]));
        Assert.Equal(2.5, OneRoundColumn.CenterOf(0, 10, [-100, 105, 2.52]), 1e-12);
        Assert.Equal(0, OneRoundColumn.CenterOf(0, 10, [-100, 5]));
        Assert.Equal("labels", Assert.Throws<ArgumentException>(() => OneRoundColumn.ShareOf(response, [])).ParamName);
        Assert.Equal("labels", Assert.Throws<ArgumentException>(() => OneRoundColumn.CenterOf(0, 10, [])).ParamName);
        OneRoundColumn column = OneRoundColumn.OfRange(0, 10, 8, 2.5);
        Assert.Equal((10 + 24) / 2.5, column.TargetBound, 1e-12);
        Assert.Equal(column.TargetBound, column.Target(1e9));
        Assert.Equal(.6, column.Target(4), 1e-12);
    }

    [Fact]
    public void Parameters_NotLegal_AreRefused()
    {
        OneRoundParameters good = Binary(100);
        foreach (OneRoundParameters bad in (OneRoundParameters[])[good with { Rows = 0 }, good with { Columns = [] }, good with { RowNorm = 0 }, good with { Alpha = double.NaN },
            good with { ScoreClip = -1 }, good with { ScoreClip = 5 }, good with { GradientClip = double.PositiveInfinity }, good with { Columns = [new(0, 0, 1, 1)] }])
            Assert.Throws<ConfigurationException>(() => OneRoundCalibration.Calibrate(bad, 1, 1e-3));
        Assert.Throws<ConfigurationException>(() => OneRoundCalibration.Calibrate(good, 1, 0));
        Assert.Throws<ConfigurationException>(() => OneRoundCalibration.Calibrate(good, 1, 1e-3, 1));
        Assert.Throws<ConfigurationException>(() => OneRoundColumn.OfClass(new RandomizedResponse(1), 1));
        Assert.Throws<ConfigurationException>(() => OneRoundColumn.OfRange(0, 1, 1, 2));
        Assert.Equal(PrivacyErrors.DeltaTooLarge, Assert.Throws<PrivacyRefusedException>(() => OneRoundCalibration.Calibrate(good, 1, .1)).Id);
        Assert.Equal(OneRoundErrors.SlackTooLarge, Assert.Throws<PrivacyRefusedException>(() => OneRoundCalibration.Calibrate(
            Binary(2_000_000_000, .1) with { MaxColumns = int.MaxValue }, 1, 1e-3)).Id);
        Assert.NotEmpty(OneRoundCalibration.Calibrate(good, 1, .05).Warnings);
    }
}
