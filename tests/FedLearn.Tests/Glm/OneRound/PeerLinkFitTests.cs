using System.Numerics.Tensors;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;

namespace FedLearn.Tests.Glm.OneRound;

/// <summary>How noisy scores enter through the link log.</summary>
public class PeerLinkFitTests
{
    public static TheoryData<string> Families => ["poisson", "gamma", "tweedie"];

    private static readonly Func<double, double> NoError = _ => 0;

    /// <summary>Rows of the active party, labels that depend on a share of others as well, and that share on the scale of the label.</summary>
    private static (LinearPart Part, GlmTargets Targets, double[] Share) Scene(string family, Random random, int n, bool more = false)
    {
        var x = new DenseMatrix(n, 3);
        double[] y = new double[n], share = new double[n];
        for (int i = 0; i < n; i++)
        {
            Span<double> row = x.Row(i);
            (row[0], row[1], row[2]) = (random.NextDouble() - .5, random.NextDouble() - .5, .7);
            double other = random.NextDouble() - .5, mean = 2 * Math.Exp(row[0] - row[1]) * (1 + 1.6 * other);
            share[i] = (family == "tweedie" ? .6 : 1) * 2 * 1.6 * other;
            y[i] = family switch
            {
                "gamma" => .01 - mean * Math.Log(1 - random.NextDouble()),
                "tweedie" => random.NextDouble() < .4 ? 0 : -mean * Math.Log(1 - random.NextDouble()),
                _ => Enumerable.Range(0, 20).Count(_ => random.NextDouble() < mean / 20),
            };
        }

        return (new LinearPart(x, false), new GlmTargets(y, more ? [.. y.Select(_ => random.Next(4) == 0 ? 0 : random.NextDouble())] : null,
            more ? [.. y.Select(_ => random.NextDouble() - .5)] : null), share);
    }

