using System.Text.Json;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

public class RenyiDpTests
{
    [Fact]
    public void Epsilon_OracleRows_AgreeAndNeverFallBelow()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("rdp_to_eps").EnumerateArray())
        {
            double delta = row.Number("delta"), mu = Math.Sqrt(row.Integer("T")) / row.Number("sigma");
            foreach (JsonElement at in row.GetProperty("at_alpha").EnumerateArray())
            {
                double alpha = at.Number("alpha"), divergence = RenyiDp.OfGaussian(mu, alpha);
                AssertUpper(at.Number("classic"), RenyiDp.ClassicEpsilon(divergence, alpha, delta));
                AssertUpper(Math.Max(0, at.Number("improved")), RenyiDp.Epsilon(divergence, alpha, delta));
            }

            AssertUpper(row.Number("classic_opt"), RenyiDp.EpsilonOfRho(RenyiDp.Rho(mu), delta));
            RenyiEpsilon best = RenyiDp.EpsilonOfGaussian(mu, delta);
            AssertUpper(row.Number("improved_opt"), best.Epsilon);
            Assert.Equal(1, best.Alpha / row.Number("improved_opt_alpha"), 1e-6);
            Assert.True(best.Epsilon > row.Number("gdp_exact_eps"));
        }
    }

    [Fact]
    public void OfSubsampledGaussian_OracleRows_AgreeAndNeverFallBelow()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("subsampled_gaussian_rdp_integer").EnumerateArray())
            AssertUpper(row.Number("rdp"), Divergence(row.Number("q"), row.Number("sigma"), 1, row.Integer("alpha")));
    }

    [Fact]
    public void EpsilonOfGaussian_AnyRelease_IsAboveTheTruthAndOptimal()
    {
        Arbitrary<(double Mu, double Delta)> cases = (
            from mu in Gen.Choose(-4000, 1000)
            from delta in Gen.Choose(-12_000, -1000)
            select (Math.Pow(10, mu / 1000.0), Math.Pow(10, delta / 1000.0))).ToArbitrary();
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(200)), Prop.ForAll(cases, point =>
        {
            (double mu, double delta) = point;
            RenyiEpsilon best = RenyiDp.EpsilonOfGaussian(mu, delta);
            Assert.True(best.Epsilon >= GaussianDp.Epsilon(mu, delta) * (1 - 1e-12));
            Assert.True(best.Epsilon <= RenyiDp.EpsilonOfRho(RenyiDp.Rho(mu), delta));
            foreach (double factor in (double[])[0.5, 0.9, 1.1, 2])
            {
                double alpha = 1 + (best.Alpha - 1) * factor;
                Assert.True(best.Epsilon <= RenyiDp.Epsilon(RenyiDp.OfGaussian(mu, alpha), alpha, delta) * (1 + 1e-12));
                Assert.True(RenyiDp.Epsilon(RenyiDp.OfGaussian(mu, alpha), alpha, delta) <= RenyiDp.ClassicEpsilon(RenyiDp.OfGaussian(mu, alpha), alpha, delta) * (1 + 1e-12) || delta > 0.3);
            }
        }));
    }

    // The divergence as an integral over z: the slow, obvious form.
    [Theory]
    [InlineData(0.1, 1, 3)]
    [InlineData(0.001, 2, 2)]
    [InlineData(0.5, 0.8, 12)]
    [InlineData(0.01, 4, 64)]
    [InlineData(1, 2, 5)]
    public void OfSubsampledGaussian_Integral_Agrees(double q, double sigma, int alpha)
    {
        double m = 1 / sigma, excess = 0;
        const double step = 1e-3;
        for (double z = -40; z < 15 + m * alpha; z += step)
        {
            // E[r^alpha] - 1 as the mean of r^alpha - 1 - alpha (r - 1), which does not cancel as badly, r = 1 + q (e^(mz - m^2/2) - 1).
            double ratio = 1 + q * (Math.Exp(m * z - m * m / 2) - 1);
            excess += Math.Exp(-z * z / 2) * (Math.Pow(ratio, alpha) - 1 - alpha * (ratio - 1)) * step / Math.Sqrt(2 * Math.PI);
        }

        Assert.Equal(1, Divergence(q, sigma, 1, alpha) / (Math.Log(1 + excess) / (alpha - 1)), 1e-8);
        Assert.Equal(7, Divergence(q, sigma, 7, alpha) / Divergence(q, sigma, 1, alpha), 1e-12);
    }

    [Fact]
    public void RenyiDp_IllegalNumber_IsRefused()
    {
        foreach (double alpha in (double[])[1, 0.5, double.NaN, double.PositiveInfinity])
        {
            AssertId(PrivacyErrors.InvalidSteps, () => RenyiDp.OfGaussian(1, alpha));
            AssertId(PrivacyErrors.InvalidSteps, () => RenyiDp.Epsilon(1, alpha, 1e-5));
            AssertId(PrivacyErrors.InvalidSteps, () => RenyiDp.ClassicEpsilon(1, alpha, 1e-5));
        }

        foreach (double bad in (double[])[-1, double.NaN, double.PositiveInfinity])
        {
            AssertId(PrivacyErrors.InvalidNumber, () => RenyiDp.OfGaussian(bad, 2));
            AssertId(PrivacyErrors.InvalidNumber, () => RenyiDp.Epsilon(bad, 2, 1e-5));
            AssertId(PrivacyErrors.InvalidNumber, () => RenyiDp.Rho(bad));
            AssertId(PrivacyErrors.InvalidNumber, () => RenyiDp.EpsilonOfRho(bad, 1e-5));
            AssertId(PrivacyErrors.InvalidBudget, () => RenyiDp.EpsilonOfRho(1, bad));
            AssertId(PrivacyErrors.InvalidBudget, () => RenyiDp.EpsilonOfGaussian(1, bad));
        }

        AssertId(PrivacyErrors.InvalidSteps, () => Divergence(0.1, 1, 1, 1));
        AssertId(PrivacyErrors.InvalidSteps, () => Divergence(0.1, 1, 0, 2));
        AssertId(PrivacyErrors.InvalidSamplingRate, () => Divergence(2, 1, 1, 2));
        AssertId(PrivacyErrors.InvalidNumber, () => Divergence(0.1, -1, 1, 2));
        Assert.Equal(0, RenyiDp.EpsilonOfGaussian(0, 1e-5).Epsilon);
    }

    private static double Divergence(double q, double sigma, int steps, int alpha) =>
        RenyiDp.OfSubsampledGaussian(SampleVisibility.HiddenFromObserver, new SubsampledGaussian(q, sigma, steps), alpha);

    private static void AssertUpper(double expected, double actual) => Assert.InRange(actual, expected * (1 - 1e-15), expected * (1 + 1e-12));

    private static void AssertId(string id, Func<object> action) => Assert.Equal(id, Assert.Throws<ConfigurationException>(action).Id);
}
