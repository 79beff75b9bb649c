using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy.JointGradients;

public class JointGradientSensitivityTests
{
    private const int Seed = 20261126;

    // Random weights within their balls, and rows and labels that a hill climb takes apart: never farther than D allows, and that far.
    [Theory]
    [InlineData(GlmFamilyKind.Binomial, 1, 1.0, 1.0)]
    [InlineData(GlmFamilyKind.Binomial, 2, 1.0, 1.0)]
    [InlineData(GlmFamilyKind.Binomial, 3, 8.0, 1.0)]
    [InlineData(GlmFamilyKind.Gaussian, 1, 0.2, 2.0)]
    [InlineData(GlmFamilyKind.Gaussian, 2, 1.0, 0.1)]
    internal void Sensitivity_SearchOverRowsLabelsAndWeights_IsReachedAndNotPassed(GlmFamilyKind family, int parties, double weightNorm, double target)
    {
        JointGradientParameters p = JointGradientCalibrationTests.Logistic with
        {
            Family = family,
            Parties = parties,
            WeightNorm = weightNorm,
            TargetBound = target,
            SmallestBatch = 1,
            Columns = 3 * parties,
            MeanError = 0,
        };
        double bound = JointGradientCalibration.Calibrate(p, 1, 1e-5).Sensitivity;
        var training = new JointTraining(p with { Batches = 1 }, 1, 1);
        var random = new Random(Seed);
        double farthest = 0;
        for (int start = 0; start < 12; start++)
        {
            double[] point = [.. Enumerable.Range(0, 9 * parties + 2).Select(_ => 2 * random.NextDouble() - 1)];
            double best = Moved(point);
            for (int i = 0; i < 3000; i++)
            {
                double size = Math.Pow(10, -4 * random.NextDouble());
                double[] next = [.. point.Select(x => random.Next(3) == 0 ? Math.Clamp(x + size * (2 * random.NextDouble() - 1), -2, 2) : x)];
                double moved = Moved(next);
                Assert.InRange(moved, 0, bound);
                if (moved >= best)
                    (point, best) = (next, moved);
            }

            farthest = Math.Max(farthest, best);
        }

        Assert.InRange(farthest, 0.995 * bound, bound);

        // Numbers of two persons and of all weights, before clips and projections.
        double Moved(double[] point)
        {
            double[][] rows = [.. point.Take(9 * parties).Chunk(3)];
            double[][] weights = [.. rows[(2 * parties)..].Select(w => { RowClip.Rows(w, 3, 1); return (double[])[.. w.Select(x => x * weightNorm)]; })];
            double Label(double x) => family == GlmFamilyKind.Binomial ? (x < 0 ? -1 : 1) : Math.Clamp(x, -1, 1) * target;
            JointPerson[] people = training.Prepare([new(rows[..parties], Label(point[^2])), new(rows[parties..(2 * parties)], Label(point[^1]))]);
            return JointTraining.Distance(training.MeanGradients([people[0]], 0, weights), training.MeanGradients([people[1]], 0, weights));
        }
    }

    // The pair of the proof attains the bound; the pair that turns row and label round does not move at all.
    [Theory]
    [InlineData(GlmFamilyKind.Binomial, 2)]
    [InlineData(GlmFamilyKind.Gaussian, 3)]
    internal void Sensitivity_WorstPairAndMirroredPair_AttainsItAndNothing(GlmFamilyKind family, int parties)
    {
        JointGradientParameters p = JointGradientCalibrationTests.Logistic with { Family = family, Parties = parties, TargetBound = 1.5, SmallestBatch = 1, Batches = 1, Columns = 2 * parties, MeanError = 0 };
        var training = new JointTraining(p, 1, 1);
        double[][] weights = [.. Enumerable.Repeat((double[])[1, 0], parties)];
        (JointPerson one, JointPerson other) = JointTraining.WorstPair(p);
        double bound = JointGradientCalibration.Calibrate(p, 1, 1e-5).Sensitivity;
        Assert.InRange(JointTraining.Distance(training.MeanGradients([one], 0, weights), training.MeanGradients([other], 0, weights)), bound * (1 - 1e-13), bound);
        JointPerson mirrored = new([.. one.Rows.Select(row => (double[])[.. row.Select(x => -x)])], -one.Label);
        Assert.Equal(0, JointTraining.Distance(training.MeanGradients([one], 0, weights), training.MeanGradients([mirrored], 0, weights)), 1e-15);

        // A null row, against the row along the weights.
        JointPerson along = one with { Rows = weights }, none = one with { Rows = [.. weights.Select(_ => (double[])[0, 0])] };
        bound = JointGradientCalibration.Calibrate(p with { Adjacency = Adjacency.ZeroOut }, 1, 1e-5).Sensitivity;
        Assert.InRange(JointTraining.Distance(training.MeanGradients([along], 0, weights), training.MeanGradients([none], 0, weights)), bound * (1 - 1e-13), bound);
    }
}
