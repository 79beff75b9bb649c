using System.Text.Json;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

public class GaussianDpTests
{
    private const double Relative = 1e-12;

    [Fact]
    public void Sigma_OracleRows_AgreeAndNeverFallBelow()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("analytic_gaussian_sigma").EnumerateArray())
        {
            double epsilon = row.Number("epsilon"), delta = row.Number("delta"), sigma = row.Number("sigma");
            AssertUpper(sigma, GaussianDp.Sigma(epsilon, delta));
            AssertLower(row.Number("mu"), GaussianDp.Mu(epsilon, delta));
            AssertUpper(row.Number("sigma_classical"), ClassicalGaussian.Sigma(epsilon, delta));
            double mu = 1 / ClassicalGaussian.Sigma(epsilon, delta);
            Assert.Equal(1, GaussianDp.Delta(mu, epsilon) / row.Number("classical_actual_delta"), Relative);
        }
    }

    [Fact]
    public void Delta_OracleRows_AgreeAndNeverFallBelow()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("gdp_delta").EnumerateArray())
        {
            double delta = row.Number("delta"), actual = GaussianDp.Delta(row.Number("mu"), row.Number("epsilon"));
            if (delta > 1e-300)
                AssertUpper(delta, actual);
            else
                Assert.Equal(double.Epsilon, actual);
        }
    }

    [Fact]
    public void Epsilon_OracleRows_AgreeAndNeverFallBelow()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("gdp_epsilon").EnumerateArray())
            AssertUpper(row.Number("epsilon"), GaussianDp.Epsilon(row.Number("mu"), row.Number("delta")));
    }

    // References of 60 decimal digits, arguments taken as the doubles they are.
    [Theory]
    [InlineData(0.05, 0.1, 0.00044619186488471433276)]
    [InlineData(0.5, 1, 0.0068295949831145753842)]
    [InlineData(1, 0, 0.38292492254802620728)]
    [InlineData(1, 3, 0.0015371853694009548469)]
    [InlineData(2, 10, 9.9402028161181527684e-6)]
    [InlineData(5, 0, 0.98758066934844772967)]
    [InlineData(5, 20, 0.047322964188519658609)]
    [InlineData(10, 3, 0.99999753621303558357)]
    [InlineData(10, 100, 1.8797170020519157446e-7)]
    [InlineData(0.0036, 0.1, 5.4697464858144604708e-174)]
    [InlineData(0.1, 3.6, 7.0091638686886927087e-286)]
    public void Delta_Reference_AgreesAndNeverFallsBelow(double mu, double epsilon, double expected) =>
        AssertUpper(expected, GaussianDp.Delta(mu, epsilon));

    [Theory]
    [InlineData(0.01, 1e-09, 0.0021809846610443490745)]
    [InlineData(0.1, 0.01, 0.10480177537254446222)]
    [InlineData(0.5, 0.0001, 0.16967017400665431806)]
    [InlineData(1, 1e-06, 0.23670438066343570913)]
    [InlineData(1, 1e-12, 0.15248965124598128398)]
    [InlineData(3, 0.0001, 0.81755636125135544653)]
    [InlineData(5, 0.05, 2.1180631334605650084)]
    [InlineData(10, 0.01, 2.8563537996214032359)]
    [InlineData(10, 1e-12, 1.3429807286510384414)]
    [InlineData(0, 1e-05, 0.000025066282746966240822)]
    [InlineData(0, 0.5, 1.3489795003921634864)]
    [InlineData(1, 1e-290, 0.027596144564548389612)]
    [InlineData(100, 0.3, 13.696516587036098904)]
    public void Mu_Reference_AgreesAndNeverExceeds(double epsilon, double delta, double expected)
    {
        AssertLower(expected, GaussianDp.Mu(epsilon, delta));
        AssertUpper(1 / expected, GaussianDp.Sigma(epsilon, delta));
    }

    [Theory]
    [InlineData(0.05, 1e-05, 0.16004203445813213477)]
    [InlineData(0.1, 1e-12, 0.64700812592498234765)]
    [InlineData(0.5, 0.01, 0.91945763504926676474)]
    [InlineData(1, 1e-06, 4.8865541174622120059)]
    [InlineData(3, 1e-09, 21.945589990966683905)]
    [InlineData(10, 0.01, 72.366289441033414835)]
    [InlineData(0.3, 1e-250, 10.142834974420997675)]
    public void Epsilon_Reference_AgreesAndNeverFallsBelow(double mu, double delta, double expected) =>
        AssertUpper(expected, GaussianDp.Epsilon(mu, delta));

    // References of 400 digits. Where a step from one double to the next moves p by a thousandth and more.
    [Theory]
    [InlineData(13700000000.0, 1e-300, 9.38450005075452193e+19)]
    [InlineData(13700000000.0, 1e-05, 9.38450000584290039e+19)]
    [InlineData(13700000000.0, 0.3, 9.3845000007184287e+19)]
    [InlineData(13700000000.0, 0.9999, 9.38449999490494741e+19)]
    [InlineData(2900000000000.0, 1e-300, 4.20500000010743658e+24)]
    [InlineData(2900000000000.0, 1e-05, 4.20500000001236818e+24)]
    [InlineData(2900000000000.0, 0.3, 4.20500000000152076e+24)]
    [InlineData(2900000000000.0, 0.9999, 4.20499999998921485e+24)]
    [InlineData(10000000000000.0, 1e-300, 5.0000000000370471e+25)]
    [InlineData(10000000000000.0, 1e-05, 5.00000000000426489e+25)]
    [InlineData(10000000000000.0, 0.3, 5.0000000000005244e+25)]
    [InlineData(10000000000000.0, 0.9999, 4.99999999999628098e+25)]
    [InlineData(33000000000000.0, 1e-300, 5.44500000001222554e+26)]
    [InlineData(33000000000000.0, 1e-05, 5.44500000000140741e+26)]
    [InlineData(33000000000000.0, 0.3, 5.44500000000017305e+26)]
    [InlineData(33000000000000.0, 0.9999, 5.44499999999877272e+26)]
    [InlineData(36000000000000.0, 1e-300, 6.48000000001333695e+26)]
    [InlineData(36000000000000.0, 1e-05, 6.48000000000153536e+26)]
    [InlineData(36000000000000.0, 0.3, 6.48000000000018878e+26)]
    [InlineData(36000000000000.0, 0.9999, 6.47999999999866115e+26)]
    [InlineData(1e+16, 1e-300, 5.00000000000003705e+31)]
    [InlineData(1e+16, 1e-05, 5.00000000000000426e+31)]
    [InlineData(1e+16, 0.3, 5.00000000000000052e+31)]
    [InlineData(1e+16, 0.9999, 4.99999999999999628e+31)]
    [InlineData(2.5e+100, 1e-300, 3.12499999999999986e+200)]
    [InlineData(2.5e+100, 1e-05, 3.12499999999999986e+200)]
    [InlineData(2.5e+100, 0.3, 3.12499999999999986e+200)]
    [InlineData(2.5e+100, 0.9999, 3.12499999999999986e+200)]
    [InlineData(1.7e+154, 1e-300, 1.44499999999999978e+308)]
    [InlineData(1.7e+154, 1e-05, 1.44499999999999978e+308)]
    [InlineData(1.7e+154, 0.3, 1.44499999999999978e+308)]
    [InlineData(1.7e+154, 0.9999, 1.44499999999999978e+308)]
    public void Epsilon_LargeMu_AgreesAndNeverFallsBelow(double mu, double delta, double expected) =>
        AssertUpper(expected, GaussianDp.Epsilon(mu, delta));

    [Theory]
    [InlineData(1000000000.0, 4.999999925e+17, 0.999999999999968091)]
    [InlineData(1000000000.0, 4.999999997e+17, 0.617911421807564822)]
    [InlineData(1000000000.0, 5.000000032e+17, 0.000687137935531760261)]
    [InlineData(13700000000.0, 9.384499989725e+19, 0.999999999999968091)]
    [InlineData(13700000000.0, 9.384499999589e+19, 0.61791119767121517)]
    [InlineData(13700000000.0, 9.384500004384e+19, 0.000687138650532334153)]
    [InlineData(2900000000000.0, 4.20499999997825e+24, 0.999999999999968081)]
    [InlineData(2900000000000.0, 4.20499999999913e+24, 0.617898369025455713)]
    [InlineData(2900000000000.0, 4.20500000000928e+24, 0.000686989386610024766)]
    public void Delta_LargeMu_AgreesAndNeverFallsBelow(double mu, double epsilon, double expected)
    {
        AssertUpper(expected, GaussianDp.Delta(mu, epsilon));
        Assert.Equal(0, GaussianDp.Delta(mu, epsilon) - Math.Exp(GaussianDp.LogDelta(mu, epsilon)), 1e-12);
    }

    [Theory]
    [InlineData(1e-300, 37.047096299361199237)]
    [InlineData(1e-5, 4.2648907939228246102)]
    [InlineData(0.3, 0.52440051270804081597)]
    [InlineData(0.9999, -3.7190164854557083867)]
    public void Epsilon_AnyLargeMu_AgreesWithTheNormalQuantile(double delta, double quantile)
    {
        // delta is Phi(-p) up to about 1/mu, and epsilon mu (p + mu/2): nothing is solved for here.
        var random = new Random(4);
        for (int i = 0; i < TestCounts.Of(5_000); i++)
        {
            double mu = Math.Pow(10, 8 + 146 * random.NextDouble());
            double exact = mu * (quantile + mu / 2);
            AssertUpper(exact, GaussianDp.Epsilon(mu, delta));
            Assert.InRange(GaussianDp.Mu(exact, delta), mu * (1 - 1e-12), mu * (1 + 1e-14));
            Assert.Equal((1.0, 0.0), (GaussianDp.Delta(mu, 1), GaussianDp.LogDelta(mu, 1)));
        }
    }

    [Theory]
    [InlineData(1e155)]
    [InlineData(1e200)]
    [InlineData(double.MaxValue)]
    public void HugeMu_IsNeverCalledSafe(double mu)
    {
        Assert.Equal((1.0, 0.0), (GaussianDp.Delta(mu, 0), GaussianDp.LogDelta(mu, 1)));
        Assert.Equal(1, GaussianDp.Delta(mu, 1e300));
        Assert.Equal(double.PositiveInfinity, GaussianDp.Epsilon(mu, 1e-5));
        Assert.InRange(GaussianDp.Mu(double.MaxValue, 1e-5), 1.89e154, 1.9e154);
    }

    [Theory]
    [InlineData(0.05, 5, -5010.625623511346933)]
    [InlineData(0.1, 8, -3207.9872949992628212)]
    [InlineData(2, 0.5, -0.5121838481787519697)]
    public void LogDelta_BelowTheRangeOfADouble_IsTheLogarithm(double mu, double epsilon, double expected) =>
        Assert.Equal(1, GaussianDp.LogDelta(mu, epsilon) / expected, 1e-14);

    [Fact]
    public void Epsilon_DeltaAlreadyReachedAtZero_IsZero()
    {
        Assert.Equal(0, GaussianDp.Epsilon(0.1, 0.05));
        Assert.Equal(0, GaussianDp.Epsilon(0, 1e-9));
        Assert.Equal(0, GaussianDp.Delta(0, 0));
        Assert.Equal(double.NegativeInfinity, GaussianDp.LogDelta(0, 1));
    }

    [Fact]
    public void Delta_ExtremeArguments_StayAProbability()
    {
        Assert.Equal(1, GaussianDp.Delta(1e6, 1));
        Assert.Equal(double.Epsilon, GaussianDp.Delta(1e-200, 1));
        Assert.InRange(GaussianDp.Delta(1e-200, 0), 3.98e-201, 3.99e-201);
        Assert.InRange(GaussianDp.LogDelta(1e-200, 1), double.MinValue, -1e300);
    }

    [Fact]
    public void Curve_AnyPoint_IsMonotoneAndInvertsTheSafeWay()
    {
        Arbitrary<(double Mu, double Epsilon)> points = (
            from logMu in Gen.Choose(-3000, 1000)
            from p in Gen.Choose(0, 30_000)
            let mu = Math.Pow(10, logMu / 1000.0)
            select (mu, mu * (p / 1000.0 + mu / 2))).ToArbitrary();
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(500)), Prop.ForAll(points, point =>
        {
            (double mu, double epsilon) = point;
            double delta = GaussianDp.Delta(mu, epsilon);
            Assert.True(GaussianDp.Delta(mu * 1.001, epsilon) > delta, "delta grows with mu");
            Assert.True(GaussianDp.Delta(mu, epsilon * 1.001 + 1e-9) < delta, "delta falls with epsilon");
            Assert.True(GaussianDp.Epsilon(mu * 1.001, delta) > GaussianDp.Epsilon(mu, delta), "epsilon grows with mu");
            Assert.True(GaussianDp.Mu(epsilon, delta) < GaussianDp.Mu(epsilon, Math.Min(delta * 1.001, 0.9999)), "mu grows with delta");
            Assert.True(GaussianDp.Sigma(epsilon, delta) > GaussianDp.Sigma(epsilon * 1.001 + 1e-9, delta), "sigma falls with epsilon");

            // There and back never promises more than the truth: the claim for a calibrated mu covers the budget only from above.
            Assert.True(GaussianDp.Mu(epsilon, delta) <= mu * (1 + 1e-12));
            Assert.Equal(1, GaussianDp.Mu(epsilon, delta) / mu, 1e-12);
        }));
    }

    [Theory]
    [InlineData(double.NaN, 1)]
    [InlineData(-1, 1)]
    [InlineData(double.PositiveInfinity, 1)]
    [InlineData(1, double.NaN)]
    [InlineData(1, -1)]
    public void Delta_IllegalArgument_IsRefused(double mu, double epsilon) =>
        Assert.Equal(2, Assert.Throws<ConfigurationException>(() => GaussianDp.Delta(mu, epsilon)).ExitCode);

    [Theory]
    [InlineData(1, 0)]
    [InlineData(1, 1)]
    [InlineData(1, double.NaN)]
    [InlineData(-1, 0.01)]
    public void Mu_IllegalArgument_IsRefused(double epsilon, double delta) =>
        Assert.Equal(PrivacyErrors.InvalidBudget, Assert.Throws<ConfigurationException>(() => GaussianDp.Mu(epsilon, delta)).Id);

    [Fact]
    public void ClassicalSigma_IllegalArgument_IsRefused()
    {
        Assert.Throws<ConfigurationException>(() => ClassicalGaussian.Sigma(0, 0.01));
        Assert.Throws<ConfigurationException>(() => ClassicalGaussian.Sigma(1, 1));
    }

    internal static void AssertUpper(double expected, double actual) =>
        Assert.InRange(actual, expected * (1 - 1e-14), expected * (1 + 5e-13));

    internal static void AssertLower(double expected, double actual) =>
        Assert.InRange(actual, expected * (1 - 5e-13), expected * (1 + 1e-14));
}
