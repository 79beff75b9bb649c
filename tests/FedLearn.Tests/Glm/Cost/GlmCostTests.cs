using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;

namespace FedLearn.Tests.Glm.Cost;

public sealed class GlmCostTests
{
    private const int Rows = 100_000, Batch = 5_000, Epochs = 4, Rounds = Epochs * (Rows / Batch);

    private static readonly GlmCostSizes Sizes = new() { TrainRows = Rows, Columns = [10, 40, 40] };

    private static readonly GlmPassRates Free = new(0, 0, 0, 0);

    /// <summary>Nothing costs anything, so that a test can say what does.</summary>
    private static readonly GlmCostRates Nothing = GlmCostRates.Reference with
    {
        Cores = 2,
        Scores = new(Free, Free),
        Gradient = new(Free, Free),
        SecondsPerResidual = 0,
        SecondsPerLoss = 0,
        SecondsPerDraw = 0,
        SecondsPerNoisedRow = 0,
        SecondsPerUnpackedRow = 0,
        SecondsPerSync = 0,
        SecondsPerSyncedByte = 0,
        SecondsPerMessage = 0,
        ProcessorSecondsPerMessage = 0,
        SecondsPerMessageByte = 0,
        SecondsPerRound = 0,
        SecondsPerNoisyRound = 0,
    };

