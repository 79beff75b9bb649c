using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Experiments.Tables;
using FedLearn.Glm;
using FedLearn.Numerics;

namespace FedLearn.Baselines.Tests.Tables;

/// <summary>The tables of benchmarks/FedLearn.Experiments, whose source is compiled in here.</summary>
public class TablesTests
{
    private const int Rows = 600, GuestColumns = 3, HostColumns = 4;

    [Fact]
    public async Task Measure_OfASyntheticDataSet_TrainsEveryModeAsStated()
    {
        TableData data = Data(out double[,] guest, out double[] labels, out string[] ids);
        List<TableRow> rows = [];
        await foreach (TableRow row in TableRuns.MeasureAsync(data, [1], 1, TestContext.Current.CancellationToken))
            rows.Add(row);

        Assert.Equal([TableRuns.None, TableRuns.NoneOptimum, TableRuns.Guest, TableRuns.GuestOptimum, "hdp-vfl, paper", "hdp-vfl, tight", "hdp-vfl, weight-noise", "one-round", "he", "he+dp"],
            rows.Select(r => r.Mode));
        Assert.All(rows, r => Assert.Equal(r.Mode is "he" or "he+dp" && r.Status == "skipped" ? [] : [true], r.Runs.Select(run => run.SecureNoise)));
        Assert.All(rows.Where(r => r.Mode is not ("he" or "he+dp")), r => Assert.Equal("ok", r.Status));
        Assert.All(rows.Where(r => r.Epsilon is not null), r => Assert.Equal(2e-4, r.Delta!.Value, 1e-12));
        TableRow Of(string mode) => rows.Single(r => r.Mode == mode);
        Assert.Equal(0, Of(TableRuns.Guest).Runs[0].Bytes);
        // Noise crosses as lattice integers, scores and residuals without it as float64: in ten epochs at least a score and a residual of each training row.
        Assert.InRange(Of(TableRuns.None).Runs[0].Bytes, TableRuns.Epochs * 2 * 8 * (Rows * 7 / 10), long.MaxValue);
        Assert.True(Of(TableRuns.NoneOptimum).LogLoss!.Value.Mean < Of(TableRuns.GuestOptimum).LogLoss!.Value.Mean);

        // The guest alone at the stated setting, step by step.
        MetricSet expected = GuestAlone(guest, labels, ids);
        Assert.Equal(expected.LogLoss!.Value, Of(TableRuns.Guest).LogLoss!.Value.Mean, 1e-9);
        Assert.Equal(expected.Auc!.Value, Of(TableRuns.Guest).Auc!.Value.Mean, 1e-9);

        if (Of("he").Status == "skipped")
            Assert.Skip($"All but encryption was checked. {Of("he").Note}");
        Assert.Equal("ok", Of("he+dp").Status);
        // Taylor's residual differs from the logistic one by at most .019 for |z| up to 1 and .12 at 2, as far as two weights of length 1 reach.
        Assert.Equal(Of(TableRuns.None).LogLoss!.Value.Mean, Of("he").LogLoss!.Value.Mean, .02);
        Assert.True(Of("he").SetupSeconds > 0);
        Assert.True(Of("he").Runs[0].Bytes > Of(TableRuns.None).Runs[0].Bytes);
    }

    [Fact]
    public void Delta_OfRows_IsATenthOfAnNthRoundedUnlessThereAreMany()
    {
        Assert.Equal([1e-5, 1e-5, 1e-5, 2e-4, 2e-3, 1e-2], new[] { 30_852, 10_000, 9_999, 472, 50, 1 }.Select(n => Math.Round(TableRuns.DeltaOf(n), 12)));
    }

    [Fact]
    public void Table_OfRows_TellsMeansDeviationsAndWhyARowIsMissing()
    {
        string table = TableText.Table([Row(TableRuns.None, null, .8), Row("one-round", 1, .7, .72) with { Delta = 1e-5 }, Row("he", null) with { Status = "skipped", Note = "FL6200: absent" }]);

        Assert.Equal(
            [
                "| d | none | - | 0.8000 | 0.5000 | 0.6000 | 0.25000 | 1.500 | - |  |",
                "| d | one-round | 1 | 0.7100 ± 0.0141 | 0.5000 ± 0.0000 | 0.6000 ± 0.0000 | 0.25000 | 1.500 | - |  |",
                "| d | he | - | - | - | - | - | - | - | skipped: FL6200: absent |",
            ],
            table.Split('\n', StringSplitOptions.RemoveEmptyEntries)[2..]);
    }

