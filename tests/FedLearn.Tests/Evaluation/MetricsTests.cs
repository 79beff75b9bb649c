using FedLearn.Evaluation;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Evaluation;

public sealed class MetricsTests
{
    [Fact]
    public void Auc_RandomTies_EqualsPairCount() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        double[] scores = new double[random.Next(1, 40)], labels = new double[scores.Length];
        for (int i = 0; i < scores.Length; i++)
            (scores[i], labels[i]) = (random.Next(8), random.Next(2));
        double won = 0, pairs = 0;
        for (int i = 0; i < scores.Length; i++)
        {
            for (int j = 0; j < scores.Length; j++)
            {
                if (labels[i] == 1 && labels[j] == 0)
                    (won, pairs) = (won + (scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0), pairs + 1);
            }
        }

        return Metrics.Auc(scores, labels) == (pairs == 0 ? null : won / pairs);
    }));

    [Fact]
    public void Auc_KnownCases_Match()
    {
        Assert.Equal(1, Metrics.Auc([-1, 2, 3], [0, 1, 1]));
        Assert.Equal(0, Metrics.Auc([5, 2, 3], [0, 1, 1]));
        Assert.Equal(0.5, Metrics.Auc([7, 7, 7, 7], [0, 1, 1, 0]));
        Assert.Equal(0.75, Metrics.Auc([1, 2, 2], [-1, -1, 1]));                // labels of -1 and +1 serve as well
        Assert.Equal(1, Metrics.Auc([double.NegativeInfinity, double.PositiveInfinity], [0, 1]));
        Assert.Equal(0.5, Metrics.Auc([0.0, -0.0], [0, 1]));                    // the zeros are a tie
        Assert.Null(Metrics.Auc([1, 2], [1, 1]));
        Assert.Null(Metrics.Auc([1, 2], [0, 0]));
        Assert.Null(Metrics.Auc([], []));
        Assert.Null(Metrics.Auc([1, double.NaN], [0, 1]));
    }

    [Fact]
    public void Auc_ManyRows_DoesNotOverflow()
    {
        const int N = 200_000;                                                   // 10^10 pairs
        double[] scores = [.. Enumerable.Range(0, N).Select(i => (double)i)], labels = [.. Enumerable.Range(0, N).Select(i => i < N / 2 ? 0.0 : 1.0)];
        Assert.Equal(1, Metrics.Auc(scores, labels));
    }

    [Theory]                                                                     // 50-digit decimal references
    [InlineData(0, 1, 0.69314718055994530942)]
    [InlineData(2, 1, 0.12692801104297249644)]
    [InlineData(2, 0, 2.1269280110429724964)]
    [InlineData(-40, 0, 4.2483542552915889863e-18)]
    [InlineData(-40, 1, 40.000000000000000004)]
    [InlineData(800, 1, 0)]
    [InlineData(800, 0, 800)]
    [InlineData(-800, 1, 800)]
    [InlineData(double.PositiveInfinity, 1, 0)]
    [InlineData(double.NegativeInfinity, 0, 0)]
    public void LogLoss_KnownScore_MatchesReference(double score, double label, double expected)
    {
        Assert.Equal(expected, Metrics.LogLoss([score], [label]), 4e-16 * Math.Abs(expected));
        Assert.Equal(2 * Metrics.LogLoss([score], [label]), Metrics.BinomialDeviance([score], [label]));
    }

    [Fact]
    public void Accuracy_KnownCases_Match()
    {
        Assert.Equal(0.75, Metrics.Accuracy([1, -1, 3, 0], [1, 0, 0, 0]));       // a log odds of 0 is not above the threshold
        Assert.Equal(double.NaN, Metrics.Accuracy([double.NaN], [1]));
        Assert.Equal(double.NaN, Metrics.LogLoss([double.PositiveInfinity], [double.NaN]));
    }

    [Fact]
    public void SquaredErrors_KnownCase_Match()
    {
        double[] means = [1, 2, 6], labels = [1, 4, 4];
        Assert.Equal(8 / 3.0, Metrics.GaussianDeviance(means, labels), 1e-15);
        Assert.Equal(Math.Sqrt(8 / 3.0), Metrics.Rmse(means, labels), 1e-15);
        Assert.Equal(1 - (8 / 6.0), Metrics.R2(means, labels)!.Value, 1e-15);
        Assert.Null(Metrics.R2(means, [0.1, 0.1, 0.1]));
        Assert.Null(Metrics.R2([], []));
    }

    [Theory]
    [InlineData(0, 0.5, 1)]
    [InlineData(3, 3, 0)]
    [InlineData(2, 1, 0.77258872223978123767)]                                   // 4 log 2 - 2
    [InlineData(1, 2, 0.61370563888010938117)]                                   // 2 - 2 log 2
    [InlineData(1, 0, double.PositiveInfinity)]
    public void PoissonDeviance_KnownCount_MatchesReference(double count, double mean, double expected) =>
        Assert.Equal(expected, Metrics.PoissonDeviance([mean], [count]), 1e-15);

    [Fact]
    public void PoissonDeviance_Mean_IsAtLeastZero() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<byte>(), ArbMap.Default.ArbFor<NormalFloat>(), (count, log) =>
        Metrics.PoissonDeviance([Math.Exp(Math.Clamp(log.Get, -30, 30))], [count]) >= -1e-13));

    [Fact]
    public void MetricSet_EachFamily_FillsItsOwn()
    {
        var binomial = MetricSet.ForBinomial([1, -1, 2], [1, 0, 0]);
        Assert.Equal((0.5, 2 / 3.0), (binomial.Auc, binomial.Accuracy));
        Assert.Equal(binomial.Deviance, 2 * binomial.LogLoss);
        Assert.Null(binomial.Rmse ?? binomial.R2);

        var gaussian = MetricSet.ForGaussian([1, 2, 6], [1, 4, 4]);
        Assert.Equal(gaussian.Deviance!.Value, gaussian.Rmse!.Value * gaussian.Rmse.Value, 1e-14);
        Assert.Equal(-1 / 3.0, gaussian.R2!.Value, 1e-15);
        Assert.Null(gaussian.Auc ?? gaussian.Accuracy ?? gaussian.LogLoss);

        var poisson = MetricSet.ForPoisson([0, Math.Log(2)], [1, 1]);
        Assert.Equal((2 - (2 * Math.Log(2))) / 2, poisson.Deviance!.Value, 1e-15);
        Assert.Equal(Math.Sqrt(0.5), poisson.Rmse!.Value, 1e-15);
        Assert.Null(poisson.R2 ?? poisson.Auc ?? poisson.Accuracy ?? poisson.LogLoss);
    }

    [Fact]
    public void MetricSet_NoRows_IsEmpty()
    {
        Assert.Equal(new MetricSet(), MetricSet.ForBinomial([], []));
        Assert.Equal(new MetricSet(), MetricSet.ForGaussian([], []));
        Assert.Equal(new MetricSet(), MetricSet.ForPoisson([], []));
    }

    [Fact]
    public void Metrics_LengthsDiffer_Throw()
    {
        Assert.Throws<ArgumentException>(() => Metrics.Auc([1], [1, 2]));
        Assert.Throws<ArgumentException>(() => MetricSet.ForBinomial([1, 2], [1]));
        Assert.Throws<ArgumentException>(() => MetricSet.ForGaussian([1, 2], [1]));
        Assert.Throws<ArgumentException>(() => MetricSet.ForPoisson([1, 2], [1]));
    }
}
