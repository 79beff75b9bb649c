using System.Numerics;
using FedLearn.Privacy;
using FedLearn.Tests.Privacy.JointGradients;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

/// <summary>All parties together, who know both data sets and everything but the arbiter's noise, tell the two apart by the likelihood ratio, from the answers that the
/// real mechanism gives to masked integers.</summary>
/// <remarks>16 rows, 2 batches, 3 epochs, two parties. An attacker takes its masks off, and the training goes on with what it read. The statistic is the sum over answers of
/// ((y - m).(m' - m) - |m' - m|^2/2)/sigma^2, m and m' being the mean gradients of the two data sets given the same past; its threshold is fixed beforehand at 0.
/// Clopper-Pearson limits on both error rates bound mu from below. It must not exceed the claim, and must reach what an attack of this size reaches on runs no farther apart
/// than the closest: each condition fails by chance with probability 1e-8, over the choice of seeds; seeds are fixed. The usual
/// limits, at 1e-3, must be within .95 of the truth and the claim: with 20,000 runs each fails by chance about once in a thousand.</remarks>
public class JointGradientAuditTests(ITestOutputHelper output)
{
    private const ulong Seed = 20261126;
    private const double FalseAlarm = 1e-8;

    /// <summary>Runs in each world; 200,000 in the full tier.</summary>
    private static readonly int Runs = TestCounts.Of(20_000);

    /// <summary>Runs in each world where a fault is to be found, which shows sooner.</summary>
    private static readonly int FewRuns = TestCounts.Of(4_000);

    /// <summary>Two words wide, and no power of two.</summary>
    private static readonly BigInteger Modulus = (BigInteger.One << 119) - 69;

    /// <summary>A pair of data sets, and what is done to them.</summary>
    private sealed record Attack(JointGradientParameters Parameters, JointPerson One, JointPerson Other)
    {
        /// <summary>Public weights that every party starts from.</summary>
        public double[] Start { get; init; } = [0, 0];

        /// <summary>Step size of the training.</summary>
        public double StepSize { get; init; } = 1;

        /// <summary>Deviation of the noise used, over that of the calibration.</summary>
        public double NoiseScale { get; init; } = 1;

        /// <summary>How often each answer is made, each time with new noise.</summary>
        public int Copies { get; init; } = 1;
    }

    private static JointGradientParameters Logistic { get; } = new()
    {
        Family = GlmFamilyKind.Binomial,
        Parties = 2,
        WeightNorm = 1,
        TargetBound = 1,
        SmallestBatch = 8,
        Batches = 2,
        Epochs = 3,
        Columns = 4,
        MeanError = Math.ScaleB(1, -64),
        Unit = BigInteger.One << 60,
        FloodBits = 20,
    };

    /// <summary>Weights start on the edge of their balls, which is where the pair is farthest apart, and hardly move.</summary>
    private static Attack Worst(JointGradientParameters p)
    {
        (JointPerson one, JointPerson other) = JointTraining.WorstPair(p);
        return new(p, one, other) { Start = [p.WeightNorm, 0], StepSize = 1e-4 };
    }

    [Fact]
    public void Audit_Binomial_StaysBelowTheClaimAndNearTheTruth() => AssertKept(Worst(Logistic), 0.999);

    [Fact]
    public void Audit_Gaussian_StaysBelowTheClaimAndNearTheTruth() => AssertKept(Worst(Logistic with { Family = GlmFamilyKind.Gaussian }), 0.999);

