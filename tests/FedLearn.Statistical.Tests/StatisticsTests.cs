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
            Assert.Equal(row.Number("lower"), Statistics.ClopperPearsonLower(k, n, alpha / 2), 1e-8);
            Assert.Equal(row.Number("upper"), Statistics.ClopperPearsonUpper(k, n, alpha / 2), 1e-8);
        }
    }

    [Fact]
    public void ChiSquareCritical_KnownValue_Agrees() => Assert.Equal(148.23, Statistics.ChiSquareCritical(100, 1e-3), 0.01);

    [Fact]
    public void Kolmogorov_KnownSample_Agrees() => Assert.Equal(0.5, Statistics.Kolmogorov([0]), 1e-12);
}