    private static double[] With(double[] share, double deviation, Random random) =>
        [.. share.Select(s => s + deviation * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()))];

    /// <summary>Deviance of own weights beside offsets, both as they are.</summary>
    private static double Deviance(LinearPart part, IGlmFamily family, GlmTargets targets, double[] weights, double[] offsets)
    {
        double[] scores = new double[part.Rows];
        part.Scores(0, weights, scores);
        TensorPrimitives.Add(scores, offsets, scores);
        targets.AddOffsets(0, scores);
        double sum = 0;
        for (int i = 0; i < scores.Length; i++)
            if ((targets.Weights?[i] ?? 1) is var weight and > 0)
                sum += weight * family.DevianceSum([scores[i]], [targets.Labels[i]]);
        return sum;
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Of_AnyScores_TrainingDevianceIsAtMostThatOfTheOwnFeaturesAlone(string name)
    {
        IGlmFamily family = VerticalData.Family(name);
        var random = new Random(21);
        int entered = 0;
        for (int trial = 0; trial < 40; trial++)
        {
            (LinearPart part, GlmTargets targets, double[] share) = Scene(name, random, random.Next(5, 400), more: trial % 3 == 0);
            // Of every quality, from exact to noise alone, and of the wrong sign.
            double deviation = Math.Pow(10, random.Next(-2, 4)), sign = trial % 5 == 0 ? -1 : 1;
            double[] scores = With([.. share.Select(s => sign * s)], deviation, random);
            double error = trial % 4 * .3;
            PeerLinkFit fit = PeerLinkFit.Of(part, family, targets, scores, 0, deviation * deviation, _ => error, TestContext.Current.CancellationToken);
            NewtonResult alone = OneRoundRefit.Fit(part, family, targets.Labels, targets.Offsets, 1, targets.Weights, cancellationToken: TestContext.Current.CancellationToken);
            double least = Deviance(part, family, targets, alone.Weights, new double[part.Rows]);
            Assert.InRange(Deviance(part, family, targets, fit.Weights, fit.Offsets), 0, least * (1 + 1e-9));
            entered += fit.Link.Slope > 0 ? 1 : 0;
        }

        Assert.InRange(entered, 20, 39);
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Of_NearlyExactScores_AreTakenAsTheyAre(string name)
    {
        IGlmFamily family = VerticalData.Family(name);
        (LinearPart part, GlmTargets targets, double[] share) = Scene(name, new Random(22), 3000);
        PeerLinkFit fit = PeerLinkFit.Of(part, family, targets, With(share, .01, new Random(1)), 0, 1e-4, NoError, TestContext.Current.CancellationToken);
        double mean = targets.Labels.Average(), unit = 10 * fit.Link.Least;
        Assert.Equal(1, fit.Link.Slope * mean / unit, 1e-9);
        NewtonResult alone = OneRoundRefit.Fit(part, family, targets.Labels, null, 1, cancellationToken: TestContext.Current.CancellationToken);
        Assert.InRange(Deviance(part, family, targets, fit.Weights, fit.Offsets), 0, .95 * Deviance(part, family, targets, alone.Weights, new double[part.Rows]));
        // The offsets of the rows are what the link makes of the scores, up to what their noise leaves open.
        double[] exact = [.. share];
        fit.Link.Apply(exact);
        VerticalData.AssertClose(exact, fit.Offsets, .2);
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Of_ScoresOfTheWrongSign_DoNotEnter(string name)
    {
        (LinearPart part, GlmTargets targets, double[] share) = Scene(name, new Random(23), 3000);
        PeerLinkFit fit = PeerLinkFit.Of(part, VerticalData.Family(name), targets, With([.. share.Select(s => -s)], .1, new Random(2)), 0, .01, NoError, TestContext.Current.CancellationToken);
        Assert.Equal(0, fit.Link.Slope);
        double[] sums = [-1e6, 0, 3];
        fit.Link.Apply(sums);
        Assert.All(sums, s => Assert.Equal(fit.Offsets[0], s));
        Assert.All(fit.Offsets, o => Assert.Equal(fit.Offsets[0], o));
    }

    [Fact]
    public void Of_NoiseAlone_TakesTheExpectedSlopeAndNothingFromTheTrainingRows()
    {
        IGlmFamily family = GlmFamilies.Poisson;
        (LinearPart part, GlmTargets targets, double[] share) = Scene("poisson", new Random(24), 2000);
        int apart = 0;
        for (int seed = 0; seed < 10; seed++)
        {
            const double error = .5;
            PeerLinkFit fit = PeerLinkFit.Of(part, family, targets, With(share, 1000, new Random(seed)), 0, 1e6, _ => error, TestContext.Current.CancellationToken);
            double mean = targets.Labels.Average(), spread = targets.Labels.Average(y => (y - mean) * (y - mean)), signal = Math.Min(mean * mean / 4, spread / 10);
            Assert.Equal(signal / (signal + error), fit.Link.Slope * mean / (10 * fit.Link.Least), 1e-9);
            NewtonResult alone = OneRoundRefit.Fit(part, family, targets.Labels, null, 1, cancellationToken: TestContext.Current.CancellationToken);
            double least = Deviance(part, family, targets, alone.Weights, new double[part.Rows]);
            Assert.Equal(least, Deviance(part, family, targets, fit.Weights, fit.Offsets), 1e-3 * least);
            apart += Math.Abs(Deviance(part, family, targets, fit.Weights, fit.Offsets) / least - 1) < 1e-6 ? 1 : 0;
        }

        Assert.InRange(apart, 1, 10);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(3, 3)]
    public void Of_LabelsThatAreAllEqual_GivesAFiniteModel(double low, double high)
    {
        (LinearPart part, GlmTargets targets, double[] share) = Scene("poisson", new Random(25), 30);
        targets = targets with { Labels = [.. targets.Labels.Select((_, i) => i % 2 == 0 ? low : high)] };
        PeerLinkFit fit = PeerLinkFit.Of(part, GlmFamilies.Poisson, targets, share, 0, 1, _ => 1, TestContext.Current.CancellationToken);
        Assert.Equal(0, fit.Link.Slope);
        Assert.All(fit.Weights, w => Assert.True(double.IsFinite(w)));
        Assert.True(fit.Link.Least > 0);
    }

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Train_StrongNoise_IsNotMuchWorseThanTheActivePartyAlone(string name)
    {
        VerticalData data = VerticalData.Random(31, name, 1200, 2, 2, 2);
        double high = Math.Ceiling(data.Labels.Max());
        for (long seed = 1; seed <= 6; seed++)
        {
            GlmJob job = data.Job(name, new GlmTrainingOptions { Seed = 5 });
            job = job with
            {
                Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = true },
                Privacy = new() { Mode = PrivacyMode.OneRound, Budget = new(1, 1e-5), TestNoiseSeed = seed },
                Split = new SplitRule.ByHash(4, [0]),
                Parties = [job.Parties[0] with { LabelRange = (name == "gamma" ? .01 : 0, high) }, .. job.Parties.Skip(1)],
            };
            GlmPartyResult active = (await LocalFederation.TrainAsync(job, data.Inputs(), cancellationToken: TestContext.Current.CancellationToken))[0];
            // The figures alone are fitted to four digits.
            Assert.InRange(active.Train!.Deviance!.Value, 0, active.GuestOnly!.Train.Deviance!.Value + 1e-6);
            Assert.InRange(active.Test!.Deviance!.Value, 0, 1.15 * active.GuestOnly.Test!.Deviance!.Value);
        }
    }
}
