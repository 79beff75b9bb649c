using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Baselines.Tests.Seal;

public sealed class CkksParametersTests(SealParties parties) : IClassFixture<SealParties>
{
    [Fact]
    public void Constant_OfRandomResidues_IsThatOfTheSlowReference()
    {
        var random = new Random(1);
        foreach (ulong largest in new ulong[] { 1, 2, CkksParameters.Q1 })
        {
            ulong[] residues = [.. Enumerable.Range(0, 2 * CkksParameters.N).Select(k => Prime(k) - 1 - (ulong)random.NextInt64((long)largest))];
            BigInteger[] parts = [.. new[] { CkksParameters.Q1, CkksParameters.Q2 }.Select((q, p) =>
                residues.Skip(p * CkksParameters.N).Take(CkksParameters.N).Aggregate(BigInteger.Zero, (sum, v) => sum + v) * BigInteger.ModPow(CkksParameters.N, q - 2, q) % q)];
            UInt128 constant = CkksParameters.Constant(MemoryMarshal.AsBytes(residues.AsSpan()));
            Assert.Equal(parts[0], (BigInteger)constant % CkksParameters.Q1);
            Assert.Equal(parts[1], (BigInteger)constant % CkksParameters.Q2);
            Assert.True(constant < CkksParameters.Q);
        }

        static ulong Prime(int k) => k < CkksParameters.N ? CkksParameters.Q1 : CkksParameters.Q2;
    }

    [Fact]
    public void ConstantOfProduct_OfResiduesUpToTheLargest_IsThatOfTheSlowReference()
    {
        var random = new Random(2);
        foreach (ulong largest in new ulong[] { 1, 2, CkksParameters.Q1 })
        {
            ulong[] a = Draw(largest), b = Draw(largest);
            BigInteger[] parts = [.. new[] { CkksParameters.Q1, CkksParameters.Q2 }.Select((q, p) =>
                Enumerable.Range(p * CkksParameters.N, CkksParameters.N).Aggregate(BigInteger.Zero, (sum, k) => sum + ((BigInteger)a[k] * b[k])) * BigInteger.ModPow(CkksParameters.N, q - 2, q) % q)];
            UInt128 constant = CkksParameters.ConstantOfProduct(MemoryMarshal.AsBytes(a.AsSpan()), MemoryMarshal.AsBytes(b.AsSpan()));
            Assert.Equal(parts[0], (BigInteger)constant % CkksParameters.Q1);
            Assert.Equal(parts[1], (BigInteger)constant % CkksParameters.Q2);
            Assert.True(constant < CkksParameters.Q);
        }

        // The largest residues make the largest sum.
        ulong[] Draw(ulong largest) => [.. Enumerable.Range(0, 2 * CkksParameters.N).Select(k => (k < CkksParameters.N ? CkksParameters.Q1 : CkksParameters.Q2) - 1 - (ulong)random.NextInt64((long)largest))];
    }

    [Fact]
    public void Constant_OfAConstantPolynomial_IsTheConstant()
    {
        for (int k = 0; k < 20; k++)
        {
            UInt128 value = k == 0 ? 0 : k == 1 ? CkksParameters.Q - 1 : CkksParameters.Uniform();
            byte[] bytes = CkksParameters.Ciphertext(value, new byte[CkksParameters.PolyBytes], 1);
            Assert.Equal(value, CkksParameters.Constant(bytes.AsSpan(CkksParameters.Residues, CkksParameters.PolyBytes)));
        }
    }

    // 8000 draws in 8 cells: chi-squared of 7 degrees of freedom is above 61 with probability below 1e-10. The draws have no seed: they are the masks.
    [Fact]
    public void Uniform_OfManyDraws_FillsTheModulusEvenly()
    {
        double[] cells = new double[8];
        for (int k = 0; k < 8000; k++)
        {
            UInt128 value = CkksParameters.Uniform();
            Assert.True(value < CkksParameters.Q);
            cells[(int)(value / ((CkksParameters.Q / 8) + 1))]++;
        }

        Assert.InRange(cells.Sum(count => (count - 1000) * (count - 1000) / 1000), 0, 61);
    }

