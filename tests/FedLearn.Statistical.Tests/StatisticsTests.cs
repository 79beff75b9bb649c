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
