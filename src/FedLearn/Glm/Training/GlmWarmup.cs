using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>Runs every kernel of training once on some of the party's own rows, with weights of zero and results thrown away, so that compiling them
/// falls into the time before round 0, when the parties wait for the slowest reader anyway, and not into the first rounds.</summary>
internal static class GlmWarmup
{
    /// <summary>Enough elements for the kernels to take the way with several threads.</summary>
    private const int Elements = 1 << 18;

    public static void Run(GlmPlan plan, LinearPart part)
    {
        int rows = Math.Min(part.Rows, Math.Max(1, Elements / Math.Max(1, part.Dimension * part.Outputs)));
        double[] weights = new double[part.Dimension], gradient = new double[part.Dimension];
        double[] scores = new double[rows * part.Outputs], labels = new double[rows], residuals = new double[scores.Length * part.Outputs];
        part.Scores(0, weights, scores);
        // Zero is no legal label of some families; what they make of it is thrown away.
        plan.Family.Curvatures(scores, labels, residuals);
        plan.Family.Residuals(scores, labels, residuals.AsSpan(0, scores.Length));
        plan.Family.LossSum(scores, labels);
        Numerics.VectorKernels.Clip(residuals, 1);
        Numerics.VectorKernels.AllFinite(residuals);
        part.Gradient(0, residuals.AsSpan(0, scores.Length), gradient);
        part.Step(weights, gradient, 1e-3, 0, 0, rows, 1);
        if (!plan.Private)
            return;
        // A mechanism of its own: its noise and its charges go nowhere.
        var mechanism = new GaussianMechanism(new NoiseCalibration(1, 1, 1, 1), new CsprngNoise(), new InMemoryLedger().Reserve(new PrivacyCharge
        {
            RunId = PrivacyCharge.NewRunId(),
            Party = "warm-up",
            DataSet = DataSetIdentity.Of([]),
            JobName = "warm-up",
            JobDigest = "",
            Mechanism = "warm-up",
            Claim = "none",
            Parameters = "{}",
            Unit = PrivacyUnit.Record,
            Adjacency = Adjacency.ReplaceOne,
            Messages = 1,
            PureEpsilon = 0,
            MuSquared = 1,
        }));
        mechanism.Prefetch(scores.Length);
        mechanism.Release(new Scores(scores), "warm-up");
    }
}
