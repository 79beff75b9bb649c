using FedLearn.Evaluation;

namespace FedLearn.Tests.Evaluation;

public sealed class PerfectRankingTests
{
    [Theory]
    [InlineData(1.0, 100, true)]
    [InlineData(0.9995, 100, true)]
    [InlineData(0.9994, 100, false)]
    [InlineData(1.0, 99, false)]
    [InlineData(null, 100, false)]
    public void Warnings_OrderAlmostWithoutAMistake_Asks(double? auc, int rows, bool warns) => Assert.Equal(warns, PerfectRanking.Warnings(new MetricSet { Auc = auc }, rows, "test").Any());

    [Fact]
    public void Warnings_TrainingRows_NamesColumnsThatAreTooMany() => Assert.Contains("as many columns together as there are training rows",
        Assert.Single(PerfectRanking.Warnings(new MetricSet { Auc = 1 }, 5_000, "training")), StringComparison.Ordinal);

    [Fact]
    public void Warnings_NotMeasured_None() => Assert.Empty(PerfectRanking.Warnings(null, 1000, "training"));

    [Fact]
    public void Warnings_Text_SaysWhatItSawAndWhatToDo() => Assert.StartsWith("the model orders the 5,000 test rows almost without a mistake (AUC 0.9999): where that is too good to be true, a column repeats the label",
        Assert.Single(PerfectRanking.Warnings(new MetricSet { Auc = 0.9999 }, 5_000, "test")), StringComparison.Ordinal);
}
