using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Tests.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Glm;

/// <summary>The privacy claim at the trainer itself: two tables that differ in one row, the same words from a hostile peer, the same noise. The noise
/// cancels in the difference of the two transcripts, whose length must stay within the sensitivity that the noise is calibrated for.</summary>
public class GlmSensitivityTests
{
    private static readonly int Cases = TestCounts.Of(300);

    /// <summary>One party's table: rows within the unit ball, labels, and at the active party sample weights and offsets.</summary>
    private sealed record Rows(double[][] X, double[] Y, double[]? Weights = null, double[]? Offsets = null)
    {
        internal Rows Replace(int row, double[] x, double y, double weight = 1, double offset = 0)
        {
            (double[][] newX, double[] newY, double[]? newWeights, double[]? newOffsets) = ([.. X], [.. Y], Weights?.ToArray(), Offsets?.ToArray());
            (newX[row], newY[row]) = (x, y);
            if (newWeights is not null)
                newWeights[row] = weight;
            if (newOffsets is not null)
                newOffsets[row] = offset;
            return new(newX, newY, newWeights, newOffsets);
        }

        internal GlmPartyInput Input(string party) => new()
        {
            Party = party,
            Table = Table.FromMatrix([.. Enumerable.Range(0, X.Length).Select(i => $"{i}")], [.. Enumerable.Range(0, X[0].Length).Select(j => $"c{j}")],
                new DenseMatrix(X.Length, X[0].Length, [.. X.SelectMany(row => row)]), Y, weights: party == "active" ? Weights : null, offsets: party == "active" ? Offsets : null),
        };
    }

    /// <summary>Distance of the two transcripts and the bound that it must not pass.</summary>
    private static async Task<(double Distance, double Bound, PartyCalibration Calibration)> DistanceAsync(GlmJob job, string party, Rows one, Rows other, Func<int, int, double[]> says)
    {
        var reports = new Reports();
        (double[][] sent, GlmPartyResult result) = await ScriptedPeer.TranscriptAsync(job, one.Input(party), says, reports);
        (double[][] sentToo, GlmPartyResult resultToo) = await ScriptedPeer.TranscriptAsync(job, other.Input(party), says);
        PartyCalibration c = result.Privacy.Calibration!;
        Assert.Equal(c.Releases, sent.Length);
        double[] squares = [.. sent.Zip(sentToo, (a, b) => a.Zip(b, (x, y) => (x - y) * (x - y)).Sum())];

        // What a progress line claims for the messages so far.
        Assert.Equal(job.Training.Epochs, reports.Lines.Count);
        foreach (GlmProgress line in reports.Lines)
            Assert.InRange(Math.Sqrt(squares.Take(line.Round).Sum()) / c.SigmaCharged, 0, GaussianDp.Mu(line.Epsilon!.Value, 1e-3) * (1 + 1e-9));

        // Final weights of a passive party: with noise in a charged evaluation, the same in both, so that it cancels up to the lattice.
        double drift = Math.Sqrt(result.Model.Weights.Zip(resultToo.Model.Weights, (x, y) => (x - y) * (x - y)).Sum());
        double step = (c.EvaluationNoise?.Sigma ?? 0) / INoiseSource.LatticeScale;
        Assert.InRange(drift, 0, c.FinalDrift + step * Math.Sqrt(result.Model.Weights.Count) * (1 + 1e-6));
        return (Math.Sqrt(squares.Sum()), c.Sensitivity + c.OwnRowSlack + c.LatticeSlack + c.ArithmeticSlack, c);
    }

    private sealed class Reports : IProgress<GlmProgress>
    {
        internal List<GlmProgress> Lines { get; } = [];

        public void Report(GlmProgress value) => Lines.Add(value);
    }

