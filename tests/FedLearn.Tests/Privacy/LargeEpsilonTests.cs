using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

public class LargeEpsilonTests
{
    // Phi(mu/2), from tables of the normal distribution.
    [Theory]
    [InlineData(0, .5)]
    [InlineData(1, .6914624612740131)]
    [InlineData(2, .8413447460685429)]
    [InlineData(6, .9986501019683699)]
    public void BestGuess_KnownMu_IsTheNormalDistribution(double mu, double probability) => Assert.Equal(probability, LargeEpsilon.BestGuess(mu), 1e-12);

    [Fact]
    public void BestGuess_PureEpsilon_IsAtLeastTheOddsOfRandomisedResponse()
    {
        foreach (double epsilon in (double[])[.1, 1, 5, 12])
            Assert.InRange(LargeEpsilon.BestGuess(GaussianDp.MuOfPure(epsilon)), 1 / (1 + Math.Exp(-epsilon)) * (1 - 1e-12), 1 / (1 + Math.Exp(-epsilon)) * (1 + 1e-9));
    }

    [Fact]
    public void Warnings_GuessInFourDigits_IsNeverBelowTheTruth() => Assert.All(Enumerable.Range(8, 16).Select(quarters => quarters / 4.0), mu =>
        Assert.InRange(double.Parse(LargeEpsilon.Warnings(11, mu).Single().Split(' ')[^1].TrimEnd('.'), System.Globalization.CultureInfo.InvariantCulture) - LargeEpsilon.BestGuess(mu), 0, 1e-4));

    [Theory]
    [InlineData(10, false)]
    [InlineData(10.5, true)]
    [InlineData(1_000, true)]
    public void Warnings_AboveTen_NameEpsilonAndTheGuess(double epsilon, bool warned)
    {
        double mu = GaussianDp.Mu(epsilon, 1e-5);
        string[] warnings = [.. LargeEpsilon.Warnings(epsilon, mu)];
        Assert.Equal(warned ? 1 : 0, warnings.Length);
        if (!warned)
            return;
        Assert.StartsWith(FormattableString.Invariant($"epsilon {epsilon} is above 10"), warnings[0], StringComparison.Ordinal);
        string probability = warnings[0].Split(' ')[^1].TrimEnd('.');
        if (epsilon > 100)
            Assert.EndsWith("up to 1, in four digits.", warnings[0], StringComparison.Ordinal);
        else
            Assert.InRange(double.Parse(probability, System.Globalization.CultureInfo.InvariantCulture) - LargeEpsilon.BestGuess(mu), 0, 1e-4);
    }

    [Theory]
    [InlineData(Calibration.Tight)]
    [InlineData(Calibration.Paper)]
    [InlineData(Calibration.WeightNoise)]
    public void Calibrate_HdpVfl_WarnsOfALargeEpsilonOnly(Calibration calibration)
    {
        Assert.True(Warns(HdpVflCalibration.Calibrate(HdpVflCalibrationTests.Job, calibration, PartySide.Active, 50, 1e-5).Warnings));
        Assert.False(Warns(HdpVflCalibration.Calibrate(HdpVflCalibrationTests.Job, calibration, PartySide.Active, 5, 1e-5).Warnings));
    }

    [Fact]
    public void Calibrate_OneRound_WarnsOfALargeEpsilonOnly()
    {
        OneRoundParameters job = new() { Rows = 1_000, Columns = [OneRoundColumn.OfClass(new RandomizedResponse(1), .24)] };
        Assert.True(Warns(OneRoundCalibration.Calibrate(job, 50, 1e-5).Warnings));
        Assert.False(Warns(OneRoundCalibration.Calibrate(job, 5, 1e-5).Warnings));
    }

    private static bool Warns(IEnumerable<string> warnings) => warnings.Any(w => w.StartsWith("epsilon 50 is above 10", StringComparison.Ordinal));
}
