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
            (int k, int n, double alpha) = (row.Integer("k"), row.Integer("n"), row.Number("alpha"));
            if (k == 0)
                continue;   // closed form below; the stored limit for n = 10000 is .99999864, a failure of the tool that made it
            Assert.Equal(row.Number("lower"), Statistics.ClopperPearsonLower(k, n, alpha / 2), 1e-8);
            Assert.Equal(row.Number("upper"), Statistics.ClopperPearsonUpper(k, n, alpha / 2), 1e-8);
        }
    }

    // No event in n: (1 - p)^n = alpha.
    [Theory]
    [InlineData(100, 0.025)]
    [InlineData(10_000, 5e-7)]
    [InlineData(200_000, 5e-9)]
    public void ClopperPearsonUpper_NoEvents_IsTheClosedForm(int n, double alpha) =>
        Assert.Equal(1 - Math.Pow(alpha, 1.0 / n), Statistics.ClopperPearsonUpper(0, n, alpha), 1e-12);

    [Fact]
    public void ChiSquareCritical_KnownValue_Agrees() => Assert.Equal(148.23, Statistics.ChiSquareCritical(100, 1e-3), 0.01);

    // P(K > 2) for 3 draws at 1/2 is 1/8, P(K > 1) is 1/2.
    [Theory]
    [InlineData(0.125, 2)]
    [InlineData(0.124, 3)]
    [InlineData(0.5, 1)]
    public void BinomialUpperQuantile_ThreeCoins_IsExact(double alpha, int expected) => Assert.Equal(expected, Statistics.BinomialUpperQuantile(3, 0.5, alpha + 1e-12));

    [Fact]
    public void Kolmogorov_KnownSample_Agrees() => Assert.Equal(0.5, Statistics.Kolmogorov([0]), 1e-12);
}
