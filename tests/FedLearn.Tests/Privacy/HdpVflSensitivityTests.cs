using System.Globalization;
using System.Text.Json;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Privacy;

public class HdpVflSensitivityTests
{
    private static HdpVflParameters Binomial(int rows, int batches, int epochs, double eta, double l2 = 0.001, double k = 1) => new()
    {
        Family = GlmFamilyKind.Binomial,
        Rows = rows,
        Batches = batches,
        Epochs = epochs,
        StepSize = eta,
        L2 = l2,
        WeightNorm = k,
        ResidualClip = 1,
        TargetBound = 1,
    };

    [Fact]
    public void Bounds_OracleRows_Agree()
    {
        foreach (JsonElement row in Oracle.Load("dp_oracles.json").GetProperty("hdp_vfl").EnumerateArray())
        {
            HdpVflParameters p = Binomial(row.Integer("n"), row.Integer("r"), row.Integer("e"), row.Number("eta"), row.Number("lambda"), row.Number("k"));
            double epsilon = row.Number("epsilon"), delta = row.Number("delta");
            JsonElement paper = row.GetProperty("paper"), tight = row.GetProperty("tight");

            HdpVflBounds published = HdpVflSensitivity.Paper(p), bounds = HdpVflSensitivity.Tight(p);
            GaussianDpTests.AssertUpper(paper.Number("Delta_A"), published.Active.Sensitivity);
            GaussianDpTests.AssertUpper(paper.Number("Delta_B"), published.Passive.Sensitivity);
            GaussianDpTests.AssertUpper(tight.Number("Delta_A"), bounds.Active.Sensitivity);
            GaussianDpTests.AssertUpper(tight.Number("Delta_B"), bounds.Passive.Sensitivity);
            Assert.Equal(tight.Integer("worst_pos_A"), bounds.Active.WorstBatch);
            Assert.Equal(tight.Integer("worst_pos_B"), bounds.Passive.WorstBatch);

            foreach ((PartySide side, string name) in new[] { (PartySide.Active, "sigma_A"), (PartySide.Passive, "sigma_B") })
            {
                GaussianDpTests.AssertUpper(paper.Number(name), HdpVflCalibration.Calibrate(p, Calibration.Paper, side, epsilon, delta).Sigma);
                PartyCalibration calibrated = HdpVflCalibration.Calibrate(p, Calibration.Tight, side, epsilon, delta);
                GaussianDpTests.AssertUpper(tight.Number(name), calibrated.Sigma);
                GaussianDpTests.AssertLower(tight.Number("mu"), calibrated.Mu);
            }

            HdpVflParameters zero = p with { Adjacency = Adjacency.ZeroOut }, label = p with { Unit = PrivacyUnit.Label };
            GaussianDpTests.AssertUpper(tight.Number("Delta_B_zeroout"), HdpVflSensitivity.Tight(zero).Passive.Sensitivity);
            GaussianDpTests.AssertUpper(tight.Number("Delta_A_label_only"), HdpVflSensitivity.Tight(label).Active.Sensitivity);
            GaussianDpTests.AssertUpper(tight.Number("Delta_A_label_only") / tight.Number("mu"), HdpVflCalibration.Calibrate(label, Calibration.Tight, PartySide.Active, epsilon, delta).Sigma);
            Assert.Equal(0, HdpVflSensitivity.Tight(label).Passive.Sensitivity);

            JsonElement weights = tight.GetProperty("weight_noise_mode");
            PartyCalibration noisy = HdpVflCalibration.Calibrate(p, Calibration.WeightNoise, PartySide.Passive, epsilon, delta);
            GaussianDpTests.AssertUpper(weights.Number("sigma_row_B"), noisy.Sigma);
            GaussianDpTests.AssertUpper(weights.Number("tau_B"), noisy.GradientSigma!.Value);
        }
    }

