using System.Globalization;
using System.Text.Json;
using FedLearn.Privacy;
using FedLearn.Privacy.Numerics;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Privacy;

public class NoiseSourceTests
{
    // 25-digit references: upper quantile of the tail probability (word + 1/2)/2^64.
    [Theory]
    [InlineData(0UL, 9.155293772686072545996)]
    [InlineData(1UL, 9.03591884857193797183)]
    [InlineData(2UL, 8.979884744630783114348)]
    [InlineData(31UL, 8.696750349112015881149)]
    [InlineData(32UL, 8.693201797330302124676)]
    [InlineData(33UL, 8.689759444689103336999)]
    [InlineData(1048575UL, 7.423939875108593780988)]
    [InlineData(1048576UL, 7.423939748863402279919)]
    [InlineData(12345678901234567UL, 3.20759011385804289276)]
    [InlineData(148618787703226368UL, 2.406339530912216392906)]
    [InlineData(1152921504606846975UL, 1.534120544352546311929)]
    [InlineData(1152921504606846976UL, 1.534120544352546311488)]
    [InlineData(4611686018427387903UL, 0.6744897501960817432875)]
    [InlineData(4611686018427387904UL, 0.6744897501960817431169)]
    [InlineData(6917529027641081856UL, 0.3186393639643751629505)]
    [InlineData(5000000000000000000UL, 0.6096388259054695468854)]
    [InlineData(9000000000000000000UL, 0.03035748002567302982493)]
    [InlineData(9223370937343148032UL, 1.494066878932636943752e-7)]
    [InlineData(9223372036854775807UL, 6.794229552421305962485e-20)]
    public void Quantile_Reference_Agrees(ulong word, double expected)
    {
        Assert.Equal(expected, RoundedNormal.Quantile(word), 5e-15);
        Assert.Equal(-expected, RoundedNormal.Quantile(word | 1UL << 63), 5e-15);
    }

    [Fact]
    public void Quantile_OracleRows_Agree()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("normal_upper_quantile").EnumerateArray())
        {
            // p = 0.75 2^-k is the word .75 2^(64-k), but for the half that is added to it: 2^k 2^-65 in p, relatively.
            int power = int.Parse(row.GetProperty("p").GetString()!.Split("2^-")[1], CultureInfo.InvariantCulture);
            if (power > 12)
                continue;
            Assert.Equal(row.Number("upper_quantile"), RoundedNormal.Quantile(3UL << (62 - power)), 5e-15);
        }
    }

    [Fact]
    public void UpperQuantile_OracleRows_Agree()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("normal_upper_quantile").EnumerateArray())
        {
            int power = int.Parse(row.GetProperty("p").GetString()!.Split("2^-")[1], CultureInfo.InvariantCulture);
            Assert.Equal(row.Number("upper_quantile"), RoundedNormal.UpperQuantile(Math.ScaleB(0.75, -power)), 5e-15);
        }
    }

    [Fact]
    public void Quantile_SegmentBoundaries_AreContinuousAndFalling()
    {
        for (int octave = 8; octave < 63; octave++)
            for (int piece = 0; piece < 32; piece++)
            {
                ulong boundary = (1UL << octave) + (octave >= 5 ? (ulong)piece << (octave - 5) : 0);
                double before = RoundedNormal.Quantile(boundary - 1), after = RoundedNormal.Quantile(boundary);
                double slope = 1 / (double)boundary;
                Assert.InRange(before - after, -5e-15, slope + 1e-14);
            }
    }

    [Fact]
    public void TestNoise_Seed_GivesTheSameOnEveryMachine()
    {
        var draws = new int[5];
        new TestNoise(7, "insurer").Fill(draws);
        // From an independent implementation with 50-digit arithmetic.
        Assert.Equal([-19632342, 22463560, 486606, 36080212, 11247466], draws);
    }

    [Fact]
    public void TestNoise_TwoFills_EqualOne()
    {
        int[] once = new int[5000], twice = new int[5000];
        new TestNoise(7, "insurer").Fill(once);
        var source = new TestNoise(7, "insurer");
        source.Fill(twice.AsSpan(0, 1234));
        source.Fill(twice.AsSpan(1234));
        Assert.Equal(once, twice);
        Assert.False(source.IsSecure);
    }

    [Fact]
    public void TestNoise_OtherSeedOrStream_IsUnrelated()
    {
        int[] a = new int[1000], b = new int[1000], c = new int[1000];
        new TestNoise(7, "insurer").Fill(a);
        new TestNoise(8, "insurer").Fill(b);
        new TestNoise(7, "clinic").Fill(c);
        Assert.Empty(a.Intersect(b));
        Assert.Empty(a.Intersect(c));
    }

    [Fact]
    public void IsSecure_Sources_SayWhatTheyAre()
    {
        Assert.True(new CsprngNoise().IsSecure);
        Assert.False(new TestNoise(1, "a").IsSecure);
    }
}
