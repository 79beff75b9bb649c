using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Testing;

namespace FedLearn.Baselines.Tests.Protocol;

/// <summary>Mode he+dp over the real protocol: what noise arrives, what is claimed and who is charged.</summary>
public class EncryptedNoiseTests
{
    // 10 epochs of 2 batches, 50 columns at each of two parties: 2000 draws. The mean square of so many normal numbers misses 1 by six times sqrt(2/2000) with probability
    // below 1e-8 (chi-square), their mean 0 by six times 2000^-1/2 with 2e-9; over seeds, for with one seed all is fixed.
    [Theory]
    [InlineData(1.0, 40)]
    [InlineData(8.0, 40)]
    [InlineData(8.0, 3)] // batches of 2 rows and of 1, each with noise of its own size
    public async Task Answers_InModeHeDp_CarryNoiseOfTheCalibratedDeviation(double epsilon, int rows)
    {
        const int Columns = 50, Epochs = 10, Batches = 2;
        var layout = new BatchLayout(rows, Batches);
        GlmJob job = EncryptedRulesTests.Noised(new EncryptedRows(31, "binomial", rows, Columns, Columns), Epochs, Batches, epsilon, seed: 5);
        var random = new Random(31);
        double[] Draw(int count, double bound) => [.. Enumerable.Range(0, count).Select(_ => bound * Math.Round(Math.ScaleB((2 * random.NextDouble()) - 1, 20)) * Math.ScaleB(1, -20))];
        double[][][] columns = [.. Enumerable.Range(0, 2).Select(_ => Enumerable.Range(0, Batches).Select(b => Draw(Columns * layout.Size(b), .125)).ToArray())];
        double[][][] shares = [.. Enumerable.Range(0, 2).Select(_ => Enumerable.Range(0, Epochs * Batches).Select(round => Draw(layout.Size(round % Batches), .5)).ToArray())];

        (double[][][] gradients, ArbiterResult arbiter) = await new EncryptedFederation(job, new ReferenceAdditiveScheme()).GradientsAsync(layout, columns, shares);

        Assert.False(arbiter.SecureNoise);
        Assert.Equal(2 * Columns, arbiter.Calibration!.Parameters.Columns);
        Assert.Equal(GaussianDp.Mu(epsilon, 1e-5), arbiter.Calibration.Mu, 1e-9);
        double[][] noise = [.. Enumerable.Range(0, 2).Select(p => Enumerable.Range(0, Epochs * Batches).SelectMany(round =>
        {
            int batch = round % Batches, b = layout.Size(batch);
            return Enumerable.Range(0, Columns).Select(j => (gradients[p][round][j]
                - Enumerable.Range(0, b).Sum(i => columns[p][batch][(j * b) + i] * (shares[0][round][i] + shares[1][round][i]) / b)) / arbiter.Calibration.SigmaOf(b));
        }).ToArray())];
        double[] all = [.. noise[0], .. noise[1]];
        Assert.Equal(2000, all.Length);
        Assert.InRange(all.Sum(z => z * z) / 2000, 1 - (6 * Math.Sqrt(2 / 2000.0)), 1 + (6 * Math.Sqrt(2 / 2000.0)));
        Assert.InRange(all.Sum() / 2000, -6 / Math.Sqrt(2000), 6 / Math.Sqrt(2000));
        // Parties and rounds have noise of their own: products of 1000 and of 950 pairs.
        Assert.InRange(noise[0].Zip(noise[1], (a, b) => a * b).Sum() / 1000, -6 / Math.Sqrt(1000), 6 / Math.Sqrt(1000));
        Assert.InRange(noise[0].Zip(noise[0].Skip(Columns), (a, b) => a * b).Sum() / 950, -6 / Math.Sqrt(950), 6 / Math.Sqrt(950));
    }

