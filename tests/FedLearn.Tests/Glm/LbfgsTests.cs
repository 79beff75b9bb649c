using FedLearn.Glm;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Glm;

public class LbfgsTests
{
    /// <summary>Nocedal and Wright 2006, algorithm 7.4, on whole vectors.</summary>
    private static double[] TextbookDirection(List<(double[] S, double[] Y)> pairs, double[] gradient)
    {
        double[] q = [.. gradient];
        double[] alpha = new double[pairs.Count];
        for (int i = pairs.Count - 1; i >= 0; i--)
        {
            alpha[i] = Dot(pairs[i].S, q) / Dot(pairs[i].S, pairs[i].Y);
            q = Plus(q, -alpha[i], pairs[i].Y);
        }

        double scale = pairs.Count == 0 ? 1 : Dot(pairs[^1].S, pairs[^1].Y) / Dot(pairs[^1].Y, pairs[^1].Y);
        double[] r = [.. q.Select(v => scale * v)];
        for (int i = 0; i < pairs.Count; i++)
            r = Plus(r, alpha[i] - (Dot(pairs[i].Y, r) / Dot(pairs[i].S, pairs[i].Y)), pairs[i].S);
        return [.. r.Select(v => -v)];
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    private static double[] Plus(double[] a, double factor, double[] b) => [.. a.Zip(b, (x, y) => x + (factor * y))];

    private static double Norm(double[] a) => Math.Sqrt(Dot(a, a));

    /// <summary>A random positive definite quadratic (1/2) w'Aw - b'w: B'B/d plus a multiple of the identity.</summary>
    private static (double[][] A, double[] B) Quadratic(Random random, int d, double ridge)
    {
        double[][] m = [.. Enumerable.Range(0, d).Select(_ => Enumerable.Range(0, d).Select(_ => (2 * random.NextDouble()) - 1).ToArray())];
        double[][] a = [.. Enumerable.Range(0, d).Select(i => Enumerable.Range(0, d).Select(j => (m.Sum(row => row[i] * row[j]) / d) + (i == j ? ridge : 0)).ToArray())];
        return (a, [.. Enumerable.Range(0, d).Select(_ => random.NextDouble() - 0.5)]);
    }

    [Fact]
    public void Direction_SharedBasis_EqualsTheTextbookOnPooledVectors() => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        // Three parties, one of them perhaps without columns; more iterations than the memory of 10.
        var random = new Random(seed);
        int[] widths = [1 + random.Next(6), random.Next(4), 1 + random.Next(6)];
        int d = widths.Sum();
        (double[][] a, double[] b) = Quadratic(random, d, 0.2);
        LbfgsBasis[] parties = [.. widths.Select(width => new LbfgsBasis(width))];
        double[] w = new double[d];
        var pairs = new List<(double[] S, double[] Y)>();
        double[]? last = null;
        double[] lastGradient = [];
        double start = 0;
        for (int round = 0; round < 30; round++)
        {
            double[] gradient = [.. Enumerable.Range(0, d).Select(i => Dot(a[i], w) - b[i])];
            if (last is not null)
                pairs.Add((last, Plus(gradient, -1, lastGradient)));
            if (pairs.Count > LbfgsBasis.Memory)
                pairs.RemoveAt(0);
            start = round == 0 ? Norm(gradient) : start;
            // Below this the differences of gradients are rounding, and so is any direction.
            if (Norm(gradient) < 1e-6 * start)
                return;

            double[] products = [];
            for (int party = 0, first = 0; party < 3; first += widths[party++])
            {
                parties[party].Update(gradient[first..(first + widths[party])]);
                double[] share = parties[party].InnerProducts();
                products = party == 0 ? share : Plus(products, 1, share);
            }

            int count = parties[0].Count;
            Assert.Equal((2 * pairs.Count) + 1, count);
            Assert.Equal(count * (count + 1) / 2, products.Length);
            Assert.Equal(Norm(gradient), Lbfgs.GradientNorm(products), 1e-12 * start);
            double[] coefficients = Lbfgs.Direction(products, count);
            double[] joint = [.. parties.SelectMany(p => p.Direction(coefficients))];
            double[] expected = TextbookDirection(pairs, gradient);
            VerticalData.AssertClose(expected, joint, 1e-6 * Norm(expected));

            double step = -Dot(gradient, joint) / a.Select((row, i) => joint[i] * Dot(row, joint)).Sum();
            for (int party = 0, first = 0; party < 3; first += widths[party++])
                parties[party].Step(w.AsSpan(first, widths[party]), joint[first..(first + widths[party])], step);
            (last, lastGradient) = ([.. joint.Select(v => step * v)], gradient);
        }

        Assert.Fail("30 exact steps in at most 15 dimensions did not shrink the gradient a millionfold.");
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(200));

