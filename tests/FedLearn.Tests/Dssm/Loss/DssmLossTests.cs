using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Dssm.Loss;

public sealed class DssmLossTests
{
    private static readonly double[] AllGammas = [0.5, 10, 1000];

    [Fact]
    public void Evaluate_RandomCases_AreSlowLossAndGradients() => Random(400, seed =>
    {
        var test = new LossCase(seed, gammas: AllGammas);
        SlowDssmLoss.Row[] rows = test.Rows();
        var gradients = new DssmGradients();
        double loss = test.Loss.Evaluate(test.Batch, gradients);
        double[] ones = [.. rows.Select(_ => 1.0)];
        Close(test, [rows.Sum(row => row.Loss)], [loss]);
        for (int v = 0; v < test.Names.Length; v++)
            Close(test, [.. rows.SelectMany(row => row.Views[v])], gradients.Views[v].AsSpan(0, test.Samples * test.Width));
        Close(test, LossCase.Sum(rows.Select(row => row.Items), ones), gradients.Items);
        Close(test, LossCase.Sum(rows.Select(row => row.Fusion), ones), gradients.Fusion);
    });

    [Fact]
    public void Rows_RandomCases_AreThoseOfExplicitBlocks() => Random(400, seed =>
    {
        var test = new LossCase(seed, gammas: AllGammas);
        SlowDssmLoss.Row[] rows = test.Rows();
        test.Loss.Evaluate(test.Batch, new DssmGradients(), keepRows: true);
        double[] norms = new double[test.Samples], fusionNorms = new double[test.Samples];
        double[] items = new double[test.Items * test.Width], fusion = new double[test.Loss.Fusion.Values.Length];
        test.Loss.ItemBlockNorms(norms);
        test.Loss.FusionRowNorms(fusionNorms);
        test.Loss.WeightedItemGradients(test.Weights, items);
        test.Loss.WeightedFusionGradients(test.Weights, fusion);
        for (int i = 0; i < test.Samples; i++)
        {
            // Never below the real norm by more than the rounding of the explicit block itself, whose P - 1 errs by 2^-53 or so.
            double block = rows[i].Items.Sum(g => g * g), gamma = test.Model.Gamma, rounding = 1e-11 * block + 1e-14 * gamma * Math.Sqrt(block) + 1e-24 * gamma * gamma;
            Assert.InRange(norms[i], block - rounding, block + 1e-10 * gamma * gamma);
            double slow = rows[i].Fusion.Sum(g => g * g);
            Assert.Equal(slow, fusionNorms[i], 1e-10 * (1 + slow));
        }

        Close(test, LossCase.Sum(rows.Select(row => row.Items), test.Weights), items);
        Close(test, LossCase.Sum(rows.Select(row => row.Fusion), test.Weights), fusion);
    });

    [Fact]
    public void Evaluate_RandomCases_AreFiniteDifferences() => Random(150, seed =>
    {
        var test = new LossCase(seed, smooth: true);
        var gradients = new DssmGradients();
        test.Loss.Evaluate(test.Batch, gradients);
        Check(test.Loss.Fusion.Values, [.. gradients.Fusion]);
        Check(test.Batch.Items, [.. gradients.Items]);
        for (int v = 0; v < test.Names.Length; v++)
            Check(test.Batch.Views[v], gradients.Views[v]);

        void Check(double[] values, double[] gradient)
        {
            // Step 1e-4 and one Richardson step: the error is of order h^4 times the fifth derivative, and 1e-15 |L| / h of rounding.
            var scratch = new DssmGradients();
            for (int j = 0; j < values.Length; j++)
            {
                double at = values[j];
                if (double.IsNaN(at))
                {
                    Assert.Equal(0, gradient[j]);
                    continue;
                }

                double Slope(double h)
                {
                    values[j] = at + h;
                    double above = test.Loss.Evaluate(test.Batch, scratch);
                    values[j] = at - h;
                    double below = test.Loss.Evaluate(test.Batch, scratch);
                    values[j] = at;
                    return (above - below) / (2 * h);
                }

                double slope = (4 * Slope(1e-4) - Slope(2e-4)) / 3;
                Assert.Equal(slope, gradient[j], 1e-8 * (1 + test.Samples * test.Model.Gamma));
            }
        }
    });