    [Fact]
    public void Audit_NullRow_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(Logistic with { Adjacency = Adjacency.ZeroOut }, new([[1, 0], [1, 0]], -1), new([[0, 0], [0, 0]], -1)) { Start = [1, 0], StepSize = 1e-4 }, 0.999);

    // Weights that go wherever the noise throws them: a training that adapts to all earlier answers. With small weights a row and its negative are the worst pair for all of them.
    [Fact]
    public void Audit_WeightsThatFollowTheNoise_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(Logistic with { WeightNorm = 0.05 }, new([[1, 0], [1, 0]], -1), new([[-1, 0], [-1, 0]], -1)) { StepSize = 1e6 }, 0.98);

    [Fact]
    public void Audit_HalfTheNoise_IsFound() => AssertFound(Worst(Logistic) with { NoiseScale = 0.5 });

    [Fact]
    public void Audit_NewNoiseForAnAnswerSentAgain_IsFound() => AssertFound(Worst(Logistic) with { Copies = 2 });

    // Noise for residuals and a block of one party, when two are seen.
    [Fact]
    public void Audit_NoiseForOneParty_IsFound()
    {
        double one = JointGradientCalibration.Calibrate(Logistic with { Parties = 1 }, 12, 1e-3).Sigma, both = JointGradientCalibration.Calibrate(Logistic, 12, 1e-3).Sigma;
        AssertFound(Worst(Logistic) with { NoiseScale = one / both });
    }

    private void AssertKept(Attack attack, double share)
    {
        (double claimed, Func<double, double> bound, double least, double most) = Run(attack, Runs);
        double lower = bound(FalseAlarm), usual = bound(1e-3), reach = AuditBound.Reach(least, Runs, FalseAlarm);
        output.WriteLine($"mu claimed {claimed:F4}, realised without noise {least:F4} to {most:F4}, lower bound {lower:F4} from {Runs} runs a world (at least {reach:F4} expected), {usual:F4} at 1e-3");
        Assert.InRange(least, share * claimed, claimed);
        Assert.InRange(most, least, claimed);
        Assert.InRange(lower, reach, claimed);
        Assert.InRange(usual, 0.95 * least, claimed);
        if (Runs >= 200_000)
            Assert.True(reach >= 0.95 * least, "too few runs for an audit that sees");
    }

    private void AssertFound(Attack attack)
    {
        (double claimed, Func<double, double> bound, double least, _) = Run(attack, FewRuns);
        double lower = bound(FalseAlarm), reach = AuditBound.Reach(least, FewRuns, FalseAlarm);
        output.WriteLine($"mu claimed {claimed:F4}, realised without noise {least:F4}, lower bound {lower:F4} from {FewRuns} runs a world (at least {reach:F4} expected)");
        Assert.True(reach > claimed, "too few runs to find the fault for sure");
        Assert.True(lower > claimed);
    }

    private static (double Claimed, Func<double, double> Lower, double Least, double Most) Run(Attack attack, int runs)
    {
        JointGradientParameters p = attack.Parameters;
        JointGradientCalibration claimed = JointGradientCalibration.Calibrate(p, 12, 1e-3), calibration = claimed with { Sigma = claimed.Sigma * attack.NoiseScale };
        var training = new JointTraining(p, 16, attack.StepSize);
        JointPerson rest = new([[0.6, 0.3], [0.5, -0.2]], 1);
        JointPerson[] Data(JointPerson person) => training.Prepare([.. Enumerable.Range(0, 16).Select(i => i == 3 ? person : rest)]);
        JointPerson[][] worlds = [Data(attack.One), Data(attack.Other)];
        double sigma = calibration.SigmaOf(8), scale = (double)p.Unit * 8;
        (TestNoise noise, TestUniform words, TestUniform masks) = (new(Seed, "arbiter"), new(Seed, "arbiter"), new(Seed, "masks"));
        (double least, double most) = (double.PositiveInfinity, 0);
        (long falsePositives, long falseNegatives) = (0, 0);
        for (int run = 0; run < runs; run++)
        {
            falsePositives += Ratio(0) > 0 ? 1 : 0;
            falseNegatives += Ratio(1) <= 0 ? 1 : 0;
        }

        return (claimed.Mu, alpha => AuditBound.Lower(falsePositives, falseNegatives, runs, alpha), Math.Sqrt(least), Math.Sqrt(most));

        double Ratio(int world)
        {
            JointGradientMechanism[] arbiters = [.. Enumerable.Range(0, attack.Copies).Select(_ => JointGradientMechanism.NotPrivate(calibration, noise, words))];
            double[][] weights = [.. Enumerable.Repeat(attack.Start, p.Parties)];
            double ratio = 0, squares = 0;
            for (int round = 0; round < 6; round++)
            {
                int batch = round % 2;
                double[][] means = [.. worlds.Select(people => training.MeanGradients(people, batch, weights))];
                var read = new double[p.Columns];
                for (int party = 0; party < p.Parties; party++)
                {
                    // Under the party's own mask, as it is opened.
                    double[] own = means[world][(2 * party)..(2 * party + 2)];
                    BigInteger[] mask = [.. own.Select(_ => Flooding.Below(Modulus, masks))], opened = [.. own.Select((g, j) => Positive(mask[j] + new BigInteger(Math.Round(g * scale))))];
                    foreach (JointGradientMechanism arbiter in arbiters)
                    {
                        ReadOnlySpan<byte> bytes = arbiter.Release($"party {party}", opened, Modulus, 15, 8, "mean gradients").Payload.Bytes.Span;
                        for (int j = 0; j < own.Length; j++)
                        {
                            BigInteger value = Positive(new BigInteger(bytes.Slice(15 * j, 15), isUnsigned: true) - mask[j]);
                            read[2 * party + j] += (double)(2 * value >= Modulus ? value - Modulus : value) / scale / attack.Copies;
                        }
                    }
                }

                // Independent copies of an answer are an answer with less noise.
                double deviation = sigma / Math.Sqrt(attack.Copies);
                for (int j = 0; j < read.Length; j++)
                {
                    double distance = (means[1][j] - means[0][j]) / deviation;
                    ratio += (read[j] - means[0][j]) / deviation * distance - distance * distance / 2;
                    squares += distance * distance;
                }

                weights = training.Step(weights, read);
            }

            (least, most) = (Math.Min(least, squares), Math.Max(most, squares));
            return ratio;
        }
    }

    private static BigInteger Positive(BigInteger value) => (value % Modulus + Modulus) % Modulus;
}