    /// <summary>A table, its neighbour, a job and a script, often at their extremes.</summary>
    private static (GlmJob Job, Rows One, Rows Other, Func<int, int, double[]> Says) Draw(Random random, string family, bool active)
    {
        int n = 1 + random.Next(14), batches = 1 + random.Next(Math.Min(n, 5)), width = 1 + random.Next(3);
        double k = Pick(random, 0.3, 1, 3), clip = Pick(random, 0.3, 1, 2), labelBound = family == "binomial" ? 1 : Pick(random, 1, 3), l2 = Pick(random, 0, 0.001, 0.3);
        GlmFamilyKind kind = ShippedFamilies.Named(family).Kind()!.Value;
        bool paper = kind <= GlmFamilyKind.Poisson && random.Next(4) == 0, several = kind == GlmFamilyKind.Multinomial, free = !paper && random.Next(4) == 0, label = active && !paper && random.Next(4) == 0;
        bool zero = !active && !paper && random.Next(3) == 0, charged = !active && !paper && random.Next(3) == 0;
        double rowNorm = paper ? 1 : Pick(random, 0.5, 1, 1, 2);
        double? largestWeight = !paper && random.Next(3) == 0 ? Pick(random, 0.5, 2) : null, largestOffset = !paper && !several && random.Next(3) == 0 ? Pick(random, 0.5, 2) : null;
        double beta = (largestWeight ?? 1) * ReferenceBounds.Beta(kind, clip, labelBound, SteepFamily.Steepness);
        double largest = Math.Min(2 / (l2 + (beta * ((rowNorm * rowNorm) + (free ? 1.01 : 0)))), l2 > 0 ? 2 / l2 : double.PositiveInfinity);
        var training = new GlmTrainingOptions
        {
            Epochs = 1 + random.Next(5),
            BatchesPerEpoch = batches,
            StepSize = largest * Pick(random, 0.05, 0.5, 0.999999),
            WeightNorm = k,
            ResidualClip = clip,
            Reshuffle = !paper && random.Next(3) == 0,
            MessagePrecision = ElementType.Float64,
            LatticeBits = GaussianMechanism.MostLatticeBits,
            SampleWeightBound = largestWeight,
            OffsetBound = largestOffset,
        };
        GlmJob job = NeighbourCase.JobOf(family, training, l2, labelBound);
        job = job with
        {
            Model = job.Model with { Intercept = free ? GlmIntercept.Free : GlmIntercept.Default, L1 = paper ? 0 : Pick(random, 0, 0.1) * k / training.StepSize!.Value },
            Preprocessing = job.Preprocessing! with { RowNorm = rowNorm, Constant = !zero && random.Next(3) == 0 },
            Privacy = job.Privacy with
            {
                Calibration = paper ? Calibration.Paper : Calibration.Tight,
                Unit = label ? PrivacyUnit.Label : PrivacyUnit.Record,
                Adjacency = zero ? Adjacency.ZeroOut : Adjacency.ReplaceOne,
                Evaluation = charged ? EvaluationDisclosure.Charged : EvaluationDisclosure.None,
            },
        };

        double[] Unit(double length)
        {
            double[] x = [.. Enumerable.Range(0, width).Select(_ => random.NextDouble() - 0.5)];
            double norm = Math.Sqrt(x.Sum(v => v * v));
            return [.. x.Select(v => v / norm * length)];
        }

        double Weight() => Pick(random, 0, 1, 5);

        double Offset() => (largestOffset ?? 0) * Pick(random, -1, 1, random.NextDouble());

        double Label() => kind switch
        {
            GlmFamilyKind.Gaussian or GlmFamilyKind.Convex => Pick(random, -labelBound, labelBound, labelBound * random.NextDouble()),
            GlmFamilyKind.Binomial => random.Next(2),
            GlmFamilyKind.Multinomial => random.Next(3),
            GlmFamilyKind.Gamma => Pick(random, 1e-9, 1, 1e9),
            GlmFamilyKind.Tweedie => Pick(random, 0, labelBound, labelBound * random.NextDouble()),
            _ => random.Next((int)labelBound + 1),
        };
        double[] common = Unit(1);
        bool aligned = random.Next(2) == 0;
        int changed = random.Next(n);
        // A row longer than 1 is clipped: that too must not betray it.
        var one = new Rows([.. Enumerable.Range(0, n).Select(_ => aligned ? common : Unit(Pick(random, 0, 0.5, 1, 5)))], [.. Enumerable.Range(0, n).Select(_ => Label())],
            largestWeight is null ? null : [.. Enumerable.Range(0, n).Select(_ => Weight())], largestOffset is null ? null : [.. Enumerable.Range(0, n).Select(_ => Offset())]);
        Rows other = one.Replace(changed, zero ? new double[width] : label ? one.X[changed] : random.Next(3) switch { 0 => [.. one.X[changed].Select(v => -v)], 1 => Unit(1), _ => one.X[changed] }, Label(),
            label ? one.Weights?[changed] ?? 1 : Weight(), label ? one.Offsets?[changed] ?? 0 : Offset());

        // The peer may choose anything finite; a residual beyond the clip must count as the clip.
        double size = active ? Pick(random, 0, 1, k * rowNorm, 30, 1e16) : Pick(random, 0.5, 1, 50) * clip;
        int style = random.Next(4), seed = random.Next();
        double[] Says(int round, int rows)
        {
            var own = new Random(unchecked(seed + (round * 7919)));
            return [.. Enumerable.Range(0, rows).Select(i => style switch
            {
                0 => size,
                1 => -size,
                2 => own.Next(2) == 0 ? size : -size,
                _ => size * ((2 * own.NextDouble()) - 1),
            })];
        }

        return (job, one, other, Says);
    }

