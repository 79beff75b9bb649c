using System.Buffers.Binary;
using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Diagnostics;
using static FedLearn.Baselines.Tests.Seal.SealParties;

namespace FedLearn.Baselines.Tests.Seal;

public sealed class CkksSchemeTests(SealParties parties) : IClassFixture<SealParties>
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 3)]
    [InlineData(4095, 1)]
    [InlineData(4096, 2)]
    [InlineData(4097, 2)]
    [InlineData(8193, 1)]
    public async Task MaskedSums_OfAnyShape_AreThePlainSumsWithinTheBound(int rows, int count)
    {
        parties.Require();
        var random = new Random(rows);
        double[] own = Uniform(random, rows, 0.5), others = Uniform(random, rows, 0.5);
        double[][] columns = [.. Enumerable.Range(0, count).Select(_ => Uniform(random, rows, 2))];
        double[] sums = await SumsAsync(parties.KeyHolder, parties.Party, parties.Other, own, others, columns), plain = PlainSums(own, others, columns);
        double bound = parties.Scheme.SumError(rows, 1, 2);
        Assert.All(sums.Zip(plain), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, bound));
    }

    // Rounding of columns is as good as random there: standard deviation sqrt(N/24)·‖r‖/Δx of a sum, and six of them have a false-alarm rate below 1e-7 over the
    // seven columns; the key is drawn anew, the data are fixed. See CkksScheme.SumError.
    [Theory]
    [InlineData(26, 1e-6)]
    [InlineData(34, 1e-9)]
    public async Task MaskedSums_OfRandomNumbers_MissTheMeanByLittle(int plainScaleBits, double atMost)
    {
        parties.Require();
        const int Rows = 5000;
        var random = new Random(7);
        double[] own = Uniform(random, Rows, 0.5), others = Uniform(random, Rows, 0.5);
        double[][] columns = [.. Enumerable.Range(0, 6).Select(_ => Uniform(random, Rows, 1)), [.. Enumerable.Repeat(0.0, Rows)]];
        CkksScheme scheme = CkksScheme.OnNode(1, plainScaleBits);
        await using IKeyHolder keyHolder = await scheme.CreateKeyAsync();
        await using IEncryptor party = await scheme.UseKeyAsync(keyHolder.PublicKey);
        double[] sums = await SumsAsync(keyHolder, party, party, own, others, columns), plain = PlainSums(own, others, columns);
        double sigma = Math.Sqrt(8192 / 24.0) * Math.Sqrt(own.Zip(others, (a, b) => (a + b) * (a + b)).Sum()) / Math.ScaleB(1, plainScaleBits);
        Assert.All(sums.Zip(plain), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, 6 * sigma));
        Assert.All(sums.Zip(plain), pair => Assert.InRange(Math.Abs(pair.First - pair.Second) / Rows, 0, atMost));
        Assert.Contains("node-seal 6", scheme.Engine, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("constant", "constant")]
    [InlineData("constant", "alternating")]
    [InlineData("alternating", "alternating")]
    [InlineData("signs", "signs")]
    [InlineData("signs", "third")]
    public async Task SumError_OfExtremeVectors_IsNotExceeded(string shares, string column)
    {
        parties.Require();
        const int Rows = 5000;
        var random = new Random(11);
        double[] r = Extreme(shares, random), x = Extreme(column, random);
        double[] none = new double[Rows], sums = await SumsAsync(parties.KeyHolder, parties.Party, parties.Other, r, none, [x]);
        Assert.InRange(Math.Abs(sums[0] - PlainSums(r, none, [x])[0]), 0, parties.Scheme.SumError(Rows, 1, 1));

        static double[] Extreme(string name, Random random) => [.. Enumerable.Range(0, Rows).Select(i => name switch
        {
            "constant" => 1.0,
            "alternating" => 1 - (2 * (i % 2)),
            "signs" => 1 - (2 * random.Next(2)),
            _ => 1 / 3.0,
        })];
    }

    // Shares of the signs of the rounding error's values at the slots: the worst that there are for that column.
    [Fact]
    public async Task SumError_OfSharesThatLineUpWithRounding_IsNearlyReached()
    {
        parties.Require();
        const int N = 8192, Slots = N / 2;
        double scale = Math.ScaleB(1, 26);
        double[] x = Uniform(new Random(3), Slots, 1), cosines = [.. Enumerable.Range(0, 2 * N).Select(k => Math.Cos(Math.PI * k / N))];
        int[] powers = new int[Slots];
        powers[0] = 1;
        for (int i = 1; i < Slots; i++)
            powers[i] = powers[i - 1] * 3 % (2 * N);
        double[] rounding = new double[N], slots = new double[Slots];
        for (int k = 0; k < N; k++)
        {
            double sum = 0;
            for (int i = 0; i < Slots; i++)
                sum += x[i] * cosines[k * powers[i] % (2 * N)];
            double coefficient = sum * scale * 2 / N;
            rounding[k] = Math.Round(coefficient) - coefficient;
        }

        for (int i = 0; i < Slots; i++)
            for (int k = 0; k < N; k++)
                slots[i] += rounding[k] * cosines[k * powers[i] % (2 * N)];
        double[] r = [.. slots.Select(value => value < 0 ? -1.0 : 1)], none = new double[Slots];
        double error = (await SumsAsync(parties.KeyHolder, parties.Party, parties.Other, r, none, [x]))[0] - PlainSums(r, none, [x])[0], bound = parties.Scheme.SumError(Slots, 1, 1);
        Assert.Equal(slots.Sum(Math.Abs) / scale, error, bound / 1000);
        Assert.InRange(error, bound / 5, bound);
    }

    [Fact]
    public void SumError_OneFullBlock_IsTheBoundByHand()
    {
        // 4096 slots of 1 at scales of 2^74 and 2^26 are polynomials of norm 1: an encoding errs by half the root of N and 2^-45 of it, an encryption by N/2 + 1 a coefficient, once for each share.
        CkksScheme scheme = CkksScheme.OnNode();
        double a = Math.ScaleB(1, 74), b = Math.ScaleB(1, 26), half = Math.Sqrt(8192) / 2, fresh = 4097;
        double alpha = scheme.MostShares * (half + a / (1L << 45) + 2 * half * fresh), beta = half + b / (1L << 45);
        double expected = (fresh + a * beta + alpha * b + alpha * beta) / (a * b / 4096) + 4096.0 / (1L << 52);
        Assert.True(alpha * b > 1e-7 * a * beta);
        Assert.InRange(scheme.SumError(4096, 1, 1), expected, expected * (1 + 2e-9));
    }

    [Theory]
    [InlineData(20, 72)]
    [InlineData(26, 78)]
    [InlineData(34, 86)]
    public void Answers_OfAnyScale_AreFloodedWithFiftyTwoBitsMore(int plainScaleBits, int bits) => Assert.Equal(bits, CkksScheme.OnNode(1, plainScaleBits).Answers.FloodBits);

    [Fact]
    public void SumError_OfSumsThatDoNotFit_IsInfinite()
    {
        CkksScheme scheme = CkksScheme.OnNode();
        Assert.True(double.IsFinite(scheme.SumError(1 << 20, 1, 1024)));
        Assert.Equal(double.PositiveInfinity, scheme.SumError(1 << 21, 1, 1024));
        Assert.Equal(double.PositiveInfinity, scheme.SumError(1, 1.1 * CkksScheme.Largest, 1));
        Assert.Equal(double.PositiveInfinity, CkksScheme.OnNode(1, 34).SumError(1 << 13, 1, 1024));
        Assert.InRange(scheme.SumError(4096, 1, 1) / CkksScheme.OnNode(1, 34).SumError(4096, 1, 1), 250, 257);
        Assert.Throws<ArgumentOutOfRangeException>(() => scheme.SumError(1, double.NaN, 1));
    }

    [Fact]
    public async Task MaskedSums_OnTwoWorkers_AreThoseOnOne()
    {
        parties.Require();
        const int Rows = 9000;
        var random = new Random(5);
        double[] r = Uniform(random, Rows, 1), none = new double[Rows];
        double[][] columns = [.. Enumerable.Range(0, 5).Select(_ => Uniform(random, Rows, 1))];
        await using IEncryptor two = await CkksScheme.OnNode(workers: 2).UseKeyAsync(parties.KeyHolder.PublicKey);
        double[] one = await SumsAsync(parties.KeyHolder, parties.Party, parties.Other, r, none, columns);
        double[] split = await SumsAsync(parties.KeyHolder, two, parties.Other, r, none, columns);
        // Encoding is the same; noise is 4097·√2·64·(N/2)/2^74 a block at most.
        Assert.All(one.Zip(split), pair => Assert.Equal(pair.First, pair.Second, 1e-9));
    }

    // 31,000 plaintexts of 4,096 rows, less six for each block of the largest batch: 25 blocks leave 30,850, and three in each of ten batches 30,982.
    [Theory]
    [InlineData(1234, 1, null)]
    [InlineData(1235, 1, "at least 2 on")]
    [InlineData(5000, 1, "at least 5 on")]
    [InlineData(80_000, 1, "Use fewer columns or rows.")]
    [InlineData(1032, 10, null)]
    [InlineData(1033, 10, "at least 2 on")]
    public void CheckRoom_ColumnsOfAHundredThousandRows_AreRefusedBeforeTheyAreEncoded(int columns, int batches, string? remedy)
    {
        parties.Require();
        int[] rows = [.. Enumerable.Repeat(100_000 / batches, batches)];
        if (remedy is null)
        {
            parties.Party.CheckRoom(columns, rows);
            return;
        }

        InternalFailureException refused = Assert.Throws<InternalFailureException>(() => parties.Party.CheckRoom(columns, rows));
        Assert.Equal(HeErrors.SealFailed, refused.Id);
        Assert.Contains(remedy, refused.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OpenAsync_OfMaskedSums_IsWhatSealDecryptsTheirCiphertextsTo()
    {
        parties.Require();
        await using NodeSealEngine engine = await SealParties.StartAsync();
        await using IKeyHolder keyHolder = await new CkksScheme(_ => Task.FromResult<ISealEngine>(engine), "", 1, 26).CreateKeyAsync();
        await using IEncryptor party = await parties.Scheme.UseKeyAsync(keyHolder.PublicKey);
        double[] r = Uniform(new Random(6), 5000, 1);
        using CipherVector vector = await party.EncryptAsync(r);
        using PlainColumns columns = await party.EncodeAsync(Uniform(new Random(7), 3 * r.Length, 1), r.Length);
        MaskedSums masked = await party.MaskedSumsAsync(vector, columns);
        BigInteger[] opened = await keyHolder.OpenAsync(masked.Bytes, 3);
        for (int j = 0; j < 3; j++)
        {
            ReadOnlyMemory<byte> one = masked.Bytes.Slice(j * CkksParameters.MaskedBytes, CkksParameters.MaskedBytes);
            byte[] ciphertext = CkksParameters.Ciphertext(BinaryPrimitives.ReadUInt128LittleEndian(one.Span), one.Span[CkksParameters.AnswerBytes..], parties.Scheme.ProductScale);
            byte[] plain = await engine.DecryptAsync(ciphertext, default);
            Assert.Equal((BigInteger)CkksParameters.Constant(plain.AsSpan(CkksParameters.PlainResidues)), opened[j]);
        }
    }

    [Fact]
    public async Task MaskedSums_OfTheSameVectors_AreRandomisedAnew()
    {
        parties.Require();
        using CipherVector vector = await parties.Party.EncryptAsync(new double[] { 1, 2, 3 });
        using PlainColumns columns = await parties.Party.EncodeAsync(new double[] { 1, 1, 1, 0, 0, 0 }, 3);
        MaskedSums first = await parties.Party.MaskedSumsAsync(vector, columns), second = await parties.Party.MaskedSumsAsync(vector, columns);
        BigInteger[] opened = await parties.KeyHolder.OpenAsync(first.Bytes, 2), again = await parties.KeyHolder.OpenAsync(second.Bytes, 2);
        Assert.Equal(4, new HashSet<BigInteger>([.. opened, .. again]).Count);
        Assert.Equal(6, first.Unmask(opened, parties.Party.Answers)[0], parties.Scheme.SumError(3, 3, 1));
        Assert.Equal(0, second.Unmask(again, parties.Party.Answers)[1], parties.Scheme.SumError(3, 3, 1));
        for (int j = 0; j < 2; j++)
        {
            (byte[] one, byte[] other) = (first.Bytes.Slice(j * CkksParameters.MaskedBytes, CkksParameters.MaskedBytes).ToArray(), second.Bytes.Slice(j * CkksParameters.MaskedBytes, CkksParameters.MaskedBytes).ToArray());
            // Residues of 60 bits agree by chance with probability 2^-60.
            Assert.DoesNotContain(true, Enumerable.Range(0, CkksParameters.MaskedBytes / 8).Select(k => BitConverter.ToUInt64(one, 8 * k) == BitConverter.ToUInt64(other, 8 * k)));
        }
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.NegativeInfinity)]
    [InlineData(1048577.0)]
    public async Task EncryptAndEncode_OfNumbersOutOfRange_AreRefused(double value)
    {
        parties.Require();
        await Assert.ThrowsAsync<ArgumentException>(() => parties.Party.EncryptAsync(new[] { 0, value }));
        await Assert.ThrowsAsync<ArgumentException>(() => parties.Party.EncodeAsync(new[] { 0, value }, 2));
    }

    [Fact]
    public async Task MaskedSums_OfTheLargestNumbers_AreRight()
    {
        parties.Require();
        double[] sums = await SumsAsync(parties.KeyHolder, parties.Party, parties.Other, [CkksScheme.Largest, -CkksScheme.Largest], [0, 0], [[1, 0], [0, 1], [100, 100.5]]);
        double bound = parties.Scheme.SumError(2, CkksScheme.Largest, 101);
        Assert.Equal(CkksScheme.Largest, sums[0], bound);
        Assert.Equal(-CkksScheme.Largest, sums[1], bound);
        Assert.Equal(-0.5 * CkksScheme.Largest, sums[2], bound);
    }

    [Fact]
    public async Task Operands_OfOthersOrDisposedOf_AreRefused()
    {
        parties.Require();
        CipherVector vector = await parties.Party.EncryptAsync(new double[] { 1 });
        using CipherVector longer = await parties.Party.EncryptAsync(new double[] { 1, 2 });
        using PlainColumns columns = await parties.Party.EncodeAsync(new double[] { 1 }, 1);
        await Assert.ThrowsAsync<ArgumentException>(() => parties.Other.MaskedSumsAsync(vector, columns));
        await Assert.ThrowsAsync<ArgumentException>(() => parties.Party.MaskedSumsAsync(longer, columns));
        await Assert.ThrowsAsync<ArgumentException>(() => parties.Party.AddAsync(vector, longer));
        vector.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => parties.Party.MaskedSumsAsync(vector, columns));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => vector.SaveAsync());
    }
}
