using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm;

/// <summary>Memory that other tests allocate at the same time would be counted too.</summary>
[CollectionDefinition(nameof(AllocationAlone), DisableParallelization = true)]
public sealed class AllocationAlone;

/// <summary>What the rounds of gradient descent allocate once they are under way: nothing that grows with their number.</summary>
[Collection(nameof(AllocationAlone))]
public sealed class GlmSteadyStateTests
{
    private const int WarmUp = 300, Counted = 1000, Windows = 3;
    private const long Most = 64 << 10;

    [Theory]
    [InlineData(PrivacyMode.None, null)]
    [InlineData(PrivacyMode.None, 256)]
    [InlineData(PrivacyMode.HdpVfl, null)]
    [InlineData(PrivacyMode.HdpVfl, 256)]
    public async Task Rounds_UnderWayWithNobodyListening_AllocateNothingToSpeakOf(PrivacyMode mode, int? batchSize)
    {
        const int Rounds = WarmUp + Windows * Counted + 1, Columns = 12;
        // Batches of 250 and of 251 rows; a full batch of fewer rows than a second thread is worth.
        int rows = batchSize is null ? 700 : 1001, batches = batchSize is { } b ? (rows + b - 1) / b : 1;
        var job = new GlmJob
        {
            Name = "steady",
            Model = new GlmModelOptions { Family = GlmFamilies.Binomial, L2 = .001 },
            Training = new GlmTrainingOptions { Epochs = Rounds / batches + 1, BatchSize = batchSize, Optimizer = GlmOptimizer.Sgd, StepSize = .1, WeightNorm = 1, ResidualClip = 1 },
            Privacy = new GlmPrivacyOptions { Mode = mode, Budget = mode == PrivacyMode.None ? null : new PrivacyBudget(10, 1e-5) },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = true },
            Parties = [new() { Party = new("bank", PartyRole.Active) }, new() { Party = new("telco", PartyRole.Passive) }],
        };
        (InMemoryChannel here, InMemoryChannel there) = InMemoryChannel.CreatePair("bank", "telco");
        GlmPlan plan = GlmPlan.Create(job);
        var random = new Random(1);
        double[] labels = [.. Enumerable.Range(0, rows).Select(_ => (double)random.Next(2))];
        CountedWork bank = Work(plan, job.Parties[0], rows, Columns, random), telco = Work(plan, job.Parties[1], rows, Columns, random);
        await Task.WhenAll(
            Task.Run(() => new GlmActiveTrainer(bank, [here], new GlmTargets(labels), new GlmTargets([])).RunAsync(default)),
            Task.Run(() => new GlmPassiveTrainer(telco, there).RunAsync(default)));

        // A window in which something else of the process allocates, such as a timer of the test runner, may be one too many; that all of them are is not chance.
        Assert.InRange(Enumerable.Range(0, Windows).Min(w => bank.Allocated[w + 1] - bank.Allocated[w]), 0, Most);
        Assert.True(here.Statistics.MessagesReceived >= Rounds);
    }

    private static CountedWork Work(GlmPlan plan, GlmPartyOptions party, int rows, int columns, Random random)
    {
        BatchLayout layout = plan.Layout(rows);
        double[] values = [.. Enumerable.Range(0, rows * columns).Select(_ => random.NextDouble() / columns)];
        bool free = party.Party.Role == PartyRole.Active && plan.FreeIntercept;
        PartyCalibration? calibration = plan.Private ? plan.Calibrate(party, layout, columns + (free ? 1 : 0)) : null;
        return new CountedWork
        {
            Plan = plan,
            Party = party.Party.Name,
            Layout = layout,
            Train = new LinearPart(new DenseMatrix(rows, columns, values), free, 1),
            Test = new LinearPart(new DenseMatrix(0, columns), free, 1),
            Mechanism = calibration?.MessageNoise is { } noise ? new GaussianMechanism(noise, new CsprngNoise(), NoReservation.Instance) : null,
            EpsilonAfter = calibration?.Mu is { } mu ? round => GaussianDp.Epsilon(mu * Math.Sqrt((double)round / plan.Epochs / layout.Count), 1e-5) : null,
            Progress = null,
        };
    }

    /// <summary>Notes how much memory the process had allocated in all at the end of some rounds.</summary>
    private sealed class CountedWork : GlmWork
    {
        private int _steps;

        public long[] Allocated { get; } = new long[Windows + 1];

        public override void Step(Span<double> weights, Span<double> gradient, int batchRows)
        {
            base.Step(weights, gradient, batchRows);
            if (_steps >= WarmUp && (_steps - WarmUp) % Counted == 0 && (_steps - WarmUp) / Counted is var window and <= Windows)
                Allocated[window] = GC.GetTotalAllocatedBytes(precise: true);
            _steps++;
        }
    }
}
