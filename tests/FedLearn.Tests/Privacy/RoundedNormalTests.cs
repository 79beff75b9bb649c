using System.Globalization;
using System.Numerics;
using System.Runtime.Intrinsics.X86;
using System.Text.Json;
using FedLearn.Privacy;
using FedLearn.Privacy.Numerics;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Privacy;

/// <summary>The map from words to draws: exact references, the fast path against the exact one, and the bits that are used.</summary>
public class RoundedNormalTests
{
    private const ulong Sign = 1UL << 63;

    // 2,633 lines of eng/proofs/sampler_expectations.py (60 digits, other software): segment and octave boundaries and their neighbours, and the words
    // in which a draw gives way to the next, where nothing but the further bits decide.
    [Fact]
    public void Draw_BoundaryWords_IsTheExactOne()
    {
        var bits = new Fixed(Sign);
        int last = -1;
        foreach (string line in File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Privacy", "sampler-expectations.csv")))
        {
            string[] parts = line.Split(',');
            (int scaleBits, int expected) = (int.Parse(parts[0], CultureInfo.InvariantCulture), int.Parse(parts[2], CultureInfo.InvariantCulture));
            ulong word = ulong.Parse(parts[1], CultureInfo.InvariantCulture);
            Assert.Equal(expected, RoundedNormal.Exact(ref bits, 0, word, scaleBits));
            ulong[] words = [word, word | Sign];
            Assert.Equal([expected, -expected], Draws(words, scaleBits, bits));
            last = scaleBits;
        }

        Assert.Equal(24, last);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(10)]
    [InlineData(24)]
    public void Draw_ForcedToIntegers_HasTheSameBits(int scaleBits)
    {
        // Half of the words uniform, half spread evenly over the octaves.
        var random = new Random(20090276 + scaleBits);
        var words = new ulong[TestCounts.Of(3_000)];
        for (int i = 0; i < words.Length; i++)
            words[i] = Word(random) >> (i % 2 == 0 ? 0 : random.Next(64));
        var bits = new Fixed(0x0123_4567_89AB_CDEF);
        Assert.Equal(words.Select((word, i) => RoundedNormal.Exact(ref bits, (ulong)i, word, scaleBits)), Draws(words, scaleBits, bits));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(24)]
    public void Draw_EightAtATime_HasTheSameBits(int scaleBits)
    {
        Assert.SkipUnless(Avx512DQ.IsSupported, "this processor has no AVX-512");
        HasTheBitsOfOneAtATime(scaleBits, RoundedNormal.TransformEights);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(24)]
    public void Draw_FourAtATime_HasTheSameBits(int scaleBits)
    {
        Assert.SkipUnless(Avx2.IsSupported && Fma.IsSupported, "this processor has no AVX2 or no FMA");
        HasTheBitsOfOneAtATime(scaleBits, RoundedNormal.TransformFours);
    }

    private static void HasTheBitsOfOneAtATime(int scaleBits, Transform transform)
    {
        var random = new Random(20090276 + scaleBits);
        var words = new ulong[TestCounts.Of(200_000)];
        for (int i = 0; i < words.Length; i++)
            words[i] = i % 256 != 0 ? Word(random) : Word(random) & Sign | Word(random) >> random.Next(1, 50);
        var bits = new Fixed(0x0123_4567_89AB_CDEF);
        var draws = new int[words.Length];
        int exact = transform(ref bits, 0, words, draws, scaleBits);
        Assert.Equal(Draws(words, scaleBits, bits), draws);
        Assert.Equal(RoundedNormal.TransformScalar(ref bits, 0, words, draws, scaleBits), exact);
    }

    // The fast path must not take a word that holds a threshold, for there the further bits decide.
    [Fact]
    public void Draw_WordOfAThreshold_IsDecidedByIntegers()
    {
        var bits = new Fixed(0);
        for (int m = 0; m < 5 << 24; m += 83_886_077 / 500)
            Assert.Equal(1, RoundedNormal.TransformScalar(ref bits, 0, [Threshold(m, 24, 64).Word], new int[1], 24));
    }

    // O4 and O5: in the word that a threshold falls into, the next 64 bits decide, and if those are the threshold's own, the 64 after them.
    [Theory]
    [InlineData(0, 0)]
    [InlineData(0, 3)]
    [InlineData(10, 2500)]
    [InlineData(24, 0)]
    [InlineData(24, 12345678)]
    [InlineData(24, 150000000)]
    public void Draw_WordOfAThreshold_IsDecidedByTheFurtherBits(int scaleBits, int m)
    {
        (ulong word, ulong second, ulong third) = Threshold(m, scaleBits, 192);

        // A larger p is a smaller draw.
        Assert.Equal(m, Draw(second + 1, 0));
        Assert.Equal(m + 1, Draw(second - 1, 0));
        Assert.Equal(m, Draw(second, third + 1));
        Assert.Equal(m + 1, Draw(second, third - 1));

        int Draw(ulong first, ulong next)
        {
            var bits = new Fixed(first, next);
            int draw = RoundedNormal.Exact(ref bits, 5, word | Sign, scaleBits);
            Assert.Equal(first == second ? 2 : 1, bits.Asked);
            return -draw;
        }
    }

    // O4: what the comparison in 128 bits says of the tails around a threshold is what wider enclosures of it say.
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(10)]
    [InlineData(24)]
    public void NormalTail_CompareAroundAThreshold_AgreesWithWiderEnclosures(int scaleBits)
    {
        const int More = 60;
        var random = new Random(20261127 + scaleBits);
        for (int i = 0; i < TestCounts.Of(2_000); i++)
        {
            // Up to 9 deviations: beyond 8 it leaves them to the enclosures.
            long numerator = 2 * (long)(random.NextDouble() * 9 * (1 << scaleBits)) + 1;
            (BigInteger low, BigInteger high) = NormalTail.Enclose(numerator, scaleBits + 1, 64 + More);
            double x = Math.ScaleB(numerator, -scaleBits - 1);
            for (int step = -3; step <= 3; step++)
            {
                BigInteger tail = (low >> More) + step;
                if (tail.Sign < 0 || tail >= BigInteger.One << 63)
                    continue;
                int expected = tail << More > high ? 1 : tail + 1 << More < low ? -1 : 0;
                int? found = NormalTail.Compare((ulong)tail, numerator, scaleBits + 1);
                // 72 bits or more: only beside the threshold may it leave open what 124 bits decide.
                if (x < 7.9 && Math.Abs(step) != 1)
                    Assert.Equal(expected, found);
                else
                    Assert.True(found is null or 0 || found == expected);
                Assert.True(found is null ? x > 7.9 : x < 8.1);
            }
        }
    }