    [Fact]
    public async Task Ciphertext_OfOurs_HasTheFormThatSealWrites()
    {
        parties.Require();
        using CipherVector vector = await parties.Party.EncryptAsync(new double[] { 1 });
        byte[] saved = (await vector.SaveAsync()).ToArray(), built = CkksParameters.Ciphertext(0, saved.AsSpan(CkksParameters.Residues + CkksParameters.PolyBytes), CkksScheme.ShareScale);
        Assert.Equal(saved[..CkksParameters.Residues], built[..CkksParameters.Residues]);
        Assert.Equal(saved[(CkksParameters.Residues + CkksParameters.PolyBytes)..], built[(CkksParameters.Residues + CkksParameters.PolyBytes)..]);
        Assert.Equal(CkksScheme.ShareScale, Math.ScaleB(1, 74));
    }

    [Theory]
    [InlineData("truncated")]
    [InlineData("longer")]
    [InlineData("magic")]
    [InlineData("major version")]
    [InlineData("minor version")]
    [InlineData("minor version of residues")]
    [InlineData("compressed")]
    [InlineData("length in the header")]
    [InlineData("length in the inner header")]
    [InlineData("number of residues")]
    [InlineData("parameters of keys")]
    [InlineData("not NTT")]
    [InlineData("three polynomials")]
    [InlineData("degree")]
    [InlineData("primes")]
    [InlineData("scale")]
    [InlineData("correction factor")]
    [InlineData("first residue")]
    [InlineData("last residue")]
    [InlineData("zero polynomial")]
    public async Task Load_OfAFaultyCiphertext_IsRefusedBeforeTheEngine(string fault)
    {
        parties.Require();
        using CipherVector vector = await parties.Other.EncryptAsync(new double[5000]);
        byte[] bytes = (await vector.SaveAsync()).ToArray();
        int before = parties.Given;
        (await parties.Party.LoadAsync(bytes, 5000)).Dispose();
        Assert.Equal(before + 2, parties.Given);
        // The second block.
        const int At = CkksParameters.CiphertextBytes;
        Span<byte> block = bytes.AsSpan(At);
        switch (fault)
        {
            case "truncated": bytes = bytes[..^1]; break;
            case "longer": bytes = [.. bytes, 0]; break;
            case "magic": block[0] ^= 1; break;
            case "major version": block[3] = 3; break;
            case "minor version": block[4] = 200; break;
            case "minor version of residues": block[93] = 0; break;
            case "compressed": block[5] = 2; break;
            case "length in the header": block[8] ^= 1; break;
            case "length in the inner header": block[97] ^= 1; break;
            case "number of residues": block[106] ^= 1; break;
            case "parameters of keys": parties.KeyHolder.PublicKey.Span.Slice(16, 32).CopyTo(block[16..]); break;
            case "not NTT": block[48] = 0; break;
            case "three polynomials": block[49] = 3; break;
            case "degree": BinaryPrimitives.WriteUInt64LittleEndian(block[57..], 4096); break;
            case "primes": block[65] = 3; break;
            case "scale": block[73] ^= 1; break;
            case "correction factor": block[81] = 2; break;
            case "first residue": BinaryPrimitives.WriteUInt64LittleEndian(block[CkksParameters.Residues..], CkksParameters.Q1); break;
            case "last residue": BinaryPrimitives.WriteUInt64LittleEndian(block[^8..], CkksParameters.Q2); break;
            case "zero polynomial": block[^CkksParameters.PolyBytes..].Clear(); break;
            default: Assert.Fail(fault); break;
        }

        CipherException refused = await Assert.ThrowsAsync<CipherException>(() => parties.Party.LoadAsync(bytes, 5000));
        Assert.Equal(HeErrors.BadCiphertext, refused.Id);
        Assert.Equal(before + 2, parties.Given);
    }

