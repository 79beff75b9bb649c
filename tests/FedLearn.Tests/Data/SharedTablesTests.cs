using System.Globalization;
using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Numerics;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Data;

/// <summary>Public data sets, split between two files: read, aligned, split and standardised here, they must make the weights that
/// other software found on the pooled table an optimum with its test metrics.</summary>
public sealed class SharedTablesTests
{
    private static readonly PreprocessingOptions Standardized = new() { Scaling = Scaling.Standardize };

    /// <summary>Features and labels of the rows of both files, in the common order.</summary>
    private sealed record Pooled(double[][] Train, double[] TrainLabels, double[][] Test, double[] TestLabels, string[] Names);

    [Theory]
    [InlineData("adult", 30852, 15473, 0.9049, 0.8528, 0.3192, 0.3196)]
    [InlineData("credit", 22788, 5729, 0.7137, 0.8087, 0.4662, 0.4650)]
    [InlineData("breast", 472, 97, 0.9806, 0.9691, 0.1393, 0.0589)]
    public void Logistic_ReferenceWeights_AreThePooledOptimum(string set, int train, int test, double auc, double accuracy, double logLoss, double objective)
    {
        Pooled data = Load(set);
        Assert.Equal((train, test), (data.Train.Length, data.Test.Length));
        (double intercept, double[] weights) = Weights(set, "logistic_lam0.001", data.Names);
        var metrics = MetricSet.ForBinomial(Scores(data.Test, weights, intercept), data.TestLabels);
        Assert.Equal(auc, metrics.Auc!.Value, 5e-5);
        Assert.Equal(accuracy, metrics.Accuracy!.Value, 5e-5);
        Assert.Equal(logLoss, metrics.LogLoss!.Value, 5e-5);
        double[] scores = Scores(data.Train, weights, intercept);
        Assert.Equal(objective, Metrics.LogLoss(scores, data.TrainLabels) + (0.0005 * weights.Sum(w => w * w)), 5e-5);
        AssertStationary(data, weights, 0.001, [.. scores.Select((z, i) => (1 / (1 + Math.Exp(-z))) - data.TrainLabels[i])], 1e-5);         // L-BFGS of scikit-learn, default tolerance
    }

    [Theory]
    [InlineData("linear_OLS", 0.0, 0.2564, 0.9350)]
    [InlineData("linear_lam0.001", 0.001, 0.2639, 0.9311)]
    public void Linear_ReferenceWeights_AreThePooledOptimum(string reference, double l2, double rmse, double r2)
    {
        Pooled data = Load("motor");
        (double intercept, double[] weights) = Weights("motor", reference, data.Names);
        var metrics = MetricSet.ForGaussian(Scores(data.Test, weights, intercept), data.TestLabels);
        Assert.Equal(rmse, metrics.Rmse!.Value, 5e-5);
        Assert.Equal(r2, metrics.R2!.Value, 5e-5);
        AssertStationary(data, weights, l2, [.. Scores(data.Train, weights, intercept).Select((z, i) => z - data.TrainLabels[i])], 1e-9);
    }

    [Theory]
    [InlineData("poisson_MLE", 0.0, 0.8147, 0.7190)]
    [InlineData("poisson_lam0.001", 0.001, 0.8148, 0.7192)]
    public void Poisson_ReferenceWeights_AreThePooledOptimum(string reference, double l2, double deviance, double rmse)
    {
        Pooled data = Load("dvisits");
        (double intercept, double[] weights) = Weights("dvisits", reference, data.Names);
        var metrics = MetricSet.ForPoisson(Scores(data.Test, weights, intercept), data.TestLabels);
        Assert.Equal(deviance, metrics.Deviance!.Value, 5e-5);
        Assert.Equal(rmse, metrics.Rmse!.Value, 5e-5);
        AssertStationary(data, weights, l2, [.. Scores(data.Train, weights, intercept).Select((z, i) => Math.Exp(z) - data.TrainLabels[i])], 1e-7);
    }

    [Theory]
    [InlineData("credit")]
    [InlineData("breast")]
    [InlineData("motor")]
    [InlineData("dvisits")]
    public void SplitFile_OfEverySet_IsTheHashRule(string set)
    {
        Table table = Read(set, "guest", needLabel: true);
        (int[] rows, _) = Common(table, Read(set, "host", needLabel: false));
        Assert.Equal(RowSplit.TestRows(new SplitRule.FromFile(), SharedData.Require(set, "split.csv"), table.Ids, rows),
            RowSplit.TestRows(new SplitRule.ByHash(5, [0]), null, table.Ids, rows));
    }

