using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm.OneRound;

/// <summary>The local fits against gradient descent and normal equations, written out plainly.</summary>
public class OneRoundFitTests
{
    private static (double[][] X, LinearPart Part) Rows(Random random, int n, int d)
    {
        double[][] x = [.. Enumerable.Range(0, n).Select(_ =>
        {
            double[] row = [.. Enumerable.Range(0, d).Select(_ => 2 * random.NextDouble() - 1)];
            double length = Math.Max(1, Math.Sqrt(row.Sum(v => v * v)) * (1 + 1e-15));
            return row.Select(v => v / length).ToArray();
        })];
        return (x, new LinearPart(new DenseMatrix(n, d, [.. x.SelectMany(r => r)]), false));
    }

    private static double Score(double[] row, double[] w) => row.Zip(w, (a, b) => a * b).Sum();

    /// <summary>Gradient descent with the step 1/(smoothness + l2) until nothing moves.</summary>
    private static double[] Descend(double[][] x, double l2, double smoothness, Func<int, double, double> slope)
    {
        double[] w = new double[x[0].Length];
        for (int step = 0; step < 200_000; step++)
        {
            double[] g = [.. w.Select(v => l2 * v)];
            for (int i = 0; i < x.Length; i++)
            {
                double r = slope(i, Score(x[i], w)) / x.Length;
                for (int j = 0; j < g.Length; j++)
                    g[j] += r * x[i][j];
            }

            if (Math.Sqrt(g.Sum(v => v * v)) < 1e-13)
                break;
            for (int j = 0; j < w.Length; j++)
                w[j] -= g[j] / (smoothness + l2);
        }

        return w;
    }

    [Fact]
    public void Fit_ClippedRidge_IsGradientDescentsAndWithinTheTolerance()
    {
        var random = new Random(11);
        int clipped = 0;
        for (int trial = 0; trial < TestCounts.Of(20); trial++)
        {
            int n = random.Next(1, 60), d = random.Next(1, 6);
            (double[][] x, LinearPart part) = Rows(random, n, d);
            OneRoundParameters parameters = new() { Rows = n, Columns = [new(0, 1, 5, 1)], GradientClip = .5, ScoreClip = .5, Alpha = 4 };
            double sign = random.Next(2) * 2 - 1;
            double[] t = [.. Enumerable.Range(0, n).Select(_ => sign * 5 * random.NextDouble())];
            NewtonResult fit = ClippedRidge.Fit(part, t, parameters, 0);
            double[] slow = Descend(x, parameters.L2(0), 1, (i, a) => Math.Clamp(a, -.5, .5) - t[i]);
            // The objective is lambda-strongly convex: a gradient of length tau is tau/lambda from the minimiser at most, which is what the claim charges.
            double distance = Math.Sqrt(slow.Zip(fit.Weights, (a, b) => (a - b) * (a - b)).Sum());
            Assert.InRange(distance, 0, parameters.Tolerance(0) / parameters.L2(0) + 1e-9);
            clipped += fit.Scores.Count(a => Math.Abs(a) > .5);

            // The length of the gradient in exact decimals.
            decimal[] gradient = [.. fit.Weights.Select(w => (decimal)w * (decimal)parameters.L2(0))];
            for (int i = 0; i < n; i++)
            {
                decimal a = 0;
                for (int j = 0; j < d; j++)
                    a += (decimal)x[i][j] * (decimal)fit.Weights[j];
                for (int j = 0; j < d; j++)
                    gradient[j] += (Math.Clamp(a, -.5m, .5m) - (decimal)t[i]) * (decimal)x[i][j] / n;
            }

            Assert.InRange(Math.Sqrt((double)gradient.Sum(g => g * g)), 0, parameters.Tolerance(0) * (1 + 1e-9));
        }

        Assert.InRange(clipped, 50, int.MaxValue);
    }

    /// <summary>The tolerance is for the real gradient. Of weights of a million the computed one may be off by more than that, however short it is.</summary>
    [Theory]
    [InlineData(1e-2, true)]
    [InlineData(1e-6, false)]
    public void Fit_GradientThatRoundingMayHide_IsRefused(double second, bool converges)
    {
        // Two columns, the other one small and all that the targets follow: weights of 3 over its size.
        const int n = 100;
        double[] x = [.. Enumerable.Range(0, n).SelectMany(i => (double[])[.5, i % 2 == 0 ? second : -second])], t = [.. Enumerable.Range(0, n).Select(i => i % 2 == 0 ? 3.0 : -3)];
        var part = new LinearPart(new DenseMatrix(n, 2, x), false);
        OneRoundParameters parameters = new() { Rows = n, Columns = [new(0, 1, 5, 0)], Alpha = 1e8 };
        if (converges)
            Assert.Equal(3 / second, ClippedRidge.Fit(part, t, parameters, 0).Weights[1], 1e-3);
        else
            Assert.Equal(GlmOneRoundErrors.NotConverged, Assert.Throws<InternalFailureException>(() => ClippedRidge.Fit(part, t, parameters, 0)).Id);
    }