    [Fact]
    public async Task Load_OfAnotherMinorVersion_Works()
    {
        parties.Require();
        using CipherVector vector = await parties.Party.EncryptAsync(new double[] { 2 });
        byte[] bytes = (await vector.SaveAsync()).ToArray();
        bytes[4] = bytes[93] = 4;
        using CipherVector loaded = await parties.Party.LoadAsync(bytes, 1);
        byte[] again = (await loaded.SaveAsync()).ToArray();
        Assert.Equal(bytes[CkksParameters.Residues..], again[CkksParameters.Residues..]);
    }

    [Theory]
    [InlineData("truncated")]
    [InlineData("magic")]
    [InlineData("parameters")]
    [InlineData("scale")]
    [InlineData("residue")]
    [InlineData("zero")]
    [InlineData("seed's header")]
    [InlineData("seed's version")]
    [InlineData("minor version")]
    [InlineData("generator")]
    public async Task UseKey_OfAFaultyKey_IsRefusedBeforeTheEngine(string fault)
    {
        parties.Require();
        int started = 0;
        byte[] key = parties.KeyHolder.PublicKey.ToArray();
        switch (fault)
        {
            case "truncated": key = key[..^1]; break;
            case "magic": key[1] = 0; break;
            case "parameters": key[20] ^= 1; break;
            case "scale": key[80] = 0; break;
            case "residue": BinaryPrimitives.WriteUInt64LittleEndian(key.AsSpan(CkksParameters.Seed - 8), CkksParameters.KeyPrime); break;
            case "zero": key.AsSpan(CkksParameters.Residues, CkksParameters.N * 8).Clear(); break;
            case "seed's version": key[CkksParameters.Seed + 4] = 5; break;
            case "minor version": key[4] = 200; break;
            case "seed's header": key[CkksParameters.Seed + 8]++; break;
            default: key[CkksParameters.Seed + 16] = 2; break;
        }

        CkksScheme scheme = new(_ => throw new InvalidOperationException($"{++started} engine was started."), "", 1, 26);
        CipherException refused = await Assert.ThrowsAsync<CipherException>(() => scheme.UseKeyAsync(key));
        Assert.Equal(HeErrors.BadKey, refused.Id);
        Assert.Equal(0, started);
    }

    [Theory]
    [InlineData("truncated")]
    [InlineData("integer")]
    [InlineData("residue")]
    [InlineData("zero")]
    public async Task Open_OfFaultyMaskedSums_IsRefused(string fault)
    {
        parties.Require();
        using CipherVector vector = await parties.Party.EncryptAsync(new double[] { 1 });
        using PlainColumns columns = await parties.Party.EncodeAsync(new double[] { 1, 2 }, 1);
        byte[] bytes = (await parties.Party.MaskedSumsAsync(vector, columns)).Bytes.ToArray();
        Assert.Equal(2 * CkksParameters.MaskedBytes, bytes.Length);
        int before = parties.Given;
        await parties.KeyHolder.OpenAsync(bytes, 2);
        // SEAL itself sees nothing of them, faulty or not.
        Assert.Equal(before, parties.Given);
        // The second one.
        Span<byte> one = bytes.AsSpan(CkksParameters.MaskedBytes);
        switch (fault)
        {
            case "truncated": bytes = bytes[..^1]; break;
            case "integer": BinaryPrimitives.WriteUInt128LittleEndian(one, CkksParameters.Q); break;
            case "residue": BinaryPrimitives.WriteUInt64LittleEndian(one[(CkksParameters.AnswerBytes + (8 * 777))..], CkksParameters.Q1); break;
            default: one[CkksParameters.AnswerBytes..].Clear(); break;
        }

        CipherException refused = await Assert.ThrowsAsync<CipherException>(() => parties.KeyHolder.OpenAsync(bytes, 2));
        Assert.Equal(HeErrors.BadCiphertext, refused.Id);
    }
}