    [Fact]
    public void Direction_FirstRound_IsSteepestDescent()
    {
        var basis = new LbfgsBasis(3);
        basis.Update([1, -2, 3]);
        Assert.Equal([14.0], basis.InnerProducts());
        Assert.Equal([-1, 2, -3], basis.Direction(Lbfgs.Direction(basis.InnerProducts(), 1)));
    }

    [Fact]
    public void Direction_PairWithoutCurvature_IsLeftOut()
    {
        var basis = new LbfgsBasis(2);
        double[] w = [0, 0];
        basis.Update([1, 1]);
        basis.Step(w, [1, 0], 1);
        basis.Update([1, 1]);       // the gradient did not change: s'y = 0
        Assert.Equal(3, basis.Count);
        Assert.Equal([-1, -1], basis.Direction(Lbfgs.Direction(basis.InnerProducts(), 3)));
        basis.Step(w, [0, 1], 1);
        basis.Update([1, 0.5]);     // s'y = -0.5
        Assert.Equal([-1, -0.5], basis.Direction(Lbfgs.Direction(basis.InnerProducts(), 5)));
    }

    [Fact]
    public void LineSearch_ConvexFunctions_FindsTheMinimum() => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        // Sums of exp(a t + b), log(1 + exp(a t + b)) and quadratics, a of both signs: convex, with a minimum, over many scales of t.
        var random = new Random(seed);
        double scale = Math.Pow(10, random.Next(-4, 5));
        (int Kind, double A, double B, double C)[] terms = [.. Enumerable.Range(0, 6).Select(i =>
            (i % 3, (i < 3 ? -1 : 1) * (0.1 + (5 * random.NextDouble())) * scale, (4 * random.NextDouble()) - 2, Math.Pow(10, random.Next(-2, 3))))];
        (double First, double Second) Slope(double t)
        {
            double first = 0, second = 0;
            foreach ((int kind, double a, double b, double c) in terms)
            {
                double u = (a * t) + b, e = Math.Exp(u), p = 1 / (1 + Math.Exp(-u));
                first += c * a * (kind switch { 0 => e, 1 => p, _ => u });
                second += c * a * a * (kind switch { 0 => e, 1 => p * (1 - p), _ => 1 });
            }

            return (first, second);
        }

        double start = Slope(0).First, step = Lbfgs.LineSearch(Slope, Math.Pow(10, random.Next(-3, 4)));
        if (start >= 0)
            Assert.Equal(0, step);
        else
            Assert.True(step > 0 && Math.Abs(Slope(step).First) <= 1e-6 * -start, $"stopped at slope {Slope(step).First} of {start}");
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));

    [Theory]
    [InlineData(1)]
    [InlineData(1e3)]
    [InlineData(1e-9)]
    public void LineSearch_Overflows_StaysInTheFiniteRange(double first)
    {
        // e^(900 t - 300) - 100 t: a step above 1.12 overflows, and from 1 a Newton step moves by 1/900 only.
        static (double, double) Slope(double t) => ((900 * Math.Exp((900 * t) - 300)) - 100, 810_000 * Math.Exp((900 * t) - 300));
        double step = Lbfgs.LineSearch(Slope, first);
        Assert.Equal((300 + Math.Log(100.0 / 900)) / 900, step, 1e-8);
    }

    [Fact]
    public void LineSearch_NoDescentOrNothingFinite_IsZero()
    {
        Assert.Equal(0, Lbfgs.LineSearch(_ => (0, 1), 1));
        Assert.Equal(0, Lbfgs.LineSearch(t => (1 + t, 1), 1));
        Assert.Equal(0, Lbfgs.LineSearch(_ => (double.NaN, double.NaN), 1));
        Assert.Equal(0, Lbfgs.LineSearch(t => t == 0 ? (-1, 1) : (double.PositiveInfinity, double.PositiveInfinity), 1));
        Assert.Equal(0, Lbfgs.LineSearch(t => t == 0 ? (-1, 1) : (double.NaN, double.NaN), 1));
    }

    [Fact]
    public void LineSearch_FallsForEver_StopsAtAFarStep()
    {
        // A separable binomial loss without penalty: the slope tends to 0 from below and is never 0.
        double step = Lbfgs.LineSearch(t => (-1 / (1 + Math.Exp(t)), Math.Exp(-t) / Math.Pow(1 + Math.Exp(-t), 2)), 1);
        Assert.InRange(step, 13, 1e6);
    }
}