    [Fact]
    public void Fit_ThatCannotConverge_IsRefused()
    {
        (_, LinearPart part) = Rows(new Random(1), 10, 2);
        OneRoundParameters parameters = new() { Rows = 10, Columns = [new(0, 1, 5, 1)] };
        double[] t = [.. Enumerable.Repeat(double.NaN, 10)];
        Assert.Equal(GlmOneRoundErrors.NotConverged, Assert.Throws<InternalFailureException>(() => ClippedRidge.Fit(part, t, parameters, 0)).Id);
        // The active party's own fit goes on with what it has: giving up would tell its peers something of its rows.
        NewtonResult kept = OneRoundRefit.Fit(part, GlmFamilies.Gaussian, t, null, 1);
        Assert.False(kept.Converged);
        Assert.All(kept.Weights, w => Assert.Equal(0, w));
    }

    [Theory]
    [InlineData(20)]
    [InlineData(3)]
    public void Fit_CorrelatedColumns_StillMeetsTheTolerance(int rank)
    {
        // Columns that are nearly sums of each other: the penalty alone keeps the problem solvable.
        var random = new Random(rank);
        const int n = 2000, d = 200;
        double[][] basis = [.. Enumerable.Range(0, rank).Select(_ => Enumerable.Range(0, d).Select(_ => random.NextDouble() - .5).ToArray())];
        var matrix = new DenseMatrix(n, d);
        for (int i = 0; i < n; i++)
        {
            Span<double> row = matrix.Row(i);
            for (int k = 0; k < rank; k++)
            {
                double u = random.NextDouble() - .5;
                for (int j = 0; j < d; j++)
                    row[j] += u * basis[k][j] + 1e-9 * random.NextDouble();
            }

            double length = System.Numerics.Tensors.TensorPrimitives.Norm<double>(row) * (1 + 1e-15);
            System.Numerics.Tensors.TensorPrimitives.Divide(row, length, row);
        }

        OneRoundParameters parameters = new() { Rows = n, Columns = [OneRoundColumn.OfClass(new RandomizedResponse(1), .3)] };
        double c = parameters.Columns[0].TargetBound;
        double[] t = [.. Enumerable.Range(0, n).Select(_ => c * (2 * random.NextDouble() - 1))];
        NewtonResult fit = ClippedRidge.Fit(new LinearPart(matrix, false), t, parameters, 0);
        Assert.True(fit.Converged);
        Assert.InRange(fit.Iterations, 1, 20);
    }

    [Theory]
    [InlineData("binomial", .8)]
    [InlineData("gaussian", 1)]
    [InlineData("poisson", 1)]
    public void Refit_OffsetsAndWeights_IsGradientDescents(string family, double kappa)
    {
        var random = new Random(5);
        (double[][] x, LinearPart part) = Rows(random, 40, 3);
        IGlmFamily kind = VerticalData.Family(family);
        double[] y = [.. x.Select(_ => (double)random.Next(2))], o = [.. x.Select(_ => random.NextDouble() - .5)], u = [.. x.Select(_ => 2 * random.NextDouble())];
        double mean = u.Average();
        double[] slow = Descend(x, .05, 8, (i, a) => u[i] / mean * kappa * (kind.Mean(kappa * (a + o[i])) - y[i]));
        VerticalData.AssertClose(slow, OneRoundRefit.Fit(part, kind, y, o, kappa, u, .05).Weights, 1e-6);
        slow = Descend(x, .05, 8, (i, a) => kind.Mean(a) - y[i]);
        VerticalData.AssertClose(slow, OneRoundRefit.Fit(part, kind, y, null, 1, null, .05).Weights, 1e-6);
    }

