using System.Numerics;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Privacy;

public class RandomizedResponseTests
{
    private static readonly BigInteger Words = BigInteger.One << 64;

    /// <summary>Bounds on e^x as fractions over one denominator: the Taylor series of the exact fraction that a double is, and what is left of it.</summary>
    private static (BigInteger Low, BigInteger High, BigInteger Denominator) Exponential(double x)
    {
        // Sixty bits after the point hold every case exactly.
        (BigInteger numerator, BigInteger denominator) = ((BigInteger)Math.ScaleB(x, 60), BigInteger.One << 60);
        Assert.Equal(x, (double)numerator / (double)denominator);
        const int terms = 220;
        BigInteger sum = 0;                                             // sum over k of x^k/k!, times denominator^terms terms!
        for (int k = terms; k >= 0; k--)
            sum += BigInteger.Pow(numerator, k) * BigInteger.Pow(denominator, terms - k) * Product(k, terms);
        // Terms beyond fall by a half or more each, since x is below terms/2: together they are below the last one.
        return (sum, sum + BigInteger.Pow(numerator, terms), Product(0, terms) * BigInteger.Pow(denominator, terms));

        static BigInteger Product(int from, int to)
        {
            BigInteger product = 1;
            for (int i = from + 1; i <= to; i++)
                product *= i;
            return product;
        }
    }

    [Theory]
    [InlineData(0.125, 2)]
    [InlineData(0.5, 2)]
    [InlineData(1, 2)]
    [InlineData(2.75, 2)]
    [InlineData(10, 2)]
    [InlineData(40, 2)]
    [InlineData(1, 3)]
    [InlineData(0.75, 10)]
    [InlineData(5.5, 256)]
    public void Probabilities_Ratio_IsAtMostEToTheEpsilonAndNoSmallerThanItMustBe(double epsilon, int classes)
    {
        (BigInteger low, BigInteger high, BigInteger denominator) = Exponential(epsilon);
        BigInteger other = new RandomizedResponse(epsilon, classes).OtherWords;
        // P/Q <= e^eps, P = 2^64 - (M - 1) Q in words; with one word less for each other class it is above.
        Assert.True((Words - (classes - 1) * other) * denominator <= low * other);
        Assert.True((Words - (classes - 1) * (other - 1)) * denominator > high * (other - 1));
    }

    [Fact]
    public void Probabilities_OracleRows_AreTheSmallestMultipleAbove()
    {
        foreach (System.Text.Json.JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("label_randomized_response").EnumerateArray())
        {
            decimal flip = decimal.Parse(row.GetProperty("flip_prob").GetString()!, System.Globalization.CultureInfo.InvariantCulture);
            const long ten = 10_000_000_000_000;
            BigInteger scaled = new BigInteger(flip * ten) * ten + new BigInteger(flip * ten % 1 * ten), scale = (BigInteger)ten * ten;
            var response = new RandomizedResponse(row.Number("epsilon"));
            Assert.Equal(scaled * Words / scale + 1, response.OtherWords);
            // Of the label as -1 and +1: twice the deviation of the debiased indicator.
            Assert.Equal(row.Number("debiased_pm1_label_std_max"), 2 * Math.Sqrt(response.KeepProbability * response.OtherProbability) / response.Gap, 1e-12);
        }
    }

    [Fact]
    public void Probabilities_HugeEpsilon_LeaveOneWord()
    {
        Assert.Equal(1UL, new RandomizedResponse(45).OtherWords);
        Assert.Equal(1UL, new RandomizedResponse(1e300).OtherWords);
    }

    [Fact]
    public void Constructor_EpsilonNearZero_IsRefused()
    {
        Assert.Equal(OneRoundErrors.LabelsSayNothing, Assert.Throws<PrivacyRefusedException>(() => new RandomizedResponse(1e-13)).Id);
        Assert.Equal(OneRoundErrors.LabelsSayNothing, Assert.Throws<PrivacyRefusedException>(() => new RandomizedResponse(double.Epsilon, 9)).Id);
        foreach (double epsilon in (double[])[0, -1, double.NaN, double.PositiveInfinity])
            Assert.Throws<ConfigurationException>(() => new RandomizedResponse(epsilon));
        Assert.Throws<ConfigurationException>(() => new RandomizedResponse(1, 1));
        Assert.Throws<ConfigurationException>(() => new RandomizedResponse(1, 257));
    }

    [Fact]
    public void Randomize_LabelOfNoClass_IsRefusedAndNotQuoted() =>
        Assert.DoesNotContain("97", Assert.Throws<ArgumentOutOfRangeException>(() => new RandomizedResponse(1).Randomize([0, 97], new CsprngUniform())).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData(0.1, 2)]
    [InlineData(1, 2)]
    [InlineData(3, 5)]
    public void Debias_MeanOverTheDraw_IsTheIndicator(double epsilon, int classes)
    {
        var response = new RandomizedResponse(epsilon, classes);
        double p = response.KeepProbability, q = response.OtherProbability;
        Assert.Equal(1, p + (classes - 1) * q, 1e-14);
        Assert.Equal(1, p * response.Debias(true) + (1 - p) * response.Debias(false), 1e-12);
        Assert.Equal(0, q * response.Debias(true) + (1 - q) * response.Debias(false), 1e-12);
    }

