using FedLearn.Glm;
using FedLearn.Privacy;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Glm;

public class GlmFamiliesTests
{
    private static readonly IGlmFamily[] Canonical = [GlmFamilies.Gaussian, GlmFamilies.Binomial, GlmFamilies.Poisson];

    // Each loss as one reads it in a book, at one row, in decimal-safe form.
    private static double PlainLoss(IGlmFamily family, double z, double y) => family.Name switch
    {
        "gaussian" => (z - y) * (z - y) / 2,
        "binomial" => Math.Log(1 + Math.Exp(z)) - (y * z),
        _ => Math.Exp(z) - (y * z),
    };

    private static double PlainResidual(IGlmFamily family, double z, double y) => family.Name switch
    {
        "gaussian" => z - y,
        "binomial" => (1 / (1 + Math.Exp(-z))) - y,
        _ => Math.Exp(z) - y,
    };

    private static double PlainCurvature(IGlmFamily family, double z) => family.Name switch
    {
        "gaussian" => 1,
        "binomial" => 1 / (1 + Math.Exp(-z)) / (1 + Math.Exp(z)),
        _ => Math.Exp(z),
    };

    [Fact]
    public void Kernels_RandomRows_MatchPlainFormulas()
    {
        // Lengths around the block of 256 rows and the width of a vector.
        Gen<(int Length, int Seed)> gen = Gen.Elements(0, 1, 2, 3, 7, 8, 9, 255, 256, 257, 600).SelectMany(n => Gen.Choose(0, 1_000_000).Select(seed => (n, seed)));
        Prop.ForAll(gen.ToArbitrary(), draw =>
        {
            var random = new Random(draw.Seed);
            foreach (IGlmFamily family in Canonical)
            {
                double[] z = [.. Enumerable.Range(0, draw.Length).Select(_ => (random.NextDouble() * 16) - 8)];
                double[] y = [.. z.Select(_ => (double)random.Next(family.Name == "binomial" ? 2 : 5))];
                double[] residuals = new double[z.Length], curvatures = new double[z.Length];
                family.Residuals(z, y, residuals);
                family.Curvatures(z, y, curvatures);
                double loss = 0;
                for (int i = 0; i < z.Length; i++)
                {
                    Assert.Equal(PlainResidual(family, z[i], y[i]), residuals[i], 1e-15 * Math.Exp(8));
                    Assert.Equal(PlainCurvature(family, z[i]), curvatures[i], 1e-15 * Math.Exp(8));
                    Assert.Equal(residuals[i] + y[i], family.Mean(z[i]), 1e-15 * Math.Exp(8));
                    loss += PlainLoss(family, z[i], y[i]);
                }

                Assert.Equal(loss, family.LossSum(z, y), 1e-12 * (1 + Math.Abs(loss)));
            }
        }).QuickCheckThrowOnFailure();
    }

    [Theory]
    [InlineData(0, 1, -0.5)] // symmetry
    [InlineData(800, 0, 1)] // e^z overflows here
    [InlineData(-800, 1, -1)]
    [InlineData(800, 1, 0)]
    [InlineData(-800, 0, 0)]
    [InlineData(2, 1, -0.11920292202211756)] // 60-digit decimal reference
    [InlineData(30, 1, -9.357622968839299e-14)] // sigmoid(z) - 1 keeps three digits of this
    [InlineData(-30, 0, 9.357622968839299e-14)]
    public void BinomialResiduals_KnownScore_MatchesReference(double score, double label, double expected)
    {
        // Ten equal rows go through the vector path, one through the scalar path.
        foreach (int length in new[] { 1, 10 })
        {
            double[] actual = new double[length];
            GlmFamilies.Binomial.Residuals([.. Enumerable.Repeat(score, length)], [.. Enumerable.Repeat(label, length)], actual);
            Assert.All(actual, r => Assert.Equal(expected, r, 4e-16 * Math.Abs(expected)));
        }
    }

    [Theory]
    [InlineData(800, 0, 800)]
    [InlineData(-800, 1, 800)]
    [InlineData(800, 1, 0)]
    [InlineData(0, 1, 0.6931471805599453)]
    public void BinomialLoss_KnownScore_MatchesReference(double score, double label, double expected)
    {
        foreach (int length in new[] { 1, 10, 300 })
            Assert.Equal(length * expected, GlmFamilies.Binomial.LossSum([.. Enumerable.Repeat(score, length)], [.. Enumerable.Repeat(label, length)]), 1e-13 * length);
    }

