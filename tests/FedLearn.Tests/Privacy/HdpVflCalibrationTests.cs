using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Privacy.Numerics;

namespace FedLearn.Tests.Privacy;

public class HdpVflCalibrationTests
{
    internal static readonly HdpVflParameters Job = new()
    {
        Family = GlmFamilyKind.Binomial,
        Rows = 569,
        Batches = 5,
        Epochs = 10,
        StepSize = 1,
        L2 = 0.001,
        WeightNorm = 1,
        ResidualClip = 1,
    };

    [Theory]
    [InlineData(Calibration.Tight, PartySide.Passive, 156.4)]
    [InlineData(Calibration.Tight, PartySide.Active, 77.97)]
    [InlineData(Calibration.Paper, PartySide.Passive, 542.5)]
    [InlineData(Calibration.Paper, PartySide.Active, 336.8)]
    public void Calibrate_KnownJob_GivesKnownSigma(Calibration calibration, PartySide side, double sigma)
    {
        PartyCalibration result = HdpVflCalibration.Calibrate(Job, calibration, side, 0.1, 1.0 / 569);
        Assert.Equal(sigma, result.Sigma, sigma * 4e-4);
        Assert.Equal(50, result.Releases);
        Assert.Equal(result.Sensitivity, result.Sigma * result.Mu, 1e-11);
    }