    [Fact]
    public void Score_RandomCases_AreFusedCosines() => Random(200, seed =>
    {
        var test = new LossCase(seed);
        double[] scores = new double[test.Samples * test.Items], weights = new double[test.Names.Length];
        test.Loss.Score(test.Batch.Views, test.Batch.Present, test.Batch.Items, test.Samples, scores);
        test.Loss.Fusion.GetViewWeights(weights);
        for (int i = 0; i < test.Samples; i++)
            for (int item = 0; item < test.Items; item++)
            {
                double expected = test.Model.ItemBias ? test.Loss.Fusion.ItemBias[item] / test.Model.Gamma : 0;
                int[] present = [.. Enumerable.Range(0, test.Names.Length).Where(v => test.Batch.Present[v]?[i] ?? true)];
                double[][] views = [.. test.Batch.Views.Select(view => view.AsSpan(i * test.Width, test.Width).ToArray())];
                if (test.Model.Fusion == DssmFusion.Late)
                    expected += present.Sum(v => weights[v] / Math.Max(present.Sum(p => weights[p]), 1e-12) * Cosine(views[v], Item(item)));
                else if (present.Length > 0)
                    expected += Cosine([.. Enumerable.Range(0, test.Width).Select(to => present.Sum(v => weights[v] * (test.Model.Fusion == DssmFusion.Sum ? views[v][to]
                        : Enumerable.Range(0, test.Width).Sum(from => views[v][from] * test.Loss.Fusion.Matrix[(v * test.Width + from) * test.Width + to]))))], Item(item));
                Assert.Equal(expected, scores[i * test.Items + item], 1e-13 * 10);
            }

        double[] Item(int item) => test.Batch.Items.AsSpan(item * test.Width, test.Width).ToArray();
        static double Cosine(double[] x, double[] y) => x.Zip(y, (a, b) => a * b).Sum() / Math.Sqrt((x.Sum(a => a * a) + 1e-6) * (y.Sum(b => b * b) + 1e-6));
    });

    [Fact]
    public void ScoreEach_ItemsThatWereTakenInOnce_IsScoreToTheBit() => Random(200, seed =>
    {
        var test = new LossCase(seed);
        var random = new Random(seed);
        DssmBatch batch = test.Batch;
        double[] all = new double[test.Samples * test.Items], again = new double[all.Length];
        test.Loss.Score(batch.Views, batch.Present, batch.Items, test.Samples, all);
        test.Loss.TakeItems(batch.Items);
        int[] items = [.. Enumerable.Range(0, test.Samples * 3).Select(_ => random.Next(test.Items))], ends = [.. Enumerable.Range(1, test.Samples).Select(i => Math.Min(items.Length, i * random.Next(2, 4)))];
        Array.Sort(ends);
        double[] some = new double[items.Length];
        for (int times = 0; times < 2; times++)
        {
            test.Loss.ScoreEach(batch.Views, batch.Present, ends, items.AsSpan(0, ends[^1]), some.AsSpan(0, ends[^1]));
            for (int i = 0, c = 0; i < ends.Length; i++)
                for (; c < ends[i]; c++)
                    Assert.Equal(BitConverter.DoubleToInt64Bits(all[i * test.Items + items[c]]), BitConverter.DoubleToInt64Bits(some[c]));
            test.Loss.ScoreAll(batch.Views, batch.Present, test.Samples, again);
            Assert.Equal(all, again);
        }

        test.Loss.Evaluate(batch, new DssmGradients());
        Assert.Throws<InvalidOperationException>(() => test.Loss.ScoreEach(batch.Views, batch.Present, ends, items, some));
        Assert.Throws<InvalidOperationException>(() => test.Loss.ScoreAll(batch.Views, batch.Present, test.Samples, again));
    });

    [Fact]
    public void Evaluate_TwiceAndInOtherBatchSizes_IsTheSameBits() => Random(60, seed =>
    {
        LossCase test = new(seed), other = new(seed);
        DssmGradients fresh = new(), used = new();
        double loss = test.Loss.Evaluate(test.Batch, fresh);
        DssmBatch first = other.Batch with { Targets = [other.Batch.Targets[0]] };
        other.Loss.Evaluate(other.Batch, used, keepRows: true);
        other.Loss.Evaluate(first, used);
        Assert.Equal(loss, other.Loss.Evaluate(other.Batch, used));
        Assert.Equal(fresh.Items, used.Items);
        Assert.Equal(fresh.Fusion, used.Fusion);
        for (int v = 0; v < test.Names.Length; v++)
            Assert.Equal(fresh.Views[v], used.Views[v]);
    });