    [Theory]
    [InlineData("poisson")]
    [InlineData("gamma")]
    [InlineData("tweedie")]
    public void Refit_ExposuresInAnotherUnit_IsTheSameFit(string family)
    {
        var random = new Random(6);
        (double[][] x, LinearPart part) = Rows(random, 200, 3);
        // Years over five orders of magnitude, then seconds and nanoseconds.
        double[] o = [.. x.Select(_ => 12 * random.NextDouble() - 6)], y = [.. x.Select((row, i) => .5 + Math.Round(Math.Exp(row[0] + o[i]) * 2 * random.NextDouble()))];
        NewtonResult years = OneRoundRefit.Fit(part.With(1, intercept: true), VerticalData.Family(family), y, o, 1);
        Assert.True(years.Converged);
        foreach (double unit in (double[])[3e7, 3e16])
        {
            NewtonResult fit = OneRoundRefit.Fit(part.With(1, intercept: true), VerticalData.Family(family), y, [.. o.Select(v => v + Math.Log(unit))], 1);
            Assert.True(fit.Converged);
            VerticalData.AssertClose([.. years.Weights[..3], years.Weights[3] - Math.Log(unit)], fit.Weights, 1e-5);
        }
    }

    [Fact]
    public void Refit_LabelsFarFromZero_SlopesAreTheSame()
    {
        var random = new Random(7);
        (double[][] x, LinearPart part) = Rows(random, 200, 3);
        double[] y = [.. x.Select(row => row[0] - row[1] + Gauss(random))];
        NewtonResult near = OneRoundRefit.Fit(part.With(1, intercept: true), GlmFamilies.Gaussian, y, null, 1), far = OneRoundRefit.Fit(part.With(1, intercept: true), GlmFamilies.Gaussian, [.. y.Select(v => 1e5 + v)], null, 1);
        Assert.True(near.Converged && far.Converged);
        VerticalData.AssertClose([.. near.Weights[..3], near.Weights[3] + 1e5], far.Weights, 1e-4);
        // Equal labels leave nothing but rounding.
        Assert.True(OneRoundRefit.Fit(part.With(1, intercept: true), GlmFamilies.Gaussian, [.. y.Select(_ => 1e5 / 3)], null, 1).Converged);
    }

    [Theory]
    [InlineData("binomial", 1)]
    [InlineData("binomial", .8)]
    [InlineData("multinomial", 1)]
    public void Refit_RareClass_HasItsShareOnAverage(string family, double kappa)
    {
        var random = new Random(8);
        const int n = 2000;
        (double[][] x, LinearPart part) = Rows(random, n, 3);
        IGlmFamily kind = VerticalData.Family(family);
        double[] y = [.. x.Select((_, i) => i % 500 == 0 ? 1.0 : kind.Outputs > 1 && i % 2 == 0 ? 2 : 0)], o = [.. Enumerable.Range(0, n * kind.Outputs).Select(_ => random.NextDouble() - 3)], means = new double[o.Length];
        NewtonResult fit = OneRoundRefit.Fit(part.With(kind.Outputs, intercept: true), kind, y, o, kappa);
        Assert.True(fit.Converged);
        kind.Means([.. fit.Scores.Zip(o, (a, b) => kappa * (a + b))], means);
        Assert.Equal(4.0 / n, (kind.Outputs > 1 ? means[n..(2 * n)] : means).Average(), 1e-7);
    }

    [Fact]
    public void Share_NoisyScores_IsThePosteriorMeanOfTheNormalEquations()
    {
        const int n = 300;
        var random = new Random(8);
        (double[][] x, LinearPart part) = Rows(random, n, 3);
        double[] s = [.. x.Select(row => Score(row, [1, -1, .5]) + .8 * Gauss(random) + 1.5 * Gauss(random))];
        const double variance = 2.25, largest = 4;

        // Three-fold cross-validation over the prior variance, then the posterior, step by step.
        (double Penalty, double Error) best = (0, double.PositiveInfinity);
        foreach (double share in (double[])[1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6])
        {
            double penalty = variance / (n * share * largest), error = 0;
            for (int fold = 0; fold < 3; fold++)
            {
                double[] b = Ridge(x, s, [.. Enumerable.Range(0, n).Where(i => i * 3 / n != fold)], penalty);
                error += Enumerable.Range(0, n).Where(i => i * 3 / n == fold).Sum(i => Math.Pow(s[i] - Score(x[i], b), 2));
            }

            if (error < best.Error)
                best = (penalty, error);
        }

        double[] w = Ridge(x, s, [.. Enumerable.Range(0, n)], best.Penalty);
        double signal = Math.Clamp(Enumerable.Range(0, n).Average(i => Math.Pow(s[i] - Score(x[i], w), 2)) - variance, 0, largest / 2), rho = signal / (signal + variance);
        PosteriorShare found = OneRoundRefit.Share(part, s, variance, largest, TestContext.Current.CancellationToken);
        Assert.InRange(signal, .1, 1.9);
        Assert.Equal(signal, found.Signal, 1e-5);
        Assert.Equal(signal * (1 - rho), found.Variance, 1e-5);
        VerticalData.AssertClose(Enumerable.Range(0, n).Select(i => (1 - rho) * Score(x[i], w) + rho * s[i]), found.Mean, 1e-4);
        Assert.Equal(1 / Math.Sqrt(1 + Math.PI / 8), OneRoundRefit.Attenuation(1), 1e-15);
    }

