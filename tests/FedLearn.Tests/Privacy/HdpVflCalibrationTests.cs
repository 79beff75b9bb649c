using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

public class HdpVflCalibrationTests
{
    private static readonly HdpVflParameters Job = new()
    {
        Family = GlmFamilyKind.Binomial,
        Rows = 569,
        Batches = 5,
        Epochs = 10,
        StepSize = 1,
        L2 = 0.001,
        WeightNorm = 1,
        ResidualClip = 1,
    };

    [Theory]
    [InlineData(Calibration.Tight, PartySide.Passive, 156.4)]
    [InlineData(Calibration.Tight, PartySide.Active, 77.97)]
    [InlineData(Calibration.Paper, PartySide.Passive, 542.5)]
    [InlineData(Calibration.Paper, PartySide.Active, 336.8)]
    public void Calibrate_KnownJob_GivesKnownSigma(Calibration calibration, PartySide side, double sigma)
    {
        PartyCalibration result = HdpVflCalibration.Calibrate(Job, calibration, side, 0.1, 1.0 / 569);
        Assert.Equal(sigma, result.Sigma, sigma * 4e-4);
        Assert.Equal(50, result.Releases);
        Assert.Equal(result.Sensitivity, result.Sigma * result.Mu, 1e-11);
    }

    [Fact]
    public void Calibrate_Slack_IsSelfConsistent()
    {
        PartyCalibration result = HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Passive, 1, 1e-4);
        double step = result.SigmaCharged / INoiseSource.LatticeScale;
        Assert.Equal(step * Math.Sqrt(10 * 569), result.LatticeSlack, 1e-15);
        Assert.Equal(result.SigmaCharged, (result.Sensitivity + result.LatticeSlack + result.ArithmeticSlack) / result.Mu, 1e-11);
        Assert.True(result.SigmaCharged > result.Sigma);
        Assert.InRange(result.ArithmeticSlack, 0, 1e-6);
        Assert.Null(result.ActualDelta);
        Assert.Empty(HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Passive, 1, 1e-4).Warnings);
    }

    [Fact]
    public void Calibrate_PaperAtLargeEpsilon_SaysThatDeltaIsExceeded()
    {
        PartyCalibration result = HdpVflCalibration.Calibrate(Job, Calibration.Paper, PartySide.Active, 10, 1e-2);
        Assert.Equal(0.0406, result.ActualDelta!.Value, 5e-5);
        Assert.Contains(result.Warnings, text => text.Contains("reaches delta 0.0405", StringComparison.Ordinal) || text.Contains("reaches delta 0.0406", StringComparison.Ordinal));
        Assert.Contains(result.Warnings, text => text.Contains("1/569", StringComparison.Ordinal));
        Assert.DoesNotContain(HdpVflCalibration.Calibrate(Job, Calibration.Paper, PartySide.Active, 0.1, 1e-4).Warnings,
            text => text.Contains("above the", StringComparison.Ordinal));
    }

    [Fact]
    public void Calibrate_DeltaAboveOneRow_Warns()
    {
        Assert.Single(HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, 1, 1.01 / 569).Warnings);
        Assert.Empty(HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, 1, 0.99 / 569).Warnings);
    }

    [Theory]
    [InlineData(double.NaN, 1e-5)]
    [InlineData(-1, 1e-5)]
    [InlineData(0, 1e-5)]
    [InlineData(double.PositiveInfinity, 1e-5)]
    [InlineData(1, double.NaN)]
    [InlineData(1, -1e-5)]
    [InlineData(1, 0)]
    public void Calibrate_IllegalBudget_IsAConfigurationError(double epsilon, double delta) => Assert.Equal(PrivacyErrors.InvalidBudget,
        Assert.Throws<ConfigurationException>(() => HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, epsilon, delta)).Id);

    [Theory]
    [InlineData(0.1)]
    [InlineData(0.5)]
    [InlineData(7)]
    public void Calibrate_DeltaOfATenthOrMore_IsRefused(double delta) => Assert.Equal(PrivacyErrors.DeltaTooLarge,
        Assert.Throws<PrivacyRefusedException>(() => HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, 1, delta)).Id);

    [Fact]
    public void Calibrate_BudgetBelowTheLattice_IsRefused() => Assert.Equal(PrivacyErrors.LatticeTooCoarse,
        Assert.Throws<PrivacyRefusedException>(() => HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, 1e-6, 1e-9)).Id);
}