    [Fact]
    public void WeightedGradients_WeightsOfOne_AreTheSums() => Random(60, seed =>
    {
        var test = new LossCase(seed);
        var gradients = new DssmGradients();
        test.Loss.Evaluate(test.Batch, gradients, keepRows: true);
        double[] items = new double[test.Items * test.Width];
        test.Loss.WeightedItemGradients([.. Enumerable.Repeat(1.0, test.Samples)], items);
        Assert.Equal(gradients.Items, items);
    });

    [Fact]
    public void Evaluate_ItemsOfTheBatchAlone_IsTheSameToTheBit() => Random(300, seed =>
    {
        LossCase test = new(seed), other = new(seed);
        if (test.Model.Loss == DssmLossKind.Full)
            return;
        var (whole, part) = (new DssmGradients(), new DssmGradients());
        DssmBatch Part(DssmBatch batch)
        {
            int[] rows = [.. batch.Targets.Concat(batch.Negatives).Distinct().Order()];
            return batch with { ItemRows = rows, Items = [.. batch.Items.Select((value, i) => rows.Contains(i / test.Width) ? value : double.NaN)] };
        }

        // Another batch after it, since gradients are used again; then all items, then fewer.
        foreach (DssmBatch batch in new[] { test.Batch, test.Batch with { Targets = [test.Batch.Targets[^1]] } })
        {
            Assert.Equal(test.Loss.Evaluate(batch, whole, keepRows: true), other.Loss.Evaluate(Part(batch), part, keepRows: true));
            AssertSame();
        }

        other.Loss.Evaluate(test.Batch, part);
        Assert.Equal(test.Loss.Evaluate(test.Batch, whole, keepRows: true), other.Loss.Evaluate(Part(test.Batch), part, keepRows: true));
        AssertSame();

        void AssertSame()
        {
            Assert.Equal(Bits(whole.Items), Bits(part.Items));
            Assert.Equal(Bits(whole.Fusion), Bits(part.Fusion));
            Assert.Equal(whole.Views.Select(Bits), part.Views.Select(Bits));
            double[] weights = test.Weights[..whole.Samples], expected = new double[test.Items * test.Width], actual = new double[test.Items * test.Width];
            test.Loss.WeightedItemGradients(weights, expected);
            other.Loss.WeightedItemGradients(weights, actual);
            Assert.Equal(Bits(expected), Bits(actual));
        }

        static long[] Bits(double[] values) => [.. values.Select(BitConverter.DoubleToInt64Bits)];
    });

    [Theory]
    [InlineData(DssmLossKind.Sampled)]
    [InlineData(DssmLossKind.InBatch)]
    [InlineData(DssmLossKind.Full)]
    public void Evaluate_BatchLargerThanBlocks_IsSlowLoss(DssmLossKind kind)
    {
        int b = 300, k = 24, n = 70;
        var random = new Random(3);
        double[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => 2 * random.NextDouble() - 1)];
        var model = new DssmModelOptions { Loss = kind, Fusion = DssmFusion.Late, Negatives = 3, ItemBias = true };
        var loss = new DssmLoss(model, k, ["a", "b"], n);
        Numbers(n).CopyTo(loss.Fusion.ItemBias);
        var batch = new DssmBatch
        {
            Views = [Numbers(b * k), Numbers(b * k)],
            Present = [null, [.. Enumerable.Range(0, b).Select(i => i % 3 > 0)]],
            Items = Numbers(n * k),
            Targets = [.. Enumerable.Range(0, b).Select(_ => random.Next(n))],
            Negatives = [.. Enumerable.Range(0, 3 * b).Select(_ => random.Next(n))],
        };
        var gradients = new DssmGradients();
        double sum = loss.Evaluate(batch, gradients, keepRows: true);
        double[] norms = new double[b], weighted = new double[n * k], weights = [.. Enumerable.Range(0, b).Select(i => i % 5 / 4.0)];
        loss.ItemBlockNorms(norms);
        loss.WeightedItemGradients(weights, weighted);
        var slow = new SlowDssmLoss(model, k, ["a", "b"], n, null, null, loss.Fusion.Values);
        SlowDssmLoss.Row[] rows = [.. Enumerable.Range(0, b).Select(i => slow.Sample(batch, i))];
        Assert.Equal(rows.Sum(row => row.Loss), sum, 1e-9);
        for (int i = 0; i < b; i++)
        {
            Assert.Equal(rows[i].Items.Sum(g => g * g), norms[i], 1e-10 * (1 + norms[i]));
            for (int j = 0; j < k; j++)
                Assert.Equal(rows[i].Views[1][j], gradients.Views[1][i * k + j], 1e-11);
        }

