using System.Text.Json.Nodes;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Data;
using FedLearn.Coordination;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Glm;

/// <summary>Gamma, Tweedie and multinomial against formulas as one reads them in a book, and optima against other software.</summary>
public class GlmFamilyFormulaTests
{
    public static TheoryData<double> Powers => [1.1, 1.5, 1.9];

    // Lengths around the block of 256 rows and the width of a vector.
    private static readonly Gen<(int Length, int Seed)> Rows =
        Gen.Elements(0, 1, 2, 3, 7, 8, 9, 255, 256, 257, 600).SelectMany(n => Gen.Choose(0, 1_000_000).Select(seed => (n, seed)));

    private static double[] Scores(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (random.NextDouble() * 10) - 5)];

    private static void Compare(IGlmFamily family, double[] z, double[] y, Func<double, double, (double Loss, double Residual, double Curvature, double Information, double Deviance)> plain)
    {
        double[] residuals = new double[z.Length], curvatures = new double[z.Length], information = new double[z.Length], means = new double[z.Length];
        family.Residuals(z, y, residuals);
        family.Curvatures(z, y, curvatures);
        family.Information(z, information);
        family.Means(z, means);
        double loss = 0, deviance = 0, size = 1;
        for (int i = 0; i < z.Length; i++)
        {
            (double l, double r, double h, double expected, double d) = plain(z[i], y[i]);
            double tolerance = 1e-12 * (1 + Math.Abs(r) + h);
            Assert.Equal(r, residuals[i], tolerance);
            Assert.Equal(h, curvatures[i], tolerance);
            Assert.Equal(expected, information[i], 1e-12 * (1 + expected));
            Assert.Equal(Math.Exp(z[i]), means[i], 1e-13 * means[i]);
            (loss, deviance, size) = (loss + l, deviance + d, size + Math.Abs(l) + d);
        }

        Assert.Equal(loss, family.LossSum(z, y), 1e-12 * size);
        Assert.Equal(deviance, family.DevianceSum(z, y), 1e-11 * size);
    }

    [Fact]
    public void Gamma_RandomRows_MatchesPlainFormulas() => Prop.ForAll(Rows.ToArbitrary(), draw =>
    {
        var random = new Random(draw.Seed);
        double[] z = Scores(random, draw.Length), y = [.. z.Select(_ => Math.Exp(4 * random.NextDouble() - 2))];
        Compare(GlmFamilies.Gamma, z, y, (score, label) =>
        {
            double mu = Math.Exp(score);
            return (Math.Log(mu) + (label / mu), (mu - label) / mu, label / mu, 1, 2 * (((label - mu) / mu) - Math.Log(label / mu)));
        });
    }).QuickCheckThrowOnFailure();

    [Theory]
    [MemberData(nameof(Powers))]
    public void Tweedie_RandomRows_MatchesPlainFormulas(double p) => Prop.ForAll(Rows.ToArbitrary(), draw =>
    {
        var random = new Random(draw.Seed);
        double[] z = Scores(random, draw.Length), y = [.. z.Select(_ => random.Next(2) * Math.Exp(4 * random.NextDouble() - 2))];
        Compare(GlmFamilies.Tweedie(p), z, y, (score, label) =>
        {
            // Wikipedia's unit deviance; the residual is (mu - y)/V(mu) times dmu/dz.
            double mu = Math.Exp(score), loss = -(label * Math.Pow(mu, 1 - p) / (1 - p)) + (Math.Pow(mu, 2 - p) / (2 - p));
            return (loss, (mu - label) / Math.Pow(mu, p) * mu, ((2 - p) * Math.Pow(mu, 2 - p)) - ((1 - p) * label * Math.Pow(mu, 1 - p)), mu * mu / Math.Pow(mu, p),
                2 * ((Math.Pow(label, 2 - p) / ((1 - p) * (2 - p))) + loss));
        });
    }).QuickCheckThrowOnFailure();

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    public void Multinomial_RandomRows_MatchesPlainFormulas(int classes) => Prop.ForAll(Rows.ToArbitrary(), draw =>
    {
        var random = new Random(draw.Seed);
        int n = draw.Length, k = classes;
        IGlmFamily family = GlmFamilies.Multinomial(k);
        double[] z = Scores(random, n * k), y = [.. Enumerable.Range(0, n).Select(_ => (double)random.Next(k))];
        double[] residuals = new double[n * k], curvatures = new double[n * k * k], information = new double[n * k * k], means = new double[n * k];
        family.Residuals(z, y, residuals);
        family.Curvatures(z, y, curvatures);
        family.Information(z, information);
        family.Means(z, means);
        double loss = 0;
        for (int i = 0; i < n; i++)
        {
            double[] e = [.. Enumerable.Range(0, k).Select(m => Math.Exp(z[(m * n) + i]))];
            loss -= Math.Log(e[(int)y[i]] / e.Sum());
            for (int m = 0; m < k; m++)
            {
                double p = e[m] / e.Sum();
                Assert.Equal(p, means[(m * n) + i], 1e-14);
                Assert.Equal(p - (m == y[i] ? 1 : 0), residuals[(m * n) + i], 1e-14);
                for (int l = 0; l < k; l++)
                {
                    double q = e[l] / e.Sum();
                    Assert.Equal(m == l ? p * (1 - p) : -p * q, curvatures[(((m * k) + l) * n) + i], 1e-14);
                }
            }
        }

        Assert.Equal(curvatures, information);
        Assert.Equal(loss, family.LossSum(z, y), 1e-12 * (1 + loss));
        Assert.Equal(2 * loss, family.DevianceSum(z, y), 1e-12 * (1 + loss));
    }).QuickCheckThrowOnFailure();

    [Fact]
    public void Multinomial_FarScores_NeitherOverflowNorCancel()
    {
        IGlmFamily family = GlmFamilies.Multinomial(3);
        double[] means = new double[3], residuals = new double[3];
        family.Means([1000, 0, -1000], means);
        Assert.Equal([1, 0, 0], means);
        Assert.Equal(1000, family.LossSum([1000, 0, -1000], [1]), 1e-9);
        Assert.Equal(2000, family.LossSum([1000, 0, -1000], [2]), 1e-9);
        family.Residuals([-1000, -1000, -1000], [1], residuals);
        Assert.Equal([1 / 3d, -2 / 3d, 1 / 3d], residuals, (a, b) => Math.Abs(a - b) <= 1e-15);
    }

    [Theory]
    [InlineData("gamma", 0.5, true)]
    [InlineData("gamma", 0, false)]
    [InlineData("gamma", -1, false)]
    [InlineData("gamma", double.NaN, false)]
    [InlineData("gamma", double.PositiveInfinity, false)]
    [InlineData("tweedie", 0, true)]
    [InlineData("tweedie", 1.5, true)]
    [InlineData("tweedie", -1.5, false)]
    [InlineData("tweedie", double.NaN, false)]
    [InlineData("multinomial", 0, true)]
    [InlineData("multinomial", 2, true)]
    [InlineData("multinomial", 3, false)]
    [InlineData("multinomial", 1.5, false)]
    [InlineData("multinomial", -1, false)]
    [InlineData("multinomial", double.NaN, false)]
    public void LabelFault_Label_IsLegalOrNot(string name, double label, bool legal)
    {
        string? fault = VerticalData.Family(name).LabelFault(label);
        Assert.Equal(legal, fault is null);
        Assert.DoesNotContain("1.5", fault ?? "", StringComparison.Ordinal);
    }

    [Fact]
    public void Factories_ParameterOutOfRange_Throw()
    {
        foreach (double power in new[] { 1, 2, 0, 3, double.NaN, double.PositiveInfinity })
            Assert.Throws<ArgumentOutOfRangeException>(() => GlmFamilies.Tweedie(power));
        foreach (int classes in new[] { 1, 0, -1, 257 })
            Assert.Throws<ArgumentOutOfRangeException>(() => GlmFamilies.Multinomial(classes));
    }

    [Fact]
    public async Task Lbfgs_PublishedSoftware_SameOptimum()
    {
        // By glm_expectations.py. Ours stops at a gradient of 1e-8, and no curvature of these objectives is below .02: weights are within 5e-7.
        JsonObject golden = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "Glm", "glm-expectations.json"), TestContext.Current.CancellationToken))!.AsObject();
        double[][] x = [.. golden["rows"]!.AsArray().Select(Numbers)];
        double[] rowWeights = Numbers(golden["rowWeights"]);
        int cases = 0;
        foreach (JsonObject entry in golden["cases"]!.AsArray().Select(node => node!.AsObject()))
        {
            string family = (string)entry["family"]!;
            string[] ids = [.. x.Select((_, i) => $"{i}")];
            GlmPartyInput Input(string party, int first, double[]? labels, double[]? weights) => new()
            {
                Party = party,
                Table = Table.FromMatrix(ids, [$"c{first}", $"c{first + 1}"], new DenseMatrix(x.Length, 2, [.. x.SelectMany(row => row[first..(first + 2)])]), labels, weights: weights),
            };
            var job = new GlmJob
            {
                Name = "golden",
                Model = new() { Family = family == "tweedie" ? GlmFamilies.Tweedie((double)entry["power"]!) : VerticalData.Family(family), L2 = (double)golden["l2"]! },
                Training = new() { Optimizer = GlmOptimizer.Lbfgs, Epochs = 1000 },
                Preprocessing = new() { Scaling = Scaling.None },
                Parties = [new() { Party = new("a", PartyRole.Active) }, new() { Party = new("b", PartyRole.Passive) }],
            };
            double[] found = VerticalData.Weights(await LocalFederation.TrainAsync(job,
                [Input("a", 0, Numbers(entry["labels"]), (bool)entry["weighted"]! ? rowWeights : null), Input("b", 2, null, null)]));
            double[] weights = Numbers(entry["weights"]), free = Numbers(entry["intercepts"]);
            VerticalData.AssertClose(weights, found[..weights.Length], 1e-6);
            // Softmax does not know a shift of all intercepts.
            double shift = free.Length == 1 ? 0 : found[weights.Length..].Average() - free.Average();
            VerticalData.AssertClose(free.Select(b => b + shift), found[weights.Length..], 1e-6);
            cases++;
        }

        Assert.Equal(12, cases);
    }

    private static double[] Numbers(JsonNode? node) => [.. node!.AsArray().Select(number => (double)number!)];
}
