using System.Text.Json;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

public class PldAccountantTests
{
    [Fact]
    public void Epsilon_OracleRows_LieBetweenTheirBounds()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("pld_subsampled_gaussian").EnumerateArray())
        {
            PldResult actual = Outside(row.Number("q"), row.Number("sigma"), row.Integer("T")).Epsilon(row.Number("delta"));
            double upper = row.Number("eps_upper");
            Assert.InRange(actual.Upper, row.Number("eps_lower"), upper + 1e-4);
            // The oracle's estimate is known to 1e-6.
            AssertAround(row.Number("eps_est"), actual.Lower, actual.Upper, 1e-6);
            Assert.InRange(actual.Upper - actual.Lower, 0, 1e-4);
            Assert.InRange(actual.Estimate, actual.Lower, actual.Upper);
            foreach ((string direction, PldBounds bounds) in (ReadOnlySpan<(string, PldBounds)>)[("remove", actual.Remove), ("add", actual.Add)])
                if (row.TryGetProperty(direction, out JsonElement one))
                    AssertAround(one.Number("eps_est_prv"), bounds.Lower, bounds.Upper, 2e-6);
        }
    }

    [Fact]
    public void Epsilon_OpacusTestCase_CentralLimitFigureUnderReports()
    {
        PldResult actual = Outside(0.04, 1.5, 2249).Epsilon(1e-5);
        // Independent bounds, the upper one by the same method as here: 6.76623 and 6.76704.
        Assert.InRange(actual.Upper, 6.76623, 6.76704 + 1e-4);
        AssertAround(6.76704, actual.Lower, actual.Upper, 1e-5);

        // The central-limit figure of Gaussian-DP accountants lies .17 below what is proved to be lost.
        double mu = 0.04 * Math.Sqrt(2249 * (Math.Exp(1 / (1.5 * 1.5)) - 1)), limit = GaussianDp.Epsilon(mu, 1e-5);
        Assert.InRange(limit, 6.59, 6.60);
        Assert.InRange(actual.Lower - limit, 0.16, 0.18);

        // Renyi accounting is safe, and loose.
        Assert.InRange(RenyiDp.EpsilonOfSubsampledGaussian(SampleVisibility.HiddenFromObserver, 1e-5, new SubsampledGaussian(0.04, 1.5, 2250)).Epsilon, 7.32, 7.34);
    }

    // One step has a closed form: at loss e the mixture exceeds e^e N(0, 1) from z on, where 1 - q + q e^(mz - m^2/2) = e^e.
    [Theory]
    [InlineData(0.5, 0.5, 2)]
    [InlineData(0.01, 1, 0.1)]
    [InlineData(0.001, 20, 0.00005)]
    [InlineData(0.99, 3, 0.5)]
    public void Delta_OneStep_IsTheClosedForm(double q, double sigma, double epsilon)
    {
        double m = 1 / sigma, e = Math.Exp(epsilon), z = Math.Log((e - 1 + q) / q) / m + m / 2;
        double remove = q * Upper(z - m) - (e - 1 + q) * Upper(z);
        PldResult actual = Outside(q, sigma, 1).Delta(epsilon);
        AssertAround(remove, actual.Remove.Lower, actual.Remove.Upper, remove * 1e-10);
        Assert.InRange(actual.Remove.Upper / actual.Remove.Lower, 1, 1.002);

        // Adding: N(0, 1) exceeds e^e times the mixture below z, if anywhere.
        double rest = Math.Exp(-epsilon) - 1 + q, add = 0;
        if (rest > 0)
        {
            double below = Math.Log(rest / q) / m + m / 2;
            add = (1 - e * (1 - q)) * Upper(-below) - e * q * Upper(m - below);
        }

        AssertAround(add, actual.Add.Lower, actual.Add.Upper, 1e-15 + add * 1e-10);
        static double Upper(double x) => GaussianTail(x);
    }

    // Without sampling the composition is Gaussian with mu = sqrt(T)/sigma; sampling almost surely must come close to it from below.
    [Theory]
    [InlineData(20, 100, 1e-5)]
    [InlineData(50, 2_000, 1e-9)]
    public void Epsilon_HardlySampled_IsNearGaussian(double sigma, int steps, double delta)
    {
        double exact = GaussianDp.Epsilon(Math.Sqrt(steps) / sigma, delta);
        PldResult gaussian = new PldAccountant(SampleVisibility.SeenByObserver, new SubsampledGaussian(1, sigma, steps)).Epsilon(delta);
        Assert.Equal(1, gaussian.Upper / exact, 1e-12);
        Assert.True(gaussian.Upper >= exact * (1 - 1e-14) && gaussian.Lower <= exact);

        PldResult sampled = Outside(1 - 1e-6, sigma, steps).Epsilon(delta);
        Assert.InRange(sampled.Upper, exact * (1 - 1e-4), exact + 1e-4 * Math.Max(1, exact));
        Assert.True(sampled.Lower <= exact && sampled.Upper - sampled.Lower <= 1e-4 * Math.Max(1, exact));
    }

    [Fact]
    public void Epsilon_AnyParameters_MonotoneAndConsistent()
    {
        Arbitrary<(double Q, double Sigma, int Steps, double Delta)> cases = (
            from q in Gen.Choose(-1500, -300)
            from sigma in Gen.Choose(150, 1000)
            from steps in Gen.Choose(500, 2000)
            from delta in Gen.Choose(-9000, -3000)
            select (Power(q), Power(sigma), (int)Power(steps), Power(delta))).ToArbitrary();
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(3)), Prop.ForAll(cases, point =>
        {
            (double q, double sigma, int steps, double delta) = point;
            PldResult here = Outside(q, sigma, steps).Epsilon(delta);
            Assert.True(here.Lower <= here.Upper && here.Upper - here.Lower <= 1e-4 * Math.Max(1, here.Upper));
            Assert.True(here.Lower <= Outside(q, sigma, 2 * steps).Epsilon(delta).Upper, "more steps cost more");
            Assert.True(here.Lower <= Outside(q, sigma, steps).Epsilon(delta / 2).Upper, "a smaller delta costs more");
            Assert.True(here.Lower <= Outside(q, sigma * 0.8, steps).Epsilon(delta).Upper, "less noise costs more");
            Assert.True(here.Lower <= Outside(Math.Min(1, 1.2 * q), sigma, steps).Epsilon(delta).Upper, "a higher rate costs more");
            Assert.True(here.Lower <= GaussianDp.Epsilon(Math.Sqrt(steps) / sigma, delta), "sampling does not harm");
            Assert.True(here.Lower <= RenyiDp.EpsilonOfSubsampledGaussian(SampleVisibility.HiddenFromObserver, delta, new SubsampledGaussian(q, sigma, steps)).Epsilon);

            // There and back: the bounds of delta at either bound of epsilon enclose the delta asked for.
            if (here.Lower > 0)
            {
                Assert.True(Outside(q, sigma, steps).Delta(here.Upper).Lower <= delta);
                Assert.True(Outside(q, sigma, steps).Delta(here.Lower).Upper >= delta);
            }
        }));
    }

    [Theory]
    [InlineData(0.01, 4, 20_000, 1e-12)]
    [InlineData(1e-6, 1, 100_000, 1e-3)]
    [InlineData(0.5, 20, 500, 1e-60)]
    public void Epsilon_ExtremeParameters_GapStaysSmall(double q, double sigma, int steps, double delta)
    {
        PldResult actual = Outside(q, sigma, steps).Epsilon(delta);
        Assert.InRange(actual.Upper - actual.Lower, 0, 2e-4 * Math.Max(1, actual.Upper));
        Assert.True(actual.Upper <= GaussianDp.Epsilon(Math.Sqrt(steps) / sigma, delta));
    }

    /// <summary>1 - (1 - q)^T is q for one step; below 0 nothing is claimed beside delta.</summary>
    [Theory]
    [InlineData(1e-4, .03, 1, 1e-3)]
    [InlineData(1e-4, .03, 1, 1.0001e-4)]
    [InlineData(.5, .02, 3, .8751)]
    public void Epsilon_RecordHardlyEverSampled_IsZero(double q, double sigma, int steps, double delta)
    {
        Assert.Equal(new PldBounds(0, 0, 0), Outside(q, sigma, steps).Epsilon(delta).Remove);
        Assert.Equal(0, Outside(q, sigma, steps).Epsilon(delta).Upper);
        var often = new PldAccountant(SampleVisibility.HiddenFromObserver, new SubsampledGaussian(q, sigma, steps), new SubsampledGaussian(1, 10, 1));
        Assert.True(often.Epsilon(1e-3).Upper >= GaussianDp.Epsilon(.1, 1e-3) * (1 - 1e-9));
    }

    /// <summary>Losses beyond the grid: the truth of removing a record in one step is 1398.94.</summary>
    [Fact]
    public void Epsilon_LossesBeyondTheGrid_AreBoundedByThoseWithoutSampling()
    {
        PldResult actual = Outside(.01, .02, 1).Epsilon(1e-5);
        AssertAround(1398.94, actual.Remove.Lower, actual.Remove.Upper, 5e-3);
        double unsampled = GaussianDp.Epsilon(50, 1e-5);
        Assert.InRange(actual.Upper, 1398.93, unsampled * (1 + 1e-12));
        Assert.Equal(1462.29, unsampled, 5e-3);
        Assert.InRange(actual.Estimate, actual.Lower, actual.Upper);
    }

    [Fact]
    public void Epsilon_SeveralPhases_OrderDoesNotMatterAndEqualPhasesMerge()
    {
        SubsampledGaussian early = new(0.02, 1, 200), late = new(0.01, 1.5, 300);
        PldResult one = new PldAccountant(SampleVisibility.HiddenFromObserver, early, late).Epsilon(1e-5);
        PldResult other = new PldAccountant(SampleVisibility.HiddenFromObserver, late, early).Epsilon(1e-5);
        AssertAround(one.Estimate, other.Lower, other.Upper, 0);
        Assert.InRange(one.Upper - one.Lower, 0, 1e-4);
        Assert.True(one.Upper > Outside(0.02, 1, 200).Epsilon(1e-5).Lower);

        PldResult whole = Outside(0.02, 1, 500).Epsilon(1e-5), split =
            new PldAccountant(SampleVisibility.HiddenFromObserver, new SubsampledGaussian(0.02, 1, 499), new SubsampledGaussian(0.02, 1, 1)).Epsilon(1e-5);
        AssertAround(whole.Estimate, split.Lower, split.Upper, 0);

        // With an unsampled phase among them there is no closed form either.
        PldResult mixed = new PldAccountant(SampleVisibility.HiddenFromObserver, early, new SubsampledGaussian(1, 10, 1)).Epsilon(1e-5);
        Assert.InRange(mixed.Upper - mixed.Lower, 0, 1e-4);
        Assert.True(mixed.Lower > GaussianDp.Epsilon(0.1, 1e-5));
    }

    [Fact]
    public void PldResult_OfBothDirections_HasTheLargerBounds()
    {
        PldBounds small = new(1, 2, 3), large = new(4, 5, 6);
        Assert.All((PldResult[])[new(small, large), new(large, small)], both => Assert.Equal((4, 5, 6), (both.Lower, both.Estimate, both.Upper)));
    }

    [Fact]
    public void PldAccountant_SampleSeenByObserver_IsRefused()
    {
        var phase = new SubsampledGaussian(0.01, 1, 100);
        foreach (SampleVisibility visibility in (SampleVisibility[])[SampleVisibility.SeenByObserver, default, (SampleVisibility)7])
        {
            var refused = Assert.Throws<PrivacyRefusedException>(() => new PldAccountant(visibility, phase));
            Assert.Equal((PrivacyErrors.SampleIsSeen, 5), (refused.Id, refused.ExitCode));
            Assert.Contains("GaussianDp", refused.Remedy, StringComparison.Ordinal);
            Assert.Equal(PrivacyErrors.SampleIsSeen, Assert.Throws<PrivacyRefusedException>(() => RenyiDp.OfSubsampledGaussian(visibility, phase, 8)).Id);
            // However few are left out.
            Assert.Throws<PrivacyRefusedException>(() => new PldAccountant(visibility, phase with { SamplingRate = Math.BitDecrement(1.0) }));
        }
    }

    [Theory]
    [InlineData(PrivacyErrors.InvalidSamplingRate, 0, 1, 1)]
    [InlineData(PrivacyErrors.InvalidSamplingRate, 1.01, 1, 1)]
    [InlineData(PrivacyErrors.InvalidSamplingRate, -0.1, 1, 1)]
    [InlineData(PrivacyErrors.InvalidSamplingRate, double.NaN, 1, 1)]
    [InlineData(PrivacyErrors.InvalidNumber, 0.1, 0, 1)]
    [InlineData(PrivacyErrors.InvalidNumber, 0.1, double.NaN, 1)]
    [InlineData(PrivacyErrors.InvalidNumber, 0.1, double.PositiveInfinity, 1)]
    [InlineData(PrivacyErrors.InvalidSteps, 0.1, 1, 0)]
    [InlineData(PrivacyErrors.InvalidSteps, 0.1, 1, -5)]
    [InlineData(PrivacyErrors.BeyondAccountant, 0.1, 0.001, 1)]
    [InlineData(PrivacyErrors.BeyondAccountant, 1e-12, 1, 1)]
    public void PldAccountant_IllegalPhase_IsRefused(string id, double q, double sigma, int steps) =>
        Assert.Equal(id, Assert.Throws<ConfigurationException>(() => Outside(q, sigma, steps)).Id);

    [Fact]
    public void PldAccountant_IllegalQuery_IsRefused()
    {
        PldAccountant accountant = Outside(0.1, 1, 10);
        foreach (double delta in (double[])[0, 1, -1, double.NaN, double.PositiveInfinity])
            Assert.Equal(PrivacyErrors.InvalidBudget, Assert.Throws<ConfigurationException>(() => accountant.Epsilon(delta)).Id);
        foreach (double epsilon in (double[])[-1, double.NaN, double.PositiveInfinity])
            Assert.Equal(PrivacyErrors.InvalidBudget, Assert.Throws<ConfigurationException>(() => accountant.Delta(epsilon)).Id);
        Assert.Equal(PrivacyErrors.BeyondAccountant, Assert.Throws<ConfigurationException>(() => accountant.Epsilon(1e-101)).Id);
        Assert.Equal(PrivacyErrors.InvalidSteps, Assert.Throws<ConfigurationException>(() => new PldAccountant(SampleVisibility.HiddenFromObserver)).Id);
    }

    private static PldAccountant Outside(double q, double sigma, int steps) => new(SampleVisibility.HiddenFromObserver, new SubsampledGaussian(q, sigma, steps));

    private static double Power(int thousandths) => Math.Pow(10, thousandths / 1000.0);

    private static void AssertAround(double truth, double lower, double upper, double error)
    {
        Assert.True(lower <= truth + error, $"{lower:R} is above {truth:R}");
        Assert.True(upper >= truth - error, $"{upper:R} is below {truth:R}");
    }

    /// <summary>Phi(-x), by the trapezoidal rule on the integral of the density.</summary>
    private static double GaussianTail(double x)
    {
        if (x < 0)
            return 1 - GaussianTail(-x);
        double sum = Math.Exp(-x * x / 2) / 2;
        // Euler-Maclaurin's first correction makes the rule exact to the fourth order of the step.
        const double step = 1e-3;
        for (double t = x + step; t < x + 15; t += step)
            sum += Math.Exp(-t * t / 2);
        return (sum * step - x * Math.Exp(-x * x / 2) * step * step / 12) / Math.Sqrt(2 * Math.PI);
    }
}
