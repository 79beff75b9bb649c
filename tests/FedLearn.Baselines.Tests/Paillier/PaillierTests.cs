using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.HomomorphicEncryption.Paillier;
using FedLearn.Diagnostics;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Baselines.Tests.Paillier;

/// <summary>Against System.Numerics, in plain formulas: D(c) = L(c^lambda mod n^2) / L((1 + n)^lambda mod n^2) mod n.</summary>
public sealed class PaillierTests
{
    private static readonly Workers Workers = new(1);
    private static readonly Lazy<SecretKey> Key2048 = new(() => SecretKey.Create(2048, default)), Key3072 = new(() => SecretKey.Create(3072, default));
    private static readonly Lazy<FixedBaseObfuscator> Table = new(() => new FixedBaseObfuscator(Key2048.Value.Public, Workers, default));

    [Theory]
    [InlineData(2048), InlineData(3072)]
    public void Create_Key_HasThePropertiesThatThePaperAsksFor(int bits)
    {
        SecretKey key = Key(bits);
        (BigInteger p, BigInteger q) = key.Primes;
        BigInteger n = p * q, generator = key.Public.Generator.Value;

        Assert.Equal(n, key.Public.Modulus.Value);
        Assert.Equal(n * n, key.Public.Square.Value);
        Assert.Equal(bits, n.GetBitLength());
        Assert.Equal(bits / 2, p.GetBitLength());
        Assert.Equal(bits / 2, q.GetBitLength());
        Assert.Equal(3, p % 4);
        Assert.Equal(3, q % 4);
        Assert.Equal(2, BigInteger.GreatestCommonDivisor(p - 1, q - 1));
        Assert.Equal(1, BigInteger.GreatestCommonDivisor(n, (p - 1) * (q - 1)));
        foreach (int r in new[] { 3, 5, 7, 11, 65521 })
            Assert.True((p - 1) % r != 0 && (q - 1) % r != 0);
        Assert.Equal(1, BigInteger.ModPow(5, p - 1, p));
        Assert.Equal(1, BigInteger.ModPow(5, q - 1, q));
        // h_s = (-x^2)^n is an n-th residue, and -h_s a square modulo both primes.
        Assert.Equal(1, BigInteger.ModPow(generator, (p - 1) * (q - 1), n * n));
        Assert.Equal(1, BigInteger.ModPow(n * n - generator, (p - 1) / 2, p));
        Assert.Equal(1, BigInteger.ModPow(n * n - generator, (q - 1) / 2, q));
    }

    [Theory]
    [InlineData(2048), InlineData(3072)]
    public void Decrypt_ByRemainders_IsPlainDecryption(int bits)
    {
        SecretKey key = Key(bits);
        BigInteger n = key.Public.Modulus.Value;
        BigInteger residue = BigInteger.ModPow(RandomBelow(n), n, n * n), random = RandomBelow(n);
        foreach (BigInteger m in new[] { 0, 1, n - 1, n / 2, random })
            Assert.Equal(m, Decrypt(key, (1 + m * n) * residue % (n * n)));

        Assert.Equal(random, PlainDecrypt(key, (1 + random * n) * residue % (n * n)));
    }

    [Fact]
    public void Decrypt_WipedKey_GivesNothing()
    {
        SecretKey key = SecretKey.Create(2048, default);
        key.Wipe();

        Assert.Equal((BigInteger.Zero, BigInteger.Zero), key.Primes);
    }