        double[] items = LossCase.Sum(rows.Select(row => row.Items), weights), fusion = LossCase.Sum(rows.Select(row => row.Fusion), weights.Select(_ => 1.0));
        for (int j = 0; j < n * k; j++)
            Assert.Equal(items[j], weighted[j], 1e-10);
        for (int j = 0; j < n; j++)
            Assert.Equal(fusion[j], gradients.Fusion[j], 1e-10);
    }

    [Theory]
    [InlineData(DssmFusion.Late)]
    [InlineData(DssmFusion.Sum)]
    [InlineData(DssmFusion.Concat)]
    public void Evaluate_SampleWithoutViews_HasNoLossAndNoGradient(DssmFusion fusion)
    {
        var model = new DssmModelOptions { Fusion = fusion, Negatives = 1, ItemBias = true, LearnViewWeights = true };
        var loss = new DssmLoss(model, 2, ["a", "b"], 3);
        var gradients = new DssmGradients();
        bool[] absent = [false];
        var batch = new DssmBatch { Views = [[1, 2], [double.NaN, 4]], Present = [absent, absent], Items = [1, 0, 0, 1, 1, 1], Targets = [0], Negatives = [1] };
        Assert.Equal(0, loss.Evaluate(batch, gradients, keepRows: true));
        double[] norms = [1];
        loss.ItemBlockNorms(norms);
        Assert.Equal([0.0], norms);
        Assert.All([.. gradients.Items, .. gradients.Fusion, .. gradients.Views[0], .. gradients.Views[1]], g => Assert.Equal(0, g));
    }

    [Fact]
    public void Evaluate_AllNegativesAreThePositive_HasNoLoss()
    {
        var loss = new DssmLoss(new DssmModelOptions { Negatives = 2 }, 2, ["a"], 2);
        var gradients = new DssmGradients();
        var batch = new DssmBatch { Views = [[1, -2]], Present = [null], Items = [1, 0, 0, 1], Targets = [1], Negatives = [1, 1] };
        Assert.Equal(0, loss.Evaluate(batch, gradients));
        Assert.All([.. gradients.Items, .. gradients.Views[0]], g => Assert.Equal(0, g));
    }

    [Fact]
    public void Evaluate_EqualNegatives_BlockCountsTheItemOnce()
    {
        // The rows of an item drawn twice add up, so the real norm is above that of the rows side by side.
        var loss = new DssmLoss(new DssmModelOptions { Negatives = 2 }, 2, ["a"], 2);
        var gradients = new DssmGradients();
        var batch = new DssmBatch { Views = [[1, -2]], Present = [null], Items = [1, 0, 0, 1], Targets = [1], Negatives = [0, 0] };
        loss.Evaluate(batch, gradients, keepRows: true);
        double[] norms = new double[1];
        loss.ItemBlockNorms(norms);
        Assert.Equal(gradients.Items.Sum(g => g * g), norms[0], 1e-10);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1e-200)]
    [InlineData(1e200)]
    public void Evaluate_ExtremeVectors_IsFinite(double size)
    {
        foreach (DssmLossKind kind in Enum.GetValues<DssmLossKind>())
        {
            var model = new DssmModelOptions { Loss = kind, Negatives = 1, Gamma = 1000 };
            var loss = new DssmLoss(model, 3, ["a"], 3, [-1, -1, -1]);
            var gradients = new DssmGradients();
            var batch = new DssmBatch { Views = [[size, size, -size, 1, 0, 1]], Present = [null], Items = [size, 0, 0, 1, 1, 1, 0, 0, 0], Targets = [0, 2], Negatives = [1, 1] };
            double value = loss.Evaluate(batch, gradients, keepRows: true);
            double[] scores = new double[6], norms = new double[2];
            loss.ItemBlockNorms(norms);
            loss.Score(batch.Views, batch.Present, batch.Items, 2, scores);
            Assert.All([value, .. gradients.Items, .. gradients.Views[0], .. scores, .. norms], x => Assert.True(double.IsFinite(x)));
            Assert.All(scores, score => Assert.InRange(score, -1 - 1e-12, 1 + 1e-12));
        }
    }

    [Fact]
    public void Evaluate_SurePositive_LossKeepsItsDigits()
    {
        // gamma 40 and opposite vectors: the loss is exp(-80 (1 - 1e-6 ...)), far below the rounding of 1.
        var loss = new DssmLoss(new DssmModelOptions { Negatives = 1, Gamma = 40 }, 1, ["a"], 2);
        var gradients = new DssmGradients();
        double value = loss.Evaluate(new DssmBatch { Views = [[1]], Present = [null], Items = [1, -1], Targets = [0], Negatives = [1] }, gradients);
        double cosine = 1 / (1 + 1e-6);
        Assert.Equal(1, value / Math.Exp(-80 * cosine), 1e-12);
    }

    [Fact]
    public void Evaluate_NoSamples_IsZero()
    {
        foreach (DssmLossKind kind in Enum.GetValues<DssmLossKind>())
            foreach (DssmFusion fusion in Enum.GetValues<DssmFusion>())
            {
                var loss = new DssmLoss(new DssmModelOptions { Loss = kind, Fusion = fusion, ItemBias = true }, 2, ["a"], 2, [-1, -1]);
                var gradients = new DssmGradients();
                Assert.Equal(0, loss.Evaluate(new DssmBatch { Views = [[]], Present = [null], Items = [1, 2, 3, 4], Targets = [] }, gradients, keepRows: true));
                Assert.All([.. gradients.Items, .. gradients.Fusion], g => Assert.Equal(0, g));
            }
    }

    [Fact]
    public void Fusion_Concat_StartsAsMeanOfViews()
    {
        DssmModelOptions concat = new() { Fusion = DssmFusion.Concat }, sum = new();
        double[] views = [0.3, -0.4], more = [0.5, 0.1], items = [1, 0, 0.2, 0.9], a = new double[2], b = new double[2];
        new DssmLoss(concat, 2, ["a", "b"], 2).Score([views, more], [null, null], items, 1, a);
        new DssmLoss(sum with { ViewWeights = new Dictionary<string, double> { ["a"] = 0.5, ["b"] = 0.5 } }, 2, ["a", "b"], 2).Score([views, more], [null, null], items, 1, b);
        Assert.Equal(b, a);
    }

    [Theory]
    [InlineData(DssmFusion.Late)]
    [InlineData(DssmFusion.Sum)]
    public void Fusion_LearnedWeightsAtTheirStart_AreTheFixedOnes(DssmFusion fusion)
    {
        var model = new DssmModelOptions { Fusion = fusion, Negatives = 1, ViewWeights = new Dictionary<string, double> { ["b"] = 0.25 } };
        var batch = new DssmBatch { Views = [[1, 2], [3, -4]], Present = [null, null], Items = [1, 0, 0, 1, 1, 1], Targets = [0], Negatives = [1] };
        double held = new DssmLoss(model, 2, ["a", "b"], 3).Evaluate(batch, new DssmGradients());
        Assert.Equal(held, new DssmLoss(model with { LearnViewWeights = true }, 2, ["a", "b"], 3).Evaluate(batch, new DssmGradients()));
    }

    [Fact]
    public void Fusion_AllLearnedWeightsZero_IsFinite()
    {
        foreach (DssmFusion fusion in Enum.GetValues<DssmFusion>())
        {
            var loss = new DssmLoss(new DssmModelOptions { Fusion = fusion, Negatives = 1, LearnViewWeights = true }, 2, ["a", "b"], 2);
            loss.Fusion.WeightRoots.Clear();
            var gradients = new DssmGradients();
            double value = loss.Evaluate(new DssmBatch { Views = [[1, 2], [3, 4]], Present = [null, null], Items = [1, 0, 0, 1], Targets = [0], Negatives = [1] }, gradients);
            Assert.All([value, .. gradients.Items, .. gradients.Fusion], x => Assert.True(double.IsFinite(x)));
        }
    }

    [Fact]
    public void Evaluate_Full_ColdItemsAreNoCandidates()
    {
        var loss = new DssmLoss(new DssmModelOptions { Loss = DssmLossKind.Full }, 1, ["a"], 3, null, [true, true, false]);
        var gradients = new DssmGradients();
        var batch = new DssmBatch { Views = [[1]], Present = [null], Items = [0.1, 0.2, 0.3], Targets = [0] };
        loss.Evaluate(batch, gradients);
        Assert.Equal(0, gradients.Items[2]);
        Assert.Throws<ArgumentException>(() => loss.Evaluate(batch with { Targets = [2] }, gradients));
    }

    [Fact]
    public void Evaluate_SecondBatch_AllocatesNothing()
    {
        foreach (DssmLossKind kind in Enum.GetValues<DssmLossKind>())
        {
            var loss = new DssmLoss(new DssmModelOptions { Loss = kind, Negatives = 1, ItemBias = true }, 8, ["a"], 4, [-1, -1, -1, -1]);
            var gradients = new DssmGradients();
            var batch = new DssmBatch { Views = [[.. Enumerable.Range(0, 16).Select(i => (double)i)]], Present = [null], Items = new double[32], Targets = [0, 3], Negatives = [1, 2] };
            loss.Evaluate(batch, gradients, keepRows: true);
            loss.Evaluate(batch, gradients, keepRows: true);
            long before = GC.GetAllocatedBytesForCurrentThread();
            loss.Evaluate(batch, gradients, keepRows: true);
            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }
    }

    public static TheoryData<string, DssmModelOptions> BadModels => new()
    {
        { DssmLossErrors.InvalidModel, new DssmModelOptions { Gamma = double.NaN } },
        { DssmLossErrors.InvalidModel, new DssmModelOptions { Gamma = 0 } },
        { DssmLossErrors.InvalidModel, new DssmModelOptions { Negatives = 0 } },
        { DssmLossErrors.InvalidModel, new DssmModelOptions { ViewWeights = new Dictionary<string, double> { ["a"] = -1 } } },
        { DssmLossErrors.InvalidModel, new DssmModelOptions { ViewWeights = new Dictionary<string, double> { ["a"] = 1e308 } } },
        { DssmLossErrors.InvalidModel, new DssmModelOptions { ViewWeights = new Dictionary<string, double> { ["z"] = 1 } } },
        { DssmLossErrors.InvalidItemShares, new DssmModelOptions { Loss = DssmLossKind.InBatchLogQ } },
    };

    [Theory]
    [MemberData(nameof(BadModels))]
    public void Constructor_BadModel_IsRefused(string id, DssmModelOptions model) =>
        Assert.Equal(id, Assert.Throws<ConfigurationException>(() => new DssmLoss(model, 2, ["a"], 3)).Id);

    [Fact]
    public void Rows_NotKept_AreRefused()
    {
        var loss = new DssmLoss(new DssmModelOptions { Negatives = 1 }, 1, ["a"], 2);
        loss.Evaluate(new DssmBatch { Views = [[1]], Present = [null], Items = [1, 2], Targets = [0], Negatives = [1] }, new DssmGradients());
        Assert.Throws<InvalidOperationException>(() => loss.ItemBlockNorms(new double[1]));
    }

    private static void Random(int count, Action<int> check) =>
        FsCheck.Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(count)), Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), check));

    // Logits err by about gamma k 2^-53, and so do probabilities, relatively; gradients are gamma times those.
    private static void Close(LossCase test, double[] expected, ReadOnlySpan<double> actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        double scale = 1e-13 * (1 + test.Model.Gamma) * Math.Max(test.Model.Gamma, expected.Select(Math.Abs).DefaultIfEmpty().Max());
        for (int j = 0; j < expected.Length; j++)
            Assert.Equal(expected[j], actual[j], scale);
    }
}