    // The rounds of a training must not leave memory behind, and some draw of theirs comes here.
    [Fact]
    public void Draw_DecidedByIntegers_AllocatesNextToNothing()
    {
        var bits = new Fixed(0);
        ulong word = Threshold(12_345_678, 24, 64).Word + 2;
        RoundedNormal.Exact(ref bits, 0, word, 24);
        long before = GC.GetAllocatedBytesForCurrentThread();
        RoundedNormal.Exact(ref bits, 0, word, 24);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 200);
    }

    [Fact]
    public void Draw_EndlessZeros_Saturates()
    {
        var bits = new Fixed(0, 0);
        Assert.Equal(INoiseSource.Saturation, RoundedNormal.Exact(ref bits, 0, 0, 24));
        Assert.Equal(-INoiseSource.Saturation, RoundedNormal.Exact(ref bits, 0, Sign, 24));
        Assert.Equal(32, RoundedNormal.Exact(ref bits, 0, 0, 0));
    }

    [Fact]
    public void Pmf_OracleRows_Agree()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("sampler_pmf").EnumerateArray())
        {
            int k = row.Integer("k");
            if (row.GetProperty("s").GetString() == "0.5")
                continue;   // the lattice has whole steps
            int scaleBits = BitOperations.Log2((uint)row.Number("s"));

            // P(K = k) = Q((k - 1/2)/s) - Q((k + 1/2)/s), Q(-x) = 1 - Q(x): what Exact compares a uniform with.
            const int bits = 160;
            BigInteger upper = NormalTail.Enclose(Math.Abs(2 * k - 1), scaleBits + 1, bits).Low, lower = NormalTail.Enclose(2 * k + 1, scaleBits + 1, bits).Low;
            double probability = Math.ScaleB((double)((k == 0 ? (BigInteger.One << bits) - upper : upper) - lower), -bits), expected = row.Number("rounded_gaussian_pmf");
            Assert.Equal(expected, probability, expected * 1e-14);
        }
    }

    [Fact]
    public void NormalTail_OracleQuantiles_AreEnclosed()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("normal_upper_quantile").EnumerateArray())
        {
            // The stored 25 digits are within 1e-22, in probability within 1e-22 of the density.
            int power = int.Parse(row.GetProperty("p").GetString()!.Split("2^-")[1], CultureInfo.InvariantCulture);
            decimal z = decimal.Parse(row.GetProperty("upper_quantile").GetString()!, CultureInfo.InvariantCulture);
            const int bits = 150;
            BigInteger scaled = new BigInteger(z * 10_000_000_000_000_000_000m) << 80, unit = BigInteger.Pow(10, 19);
            (BigInteger low, BigInteger high) = NormalTail.Enclose(scaled / unit, 80, bits);
            BigInteger p = (BigInteger)3 << (bits - power - 2);
            Assert.True(BigInteger.Abs((low + high) / 2 - p) < BigInteger.One << (bits - 58 - power));
        }
    }

    // Enclosures of more bits lie within those of fewer, and are a few units wide.
    [Fact]
    public void NormalTail_MoreBits_NestsInFewer()
    {
        var random = new Random(20090276);
        for (int run = 0; run < 200; run++)
        {
            long numerator = random.NextInt64(0, 40L << 25);
            (BigInteger low, BigInteger high) = NormalTail.Enclose(numerator, 25, 96);
            (BigInteger innerLow, BigInteger innerHigh) = NormalTail.Enclose(numerator, 25, 256);
            Assert.InRange(high - low, 1, 2);
            Assert.True(low << 160 <= innerLow && innerHigh <= high << 160);
        }
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(25)]
    public void Transform_ScaleOutOfRange_IsRefused(int scaleBits) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Draws([1], scaleBits, new Fixed()));

    private delegate int Transform(ref Fixed bits, ulong first, scoped ReadOnlySpan<ulong> words, Span<int> draws, int scaleBits);

    private static int[] Draws(ulong[] words, int scaleBits, Fixed bits)
    {
        var draws = new int[words.Length];
        RoundedNormal.TransformScalar(ref bits, 0, words, draws, scaleBits);
        return draws;
    }

    private static ulong Word(Random random) => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue));

    /// <summary>The first bits of Q((m + 1/2)/s).</summary>
    private static (ulong Word, ulong Second, ulong Third) Threshold(int m, int scaleBits, int bits)
    {
        BigInteger tail = NormalTail.Enclose(2 * (long)m + 1, scaleBits + 1, bits + 64).Low >> 64 << (192 - bits);
        return ((ulong)(tail >> 128), (ulong)(tail >> 64 & ulong.MaxValue), (ulong)(tail & ulong.MaxValue));
    }

    /// <summary>Further bits that are the same for every draw; after those given, the last again.</summary>
    private struct Fixed(params ulong[] further) : IUniformBits
    {
        public int Asked { get; private set; }

        public readonly void Leading(ulong first, scoped Span<ulong> words) => words.Clear();

        public ulong Further(ulong draw, int part)
        {
            Asked = part;
            return further[Math.Min(part, further.Length) - 1];
        }
    }
}
