using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm.Tuning;

public class TuneTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static GlmJob[] Penalties(GlmJob job, params double[] penalties) => [.. penalties.Select(l2 => job with { Model = job.Model with { L2 = l2 } })];

    private sealed class Told : IProgress<GlmTuningProgress>
    {
        public List<GlmTuningProgress> All { get; } = [];

        public void Report(GlmTuningProgress value) => All.Add(value);
    }

    [Theory]
    [InlineData("binomial", "logLoss")]
    [InlineData("gaussian", null)]
    [InlineData("poisson", "r2")]
    public async Task TuneAsync_Penalties_ScoresAndChoiceOfASlowLoop(string family, string? metric)
    {
        VerticalData data = VerticalData.Random(11, family, 90, 4, 4);
        double[] penalties = [3, 0.3, 0.03, 0.003];
        var told = new Told();
        GlmTuning tuning = await LocalFederation.TuneAsync(Penalties(data.Job(family, new() { Seed = 5 }), penalties), data.Inputs(order: 4), new() { Folds = 3, Metric = metric }, progress: told, cancellationToken: Stop);

        // The slow loop: the rows of each fold by the written rule, gradient descent on the pooled rest, the figure on the fold.
        var means = new List<double>();
        foreach (double l2 in penalties)
        {
            double[] scores = [.. Enumerable.Range(0, 3).Select(fold => Slow(data, family, l2, fold, tuning.Metric))];
            // Both stop at gradients of 1e-8, so that weights differ by 1e-8 over the penalty at most, and the figures' slopes are below 3.
            VerticalData.AssertClose(scores, tuning.Candidates[means.Count].Scores, 1e-5);
            Assert.Equal(scores.Average(), tuning.Candidates[means.Count].Mean!.Value, 1e-5);
            double mean = scores.Average();
            Assert.Equal(Math.Sqrt(scores.Sum(s => (s - mean) * (s - mean)) / 2), tuning.Candidates[means.Count].Deviation!.Value, 1e-5);
            means.Add(mean);
        }

        Assert.Equal(means.IndexOf(metric == "r2" ? means.Max() : means.Min()), tuning.Chosen);
        // A choice that could not differ would prove nothing.
        Assert.NotEqual(0, tuning.Chosen);
        Assert.Empty(tuning.Costs);
        Assert.Empty(tuning.Warnings);
        Assert.Equal(from c in Enumerable.Range(0, 4) from f in Enumerable.Range(0, 3) select new GlmTuningProgress(c, 4, f, 3), told.All);
    }

    [Fact]
    public async Task TuneAsync_EqualCandidates_TheFirstIsChosen()
    {
        VerticalData data = VerticalData.Random(12, "binomial", 60, 2, 2);
        GlmTuning tuning = await LocalFederation.TuneAsync(Penalties(data.Job("binomial", new()), 0.01, 0.01), data.Inputs(), new() { Folds = 2 }, cancellationToken: Stop);
        Assert.Equal("auc", tuning.Metric);
        Assert.Equal(tuning.Candidates[0].Mean, tuning.Candidates[1].Mean);
        Assert.Equal(0, tuning.Chosen);
    }

    [Fact]
    public async Task TuneAsync_RefusedCandidate_IsARowAndTheOthersGoOn()
    {
        VerticalData data = VerticalData.Random(13, "gaussian", 60, 2, 2);
        GlmTuning tuning = await LocalFederation.TuneAsync(Penalties(data.Job("gaussian", new()), double.NaN, 0.1), data.Inputs(), new() { Folds = 2 }, cancellationToken: Stop);
        Assert.Equal(GlmErrors.InvalidJob, tuning.Candidates[0].Error!.Id);
        Assert.Null(tuning.Candidates[0].Mean);
        Assert.Equal(1, tuning.Chosen);
    }

    [Fact]
    public async Task TuneAsync_OwnTestRows_StayUnused()
    {
        VerticalData data = VerticalData.Random(14, "gaussian", 80, 2, 2);
        GlmJob job = data.Job("gaussian", new()) with { Split = new SplitRule.ByHash(4, [0]) };
        int train = (await LocalFederation.TrainAsync(job, data.Inputs(), cancellationToken: Stop))[0].TrainRows;
        IReadOnlyList<GlmPartyResult> fold = await LocalFederation.TrainAsync(job with { Fold = new(3, 1) }, data.Inputs(), cancellationToken: Stop);
        Assert.Equal(80, fold[0].CommonRows);
        Assert.True(train < 80);
        Assert.All(fold, party => Assert.Equal(train, party.TrainRows + party.TestRows));
    }

    [Theory]
    [InlineData(PrivacyMode.HdpVfl, PrivacyUnit.Record)]
    [InlineData(PrivacyMode.HdpVfl, PrivacyUnit.Label)]
    [InlineData(PrivacyMode.OneRound, PrivacyUnit.Record)]
    [InlineData(PrivacyMode.LabelDp, PrivacyUnit.Label)]
    public async Task TuneAsync_PrivateMode_CostIsThatOfTheLedgerAndNothingIsChosen(PrivacyMode mode, PrivacyUnit unit)
    {
        (GlmJob job, GlmPartyInput[] inputs, InMemoryLedger[] ledgers) = Private(mode, unit);
        GlmTuning tuning = await LocalFederation.TuneAsync([job, job with { Training = job.Training with { StepSize = 0.05 } }], inputs, new() { Folds = 3 }, cancellationToken: Stop);
        Assert.All(tuning.Candidates, c => Assert.Equal(3, c.Scores.Count));
        Assert.Null(tuning.Chosen);
        Assert.Contains(GlmTuner.NotChosen, tuning.Warnings);
        Assert.Equal(unit == PrivacyUnit.Record, tuning.Warnings.Contains(GlmTuner.ScoresDisclosed));
        for (int party = 0; party < 2; party++)
        {
            // Labels are drawn once, every other message is paid for six times.
            bool labelsOnce = party == 0 && mode != PrivacyMode.HdpVfl;
            LedgerEntry[] entries = [.. ledgers[party].Entries];
            double pure = entries.Sum(e => e.Charge.PureEpsilon), mu = Math.Sqrt(entries.Sum(e => e.Charge.MuSquared));
            GlmTuningCost cost = tuning.Costs[party];
            Assert.Equal(VerticalData.Name(party), cost.Party);
            // A line of the ledger that costs nothing is no charged run.
            Assert.Equal(entries.Count(e => e.PureEpsilon > 0 || e.MuSquared > 0), cost.Runs);
            Assert.Equal(pure, cost.Total.PureEpsilon, 1e-12);
            Assert.Equal(mu, cost.Total.Mu, 1e-12);
            Assert.Equal(cost.Total.Epsilon(cost.Delta), cost.Epsilon);
            if (labelsOnce)
            {
                // Each run of label-dp is written down for what it told of features.
                Assert.Equal(mode == PrivacyMode.LabelDp ? [1.0, 0, 0, 0, 0, 0] : [1.0], entries.Select(e => e.PureEpsilon));
                Assert.Equal(1, cost.Epsilon!.Value, 1e-9);
                Assert.Equal(1, cost.Runs);
            }
            else if (party == 1 && unit == PrivacyUnit.Label)
            {
                Assert.Equal((0, 0), (cost.Epsilon, cost.Runs));
            }
            else
            {
                Assert.Equal(6, entries.Length);
                // Independent of the ledger: six runs of the budget's mu.
                Assert.Equal(GaussianDp.Epsilon(Math.Sqrt(6) * GaussianDp.Mu(1, 1e-5), 1e-5), cost.Epsilon!.Value, 1e-6);
            }
        }
    }

    [Fact]
    public async Task TuneAsync_TestNoise_PromisesNoEpsilon()
    {
        (GlmJob job, GlmPartyInput[] inputs, _) = Private(PrivacyMode.HdpVfl, PrivacyUnit.Record);
        GlmTuning tuning = await LocalFederation.TuneAsync([job with { Privacy = job.Privacy with { TestNoiseSeed = 1 } }], inputs, new() { Folds = 2 }, cancellationToken: Stop);
        Assert.All(tuning.Costs, cost => Assert.Equal((2, null), (cost.Runs, cost.Epsilon)));
    }

    [Theory]
    [InlineData(GlmErrors.InvalidJob, true)]
    [InlineData(GlmErrors.TooManyColumns, true)]
    [InlineData(GlmErrors.Diverged, true)]
    [InlineData(GlmErrors.NothingHeldOut, true)]
    [InlineData(GlmErrors.EmptyFold, false)]            // all candidates have the same folds
    [InlineData(GlmErrors.FoldNotCovered, true)]
    [InlineData(PrivacyErrors.BudgetSpent, false)]      // the ledger's: the next candidate would be told the same
    [InlineData("FL5022", false)]
    [InlineData("FL2311", false)]
    [InlineData(ProtocolErrors.NotFinite, false)]                      // a peer's
    [InlineData("FL6001", false)]                       // the tool's own
    public async Task ScoreAsync_RunFails_IsARowWhereTheErrorIsTheCandidatesOwn(string id, bool own)
    {
        Task<IReadOnlyList<GlmCandidateResult>> scores = GlmTuner.ScoreAsync(2, 2, "auc", (candidate, _) => candidate == 0 ? throw new ConfigurationException(id, "here", "it fails.", "Mend it.") : Task.FromResult<double?>(0.5), null);
        if (!own)
        {
            Assert.Equal(id, (await Assert.ThrowsAsync<ConfigurationException>(() => scores)).Id);
            return;
        }

        IReadOnlyList<GlmCandidateResult> results = await scores;
        Assert.Equal((id, null), (results[0].Error?.Id, results[1].Error?.Id));
        Assert.Equal(0.5, results[1].Mean);

        // A fold before that whose figure was undefined is no reason.
        results = await GlmTuner.ScoreAsync(1, 2, "auc", (_, fold) => fold.Index == 0 ? Task.FromResult<double?>(null) : throw new ConfigurationException(id, "here", "it fails.", "Mend it."), null);
        Assert.Equal((id, 1), (results[0].Error?.Id, results[0].Scores.Count));
    }

    [Theory]
    [InlineData(PrivacyMode.HdpVfl, PrivacyUnit.Record)]
    [InlineData(PrivacyMode.OneRound, PrivacyUnit.Record)]
    [InlineData(PrivacyMode.LabelDp, PrivacyUnit.Label)]
    public void PlanRuns_PrivateMode_IsWhatTheRunsWillCost(PrivacyMode mode, PrivacyUnit unit)
    {
        (GlmJob job, GlmPartyInput[] inputs, _) = Private(mode, unit);
        PrivacyTotal[] planned = [.. inputs.Select(i => new GlmTrainer(job, i).PlanRuns(6))];
        double mu = Math.Sqrt(6) * GaussianDp.Mu(1, 1e-5);
        (double Pure, double Mu)[] expected = mode switch
        {
            PrivacyMode.HdpVfl => [(0, mu), (0, mu)],
            PrivacyMode.OneRound => [(1, 0), (0, mu)],
            _ => [(1, 0), (0, 0)],
        };
        for (int party = 0; party < 2; party++)
        {
            Assert.Equal(expected[party].Pure, planned[party].PureEpsilon);
            Assert.Equal(expected[party].Mu, planned[party].Mu, 1e-12);
        }
    }

    /// <summary>Each run by itself is within the budget.</summary>
    [Fact]
    public async Task TuneAsync_BudgetForOneRunOnly_IsRefusedBeforeTheFirst()
    {
        (GlmJob job, GlmPartyInput[] inputs, InMemoryLedger[] ledgers) = Private(PrivacyMode.HdpVfl, PrivacyUnit.Record);
        inputs[1] = inputs[1] with { Ledger = new OneRunLedger(ledgers[1], GaussianDp.Mu(1, 1e-5)) };
        var told = new Told();
        PrivacyRefusedException error = await Assert.ThrowsAsync<PrivacyRefusedException>(() => LocalFederation.TuneAsync(Penalties(job, 0.1, 0.5), inputs, new() { Folds = 3 }, progress: told, cancellationToken: Stop));
        Assert.Equal(PrivacyErrors.BudgetSpent, error.Id);
        Assert.Empty(told.All);
        Assert.All(ledgers, ledger => Assert.Empty(ledger.Entries));
    }

    /// <summary>A ledger that has room for what one run costs, and has no entry of those that it refuses.</summary>
    private sealed class OneRunLedger(InMemoryLedger inner, double mu) : IPrivacyLedger
    {
        public string? Warning => null;

        public IReadOnlyList<LedgerEntry> Entries => inner.Entries;

        public void Check(PrivacyCharge charge)
        {
            if (charge.MuSquared > 1.5 * mu * mu)
                throw new PrivacyRefusedException(PrivacyErrors.BudgetSpent, "ledger", "the budget is spent.", "Raise it.");
        }

        public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null) => inner.Reserve(charge, kept);

        public byte[]? Find(string party, string key) => null;
    }

    /// <summary>A tuning that was cut off, by a crash or a stop, and one that has ended, are paid for again by the next one.</summary>
    [Theory]
    [InlineData(PrivacyMode.HdpVfl, 2, 2)]
    [InlineData(PrivacyMode.HdpVfl, 2, 1)]
    [InlineData(PrivacyMode.OneRound, 1, 2)]
    [InlineData(PrivacyMode.LabelDp, 0, 2)]
    public async Task TuneAsync_RunsPaidForBefore_WarnsOncePerPartyThatPaysAgain(PrivacyMode mode, int paying, int runsBefore)
    {
        (GlmJob job, GlmPartyInput[] inputs, _) = Private(mode, mode == PrivacyMode.LabelDp ? PrivacyUnit.Label : PrivacyUnit.Record);
        for (int fold = 0; fold < runsBefore; fold++)
            Assert.DoesNotContain((await LocalFederation.TrainAsync(job with { Fold = new(2, fold) }, inputs, cancellationToken: Stop)).SelectMany(r => r.Warnings), IsPaidAgain);
        GlmTuning tuning = await LocalFederation.TuneAsync([job, job with { Model = job.Model with { L2 = 0.5 } }], inputs, new() { Folds = 2 }, cancellationToken: Stop);
        Assert.Equal(paying, tuning.Warnings.Count(IsPaidAgain));
        for (int party = 2 - paying; party < 2; party++)
            Assert.Single(tuning.Warnings, w => IsPaidAgain(w) && w.Contains($"'{VerticalData.Name(party)}'", StringComparison.Ordinal));

        static bool IsPaidAgain(string warning) => warning.Contains("were charged before", StringComparison.Ordinal);
    }

    [Fact]
    public async Task TuneAsync_LaterFoldWithoutRows_IsRefusedByTheFirstRunBeforeAnythingIsCharged()
    {
        const int Folds = 40;
        (GlmJob job, GlmPartyInput[] inputs, InMemoryLedger[] ledgers) = Private(PrivacyMode.HdpVfl, PrivacyUnit.Record);
        int empty = Enumerable.Range(0, Folds).Except(inputs[0].Table.Ids.Select(id => FoldRowsTests.FoldOf(id, job.Training.Seed, Folds))).First();
        Assert.NotEqual(0, empty);
        var told = new Told();
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TuneAsync(Penalties(job, 0.1, 0.5), inputs, new() { Folds = Folds }, progress: told, cancellationToken: Stop));
        Assert.Equal((GlmErrors.EmptyFold, $"fold {empty + 1} of {Folds}"), (error.Id, error.Place));
        // All candidates have the same folds: no other session is begun.
        Assert.Single(told.All);
        Assert.All(ledgers, ledger => Assert.Empty(ledger.Entries));
    }

    /// <summary>Each candidate is refused by what its own scaling takes from the rows of all folds.</summary>
    [Theory]
    [InlineData(Scaling.Standardize)]
    [InlineData(Scaling.Rounded)]
    public async Task TuneAsync_ColumnConstantInALaterFold_IsRefusedBeforeTheCandidateIsCharged(Scaling scaling)
    {
        (GlmJob job, GlmPartyInput[] inputs, InMemoryLedger[] ledgers) = Private(PrivacyMode.HdpVfl, PrivacyUnit.Record);
        Table table = inputs[1].Table;
        string rare = table.Ids.First(id => FoldRowsTests.FoldOf(id, job.Training.Seed, 3) == 2);
        inputs[1] = inputs[1] with
        {
            Table = Table.FromMatrix(table.Ids, table.Schema.FeatureNames, new DenseMatrix(table.Ids.Count, 2, [.. table.Ids.SelectMany((id, i) => (double[])[table.Values.Row(i)[0], id == rare ? 0.7 : 0.1])])),
        };
        GlmJob scaled = job with { Preprocessing = job.Preprocessing! with { Scaling = scaling } };
        GlmTuning tuning = await LocalFederation.TuneAsync([scaled, job], inputs, new() { Folds = 3 }, cancellationToken: Stop);
        Assert.Equal(DataErrors.ZeroVariance, tuning.Candidates[0].Error!.Id);
        Assert.StartsWith("the training rows of fold 3 of 3 have the same value", tuning.Candidates[0].Error!.Cause, StringComparison.Ordinal);
        Assert.Empty(tuning.Candidates[0].Scores);
        Assert.Equal(3, tuning.Candidates[1].Scores.Count);
        Assert.All(ledgers, ledger => Assert.Equal(3, ledger.Entries.Count(e => e.MuSquared > 0)));
    }

    /// <summary>A row that only a later fold leaves out of its scaling may be beyond float64 in units of the others.</summary>
    [Theory]
    [InlineData(FeatureStorage.Float64)]
    [InlineData(FeatureStorage.Float32)]
    public async Task TuneAsync_ScaledValueTooLargeInALaterFold_IsRefusedBeforeTheCandidateIsCharged(FeatureStorage storage)
    {
        (GlmJob job, GlmPartyInput[] inputs, InMemoryLedger[] ledgers) = Private(PrivacyMode.HdpVfl, PrivacyUnit.Record);
        Table table = inputs[1].Table;
        string rare = table.Ids.First(id => FoldRowsTests.FoldOf(id, job.Training.Seed, 3) == 2);
        const double Outside = 1e154, Unit = 1e-155;
        inputs[1] = inputs[1] with
        {
            Table = Table.FromMatrix(table.Ids, table.Schema.FeatureNames, new DenseMatrix(table.Ids.Count, 2, [.. table.Ids.SelectMany((id, i) => (double[])[table.Values.Row(i)[0], id == rare ? Outside : Unit * table.Values.Row(i)[1]])])).With(storage),
        };
        GlmJob scaled = job with { Preprocessing = job.Preprocessing! with { Scaling = Scaling.Standardize } };
        GlmTuning tuning = await LocalFederation.TuneAsync([scaled], inputs, new() { Folds = 3 }, cancellationToken: Stop);
        Assert.Equal(DataErrors.ScaledTooLarge, tuning.Candidates[0].Error!.Id);
        Assert.Empty(tuning.Candidates[0].Scores);
        Assert.All(ledgers, ledger => Assert.All(ledger.Entries, e => Assert.Equal((0.0, 0.0), (e.PureEpsilon, e.MuSquared))));
    }

    [Theory]
    [InlineData(1, true)]
    [InlineData(5, true)]
    [InlineData(5, false)]
    public async Task ScoreAsync_Cancelled_IsThrownOrEndsTheTable(int at, bool keeps)
    {
        int runs = 0;
        Task<IReadOnlyList<GlmCandidateResult>> scores = GlmTuner.ScoreAsync(3, 3, "auc", (_, _) => ++runs == at ? throw new OperationCanceledException() : Task.FromResult<double?>(runs), null, keepsTable: () => keeps);
        if (!keeps)
        {
            await Assert.ThrowsAsync<OperationCanceledException>(() => scores);
            return;
        }

        IReadOnlyList<GlmCandidateResult> results = await scores;
        Assert.Equal(at == 1 ? [0, 0, 0] : [3, 1, 0], results.Select(r => r.Scores.Count));
        Assert.Equal(at == 1 ? [true, true, true] : [false, true, true], results.Select(r => r.IsInterrupted));
        Assert.All(results, r => Assert.Equal((r.IsInterrupted, r.IsInterrupted), (r.Mean is null, r.Deviation is null)));
        Assert.All(results, r => Assert.Null(r.Error));
        Assert.Equal(at, runs);
    }

    [Fact]
    public async Task ScoreAsync_ErrorOfAllCandidates_IsThrownOrEndsTheTable()
    {
        var lost = new PeerException("FL4011", "party 'telco'", "it is gone.", "Start it again.");
        int runs = 0;
        Task<double?> Run(int candidate, CrossValidationFold fold) => ++runs == 5 ? throw lost : Task.FromResult<double?>(runs);
        IReadOnlyList<GlmCandidateResult> results = await GlmTuner.ScoreAsync(3, 3, "auc", Run, null, keepsTable: () => runs > 1);
        Assert.Equal([3, 1, 0], results.Select(r => r.Scores.Count));
        Assert.Equal([null, lost, lost], results.Select(r => r.Error));
        Assert.Equal(5, runs);
        runs = 0;
        Assert.Same(lost, await Assert.ThrowsAsync<PeerException>(() => GlmTuner.ScoreAsync(3, 3, "auc", Run, null, keepsTable: () => false)));
        runs = 0;
        Assert.Same(lost, await Assert.ThrowsAsync<PeerException>(() => GlmTuner.ScoreAsync(3, 3, "auc", Run, null)));
    }

    [Fact]
    public async Task TuneAsync_ChargedEvaluation_IsRefused()
    {
        (GlmJob job, GlmPartyInput[] inputs, InMemoryLedger[] ledgers) = Private(PrivacyMode.HdpVfl, PrivacyUnit.Record);
        GlmJob charged = job with { Privacy = job.Privacy with { Evaluation = EvaluationDisclosure.Charged } };
        Assert.Equal(GlmErrors.FoldNotCovered, (await Assert.ThrowsAsync<PrivacyRefusedException>(() => LocalFederation.TuneAsync([charged], inputs, cancellationToken: Stop))).Id);
        Assert.Equal(GlmErrors.FoldNotCovered, (await Assert.ThrowsAsync<PrivacyRefusedException>(() => LocalFederation.TrainAsync(charged with { Fold = new(5, 0) }, inputs, cancellationToken: Stop))).Id);
        Assert.All(ledgers, ledger => Assert.Empty(ledger.Entries));
    }

    [Fact]
    public async Task TuneAsync_NoEvaluationOrUnknownMetricOrMixedJobs_IsRefused()
    {
        (GlmJob job, GlmPartyInput[] inputs, _) = Private(PrivacyMode.HdpVfl, PrivacyUnit.Record);
        GlmJob silent = job with { Privacy = job.Privacy with { Evaluation = EvaluationDisclosure.None } };
        async Task<string> IdOf(GlmJob[] jobs, GlmTuningOptions options) =>
            (await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.TuneAsync(jobs, inputs, options, cancellationToken: Stop))).Id;
        Assert.Equal(GlmErrors.MetricUndefined, await IdOf([silent], new()));
        Assert.Equal(GlmErrors.MetricUndefined, await IdOf([job], new() { Metric = "rmse" }));
        Assert.Equal(GlmErrors.MetricUndefined, await IdOf([job], new() { Metric = "fame" }));
        Assert.Equal(GlmErrors.InvalidTuning, await IdOf([job], new() { Folds = 1 }));
        Assert.Equal(GlmErrors.InvalidTuning, await IdOf([], new()));
        Assert.Equal(GlmErrors.InvalidTuning, await IdOf([job, job with { Training = job.Training with { Seed = 9 } }], new()));
        Assert.Equal(GlmErrors.InvalidTuning, await IdOf([job with { Fold = new(5, 0) }], new()));
        Assert.Equal(GlmErrors.InvalidTuning, await IdOf([job, job with { Model = job.Model with { Family = GlmFamilies.Poisson } }], new()));
        Assert.Equal(GlmErrors.InvalidTuning, await IdOf([job, job with { Split = new SplitRule.ByHash(4, [0]) }], new()));
        Assert.Equal(GlmErrors.InvalidTuning, await IdOf([job with { Split = new SplitRule.ByHash(5, [0]) }, job with { Split = new SplitRule.ByHash(4, [0]) }], new()));
        Assert.Equal(GlmErrors.InvalidTuning, await IdOf([job, job with { Privacy = job.Privacy with { Budget = new(9, 1e-5) } }], new()));
        Assert.Equal(GlmErrors.InvalidTuning, await IdOf([job, job with { Parties = [job.Parties[0], job.Parties[1] with { Budget = new(9, 1e-5) }] }], new()));
    }

    [Theory]
    [InlineData(PrivacyMode.None, PrivacyUnit.Record, 2, 0)]
    [InlineData(PrivacyMode.HdpVfl, PrivacyUnit.Record, 1, 1)]
    [InlineData(PrivacyMode.HdpVfl, PrivacyUnit.Record, 2, 2)]
    [InlineData(PrivacyMode.HdpVfl, PrivacyUnit.Label, 2, 1)]
    [InlineData(PrivacyMode.LabelDp, PrivacyUnit.Record, 2, 1)]
    public void Warnings_Job_SayWhatScoresTellWherePassivePartiesDisclosedThem(PrivacyMode mode, PrivacyUnit unit, int parties, int warnings)
    {
        (GlmJob job, _, _) = Private(PrivacyMode.HdpVfl, unit);
        job = job with { Privacy = job.Privacy with { Mode = mode, Unit = unit }, Parties = [.. job.Parties.Take(parties)] };
        Assert.Equal(((string[])[GlmTuner.NotChosen, GlmTuner.ScoresDisclosed])[..warnings], GlmTuner.Warnings(job));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(double.PositiveInfinity)]
    public async Task ScoreAsync_FigureThatIsNone_NamesTheFold(double? figure)
    {
        IReadOnlyList<GlmCandidateResult> results = await GlmTuner.ScoreAsync(1, 3, "auc", (_, fold) => Task.FromResult(fold.Index == 2 ? figure : 0.5), null);
        Assert.Equal((GlmErrors.MetricUndefined, "fold 3 of 3"), (results[0].Error!.Id, results[0].Error!.Place));
        Assert.Equal([0.5, 0.5, double.NaN], results[0].Scores);
        Assert.Contains("the rows of 1 of 3 folds", GlmTuner.Undefined(results, 3, "auc"), StringComparison.Ordinal);
    }

    [Fact]
    public void Of_LedgerOfOthersToo_CostsWhatTheRunsOfThePartyDid()
    {
        var ledger = new InMemoryLedger();
        void Charge(string party, string run, double mu) => ledger.Reserve(TestCharge.New() with { RunId = run, Party = party, MuSquared = mu }).Dispose();
        string[] runs = [.. Enumerable.Range(0, 4).Select(_ => PrivacyCharge.NewRunId())];
        Charge("bank", runs[0], 1);
        Charge("bank", runs[1], 0);
        Charge("telco", runs[2], 4);
        Charge("bank", runs[3], 8);
        GlmTuningCost cost = GlmTuningCost.Of(ledger, "bank", runs[..3], 1e-5);
        Assert.Equal((1, 1.0), (cost.Runs, cost.Total.MuSquared));
    }

    /// <summary>The figure of one of three folds, seed 5: a model of the pooled rows outside it, looked at on the rows in it.</summary>
    private static double Slow(VerticalData data, string family, double l2, int fold, string metric)
    {
        ILookup<bool, (string Id, double[] X, double Y)> rows = data.All.ToLookup(row => FoldRowsTests.FoldOf(row.Id, 5, 3) == fold);
        var pooled = new PooledGlm(family, [.. rows[false].Select(r => r.X)], [.. rows[false].Select(r => r.Y)], l2, intercept: true);
        pooled.Sgd(20_000, 1, 0.05, double.PositiveInfinity, double.PositiveInfinity, [data.Widths.Sum()]);
        Assert.True(pooled.GradientNorm() < 1e-8);
        double n = rows[true].Count(), mean = rows[true].Average(r => r.Y), squares = rows[true].Sum(r => Math.Pow(r.Y - pooled.Mean(pooled.Score(r.X)), 2));
        return metric switch
        {
            "logLoss" => rows[true].Average(r => Math.Log(1 + Math.Exp(pooled.Score(r.X))) - (r.Y * pooled.Score(r.X))),
            "deviance" => squares / n,
            "r2" => 1 - squares / rows[true].Sum(r => Math.Pow(r.Y - mean, 2)),
            _ => throw new ArgumentException(metric),
        };
    }

    private static (GlmJob, GlmPartyInput[], InMemoryLedger[]) Private(PrivacyMode mode, PrivacyUnit unit)
    {
        VerticalData data = VerticalData.Random(21, "binomial", 120, 2, 2);
        GlmJob job = data.Job("binomial", new() { Epochs = 2, StepSize = 0.1, WeightNorm = mode == PrivacyMode.OneRound ? null : 1, ResidualClip = mode == PrivacyMode.OneRound ? null : 1 }) with
        {
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
            Privacy = new() { Mode = mode, Unit = unit, Budget = new(1, mode == PrivacyMode.LabelDp ? 0 : 1e-5) },
        };
        InMemoryLedger[] ledgers = [new(), new()];
        return (job, [.. data.Inputs().Select((input, i) => input with { Ledger = ledgers[i] })], ledgers);
    }
}
