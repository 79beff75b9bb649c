using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

/// <summary>An attacker who knows both neighbouring tables and everything but the noise, with the best test there is, tries to tell them apart.</summary>
/// <remarks>16 rows, 2 batches, 3 epochs, one column. The likelihood-ratio statistic of a transcript y is the sum over its steps of
/// (y - m).(m' - m)/sigma^2, m and m' the noise-free messages given what was received. Its threshold is fixed beforehand at the middle.
/// Clopper-Pearson limits on both error rates, at total false-alarm rate 1e-3, give a lower bound on mu (Dong, Roth and Su 2019; Nasr et al. 2023).
/// It must not exceed the claim, and must reach most of the noise-free truth, or the audit would be blind. Seeds are fixed.</remarks>
public class WhiteBoxAuditTests
{
    private const ulong Seed = 20090276;
    private const double FalseAlarm = 1e-3;

    private static readonly HdpVflParameters Job = new()
    {
        Family = GlmFamilyKind.Binomial,
        Rows = 16,
        Batches = 2,
        Epochs = 3,
        StepSize = 1,
        L2 = 0.001,
        WeightNorm = 1,
        ResidualClip = 1,
    };

    [Theory]
    [InlineData(PartySide.Passive)]
    [InlineData(PartySide.Active)]
    public void Audit_WorstPair_StaysBelowTheClaimAndNearTheTruth(PartySide side)
    {
        PartyCalibration noise = HdpVflCalibration.Calibrate(Job, Calibration.Tight, side, 4, 1e-3);
        (double claimed, double lower, double truth) = Audit(side, noise, 1);
        Assert.InRange(truth, 0.4 * claimed, claimed);
        Assert.InRange(lower, 0.95 * truth, claimed);
    }

    [Fact]
    public void Audit_TooLittleNoise_IsFound()
    {
        // Half the noise doubles the truth: the lower bound must then exceed the claim.
        PartyCalibration noise = HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Passive, 4, 1e-3);
        (double claimed, double lower, _) = Audit(PartySide.Passive, noise, 0.5);
        Assert.True(lower > claimed);
    }

    private static (double Claimed, double Lower, double Truth) Audit(PartySide side, PartyCalibration noise, double noiseScale)
    {
        NoiseCalibration used = noise.MessageNoise with { Sigma = noise.SigmaCharged * noiseScale };
        (double[][] first, double[][] second) = (Messages(side, 1), Messages(side, -1));
        double distance = 0;
        for (int t = 0; t < first.Length; t++)
            distance += first[t].Zip(second[t], (m, other) => (m - other) * (m - other)).Sum();
        double truth = Math.Sqrt(distance) / used.Sigma;

        int runs = TestCounts.Of(100_000);
        var source = new TestNoise(Seed, $"audit {side}");
        long falsePositives = 0, falseNegatives = 0;
        for (int run = 0; run < runs; run++)
        {
            // Under the first table the statistic is N(0, mu^2), under the second N(mu^2, mu^2).
            if (Statistic(first) > truth * truth / 2)
                falsePositives++;
            if (Statistic(second) <= truth * truth / 2)
                falseNegatives++;
        }

        double falsePositiveRate = Statistics.ClopperPearsonUpper(falsePositives, runs, FalseAlarm / 2);
        double falseNegativeRate = Statistics.ClopperPearsonUpper(falseNegatives, runs, FalseAlarm / 2);
        return (noise.Mu, Statistics.Quantile(1 - falsePositiveRate) - Statistics.Quantile(falseNegativeRate), truth);

        double Statistic(double[][] world)
        {
            var mechanism = new GaussianMechanism(used, source, NoReservation.Instance);
            double sum = 0;
            for (int t = 0; t < world.Length; t++)
            {
                ReadOnlySpan<double> noisy = mechanism.Release(new Scores(world[t]), "training scores").Payload.Values.Span;
                for (int i = 0; i < noisy.Length; i++)
                    sum += (noisy[i] - first[t][i]) * (second[t][i] - first[t][i]);
            }

            return sum / (used.Sigma * used.Sigma);
        }
    }

    /// <summary>Noise-free messages of a party whose first row is x = 1 in one world and -1 in the other (at the active party with its label
    /// turned as well), all other rows being 1. The peer sends what pushes the two worlds apart, the same to both.</summary>
    private static double[][] Messages(PartySide side, double replaced)
    {
        var layout = new BatchLayout(Job.Rows, Job.Batches);
        var messages = new double[Job.Releases][];
        double w = 0;
        for (int t = 0; t < messages.Length; t++)
        {
            int start = layout.Start(t % Job.Batches), b = layout.Size(t % Job.Batches);
            double gradient = 0;
            messages[t] = new double[b];
            for (int i = 0; i < b; i++)
            {
                bool own = start + i == 0;
                double x = own ? replaced : 1, residual = own ? -1 : 0;
                messages[t][i] = x * w;
                if (side == PartySide.Active)
                {
                    // Row 0 received 0; the others receive values that saturate them until the last epoch, where they would show a drift.
                    double received = own || t >= messages.Length - Job.Batches ? 0 : 30, label = own ? (replaced > 0 ? 1 : 0) : 1;
                    residual = 1 / (1 + Math.Exp(-(x * w + received))) - label;
                    messages[t][i] = residual;
                }

                gradient += residual * x;
            }

            w = (1 - Job.StepSize * Job.L2) * w - Job.StepSize / b * gradient;
            w = Math.Clamp(w, -Job.WeightNorm, Job.WeightNorm);
        }

        return messages;
    }
}