    /// <summary>Too few rows to leave some out: the widest prior, and where nothing is left beyond the noise, its ridge regression.</summary>
    [Fact]
    public void Share_FewRows_HasTheWidestPrior()
    {
        (_, LinearPart part) = Rows(new Random(10), 5, 2);
        double[] s = [1, -.5, .25, 2, -1];
        Assert.Equal(OneRoundRefit.ShareOf(part, s, 50, 4, TestContext.Current.CancellationToken).Mean, OneRoundRefit.Share(part, s, 50, 4, TestContext.Current.CancellationToken).Mean);
    }

    /// <summary>Rows that are left out do not help to choose the prior by which they are predicted: of noise alone nothing is learned, however many columns could follow it.</summary>
    [Fact]
    public void Share_NoiseAndManyColumns_LearnsNothing()
    {
        var random = new Random(12);
        (_, LinearPart part) = Rows(random, 120, 60);
        double[] s = [.. Enumerable.Range(0, 120).Select(_ => Gauss(random))];
        Assert.InRange(OneRoundRefit.Share(part, s, 2, 100, TestContext.Current.CancellationToken).Mean.Max(Math.Abs), 0, .01);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(.01)]
    [InlineData(1e6)]
    public void Around_ScoresOfAnyLevel_IsThePosteriorOfCentredRowsAndOfTheLevel(double spread)
    {
        const int n = 300;
        const double variance = 2.25, prior = .7, expected = .3;
        var random = new Random(8);
        (double[][] x, _) = Rows(random, n, 2);
        // A constant column as private modes have it, and scores far from 0.
        x = [.. x.Select(row => row.Append(Math.Sqrt(.5)).ToArray())];
        var part = new LinearPart(new DenseMatrix(n, 3, [.. x.SelectMany(r => r)]), false);
        double[] s = [.. x.Select(row => 50 + Score(row, [1, -1, .5]) + .8 * Gauss(random) + 1.5 * Gauss(random))];

        double mean = s.Average(), known = spread / (spread + variance / n);
        double[] centre = [.. Enumerable.Range(0, 2).Select(j => x.Average(row => row[j]))], away = [.. s.Select(v => v - mean)];
        double[][] centred = [.. x.Select(row => row.Take(2).Select((v, j) => v - centre[j]).ToArray())];
        double[] w = Ridge(centred, away, [.. Enumerable.Range(0, n)], variance / (n * prior)), fitted = [.. centred.Select(row => Score(row, w))];
        double signal = Math.Clamp(away.Zip(fitted, (a, b) => (a - b) * (a - b)).Average() - variance, 0, 4 * prior), rho = signal / (signal + variance);
        PosteriorShare found = OneRoundRefit.Around(part, s, variance, new ScoreLevel(expected, spread),
            (rows, scores) => OneRoundRefit.ShareOf(rows, scores, variance, prior, TestContext.Current.CancellationToken));
        Assert.InRange(signal, .1, 2);
        Assert.Equal(signal, found.Signal, 1e-5);
        VerticalData.AssertClose(fitted.Zip(away, (m, a) => expected + known * (mean - expected) + (1 - rho) * m + rho * a), found.Mean, 1e-4);
        Assert.Equal(expected + known * (mean - expected), found.Mean.Average(), 1e-5);
    }

    /// <summary>(X'X + n penalty I) b = X's over some of n rows, by elimination.</summary>
    private static double[] Ridge(double[][] x, double[] s, int[] rows, double penalty)
    {
        int n = x.Length, d = x[0].Length;
        double[,] a = new double[d, d + 1];
        for (int j = 0; j < d; j++)
        {
            for (int k = 0; k < d; k++)
                a[j, k] = rows.Sum(i => x[i][j] * x[i][k]) + (j == k ? n * penalty : 0);
            a[j, d] = rows.Sum(i => x[i][j] * s[i]);
        }

        for (int p = 0; p < d; p++)
            for (int j = 0; j < d; j++)
                if (j != p)
                {
                    double f = a[j, p] / a[p, p];
                    for (int k = p; k <= d; k++)
                        a[j, k] -= f * a[p, k];
                }

        return [.. Enumerable.Range(0, d).Select(j => a[j, d] / a[j, j])];
    }

