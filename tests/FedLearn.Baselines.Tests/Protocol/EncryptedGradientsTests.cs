using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Baselines.Tests.Protocol;

/// <summary>What the encrypted protocol computes, against plain loops.</summary>
public class EncryptedGradientsTests
{
    private static GlmTrainingOptions Sgd(int epochs, int batches = 1, double step = .5, double? radius = null) =>
        new() { Optimizer = GlmOptimizer.Sgd, Epochs = epochs, BatchesPerEpoch = batches, StepSize = step, WeightNorm = radius, Seed = 3 };

    // Multiples of 2^-20 are exact in the reference scheme's integers, and so are their sums: only the division by b rounds. CKKS: rounding of columns as good as
    // random has standard deviation sqrt(N/24) |r| / 2^26 = 5e-6 a sum of 569 rows (see CkksScheme), 1e-8 of the mean; flooding is within 2^77 / (2^100/4096) / 569 = 8.6e-7 of it.
    [Theory]
    [InlineData(Schemes.Reference, 50, 3, 1e-12, new[] { 3, 2 })]
    [InlineData(Schemes.Reference, 23, 1, 1e-12, new[] { 1, 1 })]
    [InlineData(Schemes.Reference, 50, 2, 1e-12, new[] { 2, 4, 1 })]
    [InlineData(Schemes.Reference, 31, 2, 1e-12, new[] { 1, 2, 1, 3 })]
    [InlineData(Schemes.Ckks, 569, 1, 1e-6, new[] { 10, 20 })]
    [InlineData(Schemes.Ckks, 4500, 1, 1e-6, new[] { 2, 1, 2 })]
    [InlineData(Schemes.Paillier, 20, 2, 1e-12, new[] { 2, 1 })]
    public async Task Round_OfAnyParties_GivesEachItsOwnMeanGradient(string name, int rows, int batches, double tolerance, int[] widths)
    {
        IAdditiveScheme scheme = await Schemes.NamedAsync(name);
        var random = new Random(rows);
        double[] Draw(int count) => [.. Enumerable.Range(0, count).Select(_ => Math.Round(Math.ScaleB((2 * random.NextDouble()) - 1, 20)) * Math.ScaleB(1, -20))];
        var layout = new BatchLayout(rows, batches);
        double[][][] columns = [.. widths.Select(width => Enumerable.Range(0, batches).Select(b => Draw(width * layout.Size(b))).ToArray())];
        double[][][] shares = [.. widths.Select(_ => Enumerable.Range(0, 2 * batches).Select(round => Draw(layout.Size(round % batches))).ToArray())];
        GlmJob job = new EncryptedRows(1, "binomial", rows, widths).Job(Sgd(epochs: 2, batches));

        (double[][][] gradients, ArbiterResult arbiter) = await new EncryptedFederation(job, scheme).GradientsAsync(layout, columns, shares);

        Assert.Equal(2 * batches, arbiter.Rounds);
        Assert.Equal(scheme.Name, arbiter.Scheme);
        for (int p = 0; p < widths.Length; p++)
            for (int round = 0; round < 2 * batches; round++)
                for (int j = 0; j < widths[p]; j++)
                {
                    int batch = round % batches, b = layout.Size(batch);
                    double expected = 0, size = 0;
                    for (int i = 0; i < b; i++)
                    {
                        double r = shares.Sum(party => party[round][i]);
                        expected += columns[p][batch][(j * b) + i] * r / b;
                        size += Math.Abs(columns[p][batch][(j * b) + i] * r) / b;
                    }

                    Assert.InRange(Math.Abs(gradients[p][round][j] - expected), 0, name == Schemes.Ckks ? tolerance : tolerance * size);
                }
    }

