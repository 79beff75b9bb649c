using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

public class BatchLayoutTests
{
    [Fact]
    public void Layout_AnyRowsAndBatches_CoversRowsOnceLargerBatchesFirst()
    {
        for (int rows = 1; rows <= 40; rows++)
            for (int batches = 1; batches <= rows; batches++)
            {
                var layout = new BatchLayout(rows, batches);
                int next = 0;
                for (int t = 0; t < batches; t++)
                {
                    Assert.Equal(next, layout.Start(t));
                    Assert.Equal(t < rows % batches ? (rows + batches - 1) / batches : rows / batches, layout.Size(t));
                    next += layout.Size(t);
                }

                Assert.Equal(rows, next);
                Assert.Equal(layout.Size(0), layout.LargestSize);
                Assert.Equal(layout.Size(batches - 1), layout.SmallestSize);
            }
    }

    [Theory]
    [InlineData(569, 100, 6)]
    [InlineData(600, 100, 6)]
    [InlineData(1, int.MaxValue, 1)]
    [InlineData(int.MaxValue, 1, int.MaxValue)]
    public void FromBatchSize_RowsAndSize_CountsCeiling(int rows, int size, int batches)
    {
        BatchLayout layout = BatchLayout.FromBatchSize(rows, size);
        Assert.Equal(batches, layout.Count);
        Assert.True(layout.LargestSize <= size);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(-1, 1)]
    [InlineData(5, 0)]
    [InlineData(5, 6)]
    public void Layout_IllegalNumbers_AreRefused(int rows, int batches) =>
        Assert.Equal(PrivacyErrors.InvalidLayout, Assert.Throws<ConfigurationException>(() => new BatchLayout(rows, batches)).Id);

    [Theory]
    [InlineData(0, 1)]
    [InlineData(5, 0)]
    public void FromBatchSize_IllegalNumbers_AreRefused(int rows, int size) =>
        Assert.Equal(PrivacyErrors.InvalidLayout, Assert.Throws<ConfigurationException>(() => BatchLayout.FromBatchSize(rows, size)).Id);

    [Fact]
    public void Size_BatchOutOfRange_Throws()
    {
        var layout = new BatchLayout(5, 2);
        Assert.Throws<ArgumentOutOfRangeException>(() => layout.Size(2));
        Assert.Throws<ArgumentOutOfRangeException>(() => layout.Start(-1));
    }
}