    [Fact]
    public void Share_NoiseAlone_StaysWithinWhatClippedScoresAllow()
    {
        var random = new Random(9);
        (_, LinearPart part) = Rows(random, 200, 4);
        double[] s = [.. Enumerable.Range(0, 200).Select(_ => 40 * Gauss(random))];
        PosteriorShare share = OneRoundRefit.Share(part, s, 1600, 4, TestContext.Current.CancellationToken);
        Assert.InRange(share.Signal, 0, 2);
        Assert.InRange(share.Mean.Max(Math.Abs), 0, 6);
        // Neither noise nor signal is no error.
        Assert.All(OneRoundRefit.Share(part, new double[200], 0, 4, TestContext.Current.CancellationToken).Mean, m => Assert.Equal(0, m, 1e-12));
    }

    /// <summary>Of a party whose features say nothing the scores are what its constant, half of R^2 in its square, fits of the targets' mean; those of several parties add up.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void ScoreLevel_OfAConstantAlone_IsWhatItsFitGives(int parties)
    {
        const int N = 50;
        const double Left = .7, Signal = 5, R = 1.5;
        var parameters = new OneRoundParameters { Rows = N, Columns = [OneRoundColumn.OfClass(new RandomizedResponse(1), .3)], RowNorm = R };
        double[] constants = [.. Enumerable.Repeat(R / Math.Sqrt(2), N)], targets = [.. Enumerable.Repeat(Left, N)];
        double fitted = ClippedRidge.Fit(new LinearPart(new DenseMatrix(N, 1, constants), false), targets, parameters, 0, TestContext.Current.CancellationToken).Scores[0], f = 1 - fitted / Left;
        Assert.InRange(f, .1, .9);
        ScoreLevel level = ScoreLevel.Of(parameters, 0, parties, Left, Signal);
        Assert.Equal(parties * fitted, level.Expected, 1e-4);
        Assert.Equal(Signal * f * f * (1 - f) * (1 - f), level.Variance, 1e-3);
        // In units of the label, and a quarter of the error of rows that are all R long in one direction after another.
        (double entering, double error) = ScoreLevel.Entering(parameters, parties, Left);
        Assert.Equal(parties * fitted * parameters.Columns[0].Scale, entering, 1e-4);
        Assert.Equal(parties * R * R / (4 * N * parameters.L2(0)) / 4, error, 1e-12);
    }

    /// <summary>A known prior bounds the signal by four times itself, which scores far beyond it reach.</summary>
    [Fact]
    public void ShareOf_ScoresFarBeyondThePrior_TakesFourTimesThatAsSignal()
    {
        var random = new Random(9);
        (_, LinearPart part) = Rows(random, 200, 4);
        double[] s = [.. Enumerable.Range(0, 200).Select(_ => 40 * Gauss(random))];
        Assert.Equal(12, OneRoundRefit.ShareOf(part, s, 1, 3, TestContext.Current.CancellationToken).Signal);
        Assert.InRange(OneRoundRefit.ShareOf(part, s, 1600, 3, TestContext.Current.CancellationToken).Signal, 0, 12);
    }

    [Fact]
    public void DebiasedFamily_AtAnyLabels_IsTheBinomialLossContinued()
    {
        var random = new Random(2);
        double[] z = [.. Enumerable.Range(0, 600).Select(_ => 8 * random.NextDouble() - 4)], bits = [.. z.Select(_ => (double)random.Next(2))], y = [.. z.Select(_ => 4 * random.NextDouble() - 2)];
        DebiasedBinomial family = new();
        Assert.Equal(GlmFamilies.Binomial.LossSum(z, bits), family.LossSum(z, bits), 1e-9);
        double[] residuals = new double[z.Length];
        family.Residuals(z, y, residuals);
        VerticalData.AssertClose(z.Zip(y, (s, t) => 1 / (1 + Math.Exp(-s)) - t), residuals, 1e-14);
        // The loss is linear in the label, so over the randomised response its mean is the loss of the true label.
        var response = new RandomizedResponse(.7);
        foreach (double s in (double[])[-3, .2, 5])
            foreach (bool label in (bool[])[false, true])
            {
                double mean = response.KeepProbability * family.LossSum([s], [response.Debias(label)]) + response.OtherProbability * family.LossSum([s], [response.Debias(!label)]);
                Assert.Equal(GlmFamilies.Binomial.LossSum([s], [label ? 1 : 0]), mean, 1e-12);
            }
    }

    private static double Gauss(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