    [Fact]
    public void Findings_OfRows_NameTheEpsilonsAtWhichTheGuestIsBeaten()
    {
        string findings = TableText.Findings(
        [
            Row(TableRuns.None, null, .8), Row(TableRuns.Guest, null, .6), Row(TableRuns.GuestOptimum, null, .7),
            Row("one-round", .1, .5, .55), Row("one-round", 1, .6, .81), Row("one-round", 10, .78, .8), Row("he", null, .79),
            Row("he+dp", .1) with { Status = "refused", Note = "no" },
        ]);

        Assert.Contains("| d | none | yes | yes | no | no |", findings, StringComparison.Ordinal);
        Assert.Contains("| d | one-round | 1 (within a deviation), 10 | 1 (within a deviation), 10 | at none | at none |", findings, StringComparison.Ordinal);
        Assert.Contains("| d | he+dp | - | - | - | - |", findings, StringComparison.Ordinal);
        Assert.Contains("- d: he differs from none by -0.0100 of AUC", findings, StringComparison.Ordinal);
        Assert.DoesNotContain("NOT PRIVATE", findings, StringComparison.Ordinal);
    }

    [Fact]
    public void Findings_OfSeededNoise_SayNotPrivate()
    {
        TableRow seeded = Row("one-round", 1, .7);

        Assert.Contains("NOT PRIVATE", TableText.Findings([seeded with { Runs = [seeded.Runs[0] with { SecureNoise = false }] }]), StringComparison.Ordinal);
    }

    private static TableRow Row(string mode, double? epsilon, params double[] aucs) =>
        new("d", mode, epsilon, null, "ok", null, [.. aucs.Select(auc => new TableRun(auc, .5, .6, true, .25, 1_500_000, null, null, null, true))]);

    private static TableData Data(out double[,] guestValues, out double[] labels, out string[] ids)
    {
        var random = new Random(11);
        DenseMatrix Draw(int columns)
        {
            var matrix = new DenseMatrix(Rows, columns);
            for (int i = 0; i < Rows; i++)
                for (int j = 0; j < columns; j++)
                    matrix.Row(i)[j] = (2 * random.NextDouble()) - 1;
            return matrix;
        }

        DenseMatrix guest = Draw(GuestColumns), host = Draw(HostColumns);
        ids = [.. Enumerable.Range(0, Rows).Select(i => "r" + i.ToString(CultureInfo.InvariantCulture))];
        labels = [.. Enumerable.Range(0, Rows).Select(i => random.NextDouble() < 1 / (1 + Math.Exp(-((2 * guest.Row(i)[0]) + (3 * host.Row(i)[1]) + .5))) ? 1.0 : 0)];
        guestValues = new double[Rows, GuestColumns];
        for (int i = 0; i < Rows; i++)
            for (int j = 0; j < GuestColumns; j++)
                guestValues[i, j] = guest.Row(i)[j];
        Table TableOf(string party, DenseMatrix values, string[] rows, double[]? y)
        {
            string[] names = [.. Enumerable.Range(0, values.Columns).Select(j => party + j.ToString(CultureInfo.InvariantCulture))];
            return Table.FromMatrix(rows, names, values, y, TableSchema.Create([.. names.Select(n => Field.Numeric(n, -1, 1))]));
        }

        GlmPartyInput active = new() { Party = "guest", Table = TableOf("g", guest, ids, labels) }, passive = new() { Party = "host", Table = TableOf("h", host, ids, null) };
        return new TableData("synthetic", joint => joint ? [active, passive] : [active], new SplitRule.ByHash(5, [0]));
    }

    /// <summary>Projected gradient descent on the guest's columns over sqrt(fields), the constant, all over sqrt 2, and a free intercept.</summary>
    private static MetricSet GuestAlone(double[,] values, double[] labels, string[] ids)
    {
        bool[] test = [.. ids.Select(id => (int)(new BigInteger(SHA256.HashData(Encoding.UTF8.GetBytes(id)), isUnsigned: true, isBigEndian: true) % 5) == 0)];
        double[] w = new double[GuestColumns + 1];
        double intercept = 0;
        double X(int i, int j) => (j == GuestColumns ? 1 : values[i, j] / Math.Sqrt(GuestColumns)) / Math.Sqrt(2);
        double Z(int i) => intercept + Enumerable.Range(0, w.Length).Sum(j => X(i, j) * w[j]);
        int n = test.Count(t => !t);
        for (int epoch = 0; epoch < TableRuns.Epochs; epoch++)
        {
            double[] gradient = new double[w.Length];
            double free = 0;
            for (int i = 0; i < Rows; i++)
            {
                if (test[i])
                    continue;
                double r = (1 / (1 + Math.Exp(-Z(i)))) - labels[i];
                free += r / n;
                for (int j = 0; j < w.Length; j++)
                    gradient[j] += r * X(i, j) / n;
            }

            for (int j = 0; j < w.Length; j++)
                w[j] -= TableRuns.StepSize * (gradient[j] + (TableRuns.L2 * w[j]));
            intercept -= TableRuns.StepSize * free;
            double length = Math.Sqrt(w.Sum(v => v * v));
            if (length > TableRuns.WeightNorm)
                w = [.. w.Select(v => v * TableRuns.WeightNorm / length)];
        }

        int[] rows = [.. Enumerable.Range(0, Rows).Where(i => test[i])];
        return MetricSet.ForBinomial(rows.Select(Z).ToArray(), rows.Select(i => labels[i]).ToArray());
    }
}
