using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Glm.Cost;

public sealed class GlmTrafficTests
{
    [Fact]
    public void Of_RandomJobs_IsWhatARunInMemoryCounts() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(200)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var job = TrafficCase.Of(seed, 2 + (int)(unchecked((uint)seed) % 15));
        IReadOnlyList<GlmPartyTraffic> predicted = GlmTraffic.Of(job.Job, job.Sizes);
        IReadOnlyList<GlmPartyResult> results = LocalFederation.TrainAsync(job.Job, job.Inputs).GetAwaiter().GetResult();
        Assert.Equal(results.Select(r => (r.Party.Name, r.Traffic.MessagesSent, r.Traffic.BytesSent)), predicted.Select(t => (t.Party.Name, t.Total.Messages, t.Total.PayloadBytes)));
        // What is one kind of message in the report is one part here.
        Assert.Equal(results.Select(r => r.Sent.Where(m => m.Name.StartsWith("training", StringComparison.Ordinal)).Sum(m => m.Bytes)), predicted.Select(t => t.Rounds.PayloadBytes));
        Assert.All(predicted, t => Assert.InRange(t.Total.FrameBytes, t.Total.MessageBytes + 9 * t.Total.Messages, long.MaxValue));
    }));

    [Theory]
    [InlineData(PrivacyMode.None, GlmOptimizer.Sgd, true)]
    [InlineData(PrivacyMode.None, GlmOptimizer.Lbfgs, false)]
    [InlineData(PrivacyMode.None, null, false)]
    [InlineData(PrivacyMode.HdpVfl, null, true)]
    [InlineData(PrivacyMode.OneRound, null, false)]
    public void Covers_Job_WhereItsMessagesAreKnown(PrivacyMode mode, GlmOptimizer? optimizer, bool covered)
    {
        GlmJob job = TrafficCase.Of(1, 2).Job;
        job = job with { Privacy = new() { Mode = mode, Budget = new(1, 1e-3) }, Training = job.Training with { Optimizer = optimizer, BatchesPerEpoch = null, Reshuffle = false } };
        Assert.Equal(covered, GlmTraffic.Covers(job));
        if (!covered)
            Assert.ThrowsAny<Exception>(() => GlmTraffic.Of(job, TrafficCase.Of(1, 2).Sizes));
    }

    [Fact]
    public void Of_ManyRounds_AddsWhatSingleRoundsTake()
    {
        TrafficCase few = TrafficCase.Of(1, 3);
        GlmJob job = few.Job with { Model = new() { Family = GlmFamilies.Binomial }, Privacy = new(), Training = few.Job.Training with { Epochs = 20_011, BatchesPerEpoch = 7, MessagePrecision = ElementType.Float64 } };
        GlmCostSizes sizes = few.Sizes with { TrainRows = 31 };
        // 31 rows in 7 batches: three of 5 rows, four of 4. Prefix 5, round 0 or 2 to 4 bytes, two tags with lengths of a byte each, 8 bytes a row.
        long expected = 0;
        for (int round = 0; round < 20_011 * 7; round++)
            expected += 5 + (round == 0 ? 0 : round < 128 ? 2 : round < 16_384 ? 3 : 4) + 4 + (8 * (round % 7 < 3 ? 5 : 4));
        Assert.Equal([2 * expected, expected, expected], GlmTraffic.Of(job, sizes).Select(t => t.Rounds.MessageBytes));
    }
}
