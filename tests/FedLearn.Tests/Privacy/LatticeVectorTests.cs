using System.Numerics;
using System.Runtime.Intrinsics.X86;
using FedLearn.Privacy;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

public class LatticeVectorTests
{
    [Fact]
    public void Pack_AnyIntegersAndWidth_AgreesWithABigIntegerAndComesBack() => Prop.ForAll(
        Gen.Choose(LatticeVector.FewestBits, LatticeVector.MostBits).SelectMany(bits =>
            Gen.Choose(0, 150).SelectMany(length => Gen.Choose(int.MinValue, int.MaxValue).Two().ArrayOf(length)
                .Select(words => (bits, words.Select(w => unchecked(((long)w.Item1 << 32) ^ (uint)w.Item2) >> (64 - bits)).ToArray())))).ToArbitrary(),
        ((int Bits, long[] Integers) sample) =>
        {
            LatticeVector packed = LatticeVector.Pack([.. sample.Integers.Select(i => (double)i)], 0.25, sample.Bits);
            BigInteger expected = 0;
            for (int i = sample.Integers.Length - 1; i >= 0; i--)
                expected = (expected << sample.Bits) | (sample.Integers[i] & ((1L << sample.Bits) - 1));
            Assert.Equal(expected, new BigInteger(packed.Packed.Span, isUnsigned: true));
            Assert.Equal(LatticeVector.BytesOf(sample.Integers.Length, sample.Bits), packed.Packed.Length);
            LatticeVector? back = LatticeVector.Restore(0.25, sample.Bits, sample.Integers.Length, packed.Packed);
            Assert.Equal(sample.Integers.Select(i => 0.25 * i), back!.Values());
        }).QuickCheckThrowOnFailure();

    // Widths of which the vectors take some and the loops the others, with the ends of their ranges.
    [Fact]
    public void Pack_EveryWidth_ComesBackBitForBit()
    {
        var random = new Random(20090276);
        for (int bits = LatticeVector.FewestBits; bits <= LatticeVector.MostBits; bits++)
            for (int length = 0; length < 40; length++)
            {
                long end = 1L << (bits - 1);
                long[] integers = [.. Enumerable.Range(0, length).Select(i => (i % 5) switch { 0 => -end, 1 => end - 1, 2 => -1, _ => random.NextInt64(-end, end) })];
                LatticeVector packed = LatticeVector.Pack([.. integers.Select(i => (double)i)], 0.1, bits);
                // One element at a time, whatever the processor.
                Assert.Equal(integers, packed.Integers());
                Assert.Equal(integers.Select(i => BitConverter.DoubleToInt64Bits(0.1 * i)), packed.Values().Select(BitConverter.DoubleToInt64Bits));
            }
    }

    /// <summary>Numbers and sums that are halves, beyond their limits, and as many as do not fall into fours; beside the same operations one after the other.</summary>
    [Fact]
    public void Sum_AnyNumbersAndNoise_HasTheBitsOfOneAtATime()
    {
        var random = new Random(20090277);
        foreach (double coarseness in new[] { 1, 1.0 / (1 << 18), 1.0 / (1 << 20) })
            for (int length = 0; length < 40; length++)
            {
                const double step = 0.0078125, largest = 1 << 21;
                double limit = largest * coarseness + 3;
                double[] exact = [.. Enumerable.Range(0, length).Select(i => (i % 4) switch { 0 => step * (i - 20.5), 1 => -0.0, 2 => step * random.Next(-(1 << 22), 1 << 22), _ => 20_000 * (random.NextDouble() - 0.5) })];
                int[] noise = [.. Enumerable.Range(0, length).Select(i => (i % 3) switch { 0 => 0, 1 => random.Next(-(1 << 20), 1 << 20), _ => random.Next(int.MinValue, int.MaxValue) })];
                double[] sums = new double[length];
                int done = LatticeLanes.Sum(exact, step, largest, noise, coarseness, limit, sums);
                Assert.Equal(Avx.IsSupported ? length & ~3 : 0, done);
                for (int i = 0; i < done; i++)
                {
                    double sum = Math.Clamp(Math.Round(exact[i] / step), -largest, largest) + noise[i];
                    Assert.Equal(BitConverter.DoubleToInt64Bits(Math.Clamp(Math.Round(sum * coarseness), -limit, limit)), BitConverter.DoubleToInt64Bits(sums[i]));
                }

                // In place, as for values that stay at their party.
                double[] inPlace = [.. exact];
                LatticeLanes.Sum(inPlace, step, largest, noise, coarseness, limit, inPlace);
                Assert.Equal(sums.Take(done), inPlace.Take(done));
            }
    }

    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 3)]
    [InlineData(3, 3)]
    [InlineData(4, 4)]
    [InlineData((1L << 28) - 1, 29)]
    [InlineData(1L << 28, 30)]
    [InlineData((1L << 52) - 1, 53)]
    public void BitsFor_Limit_IsTheNarrowest(long limit, int bits) => Assert.Equal(bits, LatticeVector.BitsFor(limit));

    [Theory]
    [InlineData(0.0, 8, 3, 3)]
    [InlineData(-1.0, 8, 3, 3)]
    [InlineData(double.NaN, 8, 3, 3)]
    [InlineData(double.PositiveInfinity, 8, 3, 3)]
    [InlineData(double.Epsilon, 8, 3, 3)]
    [InlineData(1e300, 53, 8, 53)]          // the largest value overflows
    [InlineData(1.0, 1, 8, 1)]
    [InlineData(1.0, 54, 8, 54)]
    [InlineData(1.0, 8, 3, 4)]
    [InlineData(1.0, 8, -1, 0)]
    [InlineData(1.0, 8, int.MaxValue, 3)]
    public void Restore_PartsThatDoNotFit_IsNull(double step, int bits, int length, int bytes) =>
        Assert.Null(LatticeVector.Restore(step, bits, length, new byte[bytes]));

    [Fact]
    public void Restore_UnusedBitsSet_IsNull()
    {
        Assert.NotNull(LatticeVector.Restore(1, 7, 1, new byte[] { 0x7F }));
        Assert.Null(LatticeVector.Restore(1, 7, 1, new byte[] { 0xFF }));
    }
}
