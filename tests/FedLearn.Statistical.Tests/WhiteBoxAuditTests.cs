using FedLearn.Coordination;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Tests.Glm;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

/// <summary>An attacker who knows both neighbouring tables and everything but the noise, with the best test there is, tries to tell them apart.</summary>
/// <remarks>The real trainer with the real mechanism: 16 rows, 2 batches, 3 epochs, one column, and peers who push the worst pair apart. The
/// statistic is the log-likelihood ratio: the sum over what was seen, y, of ((y - m).(m' - m) - |m' - m|^2/2)/sigma^2, m and m' being the noise-free
/// values that the two tables give after the same past. Its threshold is fixed beforehand at 0. Clopper-Pearson limits on both error rates give a
/// lower bound on mu (Dong, Roth and Su 2019; Nasr et al. 2023), which must not exceed the claim, and must reach what an attack of this size
/// reaches, or the audit would be blind. Both conditions fail by chance with probability 1e-8 each, over the choice of seeds; seeds are fixed.</remarks>
public class WhiteBoxAuditTests(ITestOutputHelper output)
{
    private const ulong Seed = 20090276;
    private const double FalseAlarm = 1e-8;

    /// <summary>Runs in each world; 200,000 in the full tier.</summary>
    private static readonly int Runs = TestCounts.Of(20_000);

    /// <summary>A pair of tables, and what the attacker gets to see.</summary>
    private sealed record Attack(NeighbourCase Case)
    {
        public TrainerMutant Mutant { get; init; }

        /// <summary>Deviation of the noise used, over that of the calibration.</summary>
        public double NoiseScale { get; init; } = 1;

        /// <summary>The party is stopped at the end and runs once more from the start, with the same ledger.</summary>
        public bool Restart { get; init; }

        /// <summary>The ledger has forgotten what was sent before the restart.</summary>
        public bool Forgets { get; init; }
    }

    /// <summary>Rows are 1, the changed one -1, first of the second batch, so that the first step has brought the weight to the edge of its ball: its
    /// scores differ by 2 in every epoch.</summary>
    private static NeighbourCase Passive { get; } = Pair(PartyRole.Passive) with { OtherX = [-1], Says = (_, _, size) => [.. Enumerable.Repeat(-1000.0, size)] };

    /// <summary>The row's label turns as well, and it alone receives a score at which that shows.</summary>
    private static NeighbourCase Active { get; } = Pair(PartyRole.Active) with
    {
        OtherX = [-1],
        OtherY = 1,
        Says = (_, round, size) => [.. Enumerable.Range(0, size).Select(i => round % 2 == 1 && i == 0 ? 0 : -30.0)],
    };

    private static NeighbourCase Pair(PartyRole role) => new()
    {
        Job = NeighbourCase.JobOf("binomial", new() { Epochs = 3, BatchesPerEpoch = 2, StepSize = 1, WeightNorm = 1, ResidualClip = 1 }, 0.001, 1)
            is var job ? job with { Privacy = job.Privacy with { Budget = new(12, 1e-3) } } : null!,
        Role = role,
        X = [.. Enumerable.Repeat((double[])[1], 16)],
        Y = [.. Enumerable.Range(0, 16).Select(i => i == 8 ? 0.0 : 1)],
        Changed = 8,
        OtherX = [1],
        Says = (_, _, size) => new double[size],
    };

    private static NeighbourCase WeightNoise
    {
        get
        {
            // Any gradient throws the weight to the edge of its ball.
            GlmJob job = Passive.Job;
            return Passive with { Job = job with { Training = job.Training with { StepSize = 1e6 }, Privacy = job.Privacy with { Calibration = Calibration.WeightNoise } } };
        }
    }

    /// <summary>Three scores a row: the peer drives the weights of the first class to the edge of the ball.</summary>
    private static NeighbourCase Classes => Passive with
    {
        Job = Passive.Job with { Model = Passive.Job.Model with { Family = GlmFamilies.Multinomial(3) } },
        Says = (_, _, size) => [.. Enumerable.Range(0, size).Select(i => i < size / 3 ? -1000.0 : 0)],
    };