    // Columns: rows, batches, epochs, eta, passive paper and tight, active paper and tight; k = R = C = L = 1, lambda = .001.
    [Theory]
    [InlineData(569, 1, 10, 0.05, 6.331, 6.325, 8.540, 4.624)]
    [InlineData(569, 1, 10, 1, 6.960, 6.480, 8.592, 4.637)]
    [InlineData(569, 1, 50, 0.05, 14.281, 14.167, 19.111, 10.341)]
    [InlineData(569, 1, 50, 1, 33.375, 21.764, 20.767, 11.135)]
    [InlineData(569, 5, 10, 0.05, 6.387, 6.337, 8.547, 4.625)]
    [InlineData(569, 5, 10, 1, 14.969, 10.074, 9.293, 5.022)]
    [InlineData(569, 5, 50, 0.05, 16.253, 14.777, 19.260, 10.394)]
    [InlineData(569, 5, 50, 1, 150.003, 79.841, 42.509, 22.065)]
    [InlineData(30000, 5, 10, 0.05, 6.326, 6.325, 8.538, 4.624)]
    [InlineData(30000, 5, 10, 1, 6.593, 6.417, 8.553, 4.632)]
    [InlineData(30000, 5, 50, 0.05, 14.185, 14.155, 19.095, 10.340)]
    [InlineData(30000, 5, 50, 1, 24.900, 17.825, 19.791, 10.689)]
    [InlineData(30000, 10, 10, 0.05, 6.328, 6.326, 8.539, 4.624)]
    [InlineData(30000, 10, 10, 1, 7.321, 6.681, 8.592, 4.655)]
    [InlineData(30000, 10, 50, 0.05, 14.300, 14.191, 19.102, 10.343)]
    [InlineData(30000, 10, 50, 1, 43.282, 24.432, 21.701, 11.476)]
    [InlineData(30000, 50, 10, 0.05, 6.395, 6.349, 8.543, 4.626)]
    [InlineData(30000, 50, 10, 1, 19.356, 11.311, 9.705, 5.184)]
    [InlineData(30000, 50, 50, 0.05, 17.488, 15.249, 19.276, 10.437)]
    [InlineData(30000, 50, 50, 1, 204.695, 57.891, 54.589, 17.431)]
    public void Bounds_KnownTable_Agree(int rows, int batches, int epochs, double eta,
        double passivePaper, double passiveTight, double activePaper, double activeTight)
    {
        HdpVflParameters p = Binomial(rows, batches, epochs, eta);
        HdpVflBounds paper = HdpVflSensitivity.Paper(p), tight = HdpVflSensitivity.Tight(p);
        Assert.Equal(passivePaper, paper.Passive.Sensitivity, 6e-4);
        Assert.Equal(passiveTight, tight.Passive.Sensitivity, 6e-4);
        Assert.Equal(activePaper, paper.Active.Sensitivity, 6e-4);
        Assert.Equal(activeTight, tight.Active.Sensitivity, 6e-4);
    }

    [Fact]
    public void Tight_RandomParameters_EqualSlowRecursion()
    {
        var random = new Random(20090276);
        for (int i = 0; i < TestCounts.Of(2000); i++)
        {
            PartySide asked = (PartySide)random.Next(2);
            HdpVflParameters p = RandomParameters.NextAny(random, maxRows: 60, maxEpochs: 12, asked) with { Schedule = BatchSchedule.Fixed };
            HdpVflBounds bounds = HdpVflSensitivity.Tight(p);
            foreach ((PartySide side, PartyBound bound) in new[] { (PartySide.Active, bounds.Active), (PartySide.Passive, bounds.Passive) })
            {
                if (side != asked)
                    continue;
                double slow = ReferenceBounds.Sensitivity(p, side);
                Assert.InRange(bound.Sensitivity, slow * (1 - 1e-13), slow * (1 + 3e-13));
                Assert.Equal(bound.Sensitivity, Math.Sqrt(bound.OwnTerm * bound.OwnTerm + bound.DriftTerm * bound.DriftTerm), 1e-12 * slow);
                double worst = ReferenceBounds.Total(p, side, _ => bound.WorstBatch);
                Assert.Equal(slow, worst, 1e-12 * slow);
                double drifting = ReferenceBounds.Sensitivity(p, side, ownDrifts: true);
                Assert.True(bound.Sensitivity + bound.OwnRowSlack >= drifting * (1 - 1e-13));
                Assert.True(p.Unit == PrivacyUnit.Label || bound.OwnRowSlack == 0);
            }
        }
    }

