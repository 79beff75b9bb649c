using System.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy.JointGradients;

public class FloodingTests
{
    /// <summary>Every leading part of a word once, in turn.</summary>
    private sealed class Counter(int bits) : IUniformSource
    {
        private ulong _next;

        public bool IsSecure => false;

        public int Drawn => (int)_next;

        public void Fill(Span<ulong> destination)
        {
            foreach (ref ulong word in destination)
                word = _next++ << (64 - bits);
        }
    }

    // Exact uniformity: of all words that there are, each value below the bound has one, and the others are refused.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    [InlineData(64)]
    [InlineData(65)]
    [InlineData(1000)]
    public void Below_EveryWord_GivesEveryValueOnce(int bound)
    {
        int bits = (int)(new BigInteger(bound) - 1).GetBitLength();
        var words = new Counter(bits);
        BigInteger[] values = [.. Enumerable.Range(0, bound).Select(_ => Flooding.Below(bound, words))];
        Assert.Equal(Enumerable.Range(0, bound).Select(i => new BigInteger(i)), values.Order());
        Assert.InRange(words.Drawn, 0, 1 << bits);
    }

    // 130 bits: three words, cells by the leading four bits of the range. Seed fixed; false-alarm rate 1e-6: the 1 - 1e-6 quantile of chi-square with 12 degrees is 51.1.
    [Fact]
    public void Below_BoundOfSeveralWords_FillsItsRangeEvenly()
    {
        BigInteger bound = (BigInteger.One << 129) + (BigInteger.One << 127) + 12345;
        var words = new TestUniform(20261126, "flooding");
        var counts = new long[13];
        const int draws = 130_000;
        for (int i = 0; i < draws; i++)
            counts[(int)(Flooding.Below(bound, words) * 13 / bound)]++;
        Assert.InRange(counts.Sum(c => Math.Pow(c - draws / 13.0, 2) / (draws / 13.0)), 0, 51.1);
    }

    // Each condition fails by chance with probability 2^-100 or less.
    [Fact]
    public void Uniform_SeventyEightBits_IsWithinItsRangeOnBothSides()
    {
        BigInteger half = BigInteger.One << 77;
        BigInteger[] drawn = [.. Enumerable.Range(0, 1000).Select(_ => Flooding.Uniform(78))];
        Assert.All(drawn, value => Assert.True(value >= -half && value < half));
        Assert.Contains(drawn, value => value > half / 2);
        Assert.Contains(drawn, value => value < -half / 2);
        Assert.Contains(drawn, value => !value.IsEven);
    }

    [Fact]
    public void Uniform_FewBits_HitsExactlyItsValues()
    {
        Assert.Equal(BigInteger.Zero, Flooding.Uniform(0));

        // A value of four is missed with probability below 1e-50.
        Assert.Equal([-2, -1, 0, 1], Enumerable.Range(0, 500).Select(_ => (int)Flooding.Uniform(2)).Distinct().Order());
        Assert.Throws<ArgumentOutOfRangeException>(() => Flooding.Uniform(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => Flooding.Uniform(4097));
    }
}
