using System.Numerics;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy.JointGradients;

public class JointGradientMechanismTests
{
    private static readonly BigInteger Modulus = (BigInteger.One << 60) - 93;

    /// <summary>Gives the noise it is told.</summary>
    private sealed class FixedNoise(int value) : INoiseSource
    {
        public bool IsSecure => false;

        public void Fill(Span<int> destination) => destination.Fill(value);
    }

    /// <summary>Gives one word, again and again.</summary>
    private sealed class FixedWord(ulong word) : IUniformSource
    {
        public bool IsSecure => false;

        public void Fill(Span<ulong> destination) => destination.Fill(word);
    }

    private static JointGradientCalibration Calibration(JointGradientParameters p) => JointGradientCalibration.Calibrate(p, 1, 1e-5);

    /// <summary>A calibration whose step in a batch of one row is what is asked for.</summary>
    private static JointGradientCalibration WithStep(int step, int floodBits)
    {
        JointGradientCalibration calibration = Calibration(JointGradientCalibrationTests.Logistic with { SmallestBatch = 1, MeanError = 0, Unit = 1 << 24, FloodBits = floodBits });
        calibration = calibration with { Sigma = step };
        Assert.Equal(step, calibration.StepOf(1));
        return calibration;
    }

    private static BigInteger[] Read(MaskedAnswers answers, int bytes) =>
        [.. Enumerable.Range(0, answers.Length).Select(j => new BigInteger(answers.Bytes.Span.Slice(j * bytes, bytes), isUnsigned: true))];

