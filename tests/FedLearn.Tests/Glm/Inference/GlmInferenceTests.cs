using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Glm;

/// <summary>Standard errors against statsmodels' GLM (statsmodels_reference.py, beside this file, makes the expectations).</summary>
public class GlmInferenceTests
{
    private static readonly JsonArray Cases =
        JsonNode.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Glm", "Inference", "inference-expectations.json")))!["cases"]!.AsArray();

    public static TheoryData<string, GlmOptimizer, string> All => new(
        from family in new[] { "binomial", "gaussian", "poisson", "gamma", "tweedie" }
        from optimizer in new[] { GlmOptimizer.Lbfgs, GlmOptimizer.Irls }
        from widths in new[] { "all", "two", "three" }
        select (family, optimizer, widths));

    [Theory]
    [MemberData(nameof(All))]
    public async Task StandardErrors_AnySplitOfColumns_AreThoseOfStatsmodels(string family, GlmOptimizer optimizer, string split)
    {
        JsonNode expected = Cases.Single(c => (string)c!["family"]! == family)!;
        var rows = new GeneratedRows(expected);
        int d = rows.Columns;
        int[] widths = split switch { "all" => [d], "two" => [d / 2, d - d / 2], _ => [1, d / 3, d - 1 - d / 3] };
        GlmJob job = rows.Job(widths) with { Inference = true, Training = new() { Optimizer = optimizer } };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, rows.Inputs(widths), cancellationToken: TestContext.Current.CancellationToken);

        // The active party's coefficients end with the intercept; so do statsmodels'.
        GlmCoefficient[] found = [.. results[0].Inference!.Coefficients.Take(widths[0]), .. results.Skip(1).SelectMany(r => r.Inference!.Coefficients), results[0].Inference!.Coefficients[^1]];
        Assert.Equal(d + 1, found.Length);
        for (int j = 0; j < found.Length; j++)
        {
            double error = (double)expected["errors"]![j]!;
            Assert.Equal((double)expected["params"]![j]!, found[j].Estimate, 1e-6 * error + 1e-9);
            Assert.Equal(error, found[j].StandardError, 1e-6 * error);
            Assert.Equal((double)expected["z"]![j]!, found[j].Z, 1e-6 * Math.Max(1, Math.Abs(found[j].Z)));
            Assert.Equal((double)expected["p"]![j]!, found[j].PValue, 1e-6);
        }

