using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Tests.Glm.OneRound;

/// <summary>Several classes, sample weights and offsets in the modes one-round and label-dp.</summary>
public class OneRoundClassesTests
{
    private static VerticalData Data(int seed, int classes, int rows = 240) => VerticalData.Random(seed, "poisson", rows, 2, 2).WithLabels(y => Math.Min(classes - 1, y));

    private static GlmJob Job(VerticalData data, IGlmFamily family, PrivacyMode mode = PrivacyMode.OneRound, long? seed = 3)
    {
        GlmJob job = data.Job("gaussian", new GlmTrainingOptions { Epochs = mode == PrivacyMode.OneRound ? null : 3, BatchesPerEpoch = 2, StepSize = 1, Seed = 5 });
        return job with
        {
            Model = job.Model with { Family = family },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Normalize, Constant = true },
            Privacy = new() { Mode = mode, Budget = new(4, 1e-3), TestNoiseSeed = seed },
            Split = new SplitRule.ByHash(4, [0]),
        };
    }

    private static GlmPartyInput[] Weighted(GlmPartyInput[] inputs, Func<int, double>? weight, Func<int, double>? offset)
    {
        Table own = inputs[0].Table;
        int[] rows = [.. Enumerable.Range(0, own.Ids.Count)];
        return [inputs[0] with
        {
            Table = Table.FromMatrix(own.Ids, own.Schema.FeatureNames, own.Values, own.Labels, weights: weight is null ? null : [.. rows.Select(weight)],
                offsets: offset is null ? null : [.. rows.Select(offset)]),
        }, .. inputs.Skip(1)];
    }

    private static async Task<IReadOnlyList<GlmPartyResult>> TrainAsync(GlmJob job, GlmPartyInput[] inputs) =>
        await LocalFederation.TrainAsync(job, inputs, cancellationToken: TestContext.Current.CancellationToken);

    /// <summary>One message holds all classes; without its noise every row is within the cube and the ball that the sensitivity counts on.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task Train_Classes_SendsRowsWithinTheBall(int classes)
    {
        VerticalData data = Data(1, classes);
        // All bits of the noise, so that the scores under it can be told from 0.
        GlmJob job = Job(data, GlmFamilies.Multinomial(classes));
        job = job with { Training = job.Training with { LatticeBits = GaussianMechanism.MostLatticeBits } };
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(job, data.Inputs());
        SentMessage labels = Assert.Single(session.Sent, m => m.Name == "randomised labels"), scores = Assert.Single(session.Sent, m => m.Name == "training scores");
        int n = results[0].TrainRows;
        Assert.Equal((Protection.RandomizedResponse, n), (labels.Protection, labels.Payload.Length));
        Assert.Equal((Protection.Noise, n * classes), (scores.Protection, scores.Payload.Length));
        SentMessage test = Assert.Single(session.Sent, m => m.Name.StartsWith("evaluation", StringComparison.Ordinal));
        Assert.Equal(results[0].TestRows * classes, test.Payload.Length);
        Assert.Equal(3 * classes, results[1].Model.Weights.Count);

        OneRoundCalibration calibration = results[1].Privacy.OneRound!.Calibration!;
        Assert.Equal(classes, calibration.Parameters.Columns.Count);
        int[] noise = new int[n * classes];
        new TestNoise(3, "p1").Fill(noise);
        double step = calibration.ScoreNoise.Sigma / INoiseSource.LatticeScale;
        double[] s = [.. ((Scores)scores.Payload).Values.ToArray().Select((v, i) => v - step * noise[i])];
        Assert.All(s, v => Assert.InRange(Math.Abs(v), 0, calibration.Parameters.ScoreClip + step));
        for (int i = 0; i < n; i++)
            Assert.InRange(Math.Sqrt(Enumerable.Range(0, classes).Sum(m => s[m * n + i] * s[m * n + i])), 0, calibration.Parameters.Ball + step * classes);
        Assert.Contains(s, v => Math.Abs(v) > 10 * step);
    }

    /// <summary>Five or more scores at the clip are longer together than the ball. What leaves, less its noise, is clip and projection of the model's own scores.</summary>
    [Theory]
    [InlineData(6)]
    [InlineData(9)]
    public async Task Train_ScoresBeyondTheClip_AreClippedAndProjected(int classes)
    {
        var random = new Random(5); // labels of which each class has its share
        VerticalData data = VerticalData.Random(1, "poisson", 240, 2, 2).WithLabels(_ => random.Next(classes));
        GlmJob job = Job(data, GlmFamilies.Multinomial(classes)) with { Split = SplitRule.None };
        job = job with { Training = job.Training with { LatticeBits = GaussianMechanism.MostLatticeBits }, Privacy = job.Privacy with { OneRound = new() { ScoreClip = 0.02, Alpha = 50 } } };
        GlmPartyInput[] inputs = data.Inputs();
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(job, inputs);
        OneRoundCalibration calibration = results[1].Privacy.OneRound!.Calibration!;
        (double clip, double ball) = (calibration.Parameters.ScoreClip, calibration.Parameters.Ball);
        Assert.Equal((0.02, 0.04), (clip, ball));

        int[] rows = [.. RowIds.Order(inputs[1].Table.Ids, 5).Rows];
        int n = rows.Length, clipped = 0, projected = 0;
        double[] exact = results[1].Model.Score(inputs[1].Table, rows), sent = ((Scores)Assert.Single(session.Sent, m => m.Name == "training scores").Payload).Values.ToArray();
        int[] noise = new int[sent.Length];
        new TestNoise(3, "p1").Fill(noise);
        double step = calibration.ScoreNoise.Sigma / INoiseSource.LatticeScale;
        for (int i = 0; i < n; i++)
        {
            double[] row = [.. Enumerable.Range(0, classes).Select(m => Math.Clamp(exact[m * n + i], -clip, clip))];
            double length = Math.Sqrt(row.Sum(s => s * s));
            clipped += Enumerable.Range(0, classes).Count(m => Math.Abs(exact[m * n + i]) > clip);
            projected += length > ball ? 1 : 0;
            for (int m = 0; m < classes; m++)
                Assert.Equal(row[m] * Math.Min(1, ball / length), sent[m * n + i] - step * noise[m * n + i], step);
        }

        Assert.InRange(clipped, n, int.MaxValue);
        Assert.InRange(projected, 10, n);
    }

    /// <summary>A label of M classes becomes another one with probability (M - 1)/(M - 1 + e^epsilon), M - 1 times that of each.</summary>
    [Theory]
    [InlineData(2, 4.99, PrivacyMode.OneRound, null)]
    [InlineData(2, 5, PrivacyMode.OneRound, "a label is flipped with probability 0.0067 only")]
    [InlineData(4, 5, PrivacyMode.OneRound, null)]
    [InlineData(4, 5, PrivacyMode.LabelDp, null)]
    [InlineData(4, 6.2, PrivacyMode.OneRound, "a label is changed with probability 0.0061 only")]
    [InlineData(4, 6.2, PrivacyMode.LabelDp, "a label is changed with probability 0.0061 only")]
    [InlineData(200, 5, PrivacyMode.LabelDp, null)]
    public async Task Train_ClaimOfClasses_GivesTheProbabilityOfAnyOtherClass(int classes, double epsilon, PrivacyMode mode, string? nearlyPlain)
    {
        VerticalData data = Data(6, classes, rows: 60);
        GlmJob job = Job(data, GlmFamilies.Multinomial(classes), mode, seed: null);
        var ledger = new InMemoryLedger();
        GlmPartyInput[] inputs = data.Inputs();
        inputs[0] = inputs[0] with { Ledger = ledger };
        IReadOnlyList<GlmPartyResult> results = await TrainAsync(job with { Privacy = job.Privacy with { Budget = new(epsilon, 1e-3) } }, inputs);
        double flip = (classes - 1) / (classes - 1 + Math.Exp(epsilon));
        Assert.Equal(flip, results[0].Privacy.OneRound!.FlipProbability!.Value, 1e-12);
        if (mode == PrivacyMode.OneRound)
            Assert.Equal(flip, results[1].Privacy.OneRound!.FlipProbability!.Value, 1e-12);
        string claim = Assert.Single(results[0].Privacy.Claims);
        Assert.Equal(nearlyPlain is not null, claim.Contains("nearly the plain label", StringComparison.Ordinal));
        Assert.Contains(nearlyPlain ?? "-differentially private", claim, StringComparison.Ordinal);
        // The ledger's words are those of every release: a run that was cut off finds its charge by them.
        Assert.Equal(flip / (classes - 1), (double)System.Text.Json.Nodes.JsonNode.Parse(Assert.Single(ledger.Entries).Charge.Parameters)!["flipProbability"]!, 1e-12);
    }

    [Fact]
    public async Task Train_OtherNumberOfClasses_DrawsAnewAndIsCharged()
    {
        VerticalData data = Data(2, 3);
        var ledger = new InMemoryLedger();
        GlmPartyInput[] inputs = data.Inputs();
        inputs[0] = inputs[0] with { Ledger = ledger };
        var reused = new List<bool>();
        foreach (int classes in (int[])[3, 4, 3, 4])
            reused.Add((await TrainAsync(Job(data, GlmFamilies.Multinomial(classes), seed: null), inputs))[0].Privacy.OneRound!.LabelsReused!.Value);
        Assert.Equal([false, false, true, true], reused);
        Assert.Equal([4.0, 4], ledger.Entries.Select(e => e.Charge.PureEpsilon));
    }

    /// <summary>Weights, class weights and offsets enter the active party's own fit and nothing that leaves it.</summary>
    [Theory]
    [InlineData("binomial")]
    [InlineData("multinomial")]
    public async Task Train_WeightsAndOffsets_ChangeNoMessage(string name)
    {
        bool several = name == "multinomial";
        VerticalData data = Data(3, several ? 3 : 2);
        GlmJob job = Job(data, several ? GlmFamilies.Multinomial(3) : GlmFamilies.Binomial), weighted = job with { Training = job.Training with { ClassWeights = GlmClassWeights.Balanced } };
        (RecordedSession plain, GlmPartyResult[] a) = await RecordedSession.TrainAsync(job, data.Inputs());
        (RecordedSession other, GlmPartyResult[] b) = await RecordedSession.TrainAsync(weighted, Weighted(data.Inputs(), i => i % 3, several ? null : i => i % 5 - 2));
        byte[][] of = [.. Own(plain)], with = [.. Own(other)];
        Assert.Equal(of.Length, with.Length);
        Assert.All(of.Zip(with), pair => Assert.Equal(pair.First, pair.Second));
        Assert.NotEqual(a[0].Model.WeightsSha256, b[0].Model.WeightsSha256);
        Assert.Equal(a[1].Model.WeightsSha256, b[1].Model.WeightsSha256);

        static IEnumerable<byte[]> Own(RecordedSession session) => session.Sent.Where(m => m is { From: "active", Payload: RandomizedLabels or RowSelection }).Select(m =>
            m.Payload is RandomizedLabels labels ? labels.Classes.ToArray() : ((RowSelection)m.Payload).Selected.ToArray());
    }

    [Fact]
    public async Task Train_Claims_NameWeightsAndOffsetsWhereThereAreSome()
    {
        VerticalData data = Data(4, 2);
        GlmPartyInput[] weighted = Weighted(data.Inputs(), i => i % 3, i => i % 5 - 2);
        GlmJob one = Job(data, GlmFamilies.Binomial, seed: null);
        const string Record = "replacing one row of its table, features, label, sample weight and offset,";
        Assert.Contains(Record, Assert.Single((await TrainAsync(one, weighted))[0].Privacy.Claims), StringComparison.Ordinal);
        Assert.DoesNotContain("sample weight", Assert.Single((await TrainAsync(one, data.Inputs()))[0].Privacy.Claims), StringComparison.Ordinal);

        GlmPrivacyStatement labels = (await TrainAsync(Job(data, GlmFamilies.Binomial, PrivacyMode.LabelDp, seed: null), weighted))[0].Privacy;
        Assert.Contains(labels.Warnings, w => w.StartsWith("sample weights and offsets are unprotected too", StringComparison.Ordinal));

        GlmJob noisy = Job(data, GlmFamilies.Binomial, PrivacyMode.HdpVfl, seed: null);
        noisy = noisy with { Training = noisy.Training with { WeightNorm = 1, ResidualClip = 1, SampleWeightBound = 1, OffsetBound = 2 } };
        IReadOnlyList<GlmPartyResult> results = await TrainAsync(noisy, weighted);
        Assert.Contains(Record, Assert.Single(results[0].Privacy.Claims), StringComparison.Ordinal);
        Assert.Contains("replacing one row of its table, against", Assert.Single(results[1].Privacy.Claims), StringComparison.Ordinal);
        results = await TrainAsync(noisy with { Privacy = noisy.Privacy with { Unit = PrivacyUnit.Label } }, weighted);
        Assert.Contains("the features of every party, sample weights and offsets being unprotected", Assert.Single(results[0].Privacy.Claims), StringComparison.Ordinal);
    }

    [Fact]
    public void Job_WhatTheModesDoNotProve_IsRefused()
    {
        VerticalData data = Data(5, 3, rows: 20);
        IGlmFamily three = GlmFamilies.Multinomial(3);
        void Refused(string id, GlmJob job) => Assert.Equal(id, Assert.ThrowsAny<FedLearnException>(() => new GlmTrainer(job, data.Inputs()[0])).Id);
        foreach (PrivacyMode mode in (PrivacyMode[])[PrivacyMode.HdpVfl, PrivacyMode.OneRound, PrivacyMode.LabelDp])
            Refused(GlmErrors.ClassesNotDeclared, Job(data, GlmFamilies.Multinomial(), mode));
        GlmJob one = Job(data, three), labels = Job(data, three, PrivacyMode.LabelDp), noisy = Job(data, three, PrivacyMode.HdpVfl);
        noisy = noisy with { Training = noisy.Training with { WeightNorm = 1, ResidualClip = 1, SampleWeightBound = 1 } };
        Refused(GlmErrors.L1NotPrivate, one with { Model = one.Model with { L1 = 0.1 } });
        Refused(GlmOneRoundErrors.InvalidSetting, one with { Privacy = one.Privacy with { OneRound = new() { LabelRate = 0.5 } } }); // of which class?
        GlmClassWeights declared = new GlmClassWeights.Declared([1, 2, 3]);
        Refused(GlmErrors.ClassWeightsNotPrivate, labels with { Training = labels.Training with { ClassWeights = declared } });
        Refused(GlmErrors.ClassWeightsNotPrivate, noisy with { Training = noisy.Training with { ClassWeights = GlmClassWeights.Balanced } });
        Refused(GlmErrors.ClassWeightsNotPrivate, noisy with { Training = noisy.Training with { ClassWeights = declared }, Privacy = noisy.Privacy with { Unit = PrivacyUnit.Label } });
        Refused(GlmErrors.WeightBoundMissing, noisy with { Training = noisy.Training with { ClassWeights = declared, SampleWeightBound = null } });
        _ = new GlmTrainer(noisy with { Training = noisy.Training with { ClassWeights = declared } }, data.Inputs()[0]);
        _ = new GlmTrainer(one with { Training = one.Training with { ClassWeights = GlmClassWeights.Balanced } }, data.Inputs()[0]);
    }

    /// <summary>The first batch: own scores and the host's are 0, so a residual is 1/M less the debiased indicator, for two classes as for more.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public async Task LabelDp_Classes_SendsResidualsOfDebiasedIndicators(int classes)
    {
        VerticalData data = Data(6, classes);
        (RecordedSession session, _) = await RecordedSession.TrainAsync(Job(data, GlmFamilies.Multinomial(classes), PrivacyMode.LabelDp), data.Inputs());
        var response = new RandomizedResponse(4, classes);
        double[] first = ((Residuals)session.Sent.First(m => m.Payload is Residuals).Payload).Values.ToArray();
        int b = first.Length / classes;
        for (int i = 0; i < b; i++)
        {
            double[] row = [.. Enumerable.Range(0, classes).Select(m => first[m * b + i])];
            Assert.Single(row, r => Math.Abs(r - (1.0 / classes - response.Debias(true))) < 1e-12);
            Assert.Equal(classes - 1, row.Count(r => Math.Abs(r - (1.0 / classes - response.Debias(false))) < 1e-12));
        }
    }

    /// <summary>Mean over all that the randomised response may make of a label, each with its probability: the loss and the residuals of the true one.</summary>
    [Theory]
    [InlineData(2, .5)]
    [InlineData(3, 1)]
    [InlineData(4, .1)]
    [InlineData(7, 3)]
    public void DebiasedClasses_MeanOverTheResponse_IsThatOfTheTrueLabel(int classes, double epsilon)
    {
        var random = new Random(classes);
        IGlmFamily family = GlmFamilies.Multinomial(classes);
        var response = new RandomizedResponse(epsilon, classes);
        var debiased = new DebiasedClasses(family, response);
        Assert.Equal(1, response.KeepProbability + (classes - 1) * response.OtherProbability, 1e-15);
        Assert.Equal(1 - response.KeepProbability, response.FlipProbability, 1e-15);
        for (int label = 0; label < classes; label++)
        {
            double[] z = [.. Enumerable.Range(0, classes).Select(_ => 6 * random.NextDouble() - 3)], mean = new double[classes], r = new double[classes];
            double loss = 0;
            for (int released = 0; released < classes; released++)
            {
                double probability = released == label ? response.KeepProbability : response.OtherProbability;
                loss += probability * debiased.LossSum(z, [released]);
                debiased.Residuals(z, [released], r);
                for (int m = 0; m < classes; m++)
                    mean[m] += probability * r[m];
            }

            double tolerance = 1e-13 / response.Gap;
            Assert.Equal(family.LossSum(z, [label]), loss, tolerance);
            family.Residuals(z, [label], r);
            VerticalData.AssertClose(r, mean, tolerance);
        }
    }
}