    private static double Pick(Random random, params double[] values) => values[random.Next(values.Length)];

    [Theory]
    [InlineData("gaussian", "passive")]
    [InlineData("binomial", "passive")]
    [InlineData("poisson", "passive")]
    [InlineData("multinomial", "passive")]
    [InlineData("steep", "passive")]
    [InlineData("gaussian", "active")]
    [InlineData("binomial", "active")]
    [InlineData("poisson", "active")]
    [InlineData("gamma", "active")]
    [InlineData("tweedie", "active")]
    [InlineData("multinomial", "active")]
    [InlineData("steep", "active")]
    public void Transcripts_NeighbouringTables_AreWithinTheSensitivity(string family, string party) =>
        Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
        {
            (GlmJob job, Rows one, Rows other, Func<int, int, double[]> says) = Draw(new Random(seed), family, party == "active");
            (double distance, double bound, _) = DistanceAsync(job, party, one, other, says).GetAwaiter().GetResult();
            Assert.True(distance <= bound, $"{distance} is above {bound}: {job.Training}, {job.Privacy}, {job.Model.L2}");
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(Cases));

    /// <summary>All rows are u, the changed one -u in the other table, and its residual is always at the clip: the drift is the recursion's own.</summary>
    [Theory]
    [InlineData(55, 0, 1, 0)]
    [InlineData(55, 0, 0.2, 0)]
    [InlineData(57, 2, 1, 0)]       // 12, 12, 11, 11, 11 rows: the worst batch is the first of the small ones
    [InlineData(55, 0, 1, 0.02)]
    public async Task Passive_WorstCase_ReachesTheBound(int rows, int batch, double step, double l2)
    {
        const int Batches = 5, Epochs = 12;
        var training = new GlmTrainingOptions { Epochs = Epochs, BatchesPerEpoch = Batches, StepSize = step, WeightNorm = 1, ResidualClip = 1, LatticeBits = GaussianMechanism.MostLatticeBits };
        GlmJob job = NeighbourCase.JobOf("binomial", training, l2, 1);
        double[] u = [0.6 * (1 - 1e-12), 0.8 * (1 - 1e-12)];
        var one = new Rows([.. Enumerable.Repeat(u, rows)], new double[rows]);
        int changed = RowIds.Order([.. Enumerable.Range(0, rows).Select(i => $"{i}")], 0).Rows[new BatchLayout(rows, Batches).Start(batch)];
        Rows other = one.Replace(changed, [-u[0], -u[1]], 0);
        double[] Says(int round, int size) => [.. Enumerable.Range(0, size).Select(i => round % Batches == batch && i == 0 ? 1000.0 : 0)];
        (double distance, double bound, PartyCalibration calibration) = await DistanceAsync(job, "passive", one, other, Says);
        Assert.InRange(distance, calibration.DriftTerm * (1 - 1e-6), bound);
        if (step == 1)
            Assert.True(distance > 0.95 * calibration.Sensitivity, "no test of the drift");
    }