    [Fact]
    public void Tight_Reshuffled_CoversEverySchedule()
    {
        // Every pattern of batches that a record can go through, with the true contraction; and equality where factor 1 and the first place are true.
        var random = new Random(31);
        for (int i = 0; i < TestCounts.Of(300); i++)
        {
            PartySide side = (PartySide)random.Next(2);
            HdpVflParameters p = RandomParameters.NextAny(random, maxRows: 12, maxEpochs: 4, side);
            int batches = 1 + p.Batches % Math.Min(p.Rows, 3);
            p = p with { Batches = batches, Schedule = BatchSchedule.Reshuffled };
            PartyBound bound = side == PartySide.Active ? HdpVflSensitivity.Tight(p).Active : HdpVflSensitivity.Tight(p).Passive;
            double worst = 0, final = 0;
            for (int pattern = 0; pattern < Math.Pow(batches, p.Epochs); pattern++)
            {
                int Digit(int epoch) => pattern / (int)Math.Pow(batches, epoch) % batches;
                worst = Math.Max(worst, ReferenceBounds.Total(p, side, Digit, ownDrifts: true));
                final = Math.Max(final, ReferenceBounds.Steps(p with { Epochs = p.Epochs + 1 }, side, Digit).ElementAt(p.Epochs * batches).Drift);
            }

            Assert.True(bound.Sensitivity + bound.OwnRowSlack >= worst * (1 - 1e-13), $"{side} {p}");
            Assert.True(bound.FinalDrift >= final * (1 - 1e-13));
            if (p.Rows % batches == 0 && (p.L2 == 0 || p.FreeIntercept) && p.Unit == PrivacyUnit.Record)
                Assert.Equal(1, bound.Sensitivity / worst, 1e-12);
        }
    }

    // With strong contraction the worst schedule is not "first in every epoch": (3, 3, 0, 0, 0) is worse, and the envelope covers it.
    [Fact]
    public void Tight_ReshuffledAndContracting_CoversTheWorstPattern()
    {
        HdpVflParameters p = Binomial(80, 4, 5, 1, 0.1) with { Schedule = BatchSchedule.Reshuffled };
        int[] pattern = [3, 3, 0, 0, 0];
        Assert.Equal(5.709, ReferenceBounds.Total(p, PartySide.Passive, e => pattern[e]), 6e-4);
        Assert.Equal(5.600, ReferenceBounds.Total(p, PartySide.Passive, _ => 0), 6e-4);
        Assert.True(HdpVflSensitivity.Tight(p).Passive.Sensitivity > 5.709);
    }

    [Fact]
    public void Tight_FinalDrift_IsTheWorstOverPositions()
    {
        var random = new Random(5);
        for (int i = 0; i < TestCounts.Of(500); i++)
        {
            PartySide side = (PartySide)random.Next(2);
            HdpVflParameters p = RandomParameters.NextAny(random, maxRows: 30, maxEpochs: 6, side) with { Schedule = BatchSchedule.Fixed };
            PartyBound bound = side == PartySide.Active ? HdpVflSensitivity.Tight(p).Active : HdpVflSensitivity.Tight(p).Passive;
            double slow = Enumerable.Range(0, p.Batches)
                .Max(j => ReferenceBounds.Steps(p with { Epochs = p.Epochs + 1 }, side, e => e < p.Epochs ? j : -1).ElementAt(p.Releases).Drift);
            Assert.Equal(1, bound.FinalDrift / slow, 1e-12);
        }
    }

