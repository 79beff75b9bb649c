using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.Tests.Conformance;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Statistical.Tests;
using FedLearn.Testing;
using FedLearn.Tests.Shared;

namespace FedLearn.Baselines.Tests.Protocol;

/// <summary>Both parties of a job in mode he+dp are one attacker, who tries to tell two tables apart by what the whole protocol leaves them: real parties and arbiter, secure noise, the scheme of the tests.</summary>
/// <remarks>Steps are so short that weights stay near 0 and, over the step, are the sum of all gradients that were received, which is the statistic of the likelihood-ratio test. No result is the same twice: each condition fails by chance with
/// probability 1e-9, from limits of Clopper and Pearson on both error rates.</remarks>
public class EncryptedAuditTests(ITestOutputHelper output)
{
    private const double FalseAlarm = 1e-9, Step = 1e-6;
    private const int Rows = 4;
    private static readonly int Runs = TestCounts.Of(1_000), FewRuns = TestCounts.Of(400);

    [Theory]
    [InlineData(Adjacency.ReplaceOne)]
    [InlineData(Adjacency.ZeroOut)]
    public async Task Audit_HeDp_StaysBelowTheClaimAndNearTheTruth(Adjacency adjacency)
    {
        GlmJob job = Job(adjacency);
        (double Lower, double Claimed, double Truth) found = await AttackAsync(job, job, Runs);
        double reach = AuditBound.Reach(found.Truth, Runs, FalseAlarm);
        output.WriteLine($"mu claimed {found.Claimed:F4}, realised without noise {found.Truth:F4}, lower bound {found.Lower:F4} from {Runs} runs a world (at least {reach:F4} expected)");
        Assert.InRange(found.Truth, .95 * found.Claimed, found.Claimed);
        Assert.InRange(found.Lower, reach, found.Claimed);
        Assert.True(reach > found.Truth / 2, "too few runs for an audit that sees");
    }

    /// <summary>The arbiter adds the noise of a weaker promise.</summary>
    [Fact]
    public async Task Audit_ArbiterWithTheNoiseOfALargerEpsilon_IsFound()
    {
        GlmJob job = Job(Adjacency.ReplaceOne);
        (double Lower, double Claimed, double Truth) found = await AttackAsync(job, job with { Privacy = job.Privacy with { Budget = new(60, 1e-3) } }, FewRuns);
        output.WriteLine($"mu claimed {found.Claimed:F4}, lower bound {found.Lower:F4} from {FewRuns} runs a world");
        Assert.True(found.Lower > found.Claimed);
    }

    /// <summary>A party whose columns are a thousand times as large as rows may be has a gradient opened for it in which the noise is lost.</summary>
    [Fact]
    public async Task Audit_PartyThatDeviates_SeesThroughTheNoiseWhichTheClaimLeavesOut()
    {
        GlmJob job = Job(Adjacency.ReplaceOne);
        (double Lower, double Claimed, double Truth) found = await AttackAsync(job, job, FewRuns, columnsTimes: 1000);
        output.WriteLine($"mu claimed {found.Claimed:F4}, lower bound {found.Lower:F4} from {FewRuns} runs a world");
        Assert.True(found.Lower > found.Claimed);
        Assert.Contains("while all parties follow the protocol", JointGradientCalibration.ClaimStatement, StringComparison.Ordinal);
    }

    private static Fault Larger(double times) => new() { Encode = (inner, columns, rows, token) => inner.EncodeAsync(columns.ToArray().Select(x => times * x).ToArray(), rows, token) };

    private static GlmJob Job(Adjacency adjacency)
    {
        GlmJob job = EncryptedRulesTests.Noised(new EncryptedRows(1, "binomial", Rows, 1, 1), epochs: 2);
        return job with
        {
            Model = job.Model with { L2 = 0, Intercept = GlmIntercept.None },
            Training = job.Training with { StepSize = Step, WeightNorm = .05 },
            Preprocessing = job.Preprocessing! with { Constant = false },
            Privacy = job.Privacy with { Budget = new(12, 1e-3), Adjacency = adjacency },
        };
    }

    /// <summary>Every person's rows are 1 at both parties, with label 1. One of them turns, or becomes null.</summary>
    private static GlmPartyInput[] Inputs(Adjacency adjacency, bool other) => [.. Enumerable.Range(0, 2).Select(party => new GlmPartyInput
    {
        Party = EncryptedRows.Name(party),
        Table = Table.FromMatrix([.. Enumerable.Range(0, Rows).Select(i => $"row{i}")], ["x"],
            new DenseMatrix(Rows, 1, [.. Enumerable.Range(0, Rows).Select(i => i > 0 || !other ? 1.0 : adjacency == Adjacency.ZeroOut ? 0 : -1)]),
            party == 0 ? [.. Enumerable.Repeat(1.0, Rows)] : null),
    })];

    private static async Task<(double Lower, double Claimed, double Truth)> AttackAsync(GlmJob job, GlmJob arbiters, int runs, double columnsTimes = 1)
    {
        (double claimed, double sigma) = (0, 0);
        // The residual at weights of 0 is -1/2: each gradient is -1/2 times the mean of the column.
        double one = -.5, two = -.5 * (Rows - (job.Privacy.Adjacency == Adjacency.ZeroOut ? 1 : 2)) / Rows, middle = one + two;
        (long falsePositives, long falseNegatives) = (0, 0);
        for (int run = 0; run < runs; run++)
            foreach (bool world in (bool[])[false, true])
            {
                var federation = new EncryptedFederation(job, new ReferenceAdditiveScheme())
                {
                    ArbiterRun = async channels => await new EncryptionArbiter(arbiters, new ReferenceAdditiveScheme()).RunAsync(channels),
                    Schemes = new Dictionary<string, IAdditiveScheme> { ["p1"] = new FaultyScheme(new ReferenceAdditiveScheme(), Larger(columnsTimes)) },
                };
                (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] parties, _) = await federation.RunAsync(Inputs(job.Privacy.Adjacency, world));
                Assert.Empty(errors);
                JointGradientCalibration noise = parties[0].Privacy.Joint!;
                (claimed, sigma) = (noise.Mu, noise.SigmaOf(Rows));
                // Who deviates looks at its own part alone.
                double mean = columnsTimes == 1 ? parties.Average(p => -p.Model.Weights[0] / Step) : -parties[1].Model.Weights[0] / Step / columnsTimes;
                bool guess = mean > middle;
                falsePositives += guess && !world ? 1 : 0;
                falseNegatives += !guess && world ? 1 : 0;
            }

        // Two epochs of two coordinates.
        return (AuditBound.Lower(falsePositives, falseNegatives, runs, FalseAlarm), claimed, Math.Sqrt(4) * Math.Abs(two - one) / sigma);
    }
}