    /// <summary>The weights stand at the edge of their ball along u, and one row turns from u to -u: 2 R k in every message from the second epoch on.</summary>
    [Fact]
    public async Task Passive_OwnRowTurns_ReachesTheOwnTerm()
    {
        const int N = 2000, Epochs = 10;
        var training = new GlmTrainingOptions { Epochs = Epochs, StepSize = 1, WeightNorm = 1, ResidualClip = 1, LatticeBits = GaussianMechanism.MostLatticeBits };
        var one = new Rows([.. Enumerable.Repeat(new[] { 1.0 }, N)], new double[N]);
        (double distance, double bound, PartyCalibration calibration) = await DistanceAsync(NeighbourCase.JobOf("binomial", training, 0, 1), "passive", one, one.Replace(0, [-1.0], 0), (_, rows) => [.. Enumerable.Repeat(-1.0, rows)]);
        Assert.InRange(distance, 2 * Math.Sqrt(Epochs - 1) * (1 - 1e-3), bound);
        Assert.Equal(2 * Math.Sqrt(Epochs), calibration.OwnTerm, 1e-9);
    }

    /// <summary>Row and label turn at full weight: 2 sigma(k R) a visit, sup over the scores a peer may send.</summary>
    [Fact]
    public async Task Active_OwnRowAndLabelTurn_ReachesTheOwnTerm()
    {
        const int N = 4000, Epochs = 6;
        var training = new GlmTrainingOptions { Epochs = Epochs, StepSize = 7.9, WeightNorm = 1, ResidualClip = 1, LatticeBits = GaussianMechanism.MostLatticeBits };
        // Other labels are 1 and the peer says 0: the weights go to u and stay there.
        var one = new Rows([.. Enumerable.Repeat(new[] { 1.0 }, N)], [.. Enumerable.Repeat(1.0, N)]);
        (double distance, double bound, PartyCalibration calibration) = await DistanceAsync(NeighbourCase.JobOf("binomial", training, 0, 1), "active",
            one.Replace(0, [1.0], 0), one.Replace(0, [-1.0], 1), (_, rows) => new double[rows]);
        double visit = 2 / (1 + Math.Exp(-1));
        Assert.InRange(distance, visit * Math.Sqrt(Epochs - 1) * (1 - 1e-3), bound);
        Assert.Equal(visit * Math.Sqrt(Epochs), calibration.OwnTerm, 1e-9);
    }

    /// <summary>The check has teeth: the same trainer without the clip of received residuals breaks the bound.</summary>
    [Fact]
    public async Task Passive_WithoutReceiverClip_WouldBreakTheBound()
    {
        var training = new GlmTrainingOptions { Epochs = 3, BatchesPerEpoch = 2, StepSize = 0.5, WeightNorm = 1, ResidualClip = 1, Optimizer = GlmOptimizer.Sgd };
        GlmJob job = NeighbourCase.JobOf("binomial", training, 0, 1);
        var one = new Rows([.. Enumerable.Repeat(new[] { 1 - 1e-9 }, 400)], new double[400]);
        int changed = RowIds.Order([.. Enumerable.Range(0, 400).Select(i => $"{i}")], 0).Rows[0];
        Rows other = one.Replace(changed, [-1 + 1e-9], 0);
        double[] Says(int round, int rows) => [.. Enumerable.Range(0, rows).Select(i => round % 2 == 0 && i == 0 ? 400.0 : 0)];
        (double clipped, double bound, PartyCalibration calibration) = await DistanceAsync(job, "passive", one, other, Says);
        Assert.True(clipped <= bound);

        // Mode none without a clip, and every other number the same.
        GlmJob bare = job with { Privacy = new(), Training = training with { ResidualClip = null } };
        (double[][] sent, _) = await ScriptedPeer.TranscriptAsync(bare, one.Input("passive"), Says);
        (double[][] sentToo, _) = await ScriptedPeer.TranscriptAsync(bare, other.Input("passive"), Says);
        double distance = Math.Sqrt(sent.Zip(sentToo, (a, b) => a.Zip(b, (x, y) => (x - y) * (x - y)).Sum()).Sum());
        Assert.True(distance > 2 * calibration.Sensitivity, $"{distance} is within {calibration.Sensitivity}");
    }