    /// <summary>All other parties are one: it listens to the first message, then decides which way to push.</summary>
    private static NeighbourCase Colluding => Passive with
    {
        Answers = (heard, _, size) => [.. Enumerable.Repeat(heard[0].Payload.Values.Span[0] > 0 ? 1000.0 : -1000, size)],
    };

    private static NeighbourCase LabelOnly => Active with { OtherX = [1], Job = Active.Job with { Privacy = Active.Job.Privacy with { Unit = PrivacyUnit.Label } } };

    private static NeighbourCase ThreeRecipients
    {
        get
        {
            GlmJob job = NeighbourCase.JobOf("binomial", Active.Job.Training, 0.001, 1, peers: 3);
            return Active with { Peers = 3, Job = job with { Privacy = Active.Job.Privacy }, Says = (peer, round, size) => [.. Active.Says(peer, round, size).Select(s => s / 3)] };
        }
    }

    [Fact]
    public void Audit_PassiveParty_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(Passive), 0.75);

    [Fact]
    public void Audit_ActiveParty_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(Active), 0.95);

    [Fact]
    public void Audit_LabelOnly_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(LabelOnly), 0.9);

    [Fact]
    public void Audit_WeightNoise_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(WeightNoise), 0.999);

    [Fact]
    public void Audit_SeveralScores_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(Classes), 0.75);

    [Fact]
    public void Audit_AllOthersCollude_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(Colluding), 0.75);

    [Fact]
    public void Audit_ThreeRecipientsCollude_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(ThreeRecipients), 0.95);

    [Fact]
    public void Audit_Restart_StaysBelowTheClaimAndNearTheTruth() => AssertKept(new(Active) { Restart = true }, 0.95);

    [Fact]
    public void Audit_HalfTheNoise_IsFound() => AssertFound(new(Passive) { NoiseScale = 0.5 }, 1);

    [Fact]
    public void Audit_RestartWithNewNoise_IsFound() => AssertFound(new(Active) { Restart = true, Forgets = true }, Math.Sqrt(2));

    [Fact]
    public void Audit_NoiseForEachRecipient_IsFound() => AssertFound(new(ThreeRecipients) { Mutant = TrainerMutant.NoiseForEachRecipient }, Math.Sqrt(3));

    /// <param name="attack">The attack.</param>
    /// <param name="share">Part of the claim that the worst pair is known to reach.</param>
    private void AssertKept(Attack attack, double share)
    {
        (double claimed, double lower, double truth) = Run(attack);
        double reach = Reach(truth);
        output.WriteLine($"mu claimed {claimed:F4}, realised without noise {truth:F4}, lower bound {lower:F4} from {Runs} runs a world (at least {reach:F4} expected)");
        Assert.InRange(truth, share * claimed, claimed);
        Assert.InRange(lower, reach, claimed);
        if (Runs >= 200_000)
            Assert.True(reach >= 0.95 * truth, "too few runs for an audit that sees");
    }

    /// <param name="attack">The attack.</param>
    /// <param name="factor">By how much independent copies of the noise multiply mu.</param>
    private void AssertFound(Attack attack, double factor)
    {
        (double claimed, double lower, double truth) = Run(attack);
        double reach = Reach(factor * truth);
        output.WriteLine($"mu claimed {claimed:F4}, realised without noise {factor * truth:F4}, lower bound {lower:F4} from {Runs} runs a world (at least {reach:F4} expected)");
        Assert.True(reach > claimed, "too few runs to find the fault for sure");
        Assert.True(lower > claimed);
    }

    /// <inheritdoc cref="AuditBound.Reach" />
    private static double Reach(double mu) => AuditBound.Reach(mu, Runs, FalseAlarm);

    private static double Lower(long falsePositives, long falseNegatives) => AuditBound.Lower(falsePositives, falseNegatives, Runs, FalseAlarm);

    private static (double Claimed, double Lower, double Truth) Run(Attack attack)
    {
        Calibrated asked = attack.Case.Calibrate();
        PartyCalibration calibration = asked.Calibration with
        {
            MessageNoise = asked.Calibration.MessageNoise with { Sigma = asked.Calibration.MessageNoise.Sigma * attack.NoiseScale },
        };
        Calibrated ready = asked with { Calibration = calibration };
        TestNoise[] streams = [new(Seed, "messages"), new(Seed, "gradient")];
        INoiseSource Noise(string stream) => streams[stream == "messages" ? 0 : 1];
        (NeighbourTraining One, NeighbourTraining Other)? silent = null;
        (double least, double most) = (double.PositiveInfinity, 0);
        (long falsePositives, long falseNegatives) = (0, 0);
        for (int run = 0; run < Runs; run++)
        {
            falsePositives += Ratio(false) > 0 ? 1 : 0;
            falseNegatives += Ratio(true) <= 0 ? 1 : 0;
        }

        // The pairs are such that all runs are equally far apart, whatever was drawn.
        Assert.InRange(most, least, least * (1 + 1e-6));
        return (asked.Calibration.Mu, Lower(falsePositives, falseNegatives), Math.Sqrt(least));

        // The attacker's statistic of one run.
        double Ratio(bool other)
        {
            var kept = new KeptMessages();
            NeighbourTraining seen = Train(other, kept);
            NeighbourTraining? again = attack.Restart ? Train(other, attack.Forgets ? new KeptMessages() : kept) : null;
            NeighbourTraining[] copies = again is null ? [seen] : [seen, again];

            // Noise-free values depend on the past only where a peer listens or weights are noisy.
            if (silent is null || attack.Case.Answers is not null || calibration.GradientNoise is not null)
                silent = (Silent(false, seen), Silent(true, seen));
            (NeighbourTraining one, NeighbourTraining two) = silent.Value;
            double ratio = 0, squares = 0;
            for (int t = 0; t < calibration.Releases; t++)
            {
                ReadOnlyMemory<double>[] messages = [.. copies.SelectMany(c => c.Peers).Select(p => p.Heard[t].Payload.Values)];
                (ReadOnlyMemory<double> m, ReadOnlyMemory<double> n) = (one.Peers[0].Heard[t].Payload.Values, two.Peers[0].Heard[t].Payload.Values);
                for (int i = 0; i < m.Length; i++)
                {
                    double mean = 0;
                    foreach (ReadOnlyMemory<double> message in messages)
                        mean += message.Span[i] / messages.Length;
                    Add(mean, m.Span[i], n.Span[i], calibration.MessageNoise.Sigma);
                }

                if (calibration.GradientNoise is { } noise)
                    Add(seen.Work.NoisyGradients[t][0], one.Work.Gradients[t][0], two.Work.Gradients[t][0], noise.Sigma);
            }

            (least, most) = (Math.Min(least, squares), Math.Max(most, squares));
            return ratio;

            void Add(double y, double m, double n, double sigma)
            {
                double distance = (n - m) / sigma;
                ratio += ((y - m) / sigma * distance) - (distance * distance / 2);
                squares += distance * distance;
            }
        }

        NeighbourTraining Train(bool other, IPrivacyReservation reservation) => NeighbourTraining.Run(attack.Case, other, attack.Mutant,
            attack.Mutant == TrainerMutant.None, Noise, reservation: reservation, ready: ready);

        // What a table would have sent without noise, had it heard the same and, with noisy weights, had it had the same.
        NeighbourTraining Silent(bool other, NeighbourTraining seen) => NeighbourTraining.Run(
            attack.Case with { Answers = null, Says = (peer, round, _) => seen.Peers[peer].Said[round] }, other, TrainerMutant.None, true,
            _ => new NoNoise(), calibration.GradientNoise is null ? null : seen.Work.NoisyGradients, ready: ready);
    }
}
