using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Privacy.JointGradients;

/// <summary>Whole trainings on pairs of data sets that differ in one person's rows at all parties: how far the mean gradients of a round are apart, given equal earlier
/// answers, without noise.</summary>
public class JointGradientNeighbourTests(ITestOutputHelper output)
{
    private const int Seed = 20261126;

    /// <summary>A pair of data sets, a job, and what is added to the answers: a stand-in for noise of any size.</summary>
    private sealed record Pair(JointGradientParameters Parameters, JointPerson[] People, int Changed, JointPerson Other, double StepSize, double Noise, int Seed)
    {
        public JointMutant Mutant { get; init; }

        /// <summary>Distances of all rounds over what is claimed of a round, and their root of the sum of squares over what is claimed of all.</summary>
        public (double Worst, double Whole) Run(double claimed)
        {
            var training = new JointTraining(Parameters, People.Length, StepSize, 0.01, Mutant);
            var random = new Random(Seed);
            JointPerson[] one = training.Prepare(People), other = training.Prepare([.. People.Select((person, i) => i == Changed ? Other : person)]);
            double[][] weights = [.. People[0].Rows.Select(row => new double[row.Length])];
            double worst = 0, squares = 0;
            for (int round = 0; round < Parameters.Epochs * Parameters.Batches; round++)
            {
                int batch = round % Parameters.Batches;
                double[] answers = training.MeanGradients(one, batch, weights);
                double distance = JointTraining.Distance(answers, training.MeanGradients(other, batch, weights));
                bool visited = Changed >= training.Layout.Start(batch) && Changed < training.Layout.Start(batch) + training.Layout.Size(batch);
                Assert.True(visited || distance == 0, "a round without the person moved");
                worst = Math.Max(worst, distance / claimed);
                squares += distance * distance;
                weights = training.Step(weights, [.. answers.Select(x => x + Noise * (2 * random.NextDouble() - 1))]);
            }

            return (worst, Math.Sqrt(squares / Parameters.Epochs) / claimed);
        }
    }

    private static Pair Random(Random random, int seed)
    {
        int parties = 1 + random.Next(3), rows = 3 + random.Next(10), batches = 1 + random.Next(3);
        int[] columns = [.. Enumerable.Range(0, parties).Select(_ => 1 + random.Next(3))];
        JointGradientParameters p = JointGradientCalibrationTests.Random(random) with
        {
            Parties = parties,
            Columns = columns.Sum(),
            Batches = batches,
            SmallestBatch = new BatchLayout(rows, batches).SmallestSize,
            Epochs = 1 + random.Next(6),
            MeanError = 0,
        };
        double length = Math.Exp(3 * random.NextDouble() - 1);
        double Number() => length * (2 * random.NextDouble() - 1);
        double Label() => p.Family == GlmFamilyKind.Binomial ? 2 * random.Next(2) - 1 : p.TargetBound!.Value * Math.Clamp(1.5 * (2 * random.NextDouble() - 1), -1, 1);
        JointPerson Person(double factor) => new([.. columns.Select(d => (double[])[.. Enumerable.Range(0, d).Select(_ => factor * Number())])], Label());
        JointPerson[] people = [.. Enumerable.Range(0, rows).Select(_ => Person(1))];
        return new(p, people, random.Next(rows), p.Adjacency == Adjacency.ZeroOut ? Person(0) : Person(1), Math.Exp(8 * random.NextDouble() - 2), random.Next(3) * random.NextDouble(), seed);
    }

    /// <summary>Everybody else drives the weights of all parties to (k, 0), and the person is one of the worst pair.</summary>
    private static Pair Worst(GlmFamilyKind family, int parties, int epochs)
    {
        const int rows = 1000, batches = 2;
        JointGradientParameters p = JointGradientCalibrationTests.Logistic with
        {
            Family = family,
            Parties = parties,
            WeightNorm = 0.5,
            TargetBound = 2,
            Epochs = epochs,
            Batches = batches,
            SmallestBatch = rows / batches,
            Columns = 2 * parties,
            MeanError = 0,
        };
        double label = family == GlmFamilyKind.Binomial ? 1 : 2;
        (JointPerson one, JointPerson other) = JointTraining.WorstPair(p);
        JointPerson[] people = [.. Enumerable.Range(0, rows).Select(i => i == 700 ? one : new JointPerson([.. Enumerable.Repeat((double[])[1, 0], parties)], label))];
        return new(p, people, 700, other, 10, 0, Seed);
    }

    private static double Claimed(Pair pair) => JointGradientCalibration.Calibrate(pair.Parameters, 1, 1e-5).Sensitivity;

    [Fact]
    public void Gradients_AnyNeighbours_StayWithinTheBoundInEveryRound()
    {
        double closest = 0;
        for (int i = 0; i < TestCounts.Of(5_000); i++)
        {
            Pair pair = Random(new Random(Seed + i), Seed + i);
            (double worst, double whole) = pair.Run(Claimed(pair));
            Assert.True(worst <= 1 + 1e-12 && whole <= 1 + 1e-12, $"seed {Seed + i}: {pair.Parameters}");
            closest = Math.Max(closest, worst);
        }

        output.WriteLine($"closest {closest:F3}");
        Assert.True(closest > 0.8, $"the search should come near the bound; its best was {closest:F3} of it");
    }

    // Without noise, and with the first round at weights of 0, where rows are less far apart.
    [Theory]
    [InlineData(GlmFamilyKind.Binomial, 1)]
    [InlineData(GlmFamilyKind.Binomial, 2)]
    [InlineData(GlmFamilyKind.Gaussian, 3)]
    internal void Gradients_WorstPair_ComeCloseToTheBound(GlmFamilyKind family, int parties)
    {
        Pair pair = Worst(family, parties, 30);
        (double worst, double whole) = pair.Run(Claimed(pair));
        output.WriteLine($"worst {worst:F6}, whole {whole:F6}");
        Assert.InRange(worst, 0.999, 1 + 1e-12);
        Assert.InRange(whole, 0.95, 1 + 1e-12);
    }

    // Each breaks one assumption of the theorem, and random pairs find it.
    [Theory]
    [InlineData(JointMutant.NoProjection)]
    [InlineData(JointMutant.UnboundedRows)]
    [InlineData(JointMutant.ActualCountDivisor)]
    internal void Gradients_Mutant_IsCaught(JointMutant mutant) =>
        Assert.Contains(Enumerable.Range(0, 2_000), i => Random(new Random(Seed + i), Seed + i) is var pair && (pair with { Mutant = mutant }).Run(Claimed(pair)).Worst > 1 + 1e-9);

    // A calibration for one party's block alone, though all parties' answers are seen; and one for residuals of one party's scores.
    [Fact]
    public void Gradients_OnePartysBound_IsPassed()
    {
        Pair pair = Worst(GlmFamilyKind.Binomial, 2, 3);
        double claimed = Claimed(pair), onlyBlock = claimed / Math.Sqrt(2), onlyScores = JointGradientCalibration.Calibrate(pair.Parameters with { Parties = 1 }, 1, 1e-5).Sensitivity * Math.Sqrt(2);
        Assert.True(pair.Run(onlyBlock).Worst > 1.4);
        Assert.True(pair.Run(onlyScores).Worst > 1.01);
    }
}
