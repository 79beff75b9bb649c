using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Tests.Glm;

/// <summary>Weight noise, units, adjacencies, reshuffled batches and charged evaluation: what each party does and says under them.</summary>
public class GlmPrivacySettingsTests
{
    private const int Epochs = 3, Batches = 4;
    private const double Step = 0.2, L2 = 0.01;

    private static GlmJob Job(VerticalData data, string family, Func<GlmPrivacyOptions, GlmPrivacyOptions> change, bool reshuffle = false, long? testNoise = 1)
    {
        GlmJob job = data.Job(family, new() { Epochs = Epochs, BatchesPerEpoch = Batches, StepSize = Step, WeightNorm = 1, ResidualClip = 1, Reshuffle = reshuffle, Seed = -3 });
        return job with
        {
            Privacy = change(new() { Mode = PrivacyMode.HdpVfl, Budget = new(2, 0.004), TestNoiseSeed = testNoise }),
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
            Split = new SplitRule.ByHash(4, [1]),
            Parties = [job.Parties[0] with { LabelRange = family == "binomial" ? null : (-6, 6) }, .. job.Parties.Skip(1)],
        };
    }

    public static TheoryData<string, bool, Calibration, PrivacyUnit, bool> Settings => new()
    {
        { "binomial", true, Calibration.Tight, PrivacyUnit.Record, false },
        { "gaussian", true, Calibration.Tight, PrivacyUnit.Label, false },
        { "binomial", false, Calibration.WeightNoise, PrivacyUnit.Record, false },
        { "poisson", true, Calibration.WeightNoise, PrivacyUnit.Record, true },
        { "gaussian", false, Calibration.WeightNoise, PrivacyUnit.Label, false },
        { "binomial", false, Calibration.Tight, PrivacyUnit.Record, true },
    };

    /// <summary>Plain loops over what each party heard, with the noise that its streams hold, give its final weights.</summary>
    [Theory]
    [MemberData(nameof(Settings))]
    public async Task Train_Replayed_GivesTheWeights(string family, bool reshuffle, Calibration calibration, PrivacyUnit unit, bool charged)
    {
        var data = VerticalData.Random(30, family, 61, 3, 2, 2);
        GlmPartyInput[] inputs = data.Inputs();
        GlmJob job = Job(data, family, p => p with { Calibration = calibration, Unit = unit, Evaluation = charged ? EvaluationDisclosure.Charged : EvaluationDisclosure.None }, reshuffle)
            with
        { Split = SplitRule.None };
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(job, inputs);
        int[] common = RowIds.Order(inputs[0].Table.Ids, -3).Rows;
        var layout = new BatchLayout(61, Batches);
        foreach (GlmPartyResult result in results)
        {
            bool active = result == results[0];
            Table table = inputs.Single(i => i.Party == result.Party.Name).Table;
            double[][] x = [.. common.Select(row => result.Model.Features.Transform(table, [row]).Values)];
            double[] w = new double[x[0].Length];
            PartyCalibration? noise = result.Privacy.Calibration;
            Assert.Equal(unit == PrivacyUnit.Record || active, noise is not null);
            var gradientNoise = new TestNoise(1, result.Party.Name + "\0gradient");
            for (int round = 0; round < Epochs * Batches; round++)
            {
                double[] Heard(string from, string to) => ((VectorPayload)session.Sent.Single(m => m.From == from && m.To == to && m.Round == round
                    && m.Name.StartsWith("training", StringComparison.Ordinal)).Payload).Values.ToArray();
                int[] order = reshuffle ? EpochOrder.Of(61, -3, round / Batches) : [.. Enumerable.Range(0, 61)];
                int[] rows = order[layout.Start(round % Batches)..(layout.Start(round % Batches) + layout.Size(round % Batches))];
                double[] z = [.. rows.Select(i => x[i].Zip(w, (a, b) => a * b).Sum())];
                double[] r = active
                    ? [.. rows.Select((i, at) => Math.Clamp(data.Pooled(family, 0).Mean(z[at] + Heard("p1", "active")[at] + Heard("p2", "active")[at]) - table.Labels![common[i]], -1, 1))]
                    : [.. Heard("active", result.Party.Name).Select(v => Math.Clamp(v, -1, 1))];
                double[] g = [.. Enumerable.Range(0, w.Length).Select(j => rows.Select((i, at) => r[at] * x[i][j]).Sum() / rows.Length)];
                if (noise?.GradientNoise is { } gradient)
                    g = Noised(g, gradient, gradientNoise);
                w = [.. w.Select((v, j) => v - (Step * g[j]) - (Step * L2 * v))];
                double shrink = Math.Min(1, 1 / Math.Sqrt(w.Sum(v => v * v)));
                w = [.. w.Select(v => v * shrink)];
            }

            if (noise?.EvaluationNoise is { } final)
                w = Noised(w, final, new TestNoise(1, result.Party.Name + "\0weights"));
            Assert.Equal(calibration == Calibration.WeightNoise && noise is not null, noise?.GradientNoise is not null);
            Assert.Equal(charged && !active && calibration == Calibration.Tight, noise?.EvaluationNoise is not null);
            // Sums in another order may round to the next step of the lattice, 2^-24 of a deviation.
            VerticalData.AssertClose(w, result.Model.Weights, 1e-4);
        }
    }

