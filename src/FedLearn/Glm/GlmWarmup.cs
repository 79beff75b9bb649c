using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>Runs every kernel of training once on made-up rows, so that compiling them falls into the time before round 0, when the parties wait
/// for the slowest reader anyway, and not into the first rounds.</summary>
internal static class GlmWarmup
{
    private const int Rows = 64;

    public static void Run(GlmPlan plan, int columns, bool freeIntercept)
    {
        var part = new LinearPart(new DenseMatrix(Rows, columns), freeIntercept);
        double[] weights = new double[part.Dimension], gradient = new double[part.Dimension];
        double[] scores = new double[Rows], labels = new double[Rows], residuals = new double[Rows];
        part.Scores(0, weights, scores);
        plan.Family.Residuals(scores, labels, residuals);
        plan.Family.Curvatures(scores, labels, residuals);
        plan.Family.LossSum(scores, labels);
        VectorKernels.Clip(residuals, 1);
        VectorKernels.AllFinite(residuals);
        part.Gradient(0, residuals, gradient);
        part.Step(weights, gradient, 1e-3, 0, Rows, 1);
        if (!plan.Private)
            return;
        // A mechanism of its own: its noise and its charges go nowhere.
        PartyCalibration calibration = HdpVflCalibration.Calibrate(new HdpVflParameters
        {
            Family = GlmFamilyKind.Binomial,
            Rows = Rows,
            Batches = 1,
            Epochs = 1,
            StepSize = 1,
            L2 = 0,
            WeightNorm = 1,
            ResidualClip = 1,
        }, Calibration.Tight, PartySide.Passive, 1, 1e-3);
        new GaussianMechanism(calibration, new CsprngNoise(), new InMemoryLedger(), "warm-up", "warm-up").Release(new Scores(scores), "warm-up");
    }
}
