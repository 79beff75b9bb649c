using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm;

/// <summary>The acts of a round, by hand.</summary>
public class LinearPartTests
{
    /// <summary>The penalties do not touch a free intercept, and the threshold is the step's share of l1, after the projection.</summary>
    [Theory]
    [InlineData(double.PositiveInfinity)]
    [InlineData(2)]
    public void Step_BothPenalties_ShrinkAllButTheFreeIntercept(double weightNorm)
    {
        var part = new LinearPart(new DenseMatrix(0, 3), freeIntercept: true);
        double[] weights = [2, -.1, .02, 5];
        part.Step(weights, [4, 2, 0, 8], stepSize: .5, l2: .2, l1: .1, batchRows: 4, weightNorm);
        // .9 w - .125 g, the intercept 5 - .125 x 8
        double[] moved = [1.3, -.34, .018, 4];
        double shrink = Math.Min(1, weightNorm / Math.Sqrt(moved.Sum(w => w * w)));
        double[] expected = [moved[0] * shrink - .05, moved[1] * shrink + .05, 0, moved[3] * shrink];
        VerticalData.AssertClose(expected, weights, 1e-14);
    }

    /// <summary>The published constants of Poisson hold within 2k of 0: a linear predictor beyond is held there, before its residual is made and clipped.</summary>
    [Fact]
    public void ActivePass_PaperPoisson_HoldsLinearPredictorsWithinTwiceTheWeightNorm()
    {
        GlmJob job = VerticalData.Random(3, "poisson", 3, 1, 1).Job("poisson", new() { Epochs = 1, BatchesPerEpoch = 1, StepSize = .1, WeightNorm = 1, ResidualClip = 5 }) with
        {
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = true },
            Privacy = new() { Mode = PrivacyMode.HdpVfl, Calibration = Calibration.Paper, Budget = new(.5, 1e-3) },
        };
        QuietWork work = Work(GlmPlan.Create(job), new LinearPart(new DenseMatrix(3, 1), freeIntercept: false));
        double[] scores = [10, -10, 1], residuals = new double[3];
        double loss = new ActivePass(work, 0).Residuals(new GlmTargets([1, 0, 2]), 0, scores, residuals);
        Assert.Equal([2, -2, 1], scores);
        VerticalData.AssertClose([5, Math.Exp(-2), Math.E - 2], residuals, 1e-15);
        Assert.Equal(Math.Exp(2) - 2 + Math.Exp(-2) + Math.E - 2, loss, 1e-13);
    }

    /// <summary>With noise of its own a gradient is a mean before it is noised, and divided once.</summary>
    [Fact]
    public void Step_NoiseOnTheGradient_IsOfTheMean()
    {
        QuietWork work = Work(Plan("binomial"), new LinearPart(new DenseMatrix(4, 2), freeIntercept: false), gradients: Noise());
        double[] weights = [.25, -.5], gradient = [4, -2];
        work.Step(weights, gradient, batchRows: 4);
        Assert.Equal([1, -.5], work.Means);
        // Step 1, l2 .01: .99 w - g/b
        VerticalData.AssertClose([.99 * .25 - 1, -.99 * .5 + .5], weights, 1e-14);
    }

    /// <summary>Of several classes the scores of a row count by their differences alone: the largest is 0.</summary>
    [Fact]
    public void BoundReceived_OfClasses_TakesTheLargestOfEachRowAway()
    {
        QuietWork work = Work(Plan("multinomial"), new LinearPart(new DenseMatrix(2, 1), freeIntercept: false, outputs: 3), messages: Noise());
        double[] scores = [1, -1, 5, -2, 3, -3];
        work.BoundReceived(scores);
        Assert.Equal([-4, 0, 0, -1, -2, -2], scores);
    }

    private static GlmPlan Plan(string family) => GlmPlan.Create(VerticalData.Random(3, family, 4, 1, 1).Job(family, new() { Epochs = 1, BatchesPerEpoch = 1, StepSize = 1, WeightNorm = 4, ResidualClip = 1 }, l2: .01) with
    {
        Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = true },
        Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-3) },
    });

    private static GaussianMechanism Noise() => new(new NoiseCalibration(1, 1, 1, 1), new CsprngNoise(), NoReservation.Instance);

    private static QuietWork Work(GlmPlan plan, LinearPart train, GaussianMechanism? messages = null, GaussianMechanism? gradients = null) => new()
    {
        Plan = plan,
        Party = "active",
        Layout = new BatchLayout(4, 1),
        Train = train,
        Test = new LinearPart(new DenseMatrix(0, 1), freeIntercept: false),
        Mechanism = messages,
        GradientNoise = gradients,
        EpsilonAfter = null,
        Progress = null,
    };

    /// <summary>A party's rows without noise on its gradients, which it shows instead.</summary>
    private sealed class QuietWork : GlmWork
    {
        public double[] Means { get; private set; } = [];

        protected override void PerturbGradient(Span<double> gradient) => Means = gradient.ToArray();
    }
}
