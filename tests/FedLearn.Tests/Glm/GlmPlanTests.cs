using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm;

/// <summary>What a job may ask for; every refusal comes before any row is looked at.</summary>
public class GlmPlanTests
{
    private static readonly GlmJob Private = new()
    {
        Name = "test",
        Model = new() { Family = GlmFamilies.Binomial },
        Training = new() { Epochs = 2, WeightNorm = 1, ResidualClip = 1 },
        Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-3) },
        Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
        Parties = [new() { Party = new("active", PartyRole.Active) }, new() { Party = new("p1", PartyRole.Passive) }],
    };

    private static readonly GlmJob Plain = Private with { Privacy = new(), Training = new(), Preprocessing = null };

    private static readonly VerticalData Data = VerticalData.Random(1, "binomial", 8, 2, 2);

    [Theory]
    [InlineData(1, 0.0, 400.0, true)]
    [InlineData(1, -400.0, 1.0, true)]
    [InlineData(200, 0.0, 400.0, false)]
    [InlineData(1, -2.0, 2.0, false)]
    public void NarrowBounds_PredictionsThatCannotReachTheLabels_AreTold(double weightNorm, double low, double high, bool told)
    {
        GlmJob job = Private with { Model = new() { Family = GlmFamilies.Gaussian }, Training = Private.Training with { WeightNorm = weightNorm } };
        GlmPartyOptions active = job.Parties[0] with { LabelRange = (low, high) };
        Assert.Equal(told, GlmPlan.Create(job).NarrowBounds(active).Any());
        Assert.Empty(GlmPlan.Create(job).NarrowBounds(job.Parties[0]));
        Assert.Empty(GlmPlan.Create(job with { Privacy = new() }).NarrowBounds(active));
    }

    /// <summary>The bounds keep the logarithm of predictions within 2 x weightNorm of 0. Labels without a declared range are told of by their mean, as private rows are.</summary>
    [Theory]
    [InlineData(3, 0.0, 100_000.0, null, true)]
    [InlineData(6, 0.0, 100_000.0, null, false)]
    [InlineData(3, null, null, 100_000.0, true)]
    [InlineData(3, null, null, 1e-4, true)]
    [InlineData(6, null, null, 100_000.0, false)]
    [InlineData(3, null, null, 0.0, false)]
    [InlineData(3, null, null, null, false)]
    public void NarrowBounds_LogLink_AreToldOfTheLogarithm(double weightNorm, double? low, double? high, double? mean, bool told)
    {
        foreach (IGlmFamily family in (IGlmFamily[])[GlmFamilies.Gamma, GlmFamilies.Poisson, GlmFamilies.Tweedie(1.5)])
        {
            GlmJob job = Private with { Model = new() { Family = family }, Training = Private.Training with { WeightNorm = weightNorm } };
            string[] warnings = [.. GlmPlan.Create(job).NarrowBounds(job.Parties[0] with { LabelRange = low is { } from ? (from, high!.Value) : null }, mean)];
            Assert.Equal(told, warnings.Length > 0);
            Assert.All(warnings, warning => Assert.Contains("the log of predictions", warning, StringComparison.Ordinal));
            Assert.All(warnings, warning => Assert.Equal(mean is not null, warning.EndsWith(CellsOutside.OutsideClaims, StringComparison.Ordinal)));
            Assert.All(warnings, warning => Assert.Equal(high is not null, warning.Contains("goes to 11.51 by that measure", StringComparison.Ordinal)));
            Assert.All(warnings, warning => Assert.Contains("Divide the labels by their usual value", warning, StringComparison.Ordinal));
        }

        // Probabilities of classes need no bound of labels.
        Assert.Empty(GlmPlan.Create(Private).NarrowBounds(Private.Parties[0], .9999));
    }

    /// <summary>weightNorm times the row of every party, a free intercept beside that of the active one, and what an offset may add.</summary>
    [Theory]
    [InlineData(PrivacyMode.HdpVfl, false, null, "within 3 of 0")]
    [InlineData(PrivacyMode.HdpVfl, true, null, "within 4.236 of 0")]
    [InlineData(PrivacyMode.HdpVfl, false, 0.25, "within 3.25 of 0")]
    [InlineData(PrivacyMode.HeDp, false, null, "within 3 of 0")]
    public void NarrowBounds_Reach_IsThatOfAllBoundsTogether(PrivacyMode mode, bool freeIntercept, double? offsetBound, string said)
    {
        GlmJob job = Private with
        {
            Model = new() { Family = GlmFamilies.Gaussian, Intercept = freeIntercept ? GlmIntercept.Free : GlmIntercept.None },
            Training = Private.Training with { WeightNorm = 2, OffsetBound = offsetBound, Optimizer = GlmOptimizer.Sgd },
            Privacy = Private.Privacy with { Mode = mode },
            Preprocessing = Private.Preprocessing! with { RowNorm = .5, Constant = false },
            Parties = [Private.Parties[0] with { LabelRange = (0, 400) }, .. Private.Parties.Skip(1), new() { Party = new("p2", PartyRole.Passive) }],
        };
        string warning = Assert.Single(GlmPlan.Create(job).NarrowBounds(job.Parties[0]));
        Assert.StartsWith($"training.weightNorm 2 keeps predictions {said} (parties x weightNorm x row bound), and data.labelRange goes to 400: without any noise", warning, StringComparison.Ordinal);
        Assert.Contains("Subtract the label's usual value", warning, StringComparison.Ordinal);
    }

    /// <summary>After t steps of length s at least (1 - s L)^t of the way is left, L = parties x steepness of the residual (1, 1/4, 1/2) + l2: .95^10 = .60 of two classes by the defaults.</summary>
    [Theory]
    [InlineData("binomial", 0.1, 10, 1, true)]
    [InlineData("binomial", 2, 1, 50, false)]
    [InlineData("binomial", 0.1, 10, 20, false)]
    [InlineData("multinomial", 0.1, 10, 1, true)]
    [InlineData("gaussian", 0.05, 10, 1, true)]
    [InlineData("gaussian", 0.15, 10, 1, false)]
    [InlineData("poisson", 0.1, 1, 1, false)]
    public void ShortSteps_FarFromTheBestWeightsWithoutNoise_AreTold(string family, double stepSize, int epochs, int batches, bool told)
    {
        GlmJob job = Private with
        {
            Model = new() { Family = family switch { "gaussian" => GlmFamilies.Gaussian, "poisson" => GlmFamilies.Poisson, "multinomial" => GlmFamilies.Multinomial(3), _ => GlmFamilies.Binomial } },
            Training = Private.Training with { StepSize = stepSize, Epochs = epochs, BatchesPerEpoch = batches },
        };
        var layout = new BatchLayout(1000, batches);
        Assert.Equal(told, GlmPlan.Create(job).ShortSteps(layout).Any());
        // Declared weights above 1 may make steps longer; without bounded rows nothing is known of them; a threshold may end at once.
        Assert.Empty(GlmPlan.Create(job with { Training = job.Training with { SampleWeightBound = 100 } }).ShortSteps(layout));
        Assert.Empty(GlmPlan.Create(job with { Model = job.Model with { L1 = 0.1 } }).ShortSteps(layout));
        GlmJob plain = job with { Privacy = new(), Training = job.Training with { WeightNorm = null, ResidualClip = null, Optimizer = GlmOptimizer.Sgd } };
        Assert.Equal(told, GlmPlan.Create(plain).ShortSteps(layout).Any());
        Assert.Empty(GlmPlan.Create(plain with { Preprocessing = null }).ShortSteps(layout));
    }

    /// <summary>Standardised columns have eigenvalues of mean 1, so that some direction has (1 - s L)^t of the way left, L = steepness of the residual (1, 1/4): .975^10 = .78 by the defaults of mode he.</summary>
    [Theory]
    [InlineData("binomial", 0.1, null, 1, "78 %")]
    [InlineData("binomial", 0.1, 91, 1, null)]
    [InlineData("binomial", 0.1, 90, 1, "10 %")]
    [InlineData("gaussian", 0.1, 10, 1, "35 %")]
    [InlineData("gaussian", 0.3, 10, 1, null)]
    [InlineData("binomial", 0.1, 10, 2, null)]
    public void ShortSteps_EncryptedStandardisedColumns_AreTold(string family, double stepSize, int? epochs, int batches, string? told)
    {
        GlmJob job = Private with
        {
            Model = new() { Family = family == "gaussian" ? GlmFamilies.Gaussian : GlmFamilies.Binomial },
            Training = new() { StepSize = stepSize, Epochs = epochs, BatchesPerEpoch = batches },
            Preprocessing = null,
            Privacy = new() { Mode = PrivacyMode.He },
        };
        string? warning = GlmPlan.Create(job).ShortSteps(new BatchLayout(1000, batches)).SingleOrDefault();
        Assert.Equal(told, warning is null ? null : told is not null && warning.Contains($"in some directions {told} of the way", StringComparison.Ordinal) ? told : warning);
        if (warning is not null)
            Assert.EndsWith($"training.epochs, which privacy.he.mostRounds limits to 1,000, or training.stepSize: {(family == "gaussian" ? 1 : 4)} over the number of columns of all parties is never too long", warning, StringComparison.Ordinal);
        // Of columns as they are, and of projected weights, nothing is known.
        Assert.Empty(GlmPlan.Create(job with { Preprocessing = new() { Scaling = Scaling.None } }).ShortSteps(new BatchLayout(1000, batches)));
        Assert.Empty(GlmPlan.Create(job with { Training = job.Training with { WeightNorm = 1 } }).ShortSteps(new BatchLayout(1000, batches)));
        // Bounded rows tell of every direction.
        if (batches == 1 && stepSize == 0.1 && epochs is null)
            Assert.Contains("apart, 60 % of the way", Assert.Single(GlmPlan.Create(job with { Preprocessing = new() { Scaling = Scaling.Declared, Rows = RowBound.Clip }, Model = job.Model with { Intercept = GlmIntercept.None } }).ShortSteps(new BatchLayout(1000, 1))), StringComparison.Ordinal);
    }

    /// <summary>1 / L by hand: L = s U (P R^2 + c) + l2. Rows that are not bounded, and log links, have no L.</summary>
    [Theory]
    [InlineData("binomial", PrivacyMode.HdpVfl, GlmIntercept.Default, 0, null, 1, 2)]
    [InlineData("binomial", PrivacyMode.HdpVfl, GlmIntercept.Free, 0, null, 1, 4 / 3.0)]
    [InlineData("binomial", PrivacyMode.None, GlmIntercept.Default, 0, null, 1, 4 / 3.0)]
    [InlineData("binomial", PrivacyMode.HdpVfl, GlmIntercept.Default, 0.5, 4.0, 1, 1 / 2.5)]
    [InlineData("binomial", PrivacyMode.None, GlmIntercept.Default, 0.5, 4.0, 1, 1 / 3.5)]
    [InlineData("binomial", PrivacyMode.HdpVfl, GlmIntercept.Default, 0, null, 0.5, 8)]
    [InlineData("gaussian", PrivacyMode.HdpVfl, GlmIntercept.Default, 0, null, 1, 0.5)]
    [InlineData("multinomial", PrivacyMode.HdpVfl, GlmIntercept.Default, 0, null, 1, 1)]
    [InlineData("poisson", PrivacyMode.HdpVfl, GlmIntercept.Default, 0, null, 1, 0.1)]
    [InlineData("binomial", PrivacyMode.HdpVfl, GlmIntercept.Default, 0, null, 1e-200, 0.1)]
    public void StepSize_LeftOut_IsOneOverTheCurvature(string family, PrivacyMode mode, GlmIntercept intercept, double l2, double? weightBound, double rowNorm, double expected)
    {
        GlmJob job = Private with
        {
            Model = new() { Family = family switch { "gaussian" => GlmFamilies.Gaussian, "poisson" => GlmFamilies.Poisson, "multinomial" => GlmFamilies.Multinomial(3), _ => GlmFamilies.Binomial }, Intercept = intercept, L2 = l2 },
            Training = Private.Training with { StepSize = null, SampleWeightBound = weightBound, WeightNorm = mode == PrivacyMode.None ? null : 1, ResidualClip = mode == PrivacyMode.None ? null : 1, Optimizer = GlmOptimizer.Sgd },
            Preprocessing = Private.Preprocessing! with { RowNorm = rowNorm },
            Privacy = mode == PrivacyMode.None ? new() : Private.Privacy,
        };
        Assert.Equal(expected, GlmPlan.Create(job).StepSize, 1e-15 * expected);
        Assert.Equal(0.1, GlmPlan.Create((job with { Privacy = new(), Preprocessing = null })).StepSize);
        Assert.Equal(0.25, GlmPlan.Create(job with { Training = job.Training with { StepSize = 0.25 } }).StepSize);
    }

    /// <summary>No step of 1 / L overshoots: on bounded rows the loss of every party's step falls, epoch by epoch, for every family that has an L.</summary>
    [Theory]
    [InlineData("gaussian")]
    [InlineData("binomial")]
    [InlineData("multinomial")]
    public async Task StepSize_LeftOut_TheLossFallsInEveryEpoch(string family)
    {
        for (int seed = 0; seed < 20; seed++)
        {
            VerticalData data = VerticalData.Random(seed, family, 40, [2, 3]);
            GlmJob job = data.Job(family, new() { Optimizer = GlmOptimizer.Sgd, Epochs = 12, Seed = seed }) with { Preprocessing = new() { Scaling = Scaling.Standardize, Rows = RowBound.Normalize } };
            IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs());
            double[] losses = [.. results[0].History.Select(h => h.Loss!.Value)];
            Assert.Equal(12, losses.Length);
            for (int t = 1; t < losses.Length; t++)
                Assert.True(losses[t] < losses[t - 1], $"seed {seed}, epoch {t}: {losses[t]} after {losses[t - 1]}");
        }
    }

    /// <summary>A job of short steps is told so, in place of the advice to shorten its steps.</summary>
    [Fact]
    public async Task TrainAsync_ShortSteps_IsToldToLengthenThem()
    {
        // With some of these seeds the noise makes the measured loss grow.
        for (long seed = 1; seed <= 8; seed++)
        {
            GlmJob job = Private with { Training = Private.Training with { Epochs = 10, StepSize = 0.1 }, Privacy = Private.Privacy with { TestNoiseSeed = seed } };
            IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, Data.Inputs());
            Assert.Contains(results[0].Warnings, warning => warning.Contains("Raise training.stepSize", StringComparison.Ordinal));
            Assert.DoesNotContain(results[0].Warnings, warning => warning.Contains("smaller training.stepSize", StringComparison.Ordinal));
        }
    }

    /// <summary>Error id of a job at its two parties, "" where it is accepted.</summary>
    private static (string Active, string Passive) Refusals(GlmJob job) => (Refusal(job, Data.Inputs()[0]), Refusal(job, Data.Inputs()[1]));

    private static string Refusal(GlmJob job, GlmPartyInput input)
    {
        try
        {
            _ = new GlmTrainer(job, input);
            return "";
        }
        catch (FedLearnException e)
        {
            Assert.EndsWith(".", e.Cause, StringComparison.Ordinal);
            Assert.EndsWith(".", e.Remedy, StringComparison.Ordinal);
            return e.Id;
        }
    }

    private static void AssertRefused(string id, GlmJob job) => Assert.Equal((id, id), Refusals(job));

    private static GlmJob Training(GlmJob job, Func<GlmTrainingOptions, GlmTrainingOptions> change) => job with { Training = change(job.Training) };

    private static GlmJob Budget(double epsilon, double delta) => Private with { Privacy = Private.Privacy with { Budget = new(epsilon, delta) } };

    [Fact]
    public void Private_CompleteJob_IsAccepted()
    {
        Assert.Equal(("", ""), Refusals(Private));
        Assert.Equal(("", ""), Refusals(Plain));
    }

    [Fact]
    public void Private_WithoutWhatTheProofNeeds_IsRefusedByName()
    {
        AssertRefused(GlmErrors.RowsNotBounded, Private with { Preprocessing = new() { Scaling = Scaling.None } });
        AssertRefused(GlmErrors.RangesNotDeclared, Private with { Preprocessing = null });
        AssertRefused(GlmErrors.RangesNotDeclared, Private with { Preprocessing = new() { Scaling = Scaling.Declared, Rows = RowBound.Normalize } });
        AssertRefused(GlmErrors.OptimizerNotPrivate, Training(Private, t => t with { Optimizer = GlmOptimizer.Lbfgs }));
        foreach (PrivacyMode mode in (PrivacyMode[])[PrivacyMode.HdpVfl, PrivacyMode.OneRound, PrivacyMode.LabelDp])
            AssertRefused(GlmErrors.FamilyNotPrivate, Private with { Model = Private.Model with { Family = new UserFamily() }, Privacy = Private.Privacy with { Mode = mode } });
        AssertRefused(GlmErrors.InferenceNotPrivate, Private with { Inference = true });
        AssertRefused(GlmErrors.BoundsMissing, Training(Private, t => t with { WeightNorm = null }));
        AssertRefused(GlmErrors.BoundsMissing, Training(Private, t => t with { ResidualClip = null }));
        AssertRefused(GlmErrors.BudgetMissing, Private with { Privacy = Private.Privacy with { Budget = null } });
        AssertRefused(GlmErrors.BudgetMissing, Private with { Privacy = Private.Privacy with { Budget = null }, Parties = [Private.Parties[0] with { Budget = new(1, 1e-3) }, Private.Parties[1]] });
    }

    [Fact]
    public void Private_FieldWithoutRange_IsNamed() =>
        Assert.Contains("'c0', 'c1'", Assert.Throws<PrivacyRefusedException>(() => new GlmTrainer(Private with { Preprocessing = null }, Data.Inputs()[0])).Cause, StringComparison.Ordinal);

    [Fact]
    public void Private_BudgetOfEachParty_Suffices() => Assert.Equal(("", ""), Refusals(Private with
    {
        Privacy = Private.Privacy with { Budget = null },
        Parties = [.. Private.Parties.Select(p => p with { Budget = new(1, 1e-3) })],
    }));

    [Theory]
    [InlineData(1, 0.1, PrivacyErrors.DeltaTooLarge)]
    [InlineData(1, 0.5, PrivacyErrors.DeltaTooLarge)]
    [InlineData(1, 0, PrivacyErrors.InvalidBudget)]
    [InlineData(1, -1e-5, PrivacyErrors.InvalidBudget)]
    [InlineData(1, double.NaN, PrivacyErrors.InvalidBudget)]
    [InlineData(0, 1e-5, PrivacyErrors.InvalidBudget)]
    [InlineData(-1, 1e-5, PrivacyErrors.InvalidBudget)]
    [InlineData(double.NaN, 1e-5, PrivacyErrors.InvalidBudget)]
    [InlineData(double.PositiveInfinity, 1e-5, PrivacyErrors.InvalidBudget)]
    public void Private_IllegalBudget_IsRefusedBeforeAnythingIsSent(double epsilon, double delta, string id)
    {
        AssertRefused(id, Budget(epsilon, delta));
        // One party's own budget concerns all of them: none starts.
        AssertRefused(id, Private with { Parties = [Private.Parties[0], Private.Parties[1] with { Budget = new(epsilon, delta) }] });
    }

    [Theory]
    [InlineData("gaussian")]
    [InlineData("poisson")]
    public void Private_LabelRangeMissing_IsRefusedAtTheActiveParty(string family)
    {
        GlmJob job = Private with { Model = Private.Model with { Family = VerticalData.Family(family) } };
        Assert.Equal((GlmErrors.LabelRangeMissing, ""), Refusals(job));
        GlmJob With((double, double) range) => job with { Parties = [job.Parties[0] with { LabelRange = range }, job.Parties[1]] };
        Assert.Equal(("", ""), Refusals(With((0, 4))));
    }

    [Theory]
    [InlineData("binomial", 0.001, 1, 1, 0)]
    [InlineData("binomial", 0.5, 2, 1, 0)]          // beta R^2 = 1
    [InlineData("gaussian", 0.001, 1, 1, 4)]
    [InlineData("gaussian", 0.001, 0.5, 1, 4)]
    [InlineData("poisson", 0.001, 1, 1.5, 4)]       // beta = C + k_y = 5.5
    public void Private_StepAboveTwoOverSmoothness_IsRefused(string family, double l2, double rowNorm, double clip, double labelBound)
    {
        double beta = family switch { "binomial" => 0.25, "gaussian" => 1, _ => clip + labelBound };
        double largest = 2 / (l2 + (beta * rowNorm * rowNorm));
        GlmJob Step(double step) => Private with
        {
            Model = new() { Family = VerticalData.Family(family), L2 = l2 },
            Training = Private.Training with { StepSize = step, ResidualClip = clip },
            Preprocessing = Private.Preprocessing! with { RowNorm = rowNorm },
            Parties = [Private.Parties[0] with { LabelRange = (0, Math.Max(1, labelBound)) }, Private.Parties[1]],
        };
        Assert.Equal("", Refusals(Step(largest * (1 - 1e-12))).Active);
        Assert.Equal(PrivacyErrors.StepTooLarge, Refusals(Step(largest * (1 + 1e-12))).Active);
    }

    [Fact]
    public void Private_StepWithAFreeIntercept_CountsItAsAColumn()
    {
        // R^2 becomes 2 at the active party, so half the step is the largest.
        GlmJob Step(double step) => Training(Private with { Model = Private.Model with { L2 = 0, Intercept = GlmIntercept.Free } }, t => t with { StepSize = step });
        Assert.Equal("", Refusals(Step(3.999)).Active);
        Assert.Equal(PrivacyErrors.StepTooLarge, Refusals(Step(4.001)).Active);
        Assert.Equal("", Refusals(Step(4.001)).Passive);
    }

    [Fact]
    public void Private_ExpansivePenalty_IsRefusedEverywhere()
    {
        // |1 - eta lambda| > 1.
        AssertRefused(PrivacyErrors.PenaltyTooLarge, Training(Private with { Model = Private.Model with { L2 = 3 } }, t => t with { StepSize = 0.7 }));
        Assert.Equal("", Refusals(Training(Private with { Model = Private.Model with { L2 = 3 } }, t => t with { StepSize = 0.6 })).Active);
    }

    [Fact]
    public void Private_PaperCalibrationWithOtherRowNorm_IsRefused() => AssertRefused(PrivacyErrors.PaperRowNorm, Private with
    {
        Privacy = Private.Privacy with { Calibration = Calibration.Paper },
        Preprocessing = Private.Preprocessing! with { RowNorm = 0.5 },
    });

    [Fact]
    public void Plain_UserFamilyOrNoBounds_IsAccepted()
    {
        Assert.Equal(("", ""), Refusals(Plain with { Model = Plain.Model with { Family = new UserFamily() } }));
        Assert.Equal(("", ""), Refusals(Plain with { Preprocessing = new() { Scaling = Scaling.None } }));
    }

    public static TheoryData<string, GlmJob> InconsistentJobs => new()
    {
        { "empty name", Plain with { Name = " " } },
        { "backslash in a party's name", Plain with { Parties = [Plain.Parties[0] with { Party = new("a\\b", PartyRole.Active) }, .. Plain.Parties.Skip(1)] } },
        { "control character in a party's name", Plain with { Parties = [Plain.Parties[0] with { Party = new("a\nb", PartyRole.Active) }, .. Plain.Parties.Skip(1)] } },
        { "long name of a party", Plain with { Parties = [Plain.Parties[0] with { Party = new(new string('a', 201), PartyRole.Active) }, .. Plain.Parties.Skip(1)] } },
        { "slash in a party's name", Plain with { Parties = [Plain.Parties[0] with { Party = new("../bank", PartyRole.Active) }, .. Plain.Parties.Skip(1)] } },
        { "l2 below 0", Plain with { Model = Plain.Model with { L2 = -1e-9 } } },
        { "l2 NaN", Plain with { Model = Plain.Model with { L2 = double.NaN } } },
        { "l2 infinite", Plain with { Model = Plain.Model with { L2 = double.PositiveInfinity } } },
        { "mode", Plain with { Privacy = new() { Mode = (PrivacyMode)77 } } },
        { "calibration", Private with { Privacy = Private.Privacy with { Calibration = (Calibration)77 } } },
        { "adjacency", Private with { Privacy = Private.Privacy with { Adjacency = (Adjacency)77 } } },
        { "unit", Private with { Privacy = Private.Privacy with { Unit = (PrivacyUnit)77 } } },
        { "evaluation", Private with { Privacy = Private.Privacy with { Evaluation = (EvaluationDisclosure)77 } } },
        { "scheme", Plain with { Privacy = new() { Mode = PrivacyMode.He, He = new() { Scheme = (HeScheme)77 } } } },
        { "optimizer", Training(Plain, t => t with { Optimizer = (GlmOptimizer)77 }) },
        { "message precision", Training(Plain, t => t with { MessagePrecision = (ElementType)77 }) },
        { "stopping metric", Training(Plain, t => t with { EarlyStopping = new() { Metric = (EarlyStoppingMetric)77 } }) },
        { "intercept", Plain with { Model = Plain.Model with { Intercept = (GlmIntercept)77 } } },
        { "scaling", Plain with { Preprocessing = new() { Scaling = (Scaling)77 } } },
        { "rows", Private with { Preprocessing = Private.Preprocessing! with { Rows = (RowBound)77 } } },
        { "alignment", Plain with { Alignment = (AlignmentMethod)77 } },
        { "a role", Plain with { Parties = [Plain.Parties[0], new() { Party = new("p1", (PartyRole)77) }] } },
        { "budget without a mode", Plain with { Privacy = new() { Budget = new(1, 1e-5) } } },
        { "a party's budget without a mode", Plain with { Parties = [Plain.Parties[0], Plain.Parties[1] with { Budget = new(1, 1e-5) }] } },
        { "no epochs", Training(Plain, t => t with { Epochs = 0 }) },
        { "too many epochs", Training(Plain, t => t with { Epochs = 1_000_001 }) },
        { "no batches", Training(Plain, t => t with { BatchesPerEpoch = 0 }) },
        { "batches of nothing", Training(Plain, t => t with { BatchSize = 0 }) },
        { "batches twice", Training(Plain, t => t with { BatchSize = 4, BatchesPerEpoch = 2 }) },
        { "no step", Training(Plain, t => t with { StepSize = 0 }) },
        { "negative step", Training(Plain, t => t with { StepSize = -1 }) },
        { "step NaN", Training(Plain, t => t with { StepSize = double.NaN }) },
        { "weight norm 0", Training(Plain, t => t with { WeightNorm = 0 }) },
        { "weight norm infinite", Training(Plain, t => t with { WeightNorm = double.PositiveInfinity }) },
        { "clip NaN", Training(Plain, t => t with { ResidualClip = double.NaN }) },
        { "clip negative", Training(Plain, t => t with { ResidualClip = -1 }) },
        { "rounds beyond count", Training(Plain, t => t with { Optimizer = GlmOptimizer.Sgd, Epochs = 1_000_000, BatchesPerEpoch = 5000 }) },
        { "row norm 0", Plain with { Preprocessing = new() { Scaling = Scaling.None, RowNorm = 0 } } },
        { "split by 1", Plain with { Split = new SplitRule.ByHash(1, [0]) } },
        { "split residue", Plain with { Split = new SplitRule.ByHash(5, [5]) } },
        { "split residue below 0", Plain with { Split = new SplitRule.ByHash(5, [-1]) } },
        { "two active parties", Plain with { Parties = [Plain.Parties[0], new() { Party = new("p1", PartyRole.Active) }] } },
        { "no active party", Plain with { Parties = [new() { Party = new("active", PartyRole.Passive) }, Plain.Parties[1]] } },
        { "one name twice", Plain with { Parties = [.. Plain.Parties, Plain.Parties[1]] } },
        { "empty party name", Plain with { Parties = [.. Plain.Parties, new() { Party = new("", PartyRole.Passive) }] } },
        { "lbfgs in batches", Training(Plain, t => t with { Optimizer = GlmOptimizer.Lbfgs, BatchesPerEpoch = 2 }) },
        { "lbfgs with batch size", Training(Plain, t => t with { Optimizer = GlmOptimizer.Lbfgs, BatchSize = 1000 }) },
        { "l1 below 0", Plain with { Model = Plain.Model with { L1 = -1e-9 } } },
        { "l1 infinite", Plain with { Model = Plain.Model with { L1 = double.PositiveInfinity } } },
        { "weight bound 0", Training(Plain, t => t with { SampleWeightBound = 0 }) },
        { "weight bound NaN", Training(Plain, t => t with { SampleWeightBound = double.NaN }) },
        { "offset bound 0", Training(Plain, t => t with { OffsetBound = 0 }) },
        { "offset bound infinite", Training(Plain, t => t with { OffsetBound = double.PositiveInfinity }) },
        { "checkpoint rounds below 0", Training(Plain, t => t with { CheckpointRounds = -1 }) },
        { "checkpoint rounds beyond the most", Training(Plain, t => t with { CheckpointRounds = GlmTrainingOptions.MostCheckpointRounds + 1 }) },
        { "offset bound of classes", Training(Plain with { Model = new() { Family = GlmFamilies.Multinomial(2) } }, t => t with { OffsetBound = 1 }) },
        { "share 0", Private with { Privacy = Private.Privacy with { Share = 0 } } },
        { "share 1", Private with { Privacy = Private.Privacy with { Share = 1 } } },
        { "evaluation share 0", Private with { Privacy = Private.Privacy with { EvaluationShare = 0 } } },
        { "evaluation share 1", Private with { Privacy = Private.Privacy with { EvaluationShare = 1 } } },
        { "constant without intercept", Plain with { Model = Plain.Model with { Intercept = GlmIntercept.None }, Preprocessing = new() { Scaling = Scaling.None, Constant = true } } },
    };

    [Theory]
    [MemberData(nameof(InconsistentJobs), DisableDiscoveryEnumeration = true)]
    public void Job_Inconsistent_IsRefused(string what, GlmJob job)
    {
        Assert.NotEmpty(what);
        AssertRefused(GlmErrors.InvalidJob, job);
    }

    public static TheoryData<string, GlmJob> IncompleteJobs => new()
    {
        { "job", null! },
        { "job.Model", Plain with { Model = null! } },
        { "job.Model.Family", Plain with { Model = new() { Family = null! } } },
        { "job.Training", Plain with { Training = null! } },
        { "job.Privacy", Plain with { Privacy = null! } },
        { "job.Privacy.OneRound", Plain with { Privacy = new() { OneRound = null! } } },
        { "job.Privacy.He", Plain with { Privacy = new() { He = null! } } },
        { "job.Split", Plain with { Split = null! } },
        { "job.Parties", Plain with { Parties = null! } },
        { "job.Parties", Plain with { Parties = [Plain.Parties[0], null!] } },
        { "job.Parties", Plain with { Parties = [Plain.Parties[0], new() { Party = null! }] } },
    };

    [Theory]
    [MemberData(nameof(IncompleteJobs), DisableDiscoveryEnumeration = true)]
    public async Task Job_Incomplete_IsRefusedByTheNameOfThePart(string part, GlmJob job)
    {
        Assert.Equal(part, Assert.Throws<ArgumentNullException>(() => new GlmTrainer(job, Data.Inputs()[0])).ParamName);
        Assert.Equal(part, (await Assert.ThrowsAsync<ArgumentNullException>(() => LocalFederation.TrainAsync(job, Data.Inputs()))).ParamName);
        Assert.Equal(part, (await Assert.ThrowsAsync<ArgumentNullException>(() => LocalFederation.PredictAsync(job, Data.Inputs(), []))).ParamName);
        Assert.Equal(part, (await Assert.ThrowsAsync<ArgumentNullException>(() => LocalFederation.TuneAsync([job], Data.Inputs()))).ParamName);
    }

    [Fact]
    public async Task Inputs_Null_AreRefusedByName()
    {
        Assert.Equal("input", Assert.Throws<ArgumentNullException>(() => new GlmTrainer(Plain, null!)).ParamName);
        Assert.Equal("input.Table", Assert.Throws<ArgumentNullException>(() => new GlmTrainer(Plain, Data.Inputs()[0] with { Table = null! })).ParamName);
        Assert.Equal("input.Evaluation", Assert.Throws<ArgumentNullException>(() => new GlmTrainer(Plain, Data.Inputs()[0] with { Evaluation = null! })).ParamName);
        Assert.Equal("source.Path", Assert.Throws<ArgumentNullException>(() => Table.Load(new TableSource { Path = null! }, needLabel: false)).ParamName);
        Assert.Equal("fields", Assert.Throws<ArgumentNullException>(() => TableSchema.Create([null!])).ParamName);
        Assert.Equal("idColumns", Assert.Throws<ArgumentNullException>(() => TableSchema.Create([], [null!])).ParamName);
        Assert.Equal("first", Assert.Throws<ArgumentNullException>(() => InMemoryChannel.CreatePair(null!, "telco")).ParamName);
        Assert.Equal("second", Assert.Throws<ArgumentNullException>(() => InMemoryChannel.CreatePair("bank", null!)).ParamName);
        Assert.Equal("inputs", (await Assert.ThrowsAsync<ArgumentNullException>(() => LocalFederation.TrainAsync(Plain, null!))).ParamName);
        Assert.Equal("inputs", (await Assert.ThrowsAsync<ArgumentNullException>(() => LocalFederation.TrainAsync(Plain, [Data.Inputs()[0], null!]))).ParamName);
        Assert.Equal("models", (await Assert.ThrowsAsync<ArgumentNullException>(() => LocalFederation.PredictAsync(Plain, Data.Inputs(), null!))).ParamName);
        Assert.Equal("models", (await Assert.ThrowsAsync<ArgumentNullException>(() => LocalFederation.PredictAsync(Plain, Data.Inputs(), [null!]))).ParamName);
        Assert.Equal("Test", Assert.Throws<ArgumentNullException>(() => new SplitRule.ByHash(5, null!)).ParamName);
        Assert.Equal("Weights", Assert.Throws<ArgumentNullException>(() => new GlmClassWeights.Declared(null!)).ParamName);
    }

    [Fact]
    public void Private_UnitLabel_HasNoEvaluationToChargeFor()
    {
        GlmJob job = Private with { Privacy = Private.Privacy with { Unit = PrivacyUnit.Label } };
        Assert.Equal(("", ""), Refusals(job));
        Assert.Equal((true, false), (GlmPlan.Create(job).Noises(PartyRole.Active), GlmPlan.Create(job).Noises(PartyRole.Passive)));
        Assert.True(GlmPlan.Create(Private).Noises(PartyRole.Passive));
        AssertRefused(GlmOneRoundErrors.InvalidSetting, job with { Privacy = job.Privacy with { Evaluation = EvaluationDisclosure.Charged } });
    }

    [Fact]
    public void Job_DoesNotNameTheParty_IsRefused() =>
        Assert.Equal(GlmErrors.InvalidJob, Refusal(Plain, Data.Inputs()[0] with { Party = "stranger" }));

    /// <summary>The published constants of poisson hold for linear predictors within 2k of 0; nothing else needs the clip, which would change its numbers.</summary>
    [Theory]
    [InlineData("poisson", Calibration.Paper, 3)]
    [InlineData("poisson", Calibration.Tight, double.PositiveInfinity)]
    [InlineData("binomial", Calibration.Paper, double.PositiveInfinity)]
    public void ScoreClip_FamilyAndCalibration_IsThatOfThePublishedBound(string family, Calibration calibration, double clip) => Assert.Equal(clip, GlmPlan.Create(Private with
    {
        Model = new() { Family = VerticalData.Family(family) },
        Training = Private.Training with { WeightNorm = 1.5 },
        Privacy = Private.Privacy with { Calibration = calibration },
    }).ScoreClip);

    [Theory]
    [InlineData(PrivacyMode.None, EvaluationDisclosure.None, "mode none", true, true, false, PrivacyUnit.Record)]
    [InlineData(PrivacyMode.He, EvaluationDisclosure.Disclosed, "mode he", true, true, false, PrivacyUnit.Record)]
    [InlineData(PrivacyMode.He, EvaluationDisclosure.None, "mode he", false, false, false, PrivacyUnit.Record)]
    [InlineData(PrivacyMode.LabelDp, EvaluationDisclosure.Disclosed, "label-dp", false, true, false, PrivacyUnit.Label)]
    [InlineData(PrivacyMode.HdpVfl, EvaluationDisclosure.Disclosed, "unit label", false, true, true, PrivacyUnit.Record)]
    [InlineData(PrivacyMode.OneRound, EvaluationDisclosure.None, "unit label", false, false, true, PrivacyUnit.Record)]
    public void Create_Mode_SaysWhatLeavesAndWhatIsProtected(PrivacyMode mode, EvaluationDisclosure evaluation, string reason, bool train, bool test, bool boundsRows, PrivacyUnit unit)
    {
        GlmJob job = GlmPlan.IsPrivate(mode) ? Private : Plain;
        job = job with { Privacy = job.Privacy with { Mode = mode, Evaluation = evaluation } };
        GlmPlan plan = GlmPlan.Create(job);
        Assert.Equal((reason, train, test, boundsRows, unit), (plan.DisclosureReason, plan.SendsTrainScores, plan.SendsTestScores, plan.BoundsRows, plan.Unit));
        Assert.Equal(test, plan.ScoresMayLeave);
        if (mode != PrivacyMode.He)
            Assert.True(GlmPlan.Create(job with { Parties = [job.Parties[0]] }).ScoresMayLeave); // with nobody to tell
    }

    /// <summary>What a party clips of what it receives: wherever one side's noise rests on it, and nowhere else, where it would change numbers.</summary>
    [Fact]
    public void Create_BoundsOnWhatIsReceived_AreThoseOfTheMode()
    {
        GlmJob job = Training(Private, t => t with { ResidualClip = 2, SampleWeightBound = 3 });
        Assert.Equal(6, GlmPlan.Create(job).ReceivedBound);
        Assert.Equal(double.PositiveInfinity, GlmPlan.Create(job with { Privacy = job.Privacy with { Mode = PrivacyMode.LabelDp } }).ReceivedBound);
        GlmJob classes = Private with { Model = new() { Family = GlmFamilies.Multinomial(3) } };
        Assert.True(double.IsFinite(GlmPlan.Create(classes).ReceivedScoreBound));
        Assert.Equal(double.PositiveInfinity, GlmPlan.Create(classes with { Privacy = classes.Privacy with { Mode = PrivacyMode.LabelDp } }).ReceivedScoreBound);
    }

    /// <summary>Nothing that a passive party's noise rests on follows from what only the active party brings.</summary>
    [Fact]
    public void Parameters_OfAPassiveParty_LeaveOutWhatTheActiveOneBrings()
    {
        GlmPlan plan = GlmPlan.Create(Training(Private with { Model = new() { Family = GlmFamilies.Gaussian, Intercept = GlmIntercept.Free } }, t => t with { OffsetBound = 2, Reshuffle = true }));
        HdpVflParameters active = plan.Parameters(Private.Parties[0] with { LabelRange = (-3, 1) }, new BatchLayout(8, 1)), passive = plan.Parameters(Private.Parties[1], new BatchLayout(8, 1));
        Assert.Equal((2, true, 3.0), (active.OffsetBound, active.FreeIntercept, active.TargetBound));
        Assert.Equal((0, false, 1.0), (passive.OffsetBound, passive.FreeIntercept, passive.RowNorm));
        Assert.InRange(passive.TargetBound!.Value, 0, 1e-9);
        Assert.Equal((BatchSchedule.Reshuffled, BatchSchedule.Reshuffled), (active.Schedule, passive.Schedule));
        Assert.Equal(3, plan.LabelBound(Private.Parties[0] with { LabelRange = (-1, 3) }));
        Assert.Null(GlmPlan.Create(Private).LabelBound(Private.Parties[1]));
    }

    [Fact]
    public void Layout_MoreBatchesThanRowsOrTooManyRounds_IsRefused()
    {
        GlmPlan plan = GlmPlan.Create(Training(Plain, t => t with { BatchesPerEpoch = 5 }));
        Assert.Equal(5, plan.Layout(5).Count);
        Assert.Equal(GlmErrors.TooFewTrainingRows, Assert.Throws<BadInputException>(() => plan.Layout(4)).Id);
        plan = GlmPlan.Create(Training(Plain, t => t with { BatchSize = 1, Epochs = 1_000_000 }));
        Assert.Equal(1000, plan.Layout(1000).Count);
        Assert.Equal(GlmErrors.InvalidJob, Assert.Throws<ConfigurationException>(() => plan.Layout(2000)).Id);
    }

    [Fact]
    public void Optimizer_Absent_IsLbfgsOnlyForTheFullBatchInModeNone()
    {
        Assert.Equal(GlmOptimizer.Lbfgs, GlmPlan.Create(Plain).Optimizer);
        Assert.Equal(GlmOptimizer.Lbfgs, GlmPlan.Create(Training(Plain, t => t with { BatchesPerEpoch = 1 })).Optimizer);
        Assert.Equal(GlmOptimizer.Sgd, GlmPlan.Create(Training(Plain, t => t with { BatchesPerEpoch = 2 })).Optimizer);
        Assert.Equal(GlmOptimizer.Sgd, GlmPlan.Create(Training(Plain, t => t with { BatchSize = 2 })).Optimizer);
        Assert.Equal(GlmOptimizer.Sgd, GlmPlan.Create(Private).Optimizer);
        Assert.Equal(GlmOptimizer.Accelerated, GlmPlan.Create(Plain with { Model = Plain.Model with { L1 = .1 } }).Optimizer);
        Assert.Equal((1000, 10), (GlmPlan.Create(Plain).Epochs, GlmPlan.Create(Training(Plain, t => t with { BatchSize = 2 })).Epochs));
    }

    [Fact]
    public void Noise_SharesOfTheBudget_AreTheJobs()
    {
        GlmPrivacyOptions privacy = Private.Privacy with { Share = .7, EvaluationShare = .3 };
        Assert.Equal((.7, null), (GlmPlan.Create(Private with { Privacy = privacy }).Noise.Share, GlmPlan.Create(Private with { Privacy = privacy }).Noise.EvaluationShare));
        Assert.Equal(.3, GlmPlan.Create(Private with { Privacy = privacy with { Evaluation = EvaluationDisclosure.Charged } }).Noise.EvaluationShare);
    }

    [Theory]
    [InlineData(PrivacyMode.OneRound, "gaussian", true)]
    [InlineData(PrivacyMode.OneRound, "binomial", false)]
    [InlineData(PrivacyMode.HeDp, "gaussian", true)]
    [InlineData(PrivacyMode.HeDp, "binomial", false)]
    [InlineData(PrivacyMode.LabelDp, "binomial", false)]
    [InlineData(PrivacyMode.None, "gaussian", false)]
    public void NeedsLabelRange_ModeAndFamily_WhereAProofBoundsLabels(PrivacyMode mode, string family, bool needs) =>
        Assert.Equal(needs, GlmPlan.NeedsLabelRange(mode, family == "gaussian" ? GlmFamilies.Gaussian : GlmFamilies.Binomial));

    /// <summary>Bounds are those of projected steps, and one round has no epochs.</summary>
    [Fact]
    public void Create_SettingsOfOtherTrainers_AreLeftOut()
    {
        GlmJob bounded = Training(Plain, t => t with { WeightNorm = 2, ResidualClip = 3 });
        (double, double) Bounds(GlmPlan plan) => (plan.WeightNorm, plan.ResidualClip);
        Assert.Equal((double.PositiveInfinity, double.PositiveInfinity), Bounds(GlmPlan.Create(bounded)));
        Assert.Equal((2, 3), Bounds(GlmPlan.Create(Training(bounded, t => t with { Optimizer = GlmOptimizer.Sgd }))));
        Assert.Equal(1, GlmPlan.Create(Training(Private, t => t with { Epochs = 7 }) with { Privacy = Private.Privacy with { Mode = PrivacyMode.OneRound } }).Epochs);
    }

    [Fact]
    public void Intercept_Default_IsFreeInModeNoneAndAConstantInPrivateModes()
    {
        (bool Free, bool Constant) Of(GlmJob job) => (GlmPlan.Create(job).FreeIntercept, GlmPlan.Create(job).Constant);
        GlmJob With(GlmJob job, GlmIntercept intercept) => job with { Model = job.Model with { Intercept = intercept } };
        Assert.Equal((true, false), Of(Plain));
        Assert.Equal((false, true), Of(Private));
        Assert.Equal((false, false), Of(With(Plain, GlmIntercept.None)));
        Assert.Equal((false, false), Of(With(Private, GlmIntercept.None)));
        Assert.Equal((true, true), Of(With(Private, GlmIntercept.Free)));
        // Of which nothing leaves: free beside the constant too.
        Assert.Equal((true, false), (GlmPlan.Create(Private).LocalIntercept, GlmPlan.Create(With(Private, GlmIntercept.None)).LocalIntercept));
        Assert.Equal((false, false), Of(Private with { Preprocessing = Private.Preprocessing! with { Constant = false } }));
    }

    [Theory]
    [InlineData("identity", "")]
    [InlineData("cube", GlmErrors.InvalidJob)]
    [InlineData("log", GlmErrors.InvalidJob)]
    public void Family_LinkThatMeansDoNotInvert_IsRefusedBeforeTraining(string link, string id) =>
        AssertRefused(id, Plain with { Model = new() { Family = new UserFamily { Link = link } } });

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.NegativeInfinity)]
    public void Family_ParameterIsNoFiniteNumber_IsRefused(double power) =>
        AssertRefused(GlmErrors.InvalidJob, Plain with { Model = new() { Family = new UserFamily { Parameters = new Dictionary<string, double> { ["power"] = power } } } });

    /// <summary>A family that nobody has proved anything about: the square of the error to the fourth, say.</summary>
    private sealed class UserFamily : IGlmFamily
    {
        public string Name => "quartic";

        public string Link { get; init; } = "identity";

        public IReadOnlyDictionary<string, double> Parameters { get; init; } = new Dictionary<string, double>();

        public string? LabelFault(double label) => null;

        public double Canonical(double label) => label;

        public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
        {
            for (int i = 0; i < scores.Length; i++)
                residuals[i] = Math.Pow(scores[i] - labels[i], 3);
        }

        public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
        {
            for (int i = 0; i < scores.Length; i++)
                curvatures[i] = 3 * Math.Pow(scores[i] - labels[i], 2);
        }

        public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
        {
            double sum = 0;
            for (int i = 0; i < scores.Length; i++)
                sum += Math.Pow(scores[i] - labels[i], 4) / 4;
            return sum;
        }

        public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => 2 * LossSum(scores, labels);

        public void Means(ReadOnlySpan<double> scores, Span<double> means) => scores.CopyTo(means);

        public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => start[0] = labels[0];
    }

    [Fact]
    public async Task Plain_UserFamily_Trains()
    {
        var data = VerticalData.Random(3, "gaussian", 40, 2, 2);
        GlmJob job = data.Job("gaussian", new()) with { Model = new() { Family = new UserFamily() } };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs());
        Assert.Equal(GlmStopReason.Converged, results[0].StopReason);
        Assert.InRange(results[0].Train!.R2!.Value, .5, 1);
    }
}
