using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.Tests.Seal;
using FedLearn.Testing;

namespace FedLearn.Baselines.Tests.Attacks;

/// <summary>Were whole vectors of products returned, and not sums of them, they would be labels; and were sums opened without a mask, the arbiter would have gradients.</summary>
public class SlotReturnTests
{
    private const int Rows = 40;

    // The first round: all weights are 0, and r = 1/2 - y.
    private static (double[] Labels, double[] Residuals, double[] Column) Draw()
    {
        var random = new Random(41);
        double[] labels = [.. Enumerable.Range(0, Rows).Select(_ => (double)random.Next(2))];
        return (labels, [.. labels.Select(y => .5 - y)], [.. labels.Select(_ => (random.Next(2) == 0 ? 1 : -1) * (.05 + random.NextDouble()))]);
    }

    private static double[] LabelsOf(double[] products, double[] column) => [.. products.Zip(column, (product, x) => product / x > 0 ? 0.0 : 1)];

    [Fact]
    public async Task SlotVectors_OfOneRound_WouldBeEveryLabel()
    {
        (double[] labels, double[] residuals, double[] column) = Draw();
        await using NodeSealEngine engine = await SealParties.StartAsync();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(default), default);
        int vector = await engine.EncryptAsync(residuals, CkksScheme.ShareScale, default), plain = await engine.EncodeAsync(column, Math.ScaleB(1, 26), default);
        byte[] product = await engine.InnerProductAsync(new[] { vector }, new[] { plain }, default);

        // A weak arbiter that decrypts the whole of it and returns what is in the slots.
        byte[] opened = await engine.DecryptAsync(product, default);
        double[] slots = CkksRing.Slots(opened.AsSpan(CkksParameters.PlainResidues), CkksScheme.ShareScale * Math.ScaleB(1, 26), Rows);

        for (int i = 0; i < Rows; i++)
            Assert.Equal(residuals[i] * column[i], slots[i], 1e-4); // rounding of the column to 2^-26 in coefficients, of which 8192 meet in a slot
        Assert.Equal(labels, LabelsOf(slots, column));
    }

    [Fact]
    public async Task Answers_OfOneRound_AreOneNumberAColumn()
    {
        (double[] labels, double[] residuals, double[] column) = Draw();
        var scheme = new ReferenceAdditiveScheme();
        await using IKeyHolder holder = await scheme.CreateKeyAsync();
        await using IEncryptor party = await scheme.UseKeyAsync(holder.PublicKey);
        using CipherVector vector = await party.EncryptAsync(residuals);

        // The weak protocol again, in integers: a column for each row, so that every product is opened by itself.
        double[] diagonal = new double[Rows * Rows];
        for (int i = 0; i < Rows; i++)
            diagonal[(i * Rows) + i] = column[i];
        using PlainColumns single = await party.EncodeAsync(diagonal, Rows), whole = await party.EncodeAsync(column, Rows);
        MaskedSums products = await party.MaskedSumsAsync(vector, single), sum = await party.MaskedSumsAsync(vector, whole);
        Assert.Equal(labels, LabelsOf(products.Unmask(await holder.OpenAsync(products.Bytes, Rows), holder.Answers), column));

        BigInteger answer = Assert.Single(await holder.OpenAsync(sum.Bytes, 1));
        double gradient = Assert.Single(sum.Unmask([answer], holder.Answers));
        Assert.Equal(residuals.Zip(column, (r, x) => r * x).Sum(), gradient, scheme.SumError(Rows, 1, 2));
        // A sum has one sign where forty products have one each: read as the labels' it is right for no more than the rows that agree with it.
        Assert.NotEqual(labels, LabelsOf([.. Enumerable.Repeat(gradient, Rows)], column));
    }

    // What the holder of the key opens, in eight equal parts of [0, M). Chi-square of 7 degrees of freedom exceeds 60 with probability 1.5e-10; without masks all are in the part of 0 or of M.
    [Fact]
    public async Task OpenedSums_ForTheArbiter_AreUniformUnderTheirMasksOnly()
    {
        Assert.InRange(await ChiSquareAsync(new ReferenceAdditiveScheme()), 0, 60);
        Assert.InRange(await ChiSquareAsync(new ReferenceAdditiveScheme { Mask = () => 0 }), 1000, double.PositiveInfinity);

        static async Task<double> ChiSquareAsync(ReferenceAdditiveScheme scheme)
        {
            const int Draws = 1024, Parts = 8;
            (_, double[] residuals, double[] column) = Draw();
            await using IKeyHolder holder = await scheme.CreateKeyAsync();
            await using IEncryptor party = await scheme.UseKeyAsync(holder.PublicKey);
            using CipherVector vector = await party.EncryptAsync(residuals);
            using PlainColumns plain = await party.EncodeAsync(column, Rows);
            int[] counts = new int[Parts];
            for (int k = 0; k < Draws; k++)
                counts[(int)((await holder.OpenAsync((await party.MaskedSumsAsync(vector, plain)).Bytes, 1))[0] * Parts / ReferenceAdditiveScheme.Prime)]++;
            return counts.Sum(count => Math.Pow(count - (Draws / (double)Parts), 2) / (Draws / (double)Parts));
        }
    }
}
