using FedLearn.Numerics;

namespace FedLearn.Tests.Numerics;

public class LogisticKernelsTests
{
    /// <summary>Rows come in eights and a rest, whose places without a row must neither be written nor count.</summary>
    [Fact]
    public void ResidualsAndLoss_AnyNumberOfRows_AreThoseOfEachRow()
    {
        var random = new Random(5);
        for (int rows = 0; rows < 26; rows++)
        {
            double[] scores = [.. Enumerable.Range(0, rows).Select(_ => 20 * random.NextDouble() - 10)], labels = [.. scores.Select(_ => (double)random.Next(2))];
            double[] residuals = new double[rows + 1], alone = new double[rows + 1];
            residuals[rows] = alone[rows] = 7;
            double loss = LogisticKernels.ResidualsAndLoss(scores, labels, residuals), expected = 0;
            LogisticKernels.Residuals(scores, labels, alone);
            for (int i = 0; i < rows; i++)
            {
                double t = (1 - 2 * labels[i]) * scores[i];
                // One exponential and some roundings of numbers of at most 1.
                Assert.Equal((1 - 2 * labels[i]) / (1 + Math.Exp(-t)), residuals[i], 4e-16);
                expected += Math.Max(t, 0) + Math.Log(1 + Math.Exp(-Math.Abs(t)));
            }

            Assert.Equal(expected, loss, 1e-14 * Math.Max(1, expected));
            Assert.Equal(loss, LogisticKernels.LossSum(scores, labels));
            Assert.Equal(residuals, alone);
            Assert.Equal(7, residuals[rows]);
        }
    }

    /// <summary>Logarithms are taken of products over many rows: none may overflow, be left out or lose what small losses add.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1e-3)]
    [InlineData(1)]
    [InlineData(20)]
    [InlineData(50)]
    [InlineData(600)]
    public void LossSum_ManyRows_IsThatOfEachRow(double size)
    {
        var random = new Random(6);
        foreach (int rows in (int[])[504, 511, 512, 513, 1024, 5000])
        {
            foreach (double side in (double[])[-1, 1])
            {
                double[] scores = [.. Enumerable.Range(0, rows).Select(_ => side * size * (1 + random.NextDouble()) / 2)], labels = [.. scores.Select(_ => 1.0)];
                double expected = scores.Sum(z => Math.Max(-z, 0) + LogOnePlus(Math.Exp(-Math.Abs(z))));
                Assert.Equal(expected, LogisticKernels.LossSum(scores, labels), 1e-13 * expected);
            }
        }
    }

    // W. Kahan's: the error of 1 + e in the logarithm and in the difference is the same.
    private static double LogOnePlus(double e) => 1 + e == 1 ? e : Math.Log(1 + e) * e / (1 + e - 1);

    [Fact]
    public void LossSum_CertainRowsOfTheRightClass_IsNothing()
    {
        for (int rows = 0; rows < 10; rows++)
            Assert.Equal(0, LogisticKernels.LossSum([.. Enumerable.Repeat(1000.0, rows)], [.. Enumerable.Repeat(1.0, rows)]));
    }
}