    // The reference scheme rounds shares to 2^-41 and columns to 2^-31, Paillier to 2^-65 and 2^-53, CKKS as above; e rounds of step eta move weights by at most about e eta times that.
    [Theory]
    [InlineData(Schemes.Reference, "binomial", 60, 12, 3, null, 1e-8, new[] { 2, 3 })]
    [InlineData(Schemes.Reference, "binomial", 60, 12, 3, .25, 1e-8, new[] { 2, 3 })]
    [InlineData(Schemes.Reference, "gaussian", 61, 10, 2, null, 1e-8, new[] { 3, 2 })]
    [InlineData(Schemes.Reference, "gaussian", 61, 10, 2, .3, 1e-8, new[] { 2, 1, 2 })]
    [InlineData(Schemes.Reference, "binomial", 45, 8, 2, null, 1e-8, new[] { 1, 2, 2 })]
    [InlineData(Schemes.Ckks, "binomial", 569, 6, 2, null, 1e-5, new[] { 3, 4 })]
    [InlineData(Schemes.Paillier, "binomial", 40, 2, 1, null, 1e-12, new[] { 2, 2 })]
    [InlineData(Schemes.Paillier, "gaussian", 40, 2, 1, null, 1e-12, new[] { 2, 2 })]
    public async Task Training_OfAnyParties_IsTheSameDescentInTheClear(string name, string family, int rows, int epochs, int batches, double? radius, double tolerance, int[] widths)
    {
        IAdditiveScheme scheme = await Schemes.NamedAsync(name);
        var data = new EncryptedRows(rows, family, rows, widths);
        GlmTrainingOptions training = Sgd(epochs, batches, radius: radius);

        (GlmPartyResult[] results, ArbiterResult arbiter) = await new EncryptedFederation(data.Job(training), scheme).TrainAsync(data.Inputs());

        double[] expected = data.Descent(training), weights = EncryptedRows.Weights(results);
        AssertClose(expected, weights, tolerance);
        Assert.Equal(epochs * batches, arbiter.Rounds);
        if (radius is not null)
            Assert.Contains(results, r => Math.Abs(Math.Sqrt(r.Model.Weights.Sum(w => w * w)) - radius.Value) < 1e-6); // else nothing was projected
        if (family == "binomial")
        {
            Assert.Equal(data.Auc(expected), data.Auc(weights), .002);
            Assert.Equal(data.Auc(weights), results[0].Train!.Auc!.Value, 1e-12);
        }
    }

    [Theory]
    [InlineData(null)]
    [InlineData(.4)]
    public async Task Training_WithAFreeIntercept_IsTheSameDescentInTheClear(double? radius)
    {
        var data = new EncryptedRows(5, "binomial", 50, 2, 2);
        GlmTrainingOptions training = Sgd(10, 2, radius: radius);
        GlmJob job = data.Job(training, l2: .1);
        job = job with { Model = job.Model with { Intercept = GlmIntercept.Default } };

        (GlmPartyResult[] results, _) = await new EncryptedFederation(job, await Schemes.NamedAsync(Schemes.Reference)).TrainAsync(data.Inputs());

        Assert.Single(results[0].Model.Intercepts);
        Assert.Empty(results[1].Model.Intercepts);
        AssertClose(data.Descent(training, l2: .1, intercept: true), EncryptedRows.Weights(results), 1e-8);
    }

    [Fact]
    public async Task Training_InModeHe_ClaimsNothingAndWarnsOfLabels()
    {
        var data = new EncryptedRows(6, "binomial", 40, 2, 2);
        var federation = new EncryptedFederation(data.Job(Sgd(2)), await Schemes.NamedAsync(Schemes.Reference));
        (GlmPartyResult[] results, ArbiterResult arbiter) = await federation.TrainAsync(data.Inputs());

        foreach (GlmPartyResult result in results)
        {
            Assert.Empty(result.Privacy.Claims);
            Assert.Null(result.Privacy.Joint);
            Assert.Contains(result.Privacy.Warnings, w => w.Contains("exact gradients of binary labels can determine the labels", StringComparison.Ordinal));
            Assert.Contains(result.Privacy.Warnings, w => w.Contains("colludes with none", StringComparison.Ordinal));
        }

        Assert.Null(arbiter.Calibration);
        // Nobody is sent a score or a residual before training has ended, and the arbiter is sent nothing but sizes and masked products.
        Assert.DoesNotContain(federation.Received, m => m.Payload is Residuals);
        Assert.All(federation.Received.Where(m => m.Payload is Scores), m => Assert.Equal(2, m.Round));
        Assert.All(federation.Received.Where(m => m.To == "arbiter"), m => Assert.True(m.Payload is MaskedProducts or Scalars { Kind: ScalarsKind.Agreement }, m.Payload.GetType().Name));
        Assert.All(federation.Received.Where(m => m.Payload is EncryptedShares), m => Assert.NotEqual("arbiter", m.To));
    }

    [Fact]
    public async Task Training_OfThreeParties_SendsNobodyTheSameCiphertexts()
    {
        var data = new EncryptedRows(7, "binomial", 30, 2, 1, 2);
        var federation = new EncryptedFederation(data.Job(Sgd(2)), await Schemes.NamedAsync(Schemes.Reference));
        await federation.TrainAsync(data.Inputs());
        // A passive party that saw another's share, or the active party's, alone could ask nothing more of it; but equal messages would mean that a share was passed on as it came.
        string[] shares = [.. federation.Received.Where(m => m.Payload is EncryptedShares).Select(m => Convert.ToHexString(((EncryptedShares)m.Payload).Bytes.Span))];
        Assert.Equal(8, shares.Length);
        Assert.Equal(8, shares.Distinct().Count());
    }

    internal static void AssertClose(double[] expected, double[] actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], actual[i], tolerance);
    }
}
