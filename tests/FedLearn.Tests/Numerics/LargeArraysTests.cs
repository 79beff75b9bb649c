using FedLearn.Numerics;

namespace FedLearn.Tests.Numerics;

public class LargeArraysTests
{
    // 8 MiB is where huge pages are asked for.
    [Theory]
    [InlineData(0)]
    [InlineData(1000)]
    [InlineData((8 << 20) / sizeof(double))]
    [InlineData((9 << 20) / sizeof(double) + 3)]
    public void Create_AnyLength_IsZerosThatCanBeWritten(int length)
    {
        double[] cells = LargeArrays.Create<double>(length);
        Assert.Equal(length, cells.Length);
        Assert.True(cells.AsSpan().IndexOfAnyExcept(0) < 0);
        cells.AsSpan().Fill(1);
        Assert.Equal(length, cells.Sum());
    }
}