    [Theory]
    [InlineData("binomial")]
    [InlineData("gaussian")]
    public async Task Training_WithOneSeed_IsTheSameTwiceAndSaysThatItIsNotPrivate(string family)
    {
        var data = new EncryptedRows(32, family, 40, 2, 2);
        async Task<GlmPartyResult[]> TrainAsync(long seed) => (await new EncryptedFederation(EncryptedRulesTests.Noised(data, 4, 2, seed: seed), new ReferenceAdditiveScheme()).TrainAsync(data.Inputs())).Parties;
        GlmPartyResult[] first = await TrainAsync(7), second = await TrainAsync(7), other = await TrainAsync(8);
        Assert.Equal(EncryptedRows.Weights(first), EncryptedRows.Weights(second));
        Assert.NotEqual(EncryptedRows.Weights(first), EncryptedRows.Weights(other));
        // Parts of one training go together, and with those of no other, of the same seed neither.
        Assert.Equal(3, new[] { first, second, other }.Select(t => Assert.Single(t.Select(r => r.Model.TrainingId).Distinct())).OfType<string>().Distinct().Count());
        Assert.All(first, r => Assert.False(r.Privacy.SecureNoise));
        Assert.All(first, r => Assert.StartsWith("NOT PRIVATE", Assert.Single(r.Privacy.Claims), StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("binomial", Adjacency.ReplaceOne, 1)]
    [InlineData("gaussian", Adjacency.ReplaceOne, 1)]
    [InlineData("binomial", Adjacency.ZeroOut, 1)]
    [InlineData("binomial", Adjacency.ReplaceOne, 50)]
    public async Task Training_InModeHeDp_ClaimsForBothPartiesAndChargesBothLedgers(string family, Adjacency adjacency, double epsilon)
    {
        var data = new EncryptedRows(33, family, 40, 2, 2);
        GlmJob job = EncryptedRulesTests.Noised(data, 4, 2, epsilon);
        job = job with { Privacy = job.Privacy with { Adjacency = adjacency } };
        InMemoryLedger[] ledgers = [new(), new()];
        var federation = new EncryptedFederation(job, new ReferenceAdditiveScheme());
        (GlmPartyResult[] results, ArbiterResult arbiter) = await federation.TrainAsync(data.Inputs(party => ledgers[party]));

        double mu = GaussianDp.Mu(epsilon, 1e-5);
        Assert.True(arbiter.SecureNoise);
        Assert.Equal(mu, arbiter.Calibration!.Mu, 1e-9);
        for (int p = 0; p < 2; p++)
        {
            string claim = Assert.Single(results[p].Privacy.Claims);
            Assert.Contains(JointGradientCalibration.ClaimStatement, claim, StringComparison.Ordinal);
            Assert.Contains("at all parties", claim, StringComparison.Ordinal);
            Assert.True(results[p].Privacy.SecureNoise);
            Assert.Equal(epsilon > 10, results[p].Privacy.Warnings.Any(w => w.StartsWith("epsilon 50 is above 10", StringComparison.Ordinal)));
            // All calibrate alike, each from what it was told: only the arbiter's noise counts, and theirs must say the same of it.
            Assert.Equal(arbiter.Calibration, results[p].Privacy.Joint);
            LedgerEntry entry = Assert.Single(ledgers[p].Entries);
            Assert.Equal(EncryptedRows.Name(p), entry.Charge.Party);
            Assert.Equal(mu * mu, entry.Charge.MuSquared, 1e-9);
            Assert.Equal((ChargeState.Settled, 1.0, false), (entry.State, entry.Share, entry.Charge.TestNoise));
            Assert.Equal(8, entry.Charge.Messages);
            Assert.EndsWith(adjacency == Adjacency.ZeroOut ? "for making one person's rows at all parties null rows" : "for replacing one person's rows at all parties", entry.Charge.Claim, StringComparison.Ordinal);
            // Replacing a person's rows is two steps of making them null, and costs twice the mu.
            Assert.Equal(mu * mu * (adjacency == Adjacency.ZeroOut ? 4 : 1), results[p].Privacy.Spent!.MuSquared, 1e-9);
        }

        // Answers are the only releases of the arbiter that tell of rows, and each says that it has noise.
        Assert.All(arbiter.Sent.Where(m => m.Name.Contains("gradients", StringComparison.Ordinal)), m => Assert.Equal((8L, true), (m.Messages, m.Name.Contains("noise", StringComparison.Ordinal))));
        Assert.DoesNotContain(arbiter.Sent, m => m.Name.Contains("exact", StringComparison.Ordinal));
    }

    // The noise takes the place of the exact answers of mode he; only what is sent to evaluate may leave as it is.
    [Fact]
    public async Task Training_ThatFailsMidway_LeavesTheBegunEpochsCharged()
    {
        var data = new EncryptedRows(34, "binomial", 40, 2, 2);
        InMemoryLedger[] ledgers = [new(), new()];
        var federation = new EncryptedFederation(EncryptedRulesTests.Noised(data, 4, 2), new ReferenceAdditiveScheme()) { Dies = ("p1", 3) };
        await federation.RunAsync(data.Inputs(party => ledgers[party]));
        // Round 3 was asked for, in the second of four epochs.
        double whole = GaussianDp.Mu(1, 1e-5) * GaussianDp.Mu(1, 1e-5);
        foreach (InMemoryLedger ledger in ledgers)
        {
            LedgerEntry entry = Assert.Single(ledger.Entries);
            Assert.InRange(entry.Share * entry.Charge.MuSquared, whole / 2 * (1 - 1e-12), whole * (1 + 1e-9));
        }
    }
}