        Assert.All(results, r => Assert.Equal((double)expected["scale"]!, r.Inference!.Dispersion, 1e-6 * (double)expected["scale"]!));
        Assert.All(results, r => Assert.Equal(rows.Rows - d - 1, r.Inference!.DegreesOfFreedom));
    }

    [Theory]
    [InlineData("binomial", GlmOptimizer.Lbfgs)]
    [InlineData("gaussian", GlmOptimizer.Irls)]
    [InlineData("poisson", GlmOptimizer.Lbfgs)]
    [InlineData("gamma", GlmOptimizer.Irls)]
    [InlineData("tweedie", GlmOptimizer.Lbfgs)]
    public async Task StandardErrors_RowsOfWeightZero_AreThoseWithoutThem(string family, GlmOptimizer optimizer)
    {
        var random = new Random(41);
        VerticalData data = VerticalData.Random(41, family, 120, 2, 2);
        data = data.With(rowWeights: [.. data.Labels.Select(_ => random.Next(2) == 0 ? 0 : .5 + random.NextDouble())]);
        int[] kept = [.. Enumerable.Range(0, data.Rows).Where(i => data.RowWeights![i] > 0)];
        (string Id, double[] X, double Y)[] all = [.. data.All];
        VerticalData without = new([.. kept.Select(i => all[i].Id)], [.. kept.Select(i => all[i].X)], [.. kept.Select(i => all[i].Y)], data.Widths) { RowWeights = [.. kept.Select(i => data.RowWeights![i])] };
        foreach (double l2 in new[] { 0, .05 })
        {
            async Task<IReadOnlyList<GlmPartyResult>> InferAsync(VerticalData rows) => await LocalFederation.TrainAsync(rows.Job(family, new() { Optimizer = optimizer }, l2: l2) with { Inference = true }, rows.Inputs(),
                cancellationToken: TestContext.Current.CancellationToken);
            IReadOnlyList<GlmPartyResult> weighted = await InferAsync(data), fewer = await InferAsync(without);
            VerticalData.AssertClose(VerticalData.Weights(fewer), VerticalData.Weights(weighted), 1e-6);
            foreach ((GlmInference expected, GlmInference actual) in fewer.Zip(weighted, (f, w) => (f.Inference!, w.Inference!)))
            {
                Assert.Equal(kept.Length - 5, actual.DegreesOfFreedom);
                Assert.Equal(expected.Dispersion, actual.Dispersion, 1e-6 * expected.Dispersion);
                Assert.All(expected.Coefficients.Zip(actual.Coefficients), pair => Assert.Equal(pair.First.StandardError, pair.Second.StandardError, 1e-6 * pair.First.StandardError));
            }
        }
    }

    [Fact]
    public async Task MixedColumns_OnTheWire_AreABasisOfTheSpaceAndNoColumn()
    {
        var rows = new GeneratedRows(Cases[3]!);
        int[] widths = [2, 3];
        (RecordedSession session, _) = await RecordedSession.TrainAsync(rows.Job(widths) with { Inference = true }, [.. rows.Inputs(widths)]);
        double[][] sent = [.. session.Sent.Where(m => m.Name == "mixed columns: mode none").Select(m => ((VectorPayload)m.Payload).Values.ToArray())];
        Assert.Equal(3, sent.Length);
        for (int a = 0; a < 3; a++)
            for (int b = 0; b < 3; b++)
                Assert.Equal(a == b ? 1 : 0, sent[a].Zip(sent[b], (x, y) => x * y).Sum() / rows.Rows, 1e-9);
        // No sent column is nearly one of the party's: a uniformly random direction of three has an inner product above .9999 with one of three columns
        // with probability 9 (1 - .9999) = 9e-4, and this one, drawn from the columns' digest, is fixed.
        double[][] own = rows.ColumnsOf(1, widths);
        Assert.All(sent, s => Assert.All(own, x => Assert.True(Math.Abs(s.Zip(x, (u, v) => u * v).Sum() / rows.Rows) < .9999)));
    }

    private const string Dependence = "; leave one out of each group";

    /// <summary>The party of the copy, the optimiser, why there are no standard errors, and which columns the party that knows them names.</summary>
    [Theory]
    [InlineData(0, 0, GlmOptimizer.Lbfgs, "of all parties together", 0, "'x0', 'copy'")]
    [InlineData(0, 0, GlmOptimizer.Irls, "of all parties together", 0, "'x0', 'copy'")]
    [InlineData(0, 1, GlmOptimizer.Lbfgs, "of all parties together", 0, "'x0', columns of 'p1'")]
    [InlineData(0, 1, GlmOptimizer.Irls, "of all parties together", 0, "'x0', columns of 'p1'")]
    [InlineData(1, 2, GlmOptimizer.Irls, "of all parties together", 0, "columns of 'p1', columns of 'p2'")]
    [InlineData(1, 1, GlmOptimizer.Lbfgs, "a column of 'p1' is", 1, "'x0', 'copy'")]
    [InlineData(2, 2, GlmOptimizer.Lbfgs, "a column of 'p2' is", 2, "'x0', 'copy'")]
    public async Task DependentColumns_OfATrainedModel_LeaveItWithoutStandardErrors(int of, int at, GlmOptimizer optimizer, string why, int knows, string named)
    {
        var rows = new GeneratedRows(Cases[1]!);
        int[] widths = [2, 3, 2];
        GlmPartyInput[] inputs = [.. rows.Inputs(widths)];
        inputs[at] = Doubled(inputs[at], rows.ColumnsOf(of, widths)[0]);
        GlmJob job = rows.Job(widths) with { Inference = true, Training = new() { Optimizer = optimizer } };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, inputs, cancellationToken: TestContext.Current.CancellationToken);
        // The same model as without the wish, and the same sentence at every party.
        IReadOnlyList<GlmPartyResult> plain = await LocalFederation.TrainAsync(job with { Inference = false }, inputs, cancellationToken: TestContext.Current.CancellationToken);
        VerticalData.AssertClose(VerticalData.Weights(plain), VerticalData.Weights(results), 1e-9);
        string warning = Assert.Single(results[0].Warnings, w => w.StartsWith("the model has no standard errors: ", StringComparison.Ordinal));
        Assert.Contains(why, warning, StringComparison.Ordinal);
        Assert.Contains(Dependence, warning, StringComparison.Ordinal);
        Assert.All(results, r =>
        {
            Assert.Null(r.Inference);
            Assert.Null(r.Model.Inference);
            Assert.Contains(warning, r.Warnings);
        });
        Assert.Equal($"{inputs[knows].Party}: linearly dependent over the training rows: {named}", Assert.Single(results.SelectMany(r => r.Warnings), w => w.Contains("linearly dependent", StringComparison.Ordinal)));
        Assert.Contains(results[knows].Warnings, w => w.Contains("linearly dependent", StringComparison.Ordinal));
    }

    [Fact]
    public async Task RowsThatSayNothing_OrAreTooFew_LeaveTheModelWithoutStandardErrors()
    {
        const string None = "the model has no standard errors: ";
        var rows = new GeneratedRows(Cases[0]!);
        int[] widths = [2, 2];
        Assert.Equal("binomial", rows.Job(widths).Model.Family.Name);
        GlmPartyInput[] inputs = [.. rows.Inputs(widths)];
        GlmJob job = rows.Job(widths) with { Inference = true };
        async Task AssertNoneAsync(GlmPartyInput[] parties, string why)
        {
            IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, parties, cancellationToken: TestContext.Current.CancellationToken);
            Assert.All(results, r => Assert.Null(r.Inference));
            Assert.All(results, r => Assert.Contains(why, Assert.Single(r.Warnings, w => w.StartsWith(None, StringComparison.Ordinal)), StringComparison.Ordinal));
        }

        // A column that is the label separates the classes.
        await AssertNoneAsync([inputs[0], Doubled(inputs[1], inputs[0].Table.Labels!)], "without a mistake");
        GlmPartyInput[] few = [.. inputs.Select(input => input with
        {
            Table = Table.FromMatrix([.. input.Table.Ids.Take(4)], input.Table.Schema.FeatureNames, new DenseMatrix(4, 2, [.. Enumerable.Range(0, 4).SelectMany(i => input.Table.Values.Row(i).ToArray())]),
                input.Table.Labels is null ? null : [0, 1, 0, 1]),
        })];
        await AssertNoneAsync(few, "no more training rows than columns");
        // More columns at a passive party than rows are left: its messages are taken all the same.
        job = job with { Parties = [.. job.Parties, new GlmPartyOptions { Party = new("p2", PartyRole.Passive) }] };
        await AssertNoneAsync([.. few, few[1] with { Party = "p2", Table = Table.FromMatrix(few[1].Table.Ids, ["z0", "z1"], new DenseMatrix(4, 2, [1, 0, 0, 1, 1, 1, 2, -1])) }], "no more training rows than columns");
    }

    /// <summary>A category of a few rows whose labels are all the same: its weight has no finite best value, and no column depends on others.</summary>
    [Theory]
    [InlineData("binomial", 1.0, GlmOptimizer.Lbfgs)]
    [InlineData("binomial", 1.0, GlmOptimizer.Irls)]
    [InlineData("binomial", 1.0, GlmOptimizer.Accelerated)]
    [InlineData("poisson", 0.0, GlmOptimizer.Lbfgs)]
    [InlineData("poisson", 0.0, GlmOptimizer.Irls)]
    [InlineData("tweedie", 0.0, GlmOptimizer.Irls)]
    public async Task StandardErrors_CategoryOfOneLabel_SaySeparationAndNotDependence(string family, double label, GlmOptimizer optimizer)
    {
        VerticalData plain = VerticalData.Random(43, family, 300, 1, 2);
        (string Id, double[] X, double Y)[] all = [.. plain.All];
        bool Rare(int i) => i % 30 == 0;
        VerticalData Category(Func<int, double> y) => new([.. all.Select(row => row.Id)], [.. all.Select((row, i) => new[] { row.X[0], row.X[1], Rare(i) ? 1 : 0 })], [.. all.Select((_, i) => y(i))], plain.Widths);
        async Task<IReadOnlyList<GlmPartyResult>> InferAsync(VerticalData rows, Scaling scaling) => await LocalFederation.TrainAsync(rows.Job(family, new() { Optimizer = optimizer, Epochs = 20_000 }, l2: 0) with
        {
            Inference = true,
            Preprocessing = new() { Scaling = scaling },
        }, rows.Inputs(), cancellationToken: TestContext.Current.CancellationToken);
        foreach (Scaling scaling in new[] { Scaling.None, Scaling.Standardize })
        {
            IReadOnlyList<GlmPartyResult> separated = await InferAsync(Category(i => Rare(i) ? label : all[i].Y), scaling), mixed = await InferAsync(Category(i => all[i].Y), scaling);
            string warning = Assert.Single(separated[0].Warnings, w => w.Contains("no finite best value", StringComparison.Ordinal));
            Assert.StartsWith(separated[0].Inference is null ? "the model has no standard errors: " : "standard errors of some weights say nothing: ", warning, StringComparison.Ordinal);
            Assert.DoesNotContain(separated[0].Warnings, w => w.Contains("linear combination", StringComparison.Ordinal));
            if (separated[1].Inference is { } inference)
                Assert.True(inference.Coefficients[1].StandardError > Math.Abs(inference.Coefficients[1].Estimate));
            // One row of another label, and there is a best value.
            Assert.DoesNotContain(mixed[0].Warnings, w => w.Contains("no finite best value", StringComparison.Ordinal));
            Assert.NotNull(mixed[0].Inference);
        }
    }

    [Fact]
    public async Task StandardErrors_LabelInAnotherUnit_AreInThatUnit()
    {
        VerticalData data = VerticalData.Random(44, "gaussian", 100, 2, 2);
        async Task<GlmInference> InferAsync(VerticalData rows, string family) => (await LocalFederation.TrainAsync(rows.Job(family, new(), l2: 0) with { Inference = true }, rows.Inputs(), cancellationToken: TestContext.Current.CancellationToken))[1].Inference!;
        GlmInference expected = await InferAsync(data, "gaussian"), actual = await InferAsync(data.WithLabels(y => 1e-9 * y), "gaussian");
        Assert.All(expected.Coefficients.Zip(actual.Coefficients), pair => Assert.Equal(pair.First.StandardError, 1e9 * pair.Second.StandardError, 1e-6));
        VerticalData amounts = VerticalData.Random(44, "tweedie", 100, 2, 2);
        (expected, actual) = (await InferAsync(amounts, "tweedie"), await InferAsync(amounts.WithLabels(y => 1e-15 * y), "tweedie"));
        Assert.All(expected.Coefficients.Zip(actual.Coefficients), pair => Assert.Equal(pair.First.StandardError, pair.Second.StandardError, 1e-6));
    }

    private static GlmPartyInput Doubled(GlmPartyInput input, double[] column)
    {
        Table table = input.Table;
        int width = table.Schema.FeatureNames.Count;
        var values = new DenseMatrix(table.Ids.Count, width + 1);
        for (int i = 0; i < table.Ids.Count; i++)
        {
            table.Values.Row(i).CopyTo(values.Row(i));
            values.Row(i)[width] = column[i];
        }

        return input with { Table = Table.FromMatrix(table.Ids, [.. table.Schema.FeatureNames, "copy"], values, table.Labels, weights: table.Weights, offsets: table.Offsets) };
    }

    [Fact]
    public async Task DependentColumns_BeforeAnythingIsTrained_OrUnderAPenalty()
    {
        var rows = new GeneratedRows(Cases[1]!);
        int[] widths = [3, 4];
        IReadOnlyList<GlmPartyInput> inputs = rows.Inputs(widths);
        GlmPartyInput doubled = Doubled(inputs[1], rows.ColumnsOf(1, widths)[0]);
        GlmJob job = rows.Job(widths) with { Inference = true };
        // Newton's method begins with the columns.
        BadInputException refusal = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(job with { Training = new() { Optimizer = GlmOptimizer.Irls } }, [inputs[0], doubled]));
        Assert.Equal("FL3107", refusal.Id);
        Assert.EndsWith(", 'x0', 'copy'", refusal.Place, StringComparison.Ordinal);

        // A penalty tells them apart.
        GlmJob ridge = job with { Model = job.Model with { L2 = .01 } };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(ridge, [inputs[0], doubled], cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(results[1].Inference!.Penalised);
        Assert.Equal(results[1].Inference!.Coefficients[0].StandardError, results[1].Inference!.Coefficients[^1].StandardError, 1e-6);
    }

    [Fact]
    public void Inference_PrivateModesAndClasses_AreRefused()
    {
        var rows = new GeneratedRows(Cases[0]!);
        GlmJob job = rows.Job([15, 15]) with { Inference = true };
        GlmJob secret = job with
        {
            Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-5) },
            Training = new() { WeightNorm = 1, ResidualClip = 1 },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
        };
        Assert.Equal("FL5117", Assert.Throws<PrivacyRefusedException>(() => GlmPlan.Create(secret)).Id);
        Assert.Throws<ConfigurationException>(() => GlmPlan.Create(job with { Model = job.Model with { Family = GlmFamilies.Multinomial(3) } }));
    }

    /// <summary>The rows of a case, as the script generates them.</summary>
    private sealed class GeneratedRows
    {
        private readonly double[][] _x;
        private readonly double[] _y;
        private readonly double[]? _weights, _offsets;
        private readonly string _family;
        private ulong _state;

        public GeneratedRows(JsonNode of)
        {
            (_state, Rows, Columns, _family) = ((ulong)of["seed"]!, (int)of["rows"]!, (int)of["columns"]!, (string)of["family"]!);
            _x = [.. Enumerable.Range(0, Rows).Select(_ =>
            {
                double common = Uniform();
                return Enumerable.Range(0, Columns).Select(_ => Uniform() + 0.5 * common).ToArray();
            })];
            for (int j = 0; j < Columns; j++)
            {
                double mean = _x.Average(row => row[j]), deviation = Math.Sqrt(_x.Average(row => (row[j] - mean) * (row[j] - mean)));
                foreach (double[] row in _x)
                    row[j] = (row[j] - mean) / deviation;
            }

            bool weights = (bool)of["weights"]!, exposure = (bool)of["exposure"]!;
            (_y, _weights, _offsets) = (new double[Rows], weights ? new double[Rows] : null, exposure ? new double[Rows] : null);
            for (int i = 0; i < Rows; i++)
            {
                double z = 0.3 + 0.4 * _x[i][0] - 0.3 * _x[i][Columns - 1], e = exposure ? 0.5 + Uniform() : 1;
                if (_offsets is not null)
                    _offsets[i] = Math.Log(e);
                if (_weights is not null)
                    _weights[i] = 0.5 + Uniform();
                double noise = Uniform();
                _y[i] = _family switch
                {
                    "binomial" => noise < 1 / (1 + Math.Exp(-z)) ? 1 : 0,
                    "gaussian" => z + 2 * noise - 1,
                    "poisson" => Math.Floor(2 * noise * Math.Exp(z) * e),
                    _ => _family == "gamma" || noise > 0.3 ? Math.Exp(z) * (0.2 + 1.6 * noise) : 0,
                };
            }
        }

        public int Rows { get; }

        public int Columns { get; }

        public GlmJob Job(int[] widths) => new()
        {
            Name = "inference",
            Model = new() { Family = ShippedFamilies.Named(_family), L2 = 0 },
            Preprocessing = new() { Scaling = Scaling.None },
            Parties = [.. widths.Select((_, p) => new GlmPartyOptions { Party = new($"p{p}", p == 0 ? PartyRole.Active : PartyRole.Passive) })],
        };

        public IReadOnlyList<GlmPartyInput> Inputs(int[] widths) => [.. widths.Select((width, p) =>
        {
            double[][] columns = ColumnsOf(p, widths);
            var values = new DenseMatrix(Rows, width);
            for (int i = 0; i < Rows; i++)
                for (int j = 0; j < width; j++)
                    values.Row(i)[j] = columns[j][i];
            string[] ids = [.. Enumerable.Range(0, Rows).Select(i => $"r{i}")];
            return new GlmPartyInput
            {
                Party = $"p{p}",
                Table = Table.FromMatrix(ids, [.. Enumerable.Range(0, width).Select(j => $"x{j}")], values, p == 0 ? _y : null,
                    weights: p == 0 ? _weights : null, offsets: p == 0 ? _offsets : null),
            };
        })];

        public double[][] ColumnsOf(int party, int[] widths) =>
            [.. Enumerable.Range(widths.Take(party).Sum(), widths[party]).Select(j => _x.Select(row => row[j]).ToArray())];

        private double Uniform()
        {
            _state = unchecked(_state * 6364136223846793005 + 1442695040888963407);
            return (_state >> 11) / (double)(1L << 53);
        }
    }
}