    [Fact]
    public void Randomize_GivenWords_ComparesThemWithTheThreshold()
    {
        var response = new RandomizedResponse(1, 3);
        ulong q = response.OtherWords;
        // Words below (M - 1) Q choose another class, Q words each; from there on the label stays.
        byte[] drawn = response.Randomize([1, 1, 1, 1, 1, 0, 2], new Given([0, q - 1, q, 2 * q - 1, 2 * q, 0, q]));
        Assert.Equal([0, 0, 2, 2, 1, 1, 1], drawn);
        Assert.Throws<ArgumentOutOfRangeException>(() => response.Randomize([3], new Given([ulong.MaxValue])));
    }

    [Fact]
    public void Uniform_TestWords_RepeatAndDifferByStream()
    {
        ulong[] a = new ulong[9], b = new ulong[9], c = new ulong[9];
        new TestUniform(1, "x").Fill(a);
        new TestUniform(1, "x").Fill(b);
        new TestUniform(1, "y").Fill(c);
        Assert.Equal(a, b);
        Assert.Equal(9, a.Distinct().Count());
        Assert.Empty(a.Intersect(c));
        Assert.False(new TestUniform(1, "x").IsSecure);
        Assert.True(new CsprngUniform().IsSecure);
    }

    [Fact]
    public void Release_WithoutTheLedger_IsRefused()
    {
        var ledger = new InMemoryLedger();
        var response = new RandomizedResponse(1);
        Assert.Equal(OneRoundErrors.LabelsNotKept, Assert.Throws<PrivacyRefusedException>(() => response.Release(ledger, "bank", "key", [0])).Id);
        ledger.Reserve(Charge(), new KeptRelease("key", new byte[] { 1, 0, 2 }));
        Assert.Equal([0, 1], response.Release(ledger, "bank", "key", [1, 0]).Payload.Classes.ToArray());
        Assert.Equal(Protection.RandomizedResponse, response.Release(ledger, "bank", "key", [0]).Protection);
        Assert.Throws<PrivacyRefusedException>(() => response.Release(ledger, "bank", "key", [2])); // no class of two
        Assert.Throws<PrivacyRefusedException>(() => response.Release(ledger, "bank", "key", [3])); // no such row
    }

    [Fact]
    public void NoisyTargets_KeptAndSent_AreTheLabelsWithLatticeNoise()
    {
        double[] labels = [-3, -2, 0, 1.5, 2, 7];
        var mechanism = new NoisyTargetMechanism(-2, 2, 1, 1e-5);
        Assert.InRange(mechanism.Sigma, 4 * GaussianDp.Sigma(1, 1e-5), 4 * GaussianDp.Sigma(1, 1e-5) * (1 + 1e-6));
        var ledger = new InMemoryLedger();
        ledger.Reserve(Charge(), new KeptRelease("key", mechanism.Randomize(labels, new TestNoise(3, "x"))));
        Released<NoisyTargets> sent = mechanism.Release(ledger, "bank", "key", labels.Length, [5, 0, 2]);
        int[] noise = new int[labels.Length];
        new TestNoise(3, "x").Fill(noise);
        double fine = mechanism.Sigma / INoiseSource.LatticeScale, step = mechanism.Sigma / (1 << GaussianMechanism.UsualLatticeBits);
        Assert.Equal([2 + fine * noise[5], -2 + fine * noise[0], fine * noise[2]], sent.Payload.Values.ToArray(), (a, b) => Math.Abs(a - b) <= step / 2 + fine);
        Assert.Equal(step, sent.Payload.Lattice!.Step);
        Assert.Equal(OneRoundErrors.LabelsNotKept, Assert.Throws<PrivacyRefusedException>(() => mechanism.Release(ledger, "bank", "key", 5, [0])).Id);
        Assert.Throws<ConfigurationException>(() => new NoisyTargetMechanism(2, 2, 1, 1e-5));
        // Whose rounding would cost more than the budget has.
        Assert.Equal(PrivacyErrors.LatticeTooCoarse, Assert.Throws<PrivacyRefusedException>(() => new NoisyTargetMechanism(0, 1, 1e-9, 1e-9)).Id);
        // Labels below 0 have as much room as those above.
        Assert.Equal(new NoisyTargetMechanism(-1, 1e6, 1000, 1e-5).BitsOf(), new NoisyTargetMechanism(-1e6, 1, 1000, 1e-5).BitsOf());
        Assert.Throws<ConfigurationException>(() => new NoisyTargetMechanism(0, double.PositiveInfinity, 1, 1e-5));
        Assert.Equal(PrivacyErrors.NoiseTooSmall, Assert.Throws<PrivacyRefusedException>(() => new NoisyTargetMechanism(1e9, 1e9 + 1, 1, 1e-5)).Id);
    }

    // A label is rounded to the lattice, and the quotient before that errs by as much at worst: two steps of the noise's own lattice.
    [Fact]
    public void NoisyTargets_SmallBudget_PaysForBothRoundings()
    {
        var mechanism = new NoisyTargetMechanism(0, 10, 1e-4, 1e-7);
        double due = 10 + 2 * mechanism.Sigma / INoiseSource.LatticeScale;
        Assert.InRange(due, 10.001, 11);
        Assert.InRange(mechanism.Sigma * mechanism.Mu, due * (1 - 1e-13), due * (1 + 1e-12));
    }

    private static PrivacyCharge Charge() => TestCharge.New() with { PureEpsilon = 1, MuSquared = 0 };

    private sealed class Given(ulong[] words) : IUniformSource
    {
        public bool IsSecure => false;

        public void Fill(Span<ulong> destination) => words.CopyTo(destination);
    }
}