    [Theory]
    [InlineData("adult")]
    [InlineData("credit")]
    [InlineData("breast")]
    public void DeclaredAndClipped_EverySet_StaysWithinTheRowNorm(string set)
    {
        foreach (string side in (string[])["guest", "host"])
        {
            Table table = Read(set, side, needLabel: false);
            var map = FeatureMap.Fit(table, [], new PreprocessingOptions { Scaling = Scaling.Declared, Rows = RowBound.Clip }, constant: true);
            DenseMatrix features = map.Transform(table, [.. Enumerable.Range(0, table.Ids.Count)]);
            for (int i = 0; i < features.Rows; i++)
            {
                double squares = 0;
                foreach (double value in features.Row(i))
                    squares += value * value;
                Assert.InRange(squares, 0.5 - 1e-15, 1);                     // the constant alone is half of the square
            }
        }
    }

    private static Table Read(string set, string side, bool needLabel) => Table.Load(new TableSource
    {
        Path = SharedData.Require(set, side + ".csv"),
        Schema = SharedData.Require(set, side + ".schema.json"),
    }, needLabel);

    private static (int[] A, int[] B) Common(Table a, Table b)
    {
        SortedRows left = RowIds.Order(a.Ids, 7), right = RowIds.Order(b.Ids, 7);
        Dictionary<string, int> byId = right.Rows.ToDictionary(row => b.Ids[row]);
        int[] rows = [.. left.Rows.Where(row => byId.ContainsKey(a.Ids[row]))], others = [.. rows.Select(row => byId[a.Ids[row]])];
        Dictionary<int, int> place = right.Rows.Select((row, i) => (row, i)).ToDictionary(pair => pair.row, pair => pair.i);
        Assert.All(others.Zip(others.Skip(1)), pair => Assert.True(place[pair.First] < place[pair.Second]));     // one order at both sides
        return (rows, others);
    }

    private static Pooled Load(string set)
    {
        Table guest = Read(set, "guest", needLabel: true), host = Read(set, "host", needLabel: false);
        (int[] guestRows, int[] hostRows) = Common(guest, host);
        bool[] test = RowSplit.TestRows(new SplitRule.FromFile(), SharedData.Require(set, "split.csv"), guest.Ids, guestRows);
        double[][] features = [.. guestRows.Select(_ => Array.Empty<double>())];
        foreach ((Table table, int[] rows) in ((Table, int[])[])[(guest, guestRows), (host, hostRows)])
        {
            var map = FeatureMap.Fit(table, [.. rows.Where((_, i) => !test[i])], Standardized, constant: false);
            DenseMatrix own = map.Transform(table, rows);
            for (int i = 0; i < rows.Length; i++)
                features[i] = [.. features[i], .. own.Row(i)];
        }

        double[] labels = [.. guestRows.Select(row => guest.Labels![row])];
        return new Pooled([.. features.Where((_, i) => !test[i])], [.. labels.Where((_, i) => !test[i])], [.. features.Where((_, i) => test[i])],
            [.. labels.Where((_, i) => test[i])], [.. guest.Schema.FeatureNames.Select(name => "guest." + name), .. host.Schema.FeatureNames.Select(name => "host." + name)]);
    }

    private static (double Intercept, double[] Weights) Weights(string set, string reference, string[] names)
    {
        Dictionary<string, double> all = File.ReadLines(SharedData.Require(set, $"reference_weights_{reference}.csv")).Skip(1).Select(line => line.Split(','))
            .ToDictionary(parts => parts[0], parts => double.Parse(parts[1], CultureInfo.InvariantCulture));
        Assert.Equal(names.Length + 1, all.Count);
        return (all["(intercept)"], [.. names.Select(name => all[name])]);
    }

    private static double[] Scores(double[][] rows, double[] weights, double intercept) => [.. rows.Select(row => intercept + row.Zip(weights, (x, w) => x * w).Sum())];

    /// <summary>The gradient of mean loss + l2/2 |w|^2 is 0, up to where the other software stopped.</summary>
    private static void AssertStationary(Pooled data, double[] weights, double l2, double[] residuals, double tolerance)
    {
        Assert.Equal(0, residuals.Average(), tolerance);
        for (int j = 0; j < weights.Length; j++)
            Assert.Equal(0, data.Train.Select((row, i) => row[j] * residuals[i]).Average() + (l2 * weights[j]), tolerance);
    }
}