    [Fact]
    public void BinomialCurvatures_FarScores_DoNotCancel()
    {
        double[] curvatures = new double[4];
        GlmFamilies.Binomial.Curvatures([40, -40, 800, -800], [0, 0, 0, 0], curvatures);
        Assert.Equal([4.248354255291589e-18, 4.248354255291589e-18, 0, 0], curvatures, (a, b) => Math.Abs(a - b) <= 4e-16 * Math.Abs(a));
    }

    [Fact]
    public void GammaDeviance_MeanThatUnderflows_IsInfinite()
    {
        Assert.Equal(double.PositiveInfinity, GlmFamilies.Gamma.DevianceSum([double.NegativeInfinity, 0], [1, 2]));
        Assert.Equal(double.PositiveInfinity, GlmEvaluation.FiguresOf(GlmFamilies.Gamma, [-800, 0, 1], [1, 2, 3]).Deviance);
        Assert.Equal(double.NaN, GlmFamilies.Gamma.DevianceSum([double.NegativeInfinity, double.NaN], [1, 2]));
    }

    [Fact]
    public void Residuals_NotANumber_StaysNotANumber()
    {
        foreach (IGlmFamily family in Canonical)
        {
            double[] residuals = new double[9];
            family.Residuals([.. Enumerable.Repeat(double.NaN, 9)], new double[9], residuals);
            Assert.All(residuals, r => Assert.True(double.IsNaN(r)));
            Assert.True(double.IsNaN(family.LossSum([.. Enumerable.Repeat(double.NaN, 9)], new double[9])));
        }
    }

    [Fact]
    public void Residuals_ShiftedLoss_AreItsDerivative()
    {
        foreach (IGlmFamily family in Canonical)
            for (double z = -3; z <= 3; z += 0.25)
                foreach (double y in new[] { 0.0, 1.0 })
                {
                    const double h = 1e-5;
                    double[] residual = new double[1];
                    family.Residuals([z], [y], residual);
                    Assert.Equal((family.LossSum([z + h], [y]) - family.LossSum([z - h], [y])) / (2 * h), residual[0], 1e-8);
                }
    }

    [Fact]
    public void Residuals_LengthsDiffer_Throws()
    {
        foreach (IGlmFamily family in Canonical)
        {
            Assert.ThrowsAny<ArgumentException>(() => family.Residuals(new double[3], new double[2], new double[3]));
            Assert.ThrowsAny<ArgumentException>(() => family.Residuals(new double[3], new double[3], new double[2]));
            Assert.ThrowsAny<ArgumentException>(() => family.LossSum(new double[3], new double[2]));
        }
    }

    [Theory]
    [InlineData("gaussian", -7.25, true)]
    [InlineData("gaussian", double.NaN, false)]
    [InlineData("gaussian", double.PositiveInfinity, false)]
    [InlineData("binomial", 0, true)]
    [InlineData("binomial", 1, true)]
    [InlineData("binomial", -1, true)]
    [InlineData("binomial", 0.5, false)]
    [InlineData("binomial", 2, false)]
    [InlineData("binomial", double.NaN, false)]
    [InlineData("poisson", 0, true)]
    [InlineData("poisson", 17, true)]
    [InlineData("poisson", 1.5, false)]
    [InlineData("poisson", -1, false)]
    [InlineData("poisson", double.PositiveInfinity, false)]
    public void LabelFault_Label_IsLegalOrNot(string name, double label, bool legal)
    {
        string? fault = VerticalData.Family(name).LabelFault(label);
        Assert.Equal(legal, fault is null);
        Assert.DoesNotContain("0.5", fault ?? "", StringComparison.Ordinal);
        Assert.DoesNotContain("1.5", fault ?? "", StringComparison.Ordinal);
    }

    [Fact]
    public void Canonical_BinomialMinusOne_IsZero()
    {
        Assert.Equal([0, 0, 1], new[] { -1.0, 0, 1 }.Select(GlmFamilies.Binomial.Canonical));
        Assert.Equal(-1, GlmFamilies.Gaussian.Canonical(-1));
        Assert.Equal(3, GlmFamilies.Poisson.Canonical(3));
    }

    [Fact]
    public void Bounds_ShippedFamilies_AreTheirOwn() =>
        Assert.Equal([GlmFamilyKind.Gaussian, GlmFamilyKind.Binomial, GlmFamilyKind.Poisson], Canonical.Select(family => family.Bounds!.Kind));
}
