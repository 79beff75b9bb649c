using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

public class RowClipTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(1e-50)]
    [InlineData(1e80)]
    public void Rows_AnySize_EndWithinTheBoundAndItsSlackAndKeepTheirDirection(double bound)
    {
        var random = new Random(5);
        for (int k = 1; k < 200; k += 7)
        {
            double[] rows = [.. Enumerable.Range(0, 50 * k).Select(i => (2 * random.NextDouble() - 1) * bound * Math.Pow(10, i / k % 5 * 3 - 3))], before = [.. rows];
            RowClip.Rows(rows, k, bound);
            for (int i = 0; i < 50; i++)
            {
                ReadOnlySpan<double> row = rows.AsSpan(i * k, k), was = before.AsSpan(i * k, k);
                Assert.True(Norm(row) <= bound * (1 + RowClip.Slack(k)));
                if (Norm(was) <= bound)
                    Assert.Equal(was.ToArray(), row.ToArray());
                else
                    Assert.Equal(was[0] / Norm(was), row[0] / bound, 1e-12);
            }
        }
    }

    [Fact]
    public void Rows_SquaresThatOverflow_AreClippedWithTheirSigns()
    {
        double[] row = [-3e250, 4e250];
        RowClip.Rows(row, 2, 5);
        Assert.Equal([-3, 4], row.Select(v => Math.Round(v, 12)));
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void Rows_NotFinite_BecomeWhatNoMechanismReleases(double value)
    {
        double[] row = [value, 1];
        RowClip.Rows(row, 2, 1);
        Assert.Contains(row, v => !double.IsFinite(v));
    }

    [Fact]
    public void Factors_SquaredNorms_AreThoseOfTheClip()
    {
        double[] factors = new double[6];
        RowClip.Factors([0, 0.25, 1, 4, double.PositiveInfinity, double.NaN], 1, factors);
        Assert.Equal([1, 1, 1, 0.5, 0, 0], factors);
        Assert.Throws<ArgumentException>(() => RowClip.Factors([1], 1, factors));
        Assert.Throws<ArgumentException>(() => RowClip.Rows(new double[3], 2, 1));
        Assert.Throws<ArgumentException>(() => RowClip.Rows(new double[3], 3, 0));
    }

    // With the larger part taken out, so that nothing overflows or is lost.
    private static double Norm(ReadOnlySpan<double> row)
    {
        double largest = 0, squares = 0;
        foreach (double v in row)
            largest = Math.Max(largest, Math.Abs(v));
        foreach (double v in row)
            squares += largest == 0 ? 0 : v / largest * (v / largest);
        return largest * Math.Sqrt(squares);
    }
}
