using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Baselines.Tests;

public class AnswerSpaceTests
{
    private static readonly AnswerSpace Space = new((BigInteger.One << 120) - 159, 16, BigInteger.One << 88, 78);

    [Theory]
    [InlineData(0), InlineData(1), InlineData(-1), InlineData(12345.678), InlineData(-2147483647.5)]
    public void Value_MaskedNumber_IsTheNumber(double number)
    {
        BigInteger integer = new BigInteger(number * 65536) << 72, mask = Space.Modulus - 7;

        Assert.Equal(Math.Truncate(number * 65536) / 65536, Space.Value(BigInteger.Remainder(integer + mask + Space.Modulus, Space.Modulus), mask), 1e-12);
    }

    [Fact]
    public void Value_UnitBeyondDouble_IsTheRatio() =>
        Assert.Equal(.5, new AnswerSpace((BigInteger.One << 3000) - 1, 375, BigInteger.One << 2000, 0).Value(BigInteger.One << 1999, 0), 1e-15);
}