    [Fact]
    public async Task KeyHolder_DisposedOf_HasNoPrimesAndOpensNothing()
    {
        var holder = (PaillierKeyHolder)await new PaillierScheme().CreateKeyAsync();
        Assert.NotEqual(BigInteger.Zero, holder.Secret.Primes.P);
        await holder.DisposeAsync();

        Assert.Equal((BigInteger.Zero, BigInteger.Zero), holder.Secret.Primes);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => holder.OpenAsync(new byte[512], 1));
    }

    [Fact]
    public unsafe void FixedBase_RandomExponents_AreBitForBitPowers()
    {
        PublicKey key = Key2048.Value.Public;
        using var products = new Products(key);
        ulong* r = stackalloc ulong[key.Words];
        var exponents = new List<byte[]> { new byte[128], Enumerable.Repeat((byte)255, 128).ToArray(), new byte[128] };
        exponents[2][127] = 1;
        for (int k = 0; k < 4; k++)
            exponents.Add(RandomNumberGenerator.GetBytes(128));
        foreach (byte[] exponent in exponents)
        {
            Table.Value.Power(r, exponent, products);

            Assert.Equal(BigInteger.ModPow(key.Generator.Value, new BigInteger(exponent, isUnsigned: true), key.Square.Value), Value(r, key.Words));
        }
    }

    [Fact]
    public unsafe void Obfuscators_EveryDraw_IsAnotherEncryptionOfZero()
    {
        PublicKey key = Key2048.Value.Public;
        using var products = new Products(key);
        ulong* r = stackalloc ulong[key.Words];
        var drawn = new HashSet<BigInteger>();
        foreach (IObfuscator obfuscator in new IObfuscator[] { Table.Value, new FullObfuscator(key) })
            for (int k = 0; k < 3; k++)
            {
                obfuscator.Next(r, products);
                Assert.Equal(0, Decrypt(Key2048.Value, Value(r, key.Words)));
                Assert.True(drawn.Add(Value(r, key.Words)));
            }
    }

    // What is drawn in part only is a secret that can be searched: half of the bits of n for the table, all of them for r^n.
    [Fact]
    public void Obfuscators_WhatIsDrawn_DiffersInEveryByte()
    {
        SecretKey secret = Key2048.Value;
        (BigInteger p, BigInteger q) = secret.Primes;
        BigInteger n = p * q;
        // With the generator 1 + n an obfuscator is 1 + a n mod n^2, which tells its exponent a.
        byte[] bytes = secret.Public.Save();
        bytes.AsSpan(264).Clear();
        (n + 1).TryWriteBytes(bytes.AsSpan(264), out _, isUnsigned: true);
        PublicKey telling = PublicKey.Load(bytes, 2048);
        BigInteger root = Inverse(n, (p - 1) * (q - 1));

        AssertEveryByteDiffers(128, Drawn(telling, new FixedBaseObfuscator(telling, Workers, default)).Select(c => (c - 1) / n));
        AssertEveryByteDiffers(256, Drawn(secret.Public, new FullObfuscator(secret.Public)).Select(c => BigInteger.ModPow(c % n, root, n)));

        static unsafe List<BigInteger> Drawn(PublicKey key, IObfuscator obfuscator)
        {
            using var products = new Products(key);
            ulong* r = stackalloc ulong[key.Words];
            var drawn = new List<BigInteger>();
            for (int k = 0; k < 16; k++)
            {
                obfuscator.Next(r, products);
                drawn.Add(Value(r, key.Words));
            }

            return drawn;
        }

        // 16 bytes are equal by chance once in 2^120.
        static void AssertEveryByteDiffers(int length, IEnumerable<BigInteger> drawn)
        {
            byte[][] all = [.. drawn.Select(value => value.ToByteArray(isUnsigned: true)).Select(value => (byte[])[.. value, .. new byte[length - value.Length]])];
            for (int i = 0; i < length; i++)
                Assert.True(all.Select(value => value[i]).Distinct().Count() > 1, $"byte {i} of {length} is always the same");
        }
    }

    [Theory]
    [InlineData(1, 1.0, 0), InlineData(2, 1e-9, 0), InlineData(40, 3.0, 0), InlineData(40, 3.0, 1), InlineData(70, 1048576.0, 0), InlineData(5, 0.0, 0)]
    public unsafe void InnerProducts_BucketsAndEntries_ArePowersOfBigInteger(int rows, double bound, int zeros)
    {
        PublicKey key = Key2048.Value.Public;
        BigInteger square = key.Square.Value;
        var random = new Random(rows);
        double[] column = [.. Enumerable.Range(0, rows).Select(i => i % 3 == 0 && zeros > 0 ? 0 : bound * (2 * random.NextDouble() - 1))];
        if (rows > 2)
            (column[0], column[1]) = (bound, -bound);
        // Any units will do.
        BigInteger[] units = [.. Enumerable.Range(0, rows).Select(_ => RandomBelow(square))];
        ulong[] words = [.. units.SelectMany(unit => Limbs(unit, key.Words))];
        BigInteger expected = 1;
        for (int i = 0; i < rows; i++)
        {
            BigInteger scalar = new(Math.Round(Math.ScaleB(column[i], 52), MidpointRounding.AwayFromZero));
            BigInteger power = BigInteger.ModPow(units[i], BigInteger.Abs(scalar), square);
            expected = expected * (scalar < 0 ? Inverse(power, square) : power) % square;
        }

        using var products = new Products(key);
        ulong* byEntry = stackalloc ulong[key.Words];
        ulong* byBuckets = stackalloc ulong[key.Words];
        fixed (ulong* w = words)
        {
            InnerProducts.ByEntry(byEntry, w, column, products);
            InnerProducts.ByBuckets(byBuckets, w, column, products, default);
        }

        Assert.Equal(expected, Value(byEntry, key.Words));
        Assert.Equal(expected, Value(byBuckets, key.Words));
    }

    [Fact]
    public void Round_RandomNumbers_IsTheNearestInteger() => Check.QuickThrowOnFailure(Prop.ForAll((double value) =>
    {
        if (!FixedPoint.InRange(value))
            return;
        // 2^k value is exact in float64; beyond 2^53 it is an integer.
        foreach (int bits in new[] { FixedPoint.ShareBits, FixedPoint.ColumnBits })
            Assert.Equal(new BigInteger(Math.Round(Math.ScaleB(value, bits), MidpointRounding.AwayFromZero)), (BigInteger)FixedPoint.Round(value, bits));
    }));

    [Theory]
    [InlineData(double.NaN, false), InlineData(double.PositiveInfinity, false), InlineData(1048576.0, true), InlineData(-1048576.0, true), InlineData(1048576.0000001, false)]
    public void InRange_NumberNearTheLimit_IsAsExpected(double value, bool expected) => Assert.Equal(expected, FixedPoint.InRange(value));

    [Fact]
    public async Task Encryptor_MoreRowsThanOneMessageHolds_AreRefusedBeforeAnyIsEncrypted()
    {
        await using PaillierEncryptor encryptor = Encryptor(PaillierVariant.Fast);
        var error = await Assert.ThrowsAsync<ConfigurationException>(() => encryptor.EncryptAsync(new double[(Array.MaxLength / (encryptor.Key.Words * sizeof(ulong))) + 1]));
        Assert.Equal(Glm.GlmJointErrors.NotEncryptable, error.Id);
    }

    [Fact]
    public async Task Encryptor_NumbersOfEitherSign_DecryptToIntegersModuloN()
    {
        double[] values = [0, 1, -1, .5, -1048576, 1048576, Math.ScaleB(-1, -64), 1e-30];
        await using PaillierEncryptor encryptor = Encryptor(PaillierVariant.Fast);
        using CipherVector vector = await encryptor.EncryptAsync(values);
        BigInteger n = encryptor.Key.Modulus.Value;

        BigInteger[] opened = [.. Ciphertexts(await vector.SaveAsync()).Select(c => Decrypt(Key2048.Value, c))];

        Assert.Equal([.. values.Select(v => (new BigInteger(Math.Round(Math.ScaleB(v, 64))) + n) % n)], opened);
    }

    [Theory]
    [InlineData(PaillierVariant.Fast, 3), InlineData(PaillierVariant.FateLike, 3), InlineData(PaillierVariant.Textbook, 1)]
    public async Task MaskedSums_SmallVectors_AreExactUnderTheirMasks(PaillierVariant variant, int threads)
    {
        await using PaillierEncryptor encryptor = Encryptor(variant, threads: threads);
        double[] values = [.25, -3, 1.5, 0], columns = [1, 2, -3, 4, 0, 0, 0, 0, -1, .5, 1, -8];
        using CipherVector vector = await encryptor.EncryptAsync(values), twice = await encryptor.AddAsync(vector, vector);
        using PlainColumns plain = await encryptor.EncodeAsync(columns, 4);
        MaskedSums sums = await encryptor.MaskedSumsAsync(twice, plain);

        BigInteger[] opened = [.. Ciphertexts(sums.Bytes).Select(c => Decrypt(Key2048.Value, c))];

        Assert.Equal([-20.5, 0, -.5], sums.Unmask(opened, encryptor.Answers)); // 2 (0.25 - 6 - 4.5), 0, 2 (-0.25 - 1.5 + 1.5)
    }

    [Fact]
    public async Task MaskedSums_ColumnInParts_IsTheColumnInOne()
    {
        // 600 rows are three parts of at most 256 where each entry has its power, and two on two threads where there are buckets.
        var random = new Random(1);
        double[] values = [.. Enumerable.Range(0, 600).Select(_ => (double)random.Next(-8, 8))], column = [.. Enumerable.Range(0, 600).Select(_ => (double)random.Next(-8, 8))];
        foreach (PaillierVariant variant in new[] { PaillierVariant.Fast, PaillierVariant.FateLike })
        {
            await using PaillierEncryptor encryptor = Encryptor(variant, threads: 2);
            using CipherVector vector = await encryptor.EncryptAsync(values);
            using PlainColumns plain = await encryptor.EncodeAsync(column, 600);
            MaskedSums sums = await encryptor.MaskedSumsAsync(vector, plain);

            Assert.Equal(values.Zip(column, (a, b) => a * b).Sum(), sums.Unmask([Decrypt(Key2048.Value, Ciphertexts(sums.Bytes)[0])], encryptor.Answers)[0]);
        }
    }

    // An addition of a plaintext without a fresh obfuscator, c = c_H (1 + n)^a: whoever made c_H divides it out and reads a = ((c / c_H mod n^2) - 1) / n (see PaillierScheme's remarks).
    [Fact]
    public async Task Addition_OwnCiphertextDividedOut_ReadsTheOtherShareOnlyWithoutObfuscators()
    {
        const double Secret = -.625;
        await using PaillierEncryptor host = Encryptor(PaillierVariant.Fast);
        using CipherVector own = await host.EncryptAsync(new[] { .375 });
        ReadOnlyMemory<byte> sent = await own.SaveAsync();

        Assert.Equal(Secret, await Attack(new NoObfuscator(host.Key)));
        Assert.Null(await Attack(Table.Value));
        Assert.Null(await Attack(new FullObfuscator(host.Key)));

        async Task<double?> Attack(IObfuscator obfuscator)
        {
            await using PaillierEncryptor guest = Encryptor(PaillierVariant.Fast, obfuscator);
            using CipherVector received = await guest.LoadAsync(sent, 1), share = await guest.EncryptAsync(new[] { Secret }), sum = await guest.AddAsync(received, share);
            BigInteger n = host.Key.Modulus.Value, quotient = Ciphertexts(await sum.SaveAsync())[0] * Inverse(Ciphertexts(sent)[0], n * n) % (n * n);
            return (quotient - 1) % n == 0 ? host.Answers.Value((quotient - 1) / n * (host.Answers.Unit >> 64) % n, 0) : null;
        }
    }

    // Without a fresh encryption of 0 a masked sum is prod c_i^x_i (1 + R n): the mask hides the plaintext, but not the n-th residue prod rho_i^x_i. A holder of the key who has seen the c_i tests guesses of x by it.
    [Fact]
    public async Task MaskedSums_GuessOfAColumn_IsConfirmedOnlyWithoutObfuscators()
    {
        double[] column = [1, 0, 0, 1, 1, 0];
        await using PaillierEncryptor peer = Encryptor(PaillierVariant.Fast);
        using CipherVector shares = await peer.EncryptAsync(new[] { .1, .2, .3, .4, .5, .6 });
        ReadOnlyMemory<byte> seen = await shares.SaveAsync();

        Assert.Equal(0b011001, Assert.Single(await Attack(new NoObfuscator(peer.Key))));
        Assert.Empty(await Attack(Table.Value));

        async Task<int[]> Attack(IObfuscator obfuscator)
        {
            await using PaillierEncryptor victim = Encryptor(PaillierVariant.Fast, obfuscator);
            using CipherVector received = await victim.LoadAsync(seen, 6);
            using PlainColumns plain = await victim.EncodeAsync(column, 6);
            MaskedSums sums = await victim.MaskedSumsAsync(received, plain);
            // The residue c mod n = rho of c = (1 + m n) rho does not depend on the plaintext.
            BigInteger n = peer.Key.Modulus.Value, residue = Ciphertexts(sums.Bytes)[0] % n;
            BigInteger[] powers = [.. Ciphertexts(seen).Select(c => BigInteger.ModPow(c % n, BigInteger.One << 52, n))];
            return [.. Enumerable.Range(0, 64).Where(guess => Enumerable.Range(0, 6).Aggregate(BigInteger.One, (product, i) => (guess >> i & 1) == 1 ? product * powers[i] % n : product) == residue)];
        }
    }

    [Fact]
    public void PublicKey_SavedAndLoaded_IsTheSame()
    {
        byte[] bytes = Key2048.Value.Public.Save();
        PublicKey loaded = PublicKey.Load(bytes, 2048);

        Assert.Equal(8 + 256 + 512, bytes.Length);
        Assert.Equal(Key2048.Value.Public.Square.Value, loaded.Square.Value);
        Assert.Equal(bytes, loaded.Save());
    }

    // By the check of that fault, and by no other.
    [Theory]
    [InlineData("even modulus", "even or has the wrong size"), InlineData("3 mod 4", "even or has the wrong size"), InlineData("short modulus", "even or has the wrong size"), InlineData("generator 0", "out of range"),
     InlineData("generator 1", "hides nothing"), InlineData("generator -1", "hides nothing"), InlineData("generator n^2", "out of range"), InlineData("generator n^2 + 2", "out of range"), InlineData("generator n", "no unit"),
     InlineData("version", "another scheme, version or size"), InlineData("magic", "another scheme, version or size"), InlineData("bits", "another scheme, version or size"), InlineData("one byte less", "wrong length")]
    public void PublicKey_Illegal_IsRefused(string fault, string cause)
    {
        byte[] bytes = Key2048.Value.Public.Save();
        BigInteger n = Key2048.Value.Public.Modulus.Value;
        switch (fault)
        {
            case "even modulus": bytes[8] ^= 1; break;
            case "3 mod 4": bytes[8] ^= 2; break;
            case "short modulus": bytes[8 + 255] &= 0x7F; break;
            case "generator 0": Generator(0); break;
            case "generator 1": Generator(1); break;
            case "generator -1": Generator(n * n - 1); break;
            case "generator n^2": Generator(n * n); break;
            case "generator n^2 + 2": Generator(n * n + 2); break; // a unit that stands for 2
            case "generator n": Generator(n * 5); break;
            case "version": bytes[4]++; break;
            case "magic": bytes[0]++; break;
            case "bits": bytes[6]++; break;
            default: bytes = bytes[..^1]; break;
        }

        CipherException error = Assert.Throws<CipherException>(() => PublicKey.Load(bytes, 2048));
        Assert.Equal(HeErrors.BadKey, error.Id);
        Assert.Contains(cause, error.Message, StringComparison.Ordinal);

        void Generator(BigInteger value)
        {
            bytes.AsSpan(264).Clear();
            Assert.True(value.TryWriteBytes(bytes.AsSpan(264), out _, isUnsigned: true));
        }
    }

    [Fact]
    public async Task Load_CiphertextThatIsNoUnit_IsRefused()
    {
        await using PaillierEncryptor encryptor = Encryptor(PaillierVariant.Fast);
        using CipherVector vector = await encryptor.EncryptAsync(new double[3]);
        byte[] good = (await vector.SaveAsync()).ToArray();
        BigInteger n = encryptor.Key.Modulus.Value;
        foreach (BigInteger bad in new[] { 0, n * n, n * n + 1, Key2048.Value.Primes.P, n * 7, Key2048.Value.Primes.Q * 12345 })
        {
            byte[] bytes = [.. good];
            bytes.AsSpan(512, 512).Clear();
            bad.TryWriteBytes(bytes.AsSpan(512, 512), out _, isUnsigned: true);

            Assert.Equal(HeErrors.BadCiphertext, (await Assert.ThrowsAsync<CipherException>(() => encryptor.LoadAsync(bytes, 3))).Id);
        }
    }

    [Fact]
    public async Task EncryptAsync_CancelledOnTheWay_Stops()
    {
        using var source = new CancellationTokenSource();
        await using PaillierEncryptor encryptor = Encryptor(PaillierVariant.Fast, new CancellingObfuscator(source));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => encryptor.EncryptAsync(new double[100_000], source.Token));
    }

    [Fact]
    public void SumError_SmallCase_IsTheBoundByHand()
    {
        // 10 rows, |r| <= 1, |x| <= 4: 10 (2^-53 + 4 2^-57 + 2^-110) + 2^-52 40, a little more for rounding.
        double expected = 10 * (Math.ScaleB(1, -53) + Math.ScaleB(1, -55)) + 40 * Math.ScaleB(1, -52), bound = new PaillierScheme().SumError(10, 1, 4);

        Assert.InRange(bound, expected, expected * (1 + 1e-10));
        Assert.Throws<ArgumentOutOfRangeException>(() => new PaillierScheme().SumError(10, double.NaN, 4));
        // More than it encodes or encrypts.
        Assert.True(double.IsFinite(new PaillierScheme().SumError(10, FixedPoint.Largest, FixedPoint.Largest)));
        Assert.Equal(double.PositiveInfinity, new PaillierScheme().SumError(10, double.BitIncrement(FixedPoint.Largest), 4));
        Assert.Equal(double.PositiveInfinity, new PaillierScheme().SumError(10, 1, double.BitIncrement(FixedPoint.Largest)));
    }

    [Theory]
    [InlineData(1024, PaillierVariant.Fast, 1), InlineData(4096, PaillierVariant.Fast, 1), InlineData(2048, (PaillierVariant)9, 1), InlineData(2048, PaillierVariant.Fast, -1)]
    public void Scheme_IllegalArguments_AreRefused(int bits, PaillierVariant variant, int threads) => Assert.Throws<ArgumentOutOfRangeException>(() => new PaillierScheme(bits, variant, threads));

    [Fact]
    public void Scheme_Description_NamesEngineAndSize()
    {
        var scheme = new PaillierScheme(3072, PaillierVariant.FateLike);

        Assert.Equal("paillier-fate", scheme.Name);
        Assert.Equal((112, 128), (new PaillierScheme().SecurityBits, scheme.SecurityBits));
        Assert.StartsWith("GMP ", scheme.Engine);
        Assert.EndsWith(", n of 3072 bits, FATE-like", scheme.Engine);
    }

    [Fact]
    public void Require_NoSuchLibrary_SaysWhatToDo()
    {
        var error = Assert.Throws<InternalFailureException>(() => Gmp.Check(NativeLibraries.Load(["libgmp-of-no-such-version.so"])));

        Assert.Equal(HeErrors.GmpMissing, error.Id);
        Assert.Contains("eng/setup.sh he", error.Remedy);
    }

    [Fact]
    public void Require_LibraryWithoutItsFunctions_IsTooOld() =>
        Assert.Contains("older", Assert.Throws<InternalFailureException>(() => Gmp.Check(NativeLibrary.GetMainProgramHandle())).Cause);

    private static SecretKey Key(int bits) => bits == 2048 ? Key2048.Value : Key3072.Value;

    private static PaillierEncryptor Encryptor(PaillierVariant variant, IObfuscator? obfuscator = null, int threads = 1) =>
        new(Key2048.Value.Public, obfuscator ?? (variant == PaillierVariant.Textbook ? new FullObfuscator(Key2048.Value.Public) : Table.Value), variant, new Workers(threads));

    private static unsafe BigInteger Decrypt(SecretKey key, BigInteger ciphertext)
    {
        fixed (ulong* c = Limbs(ciphertext, key.Public.Words))
            return key.Decrypt(c);
    }

    private static BigInteger PlainDecrypt(SecretKey key, BigInteger c)
    {
        (BigInteger p, BigInteger q) = key.Primes;
        BigInteger n = p * q, lambda = (p - 1) * (q - 1) / 2;
        return L(BigInteger.ModPow(c, lambda, n * n)) * Inverse(L(BigInteger.ModPow(1 + n, lambda, n * n)), n) % n;

        BigInteger L(BigInteger u) => (u - 1) / n;
    }

    private static BigInteger Inverse(BigInteger value, BigInteger modulus)
    {
        (BigInteger a, BigInteger b, BigInteger x, BigInteger y) = (value % modulus, modulus, 1, 0);
        while (!b.IsZero)
        {
            BigInteger quotient = a / b;
            (a, b, x, y) = (b, a - quotient * b, y, x - quotient * y);
        }

        Assert.True(a.IsOne);
        return x.Sign < 0 ? x + modulus : x;
    }

    private static BigInteger RandomBelow(BigInteger bound) => new BigInteger(RandomNumberGenerator.GetBytes(bound.GetByteCount() + 16), isUnsigned: true) % bound;

    private static ulong[] Limbs(BigInteger value, int words)
    {
        var limbs = new ulong[words];
        Assert.True(value.TryWriteBytes(MemoryMarshal.AsBytes(limbs.AsSpan()), out _, isUnsigned: true));
        return limbs;
    }

    private static unsafe BigInteger Value(ulong* limbs, int words) => new(MemoryMarshal.AsBytes(new Span<ulong>(limbs, words)), isUnsigned: true);

    private static BigInteger[] Ciphertexts(ReadOnlyMemory<byte> bytes) => [.. Enumerable.Range(0, bytes.Length / 512).Select(i => new BigInteger(bytes.Span.Slice(512 * i, 512), isUnsigned: true))];

    private sealed unsafe class NoObfuscator(PublicKey key) : IObfuscator
    {
        public void Next(ulong* r, Products products)
        {
            new Span<ulong>(r, key.Words).Clear();
            *r = 1;
        }
    }

    private sealed unsafe class CancellingObfuscator(CancellationTokenSource source) : IObfuscator
    {
        public void Next(ulong* r, Products products)
        {
            new Span<ulong>(r, products.Length).Fill(1);
            source.Cancel();
        }
    }
}
