using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Tests.Dssm;

namespace FedLearn.Tests.Glm;

/// <summary>What leaves a party in a private mode, and what is then claimed.</summary>
public class GlmPrivacyTests
{
    private const int Epochs = 3, Batches = 4;
    private const string TestNoiseNotice = "NOT PRIVATE: test noise";

    private static readonly SplitRule Hold = new SplitRule.ByHash(4, [1]);

    public static TheoryData<string> Families => ["gaussian", "binomial", "poisson"];

    private static GlmJob Job(VerticalData data, string family = "binomial", long? testNoise = 1)
    {
        GlmJob job = data.Job(family, new() { Epochs = Epochs, BatchesPerEpoch = Batches, StepSize = 0.2, WeightNorm = 1, ResidualClip = 1 });
        return job with
        {
            Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(2, 0.004), TestNoiseSeed = testNoise },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
            Split = Hold,
            Parties = [job.Parties[0] with { LabelRange = family == "binomial" ? null : (-6, 6) }, .. job.Parties.Skip(1)],
        };
    }

    private static GlmJob Privacy(GlmJob job, Func<GlmPrivacyOptions, GlmPrivacyOptions> change) => job with { Privacy = change(job.Privacy) };

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Messages_PrivateMode_AreNoisyOrOnTheListOfDisclosures(string family)
    {
        var data = VerticalData.Random(1, family, 60, 3, 2, 2);
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(Job(data, family), data.Inputs(order: 1, oneSided: 2));
        string[] disclosed = ["alignment: hashed ids", "alignment: common rows", "agreement: all are ready", "agreement: row counts and split", "evaluation: test rows"];
        Assert.Equal(disclosed.Order(), session.Sent.Where(m => m.Protection == Protection.None).Select(m => m.Name).Distinct().Order());
        Assert.All(session.Sent.Where(m => m.Name.StartsWith("training", StringComparison.Ordinal)), m => Assert.Equal(Protection.Noise, m.Protection));
        foreach (string party in new[] { "p1", "p2" })
        {
            Assert.Equal(Enumerable.Range(0, Epochs * Batches), session.Sent.Where(m => m.From == party && m.Protection == Protection.Noise).Select(m => m.Round));
            Assert.Single(session.Sent, m => m.From == party && m.Name == "evaluation: test rows");
        }

        // Everything the report counts is what left, and nothing else left.
        foreach (GlmPartyResult result in results)
            Assert.Equal(session.Sent.Where(m => m.From == result.Party.Name).GroupBy(m => (m.Name, m.Protection)).ToDictionary(g => g.Key, g => (long)g.Count()), result.Sent.GroupBy(m => (m.Name, m.Protection)).ToDictionary(g => g.Key, g => g.Sum(m => m.Messages)));
    }

    /// <summary>The noise rests on what is declared, whatever the table holds: only the report can say that it paid for nothing.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public async Task Report_BoundsOfWeightsAndOffsetsThatAreNotThere_Warns(bool weights, bool offsets)
    {
        VerticalData data = VerticalData.Random(4, "poisson", 60, 3, 2).WithRandom(new Random(4), weights, offsets);
        GlmJob job = Job(data, "poisson");
        job = job with { Training = job.Training with { StepSize = 0.05 } };
        GlmJob bounded = job with { Training = job.Training with { SampleWeightBound = 3, OffsetBound = 0.5 } };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(bounded, data.Inputs());
        bool Warned(int party, string key) => results[party].Warnings.Any(w => w.StartsWith($"active: training.{key} is declared", StringComparison.Ordinal));
        Assert.Equal((!weights, !offsets), (Warned(0, "sampleWeightBound"), Warned(0, "offsetBound")));
        Assert.Equal((false, false), (Warned(1, "sampleWeightBound"), Warned(1, "offsetBound")));
        if (weights || offsets)
            return;
        // A party alone sends nothing, so that nothing is noised.
        Assert.DoesNotContain((await LocalFederation.TrainAsync(bounded with { Parties = [bounded.Parties[0]] }, [data.Inputs()[0]]))[0].Warnings, w => w.Contains("Bound", StringComparison.Ordinal));
        results = [.. results, .. await LocalFederation.TrainAsync(job, data.Inputs())];
        Assert.Equal((false, false), (Warned(2, "sampleWeightBound"), Warned(2, "offsetBound")));
        Assert.All(new[] { 0, 1 }, party => Assert.True(results[party].Privacy.Calibration!.Sigma > results[2 + party].Privacy.Calibration!.Sigma));
    }

    [Fact]
    public void Constructor_OffsetsAndWeightsWithoutABoundThatHolds_AreRefused()
    {
        VerticalData data = VerticalData.Random(4, "poisson", 60, 3, 2);
        GlmJob job = Job(data, "poisson"), bounded = job with { Training = job.Training with { StepSize = 0.05, SampleWeightBound = 3, OffsetBound = 0.5 } };
        GlmTrainer Of(GlmJob of, double[]? weights, double[]? offsets) => new(of, data.With(weights, offsets).Inputs()[0]);
        double[] heavy = [.. Enumerable.Repeat(7.0, 60)];
        double[] Offsets(double last) => [.. Enumerable.Repeat(-0.5, 59), last];
        Assert.Equal(GlmErrors.OffsetBoundMissing, Assert.Throws<PrivacyRefusedException>(() => Of(bounded with { Training = bounded.Training with { OffsetBound = null } }, null, Offsets(0))).Id);
        Assert.Equal(GlmErrors.WeightBoundMissing, Assert.Throws<PrivacyRefusedException>(() => Of(bounded with { Training = bounded.Training with { SampleWeightBound = null } }, heavy, null)).Id);
        foreach (double offset in (double[])[0.5000001, -0.5000001, 1e300])
            Assert.Equal(GlmErrors.OffsetOutsideBound, Assert.Throws<BadInputException>(() => Of(bounded, null, Offsets(offset))).Id);
        // A larger weight is clipped; an offset on the bound is within it.
        _ = Of(bounded, heavy, Offsets(0.5));
    }

    [Fact]
    public async Task Report_BoundOfClassWeights_DoesNotWarn()
    {
        var data = VerticalData.Random(4, "binomial", 60, 3, 2);
        GlmJob job = Job(data);
        job = job with { Training = job.Training with { SampleWeightBound = 2, ClassWeights = new GlmClassWeights.Declared([1, 2]) } };
        Assert.DoesNotContain((await LocalFederation.TrainAsync(job, data.Inputs()))[0].Warnings, w => w.Contains("sampleWeightBound", StringComparison.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Messages_Noisy_LieOnThePartysOwnLattice(string family)
    {
        var data = VerticalData.Random(2, family, 60, 3, 2, 2);
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(Job(data, family), data.Inputs());
        foreach (GlmPartyResult result in results)
        {
            double step = result.Privacy.Calibration!.SigmaCharged / (1 << GaussianMechanism.UsualLatticeBits);
            foreach (SentMessage message in session.Sent.Where(m => m.From == result.Party.Name && m.Protection == Protection.Noise))
                foreach (double value in ((VectorPayload)message.Payload).Values.Span)
                    Assert.Equal(Math.Round(value / step) * step, value);
        }
    }

    [Fact]
    public async Task Residuals_SeveralPassiveParties_AreOneVectorNoisedOnce()
    {
        var data = VerticalData.Random(3, "binomial", 60, 3, 2, 2, 1);
        GlmPartyInput[] inputs = data.Inputs();
        var ledger = new InMemoryLedger();
        inputs[0] = inputs[0] with { Ledger = ledger };
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(Job(data), inputs);
        SentMessage[] residuals = [.. session.Sent.Where(m => m.Payload is Residuals)];
        Assert.Equal(3 * Epochs * Batches, residuals.Length);
        foreach (IGrouping<int, SentMessage> round in residuals.GroupBy(m => m.Round))
        {
            Assert.Equal(["p1", "p2", "p3"], round.Select(m => m.To));
            Assert.All(round, m => Assert.Same(round.First().Payload, m.Payload));
        }

        // Charged once for the job, not once a receiver, and all of it is the claim.
        PrivacyCharge charge = Assert.Single(ledger.Entries).Charge;
        Assert.Equal(Epochs * Batches, charge.Messages);
        Assert.Equal(results[0].Privacy.Calibration!.Mu, Math.Sqrt(charge.MuSquared), 1e-12 * results[0].Privacy.Calibration!.Mu);
        Assert.Equal(("active", results[0].JobDigest), (charge.Party, charge.JobDigest));
    }

    /// <summary>Two intervals, the one in which a state is written, and a torn write; without states a run may begin again from its first message.</summary>
    [Theory]
    [InlineData(2, 7)]
    [InlineData(0, null)]
    public async Task Train_StatesAreKept_OutboxesNeedWhatARunThatGoesOnAsksFor(int checkpointRounds, int? messages)
    {
        var data = VerticalData.Random(3, "binomial", 60, 3, 2, 2);
        var ledger = new KeepingLedger();
        GlmJob job = Job(data);
        job = job with { Training = job.Training with { CheckpointRounds = checkpointRounds } };
        await RecordedSession.TrainAsync(job, [.. data.Inputs().Select(i => i with { Ledger = ledger, Runs = new InMemoryRunStore() })]);
        Assert.Equal(messages is { } m ? Enumerable.Repeat(m, ledger.Entries.Count) : [], ledger.Bounds.Values);
        Assert.NotEmpty(ledger.Entries);
    }

    /// <summary>A peer that breaks the protocol in round u: messages 0 to u have been kept, and the epochs they belong to are paid for.</summary>
    [Theory]
    [InlineData(0, 1)]
    [InlineData(Batches - 1, 1)]
    [InlineData(Batches, 2)]
    [InlineData(Epochs * Batches - 1, Epochs)]
    public async Task Train_FailsOnTheWay_IsChargedForTheEpochsItBegan(int round, int epochs)
    {
        var data = VerticalData.Random(3, "binomial", 60, 3, 2, 2);
        GlmJob job = Job(data) with { Split = SplitRule.None };
        job = Privacy(job with { Parties = [job.Parties[0], job.Parties[1]] }, p => p with { Evaluation = EvaluationDisclosure.None });
        var ledger = new InMemoryLedger();
        await Assert.ThrowsAsync<PeerException>(() => ScriptedPeer.TranscriptAsync(job, data.Inputs()[1] with { Ledger = ledger },
            (now, size) => now == round ? new double[size + 1] : new double[size]));
        LedgerEntry entry = Assert.Single(ledger.Entries);
        Assert.Equal((ChargeState.Settled, (double)epochs / Epochs), (entry.State, entry.Share));
    }

    [Fact]
    public async Task Train_FailsBeforeAnyMessage_CostsNothing()
    {
        var data = VerticalData.Random(3, "binomial", 60, 3, 2, 2);
        GlmJob job = Job(data) with { Split = SplitRule.None };
        job = job with { Parties = [job.Parties[0], job.Parties[1]] };
        var ledger = new InMemoryLedger();
        // The active party waits for scores, and the passive one sends too few.
        await Assert.ThrowsAsync<PeerException>(() => ScriptedPeer.TranscriptAsync(job, data.Inputs()[0] with { Ledger = ledger }, (_, size) => new double[size + 1]));
        Assert.Equal((ChargeState.Settled, 0.0), (ledger.Entries[0].State, ledger.Entries[0].Share));
    }

    /// <summary>Plain loops over what each party heard give its weights and, but for noise, what it said: the active party uses its clean residuals,
    /// a passive one the noisy residuals it received, clipped.</summary>
    [Theory]
    [MemberData(nameof(Families))]
    public async Task Train_Replayed_EveryPartyUsesWhatItMay(string family)
    {
        const double Step = 0.2, L2 = 0.01;
        var data = VerticalData.Random(20, family, 61, 3, 2, 2);
        GlmPartyInput[] inputs = data.Inputs();
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(Job(data, family) with { Split = SplitRule.None }, inputs);
        int[] order = RowIds.Order(inputs[0].Table.Ids, 0).Rows;
        var layout = new BatchLayout(61, Batches);
        foreach (GlmPartyResult result in results)
        {
            Table table = inputs.Single(i => i.Party == result.Party.Name).Table;
            double[][] x = [.. order.Select(row => result.Model.Features.Transform(table, [row]).Values)];
            double[] w = new double[x[0].Length], noise = [];
            for (int round = 0; round < Epochs * Batches; round++)
            {
                double[] Heard(string from, string to) =>
                    ((VectorPayload)session.Sent.Single(m => m.From == from && m.To == to && m.Round == round && m.Protection == Protection.Noise).Payload).Values.ToArray();
                int[] rows = [.. Enumerable.Range(layout.Start(round % Batches), layout.Size(round % Batches))];
                double[] r, z = [.. rows.Select(i => x[i].Zip(w, (a, b) => a * b).Sum())];
                if (result == results[0])
                {
                    (double[] one, double[] two) = (Heard("p1", "active"), Heard("p2", "active"));
                    r = [.. rows.Select((i, at) => Math.Clamp(data.Pooled(family, 0).Mean(z[at] + one[at] + two[at]) - table.Labels![order[i]], -1, 1))];
                    noise = [.. noise, .. Heard("active", "p1").Zip(r, (noisy, clean) => noisy - clean)];
                }
                else
                {
                    r = [.. Heard("active", result.Party.Name).Select(v => Math.Clamp(v, -1, 1))];
                    noise = [.. noise, .. Heard(result.Party.Name, "active").Zip(z, (noisy, clean) => noisy - clean)];
                }

                w = [.. w.Select((v, j) => v - (Step * (rows.Select((i, at) => r[at] * x[i][j]).Sum() / rows.Length)) - (Step * L2 * v))];
                double shrink = Math.Min(1, 1 / Math.Sqrt(w.Sum(v => v * v)));
                w = [.. w.Select(v => v * shrink)];
            }

            VerticalData.AssertClose(w, result.Model.Weights, 1e-12);
            // 183 draws of a fixed seed: their deviation is within 20 % of sigma, four standard errors.
            Assert.Equal(61 * Epochs, noise.Length);
            Assert.InRange(Math.Sqrt(noise.Average(v => v * v)) / result.Privacy.Calibration!.SigmaCharged, 0.8, 1.2);
        }
    }

    [Fact]
    public async Task Noise_PassiveParties_IsTheirOwn()
    {
        // Two passive parties with equal columns: equal scores in round 0, all of them 0, under different noise.
        var data = VerticalData.Random(4, "binomial", 60, 1, 1, 1);
        (RecordedSession session, _) = await RecordedSession.TrainAsync(Job(data), data.Inputs());
        double[] First(string party) => ((Scores)session.Sent.Single(m => m.From == party && m.Round == 0 && m.Payload is Scores).Payload).Values.ToArray();
        Assert.DoesNotContain(First("p1").Zip(First("p2")), pair => pair.First == pair.Second);
    }

    [Fact]
    public async Task Train_SameTestNoise_SameBits()
    {
        var data = VerticalData.Random(5, "binomial", 60, 3, 2, 2);
        async Task<double[]> WeightsAsync(long? seed, int order) => VerticalData.Weights(await LocalFederation.TrainAsync(Job(data, testNoise: seed), data.Inputs(order)));
        double[] weights = await WeightsAsync(1, 0);
        Assert.Equal(weights, await WeightsAsync(1, 0));
        Assert.Equal(weights, await WeightsAsync(1, 9));
        Assert.NotEqual(weights, await WeightsAsync(2, 0));
        // The system's random numbers do not repeat.
        Assert.NotEqual(await WeightsAsync(null, 0), await WeightsAsync(null, 0));
    }

    // In one process the parties take turns, and the active one reads its rows once a round; over other channels its own step runs beside its message.
    [Theory]
    [InlineData(60, Batches, false)]
    [InlineData(60, Batches, true)]
    [InlineData(60, 1, true)]
    [InlineData(1500, 3, false)]
    [InlineData(6000, 1, false)]
    [InlineData(12000, 2, false)]
    [InlineData(12000, 2, true)]
    public async Task Train_OwnStepBesideTheMessageOrAfterIt_SameBits(int rows, int batches, bool reshuffle)
    {
        var data = VerticalData.Random(8, "binomial", rows, 3, 2, 2);
        GlmJob job = Job(data);
        job = job with { Training = job.Training with { BatchesPerEpoch = batches, Reshuffle = reshuffle } };
        double[] inTurn = VerticalData.Weights(await LocalFederation.TrainAsync(job, data.Inputs()));
        Assert.Equal(inTurn, VerticalData.Weights((await RecordedSession.TrainAsync(job, data.Inputs())).Results));
    }

    [Theory]
    [InlineData(ElementType.Float32)]
    [InlineData(ElementType.Float64)]
    public async Task Train_AnyMessagePrecision_NoisedMessagesAreLatticeIntegers(ElementType precision)
    {
        var data = VerticalData.Random(6, "binomial", 60, 3, 2);
        GlmJob job = Job(data);
        (RecordedSession session, _) = await RecordedSession.TrainAsync(job with { Training = job.Training with { MessagePrecision = precision } }, data.Inputs());
        Assert.All(session.Sent.Where(m => m.Protection == Protection.Noise), m => Assert.Equal(ElementType.Lattice, ((VectorPayload)m.Payload).ElementType));
    }

    [Fact]
    public async Task Weights_PrivateMode_StayInTheBall()
    {
        var data = VerticalData.Random(7, "gaussian", 60, 3, 2);
        foreach (GlmPartyResult result in await LocalFederation.TrainAsync(Job(data, "gaussian"), data.Inputs()))
        {
            Assert.True(Math.Sqrt(result.Model.Weights.Sum(w => w * w)) <= 1);
            // The constant is a feature like any other: no free intercept anywhere.
            Assert.Null(result.Model.Intercept);
            Assert.Equal(FeatureMap.ConstantName, result.Model.Features.FeatureNames[^1]);
        }
    }

    /// <summary>Half of the square of this bound is .6 of the smallest number above 0, which stands for it: by that, rows are longer than their bound.</summary>
    [Fact]
    public async Task Rows_LongerThanTheClaimAssumes_AreRefusedBeforeAMessageOfTheTraining()
    {
        var data = VerticalData.Random(7, "gaussian", 60, 1, 1);
        GlmJob job = Job(data, "gaussian");
        job = job with { Preprocessing = job.Preprocessing! with { RowNorm = 2.43e-162 }, Training = job.Training with { WeightNorm = 1e160 } };
        InternalFailureException error = await Assert.ThrowsAsync<InternalFailureException>(() => LocalFederation.TrainAsync(job, data.Inputs()));
        Assert.Equal((GlmErrors.RowTooLong, "feature map", "a row is longer than preprocessing.rowNorm."), (error.Id, error.Place, error.Cause));
        Assert.StartsWith("Give an ordinary preprocessing.rowNorm", error.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Claim_Disclosed_SaysHowManyRowsItLeavesOut()
    {
        var data = VerticalData.Random(8, "binomial", 60, 3, 2);
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(Job(data, testNoise: null), data.Inputs());
        int test = results[0].TestRows;
        Assert.InRange(test, 5, 30);
        foreach (GlmPartyResult result in results)
        {
            string claim = Assert.Single(result.Privacy.Claims);
            Assert.StartsWith($"training messages only; scores disclosed for {test} evaluation rows are outside this claim: all messages of '{result.Party.Name}' together are (2, 0.004)-", claim, StringComparison.Ordinal);
            Assert.Contains(string.Create(CultureInfo.InvariantCulture, $"mu = {result.Privacy.Calibration!.Mu:R}"), claim, StringComparison.Ordinal);
            Assert.Contains(result == results[0] ? "features and label" : "replacing one row of its table,", claim, StringComparison.Ordinal);
            Assert.DoesNotContain("conditional", claim, StringComparison.Ordinal);
            Assert.True(result.Privacy.SecureNoise);
            Assert.Equal(PrivacyMode.HdpVfl, result.Privacy.Mode);
            // What is claimed follows from the noise: mu gives this delta at this epsilon.
            Assert.Equal(0.004, GaussianDp.Delta(result.Privacy.Calibration.Mu, 2), 1e-12);
            Assert.True(result.Privacy.Calibration.SigmaCharged >= result.Privacy.Calibration.Sigma);
        }

        Assert.NotNull(results[0].Test!.Auc);
    }

    [Fact]
    public async Task Claim_EvaluationNone_DisclosesAndMeasuresNothing()
    {
        var data = VerticalData.Random(9, "binomial", 60, 3, 2);
        GlmJob job = Privacy(Job(data, testNoise: null), p => p with { Evaluation = EvaluationDisclosure.None });
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(job, data.Inputs());
        Assert.Null(results[0].Test);
        Assert.NotNull(results[0].Train);
        Assert.DoesNotContain(session.Sent, m => m.Name.StartsWith("evaluation", StringComparison.Ordinal));
        Assert.All(results, r => Assert.StartsWith("training messages only: all messages", Assert.Single(r.Privacy.Claims), StringComparison.Ordinal));
        Assert.Equal(results[0].TestRows, results[1].TestRows);
        Assert.NotEqual(0, results[0].TestRows);
    }

    [Fact]
    public async Task Claim_NoTestRows_LeavesNothingOut()
    {
        var data = VerticalData.Random(10, "binomial", 60, 3, 2);
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(Job(data, testNoise: null) with { Split = SplitRule.None }, data.Inputs());
        Assert.All(results, r => Assert.StartsWith("training messages only: all messages", Assert.Single(r.Privacy.Claims), StringComparison.Ordinal));
        Assert.Null(results[0].Test);
    }

    [Theory]
    [InlineData(Scaling.None, false)]
    [InlineData(Scaling.Rounded, true)]
    [InlineData(Scaling.Standardize, true)]
    public async Task Claim_ScalingFromTheData_IsConditional(Scaling scaling, bool conditional)
    {
        var data = VerticalData.Random(11, "binomial", 60, 3, 2);
        GlmJob job = Job(data, testNoise: null) with { Preprocessing = new() { Scaling = scaling, Rows = RowBound.Normalize } };
        foreach (GlmPartyResult result in await LocalFederation.TrainAsync(job, data.Inputs()))
        {
            Assert.Equal(conditional, Assert.Single(result.Privacy.Claims).EndsWith("; conditional on scaling constants taken from the data", StringComparison.Ordinal));
            Assert.Equal(!conditional, result.Privacy.Warnings.Any(w => w.Contains("preprocessing.scaling is none", StringComparison.Ordinal)));
        }
    }

    [Fact]
    public async Task Claim_TestNoise_ClaimsNothing()
    {
        var data = VerticalData.Random(12, "binomial", 60, 3, 2);
        foreach (GlmPartyResult result in await LocalFederation.TrainAsync(Job(data), data.Inputs()))
        {
            Assert.Equal([TestNoiseNotice], result.Privacy.Claims);
            Assert.Equal(TestNoiseNotice, result.Privacy.Warnings[0]);
            Assert.False(result.Privacy.SecureNoise);
        }
    }

    [Fact]
    public async Task Claim_BudgetOfOneParty_IsItsOwn()
    {
        var data = VerticalData.Random(13, "binomial", 60, 3, 2);
        GlmJob job = Job(data, testNoise: null);
        job = job with { Parties = [job.Parties[0], job.Parties[1] with { Budget = new(5, 0.001) }] };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs());
        Assert.Equal([new PrivacyBudget(2, 0.004), new PrivacyBudget(5, 0.001)], results.Select(r => r.Privacy.Budget));
        Assert.Contains("(5, 0.001)-", results[1].Privacy.Claims[0], StringComparison.Ordinal);
        Assert.Equal(0.001, GaussianDp.Delta(results[1].Privacy.Calibration!.Mu, 5), 1e-12);
    }

    [Fact]
    public async Task Claim_PaperCalibrationAtLargeEpsilon_NamesTheDeltaReallyReached()
    {
        var data = VerticalData.Random(14, "binomial", 60, 3, 2);
        GlmJob job = Privacy(Job(data, testNoise: null), p => p with { Calibration = Calibration.Paper, Budget = new(10, 0.01) });
        foreach (GlmPartyResult result in await LocalFederation.TrainAsync(job, data.Inputs()))
        {
            double actual = result.Privacy.Calibration!.ActualDelta!.Value;
            Assert.Equal(0.0406, actual, 5e-5);     // glm reference: the classical formula at (10, 0.01)
            Assert.Contains(string.Create(CultureInfo.InvariantCulture, $"(10, {actual:R})-"), result.Privacy.Claims[0], StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Warning_DeltaAboveOneOverRows_IsGiven()
    {
        var data = VerticalData.Random(15, "binomial", 60, 3, 2);
        async Task<bool> WarnsAsync(double delta)
        {
            GlmJob job = Privacy(Job(data) with { Split = SplitRule.None }, p => p with { Budget = new(2, delta) });
            return (await LocalFederation.TrainAsync(job, data.Inputs()))[1].Privacy.Warnings.Any(w => w.Contains("above 1/60", StringComparison.Ordinal));
        }

        Assert.True(await WarnsAsync(1.01 / 60));
        Assert.False(await WarnsAsync(0.99 / 60));
    }

    [Fact]
    public async Task NoPassiveParty_PrivateMode_ReleasesAndClaimsNothing()
    {
        var data = VerticalData.Random(16, "binomial", 60, 4);
        GlmJob job = Privacy(Job(data), p => p with { Evaluation = EvaluationDisclosure.None });
        GlmPartyResult result = Assert.Single(await LocalFederation.TrainAsync(job, data.Inputs()));
        Assert.Null(result.Privacy.Calibration);
        Assert.Empty(result.Privacy.Claims);
        Assert.Empty(result.Sent);
        Assert.Empty(result.AlignmentLeaks);
        // Its own test rows are its own affair.
        Assert.NotNull(result.Test!.Auc);
    }

    [Fact]
    public async Task ModeNone_Statement_ClaimsNothing()
    {
        var data = VerticalData.Random(17, "binomial", 60, 3, 2);
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(data.Job("binomial", new() { Epochs = 5 }) with { Split = Hold }, data.Inputs());
        Assert.All(session.Sent, m => Assert.Equal(Protection.None, m.Protection));
        Assert.All(results, r => Assert.Empty(r.Privacy.Claims));
        Assert.All(results, r => Assert.Null(r.Privacy.Calibration));
        Assert.All(results, r => Assert.Equal(3, r.AlignmentLeaks.Count));
        // Both kinds of rows are evaluated at the end, by scores that say what they are for.
        Assert.Equal(["evaluation: test rows", "evaluation: training rows"], session.Sent.Where(m => m.Name.StartsWith("evaluation", StringComparison.Ordinal)).Select(m => m.Name).Order());
    }

    [Fact]
    public async Task Progress_Epsilon_RisesToTheBudget()
    {
        var data = VerticalData.Random(18, "binomial", 60, 3, 2);
        var seen = new List<GlmProgress>();
        await LocalFederation.TrainAsync(Job(data), data.Inputs(), progress: new Recorder(seen));
        foreach (string party in new[] { "active", "p1" })
        {
            double[] spent = [.. seen.Where(p => p.Party == party).Select(p => p.Epsilon!.Value)];
            Assert.Equal(Epochs, spent.Length);
            Assert.Equal(spent.Order(), spent);
            Assert.Equal(2, spent[^1], 1e-9);
        }
    }

    private sealed class Recorder(List<GlmProgress> seen) : IProgress<GlmProgress>
    {
        public void Report(GlmProgress value)
        {
            lock (seen)
                seen.Add(value);
        }
    }
}