    /// <summary>The published Poisson constants hold for linear predictors within 2k of 0: what is beyond counts as 2k.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(-1)]
    public async Task Active_PaperPoissonHugeScores_CountAsTwiceTheWeightBound(int sign)
    {
        const double K = 0.5;
        var training = new GlmTrainingOptions { Epochs = 1, StepSize = 0.01, WeightNorm = K, ResidualClip = 10, LatticeBits = GaussianMechanism.MostLatticeBits };
        GlmJob job = NeighbourCase.JobOf("poisson", training, 0, 3);
        job = job with { Privacy = job.Privacy with { Calibration = Calibration.Paper } };
        var rows = new Rows([[1.0], [1.0]], [0, 3]);
        double step = 0;
        async Task<double[]> ResidualsAsync(double score)
        {
            (double[][] sent, GlmPartyResult result) = await ScriptedPeer.TranscriptAsync(job, rows.Input("active"), (_, size) => [.. Enumerable.Repeat(sign * score, size)]);
            step = result.Privacy.Calibration!.MessageNoise.Sigma / INoiseSource.LatticeScale;
            return sent[0];
        }

        // The weights are 0 before the first message, so that the peer's score is the linear predictor. The noise is the same in all three, and so the difference of two is exact up to their lattice.
        double[] none = await ResidualsAsync(0), bound = await ResidualsAsync(2 * K), huge = await ResidualsAsync(1e16);
        Assert.Equal(bound, huge);
        VerticalData.AssertClose(none.Select(r => r + Math.Exp(sign * 2 * K) - 1), huge, step * (1 + 1e-6));
    }

    /// <summary>A shift of all classes' scores is none of the model: it must not push what a peer says beyond the bound on received scores either.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1L << 40)]
    [InlineData(-(1L << 40))]
    public async Task Active_EqualHugeScoresOfAllClasses_ChangeNothing(long shift)
    {
        var training = new GlmTrainingOptions { Epochs = 3, StepSize = 0.1, WeightNorm = 1, ResidualClip = 1, LatticeBits = GaussianMechanism.MostLatticeBits };
        GlmJob job = NeighbourCase.JobOf("multinomial", training, 0, 1);
        var rows = new Rows([[1.0], [-1.0], [0.5]], [0, 1, 2]);
        double[] Says(int size, double by) => [.. Enumerable.Range(0, size).Select(i => i / 3 + by)];
        double[][] plain = (await ScriptedPeer.TranscriptAsync(job, rows.Input("active"), (_, size) => Says(size, 0))).Sent;
        double[][] shifted = (await ScriptedPeer.TranscriptAsync(job, rows.Input("active"), (_, size) => Says(size, shift))).Sent;
        Assert.Equal(plain, shifted);
    }

    [Fact]
    public async Task Transcripts_EqualTables_AreEqual()
    {
        (GlmJob job, Rows one, _, Func<int, int, double[]> says) = Draw(new Random(4), "binomial", active: false);
        foreach (string party in new[] { "active", "passive" })
            Assert.Equal(0, (await DistanceAsync(job, party, one, one, says)).Distance);
    }
}
