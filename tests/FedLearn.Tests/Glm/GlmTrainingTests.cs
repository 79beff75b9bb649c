using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Data;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Glm;

/// <summary>Training end to end in mode none, against pooled references.</summary>
public class GlmTrainingTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    private static readonly int[][] Deals = [[7], [3, 4], [0, 4, 3], [2, 4, 1], [1, 2, 2, 2]];

    public static TheoryData<string> Families => [.. ShippedFamilies.All.Select(family => family.Name)];

    private static GlmTrainingOptions Sgd(int epochs = 6, int? batches = 3, double step = 0.3, long seed = 0) =>
        new() { Optimizer = GlmOptimizer.Sgd, Epochs = epochs, BatchesPerEpoch = batches, StepSize = step, Seed = seed };

    private static GlmTrainingOptions Lbfgs(int epochs = 200, long seed = 0) => new() { Optimizer = GlmOptimizer.Lbfgs, Epochs = epochs, Seed = seed };

    private static async Task<double[]> WeightsAsync(VerticalData data, GlmJob job, int order = 0, int oneSided = 0) =>
        VerticalData.Weights(await LocalFederation.TrainAsync(job, data.Inputs(order, oneSided)));

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Sgd_AnyNumberOfPassiveParties_EqualsPooled(string family)
    {
        // 50 rows in 3 batches: 17, 17 and 16.
        var data = VerticalData.Random(1, family, 50, 7);
        double[] pooled = await WeightsAsync(data, data.Job(family, Sgd()));
        foreach (int[] widths in Deals)
        {
            VerticalData dealt = data.Dealt(widths);
            IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(dealt.Job(family, Sgd()), dealt.Inputs());
            VerticalData.AssertClose(pooled, VerticalData.Weights(results), 1e-9);
            // The joint objective needs every party's weights; alone it is known.
            Assert.Equal(widths.Length == 1, results[0].Objective is not null);
        }
    }

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Lbfgs_AnyNumberOfPassiveParties_EqualsPooledAndIsOptimal(string family)
    {
        var data = VerticalData.Random(2, family, 80, 7);
        IReadOnlyList<GlmPartyResult> alone = await LocalFederation.TrainAsync(data.Job(family, Lbfgs()), data.Inputs());
        double[] pooled = VerticalData.Weights(alone);
        PooledGlm truth = data.Pooled(family, 0);
        truth.Set(pooled[..truth.Weights.Length], pooled[truth.Weights.Length..]);
        Assert.True(truth.GradientNorm() <= 1e-7, "not an optimum");
        Assert.Equal(truth.Objective(), alone[0].Objective!.Value, 1e-12);
        foreach (int[] widths in Deals)
        {
            VerticalData dealt = data.Dealt(widths);
            IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(dealt.Job(family, Lbfgs()), dealt.Inputs());
            VerticalData.AssertClose(pooled, VerticalData.Weights(results), 1e-9);
            Assert.Equal(truth.Objective(), results[0].Objective!.Value, 1e-12);
            Assert.All(results, r => Assert.Equal(GlmStopReason.Converged, r.StopReason));
        }
    }

    [Fact]
    public void Sgd_RandomJobs_EqualThePlainLoops()
    {
        Gen<(int Rows, int Batches, int Parties, int Seed)> gen =
            from rows in Gen.Choose(1, 40)
            from batches in Gen.Choose(1, rows)
            from parties in Gen.Choose(0, Deals.Length - 1)
            from seed in Gen.Choose(0, 1_000_000)
            select (rows, batches, parties, seed);
        Prop.ForAll(gen.ToArbitrary(), draw =>
        {
            var random = new Random(draw.Seed);
            string family = new[] { "gaussian", "binomial", "poisson" }[random.Next(3)];
            var data = VerticalData.Random(draw.Seed, family, draw.Rows, Deals[draw.Parties]);
            bool intercept = random.Next(2) == 0;
            double? clip = random.Next(2) == 0 ? null : 0.05 + random.NextDouble(), norm = random.Next(2) == 0 ? null : 0.05 + (0.3 * random.NextDouble());
            GlmTrainingOptions training = Sgd(1 + random.Next(5), draw.Batches, (family == "poisson" ? 0.02 : 0.2) * (0.1 + random.NextDouble()), draw.Seed) with { ResidualClip = clip, WeightNorm = norm };
            double[] actual = WeightsAsync(data, data.Job(family, training, intercept ? GlmIntercept.Free : GlmIntercept.None), order: 1, oneSided: data.Widths.Length == 1 ? 0 : random.Next(4)).GetAwaiter().GetResult();

            PooledGlm truth = data.Pooled(family, draw.Seed, intercept: intercept);
            truth.Sgd(training.Epochs!.Value, draw.Batches, training.StepSize!.Value, clip ?? double.PositiveInfinity, norm ?? double.PositiveInfinity, data.Widths);
            VerticalData.AssertClose(intercept ? [.. truth.Weights, truth.Intercept] : truth.Weights, actual, 1e-12);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(150));
    }

    [Fact]
    public async Task Sgd_BatchSize_IsCeilOfRowsOverSizeBatches()
    {
        var data = VerticalData.Random(3, "binomial", 50, 3, 4);
        GlmTrainingOptions bySize = Sgd(batches: null) with { BatchSize = 17 };
        Assert.Equal(await WeightsAsync(data, data.Job("binomial", Sgd(batches: 3))), await WeightsAsync(data, data.Job("binomial", bySize)));
        // A batch size above the number of rows is the full batch.
        Assert.Equal(await WeightsAsync(data, data.Job("binomial", Sgd(batches: 1))), await WeightsAsync(data, data.Job("binomial", bySize with { BatchSize = 1000 })));
    }

    [Fact]
    public async Task Sgd_Projected_NoPartyLeavesItsBall()
    {
        var data = VerticalData.Random(4, "gaussian", 40, 2, 3, 2);
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(data.Job("gaussian", Sgd(20, step: 0.5) with { WeightNorm = 0.25 }), data.Inputs());
        foreach (GlmPartyResult result in results)
        {
            double length = Math.Sqrt(result.Model.Weights.Append(result.Model.Intercept ?? 0).Sum(w => w * w));
            Assert.InRange(length, 0.2, 0.25);
        }
    }

    [Fact]
    public async Task Sgd_EveryRowABatch_Works()
    {
        var data = VerticalData.Random(5, "poisson", 9, 1, 1);
        PooledGlm truth = data.Pooled("poisson", 0);
        truth.Sgd(2, 9, 0.1, double.PositiveInfinity, double.PositiveInfinity, data.Widths);
        VerticalData.AssertClose([.. truth.Weights, truth.Intercept], await WeightsAsync(data, data.Job("poisson", Sgd(2, 9, 0.1))), 1e-12);
    }

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Train_RowsInOtherOrdersWithOneSidedIds_SameBits(string family)
    {
        var data = VerticalData.Random(6, family, 60, 3, 2, 2);
        foreach (GlmTrainingOptions training in new[] { Sgd(seed: 11), Lbfgs(30, seed: 11) })
        {
            GlmJob job = data.Job(family, training);
            double[] weights = await WeightsAsync(data, job);
            Assert.Equal(weights, await WeightsAsync(data, job, order: 1));
            Assert.Equal(weights, await WeightsAsync(data, job, order: 77, oneSided: 9));
        }
    }

    [Fact]
    public async Task Train_OtherSeed_OtherBatches()
    {
        var data = VerticalData.Random(6, "binomial", 60, 3, 2);
        Assert.NotEqual(await WeightsAsync(data, data.Job("binomial", Sgd(seed: 1))), await WeightsAsync(data, data.Job("binomial", Sgd(seed: 2))));
    }

    [Fact]
    public async Task Train_Twice_SameBits()
    {
        // Above the threshold of several threads.
        var data = VerticalData.Random(8, "binomial", 3000, 20, 30);
        foreach (GlmTrainingOptions training in new[] { Sgd(2, 2), Lbfgs(8) })
            Assert.Equal(await WeightsAsync(data, data.Job("binomial", training)), await WeightsAsync(data, data.Job("binomial", training)));
    }

    [Fact]
    public async Task Train_Float32Messages_AreRoundedAndDeterministic()
    {
        var data = VerticalData.Random(9, "binomial", 60, 3, 4);
        foreach (GlmTrainingOptions training in new[] { Sgd(), Lbfgs(20) })
        {
            GlmJob wide = data.Job("binomial", training), narrow = data.Job("binomial", training with { MessagePrecision = ElementType.Float32 });
            double[] exact = await WeightsAsync(data, wide), rounded = await WeightsAsync(data, narrow);
            Assert.NotEqual(exact, rounded);
            Assert.Equal(rounded, await WeightsAsync(data, narrow, order: 5));
            VerticalData.AssertClose(exact, rounded, 1e-5);
        }

        async Task<long> BytesAsync(ElementType type)
        {
            GlmJob job = data.Job("binomial", Sgd() with { MessagePrecision = type });
            return (await LocalFederation.TrainAsync(job, data.Inputs()))[0].Traffic.BytesSent;
        }

        // The active party sends a selection of 60 bytes, a number that says that all are ready, and 6 epochs of 60 residuals.
        Assert.Equal(60 + 8 + (6 * 60 * 8), await BytesAsync(ElementType.Float64));
        Assert.Equal(60 + 8 + (6 * 60 * 4), await BytesAsync(ElementType.Float32));
    }

    /// <summary>Two parties with the same columns have the same gradients, and so the same weights, where the active one uses the residuals that it sends.</summary>
    [Fact]
    public async Task Sgd_Float32AndEqualColumns_WeightsAreEqualBitForBit()
    {
        var data = VerticalData.Random(9, "gaussian", 60, 3, 3);
        VerticalData twins = new([.. data.All.Select(row => row.Id)], [.. data.All.Select(row => (double[])[.. row.X[..3], .. row.X[..3]])], [.. data.Labels], [3, 3]);
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(twins.Job("gaussian", Sgd() with { MessagePrecision = ElementType.Float32 }, GlmIntercept.None), twins.Inputs());
        Assert.Equal(results[0].Model.Weights, results[1].Model.Weights);
        Assert.DoesNotContain(0, results[0].Model.Weights);
    }

    [Fact]
    public async Task Lbfgs_EarlyStopped_WarnsOfStandardErrorsAndHasAnObjectiveWhereThePenaltyIsKnown()
    {
        var data = VerticalData.Random(10, "gaussian", 60, 3, 2);
        GlmTrainingOptions stopping = Lbfgs() with { EarlyStopping = new() { Patience = 1, MinDelta = 1 } };
        async Task<GlmPartyResult> TrainAsync(VerticalData rows, GlmTrainingOptions training) => (await LocalFederation.TrainAsync(rows.Job("gaussian", training) with { Inference = true }, rows.Inputs()))[0];
        GlmPartyResult stopped = await TrainAsync(data, stopping), alone = await TrainAsync(data.Dealt(5), stopping), whole = await TrainAsync(data, Lbfgs());
        Assert.Equal((GlmStopReason.EarlyStopped, GlmStopReason.EarlyStopped, GlmStopReason.Converged), (stopped.StopReason, alone.StopReason, whole.StopReason));
        Assert.All([stopped, alone], r => Assert.Contains(r.Warnings, IsOfStandardErrors));
        Assert.All([stopped, alone, whole], r => Assert.NotNull(r.Inference));
        Assert.DoesNotContain(whole.Warnings, IsOfStandardErrors);
        // That of the best weights is known to nobody where other parties hold some of them.
        Assert.Equal((true, false, false), (stopped.Objective is null, alone.Objective is null, whole.Objective is null));

        static bool IsOfStandardErrors(string warning) => warning.StartsWith("standard errors suppose the optimum", StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lbfgs_StopReasons_AreTheParties()
    {
        var data = VerticalData.Random(10, "poisson", 60, 3, 2);
        IReadOnlyList<GlmPartyResult> few = await LocalFederation.TrainAsync(data.Job("poisson", Lbfgs(3)), data.Inputs());
        Assert.All(few, r => Assert.Equal((GlmStopReason.RoundLimit, 3), (r.StopReason, r.Timing.Epochs)));
        IReadOnlyList<GlmPartyResult> many = await LocalFederation.TrainAsync(data.Job("poisson", Lbfgs()), data.Inputs());
        Assert.All(many, r => Assert.Equal(GlmStopReason.Converged, r.StopReason));
        Assert.InRange(many[0].Timing.Epochs, 4, 60);
        Assert.Equal(many[0].Timing.Epochs, many[1].Timing.Epochs);
        // Float32 messages: the gradient stops short of 1e-8, and the line search says so.
        IReadOnlyList<GlmPartyResult> rounded = await LocalFederation.TrainAsync(data.Job("poisson", Lbfgs(100_000) with { MessagePrecision = ElementType.Float32 }), data.Inputs());
        Assert.All(rounded, r => Assert.NotEqual(GlmStopReason.RoundLimit, r.StopReason));
        Assert.Equal(rounded[0].StopReason, rounded[1].StopReason);
    }

    // Not with the rehearsal and the wait for the slowest party before them.
    [Theory]
    [InlineData(GlmOptimizer.Sgd)]
    [InlineData(GlmOptimizer.Lbfgs)]
    public async Task History_Seconds_AreThoseOfTheRounds(GlmOptimizer optimizer)
    {
        var data = VerticalData.Random(10, "poisson", 60, 3, 2);
        Assert.All(await LocalFederation.TrainAsync(data.Job("poisson", new() { Optimizer = optimizer, Epochs = 3 }), data.Inputs()), result =>
        {
            Assert.Equal(3, result.History.Count);
            Assert.True(result.History[^1].Seconds <= result.Timing.Training, $"{result.History[^1].Seconds} of {result.Timing.Training}");
        });
    }

    [Fact]
    public async Task Lbfgs_ConvergesInTheLastIteration_IsNoLimitToAnyParty()
    {
        var data = VerticalData.Random(10, "poisson", 60, 3, 2);
        int needed = (await LocalFederation.TrainAsync(data.Job("poisson", Lbfgs()), data.Inputs()))[0].Timing.Epochs;
        IReadOnlyList<GlmPartyResult> exactly = await LocalFederation.TrainAsync(data.Job("poisson", Lbfgs(needed)), data.Inputs());
        Assert.All(exactly, r => Assert.Equal((GlmStopReason.Converged, needed), (r.StopReason, r.Timing.Epochs)));
        IReadOnlyList<GlmPartyResult> less = await LocalFederation.TrainAsync(data.Job("poisson", Lbfgs(needed - 1)), data.Inputs());
        Assert.All(less, r => Assert.Equal((GlmStopReason.RoundLimit, needed - 1), (r.StopReason, r.Timing.Epochs)));
    }

    [Fact]
    public async Task Lbfgs_OptimumAtZero_ConvergesAtOnce()
    {
        // Residuals of 0 from the start.
        var data = VerticalData.Random(11, "gaussian", 20, 2, 2).WithLabels(_ => 0);
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(data.Job("gaussian", Lbfgs()), data.Inputs());
        Assert.All(results, r => Assert.Equal((GlmStopReason.Converged, 0), (r.StopReason, r.Timing.Epochs)));
        Assert.All(VerticalData.Weights(results), w => Assert.Equal(0, w));
    }

    [Theory]
    [InlineData(2000, 1, 1e3, ElementType.Float64)]
    [InlineData(2000, 1, 1e3, ElementType.Float32)]     // overflows float32 long before float64
    [InlineData(1, 1, 1e308, ElementType.Float64)]      // the last step of all
    [InlineData(1, 1, 1e305, ElementType.Float64)]      // finite weights, but no finite score
    [InlineData(1, 1, 1e300, ElementType.Float32)]
    public async Task Sgd_Diverges_IsTheRootCauseAndNoEcho(int epochs, int batches, double step, ElementType type)
    {
        VerticalData data = VerticalData.Random(12, "gaussian", 60, 2, 2, 2).WithLabels(y => 1000 * y);
        GlmJob job = data.Job("gaussian", Sgd(epochs, batches, step) with { MessagePrecision = type });
        InternalFailureException error = await Assert.ThrowsAsync<InternalFailureException>(() => LocalFederation.TrainAsync(job, data.Inputs()));
        Assert.Equal(GlmErrors.Diverged, error.Id);
        Assert.Contains("party '", error.Place, StringComparison.Ordinal);
        Assert.Contains("round", error.Place, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Sgd_PoissonOverflows_Diverges()
    {
        var data = VerticalData.Random(13, "poisson", 30, 2, 2);
        InternalFailureException error = await Assert.ThrowsAsync<InternalFailureException>(() => LocalFederation.TrainAsync(data.Job("poisson", Sgd(50, 1, 1e4)), data.Inputs()));
        Assert.Equal(GlmErrors.Diverged, error.Id);
    }

    [Theory]
    [InlineData(1e160)]     // the squared gradient overflows
    [InlineData(1e308)]
    public async Task Lbfgs_Overflows_IsTheRootCauseAndNoEcho(double scale)
    {
        VerticalData data = VerticalData.Random(12, "gaussian", 60, 2, 2, 2).WithLabels(y => Math.Sign(y) * scale);
        InternalFailureException error = await Assert.ThrowsAsync<InternalFailureException>(() => LocalFederation.TrainAsync(data.Job("gaussian", Lbfgs()), data.Inputs()));
        Assert.Equal(GlmErrors.Diverged, error.Id);
    }

    [Fact]
    public async Task Sgd_LossGrows_Warns()
    {
        var data = VerticalData.Random(14, "gaussian", 40, 2, 2);
        IReadOnlyList<GlmPartyResult> growing = await LocalFederation.TrainAsync(data.Job("gaussian", Sgd(8, 1, 5)), data.Inputs());
        Assert.Contains(growing[0].Warnings, w => w.Contains("loss grew", StringComparison.Ordinal));
        IReadOnlyList<GlmPartyResult> falling = await LocalFederation.TrainAsync(data.Job("gaussian", Sgd(8, 1, 0.1)), data.Inputs());
        Assert.Empty(falling[0].Warnings);
    }

    [Fact]
    public async Task Train_LabelsMinusOneAndOne_EqualZeroAndOne()
    {
        var data = VerticalData.Random(15, "binomial", 50, 3, 2);
        VerticalData signed = data.WithLabels(y => y == 0 ? -1 : 1);
        GlmJob job = data.Job("binomial", Sgd());
        IReadOnlyList<GlmPartyResult> zeroOne = await LocalFederation.TrainAsync(job, data.Inputs()), minusOne = await LocalFederation.TrainAsync(job, signed.Inputs());
        Assert.Equal(VerticalData.Weights(zeroOne), VerticalData.Weights(minusOne));
        Assert.Equal(zeroOne[0].Train!.Auc, minusOne[0].Train!.Auc);
        Assert.Equal(zeroOne[0].Train!.LogLoss, minusOne[0].Train!.LogLoss);
    }

    [Fact]
    public async Task Train_Intercepts_AreWhereTheJobSaysTheyAre()
    {
        var data = VerticalData.Random(16, "gaussian", 50, 3, 2);
        async Task<IReadOnlyList<GlmPartyResult>> TrainAsync(GlmIntercept intercept, bool? constant)
        {
            GlmJob job = data.Job("gaussian", Lbfgs(), intercept);
            return await LocalFederation.TrainAsync(job with { Preprocessing = job.Preprocessing! with { Constant = constant } }, data.Inputs());
        }

        IReadOnlyList<GlmPartyResult> free = await TrainAsync(GlmIntercept.Default, null), none = await TrainAsync(GlmIntercept.None, null), both = await TrainAsync(GlmIntercept.Default, true);
        Assert.Equal(VerticalData.Weights(free), VerticalData.Weights(await TrainAsync(GlmIntercept.Free, false)));
        Assert.NotNull(free[0].Model.Intercept);
        Assert.Null(free[1].Model.Intercept);
        Assert.All(none, r => Assert.Null(r.Model.Intercept));
        Assert.Equal([3, 2], none.Select(r => r.Model.Weights.Count));
        Assert.Equal([4, 3], both.Select(r => r.Model.Weights.Count));
        Assert.All(both, r => Assert.Equal(FeatureMap.ConstantName, r.Model.Features.FeatureNames[^1]));
        // A penalised constant beside a free intercept adds nothing: the free one takes all of it.
        Assert.Equal(0, both[0].Model.Weights[^1], 1e-7);
        Assert.Equal(free[0].Model.Intercept!.Value, both[0].Model.Intercept!.Value, 1e-6);
        Assert.Equal(free[0].Objective!.Value, both[0].Objective!.Value, 1e-10);
        Assert.True(none[0].Objective > free[0].Objective);
    }

    [Fact]
    public async Task Train_Standardised_IsThePooledOptimumOfStandardisedColumns()
    {
        var data = VerticalData.Random(17, "binomial", 70, 3, 4);
        GlmJob job = data.Job("binomial", Lbfgs()) with { Preprocessing = null };
        VerticalData one = data.Dealt(7);
        VerticalData.AssertClose(await WeightsAsync(one, one.Job("binomial", Lbfgs()) with { Preprocessing = null }), await WeightsAsync(data, job), 1e-9);
    }

    [Fact]
    public async Task Train_SplitByHash_HoldsTheSameRowsOutEverywhere()
    {
        var data = VerticalData.Random(18, "binomial", 100, 2, 2, 2);
        GlmJob job = data.Job("binomial", Lbfgs()) with { Split = new SplitRule.ByHash(5, [0, 3]) };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs(order: 3));
        int test = Enumerable.Range(0, 100).Count(i =>
            System.Numerics.BigInteger.Parse("0" + Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes($"row{i}"))),
                System.Globalization.NumberStyles.HexNumber, null) % 5 is var residue && (residue == 0 || residue == 3));
        Assert.InRange(test, 20, 60);
        Assert.All(results, r => Assert.Equal((100, 100 - test, test), (r.CommonRows, r.TrainRows, r.TestRows)));
        Assert.NotNull(results[0].Test);
        Assert.Null(results[1].Test);
        Assert.Single(results.Select(r => r.JobDigest).Distinct());
    }

    [Fact]
    public async Task Train_SplitFilesDiffer_IsRefused()
    {
        var data = VerticalData.Random(19, "binomial", 12, 2, 2);
        string folder = Directory.CreateTempSubdirectory("fedlearn-tests-").FullName;
        try
        {
            string Split(string name, int firstTest)
            {
                string path = Path.Combine(folder, name);
                File.WriteAllLines(path, ["id,split", .. Enumerable.Range(0, 12).Select(i => $"row{i},{(i >= firstTest && i < firstTest + 3 ? "test" : "train")}")]);
                return path;
            }

            GlmJob job = data.Job("binomial", Lbfgs(5)) with { Split = new SplitRule.FromFile() };
            GlmPartyInput[] inputs = data.Inputs();
            string one = Split("one.csv", 0), other = Split("other.csv", 4);    // equal counts, other rows
            IReadOnlyList<GlmPartyResult> same = await LocalFederation.TrainAsync(job, [inputs[0] with { SplitFile = one }, inputs[1] with { SplitFile = one }]);
            Assert.Equal(3, same[1].TestRows);
            PeerException error = await Assert.ThrowsAsync<PeerException>(() =>
                LocalFederation.TrainAsync(job, [inputs[0] with { SplitFile = one }, inputs[1] with { SplitFile = other }]));
            Assert.Equal(ProtocolErrors.DifferentSplit, error.Id);
            Assert.Contains("'p1'", error.Place, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task Train_NoCommonRows_IsRefused()
    {
        var data = VerticalData.Random(20, "binomial", 10, 2, 2);
        GlmPartyInput[] here = data.Inputs();
        GlmPartyInput stranger = new() { Party = "p1", Table = Table.FromMatrix(["x", "y"], ["c2", "c3"], new(2, 2)) };
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(data.Job("binomial", Sgd()), [here[0], stranger]));
        Assert.Equal(GlmErrors.NoCommonRows, error.Id);
    }

    [Fact]
    public async Task Train_MoreBatchesThanRowsOrNoTrainingRow_IsRefused()
    {
        var data = VerticalData.Random(21, "binomial", 10, 2, 2);
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(data.Job("binomial", Sgd(batches: 11)), data.Inputs()));
        Assert.Equal(GlmErrors.TooFewTrainingRows, error.Id);
        Assert.Contains("11 batches", error.Cause, StringComparison.Ordinal);
        GlmJob allTest = data.Job("binomial", Sgd()) with { Split = new SplitRule.ByHash(2, [0, 1]) };
        Assert.Equal(GlmErrors.TooFewTrainingRows, (await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(allTest, data.Inputs()))).Id);
    }

    [Fact]
    public async Task Train_MoreRoundsThanCanBeCounted_IsRefused()
    {
        var data = VerticalData.Random(21, "binomial", 4000, 1, 1);
        GlmJob job = data.Job("binomial", new() { Optimizer = GlmOptimizer.Sgd, Epochs = 1_000_000, BatchSize = 1 });
        Assert.Equal(GlmErrors.InvalidJob, (await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.TrainAsync(job, data.Inputs()))).Id);
    }

    [Fact]
    public async Task Train_PartyWithoutInput_IsRefused()
    {
        var data = VerticalData.Random(21, "binomial", 10, 2, 2);
        ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.TrainAsync(data.Job("binomial", Sgd()), data.Inputs()[..1]));
        Assert.Equal(GlmErrors.InvalidJob, error.Id);
        Assert.Contains("'p1'", error.Place, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Train_Cancelled_SaysSoAndNothingElse()
    {
        var data = VerticalData.Random(22, "binomial", 200, 2, 2, 2);
        using var stop = new CancellationTokenSource();
        var progress = new StopAt(stop, 20);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
            LocalFederation.TrainAsync(data.Job("binomial", Sgd(1_000_000, 1, 0.01)), data.Inputs(), progress: progress, cancellationToken: stop.Token));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
            LocalFederation.TrainAsync(data.Job("binomial", Sgd()), data.Inputs(), cancellationToken: new CancellationToken(canceled: true)));
    }

    // Nobody to wait for: the loops themselves have to look.
    [Theory]
    [InlineData(GlmOptimizer.Sgd)]
    [InlineData(GlmOptimizer.Lbfgs)]
    [InlineData(GlmOptimizer.Accelerated)]
    public async Task Train_OnePartyCancelled_StopsAtTheNextRound(GlmOptimizer optimizer)
    {
        var data = VerticalData.Random(22, "binomial", 200, 4);
        using var stop = new CancellationTokenSource();
        var progress = new StopAt(stop, 1);
        GlmTrainingOptions training = optimizer == GlmOptimizer.Sgd ? Sgd(100_000, 1, 0.01) : new() { Optimizer = optimizer };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => LocalFederation.TrainAsync(data.Job("binomial", training), data.Inputs(), progress: progress, cancellationToken: stop.Token));
        Assert.Equal(1, progress.Told);
    }

    private sealed class StopAt(CancellationTokenSource stop, int round) : IProgress<GlmProgress>
    {
        public int Told { get; private set; }

        public void Report(GlmProgress value)
        {
            Told++;
            if (value.Round >= round)
                stop.Cancel();
        }
    }

    [Fact]
    public async Task Train_Progress_CountsRoundsAndTellsTheLossOfEachEpoch()
    {
        var data = VerticalData.Random(23, "gaussian", 30, 2, 2);
        var seen = new Recorder();
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(data.Job("gaussian", Sgd(4, 3, 0.1)), data.Inputs(), progress: seen);
        GlmProgress[] active = seen.Of("active"), passive = seen.Of("p1");
        Assert.Equal([3, 6, 9, 12], active.Select(p => p.Round));
        Assert.All(active, p => Assert.Equal((12, null), (p.Rounds, p.Epsilon)));
        Assert.Equal(active.Select(p => p.Loss).OrderDescending(), active.Select(p => p.Loss));
        Assert.All(passive, p => Assert.Null(p.Loss));
        Assert.Equal(4, passive.Length);
        // Twelve rounds each way, the residuals being the active party's and the rest the passive one's.
        Assert.Equal(12, results[0].Sent.Single(s => s is { Name: "training residuals: mode none", Protection: Protection.None }).Messages);
        Assert.Equal(12, results[1].Sent.Single(s => s is { Name: "training scores: mode none", Protection: Protection.None }).Messages);
    }

    [Fact]
    public async Task Train_Stages_AreToldInOrderWithTheirRows()
    {
        var data = VerticalData.Random(23, "gaussian", 30, 2, 2);
        var seen = new StageRecorder();
        GlmPartyInput[] inputs = [.. data.Inputs().Select(input => input with { Stages = seen })];
        GlmPartyResult[] results = [.. await LocalFederation.TrainAsync(data.Job("gaussian", Sgd(1, 1, 0.1)), inputs)];
        int common = results[0].CommonRows;
        Assert.Equal([(GlmStage.Aligning, inputs[0].Table.Ids.Count), (GlmStage.Preparing, common), (GlmStage.Measuring, results[0].TrainRows + results[0].TestRows)], seen.Of("active"));
        Assert.Equal([(GlmStage.Aligning, inputs[1].Table.Ids.Count), (GlmStage.Preparing, common)], seen.Of("p1"));
    }

    private sealed class StageRecorder : IProgress<GlmStageBegun>
    {
        private readonly List<GlmStageBegun> _seen = [];

        public void Report(GlmStageBegun value)
        {
            lock (_seen)
                _seen.Add(value);
        }

        internal (GlmStage, int)[] Of(string party) => [.. _seen.Where(s => s.Party == party).Select(s => (s.Stage, s.Rows))];
    }

    private sealed class Recorder : IProgress<GlmProgress>
    {
        private readonly List<GlmProgress> _seen = [];

        public void Report(GlmProgress value)
        {
            lock (_seen)
                _seen.Add(value);
        }

        internal GlmProgress[] Of(string party) => [.. _seen.Where(p => p.Party == party)];
    }

    // Each is legal by itself, and both would be class 0.
    [Fact]
    public async Task Train_LabelsOfBothSpellings_AreRefused()
    {
        int zeros = 0;
        VerticalData mixed = VerticalData.Random(24, "binomial", 20, 2, 2).WithLabels(y => y == 0 && zeros++ == 0 ? -1 : y);
        Assert.True(zeros > 1);
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(mixed.Job("binomial", Sgd()), mixed.Inputs()));
        Assert.Equal((GlmErrors.IllegalLabel, "the labels mix 0 and -1."), (error.Id, error.Cause));
    }

    [Theory]
    [InlineData("binomial", 0.5)]
    [InlineData("binomial", 2)]
    [InlineData("poisson", -1)]
    [InlineData("poisson", 1.5)]
    public async Task Train_LabelOutsideTheFamily_IsRefused(string family, double label)
    {
        var data = VerticalData.Random(24, family, 10, 2, 2);
        VerticalData bad = data.WithLabels(y => y == 0 ? label : y);
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(data.Job(family, Sgd()), bad.Inputs()));
        Assert.Equal(GlmErrors.IllegalLabel, error.Id);
        Assert.Contains("row ", error.Place, StringComparison.Ordinal);
        Assert.Equal(VerticalData.Family(family).LabelFault(label), error.Cause);
        Assert.Equal(family == "binomial", error.Remedy.Contains("data.labels: [\"1\", \"2\"]", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Train_LabelOutsideTheDeclaredRange_IsRefused()
    {
        var data = VerticalData.Random(25, "poisson", 40, 2, 2);
        GlmJob WithRange(double low, double high)
        {
            GlmJob job = data.Job("poisson", Sgd());
            return job with { Parties = [job.Parties[0] with { LabelRange = (low, high) }, job.Parties[1]] };
        }

        await LocalFederation.TrainAsync(WithRange(0, 5), data.Inputs());
        foreach ((double low, double high) in new[] { (1.0, 5.0), (0, 1), (double.NaN, 5), (0, double.NaN), (5, 0) })
        {
            BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(WithRange(low, high), data.Inputs()));
            Assert.Equal(GlmErrors.LabelOutsideRange, error.Id);
        }
    }

    [Fact]
    public void Train_LabelFault_IsPlacedByLineOfTheFile()
    {
        using var folder = new TempFolder();
        string path = folder.Write("labels.csv", "id,y,c0\n\na,1,0.5\nb,7,0.25\n");
        var data = VerticalData.Random(26, "binomial", 2, 1);
        var table = Table.Load(new() { Path = path, Label = "y" }, needLabel: true, None);
        BadInputException error = Assert.Throws<BadInputException>(() => new GlmTrainer(data.Job("binomial", Sgd()), new() { Party = "active", Table = table }));
        Assert.Contains($"{table.PlaceOf(1)}, label", error.Place, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Train_NoLabels_IsRefused()
    {
        var data = VerticalData.Random(27, "binomial", 5, 1, 1);
        GlmPartyInput[] inputs = data.Inputs();
        ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() =>
            LocalFederation.TrainAsync(data.Job("binomial", Sgd()), [inputs[1] with { Party = "active" }, inputs[1]]));
        Assert.Equal(GlmErrors.InvalidJob, error.Id);
    }
}
