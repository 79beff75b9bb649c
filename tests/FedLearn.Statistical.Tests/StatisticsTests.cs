using System.Text.Json;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

public class StatisticsTests
{
    [Fact]
    public void ClopperPearson_OracleRows_Agree()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("clopper_pearson").EnumerateArray())
        {
            // The oracle is two-sided and good to 1e-12, but for its upper limit after 0 of 10,000 at 1e-6, which it puts at .99999864; without an
            // event the limit is 1 - tail^(1/n) = .00144981.
            int k = row.Integer("k"), n = row.Integer("n");
            double tail = row.Number("alpha") / 2, upper = k == 0 ? 1 - Math.Pow(tail, 1.0 / n) : row.Number("upper");
            Assert.Equal(row.Number("lower"), Statistics.ClopperPearsonLower(k, n, tail), 1e-11);
            Assert.Equal(upper, Statistics.ClopperPearsonUpper(k, n, tail), 1e-11);
        }
    }

    [Theory]
    [InlineData(100, 0.025)]
    [InlineData(10_000, 5e-7)]
    [InlineData(200_000, 5e-9)]
    public void ClopperPearsonUpper_NoEvents_IsTheClosedForm(int n, double alpha) =>
        Assert.Equal(1 - Math.Pow(alpha, 1.0 / n), Statistics.ClopperPearsonUpper(0, n, alpha), 1e-12);

    [Fact]
    public void ChiSquareCritical_FarTail_HasTheClosedForm()
    {
        // 16 degrees of freedom: P(X > x) is e^(-x/2) times the first 8 terms of the series of e^(x/2).
        double x = Statistics.ChiSquareCritical(17, 4e-10), term = Math.Exp(-x / 2), tail = 0;
        for (int i = 0; i < 8; term *= x / 2 / ++i)
            tail += term;
        Assert.Equal(1, tail / 4e-10, 1e-3);
    }

    [Fact]
    public void ChiSquareCritical_KnownValue_Agrees() => Assert.Equal(148.23, Statistics.ChiSquareCritical(100, 1e-3), 0.01);

    // P(K > 2) for 3 draws at 1/2 is 1/8, P(K > 1) is 1/2.
    [Theory]
    [InlineData(0.125, 2)]
    [InlineData(0.124, 3)]
    [InlineData(0.5, 1)]
    public void BinomialUpperQuantile_ThreeCoins_IsExact(double alpha, int expected) => Assert.Equal(expected, Statistics.BinomialUpperQuantile(3, 0.5, alpha + 1e-12));

    [Fact]
    public void DistanceToNormal_KnownSamples_Agrees()
    {
        // One value at the median: D = 1/2, A^2 = -1 - 2 ln(1/2); two at the quartiles: D = 1/4, A^2 = -2 - (2 ln(1/4) + 6 ln(3/4))/2.
        (double kolmogorov, double andersonDarling) = Statistics.DistanceToNormal([0], 1);
        Assert.Equal((0.5, 2 * Math.Log(2) - 1), (kolmogorov, andersonDarling));
        int quartile = (int)Math.Round(Statistics.Quantile(0.75) * 1e9);
        (kolmogorov, andersonDarling) = Statistics.DistanceToNormal([-quartile, quartile], 1e9);
        Assert.Equal(0.25, kolmogorov, 1e-8);
        Assert.Equal(Math.Log(4) - 3 * Math.Log(0.75) - 2, andersonDarling, 1e-8);
    }

    // Table of Marsaglia and Marsaglia 2004: P(A^2 > 6.0) = .00104.
    [Fact]
    public void AndersonDarlingCritical_KnownValue_Agrees() => Assert.Equal(6.0, Statistics.AndersonDarlingCritical(0.00095), 0.1);

    [Theory]
    [InlineData(1, 10, 0.1)]
    [InlineData(3, 7, 0.01)]
    [InlineData(19, 20, 0.025)]
    public void ClopperPearson_SmallCounts_InvertTheBinomialTail(int k, int n, double alpha)
    {
        double AtLeast(int from, double p) => Enumerable.Range(from, n - from + 1).Sum(j =>
            Math.Pow(p, j) * Math.Pow(1 - p, n - j) * Enumerable.Range(1, j).Aggregate(1.0, (c, i) => c * (n - j + i) / i));
        Assert.Equal(1, AtLeast(k, Statistics.ClopperPearsonLower(k, n, alpha)) / alpha, 1e-10);
        Assert.Equal(1, (1 - AtLeast(k + 1, Statistics.ClopperPearsonUpper(k, n, alpha))) / alpha, 1e-8);
    }
}