    private static double[] Noised(double[] values, NoiseCalibration calibration, TestNoise source)
    {
        int[] drawn = new int[values.Length];
        source.Fill(drawn);
        double step = calibration.Sigma / INoiseSource.LatticeScale;
        return [.. values.Select((v, i) => step * (Math.Round(v / step) + drawn[i]))];
    }

    [Fact]
    public async Task Reshuffle_ModeNone_SplitOverPartiesTrainsAsPooled()
    {
        var data = VerticalData.Random(31, "binomial", 61, 3, 2, 2);
        var training = new GlmTrainingOptions { Epochs = 4, BatchesPerEpoch = 5, StepSize = 0.3, Reshuffle = true, Optimizer = GlmOptimizer.Sgd };
        IReadOnlyList<GlmPartyResult> split = await LocalFederation.TrainAsync(data.Job("binomial", training), data.Inputs(order: 3));
        IReadOnlyList<GlmPartyResult> still = await LocalFederation.TrainAsync(data.Job("binomial", training with { Reshuffle = false }), data.Inputs(order: 3));
        var pooled = VerticalData.Random(31, "binomial", 61, 7);
        IReadOnlyList<GlmPartyResult> together = await LocalFederation.TrainAsync(pooled.Job("binomial", training), pooled.Inputs());
        Assert.Equal(together[0].Train!.LogLoss!.Value, split[0].Train!.LogLoss!.Value, 1e-12);
        Assert.NotEqual(still[0].Train!.LogLoss!.Value, split[0].Train!.LogLoss!.Value, 1e-6);
    }

    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(1, 5, 2)]
    [InlineData(500, -1, 3)]
    public void EpochOrder_AnySeed_IsTheSortedDigests(int rows, long seed, int epoch)
    {
        byte[] Text(int row)
        {
            byte[] text = new byte[16];
            BinaryPrimitives.WriteInt64LittleEndian(text, seed);
            BinaryPrimitives.WriteInt32LittleEndian(text.AsSpan(8), epoch);
            BinaryPrimitives.WriteInt32LittleEndian(text.AsSpan(12), row);
            return text;
        }

        int[] order = EpochOrder.Of(rows, seed, epoch);
        Assert.Equal(Enumerable.Range(0, rows).OrderBy(row => new BigInteger(SHA256.HashData(Text(row)), isUnsigned: true, isBigEndian: true)), order);
        if (rows > 1)
            Assert.NotEqual(EpochOrder.Of(rows, seed, epoch + 1), order);
    }

    [Fact]
    public async Task Unit_Label_DisclosesScoresAndClaimsLabelsOnly()
    {
        var data = VerticalData.Random(32, "binomial", 60, 3, 2);
        var ledgers = new InMemoryLedger[] { new(), new() };
        GlmPartyInput[] inputs = [.. data.Inputs().Select((input, i) => input with { Ledger = ledgers[i] })];
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(Job(data, "binomial", p => p with { Unit = PrivacyUnit.Label }, testNoise: null), inputs);
        Assert.All(session.Sent.Where(m => m.Payload is Scores), m => Assert.Equal(Protection.None, m.Protection));
        Assert.Contains(session.Sent, m => m.Name == "training scores: unit label");
        Assert.All(session.Sent.Where(m => m.Payload is Residuals), m => Assert.Equal(Protection.Noise, m.Protection));
        Assert.Contains("for changing the label of one row, the features of every party being unprotected", Assert.Single(results[0].Privacy.Claims), StringComparison.Ordinal);
        Assert.StartsWith("no claim: privacy.unit is label", Assert.Single(results[1].Privacy.Claims), StringComparison.Ordinal);
        Assert.Equal(PrivacyUnit.Label, Assert.Single(ledgers[0].Entries).Charge.Unit);
        // The passive party's scores cost labels nothing, but a later claim about records must know of them.
        LedgerEntry disclosed = Assert.Single(ledgers[1].Entries);
        Assert.Equal((PrivacyUnit.Label, 0, 0), (disclosed.Charge.Unit, disclosed.MuSquared, disclosed.PureEpsilon));
        inputs = [.. inputs.Select(input => input with { RunId = null })];
        // A party without a claim is told of its earlier runs as well.
        IReadOnlyList<GlmPartyResult> again = await LocalFederation.TrainAsync(Job(data, "binomial", p => p with { Unit = PrivacyUnit.Label }, testNoise: null), inputs);
        Assert.All(again, r => Assert.Contains(r.Privacy.Warnings, w => w.StartsWith("1 earlier run over these people protected labels only", StringComparison.Ordinal)));
        IReadOnlyList<GlmPartyResult> later = await LocalFederation.TrainAsync(Job(data, "binomial", p => p, testNoise: null), inputs);
        Assert.All(later, r => Assert.Contains(r.Privacy.Warnings, w => w.StartsWith("2 earlier runs over these people protected labels only", StringComparison.Ordinal)));
    }

    private static void CheckSaysIfOutside(bool isPrivate, string warning) =>
        Assert.Equal(isPrivate, warning.EndsWith("; this sentence is computed from private rows and outside the claim", StringComparison.Ordinal));

    /// <summary>Labels that a feature tells.</summary>
    [Theory]
    [InlineData(PrivacyMode.None, false)]
    [InlineData(PrivacyMode.None, true)]
    [InlineData(PrivacyMode.LabelDp, false)]
    [InlineData(PrivacyMode.LabelDp, true)]
    public async Task Warnings_PerfectRanking_SaysInPrivateModesThatItFollowsFromRows(PrivacyMode mode, bool tests)
    {
        VerticalData data = VerticalData.Random(34, "binomial", 800, 1, 1).WithLabels(_ => 0);
        GlmPartyInput[] inputs = data.Inputs();
        Table table = inputs[0].Table;
        inputs[0] = inputs[0] with { Table = Table.FromMatrix(table.Ids, table.Schema.FeatureNames, table.Values, [.. Enumerable.Range(0, 800).Select(i => table.Values.Row(i)[0] > 0 ? 1.0 : 0)]) };
        GlmJob job = Job(data, "binomial", p => mode == PrivacyMode.None ? new() : p with { Mode = mode, Budget = new(50, 0) }, testNoise: null);
        GlmPartyResult result = (await LocalFederation.TrainAsync(job with
        {
            Split = tests ? job.Split : SplitRule.None,
            Training = job.Training with { Epochs = 60, StepSize = 2, WeightNorm = null },
        }, inputs))[0];
        CheckSaysIfOutside(mode != PrivacyMode.None, Assert.Single(result.Warnings, w => w.Contains($"{(tests ? "test" : "training")} rows almost without a mistake", StringComparison.Ordinal)));
    }

    /// <summary>A step too long in mode none, and noise alone in another: seeds 1 to 12.</summary>
    [Theory]
    [InlineData(PrivacyMode.None)]
    [InlineData(PrivacyMode.HdpVfl)]
    public async Task Warnings_LossThatGrew_SaysInPrivateModesThatItFollowsFromRows(PrivacyMode mode)
    {
        var data = VerticalData.Random(35, "binomial", 80, 2, 2);
        var grew = new List<string>();
        for (long seed = 1; seed <= 12; seed++)
        {
            GlmJob job = Job(data, "binomial", p => mode == PrivacyMode.None ? new() : p with { Budget = new(0.1, 0.004) }, testNoise: seed);
            GlmPartyResult result = (await LocalFederation.TrainAsync(job with { Training = job.Training with { StepSize = mode == PrivacyMode.None ? 500 : 2, WeightNorm = mode == PrivacyMode.None ? null : 1 } }, data.Inputs()))[0];
            grew.AddRange(result.Warnings.Where(w => w.Contains("grew from the first epoch to the last", StringComparison.Ordinal)));
        }

        Assert.NotEmpty(grew);
        Assert.All(grew, warning => CheckSaysIfOutside(mode != PrivacyMode.None, warning));
    }

    [Fact]
    public async Task Ledger_TestNoiseOrAnotherName_IsWarnedOfLater()
    {
        var data = VerticalData.Random(37, "binomial", 60, 3, 2);
        var ledger = new InMemoryLedger();
        GlmPartyInput[] inputs = [.. data.Inputs().Select(input => input with { Ledger = ledger })];
        await LocalFederation.TrainAsync(Job(data, "binomial", p => p), inputs);
        GlmPartyResult result = (await LocalFederation.TrainAsync(Job(data, "binomial", p => p, testNoise: null), inputs))[1];
        Assert.Contains(result.Privacy.Warnings, w => w.StartsWith("1 earlier run over these people used test noise", StringComparison.Ordinal));
        Assert.Contains(result.Privacy.Warnings, w => w.Contains("another party's name", StringComparison.Ordinal));
        Assert.Contains(result.Privacy.Warnings, w => w.Contains("leave them out where you pass it on", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Adjacency_ZeroOut_HalvesTheNoiseAndSaysSo()
    {
        var data = VerticalData.Random(33, "binomial", 60, 3, 2);
        async Task<GlmPartyResult> PassiveAsync(Adjacency adjacency) =>
            (await LocalFederation.TrainAsync(Job(data, "binomial", p => p with { Adjacency = adjacency }, testNoise: null), data.Inputs()))[1];
        GlmPartyResult replace = await PassiveAsync(Adjacency.ReplaceOne), zero = await PassiveAsync(Adjacency.ZeroOut);
        Assert.Equal(replace.Privacy.Calibration!.Sigma / 2, zero.Privacy.Calibration!.Sigma, 1e-12);
        Assert.Contains("for making one row of its table the null row", Assert.Single(zero.Privacy.Claims), StringComparison.Ordinal);
        Assert.Contains(zero.Privacy.Warnings, w => w.Contains("weaker promise", StringComparison.Ordinal));
        Assert.DoesNotContain(replace.Privacy.Warnings, w => w.Contains("weaker promise", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(Calibration.Tight)]
    [InlineData(Calibration.WeightNoise)]
    public async Task Evaluation_Charged_CoversFinalWeightsOutOfTheSameBudget(Calibration calibration)
    {
        var data = VerticalData.Random(34, "binomial", 60, 3, 2);
        (RecordedSession session, GlmPartyResult[] results) = await RecordedSession.TrainAsync(
            Job(data, "binomial", p => p with { Calibration = calibration, Evaluation = EvaluationDisclosure.Charged }, testNoise: null), data.Inputs());
        PartyCalibration passive = results[1].Privacy.Calibration!;
        Assert.Equal(GaussianDp.Mu(2, 0.004), passive.Mu, 1e-12);
        double spent = new[] { passive.MessageNoise, passive.GradientNoise, passive.EvaluationNoise }.Sum(n => n is null ? 0 : n.Mu * n.Mu);
        Assert.Equal(passive.Mu * passive.Mu, spent, 1e-10);
        Assert.StartsWith($"training messages and final weights; a score tells of the features of the row scored, be it a training row, which is outside this claim ({results[1].TestRows} evaluation rows so far): ",
            Assert.Single(results[1].Privacy.Claims), StringComparison.Ordinal);
        Assert.StartsWith("training messages only: ", Assert.Single(results[0].Privacy.Claims), StringComparison.Ordinal);

        // What is sent for the test rows are scores of the noisy weights that the model keeps.
        Scores sent = (Scores)session.Sent.Single(m => m.Name == "evaluation: test rows").Payload;
        Assert.Equal(results[0].TestRows, sent.Length);
        GlmPartyInput input = data.Inputs()[1];
        int[] test = [.. RowIds.Order(input.Table.Ids, -3).Rows.Where((row, _) => RowSplit.TestRows(new SplitRule.ByHash(4, [1]), null, input.Table.Ids, [row])[0])];
        VerticalData.AssertClose(results[1].Model.Score(input.Table, test), sent.Values.ToArray(), 1e-12);
    }

    /// <summary>No sum counts scores that leave as they are, and whoever reads a ledger, or a later report, must know that some did.</summary>
    [Theory]
    [InlineData(PrivacyMode.HdpVfl, EvaluationDisclosure.Disclosed, true)]
    [InlineData(PrivacyMode.HdpVfl, EvaluationDisclosure.Charged, true)]
    [InlineData(PrivacyMode.HdpVfl, EvaluationDisclosure.None, false)]
    [InlineData(PrivacyMode.OneRound, EvaluationDisclosure.Disclosed, true)]
    [InlineData(PrivacyMode.OneRound, EvaluationDisclosure.None, false)]
    public async Task Evaluation_ScoresThatLeave_AreToldByTheLedgerOfTheirSender(PrivacyMode mode, EvaluationDisclosure evaluation, bool leave)
    {
        var data = VerticalData.Random(34, "binomial", 60, 3, 2);
        InMemoryLedger[] ledgers = [new(), new()];
        GlmPartyInput[] inputs = [.. data.Inputs().Select((input, i) => input with { Ledger = ledgers[i] })];
        GlmJob job = Job(data, "binomial", p => p with { Mode = mode, Evaluation = evaluation }, testNoise: null);
        IReadOnlyList<GlmPartyResult> first = await LocalFederation.TrainAsync(job, inputs), second = await LocalFederation.TrainAsync(job, inputs);
        Assert.Equal(leave ? first[1].TestRows : null, (int?)JsonNode.Parse(ledgers[1].Entries[0].Charge.Parameters)![PrivacyCharge.EvaluationRows]);
        Assert.Null(JsonNode.Parse(ledgers[0].Entries[0].Charge.Parameters)![PrivacyCharge.EvaluationRows]);
        bool Told(GlmPartyResult result) => result.LedgerCaveats.Contains("1 earlier run over these people sent scores of evaluation rows as they are: what a score told of its row is in no sum of the ledger");
        Assert.Equal([false, false, false, leave], [.. first.Select(Told), .. second.Select(Told)]);
    }

    [Theory]
    [InlineData(Calibration.Paper, PrivacyUnit.Label, Adjacency.ReplaceOne, EvaluationDisclosure.None, false)]
    [InlineData(Calibration.Paper, PrivacyUnit.Record, Adjacency.ZeroOut, EvaluationDisclosure.None, false)]
    [InlineData(Calibration.Paper, PrivacyUnit.Record, Adjacency.ReplaceOne, EvaluationDisclosure.None, true)]
    [InlineData(Calibration.Paper, PrivacyUnit.Record, Adjacency.ReplaceOne, EvaluationDisclosure.Charged, false)]
    [InlineData(Calibration.Tight, PrivacyUnit.Label, Adjacency.ZeroOut, EvaluationDisclosure.None, false)]
    public void Job_SettingsWithoutProof_AreRefusedBeforeAnyPeerIsMet(Calibration calibration, PrivacyUnit unit, Adjacency adjacency, EvaluationDisclosure evaluation, bool reshuffle)
    {
        var data = VerticalData.Random(35, "binomial", 60, 3, 2);
        GlmJob job = Job(data, "binomial", p => p with { Calibration = calibration, Unit = unit, Adjacency = adjacency, Evaluation = evaluation }, reshuffle);
        var error = Assert.Throws<PrivacyRefusedException>(() => new GlmTrainer(job, data.Inputs()[0]));
        Assert.Equal(5, error.ExitCode);
    }

    [Fact]
    public async Task Train_TwiceInAnotherRowOrder_SameBits()
    {
        var data = VerticalData.Random(36, "binomial", 60, 3, 2);
        GlmJob job = Job(data, "binomial", p => p with { Calibration = Calibration.WeightNoise, Evaluation = EvaluationDisclosure.Charged }, reshuffle: true);
        double[] weights = VerticalData.Weights(await LocalFederation.TrainAsync(job, data.Inputs()));
        Assert.Equal(weights, VerticalData.Weights(await LocalFederation.TrainAsync(job, data.Inputs(order: 4))));
    }
}
