using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

/// <summary>An attacker who knows both neighbouring tables and everything but the noise tells them apart by the likelihood ratio, from what the real clip and the real mechanism
/// release: messages and noisy sums of claim full, and the sum of several devices' noisy updates.</summary>
/// <remarks>Rows of the unit point in opposite directions and are in one batch, which is the worst there is. As in <see cref="WhiteBoxAuditTests"/>, Clopper-Pearson limits on both
/// error rates bound mu from below; each condition fails by chance with probability 1e-8, and seeds are fixed.</remarks>
public class EmbeddingAuditTests(ITestOutputHelper output)
{
    private const ulong Seed = 20080810;
    private const double FalseAlarm = 1e-8;

    private static readonly int Runs = TestCounts.Of(20_000);

    private static readonly EmbeddingParameters Full = new()
    {
        Claim = EmbeddingClaim.Full,
        Clip = 1,
        Width = 2,
        Epochs = 2,
        Batches = 2,
        BatchSize = 4,
        MaxSamplesPerUser = 2,
        Gradients = [new("tower", 0.5, 3)],
    };

    private static readonly DeviceParameters Device = new() { Clip = 1, Coordinates = 2, Rounds = 3, Threshold = 3, MostClients = 3 };

    [Theory]
    [InlineData(1.0, false)]
    [InlineData(0.5, true)]
    public void Audit_Full_StaysBelowTheClaimAndFindsHalfTheNoise(double noiseScale, bool found)
    {
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(Full, EmbeddingUnit.User, 12, 1e-3);
        GradientNoise group = calibration.GradientNoise[0];
        TestNoise[] streams = [new(Seed, "messages"), new(Seed, "gradient")];
        double messageSigma = calibration.SigmaCharged * noiseScale, sumSigma = group.Noise.Sigma * noiseScale;
        AssertAudit(calibration.Mu, calibration.Mu / noiseScale, found, other =>
        {
            var messages = new GaussianMechanism(calibration.MessageNoise with { Sigma = messageSigma }, streams[0], NoReservation.Instance);
            var sums = new GaussianMechanism(group.Noise with { Sigma = sumSigma }, streams[1], NoReservation.Instance);
            double ratio = 0;
            for (int epoch = 0; epoch < 2; epoch++)
            {
                // Two of the unit's rows among four, far over the clip.
                double sign = other ? -1 : 1;
                double[] rows = [7 * sign, 0, 7 * sign, 0, 0.3, 0.4, -0.1, 0];
                RowClip.Rows(rows, 2, 1);
                ReadOnlySpan<double> seen = messages.Release(new Embeddings(rows), "embeddings").Payload.Values.Span;
                ratio -= 2 * (seen[0] + seen[2]) / (messageSigma * messageSigma);
                double[] factors = new double[4], sum = new double[3];
                RowClip.Factors([49, 49, 0.01, 0], 0.5, factors);
                sum[0] = 7 * sign * (factors[0] + factors[1]) + 0.1 * factors[2];
                sums.Perturb(sum, "gradient");
                ratio -= 2 * 2 * 0.5 * (sum[0] - 0.1) / (sumSigma * sumSigma);
            }

            return ratio;
        });
    }

    [Theory]
    [InlineData(3, false)]
    [InlineData(1, true)]
    public void Audit_DeviceSum_StaysBelowTheClaimAndFindsMissingShares(int noisy, bool found)
    {
        DeviceCalibration calibration = DeviceCalibration.Of(Device with { Adjacency = Adjacency.ReplaceOne }, 1.5);
        var stream = new TestNoise(Seed, "devices");
        double client = calibration.ClientSigma, variance = noisy * client * client;
        AssertAudit(calibration.ClientNoise.Mu, calibration.ClientNoise.Mu * Math.Sqrt(3.0 / noisy), found, other =>
        {
            double ratio = 0;
            for (int round = 0; round < 3; round++)
            {
                double sum = 0;
                for (int device = 0; device < 3; device++)
                {
                    double[] update = [device == 0 ? (other ? -5 : 5) : 0.2, 0];
                    RowClip.Rows(update, 2, 1);
                    // Shares that are missing are those of clients that add none.
                    sum += device >= noisy ? update[0]
                        : new GaussianMechanism(calibration.ClientNoise, stream, NoReservation.Instance, latticeBits: GaussianMechanism.MostLatticeBits).Release(new ModelUpdate(update), "update").Payload.Values.Span[0];
                }

                ratio -= 2 * (sum - 0.4) / variance;
            }

            return ratio;
        });
    }

    /// <param name="claimed">mu of the claim.</param>
    /// <param name="truth">mu that the two worlds are apart, up to slack.</param>
    /// <param name="found">Whether the audit must contradict the claim.</param>
    /// <param name="ratio">Log-likelihood ratio of one run in the one world or the other.</param>
    private void AssertAudit(double claimed, double truth, bool found, Func<bool, double> ratio)
    {
        (long falsePositives, long falseNegatives) = (0, 0);
        for (int run = 0; run < Runs; run++)
        {
            falsePositives += ratio(false) > 0 ? 1 : 0;
            falseNegatives += ratio(true) <= 0 ? 1 : 0;
        }

        double lower = AuditBound.Lower(falsePositives, falseNegatives, Runs, FalseAlarm), reach = AuditBound.Reach(truth * (1 - 1e-5), Runs, FalseAlarm);
        output.WriteLine($"mu claimed {claimed:F4}, lower bound {lower:F4} from {Runs} runs a world (at least {reach:F4} expected)");
        Assert.True(lower >= reach);
        Assert.Equal(found, lower > claimed);
    }
}