    /// <summary>A step just below 2/(lambda + U beta R^2) turns drift round without shrinking it, so that an error in U beta, which is no double here, would count once a step.</summary>
    /// <param name="batches">Batches of 1,000 rows, one epoch: the drift after the first is a geometric series.</param>
    /// <param name="clip">C.</param>
    /// <param name="target">k_y.</param>
    /// <param name="weight">U.</param>
    /// <param name="eta">Step.</param>
    /// <param name="expected">U (C + min(C, k_y)) and the series, squared and added, of a Poisson model, by 50 digits.</param>
    [Theory]
    [InlineData(7738, 0.5901337716216843, 1.0390850292235077, 1.3003898713739541, 0.9395297925831458, 6.279251550437039)]
    [InlineData(266599, 1.0737039969180264, 0.3888469000760684, 0.526342012931752, 2.5647451463481197, 19.086143726838678)]
    public void Tight_StepsThatTurnDriftRound_IsNotBelowTheTruth(int batches, double clip, double target, double weight, double eta, double expected)
    {
        var p = new HdpVflParameters
        {
            Family = GlmFamilyKind.Poisson,
            Rows = 1000 * batches,
            Batches = batches,
            Epochs = 1,
            StepSize = eta,
            L2 = .01,
            WeightNorm = 1e6,
            ResidualClip = clip,
            TargetBound = target,
            WeightBound = weight,
        };
        Assert.InRange(HdpVflSensitivity.Tight(p).Active.Sensitivity / expected, 1, 1 + 5e-14);
    }

    [Fact]
    public void Tight_ManyEpochsAtTheCap_EqualSlowRecursion()
    {
        // Long enough for the recursion to come to rest, by the cap and by contraction, which the fast code makes use of.
        foreach (double l2 in new[] { 0.0, 0.3 })
        {
            HdpVflParameters p = Binomial(50, 3, 4000, 0.9, l2);
            double slow = ReferenceBounds.Sensitivity(p, PartySide.Passive);
            Assert.Equal(1, HdpVflSensitivity.Tight(p).Passive.Sensitivity / slow, 1e-12);
        }
    }

    [Fact]
    public void Tight_MoreOfAnything_IsNotLess()
    {
        var random = new Random(4);
        for (int i = 0; i < TestCounts.Of(500); i++)
        {
            HdpVflParameters p = RandomParameters.NextAny(random, maxRows: 60, maxEpochs: 12, PartySide.Active) with { L2 = 0 };
            p = p with { StepSize = p.StepSize / 1.2 };
            HdpVflBounds bounds = HdpVflSensitivity.Tight(p);
            foreach (HdpVflParameters more in new[]
            {
                p with { Epochs = p.Epochs + 1 }, p with { WeightNorm = p.WeightNorm * 1.1 }, p with { OffsetBound = p.Outputs > 1 ? 0 : p.OffsetBound + 1 },
                p with { WeightBound = (p.WeightBound ?? 1) * 1.1 }, p with { Schedule = BatchSchedule.Reshuffled },
                // A Gaussian residual that becomes 0 may move by the clip, farther than to any other row's when that is large.
                p with { Adjacency = p.Family == GlmFamilyKind.Gaussian ? p.Adjacency : Adjacency.ReplaceOne },
            })
            {
                Assert.True(HdpVflSensitivity.Tight(more).Active.Sensitivity >= bounds.Active.Sensitivity * (1 - 1e-13), $"{p} to {more}");
                Assert.True(HdpVflSensitivity.Tight(more).Passive.Sensitivity >= bounds.Passive.Sensitivity * (1 - 1e-13), $"{p} to {more}");
            }
        }
    }

