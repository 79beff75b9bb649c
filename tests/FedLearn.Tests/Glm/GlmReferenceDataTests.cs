using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Glm;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm;

/// <summary>Public data sets in mode none reach the figures of the pooled optimum, found with other software (numpy, scikit-learn, statsmodels).</summary>
public class GlmReferenceDataTests
{
    private static (GlmJob Job, GlmPartyInput[] Inputs) Case(string set, string family, double l2, bool split)
    {
        GlmPartyInput Input(string party, string file, string? label) => new()
        {
            Party = party,
            Table = Table.Load(new() { Path = SharedData.Require(set, file), Label = label }, label is not null),
            SplitFile = split ? SharedData.Require(set, "split.csv") : null,
        };
        var job = new GlmJob
        {
            Name = set,
            Model = new() { Family = VerticalData.Family(family), L2 = l2 },
            Split = split ? new SplitRule.FromFile() : SplitRule.None,
            Parties = [new() { Party = new("guest", PartyRole.Active) }, new() { Party = new("host", PartyRole.Passive) }],
        };
        return (job, [Input("guest", "guest.csv", "y"), Input("host", "host.csv", null)]);
    }

    private static async Task<IReadOnlyList<GlmPartyResult>> TrainAsync(string set, string family, double l2)
    {
        (GlmJob job, GlmPartyInput[] inputs) = Case(set, family, l2, split: true);
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, inputs);
        Assert.NotEqual(GlmStopReason.RoundLimit, results[0].StopReason);
        Assert.InRange(results[0].Timing.Epochs, 1, 150);
        return results;
    }

    [Theory]
    [InlineData("adult", 0.9049, 0.0003, 30852, 15473)]
    [InlineData("credit", 0.7137, 0.0005, 22788, 5729)]
    [InlineData("breast", 0.9806, 0.002, 472, 97)]
    public async Task Binomial_Defaults_ReachThePooledAuc(string set, double auc, double tolerance, int train, int test)
    {
        IReadOnlyList<GlmPartyResult> results = await TrainAsync(set, "binomial", 0.001);
        Assert.Equal((train, test), (results[0].TrainRows, results[0].TestRows));
        Assert.Equal(auc, results[0].Test!.Auc!.Value, tolerance);
        if (set == "adult")
            Assert.True(results[0].Objective <= 0.3197, $"objective {results[0].Objective}");
    }

    [Theory]
    [InlineData(0.001, 0.9311)]
    [InlineData(0, 0.9350)]
    public async Task Gaussian_Defaults_ReachThePooledR2(double l2, double r2)
    {
        MetricSet test = (await TrainAsync("motor", "gaussian", l2))[0].Test!;
        Assert.Equal(r2, test.R2!.Value, 0.0005);
    }

    [Theory]
    [InlineData(0.001, 0.8148)]
    [InlineData(0, 0.8147)]
    public async Task Poisson_Defaults_ReachThePooledDeviance(double l2, double deviance)
    {
        MetricSet test = (await TrainAsync("dvisits", "poisson", l2))[0].Test!;
        Assert.Equal(deviance, test.Deviance!.Value, 0.0005);
    }

    [Theory]
    [InlineData("adult", "binomial", "logistic_lam0.001")]
    [InlineData("credit", "binomial", "logistic_lam0.001")]
    [InlineData("breast", "binomial", "logistic_lam0.001")]
    [InlineData("motor", "gaussian", "linear_lam0.001")]
    [InlineData("dvisits", "poisson", "poisson_lam0.001")]
    public async Task Weights_Defaults_AreThePooledWeights(string set, string family, string file)
    {
        // The reference stops where its own solver does; 1e-3 is what it and ours differ by at most on the flattest of these objectives.
        Dictionary<string, double> reference = (await File.ReadAllLinesAsync(SharedData.Require(set, $"reference_weights_{file}.csv"), TestContext.Current.CancellationToken))
            .Skip(1).Select(line => line.Split(',')).ToDictionary(cells => cells[0], cells => double.Parse(cells[1], System.Globalization.CultureInfo.InvariantCulture));
        IReadOnlyList<GlmPartyResult> results = await TrainAsync(set, family, 0.001);
        Assert.Equal(reference["(intercept)"], results[0].Model.Intercept!.Value, 1e-3);
        foreach (GlmPartyResult result in results)
            for (int j = 0; j < result.Model.Weights.Count; j++)
                Assert.Equal(reference[$"{result.Party.Name}.{result.Model.Features.FeatureNames[j]}"], result.Model.Weights[j], 1e-3);
        Assert.Equal(reference.Count, results.Sum(r => r.Model.Weights.Count) + 1);
    }

    [Fact]
    public async Task Multinomial_Vehicle_ReachesThePooledFiguresAndWeights()
    {
        (GlmJob job, GlmPartyInput[] inputs) = Case("vehicle", "multinomial", 0.001, split: true);
        // Columns nearly on a line, and four classes of them: more than the 200 iterations of the default.
        job = job with { Model = job.Model with { Family = GlmFamilies.Multinomial(4) }, Training = new() { Optimizer = GlmOptimizer.Lbfgs, Epochs = 2000 } };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, inputs);
        Assert.Equal((GlmStopReason.Converged, 153), (results[0].StopReason, results[0].TestRows));

        GlmPrediction predicted = await LocalFederation.PredictAsync(job, inputs, [.. results.Select(r => r.Model)]);
        HashSet<string> test = [.. (await File.ReadAllLinesAsync(SharedData.Require("vehicle", "split.csv"), TestContext.Current.CancellationToken))
            .Select(line => line.Split(',')).Where(cells => cells[1] == "test").Select(cells => cells[0])];
        Table guest = inputs[0].Table;
        int n = predicted.Rows.Count;
        int[] held = [.. Enumerable.Range(0, n).Where(i => test.Contains(guest.Ids[predicted.Rows[i]]))];
        int Label(int i) => (int)guest.Labels![predicted.Rows[i]];
        double logLoss = held.Average(i => -Math.Log(predicted.Means[(Label(i) * n) + i]));
        double accuracy = held.Average(i => Enumerable.Range(0, 4).MaxBy(m => predicted.Means[(m * n) + i]) == Label(i) ? 1.0 : 0);
        TestContext.Current.SendDiagnosticMessage("vehicle, held out: accuracy {0:0.0000}, log-loss {1:0.0000}", accuracy, logLoss);
        Assert.Equal(153, held.Length);
        Assert.True(accuracy >= 0.80, $"accuracy {accuracy}");
        Assert.Equal(0.4629, logLoss, 0.002);

        string[][] reference = [.. (await File.ReadAllLinesAsync(SharedData.Require("vehicle", "reference_weights_multinomial_lam0.001.csv"), TestContext.Current.CancellationToken)).Select(line => line.Split(','))];
        double[][] expected = [.. reference.Skip(1).Select(cells => cells[1..].Select(cell => double.Parse(cell, System.Globalization.CultureInfo.InvariantCulture)).ToArray())];
        double[] weights = VerticalData.Weights(results);
        string[] names = [.. results.SelectMany(r => r.Model.Features.FeatureNames.Select(name => $"{r.Party.Name}.{name}"))];
        // The optimum first: the gradient of plain loops over the same rows is 0 at ours, and the file's objective is no lower.
        HashSet<string> training = [.. guest.Ids.Except(test)];
        (double[][] x, double[] y) = Pooled(inputs, training.Contains);
        PooledGlm Truth(double[] w, double[] free)
        {
            var truth = new PooledGlm("multinomial", x, y, 0.001, intercept: true) { Classes = 4 };
            truth.Set(w, free);
            return truth;
        }

        PooledGlm ours = Truth(weights[..(4 * names.Length)], weights[(4 * names.Length)..]);
        PooledGlm file = Truth([.. Enumerable.Range(0, 4).SelectMany(m => names.Select(name => expected[m][Array.IndexOf(reference[0], name) - 1]))], [.. expected.Select(row => row[0])]);
        Assert.True(ours.GradientNorm() <= 1e-7, $"gradient {ours.GradientNorm()}");
        Assert.True(ours.Objective() <= file.Objective() + 1e-12, "the file's weights are better");

        // The file's own solver stopped at a gradient of 1.5e-5, and its weights are up to 1.70e-3 from the exact optimum, which Newton's method in numpy puts within 2e-6 of
        // ours; so 1e-3, which the other files keep, is out of reach for whoever solves this problem.
        Assert.Equal(1.476e-5, file.GradientNorm(), 1e-8);
        double furthest = 0;
        for (int column = 1; column < reference[0].Length; column++)
        {
            int j = Array.IndexOf(names, reference[0][column]);
            double[] own = [.. Enumerable.Range(0, 4).Select(m => column == 1 ? weights[(4 * names.Length) + m] : weights[(m * names.Length) + j])];
            double[] theirs = [.. expected.Select(row => row[column - 1])];
            // Up to the shift that softmax does not know.
            for (int m = 0; m < 4; m++)
                furthest = Math.Max(furthest, Math.Abs(theirs[m] - theirs.Average() - own[m] + own.Average()));
        }

        Assert.Equal(1.698e-3, furthest, 5e-6);
    }

    /// <summary>FATE's protocol: every common row is trained on and measured. The truth is the optimum of the same rows by <see cref="PooledIrls"/>.</summary>
    [Theory]
    [InlineData("credit", "binomial", 0)]
    [InlineData("breast", "binomial", 1)]     // the penalty of the summed loss; without one these rows separate
    [InlineData("motor", "gaussian", 0)]
    [InlineData("dvisits", "poisson", 0)]
    public async Task FateProtocol_TrainIsTest_ReachesTheIndependentOptimum(string set, string family, double summedL2)
    {
        (GlmJob job, GlmPartyInput[] inputs) = Case(set, family, 0, split: false);
        (double[][] x, double[] y) = Pooled(inputs);
        job = job with { Model = job.Model with { L2 = summedL2 / y.Length } };
        GlmPartyResult active = (await LocalFederation.TrainAsync(job, inputs))[0];
        Assert.NotEqual(GlmStopReason.RoundLimit, active.StopReason);
        Assert.Equal((y.Length, 0), (active.TrainRows, active.TestRows));
        MetricSet ours = active.Train!;

        double[] scores = PooledIrls.Fit(family, x, y, summedL2);
        MetricSet best = PooledIrls.Figures(family, scores, y);
        TestContext.Current.SendDiagnosticMessage("{0}, train = test, {1} rows: AUC {2:0.0000}, KS {3:0.0000}, accuracy {4:0.0000}, R2 {5:0.0000}, RMSE {6:0.0000}, deviance {7:0.000000}",
            set, y.Length, ours.Auc, ours.Ks, ours.Accuracy, ours.R2, ours.Rmse, ours.Deviance);
        foreach ((double? expected, double? actual) in new[] { (best.Auc, ours.Auc), (best.Accuracy, ours.Accuracy), (best.R2, ours.R2), (best.Rmse, ours.Rmse) })
        {
            Assert.Equal(expected is null, actual is null);
            Assert.Equal(expected ?? 0, actual ?? 0, 0.001);
        }

        if (family == "binomial")
            Assert.InRange(ours.Ks!.Value, 0.3, 1);
        else
            Assert.Equal(best.Deviance!.Value, ours.Deviance!.Value, 0.001 * best.Deviance.Value);
        if (set == "dvisits")
            Assert.True(ours.R2 >= 0.156, $"R2 {ours.R2}");
    }

    /// <summary>Common rows in the guest's order, columns standardised, and labels.</summary>
    private static (double[][] X, double[] Y) Pooled(GlmPartyInput[] inputs, Func<string, bool>? chosen = null)
    {
        (Table guest, Table host) = (inputs[0].Table, inputs[1].Table);
        Dictionary<string, int> hosts = host.Ids.Select((id, i) => (id, i)).ToDictionary(pair => pair.id, pair => pair.i);
        int[] common = [.. Enumerable.Range(0, guest.Ids.Count).Where(i => hosts.ContainsKey(guest.Ids[i]) && (chosen is null || chosen(guest.Ids[i])))];
        double[][] x = [.. common.Select(i => (double[])[.. guest.Values.Row(i), .. host.Values.Row(hosts[guest.Ids[i]])])];
        for (int j = 0; j < x[0].Length; j++)
        {
            double mean = x.Average(row => row[j]), deviation = Math.Sqrt(x.Average(row => (row[j] - mean) * (row[j] - mean)));
            foreach (double[] row in x)
                row[j] = deviation > 0 ? (row[j] - mean) / deviation : 0;
        }

        return (x, [.. common.Select(i => guest.Labels![i])]);
    }
}