    private static GlmJob Job(PrivacyMode mode, int parties = 3) => new()
    {
        Name = "cost",
        Model = new() { Family = GlmFamilies.Binomial },
        Training = new() { Epochs = Epochs, BatchSize = Batch, WeightNorm = 1, ResidualClip = 1, Optimizer = GlmOptimizer.Sgd, CheckpointRounds = 0 },
        Privacy = new() { Mode = mode, Budget = mode == PrivacyMode.None ? null : new(1, 1e-6) },
        Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = false },
        Parties = [.. Enumerable.Range(0, parties).Select(p => new GlmPartyOptions { Party = new($"p{p}", p == 0 ? PartyRole.Active : PartyRole.Passive) })],
    };

    private static GlmCost Predict(PrivacyMode mode, GlmCostRates rates, GlmCostLink? link = null, bool oneMachine = true) => GlmCost.Predict(Job(mode), Sizes, rates, link ?? GlmCostLink.Loopback, oneMachine);

    [Fact]
    public void Predict_LatencyAlone_IsTwiceARound() =>
        Assert.Equal(Rounds * 2 * 0.02, Predict(PrivacyMode.HdpVfl, Nothing, new(0.02, double.PositiveInfinity)).Training.Total, 1e-12);

    [Fact]
    public void Predict_BandwidthAlone_IsTheBytesOfTheActivePartysAccess()
    {
        GlmCost cost = Predict(PrivacyMode.None, Nothing, new(0, 1e6));
        long bytes = cost.Traffic.Sum(t => t.Rounds.FrameBytes);
        // A round's number takes a byte less in the first rounds.
        Assert.Equal(bytes / 1e6, cost.Training.Link, 1e-5 * bytes / 1e6);
        Assert.Equal(cost.Training.Link, cost.Training.Total);
    }

    [Fact]
    public void Predict_SyncAlone_IsOnceForScoresAndOnceForResiduals()
    {
        // The passive parties sync at the same time.
        Assert.Equal(Rounds * 2 * 1e-3, Predict(PrivacyMode.HdpVfl, Nothing with { SecondsPerSync = 1e-3 }).Training.Sync, 1e-12);
        Assert.Equal(0, Predict(PrivacyMode.None, Nothing with { SecondsPerSync = 1e-3 }).Training.Total);
    }

    [Theory]
    [InlineData(true, 90 + 90)]
    [InlineData(false, (40 + 10) + 40)]
    public void Predict_KernelsAlone_AreTheBytesThatWaitForEachOther(bool oneMachine, int columns)
    {
        // Scores: the passive parties at once, then the active one. Gradients: all at once. A pass keeps all cores of its machine busy.
        var pass = new GlmKernelRates(new(1, 0, 1e-10, 1e-10), new(0, 0, 1e-10, 1e-10));
        double seconds = Predict(PrivacyMode.None, Nothing with { Scores = pass, Gradient = pass }, oneMachine: oneMachine).Training.Total;
        Assert.Equal((double)Epochs * Rows * columns * 8 * 1e-10, seconds, 1e-9);
    }

    [Fact]
    public void Predict_SmallCachedBatch_IsComputedByOneThreadEach()
    {
        // Two threads that do not share one pass: the gradients of three parties on two cores take half of the sum.
        var pass = new GlmKernelRates(new(0, 0, 1e-10, 1e-9), new(1, 0, 0, 0));
        GlmCost cost = Predict(PrivacyMode.None, Nothing with { Gradient = pass, CacheBytes = 1e12 });
        Assert.Equal((double)Epochs * Rows * 90 * 8 * 1e-10 / 2, cost.Training.Total, 1e-9);
        Assert.Equal((double)Epochs * Rows * 90 * 8 * 1e-10, cost.ProcessorSeconds, 1e-9);
    }

    [Fact]
    public void Predict_NoiseDrawnAhead_CostsTimeOnlyWithoutIdleCores()
    {
        GlmCostRates drawing = Nothing with { SecondsPerDraw = 1e-8 };
        // 400,000 draws a party are made before round 0.
        Assert.Equal(0, Predict(PrivacyMode.HdpVfl, drawing).Training.Total);
        GlmJob job = Job(PrivacyMode.HdpVfl) with { Training = Job(PrivacyMode.HdpVfl).Training with { Epochs = 100 * Epochs } };
        double after = 3 * ((100.0 * Epochs * Rows) - (1 << 20));
        Assert.Equal(after * 1e-8 / 2, GlmCost.Predict(job, Sizes, drawing, GlmCostLink.Loopback, true).Training.Noise, 1e-6);
        Assert.Equal(0, GlmCost.Predict(job, Sizes, drawing, new(1, double.PositiveInfinity), true).Training.Noise);
    }

    [Fact]
    public void Predict_RoundsAlone_CostMoreWithNoise()
    {
        GlmCostRates rates = Nothing with { SecondsPerRound = 1e-3, SecondsPerNoisyRound = 2e-3 };
        Assert.Equal((Rounds * 1e-3, Rounds * 3e-3), (Predict(PrivacyMode.None, rates).Training.Messages, Predict(PrivacyMode.HdpVfl, rates).Training.Total));
    }

    /// <summary>However many rounds a job has, its first ones are slow once; a party by itself has no peer to meet for the first time.</summary>
    [Fact]
    public void Predict_StartAlone_CountsOnce()
    {
        GlmCostRates rates = Nothing with { SecondsOfStart = 1e-2, SecondsOfNoisyStart = 2e-2 };
        Assert.Equal((1e-2, 3e-2), (Predict(PrivacyMode.None, rates).Training.Total, Predict(PrivacyMode.HdpVfl, rates).Training.Start));
        Assert.Equal(1e-2, Predict(PrivacyMode.None, rates).ProcessorSeconds);
        Assert.Equal(0, GlmCost.Predict(Job(PrivacyMode.None, 1), new() { TrainRows = Rows, Columns = [4] }, rates, GlmCostLink.Loopback, true).Training.Total);
    }

    [Fact]
    public void Predict_RoundsThatTakeLessThanTheirParts_CostLess()
    {
        GlmCostRates rates = Nothing with { SecondsPerMessage = 1e-3 };
        Assert.Equal(Rounds * 5e-4, Predict(PrivacyMode.None, rates).Training.Total - Predict(PrivacyMode.None, rates with { SecondsPerRound = -5e-4 }).Training.Total, 1e-12);
    }

    [Theory]
    [InlineData(PrivacyMode.None)]
    [InlineData(PrivacyMode.HdpVfl)]
    public void Predict_RoundsFarBelowTheirParts_AreNeverLessThanAQuarterOfTheirMessages(PrivacyMode mode)
    {
        // Rates of a machine that was busy while the parts were measured.
        GlmCost cost = Predict(mode, Nothing with { SecondsPerMessage = 1e-3, SecondsPerRound = -1e-2, SecondsPerNoisyRound = -1e-2 });
        Assert.Equal(Rounds * 2e-3 / 4, cost.Training.Messages, 1e-12);
        Assert.Equal(cost.Training.Messages, cost.Training.Total, 1e-12);
        Assert.Equal(0, cost.ProcessorSeconds);
    }

    [Fact]
    public void Predict_CoresAreShortWithoutNoise_IsNoNoise()
    {
        GlmCostRates rates = Nothing with { SecondsPerMessage = 1e-4, ProcessorSecondsPerMessage = 1e-2 };
        GlmCostSeconds s = GlmCost.Predict(Job(PrivacyMode.None, 2), new() { TrainRows = Rows, Columns = [10, 40] }, rates, GlmCostLink.Loopback, true).Training;
        Assert.Equal((0, true), (s.Noise, s.Kernels > 0));
    }

    [Fact]
    public void Predict_MoreRowsThanMessagesHold_IsRefused()
    {
        foreach (GlmJob job in new[] { Job(PrivacyMode.None), Job(PrivacyMode.None) with { Model = new() { Family = GlmFamilies.Multinomial(3) } } })
            Assert.Equal("FL2302", Assert.Throws<ConfigurationException>(() => GlmTraffic.Of(job, new() { TrainRows = 1_800_000_000, TestRows = 450_000_000, Columns = [1, 1, 1] })).Id);
    }

    [Fact]
    public void Predict_ActivePartysGradient_HidesBehindTheLine()
    {
        var pass = new GlmKernelRates(new(1e-3, 0, 0, 0), new(1e-3, 0, 0, 0));
        GlmCostRates rates = Nothing with { Gradient = pass };
        // Two passive parties at once, and the active one beside its answer's way of a second.
        Assert.Equal(Rounds * (2 + 1e-3), Predict(PrivacyMode.None, rates, new(1, double.PositiveInfinity), oneMachine: false).Training.Total, 1e-9);
    }

    [Fact]
    public void Predict_ReferenceRates_AreSensible()
    {
        GlmCost plain = Predict(PrivacyMode.None, GlmCostRates.Reference), noisy = Predict(PrivacyMode.HdpVfl, GlmCostRates.Reference);
        GlmCostSeconds s = noisy.Training;
        Assert.Equal(s.Total, s.Kernels + s.Family + s.Noise + s.Sync + s.Messages + s.Link, 1e-12);
        Assert.True(plain.Training.Total > 0 && noisy.Training.Total > plain.Training.Total);
        Assert.True(Predict(PrivacyMode.None, GlmCostRates.Reference, oneMachine: false).Training.Total <= plain.Training.Total);
        Assert.Equal((Rounds, Epochs), (noisy.Rounds, noisy.Epochs));
    }

    [Fact]
    public void Predict_States_AreSyncedEveryHundredRounds()
    {
        GlmJob job = Job(PrivacyMode.None) with { Training = Job(PrivacyMode.None).Training with { CheckpointRounds = 10, Epochs = 100 } };
        double Sync(bool durable) => GlmCost.Predict(job, Sizes, Nothing with { SecondsPerSync = 1 }, GlmCostLink.Loopback, true, durable).Training.Sync;
        Assert.Equal((199 * 2, 0), (Sync(true), Sync(false)));
    }

    [Fact]
    public void Predict_SizesOfOtherParties_AreRefused() =>
        Assert.Throws<ArgumentException>(() => GlmCost.Predict(Job(PrivacyMode.None), Sizes with { Columns = [1] }, GlmCostRates.Reference, GlmCostLink.Loopback, true));

    [Fact]
    public void Measure_ThisMachine_GivesRatesOfItsOwn()
    {
        GlmCostRates rates = GlmCostMeter.Measure();
        Assert.Equal(Environment.ProcessorCount, rates.Cores);
        // What was tried are 512 KB to 128 MiB, of which the cache is two thirds.
        Assert.InRange(rates.CacheBytes, 300_000, 128 << 20);
        foreach (GlmPassRates pass in new[] { rates.Scores.One, rates.Scores.All, rates.Gradient.One, rates.Gradient.All })
            Assert.True(pass.SecondsPerByte >= pass.CachedSecondsPerByte && pass.Of(1000, 100, 0) > 0 && double.IsFinite(pass.Of(1000, 100, 1)));
        Assert.All([rates.SecondsPerDraw, rates.SecondsPerResidual, rates.SecondsPerLoss, rates.SecondsPerUnpackedRow], rate => Assert.InRange(rate, 1e-12, 1e-3));
    }
}