    [Fact]
    public void Tight_PublishedConditions_IsNotAboveThePaper()
    {
        // Equal batches, R = 1: the published formulas are then valid, so the exact recursion cannot exceed them.
        var random = new Random(11);
        for (int i = 0; i < TestCounts.Of(500); i++)
        {
            int batches = random.Next(1, 12);
            HdpVflParameters p = RandomParameters.Next(random, maxRows: 60, maxEpochs: 12) with { Family = GlmFamilyKind.Binomial, Outputs = 1, RowNorm = 1, TargetBound = 1 };
            p = p with { Batches = batches, Rows = batches * random.Next(1, 9), ResidualClip = 1, StepSize = Math.Min(p.StepSize, 2 / (p.L2 + 0.25)) };
            HdpVflBounds paper = HdpVflSensitivity.Paper(p), tight = HdpVflSensitivity.Tight(p);
            Assert.True(tight.Passive.Sensitivity <= paper.Passive.Sensitivity * (1 + 1e-13));
            Assert.True(tight.Active.Sensitivity <= paper.Active.Sensitivity * (1 + 1e-13));
        }
    }

    [Fact]
    public void Tight_FreeIntercept_DoesNotContract()
    {
        HdpVflParameters p = Binomial(2000, 50, 20, 2, 0.05, 5);
        double penalised = HdpVflSensitivity.Tight(p).Passive.Sensitivity, free = HdpVflSensitivity.Tight(p with { FreeIntercept = true }).Passive.Sensitivity;
        Assert.Equal(45.2, penalised, 0.05);
        Assert.True(free > 119.6, "a realised transcript of an unpenalised intercept moved by 119.6");
        Assert.Equal(ReferenceBounds.Sensitivity(p with { FreeIntercept = true }, PartySide.Passive), free, 1e-10);
    }

    [Fact]
    public void Tight_Binomial_IgnoresTheTargetBound()
    {
        HdpVflParameters p = Binomial(100, 3, 4, 1);
        Assert.Equal(HdpVflSensitivity.Tight(p), HdpVflSensitivity.Tight(p with { TargetBound = null }));
        Assert.Equal(HdpVflSensitivity.Paper(p), HdpVflSensitivity.Paper(p with { TargetBound = null }));
        Assert.NotEqual(HdpVflSensitivity.Paper(p), HdpVflSensitivity.Paper(p with { TargetBound = 2 }));
    }

    [Fact]
    public void Paper_GaussianAndPoisson_FollowThePublishedFormula()
    {
        HdpVflParameters p = Binomial(659, 4, 3, 0.1, 0.01, 0.5) with { Family = GlmFamilyKind.Gaussian, ResidualClip = 3.1, TargetBound = 2.1 };
        double d = 2 * 0.1 * 3.1 * 3 / 164;
        Assert.Equal(Formula(1, 0.5 + 2.1, d), HdpVflSensitivity.Paper(p).Active.Sensitivity, 1e-12);
        Assert.Equal(Formula(1, 0.5, d), HdpVflSensitivity.Paper(p).Passive.Sensitivity, 1e-12);
        p = p with { Family = GlmFamilyKind.Poisson };
        Assert.Equal(Formula(Math.E, Math.E * 0.5 + 2.1, d), HdpVflSensitivity.Paper(p).Active.Sensitivity, 1e-11);
        Assert.Equal(Formula(1, 0.5, d), HdpVflSensitivity.Paper(p).Passive.Sensitivity, 1e-12);

        static double Formula(double beta, double q, double d) => Math.Sqrt(12 * 164 * beta * d * beta * d + 3 * (4 * q * q + 4 * q * beta * d));
    }

