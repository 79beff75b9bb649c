using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Tests.Glm;

/// <summary>Second derivatives of classes, which are n K^2 numbers and never in memory together.</summary>
public class RowBlocksTests
{
    /// <summary>What a family may be asked for at a time, where the rows have 640,000.</summary>
    private const int MostCells = 64 * Classes * Classes;

    private const int Classes = 40, Rows = 400;

    private static double[] Uniform(Random random, int count, double size) => [.. Enumerable.Range(0, count).Select(_ => size * (2 * random.NextDouble() - 1))];

    [Theory]
    [InlineData(2, 1)]
    [InlineData(3, 70)]
    [InlineData(Classes, 100)]
    public void CurvatureTimes_OfClasses_IsTheProductWithEveryRowsBlock(int classes, int rows)
    {
        var random = new Random(classes);
        IGlmFamily family = GlmFamilies.Multinomial(classes);
        double[] z = Uniform(random, classes * rows, 3), a = Uniform(random, classes * rows, 1), y = [.. Enumerable.Range(0, rows).Select(_ => (double)random.Next(classes))];
        double[] weights = [.. y.Select(_ => 2 * random.NextDouble())], h = new double[classes * classes * rows], expected = new double[z.Length], found = new double[z.Length];
        family.Curvatures(z, y, h);
        double form = 0;
        for (int i = 0; i < rows; i++)
            for (int m = 0; m < classes; m++)
                for (int l = 0; l < classes; l++)
                {
                    double cell = h[(m * classes + l) * rows + i];
                    expected[m * rows + i] += cell * a[l * rows + i];
                    form += weights[i] * a[m * rows + i] * cell * a[l * rows + i];
                }

        foreach (IGlmFamily each in new[] { family, new Watched(family), new DebiasedClasses(family, new RandomizedResponse(1, classes)) })
        {
            each.CurvatureTimes(z, y, a, found);
            VerticalData.AssertClose(expected, found, 1e-12);
            Assert.Equal(form, RowBlocks.Quadratic(each, new GlmTargets(y, weights), z, a, found), 1e-9 * (1 + form));
        }
    }

    [Theory]
    [InlineData(GlmOptimizer.Lbfgs)]
    [InlineData(GlmOptimizer.Accelerated)]
    [InlineData(GlmOptimizer.Irls)]
    public async Task Train_ManyClasses_NeverAsksForAllSecondDerivatives(GlmOptimizer optimizer)
    {
        VerticalData data = VerticalData.Random(5, "multinomial", Rows, 2, 2);
        GlmJob job = data.Job("multinomial", new() { Optimizer = optimizer, Epochs = 30 });
        var watched = new Watched(GlmFamilies.Multinomial(Classes));
        double[][] weights = [.. (await Task.WhenAll(new[] { GlmFamilies.Multinomial(Classes), watched }.Select(family =>
            LocalFederation.TrainAsync(job with { Model = job.Model with { Family = family } }, data.Inputs())))).Select(VerticalData.Weights)];
        VerticalData.AssertClose(weights[0], weights[1], 1e-6);
        Assert.InRange(watched.Most, 1, MostCells);
    }

    [Fact]
    public async Task Train_PrivateJobWhoseOwnModelFails_HasItsReport()
    {
        VerticalData data = VerticalData.Random(6, "gaussian", 60, 2, 2).WithLabels(label => Math.Clamp(label, -3, 3));
        GlmJob job = data.Job("gaussian", new() { Epochs = 2, BatchesPerEpoch = 2, WeightNorm = 1, ResidualClip = 1 });
        job = job with
        {
            Model = job.Model with { Family = new Watched(new SteepFamily()) { Breaks = true } },
            Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(2, 0.004), TestNoiseSeed = 1 },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
            Parties = [job.Parties[0] with { LabelRange = (-3, 3) }, job.Parties[1]],
        };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs());
        Assert.Null(results[0].GuestOnly);
        Assert.Contains(results[0].Warnings, w => w.Contains("what the active party reaches alone is missing here", StringComparison.Ordinal)
            && w.Contains("outside the claim", StringComparison.Ordinal) && !w.Contains("987", StringComparison.Ordinal));
        Assert.NotNull(results[0].Train);
        Assert.All(results, r => Assert.NotNull(r.Privacy));
        Assert.NotNull((await LocalFederation.TrainAsync(job with { Model = job.Model with { Family = new SteepFamily() } }, data.Inputs()))[0].GuestOnly);
    }

    [Theory]
    [InlineData(8_388_607, 3, 256, true)]
    [InlineData(8_388_608, 3, 256, false)]
    [InlineData(10, 8_388_607, 256, false)]
    [InlineData(2_147_483_591, 1, 1, true)]
    [InlineData(4_000_000_000, 1, 1, false)]
    public void CheckLengths_NumbersThatNoArrayHolds_AreRefused(long rows, long columns, int outputs, bool legal)
    {
        Exception? refusal = Record.Exception(() => GlmTraffic.CheckLengths(rows, columns, outputs));
        Assert.Equal(legal ? null : PrivacyErrors.InvalidLayout, (refusal as ConfigurationException)?.Id);
    }

    /// <summary>Another family that knows no way to multiply but its blocks, and the most that was asked of it.</summary>
    private sealed class Watched(IGlmFamily inner) : IGlmFamily
    {
        private int _most;

        public int Most => _most;

        public bool Breaks { get; init; }

        public string Name => inner.Name;

        public string Link => inner.Link;

        public int Outputs => inner.Outputs;

        public GlmFamilyBounds? Bounds => inner.Bounds;

        public string? LabelFault(double label) => inner.LabelFault(label);

        public double Canonical(double label) => inner.Canonical(label);

        public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals) => inner.Residuals(scores, labels, residuals);

        public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
        {
            if (Breaks)
                throw new InvalidOperationException("987");
            _most = Math.Max(_most, curvatures.Length);
            inner.Curvatures(scores, labels, curvatures);
        }

        public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => inner.LossSum(scores, labels);

        public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => inner.DevianceSum(scores, labels);

        public void Means(ReadOnlySpan<double> scores, Span<double> means) => inner.Means(scores, means);

        public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => inner.Start(labels, weights, start);
    }
}
