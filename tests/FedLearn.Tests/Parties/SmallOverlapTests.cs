using FedLearn.Parties;

namespace FedLearn.Tests.Parties;

public sealed class SmallOverlapTests
{
    [Theory]
    [InlineData(0, 0, false)]
    [InlineData(1, 0, true)]
    [InlineData(20_000, 1_999, true)]
    [InlineData(20_000, 2_000, false)]                                       // a tenth is enough
    [InlineData(int.MaxValue, int.MaxValue, false)]
    [InlineData(20_000, null, false)]                                        // not told
    public void Warnings_FewerThanATenth_Asks(int own, int? common, bool warns) => Assert.Equal(warns, SmallOverlap.Warnings("bank", own, common).Any());

    [Fact]
    public void Warnings_Few_SaysBothCounts() =>
        Assert.StartsWith("only 812 of the 20,000 rows of 'bank' are common", Assert.Single(SmallOverlap.Warnings("bank", 20_000, 812)), StringComparison.Ordinal);
}
