using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

public class PrivacyTotalTests
{
    // References of 60 decimal digits.
    [Theory]
    [InlineData(1e-300, 1.2533141373155002826e-300)]
    [InlineData(1e-6, 1.2533141373154777809e-6)]
    [InlineData(0.1, 0.12530901221160758802)]
    [InlineData(0.5, 0.62389259209850819205)]
    [InlineData(0.999, 1.230843723582652192)]
    [InlineData(1, 1.2320353853449009729)]
    [InlineData(2, 2.3579614856472497116)]
    [InlineData(5, 4.9466784455956585928)]
    [InlineData(20, 11.758418713653101291)]
    [InlineData(1000, 89.231495463938806041)]
    public void MuOfPure_Reference_AgreesAndNeverFallsBelow(double epsilon, double expected) =>
        Assert.InRange(GaussianDp.MuOfPure(epsilon), epsilon > 1e-290 ? expected : 0, epsilon > 1e-290 ? expected * (1 + 2e-12) : 1.3e-290);

    [Fact]
    public void MuOfPure_AnyEpsilon_CurveOfTheMechanismIsCovered()
    {
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(100)), Prop.ForAll(
            Gen.Choose(-3000, 1500).Select(log => Math.Pow(10, log / 1000.0)).ToArbitrary(),
            Gen.Choose(0, 999).Select(part => part / 1000.0).ToArbitrary(), (epsilon, part) =>
            {
                // Randomised response with keep probability e^epsilon/(1+e^epsilon) has delta(x) = (e^epsilon - e^x)/(1 + e^epsilon) at x < epsilon.
                double x = part * epsilon, delta = (Math.Exp(epsilon - x) - 1) / (Math.Exp(-x) + Math.Exp(epsilon - x));
                double mu = GaussianDp.MuOfPure(epsilon);
                Assert.True(GaussianDp.Delta(mu, x) >= delta * (1 - 1e-12));
                Assert.True(GaussianDp.MuOfPure(epsilon * (1 + 1e-6)) > mu);
            }));
        // The two curves meet at epsilon 0, so no smaller mu would do.
        Assert.Equal(Math.Tanh(0.5), GaussianDp.Delta(GaussianDp.MuOfPure(1), 0), 1e-11);
    }

    [Fact]
    public void Epsilon_OneKindOfRelease_IsTheExactFigure()
    {
        Assert.Equal(1.5, (PrivacyTotal.OfPure(1) + PrivacyTotal.OfPure(0.5)).Epsilon(1e-5));
        Assert.Equal(1.5, (PrivacyTotal.OfPure(1) + PrivacyTotal.OfPure(0.5)).Epsilon(0));
        PrivacyTotal gaussian = PrivacyTotal.OfMu(3) + PrivacyTotal.OfMu(4);
        Assert.Equal(5, gaussian.Mu);
        Assert.Equal(GaussianDp.Epsilon(5, 1e-5), gaussian.Epsilon(1e-5));
        Assert.Equal(0, PrivacyTotal.Zero.Epsilon(1e-5));
        Assert.Equal(PrivacyTotal.OfMu(1), PrivacyTotal.OfMu(1) + PrivacyTotal.Zero);
    }

    [Fact]
    public void Epsilon_BothKinds_IsTheSmallerFigure()
    {
        // One pure release beside a Gaussian: the pure part is best added as it is.
        PrivacyTotal one = PrivacyTotal.OfPure(0.5) + PrivacyTotal.OfMu(0.01);
        Assert.Equal(0.5 + GaussianDp.Epsilon(0.01, 1e-5), one.Epsilon(1e-5), 1e-14);

        // A hundred: as Gaussians they add up like a root.
        PrivacyTotal many = Enumerable.Repeat(PrivacyTotal.OfPure(0.02), 100).Aggregate(PrivacyTotal.OfMu(0.3), (sum, next) => sum + next);
        double mu = GaussianDp.MuOfPure(0.02), all = GaussianDp.Epsilon(Math.Sqrt(0.09 + 100 * mu * mu), 1e-5);
        Assert.Equal(all, many.Epsilon(1e-5), 1e-12);
        Assert.True(all < 2);

        // From its two numbers alone, the pure part can only be taken as one release.
        PrivacyTotal restored = new(many.PureEpsilon, many.MuSquared);
        Assert.True(restored.Epsilon(1e-5) > many.Epsilon(1e-5));
        Assert.True(restored.Epsilon(1e-5) <= many.PureEpsilon + GaussianDp.Epsilon(0.3, 1e-5) + 1e-12);
    }

    [Fact]
    public void Sum_ManyAdditions_NeverUnderCounts()
    {
        PrivacyTotal total = PrivacyTotal.Zero, step = PrivacyTotal.OfMu(0.1) + PrivacyTotal.OfPure(0.1);
        for (int i = 0; i < 100_000; i++)
            total += step;
        decimal mu = (decimal)0.1000000000000000055511151231m, exact = 100_000m * mu;
        Assert.InRange((decimal)total.PureEpsilon, exact - 1e-10m, exact * 1.000000001m);
        Assert.True(total.PureEpsilon >= 10_000);
        Assert.True(total.MuSquared >= 1_000 && total.MuSquared < 1_000 * (1 + 1e-9));
    }

    [Fact]
    public void Sum_AnyReleases_GrowsAndCommutes()
    {
        Arbitrary<PrivacyTotal> totals = (
            from pure in Gen.Choose(0, 3000)
            from mu in Gen.Choose(0, 3000)
            select PrivacyTotal.OfPure(pure / 1000.0) + PrivacyTotal.OfMu(mu / 1000.0)).ToArbitrary();
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(200)), Prop.ForAll(totals, totals, (a, b) =>
        {
            PrivacyTotal sum = a + b;
            Assert.Equal(sum, b + a);
            Assert.True(sum.Fits(sum.Epsilon(1e-6), 1e-6));
            Assert.True(sum.Epsilon(1e-6) <= a.PureEpsilon + b.PureEpsilon + GaussianDp.Epsilon(sum.Mu, 1e-6) + 1e-12);
            if (b.MuSquared > 0 && a.MuSquared > 0)
                Assert.True(sum.Epsilon(1e-6) > a.Epsilon(1e-6));
            Assert.True(sum.Mu >= Math.Max(a.Mu, b.Mu));
        }));
    }

    [Fact]
    public void Fits_JobCalibratedToTheBudget_Fits()
    {
        double mu = GaussianDp.Mu(1, 1e-5);
        PrivacyTotal whole = PrivacyTotal.OfMu(mu), parts = PrivacyTotal.Zero;
        for (int i = 0; i < 700; i++)
            parts += PrivacyTotal.OfMu(mu / Math.Sqrt(700));
        Assert.True(whole.Fits(1, 1e-5));
        Assert.True(parts.Fits(1, 1e-5));
        Assert.False((whole + PrivacyTotal.OfMu(0.001)).Fits(1, 1e-5));
        Assert.False(whole.Fits(100, 0));
        Assert.True(PrivacyTotal.OfPure(1).Fits(1, 0));
        Assert.False(PrivacyTotal.OfPure(1.0001).Fits(1, 0));
    }

    [Fact]
    public void Group_SeveralRows_MultipliesBoth()
    {
        PrivacyTotal three = (PrivacyTotal.OfPure(0.25) + PrivacyTotal.OfMu(0.5)).Group(3);
        Assert.Equal((0.75, 1.5), (three.PureEpsilon, three.Mu));
        Assert.Equal(three, three.Group(1));
    }

    [Fact]
    public void PrivacyTotal_IllegalNumber_IsRefused()
    {
        foreach (double bad in (double[])[double.NaN, double.PositiveInfinity, -1])
        {
            AssertId(PrivacyErrors.InvalidNumber, () => PrivacyTotal.OfPure(bad));
            AssertId(PrivacyErrors.InvalidNumber, () => PrivacyTotal.OfMu(bad));
            AssertId(PrivacyErrors.InvalidNumber, () => new PrivacyTotal(0, bad));
            AssertId(PrivacyErrors.InvalidNumber, () => PrivacyTotal.Zero.Fits(bad, 0.01));
            AssertId(PrivacyErrors.InvalidBudget, () => PrivacyTotal.OfMu(1).Epsilon(bad));
        }

        AssertId(PrivacyErrors.InvalidBudget, () => PrivacyTotal.OfMu(1).Epsilon(0));
        AssertId(PrivacyErrors.InvalidNumber, () => PrivacyTotal.OfMu(1e200));
        AssertId(PrivacyErrors.InvalidNumber, () => PrivacyTotal.OfMu(1).Group(0));
        AssertId(PrivacyErrors.InvalidNumber, () => PrivacyTotal.OfPure(1e308) + PrivacyTotal.OfPure(1e308));
    }

    private static void AssertId(string id, Func<object> action) => Assert.Equal(id, Assert.Throws<ConfigurationException>(action).Id);
}