    [Fact]
    public void Calibrate_Slack_IsSelfConsistent()
    {
        PartyCalibration result = HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Passive, 1, 1e-4);
        double step = result.SigmaCharged / INoiseSource.LatticeScale;
        Assert.Equal(step * Math.Sqrt(10 * 569), result.LatticeSlack, 1e-15);
        Assert.Equal(result.SigmaCharged, (result.Sensitivity + result.LatticeSlack + result.ArithmeticSlack) / result.Mu, 1e-11);
        Assert.True(result.SigmaCharged > result.Sigma);
        Assert.InRange(result.ArithmeticSlack, 0, 1e-6);
        Assert.Null(result.ActualDelta);
        Assert.Empty(HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Passive, 1, 1e-4).Warnings);
    }

    [Fact]
    public void Calibrate_Label_ChargesTheOwnRowSlack()
    {
        HdpVflParameters job = Job with { Unit = PrivacyUnit.Label };
        PartyCalibration result = HdpVflCalibration.Calibrate(job, Calibration.Tight, PartySide.Active, 1, 1e-4);
        Assert.Equal(3.311, result.Sensitivity, 6e-4);
        Assert.InRange(result.OwnRowSlack, 0.03, 0.05);
        Assert.Equal(result.SigmaCharged, (result.Sensitivity + result.OwnRowSlack + result.LatticeSlack + result.ArithmeticSlack) / result.Mu, 1e-11);
        Assert.Equal(PrivacyErrors.PassiveHasNoLabel, Assert.Throws<PrivacyRefusedException>(
            () => HdpVflCalibration.Calibrate(job, Calibration.Tight, PartySide.Passive, 1, 1e-4)).Id);
    }

    [Fact]
    public void Calibrate_MoreBatchesThanARecursionKeeps_IsRefusedBeforeMemoryIsAskedFor()
    {
        HdpVflParameters job = Job with { Rows = int.MaxValue, Batches = int.MaxValue, Epochs = 1 };
        Assert.Equal("FL2302", Assert.Throws<ConfigurationException>(() => HdpVflCalibration.Calibrate(job, Calibration.Tight, PartySide.Active, 1, 1e-12)).Id);
        Assert.True(HdpVflCalibration.Calibrate(job, Calibration.WeightNoise, PartySide.Active, 1, 1e-12).Sigma > 0);
    }

    [Fact]
    public void Calibrate_SideWithoutAName_IsRefused() => Assert.Equal(PrivacyErrors.InvalidNumber, Assert.Throws<ConfigurationException>(
        () => HdpVflCalibration.Calibrate(Job, Calibration.Tight, (PartySide)77, 1, 1e-4)).Id);

    // Columns: own and gradient bounds of one visit, for 10 epochs and batches of 113 or 114 rows.
    [Theory]
    [InlineData(PartySide.Passive, Adjacency.ReplaceOne, PrivacyUnit.Record, 2, 2)]
    [InlineData(PartySide.Passive, Adjacency.ZeroOut, PrivacyUnit.Record, 1, 1)]
    [InlineData(PartySide.Active, Adjacency.ReplaceOne, PrivacyUnit.Record, 1.4621171572600098, 2)]
    [InlineData(PartySide.Active, Adjacency.ZeroOut, PrivacyUnit.Record, 1, 1)]
    [InlineData(PartySide.Active, Adjacency.ReplaceOne, PrivacyUnit.Label, 1, 1)]
    public void Calibrate_WeightNoise_FollowsTheFormula(PartySide side, Adjacency adjacency, PrivacyUnit unit, double own, double gradient)
    {
        // No condition on the step: far beyond 2/(lambda + beta R^2).
        HdpVflParameters job = Job with { Adjacency = adjacency, Unit = unit, StepSize = 100, MaxColumns = 30, Schedule = BatchSchedule.Reshuffled };
        PartyCalibration result = HdpVflCalibration.Calibrate(job, new HdpVflNoise(Calibration.WeightNoise) { Share = 0.8, EvaluationShare = 0.5 }, side, 1, 1e-4);
        double mu = GaussianDp.Mu(1, 1e-4);
        Assert.Equal(1, result.Sigma / (own * Math.Sqrt(10 / 0.8) / mu), 1e-12);
        Assert.Equal(1, result.GradientSigma!.Value / (gradient * Math.Sqrt(10 / 0.2) / (113 * mu)), 1e-12);
        Assert.Equal((0, 0), (result.DriftTerm, result.FinalDrift));
        Assert.Null(result.EvaluationNoise);

        // What is charged: own and G per visit, each with its roundings to the lattice, is mu in all.
        double step = result.SigmaCharged / INoiseSource.LatticeScale, gradientStep = result.GradientSigmaCharged!.Value / INoiseSource.LatticeScale;
        Assert.True(result.LatticeSlack >= step * Math.Sqrt(10) * (1 - 1e-12));
        double messages = Math.Sqrt(10) * (own + step) / result.SigmaCharged, gradients = Math.Sqrt(10) * (gradient / 113 + gradientStep * Math.Sqrt(30)) / result.GradientSigmaCharged.Value;
        double spent = Math.Sqrt(messages * messages + gradients * gradients);
        Assert.InRange(spent, mu * (1 - 1e-9), mu);

        Assert.Equal((result.SigmaCharged, 50, 1.0), (result.MessageNoise.Sigma, result.MessageNoise.Releases, result.MessageNoise.ValueBound));
        Assert.Equal((result.GradientSigmaCharged.Value, 50, 1.0), (result.GradientNoise!.Sigma, result.GradientNoise.Releases, result.GradientNoise.ValueBound));
        AssertMu(mu, result.MessageNoise, result.GradientNoise);
    }

    [Fact]
    public void Calibrate_ChargedEvaluation_SharesOutMu()
    {
        HdpVflParameters job = Job with { MaxColumns = 12, WeightNorm = 3, L2 = 0 };
        var noise = new HdpVflNoise(Calibration.Tight) { EvaluationShare = 0.2 };
        PartyCalibration result = HdpVflCalibration.Calibrate(job, noise, PartySide.Passive, 1, 1e-4);
        PartyCalibration plain = HdpVflCalibration.Calibrate(job, Calibration.Tight, PartySide.Passive, 1, 1e-4);
        Assert.Equal(plain.Mu, result.Mu);
        Assert.Equal(plain.Sigma / Math.Sqrt(0.8), result.Sigma, 1e-9);
        AssertMu(plain.Mu, result.MessageNoise, result.EvaluationNoise!);
        Assert.Equal((1, 3.0), (result.EvaluationNoise!.Releases, result.EvaluationNoise.ValueBound));

        // Ten visits, each 2 eta R C/b = 2/113, and no contraction.
        Assert.InRange(result.FinalDrift, 20.0 / 113, 1.000001 * 20 / 113);
        double moved = result.FinalDrift + Math.Sqrt(12) * result.EvaluationNoise.Sigma / INoiseSource.LatticeScale;
        Assert.InRange(moved / result.EvaluationNoise.Sigma, result.EvaluationNoise.Mu * (1 - 1e-12), result.EvaluationNoise.Mu);
        Assert.Null(plain.EvaluationNoise);
        Assert.Null(HdpVflCalibration.Calibrate(job, noise, PartySide.Active, 1, 1e-4).EvaluationNoise);
        Assert.Equal(PrivacyErrors.PaperSetting, Assert.Throws<PrivacyRefusedException>(() => HdpVflCalibration.Calibrate(job,
            new HdpVflNoise(Calibration.Paper) { EvaluationShare = 0.2 }, PartySide.Passive, 1, 1e-4)).Id);
    }

    // A million rows a batch and as many columns: what float64 may add is no longer lost in the last digits.
    private static readonly HdpVflParameters Large = Job with { Rows = 1_000_000, Batches = 1, MaxColumns = 1 << 20, L2 = 0, StepSize = 0.5, WeightNorm = 3 };

    private const double UnitRoundoff = 1.0 / (1L << 53);

    [Fact]
    public void Calibrate_LargeTable_ChargesTheRoundingsOfTheFinalWeights()
    {
        PartyCalibration result = HdpVflCalibration.Calibrate(Large, new HdpVflNoise(Calibration.Tight) { EvaluationShare = 0.2 }, PartySide.Passive, 1, 1e-7);
        // Ten steps of 2 eta R C/b, and in both tables a mean of b products, an update of d weights within k, and the residuals' own rounding.
        double entry = 2 * UnitRoundoff * (5 * ((1 << 20) + 8.0) * 3 + 8 * 2);
        double step = 2 * UnitRoundoff * (0.5 * 5 * (1_000_000 + 8.0) + ((1 << 20) + 8.0) * 3) + 0.5 * entry, exact = 10 * 2 * 0.5 / 1_000_000;
        Assert.InRange(10 * step, 1e-4 * exact, exact);
        Assert.InRange(result.FinalDrift, (exact + 10 * step) * (1 - 1e-12), (exact + 10 * step) * (1 + 1e-6));
        NoiseCalibration final = result.EvaluationNoise!;
        Assert.True((exact + 10 * step) / final.Sigma + Math.Sqrt(1 << 20) / INoiseSource.LatticeScale <= final.Mu * (1 + 1e-12));
    }

    [Theory]
    [InlineData(GlmFamilyKind.Binomial, 1, 1, 1, 1)]
    [InlineData(GlmFamilyKind.Multinomial, 3, 2, .5, 1.4142135623730951)]
    public void Calibrate_WeightNoiseOfALargeBatch_ChargesTheRoundingOfItsMean(GlmFamilyKind family, int outputs, double rowNorm, double clip, double residual)
    {
        HdpVflParameters job = Large with { Family = family, Outputs = outputs, RowNorm = rowNorm, ResidualClip = clip, MaxColumns = 30 };
        PartyCalibration result = HdpVflCalibration.Calibrate(job, Calibration.WeightNoise, PartySide.Passive, 1, 1e-7);
        double exact = 2 * rowNorm * clip / 1_000_000, rounding = 2 * UnitRoundoff * rowNorm * residual * 5 * (1_000_000 + 8.0);
        Assert.InRange(rounding, 1e-4 * exact, exact);
        NoiseCalibration gradient = result.GradientNoise!;
        double spent = Math.Sqrt(10) * ((exact + rounding) / gradient.Sigma + Math.Sqrt(30 * outputs) / INoiseSource.LatticeScale);
        Assert.InRange(spent, gradient.Mu * (1 - 1e-9), gradient.Mu * (1 + 1e-12));
    }

    [Fact]
    public void Calibrate_WeightNoiseOfManyColumns_ChargesTheRoundingOfMessages()
    {
        PartyCalibration result = HdpVflCalibration.Calibrate(Large, Calibration.WeightNoise, PartySide.Passive, 1, 1e-7);
        Assert.True(result.ArithmeticSlack > 1e-10 * result.Sensitivity);
        Assert.Equal(1, (result.Sensitivity + result.LatticeSlack + result.ArithmeticSlack) / result.SigmaCharged / result.MessageNoise.Mu, 1e-12);
    }

    /// <summary>A row moves its party's gradient by kappa R U C, at either side.</summary>
    [Theory]
    [InlineData(PartySide.Active)]
    [InlineData(PartySide.Passive)]
    public void Calibrate_WeightNoise_GradientMovesWithEveryBound(PartySide side)
    {
        PartyCalibration result = HdpVflCalibration.Calibrate(Job with { RowNorm = 1.5, ResidualClip = 3, WeightBound = 2 }, Calibration.WeightNoise, side, 1, 1e-4);
        Assert.Equal(1, result.GradientSigma!.Value / (2 * 1.5 * 2 * 3 * Math.Sqrt(10) / (113 * result.GradientNoise!.Mu)), 1e-12);
    }

    private static void AssertMu(double mu, params NoiseCalibration[] parts) =>
        Assert.InRange(Math.Sqrt(parts.Sum(part => part.Mu * part.Mu)), mu * (1 - 1e-13), mu);

    [Theory]
    [InlineData(GlmFamilyKind.Gaussian, PartySide.Active, 6, 12)]
    [InlineData(GlmFamilyKind.Binomial, PartySide.Active, 2, 4)]
    [InlineData(GlmFamilyKind.Poisson, PartySide.Passive, 3, 12)]
    public void Calibrate_ValueBound_IsThatOfTheMessage(GlmFamilyKind family, PartySide side, double message, double gradient)
    {
        HdpVflParameters job = Job with { Family = family, ResidualClip = 3, WeightBound = 2, TargetBound = 5, RowNorm = 2, WeightNorm = 1.5, StepSize = 0.01 };
        PartyCalibration result = HdpVflCalibration.Calibrate(job, Calibration.WeightNoise, side, 1, 1e-4);
        Assert.Equal((message, gradient), (result.MessageNoise.ValueBound, result.GradientNoise!.ValueBound));
        Assert.Equal(message, HdpVflCalibration.Calibrate(job, Calibration.Tight, side, 1, 1e-4).MessageNoise.ValueBound);
    }

    // A message has 3 entries a row and a party 3 weights a column: each of them is rounded to the lattice.
    [Fact]
    public void Calibrate_SeveralScores_ChargesEveryEntry()
    {
        HdpVflParameters job = Job with { Family = GlmFamilyKind.Multinomial, Outputs = 3, MaxColumns = 12, WeightBound = 2, ResidualClip = 5 };
        var noise = new HdpVflNoise(Calibration.Tight) { EvaluationShare = 0.2 };
        foreach (PartySide side in Enum.GetValues<PartySide>())
        {
            PartyCalibration tight = HdpVflCalibration.Calibrate(job, noise, side, 1, 1e-4);
            double step = tight.SigmaCharged / INoiseSource.LatticeScale;
            Assert.Equal(step * Math.Sqrt(10 * 569 * 3), tight.LatticeSlack, 1e-15);
            Assert.Equal(1, (tight.Sensitivity + tight.LatticeSlack + tight.ArithmeticSlack) / tight.SigmaCharged / tight.MessageNoise.Mu, 1e-11);
            Assert.InRange(tight.ArithmeticSlack, 0, 1e-6);
            // An entry of p - e_y is at most 1 long, a row sqrt 2, a score R k.
            Assert.Equal(side == PartySide.Active ? 2 : 1, tight.MessageNoise.ValueBound);
            PartyCalibration weights = HdpVflCalibration.Calibrate(job, Calibration.WeightNoise, side, 1, 1e-4);
            double gradientStep = weights.GradientSigmaCharged!.Value / INoiseSource.LatticeScale, gradient = side == PartySide.Active ? 2 * 2 * Math.Sqrt(2) : 2 * 2 * 5.0;
            Assert.Equal(1, weights.GradientSigma!.Value / (gradient * Math.Sqrt(10 / 0.5) / (113 * weights.Mu)), 1e-12);
            Assert.True(Math.Sqrt(10) * (gradient / 113 + gradientStep * Math.Sqrt(3 * 12)) / weights.GradientSigmaCharged.Value <= weights.GradientNoise!.Mu);
            Assert.Equal(side == PartySide.Active ? 2 * Math.Sqrt(2) : 10, weights.GradientNoise!.ValueBound, 1e-12);
            if (tight.EvaluationNoise is { } final)
                Assert.True((tight.FinalDrift + Math.Sqrt(3 * 12) * final.Sigma / INoiseSource.LatticeScale) / final.Sigma <= final.Mu);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(-0.5)]
    [InlineData(double.NaN)]
    public void Calibrate_IllegalShare_IsAConfigurationError(double share)
    {
        foreach (HdpVflNoise noise in new[] { new HdpVflNoise(Calibration.WeightNoise) { Share = share }, new HdpVflNoise(Calibration.Tight) { EvaluationShare = share } })
            Assert.Equal(PrivacyErrors.InvalidShare, Assert.Throws<ConfigurationException>(() => HdpVflCalibration.Calibrate(Job, noise, PartySide.Passive, 1, 1e-4)).Id);
    }

    [Fact]
    public void Best_Share_MinimisesTheNoiseInTheGradients()
    {
        foreach (PartySide side in Enum.GetValues<PartySide>())
            foreach (int columns in new[] { 1, 30, 3000 })
            {
                HdpVflParameters job = Job with { RowNorm = 2 };
                double effect = side == PartySide.Active ? 1 : 0.25;
                double best = WeightNoiseShare.Best(job, side, columns);
                Assert.Equal(best, Enumerable.Range(1, 99_999).Select(i => i / 1e5).MinBy(Noise), 2e-5);
                Assert.Equal(1, WeightNoiseShare.GradientNoise(job, side, columns, .5, .25) / (effect * effect * .5 * .5 * 4 / 113 + columns * .25 * .25), 1e-12);

                double Noise(double share)
                {
                    (double own, double gradient) = side == PartySide.Active ? (2 / (1 + Math.Exp(-2)), 4) : (4.0, 4.0);
                    return effect * effect * own * own * 4 / share / 113 + columns * gradient * gradient / (1 - share) / 113 / 113;
                }
            }
    }

    [Fact]
    public void Calibrate_PaperAtLargeEpsilon_SaysThatDeltaIsExceeded()
    {
        PartyCalibration result = HdpVflCalibration.Calibrate(Job, Calibration.Paper, PartySide.Active, 10, 1e-2);
        Assert.Equal(0.0406, result.ActualDelta!.Value, 5e-5);
        Assert.Contains(result.Warnings, text => text.Contains("reaches delta 0.0405", StringComparison.Ordinal) || text.Contains("reaches delta 0.0406", StringComparison.Ordinal));
        Assert.Contains(result.Warnings, text => text.Contains("1/569", StringComparison.Ordinal));
        Assert.DoesNotContain(HdpVflCalibration.Calibrate(Job, Calibration.Paper, PartySide.Active, 0.1, 1e-4).Warnings,
            text => text.Contains("above the", StringComparison.Ordinal));
        Assert.DoesNotContain(result.Warnings, text => text.Contains("Poisson", StringComparison.Ordinal));
        Assert.Contains(HdpVflCalibration.Calibrate(Job with { Family = GlmFamilyKind.Poisson, TargetBound = 1, StepSize = .1 }, Calibration.Paper, PartySide.Active, 1, 1e-4).Warnings,
            text => text.Contains("Poisson", StringComparison.Ordinal));
    }

    /// <summary>Weights within k are never further apart than 2 k.</summary>
    [Fact]
    public void Calibrate_PaperOfASmallBall_FinalWeightsStayWithinIt() =>
        Assert.InRange(HdpVflCalibration.Calibrate(Job with { WeightNorm = .01 }, Calibration.Paper, PartySide.Passive, 1, 1e-4).FinalDrift, .02, .02 * (1 + 1e-8));

    [Fact]
    public void Calibrate_DeltaAboveOneRow_Warns()
    {
        Assert.Single(HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, 1, 1.01 / 569).Warnings);
        Assert.Empty(HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, 1, 0.99 / 569).Warnings);
    }

    [Theory]
    [InlineData(double.NaN, 1e-5)]
    [InlineData(-1, 1e-5)]
    [InlineData(0, 1e-5)]
    [InlineData(double.PositiveInfinity, 1e-5)]
    [InlineData(1, double.NaN)]
    [InlineData(1, -1e-5)]
    [InlineData(1, 0)]
    public void Calibrate_IllegalBudget_IsAConfigurationError(double epsilon, double delta) => Assert.Equal(PrivacyErrors.InvalidBudget,
        Assert.Throws<ConfigurationException>(() => HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, epsilon, delta)).Id);

    [Theory]
    [InlineData(0.1)]
    [InlineData(0.5)]
    [InlineData(7)]
    public void Calibrate_DeltaOfATenthOrMore_IsRefused(double delta) => Assert.Equal(PrivacyErrors.DeltaTooLarge,
        Assert.Throws<PrivacyRefusedException>(() => HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, 1, delta)).Id);

    [Theory]
    [InlineData(1.01e300)]
    [InlineData(1e308)]
    [InlineData(double.MaxValue)]
    public void Calibrate_EpsilonWhoseCostIsNoNumber_IsRefusedAsTooLittleNoise(double epsilon) => Assert.Equal(PrivacyErrors.NoiseTooSmall,
        Assert.Throws<PrivacyRefusedException>(() => HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, epsilon, 1e-5)).Id);

    /// <summary>The numbers of docs/proofs/sensitivity.md, section 7: a residual moves by `steepness` for each unit of its score, which errs by 5 (d + 8) u R k, and is made of so many `roundings` of numbers of the
    /// size of all bounds together; over two tables.</summary>
    [Theory]
    [InlineData(GlmFamilyKind.Gaussian, 2, 8)]
    [InlineData(GlmFamilyKind.Binomial, 1, 8)]
    [InlineData(GlmFamilyKind.Poisson, 7, 8)]
    [InlineData(GlmFamilyKind.Gamma, 3, 760)]
    [InlineData(GlmFamilyKind.Tweedie, 7, 760)]
    [InlineData(GlmFamilyKind.Multinomial, 4, 14)]
    [InlineData(GlmFamilyKind.Convex, 1.4, 65544)]
    public void Calibrate_WeightNoise_ChargesTheRoundingsOfAnEntry(GlmFamilyKind family, double steepness, double roundings)
    {
        HdpVflParameters p = Sized(family);
        double slack = HdpVflCalibration.Calibrate(p, Calibration.WeightNoise, PartySide.Active, 1, 1e-5).ArithmeticSlack;
        Assert.Equal(1, slack / (2 * Math.Sqrt(p.Outputs) * Entry(p, steepness, roundings)), 1e-9);
    }

    /// <summary>The same section of a step: a mean of b products of R and a residual, d weights, and a residual's own rounding; a message moves by as much as the steps before it, and is rounded itself.</summary>
    [Theory]
    [InlineData(GlmFamilyKind.Gaussian, 2, 2, 8, 1)]
    [InlineData(GlmFamilyKind.Binomial, 1, 1, 8, 1)]
    [InlineData(GlmFamilyKind.Poisson, 7, 7, 8, 1)]
    [InlineData(GlmFamilyKind.Multinomial, 1, 4, 14, 2 * 1.4142135623730951)]
    public void Calibrate_Tight_ChargesTheRoundingsOfEveryStep(GlmFamilyKind family, double smoothness, double steepness, double roundings, double residual)
    {
        HdpVflParameters p = Sized(family);
        double entry = Entry(p, steepness, roundings);
        double step = 2 * UnitRoundoff * (.01 * 5 * (114 + 8) * 1.5 * residual * smoothness + (100 * p.Outputs + 8) * 2) + .01 * 1.5 * Math.Sqrt(p.Outputs) * entry;
        double expected = Math.Sqrt(4 * 569 * p.Outputs) * (smoothness * 1.5 * 20 * step + entry);
        foreach (PartySide side in Enum.GetValues<PartySide>())
            Assert.Equal(1, HdpVflCalibration.Calibrate(p, Calibration.Tight, side, 1, 1e-5).ArithmeticSlack / expected, 1e-9);
    }

    // No number of it is 1.
    private static HdpVflParameters Sized(GlmFamilyKind family)
    {
        bool classes = family == GlmFamilyKind.Multinomial;
        return Job with
        {
            Family = family,
            Outputs = classes ? 3 : 1,
            Lipschitz = family == GlmFamilyKind.Convex ? .7 : null,
            Epochs = 4,
            StepSize = .01,
            WeightNorm = 2,
            ResidualClip = .5,
            TargetBound = 3,
            OffsetBound = classes ? 0 : .25,
            WeightBound = 2,
            RowNorm = 1.5,
            MaxColumns = 100,
        };
    }

    private static double Entry(HdpVflParameters p, double steepness, double roundings)
    {
        double size = 1 + .5 + 3 + p.OffsetBound + (p.Family == GlmFamilyKind.Convex ? 3 : 0);
        return 2 * UnitRoundoff * steepness * (5 * 108 * 3 + roundings * 2 * size);
    }

    /// <summary>The rounding of received scores is charged up to 65,536 times all bounds together, and they are clipped there.</summary>
    [Fact]
    public void ReceivedScoreBound_SteepResiduals_IsThatOfAllBoundsTogether()
    {
        Assert.Equal(65_536 * (1 + .5 + 3 + .25 + 3), Sized(GlmFamilyKind.Convex).ReceivedScoreBound);
        Assert.Equal(65_536 * (1 + .5 + 3 + 3), Sized(GlmFamilyKind.Multinomial).ReceivedScoreBound);
        Assert.Equal(double.PositiveInfinity, Sized(GlmFamilyKind.Gaussian).ReceivedScoreBound);
    }

    /// <summary>By products of twice the digits: parts of mu never cost more than all of it, and noise is never less than its mu asks for.</summary>
    [Fact]
    public void PartAndWithLattice_AnyNumbers_ErrOnTheSafeSide()
    {
        var random = new Random(7);
        for (int i = 0; i < 10_000; i++)
        {
            double mu = Math.Exp(20 * random.NextDouble() - 10), share = random.NextDouble(), sensitivity = Math.Exp(20 * random.NextDouble() - 10), lattice = mu / 2 * random.NextDouble();
            double part = HdpVflCalibration.Part(mu, share), rest = HdpVflCalibration.Part(mu, 1 - share);
            Assert.True((DoubleDouble.Product(part, part) + DoubleDouble.Product(rest, rest) - DoubleDouble.Product(mu, mu)).Hi <= 0);
            double sigma = HdpVflCalibration.WithLattice(sensitivity, mu, lattice * INoiseSource.LatticeScale);
            Assert.True((DoubleDouble.Product(sigma, mu) - DoubleDouble.Product(sigma, lattice) - sensitivity).Hi >= 0);
        }
    }

    [Fact]
    public void WithLattice_NoiseBeyondAllNumbers_IsRefused() =>
        Assert.Equal(PrivacyErrors.BoundOverflow, Assert.Throws<ConfigurationException>(() => HdpVflCalibration.WithLattice(1e308, .01, 0)).Id);

    /// <summary>What a step of arithmetic takes the weights apart adds up over all messages, on the root of the rows of all epochs: doubling the epochs doubles it.</summary>
    [Fact]
    public void Calibrate_TwiceTheEpochs_ChargesTwiceTheRoundedSteps()
    {
        double[] slacks = [.. new[] { 10, 20, 40 }.Select(epochs => HdpVflCalibration.Calibrate(Job with { Epochs = epochs }, Calibration.Tight, PartySide.Passive, 1, 1e-4).ArithmeticSlack / Math.Sqrt(epochs))];
        Assert.True(slacks[1] > 1.5 * slacks[0], "a step says next to nothing");
        Assert.Equal(2, (slacks[2] - slacks[1]) / (slacks[1] - slacks[0]), 1e-9);
    }

    /// <summary>Rounding to the lattice may cost up to half of mu, and not more.</summary>
    [Fact]
    public void WithLattice_RoundingThatCostsHalfOfMu_IsTheLastAllowed()
    {
        const double Half = .25 * INoiseSource.LatticeScale;
        Assert.Equal(1 / (.5 - .25 * (1 - 1e-9)), HdpVflCalibration.WithLattice(1, .5, Half * (1 - 1e-9)), 1e-12);
        Assert.Equal(PrivacyErrors.LatticeTooCoarse, Assert.Throws<PrivacyRefusedException>(() => HdpVflCalibration.WithLattice(1, .5, Half * (1 + 1e-9))).Id);
    }

    [Fact]
    public void Calibrate_BudgetBelowTheLattice_IsRefused() => Assert.Equal(PrivacyErrors.LatticeTooCoarse,
        Assert.Throws<PrivacyRefusedException>(() => HdpVflCalibration.Calibrate(Job, Calibration.Tight, PartySide.Active, 1e-6, 1e-9)).Id);
}