    public static TheoryData<string, HdpVflParameters> Illegal => new()
    {
        { PrivacyErrors.InvalidLayout, Binomial(0, 1, 1, 1) },
        { PrivacyErrors.InvalidLayout, Binomial(5, 6, 1, 1) },
        { PrivacyErrors.InvalidLayout, Binomial(5, 0, 1, 1) },
        { PrivacyErrors.InvalidLayout, Binomial(5, 1, 0, 1) },
        { PrivacyErrors.InvalidLayout, Binomial(1_000_000, 1_000_000, 1_000_000, 1) },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, double.NaN) },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 0) },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, double.PositiveInfinity) },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1, -0.1) },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1, 0, -1) },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { ResidualClip = 0 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { RowNorm = double.NaN } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { TargetBound = -1 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { MaxColumns = 0 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { Family = (GlmFamilyKind)9 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { OffsetBound = -1 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { OffsetBound = double.NaN } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { WeightBound = 0 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { WeightBound = double.PositiveInfinity } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { Unit = (PrivacyUnit)5 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { Outputs = 2 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { Outputs = 0 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { Family = GlmFamilyKind.Multinomial } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { Family = GlmFamilyKind.Multinomial, Outputs = 3, OffsetBound = 1 } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { Family = GlmFamilyKind.Convex } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { Family = GlmFamilyKind.Convex, Lipschitz = double.PositiveInfinity } },
        { PrivacyErrors.StepTooLarge, Binomial(5, 1, 1, 4, 0.001) with { Family = GlmFamilyKind.Multinomial, Outputs = 3 } },
        { PrivacyErrors.StepTooLarge, Binomial(5, 1, 1, 1, 0.001) with { Family = GlmFamilyKind.Gamma } },
        { PrivacyErrors.StepTooLarge, Binomial(5, 1, 1, 1, 0.001) with { Family = GlmFamilyKind.Tweedie, TargetBound = 0.5 } },
        { PrivacyErrors.StepTooLarge, Binomial(5, 1, 1, 1, 0.001) with { Family = GlmFamilyKind.Convex, Lipschitz = 2 } },
        { PrivacyErrors.MissingTargetBound, Binomial(5, 1, 1, 1) with { Family = GlmFamilyKind.Tweedie, TargetBound = null } },
        { PrivacyErrors.InvalidNumber, Binomial(5, 1, 1, 1) with { Schedule = (BatchSchedule)5 } },
        { PrivacyErrors.NoNullLabel, Binomial(5, 1, 1, 1) with { Unit = PrivacyUnit.Label, Adjacency = Adjacency.ZeroOut } },
        { PrivacyErrors.StepTooLarge, Binomial(5, 1, 1, 4.1, 0.001) with { WeightBound = 2 } },
        { PrivacyErrors.BoundOverflow, Binomial(5, 1, 1, 1) with { WeightNorm = 1e300 } },
        { PrivacyErrors.BoundOverflow, Binomial(5, 1, 1, 1) with { WeightNorm = 1e-136 } },
        { PrivacyErrors.BoundOverflow, Binomial(5, 1, 1, 1) with { ResidualClip = 1e-136 } },
        { PrivacyErrors.PenaltyTooLarge, Binomial(5, 1, 1, 3, 0.7) },
        { PrivacyErrors.StepTooLarge, Binomial(5, 1, 1, 7.97, 0.001) },
        { PrivacyErrors.StepTooLarge, Binomial(5, 1, 1, 2, 0.001) with { RowNorm = 2 } },
        { PrivacyErrors.StepTooLarge, Binomial(5, 1, 1, 2, 0.001) with { Family = GlmFamilyKind.Gaussian } },
        { PrivacyErrors.StepTooLarge, Binomial(5, 1, 1, 0.5, 0.001) with { Family = GlmFamilyKind.Poisson, TargetBound = 4 } },
        { PrivacyErrors.MissingTargetBound, Binomial(5, 1, 1, 1) with { Family = GlmFamilyKind.Gaussian, TargetBound = null } },
        { PrivacyErrors.MissingTargetBound, Binomial(5, 1, 1, 1) with { Family = GlmFamilyKind.Poisson, TargetBound = null } },
    };

    [Theory]
    [MemberData(nameof(Illegal))]
    public void Tight_IllegalParameters_AreRefused(string id, HdpVflParameters parameters)
    {
        FedLearnException error = Assert.ThrowsAny<FedLearnException>(() => HdpVflSensitivity.Tight(parameters));
        Assert.Equal(id, error.Id);
        Assert.IsType(id.StartsWith("FL5", StringComparison.Ordinal) ? typeof(PrivacyRefusedException) : typeof(ConfigurationException), error);
    }

    /// <summary>The step may be fine, and the limit low because of another setting.</summary>
    [Fact]
    public void Tight_StepTooLarge_NamesWhatTheLimitIsMadeOf()
    {
        HdpVflParameters binomial = Binomial(5, 1, 1, 7.97, 0.001);
        foreach ((HdpVflParameters parameters, string source, string remedy) in ((HdpVflParameters, string, string)[])
        [
            (binomial, "0.25 is that of the Binomial family.", "or below, or use"),
            (binomial with { Family = GlmFamilyKind.Poisson, TargetBound = 4 }, "residualClip plus the label's bound.", ", or residualClip, or the end of labelRange,"),
            (binomial with { Family = GlmFamilyKind.Gamma }, "1 + residualClip.", ", or residualClip, or use"),
            (binomial with { WeightBound = 2, RowNorm = 3 }, "times sampleWeightBound.", ", or sampleWeightBound, or rowNorm,"),
        ])
        {
            var error = Assert.Throws<PrivacyRefusedException>(() => HdpVflSensitivity.Tight(parameters));
            Assert.Equal(PrivacyErrors.StepTooLarge, error.Id);
            Assert.Contains("it is 7.97, and above 2 / (l2 + ", error.Cause, StringComparison.Ordinal);
            Assert.EndsWith(source, error.Cause, StringComparison.Ordinal);
            Assert.Contains(remedy, error.Remedy, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Tight_StepTooLarge_NamesAStepThatIsAccepted()
    {
        foreach (HdpVflParameters parameters in (HdpVflParameters[])[Binomial(5, 1, 1, 7.97, 0.001), Binomial(5, 1, 1, 2000, 0.001) with { RowNorm = 3e-4 }, Binomial(5, 1, 1, 1, 0.001) with { RowNorm = 7e3 }])
        {
            var error = Assert.Throws<PrivacyRefusedException>(() => HdpVflSensitivity.Tight(parameters));
            double named = double.Parse(error.Remedy.Split(' ')[3], CultureInfo.InvariantCulture);
            HdpVflSensitivity.Tight(parameters with { StepSize = named });
            Assert.Equal(PrivacyErrors.StepTooLarge, Assert.Throws<PrivacyRefusedException>(() => HdpVflSensitivity.Tight(parameters with { StepSize = named * 1.00002 })).Id);
        }
    }

    [Fact]
    public void Tight_LargestStep_IsAccepted() =>
        Assert.True(HdpVflSensitivity.Tight(Binomial(5, 1, 1, 2 / 0.251)).Active.Sensitivity > 0);

    [Fact]
    public void Paper_OtherRowNorm_IsRefused() => Assert.Equal(PrivacyErrors.PaperRowNorm,
        Assert.Throws<PrivacyRefusedException>(() => HdpVflSensitivity.Paper(Binomial(5, 1, 1, 1) with { RowNorm = 0.5 })).Id);

    public static TheoryData<HdpVflParameters> OutsideThePaper =>
    [
        Binomial(5, 1, 1, 1) with { Adjacency = Adjacency.ZeroOut },
        Binomial(5, 1, 1, 1) with { Unit = PrivacyUnit.Label },
        Binomial(5, 1, 1, 1) with { Schedule = BatchSchedule.Reshuffled },
        Binomial(5, 1, 1, 1) with { WeightBound = 1 },
        Binomial(5, 1, 1, 1) with { Family = GlmFamilyKind.Multinomial, Outputs = 3 },
        Binomial(5, 1, 1, 0.5) with { Family = GlmFamilyKind.Gamma },
        Binomial(5, 1, 1, 1) with { Family = GlmFamilyKind.Convex, Lipschitz = 1 },
        Binomial(5, 1, 1, 1) with { OffsetBound = 0.1 },
    ];

    [Theory]
    [MemberData(nameof(OutsideThePaper))]
    public void Paper_OtherSetting_IsRefused(HdpVflParameters parameters) => Assert.Equal(PrivacyErrors.PaperSetting,
        Assert.Throws<PrivacyRefusedException>(() => HdpVflSensitivity.Paper(parameters)).Id);
}