    // Theorem 3 by enumeration. Whatever is opened: each residue comes from equally many values of the flooding; what is left, given the residue and the multiple of the
    // step that was drawn, is one integer; and two opened integers have such integers at most |m - m'|/step + 1 apart.
    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 0)]
    [InlineData(5, 0)]
    [InlineData(5, 3)]
    [InlineData(7, 2)]
    [InlineData(3, 5)]
    public void Release_EveryFlooding_HasUniformResiduesAndFixedQuotients(int step, int floodBits)
    {
        JointGradientCalibration calibration = WithStep(step, floodBits);
        int flood = (int)calibration.FloodOf(step);
        Assert.Equal((((1 << floodBits) + step - 1) / step) * step, flood);
        int bits = (int)(new BigInteger(flood) - 1).GetBitLength();
        const int noise = 3;

        // Opened integers that are small, large, and such that the answer wraps; as differences from a public number.
        int[] offsets = [-23, -6, -5, -1, 0, 1, 2, 4, 5, 11, 30];
        foreach (BigInteger mask in (BigInteger[])[BigInteger.One << 40, 0, Modulus - 1])
        {
            var quotients = new Dictionary<(int Offset, int Residue), long>();
            foreach (int offset in offsets)
            {
                var counts = new int[step];
                for (int f = 0; f < flood; f++)
                {
                    var mechanism = new JointGradientMechanism(calibration, new FixedNoise(noise), new FixedWord(bits == 0 ? 0 : (ulong)f << (64 - bits)));
                    BigInteger opened = ((mask + offset) % Modulus + Modulus) % Modulus;
                    BigInteger answer = Read(mechanism.Release("a", [opened], Modulus, 8, 1, "gradients").Payload, 8)[0];
                    BigInteger unmasked = (answer - mask + (flood >> 1) + Modulus) % Modulus;
                    long value = (long)(2 * unmasked >= Modulus ? unmasked - Modulus : unmasked), residue = ((value % step) + step) % step;
                    counts[residue]++;
                    long quotient = (value - residue) / step - noise - f / step;
                    Assert.True(quotients.TryAdd((offset, (int)residue), quotient) || quotients[(offset, (int)residue)] == quotient, "the quotient depends on the flooding");
                }

                Assert.All(counts, count => Assert.Equal(flood / step, count));
            }

            foreach (((int offset, int residue), long quotient) in quotients)
                foreach (int other in offsets)
                    Assert.True(Math.Abs(quotient - quotients[(other, residue)]) < (double)Math.Abs(offset - other) / step + 1);
        }
    }

    // The residue of answers of the shipped sources: 50,000 answers to one opened integer, step 7. The seed is the operating system's; false-alarm rate 1e-9: the
    // 1 - 1e-9 quantile of chi-square with 6 degrees is 52.6.
    [Fact]
    public void Release_SecureSources_HaveUniformResidues()
    {
        JointGradientCalibration calibration = WithStep(7, 4);
        calibration = calibration with { Parameters = calibration.Parameters with { Columns = 50_000 } };
        var mechanism = new JointGradientMechanism(calibration, new CsprngNoise());
        Assert.True(mechanism.IsSecure);
        BigInteger opened = BigInteger.One << 50;
        BigInteger[] answers = Read(mechanism.Release("a", [.. Enumerable.Repeat(opened, 50_000)], Modulus, 8, 1, "gradients").Payload, 8);
        var counts = new double[7];
        foreach (BigInteger answer in answers)
            counts[(int)(answer % 7)]++;
        Assert.InRange(counts.Sum(c => (c - 50_000 / 7.0) * (c - 50_000 / 7.0) / (50_000 / 7.0)), 0, 52.6);

        // Deviation 7 x 2^24: mean square within 6 standard errors of it, which fails by chance with probability below 1e-8.
        double variance = answers.Average(a => Math.Pow((double)(a - opened) / (7 * (double)INoiseSource.LatticeScale), 2));
        Assert.InRange(variance, 1 - 6 * Math.Sqrt(2 / 50_000.0), 1 + 6 * Math.Sqrt(2 / 50_000.0));
        Assert.True(mechanism.NoiseTime > TimeSpan.Zero);
    }

    // Wider integers than any word: an answer is what was opened, plus step K, plus flooding, modulo M, in little-endian order.
    [Fact]
    public void Release_WideModulus_PacksLittleEndianAtFixedWidth()
    {
        JointGradientCalibration calibration = Calibration(JointGradientCalibrationTests.Logistic with { SmallestBatch = 100, MeanError = 0 });
        BigInteger step = calibration.StepOf(128), modulus = (BigInteger.One << 200) - 5, flood = calibration.FloodOf(step);
        Assert.True(flood >= BigInteger.One << 78 && flood < (BigInteger.One << 78) + step && (flood % step).IsZero);
        const int noise = -123_456;
        var mechanism = new JointGradientMechanism(calibration, new FixedNoise(noise), new FixedWord(0));
        BigInteger[] opened = [0, 1, modulus - 1, BigInteger.One << 133];
        Released<MaskedAnswers> released = mechanism.Release("a", opened, modulus, 30, 128, "mean gradients");
        Assert.Equal((4, 120, Protection.Noise, "mean gradients"), (released.Payload.Length, released.Payload.Bytes.Length, released.Protection, released.Name));
        Assert.Equal(opened.Select(o => ((o + step * noise - (flood >> 1)) % modulus + modulus) % modulus), Read(released.Payload, 30));
    }

    [Fact]
    public void NotPrivate_SameSeeds_RepeatsItsAnswersAndOthersDoNot()
    {
        JointGradientCalibration calibration = Calibration(JointGradientCalibrationTests.Logistic with { SmallestBatch = 10, MeanError = 0 });
        byte[] Answers(ulong seed)
        {
            var mechanism = JointGradientMechanism.NotPrivate(calibration, new TestNoise(seed, "arbiter"), new TestUniform(seed, "arbiter"));
            Assert.False(mechanism.IsSecure);
            return mechanism.Release("a", [1, 2, 3], BigInteger.One << 160, 20, 10, "gradients").Payload.Bytes.ToArray();
        }

        Assert.Equal(Answers(1), Answers(1));
        Assert.NotEqual(Answers(1), Answers(2));
    }

    [Fact]
    public void Release_MoreThanIsCalibratedFor_IsRefused()
    {
        JointGradientCalibration calibration = Calibration(JointGradientCalibrationTests.Logistic with { SmallestBatch = 10, MeanError = 0, Epochs = 2, Batches = 2, Columns = 3 });
        var mechanism = JointGradientMechanism.NotPrivate(calibration, new TestNoise(1, "arbiter"), new TestUniform(1, "arbiter"));
        void Ask(string recipient, int columns) => mechanism.Release(recipient, new BigInteger[columns], BigInteger.One << 160, 20, 10, "gradients");
        Ask("a", 2);
        Assert.Equal("FL5204", Assert.Throws<PrivacyRefusedException>(() => Ask("a", 1)).Id);
        Assert.Equal("FL5204", Assert.Throws<PrivacyRefusedException>(() => Ask("b", 2)).Id);
        Ask("b", 1);
        for (int round = 1; round < 4; round++)
        {
            Ask("a", 2);
            Ask("b", 1);
        }

        Assert.Equal("FL5204", Assert.Throws<PrivacyRefusedException>(() => Ask("a", 2)).Id);
        Assert.Equal("FL5204", Assert.Throws<PrivacyRefusedException>(() => Ask("b", 1)).Id);
        Assert.Equal("FL5204", Assert.Throws<PrivacyRefusedException>(() => Ask("c", 1)).Id);
    }

    [Fact]
    public void Release_NoRoomOrNoInteger_IsRefused()
    {
        JointGradientCalibration calibration = Calibration(JointGradientCalibrationTests.Logistic with { SmallestBatch = 10, MeanError = 0 });
        var mechanism = JointGradientMechanism.NotPrivate(calibration, new TestNoise(1, "arbiter"), new TestUniform(1, "arbiter"));
        void Ask(BigInteger opened, BigInteger modulus, int bytes, int rows = 10) => mechanism.Release("a", [opened], modulus, bytes, rows, "gradients");

        // 2^88 (11 rows of at most 1) + 2^28 steps + flooding, twice: about 2^97.
        Assert.Equal("FL5203", Assert.Throws<PrivacyRefusedException>(() => Ask(0, BigInteger.One << 94, 20)).Id);
        Ask(0, BigInteger.One << 110, 14);
        Assert.Throws<ArgumentException>(() => Ask(0, BigInteger.One << 120, 14));
        Assert.Throws<ArgumentException>(() => Ask(BigInteger.One << 110, BigInteger.One << 110, 14));
        Assert.Throws<ArgumentException>(() => Ask(-1, BigInteger.One << 110, 14));
        Assert.Throws<ArgumentOutOfRangeException>(() => Ask(0, BigInteger.One << 110, 14, rows: 9));
    }
}
